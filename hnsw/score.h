/*
 * score.h - how far nodes are from one vector.
 *
 * A score orders nodes by the metric: it is the distance or a growing function
 * of it (L2: its square), from codes where the graph has codes. The exact
 * distance is always from the full vectors.
 *
 * A query borrows the vector it was made from.
 */
#ifndef TURDB_HNSW_SCORE_H
#define TURDB_HNSW_SCORE_H

#include "hnsw/graph.h"

int score_buffers_open(struct hnsw *graph, struct err *err);
void score_buffers_close(struct hnsw *graph);

/* 1 / the length of a vector as stored. */
float score_inverse_norm(const struct hnsw *graph, const uint8_t *vector);

/* Prepares distances from a vector, or from a node as the graph has it. */
int score_from_vector(struct hnsw *graph, struct score_query *query,
                      const uint8_t *vector, struct err *err);
int score_from_node(struct hnsw *graph, struct score_query *query, uint32_t node,
                    struct err *err);

/*
 * Nodes to be scored together. Adding one has its payload fetched towards the
 * cache, so that the wait for all of them is one.
 */
enum { SCORE_CACHE_LINE = 64, SCORE_LINES_MAX = 16,
       SCORE_BATCH_MAX = 2 * LINKS_MAX };

struct score_batch {
	uint32_t count;
	uint32_t nodes[SCORE_BATCH_MAX];
	const uint8_t *payloads[SCORE_BATCH_MAX]; /* where they lie in node pages */
	const uint8_t *biases[SCORE_BATCH_MAX];
	float scores[SCORE_BATCH_MAX];
};

/* Puts a node at the end, without counting it: the caller does. */
static inline int score_batch_put(struct hnsw *graph, struct score_batch *batch,
                                  uint32_t node, struct err *err)
{
	const uint8_t *page, *payload;
	uint32_t slot, i;
	int rc;

	rc = graph_place(graph, node, &page, &slot, err);
	if (rc)
		return rc;
	payload = graph_payload_at(graph, page, slot);
	batch->nodes[batch->count] = node;
	batch->payloads[batch->count] = payload;
	batch->biases[batch->count] = page + graph->biases_at +
	                              (size_t)slot * NODE_BIAS_SIZE;
	for (i = 0; i < graph->payload_lines; i++)
		__builtin_prefetch(payload + (size_t)i * SCORE_CACHE_LINE);
	__builtin_prefetch(batch->biases[batch->count]);
	return ERR_NONE;
}

/* Fills batch->scores. */
int score_batch_run(struct hnsw *graph, const struct score_query *query,
                    struct score_batch *batch, struct err *err);

/* Scores of up to LINKS_MAX nodes. */
int score_many(struct hnsw *graph, const struct score_query *query,
               const uint32_t *nodes, size_t count, float *scores,
               struct err *err);

/* The metric's distance to a node's full vector. The query is from a vector. */
int score_exact(struct hnsw *graph, const struct score_query *query,
                uint32_t node, double *distance, struct err *err);

#endif
