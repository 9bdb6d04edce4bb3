/*
 * sql_fault_test.c - every call and every allocation under SQL fails, once and for
 * ever.
 *
 * A small piece of work goes over everything: ordinary tables, a turdb table with
 * indexes and a graph, savepoints, DDL, a transaction that spills, a checkpoint, a
 * vacuum, a reader of an old snapshot, closing and opening again. The n-th call of a
 * kind, the n-th allocation of the library's heap or the n-th of SQLite's fails. Then:
 *
 *   - who asked gets a result or an error, and the error is a sentence, not a wrong
 *     reason (SQLITE_CORRUPT) and never a wrong result: all tables are compared after
 *     each step with what they were when nothing failed;
 *   - after a single failure work goes on, at the latest when all connections have
 *     been closed and opened;
 *   - what was acknowledged is there when the database is opened again, also after a
 *     failed sync that dropped pages and the loss of power, and turdb_check() is content;
 *   - nothing leaks, neither in SQLite's memory nor in the library's.
 */
#include "test/harness.h"

#include "test/sim/sim.h"
#include "test/support/explore.h"
#include "test/support/sql_rig.h"
#include "vfs/store.h"

enum source { CALLS, HEAP, SQLITE_MEMORY };

struct kind {
	const char *name;
	enum source source;
	struct sim_fault fault;
	unsigned wanted; /* variants at the usual scale */
};

