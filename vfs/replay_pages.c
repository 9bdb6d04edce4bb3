/*
 * replay_pages.c - what a replay knows of pages: versions, and where their changes are.
 *
 * Purpose       Of a page that a thousand commits changed only the last version
 *               counts, for nobody has a snapshot of one in between. So a page is read,
 *               changed, checked and written once, after all records were followed.
 * Structures    A page knows its newest version, the base it is made from (what the
 *               checkpoint has, zeros, or a PLACED image) and a list of where in the
 *               mapped log its changes are: 9 bytes a change. A page that changes
 *               often gets an image, and then changes are made as they come.
 * Performance   Lists and images stay within a budget (replay_budget()). When the lists
 *               do not fit, changes are only counted, and the log is followed again for
 *               as many pages at a time as fit (replay_pages_write()).
 * Safety        (W1) A version's checksum covers all changes since its base; it is
 *               compared before the image is written.
 *               (W2) No base is ever written over, so neither the order of writing nor
 *               a death in between matters: replay_bases_verify() refuses a log in
 *               which two pages want one place, or one that a base has.
 */
#include "vfs/replay_private.h"

enum {
	BLOCK_CHANGES = 1000,       /* a block of lists: 64 KB                         */
	LOG_BYTES_A_KEPT_BYTE = 8,  /* lists are shorter, unless changes are very small */
	IMAGE_AFTER = 256,          /* changes: the page will have more                */
	IMAGES_MAX = 8 << 20,       /* what a processor's cache may hold               */
	BUDGET_SMALL = 2048,
};

struct replay_block {
	struct replay_block *next;
	struct replay_changes changes[];
};

static int no_memory(const struct replay *replay, struct err *err)
{
	return err_set(err, ERR_NOMEM, "replay log of", replay->store->path,
	               "room for changed pages");
}

/* As much as a transaction may keep, more where the log was allowed to grow, less
 * where memory is limited. */
void replay_budget(struct replay *replay, uint64_t log_bytes)
{
	const struct store *store = replay->store;
	size_t limit = atomic_load(&store->heap->limit);
	size_t used = atomic_load(&store->heap->used);
	size_t budget = (size_t)atomic_load(&store->cache_kb) * 1024;

	if (budget < log_bytes / LOG_BYTES_A_KEPT_BYTE)
		budget = (size_t)(log_bytes / LOG_BYTES_A_KEPT_BYTE);
	if (limit) {
		size_t left = limit > used ? limit - used : 0;

		budget = budget < left / 4 ? budget : left / 4;
	}
	if (budget < BUDGET_SMALL || PLANTED(store->environment,
	                                     PLANT_REPLAY_SMALL))
		budget = BUDGET_SMALL;
	replay->budget = budget;
}

/* --- the table of pages --------------------------------------------------------- */

static uint32_t first_slot(const struct replay_file *file, uint32_t page_no)
{
	return page_no * UINT32_C(2654435769) >> (32 - file->slot_bits);
}

/* Where the page's index is, or belongs. */
static uint32_t *page_slot(const struct replay_file *file, uint32_t page_no)
{
	uint32_t mask = (UINT32_C(1) << file->slot_bits) - 1;
	uint32_t i = first_slot(file, page_no);

	while (file->slots[i] &&
	       replay_page_at(file, file->slots[i] - 1)->page_no != page_no)
		i = (i + 1) & mask;
	return &file->slots[i];
}

static int slots_grow(struct replay *replay, struct replay_file *file,
                      struct err *err)
{
	uint32_t bits = file->slot_bits ? file->slot_bits + 1 : 6;
	uint32_t *old = file->slots;

	if (bits > 31)
		return no_memory(replay, err);
	file->slots = heap_zeroed(replay->store->heap,
	                          ((size_t)1 << bits) * sizeof *file->slots);
	if (!file->slots) {
		file->slots = old;
		return no_memory(replay, err);
	}
	file->slot_bits = bits;
	for (uint32_t i = 0; i < file->count; i++)
		*page_slot(file, replay_page_at(file, i)->page_no) = i + 1;
	heap_free(replay->store->heap, old);
	return ERR_NONE;
}

