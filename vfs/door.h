/*
 * door.h - what the files of the door share. Private to vfs/.
 *
 * A database opened through the VFS is a door_file: the sqlite3_file that SQLite
 * holds, with the store's view behind it. SQLite's lock levels move the view:
 *
 *   NONE       no snapshot
 *   SHARED     a snapshot (store_view_begin)
 *   RESERVED   the writer (store_view_write); PENDING and EXCLUSIVE add nothing
 *
 * (D1) The view reads while level >= SHARED; it writes while level >= RESERVED
 *      until the commit is done. `early`: at SHARED it claims the writer lock, for a
 *      RESERVED that follows at once.
 * (D2) xUnlock never fails, and xLock(SHARED) is never SQLITE_BUSY.
 * (D3) While `nested` counts, a statement of ours runs on the connection from
 *      inside a call; FCNTL_PRAGMA then lets SQLite answer.
 * (D4) A statement that runs inside xLock(SHARED) and needs the schema of this very
 *      database would lock it again in the middle of being locked: the inner xLock
 *      fails, the inner xUnlock does nothing, and the statement has failed.
 */
#ifndef TURDB_VFS_DOOR_H
#define TURDB_VFS_DOOR_H

#include "vfs/vfs.h"

SQLITE_EXTENSION_INIT3

/* Private file controls, answered by door_file only. */
enum {
	DOOR_FCNTL_QUERY = 0x54555246,   /* struct door_query *  */
	DOOR_FCNTL_PREPARE = 0x54555247, /* NULL                 */
};

enum {
	/* Where PRAGMA mmap_size starts: SQLite's own usual maximum. What is
	 * mapped does not depend on it, only whether SQLite asks for maps. */
	DOOR_MMAP_SIZE = 0x7fff0000,
	DOOR_WRITE_TOUCHES = 64,   /* what a written page counts in door_cache */
	DOOR_CONTENDED = 1000,     /* write locks for which contention is remembered */
	DOOR_EARLY_WAIT_US = 10000,
	DOOR_BRIEF_WAIT_US = 1000, /* before the busy timeout is asked for again */
	DOOR_NEW_RESERVED = 16,    /* bytes that SQLite leaves free in a page   */
};

/* The rollback journal that SQLite keeps for one database. SQLite writes each
 * page's old content there; the store has that content anyway, so only page
 * numbers and checksums are kept (door_journal.c). Survives its sqlite3_file. */
struct door_journal {
	uint8_t head[28];
	uint64_t size;          /* as SQLite sees it */
	uint32_t sector_size, page_size;
	struct door_journal_entry {
		uint8_t page_no[4], checksum[4];
	} *entries;
	size_t count, room;
	bool used;              /* opened since RESERVED */
};

/* See door_cache.c. */
struct door_cache {
	bool borrows;           /* SQLite asks by xFetch                       */
	bool choosing;          /* our own PRAGMA is running                   */
	bool told;              /* the user has chosen                         */
	unsigned failures;
	int64_t limit;          /* of maps, as SQLite said last                */
	uint32_t page_size;     /* SQLite's, once seen                         */
	int64_t size;           /* PRAGMA cache_size, or unknown               */
	uint64_t count, due;    /* pages borrowed or copied; when to look again */
};

struct door_file {
	sqlite3_file base;
	struct vfs_environment *environment;
	struct store *store;
	struct store_view *view;
	const char *name;          /* SQLite's: the path, then URI parameters   */
	const char *journal_name, *wal_name;
	sqlite3 *db;               /* from FCNTL_PDB                            */
	sqlite3 **db_now;          /* differs from db under shared cache        */
	void **busy_handler;       /* from FCNTL_BUSYHANDLER                    */
	char *schema;              /* under which name, once known              */
	unsigned settle_tries;     /* left before giving up, see door_settle()  */
	enum store_durability durability;
	int level;                 /* SQLITE_LOCK_...                           */
	bool read_only, immutable, mmap_allowed;
	bool attached;             /* not the connection's main database        */
	bool main_foreign;         /* attached to a main database not ours      */
	bool prepared;             /* the pager has what door_pager_prepare() sets */
	bool own_journal;          /* journal_mode was set from MEMORY to DELETE */
	bool fresh;                /* maybe without a page yet                  */
	bool page_size_chosen;     /* by a PRAGMA                               */
	bool early;                /* (D1)                                      */
	bool read_durable;         /* PRAGMA turdb_read=durable                 */
	bool locking;              /* inside xLock(SHARED): see (D4)            */
	unsigned nested;           /* (D3)                                      */
	unsigned opens_seen;       /* of environment->open_calls, see door_copy.c */
	unsigned contended;        /* write locks to go as if contended         */
	int64_t busy_timeout_ms;   /* when it was asked for last                */
	int64_t mmap_limit;        /* PRAGMA mmap_size                          */
	struct door_cache cache;
	struct door_journal journal;
};

