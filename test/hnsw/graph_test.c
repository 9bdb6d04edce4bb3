/*
 * graph_test.c - graphs of every kind, changed step by step and verified.
 *
 * The pager is unkind: pages move with every edit, and pointers that outlive
 * their operation read poison. Vectors are of small whole numbers unless a case
 * says otherwise, so that distances tie and are exact.
 */
#include <math.h>

#include "hnsw/hnsw_format.h"
#include "hnsw/kernels.h"
#include "hnsw/vector.h"
#include "test/support/graph_rig.h"

static const struct hnsw_options plain = {
	.dimensions = 8, .element = HNSW_F32, .metric = HNSW_L2,
	.quantize = HNSW_NONE, .m = 4, .ef_construction = 20,
};

static struct hnsw_options with_sq8(struct hnsw_options options)
{
	options.quantize = HNSW_SQ8;
	return options;
}

/* --- churn ------------------------------------------------------------------------------- */

/* A row that is live, or the count when there is none. */
static size_t pick_live(struct graph_rig *rig, uint64_t *seed)
{
	size_t start, i;

	if (rig->live == 0)
		return rig->count;
	start = (size_t)(test_random(seed) % rig->count);
	for (i = start; !rig->rows[i].live; i = (i + 1) % rig->count)
		;
	return i;
}

/* Grows for a while, shrinks for a while, down to nothing and up again. */
static bool churn(struct graph_rig *rig, uint32_t steps, int range,
                  uint32_t check_every)
{
	uint8_t *vector = malloc(rig->vector_size);
	uint64_t *seed = &rig->t->seed;
	uint32_t step;
	bool fine = true;

	for (step = 0; fine && step < steps; step++) {
		bool growing = step / (steps / 4 + 1) % 2 == 0;
		bool insert = test_random(seed) % 4 != 0 ? growing : !growing;

		if (insert || rig->live == 0) {
			graph_rig_vector(rig, seed, range, vector);
			fine = graph_rig_insert(rig, (int64_t)step * 7, vector);
		} else {
			fine = graph_rig_delete(rig, pick_live(rig, seed));
		}
		if (fine && step % check_every == 0)
			fine = graph_rig_check(rig);
	}
	free(vector);
	return fine && graph_rig_check(rig);
}

static void churn_kind(struct test *t, const struct hnsw_options *options,
                       uint32_t page_size, uint32_t steps, int range)
{
	struct graph_rig rig;

	if (!graph_rig_open(&rig, t, options, page_size, true))
		return;
	churn(&rig, (uint32_t)test_scaled(steps, 60), range, 1);
	graph_rig_close(&rig);
}

/* (hnsw/strip S1) */
static void every_step_leaves_a_sound_graph(struct test *t)
{
	churn_kind(t, &plain, 1024, 500, 3);
}

/* (hnsw/choose L1) */
static void graphs_of_two_links_stay_connected(struct test *t)
{
	struct hnsw_options options = plain;

	options.m = 2;
	options.ef_construction = 4;
	churn_kind(t, &options, 512, 500, 2);
	if (!t->failed)
		churn_kind(t, &options, 512, 300, 0);
}

static void one_dimension_is_enough(struct test *t)
{
	struct hnsw_options options = plain;

	options.dimensions = 1;
	churn_kind(t, &options, 1024, 400, 100);
}

static void every_metric_and_element_makes_a_sound_graph(struct test *t)
{
	static const enum hnsw_element elements[] = { HNSW_F32, HNSW_F16,
		                                      HNSW_INT8 };
	static const enum hnsw_metric metrics[] = { HNSW_L2, HNSW_COSINE,
		                                    HNSW_IP, HNSW_L1 };
	struct hnsw_options options = plain;
	size_t e, m;

	options.dimensions = 5;
	for (e = 0; e < 3; e++) {
		for (m = 0; m < 4 && !t->failed; m++) {
			options.element = elements[e];
			options.metric = metrics[m];
			churn_kind(t, &options, 1024, 120, 5);
		}
	}
	options.element = HNSW_BIT;
	options.metric = HNSW_HAMMING;
	options.dimensions = 21;
	if (!t->failed)
		churn_kind(t, &options, 1024, 120, 5);
}

