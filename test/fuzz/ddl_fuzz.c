/*
 * ddl_fuzz.c - any text as what stands in CREATE VIRTUAL TABLE ... USING turdb(...).
 *
 * First the parser alone, with the text cut into arguments at its new lines. What it
 * accepts must be sound: numbers in range, columns that exist. Then the whole
 * statement through SQLite in a transaction that is rolled back; a table that could
 * be made is written, read and dropped.
 */
#include "test/fuzz/fuzz.h"

#include "base/arena.h"
#include "test/sim/sim.h"
#include "test/support/sql_rig.h"
#include "vtab/definition.h"

enum { TEXT_MAX = 4096, ARGUMENTS_MAX = 64, STEPS_MAX = 50 };

extern const struct fuzz_target ddl_fuzz;

static struct sql_process process;

static void must(int rc, const struct err *err)
{
	if (rc) {
		fprintf(stderr, "ddl_fuzz: %s\n", err->text);
		abort();
	}
}

static int too_long(void *context)
{
	return ++*(int *)context > STEPS_MAX;
}

static int steps;

/* At the first input: a worker that was forked needs a disk of its own. */
static void prepare(void)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct err err;

	sim_trace_stop(disk);
	must(sql_rig_start(&err), &err);
	must(sql_process_start(&process, disk, &err), &err);
	must(sql_open(&process, "", &err), &err);
	sqlite3_progress_handler(process.db, 1000, too_long, &steps);
}

/* --- the parser ----------------------------------------------------------------------- */

static void check_definition(const struct table_definition *table)
{
	FUZZ_MUST(table->column_count > 0);
	FUZZ_MUST(table->rowid_column == NO_COLUMN ||
	          (uint32_t)table->rowid_column < table->column_count);
	for (uint32_t i = 0; i < table->column_count; i++) {
		const struct column_definition *column = &table->columns[i];

		FUZZ_MUST(column->name);
		FUZZ_MUST(!column->vector || (column->dimensions > 0 &&
		                              column->dimensions <= 65536));
	}
	for (uint32_t i = 0; i < table->index_count; i++) {
		const struct index_definition *index = &table->indexes[i];

		FUZZ_MUST(index->name && index->column_count > 0);
		for (uint32_t j = 0; j < index->column_count; j++)
			FUZZ_MUST((uint32_t)index->columns[j].column <
			          table->column_count);
	}
}

static void parse(const char *text)
{
	const char *arguments[ARGUMENTS_MAX];
	char *copy = strdup(text), *at = copy;
	struct table_definition table;
	struct arena arena;
	struct heap heap;
	struct err err = { 0 };
	uint32_t count = 0;
	char *statement;
	int rc;

	heap_init(&heap);
	arena_init(&arena, &heap);
	while (at && count < ARGUMENTS_MAX)
		arguments[count++] = strsep(&at, "\n");
	rc = ddl_parse("t", count, arguments, &arena, &table, &err);
	if (rc)
		FUZZ_MUST(rc != ERR_NOMEM && err.code == rc && err.text[0]);
	else
		check_definition(&table);
	if (!rc)
		ddl_declare(&table, &arena, &statement, &err);
	arena_close(&arena);
	FUZZ_MUST(atomic_load(&heap.used) == 0);
	free(copy);
}

/* --- the statement ---------------------------------------------------------------------- */

/* Any answer is one, but those that say that something of ours is broken. */
static int run_sql(const char *sql)
{
	int rc;

	steps = 0;
	rc = sqlite3_exec(process.db, sql, NULL, NULL, NULL);
	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOMEM:
	case SQLITE_INTERNAL:
	case SQLITE_MISUSE:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_IOERR:
		fprintf(stderr, "ddl_fuzz: %s: %s (%d)\n", sql,
		        sqlite3_errmsg(process.db), rc);
		abort();
	}
	return rc;
}

static void create(const char *text)
{
	char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE t USING turdb(%s)",
	                            text);

	run_sql("BEGIN");
	if (run_sql(sql) == SQLITE_OK) {
		run_sql("INSERT INTO t DEFAULT VALUES");
		run_sql("INSERT OR REPLACE INTO t DEFAULT VALUES");
		run_sql("UPDATE OR IGNORE t SET rowid = 7");
		run_sql("SELECT * FROM t ORDER BY rowid DESC");
		run_sql("SELECT turdb_check('t')");
		run_sql("DELETE FROM t");
		run_sql("DROP TABLE t");
	}
	sqlite3_free(sql);
	if (!sqlite3_get_autocommit(process.db))
		run_sql("ROLLBACK");
}

