/*
 * fixture_bytes.c - the bytes of a directory database, for tests that look at them.
 *
 * Many of SQLite's tests read or damage single bytes of a database file. In a
 * directory those are the bytes that SQLite has written through the VFS, and these
 * Tcl commands reach them the same way, in a read or write transaction of the VFS
 * without SQLite:
 *
 *	turdb_size PATH                 how large SQLite's file is
 *	turdb_read PATH OFFSET COUNT    bytes of it
 *	turdb_write PATH OFFSET BYTES   changes them
 *	turdb_cut PATH SIZE             xTruncate
 *
 * A slave interpreter gets them by [load {} Turdbbytes]; see tester_tail.tcl.
 */
#include <stdlib.h>
#include <string.h>

#include <tcl.h>

#include "sqlite3.h"

int Turdbbytes_Init(Tcl_Interp *interp);

struct handle {
	sqlite3_file *file;
	char *path;
	sqlite3_filename name;
};

static int complain(Tcl_Interp *interp, const char *what, int rc)
{
	Tcl_SetObjResult(interp, Tcl_ObjPrintf("%s: %s", what,
	                                       sqlite3_errstr(rc)));
	return TCL_ERROR;
}

static void handle_close(struct handle *handle)
{
	if (handle->file && handle->file->pMethods) {
		handle->file->pMethods->xUnlock(handle->file,
		                                SQLITE_LOCK_NONE);
		handle->file->pMethods->xClose(handle->file);
	}
	sqlite3_free_filename(handle->name);
	free(handle->file);
	free(handle->path);
}

/* Opens with a lock: SHARED to read, EXCLUSIVE to write. */
static int handle_open(struct handle *handle, const char *path, int level)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find("turdb");
	int rc, ignored;

	memset(handle, 0, sizeof *handle);
	if (!vfs)
		return SQLITE_NOTFOUND;
	handle->path = calloc(1, (size_t)vfs->mxPathname + 1);
	handle->file = calloc(1, (size_t)vfs->szOsFile);
	vfs->xFullPathname(vfs, path, vfs->mxPathname, handle->path);
	handle->name = sqlite3_create_filename(handle->path, "", "", 0, NULL);
	rc = vfs->xOpen(vfs, handle->name, handle->file,
	                SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE, &ignored);
	if (!rc)
		rc = handle->file->pMethods->xLock(handle->file,
		                                   SQLITE_LOCK_SHARED);
	if (!rc && level > SQLITE_LOCK_SHARED)
		rc = handle->file->pMethods->xLock(handle->file,
		                                   SQLITE_LOCK_RESERVED);
	if (!rc && level > SQLITE_LOCK_SHARED)
		rc = handle->file->pMethods->xLock(handle->file, level);
	if (rc)
		handle_close(handle);
	return rc;
}

static int commit(struct handle *handle)
{
	return handle->file->pMethods->xFileControl(
		handle->file, SQLITE_FCNTL_COMMIT_PHASETWO, NULL);
}

static int size_command(void *unused, Tcl_Interp *interp, int count,
                        Tcl_Obj *const words[])
{
	struct handle handle;
	sqlite3_int64 size = 0;
	int rc;

	(void)unused;
	if (count != 2) {
		Tcl_WrongNumArgs(interp, 1, words, "PATH");
		return TCL_ERROR;
	}
	rc = handle_open(&handle, Tcl_GetString(words[1]), SQLITE_LOCK_SHARED);
	if (rc)
		return complain(interp, "open", rc);
	rc = handle.file->pMethods->xFileSize(handle.file, &size);
	handle_close(&handle);
	if (rc)
		return complain(interp, "size", rc);
	Tcl_SetObjResult(interp, Tcl_NewWideIntObj(size));
	return TCL_OK;
}

static int read_command(void *unused, Tcl_Interp *interp, int count,
                        Tcl_Obj *const words[])
{
	struct handle handle;
	Tcl_WideInt offset;
	int size, rc;
	void *bytes;

	(void)unused;
	if (count != 4 ||
	    Tcl_GetWideIntFromObj(interp, words[2], &offset) ||
	    Tcl_GetIntFromObj(interp, words[3], &size)) {
		Tcl_WrongNumArgs(interp, 1, words, "PATH OFFSET COUNT");
		return TCL_ERROR;
	}
	rc = handle_open(&handle, Tcl_GetString(words[1]), SQLITE_LOCK_SHARED);
	if (rc)
		return complain(interp, "open", rc);
	bytes = calloc(1, (size_t)size + 1);
	rc = handle.file->pMethods->xRead(handle.file, bytes, size, offset);
	handle_close(&handle);
	if (!rc || rc == SQLITE_IOERR_SHORT_READ) {
		Tcl_SetObjResult(interp, Tcl_NewByteArrayObj(bytes, size));
		rc = SQLITE_OK;
	}
	free(bytes);
	return rc ? complain(interp, "read", rc) : TCL_OK;
}

static int write_command(void *unused, Tcl_Interp *interp, int count,
                         Tcl_Obj *const words[])
{
	const unsigned char *bytes;
	struct handle handle;
	Tcl_WideInt offset;
	int size, rc;

	(void)unused;
	if (count != 4 || Tcl_GetWideIntFromObj(interp, words[2], &offset)) {
		Tcl_WrongNumArgs(interp, 1, words, "PATH OFFSET BYTES");
		return TCL_ERROR;
	}
	bytes = Tcl_GetByteArrayFromObj(words[3], &size);
	rc = handle_open(&handle, Tcl_GetString(words[1]),
	                 SQLITE_LOCK_EXCLUSIVE);
	if (rc)
		return complain(interp, "open", rc);
	rc = handle.file->pMethods->xWrite(handle.file, bytes, size, offset);
	if (!rc)
		rc = commit(&handle);
	handle_close(&handle);
	return rc ? complain(interp, "write", rc) : TCL_OK;
}

static int cut_command(void *unused, Tcl_Interp *interp, int count,
                       Tcl_Obj *const words[])
{
	struct handle handle;
	Tcl_WideInt size;
	int rc;

	(void)unused;
	if (count != 3 || Tcl_GetWideIntFromObj(interp, words[2], &size)) {
		Tcl_WrongNumArgs(interp, 1, words, "PATH SIZE");
		return TCL_ERROR;
	}
	rc = handle_open(&handle, Tcl_GetString(words[1]),
	                 SQLITE_LOCK_EXCLUSIVE);
	if (rc)
		return complain(interp, "open", rc);
	rc = handle.file->pMethods->xTruncate(handle.file, size);
	if (!rc)
		rc = commit(&handle);
	handle_close(&handle);
	return rc ? complain(interp, "cut", rc) : TCL_OK;
}

int Turdbbytes_Init(Tcl_Interp *interp)
{
	Tcl_CreateObjCommand(interp, "turdb_size", size_command, NULL, NULL);
	Tcl_CreateObjCommand(interp, "turdb_read", read_command, NULL, NULL);
	Tcl_CreateObjCommand(interp, "turdb_write", write_command, NULL, NULL);
	Tcl_CreateObjCommand(interp, "turdb_cut", cut_command, NULL, NULL);
	return TCL_OK;
}
