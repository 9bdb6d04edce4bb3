/*
 * long_keys.c - values too long for a key, told apart by their rows.
 *
 * Purpose       A key holds the beginning of a long text or blob and a hash of it
 *               (btree/key_format.h): equal values have equal keys, but the order
 *               of two that agree in the beginning, and whether equal keys mean
 *               equal values, only the rows know.
 * Structures    A group is what a walk meets of entries that agree up to the first
 *               cut: such entries lie together. Its rows are sorted by the real
 *               values of the index's columns; small ones are kept meanwhile,
 *               beyond COPIES_MAX they are looked up for each comparison.
 * Performance   Keys under KEY_CUT_KEY_SIZE_LEAST bytes never come here.
 * Safety        (K1) A walk that has promised an order meets the rows of a group in
 *               the order of their values. (K2) A UNIQUE index with cut keys refuses
 *               equal values and takes different ones.
 */
#define _GNU_SOURCE /* qsort_r */
#include "vtab/table.h"

#include <stdlib.h>
#include <string.h>

enum { COPIES_MAX = 4 << 20 };

/* --- comparing as SQLite does ----------------------------------------------------- */

static uint8_t folded(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static int compare_sizes(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

/* Stops at a NUL, and then the lengths decide. */
static int compare_nocase(struct span a, struct span b)
{
	size_t size = a.size < b.size ? a.size : b.size;

	for (size_t i = 0; i < size; i++) {
		uint8_t left = folded(a.data[i]), right = folded(b.data[i]);

		if (left != right)
			return left < right ? -1 : 1;
		if (!left)
			break;
	}
	return compare_sizes(a.size, b.size);
}

static struct span trimmed(struct span text)
{
	while (text.size && text.data[text.size - 1] == ' ')
		text.size--;
	return text;
}

static int compare_texts(struct span a, struct span b, enum collation collation)
{
	switch (collation) {
	case COLLATION_NOCASE:
		return compare_nocase(a, b);
	case COLLATION_RTRIM:
		return span_compare(trimmed(a), trimmed(b));
	case COLLATION_BINARY:
		break;
	}
	return span_compare(a, b);
}

/* Numbers, NULLs, and values of different kinds: their keys are never cut. */
static int compare_by_keys(const struct value *a, const struct value *b,
                           struct key_buffer keys[2], int *order,
                           struct err *err)
{
	static const struct key_column plain = { .collation = COLLATION_BINARY };
	int rc;

	key_buffer_reset(&keys[0]);
	key_buffer_reset(&keys[1]);
	rc = key_append(&keys[0], a, &plain, err);
	if (!rc)
		rc = key_append(&keys[1], b, &plain, err);
	if (!rc)
		*order = span_compare(span_of(keys[0].bytes, keys[0].size),
		                       span_of(keys[1].bytes, keys[1].size));
	return rc;
}

static int compare_values(const struct value *a, const struct value *b,
                          const struct key_column *column,
                          struct key_buffer keys[2], int *order,
                          struct err *err)
{
	int rc = ERR_NONE;

	if (a->type == b->type && a->type == VALUE_TEXT)
		*order = compare_texts(a->bytes, b->bytes, column->collation);
	else if (a->type == b->type && a->type == VALUE_BLOB)
		*order = span_compare(a->bytes, b->bytes);
	else
		rc = compare_by_keys(a, b, keys, order, err);
	if (!rc && column->descending)
		*order = -*order;
	return rc;
}

/* --- groups ----------------------------------------------------------------------- */

void long_group_init(struct long_group *group, struct heap *heap)
{
	*group = (struct long_group){ .count = 0 };
	key_buffer_init(&group->prefix, heap);
	arena_init(&group->copies, heap);
	for (int i = 0; i < 2; i++) {
		group->scratch[i].heap = heap;
		key_buffer_init(&group->keys[i], heap);
	}
}

void long_group_close(struct long_group *group)
{
	for (int i = 0; i < 2; i++) {
		btree_scratch_free(&group->scratch[i]);
		key_buffer_close(&group->keys[i]);
	}
	heap_free(group->prefix.heap, group->rows);
	arena_close(&group->copies);
	key_buffer_close(&group->prefix);
}

/* Where the first cut at or behind `at` ends; 0 when nothing was cut. */
static int find_cut(const struct table_index *index, struct span key,
                    uint32_t column, size_t at, size_t *found, struct err *err)
{
	uint32_t columns = index->definition->column_count;

	*found = 0;
	for (; column < columns && at < key.size && !*found; column++) {
		size_t cut_at, size;
		int rc = key_column_cut(span_of(key.data + at, key.size - at),
		                        index->columns[column].descending,
		                        &cut_at, &size, err);

		if (rc)
			return rc;
		if (cut_at)
			*found = at + cut_at + 2;
		at += size;
	}
	return ERR_NONE;
}

int long_group_begin(struct long_group *group, struct table *table,
                     const struct table_index *index, struct span key,
                     uint32_t column, size_t at, struct err *err)
{
	size_t cut;
	int rc = find_cut(index, key, column, at, &cut, err);

	if (rc)
		return rc;
	group->table = table;
	group->index = index;
	group->count = group->at = group->copied = 0;
	group->open = false;
	arena_reset(&group->copies);
	return key_buffer_set(&group->prefix, span_of(key.data, cut), err);
}

bool long_group_has(const struct long_group *group, struct span key)
{
	return key.size >= group->prefix.size &&
	       memcmp(key.data, group->prefix.bytes, group->prefix.size) == 0;
}

int long_group_add(struct long_group *group, int64_t rowid, struct err *err)
{
	size_t room = group->room ? group->room * 2 : 16;
	struct long_row *larger;

	if (group->count == group->room) {
		larger = heap_resize(group->prefix.heap, group->rows,
		                     room * sizeof *larger);
		if (!larger)
			return err_set(err, ERR_NOMEM, "search",
			               group->index->pager->name,
			               "%zu long keys that begin alike", room);
		group->rows = larger;
		group->room = room;
	}
	group->rows[group->count++] = (struct long_row){ .rowid = rowid };
	return ERR_NONE;
}

/* A row that is not there has no columns. */
static int row_fetch(struct long_group *group, int64_t rowid, int side,
                     struct span *row, struct err *err)
{
	bool found;
	int rc = table_row_get(group->table, rowid, &group->scratch[side], row,
	                       &found, err);

	if (!rc && !found)
		*row = span_of(NULL, 0);
	return rc;
}

static int keep_small_rows(struct long_group *group, struct err *err)
{
	for (size_t i = 0; i < group->count; i++) {
		struct span row;
		int rc = row_fetch(group, group->rows[i].rowid, 0, &row, err);

		if (!rc)
			rc = breathe(&group->table->connection->breath.base,
			             err);
		if (rc)
			return rc;
		if (!row.size || group->copied + row.size > COPIES_MAX)
			continue;
		if (!arena_keep(&group->copies, &row))
			return ERR_NONE; /* it will be looked up */
		group->rows[i].row = row;
		group->copied += row.size;
	}
	return ERR_NONE;
}

static int column_of_row(const struct table *table, struct span row,
                         int64_t rowid, uint32_t column, struct value *value,
                         struct err *err)
{
	bool present = false;
	int rc = ERR_NONE;

	if ((int)column == table->definition.rowid_column) {
		*value = (struct value){ .type = VALUE_INTEGER,
		                         .integer = rowid };
		return ERR_NONE;
	}
	if (row.size)
		rc = row_column(row, column, value, &present, err);
	if (!rc && !present)
		*value = (struct value){ .type = VALUE_NULL };
	return rc;
}

struct sorting {
	struct long_group *group;
	uint32_t column;
	struct err *err;
	int rc;
};

static int compare_rows(struct sorting *sorting, const struct long_row *a,
                        const struct long_row *b, int *order)
{
	struct long_group *group = sorting->group;
	const struct index_definition *definition = group->index->definition;
	const struct long_row *both[2] = { a, b };
	struct span rows[2];
	int rc = breathe(&group->table->connection->breath.base, sorting->err);

	for (int i = 0; i < 2 && !rc; i++) {
		rows[i] = both[i]->row;
		if (!rows[i].size)
			rc = row_fetch(group, both[i]->rowid, i, &rows[i],
			               sorting->err);
	}
	*order = 0;
	for (uint32_t c = sorting->column;
	     !rc && !*order && c < definition->column_count; c++) {
		struct value values[2];

		for (int i = 0; i < 2 && !rc; i++)
			rc = column_of_row(group->table, rows[i],
			                   both[i]->rowid,
			                   definition->columns[c].column,
			                   &values[i], sorting->err);
		if (!rc)
			rc = compare_values(&values[0], &values[1],
			                    &group->index->columns[c],
			                    group->keys, order, sorting->err);
	}
	return rc;
}

static int by_values(const void *left, const void *right, void *context)
{
	const struct long_row *a = left, *b = right;
	struct sorting *sorting = context;
	int order = 0;

	if (!sorting->rc)
		sorting->rc = compare_rows(sorting, a, b, &order);
	return order ? order : (a->rowid > b->rowid) - (a->rowid < b->rowid);
}

/* (K1) */
int long_group_sort(struct long_group *group, uint32_t column, struct err *err)
{
	struct sorting sorting = { .group = group, .column = column,
		                   .err = err };
	int rc;

	if (group->count < 2)
		return ERR_NONE;
	rc = keep_small_rows(group, err);
	if (rc)
		return rc;
	qsort_r(group->rows, group->count, sizeof *group->rows, by_values,
	        &sorting);
	return sorting.rc;
}

/* --- uniqueness ------------------------------------------------------------------- */

static int row_equals(struct table *table, const struct table_index *index,
                      const struct value *values, int64_t rowid,
                      struct span row, int64_t row_rowid, bool *equal,
                      struct err *err)
{
	const struct index_definition *definition = index->definition;
	struct key_buffer keys[2];
	int rc = ERR_NONE, order = 0;

	key_buffer_init(&keys[0], table->connection->heap);
	key_buffer_init(&keys[1], table->connection->heap);
	for (uint32_t c = 0; !rc && !order && c < definition->column_count;
	     c++) {
		uint32_t column = definition->columns[c].column;
		struct value own = { .type = VALUE_INTEGER, .integer = rowid };
		struct value other;

		rc = column_of_row(table, row, row_rowid, column, &other, err);
		if (!rc)
			rc = compare_values((int)column ==
			                            table->definition.rowid_column
			                            ? &own : &values[column],
			                    &other, &index->columns[c], keys,
			                    &order, err);
	}
	key_buffer_close(&keys[0]);
	key_buffer_close(&keys[1]);
	*equal = !rc && !order;
	return rc;
}

/* (K2) */
int long_key_find(struct table *table, struct table_index *index,
                  const struct value *values, int64_t rowid,
                  const struct key_buffer *key, const int64_t *except,
                  int64_t *found_rowid, bool *found, struct err *err)
{
	struct btree_scratch scratch = { .heap = table->connection->heap };
	struct span prefix = span_of(key->bytes, key->size - 8), at, row;
	struct btree_cursor walk;
	bool on, deleted, there;
	int rc;

	*found = false;
	btree_cursor_init(&walk, &index->tree);
	rc = btree_cursor_seek(&walk, prefix, BTREE_SEEK_GE, &on, err);
	while (!rc && on && !*found) {
		rc = btree_cursor_read(&walk, &at, NULL, &deleted, err);
		if (rc || at.size != prefix.size + 8 ||
		    memcmp(at.data, prefix.data, prefix.size) != 0)
			break;
		*found_rowid = btree_rowid_of(at.data + prefix.size);
		if (!except || *found_rowid != *except) {
			rc = table_row_get(table, *found_rowid, &scratch, &row,
			                   &there, err);
			if (!rc && there)
				rc = row_equals(table, index, values, rowid,
				                row, *found_rowid, found, err);
		}
		if (!rc && !*found)
			rc = btree_cursor_next(&walk, &on, err);
	}
	btree_cursor_close(&walk);
	btree_scratch_free(&scratch);
	return rc;
}
