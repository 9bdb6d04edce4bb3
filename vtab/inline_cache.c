/*
 * inline_cache.c - images of pages in memory, and which of them go.
 *
 * Purpose       Reading a page of a shadow table costs about a microsecond and copies
 *               it; one that is here costs a look into a hash table.
 * Structures    Frames in buckets by (file, page), and in a queue by age. A hand walks
 *               the queue from old to new and takes the first frame that was not
 *               visited since it came by: SIEVE (Zhang and others, NSDI 2024).
 * Safety        (C1) A frame that was lent under the present epoch, or is dirty, is
 *               not taken: its bytes may be in use (vtab/inline L4). Where nothing else is left
 *               the cache grows beyond its budget and says that it is crowded; when
 *               the operation is over the epoch moves, and all may go again.
 *               (C2) What is forgotten while operations are under way (a nested
 *               statement has been rolled back) is dead, and freed after them.
 */
#include "vtab/inline.h"

#include <assert.h>

enum {
	BUCKET_BITS_FIRST = 6,
	HAND_STEPS = 64,       /* looked at for one page to go */
	FRAMES_LEAST = 8,
};

static struct heap *heap_of(const struct inline_home *home)
{
	return home->connection->heap;
}

static size_t budget_of(const struct inline_home *home)
{
	size_t least = FRAMES_LEAST * (size_t)INLINE_PAGE_SIZE;
	size_t budget = home->connection->inline_cache_bytes;

	return budget < least ? least : budget;
}

/* --- images ------------------------------------------------------------------------ */

uint8_t *cache_image_take(struct inline_home *home)
{
	struct frame_cache *cache = &home->cache;
	uint8_t *image = cache->spare_image;

	cache->spare_image = NULL;
	if (!image)
		image = heap_allocate(heap_of(home), INLINE_PAGE_SIZE);
	if (image)
		cache->bytes += INLINE_PAGE_SIZE;
	return image;
}

void cache_image_give(struct inline_home *home, uint8_t *image)
{
	struct frame_cache *cache = &home->cache;

	if (!image)
		return;
	cache->bytes -= INLINE_PAGE_SIZE;
	if (cache->spare_image)
		heap_free(heap_of(home), image);
	else
		cache->spare_image = image;
}

/* --- buckets ----------------------------------------------------------------------- */

static struct frame **bucket_of(struct frame_cache *cache,
                                const struct inline_file *file, uint32_t page_no)
{
	return &cache->buckets[cache_hash(file, page_no) >>
	                       (32 - cache->bucket_bits)];
}

static int buckets_grow(struct inline_home *home, struct err *err)
{
	struct frame_cache *cache = &home->cache;
	uint32_t bits = cache->buckets ? cache->bucket_bits + 1
	                               : BUCKET_BITS_FIRST;
	struct frame **buckets;

	if (cache->buckets && cache->count < 1u << cache->bucket_bits)
		return ERR_NONE;
	buckets = heap_zeroed(heap_of(home), sizeof *buckets << bits);
	if (!buckets)
		return cache->buckets ? ERR_NONE /* longer chains, then */
		                      : err_set(err, ERR_NOMEM, "cache pages of",
		                                home->schema, "no memory");
	heap_free(heap_of(home), cache->buckets);
	cache->buckets = buckets;
	cache->bucket_bits = bits;
	for (struct frame *frame = cache->oldest; frame; frame = frame->newer) {
		struct frame **bucket = bucket_of(cache, frame->file,
		                                  frame->page_no);

		frame->next = *bucket;
		*bucket = frame;
	}
	return ERR_NONE;
}

static void unlink_frame(struct frame_cache *cache, struct frame *frame)
{
	struct frame **link = bucket_of(cache, frame->file, frame->page_no);

	while (*link != frame)
		link = &(*link)->next;
	*link = frame->next;
	if (cache->hand == frame)
		cache->hand = frame->newer;
	*(frame->newer ? &frame->newer->older : &cache->newest) = frame->older;
	*(frame->older ? &frame->older->newer : &cache->oldest) = frame->newer;
	cache->count--;
}

static void link_frame(struct frame_cache *cache, struct frame *frame)
{
	struct frame **bucket = bucket_of(cache, frame->file, frame->page_no);

	frame->next = *bucket;
	*bucket = frame;
	frame->older = cache->newest;
	frame->newer = NULL;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = frame;
	cache->newest = frame;
	cache->count++;
}

/* --- dirty pages ------------------------------------------------------------------- */

void cache_dirty_add(struct frame_cache *cache, struct frame *frame)
{
	frame->dirty = true;
	frame->next_dirty = cache->dirty;
	cache->dirty = frame;
	cache->dirty_bytes += INLINE_PAGE_SIZE;
}

static void dirty_remove(struct frame_cache *cache, struct frame *frame)
{
	struct frame **link = &cache->dirty;

	if (!frame->dirty)
		return;
	while (*link != frame)
		link = &(*link)->next_dirty;
	*link = frame->next_dirty;
	frame->dirty = false;
	cache->dirty_bytes -= INLINE_PAGE_SIZE;
}

/* --- going ------------------------------------------------------------------------- */

static void retire(struct inline_home *home, struct frame *frame)
{
	cache_image_give(home, frame->image);
	cache_image_give(home, frame->base);
	frame->image = frame->base = NULL;
	frame->next = home->cache.spare;
	home->cache.spare = frame;
}

