/*
 * record_ranges.c - what of a page changed, as ranges of a log record.
 *
 * Purpose       A page's differences from its version before, and back.
 * Architecture  Format: record_format.h. A range holds bytes, or says from where in
 *               the version before they moved: an entry put into a sorted page
 *               shifts the arrays behind it by 2, 4 or 8 bytes, which as bytes would
 *               be most of the record.
 * Performance   Equal bytes are passed 512 and 64 at a time, different ones 8. Moves are
 *               looked for at the first bytes of a difference, and on a page that
 *               has none no longer after a few hundred looks.
 * Safety        The reader trusts no number; moved bytes come from the unchanged
 *               version, never from the page under construction.
 */
#include "vfs/store_private.h"

enum {
	RANGE_GAP = 12,     /* equal bytes that are cheaper to log than a new range */
	MOVED_MIN = 16,     /* moved bytes that are worth a range                   */
	MOVE_LOOKS = 48,    /* positions of a difference at which moves are tried   */
	LOOKS_A_PAGE = 256, /* in vain, before no more are                          */
	RANGE_HEAD_MAX = 9, /* three varints below 2 * 64 KB                        */
};

const uint8_t store_zeros[STORE_PAGE_SIZE];

struct pages {
	const uint8_t *base, *now;
	uint32_t size;
	uint32_t looks; /* left */
};

/* The first index >= from where the two differ (or agree); `size` at the end. */
static uint32_t next_difference(const struct pages *pages, uint32_t from)
{
	const uint8_t *base = pages->base, *now = pages->now;
	uint32_t size = pages->size;

	while (from + 512 <= size && memcmp(base + from, now + from, 512) == 0)
		from += 512; /* a call: wider than what is expanded here */
	while (from + 64 <= size && memcmp(base + from, now + from, 64) == 0)
		from += 64;
	for (; from + 8 <= size; from += 8) {
		uint64_t x = load_le64(base + from) ^ load_le64(now + from);

		if (x)
			return from + (uint32_t)__builtin_ctzll(x) / 8;
	}
	while (from < size && base[from] == now[from])
		from++;
	return from;
}

/* How many bytes from `at` on moved there by `distance`. */
static uint32_t moved_length(const struct pages *pages, uint32_t at,
                             int32_t distance)
{
	const uint8_t *now = pages->now + at;
	const uint8_t *base = pages->base + at - distance;
	uint32_t end = pages->size - at, length = 0;

	if (distance < 0)
		end -= (uint32_t)-distance;
	while (length + 8 <= end &&
	       load_le64(base + length) == load_le64(now + length))
		length += 8;
	while (length < end && base[length] == now[length])
		length++;
	return length;
}

/* The width of the arrays that pages hold: SQLite's cell pointers, our offsets and
 * key heads. */
static const int32_t distances[] = { 8, -8, 2, -2, 4, -4 };

/* The longest move that ends at `at` or 0. */
static uint32_t find_move(const struct pages *pages, uint32_t at,
                          int32_t *distance)
{
	uint32_t best = 0;

	if (at < 8 || at + MOVED_MIN + 8 > pages->size)
		return 0;
	for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
		const uint8_t *from = pages->base + at - distances[i];
		uint32_t length;

		if (load_le64(from) != load_le64(pages->now + at))
			continue;
		length = moved_length(pages, at, distances[i]);
		if (length >= MOVED_MIN && length > best) {
			best = length;
			*distance = distances[i];
		}
	}
	return best;
}

static bool has_equal_byte(const struct pages *pages, uint32_t at)
{
	uint64_t x = load_le64(pages->base + at) ^ load_le64(pages->now + at);

	return (x - UINT64_C(0x0101010101010101)) & ~x &
	       UINT64_C(0x8080808080808080);
}

/* Whether a move begins at a differing byte `into` a difference. */
static bool look_for_move(struct pages *pages, uint32_t at, uint32_t into,
                          uint32_t *moved, int32_t *distance)
{
	if (into >= MOVE_LOOKS || pages->looks == 0)
		return false;
	*moved = find_move(pages, at, distance);
	if (*moved)
		pages->looks = LOOKS_A_PAGE;
	else
		pages->looks--;
	return *moved > 0;
}

/* A difference of a few bytes and no more for a while, as a column changed in its
 * place leaves behind: cheaper than any move. `from` differs. */
static bool is_short(const struct pages *pages, uint32_t from, uint32_t *end)
{
	uint64_t x[3];
	uint32_t length, equal;

	if (from + sizeof x > pages->size)
		return false;
	for (uint32_t i = 0; i < 3; i++)
		x[i] = load_le64(pages->base + from + 8 * i) ^
		       load_le64(pages->now + from + 8 * i);
	length = 8 - (uint32_t)__builtin_clzll(x[0]) / 8;
	equal = 8 - length;
	if (x[1])
		equal += (uint32_t)__builtin_ctzll(x[1]) / 8;
	else
		equal += 8 + (x[2] ? (uint32_t)__builtin_ctzll(x[2]) / 8 : 8);
	*end = from + length;
	return equal >= RANGE_GAP;
}

/* The end of the bytes from `from` on that are to be logged as they are: where
 * the two agree again for a while, or where a move begins (*moved > 0). */
