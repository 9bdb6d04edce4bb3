/*
 * store.h - transactions over page files, made durable by one redo log.
 *
 * A database is a directory. A `struct store` is one open directory in this
 * process, shared by its connections; a `struct store_view` is one connection's
 * sight of it: a snapshot of the newest commit at the moment it began, or, once
 * it has become the writer, that snapshot with its own edits on top.
 *
 * A view belongs to one connection: it may move between threads but is used by
 * one at a time. Any number of views, in any number of processes, read at once;
 * one writes. Beginning and ending a read makes no system call.
 *
 * Borrowed bytes (pages, states, names) point into mapped files or private
 * copies and stay valid and unmoved until the operation ends:
 * store_view_operation_end(), or any call that moves the view.
 */
#ifndef TURDB_VFS_STORE_H
#define TURDB_VFS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/breath.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/os.h"
#include "base/pager.h"

struct store_environment; /* the stores that this process has open         */
struct store;             /* one open database directory                   */
struct store_view;        /* one connection's sight of it                  */

/* --- opening ---------------------------------------------------------------- */

struct store_options {
	bool create;              /* make the directory when it is not there    */
	bool read_only;           /* advice only: the connection will not write */
	bool immutable;           /* nobody writes: no locks, no shared memory  */
	uint32_t cache_kb;        /* private page copies before spilling; 0 = default */
	uint32_t checkpoint_mb;   /* log size that starts a checkpoint; 0 = default   */
	uint32_t checkpoint_s;    /* seconds after which a commit does; 0 = default   */
	uint64_t log_segment_size; /* 0 = default; tests use small ones          */
	uint32_t file_mode;       /* permission bits of a new database; 0 = 0644 */
	uint64_t lose_after;      /* if a part of the log is missing or damaged, and the
	                             last commit before it has this number: go on
	                             without what came after; 0 = never            */
};

/* `os` and `heap` must outlive the environment. Its stores are closed before it. */
int store_environment_open(struct os *os, struct heap *heap,
                           struct store_environment **environment,
                           struct err *err);
void store_environment_close(struct store_environment *environment);

/* What `path` is, opening nothing in it: DATABASE when it has a turdb.meta. The last
 * two are no places for one; MISSING and EMPTY_DIRECTORY are with options.create. */
enum store_path_kind { STORE_PATH_MISSING, STORE_PATH_DATABASE,
                       STORE_PATH_EMPTY_DIRECTORY, STORE_PATH_OTHER_DIRECTORY,
                       STORE_PATH_FILE };
int store_path_kind(struct store_environment *environment, const char *path,
                    enum store_path_kind *kind, struct err *err);

/* Opens the directory, or joins the store that this process has open already
 * (options of the first opening hold). The first process in recovers. ERR_MISSING
 * when it is not there; ERR_CANTOPEN when it is none of ours or may not be read;
 * ERR_CORRUPT, ERR_VERSION for what is in it; ERR_BUSY when another process recovers
 * for more than 30 s, or all process slots are taken; ERR_UNSUPPORTED on a network
 * file system. */
int store_open(struct store_environment *environment, const char *path,
               const struct store_options *options, struct store **store,
               struct err *err);
/* The last closer of the last process checkpoints. A failure loses nothing:
 * the log still has it. The store is gone either way. */
int store_close(struct store *store, struct err *err);

const char *store_path(const struct store *store);
/* The last commit that was kept when options.lose_after was acted upon; else 0. */
uint64_t store_lost_after(const struct store *store);

/* --- views ------------------------------------------------------------------ */

/* Takes one of the database's connection slots. ERR_BUSY when all are in use (the
 * sentence says how many). */
int store_view_open(struct store *store, struct store_view **view,
                    struct err *err);
void store_view_close(struct store_view *view); /* ends whatever is open */

/* Takes a snapshot of the newest commit; nothing when one is held already. Fails in a
 * forked child only (ERR_INVALID). */
int store_view_begin(struct store_view *view, struct err *err);
/* Drops the snapshot and, unless committed, the edits. Never fails. */
void store_view_end(struct store_view *view);
/* Waits until the snapshot is durable, or sees to it; no system call when it is.
 * ERR_OUTCOME as store_view_commit(). */
int store_view_await_durable(struct store_view *view, struct err *err);
bool store_view_reading(const struct store_view *view);
bool store_view_writing(const struct store_view *view);
/* The commit that the snapshot shows; 0 without one. */
uint64_t store_view_txid(const struct store_view *view);
/* Grows whenever the view moves (see pager.h). */
const uint64_t *store_view_epoch(const struct store_view *view);
/* Whether this view has read a turdb page or catalog entry since it began. Pagers
 * set it; who reads bytes he still has from an earlier transaction, because the
 * epoch stands still, sets it himself. */
