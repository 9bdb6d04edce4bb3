/*
 * space.h - which places of each page file are free.
 *
 * Private to vfs/. The allocator lives in shared memory and is touched only by
 * the holder of the writer lock (or by who is alone: recovery, last closer).
 * It is not stored on disk: a file's part is built from the page tables of all
 * retained snapshots when a writer first needs a place in it, and again after a
 * writer died. Shared memory comes in zeroed chunks of SHM_CHUNK_SIZE bytes.
 *
 * Beside "free" it knows, per place, what records after the durable checkpoint
 * did with it, in two generations (before and after the checkpoint candidate):
 *   placed  a record says PLACED for it: it may not be taken at all, because a
 *           replay trusts its bytes (rule 2)
 *   logged  a DIFF record wrote it: it may not be taken for a PLACED or spilled
 *           page, because a replay of that record would overwrite it (rule 2)
 *
 * A free place that is `placed` or `logged` stays free; take() skips it.
 */
#ifndef TURDB_VFS_SPACE_H
#define TURDB_VFS_SPACE_H

#include "vfs/page_file.h"

enum { SHM_CHUNK_SIZE = 32768 };

/* Where chunks come from: the shared-memory file. `at` never fails for a number
 * that was given out, in this or another process. Chunk numbers start at 1. */
struct space_memory {
	void *(*at)(void *context, uint32_t chunk);
	int (*grow)(void *context, uint32_t *chunk, struct err *err);
	void *context;
};

/* The allocator's root, at a fixed spot of shared memory, zeroed at first. */
struct space_root {
	uint32_t directory_chunk; /* 0 = none yet: see space.c */
	uint32_t unused;
	uint64_t reserved[6];
};

/* A process's handle: small, by value, no resource. */
struct space {
	struct space_root *root;
	struct space_memory memory;
};

/* Forgets what is free in every file (after a writer died, wherever it was in
 * these functions): all files are not built. Notes (placed, logged) are kept unless
 * `notes_too` (at start-up, when a durable checkpoint covers all records). */
void space_reset(struct space *space, bool notes_too);

bool space_file_built(const struct space *space, uint32_t file_id);
/* Starts building: every unit of [first_place, capacity) is free; notes are kept.
 * Then mark_used for every place of every retained table, each maybe several
 * times; then built_set. */
int space_file_build(struct space *space, uint32_t file_id,
                     uint32_t first_place, uint64_t capacity, struct err *err);
int space_mark_used(struct space *space, uint32_t file_id, uint32_t place,
                    uint32_t units, struct err *err);
void space_file_built_set(struct space *space, uint32_t file_id);
/* The file is dropped: its chunks go back. */
void space_file_forget(struct space *space, uint32_t file_id);

enum space_use {
	SPACE_LOGGED, /* a DIFF page, a map or catalog page */
	SPACE_PLACED, /* a spilled or PLACED page           */
};

/* Takes a place of `units` (1 or 4, aligned to itself), for SPACE_LOGGED the most
 * recently freed first, for SPACE_PLACED in rising order as far as it goes; grows
 * the file when none is left. ERR_INVALID when the file is not built. */
int space_take(struct space *space, struct page_file *file, uint32_t units,
               enum space_use use, uint32_t *place, struct err *err);
/* Takes the lowest place that ends at or before `line`, false when there is none.
 * `from` remembers where to go on looking as long as nothing is given back; zeroed
 * at first. */
struct space_low {
	uint32_t from[2];
};
bool space_take_below(struct space *space, uint32_t file_id, uint32_t units,
                      enum space_use use, uint64_t line, struct space_low *low,
                      uint32_t *place);
/* How many groups of four are free there for logged pages. */
uint64_t space_quads_below(const struct space *space, uint32_t file_id,
                           uint32_t line);
/* Gives a place back. On a file that is not built: nothing to do. ERR_CORRUPT
 * (and no change) when it was free already: two references to one place. */
int space_give(struct space *space, uint32_t file_id, uint32_t place,
               uint32_t units, struct err *err);

/* A record that is now appended wrote this place. Cannot fail once the place was
 * taken by space_take. In recovery notes may come for a file not built. */
int space_note(struct space *space, uint32_t file_id, uint32_t place,
               uint32_t units, enum space_use use, struct err *err);
/* A checkpoint candidate is entered: what was noted so far becomes the older
 * generation. (A candidate that failed and is replaced: merge, never lose.) */
void space_generation_begin(struct space *space);
/* The candidate is durable: the older generation is forgotten. */
void space_generation_end(struct space *space);

/* Runs of free places whose blocks can go back to the file system: nobody reaches
 * them and no record says PLACED for them. Each run is told once, until something
 * in it was taken and given back. Goes from `at` (a multiple of 64) to `end`; the
 * answers are good as long as the writer lock is held. */
struct space_holes {
	uint64_t at, end;
	uint64_t bits;
	uint32_t bit;
};
struct space_run {
	uint32_t place;
	uint32_t units;
};
#define SPACE_HOLES(from, to) \
	((struct space_holes){ .at = (from), .end = (to), .bit = 64 })
bool space_hole_next(struct space *space, uint32_t file_id,
                     struct space_holes *holes, struct space_run *run);
/* Whether much more is free, and was not told yet, than is in use. */
bool space_is_loose(const struct space *space, uint32_t file_id);

/* For reports, checks and the last closer's truncation. Without the writer lock
 * the answers may be out of date, the figures also among themselves. ERR_MISSING
 * when the file is not built. */
struct space_figures {
	uint64_t capacity;   /* units in the file          */
	uint64_t free;       /* units free                 */
	uint64_t end;        /* one past the last used unit */
	uint64_t held;       /* free but placed or logged  */
};
int space_file_figures(const struct space *space, uint32_t file_id,
                       struct space_figures *figures);
bool space_is_free(const struct space *space, uint32_t file_id,
                   uint32_t place);
/* Whether a note forbids to take that unit for this use, were it free. */
bool space_is_held(const struct space *space, uint32_t file_id, uint32_t place,
                   enum space_use use);

#endif
