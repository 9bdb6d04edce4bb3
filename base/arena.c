/*
 * arena.c - a list of blocks, filled front to back.
 */
#include "base/arena.h"

#include <stdint.h>

enum { BLOCK_SIZE = 4096, KEPT_SIZE_MAX = 65536, ALIGNMENT = 16 };

struct arena_block {
	struct arena_block *next;
	size_t size; /* usable bytes behind this head */
};

static uint8_t *block_bytes(struct arena_block *block)
{
	return (uint8_t *)block + sizeof(struct arena_block);
}

void arena_init(struct arena *arena, struct heap *heap)
{
	*arena = (struct arena){ .heap = heap };
}

static int block_add(struct arena *arena, size_t size)
{
	size_t bytes = size > BLOCK_SIZE ? size : BLOCK_SIZE;
	struct arena_block *block =
		heap_allocate(arena->heap, sizeof *block + bytes);

	if (!block)
		return 0;
	block->size = bytes;
	if (arena->current) {
		block->next = arena->current->next;
		arena->current->next = block;
	} else {
		block->next = NULL;
		arena->first = block;
	}
	arena->current = block;
	arena->used = 0;
	return 1;
}

void *arena_allocate(struct arena *arena, size_t size)
{
	void *bytes;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	while (arena->current && arena->current->size - arena->used < size &&
	       arena->current->next) {
		arena->current = arena->current->next;
		arena->used = 0;
	}
	if (!arena->current || arena->current->size - arena->used < size)
		if (!block_add(arena, size))
			return NULL;
	bytes = block_bytes(arena->current) + arena->used;
	arena->used += size;
	return bytes;
}

bool arena_keep(struct arena *arena, struct span *bytes)
{
	uint8_t *copy;

	if (!bytes->size)
		return true;
	copy = arena_allocate(arena, bytes->size);
	if (!copy)
		return false;
	memcpy(copy, bytes->data, bytes->size);
	bytes->data = copy;
	return true;
}

char *arena_string(struct arena *arena, const char *text, size_t size)
{
	char *copy = arena_allocate(arena, size + 1);

	if (copy) {
		memcpy(copy, text, size);
		copy[size] = 0;
	}
	return copy;
}

void arena_reset(struct arena *arena)
{
	struct arena_block **link = &arena->first;
	size_t kept = 0;

	while (*link) {
		struct arena_block *block = *link;

		if (kept + block->size <= KEPT_SIZE_MAX) {
			kept += block->size;
			link = &block->next;
			continue;
		}
		*link = block->next;
		heap_free(arena->heap, block);
	}
	arena->current = arena->first;
	arena->used = 0;
}

void arena_close(struct arena *arena)
{
	struct arena_block *block = arena->first, *next;

	for (; block; block = next) {
		next = block->next;
		heap_free(arena->heap, block);
	}
	arena->first = arena->current = NULL;
	arena->used = 0;
}
