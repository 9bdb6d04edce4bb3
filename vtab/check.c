/*
 * check.c - whether tables, their indexes and their graphs agree.
 *
 * Each tree and graph verifies itself (check_files.c); then every row is looked up
 * in every index. Entries of different rows differ, so if every row has its entry
 * and there are as many entries as rows, every entry has its row; when the numbers
 * differ, the entries are asked for their rows. A check of a whole schema looks
 * into every file and finds those that belong to no table.
 *
 * ext/ reaches this through a function, turdb_check_tables(schema, table, level,
 * report): the report is a pointer that only C can bind.
 */
#include "vtab/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


static const char report_type[] = "turdb_report";

/* A file of the schema, and whether a table has claimed it. */
struct listed_file {
	struct store_file_info info;
	bool claimed;
};

struct report {
	void (*problem)(void *context, const char *sentence);
	void *context;
	struct connection *connection;
	const char *schema;
	struct listed_file *files; /* of a check of the whole schema */
	size_t file_count, file_room;
	bool damaged;              /* a tree or graph is                */
	struct err *err;
	int rc;
};

struct checking {
	struct table *table;
	struct report *report;
	const struct table_index *index; /* whose nodes are visited */
	struct err *err;
	int rc;
};

static void tell(void *context, const char *sentence)
{
	struct report *report = context;

	if (!report->rc)
		report->rc = err_set(report->err, ERR_CORRUPT, "check tables of",
		                     report->schema, "%s", sentence);
	report->problem(report->context, sentence);
}

static void tell_damage(void *context, const char *sentence)
{
	struct report *report = context;

	report->damaged = true;
	tell(report, sentence);
}

/* "check table t, index i: row 5 has no entry in the index" */
static void disagree(struct checking *checking, const struct table_index *index,
                     const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void disagree(struct checking *checking, const struct table_index *index,
                     const char *format, ...)
{
	char what[200], text[ERR_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	snprintf(text, sizeof text, "check table %s, index %s: %s",
	         name_shorten(checking->table->name).text,
	         name_shorten(index->definition->name).text, what);
	tell(checking->report, text);
}

/* --- files ------------------------------------------------------------------------ */

static struct store_view *view_of(const struct report *report)
{
	struct store_view *view = NULL;

	if (report->connection->environment.home_find ||
	    sqlite3_file_control(report->connection->db, report->schema,
	                         VFS_FCNTL_VIEW, &view))
		return NULL; /* a home that counts no pages */
	return view;
}

static int check_one_file(struct report *report, struct store_view *view,
                          uint32_t file_id, struct pager *pager, bool graph,
                          struct err *err)
{
	struct connection *connection = report->connection;
	struct store_file_info info;
	struct check_file file = { .pager = pager, .graph = graph,
		                   .kernels = connection->kernels,
		                   .breath = &connection->breath.base };
	int rc = view ? store_file_info(view, file_id, &info, err) : ERR_NONE;

	if (rc)
		return rc;
	file.info = view ? &info : NULL;
	return check_file(&file, connection->heap, tell_damage, report, err);
}

static int list_file(void *context, const struct store_file_info *info)
{
	struct report *report = context;
	size_t room = report->file_room ? report->file_room * 2 : 16;

	if (info->kind == STORE_FILE_CATALOG || info->kind == STORE_FILE_SQLITE)
		return ERR_NONE;
	if (report->file_count == report->file_room) {
		void *larger = heap_resize(report->connection->heap,
		                           report->files,
		                           room * sizeof *report->files);

		if (!larger)
			return err_set(report->err, ERR_NOMEM,
			               "check tables of", report->schema,
			               "no memory for the list of files");
		report->files = larger;
		report->file_room = room;
	}
	report->files[report->file_count++] = (struct listed_file){
		.info = *info,
		.claimed = info->kind == STORE_FILE_DICTIONARY };
	return ERR_NONE;
}

/* Every tree and graph of the schema. */
static int check_all_files(struct report *report, struct err *err)
{
	struct store_view *view = view_of(report);
	int rc = view ? store_file_each(view, list_file, report, err)
	              : ERR_NONE;

	for (size_t i = 0; !rc && i < report->file_count; i++) {
		const struct store_file_info *info = &report->files[i].info;
		struct pager *pager;

		rc = store_pager(view, info->file_id, &pager, err);
		if (!rc)
			rc = check_one_file(report, view, info->file_id, pager,
			                    info->kind == STORE_FILE_GRAPH,
			                    err);
	}
	return rc;
}

static void claim(struct report *report, uint32_t file_id)
{
	for (size_t i = 0; i < report->file_count; i++)
		if (report->files[i].info.file_id == file_id)
			report->files[i].claimed = true;
}

static void tell_of_orphans(struct report *report)
{
	char text[ERR_TEXT_SIZE];

	for (size_t i = 0; i < report->file_count; i++) {
		if (report->files[i].claimed)
			continue;
		snprintf(text, sizeof text,
		         "check %s: the file belongs to no table",
		         report->files[i].info.name);
		tell(report, text);
	}
}

/* The trees and graphs of one table. */
static int check_files_of(struct checking *checking, struct err *err)
{
	struct table *table = checking->table;
	struct report *report = checking->report;
	struct store_view *view = view_of(report);
	int rc = check_one_file(report, view, table->file_id, table->pager,
	                        false, err);

	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];

		rc = check_one_file(report, view, index->file_id, index->pager,
		                    index->definition->kind == INDEX_GRAPH,
		                    err);
	}
	return rc;
}

