/*
 * release.c - gives back to the file system what nobody needs any more.
 *
 * Purpose       A dropped table's files go, and the blocks of places that became
 *               free by the thousand, while the database is open.
 * Architecture  A commit that drops files or lets go of many places leaves a note
 *               in shared memory (release_pending, released_txid). Whoever ends what
 *               stood in the way acts on it: the checkpoint after that commit, or
 *               the last reader of an older snapshot.
 * Structures    The allocator tells runs of free places (space_hole_next); a window
 *               of each file is handled at a time, so that writers wait for some
 *               milliseconds at most.
 * Safety        (G1) Only places that are free and that no record says PLACED for
 *               lose their bytes. Whether the file system has done it, has done a
 *               part of it, or forgets it in a crash makes no difference: nobody
 *               reads those bytes before they are written again.
 *               (G2) The note is cleared before the work and set again when an older
 *               snapshot is still held: a death in between costs a checkpoint's time.
 */
#include "vfs/store_private.h"

enum {
	WINDOW_UNITS = 16384, /* 64 MB of a file */
	LOCK_WAIT_US = 20000,
};

/* Whether a snapshot from before what was let go of is held. */
static bool is_held(const struct store *store)
{
	const struct shm_head *head = store->shm.head;
	uint64_t released = atomic_load(&head->released_txid);

	return atomic_load(&head->durable_txid) < released ||
	       (atomic_load(&head->retained_count) &&
	        head->retained[0].txid < released);
}

/* The part of the work that is next. */
struct window {
	struct store *store;
	uint64_t units; /* that went back so far */
	uint32_t file_id;
	uint64_t at;
	bool done; /* in this round; the other files wait */
};

static int punch_window(struct window *window, struct page_file *file,
                        uint32_t file_id, struct err *err)
{
	struct space *space = &window->store->space;
	uint64_t end = window->at + WINDOW_UNITS;
	struct space_holes holes = SPACE_HOLES(window->at, end);
	struct space_run run;
	uint64_t capacity;
	int rc = page_file_capacity(file, &capacity, err);

	while (!rc && space_hole_next(space, file_id, &holes, &run)) {
		atomic_fetch_add(&window->store->shm.head->punches, 1);
		rc = page_file_punch(file, run.place, run.units, err);
		window->units += rc ? 0 : run.units;
	}
	window->done = true;
	window->file_id = file_id;
	window->at = end;
	if (rc || end >= capacity) {
		window->file_id++;
		window->at = 0;
	}
	return rc;
}

static int punch_file(void *context, uint32_t file_id,
                      const struct catalog_entry *entry, struct err *err)
{
	struct window *window = context;
	struct page_file *file;
	int rc;

	if (window->done || file_id < window->file_id)
		return ERR_NONE;
	if (!space_file_built(&window->store->space, file_id)) {
		window->file_id = file_id + 1;
		return ERR_NONE;
	}
	if (file_id != window->file_id)
		window->at = 0;
	rc = store_files_get(window->store, entry, &file, err);
	return rc ? rc : punch_window(window, file, file_id, err);
}

static int punch_next(struct window *window, const struct store_root *newest,
                      struct err *err)
{
	struct store *store = window->store;

	window->done = false;
	if (window->file_id == STORE_CATALOG_FILE_ID &&
	    space_file_built(&store->space, STORE_CATALOG_FILE_ID))
		return punch_window(window, store->catalog_file,
		                    STORE_CATALOG_FILE_ID, err);
	return store_catalog_each(store, &newest->catalog, punch_file, window,
	                          err);
}

/* With the writer lock: what else is to be done. Keeps (G2). */
static uint32_t begin(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	uint32_t pending = atomic_exchange(&head->release_pending, 0);
	struct store_root newest;
	int rc;

	store_newest_root(store, &newest);
	store_slots_sweep(store);
	rc = store_retained_update(store, &newest, NULL, err);
	if (!rc && pending & RELEASE_FILES)
		rc = store_files_remove_orphans(store, &head->durable, false,
		                                err);
	if (rc || is_held(store))
		atomic_fetch_or(&head->release_pending, pending);
	return rc ? 0 : pending;
}

static uint64_t run(struct store *store, uint64_t wait_us)
{
	struct shm_head *head = store->shm.head;
	struct window window = { .store = store };
	uint32_t pending = 0;
	bool more = true;

	for (uint32_t round = 0; more; round++) {
		struct store_root newest;
		struct lock_loan loan;
		struct err err;
		bool died;

		if (!store_lock_borrow(store, &head->writer, wait_us, &loan,
		                       &died))
			break;
		more = !store_writer_entered(store, died, &err);
		if (more && round == 0)
			pending = begin(store, &err);
		more = more && pending & RELEASE_PLACES;
		if (more) {
			store_newest_root(store, &newest);
			more = !punch_next(&window, &newest, &err) &&
			       window.done;
		}
		store_lock_give_back(store, &head->writer, &loan);
	}
	if (more) /* the lock was not to be had */
		atomic_fetch_or(&head->release_pending, pending);
	return window.units * PLACE_SIZE;
}

static int find_loose(void *context, uint32_t file_id,
                      const struct catalog_entry *entry, struct err *err)
{
	struct store *store = context;

	(void)entry, (void)err;
	if (space_is_loose(&store->space, file_id))
		atomic_fetch_or(&store->shm.head->release_pending,
		                RELEASE_PLACES);
	return ERR_NONE;
}

void store_release_note(struct store *store, uint64_t txid, uint32_t what)
{
	struct shm_head *head = store->shm.head;

	atomic_store(&head->released_txid, txid);
	atomic_fetch_or(&head->release_pending, what);
}

int store_release(struct store *store, uint64_t *bytes, struct err *err)
{
	int rc = store_poisoned(store, err);

	*bytes = 0;
	if (rc)
		return rc;
	atomic_fetch_or(&store->shm.head->release_pending, RELEASE_PLACES);
	*bytes = run(store, LOCK_WAIT_US);
	return ERR_NONE;
}

void store_release_held(struct store *store)
{
	struct window window = { .store = store };
	struct store_root newest;
	struct err ignored;

	store_newest_root(store, &newest);
	do
		if (punch_next(&window, &newest, &ignored))
			return;
	while (window.done);
}

void store_release_checkpointed(struct store *store,
                                const struct store_root *durable)
{
	struct err err;

	store_catalog_each(store, &durable->catalog, find_loose, store, &err);
	if (atomic_load(&store->shm.head->release_pending))
		run(store, LOCK_WAIT_US);
}

void store_release_after_reader(struct store *store)
{
	struct shm_head *head = store->shm.head;

	if (atomic_load(&head->durable_txid) <
	            atomic_load(&head->released_txid) ||
	    atomic_load(&head->poisoned) || store->options.immutable ||
	    store_forked(store, NULL))
		return;
	run(store, 0);
}
