/*
 * space.c - which places of each page file are free.
 *
 * Purpose       Gives out places and takes them back in a few dozen nanoseconds,
 *               and remembers what the log says about them.
 * Architecture  In shared memory, below commit, checkpoint and recovery. Knows
 *               places, never pages: who reaches what is its callers' business.
 * Structures    Chunks are cut into blocks of 4 KB, numbered chunk * 8 + i. A
 *               block is
 *                 FILE     one per file: counts, cursors, two rings of places
 *                          freed last
 *                 LEAF     5 bitmaps for 6,144 units (24 MB) of one file: free,
 *                          and placed and logged of two generations
 *                 BUCKETS  a part of the hash table in which FILE and LEAF blocks
 *                          are found by (file id, leaf number)
 *                 HEAD     the first block of all: the lists and counts
 *               The hash grows one bucket at a time (linear hashing), so that no
 *               operation ever copies all of it. No pointers: processes map the
 *               chunks at different addresses.
 * Taking        First the ring, then the bitmaps from a cursor on, then growth. A
 *               search that found nothing is remembered until something comes
 *               back, so that a full file is not searched again. Single units come
 *               from groups of four that are broken already, if there are any;
 *               whole groups are kept for pages.
 * Safety        One writer at a time; it may die at any instruction. Then only
 *               this is trusted: (S1) the chunks on the list; (S2) a block's kind,
 *               file id and leaf number, for the kind is written last when a
 *               block is made, and first when it is given back; (S3) the note
 *               bitmaps, whose bits are set one by one and, when generations
 *               merge, set there before they are cleared here. space_reset()
 *               makes everything else anew from these. (S4) Blocks that a file's
 *               notes need are given back before the FILE block is.
 */
#include "vfs/space.h"

#include <stdio.h>
#include <string.h>

enum {
	BLOCK_SIZE = 4096,
	CHUNK_BLOCKS = SHM_CHUNK_SIZE / BLOCK_SIZE,
	LEAF_WORDS = 96,
	LEAF_UNITS = LEAF_WORDS * 64,
	BUCKETS_PER_BLOCK = 1016,
	BUCKET_BLOCKS_MAX = 960,
	SINGLES_MAX = 256,
	QUADS_MAX = 512,
	RING_LOOKS = 16, /* entries looked at before the bitmaps are faster */
	HOPS_MAX = 100000, /* of a reader that follows a list being changed  */
};

#define NO_LEAF UINT32_MAX
#define PLACES_MAX (UINT64_C(1) << 32)
#define QUAD_STARTS UINT64_C(0x1111111111111111)

enum block_kind { BLOCK_FREE = 0, BLOCK_HEAD, BLOCK_BUCKETS, BLOCK_FILE,
                  BLOCK_LEAF };

struct block {
	uint32_t kind;
	uint32_t file_id;
	uint32_t leaf_no;    /* NO_LEAF in a FILE                          */
	uint32_t next;       /* in its bucket, or in the list of free ones */
	uint32_t chunk_next; /* in a chunk's first block: the next chunk   */
	uint32_t unused[3];
};

