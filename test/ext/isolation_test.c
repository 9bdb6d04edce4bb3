/*
 * isolation_test.c - transactions of many threads and processes, some of them killed,
 * could all have run one after the other.
 *
 * Sessions read lists and append to them through SQL, in ordinary and turdb tables
 * (isolation_worker.c), and log what they saw; then the whole history is judged
 * (isolation.c). Processes are started anew, not forked, and killed at any moment. That
 * the judge would notice is shown by runs in which sessions cheat: what they log as
 * one transaction are two.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/support/isolation.h"
#include "test/support/isolation_worker.h"

extern char **environ;

enum {
	PROCESSES = 3,
	ROUND = 60000,     /* transactions of one history               */
	KILL_US = 30000,   /* between two kills, on average             */
	ALL_DIE_EVERY = 25, /* kills, and then everybody                */
	BROKEN_TRIES = 10,  /* until an injected anomaly happens        */
};

struct scene {
	char directory[256];
	struct isolation_board *board;
	struct history history;
	struct isolation_report *report;
	unsigned kills, all_died;
};

static double seconds_now(void)
{
	return (double)history_now() / 1e9;
}

static int set_up(struct test *t, struct scene *scene)
{
	memset(scene, 0, sizeof *scene);
	if (isolation_load(&t->err))
		return ERR_IO;
	test_directory(t, scene->directory);
	scene->board = isolation_board_make(scene->directory, &t->err);
	scene->report = malloc(sizeof *scene->report);
	return scene->board && scene->report ? ERR_NONE : ERR_IO;
}

static void tear_down(struct scene *scene)
{
	if (scene->board)
		isolation_board_close(scene->board);
	history_free(&scene->history);
	free(scene->report);
}

/* --- judging ----------------------------------------------------------------------- */

static int check_database(sqlite3 *db, struct err *err)
{
	static const char *const checks[] = {
		"SELECT turdb_check()", "PRAGMA integrity_check",
	};

	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		sqlite3_stmt *statement = NULL;
		const char *text = NULL;
		bool ok;

		sqlite3_prepare_v2(db, checks[i], -1, &statement, NULL);
		if (sqlite3_step(statement) == SQLITE_ROW)
			text = (const char *)sqlite3_column_text(statement, 0);
		ok = text && strcmp(text, "ok") == 0;
		if (!ok)
			err_set(err, ERR_CORRUPT, "run", checks[i], "%s",
			        text ? text : sqlite3_errmsg(db));
		sqlite3_finalize(statement);
		if (!ok)
			return ERR_CORRUPT;
	}
	return ERR_NONE;
}

/* All logs, and what is in the lists when everybody has gone. */
static int gather(struct scene *scene, struct err *err)
{
	uint32_t sessions = scene->board->session_next;
	sqlite3 *db;
	int rc = ERR_NONE;

	if (scene->board->failed)
		return err_set(err, ERR_IO, "work", "app", "%s",
		               scene->board->why);
	for (uint32_t i = 0; !rc && i < sessions; i++) {
		char path[300];

		snprintf(path, sizeof path, "%s/session-%u", scene->directory,
		         i);
		/* Killed with its number taken and nothing made. */
		if (access(path, F_OK) == 0)
			rc = history_add_log(&scene->history, path, err);
	}
	db = rc ? NULL : isolation_connect(scene->directory, "", err);
	if (!db)
		return ERR_IO;
	rc = isolation_read_all(&scene->history, db, sessions,
	                        scene->board->key_next, err);
	if (!rc)
		rc = check_database(db, err);
	sqlite3_close(db);
	return rc;
}

static void print_counts(const struct scene *scene, double seconds)
{
	const struct isolation_report *r = scene->report;
	const struct isolation_board *board = scene->board;

	printf("note %llu transactions, %llu committed, in %.1f s: %llu reads, %llu appends, %llu stale, "
	       "%llu rolled back, %llu savepoints undone, %llu checkpoints, %llu vacuums; "
	       "%u kills, all at once %u times; edges: %llu ww, %llu wr, %llu rw; %llu anomalies\n",
	       (unsigned long long)r->transactions,
	       (unsigned long long)r->committed, seconds,
	       (unsigned long long)board->counts[COUNT_READS],
	       (unsigned long long)board->counts[COUNT_APPENDS],
	       (unsigned long long)board->counts[COUNT_STALE],
	       (unsigned long long)board->counts[COUNT_ROLLBACKS],
	       (unsigned long long)board->counts[COUNT_UNDONE],
	       (unsigned long long)board->counts[COUNT_CHECKPOINTS],
	       (unsigned long long)board->counts[COUNT_VACUUMS],
	       scene->kills, scene->all_died, (unsigned long long)r->edges[0],
	       (unsigned long long)r->edges[1], (unsigned long long)r->edges[2],
	       (unsigned long long)r->total);
}