/* A failure other than damage ends the check; damage has been reported. */
static int only_damage(int rc)
{
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}

/* --- rows against indexes ------------------------------------------------------- */

static int check_entry(struct checking *checking, struct table_index *index,
                       int64_t rowid, struct err *err)
{
	struct table *table = checking->table;
	struct span value;
	bool unique, found;
	int rc = index_key(index, table->values, rowid,
	                   table->definition.rowid_column, &table->old_key,
	                   &unique, err);

	if (!rc)
		rc = btree_get(&index->tree,
		               key_bytes(&table->old_key),
		               &table->scratch, &value, &found, err);
	if (rc)
		return rc;
	if (!found)
		disagree(checking, index, "row %lld has no entry in the index",
		         (long long)rowid);
	else if (unique && value.size != 8)
		disagree(checking, index, "row %lld has a damaged entry",
		         (long long)rowid);
	else if (unique && btree_rowid_of(value.data) != rowid)
		disagree(checking, index,
		         "row %lld has an entry that names row %lld",
		         (long long)rowid,
		         (long long)btree_rowid_of(value.data));
	return ERR_NONE;
}

static int check_node(struct checking *checking, struct table_index *index,
                      int64_t rowid, uint64_t *vectors, struct err *err)
{
	const struct value *value =
		&checking->table->values[index->definition->columns[0].column];
	struct span vector;
	int64_t owner;
	int rc;

	if (value->type == VALUE_NULL)
		return ERR_NONE;
	if (value->type != VALUE_VECTOR) {
		disagree(checking, index,
		         "row %lld has its vector outside the graph",
		         (long long)rowid);
		return ERR_NONE;
	}
	++*vectors;
	rc = hnsw_vector(index->graph, (uint32_t)value->integer, &vector,
	                 &owner, err);
	if (rc == ERR_CORRUPT)
		disagree(checking, index,
		         "row %lld has no node in the graph",
		         (long long)rowid);
	else if (!rc && owner != rowid)
		disagree(checking, index,
		         "row %lld has a node that names row %lld",
		         (long long)rowid, (long long)owner);
	return only_damage(rc);
}

