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
#include "vfs/record_format.h"
#include "vfs/store_private.h"

#include <assert.h>
#include <stdlib.h>

enum {
	PLACED_BYTES_MIN = 2 << 20, /* new or rewritten pages beyond this are not logged */
	SAMPLE_BYTES = 64,          /* compared to tell a rewritten page, in each  */
	SAMPLE_STRIDE = 1024,       /* so many bytes                               */
	RECORD_BYTES_MAX = 8 << 20, /* no differences beyond this size of a record */

	/* A file that loses so many units gives blocks back at the next checkpoint,
	 * or at once when it is much and a good part of it. */
	RELEASE_UNITS_MIN = 16,
	RELEASE_NOW_UNITS_MIN = 256,
	RELEASE_NOW_PART = 16,
};

struct commit {
	struct store_view *view;
	uint64_t txid;
	uint32_t items;
	bool placed;            /* new pages go to their places only    */
	bool synced_needed;     /* a PLACED item exists                 */
	uint32_t file_id;       /* for the sink: whose places           */
	struct page_file *file;
	uint64_t units_taken, units_superseded;
	uint64_t line;          /* a vacuum: map pages go below it, if they can */
	struct space_low low;
	bool releases;          /* much of a file becomes free          */
	bool releases_now;      /* so much that it cannot wait          */
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

static int sort_edits(struct store_view *view, uint32_t *count,
                      struct err *err)
{
	struct heap *heap = view->store->heap;

	*count = 0;
	if (view->sorted_room < view->edit_count) {
		struct edit **sorted = heap_allocate(
			heap, view->edit_count * 2 * sizeof(struct edit *));

		if (!sorted)
			return err_set(err, ERR_NOMEM, "commit",
			               view->store->path, "%u edits",
			               view->edit_count);
		heap_free(heap, view->sorted);
		view->sorted = sorted;
		view->sorted_room = view->edit_count * 2;
	}
	if (view->changes_room < view->edit_count) {
		struct page_change *changes = heap_allocate(
			heap, view->edit_count * 2 * sizeof *changes);

		if (!changes)
			return err_set(err, ERR_NOMEM, "commit",
			               view->store->path, "%u edits",
			               view->edit_count);
		heap_free(heap, view->changes);
		view->changes = changes;
		view->changes_room = view->edit_count * 2;
	}
	for (struct edit *edit = view->first_edit; edit; edit = edit->next)
		if (edit->now.state != EDIT_ABSENT)
			view->sorted[(*count)++] = edit;
	if (*count)
		qsort(view->sorted, *count, sizeof view->sorted[0],
		      by_file_and_page);
	return ERR_NONE;
}

/* --- places ------------------------------------------------------------------------ */

static int take(struct commit *commit, uint32_t units, enum space_use use,
                uint32_t *place, struct err *err)
{
	struct store_view *view = commit->view;
	int rc = ERR_NONE;

	if (!commit->line ||
	    !space_take_below(&view->store->space, commit->file_id, units, use,
	                      commit->line, &commit->low, place))
		rc = store_place_take(view, commit->file_id, commit->file,
		                      units, use, place, err);
	if (rc)
		return rc;
	commit->units_taken += units;
	return store_taken_add(view, &view->taken,
	                       &(struct taken){ .file_id = commit->file_id,
	                                        .place = *place,
	                                        .units = units }, err);
}

static int sink_take(void *context, uint32_t *place, struct err *err)
{
	return take(context, 1, SPACE_LOGGED, place, err);
}

static int sink_superseded(void *context, uint32_t place, uint32_t units,
                           uint64_t birth, struct err *err)
{
	struct commit *commit = context;
	struct taken item = { .file_id = commit->file_id, .place = place,
	                      .units = units, .birth = birth };

	commit->units_superseded += units;
	return store_taken_add(commit->view, &commit->view->superseded, &item,
	                       err);
}

static int sink_write(void *context, struct page_file *file,
                      const struct page_ref *refs, const void *const *bytes,
                      size_t count, struct err *err)
{
	struct commit *commit = context;

	return store_late_pages(commit->view, file, refs, bytes, count, err);
}

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

/* --- pages ------------------------------------------------------------------------- */

static int put_item(struct commit *commit, const struct record_item *item,
                    struct err *err)
{
	commit->items++;
	return store_record_item(commit->view, item, err);
}

static bool is_fresh(const struct edit *edit)
{
	return edit->now.from_zero || edit->base.length == 0 ||
	       (edit->base.flags & REF_FLAG_FREE);
}

/* Whether more than half of the page became something else: SQLite's own free
 * pages, used again by a load, hold old bytes that have nothing to do with the
 * new ones. */
static bool is_rewritten(const uint8_t *base, const uint8_t *now, uint32_t size)
{
	uint32_t samples = 0, kept = 0;

	for (uint32_t at = 0; at < size; at += SAMPLE_STRIDE, samples++)
		kept += memcmp(base + at, now + at, SAMPLE_BYTES) == 0;
	return kept < samples / 2;
}

static int write_image(struct commit *commit, const struct edit *edit,
                       const uint8_t *image, enum space_use use,
                       struct page_ref *ref, struct err *err)
{
	struct view_file *file = edit->file;
	int rc;

