/*
 * commit.c - makes a transaction's edits one commit.
 *
 * In this order: places are taken and page images written (page cache, no sync);
 * page tables and catalog pages are written to new places; the record is appended;
 * the snapshot is published; superseded places that nobody retains are given back;
 * the writer lock is released; the log is awaited as far as the caller asks. Who
 * will wait for the disk alone appends the record first and writes while the device
 * works (late.c): a one-row commit then takes 12 to 16 us less of 120.
 *
 * (C1) Until the record is whole nothing has happened: every place taken here is
 *      given back on failure, and the edits stay.
 * (C2) What a record did with a place is noted before the record is appended: a
 *      writer's death in between costs at most some caution.
 * (C3) Superseded places are judged after publishing, when no reader can pin the
 *      snapshot before any more (rule 4).
 * (C4) Behind the record nothing fails but a write put off; then the record is
 *      replayed, as if this writer had died.
 */
#include "vfs/commit_private.h"

#include <assert.h>

/* A dropped file of that size is gone when its commit returns, and so are smaller ones
 * when they are that many; others CHECKPOINT_LATER_MS later. */
enum { DROP_NOW_UNITS = 256, DROPS_NOW_UNITS = 1024 };

/* (C1) */
static void give_taken_back(struct store_view *view)
{
	struct err err;

	while (view->taken.count) {
		const struct taken *item =
			&view->taken.items[--view->taken.count];

		space_give(&view->store->space, item->file_id, item->place,
		           item->units, &err);
	}
	view->superseded.count = 0;
}

static int append_record(struct commit *commit, struct store_root *root,
                         struct err *err)
{
	struct store_view *view = commit->view;
	struct store *store = view->store;
	struct span payload;

	store_record_end(view, commit->items);
	root->txid = commit->txid;
	if (PLANTED(store->environment, PLANT_PUBLISH_BEFORE_RECORD))
		store_publish(store, root);
	payload = span_of(view->record, view->record_size);
	return wal_append(store->wal, &payload, 1, &root->lsn, err);
}

/* Everything up to the appended record. */
static int prepare(struct store_view *view, bool late, struct commit *commit,
                   struct store_root *root, bool *nothing, struct err *err)
{
	uint32_t count;
	int rc = store_commit_sort(view, &count, err);

	*commit = (struct commit){ .view = view, .txid = view->root.txid + 1 };
	*root = view->root;
	*nothing = false;
	store_late_begin(view, late);
	if (!rc)
		rc = store_commit_large(commit, count, err);
	if (!rc)
		rc = store_record_begin(view, commit->txid, err);
	if (!rc)
		rc = store_commit_files(commit, count, root, nothing, err);
	if (rc || *nothing)
		return rc;
	rc = store_commit_sync_placed(commit, count, err);
	return rc ? rc : append_record(commit, root, err);
}

void store_publish(struct store *store, const struct store_root *root)
{
	struct shm_head *head = store->shm.head;

	assert(root->txid >= atomic_load(&head->published)); /* (rule 5) */
	head->ring[root->txid % SHM_RING] = *root;
	atomic_store_explicit(&head->published, root->txid,
	                      memory_order_seq_cst);
}

/* Spilled pages are committed now: their places are no longer the edits' own. */
static void disown_spilled(struct store_view *view)
{
	for (struct edit *edit = view->first_edit; edit; edit = edit->next)
		if (edit->now.state == EDIT_SPILLED)
			edit->now.state = EDIT_ABSENT;
}

/* (C3), (vfs/retained K1) */
static void give_superseded_back(struct store_view *view,
                                 const struct store_root *root)
{
	struct store *store = view->store;
	struct err err;

	for (uint32_t i = 0; i < view->superseded.count; i++) {
		const struct taken *item = &view->superseded.items[i];

		if (!store_retained_between(store, item->birth, root->txid))
			space_give(&store->space, item->file_id, item->place,
			           item->units, &err);
	}
	view->superseded.count = view->taken.count = 0;
}

static void remove_uncommitted_files(struct store_view *view)
{
	struct err err;

	for (struct edit *edit = view->first_edit; edit; edit = edit->next) {
		struct view_file *file = edit->file;
		const struct catalog_entry *entry;

		if (edit->page_no != ENTRY_PAGE || file->committed ||
		    !file->file)
			continue;
		entry = store_view_file_entry(file);
		if (entry && store_entry_live(entry))
			continue;
		file->file = NULL;
		store_files_close(view->store, file->file_id);
		store_files_remove(view->store, file->file_id, file->name,
		                   &err);
	}
}

/* Whether files that a commit drops are to be gone when it returns: many small ones,
 * dropped one by one, cost nine checkpoints' syncs in ten otherwise. */
