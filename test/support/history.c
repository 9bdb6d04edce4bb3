/*
 * history.c - histories in memory, and the logs they are read from.
 *
 * A log is an array of 64-bit words in a mapped file. Word 0 counts those that are
 * whole, word 1 is the session's number; then events, each a word with its kind in
 * the low byte and a number above it, and what belongs to it. The count is stored
 * last, so a SIGKILL leaves only whole events; the page cache outlives the process.
 */
#define _GNU_SOURCE
#include "test/support/history.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LOG_WORDS = 8 << 20, /* sparse: only what is written takes memory */
	LOG_MARGIN = 64 << 10,
	HEAD_WORDS = 2,
};

enum event { EVENT_BEGIN = 1, EVENT_READ, EVENT_APPEND, EVENT_UNDO,
             EVENT_COMMIT, EVENT_END };

struct history_log {
	_Atomic uint64_t *words;
	uint64_t used;
};

/* --- in memory ---------------------------------------------------------------- */

static void *grown(void *array, uint64_t count, uint64_t more, uint64_t *room,
                   size_t size)
{
	if (count + more <= *room)
		return array;
	*room = (count + more) * 2 + 64;
	array = realloc(array, *room * size);
	if (!array)
		abort();
	return array;
}

static struct history_transaction *last(struct history *history)
{
	return &history->transactions[history->transaction_count - 1];
}

void history_begin(struct history *history, uint32_t session, uint64_t invoked)
{
	history->transactions = grown(history->transactions,
		history->transaction_count, 1, &history->transaction_room,
		sizeof *history->transactions);
	history->transaction_count++;
	*last(history) = (struct history_transaction){
		.session = session, .invoked = invoked,
		.completed = UINT64_MAX, .outcome = HISTORY_FAILED,
		.operation_first = history->operation_count,
	};
}

static void add(struct history *history, enum history_kind kind, uint32_t key,
                const uint64_t *values, uint32_t count)
{
	history->operations = grown(history->operations,
		history->operation_count, 1, &history->operation_room,
		sizeof *history->operations);
	history->values = grown(history->values, history->value_count, count,
		&history->value_room, sizeof *history->values);
	if (count)
		memcpy(history->values + history->value_count, values,
		       count * sizeof *values);
	history->operations[history->operation_count++] =
		(struct history_operation){ .kind = kind, .key = key,
		                            .count = count,
		                            .at = history->value_count };
	history->value_count += count;
	last(history)->operation_count++;
	if (kind != HISTORY_UNDO && key >= history->key_count)
		history->key_count = key + 1;
}

void history_read(struct history *history, uint32_t key, const uint64_t *values,
                  uint32_t count)
{
	add(history, HISTORY_READ, key, values, count);
}

void history_append(struct history *history, uint32_t key, uint64_t value)
{
	add(history, HISTORY_APPEND, key, &value, 1);
}

void history_undo(struct history *history, uint32_t operation)
{
	add(history, HISTORY_UNDO, operation, NULL, 0);
}

void history_end(struct history *history, enum history_outcome outcome,
                 uint64_t completed)
{
	last(history)->outcome = outcome;
	last(history)->completed = completed;
}

void history_free(struct history *history)
{
	free(history->transactions);
	free(history->operations);
	free(history->values);
	memset(history, 0, sizeof *history);
}

/* --- writing logs -------------------------------------------------------------- */

struct history_log *history_log_open(const char *path, uint32_t session)
{
	struct history_log *log;
	size_t size = (size_t)LOG_WORDS * 8;
	int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	void *words;

	if (descriptor < 0)
		return NULL;
	words = ftruncate(descriptor, (off_t)size) ? MAP_FAILED
	      : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
	             0);
	close(descriptor);
	log = words == MAP_FAILED ? NULL : calloc(1, sizeof *log);
	if (!log)
		return NULL;
	log->words = words;
	log->used = HEAD_WORDS;
	log->words[1] = session;
	log->words[0] = log->used;
	return log;
}

void history_log_close(struct history_log *log)
{
	munmap((void *)log->words, (size_t)LOG_WORDS * 8);
	free(log);
}

bool history_log_has_room(const struct history_log *log)
{
	return log->used + LOG_MARGIN < LOG_WORDS;
}

uint64_t history_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void put(struct history_log *log, uint64_t word)
{
	if (log->used >= LOG_WORDS)
		abort();
	atomic_store_explicit(&log->words[log->used++], word,
	                      memory_order_relaxed);
}

static void note(struct history_log *log, enum event event, uint64_t number)
{
	put(log, number << 8 | event);
}

static void publish(struct history_log *log)
{
	atomic_store_explicit(&log->words[0], log->used, memory_order_release);
}

void history_log_begin(struct history_log *log, uint64_t now)
{
	note(log, EVENT_BEGIN, now);
	publish(log);
}

void history_log_read(struct history_log *log, uint32_t key,
                      const uint64_t *values, uint32_t count)
{
	note(log, EVENT_READ, key);
	put(log, count);
	for (uint32_t i = 0; i < count; i++)
		put(log, values[i]);
	publish(log);
}

void history_log_append(struct history_log *log, uint32_t key, uint64_t value)
{
	note(log, EVENT_APPEND, key);
	put(log, value);
	publish(log);
}

void history_log_undo(struct history_log *log, uint32_t operation)
{
	note(log, EVENT_UNDO, operation);
	publish(log);
}

void history_log_commit(struct history_log *log)
{
	note(log, EVENT_COMMIT, 0);
	publish(log);
}

void history_log_end(struct history_log *log, enum history_outcome outcome,
                     uint64_t now)
{
	note(log, EVENT_END, now);
	put(log, outcome);
	publish(log);
}

/* --- reading logs ---------------------------------------------------------------- */

static void add_events(struct history *history, const uint64_t *words)
{
	uint32_t session = (uint32_t)words[1];

	for (uint64_t i = HEAD_WORDS; i < words[0];) {
		uint64_t number = words[i] >> 8;

		switch ((enum event)(words[i++] & 0xff)) {
		case EVENT_BEGIN:
			history_begin(history, session, number);
			break;
		case EVENT_READ:
			history_read(history, (uint32_t)number, words + i + 1,
			             (uint32_t)words[i]);
			i += 1 + words[i];
			break;
		case EVENT_APPEND:
			history_append(history, (uint32_t)number, words[i++]);
			break;
		case EVENT_UNDO:
			history_undo(history, (uint32_t)number);
			break;
		case EVENT_COMMIT:
			history_end(history, HISTORY_UNKNOWN, UINT64_MAX);
			break;
		case EVENT_END:
			history_end(history, (enum history_outcome)words[i++],
			            number);
			break;
		}
	}
}

int history_add_log(struct history *history, const char *path, struct err *err)
{
	size_t size = (size_t)LOG_WORDS * 8;
	struct stat info = { 0 };
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	void *words = MAP_FAILED;
	bool read = descriptor >= 0 && !fstat(descriptor, &info);

	if (read && info.st_size == (off_t)size)
		words = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
	if (descriptor >= 0)
		close(descriptor);
	if (read && !info.st_size)
		return ERR_NONE; /* killed before it had a log */
	if (words == MAP_FAILED)
		return err_set(err, ERR_IO, "read log of session", path,
		               "it is not there or not whole");
	add_events(history, words);
	munmap(words, size);
	return ERR_NONE;
}
