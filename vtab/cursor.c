/*
 * cursor.c - walks a table the way a plan says.
 *
 * A cursor of the B+tree survives everything that happens to the tree; on top of
 * it this one remembers the rowid it stands on and where the row's bytes lie, with
 * the view's and the file's change counters: when they have moved, the row is
 * looked up again before a byte of it is read.
 */
#include "vtab/table.h"
#include "vtab/vector_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct neighbour {
	double distance;
	int64_t rowid;
};

/* An index entry found by a loose comparison; ordered by what follows its equal
 * columns. */
struct scattered {
	struct span rest;
	int64_t rowid;
};

struct table_cursor {
	sqlite3_vtab_cursor base; /* first: SQLite's calls cast back */
	enum plan_kind kind;
	bool descending, eof, empty_row;
	bool rows_read;               /* columns will be asked for      */
	int64_t rowid;

	struct btree_cursor walk;     /* of the table or of an index   */
	bool walk_open;
	struct table_index *index;
	struct key_buffer low, high;  /* of an index; empty = unbounded */
	int64_t rowid_low, rowid_high;
	struct arena scattered_keys;
	struct scattered *scattered;    /* instead of the walk, if gathered */
	size_t scattered_count, scattered_at, scattered_room;
	bool gathered;
	struct long_group group;        /* of entries whose keys do not order them */
	bool ordered;                   /* SQLite relies on the index's order */
	uint32_t equal_count;
	size_t prefix_size, key_size;   /* of the equalities; of the entry */
	size_t key_size_max;            /* of those gathered               */

	struct span row;
	bool row_known;
	uint64_t row_epoch, row_edits;
	struct btree_scratch scratch;

	struct hnsw_search *search;
	struct vector_filter *filter; /* conditions beside MATCH, or NULL */
	struct neighbour *neighbours; /* of a column without a graph */
	size_t neighbour_count, neighbour_at, neighbour_room;
	double distance, distance_max;
	bool distance_open;           /* the bound itself is outside */
	int64_t k, ef;
	bool exact;
};

static struct table *table_of(const struct table_cursor *cursor)
{
	return (struct table *)(void *)cursor->base.pVtab;
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
		cursor->scratch.heap = table->connection->heap;
		arena_init(&cursor->scattered_keys, table->connection->heap);
		long_group_init(&cursor->group, table->connection->heap);
	}
	cursor->base.pVtab = vtab;
	cursor->eof = true;
	*opened = &cursor->base;
	return SQLITE_OK;
}

static void stop(struct table_cursor *cursor)
{
	if (cursor->walk_open)
		btree_cursor_close(&cursor->walk);
	cursor->walk_open = false;
	if (cursor->search)
		hnsw_search_end(cursor->search);
	cursor->search = NULL;
	vector_filter_close(cursor->filter);
	cursor->filter = NULL;
	if (cursor->gathered)
		arena_reset(&cursor->scattered_keys);
	cursor->gathered = false;
	cursor->group.open = false;
	cursor->row_known = false;
	cursor->eof = true;
}

void cursor_free(struct table *table, struct table_cursor *cursor)
{
	struct heap *heap = table->connection->heap;

	stop(cursor);
	key_buffer_close(&cursor->low);
	key_buffer_close(&cursor->high);
	btree_scratch_free(&cursor->scratch);
	arena_close(&cursor->scattered_keys);
	long_group_close(&cursor->group);
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

static void row_note(struct table_cursor *cursor, const struct table *table,
                     struct span row, bool found)
{
	cursor->row = row;
	cursor->empty_row = !found;
	cursor->row_known = true;
	cursor->row_epoch = *table->pager->view_epoch;
	cursor->row_edits = table->pager->edits;
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

/* The present row's bytes; empty when the row is gone. */
static int row_load(struct table_cursor *cursor, struct err *err)
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
		row_note(cursor, table, row, found);
	return rc;
}

/* --- walking the table --------------------------------------------------------- */

static int table_stand(struct table_cursor *cursor, bool on, struct err *err)
{
	struct table *table = table_of(cursor);
	struct span key, row;
	bool deleted;
	int rc;

	cursor->row_known = false;
	cursor->eof = !on;
	if (!on)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key,
	                       cursor->rows_read ? &row : NULL, &deleted, err);
	if (rc)
		return rc;
	cursor->rowid = btree_rowid_of(key.data);
	if (cursor->rows_read)
		row_note(cursor, table, row, !deleted);
	if (cursor->descending ? cursor->rowid < cursor->rowid_low
	                       : cursor->rowid > cursor->rowid_high)
		cursor->eof = true;
	return ERR_NONE;
}

static int table_start(struct table_cursor *cursor, struct err *err)
{
	struct table *table = table_of(cursor);
	uint8_t key[8];
	bool on = false;
	int rc;

	if (cursor->rowid_low > cursor->rowid_high) {
		cursor->eof = true;
		return ERR_NONE;
	}
	btree_cursor_init(&cursor->walk, &table->tree);
	cursor->walk_open = true;
	btree_rowid_key(key, cursor->descending ? cursor->rowid_high
	                                        : cursor->rowid_low);
	if (cursor->descending)
		rc = btree_cursor_seek(&cursor->walk, span_of(key, 8),
		                       BTREE_SEEK_LE, &on, err);
	else if (cursor->rowid_low == INT64_MIN)
		rc = btree_cursor_first(&cursor->walk, &on, err);
	else
		rc = btree_cursor_seek(&cursor->walk, span_of(key, 8),
		                       BTREE_SEEK_GE, &on, err);
	return rc ? rc : table_stand(cursor, on, err);
}