static inline struct door_file *door_file_of(sqlite3_file *file)
{
	return (struct door_file *)(void *)file;
}

/* door_uri.c */
struct door_uri {
	uint32_t cache_kb, checkpoint_mb, heap_kb; /* 0: not said */
	uint64_t lose_after;                       /* store_options has it */
	bool immutable, mmap;
};
/* ERR_CANTOPEN: a parameter of ours that cannot be meant, or something of SQLite's
 * that a directory does not offer. */
int door_uri_read(const char *name, struct door_uri *uri, struct err *err);

/* door_open.c */
int door_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
              int *flags_out);
int door_close(sqlite3_file *base);

/* door_file.c */
extern const sqlite3_io_methods door_methods;

/* door_lock.c */
int door_lock(sqlite3_file *base, int level);
int door_unlock(sqlite3_file *base, int level);
int door_reserved_lock_check(sqlite3_file *base, int *reserved);
/* SQLite did something else than go on to RESERVED: the early claim ends. */
void door_early_end(struct door_file *file);

/* door_control.c, door_pragma.c */
int door_control(sqlite3_file *base, int operation, void *argument);
int door_pragma(struct door_file *file, char **arguments);

/* door_query.c: statements of our own on the user's connection */
struct door_query {
	const char *sql;
	int64_t number;   /* first column of the first row */
	char text[32];
};
/* Runs it and lets SQLite, not us, answer what it asks this file. */
int door_query_run(struct door_file *file, struct door_query *query);
/* Learns at the first SHARED what the file is to its connection. */
void door_settle(struct door_file *file);
/* An attached database with a main one that is not ours: what unqualified PRAGMAs
 * did to our pager is undone, or refused with a sentence. */
int door_modes_check(struct door_file *file, struct err *err);
/* The busy timeout in ms; 0 when there is none or it cannot be asked. */
int64_t door_busy_timeout(struct door_file *file);
bool door_has_busy_statement(sqlite3 *db);
/* Gives a database without a page yet the page size of the store. */
void door_page_size_choose(struct door_file *file);
/* Tries to give the pager our rollback journal and zero-copy reads. */
void door_pager_prepare(struct door_file *file);

/* door_copy.c */
bool door_vacuum_into_runs(sqlite3 *db);
/* Under a new snapshot, after something was opened: warns of a VACUUM INTO that
 * leaves turdb tables behind. */
void door_copy_look(struct door_file *file);
/* As the writer: refuses to be written over by a backup. */
int door_copy_refuse(struct door_file *file);

/* Lets SQLite ask for maps, or no longer. */
int door_map_size_set(struct door_file *file, bool maps);

/* door_cache.c: whether SQLite borrows pages or copies them */
void door_cache_init(struct door_file *file);
void door_cache_choose(struct door_file *file);
void door_cache_size_set(struct door_file *file, const char *size);
int64_t door_cache_limit(struct door_file *file, int64_t limit);

/* door_journal.c */
int door_journal_open(struct door_file *owner, sqlite3_file *base,
                      int flags, int *flags_out);
void door_journal_close(struct door_file *owner);

/* door_names.c: from a name's address to the open database it belongs to. */
int door_names_open(struct heap *heap, struct door_names **names,
                    struct err *err);
int door_names_add(struct door_names *names, const char *name,
                   struct door_file *file, struct err *err);
void door_names_remove(struct door_names *names, const char *name);
struct door_file *door_names_find(struct door_names *names, const char *name);
/* By address or, failing that, by text. */
bool door_names_known(struct door_names *names, const char *name);

#endif
