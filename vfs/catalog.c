/*
 * catalog.c - one entry per file, in copy-on-write pages of turdb.meta.
 *
 * The catalog is file 0: its pages hold CATALOG_PAGE_ENTRIES entries each, found
 * through a page table like any other file's. A commit rewrites the pages whose
 * entries changed; a txid and the root of this table are one snapshot. The format
 * is in meta_format.h.
 */
#include "vfs/store_private.h"

#include <stdio.h>

uint32_t store_units(uint32_t page_size)
{
	return (page_size + PLACE_SIZE - 1) / PLACE_SIZE;
}

bool store_entry_live(const struct catalog_entry *entry)
{
	return load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT) != 0;
}

void store_entry_table(const struct catalog_entry *entry,
                       struct page_table *table)
{
	page_ref_load(entry->bytes + CATALOG_ROOT_AT, &table->root);
	table->depth = load_le32(entry->bytes + CATALOG_DEPTH_AT);
}

void store_entry_table_set(struct catalog_entry *entry,
                           const struct page_table *table)
{
	page_ref_store(entry->bytes + CATALOG_ROOT_AT, &table->root);
	store_le32(entry->bytes + CATALOG_DEPTH_AT, table->depth);
}

void store_entry_name(const struct catalog_entry *entry, char name[96])
{
	static const char *const suffixes[] = {
		[STORE_FILE_SQLITE] = "tbd",
		[STORE_FILE_DICTIONARY] = "tbd",
		[STORE_FILE_TABLE] = "tbd",
		[STORE_FILE_INDEX] = "idx",
		[STORE_FILE_GRAPH] = "hnsw",
	};
	uint32_t file_id = load_le32(entry->bytes + CATALOG_ID_AT);
	uint32_t kind = entry->bytes[CATALOG_KIND_AT];
	const char *suffix = kind >= 1 && kind <= STORE_FILE_GRAPH
	                             ? suffixes[kind] : "bin";

	if (file_id == STORE_SQLITE_FILE_ID)
		snprintf(name, 96, "root/sqlite.tbd");
	else
		snprintf(name, 96, "root/%u-%.*s.%s", file_id,
		         CATALOG_HINT_SIZE,
		         (const char *)entry->bytes + CATALOG_HINT_AT, suffix);
}

void store_entry_identity(const struct store *store,
                          const struct catalog_entry *entry,
                          struct page_file_identity *identity)
{
	*identity = (struct page_file_identity){
		.file_id = load_le32(entry->bytes + CATALOG_ID_AT),
		.kind = entry->bytes[CATALOG_KIND_AT],
		.page_size = load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT),
		.birth = load_le64(entry->bytes + CATALOG_BIRTH_AT),
		.database = { store->database[0], store->database[1] },
		.header = true,
	};
	memcpy(identity->hint, entry->bytes + CATALOG_HINT_AT,
	       CATALOG_HINT_SIZE);
	store_entry_name(entry, identity->name);
}

int store_entry_check(const struct catalog_entry *entry, uint32_t file_id,
                      struct err *err)
{
	uint32_t page_size = load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT);
	uint32_t kind = entry->bytes[CATALOG_KIND_AT];
	uint32_t depth = load_le32(entry->bytes + CATALOG_DEPTH_AT);

	if (load_le32(entry->bytes + CATALOG_ID_AT) != file_id)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "the entry of file %u says it is file %u",
		               file_id,
		               load_le32(entry->bytes + CATALOG_ID_AT));
	if (kind > STORE_FILE_GRAPH || (kind == 0) != (file_id == 0))
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "file %u has the unknown kind %u", file_id,
		               kind);
	if (file_id == STORE_CATALOG_FILE_ID &&
	    load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT) <
	            STORE_FIRST_FREE_FILE_ID)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "the next file would be file %u",
		               load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT));
	if ((page_size != PLACE_SIZE && page_size != STORE_PAGE_SIZE) ||
	    depth > MAP_DEPTH_MAX)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "file %u has page size %u and map depth %u",
		               file_id, page_size, depth);
	if (kind == STORE_FILE_SQLITE &&
	    load_le64(entry->bytes + CATALOG_STATE_AT + SQLITE_STATE_SIZE_AT) >
	            (uint64_t)ENTRY_PAGE * STORE_PAGE_SIZE)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "file %u is longer than a file can be", file_id);
	if (kind == STORE_FILE_SQLITE &&
	    load_le32(entry->bytes + CATALOG_STATE_AT +
	              SQLITE_STATE_HAS_COUNTER_AT) > 1)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "file %u does not say where its change counter is",
		               file_id);
	for (uint32_t i = 0; i < CATALOG_HINT_SIZE; i++) {
		uint8_t c = entry->bytes[CATALOG_HINT_AT + i];

		if (c && c != '-' && c != '_' && !(c >= '0' && c <= '9') &&
		    !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
			return err_set(err, ERR_CORRUPT, "read catalog",
			               "turdb.meta",
			               "the name of file %u holds byte %02x",
			               file_id, c);
	}
	return ERR_NONE;
}

