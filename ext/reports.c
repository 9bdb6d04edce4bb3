/*
 * reports.c - the table-valued functions: rows about a database or the library.
 *
 *   turdb_status([schema])    name, value, what
 *   turdb_readers([schema])   pid, age_ms, txid, writer, held_bytes
 *   turdb_wal([schema])       segment, bytes, first_lsn
 *   turdb_problems([level])   problem: one row for each thing wrong
 *   turdb_tables([schema]), turdb_columns([table]), turdb_indexes([table])
 *                             as vtab_describe() has them
 *
 * One module serves them all. A report is filled whole when the scan begins, so
 * that its rows are of one moment, and read back from memory. Its argument is a
 * hidden column, the last one.
 */
#include "ext/ext.h"

#include "vtab/vtab.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#ifndef SQLITE_VTAB_USES_ALL_SCHEMAS
#define SQLITE_VTAB_USES_ALL_SCHEMAS 4 /* from SQLite 3.41 on */
#endif

enum { COLUMNS_MAX = 12 };

struct cell {
	int64_t number;
	char *text; /* NULL: a number */
	bool null;  /* in SQL         */
};

struct row {
	struct row *next;
	struct cell cells[COLUMNS_MAX];
};

struct report_kind;

struct report_table {
	sqlite3_vtab base;
	sqlite3 *db;
	struct connection *connection;
	const struct report_kind *kind;
};

struct report_cursor {
	sqlite3_vtab_cursor base;
	struct heap *heap;
	struct row *rows, *last, *at;
	int64_t number;
	int rc;      /* of adding rows */
};

struct report_kind {
	const char *name, *declaration;
	int columns; /* without the hidden one */
	bool of_all_schemas; /* one statement reads each of them at one moment */
	int (*fill)(struct report_cursor *cursor, struct report_table *table,
	            sqlite3_value *argument, struct err *err);
};

/* --- rows --------------------------------------------------------------------------- */

static struct row *add_row(struct report_cursor *cursor)
{
	struct row *row = heap_zeroed(cursor->heap, sizeof *row);

	if (!row) {
		cursor->rc = ERR_NOMEM;
		return NULL;
	}
	if (cursor->last)
		cursor->last->next = row;
	else
		cursor->rows = row;
	cursor->last = row;
	return row;
}

static void set_text(struct report_cursor *cursor, struct cell *cell,
                     const char *text)
{
	size_t size = strlen(text) + 1;

	cell->text = heap_allocate(cursor->heap, size);
	if (cell->text)
		memcpy(cell->text, text, size);
	else
		cursor->rc = ERR_NOMEM;
}

static void clear(struct report_cursor *cursor)
{
	while (cursor->rows) {
		struct row *row = cursor->rows;

		cursor->rows = row->next;
		for (int i = 0; i < COLUMNS_MAX; i++)
			heap_free(cursor->heap, row->cells[i].text);
		heap_free(cursor->heap, row);
	}
	cursor->last = cursor->at = NULL;
}

/* --- the reports ---------------------------------------------------------------------- */

static int store_for(struct report_table *table, sqlite3_value *argument,
                     struct store **store, struct err *err)
{
	char schema[EXT_SCHEMA_SIZE];
	const char *wish = argument ? (const char *)sqlite3_value_text(argument)
	                            : NULL;

	return ext_schema_find(table->db, wish, schema, store, err);
}

static int add_figure(void *context, const char *name, int64_t value,
                      const char *what)
{
	struct report_cursor *cursor = context;
	struct row *row = add_row(cursor);

	if (!row)
		return 1;
	set_text(cursor, &row->cells[0], name);
	row->cells[1].number = value;
	set_text(cursor, &row->cells[2], what);
	return 0;
}

/* Of the directory that is meant; of any other schema that was named, and of main where
 * there is none. */
