/*
 * cursor_loose.c - `column = number` where texts may look like that number.
 *
 * SQLite finds 5 equal to '5' and '5.0' when the column has no affinity to tell
 * them apart, but in an index texts lie behind all numbers. So the entries of both
 * kinds are gathered, for SQLite to compare, and put in the order in which the
 * columns behind this one would have them.
 */
#include "vtab/cursor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The range of one column's texts that could be the number: they begin with a space,
 * a sign, a point or a digit; infinity becomes the text 'Inf'. */
static int bounds_of_numeric_texts(struct table_cursor *cursor,
                                   struct span prefix,
                                   const struct value *number,
                                   const struct key_column *column,
                                   struct err *err)
{
	bool infinite = number->type == VALUE_REAL && isinf(number->real);
	const char *end = infinite ? "Inf" : ":";
	struct value least = { .type = VALUE_TEXT,
	                       .bytes = span_of((const uint8_t *)"\t", 1) };
	struct value above = { .type = VALUE_TEXT,
	                       .bytes = span_of((const uint8_t *)end,
	                                        strlen(end)) };
	int rc = key_buffer_set(&cursor->low, prefix, err);

	if (!rc)
		rc = key_buffer_set(&cursor->high, prefix, err);
	if (!rc)
		rc = key_append(&cursor->low,
		                column->descending ? &above : &least, column,
		                err);
	if (!rc)
		rc = key_append(&cursor->high,
		                column->descending ? &least : &above, column,
		                err);
	return rc ? rc : key_to_prefix_end(&cursor->high, err);
}

int cursor_loose_exists(struct table_cursor *cursor,
                        struct span prefix, const struct value *number,
                        const struct key_column *column, bool *exists,
                        struct err *err)
{
	bool descending = cursor->descending;
	int rc = bounds_of_numeric_texts(cursor, prefix, number, column,
	                                 err);

	cursor->descending = false;
	if (!rc)
		rc = cursor_index_walk(cursor, err);
	*exists = !rc && !cursor->eof;
	cursor_walk_close(cursor);
	cursor->eof = true;
	cursor->descending = descending;
	return rc;
}

/* What follows the equal columns in a key. */
static int rest_of(const struct table_index *index, uint32_t equal_count,
                   struct span key, struct span *rest, struct err *err)
{
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < equal_count; i++) {
		size_t size = 0;

		rc = key_column_skip(key, index->columns[i].descending, &size,
		                     err);
		key = span_of(key.data + size, key.size - size);
	}
	*rest = key;
	return rc;
}

static int scattered_add(struct table_cursor *cursor, struct span rest,
                         int64_t rowid, struct err *err)
{
	size_t room = cursor->scattered_room ? cursor->scattered_room * 2 : 64;
	struct scattered *larger;

	if (cursor->scattered_count == cursor->scattered_room) {
		larger = heap_resize(table_of(cursor)->connection->heap,
		                     cursor->scattered, room * sizeof *larger);
		if (!larger)
			goto no_memory;
		cursor->scattered = larger;
		cursor->scattered_room = room;
	}
	if (!arena_keep(&cursor->scattered_keys, &rest))
		goto no_memory;
	cursor->scattered[cursor->scattered_count++] = (struct scattered){
		.rest = rest, .rowid = rowid };
	return ERR_NONE;

no_memory:
	return err_set(err, ERR_NOMEM, "search", cursor->index->pager->name,
	               "%zu entries", room);
}

static int gather_entry(struct table_cursor *cursor, uint32_t equal_count,
                        struct err *err)
{
	struct span key, value, rest;
	bool deleted;
	int rc = btree_cursor_read(&cursor->walk, &key, &value, &deleted, err);

	if (rc)
		return rc;
	if (key.size > cursor->key_size_max)
		cursor->key_size_max = key.size;
	rc = rest_of(cursor->index, equal_count, key, &rest, err);
	return rc ? rc : scattered_add(cursor, rest, index_rowid(key, value),
	                               err);
}

/* Takes the entries between the bounds. */
static int gather(struct table_cursor *cursor, uint32_t equal_count,
                  struct err *err)
{
	bool descending = cursor->descending;
	int rc;

	cursor->descending = false;
	rc = cursor_index_walk(cursor, err);
	while (!rc && !cursor->eof) {
		rc = gather_entry(cursor, equal_count, err);
		if (!rc)
			rc = cursor_breathe(cursor, err);
		if (!rc)
			rc = cursor_index_step(cursor, err);
	}
	cursor_walk_close(cursor);
	cursor->descending = descending;
	return rc;
}

static int by_rest(const void *left, const void *right)
{
	const struct scattered *a = left, *b = right;

	return span_compare(a->rest, b->rest);
}

/* Gathered entries with long keys are ordered by their rows, all of them. */
static int order_long(struct table_cursor *cursor, uint32_t equal_count,
                      struct err *err)
{
	struct long_group *group = &cursor->group;
	int rc;

	if (cursor->key_size_max < KEY_CUT_KEY_SIZE_LEAST || !cursor->ordered)
		return ERR_NONE;
	rc = long_group_begin(group, table_of(cursor), cursor->index,
	                      span_of(NULL, 0), 0, 0, err);
	for (size_t i = 0; !rc && i < cursor->scattered_count; i++)
		rc = long_group_add(group, cursor->scattered[i].rowid, err);
	if (!rc)
		rc = long_group_sort(group, equal_count, err);
	for (size_t i = 0; !rc && i < cursor->scattered_count; i++)
		cursor->scattered[i].rowid = group->rows[i].rowid;
	return rc;
}

int cursor_loose_gather(struct table_cursor *cursor, uint32_t equal_count,
                        struct span prefix, const struct value *number,
                        const struct key_column *column, struct err *err)
{
	struct key_buffer work;
	int rc;

	cursor->gathered = true;
	cursor->key_size_max = 0;
	cursor->scattered_count = cursor->scattered_at = 0;
	rc = gather(cursor, equal_count, err); /* the texts */
	key_buffer_init(&work, table_of(cursor)->connection->heap);
	if (!rc)
		rc = key_buffer_set(&work, prefix, err);
	if (!rc)
		rc = key_append(&work, number, column, err);
	if (!rc)
		rc = cursor_bounds_of_prefix(cursor, key_bytes(&work), err);
	if (!rc)
		rc = gather(cursor, equal_count, err);
	key_buffer_close(&work);
	if (!rc && cursor->scattered_count)
		qsort(cursor->scattered, cursor->scattered_count,
		      sizeof *cursor->scattered, by_rest);
	return rc ? rc : order_long(cursor, equal_count, err);
}

void cursor_loose_next(struct table_cursor *cursor)
{
	size_t at = cursor->scattered_at++, count = cursor->scattered_count;

	cursor->row_known = false;
	cursor->eof = at >= count;
	if (!cursor->eof)
		cursor->rowid = cursor->scattered[cursor->descending
		                                          ? count - 1 - at : at]
		                        .rowid;
}
