/*
 * commit_bench.c - what a one-row commit costs through SQL: time, processes, log.
 *
 *   commit_bench [-l turdb.so] [-r rounds] [-d directory] [-m ms] [-s side] [name...]
 *
 * Purpose       Commits a second of one-row UPDATEs in autocommit, by synchronous
 *               setting and number of processes, and the bytes each adds to the log.
 * Architecture  Sides take turns of `ms` milliseconds; ratios are medians over
 *               rounds. Several writers are separate processes, started by exec of
 *               this program with a hidden first argument; they begin together when
 *               a pipe closes and report what they counted.
 * Usage         Wall time, because the disk is part of it: give it a directory on
 *               the disk that is meant, and an otherwise idle machine.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/side.h"

enum { ROUNDS_MAX = 1024, WRITERS_MAX = 64, ROWS = 10000 };

extern char **environ;

struct bench {
	const char *program, *library, *parent;
	int rounds, turn_ms;
	int only; /* one side, for a profiler, or -1 */
	bool active[SIDE_COUNT];
	char directory[256];
};

static void fill(struct bench_side *side)
{
	bench_side_create(side, "t", "id INTEGER PRIMARY KEY, v INTEGER, name TEXT",
	                  NULL);
	bench_exec(side->db, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
	                     "WHERE i<%d) INSERT INTO t(id, v, name) "
	                     "SELECT i, 1000000, 'the name of row ' || i FROM n", ROWS);
}

/* Commits for so long; returns commits a second of wall time. */
static double commit_for(struct bench_side *side, double ms, uint64_t seed,
                         int64_t *commits)
{
	sqlite3_stmt *statement = bench_prepare(side->db,
		"UPDATE t SET v=v+1 WHERE id=?1");
	double begin = bench_clock_ns(CLOCK_MONOTONIC);
	double elapsed;

	*commits = 0;
	do {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sqlite3_bind_int64(statement, 1,
		                   (int64_t)((seed >> 33) % ROWS) + 1);
		bench_run(statement);
		++*commits;
		elapsed = bench_clock_ns(CLOCK_MONOTONIC) - begin;
	} while (elapsed < ms * 1e6);
	sqlite3_finalize(statement);
	return (double)*commits * 1e9 / elapsed;
}

/* --- printing ---------------------------------------------------------------- */

struct result {
	double value[SIDE_COUNT][ROUNDS_MAX];
	double ratio[SIDE_COUNT][ROUNDS_MAX];
};

static void keep(struct result *result, int round, const double *value)
{
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		result->value[kind][round] = value[kind];
		result->ratio[kind][round] = value[kind] / value[SIDE_NATIVE];
	}
}

static void print_result(const struct bench *bench, const char *name,
                         struct result *result, double floor, double goal)
{
	printf("%-36s", name);
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		if (!bench->active[kind]) {
			printf(kind ? " %9s %6s" : " %9s", "-", "-");
			continue;
		}
		printf(" %9.0f", bench_median(result->value[kind], bench->rounds));
		if (kind && bench->active[SIDE_NATIVE])
			printf(" %6.3g", bench_median(result->ratio[kind],
			                              bench->rounds));
		else if (kind)
			printf(" %6s", "-");
	}
	printf(floor > 0 ? " %6.2f" : "      -", floor);
	printf(goal > 0 ? " %6.3g\n" : "      -\n", goal);
	fflush(stdout);
}

/* --- one writer -------------------------------------------------------------- */

static void one_writer(struct bench *bench, const char *name,
                       const char *synchronous, double floor, double goal)
{
	struct bench_side sides[SIDE_COUNT];
	struct result result = { 0 };
	int64_t commits;

	for (int kind = 0; kind < SIDE_COUNT; kind++)
		if (bench->active[kind])
			bench_side_open(&sides[kind], kind, bench->directory,
			                synchronous);
	for (int round = -1; round < bench->rounds; round++) {
		double rate[SIDE_COUNT] = { 0 };

		for (int turn = 0; turn < SIDE_COUNT; turn++) {
			int kind = (turn + round + 1) % SIDE_COUNT;

			if (bench->active[kind])
				rate[kind] = commit_for(&sides[kind],
				                        bench->turn_ms, 1,
				                        &commits);
		}
		if (round >= 0)
			keep(&result, round, rate);
	}
	for (int kind = 0; kind < SIDE_COUNT; kind++)
		if (bench->active[kind])
			bench_side_close(&sides[kind]);
	print_result(bench, name, &result, floor, goal);
}

/* --- several writers --------------------------------------------------------- */

