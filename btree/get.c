/*
 * get.c - one key looked up.
 */
#include "btree/overflow.h"
#include "btree/search.h"

/* The leaf a key belongs to, without the path that writers need. */
static int leaf_find(struct btree *tree, struct probe *probe,
                     uint32_t *page_no, struct node *node, struct err *err)
{
	struct tree_state state;
	uint32_t slot;
	int rc;

	rc = tree_state_read(tree, &state, err);
	if (rc)
		return rc;
	*page_no = state.root;
	for (uint32_t level = state.height - 1u; level > 0; level--) {
		rc = tree_node_read(tree, *page_no, (uint8_t)level, node, err);
		if (rc)
			return rc;
		if (!interior_search(node, probe, &slot))
			return tree_corrupt(tree, *page_no,
			                    "a separator leaves the page", err);
		*page_no = node_child(node, slot);
	}
	return tree_leaf_read(tree, &state, probe, *page_no, node, err);
}

int btree_get(struct btree *tree, struct span key,
              struct btree_scratch *scratch, struct span *value, bool *found,
              struct err *err)
{
	struct probe probe = probe_of(key);
	struct leaf_cell cell;
	struct node node;
	uint32_t page_no, slot;
	bool hit;
	int rc;

	if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_check(tree, key, err);
	rc = leaf_find(tree, &probe, &page_no, &node, err);
	if (rc)
		return rc;
	if (!leaf_search(&node, &probe, &slot, &hit) ||
	    (hit && !leaf_cell_read(&node, slot, &cell)))
		return tree_corrupt(tree, page_no, "a cell leaves the page",
		                    err);
	if (hit && cell.overflow) {
		rc = overflow_read(tree, &cell, scratch, value, err);
		if (rc)
			return rc;
	} else if (hit) {
		*value = span_of(cell.value, cell.value_size);
	}
	*found = hit;
	return ERR_NONE;
}