	*ref = (struct page_ref){ .length = file->page_size,
	                          .birth = commit->txid };
	rc = take(commit, file->units, use, &ref->place, err);
	if (rc)
		return rc;
	ref->checksum = page_file_checksum(file->file_id, edit->page_no,
	                                   ref->birth, image, ref->length);
	if (use == SPACE_PLACED)
		return page_file_write(file->file, ref, image, err);
	return store_late_image(commit->view, file->file, ref, image, err);
}

static int note(struct commit *commit, const struct edit *edit, uint32_t place,
                enum space_use use, struct err *err)
{
	if (use == SPACE_PLACED &&
	    PLANTED(commit->view->store->environment, PLANT_REUSE_PLACED))
		return ERR_NONE;
	return space_note(&commit->view->store->space, edit->file_id, place,
	                  edit->file->units, use, err);
}

static int put_placed(struct commit *commit, struct edit *edit,
                      const struct page_ref *ref, struct err *err)
{
	struct record_item item = { .kind = RECORD_PLACED,
	                            .file_id = edit->file_id,
	                            .page_no = edit->page_no,
	                            .place = ref->place,
	                            .checksum = ref->checksum };
	int rc = note(commit, edit, ref->place, SPACE_PLACED, err);

	commit->synced_needed = true;
	return rc ? rc : put_item(commit, &item, err);
}

static int put_image(struct commit *commit, struct edit *edit,
                     struct page_change *change, bool *changed,
                     struct err *err)
{
	struct view_file *file = edit->file;
	struct store_view *view = commit->view;
	bool fresh = is_fresh(edit), any;
	const uint8_t *base = NULL;
	struct record_item item = { .file_id = edit->file_id,
	                            .page_no = edit->page_no };
	int rc;

	*changed = true;
	if (!fresh) {
		rc = page_file_borrow(file->file, &edit->base, edit->page_no,
		                      &base, err);
		if (rc)
			return rc;
		if (memcmp(base, edit->now.image, file->page_size) == 0) {
			*changed = false;
			return ERR_NONE;
		}
	}
	if (view->record_size > RECORD_BYTES_MAX ||
	    (commit->placed &&
	     (!base || is_rewritten(base, edit->now.image, file->page_size)))) {
		rc = write_image(commit, edit, edit->now.image,
		                 PLANTED(view->store->environment,
		                         PLANT_PLACED_OVER_LOGGED)
		                         ? SPACE_LOGGED : SPACE_PLACED,
		                 &change->ref, err);
		return rc ? rc : put_placed(commit, edit, &change->ref, err);
	}
	rc = write_image(commit, edit, edit->now.image, SPACE_LOGGED, &change->ref, err);
	if (rc)
		return rc;
	item.kind = fresh ? RECORD_FRESH : RECORD_DIFF;
	item.place = change->ref.place;
	item.checksum = change->ref.checksum;
	rc = note(commit, edit, item.place, SPACE_LOGGED, err);
	if (!rc)
		rc = put_item(commit, &item, err);
	if (!rc)
		rc = store_record_ranges(view, base, edit->now.image,
		                         file->page_size, &any, err);
	return rc;
}

/* A difference of nothing, at another place. */
static int put_moved(struct commit *commit, struct edit *edit,
                     struct page_change *change, struct err *err)
{
	struct record_item item = { .kind = RECORD_DIFF,
	                            .file_id = edit->file_id,
	                            .page_no = edit->page_no };
	const uint8_t *base;
	bool any;
	int rc = page_file_borrow(edit->file->file, &edit->base, edit->page_no,
	                          &base, err);

	if (rc)
		return rc;
	if (commit->line != edit->now.line)
		commit->low = (struct space_low){ .from = { 0 } };
	commit->line = edit->now.line;
	rc = write_image(commit, edit, base, SPACE_LOGGED, &change->ref, err);
	if (rc)
		return rc;
	item.place = change->ref.place;
	item.checksum = change->ref.checksum;
	rc = note(commit, edit, item.place, SPACE_LOGGED, err);
	if (!rc)
		rc = put_item(commit, &item, err);
	if (!rc)
		rc = store_record_ranges(commit->view, base, base,
		                         edit->file->page_size, &any, err);
	return rc;
}

static int put_page(struct commit *commit, struct edit *edit,
                    struct page_change *change, bool *changed,
                    struct err *err)
{
	struct record_item item = { .file_id = edit->file_id,
	                            .page_no = edit->page_no };

