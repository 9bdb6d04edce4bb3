/*
 * search_test.c - what a search returns, in what order, and what it survives.
 *
 * The graph is wide enough for its size to find everything; answers are compared
 * with a plain loop over the rows.
 */
#include <math.h>

#include "hnsw/kernels.h"
#include "hnsw/vector.h"
#include "test/support/graph_rig.h"

enum { ROWS = 600, DIMENSIONS = 6 };

static const struct hnsw_options plain = {
	.dimensions = DIMENSIONS, .element = HNSW_F32, .metric = HNSW_L2,
	.quantize = HNSW_NONE, .m = 8, .ef_construction = 60,
};

static void random_vector(struct test *t, float *vector)
{
	uint32_t i;

	for (i = 0; i < DIMENSIONS; i++)
		vector[i] = (float)(test_random(&t->seed) % 100000) / 1000 - 40;
}

static bool fill(struct graph_rig *rig, int64_t from, int64_t to)
{
	float vector[DIMENSIONS];

	for (; from < to; from++) {
		random_vector(rig->t, vector);
		if (!graph_rig_insert(rig, from, vector))
			return false;
	}
	return true;
}

static double distance_to(const struct graph_rig *rig, const float *query,
                          const struct graph_row *row)
{
	return hnsw_distance(hnsw_kernels_for(CPU_C), rig->options.metric,
	                     rig->options.element, rig->options.dimensions,
	                     query, row->vector);
}

static bool is_even(void *context, int64_t rowid)
{
	++*(int *)context;
	return rowid % 2 == 0;
}

static bool is_rare(void *context, int64_t rowid)
{
	++*(int *)context;
	return rowid % 97 == 5;
}

static bool is_none(void *context, int64_t rowid)
{
	(void)rowid;
	++*(int *)context;
	return false;
}

/* The k nearest live rows that the filter accepts, by a plain loop. */
static int nearest(const struct graph_rig *rig, const float *query, int k,
                   bool (*accept)(void *, int64_t), int64_t *rowids)
{
	double *distances = malloc((size_t)k * sizeof *distances);
	int count = 0, calls = 0, i;
	size_t r;

	for (r = 0; r < rig->count; r++) {
		const struct graph_row *row = &rig->rows[r];
		double d = distance_to(rig, query, row);

		if (!row->live || (accept && !accept(&calls, row->rowid)))
			continue;
		if (count == k && d >= distances[k - 1])
			continue;
		count += count < k;
		for (i = count - 1; i > 0 && distances[i - 1] > d; i--) {
			distances[i] = distances[i - 1];
			rowids[i] = rowids[i - 1];
		}
		distances[i] = d;
		rowids[i] = row->rowid;
	}
	free(distances);
	return count;
}

static bool open_filled(struct graph_rig *rig, struct test *t,
                        enum hnsw_metric metric, enum hnsw_quantize quantize)
{
	struct hnsw_options options = plain;

	options.metric = metric;
	options.quantize = quantize;
	return graph_rig_open(rig, t, &options, 0, true) && fill(rig, 0, ROWS);
}

static struct hnsw_query query_of(const float *vector)
{
	return (struct hnsw_query){
		.vector = span_of(vector, DIMENSIONS * sizeof *vector) };
}

static void the_nearest_come_first_at_their_distance(struct test *t)
{
	static const enum hnsw_metric metrics[] = { HNSW_L2, HNSW_COSINE,
		                                    HNSW_IP, HNSW_L1 };
	int64_t want[10], got[10];
	float vector[DIMENSIONS];
	double distances[10];
	struct graph_rig rig;
	int m, i, hits;

	for (m = 0; m < 8; m++) {
		struct hnsw_query query = query_of(vector);
		int round;

		if (!open_filled(&rig, t, metrics[m % 4],
		                 m < 4 ? HNSW_NONE : HNSW_SQ8))
			return;
		query.k = 10;
		query.ef = 100;
		hits = 0;
		for (round = 0; round < 20; round++) {
			random_vector(t, vector);
			nearest(&rig, vector, 10, NULL, want);
			EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, got,
			                              distances), 10);
			for (i = 0; i < 10; i++) {
				double d = distance_to(&rig, vector,
				                       &rig.rows[got[i]]);

				EXPECT(t, fabs(distances[i] - d) <=
				                  1e-6 * fabs(d) + 1e-6);
				EXPECT(t, i == 0 ||
				          distances[i] >= distances[i - 1]);
				hits += got[i] == want[i];
			}
		}
		EXPECT(t, hits >= 190);
		graph_rig_close(&rig);
	}
}

