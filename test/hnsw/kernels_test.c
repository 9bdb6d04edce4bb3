/*
 * kernels_test.c - every CPU level against plain loops in double.
 *
 * Vectors begin at odd addresses and end at the end of their block, so that
 * asan sees a byte read too many.
 */
#include <math.h>

#include "hnsw/kernels.h"
#include "hnsw/vector.h"
#include "test/harness.h"

enum { MANY = 7, ODD_SIZES = 12 };

static const uint32_t odd_sizes[ODD_SIZES] = {
	96, 127, 128, 129, 255, 384, 511, 513, 768, 1536, 4099, 16397
};

/* Sizes 1..70, then the odd ones. */
static uint32_t size_of_round(uint32_t round)
{
	return round < 70 ? round + 1 : odd_sizes[round - 70];
}

enum { ROUNDS = 70 + ODD_SIZES };

static const struct hnsw_kernels *const *levels(size_t *count)
{
	static const struct hnsw_kernels *table[3];
	enum cpu_level best = cpu_level_pick(NULL);

	*count = 0;
	table[(*count)++] = hnsw_kernels_for(CPU_C);
	if (best == CPU_AVX512)
		table[(*count)++] = hnsw_kernels_for(CPU_AVX2);
	if (best != CPU_C)
		table[(*count)++] = hnsw_kernels_for(best);
	return table;
}

/* A block whose last byte is the vector's; `*vector` is at an odd address. */
static uint8_t *block_new(size_t size, uint8_t **vector)
{
	uint8_t *block = malloc(size + 1);

	*vector = block + 1;
	return block;
}

static void fill(enum hnsw_element element, uint8_t *vector, uint32_t n,
                 uint64_t *seed)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		int64_t r = (int64_t)(test_random(seed) % 20001) - 10000;
		float value = (float)r / 4096.0f;

		if (element == HNSW_F32)
			memcpy(vector + i * 4, &value, 4);
		else if (element == HNSW_F16)
			store_le16(vector + i * 2, vector_half_of_float(value));
		else
			vector[i] = (uint8_t)test_random(seed);
	}
}

struct sums {
	double l2, ip, l1, aa, bb;
};

static struct sums sums_of(enum hnsw_element element, const uint8_t *a,
                           const uint8_t *b, uint32_t n)
{
	struct sums s = { 0 };
	uint32_t i;

	for (i = 0; i < n; i++) {
		double x = (double)vector_element(element, a, i);
		double y = (double)vector_element(element, b, i);

		s.l2 += (x - y) * (x - y);
		s.ip += x * y;
		s.l1 += fabs(x - y);
		s.aa += x * x;
		s.bb += y * y;
	}
	return s;
}

static bool near(double got, double wanted, double scale)
{
	return fabs(got - wanted) <= 1e-5 * scale + 1e-6;
}

static void check_sums(struct test *t, const struct hnsw_kernels *kernels,
                       enum hnsw_element element, uint32_t n, uint64_t *seed)
{
	uint8_t *a, *b;
	uint8_t *block_a = block_new(vector_size(element, n), &a);
	uint8_t *block_b = block_new(vector_size(element, n), &b);
	float cosine[3];
	struct sums want;
	double scale;

	fill(element, a, n, seed);
	fill(element, b, n, seed);
	want = sums_of(element, a, b, n);
	scale = want.aa + want.bb;
	EXPECT(t, near((double)kernels->l2[element](a, b, n), want.l2, scale));
	EXPECT(t, near((double)kernels->ip[element](a, b, n), want.ip, scale));
	EXPECT(t, near((double)kernels->l1[element](a, b, n), want.l1, want.l1));
	kernels->cosine[element](a, b, n, cosine);
	EXPECT(t, near((double)cosine[0], want.ip, scale));
	EXPECT(t, near((double)cosine[1], want.aa, scale));
	EXPECT(t, near((double)cosine[2], want.bb, scale));
	free(block_a);
	free(block_b);
}

static void every_level_sums_as_doubles_do(struct test *t)
{
	size_t count, level;
	const struct hnsw_kernels *const *kernels = levels(&count);
	enum hnsw_element element;
	uint32_t round;

	for (level = 0; level < count; level++) {
		for (round = 0; round < ROUNDS; round++) {
			for (element = HNSW_F32; element <= HNSW_INT8; element++) {
				check_sums(t, kernels[level], element,
				           size_of_round(round), &t->seed);
				if (t->failed)
					return;
			}
		}
	}
}

