/*
 * cpu.c - CPU features through the compiler's own detection.
 */
#include "base/cpu.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 cannot ask for it by name. */
static int has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

static enum cpu_level best_level(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !has_f16c())
		return CPU_C;
	if (__builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512vnni"))
		return CPU_AVX512;
	return CPU_AVX2;
#elif defined(__aarch64__)
	return CPU_NEON;
#else
	return CPU_C;
#endif
}

enum cpu_level cpu_level_pick(const char *wish)
{
	enum cpu_level best = best_level();

	if (!wish)
		return best;
	if (strcmp(wish, "c") == 0)
		return CPU_C;
	if (strcmp(wish, "avx2") == 0 && best >= CPU_AVX2)
		return CPU_AVX2;
	return best;
}

const char *cpu_level_name(enum cpu_level level)
{
	switch (level) {
	case CPU_C:
		return "c";
	case CPU_NEON:
		return "neon";
	case CPU_AVX2:
		return "avx2";
	case CPU_AVX512:
		return "avx512";
	}
	return "c";
}
