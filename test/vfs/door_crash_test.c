/*
 * door_crash_test.c - whatever moment a crash comes, SQLite finds its tables as
 * some commit left them, with everything that was acknowledged.
 *
 * Two simulated processes work through SQL on one database: transactions of all
 * sizes (large ones spill and are PLACED), savepoints, rollbacks, tables made and
 * dropped, VACUUM, all settings of synchronous, a reader that keeps a snapshot,
 * checkpoints, closing and opening again, and the writer's death in the middle of
 * a commit. The same statements run in stock SQLite in memory; a digest of all its
 * tables after each commit is what a crashed disk is compared with. In the mixed
 * workload every transaction changes ordinary tables, a turdb table, its indexes
 * and its vectors; stock SQLite has an ordinary table in its place.
 */
#include "test/harness.h"

#include <stdarg.h>

#include "test/support/sql_commits.h"

enum { COMMITS = 60 };

struct workload {
	bool mixed;
	struct sim_disk *disk;
	struct sql_process writer, other;
	sqlite3 *oracle;
	uint64_t k;                    /* the last commit */
	uint64_t digests[COMMITS + 1]; /* after commit k  */
	uint64_t seen;                 /* which one the reader's snapshot is */
	unsigned spills, deaths, vacuums, snapshots;
};

/* --- one transaction ------------------------------------------------------------- */

enum { OURS = 1, ORACLE = 2, BOTH = OURS | ORACLE };

/* The same transaction for TurDB and for stock SQLite. */
struct script {
	char ours[4096], oracle[4096];
};

