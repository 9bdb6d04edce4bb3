/*
 * quantise.c - learning ranges, coding vectors, recoding.
 *
 * Purpose       Bytes that stand for vectors closely enough to walk the graph
 *               and to choose links; results are rescored with the vectors.
 * Structures    Two quantiser records, one in use; while a large graph is being
 *               recoded, nodes in [recode_cursor, recode_limit) are still coded
 *               by the other (Q1: a node's slot follows from its id alone).
 * Performance   Learning reads a bounded sample; no insertion recodes more than
 *               QUANTISE_SECOND_COUNT nodes.
 * Safety        Quantisers from disk are checked whole before use.
 */
#include "hnsw/quantise.h"

#include <math.h>
#include <string.h>

#include "hnsw/score.h"

enum {
	SAMPLE_COUNT_MAX = 4096,
	SAMPLE_COUNT_MIN = 64,
	SAMPLE_BYTES = 8 << 20,
	CODE_MIN = -128,
	CODE_MAX = 127,
	CODE_STEPS = 255,
	WEIGHT_MAX = 32767,
	DEVIATIONS = 12,
	CLAMPED_FRACTION = 128,
	CLAMPED_STEPS = 16,
};

/* --- quantisers from disk --------------------------------------------------------------- */

static bool steps_are_sound(const struct hnsw *graph,
                            const struct quantiser *quantiser)
{
	const float bound = (float)(WEIGHT_MAX + 1) / (float)-CODE_MIN;
	uint32_t i;

	if (!(quantiser->pair_factor >= 0) || !isfinite(quantiser->pair_factor))
		return false;
	for (i = 0; i < graph->options.dimensions; i++) {
		if (!isfinite(quantiser->middles[i]) ||
		    !(quantiser->steps[i] > 0) ||
		    !isfinite(quantiser->steps[i]) ||
		    !(quantiser->pair_steps[i] >= 0 &&
		      quantiser->pair_steps[i] < bound))
			return false;
	}
	return true;
}

static bool is_float_aligned(const uint8_t *bytes)
{
	return (uintptr_t)bytes % _Alignof(float) == 0;
}

static int record_read(struct hnsw *graph, uint32_t slot,
                       struct quantiser *quantiser, const uint8_t **record,
                       struct err *err)
{
	struct heap *heap = graph->pager->heap;
	uint32_t size = graph->quantisers.record_size;
	int rc;

	if (!quantiser->copy)
		quantiser->copy = heap_allocate(heap, size);
	if (!quantiser->copy)
		return graph_no_memory(graph, err);
	rc = strip_load(&graph->quantisers, slot, quantiser->copy, record, err);
	if (!rc && !is_float_aligned(*record)) {
		memcpy(quantiser->copy, *record, size);
		*record = quantiser->copy;
	}
	return rc;
}

int quantiser_load(struct hnsw *graph, uint32_t slot,
                   const struct quantiser **quantiser, struct err *err)
{
	struct quantiser *q = &graph->quantiser[slot];
	uint32_t n = graph->options.dimensions;
	const uint8_t *record;
	int rc;

	*quantiser = q;
	if (q->loaded)
		return ERR_NONE;
	rc = record_read(graph, slot, q, &record, err);
	if (rc)
		return rc;
	memcpy(&q->pair_factor, record + QUANTISER_PAIR_FACTOR_AT,
	       sizeof q->pair_factor);
	q->middles = (const float *)(const void *)(record +
	                                           QUANTISER_MIDDLES_AT);
	q->steps = q->middles + n;
	q->pair_steps = q->steps + n;
	if (!steps_are_sound(graph, q))
		return graph_corrupt(graph, err, "quantiser %u is unsound",
		                     slot);
	q->loaded = true;
	return ERR_NONE;
}

void quantiser_close(struct hnsw *graph)
{
	heap_free(graph->pager->heap, graph->quantiser[0].copy);
	heap_free(graph->pager->heap, graph->quantiser[1].copy);
}

/* --- coding ---------------------------------------------------------------------------- */

static double norm_of(const float *floats, uint32_t n)
{
	double sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		sum += (double)floats[i] * (double)floats[i];
	return sqrt(sum);
}

void quantise_floats(const struct hnsw *graph, const uint8_t *vector,
                     float *floats)
{
	uint32_t n = graph->options.dimensions, i;
	double norm;

	if (graph->options.element == HNSW_F32) {
		memcpy(floats, vector, (size_t)n * sizeof *floats);
	} else {
		for (i = 0; i < n; i++)
			floats[i] = vector_element(graph->options.element,
			                           vector, i);
	}
	if (graph->options.metric != HNSW_COSINE)
		return;
	norm = norm_of(floats, n);
	for (i = 0; i < n; i++)
		floats[i] = (float)((double)floats[i] / norm);
}

