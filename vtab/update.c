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
#include "vtab/update.h"

bool change_spares_index(const struct change *change,
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

/* An UPDATE of nothing but the row: no index and no CHECK wants to see it. */
static bool row_alone(const struct change *change)
{
	const struct table_definition *definition = &change->table->definition;

	if (!change->has_old || change->old_rowid != change->new_rowid ||
	    definition->check_count || definition->generated_count)
		return false;
	for (uint32_t i = 0; i < definition->index_count; i++)
		if (!change_spares_index(change, &definition->indexes[i]))
			return false;
	return true;
}

static int change_alone(struct change *change, struct err *err)
{
	int rc = change_check_values(change, err);

	return rc || change->ignored ? rc : change_write_alone(change, err);
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

/* The change as xUpdate gives it; *gone: a trigger has deleted the row meanwhile. */
static int take_change(struct change *change, int argc, sqlite3_value **argv,
                       bool *gone, struct err *err)
{
	struct table *table = change->table;
	int rc = hidden_is_set(change, argc, argv, err);
	bool found = true;

	if (!rc && change->has_old)
		rc = change_row_find(table, change->old_rowid, &change->old_row,
		                     &change->old_hit, &found, err);
	*gone = !found;
	if (rc || !found)
		return rc;
	rc = change_columns_take(change, argv, err);
	return rc ? rc : change_rowid_choose(change, argv, err);
}

/* Checks a new row. As in SQLite's own tables one that is ignored has used its number. */
static int check_numbered(struct change *change, struct err *err)
{
	struct table *table = change->table;
	int rc = change_check(change, err);
	bool passed_over = change->ignored ||
	                   (rc == ERR_CONSTRAINT &&
	                    sqlite3_vtab_on_conflict(table->connection->db) ==
	                            SQLITE_IGNORE);
	struct err raising;
	int raised;

	if (!passed_over)
		return rc;
	raised = change_sequence_raise(table, change->new_rowid, &raising);
	if (!raised)
		return rc;
	*err = raising;
	return raised;
}

static int put(struct change *change, int argc, sqlite3_value **argv,
               sqlite3_int64 *rowid, struct err *err)
{
	struct table *table = change->table;
	bool numbers = table->definition.autoincrement && !change->has_old;
	bool gone;
	int rc = take_change(change, argc, argv, &gone, err);

	if (rc || gone)
		return rc;
	if (row_alone(change)) {
		*rowid = change->new_rowid;
		return change_alone(change, err);
	}
	if (change->has_old)
		rc = change_old_load(change, err);
	if (!rc && table->definition.generated_count)
		rc = change_generated_take(change, err);
	if (!rc)
		rc = numbers ? check_numbered(change, err)
		             : change_check(change, err);
	if (rc || change->ignored)
		return rc;
	rc = change_write(change, err);
	if (!rc && numbers)
		rc = change_sequence_raise(table, change->new_rowid, err);
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
	change->old_rowid = change->has_old ? sqlite3_value_int64(old) : 0;
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

	if (__builtin_expect(table->computing, 0))
		return table_result(table, table_refuse_computing(
			table, "write to table", &err), &err);
	home_enter_operation(table->home);
	change_begin(&change, table, argv[0], argc);
	rc = change.has_new ? put(&change, argc, argv, rowid, &err)
	                    : change_remove(&change, change.old_rowid, &err);
	rc = home_leave_operation(table->home, rc, &err);
	if (!rc)
		return SQLITE_OK;
	/* A sentence left behind by a row that is ignored would be told as the reason
	 * of whatever ends the statement later. */
	if (rc == ERR_CONSTRAINT &&
	    (change.code & 0xff) == SQLITE_CONSTRAINT &&
	    sqlite3_vtab_on_conflict(table->connection->db) == SQLITE_IGNORE)
		return change.code;
	code = table_result(table, rc, &err);
	if (rc == ERR_CONSTRAINT)
		return change.code ? change.code : code;
	return change.written ? code_that_rolls_back(code) : code; /* (U2) */
}
