/*
 * replay_pages.c - the images that a replay makes.
 *
 * Purpose       Of a page that a thousand commits changed only the last version
 *               counts, for nobody has a snapshot of one in between. So changes wait
 *               in an arena, page by page, and are applied together: a page is read,
 *               checked and written once for each time that the arena fills.
 * Structures    A page knows its newest version, the version that is written, and
 *               the chain of changes between the two. A table tells which page was
 *               the last to get a place.
 * Performance   A recovery of 64 MB of one-row commits took 10 s when each change
 *               was written; see bench-recovery.
 * Safety        (W1) The checksum of the newest version is compared before its image
 *               is written: it covers all changes since the written one.
 *               (W2) A page's written version stays as it is while changes of it
 *               wait: whoever gets its place waits until they are applied
 *               (replay_place_claim()).
 */
#include "vfs/replay_private.h"

enum { ARENA_LEAST = 65536, ARENA_SMALL = 2048, UNIT = 8, PENDING_HEAD = 8 };

/* --- pages ---------------------------------------------------------------------- */

static struct replay_page *page_slot(const struct replay_file *file,
                                     uint32_t page_no)
{
	uint32_t mask = file->room - 1;
	uint32_t i = page_no * 2654435761u & mask;

	while (file->pages[i].used && file->pages[i].page_no != page_no)
		i = (i + 1) & mask;
	return &file->pages[i];
}

static int page_room(struct replay *replay, struct replay_file *file,
                     struct err *err)
{
	uint32_t old_room = file->room, room = old_room ? old_room * 2 : 64;
	struct replay_page *old = file->pages;

	if (file->count * 2 + 2 <= old_room)
		return ERR_NONE;
	file->pages = heap_zeroed(replay->store->heap,
	                          room * sizeof *file->pages);
	if (!file->pages) {
		file->pages = old;
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "table of %u pages", room);
	}
	file->room = room;
	for (uint32_t i = 0; i < old_room; i++)
		if (old[i].used)
			*page_slot(file, old[i].page_no) = old[i];
	heap_free(replay->store->heap, old);
	return ERR_NONE;
}

int replay_page_now(struct replay_file *file, uint32_t page_no,
                    struct page_ref *ref, struct err *err)
{
	if (file->room) {
		const struct replay_page *page = page_slot(file, page_no);

		if (page->used) {
			*ref = page->ref;
			return ERR_NONE;
		}
	}
	*ref = (struct page_ref){ .length = 0 };
	if (!file->existed)
		return ERR_NONE;
	return page_table_find(file->file, &file->table, page_no, ref, err);
}

/* The page's entry, made when no record has named it before. */
static int page_enter(struct replay *replay, struct replay_file *file,
                      uint32_t page_no, struct replay_page **entered,
                      struct err *err)
{
	struct page_ref now = { .length = 0 };
	struct replay_page *page;
	int rc = page_room(replay, file, err);

	if (rc)
		return rc;
	page = page_slot(file, page_no);
	*entered = page;
	if (page->used)
		return ERR_NONE;
	rc = replay_page_now(file, page_no, &now, err);
	if (rc)
		return rc;
	*page = (struct replay_page){ .page_no = page_no, .used = true,
	                              .ref = now, .written = now };
	file->count++;
	return ERR_NONE;
}

int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err)
{
	struct replay_page *page;
	int rc = page_enter(replay, file, page_no, &page, err);

	if (rc)
		return rc;
	page->ref = page->written = *ref;
	page->first = page->last = 0;
	page->from_zero = false;
	return ERR_NONE;
}

static bool is_there(const struct page_ref *ref)
{
	return ref->length != 0 && !(ref->flags & REF_FLAG_FREE);
}

/* --- changes that wait -------------------------------------------------------------- */

/* In the arena: u32 next, u32 size of the ranges, the ranges. Offsets are counted in
 * units of 8 bytes. */
struct pending {
	uint32_t next, size;
	uint8_t bytes[];
};

static struct pending *pending_at(const struct replay *replay, uint32_t at)
{
	return (struct pending *)(void *)(replay->arena + (size_t)at * UNIT);
}

static size_t pending_size(size_t ranges)
{
	return (PENDING_HEAD + ranges + UNIT - 1) / UNIT * UNIT;
}

