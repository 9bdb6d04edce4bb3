/*
 * isolation_check_test.c - the judge of histories knows each anomaly when it sees it,
 * and sees none where there is none.
 *
 * Histories are written as text, a transaction a line:
 *
 *     0-10 ok a1=5 r2=7,8 undo0      begun at 0, returned at 10; appends 5 to list 1,
 *                                    reads 7 and 8 from list 2, undoes from operation 0
 *
 * `fail` and `unknown` are the other outcomes; a dead one returned at `-`.
 */
#include "test/harness.h"

#include "test/support/isolation.h"

/* --- histories as text ------------------------------------------------------------- */

static void parse_operation(struct history *history, const char *word)
{
	uint64_t values[32];
	uint32_t count = 0, key;
	char *end;

	if (strncmp(word, "undo", 4) == 0) {
		history_undo(history, (uint32_t)atoi(word + 4));
		return;
	}
	key = (uint32_t)strtoul(word + 1, &end, 10);
	while (*end && end[1])
		values[count++] = strtoull(end + 1, &end, 10);
	if (word[0] == 'a')
		history_append(history, key, values[0]);
	else
		history_read(history, key, values, count);
}

static void parse_line(struct history *history, char *line, uint32_t session)
{
	char *rest, *word = strtok_r(line, " ", &rest);
	uint64_t completed = UINT64_MAX;
	char *end;

	history_begin(history, session, strtoull(word, &end, 10));
	if (end[1] != '-' && end[1])
		completed = strtoull(end + 1, NULL, 10);
	word = strtok_r(NULL, " ", &rest);
	history_end(history, word[0] == 'o' ? HISTORY_OK : word[0] == 'f'
	            ? HISTORY_FAILED : HISTORY_UNKNOWN, completed);
	while ((word = strtok_r(NULL, " ", &rest)))
		parse_operation(history, word);
}

