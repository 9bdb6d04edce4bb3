/*
 * plan.h - how xBestIndex hands a plan to xFilter; private to vtab/.
 *
 * idxNum says what is walked, how many columns of an index equal something, and which
 * index it is (of a search: which column). idxStr has one letter per argument; what a
 * search filters by stands behind them (vector_filter_plan.c).
 */
#ifndef TURDB_VTAB_PLAN_H
#define TURDB_VTAB_PLAN_H

#include "vtab/table.h"

enum plan_kind { PLAN_SCAN, PLAN_ROWID, PLAN_ROWID_RANGE, PLAN_INDEX,
                 PLAN_VECTOR };

/* The parts of idxNum. */
enum {
	PLAN_KIND_MASK = 7,
	PLAN_DESCENDING = 8,
	PLAN_EQUAL_SHIFT = 4,
	PLAN_EQUAL_MASK = 0x3ff,
	PLAN_ORDERED = 1 << 14,   /* ORDER BY relies on the walk         */
	PLAN_ROWS_READ = 1 << 15, /* columns other than the rowid matter */
	PLAN_INDEX_SHIFT = 16,
};

/* The letters of idxStr. */
enum { ARG_EQUAL = '=', ARG_IN = ',', ARG_IS = 'i', ARG_NULL = '0',
       ARG_GE = 'g', ARG_GT = 'G', ARG_LE = 'l', ARG_LT = 'L',
       ARG_LT_BUT_BLOBS = 'B', ARG_MATCH = 'm',
       ARG_K = 'k', ARG_EF = 'e', ARG_EXACT = 'x', ARG_DISTANCE_LE = 'd',
       ARG_DISTANCE_LT = 'D' };

/* The letter of SQLite's operator of a constraint; 0 when it is none of a range, or
 * no equality. */
char plan_range_letter(int op);
char plan_equal_letter(int op);

/* LIKE 'abc%' comes as >= 'abc' and < 'abd'. Where LIKE matches blobs, too, as SQLite is
 * built by default, that range misses them, and SQLite does not say whose it is: every
 * upper bound that may be LIKE's leaves the blobs in (ARG_LT_BUT_BLOBS). */
bool plan_may_be_like(sqlite3_index_info *info, int constraint);

/* Whether the constraint compares as that collation does. */
bool plan_collation_fits(sqlite3_index_info *info, int constraint,
                         enum collation collation);

#endif
