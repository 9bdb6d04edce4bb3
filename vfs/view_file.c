/*
 * view_file.c - one file as one view sees it: its entry, its pages, its pager.
 *
 * A view_file is made when a view first meets a file id and lives as long as the
 * view. What it knows of the committed file (entry, page table, borrowed page
 * pointers) is tagged with the txid it was read at; a new snapshot makes it load
 * again at the next use. With thousands of tables a view has met thousands of files,
 * so they are found by their ids' low bits; while there are few, or no memory for
 * that, by walking them.
 */
#include "vfs/store_private.h"

#include <stdio.h>

static const struct pager_methods pager_methods;

enum { WALKED_MAX = 8, CHAINS_FIRST = 64 };

static struct view_file **chain_of(struct store_view *view, uint32_t file_id)
{
	return &view->chains[file_id & (view->chain_count - 1)];
}

static struct view_file *find(struct store_view *view, uint32_t file_id)
{
	struct view_file *file = view->files;

	if (view->chain_count) {
		file = *chain_of(view, file_id);
		while (file && file->file_id != file_id)
			file = file->chained;
		return file;
	}
	while (file && file->file_id != file_id)
		file = file->next;
	return file;
}

static void chain(struct view_file *file)
{
	struct view_file **chain = chain_of(file->view, file->file_id);

	file->chained = *chain;
	*chain = file;
}

/* Two files a chain at most; without memory they get longer. */
static void chains_grow(struct store_view *view)
{
	uint32_t count = view->chain_count ? view->chain_count * 4
	                                   : CHAINS_FIRST;
	struct view_file **larger;

	if (view->file_count <= WALKED_MAX ||
	    view->file_count <= view->chain_count * 2)
		return;
	larger = heap_zeroed(view->store->heap, count * sizeof *larger);
	if (!larger)
		return;
	heap_free(view->store->heap, view->chains);
	view->chains = larger;
	view->chain_count = count;
	for (struct view_file *file = view->files; file; file = file->next)
		chain(file);
}

static int meet(struct store_view *view, uint32_t file_id,
                struct view_file **met, struct err *err)
{
	struct view_file *file = heap_zeroed(view->store->heap, sizeof *file);

	if (!file)
		return err_set(err, ERR_NOMEM, "open", view->store->path,
		               "file %u", file_id);
	file->view = view;
	file->file_id = file_id;
	file->pager = (struct pager){
		.methods = &pager_methods,
		.view_epoch = &view->epoch,
		.usable_size = STORE_PAGE_SIZE - PAGE_HEAD_SIZE,
		.name = file->name,
		.heap = view->store->heap,
	};
	snprintf(file->name, sizeof file->name, "file %u", file_id);
	file->next = view->files;
	view->files = file;
	if (view->chain_count)
		chain(file);
	view->file_count++;
	chains_grow(view);
	if (file_id == STORE_SQLITE_FILE_ID)
		view->sqlite = file;
	*met = file;
	return ERR_NONE;
}

int store_view_file(struct store_view *view, uint32_t file_id,
                    struct view_file **found, struct err *err)
{
	struct view_file *file = find(view, file_id);
	int rc = file ? ERR_NONE : meet(view, file_id, &file, err);

	if (rc)
		return rc;
	*found = file;
	return store_view_file_load(file, err);
}

const struct catalog_entry *store_view_file_entry(const struct view_file *file)
{
	if (file->entry_edit && file->entry_edit->now.state == EDIT_IMAGE)
		return (const struct catalog_entry *)(const void *)
			file->entry_edit->now.image;
	if (file->entry_edit && file->entry_edit->now.state == EDIT_REMOVED)
		return NULL;
	return &file->entry;
}

/* The file that the entry names; the catalog is open as long as the store is. */
static int open_file(struct view_file *file, struct err *err)
{
	struct store *store = file->view->store;

	if (file->file)
		return ERR_NONE; /* a file has one name all its life */
	store_entry_name(&file->entry, file->name);
	return store_files_get(store, &file->entry, &file->file, err);
}

