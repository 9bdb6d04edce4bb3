/*
 * reader_bench.c - what a second reading thread adds.
 *
 *   reader_bench [-l turdb.so] [-n rows] [-r rounds] [-m ms] [-d directory] [-w]
 *
 * Purpose       SELECTs a second in autocommit, each a read transaction of its own,
 *               on stock SQLite, ordinary tables and turdb tables: of one row by key,
 *               and of a sum over 1,000 rows; the gain of a second thread with a
 *               connection of its own, and the ratio to stock.
 * Architecture  Per round every side runs `ms` milliseconds with one thread, then
 *               with two; figures are medians over rounds, gains round by round.
 * Mutexes       Debian's SQLite takes some for every statement, whoever stores the
 *               rows: MEM as it allocates and frees the cursor (memory statistics,
 *               no lookaside), MAIN as the statement ends (unlock notification). They
 *               and the statistics go to and fro between the cores, and what that
 *               costs hangs on where the two are: 25 ns a time within a cluster of
 *               cores, 160 across. That time is measured and printed, and the mutexes
 *               are counted: SQLite gets mutex methods that pass everything on. With
 *               -w it does without: memory statistics are off, and MAIN is passed
 *               over while threads read (nobody waits for it).
 * Usage         Wall time: needs two cores that nobody else uses.
 */
#include <pthread.h>
#include <sched.h>
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
	bool without; /* SQLite's process-wide mutexes */
};

/* --- SQLite's process-wide mutexes --------------------------------------------- */

enum { MUTEX_MAIN = SQLITE_MUTEX_STATIC_MASTER, MUTEX_MEM = SQLITE_MUTEX_STATIC_MEM,
       MUTEX_STATIC_END = SQLITE_MUTEX_STATIC_VFS3 + 1 };

static struct {
	sqlite3_mutex_methods stock;
	sqlite3_mutex *shared[MUTEX_STATIC_END];
	bool main_passed; /* MAIN is passed over     */
	bool counting;    /* by one thread           */
	int64_t entered[MUTEX_STATIC_END];
} mutexes;

static sqlite3_mutex *mutex_alloc(int id)
{
	sqlite3_mutex *mutex = mutexes.stock.xMutexAlloc(id);

	if (id > SQLITE_MUTEX_RECURSIVE && id < MUTEX_STATIC_END)
		mutexes.shared[id] = mutex;
	return mutex;
}

/* A thread leaves what it entered. */
static _Thread_local bool passed;

static void mutex_count(const sqlite3_mutex *mutex)
{
	for (int id = 0; id < MUTEX_STATIC_END; id++)
		if (mutex && mutex == mutexes.shared[id])
			mutexes.entered[id]++;
}

static void mutex_enter(sqlite3_mutex *mutex)
{
	if (mutexes.counting)
		mutex_count(mutex);
	if (mutexes.main_passed && mutex == mutexes.shared[MUTEX_MAIN])
		passed = true;
	else
		mutexes.stock.xMutexEnter(mutex);
}

static void mutex_leave(sqlite3_mutex *mutex)
{
	if (passed && mutex == mutexes.shared[MUTEX_MAIN])
		passed = false;
	else
		mutexes.stock.xMutexLeave(mutex);
}

/* Before anything else of SQLite. Its own methods are known once it has begun. */
static void mutexes_watch(bool without)
{
	sqlite3_mutex_methods watched;

	sqlite3_initialize();
	sqlite3_shutdown();
	sqlite3_config(SQLITE_CONFIG_GETMUTEX, &mutexes.stock);
	watched = mutexes.stock;
	watched.xMutexAlloc = mutex_alloc;
	watched.xMutexEnter = mutex_enter;
	watched.xMutexLeave = mutex_leave;
	sqlite3_config(SQLITE_CONFIG_MUTEX, &watched);
	if (without)
		sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* --- how far apart the cores are ------------------------------------------------- */

enum { HANDOVERS = 5000, HANDOVER_NS_MAX = 1000, TRIES = 200 };

/* At real-time priority who only spins keeps the other from the core. */
static void await_turn(_Atomic int *turn, int number)
{
	for (int spins = 0; atomic_load(turn) != number; spins++)
		if (spins > 10000)
			sched_yield();
}

static void *hand_back(void *context)
{
	_Atomic int *turn = context;

	for (int i = 0; i < HANDOVERS; i++) {
		await_turn(turn, 2 * i + 1);
		atomic_store(turn, 2 * i + 2);
	}
	return NULL;
}

/* Nanoseconds for a cache line's way from one thread's core to the other's. */
static double handover_ns(void)
{
	struct { _Alignas(128) _Atomic int turn; char rest[124]; } line = { 0 };
	pthread_t thread;
	double begin;

	if (pthread_create(&thread, NULL, hand_back, &line.turn))
		exit(1);
	begin = bench_clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < HANDOVERS; i++) {
		atomic_store(&line.turn, 2 * i + 1);
		await_turn(&line.turn, 2 * i + 2);
	}
	begin = bench_clock_ns(CLOCK_MONOTONIC) - begin;
	pthread_join(thread, NULL);
	return begin / (2 * HANDOVERS);
}

