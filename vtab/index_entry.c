/*
 * index_entry.c - the entry that a row has in an index.
 *
 * The key is the columns' values. In an index that is UNIQUE the entry's value is the
 * rowid; where equal keys do not conflict the rowid ends the key, and there is no
 * value.
 */
#include "vtab/table.h"

#include <string.h>

int index_key(const struct table_index *index, const struct value *values,
              int64_t rowid, int rowid_column, struct key_buffer *key,
              bool *unique, struct err *err)
{
	const struct index_definition *definition = index->definition;
	bool any_null = false;
	int rc = ERR_NONE;

	key_buffer_reset(key);
	for (uint32_t i = 0; !rc && i < definition->column_count; i++) {
		uint32_t column = definition->columns[i].column;
		struct value own = { .type = VALUE_INTEGER, .integer = rowid };
		const struct value *value = (int)column == rowid_column
		                                    ? &own : &values[column];

		any_null |= value->type == VALUE_NULL;
		rc = key_append(key, value, &index->columns[i], err);
	}
	*unique = definition->unique && !any_null && !key->shortened;
	if (!rc && !*unique)
		rc = key_append_rowid(key, rowid, err);
	return rc;
}

bool index_has_null(const struct table *table,
                    const struct index_definition *index,
                    const struct value *values)
{
	for (uint32_t i = 0; i < index->column_count; i++)
		if (values[index->columns[i].column].type == VALUE_NULL &&
		    (int)index->columns[i].column !=
		            table->definition.rowid_column)
			return true;
	return false;
}

void index_columns_name(const struct table *table,
                        const struct index_definition *index, char *text,
                        size_t size)
{
	size_t used = 0;

	*text = 0;
	for (uint32_t i = 0; i < index->column_count && used + 1 < size; i++) {
		uint32_t column = index->columns[i].column;

		sqlite3_snprintf((int)(size - used), text + used, "%s%s.%s",
		                 i ? ", " : "", table->name,
		                 table->definition.columns[column].name);
		used += strlen(text + used);
	}
}

int index_count(struct table_index *index, uint64_t *count, struct err *err)
{
	return index->definition->kind == INDEX_TREE
	               ? btree_count(&index->tree, count, err)
	               : hnsw_count(index->graph, count, err);
}

struct key_column *index_key_columns(const struct index_definition *definition,
                                     struct arena *arena)
{
	struct key_column *columns = arena_allocate(
		arena, (definition->column_count + 1) * sizeof *columns);

	for (uint32_t i = 0; columns && i < definition->column_count; i++)
		columns[i] = (struct key_column){
			.collation = definition->columns[i].collation,
			.descending = definition->columns[i].descending,
		};
	return columns;
}

int64_t index_rowid(struct span key, struct span value)
{
	if (value.size == 8)
		return btree_rowid_of(value.data);
	return key.size >= 8 ? btree_rowid_of(key.data + key.size - 8) : 0;
}
