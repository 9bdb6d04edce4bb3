/*
 * space_reset.c - files are forgotten, and all is made anew after a death.
 *
 * Starting over trusts S1 to S4 of space_private.h and nothing else. It may be
 * cut off itself: whoever comes next starts over again.
 */
#include "vfs/space_private.h"

/* --- forgetting ----------------------------------------------------------- */

static void unlist_file(struct space *space, struct space_head *head,
                        uint32_t file_id, uint32_t generation)
{
	uint32_t *at = &head->noted_first[generation];

	while (*at) {
		struct space_leaf *leaf = space_block_at(space, *at);

		if (leaf->block.file_id == file_id)
			*at = leaf->noted_next[generation];
		else
			at = &leaf->noted_next[generation];
	}
}

/* Keeps (vfs/space_private S4). */
void space_file_forget(struct space *space, uint32_t file_id)
{
	struct space_head *head = space_head(space);
	uint32_t number;
	struct space_file *file;
	struct space_leaf *leaf;

	file = space_file_find(space, head, file_id);
	if (!file)
		return;
	unlist_file(space, head, file_id, 0);
	unlist_file(space, head, file_id, 1);
	for (uint32_t i = 0; i < file->leaf_end; i++) {
		leaf = space_block_find(space, head, file_id, i, &number);
		if (leaf)
			space_block_drop(space, head, &leaf->block, number);
	}
	space_block_find(space, head, file_id, NO_LEAF, &number);
	space_block_drop(space, head, &file->block, number);
}

/* --- starting over -------------------------------------------------------- */

static bool has_notes(const struct space_leaf *leaf, uint32_t generation)
{
	uint64_t any = 0;

	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		any |= leaf->placed[generation][word] |
		       leaf->logged[generation][word];
	return any;
}

static void for_each_block(struct space *space, struct space_head *head,
                           void (*each)(struct space *space,
                                        struct space_head *head,
                                        struct space_block *block,
                                        uint32_t number, bool notes_too),
                           bool notes_too)
{
	uint32_t chunk = head->chunk_first;

	while (chunk) {
		struct space_block *first =
			space_block_at(space, chunk * CHUNK_BLOCKS);

		for (uint32_t i = CHUNK_BLOCKS; i-- > 0;) {
			uint32_t number = chunk * CHUNK_BLOCKS + i;

			each(space, head, space_block_at(space, number), number,
			     notes_too);
		}
		chunk = first->chunk_next;
	}
}

static bool is_bucket_block(const struct space_head *head, uint32_t number)
{
	for (uint32_t i = 0; i < head->bucket_block_count; i++)
		if (head->bucket_blocks[i] == number)
			return true;
	return false;
}

/* First round: files go into the emptied hash, leaves wait. */
static void reset_file(struct space *space, struct space_head *head,
                       struct space_block *block, uint32_t number,
                       bool notes_too)
{
	struct space_file *file = (struct space_file *)block;

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
		space_file_clear(space, head, file);
		space_block_enter(space, head, block, number);
		return;
	}
	space_block_free(head, block, number);
}

/* Second round: leaves with notes stay. */
static void reset_leaf(struct space *space, struct space_head *head,
                       struct space_block *block, uint32_t number,
                       bool notes_too)
{
	struct space_leaf *leaf = (struct space_leaf *)block;
	struct space_file *file;

	if (block->kind != BLOCK_LEAF)
		return;
	file = notes_too ? NULL : space_file_find(space, head, block->file_id);
	if (!file || (!has_notes(leaf, 0) && !has_notes(leaf, 1))) {
		space_block_free(head, block, number);
		return;
	}
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		space_set64(&leaf->free[word], 0);
	leaf->free_units = leaf->free_quads = 0;
	leaf->holed[0] = leaf->holed[1] = 0;
	space_block_enter(space, head, block, number);
	if (file->leaf_end <= block->leaf_no)
		space_set32(&file->leaf_end, block->leaf_no + 1);
	for (uint32_t generation = 0; generation < 2; generation++) {
		leaf->noted[generation] = 0;
		if (has_notes(leaf, generation))
			space_note_list(head, leaf, number, generation);
	}
}

/* Third round: files of which no note is left go. */
static void reset_empty(struct space *space, struct space_head *head,
                        struct space_block *block, uint32_t number,
                        bool notes_too)
{
	(void)notes_too;
	if (block->kind == BLOCK_FILE &&
	    ((struct space_file *)block)->leaf_end == 0)
		space_block_drop(space, head, block, number);
}

void space_reset(struct space *space, bool notes_too)
{
	struct space_head *head = space_head(space);

	if (!head)
		return;
	head->free_first = 0;
	head->noted_first[0] = head->noted_first[1] = 0;
	head->epoch++;
	space_hash_clear(space, head);
	for_each_block(space, head, reset_file, notes_too);
	for_each_block(space, head, reset_leaf, notes_too);
	for_each_block(space, head, reset_empty, notes_too);
}
