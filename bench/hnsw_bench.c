/*
 * hnsw_bench.c - graphs against hnswlib called directly, in one run.
 *
 *   hnsw_bench [ROWS [DIMENSIONS [M [EF_CONSTRUCTION]]]]
 *
 * Both take the same clustered vectors (test/support/vector_data.h) in the same
 * order, then the same queries; slices of either alternate and the best CPU time
 * of each counts, for the machine may be busy. Ours runs on a memory pager: the
 * page interface is in the figures, the store and SQL are not. Environment:
 * TURDB_SIMD lowers our CPU level, HNSW_BENCH=ours|none|sq8 leaves parts out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "bench/hnswlib_shim.h"
#include "hnsw/hnsw.h"
#include "test/support/memory_pager.h"
#include "test/support/vector_data.h"

enum { K = 10, QUERIES = 1000, REPEATS = 5, WIDTHS = 14 };

static const uint32_t widths[WIDTHS] = { 10, 14, 20, 28, 40, 56, 80, 112, 160,
	                                 224, 320, 448, 640, 900 };

struct bench {
	uint32_t rows, dimensions, m, ef_construction;
	float *base, *queries, *limits; /* limits: the k-th true distance */
};

struct side {
	const char *name;
	double build_seconds;
	double recall[WIDTHS], rate[WIDTHS]; /* queries a CPU second */
	int measured;
	struct hnswlib_index *peer;
	struct heap heap;
	struct memory_pager *memory;
	struct hnsw *graph;
};

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

static void ours_open(struct side *side, const struct bench *bench,
                      enum hnsw_quantize quantize)
{
	struct hnsw_options options = {
		.dimensions = bench->dimensions, .element = HNSW_F32,
		.metric = HNSW_L2, .quantize = quantize, .m = bench->m,
		.ef_construction = bench->ef_construction,
	};
	const struct hnsw_kernels *kernels =
		hnsw_kernels_for(cpu_level_pick(getenv("TURDB_SIMD")));
	struct err err;

	heap_init(&side->heap);
	must(memory_pager_open(&side->memory, &side->heap, 0, false, &err), &err);
	memory_pager_begin(side->memory);
	must(hnsw_create(memory_pager_of(side->memory), &options, &err), &err);
	must(hnsw_open(memory_pager_of(side->memory), kernels, &side->graph,
	               &err), &err);
}

static void side_insert(struct side *side, const struct bench *bench,
                        uint32_t row)
{
	const float *vector = bench->base + (size_t)row * bench->dimensions;
	struct err err;
	uint32_t node;

	if (side->peer)
		hnswlib_insert(side->peer, vector, row);
	else
		must(hnsw_insert(side->graph, row,
		                 span_of(vector, bench->dimensions * 4), &node,
		                 &err), &err);
}

static void side_search(struct side *side, const struct bench *bench,
                        const float *vector, uint32_t width, uint32_t *found)
{
	struct hnsw_query query = {
		.vector = span_of(vector, bench->dimensions * 4), .k = K,
		.ef = width,
	};
	struct hnsw_search *search;
	struct err err;
	uint32_t i, node;
	double distance;
	int64_t rowid;
	bool more = true;

	if (side->peer) {
		hnswlib_search(side->peer, vector, K, width, found);
		return;
	}
	must(hnsw_search_begin(side->graph, &query, &search, &err), &err);
	for (i = 0; i < K && more; i++) {
		must(hnsw_search_next(search, &rowid, &node, &distance, &more,
		                      &err), &err);
		found[i] = (uint32_t)rowid;
	}
	hnsw_search_end(search);
}

/* Slices of a hundredth alternate. */
static void build(struct side **sides, int count, const struct bench *bench)
{
	uint32_t slice = bench->rows / 100 + 1, from, i;
	int s;

	for (from = 0; from < bench->rows; from += slice) {
		for (s = 0; s < count; s++) {
			double start = cpu_seconds();

			for (i = from; i < from + slice && i < bench->rows; i++)
				side_insert(sides[s], bench, i);
			sides[s]->build_seconds += cpu_seconds() - start;
		}
	}
}

static double squared_distance(const float *a, const float *b, uint32_t n)
{
	double sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		sum += ((double)a[i] - (double)b[i]) *
		       ((double)a[i] - (double)b[i]);
	return sum;
}

static double recall_of(const struct bench *bench, const uint32_t *found)
{
	uint32_t n = bench->dimensions, hits = 0, q, i;

	for (q = 0; q < QUERIES; q++) {
		const float *query = bench->queries + (size_t)q * n;

		for (i = 0; i < K; i++)
			hits += squared_distance(bench->base + (size_t)n *
			                                       found[q * K + i],
			                         query, n) <=
			        (double)bench->limits[q] * 1.00001;
	}
	return (double)hits / (QUERIES * K);
}

