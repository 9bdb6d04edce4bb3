/*
 * sim_internal.h - what the files of the simulated disk share.
 *
 *   sim_image.c   contents of a file as shared pages, copied when written
 *   sim_disk.c    inodes, names, and their copies in kernel memory files
 *   sim_trace.c   the calls made, and what was durable after any of them
 *   sim_crash.c   the choices of a crash
 *   sim_process.c who makes calls, and what meets every call at the entrance
 *   sim_os.c      the table of calls: directories and files
 *   sim_memory.c  the table of calls: maps, locks, waiting, time
 *
 * An inode keeps its number in every disk crashed or branched from this one.
 * One mutex per disk guards everything; images may share pages between disks,
 * whose counts are not atomic: see the rule on threads in sim.h.
 */
#ifndef TURDB_TEST_SIM_SIM_INTERNAL_H
#define TURDB_TEST_SIM_SIM_INTERNAL_H

#include <pthread.h>
#include <stdio.h>

#include "test/sim/sim.h"

enum { SIM_PAGE_SIZE = 4096, SIM_SECTOR_SIZE = 512, SIM_ROOT = 1,
       SIM_FAULTS_MAX = 8, SIM_SPARES_MAX = 256 };

/* --- images ------------------------------------------------------------------ */

struct sim_page {
	unsigned references;
	uint8_t bytes[SIM_PAGE_SIZE];
};

/* A page that is absent is zero. */
struct sim_image {
	struct sim_page **pages;
	size_t count;
};

void sim_image_copy(struct sim_image *to, const struct sim_image *from);
void sim_image_free(struct sim_image *image);
/* `bytes` NULL writes zeros. */
void sim_image_write(struct sim_image *image, uint64_t offset,
                     const uint8_t *bytes, size_t size);
void sim_image_cut(struct sim_image *image, uint64_t size);
/* Takes over one reference of `page`; the old page is released. */
void sim_image_set_page(struct sim_image *image, size_t number,
                        struct sim_page *page);
struct sim_page *sim_page_make(const uint8_t *bytes); /* NULL: not filled */
void sim_page_release(struct sim_page *page);
bool sim_is_zero(const uint8_t *bytes, size_t size);

/* Memory that is always there. */
void *sim_allocate(size_t size);
void *sim_resize(void *block, size_t size);
/* Makes room for one more in an array that doubles. */
#define SIM_GROW(array, count, capacity)                                      \
	do {                                                                  \
		if ((count) == (capacity)) {                                  \
			(capacity) = (capacity) ? 2 * (capacity) : 16;        \
			(array) = sim_resize(                                 \
				(array), (capacity) * sizeof *(array));       \
		}                                                             \
	} while (0)

/* --- the disk ----------------------------------------------------------------- */

struct sim_file;

struct sim_lock {
	uint64_t offset;
	enum os_lock_kind kind;
	struct sim_file *owner;
};

struct sim_inode {
	enum os_node_kind kind; /* MISSING: not on this disk (any more)       */
	int memory;             /* the kernel's memory file; -1 = given back  */
	uint64_t size;
	uint64_t charged;       /* bytes of capacity it takes                 */
	uint32_t mode;
	bool linked;
	unsigned opens;
	char *path;
	struct sim_image shown; /* what filled the memory file, but for ...   */
	uint8_t *dirty;         /* ... the pages written since, one byte each */
	size_t dirty_count;
	struct sim_image first; /* when the trace began                       */
	uint64_t first_size;
	bool mapped;            /* writable, at some time                     */
	uint64_t mapped_at;     /* trace length then                          */
	const uint8_t *window;  /* a map to look through, with one thread     */
	size_t window_size;
	struct sim_image seen;  /* of a writable map, at the last traced call */
	struct sim_lock *locks;
	size_t lock_count, lock_capacity;
};

/* A name in a directory; it stays when the file goes. */
struct sim_link {
	uint32_t directory;
	uint32_t inode; /* 0 = no such file now                               */
	uint32_t first; /* when the trace began                               */
	char *name;
};

enum sim_event_kind {
	SIM_EVENT_WRITE,
	SIM_EVENT_SIZE, /* truncate and allocate                               */
	SIM_EVENT_SYNC,
	SIM_EVENT_SYNC_LOST, /* the bytes were dropped, the size was kept      */
	SIM_EVENT_DIRECTORY_SYNC,
	SIM_EVENT_LINK, /* a name now means `target`                           */
};

