/*
 * latency_bench.c - how long single commits take, checkpoints included.
 *
 *   latency_bench [-l turdb.so] [-r rounds] [-d directory] [-m ms] [-b bytes] [-c mb]
 *
 * Purpose       The slow ones among durable commits: the distribution of the wall
 *               time of one-row UPDATEs in autocommit with synchronous=FULL.
 * Architecture  Sides take turns of `ms` milliseconds in one process, one thread.
 *               Times are counted in buckets an eighth of a power of two wide.
 * Usage         The row's text has `bytes` random bytes, and TurDB's checkpoints
 *               come every `mb` MB of log, so that a run of some seconds crosses
 *               many; stock SQLite's come every 1,000 pages, as it does by itself.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/side.h"

enum { ROWS = 10000, BUCKETS = 64 * 8, BYTES_MAX = 100000 };

struct latencies {
	uint64_t counts[BUCKETS], total;
	double longest_us;
};

struct bench {
	const char *library, *parent;
	int rounds, turn_ms, bytes, checkpoint_mb;
	bool active[SIDE_COUNT];
	char directory[256];
};

static int bucket_of(uint64_t ns)
{
	int power = 63 - __builtin_clzll(ns | 8);

	return power * 8 + (int)(ns >> (power - 3) & 7);
}

static double bucket_end_us(int bucket)
{
	uint64_t ns = (uint64_t)(8 + bucket % 8 + 1);

	return bucket < 3 * 8 ? 0 : (double)(ns << (bucket / 8 - 3)) / 1e3;
}

static void note(struct latencies *latencies, double ns)
{
	latencies->counts[bucket_of((uint64_t)ns)]++;
	latencies->total++;
	if (ns / 1e3 > latencies->longest_us)
		latencies->longest_us = ns / 1e3;
}

/* The end of the bucket in which the given share of all commits is reached. */
static double quantile_us(const struct latencies *latencies, double share)
{
	uint64_t seen = 0;

	for (int i = 0; i < BUCKETS; i++) {
		seen += latencies->counts[i];
		if ((double)seen >= share * (double)latencies->total)
			return bucket_end_us(i) < latencies->longest_us
			     ? bucket_end_us(i) : latencies->longest_us;
	}
	return latencies->longest_us;
}

static void fill(struct bench_side *side, int bytes)
{
	bench_side_create(side, "t", "id INTEGER PRIMARY KEY, v INTEGER, name TEXT",
	                  NULL);
	bench_exec(side->db, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
	                     "WHERE i<%d) INSERT INTO t(id, v, name) "
	                     "SELECT i, 1000000, hex(zeroblob(%d)) FROM n", ROWS,
	           bytes / 2);
}

static void commit_for(struct bench_side *side, const struct bench *bench,
                       uint64_t *seed, struct latencies *latencies)
{
	static char text[BYTES_MAX];
	sqlite3_stmt *statement = bench_prepare(side->db,
		"UPDATE t SET v=v+1, name=?2 WHERE id=?1");
	double begin = bench_clock_ns(CLOCK_MONOTONIC), now = begin, before;

	while (now < begin + bench->turn_ms * 1e6) {
		for (int i = 0; i < bench->bytes; i++) {
			*seed = *seed * 6364136223846793005u + 1442695040888963407u;
			text[i] = (char)('0' + (*seed >> 58));
		}
		sqlite3_bind_int64(statement, 1,
		                   (int64_t)((*seed >> 33) % ROWS) + 1);
		sqlite3_bind_text(statement, 2, text, bench->bytes, SQLITE_STATIC);
		before = bench_clock_ns(CLOCK_MONOTONIC);
		bench_run(statement);
		now = bench_clock_ns(CLOCK_MONOTONIC);
		note(latencies, now - before);
	}
	sqlite3_finalize(statement);
}

static int64_t checkpoints(struct bench_side *side)
{
	return side->kind == SIDE_NATIVE ? -1 : bench_value(side->db,
		"SELECT value FROM turdb_status WHERE name = 'checkpoints'");
}

/* --- printing -------------------------------------------------------------------- */

