/*
 * heap.c - counts and limits what the library allocates.
 *
 * A block is [size: 8 bytes][raw pointer: 8 bytes][the caller's bytes]. The lowest
 * bit of the raw pointer says that it came from malloc() whatever the source.
 */
#include "base/heap.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX_SIZE = 16, ALIGNMENT = 16, FROM_MALLOC = 1 };

struct prefix {
	size_t size;
	uintptr_t raw;
};

static struct prefix *prefix_of(void *block)
{
	return (struct prefix *)(void *)((uint8_t *)block - PREFIX_SIZE);
}

void heap_init(struct heap *heap)
{
	memset(heap, 0, sizeof *heap);
	heap->source_allocate = malloc;
	heap->source_free = free;
}

static int failure_is_due(struct heap *heap)
{
	if (atomic_load_explicit(&heap->fail_in, memory_order_relaxed) == 0)
		return 0;
	if (atomic_load(&heap->fail_in) < 0)
		return atomic_load(&heap->fail_sticky);
	if (atomic_fetch_sub(&heap->fail_in, 1) != 1)
		return 0;
	atomic_store(&heap->fail_in, atomic_load(&heap->fail_sticky) ? -1 : 0);
	return 1;
}

static int reserve(struct heap *heap, size_t size)
{
	size_t limit = atomic_load_explicit(&heap->limit, memory_order_relaxed);
	size_t used = atomic_fetch_add(&heap->used, size) + size;
	size_t peak = atomic_load_explicit(&heap->peak, memory_order_relaxed);

	if (limit && used > limit) {
		atomic_fetch_sub(&heap->used, size);
		return 0;
	}
	while (used > peak &&
	       !atomic_compare_exchange_weak(&heap->peak, &peak, used))
		;
	return 1;
}

static void *allocate(struct heap *heap, size_t size,
                      void *(*source)(size_t size), uintptr_t mark)
{
	uintptr_t aligned;
	struct prefix *prefix;
	void *raw;

	if (size > SIZE_MAX / 2 || failure_is_due(heap) ||
	    !reserve(heap, size + PREFIX_SIZE))
		return NULL;
	raw = source(size + PREFIX_SIZE + ALIGNMENT);
	if (!raw) {
		atomic_fetch_sub(&heap->used, size + PREFIX_SIZE);
		return NULL;
	}
	aligned = ((uintptr_t)raw + PREFIX_SIZE + ALIGNMENT - 1) &
	          ~(uintptr_t)(ALIGNMENT - 1);
	prefix = prefix_of((void *)aligned);
	prefix->size = size;
	prefix->raw = (uintptr_t)raw | mark;
	return (void *)aligned;
}

void *heap_allocate(struct heap *heap, size_t size)
{
	return allocate(heap, size, heap->source_allocate, 0);
}

void *heap_lasting(struct heap *heap, size_t size)
{
	void *block = allocate(heap, size, malloc, FROM_MALLOC);

	if (block)
		memset(block, 0, size);
	return block;
}

void *heap_zeroed(struct heap *heap, size_t size)
{
	void *block = heap_allocate(heap, size);

	if (block)
		memset(block, 0, size);
	return block;
}

void *heap_resize(struct heap *heap, void *block, size_t size)
{
	size_t old_size;
	void *larger;

	if (!block)
		return heap_allocate(heap, size);
	old_size = prefix_of(block)->size;
	larger = heap_allocate(heap, size);
	if (!larger)
		return NULL;
	memcpy(larger, block, old_size < size ? old_size : size);
	heap_free(heap, block);
	return larger;
}

void heap_free(struct heap *heap, void *block)
{
	struct prefix *prefix;

	if (!block)
		return;
	prefix = prefix_of(block);
	atomic_fetch_sub(&heap->used, prefix->size + PREFIX_SIZE);
	if (prefix->raw & FROM_MALLOC)
		free((void *)(prefix->raw - FROM_MALLOC));
	else
		heap->source_free((void *)prefix->raw);
}
