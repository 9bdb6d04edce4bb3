/*
 * inline_catalog.c - row 0 of a table: its files, and who has written last.
 *
 * What changes with every row (counts, roots, the stamp) lies in this one row, so that
 * a commit of one row of the table changes it and a leaf. When the stamp is the one
 * known, nothing else is read.
 */
#include "vtab/inline.h"

#include "base/checksum.h"

#include <stdio.h>

static int explain(const struct inline_table *table, const char *why,
                   struct err *err)
{
	char what[160];

	snprintf(what, sizeof what, "%s.%s", table->home->schema,
	         name_shorten(table->shadows[SHADOW_TABLE]).text);
	return err_set(err, ERR_CORRUPT, "read catalog in", what, "%s", why);
}

static uint64_t header_checksum(const uint8_t *header)
{
	return checksum64(header + INLINE_CHECKSUM_SIZE,
	                  INLINE_HEADER_SIZE - INLINE_CHECKSUM_SIZE, 0);
}

static uint64_t entry_checksum(const uint8_t *entry, uint64_t identity,
                               uint32_t number)
{
	return checksum64(entry + INLINE_CHECKSUM_SIZE,
	                  INLINE_ENTRY_SIZE - INLINE_CHECKSUM_SIZE,
	                  checksum_seed(identity, number, 0));
}

/* --- files ------------------------------------------------------------------------- */

static struct inline_file *file_of(struct inline_table *table, uint32_t number)
{
	struct inline_file *file = table->files;

	while (file && (file->number != number || file->dead))
		file = file->next;
	return file;
}

static int file_make(struct inline_table *table, uint32_t number,
                     enum store_file_kind kind, struct inline_file **made,
                     struct err *err)
{
	struct inline_home *home = table->home;
	struct inline_file *file = heap_zeroed(home->connection->heap,
	                                       sizeof *file);
	int rc;

	if (!file)
		return err_set(err, ERR_NOMEM, "open table",
		               name_shorten(table->name).text, "no memory");
	file->pager = (struct pager){ .methods = &inline_pager_methods,
		                      .view_epoch = &home->epoch,
		                      .usable_size = INLINE_USABLE_SIZE,
		                      .heap = home->connection->heap };
	file->table = table;
	file->number = number;
	file->kind = kind;
	file->page_count = 1;
	file->exists = true;
	rc = inline_file_rename(file, err);
	if (rc) {
		heap_free(home->connection->heap, file);
		return rc;
	}
	file->id = ++home->next_file_id;
	file->next = table->files;
	table->files = file;
	*made = file;
	return ERR_NONE;
}

static int entries_reserve(struct inline_table *table, uint32_t count,
                           struct err *err)
{
	uint32_t room = count + count / 2 + 4;
	void *larger;

	if (count <= table->entry_room)
		return ERR_NONE;
	larger = heap_resize(table->home->connection->heap, table->entries,
	                     room * sizeof *table->entries);
	if (!larger)
		return err_set(err, ERR_NOMEM, "open table",
		               name_shorten(table->name).text, "no memory");
	table->entries = larger;
	table->entry_room = room;
	return ERR_NONE;
}

void catalog_forget(struct inline_table *table, bool another)
{
	cache_drop(table->home, table, NULL);
	for (struct inline_file *file = table->files; file; file = file->next) {
		file->exists = file->changed = false;
		file->dead |= another;
	}
	table->entry_count = 0;
	table->known = table->changed = false;
	table->stamp = 0;
	table->version = table->home->version - 1;
	table->home->epoch++;
}

/* --- reading ----------------------------------------------------------------------- */

