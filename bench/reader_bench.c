/*
 * reader_bench.c - what a second reading thread adds.
 *
 *   reader_bench [-l turdb.so] [-n rows] [-r rounds] [-m ms] [-d directory]
 *
 * Purpose       SELECTs a second in autocommit, each a read transaction of its own,
 *               on stock SQLite, ordinary tables and turdb tables: of one row by key,
 *               and of a sum over 1,000 rows; the gain of a second thread with a
 *               connection of its own, and the ratio to stock. Debian's SQLite takes
 *               two process-wide mutexes a statement (memory statistics, unlock
 *               notification), which bound what threads gain on short statements.
 * Architecture  Per round every side runs `ms` milliseconds with one thread, then
 *               with two; figures are medians over rounds, gains round by round.
 * Usage         Wall time: needs two cores that nobody else uses.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/side.h"

enum { ROUNDS_MAX = 64, THREADS = 2 };

struct bench {
	const char *library, *parent;
	int64_t rows;
	int rounds, turn_ms;
};

struct workload {
	const char *name, *sql;
};

static const struct workload workloads[] = {
	{ "one row by key", "SELECT v FROM t WHERE id=?1" },
	{ "sum over 1,000 rows",
	  "SELECT sum(v) FROM t WHERE id BETWEEN ?1 AND ?1+999" },
};

struct reader {
	struct bench_side side;
	const char *sql;
	int64_t rows;
	uint64_t seed;
	atomic_bool *stop;
	int64_t selects; /* out */
};

static void *read_until_told(void *context)
{
	struct reader *reader = context;
	sqlite3_stmt *statement = bench_prepare(reader->side.db, reader->sql);
	uint64_t seed = reader->seed;

	reader->selects = 0;
	while (!atomic_load_explicit(reader->stop, memory_order_relaxed)) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sqlite3_bind_int64(statement, 1, (int64_t)((seed >> 33) %
		                   (uint64_t)reader->rows) + 1);
		if (sqlite3_step(statement) != SQLITE_ROW) {
			fprintf(stderr, "%s\n", sqlite3_errmsg(reader->side.db));
			exit(1);
		}
		sqlite3_reset(statement);
		reader->selects++;
	}
	sqlite3_finalize(statement);
	return NULL;
}

/* SELECTs a second by `count` threads together. */
static double read_for(struct reader *readers, const char *sql, int count,
                       int ms)
{
	atomic_bool stop = false;
	pthread_t threads[THREADS];
	double begin = bench_clock_ns(CLOCK_MONOTONIC);
	int64_t selects = 0;

	for (int i = 0; i < count; i++) {
		readers[i].stop = &stop;
		readers[i].sql = sql;
		if (pthread_create(&threads[i], NULL, read_until_told,
		                   &readers[i])) {
			fprintf(stderr, "no thread\n");
			exit(1);
		}
	}
	usleep((useconds_t)ms * 1000);
	atomic_store(&stop, true);
	for (int i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		selects += readers[i].selects;
	}
	return (double)selects * 1e9 / (bench_clock_ns(CLOCK_MONOTONIC) - begin);
}

static void fill(struct bench_side *side, int64_t rows)
{
	bench_side_create(side, "t", "id INTEGER PRIMARY KEY, v INTEGER, name TEXT",
	                  NULL);
	bench_exec(side->db, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
	                     "WHERE i<%lld) INSERT INTO t(id, v, name) "
	                     "SELECT i, i, 'the name of row ' || i FROM n",
	           (long long)rows);
}

static void run(const struct bench *bench, struct reader (*readers)[THREADS],
                const struct workload *workload)
{
	double one[SIDE_COUNT][ROUNDS_MAX], two[SIDE_COUNT][ROUNDS_MAX];
	double gain[SIDE_COUNT][ROUNDS_MAX], ratio[SIDE_COUNT][ROUNDS_MAX];

	for (int round = -1; round < bench->rounds; round++)
		for (int kind = 0; kind < SIDE_COUNT; kind++) {
			int at = round < 0 ? 0 : round; /* the first warms up */

			one[kind][at] = read_for(readers[kind], workload->sql,
			                         1, bench->turn_ms);
			two[kind][at] = read_for(readers[kind], workload->sql,
			                         2, bench->turn_ms);
			gain[kind][at] = two[kind][at] / one[kind][at];
			ratio[kind][at] = one[kind][at] / one[SIDE_NATIVE][at];
		}
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		printf("%-20s %-8s one thread %9.0f/s (%5.2f of native)   two "
		       "threads %9.0f/s   gain %5.2f\n", workload->name,
		       bench_side_name(kind),
		       bench_median(one[kind], bench->rounds),
		       bench_median(ratio[kind], bench->rounds),
		       bench_median(two[kind], bench->rounds),
		       bench_median(gain[kind], bench->rounds));
}

static void run_all(const struct bench *bench, const char *directory)
{
	struct reader readers[SIDE_COUNT][THREADS];

	for (int kind = 0; kind < SIDE_COUNT; kind++)
		for (int i = 0; i < THREADS; i++) {
			struct reader *reader = &readers[kind][i];

			memset(reader, 0, sizeof *reader);
			reader->rows = bench->rows;
			reader->seed = (uint64_t)i + 1;
			bench_side_open(&reader->side, kind, directory, "NORMAL");
			if (i == 0)
				fill(&reader->side, bench->rows);
		}
	for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++)
		run(bench, readers, &workloads[i]);
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		for (int i = 0; i < THREADS; i++)
			bench_side_close(&readers[kind][i].side);
}

int main(int argc, char **argv)
{
	struct bench bench = { .library = "./turdb.so", .rows = 100000,
	                       .rounds = 7, .turn_ms = 300 };
	char directory[256];
	int option;

	while ((option = getopt(argc, argv, "l:n:r:m:d:")) != -1)
		switch (option) {
		case 'l': bench.library = optarg; break;
		case 'n': bench.rows = atoll(optarg); break;
		case 'r': bench.rounds = atoi(optarg); break;
		case 'm': bench.turn_ms = atoi(optarg); break;
		case 'd': bench.parent = optarg; break;
		default: return 1;
		}
	if (bench.rounds < 1 || bench.rounds > ROUNDS_MAX || bench.rows < 1) {
		fprintf(stderr, "rounds are 1..%d, rows at least 1\n", ROUNDS_MAX);
		return 1;
	}
	bench_library_load(bench.library);
	bench_scratch_make(directory, bench.parent);
	printf("SELECTs in autocommit on %lld rows, medians of %d rounds of "
	       "%d ms\n", (long long)bench.rows, bench.rounds, bench.turn_ms);
	run_all(&bench, directory);
	bench_scratch_remove(directory);
	return 0;
}
