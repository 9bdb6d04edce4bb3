/*
 * recall_test.c - how many of the true nearest a search finds.
 *
 * 20,000 clustered vectors of 128 dimensions (test/support/vector_data.h); the
 * recall goal of 0.95 at ef = 100 is far below what is measured, so the cases
 * ask for what a healthy graph gives.
 */
#include <math.h>

#include "hnsw/kernels.h"
#include "test/support/graph_rig.h"
#include "test/support/vector_data.h"

enum { DIMENSIONS = 128, QUERIES = 200, K = 10 };

/* With ten times as many rows a search of the same width finds a little less. */
enum { SIZE_USUAL = 20000, CHURN_USUAL = 6000 };

struct recall {
	struct test *t;
	struct graph_rig rig;
	struct vector_data *data;
	float *rows, *queries;
	uint32_t count;
};

static bool recall_open(struct recall *recall, struct test *t, uint32_t count,
                        enum hnsw_quantize quantize)
{
	struct hnsw_options options = {
		.dimensions = DIMENSIONS, .element = HNSW_F32,
		.metric = HNSW_L2, .quantize = quantize, .m = 16,
		.ef_construction = 100,
	};

	recall->t = t;
	recall->count = count;
	recall->data = vector_data_open(DIMENSIONS, 7);
	recall->rows = vector_data_block(recall->data, VECTOR_DATA_BASE, count);
	recall->queries = vector_data_block(recall->data, VECTOR_DATA_QUERIES,
	                                    QUERIES);
	return graph_rig_open(&recall->rig, t, &options, 0, false);
}

static void recall_close(struct recall *recall)
{
	graph_rig_close(&recall->rig);
	vector_data_close(recall->data);
	free(recall->rows);
	free(recall->queries);
}

static bool insert_rows(struct recall *recall, uint32_t from, uint32_t to)
{
	for (; from < to; from++) {
		if (!graph_rig_insert(&recall->rig, from,
		                      recall->rows + (size_t)from * DIMENSIONS))
			return false;
	}
	return true;
}

/* Found of the nearest, per mille; -1 on failure. */
static int recall_at(struct recall *recall, uint32_t ef)
{
	struct graph_rig *rig = &recall->rig;
	int64_t got[K], exact[K];
	double distances[K], limits[K];
	int hits = 0, q, i;

	for (q = 0; q < QUERIES; q++) {
		struct hnsw_query query = {
			.vector = span_of(recall->queries + q * DIMENSIONS,
			                  DIMENSIONS * sizeof(float)),
			.k = K, .ef = ef,
		};

		if (graph_rig_search(rig, &query, K, got, distances) != K)
			return -1;
		query.exact = true;
		if (graph_rig_search(rig, &query, K, exact, limits) != K)
			return -1;
		for (i = 0; i < K; i++)
			hits += distances[i] <= limits[K - 1];
	}
	return hits * 1000 / (QUERIES * K);
}

static void recall_of(struct test *t, enum hnsw_quantize quantize)
{
	uint32_t count = (uint32_t)test_scaled(SIZE_USUAL, 2000);
	struct recall recall;
	int wide;

	if (!recall_open(&recall, t, count, quantize) ||
	    !insert_rows(&recall, 0, count))
		return;
	EXPECT(t, graph_rig_check(&recall.rig));
	wide = recall_at(&recall, 100);
	printf("note recall of %u at ef 100: %d per mille, at ef 20: %d\n",
	       count, wide, recall_at(&recall, 20));
	EXPECT(t, wide >= (count <= SIZE_USUAL ? 990 : 980));
	recall_close(&recall);
}

static void recall_is_high_with_full_vectors(struct test *t)
{
	recall_of(t, HNSW_NONE);
}

static void recall_is_high_with_codes(struct test *t)
{
	recall_of(t, HNSW_SQ8);
}

