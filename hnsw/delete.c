/*
 * delete.c - taking a node out without leaving a trace.
 *
 * Purpose       The node's neighbours, who lose a link each, are linked to each
 *               other instead (repair.c); id, block and records are free for
 *               reuse. A head with twins is replaced by one of them: no link is
 *               lost.
 * Safety        Mutual links: whoever links to the node is among its links.
 */
#include "hnsw/graph.h"

#include <string.h>

#include "hnsw/insert.h"
#include "hnsw/repair.h"
#include "hnsw/twins.h"

/* Who takes over as entry: a neighbour on the highest level that has one. */
static int heir_find(struct hnsw *graph, uint32_t node, uint32_t level,
                     uint32_t *heir, uint32_t *heir_level, struct err *err)
{
	struct links links;
	uint32_t at;
	int rc;

	for (at = level + 1; at > 0; at--) {
		rc = links_read(graph, node, at - 1, &links, err);
		if (rc)
			return rc;
		if (links.count == 0)
			continue;
		*heir = link_at(&links, 0) & ~LINK_BACKBONE;
		*heir_level = at - 1;
		return ERR_NONE;
	}
	*heir = NO_NODE;
	*heir_level = 0;
	return ERR_NONE;
}

static int level_leave(struct hnsw *graph, uint32_t node, uint32_t level,
                       struct err *err)
{
	struct link_list list;
	uint32_t i;
	int rc;

	rc = links_copy(graph, node, level, &list, err);
	for (i = 0; !rc && i < list.count; i++)
		rc = links_drop(graph, level, node,
		                list.links[i] & ~LINK_BACKBONE, err);
	if (!rc)
		rc = repair_links(graph, level, &list, err);
	return rc;
}

static int graph_leave(struct hnsw *graph, uint32_t node, uint32_t level,
                       struct err *err)
{
	struct graph_state *state = &graph->state;
	uint32_t at;
	int rc = ERR_NONE;

	if (state->entry == node)
		rc = heir_find(graph, node, level, &state->entry,
		               &state->top_level, err);
	if (!rc && state->entry == NO_NODE && state->count > 1)
		rc = graph_corrupt(graph, err,
		                   "entry node %u has no links among %u nodes",
		                   node, state->count);
	for (at = level + 1; !rc && at > 0; at--)
		rc = level_leave(graph, node, at - 1, err);
	return rc;
}

/* Those of a head's near chain that are not near to it. */
static int strays_find(struct hnsw *graph, uint32_t head,
                       uint32_t strays[NEAR_MAX], uint32_t *count,
                       struct err *err)
{
	uint32_t node = head, steps;
	const uint8_t *vector;
	bool near;
	int rc;

	*count = 0;
	for (steps = 0; steps < NEAR_MAX; steps++) {
		rc = twins_next(graph, node, TWINS_NEAR, &node, err);
		if (rc || node == NO_NODE)
			return rc;
		rc = graph_vector(graph, node, graph->query.vector_copy,
		                  &vector, err);
		if (!rc)
			rc = twins_are_near(graph, head, vector, &near, err);
		if (rc)
			return rc;
		if (!near)
			strays[(*count)++] = node;
	}
	return ERR_NONE;
}

/* It finds another place. `copy` has room for its vector. */
static int stray_place(struct hnsw *graph, uint32_t stray, uint8_t *copy,
                       struct err *err)
{
	const uint8_t *block, *vector;
	int64_t rowid;
	int rc;

	rc = graph_vector(graph, stray, copy, &vector, err);
	if (!rc && vector != copy)
		memcpy(copy, vector, graph->vector_size);
	if (!rc)
		rc = twins_leave(graph, stray, err);
	if (!rc)
		rc = graph_block(graph, stray, &block, err);
	if (rc)
		return rc;
	rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	return insert_place(graph, stray, span_of(copy, graph->vector_size),
	                    graph_level_of(graph, rowid), err);
}

static int strays_place(struct hnsw *graph, uint32_t head, struct err *err)
{
	uint8_t *copy = heap_allocate(graph->pager->heap, graph->vector_size);
	uint32_t strays[NEAR_MAX], count = 0, i;
	int rc;

	rc = copy ? strays_find(graph, head, strays, &count, err) :
	            graph_no_memory(graph, err);
	for (i = 0; !rc && i < count; i++)
		rc = stray_place(graph, strays[i], copy, err);
	heap_free(graph->pager->heap, copy);
	return rc;
}

/* A head's place is taken by a twin. */
static int head_leave(struct hnsw *graph, uint32_t node, struct err *err)
{
	uint32_t heir;
	int rc;

	rc = twins_promote(graph, node, &heir, err);
	if (!rc)
		rc = strays_place(graph, heir, err);
	return rc;
}

static int delete(struct hnsw *graph, uint32_t node, const uint8_t *block,
                  struct err *err)
{
	int rc;

	if (twins_is_level(block[NODE_LEVEL_AT]))
		rc = twins_leave(graph, node, err);
	else if (block[NODE_FLAGS_AT] & NODE_HAS_TWINS)
		rc = head_leave(graph, node, err);
	else
		rc = graph_leave(graph, node, block[NODE_LEVEL_AT], err);
	if (!rc)
		rc = graph_node_free(graph, node, err);
	return rc;
}

int hnsw_delete(struct hnsw *graph, uint32_t node, struct err *err)
{
	const uint8_t *block;
	int rc;

	rc = graph_begin_at(graph, node, &block, err);
	if (rc)
		return rc;
	return graph_end(graph, delete(graph, node, block, err), err);
}
