/*
 * check.c - whether tables, their indexes and their graphs agree.
 *
 * Each tree and graph verifies itself; then every row is looked up in every index.
 * Entries of different rows differ, so if every row has its entry and there are as
 * many entries as rows, every entry has its row. The pages that a walk reached, with
 * the free ones, must be all pages of the file.
 *
 * ext/ reaches this through a function, turdb_check_tables(schema, table, level,
 * report): the report is a pointer that only C can bind.
 */
#include "vtab/table.h"

#include <stdio.h>
#include <string.h>

enum { ROWS_BETWEEN_BREATHS = 4096 };

static const char report_type[] = "turdb_report";

struct report {
	void (*problem)(void *context, const char *sentence);
	void *context;
	struct err *err;
	int rc;
};

struct checking {
	struct table *table;
	struct report *report;
	sqlite3_stmt *breath;  /* stepping it lets an interrupt in */
	uint64_t pages, nodes;
};

static void problem(void *context, const char *sentence)
{
	struct checking *checking = context;
	struct report *report = checking->report;

	if (!report->rc)
		report->rc = err_set(report->err, ERR_CORRUPT, "check table",
		                     name_shorten(checking->table->name).text,
		                     "%s", sentence);
	report->problem(report->context, sentence);
}

static void disagree(struct checking *checking, const struct pager *pager,
                     const char *what, int64_t rowid)
{
	char text[ERR_TEXT_SIZE];

	snprintf(text, sizeof text, "check %s: row %lld %s", pager->name,
	         (long long)rowid, what);
	problem(checking, text);
}

static void visit(void *context, uint32_t page_no)
{
	struct checking *checking = context;

	(void)page_no; /* the walk itself refuses to see a page twice */
	checking->pages++;
}

static void visit_node(void *context, uint32_t node, int64_t rowid)
{
	struct checking *checking = context;

	(void)node, (void)rowid;
	checking->nodes++;
}

/* A failure other than damage ends the check; damage has been reported. */
static int only_damage(int rc)
{
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}

static int check_pages(struct checking *checking, uint32_t file_id,
                       const struct pager *pager, struct err *err)
{
	struct table *table = checking->table;
	struct store_view *view = NULL;
	struct store_file_info info;
	char text[ERR_TEXT_SIZE];
	int rc;

	if (table->connection->environment.home_find ||
	    sqlite3_file_control(table->connection->db, table->schema,
	                         VFS_FCNTL_VIEW, &view) || !view)
		return ERR_NONE; /* a home that counts no pages */
	rc = store_file_info(view, file_id, &info, err);
	if (rc || checking->pages + info.free_pages + 1 == info.page_count)
		return rc;
	snprintf(text, sizeof text,
	         "check %s: %u pages, but 1 header, %llu reached and %u free",
	         pager->name, info.page_count,
	         (unsigned long long)checking->pages, info.free_pages);
	problem(checking, text);
	return ERR_NONE;
}

static int check_tree(struct checking *checking, struct btree *tree,
                      uint32_t file_id, struct err *err)
{
	uint32_t before = (uint32_t)checking->report->rc;
	int rc;

	checking->pages = 0;
	rc = only_damage(btree_verify(tree, problem, visit, checking, err));
	return rc || before != (uint32_t)checking->report->rc
	               ? rc : check_pages(checking, file_id, tree->pager, err);
}

