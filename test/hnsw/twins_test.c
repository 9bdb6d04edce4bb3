/*
 * twins_test.c - rows with the very same vector, or nearly the same.
 *
 * Once equal vectors were nodes like any other: they linked only to each other,
 * or to one of them, a walk filled up with them, and a search for all of 300 left
 * out up to 4 %. A first repair spread their links, and hid rows just inserted.
 */
#include <math.h>

#include "hnsw/kernels.h"
#include "test/support/graph_rig.h"
#include "test/support/vector_data.h"

static const struct hnsw_options plain = {
	.dimensions = 8, .element = HNSW_F32, .metric = HNSW_L2,
	.quantize = HNSW_NONE, .m = 4, .ef_construction = 20,
};

/* How many of the rows a search gives that has to give `k`, all at one distance. */
static uint32_t found_at(struct graph_rig *rig, const float *vector, uint32_t k,
                         double distance)
{
	struct hnsw_query query = { .vector = span_of(vector,
		                                      rig->vector_size) };
	double *distances = malloc((k + 1) * sizeof *distances);
	int64_t *rowids = malloc((k + 1) * sizeof *rowids);
	uint32_t found = 0;
	int count, i;

	query.k = k;
	count = graph_rig_search(rig, &query, (int)k, rowids, distances);
	for (i = 0; i < count; i++)
		found += fabs(distances[i] - distance) < 1e-6;
	free(distances);
	free(rowids);
	return found;
}

/* Without k: every row comes, each once, and these first. */
static uint32_t found_first(struct graph_rig *rig, const float *vector,
                            uint32_t count)
{
	struct hnsw_query query = { .vector = span_of(vector,
		                                      rig->vector_size) };
	double *distances = malloc((rig->live + 1) * sizeof *distances);
	int64_t *rowids = malloc((rig->live + 1) * sizeof *rowids);
	uint32_t found = 0;
	int given;

	given = graph_rig_search(rig, &query, (int)rig->live + 1, rowids,
	                         distances);
	while (given == (int)rig->live && found < count &&
	       distances[found] < 1e-6)
		found++;
	free(distances);
	free(rowids);
	return found;
}

static int by_rowid(const void *left, const void *right)
{
	const int64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

static bool all_come_once(struct graph_rig *rig, const float *vector)
{
	struct hnsw_query query = { .vector = span_of(vector,
		                                      rig->vector_size) };
	double *distances = malloc((rig->live + 1) * sizeof *distances);
	int64_t *rowids = malloc((rig->live + 1) * sizeof *rowids);
	bool once;
	int count, i;

	count = graph_rig_search(rig, &query, (int)rig->live + 1, rowids,
	                         distances);
	once = count == (int)rig->live;
	if (count > 0)
		qsort(rowids, (size_t)count, sizeof *rowids, by_rowid);
	for (i = 1; i < count; i++)
		once &= rowids[i] != rowids[i - 1];
	free(distances);
	free(rowids);
	return once;
}

static void all_equal_ones_are_found(struct test *t, uint32_t count,
                                     enum hnsw_metric metric,
                                     enum hnsw_quantize quantize)
{
	struct hnsw_options options = plain;
	float same[8] = { 1, 2, 3, 0, 2 }, other[8];
	struct graph_rig rig;
	uint32_t i;

	options.metric = metric;
	options.quantize = quantize;
	if (!graph_rig_open(&rig, t, &options, 0, false))
		return;
	for (i = 0; i < count; i++) {
		EXPECT(t, graph_rig_insert(&rig, i, same));
		if (i % 4)
			continue;
		graph_rig_vector(&rig, &t->seed, 50, (uint8_t *)other);
		EXPECT(t, graph_rig_insert(&rig, 100000 + i, other));
	}
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, found_at(&rig, same, count, 0.0), count);
	EXPECT_EQ(t, found_at(&rig, same, count / 2, 0.0), count / 2);
	EXPECT_EQ(t, found_at(&rig, same, 1, 0.0), 1);
	EXPECT_EQ(t, found_first(&rig, same, count), count);
	/* The crowd keeps nobody from what lies elsewhere. */
	EXPECT_EQ(t, found_at(&rig, other, 1, 0.0), 1);
	/* The head goes first, then every second twin, then they come back. */
	for (i = 0; i < rig.count; i += 2)
		EXPECT(t, graph_rig_delete(&rig, i));
	EXPECT(t, graph_rig_check(&rig));
	for (i = 0; i < count / 4; i++)
		EXPECT(t, graph_rig_insert(&rig, 200000 + i, same));
	EXPECT(t, graph_rig_check(&rig));
	count = 0;
	for (i = 0; i < rig.count; i++)
		count += rig.rows[i].live &&
		         memcmp(rig.rows[i].vector, same, sizeof same) == 0;
	EXPECT_EQ(t, found_at(&rig, same, count, 0.0), count);
	EXPECT_EQ(t, found_first(&rig, same, count), count);
	graph_rig_close(&rig);
}