static int fill_figures(struct report_cursor *cursor, struct report_table *table,
                        sqlite3_value *argument, struct err *err)
{
	const char *wish = argument ? (const char *)sqlite3_value_text(argument)
	                            : NULL;
	struct store *store;
	int rc = store_for(table, argument, &store, err);

	if (!rc)
		return store_status(store, add_figure, cursor, err);
	if (rc != ERR_INVALID)
		return rc;
	if (wish && sqlite3_db_readonly(table->db, wish) < 0)
		return err_set(err, ERR_INVALID, "find database", wish,
		               "there is none of that name");
	return vtab_status(table->connection, wish ? wish : "main", add_figure,
	                   cursor, err);
}

static int fill_status(struct report_cursor *cursor, struct report_table *table,
                       sqlite3_value *argument, struct err *err)
{
	struct vfs_environment *environment = vtab_process_of(table->connection);
	int rc = fill_figures(cursor, table, argument, err);

	if (rc)
		return rc;
	add_figure(cursor, "heap_limit",
	           (int64_t)atomic_load(&environment->heap->limit),
	           "bytes this process may allocate for TurDB, 0 = no limit");
	add_figure(cursor, "opens", (int64_t)atomic_load(&environment->opens),
	           "directory databases opened in this process so far");
	return ERR_NONE;
}

static int add_reader(void *context, uint32_t pid, uint64_t age_ms,
                      uint64_t txid, bool writer, int64_t held)
{
	struct row *row = add_row(context);

	if (!row)
		return 1;
	row->cells[0].number = pid;
	row->cells[1].number = (int64_t)age_ms;
	row->cells[2].number = (int64_t)txid;
	row->cells[3].number = writer;
	row->cells[4].number = held;
	row->cells[4].null = held < 0;
	return 0;
}

static int fill_readers(struct report_cursor *cursor, struct report_table *table,
                        sqlite3_value *argument, struct err *err)
{
	struct store *store;
	int rc = store_for(table, argument, &store, err);

	return rc ? rc : store_readers(store, add_reader, cursor, err);
}

static int add_segment(void *context, uint32_t segment_no, uint64_t bytes,
                       uint64_t first_lsn)
{
	struct row *row = add_row(context);

	if (!row)
		return 1;
	row->cells[0].number = segment_no;
	row->cells[1].number = (int64_t)bytes;
	row->cells[2].number = (int64_t)first_lsn;
	return 0;
}

static int fill_wal(struct report_cursor *cursor, struct report_table *table,
                    sqlite3_value *argument, struct err *err)
{
	struct store *store;
	int rc = store_for(table, argument, &store, err);

	return rc ? rc : store_log_segments(store, add_segment, cursor, err);
}

static void add_problem(void *context, const char *sentence)
{
	struct row *row = add_row(context);

	if (row)
		set_text(context, &row->cells[0], sentence);
}

static int fill_problems(struct report_cursor *cursor,
                         struct report_table *table, sqlite3_value *argument,
                         struct err *err)
{
	int level = argument ? sqlite3_value_int(argument) : 1;
	int rc = ext_check(table->db, table->connection, NULL, level, add_problem, cursor, err);

	return rc == ERR_CORRUPT && cursor->rows ? ERR_NONE : rc;
}

struct description {
	struct report_cursor *cursor;
	int columns;
};

static void add_cells(void *context, const struct vtab_cell *cells)
{
	struct description *description = context;
	struct row *row = add_row(description->cursor);

	for (int i = 0; row && i < description->columns; i++) {
		row->cells[i].number = cells[i].number;
		row->cells[i].null = cells[i].null;
		if (cells[i].text)
			set_text(description->cursor, &row->cells[i],
			         cells[i].text);
	}
}

static int fill_description(struct report_cursor *cursor,
                            struct report_table *table,
                            sqlite3_value *argument, enum vtab_report report,
                            struct err *err)
{
	struct description description = { cursor, table->kind->columns };

	return vtab_describe(table->connection, report,
	                     argument ? (const char *)sqlite3_value_text(argument)
	                              : NULL,
	                     add_cells, &description, err);
}

