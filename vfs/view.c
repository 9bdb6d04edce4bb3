/*
 * view.c - one connection's snapshot, and its way to being the writer and back.
 *
 * (V1) While `reading`, the slot pins root.txid; nothing that root reaches is
 *      changed or reused.
 * (V2) While `writing`, this view's process holds the writer lock and root is the
 *      newest snapshot.
 */
#include "vfs/store_private.h"

#include <assert.h>

int store_view_open(struct store *store, struct store_view **opened,
                    struct err *err)
{
	struct store_view *view = heap_zeroed(store->heap, sizeof *view);
	int rc;

	if (!view)
		return err_set(err, ERR_NOMEM, "open", store->path,
		               "a connection's view");
	view->store = store;
	view->epoch = 1;
	view->spare_images = heap_zeroed(store->heap,
	                                 SPARE_IMAGES_MAX *
	                                 sizeof view->spare_images[0]);
	if (!view->spare_images) {
		rc = err_set(err, ERR_NOMEM, "open", store->path,
		             "a connection's view");
		goto free_view;
	}
	rc = store_slot_take(view, err);
	if (rc)
		goto free_images;
	*opened = view;
	return ERR_NONE;

free_images:
	heap_free(store->heap, view->spare_images);
free_view:
	heap_free(store->heap, view);
	return rc;
}

/* What grows with a transaction and is kept for the next. */
void store_view_trim(struct store_view *view)
{
	struct heap *heap = view->store->heap;

	assert(!view->first_edit && !view->marks);
	while (view->spare_edits) {
		struct edit *next = view->spare_edits->next;

		heap_free(heap, view->spare_edits);
		view->spare_edits = next;
	}
	while (view->spare_undos) {
		struct undo *next = view->spare_undos->next;

		heap_free(heap, view->spare_undos);
		view->spare_undos = next;
	}
	heap_free(heap, view->table);
	heap_free(heap, view->sorted);
	heap_free(heap, view->changes);
	heap_free(heap, view->taken.items);
	heap_free(heap, view->superseded.items);
	heap_free(heap, view->record);
	view->table = view->sorted = NULL;
	view->changes = NULL;
	view->record = NULL;
	view->table_room = view->sorted_room = view->changes_room = 0;
	view->record_size = view->record_room = 0;
	view->taken = view->superseded = (struct taken_list){ 0 };
}

static void memory_free(struct store_view *view)
{
	struct heap *heap = view->store->heap;

	/* A forked child has its parent's, which no rollback has ended here. */
	store_edits_discard(view);
	while (view->files) {
		struct view_file *next = view->files->next;

		heap_free(heap, view->files);
		view->files = next;
	}
	heap_free(heap, view->chains);
	store_view_trim(view);
	while (view->spare_image_count)
		heap_free(heap, view->spare_images[--view->spare_image_count]);
	heap_free(heap, view->spare_images);
	heap_free(heap, view->late.copies);
}

void store_view_close(struct store_view *view)
{
	if (!view)
		return;
	store_view_end(view);
	store_slot_release(view);
	memory_free(view);
	heap_free(view->store->heap, view);
}

/* After a failed sync Linux may drop pages that it could not write, and read old ones
 * from the disk again: what was verified may not be what is there. So nothing is
 * kept from one snapshot to the next, and each page is verified whenever it is met. */
static void forget_all(struct store_view *view)
{
	store_files_distrust(view->store);
	view->ended_txid = 0;
	for (struct view_file *file = view->files; file; file = file->next) {
		file->loaded_txid = 0;
		memset(file->borrowed, 0, sizeof file->borrowed);
	}
}

int store_view_begin(struct store_view *view, struct err *err)
{
	struct store *store = view->store;
	int rc;

	if (view->reading)
		return ERR_NONE;
	rc = store_forked(store, err);
	if (rc)
		return rc;
	if (__builtin_expect(atomic_load_explicit(
		&store->shm.head->poisoned, memory_order_relaxed), 0))
		forget_all(view);
	store_slot_pin(view, &view->root);
	if (view->root.txid != view->ended_txid)
		view->epoch++;
	view->read_others = false;
	view->reading = true;
	atomic_store_explicit(&view->slot->since_ms,
	                      store->os->methods->monotonic_us(store->os) / 1000,
	                      memory_order_relaxed);
	return ERR_NONE;
}

