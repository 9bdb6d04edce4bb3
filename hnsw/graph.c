/*
 * graph.c - making and opening a graph: its options, and how its pages are laid out.
 *
 * Structures    struct hnsw: options, strips, state (graph_state.c), scratch.
 * Safety        The meta page is checked field by field when it is read; ids,
 *               levels and degrees when they are met.
 */
#include "hnsw/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hnsw/quantise.h"
#include "hnsw/score.h"

/* --- sentences ---------------------------------------------------------------------- */

int graph_explain(const struct hnsw *graph, struct err *err, const char *format,
                  ...)
{
	char reason[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof reason, format, arguments);
	va_end(arguments);
	return err_set(err, ERR_CORRUPT, "read graph", graph->pager->name, "%s",
	               reason);
}

int graph_explain_memory(const struct hnsw *graph, struct err *err)
{
	return err_set(err, ERR_NOMEM, "use graph", graph->pager->name,
	               "no memory for its working arrays");
}

void graph_bad_node(const struct hnsw *graph, uint32_t node, struct err *err)
{
	graph_corrupt(graph, err, "node %u is beyond the last, %u", node,
	              graph->state.high_water);
}

/* --- options ------------------------------------------------------------------------ */

static int option_refused(struct pager *pager, const char *what, uint32_t given,
                          const char *expected, struct err *err)
{
	return err_set(err, ERR_INVALID, "create graph", pager->name,
	               "%s is %u, expected %s", what, given, expected);
}

static int metric_check(struct pager *pager,
                        const struct hnsw_options *options, struct err *err)
{
	bool bits = options->element == HNSW_BIT;
	bool hamming = options->metric == HNSW_HAMMING;

	if (bits != hamming)
		return err_set(err, ERR_INVALID, "create graph", pager->name,
		               "the hamming distance and bit vectors go only together");
	if (options->quantize == HNSW_SQ8 && options->element != HNSW_F32 &&
	    options->element != HNSW_F16)
		return err_set(err, ERR_INVALID, "create graph", pager->name,
		               "sq8 codes need f32 or f16 vectors");
	return ERR_NONE;
}

static int options_check(struct pager *pager,
                         const struct hnsw_options *options, struct err *err)
{
	if (options->dimensions < 1 ||
	    options->dimensions > VECTOR_DIMENSIONS_MAX)
		return option_refused(pager, "dimensions", options->dimensions,
		                      "1 to 65536", err);
	if (options->m < 2 || options->m > LINKS_MAX / 2)
		return option_refused(pager, "m", options->m, "2 to 128", err);
	if (options->ef_construction < 4 ||
	    options->ef_construction > CANDIDATES_MAX)
		return option_refused(pager, "ef_construction",
		                      options->ef_construction, "4 to 4096",
		                      err);
	if (options->element < HNSW_F32 || options->element > HNSW_BIT)
		return option_refused(pager, "element", options->element,
		                      "1 to 4", err);
	if (options->metric < HNSW_L2 || options->metric > HNSW_HAMMING)
		return option_refused(pager, "metric", options->metric, "1 to 5",
		                      err);
	if (options->quantize > HNSW_SQ8)
		return option_refused(pager, "quantize", options->quantize,
		                      "0 or 1", err);
	return metric_check(pager, options, err);
}

static bool links_fit(const struct pager *pager,
                      const struct hnsw_options *options)
{
	return pager->usable_size % 8 == 0 &&
	       pager->usable_size >= NODES_PAYLOADS_AT + NODE_LINKS_AT +
	                                     2 * options->m * LINK_SIZE +
	                                     NODE_BIAS_SIZE;
}

static int meta_read(struct pager *pager, uint32_t page_no,
                     struct hnsw_options *options, struct err *err)
{
	const uint8_t *meta;
	int rc;