static void an_exact_search_reads_every_row(struct test *t)
{
	int64_t want[50], got[50];
	float vector[DIMENSIONS];
	double distances[50];
	struct hnsw_query query = query_of(vector);
	struct graph_rig rig;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_SQ8))
		return;
	random_vector(t, vector);
	query.k = 50;
	query.exact = true;
	nearest(&rig, vector, 50, NULL, want);
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 50, got, distances), 50);
	EXPECT_EQ(t, memcmp(want, got, sizeof want), 0);
	graph_rig_close(&rig);
}

static void without_k_every_row_comes_once(struct test *t)
{
	static int64_t got[ROWS + 1];
	static double distances[ROWS + 1];
	bool seen[ROWS] = { false };
	float vector[DIMENSIONS];
	struct hnsw_query query = query_of(vector);
	struct graph_rig rig;
	int i, disorder = 0;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_SQ8))
		return;
	random_vector(t, vector);
	EXPECT_EQ(t, graph_rig_search(&rig, &query, ROWS + 1, got, distances),
	          ROWS);
	for (i = 0; i < ROWS; i++) {
		EXPECT(t, !seen[got[i]]);
		seen[got[i]] = true;
		disorder += i > 0 && distances[i] < distances[i - 1];
	}
	EXPECT(t, disorder <= 2);
	graph_rig_close(&rig);
}

static void a_filter_holds_during_the_search(struct test *t)
{
	int64_t want[10], got[10];
	float vector[DIMENSIONS];
	double distances[10];
	struct hnsw_query query = query_of(vector);
	struct graph_rig rig;
	int calls = 0, count, i, hits = 0;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_NONE))
		return;
	query.accept_context = &calls;
	query.k = 10;
	query.accept = is_even;
	for (i = 0; i < 20; i++) {
		int j;

		random_vector(t, vector);
		nearest(&rig, vector, 10, is_even, want);
		EXPECT_EQ(t, graph_rig_search(&rig, &query, 10, got, distances),
		          10);
		for (j = 0; j < 10; j++) {
			EXPECT(t, got[j] % 2 == 0);
			hits += got[j] == want[j];
		}
	}
	EXPECT(t, hits >= 190);
	/* Fewer come back only when fewer match. */
	query.accept = is_rare;
	count = nearest(&rig, vector, 10, is_rare, want);
	EXPECT(t, count < 10);
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 10, got, distances), count);
	EXPECT_EQ(t, memcmp(want, got, (size_t)count * sizeof *got), 0);
	query.accept = is_none;
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 10, got, distances), 0);
	graph_rig_close(&rig);
}

static void k_counts_no_further_than_the_rows(struct test *t)
{
	int64_t got[20];
	float vector[DIMENSIONS] = { 1 };
	double distances[20];
	struct hnsw_query query = query_of(vector);
	struct graph_rig rig;

	if (!graph_rig_open(&rig, t, &plain, 0, true))
		return;
	query.k = 20;
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, got, distances), 0);
	EXPECT(t, graph_rig_insert(&rig, 5, vector));
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, got, distances), 1);
	EXPECT_EQ(t, got[0], 5);
	EXPECT(t, fill(&rig, 100, 110));
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, got, distances), 11);
	EXPECT_EQ(t, got[0], 5);
	graph_rig_close(&rig);
}

/* As DELETE ... WHERE face MATCH :q does it: each row is deleted as it comes. */
static void a_search_goes_on_while_its_rows_are_deleted(struct test *t)
{
	bool seen[ROWS] = { false };
	float vector[DIMENSIONS];
	struct hnsw_query query = query_of(vector);
	struct hnsw_search *search;
	struct graph_rig rig;
	double distance;
	int64_t rowid;
	uint32_t node;
	bool more;
	int i;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_SQ8))
		return;
	random_vector(t, vector);
	EXPECT_OK(t, hnsw_search_begin(rig.graph, &query, &search, &t->err));
	for (i = 0; i < ROWS; i++) {
		memory_pager_operation_end(rig.memory);
		EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance,
		                              &more, &t->err));
		EXPECT(t, more);
		EXPECT(t, rowid < ROWS && !seen[rowid]);
		seen[rowid] = true;
		EXPECT_EQ(t, rig.rows[rowid].node, node);
		EXPECT(t, graph_rig_delete(&rig, (size_t)rowid));
		/* A newcomer may take the id; it is a row of its own. */
		if (i % 50 == 0) {
			float far[DIMENSIONS] = { 1000, 1000 };

			EXPECT(t, graph_rig_insert(&rig, 10000 + i, far));
		}
	}
	EXPECT(t, graph_rig_check(&rig));
	for (i = 0; i < ROWS / 50; i++) {
		EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance,
		                              &more, &t->err));
		EXPECT(t, more && rowid >= 10000);
	}
	EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance, &more,
	                              &t->err));
	EXPECT(t, !more);
	hnsw_search_end(search);
	graph_rig_close(&rig);
}

