/*
 * replay.c - applies log records to a snapshot: in recovery, and when a writer died
 * after its record was whole.
 *
 * Records are followed in order, and first only remembered (replay_pages.c). When all
 * of them make sense, each page's last version is written to the place its record names:
 * as it is found there (replay_present.c), or made (replay_write.c); what they all say
 * becomes page tables and a catalog (replay_finish.c).
 *
 * (R1) Bytes come from what the base snapshot reaches and from the log; from the place
 *      of a page's last version only when they have the checksum that its record names.
 *      Wherever they come from, every page's last version is written again, for "already
 *      there" is not known (rule 3). PLACED pages are read to verify them.
 * (R2) Nothing is written over what the base reaches, so a replay that dies is
 *      repaired by the next one.
 * (R3) Nothing is written before all records were followed. Damage to the log, to
 *      map pages, or to the pages that differences build on, where these are needed, is
 *      met before a byte has changed: until then images that are there are written as
 *      they are.
 * (R4) Rule 2 is checked, not believed: a log in which a place that was synced with a
 *      page has another version, too, is refused.
 */
#include "vfs/replay_private.h"

#include <inttypes.h>

int store_replay_open(struct store *store, const struct store_root *base,
                      bool alone, struct replay **opened, struct err *err)
{
	struct replay *replay = heap_zeroed(store->heap, sizeof *replay);

	if (!replay)
		goto no_memory;
	replay->scratch = heap_allocate(store->heap, STORE_PAGE_SIZE);
	if (!replay->scratch)
		goto free_replay;
	replay->store = store;
	replay->base = *base;
	replay->alone = alone;
	replay->crew = store_crew_size(store);
	replay->txid = base->txid;
	*opened = replay;
	return ERR_NONE;

free_replay:
	heap_free(store->heap, replay);
no_memory:
	return err_set(err, ERR_NOMEM, "replay log of", store->path,
	               "working memory");
}

void replay_forget(struct replay *replay)
{
	struct heap *heap = replay->store->heap;

	replay_changes_forget(replay);
	while (replay->files) {
		struct replay_file *next = replay->files->next;

		replay_pages_free(replay, replay->files);
		sparse_bits_free(&replay->files->named);
		sparse_bits_free(&replay->files->placed);
		heap_free(heap, replay->files->presumed.overlay);
		heap_free(heap, replay->files);
		replay->files = next;
	}
	heap_free(heap, replay->later);
	replay->later = NULL;
	replay->later_count = replay->later_room = 0;
	replay->txid = replay->base.txid;
	replay->records = 0;
	replay->file_count = replay->waiting_count = 0;
	replay->counting = false;
}

