/*
 * cursor.c - SQLite's calls on a cursor, and the row it stands on.
 *
 * A cursor of the B+tree survives everything that happens to the tree; on top of
 * it this one remembers the rowid it stands on and where the row's bytes lie, with
 * the view's and the file's change counters: when they have moved, the row is
 * looked up again before a byte of it is read.
 *
 * xFilter takes apart what xBestIndex (plan.c) chose and starts one of the three
 * walks of cursor.h; xNext goes on with it. Closed cursors are kept, a few for
 * each table, so that a lookup by key allocates nothing.
 */
#include "vtab/cursor.h"
#include "vtab/vector_number.h"

#include <string.h>

/* Only indexes and vectors have work that takes breaths. */
static void breath_end(struct table_cursor *cursor)
{
	struct vfs_breath *breath = &table_of(cursor)->connection->breath;

	if (__builtin_expect(breath->statement != NULL, 0))
		vfs_breath_end(breath);
}

static int result(struct table_cursor *cursor, int rc, const struct err *err)
{
	return __builtin_expect(rc, 0) ? table_result(table_of(cursor), rc, err)
	                               : SQLITE_OK;
}

int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **opened)
{
	struct table *table = (struct table *)(void *)vtab;
	struct table_cursor *cursor;

	if (table->pooled) {
		cursor = table->pool[--table->pooled];
	} else {
		cursor = heap_zeroed(table->connection->heap, sizeof *cursor);
		if (!cursor)
			return SQLITE_NOMEM;
		key_buffer_init(&cursor->low, table->connection->heap);
		key_buffer_init(&cursor->high, table->connection->heap);
		key_buffer_init(&cursor->gap_from, table->connection->heap);
		key_buffer_init(&cursor->gap_to, table->connection->heap);
		cursor->scratch.heap = table->connection->heap;
		arena_init(&cursor->scattered_keys, table->connection->heap);
		long_group_init(&cursor->group, table->connection->heap);
		cursor->in.heap = table->connection->heap;
	}
	cursor->base.pVtab = vtab;
	cursor->eof = true;
	*opened = &cursor->base;
	return SQLITE_OK;
}

static void stop(struct table_cursor *cursor)
{
	cursor_walk_end(cursor);
	in_values_drop(&cursor->in);
	if (cursor->search)
		hnsw_search_end(cursor->search);
	cursor->search = NULL;
	vector_filter_close(cursor->filter);
	cursor->filter = NULL;
}

void cursor_free(struct table *table, struct table_cursor *cursor)
{
	struct heap *heap = table->connection->heap;

	stop(cursor);
	key_buffer_close(&cursor->low);
	key_buffer_close(&cursor->high);
	key_buffer_close(&cursor->gap_from);
	key_buffer_close(&cursor->gap_to);
	btree_scratch_free(&cursor->scratch);
	arena_close(&cursor->scattered_keys);
	long_group_close(&cursor->group);
	in_values_close(&cursor->in);
	heap_free(heap, cursor->scattered);
	heap_free(heap, cursor->neighbours);
	heap_free(heap, cursor);
}

int cursor_close(sqlite3_vtab_cursor *closing)
{
	struct table_cursor *cursor = (struct table_cursor *)(void *)closing;
	struct table *table = table_of(cursor);

	stop(cursor);
	if (table->pooled < CURSORS_POOLED)
		table->pool[table->pooled++] = cursor;
	else
		cursor_free(table, cursor);
	return SQLITE_OK;
}

/* --- rows ---------------------------------------------------------------------- */

static bool row_is_fresh(const struct table_cursor *cursor,
                         const struct table *table)
{
	return cursor->row_known &&
	       cursor->row_epoch == *table->pager->view_epoch &&
	       cursor->row_edits == table->pager->edits;
}

/* Bytes in a cursor's scratch memory do not stay: such a row is looked up again. */
static void table_row_remember(struct table *table, int64_t rowid,
                               struct span row,
                               const struct btree_scratch *scratch)
{
	table->last.rowid = rowid;
	table->last.row = row;
	if (row.data == scratch->bytes)
		table->last.hit = (struct btree_hit){ 0 };
}

int cursor_row_load(struct table_cursor *cursor, struct err *err)
{
	struct table *table = table_of(cursor);
	struct span row = { .size = 0 }, key;
	uint8_t rowid[8];
	bool found;
	int rc;

	if (row_is_fresh(cursor, table))
		return ERR_NONE;
	if (cursor->kind == PLAN_SCAN || cursor->kind == PLAN_ROWID_RANGE) {
		bool deleted;

		rc = btree_cursor_read(&cursor->walk, &key, &row, &deleted,
		                       err);
		found = !deleted;
	} else {
		btree_rowid_key(rowid, cursor->rowid);
		rc = btree_find(&table->tree, span_of(rowid, 8),
		                &cursor->scratch, &row, &table->last.hit,
		                &found, err);
		if (!rc && found)
			table_row_remember(table, cursor->rowid, row,
			                   &cursor->scratch);
	}
	if (!rc)
		cursor_row_note(cursor, row, found);
	return rc;
}

/* --- SQLite's calls ------------------------------------------------------------ */