void quantise_encode(const struct hnsw *graph,
                     const struct quantiser *quantiser, const float *floats,
                     uint8_t *code)
{
	uint32_t n = graph->options.dimensions, i;

	for (i = 0; i < n; i++) {
		float c = (floats[i] - quantiser->middles[i]) /
		          quantiser->steps[i];

		c = c > (float)CODE_MIN ? c : (float)CODE_MIN;
		c = c < (float)CODE_MAX ? c : (float)CODE_MAX;
		code[i] = (uint8_t)(int8_t)lrintf(c);
	}
}

void quantise_decode(const struct hnsw *graph,
                     const struct quantiser *quantiser, const uint8_t *code,
                     float *floats)
{
	uint32_t n = graph->options.dimensions, i;

	for (i = 0; i < n; i++)
		floats[i] = quantiser->middles[i] +
		            quantiser->steps[i] * (float)(int8_t)code[i];
}

/* The part of a distance that depends on the code alone. */
static float bias_of_code(struct hnsw *graph, const struct quantiser *quantiser,
                          const uint8_t *code)
{
	uint32_t n = graph->options.dimensions, i;
	int16_t *weights = graph->pair_query.weight_copies;
	double sum = 0;
	float dot;

	switch (graph->options.metric) {
	case HNSW_L2:
	case HNSW_COSINE:
		graph->kernels->code_weigh(code, quantiser->pair_steps, n,
		                           weights);
		graph->kernels->code_dots(weights, &code, 1, n, &dot);
		return quantiser->pair_factor * dot;
	case HNSW_IP:
		for (i = 0; i < n; i++)
			sum += (double)quantiser->middles[i] *
			       (double)quantiser->steps[i] *
			       (double)(int8_t)code[i];
		return (float)sum;
	case HNSW_L1:
	case HNSW_HAMMING:
		break;
	}
	return 0;
}

/* --- payloads -------------------------------------------------------------------------- */

static int code_make(struct hnsw *graph, uint32_t slot, const uint8_t *vector,
                     uint8_t *code, float *bias, struct err *err)
{
	float *floats = graph->pair_query.floats;
	const struct quantiser *quantiser;
	int rc;

	rc = quantiser_load(graph, slot, &quantiser, err);
	if (rc)
		return rc;
	quantise_floats(graph, vector, floats);
	quantise_encode(graph, quantiser, floats, code);
	*bias = bias_of_code(graph, quantiser, code);
	return ERR_NONE;
}

int quantise_code(struct hnsw *graph, uint32_t node, const uint8_t *vector,
                  uint8_t *code, float *bias, struct err *err)
{
	return code_make(graph, quantise_slot_of(graph, node), vector, code,
	                 bias, err);
}

static int code_write(struct hnsw *graph, uint32_t node, uint32_t slot,
                      const uint8_t *vector, struct err *err)
{
	uint8_t *code = graph->pair_query.code_copies;
	float bias = 0;
	int rc;

	rc = code_make(graph, slot, vector, code, &bias, err);
	if (rc)
		return rc;
	return graph_payload_write(graph, node, code, bias, err);
}

/* Vectors beyond the ranges bring the next training nearer: a few change little,
 * some fifty say that the data has changed. (4,000 texts of hashed words, the second
 * half shorter: 45 of 1,000 of those did not find themselves at ef 10, now 10.) */
static void clamped_note(struct hnsw *graph, const uint8_t *code)
{
	struct graph_state *state = &graph->state;
	uint32_t n = graph->options.dimensions, clamped = 0, i;

	for (i = 0; i < n; i++)
		clamped += (int8_t)code[i] == CODE_MIN ||
		           (int8_t)code[i] == CODE_MAX;
	if (clamped > 1 + n / CLAMPED_FRACTION && state->train_at > state->count)
		state->train_at -= (state->train_at - state->count +
		                    CLAMPED_STEPS - 1) / CLAMPED_STEPS;
}

int quantise_payload_write(struct hnsw *graph, uint32_t node,
                           const uint8_t *vector, struct err *err)
{
	const struct hnsw_options *options = &graph->options;
	bool coded = options->quantize == HNSW_SQ8;
	float bias = 0;
	int rc;

	if (graph->state.trained) {
		rc = code_write(graph, node, quantise_slot_of(graph, node),
		                vector, err);
		if (!rc)
			clamped_note(graph, graph->pair_query.code_copies);
		return rc;
	}
	if (options->metric == HNSW_COSINE)
		bias = score_inverse_norm(graph, vector);
	return graph_payload_write(graph, node, coded ? NULL : vector, bias,
	                           err);
}

/* --- learning -------------------------------------------------------------------------- */

