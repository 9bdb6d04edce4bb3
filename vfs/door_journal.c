/*
 * door_journal.c - SQLite's rollback journal, without its pages.
 *
 * Before SQLite changes a page it appends the old content to the rollback journal,
 * and plays that back on ROLLBACK and ROLLBACK TO. Here the old content is what was
 * committed when the transaction began, and the store still has it: the transaction
 * itself holds that snapshot. So a record keeps 8 bytes of its 16,392, and a
 * transaction of a gigabyte needs half a megabyte instead of a gigabyte of heap.
 *
 * As SQLite writes it:   head (padded to a sector), then records of
 *                        page number (4), page, checksum (4)
 * What is kept:          28 bytes of the head, page numbers and checksums
 *
 * (J1) A page in the journal equals the committed one, unless it is free: SQLite does
 *      not write pages that it frees, and what its cache still has of one may end up
 *      in a journal later (VACUUM, backup). Nobody reads what a free page holds. But
 *      SQLite compares checksums when it plays back, and takes the first that differs
 *      for the end of the journal: the pages after it would stay as they are in its
 *      cache. So the checksum that it reads is made of the page that it has just read.
 * (J2) Nothing here outlives the transaction: a journal is never hot.
 *
 * Savepoint journals are other files and pass through as temporary files.
 */
#include "vfs/door.h"

#include <string.h>

enum {
	HEAD_SIZE = 28,
	HEAD_NONCE_AT = 12,       /* big-endian u32 */
	HEAD_SECTOR_SIZE_AT = 20, /* big-endian u32 */
	HEAD_PAGE_SIZE_AT = 24,   /* big-endian u32 */
	FIRST_ROOM = 64,
	KEPT_ROOM = 8192,         /* entries kept for the next transaction */
	CHECKSUM_STEP = 200,
};

struct journal_handle {
	sqlite3_file base;
	struct door_file *owner;
};

static struct door_journal *journal_of(sqlite3_file *base)
{
	return &((struct journal_handle *)(void *)base)->owner->journal;
}

/* One piece of the journal: where an offset lies, and how far it goes on. */
enum piece_kind { PIECE_HEAD, PIECE_PADDING, PIECE_NUMBER, PIECE_PAGE,
                  PIECE_CHECKSUM };
struct piece {
	enum piece_kind kind;
	size_t entry;    /* of a record            */
	size_t inside;   /* offset within the piece */
	size_t left;     /* bytes from there to its end */
};

static struct piece piece_at(const struct door_journal *journal, uint64_t offset)
{
	uint64_t record = (uint64_t)journal->page_size + 8, at;
	struct piece piece = { .kind = PIECE_HEAD };

	if (offset < HEAD_SIZE) {
		piece.inside = (size_t)offset;
		piece.left = HEAD_SIZE - piece.inside;
		return piece;
	}
	if (offset < journal->sector_size || !journal->page_size) {
		piece.kind = PIECE_PADDING;
		piece.left = offset < journal->sector_size
		           ? (size_t)(journal->sector_size - offset) : SIZE_MAX;
		return piece;
	}
	piece.entry = (size_t)((offset - journal->sector_size) / record);
	at = (offset - journal->sector_size) % record;
	if (at < 4) {
		piece.kind = PIECE_NUMBER;
		piece.inside = (size_t)at;
		piece.left = 4 - piece.inside;
	} else if (at < record - 4) {
		piece.kind = PIECE_PAGE;
		piece.inside = (size_t)(at - 4);
		piece.left = journal->page_size - piece.inside;
	} else {
		piece.kind = PIECE_CHECKSUM;
		piece.inside = (size_t)(at - (record - 4));
		piece.left = 4 - piece.inside;
	}
	return piece;
}

/* --- writing ------------------------------------------------------------------- */

static void read_head(struct door_journal *journal)
{
	uint32_t sector_size = load_be32(journal->head + HEAD_SECTOR_SIZE_AT);
	uint32_t page_size = load_be32(journal->head + HEAD_PAGE_SIZE_AT);

	if (sector_size < 32 || sector_size > 65536 || page_size < 512 ||
	    page_size > 65536)
		return; /* a head that was zeroed keeps its records readable */
	journal->sector_size = sector_size;
	journal->page_size = page_size;
}