static int check_graph(struct checking *checking, struct table_index *index,
                       struct err *err)
{
	checking->pages = checking->nodes = 0;
	return only_damage(hnsw_verify(index->graph, problem, visit, visit_node,
	                               checking, err));
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
		               span_of(table->old_key.bytes,
		                       table->old_key.size),
		               &table->scratch, &value, &found, err);
	if (rc)
		return rc;
	if (!found)
		disagree(checking, index->pager, "has no entry in the index",
		         rowid);
	else if (unique && (value.size != 8 ||
	                    btree_rowid_of(value.data) != rowid))
		disagree(checking, index->pager,
		         "has an entry that names another row", rowid);
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
		disagree(checking, index->pager, "has a vector outside the graph",
		         rowid);
		return ERR_NONE;
	}
	++*vectors;
	rc = hnsw_vector(index->graph, (uint32_t)value->integer, &vector,
	                 &owner, err);
	if (rc == ERR_CORRUPT)
		disagree(checking, index->pager, "has no node in the graph",
		         rowid);
	else if (!rc && owner != rowid)
		disagree(checking, index->pager,
		         "has a node that names another row", rowid);
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

static int breathe(struct checking *checking, struct err *err)
{
	int rc = sqlite3_step(checking->breath);

	sqlite3_reset(checking->breath);
	if (rc == SQLITE_ROW)
		return ERR_NONE;
	return err_set(err, rc == SQLITE_INTERRUPT ? ERR_INTERRUPT : ERR_IO,
	               "check table", name_shorten(checking->table->name).text,
	               "%s", sqlite3_errmsg(checking->table->connection->db));
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
		if (!rc && *rows % ROWS_BETWEEN_BREATHS == 0)
			rc = breathe(checking, err);
		if (!rc)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	return rc;
}

static int check_count(struct checking *checking, struct table_index *index,
                       uint64_t rows, uint64_t vectors, struct err *err)
{
	bool tree = index->definition->kind == INDEX_TREE;
	uint64_t wanted = tree ? rows : vectors, count;
	char text[ERR_TEXT_SIZE];
	int rc = tree ? btree_count(&index->tree, &count, err)
	              : hnsw_count(index->graph, &count, err);

	if (rc || count == wanted)
		return rc;
	snprintf(text, sizeof text, "check %s: %llu entries for %llu rows",
	         index->pager->name, (unsigned long long)count,
	         (unsigned long long)wanted);
	problem(checking, text);
	return ERR_NONE;
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
	int rc = check_tree(checking, &table->tree, table->file_id, err);

	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];

		rc = index->definition->kind == INDEX_TREE
		             ? check_tree(checking, &index->tree, index->file_id,
		                          err)
		             : check_graph(checking, index, err);
	}
	if (!rc && level > 0 && !checking->report->rc)
		rc = check_agreement(checking, err);
	return rc;
}

/* --- which tables ----------------------------------------------------------------- */

/* Preparing a statement on the table connects it: NULL if it is not ours. */
static int find_table(struct connection *connection, const char *schema,
                      const char *name, struct table **found, struct err *err)
{
	char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, name);
	sqlite3_stmt *statement = NULL;
	int rc = sql ? sqlite3_prepare_v2(connection->db, sql, -1, &statement,
	                                  NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	sqlite3_finalize(statement);
	*found = NULL;
	if (rc)
		return err_set(err, rc == SQLITE_NOMEM ? ERR_NOMEM : ERR_MISSING,
		               "check table", name_shorten(name).text, "%s",
		               sqlite3_errmsg(connection->db));
	/* The newest: older ones may wait for their last statement to end. */
	for (struct table *table = connection->tables; table && !*found;
	     table = table->next)
		if (sqlite3_stricmp(table->schema, schema) == 0 &&
		    sqlite3_stricmp(table->name, name) == 0 && table->pager)
			*found = table;
	return ERR_NONE;
}

static int check_named(struct connection *connection, const char *schema,
                       const char *name, bool must, int level,
                       sqlite3_stmt *breath, struct report *report)
{
	struct checking checking = { .report = report, .breath = breath };
	struct err *err = report->err;
	int rc = find_table(connection, schema, name, &checking.table, err);

	if (rc && rc != ERR_MISSING)
		return rc;
	if (!rc && checking.table)
		return check_table(&checking, level, err);
	if (must)
		return rc ? rc : err_set(err, ERR_MISSING, "check table", name,
		                         "it is not a turdb table");
	if (rc && !strstr(err->text, "no such module")) {
		report->rc = ERR_CORRUPT;
		report->problem(report->context, err->text);
	}
	return ERR_NONE;
}

