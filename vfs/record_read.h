/*
 * record_read.h - the parts of a log record, read inline.
 *
 * A recovery reads some seven million small records for a gigabyte of log, each of
 * them twice: when the log is followed, and when a page's changes are made. So what
 * reads them keeps its position in a register. Format: record_format.h. Every
 * function takes where to read and where the record ends, trusts no number, and
 * returns where it ended, or NULL when what is there is malformed.
 */
#ifndef TURDB_VFS_RECORD_READ_H
#define TURDB_VFS_RECORD_READ_H

#include "vfs/record_format.h"
#include "vfs/store_private.h"

const uint8_t *record_read_varint_slow(const uint8_t *at, const uint8_t *end,
                                       uint64_t *value);

/* One that ends within the next 8 bytes costs no loop and no guessed branch. */
static inline const uint8_t *record_read_varint(const uint8_t *at,
                                                const uint8_t *end,
                                                uint64_t *value)
{
	uint64_t bytes, stops;

	if (__builtin_expect(end - at < 8, 0))
		return record_read_varint_slow(at, end, value);
	bytes = load_le64(at);
	stops = ~bytes & UINT64_C(0x8080808080808080);
	if (__builtin_expect(!stops, 0))
		return record_read_varint_slow(at, end, value);
	at += (uint32_t)__builtin_ctzll(stops) / 8 + 1;
	bytes &= (stops ^ (stops - 1)) & UINT64_C(0x7f7f7f7f7f7f7f7f);
	bytes = (bytes & UINT64_C(0x007f007f007f007f)) |
	        (bytes & UINT64_C(0x7f007f007f007f00)) >> 1;
	bytes = (bytes & UINT64_C(0x00003fff00003fff)) |
	        (bytes & UINT64_C(0x3fff00003fff0000)) >> 2;
	*value = (bytes & UINT64_C(0x0fffffff)) |
	         (bytes & UINT64_C(0x0fffffff00000000)) >> 4;
	return at;
}

static inline const uint8_t *record_read_u32(const uint8_t *at,
                                             const uint8_t *end,
                                             uint32_t *value)
{
	uint64_t wide;

	at = record_read_varint(at, end, &wide);
	if (__builtin_expect(!at || wide > UINT32_MAX, 0))
		return NULL;
	*value = (uint32_t)wide;
	return at;
}

/* Four bytes that can be read, of which it ends within: all but the largest numbers of
 * a log. NULL: it is longer. */
static inline const uint8_t *record_read_short(const uint8_t *at, uint32_t *value)
{
	uint32_t bytes = load_le32(at);
	uint32_t stops = ~bytes & UINT32_C(0x80808080);

	if (__builtin_expect(!stops, 0))
		return NULL;
	at += ((uint32_t)__builtin_ctz(stops) >> 3) + 1;
	bytes &= (stops ^ (stops - 1)) & UINT32_C(0x7f7f7f7f);
	bytes = (bytes & 0x7f007f) | (bytes & 0x7f007f00) >> 1;
	*value = (bytes & 0x3fff) | bytes >> 16 << 14;
	return at;
}

/* --- ranges --------------------------------------------------------------------- */

struct record_range {
	uint64_t skip, length;
	int64_t distance;     /* moved only   */
	const uint8_t *bytes; /* NULL: moved  */
};

/* How many there are; the builder writes three bytes whatever the number. */
static inline const uint8_t *record_read_range_count(const uint8_t *at,
                                                     const uint8_t *end,
                                                     uint64_t *count)
{
	if (end - at >= 4 && (load_le32(at) & 0xffffff) == 0x008081) {
		*count = 1;
		return at + 3;
	}
	return record_read_varint(at, end, count);
}

static inline const uint8_t *record_read_range(const uint8_t *at,
                                               const uint8_t *end,
                                               struct record_range *range)
{
	uint64_t length, zigzag;