static void print_findings(const struct isolation_report *report)
{
	for (unsigned i = 0; i < report->finding_count; i++)
		printf("note %s", report->finding[i]);
}

/* The history must be without anomaly, and must have had occasion for some. */
static void expect_isolated(struct test *t, struct scene *scene, double began)
{
	const struct isolation_report *r = scene->report;

	EXPECT_OK(t, gather(scene, &t->err));
	isolation_check(&scene->history, scene->report);
	print_counts(scene, seconds_now() - began);
	print_findings(r);
	if (r->total)
		test_fail(t, __FILE__, __LINE__, "%llu anomalies; %s",
		          (unsigned long long)r->total, r->finding[0]);
	EXPECT(t, r->transactions >= scene->board->goal);
	EXPECT(t, r->committed > r->transactions / 4);
	EXPECT(t, r->edges[0] > r->transactions / 8);
	EXPECT(t, r->edges[1] > r->transactions / 8);
	EXPECT(t, r->edges[2] > r->transactions / 8);
	EXPECT(t, scene->board->counts[COUNT_STALE] > 0);
	EXPECT(t, scene->board->counts[COUNT_UNDONE] > 0);
	EXPECT(t, scene->board->counts[COUNT_ROLLBACKS] > 0);
}

/* --- processes --------------------------------------------------------------------------- */

static pid_t spawn(const struct scene *scene, uint64_t seed)
{
	char number[32];
	char *arguments[] = { (char *)(uintptr_t)"/proc/self/exe",
		(char *)(uintptr_t)"--session",
		(char *)(uintptr_t)scene->directory, number, NULL };
	pid_t child;

	snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
	return posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ)
	       ? -1 : child;
}

