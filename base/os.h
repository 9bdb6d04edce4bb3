/*
 * os.h - the one table of operating-system calls.
 *
 * Files, maps, syncs, locks, waiting, time and randomness go through a
 * `struct os`; nothing else in the library does I/O. os_posix_open() makes the
 * real one; tests bring a simulated disk (test/sim) that can lose, tear,
 * reorder and fail what it is told. Each call writes its own sentence into
 * `err`; the codes are the same in both:
 *
 *   ERR_FULL      no space, a quota or a file size limit
 *   ERR_READONLY  a change where only reading is allowed
 *   ERR_MISSING   no such name            ERR_EXISTS  the name is taken
 *   ERR_CANTOPEN  not a regular file, a symbolic link, no permission to read,
 *                 too many open files
 *   ERR_CORRUPT   a read or map beyond the end of the file
 *   ERR_INVALID   a name that leaves the directory: absolute, or with ".."
 *   ERR_NOMEM     memory or address space
 *   ERR_IO        everything else, and every failed sync whatever its reason
 *
 * An `os_file` remembers the name it was opened by, for those sentences. One
 * os_file may be used from several threads at once: there is no file position.
 */
#ifndef TURDB_BASE_OS_H
#define TURDB_BASE_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum os_open_flags {
	OS_OPEN_READ = 0,      /* read only                                    */
	OS_OPEN_WRITE = 1,     /* read and write                               */
	OS_OPEN_CREATE = 2,    /* with WRITE: create when it does not exist    */
	OS_OPEN_EXCLUSIVE = 4, /* with CREATE: ERR_EXISTS when it does         */
	OS_OPEN_MODE_EXACT = 8, /* a new file gets `mode` whatever the umask   */
	OS_OPEN_IN_PLACE = 16, /* a new file's blocks are written over, also by a file
	                        * system that would take others each time (btrfs): a
	                        * store to its map needs no free block then          */
};

enum os_lock_kind { OS_LOCK_NONE, OS_LOCK_SHARED, OS_LOCK_EXCLUSIVE };

enum os_node_kind { OS_NODE_MISSING, OS_NODE_FILE, OS_NODE_DIRECTORY,
                    OS_NODE_OTHER };

enum os_advice { OS_ADVICE_RANDOM, OS_ADVICE_SEQUENTIAL, OS_ADVICE_WILL_NEED };

struct heap;
struct os;
struct os_thread;

/* Common head of every implementation's file object. */
struct os_file {
	struct os *os;
	char name[128]; /* for errors: as given at open, its front cut if long */
};

struct os_identity {
	uint64_t device, inode;
	uint64_t size;
	uint64_t allocated;      /* bytes of disk; less than size: it has holes */
	uint32_t mode;           /* permission bits */
	enum os_node_kind kind;
};

struct os_methods {
	/* Directories. `path` is the user's, links and all; `name` is relative
	 * to `dir`, may hold one or more '/', never follows a symbolic link in
	 * its last part. Where a name means a directory, NULL is `dir` itself.
	 * Without `dir` a name is a path of the user's. */
	int (*directory_open)(struct os *os, const char *path,
	                      struct os_file **dir, struct err *err);
	int (*directory_make)(struct os *os, struct os_file *dir /* or NULL */,
	                      const char *name, struct err *err);
	/* Calls `each` for every entry but . and ..; stops on non-zero and
	 * returns that. */
	int (*directory_list)(struct os_file *dir, const char *name,
	                      int (*each)(void *context, const char *entry),
	                      void *context, struct err *err);
	int (*directory_sync)(struct os_file *dir, const char *name,
	                      struct err *err);
	/* What `path` is, without opening it; MISSING is an answer. A symbolic
	 * link under `dir` is OTHER. */
	int (*identify)(struct os *os, struct os_file *dir /* or NULL */,
	                const char *path, struct os_identity *identity,
	                struct err *err);
	int (*unlink)(struct os_file *dir, const char *name, struct err *err);
	/* A file system other machines may write to behind our shared memory. */
	bool (*is_network)(struct os_file *dir);

	/* Files. ERR_MISSING when absent, ERR_CANTOPEN when it is not a
	 * regular file or may not be opened. `mode` serves new files. */
	int (*open)(struct os_file *dir, const char *name, unsigned flags,
	            uint32_t mode, struct os_file **file, struct err *err);
	void (*close)(struct os_file *file);
	/* Whole or an error; *got (may be NULL) allows fewer at end of file. A
	 * failed write may have written a part of its bytes. */
	int (*read)(struct os_file *file, uint64_t offset, void *bytes,
	            size_t size, size_t *got, struct err *err);
	int (*write)(struct os_file *file, uint64_t offset,
	             const struct span *spans, size_t span_count,
	             struct err *err);
	/* Data and size. After a failure what was written since the last sync
	 * may be lost, and a later success proves nothing: never retry. */
	int (*sync)(struct os_file *file, struct err *err);
	/* Writes [offset, offset+size) out of the page cache and waits for that.
	 * Promises nothing: it makes a later sync shorter. But a failure is one
	 * of that sync, which will not tell of it again. NULL where there is no
	 * such thing. */
	int (*write_back)(struct os_file *file, uint64_t offset, uint64_t size,
	                  struct err *err);
	/* The same without waiting: the device begins. NULL likewise. */
	void (*write_back_begin)(struct os_file *file, uint64_t offset,
	                         uint64_t size);
	/* Looks, awake, until nothing in [offset, offset+size) is being written
	 * out any more, for so long at most; false when something still is, or
	 * nobody can tell. NULL likewise. */
	bool (*write_back_watch)(struct os_file *file, uint64_t offset,
	                         uint64_t size, uint64_t most_us);
	int (*size)(struct os_file *file, uint64_t *bytes, struct err *err);
	int (*truncate)(struct os_file *file, uint64_t bytes, struct err *err);
	/* Space for [offset, offset+size) is there afterwards, and the file at
	 * least that long; new bytes are zero. */
	int (*allocate)(struct os_file *file, uint64_t offset, uint64_t size,
	                struct err *err);
	/* Gives the blocks of [offset, offset+size) back to the file system,
	 * which then shows zeros there; the size stays. Where it cannot, nothing
	 * happens: no error. Not durable before a sync, like a write of zeros. */
	int (*punch)(struct os_file *file, uint64_t offset, uint64_t size,
	             struct err *err);
	int (*identity)(struct os_file *file, struct os_identity *identity,
	                struct err *err);