/* One row on; most often that is the next one in the same page. */
static int table_next(struct table_cursor *cursor, struct err *err)
{
	struct span row;
	bool on = false;
	int rc;

	if (!cursor->descending && cursor->rows_read &&
	    btree_cursor_step(&cursor->walk, &cursor->rowid, &row)) {
		row_note(cursor, table_of(cursor), row, true);
		cursor->eof = cursor->rowid > cursor->rowid_high;
		return ERR_NONE;
	}
	rc = cursor->descending
	             ? btree_cursor_previous(&cursor->walk, &on, err)
	             : btree_cursor_next(&cursor->walk, &on, err);
	return rc ? rc : table_stand(cursor, on, err);
}

/* --- walking an index ---------------------------------------------------------- */

static int compare_keys(struct span a, struct span b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = memcmp(a.data, b.data, size);

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int index_stand(struct table_cursor *cursor, bool on, struct err *err)
{
	struct span key, value, bound;
	bool deleted;
	int rc;

	cursor->row_known = false;
	cursor->eof = !on;
	if (!on)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key, &value, &deleted, err);
	if (rc)
		return rc;
	if (cursor->descending && cursor->low.size) {
		bound = span_of(cursor->low.bytes, cursor->low.size);
		cursor->eof = compare_keys(key, bound) < 0;
	} else if (!cursor->descending && cursor->high.size) {
		bound = span_of(cursor->high.bytes, cursor->high.size);
		cursor->eof = compare_keys(key, bound) >= 0;
	}
	cursor->rowid = index_rowid(key, value);
	cursor->key_size = key.size;
	return ERR_NONE;
}

static int index_start(struct table_cursor *cursor, struct err *err)
{
	const struct key_buffer *from = cursor->descending ? &cursor->high
	                                                   : &cursor->low;
	bool on = false;
	int rc;

	btree_cursor_init(&cursor->walk, &cursor->index->tree);
	cursor->walk_open = true;
	if (!from->size)
		rc = cursor->descending
		             ? btree_cursor_last(&cursor->walk, &on, err)
		             : btree_cursor_first(&cursor->walk, &on, err);
	else
		rc = btree_cursor_seek(&cursor->walk,
		                       span_of(from->bytes, from->size),
		                       cursor->descending ? BTREE_SEEK_LT
		                                          : BTREE_SEEK_GE,
		                       &on, err);
	return rc ? rc : index_stand(cursor, on, err);
}

/* --- keys too long to order their rows ------------------------------------------- */

static int walk_step(struct table_cursor *cursor, struct err *err)
{
	bool on;
	int rc = cursor->descending
	                 ? btree_cursor_previous(&cursor->walk, &on, err)
	                 : btree_cursor_next(&cursor->walk, &on, err);

	return rc ? rc : index_stand(cursor, on, err);
}

static void group_stand(struct table_cursor *cursor)
{
	struct long_group *group = &cursor->group;
	size_t at = group->at++;

	cursor->row_known = false;
	cursor->rowid = group->rows[cursor->descending ? group->count - 1 - at
	                                               : at].rowid;
}

/* Takes the entries that agree as far as keys go, and orders them by their rows. The
 * walk ends up on the entry behind them. */
static int group_gather(struct table_cursor *cursor, struct err *err)
{
	struct long_group *group = &cursor->group;
	struct span key;
	bool deleted;
	int rc = btree_cursor_read(&cursor->walk, &key, NULL, &deleted, err);

	if (!rc)
		rc = long_group_begin(group, table_of(cursor), cursor->index,
		                      key, cursor->equal_count,
		                      cursor->prefix_size, err);
	if (rc || !group->prefix.size)
		return rc;
	while (!rc && !cursor->eof && long_group_has(group, key)) {
		rc = long_group_add(group, cursor->rowid, err);
		if (!rc)
			rc = walk_step(cursor, err);
		if (!rc && !cursor->eof)
			rc = btree_cursor_read(&cursor->walk, &key, NULL,
			                       &deleted, err);
	}
	if (!rc)
		rc = long_group_sort(group, cursor->equal_count, err);
	if (rc)
		return rc;
	group->open = true;
	group->last = cursor->eof;
	cursor->eof = false;
	group_stand(cursor);
	return ERR_NONE;
}

static int index_show(struct table_cursor *cursor, struct err *err)
{
	if (__builtin_expect(cursor->key_size < KEY_CUT_KEY_SIZE_LEAST, 1) ||
	    cursor->eof || !cursor->ordered)
		return ERR_NONE;
	return group_gather(cursor, err);
}

static int group_next(struct table_cursor *cursor, struct err *err)
{
	struct long_group *group = &cursor->group;
	struct span key;
	bool deleted;
	int rc;

	if (group->at < group->count) {
		group_stand(cursor);
		return ERR_NONE;
	}
	group->open = false;
	cursor->eof = group->last;
	if (cursor->eof)
		return ERR_NONE;
	rc = btree_cursor_read(&cursor->walk, &key, NULL, &deleted, err);
	if (!rc)
		rc = deleted ? walk_step(cursor, err)
		             : index_stand(cursor, true, err);
	return rc ? rc : index_show(cursor, err);
}

/* --- bounds ---------------------------------------------------------------------- */

static int key_copy(struct key_buffer *to, const struct key_buffer *from,
                    size_t size, struct err *err);

/* Appends one bound's value; *cut: it was shortened, so only what is sure serves. */
static int bound_append(struct key_buffer *key, const struct value *value,
                        const struct key_column *column, bool *cut,
                        struct err *err)
{
	int rc = key_append(key, value, column, err);

	*cut = !rc && key->shortened;
	if (*cut)
		key->size = key->sure_size;
	return rc;
}

/* to = the first `size` bytes of from. */
static int key_copy(struct key_buffer *to, const struct key_buffer *from,
                    size_t size, struct err *err)
{
	if (to->room < size && size > sizeof to->inline_bytes) {
		uint8_t *larger = heap_allocate(to->heap, size);

		if (!larger)
			return err_set(err, ERR_NOMEM, "search", "index",
			               "key of %zu bytes", size);
		if (to->bytes != to->inline_bytes)
			heap_free(to->heap, to->bytes);
		to->bytes = larger;
		to->room = size;
	}
	memcpy(to->bytes, from->bytes, size);
	to->size = size;
	to->shortened = from->shortened;
	to->sure_size = from->sure_size;
	return ERR_NONE;
}

