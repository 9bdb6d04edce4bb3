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
 * Missing       Parts are errors, unless the reader knows that nothing was ever appended
 *               from its position on, or has been told to end there.
 */
#include "wal/wal_private.h"

#include <inttypes.h>

/* Positions that lost segments might have held; beyond them a new line begins. */
#define LOST_SPAN (UINT64_C(1) << 40)

enum {
	LINE = 64,
	AHEAD = 2048,    /* bytes; the processor itself stops at each 4 KB */
	AHEAD_MAX = 512, /* of a record */
};

struct wal_history {
	struct wal *wal;
	struct wal_list list;
	struct wal_map map;
	size_t *mapped_at;       /* of each segment, in the map              */
	bool *mapped;
	struct wal_reader reader;
	size_t current;          /* of the list                              */
	uint64_t from;
	uint64_t at;
	uint64_t previous;       /* checksum the next record has to name ...  */
	bool previous_known;     /* ... unless it is the first one read       */
	bool none_expected, is_cut, cut;
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
static int find_start(struct wal_history *history, bool *empty, struct err *err)
{
	const struct wal_list *list = &history->list;
	bool found = false;

	for (size_t i = 0; i < list->valid_count; i++) {
		const struct wal_segment *item = &list->items[i];
		bool starts = item->flags & WAL_SEGMENT_STARTED &&
		              item->start == history->from;

		if (!starts && (history->from < item->first ||
		                history->from >= item->end))
			continue;
		found = true;
		history->current = i;
		history->at = starts ? item->first : history->from;
	}
	*empty = !found;
	if (found || history->none_expected ||
	    (list->valid_count == 0 && history->from == 0))
		return ERR_NONE;
	history->is_cut = true;
	return fail_position(err, history->from, list->valid_count ?
	                     "which is in no segment of the log" :
	                     "but the log has no segments");
}

/* Opens segment i of the list in the reader, mapped once. */
static int open_segment(struct wal_history *history, size_t i, struct err *err)
{
	const struct wal_segment *item = &history->list.items[i];
	size_t at = history->mapped_at[i];
	int rc = wal_reader_open(history->wal, &history->reader, item, err);

	if (!rc && !history->mapped[i])
		rc = wal_map_segment(&history->map, at, history->reader.file,
		                     item, err);
	if (rc)
		return rc;
	history->mapped[i] = true;
	wal_reader_use_map(&history->reader, history->map.bytes + at);
	return ERR_NONE;
}

static int open_current(struct wal_history *history, struct err *err)
{
	const struct wal_segment *item = &history->list.items[history->current];

	if (history->at == item->first && item->flags & WAL_SEGMENT_STARTED) {
		history->previous = item->salt;
		history->previous_known = true;
	}
	return open_segment(history, history->current, err);
}

/* The segment in use was closed by a record; the next one must be there. */
static int go_on(struct wal_history *history, struct err *err)
{
	const struct wal_list *list = &history->list;
	uint64_t first = list->items[history->current].end;
	char name[WAL_NAME_SIZE];

	for (size_t i = history->current + 1; i < list->valid_count; i++)
		if (list->items[i].first == first &&
		    !(list->items[i].flags & WAL_SEGMENT_STARTED)) {
			history->current = i;
			history->at = first;
			return open_current(history, err);
		}
	wal_segment_name(name, list->items[history->current].no);
	history->is_cut = true;
	return err_set(err, ERR_CORRUPT, "replay the log", name,
	               "the segment that continues it at position %" PRIu64
	               " is missing or has lost its header", first);
}

/* Asks for as many bytes as the record has, some records ahead: 5 % of what following
 * small ones takes. Inlined always: gcc leaves out calls that only prefetch. */
static inline __attribute__((always_inline)) void
ask_ahead(const uint8_t *at, uint64_t size)
{
	for (uint64_t i = 0; i < size && i < AHEAD_MAX; i += LINE)
		__builtin_prefetch(at + AHEAD + i);
}

static int replay_records(struct wal_history *history, struct err *err)
{
	for (;;) {
		struct wal_record record;
		struct span payload;
		bool holds;
		int rc;

		rc = wal_reader_record(&history->reader, history->at, &record,
		                       &payload, &holds, err);
		if (rc || !holds ||
		    (history->previous_known &&
		     record.previous != history->previous &&
		     !PLANTED(&history->wal->options, PLANT_SALT_REPEATED)))
			return rc;
		ask_ahead(payload.data, record.size);
		if (record.magic == WAL_RECORD_MAGIC)
			rc = history->each(history->context, record.lsn, payload,
			                  err);
		history->at += record.size;
		history->previous = record.checksum;
		history->previous_known = true;
		if (!rc && record.magic == WAL_RECORD_LAST)
			rc = go_on(history, err);
		if (rc)
			return rc;
	}
}

/* Looks in the reader's segment for a record that knew more to be durable. */
static int search_segment(struct wal_history *history, uint64_t from,
                          struct err *err)
{
	struct wal_record record;
	bool found;
	int rc;

