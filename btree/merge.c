/*
 * merge.c - nodes below a third full join or even out with a neighbour.
 *
 * One step concerns two neighbours under one parent. The plan, made on pages as
 * they are read, says whether all entries fit the left page (then the right one
 * is freed and the parent loses a child) or how they are divided anew (then the
 * parent's separator changes). Then its pages are acquired and the plan is
 * carried out: a step fails before it changes a byte.
 */
#include "btree/merge.h"

#include <string.h>

#include "btree/change.h"
#include "btree/split.h"

enum {
	MERGED_FULL_DIVISOR = 8, /* a merged page keeps this part free         */
};

enum merge_how { MERGE_NOTHING, MERGE_JOIN, MERGE_DIVIDE };

struct merge {
	struct btree *tree;
	uint32_t level;
	const struct path_step *parent;
	uint32_t right_slot; /* of the right neighbour in the parent */
	uint32_t left_no, right_no;
	struct node left, right;
	struct entry between;
	struct sequence sequence;
	enum merge_how how;
	struct division division;
	struct layout joined;
	uint32_t separator_cell_size; /* the parent's present one */
	struct entry separator;       /* and what replaces it     */
	struct sequence parent_sequence;
	struct layout parent_layout;
	uint8_t separator_key[BTREE_KEY_SIZE_MAX];
	uint8_t between_key[BTREE_KEY_SIZE_MAX];
};

/* Reads the two neighbours and lays their entries in a row. */
static bool merge_read(struct merge *merge)
{
	const struct node *parent = &merge->parent->node;
	struct btree *tree = merge->tree;
	uint8_t level = (uint8_t)merge->level;

	merge->left_no = node_child(parent, merge->right_slot - 1);
	merge->right_no = node_child(parent, merge->right_slot);
	if (merge->left_no == merge->right_no ||
	    tree_node_read(tree, merge->left_no, level, &merge->left, NULL) ||
	    tree_node_read(tree, merge->right_no, level, &merge->right, NULL) ||
	    !node_entry(parent, merge->right_slot, &merge->between) ||
	    !node_cell_size(parent, merge->right_slot,
	                    &merge->separator_cell_size))
		return false;
	/* The parent's page changes last, but its key must outlive that. */
	entry_key_copy(&merge->between, merge->between_key);
	merge->between = entry_of_key(
		span_of(merge->between_key, entry_key_size(&merge->between)),
		0);
	merge->sequence = (struct sequence){
		.left = &merge->left,
		.right = &merge->right,
		.between = level ? &merge->between : NULL,
	};
	return true;
}

static bool plan_join(struct merge *merge)
{
	uint32_t usable_size = merge->left.usable_size;

	if (!sequence_layout(&merge->sequence, 0,
	                     sequence_count(&merge->sequence), 0,
	                     &merge->joined))
		return false;
	if (!merge->left.count || !merge->right.count)
		return merge->joined.fits;
	return merge->joined.bytes <=
	       usable_size - usable_size / MERGED_FULL_DIVISOR;
}

/* The new separator must fit the parent where the old one was; a parent that
 * would have to be divided for it is not worth it. */
static bool plan_divide(struct merge *merge)
{
	uint32_t key_size;

	if (!sequence_divide(&merge->sequence, &merge->division) ||
	    merge->division.left_count == merge->left.count ||
	    !sequence_separator(&merge->sequence, merge->division.left_count,
	                        merge->separator_key, &key_size))
		return false;
	merge->separator = entry_of_key(
		span_of(merge->separator_key, key_size), 0);
	merge->separator.child = merge->right_no;
	merge->parent_sequence = (struct sequence){
		.left = &merge->parent->node,
		.inserted = &merge->separator,
		.insert_at = merge->right_slot,
		.replaces = true,
	};
	return sequence_layout(&merge->parent_sequence, 0,
	                       merge->parent->node.count,
	                       merge->parent->node.prefix_size,
	                       &merge->parent_layout) &&
	       merge->parent_layout.fits;
}

static void merge_plan(struct merge *merge)
{
	merge->how = MERGE_NOTHING;
	if (!merge_read(merge))
		return;
	if (plan_join(merge))
		merge->how = MERGE_JOIN;
	else if (plan_divide(merge))
		merge->how = MERGE_DIVIDE;
}

static void join_apply(struct merge *merge, struct change *change,
                       uint8_t *left, uint8_t *parent)
{
	uint32_t next = node_next(&merge->right);

	node_rewrite(&merge->sequence, 0, sequence_count(&merge->sequence),
	             &merge->joined, left);
	store_le32(left + NODE_NEXT_AT, next);
	node_remove(parent, &merge->parent->node, merge->right_slot,
	            merge->separator_cell_size);
	if (merge->level)
		change->state.interior_pages--;
	else
		change->state.leaf_pages--;
}