static int fill_tables(struct report_cursor *cursor, struct report_table *table,
                       sqlite3_value *argument, struct err *err)
{
	return fill_description(cursor, table, argument, VTAB_TABLES, err);
}

static int fill_columns(struct report_cursor *cursor, struct report_table *table,
                        sqlite3_value *argument, struct err *err)
{
	return fill_description(cursor, table, argument, VTAB_COLUMNS, err);
}

static int fill_indexes(struct report_cursor *cursor, struct report_table *table,
                        sqlite3_value *argument, struct err *err)
{
	return fill_description(cursor, table, argument, VTAB_INDEXES, err);
}

static const struct report_kind kinds[] = {
	{ "turdb_status", "CREATE TABLE x(name TEXT, value INTEGER, what TEXT, schema HIDDEN)",
	  3, false, fill_status },
	{ "turdb_readers", "CREATE TABLE x(pid INTEGER, age_ms INTEGER, txid INTEGER, writer INTEGER, held_bytes INTEGER, schema HIDDEN)",
	  5, false, fill_readers },
	{ "turdb_wal", "CREATE TABLE x(segment INTEGER, bytes INTEGER, first_lsn INTEGER, schema HIDDEN)",
	  3, false, fill_wal },
	{ "turdb_problems", "CREATE TABLE x(problem TEXT, level HIDDEN)",
	  1, false, fill_problems },
	{ "turdb_tables", "CREATE TABLE x(schema TEXT, name TEXT, rows INTEGER, columns INTEGER, indexes INTEGER, pages INTEGER, "
	  "bytes INTEGER, index_bytes INTEGER, file TEXT, of_schema HIDDEN)",
	  9, true, fill_tables },
	{ "turdb_columns", "CREATE TABLE x(schema TEXT, tbl_name TEXT, cid INTEGER, name TEXT, type TEXT, \"notnull\" INTEGER, "
	  "dflt_value TEXT, pk INTEGER, collation TEXT, generated TEXT, of_table HIDDEN)",
	  10, true, fill_columns },
	{ "turdb_indexes", "CREATE TABLE x(schema TEXT, tbl_name TEXT, name TEXT, kind TEXT, \"unique\" INTEGER, origin TEXT, "
	  "columns TEXT, options TEXT, entries INTEGER, pages INTEGER, bytes INTEGER, file TEXT, of_table HIDDEN)",
	  12, true, fill_indexes },
};

/* --- the module ------------------------------------------------------------------------ */

struct report_module {
	struct connection *connection;
	const struct report_kind *kind;
};

static int report_connect(sqlite3 *db, void *context, int argument_count,
                          const char *const *arguments, sqlite3_vtab **made,
                          char **message)
{
	struct report_module *module = context;
	struct report_table *table;
	int rc = sqlite3_declare_vtab(db, module->kind->declaration);

	(void)argument_count, (void)arguments, (void)message;
	if (rc)
		return rc;
	table = heap_zeroed(vtab_process_of(module->connection)->heap,
	                    sizeof *table);
	if (!table)
		return SQLITE_NOMEM;
	sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
	if (module->kind->of_all_schemas && sqlite3_libversion_number() >= 3041000)
		sqlite3_vtab_config(db, SQLITE_VTAB_USES_ALL_SCHEMAS);
	table->db = db;
	table->connection = module->connection;
	table->kind = module->kind;
	*made = &table->base;
	return SQLITE_OK;
}

static int report_disconnect(sqlite3_vtab *base)
{
	struct report_table *table = (struct report_table *)(void *)base;

	heap_free(vtab_process_of(table->connection)->heap, table);
	return SQLITE_OK;
}

static int report_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	struct report_table *table = (struct report_table *)(void *)base;

	info->estimatedCost = 1000;
	info->estimatedRows = 20;
	for (int i = 0; i < info->nConstraint; i++) {
		if (info->aConstraint[i].iColumn != table->kind->columns)
			continue;
		if (!info->aConstraint[i].usable ||
		    info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
			return SQLITE_CONSTRAINT;
		info->aConstraintUsage[i].argvIndex = 1;
		info->aConstraintUsage[i].omit = 1;
		break;
	}
	return SQLITE_OK;
}

