/*
 * sparse_bits.h - a set of 32-bit numbers that costs memory where its members are.
 *
 * For numbers that damage may have made up: one of four billion takes a block of 4 KB
 * and at most a megabyte of pointers to blocks, not a bit for each number below it.
 */
#ifndef TURDB_BASE_SPARSE_BITS_H
#define TURDB_BASE_SPARSE_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"

struct sparse_bits {
	struct heap *heap;
	uint8_t **blocks; /* of 4 KB, or NULL */
	uint32_t room;
};

/* Empty: nothing is allocated. Freed, it is empty again. */
void sparse_bits_init(struct sparse_bits *bits, struct heap *heap);
void sparse_bits_free(struct sparse_bits *bits);

/* *before: the number was in the set already. False without memory. */
bool sparse_bits_add(struct sparse_bits *bits, uint32_t number, bool *before);

#endif
