/*
 * knn_bench.c - nearest neighbours through SQL, against hnswlib called directly.
 *
 *   knn_bench [-l turdb.so] [-n rows] [-q queries] [-r repeats] [-d directory]
 *
 * Purpose       Build time, recall@10 and queries a second (CPU) of a VECTOR(128)
 *               column: INSERT and SELECT ... MATCH through SQLite on one side,
 *               C++ calls without a database on the other.
 * Architecture  Both take the same clustered vectors in the same order, in slices
 *               that alternate; then the same queries at growing widths (ef). The
 *               rate at a recall lies between the two nearest measurements.
 * Usage         m 16, ef_construction 200, l2 on both. hnswlib is compiled for this
 *               very CPU; TurDB picks its kernels at run time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/hnswlib_shim.h"
#include "bench/side.h"
#include "test/support/vector_data.h"

enum { K = 10, DIMENSIONS = 128, WIDTHS = 12, M = 16, EF_CONSTRUCTION = 200 };

static const uint32_t widths[WIDTHS] = { 10, 14, 20, 28, 40, 56, 80, 112, 160,
	                                 224, 320, 448 };

struct bench {
	const char *library, *parent;
	uint32_t rows, queries;
	int repeats;
	float *base, *asked, *limits; /* limits: the tenth true distance */
};

/* hnswlib, or a table through SQL. */
struct contender {
	const char *name;
	struct hnswlib_index *peer;
	struct bench_side side;
	sqlite3_stmt *insert, *search;
	double build_seconds;
	double recall[WIDTHS], rate[WIDTHS];
	int measured;
};

static double cpu_seconds(void)
{
	return bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) * 1e-9;
}

static void table_open(struct contender *contender, const char *quantize,
                       const char *directory)
{
	char columns[160], *sql;

	bench_side_open(&contender->side, SIDE_TURDB, directory, "NORMAL");
	snprintf(columns, sizeof columns,
	         "id INTEGER PRIMARY KEY, face VECTOR(%d) HNSW (metric='l2', "
	         "m=%d, ef_construction=%d, quantize='%s')",
	         DIMENSIONS, M, EF_CONSTRUCTION, quantize);
	bench_side_create(&contender->side, quantize, columns, NULL);
	sql = sqlite3_mprintf("INSERT INTO %s(id, face) VALUES(?1, ?2)", quantize);
	contender->insert = bench_prepare(contender->side.db, sql);
	sqlite3_free(sql);
	sql = sqlite3_mprintf("SELECT id FROM %s WHERE face MATCH ?1 AND k = %d "
	                      "AND ef = ?2", quantize, K);
	contender->search = bench_prepare(contender->side.db, sql);
	sqlite3_free(sql);
	contender->name = quantize;
	bench_exec(contender->side.db, "BEGIN");
}

static void insert(struct contender *contender, const struct bench *bench,
                   uint32_t row)
{
	const float *vector = bench->base + (size_t)row * DIMENSIONS;

	if (contender->peer) {
		hnswlib_insert(contender->peer, vector, row);
		return;
	}
	sqlite3_bind_int64(contender->insert, 1, row);
	sqlite3_bind_blob(contender->insert, 2, vector,
	                  DIMENSIONS * sizeof *vector, SQLITE_STATIC);
	bench_run(contender->insert);
}

static void search(struct contender *contender, const float *vector,
                   uint32_t width, uint32_t found[K])
{
	int at = 0;

	if (contender->peer) {
		hnswlib_search(contender->peer, vector, K, width, found);
		return;
	}
	sqlite3_bind_blob(contender->search, 1, vector,
	                  DIMENSIONS * sizeof *vector, SQLITE_STATIC);
	sqlite3_bind_int64(contender->search, 2, width);
	while (sqlite3_step(contender->search) == SQLITE_ROW && at < K)
		found[at++] = (uint32_t)sqlite3_column_int64(contender->search, 0);
	sqlite3_reset(contender->search);
	if (at < K) {
		fprintf(stderr, "%s gave %d of %d neighbours: %s\n",
		        contender->name, at, K, sqlite3_errmsg(contender->side.db));
		exit(1);
	}
}

static void build(struct contender *contenders, int count,
                  const struct bench *bench)
{
	uint32_t slice = bench->rows / 100 + 1;

	for (uint32_t from = 0; from < bench->rows; from += slice)
		for (int c = 0; c < count; c++) {
			double begin = cpu_seconds();

			for (uint32_t i = from; i < from + slice && i < bench->rows;
			     i++)
				insert(&contenders[c], bench, i);
			contenders[c].build_seconds += cpu_seconds() - begin;
		}
	for (int c = 0; c < count; c++) {
		double begin = cpu_seconds();

		if (!contenders[c].peer)
			bench_exec(contenders[c].side.db, "COMMIT; BEGIN");
		contenders[c].build_seconds += cpu_seconds() - begin;
	}
}

/* Whoever lies as near as the tenth of the true neighbours is right. */
static double recall_of(const struct bench *bench, const uint32_t *found)
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < bench->queries * K; i++) {
		const float *a = bench->asked + (size_t)(i / K) * DIMENSIONS;
		const float *b = bench->base + (size_t)found[i] * DIMENSIONS;
		double sum = 0;

		for (int n = 0; n < DIMENSIONS; n++)
			sum += ((double)a[n] - (double)b[n]) *
			       ((double)a[n] - (double)b[n]);
		hits += sum <= (double)bench->limits[i / K] * 1.00001;
	}
	return (double)hits / (bench->queries * K);
}

