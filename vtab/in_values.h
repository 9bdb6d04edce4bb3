/*
 * in_values.h - `column IN (...)` walked by a cursor itself, value by value.
 *
 * Left to itself SQLite calls xFilter for each value, and tests each row against that
 * value alone, which has then lost the affinity of the query it came from: of
 * `text IN (SELECT integer ...)` it drops '1.0', and of values 1 and '1' it finds '1'
 * twice. Where a column has no numeric affinity the cursor therefore takes the whole
 * list, and SQLite tests the rows by the whole condition.
 */
#ifndef TURDB_VTAB_IN_VALUES_H
#define TURDB_VTAB_IN_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/heap.h"
#include "vtab/sqlite.h"

struct in_values {
	struct heap *heap;
	sqlite3_value **argv;   /* copies of xFilter's; NULL = no list is walked */
	sqlite3_value **values; /* of the list, without NULLs                    */
	int argc, which;        /* argv[which] is the list's present value       */
	size_t count, at, room;
	bool mixed;             /* numbers and texts: one row may equal several  */
};

/* Copies all arguments; argv[which] is the list. Without a present value yet. */
int in_values_take(struct in_values *in, int argc, sqlite3_value **argv, int which,
                   struct err *err);

/* Makes the next value the present one; false when there is none. */
bool in_values_next(struct in_values *in);

/* The present value was the last. */
static inline void in_values_end(struct in_values *in)
{
	in->at = in->count;
}

void in_values_drop(struct in_values *in);

/* Drops the memory too. */
void in_values_close(struct in_values *in);

#endif
