/*
 * replay.c - applies log records to a snapshot: in recovery, and when a writer died
 * after its record was whole.
 *
 * Records are followed in order. A page's last image goes to the place its record
 * names (replay_pages.c); where pages are is kept in memory, file by file, and becomes
 * page tables and catalog pages at the end, on places that neither the base snapshot
 * reaches nor any record named.
 *
 * (R1) Only what the base snapshot reaches and what this replay made is read; every
 *      page's last version is rewritten, "already there" is not known (rule 3). PLACED pages are
 *      read to verify them.
 * (R2) Nothing is written over what the base reaches, so a replay that dies is
 *      repaired by the next one.
 * (R3) A recovery rehearses first: everything but the writing. Damage to the log, to
 *      the pages that its differences build on, or to map pages is met before a byte
 *      has changed.
 */
#include "vfs/replay_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int store_replay_open(struct store *store, const struct store_root *base,
                      bool alone, struct replay **opened, struct err *err)
{
	struct replay *replay = heap_zeroed(store->heap, sizeof *replay);

	if (!replay)
		goto no_memory;
	replay->image = heap_allocate(store->heap, 2 * (size_t)STORE_PAGE_SIZE);
	if (!replay->image)
		goto free_replay;
	replay->before = replay->image + STORE_PAGE_SIZE;
	replay->store = store;
	replay->base = *base;
	replay->alone = alone;
	replay->txid = base->txid;
	*opened = replay;
	return ERR_NONE;

free_replay:
	heap_free(store->heap, replay);
no_memory:
	return err_set(err, ERR_NOMEM, "replay log of", store->path,
	               "working memory");
}

void store_replay_rehearse(struct replay *replay)
{
	replay->rehearsal = true;
}

void store_replay_close(struct replay *replay)
{
	struct heap *heap = replay->store->heap;

	while (replay->files) {
		struct replay_file *next = replay->files->next;

		heap_free(heap, replay->files->pages);
		heap_free(heap, replay->files->places);
		heap_free(heap, replay->files);
		replay->files = next;
	}
	heap_free(heap, replay->arena);
	heap_free(heap, replay->image);
	heap_free(heap, replay);
}

/* --- files -------------------------------------------------------------------------- */

int replay_refuse(const struct replay *replay, struct err *err,
                  const char *what, uint32_t file_id, uint32_t page_no)
{
	return err_set(err, ERR_CORRUPT, "replay log of", replay->store->path,
	               "commit %" PRIu64 ": %s (file %u, page %u)",
	               replay->txid, what, file_id, page_no);
}

static int file_find(struct replay *replay, uint32_t file_id,
                     struct replay_file **found, struct err *err)
{
	struct store *store = replay->store;
	struct replay_file *file = replay->files;
	int rc;

	while (file && file->file_id != file_id)
		file = file->next;
	if (file) {
		*found = file;
		return ERR_NONE;
	}
	file = heap_zeroed(store->heap, sizeof *file);
	if (!file)
		return err_set(err, ERR_NOMEM, "replay log of", store->path,
		               "file %u", file_id);
	file->file_id = file_id;
	rc = store_catalog_read(store, &replay->base.catalog, file_id,
	                        &file->entry, err);
	file->exists = file->existed = !rc && store_entry_live(&file->entry);
	if (file->exists) {
		store_entry_table(&file->entry, &file->table);
		if (file_id == STORE_CATALOG_FILE_ID)
			file->file = store->catalog_file;
		else
			rc = store_files_get(store, &file->entry, &file->file,
			                     err);
	}
	if (rc) {
		heap_free(store->heap, file);
		return rc;
	}
	file->next = replay->files;
	replay->files = file;
	replay->file_count++;
	*found = file;
	return ERR_NONE;
}

/* Rehearsed: what file_appear() is going to make. */
static int file_will_appear(struct replay *replay, struct replay_file *file,
                            struct err *err)
{
	struct store *store = replay->store;
	struct os_identity identity;
	char name[96];
	int rc;

	store_entry_name(&file->entry, name);
	rc = store->os->methods->identify(store->os, store->dir, name, &identity,
	                                  err);
	file->unmade = true;
	file->missing = !rc && identity.kind == OS_NODE_MISSING;
	return rc;
}

/* A file whose creation or header had not reached the disk is made again; one whose
 * header is there is kept, for a PLACED page may lie in it. That header is written
 * again, too (R1): a sync that failed may have left it in the page cache only. */
static int file_appear(struct replay *replay, struct replay_file *file,
                       struct err *err)
{
	struct store *store = replay->store;
	struct err ignored;
	int rc;

