/*
 * retained.c - which snapshots keep their places, and what becomes free when one
 * goes away.
 *
 * Retained are the snapshots of live readers, the durable checkpoint and the
 * candidate. The list in shared memory holds those older than the newest commit,
 * ascending by txid; only the holder of the writer lock touches it.
 *
 * (K1) A version born at b and superseded by t is free at once when no retained
 *      root lies in [b, t).
 * (K2) When root R goes away, what R reaches and its next newer neighbour does not,
 *      born after R's next older neighbour, is free. Nothing else becomes free.
 */
#include "vfs/store_private.h"

#include <assert.h>

static bool pinned_by_slot(const struct store *store, uint64_t txid)
{
	const struct shm_head *head = store->shm.head;
	uint32_t used = atomic_load(&head->slots_used);

	if (PLANTED(store->environment, PLANT_REUSE_UNDER_READER))
		return false;
	for (uint32_t i = 0; i < used; i++)
		if (atomic_load(&head->slots[i].txid) == txid)
			return true;
	return false;
}

static bool is_live(const struct store *store, uint64_t txid)
{
	const struct shm_head *head = store->shm.head;

	if (txid == atomic_load(&head->durable_txid))
		return true;
	if (txid == atomic_load(&head->candidate_txid) &&
	    !PLANTED(store->environment, PLANT_REUSE_UNDER_CANDIDATE))
		return true;
	return pinned_by_slot(store, txid);
}

struct reclaim {
	struct store *store;
	const struct store_root *newer;
	uint64_t older_txid;
	uint32_t file_id;
	bool count_only;
	uint64_t units; /* counted */
};

static int give_back_in(struct reclaim *reclaim, uint32_t file_id,
                        const struct page_ref *ref, struct err *err)
{
	uint32_t units = page_ref_units(ref);

	if (ref->birth <= reclaim->older_txid)
		return ERR_NONE;
	reclaim->units += units;
	if (reclaim->count_only)
		return ERR_NONE;
	return space_give(&reclaim->store->space, file_id, ref->place, units,
	                  err);
}

static int give_back(void *context, uint32_t level, uint64_t index,
                     const struct page_ref *ref, struct err *err)
{
	struct reclaim *reclaim = context;

	(void)level, (void)index;
	return give_back_in(reclaim, reclaim->file_id, ref, err);
}

static int give_back_catalog(void *context, uint32_t level, uint64_t index,
                             const struct page_ref *ref, struct err *err)
{
	struct reclaim *reclaim = context;

	(void)level, (void)index;
	if (!reclaim->count_only &&
	    !space_file_built(&reclaim->store->space, STORE_CATALOG_FILE_ID))
		return ERR_NONE;
	return give_back_in(reclaim, STORE_CATALOG_FILE_ID, ref, err);
}

/* A dropped file goes as a whole. */
static int count_file(struct reclaim *reclaim, const struct catalog_entry *entry,
                      struct err *err)
{
	struct page_file *file;
	uint64_t capacity;
	int rc = store_files_get(reclaim->store, entry, &file, err);

	if (!rc)
		rc = page_file_capacity(file, &capacity, err);
	if (!rc)
		reclaim->units += capacity;
	return rc;
}

static int reclaim_file(void *context, uint32_t file_id,
                        const struct catalog_entry *entry, struct err *err)
{
	struct reclaim *reclaim = context;
	struct store *store = reclaim->store;
	struct page_table old_table, new_table;
	struct catalog_entry newer;
	struct page_file *file;
	int rc;

	if (!reclaim->count_only && !space_file_built(&store->space, file_id))
		return ERR_NONE;
	rc = store_catalog_read(store, &reclaim->newer->catalog, file_id, &newer,
	                        err);
	if (rc)
		return rc;
	if (!store_entry_live(&newer))
		return reclaim->count_only ? count_file(reclaim, entry, err)
		                           : ERR_NONE;
	store_entry_table(entry, &old_table);
	store_entry_table(&newer, &new_table);
	if (old_table.root.place == new_table.root.place &&
	    old_table.root.birth == new_table.root.birth)
		return ERR_NONE;
	rc = store_files_get(store, entry, &file, err);
	if (rc)
		return rc;
	reclaim->file_id = file_id;
	return page_table_difference(file, &old_table, &new_table, give_back,
	                             reclaim, err);
}

/* (K2) for one root. */
static int reclaim_root(struct store *store, const struct store_root *gone,
                        const struct store_root *newer, uint64_t older_txid,
                        struct err *err)
{
	struct reclaim reclaim = { .store = store, .newer = newer,
	                           .older_txid = older_txid };

	return store_catalog_difference(store, &gone->catalog, &newer->catalog,
	                                reclaim_file, give_back_catalog,
	                                &reclaim, err);
}

static void list_remove(struct shm_head *head, uint32_t i)
{
	uint32_t count = atomic_load(&head->retained_count);

	memmove(&head->retained[i], &head->retained[i + 1],
	        (count - i - 1) * sizeof head->retained[0]);
	atomic_store(&head->retained_count, count - 1);
}

static void list_append(struct shm_head *head, const struct store_root *root)
{
	uint32_t count = atomic_load(&head->retained_count);

	if (count && head->retained[count - 1].txid >= root->txid)
		return;
	if (count == SHM_RETAINED)
		return; /* cannot be: one per slot and a few */
	assert(count == 0 || head->retained[count - 1].txid < root->txid);
	head->retained[count] = *root;
	atomic_store(&head->retained_count, count + 1);
}

