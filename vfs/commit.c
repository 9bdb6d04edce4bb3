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
#include <stdlib.h>

enum {

	/* A file that loses so many units gives blocks back at the next checkpoint,
	 * or at once when it is much and a good part of it. */
	RELEASE_UNITS_MIN = 16,
	RELEASE_NOW_UNITS_MIN = 256,
	RELEASE_NOW_PART = 16,

	/* A dropped file of that size is gone when its commit returns, and so are
	 * smaller ones when they are that many; others CHECKPOINT_LATER_MS later. */
	DROP_NOW_UNITS = 256,
	DROPS_NOW_UNITS = 1024,
	DROP_UNITS_MIN = 16, /* that a file has at least */
};

static int by_file_and_page(const void *left, const void *right)
{
	const struct edit *a = *(struct edit *const *)left;
	const struct edit *b = *(struct edit *const *)right;

	if (a->file_id != b->file_id)
		return a->file_id < b->file_id ? -1 : 1;
	if (a->page_no != b->page_no)
		return a->page_no < b->page_no ? -1 : 1;
	return 0;
}

/* Room for as many edits in one of the view's arrays, and for more of the next time
 * if it is kept. */
static int room_make(struct store_view *view, void **array, size_t item_size,
                     uint32_t *room, struct err *err)
{
	struct heap *heap = view->store->heap;
	uint32_t count = view->edit_count;
	void *larger;

	if (*room >= count)
		return ERR_NONE;
	if (count <= EDITS_KEPT_MAX)
		count *= 2;
	larger = heap_allocate(heap, count * item_size);
	if (!larger)
		return err_set(err, ERR_NOMEM, "commit", view->store->path,
		               "%u edits", view->edit_count);
	heap_free(heap, *array);
	*array = larger;
	*room = count;
	return ERR_NONE;
}

static int sort_edits(struct store_view *view, uint32_t *count,
                      struct err *err)
{
	int rc = room_make(view, (void **)&view->sorted, sizeof *view->sorted,
	                   &view->sorted_room, err);

	*count = 0;
	if (!rc)
		rc = room_make(view, (void **)&view->changes,
		               sizeof *view->changes, &view->changes_room, err);
	if (rc)
		return rc;
	for (struct edit *edit = view->first_edit; edit; edit = edit->next)
		if (edit->now.state != EDIT_ABSENT)
			view->sorted[(*count)++] = edit;
	if (*count)
		qsort(view->sorted, *count, sizeof view->sorted[0],
		      by_file_and_page);
	return ERR_NONE;
}

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

/* --- files ------------------------------------------------------------------------- */

/* A dropped file's private places were never published. */
static void drop_gone(struct edit **edits, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (edits[i]->page_no != ENTRY_PAGE)
			store_value_drop(edits[i], &edits[i]->now);
}

/* After a file: whether the commit leaves much of it free. */
static void judge_release(struct commit *commit, const struct page_file *file)
{
	uint64_t net = commit->units_superseded > commit->units_taken
	                       ? commit->units_superseded - commit->units_taken
	                       : 0;

	commit->releases |= net >= RELEASE_UNITS_MIN;
	commit->releases_now |= net >= RELEASE_NOW_UNITS_MIN &&
	                        net >= file->units / RELEASE_NOW_PART;
}

/* The pages of one file, and its page table in `entry`; *any: something changed. */
static int put_pages(struct commit *commit, struct edit **edits, uint32_t count,
                     struct catalog_entry *entry, bool *any, struct err *err)
{
	struct store_view *view = commit->view;
	struct view_file *file = edits[0]->file;
	struct page_table table = file->table, new_table;
	struct page_table_sink sink = store_commit_sink(commit);
	uint32_t changes = 0;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < count; i++) {
		bool changed;

		rc = store_commit_page(commit, edits[i], &view->changes[changes],
		                       &changed, err);
		changes += changed;
	}
	memcpy(entry->bytes, store_view_file_entry(file)->bytes,
	       CATALOG_ENTRY_SIZE);
	*any = changes;
	if (rc || !changes)
		return rc;
	rc = page_table_apply(file->file, &table, view->changes, changes,
	                      commit->txid, &sink, &new_table, err);
	if (!rc)
		store_entry_table_set(entry, &new_table);
	judge_release(commit, file->file);
	return rc;
}

