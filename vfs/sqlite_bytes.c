/*
 * sqlite_bytes.c - SQLite's own file as flat bytes over pages of 16 KB.
 *
 * A page of zeros is absent and takes neither a place nor log: with secure_delete,
 * Debian's default, SQLite fills with zeros what it frees, and a DROP TABLE on a full
 * disk has no room for that.
 *
 * Where the change counter in the first page really is: sqlite_head.c.
 *
 * Logical page p holds bytes [p * 16384, (p + 1) * 16384); the length in bytes is
 * in the file's state. The file is made by the first write.
 */
#include "vfs/store_private.h"

enum { MANY_PAGES = 4096 };

static int sqlite_file(struct store_view *view, struct view_file **file,
                       struct err *err)
{
	if (view->sqlite) {
		*file = view->sqlite;
		return store_view_file_load(view->sqlite, err);
	}
	return store_view_file(view, STORE_SQLITE_FILE_ID, file, err);
}

static uint64_t size_of(const struct view_file *file)
{
	if (!file->exists)
		return 0;
	return load_le64(store_view_file_entry(file)->bytes + CATALOG_STATE_AT +
	                 SQLITE_STATE_SIZE_AT);
}

int store_sqlite_size(struct store_view *view, uint64_t *bytes,
                      struct err *err)
{
	struct view_file *file;
	int rc = sqlite_file(view, &file, err);

	if (!rc)
		*bytes = size_of(file);
	return rc;
}

typedef int page_reader(struct view_file *file, uint32_t page_no,
                        const uint8_t **bytes, struct err *err);

static int read_range(struct view_file *file, page_reader *read_page,
                      uint64_t end, uint64_t offset, uint8_t *to, size_t size,
                      size_t *got, struct err *err)
{
	if (offset >= end)
		return ERR_NONE;
	if (size > end - offset)
		size = (size_t)(end - offset);
	while (*got < size) {
		uint64_t at = offset + *got;
		uint32_t inside = (uint32_t)(at % STORE_PAGE_SIZE);
		size_t part = STORE_PAGE_SIZE - inside;
		const uint8_t *page;
		int rc;

		if (part > size - *got)
			part = size - *got;
		rc = read_page(file, (uint32_t)(at / STORE_PAGE_SIZE), &page,
		               err);
		if (rc)
			return rc;
		if (page)
			memcpy(to + *got, page + inside, part);
		else
			memset(to + *got, 0, part);
		*got += part;
	}
	return ERR_NONE;
}

int store_sqlite_read(struct store_view *view, uint64_t offset, void *bytes,
                      size_t size, size_t *got, struct err *err)
{
	struct view_file *file;
	int rc = sqlite_file(view, &file, err);

	*got = 0;
	if (!rc)
		rc = read_range(file, store_view_file_read, size_of(file),
		                offset, bytes, size, got, err);
	if (!rc && *got)
		store_sqlite_head_read(store_view_file_entry(file), offset,
		                       bytes, *got);
	return rc;
}

int store_sqlite_read_committed(struct store_view *view, uint64_t offset,
                                void *bytes, size_t size, size_t *got,
                                struct err *err)
{
	struct view_file *file;
	int rc = sqlite_file(view, &file, err);
	uint64_t end;

	*got = 0;
	if (rc || !file->committed)
		return rc;
	end = load_le64(file->entry.bytes + CATALOG_STATE_AT +
	                SQLITE_STATE_SIZE_AT);
	rc = read_range(file, store_view_file_read_committed, end, offset,
	                bytes, size, got, err);
	if (!rc)
		store_sqlite_head_read(&file->entry, offset, bytes, *got);
	return rc;
}

int store_sqlite_fetch(struct store_view *view, uint64_t offset, size_t size,
                       const uint8_t **bytes, struct err *err)
{
	struct view_file *file;
	uint32_t inside = (uint32_t)(offset % STORE_PAGE_SIZE);
	int rc = sqlite_file(view, &file, err);

	*bytes = NULL;
	if (rc || offset + size > size_of(file) ||
	    inside + size > STORE_PAGE_SIZE ||
	    store_sqlite_head_apart(store_view_file_entry(file), offset))
		return rc;
	rc = store_view_file_read(file, (uint32_t)(offset / STORE_PAGE_SIZE),
	                          bytes, err);
	if (!rc && *bytes)
		*bytes += inside;
	return rc;
}