/* The sectors a write touched are recorded whole, as the page cache had them
 * afterwards: that is what a later writeback could have put on the disk. */
struct sim_event {
	enum sim_event_kind kind;
	enum sim_call call;
	uint32_t inode;        /* of a link: of the directory                  */
	uint32_t link, target;
	uint64_t offset, size; /* of the call                                  */
	uint64_t sector_offset, sector_bytes;
	uint8_t *bytes;        /* the sectors; NULL = zeros                    */
	uint64_t size_before, size_after;
};

/* A page of a writable map that was found changed when the trace was `at`
 * calls long. */
struct sim_map_change {
	uint64_t at;
	uint32_t inode;
	size_t number;
	struct sim_page *page;
};

/* What is durable after the first `position` events, and what is pending. */
struct sim_shadow_file {
	struct sim_image image;
	uint64_t size;
	uint32_t *pending; /* events */
	size_t pending_count, pending_capacity;
};

struct sim_shadow_link {
	uint32_t inode;
	uint32_t *pending; /* events */
	size_t pending_count, pending_capacity;
};

struct sim_shadow {
	uint64_t position;
	uint64_t durable_epoch; /* grows when something became durable         */
	struct sim_shadow_file *files; /* by inode */
	size_t file_count;
	struct sim_shadow_link *links; /* by link */
	size_t link_count;
};

struct sim_trace {
	bool stopped;
	struct sim_event *events;
	size_t count, capacity;
	struct sim_map_change *changes;
	size_t change_count, change_capacity;
	struct sim_mark *marks;
	size_t mark_count, mark_capacity;
	struct sim_shadow shadow;
};

/* Memory files of closed disks, with what they hold. A crashed disk takes over
 * those of the one before it and writes only the pages that differ. Shared by
 * all disks that come from one. */
struct sim_spare {
	uint32_t inode;
	int memory;
	uint64_t size;
	struct sim_image shown;
	uint8_t *dirty;
	size_t dirty_count;
};

struct sim_pool {
	unsigned references;
	struct sim_spare spares[SIM_SPARES_MAX];
	size_t count;
};

struct sim_process;

struct sim_disk {
	pthread_mutex_t mutex;
	struct sim_options options;
	struct sim_pool *pool;
	bool read_only;
	struct sim_inode *inodes; /* by number; 0 is none, 1 is "/"            */
	size_t inode_count, inode_capacity;
	struct sim_link *links;
	size_t link_count, link_capacity;
	struct sim_trace trace;
	struct sim_process *processes;
	uint32_t process_last;
	sim_hook *hook;
	void *hook_context;
	struct sim_fault faults[SIM_FAULTS_MAX];
	size_t fault_count;
	uint64_t fault_hits;
	uint64_t calls[SIM_CALL_COUNT];
	uint64_t random_state, clock_us, idle_waits;
};

uint64_t sim_random(uint64_t *state);

/* A disk with nothing on it that shares the spare memory of `parent`. */
struct sim_disk *sim_disk_relative(const struct sim_disk *parent);

/* Under the mutex from here on. */
uint32_t sim_inode_make(struct sim_disk *disk, enum os_node_kind kind,
                        uint32_t mode, const char *path);
/* Gives back the memory of a file without name and opener. */
void sim_inode_settle(struct sim_inode *inode);
void sim_inode_charge(struct sim_inode *inode, uint64_t end);
uint64_t sim_used(const struct sim_disk *disk);
/* Writes to the kernel's memory file; bytes NULL writes zeros. */
void sim_inode_write(struct sim_inode *inode, uint64_t offset,
                     const uint8_t *bytes, size_t size);
/* Reads; beyond the end there are zeros. */
void sim_inode_read(const struct sim_inode *inode, uint64_t offset,
                    uint8_t *bytes, size_t size);
void sim_inode_set_size(struct sim_inode *inode, uint64_t size);
/* Moves to the next run of whole pages that may not be zero, from *end on. */
bool sim_inode_extent(const struct sim_inode *inode, uint64_t *start,
                      uint64_t *end);
/* Gives a file without memory this content, and the other way round. */
void sim_inode_fill(struct sim_disk *disk, uint32_t number,
                    const struct sim_image *image, uint64_t size);
void sim_image_from_inode(struct sim_image *image,
                          const struct sim_inode *inode);
/* -1 = none. Live or not: one link per name for ever. */
long sim_link_find(const struct sim_disk *disk, uint32_t directory,
                   const char *name, size_t name_size);
