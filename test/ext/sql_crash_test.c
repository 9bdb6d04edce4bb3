/*
 * sql_crash_test.c - whatever moment a crash comes, ordinary tables, turdb tables,
 * their indexes and their vectors are all as one and the same commit left them.
 *
 * Two simulated processes work through SQL on one database. Every transaction
 * changes an ordinary table and a turdb table with a secondary index, a unique one
 * and a graph over a vector column; some are large (they spill, are PLACED, split
 * and empty leaves), some make or drop tables, some roll back in part or whole.
 * One process keeps old snapshots, the other one dies in the middle of commits.
 * The same statements run in stock SQLite in memory, where turdb tables are
 * ordinary ones; digests of all tables after each commit are what a crashed disk
 * is compared with. That the workload really crosses all this is counted.
 */
#include "test/harness.h"

#include <stdarg.h>
#include <xxhash.h>

#include "base/plant.h"
#include "test/support/sql_commits.h"
#include "vfs/store.h"

enum { COMMITS = 60 };

enum crossing { CHECKPOINTS, SPILLS, PLACED, SEGMENTS, SPLITS, MERGES, CREATES,
                DROPS, READERS, DEATHS, ROLLBACKS, CROSSINGS };

static const char *const crossing_names[CROSSINGS] = {
	"checkpoints", "spilled pages", "PLACED commits", "log segments",
	"commits that split pages", "commits that gave pages back",
	"turdb tables made", "turdb tables dropped", "old snapshots read",
	"deaths of processes", "rollbacks",
};

struct workload {
	uint32_t plants;
	struct sim_disk *disk;
	struct sql_process writer, other;
	sqlite3 *oracle;
	bool committing;
	uint64_t k;                    /* the last commit */
	uint64_t digests[COMMITS + 1]; /* after commit k  */
	uint64_t seen;                 /* which one the reader's snapshot is */
	uint64_t pages;                /* in use, of the table own */
	uint64_t crossed[CROSSINGS];
};

/* --- one transaction ------------------------------------------------------------- */

struct script {
	bool oracle; /* for stock SQLite */
	char text[16384];
	size_t size;
};

static void __attribute__((format(printf, 2, 3)))
say(struct script *script, const char *format, ...)
{
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(script->text + script->size,
	                 sizeof script->text - script->size, format, arguments);
	va_end(arguments);
	script->size += (size_t)size;
	if (script->size >= sizeof script->text)
		abort();
}

static void say_table(struct script *script, unsigned k)
{
	if (script->oracle)
		say(script, "CREATE TABLE x%u(id INTEGER PRIMARY KEY, c TEXT);", k);
	else
		say(script, "CREATE VIRTUAL TABLE x%u USING turdb("
		    "id INTEGER PRIMARY KEY, c TEXT, INDEX x%u_c(c DESC));", k, k);
	say(script, "INSERT INTO x%u SELECT id, b FROM own WHERE id < 1000 "
	    "ORDER BY id LIMIT 20;", k);
}

static void say_rows(struct script *script, unsigned k)
{
	for (unsigned i = 0; i < 3 + k % 4; i++) {
		unsigned id = (k * 37 + i * 11) % 200;

		say(script, "INSERT OR REPLACE INTO o VALUES(%u, "
		    "printf('%%.*c', %u, 'o'));", id, (k * 97 + i * 31) % 300);
		say(script, "INSERT OR REPLACE INTO own(id, a, b, v) VALUES(%u, %u, "
		    "printf('%u-%u-%%.*c', %u, 'b'), '[%u, %u, 1.5, 2]');", id,
		    k % 17, id, k, i == 3 ? 30000 : (k * 53 + i * 131) % 400, id,
		    k);
	}
}

static void say_large(struct script *script, unsigned k)
{
	say(script, "INSERT INTO own(id, a, b) WITH RECURSIVE n(i) AS (SELECT 1 "
	    "UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
	    "SELECT 1000 + (i * 7919) %% 1000, i %% 50, "
	    "printf('large-%%d-%u-%%.*c', i, 300, 'l') FROM n;", k);
}

