/*
 * image_try_sql.c - see image_try.h: SQLite over a damaged database.
 *
 * The tables are those of image_seed.h, or what the damage has made of them. SQLite
 * has its own ways with damaged pages of its own; ours are the turdb tables.
 */
#include "test/support/image_try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/sql_rig.h"

enum { HEAP_MAX = 64 << 20, STEPS_MAX = 400, OPERATIONS = 1000,
       ROWS_MAX = 600, NAMES_MAX = 12, NAME_SIZE = 64, LENGTH_MAX = 4 << 20 };

struct trying {
	struct sql_process process;
	const char *sql;  /* the statement at hand, for reports */
	int steps;
	char names[NAMES_MAX][NAME_SIZE];
	unsigned count;
	bool good;        /* both checks found nothing */
	volatile uint64_t sum;
};

static void wrong(const struct trying *trying, const char *what)
{
	fprintf(stderr, "image_try_sql: %s: %s: %s (%d)\n",
	        trying->sql ? trying->sql : "", what,
	        trying->process.db ? sqlite3_errmsg(trying->process.db) : "",
	        trying->process.db ? sqlite3_extended_errcode(trying->process.db)
	                           : 0);
	abort();
}

static int too_long(void *context)
{
	struct trying *trying = context;

	return ++trying->steps > STEPS_MAX;
}

/* --- statements ---------------------------------------------------------------------- */

static void judge(const struct trying *trying, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
	case SQLITE_INTERRUPT:
	case SQLITE_CONSTRAINT:
	case SQLITE_FULL:
	case SQLITE_TOOBIG:
		return;
	case SQLITE_NOMEM:
	case SQLITE_INTERNAL:
	case SQLITE_MISUSE:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		wrong(trying, "no way to answer damage");
	}
	if (!sqlite3_errmsg(trying->process.db)[0])
		wrong(trying, "no sentence");
	if (trying->good && (rc & 0xff) != SQLITE_ERROR)
		wrong(trying, "after clean checks");
}

static void touch(struct trying *trying, sqlite3_stmt *statement)
{
	for (int i = 0; i < sqlite3_column_count(statement); i++) {
		const uint8_t *bytes = sqlite3_column_blob(statement, i);
		int size = sqlite3_column_bytes(statement, i);

		for (int j = 0; j < size; j++)
			trying->sum += bytes[j];
	}
}