	if (file->file)
		return ERR_NONE;
	rc = store_files_get(store, &file->entry, &file->file, &ignored);
	if (replay->rehearsal && (!rc || rc == ERR_CORRUPT))
		return rc ? file_will_appear(replay, file, err) : ERR_NONE;
	if (rc == ERR_CORRUPT)
		rc = store_files_make(store, &file->entry, &file->file, err);
	else if (!rc)
		rc = page_file_header_write(file->file, err);
	else if (err)
		*err = ignored;
	return rc;
}

/* What a file is never changes; its name comes from its id and hint. */
static bool same_file(const struct catalog_entry *before,
                      const struct catalog_entry *after)
{
	const uint8_t *a = before->bytes, *b = after->bytes;

	return a[CATALOG_KIND_AT] == b[CATALOG_KIND_AT] &&
	       load_le32(a + CATALOG_PAGE_SIZE_AT) ==
	               load_le32(b + CATALOG_PAGE_SIZE_AT) &&
	       memcmp(a + CATALOG_BIRTH_AT, b + CATALOG_BIRTH_AT,
	              CATALOG_STATE_AT - CATALOG_BIRTH_AT) == 0;
}

static int apply_entry(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err)
{
	struct catalog_entry before = file->entry;
	int rc;

	if (file->gone)
		return replay_refuse(replay, err, "a dropped file changes", item->file_id,
		           0);
	rc = store_ranges_apply(item->ranges, before.bytes, file->entry.bytes,
	                        CATALOG_ENTRY_LOGGED, err);
	if (!rc)
		rc = store_entry_check(&file->entry, file->file_id, err);
	if (!rc && file->exists && !same_file(&before, &file->entry))
		rc = replay_refuse(replay, err, "a file becomes another", item->file_id, 0);
	if (rc)
		return rc;
	file->entry_changed = true;
	file->exists = true;
	if (file->file_id == STORE_CATALOG_FILE_ID)
		return ERR_NONE;
	return file_appear(replay, file, err);
}

/* --- pages -------------------------------------------------------------------------- */

static int place_check(const struct replay *replay,
                       const struct replay_file *file,
                       const struct record_item *item, uint32_t units,
                       struct err *err)
{
	if (item->place < FILE_FIRST_PLACE || item->place % units != 0 ||
	    item->place > UINT32_MAX - units)
		return replay_refuse(replay, err, "a page at an impossible place",
		           file->file_id, item->page_no);
	return ERR_NONE;
}

/* A page that is in its file already. Of a file whose name has not reached the disk
 * that cannot be: its directory was synced before the record was written. */
static int verify_placed(struct replay *replay, struct replay_file *file,
                         const struct record_item *item,
                         const struct page_ref *ref, struct err *err)
{
	const uint8_t *bytes;

	if (file->missing)
		return replay_refuse(replay, err, "the file of a page that was synced is not there",
		           file->file_id, item->page_no);
	if (file->unmade)
		return ERR_NONE;
	return page_file_verify(file->file, ref, item->page_no, &bytes, err);
}

static int apply_image(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err)
{
	uint32_t page_size = load_le32(file->entry.bytes + CATALOG_PAGE_SIZE_AT);
	struct page_ref ref = { .place = item->place, .length = page_size,
	                        .birth = replay->txid,
	                        .checksum = item->checksum };
	uint32_t units = store_units(page_size);
	int rc = place_check(replay, file, item, units, err);

	if (rc)
		return rc;
	file->units = units;
	rc = replay_place_claim(replay, file, ref.place, item->page_no, err);
	if (!rc && item->kind == RECORD_PLACED)
		rc = verify_placed(replay, file, item, &ref, err);
	if (!rc && !replay->alone)
		rc = space_note(&replay->store->space, file->file_id, ref.place,
		                units,
		                item->kind == RECORD_PLACED ? SPACE_PLACED
		                                            : SPACE_LOGGED,
		                err);
	if (rc)
		return rc;
	if (item->kind == RECORD_PLACED)
		return replay_page_set(replay, file, item->page_no, &ref, err);
	return replay->rehearsal
	               ? replay_page_rehearse(replay, file, item, &ref, err)
	               : replay_page_change(replay, file, item, &ref, err);
}

static int apply_item(struct replay *replay, const struct record_item *item,
                      struct err *err)
{
	struct page_ref ref = { .length = 0 };
	struct replay_file *file = NULL;
	int rc = file_find(replay, item->file_id, &file, err);

