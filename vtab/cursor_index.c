/*
 * cursor_index.c - walks the entries of an index between two keys.
 *
 * Entries with values too long for a key come in no known order among those that
 * agree as far as keys go. Where SQLite relies on the order such entries are taken
 * together, as a group that is sorted by its rows (long_keys.c); the walk stands
 * on the entry behind the group meanwhile.
 */
#include "vtab/cursor.h"

static bool in_gap(const struct table_cursor *cursor, struct span key)
{
	return span_compare(key, key_bytes(&cursor->gap_from)) >= 0 &&
	       span_compare(key, key_bytes(&cursor->gap_to)) < 0;
}

static int step_over_gap(struct table_cursor *cursor, bool *on, struct span *key,
                         struct span *value, struct err *err)
{
	bool deleted;
	int rc = cursor->descending
	                 ? btree_cursor_seek(&cursor->walk,
	                                     key_bytes(&cursor->gap_from),
	                                     BTREE_SEEK_LT, on, err)
	                 : btree_cursor_seek(&cursor->walk,
	                                     key_bytes(&cursor->gap_to),
	                                     BTREE_SEEK_GE, on, err);

	if (rc || !*on)
		return rc;
	return btree_cursor_read(&cursor->walk, key, value, &deleted, err);
}

/* The walk is on an entry, if `on`: is it still within the bounds? */
static int stand(struct table_cursor *cursor, bool on, struct err *err)
{
	struct span key, value, bound;
	bool deleted;
	int rc;

	cursor->row_known = false;
	cursor->eof = !on;
	if (!on)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key, &value, &deleted, err);
	if (!rc && __builtin_expect(cursor->has_gap, 0) && in_gap(cursor, key))
		rc = step_over_gap(cursor, &on, &key, &value, err);
	cursor->eof = !on;
	if (rc || !on)
		return rc;
	if (cursor->descending && cursor->low.size) {
		bound = key_bytes(&cursor->low);
		cursor->eof = span_compare(key, bound) < 0;
	} else if (!cursor->descending && cursor->high.size) {
		bound = key_bytes(&cursor->high);
		cursor->eof = span_compare(key, bound) >= 0;
	}
	cursor->rowid = index_rowid(key, value);
	cursor->key_size = key.size;
	return ERR_NONE;
}

int cursor_index_walk(struct table_cursor *cursor, struct err *err)
{
	const struct key_buffer *from = cursor->descending ? &cursor->high
	                                                   : &cursor->low;
	bool on = false;
	int rc;

	btree_cursor_init(&cursor->walk, &cursor->index->tree);
	cursor->walk_open = true;
	if (!from->size)
		rc = cursor->descending
		             ? btree_cursor_last(&cursor->walk, &on, err)
		             : btree_cursor_first(&cursor->walk, &on, err);
	else
		rc = btree_cursor_seek(&cursor->walk,
		                       key_bytes(from),
		                       cursor->descending ? BTREE_SEEK_LT
		                                          : BTREE_SEEK_GE,
		                       &on, err);
	return rc ? rc : stand(cursor, on, err);
}

int cursor_index_step(struct table_cursor *cursor, struct err *err)
{
	bool on;
	int rc = cursor->descending
	                 ? btree_cursor_previous(&cursor->walk, &on, err)
	                 : btree_cursor_next(&cursor->walk, &on, err);

	return rc ? rc : stand(cursor, on, err);
}

/* --- keys too long to order their rows ------------------------------------------- */

static void group_stand(struct table_cursor *cursor)
{
	struct long_group *group = &cursor->group;
	size_t at = group->at++;

	cursor->row_known = false;
	cursor->rowid = group->rows[cursor->descending ? group->count - 1 - at
	                                               : at].rowid;
}

/* Takes the entries that agree as far as keys go, and orders them by their rows. The
 * walk ends up on the entry behind them. */
static int group_gather(struct table_cursor *cursor, struct err *err)
{
	struct long_group *group = &cursor->group;
	struct span key;
	bool deleted;
	int rc = btree_cursor_read(&cursor->walk, &key, NULL, &deleted, err);

	if (!rc)
		rc = long_group_begin(group, table_of(cursor), cursor->index,
		                      key, cursor->equal_count,
		                      cursor->prefix_size, err);
	if (rc || !group->prefix.size)
		return rc;
	while (!rc && !cursor->eof && long_group_has(group, key)) {
		rc = long_group_add(group, cursor->rowid, err);
		if (!rc)
			rc = cursor_breathe(cursor, err);
		if (!rc)
			rc = cursor_index_step(cursor, err);
		if (!rc && !cursor->eof)
			rc = btree_cursor_read(&cursor->walk, &key, NULL,
			                       &deleted, err);
	}
	if (!rc)
		rc = long_group_sort(group, cursor->equal_count, err);
	if (rc)
		return rc;
	group->open = true;
	group->last = cursor->eof;
	cursor->eof = false;
	group_stand(cursor);
	return ERR_NONE;
}

/* An entry as it lies is the next one in order, but for those with long keys. */
static int show(struct table_cursor *cursor, struct err *err)
{
	if (__builtin_expect(cursor->key_size < KEY_CUT_KEY_SIZE_LEAST, 1) ||
	    cursor->eof || !cursor->ordered)
		return ERR_NONE;
	return group_gather(cursor, err);
}

static int group_next(struct table_cursor *cursor, struct err *err)
{
	struct long_group *group = &cursor->group;
	struct span key;
	bool deleted;
	int rc;

	if (group->at < group->count) {
		group_stand(cursor);
		return ERR_NONE;
	}
	group->open = false;
	cursor->eof = group->last;
	if (cursor->eof)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key, NULL, &deleted, err);
	if (!rc)
		rc = deleted ? cursor_index_step(cursor, err)
		             : stand(cursor, true, err);
	return rc ? rc : show(cursor, err);
}

int cursor_index_start(struct table_cursor *cursor, struct err *err)
{
	int rc = cursor_index_walk(cursor, err);

	return rc ? rc : show(cursor, err);
}

int cursor_index_next(struct table_cursor *cursor, struct err *err)
{
	int rc;

	if (cursor->group.open)
		return group_next(cursor, err);
	rc = cursor_index_step(cursor, err);
	return rc ? rc : show(cursor, err);
}
