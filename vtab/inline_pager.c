/*
 * inline_pager.c - pages of shadow tables as trees and graphs want them.
 *
 * An edited page keeps what its row has as a second image, so that only the ranges
 * that differ are written (inline_flush.c), and so that who has read it before sees
 * the old bytes until the operation ends. A new page's row is made at once, of zeros:
 * inside xUpdate SQLite knows how to take that back. A free page stays in the shadow
 * table, in a chain from the file's entry.
 */
#include "vtab/inline.h"

#include "base/checksum.h"

#include <stdio.h>

static int explain_page(const struct inline_file *file, const char *operation,
                        uint32_t page_no, const char *why, struct err *err)
{
	char text[32];

	snprintf(text, sizeof text, "%s page %u of", operation, page_no);
	return err_set(err, ERR_CORRUPT, text, file->pager.name, "%s", why);
}

uint64_t inline_page_checksum(const struct inline_file *file, uint32_t page_no,
                              const uint8_t *image)
{
	return checksum64(image + INLINE_CHECKSUM_SIZE,
	                  INLINE_PAGE_SIZE - INLINE_CHECKSUM_SIZE,
	                  checksum_seed(file->table->identity, file->number,
	                                page_no));
}

/* --- reading ----------------------------------------------------------------------- */

static int check_file(struct inline_file *file, struct err *err)
{
	int rc = catalog_know(file->table, err);

	if (rc || file->exists)
		return rc;
	return err_set(err, ERR_ABORT, "read", file->pager.name,
	               "it does not exist any more");
}

static int check_number(const struct inline_file *file, uint32_t page_no,
                        struct err *err)
{
	char why[64];

	if (page_no && page_no < file->page_count)
		return ERR_NONE;
	snprintf(why, sizeof why, "there are %u pages", file->page_count);
	return explain_page(file, "read", page_no, why, err);
}

static int check_image(const struct inline_file *file, uint32_t page_no,
                       const uint8_t *image, struct err *err)
{
	uint64_t stored = load_le64(image + INLINE_PAGE_CHECKSUM_AT);
	uint64_t computed = inline_page_checksum(file, page_no, image);
	char text[32];

	if (stored != computed) {
		snprintf(text, sizeof text, "read page %u of", page_no);
		return err_set(err, ERR_CORRUPT, text, file->pager.name,
		               "its checksum is %016llx, stored %016llx",
		               (unsigned long long)computed,
		               (unsigned long long)stored);
	}
	if (image[INLINE_PAGE_VERSION_AT] == 0)
		return explain_page(file, "read", page_no, "it has no version",
		                    err);
	if (image[INLINE_PAGE_VERSION_AT] <= INLINE_VERSION)
		return ERR_NONE;
	snprintf(text, sizeof text, "read page %u of", page_no);
	return err_set(err, ERR_VERSION, text, file->pager.name,
	               "it has version %u, this library knows %d",
	               image[INLINE_PAGE_VERSION_AT], INLINE_VERSION);
}

static int load(struct inline_file *file, uint32_t page_no, struct frame *frame,
                struct err *err)
{
	struct shadow shadow = { .blob = NULL };
	int rc = shadow_seek(&shadow, file->table, shadow_of(file),
	                     inline_row_of(file, page_no), false,
	                     INLINE_PAGE_SIZE, err);

	if (!rc)
		rc = shadow_read(&shadow, 0, frame->image, INLINE_PAGE_SIZE,
		                 err);
	shadow_close(&shadow);
	return rc ? rc : check_image(file, page_no, frame->image, err);
}

/* The page's frame, lent. */
static int frame_get(struct inline_file *file, uint32_t page_no,
                     struct frame **found, struct err *err)
{
	struct inline_home *home = file->table->home;
	struct frame *frame;
	int rc = check_file(file, err);