static void equal_vectors_are_all_found(struct test *t)
{
	static const uint32_t counts[] = { 300, 1000, 5000 };
	static const enum hnsw_metric metrics[] = { HNSW_L2, HNSW_COSINE,
		                                    HNSW_L1 };
	size_t i, m;

	for (i = 0; i < 3; i++) {
		for (m = 0; m < 3 && !t->failed; m++)
			all_equal_ones_are_found(t, counts[i], metrics[m],
			                         HNSW_NONE);
		for (m = 0; m < 3 && !t->failed; m++)
			all_equal_ones_are_found(t, counts[i], metrics[m],
			                         HNSW_SQ8);
	}
}

/* Inner products: an equal vector is not the nearest one, and need not be met. */
static void equal_vectors_come_once_among_larger_ones(struct test *t)
{
	struct hnsw_options options = plain;
	float same[8] = { 1, 2, 3 }, large[8];
	uint32_t count = 300, i;
	struct graph_rig rig;

	options.metric = HNSW_IP;
	if (!graph_rig_open(&rig, t, &options, 0, true))
		return;
	for (i = 0; i < count; i++) {
		graph_rig_vector(&rig, &t->seed, 9, (uint8_t *)large);
		EXPECT(t, graph_rig_insert(&rig, i, same));
		EXPECT(t, graph_rig_insert(&rig, 1000 + i, large));
	}
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, all_come_once(&rig, same), true);
	graph_rig_close(&rig);
}

/* Vectors on a line, as far apart as near twins may just be, come and go: heads
 * leave, and what was near to them is not near to their heirs. */
static void near_twins_come_and_go(struct test *t, enum hnsw_metric metric,
                                   enum hnsw_quantize quantize)
{
	struct hnsw_options options = plain;
	uint32_t steps = (uint32_t)test_scaled(600, 300), step;
	struct graph_rig rig;
	size_t row;

	options.metric = metric;
	options.quantize = quantize;
	if (!graph_rig_open(&rig, t, &options, 1024, true))
		return;
	for (step = 0; step < steps; step++) {
		float vector[8] = { 10, 20 };

		vector[2] = (float)(test_random(&t->seed) % 60) * 1e-3f *
		            0.35f;
		EXPECT(t, graph_rig_insert(&rig, step, vector));
		row = (size_t)(test_random(&t->seed) % rig.count);
		if (rig.rows[row].live && step % 4 != 0)
			EXPECT(t, graph_rig_delete(&rig, row));
		if (step % 7 == 0)
			EXPECT(t, graph_rig_check(&rig));
	}
	EXPECT(t, graph_rig_check(&rig));
	EXPECT(t, all_come_once(&rig, (const float *)(const void *)
	                                      rig.rows[0].vector));
	graph_rig_close(&rig);
}

static void near_twins_stay_near(struct test *t)
{
	static const enum hnsw_metric metrics[] = { HNSW_L2, HNSW_COSINE,
		                                    HNSW_IP, HNSW_L1 };
	size_t m;

	for (m = 0; m < 4; m++) {
		near_twins_come_and_go(t, metrics[m], HNSW_NONE);
		if (!t->failed)
			near_twins_come_and_go(t, metrics[m], HNSW_SQ8);
		if (t->failed)
			return;
	}
}

/* --- each finds itself ---------------------------------------------------------------------- */

enum { DIMENSIONS = 32 };

enum { FOUND_MAX = 1600 };

/* Rows that a search for their own vector does not find, with room for `k`. */
static uint32_t lost_rows(struct graph_rig *rig, uint32_t step, uint32_t k)
{
	double distances[FOUND_MAX];
	int64_t rowids[FOUND_MAX];
	uint32_t lost = 0;
	size_t row;
	int i, count;

	for (row = 0; row < rig->count; row += step) {
		struct hnsw_query query = { .k = k, .ef = k };
		bool found = false;

		if (!rig->rows[row].live)
			continue;
		query.vector = span_of(rig->rows[row].vector, rig->vector_size);
		count = graph_rig_search(rig, &query, (int)k, rowids,
		                         distances);
		for (i = 0; i < count; i++)
			found |= rowids[i] == rig->rows[row].rowid;
		lost += !found;
	}
	return lost;
}

