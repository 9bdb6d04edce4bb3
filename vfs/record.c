/*
 * record.c - log records: built by a commit, read by a replay.
 *
 * Format: record_format.h. The builder appends to the view's buffer, which keeps
 * its room over transactions. The reader trusts no number.
 */
#include "vfs/record_format.h"
#include "vfs/store_private.h"

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

bool store_varint_get_slow(struct span payload, size_t *at, uint64_t *value)
{
	uint64_t result = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte;

		if (*at >= payload.size)
			return false;
		byte = payload.data[(*at)++];
		result |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*value = result;
			return true;
		}
	}
	return false;
}

static inline bool get_u32(struct span payload, size_t *at, uint32_t *value)
{
	uint64_t wide;

	if (!store_varint_get(payload, at, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t)wide;
	return true;
}

int store_record_next(struct span payload, size_t *at,
                      struct record_item *item, struct err *err)
{
	size_t from = *at;

	memset(item, 0, sizeof *item);
	if (*at >= payload.size)
		return bad(err, "fewer items than stated", from);
	item->kind = payload.data[(*at)++];
	if (item->kind < RECORD_ENTRY || item->kind > RECORD_REMOVE)
		return bad(err, "an unknown item", from);
	if (!get_u32(payload, at, &item->file_id))
		return bad(err, "no file id", from);
	if (item->kind == RECORD_GONE)
		return ERR_NONE;
	if (item->kind == RECORD_ENTRY)
		return store_ranges_skip(payload, at, item)
		               ? ERR_NONE : bad(err, "bad ranges", from);
	if (!get_u32(payload, at, &item->page_no))
		return bad(err, "no page number", from);
	if (item->kind == RECORD_REMOVE)
		return ERR_NONE;
	if (item->kind == RECORD_FREE)
		return get_u32(payload, at, &item->next)
		               ? ERR_NONE : bad(err, "no next page", from);
	if (!get_u32(payload, at, &item->place) || payload.size - *at < 8)
		return bad(err, "no place", from);
	item->checksum = load_le64(payload.data + *at);
	*at += 8;
	if (item->kind == RECORD_PLACED)
		return ERR_NONE;
	return store_ranges_skip(payload, at, item)
	               ? ERR_NONE : bad(err, "bad ranges", from);
}