/* Ten rounds of deleting a tenth and inserting as many others. */
static void recall_survives_churn(struct test *t)
{
	uint32_t count = (uint32_t)test_scaled(CHURN_USUAL, 2000);
	uint32_t pages_before, pages_after, round, i;
	struct recall recall, fresh;
	int churned = 0, built = 0;

	if (!recall_open(&recall, t, count * 2, HNSW_SQ8) ||
	    !insert_rows(&recall, 0, count))
		return;
	pages_before = memory_pager_page_count(recall.rig.memory);
	for (round = 0; round < 10; round++) {
		for (i = 0; i < count / 10; i++)
			EXPECT(t, graph_rig_delete(&recall.rig,
			                           round * (count / 10) + i));
		EXPECT(t, insert_rows(&recall, count + round * (count / 10),
		                      count + (round + 1) * (count / 10)));
	}
	EXPECT(t, graph_rig_check(&recall.rig));
	pages_after = memory_pager_page_count(recall.rig.memory);
	EXPECT(t, pages_after <= pages_before + pages_before / 50 + 1);

	EXPECT(t, recall_open(&fresh, t, count * 2, HNSW_SQ8));
	EXPECT(t, insert_rows(&fresh, count / 10 * 10, count + count / 10 * 10));
	for (i = 10; i <= 40; i += 10) {
		int a = recall_at(&recall, i), b = recall_at(&fresh, i);

		printf("note recall at ef %u: %d churned, %d fresh\n", i, a, b);
		churned += a;
		built += b;
	}
	EXPECT(t, churned >= built - 4 * (count <= CHURN_USUAL ? 5 : 10));
	recall_close(&recall);
	recall_close(&fresh);
}

enum { WORD_DIMENSIONS = 256, WORDS = 6, PLACES = 6, VOCABULARY = 400 };

/* A text as a unit vector: each word adds to six places. */
static void words_vector(uint64_t *seed, uint32_t words, uint64_t vocabulary,
                         float *vector)
{
	float length = 0;
	uint32_t word, place, i;

	memset(vector, 0, WORD_DIMENSIONS * sizeof *vector);
	for (word = 0; word < words; word++) {
		uint64_t text = test_random(seed) % vocabulary;

		for (place = 0; place < PLACES; place++) {
			uint64_t code = test_random(&text);

			vector[code % WORD_DIMENSIONS] +=
				code >> 32 & 1 ? 1.0f : -1.0f;
		}
	}
	for (i = 0; i < WORD_DIMENSIONS; i++)
		length += vector[i] * vector[i];
	for (i = 0; i < WORD_DIMENSIONS; i++)
		vector[i] /= sqrtf(length);
}

/* Once ranges ended four deviations from the mean, and were learned at fixed counts
 * only: short texts, whose numbers are larger, were cut off at those of the long ones
 * before them, and some did not find themselves. */
static void sparse_vectors_find_themselves(struct test *t)
{
	struct hnsw_options options = {
		.dimensions = WORD_DIMENSIONS, .element = HNSW_F32,
		.metric = HNSW_COSINE, .quantize = HNSW_SQ8, .m = 16,
		.ef_construction = 100,
	};
	uint32_t count = (uint32_t)test_scaled(4000, 2000), lost = 0, i;
	uint32_t ef = count < 4000 ? 20 : count / 200;
	float vector[WORD_DIMENSIONS];
	struct graph_rig rig;

	if (!graph_rig_open(&rig, t, &options, 0, false))
		return;
	for (i = 0; i < count; i++) {
		bool is_short = i >= count / 2;

		words_vector(&t->seed, is_short ? WORDS : WORDS * 4,
		             is_short ? UINT64_MAX : VOCABULARY, vector);
		EXPECT(t, graph_rig_insert(&rig, i, vector));
	}
	for (i = 0; i < count; i += 2) {
		struct hnsw_query query = { .k = 1, .ef = ef };
		double distance = 1;
		int64_t rowid = -1;

		query.vector = span_of(rig.rows[i].vector, rig.vector_size);
		EXPECT_EQ(t, graph_rig_search(&rig, &query, 1, &rowid,
		                              &distance), 1);
		lost += distance > 1e-5;
	}
	printf("note %u of %u sparse vectors lost\n", lost, count / 2);
	EXPECT(t, lost <= count / 1000);
	graph_rig_close(&rig);
}

static const struct test_case cases[] = {
	CASE(recall_is_high_with_full_vectors),
	CASE(recall_is_high_with_codes),
	CASE(recall_survives_churn),
	CASE(sparse_vectors_find_themselves),
};

TEST_MAIN(cases)