/* Crosses both trainings, and goes on in both codes while recoding. (hnsw/quantise
 * Q1) */
static void codes_are_learned_and_kept_true(struct test *t)
{
	static const enum hnsw_metric metrics[] = { HNSW_L2, HNSW_COSINE,
		                                    HNSW_IP, HNSW_L1 };
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;
	size_t m;

	for (m = 0; m < 4 && !t->failed; m++) {
		options.metric = metrics[m];
		if (!graph_rig_open(&rig, t, &options, 1024, true))
			return;
		churn(&rig, (uint32_t)test_scaled(1400, 1200), 40, 97);
		graph_rig_close(&rig);
	}
}

/* The first vectors lie close together, the later ones far apart: the ranges of
 * the first training are useless, and a graph of more than 4,096 is recoded in
 * steps. */
static void ranges_follow_the_data(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	uint32_t count = 4096 + 1600, i;
	struct graph_rig rig;
	float vector[2];

	options.dimensions = 2;
	options.m = 2;
	options.ef_construction = 4;
	if (!graph_rig_open(&rig, t, &options, 0, false))
		return;
	for (i = 0; i < count; i++) {
		float range = i < 4096 ? 10.0f : 4000.0f;

		vector[0] = range * (float)(test_random(&t->seed) % 1000) / 1000;
		vector[1] = range * (float)(test_random(&t->seed) % 1000) / 1000;
		if (!graph_rig_insert(&rig, i, vector))
			break;
		/* In the middle of recoding, and after it. */
		if (i == 4096 + 250)
			EXPECT(t, load_le32(memory_pager_state_bytes(rig.memory) +
			                    STATE_RECODE_LIMIT_AT) > 4096);
		if ((i == 4096 + 250 || i == count - 1) &&
		    !graph_rig_check(&rig))
			break;
	}
	if (!t->failed) {
		const uint8_t *state = memory_pager_state_bytes(rig.memory);

		EXPECT_EQ(t, load_le32(state + STATE_RECODE_LIMIT_AT), 0);
		EXPECT(t, load_le32(state + STATE_TRAIN_AT) > 16384);
		EXPECT(t, state[STATE_FLAGS_AT] & STATE_TRAINED);
	}
	graph_rig_close(&rig);
}

/* Dimensions that never change, and one that starts to after the training. */
static void constant_dimensions_are_coded(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;
	float vector[8] = { 5, 0, -3e6f, 1e-3f };
	uint32_t i;

	if (!graph_rig_open(&rig, t, &options, 0, true))
		return;
	for (i = 0; i < 400; i++) {
		vector[4] = (float)i;
		vector[5] = i < 300 ? 0 : (float)i;
		EXPECT(t, graph_rig_insert(&rig, i, vector));
	}
	EXPECT(t, graph_rig_check(&rig));
	graph_rig_close(&rig);
}

/* Steps of such numbers have no square that fits a float. */
static void numbers_too_large_for_codes_stay_vectors(struct test *t)
{
	static const float sizes[] = { 1e30f, 1e-30f };
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;
	float vector[8];
	uint32_t i, j, s;

	for (s = 0; s < 2; s++) {
		struct hnsw_query query = { .k = 5 };
		double distances[5];
		int64_t rowids[5];

		options.metric = s ? HNSW_COSINE : HNSW_IP;
		if (!graph_rig_open(&rig, t, &options, 0, true))
			return;
		for (i = 0; i < 300; i++) {
			for (j = 0; j < 8; j++)
				vector[j] = (1 + (float)(test_random(&t->seed) %
				                         100)) * sizes[s];
			EXPECT(t, graph_rig_insert(&rig, i, vector));
		}
		EXPECT(t, graph_rig_check(&rig));
		if (s == 0)
			EXPECT_EQ(t, memory_pager_state_bytes(
					     rig.memory)[STATE_FLAGS_AT], 0);
		query.vector = span_of(vector, sizeof vector);
		EXPECT_EQ(t, graph_rig_search(&rig, &query, 5, rowids,
		                              distances), 5);
		graph_rig_close(&rig);
	}
}

