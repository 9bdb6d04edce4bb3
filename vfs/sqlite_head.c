/*
 * sqlite_head.c - SQLite's change counter, apart from the page that it stands in.
 *
 * SQLite counts its commits in page 1 (big-endian, at 24, and the same number at 92:
 * the commit that wrote the file's length). A commit of one row so changes two
 * pages, and the second is 16 KB to be copied, summed and written for four bytes. So
 * a write that changes nothing of page 1 but the counter puts it into the file's
 * catalog entry, and whoever reads the page gets it from there.
 *
 * (H1) While the entry says that it has the counter, both places in the page's image,
 *      committed or edited, mean nothing.
 * (H2) Whatever else is written over them, or takes the page away, first puts the
 *      entry's counter into the image, and the entry has it no longer.
 */
#include "vfs/store_private.h"

#include <assert.h>

enum {
	COUNTER_AT = 24,
	VALID_FOR_AT = 92,
	COUNTER_SIZE = 4,
	HEAD_SIZE = 100,
	ENTRY_COUNTER_AT = CATALOG_STATE_AT + SQLITE_STATE_COUNTER_AT,
	ENTRY_HAS_AT = CATALOG_STATE_AT + SQLITE_STATE_HAS_COUNTER_AT,
};

static bool has_counter(const struct catalog_entry *entry)
{
	return entry && load_le32(entry->bytes + ENTRY_HAS_AT);
}

static void put(const uint8_t *counter, uint64_t at, uint64_t offset,
                uint8_t *to, size_t size)
{
	for (uint64_t i = 0; i < COUNTER_SIZE; i++)
		if (at + i >= offset && at + i - offset < size)
			to[at + i - offset] = counter[i];
}

bool store_sqlite_head_apart(const struct catalog_entry *entry, uint64_t offset)
{
	return offset < VALID_FOR_AT + COUNTER_SIZE && has_counter(entry);
}

/* (H1) */
void store_sqlite_head_read(const struct catalog_entry *entry, uint64_t offset,
                            uint8_t *to, size_t size)
{
	if (!store_sqlite_head_apart(entry, offset))
		return;
	put(entry->bytes + ENTRY_COUNTER_AT, COUNTER_AT, offset, to, size);
	put(entry->bytes + ENTRY_COUNTER_AT, VALID_FOR_AT, offset, to, size);
}

/* Whether `now`, the beginning of page 1, is `before` but for the counter. */
static bool is_counted_only(const uint8_t *before, const uint8_t *now,
                            size_t size)
{
	size_t between = COUNTER_AT + COUNTER_SIZE;
	size_t behind = VALID_FOR_AT + COUNTER_SIZE;

	return memcmp(now + COUNTER_AT, now + VALID_FOR_AT, COUNTER_SIZE) == 0 &&
	       memcmp(now, before, COUNTER_AT) == 0 &&
	       memcmp(now + between, before + between,
	              VALID_FOR_AT - between) == 0 &&
	       memcmp(now + behind, before + behind, size - behind) == 0;
}

static bool is_counter(const struct view_file *file, const uint8_t *page,
                       const uint8_t *counter)
{
	const struct catalog_entry *entry = store_view_file_entry(file);

	if (has_counter(entry))
		return memcmp(entry->bytes + ENTRY_COUNTER_AT, counter,
		              COUNTER_SIZE) == 0;
	return memcmp(page + COUNTER_AT, counter, COUNTER_SIZE) == 0 &&
	       memcmp(page + VALID_FOR_AT, counter, COUNTER_SIZE) == 0;
}

int store_sqlite_head_write(struct view_file *file, const uint8_t *bytes,
                            size_t size, bool *counted, struct err *err)
{
	const struct edit *edit = store_edit_find(file->view, file->file_id, 0);
	struct catalog_entry *entry;
	const uint8_t *before;
	int rc;

	*counted = false;
	if (size < HEAD_SIZE || (edit && edit->now.state != EDIT_ABSENT))
		return ERR_NONE;
	rc = store_view_file_read_committed(file, 0, &before, err);
	if (rc || !before || !is_counted_only(before, bytes, size))
		return rc;
	*counted = true;
	if (is_counter(file, before, bytes + COUNTER_AT))
		return ERR_NONE;
	rc = store_view_file_entry_edit(file, &entry, err);
	if (rc)
		return rc;
	memcpy(entry->bytes + ENTRY_COUNTER_AT, bytes + COUNTER_AT,
	       COUNTER_SIZE);
	store_le32(entry->bytes + ENTRY_HAS_AT, 1);
	return ERR_NONE;
}

/* (H2) */
void store_sqlite_head_rejoin(struct catalog_entry *entry, uint8_t *image)
{
	assert(entry);
	if (image)
		store_sqlite_head_read(entry, 0, image, HEAD_SIZE);
	memset(entry->bytes + ENTRY_COUNTER_AT, 0, COUNTER_SIZE);
	store_le32(entry->bytes + ENTRY_HAS_AT, 0);
}
