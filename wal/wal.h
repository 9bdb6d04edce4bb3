/*
 * wal.h - the write-ahead log: an endless line of records in segments.
 *
 * A position (lsn) is a byte offset in that endless line; it only grows. The
 * log knows neither pages nor transactions: a record is opaque bytes. Segments
 * are files wal/wal.000001, ... preallocated, zero-filled, synced, and their
 * directory synced, before the first record enters them. The first is small
 * and each next one twice as large, up to the size in the options; a record
 * larger than that gets a segment of its own size. Which segment comes after
 * which says their headers, not their names: a forgotten segment is used again
 * under its old name.
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
 * caller's shared memory. Any of them may be killed at any instruction.
 *
 * Order of use. The first process of a database: wal_open, wal_replay from the
 * position in its superblock, wal_start at the end of the replay, then a
 * superblock that names shared->appended. The next ones: wal_open. Who takes
 * the writer lock from a dead owner: wal_scan_tail before anything else. A
 * commit: wal_append, the writer lock released, wal_sync if it must be
 * durable, wal_prepare.
 */
#ifndef TURDB_WAL_WAL_H
#define TURDB_WAL_WAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/os.h"

struct wal; /* one process's view of a log directory */

/* Where the next record goes. Written by the owner of the writer lock alone. */
struct wal_place {
	_Atomic uint64_t appended;       /* end of the last whole record     */
	_Atomic uint64_t last_checksum;  /* of that record                   */
	_Atomic uint64_t segment_first;  /* the segment in use:              */
	_Atomic uint64_t segment_end;    /* its first position and the one
	                                    after its last                   */
	_Atomic uint64_t segment_salt;
	_Atomic uint64_t previous_first; /* first position of the one before */
	_Atomic uint32_t segment_no;
	_Atomic uint32_t previous_no;    /* 0 = none                         */
};

/* A claim to do something alone: process index + 1 below, a count above, so
 * that a claim taken again never looks like the old one. 0 below = free. */
struct wal_claim {
	_Atomic uint64_t owner;
};

/* Lives in shared memory, zeroed before the first wal_open. The caller may read
 * the words of the first group and the statistics; all else is the log's. */
struct wal_shared {
	_Atomic uint64_t appended;   /* end of the last whole record          */
	_Atomic uint64_t durable;    /* everything before it is on disk       */
	_Atomic uint64_t first_lsn;  /* start of the oldest segment kept      */
	_Atomic uint32_t failed;     /* a sync failed: the log is poisoned    */
	_Atomic uint32_t last_no;    /* the highest segment number ever used  */

	/* The place in use is place[place_sequence & 1]; the other one is
	 * filled, then place_sequence grows by one: killed between, nothing
	 * has changed. */
	_Atomic uint64_t place_sequence;
	struct wal_place place[2];

	/* The segment made ready to follow; it is that when next_first is the
	 * end of the one in use. Written under files_claim, next_first last. */
	_Atomic uint64_t next_first;
	_Atomic uint64_t next_end;
	_Atomic uint64_t next_salt;
	_Atomic uint32_t next_no;
	_Atomic uint32_t files_sequence; /* futex: grows when files_claim ends */
	_Atomic uint64_t prepare_at;     /* wal_prepare has nothing to do before */
	struct wal_claim files_claim;    /* who creates, reuses, unlinks files */

	struct wal_claim sync_claim;     /* who leads a sync                  */
	_Atomic uint32_t sync_ended;     /* syncs that have ended             */
	_Atomic uint32_t sync_words[2];  /* futexes: who waits for the end of
	                                    sync n sleeps on number n & 1     */
	_Atomic uint32_t sync_waiters[2]; /* hints: the dead stay counted     */
	_Atomic uint32_t sync_arrivals;  /* futex: who came to wait, ever     */
	_Atomic uint32_t gathered;       /* of them, before the last sync     */
	_Atomic uint32_t gather_active;  /* writers active during it          */
	_Atomic uint32_t gather_goal;    /* arrivals the leader waits for     */
	_Atomic uint64_t sync_target;    /* what the one under way covers, or
	                                    the next: all that comes till then */
	_Atomic uint64_t sync_us;        /* how long a sync takes, about      */
	_Atomic uint64_t sync_end_us;    /* when the last one ended           */
	_Atomic uint64_t arrival_us;     /* when somebody came last           */
	_Atomic uint32_t arrivals_at_end;
	_Atomic uint32_t arrival_gap_us; /* between two, after a sync's end   */