	if (rc)
		return rc;
	if (item->kind == RECORD_ENTRY)
		return apply_entry(replay, file, item, err);
	if (!file->exists || (!file->file && !file->unmade) ||
	    item->file_id == STORE_CATALOG_FILE_ID)
		return replay_refuse(replay, err, "a page of a file that is not there",
		           item->file_id, item->page_no);
	switch (item->kind) {
	case RECORD_GONE:
		file->gone = true;
		file->exists = false;
		return ERR_NONE;
	case RECORD_FREE:
		ref.flags = REF_FLAG_FREE;
		ref.place = item->next;
		ref.birth = replay->txid;
		return replay_page_set(replay, file, item->page_no, &ref, err);
	case RECORD_REMOVE:
		return replay_page_set(replay, file, item->page_no, &ref, err);
	default:
		return apply_image(replay, file, item, err);
	}
}

int store_replay_record(struct replay *replay, uint64_t lsn,
                        struct span payload, struct err *err)
{
	struct record_item item;
	size_t at = RECORD_HEAD_SIZE;
	uint64_t txid;
	uint32_t items;
	int rc = store_record_head(payload, &txid, &items, err);

	if (rc)
		return rc;
	if (txid != replay->txid + 1)
		return err_set(err, ERR_CORRUPT, "replay log of",
		               replay->store->path,
		               "the record at %" PRIu64 " is commit %" PRIu64
		               ", %" PRIu64 " was expected",
		               lsn, txid, replay->txid + 1);
	replay->txid = txid;
	for (; !rc && items; items--) {
		rc = store_record_next(payload, &at, &item, err);
		if (!rc)
			rc = apply_item(replay, &item, err);
	}
	if (!rc && at != payload.size)
		rc = replay_refuse(replay, err, "bytes after the last item", 0, 0);
	replay->records++;
	return rc;
}

/* --- the end -------------------------------------------------------------------------- */

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

static int by_page(const void *left, const void *right)
{
	const struct page_change *a = left, *b = right;

	return a->page_no < b->page_no ? -1 : a->page_no > b->page_no;
}

/* The file's part of the allocator, without the places that records named. Some of
 * those were never written, and the file may be too short for them. */
static int ensure_space(struct replay *replay, struct replay_file *file,
                        struct err *err)
{
	struct heap *heap = replay->store->heap;
	struct taken *others = heap_allocate(
		heap, (file->place_count + (size_t)1) * sizeof *others);
	uint64_t end = 0;
	uint32_t count = 0;
	int rc;

	if (!others)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "list of %u places",
		               file->place_count);
	for (uint32_t i = 0; i < file->place_room; i++)
		if (file->places[i].place)
			others[count++] = (struct taken){
				.file_id = file->file_id,
				.place = file->places[i].place,
				.units = file->units,
			};
	for (uint32_t i = 0; i < count; i++)
		if ((uint64_t)others[i].place + file->units > end)
			end = (uint64_t)others[i].place + file->units;
	rc = page_file_reserve(file->file, end, &file->capacity, err);
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
	size_t count = 0;
	int rc;

	if (file->file_id == STORE_CATALOG_FILE_ID || !file->count)
		return ERR_NONE;
	changes = heap_allocate(replay->store->heap,
	                        file->count * sizeof *changes);
	if (!changes)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "%u pages", file->count);
	for (uint32_t i = 0; i < file->room; i++)
		if (file->pages[i].used)
			changes[count++] = (struct page_change){
				.page_no = file->pages[i].page_no,
				.ref = file->pages[i].ref,
			};
	qsort(changes, count, sizeof *changes, by_page);
	rc = ensure_space(replay, file, err);
	if (!rc)
		rc = page_table_apply(file->file, &file->table, changes, count,
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

/* (R2) What the base reaches is named by no record. All places of a file have one
 * size and are aligned to it. */
static int visit_reached(void *context, uint32_t level, uint64_t index,
                         const struct page_ref *ref, struct err *err)
{
	const struct replay_file *file = context;
	uint32_t place = ref->place;

	if ((ref->flags & REF_FLAG_FREE) || !file->place_count)
		return ERR_NONE;
	place -= place % file->units;
	if (!replay_place_named(file, place))
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

int store_replay_rehearsed(struct replay *replay, struct err *err)
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
	return rc;
}

int store_replay_finish(struct replay *replay, struct store_root *root,
                        bool *changed, struct err *err)
{
	int rc = ERR_NONE;

	*root = replay->base;
	*changed = replay->records != 0;
	if (!*changed)
		return ERR_NONE;
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
