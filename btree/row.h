/*
 * row.h - a row's columns as bytes, with cheap access to one of them.
 *
 * Format: btree/row_format.h. A row with fewer columns than the table has (an
 * older row after ADD COLUMN) reads as absent there. Text is stored with a NUL
 * behind it, so that SQLite can take it without a copy.
 */
#ifndef TURDB_BTREE_ROW_H
#define TURDB_BTREE_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/heap.h"
#include "btree/value.h"

/* Bytes that row_encode will write. */
size_t row_size(const struct value *values, uint32_t count);

/* Writes exactly row_size() bytes. */
void row_encode(const struct value *values, uint32_t count, uint8_t *bytes);

/* The same, faster: `size` is row_size(), and `bytes` has room for
 * ROW_ENCODE_SLACK more, in which anything may be left. */
enum { ROW_ENCODE_SLACK = 8 };
void row_encode_sized(const struct value *values, uint32_t count, size_t size,
                      uint8_t *bytes);

/* Column `index` of an encoded row; text and blob bytes are borrowed from
 * `row`. *present false when the row has fewer columns. Every number is
 * checked: a damaged row is ERR_CORRUPT. */
int row_column(struct span row, uint32_t index, struct value *value,
               bool *present, struct err *err);

/* The first `count` columns at once; those that the row has not are NULL. */
int row_columns(struct span row, struct value *values, uint32_t count,
		struct err *err);

/* Whether a row of `count` columns keeps the place of every byte when those not
 * `unchanged` get the values given. */
bool row_fits(struct span row, const struct value *values, const bool *unchanged,
              uint32_t count);

/* Then these can be written over the old ones, in `bytes`: the row itself or a
 * copy of it. */
void row_patch(struct span row, const struct value *values,
               const bool *unchanged, uint32_t count, uint8_t *bytes);

#endif
