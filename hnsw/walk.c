/*
 * walk.c - the two walks over one level (algorithm 2 of the paper, and its
 * special case of width 1).
 *
 * Performance   Of an expanded node the neighbours not seen yet are gathered
 *               first, then their codes are fetched together and scored
 *               together; the links of the node to be expanded next are fetched
 *               meanwhile.
 * Safety        Each node is scored at most once in a walk, so damaged links
 *               cannot make it endless.
 */
#include "hnsw/walk.h"

#include "hnsw/pool.h"
#include "hnsw/score.h"

/* --- descending ------------------------------------------------------------------------ */

/* Scores a node's neighbours. */
static int neighbours_score(struct hnsw *graph, const struct score_query *query,
                            uint32_t node, uint32_t level, uint32_t *nodes,
                            float *scores, uint32_t *count, struct err *err)
{
	struct links links;
	uint32_t i;
	int rc;

	rc = links_read(graph, node, level, &links, err);
	if (rc)
		return rc;
	for (i = 0; i < links.count; i++)
		nodes[i] = link_at(&links, i) & ~LINK_BACKBONE;
	*count = links.count;
	return score_many(graph, query, nodes, links.count, scores, err);
}

static int descend_level(struct hnsw *graph, const struct score_query *query,
                         uint32_t level, struct candidate *nearest,
                         struct err *err)
{
	uint32_t nodes[LINKS_MAX], count, i, from;
	float scores[LINKS_MAX];
	int rc;

	do {
		from = nearest->node;
		rc = neighbours_score(graph, query, from, level, nodes, scores,
		                      &count, err);
		if (rc)
			return rc;
		for (i = 0; i < count; i++) {
			if (scores[i] < nearest->distance)
				*nearest = (struct candidate){ scores[i],
				                               nodes[i] };
		}
	} while (nearest->node != from);
	return ERR_NONE;
}

int walk_descend(struct hnsw *graph, const struct score_query *query,
                 uint32_t level, struct candidate *nearest, struct err *err)
{
	uint32_t at;
	int rc;

	nearest->node = graph->state.entry;
	rc = score_many(graph, query, &nearest->node, 1, &nearest->distance,
	                err);
	for (at = graph->state.top_level; !rc && at > level; at--)
		rc = descend_level(graph, query, at, nearest, err);
	return rc;
}

/* --- walking wide ---------------------------------------------------------------------- */

static int unseen_gather(struct hnsw *graph, uint32_t node, uint32_t level,
                         uint32_t *nodes, uint32_t *count, struct err *err)
{
	struct links links;
	uint32_t i, unseen = 0;
	int rc;

	rc = links_read(graph, node, level, &links, err);
	if (rc)
		return rc;
	for (i = 0; i < links.count; i++) {
		uint32_t other = link_at(&links, i) & ~LINK_BACKBONE;

		if (__builtin_expect(other >= graph->state.high_water, 0)) {
			graph_bad_node(graph, other, err);
			return ERR_CORRUPT;
		}
		nodes[unseen] = other;
		unseen += !visited_test_and_set(&graph->visited, other);
	}
	*count = unseen;
	return ERR_NONE;
}

/* The links of the node that comes next, towards the cache. */
static void next_prefetch(struct hnsw *graph)
{
	uint32_t next = pool_peek(&graph->pool);
	uint32_t index, i;
	const uint8_t *page;

	if (next == NO_NODE)
		return;
	index = strip_page_of(&graph->nodes, next);
	page = graph->nodes.pages[index];
	if (!page)
		return;
	page += strip_offset_of(&graph->nodes, next, index);
	for (i = 0; i < graph->bias_at && i < 256; i += 64)
		__builtin_prefetch(page + i);
}

int walk_level(struct hnsw *graph, const struct score_query *query,
               uint32_t level, struct candidate start, size_t width,
               struct err *err)
{
	uint32_t nodes[LINKS_MAX], count, i, node;
	float scores[LINKS_MAX];
	int rc;

	rc = pool_reset(graph, width, err);
	if (rc)
		return rc;
	visited_clear(&graph->visited);
	visited_test_and_set(&graph->visited, start.node);
	pool_add(&graph->pool, start.node, start.distance);
	while ((node = pool_next(&graph->pool)) != NO_NODE) {
		rc = unseen_gather(graph, node, level, nodes, &count, err);
		if (!rc)
			rc = score_many(graph, query, nodes, count, scores, err);
		if (rc)
			return rc;
		for (i = 0; i < count; i++)
			pool_add(&graph->pool, nodes[i], scores[i]);
		next_prefetch(graph);
	}
	return ERR_NONE;
}
