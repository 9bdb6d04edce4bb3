/*
 * checkpoint.c - moves the point from which a recovery starts.
 *
 * The newest snapshot becomes the candidate while the writer lock is held; then,
 * without that lock and in steps: the log and the data files are synced, the older
 * superblock copy is written and synced, and the log before it is dropped. Readers
 * and writers go on meanwhile.
 *
 * The commit that makes the log longer than turdb_checkpoint_mb, or comes
 * turdb_checkpoint_s after the last checkpoint, enters the candidate and leaves the
 * rest to the thread of its process (background.c). While one runs the log goes on
 * growing; a commit that finds it HELP_FACTOR times too long waits for the end of the
 * checkpoint, for HELP_WAIT_US at most.
 *
 * (P1) The candidate is in shared memory, and so retained, before anything is
 *      written; it stays, also after the checkpointer's death, until it or a later
 *      one is durable.
 * (P2) durable_txid is set before candidate_txid is cleared: at every moment one of
 *      the two protects what the newest durable superblock reaches.
 * (P3) A failed write or sync poisons the store. A file that could not be opened or
 *      read does not: nothing was promised, and the next checkpoint finishes this one.
 */
#include "vfs/store_private.h"

#include <assert.h>

enum {
	HELP_FACTOR = 3,
	HELP_WAIT_US = 1000000,
	WRITER_WAIT_US = 5000000,  /* for the writer lock, held for a moment */
	OTHERS_WAIT_US = 30000000, /* store_checkpoint() for one under way   */
	TRIES_MAX = 5,
	STOP = -1,                 /* ends store_catalog_each() early        */
};

static uint64_t limit_bytes(const struct store *store)
{
	return (uint64_t)atomic_load_explicit(&store->checkpoint_mb,
	                                      memory_order_relaxed) << 20;
}

/* The time is that of the caller's taking the writer lock. */
bool store_checkpoint_due(const struct store *store)
{
	const struct shm_head *head = store->shm.head;
	uint64_t last_ms = atomic_load(&head->checkpoint_ms);
	uint64_t now_ms = atomic_load(&head->writer.since_ms);

	return atomic_load(&head->wal.appended) -
	               atomic_load(&head->checkpointed) > limit_bytes(store) ||
	       now_ms > last_ms + UINT64_C(1000) *
	               atomic_load_explicit(&store->checkpoint_s,
	                                    memory_order_relaxed);
}

/* Whether checkpoints may be under way while a caller of ours waits. */
static bool has_background(const struct store *store)
{
	return store->os->methods->thread_start != NULL;
}

void store_checkpoint_await(struct store *store, uint64_t timeout_us)
{
	struct shm_lock *lock = &store->shm.head->checkpointer;
	struct err ignored;
	bool died;

	if (has_background(store) &&
	    !store_lock_take(store, lock, "checkpoint", timeout_us, NULL, &died,
	                     &ignored))
		store_lock_release(store, lock);
}

void store_checkpoint_help(struct store *store)
{
	uint64_t limit = limit_bytes(store);

	if (wal_bytes(store->wal) > HELP_FACTOR * limit + 2 * store->segment_size &&
	    has_background(store) &&
	    !atomic_load(&store->shm.head->poisoned))
		store_checkpoint_await(store, HELP_WAIT_US);
}

/* The caller holds the writer lock; root is the newest snapshot. */
int store_checkpoint_enter(struct store *store, const struct store_root *root,
                           bool *entered, struct err *err)
{
	struct shm_head *head = store->shm.head;
	bool died;
	int rc;

	*entered = false;
	if (root->txid == atomic_load(&head->durable_txid))
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
		atomic_store(&head->checkpointed, root->lsn);
		space_generation_begin(&store->space);
	}
	store->checkpoint = (struct store_checkpoint_work){
		.stage = CHECKPOINT_LOG,
		.durable_txid = atomic_load(&head->durable_txid),
	};
	*entered = true;
	return ERR_NONE;
}

/* --- steps ---------------------------------------------------------------------- */

/* What a write or a sync said: (P3). */
static int tried(struct store *store, int rc)
{
	store->checkpoint.wrote |= rc != ERR_NONE;
	return rc;
}

int store_log_sync(struct store *store, uint64_t lsn, struct err *err)
{
	int rc = wal_sync(store->wal, lsn, err);

	if (rc && atomic_load(&store->shm.head->wal.failed))
		store_poison(store);
	return rc;
}

/* Syncs the next file that has changed, and stops. */
static int sync_next(void *context, uint32_t file_id,
                     const struct catalog_entry *entry, struct err *err)
{
	struct store *store = context;
	struct store_checkpoint_work *work = &store->checkpoint;
	uint64_t birth = load_le64(entry->bytes + CATALOG_BIRTH_AT);
	struct page_table table;
	struct page_file *file;
	int rc;

	if (file_id <= work->file_id)
		return ERR_NONE;
	work->file_id = file_id;
	work->created |= birth > work->durable_txid;
	store_entry_table(entry, &table);
	if (table.root.birth <= work->durable_txid &&
	    birth <= work->durable_txid)
		return ERR_NONE;
	rc = store_files_get(store, entry, &file, err);
	if (rc)
		return rc;
	rc = page_file_write_back(file, err);
	rc = tried(store, rc ? rc : page_file_sync(file, err));
	return rc ? rc : STOP;
}

