/*
 * side.h - the sides that a benchmark compares, and the clock they are held to.
 *
 *   native   stock SQLite: an ordinary file, 16 KB pages, WAL
 *   door     SQLite's own tables in a TurDB directory
 *   turdb    turdb tables in a TurDB directory
 *   inline   turdb tables in an ordinary file like native's (bench-sql only)
 *
 * All run in one process with the same statements, so that a ratio holds
 * whatever else the machine does; nanoseconds are for orientation.
 */
#ifndef TURDB_BENCH_SIDE_H
#define TURDB_BENCH_SIDE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { SIDE_NATIVE, SIDE_DOOR, SIDE_TURDB, SIDE_COUNT,
       SIDE_INLINE = SIDE_COUNT, SIDE_COUNT_INLINE };

struct bench_side {
	int kind;
	char path[256];
	sqlite3 *db;
};

/* Loads the extension into this process; later connections have it. */
void bench_library_load(const char *library);
bool bench_module_exists(void); /* can tables be created USING turdb? */

const char *bench_side_name(int kind);
/* Opens the side's database in `directory`, which is made when missing. */
void bench_side_open(struct bench_side *side, int kind, const char *directory,
                     const char *synchronous);
void bench_side_close(struct bench_side *side);
/* CREATE [VIRTUAL] TABLE name(columns); `index` (may be NULL) names a column. */
void bench_side_create(struct bench_side *side, const char *table,
                       const char *columns, const char *index);
/* What was committed moves from the log into the database's files. */
void bench_side_checkpoint(struct bench_side *side);
/* What the database takes on disk, after a checkpoint. */
int64_t bench_side_bytes(struct bench_side *side);

/* Failing ends the program with SQLite's message. */
void bench_exec(sqlite3 *db, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql);
/* Runs to the end; returns the number of rows. */
int64_t bench_run(sqlite3_stmt *statement);
int64_t bench_value(sqlite3 *db, const char *sql);

double bench_clock_ns(clockid_t clock);
double bench_median(double *values, int count); /* sorts them */
void bench_shuffle(int64_t *numbers, int64_t count, uint64_t seed);
/* A fresh directory under `parent` or $TMPDIR or /tmp. */
void bench_scratch_make(char path[256], const char *parent);
void bench_scratch_remove(const char *path);

#endif
