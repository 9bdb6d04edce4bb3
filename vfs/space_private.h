/*
 * space_private.h - what the allocator's files share: its blocks in shared memory.
 *
 * Chunks are cut into blocks of 4 KB, numbered chunk * 8 + i; 0 is no block. A
 * block is
 *   HEAD     the first block of all: lists and counts
 *   BUCKETS  a part of the hash table in which FILE and LEAF blocks are found
 *            by (file id, leaf number)
 *   FILE     one per file: counts, cursors, two rings of places freed last
 *   LEAF     5 bitmaps for 6,144 units (24 MB) of one file: free, and placed and
 *            logged of two generations
 * No pointers: processes map the chunks at different addresses.
 *
 * A hole is a free place whose blocks the file system has back. That is a hint,
 * by words of a bitmap: a lost one costs a call that does nothing.
 *
 * The writer may die at any instruction. Then only this is trusted:
 *   (S1) the chunks on the list;
 *   (S2) a block's kind, file id and leaf number, for the kind is written last
 *        when a block is made, and first when it is given back;
 *   (S3) the note bitmaps, whose bits are set one by one and, when generations
 *        merge, set there before they are cleared here;
 *   (S4) a FILE block stands while a LEAF of its file does.
 * space_reset() makes everything else anew from these.
 */
#ifndef TURDB_VFS_SPACE_PRIVATE_H
#define TURDB_VFS_SPACE_PRIVATE_H

#include <stddef.h>

#include "vfs/space.h"

enum {
	BLOCK_SIZE = 4096,
	CHUNK_BLOCKS = SHM_CHUNK_SIZE / BLOCK_SIZE,
	LEAF_WORDS = 96,
	LEAF_UNITS = LEAF_WORDS * 64,
	BUCKETS_PER_BLOCK = 1016,
	BUCKET_BLOCKS_MAX = 960,
	SINGLES_MAX = 256,
	QUADS_MAX = 512,
};

#define NO_LEAF UINT32_MAX
#define QUAD_STARTS UINT64_C(0x1111111111111111)

enum block_kind { BLOCK_FREE = 0, BLOCK_HEAD, BLOCK_BUCKETS, BLOCK_FILE,
                  BLOCK_LEAF };

struct space_block {
	uint32_t kind;
	uint32_t file_id;
	uint32_t leaf_no;    /* NO_LEAF in a FILE                          */
	uint32_t next;       /* in its bucket, or in the list of free ones */
	uint32_t chunk_next; /* in a chunk's first block: the next chunk   */
	uint32_t unused[3];
};

struct space_head {
	struct space_block block;
	uint32_t chunk_first;
	uint32_t free_first;
	uint32_t bucket_count;
	uint32_t entry_count;
	uint32_t current;        /* the generation that notes go to: 0 or 1 */
	uint32_t noted_first[2]; /* leaves with notes, by generation        */
	uint32_t epoch;          /* grows when held places come loose       */
	uint32_t bucket_block_count;
	uint32_t unused[7];
	uint32_t bucket_blocks[BUCKET_BLOCKS_MAX];
};

struct space_buckets {
	struct space_block block;
	uint32_t first[BUCKETS_PER_BLOCK];
};

enum { SINGLE, QUAD, SHAPES };
enum { USES = 2 };

struct space_ring {
	uint32_t count; /* how many are in it            */
	uint32_t top;   /* where the next one is entered */
};

struct space_file {
	struct space_block block;
	uint32_t built;
	uint32_t leaf_end; /* one past the highest leaf there is */
	uint32_t first_place;
	uint32_t loose;    /* units given back, about, since the last of them were
	                      offered to the file system */
	uint64_t capacity;
	uint64_t free_units;
	uint64_t free_quads;
	uint32_t cursor[SHAPES];
	uint32_t searched[USES][SHAPES]; /* the epoch of a vain search */
	struct space_ring rings[SHAPES];
	uint32_t singles[SINGLES_MAX];
	uint32_t quads[QUADS_MAX];
};

struct space_leaf {
	struct space_block block;
	uint32_t free_units;
	uint32_t free_quads;
	uint32_t noted[2]; /* is in the list of that generation */
	uint32_t noted_next[2];
	uint64_t holed[2]; /* a bit per word: what is free there was offered */
	uint32_t unused[46];
	uint64_t free[LEAF_WORDS];
	uint64_t placed[2][LEAF_WORDS];
	uint64_t logged[2][LEAF_WORDS];
};

static_assert(sizeof(struct space_head) <= BLOCK_SIZE, "a head is one block");
static_assert(sizeof(struct space_buckets) == BLOCK_SIZE, "buckets are one block");
static_assert(sizeof(struct space_file) <= BLOCK_SIZE, "a file is one block");
static_assert(sizeof(struct space_leaf) == BLOCK_SIZE, "a leaf is one block");
static_assert(offsetof(struct space_block, chunk_next) % 8 == 0 &&
              offsetof(struct space_block, unused) % 8 == 4,
              "the list of chunks has a word of its own");
