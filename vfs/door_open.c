/*
 * door_open.c - which paths are ours, and how a database is opened.
 *
 * Only a main database file (of the connection or attached) can be ours:
 *
 *   the path is ...            with ?vfs=turdb             as a plain path
 *   a TurDB directory          opened                      opened
 *   missing                    made (when creating)        passed through
 *   an empty directory         made inside                 an error
 *   another directory          an error                    an error
 *   a file                     passed through              passed through
 *
 * A plain path inherits the VFS of the connection: ATTACH 'x.db' and VACUUM INTO
 * 'x.db' mean ordinary files. Under the VFS "turdb-always" every path counts as if
 * it said ?vfs=turdb. Passing through hands the default VFS's methods into the same
 * sqlite3_file: nothing of ours is in the way afterwards.
 *
 * URI parameters: door_uri.c.
 */
#include "vfs/door.h"

#include <string.h>

static int pass_through(struct vfs_environment *environment, const char *name,
                        sqlite3_file *base, int flags, int *flags_out)
{
	sqlite3_vfs *host = environment->host;

	return host->xOpen(host, name, base, flags, flags_out);
}

static int refuse(struct vfs_environment *environment, const char *name,
                  int code, const char *reason)
{
	struct err err;

	err_set(&err, code, "open database", name, "%s", reason);
	return vfs_report(environment, &err);
}

/* --- what the path is ------------------------------------------------------------ */

enum route { ROUTE_HOST, ROUTE_STORE, ROUTE_ERROR };

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool is_named(sqlite3_vfs *vfs, const char *name)
{
	struct vfs_environment *environment = vfs->pAppData;
	const char *wish = sqlite3_uri_parameter(name, "vfs");

	if (vfs == &environment->vfs_always)
		return true;
	return wish && (strcmp(wish, VFS_NAME) == 0 ||
	                strcmp(wish, VFS_NAME_ALWAYS) == 0);
}

static enum route route_missing(struct vfs_environment *environment,
                                const char *name, bool named, int flags,
                                int *rc)
{
	if (!named)
		return ROUTE_HOST;
	if (flags & SQLITE_OPEN_CREATE)
		return ROUTE_STORE;
	*rc = refuse(environment, name, ERR_CANTOPEN,
	             "there is nothing of that name, and the connection may not create it");
	return ROUTE_ERROR;
}

static enum route route_of(sqlite3_vfs *vfs, const char *name, int flags,
                           int *rc)
{
	struct vfs_environment *environment = vfs->pAppData;
	bool named = is_named(vfs, name);
	enum store_path_kind kind;
	struct err err;

	if (store_path_kind(environment->stores, name, &kind, &err)) {
		if (!named)
			return ROUTE_HOST;
		vfs_report(environment, &err);
		*rc = SQLITE_CANTOPEN;
		return ROUTE_ERROR;
	}
	switch (kind) {
	case STORE_PATH_DATABASE:
		return ROUTE_STORE;
	case STORE_PATH_MISSING:
		return route_missing(environment, name, named, flags, rc);
	case STORE_PATH_EMPTY_DIRECTORY:
		if (named && flags & SQLITE_OPEN_CREATE)
			return ROUTE_STORE;
		*rc = refuse(environment, name, ERR_CANTOPEN, named
		             ? "it is an empty directory, and the connection may not create a database in it"
		             : "it is an empty directory; to make it a database say file:PATH?vfs=turdb");
		return ROUTE_ERROR;
	case STORE_PATH_OTHER_DIRECTORY:
		*rc = refuse(environment, name, ERR_CANTOPEN,
		             "it is a directory with other things in it, not a TurDB database (it has no turdb.meta)");
		return ROUTE_ERROR;
	case STORE_PATH_FILE:
		break;
	}
	if (named && ends_with(name, "/turdb.meta")) {
		*rc = refuse(environment, name, ERR_CANTOPEN,
		             "it is a part of a TurDB database; open the directory it lies in");
		return ROUTE_ERROR;
	}
	return ROUTE_HOST;
}

/* --- opening ---------------------------------------------------------------------- */

static void limit_heap(struct vfs_environment *environment,
                       const struct door_uri *uri)
{
	if (uri->heap_kb)
		atomic_store(&environment->heap->limit,
		             (size_t)uri->heap_kb * 1024);
}

/* What SQLite uses when nobody says PRAGMA synchronous. */
static enum store_durability default_durability(void)
{
	if (sqlite3_compileoption_used("DEFAULT_SYNCHRONOUS=0"))
		return STORE_DURABLE_NEVER;
	if (sqlite3_compileoption_used("DEFAULT_SYNCHRONOUS=1"))
		return STORE_DURABLE_LATER;
	return STORE_DURABLE_NOW;
}