/* (C2) */
void cache_forget(struct inline_home *home, struct frame *frame)
{
	struct frame_cache *cache = &home->cache;

	unlink_frame(cache, frame);
	dirty_remove(cache, frame);
	if (home->base.depth) {
		frame->next = cache->dead;
		cache->dead = frame;
		home->base.crowded = true;
	} else {
		retire(home, frame);
	}
}

void cache_forget_failed(struct inline_home *home, const struct inline_file *file,
                         uint32_t page_no)
{
	struct frame *frame = cache_find(&home->cache, file, page_no);

	if (frame)
		cache_forget(home, frame);
}

static bool is_of(const struct frame *frame, const struct inline_table *table,
                  const struct inline_file *file)
{
	return (!table || frame->file->table == table) &&
	       (!file || frame->file == file);
}

/* The list of dirty pages first: so none is looked for in it. */
void cache_drop(struct inline_home *home, const struct inline_table *table,
                const struct inline_file *file)
{
	struct frame **link = &home->cache.dirty, *frame, *newer;

	while ((frame = *link) != NULL) {
		if (!is_of(frame, table, file)) {
			link = &frame->next_dirty;
			continue;
		}
		*link = frame->next_dirty;
		frame->dirty = false;
		home->cache.dirty_bytes -= INLINE_PAGE_SIZE;
	}
	for (frame = home->cache.oldest; frame; frame = newer) {
		newer = frame->newer;
		if (is_of(frame, table, file))
			cache_forget(home, frame);
	}
}

/* (C1) */
static struct frame *victim_find(struct inline_home *home, uint32_t steps)
{
	struct frame_cache *cache = &home->cache;
	struct frame *frame = cache->hand, *found = NULL;

	for (; steps && !found && cache->oldest; steps--) {
		if (!frame)
			frame = cache->oldest;
		if (!frame->dirty && frame->lent != home->epoch) {
			if (!frame->visited)
				found = frame;
			frame->visited = false;
		}
		frame = found ? found->newer : frame->newer;
	}
	cache->hand = frame;
	return found;
}

/* --- coming ------------------------------------------------------------------------ */

static struct frame *frame_take(struct inline_home *home)
{
	struct frame_cache *cache = &home->cache;
	struct frame *frame = cache->spare;

	if (frame)
		cache->spare = frame->next;
	else
		frame = heap_allocate(heap_of(home), sizeof *frame);
	if (frame)
		*frame = (struct frame){ .image = NULL };
	return frame;
}

/* An image and a frame, by letting others go where the budget or the memory ends. */
static struct frame *frame_with_image(struct inline_home *home)
{
	struct frame_cache *cache = &home->cache;
	bool full = cache->bytes + INLINE_PAGE_SIZE > budget_of(home);
	struct frame *victim, *frame;
	uint8_t *image;

	victim = full ? victim_find(home, HAND_STEPS) : NULL;
	home->base.crowded |= full && !victim;
	if (victim)
		cache_forget(home, victim);
	frame = frame_take(home);
	image = frame ? cache_image_take(home) : NULL;
	if (!image && !victim) {
		victim = victim_find(home, 2 * cache->count);
		if (victim)
			cache_forget(home, victim);
		frame = frame ? frame : frame_take(home);
		image = frame ? cache_image_take(home) : NULL;
	}
	if (!image && frame) {
		frame->next = cache->spare;
		cache->spare = frame;
		return NULL;
	}
	if (frame)
		frame->image = image;
	return frame;
}

int cache_enter(struct inline_home *home, struct inline_file *file,
                uint32_t page_no, struct frame **entered, struct err *err)
{
	struct frame *frame;
	int rc = buckets_grow(home, err);

	if (rc)
		return rc;
	frame = frame_with_image(home);
	if (!frame)
		return err_set(err, ERR_NOMEM, "read page of", file->pager.name,
		               "no memory for page %u", page_no);
	frame->file = file;
	frame->page_no = page_no;
	link_frame(&home->cache, frame);
	*entered = frame;
	return ERR_NONE;
}

/* --- the end of an operation ------------------------------------------------------- */

static void free_dead(struct inline_home *home)
{
	struct frame *frame;

	while ((frame = home->cache.dead) != NULL) {
		home->cache.dead = frame->next;
		retire(home, frame);
	}
}

static void free_stale_bases(struct inline_home *home)
{
	struct frame *frame = home->cache.oldest;

	for (; frame; frame = frame->newer) {
		if (frame->base_good)
			continue;
		cache_image_give(home, frame->base);
		frame->base = NULL;
	}
	home->cache.stale_bases = false;
}

void cache_relieve(struct inline_home *home)
{
	struct frame_cache *cache = &home->cache;
	struct frame *victim;

	assert(!home->base.depth);
	if (cache->dead)
		free_dead(home);
	if (cache->stale_bases)
		free_stale_bases(home);
	home->base.crowded = false;
	home->epoch++;
	while (cache->bytes > budget_of(home) &&
	       (victim = victim_find(home, 2 * cache->count)) != NULL)
		cache_forget(home, victim);
}

void cache_close(struct inline_home *home)
{
	struct frame_cache *cache = &home->cache;
	struct frame *frame;

	home->base.depth = 0;
	cache_drop(home, NULL, NULL);
	free_dead(home);
	while ((frame = cache->spare) != NULL) {
		cache->spare = frame->next;
		heap_free(heap_of(home), frame);
	}
	heap_free(heap_of(home), cache->spare_image);
	heap_free(heap_of(home), cache->buckets);
}
