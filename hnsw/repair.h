/*
 * repair.h - what is done when a node leaves a level.
 */
#ifndef TURDB_HNSW_REPAIR_H
#define TURDB_HNSW_REPAIR_H

#include "hnsw/graph.h"

/* Links those who were linked to a node that has left the level, `list` being its
 * links as they were: the backbone is one tree again, and degrees are near the
 * target. */
int repair_links(struct hnsw *graph, uint32_t level,
                 const struct link_list *list, struct err *err);

#endif
