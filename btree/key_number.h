/*
 * key_number.h - numbers as bytes that memcmp orders. Private to btree/.
 */
#ifndef TURDB_BTREE_KEY_NUMBER_H
#define TURDB_BTREE_KEY_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "btree/key_format.h"
#include "btree/value.h"

/* Both write at most KEY_NUMBER_SIZE_MAX bytes, return how many. */
size_t key_integer_encode(int64_t integer, uint8_t *bytes);
size_t key_real_encode(double real, uint8_t *bytes);

/* Bytes of the number that begins here, 0 when it is none. Each byte is read
 * through an exclusive-or with `mask` (0xFF for a descending column). */
size_t key_number_size(struct span key, uint8_t mask);

/* As key_column_decode() says; 0 when these are no bytes of a number. */
size_t key_number_decode(struct span key, uint8_t mask, struct value *value,
                         bool *exact);

#endif