/* The other process: opens, says so, waits for the pipe to close, commits. */
static int writer_main(char **arguments)
{
	struct bench_side side;
	int64_t commits;
	char byte = 0;

	bench_library_load(arguments[0]);
	bench_side_open(&side, atoi(arguments[1]), arguments[2], arguments[5]);
	bench_value(side.db, "SELECT count(*) FROM t");
	if (write(STDOUT_FILENO, "r", 1) != 1 || read(STDIN_FILENO, &byte, 1) < 0)
		return 1;
	commit_for(&side, atof(arguments[3]), (uint64_t)atoi(arguments[4]),
	           &commits);
	bench_side_close(&side);
	return write(STDOUT_FILENO, &commits, sizeof commits) != sizeof commits;
}

struct writer {
	pid_t pid;
	int out; /* what it says */
};

static struct writer writer_start(const struct bench *bench, int kind,
                                  const char *synchronous, int number, int begin)
{
	char side[12], ms[12], seed[12];
	char *arguments[] = { (char *)bench->program, (char *)"--writer",
	                      (char *)bench->library, side,
	                      (char *)bench->directory, ms, seed,
	                      (char *)synchronous, NULL };
	posix_spawn_file_actions_t actions;
	struct writer writer;
	int pipes[2];

	snprintf(side, sizeof side, "%d", kind);
	snprintf(ms, sizeof ms, "%d", bench->turn_ms);
	snprintf(seed, sizeof seed, "%d", number + 1);
	if (pipe2(pipes, O_CLOEXEC))
		exit(1);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, begin, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
	if (posix_spawn(&writer.pid, bench->program, &actions, NULL, arguments,
	                environ)) {
		perror(bench->program);
		exit(1);
	}
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[1]);
	writer.out = pipes[0];
	return writer;
}

static double writers_run(const struct bench *bench, int kind,
                          const char *synchronous, int count)
{
	struct writer writers[WRITERS_MAX];
	int64_t total = 0, commits;
	int begin[2];
	char byte;

	if (pipe2(begin, O_CLOEXEC))
		exit(1);
	for (int i = 0; i < count; i++)
		writers[i] = writer_start(bench, kind, synchronous, i, begin[0]);
	for (int i = 0; i < count; i++)
		if (read(writers[i].out, &byte, 1) != 1)
			exit(1);
	close(begin[1]); /* all begin now */
	close(begin[0]);
	for (int i = 0; i < count; i++) {
		if (read(writers[i].out, &commits, sizeof commits) !=
		    sizeof commits) {
			fprintf(stderr, "a writer failed\n");
			exit(1);
		}
		total += commits;
		close(writers[i].out);
		waitpid(writers[i].pid, NULL, 0);
	}
	return (double)total * 1e3 / bench->turn_ms;
}

static void several_writers(struct bench *bench, const char *name,
                            const char *synchronous, int count, double goal)
{
	struct result result = { 0 };

	for (int round = 0; round < bench->rounds; round++) {
		double rate[SIDE_COUNT] = { 0 };

		for (int turn = 0; turn < SIDE_COUNT; turn++) {
			int kind = (turn + round) % SIDE_COUNT;

			if (bench->active[kind])
				rate[kind] = writers_run(bench, kind, synchronous,
				                         count);
		}
		keep(&result, round, rate);
	}
	print_result(bench, name, &result, 0, goal);
}

/* --- the log ----------------------------------------------------------------- */

static int64_t log_position(struct bench_side *side)
{
	char path[300];
	FILE *file;
	long size;

	if (side->kind != SIDE_NATIVE)
		return bench_value(side->db, "SELECT value FROM turdb_status "
		                             "WHERE name = 'log_appended'");
	snprintf(path, sizeof path, "%s-wal", side->path);
	file = fopen(path, "r");
	if (!file || fseek(file, 0, SEEK_END))
		return 0;
	size = ftell(file);
	fclose(file);
	return size;
}

static void log_bytes(struct bench *bench, const char *name, const char *sql,
                      double goal)
{
	enum { COMMITS = 1000 };
	struct result result = { 0 };
	double bytes[SIDE_COUNT] = { 0 };

	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		struct bench_side side;
		sqlite3_stmt *statement;
		int64_t begin = 0;

		if (!bench->active[kind])
			continue;
		bench_side_open(&side, kind, bench->directory, "OFF");
		if (kind == SIDE_NATIVE)
			bench_exec(side.db, "PRAGMA wal_checkpoint(TRUNCATE);"
			                    "PRAGMA wal_autocheckpoint=0");
		statement = bench_prepare(side.db, sql);
		for (int i = 0; i <= COMMITS; i++) {
			/* The first commit may begin a new segment. */
			if (i == 1)
				begin = log_position(&side);
			sqlite3_bind_int64(statement, 1, i * 7919 % ROWS + 1);
			bench_run(statement);
		}
		bytes[kind] = (double)(log_position(&side) - begin) / COMMITS;
		sqlite3_finalize(statement);
		bench_side_close(&side);
	}
	for (int round = 0; round < bench->rounds; round++)
		keep(&result, round, bytes);
	print_result(bench, name, &result, 0, goal);
}

