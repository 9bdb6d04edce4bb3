/*
 * orphans.c - files under root/ that no snapshot knows are removed.
 *
 * A file appears before the record that names it, and goes only when nothing needs it
 * any more: whoever dies in between leaves an orphan. Only what was made here is
 * removed; anything else under such a name is somebody else's.
 */
#include "vfs/store_private.h"

#include <stdio.h>

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

/* In rounds, as many files at a time as there is room to note. (rule 12) */
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
