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
 * Parts         Several threads may each walk along a part. A part begins with the
 *               first record behind some position that holds, and counts only when the
 *               one before it has come to just there and it names that one's last
 *               record: then all is as if one walk had read both.
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
	GUESS_STEP = 65536,
};

/* What goes along the line of records, or along a part of it: one thread at a time. */
struct walk {
	struct wal_history *history;
	struct wal_reader reader;
	size_t current;          /* of the list                              */
	uint64_t at;
	uint64_t stop;           /* no record that begins there or later is read */
	uint64_t previous;       /* checksum the next record has to name ...  */
	bool previous_known;     /* ... unless it is the first one read       */
	bool is_cut;
	bool failed;
	bool any;                /* a record was read, the first one here;    */
	uint64_t first_at;       /* it named this as its previous             */
	uint64_t first_previous;
	wal_record_fn *each;
	void *context;
};

struct wal_history {
	struct wal *wal;
	struct wal_list list;
	struct wal_map map;
	size_t *mapped_at;       /* of each segment, in the map              */
	size_t *line;            /* of the list: segments in a row           */
	bool *mapped;
	uint64_t from;
	bool none_expected, is_cut, cut;
	struct walk walks[WAL_PARTS_MAX]; /* the first one is for the whole, too */
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
	struct walk *walk = &history->walks[0];
	bool found = false;

	*walk = (struct walk){ .history = history, .reader = walk->reader,
	                       .at = history->from, .stop = UINT64_MAX };

	for (size_t i = 0; i < list->valid_count; i++) {
		const struct wal_segment *item = &list->items[i];
		bool starts = item->flags & WAL_SEGMENT_STARTED &&
		              item->start == history->from;

		if (!starts && (history->from < item->first ||
		                history->from >= item->end))
			continue;
		found = true;
		walk->current = i;
		walk->at = starts ? item->first : history->from;
	}
	*empty = !found;
	if (found || history->none_expected ||
	    (list->valid_count == 0 && history->from == 0))
		return ERR_NONE;
	walk->is_cut = true;
	return fail_position(err, history->from, list->valid_count ?
	                     "which is in no segment of the log" :
	                     "but the log has no segments");
}

/* Opens segment i of the list in the reader, mapped once, for reading only. (L1) */
static int open_segment(struct walk *walk, size_t i, struct err *err)
{
	struct wal_history *history = walk->history;
	const struct wal_segment *item = &history->list.items[i];
	size_t at = history->mapped_at[i];
	int rc = wal_reader_open(history->wal, &walk->reader, item, err);

	if (!rc && !history->mapped[i])
		rc = wal_map_segment(&history->map, at, walk->reader.file, item,
		                     err);
	if (rc)
		return rc;
	if (!history->mapped[i])
		history->mapped[i] = true;
	wal_reader_use_map(&walk->reader, history->map.bytes + at);
	return ERR_NONE;
}

static int open_current(struct walk *walk, struct err *err)
{
	const struct wal_segment *item =
		&walk->history->list.items[walk->current];

	if (walk->at == item->first && item->flags & WAL_SEGMENT_STARTED) {
		walk->previous = item->salt;
		walk->previous_known = true;
	}
	return open_segment(walk, walk->current, err);
}

/* The segment that goes on where segment i ends; the list's end if there is none. */
static size_t next_of_line(const struct wal_list *list, size_t i)
{
	uint64_t first = list->items[i].end;

	for (i++; i < list->valid_count; i++)
		if (list->items[i].first == first &&
		    !(list->items[i].flags & WAL_SEGMENT_STARTED))
			break;
	return i;
}

/* The segment in use was closed by a record; the next one of its line must be there.
 * (L3) */
static int go_on(struct walk *walk, struct err *err)
{
	const struct wal_list *list = &walk->history->list;
	const struct wal_segment *closed = &list->items[walk->current];
	size_t next = next_of_line(list, walk->current);
	char name[WAL_NAME_SIZE];

	if (next < list->valid_count) {
		walk->at = closed->end;
		walk->current = next;
		return open_current(walk, err);
	}
	wal_segment_name(name, closed->no);
	walk->is_cut = true;
	return err_set(err, ERR_CORRUPT, "replay the log", name,
	               "the segment that continues it at position %" PRIu64
	               " is missing or has lost its header", closed->end);
}

/* Asks for as many bytes as the record has, some records ahead: 5 % of what following
 * small ones takes. Inlined always: gcc leaves out calls that only prefetch. */
static inline __attribute__((always_inline)) void
ask_ahead(const uint8_t *at, uint64_t size)
{
	for (uint64_t i = 0; i < size && i < AHEAD_MAX; i += LINE)
		__builtin_prefetch(at + AHEAD + i);
}