static uint64_t dropped_units(const struct view_file *file)
{
	const uint8_t *entry = file->entry.bytes;
	uint64_t units = (uint64_t)load_le32(entry + CATALOG_PAGE_COUNT_AT) *
	                 store_units(load_le32(entry + CATALOG_PAGE_SIZE_AT));

	return units > DROP_UNITS_MIN ? units : DROP_UNITS_MIN;
}

/* All edits of one file: its entry's item, its pages, its new page table. */
static int put_file(struct commit *commit, struct edit **edits, uint32_t count,
                    struct catalog_change *catalog, struct catalog_entry *entry,
                    bool *touched, struct err *err)
{
	struct view_file *file = edits[0]->file;
	struct edit *last = edits[count - 1];
	bool gone = false, has_entry = last->page_no == ENTRY_PAGE, any;
	int rc = ERR_NONE;

	*touched = true;
	commit->file_id = file->file_id;
	commit->file = file->file;
	commit->units_taken = commit->units_superseded = 0;
	commit->line = 0;
	*catalog = (struct catalog_change){ .file_id = file->file_id,
	                                    .entry = entry };
	if (has_entry)
		rc = store_commit_entry(commit, last, &gone, err);
	if (gone) {
		drop_gone(edits, count);
		commit->units_dropped += dropped_units(file);
		catalog->entry = NULL;
		*touched = file->committed;
		return rc;
	}
	if (!file->committed && !has_entry) {
		*touched = false; /* its creation was rolled back */
		return rc;
	}
	if (rc)
		return rc;
	rc = put_pages(commit, edits, count - has_entry, entry, &any, err);
	*touched = any || has_entry;
	return rc;
}

/* What the record only names is on disk before it. (rule 1) */
static int sync_placed(struct commit *commit, uint32_t count, struct err *err)
{
	struct store_view *view = commit->view;
	struct store *store = view->store;
	uint64_t durable = atomic_load(&store->shm.head->durable_txid);
	struct page_file *synced = NULL;
	bool created = false; /* since the durable checkpoint, which syncs names */
	int rc = ERR_NONE;

	if (!commit->synced_needed ||
	    PLANTED(store->environment, PLANT_PLACED_UNSYNCED))
		return ERR_NONE;
	for (uint32_t i = 0; !rc && i < count; i++) {
		struct view_file *file = view->sorted[i]->file;

		if (file->file == synced || !file->file ||
		    file->file_id == STORE_CATALOG_FILE_ID)
			continue;
		synced = file->file;
		created |= !file->committed ||
		           load_le64(file->entry.bytes + CATALOG_BIRTH_AT) >
		                   durable;
		rc = page_file_sync(file->file, err);
	}
	if (!rc && created)
		rc = store->os->methods->directory_sync(store->dir, "root", err);
	if (rc)
		store_poison(store);
	return rc;
}

/* Whether so many pages are new or rewritten that one sync of their files costs
 * less than writing them twice. */
static int decide_placed(struct commit *commit, uint32_t count, struct err *err)
{
	struct store_view *view = commit->view;
	size_t bytes = 0;

	commit->placed = view->spilled;
	if (commit->placed || view->image_bytes < STORE_PLACED_BYTES_MIN)
		return ERR_NONE;
	for (uint32_t i = 0; i < count && bytes < STORE_PLACED_BYTES_MIN; i++) {
		struct edit *edit = view->sorted[i];
		uint32_t size = edit->file->page_size;
		const uint8_t *base;
		int rc;

		if (edit->page_no == ENTRY_PAGE ||
		    edit->now.state != EDIT_IMAGE)
			continue;
		if (store_commit_is_fresh(edit)) {
			bytes += size;
			continue;
		}
		rc = page_file_borrow(edit->file->file, &edit->base,
		                      edit->page_no, &base, err);
		if (rc)
			return rc;
		if (store_commit_is_rewritten(base, edit->now.image, size))
			bytes += size;
	}
	commit->placed = bytes >= STORE_PLACED_BYTES_MIN;
	return ERR_NONE;
}

