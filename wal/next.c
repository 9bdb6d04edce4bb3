/*
 * next.c - the segment to come, made before the one in use is full.
 *
 * The making happens outside the writer lock, in whichever process commits
 * next after half of a segment is full. (N1) Files are created, reused and
 * unlinked only under the files claim. (N2) A file that was made for the next
 * segment and never announced (its maker was killed) is found by its position
 * and taken first, so that no two files hold the same positions. (N3) Reused
 * are only files that lie wholly before first_lsn. (N4) A number never names
 * two different files while the shared memory lives: other processes keep files
 * open by number.
 */
#include "wal/wal_private.h"

#include <assert.h>
#include <inttypes.h>

enum {
	SEGMENT_SIZE_FIRST = 1 << 20,
	SEGMENT_SIZE_FULL = 256 << 10, /* what is asked for on a full disk */
	CLAIM_LOOK_US = 50 * 1000, /* how long before a silent owner is looked up */
	NAMES_TRIED_MAX = 1000,
};

/* No segment begins here. */
#define NOWHERE UINT64_MAX

bool wal_next_is_ready(const struct wal_shared *shared,
                       const struct wal_position *position, uint64_t room)
{
	return atomic_load(&shared->next_first) == position->segment_end &&
	       atomic_load(&shared->next_end) - position->segment_end >= room;
}

void wal_next_position(const struct wal_shared *shared,
                       const struct wal_position *position,
                       uint64_t last_checksum, struct wal_position *next)
{
	*next = (struct wal_position){
		.appended = position->segment_end,
		.last_checksum = last_checksum,
		.segment_first = position->segment_end,
		.segment_end = atomic_load(&shared->next_end),
		.segment_salt = atomic_load(&shared->next_salt),
		.segment_no = atomic_load(&shared->next_no),
		.previous_first = position->segment_first,
		.previous_no = position->segment_no,
	};
}

/* The files claim */

uint64_t wal_files_take(struct wal *wal)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;
	bool look = false;

	for (;;) {
		uint32_t sequence = atomic_load(&shared->files_sequence);
		uint64_t token = wal_claim_take(wal, &shared->files_claim, look);

		if (token)
			return token;
		look = true;
		os->methods->wait(os, &shared->files_sequence, sequence,
		                  CLAIM_LOOK_US);
	}
}

void wal_files_release(struct wal *wal, uint64_t token)
{
	struct wal_shared *shared = wal->shared;
	struct os *os = wal->dir->os;

	wal_claim_release(&shared->files_claim, token);
	atomic_fetch_add(&shared->files_sequence, 1);
	os->methods->wake(os, &shared->files_sequence, UINT32_MAX);
}

/* Choosing a file */

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static uint64_t next_size(const struct wal *wal,
                          const struct wal_position *position, uint64_t room)
{
	uint64_t used = position->segment_end - position->segment_first +
	                WAL_SEGMENT_AREA_AT;
	uint64_t size = used > wal->options.segment_size / 2 ?
		wal->options.segment_size : 2 * used;
	uint64_t least = round_up(room + WAL_SEGMENT_AREA_AT,
	                          WAL_SEGMENT_ALIGNMENT);

	return size < least ? least : size;
}

/* (N2), then (N3): the largest. NULL when a new file is to be made. */
static const struct wal_segment *choose_file(const struct wal *wal,
                                             const struct wal_list *list,
                                             uint64_t first)
{
	uint64_t kept_from = atomic_load(&wal->shared->first_lsn);
	const struct wal_segment *best = NULL;

	for (size_t i = 0; i < list->valid_count; i++) {
		const struct wal_segment *item = &list->items[i];

		if (item->first >= first)
			return item;
		if (item->end <= kept_from && item->file_size >= item->size &&
		    (!best || item->size > best->size))
			best = item;
	}
	return best;
}

/* Takes a file to be used again. What is behind the size in its header a maker
 * added that was killed: it may not be on disk. (wal/segment S1) */
static void reuse(struct wal_segment *segment, const struct wal_segment *chosen)
{
	*segment = *chosen;
	segment->file_size = chosen->size;
}