	*change = (struct page_change){ .page_no = edit->page_no };
	*changed = true;
	switch (edit->now.state) {
	case EDIT_IMAGE:
		return put_image(commit, edit, change, changed, err);
	case EDIT_SPILLED:
		change->ref = edit->now.ref;
		commit->units_taken += edit->file->units;
		return put_placed(commit, edit, &change->ref, err);
	case EDIT_FREED:
		change->ref.flags = REF_FLAG_FREE;
		change->ref.place = edit->now.next_free;
		change->ref.birth = commit->txid;
		item.kind = RECORD_FREE;
		item.next = edit->now.next_free;
		return put_item(commit, &item, err);
	case EDIT_REMOVED:
		*changed = edit->base.length != 0 || edit->base.flags;
		if (!*changed)
			return ERR_NONE;
		item.kind = RECORD_REMOVE;
		return put_item(commit, &item, err);
	case EDIT_MOVED:
		return put_moved(commit, edit, change, err);
	case EDIT_ABSENT:
		break;
	}
	*changed = false;
	return ERR_NONE;
}

/* --- files ------------------------------------------------------------------------- */

static int put_entry(struct commit *commit, const struct edit *edit, bool *gone,
                     struct err *err)
{
	struct record_item item = { .kind = RECORD_ENTRY,
	                            .file_id = edit->file_id };
	const struct view_file *file = edit->file;
	bool any;
	int rc;