/* One range condition on the column behind the equalities. `prefix` holds these. */
static int apply_range(struct table_cursor *cursor, char letter,
                       const struct value *value,
                       const struct key_column *column, size_t prefix,
                       struct key_buffer *work, struct err *err)
{
	bool lower = letter == ARG_GE || letter == ARG_GT;
	bool inclusive = letter == ARG_GE || letter == ARG_LE;
	bool cut;
	int rc = bound_append(work, value, column, &cut, err);

	if (rc)
		return rc;
	if (column->descending)
		lower = !lower;
	/* In key order: the bound's own entries begin with these bytes. */
	if (lower) {
		if (!inclusive && !cut)
			rc = key_to_prefix_end(work, err);
		if (!rc && (cursor->low.size <= prefix ||
		            compare_keys(span_of(work->bytes, work->size),
		                         span_of(cursor->low.bytes,
		                                 cursor->low.size)) > 0))
			rc = key_copy(&cursor->low, work, work->size, err);
		return rc;
	}
	if (inclusive || cut)
		rc = key_to_prefix_end(work, err);
	if (!rc && (cursor->high.size == 0 ||
	            compare_keys(span_of(work->bytes, work->size),
	                         span_of(cursor->high.bytes,
	                                 cursor->high.size)) < 0))
		rc = key_copy(&cursor->high, work, work->size, err);
	return rc;
}

static int bounds_of_prefix(struct table_cursor *cursor,
                            const struct key_buffer *prefix, struct err *err)
{
	int rc;

	key_buffer_reset(&cursor->low);
	key_buffer_reset(&cursor->high);
	if (!prefix->size)
		return ERR_NONE;
	rc = key_copy(&cursor->low, prefix, prefix->size, err);
	if (!rc)
		rc = key_copy(&cursor->high, prefix, prefix->size, err);
	return rc ? rc : key_to_prefix_end(&cursor->high, err);
}

/* The range of one column's texts that could be numbers: they begin with a space, a
 * sign, a point or a digit. */
static int bounds_of_numeric_texts(struct table_cursor *cursor,
                                   const struct key_buffer *prefix,
                                   const struct key_column *column,
                                   struct err *err)
{
	struct value least = { .type = VALUE_TEXT,
	                       .bytes = span_of((const uint8_t *)"\t", 1) };
	struct value above = { .type = VALUE_TEXT,
	                       .bytes = span_of((const uint8_t *)":", 1) };
	int rc = key_copy(&cursor->low, prefix, prefix->size, err);

	if (!rc)
		rc = key_copy(&cursor->high, prefix, prefix->size, err);
	if (!rc)
		rc = key_append(&cursor->low,
		                column->descending ? &above : &least, column,
		                err);
	if (!rc)
		rc = key_append(&cursor->high,
		                column->descending ? &least : &above, column,
		                err);
	return rc ? rc : key_to_prefix_end(&cursor->high, err);
}

static int gather_entry(struct table_cursor *cursor, uint32_t equal_count,
                        struct err *err)
{
	size_t room = cursor->scattered_room ? cursor->scattered_room * 2 : 64;
	struct span key, value, rest;
	struct scattered *larger;
	bool deleted;
	uint8_t *copy;
	int rc = btree_cursor_read(&cursor->walk, &key, &value, &deleted, err);

	if (key.size > cursor->key_size_max)
		cursor->key_size_max = key.size;
	rest = key;
	for (uint32_t i = 0; !rc && i < equal_count; i++) {
		size_t size;

		rc = key_column_skip(rest, cursor->index->columns[i].descending,
		                     &size, err);
		if (!rc)
			rest = span_of(rest.data + size, rest.size - size);
	}
	if (rc)
		return rc;
	if (cursor->scattered_count == cursor->scattered_room) {
		larger = heap_resize(table_of(cursor)->connection->heap,
		                     cursor->scattered, room * sizeof *larger);
		if (!larger)
			goto no_memory;
		cursor->scattered = larger;
		cursor->scattered_room = room;
	}
	copy = arena_allocate(&cursor->scattered_keys, rest.size + 1);
	if (!copy)
		goto no_memory;
	memcpy(copy, rest.data, rest.size);
	cursor->scattered[cursor->scattered_count++] = (struct scattered){
		.rest = span_of(copy, rest.size),
		.rowid = index_rowid(key, value) };
	return ERR_NONE;

no_memory:
	return err_set(err, ERR_NOMEM, "search", cursor->index->pager->name,
	               "%zu entries", room);
}

/* Takes the entries between the bounds. */
static int gather(struct table_cursor *cursor, uint32_t equal_count,
                  struct err *err)
{
	bool on, descending = cursor->descending;
	int rc;

	cursor->descending = false;
	rc = index_start(cursor, err);
	while (!rc && !cursor->eof) {
		rc = gather_entry(cursor, equal_count, err);
		if (!rc)
			rc = btree_cursor_next(&cursor->walk, &on, err);
		if (!rc)
			rc = index_stand(cursor, on, err);
	}
	btree_cursor_close(&cursor->walk);
	cursor->walk_open = false;
	cursor->descending = descending;
	return rc;
}

static int by_rest(const void *left, const void *right)
{
	const struct scattered *a = left, *b = right;

	return compare_keys(a->rest, b->rest);
}

static void gathered_next(struct table_cursor *cursor)
{
	size_t at = cursor->scattered_at++, count = cursor->scattered_count;

	cursor->row_known = false;
	cursor->eof = at >= count;
	if (!cursor->eof)
		cursor->rowid = cursor->scattered[cursor->descending
		                                          ? count - 1 - at : at]
		                        .rowid;
}