static int header_check(const struct inline_table *table, const uint8_t *header,
                        size_t row_size, struct err *err)
{
	uint32_t version = load_le32(header + INLINE_VERSION_AT);
	uint32_t entries = load_le32(header + INLINE_ENTRIES_AT);
	char why[100];

	if (load_le32(header + INLINE_MAGIC_AT) != INLINE_MAGIC)
		return explain(table, "it does not begin as one", err);
	if (version > INLINE_VERSION) {
		snprintf(why, sizeof why,
		         "it has version %u, this library knows %d", version,
		         INLINE_VERSION);
		explain(table, why, err);
		err->code = ERR_VERSION;
		return ERR_VERSION;
	}
	if (load_le64(header) != header_checksum(header))
		return explain(table, "its header's checksum does not hold", err);
	if (version == 0 || entries == 0 || entries > INLINE_ENTRIES_MAX ||
	    load_le32(header + INLINE_INDEXES_AT) >= entries ||
	    load_le64(header + INLINE_STAMP_AT) == 0 ||
	    row_size != INLINE_HEADER_SIZE + (size_t)entries * INLINE_ENTRY_SIZE) {
		snprintf(why, sizeof why, "%u entries in %zu bytes make no sense",
		         entries, row_size);
		return explain(table, why, err);
	}
	return ERR_NONE;
}

static int entry_check(const struct inline_table *table, const uint8_t *entry,
                       uint32_t place, struct err *err)
{
	uint32_t number = load_le32(entry + INLINE_ENTRY_NUMBER_AT);
	uint32_t kind = load_le32(entry + INLINE_ENTRY_KIND_AT);
	uint32_t pages = load_le32(entry + INLINE_ENTRY_PAGES_AT);
	uint32_t free_head = load_le32(entry + INLINE_ENTRY_FREE_HEAD_AT);
	uint32_t free_count = load_le32(entry + INLINE_ENTRY_FREE_COUNT_AT);
	char why[100];

	if (load_le64(entry) == entry_checksum(entry, table->identity, number) &&
	    kind >= STORE_FILE_TABLE && kind <= STORE_FILE_GRAPH &&
	    (kind == STORE_FILE_TABLE) == (place == 0) &&
	    (number == 0) == (place == 0) && number < table->next_number &&
	    pages > 0 && pages <= INLINE_PAGES_MAX && free_head < pages &&
	    free_count < pages && (free_head == 0) == (free_count == 0))
		return ERR_NONE;
	snprintf(why, sizeof why, "entry %u is damaged", place);
	return explain(table, why, err);
}

static int entry_take(struct inline_table *table, const uint8_t *entry,
                      uint32_t place, struct err *err)
{
	uint32_t number = load_le32(entry + INLINE_ENTRY_NUMBER_AT);
	struct inline_file *file;
	int rc = entry_check(table, entry, place, err);

	if (rc)
		return rc;
	file = file_of(table, number);
	if (!file)
		rc = file_make(table, number,
		               load_le32(entry + INLINE_ENTRY_KIND_AT), &file,
		               err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < place; i++)
		if (table->entries[i] == file)
			return explain(table, "a file has two entries", err);
	file->kind = load_le32(entry + INLINE_ENTRY_KIND_AT);
	file->page_count = load_le32(entry + INLINE_ENTRY_PAGES_AT);
	file->free_head = load_le32(entry + INLINE_ENTRY_FREE_HEAD_AT);
	file->free_count = load_le32(entry + INLINE_ENTRY_FREE_COUNT_AT);
	memcpy(file->state, entry + INLINE_ENTRY_STATE_AT, PAGER_STATE_SIZE);
	file->exists = true;
	file->changed = false;
	table->entries[place] = file;
	table->entry_count = place + 1;
	return ERR_NONE;
}

static int entries_take(struct inline_table *table, struct shadow *shadow,
                        uint32_t count, struct err *err)
{
	size_t size = (size_t)count * INLINE_ENTRY_SIZE;
	uint8_t *bytes = heap_allocate(table->home->connection->heap, size);
	int rc;

	if (!bytes)
		return err_set(err, ERR_NOMEM, "open table",
		               name_shorten(table->name).text, "no memory");
	rc = shadow_read(shadow, INLINE_HEADER_SIZE, bytes, size, err);
	if (!rc)
		rc = entries_reserve(table, count, err);
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = entry_take(table, bytes + (size_t)i * INLINE_ENTRY_SIZE, i,
		                err);
	heap_free(table->home->connection->heap, bytes);
	return rc;
}

