/*
 * space_hole.c - free places whose blocks the file system can have back.
 *
 * Each word of a leaf's bitmap is offered once, until something in it was taken and
 * given back. When that is worth the calls is told by how much has come loose since
 * the last time.
 */
#include "vfs/space_private.h"

enum {
	HOLE_UNITS_MIN = 4, /* smaller ones are not worth a call */
	LOOSE_UNITS = 8192, /* 32 MB                             */
};

/* The free units of a word whose bytes nobody needs and that were not offered yet;
 * the word counts as offered from now on, unless a note holds a part of it.
 * (vfs/release G1) */
static uint64_t offer_word(struct space_leaf *leaf, uint32_t word)
{
	uint64_t offered = UINT64_C(1) << word % 64;
	uint64_t free = leaf->free[word];
	uint64_t held = space_held(leaf, word, SPACE_LOGGED);

	if (!free || leaf->holed[word / 64] & offered)
		return 0;
	if (!(free & held))
		leaf->holed[word / 64] |= offered;
	return free & ~held;
}

/* Adds the set bits to the run, or, when the run ends here, leaves those behind it.
 * True when it ended. */
static bool run_extend(struct space_run *run, uint64_t start, uint64_t bits,
                       uint32_t *bit)
{
	while (*bit < 64) {
		bool set = bits >> *bit & 1;

		if (!set && run->units >= HOLE_UNITS_MIN)
			return true;
		if (set && !run->units)
			run->place = (uint32_t)(start + *bit);
		run->units = set ? run->units + 1 : 0;
		++*bit;
	}
	return false;
}

bool space_hole_next(struct space *space, uint32_t file_id,
                     struct space_holes *holes, struct space_run *run)
{
	struct space_head *head = space_head(space);
	struct space_file *file = space_file_find(space, head, file_id);
	uint64_t end;

	*run = (struct space_run){ .units = 0 };
	if (!file || !file->built)
		return false;
	end = holes->end < file->capacity ? holes->end : file->capacity;
	while (holes->at < end || holes->bit < 64) {
		struct space_leaf *leaf;

		if (run_extend(run, holes->at - 64, holes->bits, &holes->bit))
			return true;
		if (holes->at >= end)
			break;
		leaf = space_leaf_find(space, head, file_id,
		                       (uint32_t)(holes->at / LEAF_UNITS));
		holes->bits = leaf ? offer_word(leaf, (uint32_t)(holes->at % LEAF_UNITS / 64))
		                   : 0;
		holes->bit = 0;
		holes->at += 64;
	}
	if (end == file->capacity)
		space_loose_set(file, 0);
	return run->units >= HOLE_UNITS_MIN;
}

/* As much as is in use is what a checkpoint's worth of new versions may need again
 * at once: no use in giving it away. */
bool space_is_loose(const struct space *space, uint32_t file_id)
{
	const struct space_file *file =
		space_file_find(space, space_head(space), file_id);
	uint64_t used;

	if (!file || !space_get32(&file->built))
		return false;
	used = space_get64(&file->capacity) - space_get64(&file->free_units);
	return space_get32(&file->loose) > LOOSE_UNITS &&
	       space_get32(&file->loose) > 2 * used;
}