/* The table of the commit before gets an index, loses one, has all made anew; an index
 * is given up on the way. */
static void say_index(struct script *script, unsigned k)
{
	if (script->oracle)
		return;
	say(script, "SELECT turdb_create_index('x%u_u', 'x%u', 'c, id', 'unique');",
	    k, k - 1);
	say(script, "SAVEPOINT i; SELECT turdb_create_index('own_v', 'own', 'a DESC, b');"
	    "UPDATE own SET a = a + 1 WHERE id < 9; ROLLBACK TO i; RELEASE i;");
	if (k % 20 == 6)
		say(script, "SELECT turdb_drop_index('x%u_c');", k - 1);
	else
		say(script, "SELECT turdb_reindex('x%u');", k - 1);
}

/* What commit k does, but for its BEGIN and COMMIT. */
static void say_transaction(struct script *script, unsigned k, bool oracle)
{
	script->oracle = oracle;
	script->size = 0;
	say(script, "INSERT INTO log VALUES(%u, %u);", k, k * k);
	say_rows(script, k);
	if (k % 3 == 0)
		say(script, "UPDATE own SET a = a + 1, b = b || 'u' WHERE id %% 7 = %u "
		    "AND id < 1000;", k % 7);
	if (k % 4 == 1) {
		say(script, "SAVEPOINT s; DELETE FROM own; DELETE FROM o WHERE id > 50;"
		    "INSERT INTO own(id, a, b, v) VALUES(7, 7, '7', '[7, 7, 7, 7]');");
		say_table(script, 900 + k);
		say(script, "ROLLBACK TO s; RELEASE s;");
	}
	if (k % 5 == 3)
		say(script, "DELETE FROM own WHERE id %% 11 = %u;", k % 11);
	if (k % 7 == 2)
		say(script, "INSERT OR IGNORE INTO own(id, a, b) SELECT id + 1, 0, b "
		    "FROM own WHERE id < 50;");
	if (k % 6 == 4)
		say(script, "UPDATE own SET id = id + 300 WHERE id = "
		    "(SELECT max(id) FROM own WHERE id < 200) AND NOT EXISTS "
		    "(SELECT 1 FROM own WHERE id BETWEEN 300 AND 600);");
	if (k % 12 == 7)
		say_large(script, k);
	if (k % 12 == 10)
		say(script, "DELETE FROM own WHERE id >= 1000;");
	if (k % 10 == 5)
		say_table(script, k);
	if (k % 10 == 6)
		say_index(script, k);
	if (k % 10 == 8 && k > 10)
		say(script, "DROP TABLE x%u;", k - 3);
}

static int run_transaction(struct workload *w, sqlite3 *db,
                           const struct script *script, struct err *err)
{
	int rc = sql_run(db, "BEGIN IMMEDIATE", err);

	if (!rc)
		rc = sql_run(db, script->text, err);
	w->committing = true;
	if (!rc)
		rc = sql_run(db, "COMMIT", err);
	w->committing = false;
	return rc;
}

/* --- digests --------------------------------------------------------------------- */

static int add_rows(sqlite3 *db, const char *sql, XXH3_state_t *state,
                    struct err *err)
{
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	while (!rc && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(statement); i++) {
			const void *text = sqlite3_column_text(statement, i);
			int size = sqlite3_column_bytes(statement, i);

			XXH3_64bits_update(state, &size, sizeof size);
			if (size)
				XXH3_64bits_update(state, text, (size_t)size);
		}
		rc = SQLITE_OK;
	}
	if (rc && rc != SQLITE_DONE)
		rc = sql_run(db, sql, err) ? ERR_CORRUPT
		     : err_set(err, ERR_CORRUPT, "run", sql, "it failed");
	else
		rc = ERR_NONE;
	sqlite3_finalize(statement);
	return rc;
}