static int walk_records(struct walk *walk, struct err *err)
{
	const struct wal_options *options = &walk->history->wal->options;

	(void)options; /* of tests only */
	while (walk->at < walk->stop) {
		struct wal_record record;
		struct span payload;
		bool holds;
		int rc;

		rc = wal_reader_record(&walk->reader, walk->at, &record,
		                       &payload, &holds, err);
		if (rc || !holds || /* or does not follow: (wal/record A3) */
		    (walk->previous_known && record.previous != walk->previous &&
		     !PLANTED(options, PLANT_SALT_REPEATED)))
			return rc;
		ask_ahead(payload.data, record.size);
		if (__builtin_expect(!walk->any, 0)) {
			walk->any = true;
			walk->first_at = record.lsn;
			walk->first_previous = record.previous;
		}
		if (record.magic == WAL_RECORD_MAGIC)
			rc = walk->each(walk->context, record.lsn, payload, err);
		walk->at += record.size;
		walk->previous = record.checksum;
		walk->previous_known = true;
		if (!rc && record.magic == WAL_RECORD_LAST)
			rc = go_on(walk, err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* Looks in the reader's segment for a record that knew more to be durable. */
static int search_segment(struct walk *walk, uint64_t from, struct err *err)
{
	struct wal_record record;
	bool found;
	int rc;

	for (;;) {
		rc = wal_reader_search(&walk->reader, &from, &record, &found,
		                       err);
		if (rc || !found)
			return rc;
		if (record.durable > walk->at) {
			walk->is_cut = true;
			return err_set(err, ERR_CORRUPT, "replay the log",
			               walk->reader.file->name,
			               "the record at position %" PRIu64 " is "
			               "damaged, but the one at %" PRIu64
			               " says that it had been durable",
			               walk->at, record.lsn);
		}
		from += record.size;
	}
}

static int search_segments(struct walk *walk, size_t i, struct err *err)
{
	const struct wal_list *list = &walk->history->list;
	int rc = ERR_NONE;

	for (; i < list->valid_count && !rc; i++) {
		if (list->items[i].end <= walk->at)
			continue;
		rc = open_segment(walk, i, err);
		if (!rc)
			rc = search_segment(walk, list->items[i].first, err);
	}
	return rc;
}

/* What lies behind the last record that holds. */
static int search_rest(struct walk *walk, struct err *err)
{
	int rc = search_segment(walk, walk->at, err);

	return rc ? rc : search_segments(walk, walk->current + 1, err);
}

static int read_all(struct walk *walk, bool empty, struct err *err)
{
	int rc;

	if (empty)
		return search_segments(walk, 0, err);
	rc = open_current(walk, err);
	if (!rc)
		rc = walk_records(walk, err);
	return rc ? rc : search_rest(walk, err);
}

/* What a reading came to that ended in `walk`. */
static int conclude(struct wal_history *history, const struct walk *walk, int rc,
                    const struct err *reason, uint64_t *end, struct err *err)
{
	for (uint32_t i = 0; i < WAL_PARTS_MAX; i++)
		wal_reader_close(&history->walks[i].reader);
	history->is_cut = walk->is_cut;
	if (rc && history->is_cut && history->cut)
		rc = ERR_NONE;
	if (rc) {
		if (err)
			*err = *reason;
		return rc;
	}
	history->wal->replayed_from = history->from;
	*end = walk->at;
	return ERR_NONE;
}

/* Starts over each time. (L2) */
int wal_history_read(struct wal_history *history, wal_record_fn *each,
                     void *context, uint64_t *end, struct err *err)
{
	struct walk *walk = &history->walks[0];
	struct err reason;
	bool empty;
	int rc = find_start(history, &empty, &reason);

	walk->each = each;
	walk->context = context;
	if (!rc)
		rc = read_all(walk, empty, &reason);
	return conclude(history, walk, rc, &reason, end, err);
}

/* --- in parts ----------------------------------------------------------------------- */

/* The segments that may follow each other from where the history begins on. They are
 * mapped, before there are several threads. */
static size_t open_line(struct wal_history *history, struct err *err)
{
	const struct wal_list *list = &history->list;
	size_t count = 0, i = history->walks[0].current;

	for (; i < list->valid_count; i = next_of_line(list, i)) {
		if (open_segment(&history->walks[0], i, err))
			return 0;
		history->line[count++] = i;
	}
	return count;
}

/* Whether records were ever written there; a guess. */
static bool looks_used(struct walk *walk, uint64_t lsn)
{
	const struct wal_segment *segment = &walk->reader.segment;
	uint8_t bytes[LINE], all = 0;
	struct err ignored;

	if (segment->end - lsn < sizeof bytes ||
	    os_read(walk->reader.file, wal_segment_offset(segment->first, lsn),
	            bytes, sizeof bytes, &ignored))
		return false;
	for (size_t i = 0; i < sizeof bytes; i++)
		all |= bytes[i];
	return all != 0;
}

/* Where the records of the line end, about: preallocated bytes are zeros. */
static uint64_t guess_end(struct wal_history *history, size_t count)
{
	struct walk *walk = &history->walks[0];
	uint64_t low = walk->at, high = walk->at;
	struct err ignored;

	for (; count; count--) {
		const struct wal_segment *item =
			&history->list.items[history->line[count - 1]];

		low = item->first > walk->at ? item->first : walk->at;
		high = item->end;
		if (open_segment(walk, history->line[count - 1], &ignored))
			return walk->at;
		if (looks_used(walk, low))
			break;
	}
	while (count && high - low > GUESS_STEP) {
		uint64_t middle = low + (high - low) / 2 /
		                  WAL_RECORD_ALIGNMENT * WAL_RECORD_ALIGNMENT;

		if (looks_used(walk, middle))
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The next part begins behind `at`; the one before ends there. */
static void begin_part(struct wal_history *history, uint32_t part, uint64_t at)
{
	struct walk *walk = &history->walks[part];
	const size_t *line = history->line;

	while (history->list.items[*line].end <= at)
		line++;
	*walk = (struct walk){ .history = history, .reader = walk->reader,
	                       .current = *line, .at = at,
	                       .stop = UINT64_MAX };
	walk[-1].stop = at;
}

uint32_t wal_history_part(struct wal_history *history, uint32_t most,
                          uint64_t least)
{
	uint64_t from, bytes, parts;
	struct err ignored;
	size_t count;
	bool empty;

	if (history->cut || find_start(history, &empty, &ignored) || empty)
		return 1;
	count = open_line(history, &ignored);
	from = history->walks[0].at;
	bytes = guess_end(history, count) - from;
	parts = bytes / least;
	parts = parts < most ? parts : most;
	parts = parts < WAL_PARTS_MAX ? parts : WAL_PARTS_MAX;
	for (uint32_t i = 1; i < parts; i++)
		begin_part(history, i,
		           from + bytes * i / parts / WAL_RECORD_ALIGNMENT *
		                          WAL_RECORD_ALIGNMENT);
	return parts > 1 ? (uint32_t)parts : 1;
}

/* To the first record that holds at `at` or later, of this segment or the next. */
static int seek(struct walk *walk, struct err *err)
{
	const struct wal_list *list = &walk->history->list;
	const struct wal_segment *item = &list->items[walk->current];
	struct wal_record record;
	bool found;
	int rc = open_segment(walk, walk->current, err);

	if (rc)
		return rc;
	wal_reader_skip(&walk->reader, walk->at);
	rc = wal_reader_search(&walk->reader, &walk->at, &record, &found, err);
	if (rc || found)
		return rc;
	walk->at = item->end;
	walk->current = next_of_line(list, walk->current);
	return walk->current < list->valid_count
	               ? open_segment(walk, walk->current, err)
	               : ERR_NONE;
}

int wal_history_read_part(struct wal_history *history, uint32_t part,
                          wal_record_fn *each, void *context, struct err *err)
{
	struct walk *walk = &history->walks[part];
	int rc;

	walk->each = each;
	walk->context = context;
	rc = part ? seek(walk, err) : open_current(walk, err);
	if (!rc)
		rc = walk_records(walk, err);
	walk->failed = rc != ERR_NONE;
	return rc;
}

enum wal_joint wal_history_joint(const struct wal_history *history,
                                 uint32_t part)
{
	const struct walk *before = &history->walks[part - 1];
	const struct walk *walk = &history->walks[part];

	if (before->at < before->stop)
		return WAL_JOINT_ENDED;
	if (walk->failed)
		return WAL_JOINT_BROKEN;
	/* No record, or one that reaches over the whole part. */
	if (!walk->any)
		return walk->at < walk->stop ? WAL_JOINT_ENDED
		                             : WAL_JOINT_BROKEN;
	return walk->first_at == before->at &&
	       walk->first_previous == before->previous
	               ? WAL_JOINT_HOLDS : WAL_JOINT_BROKEN;
}

int wal_history_end(struct wal_history *history, uint32_t part, uint64_t *end,
                    struct err *err)
{
	struct walk *walk = &history->walks[part];
	struct err reason;
	int rc = search_rest(walk, &reason);

	return conclude(history, walk, rc, &reason, end, err);
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
	for (uint32_t i = 0; i < WAL_PARTS_MAX; i++)
		wal_reader_close(&history->walks[i].reader);
	wal_map_close(&history->map);
	wal_list_close(history->wal, &history->list);
	heap_free(heap, history->mapped_at);
	heap_free(heap, history);
}

/* One block for what is known of each segment. */
static int make_table(struct wal_history *history, struct err *err)
{
	size_t count = history->list.valid_count + 1;
	size_t each = sizeof *history->mapped_at + sizeof *history->line +
	              sizeof *history->mapped;

	history->mapped_at = heap_zeroed(history->wal->heap, count * each);
	if (!history->mapped_at)
		return err_set(err, ERR_NOMEM, "replay the log", "wal",
		               "out of memory for %zu segments", count - 1);
	history->line = history->mapped_at + count;
	history->mapped = (bool *)(history->line + count);
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
	history->from = from;
	for (uint32_t i = 0; i < WAL_PARTS_MAX; i++)
		wal_reader_init(&history->walks[i].reader, wal->heap);
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