static int make_room(struct door_file *owner, size_t count)
{
	struct door_journal *journal = &owner->journal;
	size_t room = journal->room ? journal->room : FIRST_ROOM;
	void *entries;

	if (count <= journal->room)
		return SQLITE_OK;
	while (room < count)
		room *= 2;
	entries = heap_resize(owner->environment->heap, journal->entries,
	                      room * sizeof journal->entries[0]);
	if (!entries)
		return SQLITE_IOERR_NOMEM;
	journal->entries = entries;
	journal->room = room;
	return SQLITE_OK;
}

static int write_record_part(struct door_file *owner, const struct piece *piece,
                             const uint8_t *bytes, size_t size)
{
	struct door_journal *journal = &owner->journal;
	struct door_journal_entry *entry;
	int rc = make_room(owner, piece->entry + 1);

	if (rc)
		return rc;
	for (; journal->count <= piece->entry; journal->count++)
		memset(&journal->entries[journal->count], 0, sizeof *entry);
	entry = &journal->entries[piece->entry];
	if (piece->kind == PIECE_NUMBER)
		memcpy(entry->page_no + piece->inside, bytes, size);
	else if (piece->kind == PIECE_CHECKSUM)
		memcpy(entry->checksum + piece->inside, bytes, size);
	return SQLITE_OK;
}

static int journal_write(sqlite3_file *base, const void *data, int size,
                         sqlite3_int64 offset)
{
	struct door_file *owner = ((struct journal_handle *)(void *)base)->owner;
	struct door_journal *journal = &owner->journal;
	const uint8_t *bytes = data;
	uint64_t at = (uint64_t)offset, end = at + (uint64_t)size;
	int rc = SQLITE_OK;

	journal->used = true;
	while (at < end && !rc) {
		struct piece piece = piece_at(journal, at);
		size_t part = piece.left < end - at ? piece.left
		                                    : (size_t)(end - at);

		if (piece.kind == PIECE_HEAD) {
			memcpy(journal->head + piece.inside, bytes, part);
			read_head(journal);
		} else if (piece.kind != PIECE_PADDING) {
			rc = write_record_part(owner, &piece, bytes, part);
		}
		bytes += part;
		at += part;
	}
	if (!rc && end > journal->size)
		journal->size = end;
	return rc;
}

/* --- reading ------------------------------------------------------------------- */

/* SQLite's own: every 200th byte, from the end. */
static uint32_t checksum_of(const struct door_journal *journal,
                            const uint8_t *page)
{
	uint32_t sum = load_be32(journal->head + HEAD_NONCE_AT);

	for (uint32_t at = journal->page_size; at > CHECKSUM_STEP;) {
		at -= CHECKSUM_STEP;
		sum += page[at];
	}
	return sum;
}

static int read_page(struct door_file *owner, const struct piece *piece,
                     uint8_t *bytes, size_t size)
{
	struct door_journal *journal = &owner->journal;
	struct door_journal_entry *entry = &journal->entries[piece->entry];
	uint32_t page_no = load_be32(entry->page_no);
	struct err err;
	size_t got = 0;

	if (page_no && store_sqlite_read_committed(
			       owner->view,
			       (uint64_t)(page_no - 1) * journal->page_size +
				       piece->inside,
			       bytes, size, &got, &err)) {
		return vfs_report(owner->environment, &err) == SQLITE_NOMEM
		     ? SQLITE_IOERR_NOMEM : SQLITE_IOERR_READ;
	}
	memset(bytes + got, 0, size - got);
	if (size == journal->page_size) /* (J1) */
		store_be32(entry->checksum, checksum_of(journal, bytes));
	return SQLITE_OK;
}

static int read_piece(struct door_file *owner, const struct piece *piece,
                      uint8_t *bytes, size_t size)
{
	const struct door_journal *journal = &owner->journal;
	bool known = piece->entry < journal->count;

	if (piece->kind == PIECE_HEAD)
		memcpy(bytes, journal->head + piece->inside, size);
	else if (piece->kind == PIECE_PADDING || !known)
		memset(bytes, 0, size);
	else if (piece->kind == PIECE_NUMBER)
		memcpy(bytes, journal->entries[piece->entry].page_no +
		              piece->inside, size);
	else if (piece->kind == PIECE_CHECKSUM)
		memcpy(bytes, journal->entries[piece->entry].checksum +
		              piece->inside, size);
	else
		return read_page(owner, piece, bytes, size);
	return SQLITE_OK;
}

