/*
 * arena.h - scratch memory that is given back all at once.
 *
 * An arena keeps its blocks over a reset, so work that repeats (a statement,
 * a transaction) stops allocating once it has warmed up.
 */
#ifndef TURDB_BASE_ARENA_H
#define TURDB_BASE_ARENA_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/heap.h"

struct arena_block;

struct arena {
	struct heap *heap;
	struct arena_block *first;   /* kept over a reset                   */
	struct arena_block *current; /* the one being filled                */
	size_t used;                 /* bytes of `current` already handed out */
};

void arena_init(struct arena *arena, struct heap *heap);

/* 16-byte aligned, not cleared; NULL when the heap has none. Dies with the
 * next arena_reset(). */
void *arena_allocate(struct arena *arena, size_t size);

/* Copies borrowed bytes into the arena and points the span there; false, with the span
 * as it was, when there is no memory. */
bool arena_keep(struct arena *arena, struct span *bytes);

/* A copy of bytes with a NUL behind it; NULL when there is no memory. */
char *arena_string(struct arena *arena, const char *text, size_t size);

/* Gives back everything; keeps at most 64 KB of blocks for the next round. */
void arena_reset(struct arena *arena);

/* Frees all blocks. */
void arena_close(struct arena *arena);

#endif
