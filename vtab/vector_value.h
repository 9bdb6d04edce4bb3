/*
 * vector_value.h - an SQL value as a vector, for the vec_ functions; private to
 * vtab/.
 */
#ifndef TURDB_VTAB_VECTOR_VALUE_H
#define TURDB_VTAB_VECTOR_VALUE_H

#include "vtab/sqlite.h"

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hnsw/hnsw.h"
#include "vtab/vector_number.h"

/* Bytes lent by the value, or its own (from JSON text). */
struct vector_value {
	enum hnsw_element element;
	uint32_t dimensions;
	const uint8_t *bytes;
	size_t size;
	uint8_t *own;        /* to be freed, or NULL */
};

/* Takes an argument of `function` (its name, for the sentence). Good as long as
 * `value`; on an error too vector_value_release() is called. */
int vector_value_take(const char *function, sqlite3_value *value,
                      struct vector_value *vector, struct err *err);
/* A blob whose elements are known, whatever its subtype says. */
int vector_value_take_blob(const char *function, sqlite3_value *value,
                           enum hnsw_element element,
                           struct vector_value *vector, struct err *err);
/* Two of the same elements and dimensions. */
int vector_value_take_two(const char *function, sqlite3_value **values,
                          struct vector_value vectors[2], struct err *err);
void vector_value_release(struct vector_value *vector);

/* ERR_INVALID: why `function` will not have its argument. */
int vector_value_refuse(struct err *err, const char *function,
                        const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline float vector_value_number(const struct vector_value *vector,
                                        uint32_t i)
{
	return vector_number(vector->element, vector->bytes, i);
}

/* vector_each.c: the table-valued function. */
extern const sqlite3_module vector_each_module;

#endif