static int load_committed(struct view_file *file, struct err *err)
{
	struct store_view *view = file->view;
	struct store *store = view->store;
	int rc = store_catalog_read(store, &view->root.catalog, file->file_id,
	                            &file->entry, err);

	if (rc)
		return rc;
	file->committed = store_entry_live(&file->entry);
	file->table = (struct page_table){ .depth = 0 };
	if (file->committed) {
		file->page_size = load_le32(file->entry.bytes +
		                            CATALOG_PAGE_SIZE_AT);
		file->units = store_units(file->page_size);
		file->pager.usable_size = file->page_size - PAGE_HEAD_SIZE;
		store_entry_table(&file->entry, &file->table);
	}
	if (file->file_id == STORE_CATALOG_FILE_ID)
		file->file = store->catalog_file;
	else if (file->committed)
		rc = open_file(file, err);
	if (rc)
		return rc;
	file->loaded_txid = view->root.txid;
	return ERR_NONE;
}

int store_view_file_load(struct view_file *file, struct err *err)
{
	struct store_view *view = file->view;
	const struct catalog_entry *entry;
	int rc;

	/* Also when it is known already: a later transaction reads it again. */
	if (file->file_id != STORE_SQLITE_FILE_ID)
		view->read_others = true;
	if (file->loaded_txid == view->root.txid &&
	    file->loaded_epoch == view->epoch && view->reading)
		return ERR_NONE;
	if (!view->reading)
		return err_set(err, ERR_INVALID, "read", file->name,
		               "no snapshot is held");
	if (file->loaded_txid != view->root.txid) {
		rc = load_committed(file, err);
		if (rc)
			return rc;
	}
	entry = store_view_file_entry(file);
	file->exists = entry && store_entry_live(entry);
	file->loaded_epoch = view->epoch;
	return ERR_NONE;
}

int store_view_file_entry_edit(struct view_file *file,
                               struct catalog_entry **entry, struct err *err)
{
	int rc = file->entry_edit
	                 ? store_edit_again(file->entry_edit, err)
	                 : store_edit_begin(file, ENTRY_PAGE, &file->entry_edit,
	                                    err);

	if (!rc)
		rc = store_edit_image(file->entry_edit, err);
	if (rc)
		return rc;
	*entry = (struct catalog_entry *)(void *)file->entry_edit->now.image;
	return ERR_NONE;
}

static int no_page(const struct view_file *file, uint32_t page_no,
                   struct err *err)
{
	return err_set(err, ERR_CORRUPT, "read", file->name,
	               "page %u does not exist", page_no);
}

static int edited_bytes(struct edit *edit, const uint8_t **bytes,
                        struct err *err)
{
	switch (edit->now.state) {
	case EDIT_IMAGE:
		edit->used = true;
		*bytes = edit->now.image;
		return ERR_NONE;
	case EDIT_SPILLED:
		return page_file_borrow(edit->file->file, &edit->now.ref,
		                        edit->page_no, bytes, err);
	case EDIT_MOVED:
		return page_file_borrow(edit->file->file, &edit->base,
		                        edit->page_no, bytes, err);
	case EDIT_FREED:
	case EDIT_REMOVED:
		*bytes = NULL;
		return ERR_NONE;
	case EDIT_ABSENT:
		break;
	}
	return ERR_NONE;
}

int store_view_file_read_committed(struct view_file *file, uint32_t page_no,
                                   const uint8_t **bytes, struct err *err)
{
	uint32_t slot = page_no % BORROW_CACHE;
	struct page_ref ref;
	int rc;

	if (file->borrowed[slot].txid == file->loaded_txid &&
	    file->borrowed[slot].page_no == page_no &&
	    file->borrowed[slot].bytes) {
		*bytes = file->borrowed[slot].bytes;
		return ERR_NONE;
	}
	*bytes = NULL;
	if (!file->committed)
		return ERR_NONE;
	rc = page_table_find(file->file, &file->table, page_no, &ref, err);
	if (rc || ref.length == 0 || (ref.flags & REF_FLAG_FREE))
		return rc;
	rc = page_file_borrow(file->file, &ref, page_no, bytes, err);
	if (rc)
		return rc;
	file->borrowed[slot].txid = file->loaded_txid;
	file->borrowed[slot].page_no = page_no;
	file->borrowed[slot].bytes = *bytes;
	return ERR_NONE;
}

int store_view_file_read(struct view_file *file, uint32_t page_no,
                         const uint8_t **bytes, struct err *err)
{
	if (file->edit_count) {
		struct edit *edit = store_edit_find(file->view, file->file_id,
		                                    page_no);

		if (edit && edit->now.state != EDIT_ABSENT)
			return edited_bytes(edit, bytes, err);
	}
	return store_view_file_read_committed(file, page_no, bytes, err);
}

