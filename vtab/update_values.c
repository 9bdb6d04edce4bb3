/*
 * update_values.c - the new row, from what SQLite hands to xUpdate.
 *
 * A column that SQLite names as unchanged is not decoded here: its value comes from
 * the old row, if anything asks for it. Defaults are expressions that SQLite computes.
 */
#include "vtab/update.h"

/* --- columns ------------------------------------------------------------------- */

int change_default_take(struct change *change, uint32_t column, struct err *err)
{
	struct table *table = change->table;
	sqlite3_stmt **statement = &table->defaults[column];
	int rc = ERR_NONE;

	if (!*statement)
		rc = constant_expression_prepare(
			table, table->definition.columns[column].default_sql,
			statement, err);
	return rc ? rc
	          : row_expression_value(table, *statement, column,
	                                 "evaluate default of column",
	                                 &change->values[column], err);
}

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
int change_generated_take(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;

	for (uint32_t i = 0; i < definition->generated_count; i++) {
		uint32_t column = definition->generated[i];

		if (change->has_old && !change->unchanged[column] &&
		    !value_same(&change->values[column],
		                &change->old_values[column]))
			return generated_written(change, column, err);
		change->unchanged[column] = false;
	}
	return generated_compute(change->table, change->values,
	                         change->new_rowid, err);
}

static int take_vector(struct change *change, uint32_t column,
                       sqlite3_value *from, struct err *err)
{
	struct table *table = change->table;
	const struct table_definition *definition = &table->definition;
	uint32_t graph = table_vector_index(table, column);
	bool has_graph = graph < definition->index_count;
	struct span *vector = &change->vectors[column];
	int rc = vector_take(&definition->columns[column],
	                     has_graph ? definition->indexes[graph].graph.metric
	                               : HNSW_L2,
	                     from, &table->row_arena, vector, err);

	change->values[column] = (struct value){ .type = VALUE_BLOB,
	                                         .bytes = *vector };
	if (!has_graph)
		vector->size = 0;
	return rc;
}

static int take_column(struct change *change, uint32_t column,
                       sqlite3_value *from, struct err *err)
{
	struct table *table = change->table;
	const struct column_definition *definition =
		&table->definition.columns[column];
	struct value *value = &change->values[column];

	change->vectors[column].size = 0;
	change->unchanged[column] = change->has_old &&
	                            sqlite3_value_nochange(from);
	if (change->unchanged[column])
		return ERR_NONE; /* change_old_load() gives its value */
	if (definition->generated_sql && !change->has_old &&
	    sqlite3_value_type(from) != SQLITE_NULL)
		return generated_written(change, column, err);
	if (definition->vector && sqlite3_value_type(from) != SQLITE_NULL)
		return take_vector(change, column, from, err);
	if (value_take(from, definition->affinity, value))
		return table_no_memory(table, "write to table", err);
	if (value->type == VALUE_NULL && !change->has_old &&
	    definition->default_sql &&
	    (definition->not_null || table->definition.null_defaults))
		return change_default_take(change, column, err);
	return ERR_NONE;
}

int change_columns_take(struct change *change, sqlite3_value **argv,
                        struct err *err)
{
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < change->table->definition.column_count;
	     i++)
		rc = take_column(change, i, argv[2 + i], err);
	return rc;
}

/* --- the rowid ----------------------------------------------------------------- */

static int free_rowid(struct table *table, int64_t *rowid, struct err *err)
{
	struct span row;
	bool found = true;

	for (int tries = 0; found && tries < 100; tries++) {
		int rc;

		sqlite3_randomness(sizeof *rowid, rowid);
		*rowid &= INT64_MAX >> 1;
		rc = table_row_get(table, *rowid, &table->scratch, &row, &found,
		                   err);
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
	int rc = table->home->methods->table_find(table->home, table->name, &table->row_arena,
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

int change_sequence_raise(struct table *table, int64_t rowid, struct err *err)
{
	struct dictionary_entry entry;
	int rc = table->home->methods->table_find(table->home, table->name, &table->row_arena,
	                         &entry, err);

	if (rc || rowid <= (int64_t)entry.sequence)
		return rc;
	entry.sequence = (uint64_t)rowid;
	return table->home->methods->table_put(table->home, table->name, &entry,
	                      &table->row_arena, err);
}

/* The affinity leaves the smallest integer a real, and so did rowids before 3.54. */
static bool is_smallest_rowid(const struct value *value)
{
	return value->type == VALUE_REAL && value->real == (double)INT64_MIN &&
	       sqlite3_libversion_number() >= 3054000;
}

static int take_rowid(struct change *change, sqlite3_value *from,
                      struct err *err)
{
	struct value value;

	value_take(from, AFFINITY_INTEGER, &value);
	if (is_smallest_rowid(&value)) {
		change->new_rowid = INT64_MIN;
		return ERR_NONE;
	}
	if (value.type == VALUE_INTEGER) {
		change->new_rowid = value.integer;
		return ERR_NONE;
	}
	change->code = SQLITE_MISMATCH;
	err->code = ERR_CONSTRAINT;
	sqlite3_snprintf(sizeof err->text, err->text, "datatype mismatch");
	return ERR_CONSTRAINT;
}

/* UPDATE SET rowid = ... names the rowid itself, beside the key's column. */
static bool names_rowid(const struct change *change, sqlite3_value *own)
{
	return change->has_old &&
	       (sqlite3_value_type(own) != SQLITE_INTEGER ||
	        sqlite3_value_int64(own) != change->old_rowid);
}

/* One above the last, as SQLite does it. */
static int next_rowid(struct change *change, struct err *err)
{
	struct table *table = change->table;
	bool autoincrement = table->definition.autoincrement, any;
	int rc = btree_rowid_last(&table->tree, &change->new_rowid, &any, err);

	if (rc)
		return rc;
	if (!any)
		change->new_rowid = 1;
	else if (change->new_rowid < INT64_MAX)
		change->new_rowid++;
	else if (!autoincrement)
		return free_rowid(table, &change->new_rowid, err);
	else
		change->new_rowid = INT64_MIN; /* none is left */
	return autoincrement ? sequence_next(table, &change->new_rowid, err)
	                     : ERR_NONE;
}

int change_rowid_choose(struct change *change, sqlite3_value **argv,
                        struct err *err)
{
	int column = change->table->definition.rowid_column;
	sqlite3_value *from = column >= 0 ? argv[2 + column] : argv[1];
	int rc;

	if (change->has_old && (column < 0 || sqlite3_value_nochange(from)))
		return take_rowid(change, argv[1], err);
	/* INSERT INTO t(id, rowid): the rowid that was named so counts. */
	if (!change->has_old && sqlite3_value_type(argv[1]) != SQLITE_NULL)
		from = argv[1];
	if (!change->has_old && sqlite3_value_type(from) == SQLITE_NULL)
		return next_rowid(change, err);
	rc = take_rowid(change, from, err);
	if (!rc && names_rowid(change, argv[1]))
		rc = take_rowid(change, argv[1], err);
	return rc;
}
