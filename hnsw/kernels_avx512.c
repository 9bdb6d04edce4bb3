/*
 * kernels_avx512.c - the distance functions for AVX-512 F, BW, DQ, VL and VNNI.
 *
 * Masks take the place of tails: lanes past the n-th element are zero and not
 * read. The functions over many vectors take four at a time: the query is
 * loaded once and the four sums are folded together.
 */
#include "hnsw/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL_FOUR _Pragma("GCC unroll 4")

/* --- f32, f16 -------------------------------------------------------------------- */

ALWAYS_INLINE __mmask16 mask16_for(size_t lanes)
{
	return (__mmask16)((1u << lanes) - 1u);
}

ALWAYS_INLINE __m512 f32_load(const void *v, size_t i)
{
	return _mm512_loadu_ps((const float *)v + i);
}

ALWAYS_INLINE __m512 f32_load_tail(const void *v, size_t i, size_t n)
{
	return _mm512_maskz_loadu_ps(mask16_for(n - i), (const float *)v + i);
}

ALWAYS_INLINE __m512 f16_load(const void *v, size_t i)
{
	const uint8_t *at = (const uint8_t *)v + i * 2;

	return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)at));
}

ALWAYS_INLINE __m512 f16_load_tail(const void *v, size_t i, size_t n)
{
	const uint8_t *at = (const uint8_t *)v + i * 2;

	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask16_for(n - i), at));
}

ALWAYS_INLINE __m512 add_square_gap(__m512 sum, __m512 a, __m512 b)
{
	__m512 d = _mm512_sub_ps(a, b);

	return _mm512_fmadd_ps(d, d, sum);
}

ALWAYS_INLINE __m512 add_product(__m512 sum, __m512 a, __m512 b)
{
	return _mm512_fmadd_ps(a, b, sum);
}

ALWAYS_INLINE __m512 add_gap(__m512 sum, __m512 a, __m512 b)
{
	return _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(a, b)));
}

ALWAYS_INLINE __m256 f32_halve(__m512 v)
{
	return _mm256_add_ps(_mm512_castps512_ps256(v),
	                     _mm512_extractf32x8_ps(v, 1));
}

ALWAYS_INLINE __m128 f32_fold_four(const __m512 v[4])
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(f32_halve(v[0]),
	                                         f32_halve(v[1])),
	                          _mm256_hadd_ps(f32_halve(v[2]),
	                                         f32_halve(v[3])));

	return _mm_add_ps(_mm256_castps256_ps128(s),
	                  _mm256_extractf128_ps(s, 1));
}

#define SUM_KERNEL(name, load, add)                                           \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		__m512 s[2] = { _mm512_setzero_ps(), _mm512_setzero_ps() };   \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 32 <= n; i += 32) {                           \
			s[0] = add(s[0], load(a, i), load(b, i));             \
			s[1] = add(s[1], load(a, i + 16), load(b, i + 16));   \
		}                                                             \
		if (i + 16 <= n) {                                            \
			s[0] = add(s[0], load(a, i), load(b, i));             \
			i += 16;                                              \
		}                                                             \
		if (i < n)                                                    \
			s[1] = add(s[1], load##_tail(a, i, n),                \
			           load##_tail(b, i, n));                     \
		return _mm512_reduce_add_ps(_mm512_add_ps(s[0], s[1]));       \
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
		__m512 s[3] = { _mm512_setzero_ps(), _mm512_setzero_ps(),     \
			        _mm512_setzero_ps() };                        \
		size_t i, j;                                                  \
                                                                              \
		for (i = 0; i < n; i += 16) {                                 \
			bool whole = i + 16 <= n;                             \
			__m512 x = whole ? load(a, i) : load##_tail(a, i, n); \
			__m512 y = whole ? load(b, i) : load##_tail(b, i, n); \
                                                                              \
			s[0] = _mm512_fmadd_ps(x, y, s[0]);                   \
			s[1] = _mm512_fmadd_ps(x, x, s[1]);                   \
			s[2] = _mm512_fmadd_ps(y, y, s[2]);                   \
		}                                                             \
		for (j = 0; j < 3; j++)                                       \
			sums[j] = _mm512_reduce_add_ps(s[j]);                 \
	}

COSINE_KERNEL(cosine_f32, f32_load)
COSINE_KERNEL(cosine_f16, f16_load)

