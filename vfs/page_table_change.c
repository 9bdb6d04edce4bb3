/*
 * page_table_change.c - the table of the next commit, made beside the old one.
 *
 * Rebuilding    Changes are applied from the last to the first, so that the
 *               leftmost path, which is the one that can become superfluous,
 *               is decided when all else is known. A map page is finished in a
 *               buffer of its level; buffers are written when they are needed
 *               again or at the end, so that a commit of one row, whose new map
 *               pages adjoin, needs one system call. Places for them come from
 *               the caller's sink.
 * Performance   Only touched paths are rewritten; 20 KB of stack and no heap.
 */
#include "vfs/page_table_private.h"

#include <string.h>

struct changes {
	const struct page_change *first;
	size_t count;
};

struct rebuild {
	struct page_file *file;
	uint64_t birth;
	const struct page_table_sink *sink;
	struct err *err;

	/* Finished map pages not written yet; their bytes lie in `buffers`. */
	struct page_ref waiting[MAP_DEPTH_MAX];
	const void *waiting_bytes[MAP_DEPTH_MAX];
	size_t waiting_count;
	uint32_t waiting_levels; /* a bit per level whose buffer is among them */

	uint8_t buffers[MAP_DEPTH_MAX][PLACE_SIZE]; /* see buffer_of() */
};

static uint8_t *buffer_of(struct rebuild *r, uint32_t level)
{
	return r->buffers[level - 1];
}

static int flush(struct rebuild *r)
{
	int rc = page_table_sink_write(r->sink, r->file, r->waiting,
	                               r->waiting_bytes, r->waiting_count,
	                               r->err);

	r->waiting_count = 0;
	r->waiting_levels = 0;
	return rc;
}

static int tell_superseded(struct rebuild *r, const struct page_ref *ref)
{
	if (ref->length == 0)
		return ERR_NONE;
	return r->sink->superseded(r->sink->context, ref->place, page_ref_units(ref),
	                           ref->birth, r->err);
}

/* Splits off the changes that fall into the last slot touched. */
static struct changes take_last_slot(struct changes *changes, uint32_t level,
                                     uint32_t *slot)
{
	size_t end = changes->count, start = end - 1;

	*slot = slot_of(changes->first[start].page_no, level);
	while (start > 0 &&
	       slot_of(changes->first[start - 1].page_no, level) == *slot)
		start--;
	changes->count = start;
	return (struct changes){ changes->first + start, end - start };
}

/* The buffer of the level, holding the old map page or an empty one. */
static int open_buffer(struct rebuild *r, uint32_t level, uint64_t index,
                       const struct subtree *old, uint8_t **buffer)
{
	const uint8_t *map;
	int rc;

	if (r->waiting_levels >> level & 1) {
		rc = flush(r);
		if (rc)
			return rc;
	}
	*buffer = buffer_of(r, level);
	if (old->level == level && old->ref.length) {
		rc = map_read(r->file, &old->ref, level, index, &map, r->err);
		if (rc)
			return rc;
		memcpy(*buffer, map, PLACE_SIZE);
		return ERR_NONE;
	}
	memset(*buffer, 0, PLACE_SIZE);
	store_le32(*buffer + MAP_MAGIC_AT, MAP_MAGIC);
	store_le32(*buffer + MAP_LEVEL_AT, level);
	return ERR_NONE;
}

/* Gives the finished buffer a place and a reference. */
static int finish_buffer(struct rebuild *r, uint32_t level, uint64_t index,
                         struct subtree *made)
{
	struct page_ref ref = { .length = PLACE_SIZE, .birth = r->birth };
	int rc;

	rc = r->sink->take(r->sink->context, &ref.place, r->err);
	if (rc)
		return rc;
	ref.checksum = page_file_checksum(r->file->identity.file_id,
	                                  MAP_TAG(level, index), r->birth,
	                                  buffer_of(r, level), PLACE_SIZE);
	r->waiting[r->waiting_count] = ref;
	r->waiting_bytes[r->waiting_count++] = buffer_of(r, level);
	r->waiting_levels |= 1u << level;
	*made = (struct subtree){ .ref = ref, .level = level };
	return ERR_NONE;
}

static bool has_entry_from(const uint8_t *map, uint32_t slot)
{
	for (; slot < MAP_ENTRIES; slot++)
		if (!entry_is_zero(entry_of(map, slot)))
			return true;
	return false;
}

static int rebuild_subtree(struct rebuild *r, uint32_t level, uint64_t index,
                           const struct subtree *old, struct changes changes,
                           bool top, struct subtree *made);

static int rebuild_page(struct rebuild *r, const struct subtree *old,
                        struct changes changes, struct subtree *made)
{
	*made = *old;
	if (changes.count == 0)
		return ERR_NONE;
	made->ref = changes.first->ref;
	if (ref_is_same(&old->ref, &made->ref))
		return ERR_NONE;
	return tell_superseded(r, &old->ref);
}

/* What stood in a slot before: an entry of the old map page, or the whole old
 * table when that is lower than this level. */
static struct subtree child_of(const uint8_t *buffer, uint32_t slot,
                               uint32_t level, const struct subtree *old)
{
	struct subtree child = { .level = level - 1 };

	if (old->level < level && slot == 0)
		return *old;
	page_ref_load(entry_of(buffer, slot), &child.ref);
	return child;
}

