/*
 * update.c - xUpdate: one row inserted, changed or deleted, whole or not at all.
 *
 * (U1) Single-row statements get no savepoint from SQLite: so every constraint is
 *      checked before anything is written.
 * (U2) A failure after the first write (disk, memory) is given a code on which
 *      SQLite rolls the whole transaction back.
 * (U3) A row, its index entries and its graph nodes change together.
 *
 * Much of an UPDATE need not happen. A row that SQLite has just looked up by its key
 * is remembered, with the place where it lies; columns that SQLite names as unchanged
 * are not decoded, compared or encoded again when neither an index nor a constraint
 * wants them, and if the others keep their sizes the row is its old bytes, patched.
 */
#include "vtab/table.h"

#include <string.h>

struct change {
	struct table *table;
	bool has_old, has_new;
	int64_t old_rowid, new_rowid;
	struct span old_row;
	struct btree_hit old_hit;
	struct value *old_values, *values;
	struct span *vectors;    /* per column: a new vector, or size 0 */
	bool *unchanged;         /* per column: as in the old row       */
	int64_t *replaced;       /* rows that OR REPLACE removes        */
	uint32_t replaced_count;
	bool ignored, written;
	bool rowid_unchecked;    /* the tree will say when it is taken  */
	int code;                /* a constraint's extended result code */
};

enum { VERDICT_GO_ON, VERDICT_IGNORE, VERDICT_REPLACE, VERDICT_FAIL };

static int no_memory(struct table *table, struct err *err)
{
	return err_set(err, ERR_NOMEM, "write to table",
	               name_shorten(table->name).text, "no memory");
}

/* --- constraints --------------------------------------------------------------- */

/* What becomes of a violation: the statement's OR clause, else the constraint's. */
static int verdict(const struct change *change, enum conflict constraint)
{
	int on = sqlite3_vtab_on_conflict(change->table->connection->db);

	if (on == SQLITE_REPLACE)
		return VERDICT_REPLACE;
	if (on != SQLITE_ABORT)
		return VERDICT_FAIL; /* SQLite carries IGNORE out itself */
	if (constraint == CONFLICT_REPLACE)
		return VERDICT_REPLACE;
	return constraint == CONFLICT_IGNORE ? VERDICT_IGNORE : VERDICT_FAIL;
}

static int violated(struct change *change, int code, const char *what,
                    const char *detail, struct err *err)
{
	change->code = code;
	err->code = ERR_CONSTRAINT;
	sqlite3_snprintf(sizeof err->text, err->text,
	                 "%s constraint failed: %s", what, detail);
	return ERR_CONSTRAINT;
}

static int column_violated(struct change *change, int code, const char *what,
                           const char *column, struct err *err)
{
	char detail[ERR_TEXT_SIZE];

	sqlite3_snprintf(sizeof detail, detail, "%s.%s", change->table->name,
	                 column);
	return violated(change, code, what, detail, err);
}

static int index_violated(struct change *change,
                          const struct index_definition *index, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	char detail[ERR_TEXT_SIZE] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < index->column_count && used < sizeof detail;
	     i++) {
		sqlite3_snprintf((int)(sizeof detail - used), detail + used,
		                 "%s%s.%s", i ? ", " : "",
		                 change->table->name,
		                 definition->columns[index->columns[i].column]
		                         .name);
		used = strlen(detail);
	}
	return violated(change,
	                index->origin == INDEX_OF_PRIMARY
	                        ? SQLITE_CONSTRAINT_PRIMARYKEY
	                        : SQLITE_CONSTRAINT_UNIQUE,
	                "UNIQUE", detail, err);
}

static int replace_row(struct change *change, int64_t rowid, struct err *err)
{
	struct table *table = change->table;

	for (uint32_t i = 0; i < change->replaced_count; i++)
		if (change->replaced[i] == rowid)
			return ERR_NONE;
	if (!change->replaced) {
		change->replaced = arena_allocate(
			&table->row_arena, (table->definition.index_count + 2) *
			                           sizeof(int64_t));
		if (!change->replaced)
			return no_memory(table, err);
	}
	change->replaced[change->replaced_count++] = rowid;
	return ERR_NONE;
}

/* Copies bytes into the arena of the row. */
static int keep_bytes(struct table *table, struct span *bytes, struct err *err)
{
	uint8_t *copy;

	if (!bytes->size)
		return ERR_NONE;
	copy = arena_allocate(&table->row_arena, bytes->size);
	if (!copy)
		return no_memory(table, err);
	memcpy(copy, bytes->data, bytes->size);
	bytes->data = copy;
	return ERR_NONE;
}

static int take_default(struct change *change, uint32_t column,
                        struct err *err);

