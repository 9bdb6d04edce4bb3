/*
 * insert.h - the place of a node in the graph.
 */
#ifndef TURDB_HNSW_INSERT_H
#define TURDB_HNSW_INSERT_H

#include "hnsw/graph.h"

/* Finds the place of a node without links, of level 0: in a twin's chain, or linked
 * on its levels. Others are in the graph. */
int insert_place(struct hnsw *graph, uint32_t node, struct span vector,
                 uint32_t level, struct err *err);

#endif