enum { FILES_INLINE = 8 };

/* The catalog's changes, one for each file with edits. */
struct entries {
	struct catalog_change few_changes[FILES_INLINE], *changes;
	struct catalog_entry few_entries[FILES_INLINE], *entries;
	uint32_t count;
};

static int entries_open(struct store_view *view, uint32_t edits,
                        struct entries *entries, struct err *err)
{
	struct heap *heap = view->store->heap;
	uint32_t files = 0;

	entries->changes = entries->few_changes;
	entries->entries = entries->few_entries;
	entries->count = 0;
	for (uint32_t i = 0; i < edits; i++)
		files += i == 0 ||
		         view->sorted[i]->file_id != view->sorted[i - 1]->file_id;
	if (files <= FILES_INLINE)
		return ERR_NONE;
	entries->changes = heap_allocate(heap,
	                                 files * sizeof *entries->changes);
	entries->entries = heap_allocate(heap,
	                                 files * sizeof *entries->entries);
	if (entries->changes && entries->entries)
		return ERR_NONE;
	return err_set(err, ERR_NOMEM, "commit", view->store->path, "%u files",
	               files);
}

static void entries_close(struct store_view *view, struct entries *entries)
{
	struct heap *heap = view->store->heap;

	if (entries->changes == entries->few_changes)
		return;
	heap_free(heap, entries->changes);
	heap_free(heap, entries->entries);
}

static int put_files(struct commit *commit, uint32_t count,
                     struct entries *entries, struct err *err)
{
	struct store_view *view = commit->view;
	uint32_t i = 0;
	int rc = ERR_NONE;

	while (!rc && i < count) {
		uint32_t end = i + 1;
		bool touched;

		while (end < count &&
		       view->sorted[end]->file_id == view->sorted[i]->file_id)
			end++;
		rc = put_file(commit, view->sorted + i, end - i,
		              &entries->changes[entries->count],
		              &entries->entries[entries->count], &touched, err);
		if (!rc)
			entries->count += touched;
		i = end;
	}
	return rc;
}

/* --- the commit -------------------------------------------------------------------- */

/* The catalog with the files' new entries, beside the old one. */
static int put_catalog(struct commit *commit, const struct entries *entries,
                       struct store_root *root, struct err *err)
{
	struct store *store = commit->view->store;
	struct page_table_sink sink = store_commit_sink(commit);

	commit->line = 0;
	commit->file_id = STORE_CATALOG_FILE_ID;
	commit->file = store->catalog_file;
	return store_catalog_apply(store, &commit->view->root.catalog,
	                           entries->changes, entries->count,
	                           commit->txid, &sink, &root->catalog, err);
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
	struct entries entries;
	uint32_t count;
	int rc = sort_edits(view, &count, err);

	*commit = (struct commit){ .view = view, .txid = view->root.txid + 1 };
	*root = view->root;
	*nothing = false;
	store_late_begin(view, late);
	if (rc)
		return rc;
	rc = entries_open(view, count, &entries, err);
	if (!rc)
		rc = decide_placed(commit, count, err);
	if (!rc)
		rc = store_record_begin(view, commit->txid, err);
	if (!rc)
		rc = put_files(commit, count, &entries, err);
	*nothing = entries.count == 0;
	if (rc || *nothing)
		goto close_entries;
	rc = put_catalog(commit, &entries, root, err);
	if (!rc)
		rc = sync_placed(commit, count, err);
	if (!rc)
		rc = append_record(commit, root, err);

close_entries:
	entries_close(view, &entries);
	return rc;
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
		return rc;
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
	if (now) {
		rc = wal_sync(store->wal, root.lsn, err);
		if (rc)
			store_poison(store);
	}
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