static int null_met(struct change *change, uint32_t column, struct err *err)
{
	const struct column_definition *definition =
		&change->table->definition.columns[column];
	int rc;

	if (change->unchanged[column] || change->vectors[column].size ||
	    (int)column == change->table->definition.rowid_column)
		return ERR_NONE;
	switch (verdict(change, definition->not_null_conflict)) {
	case VERDICT_IGNORE:
		change->ignored = true;
		return ERR_NONE;
	case VERDICT_REPLACE: /* by the default; a row cannot be taken away */
		if (!definition->default_sql)
			break;
		rc = take_default(change, column, err);
		if (rc || change->values[column].type != VALUE_NULL)
			return rc;
		break;
	default:
		break;
	}
	return column_violated(change, SQLITE_CONSTRAINT_NOTNULL, "NOT NULL",
	                       definition->name, err);
}

static int check_not_null(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = ERR_NONE;

	if (!change->table->any_not_null)
		return ERR_NONE;
	for (uint32_t i = 0; !rc && !change->ignored &&
	                     i < definition->column_count; i++)
		if (definition->columns[i].not_null &&
		    change->values[i].type == VALUE_NULL)
			rc = null_met(change, i, err);
	return rc;
}

static int rowid_violated(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;

	return definition->rowid_column >= 0
	               ? column_violated(change, SQLITE_CONSTRAINT_PRIMARYKEY,
	                                 "UNIQUE",
	                                 definition->columns[
						 definition->rowid_column].name,
	                                 err)
	               : column_violated(change, SQLITE_CONSTRAINT_ROWID,
	                                 "UNIQUE", "rowid", err);
}

/* Where no index has to be written before the row, the row's own insertion finds
 * out whether the rowid is taken: one search less. */
static bool tree_can_tell(const struct change *change)
{
	const struct table_definition *definition = &change->table->definition;

	return !change->has_old && definition->index_count == 0 &&
	       verdict(change, definition->rowid_conflict) == VERDICT_FAIL;
}

static int check_rowid(struct change *change, struct err *err)
{
	struct table *table = change->table;
	const struct table_definition *definition = &table->definition;
	struct span row;
	uint8_t key[8];
	bool found;
	int rc;

	if (change->has_old && change->old_rowid == change->new_rowid)
		return ERR_NONE;
	if (tree_can_tell(change)) {
		change->rowid_unchecked = true;
		return ERR_NONE;
	}
	btree_rowid_key(key, change->new_rowid);
	rc = btree_get(&table->tree, span_of(key, 8), &table->scratch, &row,
	               &found, err);
	if (rc || !found)
		return rc;
	switch (verdict(change, definition->rowid_conflict)) {
	case VERDICT_IGNORE:
		change->ignored = true;
		return ERR_NONE;
	case VERDICT_REPLACE:
		return replace_row(change, change->new_rowid, err);
	default:
		break;
	}
	return rowid_violated(change, err);
}

/* An UPDATE that leaves an index's columns and the rowid as they are. */
static bool index_unchanged(const struct change *change,
                            const struct index_definition *index)
{
	if (!change->has_old || change->old_rowid != change->new_rowid)
		return false;
	for (uint32_t i = 0; i < index->column_count; i++)
		if (!change->unchanged[index->columns[i].column] &&
		    (int)index->columns[i].column !=
		            change->table->definition.rowid_column)
			return false;
	return true;
}

static bool any_null(const struct change *change,
                     const struct index_definition *index)
{
	for (uint32_t i = 0; i < index->column_count; i++)
		if (change->values[index->columns[i].column].type ==
		            VALUE_NULL &&
		    (int)index->columns[i].column !=
		            change->table->definition.rowid_column)
			return true;
	return false;
}

/* The row that has the new row's values in this index. */
static int find_conflict(struct change *change, uint32_t number, int64_t *rowid,
                         bool *found, struct err *err)
{
	struct table *table = change->table;
	struct table_index *index = &table->indexes[number];
	struct key_buffer *key = &table->keys[number];
	const int64_t *except = change->has_old ? &change->old_rowid : NULL;
	struct span value;
	bool unique;
	int rc = index_key(index, change->values, change->new_rowid,
	                   table->definition.rowid_column, key, &unique, err);

	*found = false;
	if (rc || (!unique && (!key->shortened ||
	                       any_null(change, index->definition))))
		return rc;
	if (!unique)
		return long_key_find(table, index, change->values,
		                     change->new_rowid, key, except, rowid,
		                     found, err);
	rc = btree_get(&index->tree, key_bytes(key),
	               &table->scratch, &value, found, err);
	if (rc || !*found)
		return rc;
	*found = value.size == 8;
	if (*found)
		*rowid = btree_rowid_of(value.data);
	if (*found && except && *rowid == *except)
		*found = false;
	return ERR_NONE;
}

