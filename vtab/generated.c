/*
 * generated.c - the values of generated columns, and what strict=1 admits.
 *
 * All generated columns are stored; VIRTUAL ones too, which nobody can tell apart.
 */
#include "vtab/table.h"

#include <string.h>

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

		row_expression_bind(table, table->generated[column], values,
		                    rowid);
		rc = row_expression_value(table, table->generated[column],
		                          column, "compute generated column",
		                          &values[column], err);
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