static int has_numeric_texts(struct table_cursor *cursor,
                             const struct key_buffer *prefix,
                             const struct key_column *column, bool *has,
                             struct err *err)
{
	bool descending = cursor->descending;
	int rc = bounds_of_numeric_texts(cursor, prefix, column, err);

	cursor->descending = false;
	if (!rc)
		rc = index_start(cursor, err);
	*has = !rc && !cursor->eof;
	if (cursor->walk_open)
		btree_cursor_close(&cursor->walk);
	cursor->walk_open = false;
	cursor->eof = true;
	cursor->descending = descending;
	return rc;
}

/* Gathered entries with long keys are ordered by their rows, all of them. */
static int order_long(struct table_cursor *cursor, uint32_t equal_count,
                      struct err *err)
{
	struct long_group *group = &cursor->group;
	int rc;

	if (cursor->key_size_max < KEY_CUT_KEY_SIZE_LEAST || !cursor->ordered)
		return ERR_NONE;
	rc = long_group_begin(group, table_of(cursor), cursor->index,
	                      span_of(NULL, 0), 0, 0, err);
	for (size_t i = 0; !rc && i < cursor->scattered_count; i++)
		rc = long_group_add(group, cursor->scattered[i].rowid, err);
	if (!rc)
		rc = long_group_sort(group, equal_count, err);
	for (size_t i = 0; !rc && i < cursor->scattered_count; i++)
		cursor->scattered[i].rowid = group->rows[i].rowid;
	return rc;
}

/* `column = number` where texts that look like numbers may be equal to it: they are
 * taken with the number's own entries, for SQLite to compare, and put in the order
 * in which the other columns would have them. */
static int gather_loose(struct table_cursor *cursor, uint32_t equal_count,
                        const struct key_buffer *prefix,
                        const struct value *number,
                        const struct key_column *column, struct err *err)
{
	struct key_buffer work;
	int rc;

	cursor->gathered = true;
	cursor->key_size_max = 0;
	cursor->scattered_count = cursor->scattered_at = 0;
	rc = gather(cursor, equal_count, err); /* the texts */
	key_buffer_init(&work, prefix->heap);
	if (!rc)
		rc = key_copy(&work, prefix, prefix->size, err);
	if (!rc)
		rc = key_append(&work, number, column, err);
	if (!rc)
		rc = bounds_of_prefix(cursor, &work, err);
	if (!rc)
		rc = gather(cursor, equal_count, err);
	key_buffer_close(&work);
	if (!rc && cursor->scattered_count)
		qsort(cursor->scattered, cursor->scattered_count,
		      sizeof *cursor->scattered, by_rest);
	return rc ? rc : order_long(cursor, equal_count, err);
}

/* The equalities become the prefix of the keys to walk; *narrow false when one of
 * them was the last that could narrow, or the rows have been gathered. */
static int take_equalities(struct table_cursor *cursor, uint32_t equal_count,
                           const char *letters, int argc, sqlite3_value **argv,
                           struct key_buffer *prefix, bool *narrow,
                           bool *empty, struct err *err)
{
	struct table *table = table_of(cursor);
	const struct index_definition *definition = cursor->index->definition;
	int rc = ERR_NONE;

	for (int i = 0; !rc && i < (int)equal_count && i < argc; i++) {
		uint32_t column = definition->columns[i].column;
		struct value value = { .type = VALUE_NULL };
		bool loose = false, texts = false;

		if (letters[i] != ARG_NULL)
			value_probe(argv[i],
			            table->definition.columns[column].affinity,
			            &value, &loose);
		if (letters[i] == ARG_EQUAL && value.type == VALUE_NULL)
			*empty = true;
		if (!*narrow)
			continue;
		if (loose)
			rc = has_numeric_texts(cursor, prefix,
			                       &cursor->index->columns[i],
			                       &texts, err);
		if (!rc && texts) {
			*narrow = false;
			rc = gather_loose(cursor, equal_count, prefix, &value,
			                  &cursor->index->columns[i], err);
			continue;
		}
		/* Equal values are shortened to equal bytes. */
		if (!rc)
			rc = key_append(prefix, &value,
			                &cursor->index->columns[i], err);
	}
	return rc;
}

static int take_range(struct table_cursor *cursor, uint32_t equal_count,
                      char letter, sqlite3_value *from,
                      const struct key_buffer *prefix, bool *empty,
                      struct err *err)
{
	struct table *table = table_of(cursor);
	const struct key_column *column = &cursor->index->columns[equal_count];
	enum affinity affinity =
		table->definition.columns[cursor->index->definition
		                                  ->columns[equal_count]
		                                  .column].affinity;
	struct key_buffer work;
	struct value value;
	bool loose;
	int rc;

	value_probe(from, affinity, &value, &loose);
	if (value.type == VALUE_NULL)
		*empty = true;
	/* Texts come behind the numbers, so a lower bound leaves them in. */
	if (loose && (affinity == AFFINITY_TEXT || letter == ARG_LT ||
	              letter == ARG_LE))
		return ERR_NONE;
	key_buffer_init(&work, table->connection->heap);
	rc = key_copy(&work, prefix, prefix->size, err);
	if (!rc)
		rc = apply_range(cursor, letter, &value, column, prefix->size,
		                 &work, err);
	key_buffer_close(&work);
	return rc;
}

static int index_bounds(struct table_cursor *cursor, uint32_t equal_count,
                        const char *letters, int argc, sqlite3_value **argv,
                        bool *empty, struct err *err)
{
	struct key_buffer prefix;
	bool narrow = true;
	int rc;

	*empty = false;
	key_buffer_init(&prefix, table_of(cursor)->connection->heap);
	rc = take_equalities(cursor, equal_count, letters, argc, argv, &prefix,
	                     &narrow, empty, err);
	if (!rc && !cursor->gathered)
		rc = bounds_of_prefix(cursor, &prefix, err);
	cursor->equal_count = equal_count;
	cursor->prefix_size = prefix.size;
	for (int i = (int)equal_count; !rc && narrow && i < argc; i++)
		rc = take_range(cursor, equal_count, letters[i], argv[i],
		                &prefix, empty, err);
	key_buffer_close(&prefix);
	return rc;
}

