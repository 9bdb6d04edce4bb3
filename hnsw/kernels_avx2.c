/*
 * kernels_avx2.c - the distance functions for AVX2, FMA and F16C.
 *
 * The functions over many vectors take four at a time: the query is loaded
 * once and the four sums are folded together.
 */
#include "hnsw/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL_FOUR _Pragma("GCC unroll 4")

ALWAYS_INLINE __m256 f32_load(const void *v, size_t i)
{
	return _mm256_loadu_ps((const float *)v + i);
}

/* Lanes past the n-th element are zero and not read. */
ALWAYS_INLINE __m256 f32_load_tail(const void *v, size_t i, size_t n)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n - i)), lane);

	return _mm256_maskload_ps((const float *)v + i, mask);
}

ALWAYS_INLINE __m256 f16_load(const void *v, size_t i)
{
	const uint8_t *at = (const uint8_t *)v + i * 2;

	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
}

ALWAYS_INLINE __m256 f16_load_tail(const void *v, size_t i, size_t n)
{
	uint16_t halves[8] = { 0 };

	memcpy(halves, (const uint8_t *)v + i * 2, (n - i) * 2);
	return f16_load(halves, 0);
}

ALWAYS_INLINE __m256 add_square_gap(__m256 sum, __m256 a, __m256 b)
{
	__m256 d = _mm256_sub_ps(a, b);

	return _mm256_fmadd_ps(d, d, sum);
}

ALWAYS_INLINE __m256 add_product(__m256 sum, __m256 a, __m256 b)
{
	return _mm256_fmadd_ps(a, b, sum);
}

ALWAYS_INLINE __m256 add_gap(__m256 sum, __m256 a, __m256 b)
{
	__m256 sign = _mm256_set1_ps(-0.0f);

	return _mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(a, b)));
}

ALWAYS_INLINE float f32_fold(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v),
	                      _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

ALWAYS_INLINE __m128 f32_fold_four(const __m256 v[4])
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]),
	                          _mm256_hadd_ps(v[2], v[3]));

	return _mm_add_ps(_mm256_castps256_ps128(s),
	                  _mm256_extractf128_ps(s, 1));
}