/* One of the processes spawned above. */
static int be_process(const char *directory, const char *seed)
{
	struct isolation_board *board = isolation_board_open(directory);
	struct err err;

	if (!board)
		return 1;
	if (isolation_load(&err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	isolation_sessions(board, directory, BOARD_THREADS,
	                   strtoull(seed, NULL, 10));
	isolation_board_close(board);
	return 0;
}

static bool is_over(const struct scene *scene)
{
	return scene->board->stop || scene->board->ended >= scene->board->goal;
}

static void kill_one(struct scene *scene, pid_t *process, uint64_t *seed)
{
	kill(*process, SIGKILL);
	waitpid(*process, NULL, 0);
	scene->kills++;
	if (seed)
		*process = spawn(scene, test_random(seed));
}

static void kill_all(struct scene *scene, pid_t processes[PROCESSES],
                     uint64_t *seed)
{
	for (int i = 0; i < PROCESSES; i++)
		kill(processes[i], SIGKILL);
	for (int i = 0; i < PROCESSES; i++)
		waitpid(processes[i], NULL, 0);
	scene->kills += PROCESSES;
	scene->all_died++;
	for (int i = 0; i < PROCESSES; i++)
		processes[i] = spawn(scene, test_random(seed));
}

/* Whoever is left at the end goes by himself, or hangs and is told. */
static void wait_all(struct test *t, struct scene *scene,
                     pid_t processes[PROCESSES])
{
	double ends = seconds_now() + 120;

	for (int i = 0; i < PROCESSES; i++) {
		int status = 0;

		while (waitpid(processes[i], &status, WNOHANG) == 0) {
			if (seconds_now() > ends) {
				kill_one(scene, &processes[i], NULL);
				test_fail(t, __FILE__, __LINE__,
				          "a process hangs");
				break;
			}
			usleep(2000);
		}
		if (status && !scene->board->failed)
			test_fail(t, __FILE__, __LINE__,
			          "a process ended with status %d", status);
	}
}

static void run_processes(struct test *t, struct scene *scene, uint64_t seed,
                          bool killing)
{
	pid_t processes[PROCESSES];

	for (int i = 0; i < PROCESSES; i++)
		processes[i] = spawn(scene, test_random(&seed));
	while (!is_over(scene)) {
		if (!killing) {
			usleep(2000);
			continue;
		}
		usleep((useconds_t)(test_random(&seed) % (2 * KILL_US)));
		if (is_over(scene))
			break;
		if (scene->kills % ALL_DIE_EVERY == ALL_DIE_EVERY - 1)
			kill_all(scene, processes, &seed);
		else
			kill_one(scene, &processes[test_random(&seed) %
			                           PROCESSES], &seed);
	}
	wait_all(t, scene, processes);
}

/* --- cases ------------------------------------------------------------------------------------ */

/* So many transactions, in rounds that one judgement can hold. */
static void run_rounds(struct test *t, uint64_t left,
                       void (*run)(struct test *t, struct scene *scene,
                                   uint64_t seed))
{
	uint64_t seed = t->seed;

	while (left && !t->failed) {
		double began = seconds_now();
		struct scene scene;

		EXPECT_OK(t, set_up(t, &scene));
		scene.board->goal = left < ROUND * 3 / 2 ? left : ROUND;
		left -= scene.board->goal;
		run(t, &scene, test_random(&seed));
		if (!t->failed)
			expect_isolated(t, &scene, began);
		tear_down(&scene);
	}
}

static void run_killed(struct test *t, struct scene *scene, uint64_t seed)
{
	run_processes(t, scene, seed, true);
	if (scene->kills < 2)
		test_fail(t, __FILE__, __LINE__, "%u kills", scene->kills);
}

static void run_threads(struct test *t, struct scene *scene, uint64_t seed)
{
	(void)t;
	isolation_sessions(scene->board, scene->directory, 6, seed);
}

static void killed_processes_are_isolated(struct test *t)
{
	run_rounds(t, test_scaled(75000, 3000), run_killed);
}

static void threads_are_isolated(struct test *t)
{
	run_rounds(t, test_scaled(25000, 1000), run_threads);
}

static void print_finding(const struct isolation_report *report,
                          enum isolation_anomaly anomaly)
{
	const char *name = isolation_name(anomaly);

	for (unsigned i = 0; i < report->finding_count; i++)
		if (strncmp(report->finding[i], name, strlen(name)) == 0) {
			printf("note noticed: %s", report->finding[i]);
			return;
		}
}

/* The last of `wanted` is ISOLATION_ANOMALIES. */
static bool run_broken(struct test *t, enum isolation_broken broken,
                       const enum isolation_anomaly *wanted, uint64_t seed)
{
	struct scene scene;
	bool found = false;
	int rc = set_up(t, &scene);

	if (rc)
		return false;
	scene.board->broken = broken;
	scene.board->slots = 4;
	scene.board->goal = 1500;
	run_processes(t, &scene, seed, false);
	if (!gather(&scene, &t->err)) {
		isolation_check(&scene.history, scene.report);
		for (; !found && *wanted != ISOLATION_ANOMALIES; wanted++) {
			found = scene.report->found[*wanted] > 0;
			print_finding(scene.report, *wanted);
		}
	}
	tear_down(&scene);
	return found;
}

/* One of the kinds must be found. Whether two sessions meet in the moment that is
 * broken is a matter of luck: several tries. */
static void expect_noticed(struct test *t, enum isolation_broken broken,
                           const enum isolation_anomaly *wanted)
{
	bool found = false;

	for (uint64_t i = 0; i < BROKEN_TRIES && !found; i++)
		found = run_broken(t, broken, wanted, t->seed + i);
	EXPECT(t, found);
}

static void a_list_written_back_in_another_transaction_is_noticed(struct test *t)
{
	expect_noticed(t, BROKEN_OVERWRITE, (enum isolation_anomaly[]){
		ISOLATION_LOST, ISOLATION_ORDER, ISOLATION_TORN,
		ISOLATION_ANOMALIES });
}

static void a_lost_update_is_noticed(struct test *t)
{
	expect_noticed(t, BROKEN_UPDATE, (enum isolation_anomaly[]){
		ISOLATION_LOST_UPDATE, ISOLATION_ANOMALIES });
}

static void a_write_skew_is_noticed(struct test *t)
{
	expect_noticed(t, BROKEN_SKEW, (enum isolation_anomaly[]){
		ISOLATION_WRITE_SKEW, ISOLATION_ANOMALIES });
}

static const struct test_case cases[] = {
	CASE(killed_processes_are_isolated),
	CASE(threads_are_isolated),
	CASE(a_list_written_back_in_another_transaction_is_noticed),
	CASE(a_lost_update_is_noticed),
	CASE(a_write_skew_is_noticed),
};

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--session") == 0)
		return be_process(argv[2], argv[3]);
	return test_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
