/*
 * door_register.c - the VFS objects "turdb" and "turdb-always".
 *
 * Both stand over the VFS that was the default one when the library was loaded.
 * Only opening, and the names of journals that directory databases do not have,
 * are ours; everything else is handed on.
 */
#include "vfs/door.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"

static sqlite3_vfs *host_of(sqlite3_vfs *vfs)
{
	return ((struct vfs_environment *)vfs->pAppData)->host;
}

static bool is_ours(sqlite3_vfs *vfs, const char *name)
{
	struct vfs_environment *environment = vfs->pAppData;

	return door_names_known(environment->names, name);
}

static int door_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	if (is_ours(vfs, name))
		return SQLITE_OK;
	return host_of(vfs)->xDelete(host_of(vfs), name, sync);
}

static int door_access(sqlite3_vfs *vfs, const char *name, int flags, int *answer)
{
	if (is_ours(vfs, name)) { /* (vfs/door_journal J2) */
		*answer = 0;
		return SQLITE_OK;
	}
	return host_of(vfs)->xAccess(host_of(vfs), name, flags, answer);
}

static int door_full_path(sqlite3_vfs *vfs, const char *name, int size,
                          char *full)
{
	struct vfs_environment *environment = vfs->pAppData;
	int rc = environment->host->xFullPathname(environment->host, name, size,
	                                          full);
	struct os_identity identity;
	struct err err, reason;

	if ((rc & 0xff) == SQLITE_OK)
		return rc;
	if (strlen(name) > 100 || /* which would leave no room to say why */
	    !environment->os->methods->identify(environment->os, NULL, name,
	                                        &identity, &reason))
		reason.text[0] = 0;
	err_set(&err, ERR_CANTOPEN, "open database", name,
	        "the path cannot be followed%s%.150s%s: a directory in it may not be entered, it leads through too many links, "
	        "a part of it is longer than the file system allows, or it is longer than %d bytes",
	        reason.text[0] ? " (" : "", reason.text,
	        reason.text[0] ? ")" : "", size - 1);
	vfs_report(environment, &err);
	return rc;
}

static void *door_library_open(sqlite3_vfs *vfs, const char *name)
{
	return host_of(vfs)->xDlOpen(host_of(vfs), name);
}

static void door_library_error(sqlite3_vfs *vfs, int size, char *text)
{
	host_of(vfs)->xDlError(host_of(vfs), size, text);
}

static void (*door_library_symbol(sqlite3_vfs *vfs, void *library,
                                  const char *symbol))(void)
{
	return host_of(vfs)->xDlSym(host_of(vfs), library, symbol);
}

static void door_library_close(sqlite3_vfs *vfs, void *library)
{
	host_of(vfs)->xDlClose(host_of(vfs), library);
}

static int door_randomness(sqlite3_vfs *vfs, int size, char *bytes)
{
	return host_of(vfs)->xRandomness(host_of(vfs), size, bytes);
}

static bool is_quiet(struct vfs_environment *environment)
{
	size_t room = sizeof environment->quiet / sizeof environment->quiet[0];

	if (atomic_load_explicit(&environment->quiet_count,
	                         memory_order_relaxed) == 0)
		return false;
	for (size_t i = 0; i < room; i++)
		if (atomic_load(&environment->quiet[i]) ==
		    (uintptr_t)pthread_self())
			return true;
	return false;
}

/* A busy handler that is called for a time already waited: see door_lock.c. */
static int door_sleep(sqlite3_vfs *vfs, int microseconds)
{
	if (is_quiet(vfs->pAppData))
		return microseconds;
	return host_of(vfs)->xSleep(host_of(vfs), microseconds);
}

static int door_time(sqlite3_vfs *vfs, double *days)
{
	return host_of(vfs)->xCurrentTime(host_of(vfs), days);
}

static int door_last_error(sqlite3_vfs *vfs, int size, char *text)
{
	return host_of(vfs)->xGetLastError
	     ? host_of(vfs)->xGetLastError(host_of(vfs), size, text) : 0;
}

static int door_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ms)
{
	return host_of(vfs)->xCurrentTimeInt64(host_of(vfs), ms);
}

static void fill(struct vfs_environment *environment, sqlite3_vfs *vfs,
                 const char *name)
{
	sqlite3_vfs *host = environment->host;
	int size = (int)sizeof(struct door_file);

	*vfs = (sqlite3_vfs){
		.iVersion = host->iVersion >= 2 ? 2 : 1,
		.szOsFile = host->szOsFile > size ? host->szOsFile : size,
		.mxPathname = host->mxPathname,
		.zName = name,
		.pAppData = environment,
		.xOpen = door_open,
		.xDelete = door_delete,
		.xAccess = door_access,
		.xFullPathname = door_full_path,
		.xDlOpen = door_library_open,
		.xDlError = door_library_error,
		.xDlSym = door_library_symbol,
		.xDlClose = door_library_close,
		.xRandomness = door_randomness,
		.xSleep = door_sleep,
		.xCurrentTime = door_time,
		.xGetLastError = door_last_error,
		.xCurrentTimeInt64 = door_time_ms,
	};
}

const char *vfs_identity(void)
{
	return "turdb " TURDB_VERSION;
}

int vfs_register(struct vfs_environment *environment, struct err *err)
{
	int rc;

	environment->host = sqlite3_vfs_find(NULL);
	if (!environment->host)
		return err_set(err, ERR_UNSUPPORTED, "register the VFS",
		               VFS_NAME, "SQLite has no default VFS to stand on");
	rc = door_names_open(environment->heap, &environment->names, err);
	if (rc)
		return rc;
	lock_init(&environment->report_lock, LOCK_REPORT);
	snprintf(environment->identity, sizeof environment->identity,
	         "%s (%zu)", vfs_identity(), sizeof *environment);
	fill(environment, &environment->vfs, VFS_NAME);
	fill(environment, &environment->vfs_always, VFS_NAME_ALWAYS);
	if (sqlite3_vfs_register(&environment->vfs, 0) ||
	    sqlite3_vfs_register(&environment->vfs_always, 0))
		return err_set(err, ERR_NOMEM, "register the VFS", VFS_NAME,
		               "SQLite refused it");
	return ERR_NONE;
}

struct vfs_environment *vfs_environment_find(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(VFS_NAME);
	struct vfs_environment *environment = vfs ? vfs->pAppData : NULL;

	/* Somebody else's VFS of that name does not lie inside its own data. */
	if (!environment || vfs != &environment->vfs)
		return NULL;
	return environment;
}
