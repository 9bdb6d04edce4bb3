/*
 * side.c - opens the sides of a benchmark and keeps its clocks.
 */
#define _GNU_SOURCE
#include "bench/side.h"

#include <dirent.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CACHE_KB = 65536 }; /* SQLite's page cache on every side: all in memory */

static void fail(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	fprintf(stderr, "%s\n  %s\n", sql, sqlite3_errmsg(db));
	if (!sqlite3_prepare_v2(db, "SELECT turdb_last_error()", -1, &statement,
	                        NULL) &&
	    sqlite3_step(statement) == SQLITE_ROW)
		fprintf(stderr, "  %s\n", sqlite3_column_text(statement, 0));
	exit(1);
}

void bench_exec(sqlite3 *db, const char *format, ...)
{
	va_list arguments;
	char *sql;

	va_start(arguments, format);
	sql = sqlite3_vmprintf(format, arguments);
	va_end(arguments);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL))
		fail(db, sql);
	sqlite3_free(sql);
}

sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT,
	                       &statement, NULL))
		fail(db, sql);
	return statement;
}

int64_t bench_run(sqlite3_stmt *statement)
{
	int64_t rows = 0;
	int rc;

	while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
		rows++;
	if (rc != SQLITE_DONE)
		fail(sqlite3_db_handle(statement), sqlite3_sql(statement));
	sqlite3_reset(statement);
	return rows;
}

int64_t bench_value(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = bench_prepare(db, sql);
	int64_t value;

	if (sqlite3_step(statement) != SQLITE_ROW)
		fail(db, sql);
	value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

/* --- sides ------------------------------------------------------------------- */

const char *bench_side_name(int kind)
{
	static const char *const names[] = { "native", "door", "turdb",
	                                     "inline" };

	return names[kind];
}

static bool is_file(int kind)
{
	return kind == SIDE_NATIVE || kind == SIDE_INLINE;
}

void bench_library_load(const char *library)
{
	char *message = NULL;
	sqlite3 *db;

	if (sqlite3_open(":memory:", &db))
		fail(db, "open :memory:");
	sqlite3_enable_load_extension(db, 1);
	if (sqlite3_load_extension(db, library, NULL, &message)) {
		fprintf(stderr, "%s: %s\n", library, message);
		exit(1);
	}
	sqlite3_close(db);
}

bool bench_module_exists(void)
{
	bool found = false;
	sqlite3 *db;

	if (sqlite3_open(":memory:", &db))
		fail(db, "open :memory:");
	found = bench_value(db, "SELECT count(*) FROM pragma_module_list "
	                        "WHERE name = 'turdb'") == 1;
	sqlite3_close(db);
	return found;
}

void bench_side_open(struct bench_side *side, int kind, const char *directory,
                     const char *synchronous)
{
	char uri[300];

	side->kind = kind;
	snprintf(side->path, sizeof side->path, "%s/%s%s", directory,
	         bench_side_name(kind), is_file(kind) ? ".db" : "");
	snprintf(uri, sizeof uri, "file:%s%s", side->path,
	         is_file(kind) ? "" : "?vfs=turdb");
	if (sqlite3_open_v2(uri, &side->db, SQLITE_OPEN_READWRITE |
	                    SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL))
		fail(side->db, uri);
	sqlite3_busy_timeout(side->db, 20000);
	if (is_file(kind))
		bench_exec(side->db, "PRAGMA page_size=16384;"
		                     "PRAGMA journal_mode=WAL");
	bench_exec(side->db, "PRAGMA synchronous=%s; PRAGMA cache_size=-%d",
	           synchronous, CACHE_KB);
	if (kind == SIDE_INLINE)
		bench_exec(side->db, "SELECT turdb_config('cache_kb', %d)",
		           CACHE_KB);
}

void bench_side_close(struct bench_side *side)
{
	if (sqlite3_close(side->db))
		fail(side->db, "close");
	side->db = NULL;
}

void bench_side_create(struct bench_side *side, const char *table,
                       const char *columns, const char *index)
{
	bool module = side->kind == SIDE_TURDB || side->kind == SIDE_INLINE;

	bench_exec(side->db, "DROP TABLE IF EXISTS %s", table);
	if (module)
		bench_exec(side->db, "CREATE VIRTUAL TABLE %s USING turdb(%s%s%s%s)",
		           table, columns, index ? ", INDEX by_it (" : "",
		           index ? index : "", index ? ")" : "");
	else
		bench_exec(side->db, "CREATE TABLE %s(%s)", table, columns);
	if (!module && index)
		bench_exec(side->db, "CREATE INDEX %s_by_it ON %s(%s)", table,
		           table, index);
}

/* --- disk -------------------------------------------------------------------- */

static int64_t directory_bytes(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int64_t bytes = 0;
	struct stat stat;

	while (directory && (entry = readdir(directory)))
		if (!fstatat(dirfd(directory), entry->d_name, &stat, 0) &&
		    S_ISREG(stat.st_mode))
			bytes += stat.st_size;
	if (directory)
		closedir(directory);
	return bytes;
}

static int64_t file_bytes(const char *path)
{
	struct stat status;

	return stat(path, &status) ? 0 : status.st_size;
}

void bench_side_checkpoint(struct bench_side *side)
{
	bench_exec(side->db, is_file(side->kind)
	                             ? "PRAGMA wal_checkpoint"
	                             : "SELECT turdb_checkpoint()");
}

int64_t bench_side_bytes(struct bench_side *side)
{
	char root[300];

	if (is_file(side->kind)) {
		bench_exec(side->db, "PRAGMA wal_checkpoint(TRUNCATE)");
		return file_bytes(side->path);
	}
	/* Tables only: both keep a log beside them whose size is a setting. */
	bench_side_checkpoint(side);
	snprintf(root, sizeof root, "%s/root", side->path);
	return directory_bytes(root);
}

void bench_scratch_make(char path[256], const char *parent)
{
	const char *temporary = getenv("TMPDIR");

	snprintf(path, 256, "%s/turdb-sides-XXXXXX",
	         parent ? parent : temporary ? temporary : "/tmp");
	if (!mkdtemp(path)) {
		perror(path);
		exit(1);
	}
}

static int remove_one(const char *path, const struct stat *stat, int type,
                      struct FTW *walk)
{
	(void)stat, (void)type, (void)walk;
	return remove(path);
}

void bench_scratch_remove(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- clocks ------------------------------------------------------------------ */

double bench_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

double bench_median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof *values, compare);
	return count % 2 ? values[count / 2]
	                 : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void bench_shuffle(int64_t *numbers, int64_t count, uint64_t seed)
{
	for (int64_t i = count - 1; i > 0; i--) {
		int64_t other, number = numbers[i];

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		other = (int64_t)((seed >> 33) % (uint64_t)(i + 1));
		numbers[i] = numbers[other];
		numbers[other] = number;
	}
}