int cursor_filter(sqlite3_vtab_cursor *filtered, int number, const char *text,
                  int argc, sqlite3_value **argv)
{
	struct table_cursor *cursor = (struct table_cursor *)(void *)filtered;
	struct table *table = table_of(cursor);
	uint32_t index = (uint32_t)number >> PLAN_INDEX_SHIFT;
	uint32_t equal = (uint32_t)number >> PLAN_EQUAL_SHIFT & PLAN_EQUAL_MASK;
	const char *list;
	struct err err;
	int rc = ERR_NONE;

	stop(cursor);
	*table->home->read = true;
	if (__builtin_expect(!table->pager, 0)) {
		rc = table_reach(table, &err);
		if (rc)
			return result(cursor, rc, &err);
	}
	if (table->home->refresh) {
		rc = table->home->refresh(table->home, &err);
		if (rc)
			return result(cursor, rc, &err);
	}
	cursor->kind = (enum plan_kind)(number & PLAN_KIND_MASK);
	cursor->descending = number & PLAN_DESCENDING;
	cursor->rows_read = number & PLAN_ROWS_READ;
	cursor->ordered = number & PLAN_ORDERED;
	switch (cursor->kind) {
	case PLAN_SCAN:
	case PLAN_ROWID:
	case PLAN_ROWID_RANGE:
		rc = cursor_table_start(cursor, text, argc, argv, &err);
		break;
	case PLAN_INDEX:
		cursor->index = &table->indexes[index];
		list = strchr(text, ARG_IN);
		rc = list ? cursor_list_start(cursor, equal, text, argc, argv,
		                              (int)(list - text), &err)
		          : cursor_equal_start(cursor, equal, text, argc, argv,
		                               &err);
		breath_end(cursor);
		break;
	case PLAN_VECTOR:
		rc = cursor_vector_start(cursor, index, text, argc, argv,
		                         &err);
		breath_end(cursor);
		break;
	}
	home_relieve(table->home);
	return result(cursor, rc, &err);
}

int cursor_next(sqlite3_vtab_cursor *moved)
{
	struct table_cursor *cursor = (struct table_cursor *)(void *)moved;
	struct err err;
	int rc = ERR_NONE;

	switch (cursor->kind) {
	case PLAN_ROWID:
		cursor->eof = true;
		break;
	case PLAN_SCAN:
	case PLAN_ROWID_RANGE:
		rc = cursor_table_next(cursor, &err);
		break;
	case PLAN_INDEX:
		if (cursor->gathered)
			cursor_loose_next(cursor);
		else
			rc = cursor_index_next(cursor, &err);
		if (!rc && cursor->eof && cursor->in.argv)
			rc = cursor_list_next(cursor, &err);
		breath_end(cursor);
		home_relieve(table_of(cursor)->home);
		break;
	case PLAN_VECTOR:
		rc = cursor_vector_next(cursor, &err);
		breath_end(cursor);
		home_relieve(table_of(cursor)->home);
		break;
	}
	return result(cursor, rc, &err);
}

int cursor_eof(sqlite3_vtab_cursor *cursor)
{
	return ((struct table_cursor *)(void *)cursor)->eof;
}

int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
	*rowid = ((struct table_cursor *)(void *)cursor)->rowid;
	return SQLITE_OK;
}

static int result_vector(struct table *table, uint32_t column, uint32_t node,
                         sqlite3_context *context, struct err *err)
{
	uint32_t number = table_vector_index(table, column);
	struct span vector;
	int64_t rowid;
	int rc;

	if (number == table->definition.index_count)
		return err_set(err, ERR_CORRUPT, "read table",
		               name_shorten(table->name).text,
		               "a row refers to a graph that is not there");
	rc = hnsw_vector(table->indexes[number].graph, node, &vector, &rowid,
	                 err);
	if (!rc)
		sqlite3_result_blob64(context, vector.data, vector.size,
		                      SQLITE_TRANSIENT);
	return rc;
}

/* A vector whose blob has to say what its elements are. */
static bool column_typed(const struct table *table, int column)
{
	return table->definition.has_vector &&
	       table->definition.columns[column].vector &&
	       table->definition.columns[column].element != HNSW_F32;
}

int cursor_column(sqlite3_vtab_cursor *read, sqlite3_context *context,
                  int column)
{
	struct table_cursor *cursor = (struct table_cursor *)(void *)read;
	struct table *table = table_of(cursor);
	struct value value;
	bool present;
	struct err err;
	int rc;

	if (column == table->definition.rowid_column) {
		if (!sqlite3_vtab_nochange(context))
			sqlite3_result_int64(context, cursor->rowid);
		return SQLITE_OK;
	}
	if (column >= (int)table->definition.column_count) {
		if (column - (int)table->definition.column_count ==
		            HIDDEN_DISTANCE && cursor->kind == PLAN_VECTOR)
			sqlite3_result_double(context, cursor->distance);
		return SQLITE_OK;
	}
	if (sqlite3_vtab_nochange(context))
		return SQLITE_OK;
	rc = row_is_fresh(cursor, table) ? ERR_NONE : cursor_row_load(cursor, &err);
	if (!rc && cursor->empty_row)
		return SQLITE_OK;
	if (!rc)
		rc = row_column(cursor->row, (uint32_t)column, &value, &present,
		                &err);
	if (!rc && present && value.type == VALUE_VECTOR)
		rc = result_vector(table, (uint32_t)column,
		                   (uint32_t)value.integer, context, &err);
	else if (!rc && present)
		value_result(context, &value);
	if (!rc && present && column_typed(table, column))
		sqlite3_result_subtype(context, vector_subtype(
			table->definition.columns[column].element));
	return result(cursor, rc, &err);
}
