/*
 * vector_number.h - elements of vectors as numbers; private to vtab/.
 */
#ifndef TURDB_VTAB_VECTOR_NUMBER_H
#define TURDB_VTAB_VECTOR_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "hnsw/hnsw.h"

/* "float32", "int8": for sentences and vec_type(). */
const char *vector_element_name(enum hnsw_element element);

/* SQLite's subtypes of a blob, which say what its elements are (sqlite-vec's
 * numbers). vector_subtype_element() is false for one that does not say it. */
unsigned vector_subtype(enum hnsw_element element);
bool vector_subtype_element(unsigned subtype, enum hnsw_element *element);

/* Element `i`; a bit is 0 or 1. */
float vector_number(enum hnsw_element element, const uint8_t *bytes, uint32_t i);
/* Whether an element can be this finite number. */
bool vector_number_fits(enum hnsw_element element, float number);
/* Into bytes that were zero. */
void vector_number_store(enum hnsw_element element, uint8_t *bytes, uint32_t i,
                         float number);

/* Reads a JSON array of numbers: the first `room` go to `numbers`, *count tells how
 * many there are. A number too large for a float is infinite. False when the text is
 * none. */
bool vector_json_read(const char *text, float *numbers, uint64_t room,
                      uint64_t *count);

#endif
