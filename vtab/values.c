/*
 * values.c - SQLite's values in and out, as columns take them.
 */
#include "vtab/table.h"

#include <math.h>
#include <string.h>

enum { TEXT_SHORT_MAX = 200 };

/* As it lies: sqlite3_value_text() would first copy a text that has no NUL behind it,
 * as bound ones and the results of functions have none. After an error NULL. */
static struct span text_take(sqlite3_value *from)
{
	int size = sqlite3_value_bytes(from);
	const void *text = size ? sqlite3_value_blob(from)
	                        : sqlite3_value_text(from);

	/* Nothing may also be what a failed conversion from UTF-16 has. */
	return span_of(text, (size_t)(size ? size : sqlite3_value_bytes(from)));
}

static void take_plain(sqlite3_value *from, struct value *value)
{
	switch (sqlite3_value_type(from)) {
	case SQLITE_INTEGER:
		value->type = VALUE_INTEGER;
		value->integer = sqlite3_value_int64(from);
		break;
	case SQLITE_FLOAT:
		value->type = VALUE_REAL;
		value->real = sqlite3_value_double(from);
		break;
	case SQLITE_TEXT:
		value->type = VALUE_TEXT;
		value->bytes = text_take(from);
		break;
	case SQLITE_BLOB:
		value->type = VALUE_BLOB;
		value->bytes.data = sqlite3_value_blob(from);
		value->bytes.size = (size_t)sqlite3_value_bytes(from);
		break;
	default:
		value->type = VALUE_NULL;
	}
}

/* A real that is a whole number becomes an integer, as SQLite stores it under
 * INTEGER and NUMERIC affinity. */
static void real_to_integer(struct value *value)
{
	double real = value->real;

	if (real <= -9223372036854775808.0 || real >= 9223372036854775807.0 ||
	    real != floor(real))
		return;
	if ((double)(int64_t)real != real)
		return;
	value->type = VALUE_INTEGER;
	value->integer = (int64_t)real;
}

int value_take(sqlite3_value *from, enum affinity affinity,
               struct value *value)
{
	int type = sqlite3_value_type(from);

	*value = (struct value){ .type = VALUE_NULL };
	if (type == SQLITE_INTEGER && affinity != AFFINITY_TEXT &&
	    affinity != AFFINITY_REAL) {
		value->type = VALUE_INTEGER;
		value->integer = sqlite3_value_int64(from);
		return ERR_NONE;
	}
	if (affinity == AFFINITY_TEXT &&
	    (type == SQLITE_INTEGER || type == SQLITE_FLOAT)) {
		value->type = VALUE_TEXT;
		value->bytes = text_take(from);
		return value->bytes.data ? ERR_NONE : ERR_NOMEM;
	}
	if (affinity >= AFFINITY_NUMERIC && type == SQLITE_TEXT)
		sqlite3_value_numeric_type(from);
	take_plain(from, value);
	if (affinity == AFFINITY_REAL && value->type == VALUE_INTEGER) {
		value->real = (double)value->integer;
		value->type = VALUE_REAL;
	} else if (affinity == AFFINITY_REAL && value->type == VALUE_REAL) {
		value->real += 0.0; /* SQLite keeps no -0.0 in a REAL column */
	} else if ((affinity == AFFINITY_INTEGER ||
	            affinity == AFFINITY_NUMERIC) &&
	           value->type == VALUE_REAL) {
		real_to_integer(value);
	}
	if ((value->type == VALUE_TEXT ||
	     (value->type == VALUE_BLOB && value->bytes.size)) &&
	    !value->bytes.data)
		return ERR_NOMEM;
	return ERR_NONE;
}

/* A comparison may do something to the column's values: a number from a numeric
 * column turns texts of a column without numeric affinity into numbers, as many as
 * look like one; a number that is no column's becomes a text itself if the column
 * has TEXT affinity. Which of the two is not told. Text against a numeric column
 * becomes a number. */
void value_probe(sqlite3_value *from, enum affinity affinity,
                 struct value *value, bool *loose)
{
	int type = sqlite3_value_type(from);

	*loose = affinity < AFFINITY_NUMERIC &&
	         (type == SQLITE_INTEGER || type == SQLITE_FLOAT);
	if (affinity >= AFFINITY_NUMERIC && type == SQLITE_TEXT)
		sqlite3_value_numeric_type(from);
	*value = (struct value){ .type = VALUE_NULL };
	take_plain(from, value);
}

void value_result(sqlite3_context *context, const struct value *value)
{
	switch (value->type) {
	case VALUE_INTEGER:
		sqlite3_result_int64(context, value->integer);
		break;
	case VALUE_REAL:
		sqlite3_result_double(context, value->real);
		break;
	case VALUE_TEXT:
		/* Rows have a NUL behind each text. Told so, SQLite need not
		 * make room for one later; but then it must be the first. */
		if (value->bytes.size <= TEXT_SHORT_MAX &&
		    !memchr(value->bytes.data, 0, value->bytes.size)) {
			sqlite3_result_text(context,
			                    (const char *)value->bytes.data, -1,
			                    SQLITE_TRANSIENT);
			break;
		}
		sqlite3_result_text64(context, (const char *)value->bytes.data,
		                      value->bytes.size, SQLITE_TRANSIENT,
		                      SQLITE_UTF8);
		break;
	case VALUE_BLOB:
		if (value->bytes.size)
			sqlite3_result_blob64(context, value->bytes.data,
			                      value->bytes.size,
			                      SQLITE_TRANSIENT);
		else
			sqlite3_result_zeroblob(context, 0);
		break;
	default:
		sqlite3_result_null(context);
	}
}

bool strict_admits(const struct column_definition *column,
                   const struct value *value, const char **given,
                   const char **wanted)
{
	static const char *const types[] = { "", "ANY", "BLOB", "INT", "INTEGER",
		                             "REAL", "TEXT" };
	static const char *const kinds[] = { "NULL", "INT", "REAL", "TEXT", "BLOB",
		                             "VECTOR" };

	*given = kinds[value->type];
	*wanted = types[column->strict];
	if (value->type == VALUE_NULL)
		return true;
	switch (column->strict) {
	case STRICT_BLOB:
		return value->type == VALUE_BLOB;
	case STRICT_INT:
	case STRICT_INTEGER:
		return value->type == VALUE_INTEGER;
	case STRICT_REAL:
		return value->type == VALUE_REAL;
	case STRICT_TEXT:
		return value->type == VALUE_TEXT;
	case STRICT_NONE:
	case STRICT_ANY:
		break;
	}
	return true;
}