/* --- rowids -------------------------------------------------------------------- */

/* The whole number that a rowid condition means; false when no rowid fits it. */
static bool rowid_bound(sqlite3_value *from, char letter, int64_t *low,
                        int64_t *high)
{
	double real;
	int64_t whole;

	if (sqlite3_value_numeric_type(from) == SQLITE_INTEGER) {
		whole = sqlite3_value_int64(from);
		switch (letter) {
		case ARG_GT:
			if (whole == INT64_MAX)
				return false;
			whole++;
			/* fall through */
		case ARG_GE:
			*low = whole > *low ? whole : *low;
			return true;
		case ARG_LT:
			if (whole == INT64_MIN)
				return false;
			whole--;
			/* fall through */
		case ARG_LE:
			*high = whole < *high ? whole : *high;
			return true;
		default:
			*low = *high = whole;
			return true;
		}
	}
	switch (sqlite3_value_type(from)) {
	case SQLITE_NULL:
		return false;
	case SQLITE_FLOAT:
		break;
	default: /* text and blobs sort behind every number */
		return letter == ARG_LT || letter == ARG_LE;
	}
	real = sqlite3_value_double(from);
	if (letter == ARG_EQUAL) {
		if (real < -9223372036854775808.0 ||
		    real >= 9223372036854775808.0 || real != floor(real))
			return false;
		*low = *high = (int64_t)real;
		return true;
	}
	if (letter == ARG_GE || letter == ARG_GT) {
		if (real >= 9223372036854775808.0)
			return false;
		if (real < -9223372036854775808.0)
			return true;
		whole = (int64_t)ceil(real);
		if (letter == ARG_GT && (double)whole == real) {
			if (whole == INT64_MAX)
				return false;
			whole++;
		}
		*low = whole > *low ? whole : *low;
		return true;
	}
	if (real < -9223372036854775808.0)
		return false;
	if (real >= 9223372036854775808.0)
		return true;
	whole = (int64_t)floor(real);
	if (letter == ARG_LT && (double)whole == real) {
		if (whole == INT64_MIN)
			return false;
		whole--;
	}
	*high = whole < *high ? whole : *high;
	return true;
}

static int start_rowid(struct table_cursor *cursor, const char *letters,
                       int argc, sqlite3_value **argv, struct err *err)
{
	bool any = true;
	int rc;

	cursor->rowid_low = INT64_MIN;
	cursor->rowid_high = INT64_MAX;
	if (cursor->kind == PLAN_ROWID &&
	    sqlite3_value_type(argv[0]) == SQLITE_INTEGER) {
		cursor->rowid = sqlite3_value_int64(argv[0]);
		goto look;
	}
	for (int i = 0; any && i < argc; i++)
		any = rowid_bound(argv[i], letters[i], &cursor->rowid_low,
		                  &cursor->rowid_high);
	if (!any)
		return ERR_NONE;
	if (cursor->kind != PLAN_ROWID)
		return table_start(cursor, err);
	cursor->rowid = cursor->rowid_low;

look:
	rc = row_load(cursor, err);
	cursor->eof = rc || cursor->empty_row;
	return rc;
}

/* --- vectors ------------------------------------------------------------------- */

static int neighbour_add(struct table_cursor *cursor, double distance,
                         int64_t rowid, struct err *err)
{
	size_t room = cursor->neighbour_room ? cursor->neighbour_room * 2 : 256;
	struct neighbour *larger;

	if (cursor->neighbour_count == cursor->neighbour_room) {
		larger = heap_resize(table_of(cursor)->connection->heap,
		                     cursor->neighbours, room * sizeof *larger);
		if (!larger)
			return err_set(err, ERR_NOMEM, "search", "vectors",
			               "%zu distances", room);
		cursor->neighbours = larger;
		cursor->neighbour_room = room;
	}
	cursor->neighbours[cursor->neighbour_count++] = (struct neighbour){
		.distance = distance, .rowid = rowid,
	};
	return ERR_NONE;
}

static int by_distance(const void *left, const void *right)
{
	const struct neighbour *a = left, *b = right;

	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	return (a->rowid > b->rowid) - (a->rowid < b->rowid);
}

static void neighbours_settle(struct table_cursor *cursor)
{
	if (cursor->neighbour_count > 1)
		qsort(cursor->neighbours, cursor->neighbour_count,
		      sizeof *cursor->neighbours, by_distance);
	if (cursor->k && cursor->neighbour_count > (size_t)cursor->k)
		cursor->neighbour_count = (size_t)cursor->k;
}

/* A vector column without a graph: every row's distance, sorted. */
static int measure_all(struct table_cursor *cursor, uint32_t column,
                       struct span query, struct err *err)
{
	struct table *table = table_of(cursor);
	const struct column_definition *definition =
		&table->definition.columns[column];
	struct btree_cursor walk;
	struct span key, row;
	bool on, deleted, present;
	sqlite3_stmt *breath; /* stepping it lets an interrupt in */
	uint32_t rows = 0;
	bool passes = true;
	int rc;

