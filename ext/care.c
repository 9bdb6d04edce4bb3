/*
 * care.c - the scalar functions that take care of a database.
 *
 *   turdb_checkpoint([schema])  1 when done, 0 when others kept it from that
 *   turdb_vacuum([pages [, schema]]) pages moved or given back; 0 = nothing left
 *
 * Both wait for others in slices, and breathe in each, so that they can be ended.
 */
#include "ext/ext.h"

SQLITE_EXTENSION_INIT3

enum { WAIT_SLICE_US = 100000 };

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

/* --- checkpoint --------------------------------------------------------------------- */

enum { CHECKPOINT_WAIT_US = 30000000 };

static uint64_t busy_timeout_us(sqlite3 *db)
{
	int64_t ms = vfs_busy_timeout(db);

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
	struct vfs_environment *environment = sqlite3_user_data(context);
	sqlite3 *db = sqlite3_context_db_handle(context);
	char schema[EXT_SCHEMA_SIZE];
	struct store *store;
	struct err err;
	bool done;

	if (ext_schema_find(db, ext_text_argument(count, arguments, 0), schema,
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
	int rc = ext_schema_find(vacuum->db, ext_text_argument(count, arguments, 1),
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
	struct vfs_environment *environment = sqlite3_user_data(context);
	struct vacuum vacuum = { .db = sqlite3_context_db_handle(context),
		                 .os = environment->os };
	struct err err;
	int rc;

	vfs_breath_init(&vacuum.breath, vacuum.db, vacuum.os);
	rc = vacuum_start(&vacuum, count, arguments, &err);
	if (!rc)
		rc = vacuum_run(&vacuum, &err);
	vfs_breath_end(&vacuum.breath);
	if (rc) {
		vfs_report(environment, &err);
		vfs_result_error(context, &err);
	} else {
		sqlite3_result_int64(context, (sqlite3_int64)vacuum.done);
	}
}

int ext_care_register(sqlite3 *db, struct vfs_environment *environment)
{
	int rc = SQLITE_OK;

	for (int i = 0; i <= 1 && !rc; i++)
		rc = sqlite3_create_function_v2(
			db, "turdb_checkpoint", i,
			SQLITE_UTF8 | SQLITE_DIRECTONLY, environment,
			checkpoint, NULL, NULL, NULL);
	for (int i = 0; i <= 2 && !rc; i++)
		rc = sqlite3_create_function_v2(
			db, "turdb_vacuum", i, SQLITE_UTF8 | SQLITE_DIRECTONLY,
			environment, vacuum, NULL, NULL, NULL);
	return rc;
}