static void __attribute__((format(printf, 3, 4)))
say_to(struct script *script, int who, const char *format, ...)
{
	char text[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (who & OURS)
		strcat(script->ours, text);
	if (who & ORACLE)
		strcat(script->oracle, text);
}

#define say(script, ...) say_to(script, BOTH, __VA_ARGS__)

static void say_tables(struct script *script, unsigned k)
{
	if (k % 10 == 5)
		say(script, "CREATE TABLE x%u(a PRIMARY KEY, b);"
		    "INSERT INTO x%u SELECT id, v FROM t LIMIT 20;"
		    "CREATE INDEX i%u ON x%u(b);", k, k, k, k);
	if (k % 10 == 8 && k > 10)
		say(script, "DROP TABLE x%u;", k - 3);
	if (k % 12 == 7)
		say(script, "INSERT INTO large SELECT %u * 1000 + id, zeroblob(15000) "
		    "FROM t LIMIT 60;", k);
	if (k % 12 == 10)
		say(script, "DELETE FROM large;");
}

/* --- the mixed part: a turdb table with indexes and vectors ----------------------- */

enum { DIMENSIONS = 8 };

static void say_vector(struct script *script, unsigned seed)
{
	uint64_t state = seed;

	say(script, "x'");
	for (unsigned i = 0; i < DIMENSIONS; i++) {
		float number = (float)(test_random(&state) % 1000) / 100;
		uint8_t bytes[4];

		memcpy(bytes, &number, sizeof bytes);
		say(script, "%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2],
		    bytes[3]);
	}
	say(script, "'");
}

static void say_create(struct script *script, const char *name)
{
	say_to(script, OURS, "CREATE VIRTUAL TABLE %s USING turdb("
	       "id INTEGER PRIMARY KEY, k INT, name TEXT UNIQUE, INDEX %s_k(k DESC, name), "
	       "v VECTOR(8) HNSW(metric='l2', m=4, quantize='%s'));", name, name,
	       name[0] == 'm' ? "sq8" : "none");
	say_to(script, ORACLE, "CREATE TABLE %s(id INTEGER PRIMARY KEY, k INT, "
	       "name TEXT UNIQUE, v);", name);
}

static void say_mixed(struct script *script, unsigned k)
{
	char name[16];

	for (unsigned i = 0; i < 2 + k % 4; i++) {
		say(script, "INSERT OR REPLACE INTO m VALUES(%u, %u, "
		    "printf('%%.*c%u', %u, 'n'), ", (k * 29 + i * 17) % 60, k % 5,
		    k * 10 + i, (k * 13 + i * 700) % 1200);
		say_vector(script, k * 10 + i);
		say(script, ");");
	}
	if (k % 3 == 1)
		say(script, "UPDATE m SET k = k + 1, name = name || 'u' "
		    "WHERE k = %u;", k % 5);
	if (k % 5 == 2)
		say(script, "DELETE FROM m WHERE id %% 7 = %u;", k % 7);
	if (k % 4 == 3)
		say(script, "SAVEPOINT v; DELETE FROM m; INSERT INTO m(name) VALUES('gone');"
		    "ROLLBACK TO v; RELEASE v;");
	snprintf(name, sizeof name, "y%u", k - (k % 10 == 9 ? 5 : 0));
	if (k % 10 == 4) {
		say_create(script, name);
		say(script, "INSERT INTO %s SELECT * FROM m LIMIT 30;", name);
	}
	if (k % 10 == 9)
		say(script, "DROP TABLE %s;", name);
}

/* What commit k does, but for its BEGIN and COMMIT. */
static void say_transaction(const struct workload *w, struct script *script,
                            unsigned k)
{
	script->ours[0] = script->oracle[0] = 0;
	say(script, "INSERT INTO log VALUES(%u, %u);", k, k * k);
	for (unsigned i = 0; i < 1 + k % 5; i++)
		say(script, "INSERT OR REPLACE INTO t VALUES(%u, "
		    "printf('%%.*c', %u, 'a'));", (k * 37 + i * 11) % 150,
		    (k * 997 + i * 3001) % (i == 4 ? 40000 : 900));
	if (k % 3 == 0)
		say(script, "UPDATE t SET v = substr(v, 1, length(v) / 2) || 'u%u' "
		    "WHERE id %% 7 = %u;", k, k % 7);
	if (k % 4 == 1)
		say(script, "SAVEPOINT s; DELETE FROM t; INSERT INTO log VALUES(-1, 0);"
		    "CREATE TABLE gone(a); ROLLBACK TO s; RELEASE s;");
	if (k % 5 == 3)
		say(script, "DELETE FROM t WHERE id %% 11 = %u;", k % 11);
	say_tables(script, k);
	if (w->mixed)
		say_mixed(script, k);
}

static int run_transaction(sqlite3 *db, const char *script, struct err *err)
{
	int rc = sql_run(db, "BEGIN IMMEDIATE", err);

	if (!rc)
		rc = sql_run(db, script, err);
	return rc ? rc : sql_run(db, "COMMIT", err);
}

static int advance_oracle(struct workload *w, const struct script *script,
                          struct err *err)
{
	int rc = run_transaction(w->oracle, script->oracle, err);

	w->k++;
	return rc ? rc : sql_digest(w->oracle, &w->digests[w->k], err);
}

/* --- the workload ------------------------------------------------------------------ */

static void say_schema(const struct workload *w, struct script *script)
{
	script->ours[0] = script->oracle[0] = 0;
	say(script, "CREATE TABLE log(k INTEGER PRIMARY KEY, square);"
	    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);"
	    "CREATE INDEX tv ON t(substr(v, 1, 20));"
	    "CREATE TABLE large(id INTEGER PRIMARY KEY, b);");
	if (w->mixed)
		say_create(script, "m");
}

static int start(struct workload *w, struct sql_process *process,
                 struct err *err)
{
	int rc = sql_process_start(process, w->disk, err);

	if (!rc)
		rc = sql_open(process, "&cache_kb=256&checkpoint_mb=1", err);
	return rc ? rc : sql_run(process->db, "PRAGMA cache_size=-200", err);
}

static int commit(struct workload *w, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	struct script script;
	int rc;

	say_transaction(w, &script, k);
	rc = sql_run(w->writer.db, sql_commits_synchronous(k), err);
	if (rc)
		return rc;
	sql_commits_begun(w->disk, k);
	rc = run_transaction(w->writer.db, script.ours, err);
	if (rc)
		return rc;
	sql_commits_returned(w->disk, k);
	return advance_oracle(w, &script, err);
}

