/*
 * generated.c - the values of generated columns, and what strict=1 admits.
 *
 * All generated columns are stored; VIRTUAL ones too, which nobody can tell apart.
 */
#include "vtab/table.h"

#include <string.h>

static int fail(struct table *table, uint32_t column, struct err *err)
{
	return err_set(err, ERR_INVALID, "compute generated column",
	               table->definition.columns[column].name, "%s",
	               sqlite3_errmsg(table->connection->db));
}

/* Compiles all expressions: at CREATE, so that what they lack is told there. */
int generated_prepare(struct table *table, struct err *err)
{
	const struct table_definition *definition = &table->definition;
	int rc = ERR_NONE;

	for (uint32_t i = 0; i < definition->generated_count && !rc; i++) {
		uint32_t column = definition->generated[i];

		if (!table->generated[column])
			rc = row_expression_prepare(
				table, definition->columns[column].generated_sql,
				&table->generated[column], err);
	}
	return rc;
}

static int compute(struct table *table, uint32_t column,
                   const struct value *values, int64_t rowid,
                   struct value *value, struct err *err)
{
	sqlite3_stmt *statement = table->generated[column];
	int rc = ERR_NONE;

	row_expression_bind(table, statement, values, rowid);
	if (sqlite3_step(statement) != SQLITE_ROW)
		rc = fail(table, column, err);
	else if (value_take(sqlite3_column_value(statement, 0),
	                    table->definition.columns[column].affinity, value))
		rc = err_set(err, ERR_NOMEM, "compute generated column",
		             table->definition.columns[column].name,
		             "no memory");
	if (!rc && value->bytes.size) {
		uint8_t *copy = arena_allocate(&table->row_arena,
		                               value->bytes.size);

		if (copy)
			memcpy(copy, value->bytes.data, value->bytes.size);
		else
			rc = err_set(err, ERR_NOMEM, "compute generated column",
			             table->definition.columns[column].name,
			             "no memory");
		value->bytes.data = copy;
	}
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc;
}

int generated_compute(struct table *table, struct value *values, int64_t rowid,
                      struct err *err)
{
	const struct table_definition *definition = &table->definition;
	int rc = generated_prepare(table, err);

	for (uint32_t i = 0; i < definition->generated_count; i++)
		values[definition->generated[i]] =
			(struct value){ .type = VALUE_NULL };
	for (uint32_t i = 0; i < definition->generated_count && !rc; i++) {
		uint32_t column = definition->generated[i];

		rc = compute(table, column, values, rowid, &values[column], err);
	}
	return rc;
}

bool values_same(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_NULL:
		return true;
	case VALUE_INTEGER:
	case VALUE_VECTOR:
		return a->integer == b->integer;
	case VALUE_REAL:
		return memcmp(&a->real, &b->real, sizeof a->real) == 0;
	case VALUE_TEXT:
	case VALUE_BLOB:
		break;
	}
	return a->bytes.size == b->bytes.size &&
	       (!a->bytes.size ||
	        memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0);
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