static void judge(const char *text, struct isolation_report *report)
{
	struct history history = { .key_count = 0 };
	char copy[2048], *rest, *line;
	uint32_t session = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (line = strtok_r(copy, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		parse_line(&history, line, session++);
	isolation_check(&history, report);
	history_free(&history);
}

/* --- made histories ------------------------------------------------------------------ */

static void histories_without_anomaly_pass(struct test *t)
{
	static const char *const good[] = {
		"0-9 ok a1=1 r1=1\n0-9 ok r1=1 a1=2\n20-29 ok r1=1,2",
		/* read before, returned after: real time allows both orders */
		"0-9 ok a1=1\n5-6 ok r1=\n5-7 ok r1=1\n20-29 ok r1=1",
		/* the end of a dead one is open, and either is right */
		"0-- unknown a1=1 a2=2\n10-19 ok r1=\n20-29 ok r1=1 r2=2",
		"0-- unknown a1=1 a2=2\n10-19 ok r1= r2=",
		/* undone and rolled back appends are seen by nobody else */
		"0-9 ok a1=1 a1=2 r1=1,2 undo1 r1=1 a1=3 r1=1,3\n20-29 ok r1=1,3",
		"0-9 fail a1=1 r1=1\n20-29 ok r1=",
		/* what is rolled back in the end has seen a snapshot too */
		"0-9 ok a1=1\n10-19 fail r1=1 a1=2 r1=1,2\n20-29 ok r1=1",
		/* each sees the other's list after itself: two orders of lists,
		 * one of transactions */
		"0-9 ok a1=1 a2=2\n0-9 ok r2=2 a1=3 a2=4\n20-29 ok r1=1,3 r2=2,4",
	};
	struct isolation_report *report = malloc(sizeof *report);

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		judge(good[i], report);
		if (report->total)
			test_fail(t, __FILE__, __LINE__, "history %zu: %s", i,
			          report->finding[0]);
	}
	free(report);
}

static void each_anomaly_is_found_and_named(struct test *t)
{
	static const struct {
		enum isolation_anomaly anomaly;
		const char *text;
	} bad[] = {
		{ ISOLATION_GARBAGE, "0-9 ok r1=77" },
		{ ISOLATION_DUPLICATE, "0-9 ok a1=1\n20-29 ok r1=1,1" },
		{ ISOLATION_INTERNAL, "0-9 ok a1=1 r1=" },
		{ ISOLATION_INTERNAL, "0-9 ok a1=1\n5-8 ok r1= r1=1\n20-29 ok r1=1" },
		{ ISOLATION_INTERNAL, "0-9 ok a1=1 undo0 r1=1\n20-29 ok r1=" },
		{ ISOLATION_ABORTED, "0-9 fail a1=1\n20-29 ok r1=1" },
		{ ISOLATION_ABORTED, "0-9 ok a1=1 undo0 a1=2\n20-29 ok r1=1,2" },
		{ ISOLATION_INTERMEDIATE,
		  "0-9 ok a1=1 a1=2\n0-9 ok r1=1\n20-29 ok r1=1,2" },
		{ ISOLATION_ORDER,
		  "0-9 ok a1=1\n0-9 ok a1=2\n20-29 ok r1=1\n30-39 ok r1=2" },
		{ ISOLATION_LOST, "0-9 ok a1=1\n20-29 ok r1=" },
		{ ISOLATION_TORN, "0-- unknown a1=1 a2=2\n20-29 ok r1=1 r2=" },
		{ ISOLATION_G0,
		  "0-9 ok a1=1 a2=2\n0-9 ok a1=3 a2=4\n20-29 ok r1=1,3 r2=4,2" },
		{ ISOLATION_G1C,
		  "0-9 ok a1=1 r2=2\n0-9 ok a2=2 r1=1\n20-29 ok r1=1 r2=2" },
		{ ISOLATION_LOST_UPDATE,
		  "0-9 ok r1= a1=1\n0-9 ok r1= a1=2\n20-29 ok r1=1,2" },
		{ ISOLATION_G_SINGLE,
		  "0-9 ok a1=1 a2=2\n0-9 ok r1= r2=2\n20-29 ok r1=1 r2=2" },
		{ ISOLATION_WRITE_SKEW,
		  "0-9 ok r1= r2= a1=1\n0-9 ok r1= r2= a2=2\n20-29 ok r1=1 r2=2" },
		{ ISOLATION_G2,
		  "0-9 ok r1= a2=2\n0-9 ok r2= a3=3\n0-9 ok r3= a1=1\n"
		  "20-29 ok r1=1 r2=2 r3=3" },
		/* two readers who see two writers in opposite orders */
		{ ISOLATION_G2,
		  "0-9 ok a1=1\n0-9 ok a2=2\n0-9 ok r1=1 r2=\n0-9 ok r1= r2=2\n"
		  "20-29 ok r1=1 r2=2" },
		/* a stale snapshot, a write that comes out before its time */
		{ ISOLATION_REALTIME, "0-9 ok a1=1\n10-19 ok r1=\n20-29 ok r1=1" },
		{ ISOLATION_REALTIME,
		  "0-9 ok a1=1\n10-19 ok a1=2\n20-29 ok r1=2,1" },
	};
	struct isolation_report *report = malloc(sizeof *report);

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		judge(bad[i].text, report);
		if (!report->found[bad[i].anomaly])
			test_fail(t, __FILE__, __LINE__,
			          "history %zu: no %s; first finding: %s", i,
			          isolation_name(bad[i].anomaly),
			          report->finding[0]);
		if (!strstr(report->finding[0], isolation_name(bad[i].anomaly)))
			test_fail(t, __FILE__, __LINE__,
			          "history %zu: %s is first called %s", i,
			          isolation_name(bad[i].anomaly),
			          report->finding[0]);
		if (i + 1 == sizeof bad / sizeof bad[0])
			printf("note an example: %s", report->finding[0]);
	}
	free(report);
}

/* --- large ones, with one thing wrong ---------------------------------------------------- */

enum { KEYS = 12, LIST_MAX = 4096 };

struct list {
	uint64_t values[LIST_MAX];
	uint32_t count;
};

enum wrong { NOTHING, LOST_UPDATE, WRITE_SKEW };

/* Transactions one after the other, each two steps long, `at` counting time. */
static void run_serial(struct history *history, struct list lists[KEYS],
                       unsigned count, uint64_t *seed, uint64_t *at)
{
	for (unsigned i = 0; i < count; i++, *at += 10) {
		uint32_t read = (uint32_t)(test_random(seed) % KEYS);
		uint32_t key = (uint32_t)(test_random(seed) % KEYS);

		history_begin(history, i % 7, *at);
		history_read(history, read, lists[read].values,
		             lists[read].count);
		if (lists[key].count < LIST_MAX - 8) {
			lists[key].values[lists[key].count++] = *at;
			history_append(history, key, *at);
		}
		history_end(history, HISTORY_OK, *at + 15);
	}
}