/* A new file under the next free number. (N4) */
static int make_new(struct wal *wal, struct wal_segment *segment,
                    uint64_t zero_size, struct err *err)
{
	int rc = ERR_EXISTS;

	segment->file_size = 0;
	for (int i = 0; i < NAMES_TRIED_MAX && rc == ERR_EXISTS; i++) {
		segment->no = atomic_fetch_add(&wal->shared->last_no, 1) + 1;
		rc = wal_segment_make(wal, segment, zero_size, err);
	}
	return rc;
}

/* The one that could not be made is gone, and its blocks, if it had any, are free. */
static int make_small(struct wal *wal, struct wal_segment *segment,
                      uint64_t room, struct err *err)
{
	uint64_t least = round_up(room + WAL_SEGMENT_AREA_AT,
	                          WAL_SEGMENT_ALIGNMENT);

	if (least < SEGMENT_SIZE_FULL)
		least = SEGMENT_SIZE_FULL;
	if (least >= segment->size)
		return ERR_FULL; /* which is told already */
	segment->size = least;
	return make_new(wal, segment, least, err);
}

static void announce(struct wal_shared *shared,
                     const struct wal_segment *segment)
{
	atomic_store(&shared->next_no, segment->no);
	atomic_store(&shared->next_salt, segment->salt);
	atomic_store(&shared->next_end, segment->end);
	atomic_store(&shared->next_first, segment->first);
}

/* Under the files claim. (N1) */
static int make_next(struct wal *wal, const struct wal_position *position,
                     uint64_t room, struct err *err)
{
	const struct wal_segment *chosen;
	struct wal_segment segment = { 0 };
	struct wal_list list;
	uint64_t zero_size;
	int rc;

	rc = wal_list_read(wal, &list, err);
	if (rc)
		return rc;
	atomic_store(&wal->shared->next_first, NOWHERE);
	chosen = choose_file(wal, &list, position->segment_end);
	if (chosen)
		reuse(&segment, chosen);
	wal_list_close(wal, &list);

	segment.size = next_size(wal, position, room);
	if (segment.size < segment.file_size)
		segment.size = segment.file_size;
	segment.first = position->segment_end;
	segment.start = 0;
	segment.flags = 0;
	zero_size = segment.size > wal->options.segment_size ?
		0 : segment.size; /* one large record will fill it */
	rc = chosen ? wal_segment_make(wal, &segment, zero_size, err) :
	              make_new(wal, &segment, zero_size, err);
	if (rc == ERR_FULL)
		rc = make_small(wal, &segment, room, err);
	if (rc)
		return rc;
	assert(segment.first == position->segment_end); /* (N2) */
	announce(wal->shared, &segment);
	return ERR_NONE;
}

int wal_next_ensure(struct wal *wal, const struct wal_position *position,
                    uint64_t room, struct err *err)
{
	uint64_t token;
	int rc = ERR_NONE;

	if (wal_next_is_ready(wal->shared, position, room))
		return ERR_NONE;
	token = wal_files_take(wal);
	if (!wal_next_is_ready(wal->shared, position, room))
		rc = make_next(wal, position, room, err);
	wal_files_release(wal, token);
	return rc;
}

/* After a failure the next try comes when half of what was left is used. */
static uint64_t next_try(const struct wal_position *position)
{
	return position->appended +
	       (position->segment_end - position->appended) / 2 + 1;
}

bool wal_prepare_due(const struct wal *wal)
{
	const struct wal_shared *shared = wal->shared;

	return atomic_load_explicit(&shared->appended, memory_order_relaxed) >=
	       atomic_load_explicit(&shared->prepare_at, memory_order_relaxed);
}

int wal_prepare(struct wal *wal, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	uint64_t at = atomic_load_explicit(&shared->prepare_at,
	                                   memory_order_relaxed);
	struct wal_position position;
	uint64_t token;
	int rc = ERR_NONE;

	if (!wal_prepare_due(wal) || atomic_load(&shared->failed))
		return ERR_NONE;
	token = wal_claim_take(wal, &shared->files_claim, true);
	if (!token)
		return ERR_NONE;
	wal_position_read(shared, &position);
	if (!wal_next_is_ready(shared, &position, 0))
		rc = make_next(wal, &position, 0, err);
	/* Unless the log has gone on to the new segment and set its own. */
	atomic_compare_exchange_strong(&shared->prepare_at, &at,
	                               rc ? next_try(&position) : NOWHERE);
	wal_files_release(wal, token);
	return rc;
}