static int check_index(struct change *change, uint32_t number, struct err *err)
{
	const struct table_index *index = &change->table->indexes[number];
	int64_t rowid;
	bool found;
	int rc;

	if (index_unchanged(change, index->definition))
		return ERR_NONE;
	rc = find_conflict(change, number, &rowid, &found, err);
	if (rc || !found)
		return rc;
	switch (verdict(change, index->definition->conflict)) {
	case VERDICT_IGNORE:
		change->ignored = true;
		return ERR_NONE;
	case VERDICT_REPLACE:
		return replace_row(change, rowid, err);
	default:
		return index_violated(change, index->definition, err);
	}
}

/* --- expressions --------------------------------------------------------------- */

static int prepare(struct table *table, sqlite3_stmt **statement,
                   const char *sql, struct err *err)
{
	sqlite3 *db = table->connection->db;

	if (!sql)
		return no_memory(table, err);
	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement,
	                       NULL))
		return err_set(err, ERR_INVALID, "evaluate for table",
		               name_shorten(table->name).text, "%s",
		               sqlite3_errmsg(db));
	return ERR_NONE;
}

static int take_default(struct change *change, uint32_t column,
                        struct err *err)
{
	struct table *table = change->table;
	const struct column_definition *definition =
		&table->definition.columns[column];
	sqlite3_stmt **statement = &table->defaults[column];
	struct value *value = &change->values[column];
	int rc = ERR_NONE;

	if (!*statement) {
		char *sql = sqlite3_mprintf("SELECT (%s)",
		                            definition->default_sql);

		rc = prepare(table, statement, sql, err);
		sqlite3_free(sql);
	}
	if (rc)
		return rc;
	if (sqlite3_step(*statement) != SQLITE_ROW)
		rc = err_set(err, ERR_INVALID, "evaluate default of column",
		             definition->name, "%s",
		             sqlite3_errmsg(table->connection->db));
	if (!rc && value_take(sqlite3_column_value(*statement, 0),
	                      definition->affinity, value))
		rc = no_memory(table, err);
	if (!rc)
		rc = keep_bytes(table, &value->bytes, err);
	sqlite3_reset(*statement);
	return rc;
}

static void bind_value(sqlite3_stmt *statement, int at,
                       const struct value *value)
{
	switch (value->type) {
	case VALUE_INTEGER:
		sqlite3_bind_int64(statement, at, value->integer);
		break;
	case VALUE_REAL:
		sqlite3_bind_double(statement, at, value->real);
		break;
	case VALUE_TEXT:
		sqlite3_bind_text64(statement, at,
		                    (const char *)value->bytes.data,
		                    value->bytes.size, SQLITE_STATIC,
		                    SQLITE_UTF8);
		break;
	case VALUE_BLOB: /* an empty one may have no address, which means NULL */
		sqlite3_bind_blob64(statement, at,
		                    value->bytes.size
		                            ? (const void *)value->bytes.data
		                            : "",
		                    value->bytes.size, SQLITE_STATIC);
		break;
	default:
		sqlite3_bind_null(statement, at);
	}
}

/* The row as a table whose columns have their affinities and collations: a compound
 * takes both from its first SELECT, which here has no rows. */
int row_expression_prepare(struct table *table, const char *expression,
                           sqlite3_stmt **statement, struct err *err)
{
	static const char *const types[] = { "BLOB", "TEXT", "NUMERIC",
		                             "INTEGER", "REAL" };
	static const char *const collations[] = { "BINARY", "NOCASE", "RTRIM" };
	const struct table_definition *definition = &table->definition;
	sqlite3_str *text = sqlite3_str_new(table->connection->db);
	char *sql;
	int rc;

	sqlite3_str_appendf(text, "SELECT (%s) FROM (SELECT ", expression);
	for (uint32_t i = 0; i < definition->column_count; i++)
		sqlite3_str_appendf(text, "%sCAST(NULL AS %s) COLLATE %s AS \"%w\"",
		                    i ? ", " : "",
		                    types[definition->columns[i].affinity],
		                    collations[definition->columns[i].collation],
		                    definition->columns[i].name);
	sqlite3_str_appendf(text, " WHERE 0 UNION ALL SELECT ");
	for (uint32_t i = 0; i < definition->column_count; i++)
		sqlite3_str_appendf(text, "%s?%u", i ? ", " : "", i + 1);
	sqlite3_str_appendf(text, ")");
	sql = sqlite3_str_finish(text);
	rc = prepare(table, statement, sql, err);
	sqlite3_free(sql);
	return rc;
}

void row_expression_bind(struct table *table, sqlite3_stmt *statement,
                         const struct value *values, int64_t rowid)
{
	const struct table_definition *definition = &table->definition;
	struct value own = { .type = VALUE_INTEGER, .integer = rowid };

	for (uint32_t i = 0; i < definition->column_count; i++)
		bind_value(statement, (int)i + 1,
		           (int)i == definition->rowid_column ? &own
		                                              : &values[i]);
}

static int check_expression(struct change *change, uint32_t number,
                            struct err *err)
{
	struct table *table = change->table;
	const struct table_definition *definition = &table->definition;
	sqlite3_stmt *statement;
	bool holds;
	int rc = ERR_NONE;

