/*
 * space_block.c - the allocator's blocks: made, found, given back.
 *
 * Purpose       One pool of 4 KB blocks in shared memory and one hash in which
 *               those that belong to files are found.
 * Structures    The hash grows one bucket at a time (linear hashing), so that no
 *               operation ever copies all of it; without memory its chains get
 *               longer. Free blocks are a list.
 * Performance   Finding a block is two cache lines and its own.
 * Safety        Keeps S1, S2 and S4 of space_private.h. Readers without the
 *               lock follow chains that change under them: they may miss a block,
 *               and give up after many hops, but touch nothing outside the chunks.
 */
#include "vfs/space_private.h"

enum { HOPS_MAX = 100000 }; /* of a reader whose chain changes under it */

/* --- the pool ------------------------------------------------------------- */

void space_block_free(struct space_head *head, struct space_block *block,
                      uint32_t number)
{
	space_set32(&block->kind, BLOCK_FREE);
	space_in_this_order();
	space_set32(&block->next, head->free_first);
	head->free_first = number;
}

/* Clears a block but for the list of chunks, which is never touched: (vfs/space_private S1). */
static void wipe_block(struct space_block *block)
{
	uint64_t *words = (uint64_t *)(void *)block;

	for (size_t i = 0; i < BLOCK_SIZE / 8; i++)
		if (i != offsetof(struct space_block, chunk_next) / 8)
			space_set64(&words[i], 0);
}

static int add_chunk(struct space *space, struct space_head *head,
                     struct err *err)
{
	uint32_t chunk;
	struct space_block *first;
	int rc = space->memory.grow(space->memory.context, &chunk, err);

	if (rc)
		return rc;
	first = space_block_at(space, chunk * CHUNK_BLOCKS);
	first->chunk_next = head->chunk_first;
	space_in_this_order();
	head->chunk_first = chunk;
	for (uint32_t i = CHUNK_BLOCKS; i-- > 0;) {
		uint32_t number = chunk * CHUNK_BLOCKS + i;

		space_block_free(head, space_block_at(space, number), number);
	}
	return ERR_NONE;
}

/* A cleared block, still of kind FREE. */
static int take_block(struct space *space, struct space_head *head,
                      uint32_t *number, struct err *err)
{
	struct space_block *block;
	int rc;

	if (head->free_first == 0) {
		rc = add_chunk(space, head, err);
		if (rc)
			return rc;
	}
	*number = head->free_first;
	block = space_block_at(space, *number);
	head->free_first = block->next;
	wipe_block(block);
	return ERR_NONE;
}

/* The first chunk: its first block is the head, its second the first buckets. */
int space_head_make(struct space *space, struct space_head **head,
                    struct err *err)
{
	struct space_buckets *buckets;
	struct space_head *made;
	uint32_t chunk;
	int rc;

	*head = space_head(space);
	if (*head)
		return ERR_NONE;
	rc = space->memory.grow(space->memory.context, &chunk, err);
	if (rc)
		return rc;
	made = space_block_at(space, chunk * CHUNK_BLOCKS);
	made->block.kind = BLOCK_HEAD;
	made->chunk_first = chunk;
	made->epoch = 1;
	made->bucket_count = BUCKETS_PER_BLOCK;
	made->bucket_block_count = 1;
	made->bucket_blocks[0] = chunk * CHUNK_BLOCKS + 1;
	buckets = space_block_at(space, made->bucket_blocks[0]);
	buckets->block.kind = BLOCK_BUCKETS;
	for (uint32_t i = CHUNK_BLOCKS; i-- > 2;) {
		uint32_t number = chunk * CHUNK_BLOCKS + i;

		space_block_free(made, space_block_at(space, number), number);
	}
	__atomic_store_n(&space->root->directory_chunk, chunk,
	                 __ATOMIC_RELEASE);
	*head = made;
	return ERR_NONE;
}

/* --- the hash ------------------------------------------------------------- */

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

static uint32_t bucket_of(const struct space_head *head, uint32_t hash)
{
	uint32_t count = __atomic_load_n(&head->bucket_count, __ATOMIC_ACQUIRE);
	uint32_t power = power_below(count);
	uint32_t bucket = hash & (2 * power - 1);

	return bucket < count ? bucket : hash & (power - 1);
}

static uint32_t *bucket_at(const struct space *space,
                           const struct space_head *head, uint32_t bucket)
{
	struct space_buckets *buckets = space_block_at(
		space, space_get32(&head->bucket_blocks[bucket / BUCKETS_PER_BLOCK]));

	return &buckets->first[bucket % BUCKETS_PER_BLOCK];
}

/* The block of (file, leaf) or NULL; *number says which it is. */
void *space_block_find(const struct space *space, const struct space_head *head,
                       uint32_t file_id, uint32_t leaf_no, uint32_t *number)
{
	uint32_t hash = hash_of(file_id, leaf_no);
	uint32_t at = space_get32(bucket_at(space, head, bucket_of(head, hash)));

	for (uint32_t hops = 0; at && hops < HOPS_MAX; hops++) {
		struct space_block *block = space_block_at(space, at);

		if (space_get32(&block->file_id) == file_id &&
		    space_get32(&block->leaf_no) == leaf_no &&
		    space_get32(&block->kind) >= BLOCK_FILE) {
			*number = at;
			return block;
		}
		at = space_get32(&block->next);
	}
	return NULL;
}