static void divide_apply(struct merge *merge, uint8_t *left, uint8_t *right,
                         uint8_t *parent)
{
	uint32_t usable_size = merge->left.usable_size;
	uint32_t left_count = merge->division.left_count;
	uint8_t whole[BTREE_USABLE_SIZE_MAX];

	/* The right page anew beside its old bytes, then the left one. What nobody
	 * writes stays what it was: nothing of the stack, and nothing to log. */
	memcpy(whole, right, usable_size);
	sequence_write(&merge->sequence, left_count,
	               sequence_count(&merge->sequence),
	               &merge->division.right, node_next(&merge->right),
	               whole);
	node_rewrite(&merge->sequence, 0, left_count, &merge->division.left,
	             left);
	memcpy(right, whole, usable_size);
	node_rewrite(&merge->parent_sequence, 0, merge->parent->node.count,
	             &merge->parent_layout, parent);
}

static int merge_carry_out(struct merge *merge, struct tree_state *state)
{
	struct pager *pager = merge->tree->pager;
	uint8_t *left, *right = NULL, *parent;
	struct change change;
	int rc;

	rc = change_begin(&change, merge->tree, state, NULL);
	if (rc)
		return rc;
	rc = pager_edit(pager, merge->left_no, &left, NULL);
	if (!rc)
		rc = pager_edit(pager, merge->parent->page_no, &parent, NULL);
	if (!rc && merge->how == MERGE_DIVIDE)
		rc = pager_edit(pager, merge->right_no, &right, NULL);
	if (!rc && merge->how == MERGE_JOIN)
		rc = change_discard(&change, merge->right_no, NULL);
	if (rc) {
		change_abandon(&change);
		return rc;
	}
	if (right)
		divide_apply(merge, left, right, parent);
	else
		join_apply(merge, &change, left, parent);
	*state = change.state;
	change_finish(&change);
	return ERR_NONE;
}

/* A root with one child gives way to it. */
static bool root_shorten(struct btree *tree, struct tree_state *state)
{
	struct change change;
	struct node root;

	if (state->height == 1 ||
	    tree_node_read(tree, state->root, (uint8_t)(state->height - 1),
	                   &root, NULL) ||
	    root.count != 1)
		return false;
	if (change_begin(&change, tree, state, NULL))
		return false;
	if (change_discard(&change, state->root, NULL)) {
		change_abandon(&change);
		return false;
	}
	change.state.root = node_child(&root, 0);
	change.state.height--;
	change.state.interior_pages--;
	*state = change.state;
	change_finish(&change);
	return true;
}

/* Plans for the neighbour on the right, then for that on the left: joining either
 * is better than sharing anew. */
static bool neighbours_plan(struct merge *merge)
{
	uint32_t slot = merge->parent->slot;
	bool has_left = slot > 0;
	bool has_right = slot + 1 < merge->parent->node.count;

	merge->how = MERGE_NOTHING;
	if (has_right) {
		merge->right_slot = slot + 1;
		merge_plan(merge);
	}
	if (has_left && merge->how != MERGE_JOIN) {
		bool divides = merge->how == MERGE_DIVIDE;

		merge->right_slot = slot;
		merge_plan(merge);
		if (divides && merge->how != MERGE_JOIN) {
			merge->right_slot = slot + 1;
			merge_plan(merge);
		}
	}
	return merge->how != MERGE_NOTHING;
}

/* One level: true when a node went, so that the level above may have to be
 * looked at. */
static bool level_even_out(struct btree *tree, struct tree_state *state,
                           const struct path *path, uint32_t level)
{
	struct merge merge;

	merge.tree = tree;
	merge.level = level;
	merge.parent = &path->at[level + 1];
	return neighbours_plan(&merge) && !merge_carry_out(&merge, state) &&
	       merge.how == MERGE_JOIN;
}

void tree_even_out(struct btree *tree, struct probe *probe)
{
	struct tree_state state;
	struct path now;
	bool found;

	if (tree_state_read(tree, &state, NULL) || state.height == 1)
		return;
	for (uint32_t level = 0; level + 1 < state.height; level++) {
		if (tree_descend(tree, probe, &now, &found, NULL) ||
		    !node_is_underfull(&now.at[level].node) ||
		    !level_even_out(tree, &state, &now, level))
			break;
	}
	while (root_shorten(tree, &state))
		;
}