	if (!rc)
		rc = check_number(file, page_no, err);
	if (rc)
		return rc;
	frame = cache_find(&home->cache, file, page_no);
	if (!frame) {
		rc = cache_enter(home, file, page_no, &frame, err);
		if (rc)
			return rc;
		rc = load(file, page_no, frame, err);
		if (rc) {
			cache_forget_failed(home, file, page_no);
			return rc;
		}
		frame->lent = home->epoch; /* not visited: once is no use yet */
		frame->lends = 1;
		home->cache.misses++;
	} else {
		home->cache.hits++;
		frame_lend(frame, home->epoch);
	}
	*found = frame;
	return ERR_NONE;
}

static int page_read(struct pager *pager, uint32_t page_no,
                     const uint8_t **page, struct err *err)
{
	struct inline_file *file = inline_file_of(pager);
	struct inline_home *home = file->table->home;
	struct frame *frame;
	int rc;

	if (__builtin_expect(file->table->version == home->version, 1)) {
		frame = cache_find(&home->cache, file, page_no);
		if (__builtin_expect(frame != NULL, 1)) {
			home->cache.hits++;
			frame_lend(frame, home->epoch);
			*page = frame->image + INLINE_PAGE_HEADER_SIZE;
			return ERR_NONE;
		}
	}
	rc = frame_get(file, page_no, &frame, err);
	if (!rc)
		*page = frame->image + INLINE_PAGE_HEADER_SIZE;
	return rc;
}

/* --- changing ---------------------------------------------------------------------- */

static int frame_dirty(struct inline_home *home, struct frame *frame,
                       struct err *err)
{
	if (frame->dirty)
		return ERR_NONE;
	if (!frame->base) {
		uint8_t *copy = cache_image_take(home);

		if (!copy)
			return err_set(err, ERR_NOMEM, "write",
			               frame->file->pager.name,
			               "no memory for a copy of page %u",
			               frame->page_no);
		memcpy(copy, frame->image, INLINE_PAGE_SIZE);
		frame->base = frame->image;
		frame->image = copy;
		frame->base_good = true;
	}
	cache_dirty_add(&home->cache, frame);
	frame->file->table->changed = true;
	return ERR_NONE;
}

/* (vtab/inline L6) */
static int check_writing(struct inline_file *file, struct err *err)
{
	if (__builtin_expect(file->table->home->writing, 1))
		return check_file(file, err);
	return err_set(err, ERR_ABORT, "write", file->pager.name,
	               "the transaction has been rolled back");
}

static int frame_edit(struct inline_file *file, uint32_t page_no,
                      struct frame **edited, struct err *err)
{
	struct frame *frame;
	int rc = check_writing(file, err);

	if (!rc)
		rc = frame_get(file, page_no, &frame, err);

	if (!rc)
		rc = frame_dirty(file->table->home, frame, err);
	if (!rc)
		*edited = frame;
	return rc;
}

static int page_edit(struct pager *pager, uint32_t page_no, uint8_t **page,
                     struct err *err)
{
	struct frame *frame;
	int rc = frame_edit(inline_file_of(pager), page_no, &frame, err);

	if (!rc)
		*page = frame->image + INLINE_PAGE_HEADER_SIZE;
	return rc;
}

static void file_changed(struct inline_file *file)
{
	file->changed = file->table->changed = true;
}

static void header_write(uint8_t *image, enum page_kind kind, uint32_t next)
{
	memset(image, 0, INLINE_PAGE_HEADER_SIZE);
	store_le32(image + INLINE_PAGE_NEXT_AT, next);
	image[INLINE_PAGE_KIND_AT] = (uint8_t)kind;
	image[INLINE_PAGE_VERSION_AT] = INLINE_VERSION;
}

/* The first free page, out of the chain. */
static int take_free(struct inline_file *file, enum page_kind kind,
                     uint32_t *page_no, struct frame **taken, struct err *err)
{
	uint32_t number = file->free_head, next;
	struct frame *frame;
	int rc = frame_edit(file, number, &frame, err);

	if (rc)
		return rc;
	next = load_le32(frame->image + INLINE_PAGE_NEXT_AT);
	if (frame->image[INLINE_PAGE_KIND_AT] != PAGE_FREE ||
	    next >= file->page_count || !file->free_count ||
	    (next == 0) != (file->free_count == 1))
		return explain_page(file, "use free", number,
		                    "it is none, or the chain is damaged", err);
	memset(frame->image, 0, INLINE_PAGE_SIZE);
	header_write(frame->image, kind, 0);
	file->free_head = next;
	file->free_count--;
	*page_no = number;
	*taken = frame;
	return ERR_NONE;
}

