/*
 * record.c - log records: built by a commit, read by a replay.
 *
 * Format: record_format.h. The builder appends to the view's buffer, which keeps
 * its room over transactions. The reader (record_read.h) trusts no number.
 */
#include "vfs/record_read.h"

int store_record_room(struct store_view *view, size_t more, struct err *err)
{
	size_t room = view->record_room ? view->record_room : 1024;
	uint8_t *larger;

	if (view->record_size + more <= view->record_room)
		return ERR_NONE;
	while (room < view->record_size + more)
		room *= 2;
	larger = heap_resize(view->store->heap, view->record, room);
	if (!larger)
		return err_set(err, ERR_NOMEM, "commit", view->store->path,
		               "log record of %zu bytes", room);
	view->record = larger;
	view->record_room = room;
	return ERR_NONE;
}

/* Room is there. */
static void put_varint(struct store_view *view, uint64_t value)
{
	uint8_t *end = store_varint_put(view->record + view->record_size, value);

	view->record_size = (size_t)(end - view->record);
}

int store_record_begin(struct store_view *view, uint64_t txid, struct err *err)
{
	int rc;

	view->record_size = 0;
	rc = store_record_room(view, RECORD_HEAD_SIZE, err);
	if (rc)
		return rc;
	memset(view->record, 0, RECORD_HEAD_SIZE);
	store_le32(view->record + RECORD_MAGIC_AT, RECORD_MAGIC);
	store_le32(view->record + RECORD_VERSION_AT, RECORD_VERSION);
	store_le64(view->record + RECORD_TXID_AT, txid);
	view->record_size = RECORD_HEAD_SIZE;
	return ERR_NONE;
}

int store_record_item(struct store_view *view, const struct record_item *item,
                      struct err *err)
{
	int rc = store_record_room(view, 1 + 4 * VARINT_SIZE_MAX + 8, err);

	if (rc)
		return rc;
	view->record[view->record_size++] = item->kind;
	put_varint(view, item->file_id);
	if (item->kind == RECORD_ENTRY || item->kind == RECORD_GONE)
		return ERR_NONE;
	put_varint(view, item->page_no);
	if (item->kind == RECORD_FREE)
		put_varint(view, item->next);
	if (item->kind == RECORD_FREE || item->kind == RECORD_REMOVE)
		return ERR_NONE;
	put_varint(view, item->place);
	store_le64(view->record + view->record_size, item->checksum);
	view->record_size += 8;
	return ERR_NONE;
}

void store_record_end(struct store_view *view, uint32_t items)
{
	store_le32(view->record + RECORD_ITEMS_AT, items);
}

/* --- reading ------------------------------------------------------------------- */

static int bad(struct err *err, const char *what, size_t at)
{
	return err_set(err, ERR_CORRUPT, "read log record", "wal",
	               "%s at byte %zu", what, at);
}

int store_record_head(struct span payload, uint64_t *txid, uint32_t *items,
                      struct err *err)
{
	if (payload.size < RECORD_HEAD_SIZE ||
	    load_le32(payload.data + RECORD_MAGIC_AT) != RECORD_MAGIC)
		return bad(err, "no record head", 0);
	if (load_le32(payload.data + RECORD_VERSION_AT) > RECORD_VERSION)
		return err_set(err, ERR_VERSION, "read log record", "wal",
		               "its version is %u, this library knows %d",
		               load_le32(payload.data + RECORD_VERSION_AT),
		               RECORD_VERSION);
	*txid = load_le64(payload.data + RECORD_TXID_AT);
	*items = load_le32(payload.data + RECORD_ITEMS_AT);
	return ERR_NONE;
}

const uint8_t *record_read_varint_slow(const uint8_t *at, const uint8_t *end,
                                       uint64_t *value)
{
	uint64_t result = 0;

	for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
		uint8_t byte = *at++;

		result |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*value = result;
			return at;
		}
	}
	return NULL;
}

const uint8_t *record_read_last_bytes(const uint8_t *at, const uint8_t *end,
                                      uint32_t *skip, uint32_t *length)
{
	struct record_range range;

	if (!record_read_range(at, end, &range) || !range.bytes ||
	    range.skip > UINT32_MAX)
		return NULL;
	*skip = (uint32_t)range.skip;
	*length = (uint32_t)range.length;
	return range.bytes;
}

int store_record_next(struct span payload, size_t *at,
                      struct record_item *item, struct err *err)
{
	const uint8_t *from = payload.data + *at, *next;
	const char *fault;

	memset(item, 0, sizeof *item);
	next = record_read_item(from, payload.data + payload.size, item, &fault);
	if (!next)
		return bad(err, fault, *at);
	*at = (size_t)(next - payload.data);
	return ERR_NONE;
}
