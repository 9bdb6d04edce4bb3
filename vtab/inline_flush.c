/*
 * inline_flush.c - what has changed goes into the rows of the shadow tables.
 *
 * Called before SQLite opens a savepoint, before it commits, and when changed pages
 * take too much memory (vtab/inline L1). Of a page only the ranges that differ from its row are
 * written: the host then journals the pages of its own that they lie in, no more.
 */
#include "vtab/inline.h"

#include <assert.h>

enum {
	STRIDE = 960,    /* bytes compared at once; a page has 17 times that */
	GAP_MAX = 128,   /* equal bytes that do not end a range: a call costs more */
};
static_assert(INLINE_PAGE_SIZE % STRIDE == 0, "a page ends with a stride");

/* The first place from `at` on where the images differ; the size of a page when there
 * is none. */
static size_t next_different(const uint8_t *image, const uint8_t *base, size_t at)
{
	for (; at < INLINE_PAGE_SIZE; at += STRIDE - at % STRIDE) {
		size_t end = at + STRIDE - at % STRIDE;

		if (memcmp(image + at, base + at, end - at) == 0)
			continue;
		while (end - at >= 8 && load_le64(image + at) == load_le64(base + at))
			at += 8;
		while (image[at] == base[at])
			at++;
		return at;
	}
	return INLINE_PAGE_SIZE;
}

static size_t range_end(const uint8_t *image, const uint8_t *base, size_t at)
{
	size_t end = at + 1, next;

	for (;;) {
		while (end + 8 <= INLINE_PAGE_SIZE &&
		       load_le64(image + end) != load_le64(base + end))
			end += 8;
		next = next_different(image, base, end);
		if (next == INLINE_PAGE_SIZE || next - end > GAP_MAX)
			return end;
		end = next + 1;
	}
}

/* When this fails a part may have been written. It is no base for ranges then; and
 * the frame may be gone (vtab/inline L6). */
static int write_ranges(struct shadow *shadow, struct frame *frame,
                        struct err *err)
{
	size_t at = 0, end;
	int rc = ERR_NONE;

	if (!frame->base_good)
		return shadow_write(shadow, 0, frame->image, INLINE_PAGE_SIZE,
		                    err);
	frame->base_good = false;
	while (!rc && (at = next_different(frame->image, frame->base, at)) <
	                      INLINE_PAGE_SIZE) {
		end = range_end(frame->image, frame->base, at);
		rc = shadow_write(shadow, at, frame->image + at, end - at, err);
		at = end;
	}
	return rc;
}

/* The base has done its work; while an operation is under way somebody may be reading
 * it, so it stays until that ends. */
static void base_let_go(struct inline_home *home, struct frame *frame)
{
	frame->base_good = false;
	if (!frame->base)
		return;
	if (home->base.depth) {
		home->cache.stale_bases = home->base.crowded = true;
		return;
	}
	cache_image_give(home, frame->base);
	frame->base = NULL;
}

static int write_page(struct shadow *shadow, struct frame *frame,
                      struct err *err)
{
	struct inline_file *file = frame->file;
	int rc = shadow_seek(shadow, file->table, shadow_of(file),
	                     inline_row_of(file, frame->page_no), true,
	                     INLINE_PAGE_SIZE, err);

	if (rc)
		return rc;
	store_le64(frame->image + INLINE_PAGE_CHECKSUM_AT,
	           inline_page_checksum(file, frame->page_no, frame->image));
	return write_ranges(shadow, frame, err);
}

static int write_pages(struct inline_home *home, struct shadow *shadow,
                       struct err *err)
{
	struct frame_cache *cache = &home->cache;
	struct frame *frame;
	int rc = ERR_NONE;

	while (!rc && (frame = cache->dirty) != NULL) {
		rc = write_page(shadow, frame, err);
		if (rc)
			break;
		base_let_go(home, frame);
		cache->dirty = frame->next_dirty;
		cache->dirty_bytes -= INLINE_PAGE_SIZE;
		frame->dirty = false;
	}
	return rc;
}

int inline_flush(struct inline_home *home, struct err *err)
{
	struct shadow shadow = { .blob = NULL };
	int rc = write_pages(home, &shadow, err);

	for (struct inline_table *table = home->tables; !rc && table;
	     table = table->next)
		if (table->changed)
			rc = catalog_write(table, &shadow, err);
	shadow_close(&shadow);
	return rc;
}