/* Tables x... of either kind. */
static int add_made(sqlite3 *db, XXH3_state_t *state, struct err *err)
{
	static const char names[] =
		"SELECT name FROM sqlite_schema WHERE type = 'table' "
		"AND name GLOB 'x[0-9]*' ORDER BY name";
	sqlite3_stmt *statement = NULL;
	int rc = add_rows(db, names, state, err);

	if (!rc && sqlite3_prepare_v2(db, names, -1, &statement, NULL))
		rc = err_set(err, ERR_CORRUPT, "run", names, "%s",
		             sqlite3_errmsg(db));
	while (!rc && sqlite3_step(statement) == SQLITE_ROW) {
		char *sql = sqlite3_mprintf("SELECT id, c FROM %s ORDER BY c DESC, id",
			sqlite3_column_text(statement, 0));

		rc = add_rows(db, sql, state, err);
		sqlite3_free(sql);
	}
	sqlite3_finalize(statement);
	return rc;
}

/* Each table by its key, and the turdb table by its indexes too. */
static int digest(sqlite3 *db, uint64_t *sum, struct err *err)
{
	static const char *const queries[] = {
		"SELECT k, square FROM log ORDER BY k",
		"SELECT id, v FROM o ORDER BY id",
		"SELECT id, a, b, v IS NULL FROM own ORDER BY id",
		"SELECT a, id FROM own WHERE a >= 0 ORDER BY a, id",
		"SELECT id FROM own WHERE b > '1' ORDER BY b",
	};
	XXH3_state_t *state = XXH3_createState();
	int rc = ERR_NONE;

	XXH3_64bits_reset(state);
	for (size_t i = 0; !rc && i < sizeof queries / sizeof queries[0]; i++)
		rc = add_rows(db, queries[i], state, err);
	if (!rc)
		rc = add_made(db, state, err);
	*sum = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return rc;
}

static int check_against(const struct workload *w, sqlite3 *db, uint64_t k,
                         struct err *err)
{
	uint64_t found;
	int rc = digest(db, &found, err);

	if (!rc && found != w->digests[k])
		rc = err_set(err, ERR_CORRUPT, "read", "app",
		             "the tables are not as commit %llu left them",
		             (unsigned long long)k);
	return rc;
}

/* Each row's vector finds that row, and nothing else is as near. */
static int check_vectors(sqlite3 *db, struct err *err)
{
	int64_t lost = 0;
	int rc = sql_number(db,
		"SELECT count(*) FROM (SELECT id, v FROM own WHERE v IS NOT NULL "
		"ORDER BY id LIMIT 12) AS r WHERE r.id NOT IN "
		"(SELECT id FROM own WHERE v MATCH r.v AND k = 1)", &lost, err);

	if (!rc && lost)
		rc = err_set(err, ERR_CORRUPT, "search", "own",
		             "%lld rows are not found by their vector",
		             (long long)lost);
	return rc;
}

/* --- what is crossed ---------------------------------------------------------------- */

static int hook(void *context, struct os *os, enum sim_call call,
                const char *name, uint64_t index, struct err *err)
{
	struct workload *w = context;

	(void)os, (void)index, (void)err;
	if (call == SIM_CALL_CREATE && strstr(name, "/wal/"))
		w->crossed[SEGMENTS]++;
	if (call == SIM_CALL_SYNC && w->committing && strstr(name, "/root/"))
		w->crossed[PLACED]++;
	return ERR_NONE;
}

static int count_spills(struct workload *w, struct err *err)
{
	int64_t spills = 0;
	int rc = sql_number(w->writer.db, "SELECT value FROM turdb_status "
	                    "WHERE name='spilled_pages'", &spills, err);

	w->crossed[SPILLS] += (uint64_t)spills;
	return rc;
}

static int add_pages(void *context, const struct store_file_info *info)
{
	if (info->kind == STORE_FILE_TABLE && strstr(info->name, "own"))
		*(uint64_t *)context += info->page_count - info->free_pages;
	return 0;
}