static int check_against(sqlite3 *db, uint64_t digest, uint64_t k,
                         struct err *err)
{
	uint64_t found;
	int rc = sql_digest(db, &found, err);

	if (!rc && found != digest)
		rc = err_set(err, ERR_CORRUPT, "read", "app",
		             "the tables are not as commit %llu left them",
		             (unsigned long long)k);
	return rc;
}

/* The writer dies some calls into its commit; the other process goes on. */
static int die(struct workload *w, unsigned calls, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	struct script script;
	struct err ignored;
	int64_t found;
	int rc;

	say_transaction(w, &script, k);
	sql_commits_begun(w->disk, k);
	sim_process_kill_after(w->writer.os, calls, calls % 2);
	if (run_transaction(w->writer.db, script.ours, &ignored) == ERR_NONE)
		sim_process_kill(w->writer.os);
	sql_process_end(&w->writer);
	w->deaths++;
	rc = sql_run(w->other.db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(9999, 0);"
	             "DELETE FROM t WHERE id=9999; COMMIT", err);
	if (!rc)
		rc = sql_number(w->other.db, "SELECT max(k) FROM log", &found,
		                err);
	if (!rc && found == (int64_t)k)
		rc = advance_oracle(w, &script, err);
	if (!rc)
		rc = check_against(w->other.db, w->digests[w->k], w->k, err);
	return rc ? rc : start(w, &w->writer, err);
}

static int keep_snapshot(struct workload *w, struct err *err)
{
	int64_t count;
	int rc = sql_run(w->other.db, "BEGIN", err);

	w->seen = w->k;
	return rc ? rc : sql_number(w->other.db, "SELECT count(*) FROM t",
	                            &count, err);
}

static int drop_snapshot(struct workload *w, struct err *err)
{
	int rc;

	if (sqlite3_get_autocommit(w->other.db))
		return ERR_NONE;
	w->snapshots++;
	rc = check_against(w->other.db, w->digests[w->seen], w->seen, err);
	return rc ? rc : sql_run(w->other.db, "COMMIT", err);
}

static int count_spills(struct workload *w, struct err *err)
{
	int64_t spills = 0;
	int rc = sql_number(w->writer.db, "SELECT value FROM turdb_status "
	                    "WHERE name='spilled_pages'", &spills, err);

	w->spills += (unsigned)spills;
	return rc;
}

static int restart(struct workload *w, struct err *err)
{
	int rc = count_spills(w, err);

	sql_process_end(&w->other);
	sql_process_end(&w->writer);
	if (!rc)
		rc = start(w, &w->writer, err);
	return rc ? rc : start(w, &w->other, err);
}

static int step(struct workload *w, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	int rc = ERR_NONE;

	if (k % 6 == 2)
		rc = keep_snapshot(w, err);
	if (!rc && k % 9 == 4)
		rc = sql_run(w->writer.db, "BEGIN; UPDATE t SET v=v||1; "
		             "DELETE FROM large; ROLLBACK", err);
	if (!rc)
		rc = commit(w, err);
	if (!rc && k % 6 == 5)
		rc = drop_snapshot(w, err);
	if (!rc && k % 16 == 12) {
		w->vacuums++;
		rc = sql_run(w->writer.db, "VACUUM", err);
	}
	if (!rc && k % 13 == 0)
		rc = sql_run(w->other.db, "SELECT turdb_checkpoint()", err);
	if (!rc && k % 6 == 0 && k < COMMITS)
		rc = die(w, k * 5 % 17, err);
	if (!rc && k % 25 == 20)
		rc = restart(w, err);
	return rc;
}

static int make_tables(struct workload *w, struct err *err)
{
	struct script script;
	int rc;

	say_schema(w, &script);
	rc = run_transaction(w->oracle, script.oracle, err);
	if (!rc)
		rc = sql_digest(w->oracle, &w->digests[0], err);
	sql_commits_begun(w->disk, 0);
	if (!rc)
		rc = run_transaction(w->writer.db, script.ours, err);
	sql_commits_returned(w->disk, 0);
	return rc;
}

