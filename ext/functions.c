/*
 * functions.c - the scalar functions that are about the library or a database.
 *
 *   turdb_version()             "0.1.0"
 *   turdb_debug()               build, kernels, libraries: for bug reports
 *   turdb_last_error()          the sentence of the last failure in this process
 *   turdb_checkpoint([schema])  1 when done, 0 when others kept it from that
 *   turdb_vacuum([pages [, schema]]) pages moved or given back; 0 = nothing left
 *   turdb_config(name [, value]) reads or changes a setting
 *   turdb_check([table [, level]]) 'ok' or the first thing wrong
 */
#include "ext/ext.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/version.h"

SQLITE_EXTENSION_INIT3

static struct vfs_environment *environment_of(sqlite3_context *context)
{
	return sqlite3_user_data(context);
}

static const char *text_argument(int count, sqlite3_value **arguments, int i)
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

/* Who may not write, or is in the middle of it. */
static int refuse_care(sqlite3 *db, const char *operation, const char *schema,
                       struct err *err)
{
	struct store_view *view;

	if (sqlite3_db_readonly(db, schema) == 1)
		return err_set(err, ERR_READONLY, operation, schema,
		               "it was opened read-only");
	if (sqlite3_file_control(db, schema, VFS_FCNTL_VIEW, &view) == SQLITE_OK &&
	    store_view_writing(view))
		return err_set(err, ERR_LOCKED, operation, schema,
		               "this connection has a write transaction open");
	return ERR_NONE;
}

enum { CHECKPOINT_WAIT_US = 30000000, WAIT_SLICE_US = 100000 };

static uint64_t busy_timeout_us(sqlite3 *db)
{
	sqlite3_stmt *statement;
	int64_t ms = 0;

	if (sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &statement, NULL))
		return 0;
	if (sqlite3_step(statement) == SQLITE_ROW)
		ms = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return ms > 0 ? (uint64_t)ms * 1000 : 0;
}

/* Waits for the checkpoint of others, which comes to its end, and for a transaction
 * that has the writer lock no longer than the connection waits for one; breathing. */
static int checkpoint_run(sqlite3 *db, struct os *os, struct store *store,
                          bool *done, struct err *err)
{
	uint64_t now = os->methods->monotonic_us(os), before;
	uint64_t ends = now + CHECKPOINT_WAIT_US;
	uint64_t patience_us = busy_timeout_us(db), waited_us = 0;
	struct vfs_breath breath;
	int rc;

	vfs_breath_init(&breath, db, os);
	do {
		before = now;
		rc = store_checkpoint_within(store, WAIT_SLICE_US, done, err);
		if (!rc && !*done)
			rc = breathe_deeply(&breath.base, err);
		now = os->methods->monotonic_us(os);
		if (store_has_writer(store))
			waited_us += now - before;
	} while (!rc && !*done && now < ends &&
	         (!waited_us || waited_us < patience_us));
	vfs_breath_end(&breath);
	return rc;
}

static void checkpoint(sqlite3_context *context, int count,
                       sqlite3_value **arguments)
{
	struct vfs_environment *environment = environment_of(context);
	sqlite3 *db = sqlite3_context_db_handle(context);
	char schema[EXT_SCHEMA_SIZE];
	struct store *store;
	struct err err;
	bool done;

	if (ext_schema_find(db, text_argument(count, arguments, 0), schema,
	                    &store, &err)) {
		vfs_result_error(context, &err);
		return;
	}
	if (refuse_care(db, "checkpoint", schema, &err)) {
		vfs_result_error(context, &err);
		return;
	}
	if (checkpoint_run(db, environment->os, store, &done, &err)) {
		vfs_report(environment, &err);
		vfs_result_error(context, &err);
		return;
	}
	sqlite3_result_int(context, done);
}

/* --- vacuum ------------------------------------------------------------------------- */

enum { VACUUM_STEP_PAGES = 256, VACUUM_WAIT_US = 5000000 };

struct vacuum {
	sqlite3 *db;
	struct os *os;
	struct store *store;
	struct vfs_breath breath;
	uint64_t left, done;  /* pages */
};

/* One step, waiting for the writer lock in slices, with a breath in each. */
static int vacuum_step(struct vacuum *vacuum, uint32_t *moved, struct err *err)
{
	uint64_t ends = vacuum->os->methods->monotonic_us(vacuum->os) +
	                VACUUM_WAIT_US;
	uint32_t pages = VACUUM_STEP_PAGES;
	int rc;

	if (pages > vacuum->left)
		pages = (uint32_t)vacuum->left;
	do {
		rc = breathe_deeply(&vacuum->breath.base, err);
		if (rc)
			return rc;
		rc = store_vacuum(vacuum->store, pages, WAIT_SLICE_US, moved,
		                  err);
	} while (rc == ERR_BUSY &&
	         vacuum->os->methods->monotonic_us(vacuum->os) < ends);
	return rc;
}