struct head {
	struct block block;
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

struct buckets {
	struct block block;
	uint32_t first[BUCKETS_PER_BLOCK];
};

enum { SINGLE, QUAD, SHAPES };
enum { USES = 2 };

struct ring {
	uint32_t count; /* how many are in it            */
	uint32_t top;   /* where the next one is entered */
};

struct file {
	struct block block;
	uint32_t built;
	uint32_t leaf_end; /* one past the highest leaf there is */
	uint64_t capacity;
	uint64_t free_units;
	uint64_t free_quads;
	uint32_t cursor[SHAPES];
	uint32_t searched[USES][SHAPES]; /* the epoch of a vain search */
	struct ring rings[SHAPES];
	uint32_t singles[SINGLES_MAX];
	uint32_t quads[QUADS_MAX];
};

struct leaf {
	struct block block;
	uint32_t free_units;
	uint32_t free_quads;
	uint32_t noted[2]; /* is in the list of that generation */
	uint32_t noted_next[2];
	uint32_t unused[50];
	uint64_t free[LEAF_WORDS];
	uint64_t placed[2][LEAF_WORDS];
	uint64_t logged[2][LEAF_WORDS];
};

static_assert(sizeof(struct head) <= BLOCK_SIZE, "a head is one block");
static_assert(sizeof(struct buckets) == BLOCK_SIZE, "buckets are one block");
static_assert(sizeof(struct file) <= BLOCK_SIZE, "a file is one block");
static_assert(sizeof(struct leaf) == BLOCK_SIZE, "a leaf is one block");
static_assert(LEAF_UNITS % 64 == 0, "groups of four lie in one leaf");

/* --- words that readers without the lock may look at -------------------------- */

static inline uint32_t get32(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void set32(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

static inline uint64_t get64(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void set64(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* What was stored before stays before in memory: a death in between leaves the
 * first. */
static inline void in_this_order(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* --- blocks ------------------------------------------------------------------- */

static void *block_at(const struct space *space, uint32_t number)
{
	uint8_t *chunk = space->memory.at(space->memory.context,
	                                  number / CHUNK_BLOCKS);

	return chunk + (size_t)(number % CHUNK_BLOCKS) * BLOCK_SIZE;
}

static struct head *head_of(const struct space *space)
{
	uint32_t chunk = __atomic_load_n(&space->root->directory_chunk,
	                                 __ATOMIC_ACQUIRE);

	return chunk ? block_at(space, chunk * CHUNK_BLOCKS) : NULL;
}

static void push_free(struct head *head, struct block *block, uint32_t number)
{
	set32(&block->kind, BLOCK_FREE);
	in_this_order();
	set32(&block->next, head->free_first);
	head->free_first = number;
}

/* Clears a block but for the list of chunks. */
static void wipe_block(struct block *block)
{
	uint32_t chunk_next = block->chunk_next;
	uint64_t *words = (uint64_t *)(void *)block;

	for (size_t i = 0; i < BLOCK_SIZE / 8; i++)
		set64(&words[i], 0);
	block->chunk_next = chunk_next;
}

static int add_chunk(struct space *space, struct head *head, struct err *err)
{
	uint32_t chunk;
	struct block *first;
	int rc = space->memory.grow(space->memory.context, &chunk, err);

	if (rc)
		return rc;
	first = block_at(space, chunk * CHUNK_BLOCKS);
	first->chunk_next = head->chunk_first;
	in_this_order();
	head->chunk_first = chunk;
	for (uint32_t i = CHUNK_BLOCKS; i-- > 0;) {
		uint32_t number = chunk * CHUNK_BLOCKS + i;

		push_free(head, block_at(space, number), number);
	}
	return ERR_NONE;
}

/* A cleared block, still of kind FREE. */
static int take_block(struct space *space, struct head *head,
                      uint32_t *number, struct err *err)
{
	struct block *block;
	int rc;

	if (head->free_first == 0) {
		rc = add_chunk(space, head, err);
		if (rc)
			return rc;
	}
	*number = head->free_first;
	block = block_at(space, *number);
	head->free_first = block->next;
	wipe_block(block);
	return ERR_NONE;
}

/* The first chunk: its first block is the head, its second the first buckets. */
static int make_head(struct space *space, struct head **head, struct err *err)
{
	struct buckets *buckets;
	struct head *made;
	uint32_t chunk;
	int rc;

	*head = head_of(space);
	if (*head)
		return ERR_NONE;
	rc = space->memory.grow(space->memory.context, &chunk, err);
	if (rc)
		return rc;
	made = block_at(space, chunk * CHUNK_BLOCKS);
	made->block.kind = BLOCK_HEAD;
	made->chunk_first = chunk;
	made->epoch = 1;
	made->bucket_count = BUCKETS_PER_BLOCK;
	made->bucket_block_count = 1;
	made->bucket_blocks[0] = chunk * CHUNK_BLOCKS + 1;
	buckets = block_at(space, made->bucket_blocks[0]);
	buckets->block.kind = BLOCK_BUCKETS;
	for (uint32_t i = CHUNK_BLOCKS; i-- > 2;) {
		uint32_t number = chunk * CHUNK_BLOCKS + i;

		push_free(made, block_at(space, number), number);
	}
	__atomic_store_n(&space->root->directory_chunk, chunk,
	                 __ATOMIC_RELEASE);
	*head = made;
	return ERR_NONE;
}

/* --- the hash of blocks --------------------------------------------------------- */

static uint32_t hash_of(uint32_t file_id, uint32_t leaf_no)
{
	uint64_t h = ((uint64_t)file_id << 32 | leaf_no) *
	             UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 32;
	return (uint32_t)(h * UINT64_C(0xbf58476d1ce4e5b9) >> 32);
}

static uint32_t power_below(uint32_t n)
{
	return 1u << (31 - __builtin_clz(n));
}

static uint32_t bucket_of(const struct head *head, uint32_t hash)
{
	uint32_t count = __atomic_load_n(&head->bucket_count, __ATOMIC_ACQUIRE);
	uint32_t power = power_below(count);
	uint32_t bucket = hash & (2 * power - 1);

	return bucket < count ? bucket : hash & (power - 1);
}

static uint32_t *bucket_at(const struct space *space, const struct head *head,
                           uint32_t bucket)
{
	struct buckets *buckets = block_at(
		space, get32(&head->bucket_blocks[bucket / BUCKETS_PER_BLOCK]));

	return &buckets->first[bucket % BUCKETS_PER_BLOCK];
}

/* The block of (file, leaf) or NULL; *number says which it is. */
static void *find_block(const struct space *space, const struct head *head,
                        uint32_t file_id, uint32_t leaf_no, uint32_t *number)
{
	uint32_t hash = hash_of(file_id, leaf_no);
	uint32_t at = get32(bucket_at(space, head, bucket_of(head, hash)));

	for (uint32_t hops = 0; at && hops < HOPS_MAX; hops++) {
		struct block *block = block_at(space, at);

		if (get32(&block->file_id) == file_id &&
		    get32(&block->leaf_no) == leaf_no &&
		    get32(&block->kind) >= BLOCK_FILE) {
			*number = at;
			return block;
		}
		at = get32(&block->next);
	}
	return NULL;
}

static void hash_insert(struct space *space, struct head *head,
                        struct block *block, uint32_t number)
{
	uint32_t hash = hash_of(block->file_id, block->leaf_no);
	uint32_t *bucket = bucket_at(space, head, bucket_of(head, hash));

	set32(&block->next, get32(bucket));
	in_this_order();
	set32(bucket, number);
	head->entry_count++;
}

static void hash_remove(struct space *space, struct head *head,
                        struct block *block, uint32_t number)
{
	uint32_t hash = hash_of(block->file_id, block->leaf_no);
	uint32_t *at = bucket_at(space, head, bucket_of(head, hash));

	while (*at != number)
		at = &((struct block *)block_at(space, *at))->next;
	set32(at, block->next);
	head->entry_count--;
}

/* Moves what belongs to the new bucket out of the one that stood for both. */
static void split_bucket(struct space *space, struct head *head)
{
	uint32_t bucket = head->bucket_count;
	uint32_t power = power_below(bucket);
	uint32_t *from = bucket_at(space, head, bucket - power);
	uint32_t *to = bucket_at(space, head, bucket);

	set32(to, 0);
	while (*from) {
		uint32_t number = *from;
		struct block *block = block_at(space, number);
		uint32_t hash = hash_of(block->file_id, block->leaf_no);

		if ((hash & (2 * power - 1)) != bucket) {
			from = &block->next;
			continue;
		}
		set32(from, block->next);
		set32(&block->next, *to);
		set32(to, number);
	}
	__atomic_store_n(&head->bucket_count, bucket + 1, __ATOMIC_RELEASE);
}

/* One more bucket when chains grow long. Without memory they stay long. */
static void hash_grow(struct space *space, struct head *head)
{
	uint32_t blocks = head->bucket_block_count, number;
	struct block *block;

	if (head->entry_count <= head->bucket_count)
		return;
	if (head->bucket_count == blocks * BUCKETS_PER_BLOCK) {
		if (blocks == BUCKET_BLOCKS_MAX ||
		    take_block(space, head, &number, NULL))
			return;
		block = block_at(space, number);
		set32(&block->kind, BLOCK_BUCKETS);
		set32(&head->bucket_blocks[blocks], number);
		in_this_order();
		head->bucket_block_count = blocks + 1;
	}
	split_bucket(space, head);
}

static int make_block(struct space *space, struct head *head,
                      enum block_kind kind, uint32_t file_id, uint32_t leaf_no,
                      void **made, struct err *err)
{
	struct block *block;
	uint32_t number;
	int rc;

	hash_grow(space, head);
	rc = take_block(space, head, &number, err);
	if (rc)
		return rc;
	block = block_at(space, number);
	set32(&block->file_id, file_id);
	set32(&block->leaf_no, leaf_no);
	in_this_order();
	set32(&block->kind, kind);
	hash_insert(space, head, block, number);
	*made = block;
	return ERR_NONE;
}

/* --- files and leaves ------------------------------------------------------------- */

static struct file *find_file(const struct space *space, uint32_t file_id)
{
	const struct head *head = head_of(space);
	uint32_t number;

	return head ? find_block(space, head, file_id, NO_LEAF, &number) : NULL;
}

static struct leaf *find_leaf(const struct space *space, uint32_t file_id,
                              uint32_t leaf_no)
{
	uint32_t number;

	return find_block(space, head_of(space), file_id, leaf_no, &number);
}

static int make_file(struct space *space, struct head *head, uint32_t file_id,
                     struct file **file, struct err *err)
{
	void *made = find_file(space, file_id);
	int rc = ERR_NONE;

	if (!made)
		rc = make_block(space, head, BLOCK_FILE, file_id, NO_LEAF,
		                &made, err);
	if (!rc)
		*file = made;
	return rc;
}

static int make_leaf(struct space *space, struct head *head, struct file *file,
                     uint32_t leaf_no, struct leaf **leaf, struct err *err)
{
	uint32_t file_id = file->block.file_id;
	void *made = find_leaf(space, file_id, leaf_no);
	int rc = ERR_NONE;

	if (!made)
		rc = make_block(space, head, BLOCK_LEAF, file_id, leaf_no,
		                &made, err);
	if (rc)
		return rc;
	if (file->leaf_end <= leaf_no)
		set32(&file->leaf_end, leaf_no + 1);
	*leaf = made;
	return ERR_NONE;
}

static int refuse(struct err *err, int code, const char *operation,
                  uint32_t file_id, const char *why, uint64_t place,
                  uint32_t units)
{
	char name[32];

	snprintf(name, sizeof name, "file %u", file_id);
	return err_set(err, code, operation, name, "place %llu (%u units) %s",
	               (unsigned long long)place, units, why);
}

/* That the place is one that a page or map page of the file can have. */
static int check_place(const struct file *file, const char *operation,
                       uint32_t place, uint32_t units, struct err *err)
{
	if ((units != 1 && units != 4) || place % units)
		return refuse(err, ERR_CORRUPT, operation, file->block.file_id,
		              "is not aligned to its size", place, units);
	if ((uint64_t)place + units > file->capacity)
		return refuse(err, ERR_CORRUPT, operation, file->block.file_id,
		              "lies beyond the file's end", place, units);
	return ERR_NONE;
}

/* --- bits ---------------------------------------------------------------------------- */

/* A place inside its leaf. */
struct spot {
	uint32_t word;
	uint32_t shift; /* of the place                                */
	uint64_t mask;  /* its units' bits                             */
	uint64_t quad;  /* the bits of the group of four it belongs to */
};

static struct spot spot_of(uint32_t place, uint32_t units)
{
	uint32_t bit = place % LEAF_UNITS, shift = bit % 64;

	return (struct spot){
		.word = bit / 64,
		.shift = shift,
		.mask = (units == 4 ? UINT64_C(15) : UINT64_C(1)) << shift,
		.quad = UINT64_C(15) << (shift & ~3u),
	};
}

/* The first bit of each group of four whose bits are all set. */
static uint64_t whole_quads(uint64_t bits)
{
	bits &= bits >> 1;
	bits &= bits >> 2;
	return bits & QUAD_STARTS;
}

static void count_units(struct file *file, struct leaf *leaf, int64_t units,
                        int64_t quads)
{
	leaf->free_units += (uint32_t)units;
	leaf->free_quads += (uint32_t)quads;
	set64(&file->free_units, file->free_units + (uint64_t)units);
	set64(&file->free_quads, file->free_quads + (uint64_t)quads);
}

/* Sets or clears bits of one group of four in `free`, those that are not so
 * already, and counts. */
static void change_free(struct file *file, struct leaf *leaf,
                        const struct spot *spot, bool free)
{
	uint64_t old = leaf->free[spot->word];
	uint64_t new = free ? old | spot->mask : old & ~spot->mask;
	int64_t units = 0;

	for (uint64_t bits = old ^ new; bits; bits &= bits - 1)
		units++;
	set64(&leaf->free[spot->word], new);
	count_units(file, leaf, free ? units : -units,
	            (int64_t)((new & spot->quad) == spot->quad) -
	            (int64_t)((old & spot->quad) == spot->quad));
}

/* What may not be taken for this use. */
static uint64_t held_bits(const struct leaf *leaf, uint32_t word,
                          enum space_use use)
{
	uint64_t held = get64(&leaf->placed[0][word]) |
	                get64(&leaf->placed[1][word]);

	if (use == SPACE_PLACED)
		held |= get64(&leaf->logged[0][word]) |
		        get64(&leaf->logged[1][word]);
	return held;
}

static uint64_t word_mask(uint32_t word, uint64_t from, uint64_t to)
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

/* Frees units [from, to) of a leaf whose units there are not free. */
static void free_range(struct file *file, struct leaf *leaf, uint64_t from,
                       uint64_t to)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++) {
		uint64_t mask = word_mask(word, from, to);
		uint64_t old = leaf->free[word], new = old | mask;

		if (!mask)
			continue;
		set64(&leaf->free[word], new);
		count_units(file, leaf, __builtin_popcountll(mask),
		            __builtin_popcountll(whole_quads(new)) -
		            __builtin_popcountll(whole_quads(old)));
	}
}

/* --- rings ----------------------------------------------------------------------------- */

static uint32_t *ring_entry(struct file *file, int shape, uint32_t from_top)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	uint32_t *entries = shape == QUAD ? file->quads : file->singles;

	return &entries[(file->rings[shape].top + max - 1 - from_top) % max];
}

static void ring_push(struct file *file, int shape, uint32_t place)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	struct ring *ring = &file->rings[shape];

	ring->top = (ring->top + 1) % max;
	*ring_entry(file, shape, 0) = place;
	if (ring->count < max)
		ring->count++;
}

/* Removes an entry; those above it move down by one. */
static void ring_remove(struct file *file, int shape, uint32_t from_top)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	struct ring *ring = &file->rings[shape];

	while (from_top-- > 0)
		*ring_entry(file, shape, from_top + 1) =
			*ring_entry(file, shape, from_top);
	ring->top = (ring->top + max - 1) % max;
	ring->count--;
}

/* The next search begins there, whatever was searched in vain before. */
static void search_from(struct file *file, int shape, uint32_t place)
{
	for (int use = 0; use < USES; use++)
		file->searched[use][shape] = 0;
	file->cursor[shape] = place;
}

/* A place came back: a use that had searched in vain and may have this one finds
 * it there. */
static void search_again(const struct head *head, struct file *file,
                         const struct leaf *leaf, const struct spot *spot,
                         int shape, uint32_t place)
{
	for (int use = 0; use < USES; use++)
		if (file->searched[use][shape] == head->epoch &&
		    !(held_bits(leaf, spot->word, use) & spot->mask)) {
			file->searched[use][shape] = 0;
			file->cursor[shape] = place;
		}
}

/* --- taking ------------------------------------------------------------------------------ */

struct search {
	struct space *space;
	struct head *head;
	struct file *file;
	enum space_use use;
};

/* The bits at which a place of that shape may be taken. Singles only in groups
 * that are broken. */
static uint64_t usable_bits(const struct leaf *leaf, uint32_t word, int shape,
                            enum space_use use)
{
	uint64_t free = leaf->free[word];

