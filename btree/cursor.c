/*
 * cursor.c - a position that survives everything: what it remembers, how it finds
 * itself again, what it reads.
 */
#include "btree/cursor.h"

#include <string.h>

#include "btree/overflow.h"

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

int cursor_damaged(struct btree_cursor *cursor, const char *reason,
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

int cursor_page_enter(struct btree_cursor *cursor, uint32_t page_no,
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

int cursor_key_rest_remember(struct btree_cursor *cursor, const uint8_t *rest,
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

/* (btree/cursor C2) Stands before `slot` because the remembered entry is gone. */
static void slot_stand_before(struct btree_cursor *cursor, uint32_t page_no,
                              const struct node *node, uint32_t slot)
{
	page_remember(cursor, page_no, node);
	cursor->slot = slot;
	cursor->where = CURSOR_GONE;
}

int cursor_descend(struct btree_cursor *cursor, struct span key,
                   struct path *path, bool *found, struct err *err)
{
	struct probe probe = probe_of(key);

	if (cursor->tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_refuse(cursor->tree, key, err);
	return tree_descend(cursor->tree, &probe, path, found, err);
}

/* Whoever has moved, the key is sought again. (btree/cursor C1), (rule 13) */
int cursor_refresh(struct btree_cursor *cursor, struct err *err)
{
	struct path path;
	struct path_step *leaf = &path.at[0];
	bool found;
	int rc;

	rc = cursor_descend(cursor, span_of(cursor->key, cursor->key_size), &path,
	             &found, err);
	if (rc)
		return rc;
	if (!found) {
		slot_stand_before(cursor, leaf->page_no, &leaf->node,
		                  leaf->slot);
		return ERR_NONE;
	}
	rc = cursor_page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = cursor_slot_enter(cursor, leaf->slot, err);
	return rc;
}

static __attribute__((noinline)) int read_prepare(struct btree_cursor *cursor,
                                                  struct err *err)
{
	if (cursor->where == CURSOR_UNSET || cursor->where == CURSOR_END)
		return err_set(err, ERR_INVALID, "read cursor of",
		               cursor->tree->pager->name,
		               "it stands on no entry");
	return cursor_is_fresh(cursor) ? ERR_NONE : cursor_refresh(cursor, err);
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
	if (!cursor_cell(cursor, cursor->slot, &cell))
		return cursor_damaged(cursor, "a cell leaves the page", err);
	if (cell.overflow)
		return overflow_read(cursor->tree, &cell, &cursor->scratch,
		                     value, err);
	*value = span_of(cell.value, cell.value_size);
	return ERR_NONE;
}
