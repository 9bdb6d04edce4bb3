/*
 * check_rows.c - whether the rows of a table and its indexes tell the same.
 *
 * Every row is looked up in every index. Entries of different rows differ, so if
 * every row has its entry and there are as many entries as rows, every entry has its
 * row; when the numbers differ, the entries are asked for their rows. So it is with
 * the nodes of a graph.
 */
#include "vtab/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct checking {
	struct table *table;
	void (*problem)(void *context, const char *sentence);
	void *context;
	uint64_t *vectors, rows;         /* by index; so far        */
	struct table_index *index;       /* whose nodes or entries are visited */
	struct err *err;
	int rc;
};

/* "check table t, index i: row 5 has no entry in the index" */
static void disagree(struct checking *checking, const struct table_index *index,
                     const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void disagree(struct checking *checking, const struct table_index *index,
                     const char *format, ...)
{
	char what[200], text[ERR_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	snprintf(text, sizeof text, "check table %s, index %s: %s",
	         name_shorten(checking->table->name).text,
	         name_shorten(index->definition->name).text, what);
	checking->problem(checking->context, text);
}

/* A failure other than damage ends the check; damage has been reported. */
static int only_damage(int rc)
{
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}

/* --- rows against indexes ------------------------------------------------------- */

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
		disagree(checking, index, "row %lld has no entry in the index",
		         (long long)rowid);
	else if (unique && value.size != 8)
		disagree(checking, index, "row %lld has a damaged entry",
		         (long long)rowid);
	else if (unique && btree_rowid_of(value.data) != rowid)
		disagree(checking, index,
		         "row %lld has an entry that names row %lld",
		         (long long)rowid,
		         (long long)btree_rowid_of(value.data));
	return ERR_NONE;
}

static int check_node(struct checking *checking, struct table_index *index,
                      int64_t rowid, struct err *err)
{
	const struct value *value =
		&checking->table->values[index->definition->columns[0].column];
	struct span vector;
	int64_t owner;
	int rc;

	if (value->type == VALUE_NULL)
		return ERR_NONE;
	if (value->type != VALUE_VECTOR) {
		disagree(checking, index,
		         "row %lld has its vector outside the graph",
		         (long long)rowid);
		return ERR_NONE;
	}
	checking->vectors[index - checking->table->indexes]++;
	rc = hnsw_vector(index->graph, (uint32_t)value->integer, &vector,
	                 &owner, err);
	if (rc == ERR_CORRUPT)
		disagree(checking, index,
		         "row %lld has no node in the graph",
		         (long long)rowid);
	else if (!rc && owner != rowid)
		disagree(checking, index,
		         "row %lld has a node that names row %lld",
		         (long long)rowid, (long long)owner);
	return only_damage(rc);
}

static int check_row(void *context, struct span key, struct span row,
                     struct err *err)
{
	struct checking *checking = context;
	struct table *table = checking->table;
	int64_t rowid = btree_rowid_of(key.data);
	int rc = row_columns(row, table->values, table->definition.column_count,
	                     err);

	checking->rows++;
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];

		rc = index->definition->kind == INDEX_TREE
		             ? check_entry(checking, index, rowid, err)
		             : check_node(checking, index, rowid, err);
	}
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
		disagree(checking, index,
		         "an entry names row %lld, which is not there",
		         (long long)rowid);
	if (rc || !found)
		return rc;
	rc = index_key(index, table->values, rowid,
	               table->definition.rowid_column, own, &unique, err);
	if (!rc && (own->size != key.size ||
	            memcmp(own->bytes, key.data, key.size) != 0))
		disagree(checking, index,
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
		disagree(checking, index,
		         "a node names row %lld, which is not there",
		         (long long)rowid);
	else if (value->type != VALUE_VECTOR || value->integer != node)
		disagree(checking, index,
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
	disagree(checking, index, "%llu entries for %llu rows",
	         (unsigned long long)count, (unsigned long long)wanted);
	return tree ? check_entries(checking, index, err)
	            : check_nodes(checking, index, err);
}

int check_agreement(struct table *table,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err)
{
	struct checking checking = { .table = table, .problem = problem,
		                     .context = context };
	struct heap *heap = table->connection->heap;
	uint32_t count = table->definition.index_count;
	int rc;

	checking.vectors = heap_zeroed(heap, (count + 1) *
	                                             sizeof *checking.vectors);
	if (!checking.vectors)
		return err_set(err, ERR_NOMEM, "check table",
		               name_shorten(table->name).text, "no memory");
	rc = btree_each(&table->tree, check_row, &checking,
	                breath_of(&checking), err);
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = check_count(&checking, &table->indexes[i],
		                 checking.vectors[i], err);
	heap_free(heap, checking.vectors);
	return rc;
}