	_Atomic uint64_t sync_count;     /* statistics */
	_Atomic uint64_t record_count;
	uint64_t reserved[16];
};

struct wal_options {
	uint64_t segment_size; /* bytes of the largest ordinary segment;
	                          multiple of 4096; 0 = 16 MB                 */
	uint64_t database;     /* identity of the database: a log of another
	                          one is refused                              */
	uint32_t process;      /* this process's index: no other living wal of
	                          this database has it                        */
	uint32_t mode;         /* permission bits of new segments             */
	/* Whether the process with that index still lives; the caller's locks
	 * know. What a dead one claimed is taken over. NULL: all live. */
	bool (*process_lives)(void *context, uint32_t process);
	void *context;
	uint32_t plants;       /* bugs that tests plant: base/plant.h; else 0  */
};

/* Opens the log directory "wal" under `dir`; makes it when missing. Reads no
 * record. `dir`, `heap` and `shared` stay the caller's and outlive the wal.
 * Claims that `shared` still holds for this process index are ended. */
int wal_open(struct os_file *dir, struct heap *heap, struct wal_shared *shared,
             const struct wal_options *options, struct wal **wal,
             struct err *err);
void wal_close(struct wal *wal);

/* Gets one record; `payload` is borrowed during the call. */
typedef int wal_record_fn(void *context, uint64_t lsn, struct span payload,
                          struct err *err);

/*
 * Reading back, while nobody appends. The log from a position on is mapped, so
 * that payloads stay readable, at the same addresses, until the history is
 * closed. ERR_CORRUPT: `from` lies in no segment. Without any segment, from == 0
 * is an empty log.
 */
struct wal_history;
int wal_history_open(struct wal *wal, uint64_t from,
                     struct wal_history **history, struct err *err);
void wal_history_close(struct wal_history *history);

/* Calls `each` for every record that holds, in order. Stops on an error of
 * `each`. On success *end is the position after the last record that holds.
 * ERR_CORRUPT: a segment or a record is missing that had been durable. May be
 * called again. */
int wal_history_read(struct wal_history *history, wal_record_fn *each,
                     void *context, uint64_t *end, struct err *err);

/*
 * The same in parts, which several threads may read at once, each a part of its own.
 * _part: cuts the log into at most `most` parts, of `least` bytes or more each, and
 * says how many they are; with one, wal_history_read() does it all.
 * _read_part: calls `each` for the records of a part. Only part 0 is sure to belong to
 * the log. _joint: when part - 1 and all before it do, and both were read, whether
 * `part` does, too. ENDED: the log ended before it. BROKEN: it is not known where;
 * wal_history_read() tells. _end: after the last part that belongs to the log, once
 * nothing failed; then as wal_history_read().
 */
enum { WAL_PARTS_MAX = 4 };
enum wal_joint { WAL_JOINT_HOLDS, WAL_JOINT_ENDED, WAL_JOINT_BROKEN };
uint32_t wal_history_part(struct wal_history *history, uint32_t most,
                          uint64_t least);
int wal_history_read_part(struct wal_history *history, uint32_t part,
                          wal_record_fn *each, void *context, struct err *err);
enum wal_joint wal_history_joint(const struct wal_history *history,
                                 uint32_t part);
int wal_history_end(struct wal_history *history, uint32_t part, uint64_t *end,
                    struct err *err);

