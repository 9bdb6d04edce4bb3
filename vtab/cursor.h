/*
 * cursor.h - what the files of a table's cursor share; private to vtab/.
 *
 * A cursor walks one of three things, as its plan says: the table in the order of
 * rowids (cursor_table.c), an index (cursor_index.c, between bounds that come from
 * cursor_bounds.c and cursor_loose.c; for each value of a list: cursor_list.c), or
 * what is near a vector (cursor_vector.c, cursor_matches.c). Whichever it is, `eof`
 * and `rowid` say where it stands.
 */
#ifndef TURDB_VTAB_CURSOR_H
#define TURDB_VTAB_CURSOR_H

#include "vtab/in_values.h"
#include "vtab/plan.h"
#include "vtab/vector_filter.h"

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
	struct key_buffer gap_from, gap_to; /* stepped over, if has_gap */
	bool has_gap;
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
	struct in_values in;            /* of one of the equalities, if a list */
	const char *in_letters;         /* of the plan: they outlive the walk  */
	uint32_t in_equal_count;

	struct span row;                /* good while the two counters stand */
	bool row_known;
	uint64_t row_epoch, row_edits;
	struct btree_scratch scratch;

	struct hnsw_search *search;
	struct vector_filter *filter; /* conditions beside MATCH, or NULL */
	struct neighbour *neighbours; /* instead of a search, if measured */
	size_t neighbour_count, neighbour_at, neighbour_room;
	double distance, distance_max;
	bool distance_open;           /* the bound itself is outside */
	int64_t k, ef;
	bool exact;
};

static inline struct table *table_of(const struct table_cursor *cursor)
{
	return (struct table *)(void *)cursor->base.pVtab;
}

static inline int cursor_breathe(const struct table_cursor *cursor,
                                 struct err *err)
{
	return breathe(&table_of(cursor)->connection->breath.base, err);
}

static inline void cursor_walk_close(struct table_cursor *cursor)
{
	if (cursor->walk_open)
		btree_cursor_close(&cursor->walk);
	cursor->walk_open = false;
}

/* The walk is over, and what was gathered for it forgotten. */
static inline void cursor_walk_end(struct table_cursor *cursor)
{
	cursor_walk_close(cursor);
	if (cursor->gathered)
		arena_reset(&cursor->scattered_keys);
	cursor->gathered = false;
	cursor->group.open = false;
	cursor->row_known = false;
	cursor->eof = true;
}

static inline void cursor_row_note(struct table_cursor *cursor, struct span row,
                                   bool found)
{
	const struct table *table = table_of(cursor);

	cursor->row = row;
	cursor->empty_row = !found;
	cursor->row_known = true;
	cursor->row_epoch = *table->pager->view_epoch;
	cursor->row_edits = table->pager->edits;
}

/* cursor.c: the present row's bytes; `empty_row` when the row is gone. */
int cursor_row_load(struct table_cursor *cursor, struct err *err);

/* cursor_table.c. Narrows low..high (inclusive) by one condition on the rowid; false
 * when no rowid fits it. */
bool cursor_rowid_bound(sqlite3_value *from, char letter, int64_t *low,
                        int64_t *high);
/* Walks from rowid_low to rowid_high, or back. */
int cursor_table_walk(struct table_cursor *cursor, struct err *err);
/* The same between the bounds that the arguments give. */
int cursor_table_start(struct table_cursor *cursor, const char *letters,
                       int argc, sqlite3_value **argv, struct err *err);
int cursor_table_step(struct table_cursor *cursor, struct err *err);
/* The same; most often the next row lies in the same page. (With one caller it is
 * part of that: 12 instructions a row.) */
int cursor_table_next(struct table_cursor *cursor, struct err *err);

/* cursor_index.c. Walks the entries between `low` and `high`, as their keys lie. */
int cursor_index_walk(struct table_cursor *cursor, struct err *err);
int cursor_index_step(struct table_cursor *cursor, struct err *err);
/* The same in the order of the values, where SQLite relies on it. */
int cursor_index_start(struct table_cursor *cursor, struct err *err);
int cursor_index_next(struct table_cursor *cursor, struct err *err);

/* cursor_bounds.c. Makes `low` and `high` of the conditions on the index's columns:
 * `equal_count` equalities, then ranges. *empty: no row satisfies them. The rows
 * may have been gathered instead (`gathered`): then there is nothing to walk. */
int cursor_bounds_take(struct table_cursor *cursor, uint32_t equal_count,
                       const char *letters, int argc, sqlite3_value **argv,
                       bool *empty, struct err *err);
/* `low` and `high` become the range of all keys with the prefix. */
int cursor_bounds_of_prefix(struct table_cursor *cursor, struct span prefix,
                            struct err *err);

/* cursor_loose.c. Whether the column has, behind the prefix, texts that could be
 * the number. */
int cursor_loose_exists(struct table_cursor *cursor,
                        struct span prefix, const struct value *number,
                        const struct key_column *column, bool *exists,
                        struct err *err);
/* Gathers these and the entries of the number; cursor_loose_next() goes through. */
int cursor_loose_gather(struct table_cursor *cursor, uint32_t equal_count,
                        struct span prefix, const struct value *number,
                        const struct key_column *column, struct err *err);
void cursor_loose_next(struct table_cursor *cursor);

/* cursor_list.c. Starts the walk of an index as a plan says. */
int cursor_equal_start(struct table_cursor *cursor, uint32_t equal_count,
                       const char *letters, int argc, sqlite3_value **argv,
                       struct err *err);
/* The same where argv[which] is the list of an IN; cursor_list_next() goes on at the
 * end of a walk. */
int cursor_list_start(struct table_cursor *cursor, uint32_t equal_count,
                      const char *letters, int argc, sqlite3_value **argv,
                      int which, struct err *err);
int cursor_list_next(struct table_cursor *cursor, struct err *err);

/* cursor_vector.c. The arguments are those of the plan for a MATCH on `column`. */
int cursor_vector_start(struct table_cursor *cursor, uint32_t column,
                        const char *letters, int argc, sqlite3_value **argv,
                        struct err *err);
int cursor_vector_next(struct table_cursor *cursor, struct err *err);
int cursor_neighbour_add(struct table_cursor *cursor, double distance,
                         int64_t rowid, struct err *err);
/* Sorts the neighbours by distance and keeps the first k. */
void cursor_neighbours_settle(struct table_cursor *cursor);

/* cursor_matches.c. Measures all rows that satisfy the filter when they are few;
 * *done says whether. */
int cursor_matches_measure(struct table_cursor *cursor, uint32_t column,
                           const struct table_index *index, struct span query,
                           bool *done, struct err *err);

#endif
