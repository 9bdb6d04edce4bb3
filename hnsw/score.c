/*
 * score.c - distances from one vector to many nodes.
 *
 * With codes, L2 is |q - m|^2 + |s c|^2 - 2 sum((q - m) s c), m and s being the
 * middles and steps: the middle term is stored with the node, the last is a sum
 * of products of 16-bit weights and bytes, the first the same for all. Inner
 * products go the same way. Between two nodes both sides are codes, so that
 * graphs are built from integers and come out the same on every CPU level.
 */
#include "hnsw/score.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "hnsw/quantise.h"

/* --- buffers --------------------------------------------------------------------------- */

static void query_buffers_close(struct heap *heap, struct score_query *query)
{
	heap_free(heap, query->vector_copy);
	heap_free(heap, query->floats);
	heap_free(heap, query->code_copies);
	heap_free(heap, query->weight_copies);
}

static bool query_buffers_open(struct hnsw *graph, struct score_query *query)
{
	struct heap *heap = graph->pager->heap;
	size_t n = graph->options.dimensions;

	query->vector_copy = heap_allocate(heap, graph->vector_size);
	if (graph->options.quantize == HNSW_NONE)
		return query->vector_copy;
	query->floats = heap_allocate(heap, n * sizeof(float));
	query->code_copies = heap_allocate(heap, n * STRIP_QUANTISERS);
	query->weight_copies = heap_allocate(heap, n * STRIP_QUANTISERS *
	                                           sizeof(int16_t));
	return query->vector_copy && query->floats && query->code_copies &&
	       query->weight_copies;
}

int score_buffers_open(struct hnsw *graph, struct err *err)
{
	uint32_t lines = (graph->payload_size + SCORE_CACHE_LINE - 1) /
	                 SCORE_CACHE_LINE;

	if (graph->payload_stride)
		graph->payload_lines = lines < SCORE_LINES_MAX ?
		                               lines : SCORE_LINES_MAX;
	graph->vector_scratch = heap_allocate(graph->pager->heap,
	                                      graph->vector_size);
	if (!graph->vector_scratch || !query_buffers_open(graph, &graph->query) ||
	    !query_buffers_open(graph, &graph->pair_query))
		return graph_no_memory(graph, err);
	return ERR_NONE;
}

void score_buffers_close(struct hnsw *graph)
{
	query_buffers_close(graph->pager->heap, &graph->query);
	query_buffers_close(graph->pager->heap, &graph->pair_query);
	heap_free(graph->pager->heap, graph->vector_scratch);
}

/* --- preparing ------------------------------------------------------------------------- */

float score_inverse_norm(const struct hnsw *graph, const uint8_t *vector)
{
	const struct hnsw_options *options = &graph->options;
	double norm = kernels_norm(graph->kernels, options->element,
	                           options->dimensions, vector);

	return (float)fmin(1.0 / norm, FLT_MAX);
}

static struct score_codes *codes_of_slot(const struct hnsw *graph,
                                         struct score_query *query,
                                         uint32_t slot)
{
	struct score_codes *codes = &query->codes[slot];
	size_t n = graph->options.dimensions;

	codes->code = query->code_copies + slot * n;
	codes->weights = query->weight_copies + slot * n;
	return codes;
}

/* weights = values scaled to 16 bits; returns what scales back. */
static float weights_fill(const float *values, uint32_t n, int16_t *weights)
{
	float largest = 0, scale;
	uint32_t i;

	for (i = 0; i < n; i++) {
		float size = fabsf(values[i]);

		largest = size > largest ? size : largest;
	}
	scale = largest > 0 ? (float)WEIGHT_MAX / largest : 0;
	if (!isfinite(scale) || !(scale > 0)) {
		memset(weights, 0, n * sizeof *weights);
		return 0;
	}
	for (i = 0; i < n; i++)
		weights[i] = (int16_t)lrintf(values[i] * scale);
	return 1 / scale;
}

/* Distances from `floats` to codes of one slot. Overwrites `values`. */
static void codes_from_floats(const struct hnsw *graph,
                              const struct quantiser *quantiser,
                              const float *floats, float *values,
                              struct score_codes *codes, uint8_t *code)
{
	uint32_t n = graph->options.dimensions, i;
	bool product = graph->options.metric == HNSW_IP;
	double base = 0;
	float back;

	if (graph->options.metric == HNSW_L1) {
		quantise_encode(graph, quantiser, floats, code);
		codes->factor = quantiser->steps[0];
		return;
	}
	for (i = 0; i < n; i++) {
		double m = (double)quantiser->middles[i];
		double x = (double)floats[i];

		base += product ? x * m : (x - m) * (x - m);
		values[i] = (float)((product ? x : x - m) *
		                    (double)quantiser->steps[i]);
	}
	back = weights_fill(values, n, codes->weights);
	codes->base = (float)(product ? 1 - base : base);
	codes->factor = product ? -back : -2 * back;
	codes->bias_factor = product ? 0 : 1;
}

