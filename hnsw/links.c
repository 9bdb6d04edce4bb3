/*
 * links.c - reading and editing one node's links.
 *
 * Level 0 has its links in the node's block, higher levels in upper records
 * that are chained upwards.
 */
#include "hnsw/graph.h"

#include <string.h>

void links_bad_degree(const struct hnsw *graph, uint32_t node, struct err *err)
{
	graph_corrupt(graph, err, "node %u has more links than fit", node);
}

/* The record that holds a node's links of a level above 0. */
static int upper_find(struct hnsw *graph, uint32_t node, uint32_t level,
                      uint32_t *record, const uint8_t **bytes, struct err *err)
{
	const uint8_t *block;
	uint32_t chain, step;
	int rc;

	rc = graph_block(graph, node, &block, err);
	if (rc)
		return rc;
	chain = block[NODE_LEVEL_AT] > NODE_LEVEL_MAX ?
	                0 : load_le32(block + NODE_UPPER_AT);
	for (step = 1;; step++) {
		if (chain == 0 || chain > graph->state.upper_high_water)
			return graph_corrupt(graph, err,
			                     "node %u has no links on level %u",
			                     node, level);
		*record = chain - 1;
		rc = strip_read(&graph->uppers, *record, bytes, err);
		if (rc)
			return rc;
		if (load_le32(*bytes + UPPER_NODE_AT) != node ||
		    (*bytes)[UPPER_LEVEL_AT] != step)
			return graph_corrupt(graph, err,
			                     "upper record %u is not that of node %u, level %u",
			                     *record, node, step);
		if (step == level)
			return ERR_NONE;
		chain = load_le32(*bytes + UPPER_NEXT_AT);
	}
}

int links_upper_read(struct hnsw *graph, uint32_t node, uint32_t level,
                     struct links *links, struct err *err)
{
	const uint8_t *bytes;
	uint32_t record;
	int rc;

	rc = upper_find(graph, node, level, &record, &bytes, err);
	if (rc)
		return rc;
	links->at = bytes + UPPER_LINKS_AT;
	links->count = load_le16(bytes + UPPER_DEGREE_AT);
	if (links->count > graph->links_max[1]) {
		links_bad_degree(graph, node, err);
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

int links_copy(struct hnsw *graph, uint32_t node, uint32_t level,
               struct link_list *list, struct err *err)
{
	struct links links;
	int rc;

	rc = links_read(graph, node, level, &links, err);
	if (rc)
		return rc;
	list->count = links.count;
	memcpy(list->links, links.at, (size_t)links.count * LINK_SIZE);
	return ERR_NONE;
}

static int edit_in_block(struct hnsw *graph, uint32_t node,
                         struct links_edit *edit, struct err *err)
{
	uint8_t *block;
	int rc;

	rc = graph_block_edit(graph, node, &block, err);
	if (rc)
		return rc;
	edit->degree = block + NODE_DEGREE_AT;
	edit->at = block + NODE_LINKS_AT;
	return ERR_NONE;
}

static int edit_in_upper(struct hnsw *graph, uint32_t node, uint32_t level,
                         struct links_edit *edit, struct err *err)
{
	const uint8_t *bytes;
	uint8_t *edited;
	uint32_t record;
	int rc;

	rc = upper_find(graph, node, level, &record, &bytes, err);
	if (!rc)
		rc = strip_edit(&graph->uppers, record, &edited, err);
	if (rc)
		return rc;
	edit->degree = edited + UPPER_DEGREE_AT;
	edit->at = edited + UPPER_LINKS_AT;
	return ERR_NONE;
}

static int all_edit(struct hnsw *graph, uint32_t node, uint32_t level,
                    struct links_edit *edit, struct err *err)
{
	int rc;

	rc = level ? edit_in_upper(graph, node, level, edit, err) :
	             edit_in_block(graph, node, edit, err);
	if (rc)
		return rc;
	edit->count = load_le16(edit->degree);
	if (edit->count > links_max(graph, level)) {
		links_bad_degree(graph, node, err);
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

int links_find(struct hnsw *graph, uint32_t level, uint32_t node,
               uint32_t other, struct links_edit *edit, uint8_t **link,
               struct err *err)
{
	uint32_t i;
	int rc;

	rc = all_edit(graph, node, level, edit, err);
	if (rc)
		return rc;
	for (i = 0; i < edit->count; i++) {
		*link = edit->at + (size_t)i * LINK_SIZE;
		if ((load_le32(*link) & ~LINK_BACKBONE) == other)
			return ERR_NONE;
	}
	return graph_corrupt(graph, err,
	                     "node %u does not link back to %u on level %u", node,
	                     other, level);
}

static int side_drop(struct hnsw *graph, uint32_t level, uint32_t node,
                     uint32_t other, struct err *err)
{
	struct links_edit edit;
	uint8_t *link;
	int rc;

	rc = links_find(graph, level, node, other, &edit, &link, err);
	if (rc)
		return rc;
	memmove(link, edit.at + (size_t)(edit.count - 1) * LINK_SIZE, LINK_SIZE);
	store_le16(edit.degree, (uint16_t)(edit.count - 1));
	return ERR_NONE;
}

int links_drop(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
               struct err *err)
{
	int rc;

	rc = side_drop(graph, level, a, b, err);
	if (!rc)
		rc = side_drop(graph, level, b, a, err);
	return rc;
}

static int side_add(struct hnsw *graph, uint32_t level, uint32_t node,
                    uint32_t link, struct err *err)
{
	struct links_edit edit;
	int rc;

	rc = all_edit(graph, node, level, &edit, err);
	if (rc)
		return rc;
	if (edit.count == links_max(graph, level)) {
		links_bad_degree(graph, node, err);
		return ERR_CORRUPT;
	}
	store_le32(edit.at + (size_t)edit.count * LINK_SIZE, link);
	store_le16(edit.degree, (uint16_t)(edit.count + 1));
	return ERR_NONE;
}

int links_add(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
              uint32_t flag, struct err *err)
{
	int rc;

	rc = side_add(graph, level, a, b | flag, err);
	if (!rc)
		rc = side_add(graph, level, b, a | flag, err);
	return rc;
}

static int side_promote(struct hnsw *graph, uint32_t level, uint32_t node,
                        uint32_t other, struct err *err)
{
	struct links_edit edit;
	uint8_t *link;
	int rc;

	rc = links_find(graph, level, node, other, &edit, &link, err);
	if (!rc)
		store_le32(link, other | LINK_BACKBONE);
	return rc;
}

int links_promote(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
                  struct err *err)
{
	int rc;

	rc = side_promote(graph, level, a, b, err);
	if (!rc)
		rc = side_promote(graph, level, b, a, err);
	return rc;
}