static int apply(struct replay *replay, struct span ranges, uint32_t size,
                 struct err *err)
{
	const uint8_t *before = replay->image;

	if (store_ranges_move(ranges)) {
		memcpy(replay->before, replay->image, size);
		before = replay->before;
	}
	return store_ranges_apply(ranges, before, replay->image, size, err);
}

static int read_written(struct replay *replay, struct replay_file *file,
                        const struct replay_page *page, struct err *err)
{
	const uint8_t *bytes = store_zeros;
	int rc = ERR_NONE;

	if (!page->from_zero)
		rc = page_file_borrow(file->file, &page->written, page->page_no,
		                      &bytes, err);
	if (!rc)
		memcpy(replay->image, bytes, page->ref.length);
	return rc;
}

/* Keeps (W1). */
static int write_image(struct replay *replay, struct replay_file *file,
                       struct replay_page *page, struct err *err)
{
	const struct page_ref *ref = &page->ref;
	uint64_t end = (uint64_t)ref->place + store_units(ref->length);
	int rc = ERR_NONE;

	if (page_file_checksum(file->file_id, page->page_no, ref->birth,
	                       replay->image, ref->length) != ref->checksum)
		return replay_refuse(replay, err,
		                     "the changed page has another checksum",
		                     file->file_id, page->page_no);
	if (end > file->capacity)
		rc = page_file_reserve(file->file, end, &file->capacity, err);
	if (!rc)
		rc = page_file_write(file->file, ref, replay->image, err);
	if (rc)
		return rc;
	page->written = *ref;
	page->from_zero = false;
	page->first = page->last = 0;
	return ERR_NONE;
}

static int page_write(struct replay *replay, struct replay_file *file,
                      struct replay_page *page, struct err *err)
{
	int rc = read_written(replay, file, page, err);

	for (uint32_t at = page->first; !rc && at;) {
		const struct pending *pending = pending_at(replay, at);

		rc = apply(replay, span_of(pending->bytes, pending->size),
		           page->ref.length, err);
		at = pending->next;
	}
	return rc ? rc : write_image(replay, file, page, err);
}

int replay_pages_write(struct replay *replay, struct err *err)
{
	for (struct replay_file *file = replay->files; file; file = file->next)
		for (uint32_t i = 0; i < file->room; i++) {
			struct replay_page *page = &file->pages[i];
			int rc;

			if (!page->used || !page->first)
				continue;
			page->first = file->gone ? 0 : page->first;
			rc = page->first ? page_write(replay, file, page, err)
			                 : ERR_NONE;
			if (rc)
				return rc;
		}
	replay->arena_used = UNIT;
	return ERR_NONE;
}

/* As much as a transaction may keep, less where memory is short. */
static int arena_make(struct replay *replay, struct err *err)
{
	size_t size = (size_t)atomic_load(&replay->store->cache_kb) * 1024;

	if (replay->arena)
		return ERR_NONE;
	if (!replay->alone || size < ARENA_LEAST)
		size = ARENA_LEAST;
	if (PLANTED(replay->store->environment, PLANT_REPLAY_SMALL))
		size = ARENA_SMALL;
	while (!replay->arena && size >= ARENA_SMALL) {
		replay->arena = heap_allocate(replay->store->heap, size);
		replay->arena_size = size;
		size /= 2;
	}
	replay->arena_used = UNIT;
	return replay->arena ? ERR_NONE
	                     : err_set(err, ERR_NOMEM, "replay log of",
	                               replay->store->path, "room for changes");
}

static void append(struct replay *replay, struct replay_page *page,
                   struct span ranges)
{
	uint32_t at = (uint32_t)(replay->arena_used / UNIT);
	struct pending *pending = pending_at(replay, at);

	pending->next = 0;
	pending->size = (uint32_t)ranges.size;
	memcpy(pending->bytes, ranges.data, ranges.size);
	if (page->last)
		pending_at(replay, page->last)->next = at;
	else
		page->first = at;
	page->last = at;
	replay->arena_used += pending_size(ranges.size);
}

