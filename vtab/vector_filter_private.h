/*
 * vector_filter_private.h - how a search's conditions are handed from xBestIndex to
 * xFilter; for vector_filter*.c.
 *
 * In idxStr, behind the letters of other arguments:
 *     ;SOURCE INDEX,EQUAL:  then NUMBER.LETTER of each argument that the source is
 *     asked with, then
 *     ;OPERATOR COLUMN,COLLATION  of each argument.
 */
#ifndef TURDB_VTAB_VECTOR_FILTER_PRIVATE_H
#define TURDB_VTAB_VECTOR_FILTER_PRIVATE_H

#include "vtab/plan.h"
#include "vtab/vector_filter.h"

enum { TERMS_MAX = 48 };

/* Operators; those of ranges and '=', 'i' and '0' are the letters of arguments. */
enum { TERM_IN = 'n', TERM_NOT_EQUAL = '!', TERM_IS_NOT = 'j',
       TERM_NOT_NULL = '1' };

/* Whether a term can be on that column. */
static inline bool filter_column_serves(
	const struct table_definition *definition, int column)
{
	return column == ROWID_COLUMN ||
	       (column >= 0 && column < (int)definition->column_count &&
	        !definition->columns[column].vector &&
	        !definition->columns[column].generated_virtual);
}

#endif
