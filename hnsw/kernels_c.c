/*
 * kernels_c.c - the distance functions in plain C, for every machine.
 *
 * Four running sums let the compiler overlap the additions.
 */
#include <math.h>

#include "hnsw/kernels.h"
#include "hnsw/vector.h"

static inline float f32_at(const void *v, size_t i)
{
	float value;

	memcpy(&value, (const uint8_t *)v + i * 4, sizeof value);
	return value;
}

static inline float f16_at(const void *v, size_t i)
{
	return vector_float_of_half(load_le16((const uint8_t *)v + i * 2));
}

static inline float square_gap(float a, float b)
{
	return (a - b) * (a - b);
}

static inline float product(float a, float b)
{
	return a * b;
}

static inline float gap(float a, float b)
{
	return fabsf(a - b);
}

#define SUM_KERNEL(name, at, term)                                            \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		float sum[4] = { 0, 0, 0, 0 };                                \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 4 <= n; i += 4) {                             \
			sum[0] += term(at(a, i), at(b, i));                   \
			sum[1] += term(at(a, i + 1), at(b, i + 1));           \
			sum[2] += term(at(a, i + 2), at(b, i + 2));           \
			sum[3] += term(at(a, i + 3), at(b, i + 3));           \
		}                                                             \
		for (; i < n; i++)                                            \
			sum[0] += term(at(a, i), at(b, i));                   \
		return (sum[0] + sum[1]) + (sum[2] + sum[3]);                 \
	}

SUM_KERNEL(l2_f32, f32_at, square_gap)
SUM_KERNEL(ip_f32, f32_at, product)
SUM_KERNEL(l1_f32, f32_at, gap)
SUM_KERNEL(l2_f16, f16_at, square_gap)
SUM_KERNEL(ip_f16, f16_at, product)
SUM_KERNEL(l1_f16, f16_at, gap)

static float l2_int8(const void *a, const void *b, size_t n)
{
	const int8_t *x = a, *y = b;
	int64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (x[i] - y[i]) * (x[i] - y[i]);
	return (float)sum;
}

static float ip_int8(const void *a, const void *b, size_t n)
{
	const int8_t *x = a, *y = b;
	int64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += x[i] * y[i];
	return (float)sum;
}

static float l1_int8(const void *a, const void *b, size_t n)
{
	const int8_t *x = a, *y = b;
	int64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += x[i] < y[i] ? y[i] - x[i] : x[i] - y[i];
	return (float)sum;
}

static void cosine_f32(const void *a, const void *b, size_t n, float sums[3])
{
	sums[0] = ip_f32(a, b, n);
	sums[1] = ip_f32(a, a, n);
	sums[2] = ip_f32(b, b, n);
}

static void cosine_f16(const void *a, const void *b, size_t n, float sums[3])
{
	sums[0] = ip_f16(a, b, n);
	sums[1] = ip_f16(a, a, n);
	sums[2] = ip_f16(b, b, n);
}

static uint64_t hamming(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i + 8 <= bytes; i += 8)
		bits += (uint64_t)__builtin_popcountll(load_le64(x + i) ^
		                                       load_le64(y + i));
	for (; i < bytes; i++)
		bits += (uint64_t)__builtin_popcount(x[i] ^ y[i]);
	return bits;
}

static void code_weigh(const uint8_t *code, const float *steps, size_t n,
                       int16_t *weights)
{
	size_t i;

	for (i = 0; i < n; i++)
		weights[i] = (int16_t)lrintf((float)(int8_t)code[i] * steps[i]);
}

static int64_t code_dot(const int16_t *weights, const uint8_t *code, size_t n)
{
	int64_t sum = 0;
	size_t i;

	while (n > 0) {
		size_t piece = n < CODE_TOTAL_DIMENSIONS ?
		                       n : CODE_TOTAL_DIMENSIONS;
		int32_t part = 0;

		for (i = 0; i < piece; i++)
			part += weights[i] * (int8_t)code[i];
		sum += part;
		weights += piece;
		code += piece;
		n -= piece;
	}
	return sum;
}

#define KERNELS_ONE_BY_ONE
#include "hnsw/kernels_table.h"

KERNELS_TABLE(hnsw_kernels_c, CPU_C)
