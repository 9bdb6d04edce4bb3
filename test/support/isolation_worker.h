/*
 * isolation_worker.h - threads and processes that read lists and append to them, and
 * log what they saw.
 *
 * Lists are kept in four ways, by key: as a text in a row of an ordinary table and of
 * a turdb table, and as rows under an index of either. A transaction goes over
 * several, whatever they are kept in.
 */
#ifndef TURDB_TEST_SUPPORT_ISOLATION_WORKER_H
#define TURDB_TEST_SUPPORT_ISOLATION_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "test/support/history.h"

/* Ways of keeping the rules badly, to see that somebody notices. */
enum isolation_broken {
	BROKEN_NOTHING,
	BROKEN_OVERWRITE, /* reads a list, writes it back longer in another transaction */
	BROKEN_UPDATE,    /* reads a list, appends to it in another transaction         */
	BROKEN_SKEW,      /* reads a list, appends to a second in another transaction   */
};

enum { BOARD_SLOTS = 8, BOARD_THREADS = 2 };

enum isolation_count { COUNT_COMMITS, COUNT_READS, COUNT_APPENDS, COUNT_STALE,
                       COUNT_BUSY, COUNT_ROLLBACKS, COUNT_UNDONE,
                       COUNT_CHECKPOINTS, COUNT_REOPENS, COUNT_DDL,
                       COUNT_VACUUMS, COUNTS };

/* In a file that all workers map. */
struct isolation_board {
	_Atomic uint32_t key[BOARD_SLOTS];      /* the lists being worked on      */
	_Atomic uint32_t appended[BOARD_SLOTS]; /* to each, about                 */
	_Atomic uint32_t key_next, session_next;
	uint32_t slots;                         /* that are used                  */
	uint32_t list_max;                      /* appends before a list is left  */
	uint32_t broken;
	_Atomic uint64_t ended, goal;           /* transactions                   */
	_Atomic int stop, failed;
	_Atomic uint64_t counts[COUNTS];
	char why[800];
};

/* Makes the tables and the board in `directory`. */
struct isolation_board *isolation_board_make(const char *directory,
                                             struct err *err);
struct isolation_board *isolation_board_open(const char *directory);
void isolation_board_close(struct isolation_board *board);

/* Loads the library that lies beside this program's build; for a whole process. */
int isolation_load(struct err *err);
sqlite3 *isolation_connect(const char *directory, const char *parameters,
                           struct err *err);

/* One session: works until the board says stop. */
void isolation_session(struct isolation_board *board, const char *directory,
                       uint64_t seed);
/* As many sessions as a process has threads. */
void isolation_sessions(struct isolation_board *board, const char *directory,
                        unsigned threads, uint64_t seed);

/* Reads all lists in one transaction into the history. */
int isolation_read_all(struct history *history, sqlite3 *db, uint32_t session,
                       uint32_t keys, struct err *err);

#endif