	at = record_read_varint(at, end, &range->skip);
	if (__builtin_expect(!at, 0))
		return NULL;
	at = record_read_varint(at, end, &length);
	if (__builtin_expect(!at, 0))
		return NULL;
	range->length = length / 2;
	range->distance = 0;
	range->bytes = at;
	if (length & 1) {
		range->bytes = NULL;
		at = record_read_varint(at, end, &zigzag);
		if (__builtin_expect(!at, 0))
			return NULL;
		range->distance = (int64_t)(zigzag >> 1) ^
		                  -(int64_t)(zigzag & 1);
		return at;
	}
	if (__builtin_expect(range->length > (uint64_t)(end - at), 0))
		return NULL;
	return at + range->length;
}

/* How far a moved range behind `position` reaches, in what it reads and writes. */
static inline uint64_t record_move_reach(const struct record_range *range,
                                         uint64_t position)
{
	int64_t from;

	if (position > UINT32_MAX || range->length > UINT32_MAX ||
	    range->distance > UINT32_MAX || range->distance < -(int64_t)UINT32_MAX)
		return UINT64_MAX;
	from = (int64_t)position - range->distance;
	if (from < 0)
		return UINT64_MAX;
	return (range->distance < 0 ? (uint64_t)from : position) + range->length;
}

/* Moves over an item's ranges without applying them. */
static inline const uint8_t *record_read_ranges(const uint8_t *at,
                                                const uint8_t *end,
                                                struct record_item *item)
{
	uint64_t count, position = 0, reach = 0;
	const uint8_t *from = at;
	struct record_range range;
	bool moves = false;

	at = record_read_range_count(at, end, &count);
	for (; at && count; count--) {
		at = record_read_range(at, end, &range);
		if (__builtin_expect(!at, 0))
			return NULL;
		/* No sum of these overflows: a record has less than 2^30 bytes. */
		position += range.skip <= UINT32_MAX ? range.skip
		                                     : UINT64_C(1) << 32;
		if (!range.bytes) {
			uint64_t far = record_move_reach(&range, position);

			reach = far > reach ? far : reach;
			moves = true;
		}
		position += range.length <= UINT32_MAX ? range.length
		                                       : UINT64_C(1) << 32;
	}
	if (!at)
		return NULL;
	item->ranges = span_of(from, (size_t)(at - from));
	item->reach = position > reach ? position : reach;
	item->moves = moves;
	return at;
}

/* Up to 64 bytes without a call. */
static inline void record_copy(uint8_t *to, const uint8_t *from, size_t size)
{
	if (size > 64 || size < 16) {
		memcpy(to, from, size);
		return;
	}
	if (size > 32) {
		memcpy(to + 16, from + 16, 16);
		memcpy(to + size - 32, from + size - 32, 16);
	}
	memcpy(to, from, 16);
	memcpy(to + size - 16, from + size - 16, 16);
}

/* The same for a range that may be the record's last bytes. */
const uint8_t *record_read_last_bytes(const uint8_t *at, const uint8_t *end,
                                      uint32_t *skip, uint32_t *length);

/* A range of bytes that did not move and whose numbers are short, as nearly all are.
 * NULL: another one, or it does not end before `end`. */
static inline const uint8_t *record_read_bytes(const uint8_t *at,
                                               const uint8_t *end,
                                               uint32_t *skip, uint32_t *length)
{
	if (__builtin_expect(end - at < 8, 0))
		return record_read_last_bytes(at, end, skip, length);
	at = record_read_short(at, skip);
	if (__builtin_expect(!at, 0))
		return NULL;
	at = record_read_short(at, length);
	if (__builtin_expect(!at || *length & 1, 0))
		return NULL;
	*length >>= 1;
	return __builtin_expect(*length > (size_t)(end - at), 0) ? NULL : at;
}

/* As the builder writes it when it is below 128; 0: otherwise. */
static inline uint32_t record_read_count_short(const uint8_t *at)
{
	uint32_t bytes = load_le32(at) & 0xffffff;

	return (bytes & 0xffff80) == 0x008080 ? bytes & 0x7f : 0;
}

/* Makes the changes of such ranges. False: there is another one, or one beyond the
 * page; some of them may be made. */
