/*
 * report.c - figures of a running store, for people.
 */
#include "vfs/store_private.h"

int store_status(struct store *store,
                 int (*each)(void *context, const char *name, int64_t value,
                             const char *what),
                 void *context, struct err *err)
{
	struct shm_head *head = store->shm.head;
	const struct {
		const char *name;
		uint64_t value;
		const char *what;
	} figures[] = {
		{ "txid", atomic_load(&head->published), "newest commit" },
		{ "durable_txid", atomic_load(&head->durable_txid),
		  "commit that the newest checkpoint holds" },
		{ "commits", atomic_load(&head->commits),
		  "commits since the database was opened" },
		{ "checkpoints", atomic_load(&head->checkpoints),
		  "checkpoints since the database was opened" },
		{ "record_bytes", atomic_load(&head->log_bytes),
		  "bytes of log records since the database was opened" },
		{ "log_bytes", wal_bytes(store->wal),
		  "bytes that a recovery would read at most" },
		{ "log_appended", atomic_load(&head->wal.appended),
		  "position behind the last record" },
		{ "log_durable", atomic_load(&head->wal.durable),
		  "position up to which the log is on disk" },
		{ "log_syncs", atomic_load(&head->wal.sync_count),
		  "syncs of the log since the database was opened" },
		{ "spilled_pages", atomic_load(&head->spilled_pages),
		  "pages that left memory before their commit" },
		{ "retained_snapshots", atomic_load(&head->retained_count),
		  "older snapshots that keep space" },
		{ "superblock_repaired", atomic_load(&head->super_repaired),
		  "1: at opening one of two superblocks was damaged, by a crash in its writing or by decay" },
		{ "recovered_found", atomic_load(&store->recovered_found),
		  "pages whose last version this process, when it recovered the database, found in its place" },
		{ "recovered_made", atomic_load(&store->recovered_made),
		  "pages whose last version it had to make from the log" },
		{ "poisoned", atomic_load(&head->poisoned),
		  "1 after a failed sync: no more writes" },
		{ "reserve_short", atomic_load(&head->reserve_short),
		  "1: the disk is full, and only what makes the database no larger is committed" },
		{ "cache_kb", atomic_load(&store->cache_kb),
		  "private page copies of a transaction before they spill" },
		{ "checkpoint_mb", atomic_load(&store->checkpoint_mb),
		  "log size that starts a checkpoint" },
		{ "checkpoint_s", atomic_load(&store->checkpoint_s),
		  "seconds after the last checkpoint when a commit starts one" },
		{ "heap_used", atomic_load(&store->heap->used),
		  "bytes this process has allocated for TurDB" },
		{ "heap_peak", atomic_load(&store->heap->peak),
		  "the most it ever had" },
	};
	int rc = ERR_NONE;

	(void)err;
	for (size_t i = 0; !rc && i < sizeof figures / sizeof figures[0]; i++)
		rc = each(context, figures[i].name, (int64_t)figures[i].value,
		          figures[i].what);
	return rc;
}

/* What a snapshot alone keeps from being free; -1 when a writer is at work, for its
 * lock keeps the snapshots still. */
static int64_t held_bytes(struct store *store, uint64_t txid)
{
	struct store_root newest;
	uint64_t units = 0;
	struct err err;
	bool died;
	int rc;

	if (store->options.immutable || atomic_load(&store->shm.head->poisoned) ||
	    store_lock_take(store, &store->shm.head->writer, "report", 0, NULL,
	                    &died, &err))
		return -1;
	rc = store_writer_entered(store, died, &err);
	store_newest_root(store, &newest);
	if (!rc)
		rc = store_retained_update(store, &newest, NULL, &err);
	if (!rc)
		rc = store_retained_units(store, txid, &units, &err);
	store_lock_release(store, &store->shm.head->writer);
	return rc ? -1 : (int64_t)(units * PLACE_SIZE);
}

int store_readers(struct store *store,
                  int (*each)(void *context, uint32_t pid, uint64_t age_ms,
                              uint64_t txid, bool writer, int64_t held),
                  void *context, struct err *err)
{
	struct shm_head *head = store->shm.head;
	uint64_t now = store->os->methods->monotonic_us(store->os) / 1000;
	uint64_t writer = store_lock_holder(&head->writer);
	uint32_t used = atomic_load(&head->slots_used);
	int rc = ERR_NONE;

	(void)err;
	for (uint32_t i = 0; !rc && i < used; i++) {
		uint64_t owner = atomic_load(&head->slots[i].owner);
		uint64_t txid = atomic_load(&head->slots[i].txid);
		uint64_t since = atomic_load(&head->slots[i].since_ms);

		if (owner && txid)
			rc = each(context, store_owner_pid(store, owner),
			          now > since ? now - since : 0, txid, false,
			          txid == atomic_load(&head->published)
			                  ? 0 : held_bytes(store, txid));
	}
	if (!rc && writer) {
		uint64_t since = atomic_load(&head->writer.since_ms);

		rc = each(context, store_owner_pid(store, writer),
		          now > since ? now - since : 0,
		          atomic_load(&head->published), true, 0);
	}
	return rc;
}

bool store_has_writer(const struct store *store)
{
	return store_lock_holder(&store->shm.head->writer) != 0;
}

int store_log_segments(struct store *store,
                       int (*each)(void *context, uint32_t segment_no,
                                   uint64_t bytes, uint64_t first_lsn),
                       void *context, struct err *err)
{
	return wal_segments(store->wal, each, context, err);
}
