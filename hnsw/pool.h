/*
 * pool.h - the nearest nodes a walk has met, in order.
 *
 * A sorted array of at most `limit` keys; those from `cursor` on may not have
 * been expanded yet. Taking a node in costs a search without branches and a
 * short move of memory, which beats two heaps up to some thousand entries:
 * nothing else is touched, and the nearest unexpanded node is always at hand.
 *
 * A pool for more than POOL_NARROW_MAX is two heaps after all (1M x 128, searches
 * a second: 285 against 171 at 4,000, 71 against 98 at 10,000): `keys` has the
 * farthest on top, `open` the nearest of those not expanded.
 *
 * A key is a distance's place in the order of all floats, the node, and in the
 * lowest bit whether it was expanded.
 */
#ifndef TURDB_HNSW_POOL_H
#define TURDB_HNSW_POOL_H

#include <string.h>

#include "hnsw/graph.h"
#include "hnsw/sort.h"

enum { POOL_NARROW_MAX = 4096 };

#define POOL_EXPANDED UINT64_C(1)

/* Empties the pool and makes room for `limit` entries. */
int pool_reset(struct hnsw *graph, size_t limit, struct err *err);

/* Wide pools. After pool_wide_settle() the keys are in order. */
void pool_wide_add(struct pool *pool, uint64_t key);
uint32_t pool_wide_next(struct pool *pool);
void pool_wide_settle(struct pool *pool);

static inline uint64_t pool_key(uint32_t node, float distance)
{
	return (uint64_t)sort_key_of_float(distance) << 32 |
	       (uint64_t)node << 1;
}

static inline uint32_t pool_node(uint64_t key)
{
	return (uint32_t)key >> 1;
}

static inline float pool_distance(uint64_t key)
{
	return sort_float_of_key((uint32_t)(key >> 32));
}

/* Keys from here on are not taken in. */
static inline uint64_t pool_bound(const struct pool *pool)
{
	if (pool->size < pool->limit)
		return UINT64_MAX;
	return pool->keys[pool->open ? 0 : pool->size - 1];
}

/* How many keys are smaller. */
static inline size_t pool_rank(const struct pool *pool, uint64_t key)
{
	const uint64_t *keys = pool->keys;
	size_t count = pool->size;

	while (count > 1) {
		size_t half = count / 2;

		keys += half & -(size_t)(keys[half - 1] < key);
		count -= half;
	}
	return (size_t)(keys - pool->keys) + (count == 1 && *keys < key);
}

/* The key is below pool_bound(). */
static inline void pool_add(struct pool *pool, uint64_t key)
{
	size_t rank;

	if (pool->open) {
		pool_wide_add(pool, key);
		return;
	}
	rank = pool_rank(pool, key);
	if (pool->size < pool->limit)
		pool->size++;
	memmove(pool->keys + rank + 1, pool->keys + rank,
	        (pool->size - 1 - rank) * sizeof *pool->keys);
	pool->keys[rank] = key;
	if (rank < pool->cursor)
		pool->cursor = rank;
}

/* The nearest node not expanded yet, or NO_NODE; it counts as expanded. */
static inline uint32_t pool_next(struct pool *pool)
{
	if (pool->open)
		return pool_wide_next(pool);
	while (pool->cursor < pool->size) {
		uint64_t *key = &pool->keys[pool->cursor++];

		if (!(*key & POOL_EXPANDED)) {
			*key |= POOL_EXPANDED;
			return pool_node(*key);
		}
	}
	return NO_NODE;
}

/* The two that pool_next() would give, without taking them. */
static inline void pool_peek(const struct pool *pool, uint32_t next[2])
{
	size_t i, count = 0;

	next[0] = next[1] = NO_NODE;
	if (pool->open)
		return;
	for (i = pool->cursor; i < pool->size && count < 2; i++) {
		if (!(pool->keys[i] & POOL_EXPANDED))
			next[count++] = pool_node(pool->keys[i]);
	}
}

#endif
