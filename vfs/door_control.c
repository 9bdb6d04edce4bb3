/*
 * door_control.c - file controls: the commit point, and what SQLite asks or tells.
 */
#include "vfs/door.h"

#include <string.h>

/* SQLite honours only these codes here; a BUSY would leave the transaction open
 * with its pages gone, and a second COMMIT would "succeed". */
static int commit_result(const struct err *err)
{
	switch (err->code) {
	case ERR_FULL:
		return SQLITE_FULL;
	case ERR_NOMEM:
		return SQLITE_IOERR_NOMEM;
	case ERR_CORRUPT:
		return SQLITE_IOERR_CORRUPTFS;
	case ERR_POISONED:
	case ERR_OUTCOME:
		return SQLITE_IOERR_FSYNC;
	default:
		return SQLITE_IOERR_WRITE;
	}
}

/* SQLite's pages and the virtual tables' become one commit of the store. */
static int commit(struct door_file *file)
{
	struct err err;

	if (!store_view_writing(file->view))
		return SQLITE_OK;
	if (store_view_commit(file->view, file->durability, &err) == ERR_NONE)
		return SQLITE_OK;
	vfs_report(file->environment, &err);
	return commit_result(&err);
}

static int give_view(struct door_file *file, struct store_view **view)
{
	if (file->early)
		door_early_end(file);
	*view = file->view;
	return SQLITE_OK;
}

int door_control(sqlite3_file *base, int operation, void *argument)
{
	struct door_file *file = door_file_of(base);

	switch (operation) {
	case SQLITE_FCNTL_COMMIT_PHASETWO:
		return commit(file);
	case VFS_FCNTL_VIEW:
		return give_view(file, argument);
	case VFS_FCNTL_STORE:
		*(struct store **)argument = file->store;
		return SQLITE_OK;
	case DOOR_FCNTL_QUERY:
		return door_query_run(file, argument);
	case DOOR_FCNTL_PREPARE:
		if (file->db && *file->db_now == file->db)
			door_pager_prepare(file);
		return SQLITE_OK;
	case SQLITE_FCNTL_PRAGMA:
		return door_pragma(file, argument);
	case SQLITE_FCNTL_PDB:
		if (!file->db) { /* the first; shared cache tells again */
			file->db_now = argument;
			file->db = *file->db_now;
		}
		return SQLITE_OK;
	case SQLITE_FCNTL_BUSYHANDLER:
		file->busy_handler = argument;
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE:
		*(int64_t *)argument =
			door_cache_limit(file, *(int64_t *)argument);
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME:
		*(char **)argument = sqlite3_mprintf("%s", VFS_NAME);
		return SQLITE_OK;
	case SQLITE_FCNTL_HAS_MOVED:
		*(int *)argument = 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_LOCKSTATE:
		*(int *)argument = file->level;
		return SQLITE_OK;
	case SQLITE_FCNTL_LAST_ERRNO:
		*(int *)argument = 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_SYNC:
	case SQLITE_FCNTL_SIZE_HINT:
	case SQLITE_FCNTL_CHUNK_SIZE: /* the store grows its files itself */
		return SQLITE_OK;
	case SQLITE_FCNTL_PERSIST_WAL: /* fixed: a log that stays is ours */
	case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
		*(int *)argument = 1;
		return SQLITE_OK;
	default:
		return SQLITE_NOTFOUND;
	}
}
