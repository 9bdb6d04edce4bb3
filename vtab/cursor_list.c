/*
 * cursor_list.c - an index walked for each value of `column IN (...)`.
 *
 * The walk of one value is that of an equality; at its end the next value's begins.
 * Rows come once: different values have different entries, and texts that could
 * equal numbers are taken with the first number only. Where numbers and texts are
 * mixed a row may equal several, so the list does not narrow: SQLite, which tests
 * every row by the whole condition, finds its rows among those before it.
 */
#include "vtab/cursor.h"

int cursor_equal_start(struct table_cursor *cursor, uint32_t equal_count,
                       const char *letters, int argc, sqlite3_value **argv,
                       struct err *err)
{
	bool empty;
	int rc = cursor_bounds_take(cursor, equal_count, letters, argc, argv,
	                            &empty, err);

	if (rc || empty)
		return rc;
	if (!cursor->gathered)
		return cursor_index_start(cursor, err);
	cursor_loose_next(cursor);
	return ERR_NONE;
}

int cursor_list_next(struct table_cursor *cursor, struct err *err)
{
	struct in_values *in = &cursor->in;
	int rc = ERR_NONE;

	while (!rc && cursor->eof && in_values_next(in)) {
		cursor_walk_end(cursor);
		rc = cursor_equal_start(cursor, cursor->in_equal_count,
		                        cursor->in_letters, in->argc, in->argv,
		                        err);
	}
	return rc;
}

int cursor_list_start(struct table_cursor *cursor, uint32_t equal_count,
                      const char *letters, int argc, sqlite3_value **argv,
                      int which, struct err *err)
{
	int rc = in_values_take(&cursor->in, argc, argv, which, err);

	cursor->in_letters = letters;
	cursor->in_equal_count = equal_count;
	if (rc || !cursor->in.mixed)
		return rc ? rc : cursor_list_next(cursor, err);
	in_values_drop(&cursor->in);
	return cursor_equal_start(cursor, (uint32_t)which, letters, which, argv,
	                          err);
}
