/*
 * strip.c - arrays of records over pages, and the directory that finds them.
 *
 * Purpose       Turns a record's number into bytes in constant time, although
 *               the pager hands out page numbers in any order.
 * Structures    A radix tree of pages full of page numbers; beside it, in
 *               memory, pointers to the pages met so far.
 * Performance   A record of a page met before costs no call.
 * Safety        Page numbers come from disk: the pager refuses those that do
 *               not exist, zero is refused here. Aliased pages give wrong
 *               records, never wild pointers.
 */
#include "hnsw/strip.h"

#include <string.h>

#include "base/bytes.h"
#include "hnsw/hnsw_format.h"

/* --- geometry -------------------------------------------------------------------- */

bool strip_packs_well(uint32_t usable_size, uint32_t record_size)
{
	uint32_t waste = usable_size % record_size;

	return record_size <= usable_size && waste <= usable_size / STRIP_WASTE;
}

void strip_init(struct strip *strip, struct pager *pager, enum page_kind kind,
                uint32_t record_size, bool packed, uint32_t reserved)
{
	uint32_t bits = 0;

	memset(strip, 0, sizeof *strip);
	strip->pager = pager;
	strip->kind = kind;
	strip->record_size = record_size;
	strip->fan_out = pager->usable_size / 4;
	if (!packed)
		return;
	strip->per_page = (pager->usable_size - reserved) / record_size;
	/* Division of 31-bit numbers by a multiplication (Granlund and
	 * Montgomery, 1994). */
	while (UINT64_C(1) << bits < strip->per_page)
		bits++;
	strip->shift = 31 + bits;
	strip->reciprocal = ((UINT64_C(1) << strip->shift) + strip->per_page - 1) /
	                    strip->per_page;
}

void strip_close(struct strip *strip)
{
	heap_free(strip->pager->heap, strip->pages);
	heap_free(strip->pager->heap, strip->directories);
}

static uint64_t pages_for(const struct strip *strip, uint64_t records)
{
	uint64_t usable = strip->pager->usable_size;

	if (strip->per_page)
		return (records + strip->per_page - 1) / strip->per_page;
	return (records * strip->record_size + usable - 1) / usable;
}

/* Directory levels above this many pages. */
static uint32_t depth_for(const struct strip *strip, uint64_t pages)
{
	uint64_t reach = 1;
	uint32_t depth = 0;

	while (reach < pages) {
		reach *= strip->fan_out;
		depth++;
	}
	return depth;
}

static int corrupt(const struct strip *strip, const char *what, uint32_t number,
                   struct err *err)
{
	return err_set(err, ERR_CORRUPT, "read graph", strip->pager->name,
	               "%s %u", what, number);
}

/* --- what is remembered ------------------------------------------------------------ */

static void remember(struct strip *strip, uint32_t index, const uint8_t *page)
{
	if (!strip->pages[index]) {
		if (strip->touched_count < STRIP_TOUCHED_MAX)
			strip->touched[strip->touched_count] = index;
		strip->touched_count++;
	}
	strip->pages[index] = page;
}

void strip_forget(struct strip *strip)
{
	uint32_t i;

	if (strip->touched_count > STRIP_TOUCHED_MAX) {
		memset(strip->pages, 0, strip->page_room * sizeof *strip->pages);
	} else {
		for (i = 0; i < strip->touched_count; i++)
			strip->pages[strip->touched[i]] = NULL;
	}
	strip->touched_count = 0;
	if (strip->directory_room)
		memset(strip->directories, 0,
		       strip->directory_room * sizeof *strip->directories);
}

static int room_make(struct heap *heap, const uint8_t ***array, size_t *room,
                     size_t count)
{
	size_t larger = *room ? *room : 16;
	const uint8_t **grown;

	if (count <= *room)
		return ERR_NONE;
	while (larger < count)
		larger += larger / 2;
	grown = heap_resize(heap, *array, larger * sizeof **array);
	if (!grown)
		return ERR_NOMEM;
	memset(grown + *room, 0, (larger - *room) * sizeof **array);
	*array = grown;
	*room = larger;
	return ERR_NONE;
}

static int rooms_make(struct strip *strip, uint32_t pages, struct err *err)
{
	struct heap *heap = strip->pager->heap;
	size_t directories = pages / strip->fan_out + 1;

	if (room_make(heap, &strip->pages, &strip->page_room, pages) ||
	    room_make(heap, &strip->directories, &strip->directory_room,
	              directories))
		return err_set(err, ERR_NOMEM, "read graph", strip->pager->name,
		               "no memory for the pointers of %u pages", pages);
	return ERR_NONE;
}