/* Another transaction has written since, or this is the first look. */
static int take(struct inline_table *table, struct shadow *shadow,
                const uint8_t *header, struct err *err)
{
	int rc = header_check(table, header, shadow_size(shadow), err);

	if (rc)
		return rc;
	catalog_forget(table, load_le64(header + INLINE_IDENTITY_AT) !=
	                              table->identity);
	table->identity = load_le64(header + INLINE_IDENTITY_AT);
	table->sequence = load_le64(header + INLINE_SEQUENCE_AT);
	table->index_count = load_le32(header + INLINE_INDEXES_AT);
	table->next_number = load_le32(header + INLINE_NEXT_FILE_AT);
	rc = entries_take(table, shadow, load_le32(header + INLINE_ENTRIES_AT),
	                  err);
	if (rc)
		return rc;
	table->stamp = load_le64(header + INLINE_STAMP_AT);
	table->known = true;
	return ERR_NONE;
}

static int look(struct inline_table *table, struct err *err)
{
	struct shadow shadow = { .blob = NULL };
	uint8_t header[INLINE_HEADER_SIZE];
	int rc = shadow_seek(&shadow, table, SHADOW_TABLE, INLINE_CATALOG_ROW,
	                     false, 0, err);

	if (!rc && shadow_size(&shadow) < INLINE_HEADER_SIZE)
		rc = explain(table, "it is too short", err);
	if (!rc)
		rc = shadow_read(&shadow, 0, header, sizeof header, err);
	if (!rc && (!table->known ||
	            load_le64(header + INLINE_STAMP_AT) != table->stamp ||
	            load_le64(header + INLINE_IDENTITY_AT) != table->identity))
		rc = take(table, &shadow, header, err);
	shadow_close(&shadow);
	return rc;
}

int catalog_refresh(struct inline_table *table, struct err *err)
{
	int rc = ERR_NONE;

	/* Who has changed it is this transaction: nobody else can. */
	if (!table->changed)
		rc = look(table, err);
	if (rc) {
		catalog_forget(table, false);
		return rc;
	}
	table->version = table->home->version;
	return ERR_NONE;
}

/* --- changing ---------------------------------------------------------------------- */

static int row_resize(struct inline_table *table, uint32_t count, struct err *err)
{
	return shadow_resize(table, SHADOW_TABLE, INLINE_CATALOG_ROW,
	                     INLINE_HEADER_SIZE +
	                             (size_t)count * INLINE_ENTRY_SIZE,
	                     err);
}

/* In a row of another size all of them are written. */
static void all_changed(struct inline_table *table)
{
	for (uint32_t i = 0; i < table->entry_count; i++)
		table->entries[i]->changed = true;
	table->changed = true;
}

int catalog_file_add(struct inline_table *table, enum store_file_kind kind,
                     struct inline_file **added, struct err *err)
{
	uint32_t count = table->entry_count;
	struct inline_file *file;
	int rc = entries_reserve(table, count + 1, err);

	if (!rc && (count == INLINE_ENTRIES_MAX ||
	            table->next_number == UINT32_MAX >> 1))
		rc = err_set(err, ERR_TOOBIG, "make index of table",
		             name_shorten(table->name).text,
		             "it has had too many");
	if (!rc)
		rc = row_resize(table, count + 1, err);
	if (!rc)
		rc = file_make(table, table->next_number, kind, &file, err);
	if (rc)
		return rc;
	table->next_number++;
	table->entries[table->entry_count++] = file;
	all_changed(table);
	*added = file;
	return ERR_NONE;
}