/* Starting */

static bool is_whole(const struct wal_segment *item)
{
	return item->file_size >= item->size;
}

/* A file that the replay did not need, or NULL: one that lies wholly before it, or
 * one that was begun where it ends, by an opening that wrote nothing. Otherwise
 * openings that fail each time would leave a segment each. */
static const struct wal_segment *choose_unneeded(const struct wal *wal,
                                                 const struct wal_list *list,
                                                 uint64_t lsn)
{
	for (size_t i = 0; i < list->valid_count; i++) {
		const struct wal_segment *item = &list->items[i];

		if (is_whole(item) &&
		    ((i == 0 && item->end <= wal->replayed_from) ||
		     (item->flags & WAL_SEGMENT_STARTED && item->start == lsn)))
			return item;
	}
	return NULL;
}

static int remove_headless(struct wal *wal, const struct wal_list *list,
                           struct err *err)
{
	int rc = wal_list_check_damage(wal, list, err);

	for (size_t i = list->valid_count; i < list->count && !rc; i++)
		rc = wal_segment_unlink(wal, list->items[i].no, err);
	return rc;
}

static void fill_shared(struct wal_shared *shared,
                        const struct wal_segment *segment, uint64_t oldest)
{
	struct wal_position position = {
		.appended = segment->first,
		.last_checksum = segment->salt,
		.segment_first = segment->first,
		.segment_end = segment->end,
		.segment_salt = segment->salt,
		.segment_no = segment->no,
		.previous_first = segment->first,
	};

	atomic_store(&shared->next_first, NOWHERE);
	atomic_store(&shared->first_lsn, oldest);
	atomic_store(&shared->durable, segment->first);
	wal_position_publish(shared, &position);
	atomic_store(&shared->prepare_at, wal_prepare_position(&position));
}

static uint64_t position_beyond(const struct wal_list *list, uint64_t lsn)
{
	for (size_t i = 0; i < list->valid_count; i++)
		if (list->items[i].end > lsn)
			lsn = list->items[i].end;
	return lsn;
}

static int start_in(struct wal *wal, const struct wal_list *list,
                    uint64_t lsn, struct wal_segment *segment,
                    struct err *err)
{
	const struct wal_segment *chosen = choose_unneeded(wal, list, lsn);

	if (chosen)
		reuse(segment, chosen);
	segment->size = wal->options.segment_size < SEGMENT_SIZE_FIRST ?
		wal->options.segment_size : SEGMENT_SIZE_FIRST;
	if (segment->size < segment->file_size)
		segment->size = segment->file_size;
	segment->first = position_beyond(list, lsn);
	segment->start = lsn;
	segment->flags = WAL_SEGMENT_STARTED;
	if (segment->first > WAL_LSN_MAX)
		return err_set(err, ERR_CORRUPT, "start the log", "wal",
		               "position %" PRIu64 " is beyond the end of "
		               "all logs", segment->first);
	return chosen ? wal_segment_make(wal, segment, segment->size, err) :
	                make_new(wal, segment, segment->size, err);
}

int wal_start(struct wal *wal, uint64_t lsn, struct err *err)
{
	struct wal_segment segment = { 0 };
	struct wal_list list;
	uint64_t oldest;
	int rc;

	if (lsn % WAL_RECORD_ALIGNMENT)
		return err_set(err, ERR_INVALID, "start the log", "wal",
		               "%" PRIu64 " is no position of a record", lsn);
	rc = wal_list_read(wal, &list, err);
	if (rc)
		return rc;
	wal_files_close(wal);
	atomic_store(&wal->shared->last_no, list.last_no);
	rc = remove_headless(wal, &list, err);
	if (!rc)
		rc = start_in(wal, &list, lsn, &segment, err);
	oldest = segment.first;
	for (size_t i = 0; i < list.valid_count; i++)
		if (list.items[i].no != segment.no &&
		    list.items[i].first < oldest)
			oldest = list.items[i].first;
	wal_list_close(wal, &list);
	if (rc)
		return rc;
	fill_shared(wal->shared, &segment, oldest);
	return ERR_NONE;
}

uint64_t wal_line(const struct wal *wal)
{
	struct wal_position position;

	wal_position_read(wal->shared, &position);
	return position.segment_salt;
}