/* What a sample says of one dimension. */
struct range {
	float low, high;
	double sum, squares;
};

static uint32_t sample_count(const struct hnsw *graph)
{
	uint32_t count = SAMPLE_BYTES / graph->vector_size;

	if (count > SAMPLE_COUNT_MAX)
		return SAMPLE_COUNT_MAX;
	return count < SAMPLE_COUNT_MIN ? SAMPLE_COUNT_MIN : count;
}

static void range_add(struct range *range, float value, bool first)
{
	if (first || value < range->low)
		range->low = value;
	if (first || value > range->high)
		range->high = value;
	range->sum += (double)value;
	range->squares += (double)value * (double)value;
}

/* Nodes evenly over all ids. */
static int ranges_sample(struct hnsw *graph, struct range *ranges,
                         uint32_t *sampled, struct err *err)
{
	float *floats = graph->pair_query.floats;
	uint32_t step = graph->state.high_water / sample_count(graph) + 1;
	uint32_t node, i;
	int rc;

	*sampled = 0;
	for (node = 0; node < graph->state.high_water; node += step) {
		const uint8_t *block, *vector;

		rc = graph_block(graph, node, &block, err);
		if (!rc && block[NODE_LEVEL_AT] == NODE_FREE)
			continue;
		if (!rc)
			rc = graph_vector(graph, node, graph->vector_scratch,
			                  &vector, err);
		if (rc)
			return rc;
		quantise_floats(graph, vector, floats);
		for (i = 0; i < graph->options.dimensions; i++)
			range_add(&ranges[i], floats[i], *sampled == 0);
		++*sampled;
	}
	return ERR_NONE;
}

/* The mean and DEVIATIONS to either side, but not far beyond what was seen: outliers
 * clamp, values somewhat outside the sample do not. Where most numbers are zero the
 * few that are not are what tells vectors apart, and lie many deviations out: with
 * four, 25 of 1,000 texts of hashed words did not find themselves at ef 10, with
 * twelve 1. Dense numbers stay within four. */
static void range_trim(const struct range *range, uint32_t sampled, double *low,
                       double *high)
{
	double mean = range->sum / sampled;
	double variance = range->squares / sampled - mean * mean;
	double reach = DEVIATIONS * sqrt(variance > 0 ? variance : 0);
	double slack = ((double)range->high - (double)range->low) * 0.1;

	*low = fmax(mean - reach, (double)range->low - slack);
	*high = fmin(mean + reach, (double)range->high + slack);
	if (!(*high > *low)) {
		double around = fmax(fabs(mean) * 1e-3, 1e-6);

		*low = mean - around;
		*high = mean + around;
	}
}

static void steps_equalise(float *steps, uint32_t n)
{
	float widest = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		widest = steps[i] > widest ? steps[i] : widest;
	for (i = 0; i < n; i++)
		steps[i] = widest;
}

/* False when the numbers are too large or too small for codes. */
static bool pair_steps_fill(const float *steps, uint32_t n, float *pair_factor,
                            float *pair_steps)
{
	double largest = 0, factor;
	uint32_t i;

	for (i = 0; i < n; i++)
		largest = fmax(largest, (double)steps[i] * (double)steps[i]);
	factor = largest * -CODE_MIN / WEIGHT_MAX;
	if (!(factor > 1e-24 && factor < 1e24))
		return false;
	*pair_factor = (float)factor;
	for (i = 0; i < n; i++)
		pair_steps[i] = (float)((double)steps[i] * (double)steps[i] /
		                        factor);
	return true;
}

static bool record_fill(const struct hnsw *graph, const struct range *ranges,
                        uint32_t sampled, uint8_t *record)
{
	float *middles = (float *)(void *)(record + QUANTISER_MIDDLES_AT);
	uint32_t n = graph->options.dimensions, i;
	float *steps = middles + n, *pair_steps = steps + n;
	float pair_factor = 0;

	memset(record, 0, graph->quantisers.record_size);
	for (i = 0; i < n; i++) {
		double low, high;

		range_trim(&ranges[i], sampled, &low, &high);
		steps[i] = (float)((high - low) / CODE_STEPS);
		middles[i] = (float)(low - CODE_MIN * (high - low) / CODE_STEPS);
	}
	if (graph->options.metric == HNSW_L1)
		steps_equalise(steps, n);
	if (!pair_steps_fill(steps, n, &pair_factor, pair_steps))
		return false;
	if (graph->options.metric == HNSW_L1) {
		pair_factor = 0;
		memset(pair_steps, 0, n * sizeof *pair_steps);
	}
	memcpy(record + QUANTISER_PAIR_FACTOR_AT, &pair_factor,
	       sizeof pair_factor);
	return true;
}