#define SUM_KERNEL(name, load, add)                                           \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		__m256 s[4] = { _mm256_setzero_ps(), _mm256_setzero_ps(),     \
			        _mm256_setzero_ps(), _mm256_setzero_ps() };   \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 32 <= n; i += 32) {                           \
			s[0] = add(s[0], load(a, i), load(b, i));             \
			s[1] = add(s[1], load(a, i + 8), load(b, i + 8));     \
			s[2] = add(s[2], load(a, i + 16), load(b, i + 16));   \
			s[3] = add(s[3], load(a, i + 24), load(b, i + 24));   \
		}                                                             \
		for (; i + 8 <= n; i += 8)                                    \
			s[0] = add(s[0], load(a, i), load(b, i));             \
		if (i < n)                                                    \
			s[1] = add(s[1], load##_tail(a, i, n),                \
			           load##_tail(b, i, n));                     \
		return f32_fold(_mm256_add_ps(_mm256_add_ps(s[0], s[1]),      \
		                              _mm256_add_ps(s[2], s[3])));    \
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
		__m256 s[3] = { _mm256_setzero_ps(), _mm256_setzero_ps(),     \
			        _mm256_setzero_ps() };                        \
		size_t i, j;                                                  \
                                                                              \
		for (i = 0; i < n; i += 8) {                                  \
			bool whole = i + 8 <= n;                              \
			__m256 x = whole ? load(a, i) : load##_tail(a, i, n); \
			__m256 y = whole ? load(b, i) : load##_tail(b, i, n); \
                                                                              \
			s[0] = _mm256_fmadd_ps(x, y, s[0]);                   \
			s[1] = _mm256_fmadd_ps(x, x, s[1]);                   \
			s[2] = _mm256_fmadd_ps(y, y, s[2]);                   \
		}                                                             \
		for (j = 0; j < 3; j++)                                       \
			sums[j] = f32_fold(s[j]);                             \
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
			__m256 s[4] = { _mm256_setzero_ps(),                  \
				        _mm256_setzero_ps(),                  \
				        _mm256_setzero_ps(),                  \
				        _mm256_setzero_ps() };                \
                                                                              \
			for (i = 0; i + 8 <= n; i += 8) {                     \
				__m256 q = f32_load(query, i);                \
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

ALWAYS_INLINE __m256i int8_load(const void *v, size_t i)
{
	const uint8_t *at = (const uint8_t *)v + i;

	return _mm256_cvtepi8_epi16(
		_mm_loadu_si128((const __m128i *)(const void *)at));
}

ALWAYS_INLINE __m256i int8_load_tail(const void *v, size_t i, size_t n)
{
	uint8_t bytes[16] = { 0 };

	memcpy(bytes, (const uint8_t *)v + i, n - i);
	return int8_load(bytes, 0);
}

ALWAYS_INLINE int64_t int64_fold(__m256i v)
{
	__m128i s = _mm_add_epi64(_mm256_castsi256_si128(v),
	                          _mm256_extracti128_si256(v, 1));

	return _mm_extract_epi64(s, 0) + _mm_extract_epi64(s, 1);
}

/* The sum of eight 32-bit lanes, which may not fit one. */
ALWAYS_INLINE int64_t int32_fold(__m256i v)
{
	return int64_fold(_mm256_add_epi64(
		_mm256_cvtepi32_epi64(_mm256_castsi256_si128(v)),
		_mm256_cvtepi32_epi64(_mm256_extracti128_si256(v, 1))));
}

ALWAYS_INLINE __m256i int8_square_gap(__m256i a, __m256i b)
{
	__m256i d = _mm256_sub_epi16(a, b);

	return _mm256_madd_epi16(d, d);
}

/* A lane grows by at most 130,050 per 16 dimensions: 65,536 of them fit. */
#define BYTE_KERNEL(name, term)                                               \
	static float name(const void *a, const void *b, size_t n)             \
	{                                                                     \
		__m256i s = _mm256_setzero_si256();                           \
		size_t i;                                                     \
                                                                              \
		for (i = 0; i + 16 <= n; i += 16)                             \
			s = _mm256_add_epi32(s, term(int8_load(a, i),         \
			                             int8_load(b, i)));       \
		if (i < n)                                                    \
			s = _mm256_add_epi32(s,                               \
			                     term(int8_load_tail(a, i, n),    \
			                          int8_load_tail(b, i, n)));  \
		return (float)int32_fold(s);                                  \
	}

BYTE_KERNEL(l2_int8, int8_square_gap)
BYTE_KERNEL(ip_int8, _mm256_madd_epi16)

/* Signed bytes, shifted to unsigned ones for the instruction. */
ALWAYS_INLINE int64_t byte_gaps(const uint8_t *a, const uint8_t *b, size_t n)
{
	const __m256i shift = _mm256_set1_epi8((char)0x80);
	__m256i s = _mm256_setzero_si256();
	int64_t sum;
	size_t i;

	for (i = 0; i + 32 <= n; i += 32) {
		__m256i x = _mm256_loadu_si256((const void *)(a + i));
		__m256i y = _mm256_loadu_si256((const void *)(b + i));

		s = _mm256_add_epi64(s,
		                     _mm256_sad_epu8(_mm256_xor_si256(x, shift),
		                                     _mm256_xor_si256(y, shift)));
	}
	sum = int64_fold(s);
	for (; i < n; i++) {
		int d = (int8_t)a[i] - (int8_t)b[i];

		sum += d < 0 ? -d : d;
	}
	return sum;
}

static float l1_int8(const void *a, const void *b, size_t n)
{
	return (float)byte_gaps(a, b, n);
}

static uint64_t hamming(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	const __m256i low = _mm256_set1_epi8(0x0f);
	const __m256i ones = _mm256_setr_epi8(
		0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
		0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	__m256i s = _mm256_setzero_si256();
	uint64_t bits;
	size_t i;

	for (i = 0; i + 32 <= bytes; i += 32) {
		__m256i d = _mm256_xor_si256(
			_mm256_loadu_si256((const void *)(x + i)),
			_mm256_loadu_si256((const void *)(y + i)));
		__m256i l = _mm256_and_si256(d, low);
		__m256i h = _mm256_and_si256(_mm256_srli_epi16(d, 4), low);
		__m256i c = _mm256_add_epi8(_mm256_shuffle_epi8(ones, l),
		                            _mm256_shuffle_epi8(ones, h));

		s = _mm256_add_epi64(s,
		                     _mm256_sad_epu8(c, _mm256_setzero_si256()));
	}
	bits = (uint64_t)int64_fold(s);
	for (; i + 8 <= bytes; i += 8)
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

	for (i = 0; i + 8 <= n; i += 8) {
		__m128i c = _mm_loadl_epi64((const void *)(code + i));
		__m256 f = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(c));
		__m256i w = _mm256_cvtps_epi32(
			_mm256_mul_ps(f, _mm256_loadu_ps(steps + i)));

		_mm_storeu_si128((void *)(weights + i),
		                 _mm_packs_epi32(_mm256_castsi256_si128(w),
		                                 _mm256_extracti128_si256(w, 1)));
	}
	for (; i < n; i++)
		weights[i] = (int16_t)lrintf((float)(int8_t)code[i] * steps[i]);
}

ALWAYS_INLINE __m256i weights_load_tail(const int16_t *weights, size_t i,
                                        size_t n)
{
	int16_t values[16] = { 0 };

	memcpy(values, weights + i, (n - i) * 2);
	return _mm256_loadu_si256((const void *)values);
}

/* Lane sums over [from, to) for `width` codes at once. */
ALWAYS_INLINE void dot_lanes(const int16_t *weights,
                             const uint8_t *const *codes, size_t width,
                             size_t from, size_t to, __m256i *lanes)
{
	size_t i, k;

	UNROLL_FOUR
	for (k = 0; k < width; k++)
		lanes[k] = _mm256_setzero_si256();
	for (i = from; i + 16 <= to; i += 16) {
		__m256i w = _mm256_loadu_si256((const void *)(weights + i));

		UNROLL_FOUR
		for (k = 0; k < width; k++)
			lanes[k] = _mm256_add_epi32(
				lanes[k],
				_mm256_madd_epi16(w, int8_load(codes[k], i)));
	}
	if (i < to) {
		__m256i w = weights_load_tail(weights, i, to);

		UNROLL_FOUR
		for (k = 0; k < width; k++)
			lanes[k] = _mm256_add_epi32(
				lanes[k],
				_mm256_madd_epi16(
					w, int8_load_tail(codes[k], i, to)));
	}
}

ALWAYS_INLINE void dots_long(const int16_t *weights,
                             const uint8_t *const *codes, size_t width,
                             size_t n, float *dots)
{
	int64_t sums[4] = { 0 };
	__m256i lanes[4];
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

ALWAYS_INLINE void dots_short(const int16_t *weights,
                              const uint8_t *const *codes, size_t n,
                              float *dots)
{
	__m256i v[4], s;

	dot_lanes(weights, codes, 4, 0, n, v);
	s = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]),
	                      _mm256_hadd_epi32(v[2], v[3]));
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

KERNELS_TABLE(hnsw_kernels_avx2, CPU_AVX2)

#endif
