/*
 * check.h - what the files of the check share; private to vtab/.
 */
#ifndef TURDB_VTAB_CHECK_H
#define TURDB_VTAB_CHECK_H

#include "vtab/table.h"

struct check_file {
	struct pager *pager;
	bool graph;
	const struct store_file_info *info; /* NULL: a home that counts no pages */
	const struct hnsw_kernels *kernels;
	struct breath *breath;
};

/* Calls `problem` for each thing wrong; damage is no error. */
int check_file(const struct check_file *file, struct heap *heap,
               void (*problem)(void *context, const char *sentence),
               void *context, struct err *err);

enum check_depth {
	CHECK_FILES,   /* trees, graphs and pages                        */
	CHECK_ROWS,    /* also each row by itself, and how many there are */
	CHECK_INDEXES, /* also each row against each index                */
};

/* Checks one table, be it without its files; the schema is being read. Damage is no
 * error. */
int check_connected(struct table *table, enum check_depth depth,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err);

/* check_rows.c: as check_file, for what the rows of a table and its indexes say of
 * each other. The trees and graphs are sound; the home is being read. */
int check_agreement(struct table *table, enum check_depth depth,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err);

/* check_constraints.c: what a row has to satisfy by itself. */
struct row_rules {
	struct table *table;
	void (*problem)(void *context, const char *sentence);
	void *context;
	bool *skipped;           /* CHECKs that cannot be computed */
	sqlite3_stmt *number;    /* whether a text is one          */
};
void row_rules_open(struct row_rules *rules, struct table *table,
                    void (*problem)(void *context, const char *sentence),
                    void *context);
void row_rules_close(struct row_rules *rules);
/* "check table t, index i: ..."; without an index of the table itself. */
void row_rules_tell(const struct row_rules *rules, const struct table_index *index,
                    const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Of the row in table->values. A function in a CHECK may change the table: then
 * *changed, and the values are gone. */
int row_rules_check(struct row_rules *rules, int64_t rowid, bool *changed,
                    struct err *err);

#endif
