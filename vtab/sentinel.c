/*
 * sentinel.c - a virtual table that hears of savepoints when no other does.
 *
 * SQLite tells a table nothing of SAVEPOINT; DROP TABLE; ROLLBACK TO: the dropped
 * table is not in the transaction any more. So before any DDL this eponymous table,
 * which is always empty, is told to delete its rows: that counts as no change, but
 * makes it join SQLite's transaction and get every savepoint call from then on, and hands them to the homes that DDL has touched. Marks are
 * idempotent, so a home that hears of one twice loses nothing.
 *
 * An eponymous table belongs to main and would take main's write lock; where main
 * is neither a turdb directory nor what is being changed, the sentinel is a table in
 * temp.
 */
#include "vtab/table.h"

#include <string.h>

struct sentinel {
	sqlite3_vtab base;
	struct connection *connection;
};

static int sentinel_connect(sqlite3 *db, void *context, int argc,
                            const char *const *argv, sqlite3_vtab **vtab,
                            char **message)
{
	struct connection *connection = context;
	struct sentinel *sentinel;
	int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(value)");

	(void)argc, (void)argv, (void)message;
	if (rc)
		return rc;
	sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY); /* not for schemas */
	sentinel = sqlite3_malloc64(sizeof *sentinel);
	if (!sentinel)
		return SQLITE_NOMEM;
	memset(sentinel, 0, sizeof *sentinel);
	sentinel->connection = connection;
	*vtab = &sentinel->base;
	return SQLITE_OK;
}

static int sentinel_disconnect(sqlite3_vtab *vtab)
{
	sqlite3_free(vtab);
	return SQLITE_OK;
}

static int sentinel_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	(void)vtab;
	info->estimatedCost = 1;
	return SQLITE_OK;
}

static int sentinel_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor)
{
	(void)vtab;
	*cursor = sqlite3_malloc64(sizeof **cursor);
	return *cursor ? SQLITE_OK : SQLITE_NOMEM;
}

static int sentinel_close(sqlite3_vtab_cursor *cursor)
{
	sqlite3_free(cursor);
	return SQLITE_OK;
}

static int sentinel_filter(sqlite3_vtab_cursor *cursor, int number,
                           const char *text, int argc, sqlite3_value **argv)
{
	(void)cursor, (void)number, (void)text, (void)argc, (void)argv;
	return SQLITE_OK;
}

static int sentinel_next(sqlite3_vtab_cursor *cursor)
{
	(void)cursor;
	return SQLITE_OK;
}

static int sentinel_eof(sqlite3_vtab_cursor *cursor)
{
	(void)cursor;
	return 1;
}

static int sentinel_column(sqlite3_vtab_cursor *cursor,
                           sqlite3_context *context, int column)
{
	(void)cursor, (void)context, (void)column;
	return SQLITE_OK;
}

static int sentinel_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
	(void)cursor;
	*rowid = 1;
	return SQLITE_OK;
}

static int sentinel_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                           sqlite3_int64 *rowid)
{
	(void)vtab, (void)argc, (void)argv;
	*rowid = 1;
	return SQLITE_OK;
}

static struct connection *connection_of(sqlite3_vtab *vtab)
{
	return ((struct sentinel *)(void *)vtab)->connection;
}

static int sentinel_begin(sqlite3_vtab *vtab)
{
	(void)vtab;
	return SQLITE_OK;
}

/* A change of indexes, or a DROP, has no other table in the transaction. */
static int sentinel_sync(sqlite3_vtab *vtab)
{
	struct connection *connection = connection_of(vtab);
	struct err err;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < connection->ddl_home_count; i++) {
		struct home *home = connection->ddl_homes[i];

		rc = home->methods->sync(home, &err);
	}
	if (rc)
		vfs_report(connection->environment.process, &err);
	return vfs_result(rc);
}

static int sentinel_commit(sqlite3_vtab *vtab)
{
	struct connection *connection = connection_of(vtab);

	while (connection->ddl_home_count) {
		struct home *home =
			connection->ddl_homes[--connection->ddl_home_count];

		home->methods->commit(home);
		home_release(home);
	}
	return SQLITE_OK;
}

static int sentinel_rollback(sqlite3_vtab *vtab)
{
	struct connection *connection = connection_of(vtab);

	while (connection->ddl_home_count) {
		struct home *home =
			connection->ddl_homes[--connection->ddl_home_count];

		home->methods->rollback(home);
		home_release(home);
	}
	return SQLITE_OK;
}

