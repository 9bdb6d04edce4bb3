/*
 * heap.h - the one way to get memory: counted, limited, and able to fail on
 * demand.
 *
 * A heap belongs to an environment and is shared by its threads. Every block
 * remembers its size in a 16-byte prefix; pointers are 16-byte aligned.
 *
 * The source may be SQLite's allocator, and a program may exchange that one after
 * sqlite3_shutdown(). What stays longer than the last connection is taken from
 * malloc() instead (heap_lasting), counted and limited like the rest.
 */
#ifndef TURDB_BASE_HEAP_H
#define TURDB_BASE_HEAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct heap {
	void *(*source_allocate)(size_t size); /* malloc-like, 16-byte aligned or
	                                          8-byte aligned: the heap aligns */
	void (*source_free)(void *block);
	_Atomic size_t used;       /* bytes handed out, prefixes included */
	_Atomic size_t peak;       /* the largest `used` so far           */
	_Atomic size_t limit;      /* 0 = none                            */
	_Atomic int64_t fail_in;   /* tests: the n-th allocation from now fails
	                              (and with fail_sticky all later ones); 0 = off */
	_Atomic int fail_sticky;
};

/* Prepares a heap over malloc and free, without a limit. */
void heap_init(struct heap *heap);

/* All return NULL when there is no memory, the limit is reached or a test
 * asked for a failure. heap_zeroed clears. heap_resize keeps the old block on
 * failure; `block` NULL allocates; not for lasting ones. heap_free takes NULL. */
void *heap_allocate(struct heap *heap, size_t size);
void *heap_zeroed(struct heap *heap, size_t size);
void *heap_lasting(struct heap *heap, size_t size); /* cleared, from malloc() */
void *heap_resize(struct heap *heap, void *block, size_t size);
void heap_free(struct heap *heap, void *block);

#endif