void store_replay_close(struct replay *replay)
{
	struct heap *heap = replay->store->heap;

	replay_forget(replay);
	heap_free(heap, replay->scratch);
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

int replay_no_room_for_places(const struct replay *replay, struct err *err)
{
	return err_set(err, ERR_NOMEM, "replay log of", replay->store->path,
	               "list of places");
}

static void page_size_set(struct replay_file *file)
{
	file->page_size = load_le32(file->entry.bytes + CATALOG_PAGE_SIZE_AT);
	file->units = store_units(file->page_size);
}

/* To a part any file is there, with pages of any size; what it takes for granted is
 * looked at when it is joined. */
static int file_enter_base(struct replay *replay, struct replay_file *file,
                           struct err *err)
{
	struct store *store = replay->store;
	int rc;

	if (replay->part) {
		file->exists = file->unmade = true;
		file->page_size = STORE_PAGE_SIZE;
		file->units = 1;
		return ERR_NONE;
	}
	rc = store_catalog_read(store, &replay->base.catalog, file->file_id,
	                        &file->entry, err);
	file->exists = file->existed = !rc && store_entry_live(&file->entry);
	if (!file->exists)
		return rc;
	page_size_set(file);
	store_entry_table(&file->entry, &file->table);
	if (file->file_id != STORE_CATALOG_FILE_ID)
		return store_files_get(store, &file->entry, &file->file, err);
	file->file = store->catalog_file;
	return ERR_NONE;
}

static int file_enter(struct replay *replay, uint32_t file_id,
                      struct replay_file **entered, struct err *err)
{
	struct store *store = replay->store;
	struct replay_file *file = heap_zeroed(store->heap, sizeof *file);
	int rc;

	if (!file)
		return err_set(err, ERR_NOMEM, "replay log of", store->path,
		               "file %u", file_id);
	file->file_id = file_id;
	sparse_bits_init(&file->named, store->heap);
	sparse_bits_init(&file->placed, store->heap);
	rc = file_enter_base(replay, file, err);
	if (rc) {
		heap_free(store->heap, file);
		return rc;
	}
	file->next = replay->files;
	replay->files = file;
	replay->file_count++;
	*entered = file;
	return ERR_NONE;
}

/* Moves it to the front: records name few files, one after the other. */
static __attribute__((noinline)) int
file_fetch(struct replay *replay, uint32_t file_id, struct replay_file **found,
           struct err *err)
{
	struct replay_file **at = &replay->files, *file;

	while (*at && (*at)->file_id != file_id)
		at = &(*at)->next;
	file = *at;
	if (!file)
		return file_enter(replay, file_id, found, err);
	*at = file->next;
	file->next = replay->files;
	replay->files = file;
	*found = file;
	return ERR_NONE;
}

int replay_file_find(struct replay *replay, uint32_t file_id,
                     struct replay_file **found, struct err *err)
{
	*found = replay->files;
	if (__builtin_expect(*found && (*found)->file_id == file_id, 1))
		return ERR_NONE;
	return file_fetch(replay, file_id, found, err);
}

bool replay_file_usable(const struct replay_file *file)
{
	return file->exists && (file->file || file->unmade) &&
	       file->file_id != STORE_CATALOG_FILE_ID;
}

/* A file whose creation or header had not reached the disk is going to be made again;
 * one whose header is there is kept, for a PLACED page may lie in it. */
static int file_appear(struct replay *replay, struct replay_file *file,
                       struct err *err)
{
	struct store *store = replay->store;
	struct os_identity identity;
	struct err reason;
	char name[96];
	int rc;

	if (file->file || file->unmade)
		return ERR_NONE;
	file->appears = true;
	rc = store_files_get(store, &file->entry, &file->file, &reason);
	if (rc && rc != ERR_CORRUPT && err)
		*err = reason;
	if (rc != ERR_CORRUPT)
		return rc;
	store_entry_name(&file->entry, name);
	rc = store->os->methods->identify(store->os, store->dir, name, &identity,
	                                  err);
	file->unmade = true;
	file->missing = !rc && identity.kind == OS_NODE_MISSING;
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

int replay_entry_set(struct replay *replay, struct replay_file *file,
                     const struct catalog_entry *entry, struct err *err)
{
	int rc = store_entry_check(entry, file->file_id, err);

	if (!rc && file->exists && !same_file(&file->entry, entry))
		rc = replay_refuse(replay, err, "a file becomes another",
		                   file->file_id, 0);
	if (rc)
		return rc;
	file->entry = *entry;
	file->entry_changed = true;
	file->exists = true;
	page_size_set(file);
	if (file->file_id == STORE_CATALOG_FILE_ID)
		return ERR_NONE;
	return file_appear(replay, file, err);
}

int replay_entry_apply(struct replay *replay, struct replay_file *file,
                       struct span ranges, struct err *err)
{
	struct catalog_entry entry = file->entry;
	int rc;

	if (file->gone)
		return replay_refuse(replay, err, "a dropped file changes",
		                     file->file_id, 0);
	rc = store_ranges_apply(ranges, file->entry.bytes, entry.bytes,
	                        CATALOG_ENTRY_LOGGED, err);
	return rc ? rc : replay_entry_set(replay, file, &entry, err);
}

/* --- pages -------------------------------------------------------------------------- */

static inline int place_check(const struct replay *replay,
                              const struct replay_file *file,
                              const struct record_item *item,
                              struct err *err)
{
	if (item->place < FILE_FIRST_PLACE ||
	    (item->place & (file->units - 1)) != 0 ||
	    item->place > UINT32_MAX - file->units)
		return replay_refuse(replay, err, "a page at an impossible place",
		           file->file_id, item->page_no);
	return ERR_NONE;
}

/* (R4), (rule 2) Once a record says PLACED for a place, no other record names it. */
static inline int place_claim(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err)
{
	bool placed = item->kind == RECORD_PLACED, already;
	int rc = replay_place_add(replay, &file->named, item->place, &already,
	                          err);

	if (rc)
		return rc;
	if (already && (placed || sparse_bits_has(&file->placed, item->place)))
		return replay_refuse(replay, err,
		                     "a synced page shares its place with an older record's",
		                     file->file_id, item->page_no);
	if (placed)
		rc = replay_place_add(replay, &file->placed, item->place,
		                      &already, err);
	return rc;
}

/* A page that is in its file already. Of a file whose name or header has not reached the
 * disk that cannot be: both were synced before the record was written. */
int replay_placed_verify(struct replay *replay, struct replay_file *file,
                         uint32_t page_no, const struct page_ref *ref,
                         struct err *err)
{
	const uint8_t *bytes;

	if (file->missing)
		return replay_refuse(replay, err, "the file of a page that was synced is not there",
		           file->file_id, page_no);
	if (file->unmade)
		return replay_refuse(replay, err, "the file of a page that was synced has no header that holds",
		           file->file_id, page_no);
	return page_file_verify(file->file, ref, page_no, &bytes, err);
}

static int apply_placed(struct replay *replay, struct replay_file *file,
                        const struct record_item *item, struct err *err)
{
	struct page_ref ref = { .place = item->place,
	                        .length = file->page_size,
	                        .birth = replay->txid,
	                        .checksum = item->checksum };
	int rc = replay->part
	                 ? replay_part_placed(replay, item, err)
	                 : replay_placed_verify(replay, file, item->page_no,
	                                        &ref, err);

	if (!rc && !replay->alone)
		rc = space_note(&replay->store->space, file->file_id,
		                item->place, file->units, SPACE_PLACED, err);
	return rc ? rc : replay_page_set(replay, file, item->page_no, &ref, err);
}

static inline int apply_image(struct replay *replay, struct replay_file *file,
                              const struct record_item *item, struct err *err)
{
	int rc = place_check(replay, file, item, err);

	if (!rc)
		rc = place_claim(replay, file, item, err);
	if (!rc && item->kind == RECORD_PLACED)
		return apply_placed(replay, file, item, err);
	if (!rc && !replay->alone)
		rc = space_note(&replay->store->space, file->file_id,
		                item->place, file->units, SPACE_LOGGED, err);
	return rc ? rc : replay_page_change(replay, file, item, err);
}

/* An item that is no image. */
static __attribute__((noinline)) int
apply_other(struct replay *replay, struct replay_file *file,
            const struct record_item *item, struct err *err)
{
	struct page_ref ref = { .length = 0 };

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
	default: /* RECORD_REMOVE */
		return replay_page_set(replay, file, item->page_no, &ref, err);
	}
}

static int apply_entry(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err)
{
	return replay->part
	               ? replay_part_entry(replay, file, item, err)
	               : replay_entry_apply(replay, file, item->ranges, err);
}

static inline int apply_item(struct replay *replay,
                             const struct record_item *item, struct err *err)
{
	struct replay_file *file;
	int rc = replay_file_find(replay, item->file_id, &file, err);

	if (rc)
		return rc;
	if (item->kind == RECORD_ENTRY)
		return apply_entry(replay, file, item, err);
	if (replay->part)
		replay_part_note(file, item);
	if (!replay_file_usable(file))
		return replay_refuse(replay, err, "a page of a file that is not there",
		           item->file_id,
		           item->kind == RECORD_GONE ? 0 : item->page_no);
	if (item->kind == RECORD_DIFF || item->kind == RECORD_FRESH ||
	    item->kind == RECORD_PLACED)
		return apply_image(replay, file, item, err);
	return apply_other(replay, file, item, err);
}

static __attribute__((noinline)) const uint8_t *
read_unusual(struct span payload, const uint8_t *at, struct record_item *item,
             struct err *err)
{
	const uint8_t *end = payload.data + payload.size, *next;
	const char *fault;

	next = record_read_item(at, end, item, &fault);
	if (!next)
		err_set(err, ERR_CORRUPT, "read log record", "wal",
		        "%s at byte %zu", fault, (size_t)(at - payload.data));
	return next;
}

/* Where the item ends; NULL is ERR_CORRUPT. */
static inline const uint8_t *read_item(struct span payload, const uint8_t *at,
                                       struct record_item *item,
                                       struct err *err)
{
	const uint8_t *next = record_read_usual(
		at, payload.data + payload.size, item);

	if (__builtin_expect(!next, 0))
		next = read_unusual(payload, at, item, err);
	return next;
}

static int apply_items(struct replay *replay, struct span payload,
                       uint32_t items, struct err *err)
{
	const uint8_t *at = payload.data + RECORD_HEAD_SIZE;
	struct record_item item;
	int rc = ERR_NONE;

	for (; !rc && items; items--) {
		at = read_item(payload, at, &item, err);
		if (__builtin_expect(!at, 0))
			return ERR_CORRUPT;
		rc = apply_item(replay, &item, err);
	}
	if (!rc && at != payload.data + payload.size)
		rc = replay_refuse(replay, err, "bytes after the last item", 0, 0);
	return rc;
}

int replay_record(void *context, uint64_t lsn, struct span payload,
                  struct err *err)
{
	struct replay *replay = context;
	uint64_t txid;
	uint32_t items;
	int rc = record_read_head(payload, &txid, &items)
	                 ? ERR_NONE
	                 : store_record_head(payload, &txid, &items, err);

	if (rc)
		return rc;
	if (__builtin_expect(replay->part && !replay->records, 0))
		replay->txid = replay->txid_before = txid - 1;
	if (txid != replay->txid + 1)
		return err_set(err, ERR_CORRUPT, "replay log of",
		               replay->store->path,
		               "the record at %" PRIu64 " is commit %" PRIu64
		               ", %" PRIu64 " was expected",
		               lsn, txid, replay->txid + 1);
	replay->txid = txid;
	replay->records++;
	return apply_items(replay, payload, items, err);
}

int store_replay_follow(struct replay *replay, struct wal_history *history,
                        uint64_t *end, struct err *err)
{
	uint64_t bytes;
	bool whole;
	int rc;

	replay->history = history;
	replay->log = wal_history_start(history, &bytes);
	replay_budget(replay, bytes);
	rc = replay_parts_follow(replay, &whole, end, err);
	if (rc || whole)
		return rc;
	rc = wal_history_read(history, replay_record, replay, end, err);
	return rc ? rc : replay_waiting_settle(replay, err);
}

static int gather_record(void *context, uint64_t lsn, struct span payload,
                         struct err *err)
{
	const uint8_t *at = payload.data + RECORD_HEAD_SIZE;
	struct replay *replay = context;
	struct replay_file *file;
	struct record_item item;
	uint64_t txid;
	uint32_t items;
	int rc = store_record_head(payload, &txid, &items, err);

	(void)lsn;
	for (; !rc && items; items--) {
		at = read_item(payload, at, &item, err);
		if (!at)
			return ERR_CORRUPT;
		if (item.kind == RECORD_ENTRY || item.kind == RECORD_GONE)
			continue;
		rc = replay_file_find(replay, item.file_id, &file, err);
		if (!rc)
			rc = replay_page_gather(replay, file, &item, err);
	}
	return rc;
}

int replay_gather(struct replay *replay, struct err *err)
{
	uint64_t end;

	return wal_history_read(replay->history, gather_record, replay, &end,
	                        err);
}

uint64_t store_replay_txid(const struct replay *replay)
{
	return replay->txid;
}