static bool drops_many(const struct commit *commit)
{
	struct store *store = commit->view->store;
	uint64_t units;

	if (!commit->view->drops)
		return false;
	units = atomic_fetch_add_explicit(&store->units_dropped,
	                                  commit->units_dropped,
	                                  memory_order_relaxed) +
	        commit->units_dropped;
	if (commit->units_dropped < DROP_NOW_UNITS && units < DROPS_NOW_UNITS)
		return false;
	atomic_store_explicit(&store->units_dropped, 0, memory_order_relaxed);
	return true;
}

/* Small files go by the thread: at once, unless it has just had a checkpoint. */
static bool drops_few(const struct commit *commit)
{
	const struct shm_head *head = commit->view->store->shm.head;

	return commit->view->drops &&
	       atomic_load(&head->writer.since_ms) >
	               atomic_load(&head->checkpoint_ms) + CHECKPOINT_LATER_MS;
}

/* Publishes, unless a replay has. *now: the caller waits for the checkpoint. */
static void finish(const struct commit *commit, const struct store_root *root,
                   bool replayed, bool *checkpoint, bool *now)
{
	struct store_view *view = commit->view;
	struct store *store = view->store;
	struct store_root previous = view->root;
	struct err ignored;

	*checkpoint = false;
	if (!replayed)
		store_publish(store, root);
	atomic_fetch_add_explicit(&store->shm.head->commits, 1,
	                          memory_order_relaxed);
	atomic_fetch_add_explicit(&store->shm.head->log_bytes,
	                          view->record_size, memory_order_relaxed);
	store_slot_move(view, root);
	if (!replayed) {
		store_retained_update(store, root, &previous, &ignored);
		give_superseded_back(view, root);
	}
	remove_uncommitted_files(view);
	disown_spilled(view);
	if (view->drops || commit->releases)
		store_release_note(store, root->txid,
		                   (view->drops ? RELEASE_FILES : 0) |
		                   (commit->releases ? RELEASE_PLACES : 0));
	*now = drops_many(commit) || commit->releases_now ||
	       store_reserve_short(store);
	if (*now || drops_few(commit) || store_checkpoint_due(store))
		store_checkpoint_enter(store, root, checkpoint, &ignored);
}

/* (C4) *replayed: the pages are written and published already. */
static int write_late(struct store_view *view, struct store_root *root,
                      bool *replayed, struct err *err)
{
	struct err reason;

	*replayed = false;
	if (!view->late.count)
		return ERR_NONE;
	wal_sync_begin(view->store->wal);
	if (!store_late_write(view, &reason))
		return ERR_NONE;
	view->superseded.count = view->taken.count = 0;
	*replayed = true;
	return store_writer_redo(view->store, root, err);
}

static void leave(struct store_view *view)
{
	store_edits_discard(view);
	view->epoch++;
	view->read_others = true; /* who goes on reading has read before */
	view->writing = false;
	store_lock_release(view->store, &view->store->shm.head->writer);
}

int store_view_commit(struct store_view *view,
                      enum store_durability durability, struct err *err)
{
	struct store *store = view->store;
	struct commit commit;
	struct store_root root;
	bool nothing, checkpoint, checkpoint_now, replayed;
	bool now = durability == STORE_DURABLE_NOW &&
	           !PLANTED(store->environment, PLANT_ACK_WITHOUT_SYNC);
	bool drops = view->drops;
	struct err ignored;
	uint32_t orders;
	int rc;

	if (!view->writing)
		return ERR_NONE;
	rc = store_forked(store, err);
	if (!rc)
		rc = store_poisoned(store, err);
	if (!rc) {
		store_sqlite_forget_freed(view);
		rc = store_commit_allowed(view, err);
	}
	if (rc)
		return rc;
	rc = prepare(view, now && wal_sync_is_lone(store->wal), &commit, &root,
	             &nothing, err);
	if (rc == ERR_FULL) {
		give_taken_back(view);
		store_commit_make_room(view);
		rc = prepare(view, false, &commit, &root, &nothing, err);
	}
	if (rc) {
		give_taken_back(view);
		return store_missing(store, rc, err);
	}
	if (nothing) {
		give_taken_back(view);
		remove_uncommitted_files(view);
		leave(view);
		return ERR_NONE;
	}
	rc = write_late(view, &root, &replayed, err); /* (vfs/late T2) */
	if (rc) {
		disown_spilled(view);
		leave(view);
		return rc;
	}
	finish(&commit, &root, replayed, &checkpoint, &checkpoint_now);
	view->root = root;
	leave(view);
	if (now)
		rc = store_log_sync(store, root.lsn, err);
	/* What follows is care: a failure shows at the next who needs it. What was
	 * dropped is to be gone when the caller looks. */
	orders = checkpoint ? ORDER_CHECKPOINT : drops ? ORDER_CHECKPOINT_LATER : 0;
	if (checkpoint && checkpoint_now) {
		store_checkpoint_run(store, &ignored);
		orders = 0;
	}
	if (wal_prepare_due(store->wal))
		orders |= ORDER_PREPARE_LOG;
	if (orders)
		store_background_order(store, orders);
	store_checkpoint_help(store);
	return rc;
}
