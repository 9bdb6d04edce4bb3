/*
 * sync.c - makes the log durable, one fdatasync for all who wait.
 *
 * Whoever finds no sync under way leads one: notes how far the log has come,
 * syncs the segments up to there, raises `durable` and wakes the others. Who
 * came too late for that sync waits for the one after it, on a futex of its
 * own: when the first ends, only one of them is woken, to lead.
 *
 * Gathering. Left alone, writers fall into step in two halves: while one half
 * waits for its sync, the other works and then waits for the next. That is just
 * right where the work of all takes longer than a sync. Where it takes less, a
 * sync for all of them at once is better, so the leader first waits for those
 * that are likely to come: as many as were active during the last sync, being
 * those it covered and those who arrived while it ran (each arrives once, for
 * then it waits). How long that takes is told by how quickly they came after the
 * sync before. It waits half a sync at most, and a writer that is alone never
 * does. It watches before it sleeps: on a fast disk they come sooner than a
 * sleeper wakes. Commits a second of the log alone (bench-wal), medians:
 *
 *                          2       4       8 threads    4       8 processes
 *   without gathering      10,900  17,000  29,200       17,100  27,300
 *   gathering, asleep       9,600  18,400  33,400       19,700  31,800
 *   gathering              11,600  24,200  40,300       21,700  35,800
 *   in another run:
 *   without gathering      12,400  17,100  30,200       19,800  32,300
 *   two syncs in flight    10,700  17,900  29,200       21,200  33,500
 *
 * And of one-row UPDATEs by eight processes, whose work takes 33 us each in turn
 * (bench-commit), on a busier day:
 *
 *                                              turdb tables   ordinary
 *   gathering always, all woken by each sync   16,100         12,400
 *   no gathering, all woken by each sync       15,200
 *   no gathering, woken by their own sync      16,500         15,200
 *   gathering where it pays, by their own      18,500
 *
 * (Y1) A sync covers what was published before it began. (Y2) Records of a
 * segment count as durable only after all segments before it are: they are
 * synced first. (Y3) A failed sync poisons the log before anybody is woken, and
 * is never tried again: the kernel has forgotten the pages it could not write.
 * (Y4) The claim of a leader that died is taken over by who waits for it. (Y5)
 * The files of a sync are open before there is a record to sync, so that a lack
 * of memory or descriptors fails a commit while it can still be taken back. (Y6)
 * Who waits has seen both words before any sync ended that it does not know of: so
 * it does not sleep through the end of one. Who waits for the wrong one, because a
 * leader came or died meanwhile, is woken by it, or looks after 20 ms.
 */
#include "wal/wal_private.h"

#include <assert.h>

enum {
	/* How long to wait for a leader before asking whether it lives. */
	LEADER_LOOK_US = 20 * 1000,
	/* One waits for others half of a sync at most. */
	GATHER_PART = 2,
	/* How long a leader that gathers watches before it sleeps. */
	WATCH_US = 40,
	/* How long one watches the device write what was begun early, and on a
	 * slow one how often in vain before it is left out so often. */
	WATCH_WRITING_US = 20,
	WATCHES_IN_VAIN = 4,
	WATCHES_LEFT_OUT = 100,
};

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

/* What a sync covers */

static int sync_segment(struct wal *wal, struct wal_file *file, uint32_t no,
                        struct err *err)
{
	struct err reason;

	if (wal_file_use(wal, file, no, &reason))
		return fail_to_begin(err, &reason);
	if (os_sync(file->file, &reason)) /* (Y3) */
		return wal_poison(wal, "sync the log", "", &reason, err);
	return ERR_NONE;
}

/* A segment before the one in use. It may have been dropped meanwhile. */
static int sync_older(struct wal *wal, uint32_t no, uint64_t end,
                      struct err *err)
{
	int rc = sync_segment(wal, &wal->sync_older, no, err);

	if (rc && !atomic_load(&wal->shared->failed) &&
	    atomic_load(&wal->shared->durable) >= end)
		return ERR_NONE;
	return rc;
}

/* With synchronous=OFF or NORMAL before, many segments can be waiting. */
static int sync_listed(struct wal *wal, uint64_t durable, uint64_t before,
                       struct err *err)
{
	struct wal_list list;
	struct err reason;
	int rc = ERR_NONE;

	if (wal_list_read(wal, &list, &reason))
		return fail_to_begin(err, &reason);
	for (size_t i = 0; i < list.valid_count && !rc; i++) {
		const struct wal_segment *item = &list.items[i];

		if (item->end > durable && item->end <= before)
			rc = sync_older(wal, item->no, item->end, err);
	}
	wal_list_close(wal, &list);
	return rc;
}

/* (Y2), (rule 7) */
static int sync_before(struct wal *wal, const struct wal_position *position,
                       struct err *err)
{
	uint64_t durable = atomic_load(&wal->shared->durable);

	if (durable >= position->segment_first)
		return ERR_NONE;
	if (position->previous_no && durable >= position->previous_first)
		return sync_older(wal, position->previous_no,
		                  position->segment_first, err);
	return sync_listed(wal, durable, position->segment_first, err);
}