/* Runs one statement to its end, or a good part of the way. */
static int run(struct trying *trying, const char *sql)
{
	sqlite3 *db = trying->process.db;
	sqlite3_stmt *statement = NULL;
	int rows = 0, rc;

	trying->sql = sql;
	trying->steps = 0;
	rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
	judge(trying, rc);
	while (!rc && rows++ < ROWS_MAX) {
		rc = sqlite3_step(statement);
		judge(trying, rc);
		if (rc != SQLITE_ROW)
			break;
		touch(trying, statement);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* `format` has one %w: the table's name. */
static void run_each(struct trying *trying, const char *format)
{
	for (unsigned i = 0; i < trying->count; i++) {
		char *sql = sqlite3_mprintf(format, trying->names[i]);

		run(trying, sql);
		sqlite3_free(sql);
	}
}

static bool says_ok(struct trying *trying, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	const char *text;
	bool ok = false;

	trying->sql = sql;
	trying->steps = 0;
	if (sqlite3_prepare_v2(trying->process.db, sql, -1, &statement, NULL) ==
	    SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(statement, 0);
		ok = text && strcmp(text, "ok") == 0;
	}
	judge(trying, sqlite3_finalize(statement));
	return ok;
}

/* --- what is done -------------------------------------------------------------------- */

static void find_tables(struct trying *trying)
{
	sqlite3_stmt *statement = NULL;

	trying->count = 0;
	trying->sql = "find tables";
	judge(trying, sqlite3_prepare_v2(trying->process.db,
		"SELECT name FROM sqlite_schema WHERE type = 'table'", -1,
		&statement, NULL));
	while (statement && trying->count < NAMES_MAX &&
	       sqlite3_step(statement) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(statement,
		                                                     0);

		snprintf(trying->names[trying->count++], NAME_SIZE, "%s",
		         name ? name : "");
	}
	sqlite3_finalize(statement);
}

static void check(struct trying *trying)
{
	bool ours, theirs;

	trying->good = false;
	ours = says_ok(trying, "SELECT turdb_check()");
	theirs = says_ok(trying, "PRAGMA integrity_check(5)");
	trying->good = ours && theirs;
}

static void read_all(struct trying *trying)
{
	static const char *const each[] = {
		"SELECT * FROM \"%w\"",
		"SELECT count(*) FROM \"%w\"",
		"SELECT * FROM \"%w\" ORDER BY rowid DESC LIMIT 20",
		"SELECT * FROM \"%w\" WHERE rowid IN (1, 3, 118, 300, 2000)",
		"SELECT * FROM \"%w\" WHERE rowid > 50 ORDER BY rowid LIMIT 9",
	};
	static const char *const known[] = {
		"SELECT * FROM t WHERE name = 'NAME 5'",
		"SELECT * FROM t WHERE name > 'name 3' ORDER BY name LIMIT 50",
		"SELECT id, r FROM t WHERE n > 3 ORDER BY n DESC, r",
		"SELECT id, r FROM t WHERE n = 5 AND r > 3",
		"SELECT length(d) FROM t WHERE id = 1000",
		"SELECT id, distance FROM v WHERE face MATCH '[1,2,3,4]' AND k = 5",
		"SELECT id, distance FROM v WHERE face MATCH '[1,2,3,4]' LIMIT 30",
		"SELECT id FROM v WHERE face MATCH '[1,2,3,4]' AND k = 5 AND exact = 1",
		"SELECT id, distance FROM v WHERE face MATCH '[1,2,3]' AND k = 50",
		"SELECT id, distance FROM v WHERE face MATCH '[1,2,3]' LIMIT 100",
		"SELECT * FROM turdb_status", "SELECT * FROM turdb_readers",
		"SELECT * FROM turdb_wal",
	};

	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
		run_each(trying, each[i]);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		run(trying, known[i]);
}

static void write_some(struct trying *trying)
{
	static const char *const known[] = {
		"INSERT INTO t(name, n, d) VALUES ('new', 1, hex(zeroblob(9000)))",
		"INSERT OR REPLACE INTO t(id, name) VALUES (5, 'name 7')",
		"UPDATE t SET n = -n, d = d || 'x' WHERE id % 4 = 0",
		"UPDATE v SET face = '[9,8,7,6]' WHERE id % 6 = 1",
		"INSERT INTO v(id, face) VALUES (700, '[1,1,2,2]')",
		"INSERT INTO v(id, face) VALUES (701, '[1,1,2]')",
		"INSERT INTO plain VALUES (7000, 'x', 'y')",
		"INSERT INTO w VALUES (7, 'seven')",
	};

	run(trying, "BEGIN");
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		run(trying, known[i]);
	run(trying, "SAVEPOINT s");
	run_each(trying, "DELETE FROM \"%w\" WHERE rowid %% 2");
	run(trying, "ROLLBACK TO s");
	run_each(trying, "DELETE FROM \"%w\" WHERE rowid %% 3 = 1");
	if (sqlite3_get_autocommit(trying->process.db))
		return; /* the damage has ended the transaction */
	run(trying, "COMMIT");
	if (!sqlite3_get_autocommit(trying->process.db))
		run(trying, "ROLLBACK");
	run(trying, "DROP TABLE v");
	run(trying, "CREATE VIRTUAL TABLE x USING turdb(a UNIQUE, b VECTOR(2) HNSW)");
	run(trying, "INSERT INTO x VALUES (1, '[1,2]'), (2, '[2,1]')");
	run(trying, "SELECT turdb_checkpoint()");
}

/* Error texts are SQLite's or ours; one that is neither would be empty. */
static bool open_it(struct trying *trying, struct sim_disk *disk)
{
	struct err err = { 0 };
	int rc;

	if (sql_process_start(&trying->process, disk, &err))
		abort();
	rc = sql_open(&trying->process, "", &err);
	if (rc && (rc == ERR_NOMEM || rc == ERR_BUSY || !err.text[0])) {
		fprintf(stderr, "image_try_sql: open: %s\n", err.text);
		abort();
	}
	if (rc)
		return false;
	sqlite3_progress_handler(trying->process.db, OPERATIONS, too_long,
	                         trying);
	sqlite3_limit(trying->process.db, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
	return true;
}

static void try(struct sim_disk *disk, bool write, bool *good)
{
	struct trying trying = { .sql = NULL };
	bool was_good = *good;

	*good = false;
	if (open_it(&trying, disk)) {
		find_tables(&trying);
		check(&trying);
		if (was_good && !trying.good)
			wrong(&trying, "it was good before");
		read_all(&trying);
		if (write)
			write_some(&trying);
		if (write && trying.good) {
			check(&trying);
			if (!trying.good)
				wrong(&trying, "it was good before it was written");
		}
		*good = trying.good;
	}
	if (sim_process_open_count(trying.process.os) && !trying.process.db)
		wrong(&trying, "something is still open");
	sql_process_end(&trying.process);
}

void image_try_sql(const struct image *image)
{
	struct sim_disk *disk = image_disk(image);
	struct heap *heap;
	struct err err;
	bool good = false;
	size_t before;

	if (sql_rig_start(&err))
		abort();
	heap = sql_rig_heap();
	before = atomic_load(&heap->used);
	atomic_store(&heap->limit, HEAP_MAX);
	try(disk, true, &good);
	try(disk, false, &good);
	atomic_store(&heap->limit, 0);
	if (atomic_load(&heap->used) != before) {
		fprintf(stderr, "image_try_sql: %zu bytes are still allocated\n",
		        atomic_load(&heap->used) - before);
		abort();
	}
	sim_disk_close(disk);
}
