/*
 * turdb.c - how SQLite loads the extension.
 *
 * Loading builds the process's environment, registers the VFS, gives this
 * connection the functions and modules, and asks SQLite to do the same for every
 * later connection (auto-extension), because a database opened by
 * file:app?vfs=turdb is a new connection.
 *
 * The VFS stays registered, so the library must stay loaded: the entry point says
 * SQLITE_OK_LOAD_PERMANENTLY. The auto-extension callback says plain SQLITE_OK:
 * anything else would make sqlite3_open_v2() fail.
 *
 * A second copy of the library in the process (another path, the same build) finds
 * the first one's environment and leaves everything to it.
 */
#include "ext/ext.h"

SQLITE_EXTENSION_INIT1

enum {
	OLDEST_SQLITE = 3038000,
#ifdef SQLITE_CORE /* part of the program; may itself be an auto-extension */
	LOADED = SQLITE_OK,
#else
	LOADED = SQLITE_OK_LOAD_PERMANENTLY,
#endif
};

int sqlite3_turdb_init(sqlite3 *db, char **message,
                       const sqlite3_api_routines *api);
int sqlite3_extension_init(sqlite3 *db, char **message,
                           const sqlite3_api_routines *api);

/* Was the connection served when it was opened? Asked so that nothing is logged. */
static int is_connected(sqlite3 *db, bool *found)
{
	sqlite3_stmt *statement = NULL;
	int rc;

	sqlite3_prepare_v2(db, "PRAGMA function_list", -1, &statement, NULL);
	*found = false;
	while (!*found && statement && sqlite3_step(statement) == SQLITE_ROW)
		*found = sqlite3_stricmp((const char *)sqlite3_column_text(
						 statement, 0),
		                         "turdb_version") == 0;
	rc = sqlite3_errcode(db);
	sqlite3_finalize(statement);
	return rc == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

/* SQLite takes the connection's last error, whoever made it, for one of opening. */
static void clear_error(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_errcode(db) == SQLITE_OK)
		return;
	sqlite3_prepare_v2(db, "SELECT 1", -1, &statement, NULL);
	sqlite3_finalize(statement);
}

static int on_new_connection(sqlite3 *db, char **message,
                             const sqlite3_api_routines *api)
{
	struct vfs_environment *environment = vfs_environment_find();
	int rc;

	(void)api;
	if (!environment)
		return SQLITE_OK;
	vfs_connection_prepare(db);
	rc = environment->connect(db, true, message);
	if (!rc)
		clear_error(db);
	return rc;
}

/* SQLITE_EXTENSION_INIT2 for threads that load at once: only the first writes. SQLite
 * without mutexes offers none. */
static void set_api(const sqlite3_api_routines *api)
{
#ifdef SQLITE_CORE
	(void)api;
#else
	sqlite3_mutex *mutex = NULL;

	if (api->mutex_alloc) {
		mutex = api->mutex_alloc(SQLITE_MUTEX_STATIC_VFS1);
		api->mutex_enter(mutex);
	}
	if (!sqlite3_api)
		sqlite3_api = api;
	if (mutex)
		api->mutex_leave(mutex);
#endif
}

static int fail(char **message, const struct err *err)
{
	if (message)
		*message = sqlite3_mprintf("%s", err->text);
	return SQLITE_ERROR;
}

/* What SQLite can be built without has no function in its table. */
static int check_whole(const sqlite3_api_routines *api, struct err *err)
{
#ifdef SQLITE_CORE
	(void)api, (void)err;
#else
	const char *omitted = !api->create_module_v2 ? "VIRTUALTABLE"
	                    : !api->blob_open ? "INCRBLOB"
	                    : !api->compileoption_used ? "COMPILEOPTION_DIAGS"
	                    : NULL;

	if (omitted)
		return err_set(err, ERR_UNSUPPORTED, "load extension", "turdb",
		               "this SQLite was built with SQLITE_OMIT_%s, which it cannot do without",
		               omitted);
#endif
	return ERR_NONE;
}

__attribute__((visibility("default")))
int sqlite3_turdb_init(sqlite3 *db, char **message,
                       const sqlite3_api_routines *api)
{
	struct vfs_environment *environment;
	bool connected;
	struct err err;
	int rc;

	set_api(api);
	if (sqlite3_libversion_number() < OLDEST_SQLITE) {
		err_set(&err, ERR_UNSUPPORTED, "load extension", "turdb",
		        "it needs SQLite 3.38.0 or newer, this is %s",
		        sqlite3_libversion());
		return fail(message, &err);
	}
	if (check_whole(api, &err) || ext_environment_get(&environment, &err))
		return fail(message, &err);
	rc = is_connected(db, &connected);
	if (!rc && !connected)
		rc = environment->connect(db, false, message);
	clear_error(db);
	if (!rc)
		rc = sqlite3_auto_extension((void (*)(void))on_new_connection);
	return rc ? rc : LOADED;
}

/* SQLite tries this name first: a renamed file loads too. */
__attribute__((visibility("default")))
int sqlite3_extension_init(sqlite3 *db, char **message,
                           const sqlite3_api_routines *api)
{
	return sqlite3_turdb_init(db, message, api);
}
