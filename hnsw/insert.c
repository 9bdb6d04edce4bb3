/*
 * insert.c - taking a node into the graph (algorithm 1 of the paper).
 *
 * The node gets its id, block and code first, then is linked level by level from
 * the top down. Its nearest chosen neighbour becomes its link to the backbone.
 */
#include "hnsw/choose.h"
#include "hnsw/pool.h"
#include "hnsw/quantise.h"
#include "hnsw/score.h"
#include "hnsw/walk.h"

static int candidates_copy(struct hnsw *graph, size_t *count, struct err *err)
{
	const struct pool *pool = &graph->pool;
	size_t i;

	if (graph->candidate_room < pool->size) {
		struct candidate *larger =
			heap_resize(graph->pager->heap, graph->candidates,
		                    pool->limit * sizeof *larger);

		if (!larger)
			return graph_no_memory(graph, err);
		graph->candidates = larger;
		graph->candidate_room = pool->limit;
	}
	for (i = 0; i < pool->size; i++)
		graph->candidates[i] = (struct candidate){
			.distance = pool_distance(pool->keys[i]),
			.node = pool_node(pool->keys[i]),
		};
	*count = pool->size;
	return ERR_NONE;
}

/* Links the node on one level; `nearest` moves to the nearest node found. */
static int link_on_level(struct hnsw *graph, uint32_t node, uint32_t level,
                         struct candidate *nearest, struct err *err)
{
	struct candidate chosen[LINKS_MAX];
	uint32_t chosen_count = 0, i;
	size_t count = 0;
	int rc;

	rc = walk_level(graph, &graph->query, level, *nearest,
	                graph->options.ef_construction, err);
	if (!rc)
		rc = candidates_copy(graph, &count, err);
	if (!rc)
		rc = choose_diverse(graph, graph->candidates, count,
		                    graph->options.m, chosen, &chosen_count,
		                    err);
	for (i = 0; !rc && i < chosen_count; i++)
		rc = choose_link(graph, level, node, chosen[i].node, i == 0,
		                 err);
	if (!rc && count > 0)
		*nearest = graph->candidates[0];
	return rc;
}

static int link_on_levels(struct hnsw *graph, uint32_t node, uint32_t level,
                          struct err *err)
{
	uint32_t top = graph->state.top_level, at;
	struct candidate nearest;
	int rc;

	rc = score_from_node(graph, &graph->query, node, err);
	if (!rc)
		rc = walk_descend(graph, &graph->query, level, &nearest, err);
	for (at = (level < top ? level : top) + 1; !rc && at > 0; at--)
		rc = link_on_level(graph, node, at - 1, &nearest, err);
	return rc;
}

static int insert(struct hnsw *graph, int64_t rowid, struct span vector,
                  uint32_t *node, struct err *err)
{
	struct graph_state *state = &graph->state;
	uint32_t level;
	int rc;

	rc = graph_node_make(graph, rowid, vector, node, &level, err);
	if (!rc && state->entry != NO_NODE)
		rc = link_on_levels(graph, *node, level, err);
	if (rc)
		return rc;
	if (state->entry == NO_NODE || level > state->top_level) {
		state->entry = *node;
		state->top_level = level;
	}
	return quantise_advance(graph, err);
}

int hnsw_insert(struct hnsw *graph, int64_t rowid, struct span vector,
                uint32_t *node, struct err *err)
{
	const struct hnsw_options *options = &graph->options;
	uint32_t made;
	int rc;

	rc = vector_check("insert", options->element, options->metric,
	                  options->dimensions, vector, err);
	if (!rc)
		rc = graph_begin(graph, err);
	if (rc)
		return rc;
	rc = graph_end(graph, insert(graph, rowid, vector, &made, err), err);
	if (!rc)
		*node = made;
	return rc;
}
