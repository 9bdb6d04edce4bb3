/*
 * view_files.c - making, dropping and listing files in a transaction.
 */
#include "vfs/store_private.h"

static void hint_sanitise(const char *hint, uint8_t out[CATALOG_HINT_SIZE])
{
	size_t used = 0;

	memset(out, 0, CATALOG_HINT_SIZE);
	for (; *hint && used < 40; hint++) {
		char c = *hint;
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		             (c >= 'a' && c <= 'z') || c == '-' || c == '_';

		out[used++] = (uint8_t)(plain ? c : '_');
	}
	if (!used)
		out[0] = '_';
}

/* Ids go up within a transaction even when a savepoint takes a creation back. */
static int next_id(struct store_view *view, uint32_t *file_id, struct err *err)
{
	struct view_file *catalog;
	struct catalog_entry *entry;
	uint32_t next;
	int rc = store_view_file(view, STORE_CATALOG_FILE_ID, &catalog, err);

	if (!rc)
		rc = store_view_file_entry_edit(catalog, &entry, err);
	if (rc)
		return rc;
	next = load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT);
	if (next < view->next_file_id)
		next = view->next_file_id;
	if (next >= UINT32_MAX / 2)
		return err_set(err, ERR_TOOBIG, "create", view->store->path,
		               "all file ids are used up");
	if (!view->first_new_file_id)
		view->first_new_file_id = next;
	store_le32(entry->bytes + CATALOG_PAGE_COUNT_AT, next + 1);
	view->next_file_id = next + 1;
	*file_id = next;
	return ERR_NONE;
}

int store_file_create(struct store_view *view, enum store_file_kind kind,
                      const char *hint, uint32_t page_size, uint32_t *file_id,
                      struct err *err)
{
	struct view_file *file;
	struct catalog_entry *entry;
	uint32_t id = kind == STORE_FILE_SQLITE ? STORE_SQLITE_FILE_ID
	                                        : STORE_DICTIONARY_FILE_ID;
	int rc = ERR_NONE;

	if (!view->writing)
		return err_set(err, ERR_READONLY, "create", hint,
		               "the transaction is not a write transaction");
	if (page_size != STORE_PAGE_SIZE && page_size != PLACE_SIZE)
		return err_set(err, ERR_INVALID, "create", hint,
		               "pages of %u bytes are not supported",
		               page_size);
	if (kind != STORE_FILE_SQLITE && kind != STORE_FILE_DICTIONARY)
		rc = next_id(view, &id, err);
	if (!rc)
		rc = store_view_file(view, id, &file, err);
	if (rc)
		return rc;
	if (file->exists && id < STORE_FIRST_FREE_FILE_ID)
		return err_set(err, ERR_EXISTS, "create", file->name,
		               "it is there already");
	if (file->exists)
		return err_set(err, ERR_CORRUPT, "create", file->name,
		               "the catalog gives a new file number %u, and has a file of that number",
		               id);
	rc = store_view_file_entry_edit(file, &entry, err);
	if (rc)
		return rc;
	memset(entry->bytes, 0, CATALOG_ENTRY_SIZE);
	store_le32(entry->bytes + CATALOG_ID_AT, id);
	entry->bytes[CATALOG_KIND_AT] = (uint8_t)kind;
	store_le32(entry->bytes + CATALOG_PAGE_SIZE_AT, page_size);
	store_le32(entry->bytes + CATALOG_PAGE_COUNT_AT,
	           kind == STORE_FILE_SQLITE ? 0 : 1);
	store_le64(entry->bytes + CATALOG_BIRTH_AT, view->root.txid + 1);
	hint_sanitise(hint, entry->bytes + CATALOG_HINT_AT);
	file->page_size = page_size;
	file->units = store_units(page_size);
	file->pager.usable_size = page_size - PAGE_HEAD_SIZE;
	store_entry_name(entry, file->name);
	rc = store_files_make(view->store, entry, &file->file, err);
	if (rc) {
		store_value_drop(file->entry_edit, &file->entry_edit->now);
		return rc;
	}
	file->exists = true;
	*file_id = id;
	return ERR_NONE;
}