/* A change that is larger than the arena. */
static int change_at_once(struct replay *replay, struct replay_file *file,
                          struct replay_page *page, struct span ranges,
                          struct err *err)
{
	int rc = read_written(replay, file, page, err);

	if (!rc)
		rc = apply(replay, ranges, page->ref.length, err);
	return rc ? rc : write_image(replay, file, page, err);
}

int replay_page_change(struct replay *replay, struct replay_file *file,
                       const struct record_item *item,
                       const struct page_ref *ref, struct err *err)
{
	size_t size = pending_size(item->ranges.size);
	struct replay_page *page;
	int rc = arena_make(replay, err);

	if (!rc && replay->arena_used + size > replay->arena_size)
		rc = replay_pages_write(replay, err);
	if (!rc)
		rc = page_enter(replay, file, item->page_no, &page, err);
	if (rc)
		return rc;
	if (item->kind != RECORD_DIFF) {
		page->first = page->last = 0;
		page->from_zero = true;
	} else if (!is_there(&page->ref)) {
		return replay_refuse(replay, err,
		                     "a change to a page that is not there",
		                     file->file_id, item->page_no);
	}
	page->ref = *ref;
	if (replay->arena_used + size > replay->arena_size)
		return change_at_once(replay, file, page, item->ranges, err);
	append(replay, page, item->ranges);
	return ERR_NONE;
}

/* The base's image is read and so checked; where a record would have made an image
 * by now, any bytes serve. */
int replay_page_rehearse(struct replay *replay, struct replay_file *file,
                         const struct record_item *item,
                         const struct page_ref *ref, struct err *err)
{
	const uint8_t *base = store_zeros;
	struct replay_page *page;
	int rc = page_enter(replay, file, item->page_no, &page, err);

	if (rc)
		return rc;
	if (item->kind == RECORD_DIFF) {
		if (!is_there(&page->ref))
			rc = replay_refuse(replay, err,
			                   "a change to a page that is not there",
			                   file->file_id, item->page_no);
		else if (page->ref.birth <= replay->base.txid)
			rc = page_file_borrow(file->file, &page->ref,
			                      item->page_no, &base, err);
	}
	if (!rc)
		rc = store_ranges_apply(item->ranges, base, replay->image,
		                        ref->length, err);
	if (!rc)
		page->ref = page->written = *ref;
	return rc;
}

/* --- places ------------------------------------------------------------------------- */

static struct replay_place *place_slot(const struct replay_file *file,
                                       uint32_t place)
{
	uint32_t mask = file->place_room - 1;
	uint32_t i = place * 2654435761u >> 7 & mask;

	while (file->places[i].place && file->places[i].place != place)
		i = (i + 1) & mask;
	return &file->places[i];
}

static int place_room(struct replay *replay, struct replay_file *file,
                      struct err *err)
{
	uint32_t old_room = file->place_room, room = old_room ? old_room * 2 : 64;
	struct replay_place *old = file->places;

	if (file->place_count * 2 + 2 <= old_room)
		return ERR_NONE;
	file->places = heap_zeroed(replay->store->heap,
	                           room * sizeof *file->places);
	if (!file->places) {
		file->places = old;
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "list of %u places", room);
	}
	file->place_room = room;
	for (uint32_t i = 0; i < old_room; i++)
		if (old[i].place)
			*place_slot(file, old[i].place) = old[i];
	heap_free(replay->store->heap, old);
	return ERR_NONE;
}

bool replay_place_named(const struct replay_file *file, uint32_t place)
{
	return file->place_count && place_slot(file, place)->place;
}

/* Keeps (W2). */
int replay_place_claim(struct replay *replay, struct replay_file *file,
                       uint32_t place, uint32_t page_no, struct err *err)
{
	int rc = place_room(replay, file, err);
	struct replay_place *slot;

	if (rc)
		return rc;
	slot = place_slot(file, place);
	if (slot->place && slot->page_no != page_no) {
		struct replay_page *owner = page_slot(file, slot->page_no);

		if (owner->used && owner->first &&
		    owner->written.place == place && !owner->from_zero)
			rc = page_write(replay, file, owner, err);
	}
	file->place_count += !slot->place;
	*slot = (struct replay_place){ .place = place, .page_no = page_no };
	return rc;
}