static inline bool record_ranges_put(struct span ranges, uint8_t *bytes,
                                     uint32_t size)
{
	const uint8_t *at = ranges.data, *end = at + ranges.size;
	uint32_t count, skip, length, room = size;

	count = ranges.size < 4 ? 0 : record_read_count_short(at);
	at += 3;
	if (__builtin_expect(!count, 0))
		return false;
	for (; count; count--) {
		at = record_read_bytes(at, end, &skip, &length);
		if (__builtin_expect(!at || skip > room ||
		                     length > room - skip, 0))
			return false;
		bytes += skip;
		record_copy(bytes, at, length);
		bytes += length;
		at += length;
		room -= skip + length;
	}
	return true;
}

/* --- heads and items -------------------------------------------------------------------- */

/* Of a record of this version; false: store_record_head() tells. */
static inline bool record_read_head(struct span payload, uint64_t *txid,
                                    uint32_t *items)
{
	static_assert(RECORD_VERSION_AT == RECORD_MAGIC_AT + 4, "one load");
	if (payload.size < RECORD_HEAD_SIZE ||
	    load_le64(payload.data + RECORD_MAGIC_AT) !=
	            (RECORD_MAGIC | (uint64_t)RECORD_VERSION << 32))
		return false;
	*txid = load_le64(payload.data + RECORD_TXID_AT);
	*items = load_le32(payload.data + RECORD_ITEMS_AT);
	return true;
}

/* What DIFF, FRESH and PLACED have in front of their ranges. */
static inline const uint8_t *record_read_place(const uint8_t *at,
                                               const uint8_t *end,
                                               struct record_item *item,
                                               const char **fault)
{
	*fault = "no place";
	at = record_read_u32(at, end, &item->place);
	if (__builtin_expect(!at || end - at < 8, 0))
		return NULL;
	item->checksum = load_le64(at);
	at += 8;
	if (item->kind == RECORD_PLACED)
		return at;
	*fault = "bad ranges";
	return record_read_ranges(at, end, item);
}

/* Fills of `item` what its kind has; `fault` says what NULL means. */
static inline const uint8_t *record_read_item(const uint8_t *at,
                                              const uint8_t *end,
                                              struct record_item *item,
                                              const char **fault)
{
	*fault = "fewer items than stated";
	if (__builtin_expect(at >= end, 0))
		return NULL;
	item->kind = *at++;
	*fault = "an unknown item";
	if (__builtin_expect(item->kind < RECORD_ENTRY ||
	                     item->kind > RECORD_REMOVE, 0))
		return NULL;
	*fault = "no file id";
	at = record_read_u32(at, end, &item->file_id);
	if (!at || item->kind == RECORD_GONE)
		return at;
	if (item->kind == RECORD_ENTRY) {
		*fault = "bad ranges";
		return record_read_ranges(at, end, item);
	}
	*fault = "no page number";
	at = record_read_u32(at, end, &item->page_no);
	if (!at || item->kind == RECORD_REMOVE)
		return at;
	if (item->kind == RECORD_FREE) {
		*fault = "no next page";
		return record_read_u32(at, end, &item->next);
	}
	return record_read_place(at, end, item, fault);
}

/* A DIFF of such ranges, with short numbers: nearly every item. NULL: another one, or
 * a malformed one; record_read_item() tells. */
static inline const uint8_t *record_read_usual(const uint8_t *at,
                                               const uint8_t *end,
                                               struct record_item *item)
{
	const uint8_t *from;
	uint32_t count, skip, length;
	uint64_t position = 0;

	if (__builtin_expect(end - at < 24 || at[0] != RECORD_DIFF ||
	                     at[1] & 0x80, 0))
		return NULL;
	item->kind = RECORD_DIFF;
	item->file_id = at[1];
	at = record_read_short(at + 2, &item->page_no);
	if (__builtin_expect(!at, 0))
		return NULL;
	at = record_read_short(at, &item->place);
	if (__builtin_expect(!at, 0))
		return NULL;
	item->checksum = load_le64(at);
	from = at + 8;
	count = record_read_count_short(from);
	if (__builtin_expect(!count, 0))
		return NULL;
	for (at = from + 3; count; count--) {
		at = record_read_bytes(at, end, &skip, &length);
		if (__builtin_expect(!at, 0))
			return NULL;
		at += length;
		position += skip + (uint64_t)length;
	}
	item->ranges = span_of(from, (size_t)(at - from));
	item->reach = position;
	item->moves = false;
	return at;
}

#endif
