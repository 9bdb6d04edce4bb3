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

bool replay_places_meet(const struct replay_places *one,
                        const struct replay_places *other)
{
	uint32_t room = one->room < other->room ? one->room : other->room;

	for (uint32_t leaf = 0; leaf < room; leaf++) {
		const uint64_t *a = one->leaves[leaf], *b = other->leaves[leaf];

		for (size_t i = 0; a && b && i < PLACES_LEAF_WORDS; i++)
			if (a[i] & b[i])
				return true;
	}
	return false;
}

static void leaf_join(struct replay_places *places, uint64_t *words,
                      const uint64_t *others)
{
	for (size_t i = 0; i < PLACES_LEAF_WORDS; i++) {
		places->count += (uint32_t)__builtin_popcountll(others[i] &
		                                                ~words[i]);
		words[i] |= others[i];
	}
}

int replay_places_join(struct replay *replay, struct replay_places *places,
                       const struct replay_places *others, struct err *err)
{
	for (uint32_t leaf = 0; leaf < others->room; leaf++) {
		int rc = ERR_NONE;

		if (!others->leaves[leaf])
			continue;
		if (leaf >= places->room || !places->leaves[leaf])
			rc = replay_places_grow(replay, places,
			                        leaf << PLACES_LEAF_BITS, err);
		if (rc)
			return rc;
		leaf_join(places, places->leaves[leaf], others->leaves[leaf]);
	}
	return ERR_NONE;
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
