/*
 * record_ranges.c - what of a page changed, as ranges of a log record.
 *
 * Purpose       A page's differences from its version before; back in record_apply.c.
 * Architecture  Format: record_format.h. A range holds bytes, or says from where in
 *               the version before they moved: an entry put into a sorted page
 *               shifts the arrays behind it by 2, 4 or 8 bytes, which as bytes would
 *               be most of the record.
 * Performance   A page is compared once, into a bit for each byte: 512 bytes at a time
 *               where it is equal, else 16. Differences and their ends are found there,
 *               64 bytes at a time. Moves are
 *               looked for at the first bytes of a difference, and on a page that
 *               has none no longer after a few hundred looks. A new page is only
 *               searched for zeros, 16 bytes at a time.
 */
#include "vfs/record_read.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
	uint64_t differs[STORE_PAGE_SIZE / 64 + 1]; /* a bit for each byte */
};

/* block_compare(): a bit for each of 64 bytes, set where they differ. */
#if defined(__SSE2__)
static inline uint64_t equal16(const uint8_t *base, const uint8_t *now)
{
	__m128i x = _mm_loadu_si128((const void *)base);
	__m128i y = _mm_loadu_si128((const void *)now);

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
}

static inline uint64_t block_compare(const uint8_t *base, const uint8_t *now)
{
	return ~(equal16(base, now) | equal16(base + 16, now + 16) << 16 |
	         equal16(base + 32, now + 32) << 32 |
	         equal16(base + 48, now + 48) << 48);
}
#else
static inline uint64_t block_compare(const uint8_t *base, const uint8_t *now)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t differs = 0;

	for (int i = 0; i < 64; i += 8) {
		uint64_t x = load_le64(base + i) ^ load_le64(now + i);

		x = (((x & low) + low) | x) & ~low;
		differs |= ((x >> 7) * UINT64_C(0x0102040810204080) >> 56) << i;
	}
	return differs;
}
#endif

enum { STRETCH = 512 };

static void compare(struct pages *pages)
{
	uint32_t at = 0, size = pages->size;

	for (uint32_t end; at + 64 <= size; ) {
		/* A call: wider than what is expanded here. */
		if (at % STRETCH == 0 && at + STRETCH <= size &&
		    memcmp(pages->base + at, pages->now + at, STRETCH) == 0) {
			memset(&pages->differs[at / 64], 0, STRETCH / 8);
			at += STRETCH;
			continue;
		}
		end = at + STRETCH <= size ? at + STRETCH : size;
		for (; at + 64 <= end; at += 64)
			pages->differs[at / 64] = block_compare(
				pages->base + at, pages->now + at);
	}
	pages->differs[at / 64] = 0;
	for (; at < size; at++)
		pages->differs[at / 64] |=
			(uint64_t)(pages->base[at] != pages->now[at])
			<< at % 64;
}

/* The first index >= from where the two differ; `size` at the end. */
static inline uint32_t next_difference(const struct pages *pages, uint32_t from)
{
	uint32_t word = from / 64, last = pages->size / 64;
	uint64_t differs = pages->differs[word] >> from % 64 << from % 64;

	while (!differs && word < last)
		differs = pages->differs[++word];
	return differs ? word * 64 + (uint32_t)__builtin_ctzll(differs)
	               : pages->size;
}

