/*
 * table_find.c - from the names that users give to connected tables.
 */
#include "vtab/table.h"

#include <string.h>

/* Preparing a statement on the table connects it: NULL if it is not ours. */
int table_find_in(struct connection *connection, const char *schema,
                  const char *name, struct table **found, struct err *err)
{
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, name);
	sqlite3_stmt *statement = NULL;
	int rc = sql ? sqlite3_prepare_v2(connection->db, sql, -1, &statement,
	                                  NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	sqlite3_finalize(statement);
	*found = NULL;
	if (rc)
		return err_set(err, rc == SQLITE_NOMEM ? ERR_NOMEM : ERR_MISSING,
		               "find table", name_shorten(name).text, "%s",
		               sqlite3_errmsg(connection->db));
	/* The newest: older ones may wait for their last statement to end. */
	for (struct table *table = connection->tables; table && !*found;
	     table = table->next)
		if (sqlite3_stricmp(table->schema, schema) == 0 &&
		    sqlite3_stricmp(table->name, name) == 0 && table->pager)
			*found = table;
	return ERR_NONE;
}

/* "table" in any schema, or "schema.table". */
int table_find(struct connection *connection, const char *name,
               struct table **found, struct err *err)
{
	const char *dot = strchr(name, '.');
	sqlite3_stmt *schemas = NULL;
	int rc = ERR_NONE;

	*found = NULL;
	if (sqlite3_prepare_v2(connection->db, "PRAGMA database_list", -1,
	                       &schemas, NULL))
		return err_set(err, ERR_IO, "find table",
		               name_shorten(name).text, "%s",
		               sqlite3_errmsg(connection->db));
	while (!*found && sqlite3_step(schemas) == SQLITE_ROW) {
		const char *schema = (const char *)sqlite3_column_text(schemas,
		                                                       1);
		struct err ignored;

		table_find_in(connection, schema, name, found, &ignored);
		if (!*found && dot && strlen(schema) == (size_t)(dot - name) &&
		    sqlite3_strnicmp(schema, name, (int)(dot - name)) == 0)
			table_find_in(connection, schema, dot + 1, found, &ignored);
	}
	sqlite3_finalize(schemas);
	if (!*found)
		rc = err_set(err, ERR_MISSING, "find table",
		             name_shorten(name).text,
		             "there is no such turdb table");
	return rc;
}

static int each_of_schema(struct connection *connection, const char *schema,
                          int (*each)(struct table *table, void *context),
                          void *context, struct err *err)
{
	char *sql = sqlite3_mprintf(
		"SELECT name FROM \"%w\".sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%%' ORDER BY rowid",
		schema);
	sqlite3_stmt *names = NULL;
	int rc = ERR_NONE;

	if (!sql || sqlite3_prepare_v2(connection->db, sql, -1, &names, NULL))
		rc = err_set(err, ERR_IO, "list tables of", schema, "%s",
		             sqlite3_errmsg(connection->db));
	sqlite3_free(sql);
	while (!rc && sqlite3_step(names) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(names, 0);
		struct table *table = NULL;
		struct err ignored;

		/* What cannot be connected is for turdb_check() to tell. */
		if (name && !table_find_in(connection, schema, name, &table,
		                           &ignored) && table)
			rc = each(table, context);
	}
	sqlite3_finalize(names);
	return rc;
}

int table_each(struct connection *connection, const char *schema,
               int (*each)(struct table *table, void *context), void *context,
               struct err *err)
{
	sqlite3_stmt *schemas = NULL;
	int rc = ERR_NONE;

	if (schema)
		return each_of_schema(connection, schema, each, context, err);
	if (sqlite3_prepare_v2(connection->db, "PRAGMA database_list", -1,
	                       &schemas, NULL))
		return err_set(err, ERR_IO, "list tables of", "", "%s",
		               sqlite3_errmsg(connection->db));
	while (!rc && sqlite3_step(schemas) == SQLITE_ROW)
		rc = each_of_schema(connection,
		                    (const char *)sqlite3_column_text(schemas, 1),
		                    each, context, err);
	sqlite3_finalize(schemas);
	return rc;
}