	if (!free)
		return 0;
	if (shape == SINGLE)
		free &= ~(whole_quads(free) * 15);
	free &= ~held_bits(leaf, word, use);
	return shape == QUAD ? whole_quads(free) : free;
}

static bool leaf_may_have(const struct leaf *leaf, int shape)
{
	return shape == QUAD ? leaf->free_quads :
	                       leaf->free_units > 4 * leaf->free_quads;
}

/* Looks at the places freed last. One that was taken since, or whose group has
 * become whole, is dropped; one that is held stays for later. */
static bool look_in_ring(const struct search *s, int shape, uint32_t *place)
{
	uint32_t at = 0;

	while (at < RING_LOOKS && at < s->file->rings[shape].count) {
		uint32_t candidate = *ring_entry(s->file, shape, at);
		struct spot spot = spot_of(candidate, 1);
		struct leaf *leaf = find_leaf(s->space, s->file->block.file_id,
		                              candidate / LEAF_UNITS);
		uint64_t free = leaf->free[spot.word];
		bool whole = (free & spot.quad) == spot.quad;

		if (usable_bits(leaf, spot.word, shape, s->use) & spot.mask) {
			ring_remove(s->file, shape, at);
			*place = candidate;
			return true;
		}
		if (!(free & spot.mask) || whole != (shape == QUAD))
			ring_remove(s->file, shape, at);
		else
			at++;
	}
	return false;
}

static bool look_in_leaf(const struct search *s, uint32_t leaf_no, int shape,
                         uint32_t word, uint32_t word_end, uint32_t *place)
{
	struct leaf *leaf = find_leaf(s->space, s->file->block.file_id,
	                              leaf_no);

	if (!leaf || !leaf_may_have(leaf, shape))
		return false;
	for (; word < word_end; word++) {
		uint64_t bits = usable_bits(leaf, word, shape, s->use);

		if (bits) {
			*place = leaf_no * LEAF_UNITS + word * 64 +
			         (uint32_t)__builtin_ctzll(bits);
			return true;
		}
	}
	return false;
}

/* From the cursor's word to the end of the file, then from its beginning up to
 * that word. */
static bool look_everywhere(const struct search *s, int shape, uint32_t *place)
{
	struct file *file = s->file;
	uint32_t leaf_no = file->cursor[shape] / LEAF_UNITS;
	uint32_t word = file->cursor[shape] % LEAF_UNITS / 64;

	if (file->searched[s->use][shape] == s->head->epoch)
		return false;
	if (leaf_no >= file->leaf_end)
		leaf_no = word = 0;
	for (uint32_t i = 0; i <= file->leaf_end; i++) {
		if (look_in_leaf(s, leaf_no, shape, i ? 0 : word,
		                 i < file->leaf_end ? LEAF_WORDS : word,
		                 place)) {
			file->cursor[shape] = *place;
			return true;
		}
		leaf_no = leaf_no + 1 < file->leaf_end ? leaf_no + 1 : 0;
	}
	file->searched[s->use][shape] = s->head->epoch;
	return false;
}

static bool has_shape(const struct file *file, int shape)
{
	return shape == QUAD ? file->free_quads :
	                       file->free_units > 4 * file->free_quads;
}

static bool look(const struct search *s, int shape, uint32_t *place)
{
	if (!has_shape(s->file, shape))
		return false;
	if (s->use == SPACE_LOGGED && look_in_ring(s, shape, place))
		return true;
	return look_everywhere(s, shape, place);
}

static void mark_taken(const struct search *s, uint32_t place, uint32_t units)
{
	struct spot spot = spot_of(place, units);

	change_free(s->file, find_leaf(s->space, s->file->block.file_id,
	                               place / LEAF_UNITS), &spot, false);
}

/* Breaks a group of four: its first unit is taken, the others are next. */
static void break_quad(const struct search *s, uint32_t place)
{
	for (uint32_t i = 3; i > 0; i--)
		ring_push(s->file, SINGLE, place + i);
	search_from(s->file, SINGLE, place);
}

static bool take(const struct search *s, uint32_t units, uint32_t *place)
{
	if (units == 1 && look(s, SINGLE, place)) {
		mark_taken(s, *place, 1);
		return true;
	}
	if (!look(s, QUAD, place))
		return false;
	mark_taken(s, *place, units);
	if (units == 1)
		break_quad(s, *place);
	return true;
}

/* --- growing ------------------------------------------------------------------------------- */

/* Frees [from, to) of the file, making leaves. */
static int free_units(struct space *space, struct head *head,
                      struct file *file, uint64_t from, uint64_t to,
                      struct err *err)
{
	struct leaf *leaf;
	int rc;

