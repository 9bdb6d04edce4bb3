/*
 * commit_files.c - what a commit does file by file: its edits in order of files and
 * pages, whether their pages are PLACED, each file's pages, entry and page table, and
 * the catalog that names them.
 *
 * A commit that makes or rewrites much syncs the files that get much of it instead of
 * writing the bytes twice: its record only names their places (rule 1). All else goes
 * to places unsynced, for the record can make it again.
 */
#include "vfs/commit_private.h"

#include <stdlib.h>

enum {
	/* Of a large commit a file that gets less is logged, too: a dump of a thousand
	 * tables is one commit, and each sync a wait for the disk. */
	PLACED_FILE_BYTES_MIN = 256 << 10,

	/* A file that loses so many units gives blocks back at the next checkpoint,
	 * or at once when it is much and a good part of it. */
	RELEASE_UNITS_MIN = 16,
	RELEASE_NOW_UNITS_MIN = 256,
	RELEASE_NOW_PART = 16,

	DROP_UNITS_MIN = 16, /* that a dropped file has at least */
};

/* --- edits in order ---------------------------------------------------------------- */

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

int store_commit_sort(struct store_view *view, uint32_t *count,
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

/* --- PLACED pages ------------------------------------------------------------------ */

/* What the record only names is on disk before it. (rule 1) */
int store_commit_sync_placed(struct commit *commit, uint32_t count,
                             struct err *err)
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

		if (file->placed_txid != commit->txid || file->file == synced)
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

/* Whether `least` bytes of pages or more are new or rewritten. */
static int rewrites(struct edit *const *edits, uint32_t count, size_t least,
                    bool *enough, struct err *err)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < count && bytes < least; i++) {
		struct edit *edit = edits[i];
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
	*enough = bytes >= least;
	return ERR_NONE;
}

int store_commit_large(struct commit *commit, uint32_t count, struct err *err)
{
	struct store_view *view = commit->view;

	commit->large = view->spilled;
	if (commit->large || view->image_bytes < STORE_PLACED_BYTES_MIN)
		return ERR_NONE;
	return rewrites(view->sorted, count, STORE_PLACED_BYTES_MIN,
	                &commit->large, err);
}

/* --- one file ---------------------------------------------------------------------- */

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

/* A file that has spilled pages is synced in any case. */
static int decide_placed(struct commit *commit, struct edit *const *edits,
                         uint32_t count, struct err *err)
{
	commit->placed = false;
	if (!commit->large)
		return ERR_NONE;
	for (uint32_t i = 0; i < count && !commit->placed; i++)
		commit->placed = edits[i]->now.state == EDIT_SPILLED;
	if (commit->placed)
		return ERR_NONE;
	return rewrites(edits, count, PLACED_FILE_BYTES_MIN, &commit->placed,
	                err);
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
	int rc = decide_placed(commit, edits, count, err);

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

/* --- all files --------------------------------------------------------------------- */

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

int store_commit_files(struct commit *commit, uint32_t count,
                       struct store_root *root, bool *nothing, struct err *err)
{
	struct store_view *view = commit->view;
	struct entries entries;
	int rc = entries_open(view, count, &entries, err);

	if (!rc)
		rc = put_files(commit, count, &entries, err);
	*nothing = entries.count == 0;
	if (!rc && !*nothing)
		rc = put_catalog(commit, &entries, root, err);
	entries_close(view, &entries);
	return rc;
}
