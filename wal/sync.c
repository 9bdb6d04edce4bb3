/*
 * sync.c - makes the log durable, one fdatasync for all who wait.
 *
 * Whoever finds no sync under way that will cover its position leads one: it
 * notes how far the log has come, syncs the segments up to there, raises
 * `durable` and wakes the others. Who came too late for that sync leads the
 * next, or waits for its turn.
 *
 * (Y1) A sync covers what was published before it began. (Y2) Records of a
 * segment count as durable only after all segments before it are: they are
 * synced first. (Y3) A failed sync poisons the log before anybody is woken, and
 * is never tried again: the kernel has forgotten the pages it could not write.
 * (Y4) Each place in flight has open files of its own in each process: the
 * kernel reports a write error once to every open file, so that of two syncs at
 * once none can miss the other's failure. (Y5) The claim of a leader that died
 * is taken over by who waits for it.
 */
#include "wal/wal_private.h"

#include <assert.h>

/* How long to wait for a leader before asking whether it lives. */
enum { LEADER_LOOK_US = 20 * 1000 };

static int fail_waiting(struct err *err)
{
	return err_set(err, ERR_OUTCOME, "wait for the log to be durable", "",
	               "a sync of it failed; what was committed last may be "
	               "lost, and the database refuses writes until every "
	               "process has closed it");
}

/* No sync was tried, so nothing is lost and another may try. */
static int fail_to_begin(struct err *err, const struct err *reason)
{
	return err_set(err, ERR_OUTCOME, "sync the log", "", "%s; whether the "
	               "commit is durable is not known", reason->text);
}

static int sync_segment(struct wal *wal, struct wal_file *file, uint32_t no,
                        struct err *err)
{
	struct err reason;

	if (wal_file_use(wal, file, no, &reason))
		return fail_to_begin(err, &reason);
	if (os_sync(file->file, &reason))
		return wal_poison(wal, "sync the log", "", &reason, err);
	return ERR_NONE;
}

/* A segment before the one in use. It may have been dropped meanwhile. */
static int sync_older(struct wal *wal, struct wal_file *file, uint32_t no,
                      uint64_t end, struct err *err)
{
	int rc = sync_segment(wal, file, no, err);

	if (rc && !atomic_load(&wal->shared->failed) &&
	    atomic_load(&wal->shared->durable) >= end)
		return ERR_NONE;
	return rc;
}

/* With synchronous=OFF or NORMAL before, many segments can be waiting. */
static int sync_listed(struct wal *wal, struct wal_file *file,
                       uint64_t durable, uint64_t before, struct err *err)
{
	struct wal_list list;
	struct err reason;
	int rc;

	if (wal_list_read(wal, &list, &reason))
		return fail_to_begin(err, &reason);
	rc = ERR_NONE;
	for (size_t i = 0; i < list.valid_count && !rc; i++) {
		const struct wal_segment *item = &list.items[i];

		if (item->end > durable && item->end <= before)
			rc = sync_older(wal, file, item->no, item->end, err);
	}
	wal_list_close(wal, &list);
	return rc;
}

static int sync_before(struct wal *wal, struct wal_file *file,
                       const struct wal_position *position, struct err *err)
{
	uint64_t durable = atomic_load(&wal->shared->durable);

	if (durable >= position->segment_first)
		return ERR_NONE;
	if (position->previous_no && durable >= position->previous_first)
		return sync_older(wal, file, position->previous_no,
		                  position->segment_first, err);
	return sync_listed(wal, file, durable, position->segment_first, err);
}

static int lead(struct wal *wal, size_t slot, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct wal_file *file = &wal->sync[slot];
	struct wal_position position;
	int rc;

	wal_position_read(shared, &position);
	atomic_store(&shared->sync_target[slot], position.appended);
	rc = sync_before(wal, file, &position, err);
	if (!rc)
		rc = sync_segment(wal, file, position.segment_no, err);
	atomic_fetch_add_explicit(&shared->sync_count, 1,
	                          memory_order_relaxed);
	if (rc)
		return rc;
	if (atomic_load(&shared->failed))
		return fail_waiting(err);
	wal_durable_raise(shared, position.appended);
	return ERR_NONE;
}

static void finish(struct wal *wal, size_t slot, uint64_t token)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;

	wal_claim_release(&shared->sync_claim[slot], token);
	atomic_fetch_add(&shared->sync_sequence[slot], 1);
	if (atomic_load(&shared->sync_waiters))
		os->methods->wake(os, &shared->sync_sequence[slot],
		                  UINT32_MAX);
}

static void wait_for(struct wal *wal, size_t slot, uint32_t sequence)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;

	atomic_fetch_add(&shared->sync_waiters, 1);
	os->methods->wait(os, &shared->sync_sequence[slot], sequence,
	                  LEADER_LOOK_US);
	atomic_fetch_sub(&shared->sync_waiters, 1);
}

/* The sync to wait for, or to lead when it turns out to be free: one that
 * covers `lsn`, else a free one, else the one that began first. */
static size_t choose_slot(struct wal_shared *shared, uint64_t lsn,
                          bool *covered)
{
	size_t best = 0;
	uint64_t best_target = UINT64_MAX;

	*covered = false;
	for (size_t i = 0; i < WAL_SYNCS; i++) {
		bool taken = (uint32_t)atomic_load(&shared->sync_claim[i].owner);
		uint64_t target = atomic_load(&shared->sync_target[i]);

		if (taken && target >= lsn) {
			*covered = true;
			return i;
		}
		if (!taken)
			target = 0;
		if (target < best_target) {
			best_target = target;
			best = i;
		}
	}
	return best;
}

int wal_sync(struct wal *wal, uint64_t lsn, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	bool look = false;

	assert(lsn <= atomic_load(&shared->appended));
	for (;;) {
		uint32_t sequences[WAL_SYNCS];
		uint64_t token = 0;
		bool covered;
		size_t slot;
		int rc;

		for (slot = 0; slot < WAL_SYNCS; slot++)
			sequences[slot] =
				atomic_load(&shared->sync_sequence[slot]);
		if (atomic_load(&shared->durable) >= lsn)
			return ERR_NONE;
		if (atomic_load(&shared->failed))
			return fail_waiting(err);
		slot = choose_slot(shared, lsn, &covered);
		if (!covered || look)
			token = wal_claim_take(wal, &shared->sync_claim[slot],
			                       look);
		if (!token) {
			wait_for(wal, slot, sequences[slot]);
			look = sequences[slot] ==
			       atomic_load(&shared->sync_sequence[slot]);
			continue;
		}
		rc = atomic_load(&shared->durable) < lsn ?
			lead(wal, slot, err) : ERR_NONE;
		finish(wal, slot, token);
		if (rc)
			return rc;
	}
}
