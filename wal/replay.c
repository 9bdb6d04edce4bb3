/*
 * replay.c - reads the log back, and decides where it ends.
 *
 * Purpose       After the last process died or the power went: every record
 *               from a position on, in order, once.
 * The end       The first record that does not hold is the end, for a torn or
 *               lost tail is what a crash leaves. But a record carries the
 *               durable position known when it was appended: if one that holds
 *               further on knew a position beyond the end, then what is missing
 *               had been promised, and the log is corrupt. So the rest of the
 *               segment and all later ones are searched: some 4 ms for 16 MB.
 * Safety        (L1) Nothing is written. (L2) The same bytes give the same
 *               records and the same end. (L3) Records of a line that was
 *               started after the end found here are never replayed: when
 *               there are any, the checkpoint that goes with them is missing.
 */
#include "wal/wal_private.h"

#include <inttypes.h>

struct replay {
	struct wal_list list;
	struct wal_reader reader;
	size_t current;          /* of the list                              */
	uint64_t from;
	uint64_t at;
	uint64_t previous;       /* checksum the next record has to name ...  */
	bool previous_known;     /* ... unless it is the first one read       */
	wal_record_fn *each;
	void *context;
};

static int fail_position(struct err *err, uint64_t from, const char *why)
{
	return err_set(err, ERR_CORRUPT, "replay the log", "wal",
	               "the last checkpoint continues at position %" PRIu64
	               ", %s", from, why);
}

/* Where `from` leads: into a segment that holds it, or to the start of the line
 * that was begun when the log ended there. */
static int find_start(struct replay *replay, bool *empty, struct err *err)
{
	const struct wal_list *list = &replay->list;
	bool found = false;

	for (size_t i = 0; i < list->valid_count; i++) {
		const struct wal_segment *item = &list->items[i];
		bool starts = item->flags & WAL_SEGMENT_STARTED &&
		              item->start == replay->from;

		if (!starts && (replay->from < item->first ||
		                replay->from >= item->end))
			continue;
		found = true;
		replay->current = i;
		replay->at = starts ? item->first : replay->from;
	}
	*empty = !found;
	if (found || (list->valid_count == 0 && replay->from == 0))
		return ERR_NONE;
	return fail_position(err, replay->from, list->valid_count ?
	                     "which is in no segment of the log" :
	                     "but the log has no segments");
}

static int open_current(struct wal *wal, struct replay *replay,
                        struct err *err)
{
	const struct wal_segment *item = &replay->list.items[replay->current];

	if (replay->at == item->first && item->flags & WAL_SEGMENT_STARTED) {
		replay->previous = item->salt;
		replay->previous_known = true;
	}
	return wal_reader_open(wal, &replay->reader, item, err);
}

/* The segment in use was closed by a record; the next one must be there. */
static int go_on(struct wal *wal, struct replay *replay, struct err *err)
{
	const struct wal_list *list = &replay->list;
	uint64_t first = list->items[replay->current].end;
	char name[WAL_NAME_SIZE];

	for (size_t i = replay->current + 1; i < list->valid_count; i++)
		if (list->items[i].first == first &&
		    !(list->items[i].flags & WAL_SEGMENT_STARTED)) {
			replay->current = i;
			replay->at = first;
			return open_current(wal, replay, err);
		}
	wal_segment_name(name, list->items[replay->current].no);
	return err_set(err, ERR_CORRUPT, "replay the log", name,
	               "the segment that continues it at position %" PRIu64
	               " is missing or has lost its header", first);
}

static int replay_records(struct wal *wal, struct replay *replay,
                          struct err *err)
{
	for (;;) {
		struct wal_record record;
		struct span payload;
		bool holds;
		int rc;

		rc = wal_reader_record(&replay->reader, replay->at, &record,
		                       &payload, &holds, err);
		if (rc || !holds ||
		    (replay->previous_known &&
		     record.previous != replay->previous &&
		     !PLANTED(&wal->options, PLANT_SALT_REPEATED)))
			return rc;
		if (record.magic == WAL_RECORD_MAGIC)
			rc = replay->each(replay->context, record.lsn, payload,
			                  err);
		replay->at += record.size;
		replay->previous = record.checksum;
		replay->previous_known = true;
		if (!rc && record.magic == WAL_RECORD_LAST)
			rc = go_on(wal, replay, err);
		if (rc)
			return rc;
	}
}

/* Looks in the reader's segment for a record that knew more to be durable. */
static int search_segment(struct replay *replay, uint64_t from,
                          struct err *err)
{
	struct wal_record record;
	bool found;
	int rc;

	for (;;) {
		rc = wal_reader_search(&replay->reader, &from, &record, &found,
		                       err);
		if (rc || !found)
			return rc;
		if (record.durable > replay->at)
			return err_set(err, ERR_CORRUPT, "replay the log",
			               replay->reader.file->name,
			               "the record at position %" PRIu64 " is "
			               "damaged, but the one at %" PRIu64
			               " says that it had been durable",
			               replay->at, record.lsn);
		from += record.size;
	}
}

static int search_later_segments(struct wal *wal, struct replay *replay,
                                 struct err *err)
{
	const struct wal_list *list = &replay->list;
	int rc = search_segment(replay, replay->at, err);

	for (size_t i = replay->current + 1; i < list->valid_count && !rc; i++) {
		rc = wal_reader_open(wal, &replay->reader, &list->items[i],
		                     err);
		if (!rc)
			rc = search_segment(replay, list->items[i].first, err);
	}
	return rc;
}

static int replay_list(struct wal *wal, struct replay *replay,
                       struct err *err)
{
	bool empty;
	int rc;

	rc = wal_list_check_damage(wal, &replay->list, err);
	if (!rc)
		rc = find_start(replay, &empty, err);
	if (rc || empty)
		return rc;
	rc = open_current(wal, replay, err);
	if (!rc)
		rc = replay_records(wal, replay, err);
	return rc ? rc : search_later_segments(wal, replay, err);
}

int wal_replay(struct wal *wal, uint64_t from, wal_record_fn *each,
               void *context, uint64_t *end, struct err *err)
{
	struct replay replay = { .from = from, .at = from, .each = each,
		                 .context = context };
	int rc;

	rc = wal_list_read(wal, &replay.list, err);
	if (rc)
		return rc;
	wal_reader_init(&replay.reader, wal->heap);
	rc = replay_list(wal, &replay, err);
	wal_reader_close(&replay.reader);
	wal_list_close(wal, &replay.list);
	if (rc)
		return rc;
	wal->replayed_from = from;
	*end = replay.at;
	return ERR_NONE;
}
