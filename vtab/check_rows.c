/*
 * check_rows.c - whether the rows of a table and its indexes tell the same.
 *
 * Each row is looked at by itself (check_constraints.c) and looked up in every index.
 * Entries of different rows differ, so if every row has its entry and there are as many
 * entries as rows, every entry has its row; when the numbers differ, the entries are
 * asked for their rows. So it is with the nodes of a graph.
 */
#include "vtab/check.h"

#include <string.h>

struct checking {
	struct table *table;
	enum check_depth depth;
	struct row_rules rules;
	bool changed;                    /* by a function in a CHECK */
	uint64_t *vectors, rows;         /* by index; so far        */
	struct table_index *index;       /* whose nodes or entries are visited */
	struct err *err;
	int rc;
};

/* A failure other than damage ends the check; damage has been reported. */
static int only_damage(int rc)
{
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}

/* --- rows against indexes ------------------------------------------------------- */

/* Where a UNIQUE index keeps the beginnings of long values, any number of rows may have
 * entries that begin so. */
static int check_unique(struct checking *checking, struct table_index *index,
                        int64_t rowid, struct err *err)
{
	struct table *table = checking->table;
	int64_t other;
	bool found;
	int rc;

	if (!index->definition->unique || !table->old_key.shortened ||
	    index_has_null(table, index->definition, table->values))
		return ERR_NONE;
	rc = long_key_find(table, index, table->values, rowid, &table->old_key,
	                   &rowid, &other, &found, err);
	if (!rc && found)
		row_rules_tell(&checking->rules, index,
		               "rows %lld and %lld have the same values",
		               (long long)rowid, (long long)other);
	return rc;
}

static int check_entry(struct checking *checking, struct table_index *index,
                       int64_t rowid, struct err *err)
{
	struct table *table = checking->table;
	struct span value;
	bool unique, found;
	int rc = index_key(index, table->values, rowid,
	                   table->definition.rowid_column, &table->old_key,
	                   &unique, err);

	if (!rc)
		rc = btree_get(&index->tree,
		               key_bytes(&table->old_key),
		               &table->scratch, &value, &found, err);
	if (rc)
		return rc;
	if (!found)
		row_rules_tell(&checking->rules, index, "row %lld has no entry in the index",
		               (long long)rowid);
	else if (unique && value.size != 8)
		row_rules_tell(&checking->rules, index, "row %lld has a damaged entry",
		               (long long)rowid);
	else if (unique && btree_rowid_of(value.data) != rowid)
		row_rules_tell(&checking->rules, index,
		               "row %lld has an entry that names row %lld",
		               (long long)rowid,
		               (long long)btree_rowid_of(value.data));
	return check_unique(checking, index, rowid, err);
}

static const struct value *vector_of(const struct checking *checking,
                                     const struct table_index *index)
{
	return &checking->table->values[index->definition->columns[0].column];
}

static int check_node(struct checking *checking, struct table_index *index,
                      int64_t rowid, struct err *err)
{
	const struct value *value = vector_of(checking, index);
	struct span vector;
	int64_t owner;
	int rc;

	if (value->type == VALUE_NULL)
		return ERR_NONE;
	if (value->type != VALUE_VECTOR) {
		row_rules_tell(&checking->rules, index,
		               "row %lld has its vector outside the graph",
		               (long long)rowid);
		return ERR_NONE;
	}
	rc = hnsw_vector(index->graph, (uint32_t)value->integer, &vector,
	                 &owner, err);
	if (rc == ERR_CORRUPT)
		row_rules_tell(&checking->rules, index,
		               "row %lld has no node in the graph",
		               (long long)rowid);
	else if (!rc && owner != rowid)
		row_rules_tell(&checking->rules, index,
		               "row %lld has a node that names row %lld",
		               (long long)rowid, (long long)owner);
	return only_damage(rc);
}

static int check_in_index(struct checking *checking, struct table_index *index,
                          int64_t rowid, struct err *err)
{
	bool tree = index->definition->kind == INDEX_TREE;

	if (!tree && vector_of(checking, index)->type == VALUE_VECTOR)
		checking->vectors[index - checking->table->indexes]++;
	if (checking->depth < CHECK_INDEXES)
		return ERR_NONE;
	return tree ? check_entry(checking, index, rowid, err)
	            : check_node(checking, index, rowid, err);
}

static int check_row(void *context, struct span key, struct span row,
                     struct err *err)
{
	struct checking *checking = context;
	struct table *table = checking->table;
	int64_t rowid = btree_rowid_of(key.data);
	bool changed;
	int rc = row_columns(row, table->values, table->definition.column_count,
	                     err);

