/*
 * kernels_neon.c - the distance functions for aarch64.
 */
#include "hnsw/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>


static inline float32x4_t f32_load(const void *v, size_t i)
{
	return vld1q_f32((const float *)v + i);
}

static inline float32x4_t f32_load_tail(const void *v, size_t i, size_t n)
{
	float values[4] = { 0 };

	memcpy(values, (const float *)v + i, (n - i) * sizeof(float));
	return vld1q_f32(values);
}

static inline float32x4_t f16_load(const void *v, size_t i)
{
	uint16x4_t halves = vld1_u16((const uint16_t *)v + i);

	return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}

static inline float32x4_t f16_load_tail(const void *v, size_t i, size_t n)
{
	uint16_t values[4] = { 0 };

	memcpy(values, (const uint16_t *)v + i, (n - i) * sizeof(uint16_t));
	return f16_load(values, 0);
}

static inline float32x4_t add_square_gap(float32x4_t sum, float32x4_t a,
                                         float32x4_t b)
{
	float32x4_t d = vsubq_f32(a, b);

	return vfmaq_f32(sum, d, d);
}

static inline float32x4_t add_product(float32x4_t sum, float32x4_t a,
                                      float32x4_t b)
{
	return vfmaq_f32(sum, a, b);
}

static inline float32x4_t add_gap(float32x4_t sum, float32x4_t a, float32x4_t b)
{
	return vaddq_f32(sum, vabdq_f32(a, b));
}

#define SUM_KERNEL(name, load, add)                                           \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		float32x4_t s[4] = { vdupq_n_f32(0), vdupq_n_f32(0),          \
			             vdupq_n_f32(0), vdupq_n_f32(0) };        \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 16 <= n; i += 16) {                           \
			s[0] = add(s[0], load(a, i), load(b, i));             \
			s[1] = add(s[1], load(a, i + 4), load(b, i + 4));     \
			s[2] = add(s[2], load(a, i + 8), load(b, i + 8));     \
			s[3] = add(s[3], load(a, i + 12), load(b, i + 12));   \
		}                                                             \
		for (; i + 4 <= n; i += 4)                                    \
			s[0] = add(s[0], load(a, i), load(b, i));             \
		if (i < n)                                                    \
			s[1] = add(s[1], load##_tail(a, i, n),                \
			           load##_tail(b, i, n));                     \
		return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]),            \
		                            vaddq_f32(s[2], s[3])));          \
	}

SUM_KERNEL(l2_f32, f32_load, add_square_gap)
SUM_KERNEL(ip_f32, f32_load, add_product)
SUM_KERNEL(l1_f32, f32_load, add_gap)
SUM_KERNEL(l2_f16, f16_load, add_square_gap)
SUM_KERNEL(ip_f16, f16_load, add_product)
SUM_KERNEL(l1_f16, f16_load, add_gap)

#define COSINE_KERNEL(name, load)                                             \
	static void name(const void *a, const void *b, size_t n,              \
	                 float sums[3])                                       \
	{                                                                     \
		float32x4_t s[3] = { vdupq_n_f32(0), vdupq_n_f32(0),          \
			             vdupq_n_f32(0) };                        \
		size_t i, j;                                                  \
                                                                              \
		for (i = 0; i < n; i += 4) {                                  \
			bool whole = i + 4 <= n;                              \
			float32x4_t x = whole ? load(a, i)                    \
			                      : load##_tail(a, i, n);         \
			float32x4_t y = whole ? load(b, i)                    \
			                      : load##_tail(b, i, n);         \
                                                                              \
			s[0] = vfmaq_f32(s[0], x, y);                         \
			s[1] = vfmaq_f32(s[1], x, x);                         \
			s[2] = vfmaq_f32(s[2], y, y);                         \
		}                                                             \
		for (j = 0; j < 3; j++)                                       \
			sums[j] = vaddvq_f32(s[j]);                           \
	}

COSINE_KERNEL(cosine_f32, f32_load)
COSINE_KERNEL(cosine_f16, f16_load)

/* --- bytes: int8 elements and codes -------------------------------------------- */

static inline int8x16_t int8_load(const void *v, size_t i)
{
	return vld1q_s8((const int8_t *)v + i);
}

static inline int8x16_t int8_load_tail(const void *v, size_t i, size_t n)
{
	int8_t values[16] = { 0 };

	memcpy(values, (const int8_t *)v + i, n - i);
	return vld1q_s8(values);
}

static inline int32x4_t add_byte_product(int32x4_t sum, int8x16_t a,
                                         int8x16_t b)
{
	sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	return vpadalq_s16(sum, vmull_high_s8(a, b));
}

