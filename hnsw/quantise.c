/*
 * quantise.c - vectors coded by a quantiser.
 *
 * Purpose       Bytes that stand for vectors closely enough to walk the graph
 *               and to choose links; results are rescored with the vectors.
 * Structures    Two quantiser records, one in use; while a large graph is being
 *               recoded, nodes in [recode_cursor, recode_limit) are still coded
 *               by the other.
 * Safety        Quantisers from disk are checked whole before use. (Q1) Which of
 *               the two has coded a node follows from its id alone.
 */
#include "hnsw/quantise.h"

#include <math.h>
#include <string.h>

#include "hnsw/score.h"

enum { CLAMPED_FRACTION = 128, CLAMPED_STEPS = 16 };

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

int quantise_code_write(struct hnsw *graph, uint32_t node, uint32_t slot,
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
		rc = quantise_code_write(graph, node,
		                         quantise_slot_of(graph, node), vector,
		                         err);
		if (!rc)
			clamped_note(graph, graph->pair_query.code_copies);
		return rc;
	}
	if (options->metric == HNSW_COSINE)
		bias = score_inverse_norm(graph, vector);
	return graph_payload_write(graph, node, coded ? NULL : vector, bias,
	                           err);
}
