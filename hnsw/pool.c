/*
 * pool.c - room for the pool and for the set of visited nodes.
 */
#include "hnsw/pool.h"

int pool_reset(struct hnsw *graph, size_t limit, struct err *err)
{
	struct pool *pool = &graph->pool;
	uint64_t *larger;

	if (limit > pool->room) {
		larger = heap_resize(graph->pager->heap, pool->keys,
		                     limit * sizeof *larger);
		if (!larger)
			return graph_no_memory(graph, err);
		pool->keys = larger;
		pool->room = limit;
	}
	pool->limit = limit;
	pool->size = 0;
	pool->cursor = 0;
	return ERR_NONE;
}

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