/* --- the pager ---------------------------------------------------------------------- */

static inline struct view_file *file_of(struct pager *pager)
{
	return (struct view_file *)(void *)pager;
}

static int gone(const struct view_file *file, struct err *err)
{
	return err_set(err, ERR_ABORT, "use", file->name,
	               "it does not exist in this transaction any more");
}

static int usable(struct view_file *file, bool write, struct err *err)
{
	int rc = store_view_file_load(file, err);

	if (rc)
		return rc;
	if (!file->exists)
		return gone(file, err);
	if (write && !file->view->writing)
		return err_set(err, ERR_READONLY, "write", file->name,
		               "the transaction is not a write transaction");
	return ERR_NONE;
}

static int method_read(struct pager *pager, uint32_t page_no,
                       const uint8_t **page, struct err *err)
{
	struct view_file *file = file_of(pager);
	const uint8_t *bytes;
	int rc = usable(file, false, err);

	if (!rc)
		rc = store_view_file_read(file, page_no, &bytes, err);
	if (rc)
		return rc;
	if (!bytes)
		return no_page(file, page_no, err);
	if (load_le32(bytes + PAGE_NO_AT) != page_no ||
	    load_le32(bytes + PAGE_FILE_ID_AT) != file->file_id)
		return err_set(err, ERR_CORRUPT, "read", file->name,
		               "page %u says it is page %u of file %u", page_no,
		               load_le32(bytes + PAGE_NO_AT),
		               load_le32(bytes + PAGE_FILE_ID_AT));
	*page = bytes + PAGE_HEAD_SIZE;
	return ERR_NONE;
}

/* A page that is not a private copy yet. */
static int edit_make_private(struct view_file *file, uint32_t page_no,
                             struct edit **edit, struct err *err)
{
	const uint8_t *bytes;
	int rc = store_view_file_read(file, page_no, &bytes, err);

	if (rc)
		return rc;
	if (!bytes || page_no == 0)
		return no_page(file, page_no, err);
	rc = store_edit_begin(file, page_no, edit, err);
	return rc ? rc : store_edit_image(*edit, err);
}

static int method_edit(struct pager *pager, uint32_t page_no, uint8_t **page,
                       struct err *err)
{
	struct view_file *file = file_of(pager);
	struct edit *edit;
	int rc = usable(file, true, err);

	if (rc)
		return rc;
	edit = store_edit_find(file->view, file->file_id, page_no);
	if (edit && edit->now.state == EDIT_IMAGE)
		rc = store_edit_again(edit, err);
	else
		rc = edit_make_private(file, page_no, &edit, err);
	if (rc)
		return rc;
	*page = edit->now.image + PAGE_HEAD_SIZE;
	return ERR_NONE;
}

/* The page number after `page_no` in the chain of free ones. */
static int next_free(struct view_file *file, uint32_t page_no, uint32_t *next,
                     struct err *err)
{
	struct edit *edit = store_edit_find(file->view, file->file_id, page_no);
	struct page_ref ref = { .length = 0 };
	int rc = ERR_NONE;

	if (edit && edit->now.state != EDIT_ABSENT) {
		if (edit->now.state != EDIT_FREED)
			return err_set(err, ERR_CORRUPT, "allocate in",
			               file->name,
			               "page %u is in the chain of free pages, but in use",
			               page_no);
		*next = edit->now.next_free;
		return ERR_NONE;
	}
	if (file->committed)
		rc = page_table_find(file->file, &file->table, page_no, &ref,
		                     err);
	if (rc)
		return rc;
	if (!(ref.flags & REF_FLAG_FREE))
		return err_set(err, ERR_CORRUPT, "allocate in", file->name,
		               "page %u is in the chain of free pages, but not marked free",
		               page_no);
	*next = ref.place;
	return ERR_NONE;
}

