/*
 * insert.c - taking a node into the graph (algorithm 1 of the paper).
 *
 * The node gets its id, block and code first. Then its place is sought level by
 * level from the top down, and planned: levels do not depend on each other, and on
 * the lowest a node with the very same vector may turn up, whose twin it becomes
 * instead. Its nearest chosen neighbour becomes its link to the backbone.
 */
#include "hnsw/insert.h"

#include "hnsw/choose.h"
#include "hnsw/pool.h"
#include "hnsw/quantise.h"
#include "hnsw/score.h"
#include "hnsw/twins.h"
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

/* Whom to link to on each level, the nearest first. */
struct plan {
	struct {
		uint32_t count;
		uint32_t nodes[LINKS_MAX / 2];
	} levels[NODE_LEVEL_MAX + 1];
};

/* Of the nodes that look the same as the new one (their score is its own, `own`)
 * the first with room becomes the nearest: if all took to one of them, its links
 * would lead to nobody else. */
static int roomy_first(struct hnsw *graph, uint32_t level, float own,
                       struct candidate *candidates, size_t count,
                       struct err *err)
{
	uint32_t room = links_max(graph, level) / 2;
	struct links links;
	size_t i;
	int rc;

	for (i = 0; i < count && candidates[i].distance == own; i++) {
		rc = links_read(graph, candidates[i].node, level, &links, err);
		if (rc)
			return rc;
		if (links.count < room) {
			struct candidate first = candidates[i];

			candidates[i] = candidates[0];
			candidates[0] = first;
			break;
		}
	}
	return ERR_NONE;
}

/* Chooses on one level; `nearest` moves to the nearest node found. */
static int plan_level(struct hnsw *graph, uint32_t level, float own,
                      struct candidate *nearest, size_t *count,
                      struct plan *plan, struct err *err)
{
	struct candidate chosen[LINKS_MAX];
	uint32_t chosen_count = 0, i;
	int rc;

	rc = walk_level(graph, &graph->query, level, *nearest,
	                graph->options.ef_construction, err);
	if (!rc)
		rc = candidates_copy(graph, count, err);
	if (!rc)
		rc = roomy_first(graph, level, own, graph->candidates, *count,
		                 err);
	if (!rc)
		rc = choose_diverse(graph, graph->candidates, *count,
		                    graph->options.m, chosen, &chosen_count,
		                    err);
	if (rc)
		return rc;
	plan->levels[level].count = chosen_count;
	for (i = 0; i < chosen_count; i++)
		plan->levels[level].nodes[i] = chosen[i].node;
	if (*count > 0)
		*nearest = graph->candidates[0];
	return ERR_NONE;
}

/* Plans every level from `level` down; afterwards graph->candidates has what is
 * near on level 0. */
static int plan_levels(struct hnsw *graph, uint32_t level, float own,
                       size_t *count, struct plan *plan, struct err *err)
{
	struct candidate nearest;
	uint32_t at;
	int rc;

	rc = walk_descend(graph, &graph->query, level, &nearest, err);
	for (at = level + 1; !rc && at > 0; at--)
		rc = plan_level(graph, at - 1, own, &nearest, count, plan, err);
	return rc;
}

static int plan_apply(struct hnsw *graph, uint32_t node, uint32_t level,
                      const struct plan *plan, struct err *err)
{
	uint32_t at, i;
	int rc = ERR_NONE;

	for (at = level + 1; at > 0; at--) {
		for (i = 0; !rc && i < plan->levels[at - 1].count; i++)
			rc = choose_link(graph, at - 1, node,
			                 plan->levels[at - 1].nodes[i], i == 0,
			                 err);
	}
	return rc;
}

int insert_place(struct hnsw *graph, uint32_t node, struct span vector,
                 uint32_t level, struct err *err)
{
	uint32_t top = graph->state.top_level, head = NO_NODE;
	uint32_t shared = level < top ? level : top;
	enum twins_chain chain = TWINS_EQUAL;
	struct plan plan;
	size_t count = 0;
	float own;
	int rc;

	rc = score_from_node(graph, &graph->query, node, err);
	if (!rc)
		rc = score_many(graph, &graph->query, &node, 1, &own, err);
	if (!rc)
		rc = plan_levels(graph, shared, own, &count, &plan, err);
	if (!rc)
		rc = twins_find(graph, vector, own, graph->candidates, count,
		                &head, &chain, err);
	if (rc)
		return rc;
	if (head != NO_NODE)
		return twins_join(graph, head, chain, node, err);
	rc = graph_node_raise(graph, node, level, err);
	if (!rc)
		rc = plan_apply(graph, node, shared, &plan, err);
	if (!rc && level > top) {
		graph->state.entry = node;
		graph->state.top_level = level;
	}
	return rc;
}

static int insert(struct hnsw *graph, int64_t rowid, struct span vector,
                  uint32_t *node, struct err *err)
{
	struct graph_state *state = &graph->state;
	uint32_t level = graph_level_of(graph, rowid);
	int rc;

	rc = graph_node_make(graph, rowid, vector, node, err);
	if (!rc && state->entry != NO_NODE) {
		rc = insert_place(graph, *node, vector, level, err);
	} else if (!rc) {
		rc = graph_node_raise(graph, *node, level, err);
		state->entry = *node;
		state->top_level = level;
	}
	return rc ? rc : quantise_advance(graph, err);
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
