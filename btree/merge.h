/*
 * merge.h - neighbours that share their entries anew. Private to btree/.
 */
#ifndef TURDB_BTREE_MERGE_H
#define TURDB_BTREE_MERGE_H

#include "btree/tree.h"

/* After an entry left (or shrank in) the leaf of `path`: merges nodes that are
 * nearly empty with a neighbour or takes entries from it, level by level, and
 * shortens the tree when its root has one child. What cannot be done is left:
 * the tree is valid all the time. */
void tree_even_out(struct btree *tree, struct probe *probe,
                   const struct path *path);

#endif
