/*
 * shm_format.h - turdb.shm: what the processes of one database share.
 *
 * Never unlinked; worthless unless `built` holds SHM_BUILT. Whoever is first in
 * (exclusive LOCK_OPEN_AT) takes the mark away, recovers, fills it and marks it. Native
 * layout, as the structs below; valid while magic, `layout` and `head_size` are those
 * of this build: a process built differently is refused.
 *
 * A slot has a cache line of its own: two readers whose slots shared one paid 100 ns
 * a SELECT for it. So has a waiter, and what each lock's takers write.
 *
 * Words by who writes them:
 *   the writer (holds `writer`): ring, published, retained, space, generation flags
 *   the checkpointer (holds `checkpointer`): candidate, durable
 *   each view: its slot; each process: its entry
 *   the log: struct wal_shared by its own rules
 */
#ifndef TURDB_VFS_SHM_FORMAT_H
#define TURDB_VFS_SHM_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

#include "vfs/page_format.h"
#include "vfs/space.h"
#include "wal/wal.h"

enum {
	SHM_LAYOUT = 9,
	SHM_RING = 64,        /* snapshots remembered by txid       */
	SHM_SLOTS = 2048,     /* connections that are open at once  */
	SHM_PROCESSES = 1024,
	SHM_WAITERS = 256,    /* who queue for one lock at once     */
	SHM_RETAINED = SHM_SLOTS + 8,

	RELEASE_FILES = 1,  /* dropped files wait for their removal */
	RELEASE_PLACES = 2, /* many places became free              */
};

#define SHM_MAGIC UINT64_C(0x314d485342445254) /* 'TRDBSHM1' */
#define SHM_BUILT UINT64_C(0x544c495542)       /* 'BUILT'    */

/* One snapshot: a txid, its catalog and where the log stood behind it. */
struct store_root {
	uint64_t txid;
	struct page_table catalog;
	uint64_t lsn;       /* end of the record that made it */
};

struct shm_slot {
	_Atomic uint64_t owner;     /* process owner word; 0 = free             */
	_Atomic uint64_t txid;      /* what it reads; 0 = nothing               */
	_Atomic uint64_t since_ms;  /* when it began                            */
	uint64_t reserved[5];
};

struct shm_process {
	_Atomic uint64_t generation; /* grows with every process that takes it  */
	_Atomic uint32_t pid;
	_Atomic uint32_t in_use;
	_Atomic uint64_t since_ms;
	uint64_t reserved[5];
};

/* Who waits for a lock (lock_word.c). It is in the queue while its bit is set. */
struct shm_waiter {
	_Atomic uint64_t owner;    /* process owner word; 0 = free            */
	_Atomic uint64_t ticket;   /* the queue is in the order of these      */
	_Atomic uint64_t since_us; /* when it began to wait                   */
	_Atomic uint64_t turns;    /* the lock's, when it began to wait       */
	_Atomic uint32_t wakeup;   /* futex: 0 asleep, 1 look again, 2 napping */
	uint32_t zero;
	uint64_t reserved[3];
};

/* A lock word: 0 = free; or who holds it: process index + 1 in the high half, the
 * low half of that process's generation in the low one; or, with nothing in the
 * high half, the waiter for whom it is kept: the low 16 bits of its ticket above,
 * its index + 1 below. */
struct shm_lock {
	_Alignas(64) _Atomic uint64_t owner;
	_Atomic uint64_t since_ms;  /* when the word became what it is  */
	_Atomic uint64_t turns;     /* how often it was taken           */
	_Atomic uint64_t tickets;   /* given out                        */
	_Atomic uint64_t brief_until_us; /* a background has it, or waits */
	_Atomic uint64_t watched_until_us; /* somebody watches the word */
	_Atomic uint64_t queued[SHM_WAITERS / 64]; /* a bit per waiter  */
	_Alignas(64) struct shm_waiter waiters[SHM_WAITERS];
};

struct shm_head {
	_Atomic uint64_t magic;
	_Atomic uint64_t built;
	uint32_t layout;
	uint32_t head_size;
	uint64_t database[2];
	_Atomic uint32_t poisoned;      /* a sync failed: no writes (rule 9)    */
	_Atomic uint32_t log_started;   /* wal_start was called                 */
	_Atomic uint32_t chunks;        /* 32 KB chunks behind the head         */
	_Atomic uint32_t slots_used;    /* highest slot ever taken + 1          */
	_Atomic uint32_t release_pending; /* RELEASE_ bits: see release.c       */
	_Atomic uint32_t generation_end_pending;
	_Atomic uint32_t takeover;      /* the last writer died: finish first   */
	_Atomic uint32_t reserve_short; /* reserve.c: the disk is full          */

	_Atomic uint64_t published;     /* newest txid                          */
	struct store_root ring[SHM_RING];

	struct shm_lock writer;
	struct shm_lock checkpointer;

	_Atomic uint64_t candidate_txid; /* 0 = none; its root in `candidate`   */
	struct store_root candidate;
	_Atomic uint64_t durable_txid;
	struct store_root durable;
	_Atomic uint64_t checkpointed;   /* log position of the newest begun    */
	_Atomic uint64_t super_sequence;
	_Atomic uint64_t checkpoint_ms;  /* when the last one ended             */

	_Atomic uint32_t retained_count; /* ascending by txid                   */
	uint32_t zero2;
	struct store_root retained[SHM_RETAINED];

	struct space_root space;
	struct wal_shared wal;

	_Atomic uint64_t super_repaired; /* one superblock was found damaged  */
	_Atomic uint64_t released_txid; /* the commit that release_pending is about */
	_Atomic uint64_t commits, checkpoints, spilled_pages, log_bytes;
	_Atomic uint64_t punches; /* grows before holes are made in any file */

	struct shm_process processes[SHM_PROCESSES];
	_Alignas(64) struct shm_slot slots[SHM_SLOTS];
};

enum { SHM_HEAD_SIZE = (sizeof(struct shm_head) + 65535) / 65536 * 65536 };

#endif
