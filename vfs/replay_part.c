/*
 * replay_part.c - follows parts of a log at once, and joins what they say.
 *
 * Purpose       To follow a log takes as long as to make its pages. Where there are
 *               several processors each takes a part.
 * Structures    The first part is the replay itself. Any other is a replay of its own,
 *               which does not know what was before: it takes for granted that files and
 *               pages are there, and notes it. Versions, lists of changes and places
 *               come as always; items of which more must be known wait. Joined in order,
 *               what was taken for granted is looked at, and the rest is put behind what
 *               the parts before have said. Catalog entries change with most commits in
 *               the same few bytes, so these are laid over each other.
 * Performance   A page that two parts change costs two descriptions and a joint of
 *               0.2 us. Without a limit on the heap only.
 * Safety        (P1) Nothing of a part counts before all of its assumptions and its
 *               joint have held. Whatever else happens in parts, the log is followed
 *               once more in one, and that decides: so there is one place that says
 *               where a log ends and what is wrong with it, and the first fault in it is
 *               the one that is told. (P2) Nothing is written.
 */
#include "vfs/replay_private.h"

enum {
	PART_BYTES_MIN = 1 << 20,
	LATER_ROOM_FIRST = 64,
};

struct replay_overlay {
	uint8_t bytes[CATALOG_ENTRY_LOGGED];
	uint8_t known[CATALOG_ENTRY_LOGGED]; /* 1: the part has set it */
};

/* What a part cannot tell alone. */
static int give_up(struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED, "follow a part of", "the log",
	               "it does not stand alone");
}

/* --- in a part ------------------------------------------------------------------------ */

static void presume_file(struct replay_file *file)
{
	file->presumed.exists |= !file->presumed.made;
}

void replay_part_note(struct replay_file *file, const struct record_item *item)
{
	struct replay_presumed *presumed = &file->presumed;

	presume_file(file);
	if (item->kind != RECORD_DIFF && item->kind != RECORD_FRESH &&
	    item->kind != RECORD_PLACED)
		return;
	presumed->place_bits |= item->place;
	if (presumed->place_max < item->place)
		presumed->place_max = item->place;
	if (item->kind != RECORD_PLACED && presumed->reach < item->reach)
		presumed->reach = item->reach;
}

static int later_add(struct replay *part, const struct replay_later *later,
                     struct err *err)
{
	size_t room = part->later_room ? part->later_room * 2
	                               : LATER_ROOM_FIRST;
	struct replay_later *items;

	if (part->later_count == part->later_room) {
		if (room * sizeof *items > part->budget)
			return give_up(err);
		items = heap_resize(part->store->heap, part->later,
		                    room * sizeof *items);
		if (!items)
			return give_up(err);
		part->later = items;
		part->later_room = room;
	}
	part->later[part->later_count++] = *later;
	return ERR_NONE;
}

int replay_part_placed(struct replay *part, const struct record_item *item,
                       struct err *err)
{
	return later_add(part, &(struct replay_later){
		.txid = part->txid, .file_id = item->file_id,
		.page_no = item->page_no, .place = item->place,
		.checksum = item->checksum,
	}, err);
}

/* Bytes of an entry that say what a file holds, not what it is. */
static bool is_content(uint64_t from, uint64_t to)
{
	return (from >= CATALOG_PAGE_COUNT_AT && to <= CATALOG_BIRTH_AT) ||
	       (from >= CATALOG_STATE_AT && to <= CATALOG_ENTRY_LOGGED);
}

/* Lays the ranges over those before. False: not all are plain bytes of the content;
 * some of them may be laid. */
static bool overlay_put(struct replay_overlay *overlay, struct span ranges)
{
	const uint8_t *at = ranges.data, *end = at + ranges.size;
	uint64_t count, position = 0;
	struct record_range range;

	at = record_read_range_count(at, end, &count);
	for (; at && count; count--) {
		at = record_read_range(at, end, &range);
		if (!at || !range.bytes || range.skip > CATALOG_ENTRY_LOGGED ||
		    range.length > CATALOG_ENTRY_LOGGED)
			return false;
		position += range.skip;
		if (range.length && !is_content(position, position + range.length))
			return false;
		memcpy(overlay->bytes + position, range.bytes, range.length);
		memset(overlay->known + position, 1, range.length);
		position += range.length;
	}
	return at != NULL;
}