static inline int32x4_t add_byte_square_gap(int32x4_t sum, int8x16_t a,
                                            int8x16_t b)
{
	uint8x16_t d = vreinterpretq_u8_s8(vabdq_s8(a, b));
	uint32x4_t s = vreinterpretq_u32_s32(sum);

	s = vpadalq_u16(s, vmull_u8(vget_low_u8(d), vget_low_u8(d)));
	return vreinterpretq_s32_u32(vpadalq_u16(s, vmull_high_u8(d, d)));
}

static inline int32x4_t add_byte_gap(int32x4_t sum, int8x16_t a, int8x16_t b)
{
	uint8x16_t d = vreinterpretq_u8_s8(vabdq_s8(a, b));
	uint32x4_t s = vreinterpretq_u32_s32(sum);

	return vreinterpretq_s32_u32(vpadalq_u16(s, vpaddlq_u8(d)));
}

/* A lane grows by at most 260,100 per 16 dimensions: 65,536 of them fit. */
#define BYTE_KERNEL(name, add)                                                \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		int32x4_t s = vdupq_n_s32(0);                                 \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 16 <= n; i += 16)                             \
			s = add(s, int8_load(a, i), int8_load(b, i));         \
		if (i < n)                                                    \
			s = add(s, int8_load_tail(a, i, n),                   \
			        int8_load_tail(b, i, n));                     \
		return (float)vaddlvq_s32(s);                                 \
	}

BYTE_KERNEL(l2_int8, add_byte_square_gap)
BYTE_KERNEL(ip_int8, add_byte_product)
BYTE_KERNEL(l1_int8, add_byte_gap)

static uint64_t hamming(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	uint64x2_t s = vdupq_n_u64(0);
	uint64_t bits;
	size_t i;

	for (i = 0; i + 16 <= bytes; i += 16) {
		uint8x16_t d = veorq_u8(vld1q_u8(x + i), vld1q_u8(y + i));

		s = vpadalq_u32(s, vpaddlq_u16(vpaddlq_u8(vcntq_u8(d))));
	}
	bits = vaddvq_u64(s);
	for (; i < bytes; i++)
		bits += (uint64_t)__builtin_popcount(x[i] ^ y[i]);
	return bits;
}

static void code_weigh(const uint8_t *code, const float *steps, size_t n,
                       int16_t *weights)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		int16x8_t c = vmovl_s8(vld1_s8((const int8_t *)code + i));
		float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(c)));
		float32x4_t high = vcvtq_f32_s32(vmovl_high_s16(c));
		int32x4_t w0 = vcvtnq_s32_f32(
			vmulq_f32(low, vld1q_f32(steps + i)));
		int32x4_t w1 = vcvtnq_s32_f32(
			vmulq_f32(high, vld1q_f32(steps + i + 4)));

		vst1q_s16(weights + i,
		          vcombine_s16(vqmovn_s32(w0), vqmovn_s32(w1)));
	}
	for (; i < n; i++)
		weights[i] = (int16_t)lrintf((float)(int8_t)code[i] * steps[i]);
}

static inline int32x4_t add_dot(int32x4_t sum, int16x8_t w, int16x8_t c)
{
	sum = vmlal_s16(sum, vget_low_s16(w), vget_low_s16(c));
	return vmlal_high_s16(sum, w, c);
}

/* Two sums of lanes: each takes 8 dimensions of 16, two to a lane. */
static int64_t code_dot(const int16_t *weights, const uint8_t *code, size_t n)
{
	int64_t total = 0;
	size_t i = 0;

	while (i + 16 <= n) {
		size_t end = n - i < CODE_LANE_DIMENSIONS ?
		                     n : i + CODE_LANE_DIMENSIONS;
		int32x4_t s[2] = { vdupq_n_s32(0), vdupq_n_s32(0) };

		for (; i + 16 <= end; i += 16) {
			int8x16_t c = vld1q_s8((const int8_t *)code + i);

			s[0] = add_dot(s[0], vld1q_s16(weights + i),
			               vmovl_s8(vget_low_s8(c)));
			s[1] = add_dot(s[1], vld1q_s16(weights + i + 8),
			               vmovl_high_s8(c));
		}
		total += vaddlvq_s32(s[0]) + vaddlvq_s32(s[1]);
	}
	for (; i < n; i++)
		total += weights[i] * (int8_t)code[i];
	return total;
}

#define KERNELS_ONE_BY_ONE
#include "hnsw/kernels_table.h"

KERNELS_TABLE(hnsw_kernels_neon, CPU_NEON)

#endif
