/*
 * replay_finish.c - the end of a replay: what records said becomes a snapshot.
 *
 * When all records were followed, all that can still be wrong is looked for; then files
 * are made, pages written (replay_present.c, replay_write.c), and where pages are becomes
 * page tables and catalog pages, on places that neither the base snapshot reaches nor
 * any record named. The sync of all that is the caller's last step but the superblock.
 */
#include "vfs/replay_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- before anything changes ------------------------------------------------------------ */

/* (vfs/replay R2) What the base reaches is named by no record. All places of a file have
 * one size and are aligned to it. A place beyond the end is met at the latest where free
 * ones are looked for, when pages have been written (vfs/replay R3). */
static int visit_reached(void *context, uint32_t level, uint64_t index,
                         const struct page_ref *ref, struct err *err)
{
	const struct replay_file *file = context;
	uint32_t place = ref->place;
	int rc;

	if (ref->flags & REF_FLAG_FREE)
		return ERR_NONE;
	rc = level ? ERR_NONE
	           : page_file_place_check(file->file, ref, index, err);
	if (rc)
		return rc;
	place &= ~(store_units(file->page_size) - 1);
	if (!sparse_bits_has(&file->named, place))
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "replay log into",
	               page_file_name(file->file),
	               "a record writes to place %u, where the last checkpoint has %spage %" PRIu64,
	               place, level ? "map " : "", index);
}

static int entry_nothing(void *context, uint32_t file_id,
                         const struct catalog_entry *entry, struct err *err)
{
	(void)context, (void)file_id, (void)entry, (void)err;
	return ERR_NONE;
}

/* (vfs/replay R3) All that can be wrong is found here; see (vfs/replay_present F3). */
int store_replay_check(struct replay *replay, struct err *err)
{
	int rc = store_catalog_each(replay->store, &replay->base.catalog,
	                            entry_nothing, NULL, err);

	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next) {
		if (!file->existed || file->file_id == STORE_CATALOG_FILE_ID)
			continue;
		rc = page_table_walk(file->file, &file->table, 0, visit_reached,
		                     file, err);
	}
	if (!rc)
		rc = replay_places_check(replay, err);
	if (!rc)
		rc = replay_present_write(replay, err);
	return rc ? rc : replay_bases_verify(replay, err);
}

/* --- page tables and the catalog -------------------------------------------------------- */

struct finishing {
	struct replay *replay;
	struct page_file *file;
	uint32_t file_id;
};

static int take(void *context, uint32_t *place, struct err *err)
{
	struct finishing *finishing = context;

	return space_take(&finishing->replay->store->space, finishing->file, 1,
	                  SPACE_LOGGED, place, err);
}

static int superseded(void *context, uint32_t place, uint32_t units,
                      uint64_t birth, struct err *err)
{
	(void)context, (void)place, (void)units, (void)birth, (void)err;
	return ERR_NONE;
}

/* What became of the file's pages, by their numbers; the caller frees it. */
static struct page_change *changes_list(const struct replay *replay,
                                        const struct replay_file *file)
{
	struct heap *heap = replay->store->heap;
	size_t count = file->count;
	struct page_change *changes = heap_allocate(heap, count * sizeof *changes);
	uint64_t *keys = heap_allocate(heap, count * sizeof *keys);

	if (!changes || !keys) {
		heap_free(heap, changes);
		changes = NULL;
		goto free_keys;
	}
	for (uint32_t i = 0; i < count; i++)
		keys[i] = (uint64_t)replay_page_at(file, i)->page_no << 32 | i;
	replay_keys_sort(heap, keys, count);
	for (size_t i = 0; i < count; i++) {
		const struct replay_page *page =
			replay_page_at(file, (uint32_t)keys[i]);

		changes[i] = (struct page_change){ .page_no = page->page_no,
		                                   .ref = page->ref };
	}

free_keys:
	heap_free(heap, keys);
	return changes;
}

/* The file's part of the allocator, without the places that records named. Some of
 * those were never written, and the file may be too short for them. */
static int ensure_space(struct replay *replay, struct replay_file *file,
                        struct err *err)
{
	struct heap *heap = replay->store->heap;
	struct taken *others = heap_allocate(
		heap, (file->named.count + (size_t)1) * sizeof *others);
	uint32_t count = 0, units = store_units(file->page_size);
	uint64_t end = 0, capacity;
	int rc;

