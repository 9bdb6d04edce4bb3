/*
 * cursor_matches.c - few rows that match, measured one by one.
 *
 * Where an index or the rowid says which rows satisfy the conditions beside MATCH,
 * and they are few, a walk through the graph would meet hardly any of them: they
 * are collected instead, each distance is computed, and the answer is exact.
 */
#include "vtab/cursor.h"

#include <math.h>
#include <stdlib.h>

/* --- who matches ------------------------------------------------------------------ */

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
			rc = cursor_neighbour_add(cursor, 0, cursor->rowid, err);
		if (!rc)
			rc = cursor_breathe(cursor, err);
		if (!rc)
			rc = cursor->kind == PLAN_INDEX
			             ? cursor_index_step(cursor, err)
			             : cursor_table_step(cursor, err);
	}
	return rc;
}

static struct span bound_of(const struct key_buffer *key)
{
	return key->size ? key_bytes(key) : (struct span){ .size = 0 };
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
	rc = cursor_bounds_take(cursor, matches->equal_count, matches->letters,
	                        count, values, &empty, err);
	if (rc || empty)
		return rc;
	*few = !cursor->gathered;
	if (*few)
		rc = btree_estimate(&cursor->index->tree,
		                    bound_of(&cursor->low),
		                    bound_of(&cursor->high), &estimate, err);
	*few = *few && estimate <= limit;
	if (!rc && *few)
		rc = cursor_index_walk(cursor, err);
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
		cursor_walk_close(cursor);
	}
	return rc;
}

static int rowid_collect(struct table_cursor *cursor, sqlite3_value *value,
                         struct err *err)
{
	int64_t low = INT64_MIN, high = INT64_MAX;

	return cursor_rowid_bound(value, ARG_EQUAL, &low, &high) && low == high
	               ? cursor_neighbour_add(cursor, 0, low, err) : ERR_NONE;
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
		any = cursor_rowid_bound(matches->values[i],
		                         matches->letters[i],
		                         &cursor->rowid_low,
		                         &cursor->rowid_high);
	if (!any || cursor->rowid_low > cursor->rowid_high)
		return ERR_NONE;
	btree_rowid_key(low, cursor->rowid_low);
	btree_rowid_key(high, cursor->rowid_high);
	rc = btree_estimate(&table_of(cursor)->tree, span_of(low, 8),
	                    span_of(high, 8), &estimate, err);
	*few = estimate <= limit;
	if (!rc && *few)
		rc = cursor_table_walk(cursor, err);
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

/* --- how far they are ------------------------------------------------------------- */

/* The distance of one row that may match; *counts false when it does not. */
static int row_measure(struct table_cursor *cursor, uint32_t column,
                       const struct table_index *index, struct span query,
                       struct neighbour *row, bool *counts, struct err *err)
{
	const struct hnsw_options *options = hnsw_options_of(index->graph);
	struct table *table = table_of(cursor);
	struct value value = { .type = VALUE_NULL };
	struct span bytes, vector;
	int64_t rowid;
	bool present;
	int rc = table_row_get(table, row->rowid, &cursor->scratch, &bytes,
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
		if (!rc)
			rc = cursor_breathe(cursor, err);
		rows[kept] = rows[i];
		kept += counts;
	}
	cursor->neighbour_count = kept;
	cursor_neighbours_settle(cursor);
	return rc;
}

int cursor_matches_measure(struct table_cursor *cursor, uint32_t column,
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
	cursor_walk_close(cursor);
	if (cursor->gathered)
		arena_reset(&cursor->scattered_keys);
	cursor->gathered = false;
	cursor->kind = PLAN_VECTOR;
	cursor->eof = true;
	cursor->row_known = false;
	return rc || !*done ? rc
	                    : few_measure(cursor, column, index, query, err);
}
