/*
 * row_expression.c - an expression of SQL over the columns of one row.
 *
 * Defaults, CHECKs and generated columns are computed by SQLite itself, in statements
 * that stay prepared with the table.
 *
 * (E1) An expression of a schema calls no function that is for direct statements only,
 *      and, where schemas are not trusted, none but innocuous ones; as SQLite has it
 *      for its own tables, those in temp excepted. From 3.53 on SQLite sees to that
 *      itself when it is told where the text comes from; before, it is looked up.
 * (E2) While one is computed the table is neither written nor dropped, which a function
 *      in it might do: the statements that compute are the table's.
 */
#include "vtab/table.h"

#ifndef SQLITE_PREPARE_FROM_DDL
#define SQLITE_PREPARE_FROM_DDL 0x20 /* older ones take no notice */
#endif

enum {
	KNOWS_FROM_DDL = 3053000,
	FUNCTION_NAME = 0, FUNCTION_FLAGS = 5, /* of PRAGMA function_list */
};

static bool schema_is_trusted(sqlite3 *db)
{
	int trusted = 1;

	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1, &trusted);
	return trusted;
}

static bool is_of_schema(const struct table *table)
{
	return sqlite3_stricmp(table->schema, "temp") != 0;
}

/* The row of PRAGMA function_list is of a function that the expression may not call. */
static bool is_unsafe_call(sqlite3_stmt *functions, const char *expression,
                           bool trusted)
{
	int flags = sqlite3_column_int(functions, FUNCTION_FLAGS);

	return (flags & SQLITE_DIRECTONLY ||
	        (!trusted && !(flags & SQLITE_INNOCUOUS))) &&
	       expression_calls(expression, (const char *)sqlite3_column_text(
						    functions, FUNCTION_NAME));
}

/* (E1) Where an authorizer forbids to ask, it has been asked for each function, too. */
static int refuse_unsafe(const struct table *table, const char *expression,
                         struct err *err)
{
	sqlite3 *db = table->connection->db;
	bool trusted = schema_is_trusted(db);
	sqlite3_stmt *functions = NULL;
	int rc;

	if (sqlite3_libversion_number() >= KNOWS_FROM_DDL ||
	    !is_of_schema(table) || !expression_calls(expression, NULL))
		return ERR_NONE;
	sqlite3_prepare_v2(db, "PRAGMA function_list", -1, &functions, NULL);
	while (functions && sqlite3_step(functions) == SQLITE_ROW)
		if (is_unsafe_call(functions, expression, trusted)) {
			err_set(err, ERR_INVALID, "evaluate for table",
			        name_shorten(table->name).text,
			        "unsafe use of %s()",
			        sqlite3_column_text(functions, FUNCTION_NAME));
			sqlite3_finalize(functions);
			return ERR_INVALID;
		}
	rc = sqlite3_errcode(db);
	sqlite3_finalize(functions);
	if (rc == SQLITE_NOMEM || rc == SQLITE_INTERRUPT)
		return err_set(err, err_of_sqlite(rc), "evaluate for table",
		               name_shorten(table->name).text, "%s",
		               sqlite3_errstr(rc));
	return ERR_NONE;
}

static int prepare(struct table *table, sqlite3_stmt **statement,
                   const char *expression, const char *sql, struct err *err)
{
	sqlite3 *db = table->connection->db;
	unsigned flags = SQLITE_PREPARE_PERSISTENT;
	int rc;

	if (!sql)
		return table_no_memory(table, "write to table", err);
	rc = refuse_unsafe(table, expression, err);
	if (rc)
		return rc;
	if (is_of_schema(table))
		flags |= SQLITE_PREPARE_FROM_DDL;
	if (sqlite3_prepare_v3(db, sql, -1, flags, statement, NULL))
		return err_set(err, ERR_INVALID, "evaluate for table",
		               name_shorten(table->name).text, "%s",
		               sqlite3_errmsg(db));
	return ERR_NONE;
}

static void bind_value(sqlite3_stmt *statement, int at,
                       const struct value *value)
{
	switch (value->type) {
	case VALUE_INTEGER:
		sqlite3_bind_int64(statement, at, value->integer);
		break;
	case VALUE_REAL:
		sqlite3_bind_double(statement, at, value->real);
		break;
	case VALUE_TEXT:
		sqlite3_bind_text64(statement, at,
		                    (const char *)value->bytes.data,
		                    value->bytes.size, SQLITE_STATIC,
		                    SQLITE_UTF8);
		break;
	case VALUE_BLOB: /* an empty one may have no address, which means NULL */
		sqlite3_bind_blob64(statement, at,
		                    value->bytes.size
		                            ? (const void *)value->bytes.data
		                            : "",
		                    value->bytes.size, SQLITE_STATIC);
		break;
	default:
		sqlite3_bind_null(statement, at);
	}
}