#define MANY_KERNEL(name, add, single)                                        \
	static void name(const void *query, const uint8_t *const *vectors,    \
	                 size_t count, size_t n, float *sums)                 \
	{                                                                     \
		size_t i, j, k;                                               \
                                                                              \
		for (j = 0; j + 4 <= count; j += 4) {                         \
			const uint8_t *const *v = vectors + j;                \
			__m512 s[4] = { _mm512_setzero_ps(),                  \
				        _mm512_setzero_ps(),                  \
				        _mm512_setzero_ps(),                  \
				        _mm512_setzero_ps() };                \
                                                                              \
			for (i = 0; i + 16 <= n; i += 16) {                   \
				__m512 q = f32_load(query, i);                \
                                                                              \
				UNROLL_FOUR                                   \
				for (k = 0; k < 4; k++)                       \
					s[k] = add(s[k], q,                   \
					           f32_load(v[k], i));        \
			}                                                     \
			for (k = 0; i < n && k < 4; k++)                      \
				s[k] = add(s[k], f32_load_tail(query, i, n),  \
				           f32_load_tail(v[k], i, n));        \
			_mm_storeu_ps(sums + j, f32_fold_four(s));            \
		}                                                             \
		for (; j < count; j++)                                        \
			sums[j] = single(query, vectors[j], n);               \
	}

MANY_KERNEL(l2_f32_many, add_square_gap, l2_f32)
MANY_KERNEL(ip_f32_many, add_product, ip_f32)

/* --- bytes: int8 elements and codes -------------------------------------------- */

ALWAYS_INLINE __mmask32 mask32_for(size_t lanes)
{
	return (__mmask32)((1ull << lanes) - 1ull);
}

ALWAYS_INLINE __m512i int8_load(const void *v, size_t i)
{
	const uint8_t *at = (const uint8_t *)v + i;

	return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)at));
}

ALWAYS_INLINE __m512i int8_load_tail(const void *v, size_t i, size_t n)
{
	const uint8_t *at = (const uint8_t *)v + i;

	return _mm512_cvtepi8_epi16(
		_mm256_maskz_loadu_epi8(mask32_for(n - i), at));
}

/* The sum of sixteen 32-bit lanes, which may not fit one. */
ALWAYS_INLINE int64_t int32_fold(__m512i v)
{
	return _mm512_reduce_add_epi64(_mm512_add_epi64(
		_mm512_cvtepi32_epi64(_mm512_castsi512_si256(v)),
		_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(v, 1))));
}

ALWAYS_INLINE __m512i add_byte_square_gap(__m512i sum, __m512i a, __m512i b)
{
	__m512i d = _mm512_sub_epi16(a, b);

	return _mm512_dpwssd_epi32(sum, d, d);
}

/* A lane grows by at most 130,050 per 32 dimensions: 65,536 of them fit. */
#define BYTE_KERNEL(name, add)                                                \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		__m512i s = _mm512_setzero_si512();                           \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 32 <= n; i += 32)                             \
			s = add(s, int8_load(a, i), int8_load(b, i));         \
		if (i < n)                                                    \
			s = add(s, int8_load_tail(a, i, n),                   \
			        int8_load_tail(b, i, n));                     \
		return (float)int32_fold(s);                                  \
	}

BYTE_KERNEL(l2_int8, add_byte_square_gap)
BYTE_KERNEL(ip_int8, _mm512_dpwssd_epi32)

ALWAYS_INLINE __m512i bytes_load(const uint8_t *v, size_t i, size_t n)
{
	if (i + 64 <= n)
		return _mm512_loadu_si512(v + i);
	return _mm512_maskz_loadu_epi8((__mmask64)((1ull << (n - i)) - 1ull),
	                               v + i);
}

/* Signed bytes, shifted to unsigned ones for the instruction. */
ALWAYS_INLINE int64_t byte_gaps(const uint8_t *a, const uint8_t *b, size_t n)
{
	const __m512i shift = _mm512_set1_epi8((char)0x80);
	__m512i s = _mm512_setzero_si512();
	size_t i;

	for (i = 0; i < n; i += 64) {
		__m512i x = _mm512_xor_si512(bytes_load(a, i, n), shift);
		__m512i y = _mm512_xor_si512(bytes_load(b, i, n), shift);

		s = _mm512_add_epi64(s, _mm512_sad_epu8(x, y));
	}
	return _mm512_reduce_add_epi64(s);
}

static float l1_int8(const void *a, const void *b, size_t n)
{
	return (float)byte_gaps(a, b, n);
}