void space_block_enter(struct space *space, struct space_head *head,
                       struct space_block *block, uint32_t number)
{
	uint32_t hash = hash_of(block->file_id, block->leaf_no);
	uint32_t *bucket = bucket_at(space, head, bucket_of(head, hash));

	space_set32(&block->next, space_get32(bucket));
	space_in_this_order();
	space_set32(bucket, number);
	head->entry_count++;
}

static void hash_remove(struct space *space, struct space_head *head,
                        struct space_block *block, uint32_t number)
{
	uint32_t hash = hash_of(block->file_id, block->leaf_no);
	uint32_t *at = bucket_at(space, head, bucket_of(head, hash));

	while (*at != number)
		at = &((struct space_block *)space_block_at(space, *at))->next;
	space_set32(at, block->next);
	head->entry_count--;
}

/* Moves what belongs to the new bucket out of the one that stood for both. */
static void split_bucket(struct space *space, struct space_head *head)
{
	uint32_t bucket = head->bucket_count;
	uint32_t power = power_below(bucket);
	uint32_t *from = bucket_at(space, head, bucket - power);
	uint32_t *to = bucket_at(space, head, bucket);

	space_set32(to, 0);
	while (*from) {
		uint32_t number = *from;
		struct space_block *block = space_block_at(space, number);
		uint32_t hash = hash_of(block->file_id, block->leaf_no);

		if ((hash & (2 * power - 1)) != bucket) {
			from = &block->next;
			continue;
		}
		space_set32(from, block->next);
		space_set32(&block->next, *to);
		space_set32(to, number);
	}
	__atomic_store_n(&head->bucket_count, bucket + 1, __ATOMIC_RELEASE);
}

/* One more bucket when chains grow long. Without memory they stay long. */
static void hash_grow(struct space *space, struct space_head *head)
{
	uint32_t blocks = head->bucket_block_count, number;
	struct space_block *block;

	if (head->entry_count <= head->bucket_count)
		return;
	if (head->bucket_count == blocks * BUCKETS_PER_BLOCK) {
		if (blocks == BUCKET_BLOCKS_MAX ||
		    take_block(space, head, &number, NULL))
			return;
		block = space_block_at(space, number);
		space_set32(&block->kind, BLOCK_BUCKETS);
		space_set32(&head->bucket_blocks[blocks], number);
		space_in_this_order();
		head->bucket_block_count = blocks + 1;
	}
	split_bucket(space, head);
}

void space_hash_clear(struct space *space, struct space_head *head)
{
	head->entry_count = 0;
	for (uint32_t i = 0; i < head->bucket_count; i++)
		space_set32(bucket_at(space, head, i), 0);
}

static int make_block(struct space *space, struct space_head *head,
                      enum block_kind kind, uint32_t file_id, uint32_t leaf_no,
                      void **made, struct err *err)
{
	struct space_block *block;
	uint32_t number;
	int rc;

	hash_grow(space, head);
	rc = take_block(space, head, &number, err);
	if (rc)
		return rc;
	block = space_block_at(space, number);
	space_set32(&block->file_id, file_id);
	space_set32(&block->leaf_no, leaf_no);
	space_in_this_order(); /* (vfs/space_private S2) */
	space_set32(&block->kind, kind);
	space_block_enter(space, head, block, number);
	*made = block;
	return ERR_NONE;
}

void space_block_drop(struct space *space, struct space_head *head,
                      struct space_block *block, uint32_t number)
{
	hash_remove(space, head, block, number);
	space_block_free(head, block, number);
}

/* --- files and leaves ----------------------------------------------------- */

struct space_file *space_file_find(const struct space *space,
                                   const struct space_head *head,
                                   uint32_t file_id)
{
	uint32_t number;

	return head ? space_block_find(space, head, file_id, NO_LEAF, &number) : NULL;
}

struct space_leaf *space_leaf_find(const struct space *space,
                                   const struct space_head *head,
                                   uint32_t file_id, uint32_t leaf_no)
{
	uint32_t number;

	return head ? space_block_find(space, head, file_id, leaf_no, &number) : NULL;
}

int space_file_make(struct space *space, struct space_head *head,
                    uint32_t file_id, struct space_file **file, struct err *err)
{
	void *made = space_file_find(space, head, file_id);
	int rc = ERR_NONE;

	if (!made)
		rc = make_block(space, head, BLOCK_FILE, file_id, NO_LEAF,
		                &made, err);
	if (!rc)
		*file = made;
	return rc;
}

int space_leaf_make(struct space *space, struct space_head *head,
                    struct space_file *file, uint32_t leaf_no,
                    struct space_leaf **leaf, struct err *err)
{
	uint32_t file_id = file->block.file_id;
	void *made = space_leaf_find(space, head, file_id, leaf_no);
	int rc = ERR_NONE;

	if (!made)
		rc = make_block(space, head, BLOCK_LEAF, file_id, leaf_no,
		                &made, err);
	if (rc)
		return rc;
	if (file->leaf_end <= leaf_no)
		space_set32(&file->leaf_end, leaf_no + 1);
	*leaf = made;
	return ERR_NONE;
}