	if (!table->checks[number])
		rc = row_expression_prepare(table,
		                            definition->checks[number].sql,
		                            &table->checks[number], err);
	if (rc)
		return rc;
	statement = table->checks[number];
	row_expression_bind(table, statement, change->values,
	                    change->new_rowid);
	if (sqlite3_step(statement) != SQLITE_ROW) {
		rc = err_set(err, ERR_INVALID, "evaluate check of table",
		             name_shorten(table->name).text, "%s",
		             sqlite3_errmsg(table->connection->db));
		sqlite3_reset(statement);
		return rc;
	}
	holds = sqlite3_column_type(statement, 0) == SQLITE_NULL ||
	        sqlite3_column_double(statement, 0) != 0;
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	if (holds)
		return ERR_NONE;
	return violated(change, SQLITE_CONSTRAINT_CHECK, "CHECK",
	                definition->checks[number].name
	                        ? definition->checks[number].name
	                        : definition->checks[number].sql,
	                err);
}

/* --- the new row --------------------------------------------------------------- */

static int generated_written(struct change *change, uint32_t column,
                             struct err *err)
{
	err->code = ERR_INVALID;
	sqlite3_snprintf(sizeof err->text, err->text,
	                 "cannot %s generated column \"%s\"",
	                 change->has_old ? "UPDATE" : "INSERT into",
	                 change->table->definition.columns[column].name);
	return ERR_INVALID;
}

/* UPDATE FROM names every column: one that has its old value is not written. */
static int take_generated(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;

	for (uint32_t i = 0; i < definition->generated_count; i++) {
		uint32_t column = definition->generated[i];

		if (change->has_old && !change->unchanged[column] &&
		    !values_same(&change->values[column],
		                 &change->old_values[column]))
			return generated_written(change, column, err);
		change->unchanged[column] = false;
	}
	return generated_compute(change->table, change->values,
	                         change->new_rowid, err);
}

static int take_column(struct change *change, uint32_t column,
                       sqlite3_value *from, struct err *err)
{
	struct table *table = change->table;
	const struct column_definition *definition =
		&table->definition.columns[column];
	struct value *value = &change->values[column];
	uint32_t graph;
	int rc;

	change->vectors[column].size = 0;
	change->unchanged[column] = change->has_old &&
	                            sqlite3_value_nochange(from);
	if (change->unchanged[column])
		return ERR_NONE; /* old_values_load() gives its value */
	if (definition->generated_sql && !change->has_old &&
	    sqlite3_value_type(from) != SQLITE_NULL)
		return generated_written(change, column, err);
	if (definition->vector && sqlite3_value_type(from) != SQLITE_NULL) {
		graph = table_vector_index(table, column);
		rc = vector_take(definition,
		                 graph < table->definition.index_count
		                         ? table->definition.indexes[graph]
		                                   .graph.metric
		                         : HNSW_L2,
		                 from, &table->row_arena,
		                 &change->vectors[column], err);
		*value = (struct value){ .type = VALUE_BLOB,
		                         .bytes = change->vectors[column] };
		if (graph == table->definition.index_count)
			change->vectors[column].size = 0;
		return rc;
	}
	if (value_take(from, definition->affinity, value))
		return no_memory(table, err);
	if (value->type == VALUE_NULL && !change->has_old &&
	    definition->default_sql &&
	    (definition->not_null || table->definition.null_defaults))
		return take_default(change, column, err);
	return ERR_NONE;
}

static int last_rowid(struct table *table, int64_t *rowid, bool *any,
                      struct err *err)
{
	struct btree_cursor cursor;
	struct span key;
	bool deleted;
	int rc;

	btree_cursor_init(&cursor, &table->tree);
	rc = btree_cursor_last(&cursor, any, err);
	if (!rc && *any)
		rc = btree_cursor_read(&cursor, &key, NULL, &deleted, err);
	if (!rc && *any)
		*rowid = btree_rowid_of(key.data);
	btree_cursor_close(&cursor);
	return rc;
}

static int free_rowid(struct table *table, int64_t *rowid, struct err *err)
{
	struct span row;
	uint8_t key[8];
	bool found = true;

	for (int tries = 0; found && tries < 100; tries++) {
		int rc;

		sqlite3_randomness(sizeof *rowid, rowid);
		*rowid &= INT64_MAX >> 1;
		btree_rowid_key(key, *rowid);
		rc = btree_get(&table->tree, span_of(key, 8), &table->scratch,
		               &row, &found, err);
		if (rc)
			return rc;
	}
	if (!found)
		return ERR_NONE;
	return err_set(err, ERR_FULL, "insert into table",
	               name_shorten(table->name).text,
	               "no free rowid was found");
}

