/*
 * cursor_step.c - from one entry to the next or the one before.
 *
 * Within a page a step compares two heads and copies one. From leaf to leaf it
 * follows the chain forwards; backwards it goes down from the root again, once
 * in hundreds of entries.
 */
#include "btree/cursor.h"
#include "btree/search.h"

enum {
	EMPTY_LEAVES_MAX = 65536,
	LEAVES_AHEAD = 8, /* fetched at a time, so that 8 to 16 are ahead   */
	RUN_MIN = 2,      /* leaves walked through before more are fetched */
};

/* (btree/cursor C3) when a step leads to entry `slot` of another page, or of one that has been
 * read again. */
static bool goes_on(const struct btree_cursor *cursor, const struct node *node,
                    uint32_t slot, bool forward)
{
	struct entry now = entry_of_key(span_of(cursor->key, cursor->key_size),
	                                0), next;
	int order;

	if (!node_entry(node, slot, &next))
		return false;
	order = entry_compare(&next, &now);
	return forward ? order > 0 : order < 0;
}

static int goes_back(struct btree_cursor *cursor, uint32_t page_no,
                     struct err *err)
{
	cursor->where = CURSOR_UNSET;
	return tree_corrupt(cursor->tree, page_no,
	                    "its keys are not in order with those around it",
	                    err);
}

/* A walk that has gone through leaves in order has the following ones fetched,
 * some at a time, as far as their parent knows them: on a cold disk many reads
 * are under way at once. */
static __attribute__((noinline)) void
leaves_fetch(const struct btree_cursor *cursor)
{
	struct btree *tree = cursor->tree;
	struct probe probe =
		probe_of(span_of(cursor->key, cursor->key_size));
	struct tree_state state;
	struct node node;
	uint32_t page_no, slot = 0, from, to;

	if (tree_state_read(tree, &state, NULL) || state.height < 2)
		return;
	page_no = state.root;
	for (uint32_t level = state.height - 1u; level > 0; level--) {
		if (tree_node_read(tree, page_no, (uint8_t)level, &node,
		                   NULL) ||
		    !interior_search(&node, &probe, &slot))
			return;
		page_no = node_child(&node, slot);
	}
	from = slot + (cursor->run == RUN_MIN ? 2 : 1 + LEAVES_AHEAD);
	to = slot + 1 + 2 * LEAVES_AHEAD;
	for (; from < to && from < node.count; from++)
		pager_prefetch(tree->pager, node_child(&node, from));
}

int cursor_next_leaf_enter(struct btree_cursor *cursor, struct node *node,
                           bool after, bool *on, struct err *err)
{
	struct btree *tree = cursor->tree;
	uint32_t page_no, steps;
	int rc;

	for (steps = 0; (page_no = node_next(node)) != 0; steps++) {
		if (steps > EMPTY_LEAVES_MAX)
			return cursor_damaged(cursor, "too many leaves are empty",
			                      err);
		rc = tree_node_read(tree, page_no, 0, node, err);
		if (rc)
			return rc;
		if (node->count)
			break;
	}
	if (!page_no)
		return cursor_leave(cursor, on);
	if (node_next(node))
		pager_prefetch(tree->pager, node_next(node));
	if (after && !goes_on(cursor, node, 0, true))
		return goes_back(cursor, page_no, err);
	rc = cursor_page_enter(cursor, page_no, node, err);
	if (!rc)
		rc = cursor_slot_enter(cursor, 0, err);
	if (rc)
		return rc;
	if (after && ++cursor->run % LEAVES_AHEAD == RUN_MIN)
		leaves_fetch(cursor);
	*on = true;
	return ERR_NONE;
}

/* The path to the end of the leaf before the path's own; false at the start. */
static int path_previous_leaf(struct btree *tree, struct path *path,
                              bool *there, struct err *err)
{
	uint32_t level = 1;
	int rc;

	while (level < path->height && !path->at[level].slot)
		level++;
	*there = level < path->height;
	if (!*there)
		return ERR_NONE;
	path->at[level].slot--;
	while (level-- > 0) {
		struct path_step *step = &path->at[level];

		step->page_no = node_child(&path->at[level + 1].node,
		                           path->at[level + 1].slot);
		rc = tree_node_read(tree, step->page_no, (uint8_t)level,
		                    &step->node, err);
		if (rc)
			return rc;
		step->slot = step->node.count - (level ? 1 : 0);
	}
	return ERR_NONE;
}

int cursor_previous_enter(struct btree_cursor *cursor, struct path *path,
                          bool before, bool *on, struct err *err)
{
	struct path_step *leaf = &path->at[0];
	uint32_t steps = 0;
	bool there = true;
	int rc = ERR_NONE;

	for (; leaf->slot == 0 && !rc && there; steps++) {
		if (steps > EMPTY_LEAVES_MAX)
			return cursor_damaged(cursor, "too many leaves are empty",
			                      err);
		rc = path_previous_leaf(cursor->tree, path, &there, err);
	}
	if (rc)
		return rc;
	if (!there)
		return cursor_leave(cursor, on);
	if (before && !goes_on(cursor, &leaf->node, leaf->slot - 1, false))
		return goes_back(cursor, leaf->page_no, err);
	if (before && path->height > 1 && path->at[1].slot > 0)
		pager_prefetch(cursor->tree->pager,
		               node_child(&path->at[1].node,
		                          path->at[1].slot - 1));
	rc = cursor_page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = cursor_slot_enter(cursor, leaf->slot - 1, err);
	if (!rc)
		*on = true;
	return rc;
}

