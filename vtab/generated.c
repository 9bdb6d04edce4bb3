/*
 * generated.c - the values of generated columns.
 *
 * All generated columns are stored; VIRTUAL ones too, which nobody can tell apart.
 */
#include "vtab/table.h"

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