static int take_new(struct inline_file *file, enum page_kind kind,
                    uint32_t *page_no, struct frame **taken, struct err *err)
{
	struct inline_home *home = file->table->home;
	uint32_t number = file->page_count;
	struct frame *frame;
	int rc;

	if (number >= INLINE_PAGES_MAX)
		return err_set(err, ERR_FULL, "write", file->pager.name,
		               "it has the most pages there can be");
	rc = cache_enter(home, file, number, &frame, err);
	if (rc)
		return rc;
	rc = shadow_insert(file->table, shadow_of(file),
	                   inline_row_of(file, number), INLINE_PAGE_SIZE, err);
	if (rc) {
		cache_forget_failed(home, file, number);
		return rc;
	}
	memset(frame->image, 0, INLINE_PAGE_SIZE);
	header_write(frame->image, kind, 0);
	frame->base_good = false;
	cache_dirty_add(&home->cache, frame);
	frame_lend(frame, home->epoch);
	file->page_count++;
	*page_no = number;
	*taken = frame;
	return ERR_NONE;
}

static int page_allocate(struct pager *pager, enum page_kind kind,
                         uint32_t *page_no, uint8_t **page, struct err *err)
{
	struct inline_file *file = inline_file_of(pager);
	struct frame *frame = NULL;
	int rc = check_writing(file, err);

	if (!rc)
		rc = file->free_head
		             ? take_free(file, kind, page_no, &frame, err)
		             : take_new(file, kind, page_no, &frame, err);
	if (rc)
		return rc;
	file_changed(file);
	*page = frame->image + INLINE_PAGE_HEADER_SIZE;
	return ERR_NONE;
}

static int page_free(struct pager *pager, uint32_t page_no, struct err *err)
{
	struct inline_file *file = inline_file_of(pager);
	struct frame *frame;
	int rc = frame_edit(file, page_no, &frame, err);

	if (rc)
		return rc;
	if (frame->image[INLINE_PAGE_KIND_AT] == PAGE_FREE)
		return explain_page(file, "free", page_no, "it is free already",
		                    err);
	header_write(frame->image, PAGE_FREE, file->free_head);
	file->free_head = page_no;
	file->free_count++;
	file_changed(file);
	return ERR_NONE;
}

/* --- the rest ---------------------------------------------------------------------- */

static int state_read(struct pager *pager, const uint8_t **state,
                      struct err *err)
{
	struct inline_file *file = inline_file_of(pager);
	int rc = check_file(file, err);

	if (!rc)
		*state = file->state;
	return rc;
}

static int state_edit(struct pager *pager, uint8_t **state, struct err *err)
{
	struct inline_file *file = inline_file_of(pager);
	int rc = check_writing(file, err);

	if (rc)
		return rc;
	file_changed(file);
	*state = file->state;
	return ERR_NONE;
}

/* The host reads ahead as it likes. */
static void page_prefetch(struct pager *pager, uint32_t page_no)
{
	(void)pager, (void)page_no;
}

/* Lent once in this epoch, and given back: nobody else has it (vtab/inline L4). */
static void page_release(struct pager *pager, uint32_t page_no,
                         const uint8_t *page)
{
	struct inline_file *file = inline_file_of(pager);
	struct inline_home *home = file->table->home;
	struct frame *frame = cache_find(&home->cache, file, page_no);

	if (frame && frame->image + INLINE_PAGE_HEADER_SIZE == page &&
	    frame->lent == home->epoch && frame->lends == 1)
		frame->lent = 0;
}