static void measure(struct side **sides, int count, const struct bench *bench,
                    int width)
{
	static uint32_t found[QUERIES * K];
	double best[3] = { 1e9, 1e9, 1e9 };
	int s, repeat;
	uint32_t q;

	for (repeat = 0; repeat < REPEATS; repeat++) {
		for (s = 0; s < count; s++) {
			double start = cpu_seconds(), seconds;

			for (q = 0; q < QUERIES; q++)
				side_search(sides[s], bench,
				            bench->queries +
				                    (size_t)q * bench->dimensions,
				            widths[width], found + q * K);
			seconds = cpu_seconds() - start;
			if (seconds < best[s])
				best[s] = seconds;
			if (repeat == 0)
				sides[s]->recall[width] = recall_of(bench, found);
		}
	}
	for (s = 0; s < count; s++) {
		sides[s]->rate[width] = QUERIES / best[s];
		sides[s]->measured = width + 1;
		printf("%-8s ef %4u  recall %.4f  %8.0f queries/s\n",
		       sides[s]->name, widths[width], sides[s]->recall[width],
		       sides[s]->rate[width]);
	}
}

/* The rate at a recall, between the two nearest measurements. */
static double rate_at(const struct side *side, double recall)
{
	int i;

	if (side->measured == 0 || side->recall[0] >= recall)
		return side->measured ? side->rate[0] : 0;
	for (i = 1; i < side->measured; i++) {
		double low = side->recall[i - 1], high = side->recall[i];

		if (high >= recall)
			return exp(log(side->rate[i - 1]) +
			           (log(side->rate[i]) - log(side->rate[i - 1])) *
			                   (recall - low) / (high - low));
	}
	return 0;
}

static void report(struct side **sides, int count, const struct bench *bench)
{
	static const double recalls[] = { 0.90, 0.95, 0.99 };
	const struct side *peer = sides[0];
	int s, r;

	for (s = 0; s < count; s++) {
		printf("%-8s build %6.2f s (%.2fx)", sides[s]->name,
		       sides[s]->build_seconds,
		       sides[s]->build_seconds / peer->build_seconds);
		for (r = 0; r < 3; r++)
			printf("  @%.2f %.0f/s (%.2fx)", recalls[r],
			       rate_at(sides[s], recalls[r]),
			       rate_at(sides[s], recalls[r]) /
			               rate_at(peer, recalls[r]));
		if (sides[s]->memory) {
			uint32_t pages = memory_pager_page_count(sides[s]->memory);
			uint32_t vectors = memory_pager_pages_of_kind(
				sides[s]->memory, PAGE_GRAPH_VECTORS);

			printf("  %.0f B/row + %.0f for vectors",
			       (pages - vectors) * 16384.0 / bench->rows,
			       vectors * 16384.0 / bench->rows);
		}
		printf("\n");
	}
}

static void bench_data(struct bench *bench)
{
	struct vector_data *data = vector_data_open(bench->dimensions, 7);
	uint32_t *indices = malloc(QUERIES * K * sizeof *indices);
	float *distances = malloc(QUERIES * K * sizeof *distances);
	uint32_t q;

	bench->base = vector_data_block(data, VECTOR_DATA_BASE, bench->rows);
	bench->queries = vector_data_block(data, VECTOR_DATA_QUERIES, QUERIES);
	bench->limits = malloc(QUERIES * sizeof *bench->limits);
	vector_data_truth(bench->base, bench->rows, bench->queries, QUERIES,
	                  bench->dimensions, K, indices, distances);
	for (q = 0; q < QUERIES; q++)
		bench->limits[q] = distances[q * K + K - 1];
	free(indices);
	free(distances);
	vector_data_close(data);
}

static uint32_t argument(int argc, char **argv, int at, uint32_t otherwise)
{
	return argc > at ? (uint32_t)strtoul(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.rows = argument(argc, argv, 1, 100000),
		.dimensions = argument(argc, argv, 2, 128),
		.m = argument(argc, argv, 3, 16),
		.ef_construction = argument(argc, argv, 4, 200),
	};
	struct side peer = { .name = "hnswlib" }, none = { .name = "none" },
	            sq8 = { .name = "sq8" };
	struct side *sides[3];
	const char *only = getenv("HNSW_BENCH");
	int count = 0, width;

	bench_data(&bench);
	if (!only) {
		peer.peer = hnswlib_open(bench.dimensions, bench.rows, bench.m,
		                         bench.ef_construction);
		sides[count++] = &peer;
	}
	if (!only || strcmp(only, "sq8") != 0) {
		ours_open(&none, &bench, HNSW_NONE);
		sides[count++] = &none;
	}
	if (!only || strcmp(only, "none") != 0) {
		ours_open(&sq8, &bench, HNSW_SQ8);
		sides[count++] = &sq8;
	}
	printf("%u rows of %u dimensions, m %u, ef_construction %u\n",
	       bench.rows, bench.dimensions, bench.m, bench.ef_construction);
	build(sides, count, &bench);
	for (width = 0; width < WIDTHS; width++) {
		measure(sides, count, &bench, width);
		if (sides[0]->recall[width] > 0.998)
			break;
	}
	report(sides, count, &bench);
	return 0;
}
