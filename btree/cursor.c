/*
 * cursor.c - a position that survives everything.
 *
 * While neither the view nor the tree has changed, a cursor owns a page pointer
 * and a slot, and a step is a handful of instructions. It keeps a copy of its
 * key too: when a counter has moved, the key is sought again before any page is
 * touched.
 *
 * (C1) ON: page[slot] has the remembered key. (C2) GONE: the entry is no longer
 * there and (page, slot) is where it would be. (C3) Every step forward leads to a
 * greater key, every step back to a smaller one, so that walks end also in
 * damaged trees.
 */
#include "btree/overflow.h"
#include "btree/search.h"

#include <string.h>

enum {
	CELLS_AHEAD = 6,
	EMPTY_LEAVES_MAX = 65536,
	LEAVES_AHEAD = 8, /* fetched at a time, so that 8 to 16 are ahead   */
	RUN_MIN = 2,      /* leaves walked through before more are fetched */
};

void btree_cursor_init(struct btree_cursor *cursor, struct btree *tree)
{
	memset(cursor, 0, sizeof *cursor);
	cursor->tree = tree;
	cursor->where = CURSOR_UNSET;
	cursor->key = cursor->key_inline;
	cursor->key_room = sizeof cursor->key_inline;
	cursor->scratch.heap = tree->pager->heap;
}

void btree_cursor_close(struct btree_cursor *cursor)
{
	if (cursor->key != cursor->key_inline)
		heap_free(cursor->tree->pager->heap, cursor->key);
	btree_scratch_free(&cursor->scratch);
	cursor->key = cursor->key_inline;
	cursor->key_room = sizeof cursor->key_inline;
	cursor->where = CURSOR_UNSET;
}

static inline bool cursor_is_fresh(const struct btree_cursor *cursor)
{
	const struct pager *pager = cursor->tree->pager;

	return cursor->view_epoch == *pager->view_epoch &&
	       cursor->edits == pager->edits;
}

/* The cell at a slot of the page in hand. The parts are handed over one by one:
 * a copy of the cursor as a node would read fields together that were written
 * apart a moment ago, and wait for them. */
static ALWAYS_INLINE bool cell_of_cursor(const struct btree_cursor *cursor,
                                         uint32_t slot, struct leaf_cell *cell)
{
	return leaf_cell_parse(cursor->page, cursor->cells,
	                       cursor->tree->pager->usable_size,
	                       cursor->tree->keys == BTREE_KEYS_ROWID,
	                       load_le16(cursor->refs + slot * NODE_REF_SIZE),
	                       cell);
}

static int damaged(struct btree_cursor *cursor, const char *reason,
                   struct err *err)
{
	cursor->where = CURSOR_UNSET;
	return tree_corrupt(cursor->tree, cursor->page_no, reason, err);
}

static int key_reserve(struct btree_cursor *cursor, uint32_t size,
                       struct err *err)
{
	struct heap *heap = cursor->tree->pager->heap;
	uint32_t room = size + size / 2;
	uint8_t *key;

	if (size <= cursor->key_room)
		return ERR_NONE;
	key = heap_allocate(heap, room);
	if (!key)
		return err_set(err, ERR_NOMEM, "remember key in",
		               cursor->tree->pager->name,
		               "no memory for %u bytes", room);
	memcpy(key, cursor->key, cursor->key_size);
	if (cursor->key != cursor->key_inline)
		heap_free(heap, cursor->key);
	cursor->key = key;
	cursor->key_room = room;
	return ERR_NONE;
}

static void page_remember(struct btree_cursor *cursor, uint32_t page_no,
                          const struct node *node)
{
	const struct pager *pager = cursor->tree->pager;

	cursor->page_no = page_no;
	cursor->page = node->page;
	cursor->heads = node->heads;
	cursor->refs = node->refs;
	cursor->count = node->count;
	cursor->cells = node->cells;
	cursor->view_epoch = *pager->view_epoch;
	cursor->edits = pager->edits;
}

/* The cursor moves to a page, on no entry yet. */
static int page_enter(struct btree_cursor *cursor, uint32_t page_no,
                      const struct node *node, struct err *err)
{
	int rc;

	rc = key_reserve(cursor, node->prefix_size + NODE_HEAD_SIZE, err);
	if (rc)
		return rc;
	page_remember(cursor, page_no, node);
	cursor->prefix_size = node->prefix_size;
	memcpy(cursor->key, node->page + NODE_HEADER_SIZE, node->prefix_size);
	return ERR_NONE;
}

/* The rest of a long key. */
static __attribute__((noinline)) int
key_rest_remember(struct btree_cursor *cursor, const uint8_t *rest,
                  uint32_t rest_size, struct err *err)
{
	uint32_t start = cursor->prefix_size + NODE_HEAD_SIZE;
	int rc;

	cursor->key_size = start;
	rc = key_reserve(cursor, start + rest_size, err);
	if (rc) {
		cursor->where = CURSOR_UNSET;
		return rc;
	}
	memcpy(cursor->key + start, rest, rest_size);
	cursor->key_size = start + rest_size;
	return ERR_NONE;
}

