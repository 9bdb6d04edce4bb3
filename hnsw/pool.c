/*
 * pool.c - room for the pool and for the set of visited nodes.
 */
#include "hnsw/pool.h"

enum { OPEN_ROOM = 2 };

int pool_reset(struct hnsw *graph, size_t limit, struct err *err)
{
	struct pool *pool = &graph->pool;
	bool wide = limit > POOL_NARROW_MAX;
	size_t room = wide ? limit * (1 + OPEN_ROOM) : limit;
	uint64_t *larger;

	if (room > pool->room) {
		larger = heap_resize(graph->pager->heap, pool->keys,
		                     room * sizeof *larger);
		if (!larger)
			return graph_no_memory(graph, err);
		pool->keys = larger;
		pool->room = room;
	}
	pool->open = wide ? pool->keys + limit : NULL;
	pool->open_size = 0;
	pool->limit = limit;
	pool->size = 0;
	pool->cursor = 0;
	return ERR_NONE;
}

/* --- wide pools --------------------------------------------------------------------------- */

/* Heaps with the largest key on top; `open` holds complements. */
static void heap_push(uint64_t *heap, size_t count, uint64_t key)
{
	size_t at = count;

	while (at > 0 && heap[(at - 1) / 2] < key) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = key;
}

static void heap_sink(uint64_t *heap, size_t count, size_t at)
{
	uint64_t key = heap[at];
	size_t child;

	while ((child = 2 * at + 1) < count) {
		child += child + 1 < count && heap[child] < heap[child + 1];
		if (heap[child] <= key)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = key;
}

/* Drops what the pool would not take any more: what is left is in the pool, so
 * it is at most half of the room. */
static void open_compact(struct pool *pool)
{
	uint64_t bound = pool_bound(pool);
	size_t i, kept = 0;

	for (i = 0; i < pool->open_size; i++) {
		if (~pool->open[i] < bound)
			pool->open[kept++] = pool->open[i];
	}
	pool->open_size = kept;
	for (i = kept / 2; i > 0; i--)
		heap_sink(pool->open, kept, i - 1);
}

void pool_wide_add(struct pool *pool, uint64_t key)
{
	if (pool->size < pool->limit) {
		heap_push(pool->keys, pool->size++, key);
	} else {
		pool->keys[0] = key;
		heap_sink(pool->keys, pool->size, 0);
	}
	if (pool->open_size == pool->limit * OPEN_ROOM)
		open_compact(pool);
	heap_push(pool->open, pool->open_size++, ~key);
}

uint32_t pool_wide_next(struct pool *pool)
{
	uint64_t key;

	if (pool->open_size == 0)
		return NO_NODE;
	key = ~pool->open[0];
	if (key > pool_bound(pool))
		return NO_NODE;
	pool->open[0] = pool->open[--pool->open_size];
	heap_sink(pool->open, pool->open_size, 0);
	return pool_node(key);
}

void pool_wide_settle(struct pool *pool)
{
	sort_u64(pool->keys, pool->size);
	pool->open = NULL;
}

/* --- visited nodes ------------------------------------------------------------------------- */

void visited_clear(struct visited *visited)
{
	size_t i;

	if (visited->list_count == VISITED_LIST_MAX) {
		memset(visited->words, 0,
		       visited->word_count * sizeof *visited->words);
	} else {
		for (i = 0; i < visited->list_count; i++)
			visited->words[visited->list[i] >> 6] = 0;
	}
	visited->list_count = 0;
}

int visited_room_make(struct hnsw *graph, uint32_t nodes, struct err *err)
{
	struct visited *visited = &graph->visited;
	struct heap *heap = graph->pager->heap;
	size_t count = (size_t)nodes / 64 + 1;
	uint64_t *words;

	if (!visited->list) {
		visited->list = heap_allocate(heap, (VISITED_LIST_MAX + LINKS_MAX) *
		                                    sizeof *visited->list);
		if (!visited->list)
			return graph_no_memory(graph, err);
	}
	if (count <= visited->word_count)
		return ERR_NONE;
	count += count / 2 + 16;
	words = heap_zeroed(heap, count * sizeof *words);
	if (!words)
		return graph_no_memory(graph, err);
	heap_free(heap, visited->words);
	visited->words = words;
	visited->word_count = count;
	visited->list_count = 0;
	return ERR_NONE;
}
