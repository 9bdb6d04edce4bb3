/*
 * functions.c - what the library is, how it is set, and whether all is well.
 *
 *   turdb_version()             "0.1.0"
 *   turdb_debug()               build, kernels, libraries: for bug reports
 *   turdb_last_error()          the sentence of the last failure in this process
 *   turdb_config(name [, value]) reads or changes a setting
 *   turdb_check([table [, level]]) 'ok' or the first thing wrong
 */
#include "ext/ext.h"

#include "vtab/vtab.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/version.h"

SQLITE_EXTENSION_INIT3

static struct vfs_environment *environment_of(sqlite3_context *context)
{
	return vtab_process_of(sqlite3_user_data(context));
}

const char *ext_text_argument(int count, sqlite3_value **arguments, int i)
{
	return i < count ? (const char *)sqlite3_value_text(arguments[i]) : NULL;
}

static void version(sqlite3_context *context, int count,
                    sqlite3_value **arguments)
{
	(void)count, (void)arguments;
	sqlite3_result_text(context, TURDB_VERSION, -1, SQLITE_STATIC);
}

static void debug(sqlite3_context *context, int count, sqlite3_value **arguments)
{
	struct vfs_environment *environment = environment_of(context);
	unsigned xxhash = XXH_versionNumber();
	char *text = sqlite3_mprintf(
		"turdb %s; simd %s; compiler %s; %s build; sqlite %s %s; "
		"zstd %s; xxhash %u.%u.%u; default vfs %s",
		TURDB_VERSION, cpu_level_name(environment->cpu), __VERSION__,
#ifdef TURDB_DEBUG
		"debug",
#else
		"release",
#endif
		sqlite3_libversion(), sqlite3_sourceid(), ZSTD_versionString(),
		xxhash / 10000, xxhash / 100 % 100, xxhash % 100,
		environment->host->zName);

	(void)count, (void)arguments;
	if (text)
		sqlite3_result_text(context, text, -1, sqlite3_free);
	else
		sqlite3_result_error_nomem(context);
}

static void last_error(sqlite3_context *context, int count,
                       sqlite3_value **arguments)
{
	char text[ERR_TEXT_SIZE];

	(void)count, (void)arguments;
	vfs_report_last(environment_of(context), text);
	sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

/* --- settings -------------------------------------------------------------------- */

struct setting {
	const char *name;
	int64_t value;
	bool found;
};

static int match_setting(void *context, const char *name, int64_t value,
                         const char *what)
{
	struct setting *setting = context;

	(void)what;
	if (strcmp(name, setting->name) != 0)
		return 0;
	setting->value = value;
	setting->found = true;
	return 1;
}

static int set_store(sqlite3 *db, struct connection *connection,
                     struct setting *setting, uint32_t value, struct err *err)
{
	bool cache = strcmp(setting->name, "cache_kb") == 0;
	char schema[EXT_SCHEMA_SIZE];
	struct store *store;
	int rc = ext_schema_find(db, NULL, schema, &store, err);

	if (cache) {
		setting->value = vtab_cache_configure(connection, value);
		if (rc)
			return ERR_NONE; /* no directory: only tables in files */
	}
	if (rc)
		return rc;
	store_configure(store, cache ? value : 0, cache ? 0 : value);
	store_status(store, match_setting, setting, err);
	return ERR_NONE;
}

static int set_heap(struct heap *heap, struct setting *setting, bool change,
                    uint32_t value)
{
	if (change)
		atomic_store(&heap->limit, (size_t)value * 1024);
	setting->value = (int64_t)(atomic_load(&heap->limit) / 1024);
	return ERR_NONE;
}

static int setting_run(sqlite3_context *context, struct setting *setting,
                       bool change, uint32_t value, struct err *err)
{
	sqlite3 *db = sqlite3_context_db_handle(context);

	if (strcmp(setting->name, "heap_kb") == 0)
		return set_heap(environment_of(context)->heap, setting, change,
		                value);
	if (strcmp(setting->name, "cache_kb") == 0 ||
	    strcmp(setting->name, "checkpoint_mb") == 0)
		return set_store(db, sqlite3_user_data(context), setting,
		                 value, err);
	return err_set(err, ERR_INVALID, "configure", setting->name,
	               "there is no such setting; there are cache_kb, checkpoint_mb and heap_kb");
}

static void config(sqlite3_context *context, int count,
                   sqlite3_value **arguments)
{
	const char *name = ext_text_argument(count, arguments, 0);
	struct setting setting = { .name = name ? name : "" };
	bool change = count > 1;
	sqlite3_int64 value = change ? sqlite3_value_int64(arguments[1]) : 0;
	struct err err;
	int rc = ERR_NONE;

	if (change && (sqlite3_value_numeric_type(arguments[1]) != SQLITE_INTEGER ||
	               value < 0 || value > INT32_MAX))
		rc = err_set(&err, ERR_INVALID, "configure", setting.name,
		             "the value must be a whole number from 0 to 2147483647");
	if (!rc)
		rc = setting_run(context, &setting, change, (uint32_t)value, &err);
	if (rc)
		vfs_result_error(context, &err);
	else
		sqlite3_result_int64(context, setting.value);
}

/* --- checks ------------------------------------------------------------------------ */

struct first_problem {
	char text[ERR_TEXT_SIZE];
};

static void keep_first(void *context, const char *sentence)
{
	struct first_problem *first = context;

	if (!first->text[0])
		snprintf(first->text, sizeof first->text, "%s", sentence);
}

static void check(sqlite3_context *context, int count, sqlite3_value **arguments)
{
	int level = count > 1 ? sqlite3_value_int(arguments[1]) : 1;
	struct first_problem first = { "" };
	struct err err;
	int rc = ext_check(sqlite3_context_db_handle(context),
	                   sqlite3_user_data(context),
	                   ext_text_argument(count, arguments, 0), level, keep_first,
	                   &first, &err);

	if (rc && rc != ERR_CORRUPT)
		vfs_result_error(context, &err);
	else if (first.text[0] || rc)
		sqlite3_result_text(context,
		                    first.text[0] ? first.text : err.text, -1,
		                    SQLITE_TRANSIENT);
	else
		sqlite3_result_text(context, "ok", -1, SQLITE_STATIC);
}

int ext_functions_register(sqlite3 *db, struct connection *connection)
{
	static const struct {
		const char *name;
		int arguments, flags;
		void (*run)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "turdb_version", 0, SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, version },
		{ "turdb_debug", 0, SQLITE_INNOCUOUS, debug },
		{ "turdb_last_error", 0, 0, last_error },
		{ "turdb_config", 1, SQLITE_DIRECTONLY, config },
		{ "turdb_config", 2, SQLITE_DIRECTONLY, config },
		{ "turdb_check", 0, SQLITE_DIRECTONLY, check },
		{ "turdb_check", 1, SQLITE_DIRECTONLY, check },
		{ "turdb_check", 2, SQLITE_DIRECTONLY, check },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !rc; i++)
		rc = sqlite3_create_function_v2(
			db, functions[i].name, functions[i].arguments,
			SQLITE_UTF8 | functions[i].flags,
			vtab_connection_hold(connection), functions[i].run,
			NULL, NULL, vtab_connection_release);
	return rc;
}