static int count_changes(struct workload *w, unsigned k, struct err *err)
{
	sqlite3 *db = w->writer.db;
	uint64_t pages = 0;
	int rc = sql_run(db, "BEGIN; SELECT k FROM log LIMIT 1", err);

	if (!rc)
		rc = store_file_each(sql_rig_view(db), add_pages, &pages, err);
	if (!rc)
		rc = sql_run(db, "COMMIT", err);
	w->crossed[SPLITS] += pages > w->pages;
	w->crossed[MERGES] += pages < w->pages;
	w->pages = pages;
	w->crossed[CREATES] += k % 10 == 5;
	w->crossed[DROPS] += k % 10 == 8 && k > 10;
	return rc;
}

/* --- the workload ------------------------------------------------------------------ */

static const char ordinary_schema[] =
	"CREATE TABLE log(k INTEGER PRIMARY KEY, square);"
	"CREATE TABLE o(id INTEGER PRIMARY KEY, v TEXT);";
static const char turdb_schema[] =
	"CREATE VIRTUAL TABLE own USING turdb(id INTEGER PRIMARY KEY, a INTEGER, "
	"b TEXT UNIQUE, v VECTOR(4) HNSW (metric='l2', m=8), INDEX own_a(a));";
static const char stock_schema[] =
	"CREATE TABLE own(id INTEGER PRIMARY KEY, a INTEGER, b TEXT UNIQUE, v);"
	"CREATE INDEX own_a ON own(a);";

static int start(struct workload *w, struct sql_process *process,
                 struct err *err)
{
	int rc = sql_process_start(process, w->disk, err);

	if (rc)
		return rc;
	store_environment_plant(process->stores, w->plants);
	rc = sql_open(process, "&cache_kb=700", err);
	return rc ? rc : sql_run(process->db, "PRAGMA cache_size=-200", err);
}

/* Small log segments, which no URI parameter asks for. */
static int make_database(struct workload *w, struct err *err)
{
	struct store_options options = { .create = true,
	                                 .log_segment_size = 65536 };
	struct sql_process process;
	struct store *store;
	int rc = sql_process_start(&process, w->disk, err);

	if (!rc)
		rc = store_open(process.stores, "/app", &options, &store, err);
	if (!rc)
		rc = store_close(store, err);
	sql_process_end(&process);
	return rc;
}

static int make_tables(struct workload *w, struct err *err)
{
	int rc;

	sql_commits_begun(w->disk, 0);
	rc = sql_run(w->writer.db, "BEGIN", err);
	if (!rc)
		rc = sql_run(w->writer.db, ordinary_schema, err);
	if (!rc)
		rc = sql_run(w->writer.db, turdb_schema, err);
	if (!rc)
		rc = sql_run(w->writer.db, "COMMIT", err);
	sql_commits_returned(w->disk, 0);
	return rc;
}

static int start_oracle(struct workload *w, struct err *err)
{
	int rc = ERR_NONE;

	if (sqlite3_open(":memory:", &w->oracle))
		rc = err_set(err, ERR_NOMEM, "open", ":memory:", "no oracle");
	if (!rc)
		rc = sql_run(w->oracle, ordinary_schema, err);
	if (!rc)
		rc = sql_run(w->oracle, stock_schema, err);
	return rc ? rc : digest(w->oracle, &w->digests[0], err);
}

static int advance_oracle(struct workload *w, struct err *err)
{
	struct script script;
	int rc;

	say_transaction(&script, (unsigned)w->k + 1, true);
	rc = sql_run(w->oracle, "BEGIN", err);
	if (!rc)
		rc = sql_run(w->oracle, script.text, err);
	if (!rc)
		rc = sql_run(w->oracle, "COMMIT", err);
	w->k++;
	return rc ? rc : digest(w->oracle, &w->digests[w->k], err);
}