static void fill(struct door_file *file, struct vfs_environment *environment,
                 const char *name, const struct door_uri *uri, int flags)
{
	memset(file, 0, sizeof *file);
	file->environment = environment;
	file->name = name;
	file->journal_name = sqlite3_filename_journal(name);
	file->wal_name = sqlite3_filename_wal(name);
	file->immutable = uri->immutable;
	file->read_only = file->immutable || !(flags & SQLITE_OPEN_READWRITE);
	file->mmap_allowed = uri->mmap;
	file->durability = default_durability();
	file->fresh = true;
	door_cache_init(file);
}

static int open_store(struct door_file *file, const struct door_uri *uri,
                      int flags, struct err *err)
{
	struct store_options options = {
		.create = (flags & SQLITE_OPEN_CREATE) != 0,
		.read_only = file->read_only,
		.immutable = file->immutable,
		.cache_kb = uri->cache_kb,
		.checkpoint_mb = uri->checkpoint_mb,
		.lose_after = uri->lose_after,
	};
	int rc = store_open(file->environment->stores, file->name, &options,
	                    &file->store, err);

	if (!rc && uri->lose_after && store_lost_after(file->store))
		sqlite3_log(SQLITE_NOTICE,
		            "turdb: %s goes on without what was committed after transaction %llu",
		            file->name,
		            (unsigned long long)store_lost_after(file->store));
	return rc;
}

static int open_view(struct door_file *file, struct err *err)
{
	int rc = store_view_open(file->store, &file->view, err);

	/* SQLite takes no locks: one snapshot for good. */
	if (!rc && file->immutable) {
		rc = store_view_begin(file->view, err);
		if (rc)
			store_view_close(file->view);
	}
	return rc;
}

static int enter_names(struct door_file *file, struct err *err)
{
	struct door_names *names = file->environment->names;
	int rc = door_names_add(names, file->journal_name, file, err);

	if (rc)
		return rc;
	rc = door_names_add(names, file->wal_name, file, err);
	if (rc)
		door_names_remove(names, file->journal_name);
	return rc;
}

static int open_database(struct door_file *file, const struct door_uri *uri,
                         int flags, int *flags_out, struct err *err)
{
	struct err ignored;
	int rc = open_store(file, uri, flags, err);

	if (rc)
		return rc;
	rc = open_view(file, err);
	if (rc)
		goto close_store;
	rc = enter_names(file, err);
	if (rc)
		goto close_view;
	/* MEMORY: see use_own_journal() in door_query.c. */
	if (flags_out)
		*flags_out = (flags & ~(SQLITE_OPEN_READWRITE |
		                        SQLITE_OPEN_READONLY)) |
		             SQLITE_OPEN_MEMORY |
		             (file->read_only ? SQLITE_OPEN_READONLY
		                              : SQLITE_OPEN_READWRITE);
	atomic_fetch_add(&file->environment->opens, 1);
	file->base.pMethods = &door_methods;
	return ERR_NONE;

close_view:
	store_view_close(file->view);
close_store:
	store_close(file->store, &ignored);
	return rc;
}

static int open_directory(struct vfs_environment *environment, const char *name,
                          sqlite3_file *base, int flags, int *flags_out)
{
	struct door_file *file = door_file_of(base);
	struct door_uri uri;
	struct err err;
	int rc = door_uri_read(name, &uri, &err);

	if (!rc) {
		limit_heap(environment, &uri);
		fill(file, environment, name, &uri, flags);
		rc = open_database(file, &uri, flags, flags_out, &err);
	}
	if (!rc)
		return SQLITE_OK;
	rc = vfs_report(environment, &err);
	return rc == SQLITE_ERROR || rc == SQLITE_READONLY ? SQLITE_CANTOPEN
	                                                   : rc;
}

int door_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
              int *flags_out)
{
	struct vfs_environment *environment = vfs->pAppData;
	struct door_file *owner;
	int rc = SQLITE_OK;

	base->pMethods = NULL;
	if (name && flags & SQLITE_OPEN_MAIN_JOURNAL) {
		owner = door_names_find(environment->names, name);
		if (owner)
			return door_journal_open(owner, base, flags, flags_out);
	}
	if (!name || !name[0] || !(flags & SQLITE_OPEN_MAIN_DB))
		return pass_through(environment, name, base, flags, flags_out);
	atomic_fetch_add_explicit(&environment->open_calls, 1,
	                          memory_order_relaxed);
	switch (route_of(vfs, name, flags, &rc)) {
	case ROUTE_STORE:
		return open_directory(environment, name, base, flags, flags_out);
	case ROUTE_ERROR:
		return rc;
	case ROUTE_HOST:
		break;
	}
	return pass_through(environment, name, base, flags, flags_out);
}

int door_close(sqlite3_file *base)
{
	struct door_file *file = door_file_of(base);
	struct door_names *names = file->environment->names;
	struct err err;

	door_names_remove(names, file->journal_name);
	door_names_remove(names, file->wal_name);
	store_view_close(file->view);
	if (store_close(file->store, &err))
		vfs_report(file->environment, &err);
	door_journal_close(file);
	sqlite3_free(file->schema);
	base->pMethods = NULL;
	return SQLITE_OK;
}