static int journal_read(sqlite3_file *base, void *to, int size,
                        sqlite3_int64 offset)
{
	struct door_file *owner = ((struct journal_handle *)(void *)base)->owner;
	const struct door_journal *journal = &owner->journal;
	uint64_t at = (uint64_t)offset, end = at + (uint64_t)size;
	uint8_t *bytes = to;
	int rc = SQLITE_OK;

	while (at < end && at < journal->size && !rc) {
		struct piece piece = piece_at(journal, at);
		uint64_t stop = end < journal->size ? end : journal->size;
		size_t part = piece.left < stop - at ? piece.left
		                                     : (size_t)(stop - at);

		rc = read_piece(owner, &piece, bytes, part);
		bytes += part;
		at += part;
	}
	if (rc || at == end)
		return rc;
	memset(bytes, 0, (size_t)(end - at));
	return SQLITE_IOERR_SHORT_READ;
}

/* --- the rest ------------------------------------------------------------------ */

/* (J2) */
static void forget(struct door_file *owner)
{
	struct door_journal *journal = &owner->journal;

	journal->count = 0;
	journal->size = 0;
	journal->page_size = journal->sector_size = 0;
	memset(journal->head, 0, sizeof journal->head);
	if (journal->room > KEPT_ROOM) {
		heap_free(owner->environment->heap, journal->entries);
		journal->entries = NULL;
		journal->room = 0;
	}
}

static int journal_handle_close(sqlite3_file *base)
{
	forget(((struct journal_handle *)(void *)base)->owner);
	return SQLITE_OK;
}

static int journal_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	if (size == 0)
		forget(((struct journal_handle *)(void *)base)->owner);
	else if ((uint64_t)size < journal_of(base)->size)
		journal_of(base)->size = (uint64_t)size;
	return SQLITE_OK;
}

static int journal_size(sqlite3_file *base, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)journal_of(base)->size;
	return SQLITE_OK;
}

static int journal_sync(sqlite3_file *base, int flags)
{
	(void)base, (void)flags;
	return SQLITE_OK;
}

static int journal_lock(sqlite3_file *base, int level)
{
	(void)base, (void)level;
	return SQLITE_OK;
}

static int journal_reserved(sqlite3_file *base, int *reserved)
{
	(void)base;
	*reserved = 0;
	return SQLITE_OK;
}

static int journal_control(sqlite3_file *base, int operation, void *argument)
{
	(void)base, (void)operation, (void)argument;
	return SQLITE_NOTFOUND;
}

static int journal_sector_size(sqlite3_file *base)
{
	(void)base;
	return 512;
}

static int journal_characteristics(sqlite3_file *base)
{
	(void)base;
	return 0;
}

static const sqlite3_io_methods journal_methods = {
	.iVersion = 1,
	.xClose = journal_handle_close,
	.xRead = journal_read,
	.xWrite = journal_write,
	.xTruncate = journal_truncate,
	.xSync = journal_sync,
	.xFileSize = journal_size,
	.xLock = journal_lock,
	.xUnlock = journal_lock,
	.xCheckReservedLock = journal_reserved,
	.xFileControl = journal_control,
	.xSectorSize = journal_sector_size,
	.xDeviceCharacteristics = journal_characteristics,
};

int door_journal_open(struct door_file *owner, sqlite3_file *base, int flags,
                      int *flags_out)
{
	struct journal_handle *handle = (struct journal_handle *)(void *)base;

	forget(owner);
	handle->base.pMethods = &journal_methods;
	handle->owner = owner;
	if (flags_out)
		*flags_out = flags;
	return SQLITE_OK;
}

void door_journal_close(struct door_file *owner)
{
	heap_free(owner->environment->heap, owner->journal.entries);
	owner->journal.entries = NULL;
	owner->journal.room = owner->journal.count = 0;
}
