/*
 * kernels.h - the table of distance functions for one CPU level.
 *
 * Each level fills the same table in its own file, compiled for its own CPU;
 * kernels.c picks. All sums are over `n` elements, need no alignment, read
 * nothing beyond the n-th element and add up over pieces of a vector, so that
 * a vector may lie in several pages.
 *
 * Codes are one signed byte a dimension. Sums over codes are computed in
 * integers and rounded once, to float: every level gives the same bits.
 */
#ifndef TURDB_HNSW_KERNELS_H
#define TURDB_HNSW_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "hnsw/hnsw.h"

enum {
	KERNEL_ELEMENTS = HNSW_INT8 + 1, /* arrays indexed by enum hnsw_element */
	/* Partial integer sums fit 32 bits for this many dimensions: in all,
	 * and in one lane of a vector register. */
	CODE_TOTAL_DIMENSIONS = 512,
	CODE_LANE_DIMENSIONS = 4096,
};

/* The sum of squared differences, of products, of absolute differences. */
typedef float kernel_sum(const void *a, const void *b, size_t n);

/* The same from one query to `count` vectors. */
typedef void kernel_sums(const void *query, const uint8_t *const *vectors,
                         size_t count, size_t n, float *sums);

struct hnsw_kernels {
	enum cpu_level level;

	kernel_sum *l2[KERNEL_ELEMENTS];
	kernel_sum *ip[KERNEL_ELEMENTS];
	kernel_sum *l1[KERNEL_ELEMENTS];
	/* sums = a*b, a*a, b*b in one pass. */
	void (*cosine[KERNEL_ELEMENTS])(const void *a, const void *b, size_t n,
	                                float sums[3]);
	uint64_t (*hamming)(const void *a, const void *b, size_t bytes);

	kernel_sums *l2_f32_many;
	kernel_sums *ip_f32_many;

	/* weights[i] = the integer nearest to code[i] * steps[i], ties to even;
	 * the caller has scaled the steps so that it fits 16 bits. */
	void (*code_weigh)(const uint8_t *code, const float *steps, size_t n,
	                   int16_t *weights);
	/* dots[j] = sum of weights[i] * codes[j][i]; |weights[i]| <= 32767. */
	void (*code_dots)(const int16_t *weights, const uint8_t *const *codes,
	                  size_t count, size_t n, float *dots);
	/* gaps[j] = sum of |code[i] - codes[j][i]|. */
	void (*code_gaps)(const uint8_t *code, const uint8_t *const *codes,
	                  size_t count, size_t n, float *gaps);
};

/* The length of a vector, whatever the size of its numbers. */
double kernels_norm(const struct hnsw_kernels *kernels,
                    enum hnsw_element element, size_t n, const void *a);

extern const struct hnsw_kernels hnsw_kernels_c;
#if defined(__x86_64__)
extern const struct hnsw_kernels hnsw_kernels_avx2;
extern const struct hnsw_kernels hnsw_kernels_avx512;
#elif defined(__aarch64__)
extern const struct hnsw_kernels hnsw_kernels_neon;
#endif

#endif
