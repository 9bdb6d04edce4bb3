/*
 * directory.c - what a path leads to, and the directory of a database with its turdb.meta.
 *
 * Opened, made, or refused with a sentence: network file systems, what is left of a
 * database without its turdb.meta, a turdb.meta that cannot be written. Who gets in
 * then, and what is done first, is in store.c.
 *
 * (D1) Nothing is made in a directory before the name of its turdb.meta is on disk.
 */
#include "vfs/store_private.h"

/* --- what a path is -------------------------------------------------------------- */

static int note_entry(void *context, const char *entry)
{
	(void)entry;
	*(bool *)context = true;
	return 1;
}

int store_path_kind(struct store_environment *environment, const char *path,
                    enum store_path_kind *kind, struct err *err)
{
	const struct os_methods *os = environment->os->methods;
	struct os_identity identity;
	struct os_file *dir;
	bool any = false;
	int rc = os->identify(environment->os, NULL, path, &identity, err);

	if (rc)
		return rc;
	if (identity.kind != OS_NODE_DIRECTORY) {
		*kind = identity.kind == OS_NODE_MISSING ? STORE_PATH_MISSING
		                                         : STORE_PATH_FILE;
		return ERR_NONE;
	}
	rc = os->directory_open(environment->os, path, &dir, err);
	if (rc)
		return rc;
	rc = os->identify(environment->os, dir, "turdb.meta", &identity, err);
	if (!rc && identity.kind == OS_NODE_FILE) {
		*kind = STORE_PATH_DATABASE;
	} else if (!rc) {
		rc = os->directory_list(dir, NULL, note_entry, &any, err);
		if (rc == 1)
			rc = ERR_NONE;
		*kind = any ? STORE_PATH_OTHER_DIRECTORY
		            : STORE_PATH_EMPTY_DIRECTORY;
	}
	os_close(dir);
	return rc;
}

/* --- opening it ------------------------------------------------------------------ */

int store_parent_open(const struct store *store, struct os_file **parent,
                      struct err *err)
{
	const char *slash = strrchr(store->path, '/');
	size_t size = slash ? (size_t)(slash - store->path) : 0;
	char *path = heap_allocate(store->heap, size + 2);
	int rc;

	if (!path)
		return err_set(err, ERR_NOMEM, "open", store->path,
		               "the directory it lies in");
	memcpy(path, store->path, size);
	if (size == 0)
		path[size++] = slash ? '/' : '.';
	path[size] = 0;
	rc = store->os->methods->directory_open(store->os, path, parent, err);
	heap_free(store->heap, path);
	return rc;
}

static int refuse_network(const struct store *store, struct os_file *dir,
                          struct err *err)
{
	if (store->options.immutable ||
	    !store->os->methods->is_network(dir))
		return ERR_NONE;
	return err_set(err, ERR_UNSUPPORTED, "open", store->path,
	               "it is on a network file system, whose locks and maps cannot be relied on; copy it to a local disk, or open it with immutable=1");
}

/* Before a directory is made: one that is refused leaves none behind. */
static int refuse_network_parent(const struct store *store, struct err *err)
{
	struct os_file *parent;
	int rc = store_parent_open(store, &parent, err);

	if (rc)
		return rc;
	rc = refuse_network(store, parent, err);
	os_close(parent);
	return rc;
}

int store_directory_open(struct store *store, struct err *err)
{
	const struct os_methods *os = store->os->methods;
	int rc = os->directory_open(store->os, store->path, &store->dir, err);

	if (rc != ERR_MISSING || !store->options.create)
		return rc;
	rc = refuse_network_parent(store, err);
	if (rc)
		return rc;
	rc = os->directory_make(store->os, NULL, store->path, err);
	if (rc && rc != ERR_EXISTS)
		return rc;
	return os->directory_open(store->os, store->path, &store->dir, err);
}

/* Its name is on disk before any other of ours: a crash must not leave a directory
 * with a part of a database in it that is none. (D1) */
static int sync_name_of_new_meta(struct store *store, struct err *err)
{
	const struct os_methods *os = store->os->methods;
	uint64_t size;
	int rc = os->size(store->meta, &size, err);

	if (rc || size)
		return rc;
	return os->directory_sync(store->dir, NULL, err);
}

/* A database that has lost its turdb.meta is no place for a new one. */
static int refuse_remains(struct store *store, struct err *err)
{
	struct os_identity identity;
	bool nothing = true;
	int rc = store->os->methods->identify(store->os, store->dir,
	                                      "turdb.meta", &identity, err);

	if (rc || identity.kind != OS_NODE_MISSING)
		return rc;
	rc = store_directories_empty(store, &nothing, err);
	if (!rc && !nothing)
		rc = err_set(err, ERR_CORRUPT, "open", store->path,
		             "turdb.meta is missing, though root/ or wal/ hold files of a database: they are nothing without it");
	return rc;
}

int store_missing(struct store *store, int rc, struct err *err)
{
	struct os_identity identity;
	struct err why, ignored;

	if (rc != ERR_MISSING || !err ||
	    store->os->methods->identify(store->os, store->dir, "turdb.meta",
	                                 &identity, &ignored) ||
	    identity.kind != OS_NODE_MISSING)
		return rc;
	why = *err;
	return err_set(err, ERR_IO, "use", store->path,
	               "its files were removed while it was open, and go when all have closed it (%s)",
	               why.text);
}

int store_meta_open(struct store *store, struct err *err)
{
	unsigned flags = store->options.immutable ? OS_OPEN_READ : OS_OPEN_WRITE;
	uint32_t mode = store->options.file_mode ? store->options.file_mode
	                                         : 0644;
	int rc;

	if (store->options.create && !store->options.immutable) {
		flags |= OS_OPEN_CREATE;
		rc = refuse_remains(store, err);
		if (rc)
			return rc;
	}
	rc = refuse_network(store, store->dir, err);
	if (rc)
		return rc;
	rc = os_open(store->dir, "turdb.meta", flags, mode, &store->meta, err);
	if (rc == ERR_MISSING)
		return err_set(err, ERR_CANTOPEN, "open", store->path,
		               "it has no turdb.meta: not a TurDB directory");
	if (rc == ERR_READONLY || rc == ERR_CANTOPEN) {
		struct err why = *err;

		return err_set(err, ERR_CANTOPEN, "open", store->path,
		               "turdb.meta cannot be written (%s); a database that nobody writes opens with immutable=1",
		               why.text);
	}
	if (!rc && flags & OS_OPEN_CREATE)
		rc = sync_name_of_new_meta(store, err);
	return rc;
}
