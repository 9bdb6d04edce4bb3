/*
 * check.c - turdb_check() and turdb_problems(): everything that can be verified.
 */
#include "ext/ext.h"

#include "vtab/vtab.h"

SQLITE_EXTENSION_INIT3

struct check {
	sqlite3 *db;
	struct connection *connection;
	const char *table;  /* NULL: whole databases */
	bool found;
	int level;
	void (*problem)(void *context, const char *sentence);
	void *context;
};

static int check_store(struct check *check, struct store_view *view,
                       struct err *err)
{
	struct vfs_breath breath;
	int rc;

	vfs_breath_init(&breath, check->db, vfs_environment_find()->os);
	store_view_breathe(view, &breath.base);
	rc = store_check(view, check->level, check->problem, check->context, err);
	store_view_breathe(view, NULL);
	vfs_breath_end(&breath);
	return rc;
}

static int check_schema(void *context, const char *schema, struct err *err)
{
	struct check *check = context;
	sqlite3_stmt *reading = NULL;
	struct store_view *view;
	int rc = ext_read_begin(check->db, schema, &reading, &view, err);

	if (rc)
		return rc;
	if (view && !check->table)
		rc = check_store(check, view, err);
	/* Pages that are not what was written are not looked into. */
	if (!rc)
		rc = vtab_check(check->connection, schema, check->table,
		                check->level, check->problem, check->context, err);
	sqlite3_finalize(reading);
	if (check->table && rc == ERR_MISSING)
		return ERR_NONE; /* perhaps in the next schema */
	check->found = true;
	return rc;
}

int ext_check(sqlite3 *db, struct connection *connection, const char *table,
              int level,
              void (*problem)(void *context, const char *sentence),
              void *context, struct err *err)
{
	struct check check = { .db = db, .connection = connection, .table = table,
		               .level = level, .problem = problem,
		               .context = context };
	int rc = ext_schema_each(db, true, check_schema, &check, err);

	if (!rc && table && !check.found)
		rc = err_set(err, ERR_MISSING, "check table", table,
		             "there is no such turdb table");
	return rc;
}