	rc = pager_read(pager, page_no, &meta, err);
	if (rc)
		return rc;
	if (load_le32(meta + META_MAGIC_AT) != META_MAGIC)
		return err_set(err, ERR_CORRUPT, "open graph", pager->name,
		               "page %u is no meta page", page_no);
	if (load_le32(meta + META_VERSION_AT) > GRAPH_VERSION)
		return err_set(err, ERR_VERSION, "open graph", pager->name,
		               "format version is %u, this library knows %d",
		               load_le32(meta + META_VERSION_AT),
		               GRAPH_VERSION);
	options->dimensions = load_le32(meta + META_DIMENSIONS_AT);
	options->element = (enum hnsw_element)meta[META_ELEMENT_AT];
	options->metric = (enum hnsw_metric)meta[META_METRIC_AT];
	options->quantize = (enum hnsw_quantize)meta[META_QUANTIZE_AT];
	options->m = load_le32(meta + META_M_AT);
	options->ef_construction = load_le32(meta + META_EF_AT);
	rc = options_check(pager, options, err);
	if (rc && err)
		err->code = ERR_CORRUPT;
	return rc ? ERR_CORRUPT : ERR_NONE;
}

static void meta_write(uint8_t *meta, const struct hnsw_options *options)
{
	store_le32(meta + META_MAGIC_AT, META_MAGIC);
	store_le32(meta + META_VERSION_AT, GRAPH_VERSION);
	store_le32(meta + META_DIMENSIONS_AT, options->dimensions);
	meta[META_ELEMENT_AT] = (uint8_t)options->element;
	meta[META_METRIC_AT] = (uint8_t)options->metric;
	meta[META_QUANTIZE_AT] = (uint8_t)options->quantize;
	store_le32(meta + META_M_AT, options->m);
	store_le32(meta + META_EF_AT, options->ef_construction);
}

/* --- creating, opening ------------------------------------------------------------------ */

int hnsw_create(struct pager *pager, const struct hnsw_options *options,
                struct err *err)
{
	uint8_t *meta, *state;
	uint32_t page_no;
	int rc;

	rc = options_check(pager, options, err);
	if (rc)
		return rc;
	if (!links_fit(pager, options))
		return err_set(err, ERR_INVALID, "create graph", pager->name,
		               "pages of %u bytes do not hold %u links",
		               pager->usable_size, 2 * options->m);
	rc = pager_allocate(pager, PAGE_GRAPH_META, &page_no, &meta, err);
	if (rc)
		return rc;
	meta_write(meta, options);
	rc = pager_state_edit(pager, &state, err);
	if (rc)
		return rc;
	memset(state, 0, PAGER_STATE_SIZE);
	store_le16(state + STATE_VERSION_AT, GRAPH_VERSION);
	store_le32(state + STATE_META_AT, page_no);
	store_le32(state + STATE_TRAIN_AT, QUANTISE_FIRST_COUNT);
	return ERR_NONE;
}

static uint32_t round_up_4(uint32_t size)
{
	return (size + 3) & ~UINT32_C(3);
}

static void lay_out(struct hnsw *graph)
{
	const struct hnsw_options *options = &graph->options;
	struct pager *pager = graph->pager;
	uint32_t usable = pager->usable_size;
	bool coded = options->quantize == HNSW_SQ8;
	uint32_t node;

	graph->links_max[0] = 2 * options->m;
	graph->links_max[1] = options->m;
	graph->vector_size = (uint32_t)vector_size(options->element,
	                                           options->dimensions);
	graph->payload_size = coded ? options->dimensions : graph->vector_size;
	graph->payload_stride = round_up_4(graph->payload_size);
	graph->block_size = NODE_LINKS_AT + graph->links_max[0] * LINK_SIZE;
	node = graph->payload_stride + graph->block_size + NODE_BIAS_SIZE;
	if (!strip_packs_well(usable - NODES_PAYLOADS_AT, node)) {
		node -= graph->payload_stride;
		graph->payload_stride = 0;
	}
	strip_init(&graph->nodes, pager, PAGE_GRAPH_NODES, node, true,
	           NODES_PAYLOADS_AT);
	graph->blocks_at = NODES_PAYLOADS_AT +
	                   graph->nodes.per_page * graph->payload_stride;
	graph->biases_at = graph->blocks_at +
	                   graph->nodes.per_page * graph->block_size;
	strip_init(&graph->payloads, pager, PAGE_GRAPH_NODES,
	           graph->payload_size,
	           strip_packs_well(usable, graph->payload_size), 0);
	strip_init(&graph->vectors, pager, PAGE_GRAPH_VECTORS,
	           graph->vector_size,
	           strip_packs_well(usable, graph->vector_size), 0);
	strip_init(&graph->uppers, pager, PAGE_GRAPH_LINKS,
	           UPPER_LINKS_AT + graph->links_max[1] * LINK_SIZE, true, 0);
	strip_init(&graph->quantisers, pager, PAGE_GRAPH_META,
	           quantiser_record_size(options->dimensions), false, 0);
}

