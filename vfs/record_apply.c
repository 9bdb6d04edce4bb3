/*
 * record_apply.c - ranges of a log record, put into the page that they changed.
 *
 * Purpose       What record_ranges.c has found, the other way round. A replay takes
 *               the short way of record_read.h where a page has no moved bytes.
 * Safety        No number is trusted; moved bytes come from the unchanged version,
 *               never from the page under construction.
 */
#include "vfs/record_read.h"

static bool fits(const struct record_range *range, uint64_t position,
                 uint32_t size)
{
	int64_t from;

	if (range->skip > size || range->length > size ||
	    position + range->skip + range->length > size)
		return false;
	if (range->bytes)
		return true;
	if (range->distance > (int64_t)size || range->distance < -(int64_t)size)
		return false;
	from = (int64_t)(position + range->skip) - range->distance;
	return from >= 0 && from + (int64_t)range->length <= (int64_t)size;
}

static int bad(struct err *err, const char *what, const struct span *ranges,
               const uint8_t *at)
{
	return err_set(err, ERR_CORRUPT, "read log record", "wal",
	               "%s at byte %zu", what,
	               at ? (size_t)(at - ranges->data) : ranges->size);
}

int store_ranges_apply(struct span ranges, const uint8_t *base, uint8_t *bytes,
                       uint32_t size, struct err *err)
{
	const uint8_t *at = ranges.data, *end = at + ranges.size;
	uint64_t count = 0, position = 0;
	struct record_range range;

	at = record_read_range_count(at, end, &count);
	if (!at)
		return bad(err, "no ranges", &ranges, ranges.data);
	for (; count; count--) {
		const uint8_t *from;

		at = record_read_range(at, end, &range);
		if (!at || !fits(&range, position, size))
			return bad(err, "a range beyond its page", &ranges, at);
		position += range.skip;
		from = range.bytes ? range.bytes
		                   : base + ((int64_t)position - range.distance);
		memcpy(bytes + position, from, range.length);
		position += range.length;
	}
	return ERR_NONE;
}

/* The bytes that move, one behind the other, as they are before any range is
 * applied. */
static int save_moving(struct span ranges, const uint8_t *bytes, uint32_t size,
                       uint8_t *scratch, struct err *err)
{
	const uint8_t *at = ranges.data, *end = at + ranges.size;
	uint64_t count = 0, position = 0, saved = 0;
	struct record_range range;

	at = record_read_range_count(at, end, &count);
	if (!at)
		return bad(err, "no ranges", &ranges, ranges.data);
	for (; count; count--) {
		at = record_read_range(at, end, &range);
		if (!at || !fits(&range, position, size))
			return bad(err, "a range beyond its page", &ranges, at);
		position += range.skip;
		if (!range.bytes) {
			memcpy(scratch + saved,
			       bytes + ((int64_t)position - range.distance),
			       range.length);
			saved += range.length;
		}
		position += range.length;
	}
	return ERR_NONE;
}

int store_ranges_apply_moving(struct span ranges, uint8_t *bytes, uint32_t size,
                              uint8_t *scratch, struct err *err)
{
	const uint8_t *at = ranges.data, *end = at + ranges.size;
	uint64_t count = 0, position = 0, saved = 0;
	struct record_range range;
	int rc = save_moving(ranges, bytes, size, scratch, err);

	if (rc)
		return rc;
	at = record_read_range_count(at, end, &count);
	for (; at && count; count--) {
		const uint8_t *from;

		at = record_read_range(at, end, &range);
		if (!at || !fits(&range, position, size))
			return bad(err, "a range beyond its page", &ranges, at);
		position += range.skip;
		from = range.bytes ? range.bytes : scratch + saved;
		saved += range.bytes ? 0 : range.length;
		memcpy(bytes + position, from, range.length);
		position += range.length;
	}
	return ERR_NONE;
}
