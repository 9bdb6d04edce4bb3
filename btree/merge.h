/*
 * merge.h - neighbours that share their entries anew. Private to btree/.
 */
#ifndef TURDB_BTREE_MERGE_H
#define TURDB_BTREE_MERGE_H

#include "btree/tree.h"

enum {
	UNDERFULL_DIVISOR = 3, /* a node below this part of a page is evened out */
};

static inline bool node_is_underfull(const struct node *node)
{
	return node_used(node) < node->usable_size / UNDERFULL_DIVISOR ||
	       node->count == 0;
}

/* After an entry left (or shrank in) the key's leaf, which is underfull now: merges
 * nodes that are nearly empty with a neighbour or takes entries from it, level by
 * level, and shortens the tree when its root has one child. What cannot be done is
 * left: the tree is valid all the time. */
void tree_even_out(struct btree *tree, struct probe *probe);

/* The same when `leaf`, the leaf's bytes as they are now, turns out underfull. */
static inline void tree_even_out_leaf(struct btree *tree, struct probe *probe,
                                      const uint8_t *leaf)
{
	struct node node;

	if (node_parse(&node, leaf, tree->pager->usable_size, tree->keys) &&
	    __builtin_expect(node_is_underfull(&node), 0))
		tree_even_out(tree, probe);
}

#endif
