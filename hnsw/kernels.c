/*
 * kernels.c - picks the table for a CPU level, and the one exact distance.
 */
#include "hnsw/kernels.h"

#include <math.h>

#include "hnsw/vector.h"

const struct hnsw_kernels *hnsw_kernels_for(enum cpu_level level)
{
#if defined(__x86_64__)
	if (level == CPU_AVX512)
		return &hnsw_kernels_avx512;
	if (level == CPU_AVX2)
		return &hnsw_kernels_avx2;
#elif defined(__aarch64__)
	if (level == CPU_NEON)
		return &hnsw_kernels_neon;
#else
	(void)level;
#endif
	return &hnsw_kernels_c;
}

/* Sums that single precision did not lose: neither infinite nor, having been
 * squares of small numbers, near nothing. */
static bool is_sound(float sum)
{
	return sum > 1e-30f && sum < 1e30f;
}

struct wide_sums {
	double squared_gaps, products, a_squares, b_squares;
};

/* In double precision, for numbers whose squares do not fit single. */
static struct wide_sums sums_widely(enum hnsw_element element, size_t n,
                                    const void *a, const void *b)
{
	struct wide_sums sums = { 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		double x = (double)vector_element(element, a, i);
		double y = (double)vector_element(element, b, i);

		sums.squared_gaps += (x - y) * (x - y);
		sums.products += x * y;
		sums.a_squares += x * x;
		sums.b_squares += y * y;
	}
	return sums;
}

static double cosine_distance(const struct hnsw_kernels *kernels,
                              enum hnsw_element element, size_t n,
                              const void *a, const void *b)
{
	struct wide_sums wide;
	float sums[3];

	kernels->cosine[element](a, b, n, sums);
	if (is_sound(sums[1]) && is_sound(sums[2]))
		return 1.0 - (double)sums[0] / (sqrt((double)sums[1]) *
		                                sqrt((double)sums[2]));
	wide = sums_widely(element, n, a, b);
	return 1.0 - wide.products /
	                     (sqrt(wide.a_squares) * sqrt(wide.b_squares));
}

static double l2_distance(const struct hnsw_kernels *kernels,
                          enum hnsw_element element, size_t n, const void *a,
                          const void *b)
{
	float sum = kernels->l2[element](a, b, n);

	if (is_sound(sum))
		return sqrt((double)sum);
	return sqrt(sums_widely(element, n, a, b).squared_gaps);
}

double kernels_norm(const struct hnsw_kernels *kernels,
                    enum hnsw_element element, size_t n, const void *a)
{
	float square = kernels->ip[element](a, a, n);

	if (is_sound(square))
		return sqrt((double)square);
	return sqrt(sums_widely(element, n, a, a).a_squares);
}

/* Bits have one distance, whatever is asked. */
static bool by_bits(enum hnsw_metric metric, enum hnsw_element element)
{
	return metric == HNSW_HAMMING || element == HNSW_BIT;
}

double hnsw_distance(const struct hnsw_kernels *kernels,
                     enum hnsw_metric metric, enum hnsw_element element,
                     uint32_t dimensions, const void *a, const void *b)
{
	if (by_bits(metric, element))
		return (double)kernels->hamming(
			a, b, vector_size(element, dimensions));
	switch (metric) {
	case HNSW_COSINE:
		return cosine_distance(kernels, element, dimensions, a, b);
	case HNSW_IP:
		return 1.0 - (double)kernels->ip[element](a, b, dimensions);
	case HNSW_L1:
		return (double)kernels->l1[element](a, b, dimensions);
	case HNSW_L2:
	case HNSW_HAMMING:
		break;
	}
	return l2_distance(kernels, element, dimensions, a, b);
}