	for (;;) {
		rc = wal_reader_search(&history->reader, &from, &record, &found,
		                       err);
		if (rc || !found)
			return rc;
		if (record.durable > history->at) {
			history->is_cut = true;
			return err_set(err, ERR_CORRUPT, "replay the log",
			               history->reader.file->name,
			               "the record at position %" PRIu64 " is "
			               "damaged, but the one at %" PRIu64
			               " says that it had been durable",
			               history->at, record.lsn);
		}
		from += record.size;
	}
}

static int search_segments(struct wal_history *history, size_t i,
                           struct err *err)
{
	const struct wal_list *list = &history->list;
	int rc = ERR_NONE;

	for (; i < list->valid_count && !rc; i++) {
		if (list->items[i].end <= history->at)
			continue;
		rc = open_segment(history, i, err);
		if (!rc)
			rc = search_segment(history, list->items[i].first, err);
	}
	return rc;
}

static int read_all(struct wal_history *history, bool empty, struct err *err)
{
	int rc;

	if (empty)
		return search_segments(history, 0, err);
	rc = open_current(history, err);
	if (!rc)
		rc = replay_records(history, err);
	if (!rc)
		rc = search_segment(history, history->at, err);
	return rc ? rc : search_segments(history, history->current + 1, err);
}

int wal_history_read(struct wal_history *history, wal_record_fn *each,
                     void *context, uint64_t *end, struct err *err)
{
	struct err reason;
	bool empty;
	int rc;

	history->each = each;
	history->context = context;
	history->previous_known = history->is_cut = false;
	history->at = history->from;
	rc = find_start(history, &empty, &reason);
	if (!rc)
		rc = read_all(history, empty, &reason);
	wal_reader_close(&history->reader);
	if (rc && history->is_cut && history->cut)
		rc = ERR_NONE;
	if (rc) {
		if (err)
			*err = reason;
		return rc;
	}
	history->wal->replayed_from = history->from;
	*end = history->at;
	return ERR_NONE;
}

const uint8_t *wal_history_start(const struct wal_history *history,
                                 uint64_t *bytes)
{
	*bytes = history->map.size;
	return history->map.bytes;
}

void wal_history_expect_none(struct wal_history *history)
{
	history->none_expected = true;
}

bool wal_history_is_cut(const struct wal_history *history)
{
	return history->is_cut;
}

void wal_history_cut(struct wal_history *history)
{
	history->cut = true;
}

uint64_t wal_history_beyond(const struct wal_history *history)
{
	const struct wal_list *list = &history->list;
	uint64_t end = history->from;

	for (size_t i = 0; i < list->valid_count; i++)
		if (list->items[i].end > end)
			end = list->items[i].end;
	return end + LOST_SPAN;
}

bool wal_history_has(const struct wal_history *history, uint64_t salt)
{
	const struct wal_list *list = &history->list;

	for (size_t i = 0; i < list->valid_count; i++)
		if (list->items[i].salt == salt)
			return true;
	return false;
}

void wal_history_close(struct wal_history *history)
{
	struct heap *heap;

	if (!history)
		return;
	heap = history->wal->heap;
	wal_map_close(&history->map);
	wal_list_close(history->wal, &history->list);
	heap_free(heap, history->mapped_at);
	heap_free(heap, history);
}

/* One block for what is known of each segment. */
static int make_table(struct wal_history *history, struct err *err)
{
	size_t count = history->list.valid_count + 1;
	size_t each = sizeof *history->mapped_at + sizeof *history->mapped;

	history->mapped_at = heap_zeroed(history->wal->heap, count * each);
	if (!history->mapped_at)
		return err_set(err, ERR_NOMEM, "replay the log", "wal",
		               "out of memory for %zu segments", count - 1);
	history->mapped = (bool *)(history->mapped_at + count);
	return ERR_NONE;
}

int wal_history_open(struct wal *wal, uint64_t from,
                     struct wal_history **opened, struct err *err)
{
	struct wal_history *history = heap_zeroed(wal->heap, sizeof *history);
	int rc;

	if (!history)
		return err_set(err, ERR_NOMEM, "replay the log", "wal",
		               "out of memory");
	history->wal = wal;
	history->from = history->at = from;
	wal_reader_init(&history->reader, wal->heap);
	rc = wal_list_read(wal, &history->list, err);
	if (!rc)
		rc = wal_list_check_damage(wal, &history->list, err);
	if (!rc)
		rc = make_table(history, err);
	if (!rc)
		rc = wal_map_open(wal, &history->list, &history->map,
		                  history->mapped_at, err);
	if (rc) {
		wal_history_close(history);
		return rc;
	}
	*opened = history;
	return ERR_NONE;
}

int wal_replay(struct wal *wal, uint64_t from, wal_record_fn *each,
               void *context, uint64_t *end, struct err *err)
{
	struct wal_history *history;
	int rc = wal_history_open(wal, from, &history, err);

	if (rc)
		return rc;
	rc = wal_history_read(history, each, context, end, err);
	wal_history_close(history);
	return rc;
}
