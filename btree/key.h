/*
 * key.h - SQL values as bytes that memcmp orders as SQLite orders the values.
 *
 * The order-preserving encoding of the type prefixes in btree/key_format.h:
 * NULL < numbers < TEXT < BLOB; integers and reals interleave by value exactly
 * as SQLite compares them. No key is a prefix of another. DESC columns are the
 * complement of the ascending bytes.
 */
#ifndef TURDB_BTREE_KEY_H
#define TURDB_BTREE_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/heap.h"
#include "btree/value.h"

struct key_column {
	enum collation collation;
	bool descending;
};

/* A growing key; caller's storage, reused between rows without allocating. */
struct key_buffer {
	struct heap *heap;
	uint8_t *bytes;
	size_t size, room;
	uint8_t inline_bytes[256];
	bool shortened; /* a column was cut to fit BTREE_KEY_SIZE_MAX: equal bytes
	                   then do not prove equal values */
	size_t sure_size; /* with `shortened`: the bytes before the first cut.
	                     As the bound of a range only these may be used
	                     (the key cut to them, or its prefix end), and the
	                     rows found compared with the real values */
};

void key_buffer_init(struct key_buffer *key, struct heap *heap);
void key_buffer_close(struct key_buffer *key);
void key_buffer_reset(struct key_buffer *key);

/* Makes the key a copy of `bytes`, which are not its own; on ERR_NOMEM it is empty. */
int key_buffer_set(struct key_buffer *key, struct span bytes, struct err *err);

/* The key so far; good until it is changed. */
static inline struct span key_bytes(const struct key_buffer *key)
{
	return span_of(key->bytes, key->size);
}

/* Appends one column's value. ERR_TOOBIG when even a shortened one does not fit;
 * the key is then as it was. NaN sorts above all numbers; VALUE_VECTOR is
 * ERR_INVALID. */
int key_append(struct key_buffer *key, const struct value *value,
               const struct key_column *column, struct err *err);

/* Appends a rowid (the last part of a non-unique index key). 8 bytes. */
int key_append_rowid(struct key_buffer *key, int64_t rowid, struct err *err);

/* The smallest key greater than every key that starts with these bytes: makes
 * the upper bound of a prefix range. An empty key becomes one above all keys. */
int key_to_prefix_end(struct key_buffer *key, struct err *err);

/* Keys shorter than this have no column that was cut. */
enum { KEY_CUT_KEY_SIZE_LEAST = 1946 };

/* As key_column_skip; *cut_at is where the bytes end that two cut values must share
 * to be in no known order, 0 when the column is whole. */
int key_column_cut(struct span key, bool descending, size_t *cut_at,
                   size_t *column_size, struct err *err);

/* Splits the first column's encoded bytes off `key` (for skipping and reports);
 * ERR_CORRUPT when the bytes are no key. */
int key_column_skip(struct span key, bool descending, size_t *column_size,
                    struct err *err);

/*
 * Decodes one column. Text and blob bytes land in `scratch` (at least key.size
 * bytes), text with a NUL behind it. *exact tells whether the value is the one
 * that went in:
 *   - NULL, blobs, BINARY text not shortened: yes
 *   - a number that only an integer or only a real can be: yes
 *   - a whole number that both could be (1 and 1.0 are equal, so they must have
 *     equal bytes): it comes back as VALUE_INTEGER with *exact false. A column
 *     whose affinity admits only one of the two knows which it was
 *   - NOCASE and RTRIM text, shortened values: no, they come back as far as the
 *     key has them
 */
int key_column_decode(struct span key, const struct key_column *column,
                      struct value *value, uint8_t *scratch,
                      size_t *column_size, bool *exact, struct err *err);

#endif
