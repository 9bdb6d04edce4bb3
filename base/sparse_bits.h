/*
 * sparse_bits.h - a set of 32-bit numbers that costs memory where its members are.
 *
 * For numbers that damage may have made up: one of four billion takes a leaf of 4 KB
 * and at most a megabyte of pointers to leaves, not a bit for each number below it.
 */
#ifndef TURDB_BASE_SPARSE_BITS_H
#define TURDB_BASE_SPARSE_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"

enum { SPARSE_LEAF_BITS = 15, SPARSE_LEAF_WORDS = 1 << (SPARSE_LEAF_BITS - 6) };

struct sparse_bits {
	struct heap *heap;
	uint64_t **leaves; /* bitmaps; NULL where there are none */
	uint32_t room, count;
};

/* Empty: nothing is allocated. Freed, it is empty again. */
void sparse_bits_init(struct sparse_bits *bits, struct heap *heap);
void sparse_bits_free(struct sparse_bits *bits);

/* Makes the leaf that the number belongs to, which is not there. False without memory. */
bool sparse_bits_grow(struct sparse_bits *bits, uint32_t number);

static inline bool sparse_bits_has_leaf(const struct sparse_bits *bits, uint32_t leaf)
{
	return leaf < bits->room && bits->leaves[leaf];
}

/* *before: the number was in the set already. False without memory: nothing is added. */
static inline bool sparse_bits_add(struct sparse_bits *bits, uint32_t number,
                                   bool *before)
{
	uint32_t leaf = number >> SPARSE_LEAF_BITS;
	uint64_t *word, bit = UINT64_C(1) << (number & 63);

	if (__builtin_expect(!sparse_bits_has_leaf(bits, leaf), 0) &&
	    !sparse_bits_grow(bits, number))
		return false;
	word = &bits->leaves[leaf][number >> 6 & (SPARSE_LEAF_WORDS - 1)];
	*before = *word & bit;
	bits->count += !*before;
	*word |= bit;
	return true;
}

bool sparse_bits_has(const struct sparse_bits *bits, uint32_t number);
/* Whether a number is in both. */
bool sparse_bits_meet(const struct sparse_bits *one, const struct sparse_bits *other);
/* Adds all of `others`. False without memory: some of them may be added. */
bool sparse_bits_join(struct sparse_bits *bits, const struct sparse_bits *others);
/* The first one that is >= from, or 0. */
uint32_t sparse_bits_next(const struct sparse_bits *bits, uint32_t from);

#endif