/* Payloads in a strip of their own, crossing pages. */
static void vectors_larger_than_a_page_cross_pages(struct test *t)
{
	struct hnsw_options options = plain;

	options.dimensions = 300;
	churn_kind(t, &options, 1024, 60, 9);
	options.metric = HNSW_COSINE;
	if (!t->failed)
		churn_kind(t, &options, 1024, 60, 9);
	options = with_sq8(options);
	options.dimensions = 1500;
	if (!t->failed)
		churn_kind(t, &options, 1024, 700, 9);
}

static void the_largest_vectors_fit(struct test *t)
{
	struct hnsw_options options = plain;
	struct graph_rig rig;
	uint32_t i;
	float *vector = calloc(VECTOR_DIMENSIONS_MAX, sizeof *vector);
	int64_t rowids[3];
	double distances[3];
	struct hnsw_query query = { .k = 3 };

	options.dimensions = VECTOR_DIMENSIONS_MAX;
	if (!graph_rig_open(&rig, t, &options, 0, true))
		return;
	for (i = 0; i < 12; i++) {
		vector[i * 5000] = (float)(i + 1);
		if (!graph_rig_insert(&rig, i, vector))
			return;
	}
	EXPECT(t, graph_rig_check(&rig));
	query.vector = span_of(vector, rig.vector_size);
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 3, rowids, distances), 3);
	EXPECT_EQ(t, rowids[0], 11);
	EXPECT(t, distances[0] == 0.0);
	EXPECT_EQ(t, rowids[1], 10);
	EXPECT(t, fabs(distances[1] - 12.0) < 1e-6);
	EXPECT(t, graph_rig_delete(&rig, 11));
	EXPECT(t, graph_rig_check(&rig));
	free(vector);
	graph_rig_close(&rig);
}

static void equal_vectors_are_all_found(struct test *t)
{
	struct hnsw_options options = plain;
	uint32_t count = 1000, missed = 0, i;
	struct graph_rig rig;
	float same[8] = { 1, 2, 3 }, other[8] = { 0 };
	int64_t *rowids = malloc((count + 50) * sizeof *rowids);
	double *distances = malloc((count + 50) * sizeof *distances);
	struct hnsw_query query = { .vector = span_of(same, sizeof same) };

	if (!graph_rig_open(&rig, t, &options, 0, true))
		return;
	for (i = 0; i < count; i++)
		EXPECT(t, graph_rig_insert(&rig, i, same));
	for (i = 0; i < 50; i++) {
		other[i % 8] += 20;
		EXPECT(t, graph_rig_insert(&rig, 100000 + i, other));
	}
	EXPECT(t, graph_rig_check(&rig));
	query.k = count;
	EXPECT_EQ(t, graph_rig_search(&rig, &query, (int)count + 50, rowids,
	                              distances), count);
	for (i = 0; i < count; i++)
		missed += distances[i] != 0.0;
	EXPECT_EQ(t, missed, 0);
	/* The crowd does not keep a search from what lies elsewhere. */
	query.vector = span_of(other, sizeof other);
	query.k = 10;
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 10, rowids, distances), 10);
	EXPECT_EQ(t, rowids[0], 100049);
	EXPECT(t, rowids[9] >= 100000);
	for (i = 0; i < count; i += 2)
		EXPECT(t, graph_rig_delete(&rig, i));
	EXPECT(t, graph_rig_check(&rig));
	free(rowids);
	free(distances);
	graph_rig_close(&rig);
}