static_assert(LEAF_UNITS % 64 == 0, "groups of four lie in one leaf");

/* --- words that readers without the lock may look at ---------------------- */

static inline uint32_t space_get32(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void space_set32(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

static inline uint64_t space_get64(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void space_set64(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* What was stored before stays before, as far as a death of this process can
 * tell: it keeps the order of the program, only the compiler must. */
static inline void space_in_this_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* --- blocks --------------------------------------------------------------- */

static inline void *space_block_at(const struct space *space, uint32_t number)
{
	uint8_t *chunk = space->memory.at(space->memory.context,
	                                  number / CHUNK_BLOCKS);

	return chunk + (size_t)(number % CHUNK_BLOCKS) * BLOCK_SIZE;
}

/* NULL when nothing was ever noted or built. */
static inline struct space_head *space_head(const struct space *space)
{
	uint32_t chunk = __atomic_load_n(&space->root->directory_chunk,
	                                 __ATOMIC_ACQUIRE);

	return chunk ? space_block_at(space, chunk * CHUNK_BLOCKS) : NULL;
}

int space_head_make(struct space *space, struct space_head **head, struct err *err);

/* Gives a block back; it must not be found by the hash any more. */
void space_block_free(struct space_head *head, struct space_block *block,
                      uint32_t number);

/* The block of (file, leaf) or NULL; *number says which it is. */
void *space_block_find(const struct space *space, const struct space_head *head,
                       uint32_t file_id, uint32_t leaf_no, uint32_t *number);

/* Makes a block to be found. */
void space_block_enter(struct space *space, struct space_head *head,
                       struct space_block *block, uint32_t number);

/* The opposite, and gives it back. */
void space_block_drop(struct space *space, struct space_head *head,
                      struct space_block *block, uint32_t number);

/* Empties the hash, for all to be entered again. */
void space_hash_clear(struct space *space, struct space_head *head);

struct space_file *space_file_find(const struct space *space,
                                   const struct space_head *head,
                                   uint32_t file_id);
struct space_leaf *space_leaf_find(const struct space *space,
                                   const struct space_head *head,
                                   uint32_t file_id, uint32_t leaf_no);

/* The same, made when there is none. */
int space_file_make(struct space *space, struct space_head *head,
                    uint32_t file_id, struct space_file **file,
                    struct err *err);
int space_leaf_make(struct space *space, struct space_head *head,
                    struct space_file *file, uint32_t leaf_no,
                    struct space_leaf **leaf, struct err *err);

/* Forgets what is free; notes stay. */
void space_file_clear(const struct space *space, const struct space_head *head,
                      struct space_file *file);

/* --- places --------------------------------------------------------------- */

/* A place inside its leaf. */
struct space_spot {
	uint32_t word;
	uint32_t shift; /* of the place                                */
	uint64_t mask;  /* its units' bits                             */
	uint64_t quad;  /* the bits of the group of four it belongs to */
};

static inline struct space_spot space_spot(uint32_t place, uint32_t units)
{
	uint32_t bit = place % LEAF_UNITS, shift = bit % 64;

	return (struct space_spot){
		.word = bit / 64,
		.shift = shift,
		.mask = (units == 4 ? UINT64_C(15) : UINT64_C(1)) << shift,
		.quad = UINT64_C(15) << (shift & ~3u),
	};
}

/* What may not be taken for this use. */
static inline uint64_t space_held(const struct space_leaf *leaf, uint32_t word,
                                  enum space_use use)
{
	uint64_t held = space_get64(&leaf->placed[0][word]) |
	                space_get64(&leaf->placed[1][word]);

	if (use == SPACE_PLACED)
		held |= space_get64(&leaf->logged[0][word]) |
		        space_get64(&leaf->logged[1][word]);
	return held;
}

/* The bits of the word-th word of a bitmap that stand for its units [from, to). */
static inline uint64_t space_word_mask(uint32_t word, uint64_t from, uint64_t to)
{
	uint64_t start = (uint64_t)word * 64, mask = UINT64_MAX;

	if (from >= start + 64 || to <= start)
		return 0;
	if (from > start)
		mask &= UINT64_MAX << (from - start);
	if (to < start + 64)
		mask &= UINT64_MAX >> (start + 64 - to);
	return mask;
}

/* How many units were given back, about, since they were offered. */
static inline void space_loose_set(struct space_file *file, uint64_t units)
{
	space_set32(&file->loose, (uint32_t)units);
}

/* "OPERATION file N: place P (U units) WHY" */
int space_refuse(struct err *err, int code, const char *operation,
                 uint32_t file_id, const char *why, uint64_t place,
                 uint32_t units);

/* Enters a leaf in the list of those with notes of a generation. */
void space_note_list(struct space_head *head, struct space_leaf *leaf,
                     uint32_t number, uint32_t generation);

#endif