/* AUTOINCREMENT: a rowid above every one there ever was. */
static int sequence_next(struct table *table, int64_t *rowid, struct err *err)
{
	struct dictionary_entry entry;
	int rc = dictionary_find(table->home, table->name, &table->row_arena,
	                         &entry, err);

	if (rc)
		return rc;
	if (entry.sequence >= (uint64_t)INT64_MAX ||
	    *rowid == INT64_MIN)
		return err_set(err, ERR_FULL, "insert into table",
		               name_shorten(table->name).text,
		               "AUTOINCREMENT has used the largest rowid");
	if (*rowid <= (int64_t)entry.sequence)
		*rowid = (int64_t)entry.sequence + 1;
	return ERR_NONE;
}

static int sequence_raise(struct table *table, int64_t rowid, struct err *err)
{
	struct dictionary_entry entry;
	int rc = dictionary_find(table->home, table->name, &table->row_arena,
	                         &entry, err);

	if (rc || rowid <= (int64_t)entry.sequence)
		return rc;
	entry.sequence = (uint64_t)rowid;
	return dictionary_put(table->home, table->name, &entry,
	                      &table->row_arena, err);
}

static int choose_rowid(struct change *change, sqlite3_value **argv,
                        struct err *err)
{
	struct table *table = change->table;
	int column = table->definition.rowid_column;
	sqlite3_value *from = column >= 0 ? argv[2 + column] : argv[1];
	bool any, given;
	int rc;

	if (change->has_old &&
	    (column < 0 || sqlite3_value_nochange(from))) {
		change->new_rowid = sqlite3_value_int64(argv[1]);
		return ERR_NONE;
	}
	/* INSERT INTO t(id, rowid): the rowid that was named so counts. */
	if (!change->has_old && sqlite3_value_type(argv[1]) != SQLITE_NULL)
		from = argv[1];
	given = sqlite3_value_type(from) != SQLITE_NULL;
	if (given || change->has_old) {
		struct value value;

		value_take(from, AFFINITY_INTEGER, &value);
		if (value.type != VALUE_INTEGER) {
			change->code = SQLITE_MISMATCH;
			err->code = ERR_CONSTRAINT;
			sqlite3_snprintf(sizeof err->text, err->text,
			                 "datatype mismatch");
			return ERR_CONSTRAINT;
		}
		change->new_rowid = value.integer;
		/* UPDATE SET rowid = ... names the rowid itself. */
		if (change->has_old &&
		    sqlite3_value_int64(argv[1]) != change->old_rowid)
			change->new_rowid = sqlite3_value_int64(argv[1]);
		return ERR_NONE;
	}
	rc = last_rowid(table, &change->new_rowid, &any, err);
	if (rc)
		return rc;
	if (!any)
		change->new_rowid = 1;
	else if (change->new_rowid < INT64_MAX)
		change->new_rowid++;
	else if (!table->definition.autoincrement)
		return free_rowid(table, &change->new_rowid, err);
	else
		change->new_rowid = INT64_MIN; /* none is left */
	return table->definition.autoincrement
	               ? sequence_next(table, &change->new_rowid, err)
	               : ERR_NONE;
}

/* --- the old row --------------------------------------------------------------- */

/* The row's bytes, where the page lends them or in the arena. */
static int find_row(struct table *table, int64_t rowid, struct span *row,
                    struct btree_hit *hit, bool *found, struct err *err)
{
	uint8_t key[8];
	int rc;

	if (table->last.rowid == rowid &&
	    btree_hit_holds(&table->tree, &table->last.hit)) {
		*row = table->last.row;
		*hit = table->last.hit;
		*found = true;
		return ERR_NONE;
	}
	btree_rowid_key(key, rowid);
	rc = btree_find(&table->tree, span_of(key, 8), &table->scratch, row,
	                hit, found, err);
	if (!rc && *found && row->data == table->scratch.bytes)
		rc = keep_bytes(table, row, err);
	return rc;
}

/* The old row's values, also as those of columns that do not change. */
static int old_values_load(struct change *change, struct err *err)
{
	uint32_t columns = change->table->definition.column_count;
	int rc = row_columns(change->old_row, change->old_values, columns, err);

	for (uint32_t i = 0; !rc && i < columns; i++)
		if (change->unchanged[i])
			change->values[i] = change->old_values[i];
	return rc;
}

/* Rows that are removed first may move this one in its page. */
static int old_row_keep(struct change *change, struct err *err)
{
	int rc = keep_bytes(change->table, &change->old_row, err);

	return rc ? rc : old_values_load(change, err);
}

static int remove_entries(struct table *table, const struct value *values,
                          int64_t rowid, struct err *err)
{
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];
		bool unique, found;

		if (index->definition->kind == INDEX_GRAPH) {
			const struct value *node =
				&values[index->definition->columns[0].column];

			if (node->type == VALUE_VECTOR)
				rc = hnsw_delete(index->graph,
				                 (uint32_t)node->integer, err);
			continue;
		}
		rc = index_key(index, values, rowid,
		               table->definition.rowid_column, &table->old_key,
		               &unique, err);
		if (!rc)
			rc = btree_delete(&index->tree,
			                  key_bytes(&table->old_key),
			                  &found, err);
		if (!rc && !found)
			rc = err_set(err, ERR_CORRUPT, "delete from index",
			             index->pager->name,
			             "the entry of row %lld is not there",
			             (long long)rowid);
	}
	return rc;
}