	/* Maps. reserve() takes address space without memory; map() lays
	 * [offset, offset+size) of the file at `at` inside a reservation, shared,
	 * read-only or (only for shared memory) writable. Offsets and sizes are
	 * multiples of 64 KB, except that the last map of a file may end at its
	 * end. A map beyond the file's end is an error; what it replaced stays
	 * part of the reservation. unreserve() ends a reservation and the maps
	 * in it. Maps outlive the os_file. */
	int (*reserve)(struct os *os, size_t size, void **at, struct err *err);
	int (*map)(struct os_file *file, uint64_t offset, size_t size,
	           void *at, bool writable, struct err *err);
	void (*unreserve)(struct os *os, void *at, size_t size);
	/* Has [offset, offset+size) of the file, which a map shows at `at`, read into
	 * memory: what cannot be read is an error here and no signal later. */
	int (*fault_in)(struct os_file *file, uint64_t offset, void *at,
	                size_t size, struct err *err);
	void (*advise)(struct os *os, const void *at, size_t size,
	               enum os_advice advice);
	/* Zeroed private memory outside the heap, backed on first touch; for
	 * sparse tables as large as a file. Ends with unreserve(). */
	int (*sparse)(struct os *os, size_t size, void **at, struct err *err);

	/* Locks that belong to the open file (OFD locks): they live as long as
	 * this os_file, whatever else the process opens. A lock replaces the
	 * own one at that byte atomically. Never waits: *held tells. */
	int (*lock)(struct os_file *file, uint64_t offset,
	            enum os_lock_kind kind, bool *held, struct err *err);
	/* Whether somebody else holds a lock on that byte. */
	int (*lock_probe)(struct os_file *file, uint64_t offset, bool *held,
	                  struct err *err);

	/* Waiting on a word in memory that processes share (futex). Returns
	 * after a wake, a change, a spurious wake or the timeout (UINT64_MAX:
	 * none). */
	void (*wait)(struct os *os, _Atomic uint32_t *word, uint32_t expected,
	             uint64_t timeout_us);
	void (*wake)(struct os *os, _Atomic uint32_t *word, uint32_t count);

	/* A thread of our own, which takes no signals and has a small stack. NULL
	 * where there are none: who wants one does the work itself, so that a
	 * simulated run is always the same. */
	int (*thread_start)(struct os *os, void (*run)(void *context),
	                    void *context, struct os_thread **thread,
	                    struct err *err);
	void (*thread_join)(struct os *os, struct os_thread *thread);
	/* How many threads of this process can run at once. NULL: one. */
	uint32_t (*processors)(struct os *os);

	uint64_t (*monotonic_us)(struct os *os);
	uint64_t (*wall_ms)(struct os *os); /* since 1970 */
	void (*sleep_us)(struct os *os, uint64_t us);
	void (*random)(struct os *os, void *bytes, size_t size);
	uint32_t (*process_id)(struct os *os);
	/* A byte that reads 1 here and 0 in a forked child; NULL where the
	 * system has no such thing. Who asks in the child gets a new one: one
	 * thread at a time. */
	const volatile uint8_t *(*fork_canary)(struct os *os);
};

struct os {
	const struct os_methods *methods;
};

/* The real one. Its open files come from `heap`, which must outlive it; close
 * it after them. Its threads share it; a forked child must not use it. */
int os_posix_open(struct heap *heap, struct os **os, struct err *err);
void os_posix_close(struct os *os);

/* Thin callers, so that code reads os_write(file, ...). */
static inline int os_read(struct os_file *f, uint64_t offset, void *bytes,
                          size_t size, struct err *err)
{
	return f->os->methods->read(f, offset, bytes, size, NULL, err);
}

static inline int os_read_some(struct os_file *f, uint64_t offset, void *bytes,
                               size_t size, size_t *got, struct err *err)
{
	return f->os->methods->read(f, offset, bytes, size, got, err);
}

static inline int os_write(struct os_file *f, uint64_t offset,
                           const void *bytes, size_t size, struct err *err)
{
	struct span one = span_of(bytes, size);

	return f->os->methods->write(f, offset, &one, 1, err);
}

static inline int os_write_spans(struct os_file *f, uint64_t offset,
                                 const struct span *spans, size_t count,
                                 struct err *err)
{
	return f->os->methods->write(f, offset, spans, count, err);
}

static inline int os_sync(struct os_file *f, struct err *err)
{
	return f->os->methods->sync(f, err);
}

static inline void os_close(struct os_file *f)
{
	if (f)
		f->os->methods->close(f);
}

static inline int os_open(struct os_file *dir, const char *name,
                          unsigned flags, uint32_t mode, struct os_file **file,
                          struct err *err)
{
	return dir->os->methods->open(dir, name, flags, mode, file, err);
}

#endif
