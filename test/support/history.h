/*
 * history.h - what transactions did, as they saw it themselves.
 *
 * A transaction reads lists and appends to them; each list has a key, and no value
 * is ever appended twice, so a read tells which appends came before it and in what
 * order. The history is what isolation.h judges. It is built in memory by the calls
 * below, or read back from the logs that sessions (one thread, one connection) keep
 * while they run: mapped files, so that a session that is killed leaves all it had
 * noted.
 */
#ifndef TURDB_TEST_SUPPORT_HISTORY_H
#define TURDB_TEST_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum history_outcome {
	HISTORY_OK,      /* COMMIT returned                                   */
	HISTORY_FAILED,  /* rolled back, refused, or dead before its COMMIT   */
	HISTORY_UNKNOWN, /* died inside its COMMIT                            */
};

enum history_kind { HISTORY_READ, HISTORY_APPEND, HISTORY_UNDO };

/* `count` values from `at` on: what a read saw, the one appended, or, for UNDO, no
 * value: the appends of this transaction from its operation `key` on are undone. */
struct history_operation {
	enum history_kind kind;
	uint32_t key;
	uint32_t count;
	uint64_t at;
};

struct history_transaction {
	uint32_t session;
	enum history_outcome outcome;
	uint64_t invoked, completed; /* ns; completed is UINT64_MAX after a death */
	uint64_t operation_first;
	uint32_t operation_count;
};

struct history {
	struct history_transaction *transactions;
	struct history_operation *operations;
	uint64_t *values;
	uint64_t transaction_count, transaction_room;
	uint64_t operation_count, operation_room;
	uint64_t value_count, value_room;
	uint32_t key_count; /* keys are below it */
};

void history_begin(struct history *history, uint32_t session, uint64_t invoked);
void history_read(struct history *history, uint32_t key, const uint64_t *values,
                  uint32_t count);
void history_append(struct history *history, uint32_t key, uint64_t value);
/* ROLLBACK TO: undoes the appends from operation `operation` (of this
 * transaction, from 0) on. */
void history_undo(struct history *history, uint32_t operation);
void history_end(struct history *history, enum history_outcome outcome,
                 uint64_t completed);
void history_free(struct history *history);

/* --- logs of sessions --------------------------------------------------------- */

struct history_log;

/* Makes the file `path`. NULL: it cannot be. */
struct history_log *history_log_open(const char *path, uint32_t session);
void history_log_close(struct history_log *log);
/* False when there is no room for another transaction of usual size. */
bool history_log_has_room(const struct history_log *log);
uint64_t history_now(void); /* ns, the same clock in all processes */

/* Notes in the order of events: each before the call it is about, but reads,
 * undoing and the end after it. */
void history_log_begin(struct history_log *log, uint64_t now);
void history_log_read(struct history_log *log, uint32_t key,
                      const uint64_t *values, uint32_t count);
void history_log_append(struct history_log *log, uint32_t key, uint64_t value);
void history_log_undo(struct history_log *log, uint32_t operation);
void history_log_commit(struct history_log *log);
void history_log_end(struct history_log *log, enum history_outcome outcome,
                     uint64_t now);

/* Adds all that a log tells. A transaction without an end died: with its COMMIT
 * noted its outcome is unknown, otherwise it failed. */
int history_add_log(struct history *history, const char *path, struct err *err);

#endif