/* Distances from a node to codes of its own slot. */
static void codes_from_code(const struct hnsw *graph,
                            const struct quantiser *quantiser,
                            const uint8_t *code, float bias,
                            struct score_codes *codes)
{
	uint32_t n = graph->options.dimensions, i;
	double square = 0;

	codes->code = code;
	if (graph->options.metric == HNSW_L1) {
		codes->factor = quantiser->steps[0];
		return;
	}
	graph->kernels->code_weigh(code, quantiser->pair_steps, n,
	                           codes->weights);
	if (graph->options.metric == HNSW_IP) {
		for (i = 0; i < n; i++)
			square += (double)quantiser->middles[i] *
			          (double)quantiser->middles[i];
		codes->base = (float)(1 - square - (double)bias);
		codes->factor = -quantiser->pair_factor;
		codes->bias_factor = -1;
		return;
	}
	codes->base = bias;
	codes->factor = -2 * quantiser->pair_factor;
	codes->bias_factor = 1;
}

/* Slots that nodes have: the one in use, while recoding both. */
static bool slot_is_used(const struct hnsw *graph, uint32_t slot)
{
	return slot == graph->state.slot || quantise_is_recoding(graph);
}

int score_from_vector(struct hnsw *graph, struct score_query *query,
                      const uint8_t *vector, struct err *err)
{
	const struct quantiser *quantiser;
	uint32_t slot;
	int rc;

	query->vector = vector;
	if (graph->options.metric == HNSW_COSINE)
		query->inverse_norm = score_inverse_norm(graph, vector);
	if (!graph->state.trained)
		return ERR_NONE;
	for (slot = 0; slot < STRIP_QUANTISERS; slot++) {
		struct score_codes *codes = codes_of_slot(graph, query, slot);

		if (!slot_is_used(graph, slot))
			continue;
		rc = quantiser_load(graph, slot, &quantiser, err);
		if (rc)
			return rc;
		quantise_floats(graph, vector, query->floats);
		codes_from_floats(graph, quantiser, query->floats,
		                  query->floats, codes,
		                  query->code_copies +
		                          slot * graph->options.dimensions);
	}
	return ERR_NONE;
}

/* The node's code seen by the other quantiser. */
static int codes_across(struct hnsw *graph, struct score_query *query,
                        const struct quantiser *own, const uint8_t *code,
                        uint32_t other_slot, struct err *err)
{
	struct score_codes *codes = codes_of_slot(graph, query, other_slot);
	const struct quantiser *other;
	int rc;

	rc = quantiser_load(graph, other_slot, &other, err);
	if (rc)
		return rc;
	quantise_decode(graph, own, code, query->floats);
	codes_from_floats(graph, other, query->floats, query->floats, codes,
	                  query->code_copies +
	                          other_slot * graph->options.dimensions);
	return ERR_NONE;
}

static int codes_from_node(struct hnsw *graph, struct score_query *query,
                           uint32_t node, struct err *err)
{
	uint32_t slot = quantise_slot_of(graph, node);
	struct score_codes *codes = codes_of_slot(graph, query, slot);
	uint8_t *scratch = query->code_copies +
	                   slot * graph->options.dimensions;
	const struct quantiser *quantiser;
	const uint8_t *code;
	float bias;
	int rc;

	rc = quantiser_load(graph, slot, &quantiser, err);
	if (!rc)
		rc = graph_payload_read(graph, node, scratch, &code, &bias,
		                        err);
	if (rc)
		return rc;
	codes_from_code(graph, quantiser, code, bias, codes);
	if (quantise_is_recoding(graph))
		rc = codes_across(graph, query, quantiser, code, !slot, err);
	return rc;
}

int score_from_node(struct hnsw *graph, struct score_query *query, uint32_t node,
                    struct err *err)
{
	const uint8_t *page;
	uint32_t slot;
	int rc;

	if (graph->state.trained)
		return codes_from_node(graph, query, node, err);
	rc = graph_place(graph, node, &page, &slot, err);
	if (rc)
		return rc;
	query->inverse_norm = graph_bias_at(graph, page, slot);
	return graph_vector(graph, node, query->vector_copy, &query->vector,
	                    err);
}

/* --- scoring --------------------------------------------------------------------------- */

/* Sums over full vectors, before the metric makes distances of them. */
static void vector_sums(const struct hnsw *graph,
                        const struct score_query *query,
                        const uint8_t *const *vectors, size_t count,
                        float *sums)
{
	const struct hnsw_options *options = &graph->options;
	const struct hnsw_kernels *kernels = graph->kernels;
	uint32_t n = options->dimensions;
	kernel_sum *sum;
	size_t i;

	if (options->element == HNSW_BIT) {
		for (i = 0; i < count; i++)
			sums[i] = (float)kernels->hamming(
				query->vector, vectors[i], graph->vector_size);
		return;
	}
	if (options->element == HNSW_F32 && options->metric != HNSW_L1) {
		(options->metric == HNSW_L2 ?
		         kernels->l2_f32_many :
		         kernels->ip_f32_many)(query->vector, vectors, count, n,
		                               sums);
		return;
	}
	sum = options->metric == HNSW_L2 ? kernels->l2[options->element] :
	      options->metric == HNSW_L1 ? kernels->l1[options->element] :
	                                   kernels->ip[options->element];
	for (i = 0; i < count; i++)
		sums[i] = sum(query->vector, vectors[i], n);
}

