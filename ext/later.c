/*
 * later.c - names of the SQL surface that are not there yet, and what to do meanwhile.
 *
 * Who calls one of them gets a sentence instead of "no such function".
 */
#include "ext/ext.h"

SQLITE_EXTENSION_INIT3

struct later {
	const char *name, *advice;
};

static const struct later functions[] = {
	{ "turdb_alter", "make a table with the new columns, INSERT INTO it SELECT from the old one, DROP that and ALTER TABLE ... RENAME" },
	{ "turdb_analyze", "the plans of turdb tables need no statistics; ANALYZE serves ordinary tables" },
	{ "turdb_backup", "copy the whole directory while no process has it open" },
	{ "turdb_restore", "copy the whole directory while no process has it open" },
	{ "turdb_export", "ATTACH 'new.db' and CREATE TABLE ... AS SELECT from each table" },
	{ "turdb_import", "ATTACH the file and INSERT INTO ... SELECT from its tables" },
	{ "turdb_import_csv", "the sqlite3 shell's .import fills turdb tables too" },
	{ "turdb_recall", "compare the rows of a search with those of the same search AND exact = 1" },
};

static const struct later tables[] = {
	{ "turdb_latency", "turdb_status counts commits and syncs" },
	{ "turdb_pages", "turdb_tables and turdb_indexes count pages and bytes" },
	{ "turdb_progress", "a progress handler is called while long work is under way" },
};

static int explain(const struct later *later, struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED, "call", later->name,
	               "this version does not have it yet; %s", later->advice);
}

static void call(sqlite3_context *context, int count, sqlite3_value **arguments)
{
	struct err err;

	(void)count, (void)arguments;
	explain(sqlite3_user_data(context), &err);
	vfs_result_error(context, &err);
}

static int connect(sqlite3 *db, void *context, int argc, const char *const *argv,
                   sqlite3_vtab **vtab, char **message)
{
	struct err err;

	(void)db, (void)argc, (void)argv;
	*vtab = NULL;
	explain(context, &err);
	*message = sqlite3_mprintf("%s", err.text);
	return SQLITE_ERROR;
}

static const sqlite3_module module = { .xConnect = connect };

int ext_later_register(sqlite3 *db)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !rc; i++)
		rc = sqlite3_create_function_v2(
			db, functions[i].name, -1,
			SQLITE_UTF8 | SQLITE_DIRECTONLY,
			(void *)(uintptr_t)&functions[i], call, NULL, NULL,
			NULL);
	for (size_t i = 0; i < sizeof tables / sizeof tables[0] && !rc; i++)
		rc = sqlite3_create_module_v2(db, tables[i].name, &module,
		                              (void *)(uintptr_t)&tables[i],
		                              NULL);
	return rc;
}