	*gone = edit->now.state == EDIT_REMOVED;
	if (*gone) {
		if (!file->committed)
			return ERR_NONE;
		item.kind = RECORD_GONE;
		return put_item(commit, &item, err);
	}
	rc = put_item(commit, &item, err);
	if (!rc)
		rc = store_record_ranges(commit->view,
		                         file->committed ? file->entry.bytes
		                                         : NULL,
		                         edit->now.image, CATALOG_ENTRY_LOGGED,
		                         &any, err);
	return rc;
}

/* A dropped file's private places were never published. */
static void drop_gone(struct store_view *view, struct edit **edits,
                      uint32_t count)
{
	(void)view;
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

/* All edits of one file: its entry's item, its pages, its new page table. */
static int put_file(struct commit *commit, struct edit **edits, uint32_t count,
                    struct catalog_change *catalog, struct catalog_entry *entry,
                    bool *touched, struct err *err)
{
	struct store_view *view = commit->view;
	struct view_file *file = edits[0]->file;
	struct page_table table = file->table, new_table;
	struct page_table_sink sink = { .take = sink_take,
	                                .superseded = sink_superseded,
	                                .write = sink_write,
	                                .context = commit };
	struct edit *last = edits[count - 1];
	uint32_t changes = 0, pages = count;
	bool gone = false, has_entry = last->page_no == ENTRY_PAGE;
	int rc = ERR_NONE;

	*touched = true;
	commit->file_id = file->file_id;
	commit->file = file->file;
	commit->units_taken = commit->units_superseded = 0;
	commit->line = 0;
	*catalog = (struct catalog_change){ .file_id = file->file_id,
	                                    .entry = entry };
	if (has_entry) {
		pages--;
		rc = put_entry(commit, last, &gone, err);
	}
	if (gone) {
		drop_gone(view, edits, count);
		catalog->entry = NULL;
		*touched = file->committed;
		return rc;
	}
	if (!file->committed && !has_entry) {
		*touched = false; /* its creation was rolled back */
		return rc;
	}
	for (uint32_t i = 0; !rc && i < pages; i++) {
		bool changed;

		rc = put_page(commit, edits[i], &view->changes[changes],
		              &changed, err);
		changes += changed;
	}
	memcpy(entry->bytes, store_view_file_entry(file)->bytes,
	       CATALOG_ENTRY_SIZE);
	if (!rc && changes) {
		rc = page_table_apply(file->file, &table, view->changes,
		                      changes, commit->txid, &sink, &new_table,
		                      err);
		if (!rc)
			store_entry_table_set(entry, &new_table);
		judge_release(commit, file->file);
	}
	*touched = changes || has_entry;
	return rc;
}

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
	if (commit->placed || view->image_bytes < PLACED_BYTES_MIN)
		return ERR_NONE;
	for (uint32_t i = 0; i < count && bytes < PLACED_BYTES_MIN; i++) {
		struct edit *edit = view->sorted[i];
		uint32_t size = edit->file->page_size;
		const uint8_t *base;
		int rc;

		if (edit->page_no == ENTRY_PAGE ||
		    edit->now.state != EDIT_IMAGE)
			continue;
		if (is_fresh(edit)) {
			bytes += size;
			continue;
		}
		rc = page_file_borrow(edit->file->file, &edit->base,
		                      edit->page_no, &base, err);
		if (rc)
			return rc;
		if (is_rewritten(base, edit->now.image, size))
			bytes += size;
	}
	commit->placed = bytes >= PLACED_BYTES_MIN;
	return ERR_NONE;
}

struct entries {
	struct catalog_change *changes;
	struct catalog_entry *entries;
	uint32_t count;
};

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

/* Everything up to the appended record. */
static int prepare(struct commit *commit, struct store_root *root,
                   bool *nothing, struct err *err)
{
	struct store_view *view = commit->view;
	struct store *store = view->store;
	struct catalog_change few_changes[8];
	struct catalog_entry few_entries[8];
	struct entries entries = { .changes = few_changes,
	                           .entries = few_entries };
	struct page_table_sink sink = { .take = sink_take,
	                                .superseded = sink_superseded,
	                                .write = sink_write,
	                                .context = commit };
	struct span payload;
	uint32_t count, files = 0;
	int rc = sort_edits(view, &count, err);

	*nothing = false;
	if (rc)
		return rc;
	for (uint32_t i = 0; i < count; i++)
		files += i == 0 ||
		         view->sorted[i]->file_id != view->sorted[i - 1]->file_id;
	if (files > 8) {
		entries.changes = heap_allocate(store->heap,
		                                files * sizeof few_changes[0]);
		entries.entries = heap_allocate(store->heap,
		                                files * sizeof few_entries[0]);
		if (!entries.changes || !entries.entries) {
			rc = err_set(err, ERR_NOMEM, "commit", store->path,
			             "%u files", files);
			goto free_entries;
		}
	}
	rc = decide_placed(commit, count, err);
	if (!rc)
		rc = store_record_begin(view, commit->txid, err);
	if (!rc)
		rc = put_files(commit, count, &entries, err);
	*nothing = entries.count == 0;
	if (rc || *nothing)
		goto free_entries;
	commit->line = 0;
	commit->file_id = STORE_CATALOG_FILE_ID;
	commit->file = store->catalog_file;
	rc = store_catalog_apply(store, &view->root.catalog, entries.changes,
	                         entries.count, commit->txid, &sink,
	                         &root->catalog, err);
	if (!rc)
		rc = sync_placed(commit, count, err);
	if (rc)
		goto free_entries;
	store_record_end(view, commit->items);
	root->txid = commit->txid;
	if (PLANTED(store->environment, PLANT_PUBLISH_BEFORE_RECORD))
		store_publish(store, root);
	payload = span_of(view->record, view->record_size);
	rc = wal_append(store->wal, &payload, 1, &root->lsn, err);

free_entries:
	if (entries.changes != few_changes) {
		heap_free(store->heap, entries.changes);
		heap_free(store->heap, entries.entries);
	}
	return rc;
}

void store_publish(struct store *store, const struct store_root *root)
{
	struct shm_head *head = store->shm.head;

	assert(root->txid >= atomic_load(&head->published)); /* 5 */
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

/* Publishes, unless a replay has. */
static void finish(const struct commit *commit, const struct store_root *root,
                   bool replayed, bool *checkpoint)
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
	if (view->drops || commit->releases_now || store_checkpoint_due(store))
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
	struct commit commit = { .view = view, .txid = view->root.txid + 1 };
	struct store_root root = view->root;
	bool nothing, checkpoint, replayed, drops = view->drops;
	bool now = durability == STORE_DURABLE_NOW &&
	           !PLANTED(store->environment, PLANT_ACK_WITHOUT_SYNC);
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
		store_late_begin(view, now && wal_sync_is_lone(store->wal));
		rc = prepare(&commit, &root, &nothing, err);
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
	rc = write_late(view, &root, &replayed, err);
	if (rc) {
		disown_spilled(view);
		leave(view);
		return rc;
	}
	finish(&commit, &root, replayed, &checkpoint);
	view->root = root;
	leave(view);
	if (now) {
		rc = wal_sync(store->wal, root.lsn, err);
		if (rc)
			store_poison(store);
	}
	/* What follows is care: a failure shows at the next who needs it. What was
	 * dropped is to be gone when the caller looks. */
	if (checkpoint && (drops || commit.releases_now)) {
		store_checkpoint_run(store, &ignored);
		checkpoint = false;
	}
	orders = checkpoint ? ORDER_CHECKPOINT : 0;
	if (wal_prepare_due(store->wal))
		orders |= ORDER_PREPARE_LOG;
	if (orders)
		store_background_order(store, orders);
	store_checkpoint_help(store);
	return rc;
}