static int catalog_page_borrow(struct store *store, const struct page_ref *ref,
                               uint32_t page_no, const uint8_t **page,
                               struct err *err)
{
	int rc;

	if (ref->flags & REF_FLAG_FREE)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "page %u is marked free", page_no);
	rc = page_file_borrow(store->catalog_file, ref, page_no, page, err);
	if (rc)
		return rc;
	if (load_le32(*page + CATALOG_PAGE_MAGIC_AT) != CATALOG_PAGE_MAGIC ||
	    load_le32(*page + CATALOG_PAGE_NO_AT) != page_no)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "unit %u is not catalog page %u", ref->place,
		               page_no);
	return ERR_NONE;
}

/* Lends a catalog page; NULL when there is none with this number. */
static int catalog_page(struct store *store, const struct page_table *catalog,
                        uint32_t page_no, struct page_ref *ref,
                        const uint8_t **page, struct err *err)
{
	int rc = page_table_find(store->catalog_file, catalog, page_no, ref,
	                         err);

	*page = NULL;
	if (rc || ref->length == 0)
		return rc;
	return catalog_page_borrow(store, ref, page_no, page, err);
}

static uint8_t *entry_at(uint8_t *page, uint32_t slot)
{
	return page + CATALOG_PAGE_HEAD + slot * CATALOG_ENTRY_SIZE;
}

static int entry_of_page(const uint8_t *page, uint32_t file_id,
                         struct catalog_entry *entry, struct err *err)
{
	memcpy(entry->bytes,
	       page + CATALOG_PAGE_HEAD +
		       file_id % CATALOG_PAGE_ENTRIES * CATALOG_ENTRY_SIZE,
	       CATALOG_ENTRY_SIZE);
	if (!store_entry_live(entry))
		return ERR_NONE;
	return store_entry_check(entry, file_id, err);
}

int store_catalog_read(struct store *store, const struct page_table *catalog,
                       uint32_t file_id, struct catalog_entry *entry,
                       struct err *err)
{
	struct page_ref ref;
	const uint8_t *page;
	int rc = catalog_page(store, catalog, file_id / CATALOG_PAGE_ENTRIES,
	                      &ref, &page, err);

	memset(entry, 0, sizeof *entry);
	if (!rc && page)
		rc = entry_of_page(page, file_id, entry, err);
	if (!rc && file_id == STORE_CATALOG_FILE_ID && !store_entry_live(entry))
		rc = err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		             "it has no entry of its own");
	return rc;
}

struct catalog_walk {
	struct store *store;
	uint32_t next_file_id;
	catalog_entry_fn *each;
	page_table_visit_fn *only_old;
	void *context;
};

static int visit_entry(const struct catalog_walk *walk, const uint8_t *page,
                       uint32_t file_id, struct err *err)
{
	struct catalog_entry entry;
	int rc;

	if (file_id == STORE_CATALOG_FILE_ID)
		return ERR_NONE;
	rc = entry_of_page(page, file_id, &entry, err);
	if (rc || !store_entry_live(&entry))
		return rc;
	if (file_id >= walk->next_file_id)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "there is file %u, but the next one would be file %u",
		               file_id, walk->next_file_id);
	return walk->each(walk->context, file_id, &entry, err);
}

static int visit_page(void *context, uint32_t level, uint64_t index,
                      const struct page_ref *ref, struct err *err)
{
	const struct catalog_walk *walk = context;
	uint32_t page_no = (uint32_t)index;
	const uint8_t *page;
	int rc;

	if (level)
		return ERR_NONE;
	if (page_no >= UINT32_MAX / CATALOG_PAGE_ENTRIES)
		return err_set(err, ERR_CORRUPT, "read catalog", "turdb.meta",
		               "page %u is beyond all file ids", page_no);
	rc = catalog_page_borrow(walk->store, ref, page_no, &page, err);
	for (uint32_t i = 0; !rc && i < CATALOG_PAGE_ENTRIES; i++)
		rc = visit_entry(walk, page, page_no * CATALOG_PAGE_ENTRIES + i,
		                 err);
	return rc;
}