/* Waits until nobody else has a core, within reason. */
static double await_cores(void)
{
	double ns = handover_ns();

	for (int i = 0; i < TRIES && ns > HANDOVER_NS_MAX; i++) {
		usleep(20000);
		ns = handover_ns();
	}
	return ns;
}

/* --- reading --------------------------------------------------------------------- */

struct workload {
	const char *name, *sql;
};

static const struct workload workloads[] = {
	{ "one row by key", "SELECT v FROM t WHERE id=?1" },
	{ "sum over 1,000 rows",
	  "SELECT sum(v) FROM t WHERE id BETWEEN ?1 AND ?1+999" },
};

struct reader {
	_Alignas(128) struct bench_side side;
	const char *sql;
	int64_t rows;
	uint64_t seed;
	double until;    /* its own clock: a main thread might get no core */
	int64_t selects; /* out */
};

static bool goes_on(const struct reader *reader)
{
	return reader->selects % 16 ||
	       bench_clock_ns(CLOCK_MONOTONIC) < reader->until;
}

static void *read_until(void *context)
{
	struct reader *reader = context;
	sqlite3_stmt *statement = bench_prepare(reader->side.db, reader->sql);
	uint64_t seed = reader->seed;

	reader->selects = 0;
	for (; goes_on(reader); reader->selects++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sqlite3_bind_int64(statement, 1, (int64_t)((seed >> 33) %
		                   (uint64_t)reader->rows) + 1);
		if (sqlite3_step(statement) != SQLITE_ROW) {
			fprintf(stderr, "%s\n", sqlite3_errmsg(reader->side.db));
			exit(1);
		}
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	return NULL;
}

/* SELECTs a second by `count` threads together. */
static double read_for(struct reader *readers, const char *sql, int count,
                       int ms)
{
	pthread_t threads[THREADS];
	double begin = bench_clock_ns(CLOCK_MONOTONIC);
	int64_t selects = 0;

	for (int i = 0; i < count; i++) {
		readers[i].until = begin + ms * 1e6;
		readers[i].sql = sql;
		if (pthread_create(&threads[i], NULL, read_until,
		                   &readers[i])) {
			fprintf(stderr, "no thread\n");
			exit(1);
		}
	}
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

/* Per side and round. */
struct figures {
	double one[SIDE_COUNT][ROUNDS_MAX], two[SIDE_COUNT][ROUNDS_MAX];
	double gain[SIDE_COUNT][ROUNDS_MAX], ratio[SIDE_COUNT][ROUNDS_MAX];
	double far[ROUNDS_MAX]; /* ns from core to core */
};

static void measure(const struct bench *bench, struct reader (*readers)[THREADS],
                    const struct workload *workload, struct figures *figures,
                    int at)
{
	figures->far[at] = await_cores();
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		double one = read_for(readers[kind], workload->sql, 1,
		                      bench->turn_ms);
		double two = read_for(readers[kind], workload->sql, 2,
		                      bench->turn_ms);

		figures->one[kind][at] = one;
		figures->two[kind][at] = two;
		figures->gain[kind][at] = two / one;
		figures->ratio[kind][at] = one / figures->one[SIDE_NATIVE][at];
	}
}

static void print_figures(const struct workload *workload,
                          struct figures *figures, int rounds)
{
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		printf("%-20s %-8s %9.0f %6.2f %9.0f %6.2f\n",
		       workload->name, bench_side_name(kind),
		       bench_median(figures->one[kind], rounds),
		       bench_median(figures->ratio[kind], rounds),
		       bench_median(figures->two[kind], rounds),
		       bench_median(figures->gain[kind], rounds));
	bench_median(figures->far, rounds);
	printf("%20s a cache line goes from core to core in %.0f to %.0f ns, "
	       "median %.0f\n", "", figures->far[0], figures->far[rounds - 1],
	       figures->far[rounds / 2]);
	fflush(stdout);
}

static void run(const struct bench *bench, struct reader (*readers)[THREADS],
                const struct workload *workload)
{
	static struct figures figures;
	int rounds = bench->rounds, tries = 0;

	mutexes.main_passed = bench->without;
	for (int round = -1; round < rounds; tries++) {
		/* The first warms up; one in which others had a core is made
		 * again. */
		measure(bench, readers, workload, &figures,
		        round < 0 ? 0 : round);
		round += handover_ns() < HANDOVER_NS_MAX || tries > 2 * rounds;
	}
	mutexes.main_passed = false;
	print_figures(workload, &figures, rounds);
}

static void print_mutexes(struct reader (*readers)[THREADS],
                          const struct workload *workload)
{
	enum { TIMES = 1000 };

	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		sqlite3_stmt *statement = bench_prepare(readers[kind][0].side.db,
		                                        workload->sql);
		int64_t others = 0;

		for (int i = -10; i < TIMES; i++) {
			if (i == 0) {
				memset(mutexes.entered, 0,
				       sizeof mutexes.entered);
				mutexes.counting = true;
			}
			sqlite3_bind_int64(statement, 1, i + 11);
			bench_run(statement);
		}
		mutexes.counting = false;
		sqlite3_finalize(statement);
		for (int id = 0; id < MUTEX_STATIC_END; id++)
			if (id != MUTEX_MAIN && id != MUTEX_MEM)
				others += mutexes.entered[id];
		printf("%-8s takes process-wide mutexes a SELECT: MAIN %.2f, "
		       "MEM %.2f, others %.2f\n", bench_side_name(kind),
		       (double)mutexes.entered[MUTEX_MAIN] / TIMES,
		       (double)mutexes.entered[MUTEX_MEM] / TIMES,
		       (double)others / TIMES);
	}
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
	print_mutexes(readers, &workloads[0]);
	printf("%-20s %-8s %9s %6s %9s %6s\n", "SELECTs a second", "",
	       "1 thread", "ratio", "2 threads", "gain");
	for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++)
		run(bench, readers, &workloads[i]);
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		for (int i = 0; i < THREADS; i++)
			bench_side_close(&readers[kind][i].side);
}