/* Every payload lies behind this address, by less than `bytes`, which is about
 * the size of the log. NULL and 0: there are none. */
const uint8_t *wal_history_start(const struct wal_history *history,
                                 uint64_t *bytes);

/* A log may lack a part. _expect_none: nothing was appended from where the history
 * begins on, so that no segment need hold that position. _is_cut: the last read
 * failed because something is missing or damaged, and `each` got every record before
 * that. _cut: reads end there from now on. _beyond: a position that no segment
 * reaches, of those that are gone neither. */
void wal_history_expect_none(struct wal_history *history);
bool wal_history_is_cut(const struct wal_history *history);
void wal_history_cut(struct wal_history *history);
uint64_t wal_history_beyond(const struct wal_history *history);

/* Whether a segment with that salt is there, read or not. */
bool wal_history_has(const struct wal_history *history, uint64_t salt);

/* All three at once. */
int wal_replay(struct wal *wal, uint64_t from, wal_record_fn *each,
               void *context, uint64_t *end, struct err *err);

/* Begins a new line of records after a replay that ended at `lsn`, or a new
 * database's at 0: in a segment with a new salt, so that nothing old can chain
 * on, made durable before it returns. Fills `shared`. The new line begins at
 * shared->appended, which is beyond every old segment; the next superblock
 * names that position (or `lsn`, which leads there too). */
int wal_start(struct wal *wal, uint64_t lsn, struct err *err);

/* The salt of the segment in use: after wal_start the one it began. */
uint64_t wal_line(const struct wal *wal);

/* Appends one record made of `spans`; the caller holds the writer lock. One
 * write, no sync; only when a segment is full and wal_prepare has not come
 * round to the next one, that is made here. On success *end is the position to
 * wait for. On failure nothing was appended; if even that could not be brought
 * about, the log is poisoned and the error is ERR_OUTCOME. */
int wal_append(struct wal *wal, const struct span *spans, size_t span_count,
               uint64_t *end, struct err *err);

/* For who takes the writer lock from a dead owner, before anything else:
 * accounts for whole records that were written but not yet accounted for, and
 * hands each to `each` first. Stops on an error of `each`; that record then
 * stays unaccounted. */
int wal_scan_tail(struct wal *wal, wal_record_fn *each, void *context,
                  struct err *err);

/* Waits until everything before `lsn` (<= shared->appended) is durable; one
 * fdatasync serves all who wait. ERR_OUTCOME when the sync failed (then
 * `failed` is set for good, unless it could not even begin). */
int wal_sync(struct wal *wal, uint64_t lsn, struct err *err);

/* Whether a wal_sync() now would most likely be the only one. */
bool wal_sync_is_lone(const struct wal *wal);
/* For the owner of the writer lock who has just appended and will soon call
 * wal_sync(): lets the device begin to write. Promises nothing, never fails. */
void wal_sync_begin(struct wal *wal);

/* Makes the next segment ready when the current one is more than half full;
 * one comparison otherwise. Called by committers after they released the
 * writer lock. An error is not the commit's: the next one tries again. */
int wal_prepare(struct wal *wal, struct err *err);
/* Whether wal_prepare() would do more than that comparison. */
bool wal_prepare_due(const struct wal *wal);

/* Forgets segments that lie wholly before `lsn`, because all before `lsn` is
 * durable elsewhere (so it counts as durable here, too). Keeps up to two for
 * reuse, unlinks the others. */
int wal_drop_before(struct wal *wal, uint64_t lsn, struct err *err);

/* Bytes between first_lsn and appended. */
uint64_t wal_bytes(const struct wal *wal);

/* For turdb_wal(): calls `each` per segment on disk, oldest first; `bytes` is
 * the size of the file. Those before first_lsn wait for reuse. */
int wal_segments(struct wal *wal,
                 int (*each)(void *context, uint32_t segment_no,
                             uint64_t bytes, uint64_t first_lsn),
                 void *context, struct err *err);

#endif