static void the_last_deletion_gives_all_pages_back(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;
	uint8_t vector[32];
	uint32_t i;

	if (!graph_rig_open(&rig, t, &options, 512, true))
		return;
	for (i = 0; i < 300; i++) {
		graph_rig_vector(&rig, &t->seed, 20, vector);
		EXPECT(t, graph_rig_insert(&rig, i, vector));
	}
	for (i = 0; i < 300; i++)
		EXPECT(t, graph_rig_delete(&rig, i));
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, memory_pager_pages_of_kind(rig.memory, PAGE_GRAPH_META), 1);
	EXPECT_EQ(t, memory_pager_pages_of_kind(rig.memory, PAGE_GRAPH_NODES),
	          0);
	EXPECT_EQ(t, memory_pager_pages_of_kind(rig.memory, PAGE_GRAPH_VECTORS),
	          0);
	EXPECT(t, graph_rig_insert(&rig, 1, vector));
	EXPECT(t, graph_rig_check(&rig));
	graph_rig_close(&rig);
}

/* --- transactions -------------------------------------------------------------------------- */

static void fill(struct graph_rig *rig, uint32_t from, uint32_t to)
{
	uint8_t *vector = malloc(rig->vector_size);

	for (; from < to && !rig->t->failed; from++) {
		graph_rig_vector(rig, &rig->t->seed, 30, vector);
		graph_rig_insert(rig, from, vector);
	}
	free(vector);
}

static void a_savepoint_brings_the_graph_back(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	int64_t before[20], after[20];
	double distances[20];
	struct graph_rig rig;
	struct graph_row *rows;
	struct hnsw_query query = { .k = 20 };
	uint8_t vector[32];
	size_t live, i;
	uint64_t print;

	if (!graph_rig_open(&rig, t, &options, 1024, true))
		return;
	fill(&rig, 0, 200);
	graph_rig_vector(&rig, &t->seed, 30, vector);
	query.vector = span_of(vector, sizeof vector);
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, before, distances), 20);
	print = memory_pager_fingerprint(rig.memory);
	live = rig.live;
	rows = malloc(rig.count * sizeof *rows);
	memcpy(rows, rig.rows, rig.count * sizeof *rows);

	memory_pager_savepoint(rig.memory, 0);
	for (i = 0; i < 50; i++)
		EXPECT(t, graph_rig_delete(&rig, i * 3));
	fill(&rig, 1000, 1200); /* the first training falls here */
	EXPECT(t, graph_rig_check(&rig));
	memory_pager_rollback_to(rig.memory, 0);

	for (i = live; i < rig.count; i++)
		free(rig.rows[i].vector);
	memcpy(rig.rows, rows, live * sizeof *rows);
	rig.count = rig.live = live;
	EXPECT(t, memory_pager_fingerprint(rig.memory) == print);
	EXPECT(t, graph_rig_check(&rig));
	EXPECT_EQ(t, graph_rig_search(&rig, &query, 20, after, distances), 20);
	EXPECT_EQ(t, memcmp(before, after, sizeof before), 0);
	free(rows);
	graph_rig_close(&rig);
}

/* Fails each pager call of one operation in turn; afterwards the savepoint
 * restores a sound graph, and the next attempt succeeds. */
static void fail_each_call(struct test *t, struct graph_rig *rig, bool insert)
{
	uint64_t calls = 1, at;
	uint8_t vector[32];
	uint32_t node;
	int rc = ERR_IO;

	graph_rig_vector(rig, &t->seed, 30, vector);
	for (at = 1; rc == ERR_IO && at < 5000; at += calls) {
		memory_pager_savepoint(rig->memory, 0);
		memory_pager_fail(rig->memory, MEMORY_PAGER_ANY, at, false);
		rc = insert ? hnsw_insert(rig->graph, 5000,
		                          span_of(vector, sizeof vector), &node,
		                          &t->err) :
		              hnsw_delete(rig->graph, rig->rows[3].node, &t->err);
		memory_pager_fail(rig->memory, MEMORY_PAGER_ANY, 0, false);
		memory_pager_rollback_to(rig->memory, 0);
		memory_pager_release(rig->memory, 0);
		EXPECT(t, rc == ERR_IO || rc == ERR_NONE);
		EXPECT(t, graph_rig_check(rig));
		calls = at / 20 + 1;
	}
	EXPECT_OK(t, rc);
	EXPECT(t, at > 10);
}