static void print_quantiles(const struct bench *bench,
                            const struct latencies *latencies,
                            const int64_t *checkpoint_counts)
{
	static const double shares[] = { 0.5, 0.9, 0.99, 0.999, 0.9999 };

	printf("%-8s %9s %9s %9s %9s %9s %9s %9s %12s\n", "us", "commits", "p50",
	       "p90", "p99", "p99.9", "p99.99", "max", "checkpoints");
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		if (!bench->active[kind])
			continue;
		printf("%-8s %9llu", bench_side_name(kind),
		       (unsigned long long)latencies[kind].total);
		for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
			printf(" %9.0f", quantile_us(&latencies[kind], shares[i]));
		printf(" %9.0f", latencies[kind].longest_us);
		if (checkpoint_counts[kind] < 0)
			printf(" %12s\n", "-");
		else
			printf(" %12lld\n", (long long)checkpoint_counts[kind]);
	}
}

static void print_histogram(const struct bench *bench,
                            const struct latencies *latencies)
{
	static const double limits[] = { 100, 200, 500, 1000, 2000, 5000, 10000,
	                                 20000, 50000, 100000, 1e9 };
	int from[SIDE_COUNT] = { 0 };

	printf("commits up to");
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		if (bench->active[kind])
			printf(" %9s", bench_side_name(kind));
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		if (limits[i] < 1e9)
			printf("\n%10.1f ms", limits[i] / 1e3);
		else
			printf("\n%13s", "more");
		for (int kind = 0; kind < SIDE_COUNT; kind++) {
			uint64_t sum = 0;

			if (!bench->active[kind])
				continue;
			while (from[kind] < BUCKETS &&
			       bucket_end_us(from[kind]) <= limits[i])
				sum += latencies[kind].counts[from[kind]++];
			printf(" %9llu", (unsigned long long)sum);
		}
	}
	printf("\n");
}

/* --- the run --------------------------------------------------------------------- */

static void run(struct bench *bench)
{
	static struct latencies latencies[SIDE_COUNT], warm;
	struct bench_side sides[SIDE_COUNT];
	int64_t counts[SIDE_COUNT];
	uint64_t seed = 1;

	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		if (!bench->active[kind])
			continue;
		bench_side_open(&sides[kind], kind, bench->directory, "FULL");
		if (kind != SIDE_NATIVE)
			bench_exec(sides[kind].db, "PRAGMA turdb_checkpoint_mb=%d",
			           bench->checkpoint_mb);
		commit_for(&sides[kind], bench, &seed, &warm);
		counts[kind] = checkpoints(&sides[kind]);
	}
	for (int round = 0; round < bench->rounds; round++)
		for (int turn = 0; turn < SIDE_COUNT; turn++) {
			int kind = (turn + round) % SIDE_COUNT;

			if (bench->active[kind])
				commit_for(&sides[kind], bench, &seed,
				           &latencies[kind]);
		}
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		if (!bench->active[kind])
			continue;
		counts[kind] = kind == SIDE_NATIVE ? -1
			: checkpoints(&sides[kind]) - counts[kind];
		bench_side_close(&sides[kind]);
	}
	print_quantiles(bench, latencies, counts);
	print_histogram(bench, latencies);
}

int main(int argc, char **argv)
{
	struct bench bench = { .library = "./turdb.so", .rounds = 10,
	                       .turn_ms = 500, .bytes = 400, .checkpoint_mb = 1 };
	int option;

	while ((option = getopt(argc, argv, "l:r:d:m:b:c:")) != -1)
		switch (option) {
		case 'l': bench.library = optarg; break;
		case 'r': bench.rounds = atoi(optarg); break;
		case 'd': bench.parent = optarg; break;
		case 'm': bench.turn_ms = atoi(optarg); break;
		case 'b': bench.bytes = atoi(optarg); break;
		case 'c': bench.checkpoint_mb = atoi(optarg); break;
		default: exit(2);
		}
	if (bench.bytes < 0 || bench.bytes > BYTES_MAX)
		bench.bytes = BYTES_MAX;
	bench_library_load(bench.library);
	bench_scratch_make(bench.directory, bench.parent);
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		struct bench_side side;

		bench.active[kind] = kind != SIDE_TURDB || bench_module_exists();
		if (!bench.active[kind])
			continue;
		bench_side_open(&side, kind, bench.directory, "NORMAL");
		fill(&side, bench.bytes);
		bench_side_close(&side);
	}
	printf("One-row UPDATEs of %d random bytes, synchronous=FULL, a checkpoint "
	       "every %d MB of log\n", bench.bytes, bench.checkpoint_mb);
	run(&bench);
	bench_scratch_remove(bench.directory);
	return 0;
}
