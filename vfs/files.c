/*
 * files.c - the page files that this process has open, by file id.
 *
 * A file is opened when a view first needs it and stays open until the store is
 * closed or the file removed: pointers that views keep stay good. Ids are never
 * used twice, so an entry is never wrong, only no longer needed.
 */
#include "vfs/store_private.h"

static uint32_t slot_of(const struct store *store, uint32_t file_id)
{
	uint32_t mask = store->files_room - 1;
	uint32_t i = file_id * 2654435761u & mask;

	while (store->files[i] &&
	       page_file_identity_of(store->files[i])->file_id != file_id)
		i = (i + 1) & mask;
	return i;
}

static int room_for_one(struct store *store, struct err *err)
{
	struct page_file **old = store->files;
	uint32_t old_room = store->files_room;
	uint32_t room = old_room ? old_room * 2 : 16;
	struct page_file **larger;

	if (store->files_count * 2 + 2 <= old_room)
		return ERR_NONE;
	larger = heap_zeroed(store->heap, room * sizeof *larger);
	if (!larger)
		return err_set(err, ERR_NOMEM, "open", store->path,
		               "table of %u files", room);
	store->files = larger;
	store->files_room = room;
	for (uint32_t i = 0; i < old_room; i++)
		if (old[i])
			larger[slot_of(store,
				page_file_identity_of(old[i])->file_id)] = old[i];
	heap_free(store->heap, old);
	return ERR_NONE;
}

static int open_or_make(struct store *store, const struct catalog_entry *entry,
                        bool make, struct page_file **file, struct err *err)
{
	struct page_file_identity identity;
	struct os_identity meta;
	int rc;

	store_entry_identity(store, entry, &identity);
	if (!make) {
		rc = page_file_open(store->dir, store->heap, &identity,
		                    !store->options.immutable, file, err);
		/* A file system that has become read-only can still be read. */
		if (rc == ERR_READONLY)
			rc = page_file_open(store->dir, store->heap, &identity,
			                    false, file, err);
		return rc;
	}
	rc = store->os->methods->identity(store->meta, &meta, err);
	if (rc)
		return rc;
	return page_file_create(store->dir, store->heap, &identity, meta.mode,
	                        file, err);
}

static int get(struct store *store, const struct catalog_entry *entry,
               bool make, struct page_file **file, struct err *err)
{
	uint32_t file_id = load_le32(entry->bytes + CATALOG_ID_AT), slot;
	int rc;

	lock_take(&store->files_lock);
	rc = room_for_one(store, err);
	if (rc)
		goto release;
	slot = slot_of(store, file_id);
	if (!store->files[slot]) {
		rc = open_or_make(store, entry, make, &store->files[slot], err);
		if (rc) {
			store->files[slot] = NULL;
			goto release;
		}
		store->files_count++;
	}
	*file = store->files[slot];
release:
	lock_release(&store->files_lock);
	return rc;
}

int store_files_get(struct store *store, const struct catalog_entry *entry,
                    struct page_file **file, struct err *err)
{
	char name[96];
	int rc = get(store, entry, false, file, err);

	rc = store_missing(store, rc, err);
	if (rc != ERR_MISSING)
		return rc;
	store_entry_name(entry, name);
	return err_set(err, ERR_CORRUPT, "open", name,
	               "the catalog names it, but it is not there");
}

int store_files_make(struct store *store, const struct catalog_entry *entry,
                     struct page_file **file, struct err *err)
{
	return store_missing(store, get(store, entry, true, file, err), err);
}

/* Deletion under open addressing: what follows is entered again. */
void store_files_close(struct store *store, uint32_t file_id)
{
	uint32_t mask = store->files_room - 1, i;

	lock_take(&store->files_lock);
	i = store->files_room ? slot_of(store, file_id) : 0;
	if (store->files_room && store->files[i]) {
		page_file_close(store->files[i]);
		store->files[i] = NULL;
		store->files_count--;
		for (i = (i + 1) & mask; store->files[i]; i = (i + 1) & mask) {
			struct page_file *moved = store->files[i];

			store->files[i] = NULL;
			store->files[slot_of(store,
				page_file_identity_of(moved)->file_id)] = moved;
		}
	}
	lock_release(&store->files_lock);
}

void store_files_distrust(struct store *store)
{
	lock_take(&store->files_lock);
	for (uint32_t i = 0; i < store->files_room; i++)
		if (store->files[i])
			page_file_distrust(store->files[i]);
	lock_release(&store->files_lock);
	page_file_distrust(store->catalog_file);
}

void store_files_close_all(struct store *store)
{
	for (uint32_t i = 0; i < store->files_room; i++)
		if (store->files[i])
			page_file_close(store->files[i]);
	heap_free(store->heap, store->files);
	store->files = NULL;
	store->files_room = store->files_count = 0;
}

/* Other processes may still have the file open, though no snapshot needs it:
 * truncating first gives the space back at once. */
int store_files_remove(struct store *store, uint32_t file_id, const char *name,
                       struct err *err)
{
	struct os_file *file;
	int rc;

	store_files_close(store, file_id);
	space_file_forget(&store->space, file_id);
	rc = os_open(store->dir, name, OS_OPEN_WRITE, 0, &file, err);
	if (rc == ERR_MISSING)
		return ERR_NONE;
	if (rc)
		return rc;
	rc = store->os->methods->truncate(file, 0, err);
	os_close(file);
	if (!rc)
		rc = store->os->methods->unlink(store->dir, name, err);
	return rc == ERR_MISSING ? ERR_NONE : rc;
}