static void run(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX];

	if (size >= sizeof text)
		return;
	if (!process.db)
		prepare();
	memcpy(text, data, size);
	text[size] = 0;
	parse(text);
	for (size_t i = 0; i < size; i++)
		if (text[i] == '\n')
			text[i] = ',';
	create(text);
}

/* --- inputs ---------------------------------------------------------------------------- */

static const char users[] =
	"id INTEGER PRIMARY KEY AUTOINCREMENT\nemail TEXT NOT NULL UNIQUE COLLATE NOCASE\n"
	"name TEXT DEFAULT 'anonymous'\nage INTEGER CHECK (age >= 0)\n"
	"joined TEXT DEFAULT CURRENT_TIMESTAMP\nUNIQUE (name, joined)\n"
	"INDEX users_by_age (age DESC, name)\n"
	"face VECTOR(128) HNSW (metric='cosine', m=16, ef_construction=200, quantize='sq8')";
static const char references[] =
	"a INTEGER REFERENCES b (c) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED\n"
	"FOREIGN KEY (a) REFERENCES b MATCH FULL";

static const char *const seeds[] = {
	users, references,
	"a\nb\nPRIMARY KEY (a, b) ON CONFLICT REPLACE\nwithout_rowid=1",
	"[a b] REAL DEFAULT -1.5e3\n\"c\"\"d\" BLOB DEFAULT x'00ff'\n`e` NUMERIC(10, 2)",
	"a INT CONSTRAINT x NOT NULL ON CONFLICT IGNORE CONSTRAINT y UNIQUE\nCONSTRAINT z CHECK (a <> 'it''s')",
	"v VECTOR(3)\nw VECTOR(4, f16) HNSW\nUNIQUE INDEX i (a)\na",
	"a INT DEFAULT (1 + (2))\nnull_defaults=0\nstrict=1\ncompress='zstd'",
	"a GENERATED ALWAYS AS (b || 'x') STORED\nb AS (1) VIRTUAL",
	"a TEXT COLLATE RTRIM UNIQUE\nINDEX i (a COLLATE BINARY ASC)\nUNIQUE(a)",
	"x VECTOR(2) HNSW(metric=l1)\nHNSW INDEX g (x) (metric=ip, m=4)\nk\nef",
	"a /* comment */ -- another\n, b",
	"a INTEGER PRIMARY KEY DESC\nb INTEGER UNIQUE ON CONFLICT FAIL\nCHECK(b>a)CHECK(1)",
};

static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	size_t size;

	if (n >= sizeof seeds / sizeof seeds[0])
		return 0;
	size = strlen(seeds[n]);
	if (size > size_max)
		return 0;
	memcpy(data, seeds[n], size);
	return size;
}

static const char *const words[] = {
	"INTEGER", "PRIMARY KEY", "UNIQUE", "NOT NULL", "DEFAULT", "CHECK", "(",
	")", ",", "\n", "COLLATE NOCASE", "INDEX", "VECTOR", "HNSW", "metric",
	"=", "'", "\"", "[", "]", "`", "ON CONFLICT", "REPLACE", "AS", "GENERATED",
	"65536", "65537", "0", "-1", "1e999", "9223372036854775808", "NULL", "x'0'",
	"--", "/*", "*/", "\xff", "\xc3\xa9", "rowid", "distance", "a", "b", "t",
	"quantize=sq8", "m=2", "ef_construction=4096", "random()", "(SELECT 1)",
	"CURRENT_TIME", "?1", ":x", ";", "AUTOINCREMENT", "REFERENCES", "CONSTRAINT",
};

/* A word put in, a piece of another seed, a piece repeated; or bytes. */
static size_t mutate(uint8_t *data, size_t size, size_t size_max,
                     uint64_t *random)
{
	const char *more = words[fuzz_random(random) %
	                         (sizeof words / sizeof words[0])];
	size_t count = strlen(more), at = fuzz_random(random) % (size + 1);

	if (fuzz_chance(random, 2) || size >= TEXT_MAX - 1)
		return fuzz_mutate_bytes(data, size, size_max, random);
	if (fuzz_chance(random, 3)) {
		more = seeds[fuzz_random(random) %
		             (sizeof seeds / sizeof seeds[0])];
		count = fuzz_random(random) % strlen(more);
		more += fuzz_random(random) % (strlen(more) - count);
	}
	if (size + count + 1 > size_max)
		return size;
	memmove(data + at + count + 1, data + at, size - at);
	memcpy(data + at, more, count);
	data[at + count] = ' ';
	return size + count + 1;
}

const struct fuzz_target ddl_fuzz = {
	.name = "ddl", .run = run, .seed = seed,
	.mutate = mutate,
};
