/*
 * hit.c - an entry found a moment ago, replaced or taken out where it lies.
 *
 * An UPDATE by key finds its row, computes, and comes back with new bytes for it;
 * a DELETE just comes back. As long as neither the view nor the tree has changed,
 * the entry lies where it was found, so nothing is searched: only the leaf is
 * edited (and, for a deletion, the state). What does not go by this way, because
 * it needs overflow pages, room that the leaf has not got in one piece, or a look
 * at entries with other keys of one head, goes by the usual one.
 *
 * (H1) A hit holds only while the counters it was found under stand still. (H2) A
 * rowid key is whole in its head: before a byte changes, the head in the slot has
 * been compared with the key. (H3) As in put.c and delete.c everything is
 * acquired before the first byte changes.
 */

#include "btree/merge.h"
#include "btree/node_edit.h"
#include "btree/overflow.h"

/* (H1), and a key that is whole in its head. */
static bool hit_is_usable(const struct btree *tree, const struct btree_hit *hit,
                          struct span key)
{
	return btree_hit_holds(tree, hit) && tree->keys == BTREE_KEYS_ROWID &&
	       key.size == 8;
}

/* Compares the head itself (H2): whoever writes there needs nothing else of the node. */
int btree_edit_hit(struct btree *tree, const struct btree_hit *hit,
                   struct span key, uint8_t **value, struct err *err)
{
	uint64_t before = tree->pager->edits;
	uint8_t *page;
	int rc;

	*value = NULL;
	if (!hit_is_usable(tree, hit, key) || !hit->value_at)
		return ERR_NONE;
	rc = pager_edit(tree->pager, hit->page_no, &page, err);
	if (rc)
		return rc;
	if (load_le64(page + node_heads_at(0) + hit->slot * NODE_HEAD_SIZE) !=
	    key_head(key.data, 8))
		return ERR_NONE;
	tree_root_stays(tree, before);
	*value = page + hit->value_at;
	return ERR_NONE;
}

/* (H2) The entry's leaf, editable. False: it is not there after all, or in a chain. */
static bool hit_look(const struct btree *tree, const struct btree_hit *hit,
                     const struct probe *probe, const uint8_t *page,
                     struct node *node, struct leaf_cell *cell)
{
	return node_parse(node, page, tree->pager->usable_size, tree->keys) &&
	       node->level == 0 && hit->slot < node->count &&
	       node_head(node, hit->slot) == probe->head &&
	       leaf_cell_read(node, hit->slot, cell) && !cell->overflow;
}

/* Writes the value into a leaf, in whose cell for it lies another. */
static bool value_replace(uint8_t *page, const struct node *node, uint32_t slot,
                          uint32_t old_size, struct span key,
                          const struct value_plan *plan, struct span value)
{
	struct entry entry = entry_of_key(key, 0);
	struct node_place place;
	uint32_t size;

	entry.value_head = span_of(plan->head, plan->head_size);
	entry.value_body = value;
	size = entry_cell_size(&entry, 0, true, true);
	if (size <= old_size) {
		leaf_overwrite(page, node, slot, old_size, &entry);
		return true;
	}
	place = node_place_larger(node, size, old_size);
	if (place.how < PLACE_GAP)
		return false;
	leaf_replace(page, node, &place, slot, old_size, &entry);
	return true;
}

int btree_put_hit(struct btree *tree, const struct btree_hit *hit,
                  struct span key, struct span value, struct err *err)
{
	uint64_t before = tree->pager->edits;
	struct probe probe = probe_of(key);
	struct value_plan plan;
	struct leaf_cell cell;
	struct node node;
	uint8_t *page;
	int rc;

	if (!hit_is_usable(tree, hit, key))
		goto search;
	plan = value_plan_of(tree->pager->usable_size, true, 8, value.size);
	if (plan.overflow)
		goto search;
	rc = pager_edit(tree->pager, hit->page_no, &page, err);
	if (rc)
		return rc;
	if (!hit_look(tree, hit, &probe, page, &node, &cell) ||
	    !value_replace(page, &node, hit->slot, cell.size, key, &plan, value))
		goto search;
	tree_root_stays(tree, before);
	if (plan.head_size + value.size < cell.size)
		tree_even_out_leaf(tree, &probe, page);
	return ERR_NONE;

search:
	return btree_put(tree, key, value, BTREE_PUT_REPLACE, err);
}

/* The state and the leaf first (H3). */
int btree_delete_hit(struct btree *tree, const struct btree_hit *hit,
                     struct span key, bool *found, struct err *err)
{
	uint64_t before = tree->pager->edits;
	struct probe probe = probe_of(key);
	uint8_t *page, *state;
	struct leaf_cell cell;
	struct node node;
	int rc;

	if (!hit_is_usable(tree, hit, key))
		goto search;
	rc = pager_state_edit(tree->pager, &state, err);
	if (!rc)
		rc = pager_edit(tree->pager, hit->page_no, &page, err);
	if (rc)
		return rc;
	if (load_le32(state + STATE_GARBAGE_AT) ||
	    !hit_look(tree, hit, &probe, page, &node, &cell))
		goto search;
	node_remove(page, &node, hit->slot, cell.size);
	store_le64(state + STATE_ENTRIES_AT,
	           load_le64(state + STATE_ENTRIES_AT) - 1);
	tree_root_stays(tree, before);
	*found = true;
	tree_even_out_leaf(tree, &probe, page);
	return ERR_NONE;

search:
	return btree_delete(tree, key, found, err);
}