/* An UPDATE of the vector moves a row; it does not come again. */
static void a_row_that_moves_comes_once(struct test *t)
{
	float vector[DIMENSIONS] = { 0 }, far[DIMENSIONS] = { 500 };
	struct hnsw_query query = query_of(vector);
	struct hnsw_search *search;
	struct graph_rig rig;
	double distance;
	int64_t rowid, first;
	uint32_t node;
	bool more;
	int rest = 0;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_NONE))
		return;
	EXPECT_OK(t, hnsw_search_begin(rig.graph, &query, &search, &t->err));
	EXPECT_OK(t, hnsw_search_next(search, &first, &node, &distance, &more,
	                              &t->err));
	EXPECT(t, graph_rig_delete(&rig, (size_t)first));
	EXPECT(t, graph_rig_insert(&rig, first, far));
	for (;;) {
		EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance,
		                              &more, &t->err));
		if (!more)
			break;
		EXPECT(t, rowid != first);
		rest++;
	}
	EXPECT_EQ(t, rest, ROWS - 1);
	hnsw_search_end(search);
	graph_rig_close(&rig);
}

static void a_search_survives_a_rollback(struct test *t)
{
	float vector[DIMENSIONS] = { 0 };
	struct hnsw_query query = query_of(vector);
	struct hnsw_search *search;
	struct graph_rig rig;
	double distance;
	int64_t rowid;
	uint32_t node;
	bool more;
	int count = 0;

	if (!open_filled(&rig, t, HNSW_L2, HNSW_SQ8))
		return;
	memory_pager_savepoint(rig.memory, 0);
	EXPECT(t, fill(&rig, ROWS, 2 * ROWS));
	EXPECT_OK(t, hnsw_search_begin(rig.graph, &query, &search, &t->err));
	EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance, &more,
	                              &t->err));
	memory_pager_rollback_to(rig.memory, 0);
	for (;;) {
		EXPECT_OK(t, hnsw_search_next(search, &rowid, &node, &distance,
		                              &more, &t->err));
		if (!more)
			break;
		EXPECT(t, rowid < ROWS);
		count++;
	}
	EXPECT(t, count == ROWS || count == ROWS - 1);
	hnsw_search_end(search);
	graph_rig_close(&rig);
}

static void queries_that_make_no_sense_are_refused(struct test *t)
{
	float vector[DIMENSIONS] = { 0 };
	struct hnsw_query query = query_of(vector);
	struct hnsw_options options = plain;
	struct hnsw_search *search;
	struct graph_rig rig;

	options.metric = HNSW_COSINE;
	if (!graph_rig_open(&rig, t, &options, 0, true))
		return;
	EXPECT_ERR(t, hnsw_search_begin(rig.graph, &query, &search, &t->err),
	           ERR_INVALID, "all zeros");
	vector[0] = 1;
	query.k = 65537;
	EXPECT_ERR(t, hnsw_search_begin(rig.graph, &query, &search, &t->err),
	           ERR_INVALID, "k is 65537");
	query.k = 1;
	query.vector.size = 8;
	EXPECT_ERR(t, hnsw_search_begin(rig.graph, &query, &search, &t->err),
	           ERR_INVALID, "expected 6 dimensions in 24 bytes, got 8");
	vector[1] = INFINITY;
	query.vector.size = sizeof vector;
	EXPECT_ERR(t, hnsw_search_begin(rig.graph, &query, &search, &t->err),
	           ERR_INVALID, "not a finite number");
	graph_rig_close(&rig);
}

static const struct test_case cases[] = {
	CASE(the_nearest_come_first_at_their_distance),
	CASE(an_exact_search_reads_every_row),
	CASE(without_k_every_row_comes_once),
	CASE(a_filter_holds_during_the_search),
	CASE(k_counts_no_further_than_the_rows),
	CASE(a_search_goes_on_while_its_rows_are_deleted),
	CASE(a_row_that_moves_comes_once),
	CASE(a_search_survives_a_rollback),
	CASE(queries_that_make_no_sense_are_refused),
};

TEST_MAIN(cases)
