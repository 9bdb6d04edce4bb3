/*
 * delete.c - an entry out, and pages that became nearly empty with it.
 *
 * Taking the entry out is one change; evening out neighbours afterwards is
 * another, per level, each whole by itself. When such a later step fails the
 * tree is right, only less full than it could be, so nobody hears of it.
 */
#include "btree/change.h"
#include "btree/merge.h"
#include "btree/node_edit.h"
#include "btree/overflow.h"

static int entry_take_out(struct btree *tree, const struct tree_state *state,
                          const struct path_step *leaf, struct probe *probe,
                          struct err *err)
{
	struct change change;
	struct leaf_cell cell;
	uint8_t *page;
	int rc;

	if (!leaf_cell_read(&leaf->node, leaf->slot, &cell))
		return tree_corrupt(tree, leaf->page_no,
		                    "a cell leaves the page", err);
	rc = change_begin(&change, tree, state, err);
	if (rc)
		return rc;
	if (cell.overflow)
		rc = change_dispose_chain(&change, overflow_value_page(&cell),
		                          err);
	if (!rc)
		rc = pager_edit(tree->pager, leaf->page_no, &page, err);
	if (rc) {
		change_abandon(&change);
		return rc;
	}
	node_remove(page, &leaf->node, leaf->slot, cell.size);
	change.state.entries--;
	change_finish(&change);
	tree_even_out_leaf(tree, probe, page);
	return ERR_NONE;
}

int btree_delete(struct btree *tree, struct span key, bool *found,
                 struct err *err)
{
	struct probe probe = probe_of(key);
	struct tree_state state;
	struct path path;
	bool hit;
	int rc;

	if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_refuse(tree, key, err);
	rc = tree_descend(tree, &probe, &path, &hit, err);
	if (!rc && hit)
		rc = tree_state_read(tree, &state, err);
	if (!rc && hit)
		rc = entry_take_out(tree, &state, &path.at[0], &probe, err);
	if (!rc)
		*found = hit;
	return rc;
}