/* --- finding a page ---------------------------------------------------------------- */

/* The number in entry `index` of the directory page `page_no`. */
static int entry_read(struct strip *strip, uint32_t page_no, uint32_t index,
                      uint32_t *number, struct err *err)
{
	const uint8_t *page;
	int rc;

	rc = pager_read(strip->pager, page_no, &page, err);
	if (rc)
		return rc;
	*number = load_le32(page + (size_t)index * 4);
	if (*number == 0)
		return corrupt(strip, "directory has no page for entry", index,
		               err);
	return ERR_NONE;
}

/* The lowest directory page over page `index`, depth being 1 or more. */
static int directory_number(struct strip *strip, uint32_t index,
                            uint32_t *number, struct err *err)
{
	uint32_t depth = depth_for(strip, strip->page_count);
	uint32_t page_no = strip->root;
	int rc;

	for (; depth > 1; depth--) {
		uint64_t reach = 1;
		uint32_t level;

		for (level = 1; level < depth; level++)
			reach *= strip->fan_out;
		rc = entry_read(strip, page_no,
		                (uint32_t)(index / reach % strip->fan_out),
		                &page_no, err);
		if (rc)
			return rc;
	}
	*number = page_no;
	return ERR_NONE;
}

static int directory_find(struct strip *strip, uint32_t index,
                          const uint8_t **directory, struct err *err)
{
	uint32_t slot = index / strip->fan_out;
	uint32_t number;
	int rc;

	if (!strip->directories[slot]) {
		rc = directory_number(strip, index, &number, err);
		if (rc)
			return rc;
		rc = pager_read(strip->pager, number, &strip->directories[slot],
		                err);
		if (rc)
			return rc;
	}
	*directory = strip->directories[slot];
	return ERR_NONE;
}

static int page_number(struct strip *strip, uint32_t index, uint32_t *number,
                       struct err *err)
{
	const uint8_t *directory;
	int rc;

	if (index >= strip->page_count)
		return corrupt(strip, "no such page of a strip:", index, err);
	if (strip->page_count == 1) {
		*number = strip->root;
		return ERR_NONE;
	}
	rc = directory_find(strip, index, &directory, err);
	if (rc)
		return rc;
	*number = load_le32(directory + (size_t)(index % strip->fan_out) * 4);
	if (*number == 0)
		return corrupt(strip, "directory has no page for entry", index,
		               err);
	return ERR_NONE;
}

int strip_page_find(struct strip *strip, uint32_t index, const uint8_t **page,
                    struct err *err)
{
	uint32_t number;
	int rc;

	rc = page_number(strip, index, &number, err);
	if (rc)
		return rc;
	rc = pager_read(strip->pager, number, page, err);
	if (rc)
		return rc;
	remember(strip, index, *page);
	return ERR_NONE;
}

static int page_edit(struct strip *strip, uint32_t index, uint8_t **page,
                     struct err *err)
{
	uint32_t number;
	int rc;

	rc = page_number(strip, index, &number, err);
	if (rc)
		return rc;
	rc = pager_edit(strip->pager, number, page, err);
	if (rc)
		return rc;
	remember(strip, index, *page);
	return ERR_NONE;
}

/* --- where a strip is ---------------------------------------------------------------- */

/* That the last page is there, found without the arrays: a number of records
 * that is wrong must not make them huge. */
static int last_page_check(struct strip *strip, struct err *err)
{
	uint32_t last = strip->page_count - 1, number = strip->root;
	const uint8_t *page;
	int rc;

	if (last > 0) {
		rc = directory_number(strip, last, &number, err);
		if (!rc)
			rc = entry_read(strip, number, last % strip->fan_out,
			                &number, err);
		if (rc)
			return rc;
	}
	return pager_read(strip->pager, number, &page, err);
}

int strip_place(struct strip *strip, uint32_t root, uint32_t records,
                struct err *err)
{
	uint64_t pages = pages_for(strip, records);
	int rc;