static int remove_entries_of(struct change *change, int64_t rowid, bool *found,
                             struct err *err)
{
	struct table *table = change->table;
	uint32_t columns = table->definition.column_count;
	struct value *values = arena_allocate(&table->row_arena,
	                                      columns * sizeof *values);
	struct btree_hit hit;
	struct span row;
	int rc = values ? find_row(table, rowid, &row, &hit, found, err)
	                : no_memory(table, err);

	if (rc || !*found)
		return rc;
	rc = row_columns(row, values, columns, err);
	if (rc)
		return rc;
	change->written = true;
	return remove_entries(table, values, rowid, err);
}

static int remove_row(struct change *change, int64_t rowid, struct err *err)
{
	struct table *table = change->table;
	struct btree_hit hit = { 0 };
	uint8_t key[8];
	bool found = true;
	int rc = ERR_NONE;

	if (table->definition.index_count)
		rc = remove_entries_of(change, rowid, &found, err);
	if (rc || !found)
		return rc;
	if (table->last.rowid == rowid)
		hit = table->last.hit;
	change->written = true;
	btree_rowid_key(key, rowid);
	rc = btree_delete_hit(&table->tree, &hit, span_of(key, 8), &found, err);
	table->rows -= found;
	return rc;
}

/* --- writing ------------------------------------------------------------------- */

static int write_graph(struct change *change, struct table_index *index,
                       struct err *err)
{
	uint32_t column = index->definition->columns[0].column;
	const struct value *old = change->has_old
	                                  ? &change->old_values[column] : NULL;
	bool had = old && old->type == VALUE_VECTOR;
	uint32_t node;
	int rc = ERR_NONE;

	if (change->has_old && change->unchanged[column]) {
		if (had && change->old_rowid != change->new_rowid)
			rc = hnsw_rowid_set(index->graph,
			                    (uint32_t)old->integer,
			                    change->new_rowid, err);
		return rc;
	}
	if (had)
		rc = hnsw_delete(index->graph, (uint32_t)old->integer, err);
	if (rc || !change->vectors[column].size)
		return rc;
	rc = hnsw_insert(index->graph, change->new_rowid,
	                 change->vectors[column], &node, err);
	change->values[column] = (struct value){ .type = VALUE_VECTOR,
	                                         .integer = node };
	return rc;
}

static int write_index(struct change *change, uint32_t number,
                       struct err *err)
{
	struct table *table = change->table;
	struct table_index *index = &table->indexes[number];
	struct key_buffer *key = &table->keys[number];
	uint8_t rowid[8];
	bool unique, old_unique, found;
	int rc;

	if (index_unchanged(change, index->definition))
		return ERR_NONE;
	rc = index_key(index, change->values, change->new_rowid,
	                   table->definition.rowid_column, key, &unique, err);

	if (!rc && change->has_old) {
		rc = index_key(index, change->old_values, change->old_rowid,
		               table->definition.rowid_column, &table->old_key,
		               &old_unique, err);
		if (rc)
			return rc;
		if (change->old_rowid == change->new_rowid &&
		    table->old_key.size == key->size &&
		    memcmp(table->old_key.bytes, key->bytes, key->size) == 0)
			return ERR_NONE;
		rc = btree_delete(&index->tree,
		                  key_bytes(&table->old_key),
		                  &found, err);
	}
	if (rc)
		return rc;
	btree_rowid_key(rowid, change->new_rowid);
	return btree_put(&index->tree, key_bytes(key),
	                 unique ? span_of(rowid, 8) : span_of(rowid, 0),
	                 BTREE_PUT_REPLACE, err);
}

static int row_reserve(struct table *table, size_t size, struct err *err)
{
	struct heap *heap = table->connection->heap;
	uint8_t *larger;

	if (size <= table->row_room)
		return ERR_NONE;
	larger = heap_allocate(heap, size + size / 2);
	if (!larger)
		return no_memory(table, err);
	heap_free(heap, table->row);
	table->row = larger;
	table->row_room = size + size / 2;
	return ERR_NONE;
}

/* The new row's bytes, from the values of all columns. */
static int encode_row(struct change *change, struct span *row, struct err *err)
{
	struct table *table = change->table;
	uint32_t columns = table->definition.column_count;
	size_t size = row_size(change->values, columns);
	int rc = row_reserve(table, size + ROW_ENCODE_SLACK, err);

	if (rc)
		return rc;
	row_encode_sized(change->values, columns, size, table->row);
	*row = span_of(table->row, size);
	return ERR_NONE;
}

