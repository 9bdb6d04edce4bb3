/*
 * record.c - log records: built by a commit, read by a replay.
 *
 * Format: record_format.h. The builder appends to the view's buffer, which keeps
 * its room over transactions. The reader trusts no number.
 */
#include "vfs/record_format.h"
#include "vfs/store_private.h"

enum {
	VARINT_SIZE_MAX = 10,
	RANGE_GAP = 12, /* equal bytes that are cheaper to log than a new range */
};

static int room_for(struct store_view *view, size_t more, struct err *err)
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

static void put_varint(struct store_view *view, uint64_t value)
{
	uint8_t *at = view->record + view->record_size;
	size_t used = 0;

	while (value >= 0x80) {
		at[used++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	at[used++] = (uint8_t)value;
	view->record_size += used;
}

int store_record_begin(struct store_view *view, uint64_t txid, struct err *err)
{
	int rc;

	view->record_size = 0;
	rc = room_for(view, RECORD_HEAD_SIZE, err);
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
	int rc = room_for(view, 1 + 4 * VARINT_SIZE_MAX + 8, err);

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

/* The first index >= from where the two differ (or agree); `size` at the end. */
static uint32_t next_difference(const uint8_t *base, const uint8_t *now,
                                uint32_t from, uint32_t size)
{
	while (from + 64 <= size && memcmp(base + from, now + from, 64) == 0)
		from += 64;
	while (from + 8 <= size &&
	       load_le64(base + from) == load_le64(now + from))
		from += 8;
	while (from < size && base[from] == now[from])
		from++;
	return from;
}

static uint32_t end_of_difference(const uint8_t *base, const uint8_t *now,
                                  uint32_t from, uint32_t size)
{
	uint32_t end = from + 1, same = 0;

	for (uint32_t i = from + 1; i < size && same < RANGE_GAP; i++) {
		if (base[i] == now[i]) {
			same++;
			continue;
		}
		same = 0;
		end = i + 1;
	}
	return end;
}

static const uint8_t zeros[STORE_PAGE_SIZE];

int store_record_ranges(struct store_view *view, const uint8_t *base,
                        const uint8_t *now, uint32_t size, bool *any,
                        struct err *err)
{
	size_t count_at = view->record_size;
	uint32_t at, last_end = 0, count = 0;
	int rc;

	if (!base)
		base = zeros;
	/* The count is a varint of fixed three bytes, filled in at the end. */
	rc = room_for(view, 3 + size + 2 * VARINT_SIZE_MAX *
	                              (size / RANGE_GAP + 1), err);
	if (rc)
		return rc;
	view->record_size += 3;
	for (at = next_difference(base, now, 0, size); at < size;
	     at = next_difference(base, now, last_end, size)) {
		uint32_t end = end_of_difference(base, now, at, size);

		put_varint(view, at - last_end);
		put_varint(view, end - at);
		memcpy(view->record + view->record_size, now + at, end - at);
		view->record_size += end - at;
		last_end = end;
		count++;
	}
	view->record[count_at] = (uint8_t)(count | 0x80);
	view->record[count_at + 1] = (uint8_t)(count >> 7 | 0x80);
	view->record[count_at + 2] = (uint8_t)(count >> 14 & 0x7f);
	*any = count != 0;
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

static bool get_varint(struct span payload, size_t *at, uint64_t *value)
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

static bool get_u32(struct span payload, size_t *at, uint32_t *value)
{
	uint64_t wide;

	if (!get_varint(payload, at, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t)wide;
	return true;
}

/* Moves over ranges without applying them. */
static bool skip_ranges(struct span payload, size_t *at, struct span *ranges)
{
	size_t from = *at;
	uint64_t count, skip, length;

	if (!get_varint(payload, at, &count))
		return false;
	for (; count; count--) {
		if (!get_varint(payload, at, &skip) ||
		    !get_varint(payload, at, &length) ||
		    length > payload.size - *at)
			return false;
		*at += length;
	}
	*ranges = span_of(payload.data + from, *at - from);
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
		return skip_ranges(payload, at, &item->ranges)
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
	return skip_ranges(payload, at, &item->ranges)
	               ? ERR_NONE : bad(err, "bad ranges", from);
}

int store_ranges_apply(struct span ranges, uint8_t *bytes, uint32_t size,
                       struct err *err)
{
	uint64_t count = 0, skip, length, position = 0;
	size_t at = 0;

	if (!get_varint(ranges, &at, &count))
		return bad(err, "no ranges", 0);
	for (; count; count--) {
		if (!get_varint(ranges, &at, &skip) ||
		    !get_varint(ranges, &at, &length) ||
		    length > ranges.size - at || skip > size ||
		    length > size || position + skip + length > size)
			return bad(err, "a range beyond its page", at);
		position += skip;
		memcpy(bytes + position, ranges.data + at, length);
		position += length;
		at += length;
	}
	return ERR_NONE;
}
