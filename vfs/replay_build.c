/*
 * replay_build.c - makes a page's newest version: its base, then its changes.
 *
 * Purpose       The images that replay_write.c writes.
 * Structures    The changes of a page lie anywhere in the log, on two cache lines each
 *               that were last seen when the log was followed. When many pages are made
 *               in a known order, a ring holds the positions that are needed next, 0
 *               behind each page's last: for each one taken out another one is put
 *               in and its bytes are asked for, whatever page it belongs to.
 * Performance   Without the ring a change costs three times as much: a wait for memory.
 * Safety        Ranges are checked again as they are applied: the log is a mapped file.
 */
#include "vfs/replay_private.h"

/* After so many bytes the processor sees by itself how it goes on. */
enum { CHANGE_ASKED_MAX = 512, PLACE_LINES_ASKED = 4 };

static struct span ranges_at(const struct replay *replay, uint64_t at)
{
	return span_of(replay->log + (at >> 16), at & CHANGE_SIZE_MAX);
}

static __attribute__((noinline)) int
change_make_slowly(const struct replay *replay, uint8_t *scratch, uint64_t at,
                   uint8_t *image, uint32_t size, struct err *err)
{
	struct span ranges = ranges_at(replay, at);

	if (at & CHANGE_MOVES)
		return store_ranges_apply_moving(ranges, image, size,
		                                 scratch, err);
	return store_ranges_apply(ranges, image, image, size, err);
}

static inline int change_make(const struct replay *replay, uint8_t *scratch,
                              uint64_t at, uint8_t *image, uint32_t size,
                              struct err *err)
{
	if (!(at & CHANGE_MOVES) &&
	    record_ranges_put(ranges_at(replay, at), image, size))
		return ERR_NONE;
	return change_make_slowly(replay, scratch, at, image, size, err);
}

int replay_change_make(struct replay *replay, uint64_t at, uint8_t *image,
                       uint32_t size, struct err *err)
{
	return change_make(replay, replay->scratch, at, image, size, err);
}

int replay_base_copy(struct replay_file *file, const struct replay_page *page,
                     uint8_t *image, struct err *err)
{
	const uint8_t *bytes = store_zeros;
	int rc = ERR_NONE;

	if (!page->from_zero)
		rc = page_file_borrow(file->file,
		                      &replay_origin_of(file, page)->base,
		                      page->page_no, &bytes, err);
	if (!rc)
		memcpy(image, bytes, file->page_size);
	return rc;
}

/* --- in a known order ---------------------------------------------------------------- */

/* Inlined always: gcc takes a function that only prefetches for one without effects
 * and leaves its calls out. */
static inline __attribute__((always_inline)) void
ask_for_change(const struct replay *replay, uint64_t at)
{
	const uint8_t *ranges = replay->log + (at >> 16);
	uint32_t size = at & CHANGE_SIZE_MAX;

	if (size > CHANGE_ASKED_MAX)
		size = CHANGE_ASKED_MAX;
	__builtin_prefetch(ranges);
	if (size > CACHE_LINE)
		__builtin_prefetch(ranges + CACHE_LINE);
	for (uint32_t from = 2 * CACHE_LINE; from < size; from += CACHE_LINE)
		__builtin_prefetch(ranges + from);
	__builtin_prefetch(ranges + size - 1);
}

static inline __attribute__((always_inline)) void
ask_for_base(const struct replay_ahead *ahead, const struct replay_page *page)
{
	const struct page_ref *base = &replay_origin_of(ahead->file, page)->base;
	uint32_t size = ahead->file->page_size;
	const uint8_t *bytes;

	if (page->from_zero || page->image)
		return;
	bytes = page_file_known(ahead->file->file, base, size);
	for (uint32_t at = 0; bytes && at < size; at += PLACE_SIZE)
		for (uint32_t line = 0; line < PLACE_LINES_ASKED; line++)
			__builtin_prefetch(bytes + at + line * CACHE_LINE);
}

static const struct replay_page *page_ahead(const struct replay_ahead *ahead,
                                            size_t i)
{
	return replay_page_at(ahead->file, (uint32_t)ahead->keys[i]);
}

/* Its changes come next; what is known of those behind it is asked for. */
static void turn_to_page(struct replay_ahead *ahead)
{
	size_t i = ahead->page;
	const struct replay_page *page;

	ahead->changes = NULL;
	ahead->used = 0;
	if (i < ahead->count) {
		page = page_ahead(ahead, i);
		if (!page->image)
			ahead->changes = replay_origin_of(ahead->file, page)->first;
		ask_for_base(ahead, page);
	}
	if (i + 1 < ahead->count) {
		page = page_ahead(ahead, i + 1);
		__builtin_prefetch(replay_origin_of(ahead->file, page)->first);
	}
	if (i + 2 < ahead->count) {
		page = page_ahead(ahead, i + 2);
		__builtin_prefetch(page);
		__builtin_prefetch(replay_origin_of(ahead->file, page));
	}
}

static inline void step(struct replay_ahead *ahead)
{
	const struct replay_changes *changes = ahead->changes;
	uint64_t at = 0;

	if (ahead->page == ahead->count)
		return;
	if (changes && (ahead->used == CHANGES_A_NODE ||
	                !changes->at[ahead->used])) {
		ahead->changes = changes = changes->next;
		ahead->used = 0;
		if (changes)
			__builtin_prefetch(changes->next);
	}
	if (changes)
		at = changes->at[ahead->used++];
	ahead->ring[ahead->put++ % RING_SIZE] = at;
	if (at) {
		ask_for_change(ahead->replay, at);
	} else {
		ahead->page++;
		turn_to_page(ahead);
	}
}

void replay_ahead_begin(struct replay_ahead *ahead, struct replay *replay,
                        struct replay_file *file, const uint64_t *keys,
                        size_t count, uint8_t *scratch)
{
	*ahead = (struct replay_ahead){ .replay = replay, .file = file,
	                                .scratch = scratch, .keys = keys,
	                                .count = count };
	turn_to_page(ahead);
	for (int i = 0; i < CHANGES_AHEAD; i++)
		step(ahead);
}

static inline uint64_t take(struct replay_ahead *ahead)
{
	uint64_t at = ahead->ring[ahead->taken++ % RING_SIZE];

	step(ahead);
	return at;
}

int replay_ahead_build(struct replay_ahead *ahead,
                       const struct replay_page *page, uint8_t *image,
                       struct err *err)
{
	struct replay_file *file = ahead->file;
	uint64_t at;
	int rc;

	if (page->image) {
		take(ahead);
		return ERR_NONE;
	}
	rc = replay_base_copy(file, page, image, err);
	while (!rc && (at = take(ahead)))
		rc = change_make(ahead->replay, ahead->scratch, at, image,
		                 file->page_size, err);
	return rc;
}