static int open_check(struct pager *pager, struct hnsw_options *options,
                      struct err *err)
{
	const uint8_t *state;
	int rc;

	rc = pager_state_read(pager, &state, err);
	if (!rc)
		rc = graph_state_version_check(pager, state, err);
	if (!rc)
		rc = meta_read(pager, load_le32(state + STATE_META_AT), options,
		               err);
	if (rc)
		return rc;
	if (!links_fit(pager, options))
		return err_set(err, ERR_CORRUPT, "open graph", pager->name,
		               "pages of %u bytes do not hold %u links",
		               pager->usable_size, 2 * options->m);
	return ERR_NONE;
}

int hnsw_open(struct pager *pager, const struct hnsw_kernels *kernels,
              struct hnsw **graph, struct err *err)
{
	struct hnsw_options options = { 0 };
	struct hnsw *opened;
	int rc;

	rc = open_check(pager, &options, err);
	if (rc)
		return rc;
	opened = heap_zeroed(pager->heap, sizeof *opened);
	if (!opened)
		return err_set(err, ERR_NOMEM, "open graph", pager->name,
		               "no memory");
	opened->pager = pager;
	opened->kernels = kernels;
	opened->options = options;
	lay_out(opened);
	rc = score_buffers_open(opened, err);
	if (!rc)
		rc = graph_begin(opened, err);
	if (rc) {
		hnsw_close(opened);
		return rc;
	}
	*graph = opened;
	return ERR_NONE;
}

void hnsw_close(struct hnsw *graph)
{
	struct heap *heap;

	if (!graph)
		return;
	heap = graph->pager->heap;
	strip_close(&graph->nodes);
	strip_close(&graph->payloads);
	strip_close(&graph->vectors);
	strip_close(&graph->uppers);
	strip_close(&graph->quantisers);
	score_buffers_close(graph);
	quantiser_close(graph);
	search_spare_free(graph);
	heap_free(heap, graph->visited.words);
	heap_free(heap, graph->visited.list);
	heap_free(heap, graph->pool.keys);
	heap_free(heap, graph->candidates);
	heap_free(heap, graph->repair_scratch);
	heap_free(heap, graph);
}

void hnsw_breathe(struct hnsw *graph, struct breath *breath)
{
	graph->breath = breath;
}

const struct hnsw_options *hnsw_options_of(const struct hnsw *graph)
{
	return &graph->options;
}

int hnsw_count(struct hnsw *graph, uint64_t *nodes, struct err *err)
{
	int rc;

	rc = graph_begin(graph, err);
	if (!rc)
		*nodes = graph->state.count;
	return rc;
}

/* --- levels -------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* A node reaches level l with probability m^-l. */
uint32_t graph_level_of(const struct hnsw *graph, int64_t rowid)
{
	uint64_t hash = mix((uint64_t)rowid);
	uint64_t bound = UINT64_MAX / graph->options.m;
	uint32_t level = 0;

	while (level < NODE_LEVEL_MAX && hash < bound) {
		bound /= graph->options.m;
		level++;
	}
	return level;
}
