/*
 * replay_pages.c - what a replay knows of pages: versions, and where their changes are.
 *
 * Purpose       Of a page that a thousand commits changed only the last version
 *               counts, for nobody has a snapshot of one in between. So a page is read,
 *               changed, checked and written once, after all records were followed.
 * Structures    A page knows its newest version, the base it is made from (what the
 *               checkpoint has, zeros, or a PLACED image) and a list of where in the
 *               mapped log its changes are: 9 bytes a change.
 * Performance   Changes are met 32 at a time, so that the waits for their pages and the
 *               ends of their lists are waited for together. (Images of pages that change
 *               often, changed at once, cost twice as much as reading the log again.)
 *               Lists stay within a budget (replay_budget()). When they do not fit,
 *               changes are only counted, and the log is followed again for as many
 *               pages at a time as fit (replay_pages_write()); then a page gets an image
 *               if its list would be longer. Pages that are in their places need neither
 *               (replay_present.c).
 * Safety        (W1) A version's checksum covers all changes since its base; it is
 *               compared before the image is written.
 *               (W2) No base is ever written over, so neither the order of writing nor
 *               a death in between matters: replay_places_check() refuses a log in
 *               which two pages want one place, or one that a base has.
 */
#include "vfs/replay_private.h"

enum {
	BLOCK_CHANGES = 1000,       /* a block of lists: 64 KB                         */
	LOG_BYTES_A_KEPT_BYTE = 8,  /* lists are shorter, unless changes are very small */
	BUDGET_SMALL = 2048,
};

struct replay_block {
	_Alignas(CACHE_LINE) struct replay_block *next;
	void *memory; /* as the heap gave it */
	_Alignas(CACHE_LINE) struct replay_changes changes[];
};
static_assert(sizeof(struct replay_changes) == CACHE_LINE, "one cache line");

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

/* The page's, or a free one that it belongs into. */
static inline struct replay_slot *page_slot(const struct replay_file *file,
                                            uint32_t page_no)
{
	uint32_t mask = (UINT32_C(1) << file->slot_bits) - 1;
	uint32_t i = replay_first_slot(file, page_no);

	while (file->slots[i].taken && file->slots[i].page_no != page_no)
		i = (i + 1) & mask;
	return &file->slots[i];
}

static int slots_grow(struct replay *replay, struct replay_file *file,
                      struct err *err)
{
	uint32_t bits = file->slot_bits ? file->slot_bits + 1 : 6;
	struct replay_slot *old = file->slots;

	if (bits > 31)
		return no_memory(replay, err);
	file->slots = heap_zeroed(replay->store->heap,
	                          ((size_t)1 << bits) * sizeof *file->slots);
	if (!file->slots) {
		file->slots = old;
		return no_memory(replay, err);
	}
	file->slot_bits = bits;
	file->slot_shift = 32 - bits;
	for (uint32_t i = 0; i < file->count; i++) {
		uint32_t page_no = replay_page_at(file, i)->page_no;

		*page_slot(file, page_no) = (struct replay_slot){
			.page_no = page_no, .taken = i + 1,
		};
	}
	heap_free(replay->store->heap, old);
	return ERR_NONE;
}

/* Memory that begins with a cache line; `memory` is what to free. */
static void *allocate_lines(struct heap *heap, size_t size, void **memory)
{
	*memory = heap_allocate(heap, size + CACHE_LINE - 1);
	return (void *)(((uintptr_t)*memory + CACHE_LINE - 1) &
	                ~(uintptr_t)(CACHE_LINE - 1));
}

static int blocks_grow(struct replay *replay, struct replay_file *file,
                       struct err *err)
{
	struct heap *heap = replay->store->heap;
	uint32_t block = file->count / PAGES_A_BLOCK;
	uint32_t room = file->block_room ? file->block_room * 2 : 16;
	struct replay_page_block **blocks;
	void *memory;

	if (block == file->block_room) {
		blocks = heap_resize(heap, file->blocks, room * sizeof *blocks);
		if (!blocks)
			return no_memory(replay, err);
		memset(blocks + block, 0, (room - block) * sizeof *blocks);
		file->blocks = blocks;
		file->block_room = room;
	}
	if (file->blocks[block])
		return ERR_NONE;
	file->blocks[block] = allocate_lines(heap, sizeof **file->blocks,
	                                     &memory);
	if (!file->blocks[block])
		return no_memory(replay, err);
	file->blocks[block]->memory = memory;
	return ERR_NONE;
}

/* A page that no record has named before: what the base has. */
static __attribute__((noinline)) int
page_make(struct replay *replay, struct replay_file *file, uint32_t page_no,
          struct replay_page **made, struct err *err)
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
	**made = (struct replay_page){ .page_no = page_no,
	                               .index = file->count,
	                               .last_used = CHANGES_A_NODE,
	                               .before = replay->part ? PAGE_BEFORE_COUNTS
	                                                      : 0,
	                               .ref = now };
	*replay_origin_of(file, *made) = (struct replay_origin){ .first = NULL };
	*page_slot(file, page_no) = (struct replay_slot){
		.page_no = page_no, .taken = ++file->count,
	};
	return ERR_NONE;
}