uint32_t sim_link_make(struct sim_disk *disk, uint32_t directory,
                       const char *name, size_t name_size);

/* Records a call; takes over `event->bytes`. */
void sim_trace_add(struct sim_disk *disk, const struct sim_event *event);
/* Looks at writable maps for what no call told. */
void sim_trace_observe(struct sim_disk *disk);
void sim_trace_observe_first(struct sim_disk *disk, uint32_t inode);
void sim_window_close(struct sim_inode *inode);
void sim_trace_clear(struct sim_disk *disk);
/* Moves the shadow to just after the first `length` events. */
void sim_shadow_seek(struct sim_disk *disk, uint64_t length);
void sim_event_apply(const struct sim_event *event, struct sim_image *image);

/* --- processes ---------------------------------------------------------------- */

struct sim_file {
	struct os_file file;
	uint32_t inode;
	const char *path; /* the inode's */
	bool writable;
	bool sync_failed; /* elsewhere: this descriptor is still to be told */
	struct sim_file *next, **link;
};

struct sim_region {
	uint8_t *at;
	size_t size;
	int memory;      /* of a writable map; -1 = a reservation */
	uint64_t offset;
	struct sim_region *next;
};

struct sim_process {
	struct os os;
	struct sim_disk *disk;
	uint32_t id;
	bool dead, dies_in_the_middle;
	uint64_t calls_left;
	uint8_t canary;
	struct sim_file *files;
	struct sim_region *regions;
	struct sim_process *next;
};

static inline struct sim_process *sim_process_of(const struct os *os)
{
	return (struct sim_process *)(uintptr_t)os;
}

static inline struct sim_file *sim_file_of(struct os_file *file)
{
	return (struct sim_file *)file;
}

static inline struct sim_disk *sim_disk_of(const struct os_file *file)
{
	return sim_process_of(file->os)->disk;
}

static inline struct sim_inode *sim_inode_of(struct os_file *file)
{
	return &sim_disk_of(file)->inodes[sim_file_of(file)->inode];
}

extern const struct os_methods sim_methods;

/* What the entrance of a call decided. */
struct sim_verdict {
	int code;
	bool partial; /* do a part of the work, then answer `code`            */
	bool dies;    /* and be dead                                          */
	enum sim_fault_effect effect;
};

/* Locks the disk, whatever the verdict: the hook, the counters, the process's
 * death, the faults, what maps changed. */
struct sim_verdict sim_enter(struct sim_process *process, enum sim_call call,
                             const char *operation, const char *name,
                             const char *path, struct err *err);
struct sim_verdict sim_enter_file(struct os_file *file, enum sim_call call,
                                  const char *operation, struct err *err);
/* Unlocks and passes `code` on. */
int sim_leave(struct sim_disk *disk, int code);
void sim_process_die(struct sim_process *process);
void sim_file_remove(struct sim_process *process, struct sim_file *file);
void sim_locks_drop(struct sim_disk *disk, const struct sim_file *owner);
void sim_regions_drop(struct sim_process *process, const void *at, size_t size,
                      bool reservations);
int sim_fail_readonly(struct err *err, const char *operation,
                      const char *name);

/* In sim_memory.c, for the table. */
int sim_reserve(struct os *os, size_t size, void **at, struct err *err);
int sim_sparse(struct os *os, size_t size, void **at, struct err *err);
int sim_map(struct os_file *file, uint64_t offset, size_t size, void *at,
            bool writable, struct err *err);
void sim_unreserve(struct os *os, void *at, size_t size);
void sim_advise(struct os *os, const void *at, size_t size,
                enum os_advice advice);
int sim_lock_byte(struct os_file *file, uint64_t offset,
                  enum os_lock_kind kind, bool *held, struct err *err);
int sim_lock_probe(struct os_file *file, uint64_t offset, bool *held,
                   struct err *err);
void sim_wait(struct os *os, _Atomic uint32_t *word, uint32_t expected,
              uint64_t timeout_us);
void sim_wake(struct os *os, _Atomic uint32_t *word, uint32_t count);
uint64_t sim_monotonic_us(struct os *os);
uint64_t sim_wall_ms(struct os *os);
void sim_sleep_us(struct os *os, uint64_t us);
void sim_random_bytes(struct os *os, void *bytes, size_t size);
uint32_t sim_process_id(struct os *os);
const volatile uint8_t *sim_fork_canary(struct os *os);

#endif
