/*
 * key_text.h - text and blobs as bytes that memcmp orders. Private to btree/.
 */
#ifndef TURDB_BTREE_KEY_TEXT_H
#define TURDB_BTREE_KEY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "btree/key_format.h"
#include "btree/value.h"

/* What is left of text under its collation: the bytes that are compared. */
struct key_text {
	struct span bytes;
	bool fold;             /* A-Z as a-z                            */
	bool length_follows;   /* NOCASE, at a NUL: then compare lengths */
	uint32_t length;
};

struct key_text key_text_of(struct span bytes, enum collation collation);

/* Writes it without the type byte, at most `size_max` bytes when that suffices;
 * else cut: *cut_at bytes and then KEY_CUT_SIZE more. Room for size_max +
 * KEY_CUT_SIZE bytes is there. Returns the bytes written. */
size_t key_text_encode(const struct key_text *text, size_t size_max,
                       uint8_t *bytes, bool *cut, size_t *cut_at);

/* Bytes of text or blob that begin here (behind the type byte), 0 when they are
 * none; read through an exclusive-or with `mask`. */
size_t key_text_size(struct span key, uint8_t mask);

/* The same; *cut_at is where the mark of a cut begins, 0 when there is none. */
size_t key_text_cut(struct span key, uint8_t mask, size_t *cut_at);

/* Writes the bytes to `scratch` with a NUL behind them. *whole false when they
 * were cut or end at a NUL. `size` as key_text_size() found it. */
struct span key_text_decode(const uint8_t *key, size_t size, uint8_t mask,
                            uint8_t *scratch, bool *whole);

#endif