	while (from < to) {
		uint32_t leaf_no = (uint32_t)(from / LEAF_UNITS);
		uint64_t start = (uint64_t)leaf_no * LEAF_UNITS;
		uint64_t end = start + LEAF_UNITS < to ? start + LEAF_UNITS :
		                                         to;

		rc = make_leaf(space, head, file, leaf_no, &leaf, err);
		if (rc)
			return rc;
		free_range(file, leaf, from - start, end - start);
		set64(&file->capacity, end);
		from = end;
	}
	return ERR_NONE;
}

static int grow_file(struct space *space, struct head *head, struct file *file,
                     struct page_file *page_file, uint32_t units,
                     struct err *err)
{
	uint64_t old = file->capacity, capacity;
	int rc;

	rc = page_file_reserve(page_file, old + units, &capacity, err);
	if (rc)
		return rc;
	rc = free_units(space, head, file, old, capacity, err);
	if (file->capacity > old) {
		search_from(file, SINGLE, (uint32_t)old);
		search_from(file, QUAD, (uint32_t)old);
	}
	return file->capacity >= old + units ? ERR_NONE : rc;
}

int space_take(struct space *space, struct page_file *file, uint32_t units,
               enum space_use use, uint32_t *place, struct err *err)
{
	uint32_t file_id = page_file_identity_of(file)->file_id;
	struct search search = { .space = space, .head = head_of(space),
		                 .file = find_file(space, file_id),
		                 .use = use };
	int rc;

