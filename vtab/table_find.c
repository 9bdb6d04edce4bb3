/*
 * table_find.c - from the names that users give to connected tables.
 */
#include "vtab/table.h"

#include <string.h>

/* What went wrong in a statement of ours; a mere error is that it names what is not
 * there. */
int err_of_sqlite(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
		return code == SQLITE_BUSY_SNAPSHOT ? ERR_BUSY_SNAPSHOT
		                                    : ERR_BUSY;
	case SQLITE_LOCKED:
		return ERR_LOCKED;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_READONLY:
		return ERR_READONLY;
	case SQLITE_INTERRUPT:
		return ERR_INTERRUPT;
	case SQLITE_FULL:
		return ERR_FULL;
	case SQLITE_CORRUPT:
		return ERR_CORRUPT;
	case SQLITE_ERROR:
		return ERR_MISSING;
	default:
		return ERR_IO;
	}
}

const char *why_of_sqlite(sqlite3 *db, int code)
{
	/* What failed before it reached SQLite has left no message there. */
	return (sqlite3_errcode(db) & 0xff) == (code & 0xff)
	               ? sqlite3_errmsg(db) : sqlite3_errstr(code);
}

/* Older ones of the name may wait for their last statement to end. */
static struct table *newest_of(struct connection *connection,
                               const char *schema, const char *name)
{
	struct table *table = connection->tables;

	while (table && (sqlite3_stricmp(table->schema, schema) != 0 ||
	                 sqlite3_stricmp(table->name, name) != 0 ||
	                 (!table->pager && !table->lost)))
		table = table->next;
	return table;
}

/* Preparing a statement on the table connects it: NULL if it is not ours. */
int table_find_in(struct connection *connection, const char *schema,
                  const char *name, struct table **found, sqlite3_stmt **keeper,
                  struct err *err)
{
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, name);
	sqlite3_stmt *statement = NULL;
	int rc = sql ? sqlite3_prepare_v2(connection->db, sql, -1, &statement,
	                                  NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (keeper)
		*keeper = statement;
	else
		sqlite3_finalize(statement);
	*found = NULL;
	if (rc)
		return err_set(err, err_of_sqlite(rc), "find table",
		               name_shorten(name).text, "%s",
		               why_of_sqlite(connection->db, rc));
	*found = newest_of(connection, schema, name);
	rc = *found ? table_reach(*found, err) : ERR_NONE;
	if (rc)
		*found = NULL;
	if (rc == ERR_MISSING) /* the table is there: what it holds is not */
		rc = err->code = ERR_CORRUPT;
	return rc;
}

/* The same with nothing kept where there is none. */
static int find_here(struct connection *connection, const char *schema,
                     const char *name, struct table **found,
                     sqlite3_stmt **keeper, struct err *err)
{
	int rc = table_find_in(connection, schema, name, found, keeper, err);

	if (keeper && !*found) {
		sqlite3_finalize(*keeper);
		*keeper = NULL;
	}
	return rc;
}

/* "table" in any schema, or "schema.table". */
int table_find(struct connection *connection, const char *name,
               struct table **found, sqlite3_stmt **keeper, struct err *err)
{
	const char *dot = strchr(name, '.');
	sqlite3_stmt *schemas = NULL;
	int rc = ERR_NONE;

	*found = NULL;
	if (keeper)
		*keeper = NULL;
	rc = sqlite3_prepare_v2(connection->db, "PRAGMA database_list", -1,
	                        &schemas, NULL);
	if (rc)
		return err_set(err, err_of_sqlite(rc), "find table",
		               name_shorten(name).text, "%s",
		               why_of_sqlite(connection->db, rc));
	while (!rc && !*found && sqlite3_step(schemas) == SQLITE_ROW) {
		const char *schema = (const char *)sqlite3_column_text(schemas,
		                                                       1);

		rc = find_here(connection, schema, name, found, keeper, err);
		if ((!rc || rc == ERR_MISSING) && !*found && dot &&
		    strlen(schema) == (size_t)(dot - name) &&
		    sqlite3_strnicmp(schema, name, (int)(dot - name)) == 0)
			rc = find_here(connection, schema, dot + 1, found,
			               keeper, err);
		if (rc == ERR_MISSING)
			rc = ERR_NONE; /* perhaps in the next */
	}
	if (sqlite3_finalize(schemas) && !rc && !*found)
		rc = err_set(err, ERR_NOMEM, "find table",
		             name_shorten(name).text, "%s",
		             sqlite3_errmsg(connection->db));
	if (!rc && !*found)
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
	int rc = sql ? sqlite3_prepare_v2(connection->db, sql, -1, &names, NULL)
	             : SQLITE_NOMEM;

	if (rc)
		rc = err_set(err, err_of_sqlite(rc), "list tables of", schema,
		             "%s", why_of_sqlite(connection->db, rc));
	sqlite3_free(sql);
	while (!rc && sqlite3_step(names) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(names, 0);
		struct table *table = NULL;
		sqlite3_stmt *keeper = NULL;

		if (name)
			rc = table_find_in(connection, schema, name, &table,
			                   &keeper, err);
		/* What is damaged is for turdb_check() to tell. */
		if (rc == ERR_MISSING || rc == ERR_CORRUPT)
			rc = ERR_NONE;
		else if (!rc && table)
			rc = each(table, context);
		sqlite3_finalize(keeper);
	}
	if (sqlite3_finalize(names) && !rc)
		rc = err_set(err, err_of_sqlite(sqlite3_errcode(connection->db)),
		             "list tables of", schema, "%s",
		             sqlite3_errmsg(connection->db));
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
	rc = sqlite3_prepare_v2(connection->db, "PRAGMA database_list", -1,
	                        &schemas, NULL);
	if (rc)
		return err_set(err, err_of_sqlite(rc), "list tables of", "",
		               "%s", why_of_sqlite(connection->db, rc));
	while (!rc && sqlite3_step(schemas) == SQLITE_ROW)
		rc = each_of_schema(connection,
		                    (const char *)sqlite3_column_text(schemas, 1),
		                    each, context, err);
	sqlite3_finalize(schemas);
	return rc;
}