/* --- the table --------------------------------------------------------------- */

static bool is_wanted(const char *name, char **names)
{
	if (!names[0])
		return true;
	for (; names[0]; names++)
		if (strstr(name, names[0]))
			return true;
	return false;
}

static void run_all(struct bench *bench, char **names)
{
	static const struct {
		const char *name, *synchronous;
		int writers;
		double floor, goal;
	} rows[] = {
		{ "synchronous=FULL, one writer", "FULL", 1, 1.0, 1.4 },
		{ "synchronous=NORMAL, one writer", "NORMAL", 1, 0.8, 0 },
		{ "synchronous=OFF, one writer", "OFF", 1, 0.8, 0 },
		{ "synchronous=FULL, 4 processes", "FULL", 4, 0, 0 },
		{ "synchronous=FULL, 8 processes", "FULL", 8, 0, 7 },
		{ "synchronous=OFF, 8 processes", "OFF", 8, 0, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!is_wanted(rows[i].name, names))
			continue;
		if (rows[i].writers == 1)
			one_writer(bench, rows[i].name, rows[i].synchronous,
			           rows[i].floor, rows[i].goal);
		else
			several_writers(bench, rows[i].name,
			                rows[i].synchronous, rows[i].writers,
			                rows[i].goal);
	}
	if (is_wanted("log bytes", names)) {
		log_bytes(bench, "log bytes of an UPDATE", "UPDATE t SET v=v+1 "
		          "WHERE id=?1", 1 / 30.0);
		log_bytes(bench, "log bytes of an INSERT, last key", "INSERT INTO "
		          "t(id, v, name) VALUES(NULL, ?1+1000000, 'a name')",
		          1 / 30.0);
		log_bytes(bench, "log bytes of an INSERT, random key", "INSERT INTO "
		          "t(id, v, name) VALUES(-?1, 1000000, 'a name')",
		          1 / 30.0);
	}
}

static void read_arguments(int argc, char **argv, struct bench *bench)
{
	int option;

	while ((option = getopt(argc, argv, "l:r:d:m:s:")) != -1)
		switch (option) {
		case 'l': bench->library = optarg; break;
		case 'r': bench->rounds = atoi(optarg); break;
		case 'd': bench->parent = optarg; break;
		case 'm': bench->turn_ms = atoi(optarg); break;
		case 's':
			for (int kind = 0; kind < SIDE_COUNT; kind++)
				if (!strcmp(optarg, bench_side_name(kind)))
					bench->only = kind;
			break;
		default: exit(2);
		}
	if (bench->rounds < 1 || bench->rounds > ROUNDS_MAX)
		bench->rounds = ROUNDS_MAX;
}

int main(int argc, char **argv)
{
	struct bench bench = { .program = argv[0], .library = "./turdb.so",
	                       .rounds = 3, .turn_ms = 500, .only = -1 };

	if (argc == 8 && !strcmp(argv[1], "--writer"))
		return writer_main(argv + 2);
	read_arguments(argc, argv, &bench);
	bench_library_load(bench.library);
	bench_scratch_make(bench.directory, bench.parent);
	for (int kind = 0; kind < SIDE_COUNT; kind++) {
		struct bench_side side;

		bench.active[kind] = (bench.only < 0 || bench.only == kind) &&
			(kind != SIDE_TURDB || bench_module_exists());
		if (!bench.active[kind])
			continue;
		bench_side_open(&side, kind, bench.directory, "NORMAL");
		fill(&side);
		bench_side_close(&side);
	}
	printf("One-row UPDATE commits a second (wall), medians of %d rounds of "
	       "%d ms; bytes a commit\n", bench.rounds, bench.turn_ms);
	printf("%-36s %9s %9s %6s %9s %6s %6s %6s\n", "", "native", "door",
	       "ratio", "turdb", "ratio", "floor", "goal");
	run_all(&bench, argv + optind);
	bench_scratch_remove(bench.directory);
	return 0;
}
