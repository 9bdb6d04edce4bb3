/*
 * get.c - one key looked up.
 *
 * Who reads many keys in turn reads the state and the root once: while nothing
 * but entries in their places has changed, both are as the last search left them.
 */
#include "btree/overflow.h"
#include "btree/search.h"

/* The leaf a key belongs to, without the path that writers need. */
static int leaf_find(struct btree *tree, struct probe *probe,
                     uint32_t *page_no, struct node *node, struct err *err)
{
	uint32_t slot;
	int rc = tree_root_enter(tree, node, err);

	if (rc)
		return rc;
	*page_no = tree->root_page_no;
	for (uint32_t level = tree->height - 1u; level > 0; level--) {
		if (!interior_search(node, probe, &slot))
			return tree_corrupt(tree, *page_no,
			                    "a separator leaves the page", err);
		*page_no = node_child(node, slot);
		if (level == 1)
			break;
		rc = tree_node_read(tree, *page_no, (uint8_t)(level - 1), node,
		                    err);
		if (rc)
			return rc;
	}
	return tree_leaf_read(tree, tree->leaf_count, probe, *page_no, node,
	                      err);
}

/* The two kinds of trees apart, so that each is read with what it needs. */
static inline bool cell_read(const struct node *node, uint32_t slot,
                             struct leaf_cell *cell)
{
	if (!node->rowid)
		return leaf_cell_read(node, slot, cell);
	return leaf_cell_parse(node->page, node->cells, node->usable_size, true,
	                       node_ref(node, slot), cell);
}

int btree_find(struct btree *tree, struct span key,
               struct btree_scratch *scratch, struct span *value,
               struct btree_hit *hit, bool *found, struct err *err)
{
	struct probe probe = probe_of(key);
	struct leaf_cell cell;
	struct node node;
	bool there;
	int rc;

	hit->view_epoch = 0;
	if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_refuse(tree, key, err);
	rc = leaf_find(tree, &probe, &hit->page_no, &node, err);
	if (rc)
		return rc;
	if (!leaf_search(&node, &probe, &hit->slot, &there) ||
	    (there && !cell_read(&node, hit->slot, &cell)))
		return tree_corrupt(tree, hit->page_no,
		                    "a cell leaves the page", err);
	*found = there;
	if (!there)
		return ERR_NONE;
	hit->view_epoch = *tree->pager->view_epoch;
	hit->edits = tree->pager->edits;
	hit->value_at = 0;
	if (cell.overflow)
		return overflow_read(tree, &cell, scratch, value, err);
	*value = span_of(cell.value, cell.value_size);
	hit->value_at = (uint32_t)(cell.value - node.page);
	hit->value_size = cell.value_size;
	return ERR_NONE;
}

int btree_get(struct btree *tree, struct span key,
              struct btree_scratch *scratch, struct span *value, bool *found,
              struct err *err)
{
	struct btree_hit hit;

	return btree_find(tree, key, scratch, value, &hit, found, err);
}