	strip->root = 0;
	strip->page_count = 0;
	if (pages > UINT32_MAX / 2)
		return corrupt(strip, "too many records:", records, err);
	if ((pages == 0) != (root == 0))
		return corrupt(strip, "root does not go with record count",
		               records, err);
	strip->root = root;
	strip->page_count = (uint32_t)pages;
	if (pages > strip->page_room) {
		rc = last_page_check(strip, err);
		if (!rc)
			rc = rooms_make(strip, (uint32_t)pages, err);
		if (rc) {
			strip->page_count = 0;
			return rc;
		}
	}
	return ERR_NONE;
}

/* --- records ----------------------------------------------------------------------- */

int strip_page_edit(struct strip *strip, uint32_t record, uint8_t **page,
                    uint32_t *slot, struct err *err)
{
	uint32_t index = strip_page_of(strip, record);

	*slot = record - index * strip->per_page;
	return page_edit(strip, index, page, err);
}

/* (hnsw/strip S1) */
int strip_edit(struct strip *strip, uint32_t record, uint8_t **bytes,
               struct err *err)
{
	uint32_t slot = 0;
	uint8_t *page;
	int rc;

	rc = strip_page_edit(strip, record, &page, &slot, err);
	if (rc)
		return rc;
	*bytes = page + (size_t)slot * strip->record_size;
	return ERR_NONE;
}

/* A piece of a record: where it starts in which page, and how long it is. */
struct piece {
	uint32_t index;
	size_t offset, size;
};

static struct piece piece_at(const struct strip *strip, uint32_t record,
                             size_t done)
{
	uint64_t usable = strip->pager->usable_size;
	uint64_t at;
	struct piece piece;

	if (strip->per_page) {
		piece.index = strip_page_of(strip, record);
		piece.offset = (size_t)(record - piece.index * strip->per_page) *
		                       strip->record_size + done;
		piece.size = strip->record_size - done;
		return piece;
	}
	at = (uint64_t)record * strip->record_size + done;
	piece.index = (uint32_t)(at / usable);
	piece.offset = (size_t)(at % usable);
	piece.size = (size_t)usable - piece.offset;
	if (piece.size > strip->record_size - done)
		piece.size = strip->record_size - done;
	return piece;
}

static int page_read(struct strip *strip, uint32_t index, const uint8_t **page,
                     struct err *err)
{
	if (index < strip->page_count && strip->pages[index]) {
		*page = strip->pages[index];
		return ERR_NONE;
	}
	return strip_page_find(strip, index, page, err);
}

int strip_load(struct strip *strip, uint32_t record, uint8_t *scratch,
               const uint8_t **bytes, struct err *err)
{
	size_t done = 0;

	while (done < strip->record_size) {
		struct piece piece = piece_at(strip, record, done);
		const uint8_t *page;
		int rc;

		rc = page_read(strip, piece.index, &page, err);
		if (rc)
			return rc;
		if (piece.size == strip->record_size) {
			*bytes = page + piece.offset;
			return ERR_NONE;
		}
		memcpy(scratch + done, page + piece.offset, piece.size);
		done += piece.size;
	}
	*bytes = scratch;
	return ERR_NONE;
}

int strip_store(struct strip *strip, uint32_t record, const uint8_t *bytes,
                struct err *err)
{
	size_t done = 0;

	while (done < strip->record_size) {
		struct piece piece = piece_at(strip, record, done);
		uint8_t *page;
		int rc;

		rc = page_edit(strip, piece.index, &page, err);
		if (rc)
			return rc;
		memcpy(page + piece.offset, bytes + done, piece.size);
		done += piece.size;
	}
	return ERR_NONE;
}

/* --- growing ------------------------------------------------------------------------- */

static int directory_allocate(struct strip *strip, uint32_t first_entry,
                              uint32_t *number, struct err *err)
{
	uint8_t *page;
	int rc;

	rc = pager_allocate(strip->pager, PAGE_GRAPH_META, number, &page, err);
	if (rc)
		return rc;
	store_le32(page, first_entry);
	return ERR_NONE;
}

/* Writes entry `at` of directory page `page_no`. */
static int entry_write(struct strip *strip, uint32_t page_no, uint32_t at,
                       uint32_t number, struct err *err)
{
	uint8_t *page;
	int rc;

	rc = pager_edit(strip->pager, page_no, &page, err);
	if (rc)
		return rc;
	store_le32(page + (size_t)at * 4, number);
	return ERR_NONE;
}

/* Puts page `index` = page_count into the directory of depth `depth`, making
 * the directory pages on its way that do not exist yet. */
