/*
 * store.c - opening and closing a database directory.
 *
 * (O1) The first process in holds LOCK_OPEN_AT exclusively while it recovers and
 *      fills the shared memory, then keeps it shared. Who gets the shared lock and
 *      finds the memory not marked as built starts over.
 * (O2) The last one out gets the lock exclusively: it clears the mark and
 *      checkpoints. A process that dies leaves the mark, but its lock is gone with
 *      it: the next one in gets the exclusive lock and rebuilds. Who has the lock
 *      exclusively clears the mark before all else: when it dies, somebody may have
 *      missed that lock and get the shared one next.
 *
 * What a directory is, and its turdb.meta: directory.c.
 */
#include "vfs/store_private.h"

#include <stdio.h>

int store_environment_open(struct os *os, struct heap *heap,
                           struct store_environment **environment,
                           struct err *err)
{
	struct store_environment *made = heap_lasting(heap, sizeof *made);

	if (!made)
		return err_set(err, ERR_NOMEM, "start", "store", "no memory");
	made->os = os;
	made->heap = heap;
	lock_init(&made->lock, LOCK_ENVIRONMENT);
	*environment = made;
	return ERR_NONE;
}

void store_environment_close(struct store_environment *environment)
{
	if (!environment)
		return;
	lock_close(&environment->lock);
	heap_free(environment->heap, environment);
}

void store_environment_plant(struct store_environment *environment,
                             uint32_t bugs)
{
	environment->plants = bugs;
}

const char *store_path(const struct store *store)
{
	return store->path;
}

uint64_t store_lost_after(const struct store *store)
{
	return store->lost_after;
}

void store_configure(struct store *store, uint32_t cache_kb,
                     uint32_t checkpoint_mb)
{
	if (cache_kb)
		atomic_store(&store->cache_kb, cache_kb);
	if (checkpoint_mb)
		atomic_store(&store->checkpoint_mb, checkpoint_mb);
}

void store_configure_checkpoint_s(struct store *store, uint32_t seconds)
{
	if (seconds)
		atomic_store(&store->checkpoint_s, seconds);
}

/* --- opening --------------------------------------------------------------------- */

static int open_catalog(struct store *store, struct err *err)
{
	struct page_file_identity identity = {
		.file_id = STORE_CATALOG_FILE_ID,
		.kind = STORE_FILE_CATALOG,
		.page_size = PLACE_SIZE,
		.name = "turdb.meta",
		.header = false,
	};

	return page_file_open(store->dir, store->heap, &identity,
	                      !store->options.immutable, &store->catalog_file,
	                      err);
}

/* The database's identity is needed before anything else is opened. */
static int read_identity(struct store *store, struct err *err)
{
	struct superblock super;
	bool fresh;
	int rc = store_superblock_read(store, &super, &fresh, err);

	if (rc || fresh)
		return rc;
	store->database[0] = super.database[0];
	store->database[1] = super.database[1];
	store->segment_size = super.segment_size;
	return ERR_NONE;
}

static int open_log(struct store *store, struct err *err)
{
	struct wal_options options = {
		.segment_size = store->segment_size,
		.database = store->database[0],
		.process = store->process,
		.process_lives = store_process_index_lives,
		.context = store,
		.plants = store->environment->plants,
	};
	struct os_identity identity;
	int rc = store->os->methods->identify(store->os, store->dir, "wal",
	                                      &identity, err);

	if (!rc && identity.kind == OS_NODE_MISSING) {
		store->advised = true;
		rc = err_set(err, ERR_CORRUPT, "open", store->path,
		             "its directory wal is missing; put it back, or make an empty one: the next opening then says what is lost without it");
	}
	if (!rc)
		rc = store->os->methods->identity(store->meta, &identity, err);
	if (rc)
		return rc;
	options.mode = identity.mode;
	return wal_open(store->dir, store->heap, &store->shm.head->wal, &options,
	                &store->wal, err);
}

/* Alone: makes or recovers the database and marks the shared memory as built. */
static int enter_first(struct store *store, struct err *err)
{
	_Atomic uint32_t *poisoned = &store->shm.head->poisoned;
	struct superblock super;
	bool fresh, suspect;
	int rc;

	atomic_store(&store->shm.head->built, 0); /* (O2) */
	suspect = atomic_exchange(poisoned, 1) != 0;
	rc = store_superblock_read(store, &super, &fresh, err);
	if (!rc && fresh && !store->options.create)
		rc = err_set(err, ERR_CANTOPEN, "open", store->path,
		             "turdb.meta is empty: the database was never completely made; open it with leave to create, or remove it");
	if (!rc && fresh)
		rc = store_create_files(store, err);
	if (!rc && !fresh)
		rc = read_identity(store, err);
	if (!rc)
		store_shm_clear(store);
	if (!rc)
		rc = store_process_register(store, err);
	if (!rc)
		rc = open_log(store, err);
	if (!rc)
		rc = store_recover(store, suspect, err);
	if (rc)
		return rc;
	store_reserve_look(store);
	atomic_store(poisoned, 0);
	atomic_store(&store->shm.head->built, SHM_BUILT);
	return ERR_NONE;
}

