/*
 * schema.c - which of a connection's databases are turdb directories.
 */
#include "ext/ext.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static struct store *store_of(sqlite3 *db, const char *schema)
{
	struct store *store = NULL;

	if (sqlite3_file_control(db, schema, VFS_FCNTL_STORE, &store))
		return NULL;
	return store;
}

/* What the connection's last statement ended with. */
static int fail_as(sqlite3 *db, int code, const char *operation,
                   const char *schema, struct err *err)
{
	if (sqlite3_errcode(db) == SQLITE_INTERRUPT)
		code = ERR_INTERRUPT;
	return err_set(err, code, operation, schema, "%s", sqlite3_errmsg(db));
}

static int name_into(char name[EXT_SCHEMA_SIZE], const char *schema,
                     struct err *err)
{
	size_t size = strlen(schema) + 1;

	if (size > EXT_SCHEMA_SIZE)
		return err_set(err, ERR_TOOBIG, "find database", "",
		               "its name is longer than %d bytes",
		               EXT_SCHEMA_SIZE - 1);
	memcpy(name, schema, size);
	return ERR_NONE;
}

int ext_schema_each(sqlite3 *db, bool all,
                    int (*each)(void *context, const char *schema,
                                struct err *err),
                    void *context, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	char name[EXT_SCHEMA_SIZE];
	int rc = ERR_NONE, step = SQLITE_ROW;

	if (sqlite3_prepare_v2(db, "PRAGMA database_list", -1, &statement, NULL))
		return fail_as(db, ERR_INVALID, "list databases", "", err);
	while (!rc && (step = sqlite3_step(statement)) == SQLITE_ROW) {
		const char *schema =
			(const char *)sqlite3_column_text(statement, 1);

		if (!schema || (!all && !store_of(db, schema)))
			continue;
		rc = name_into(name, schema, err);
		if (!rc)
			rc = each(context, name, err);
	}
	if (!rc && step != SQLITE_DONE)
		rc = fail_as(db, ERR_INVALID, "list databases", "", err);
	sqlite3_finalize(statement);
	return rc;
}

struct first {
	char *name;
	bool found;
};

static int take_first(void *context, const char *schema, struct err *err)
{
	struct first *first = context;
	int rc = name_into(first->name, schema, err);

	first->found = !rc;
	return rc ? rc : -1;
}

int ext_schema_find(sqlite3 *db, const char *wish, char name[EXT_SCHEMA_SIZE],
                    struct store **store, struct err *err)
{
	struct first first = { .name = name };
	int rc;

	if (wish) {
		*store = store_of(db, wish);
		if (!*store)
			return err_set(err, ERR_INVALID, "find database", wish,
			               "it is not a TurDB directory");
		return name_into(name, wish, err);
	}
	rc = ext_schema_each(db, false, take_first, &first, err);
	if (!first.found)
		return rc ? rc : err_set(err, ERR_INVALID, "find database", "",
		                         "no TurDB directory is open on this connection; "
		                         "open one as file:PATH?vfs=turdb");
	*store = store_of(db, name);
	return ERR_NONE;
}

int ext_read_begin(sqlite3 *db, const char *schema, sqlite3_stmt **statement,
                   struct store_view **view, struct err *err)
{
	char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\".sqlite_schema",
	                            schema);
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (!rc)
		rc = sqlite3_step(*statement) == SQLITE_ROW ? SQLITE_OK
		                                            : SQLITE_ERROR;
	if (!rc) {
		if (sqlite3_file_control(db, schema, VFS_FCNTL_VIEW, view))
			*view = NULL;
		return ERR_NONE;
	}
	rc = fail_as(db, ERR_IO, "read", schema, err);
	sqlite3_finalize(*statement);
	*statement = NULL;
	return rc;
}
