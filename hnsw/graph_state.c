/*
 * graph_state.c - a graph's state in memory, kept true to the view.
 *
 * Counts, entry node and the places of the strips live in the pager's state and change
 * with every write. Nothing of them outlives a moved view: graph_begin() reads them
 * again, and checks them field by field; graph_end() stores them.
 */
#include "hnsw/graph.h"

#include "hnsw/quantise.h"

static int state_check(struct hnsw *graph, const struct graph_state *state,
                       struct err *err)
{
	if (state->high_water > NODE_ID_MAX || state->count > state->high_water ||
	    state->free_head > state->high_water)
		return graph_corrupt(graph, err,
		                     "%u nodes of %u ids, first free %u",
		                     state->count, state->high_water,
		                     state->free_head);
	if ((state->count == 0) != (state->entry == NO_NODE) ||
	    (state->entry != NO_NODE && state->entry >= state->high_water))
		return graph_corrupt(graph, err, "entry node %u of %u",
		                     state->entry, state->high_water);
	if (state->top_level > NODE_LEVEL_MAX)
		return graph_corrupt(graph, err, "top level %u",
		                     state->top_level);
	if (state->upper_count > state->upper_high_water ||
	    state->upper_free_head > state->upper_high_water)
		return graph_corrupt(graph, err,
		                     "%u upper records of %u, first free %u",
		                     state->upper_count, state->upper_high_water,
		                     state->upper_free_head);
	if (state->recode_cursor > state->recode_limit ||
	    state->recode_limit > state->high_water)
		return graph_corrupt(graph, err, "recoding stands at %u of %u",
		                     state->recode_cursor, state->recode_limit);
	if (state->trained && graph->options.quantize != HNSW_SQ8)
		return graph_corrupt(graph, err, "codes without quantiser");
	return ERR_NONE;
}

static int state_parse(struct hnsw *graph, const uint8_t *bytes,
                       struct err *err)
{
	struct graph_state state = {
		.top_level = bytes[STATE_TOP_LEVEL_AT],
		.trained = bytes[STATE_FLAGS_AT] & STATE_TRAINED,
		.slot = (bytes[STATE_FLAGS_AT] & STATE_SLOT) != 0,
		.meta_page = load_le32(bytes + STATE_META_AT),
		.count = load_le32(bytes + STATE_COUNT_AT),
		.high_water = load_le32(bytes + STATE_HIGH_WATER_AT),
		.free_head = load_le32(bytes + STATE_FREE_AT),
		.entry = load_le32(bytes + STATE_ENTRY_AT) - 1,
		.upper_high_water = load_le32(bytes + STATE_UPPER_HIGH_AT),
		.upper_free_head = load_le32(bytes + STATE_UPPER_FREE_AT),
		.upper_count = load_le32(bytes + STATE_UPPER_COUNT_AT),
		.train_at = load_le32(bytes + STATE_TRAIN_AT),
		.recode_cursor = load_le32(bytes + STATE_RECODE_CURSOR_AT),
		.recode_limit = load_le32(bytes + STATE_RECODE_LIMIT_AT),
	};
	int rc;

	rc = state_check(graph, &state, err);
	if (rc)
		return rc;
	graph->state = state;
	return ERR_NONE;
}

static void state_write(const struct hnsw *graph, uint8_t *bytes)
{
	const struct graph_state *state = &graph->state;

	store_le16(bytes + STATE_VERSION_AT, GRAPH_VERSION);
	bytes[STATE_TOP_LEVEL_AT] = (uint8_t)state->top_level;
	bytes[STATE_FLAGS_AT] = (uint8_t)((state->trained ? STATE_TRAINED : 0) |
	                                  (state->slot ? STATE_SLOT : 0));
	store_le32(bytes + STATE_META_AT, state->meta_page);
	store_le32(bytes + STATE_COUNT_AT, state->count);
	store_le32(bytes + STATE_HIGH_WATER_AT, state->high_water);
	store_le32(bytes + STATE_FREE_AT, state->free_head);
	store_le32(bytes + STATE_ENTRY_AT, state->entry + 1);
	store_le32(bytes + STATE_UPPER_HIGH_AT, state->upper_high_water);
	store_le32(bytes + STATE_UPPER_FREE_AT, state->upper_free_head);
	store_le32(bytes + STATE_UPPER_COUNT_AT, state->upper_count);
	store_le32(bytes + STATE_TRAIN_AT, state->train_at);
	store_le32(bytes + STATE_RECODE_CURSOR_AT, state->recode_cursor);
	store_le32(bytes + STATE_RECODE_LIMIT_AT, state->recode_limit);
	store_le32(bytes + STATE_NODES_AT, graph->nodes.root);
	store_le32(bytes + STATE_PAYLOADS_AT, graph->payloads.root);
	store_le32(bytes + STATE_VECTORS_AT, graph->vectors.root);
	store_le32(bytes + STATE_UPPERS_AT, graph->uppers.root);
	store_le32(bytes + STATE_QUANTISERS_AT, graph->quantisers.root);
}