static uint64_t hamming(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	const __m512i low = _mm512_set1_epi8(0x0f);
	const __m512i ones = _mm512_broadcast_i32x4(_mm_setr_epi8(
		0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
	__m512i s = _mm512_setzero_si512();
	size_t i;

	for (i = 0; i < bytes; i += 64) {
		__m512i d = _mm512_xor_si512(bytes_load(x, i, bytes),
		                             bytes_load(y, i, bytes));
		__m512i l = _mm512_and_si512(d, low);
		__m512i h = _mm512_and_si512(_mm512_srli_epi16(d, 4), low);
		__m512i c = _mm512_add_epi8(_mm512_shuffle_epi8(ones, l),
		                            _mm512_shuffle_epi8(ones, h));

		s = _mm512_add_epi64(s,
		                     _mm512_sad_epu8(c, _mm512_setzero_si512()));
	}
	return (uint64_t)_mm512_reduce_add_epi64(s);
}

static void code_weigh(const uint8_t *code, const float *steps, size_t n,
                       int16_t *weights)
{
	size_t i;

	for (i = 0; i < n; i += 16) {
		__mmask16 mask = n - i < 16 ? mask16_for(n - i) :
		                              (__mmask16)0xffff;
		__m128i c = _mm_maskz_loadu_epi8(mask, code + i);
		__m512 f = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(c));
		__m512 s = _mm512_maskz_loadu_ps(mask, steps + i);
		__m512i w = _mm512_cvtps_epi32(_mm512_mul_ps(f, s));

		_mm256_mask_storeu_epi16(weights + i, mask,
		                         _mm512_cvtsepi32_epi16(w));
	}
}

/* Lane sums over [from, to) for `width` codes at once. */
ALWAYS_INLINE void dot_lanes(const int16_t *weights,
                             const uint8_t *const *codes, size_t width,
                             size_t from, size_t to, __m512i *lanes)
{
	size_t i, k;

	UNROLL_FOUR
	for (k = 0; k < width; k++)
		lanes[k] = _mm512_setzero_si512();
	for (i = from; i + 32 <= to; i += 32) {
		__m512i w = _mm512_loadu_si512(weights + i);

		UNROLL_FOUR
		for (k = 0; k < width; k++)
			lanes[k] = _mm512_dpwssd_epi32(lanes[k], w,
			                               int8_load(codes[k], i));
	}
	if (i < to) {
		__m512i w = _mm512_maskz_loadu_epi16(mask32_for(to - i),
		                                     weights + i);

		UNROLL_FOUR
		for (k = 0; k < width; k++)
			lanes[k] = _mm512_dpwssd_epi32(
				lanes[k], w, int8_load_tail(codes[k], i, to));
	}
}

ALWAYS_INLINE void dots_long(const int16_t *weights,
                             const uint8_t *const *codes, size_t width,
                             size_t n, float *dots)
{
	int64_t sums[4] = { 0 };
	__m512i lanes[4];
	size_t from, k;

	for (from = 0; from < n; from += CODE_LANE_DIMENSIONS) {
		size_t to = n - from < CODE_LANE_DIMENSIONS ?
		                    n : from + CODE_LANE_DIMENSIONS;

		dot_lanes(weights, codes, width, from, to, lanes);
		UNROLL_FOUR
		for (k = 0; k < width; k++)
			sums[k] += int32_fold(lanes[k]);
	}
	for (k = 0; k < width; k++)
		dots[k] = (float)sums[k];
}

ALWAYS_INLINE __m256i int32_halve(__m512i v)
{
	return _mm256_add_epi32(_mm512_castsi512_si256(v),
	                        _mm512_extracti64x4_epi64(v, 1));
}

ALWAYS_INLINE void dots_short(const int16_t *weights,
                              const uint8_t *const *codes, size_t n,
                              float *dots)
{
	__m512i v[4];
	__m256i s;

	dot_lanes(weights, codes, 4, 0, n, v);
	s = _mm256_hadd_epi32(_mm256_hadd_epi32(int32_halve(v[0]),
	                                        int32_halve(v[1])),
	                      _mm256_hadd_epi32(int32_halve(v[2]),
	                                        int32_halve(v[3])));
	_mm_storeu_ps(dots, _mm_cvtepi32_ps(_mm_add_epi32(
				    _mm256_castsi256_si128(s),
				    _mm256_extracti128_si256(s, 1))));
}

static void code_dots(const int16_t *weights, const uint8_t *const *codes,
                      size_t count, size_t n, float *dots)
{
	size_t j = 0;

	if (n <= CODE_TOTAL_DIMENSIONS) {
		for (; j + 4 <= count; j += 4)
			dots_short(weights, codes + j, n, dots + j);
	} else {
		for (; j + 4 <= count; j += 4)
			dots_long(weights, codes + j, 4, n, dots + j);
	}
	for (; j < count; j++)
		dots_long(weights, codes + j, 1, n, dots + j);
}

#include "hnsw/kernels_table.h"

KERNELS_TABLE(hnsw_kernels_avx512, CPU_AVX512)

#endif
