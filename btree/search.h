/*
 * search.h - finds a key's place in one page. Private to btree/.
 */
#ifndef TURDB_BTREE_SEARCH_H
#define TURDB_BTREE_SEARCH_H

#include "btree/tree.h"

/* The first slot whose entry is not smaller than the key; *found whether it is
 * the key. False when a cell leaves the page. */
bool leaf_search(const struct node *node, const struct probe *probe,
                 uint32_t *slot, bool *found);

/* The child that a key belongs to: the last whose separator is not greater.
 * Notes in the probe where in the child to look first. */
bool interior_search(const struct node *node, struct probe *probe,
                     uint32_t *slot);

#endif