/* What wal_sync_begin() began is nearly written when the sync comes. To sleep until
 * then costs 10 us, and 26 us on another core than the device's interrupts. */
static void watch_writing(struct wal *wal, const struct wal_position *position)
{
	const struct os_methods *os = wal->dir->os->methods;
	uint64_t offset = wal_segment_offset(position->segment_first,
	                                     position->appended) - 1;

	if (!os->write_back_watch || !wal->sync.file ||
	    wal->sync.no != position->segment_no)
		return;
	if (wal->watches >= 0 &&
	    os->write_back_watch(wal->sync.file, offset, 1, WATCH_WRITING_US))
		wal->watches = 0;
	else if (++wal->watches == WATCHES_IN_VAIN)
		wal->watches = -WATCHES_LEFT_OUT;
}

static int sync_all(struct wal *wal, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct wal_position position;
	int rc;

	wal_position_read(shared, &position);
	atomic_store(&shared->sync_target, position.appended);
	if (atomic_load_explicit(&wal->begun, memory_order_relaxed) ==
	    position.appended)
		watch_writing(wal, &position);
	rc = sync_before(wal, &position, err);
	if (!rc)
		rc = sync_segment(wal, &wal->sync, position.segment_no, err);
	if (rc)
		return rc;
	wal_durable_raise(shared, position.appended); /* (Y1) */
	wal_file_close(&wal->sync_older);
	return ERR_NONE;
}

/* Gathering */

/* Counts one who needs a sync; wakes the leader when all are there. */
static void arrive(struct wal *wal)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;
	uint32_t count = atomic_fetch_add(&shared->sync_arrivals, 1) + 1;

	atomic_store_explicit(&shared->arrival_us, os->methods->monotonic_us(os),
	                      memory_order_relaxed);
	if (count == atomic_load(&shared->gather_goal))
		os->methods->wake(os, &shared->sync_arrivals, 1);
}

static void gather(struct wal *wal, uint32_t goal)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;
	uint64_t now = os->methods->monotonic_us(os), watch = now + WATCH_US;
	uint64_t end = now + atomic_load(&shared->sync_us) / GATHER_PART;

	atomic_store(&shared->gather_goal, goal);
	for (;;) {
		uint32_t count = atomic_load(&shared->sync_arrivals);

		if ((int32_t)(count - goal) >= 0 || now >= end)
			break;
		if (now >= watch)
			os->methods->wait(os, &shared->sync_arrivals, count,
			                  end - now);
		now = os->methods->monotonic_us(os);
	}
	atomic_store(&shared->gather_goal, 0);
}

/* Whether it takes all of them less time to come than a sync takes. */
static bool is_worth_gathering(const struct wal_shared *shared, uint32_t active)
{
	return active > 1 &&
	       (uint64_t)active * atomic_load(&shared->arrival_gap_us) <=
		       atomic_load(&shared->sync_us);
}

/* At the end of a sync: how quickly they came since the end of the one before. */
static void measure_arrivals(struct wal_shared *shared, uint64_t now_us)
{
	uint32_t count = atomic_load(&shared->sync_arrivals);
	uint32_t came = count - atomic_load(&shared->arrivals_at_end);
	uint64_t begin = atomic_load(&shared->sync_end_us);
	uint64_t last = atomic_load(&shared->arrival_us);

	if (came && last > begin && (last - begin) / came < UINT32_MAX)
		atomic_store(&shared->arrival_gap_us,
		             (uint32_t)((last - begin) / came));
	atomic_store(&shared->arrivals_at_end, count);
	atomic_store(&shared->sync_end_us, now_us);
}

static int lead(struct wal *wal, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;
	uint32_t before = atomic_load(&shared->gathered);
	uint32_t active = atomic_load(&shared->gather_active), now;
	uint64_t start, end, us;
	int rc;

	if (is_worth_gathering(shared, active))
		gather(wal, before + active);
	now = atomic_load(&shared->sync_arrivals);
	atomic_store(&shared->gathered, now);
	start = os->methods->monotonic_us(os);
	rc = sync_all(wal, err);
	end = os->methods->monotonic_us(os);
	us = end - start;
	measure_arrivals(shared, end);
	atomic_store(&shared->sync_us,
	             (7 * atomic_load(&shared->sync_us) + us) / 8);
	atomic_store(&shared->gather_active,
	             atomic_load(&shared->sync_arrivals) - before);
	atomic_fetch_add(&shared->sync_count, 1);
	return rc;
}

/* Beginning early */

bool wal_sync_is_lone(const struct wal *wal)
{
	const struct wal_shared *shared = wal->shared;

	return atomic_load_explicit(&shared->gather_active,
	                            memory_order_relaxed) <= 1 &&
	       atomic_load_explicit(&shared->sync_waiters[0],
	                            memory_order_relaxed) == 0 &&
	       atomic_load_explicit(&shared->sync_waiters[1],
	                            memory_order_relaxed) == 0;
}

