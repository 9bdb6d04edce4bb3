/*
 * update_write.c - a row, its index entries and its graph nodes, changed together.
 *
 * Everything has been checked: what fails here is the disk, memory or damage. An UPDATE
 * whose changed columns keep their sizes patches the old row where it lies.
 */
#include "vtab/update.h"

#include <string.h>

/* --- the old row --------------------------------------------------------------- */

static int row_keep(struct table *table, struct span *row, struct err *err)
{
	return arena_keep(&table->row_arena, row)
	               ? ERR_NONE
	               : table_no_memory(table, "write to table", err);
}

int change_row_find(struct table *table, int64_t rowid, struct span *row,
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
		rc = row_keep(table, row, err);
	return rc;
}

int change_old_load(struct change *change, struct err *err)
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
	int rc = row_keep(change->table, &change->old_row, err);

	return rc ? rc : change_old_load(change, err);
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
	int rc = values ? change_row_find(table, rowid, &row, &hit, found, err)
	                : table_no_memory(table, "write to table", err);

	if (rc || !*found)
		return rc;
	rc = row_columns(row, values, columns, err);
	if (rc)
		return rc;
	change->written = true;
	return remove_entries(table, values, rowid, err);
}

int change_remove(struct change *change, int64_t rowid, struct err *err)
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

/* --- the new one --------------------------------------------------------------- */

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

	if (change_spares_index(change, index->definition))
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
		return table_no_memory(table, "write to table", err);
	heap_free(heap, table->row);
	table->row = larger;
	table->row_room = size + size / 2;
	return ERR_NONE;
}

int table_row_encode(struct table *table, const struct value *values,
                     struct span *row, struct err *err)
{
	uint32_t columns = table->definition.column_count;
	size_t size = row_size(values, columns);
	int rc = row_reserve(table, size + ROW_ENCODE_SLACK, err);

	if (rc)
		return rc;
	row_encode_sized(values, columns, size, table->row);
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
	rc = table_row_encode(table, change->values, &row, err);
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
		rc = change_rowid_violated(change, err);
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

int change_write_alone(struct change *change, struct err *err)
{
	int rowid_column = change->table->definition.rowid_column;
	bool done;
	int rc;

	if (rowid_column >= 0)
		change->values[rowid_column].type = VALUE_NULL;
	rc = patch_row(change, &done, err);
	if (rc || done)
		return rc;
	rc = change_old_load(change, err);
	return rc ? rc : write_row(change, err);
}

/* (vtab/update U3) */
int change_write(struct change *change, struct err *err)
{
	struct table *table = change->table;
	int rc = change->has_old && change->replaced_count
	                 ? old_row_keep(change, err) : ERR_NONE;

	for (uint32_t i = 0; !rc && i < change->replaced_count; i++)
		if (!change->has_old ||
		    change->replaced[i] != change->old_rowid)
			rc = change_remove(change, change->replaced[i], err);
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
