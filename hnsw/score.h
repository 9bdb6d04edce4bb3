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

/* Scores of up to LINKS_MAX nodes. */
int score_many(struct hnsw *graph, const struct score_query *query,
               const uint32_t *nodes, size_t count, float *scores,
               struct err *err);

/* The metric's distance to a node's full vector. The query is from a vector. */
int score_exact(struct hnsw *graph, const struct score_query *query,
                uint32_t node, double *distance, struct err *err);

#endif
