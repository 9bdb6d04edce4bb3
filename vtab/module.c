/*
 * module.c - the module "turdb": creating, connecting, renaming, dropping tables,
 * and the transaction's calls.
 *
 * Everything a table is lies in its home's files and follows the home's transaction;
 * so the calls here make and take entries, and the calls of the transaction hand
 * savepoints on.
 */
#include "vtab/inline_format.h"
#include "vtab/integrity.h"

#include <assert.h>
#include <stddef.h>

enum { INLINE_CACHE_BYTES = 16 << 20 }; /* cache_kb, unless configured */

static int fail(char **message, struct connection *connection,
                const struct err *err)
{
	*message = sqlite3_mprintf("%s", err->text);
	vfs_report(connection->environment.process, err);
	return vfs_result(err->code);
}

static int declare(struct table *table, struct err *err)
{
	sqlite3 *db = table->connection->db;
	char *statement;
	int rc = ddl_declare(&table->definition, &table->arena, &statement, err);

	if (rc)
		return rc;
	if (sqlite3_declare_vtab(db, statement))
		return err_set(err, ERR_INVALID, "declare table",
		               name_shorten(table->name).text, "%s",
		               sqlite3_errmsg(db));
	sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	if (sqlite3_libversion_number() >= SQLITE_WITH_INTEGRITY)
		table->cache_shared = integrity_cache_shared(db);
	return ERR_NONE;
}

static int refuse_unsupported(const struct table_definition *definition,
                              struct err *err)
{
	const char *what = NULL;

	if (definition->compress)
		what = "compress is not supported yet";
	if (!what)
		return ERR_NONE;
	return err_set(err, ERR_UNSUPPORTED, "create table",
	               name_shorten(definition->name).text, "%s", what);
}

static int table_create(sqlite3 *db, void *context, int argc,
                        const char *const *argv, sqlite3_vtab **vtab,
                        char **message)
{
	struct connection *connection = context;
	struct table *table;
	struct err err;
	int rc = table_open(connection, argc, argv, &table, &err);

	(void)db;
	if (rc)
		return fail(message, connection, &err);
	rc = refuse_unsupported(&table->definition, &err);
	if (!rc)
		rc = generated_prepare(table, &err);
	if (!rc)
		rc = declare(table, &err);
	if (!rc)
		rc = sentinel_join(connection, table->home, &err);
	if (!rc)
		rc = table_create_files(table, &err);
	if (!rc)
		rc = table->home->methods->operation_end(table->home, &err);
	if (rc) {
		table_close(table);
		return fail(message, connection, &err);
	}
	*vtab = &table->base;
	return SQLITE_OK;
}

static int table_connect(sqlite3 *db, void *context, int argc,
                         const char *const *argv, sqlite3_vtab **vtab,
                         char **message)
{
	struct connection *connection = context;
	struct table *table;
	struct err err;
	int rc = table_open(connection, argc, argv, &table, &err);

	(void)db;
	if (rc)
		return fail(message, connection, &err);
	rc = declare(table, &err);
	if (!rc)
		rc = table_reach(table, &err);
	if (table_is_damaged(rc)) {
		vfs_report(connection->environment.process, &err);
		table->lost = true;
		rc = ERR_NONE;
	}
	if (rc) {
		table_close(table);
		return fail(message, connection, &err);
	}
	*vtab = &table->base;
	return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *vtab)
{
	table_close((struct table *)(void *)vtab);
	return SQLITE_OK;
}

static int table_destroy(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)(void *)vtab;
	struct err err;
	int rc = table_refuse_computing(table, "drop table", &err);

	if (rc)
		return table_result(table, rc, &err);
	rc = table_reach(table, &err);
	if (!rc || table_is_damaged(rc))
		rc = sentinel_join(table->connection, table->home, &err);
	if (!rc)
		rc = table_drop_files(table, &err);
	if (rc)
		return table_result(table, rc, &err);
	table_close(table);
	return SQLITE_OK;
}

static int table_rename(sqlite3_vtab *vtab, const char *name)
{
	struct table *table = (struct table *)(void *)vtab;
	char *copy = sqlite3_mprintf("%s", name);
	struct err err;
	int rc;

	if (!copy)
		return SQLITE_NOMEM;
	rc = table_refuse_computing(table, "rename table", &err);
	if (!rc)
		rc = table_reach(table, &err);
	if (!rc)
		rc = sentinel_join(table->connection, table->home, &err);
	if (!rc)
		rc = table->home->methods->table_rename(table->home, table->name,
		                                        name, &table->arena,
		                                        &err);
	if (rc) {
		sqlite3_free(copy);
		return table_result(table, rc, &err);
	}
	sqlite3_free(table->name);
	table->name = copy;
	return SQLITE_OK;
}

static int table_begin(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)(void *)vtab;
	struct err err;
	int rc = table_reach(table, &err);

	if (!rc)
		rc = table->home->methods->begin(table->home, &err);
	return table_result(table, rc, &err);
}

/* What can fail at COMMIT fails here. (rule 14) */
static int table_sync(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)(void *)vtab;
	struct err err;

	return table_result(table,
	                    table->home->methods->sync(table->home, &err),
	                    &err);
}

static int table_commit(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)(void *)vtab;

	table->home->methods->commit(table->home);
	return SQLITE_OK;
}

static int table_rollback(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)(void *)vtab;

	table->home->methods->rollback(table->home);
	return SQLITE_OK;
}

static int table_savepoint(sqlite3_vtab *vtab, int n)
{
	struct table *table = (struct table *)(void *)vtab;
	struct err err;

	return table_result(table, table->home->methods->savepoint(
					   table->home, n, &err), &err);
}

