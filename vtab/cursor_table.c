/*
 * cursor_table.c - walks the rows of a table in the order of their rowids.
 *
 * Conditions on the rowid become two whole numbers, the bounds of the walk, both
 * part of it: SQLite compares a rowid with any number, so a bound may be a real.
 */
#include "vtab/cursor.h"

#include <math.h>

/* --- bounds ---------------------------------------------------------------------- */

static bool bound_by_whole(int64_t whole, char letter, int64_t *low,
                           int64_t *high)
{
	switch (letter) {
	case ARG_GT:
		if (whole == INT64_MAX)
			return false;
		whole++;
		/* fall through */
	case ARG_GE:
		*low = whole > *low ? whole : *low;
		return true;
	case ARG_LT:
		if (whole == INT64_MIN)
			return false;
		whole--;
		/* fall through */
	case ARG_LE:
		*high = whole < *high ? whole : *high;
		return true;
	default:
		*low = *high = whole;
		return true;
	}
}

static bool bound_by_real(double real, char letter, int64_t *low, int64_t *high)
{
	bool from_below = letter == ARG_GE || letter == ARG_GT;
	bool from_above = letter == ARG_LE || letter == ARG_LT;

	/* Outside the numbers that a rowid can be it bounds all or nothing. */
	if (real < -9223372036854775808.0)
		return from_below;
	if (real >= 9223372036854775808.0)
		return from_above;
	if (real == floor(real))
		return bound_by_whole((int64_t)real, letter, low, high);
	if (from_below)
		return bound_by_whole((int64_t)ceil(real), ARG_GE, low, high);
	return from_above &&
	       bound_by_whole((int64_t)floor(real), ARG_LE, low, high);
}

bool cursor_rowid_bound(sqlite3_value *from, char letter, int64_t *low,
                        int64_t *high)
{
	if (sqlite3_value_numeric_type(from) == SQLITE_INTEGER)
		return bound_by_whole(sqlite3_value_int64(from), letter, low,
		                      high);
	switch (sqlite3_value_type(from)) {
	case SQLITE_NULL:
		return false;
	case SQLITE_FLOAT:
		return bound_by_real(sqlite3_value_double(from), letter, low,
		                     high);
	default: /* text and blobs sort behind every number */
		return letter == ARG_LT || letter == ARG_LE;
	}
}

/* --- walking --------------------------------------------------------------------- */

/* The walk is on a row, if `on`: is it still within the bounds? */
static int stand(struct table_cursor *cursor, bool on, struct err *err)
{
	struct span key, row;
	bool deleted;
	int rc;

	cursor->row_known = false;
	cursor->eof = !on;
	if (!on)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key,
	                       cursor->rows_read ? &row : NULL, &deleted, err);
	if (rc)
		return rc;
	cursor->rowid = btree_rowid_of(key.data);
	if (cursor->rows_read)
		cursor_row_note(cursor, row, !deleted);
	if (cursor->descending ? cursor->rowid < cursor->rowid_low
	                       : cursor->rowid > cursor->rowid_high)
		cursor->eof = true;
	return ERR_NONE;
}

int cursor_table_walk(struct table_cursor *cursor, struct err *err)
{
	struct table *table = table_of(cursor);
	uint8_t key[8];
	bool on = false;
	int rc;

	if (cursor->rowid_low > cursor->rowid_high) {
		cursor->eof = true;
		return ERR_NONE;
	}
	btree_cursor_init(&cursor->walk, &table->tree);
	cursor->walk_open = true;
	btree_rowid_key(key, cursor->descending ? cursor->rowid_high
	                                        : cursor->rowid_low);
	if (cursor->descending)
		rc = btree_cursor_seek(&cursor->walk, span_of(key, 8),
		                       BTREE_SEEK_LE, &on, err);
	else if (cursor->rowid_low == INT64_MIN)
		rc = btree_cursor_first(&cursor->walk, &on, err);
	else
		rc = btree_cursor_seek(&cursor->walk, span_of(key, 8),
		                       BTREE_SEEK_GE, &on, err);
	return rc ? rc : stand(cursor, on, err);
}

int cursor_table_step(struct table_cursor *cursor, struct err *err)
{
	bool on = false;
	int rc = cursor->descending
	                 ? btree_cursor_previous(&cursor->walk, &on, err)
	                 : btree_cursor_next(&cursor->walk, &on, err);

	return rc ? rc : stand(cursor, on, err);
}

int cursor_table_next(struct table_cursor *cursor, struct err *err)
{
	struct span row;

	if (cursor->descending || !cursor->rows_read ||
	    !btree_cursor_step(&cursor->walk, &cursor->rowid, &row)) {
		int rc = cursor_table_step(cursor, err);

		home_relieve(table_of(cursor)->home);
		return rc;
	}
	cursor_row_note(cursor, row, true);
	cursor->eof = cursor->rowid > cursor->rowid_high;
	return ERR_NONE;
}

int cursor_table_start(struct table_cursor *cursor, const char *letters,
                       int argc, sqlite3_value **argv, struct err *err)
{
	bool any = true;
	int rc;

	cursor->rowid_low = INT64_MIN;
	cursor->rowid_high = INT64_MAX;
	if (cursor->kind == PLAN_ROWID &&
	    sqlite3_value_type(argv[0]) == SQLITE_INTEGER) {
		cursor->rowid = sqlite3_value_int64(argv[0]);
		goto look;
	}
	for (int i = 0; any && i < argc; i++)
		any = cursor_rowid_bound(argv[i], letters[i], &cursor->rowid_low,
		                         &cursor->rowid_high);
	if (!any)
		return ERR_NONE;
	if (cursor->kind != PLAN_ROWID)
		return cursor_table_walk(cursor, err);
	cursor->rowid = cursor->rowid_low;

look:
	rc = cursor_row_load(cursor, err);
	cursor->eof = rc || cursor->empty_row;
	return rc;
}