static float noise(uint64_t *seed)
{
	return 1e-6f * ((float)(test_random(seed) % 2001) / 1000 - 1);
}

/* `copies` of each vector, with noise or without, in an order that mixes them;
 * those of one vector in a row would link to nothing else. */
static void clusters_find_themselves(struct test *t, uint32_t count,
                                     uint32_t copies, bool noisy,
                                     enum hnsw_quantize quantize)
{
	struct hnsw_options options = plain;
	struct vector_data *data = vector_data_open(DIMENSIONS, 11);
	uint32_t own = count / copies, i, j;
	struct graph_rig rig;
	float vector[DIMENSIONS];

	options.dimensions = DIMENSIONS;
	options.m = 12;
	options.ef_construction = 64;
	options.quantize = quantize;
	if (!graph_rig_open(&rig, t, &options, 0, false))
		return;
	for (i = 0; i < count; i++) {
		vector_data_make(data, VECTOR_DATA_BASE, i % own, vector);
		for (j = 0; noisy && i >= own && j < DIMENSIONS; j++)
			vector[j] += noise(&t->seed);
		EXPECT(t, graph_rig_insert(&rig, i, vector));
	}
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, lost_rows(&rig, 3, 100), 0);
	for (i = 0; i < count; i += 3)
		EXPECT(t, graph_rig_delete(&rig, i));
	for (i = 0; i < count; i += 3)
		EXPECT(t, graph_rig_insert(&rig, count + i,
		                           rig.rows[i].vector));
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, lost_rows(&rig, 7, 100), 0);
	vector_data_close(data);
	graph_rig_close(&rig);
}

static void near_duplicates_find_themselves(struct test *t)
{
	uint32_t count = (uint32_t)test_scaled(12000, 2000);

	clusters_find_themselves(t, count, 2, true, HNSW_NONE);
	if (!t->failed)
		clusters_find_themselves(t, count, 2, true, HNSW_SQ8);
}

static void clusters_of_fifty_find_themselves(struct test *t)
{
	uint32_t count = (uint32_t)test_scaled(5000, 1000);

	clusters_find_themselves(t, count, 50, false, HNSW_NONE);
	if (!t->failed)
		clusters_find_themselves(t, count, 50, false, HNSW_SQ8);
	if (!t->failed)
		clusters_find_themselves(t, count, 50, true, HNSW_NONE);
	if (!t->failed)
		clusters_find_themselves(t, count, 50, true, HNSW_SQ8);
}

/* Half of all rows lie around one point, closer than their codes can tell. Where they
 * are more, the search must be wider: of 8,000 rows up to a fifth is missed with 100. */
static void a_crowd_finds_itself(struct test *t)
{
	enum hnsw_quantize quantize;
	uint32_t count = (uint32_t)test_scaled(4000, 1000), i, j;
	struct vector_data *data = vector_data_open(DIMENSIONS, 11);
	struct hnsw_options options = plain;

	options.dimensions = DIMENSIONS;
	options.m = 12;
	options.ef_construction = 64;
	for (quantize = HNSW_NONE; quantize <= HNSW_SQ8; quantize++) {
		struct graph_rig rig;
		float vector[DIMENSIONS];

		options.quantize = quantize;
		if (!graph_rig_open(&rig, t, &options, 0, false))
			return;
		for (i = 0; i < count; i++) {
			vector_data_make(data, VECTOR_DATA_BASE,
			                 i % 2 ? i : 0, vector);
			for (j = 0; j < DIMENSIONS; j++)
				vector[j] += noise(&t->seed);
			EXPECT(t, graph_rig_insert(&rig, i, vector));
		}
		EXPECT(t, graph_rig_check(&rig));
		EXPECT_EQ(t, lost_rows(&rig, 5, count <= 4000 ? 100 : FOUND_MAX),
		          0);
		graph_rig_close(&rig);
	}
	vector_data_close(data);
}

static const struct test_case cases[] = {
	CASE(equal_vectors_are_all_found),
	CASE(equal_vectors_come_once_among_larger_ones),
	CASE(near_twins_stay_near),
	CASE(near_duplicates_find_themselves),
	CASE(clusters_of_fifty_find_themselves),
	CASE(a_crowd_finds_itself),
};

TEST_MAIN(cases)
