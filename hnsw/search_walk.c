/*
 * search_walk.c - a run by the graph: what a walk met becomes results.
 *
 * The walk ranks by codes. Its nearest are measured with their full vectors, each
 * with its twins, until as many are found as are wanted and some more. Where more
 * nodes have one score than the walk had room for, it cannot tell what it found from
 * what it left out: that run was blind.
 */
#include "hnsw/search.h"

#include <math.h>

#include "hnsw/pool.h"
#include "hnsw/score.h"
#include "hnsw/twins.h"
#include "hnsw/walk.h"

enum {
	RESCORE_SLACK = 8,
	RESCORE_AHEAD = 3,
};

/* The full vector of a result some places ahead, towards the cache. */
FETCHING void ahead_prefetch(const struct hnsw *graph, size_t at)
{
	const struct strip *strip = &graph->vectors;
	uint32_t node, index, i;
	const uint8_t *vector;

	at += RESCORE_AHEAD;
	if (at >= graph->pool.size || !strip->per_page)
		return;
	node = pool_node(graph->pool.keys[at]);
	index = strip_page_of(strip, node);
	if (index >= strip->page_count || !strip->pages[index])
		return;
	vector = strip->pages[index] + (size_t)(node - index * strip->per_page) *
	                                       strip->record_size;
	for (i = 0; i < strip->record_size && i < 1024; i += 64)
		__builtin_prefetch(vector + i);
}

static int rowid_read(struct hnsw *graph, uint32_t node, int64_t *rowid,
                      struct err *err)
{
	const uint8_t *block;
	int rc;

	rc = graph_live_block(graph, node, &block, err);
	if (!rc)
		*rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	return rc;
}

/* A node of the graph and its twins, which are all equally far: no more of them
 * than `most`; *cut when there are. */
static int equal_results(struct hnsw_search *search, uint32_t node, size_t most,
                         bool *cut, struct err *err)
{
	struct hnsw *graph = search->graph;
	size_t limit = search->batch_count + most;
	struct search_found found = { .distance = NAN };
	int rc;

	*cut = false;
	do {
		found.node = node;
		rc = rowid_read(graph, node, &found.rowid, err);
		if (!rc && search_is_wanted(search, found.rowid)) {
			*cut = search->batch_count == limit;
			if (*cut)
				return ERR_NONE;
			if (isnan(found.distance))
				rc = score_exact(graph, &graph->query, node,
				                 &found.distance, err);
			if (!rc)
				rc = search_batch_push(search, found, err);
		}
		if (!rc)
			rc = breathe(graph->searching, err);
		if (!rc)
			rc = twins_next(graph, node, TWINS_EQUAL, &node, err);
	} while (!rc && node != NO_NODE);
	return rc;
}

/* What hangs on a node and is nearly the same. */
static int near_results(struct hnsw_search *search, uint32_t node,
                        struct err *err)
{
	struct hnsw *graph = search->graph;
	struct search_found found = { 0 };
	int rc;

	for (;;) {
		rc = twins_next(graph, node, TWINS_NEAR, &node, err);
		if (rc || node == NO_NODE)
			return rc;
		found.node = node;
		rc = rowid_read(graph, node, &found.rowid, err);
		if (!rc && search_is_wanted(search, found.rowid)) {
			rc = score_exact(graph, &graph->query, node,
			                 &found.distance, err);
			if (!rc)
				rc = search_batch_push(search, found, err);
		}
		if (rc)
			return rc;
	}
}

/* Nodes of a walk that are worth reading full vectors of: codes put the nearest
 * nearly first, so when the first `enough` have what is wanted, not many more; but
 * all that look the same. */
static size_t rescored_limit(size_t enough)
{
	return enough + enough / 2 + RESCORE_SLACK;
}

/* Many nodes may have one code, and a walk has no room for more of them: then it
 * cannot tell its results from what it left out. */
struct tie {
	float score;      /* of the farthest that the walk had room for */
	double distance;  /* of a node with that score, NAN = none yet  */
	bool differs;     /* another such node has another distance     */
};

static struct tie tie_begin(const struct hnsw_search *search)
{
	const struct pool *pool = &search->graph->pool;
	struct tie tie = { .score = NAN, .distance = NAN };

	if (search->graph->state.trained && pool->size == pool->limit)
		tie.score = pool_distance(pool->keys[pool->size - 1]);
	return tie;
}

static void tie_add(struct tie *tie, float score, double distance)
{
	if (score != tie->score)
		return;
	tie->differs |= !isnan(tie->distance) && distance != tie->distance;
	tie->distance = distance;
}

/* Whether the last of the results is one of those, and not just as far as all. */
static bool tie_blinds(const struct hnsw_search *search, const struct tie *tie)
{
	const struct pool *pool = &search->graph->pool;
	size_t wanted_count = search->k ? search_wanted(search) : (pool->size + 1) / 2;

	return tie->differs && wanted_count <= pool->size &&
	       pool_distance(pool->keys[wanted_count - 1]) == tie->score;
}

/* How many of a walk's nodes count: of the far ones it misses some. */
static size_t sure_part(const struct hnsw_search *search)
{
	size_t size = search->graph->pool.size;

	if (!search->k)
		return (size + 1) / 2;
	return search->accept ? size - size / 4 : size;
}

static int pool_results(struct hnsw_search *search, struct err *err)
{
	const struct pool *pool = &search->graph->pool;
	size_t left = search_wanted(search), limit = pool->size, used = 0, i;
	size_t equal, equals = 0; /* results but for the near ones */
	size_t sure = sure_part(search);
	size_t most = search->k ? left : search->width;
	struct tie tie = tie_begin(search);
	bool cut;
	int rc;

	for (i = 0; i < pool->size; i++) {
		size_t before = search->batch_count;

		if (used >= limit && pool_distance(pool->keys[i]) !=
		                             pool_distance(pool->keys[i - 1]))
			break;

		ahead_prefetch(search->graph, i);
		rc = breathe(search->graph->searching, err);
		if (!rc)
			rc = equal_results(search, pool_node(pool->keys[i]),
			                   most, &cut, err);
		equal = search->batch_count - before;
		if (!rc && (search->k || !cut))
			rc = near_results(search, pool_node(pool->keys[i]), err);
		if (rc)
			return rc;
		if (search->batch_count > before) {
			used++;
			tie_add(&tie, pool_distance(pool->keys[i]),
			        search->batch[before].distance);
		}
		if (search->k && equals < left && equals + equal >= left)
			limit = rescored_limit(used);
		equals += equal;
		if (i < sure)
			search->batch_sure = search->batch_count;
		if (cut && !search->k)
			break;
	}
	search->blind = tie_blinds(search, &tie);
	return ERR_NONE;
}

int search_by_walk(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	struct candidate nearest;
	int rc;

	rc = walk_descend(graph, &graph->query, 0, &nearest, err);
	if (!rc)
		rc = walk_level(graph, &graph->query, 0, nearest, search->width,
		                err);
	if (!rc)
		rc = pool_results(search, err);
	return rc;
}
