/*
 * wal.h - the write-ahead log: an endless line of records in segments.
 *
 * A position (lsn) is a byte offset in that endless line; it only grows. The
 * log knows neither pages nor transactions: a record is opaque bytes. Segments
 * are files wal/wal.000001, ... of one fixed size, preallocated, zero-filled,
 * synced, and their directory synced, before the first record enters them.
 *
 * Every record carries its position, its segment's random salt, the checksum
 * of the record before it and the durable position known when it was appended.
 * The first record that does not hold is the end of the log, unless a later
 * valid record says that the missing part had been durable: that is
 * corruption. The format is in wal/wal_format.h.
 *
 * Several processes append, one at a time (the caller holds its writer lock);
 * any number of threads and processes wait for durability at once and share
 * each other's fdatasync. What they share lies in `struct wal_shared`, in the
 * caller's shared memory.
 */
#ifndef TURDB_WAL_WAL_H
#define TURDB_WAL_WAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/os.h"

struct wal; /* one process's view of a log directory */

/* Lives in shared memory, zeroed before wal_create/wal_attach_first. */
struct wal_shared {
	_Atomic uint64_t appended;      /* end of the last whole record          */
	_Atomic uint64_t durable;       /* everything before it is on disk       */
	_Atomic uint64_t first_lsn;     /* start of the oldest segment kept      */
	_Atomic uint64_t last_checksum; /* of the record before `appended`       */
	_Atomic uint64_t segment_first; /* first lsn of the segment in use       */
	_Atomic uint64_t salt;          /* of the segment in use                 */
	_Atomic uint32_t segment_no;    /* its number                            */
	_Atomic uint32_t sync_owner;    /* process index + 1 of who syncs; 0 none */
	_Atomic uint64_t sync_target;   /* what the running sync will cover      */
	_Atomic uint32_t sync_sequence; /* futex: grows when a sync ends         */
	_Atomic uint32_t sync_waiters;
	_Atomic uint32_t failed;        /* a sync failed: the log is poisoned    */
	_Atomic uint64_t sync_count;    /* statistics */
	_Atomic uint64_t record_count;
	uint64_t reserved[16];
};

struct wal_options {
	uint64_t segment_size; /* bytes; multiple of 4096; 0 = 16 MB            */
	uint32_t process;      /* this process's index, for sync_owner          */
	uint32_t mode;         /* permission bits of new segments               */
	/* Whether the process with that index still lives; the caller's locks
	 * know. A dead sync owner is replaced. */
	bool (*process_lives)(void *context, uint32_t process);
	void *context;
};

/* Opens the log directory "wal" under `dir`; makes it when missing. Reads no
 * record. `shared` stays the caller's and must outlive the wal. */
int wal_open(struct os_file *dir, struct heap *heap, struct wal_shared *shared,
             const struct wal_options *options, struct wal **wal,
             struct err *err);
void wal_close(struct wal *wal);

/*
 * Reading back, before anybody appends (the caller is alone). Calls `each` for
 * every record that holds, in order, from `from` on; `payload` is borrowed
 * during the call. Stops on an error of `each`. On success *end is the position
 * after the last record that holds. `from` outside the log though later records
 * exist is ERR_CORRUPT; an empty log directory with from == 0 is an empty log.
 */
int wal_replay(struct wal *wal, uint64_t from,
               int (*each)(void *context, uint64_t lsn, struct span payload,
                           struct err *err),
               void *context, uint64_t *end, struct err *err);

/* Starts a new segment at `lsn` (>= every position used so far) with a new
 * salt, made durable before it returns, and fills `shared`. Used for a new
 * database and after a replay: nothing old can chain on. */
int wal_start(struct wal *wal, uint64_t lsn, struct err *err);

/* Appends one record made of `spans`; the caller holds the writer lock. Writes
 * and returns: no sync, except when a segment is full: then the old one is
 * synced and the next (prepared early by wal_prepare) is entered. On success
 * *end is the position to wait for. On failure nothing was appended. */
int wal_append(struct wal *wal, const struct span *spans, size_t span_count,
               uint64_t *end, struct err *err);

/* Waits until everything before `lsn` is durable; one fdatasync serves all who
 * wait. ERR_OUTCOME when the sync failed (then `failed` is set for good). */
int wal_sync(struct wal *wal, uint64_t lsn, struct err *err);

/* Makes the next segment ready when the current one is more than half full;
 * cheap otherwise. Called by committers after they released the writer lock. */
int wal_prepare(struct wal *wal, struct err *err);

/* Forgets segments that lie wholly before `lsn`: unlinks them, or keeps up to
 * two for reuse as later segments (zero-filled again before use). */
int wal_drop_before(struct wal *wal, uint64_t lsn, struct err *err);

/* Bytes between first_lsn and appended; segments on disk. */
uint64_t wal_bytes(const struct wal *wal);

/* For turdb_wal(): calls `each` per segment on disk, oldest first. */
int wal_segments(struct wal *wal,
                 int (*each)(void *context, uint32_t segment_no,
                             uint64_t bytes, uint64_t first_lsn),
                 void *context, struct err *err);

#endif
