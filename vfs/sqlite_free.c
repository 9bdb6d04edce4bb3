/*
 * sqlite_free.c - pages that SQLite has on its freelist lose their bytes.
 *
 * A DROP TABLE of an ordinary table shortens nothing: SQLite chains the pages for
 * later. The content of a freelist leaf means nothing to it: it is never read, and
 * never put into a journal when the page comes into use again. So such a page may
 * be absent here, where an absent page reads as zeros.
 *
 * The freelist (SQLite's file format): page 1 has the first trunk's number at byte
 * 32 and the count of free pages at 36. A trunk page has the next trunk's number,
 * the count of its leaves, and their numbers. All big-endian, pages counted from 1.
 *
 * (F1) Trunk pages, and whatever is not wholly on the list, stay. Only page sizes
 *      of whole logical pages take part.
 */
#include "vfs/store_private.h"

enum {
	HEAD_MAGIC_SIZE = 16,
	HEAD_PAGE_SIZE_AT = 16,
	HEAD_TRUNK_AT = 32,
	HEAD_FREE_AT = 36,
	TRUNK_NEXT_AT = 0,
	TRUNK_LEAVES_AT = 4,
	TRUNK_FIRST_AT = 8,
	TRUNK_SIZE_MAX = 65536,
	NEWLY_FREE_MIN = 16, /* fewer are not looked for in a commit */
};

static const char magic[HEAD_MAGIC_SIZE] = "SQLite format 3";

struct freelist {
	struct store_view *view;
	struct view_file *file;
	uint32_t page_units;   /* logical pages in a page of SQLite's     */
	uint32_t page_count;   /* of SQLite's pages                       */
	uint32_t trunk, free;  /* what page 1 says                        */
	uint32_t left;         /* so many may lose their bytes            */
	uint32_t taken;        /* so many did                             */
	bool edited_only;      /* trunks before this transaction are done */
};

/* Page 1 into the list's fields; false when there is nothing to be done. */
static bool read_head(struct freelist *list, const uint8_t *page)
{
	uint32_t size;
	uint64_t bytes;

	if (!page || memcmp(page, magic, sizeof magic) != 0)
		return false;
	size = (uint32_t)page[HEAD_PAGE_SIZE_AT] << 8 |
	       page[HEAD_PAGE_SIZE_AT + 1];
	size = size == 1 ? TRUNK_SIZE_MAX : size;
	if (size < STORE_PAGE_SIZE || size % STORE_PAGE_SIZE)
		return false;
	bytes = load_le64(store_view_file_entry(list->file)->bytes +
	                  CATALOG_STATE_AT + SQLITE_STATE_SIZE_AT);
	list->page_units = size / STORE_PAGE_SIZE;
	list->page_count = (uint32_t)(bytes / size);
	list->trunk = load_be32(page + HEAD_TRUNK_AT);
	list->free = load_be32(page + HEAD_FREE_AT);
	return true;
}

/* SQLite's page n, a leaf of the list (F1), loses its bytes, if it has any. */
static int forget(struct freelist *list, uint32_t n, struct err *err)
{
	uint32_t first = (n - 1) * list->page_units;

	for (uint32_t i = 0; i < list->page_units && list->left; i++) {
		struct edit *edit = store_edit_find(list->view,
		                                    STORE_SQLITE_FILE_ID,
		                                    first + i);
		struct page_ref ref = { .length = 0 };
		int rc;

		if (edit && edit->now.state == EDIT_REMOVED)
			continue;
		if (!edit && list->file->committed)
			rc = page_table_find(list->file->file,
			                     &list->file->table, first + i,
			                     &ref, err);
		else
			rc = ERR_NONE;
		if (rc)
			return rc;
		if (!edit && !ref.length)
			continue;
		rc = store_edit_begin(list->file, first + i, &edit, err);
		if (rc)
			return rc;
		store_edit_state(edit, EDIT_REMOVED);
		list->left--;
		list->taken++;
	}
	return ERR_NONE;
}

/* A trunk's numbers are copied: forgetting a page may move what was lent. */
static int walk_trunk(struct freelist *list, const uint8_t *page,
                      uint32_t *seen, uint32_t *next, struct err *err)
{
	uint32_t room = STORE_PAGE_SIZE / 4 - 2;
	uint32_t leaves = load_be32(page + TRUNK_LEAVES_AT);
	int rc = ERR_NONE;

	*next = load_be32(page + TRUNK_NEXT_AT);
	/* Of a larger page only the first logical one is looked at. */
	if (leaves > room)
		leaves = room;
	for (uint32_t i = 0; !rc && i < leaves && ++*seen <= list->free; i++) {
		uint32_t n = load_be32(page + TRUNK_FIRST_AT + i * 4);

		if (n >= 2 && n <= list->page_count && n != list->trunk)
			rc = forget(list, n, err);
	}
	return rc;
}

static bool is_edited(const struct freelist *list, uint32_t page_no)
{
	const struct edit *edit = store_edit_find(list->view,
	                                          STORE_SQLITE_FILE_ID, page_no);

	return edit && (edit->now.state == EDIT_IMAGE ||
	                edit->now.state == EDIT_SPILLED);
}

static int walk(struct freelist *list, struct err *err)
{
	uint32_t seen = 0, trunk = list->trunk;
	int rc = ERR_NONE;

	while (!rc && list->left && trunk >= 2 && trunk <= list->page_count &&
	       ++seen <= list->free) {
		uint32_t page_no = (trunk - 1) * list->page_units;
		const uint8_t *page;

		if (list->edited_only && !is_edited(list, page_no))
			break;
		rc = store_view_file_read(list->file, page_no, &page, err);
		if (!rc && !page)
			break;
		list->trunk = trunk;
		if (!rc)
			rc = walk_trunk(list, page, &seen, &trunk, err);
	}
	return rc;
}

static uint32_t budget(const struct store_view *view)
{
	return atomic_load_explicit(&view->store->cache_kb,
	                            memory_order_relaxed);
}

void store_sqlite_forget_freed(struct store_view *view)
{
	struct freelist list = { .view = view, .file = view->sqlite,
	                         .left = budget(view), .edited_only = true };
	const uint8_t *page;
	uint32_t before = 0;
	struct err err;

	if (!view->sqlite || view->sqlite->loaded_epoch != view->epoch ||
	    !view->sqlite->exists || !is_edited(&list, 0))
		return;
	if (view->sqlite->committed &&
	    !store_view_file_read_committed(view->sqlite, 0, &page, &err) &&
	    read_head(&list, page))
		before = list.free;
	if (store_view_file_read(view->sqlite, 0, &page, &err) ||
	    !read_head(&list, page) || list.free < before + NEWLY_FREE_MIN)
		return;
	walk(&list, &err); /* whatever it has not done is only not done */
}

int store_sqlite_forget_free(struct store_view *view, uint32_t pages,
                             uint32_t *forgotten, struct err *err)
{
	struct freelist list = { .view = view, .left = pages };
	const uint8_t *page;
	int rc = store_view_file(view, STORE_SQLITE_FILE_ID, &list.file, err);

	*forgotten = 0;
	if (!rc && list.file->exists)
		rc = store_view_file_read(list.file, 0, &page, err);
	if (!rc && list.file->exists && read_head(&list, page))
		rc = walk(&list, err);
	*forgotten = list.taken;
	return rc;
}