const struct pager_methods inline_pager_methods = {
	.read = page_read,
	.edit = page_edit,
	.allocate = page_allocate,
	.free = page_free,
	.state_read = state_read,
	.state_edit = state_edit,
	.prefetch = page_prefetch,
	.release = page_release,
};

/* --- checking ---------------------------------------------------------------------- */

static int follow_free(struct inline_file *file, struct err *err)
{
	uint32_t page_no = file->free_head, left = file->free_count;
	struct frame *frame;
	char why[80];
	int rc = ERR_NONE;

	for (; !rc && page_no && left; left--) {
		rc = frame_get(file, page_no, &frame, err);
		if (rc)
			return rc;
		if (frame->image[INLINE_PAGE_KIND_AT] != PAGE_FREE)
			return explain_page(file, "check", page_no,
			                    "it is in the chain of free pages and not free",
			                    err);
		page_no = load_le32(frame->image + INLINE_PAGE_NEXT_AT);
		if (frame->lends == 1)
			frame->lent = 0;
	}
	if (!page_no && !left)
		return ERR_NONE;
	snprintf(why, sizeof why, "%u pages are free, its chain has %s",
	         file->free_count, page_no ? "more" : "fewer");
	return err_set(err, ERR_CORRUPT, "check", file->pager.name, "%s", why);
}

/* What is in memory was read before; the check is of what is stored. */
static void forget_clean(struct inline_file *file)
{
	struct inline_home *home = file->table->home;

	home->epoch++;
	if (!file->table->changed)
		cache_drop(home, NULL, file);
}

/* Every shadow table has the rows of its files, and none besides. */
static int count_all_rows(struct inline_table *table, struct err *err)
{
	uint64_t wanted[SHADOW_KINDS] = { 2 /* the catalog and the layout */ };
	int rc = ERR_NONE;

	for (uint32_t i = 0; i < table->entry_count; i++)
		wanted[shadow_of(table->entries[i])] +=
			table->entries[i]->page_count - 1;
	for (enum shadow_kind kind = 0; !rc && kind < SHADOW_KINDS; kind++) {
		uint64_t rows = 0;

		rc = shadow_count(table, kind, INT64_MIN, INT64_MAX, &rows, err);
		if (!rc && rows != wanted[kind])
			rc = err_set(err, ERR_CORRUPT, "check",
			             name_shorten(table->shadows[kind]).text,
			             "it has %llu rows, its files need %llu",
			             (unsigned long long)rows,
			             (unsigned long long)wanted[kind]);
	}
	if (!rc && table->entry_count != 1 + table->index_count)
		rc = err_set(err, ERR_CORRUPT, "check",
		             name_shorten(table->name).text,
		             "it has %u indexes and %u files",
		             table->index_count, table->entry_count);
	return rc;
}

static int count_rows(struct inline_file *file, struct err *err)
{
	int64_t first = (int64_t)((uint64_t)file->number << INLINE_FILE_SHIFT);
	uint64_t rows = 0;
	int rc = shadow_count(file->table, shadow_of(file), first + 1,
	                      first + UINT32_MAX, &rows, err);

	if (rc || rows + 1 == file->page_count)
		return rc;
	return err_set(err, ERR_CORRUPT, "check", file->pager.name,
	               "it has %u pages, its shadow table %llu rows for them",
	               file->page_count - 1, (unsigned long long)rows);
}

int inline_file_check(struct home *home, uint32_t file_id,
                      void (*problem)(void *context, const char *sentence),
                      void *context, struct err *err)
{
	struct inline_file *file = inline_file_find(inline_home_of(home),
	                                            file_id);
	int rc = file ? check_file(file, err) : ERR_NONE;

	if (!rc && file)
		forget_clean(file);
	if (!rc && file && file->kind == STORE_FILE_TABLE)
		rc = count_all_rows(file->table, err);
	if (!rc && file)
		rc = count_rows(file, err);
	if (!rc && file)
		rc = follow_free(file, err);
	if (rc == ERR_CORRUPT) {
		problem(context, err->text);
		rc = ERR_NONE;
	}
	return rc;
}
