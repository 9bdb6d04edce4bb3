/*
 * vector_each.c - vec_each(vector): a table with a row for each element.
 */
#include "vtab/vector_value.h"

#include <string.h>

enum { EACH_VALUE, EACH_VECTOR };

struct each_cursor {
	sqlite3_vtab_cursor base;
	struct vector_value vector;
	sqlite3_value *kept;   /* lends the vector's bytes */
	uint32_t at;
};

static struct each_cursor *each_of(sqlite3_vtab_cursor *cursor)
{
	return (struct each_cursor *)(void *)cursor;
}

static int each_connect(sqlite3 *db, void *context, int argc,
                        const char *const *argv, sqlite3_vtab **vtab,
                        char **message)
{
	int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(value, vector HIDDEN)");

	(void)context, (void)argc, (void)argv, (void)message;
	if (rc)
		return rc;
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	*vtab = sqlite3_malloc64(sizeof **vtab);
	if (!*vtab)
		return SQLITE_NOMEM;
	memset(*vtab, 0, sizeof **vtab);
	return SQLITE_OK;
}

static int each_disconnect(sqlite3_vtab *vtab)
{
	sqlite3_free(vtab);
	return SQLITE_OK;
}

static int each_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	(void)vtab;
	info->estimatedCost = 100;
	info->estimatedRows = 100;
	for (int i = 0; i < info->nConstraint; i++) {
		if (info->aConstraint[i].iColumn != EACH_VECTOR ||
		    info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
			continue;
		if (!info->aConstraint[i].usable)
			return SQLITE_CONSTRAINT;
		info->aConstraintUsage[i].argvIndex = 1;
		info->aConstraintUsage[i].omit = 1;
		return SQLITE_OK;
	}
	sqlite3_free(vtab->zErrMsg);
	vtab->zErrMsg = sqlite3_mprintf("vec_each needs a vector: vec_each('[1, 2]')");
	return SQLITE_ERROR;
}

static int each_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **opened)
{
	struct each_cursor *cursor = sqlite3_malloc64(sizeof *cursor);

	(void)vtab;
	if (!cursor)
		return SQLITE_NOMEM;
	memset(cursor, 0, sizeof *cursor);
	*opened = &cursor->base;
	return SQLITE_OK;
}

static void each_clear(struct each_cursor *cursor)
{
	vector_value_release(&cursor->vector);
	sqlite3_value_free(cursor->kept);
	cursor->kept = NULL;
	cursor->vector.dimensions = 0;
	cursor->at = 0;
}

static int each_close(sqlite3_vtab_cursor *closed)
{
	each_clear(each_of(closed));
	sqlite3_free(closed);
	return SQLITE_OK;
}

static int each_filter(sqlite3_vtab_cursor *filtered, int number,
                       const char *text, int argc, sqlite3_value **argv)
{
	struct each_cursor *cursor = each_of(filtered);
	struct err err;
	int rc;

	(void)number, (void)text, (void)argc;
	each_clear(cursor);
	cursor->kept = sqlite3_value_dup(argv[0]);
	if (!cursor->kept)
		return SQLITE_NOMEM;
	rc = vector_value_take("vec_each", cursor->kept, &cursor->vector, &err);
	if (!rc)
		return SQLITE_OK;
	each_clear(cursor);
	sqlite3_free(filtered->pVtab->zErrMsg);
	filtered->pVtab->zErrMsg = sqlite3_mprintf("%s", err.text);
	return rc == ERR_NOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
}

static int each_next(sqlite3_vtab_cursor *cursor)
{
	each_of(cursor)->at++;
	return SQLITE_OK;
}

static int each_eof(sqlite3_vtab_cursor *cursor)
{
	return each_of(cursor)->at >= each_of(cursor)->vector.dimensions;
}

static int each_column(sqlite3_vtab_cursor *read, sqlite3_context *context,
                       int column)
{
	struct each_cursor *cursor = each_of(read);
	float number = vector_value_number(&cursor->vector, cursor->at);

	if (column == EACH_VECTOR)
		sqlite3_result_value(context, cursor->kept);
	else if (cursor->vector.element == HNSW_INT8 ||
	         cursor->vector.element == HNSW_BIT)
		sqlite3_result_int(context, (int)number);
	else
		sqlite3_result_double(context, (double)number);
	return SQLITE_OK;
}

static int each_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
	*rowid = each_of(cursor)->at;
	return SQLITE_OK;
}

const sqlite3_module vector_each_module = {
	.xConnect = each_connect,
	.xBestIndex = each_best_index,
	.xDisconnect = each_disconnect,
	.xOpen = each_open,
	.xClose = each_close,
	.xFilter = each_filter,
	.xNext = each_next,
	.xEof = each_eof,
	.xColumn = each_column,
	.xRowid = each_rowid,
};