/* Rebuilds what a slot stands for and enters it. */
static int rebuild_slot(struct rebuild *r, uint32_t level, uint64_t index,
                        const struct subtree *old, uint32_t slot,
                        struct changes changes, bool *changed)
{
	uint8_t *at = entry_at(buffer_of(r, level), slot);
	struct subtree child = child_of(buffer_of(r, level), slot, level, old);
	uint8_t entry[REF_SIZE] = { 0 };
	struct subtree made;
	int rc;

	rc = rebuild_subtree(r, level - 1, index * MAP_ENTRIES + slot, &child,
	                     changes, false, &made);
	if (rc)
		return rc;
	if (!ref_is_none(&made.ref))
		page_ref_store(entry, &made.ref);
	if (memcmp(at, entry, REF_SIZE) != 0) {
		memcpy(at, entry, REF_SIZE);
		*changed = true;
	}
	return ERR_NONE;
}

/* Whether the map page in the buffer can give way to what its slot 0 stands for.
 * A free reference can be no root. */
static bool gives_way(struct rebuild *r, uint32_t level,
                      struct changes first_slot)
{
	struct page_ref first;

	if (has_entry_from(buffer_of(r, level), 1))
		return false;
	if (level > 1)
		return true;
	page_ref_load(entry_of(buffer_of(r, level), 0), &first);
	if (first_slot.count)
		first = first_slot.first->ref;
	return !ref_is_free(&first);
}

static bool is_empty(const uint8_t *map)
{
	return !has_entry_from(map, 0);
}

/* Makes of `old` what the changes ask for. `top`: nothing of the table lies
 * beside this subtree, so it may come out lower than it was, or empty. */
static int rebuild_subtree(struct rebuild *r, uint32_t level, uint64_t index,
                           const struct subtree *old, struct changes changes,
                           bool top, struct subtree *made)
{
	bool lifted = old->level < level && !ref_is_none(&old->ref);
	bool changed = false;
	struct changes group;
	struct subtree child;
	uint8_t *buffer;
	uint32_t slot;
	int rc;

	if (level == 0)
		return rebuild_page(r, old, changes, made);
	if (changes.count == 0 && !lifted && !top) {
		*made = *old;
		return ERR_NONE;
	}
	rc = open_buffer(r, level, index, old, &buffer);
	if (rc)
		return rc;
	while (changes.count &&
	       slot_of(changes.first[changes.count - 1].page_no, level)) {
		group = take_last_slot(&changes, level, &slot);
		rc = rebuild_slot(r, level, index, old, slot, group, &changed);
		if (rc)
			return rc;
	}
	if (top && gives_way(r, level, changes)) {
		child = child_of(buffer, 0, level, old);
		if (old->level == level) {
			rc = tell_superseded(r, &old->ref);
			if (rc)
				return rc;
		}
		return rebuild_subtree(r, level - 1, 0, &child, changes, true,
		                       made);
	}
	if (changes.count || lifted) {
		rc = rebuild_slot(r, level, index, old, 0, changes, &changed);
		if (rc)
			return rc;
	}
	if (!changed) {
		*made = *old;
		return ERR_NONE;
	}
	if (old->level == level) {
		rc = tell_superseded(r, &old->ref);
		if (rc)
			return rc;
	}
	if (is_empty(buffer)) {
		*made = (struct subtree){ .level = level };
		return ERR_NONE;
	}
	return finish_buffer(r, level, index, made);
}

static uint32_t depth_for(uint32_t page_no)
{
	uint32_t depth = 0;

	while (page_no >= page_table_spans[depth])
		depth++;
	return depth;
}

/* The depth needed at first; changes that remove what lies beyond are dropped. */
static uint32_t depth_of_all(const struct page_table *old,
                             struct changes *changes)
{
	uint32_t depth = old->depth, needed;

	for (size_t i = changes->count; i-- > 0;) {
		const struct page_change *change = &changes->first[i];

		if (ref_is_none(&change->ref))
			continue;
		needed = depth_for(change->page_no);
		if (needed == 0 && ref_is_free(&change->ref))
			needed = 1;
		if (needed > depth)
			depth = needed;
		break;
	}
	while (changes->count &&
	       changes->first[changes->count - 1].page_no >= page_table_spans[depth])
		changes->count--;
	return depth;
}

int page_table_apply(struct page_file *file, const struct page_table *old,
                     const struct page_change *changes, size_t count,
                     uint64_t birth, const struct page_table_sink *sink,
                     struct page_table *new_table, struct err *err)
{
	struct changes all = { changes, count };
	struct subtree whole = { .ref = old->root, .level = old->depth };
	struct subtree made;
	struct rebuild r; /* 20 KB: its buffers are not cleared */
	uint32_t depth;
	int rc;

	rc = page_table_depth_check(file, old, err);
	if (rc)
		return rc;
	r.file = file;
	r.birth = birth;
	r.sink = sink;
	r.err = err;
	r.waiting_count = 0;
	r.waiting_levels = 0;
	depth = depth_of_all(old, &all);
	if (all.count == 0) {
		*new_table = *old;
		return ERR_NONE;
	}
	rc = rebuild_subtree(&r, depth, 0, &whole, all, true, &made);
	if (rc)
		return rc;
	rc = flush(&r);
	if (rc)
		return rc;
	if (ref_is_none(&made.ref))
		made = (struct subtree){ .level = 0 };
	*new_table = (struct page_table){ .root = made.ref,
		                          .depth = made.level };
	return ERR_NONE;
}