void store_view_end(struct store_view *view)
{
	struct shm_head *head = view->store->shm.head;

	store_view_unclaim(view);
	if (view->writing)
		store_view_rollback(view);
	if (!view->reading)
		return;
	view->reading = false;
	view->ended_txid = view->root.txid;
	if (!store_forked(view->store, NULL))
		store_slot_unpin(view);
	if (__builtin_expect(atomic_load_explicit(&head->release_pending,
	                                          memory_order_relaxed) != 0, 0) &&
	    view->root.txid < atomic_load(&head->released_txid))
		store_release_after_reader(view->store);
}

int store_view_await_durable(struct store_view *view, struct err *err)
{
	struct store *store = view->store;

	/* Before the first append everything is what a recovery left: durable. */
	if (!view->reading || store->options.immutable ||
	    !atomic_load(&store->shm.head->log_started))
		return ERR_NONE;
	return store_log_sync(store, view->root.lsn, err);
}

bool store_view_reading(const struct store_view *view)
{
	return view->reading;
}

bool store_view_writing(const struct store_view *view)
{
	return view->writing;
}

uint64_t store_view_txid(const struct store_view *view)
{
	return view->reading ? view->root.txid : 0;
}

const uint64_t *store_view_epoch(const struct store_view *view)
{
	return &view->epoch;
}

bool *store_view_read_mark(struct store_view *view)
{
	return &view->read_others;
}

/* Whether sqlite.tbd is the same in both snapshots: same table root, same size. */
static int sqlite_unchanged(struct store *store, const struct store_root *a,
                            const struct store_root *b, bool *same,
                            struct err *err)
{
	struct catalog_entry left, right;
	int rc = store_catalog_read(store, &a->catalog, STORE_SQLITE_FILE_ID,
	                            &left, err);

	if (!rc)
		rc = store_catalog_read(store, &b->catalog,
		                        STORE_SQLITE_FILE_ID, &right, err);
	if (!rc)
		*same = memcmp(left.bytes, right.bytes, CATALOG_ENTRY_SIZE) == 0;
	return rc;
}

/* A view that has seen nothing that could differ moves silently. (rule 11) */
static int move_to_newest(struct store_view *view, bool unread, struct err *err)
{
	struct store_root newest;
	bool same = unread;
	int rc = ERR_NONE;

	store_newest_root(view->store, &newest);
	if (newest.txid == view->root.txid)
		return ERR_NONE;
	if (!unread && !view->read_others)
		rc = sqlite_unchanged(view->store, &view->root, &newest, &same,
		                      err);
	if (rc)
		return rc;
	if (!same)
		return err_set(err, ERR_BUSY_SNAPSHOT, "write",
		               view->store->path,
		               "the transaction began at commit %llu, the newest is %llu",
		               (unsigned long long)view->root.txid,
		               (unsigned long long)newest.txid);
	store_slot_move(view, &newest);
	view->root = newest;
	view->epoch++;
	assert(atomic_load(&view->slot->txid) == newest.txid); /* (V1) */
	return ERR_NONE;
}

static void start_writing(struct store_view *view)
{
	view->writing = true;
	view->next_file_id = 0;
	view->first_new_file_id = 0;
	view->drops = false;
	view->spilled = false;
}

/* Nobody else has held the lock since: root is still the newest. (V2) */
static bool claim_confirmed(struct store_view *view)
{
	uint64_t claim = view->claim;

	view->claim = 0;
	if (!claim || !store_lock_confirm(view->store,
	                                  &view->store->shm.head->writer, claim))
		return false;
	start_writing(view);
	return true;
}

/* Nobody need keep a snapshot for who has seen nothing of it and waits: the writers
 * before it would have to compare it with theirs. */
