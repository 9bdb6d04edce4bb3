/*
 * vector_filter.h - conditions on columns that hold during a search by vector.
 *
 * xBestIndex hands the terms it can take down as text; xFilter reads them back
 * with their values. A filter lets through every row that SQLite would, and seldom
 * more: SQLite tests what comes out again.
 */
#ifndef TURDB_VTAB_VECTOR_FILTER_H
#define TURDB_VTAB_VECTOR_FILTER_H

#include "vtab/table.h"

/* Takes terms beside MATCH, whose values come behind the first `args` arguments.
 * *text describes them, for the end of idxStr; sqlite3_free() it. */
int vector_filter_plan(const struct table *table, sqlite3_index_info *info,
                       int args, char **text);

struct vector_filter;

/* What an index or the rowid says about who matches. */
enum filter_source {
	FILTER_FROM_NOTHING,
	FILTER_FROM_ROWIDS,   /* values: rowids                              */
	FILTER_FROM_RANGE,    /* values: bounds of the rowid, with letters   */
	FILTER_FROM_INDEX,    /* values: of its columns, with letters        */
	FILTER_FROM_VALUES,   /* values: of an index's first column          */
};
struct filter_matches {
	enum filter_source source;
	uint32_t index, equal_count;
	const char *letters;
	sqlite3_value **values; /* good until xFilter returns */
	int count;
};

/* Reads what follows the letters of the first `args` arguments in `text`; *filter
 * is NULL when there is nothing. */
int vector_filter_open(struct table *table, const char *text, int args,
                       int argc, sqlite3_value **argv,
                       struct vector_filter **filter, struct err *err);
void vector_filter_close(struct vector_filter *filter);

const struct filter_matches *
vector_filter_matches(const struct vector_filter *filter);

/* Whether a row passes. */
int vector_filter_test(struct vector_filter *filter, int64_t rowid,
                       struct span row, bool *passes, struct err *err);

/* The same as hnsw_query wants it; a failure is kept: see vector_filter_error(). */
bool vector_filter_accept(void *filter, int64_t rowid);
int vector_filter_error(const struct vector_filter *filter, struct err *err);

#endif