int catalog_file_remove(struct inline_file *file, struct err *err)
{
	struct inline_table *table = file->table;
	uint32_t place = 0;
	int rc;

	while (place < table->entry_count && table->entries[place] != file)
		place++;
	rc = shadow_delete(table, shadow_of(file), inline_row_of(file, 1),
	                   file->page_count - 1, err);
	if (!rc)
		rc = row_resize(table, table->entry_count - 1, err);
	if (rc)
		return rc;
	cache_drop(table->home, table, file);
	table->home->epoch++;
	memmove(table->entries + place, table->entries + place + 1,
	        (table->entry_count - place - 1) * sizeof *table->entries);
	table->entry_count--;
	if (place >= 1 && place <= table->index_count)
		table->index_count--;
	file->exists = file->changed = false;
	all_changed(table);
	return ERR_NONE;
}

/* --- writing ----------------------------------------------------------------------- */

static void stamp_renew(struct inline_table *table)
{
	struct inline_home *home = table->home;

	if (table->stamped_in == home->transaction && table->stamp)
		return;
	do
		table->stamp = checksum_seed(home->seed, ++home->stamps,
		                             table->identity);
	while (!table->stamp);
	table->stamped_in = home->transaction;
}

static void header_fill(const struct inline_table *table, uint8_t *header)
{
	memset(header, 0, INLINE_HEADER_SIZE);
	store_le32(header + INLINE_MAGIC_AT, INLINE_MAGIC);
	store_le32(header + INLINE_VERSION_AT, INLINE_VERSION);
	store_le64(header + INLINE_IDENTITY_AT, table->identity);
	store_le64(header + INLINE_STAMP_AT, table->stamp);
	store_le64(header + INLINE_SEQUENCE_AT, table->sequence);
	store_le32(header + INLINE_ENTRIES_AT, table->entry_count);
	store_le32(header + INLINE_INDEXES_AT, table->index_count);
	store_le32(header + INLINE_NEXT_FILE_AT, table->next_number);
	store_le64(header, header_checksum(header));
}

static void entry_fill(const struct inline_file *file, uint8_t *entry)
{
	memset(entry, 0, INLINE_ENTRY_SIZE);
	store_le32(entry + INLINE_ENTRY_NUMBER_AT, file->number);
	store_le32(entry + INLINE_ENTRY_KIND_AT, file->kind);
	store_le32(entry + INLINE_ENTRY_PAGES_AT, file->page_count);
	store_le32(entry + INLINE_ENTRY_FREE_HEAD_AT, file->free_head);
	store_le32(entry + INLINE_ENTRY_FREE_COUNT_AT, file->free_count);
	memcpy(entry + INLINE_ENTRY_STATE_AT, file->state, PAGER_STATE_SIZE);
	store_le64(entry, entry_checksum(entry, file->table->identity,
	                                 file->number));
}

int catalog_write(struct inline_table *table, struct shadow *shadow,
                  struct err *err)
{
	uint8_t bytes[INLINE_ENTRY_SIZE];
	size_t size = INLINE_HEADER_SIZE +
	              (size_t)table->entry_count * INLINE_ENTRY_SIZE;
	int rc = shadow_seek(shadow, table, SHADOW_TABLE, INLINE_CATALOG_ROW,
	                     true, size, err);

	if (rc)
		return rc;
	stamp_renew(table);
	header_fill(table, bytes);
	rc = shadow_write(shadow, 0, bytes, INLINE_HEADER_SIZE, err);
	for (uint32_t i = 0; !rc && i < table->entry_count; i++) {
		struct inline_file *file = table->entries[i];

		if (!file->changed)
			continue;
		entry_fill(file, bytes);
		rc = shadow_write(shadow,
		                  INLINE_HEADER_SIZE +
		                          (size_t)i * INLINE_ENTRY_SIZE,
		                  bytes, INLINE_ENTRY_SIZE, err);
		if (!rc)
			file->changed = false;
	}
	if (!rc)
		table->changed = false;
	return rc;
}