#define CALL_KIND(text, what, why, how, forever, count)                       \
	{ .name = text, .source = CALLS, .wanted = count,                     \
	  .fault = { .call = SIM_CALL_##what, .code = why,                    \
	             .effect = SIM_FAULT_##how, .sticky = forever } }

static const struct kind kinds[] = {
	CALL_KIND("a write fails", WRITE, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("a write stops half-way", WRITE, ERR_IO, PART_DONE, false, 24),
	CALL_KIND("the disk is full once", WRITE, ERR_FULL, PART_DONE, false, 24),
	CALL_KIND("the disk is full", WRITE, ERR_FULL, PART_DONE, true, 24),
	CALL_KIND("all writes fail", WRITE, ERR_IO, NOTHING_DONE, true, 24),
	CALL_KIND("no space once", ALLOCATE, ERR_FULL, NOTHING_DONE, false, 24),
	CALL_KIND("no space", ALLOCATE, ERR_FULL, NOTHING_DONE, true, 24),
	CALL_KIND("a hole cannot be made", PUNCH, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("a sync fails", SYNC, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("a sync drops pages", SYNC, ERR_IO, DROP, false, 24),
	CALL_KIND("a sync drops and forgets pages", SYNC, ERR_IO, EVICT, false, 24),
	CALL_KIND("all syncs fail", SYNC, ERR_IO, DROP, true, 24),
	CALL_KIND("a directory sync fails", DIRECTORY_SYNC, ERR_IO, NOTHING_DONE,
	          false, 24),
	CALL_KIND("a file cannot be made", CREATE, ERR_FULL, NOTHING_DONE, false, 24),
	CALL_KIND("no file can be made", CREATE, ERR_FULL, NOTHING_DONE, true, 24),
	CALL_KIND("a file cannot be opened", OPEN, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("too many open files once", OPEN, ERR_CANTOPEN, NOTHING_DONE,
	          false, 24),
	CALL_KIND("no file can be opened", OPEN, ERR_CANTOPEN, NOTHING_DONE, true,
	          24),
	CALL_KIND("no directory can be made", DIRECTORY_MAKE, ERR_IO, NOTHING_DONE,
	          true, 24),
	CALL_KIND("a directory cannot be opened", DIRECTORY_OPEN, ERR_IO,
	          NOTHING_DONE, false, 24),
	CALL_KIND("a directory cannot be listed", DIRECTORY_LIST, ERR_IO,
	          NOTHING_DONE, false, 24),
	CALL_KIND("a file cannot be looked at", IDENTIFY, ERR_IO, NOTHING_DONE,
	          false, 24),
	CALL_KIND("a file cannot be removed", UNLINK, ERR_IO, NOTHING_DONE, false,
	          24),
	CALL_KIND("a file cannot be cut", TRUNCATE, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("a read fails", READ, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("all reads fail", READ, ERR_IO, NOTHING_DONE, true, 24),
	CALL_KIND("a map fails", MAP, ERR_NOMEM, NOTHING_DONE, false, 24),
	CALL_KIND("no map is to be had", MAP, ERR_NOMEM, NOTHING_DONE, true, 24),
	CALL_KIND("no addresses once", RESERVE, ERR_NOMEM, NOTHING_DONE, false, 24),
	CALL_KIND("no addresses are to be had", RESERVE, ERR_NOMEM, NOTHING_DONE,
	          true, 24),
	CALL_KIND("a lock fails", LOCK, ERR_IO, NOTHING_DONE, false, 24),
	CALL_KIND("all locks fail", LOCK, ERR_IO, NOTHING_DONE, true, 24),
	{ .name = "an allocation of the library fails", .source = HEAP,
	  .wanted = 100 },
	{ .name = "all its allocations fail", .source = HEAP, .wanted = 50,
	  .fault = { .sticky = true } },
	{ .name = "an allocation of SQLite fails", .source = SQLITE_MEMORY,
	  .wanted = 120 },
	{ .name = "all of SQLite's allocations fail", .source = SQLITE_MEMORY,
	  .wanted = 60, .fault = { .sticky = true } },
};

/* --- SQLite's memory ------------------------------------------------------------- */

/* What sqlite3_malloc() does, with an end: the one global thing here, because
 * SQLite's methods have no context. */
static struct {
	sqlite3_mem_methods real;
	uint64_t calls, fail_at; /* the call that fails; 0 = none */
	int64_t blocks;
	bool sticky, hit;
} memory;

static bool memory_fails(void)
{
	memory.calls++;
	if (!memory.fail_at || memory.calls < memory.fail_at ||
	    (memory.calls > memory.fail_at && !memory.sticky))
		return false;
	memory.hit = true;
	return true;
}

static void *memory_allocate(int size)
{
	void *block = memory_fails() ? NULL : memory.real.xMalloc(size);

	memory.blocks += block != NULL;
	return block;
}

static void memory_free(void *block)
{
	memory.blocks -= block != NULL;
	memory.real.xFree(block);
}

static void *memory_resize(void *block, int size)
{
	return memory_fails() ? NULL : memory.real.xRealloc(block, size);
}

static int memory_size(void *block)
{
	return memory.real.xSize(block);
}

static int memory_round_up(int size)
{
	return memory.real.xRoundup(size);
}

static int memory_start(void *context)
{
	(void)context;
	return memory.real.xInit(memory.real.pAppData);
}

static void memory_stop(void *context)
{
	(void)context;
	memory.real.xShutdown(memory.real.pAppData);
}

static int memory_install(void)
{
	static const sqlite3_mem_methods methods = {
		memory_allocate, memory_free, memory_resize, memory_size,
		memory_round_up, memory_start, memory_stop, NULL,
	};
	int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory.real);

	return rc ? rc : sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* --- the work ---------------------------------------------------------------------- */

/* Steps that commit are transactions; they end with their number in `log`. */
static const struct step {
	enum { COMMITS, CHECKPOINT, VACUUM, REOPEN, SNAPSHOT, SNAPSHOT_ENDS,
	       SEARCH } what;
	const char *sql;
} steps[] = {
	{ COMMITS, "CREATE TABLE log(k INTEGER PRIMARY KEY);"
	  "CREATE TABLE o(id INTEGER PRIMARY KEY, v TEXT UNIQUE);"
	  "CREATE VIRTUAL TABLE own USING turdb(id INTEGER PRIMARY KEY, a INTEGER, "
	  "b TEXT UNIQUE, v VECTOR(4) HNSW (metric='l2', m=4), INDEX own_a(a DESC))" },
	{ COMMITS, "INSERT INTO o VALUES(1, 'one'), (2, 'two'), (3, 'three');"
	  "INSERT INTO own VALUES(1, 10, 'one', '[1, 0, 0, 0]'), "
	  "(2, 20, 'two', '[0, 1, 0, 0]'), (3, 30, 'three', '[0, 0, 1, 0]');"
	  "SAVEPOINT s; DELETE FROM own WHERE id < 3; UPDATE o SET v = v || 'x';"
	  "INSERT INTO own(a, b, v) VALUES(9, 'gone', '[9, 9, 9, 9]');"
	  "ROLLBACK TO s; INSERT INTO own(a, b) VALUES(4, 'four'); RELEASE s" },
	{ SNAPSHOT, NULL },
	{ COMMITS, "UPDATE own SET a = a + 1, v = '[2, 2, 2, 2]' WHERE id <> 3;"
	  "UPDATE o SET v = 'changed' WHERE id = 2; DELETE FROM own WHERE id = 1" },
	{ COMMITS, "INSERT INTO own(id, a, b) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
	  "SELECT i + 1 FROM n WHERE i < 60) SELECT 100 + i, i % 7, "
	  "printf('%d-%.*c', i, 5000, 'b') FROM n;"
	  "INSERT INTO o SELECT id, b FROM own WHERE id > 130" },
	{ SEARCH, NULL },
	{ COMMITS, "CREATE VIRTUAL TABLE x USING turdb(id INTEGER PRIMARY KEY, c TEXT, "
	  "INDEX x_c(c)); CREATE TABLE y(a, b); INSERT INTO x SELECT id, v FROM o "
	  "WHERE id < 9; CREATE INDEX y_a ON y(a); SAVEPOINT s; DROP TABLE own;"
	  "DROP TABLE o; ROLLBACK TO s; RELEASE s; INSERT INTO y VALUES(1, 2)" },
	{ CHECKPOINT, NULL },
	{ SNAPSHOT_ENDS, NULL },
	{ COMMITS, "DELETE FROM own WHERE id > 110; DELETE FROM o WHERE id > 110;"
	  "DROP TABLE x; INSERT INTO own(a, b, v) VALUES(77, 'new', '[7, 7, 0, 0]')" },
	{ REOPEN, NULL },
	{ COMMITS, "ALTER TABLE own RENAME TO renamed; ALTER TABLE renamed RENAME TO own;"
	  "INSERT OR REPLACE INTO own VALUES(2, 5, 'two', '[5, 5, 5, 5]');"
	  "ALTER TABLE y ADD COLUMN c; UPDATE y SET c = 3" },
	{ VACUUM, NULL },
	{ COMMITS, "INSERT INTO o SELECT a, b FROM own WHERE a > 50; DROP TABLE y" },
	{ COMMITS, "SELECT turdb_create_index('own_b', 'own', 'b DESC, a');"
	  "INSERT INTO own(a, b) VALUES(88, 'indexed'); SAVEPOINT s;"
	  "SELECT turdb_drop_index('own_a'); SELECT turdb_create_index('own_u', 'own', 'b', 'unique');"
	  "ROLLBACK TO s; RELEASE s; SELECT turdb_reindex('own'); SELECT turdb_drop_index('own_b')" },
	{ SEARCH, NULL },
	{ REOPEN, NULL },
};

enum { STEPS = sizeof steps / sizeof steps[0], TRIES = 4 };

/* What the tables are after each step when nothing fails. */
struct truth {
	uint64_t digests[STEPS];
	int64_t commits[STEPS];
	uint64_t calls[SIM_CALL_COUNT], heap_calls, memory_calls;
};

struct scene {
	const struct truth *truth;
	struct truth *learning;   /* NULL, or the first play */
	const struct kind *kind;  /* NULL: nothing fails     */
	struct sim_disk *disk;
	struct sql_process process;
	sqlite3 *reader;
	bool armed;
	int64_t returned, durable, started;
	uint64_t committed_at;
	char why[EXPLORE_FINDING_SIZE]; /* of the last failure     */
};

static bool is_sync(const struct kind *kind)
{
	return kind && kind->source == CALLS &&
	       (kind->fault.call == SIM_CALL_SYNC ||
	        kind->fault.call == SIM_CALL_DIRECTORY_SYNC);
}

static bool was_hit(const struct scene *scene)
{
	if (!scene->kind)
		return false;
	switch (scene->kind->source) {
	case HEAP:
		return scene->armed &&
		       atomic_load(&sql_rig_heap()->fail_in) <= 0;
	case SQLITE_MEMORY:
		return memory.hit;
	case CALLS:
		break;
	}
	return sim_fault_hits(scene->disk) > 0;
}

static void arm(struct scene *scene, uint64_t n)
{
	struct sim_fault fault = scene->kind->fault;

	fault.nth = n + 1;
	scene->armed = true;
	memory.calls = 0;
	memory.hit = false;
	switch (scene->kind->source) {
	case CALLS:
		sim_fault_add(scene->disk, &fault);
		break;
	case HEAP:
		atomic_store(&sql_rig_heap()->fail_sticky, fault.sticky);
		atomic_store(&sql_rig_heap()->fail_in, (int64_t)n + 1);
		break;
	case SQLITE_MEMORY:
		memory.sticky = fault.sticky;
		memory.fail_at = n + 1;
		break;
	}
}

static void disarm(struct scene *scene)
{
	sim_fault_clear(scene->disk);
	atomic_store(&sql_rig_heap()->fail_in, 0);
	atomic_store(&sql_rig_heap()->fail_sticky, 0);
	memory.fail_at = 0;
}

/* --- one step ------------------------------------------------------------------------- */

static int begin_snapshot(struct scene *scene, struct err *err)
{
	int64_t count = 0;
	int rc = ERR_NONE;

	if (!scene->reader) {
		if (sqlite3_open_v2("file:/app?vfs=turdb", &scene->reader,
		                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI,
		                    NULL)) {
			rc = err_set(err, ERR_IO, "open", "a second connection",
			             "%s", sqlite3_errmsg(scene->reader));
			sqlite3_close(scene->reader);
			scene->reader = NULL;
			return rc;
		}
	}
	if (sqlite3_get_autocommit(scene->reader))
		rc = sql_run(scene->reader, "BEGIN", err);
	if (!rc)
		rc = sql_number(scene->reader, "SELECT count(*) FROM own", &count,
		                err);
	if (!rc && count != 4)
		rc = err_set(err, ERR_ABORT, "read", "own", "%lld rows, not 4",
		             (long long)count);
	return rc;
}

/* The snapshot is as it was. */
static int end_snapshot(struct scene *scene, struct err *err)
{
	int rc = ERR_NONE;

	/* A failure, or opening anew, may have ended it. */
	if (scene->reader && !sqlite3_get_autocommit(scene->reader))
		rc = sql_expect_text(scene->reader,
			"SELECT group_concat(id || ':' || a || ':' || b, ' ') FROM own",
			"1:10:one 2:20:two 3:30:three 4:4:four", err);
	if (!rc && scene->reader && !sqlite3_get_autocommit(scene->reader))
		rc = sql_run(scene->reader, "COMMIT", err);
	if (rc)
		return rc;
	sqlite3_close(scene->reader);
	scene->reader = NULL;
	return rc;
}

static int open_connection(struct scene *scene, struct err *err)
{
	int rc = ERR_NONE;

	if (!scene->process.os)
		rc = sql_process_start(&scene->process, scene->disk, err);
	if (rc)
		sql_process_end(&scene->process);
	if (!rc && !scene->process.db)
		rc = sql_open(&scene->process, "&cache_kb=256&checkpoint_mb=1",
		              err);
	return rc ? rc : sql_run(scene->process.db, "PRAGMA cache_size=-100",
	                         err);
}

static void close_connections(struct scene *scene)
{
	sqlite3_close(scene->reader);
	scene->reader = NULL;
	sql_close(&scene->process);
}

static int search(sqlite3 *db, struct err *err)
{
	int rc = sql_expect_text(db, "SELECT id FROM own WHERE v MATCH '[0, 0, 1, 0]' "
	                         "AND k = 1", "3", err);

	if (!rc)
		rc = sql_expect_text(db, "SELECT group_concat(id) FROM (SELECT "
			"(SELECT id FROM own WHERE v MATCH '[0, 0, 1, 0]' AND k = 1 "
			"AND id IN (1, 3)) AS id UNION ALL SELECT (SELECT id FROM own "
			"WHERE v MATCH '[0, 0, 1, 0]' AND k = 1 AND id <> 77777))",
			"3,3", err);
	return rc ? rc : sql_expect_text(db, "SELECT count(*) FROM own WHERE a > 3 "
		"AND b > '' AND id + a NOT IN (SELECT id + a FROM own NOT INDEXED "
		"WHERE a > 3)", "0", err);
}

static int commit(struct scene *scene, int64_t k, const char *sql,
                  struct err *err)
{
	sqlite3 *db = scene->process.db;
	char note[64];
	int rc = sql_run(db, k % 3 ? "PRAGMA synchronous=FULL"
	                           : "PRAGMA synchronous=NORMAL", err);

	snprintf(note, sizeof note, "INSERT INTO log VALUES(%lld)", (long long)k);
	if (!rc)
		rc = sql_run(db, "BEGIN IMMEDIATE", err);
	if (!rc)
		rc = sql_run(db, sql, err);
	if (!rc)
		rc = sql_run(db, note, err);
	scene->started = k;
	if (!rc)
		rc = sql_run(db, "COMMIT", err);
	if (rc)
		return rc;
	scene->returned = k;
	if (k % 3)
		scene->durable = k;
	return ERR_NONE;
}

static int play_step(struct scene *scene, int i, int64_t k, struct err *err)
{
	int64_t number;

	switch (steps[i].what) {
	case COMMITS:
		return commit(scene, k, steps[i].sql, err);
	case CHECKPOINT:
		return sql_number(scene->process.db,
		                  "SELECT turdb_checkpoint()", &number, err);
	case VACUUM:
		return sql_run(scene->process.db, "VACUUM", err);
	case REOPEN:
		close_connections(scene);
		return open_connection(scene, err);
	case SNAPSHOT:
		return begin_snapshot(scene, err);
	case SNAPSHOT_ENDS:
		return end_snapshot(scene, err);
	case SEARCH:
		return search(scene->process.db, err);
	}
	return ERR_NONE;
}

/* --- failures ---------------------------------------------------------------------------- */

/* Whether this is how a failure may look; otherwise a finding. */
static int check_failure(struct scene *scene, int i, int rc, struct err *err)
{
	sqlite3 *db = scene->process.db;
	int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_OK;
	bool forgotten = scene->kind &&
	                 scene->kind->fault.effect == SIM_FAULT_EVICT;
	char text[EXPLORE_FINDING_SIZE / 2];

	snprintf(text, sizeof text, "%s", err->text);
	snprintf(scene->why, sizeof scene->why, "step %d: %s", i, text);
	if (!was_hit(scene) || rc == ERR_ABORT)
		return err_set(err, ERR_ABORT, "step", "app", "%d: %s", i, text);
	if ((rc == ERR_CORRUPT && !forgotten) || code == SQLITE_NOTADB ||
	    code == SQLITE_MISUSE || code == SQLITE_INTERNAL ||
	    code == SQLITE_CONSTRAINT || strstr(text, "no such"))
		return err_set(err, ERR_ABORT, "step", "app",
		               "%d: not what failed: %s", i, text);
	if (strstr(text, "not an error") || !strchr(text, ':'))
		return err_set(err, ERR_ABORT, "step", "app",
		               "%d: no sentence: '%s'", i, text);
	return ERR_NONE;
}

/* A transaction that a failure left open. */
static void roll_back(struct scene *scene)
{
	if (scene->process.db && !sqlite3_get_autocommit(scene->process.db))
		sqlite3_exec(scene->process.db, "ROLLBACK", NULL, NULL, NULL);
}

/* Which commit the database shows; -1 when it does not say. */
static int64_t look(struct scene *scene)
{
	struct err ignored;
	int64_t count = -1, tables = 0;

	if (!scene->process.db ||
	    sql_number(scene->process.db, "SELECT count(*) FROM sqlite_schema",
	               &tables, &ignored))
		return -1;
	if (!tables)
		return 0;
	if (sql_number(scene->process.db, "SELECT max(k) FROM log", &count,
	               &ignored))
		return -1;
	return count;
}

static int compare(struct scene *scene, int i, struct err *err)
{
	uint64_t found;
	int rc = sql_digest(scene->process.db, &found, err);

	if (scene->learning) {
		scene->learning->digests[i] = found;
		return rc;
	}
	if (!rc && found != scene->truth->digests[i])
		return err_set(err, ERR_ABORT, "read", "app",
		               "other rows than without a failure; %s",
		               scene->why);
	return rc;
}

/* Closing now may lose what was not durable: the page cache has forgotten it. */
static bool may_lose(const struct scene *scene, int i)
{
	return steps[i].what == REOPEN && scene->kind && was_hit(scene) &&
	       scene->kind->fault.effect == SIM_FAULT_EVICT;
}

/* Nobody gets further: the store is poisoned, or the fault is for ever. */
static bool is_over(const struct scene *scene)
{
	return scene->kind && was_hit(scene) &&
	       (scene->kind->fault.sticky ||
	        scene->kind->fault.call == SIM_CALL_SYNC);
}

/* Plays a step until it is done. *over: it will not be. */
static int insist(struct scene *scene, int i, int64_t k, bool *over,
                  struct err *err)
{
	struct err problem = { .code = ERR_NONE };
	int rc = ERR_NONE;

	for (int try = 0; try < TRIES; try++) {
		if (try == TRIES - 1)
			close_connections(scene);
		rc = open_connection(scene, &problem);
		if (!rc && steps[i].what == COMMITS && try && look(scene) == k)
			break; /* it had an unknown outcome, and has happened */
		if (!rc)
			rc = play_step(scene, i, k, &problem);
		/* Hit in closing itself: afterwards() judges what was durable. */
		*over = !rc && may_lose(scene, i);
		if (*over)
			return ERR_NONE;
		if (!rc)
			rc = compare(scene, i, &problem);
		if (!rc)
			break;
		rc = check_failure(scene, i, rc, &problem);
		if (rc) {
			*err = problem;
			return rc;
		}
		roll_back(scene);
		*over = is_over(scene);
		if (*over)
			return ERR_NONE;
		rc = ERR_ABORT;
	}
	return rc ? err_set(err, ERR_ABORT, "go on", "app",
	                    "one failure, and nothing works any more: %s",
	                    scene->why) : ERR_NONE;
}

static int live(struct scene *scene, struct err *err)
{
	int64_t k = 0;
	bool over = false;
	int rc = ERR_NONE;

	for (int i = 0; !rc && !over && i < STEPS && !may_lose(scene, i); i++) {
		k += steps[i].what == COMMITS;
		if (scene->learning)
			scene->learning->commits[i] = k;
		rc = insist(scene, i, k, &over, err);
	}
	return rc;
}

/* --- afterwards ----------------------------------------------------------------------------- */

static int judge_tables(struct scene *scene, sqlite3 *db, int64_t floor,
                        struct err *err)
{
	struct sql_process process = { .db = db };
	struct scene shown = { .process = process };
	int64_t k = look(&shown);
	uint64_t found = 0;
	int rc;

	if (k < floor || k > scene->started)
		return err_set(err, ERR_CORRUPT, "open", "app",
		               "commit %lld is there; %lld was acknowledged, %lld had begun; %s",
		               (long long)k, (long long)floor,
		               (long long)scene->started, scene->why);
	rc = sql_digest(db, &found, err);
	for (int i = 0; !rc && k && i < STEPS; i++)
		if (scene->truth->commits[i] == k &&
		    found != scene->truth->digests[i])
			return err_set(err, ERR_CORRUPT, "open", "app",
			               "the tables are not as commit %lld left them; %s",
			               (long long)k, scene->why);
	return rc ? rc : sql_expect_sound(db, err);
}

static int judge(struct scene *scene, struct sim_disk *disk, int64_t floor,
                 struct err *err)
{
	struct sql_process process;
	int rc = sql_process_start(&process, disk, err);

	if (!rc)
		rc = sql_open(&process, "", err);
	if (!rc)
		rc = judge_tables(scene, process.db, floor, err);
	if (!rc)
		rc = sql_run(process.db, "CREATE TABLE after(a); INSERT INTO after "
		             "VALUES(1); DROP TABLE after", err);
	scene->committed_at = sim_trace_length(disk);
	sql_process_end(&process);
	return rc;
}

static int judge_crashed(struct scene *scene, uint64_t length, struct err *err)
{
	struct sim_disk *crashed = sim_crash(scene->disk, length,
	                                     SIM_CRASH_LOST, 1, NULL);
	int rc = judge(scene, crashed, scene->durable, err);

	sim_disk_close(crashed);
	return rc;
}

static int afterwards(struct scene *scene, struct err *err)
{
	uint64_t length, committed_at;
	int rc = judge(scene, scene->disk, is_sync(scene->kind) ? scene->durable
	                                                       : scene->returned,
	               err);

	if (rc || !is_sync(scene->kind))
		return rc;
	committed_at = scene->committed_at;
	length = sim_trace_length(scene->disk);
	rc = judge_crashed(scene, committed_at, err);
	return rc ? rc : judge_crashed(scene, length, err);
}

/* --- variants --------------------------------------------------------------------------------- */

static int play(struct scene *scene, uint64_t n, bool *reached, struct err *err)
{
	int64_t blocks = memory.blocks;
	size_t used = atomic_load(&sql_rig_heap()->used);
	int rc;

	scene->disk = sim_disk_create(NULL);
	if (!is_sync(scene->kind))
		sim_trace_stop(scene->disk);
	if (scene->kind)
		arm(scene, n);
	rc = live(scene, err);
	close_connections(scene);
	*reached = was_hit(scene);
	if (scene->learning) {
		scene->learning->heap_calls = (uint64_t)(INT64_MAX -
			atomic_load(&sql_rig_heap()->fail_in));
		scene->learning->memory_calls = memory.calls;
	}
	disarm(scene);
	sql_process_end(&scene->process);
	if (!rc && scene->truth)
		rc = afterwards(scene, err);
	if (!rc && scene->learning)
		for (int i = 0; i < SIM_CALL_COUNT; i++)
			scene->learning->calls[i] =
				sim_call_count(scene->disk, (enum sim_call)i);
	sim_disk_close(scene->disk);
	if (!rc && scene->truth && (memory.blocks != blocks ||
	    atomic_load(&sql_rig_heap()->used) != used))
		rc = err_set(err, ERR_ABORT, "close", "app",
		             "%lld blocks of SQLite's memory and %lld bytes of the library's are left; %s",
		             (long long)(memory.blocks - blocks),
		             (long long)atomic_load(&sql_rig_heap()->used) -
		             (long long)used, scene->why);
	return rc;
}

struct variant {
	const struct truth *truth;
	const struct kind *kind;
};

static int play_variant(void *context, uint64_t n, bool *reached,
                        struct err *err)
{
	const struct variant *variant = context;
	struct scene scene = { .truth = variant->truth, .kind = variant->kind };

	return play(&scene, n, reached, err);
}

/* Twice: what is made once in a process is not counted. */
static int learn(struct truth *truth, struct err *err)
{
	int rc = ERR_NONE;

	for (int i = 0; !rc && i < 2; i++) {
		struct scene scene = { .learning = truth };
		bool reached;

		memory.calls = 0;
		atomic_store(&sql_rig_heap()->fail_in, INT64_MAX);
		rc = play(&scene, 0, &reached, err);
	}
	return rc;
}

static uint64_t points(const struct truth *truth, const struct kind *kind)
{
	return kind->source == CALLS ? truth->calls[kind->fault.call]
	     : kind->source == HEAP ? truth->heap_calls : truth->memory_calls;
}

/* (vtab/update U2, vtab/index_job J1, rule 14, rule 9) */
static void whatever_fails_under_sql_nothing_is_lost(struct test *t)
{
	const char *only = getenv("FAULT");
	struct truth truth = { .heap_calls = 0 };
	uint64_t played = 0, all = 0;
	double seconds = 0;

	EXPECT_EQ(t, memory_install(), SQLITE_OK);
	EXPECT_OK(t, sql_rig_start(&t->err));
	EXPECT_OK(t, learn(&truth, &t->err));
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct variant variant = { &truth, &kinds[i] };
		uint64_t there = points(&truth, &kinds[i]);
		/* At ten times the usual size, all there are. */
		uint64_t wanted = test_scaled(1, 1) < 10
			? test_scaled(kinds[i].wanted, 5) : there + 1;
		struct explore_variants variants = {
			.name = kinds[i].name, .play = play_variant,
			.context = &variant, .hang_seconds = 20,
			.step = there > wanted ? (there + wanted - 1) / wanted
			                       : 1,
		};
		struct explore_result result;

		if (only && !strstr(kinds[i].name, only))
			continue;
		variants.first = t->seed % variants.step;
		explore_each(&variants, &result);
		printf("note %s: %llu of %llu in %.1f s; %llu findings\n",
		       kinds[i].name, (unsigned long long)result.states,
		       (unsigned long long)there, result.seconds,
		       (unsigned long long)result.findings);
		for (uint64_t f = 0; f < result.findings && f < 4; f++)
			printf("note %s\n", result.finding[f]);
		if (result.findings)
			test_fail(t, __FILE__, __LINE__, "%s",
			          result.finding[0]);
		if (!result.states)
			test_fail(t, __FILE__, __LINE__,
			          "%s: nothing was played", kinds[i].name);
		played += result.states;
		all += there;
		seconds += result.seconds;
	}
	printf("note %llu variants of %llu in %.1f s\n",
	       (unsigned long long)played, (unsigned long long)all, seconds);
}

static const struct test_case cases[] = {
	CASE(whatever_fails_under_sql_nothing_is_lost),
};
TEST_MAIN(cases)