static int blocks_grow(struct replay *replay, struct replay_file *file,
                       struct err *err)
{
	struct heap *heap = replay->store->heap;
	uint32_t block = file->count / PAGES_A_BLOCK;
	uint32_t room = file->block_room ? file->block_room * 2 : 16;
	struct replay_page **blocks;

	if (block == file->block_room) {
		blocks = heap_resize(heap, file->blocks, room * sizeof *blocks);
		if (!blocks)
			return no_memory(replay, err);
		memset(blocks + block, 0, (room - block) * sizeof *blocks);
		file->blocks = blocks;
		file->block_room = room;
	}
	if (!file->blocks[block])
		file->blocks[block] = heap_allocate(
			heap, PAGES_A_BLOCK * sizeof **file->blocks);
	return file->blocks[block] ? ERR_NONE : no_memory(replay, err);
}

/* A page that no record has named before: what the base has. */
static int page_make(struct replay *replay, struct replay_file *file,
                     uint32_t page_no, struct replay_page **made,
                     struct err *err)
{
	struct page_ref now = { .length = 0 };
	int rc = ERR_NONE;

	if (file->count * 2 + 2 > UINT32_C(1) << file->slot_bits)
		rc = slots_grow(replay, file, err);
	if (!rc && file->count % PAGES_A_BLOCK == 0)
		rc = blocks_grow(replay, file, err);
	if (!rc && file->existed)
		rc = page_table_find(file->file, &file->table, page_no, &now,
		                     err);
	if (rc)
		return rc;
	*made = replay_page_at(file, file->count);
	**made = (struct replay_page){ .page_no = page_no, .ref = now };
	*page_slot(file, page_no) = ++file->count;
	return ERR_NONE;
}

static struct replay_page *page_find(const struct replay_file *file,
                                     uint32_t page_no)
{
	uint32_t index = file->slot_bits ? *page_slot(file, page_no) : 0;

	return index ? replay_page_at(file, index - 1) : NULL;
}

void replay_pages_free(struct replay *replay, struct replay_file *file)
{
	struct heap *heap = replay->store->heap;

	for (uint32_t i = 0; i < file->count; i++)
		heap_free(heap, replay_page_at(file, i)->image);
	for (uint32_t i = 0; i < file->block_room; i++)
		heap_free(heap, file->blocks[i]);
	heap_free(heap, file->blocks);
	heap_free(heap, file->slots);
}

/* --- lists of changes ------------------------------------------------------------ */

static bool block_make(struct replay *replay)
{
	size_t each = sizeof *replay->bump, count = BLOCK_CHANGES, size;
	struct replay_block *block;

	if (count > replay->budget / each)
		count = replay->budget / each;
	size = sizeof *block + count * each;
	if (!replay->counting && replay->kept + size > replay->budget)
		return false;
	block = heap_allocate(replay->store->heap, size);
	if (!block)
		return false;
	block->next = replay->blocks;
	replay->blocks = block;
	replay->bump = block->changes;
	replay->bump_end = block->changes + count;
	replay->kept += size;
	return true;
}

static struct replay_changes *changes_take(struct replay *replay)
{
	struct replay_changes *taken = replay->spare;

	if (taken)
		replay->spare = taken->next;
	else if (replay->bump != replay->bump_end || block_make(replay))
		taken = replay->bump++;
	if (taken)
		*taken = (struct replay_changes){ .next = NULL };
	return taken;
}

static void list_drop(struct replay *replay, struct replay_page *page)
{
	if (page->last) {
		page->last->next = replay->spare;
		replay->spare = page->first;
	}
	page->first = page->last = NULL;
}

static bool list_append(struct replay *replay, struct replay_page *page,
                        uint64_t at)
{
	struct replay_changes *last = page->last;
	uint32_t i = 0;

	while (last && i < 7 && last->at[i])
		i++;
	if (!last || i == 7) {
		last = changes_take(replay);
		if (!last)
			return false;
		if (page->last)
			page->last->next = last;
		else
			page->first = last;
		page->last = last;
		i = 0;
	}
	last->at[i] = at;
	return true;
}

/* Only images stay. */
static void lists_forget(struct replay *replay)
{
	struct replay_file *file;

	for (file = replay->files; file; file = file->next)
		for (uint32_t i = 0; i < file->count; i++) {
			struct replay_page *page = replay_page_at(file, i);

			page->first = page->last = NULL;
		}
	while (replay->blocks) {
		struct replay_block *next = replay->blocks->next;

		heap_free(replay->store->heap, replay->blocks);
		replay->blocks = next;
	}
	replay->bump = replay->bump_end = replay->spare = NULL;
	replay->kept = replay->image_bytes;
}