static inline struct replay_page *page_find(const struct replay_file *file,
                                            uint32_t page_no)
{
	uint32_t taken = file->slots ? page_slot(file, page_no)->taken : 0;

	return taken ? replay_page_at(file, taken - 1) : NULL;
}

void replay_pages_free(struct replay *replay, struct replay_file *file)
{
	struct heap *heap = replay->store->heap;

	for (uint32_t i = 0; i < file->count; i++)
		heap_free(heap, replay_page_at(file, i)->image);
	for (uint32_t i = 0; i < file->block_room && file->blocks[i]; i++)
		heap_free(heap, file->blocks[i]->memory);
	heap_free(heap, file->blocks);
	heap_free(heap, file->slots);
}

/* --- lists of changes ------------------------------------------------------------ */

static bool block_make(struct replay *replay)
{
	size_t each = sizeof *replay->bump, count = BLOCK_CHANGES, size;
	struct replay_block *block;
	void *memory;

	if (count > replay->budget / each)
		count = replay->budget / each;
	size = sizeof *block + count * each;
	if (!replay->counting && replay->kept + size > replay->budget)
		return false;
	block = allocate_lines(replay->store->heap, size, &memory);
	if (!block)
		return false;
	block->next = replay->blocks;
	block->memory = memory;
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

static void list_forget(const struct replay_file *file, struct replay_page *page)
{
	page->last = NULL;
	page->last_used = CHANGES_A_NODE;
	replay_origin_of(file, page)->first = NULL;
}

static void list_drop(struct replay *replay, const struct replay_file *file,
                      struct replay_page *page)
{
	if (page->last) {
		page->last->next = replay->spare;
		replay->spare = replay_origin_of(file, page)->first;
	}
	list_forget(file, page);
}

static bool list_extend(struct replay *replay, const struct replay_file *file,
                        struct replay_page *page)
{
	struct replay_changes *last = changes_take(replay);

	if (!last)
		return false;
	if (page->last)
		page->last->next = last;
	else
		replay_origin_of(file, page)->first = last;
	page->last = last;
	page->last_used = 0;
	return true;
}

static bool list_append(struct replay *replay, const struct replay_file *file,
                        struct replay_page *page, uint64_t at)
{
	if (page->last_used == CHANGES_A_NODE &&
	    !list_extend(replay, file, page))
		return false;
	page->last->at[page->last_used++] = at;
	return true;
}

static void lists_forget(struct replay *replay)
{
	struct replay_file *file;

	for (file = replay->files; file; file = file->next)
		for (uint32_t i = 0; i < file->count; i++)
			list_forget(file, replay_page_at(file, i));
	while (replay->blocks) {
		struct replay_block *next = replay->blocks->next;

		heap_free(replay->store->heap, replay->blocks->memory);
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

/* --- records ------------------------------------------------------------------------ */

static bool is_there(const struct page_ref *ref)
{
	return ref->length != 0 && !(ref->flags & REF_FLAG_FREE);
}

static inline int page_enter(struct replay *replay,
                             struct replay_file *file, uint32_t page_no,
                             struct replay_page **page, struct err *err)
{
	*page = page_find(file, page_no);
	return *page ? ERR_NONE : page_make(replay, file, page_no, page, err);
}

int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err)
{
	struct replay_page *page;
	int rc = replay_waiting_settle(replay, err);

	if (!rc)
		rc = page_enter(replay, file, page_no, &page, err);
	if (rc)
		return rc;
	list_drop(replay, file, page);
	page->ref = *ref;
	page->count = 0;
	page->from_zero = false;
	page->before &= (uint8_t)~PAGE_BEFORE_COUNTS;
	return ERR_NONE;
}

/* The list has no room for it, or there is none. */
static __attribute__((noinline)) void
keep_slowly(struct replay *replay, struct replay_file *file,
            struct replay_page *page, uint64_t at)
{
	if (replay->counting || list_append(replay, file, page, at))
		return;
	replay->counting = true;
	lists_forget(replay);
}

/* Writes to the list's end without looking at it: it may be in no cache. */
static inline void keep(struct replay *replay, struct replay_file *file,
                        struct replay_page *page, uint64_t at)
{
	if (__builtin_expect(page->last_used == CHANGES_A_NODE, 0))
		keep_slowly(replay, file, page, at);
	else
		page->last->at[page->last_used++] = at;
}

/* The first one since the page was set, or a page made anew. */
static __attribute__((noinline)) int
begin_changes(struct replay *replay, struct replay_page *page,
              const struct replay_waiting *change, struct err *err)
{
	struct replay_file *file = change->file;

	if (change->fresh) {
		list_drop(replay, file, page);
		page->from_zero = true;
		page->count = 0;
		page->before &= (uint8_t)~PAGE_BEFORE_COUNTS;
	} else if (page->before & PAGE_BEFORE_COUNTS) {
		page->before |= PAGE_BEFORE_NEEDED;
	} else if (!is_there(&page->ref)) {
		replay->txid = change->birth;
		return replay_refuse(replay, err,
		                     "a change to a page that is not there",
		                     file->file_id, page->page_no);
	} else if (page->count == 0) {
		replay_origin_of(file, page)->base = page->ref;
	}
	return ERR_NONE;
}

static inline int change_settle(struct replay *replay, struct replay_page *page,
                                const struct replay_waiting *change,
                                struct err *err)
{
	struct replay_file *file = change->file;

	if (page->count == 0 || change->fresh) {
		int rc = begin_changes(replay, page, change, err);

		if (rc)
			return rc;
	}
	page->ref.place = change->place;
	page->ref.length = file->page_size;
	page->ref.birth = change->birth;
	page->ref.checksum = change->checksum;
	page->ref.flags = 0;
	page->count += page->count != UINT32_MAX;
	keep(replay, file, page, change->at);
	return ERR_NONE;
}

/* Three waits for memory, each for all of them at once: the slots, which were asked
 * for as the changes came, the pages, the ends of their lists. */
int replay_waiting_settle(struct replay *replay, struct err *err)
{
	struct replay_page *pages[WAITING_MAX];
	uint32_t count = replay->waiting_count;
	int rc = ERR_NONE;

	replay->waiting_count = 0;
	for (uint32_t i = 0; !rc && i < count; i++) {
		const struct replay_waiting *change = &replay->waiting[i];

		rc = page_enter(replay, change->file, change->page_no,
		                &pages[i], err);
		if (!rc)
			__builtin_prefetch(pages[i], 1);
	}
	for (uint32_t i = 0; !rc && i < count; i++)
		__builtin_prefetch(pages[i]->last, 1);
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = change_settle(replay, pages[i], &replay->waiting[i], err);
	return rc;
}

/* --- joining ---------------------------------------------------------------------- */

/* A part does not know how large pages are. */
static void ref_join(const struct replay_file *file, struct page_ref *ref,
                     const struct page_ref *later)
{
	*ref = *later;
	if (ref->length)
		ref->length = file->page_size;
}

/* Leaves a list with unused entries in the middle, each behind used ones. */
static void list_join(const struct replay_file *file, struct replay_page *page,
                      const struct replay_origin *origin,
                      const struct replay_page *later)
{
	if (!later->last)
		return;
	if (page->last)
		page->last->next = origin->first;
	else
		replay_origin_of(file, page)->first = origin->first;
	page->last = later->last;
	page->last_used = later->last_used;
}

int replay_page_join(struct replay *replay, struct replay_file *file,
                     const struct replay_file *later_file,
                     const struct replay_page *later, struct err *err)
{
	const struct replay_origin *origin = replay_origin_of(later_file, later);
	struct replay_page *page;
	int rc = page_enter(replay, file, later->page_no, &page, err);

	if (rc)
		return rc;
	if (later->before & PAGE_BEFORE_NEEDED && !is_there(&page->ref))
		return replay_refuse(replay, err,
		                     "a change to a page that is not there",
		                     file->file_id, page->page_no);
	if (!(later->before & PAGE_BEFORE_COUNTS)) {
		list_drop(replay, file, page);
		page->count = 0;
		page->from_zero = later->from_zero;
		ref_join(file, &replay_origin_of(file, page)->base,
		         &origin->base);
	} else if (page->count == 0) {
		replay_origin_of(file, page)->base = page->ref;
	}
	ref_join(file, &page->ref, &later->ref);
	page->count = later->count > UINT32_MAX - page->count
	                      ? UINT32_MAX : page->count + later->count;
	list_join(file, page, origin, later);
	return ERR_NONE;
}

void replay_changes_join(struct replay *replay, struct replay *part)
{
	struct replay_block **end = &replay->blocks;

	while (*end)
		end = &(*end)->next;
	*end = part->blocks;
	part->blocks = NULL;
	replay->kept += part->kept;
	replay->counting |= part->counting;
	if (replay->counting)
		lists_forget(replay);
}

/* --- gathering ---------------------------------------------------------------------- */

size_t replay_page_cost(const struct replay_file *file,
                        const struct replay_page *page)
{
	size_t list = (page->count + (size_t)CHANGES_A_NODE - 1) /
	              CHANGES_A_NODE * sizeof(struct replay_changes);

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
	rc = replay_base_copy(file, page, page->image, err);
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

		list_drop(replay, file, page);
		if (page->image)
			rc = replay_base_copy(file, page, page->image, err);
		if (rc || item->kind != RECORD_FRESH)
			return rc;
	}
	if (page->image)
		return replay_change_make(replay, replay_position_of(replay, item),
		                          page->image, file->page_size, err);
	return list_append(replay, file, page, replay_position_of(replay, item))
	               ? ERR_NONE
	               : no_memory(replay, err);
}
