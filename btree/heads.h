/*
 * heads.h - finds a number in the dense array at the beginning of a node, and
 * has the lines that a search will touch fetched before it starts. Private to
 * btree/.
 */
#ifndef TURDB_BTREE_HEADS_H
#define TURDB_BTREE_HEADS_H

#include "btree/node.h"

enum {
	CACHE_LINE_SIZE = 64,
	SAMPLE_STRIDE = 32, /* every so many heads one is looked at first */
	SAMPLES_MAX = 16,
	CELL_GUESS_SLACK = 16,
};

/* The first slot in [first, count) whose head is not smaller. */
uint32_t heads_search(const struct node *node, uint32_t first, uint64_t head);

/* The same from a guess outwards; `guess` lies in [first, count). */
uint32_t heads_search_from(const struct node *node, uint32_t first,
                           uint32_t guess, uint64_t head);

/*
 * Before a leaf's header is known: has those of its lines fetched that a search
 * will look at if the leaf is like most. Nothing depends on it but time, and
 * `page` need not even hold a leaf.
 */
static ALWAYS_INLINE void leaf_fetch_samples(const uint8_t *page,
                                             uint32_t usable_size,
                                             uint32_t prefix_size,
                                             uint32_t count)
{
	uint32_t at = node_heads_at(prefix_size) +
	              (SAMPLE_STRIDE - 1) * NODE_HEAD_SIZE;
	uint32_t end = at + count * NODE_HEAD_SIZE;

	if (end > usable_size)
		end = usable_size;
	for (; at < end; at += SAMPLE_STRIDE * NODE_HEAD_SIZE)
		__builtin_prefetch(page + at);
}

/* Where the key is expected at `slot`: its head and those around it, its ref, and
 * its cell, which lies there in a page that was filled in order. */
static ALWAYS_INLINE void leaf_fetch_slot(const uint8_t *page,
                                          uint32_t usable_size,
                                          uint32_t prefix_size, uint32_t slot,
                                          uint32_t count)
{
	uint32_t heads_at = node_heads_at(prefix_size);
	uint32_t refs_at = heads_at + count * NODE_HEAD_SIZE;
	uint32_t slots_end = refs_at + count * NODE_REF_SIZE;
	uint32_t cell;

	if (slot >= count || slots_end >= usable_size)
		return;
	cell = usable_size - (usable_size - slots_end) * (slot + 1) / count;
	__builtin_prefetch(page + heads_at + slot * NODE_HEAD_SIZE);
	__builtin_prefetch(page + refs_at + slot * NODE_REF_SIZE);
	/* Two cells of three lie in two lines, or beside the guessed one. */
	__builtin_prefetch(page + cell - CELL_GUESS_SLACK);
	__builtin_prefetch(page + cell + CACHE_LINE_SIZE - CELL_GUESS_SLACK);
}

#endif