static void image_drop(struct replay *replay, const struct replay_file *file,
                       struct replay_page *page)
{
	if (!page->image)
		return;
	heap_free(replay->store->heap, page->image);
	page->image = NULL;
	replay->image_bytes -= file->page_size;
	replay->kept -= file->page_size;
}

void replay_changes_forget(struct replay *replay)
{
	struct replay_file *file;

	for (file = replay->files; file; file = file->next)
		for (uint32_t i = 0; i < file->count; i++)
			image_drop(replay, file, replay_page_at(file, i));
	lists_forget(replay);
}

/* --- images ------------------------------------------------------------------------ */

static int base_copy(struct replay_file *file, const struct replay_page *page,
                     uint8_t *image, struct err *err)
{
	const uint8_t *bytes = store_zeros;
	int rc = ERR_NONE;

	if (!page->from_zero)
		rc = page_file_borrow(file->file, &page->base, page->page_no,
		                      &bytes, err);
	if (!rc)
		memcpy(image, bytes, file->page_size);
	return rc;
}

static int change_make(struct replay *replay, struct span ranges, bool moves,
                       uint8_t *image, uint32_t size, struct err *err)
{
	if (moves)
		return store_ranges_apply_moving(ranges, image, size,
		                                 replay->scratch, err);
	return store_ranges_apply(ranges, image, image, size, err);
}

static int changes_make(struct replay *replay,
                        const struct replay_changes *changes, uint8_t *image,
                        uint32_t size, struct err *err)
{
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < 7 && changes->at[i]; i++) {
		uint64_t at = changes->at[i];
		struct span ranges = span_of(replay->log + (at >> 16),
		                             at & CHANGE_SIZE_MAX);

		rc = change_make(replay, ranges, at & CHANGE_MOVES, image, size,
		                 err);
	}
	return rc;
}

/* Inlined always: gcc takes a function that only prefetches for one without effects
 * and leaves its calls out. */
static inline __attribute__((always_inline)) void
changes_prefetch(const struct replay *replay,
                 const struct replay_changes *changes)
{
	for (uint32_t i = 0; i < 7 && changes->at[i]; i++)
		__builtin_prefetch(replay->log + (changes->at[i] >> 16));
}

void replay_page_prefetch(const struct replay *replay,
                          const struct replay_file *file,
                          const struct replay_page *page)
{
	if (page->image)
		return;
	if (page->first)
		changes_prefetch(replay, page->first);
	if (!page->from_zero)
		page_file_prefetch(file->file, &page->base);
}

int replay_page_build(struct replay *replay, struct replay_file *file,
                      const struct replay_page *page, uint8_t *image,
                      struct err *err)
{
	const struct replay_changes *changes = page->first;
	int rc = base_copy(file, page, image, err);

	for (; !rc && changes; changes = changes->next) {
		if (changes->next) {
			changes_prefetch(replay, changes->next);
			__builtin_prefetch(changes->next->next);
		}
		rc = changes_make(replay, changes, image, file->page_size, err);
	}
	return rc;
}

/* None when there is no room for it: then the list goes on. */
static int image_make(struct replay *replay, struct replay_file *file,
                      struct replay_page *page, struct err *err)
{
	size_t size = file->page_size, most = replay->budget / 2;
	uint8_t *image;
	int rc;

	if (most > IMAGES_MAX)
		most = IMAGES_MAX;
	if (replay->image_bytes + size > most ||
	    replay->kept + size > replay->budget)
		return ERR_NONE;
	image = heap_allocate(replay->store->heap, size);
	if (!image)
		return ERR_NONE;
	rc = replay_page_build(replay, file, page, image, err);
	if (rc) {
		heap_free(replay->store->heap, image);
		return rc;
	}
	page->image = image;
	replay->image_bytes += size;
	replay->kept += size;
	list_drop(replay, page);
	return ERR_NONE;
}

/* --- records ------------------------------------------------------------------------ */

static bool is_there(const struct page_ref *ref)
{
	return ref->length != 0 && !(ref->flags & REF_FLAG_FREE);
}