int main(int argc, char **argv)
{
	struct bench bench = { .library = "./turdb.so", .rows = 100000,
	                       .rounds = 7, .turn_ms = 100 };
	char directory[256];
	int option;

	while ((option = getopt(argc, argv, "l:n:r:m:d:w")) != -1)
		switch (option) {
		case 'l': bench.library = optarg; break;
		case 'n': bench.rows = atoll(optarg); break;
		case 'r': bench.rounds = atoi(optarg); break;
		case 'm': bench.turn_ms = atoi(optarg); break;
		case 'd': bench.parent = optarg; break;
		case 'w': bench.without = true; break;
		default: return 1;
		}
	if (bench.rounds < 1 || bench.rounds > ROUNDS_MAX || bench.rows < 1) {
		fprintf(stderr, "rounds are 1..%d, rows at least 1\n", ROUNDS_MAX);
		return 1;
	}
	mutexes_watch(bench.without);
	bench_library_load(bench.library);
	bench_scratch_make(directory, bench.parent);
	printf("SELECTs in autocommit on %lld rows, medians of %d rounds of "
	       "%d ms%s\n", (long long)bench.rows, bench.rounds, bench.turn_ms,
	       bench.without ? ", SQLite's process-wide mutexes left out" : "");
	run_all(&bench, directory);
	bench_scratch_remove(directory);
	return 0;
}