static uint32_t end_of_difference(struct pages *pages, uint32_t from,
                                  uint32_t *moved, int32_t *distance)
{
	uint32_t end = from, same = 0, i = from;

	*moved = 0;
	if (is_short(pages, from, &end))
		return end;
	end = from;
	while (i < pages->size && same < RANGE_GAP) {
		if (pages->base[i] == pages->now[i]) {
			same++;
			i++;
			continue;
		}
		if (look_for_move(pages, i, i - from, moved, distance))
			return i;
		same = 0;
		end = ++i;
		if (pages->looks && i - from < MOVE_LOOKS)
			continue;
		while (i + 8 <= pages->size && !has_equal_byte(pages, i))
			end = i += 8;
	}
	return end;
}

static void put_bytes(struct store_view *view, const struct pages *pages,
                      uint32_t skip, uint32_t at, uint32_t length)
{
	store_record_varint(view, skip);
	store_record_varint(view, (uint64_t)length * 2);
	memcpy(view->record + view->record_size, pages->now + at, length);
	view->record_size += length;
}

static void put_moved(struct store_view *view, uint32_t skip, uint32_t length,
                      int32_t distance)
{
	store_record_varint(view, skip);
	store_record_varint(view, (uint64_t)length * 2 + 1);
	store_record_varint(view, distance >= 0
	                                  ? (uint64_t)distance * 2
	                                  : (uint64_t)-distance * 2 - 1);
}

int store_record_ranges(struct store_view *view, const uint8_t *base,
                        const uint8_t *now, uint32_t size, bool *any,
                        struct err *err)
{
	struct pages pages = { .base = base ? base : store_zeros, .now = now,
	                       .size = size, .looks = LOOKS_A_PAGE };
	size_t count_at = view->record_size;
	uint32_t at, last_end = 0, count = 0;
	int rc;

	/* The count is a varint of fixed three bytes, filled in at the end. */
	rc = store_record_room(view, 3 + size + 2 * RANGE_HEAD_MAX *
	                                        (size / RANGE_GAP + 1), err);
	if (rc)
		return rc;
	view->record_size += 3;
	for (at = next_difference(&pages, 0); at < size;
	     at = next_difference(&pages, last_end)) {
		int32_t distance = 0;
		uint32_t moved, end;

		end = end_of_difference(&pages, at, &moved, &distance);
		if (end > at) {
			put_bytes(view, &pages, at - last_end, at, end - at);
			last_end = end;
			count++;
		}
		if (moved) {
			put_moved(view, end - last_end, moved, distance);
			last_end = end + moved;
			count++;
		}
	}
	view->record[count_at] = (uint8_t)(count | 0x80);
	view->record[count_at + 1] = (uint8_t)(count >> 7 | 0x80);
	view->record[count_at + 2] = (uint8_t)(count >> 14 & 0x7f);
	*any = count != 0;
	return ERR_NONE;
}

/* --- reading ------------------------------------------------------------------- */

struct range {
	uint64_t skip, length;
	int64_t distance;     /* moved only */
	const uint8_t *bytes; /* NULL: moved */
};

static bool next_range(struct span ranges, size_t *at, struct range *range)
{
	uint64_t length, zigzag;

	if (!store_varint_get(ranges, at, &range->skip) ||
	    !store_varint_get(ranges, at, &length))
		return false;
	range->length = length / 2;
	range->distance = 0;
	range->bytes = NULL;
	if (length & 1) {
		if (!store_varint_get(ranges, at, &zigzag))
			return false;
		range->distance = (int64_t)(zigzag >> 1) ^
		                  -(int64_t)(zigzag & 1);
		return true;
	}
	if (range->length > ranges.size - *at)
		return false;
	range->bytes = ranges.data + *at;
	*at += range->length;
	return true;
}

bool store_ranges_skip(struct span payload, size_t *at, struct span *ranges)
{
	size_t from = *at;
	struct range range;
	uint64_t count;

	if (!store_varint_get(payload, at, &count))
		return false;
	for (; count; count--)
		if (!next_range(payload, at, &range))
			return false;
	*ranges = span_of(payload.data + from, *at - from);
	return true;
}

bool store_ranges_move(struct span ranges)
{
	struct range range;
	uint64_t count;
	size_t at = 0;

	if (!store_varint_get(ranges, &at, &count))
		return true;
	for (; count; count--)
		if (!next_range(ranges, &at, &range) || !range.bytes)
			return true;
	return false;
}

static int bad(struct err *err, const char *what, size_t at)
{
	return err_set(err, ERR_CORRUPT, "read log record", "wal",
	               "%s at byte %zu", what, at);
}

static bool fits(const struct range *range, uint64_t position, uint32_t size)
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

int store_ranges_apply(struct span ranges, const uint8_t *base, uint8_t *bytes,
                       uint32_t size, struct err *err)
{
	uint64_t count = 0, position = 0;
	struct range range;
	size_t at = 0;

	if (!store_varint_get(ranges, &at, &count))
		return bad(err, "no ranges", 0);
	for (; count; count--) {
		const uint8_t *from;

		if (!next_range(ranges, &at, &range) ||
		    !fits(&range, position, size))
			return bad(err, "a range beyond its page", at);
		position += range.skip;
		from = range.bytes ? range.bytes
		                   : base + ((int64_t)position - range.distance);
		memcpy(bytes + position, from, range.length);
		position += range.length;
	}
	return ERR_NONE;
}
