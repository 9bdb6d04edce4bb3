/*
 * pool.h - the nearest nodes a walk has met, in order.
 *
 * A sorted array of `limit` entries; those from `cursor` on may not have been
 * expanded yet. Taking a node in costs a binary search and a short move of
 * memory, which beats two heaps up to some hundred entries: nothing else is
 * touched, and the nearest unexpanded node is always at hand.
 *
 * POOL_EXPANDED in an entry's node marks it.
 */
#ifndef TURDB_HNSW_POOL_H
#define TURDB_HNSW_POOL_H

#include <string.h>

#include "hnsw/graph.h"

#define POOL_EXPANDED UINT32_C(0x80000000)

/* Empties the pool and makes room for `limit` entries. */
int pool_reset(struct hnsw *graph, size_t limit, struct err *err);

/* Whether a node at this distance would be taken in. */
static inline bool pool_takes(const struct pool *pool, float distance)
{
	return pool->size < pool->limit ||
	       distance < pool->entries[pool->size - 1].distance;
}

static inline void pool_add(struct pool *pool, uint32_t node, float distance)
{
	struct candidate *entries = pool->entries;
	size_t low = 0, high = pool->size;

	if (!pool_takes(pool, distance))
		return;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (entries[middle].distance > distance)
			high = middle;
		else
			low = middle + 1;
	}
	if (pool->size < pool->limit)
		pool->size++;
	memmove(entries + low + 1, entries + low,
	        (pool->size - 1 - low) * sizeof *entries);
	entries[low] = (struct candidate){ .distance = distance, .node = node };
	if (low < pool->cursor)
		pool->cursor = low;
}

/* The nearest node not expanded yet, or NO_NODE; it counts as expanded. */
static inline uint32_t pool_next(struct pool *pool)
{
	while (pool->cursor < pool->size) {
		struct candidate *entry = &pool->entries[pool->cursor++];

		if (!(entry->node & POOL_EXPANDED)) {
			entry->node |= POOL_EXPANDED;
			return entry->node & ~POOL_EXPANDED;
		}
	}
	return NO_NODE;
}

/* What pool_next() would give, without taking it. */
static inline uint32_t pool_peek(const struct pool *pool)
{
	size_t i;

	for (i = pool->cursor; i < pool->size; i++) {
		if (!(pool->entries[i].node & POOL_EXPANDED))
			return pool->entries[i].node;
	}
	return NO_NODE;
}

#endif
