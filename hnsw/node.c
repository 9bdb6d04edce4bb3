/*
 * node.c - one node of a graph: its block, its payload and vector, its id.
 *
 * Ids and upper records that are free form lists through their own bytes; the state
 * has the heads. A node that is made has level 0 and no links; raising it adds the
 * upper records, one a level, chained upwards.
 */
#include "hnsw/graph.h"

#include <string.h>

#include "hnsw/quantise.h"
#include "hnsw/twins.h"

/* --- reading and editing ------------------------------------------------------------- */

int graph_live_block(struct hnsw *graph, uint32_t node, const uint8_t **block,
                     struct err *err)
{
	int rc;

	rc = graph_block(graph, node, block, err);
	if (rc)
		return rc;
	if ((*block)[NODE_LEVEL_AT] > NODE_LEVEL_MAX &&
	    !twins_is_level((*block)[NODE_LEVEL_AT]))
		return graph_corrupt(graph, err, "node %u does not exist", node);
	return ERR_NONE;
}

int graph_begin_at(struct hnsw *graph, uint32_t node, const uint8_t **block,
                   struct err *err)
{
	int rc = graph_begin(graph, err);

	return rc ? rc : graph_live_block(graph, node, block, err);
}

int graph_block_edit(struct hnsw *graph, uint32_t node, uint8_t **block,
                     struct err *err)
{
	uint32_t slot = 0;
	uint8_t *page;
	int rc;

	if (node >= graph->state.high_water) {
		graph_bad_node(graph, node, err);
		return ERR_CORRUPT;
	}
	rc = strip_page_edit(&graph->nodes, node, &page, &slot, err);
	if (rc)
		return rc;
	*block = page + graph->blocks_at + (size_t)slot * graph->block_size;
	return ERR_NONE;
}

int graph_payload_write(struct hnsw *graph, uint32_t node,
                        const uint8_t *payload, float bias, struct err *err)
{
	uint32_t slot = 0;
	uint8_t *page;
	int rc;

	rc = strip_page_edit(&graph->nodes, node, &page, &slot, err);
	if (rc)
		return rc;
	memcpy(page + graph->biases_at + (size_t)slot * NODE_BIAS_SIZE, &bias,
	       sizeof bias);
	if (!payload)
		return ERR_NONE;
	if (!graph->payload_stride)
		return strip_store(&graph->payloads, node, payload, err);
	memcpy(page + NODES_PAYLOADS_AT + (size_t)slot * graph->payload_stride,
	       payload, graph->payload_size);
	return ERR_NONE;
}

int graph_payload_read(struct hnsw *graph, uint32_t node, uint8_t *scratch,
                       const uint8_t **payload, float *bias, struct err *err)
{
	const uint8_t *page;
	uint32_t slot;
	int rc;

	rc = graph_place(graph, node, &page, &slot, err);
	if (rc)
		return rc;
	*bias = graph_bias_at(graph, page, slot);
	if (!graph->payload_stride)
		return strip_load(&graph->payloads, node, scratch, payload, err);
	*payload = graph_payload_at(graph, page, slot);
	return ERR_NONE;
}

int graph_vector(struct hnsw *graph, uint32_t node, uint8_t *scratch,
                 const uint8_t **vector, struct err *err)
{
	float bias;

	if (graph->options.quantize == HNSW_SQ8)
		return strip_load(&graph->vectors, node, scratch, vector, err);
	return graph_payload_read(graph, node, scratch, vector, &bias, err);
}

/* --- ids ------------------------------------------------------------------------------ */

static int id_pop(struct hnsw *graph, uint32_t *node, struct err *err)
{
	uint32_t id = graph->state.free_head - 1;
	const uint8_t *block;
	uint32_t next;
	int rc;

	rc = graph_block(graph, id, &block, err);
	if (rc)
		return rc;
	next = load_le32(block + NODE_UPPER_AT);
	if (block[NODE_LEVEL_AT] != NODE_FREE || next > graph->state.high_water)
		return graph_corrupt(graph, err,
		                     "node %u on the free list is in use", id);
	graph->state.free_head = next;
	*node = id;
	return ERR_NONE;
}

static int id_append(struct hnsw *graph, uint32_t *node, struct err *err)
{
	uint32_t id = graph->state.high_water;
	int rc;

	if (id > NODE_ID_MAX)
		return err_set(err, ERR_TOOBIG, "insert into graph",
		               graph->pager->name, "it has %u nodes already",
		               id);
	rc = strip_extend(&graph->nodes, id + 1, err);
	if (!rc && !graph->payload_stride)
		rc = strip_extend(&graph->payloads, id + 1, err);
	if (!rc && graph->options.quantize == HNSW_SQ8)
		rc = strip_extend(&graph->vectors, id + 1, err);
	if (!rc)
		rc = visited_room_make(graph, id + 1, err);
	if (rc)
		return rc;
	graph->state.high_water = id + 1;
	*node = id;
	return ERR_NONE;
}

/* --- upper records -------------------------------------------------------------------- */

int graph_upper_take(struct hnsw *graph, uint32_t *record, struct err *err)
{
	struct graph_state *state = &graph->state;
	const uint8_t *bytes;
	uint32_t next;
	int rc;

	if (state->upper_free_head == 0) {
		rc = strip_extend(&graph->uppers, state->upper_high_water + 1,
		                  err);
		if (rc)
			return rc;
		*record = state->upper_high_water++;
	} else {
		*record = state->upper_free_head - 1;
		rc = strip_read(&graph->uppers, *record, &bytes, err);
		if (rc)
			return rc;
		next = load_le32(bytes + UPPER_NEXT_AT);
		if (bytes[UPPER_LEVEL_AT] != 0 || next > state->upper_high_water)
			return graph_corrupt(graph, err,
			                     "upper record %u on the free list is in use",
			                     *record);
		state->upper_free_head = next;
	}
	state->upper_count++;
	return ERR_NONE;
}

