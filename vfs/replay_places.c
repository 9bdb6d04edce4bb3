/*
 * replay_places.c - sets of places of one file, in a replay.
 *
 * Bitmaps of 32,768 places each (128 MB of file), made when a place in them is
 * added, so that one that a damaged record names costs little.
 */
#include "vfs/replay_private.h"

enum { ROOM_FIRST = 8 };

/* Makes the bitmap that the place belongs to. */
int replay_places_grow(struct replay *replay, struct replay_places *places,
                       uint32_t place, struct err *err)
{
	uint32_t leaf = place >> PLACES_LEAF_BITS;
	struct heap *heap = replay->store->heap;
	uint32_t room = places->room ? places->room : ROOM_FIRST;
	uint64_t **leaves;

	while (room <= leaf)
		room *= 2;
	leaves = room > places->room
	                 ? heap_zeroed(heap, room * sizeof *leaves)
	                 : places->leaves;
	if (!leaves)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "list of places");
	if (leaves != places->leaves) {
		for (uint32_t i = 0; i < places->room; i++)
			leaves[i] = places->leaves[i];
		heap_free(heap, places->leaves);
		places->leaves = leaves;
		places->room = room;
	}
	leaves[leaf] = heap_zeroed(heap, PLACES_LEAF_WORDS * sizeof *leaves[leaf]);
	if (!leaves[leaf])
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "list of places");
	return ERR_NONE;
}

bool replay_places_has(const struct replay_places *places, uint32_t place)
{
	uint32_t leaf = place >> PLACES_LEAF_BITS;

	if (leaf >= places->room || !places->leaves[leaf])
		return false;
	return places->leaves[leaf][place >> 6 & (PLACES_LEAF_WORDS - 1)] >>
	       (place & 63) & 1;
}

uint32_t replay_places_next(const struct replay_places *places, uint32_t from)
{
	uint64_t end = (uint64_t)places->room << PLACES_LEAF_BITS;

	for (uint64_t at = from; at < end;) {
		const uint64_t *leaf = places->leaves[at >> PLACES_LEAF_BITS];
		uint64_t word;

		if (!leaf) {
			at = ((at >> PLACES_LEAF_BITS) + 1) << PLACES_LEAF_BITS;
			continue;
		}
		word = leaf[at >> 6 & (PLACES_LEAF_WORDS - 1)] >> (at & 63);
		if (word)
			return (uint32_t)at + (uint32_t)__builtin_ctzll(word);
		at = (at | 63) + 1;
	}
	return 0;
}

void replay_places_free(struct replay *replay, struct replay_places *places)
{
	for (uint32_t i = 0; i < places->room; i++)
		heap_free(replay->store->heap, places->leaves[i]);
	heap_free(replay->store->heap, places->leaves);
	*places = (struct replay_places){ 0 };
}