bool *store_view_read_mark(struct store_view *view);

/* Becomes the writer, waiting up to `timeout_us` for the one before. If this
 * view has read no turdb page or catalog entry since it began and sqlite.tbd is
 * the same in the newest snapshot, it moves there silently; otherwise a stale
 * view gets ERR_BUSY_SNAPSHOT. ERR_BUSY names the holder's pid and how long it
 * has held the lock. ERR_READONLY, ERR_POISONED. */
int store_view_write(struct store_view *view, uint64_t timeout_us,
                     struct err *err);

/* The same for a view that has read nothing at all since it began, not even what its
 * user still has from before: it moves to the newest snapshot, whatever changed. */
int store_view_write_unread(struct store_view *view, uint64_t timeout_us,
                            struct err *err);

/* Gets ready for store_view_write() before anything is read, as
 * store_view_write_unread() does, but only claims the writer lock: if
 * store_view_write() does not follow within moments others may take it over, and
 * then store_view_write() is as it is without a claim. store_view_end() ends it. */
int store_view_claim(struct store_view *view, uint64_t timeout_us,
                     struct err *err);
void store_view_unclaim(struct store_view *view);

enum store_durability {
	STORE_DURABLE_NEVER, /* synchronous=OFF                                */
	STORE_DURABLE_LATER, /* NORMAL: at the next checkpoint or durable commit */
	STORE_DURABLE_NOW,   /* FULL, EXTRA: on disk before commit returns      */
};

/* Makes the edits one commit. Afterwards the view holds a snapshot of that
 * commit and is no longer the writer. On an error before the record is whole
 * nothing has happened and the edits stay (the caller ends the view); on
 * ERR_OUTCOME the commit is visible and its durability unknown. Committing
 * without edits writes nothing. */
int store_view_commit(struct store_view *view,
                      enum store_durability durability, struct err *err);

/* Discards the edits and releases the writer lock; the snapshot stays. */
void store_view_rollback(struct store_view *view);

/* Marks, as SQLite's pager keeps them (n counts from 0): savepoint opens every
 * mark <= n not yet open with the present state; release drops marks >= n;
 * rollback_to restores mark n and keeps it, or the start of the transaction when
 * n < 0 or there is no such mark. All files except sqlite.tbd. Only savepoint
 * can fail (memory), and then no mark was opened. Outside a write transaction
 * all three do nothing. */
int store_view_savepoint(struct store_view *view, int n, struct err *err);
void store_view_release(struct store_view *view, int n);
void store_view_rollback_to(struct store_view *view, int n);

/* Ends an operation: borrowed pointers die here; spills private copies when
 * they exceed the budget. Cheap otherwise. */
int store_view_operation_end(struct store_view *view, struct err *err);

/* --- files ------------------------------------------------------------------ */

enum store_file_kind {
	STORE_FILE_CATALOG = 0,    /* the catalog itself, in turdb.meta          */
	STORE_FILE_SQLITE = 1,     /* SQLite's own pages                         */
	STORE_FILE_DICTIONARY = 2, /* what turdb tables there are (vtab/)        */
	STORE_FILE_TABLE = 3,
	STORE_FILE_INDEX = 4,
	STORE_FILE_GRAPH = 5,
};

enum { STORE_CATALOG_FILE_ID = 0, STORE_SQLITE_FILE_ID = 1,
       STORE_DICTIONARY_FILE_ID = 2, STORE_FIRST_FREE_FILE_ID = 3,
       STORE_PAGE_SIZE = 16384 };

struct store_file_info {
	uint32_t file_id;
	enum store_file_kind kind;
	uint32_t page_size;
	uint32_t page_count;  /* logical pages ever numbered, free ones included */
	uint32_t free_pages;
	char name[96];        /* "root/5-users.tbd" */
};

/* Makes a file in this transaction. `hint` becomes part of its name, sanitised.
 * `file_id` out; ids are never reused. The dictionary (kind DICTIONARY) always
 * gets its fixed id and is made at most once. */
int store_file_create(struct store_view *view, enum store_file_kind kind,
                      const char *hint, uint32_t page_size, uint32_t *file_id,
                      struct err *err);
/* Gone for this transaction at once; the bytes go when no snapshot and no
 * checkpoint needs them. */
int store_file_drop(struct store_view *view, uint32_t file_id, struct err *err);
/* ERR_MISSING when this view has no such file. */
int store_file_info(struct store_view *view, uint32_t file_id,
                    struct store_file_info *info, struct err *err);
/* Calls `each` for every file of the view, by id; stops on non-zero. */
int store_file_each(struct store_view *view,
                    int (*each)(void *context,
                                const struct store_file_info *info),
                    void *context, struct err *err);