	if (sqlite3_prepare_v2(table->connection->db, "SELECT 1", -1, &breath,
	                       NULL))
		return err_set(err, ERR_NOMEM, "search", table->pager->name,
		               "%s", sqlite3_errmsg(table->connection->db));
	cursor->neighbour_count = cursor->neighbour_at = 0;
	btree_cursor_init(&walk, &table->tree);
	rc = btree_cursor_first(&walk, &on, err);
	while (!rc && on) {
		struct value value;

		rc = btree_cursor_read(&walk, &key, &row, &deleted, err);
		if (!rc && cursor->filter)
			rc = vector_filter_test(cursor->filter,
			                        btree_rowid_of(key.data), row,
			                        &passes, err);
		if (!rc)
			rc = row_column(row, column, &value, &present, err);
		if (!rc && passes && present && value.type == VALUE_BLOB &&
		    value.bytes.size == query.size)
			rc = neighbour_add(cursor, hnsw_distance(
				table->connection->kernels,
				definition->element == HNSW_BIT ? HNSW_HAMMING
				                                : HNSW_L2,
				definition->element, definition->dimensions,
				query.data, value.bytes.data),
				btree_rowid_of(key.data), err);
		if (!rc && rows++ % 4096 == 0 && sqlite3_step(breath) != SQLITE_ROW)
			rc = err_set(err, ERR_INTERRUPT, "search",
			             table->pager->name, "interrupted");
		sqlite3_reset(breath);
		if (!rc)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	sqlite3_finalize(breath);
	if (!rc)
		neighbours_settle(cursor);
	return rc;
}

/* --- few that match ---------------------------------------------------------------- */

/* About as many rows can be measured one by one in the time that a walk takes to
 * meet k of them among all. */
static size_t few_of(const struct table_cursor *cursor, uint64_t nodes)
{
	double k = cursor->k ? (double)cursor->k : 10;
	double few = sqrt(3 * k * (double)nodes);

	if (cursor->exact)
		few = (double)nodes / 2;
	return few < 128 ? 128 : (size_t)few;
}

/* Adds the rowids of the walk that is under way; *few false when they are more. */
static int walk_collect(struct table_cursor *cursor, size_t limit, bool *few,
                        struct err *err)
{
	int rc = ERR_NONE;

	while (!rc && !cursor->eof && *few) {
		*few = cursor->neighbour_count < limit;
		if (*few)
			rc = neighbour_add(cursor, 0, cursor->rowid, err);
		if (!rc && cursor->kind == PLAN_INDEX) {
			rc = walk_step(cursor, err);
		} else if (!rc) {
			bool on;

			rc = btree_cursor_next(&cursor->walk, &on, err);
			if (!rc)
				rc = table_stand(cursor, on, err);
		}
	}
	return rc;
}

static struct span bound_of(const struct key_buffer *key)
{
	return key->size ? span_of(key->bytes, key->size)
	                 : (struct span){ .size = 0 };
}

/* The rows of a range of an index. */
static int index_collect(struct table_cursor *cursor,
                         const struct filter_matches *matches,
                         sqlite3_value **values, int count, size_t limit,
                         bool *few, struct err *err)
{
	uint64_t estimate = 0;
	bool empty;
	int rc;

	cursor->kind = PLAN_INDEX;
	cursor->ordered = cursor->descending = false;
	cursor->index = &table_of(cursor)->indexes[matches->index];
	rc = index_bounds(cursor, matches->equal_count, matches->letters, count,
	                  values, &empty, err);
	if (rc || empty)
		return rc;
	*few = !cursor->gathered;
	if (*few)
		rc = btree_estimate(&cursor->index->tree,
		                    bound_of(&cursor->low),
		                    bound_of(&cursor->high), &estimate, err);
	*few = *few && estimate <= limit;
	if (!rc && *few)
		rc = index_start(cursor, err);
	if (!rc && *few)
		rc = walk_collect(cursor, limit, few, err);
	return rc;
}

static int values_collect(struct table_cursor *cursor,
                          const struct filter_matches *matches, size_t limit,
                          bool *few, struct err *err)
{
	struct filter_matches one = *matches;
	sqlite3_value *value;
	int step, rc = ERR_NONE;

	one.equal_count = 1;
	for (step = sqlite3_vtab_in_first(matches->values[0], &value);
	     !rc && step == SQLITE_OK && *few;
	     step = sqlite3_vtab_in_next(matches->values[0], &value)) {
		rc = index_collect(cursor, &one, &value, 1, limit, few, err);
		if (cursor->walk_open)
			btree_cursor_close(&cursor->walk);
		cursor->walk_open = false;
	}
	return rc;
}

static int rowid_collect(struct table_cursor *cursor, sqlite3_value *value,
                         struct err *err)
{
	int64_t low = INT64_MIN, high = INT64_MAX;

	return rowid_bound(value, ARG_EQUAL, &low, &high) && low == high
	               ? neighbour_add(cursor, 0, low, err) : ERR_NONE;
}

static int rowids_collect(struct table_cursor *cursor,
                          const struct filter_matches *matches, size_t limit,
                          bool *few, struct err *err)
{
	sqlite3_value *value;
	int step, rc = ERR_NONE;

	if (matches->letters[0] == ARG_EQUAL)
		return rowid_collect(cursor, matches->values[0], err);
	for (step = sqlite3_vtab_in_first(matches->values[0], &value);
	     !rc && step == SQLITE_OK && *few;
	     step = sqlite3_vtab_in_next(matches->values[0], &value)) {
		rc = rowid_collect(cursor, value, err);
		*few = cursor->neighbour_count <= limit;
	}
	return rc;
}

static int range_collect(struct table_cursor *cursor,
                         const struct filter_matches *matches, size_t limit,
                         bool *few, struct err *err)
{
	uint8_t low[8], high[8];
	uint64_t estimate = 0;
	bool any = true;
	int rc;

	cursor->kind = PLAN_ROWID_RANGE;
	cursor->descending = false;
	cursor->rowid_low = INT64_MIN;
	cursor->rowid_high = INT64_MAX;
	for (int i = 0; any && i < matches->count; i++)
		any = rowid_bound(matches->values[i], matches->letters[i],
		                  &cursor->rowid_low, &cursor->rowid_high);
	if (!any || cursor->rowid_low > cursor->rowid_high)
		return ERR_NONE;
	btree_rowid_key(low, cursor->rowid_low);
	btree_rowid_key(high, cursor->rowid_high);
	rc = btree_estimate(&table_of(cursor)->tree, span_of(low, 8),
	                    span_of(high, 8), &estimate, err);
	*few = estimate <= limit;
	if (!rc && *few)
		rc = table_start(cursor, err);
	if (!rc && *few)
		rc = walk_collect(cursor, limit, few, err);
	return rc;
}

static int matches_collect(struct table_cursor *cursor, size_t limit, bool *few,
                           struct err *err)
{
	const struct filter_matches *matches =
		vector_filter_matches(cursor->filter);

