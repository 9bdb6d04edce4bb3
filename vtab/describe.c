/*
 * describe.c - what turdb_tables, turdb_columns and turdb_indexes tell.
 *
 * ext/ shows the rows; they are made here, where tables are connected.
 */
#include "vtab/table.h"

struct request {
	enum vtab_report report;
	const char *name;        /* a schema, or a table; NULL for all */
	void (*row)(void *context, const struct vtab_cell *cells);
	void *context;
	sqlite3 *db;
	struct err *err;
};

static struct vtab_cell text(const char *bytes)
{
	return (struct vtab_cell){ .text = bytes, .null = !bytes };
}

static struct vtab_cell number(uint64_t value)
{
	return (struct vtab_cell){ .number = (int64_t)value };
}

static bool file_info(const struct table *table, uint32_t file_id,
                      struct store_file_info *info)
{
	struct err ignored;

	return table->home->methods->file_info(table->home, file_id, info,
	                                       &ignored) == ERR_NONE;
}

static uint64_t bytes_of(const struct store_file_info *info)
{
	return (uint64_t)info->page_count * info->page_size;
}

static int describe_table(struct request *request, struct table *table)
{
	const struct table_definition *definition = &table->definition;
	struct store_file_info info = { .page_count = 0 }, index;
	uint64_t rows, index_bytes = 0;
	bool known = file_info(table, table->file_id, &info);
	int rc = btree_count(&table->tree, &rows, request->err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < definition->index_count; i++)
		if (file_info(table, table->indexes[i].file_id, &index))
			index_bytes += bytes_of(&index);
	request->row(request->context, (struct vtab_cell[]){
		text(table->schema), text(table->name), number(rows),
		number(definition->column_count),
		number(definition->index_count), number(info.page_count),
		number(bytes_of(&info)), number(index_bytes),
		text(known ? info.name : NULL) });
	return ERR_NONE;
}

/* Its place in the PRIMARY KEY, from 1, as PRAGMA table_info has it. */
static uint32_t primary_place(const struct table_definition *definition,
                              uint32_t column)
{
	if ((int)column == definition->rowid_column)
		return 1;
	for (uint32_t i = 0; i < definition->index_count; i++) {
		const struct index_definition *index = &definition->indexes[i];

		for (uint32_t c = 0; index->origin == INDEX_OF_PRIMARY &&
		                     c < index->column_count; c++)
			if (index->columns[c].column == column)
				return c + 1;
	}
	return 0;
}

static int describe_columns(struct request *request, struct table *table)
{
	const struct table_definition *definition = &table->definition;

	for (uint32_t i = 0; i < definition->column_count; i++) {
		const struct column_definition *column = &definition->columns[i];

		request->row(request->context, (struct vtab_cell[]){
			text(table->schema), text(table->name), number(i),
			text(column->name), text(column->type),
			number(column->not_null), text(column->default_sql),
			number(primary_place(definition, i)),
			text(collation_names[column->collation]),
			text(column->generated_sql) });
	}
	return ERR_NONE;
}

static char *columns_text(const struct table_definition *definition,
                          const struct index_definition *index, sqlite3 *db)
{
	sqlite3_str *list = sqlite3_str_new(db);

	for (uint32_t i = 0; i < index->column_count; i++) {
		const struct index_column *one = &index->columns[i];
		const struct column_definition *column =
			&definition->columns[one->column];

		sqlite3_str_appendf(list, "%s%s", i ? ", " : "", column->name);
		if (one->collation != column->collation)
			sqlite3_str_appendf(list, " COLLATE %s",
			                    collation_names[one->collation]);
		if (one->descending)
			sqlite3_str_appendall(list, " DESC");
	}
	return sqlite3_str_finish(list);
}

static char *options_text(const struct hnsw_options *graph)
{
	static const char *const metrics[] = { "", "l2", "cosine", "ip", "l1",
	                                       "hamming" };

	return sqlite3_mprintf("metric=%s, m=%u, ef_construction=%u, quantize=%s",
	                       metrics[graph->metric], graph->m,
	                       graph->ef_construction,
	                       graph->quantize == HNSW_SQ8 ? "sq8" : "none");
}

static const char *origin_text(enum index_origin origin)
{
	switch (origin) {
	case INDEX_OF_UNIQUE:
		return "u";
	case INDEX_OF_PRIMARY:
		return "pk";
	case INDEX_OF_STATEMENT:
	case INDEX_OF_COLUMN:
		break;
	}
	return "c";
}

static int describe_index(struct request *request, struct table *table,
                          struct table_index *index)
{
	const struct index_definition *definition = index->definition;
	bool tree = definition->kind == INDEX_TREE;
	struct store_file_info info = { .page_count = 0 };
	bool known = file_info(table, index->file_id, &info);
	char *columns, *options = NULL;
	uint64_t entries;
	int rc = index_count(index, &entries, request->err);

	if (rc)
		return rc;
	columns = columns_text(&table->definition, definition, request->db);
	if (!tree)
		options = options_text(&definition->graph);
	if (columns && (tree || options))
		request->row(request->context, (struct vtab_cell[]){
			text(table->schema), text(table->name),
			text(definition->name), text(tree ? "tree" : "hnsw"),
			number(definition->unique),
			text(origin_text(definition->origin)), text(columns),
			text(options), number(entries), number(info.page_count),
			number(bytes_of(&info)),
			text(known ? info.name : NULL) });
	else
		rc = err_set(request->err, ERR_NOMEM, "describe index",
		             name_shorten(definition->name).text, "no memory");
	sqlite3_free(columns);
	sqlite3_free(options);
	return rc;
}

static int describe_now(struct table *table, struct request *request)
{
	int rc = ERR_NONE;

	switch (request->report) {
	case VTAB_TABLES:
		return describe_table(request, table);
	case VTAB_COLUMNS:
		return describe_columns(request, table);
	case VTAB_INDEXES:
		break;
	}
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++)
		rc = describe_index(request, table, &table->indexes[i]);
	return rc;
}

static int describe(struct table *table, void *context)
{
	struct request *request = context;
	bool entered;
	int rc = table->home->methods->enter(table->home, &entered, request->err);

	if (rc)
		return rc;
	rc = describe_now(table, request);
	table->home->methods->leave(table->home, entered);
	return rc;
}

/* One table by its name; none of that name has no rows. */
static int describe_named(struct connection *connection,
                          struct request *request)
{
	sqlite3_stmt *keeper;
	struct table *table;
	int rc = table_find(connection, request->name, &table, &keeper,
	                    request->err);

	if (!rc)
		rc = describe(table, request);
	sqlite3_finalize(keeper);
	return rc == ERR_MISSING ? ERR_NONE : rc;
}

int vtab_describe(struct connection *connection, enum vtab_report report,
                  const char *name,
                  void (*row)(void *context, const struct vtab_cell *cells),
                  void *context, struct err *err)
{
	struct request request = { .report = report, .name = name, .row = row,
		                   .context = context, .db = connection->db,
		                   .err = err };

	return name && report != VTAB_TABLES
	               ? describe_named(connection, &request)
	               : table_each(connection, name, describe, &request, err);
}
