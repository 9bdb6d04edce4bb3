/*
 * checkpoint.c - moves the point from which a recovery starts.
 *
 * The newest snapshot becomes the candidate while the writer lock is held; then,
 * without that lock: the log and the data files are synced, the older superblock
 * copy is written and synced, and the log before it is dropped. Readers and writers
 * go on meanwhile.
 *
 * (P1) The candidate is in shared memory, and so retained, before anything is
 *      written; it stays, also after the checkpointer's death, until it or a later
 *      one is durable.
 * (P2) durable_txid is set before candidate_txid is cleared: at every moment one of
 *      the two protects what the newest durable superblock reaches.
 */
#include "vfs/store_private.h"

#include <assert.h>

bool store_checkpoint_due(const struct store *store)
{
	uint64_t limit = (uint64_t)atomic_load_explicit(
				 &store->checkpoint_mb, memory_order_relaxed)
	                 << 20;

	return wal_bytes(store->wal) > limit;
}

/* The caller holds the writer lock; root is the newest snapshot. */
int store_checkpoint_enter(struct store *store, const struct store_root *root,
                           bool *entered, struct err *err)
{
	struct shm_head *head = store->shm.head;
	bool died;
	int rc;

	*entered = false;
	if (root->txid == atomic_load(&head->durable_txid) &&
	    root->lsn == head->durable.lsn)
		return ERR_NONE;
	rc = store_lock_take(store, &head->checkpointer, "checkpoint", 0, NULL,
	                     &died, err);
	if (rc)
		return rc == ERR_BUSY ? ERR_NONE : rc;
	/* One whose end is still pending was made durable: end it before the
	 * next begins. */
	if (atomic_load(&head->generation_end_pending)) {
		space_generation_end(&store->space);
		atomic_store(&head->generation_end_pending, 0);
	}
	/* One that a checkpointer left behind may be in a superblock already: it is
	 * finished first (P1). */
	if (!atomic_load(&head->candidate_txid)) {
		store_slots_sweep(store);
		head->candidate = *root;
		atomic_store(&head->candidate_txid, root->txid);
		space_generation_begin(&store->space);
	}
	*entered = true;
	return ERR_NONE;
}

struct syncing {
	struct store *store;
	uint64_t durable_txid;
	bool created;
};

static int sync_file(void *context, uint32_t file_id,
                     const struct catalog_entry *entry, struct err *err)
{
	struct syncing *syncing = context;
	struct page_table table;
	struct page_file *file;
	int rc;

	(void)file_id;
	if (load_le64(entry->bytes + CATALOG_BIRTH_AT) > syncing->durable_txid)
		syncing->created = true;
	store_entry_table(entry, &table);
	if (table.root.birth <= syncing->durable_txid &&
	    load_le64(entry->bytes + CATALOG_BIRTH_AT) <= syncing->durable_txid)
		return ERR_NONE;
	rc = store_files_get(syncing->store, entry, &file, err);
	return rc ? rc : page_file_sync(file, err);
}

static int sync_data(struct store *store, const struct store_root *root,
                     struct err *err)
{
	struct syncing syncing = {
		.store = store,
		.durable_txid = atomic_load(&store->shm.head->durable_txid),
	};
	int rc = store_catalog_each(store, &root->catalog, sync_file, &syncing,
	                            err);

	if (!rc && syncing.created)
		rc = store->os->methods->directory_sync(store->dir, "root", err);
	if (!rc)
		rc = page_file_sync(store->catalog_file, err);
	return rc;
}

static int write_superblock(struct store *store, const struct store_root *root,
                            uint64_t *sequence, struct err *err)
{
	struct superblock super;
	bool fresh;
	int rc = store_superblock_read(store, &super, &fresh, err);

	if (rc)
		return rc;
	super.sequence++;
	super.txid = root->txid;
	super.lsn = root->lsn;
	super.catalog = root->catalog;
	*sequence = super.sequence;
	rc = store_superblock_write(store, &super, err);
	return rc ? rc : os_sync(store->meta, err);
}

static void candidate_durable(struct store *store,
                              const struct store_root *root, uint64_t sequence)
{
	struct shm_head *head = store->shm.head;

	assert(atomic_load(&head->candidate_txid) == root->txid); /* (P1) */
	assert(root->txid >= atomic_load(&head->durable_txid));
	head->durable = *root;
	atomic_store(&head->super_sequence, sequence);
	atomic_store(&head->durable_txid, root->txid);
	atomic_store(&head->generation_end_pending, 1);
	atomic_store(&head->candidate_txid, 0);
	atomic_store(&head->checkpoint_ms,
	             store->os->methods->monotonic_us(store->os) / 1000);
	atomic_fetch_add_explicit(&head->checkpoints, 1, memory_order_relaxed);
}

int store_checkpoint_run(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	struct store_root root = head->candidate;
	bool early = PLANTED(store->environment, PLANT_LOG_DROPPED_EARLY);
	uint64_t sequence;
	int rc = wal_sync(store->wal, root.lsn, err);

	if (!rc && !early)
		rc = sync_data(store, &root, err);
	if (!rc)
		rc = write_superblock(store, &root, &sequence, err);
	if (rc) {
		store_poison(store);
		goto release;
	}
	candidate_durable(store, &root, sequence);
	rc = wal_drop_before(store->wal, root.lsn, err);
	store_release_checkpointed(store, &root);
release:
	store_lock_release(store, &head->checkpointer);
	return rc;
}

int store_checkpoint(struct store *store, bool *done, struct err *err)
{
	struct shm_head *head = store->shm.head;
	struct store_root newest;
	bool died, entered = false;
	int rc;

	*done = false;
	if (store->options.immutable)
		return err_set(err, ERR_READONLY, "checkpoint", store->path,
		               "it was opened read-only");
	rc = store_poisoned(store, err);
	if (!rc)
		rc = store_lock_take(store, &head->writer, "checkpoint",
		                     5000000, NULL, &died, err);
	if (rc)
		return rc == ERR_BUSY ? ERR_NONE : rc;
	rc = store_writer_entered(store, died, err);
	if (!rc) {
		store_newest_root(store, &newest);
		if (newest.txid == atomic_load(&head->durable_txid))
			*done = true;
		else
			rc = store_checkpoint_enter(store, &newest, &entered,
			                            err);
	}
	store_lock_release(store, &head->writer);
	if (rc || !entered)
		return rc;
	rc = store_checkpoint_run(store, err);
	*done = rc == ERR_NONE;
	return rc;
}
