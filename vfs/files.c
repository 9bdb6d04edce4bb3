/*
 * files.c - the page files that this process has open, by file id.
 *
 * A file is opened when a view first needs it and stays open until the store is
 * closed or the file removed: pointers that views keep stay good. Ids are never
 * used twice, so an entry is never wrong, only no longer needed.
 */
#include "vfs/store_private.h"

#include <stdio.h>

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

	if (rc != ERR_MISSING)
		return rc;
	store_entry_name(entry, name);
	return err_set(err, ERR_CORRUPT, "open", name,
	               "the catalog names it, but it is not there");
}

int store_files_make(struct store *store, const struct catalog_entry *entry,
                     struct page_file **file, struct err *err)
{
	return get(store, entry, true, file, err);
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

enum { ORPHANS_AT_ONCE = 64 };

struct orphan_search {
	struct store *store;
	const struct store_root *durable;
	struct store_root newest;
	uint32_t next_file_id;
	uint32_t found[ORPHANS_AT_ONCE];
	char names[ORPHANS_AT_ONCE][96];
	uint32_t count, removed;
	struct err *err;
};

static int known(struct store *store, const struct store_root *root,
                 uint32_t file_id, bool *is_known, struct err *err)
{
	struct catalog_entry entry;
	int rc = store_catalog_read(store, &root->catalog, file_id, &entry, err);

	if (!rc && store_entry_live(&entry))
		*is_known = true;
	return rc;
}

static int is_needed(const struct orphan_search *search, uint32_t file_id,
                     bool *needed)
{
	struct store *store = search->store;
	const struct shm_head *head = store->shm.head;
	uint32_t retained = atomic_load(&head->retained_count);
	int rc;

	*needed = false;
	rc = known(store, search->durable, file_id, needed, search->err);
	if (!rc && !*needed && search->newest.txid)
		rc = known(store, &search->newest, file_id, needed, search->err);
	for (uint32_t i = 0; !rc && !*needed && i < retained; i++)
		rc = known(store, &head->retained[i], file_id, needed,
		           search->err);
	return rc;
}

static int note_orphan(void *context, const char *name)
{
	struct orphan_search *search = context;
	unsigned file_id;
	bool needed;
	int used = 0, rc;

	if (sscanf(name, "%9u-%n", &file_id, &used) != 1 || used == 0 ||
	    strlen(name) > 80 || file_id < STORE_DICTIONARY_FILE_ID ||
	    file_id >= search->next_file_id ||
	    search->count == ORPHANS_AT_ONCE)
		return 0;
	rc = is_needed(search, file_id, &needed);
	if (rc || needed)
		return rc;
	search->found[search->count] = file_id;
	snprintf(search->names[search->count++], 96, "root/%s", name);
	return 0;
}

/* A file that was made here and never committed, or dropped: its header is ours, or
 * was not written yet. Anything else under such a name is somebody else's and stays. */
static int made_here(struct store *store, const char *name, uint32_t file_id,
                     bool *is_ours, struct err *err)
{
	static const uint8_t blank[FILE_HEADER_SIZE];
	uint8_t header[FILE_HEADER_SIZE] = { 0 };
	struct os_file *file;
	size_t got;
	int rc = os_open(store->dir, name, OS_OPEN_READ, 0, &file, err);

	*is_ours = false;
	if (rc == ERR_MISSING || rc == ERR_CANTOPEN)
		return ERR_NONE;
	if (rc)
		return rc;
	rc = os_read_some(file, 0, header, sizeof header, &got, err);
	os_close(file);
	if (rc)
		return rc;
	*is_ours = memcmp(header, blank, sizeof header) == 0 ||
	           (load_le64(header + FILE_MAGIC_AT) == FILE_MAGIC &&
	            load_le32(header + FILE_ID_AT) == file_id &&
	            load_le64(header + FILE_DATABASE_AT) ==
	                    store->database[0] &&
	            load_le64(header + FILE_DATABASE_AT + 8) ==
	                    store->database[1]);
	return ERR_NONE;
}

static int remove_found(struct orphan_search *search)
{
	int rc = ERR_NONE;

	search->removed = 0;
	for (uint32_t i = 0; !rc && i < search->count; i++) {
		bool is_ours = false;

		rc = made_here(search->store, search->names[i],
		               search->found[i], &is_ours, search->err);
		if (rc || !is_ours)
			continue;
		rc = store_files_remove(search->store, search->found[i],
		                        search->names[i], search->err);
		search->removed++;
	}
	return rc;
}

/* In rounds, as many files at a time as there is room to note. */
int store_files_remove_orphans(struct store *store,
                               const struct store_root *durable,
                               bool alone, struct err *err)
{
	struct orphan_search search = { .store = store, .durable = durable,
		                        .err = err };
	struct catalog_entry own;
	int rc = store_catalog_read(store, &durable->catalog,
	                            STORE_CATALOG_FILE_ID, &own, err);

	if (rc)
		return rc;
	search.next_file_id = alone ? UINT32_MAX
	                            : load_le32(own.bytes +
	                                        CATALOG_PAGE_COUNT_AT);
	store_newest_root(store, &search.newest);
	do {
		search.count = 0;
		rc = store->os->methods->directory_list(
			store->dir, "root", note_orphan, &search, err);
		if (!rc)
			rc = remove_found(&search);
	} while (!rc && search.count == ORPHANS_AT_ONCE && search.removed);
	return rc;
}