static int enter_next(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	int rc = read_identity(store, err);

	if (!rc && (head->layout != SHM_LAYOUT ||
	            head->head_size != sizeof *head ||
	            head->database[0] != store->database[0] ||
	            head->database[1] != store->database[1]))
		rc = err_set(err, ERR_VERSION, "open", store->path,
		             "the processes that have it open use another build of TurDB, or turdb.shm is another database's; use the same build, or close it in all of them first");
	if (!rc)
		rc = store_process_register(store, err);
	return rc ? rc : open_log(store, err);
}

static int set_open_lock(struct store *store, enum os_lock_kind kind,
                         bool *held, struct err *err)
{
	return store->os->methods->lock(store->meta, LOCK_OPEN_AT, kind, held,
	                                err);
}

static int enter(struct store *store, struct err *err)
{
	struct os *os = store->os;
	uint64_t started = os->methods->monotonic_us(os);
	bool held;

	for (;;) {
		int rc = set_open_lock(store, OS_LOCK_EXCLUSIVE, &held, err);

		if (rc)
			return rc;
		if (held) {
			rc = enter_first(store, err);
			if (!rc)
				rc = set_open_lock(store, OS_LOCK_SHARED, &held,
				                   err);
			return rc;
		}
		rc = set_open_lock(store, OS_LOCK_SHARED, &held, err);
		if (rc)
			return rc;
		if (held && atomic_load(&store->shm.head->built) == SHM_BUILT) /* (O1) */
			return enter_next(store, err);
		if (held)
			set_open_lock(store, OS_LOCK_NONE, &held, err);
		if (os->methods->monotonic_us(os) - started >
		    OPEN_WAIT_MS * UINT64_C(1000))
			return err_set(err, ERR_BUSY, "open", store->path,
			               "another process has been recovering or closing it for %d s",
			               OPEN_WAIT_MS / 1000);
		os->methods->sleep_us(os, 1000);
	}
}

static int enter_immutable(struct store *store, struct err *err)
{
	int rc = read_identity(store, err);

	store->owner = UINT64_C(1) << 32 | 1;
	if (!rc)
		store_shm_clear(store);
	if (!rc)
		rc = open_log(store, err);
	if (!rc)
		rc = store_recover(store, false, err);
	return rc;
}

static void release_all(struct store *store)
{
	if (store->wal)
		wal_close(store->wal);
	store_files_close_all(store);
	if (store->catalog_file)
		page_file_close(store->catalog_file);
	if (store->shm.head && !store->options.immutable)
		store_process_leave(store);
	store_shm_close(store);
	os_close(store->meta); /* and with it all locks */
	os_close(store->dir);
	lock_close(&store->files_lock);
	lock_close(&store->shm_lock);
	heap_free(store->heap, store->path);
	heap_free(store->heap, store);
}

/* A refusal names the database, not only a file in it, and says what can be done. */
static void frame_refusal(const struct store *store, int rc, struct err *err)
{
	struct err reason;
	size_t used;

	if (!err || !store->path)
		return;
	reason = *err;
	if (!strstr(reason.text, store->path))
		err_set(err, rc, "open", store->path, "%s", reason.text);
	if (rc != ERR_CORRUPT || store->advised)
		return;
	used = strlen(err->text);
	snprintf(err->text + used, sizeof err->text - used, "%s",
	         "; nothing was changed: put that right, or bring the whole directory back from a copy");
}

static int open_new(struct store_environment *environment, const char *path,
                    const struct store_options *options,
                    const struct os_identity *identity, struct store **opened,
                    struct err *err)
{
	struct store *store = heap_zeroed(environment->heap, sizeof *store);
	size_t path_size = strlen(path) + 1;
	struct os_identity found = *identity;
	int rc;