	*few = true;
	switch (matches->source) {
	case FILTER_FROM_ROWIDS:
		return rowids_collect(cursor, matches, limit, few, err);
	case FILTER_FROM_RANGE:
		return range_collect(cursor, matches, limit, few, err);
	case FILTER_FROM_INDEX:
		return index_collect(cursor, matches, matches->values,
		                     matches->count, limit, few, err);
	case FILTER_FROM_VALUES:
		return values_collect(cursor, matches, limit, few, err);
	case FILTER_FROM_NOTHING:
		break;
	}
	*few = false;
	return ERR_NONE;
}

/* The distance of one row that may match; *counts false when it does not. */
static int row_measure(struct table_cursor *cursor, uint32_t column,
                       const struct table_index *index, struct span query,
                       struct neighbour *row, bool *counts, struct err *err)
{
	const struct hnsw_options *options = hnsw_options_of(index->graph);
	struct table *table = table_of(cursor);
	struct value value = { .type = VALUE_NULL };
	struct span bytes, vector;
	uint8_t key[8];
	int64_t rowid;
	bool present;
	int rc;

	btree_rowid_key(key, row->rowid);
	rc = btree_get(&table->tree, span_of(key, 8), &cursor->scratch, &bytes,
	               counts, err);
	if (!rc && *counts)
		rc = vector_filter_test(cursor->filter, row->rowid, bytes,
		                        counts, err);
	if (!rc && *counts)
		rc = row_column(bytes, column, &value, &present, err);
	*counts = *counts && value.type == VALUE_VECTOR;
	if (!rc && *counts)
		rc = hnsw_vector(index->graph, (uint32_t)value.integer, &vector,
		                 &rowid, err);
	if (!rc && *counts)
		row->distance = hnsw_distance(table->connection->kernels,
		                              options->metric, options->element,
		                              options->dimensions, query.data,
		                              vector.data);
	return rc;
}

static int by_rowid(const void *left, const void *right)
{
	const struct neighbour *a = left, *b = right;

	return (a->rowid > b->rowid) - (a->rowid < b->rowid);
}

static int few_measure(struct table_cursor *cursor, uint32_t column,
                       const struct table_index *index, struct span query,
                       struct err *err)
{
	struct neighbour *rows = cursor->neighbours;
	size_t count = cursor->neighbour_count, kept = 0;
	int rc = ERR_NONE;

	if (count > 1)
		qsort(rows, count, sizeof *rows, by_rowid);
	for (size_t i = 0; !rc && i < count; i++) {
		bool counts = false;

		if (kept && rows[kept - 1].rowid == rows[i].rowid)
			continue;
		rc = row_measure(cursor, column, index, query, &rows[i],
		                 &counts, err);
		rows[kept] = rows[i];
		kept += counts;
	}
	cursor->neighbour_count = kept;
	neighbours_settle(cursor);
	return rc;
}

/* Measures all rows that match when they are few; *done says whether. */
static int measure_matches(struct table_cursor *cursor, uint32_t column,
                           const struct table_index *index, struct span query,
                           bool *done, struct err *err)
{
	uint64_t nodes = 0;
	int rc;

	*done = false;
	cursor->neighbour_count = cursor->neighbour_at = 0;
	rc = hnsw_count(index->graph, &nodes, err);
	if (!rc)
		rc = matches_collect(cursor, few_of(cursor, nodes), done, err);
	if (cursor->walk_open)
		btree_cursor_close(&cursor->walk);
	cursor->walk_open = false;
	if (cursor->gathered)
		arena_reset(&cursor->scattered_keys);
	cursor->gathered = false;
	cursor->kind = PLAN_VECTOR;
	cursor->eof = true;
	cursor->row_known = false;
	return rc || !*done ? rc
	                    : few_measure(cursor, column, index, query, err);
}

static int vector_next(struct table_cursor *cursor, struct err *err)
{
	bool more = false;
	uint32_t node;
	int rc = ERR_NONE;

	cursor->row_known = false;
	if (cursor->search) {
		rc = hnsw_search_next(cursor->search, &cursor->rowid, &node,
		                      &cursor->distance, &more, err);
		if (!rc)
			rc = vector_filter_error(cursor->filter, err);
	} else if (cursor->neighbour_at < cursor->neighbour_count) {
		const struct neighbour *next =
			&cursor->neighbours[cursor->neighbour_at++];

		cursor->rowid = next->rowid;
		cursor->distance = next->distance;
		more = true;
	}
	if (more && (cursor->distance_open
	                     ? cursor->distance >= cursor->distance_max
	                     : cursor->distance > cursor->distance_max))
		more = false;
	cursor->eof = !more;
	return rc;
}

static int whole_argument(sqlite3_value *from, const char *name, int64_t most,
                          int64_t *number, struct err *err)
{
	if (sqlite3_value_numeric_type(from) != SQLITE_INTEGER)
		return err_set(err, ERR_INVALID, "search with", name,
		               "it must be a whole number");
	*number = sqlite3_value_int64(from);
	if (*number < 0 || *number > most)
		return err_set(err, ERR_INVALID, "search with", name,
		               "it is %lld, allowed are 0 to %lld",
		               (long long)*number, (long long)most);
	return ERR_NONE;
}

static int vector_arguments(struct table_cursor *cursor, const char *letters,
                            int argc, sqlite3_value **argv, bool *none,
                            struct err *err)
{
	int64_t number;
	int rc = ERR_NONE;

