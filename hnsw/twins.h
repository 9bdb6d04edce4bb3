/*
 * twins.h - nodes with the very same vector, or as good as the same.
 */
#ifndef TURDB_HNSW_TWINS_H
#define TURDB_HNSW_TWINS_H

#include "hnsw/graph.h"

/* The two chains of a head; as levels of the nodes in them. */
enum twins_chain { TWINS_EQUAL = NODE_TWIN, TWINS_NEAR = NODE_NEAR };

static inline bool twins_is_level(uint8_t level)
{
	return level == NODE_TWIN || level == NODE_NEAR;
}

/* Of candidates near a node (whose vector is `vector`, its own score `own`) one
 * that it can be a twin of, and in which chain; or NO_NODE. */
int twins_find(struct hnsw *graph, struct span vector, float own,
               const struct candidate *candidates, size_t count,
               uint32_t *head, enum twins_chain *chain, struct err *err);

/* Whether the vector may be in a head's near chain. */
int twins_are_near(struct hnsw *graph, uint32_t head, const uint8_t *vector,
                   bool *near, struct err *err);

/* How many nodes a head's near chain has, as its record says. */
int twins_near_count(struct hnsw *graph, uint32_t head, uint32_t *count,
                     struct err *err);

/* Makes a node without links and levels the first in a chain. */
int twins_join(struct hnsw *graph, uint32_t head, enum twins_chain chain,
               uint32_t node, struct err *err);

/* Takes a node out of its chain; it is an ordinary node without links then. */
int twins_leave(struct hnsw *graph, uint32_t node, struct err *err);

/* The first twin of a head takes its place in the graph: links, levels, chains.
 * The head is an ordinary node without links then. When the twin is only a near
 * one, the near chain may hold nodes that are not near enough to it. */
int twins_promote(struct hnsw *graph, uint32_t head, uint32_t *heir,
                  struct err *err);

/* The node that follows `node` in a chain (`node` the head: the first), or
 * NO_NODE. ERR_CORRUPT when that is not a twin that says so. */
int twins_next(struct hnsw *graph, uint32_t node, enum twins_chain chain,
               uint32_t *next, struct err *err);

#endif
