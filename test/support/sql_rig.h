/*
 * sql_rig.h - SQLite over simulated disks: the extension as a program has it,
 * with the system calls of test/sim.
 *
 * The library is part of the test program. sql_rig_start() loads it as SQLite
 * would (there is one VFS in a program); a sql_process then is one simulated
 * process with the databases it opens. One thread plays all of them.
 */
#ifndef TURDB_TEST_SUPPORT_SQL_RIG_H
#define TURDB_TEST_SUPPORT_SQL_RIG_H

#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/os.h"

struct sim_disk;
struct store_environment;
struct store_view;

struct sql_process {
	struct os *os;
	struct store_environment *stores;
	sqlite3 *db; /* its connection to /app, or NULL */
};

/* Once, before anything else; a second call does nothing. */
int sql_rig_start(struct err *err);
/* What the library allocates from, and counts. */
struct heap *sql_rig_heap(void);

/* A process on the disk. sql_process_end() also serves one that was killed. */
int sql_process_start(struct sql_process *process, struct sim_disk *disk,
                      struct err *err);
void sql_process_end(struct sql_process *process);

/* Opens /app with more URI parameters ("&cache_kb=256") as process->db; closes it
 * (what SQLite says about closing is not lost). */
int sql_open(struct sql_process *process, const char *parameters,
             struct err *err);
void sql_close(struct sql_process *process);

/* Runs statements; a failure is SQLite's message and the library's sentence.
 * The result codes are ERR_BUSY, ERR_FULL, ERR_NOMEM, ERR_CORRUPT or ERR_IO. */
int sql_run(sqlite3 *db, const char *sql, struct err *err);
/* The first column of the first row; no row is 0. */
int sql_number(sqlite3 *db, const char *sql, int64_t *number, struct err *err);
/* ERR_CORRUPT when the first column of the first row is another text. */
int sql_expect_text(sqlite3 *db, const char *sql, const char *expected,
                    struct err *err);
/* SQLite and the store find nothing wrong with the database. */
int sql_expect_sound(sqlite3 *db, struct err *err);
/* The store's view behind the connection to /app. */
struct store_view *sql_rig_view(sqlite3 *db);
/* A hash over the names and all rows of all tables, ordinary and turdb ones: the
 * same whichever kind a table is. */
int sql_digest(sqlite3 *db, uint64_t *digest, struct err *err);

#endif