static void any_failed_call_is_an_error_and_undone(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;

	if (!graph_rig_open(&rig, t, &options, 1024, true))
		return;
	fill(&rig, 0, 255); /* so that the insertion trains */
	fail_each_call(t, &rig, true);
	if (!t->failed)
		fail_each_call(t, &rig, false);
	graph_rig_close(&rig);
}

static void no_memory_is_an_error_and_no_leak(struct test *t)
{
	struct hnsw_options options = with_sq8(plain);
	struct hnsw_search *search;
	struct graph_rig rig;
	struct hnsw_query query = { .k = 5 };
	struct hnsw *graph;
	uint8_t vector[32];
	uint32_t node;
	int at, rc = ERR_NOMEM;

	if (!graph_rig_open(&rig, t, &options, 1024, true))
		return;
	fill(&rig, 0, 255);
	graph_rig_vector(&rig, &t->seed, 30, vector);
	query.vector = span_of(vector, sizeof vector);
	for (at = 1; rc == ERR_NOMEM && at < 200; at++) {
		memory_pager_savepoint(rig.memory, 0);
		rig.heap.fail_in = at;
		rc = hnsw_open(memory_pager_of(rig.memory),
		               hnsw_kernels_for(CPU_C), &graph, &t->err);
		if (!rc) {
			rc = hnsw_insert(graph, 5000,
			                 span_of(vector, sizeof vector), &node,
			                 &t->err);
			if (!rc)
				rc = hnsw_delete(graph, rig.rows[3].node,
				                 &t->err);
			if (!rc)
				rc = hnsw_search_begin(graph, &query, &search,
				                       &t->err);
			if (!rc)
				hnsw_search_end(search);
			hnsw_close(graph);
		}
		rig.heap.fail_in = 0;
		memory_pager_rollback_to(rig.memory, 0);
		memory_pager_release(rig.memory, 0);
		EXPECT(t, rc == ERR_NOMEM || rc == ERR_NONE);
		EXPECT(t, graph_rig_check(&rig));
	}
	EXPECT_OK(t, rc);
	EXPECT(t, at > 10);
	graph_rig_close(&rig);
}

/* --- the same bytes ------------------------------------------------------------------------ */

static uint64_t print_of_build(struct test *t, enum cpu_level level)
{
	struct hnsw_options options = with_sq8(plain);
	struct graph_rig rig;
	uint64_t seed = 42, print = 0;
	uint8_t vector[32];
	uint32_t i, node;

	if (!graph_rig_open(&rig, t, &options, 1024, false))
		return 0;
	hnsw_close(rig.graph);
	rig.graph = NULL;
	if (hnsw_open(memory_pager_of(rig.memory), hnsw_kernels_for(level),
	              &rig.graph, &t->err))
		return 0;
	for (i = 0; i < 600; i++) {
		graph_rig_vector(&rig, &seed, 30, vector);
		if (hnsw_insert(rig.graph, i, span_of(vector, sizeof vector),
		                &node, &t->err))
			break;
		if (i % 3 == 2 && hnsw_delete(rig.graph, node / 2, &t->err) &&
		    hnsw_delete(rig.graph, node, &t->err))
			break;
	}
	if (i == 600)
		print = memory_pager_fingerprint(rig.memory);
	graph_rig_close(&rig);
	return print;
}

static void two_replicas_build_the_same_bytes(struct test *t)
{
	uint64_t first = print_of_build(t, CPU_C);

	EXPECT(t, first != 0);
	EXPECT(t, print_of_build(t, CPU_C) == first);
	EXPECT(t, print_of_build(t, cpu_level_pick(NULL)) == first);
	EXPECT(t, print_of_build(t, cpu_level_pick("avx2")) == first);
}

