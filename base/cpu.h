/*
 * cpu.h - what this processor can do, asked once by whoever picks kernels.
 */
#ifndef TURDB_BASE_CPU_H
#define TURDB_BASE_CPU_H

enum cpu_level {
	CPU_C = 0,      /* plain C, every machine                        */
	CPU_NEON = 1,   /* aarch64 baseline                              */
	CPU_AVX2 = 2,   /* AVX2, FMA, F16C                               */
	CPU_AVX512 = 3, /* AVX-512 F, BW, DQ, VL and VNNI                */
};

/* The best level this machine and its kernel support; `wish` ("c", "avx2",
 * "avx512", "neon", or NULL for the best) can only lower it. An unknown wish
 * is ignored. The library's wish comes from TURDB_SIMD, read by ext/. */
enum cpu_level cpu_level_pick(const char *wish);

const char *cpu_level_name(enum cpu_level level);

#endif