static int load_values(struct table *table, struct span row, struct err *err)
{
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < table->definition.column_count; i++) {
		bool present;

		rc = row_column(row, i, &table->values[i], &present, err);
		if (!rc && !present)
			table->values[i] = (struct value){ .type = VALUE_NULL };
	}
	return rc;
}

static int check_row(struct checking *checking, struct btree_cursor *walk,
                     uint64_t *vectors, struct err *err)
{
	struct table *table = checking->table;
	struct span key, row;
	bool deleted;
	int rc = btree_cursor_read(walk, &key, &row, &deleted, err);

	if (!rc)
		rc = load_values(table, row, err);
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];
		int64_t rowid = btree_rowid_of(key.data);

		rc = index->definition->kind == INDEX_TREE
		             ? check_entry(checking, index, rowid, err)
		             : check_node(checking, index, rowid, &vectors[i],
		                          err);
	}
	return rc;
}

static struct breath *breath_of(const struct checking *checking)
{
	return &checking->table->connection->breath.base;
}

static int check_rows(struct checking *checking, uint64_t *vectors,
                      uint64_t *rows, struct err *err)
{
	struct btree_cursor walk;
	bool on;
	int rc;

	btree_cursor_init(&walk, &checking->table->tree);
	rc = btree_cursor_first(&walk, &on, err);
	for (*rows = 0; !rc && on; ++*rows) {
		rc = check_row(checking, &walk, vectors, err);
		if (!rc)
			rc = breathe(breath_of(checking), err);
		if (!rc)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	return rc;
}

/* --- indexes against rows ------------------------------------------------------- */

static int row_of(struct checking *checking, int64_t rowid, bool *found,
                  struct err *err)
{
	struct table *table = checking->table;
	struct span row;
	uint8_t key[8];
	int rc;

	btree_rowid_key(key, rowid);
	rc = btree_get(&table->tree, span_of(key, 8), &table->scratch, &row,
	               found, err);
	return rc || !*found ? rc : load_values(table, row, err);
}

static int check_owner(struct checking *checking, struct table_index *index,
                       struct span key, int64_t rowid, struct err *err)
{
	struct table *table = checking->table;
	struct key_buffer *own = &table->old_key;
	bool found, unique;
	int rc = row_of(checking, rowid, &found, err);

	if (!rc && !found)
		disagree(checking, index,
		         "an entry names row %lld, which is not there",
		         (long long)rowid);
	if (rc || !found)
		return rc;
	rc = index_key(index, table->values, rowid,
	               table->definition.rowid_column, own, &unique, err);
	if (!rc && (own->size != key.size ||
	            memcmp(own->bytes, key.data, key.size) != 0))
		disagree(checking, index,
		         "an entry of row %lld has other values than the row",
		         (long long)rowid);
	return rc;
}

static int check_entries(struct checking *checking, struct table_index *index,
                         struct err *err)
{
	struct btree_cursor walk;
	struct span key, value;
	bool on, deleted;
	int rc;

	btree_cursor_init(&walk, &index->tree);
	rc = btree_cursor_first(&walk, &on, err);
	while (!rc && on) {
		rc = btree_cursor_read(&walk, &key, &value, &deleted, err);
		if (!rc)
			rc = check_owner(checking, index, key,
			                 index_rowid(key, value), err);
		if (!rc)
			rc = breathe(breath_of(checking), err);
		if (!rc)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	return rc;
}

static void visit_node(void *context, uint32_t node, int64_t rowid)
{
	struct checking *checking = context;
	const struct table_index *index = checking->index;
	bool found;
	const struct value *value;

	if (checking->rc)
		return;
	checking->rc = row_of(checking, rowid, &found, checking->err);
	if (checking->rc)
		return;
	value = &checking->table->values[index->definition->columns[0].column];
	if (!found)
		disagree(checking, index,
		         "a node names row %lld, which is not there",
		         (long long)rowid);
	else if (value->type != VALUE_VECTOR || value->integer != node)
		disagree(checking, index,
		         "node %u names row %lld, which has another vector",
		         node, (long long)rowid);
}

static int check_nodes(struct checking *checking, struct table_index *index,
                       struct err *err)
{
	int rc;

	checking->index = index;
	checking->err = err;
	checking->rc = ERR_NONE;
	rc = only_damage(hnsw_verify(index->graph, NULL, NULL, visit_node,
	                             checking, err));
	return rc ? rc : checking->rc;
}

static int check_count(struct checking *checking, struct table_index *index,
                       uint64_t rows, uint64_t vectors, struct err *err)
{
	bool tree = index->definition->kind == INDEX_TREE;
	uint64_t wanted = tree ? rows : vectors, count;
	int rc = tree ? btree_count(&index->tree, &count, err)
	              : hnsw_count(index->graph, &count, err);

	if (rc || count == wanted)
		return rc;
	disagree(checking, index, "%llu entries for %llu rows",
	         (unsigned long long)count, (unsigned long long)wanted);
	return tree ? check_entries(checking, index, err)
	            : check_nodes(checking, index, err);
}

static int check_agreement(struct checking *checking, struct err *err)
{
	struct table *table = checking->table;
	uint32_t count = table->definition.index_count;
	uint64_t *vectors, rows = 0;
	int rc;

	vectors = heap_zeroed(table->connection->heap,
	                      (count + 1) * sizeof *vectors);
	if (!vectors)
		return err_set(err, ERR_NOMEM, "check table",
		               name_shorten(table->name).text, "no memory");
	rc = check_rows(checking, vectors, &rows, err);
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = check_count(checking, &table->indexes[i], rows, vectors[i],
		                 err);
	heap_free(table->connection->heap, vectors);
	return rc;
}

static int check_table(struct checking *checking, int level, struct err *err)
{
	struct table *table = checking->table;
	struct report *report = checking->report;
	int rc = ERR_NONE;

	if (report->files) {
		claim(report, table->file_id);
		for (uint32_t i = 0; i < table->definition.index_count; i++)
			claim(report, table->indexes[i].file_id);
	} else {
		rc = check_files_of(checking, err);
	}
	/* What is no tree is not walked. */
	if (!rc && level > 0 && !report->damaged)
		rc = check_agreement(checking, err);
	return rc;
}

/* --- which tables ----------------------------------------------------------------- */

static int check_named(struct report *report, const char *name, bool must,
                       int level)
{
	struct checking checking = { .report = report };
	struct err err;
	int rc = table_find_in(report->connection, report->schema, name,
	                       &checking.table, &err);

	if (!rc && checking.table) {
		rc = check_table(&checking, level, &err);
	} else if (!rc && must) {
		rc = err_set(&err, ERR_MISSING, "check table",
		             name_shorten(name).text, "it is not a turdb table");
	} else if (rc == ERR_MISSING && !must) {
		if (!strstr(err.text, "no such module"))
			tell(report, err.text);
		rc = ERR_NONE;
	}
	if (rc)
		*report->err = err;
	return rc;
}

static int check_schema(struct report *report, int level)
{
	char *sql = sqlite3_mprintf(
		"SELECT name FROM \"%w\".sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%%'",
		report->schema);
	sqlite3_stmt *names = NULL;
	int rc = check_all_files(report, report->err);

	if (rc) {
		sqlite3_free(sql);
		return rc;
	}
	if (!sql || sqlite3_prepare_v2(report->connection->db, sql, -1, &names,
	                               NULL))
		rc = err_set(report->err, ERR_IO, "check tables of",
		             report->schema, "%s",
		             sqlite3_errmsg(report->connection->db));
	sqlite3_free(sql);
	while (!rc && sqlite3_step(names) == SQLITE_ROW)
		rc = check_named(report,
		                 (const char *)sqlite3_column_text(names, 0),
		                 false, level);
	sqlite3_finalize(names);
	if (!rc && !report->rc)
		tell_of_orphans(report);
	return rc;
}

static void check_tables(sqlite3_context *context, int argc,
                         sqlite3_value **argv)
{
	struct connection *connection = sqlite3_user_data(context);
	struct report *report = sqlite3_value_pointer(argv[3], report_type);
	const char *schema = (const char *)sqlite3_value_text(argv[0]);
	const char *name = (const char *)sqlite3_value_text(argv[1]);
	int level = sqlite3_value_int(argv[2]), rc;

	(void)argc;
	if (!report || !schema) {
		sqlite3_result_error(context, "use turdb_check()", -1);
		return;
	}
	report->connection = connection;
	report->schema = schema;
	rc = name ? check_named(report, name, true, level)
	          : check_schema(report, level);
	vfs_breath_end(&connection->breath);
	heap_free(connection->heap, report->files);
	report->files = NULL;
	if (rc)
		report->rc = rc;
}

int vtab_check(sqlite3 *db, const char *schema, const char *table, int level,
               void (*say)(void *context, const char *sentence),
               void *context, struct err *err)
{
	struct report report = { .problem = say, .context = context,
		                 .err = err };
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(db, "SELECT turdb_check_tables(?1, ?2, ?3, ?4)",
	                       -1, &statement, NULL))
		return err_set(err, ERR_INVALID, "check tables of", schema, "%s",
		               sqlite3_errmsg(db));
	sqlite3_bind_text(statement, 1, schema, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, table, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 3, level);
	sqlite3_bind_pointer(statement, 4, &report, report_type, NULL);
	if (sqlite3_step(statement) != SQLITE_ROW && !report.rc)
		report.rc = err_set(err, ERR_IO, "check tables of", schema, "%s",
		                    sqlite3_errmsg(db));
	sqlite3_finalize(statement);
	return report.rc;
}

/* --- turdb_count ------------------------------------------------------------------ */

/* A read of the table, without its rows, by SQLite: so the count is of the
 * transaction that is open, or opens one as any other read does. `statement` holds
 * it in autocommit. */
static int read_begin(struct table *table, sqlite3_stmt **statement,
                      struct err *err)
{
	sqlite3 *db = table->connection->db;
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\" LIMIT 1",
	                            table->schema, table->name);
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (!rc)
		rc = sqlite3_step(*statement);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_NONE;
	return err_set(err, err_of_sqlite(rc), "count rows of",
	               name_shorten(table->name).text, "%s",
	               why_of_sqlite(db, rc));
}