/* The file's pages under this view. The pager belongs to the view and lives as
 * long as it does (asking again gives the same one); when the file does not
 * exist (any more) in the view, its calls give ERR_ABORT. ERR_MISSING when it
 * does not exist now. Editing requires store_view_writing(). */
int store_pager(struct store_view *view, uint32_t file_id,
                struct pager **pager, struct err *err);

/* --- SQLite's own bytes ------------------------------------------------------ */

/* The bytes of sqlite.tbd as one flat file; any offset, any length. Reading past
 * the end gives fewer bytes (*got). fetch lends zero-copy bytes when the range
 * lies inside one page, else *bytes is NULL; they stay valid until the view moves
 * (fetched bytes of an edited page are the edit's). The first bytes are not lent where
 * SQLite's change counter lies apart. */
int store_sqlite_size(struct store_view *view, uint64_t *bytes,
                      struct err *err);
int store_sqlite_read(struct store_view *view, uint64_t offset, void *bytes,
                      size_t size, size_t *got, struct err *err);
/* As read, but what was committed when the write transaction began, whatever it
 * has written since. */
int store_sqlite_read_committed(struct store_view *view, uint64_t offset,
                                void *bytes, size_t size, size_t *got,
                                struct err *err);
int store_sqlite_write(struct store_view *view, uint64_t offset,
                       const void *bytes, size_t size, struct err *err);
int store_sqlite_truncate(struct store_view *view, uint64_t bytes,
                          struct err *err);
int store_sqlite_fetch(struct store_view *view, uint64_t offset, size_t size,
                       const uint8_t **bytes, struct err *err);

/* --- care -------------------------------------------------------------------- */

/* Brings everything committed so far into the data files and drops log that no
 * one needs, after the checkpoint that is under way, if any. *done false when that
 * does not come to its end. */
int store_checkpoint(struct store *store, bool *done, struct err *err);
/* The same, waiting for others no longer than that. */
int store_checkpoint_within(struct store *store, uint64_t wait_us, bool *done,
                            struct err *err);

/* The same a step at a time, which commits, by this process too, may come between:
 * the log's sync, each file's, the superblock, what is dropped. After *begun the
 * steps go on until *over, whatever they return. */
int store_checkpoint_begin(struct store *store, bool *begun, struct err *err);
int store_checkpoint_step(struct store *store, bool *over, struct err *err);

/* Whether a transaction has the writer lock, in whatever process. */
bool store_has_writer(const struct store *store);

/* Gives the blocks of places that are free now back to the file system; *bytes how
 * many. What older snapshots hold follows when they are gone. */
int store_release(struct store *store, uint64_t *bytes, struct err *err);

/* One step of making files shorter: a transaction of its own that moves up to
 * `pages` pages from the ends of files to free places before them; *moved how many,
 * 0 when there is nothing to move or nowhere to go. Places that it leaves are free
 * after the next checkpoint. */
int store_vacuum(struct store *store, uint32_t pages, uint64_t timeout_us,
                 uint32_t *moved, struct err *err);

/* Settings of a running store; 0 leaves a value as it is. */
void store_configure(struct store *store, uint32_t cache_kb,
                     uint32_t checkpoint_mb);
void store_configure_checkpoint_s(struct store *store, uint32_t seconds);

/* What store_check() takes breaths with; NULL: it goes on to its end. */
void store_view_breathe(struct store_view *view, struct breath *breath);

/* Checks what the store itself knows: superblocks, catalog, page tables, every
 * page's checksum, places reachable once or free. level 0: structures; 1: also
 * every page image. Calls `problem` per thing wrong; returns ERR_CORRUPT with
 * the first, or another error when checking itself failed. */
int store_check(struct store_view *view, int level,
                void (*problem)(void *context, const char *sentence),
                void *context, struct err *err);

/* Figures for turdb_status: calls `each` with a name, a value and what it is. */
int store_status(struct store *store,
                 int (*each)(void *context, const char *name, int64_t value,
                             const char *what),
                 void *context, struct err *err);

/* Who holds snapshots: process id, age in ms, txid, whether it is the writer, and
 * the bytes that would be free without this snapshot (-1: a writer was at work). */
int store_readers(struct store *store,
                  int (*each)(void *context, uint32_t pid, uint64_t age_ms,
                              uint64_t txid, bool writer, int64_t held),
                  void *context, struct err *err);

/* As wal_segments(). */
int store_log_segments(struct store *store,
                       int (*each)(void *context, uint32_t segment_no,
                                   uint64_t bytes, uint64_t first_lsn),
                       void *context, struct err *err);

/* Test-only switches for planted bugs (crash exploration must find each); 0 in
 * real use. Bits in base/plant.h. Per environment. */
void store_environment_plant(struct store_environment *environment,
                             uint32_t bugs);

#endif
