/*
 * update.h - what the files of xUpdate share; private to vtab/.
 *
 * One change goes through them in this order: what SQLite hands over becomes the new
 * row (update_values.c), every constraint is checked (update_check.c), and only then
 * is anything written (update_write.c).
 */
#ifndef TURDB_VTAB_UPDATE_H
#define TURDB_VTAB_UPDATE_H

#include "vtab/table.h"

/* One row's change. Arrays are the table's scratch memory, one element a column. */
struct change {
	struct table *table;
	bool has_old, has_new;
	int64_t old_rowid, new_rowid;
	struct span old_row;
	struct btree_hit old_hit;
	struct value *old_values, *values;
	struct span *vectors;    /* a new vector, or size 0             */
	bool *unchanged;         /* as in the old row                   */
	int64_t *replaced;       /* rows that OR REPLACE removes        */
	uint32_t replaced_count;
	bool ignored, written;
	bool rowid_unchecked;    /* the tree will say when it is taken  */
	int code;                /* a constraint's extended result code */
};

/* update.c. An UPDATE that leaves an index's columns and the rowid as they are. */
bool change_spares_index(const struct change *change,
                         const struct index_definition *index);

/* update_values.c. The new values of all columns, with their defaults and vectors. */
int change_columns_take(struct change *change, sqlite3_value **argv,
                        struct err *err);
int change_default_take(struct change *change, uint32_t column, struct err *err);
/* Computes the generated columns; refuses values that were written to them. */
int change_generated_take(struct change *change, struct err *err);
/* The new row's rowid, from what xUpdate was given or the next one that is free. */
int change_rowid_choose(struct change *change, sqlite3_value **argv,
                        struct err *err);
/* AUTOINCREMENT: no later row gets a rowid up to this one. */
int change_sequence_raise(struct table *table, int64_t rowid, struct err *err);

/* update_check.c. A violated constraint is ERR_CONSTRAINT, with SQLite's sentence and
 * `code`; or the row is `ignored`; or rows are entered in `replaced`. */
int change_check(struct change *change, struct err *err);
/* The part of it that looks at the row alone. */
int change_check_values(struct change *change, struct err *err);
int change_rowid_violated(struct change *change, struct err *err);

/* update_write.c. The row of a rowid as it is; its bytes lie in the page or in the
 * arena of the row. */
int change_row_find(struct table *table, int64_t rowid, struct span *row,
                    struct btree_hit *hit, bool *found, struct err *err);
/* The old row's values, which are also those of columns that do not change. */
int change_old_load(struct change *change, struct err *err);
/* The row with its index entries and graph nodes. */
int change_write(struct change *change, struct err *err);
/* The row's bytes alone: no index is concerned. */
int change_write_alone(struct change *change, struct err *err);
/* Deletes a row with its index entries and graph nodes; one that is not there is
 * no error. */
int change_remove(struct change *change, int64_t rowid, struct err *err);

#endif
