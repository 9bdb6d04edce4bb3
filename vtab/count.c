/*
 * count.c - turdb_count(): how many rows a table has, without walking them.
 */
#include "vtab/table.h"

/* A read of the table, without its rows, by SQLite: so the count is of the
 * transaction that is open, or opens one as any other read does. `statement` holds
 * it in autocommit. */
static int read_begin(struct table *table, sqlite3_stmt **statement,
                      struct err *err)
{
	sqlite3 *db = table->connection->db;
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\" LIMIT 1",
	                            table->schema, table->name);
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (!rc)
		rc = sqlite3_step(*statement);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_NONE;
	return err_set(err, err_of_sqlite(rc), "count rows of",
	               name_shorten(table->name).text, "%s",
	               why_of_sqlite(db, rc));
}

static int count_in(struct connection *connection, const char *name,
                    uint64_t *rows, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	struct table *table = NULL;
	sqlite3_stmt *keeper;
	int rc = table_find(connection, name, &table, &keeper, err);

	if (!rc)
		rc = read_begin(table, &statement, err);
	sqlite3_finalize(keeper);
	if (!rc) /* reading may have connected it anew */
		rc = table_find(connection, name, &table, NULL, err);
	if (!rc)
		rc = btree_count(&table->tree, rows, err);
	sqlite3_finalize(statement);
	return rc;
}

/* turdb_count('table' or 'schema.table') */
static void count_rows(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = (const char *)sqlite3_value_text(argv[0]);
	uint64_t rows = 0;
	struct err err;
	int rc;

	(void)argc;
	rc = name ? count_in(sqlite3_user_data(context), name, &rows, &err)
	          : err_set(&err, ERR_INVALID, "count rows", "", "no table named");
	if (!rc) {
		sqlite3_result_int64(context, (sqlite3_int64)rows);
		return;
	}
	vfs_result_error(context, &err);
}

int count_register(struct connection *connection)
{
	return sqlite3_create_function_v2(connection->db, "turdb_count", 1,
	                                  SQLITE_UTF8,
	                                  vtab_connection_hold(connection),
	                                  count_rows, NULL, NULL,
	                                  vtab_connection_release);
}