static bool only_content(struct span ranges)
{
	struct replay_overlay tried;

	return overlay_put(&tried, ranges);
}

/* Content is laid over; anything else waits, and comes before all content: it makes the
 * file, or is the catalog's own, which has no content here. */
int replay_part_entry(struct replay *part, struct replay_file *file,
                      const struct record_item *item, struct err *err)
{
	struct replay_presumed *presumed = &file->presumed;

	if (file->gone)
		return give_up(err);
	if (item->file_id == STORE_CATALOG_FILE_ID ||
	    !only_content(item->ranges)) {
		if (presumed->overlay)
			return give_up(err);
		presumed->made = true;
		return later_add(part, &(struct replay_later){
			.txid = part->txid, .file_id = item->file_id,
			.ranges = item->ranges,
		}, err);
	}
	presume_file(file);
	if (!presumed->overlay)
		presumed->overlay = heap_zeroed(part->store->heap,
		                                sizeof *presumed->overlay);
	if (!presumed->overlay)
		return give_up(err);
	overlay_put(presumed->overlay, item->ranges);
	return ERR_NONE;
}

/* --- joining -------------------------------------------------------------------------- */

static int join_later(struct replay *replay, const struct replay_later *later,
                      struct err *err)
{
	struct page_ref ref = { .place = later->place, .birth = later->txid,
	                        .checksum = later->checksum };
	struct replay_file *file;
	int rc = replay_file_find(replay, later->file_id, &file, err);

	if (rc)
		return rc;
	replay->txid = later->txid;
	if (later->ranges.data)
		return replay_entry_apply(replay, file, later->ranges, err);
	ref.length = file->page_size;
	return replay_placed_verify(replay, file, later->page_no, &ref, err);
}

static int join_content(struct replay *replay, struct replay_file *file,
                        const struct replay_overlay *overlay, struct err *err)
{
	struct catalog_entry entry = file->entry;

	if (!overlay)
		return ERR_NONE;
	for (size_t i = 0; i < CATALOG_ENTRY_LOGGED; i++)
		if (overlay->known[i])
			entry.bytes[i] = overlay->bytes[i];
	return replay_entry_set(replay, file, &entry, err);
}

/* (vfs/replay R4), and what depends on the size of pages. */
static int join_places(struct replay *replay, struct replay_file *file,
                       const struct replay_file *later, struct err *err)
{
	const struct replay_presumed *presumed = &later->presumed;

	if (presumed->reach > file->page_size ||
	    (presumed->place_bits & (file->units - 1)) != 0 ||
	    presumed->place_max > UINT32_MAX - file->units ||
	    sparse_bits_meet(&file->placed, &later->named) ||
	    sparse_bits_meet(&file->named, &later->placed))
		return give_up(err);
	return sparse_bits_join(&file->named, &later->named) &&
	                       sparse_bits_join(&file->placed, &later->placed)
	               ? ERR_NONE
	               : replay_no_room_for_places(replay, err);
}

static int join_file(struct replay *replay, const struct replay_file *later,
                     struct err *err)
{
	struct replay_file *file;
	int rc = replay_file_find(replay, later->file_id, &file, err);

	if (!rc)
		rc = join_content(replay, file, later->presumed.overlay, err);
	if (!rc && later->count)
		rc = join_places(replay, file, later, err);
	for (uint32_t i = 0; !rc && i < later->count; i++)
		rc = replay_page_join(replay, file, later,
		                      replay_page_at(later, i), err);
	if (!rc && later->gone) {
		file->gone = true;
		file->exists = false;
	}
	return rc;
}

static int check_presumed(struct replay *replay, const struct replay_file *later,
                          struct err *err)
{
	struct replay_file *file;
	int rc;

	if (!later->presumed.exists)
		return ERR_NONE;
	rc = replay_file_find(replay, later->file_id, &file, err);
	if (!rc && !replay_file_usable(file))
		rc = give_up(err);
	return rc;
}

