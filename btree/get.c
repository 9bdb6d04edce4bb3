/*
 * get.c - one key looked up.
 *
 * Who reads many keys in turn reads the state and the root once: while nothing
 * but entries in their places has changed, both are as the last search left them.
 */
#include "btree/overflow.h"
#include "btree/search.h"

/* The root, by way of the state; remembered if it is an interior node. */
static int root_read(struct btree *tree, struct node *root, struct err *err)
{
	struct tree_state state;
	int rc = tree_state_read(tree, &state, err);

	tree->root = NULL;
	if (rc)
		return rc;
	tree->root_page_no = state.root;
	tree->height = state.height;
	tree->leaf_count = tree_leaf_count(&state);
	if (state.height == 1)
		return ERR_NONE;
	rc = tree_node_read(tree, state.root, (uint8_t)(state.height - 1), root,
	                    err);
	if (rc)
		return rc;
	tree->root = root->page;
	tree->root_epoch = *tree->pager->view_epoch;
	tree->root_edits = tree->pager->edits;
	return ERR_NONE;
}

/* The leaf a key belongs to, without the path that writers need. */
static int leaf_find(struct btree *tree, struct probe *probe,
                     uint32_t *page_no, struct node *node, struct err *err)
{
	uint32_t slot;
	int rc;

	if (!tree_root_is_known(tree) ||
	    !node_parse(node, tree->root, tree->pager->usable_size,
	                tree->keys)) {
		rc = root_read(tree, node, err);
		if (rc)
			return rc;
	}
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

static int find(struct btree *tree, struct span key,
                struct btree_scratch *scratch, struct span *value,
                uint32_t *page_no, uint32_t *slot, bool *found, struct err *err)
{
	struct probe probe = probe_of(key);
	struct leaf_cell cell;
	struct node node;
	bool hit;
	int rc;

	if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_check(tree, key, err);
	rc = leaf_find(tree, &probe, page_no, &node, err);
	if (rc)
		return rc;
	if (!leaf_search(&node, &probe, slot, &hit) ||
	    (hit && !leaf_cell_read(&node, *slot, &cell)))
		return tree_corrupt(tree, *page_no, "a cell leaves the page",
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

int btree_get(struct btree *tree, struct span key,
              struct btree_scratch *scratch, struct span *value, bool *found,
              struct err *err)
{
	uint32_t page_no, slot;

	return find(tree, key, scratch, value, &page_no, &slot, found, err);
}

int btree_find(struct btree *tree, struct span key,
               struct btree_scratch *scratch, struct span *value,
               struct btree_hit *hit, bool *found, struct err *err)
{
	int rc = find(tree, key, scratch, value, &hit->page_no, &hit->slot,
	              found, err);

	hit->edits = tree->pager->edits;
	hit->view_epoch = rc || !*found ? 0 : *tree->pager->view_epoch;
	return rc;
}