static int page_enter(struct replay *replay, struct replay_file *file,
                      uint32_t page_no, struct replay_page **page,
                      struct err *err)
{
	*page = page_find(file, page_no);
	return *page ? ERR_NONE : page_make(replay, file, page_no, page, err);
}

int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err)
{
	struct replay_page *page;
	int rc = page_enter(replay, file, page_no, &page, err);

	if (rc)
		return rc;
	list_drop(replay, page);
	image_drop(replay, file, page);
	page->ref = *ref;
	page->count = 0;
	page->from_zero = false;
	return ERR_NONE;
}

static uint64_t position_of(const struct replay *replay,
                            const struct record_item *item)
{
	return (uint64_t)(item->ranges.data - replay->log) << 16 |
	       (item->moves ? CHANGE_MOVES : 0) | item->ranges.size;
}

static int keep(struct replay *replay, struct replay_file *file,
                struct replay_page *page, const struct record_item *item,
                struct err *err)
{
	if (page->image)
		return change_make(replay, item->ranges, item->moves,
		                   page->image, file->page_size, err);
	if (replay->counting)
		return ERR_NONE;
	if (!list_append(replay, page, position_of(replay, item))) {
		replay->counting = true;
		lists_forget(replay);
		return ERR_NONE;
	}
	if (page->count >= IMAGE_AFTER && page->count % 64 == 0 &&
	    (page->from_zero || !file->unmade))
		return image_make(replay, file, page, err);
	return ERR_NONE;
}

static bool is_possible(const struct replay_file *file,
                        const struct record_item *item)
{
	return item->reach <= file->page_size &&
	       item->ranges.size <= CHANGE_SIZE_MAX;
}

int replay_page_change(struct replay *replay, struct replay_file *file,
                       const struct record_item *item,
                       const struct page_ref *ref, struct err *err)
{
	struct replay_page *page;
	int rc;

	if (!is_possible(file, item))
		return replay_refuse(replay, err, "a range beyond its page",
		                     file->file_id, item->page_no);
	rc = page_enter(replay, file, item->page_no, &page, err);
	if (rc)
		return rc;
	if (item->kind == RECORD_FRESH) {
		list_drop(replay, page);
		if (page->image)
			memset(page->image, 0, file->page_size);
		page->from_zero = true;
		page->count = 0;
	} else if (!is_there(&page->ref)) {
		return replay_refuse(replay, err,
		                     "a change to a page that is not there",
		                     file->file_id, item->page_no);
	} else if (page->count == 0) {
		page->base = page->ref;
	}
	page->ref = *ref;
	page->count += page->count != UINT32_MAX;
	return keep(replay, file, page, item, err);
}

/* --- gathering ---------------------------------------------------------------------- */

size_t replay_page_cost(const struct replay_file *file,
                        const struct replay_page *page)
{
	size_t list = (page->count + (size_t)6) / 7 *
	              sizeof(struct replay_changes);

	return page->image ? 0 : list < file->page_size ? list : file->page_size;
}

int replay_page_want(struct replay *replay, struct replay_file *file,
                     struct replay_page *page, struct err *err)
{
	int rc;

	page->wanted = !page->image;
	if (page->image || replay_page_cost(file, page) < file->page_size)
		return ERR_NONE;
	page->image = heap_allocate(replay->store->heap, file->page_size);
	if (!page->image)
		return no_memory(replay, err);
	replay->image_bytes += file->page_size;
	replay->kept += file->page_size;
	rc = base_copy(file, page, page->image, err);
	return rc;
}

/* What comes before the record that made the base is made, too, on whatever is
 * there: that record makes it good. */
int replay_page_gather(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err)
{
	struct replay_page *page = page_find(file, item->page_no);

	if (!page || !page->wanted)
		return ERR_NONE;
	if (item->kind != RECORD_DIFF) {
		int rc = ERR_NONE;

		list_drop(replay, page);
		if (page->image)
			rc = base_copy(file, page, page->image, err);
		if (rc || item->kind != RECORD_FRESH)
			return rc;
	}
	if (page->image)
		return change_make(replay, item->ranges, item->moves,
		                   page->image, file->page_size, err);
	return list_append(replay, page, position_of(replay, item))
	               ? ERR_NONE
	               : no_memory(replay, err);
}