	if (!store)
		return err_set(err, ERR_NOMEM, "open", path, "no memory");
	store->environment = environment;
	store->os = environment->os;
	store->heap = environment->heap;
	store->options = *options;
	store->users = 1;
	store->cache_kb = options->cache_kb ? options->cache_kb
	                                    : DEFAULT_CACHE_KB;
	store->checkpoint_mb = options->checkpoint_mb ? options->checkpoint_mb
	                                              : DEFAULT_CHECKPOINT_MB;
	store->checkpoint_s = options->checkpoint_s ? options->checkpoint_s
	                                            : DEFAULT_CHECKPOINT_S;
	store->segment_size = options->log_segment_size
	                              ? options->log_segment_size
	                              : DEFAULT_SEGMENT_SIZE;
	lock_init(&store->files_lock, LOCK_FILES);
	lock_init(&store->shm_lock, LOCK_MAPPING);
	store->path = heap_allocate(store->heap, path_size);
	rc = store->path ? ERR_NONE
	                 : err_set(err, ERR_NOMEM, "open", path, "no memory");
	if (!rc) {
		memcpy(store->path, path, path_size);
		rc = store_directory_open(store, err);
	}
	if (!rc)
		rc = store->os->methods->identity(store->dir, &found, err);
	store->device = found.device;
	store->inode = found.inode;
	if (!rc)
		rc = store_meta_open(store, err);
	if (!rc)
		rc = open_catalog(store, err);
	if (!rc)
		rc = store_shm_open(store, err);
	if (!rc)
		rc = options->immutable ? enter_immutable(store, err)
		                        : enter(store, err);
	if (rc) {
		frame_refusal(store, rc, err);
		release_all(store);
		return rc;
	}
	store->canary = store->os->methods->fork_canary(store->os);
	*opened = store;
	return ERR_NONE;
}

static struct store *find_open(const struct store_environment *environment,
                               const struct os_identity *identity,
                               bool immutable)
{
	struct store *store = environment->first;

	while (store && (store->device != identity->device ||
	                 store->inode != identity->inode ||
	                 store->options.immutable != immutable ||
	                 store_forked(store, NULL)))
		store = store->next;
	return store;
}

int store_open(struct store_environment *environment, const char *path,
               const struct store_options *options, struct store **opened,
               struct err *err)
{
	struct os_identity identity;
	struct store *store = NULL;
	int rc;

	lock_take(&environment->lock);
	rc = environment->os->methods->identify(environment->os, NULL, path,
	                                        &identity, err);
	if (!rc && identity.kind == OS_NODE_DIRECTORY)
		store = find_open(environment, &identity, options->immutable);
	if (!rc && store)
		rc = store_forked(store, err);
	if (!rc && store) {
		store->users++;
		*opened = store;
	} else if (!rc) {
		rc = open_new(environment, path, options, &identity, &store,
		              err);
		if (!rc) {
			store->next = environment->first;
			environment->first = store;
			*opened = store;
		}
	}
	lock_release(&environment->lock);
	return rc;
}

/* --- closing --------------------------------------------------------------------- */

static int truncate_file(void *context, uint32_t file_id,
                         const struct catalog_entry *entry, struct err *err)
{
	struct store *store = context;
	struct space_figures figures;
	struct page_file *file;
	int rc;

	if (!space_file_built(&store->space, file_id) ||
	    space_file_figures(&store->space, file_id, &figures) ||
	    figures.end + 64 >= figures.capacity)
		return ERR_NONE;
	rc = store_files_get(store, entry, &file, err);
	return rc ? rc : page_file_truncate(file, figures.end, err);
}

/* Alone: everything into the data files, the log emptied, spare room given back. */
static int leave_last(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	struct store_root newest;
	bool done;
	int rc = ERR_NONE;

	atomic_store(&head->built, 0); /* (O2) */
	if (!atomic_load(&head->poisoned)) {
		/* Without a writer since the recovery there is nothing to bring
		 * anywhere, and readers write nothing. */
		if (atomic_load(&head->log_started))
			rc = store_checkpoint(store, &done, err);
		store_newest_root(store, &newest);
		if (!rc && atomic_load(&head->candidate_txid) == 0 &&
		    atomic_load(&head->durable_txid) == newest.txid) {
			rc = store_superblock_settle(store, err);
			if (rc)
				store_poison(store);
			store_catalog_each(store, &newest.catalog,
			                   truncate_file, store, NULL);
		}
	}
	return rc;
}

int store_close(struct store *store, struct err *err)
{
	struct store_environment *environment = store->environment;
	struct store **link = &environment->first;
	bool held = false;
	int rc = ERR_NONE;

	lock_take(&environment->lock);
	if (--store->users) {
		lock_release(&environment->lock);
		return ERR_NONE;
	}
	while (*link != store)
		link = &(*link)->next;
	*link = store->next;
	if (!store_forked(store, NULL))
		store_background_end(store);
	if (!store->options.immutable && !store_forked(store, NULL))
		rc = set_open_lock(store, OS_LOCK_EXCLUSIVE, &held, err);
	if (!rc && held)
		rc = leave_last(store, err);
	release_all(store);
	lock_release(&environment->lock);
	return rc;
}