/* Stands on an entry of the page entered last, and remembers its key: its
 * prefix is there already. The cell a few entries ahead is fetched. */
static ALWAYS_INLINE int slot_enter(struct btree_cursor *cursor, uint32_t slot,
                                    struct err *err)
{
	const uint8_t *head = cursor->heads + slot * NODE_HEAD_SIZE;
	struct leaf_cell cell;
	int rc;

	if (slot + CELLS_AHEAD < cursor->count)
		__builtin_prefetch(cursor->page +
		                   load_le16(cursor->refs +
		                             (slot + CELLS_AHEAD) *
		                             NODE_REF_SIZE));
	store_be64(cursor->key + cursor->prefix_size, load_le64(head));
	cursor->key_size = NODE_HEAD_SIZE;
	if (cursor->tree->keys != BTREE_KEYS_ROWID) {
		if (!cell_of_cursor(cursor, slot, &cell))
			return damaged(cursor, "a cell leaves the page", err);
		cursor->key_size = cursor->prefix_size + cell.key_size;
		if (cell.key_size > NODE_HEAD_SIZE) {
			rc = key_rest_remember(cursor, cell.rest,
			                       key_rest_size(cell.key_size),
			                       err);
			if (rc)
				return rc;
		}
	}
	cursor->slot = slot;
	cursor->where = CURSOR_ON;
	return ERR_NONE;
}

/* Stands before `slot` because the remembered entry is gone. */
static void slot_stand_before(struct btree_cursor *cursor, uint32_t page_no,
                              const struct node *node, uint32_t slot)
{
	page_remember(cursor, page_no, node);
	cursor->slot = slot;
	cursor->where = CURSOR_GONE;
}

static int leave_tree(struct btree_cursor *cursor, bool *on)
{
	cursor->where = CURSOR_END;
	*on = false;
	return ERR_NONE;
}

/* (C3) when a step leads to entry `slot` of another page, or of one that has been
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

/* The first entry of the leaves that follow `node`; with `after` it must come
 * after the remembered one. */
