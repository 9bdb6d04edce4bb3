/*
 * search_scan.c - a run by reading all: every node is measured, in the order of ids.
 */
#include "hnsw/search.h"

#include "hnsw/score.h"

static int scan_one(struct hnsw_search *search, uint32_t node, size_t limit,
                    struct err *err)
{
	struct hnsw *graph = search->graph;
	struct search_found found = { .node = node };
	const uint8_t *block;
	int rc;

	rc = graph_block(graph, node, &block, err);
	if (rc || block[NODE_LEVEL_AT] == NODE_FREE)
		return rc;
	found.rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	rc = score_exact(graph, &graph->query, node, &found.distance, err);
	if (rc)
		return rc;
	if (search->batch_count == limit &&
	    search_order(&found, &search->batch[0]) >= 0)
		return ERR_NONE;
	if (search_is_wanted(search, found.rowid))
		search_batch_offer(search, found, limit);
	return ERR_NONE;
}

int search_by_scan(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	size_t limit = search->width;
	uint32_t node;
	int rc;

	if (limit > graph->state.count)
		limit = graph->state.count;
	rc = search_batch_room(search, limit, err);
	for (node = 0; !rc && node < graph->state.high_water; node++) {
		rc = scan_one(search, node, limit, err);
		if (!rc)
			rc = breathe(graph->searching, err);
	}
	if (!rc && search->batch_count < search->width)
		search->complete = true;
	search->batch_sure = search->batch_count;
	return rc;
}