static int commit(struct workload *w, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	struct script script;
	int rc;

	say_transaction(&script, k, false);
	rc = sql_run(w->writer.db, sql_commits_synchronous(k), err);
	if (rc)
		return rc;
	sql_commits_begun(w->disk, k);
	rc = run_transaction(w, w->writer.db, &script, err);
	if (rc)
		return rc;
	sql_commits_returned(w->disk, k);
	rc = count_changes(w, k, err);
	if (!rc)
		rc = advance_oracle(w, err);
	return rc ? rc : check_against(w, w->writer.db, w->k, err);
}

/* The writer dies some calls into its commit; the other process goes on. */
static int die(struct workload *w, unsigned calls, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	struct script script;
	struct err ignored;
	int64_t found;
	int rc = count_spills(w, err);

	if (rc)
		return rc;
	say_transaction(&script, k, false);
	sql_commits_begun(w->disk, k);
	sim_process_kill_after(w->writer.os, calls, calls % 2);
	if (run_transaction(w, w->writer.db, &script, &ignored) == ERR_NONE)
		sim_process_kill(w->writer.os);
	sql_process_end(&w->writer);
	w->crossed[DEATHS]++;
	rc = sql_run(w->other.db, "BEGIN IMMEDIATE; INSERT INTO o VALUES(9999, 0);"
	             "DELETE FROM o WHERE id=9999; COMMIT", err);
	if (!rc)
		rc = sql_number(w->other.db, "SELECT ifnull(max(k), 0) FROM log",
		                &found, err);
	if (!rc && found == (int64_t)k)
		rc = advance_oracle(w, err);
	if (!rc)
		rc = check_against(w, w->other.db, w->k, err);
	return rc ? rc : start(w, &w->writer, err);
}

static int keep_snapshot(struct workload *w, struct err *err)
{
	int64_t count;
	int rc = sql_run(w->other.db, "BEGIN", err);

	w->seen = w->k;
	return rc ? rc : sql_number(w->other.db, "SELECT count(*) FROM own",
	                            &count, err);
}

static int drop_snapshot(struct workload *w, struct err *err)
{
	int rc;

	if (sqlite3_get_autocommit(w->other.db))
		return ERR_NONE;
	w->crossed[READERS]++;
	rc = check_against(w, w->other.db, w->seen, err);
	if (!rc)
		rc = check_vectors(w->other.db, err);
	return rc ? rc : sql_run(w->other.db, "COMMIT", err);
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

static int roll_back(struct workload *w, struct err *err)
{
	w->crossed[ROLLBACKS]++;
	return sql_run(w->writer.db, "BEGIN; UPDATE own SET b = b || 'x';"
	               "DELETE FROM o; DROP TABLE own; ROLLBACK", err);
}

static int checkpoint(struct workload *w, struct err *err)
{
	int64_t done = 0;
	int rc = sql_number(w->other.db, "SELECT turdb_checkpoint()", &done, err);

	w->crossed[CHECKPOINTS] += done == 1;
	return rc;
}

static int step(struct workload *w, struct err *err)
{
	unsigned k = (unsigned)w->k + 1;
	int rc = ERR_NONE;

	if (k % 6 == 2)
		rc = keep_snapshot(w, err);
	if (!rc && k % 9 == 4)
		rc = roll_back(w, err);
	if (!rc)
		rc = commit(w, err);
	if (!rc && k % 6 == 5)
		rc = drop_snapshot(w, err);
	if (!rc && k % 13 == 0)
		rc = checkpoint(w, err);
	if (!rc && k % 6 == 0 && k < COMMITS)
		rc = die(w, k * 5 % 23, err);
	if (!rc && k % 25 == 20)
		rc = restart(w, err);
	return rc;
}

static int work(void *context, struct sim_disk *disk, struct err *err)
{
	struct workload *w = context;
	int rc = sql_rig_start(err);

	w->disk = disk;
	if (!rc)
		rc = make_database(w, err);
	if (!rc)
		rc = start_oracle(w, err);
	sim_hook_set(disk, hook, w);
	if (!rc)
		rc = start(w, &w->writer, err);
	if (!rc)
		rc = make_tables(w, err);
	if (!rc)
		rc = start(w, &w->other, err);
	while (!rc && w->k < COMMITS)
		rc = step(w, err);
	if (!rc)
		rc = count_spills(w, err);
	sql_process_end(&w->other);
	sql_process_end(&w->writer);
	sqlite3_close(w->oracle);
	w->oracle = NULL;
	sim_hook_set(disk, NULL, NULL);
	return rc;
}

/* --- judging ------------------------------------------------------------------------ */

static int judge(const struct workload *w, sqlite3 *db,
                 const struct explore_state *state, int64_t *count,
                 struct err *err)
{
	int rc = sql_commits_judge(db, state, count, err);

	if (!rc && *count)
		rc = check_against(w, db, (uint64_t)*count - 1, err);
	if (!rc && *count)
		rc = check_vectors(db, err);
	return rc ? rc : sql_expect_sound(db, err);
}

static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	const struct workload *w = context;
	struct sql_process process;
	int64_t count = 0;
	int rc = sql_process_start(&process, disk, err);

	if (!rc)
		rc = sql_open(&process, "", err);
	if (!rc)
		rc = judge(w, process.db, state, &count, err);
	if (!rc && count)
		rc = sql_run(process.db, "BEGIN; UPDATE o SET v = 'after';"
		             "INSERT INTO own(a, b, v) VALUES(1, 'after', '[9, 9, 9, 9]');"
		             "DELETE FROM own WHERE id % 3 = 1; COMMIT", err);
	if (!rc)
		rc = sql_expect_text(process.db, "SELECT turdb_check()", "ok",
		                     err);
	sql_process_end(&process);
	return rc;
}