static int count_in(struct connection *connection, const char *name,
                    uint64_t *rows, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	struct table *table = NULL;
	int rc = table_find(connection, name, &table, err);

	if (!rc)
		rc = read_begin(table, &statement, err);
	if (!rc) /* reading may have connected it anew */
		rc = table_find(connection, name, &table, err);
	if (!rc)
		rc = btree_count(&table->tree, rows, err);
	sqlite3_finalize(statement);
	return rc;
}

/* turdb_count('table' or 'schema.table'): the rows, without walking them. */
static void count_rows(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = (const char *)sqlite3_value_text(argv[0]);
	uint64_t rows = 0;
	struct err err;
	int rc;

	(void)argc;
	rc = name ? count_in(sqlite3_user_data(context), name, &rows, &err)
	          : err_set(&err, ERR_INVALID, "count rows", "", "no table named");
	if (!rc) {
		sqlite3_result_int64(context, (sqlite3_int64)rows);
		return;
	}
	vfs_result_error(context, &err);
}

int check_register(struct connection *connection)
{
	int rc = sqlite3_create_function_v2(
		connection->db, "turdb_check_tables", 4,
		SQLITE_UTF8 | SQLITE_DIRECTONLY, connection, check_tables, NULL,
		NULL, NULL);

	return rc ? rc : sqlite3_create_function_v2(
				 connection->db, "turdb_count", 1, SQLITE_UTF8,
				 connection, count_rows, NULL, NULL, NULL);
}