static int write_row(struct change *change, struct err *err)
{
	struct table *table = change->table;
	int rowid_column = table->definition.rowid_column;
	struct span row;
	uint8_t key[8];
	bool found;
	int rc;

	if (rowid_column >= 0)
		change->values[rowid_column].type = VALUE_NULL;
	rc = encode_row(change, &row, err);
	if (rc)
		return rc;
	change->written = true;
	if (change->has_old && change->old_rowid == change->new_rowid) {
		btree_rowid_key(key, change->old_rowid);
		return btree_put_hit(&table->tree, &change->old_hit,
		                     span_of(key, 8), row, err);
	}
	if (change->has_old) {
		btree_rowid_key(key, change->old_rowid);
		rc = btree_delete_hit(&table->tree, &change->old_hit,
		                      span_of(key, 8), &found, err);
	}
	btree_rowid_key(key, change->new_rowid);
	if (!rc)
		rc = btree_put(&table->tree, span_of(key, 8), row,
		               change->has_old ? BTREE_PUT_REPLACE
		                               : BTREE_PUT_APPEND, err);
	if (rc == ERR_EXISTS && change->rowid_unchecked)
		rc = rowid_violated(change, err);
	return rc;
}

/* Only the changed columns, in the page, if they keep their sizes. */
static int patch_row(struct change *change, bool *done, struct err *err)
{
	struct table *table = change->table;
	uint32_t columns = table->definition.column_count;
	uint8_t key[8], *bytes;
	int rc;

	*done = false;
	if (!row_fits(change->old_row, change->values, change->unchanged,
	              columns))
		return ERR_NONE;
	btree_rowid_key(key, change->old_rowid);
	rc = btree_edit_hit(&table->tree, &change->old_hit, span_of(key, 8),
	                    &bytes, err);
	if (rc || !bytes)
		return rc;
	change->written = true;
	row_patch(change->old_row, change->values, change->unchanged, columns,
	          bytes);
	*done = true;
	return ERR_NONE;
}

static int write_all(struct change *change, struct err *err)
{
	struct table *table = change->table;
	int rc = change->has_old && change->replaced_count
	                 ? old_row_keep(change, err) : ERR_NONE;

	for (uint32_t i = 0; !rc && i < change->replaced_count; i++)
		if (!change->has_old ||
		    change->replaced[i] != change->old_rowid)
			rc = remove_row(change, change->replaced[i], err);
	change->written = true;
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++)
		if (table->indexes[i].definition->kind == INDEX_TREE)
			rc = write_index(change, i, err);
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++)
		if (table->indexes[i].definition->kind == INDEX_GRAPH)
			rc = write_graph(change, &table->indexes[i], err);
	if (!rc)
		rc = write_row(change, err);
	if (!rc && !change->has_old)
		table->rows += 1;
	return rc;
}

/* --- the three kinds ----------------------------------------------------------- */

/* As SQLite walks them: the index made last first, those that replace at the end. */
static int check_indexes(struct change *change, bool replacing, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = ERR_NONE;

	for (uint32_t i = definition->index_count;
	     !rc && !change->ignored && i-- > 0;) {
		const struct index_definition *index = &definition->indexes[i];

		if (index->kind == INDEX_TREE && index->unique &&
		    (index->conflict == CONFLICT_REPLACE) == replacing)
			rc = check_index(change, i, err);
	}
	return rc;
}

/* No OR clause decides about types: SQLite lets IGNORE pass no other code. */
static int check_types(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;

	for (uint32_t i = 0; definition->strict && i < definition->column_count;
	     i++) {
		const struct column_definition *column = &definition->columns[i];
		const char *given, *wanted;
		int on;

		if (change->unchanged[i] || column->vector ||
		    (int)i == definition->rowid_column ||
		    strict_admits(column, &change->values[i], &given, &wanted))
			continue;
		on = sqlite3_vtab_on_conflict(change->table->connection->db);
		change->code = on == SQLITE_ABORT ? SQLITE_CONSTRAINT_DATATYPE
		                                  : SQLITE_MISMATCH;
		err->code = ERR_CONSTRAINT;
		sqlite3_snprintf(sizeof err->text, err->text,
		                 "cannot store %s value in %s column %s.%s",
		                 given, wanted, change->table->name,
		                 column->name);
		return ERR_CONSTRAINT;
	}
	return ERR_NONE;
}

static int check_all(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = check_not_null(change, err);

	if (!rc && !change->ignored)
		rc = check_types(change, err);
	for (uint32_t i = 0; !rc && !change->ignored &&
	                     i < definition->check_count; i++)
		rc = check_expression(change, i, err);
	if (!rc && !change->ignored)
		rc = check_rowid(change, err);
	if (!rc)
		rc = check_indexes(change, false, err);
	return rc ? rc : check_indexes(change, true, err);
}