/* Whether codes by the old quantiser would clamp or waste much of what the new
 * one covers, in some dimension. */
static bool has_moved(const struct hnsw *graph, const struct quantiser *old,
                      const uint8_t *record)
{
	const float *middles =
		(const float *)(const void *)(record + QUANTISER_MIDDLES_AT);
	uint32_t n = graph->options.dimensions, i;
	const float *steps = middles + n;

	for (i = 0; i < n; i++) {
		float shift = fabsf(middles[i] - old->middles[i]);
		float slack = 12 * old->steps[i];

		if (shift + 128 * steps[i] > 128 * old->steps[i] + slack ||
		    steps[i] < 0.6f * old->steps[i])
			return true;
	}
	return false;
}

/* Makes the record the quantiser in use; nodes are still to be recoded. */
static int record_install(struct hnsw *graph, const uint8_t *record,
                          struct err *err)
{
	struct graph_state *state = &graph->state;
	uint32_t slot = state->trained ? !state->slot : 0;
	int rc;

	rc = strip_extend(&graph->quantisers, STRIP_QUANTISERS, err);
	if (!rc)
		rc = strip_store(&graph->quantisers, slot, record, err);
	if (rc)
		return rc;
	graph->quantiser[0].loaded = false;
	graph->quantiser[1].loaded = false;
	state->slot = slot;
	state->trained = true;
	state->recode_cursor = 0;
	state->recode_limit = state->high_water;
	return ERR_NONE;
}

/* Learns a record from a sample; *moved says whether it is worth installing. */
static int learn(struct hnsw *graph, struct range *ranges, uint8_t *record,
                 bool *moved, struct err *err)
{
	const struct quantiser *old;
	uint32_t sampled;
	int rc;

	rc = ranges_sample(graph, ranges, &sampled, err);
	if (rc)
		return rc;
	*moved = sampled > 0 && record_fill(graph, ranges, sampled, record);
	if (!*moved || !graph->state.trained)
		return ERR_NONE;
	rc = quantiser_load(graph, graph->state.slot, &old, err);
	if (!rc)
		*moved = has_moved(graph, old, record);
	return rc;
}

static int train(struct hnsw *graph, struct err *err)
{
	struct heap *heap = graph->pager->heap;
	size_t n = graph->options.dimensions;
	struct range *ranges = heap_zeroed(heap, n * sizeof *ranges);
	uint8_t *record = heap_allocate(heap, graph->quantisers.record_size);
	bool moved = false;
	int rc;

	rc = ranges && record ? learn(graph, ranges, record, &moved, err) :
	                        graph_no_memory(graph, err);
	if (!rc && moved)
		rc = record_install(graph, record, err);
	heap_free(heap, ranges);
	heap_free(heap, record);
	return rc;
}

/* --- recoding -------------------------------------------------------------------------- */

static int recode_one(struct hnsw *graph, uint32_t node, struct err *err)
{
	const uint8_t *block, *vector;
	int rc;

	rc = graph_block(graph, node, &block, err);
	if (rc || block[NODE_LEVEL_AT] == NODE_FREE)
		return rc;
	rc = graph_vector(graph, node, graph->vector_scratch, &vector, err);
	if (rc)
		return rc;
	return code_write(graph, node, graph->state.slot, vector, err);
}

static int recode(struct hnsw *graph, uint32_t nodes, struct err *err)
{
	struct graph_state *state = &graph->state;
	int rc = ERR_NONE;

	while (!rc && nodes > 0 && quantise_is_recoding(graph)) {
		rc = recode_one(graph, state->recode_cursor, err);
		state->recode_cursor++;
		nodes--;
	}
	if (!rc && !quantise_is_recoding(graph))
		state->recode_cursor = state->recode_limit = 0;
	return rc;
}

static uint32_t next_training(uint32_t count)
{
	if (count < QUANTISE_SECOND_COUNT)
		return QUANTISE_SECOND_COUNT;
	return count > NODE_ID_MAX / QUANTISE_GROWTH ? NODE_ID_MAX :
	                                               count * QUANTISE_GROWTH;
}

int quantise_advance(struct hnsw *graph, struct err *err)
{
	struct graph_state *state = &graph->state;
	bool was_trained = state->trained;
	int rc;

	if (graph->options.quantize != HNSW_SQ8)
		return ERR_NONE;
	if (quantise_is_recoding(graph))
		return recode(graph, QUANTISE_RECODE_STEP, err);
	if (state->count < state->train_at)
		return ERR_NONE;
	state->train_at = next_training(state->count);
	rc = train(graph, err);
	if (!rc && (!was_trained || state->count <= QUANTISE_SECOND_COUNT))
		rc = recode(graph, UINT32_MAX, err);
	return rc;
}