static int walk_open(struct catalog_walk *walk, const struct page_table *catalog,
                     struct err *err)
{
	struct catalog_entry own;
	int rc = store_catalog_read(walk->store, catalog, STORE_CATALOG_FILE_ID,
	                            &own, err);

	if (!rc)
		walk->next_file_id = load_le32(own.bytes + CATALOG_PAGE_COUNT_AT);
	return rc;
}

int store_catalog_each(struct store *store, const struct page_table *catalog,
                       catalog_entry_fn *each, void *context,
                       struct err *err)
{
	struct catalog_walk walk = { .store = store, .each = each,
		                     .context = context };
	int rc = walk_open(&walk, catalog, err);

	if (rc)
		return rc;
	return page_table_walk(store->catalog_file, catalog, 0, visit_page,
	                       &walk, err);
}

static int visit_difference(void *context, uint32_t level, uint64_t index,
                            const struct page_ref *ref, struct err *err)
{
	const struct catalog_walk *walk = context;
	int rc = visit_page(context, level, index, ref, err);

	return rc ? rc : walk->only_old(walk->context, level, index, ref, err);
}

int store_catalog_difference(struct store *store, const struct page_table *old,
                             const struct page_table *newer,
                             catalog_entry_fn *each,
                             page_table_visit_fn *only_old,
                             void *context, struct err *err)
{
	struct catalog_walk walk = { .store = store, .each = each,
		                     .only_old = only_old, .context = context };
	int rc = walk_open(&walk, old, err);

	if (rc)
		return rc;
	return page_table_difference(store->catalog_file, old, newer,
	                             visit_difference, &walk, err);
}

/* Writes one changed catalog page to a new place. */
static int page_rewrite(struct store *store, const struct page_table *old,
                        const struct catalog_change *changes, size_t count,
                        uint64_t birth, const struct page_table_sink *sink,
                        struct page_change *change, struct err *err)
{
	uint32_t page_no = changes[0].file_id / CATALOG_PAGE_ENTRIES;
	uint8_t page[PLACE_SIZE] __attribute__((aligned(16)));
	const uint8_t *old_page;
	const void *bytes = page;
	struct page_ref ref;
	int rc = catalog_page(store, old, page_no, &ref, &old_page, err);

	if (rc)
		return rc;
	if (old_page) {
		memcpy(page, old_page, PLACE_SIZE);
	} else {
		memset(page, 0, sizeof page);
		store_le32(page + CATALOG_PAGE_MAGIC_AT, CATALOG_PAGE_MAGIC);
		store_le32(page + CATALOG_PAGE_NO_AT, page_no);
	}
	for (size_t i = 0; i < count; i++) {
		uint8_t *at = entry_at(page, changes[i].file_id %
		                                     CATALOG_PAGE_ENTRIES);

		if (changes[i].entry)
			memcpy(at, changes[i].entry->bytes, CATALOG_ENTRY_SIZE);
		else
			memset(at, 0, CATALOG_ENTRY_SIZE);
	}
	ref = (struct page_ref){ .length = PLACE_SIZE, .birth = birth };
	rc = sink->take(sink->context, &ref.place, err);
	if (rc)
		return rc;
	ref.checksum = page_file_checksum(STORE_CATALOG_FILE_ID, page_no, birth,
	                                  page, PLACE_SIZE);
	*change = (struct page_change){ .page_no = page_no, .ref = ref };
	return page_table_sink_write(sink, store->catalog_file, &ref, &bytes, 1,
	                             err);
}

int store_catalog_apply(struct store *store, const struct page_table *old,
                        const struct catalog_change *changes, size_t count,
                        uint64_t birth, const struct page_table_sink *sink,
                        struct page_table *new_table, struct err *err)
{
	struct page_change few[16], *pages = few;
	size_t page_count = 0, i = 0;
	int rc = ERR_NONE;

	if (count > 16) {
		pages = heap_allocate(store->heap, count * sizeof *pages);
		if (!pages)
			return err_set(err, ERR_NOMEM, "write catalog",
			               "turdb.meta", "%zu entries", count);
	}
	while (!rc && i < count) {
		uint32_t page_no = changes[i].file_id / CATALOG_PAGE_ENTRIES;
		size_t end = i + 1;

		while (end < count &&
		       changes[end].file_id / CATALOG_PAGE_ENTRIES == page_no)
			end++;
		rc = page_rewrite(store, old, changes + i, end - i, birth, sink,
		                  &pages[page_count++], err);
		i = end;
	}
	if (!rc)
		rc = page_table_apply(store->catalog_file, old, pages,
		                      page_count, birth, sink, new_table, err);
	if (pages != few)
		heap_free(store->heap, pages);
	return rc;
}