static int directory_put(struct strip *strip, uint32_t depth, uint32_t index,
                         uint32_t number, struct err *err)
{
	uint32_t page_no = strip->root;
	uint64_t reach = 1;
	uint32_t level;
	int rc;

	for (level = 1; level < depth; level++)
		reach *= strip->fan_out;
	for (level = depth; level > 1; level--, reach /= strip->fan_out) {
		uint32_t at = (uint32_t)(index / reach % strip->fan_out);
		uint32_t below;

		if (index % reach == 0) {
			rc = directory_allocate(strip, 0, &below, err);
			if (rc)
				return rc;
			rc = entry_write(strip, page_no, at, below, err);
		} else {
			rc = entry_read(strip, page_no, at, &below, err);
		}
		if (rc)
			return rc;
		page_no = below;
	}
	return entry_write(strip, page_no, index % strip->fan_out, number, err);
}

static int page_append(struct strip *strip, struct err *err)
{
	uint32_t index = strip->page_count;
	uint32_t depth_before = depth_for(strip, index);
	uint32_t depth = depth_for(strip, (uint64_t)index + 1);
	uint32_t number;
	uint8_t *page;
	int rc;

	rc = pager_allocate(strip->pager, strip->kind, &number, &page, err);
	if (rc)
		return rc;
	if (index == 0) {
		strip->root = number;
	} else {
		if (depth > depth_before) {
			rc = directory_allocate(strip, strip->root,
			                        &strip->root, err);
			if (rc)
				return rc;
		}
		rc = directory_put(strip, depth, index, number, err);
		if (rc)
			return rc;
	}
	strip->page_count++;
	remember(strip, index, page);
	/* The directory page may be a new copy, or a new page. */
	strip->directories[index / strip->fan_out] = NULL;
	return ERR_NONE;
}

int strip_extend(struct strip *strip, uint32_t records, struct err *err)
{
	uint64_t pages = pages_for(strip, records);
	int rc;

	if (pages > UINT32_MAX / 2)
		return err_set(err, ERR_TOOBIG, "extend graph",
		               strip->pager->name,
		               "%u records of %u bytes do not fit", records,
		               strip->record_size);
	rc = rooms_make(strip, (uint32_t)pages, err);
	while (!rc && strip->page_count < pages)
		rc = page_append(strip, err);
	return rc;
}

/* --- all pages ------------------------------------------------------------------------ */

/* Calls `each` for the pages below directory page `page_no`, itself last. */
static int walk(struct strip *strip, uint32_t page_no, uint32_t depth,
                uint64_t pages,
                int (*each)(void *context, uint32_t page_no, struct err *err),
                void *context, struct err *err)
{
	uint64_t reach = 1;
	uint32_t i, below;
	int rc;

	for (i = 1; i < depth; i++)
		reach *= strip->fan_out;
	for (i = 0; depth > 0 && i < strip->fan_out && i * reach < pages; i++) {
		uint64_t rest = pages - i * reach;

		rc = entry_read(strip, page_no, i, &below, err);
		if (rc)
			return rc;
		rc = walk(strip, below, depth - 1, rest < reach ? rest : reach,
		          each, context, err);
		if (rc)
			return rc;
	}
	return each(context, page_no, err);
}

static int free_one(void *context, uint32_t page_no, struct err *err)
{
	return pager_free(((struct strip *)context)->pager, page_no, err);
}

int strip_clear(struct strip *strip, struct err *err)
{
	int rc;

	if (strip->page_count == 0)
		return ERR_NONE;
	rc = walk(strip, strip->root, depth_for(strip, strip->page_count),
	          strip->page_count, free_one, strip, err);
	if (rc)
		return rc;
	strip_forget(strip);
	strip->root = 0;
	strip->page_count = 0;
	return ERR_NONE;
}

struct visitor {
	void (*visit)(void *context, uint32_t page_no);
	void *context;
};

static int visit_one(void *context, uint32_t page_no, struct err *err)
{
	struct visitor *visitor = context;

	(void)err;
	visitor->visit(visitor->context, page_no);
	return ERR_NONE;
}

int strip_visit(struct strip *strip,
                void (*visit)(void *context, uint32_t page_no), void *context,
                struct err *err)
{
	struct visitor visitor = { visit, context };

	if (strip->page_count == 0)
		return ERR_NONE;
	return walk(strip, strip->root, depth_for(strip, strip->page_count),
	            strip->page_count, visit_one, &visitor, err);
}
