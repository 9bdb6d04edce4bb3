/*
 * walk.h - finding the nodes of one level that are nearest to a query.
 */
#ifndef TURDB_HNSW_WALK_H
#define TURDB_HNSW_WALK_H

#include "hnsw/graph.h"

/* From the entry node down to, but not on, `level`: at each level to the node
 * that is nearer than all its neighbours. The graph is not empty. */
int walk_descend(struct hnsw *graph, const struct score_query *query,
                 uint32_t level, struct candidate *nearest, struct err *err);

/* Fills graph->pool with the `width` nearest nodes of the level that a walk
 * from `start` meets; graph->visited has all that it looked at. */
int walk_level(struct hnsw *graph, const struct score_query *query,
               uint32_t level, struct candidate start, size_t width,
               struct err *err);

#endif