static int table_release(sqlite3_vtab *vtab, int n)
{
	struct table *table = (struct table *)(void *)vtab;

	table->home->methods->release(table->home, n);
	return SQLITE_OK;
}

static int table_rollback_to(sqlite3_vtab *vtab, int n)
{
	struct table *table = (struct table *)(void *)vtab;

	table->home->methods->rollback_to(table->home, n);
	return SQLITE_OK;
}

/* MATCH outside a WHERE that reaches xBestIndex: SQLite would look for a function. */
static void match_alone(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)argc, (void)argv;
	sqlite3_result_error(context,
		"MATCH on a vector column works as a condition of WHERE on its own table, not inside an expression",
		-1);
}

static int table_find_function(sqlite3_vtab *vtab, int argc, const char *name,
                               void (**function)(sqlite3_context *, int,
                                                 sqlite3_value **),
                               void **context)
{
	struct table *table = (struct table *)(void *)vtab;

	(void)argc;
	if (!table->definition.has_vector ||
	    sqlite3_stricmp(name, "match") != 0)
		return 0;
	*function = match_alone;
	*context = NULL;
	return 1;
}

/* Names that SQLite keeps from users under SQLITE_DBCONFIG_DEFENSIVE. */
static int table_shadow_name(const char *suffix)
{
	return sqlite3_stricmp(suffix, INLINE_TABLE_SUFFIX) == 0 ||
	       sqlite3_stricmp(suffix, INLINE_INDEX_SUFFIX) == 0 ||
	       sqlite3_stricmp(suffix, INLINE_GRAPH_SUFFIX) == 0;
}

#define TABLE_METHODS                                                         \
	.xCreate = table_create,                                              \
	.xConnect = table_connect,                                            \
	.xBestIndex = table_best_index,                                       \
	.xDisconnect = table_disconnect,                                      \
	.xDestroy = table_destroy,                                            \
	.xOpen = cursor_open,                                                 \
	.xClose = cursor_close,                                               \
	.xFilter = cursor_filter,                                             \
	.xNext = cursor_next,                                                 \
	.xEof = cursor_eof,                                                   \
	.xColumn = cursor_column,                                             \
	.xRowid = cursor_rowid,                                               \
	.xUpdate = table_update,                                              \
	.xBegin = table_begin,                                                \
	.xSync = table_sync,                                                  \
	.xCommit = table_commit,                                              \
	.xRollback = table_rollback,                                          \
	.xFindFunction = table_find_function,                                 \
	.xRename = table_rename,                                              \
	.xSavepoint = table_savepoint,                                        \
	.xRelease = table_release,                                            \
	.xRollbackTo = table_rollback_to,                                     \
	.xShadowName = table_shadow_name

static const sqlite3_module table_module = { .iVersion = 3, TABLE_METHODS };

/* For an SQLite that knows xIntegrity, whose header need not be the one this is
 * compiled with. */
#if SQLITE_VERSION_NUMBER >= 3044000
static const sqlite3_module table_module_4 = {
	.iVersion = 4, TABLE_METHODS, .xIntegrity = table_integrity
};
#define TABLE_MODULE_4 (&table_module_4)
#else
struct module_4 {
	sqlite3_module base;
	int (*xIntegrity)(sqlite3_vtab *vtab, const char *schema,
	                  const char *name, int flags, char **text);
};
static_assert(offsetof(struct module_4, xIntegrity) ==
              offsetof(sqlite3_module, xShadowName) + sizeof(void (*)(void)),
              "it follows the methods of version 3");
static const struct module_4 table_module_4 = {
	.base = { .iVersion = 4, TABLE_METHODS }, .xIntegrity = table_integrity
};
#define TABLE_MODULE_4 (&table_module_4.base)
#endif

static const sqlite3_module *module_for_this_sqlite(void)
{
	return sqlite3_libversion_number() >= SQLITE_WITH_INTEGRITY
	               ? TABLE_MODULE_4 : &table_module;
}

/* --- the connection ---------------------------------------------------------------- */

struct connection *vtab_connection_hold(struct connection *connection)
{
	connection->users++;
	return connection;
}

void vtab_connection_release(void *context)
{
	struct connection *connection = context;

	if (--connection->users)
		return;
	while (connection->ddl_home_count)
		home_release(connection->ddl_homes[--connection->ddl_home_count]);
	heap_free(connection->heap, connection);
}

struct vfs_environment *vtab_process_of(const struct connection *connection)
{
	return connection->environment.process;
}

int vtab_register(sqlite3 *db, const struct vtab_environment *environment,
                  struct connection **made)
{
	struct heap *heap = environment->process->heap;
	struct connection *connection = heap_zeroed(heap, sizeof *connection);
	int rc;

	if (!connection)
		return SQLITE_NOMEM;
	connection->db = db;
	connection->heap = heap;
	connection->kernels = hnsw_kernels_for(environment->process->cpu);
	connection->environment = *environment;
	connection->users = 1;
	connection->inline_cache_bytes = INLINE_CACHE_BYTES;
	vfs_breath_init(&connection->breath, db, environment->process->os);
	rc = sentinel_register(connection);
	if (!rc)
		rc = count_register(connection);
	if (!rc)
		rc = index_ddl_register(connection);
	if (!rc)
		rc = vector_functions_register(connection);
	if (!rc)
		rc = sqlite3_create_module_v2(db, "turdb",
		                              module_for_this_sqlite(),
		                              vtab_connection_hold(connection),
		                              vtab_connection_release);
	if (rc)
		vtab_connection_release(connection);
	else
		*made = connection;
	return rc;
}