static void many_sums_are_the_single_ones(struct test *t)
{
	size_t count, level, j;
	const struct hnsw_kernels *const *kernels = levels(&count);
	uint32_t round;

	for (level = 0; level < count; level++) {
		for (round = 0; round < ROUNDS; round++) {
			const struct hnsw_kernels *k = kernels[level];
			uint32_t n = size_of_round(round);
			uint8_t *blocks[MANY + 1], *vectors[MANY + 1];
			float l2[MANY], ip[MANY];

			for (j = 0; j <= MANY; j++) {
				blocks[j] = block_new((size_t)n * 4, &vectors[j]);
				fill(HNSW_F32, vectors[j], n, &t->seed);
			}
			k->l2_f32_many(vectors[MANY],
			               (const uint8_t *const *)vectors, MANY, n,
			               l2);
			k->ip_f32_many(vectors[MANY],
			               (const uint8_t *const *)vectors, MANY, n,
			               ip);
			for (j = 0; j < MANY; j++) {
				struct sums want = sums_of(HNSW_F32,
				                           vectors[MANY],
				                           vectors[j], n);

				EXPECT(t, near((double)l2[j], want.l2,
				               want.aa + want.bb));
				EXPECT(t, near((double)ip[j], want.ip,
				               want.aa + want.bb));
			}
			for (j = 0; j <= MANY; j++)
				free(blocks[j]);
		}
	}
}

static void bits_that_differ_are_counted(struct test *t)
{
	size_t count, level;
	const struct hnsw_kernels *const *kernels = levels(&count);
	uint32_t round, i;

	for (level = 0; level < count; level++) {
		for (round = 0; round < ROUNDS; round++) {
			uint32_t n = size_of_round(round);
			uint8_t *a, *b;
			uint8_t *block_a = block_new(n, &a);
			uint8_t *block_b = block_new(n, &b);
			uint64_t want = 0;

			fill(HNSW_INT8, a, n, &t->seed);
			fill(HNSW_INT8, b, n, &t->seed);
			for (i = 0; i < n * 8; i++)
				want += (uint64_t)((a[i / 8] ^ b[i / 8]) >>
				                   (i % 8) & 1);
			EXPECT_EQ(t, kernels[level]->hamming(a, b, n), want);
			free(block_a);
			free(block_b);
		}
	}
}

static void check_codes(struct test *t, const struct hnsw_kernels *kernels,
                        uint32_t n, bool extreme)
{
	uint8_t *blocks[MANY + 1], *codes[MANY + 1];
	int16_t *weights = malloc((size_t)n * 2);
	float dots[MANY], gaps[MANY];
	uint32_t i, j;

	for (j = 0; j <= MANY; j++) {
		blocks[j] = block_new(n, &codes[j]);
		fill(HNSW_INT8, codes[j], n, &t->seed);
		if (extreme)
			memset(codes[j], j % 2 ? 0x80 : 0x7f, n);
	}
	for (i = 0; i < n; i++)
		weights[i] = (int16_t)(extreme ? -32767 :
		                       (int)(test_random(&t->seed) % 65535) -
		                               32767);
	kernels->code_dots(weights, (const uint8_t *const *)codes, MANY, n, dots);
	kernels->code_gaps(codes[MANY], (const uint8_t *const *)codes, MANY, n,
	                   gaps);
	for (j = 0; j < MANY; j++) {
		int64_t dot = 0, gap = 0;

		for (i = 0; i < n; i++) {
			int d = (int8_t)codes[MANY][i] - (int8_t)codes[j][i];

			dot += weights[i] * (int8_t)codes[j][i];
			gap += d < 0 ? -d : d;
		}
		EXPECT(t, dots[j] == (float)dot);
		EXPECT(t, gaps[j] == (float)gap);
	}
	for (j = 0; j <= MANY; j++)
		free(blocks[j]);
	free(weights);
}

static void sums_over_codes_are_exact(struct test *t)
{
	size_t count, level;
	const struct hnsw_kernels *const *kernels = levels(&count);
	uint32_t round;

	for (level = 0; level < count; level++) {
		for (round = 0; round < ROUNDS; round++) {
			check_codes(t, kernels[level], size_of_round(round),
			            false);
			check_codes(t, kernels[level], size_of_round(round),
			            true);
			if (t->failed)
				return;
		}
		check_codes(t, kernels[level], 65536, true);
		if (t->failed)
			return;
	}
}

static void weights_of_a_code_are_the_same_at_every_level(struct test *t)
{
	size_t count, level;
	const struct hnsw_kernels *const *kernels = levels(&count);
	uint32_t round, i;

	for (round = 0; round < ROUNDS; round++) {
		uint32_t n = size_of_round(round);
		float *steps = malloc((size_t)n * sizeof *steps);
		int16_t *want = malloc((size_t)n * 2);
		uint8_t *code;
		uint8_t *block = block_new(n, &code);

		fill(HNSW_INT8, code, n, &t->seed);
		for (i = 0; i < n; i++)
			steps[i] = (float)(test_random(&t->seed) % 1000) * 0.25f;
		for (i = 0; i < n; i++)
			want[i] = (int16_t)rint((double)(int8_t)code[i] *
			                        (double)steps[i]);
		for (level = 0; level < count; level++) {
			int16_t *got = malloc((size_t)n * 2);

			kernels[level]->code_weigh(code, steps, n, got);
			EXPECT_EQ(t, memcmp(got, want, (size_t)n * 2), 0);
			free(got);
		}
		free(steps);
		free(want);
		free(block);
	}
}

