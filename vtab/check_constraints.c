/*
 * check_constraints.c - what a row has to satisfy by itself: NOT NULL, types, CHECK.
 *
 * The same as SQLite's integrity_check asks of the rows of its own tables: in a column
 * with TEXT affinity no number, in one with a numeric affinity no text that is a number,
 * in a strict table nothing but the declared type.
 *
 * A CHECK whose function this connection does not have is told once.
 */
#include "vtab/check.h"

#include <stdarg.h>
#include <stdio.h>

void row_rules_open(struct row_rules *rules, struct table *table,
                    void (*problem)(void *context, const char *sentence),
                    void *context)
{
	*rules = (struct row_rules){ .table = table, .problem = problem,
		                     .context = context };
}

void row_rules_close(struct row_rules *rules)
{
	heap_free(rules->table->connection->heap, rules->skipped);
	sqlite3_finalize(rules->number);
}

void row_rules_tell(const struct row_rules *rules, const struct table_index *index,
                    const char *format, ...)
{
	char what[300], text[ERR_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	snprintf(text, sizeof text, "check table %s%s%s: %s",
	         name_shorten(rules->table->name).text, index ? ", index " : "",
	         index ? name_shorten(index->definition->name).text : "", what);
	rules->problem(rules->context, text);
}

/* --- columns ---------------------------------------------------------------------- */

/* Would the column's affinity have made a number of this text? */
static int text_is_number(struct row_rules *rules, const struct value *value,
                          bool *is, struct err *err)
{
	sqlite3_value *text;

	if (!rules->number) {
		int rc = constant_expression_prepare(rules->table, "?1",
		                                     &rules->number, err);

		if (rc)
			return rc;
	}
	sqlite3_bind_text64(rules->number, 1, (const char *)value->bytes.data,
	                    value->bytes.size, SQLITE_STATIC, SQLITE_UTF8);
	if (sqlite3_step(rules->number) != SQLITE_ROW) {
		int code = sqlite3_reset(rules->number);

		return err_set(err, err_of_sqlite(code), "check table",
		               name_shorten(rules->table->name).text, "%s",
		               sqlite3_errmsg(rules->table->connection->db));
	}
	text = sqlite3_column_value(rules->number, 0);
	*is = sqlite3_value_numeric_type(text) != SQLITE_TEXT;
	sqlite3_reset(rules->number);
	sqlite3_clear_bindings(rules->number);
	return ERR_NONE;
}

static int check_affinity(struct row_rules *rules, int64_t rowid,
                          const struct column_definition *column,
                          const struct value *value, struct err *err)
{
	bool number = false;
	int rc = ERR_NONE;

	if (column->affinity == AFFINITY_TEXT &&
	    (value->type == VALUE_INTEGER || value->type == VALUE_REAL))
		row_rules_tell(rules, NULL, "row %lld has a number in column %s, which is %s",
		               (long long)rowid, name_shorten(column->name).text,
		               name_shorten(column->type).text);
	if (column->affinity >= AFFINITY_NUMERIC && value->type == VALUE_TEXT)
		rc = text_is_number(rules, value, &number, err);
	if (!rc && number)
		row_rules_tell(rules, NULL, "row %lld has a number as text in column %s, which is %s",
		               (long long)rowid, name_shorten(column->name).text,
		               name_shorten(column->type).text);
	return rc;
}

static int check_column(struct row_rules *rules, int64_t rowid, uint32_t number,
                        struct err *err)
{
	const struct table_definition *definition = &rules->table->definition;
	const struct column_definition *column = &definition->columns[number];
	const struct value *value = &rules->table->values[number];
	const char *given, *wanted;

	if (column->not_null && value->type == VALUE_NULL)
		row_rules_tell(rules, NULL, "row %lld has NULL in column %s, which is NOT NULL",
		               (long long)rowid, name_shorten(column->name).text);
	if (column->vector)
		return ERR_NONE;
	if (!definition->strict)
		return check_affinity(rules, rowid, column, value, err);
	if (!strict_admits(column, value, &given, &wanted))
		row_rules_tell(rules, NULL, "row %lld has %s in column %s, which is %s",
		               (long long)rowid, given,
		               name_shorten(column->name).text, wanted);
	return ERR_NONE;
}

/* --- CHECK ------------------------------------------------------------------------ */

/* Nobody computes it for this connection: said once. */
static int skip(struct row_rules *rules, uint32_t number, struct err *err)
{
	struct table *table = rules->table;

	if (!rules->skipped)
		rules->skipped = heap_zeroed(table->connection->heap,
		                             table->definition.check_count);
	if (!rules->skipped)
		return table_no_memory(table, "check table", err);
	rules->skipped[number] = true;
	rules->problem(rules->context, err->text);
	return ERR_NONE;
}

static int check_expression(struct row_rules *rules, int64_t rowid,
                            uint32_t number, struct err *err)
{
	struct table *table = rules->table;
	const struct check_definition *check = &table->definition.checks[number];
	bool holds = true;
	int rc;

	if (rules->skipped && rules->skipped[number])
		return ERR_NONE;
	rc = row_check(table, number, table->values, rowid, &holds, err);
	if (rc == ERR_INVALID)
		return skip(rules, number, err);
	if (!rc && !holds)
		row_rules_tell(rules, NULL, "row %lld does not satisfy CHECK %.200s",
		               (long long)rowid, check->name ? check->name : check->sql);
	return rc;
}

int row_rules_check(struct row_rules *rules, int64_t rowid, bool *changed,
                    struct err *err)
{
	const struct table *table = rules->table;
	const struct table_definition *definition = &table->definition;
	uint64_t epoch = *table->pager->view_epoch, edits = table->pager->edits;
	int rc = ERR_NONE;

	*changed = false;
	for (uint32_t i = 0; !rc && i < definition->column_count; i++)
		if ((int)i != definition->rowid_column)
			rc = check_column(rules, rowid, i, err);
	for (uint32_t i = 0; !rc && !*changed && i < definition->check_count;
	     i++) {
		rc = check_expression(rules, rowid, i, err);
		*changed = epoch != *table->pager->view_epoch ||
		           edits != table->pager->edits;
	}
	return rc;
}