	if (!others)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "list of %u places",
		               file->named.count);
	for (uint32_t at = sparse_bits_next(&file->named, FILE_FIRST_PLACE);
	     at && count < file->named.count;
	     at = sparse_bits_next(&file->named, at + 1)) {
		others[count++] = (struct taken){ .file_id = file->file_id,
		                                  .place = at,
		                                  .units = units };
		end = (uint64_t)at + units;
	}
	rc = page_file_reserve(file->file, end, &capacity, err);
	if (!rc)
		rc = store_space_ensure(replay->store, file->file_id,
		                        file->file, &replay->base, others,
		                        count, err);
	heap_free(heap, others);
	return rc;
}

static int finish_file(struct replay *replay, struct replay_file *file,
                       struct err *err)
{
	struct finishing finishing = { .replay = replay, .file = file->file,
	                               .file_id = file->file_id };
	struct page_table_sink sink = { .take = take, .superseded = superseded,
	                                .context = &finishing };
	struct page_change *changes;
	struct page_table table;
	int rc;

	if (file->file_id == STORE_CATALOG_FILE_ID || !file->count)
		return ERR_NONE;
	changes = changes_list(replay, file);
	if (!changes)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "%u pages", file->count);
	rc = ensure_space(replay, file, err);
	if (!rc)
		rc = page_table_apply(file->file, &file->table, changes, file->count,
		                      replay->txid, &sink, &table, err);
	if (!rc) {
		store_entry_table_set(&file->entry, &table);
		file->entry_changed = true;
	}
	heap_free(replay->store->heap, changes);
	return rc;
}

static int by_file(const void *left, const void *right)
{
	const struct catalog_change *a = left, *b = right;

	return a->file_id < b->file_id ? -1 : a->file_id > b->file_id;
}

static int finish_catalog(struct replay *replay, struct store_root *root,
                          struct err *err)
{
	struct store *store = replay->store;
	struct finishing finishing = { .replay = replay,
	                               .file = store->catalog_file };
	struct page_table_sink sink = { .take = take, .superseded = superseded,
	                                .context = &finishing };
	struct catalog_change *changes;
	size_t count = 0;
	int rc;

	changes = heap_allocate(store->heap,
	                        (replay->file_count + 1) * sizeof *changes);
	if (!changes)
		return err_set(err, ERR_NOMEM, "replay log of", store->path,
		               "%u files", replay->file_count);
	for (struct replay_file *file = replay->files; file; file = file->next)
		if ((file->gone && file->existed) ||
		    (!file->gone && file->entry_changed))
			changes[count++] = (struct catalog_change){
				.file_id = file->file_id,
				.entry = file->gone ? NULL : &file->entry,
			};
	qsort(changes, count, sizeof *changes, by_file);
	rc = store_space_ensure(store, STORE_CATALOG_FILE_ID,
	                        store->catalog_file, &replay->base, NULL, 0,
	                        err);
	if (!rc)
		rc = store_catalog_apply(store, &replay->base.catalog, changes,
		                         count, replay->txid, &sink,
		                         &root->catalog, err);
	heap_free(store->heap, changes);
	return rc;
}

/* --- all of it -------------------------------------------------------------------------- */

/* A header that is there is written again, too (vfs/replay R1), (rule 3): a sync that
 * failed may have left it in the page cache only. */
static int file_make(struct replay *replay, struct replay_file *file,
                     struct err *err)
{
	int rc;

	if (!file->appears || file->gone)
		return ERR_NONE;
	if (!file->unmade)
		return page_file_header_write(file->file, err);
	rc = store_files_make(replay->store, &file->entry, &file->file, err);
	if (rc)
		return rc;
	file->unmade = false;
	return ERR_NONE;
}

int store_replay_finish(struct replay *replay, struct store_root *root,
                        bool *changed, struct err *err)
{
	int rc = ERR_NONE;

	*root = replay->base;
	*changed = replay->records != 0;
	if (!*changed)
		return ERR_NONE;
	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next)
		rc = file_make(replay, file, err);
	if (!rc)
		rc = replay_pages_write(replay, err);
	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next)
		if (!file->gone)
			rc = finish_file(replay, file, err);
	if (!rc)
		rc = finish_catalog(replay, root, err);
	root->txid = replay->txid;
	return rc;
}

int store_replay_sync(struct replay *replay, struct err *err)
{
	struct store *store = replay->store;
	int rc = ERR_NONE;

	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next)
		if (!file->gone && file->file &&
		    file->file_id != STORE_CATALOG_FILE_ID)
			rc = page_file_sync(file->file, err);
	if (!rc)
		rc = page_file_sync(store->catalog_file, err);
	if (!rc)
		rc = store->os->methods->directory_sync(store->dir, "root", err);
	return rc;
}