/* Two at once that do not see each other. */
static void run_wrong(struct history *history, struct list lists[KEYS],
                      enum wrong wrong, uint64_t at)
{
	struct list before[2] = { lists[0], lists[1] };

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t key = wrong == LOST_UPDATE ? 0 : i;

		history_begin(history, 8 + i, at);
		history_read(history, 0, before[0].values, before[0].count);
		history_read(history, 1, before[1].values, before[1].count);
		lists[key].values[lists[key].count++] = at + i;
		history_append(history, key, at + i);
		history_end(history, HISTORY_OK, at + 9);
	}
}

static void large(struct test *t, enum wrong wrong,
                  struct isolation_report *report)
{
	struct history history = { .key_count = 0 };
	struct list *lists = calloc(KEYS, sizeof *lists);
	uint64_t at = 100, seed = t->seed;

	run_serial(&history, lists, 2000, &seed, &at);
	at += 20;
	if (wrong)
		run_wrong(&history, lists, wrong, at);
	at += 20;
	run_serial(&history, lists, 2000, &seed, &at);
	history_begin(&history, 99, at + 20);
	for (uint32_t k = 0; k < KEYS; k++)
		history_read(&history, k, lists[k].values, lists[k].count);
	history_end(&history, HISTORY_OK, at + 30);
	isolation_check(&history, report);
	history_free(&history);
	free(lists);
}

static void one_wrong_step_among_thousands_is_found(struct test *t)
{
	struct isolation_report *report = malloc(sizeof *report);

	large(t, NOTHING, report);
	EXPECT_EQ(t, report->total, 0);
	EXPECT(t, report->edges[0] > 1000 && report->edges[1] > 1000 &&
	       report->edges[2] > 1000 && report->edges[3] > 1000);
	large(t, LOST_UPDATE, report);
	EXPECT(t, report->found[ISOLATION_LOST_UPDATE]);
	EXPECT(t, strstr(report->finding[0], "had not read what was appended by"));
	large(t, WRITE_SKEW, report);
	EXPECT(t, report->found[ISOLATION_WRITE_SKEW]);
	EXPECT_EQ(t, report->found[ISOLATION_LOST_UPDATE], 0);
	free(report);
}

static void logs_tell_what_was_noted_before_a_death(struct test *t)
{
	static const uint64_t seen[] = { 3, 4 };
	struct history history = { .key_count = 0 };
	struct history_log *log;
	char directory[256], path[300];

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/log", directory);
	log = history_log_open(path, 5);
	EXPECT(t, log);
	history_log_begin(log, 10);
	history_log_append(log, 1, 9);
	history_log_read(log, 2, seen, 2);
	history_log_undo(log, 0);
	history_log_commit(log);
	history_log_end(log, HISTORY_OK, 20);
	history_log_begin(log, 30);
	history_log_append(log, 1, 10);
	history_log_commit(log);
	history_log_begin(log, 40);
	history_log_append(log, 1, 11);
	EXPECT_OK(t, history_add_log(&history, path, &t->err));
	history_log_close(log);
	EXPECT_EQ(t, history.transaction_count, 3);
	EXPECT_EQ(t, history.transactions[0].outcome, HISTORY_OK);
	EXPECT_EQ(t, history.transactions[0].operation_count, 3);
	EXPECT_EQ(t, history.transactions[0].completed, 20);
	EXPECT_EQ(t, history.transactions[1].outcome, HISTORY_UNKNOWN);
	EXPECT_EQ(t, history.transactions[2].outcome, HISTORY_FAILED);
	EXPECT_EQ(t, history.transactions[2].session, 5);
	history_free(&history);
}

static const struct test_case cases[] = {
	CASE(histories_without_anomaly_pass),
	CASE(each_anomaly_is_found_and_named),
	CASE(one_wrong_step_among_thousands_is_found),
	CASE(logs_tell_what_was_noted_before_a_death),
};
TEST_MAIN(cases)
