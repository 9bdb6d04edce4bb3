/*
 * cursor_seek.c - a cursor is put somewhere.
 */
#include "btree/cursor.h"

static int enter_at(struct btree_cursor *cursor, struct path *path, bool *on,
                    struct err *err)
{
	struct path_step *leaf = &path->at[0];
	int rc;

	if (leaf->slot >= leaf->node.count)
		return cursor_next_leaf_enter(cursor, &leaf->node, false, on, err);
	rc = cursor_page_enter(cursor, leaf->page_no, &leaf->node, err);
	if (!rc)
		rc = cursor_slot_enter(cursor, leaf->slot, err);
	if (!rc)
		*on = true;
	return rc;
}

int btree_cursor_seek(struct btree_cursor *cursor, struct span key,
                      enum btree_seek how, bool *on, struct err *err)
{
	struct path path;
	bool found;
	int rc;

	cursor->run = 0;
	rc = cursor_descend(cursor, key, &path, &found, err);
	if (rc)
		return rc;
	switch (how) {
	case BTREE_SEEK_EQ:
		if (!found)
			return cursor_leave(cursor, on);
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_GE:
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_GT:
		path.at[0].slot += found;
		return enter_at(cursor, &path, on, err);
	case BTREE_SEEK_LE:
		path.at[0].slot += found;
		return cursor_previous_enter(cursor, &path, false, on, err);
	case BTREE_SEEK_LT:
		break;
	}
	return cursor_previous_enter(cursor, &path, false, on, err);
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
	struct path path;
	int rc = tree_descend_last(cursor->tree, &path, err);

	if (rc)
		return rc;
	return cursor_previous_enter(cursor, &path, false, on, err);
}

static int rowid_last_find(struct btree *tree, int64_t *rowid, bool *any,
                           struct err *err)
{
	struct btree_cursor cursor;
	struct span key;
	bool deleted;
	int rc;

	btree_cursor_init(&cursor, tree);
	rc = btree_cursor_last(&cursor, any, err);
	if (!rc && *any)
		rc = btree_cursor_read(&cursor, &key, NULL, &deleted, err);
	if (!rc && *any)
		*rowid = btree_rowid_of(key.data);
	btree_cursor_close(&cursor);
	return rc;
}

int btree_rowid_last(struct btree *tree, int64_t *rowid, bool *any,
                     struct err *err)
{
	uint8_t key[8];

	assert(tree->keys == BTREE_KEYS_ROWID);
	if (!tree_append_is_likely(tree))
		return rowid_last_find(tree, rowid, any, err);
	store_be64(key, tree->append_head);
	*rowid = btree_rowid_of(key);
	*any = true;
	return ERR_NONE;
}