static void measure(struct contender *contenders, int count,
                    const struct bench *bench, int width)
{
	uint32_t *found = malloc((size_t)bench->queries * K * sizeof *found);

	for (int c = 0; found && c < count; c++)
		contenders[c].rate[width] = 0;
	for (int repeat = 0; found && repeat < bench->repeats; repeat++)
		for (int c = 0; c < count; c++) {
			double begin = cpu_seconds(), rate;

			for (uint32_t q = 0; q < bench->queries; q++)
				search(&contenders[c],
				       bench->asked + (size_t)q * DIMENSIONS,
				       widths[width], found + q * K);
			rate = bench->queries / (cpu_seconds() - begin);
			if (rate > contenders[c].rate[width])
				contenders[c].rate[width] = rate;
			contenders[c].recall[width] = recall_of(bench, found);
			contenders[c].measured = width + 1;
		}
	free(found);
	printf("ef %4u", widths[width]);
	for (int c = 0; c < count; c++)
		printf("   %s recall %.4f %7.0f/s", contenders[c].name,
		       contenders[c].recall[width], contenders[c].rate[width]);
	printf("\n");
	fflush(stdout);
}

/* The rate at a recall, on a line in the logarithm; 0 = not reached. */
static double rate_at(const struct contender *contender, double recall)
{
	for (int i = 0; i < contender->measured; i++) {
		double high = contender->recall[i], low, part;

		if (high < recall)
			continue;
		if (i == 0)
			return contender->rate[0];
		low = contender->recall[i - 1];
		part = (recall - low) / (high - low);
		return exp(log(contender->rate[i - 1]) * (1 - part) +
		           log(contender->rate[i]) * part);
	}
	return 0;
}

static void report(struct contender *contenders, int count,
                   const struct bench *bench)
{
	static const double recalls[] = { 0.90, 0.95, 0.99 };

	for (int c = 0; c < count; c++) {
		printf("%-8s build %6.1f s (%.2f x)", contenders[c].name,
		       contenders[c].build_seconds, contenders[c].build_seconds /
		       contenders[0].build_seconds);
		for (int r = 0; r < 3; r++)
			printf("   at %.2f %6.0f/s (%.2f x)", recalls[r],
			       rate_at(&contenders[c], recalls[r]),
			       rate_at(&contenders[c], recalls[r]) /
			       rate_at(&contenders[0], recalls[r]));
		if (!contenders[c].peer)
			printf("   %.0f bytes a row",
			       (double)bench_side_bytes(&contenders[c].side) /
			       bench->rows);
		printf("\n");
	}
}

static void data_make(struct bench *bench)
{
	struct vector_data *data = vector_data_open(DIMENSIONS, 7);
	size_t count = (size_t)bench->queries * K;
	uint32_t *indices = malloc(count * sizeof *indices);
	float *distances = malloc(count * sizeof *distances);

	bench->limits = malloc(bench->queries * sizeof *bench->limits);
	bench->base = vector_data_block(data, VECTOR_DATA_BASE, bench->rows);
	bench->asked = vector_data_block(data, VECTOR_DATA_QUERIES,
	                                 bench->queries);
	if (!indices || !distances || !bench->limits)
		exit(1);
	vector_data_truth(bench->base, bench->rows, bench->asked, bench->queries,
	                  DIMENSIONS, K, indices, distances);
	for (uint32_t q = 0; q < bench->queries; q++)
		bench->limits[q] = distances[q * K + K - 1];
	free(indices);
	free(distances);
	vector_data_close(data);
}

static void read_arguments(int argc, char **argv, struct bench *bench)
{
	int option;

	while ((option = getopt(argc, argv, "l:n:q:r:d:")) != -1)
		switch (option) {
		case 'l': bench->library = optarg; break;
		case 'n': bench->rows = (uint32_t)atoi(optarg); break;
		case 'q': bench->queries = (uint32_t)atoi(optarg); break;
		case 'r': bench->repeats = atoi(optarg); break;
		case 'd': bench->parent = optarg; break;
		default: exit(2);
		}
}

static void finish(struct contender *contender, const char *directory)
{
	sqlite3_finalize(contender->insert);
	sqlite3_finalize(contender->search);
	bench_side_close(&contender->side);
	bench_scratch_remove(directory);
}

int main(int argc, char **argv)
{
	struct bench bench = { .library = "./turdb.so", .rows = 100000,
	                       .queries = 500, .repeats = 3 };
	struct contender contenders[3] = { { .name = "hnswlib" } };
	char directories[3][256];

	read_arguments(argc, argv, &bench);
	bench_library_load(bench.library);
	data_make(&bench);
	contenders[0].peer = hnswlib_open(DIMENSIONS, bench.rows, M,
	                                  EF_CONSTRUCTION);
	for (int c = 1; c < 3; c++) {
		bench_scratch_make(directories[c], bench.parent);
		table_open(&contenders[c], c == 1 ? "none" : "sq8",
		           directories[c]);
	}
	printf("%u vectors of %d dimensions, m %d, ef_construction %d, %u queries, "
	       "best of %d\n", bench.rows, DIMENSIONS, M, EF_CONSTRUCTION,
	       bench.queries, bench.repeats);
	build(contenders, 3, &bench);
	for (int width = 0; width < WIDTHS; width++) {
		measure(contenders, 3, &bench, width);
		if (contenders[0].recall[width] > 0.995)
			break;
	}
	for (int c = 1; c < 3; c++)
		bench_exec(contenders[c].side.db, "COMMIT");
	report(contenders, 3, &bench);
	for (int c = 1; c < 3; c++)
		finish(&contenders[c], directories[c]);
	hnswlib_close(contenders[0].peer);
	return 0;
}
