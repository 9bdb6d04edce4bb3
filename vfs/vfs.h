/*
 * vfs.h - the door: how SQLite enters the store.
 *
 * The VFS "turdb" opens directories as databases: SQLite's own pages live in
 * root/sqlite.tbd, a read transaction of SQLite is a snapshot of the store, its
 * commit (SQLITE_FCNTL_COMMIT_PHASETWO) is the store's. Every other path (an
 * ordinary database, its journals, temporary files) is handed to the VFS that
 * was the default one, file methods and all.
 *
 * One environment serves a process. It is made by ext/ when the extension is
 * loaded, hangs from the registered VFS (pAppData) and is never taken down:
 * connections of any library may still use the VFS.
 *
 * This header and the door's files are the only ones in vfs/ that see SQLite.
 * Who includes it writes SQLITE_EXTENSION_INIT3 behind it (one file of ext/:
 * SQLITE_EXTENSION_INIT1).
 */
#ifndef TURDB_VFS_VFS_H
#define TURDB_VFS_VFS_H

#include <sqlite3ext.h>

#include "base/breath.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/lock.h"
#include "base/os.h"
#include "vfs/store.h"

#define VFS_NAME "turdb"
/* The same VFS for programs that can name a VFS but write no URI: here every path
 * that does not exist becomes a directory database. "turdb" asks for
 * file:PATH?vfs=turdb, because plain paths (ATTACH 'x.db', VACUUM INTO 'x.db')
 * inherit the connection's VFS and mean ordinary files. */
#define VFS_NAME_ALWAYS "turdb-always"

/*
 * sqlite3_file_control(db, schema, VFS_FCNTL_VIEW, &view) gives the view of that
 * connection on that schema's database (struct store_view *), the one that
 * SQLite's own locks move: it reads while SQLite holds SHARED, writes from
 * RESERVED on and is committed by SQLite's commit. It lives as long as the
 * schema stays attached. SQLITE_NOTFOUND: the schema is not a turdb directory.
 */
#define VFS_FCNTL_VIEW 0x54555244
/* The same for the database directory itself (struct store *). */
#define VFS_FCNTL_STORE 0x54555245

struct door_names;
struct vtab_process;

/* What all connections of a process share. The caller of vfs_register() fills
 * the first part. */
struct vfs_environment {
	char identity[64];   /* vfs_identity() of the library that made it     */
	struct os *os;
	struct heap *heap;
	struct store_environment *stores;
	enum cpu_level cpu;  /* whose kernels are used everywhere              */
	/* Gives a connection the functions and modules of this library; `opening`
	 * when it is just being opened. */
	int (*connect)(sqlite3 *db, bool opening, char **message);
	struct vtab_process *tables; /* kept for vtab/ */

	/* vfs/ fills the rest. */
	sqlite3_vfs vfs;     /* registered as "turdb"                          */
	sqlite3_vfs vfs_always; /* registered as "turdb-always"                */
	sqlite3_vfs *host;   /* the VFS that ordinary files pass through to    */
	struct door_names *names; /* the journal names of open databases       */
	_Atomic uintptr_t quiet[16]; /* threads whose busy handler must not sleep */
	_Atomic uint32_t quiet_count;
	struct lock report_lock;
	char report[ERR_TEXT_SIZE];  /* under report_lock: vfs_report()        */
	_Atomic uint64_t opens;      /* databases opened through the door      */
	_Atomic uint32_t open_calls; /* files asked for as databases, ours or not */
};

/* Registers the VFS over the default one; `environment` stays for ever. */
int vfs_register(struct vfs_environment *environment, struct err *err);

/* The environment behind the registered VFS "turdb", whichever copy of the
 * library made it; NULL when there is none or it is somebody else's. */
struct vfs_environment *vfs_environment_find(void);

/* To be called on each new connection: gives its main database, when it is ours,
 * zero-copy reads and a rollback journal that needs no memory. (Attached ones
 * look after themselves.) Cheap and harmless elsewhere. */
void vfs_connection_prepare(sqlite3 *db);

/* For how many milliseconds the connection waits for others. Not from inside its busy
 * handler: to ask sets SQLite's count of its calls to zero. */
int64_t vfs_busy_timeout(sqlite3 *db);

/* What long work on a connection takes breaths with: sqlite3_interrupt() and its
 * progress handler come through. After an operation that used it, vfs_breath_end():
 * the statement that it may hold keeps the connection from closing. */
struct vfs_breath {
	struct breath base; /* first: taken as one */
	sqlite3 *db;
	struct os *os;
	sqlite3_stmt *statement;
	uint64_t due_us;
};

void vfs_breath_init(struct vfs_breath *breath, sqlite3 *db, struct os *os);
void vfs_breath_end(struct vfs_breath *breath);

/* Name, version and build of this library, for `identity`: what two copies in
 * one process must share to use one environment. */
const char *vfs_identity(void);

/* The SQLite result code for a failure: the one table that maps them. Extended
 * codes where SQLite has them. */
int vfs_result(int err_code);

/* A function's answer is the error: its sentence and its result code. */
void vfs_result_error(sqlite3_context *context, const struct err *err);

/* Keeps the sentence for turdb_last_error() and logs it through sqlite3_log();
 * returns vfs_result(err->code). Any thread. */
int vfs_report(struct vfs_environment *environment, const struct err *err);

/* Copies the sentence last reported in this process; empty when none was. */
void vfs_report_last(struct vfs_environment *environment,
                     char text[ERR_TEXT_SIZE]);

#endif
