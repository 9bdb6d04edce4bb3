/*
 * update_check.c - every constraint of a row, before anything is written.
 *
 * What becomes of a violation is said by the statement's OR clause, else by the
 * constraint itself. The order of the checks is SQLite's, because it decides which
 * of several violations is told.
 */
#include "vtab/update.h"

enum { VERDICT_IGNORE, VERDICT_REPLACE, VERDICT_FAIL };

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
	char detail[ERR_TEXT_SIZE];

	index_columns_name(change->table, index, detail, sizeof detail);
	return violated(change,
	                index->origin == INDEX_OF_PRIMARY
	                        ? SQLITE_CONSTRAINT_PRIMARYKEY
	                        : SQLITE_CONSTRAINT_UNIQUE,
	                "UNIQUE", detail, err);
}

int change_rowid_violated(struct change *change, struct err *err)
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
			return table_no_memory(table, "write to table", err);
	}
	change->replaced[change->replaced_count++] = rowid;
	return ERR_NONE;
}

/* --- the row alone ------------------------------------------------------------- */

static int null_met(struct change *change, uint32_t column, bool *replaced,
                    struct err *err)
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
		rc = change_default_take(change, column, err);
		*replaced = true;
		if (rc || change->values[column].type != VALUE_NULL)
			return rc;
		break;
	default:
		break;
	}
	return column_violated(change, SQLITE_CONSTRAINT_NOTNULL, "NOT NULL",
	                       definition->name, err);
}

static int check_not_null_of(struct change *change, bool generated,
                             bool *replaced, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && !change->ignored &&
	                     i < definition->column_count; i++)
		if (definition->columns[i].not_null &&
		    change->values[i].type == VALUE_NULL &&
		    !definition->columns[i].generated_sql == !generated)
			rc = null_met(change, i, replaced, err);
	return rc;
}

/* Generated columns come last: they see the defaults that replaced a NULL. */
static int check_not_null(struct change *change, struct err *err)
{
	struct table *table = change->table;
	bool replaced = false;
	int rc;

	if (!table->any_not_null)
		return ERR_NONE;
	rc = check_not_null_of(change, false, &replaced, err);
	if (rc || change->ignored || !table->definition.generated_count)
		return rc;
	if (replaced)
		rc = generated_compute(table, change->values,
		                       change->new_rowid, err);
	return rc ? rc : check_not_null_of(change, true, &replaced, err);
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

static int check_expression(struct change *change, uint32_t number,
                            struct err *err)
{
	const struct check_definition *check =
		&change->table->definition.checks[number];
	bool holds;
	int rc = row_check(change->table, number, change->values,
	                   change->new_rowid, &holds, err);

	if (rc || holds)
		return rc;
	return violated(change, SQLITE_CONSTRAINT_CHECK, "CHECK",
	                check->name ? check->name : check->sql, err);
}

int change_check_values(struct change *change, struct err *err)
{
	int rc = check_not_null(change, err);

	return rc || change->ignored ? rc : check_types(change, err);
}

/* --- rows beside it ------------------------------------------------------------ */

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
	bool found;
	int rc;

	if (change->has_old && change->old_rowid == change->new_rowid)
		return ERR_NONE;
	if (tree_can_tell(change)) {
		change->rowid_unchecked = true;
		return ERR_NONE;
	}
	rc = table_row_get(table, change->new_rowid, &table->scratch, &row,
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
	return change_rowid_violated(change, err);
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
	                       index_has_null(table, index->definition,
	                                      change->values))))
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

	if (change_spares_index(change, index->definition))
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

/* (vtab/update U1) */
int change_check(struct change *change, struct err *err)
{
	const struct table_definition *definition = &change->table->definition;
	int rc = change_check_values(change, err);

	for (uint32_t i = 0; !rc && !change->ignored &&
	                     i < definition->check_count; i++)
		rc = check_expression(change, i, err);
	if (!rc && !change->ignored)
		rc = check_rowid(change, err);
	if (!rc)
		rc = check_indexes(change, false, err);
	return rc ? rc : check_indexes(change, true, err);
}