/* Places that were left become free when a checkpoint no longer needs them. */
static int give_back(struct vacuum *vacuum, struct err *err)
{
	uint64_t bytes;
	bool done;
	int rc = store_checkpoint(vacuum->store, &done, err);

	if (!rc)
		rc = store_release(vacuum->store, &bytes, err);
	if (!rc)
		vacuum->done += bytes / STORE_PAGE_SIZE;
	return rc;
}

/* Steps until there is nothing to move, also not when a checkpoint has made room. */
static int vacuum_run(struct vacuum *vacuum, struct err *err)
{
	bool room_made = false;
	int rc = ERR_NONE;

	while (!rc && vacuum->left) {
		uint32_t moved = 0;

		rc = vacuum_step(vacuum, &moved, err);
		vacuum->left -= moved;
		vacuum->done += moved;
		if (!rc && !moved) {
			if (room_made)
				return ERR_NONE;
			rc = give_back(vacuum, err);
		}
		room_made = !moved;
	}
	return rc ? rc : give_back(vacuum, err);
}

static int vacuum_start(struct vacuum *vacuum, int count,
                        sqlite3_value **arguments, struct err *err)
{
	char schema[EXT_SCHEMA_SIZE];
	int rc = ext_schema_find(vacuum->db, text_argument(count, arguments, 1),
	                         schema, &vacuum->store, err);

	if (rc)
		return rc;
	vacuum->left = UINT64_MAX;
	if (count > 0 && sqlite3_value_type(arguments[0]) != SQLITE_NULL) {
		sqlite3_int64 pages = sqlite3_value_int64(arguments[0]);

		if (sqlite3_value_numeric_type(arguments[0]) != SQLITE_INTEGER ||
		    pages < 1)
			return err_set(err, ERR_INVALID, "vacuum", schema,
			               "the number of pages must be a whole number from 1");
		vacuum->left = (uint64_t)pages;
	}
	return refuse_care(vacuum->db, "vacuum", schema, err);
}

static void vacuum(sqlite3_context *context, int count,
                   sqlite3_value **arguments)
{
	struct vacuum vacuum = { .db = sqlite3_context_db_handle(context),
		                 .os = environment_of(context)->os };
	struct err err;
	int rc;

	vfs_breath_init(&vacuum.breath, vacuum.db, vacuum.os);
	rc = vacuum_start(&vacuum, count, arguments, &err);
	if (!rc)
		rc = vacuum_run(&vacuum, &err);
	vfs_breath_end(&vacuum.breath);
	if (rc) {
		vfs_report(environment_of(context), &err);
		vfs_result_error(context, &err);
	} else {
		sqlite3_result_int64(context, (sqlite3_int64)vacuum.done);
	}
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

static int set_store(sqlite3 *db, struct setting *setting, uint32_t value,
                     struct err *err)
{
	bool cache = strcmp(setting->name, "cache_kb") == 0;
	char schema[EXT_SCHEMA_SIZE];
	struct store *store;
	int rc = ext_schema_find(db, NULL, schema, &store, err);

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
		return set_store(db, setting, value, err);
	return err_set(err, ERR_INVALID, "configure", setting->name,
	               "there is no such setting; there are cache_kb, checkpoint_mb and heap_kb");
}

static void config(sqlite3_context *context, int count,
                   sqlite3_value **arguments)
{
	const char *name = text_argument(count, arguments, 0);
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
	                   text_argument(count, arguments, 0), level, keep_first,
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

int ext_functions_register(sqlite3 *db, struct vfs_environment *environment)
{
	static const struct {
		const char *name;
		int arguments, flags;
		void (*run)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "turdb_version", 0, SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, version },
		{ "turdb_debug", 0, SQLITE_INNOCUOUS, debug },
		{ "turdb_last_error", 0, SQLITE_INNOCUOUS, last_error },
		{ "turdb_checkpoint", 0, SQLITE_DIRECTONLY, checkpoint },
		{ "turdb_checkpoint", 1, SQLITE_DIRECTONLY, checkpoint },
		{ "turdb_vacuum", 0, SQLITE_DIRECTONLY, vacuum },
		{ "turdb_vacuum", 1, SQLITE_DIRECTONLY, vacuum },
		{ "turdb_vacuum", 2, SQLITE_DIRECTONLY, vacuum },
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
			SQLITE_UTF8 | functions[i].flags, environment,
			functions[i].run, NULL, NULL, NULL);
	return rc;
}