/* An UPDATE of nothing but the row: no index and no CHECK wants to see it. */
static bool row_alone(const struct change *change)
{
	const struct table_definition *definition = &change->table->definition;

	if (!change->has_old || change->old_rowid != change->new_rowid ||
	    definition->check_count || definition->generated_count)
		return false;
	for (uint32_t i = 0; i < definition->index_count; i++)
		if (!index_unchanged(change, &definition->indexes[i]))
			return false;
	return true;
}

static int change_row_alone(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = check_not_null(change, err);
	bool done;

	if (!rc && !change->ignored)
		rc = check_types(change, err);
	if (rc || change->ignored)
		return rc;
	if (definition->rowid_column >= 0)
		change->values[definition->rowid_column].type = VALUE_NULL;
	rc = patch_row(change, &done, err);
	if (rc || done)
		return rc;
	rc = old_values_load(change, err);
	return rc ? rc : write_row(change, err);
}

static int hidden_is_set(struct change *change, int argc, sqlite3_value **argv,
                         struct err *err)
{
	struct table *table = change->table;

	for (int i = 2 + (int)table->definition.column_count; i < argc; i++)
		if (sqlite3_value_type(argv[i]) != SQLITE_NULL &&
		    !(change->has_old && sqlite3_value_nochange(argv[i])))
			return err_set(err, ERR_INVALID, "write to table",
			               name_shorten(table->name).text,
			               "distance, k, ef and exact belong to searches and cannot be stored");
	return ERR_NONE;
}

static int put(struct change *change, int argc, sqlite3_value **argv,
               sqlite3_int64 *rowid, struct err *err)
{
	struct table *table = change->table;
	bool found;
	int rc = hidden_is_set(change, argc, argv, err);

	if (!rc && change->has_old) {
		rc = find_row(table, change->old_rowid, &change->old_row,
		              &change->old_hit, &found, err);
		if (!rc && !found)
			return ERR_NONE; /* deleted by a trigger meanwhile */
	}
	for (uint32_t i = 0; !rc && i < table->definition.column_count; i++)
		rc = take_column(change, i, argv[2 + i], err);
	if (!rc)
		rc = choose_rowid(change, argv, err);
	if (!rc && row_alone(change)) {
		*rowid = change->new_rowid;
		return change_row_alone(change, err);
	}
	if (!rc && change->has_old)
		rc = old_values_load(change, err);
	if (!rc && table->definition.generated_count)
		rc = take_generated(change, err);
	if (rc)
		return rc;
	rc = check_all(change, err);
	/* As in SQLite's own tables, a row that is ignored has used its number. */
	if (table->definition.autoincrement && !change->has_old &&
	    (change->ignored ||
	     (rc == ERR_CONSTRAINT &&
	      sqlite3_vtab_on_conflict(table->connection->db) ==
		      SQLITE_IGNORE))) {
		struct err raising;
		int raised = sequence_raise(table, change->new_rowid, &raising);

		if (raised) {
			*err = raising;
			return raised;
		}
	}
	if (rc || change->ignored)
		return rc;
	rc = write_all(change, err);
	if (!rc && table->definition.autoincrement && !change->has_old)
		rc = sequence_raise(table, change->new_rowid, err);
	*rowid = change->new_rowid;
	return rc;
}

/* SQLite rolls the transaction back on these codes, and only on these. */
static int code_that_rolls_back(int code)
{
	switch (code & 0xff) {
	case SQLITE_NOMEM:
	case SQLITE_IOERR:
	case SQLITE_INTERRUPT:
	case SQLITE_FULL:
		return code;
	default:
		return SQLITE_IOERR;
	}
}

/* Field by field: those of an old row and of new values are written when they are
 * known, and nothing of them is read before. */
static void change_begin(struct change *change, struct table *table,
                         sqlite3_value *old, int argc)
{
	change->table = table;
	change->has_old = sqlite3_value_type(old) != SQLITE_NULL;
	change->has_new = argc > 1;
	if (change->has_old)
		change->old_rowid = sqlite3_value_int64(old);
	change->vectors = table->vectors;
	change->unchanged = table->unchanged;
	change->values = table->values;
	change->old_values = table->old_values;
	change->replaced = NULL;
	change->replaced_count = 0;
	change->ignored = change->written = change->rowid_unchecked = false;
	change->code = SQLITE_OK;
	arena_reset(&table->row_arena);
}

int table_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                 sqlite3_int64 *rowid)
{
	struct table *table = (struct table *)(void *)vtab;
	struct change change;
	struct err err;
	int rc, code;

	change_begin(&change, table, argv[0], argc);
	rc = change.has_new ? put(&change, argc, argv, rowid, &err)
	                    : remove_row(&change, change.old_rowid, &err);
	if (!rc)
		rc = table->home->methods->operation_end(table->home, &err);
	if (!rc)
		return SQLITE_OK;
	code = table_result(table, rc, &err);
	if (rc == ERR_CONSTRAINT)
		return change.code ? change.code : code;
	return change.written ? code_that_rolls_back(code) : code;
}
