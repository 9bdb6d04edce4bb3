/*
 * scratch_log.h - a log in a fresh directory, for tests.
 *
 * Its shared words lie in memory that forked children share. Records are made
 * from their number: which one was read back can be told from its bytes.
 */
#ifndef TURDB_TEST_SCRATCH_LOG_H
#define TURDB_TEST_SCRATCH_LOG_H

#include "test/harness.h"
#include "wal/wal_private.h"

struct scratch_log {
	struct heap heap;
	struct os *os;
	struct os_file *dir;
	struct wal_shared *shared;
	struct wal_options options;
	struct wal *wal;
	char path[256];
	uint64_t appended_count; /* records appended through scratch_append */
	const struct os_methods *own_methods;

	/* Filled by scratch_replay */
	uint64_t replay_next;    /* the number the next record should have  */
	uint64_t replay_count;
	uint64_t replay_end;
	bool replay_wrong;
};

/* An empty, started log. False when the test has failed. */
bool scratch_open(struct test *t, struct scratch_log *log,
                  uint64_t segment_size);
void scratch_close(struct scratch_log *log);

/* As if every process had died: forgets shared memory, opens again. */
bool scratch_restart(struct test *t, struct scratch_log *log);

/* A record of `size` >= 8 bytes. */
int scratch_append(struct test *t, struct scratch_log *log, size_t size,
                   uint64_t *end);

/* Reads from `from`, expecting the records from number `first` on. */
int scratch_replay(struct test *t, struct scratch_log *log, uint64_t from,
                   uint64_t first);

/* wal_record_fn that checks records as scratch_replay does; context = log. */
int scratch_check_record(void *context, uint64_t lsn, struct span payload,
                         struct err *err);

/* The bytes of a record; `bytes` has `size` >= 8. */
void scratch_fill(uint8_t *bytes, size_t size, uint64_t number);

/* Reads and writes a segment's file behind the log's back. */
void scratch_peek(struct scratch_log *log, uint32_t no, uint64_t offset,
                  void *bytes, size_t size);
void scratch_poke(struct scratch_log *log, uint32_t no, uint64_t offset,
                  const void *bytes, size_t size);
void scratch_flip(struct scratch_log *log, uint32_t no, uint64_t offset);
void scratch_file(struct scratch_log *log, const char *name, char path[512]);

/* Methods with which the log's os is run from now on; NULL = its own. */
void scratch_methods(struct scratch_log *log, const struct os_methods *methods);

#endif