	assert(units == 1 || units == 4);
	if (!search.file || !search.file->built)
		return err_set(err, ERR_INVALID, "take a place in",
		               page_file_name(file),
		               "its free places are not known yet");
	while (!take(&search, units, place)) {
		rc = grow_file(space, search.head, search.file, file, units,
		               err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* --- giving back ------------------------------------------------------------------------------ */

int space_give(struct space *space, uint32_t file_id, uint32_t place,
               uint32_t units, struct err *err)
{
	struct file *file = find_file(space, file_id);
	struct spot spot = spot_of(place, units);
	struct leaf *leaf;
	int rc, shape;

	if (!file || !file->built)
		return ERR_NONE;
	rc = check_place(file, "give back a place of", place, units, err);
	if (rc)
		return rc;
	leaf = find_leaf(space, file_id, place / LEAF_UNITS);
	if (leaf->free[spot.word] & spot.mask)
		return refuse(err, ERR_CORRUPT, "give back a place of", file_id,
		              "is free already: it was referred to twice",
		              place, units);
	change_free(file, leaf, &spot, true);
	shape = (leaf->free[spot.word] & spot.quad) == spot.quad ? QUAD :
	                                                            SINGLE;
	if (shape == QUAD) {
		place &= ~3u;
		spot = spot_of(place, 4);
	}
	ring_push(file, shape, place);
	search_again(head_of(space), file, leaf, &spot, shape, place);
	return ERR_NONE;
}

/* --- building ---------------------------------------------------------------------------------- */

static void forget_free(const struct space *space, struct file *file)
{
	set32(&file->built, 0);
	for (uint32_t i = 0; i < file->leaf_end; i++) {
		struct leaf *leaf = find_leaf(space, file->block.file_id, i);

		if (!leaf)
			continue;
		for (uint32_t word = 0; word < LEAF_WORDS; word++)
			set64(&leaf->free[word], 0);
		leaf->free_units = leaf->free_quads = 0;
	}
	set64(&file->free_units, 0);
	set64(&file->free_quads, 0);
	set64(&file->capacity, 0);
	memset(file->rings, 0, sizeof file->rings);
	search_from(file, SINGLE, 0);
	search_from(file, QUAD, 0);
}

bool space_file_built(const struct space *space, uint32_t file_id)
{
	const struct file *file = find_file(space, file_id);

	return file && get32(&file->built);
}

int space_file_build(struct space *space, uint32_t file_id,
                     uint32_t first_place, uint64_t capacity, struct err *err)
{
	struct head *head;
	struct file *file;
	int rc;

	if (capacity > PLACES_MAX || first_place > capacity)
		return refuse(err, ERR_CORRUPT, "list the free places of",
		              file_id, "is impossible as its end", capacity, 0);
	rc = make_head(space, &head, err);
	if (!rc)
		rc = make_file(space, head, file_id, &file, err);
	if (rc)
		return rc;
	forget_free(space, file);
	return free_units(space, head, file, first_place, capacity, err);
}

int space_mark_used(struct space *space, uint32_t file_id, uint32_t place,
                    uint32_t units, struct err *err)
{
	struct file *file = find_file(space, file_id);
	struct spot spot = spot_of(place, units);
	int rc;

	assert(file && !file->built);
	rc = check_place(file, "list the free places of", place, units, err);
	if (!rc)
		change_free(file, find_leaf(space, file_id, place / LEAF_UNITS),
		            &spot, false);
	return rc;
}

void space_file_built_set(struct space *space, uint32_t file_id)
{
	set32(&find_file(space, file_id)->built, 1);
}

/* --- notes ------------------------------------------------------------------------------------- */

static bool has_notes(const struct leaf *leaf, uint32_t generation)
{
	uint64_t any = 0;

	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		any |= leaf->placed[generation][word] |
		       leaf->logged[generation][word];
	return any;
}

static void list_noted(struct head *head, struct leaf *leaf, uint32_t number,
                       uint32_t generation)
{
	if (leaf->noted[generation])
		return;
	leaf->noted[generation] = 1;
	leaf->noted_next[generation] = head->noted_first[generation];
	head->noted_first[generation] = number;
}

int space_note(struct space *space, uint32_t file_id, uint32_t place,
               uint32_t units, enum space_use use, struct err *err)
{
	struct spot spot = spot_of(place, units);
	uint32_t number, leaf_no = place / LEAF_UNITS;
	struct head *head;
	struct file *file;
	struct leaf *leaf;
	uint64_t *bits;
	int rc;

	if ((units != 1 && units != 4) || place % units)
		return refuse(err, ERR_CORRUPT, "note a place of", file_id,
		              "is not aligned to its size", place, units);
	rc = make_head(space, &head, err);
	if (rc)
		return rc;
	leaf = find_block(space, head, file_id, leaf_no, &number);
	if (!leaf) {
		rc = make_file(space, head, file_id, &file, err);
		if (!rc)
			rc = make_leaf(space, head, file, leaf_no, &leaf, err);
		if (rc)
			return rc;
		find_block(space, head, file_id, leaf_no, &number);
	}
	bits = use == SPACE_PLACED ? leaf->placed[head->current] :
	                             leaf->logged[head->current];
	set64(&bits[spot.word], bits[spot.word] | spot.mask);
	list_noted(head, leaf, number, head->current);
	return ERR_NONE;
}

/* Keeps (S3). */
static void merge_words(uint64_t *to, uint64_t *from)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		if (from[word])
			set64(&to[word], to[word] | from[word]);
	in_this_order();
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		if (from[word])
			set64(&from[word], 0);
}

/* Takes the first leaf off a generation's list. */
static struct leaf *unlist_noted(struct space *space, struct head *head,
                                 uint32_t generation, uint32_t *number)
{
	struct leaf *leaf;

	*number = head->noted_first[generation];
	if (*number == 0)
		return NULL;
	leaf = block_at(space, *number);
	head->noted_first[generation] = leaf->noted_next[generation];
	leaf->noted[generation] = 0;
	return leaf;
}

void space_generation_begin(struct space *space)
{
	struct head *head = head_of(space);
	uint32_t current, older, number;
	struct leaf *leaf;

	if (!head)
		return;
	current = head->current;
	older = current ^ 1;
	if (head->noted_first[older] == 0) {
		head->current = older;
		return;
	}
	while ((leaf = unlist_noted(space, head, current, &number))) {
		merge_words(leaf->placed[older], leaf->placed[current]);
		merge_words(leaf->logged[older], leaf->logged[current]);
		list_noted(head, leaf, number, older);
	}
}

void space_generation_end(struct space *space)
{
	struct head *head = head_of(space);
	uint32_t older, number;
	struct leaf *leaf;

	if (!head)
		return;
	older = head->current ^ 1;
	while ((leaf = unlist_noted(space, head, older, &number))) {
		for (uint32_t word = 0; word < LEAF_WORDS; word++) {
			set64(&leaf->placed[older][word], 0);
			set64(&leaf->logged[older][word], 0);
		}
	}
	head->epoch++;
}

/* --- forgetting -------------------------------------------------------------------------------- */

static void unlist_file(struct space *space, struct head *head,
                        uint32_t file_id, uint32_t generation)
{
	uint32_t *at = &head->noted_first[generation];

	while (*at) {
		struct leaf *leaf = block_at(space, *at);

		if (leaf->block.file_id == file_id)
			*at = leaf->noted_next[generation];
		else
			at = &leaf->noted_next[generation];
	}
}

static void drop_block(struct space *space, struct head *head,
                       struct block *block, uint32_t number)
{
	hash_remove(space, head, block, number);
	push_free(head, block, number);
}

/* Keeps (S4). */
void space_file_forget(struct space *space, uint32_t file_id)
{
	struct head *head = head_of(space);
	uint32_t number;
	struct file *file;
	struct leaf *leaf;

	file = find_file(space, file_id);
	if (!file)
		return;
	unlist_file(space, head, file_id, 0);
	unlist_file(space, head, file_id, 1);
	for (uint32_t i = 0; i < file->leaf_end; i++) {
		leaf = find_block(space, head, file_id, i, &number);
		if (leaf)
			drop_block(space, head, &leaf->block, number);
	}
	find_block(space, head, file_id, NO_LEAF, &number);
	drop_block(space, head, &file->block, number);
}

/* --- starting over ----------------------------------------------------------------------------- */

static void for_each_block(struct space *space, struct head *head,
                           void (*each)(struct space *space, struct head *head,
                                        struct block *block, uint32_t number,
                                        bool notes_too),
                           bool notes_too)
{
	uint32_t chunk = head->chunk_first;

	while (chunk) {
		struct block *first = block_at(space, chunk * CHUNK_BLOCKS);

		for (uint32_t i = CHUNK_BLOCKS; i-- > 0;) {
			uint32_t number = chunk * CHUNK_BLOCKS + i;

			each(space, head, block_at(space, number), number,
			     notes_too);
		}
		chunk = first->chunk_next;
	}
}

static bool is_bucket_block(const struct head *head, uint32_t number)
{
	for (uint32_t i = 0; i < head->bucket_block_count; i++)
		if (head->bucket_blocks[i] == number)
			return true;
	return false;
}

/* First round: files go into the emptied hash, leaves wait. */
static void reset_file(struct space *space, struct head *head,
                       struct block *block, uint32_t number, bool notes_too)
{
	struct file *file = (struct file *)block;

	switch (block->kind) {
	case BLOCK_HEAD:
	case BLOCK_LEAF:
		return;
	case BLOCK_BUCKETS:
		if (is_bucket_block(head, number))
			return;
		break;
	case BLOCK_FILE:
		if (notes_too)
			break;
		file->leaf_end = 0;
		forget_free(space, file);
		hash_insert(space, head, block, number);
		return;
	}
	push_free(head, block, number);
}

/* Second round: leaves with notes stay. */
static void reset_leaf(struct space *space, struct head *head,
                       struct block *block, uint32_t number, bool notes_too)
{
	struct leaf *leaf = (struct leaf *)block;
	struct file *file;

	if (block->kind != BLOCK_LEAF)
		return;
	file = notes_too ? NULL : find_file(space, block->file_id);
	if (!file || (!has_notes(leaf, 0) && !has_notes(leaf, 1))) {
		push_free(head, block, number);
		return;
	}
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		set64(&leaf->free[word], 0);
	leaf->free_units = leaf->free_quads = 0;
	hash_insert(space, head, block, number);
	if (file->leaf_end <= block->leaf_no)
		set32(&file->leaf_end, block->leaf_no + 1);
	for (uint32_t generation = 0; generation < 2; generation++) {
		leaf->noted[generation] = 0;
		if (has_notes(leaf, generation))
			list_noted(head, leaf, number, generation);
	}
}

/* Third round: files of which no note is left go. */
static void reset_empty(struct space *space, struct head *head,
                        struct block *block, uint32_t number, bool notes_too)
{
	(void)notes_too;
	if (block->kind == BLOCK_FILE &&
	    ((struct file *)block)->leaf_end == 0)
		drop_block(space, head, block, number);
}

void space_reset(struct space *space, bool notes_too)
{
	struct head *head = head_of(space);

	if (!head)
		return;
	head->free_first = 0;
	head->entry_count = 0;
	head->noted_first[0] = head->noted_first[1] = 0;
	head->epoch++;
	for (uint32_t i = 0; i < head->bucket_count; i++)
		set32(bucket_at(space, head, i), 0);
	for_each_block(space, head, reset_file, notes_too);
	for_each_block(space, head, reset_leaf, notes_too);
	for_each_block(space, head, reset_empty, notes_too);
}

/* --- figures ------------------------------------------------------------------------------------ */

/* Adds up one leaf, of whose units `units` are in the file. */
static void add_figures(const struct leaf *leaf, uint64_t start,
                        uint64_t units, struct space_figures *figures)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++) {
		uint64_t inside = word_mask(word, 0, units);
		uint64_t free = get64(&leaf->free[word]) & inside;
		uint64_t used = inside & ~free;

		figures->free += (uint64_t)__builtin_popcountll(free);
		figures->held += (uint64_t)__builtin_popcountll(
			free & held_bits(leaf, word, SPACE_PLACED));
		if (used)
			figures->end = start + word * UINT64_C(64) + 64 -
			               (uint64_t)__builtin_clzll(used);
	}
}

int space_file_figures(const struct space *space, uint32_t file_id,
                       struct space_figures *figures)
{
	const struct file *file = find_file(space, file_id);
	struct space_figures sum = { 0 };

	if (!file || !get32(&file->built))
		return ERR_MISSING;
	sum.capacity = get64(&file->capacity);
	for (uint64_t at = 0; at < sum.capacity; at += LEAF_UNITS) {
		const struct leaf *leaf = find_leaf(
			space, file_id, (uint32_t)(at / LEAF_UNITS));

		if (leaf)
			add_figures(leaf, at, sum.capacity - at, &sum);
	}
	*figures = sum;
	return ERR_NONE;
}

bool space_is_held(const struct space *space, uint32_t file_id, uint32_t place,
                   enum space_use use)
{
	struct spot spot = spot_of(place, 1);
	const struct leaf *leaf;

	if (!head_of(space))
		return false;
	leaf = find_leaf(space, file_id, place / LEAF_UNITS);
	return leaf && held_bits(leaf, spot.word, use) & spot.mask;
}

bool space_is_free(const struct space *space, uint32_t file_id, uint32_t place)
{
	struct spot spot = spot_of(place, 1);
	const struct leaf *leaf;

	if (!space_file_built(space, file_id))
		return false;
	leaf = find_leaf(space, file_id, place / LEAF_UNITS);
	return leaf && get64(&leaf->free[spot.word]) & spot.mask;
}