void wal_sync_begin(struct wal *wal)
{
	struct os_file *file = wal->append.file;
	const struct os_methods *os = wal->dir->os->methods;
	struct wal_position position;
	uint64_t from = atomic_load(&wal->shared->durable);

	wal_position_read(wal->shared, &position);
	if (from < position.segment_first)
		from = position.segment_first;
	if (!os->write_back_begin || from >= position.appended)
		return;
	assert(file && wal->append.no == position.segment_no);
	os->write_back_begin(file, wal_segment_offset(position.segment_first,
	                                              from),
	                     position.appended - from);
	atomic_store_explicit(&wal->begun, position.appended,
	                      memory_order_relaxed);
}

/* Waiting */

static void wake(struct wal *wal, uint32_t sync, uint32_t most)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;

	atomic_fetch_add(&shared->sync_words[sync & 1], 1);
	if (atomic_load(&shared->sync_waiters[sync & 1]))
		os->methods->wake(os, &shared->sync_words[sync & 1], most);
}

/* One of those who came too late is to lead the next: first, for the disk waits for
 * it, or last, where it would wait for the others. */
static void finish(struct wal *wal, uint64_t token)
{
	struct wal_shared *shared = wal->shared;
	uint32_t sync = atomic_load(&shared->sync_ended);
	bool gathers = is_worth_gathering(shared,
	                                  atomic_load(&shared->gather_active));

	atomic_store(&shared->sync_target, UINT64_MAX);
	atomic_store(&shared->sync_ended, sync + 1);
	wal_claim_release(&shared->sync_claim, token);
	if (gathers)
		wake(wal, sync, UINT32_MAX);
	wake(wal, sync + 1, 1);
	if (!gathers)
		wake(wal, sync, UINT32_MAX);
}

/* What one goes by who may have to wait: `ended` syncs, and the words not later. */
struct sight {
	uint32_t ended, words[2];
};

static void look_around(struct wal_shared *shared, struct sight *sight)
{
	do {
		sight->ended = atomic_load(&shared->sync_ended);
		sight->words[0] = atomic_load(&shared->sync_words[0]);
		sight->words[1] = atomic_load(&shared->sync_words[1]);
	} while (sight->ended != atomic_load(&shared->sync_ended));
}

/* (Y6) */
static void wait_for_leader(struct wal *wal, uint64_t lsn,
                            const struct sight *sight)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;
	bool covered = lsn <= atomic_load(&shared->sync_target);
	uint32_t at = (sight->ended + !covered) & 1;

	atomic_fetch_add(&shared->sync_waiters[at], 1);
	os->methods->wait(os, &shared->sync_words[at], sight->words[at],
	                  LEADER_LOOK_US);
	atomic_fetch_sub(&shared->sync_waiters[at], 1);
}

/* Opening ahead */

/* The segment before, when it waits for a sync. It may have been dropped. */
static int open_older(struct wal *wal, const struct wal_position *position,
                      struct err *err)
{
	struct wal_shared *shared = wal->shared;
	int rc;

	if (!position->previous_no ||
	    atomic_load(&shared->durable) >= position->segment_first)
		return ERR_NONE;
	if (wal->sync.file && wal->sync.no == position->previous_no) {
		wal_file_close(&wal->sync_older);
		wal->sync_older = wal->sync;
		wal->sync = (struct wal_file){ 0 };
		return ERR_NONE;
	}
	rc = wal_file_use(wal, &wal->sync_older, position->previous_no, err);
	if (rc && atomic_load(&shared->durable) >= position->segment_first)
		return ERR_NONE;
	return rc;
}

/* (Y5) */
int wal_sync_ready(struct wal *wal, const struct wal_position *position,
                   struct err *err)
{
	struct wal_shared *shared = wal->shared;
	uint64_t token;
	int rc;

	if (wal->sync_ready == position->segment_no)
		return ERR_NONE;
	token = wal_claim_take(wal, &shared->sync_claim, false);
	if (!token)
		return ERR_NONE; /* a leader has it: at the next record */
	rc = open_older(wal, position, err);
	if (!rc)
		rc = wal_file_use(wal, &wal->sync, position->segment_no, err);
	finish(wal, token);
	if (!rc)
		wal->sync_ready = position->segment_no;
	return rc;
}

int wal_sync(struct wal *wal, uint64_t lsn, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	bool arrived = false, look = false;

	assert(lsn <= atomic_load(&shared->appended));
	for (;;) {
		struct sight sight;
		uint64_t token;
		int rc = ERR_NONE;

		look_around(shared, &sight);
		if (atomic_load(&shared->durable) >= lsn)
			return ERR_NONE;
		if (atomic_load(&shared->failed))
			return fail_waiting(err);
		if (!arrived)
			arrive(wal);
		arrived = true;
		token = wal_claim_take(wal, &shared->sync_claim, look); /* (Y4) */
		if (token) {
			if (atomic_load(&shared->durable) < lsn)
				rc = lead(wal, err);
			finish(wal, token);
			if (rc)
				return rc;
			continue;
		}
		wait_for_leader(wal, lsn, &sight);
		look = sight.ended == atomic_load(&shared->sync_ended);
	}
}