static void halves_go_to_floats_and_back(struct test *t)
{
	uint32_t half;

	for (half = 0; half < 65536; half++) {
		float value = vector_float_of_half((uint16_t)half);

		if (value == value) {
			EXPECT_EQ(t, vector_half_of_float(value), half);
		} else {
			EXPECT(t, (half & 0x7c00u) == 0x7c00u);
		}
	}
	EXPECT_EQ(t, vector_half_of_float(1.0f), 0x3c00);
	EXPECT_EQ(t, vector_half_of_float(65519.0f), 0x7bff);
	EXPECT_EQ(t, vector_half_of_float(65520.0f), 0x7c00);
	EXPECT_EQ(t, vector_half_of_float(0x1p-25f), 0);
	EXPECT_EQ(t, vector_half_of_float(0x1.8p-25f), 1);
	EXPECT_EQ(t, vector_half_of_float(-2049.0f), 0xe800);
	EXPECT_EQ(t, vector_half_of_float(2051.0f), 0x6802);
}

static void distances_are_those_of_the_metric(struct test *t)
{
	const float a[3] = { 1, 2, 2 }, b[3] = { 2, 1, -2 };
	const float huge[3] = { 1e30f, 0, 1e30f }, c[3] = { 0 };
	const float tiny[3] = { 3e-30f, 0, 4e-30f };
	const uint8_t x[2] = { 0x0f, 0x01 }, y[2] = { 0xff, 0x00 };
	size_t count, level;
	const struct hnsw_kernels *const *kernels = levels(&count);

	for (level = 0; level < count; level++) {
		const struct hnsw_kernels *k = kernels[level];

		EXPECT(t, near(hnsw_distance(k, HNSW_L2, HNSW_F32, 3, a, b),
		               sqrt(18), 1));
		EXPECT(t, near(hnsw_distance(k, HNSW_COSINE, HNSW_F32, 3, a, b),
		               1.0, 1));
		EXPECT(t, near(hnsw_distance(k, HNSW_IP, HNSW_F32, 3, a, a),
		               -8.0, 1));
		EXPECT(t, near(hnsw_distance(k, HNSW_L1, HNSW_F32, 3, a, b), 6,
		               1));
		EXPECT(t, near(hnsw_distance(k, HNSW_L2, HNSW_F32, 3, huge, c) /
		                       1e30, sqrt(2), 1));
		EXPECT(t, near(hnsw_distance(k, HNSW_L2, HNSW_F32, 3, tiny, c) *
		                       1e30, 5, 1));
		EXPECT(t, near(hnsw_distance(k, HNSW_COSINE, HNSW_F32, 3, tiny,
		                             huge), 1 - 7 / (5 * sqrt(2)), 1));
		EXPECT(t, hnsw_distance(k, HNSW_L2, HNSW_F32, 3, tiny, tiny) ==
		                  0);
		EXPECT(t, near(hnsw_distance(k, HNSW_HAMMING, HNSW_BIT, 12, x, y),
		               5, 1));
	}
}

static void vectors_that_are_none_are_named(struct test *t)
{
	float v[3] = { 1, NAN, 0 };
	uint8_t bits[2] = { 0xff, 0x10 };

	EXPECT_ERR(t, vector_check("insert", HNSW_F32, HNSW_L2, 3,
	                           span_of(v, 8), &t->err),
	           ERR_INVALID, "expected 3 dimensions in 12 bytes, got 8");
	EXPECT_ERR(t, vector_check("insert", HNSW_F32, HNSW_L2, 3,
	                           span_of(v, 12), &t->err),
	           ERR_INVALID, "element 1 is not a finite number");
	v[1] = 0;
	EXPECT_OK(t, vector_check("insert", HNSW_F32, HNSW_COSINE, 3,
	                          span_of(v, 12), &t->err));
	v[0] = -0.0f;
	EXPECT_ERR(t, vector_check("insert", HNSW_F32, HNSW_COSINE, 3,
	                           span_of(v, 12), &t->err),
	           ERR_INVALID, "all zeros");
	EXPECT_ERR(t, vector_check("insert", HNSW_BIT, HNSW_HAMMING, 12,
	                           span_of(bits, 2), &t->err),
	           ERR_INVALID, "zero bits after dimension 12");
}

static const struct test_case cases[] = {
	CASE(every_level_sums_as_doubles_do),
	CASE(many_sums_are_the_single_ones),
	CASE(bits_that_differ_are_counted),
	CASE(sums_over_codes_are_exact),
	CASE(weights_of_a_code_are_the_same_at_every_level),
	CASE(halves_go_to_floats_and_back),
	CASE(distances_are_those_of_the_metric),
	CASE(vectors_that_are_none_are_named),
};

TEST_MAIN(cases)
