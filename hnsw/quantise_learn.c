/*
 * quantise_learn.c - quantisers learned from the data, and nodes recoded by them.
 *
 * Each dimension's range is that of a sample, without what lies far from its mean.
 * A new quantiser is used only when the ranges have moved.
 *
 * Performance   Learning reads a bounded sample; no insertion recodes more than
 *               QUANTISE_SECOND_COUNT nodes.
 */
#include "hnsw/quantise.h"

#include <math.h>
#include <string.h>

enum {
	SAMPLE_COUNT_MAX = 4096,
	SAMPLE_COUNT_MIN = 64,
	SAMPLE_BYTES = 8 << 20,
	CODE_STEPS = 255,
	DEVIATIONS = 12,
};

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
	return quantise_code_write(graph, node, graph->state.slot, vector, err);
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