/* The first index >= from where they agree again. */
static uint32_t next_equal(const struct pages *pages, uint32_t from)
{
	uint32_t word = from / 64, last = pages->size / 64;
	uint64_t equal = ~pages->differs[word] >> from % 64 << from % 64;

	while (!equal && word < last)
		equal = ~pages->differs[++word];
	return equal ? word * 64 + (uint32_t)__builtin_ctzll(equal)
	             : pages->size;
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
static inline bool is_short(const struct pages *pages, uint32_t from,
                            uint32_t *end)
{
	uint32_t word = from / 64, shift = from % 64, length;
	uint32_t differs;

	if (from + 24 > pages->size)
		return false;
	differs = (uint32_t)(pages->differs[word] >> shift);
	if (shift > 40)
		differs |= (uint32_t)(pages->differs[word + 1] << (64 - shift));
	differs &= 0xffffff;
	length = 32 - (uint32_t)__builtin_clz(differs & 0xff);
	*end = from + length;
	differs >>= length;
	return !(differs & ((1u << RANGE_GAP) - 1));
}

/* The end of the bytes from `from` on that are to be logged as they are: where
 * the two agree again for a while, or where a move begins (*moved > 0). */
static uint32_t end_of_difference(struct pages *pages, uint32_t from,
                                  uint32_t *moved, int32_t *distance)
{
	uint32_t end, i = from;

	*moved = 0;
	if (is_short(pages, from, &end))
		return end;
	do {
		if (look_for_move(pages, i, i - from, moved, distance))
			return i;
		end = pages->looks && i + 1 - from < MOVE_LOOKS
		              ? i + 1 : next_equal(pages, i);
		i = next_difference(pages, end);
	} while (i < pages->size && i - end < RANGE_GAP);
	return end;
}

/* May write up to eight bytes more than it says. */
static uint8_t *put_bytes(uint8_t *out, const struct pages *pages,
                          uint32_t skip, uint32_t at, uint32_t length)
{
	out = store_varint_put(out, skip);
	out = store_varint_put(out, (uint64_t)length * 2);
	if (length <= 8 && at + 8 <= pages->size)
		store_le64(out, load_le64(pages->now + at));
	else
		memcpy(out, pages->now + at, length);
	return out + length;
}

static uint8_t *put_moved(uint8_t *out, uint32_t skip, uint32_t length,
                          int32_t distance)
{
	out = store_varint_put(out, skip);
	out = store_varint_put(out, (uint64_t)length * 2 + 1);
	return store_varint_put(out, distance >= 0 ? (uint64_t)distance * 2
	                                           : (uint64_t)-distance * 2 - 1);
}

static uint8_t *put_changes(uint8_t *out, struct pages *pages, uint32_t *count)
{
	uint32_t at, last_end = 0;

	compare(pages);
	for (at = next_difference(pages, 0); at < pages->size;
	     at = next_difference(pages, last_end)) {
		int32_t distance = 0;
		uint32_t moved, end;

		end = end_of_difference(pages, at, &moved, &distance);
		if (end > at) {
			out = put_bytes(out, pages, at - last_end, at, end - at);
			last_end = end;
			++*count;
		}
		if (moved) {
			out = put_moved(out, end - last_end, moved, distance);
			last_end = end + moved;
			++*count;
		}
	}
	return out;
}

/* Of a new page: where the bytes go on that are not zero. */
static uint32_t next_content(const struct pages *pages, uint32_t from)
{
	const uint8_t *now = pages->now;

	while (from + 16 <= pages->size &&
	       (load_le64(now + from) | load_le64(now + from + 8)) == 0)
		from += 16;
	while (from < pages->size && now[from] == 0)
		from++;
	return from;
}

/* And where zeros begin that are worth leaving out. */
static uint32_t end_of_content(const struct pages *pages, uint32_t from)
{
	const uint8_t *now = pages->now;
	uint32_t at = from;

	while (at + 16 <= pages->size &&
	       (load_le64(now + at) | load_le64(now + at + 8)) != 0)
		at += 16;
	if (at + 16 > pages->size)
		return pages->size;
	while (at > from && now[at - 1] == 0)
		at--;
	return at;
}

static uint8_t *put_content(uint8_t *out, const struct pages *pages,
                            uint32_t *count)
{
	uint32_t at, last_end = 0;

	for (at = next_content(pages, 0); at < pages->size;
	     at = next_content(pages, last_end)) {
		uint32_t end = end_of_content(pages, at);

		out = put_bytes(out, pages, at - last_end, at, end - at);
		last_end = end;
		++*count;
	}
	return out;
}

int store_record_ranges(struct store_view *view, const uint8_t *base,
                        const uint8_t *now, uint32_t size, struct err *err)
{
	struct pages pages;
	uint32_t count = 0;
	uint8_t *begin, *end;
	/* The count is a varint of fixed three bytes, filled in at the end. */
	int rc = store_record_room(view, 3 + 8 + size +
	                                 2 * RANGE_HEAD_MAX *
	                                         (size / RANGE_GAP + 1), err);

	if (rc)
		return rc;
	pages.base = base;
	pages.now = now;
	pages.size = size;
	pages.looks = LOOKS_A_PAGE;
	begin = view->record + view->record_size;
	end = base ? put_changes(begin + 3, &pages, &count)
	           : put_content(begin + 3, &pages, &count);
	view->record_size += (size_t)(end - begin);
	begin[0] = (uint8_t)(count | 0x80);
	begin[1] = (uint8_t)(count >> 7 | 0x80);
	begin[2] = (uint8_t)(count >> 14 & 0x7f);
	return ERR_NONE;
}