/* Keeps (P1) with wal_history_joint(). */
static int join(struct replay *replay, struct replay *part, struct err *err)
{
	struct replay_file *later;
	int rc = ERR_NONE;

	if (!part->records)
		return ERR_NONE;
	if (part->txid_before != replay->txid)
		return give_up(err);
	for (later = part->files; !rc && later; later = later->next)
		rc = check_presumed(replay, later, err);
	for (size_t i = 0; !rc && i < part->later_count; i++)
		rc = join_later(replay, &part->later[i], err);
	for (later = part->files; !rc && later; later = later->next)
		rc = join_file(replay, later, err);
	if (rc)
		return rc;
	replay_changes_join(replay, part);
	replay->txid = part->txid;
	replay->records += part->records;
	return ERR_NONE;
}

/* --- all parts ------------------------------------------------------------------------ */

struct following {
	struct replay *replay;
	uint32_t parts;
	struct replay *each[WAL_PARTS_MAX]; /* the first is the replay      */
	bool failed[WAL_PARTS_MAX];
};
static_assert((int)CREW_MAX <= (int)WAL_PARTS_MAX, "a part for each of a crew");

/* Remembers, and writes nothing. (P2) */
static int follow_part(void *context, uint32_t i, struct err *err)
{
	struct following *following = context;
	struct replay *part = following->each[i];
	int rc = wal_history_read_part(part->history, i, replay_record, part,
	                               err);

	if (!rc)
		rc = replay_waiting_settle(part, err);
	following->failed[i] = rc != ERR_NONE;
	return ERR_NONE;
}

static bool parts_open(struct following *following)
{
	struct replay *replay = following->replay, *part;
	struct err ignored;

	following->each[0] = replay;
	for (uint32_t i = 1; i < following->parts; i++) {
		if (store_replay_open(replay->store, &replay->base, true, &part,
		                      &ignored))
			return false;
		part->part = true;
		part->history = replay->history;
		part->log = replay->log;
		part->budget = replay->budget / following->parts;
		following->each[i] = part;
	}
	return true;
}

static void parts_close(struct following *following)
{
	for (uint32_t i = 1; i < following->parts; i++)
		if (following->each[i])
			store_replay_close(following->each[i]);
}

/* Up to the one that the log ends in; *last. False: it is not known. */
static bool parts_join(struct following *following, uint32_t *last)
{
	struct replay *replay = following->replay;
	enum wal_joint joint = WAL_JOINT_HOLDS;
	struct err ignored;
	uint32_t i;

	if (following->failed[0])
		return false;
	for (i = 1; i < following->parts; i++) {
		joint = wal_history_joint(replay->history, i);
		if (joint != WAL_JOINT_HOLDS)
			break;
		if (following->failed[i] ||
		    join(replay, following->each[i], &ignored))
			return false;
		store_replay_close(following->each[i]);
		following->each[i] = NULL;
	}
	*last = i - 1;
	return joint != WAL_JOINT_BROKEN;
}

/* Each part has its share of the budget; the whole is the replay's again behind it. */
static bool parts_follow(struct following *following, uint32_t *last)
{
	struct replay *replay = following->replay;
	size_t budget = replay->budget;
	bool whole = parts_open(following);
	struct err ignored;

	replay->budget = budget / following->parts;
	if (whole)
		whole = !store_crew_run(replay->store, following->parts,
		                        follow_part, following, &ignored) &&
		        parts_join(following, last);
	replay->budget = budget;
	parts_close(following);
	return whole;
}

static uint32_t parts_of(const struct replay *replay)
{
	const struct store *store = replay->store;
	uint64_t least = PLANTED(store->environment, PLANT_REPLAY_PARTS)
	                         ? 1 : PART_BYTES_MIN;

	if (!replay->alone || replay->crew == 1 ||
	    atomic_load(&store->heap->limit))
		return 1;
	return wal_history_part(replay->history, replay->crew, least);
}

int replay_parts_follow(struct replay *replay, bool *whole, uint64_t *end,
                        struct err *err)
{
	struct following following = { .replay = replay,
	                               .parts = parts_of(replay) };
	uint32_t last;

	*whole = following.parts > 1 && parts_follow(&following, &last);
	if (*whole)
		return wal_history_end(replay->history, last, end, err);
	if (following.parts > 1)
		replay_forget(replay);
	return ERR_NONE;
}