int store_retained_update(struct store *store, const struct store_root *newest,
                          const struct store_root *previous, struct err *err)
{
	struct shm_head *head = store->shm.head;
	int rc = ERR_NONE;

	if (previous && is_live(store, previous->txid))
		list_append(head, previous);
	for (uint32_t i = 0; i < atomic_load(&head->retained_count);) {
		uint32_t count = atomic_load(&head->retained_count);
		struct store_root gone = head->retained[i];

		if (is_live(store, gone.txid)) {
			i++;
			continue;
		}
		if (!rc)
			rc = reclaim_root(store, &gone,
			                  i + 1 < count ? &head->retained[i + 1]
			                                : newest,
			                  i ? head->retained[i - 1].txid : 0,
			                  err);
		list_remove(head, i);
	}
	if (rc)
		space_reset(&store->space, false);
	return rc;
}

/* (K2), only counted. */
int store_retained_units(struct store *store, uint64_t txid, uint64_t *units,
                         struct err *err)
{
	struct shm_head *head = store->shm.head;
	uint32_t count = atomic_load(&head->retained_count);
	struct reclaim reclaim = { .store = store, .count_only = true };
	struct store_root newest;
	int rc = ERR_NONE;

	store_newest_root(store, &newest);
	for (uint32_t i = 0; i < count; i++) {
		if (head->retained[i].txid != txid)
			continue;
		reclaim.newer = i + 1 < count ? &head->retained[i + 1] : &newest;
		reclaim.older_txid = i ? head->retained[i - 1].txid : 0;
		rc = store_catalog_difference(
			store, &head->retained[i].catalog,
			&reclaim.newer->catalog, reclaim_file,
			give_back_catalog, &reclaim, err);
	}
	*units = reclaim.units;
	return rc;
}

/* (K1), (rule 2) */
bool store_retained_between(const struct store *store, uint64_t birth,
                            uint64_t before)
{
	const struct shm_head *head = store->shm.head;
	uint32_t count = atomic_load(&head->retained_count);

	for (uint32_t i = count; i-- > 0;) {
		uint64_t txid = head->retained[i].txid;

		if (txid < birth)
			return false;
		if (txid < before)
			return true;
	}
	return false;
}

void store_retained_rebuild(struct store *store)
{
	struct shm_head *head = store->shm.head;
	uint32_t kept = 0, count = atomic_load(&head->retained_count);
	struct store_root newest;

	store_slots_sweep(store);
	store_newest_root(store, &newest);
	for (uint32_t i = 0; i < count; i++)
		if (head->retained[i].txid < newest.txid &&
		    is_live(store, head->retained[i].txid) &&
		    (!kept || head->retained[kept - 1].txid <
		                      head->retained[i].txid))
			head->retained[kept++] = head->retained[i];
	atomic_store(&head->retained_count, kept);
	/* The one before the newest may have been pinned while its writer died
	 * between publishing and entering it here. */
	for (uint32_t back = SHM_RING - 1; back > 0; back--) {
		const struct store_root *root;

		if (newest.txid <= back)
			continue;
		root = &head->ring[(newest.txid - back) % SHM_RING];
		if (root->txid == newest.txid - back &&
		    is_live(store, root->txid))
			list_append(head, root);
	}
	space_reset(&store->space, false);
}

struct marking {
	struct store *store;
	uint32_t file_id;
	uint32_t units;
};

static int mark(void *context, uint32_t level, uint64_t index,
                const struct page_ref *ref, struct err *err)
{
	struct marking *marking = context;

	(void)index;
	if (ref->flags & REF_FLAG_FREE)
		return ERR_NONE;
	return space_mark_used(&marking->store->space, marking->file_id,
	                       ref->place, level ? 1 : marking->units, err);
}

static int mark_root(struct store *store, struct page_file *file,
                     uint32_t file_id, const struct store_root *root,
                     uint64_t born_after, struct err *err)
{
	struct marking marking = { .store = store, .file_id = file_id };
	struct page_table table = root->catalog;
	struct catalog_entry entry;
	int rc;

	marking.units = 1;
	if (file_id != STORE_CATALOG_FILE_ID) {
		rc = store_catalog_read(store, &root->catalog, file_id, &entry,
		                        err);
		if (rc || !store_entry_live(&entry))
			return rc;
		store_entry_table(&entry, &table);
		marking.units = store_units(
			load_le32(entry.bytes + CATALOG_PAGE_SIZE_AT));
	}
	return page_table_walk(file, &table, born_after, mark, &marking, err);
}

int store_space_ensure(struct store *store, uint32_t file_id,
                       struct page_file *file, const struct store_root *base,
                       const struct taken *others, uint32_t other_count,
                       struct err *err)
{
	struct shm_head *head = store->shm.head;
	uint32_t count = atomic_load(&head->retained_count);
	uint64_t capacity, born_after = 0;
	int rc;

	if (space_file_built(&store->space, file_id))
		return ERR_NONE;
	rc = page_file_capacity(file, &capacity, err);
	if (!rc)
		rc = space_file_build(&store->space, file_id,
		                      file_id == STORE_CATALOG_FILE_ID
		                              ? META_FIRST_PLACE
		                              : FILE_FIRST_PLACE,
		                      capacity, err);
	for (uint32_t i = 0; !rc && i < count; i++) {
		rc = mark_root(store, file, file_id, &head->retained[i],
		               born_after, err);
		born_after = head->retained[i].txid;
	}
	if (!rc)
		rc = mark_root(store, file, file_id, base, born_after, err);
	for (uint32_t i = 0; !rc && i < other_count; i++)
		rc = space_mark_used(&store->space, file_id, others[i].place,
		                     others[i].units, err);
	if (!rc)
		space_file_built_set(&store->space, file_id);
	return rc;
}
