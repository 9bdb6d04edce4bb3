/*
 * environment.c - what all connections of a process share, built once.
 *
 * It hangs from the registered VFS, not from a variable of ours: a second load, and
 * a second copy of the library, find it there. Building and finding happen under
 * one of SQLite's static mutexes, so that two threads may load at once.
 *
 * The VFS stays registered across sqlite3_shutdown(), after which a program may give
 * SQLite another allocator. So what is made here comes from malloc().
 *
 * SQLite may have been built or configured without mutexes, for programs of one thread.
 * The library has threads of its own, which work with its heap only; so then that does
 * not come from SQLite's allocator.
 */
#include "ext/ext.h"

#include "vtab/vtab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

static void *allocate(size_t size)
{
	return sqlite3_malloc64(size);
}

/* SQLITE_THREADSAFE=0 leaves no functions behind, SQLITE_CONFIG_SINGLETHREAD gives one
 * mutex to all. */
static bool sqlite_has_mutexes(void)
{
	sqlite3_mutex *one, *other;

	if (!sqlite3_threadsafe())
		return false;
	one = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
	other = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
	sqlite3_mutex_free(one);
	sqlite3_mutex_free(other);
	return one != other;
}

static int connect_all(sqlite3 *db, bool opening, char **message)
{
	struct vfs_environment *environment = vfs_environment_find();
	struct vtab_environment tables = { .process = environment,
	                                   .opening = opening };
	struct connection *connection = NULL;
	int rc = vtab_register(db, &tables, &connection);

	if (!rc)
		rc = ext_functions_register(db, connection);
	if (!rc)
		rc = ext_care_register(db, environment);
	if (!rc)
		rc = ext_reports_register(db, connection);
	if (!rc)
		rc = ext_later_register(db);
	if (connection)
		vtab_connection_release(connection);
	if (rc && message)
		*message = sqlite3_mprintf("register the functions of turdb: %s",
		                           sqlite3_errmsg(db));
	return rc;
}

static int build(struct vfs_environment *environment, struct err *err)
{
	int rc;

	heap_init(environment->heap);
	if (sqlite_has_mutexes()) {
		environment->heap->source_allocate = allocate;
		environment->heap->source_free = sqlite3_free;
	}
	environment->cpu = cpu_level_pick(getenv("TURDB_SIMD"));
	environment->connect = connect_all;
	rc = os_posix_open(environment->heap, &environment->os, err);
	if (rc)
		return rc;
	rc = store_environment_open(environment->os, environment->heap,
	                            &environment->stores, err);
	if (rc)
		goto close_os;
	rc = vtab_process_open(environment, err);
	if (rc)
		goto close_stores;
	rc = vfs_register(environment, err);
	if (rc)
		goto close_tables;
	return ERR_NONE;

close_tables:
	vtab_process_close(environment);
close_stores:
	store_environment_close(environment->stores);
close_os:
	os_posix_close(environment->os);
	return rc;
}

struct environment_and_heap {
	struct vfs_environment environment;
	struct heap heap;
};

static int make(struct vfs_environment **environment, struct err *err)
{
	struct environment_and_heap *made = calloc(1, sizeof *made);
	int rc;

	if (!made)
		return err_set(err, ERR_NOMEM, "load extension", "turdb",
		               "no memory for its environment");
	made->environment.heap = &made->heap;
	rc = build(&made->environment, err);
	if (rc)
		free(made);
	else
		*environment = &made->environment;
	return rc;
}

/* A VFS "turdb" is there: ours, another copy's, or a stranger. */
static int check_identity(const struct vfs_environment *environment,
                          struct err *err)
{
	char identity[sizeof environment->identity];

	snprintf(identity, sizeof identity, "%s (%zu)", vfs_identity(),
	         sizeof *environment);
	if (environment && strcmp(environment->identity, identity) == 0)
		return ERR_NONE;
	return err_set(err, ERR_UNSUPPORTED, "load extension", identity,
	               "this process already has a VFS named turdb, of %s",
	               environment ? environment->identity
	                           : "an unknown library");
}

int ext_environment_get(struct vfs_environment **environment, struct err *err)
{
	sqlite3_mutex *mutex = NULL;
	int rc;

	if (sqlite3_threadsafe()) {
		mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_VFS1);
		sqlite3_mutex_enter(mutex);
	}
	if (sqlite3_vfs_find(VFS_NAME)) {
		*environment = vfs_environment_find();
		rc = check_identity(*environment, err);
	} else {
		rc = make(environment, err);
	}
	if (mutex)
		sqlite3_mutex_leave(mutex);
	return rc;
}
