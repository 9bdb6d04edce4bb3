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

static double cosine_distance(const struct hnsw_kernels *kernels,
                              enum hnsw_element element, size_t n,
                              const void *a, const void *b)
{
	float sums[3];

	kernels->cosine[element](a, b, n, sums);
	return 1.0 - (double)sums[0] /
	                     (sqrt((double)sums[1]) * sqrt((double)sums[2]));
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
	return sqrt((double)kernels->l2[element](a, b, dimensions));
}