static int report_open(sqlite3_vtab *base, sqlite3_vtab_cursor **made)
{
	struct report_table *table = (struct report_table *)(void *)base;
	struct heap *heap = vtab_process_of(table->connection)->heap;
	struct report_cursor *cursor = heap_zeroed(heap, sizeof *cursor);

	if (!cursor)
		return SQLITE_NOMEM;
	cursor->heap = heap;
	*made = &cursor->base;
	return SQLITE_OK;
}

static int report_close(sqlite3_vtab_cursor *base)
{
	struct report_cursor *cursor = (struct report_cursor *)(void *)base;

	clear(cursor);
	heap_free(cursor->heap, cursor);
	return SQLITE_OK;
}

static int report_filter(sqlite3_vtab_cursor *base, int plan, const char *name,
                         int count, sqlite3_value **arguments)
{
	struct report_cursor *cursor = (struct report_cursor *)(void *)base;
	struct report_table *table = (struct report_table *)(void *)base->pVtab;
	struct err err;
	int rc;

	(void)plan, (void)name;
	clear(cursor);
	cursor->rc = ERR_NONE;
	cursor->number = 0;
	rc = table->kind->fill(cursor, table, count ? arguments[0] : NULL, &err);
	if (!rc && cursor->rc)
		rc = err_set(&err, ERR_NOMEM, "report", table->kind->name,
		             "out of memory");
	cursor->at = cursor->rows;
	if (!rc)
		return SQLITE_OK;
	sqlite3_free(table->base.zErrMsg);
	table->base.zErrMsg = sqlite3_mprintf("%s", err.text);
	return vfs_result(rc);
}

static int report_next(sqlite3_vtab_cursor *base)
{
	struct report_cursor *cursor = (struct report_cursor *)(void *)base;

	cursor->at = cursor->at->next;
	cursor->number++;
	return SQLITE_OK;
}

static int report_eof(sqlite3_vtab_cursor *base)
{
	return ((struct report_cursor *)(void *)base)->at == NULL;
}

static int report_column(sqlite3_vtab_cursor *base, sqlite3_context *context,
                         int column)
{
	struct report_cursor *cursor = (struct report_cursor *)(void *)base;
	struct report_table *table = (struct report_table *)(void *)base->pVtab;
	const struct cell *cell;

	if (column >= table->kind->columns)
		return SQLITE_OK;
	cell = &cursor->at->cells[column];
	if (cell->null)
		return SQLITE_OK;
	if (cell->text)
		sqlite3_result_text(context, cell->text, -1, SQLITE_TRANSIENT);
	else
		sqlite3_result_int64(context, cell->number);
	return SQLITE_OK;
}

static int report_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = ((struct report_cursor *)(void *)base)->number;
	return SQLITE_OK;
}

/* Without xCreate: the names exist by themselves and cannot be created. */
static const sqlite3_module module = {
	.xConnect = report_connect,
	.xBestIndex = report_best_index,
	.xDisconnect = report_disconnect,
	.xOpen = report_open,
	.xClose = report_close,
	.xFilter = report_filter,
	.xNext = report_next,
	.xEof = report_eof,
	.xColumn = report_column,
	.xRowid = report_rowid,
};

static void module_release(void *context)
{
	struct report_module *made = context;

	vtab_connection_release(made->connection);
	sqlite3_free(made);
}

int ext_reports_register(sqlite3 *db, struct connection *connection)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !rc; i++) {
		struct report_module *made = sqlite3_malloc64(sizeof *made);

		if (!made)
			return SQLITE_NOMEM;
		made->connection = vtab_connection_hold(connection);
		made->kind = &kinds[i];
		rc = sqlite3_create_module_v2(db, kinds[i].name, &module, made,
		                              module_release);
	}
	return rc;
}