/* The row's columns, each with its affinity: a compound takes it from its first SELECT,
 * which here has no rows; since SQLite 3.41 only where that fits the types of the
 * others. A subquery in an expression has it from its last SELECT, but runs for each
 * column by itself. */
static void columns_append(sqlite3_str *text,
                           const struct table_definition *definition)
{
	static const char *const types[] = { "BLOB", "TEXT", "NUMERIC",
		                             "INTEGER", "REAL" };
	bool each = sqlite3_libversion_number() >= 3041000;

	for (uint32_t i = 0; i < definition->column_count; i++) {
		const struct column_definition *column = &definition->columns[i];

		sqlite3_str_appendall(text, i ? ", " : "SELECT ");
		if (each)
			sqlite3_str_appendf(text, "(SELECT ?%u UNION ALL SELECT ",
			                    i + 1);
		sqlite3_str_appendf(text, "CAST(NULL AS %s)%s COLLATE %s AS \"%w\"",
		                    types[column->affinity],
		                    each ? " WHERE 0)" : "",
		                    collation_names[column->collation],
		                    column->name);
	}
	if (each)
		return;
	for (uint32_t i = 0; i < definition->column_count; i++)
		sqlite3_str_appendf(text, "%s?%u",
		                    i ? ", " : " WHERE 0 UNION ALL SELECT ",
		                    i + 1);
}

int row_expression_prepare(struct table *table, const char *expression,
                           sqlite3_stmt **statement, struct err *err)
{
	sqlite3_str *text = sqlite3_str_new(table->connection->db);
	char *sql;
	int rc;

	sqlite3_str_appendf(text, "SELECT (%s) FROM (", expression);
	columns_append(text, &table->definition);
	sqlite3_str_appendf(text, ")");
	sql = sqlite3_str_finish(text);
	rc = prepare(table, statement, expression, sql, err);
	sqlite3_free(sql);
	return rc;
}

void row_expression_bind(struct table *table, sqlite3_stmt *statement,
                         const struct value *values, int64_t rowid)
{
	const struct table_definition *definition = &table->definition;
	struct value own = { .type = VALUE_INTEGER, .integer = rowid };

	for (uint32_t i = 0; i < definition->column_count; i++)
		bind_value(statement, (int)i + 1,
		           (int)i == definition->rowid_column ? &own
		                                              : &values[i]);
}

/* (E2) */
int table_refuse_computing(const struct table *table, const char *operation,
                           struct err *err)
{
	return !table->computing
	               ? ERR_NONE
	               : err_set(err, ERR_LOCKED, operation,
	                         name_shorten(table->name).text,
	                         "a function in one of its expressions asks for that");
}

static int step(struct table *table, sqlite3_stmt *statement)
{
	int code;

	table->computing = true;
	code = sqlite3_step(statement);
	table->computing = false;
	return code;
}

static int failed(struct table *table, int code, struct err *err)
{
	int why = code == SQLITE_INTERRUPT || code == SQLITE_NOMEM
	                  ? err_of_sqlite(code) : ERR_INVALID;

	return err_set(err, why, "evaluate check of table",
	               name_shorten(table->name).text, "%s",
	               sqlite3_errmsg(table->connection->db));
}

int row_check(struct table *table, uint32_t number, const struct value *values,
              int64_t rowid, bool *holds, struct err *err)
{
	sqlite3_stmt **statement = &table->checks[number];
	int rc = ERR_NONE, code;

	if (!*statement)
		rc = row_expression_prepare(
			table, table->definition.checks[number].sql, statement,
			err);
	if (rc)
		return rc;
	row_expression_bind(table, *statement, values, rowid);
	code = step(table, *statement);
	if (code != SQLITE_ROW)
		rc = failed(table, code & 0xff, err);
	else
		*holds = sqlite3_column_type(*statement, 0) == SQLITE_NULL ||
		         sqlite3_column_double(*statement, 0) != 0;
	sqlite3_reset(*statement);
	sqlite3_clear_bindings(*statement);
	return rc;
}

int constant_expression_prepare(struct table *table, const char *expression,
                                sqlite3_stmt **statement, struct err *err)
{
	char *sql = sqlite3_mprintf("SELECT (%s)", expression);
	int rc = prepare(table, statement, expression, sql, err);

	sqlite3_free(sql);
	return rc;
}

int row_expression_value(struct table *table, sqlite3_stmt *statement,
                         uint32_t column, const char *operation,
                         struct value *value, struct err *err)
{
	const struct column_definition *definition =
		&table->definition.columns[column];
	int rc = ERR_NONE;

	if (step(table, statement) != SQLITE_ROW)
		rc = err_set(err, ERR_INVALID, operation, definition->name, "%s",
		             sqlite3_errmsg(table->connection->db));
	else if (value_take(sqlite3_column_value(statement, 0),
	                    definition->affinity, value) ||
	         !arena_keep(&table->row_arena, &value->bytes))
		rc = err_set(err, ERR_NOMEM, operation, definition->name,
		             "no memory");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc;
}