static int size_set(struct view_file *file, uint64_t bytes, struct err *err)
{
	struct catalog_entry *entry;
	int rc = store_view_file_entry_edit(file, &entry, err);

	if (rc)
		return rc;
	store_le64(entry->bytes + CATALOG_STATE_AT + SQLITE_STATE_SIZE_AT,
	           bytes);
	store_le32(entry->bytes + CATALOG_PAGE_COUNT_AT,
	           (uint32_t)((bytes + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE));
	return ERR_NONE;
}

static int ready_to_write(struct store_view *view, struct view_file **file,
                          struct err *err)
{
	uint32_t file_id;
	int rc = sqlite_file(view, file, err);

	if (rc)
		return rc;
	if (!view->writing)
		return err_set(err, ERR_READONLY, "write", "root/sqlite.tbd",
		               "the transaction is not a write transaction");
	if ((*file)->exists)
		return ERR_NONE;
	return store_file_create(view, STORE_FILE_SQLITE, "sqlite",
	                         STORE_PAGE_SIZE, &file_id, err);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return load_le64(bytes) == 0 && memcmp(bytes, store_zeros, size) == 0;
}

static int write_part(struct view_file *file, uint64_t at, const uint8_t *bytes,
                      size_t part, struct err *err)
{
	uint32_t page_no = (uint32_t)(at / STORE_PAGE_SIZE);
	struct catalog_entry *apart = NULL;
	struct edit *edit;
	bool counted = false;
	int rc = ERR_NONE;

	if (at == 0)
		rc = store_sqlite_head_write(file, bytes, part, &counted, err);
	if (rc || counted)
		return rc;
	if (store_sqlite_head_apart(store_view_file_entry(file), at))
		rc = store_view_file_entry_edit(file, &apart, err);
	if (!rc)
		rc = store_edit_begin(file, page_no, &edit, err);
	if (rc)
		return rc;
	if (page_no && part == STORE_PAGE_SIZE && is_zero(bytes, part)) {
		store_edit_state(edit, EDIT_REMOVED);
		return ERR_NONE;
	}
	if (part == STORE_PAGE_SIZE && store_spill_at_once(edit)) {
		rc = store_spill_bytes(edit, bytes, err);
		if (!rc && apart)
			store_sqlite_head_rejoin(apart, NULL);
		return rc;
	}
	rc = part == STORE_PAGE_SIZE ? store_edit_replace(edit, err)
	                             : store_edit_image(edit, err);
	if (rc)
		return rc;
	if (apart)
		store_sqlite_head_rejoin(apart, edit->now.image);
	memcpy(edit->now.image + at % STORE_PAGE_SIZE, bytes, part);
	return ERR_NONE;
}

int store_sqlite_write(struct store_view *view, uint64_t offset,
                       const void *bytes, size_t size, struct err *err)
{
	struct view_file *file;
	size_t done = 0;
	int rc = ready_to_write(view, &file, err);

	if (rc)
		return rc;
	if (offset + size > (uint64_t)ENTRY_PAGE * STORE_PAGE_SIZE)
		return err_set(err, ERR_TOOBIG, "write", file->name,
		               "offset %llu is beyond the largest file",
		               (unsigned long long)offset);
	while (done < size) {
		uint64_t at = offset + done;
		size_t part = STORE_PAGE_SIZE - (size_t)(at % STORE_PAGE_SIZE);

		if (part > size - done)
			part = size - done;
		rc = write_part(file, at, (const uint8_t *)bytes + done, part,
		                err);
		if (rc)
			return rc;
		done += part;
	}
	if (offset + size > size_of(file))
		rc = size_set(file, offset + size, err);
	return rc;
}

static int page_remove(struct view_file *file, uint32_t page_no, struct err *err)
{
	struct edit *edit;
	int rc = store_edit_begin(file, page_no, &edit, err);

	if (!rc)
		store_edit_state(edit, EDIT_REMOVED);
	return rc;
}

struct removing {
	struct view_file *file;
	uint64_t pages; /* that stay */
};

static int ref_remove(void *context, uint32_t level, uint64_t index,
                      const struct page_ref *ref, struct err *err)
{
	struct removing *removing = context;

	(void)ref;
	return level || index < removing->pages
	               ? ERR_NONE
	               : page_remove(removing->file, (uint32_t)index, err);
}

/* Those of many that there are: a length may count any number of pages. */
static int pages_remove_many(struct view_file *file, uint64_t pages,
                             struct err *err)
{
	struct removing removing = { .file = file, .pages = pages };
	int rc = ERR_NONE;

	for (struct edit *edit = file->view->first_edit; !rc && edit;
	     edit = edit->next)
		if (edit->file_id == file->file_id && edit->page_no >= pages &&
		    edit->page_no != ENTRY_PAGE)
			rc = page_remove(file, edit->page_no, err);
	if (rc || !file->committed)
		return rc;
	return page_table_walk(file->file, &file->table, 0, ref_remove,
	                       &removing, err);
}

static int pages_remove(struct view_file *file, uint64_t pages, struct err *err)
{
	uint64_t old = (size_of(file) + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE;
	int rc = ERR_NONE;

	if (old > pages + MANY_PAGES)
		return pages_remove_many(file, pages, err);
	for (uint64_t page_no = pages; !rc && page_no < old; page_no++)
		rc = page_remove(file, (uint32_t)page_no, err);
	return rc;
}

int store_sqlite_truncate(struct store_view *view, uint64_t bytes,
                          struct err *err)
{
	struct catalog_entry *entry;
	struct view_file *file;
	int rc = ready_to_write(view, &file, err);

	if (!rc && bytes == 0 &&
	    store_sqlite_head_apart(store_view_file_entry(file), 0)) {
		rc = store_view_file_entry_edit(file, &entry, err);
		if (!rc)
			store_sqlite_head_rejoin(entry, NULL);
	}
	if (!rc)
		rc = pages_remove(file, (bytes + STORE_PAGE_SIZE - 1) /
		                        STORE_PAGE_SIZE, err);
	if (rc)
		return rc;
	if (bytes < size_of(file) && bytes % STORE_PAGE_SIZE) {
		static const uint8_t zeros[STORE_PAGE_SIZE];

		rc = write_part(file, bytes, zeros,
		                STORE_PAGE_SIZE - (size_t)(bytes % STORE_PAGE_SIZE),
		                err);
		if (rc)
			return rc;
	}
	return size_set(file, bytes, err);
}