	cursor->k = cursor->ef = 0;
	cursor->exact = false;
	cursor->distance_max = INFINITY;
	cursor->distance_open = false;
	*none = false;
	for (int i = 1; !rc && i < argc; i++) {
		double bound;

		switch (letters[i]) {
		case ARG_K:
			rc = whole_argument(argv[i], "k", 65536, &cursor->k,
			                    err);
			*none |= !rc && cursor->k == 0;
			break;
		case ARG_EF:
			rc = whole_argument(argv[i], "ef", 65536, &cursor->ef,
			                    err);
			break;
		case ARG_EXACT:
			rc = whole_argument(argv[i], "exact", 1, &number, err);
			cursor->exact = !rc && number;
			break;
		default:
			if (sqlite3_value_type(argv[i]) == SQLITE_NULL)
				*none = true;
			bound = sqlite3_value_double(argv[i]);
			if (bound < cursor->distance_max ||
			    (bound == cursor->distance_max &&
			     letters[i] == ARG_DISTANCE_LT)) {
				cursor->distance_max = bound;
				cursor->distance_open =
					letters[i] == ARG_DISTANCE_LT;
			}
		}
	}
	return rc;
}

static int start_vector(struct table_cursor *cursor, uint32_t column,
                        const char *letters, int argc, sqlite3_value **argv,
                        struct err *err)
{
	struct table *table = table_of(cursor);
	uint32_t number = table_vector_index(table, column);
	bool graph = number < table->definition.index_count;
	struct hnsw_query query = { .accept = NULL };
	int own_count = (int)strcspn(letters, ";");
	struct span vector;
	bool none, done;
	int rc;

	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return ERR_NONE;
	arena_reset(&table->row_arena);
	rc = vector_take(&table->definition.columns[column],
	                 graph ? table->definition.indexes[number].graph.metric
	                       : HNSW_L2,
	                 argv[0], &table->row_arena, &vector, err);
	if (!rc)
		rc = vector_arguments(cursor, letters, own_count, argv, &none,
		                      err);
	if (!rc && !none)
		rc = vector_filter_open(table, letters, own_count, argc, argv,
		                        &cursor->filter, err);
	if (rc || none)
		return rc;
	if (!graph) {
		rc = measure_all(cursor, column, vector, err);
		return rc ? rc : vector_next(cursor, err);
	}
	if (cursor->filter) {
		rc = measure_matches(cursor, column, &table->indexes[number],
		                     vector, &done, err);
		if (rc || done)
			return rc ? rc : vector_next(cursor, err);
		query.accept = vector_filter_accept;
		query.accept_context = cursor->filter;
	}
	query.vector = vector;
	query.k = (uint32_t)cursor->k;
	query.ef = (uint32_t)cursor->ef;
	query.exact = cursor->exact;
	rc = hnsw_search_begin(table->indexes[number].graph, &query,
	                       &cursor->search, err);
	if (!rc)
		rc = vector_filter_error(cursor->filter, err);
	return rc ? rc : vector_next(cursor, err);
}

/* --- SQLite's calls ------------------------------------------------------------ */

int cursor_filter(sqlite3_vtab_cursor *filtered, int number, const char *text,
                  int argc, sqlite3_value **argv)
{
	struct table_cursor *cursor = (struct table_cursor *)(void *)filtered;
	struct table *table = table_of(cursor);
	uint32_t index = (uint32_t)number >> PLAN_INDEX_SHIFT;
	uint32_t equal = (uint32_t)number >> PLAN_EQUAL_SHIFT & PLAN_EQUAL_MASK;
	bool empty = false;
	struct err err;
	int rc = ERR_NONE;

	stop(cursor);
	*table->home->read = true;
	cursor->kind = (enum plan_kind)(number & PLAN_KIND_MASK);
	cursor->descending = number & PLAN_DESCENDING;
	cursor->rows_read = number & PLAN_ROWS_READ;
	cursor->ordered = number & PLAN_ORDERED;
	switch (cursor->kind) {
	case PLAN_SCAN:
	case PLAN_ROWID:
	case PLAN_ROWID_RANGE:
		rc = start_rowid(cursor, text, argc, argv, &err);
		break;
	case PLAN_INDEX:
		cursor->index = &table->indexes[index];
		rc = index_bounds(cursor, equal, text, argc, argv, &empty, &err);
		if (!rc && !empty && cursor->gathered)
			gathered_next(cursor);
		else if (!rc && !empty)
			rc = index_start(cursor, &err);
		if (!rc && !empty && !cursor->gathered)
			rc = index_show(cursor, &err);
		break;
	case PLAN_VECTOR:
		rc = start_vector(cursor, index, text, argc, argv, &err);
		break;
	}
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
		rc = table_next(cursor, &err);
		break;
	case PLAN_INDEX:
		if (cursor->gathered) {
			gathered_next(cursor);
			break;
		}
		if (cursor->group.open) {
			rc = group_next(cursor, &err);
			break;
		}
		rc = walk_step(cursor, &err);
		if (!rc)
			rc = index_show(cursor, &err);
		break;
	case PLAN_VECTOR:
		rc = vector_next(cursor, &err);
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
	rc = row_is_fresh(cursor, table) ? ERR_NONE : row_load(cursor, &err);
	if (!rc && cursor->empty_row)
		return SQLITE_OK;
	if (!rc)
		rc = row_column(cursor->row, (uint32_t)column, &value, &present,
		                &err);
	if (!rc && present && value.type == VALUE_VECTOR)
		rc = result_vector(table, (uint32_t)column,
		                   (uint32_t)value.integer, context, &err);
	else if (!rc && present)
		value_result(context, &value, false);
	if (!rc && present && column_typed(table, column))
		sqlite3_result_subtype(context, vector_subtype(
			table->definition.columns[column].element));
	return result(cursor, rc, &err);
}