/* *more: another file may follow. */
static int sync_data(struct store *store, const struct store_root *root,
                     bool *more, struct err *err)
{
	struct store_checkpoint_work *work = &store->checkpoint;
	int rc = store_catalog_each(store, &root->catalog, sync_next, store,
	                            err);

	*more = rc == STOP;
	if (rc)
		return *more ? ERR_NONE : rc;
	if (work->created)
		rc = tried(store, store->os->methods->directory_sync(
			                  store->dir, "root", err));
	return rc ? rc : tried(store, page_file_sync(store->catalog_file, err));
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
	super.line = 0;
	super.clean = false;
	super.catalog = root->catalog;
	*sequence = super.sequence;
	rc = store_superblock_write(store, &super, err);
	return tried(store, rc ? rc : os_sync(store->meta, err));
}

/* Keeps (P2) by the order of its stores. (rule 6) */
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

static int step(struct store *store, struct err *err)
{
	struct store_checkpoint_work *work = &store->checkpoint;
	struct store_root root = store->shm.head->candidate;
	uint64_t sequence;
	bool more = false;
	int rc = ERR_NONE;

	switch (work->stage) {
	case CHECKPOINT_LOG:
		rc = store_log_sync(store, root.lsn, err);
		work->stage = PLANTED(store->environment,
		                      PLANT_LOG_DROPPED_EARLY)
			? CHECKPOINT_SUPERBLOCK : CHECKPOINT_FILES;
		return rc;
	case CHECKPOINT_FILES:
		rc = sync_data(store, &root, &more, err);
		if (!more)
			work->stage = CHECKPOINT_SUPERBLOCK;
		return rc;
	case CHECKPOINT_SUPERBLOCK:
		rc = write_superblock(store, &root, &sequence, err);
		if (!rc)
			candidate_durable(store, &root, sequence);
		work->stage = CHECKPOINT_DROP;
		return rc;
	case CHECKPOINT_DROP:
		/* No longer the candidate, but still the durable one. */
		root = store->shm.head->durable;
		rc = wal_drop_before(store->wal, root.lsn, err);
		store_release_checkpointed(store, &root);
		store_reserve_keep(store, &root);
		break;
	case CHECKPOINT_NONE:
		return ERR_NONE;
	}
	work->stage = CHECKPOINT_NONE;
	return rc;
}

int store_checkpoint_step(struct store *store, bool *over, struct err *err)
{
	struct store_checkpoint_work *work = &store->checkpoint;
	int rc = step(store, err);

	if (work->wrote)
		store_poison(store);
	if (rc)
		work->stage = CHECKPOINT_NONE;
	*over = work->stage == CHECKPOINT_NONE;
	if (*over)
		store_lock_release(store, &store->shm.head->checkpointer);
	return rc;
}

int store_checkpoint_run(struct store *store, struct err *err)
{
	bool over = false;
	int rc = ERR_NONE;

	while (!over)
		rc = store_checkpoint_step(store, &over, err);
	return store_missing(store, rc, err);
}

/* --- at a caller's wish ------------------------------------------------------------ */

/* *nothing: the newest commit is durable already. */
static int begin(struct store *store, uint64_t wait_us, bool *begun,
                 bool *nothing, struct err *err)
{
	struct shm_head *head = store->shm.head;
	struct store_root newest;
	struct lock_loan loan;
	bool died;
	int rc;

	*begun = *nothing = false;
	if (store->options.immutable)
		return err_set(err, ERR_READONLY, "checkpoint", store->path,
		               "it was opened read-only");
	rc = store_poisoned(store, err);
	if (!rc)
		rc = store_forked(store, err);
	if (rc || !store_lock_borrow(store, &head->writer, wait_us, &loan,
				     &died))
		return rc;
	rc = store_missing(store, store_writer_entered(store, died, err), err);
	if (!rc) {
		store_newest_root(store, &newest);
		*nothing = newest.txid == atomic_load(&head->durable_txid);
		rc = store_checkpoint_enter(store, &newest, begun, err);
	}
	store_lock_give_back(store, &head->writer, &loan);
	return rc;
}

int store_checkpoint_begin(struct store *store, bool *begun, struct err *err)
{
	bool nothing;

	return begin(store, WRITER_WAIT_US, begun, &nothing, err);
}

int store_checkpoint(struct store *store, bool *done, struct err *err)
{
	return store_checkpoint_within(store, OTHERS_WAIT_US, done, err);
}

int store_checkpoint_within(struct store *store, uint64_t wait_us, bool *done,
                            struct err *err)
{
	const struct os_methods *os = store->os->methods;
	uint64_t ends = os->monotonic_us(store->os) + wait_us, now, left_us;
	bool begun = false;
	int rc = ERR_NONE;

	*done = false;
	for (int i = 0; i < TRIES_MAX && !rc && !begun && !*done; i++) {
		if (has_background(store))
			store_checkpoint_await(store, wait_us / TRIES_MAX);
		else if (i)
			break;
		now = os->monotonic_us(store->os);
		left_us = now < ends ? ends - now : 0;
		rc = begin(store, left_us < WRITER_WAIT_US ? left_us
		                                           : WRITER_WAIT_US,
		           &begun, done, err);
	}
	if (rc || !begun)
		return rc;
	rc = store_checkpoint_run(store, err);
	*done = rc == ERR_NONE;
	return rc;
}
