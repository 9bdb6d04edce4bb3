/*
 * sim.h - a disk in memory that remembers every change and can lose power.
 *
 * A sim_disk is a directory tree; a simulated process is a `struct os` on it.
 * Files lie in memory files of the kernel, so that maps at fixed addresses,
 * shared memory and futexes are real. Every call that changes the disk gets the
 * next index in the disk's trace; sim_crash() builds the disk as it could be
 * when only the first n of those calls had happened. One seed decides every
 * choice, so a state is found again by (n, kind, seed).
 *
 * What a power loss may do (the crash model):
 *   - What a sync covered is there: a file's bytes and size by a sync of the
 *     file, a name's presence or absence by a sync of its directory. A file
 *     whose name is lost is lost, however often it was synced.
 *   - A sector of 512 (or 4096) bytes is never mixed: it is as it was at some
 *     moment since the last sync. Different sectors are independent: writes are
 *     lost, kept, torn, and kept though an earlier one is lost.
 *   - A file's size is one that it had since its last sync; bytes beyond it are
 *     gone. A shrinking that is lost brings the old bytes back.
 *   - Each name is in one of the states it had since its directory's last sync.
 *   - A file that was ever mapped writable holds, where no sync covered it, old
 *     bytes, zeros, garbage or what the map held, page by page.
 * What the death of all processes does: nothing to the page cache; at most the
 * last write is cut in the middle. Writable maps stay as they were when the
 * next traced call began.
 *
 * Test code: running out of memory aborts. Calls of processes may come from
 * several threads; create, close, branch and crash from one at a time.
 */
#ifndef TURDB_TEST_SIM_SIM_H
#define TURDB_TEST_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/os.h"

struct sim_disk;

/* Calls as hooks, faults and counters name them. */
enum sim_call {
	SIM_CALL_ANY,
	/* These change the disk and are in the trace. */
	SIM_CALL_WRITE,
	SIM_CALL_TRUNCATE,
	SIM_CALL_ALLOCATE,
	SIM_CALL_PUNCH,
	SIM_CALL_SYNC,
	SIM_CALL_DIRECTORY_SYNC,
	SIM_CALL_CREATE, /* the open that makes the file */
	SIM_CALL_UNLINK,
	SIM_CALL_DIRECTORY_MAKE,
	/* These are not. */
	SIM_CALL_OPEN,
	SIM_CALL_DIRECTORY_OPEN,
	SIM_CALL_DIRECTORY_LIST,
	SIM_CALL_IDENTIFY,
	SIM_CALL_READ,
	SIM_CALL_MAP,
	SIM_CALL_RESERVE, /* sparse() too */
	SIM_CALL_LOCK,    /* lock_probe() too */
	SIM_CALL_WAIT,    /* sleep_us() too */
	SIM_CALL_WAKE,
	SIM_CALL_COUNT
};

struct sim_options {
	uint64_t seed;          /* of random(); 0 is a seed like any other      */
	uint64_t capacity;      /* bytes; 0 = endless                           */
	uint64_t clock_step_us; /* each look at the clock advances it; 0 = 1    */
	bool threads;           /* real clock, sleeps and waits; otherwise one
	                           thread plays all processes, time is virtual
	                           and waiting only makes it pass               */
	bool network;           /* is_network() says so                         */
};

/* An empty disk with nothing but "/". Paths of users may omit the slash. */
struct sim_disk *sim_disk_create(const struct sim_options *options /* or NULL */);
/* Ends its processes, too. */
void sim_disk_close(struct sim_disk *disk);
/* A copy of the disk as its processes see it now, everything on it durable, its
 * trace empty, without processes, locks or faults. */
struct sim_disk *sim_disk_branch(struct sim_disk *disk);
/* In a forked child that goes on using the disk to crash or branch it: gives up
 * memory that it would share with its parent. */
void sim_disk_forked(struct sim_disk *disk);
void sim_disk_set_read_only(struct sim_disk *disk, bool read_only);
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes);
uint64_t sim_disk_used(struct sim_disk *disk);

/* --- processes -------------------------------------------------------------- */

struct os *sim_process_open(struct sim_disk *disk);
/* Frees the process and all it has open, politely or not. */
void sim_process_close(struct os *os);

/* Death: locks are dropped at once, every later call returns ERR_IO "killed"
 * and changes nothing, writable maps go on as private copies, so that code
 * still running in the dead process cannot reach the living. */
void sim_process_kill(struct os *os);
/* Dies instead of making the traced call after `calls` more of them. With
 * `in_the_middle` that call, if a write, still does a part of its work. */
void sim_process_kill_after(struct os *os, uint64_t calls, bool in_the_middle);
bool sim_process_is_dead(const struct os *os);
/* Open files, directories and reservations, for tests of leaks. */
size_t sim_process_open_count(const struct os *os);

/* --- what calls do ---------------------------------------------------------- */

/* Called before every call, without locks held; may use the disk. A code other
 * than ERR_NONE (with its sentence) becomes the call's answer. `index` is the
 * trace's length; `name` the file's path or "". */
