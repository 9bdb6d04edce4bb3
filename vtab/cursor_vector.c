/*
 * cursor_vector.c - the rows nearest to a vector, one after another.
 *
 * Purpose       xFilter and xNext of a MATCH: takes the vector and what is said of
 *               k, ef, exact and distance, and gives rows with their distances.
 * Architecture  A column's graph is asked (hnsw/), with the conditions beside MATCH
 *               as its filter. A column without one is measured whole, and so are
 *               the rows that match when they are few (cursor_matches.c): both
 *               leave a sorted list of neighbours, which is then read off.
 */
#include "vtab/cursor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- neighbours ---------------------------------------------------------------------- */

int cursor_neighbour_add(struct table_cursor *cursor, double distance,
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

void cursor_neighbours_settle(struct table_cursor *cursor)
{
	if (cursor->neighbour_count > 1)
		qsort(cursor->neighbours, cursor->neighbour_count,
		      sizeof *cursor->neighbours, by_distance);
	if (cursor->k && cursor->neighbour_count > (size_t)cursor->k)
		cursor->neighbour_count = (size_t)cursor->k;
}

struct measuring {
	struct table_cursor *cursor;
	uint32_t column;
	struct span query;
};

/* The distance of one row, if it passes. */
static int row_measure(void *context, struct span key, struct span row,
                       struct err *err)
{
	const struct measuring *measuring = context;
	struct table_cursor *cursor = measuring->cursor;
	struct table *table = table_of(cursor);
	const struct column_definition *definition =
		&table->definition.columns[measuring->column];
	enum hnsw_metric metric = definition->element == HNSW_BIT ? HNSW_HAMMING
	                                                          : HNSW_L2;
	int64_t rowid = btree_rowid_of(key.data);
	bool present = false, passes = true;
	struct value value = { .type = VALUE_NULL };
	int rc = ERR_NONE;

	if (cursor->filter)
		rc = vector_filter_test(cursor->filter, rowid, row, &passes,
		                        err);
	if (!rc)
		rc = row_column(row, measuring->column, &value, &present, err);
	if (rc || !passes || !present || value.type != VALUE_BLOB ||
	    value.bytes.size != measuring->query.size)
		return rc;
	return cursor_neighbour_add(
		cursor,
		hnsw_distance(table->connection->kernels, metric,
		              definition->element, definition->dimensions,
		              measuring->query.data, value.bytes.data),
		rowid, err);
}

/* A vector column without a graph: every row's distance, sorted. */
static int measure_all(struct table_cursor *cursor, uint32_t column,
                       struct span query, struct err *err)
{
	struct measuring measuring = { cursor, column, query };
	struct table *table = table_of(cursor);
	int rc;

	cursor->neighbour_count = cursor->neighbour_at = 0;
	rc = btree_each(&table->tree, row_measure, &measuring,
	                &table->connection->breath.base, err);
	if (!rc)
		cursor_neighbours_settle(cursor);
	return rc;
}

/* --- one after another --------------------------------------------------------------- */

int cursor_vector_next(struct table_cursor *cursor, struct err *err)
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

/* --- starting ------------------------------------------------------------------------ */

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

/* Keeps the nearest of the bounds on the distance. */
static void take_distance(struct table_cursor *cursor, double bound, bool open)
{
	if (bound > cursor->distance_max ||
	    (bound == cursor->distance_max && !open))
		return;
	cursor->distance_max = bound;
	cursor->distance_open = open;
}

/* What is said of the search beside its vector; *none: nothing can be found. */
static int take_arguments(struct table_cursor *cursor, const char *letters,
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
			*none |= sqlite3_value_type(argv[i]) == SQLITE_NULL;
			take_distance(cursor, sqlite3_value_double(argv[i]),
			              letters[i] == ARG_DISTANCE_LT);
		}
	}
	return rc;
}

/* Asks a graph, unless the rows that match are few. */
static int start_search(struct table_cursor *cursor, uint32_t column,
                        const struct table_index *index, struct span vector,
                        struct err *err)
{
	struct hnsw_query query = { .vector = vector,
		                    .k = (uint32_t)cursor->k,
		                    .ef = (uint32_t)cursor->ef,
		                    .exact = cursor->exact };
	bool done;
	int rc;

	if (cursor->filter) {
		rc = cursor_matches_measure(cursor, column, index, vector,
		                            &done, err);
		if (rc || done)
			return rc;
		query.accept = vector_filter_accept;
		query.accept_context = cursor->filter;
	}
	rc = hnsw_search_begin(index->graph, &query, &cursor->search, err);
	return rc ? rc : vector_filter_error(cursor->filter, err);
}

int cursor_vector_start(struct table_cursor *cursor, uint32_t column,
                        const char *letters, int argc, sqlite3_value **argv,
                        struct err *err)
{
	struct table *table = table_of(cursor);
	uint32_t number = table_vector_index(table, column);
	bool graph = number < table->definition.index_count;
	int own_count = (int)strcspn(letters, ";");
	struct span vector;
	bool none;
	int rc;

	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return ERR_NONE;
	arena_reset(&table->row_arena);
	rc = vector_take(&table->definition.columns[column],
	                 graph ? table->definition.indexes[number].graph.metric
	                       : HNSW_L2,
	                 argv[0], &table->row_arena, &vector, err);
	if (!rc)
		rc = take_arguments(cursor, letters, own_count, argv, &none,
		                    err);
	if (!rc && !none)
		rc = vector_filter_open(table, letters, own_count, argc, argv,
		                        &cursor->filter, err);
	if (rc || none)
		return rc;
	rc = graph ? start_search(cursor, column, &table->indexes[number],
	                          vector, err)
	           : measure_all(cursor, column, vector, err);
	return rc ? rc : cursor_vector_next(cursor, err);
}