/* (vtab/update U3, rule 12) */
static void all_parts_are_of_one_commit_after_every_crash(struct test *t)
{
	struct workload workload = { .k = 0 };
	struct explore_plan plan = {
		.name = "sql", .work = work, .check = check,
		.recover = sql_commits_recover, .context = &workload, .seed = t->seed,
		.states = test_scaled(4000, 200), .recrash_every = 5,
	};

	explore_expect(t, &plan);
	for (int i = 0; i < CROSSINGS; i++) {
		printf("note crossed: %llu %s\n",
		       (unsigned long long)workload.crossed[i],
		       crossing_names[i]);
		EXPECT(t, workload.crossed[i] > 0);
	}
}

/* What SQL shows of a bug is enough to find it. */
static void planted_bugs_show_through_sql(struct test *t)
{
	static const struct {
		uint32_t bug;
		const char *name;
	} bugs[] = {
		{ PLANT_ACK_WITHOUT_SYNC, "a durable commit does not wait" },
		{ PLANT_LOG_DROPPED_EARLY, "the log is dropped early" },
		{ PLANT_SAVEPOINT_KEPT, "ROLLBACK TO restores nothing" },
		{ PLANT_PLACED_UNSYNCED, "PLACED pages are not synced" },
	};

	for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
		struct workload workload = { .plants = bugs[i].bug };
		struct explore_plan plan = {
			.name = "planted", .work = work, .check = check,
			.recover = sql_commits_recover, .context = &workload,
			.seed = t->seed, .states = 4000, .rounds = 8,
			.enough = 1,
		};
		struct explore_result result;
		bool played = explore_crashes(&plan, &result, &t->err);

		printf("note planted: %s: found after %llu states: %s\n",
		       bugs[i].name, (unsigned long long)result.states,
		       played ? result.finding[0] : t->err.text);
		if (played && !result.findings)
			test_fail(t, __FILE__, __LINE__, "%s: nobody noticed",
			          bugs[i].name);
	}
}

static const struct test_case cases[] = {
	CASE(all_parts_are_of_one_commit_after_every_crash),
	CASE(planted_bugs_show_through_sql),
};

TEST_MAIN(cases)
