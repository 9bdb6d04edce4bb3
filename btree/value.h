/*
 * value.h - one SQL value as trees, rows and keys see it.
 */
#ifndef TURDB_BTREE_VALUE_H
#define TURDB_BTREE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum value_type {
	VALUE_NULL = 0,
	VALUE_INTEGER = 1,
	VALUE_REAL = 2,
	VALUE_TEXT = 3,
	VALUE_BLOB = 4,
	VALUE_VECTOR = 5, /* stored in a graph; `integer` is the node's id */
};

struct value {
	enum value_type type;
	union {
		int64_t integer;
		double real;
	};
	struct span bytes; /* TEXT (UTF-8) and BLOB; borrowed, the lender says
	                      how long */
};

/* Same type and same bits: -0.0 is not 0.0, a NaN is itself. */
bool value_same(const struct value *a, const struct value *b);

enum collation { COLLATION_BINARY, COLLATION_NOCASE, COLLATION_RTRIM };

#endif