int store_file_drop(struct store_view *view, uint32_t file_id, struct err *err)
{
	struct view_file *file;
	int rc;

	if (!view->writing)
		return err_set(err, ERR_READONLY, "drop", view->store->path,
		               "the transaction is not a write transaction");
	rc = store_view_file(view, file_id, &file, err);
	if (rc)
		return rc;
	if (!file->exists || file_id < STORE_DICTIONARY_FILE_ID)
		return err_set(err, ERR_MISSING, "drop", view->store->path,
		               "there is no file %u", file_id);
	rc = store_edit_begin(file, ENTRY_PAGE, &file->entry_edit, err);
	if (rc)
		return rc;
	store_edit_state(file->entry_edit, EDIT_REMOVED);
	view->drops = true;
	view->epoch++;
	return ERR_NONE;
}

static void info_of(const struct catalog_entry *entry,
                    struct store_file_info *info)
{
	*info = (struct store_file_info){
		.file_id = load_le32(entry->bytes + CATALOG_ID_AT),
		.kind = (enum store_file_kind)entry->bytes[CATALOG_KIND_AT],
		.page_size = load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT),
		.page_count = load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT),
		.free_pages = load_le32(entry->bytes + CATALOG_FREE_COUNT_AT),
	};
	store_entry_name(entry, info->name);
}

int store_file_info(struct store_view *view, uint32_t file_id,
                    struct store_file_info *info, struct err *err)
{
	struct view_file *file;
	int rc = store_view_file(view, file_id, &file, err);

	if (rc)
		return rc;
	if (!file->exists)
		return err_set(err, ERR_MISSING, "read", view->store->path,
		               "there is no file %u", file_id);
	info_of(store_view_file_entry(file), info);
	return ERR_NONE;
}

struct listing {
	struct store_view *view;
	int (*each)(void *context, const struct store_file_info *info);
	void *context;
};

/* A file as this transaction has it; `committed` NULL when only it does. */
static int list_file(const struct listing *listing, uint32_t file_id,
                     const struct catalog_entry *committed)
{
	struct edit *edit = store_edit_find(listing->view, file_id, ENTRY_PAGE);
	struct catalog_entry entry;
	struct store_file_info info;

	if (edit && edit->now.state == EDIT_IMAGE)
		memcpy(entry.bytes, edit->now.image, CATALOG_ENTRY_SIZE);
	else if (committed && !(edit && edit->now.state == EDIT_REMOVED))
		entry = *committed;
	else
		return ERR_NONE;
	if (!store_entry_live(&entry))
		return ERR_NONE;
	info_of(&entry, &info);
	return listing->each(listing->context, &info);
}

static int list_committed(void *context, uint32_t file_id,
                          const struct catalog_entry *entry, struct err *err)
{
	(void)err;
	return file_id < STORE_FIRST_FREE_FILE_ID
	               ? ERR_NONE : list_file(context, file_id, entry);
}

/* By id: the two with fixed ids, which may be of this transaction, what is
 * committed, what is new. */
int store_file_each(struct store_view *view,
                    int (*each)(void *context,
                                const struct store_file_info *info),
                    void *context, struct err *err)
{
	struct listing listing = { view, each, context };
	struct view_file *catalog;
	int rc = store_view_file(view, STORE_CATALOG_FILE_ID, &catalog, err);

	for (uint32_t id = STORE_SQLITE_FILE_ID;
	     !rc && id < STORE_FIRST_FREE_FILE_ID; id++) {
		struct catalog_entry entry;

		rc = store_catalog_read(view->store, &view->root.catalog, id,
		                        &entry, err);
		if (!rc)
			rc = list_file(&listing, id,
			               store_entry_live(&entry) ? &entry : NULL);
	}
	if (!rc)
		rc = store_catalog_each(view->store, &view->root.catalog,
		                        list_committed, &listing, err);
	for (uint32_t id = view->first_new_file_id;
	     !rc && id && id < view->next_file_id; id++)
		rc = list_file(&listing, id, NULL);
	return rc;
}
