/*
 * quantise.h - codes of one byte a dimension, learned from the data.
 *
 * Until QUANTISE_FIRST_COUNT nodes are there, distances come from full vectors.
 * Then each dimension's range is learned from a sample and every node is coded;
 * learned again when the graph has grown to QUANTISE_SECOND_COUNT nodes, and
 * whenever it has grown fourfold since, if the ranges have moved; earlier when
 * many vectors lie beyond them. A small graph is recoded at once; a large one some
 * nodes with every insertion, both quantisers being in use meanwhile.
 */
#ifndef TURDB_HNSW_QUANTISE_H
#define TURDB_HNSW_QUANTISE_H

#include "hnsw/graph.h"

enum {
	QUANTISE_FIRST_COUNT = 256,
	QUANTISE_SECOND_COUNT = 4096,
	QUANTISE_GROWTH = 4,
	QUANTISE_RECODE_STEP = 16, /* nodes recoded with an insertion */

	CODE_MIN = -128,
	CODE_MAX = 127,
	WEIGHT_MAX = 32767,
};

static inline uint32_t quantiser_record_size(uint32_t dimensions)
{
	return QUANTISER_MIDDLES_AT + dimensions * 3 * (uint32_t)sizeof(float);
}

/* The quantiser slot whose codes a node has (hnsw/quantise Q1). */
static inline uint32_t quantise_slot_of(const struct hnsw *graph, uint32_t node)
{
	const struct graph_state *state = &graph->state;
	bool waiting = node - state->recode_cursor <
	               state->recode_limit - state->recode_cursor;

	return waiting ? !state->slot : state->slot;
}

static inline bool quantise_is_recoding(const struct hnsw *graph)
{
	return graph->state.recode_cursor < graph->state.recode_limit;
}

/* Borrowed until the graph's pages change. */
int quantiser_load(struct hnsw *graph, uint32_t slot,
                   const struct quantiser **quantiser, struct err *err);
void quantiser_close(struct hnsw *graph);

/* The vector as numbers; under cosine of length 1. */
void quantise_floats(const struct hnsw *graph, const uint8_t *vector,
                     float *floats);

void quantise_encode(const struct hnsw *graph,
                     const struct quantiser *quantiser, const float *floats,
                     uint8_t *code);
void quantise_decode(const struct hnsw *graph,
                     const struct quantiser *quantiser, const uint8_t *code,
                     float *floats);

/* The code and bias that a node with this vector has. */
int quantise_code(struct hnsw *graph, uint32_t node, const uint8_t *vector,
                  uint8_t *code, float *bias, struct err *err);

/* Writes what distances are computed from: the vector or its code, and the
 * bias. */
int quantise_payload_write(struct hnsw *graph, uint32_t node,
                           const uint8_t *vector, struct err *err);

/* The code of a slot's quantiser, with its bias. */
int quantise_code_write(struct hnsw *graph, uint32_t node, uint32_t slot,
                        const uint8_t *vector, struct err *err);

/* quantise_learn.c. After an insertion: learns and recodes what is due. */
int quantise_advance(struct hnsw *graph, struct err *err);

#endif
