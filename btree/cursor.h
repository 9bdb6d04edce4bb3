/*
 * cursor.h - a cursor's position, for those who move it. Private to btree/.
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
#ifndef TURDB_BTREE_CURSOR_H
#define TURDB_BTREE_CURSOR_H

#include "btree/tree.h"

enum { CELLS_AHEAD = 6 };

static inline bool cursor_is_fresh(const struct btree_cursor *cursor)
{
	const struct pager *pager = cursor->tree->pager;

	return cursor->view_epoch == *pager->view_epoch &&
	       cursor->edits == pager->edits;
}

/* The cell at a slot of the page in hand. The parts are handed over one by one:
 * a copy of the cursor as a node would read fields together that were written
 * apart a moment ago, and wait for them. */
static ALWAYS_INLINE bool cursor_cell(const struct btree_cursor *cursor,
                                         uint32_t slot, struct leaf_cell *cell)
{
	return leaf_cell_parse(cursor->page, cursor->cells,
	                       cursor->tree->pager->usable_size,
	                       cursor->tree->keys == BTREE_KEYS_ROWID,
	                       load_le16(cursor->refs + slot * NODE_REF_SIZE),
	                       cell);
}

/* The page in hand is damaged: the cursor stands nowhere. */
int cursor_damaged(struct btree_cursor *cursor, const char *reason,
                   struct err *err);

/* The cursor moves to a page, on no entry yet. */
int cursor_page_enter(struct btree_cursor *cursor, uint32_t page_no,
                      const struct node *node, struct err *err);

/* Remembers the rest of a long key. */
int cursor_key_rest_remember(struct btree_cursor *cursor, const uint8_t *rest,
                             uint32_t rest_size, struct err *err);

/* Stands on an entry of the page entered last, and remembers its key: its
 * prefix is there already. The cell a few entries ahead is fetched. */
static ALWAYS_INLINE int cursor_slot_enter(struct btree_cursor *cursor,
                                           uint32_t slot, struct err *err)
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
		if (!cursor_cell(cursor, slot, &cell))
			return cursor_damaged(cursor, "a cell leaves the page",
			                      err);
		cursor->key_size = cursor->prefix_size + cell.key_size;
		if (cell.key_size > NODE_HEAD_SIZE) {
			rc = cursor_key_rest_remember(
				cursor, cell.rest,
				key_rest_size(cell.key_size), err);
			if (rc)
				return rc;
		}
	}
	cursor->slot = slot;
	cursor->where = CURSOR_ON;
	return ERR_NONE;
}

/* Where a key belongs. ERR_ABORT is what a cursor meets whose tree is gone. */
int cursor_descend(struct btree_cursor *cursor, struct span key,
                   struct path *path, bool *found, struct err *err);

/* Finds the remembered key again after something has changed: ON or GONE. */
int cursor_refresh(struct btree_cursor *cursor, struct err *err);

/* No entry in that direction. */
static inline int cursor_leave(struct btree_cursor *cursor, bool *on)
{
	cursor->where = CURSOR_END;
	*on = false;
	return ERR_NONE;
}

/* The first entry of the leaves that follow `node`; with `after` it must come
 * after the remembered one. `node` is overwritten. */
int cursor_next_leaf_enter(struct btree_cursor *cursor, struct node *node,
                           bool after, bool *on, struct err *err);

/* The last entry before path->at[0].slot, in this leaf or one before it; with
 * `before` it must come before the remembered one. */
int cursor_previous_enter(struct btree_cursor *cursor, struct path *path,
                          bool before, bool *on, struct err *err);

#endif
