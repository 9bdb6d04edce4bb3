/*
 * space_figures.c - what reports, checks and the last closer ask of the allocator.
 *
 * Without the writer lock: each word read is one that was true at some moment.
 */
#include "vfs/space_private.h"

/* Adds up one leaf, of whose units `units` are in the file. */
static void add_figures(const struct space_leaf *leaf, uint64_t start,
                        uint64_t units, struct space_figures *figures)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++) {
		uint64_t inside = space_word_mask(word, 0, units);
		uint64_t free = space_get64(&leaf->free[word]) & inside;
		uint64_t used = inside & ~free;

		figures->free += (uint64_t)__builtin_popcountll(free);
		figures->held += (uint64_t)__builtin_popcountll(
			free & space_held(leaf, word, SPACE_PLACED));
		if (used)
			figures->end = start + word * UINT64_C(64) + 64 -
			               (uint64_t)__builtin_clzll(used);
	}
}

int space_file_figures(const struct space *space, uint32_t file_id,
                       struct space_figures *figures)
{
	const struct space_head *head = space_head(space);
	const struct space_file *file = space_file_find(space, head, file_id);
	struct space_figures sum = { 0 };

	if (!file || !space_get32(&file->built))
		return ERR_MISSING;
	sum.capacity = space_get64(&file->capacity);
	for (uint64_t at = 0; at < sum.capacity; at += LEAF_UNITS) {
		const struct space_leaf *leaf = space_leaf_find(
			space, head, file_id, (uint32_t)(at / LEAF_UNITS));

		if (leaf)
			add_figures(leaf, at, sum.capacity - at, &sum);
	}
	*figures = sum;
	return ERR_NONE;
}

bool space_is_held(const struct space *space, uint32_t file_id, uint32_t place,
                   enum space_use use)
{
	struct space_spot spot = space_spot(place, 1);
	const struct space_leaf *leaf = space_leaf_find(
		space, space_head(space), file_id, place / LEAF_UNITS);

	return leaf && space_held(leaf, spot.word, use) & spot.mask;
}

bool space_is_free(const struct space *space, uint32_t file_id, uint32_t place)
{
	struct space_spot spot = space_spot(place, 1);
	const struct space_leaf *leaf;

	if (!space_file_built(space, file_id))
		return false;
	leaf = space_leaf_find(space, space_head(space), file_id,
	                       place / LEAF_UNITS);
	return leaf && space_get64(&leaf->free[spot.word]) & spot.mask;
}