static void a_rowid_changes_without_touching_links(struct test *t)
{
	struct graph_rig rig;

	if (!graph_rig_open(&rig, t, &plain, 1024, true))
		return;
	fill(&rig, 0, 50);
	EXPECT_OK(t, hnsw_rowid_set(rig.graph, rig.rows[7].node, -99, &t->err));
	rig.rows[7].rowid = -99;
	EXPECT(t, graph_rig_check(&rig));
	graph_rig_close(&rig);
}

static void nodes_that_are_gone_are_named(struct test *t)
{
	struct span vector;
	struct graph_rig rig;
	int64_t rowid;

	if (!graph_rig_open(&rig, t, &plain, 1024, true))
		return;
	fill(&rig, 0, 50);
	EXPECT(t, graph_rig_delete(&rig, 7));
	EXPECT_ERR(t, hnsw_vector(rig.graph, rig.rows[7].node, &vector, &rowid,
	                          &t->err),
	           ERR_CORRUPT, "does not exist");
	EXPECT_ERR(t, hnsw_delete(rig.graph, rig.rows[7].node, &t->err),
	           ERR_CORRUPT, "does not exist");
	EXPECT_ERR(t, hnsw_delete(rig.graph, 50, &t->err), ERR_CORRUPT,
	           "beyond the last");
	EXPECT(t, graph_rig_check(&rig));
	graph_rig_close(&rig);
}

static void options_out_of_range_are_refused(struct test *t)
{
	static const struct {
		struct hnsw_options options;
		const char *words;
	} wrong[] = {
		{ { 0, HNSW_F32, HNSW_L2, HNSW_NONE, 16, 200 }, "dimensions is 0" },
		{ { 65537, HNSW_F32, HNSW_L2, HNSW_NONE, 16, 200 }, "1 to 65536" },
		{ { 4, HNSW_F32, HNSW_L2, HNSW_NONE, 1, 200 }, "m is 1" },
		{ { 4, HNSW_F32, HNSW_L2, HNSW_NONE, 129, 200 }, "m is 129" },
		{ { 4, HNSW_F32, HNSW_L2, HNSW_NONE, 16, 3 }, "ef_construction" },
		{ { 4, HNSW_F32, HNSW_HAMMING, HNSW_NONE, 16, 200 }, "hamming" },
		{ { 4, HNSW_BIT, HNSW_L2, HNSW_NONE, 16, 200 }, "hamming" },
		{ { 4, HNSW_INT8, HNSW_L2, HNSW_SQ8, 16, 200 }, "sq8" },
	};
	struct memory_pager *memory;
	struct heap heap;
	size_t i;

	heap_init(&heap);
	EXPECT_OK(t, memory_pager_open(&memory, &heap, 0, true, &t->err));
	memory_pager_begin(memory);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		EXPECT_ERR(t, hnsw_create(memory_pager_of(memory),
		                          &wrong[i].options, &t->err),
		           ERR_INVALID, wrong[i].words);
	memory_pager_close(memory);
}

static const struct test_case cases[] = {
	CASE(every_step_leaves_a_sound_graph),
	CASE(graphs_of_two_links_stay_connected),
	CASE(one_dimension_is_enough),
	CASE(every_metric_and_element_makes_a_sound_graph),
	CASE(codes_are_learned_and_kept_true),
	CASE(ranges_follow_the_data),
	CASE(constant_dimensions_are_coded),
	CASE(numbers_too_large_for_codes_stay_vectors),
	CASE(vectors_larger_than_a_page_cross_pages),
	CASE(the_largest_vectors_fit),
	CASE(equal_vectors_are_all_found),
	CASE(the_last_deletion_gives_all_pages_back),
	CASE(a_savepoint_brings_the_graph_back),
	CASE(any_failed_call_is_an_error_and_undone),
	CASE(no_memory_is_an_error_and_no_leak),
	CASE(two_replicas_build_the_same_bytes),
	CASE(a_rowid_changes_without_touching_links),
	CASE(nodes_that_are_gone_are_named),
	CASE(options_out_of_range_are_refused),
};

TEST_MAIN(cases)