/* (btree/cursor C3) for neighbours in the page in hand whose heads do not tell: equal ones, or
 * damage. */
static __attribute__((noinline)) bool neighbours_ascend(
	const struct btree_cursor *cursor, uint32_t slot)
{
	struct entry entries[2];
	struct node node;

	return node_parse(&node, cursor->page,
	                  cursor->tree->pager->usable_size,
	                  cursor->tree->keys) &&
	       slot + 1 < node.count &&
	       node_entry(&node, slot, &entries[0]) &&
	       node_entry(&node, slot + 1, &entries[1]) &&
	       entry_compare(&entries[0], &entries[1]) < 0;
}

/* Entry `slot` of the page in hand and the one behind it are in order. */
static ALWAYS_INLINE bool in_order(const struct btree_cursor *cursor,
                                   uint32_t slot)
{
	const uint8_t *heads = cursor->heads + slot * NODE_HEAD_SIZE;

	return __builtin_expect(load_le64(heads) <
	                        load_le64(heads + NODE_HEAD_SIZE), 1) ||
	       neighbours_ascend(cursor, slot);
}

/* When the next entry is not simply the next slot of a page in hand. */
static __attribute__((noinline)) int next_slowly(struct btree_cursor *cursor,
                                                 bool *on, struct err *err)
{
	struct node node;
	uint32_t slot;
	int rc = ERR_NONE;

	if (cursor->where != CURSOR_ON && cursor->where != CURSOR_GONE) {
		*on = false;
		return ERR_NONE;
	}
	if (!cursor_is_fresh(cursor))
		rc = cursor_refresh(cursor, err);
	if (rc)
		return rc;
	if (!node_parse(&node, cursor->page,
	                cursor->tree->pager->usable_size, cursor->tree->keys))
		return cursor_damaged(cursor, "it changed under a cursor", err);
	slot = cursor->slot + (cursor->where == CURSOR_ON);
	if (slot >= node.count)
		return cursor_next_leaf_enter(cursor, &node, true, on, err);
	if (!goes_on(cursor, &node, slot, true))
		return goes_back(cursor, cursor->page_no, err);
	rc = cursor_page_enter(cursor, cursor->page_no, &node, err);
	if (!rc)
		rc = cursor_slot_enter(cursor, slot, err);
	if (!rc)
		*on = true;
	return rc;
}

int btree_cursor_next(struct btree_cursor *cursor, bool *on, struct err *err)
{
	int rc;

	if (cursor->where != CURSOR_ON || !cursor_is_fresh(cursor) ||
	    cursor->slot + 1 >= cursor->count)
		return next_slowly(cursor, on, err);
	if (!in_order(cursor, cursor->slot))
		return goes_back(cursor, cursor->page_no, err);
	rc = cursor_slot_enter(cursor, cursor->slot + 1, err);
	if (!rc)
		*on = true;
	return rc;
}

bool btree_cursor_step(struct btree_cursor *cursor, int64_t *rowid,
                       struct span *value)
{
	uint32_t slot = cursor->slot + 1;
	struct leaf_cell cell;
	const uint8_t *head;

	if (cursor->where != CURSOR_ON || !cursor_is_fresh(cursor) ||
	    slot >= cursor->count || cursor->tree->keys != BTREE_KEYS_ROWID)
		return false;
	head = cursor->heads + slot * NODE_HEAD_SIZE;
	if (load_le64(head) <= load_le64(head - NODE_HEAD_SIZE))
		return false;
	if (slot + CELLS_AHEAD < cursor->count)
		__builtin_prefetch(cursor->page +
		                   load_le16(cursor->refs +
		                             (slot + CELLS_AHEAD) *
		                             NODE_REF_SIZE));
	if (!leaf_cell_parse(cursor->page, cursor->cells,
	                     cursor->tree->pager->usable_size, true,
	                     load_le16(cursor->refs + slot * NODE_REF_SIZE),
	                     &cell) || cell.overflow)
		return false;
	store_be64(cursor->key, load_le64(head));
	cursor->slot = slot;
	*rowid = btree_rowid_of(cursor->key);
	*value = span_of(cell.value, cell.value_size);
	return true;
}

int btree_cursor_previous(struct btree_cursor *cursor, bool *on,
                          struct err *err)
{
	struct path path;
	bool found;
	int rc;

	if (cursor->where != CURSOR_ON && cursor->where != CURSOR_GONE) {
		*on = false;
		return ERR_NONE;
	}
	if (cursor_is_fresh(cursor) && cursor->where == CURSOR_ON &&
	    cursor->slot > 0) {
		if (!in_order(cursor, cursor->slot - 1))
			return goes_back(cursor, cursor->page_no, err);
		rc = cursor_slot_enter(cursor, cursor->slot - 1, err);
		if (!rc)
			*on = true;
		return rc;
	}
	rc = cursor_descend(cursor, span_of(cursor->key, cursor->key_size), &path,
	             &found, err);
	if (rc)
		return rc;
	return cursor_previous_enter(cursor, &path, true, on, err);
}