int graph_upper_free(struct hnsw *graph, uint32_t node, uint32_t level,
                     uint32_t *chain, struct err *err)
{
	uint32_t record = *chain - 1;
	uint8_t *bytes;
	int rc;

	if (record >= graph->state.upper_high_water)
		return graph_corrupt(graph, err,
		                     "node %u has no links on level %u", node,
		                     level);
	rc = strip_edit(&graph->uppers, record, &bytes, err);
	if (rc)
		return rc;
	if (load_le32(bytes + UPPER_NODE_AT) != node ||
	    bytes[UPPER_LEVEL_AT] != level || graph->state.upper_count == 0)
		return graph_corrupt(graph, err,
		                     "upper record %u is not that of node %u, level %u",
		                     record, node, level);
	*chain = load_le32(bytes + UPPER_NEXT_AT);
	store_le32(bytes + UPPER_NEXT_AT, graph->state.upper_free_head);
	bytes[UPPER_LEVEL_AT] = 0;
	graph->state.upper_free_head = record + 1;
	graph->state.upper_count--;
	return ERR_NONE;
}

/* Upper records for levels `level` down to 1, chained upwards. */
static int uppers_make(struct hnsw *graph, uint32_t node, uint32_t level,
                       uint32_t *first, struct err *err)
{
	uint32_t next = 0, record;
	uint8_t *bytes;
	int rc;

	for (; level > 0; level--) {
		rc = graph_upper_take(graph, &record, err);
		if (!rc)
			rc = strip_edit(&graph->uppers, record, &bytes, err);
		if (rc)
			return rc;
		store_le32(bytes + UPPER_NODE_AT, node);
		store_le32(bytes + UPPER_NEXT_AT, next);
		store_le16(bytes + UPPER_DEGREE_AT, 0);
		bytes[UPPER_LEVEL_AT] = (uint8_t)level;
		next = record + 1;
	}
	*first = next;
	return ERR_NONE;
}

/* --- making and freeing --------------------------------------------------------------- */

int graph_node_make(struct hnsw *graph, int64_t rowid, struct span vector,
                    uint32_t *node, struct err *err)
{
	uint8_t *block;
	int rc;

	rc = graph->state.free_head ? id_pop(graph, node, err) :
	                              id_append(graph, node, err);
	if (!rc)
		rc = graph_block_edit(graph, *node, &block, err);
	if (rc)
		return rc;
	store_le64(block + NODE_ROWID_AT, (uint64_t)rowid);
	store_le32(block + NODE_UPPER_AT, 0);
	store_le16(block + NODE_DEGREE_AT, 0);
	block[NODE_LEVEL_AT] = 0;
	block[NODE_FLAGS_AT] = 0;
	if (graph->options.quantize == HNSW_SQ8) {
		rc = strip_store(&graph->vectors, *node, vector.data, err);
		if (rc)
			return rc;
	}
	rc = quantise_payload_write(graph, *node, vector.data, err);
	if (!rc)
		graph->state.count++;
	return rc;
}

int graph_node_raise(struct hnsw *graph, uint32_t node, uint32_t level,
                     struct err *err)
{
	uint32_t first_upper = 0;
	uint8_t *block;
	int rc;

	if (level == 0)
		return ERR_NONE;
	rc = uppers_make(graph, node, level, &first_upper, err);
	if (!rc)
		rc = graph_block_edit(graph, node, &block, err);
	if (rc)
		return rc;
	store_le32(block + NODE_UPPER_AT, first_upper);
	block[NODE_LEVEL_AT] = (uint8_t)level;
	return ERR_NONE;
}

int graph_node_free(struct hnsw *graph, uint32_t node, struct err *err)
{
	uint32_t chain, level;
	uint8_t *block;
	int rc;

	if (graph->state.count == 0)
		return graph_corrupt(graph, err,
		                     "node %u is live, the state counts none",
		                     node);
	rc = graph_block_edit(graph, node, &block, err);
	if (rc)
		return rc;
	chain = load_le32(block + NODE_UPPER_AT);
	for (level = 1; level <= block[NODE_LEVEL_AT]; level++) {
		rc = graph_upper_free(graph, node, level, &chain, err);
		if (rc)
			return rc;
	}
	store_le32(block + NODE_UPPER_AT, graph->state.free_head);
	store_le16(block + NODE_DEGREE_AT, 0);
	block[NODE_LEVEL_AT] = NODE_FREE;
	graph->state.free_head = node + 1;
	graph->state.count--;
	if (graph->state.count == 0)
		return graph_empty(graph, err);
	return ERR_NONE;
}

/* --- for those outside ---------------------------------------------------------------- */

int hnsw_rowid_set(struct hnsw *graph, uint32_t node, int64_t rowid,
                   struct err *err)
{
	const uint8_t *block;
	uint8_t *edited;
	int rc;

	rc = graph_begin_at(graph, node, &block, err);
	if (rc)
		return rc;
	rc = graph_block_edit(graph, node, &edited, err);
	if (!rc)
		store_le64(edited + NODE_ROWID_AT, (uint64_t)rowid);
	return graph_end(graph, rc, err);
}

int hnsw_vector(struct hnsw *graph, uint32_t node, struct span *vector,
                int64_t *rowid, struct err *err)
{
	const uint8_t *block, *bytes;
	int rc;

	rc = graph_begin_at(graph, node, &block, err);
	if (!rc)
		rc = graph_vector(graph, node, graph->vector_scratch, &bytes,
		                  err);
	if (rc)
		return rc;
	*vector = span_of(bytes, graph->vector_size);
	*rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	return ERR_NONE;
}