static int strips_place(struct hnsw *graph, const uint8_t *bytes,
                        struct err *err)
{
	const struct graph_state *state = &graph->state;
	bool coded = graph->options.quantize == HNSW_SQ8;
	uint32_t payloads = graph->payload_stride ? 0 : state->high_water;
	uint32_t vectors = coded ? state->high_water : 0;
	uint32_t quantisers = load_le32(bytes + STATE_QUANTISERS_AT) ?
	                              STRIP_QUANTISERS : 0;
	int rc;

	if (state->trained && !quantisers)
		return graph_corrupt(graph, err, "no page of quantisers");
	rc = strip_place(&graph->nodes, load_le32(bytes + STATE_NODES_AT),
	                 state->high_water, err);
	if (!rc)
		rc = strip_place(&graph->payloads,
		                 load_le32(bytes + STATE_PAYLOADS_AT), payloads,
		                 err);
	if (!rc)
		rc = strip_place(&graph->vectors,
		                 load_le32(bytes + STATE_VECTORS_AT), vectors,
		                 err);
	if (!rc)
		rc = strip_place(&graph->uppers,
		                 load_le32(bytes + STATE_UPPERS_AT),
		                 state->upper_high_water, err);
	if (!rc)
		rc = strip_place(&graph->quantisers,
		                 load_le32(bytes + STATE_QUANTISERS_AT),
		                 quantisers, err);
	return rc;
}

int graph_state_version_check(struct pager *pager, const uint8_t *bytes,
                              struct err *err)
{
	uint32_t version = load_le16(bytes + STATE_VERSION_AT);

	if (version == 0)
		return err_set(err, ERR_CORRUPT, "open graph", pager->name,
		               "no graph was made in this file");
	if (version > GRAPH_VERSION)
		return err_set(err, ERR_VERSION, "open graph", pager->name,
		               "format version is %u, this library knows %d",
		               version, GRAPH_VERSION);
	return ERR_NONE;
}

/* --- following the view --------------------------------------------------------------- */

static void forget(struct hnsw *graph)
{
	strip_forget(&graph->nodes);
	strip_forget(&graph->payloads);
	strip_forget(&graph->vectors);
	strip_forget(&graph->uppers);
	strip_forget(&graph->quantisers);
	graph->quantiser[0].loaded = false;
	graph->quantiser[1].loaded = false;
}

int graph_begin(struct hnsw *graph, struct err *err)
{
	const uint8_t *bytes;
	int rc;

	if (graph->fresh && graph->view_epoch == *graph->pager->view_epoch &&
	    graph->edits == graph->pager->edits)
		return ERR_NONE;
	graph->fresh = false;
	forget(graph);
	rc = pager_state_read(graph->pager, &bytes, err);
	if (!rc)
		rc = graph_state_version_check(graph->pager, bytes, err);
	if (!rc)
		rc = state_parse(graph, bytes, err);
	if (!rc)
		rc = strips_place(graph, bytes, err);
	if (!rc)
		rc = visited_room_make(graph, graph->state.high_water, err);
	if (rc)
		return rc;
	graph->fresh = true;
	graph->view_epoch = *graph->pager->view_epoch;
	graph->edits = graph->pager->edits;
	return ERR_NONE;
}

int graph_end(struct hnsw *graph, int rc, struct err *err)
{
	uint8_t *bytes;

	if (!rc)
		rc = pager_state_edit(graph->pager, &bytes, err);
	if (rc) {
		graph->fresh = false;
		return rc;
	}
	state_write(graph, bytes);
	graph->edits = graph->pager->edits;
	return ERR_NONE;
}

int graph_empty(struct hnsw *graph, struct err *err)
{
	int rc;

	rc = strip_clear(&graph->nodes, err);
	if (!rc)
		rc = strip_clear(&graph->payloads, err);
	if (!rc)
		rc = strip_clear(&graph->vectors, err);
	if (!rc)
		rc = strip_clear(&graph->uppers, err);
	if (!rc)
		rc = strip_clear(&graph->quantisers, err);
	if (rc)
		return rc;
	graph->quantiser[0].loaded = false;
	graph->quantiser[1].loaded = false;
	graph->state = (struct graph_state){
		.meta_page = graph->state.meta_page,
		.entry = NO_NODE,
		.train_at = QUANTISE_FIRST_COUNT,
	};
	return ERR_NONE;
}
