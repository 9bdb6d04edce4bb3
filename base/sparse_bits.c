/*
 * sparse_bits.c - blocks of bits behind an array of pointers.
 */
#include "base/sparse_bits.h"

#include <string.h>

enum { BLOCK_SIZE = 4096, BLOCK_BITS = BLOCK_SIZE * 8, ROOM_FIRST = 16 };

void sparse_bits_init(struct sparse_bits *bits, struct heap *heap)
{
	*bits = (struct sparse_bits){ .heap = heap };
}

void sparse_bits_free(struct sparse_bits *bits)
{
	for (uint32_t i = 0; i < bits->room; i++)
		heap_free(bits->heap, bits->blocks[i]);
	heap_free(bits->heap, bits->blocks);
	sparse_bits_init(bits, bits->heap);
}

static bool grow(struct sparse_bits *bits, uint32_t block)
{
	uint32_t room = bits->room ? bits->room : ROOM_FIRST;
	uint8_t **blocks;

	while (room <= block)
		room *= 2;
	if (room == bits->room)
		return true;
	blocks = heap_resize(bits->heap, bits->blocks, room * sizeof *blocks);
	if (!blocks)
		return false;
	memset(blocks + bits->room, 0, (room - bits->room) * sizeof *blocks);
	bits->blocks = blocks;
	bits->room = room;
	return true;
}

bool sparse_bits_add(struct sparse_bits *bits, uint32_t number, bool *before)
{
	uint32_t block = number / BLOCK_BITS, at = number % BLOCK_BITS;
	uint8_t bit = (uint8_t)(1u << at % 8), *byte;

	if (!grow(bits, block))
		return false;
	if (!bits->blocks[block])
		bits->blocks[block] = heap_zeroed(bits->heap, BLOCK_SIZE);
	if (!bits->blocks[block])
		return false;
	byte = &bits->blocks[block][at / 8];
	*before = *byte & bit;
	*byte |= bit;
	return true;
}
