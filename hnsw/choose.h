/*
 * choose.h - which links are worth having, and linking two nodes.
 */
#ifndef TURDB_HNSW_CHOOSE_H
#define TURDB_HNSW_CHOOSE_H

#include "hnsw/graph.h"

/* Of `count` candidates in rising distance from a node, takes up to `want` that
 * are each nearer to the node than to any taken before (algorithm 4). */
int choose_diverse(struct hnsw *graph, const struct candidate *candidates,
                   size_t count, uint32_t want, struct candidate *chosen,
                   uint32_t *chosen_count, struct err *err);

/* Links two nodes; either may first shed links that are worth less. A backbone
 * link is always made (the caller knows that both ends can have one more: see
 * choose.c); another only if both sides think it worth its place. */
int choose_link(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
                bool backbone, struct err *err);

#endif