static int method_allocate(struct pager *pager, enum page_kind kind,
                           uint32_t *page_no, uint8_t **page, struct err *err)
{
	struct view_file *file = file_of(pager);
	struct catalog_entry *entry;
	struct edit *edit;
	uint32_t number, next = 0, free_head, page_count;
	int rc = usable(file, true, err);

	if (!rc)
		rc = store_view_file_entry_edit(file, &entry, err);
	if (rc)
		return rc;
	free_head = load_le32(entry->bytes + CATALOG_FREE_HEAD_AT);
	page_count = load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT);
	if (free_head >= page_count && free_head)
		return err_set(err, ERR_CORRUPT, "allocate in", file->name,
		               "its first free page is page %u, it has %u pages",
		               free_head, page_count);
	number = free_head ? free_head : page_count;
	if (number >= ENTRY_PAGE)
		return err_set(err, ERR_TOOBIG, "allocate in", file->name,
		               "it has %u pages already", page_count);
	if (free_head)
		rc = next_free(file, free_head, &next, err);
	if (!rc)
		rc = store_edit_begin(file, number, &edit, err);
	if (!rc)
		rc = store_edit_replace(edit, err);
	if (rc)
		return rc;
	memset(edit->now.image, 0, file->page_size);
	edit->now.image[PAGE_KIND_AT] = (uint8_t)kind;
	store_le32(edit->now.image + PAGE_FILE_ID_AT, file->file_id);
	store_le32(edit->now.image + PAGE_NO_AT, number);
	if (free_head) {
		store_le32(entry->bytes + CATALOG_FREE_HEAD_AT, next);
		store_le32(entry->bytes + CATALOG_FREE_COUNT_AT,
		           load_le32(entry->bytes + CATALOG_FREE_COUNT_AT) - 1);
	} else {
		store_le32(entry->bytes + CATALOG_PAGE_COUNT_AT,
		           page_count + 1);
	}
	*page_no = number;
	*page = edit->now.image + PAGE_HEAD_SIZE;
	return ERR_NONE;
}

static int method_free(struct pager *pager, uint32_t page_no, struct err *err)
{
	struct view_file *file = file_of(pager);
	struct catalog_entry *entry;
	struct edit *edit;
	const uint8_t *bytes;
	int rc = usable(file, true, err);

	if (!rc)
		rc = store_view_file_read(file, page_no, &bytes, err);
	if (!rc && (!bytes || page_no == 0))
		rc = no_page(file, page_no, err);
	if (!rc)
		rc = store_view_file_entry_edit(file, &entry, err);
	if (!rc)
		rc = store_edit_begin(file, page_no, &edit, err);
	if (rc)
		return rc;
	store_edit_state(edit, EDIT_FREED);
	edit->now.next_free = load_le32(entry->bytes + CATALOG_FREE_HEAD_AT);
	store_le32(entry->bytes + CATALOG_FREE_HEAD_AT, page_no);
	store_le32(entry->bytes + CATALOG_FREE_COUNT_AT,
	           load_le32(entry->bytes + CATALOG_FREE_COUNT_AT) + 1);
	return ERR_NONE;
}

static int method_state_read(struct pager *pager, const uint8_t **state,
                             struct err *err)
{
	struct view_file *file = file_of(pager);
	int rc = usable(file, false, err);

	if (!rc)
		*state = store_view_file_entry(file)->bytes + CATALOG_STATE_AT;
	return rc;
}

static int method_state_edit(struct pager *pager, uint8_t **state,
                             struct err *err)
{
	struct view_file *file = file_of(pager);
	struct catalog_entry *entry;
	int rc = usable(file, true, err);

	if (!rc)
		rc = store_view_file_entry_edit(file, &entry, err);
	if (!rc)
		*state = entry->bytes + CATALOG_STATE_AT;
	return rc;
}

static void method_prefetch(struct pager *pager, uint32_t page_no)
{
	struct view_file *file = file_of(pager);
	struct page_ref ref;
	struct err err;

	if (usable(file, false, &err) || !file->committed ||
	    page_table_find(file->file, &file->table, page_no, &ref, &err) ||
	    ref.length == 0)
		return;
	page_file_prefetch(file->file, &ref);
}

static void method_release(struct pager *pager, uint32_t page_no,
                           const uint8_t *page)
{
	(void)pager, (void)page_no, (void)page;
}

static const struct pager_methods pager_methods = {
	.read = method_read,
	.edit = method_edit,
	.allocate = method_allocate,
	.free = method_free,
	.state_read = method_state_read,
	.state_edit = method_state_edit,
	.prefetch = method_prefetch,
	.release = method_release,
};

int store_pager(struct store_view *view, uint32_t file_id,
                struct pager **pager, struct err *err)
{
	struct view_file *file;
	int rc = store_view_file(view, file_id, &file, err);

	if (rc)
		return rc;
	if (!file->exists)
		return err_set(err, ERR_MISSING, "open", view->store->path,
		               "there is no file %u", file_id);
	*pager = &file->pager;
	return ERR_NONE;
}