static int work(void *context, struct sim_disk *disk, struct err *err)
{
	struct workload *w = context;
	int rc = sql_rig_start(err);

	w->disk = disk;
	if (!rc && sqlite3_open(":memory:", &w->oracle))
		rc = err_set(err, ERR_NOMEM, "open", ":memory:", "no oracle");
	if (!rc)
		rc = start(w, &w->writer, err);
	if (!rc)
		rc = start(w, &w->other, err);
	if (!rc)
		rc = make_tables(w, err);
	while (!rc && w->k < COMMITS)
		rc = step(w, err);
	if (!rc)
		rc = count_spills(w, err);
	sql_process_end(&w->other);
	sql_process_end(&w->writer);
	sqlite3_close(w->oracle);
	w->oracle = NULL;
	return rc;
}

/* --- judging ------------------------------------------------------------------------ */

/* A table, its indexes and its graph hold the same rows. */
static int check_mixed(sqlite3 *db, struct err *err)
{
	static const char *const counts[] = {
		"SELECT count(*) - (SELECT count(*) FROM m WHERE k >= -1) FROM m",
		"SELECT count(*) - (SELECT count(*) FROM m AS a WHERE EXISTS "
		"(SELECT 1 FROM m AS b WHERE b.name = a.name)) FROM m",
		"SELECT count(*) - (SELECT count(*) FROM m WHERE v MATCH "
		"'[0,0,0,0,0,0,0,0]' AND _k = 1000) FROM m",
	};
	int rc = ERR_NONE;

	for (size_t i = 0; i < sizeof counts / sizeof counts[0] && !rc; i++) {
		int64_t difference;

		rc = sql_number(db, counts[i], &difference, err);
		if (!rc && difference)
			rc = err_set(err, ERR_CORRUPT, "count", counts[i],
			             "%lld rows too few", (long long)difference);
	}
	return rc;
}

static int judge(const struct workload *w, sqlite3 *db,
                 const struct explore_state *state, struct err *err)
{
	int64_t count;
	int rc = sql_commits_judge(db, state, &count, err);

	if (!rc && count)
		rc = check_against(db, w->digests[count - 1],
		                   (uint64_t)count - 1, err);
	if (!rc && count && w->mixed)
		rc = check_mixed(db, err);
	return rc ? rc : sql_expect_sound(db, err);
}

static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	const struct workload *w = context;
	struct sql_process process;
	int rc = sql_process_start(&process, disk, err);

	if (!rc)
		rc = sql_open(&process, "", err);
	if (!rc)
		rc = judge(w, process.db, state, err);
	if (!rc)
		rc = sql_run(process.db, "CREATE TABLE IF NOT EXISTS t(id, v);"
		             "UPDATE t SET v='after'; DROP TABLE IF EXISTS large", err);
	if (!rc)
		rc = sql_expect_text(process.db, "SELECT turdb_check()", "ok",
		                     err);
	sql_process_end(&process);
	return rc;
}

static void explore(struct test *t, const char *name, bool mixed,
                    uint64_t states)
{
	struct workload workload = { .mixed = mixed };
	struct explore_plan plan = {
		.name = name, .work = work, .check = check,
		.recover = sql_commits_recover, .context = &workload, .seed = t->seed,
		.states = states, .recrash_every = 5,
	};

	explore_expect(t, &plan);
	printf("note crossed: %u spilled pages, %u deaths, %u vacuums, %u old snapshots read\n",
	       workload.spills, workload.deaths, workload.vacuums,
	       workload.snapshots);
	EXPECT(t, workload.spills > 0 && workload.deaths > 0 &&
	          workload.vacuums > 0 && workload.snapshots > 0);
}

static void ordinary_tables_are_a_commit_after_every_crash(struct test *t)
{
	explore(t, "ordinary tables", false, test_scaled(1000, 200));
}

static void rows_indexes_and_vectors_are_one_commit_after_every_crash(
	struct test *t)
{
	explore(t, "mixed", true, test_scaled(1500, 200));
}

static const struct test_case cases[] = {
	CASE(ordinary_tables_are_a_commit_after_every_crash),
	CASE(rows_indexes_and_vectors_are_one_commit_after_every_crash),
};

TEST_MAIN(cases)
