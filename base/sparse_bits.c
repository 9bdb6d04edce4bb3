/*
 * sparse_bits.c - bitmaps of 32,768 numbers each, behind an array of pointers.
 */
#include "base/sparse_bits.h"

#include <string.h>

enum { ROOM_FIRST = 8 };

void sparse_bits_init(struct sparse_bits *bits, struct heap *heap)
{
	*bits = (struct sparse_bits){ .heap = heap };
}

void sparse_bits_free(struct sparse_bits *bits)
{
	for (uint32_t i = 0; i < bits->room; i++)
		heap_free(bits->heap, bits->leaves[i]);
	heap_free(bits->heap, bits->leaves);
	sparse_bits_init(bits, bits->heap);
}

bool sparse_bits_grow(struct sparse_bits *bits, uint32_t number)
{
	uint32_t leaf = number >> SPARSE_LEAF_BITS;
	uint32_t room = bits->room ? bits->room : ROOM_FIRST;
	uint64_t **leaves;

	while (room <= leaf)
		room *= 2;
	if (room > bits->room) {
		leaves = heap_resize(bits->heap, bits->leaves,
		                     room * sizeof *leaves);
		if (!leaves)
			return false;
		memset(leaves + bits->room, 0,
		       (room - bits->room) * sizeof *leaves);
		bits->leaves = leaves;
		bits->room = room;
	}
	bits->leaves[leaf] = heap_zeroed(bits->heap, SPARSE_LEAF_WORDS *
	                                 sizeof *bits->leaves[leaf]);
	return bits->leaves[leaf] != NULL;
}

bool sparse_bits_has(const struct sparse_bits *bits, uint32_t number)
{
	uint32_t leaf = number >> SPARSE_LEAF_BITS;

	if (!sparse_bits_has_leaf(bits, leaf))
		return false;
	return bits->leaves[leaf][number >> 6 & (SPARSE_LEAF_WORDS - 1)] >>
	       (number & 63) & 1;
}

bool sparse_bits_meet(const struct sparse_bits *one, const struct sparse_bits *other)
{
	uint32_t room = one->room < other->room ? one->room : other->room;

	for (uint32_t leaf = 0; leaf < room; leaf++) {
		const uint64_t *a = one->leaves[leaf], *b = other->leaves[leaf];

		for (size_t i = 0; a && b && i < SPARSE_LEAF_WORDS; i++)
			if (a[i] & b[i])
				return true;
	}
	return false;
}

static void leaf_join(struct sparse_bits *bits, uint64_t *words,
                      const uint64_t *others)
{
	for (size_t i = 0; i < SPARSE_LEAF_WORDS; i++) {
		bits->count += (uint32_t)__builtin_popcountll(others[i] &
		                                              ~words[i]);
		words[i] |= others[i];
	}
}

bool sparse_bits_join(struct sparse_bits *bits, const struct sparse_bits *others)
{
	for (uint32_t leaf = 0; leaf < others->room; leaf++) {
		if (!others->leaves[leaf])
			continue;
		if (!sparse_bits_has_leaf(bits, leaf) &&
		    !sparse_bits_grow(bits, leaf << SPARSE_LEAF_BITS))
			return false;
		leaf_join(bits, bits->leaves[leaf], others->leaves[leaf]);
	}
	return true;
}

uint32_t sparse_bits_next(const struct sparse_bits *bits, uint32_t from)
{
	uint64_t end = (uint64_t)bits->room << SPARSE_LEAF_BITS;

	for (uint64_t at = from; at < end;) {
		const uint64_t *leaf = bits->leaves[at >> SPARSE_LEAF_BITS];
		uint64_t word;

		if (!leaf) {
			at = ((at >> SPARSE_LEAF_BITS) + 1) << SPARSE_LEAF_BITS;
			continue;
		}
		word = leaf[at >> 6 & (SPARSE_LEAF_WORDS - 1)] >> (at & 63);
		if (word)
			return (uint32_t)at + (uint32_t)__builtin_ctzll(word);
		at = (at | 63) + 1;
	}
	return 0;
}
