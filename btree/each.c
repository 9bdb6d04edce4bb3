/*
 * each.c - every entry of a tree, one after another.
 */
#include "btree/btree.h"

int btree_each(struct btree *tree,
               int (*each)(void *context, struct span key, struct span value,
                           struct err *err),
               void *context, struct breath *breath, struct err *err)
{
	struct btree_cursor walk;
	struct span key, value;
	bool on, deleted;
	int rc;

	btree_cursor_init(&walk, tree);
	rc = btree_cursor_first(&walk, &on, err);
	while (!rc && on) {
		rc = btree_cursor_read(&walk, &key, &value, &deleted, err);
		if (!rc)
			rc = each(context, key, value, err);
		if (!rc)
			rc = breathe(breath, err);
		if (!rc)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	return rc;
}