typedef int sim_hook(void *context, struct os *os, enum sim_call call,
                     const char *name, uint64_t index, struct err *err);
void sim_hook_set(struct sim_disk *disk, sim_hook *hook, void *context);

enum sim_fault_effect {
	SIM_FAULT_NOTHING_DONE,
	SIM_FAULT_PART_DONE, /* a write stops somewhere before its end          */
	SIM_FAULT_DROP,  /* a sync fails and, as on Linux, marks what it could not
	                    write clean: still read from the page cache, gone
	                    after power loss, and the next sync succeeds         */
	SIM_FAULT_EVICT, /* the same, and the page cache forgets it at once      */
};

struct sim_fault {
	enum sim_call call;
	const char *path_part;  /* NULL = any; borrowed until it is cleared     */
	uint64_t nth;           /* 1 = the next such call                       */
	bool sticky;            /* and all after it                             */
	int code;               /* ERR_IO, ERR_FULL, ERR_NOMEM, ...             */
	enum sim_fault_effect effect;
};

/* Up to 8 at once; the first that is due answers. */
void sim_fault_add(struct sim_disk *disk, const struct sim_fault *fault);
void sim_fault_clear(struct sim_disk *disk);
/* Calls answered by a fault since the disk was made. */
uint64_t sim_fault_hits(struct sim_disk *disk);

uint64_t sim_call_count(struct sim_disk *disk, enum sim_call call);
uint64_t sim_clock_us(struct sim_disk *disk);
void sim_clock_advance(struct sim_disk *disk, uint64_t us);

/* The bytes of a file as processes see them, past the trace: for flipping bits
 * and looking. False when there is no such file or it is shorter. */
bool sim_file_peek(struct sim_disk *disk, const char *path, uint64_t offset,
                   void *bytes, size_t size);
bool sim_file_poke(struct sim_disk *disk, const char *path, uint64_t offset,
                   const void *bytes, size_t size);
/* The n-th file (not directory) by path, in order of creation; NULL = no more.
 * The path lives until the file is unlinked. */
const char *sim_file_at(struct sim_disk *disk, size_t n, uint64_t *size);

/* --- the trace -------------------------------------------------------------- */

/* Calls traced so far: also the index the next one gets. */
uint64_t sim_trace_length(struct sim_disk *disk);
/* What is on the disk now counts as durable; the trace starts again at 0. */
void sim_trace_restart(struct sim_disk *disk);
/* Nothing is remembered from here on; the disk cannot be crashed any more. Tests
 * that crash nothing do this first: it saves copying writes and looking at maps. */
void sim_trace_stop(struct sim_disk *disk);
/* "3 write db/wal/wal.000001: 512 bytes at 4096" */
void sim_trace_describe(struct sim_disk *disk, uint64_t index, char *text,
                        size_t size);

/* A test's notes in the trace: "commit 7 has returned", at the present length.
 * After a crash at n, those with at <= n had been made. */
struct sim_mark {
	uint64_t at;
	uint32_t kind;
	uint64_t value;
};
void sim_mark(struct sim_disk *disk, uint32_t kind, uint64_t value);
const struct sim_mark *sim_marks(struct sim_disk *disk, size_t *count);

/* --- crashes ---------------------------------------------------------------- */

enum sim_crash_kind {
	SIM_CRASH_LOST,      /* power: everything unsynced is lost               */
	SIM_CRASH_KEPT,      /* power: everything had just reached the disk      */
	SIM_CRASH_REORDERED, /* power: each write lost or kept                   */
	SIM_CRASH_TORN_512,  /* power: each sector of each write lost or kept    */
	SIM_CRASH_TORN_4096,
	SIM_CRASH_NAMES,     /* power: data kept, each unsynced name as may be   */
	SIM_CRASH_KILL,      /* all processes die, the machine lives             */
	SIM_CRASH_KILL_CUT,  /* the same, in the middle of the last write        */
	SIM_CRASH_KINDS
};

const char *sim_crash_kind_name(enum sim_crash_kind kind);

/* What really happened to the unsynced. */
struct sim_crash_report {
	uint32_t writes_lost, writes_kept, writes_torn;
	uint32_t reordered;    /* kept (or torn) though an earlier one is lost    */
	uint32_t sizes_undone; /* files with an older size than processes saw     */
	uint32_t names_undone;
	bool cut;              /* the last write, in its middle                   */
	uint64_t fingerprint;  /* equal states of one disk have equal ones        */
};

/* Whether the state is what the kind is about: a torn kind with nothing torn is
 * just another loss. */
bool sim_crash_is(const struct sim_crash_report *report,
                  enum sim_crash_kind kind);

/* A new disk: `disk` as it could be after a crash when its first `length` calls
 * had happened. Everything on it is durable, its trace is empty (and running).
 * Cheap when `length` does not fall from one call to the next. */
struct sim_disk *sim_crash(struct sim_disk *disk, uint64_t length,
                           enum sim_crash_kind kind, uint64_t seed,
                           struct sim_crash_report *report /* or NULL */);

#endif