static int check_schema(struct connection *connection, const char *schema,
                        int level, sqlite3_stmt *breath,
                        struct report *report)
{
	char *sql = sqlite3_mprintf(
		"SELECT name FROM \"%w\".sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%%'",
		schema);
	sqlite3_stmt *names = NULL;
	int rc = ERR_NONE;

	if (!sql || sqlite3_prepare_v2(connection->db, sql, -1, &names, NULL))
		rc = err_set(report->err, ERR_IO, "check tables of", schema,
		             "%s", sqlite3_errmsg(connection->db));
	sqlite3_free(sql);
	while (!rc && sqlite3_step(names) == SQLITE_ROW)
		rc = check_named(connection, schema,
		                 (const char *)sqlite3_column_text(names, 0),
		                 false, level, breath, report);
	sqlite3_finalize(names);
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
	sqlite3_stmt *breath = NULL;

	(void)argc;
	if (!report || !schema) {
		sqlite3_result_error(context, "use turdb_check()", -1);
		return;
	}
	if (sqlite3_prepare_v2(connection->db, "SELECT 1", -1, &breath, NULL))
		rc = err_set(report->err, ERR_NOMEM, "check tables of", schema,
		             "%s", sqlite3_errmsg(connection->db));
	else
		rc = name ? check_named(connection, schema, name, true, level,
		                        breath, report)
		          : check_schema(connection, schema, level, breath,
		                         report);
	sqlite3_finalize(breath);
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

/* turdb_count('table' or 'schema.table'): the rows, without walking them. */
static void count_rows(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct connection *connection = sqlite3_user_data(context);
	const char *name = (const char *)sqlite3_value_text(argv[0]);
	struct home *home;
	struct table *table = NULL;
	uint64_t rows = 0;
	struct err err;
	bool entered;
	int rc;

	(void)argc;
	rc = name ? table_find(connection, name, &table, &err)
	          : err_set(&err, ERR_INVALID, "count rows", "", "no table named");
	if (rc) {
		sqlite3_result_error(context, err.text, -1);
		return;
	}
	home = table->home;
	rc = home->methods->enter(home, &entered, &err);
	if (!rc) {
		rc = btree_count(&table->tree, &rows, &err);
		home->methods->leave(home, entered);
	}
	if (rc)
		sqlite3_result_error(context, err.text, -1);
	else
		sqlite3_result_int64(context, (sqlite3_int64)rows);
}

/* "table" in any schema, or "schema.table". */
int table_find(struct connection *connection, const char *name,
               struct table **found, struct err *err)
{
	const char *dot = strchr(name, '.');
	sqlite3_stmt *schemas = NULL;
	int rc = ERR_NONE;

	*found = NULL;
	if (sqlite3_prepare_v2(connection->db, "PRAGMA database_list", -1,
	                       &schemas, NULL))
		return err_set(err, ERR_IO, "find table",
		               name_shorten(name).text, "%s",
		               sqlite3_errmsg(connection->db));
	while (!*found && sqlite3_step(schemas) == SQLITE_ROW) {
		const char *schema = (const char *)sqlite3_column_text(schemas,
		                                                       1);
		struct err ignored;

		find_table(connection, schema, name, found, &ignored);
		if (!*found && dot && strlen(schema) == (size_t)(dot - name) &&
		    sqlite3_strnicmp(schema, name, (int)(dot - name)) == 0)
			find_table(connection, schema, dot + 1, found, &ignored);
	}
	sqlite3_finalize(schemas);
	if (!*found)
		rc = err_set(err, ERR_MISSING, "find table",
		             name_shorten(name).text,
		             "there is no such turdb table");
	return rc;
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