	checking->rows++;
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++)
		rc = check_in_index(checking, &table->indexes[i], rowid, err);
	if (!rc)
		rc = row_rules_check(&checking->rules, rowid, &changed, err);
	checking->changed |= !rc && changed;
	home_relieve(table->home);
	return rc;
}

static struct breath *breath_of(const struct checking *checking)
{
	return &checking->table->connection->breath.base;
}

/* --- indexes against rows ------------------------------------------------------- */

static int row_of(struct checking *checking, int64_t rowid, bool *found,
                  struct err *err)
{
	struct table *table = checking->table;
	struct span row;
	int rc = table_row_get(table, rowid, &table->scratch, &row, found, err);

	if (rc || !*found)
		return rc;
	return row_columns(row, table->values, table->definition.column_count,
	                   err);
}

static int check_owner(struct checking *checking, struct table_index *index,
                       struct span key, int64_t rowid, struct err *err)
{
	struct table *table = checking->table;
	struct key_buffer *own = &table->old_key;
	bool found, unique;
	int rc = row_of(checking, rowid, &found, err);

	if (!rc && !found)
		row_rules_tell(&checking->rules, index,
		               "an entry names row %lld, which is not there",
		               (long long)rowid);
	if (rc || !found)
		return rc;
	rc = index_key(index, table->values, rowid,
	               table->definition.rowid_column, own, &unique, err);
	if (!rc && (own->size != key.size ||
	            memcmp(own->bytes, key.data, key.size) != 0))
		row_rules_tell(&checking->rules, index,
		               "an entry of row %lld has other values than the row",
		               (long long)rowid);
	return rc;
}

static int visit_entry(void *context, struct span key, struct span value,
                       struct err *err)
{
	struct checking *checking = context;
	int rc = check_owner(checking, checking->index, key,
	                     index_rowid(key, value), err);

	home_relieve(checking->table->home);
	return rc;
}

static int check_entries(struct checking *checking, struct table_index *index,
                         struct err *err)
{
	checking->index = index;
	return btree_each(&index->tree, visit_entry, checking,
	                  breath_of(checking), err);
}

static void visit_node(void *context, uint32_t node, int64_t rowid)
{
	struct checking *checking = context;
	const struct table_index *index = checking->index;
	bool found;
	const struct value *value;

	if (checking->rc)
		return;
	checking->rc = row_of(checking, rowid, &found, checking->err);
	if (checking->rc)
		return;
	value = &checking->table->values[index->definition->columns[0].column];
	if (!found)
		row_rules_tell(&checking->rules, index,
		               "a node names row %lld, which is not there",
		               (long long)rowid);
	else if (value->type != VALUE_VECTOR || value->integer != node)
		row_rules_tell(&checking->rules, index,
		               "node %u names row %lld, which has another vector",
		               node, (long long)rowid);
}

static int check_nodes(struct checking *checking, struct table_index *index,
                       struct err *err)
{
	int rc;

	checking->index = index;
	checking->err = err;
	checking->rc = ERR_NONE;
	rc = only_damage(hnsw_verify(index->graph, NULL, NULL, visit_node,
	                             checking, err));
	return rc ? rc : checking->rc;
}

static int check_count(struct checking *checking, struct table_index *index,
                       uint64_t vectors, struct err *err)
{
	bool tree = index->definition->kind == INDEX_TREE;
	uint64_t wanted = tree ? checking->rows : vectors, count;
	int rc = index_count(index, &count, err);

	if (rc || count == wanted)
		return rc;
	row_rules_tell(&checking->rules, index, "%llu entries for %llu rows",
	               (unsigned long long)count, (unsigned long long)wanted);
	if (checking->depth < CHECK_INDEXES)
		return ERR_NONE;
	return tree ? check_entries(checking, index, err)
	            : check_nodes(checking, index, err);
}

int check_agreement(struct table *table, enum check_depth depth,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err)
{
	struct checking checking = { .table = table, .depth = depth };
	struct heap *heap = table->connection->heap;
	uint32_t count = table->definition.index_count;
	int rc = table_refuse_computing(table, "check table", err);

	if (rc)
		return rc;
	checking.vectors = heap_zeroed(heap, (count + 1) *
	                                             sizeof *checking.vectors);
	if (!checking.vectors)
		return err_set(err, ERR_NOMEM, "check table",
		               name_shorten(table->name).text, "no memory");
	row_rules_open(&checking.rules, table, problem, context);
	rc = btree_each(&table->tree, check_row, &checking,
	                breath_of(&checking), err);
	/* Who changes rows meanwhile is not told that they were others. */
	for (uint32_t i = 0; !rc && !checking.changed && i < count; i++)
		rc = check_count(&checking, &table->indexes[i],
		                 checking.vectors[i], err);
	row_rules_close(&checking.rules);
	heap_free(heap, checking.vectors);
	return rc;
}