static int next_leaf_enter(struct btree_cursor *cursor, struct node *node,
                           bool after, bool *on, struct err *err)
{
	struct btree *tree = cursor->tree;
	uint32_t page_no, steps;
	int rc;

	for (steps = 0; (page_no = node_next(node)) != 0; steps++) {
		if (steps > EMPTY_LEAVES_MAX)
			return damaged(cursor, "too many leaves are empty", err);
		rc = tree_node_read(tree, page_no, 0, node, err);
		if (rc)
			return rc;
		if (node->count)
			break;
	}
	if (!page_no)
		return leave_tree(cursor, on);
	if (node_next(node))
		pager_prefetch(tree->pager, node_next(node));
	if (after && !goes_on(cursor, node, 0, true))
		return goes_back(cursor, page_no, err);
	rc = page_enter(cursor, page_no, node, err);
	if (!rc)
		rc = slot_enter(cursor, 0, err);
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

/* The last entry before path->at[0].slot, in this leaf or one before it; with
 * `before` it must come before the remembered one. */
static int previous_enter(struct btree_cursor *cursor, struct path *path,
                          bool before, bool *on, struct err *err)
{
	struct path_step *leaf = &path->at[0];
	uint32_t steps = 0;
	bool there = true;
	int rc = ERR_NONE;

	for (; leaf->slot == 0 && !rc && there; steps++) {
		if (steps > EMPTY_LEAVES_MAX)
			return damaged(cursor, "too many leaves are empty", err);
		rc = path_previous_leaf(cursor->tree, path, &there, err);
	}
	if (rc)
		return rc;
	if (!there)
		return leave_tree(cursor, on);
	if (before && !goes_on(cursor, &leaf->node, leaf->slot - 1, false))
		return goes_back(cursor, leaf->page_no, err);
	rc = page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = slot_enter(cursor, leaf->slot - 1, err);
	if (!rc)
		*on = true;
	return rc;
}

static int enter_at(struct btree_cursor *cursor, struct path *path, bool *on,
                    struct err *err)
{
	struct path_step *leaf = &path->at[0];
	int rc;

	if (leaf->slot >= leaf->node.count)
		return next_leaf_enter(cursor, &leaf->node, false, on, err);
	rc = page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = slot_enter(cursor, leaf->slot, err);
	if (!rc)
		*on = true;
	return rc;
}

/* ERR_ABORT is what a cursor meets whose tree is gone. */
static int descend(struct btree_cursor *cursor, struct span key,
                   struct path *path, bool *found, struct err *err)
{
	struct probe probe = probe_of(key);
	struct tree_state state;
	int rc;

	if (cursor->tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_check(cursor->tree, key, err);
	rc = tree_state_read(cursor->tree, &state, err);
	if (rc)
		return rc;
	return tree_descend(cursor->tree, &state, &probe, path, found, err);
}

int btree_cursor_seek(struct btree_cursor *cursor, struct span key,
                      enum btree_seek how, bool *on, struct err *err)
{
	struct path path;
	bool found;
	int rc;

	cursor->run = 0;
	rc = descend(cursor, key, &path, &found, err);
	if (rc)
		return rc;
	switch (how) {
	case BTREE_SEEK_EQ:
		if (!found)
			return leave_tree(cursor, on);
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_GE:
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_GT:
		path.at[0].slot += found;
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_LE:
		path.at[0].slot += found;
		return previous_enter(cursor, &path, false, on, err);
	case BTREE_SEEK_LT:
		break;
	}
	return previous_enter(cursor, &path, false, on, err);
}

int btree_cursor_first(struct btree_cursor *cursor, bool *on, struct err *err)
{
	static const uint8_t lowest[8];
	size_t size = cursor->tree->keys == BTREE_KEYS_ROWID ? 8 : 0;

	return btree_cursor_seek(cursor, span_of(lowest, size), BTREE_SEEK_GE,
	                         on, err);
}

int btree_cursor_last(struct btree_cursor *cursor, bool *on, struct err *err)
{
	struct tree_state state;
	struct path path;
	int rc;

	rc = tree_state_read(cursor->tree, &state, err);
	if (!rc)
		rc = tree_descend_last(cursor->tree, &state, &path, err);
	if (rc)
		return rc;
	return previous_enter(cursor, &path, false, on, err);
}

/* Finds the remembered key again after something has changed. */
static int refresh(struct btree_cursor *cursor, struct err *err)
{
	struct path path;
	struct path_step *leaf = &path.at[0];
	bool found;
	int rc;

	rc = descend(cursor, span_of(cursor->key, cursor->key_size), &path,
	             &found, err);
	if (rc)
		return rc;
	if (!found) {
		slot_stand_before(cursor, leaf->page_no, &leaf->node,
		                  leaf->slot);
		return ERR_NONE;
	}
	rc = page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = slot_enter(cursor, leaf->slot, err);
	return rc;
}

/* (C3) for neighbours in the page in hand whose heads do not tell: equal ones, or
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
		rc = refresh(cursor, err);
	if (rc)
		return rc;
	if (!node_parse(&node, cursor->page,
	                cursor->tree->pager->usable_size, cursor->tree->keys))
		return damaged(cursor, "it changed under a cursor", err);
	slot = cursor->slot + (cursor->where == CURSOR_ON);
	if (slot >= node.count)
		return next_leaf_enter(cursor, &node, true, on, err);
	if (!goes_on(cursor, &node, slot, true))
		return goes_back(cursor, cursor->page_no, err);
	rc = page_enter(cursor, cursor->page_no, &node, err);
	if (!rc)
		rc = slot_enter(cursor, slot, err);
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
	rc = slot_enter(cursor, cursor->slot + 1, err);
	if (!rc)
		*on = true;
	return rc;
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
		rc = slot_enter(cursor, cursor->slot - 1, err);
		if (!rc)
			*on = true;
		return rc;
	}
	rc = descend(cursor, span_of(cursor->key, cursor->key_size), &path,
	             &found, err);
	if (rc)
		return rc;
	return previous_enter(cursor, &path, true, on, err);
}

static __attribute__((noinline)) int read_prepare(struct btree_cursor *cursor,
                                                  struct err *err)
{
	if (cursor->where == CURSOR_UNSET || cursor->where == CURSOR_END)
		return err_set(err, ERR_INVALID, "read cursor of",
		               cursor->tree->pager->name,
		               "it stands on no entry");
	return cursor_is_fresh(cursor) ? ERR_NONE : refresh(cursor, err);
}

int btree_cursor_read(struct btree_cursor *cursor, struct span *key,
                      struct span *value, bool *deleted, struct err *err)
{
	struct leaf_cell cell;
	int rc;

	if (cursor->where != CURSOR_ON || !cursor_is_fresh(cursor)) {
		rc = read_prepare(cursor, err);
		if (rc)
			return rc;
	}
	*key = span_of(cursor->key, cursor->key_size);
	*deleted = cursor->where == CURSOR_GONE;
	if (!value)
		return ERR_NONE;
	*value = span_of(cursor->key, 0);
	if (*deleted)
		return ERR_NONE;
	if (!cell_of_cursor(cursor, cursor->slot, &cell))
		return damaged(cursor, "a cell leaves the page", err);
	if (cell.overflow)
		return overflow_read(cursor->tree, &cell, &cursor->scratch,
		                     value, err);
	*value = span_of(cell.value, cell.value_size);
	return ERR_NONE;
}