static int take_unread(struct store_view *view, uint64_t timeout_us, bool *died,
                       struct err *err)
{
	struct store *store = view->store;
	uint64_t txid = view->root.txid;
	int rc;

	store_slot_unpin(view);
	rc = store_lock_take(store, &store->shm.head->writer, "write",
	                     timeout_us, &view->write_ticket, died, err);
	store_slot_pin(view, &view->root);
	if (view->root.txid != txid)
		view->epoch++;
	return rc;
}

static int become_writer(struct store_view *view, uint64_t timeout_us,
                         bool unread, struct err *err)
{
	struct store *store = view->store;
	struct shm_head *head = store->shm.head;
	uint64_t ticket = view->write_ticket;
	bool died;
	int rc;

	if (view->writing || claim_confirmed(view))
		return ERR_NONE;
	if (store->options.immutable)
		return err_set(err, ERR_READONLY, "write", store->path,
		               "it was opened read-only");
	rc = store_view_begin(view, err);
	if (!rc)
		rc = store_poisoned(store, err);
	if (!rc && unread && timeout_us)
		rc = take_unread(view, timeout_us, &died, err);
	else if (!rc)
		rc = store_lock_take(store, &head->writer, "write", timeout_us,
		                     &view->write_ticket, &died, err);
	if (rc)
		return rc;
	rc = store_missing(store, store_writer_entered(store, died, err), err);
	if (!rc)
		rc = move_to_newest(view, unread, err);
	if (rc) {
		/* Its turn was worth nothing: it comes back where it was. */
		if (rc == ERR_BUSY_SNAPSHOT)
			view->write_ticket = ticket;
		store_lock_release(store, &head->writer);
		return rc;
	}
	start_writing(view);
	return ERR_NONE;
}

int store_view_write(struct store_view *view, uint64_t timeout_us,
                     struct err *err)
{
	return become_writer(view, timeout_us, false, err);
}

int store_view_write_unread(struct store_view *view, uint64_t timeout_us,
                            struct err *err)
{
	return become_writer(view, timeout_us, true, err);
}

int store_view_claim(struct store_view *view, uint64_t timeout_us,
                     struct err *err)
{
	int rc = store_view_write_unread(view, timeout_us, err);

	if (rc)
		return rc;
	view->writing = false;
	view->claim = store_lock_claim(view->store,
	                               &view->store->shm.head->writer);
	return ERR_NONE;
}

void store_view_unclaim(struct store_view *view)
{
	uint64_t claim = view->claim;

	view->claim = 0;
	if (__builtin_expect(claim != 0, 0))
		store_lock_unclaim(view->store,
		                   &view->store->shm.head->writer, claim);
}

/* Files made in this transaction and not committed go away again. */
static void remove_new_files(struct store_view *view)
{
	struct err err;

	for (struct edit *edit = view->first_edit; edit; edit = edit->next) {
		struct view_file *file = edit->file;

		if (edit->page_no != ENTRY_PAGE || file->committed ||
		    !file->file)
			continue;
		file->file = NULL;
		file->exists = false;
		store_files_close(view->store, file->file_id);
		store_files_remove(view->store, file->file_id, file->name,
		                   &err);
	}
}

void store_view_rollback(struct store_view *view)
{
	if (!view->writing)
		return;
	if (store_forked(view->store, NULL)) {
		view->writing = false; /* lock, places and files are the parent's */
		return;
	}
	remove_new_files(view);
	store_edits_discard(view);
	view->taken.count = view->superseded.count = 0;
	view->epoch++;
	view->writing = false;
	store_lock_release(view->store, &view->store->shm.head->writer);
}

int store_view_operation_end(struct store_view *view, struct err *err)
{
	size_t budget = (size_t)atomic_load_explicit(&view->store->cache_kb,
	                                             memory_order_relaxed) * 1024;

	if (view->image_bytes <= budget)
		return ERR_NONE;
	return store_spill(view, budget - budget / 4, err);
}