static int sentinel_savepoint(sqlite3_vtab *vtab, int n)
{
	struct connection *connection = connection_of(vtab);
	struct err err;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < connection->ddl_home_count; i++) {
		struct home *home = connection->ddl_homes[i];

		rc = home->methods->savepoint(home, n, &err);
	}
	return vfs_result(rc);
}

static int sentinel_release(sqlite3_vtab *vtab, int n)
{
	struct connection *connection = connection_of(vtab);

	for (uint32_t i = 0; i < connection->ddl_home_count; i++)
		connection->ddl_homes[i]->methods->release(
			connection->ddl_homes[i], n);
	return SQLITE_OK;
}

static int sentinel_rollback_to(sqlite3_vtab *vtab, int n)
{
	struct connection *connection = connection_of(vtab);

	for (uint32_t i = 0; i < connection->ddl_home_count; i++)
		connection->ddl_homes[i]->methods->rollback_to(
			connection->ddl_homes[i], n);
	return SQLITE_OK;
}

static const sqlite3_module sentinel_module = {
	.iVersion = 2,
	.xCreate = sentinel_connect,
	.xConnect = sentinel_connect,
	.xBestIndex = sentinel_best_index,
	.xDisconnect = sentinel_disconnect,
	.xDestroy = sentinel_disconnect,
	.xOpen = sentinel_open,
	.xClose = sentinel_close,
	.xFilter = sentinel_filter,
	.xNext = sentinel_next,
	.xEof = sentinel_eof,
	.xColumn = sentinel_column,
	.xRowid = sentinel_rowid,
	.xUpdate = sentinel_update,
	.xBegin = sentinel_begin,
	.xSync = sentinel_sync,
	.xCommit = sentinel_commit,
	.xRollback = sentinel_rollback,
	.xSavepoint = sentinel_savepoint,
	.xRelease = sentinel_release,
	.xRollbackTo = sentinel_rollback_to,
};

int sentinel_register(struct connection *connection)
{
	return sqlite3_create_module_v2(connection->db, "turdb_sentinel",
	                                &sentinel_module,
	                                vtab_connection_hold(connection),
	                                vtab_connection_release);
}

static int run(sqlite3 *db, const char *sql, struct err *err)
{
	char *message = NULL;
	int rc = sqlite3_exec(db, sql, NULL, NULL, &message);

	if (rc)
		err_set(err, (rc & 0xff) == SQLITE_NOMEM ? ERR_NOMEM : ERR_LOCKED,
		        "join", "transaction", "%s",
		        message ? message : sqlite3_errstr(rc));
	sqlite3_free(message);
	return rc ? err->code : ERR_NONE;
}

static bool main_is_native(sqlite3 *db)
{
	struct store_view *view = NULL;

	return sqlite3_file_control(db, "main", VFS_FCNTL_VIEW, &view) ==
	               SQLITE_OK && view;
}

/* No table is told that a transaction of DDL alone begins. */
static int begin_ddl(struct home *home, struct err *err)
{
	return home->refresh ? home->methods->begin(home, err) : ERR_NONE;
}

int sentinel_join(struct connection *connection, struct home *home,
                  struct err *err)
{
	sqlite3 *db = connection->db;
	sqlite3_int64 last = sqlite3_last_insert_rowid(db);
	int rc;

	for (uint32_t i = 0; i < connection->ddl_home_count; i++)
		if (connection->ddl_homes[i]->epoch == home->epoch)
			return begin_ddl(home, err);
	if (connection->ddl_home_count == DDL_HOMES_MAX)
		return err_set(err, ERR_TOOBIG, "change tables of", home->name,
		               "one transaction changes tables of %d databases at most",
		               DDL_HOMES_MAX);
	connection->ddl_homes[connection->ddl_home_count++] = home_hold(home);
	if (home->of_main || main_is_native(db)) {
		rc = run(db, "DELETE FROM main.turdb_sentinel", err);
	} else {
		rc = run(db, "CREATE VIRTUAL TABLE IF NOT EXISTS temp.turdb_sentinel_in_temp USING turdb_sentinel", err);
		if (!rc)
			rc = run(db, "DELETE FROM temp.turdb_sentinel_in_temp",
			         err);
	}
	/* Out of memory, SQLite may have rolled back everything meanwhile, and
	 * sentinel_rollback() has released it. */
	if (rc && connection->ddl_home_count)
		home_release(connection->ddl_homes[--connection->ddl_home_count]);
	sqlite3_set_last_insert_rowid(db, last);
	return rc ? rc : begin_ddl(home, err);
}