static void vector_scores(const struct hnsw *graph,
                          const struct score_query *query,
                          const uint8_t *const *vectors, const float *biases,
                          size_t count, float *scores)
{
	size_t i;

	vector_sums(graph, query, vectors, count, scores);
	if (graph->options.metric == HNSW_COSINE) {
		for (i = 0; i < count; i++)
			scores[i] = 1 - scores[i] * query->inverse_norm *
			                        biases[i];
	} else if (graph->options.metric == HNSW_IP) {
		for (i = 0; i < count; i++)
			scores[i] = 1 - scores[i];
	}
}

static void code_scores(const struct hnsw *graph,
                        const struct score_codes *codes,
                        const uint8_t *const *payloads, const float *biases,
                        size_t count, float *scores)
{
	uint32_t n = graph->options.dimensions;
	size_t i;

	if (graph->options.metric == HNSW_L1) {
		graph->kernels->code_gaps(codes->code, payloads, count, n,
		                          scores);
		for (i = 0; i < count; i++)
			scores[i] *= codes->factor;
		return;
	}
	graph->kernels->code_dots(codes->weights, payloads, count, n, scores);
	for (i = 0; i < count; i++)
		scores[i] = codes->base + codes->bias_factor * biases[i] +
		            codes->factor * scores[i];
}

static void scores_fill(const struct hnsw *graph,
                        const struct score_query *query,
                        const uint32_t *nodes, const uint8_t *const *payloads,
                        const float *biases, size_t count, float *scores)
{
	size_t i;

	if (!graph->state.trained) {
		vector_scores(graph, query, payloads, biases, count, scores);
	} else if (!quantise_is_recoding(graph)) {
		code_scores(graph, &query->codes[graph->state.slot], payloads,
		            biases, count, scores);
	} else {
		for (i = 0; i < count; i++)
			code_scores(graph,
			            &query->codes[quantise_slot_of(graph,
			                                           nodes[i])],
			            payloads + i, biases + i, 1, scores + i);
	}
}

/* Payloads that are not in the pages of nodes, or vectors before the first
 * training. */
static int batch_run_apart(struct hnsw *graph, const struct score_query *query,
                           struct score_batch *batch, struct err *err)
{
	bool uncoded = graph->options.quantize == HNSW_SQ8 &&
	               !graph->state.trained;
	struct strip *strip = uncoded ? &graph->vectors : &graph->payloads;
	uint32_t i;

	for (i = 0; i < batch->count; i++) {
		const uint8_t *payload;
		float bias;
		int rc;

		rc = strip_load(strip, batch->nodes[i], graph->vector_scratch,
		                &payload, err);
		if (rc)
			return rc;
		memcpy(&bias, batch->biases[i], sizeof bias);
		scores_fill(graph, query, &batch->nodes[i], &payload, &bias, 1,
		            &batch->scores[i]);
	}
	return ERR_NONE;
}

int score_batch_run(struct hnsw *graph, const struct score_query *query,
                    struct score_batch *batch, struct err *err)
{
	float biases[SCORE_BATCH_MAX];
	uint32_t i;

	if (!graph->payload_stride ||
	    (graph->options.quantize == HNSW_SQ8 && !graph->state.trained))
		return batch_run_apart(graph, query, batch, err);
	for (i = 0; i < batch->count; i++)
		memcpy(&biases[i], batch->biases[i], sizeof biases[i]);
	scores_fill(graph, query, batch->nodes, batch->payloads, biases,
	            batch->count, batch->scores);
	return ERR_NONE;
}

int score_many(struct hnsw *graph, const struct score_query *query,
               const uint32_t *nodes, size_t count, float *scores,
               struct err *err)
{
	struct score_batch batch;
	int rc;

	for (batch.count = 0; batch.count < count; batch.count++) {
		rc = score_batch_put(graph, &batch, nodes[batch.count], err);
		if (rc)
			return rc;
	}
	rc = score_batch_run(graph, query, &batch, err);
	if (!rc)
		memcpy(scores, batch.scores, count * sizeof *scores);
	return rc;
}

int score_exact(struct hnsw *graph, const struct score_query *query,
                uint32_t node, double *distance, struct err *err)
{
	const struct hnsw_options *options = &graph->options;
	const uint8_t *vector;
	int rc;

	rc = graph_vector(graph, node, graph->vector_scratch, &vector, err);
	if (!rc)
		*distance = hnsw_distance(graph->kernels, options->metric,
		                          options->element, options->dimensions,
		                          query->vector, vector);
	return rc;
}
