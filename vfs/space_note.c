/*
 * space_note.c - what records after the durable checkpoint did with places.
 *
 * Notes are bitmaps of two generations. Those of records before the checkpoint
 * candidate are the older ones; when it is durable, they are forgotten. Leaves with
 * notes are on a list, so that a checkpoint costs what was noted, not what there
 * is. Keeps S3 of space_private.h.
 */
#include "vfs/space_private.h"

void space_note_list(struct space_head *head, struct space_leaf *leaf,
                     uint32_t number, uint32_t generation)
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
	struct space_spot spot = space_spot(place, units);
	uint32_t number, leaf_no = place / LEAF_UNITS;
	struct space_head *head;
	struct space_file *file;
	struct space_leaf *leaf;
	uint64_t *bits;
	int rc;

	if ((units != 1 && units != 4) || place % units)
		return space_refuse(err, ERR_CORRUPT, "note a place of", file_id,
		                    "is not aligned to its size", place, units);
	rc = space_head_make(space, &head, err);
	if (rc)
		return rc;
	leaf = space_block_find(space, head, file_id, leaf_no, &number);
	if (!leaf) {
		rc = space_file_make(space, head, file_id, &file, err);
		if (!rc)
			rc = space_leaf_make(space, head, file, leaf_no, &leaf, err);
		if (rc)
			return rc;
		space_block_find(space, head, file_id, leaf_no, &number);
	}
	bits = use == SPACE_PLACED ? leaf->placed[head->current] :
	                             leaf->logged[head->current];
	space_set64(&bits[spot.word], bits[spot.word] | spot.mask);
	space_note_list(head, leaf, number, head->current);
	return ERR_NONE;
}

/* Keeps (vfs/space_private S3). */
static void merge_words(uint64_t *to, uint64_t *from)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		if (from[word])
			space_set64(&to[word], to[word] | from[word]);
	space_in_this_order();
	for (uint32_t word = 0; word < LEAF_WORDS; word++)
		if (from[word])
			space_set64(&from[word], 0);
}

/* Takes the first leaf off a generation's list. */
static struct space_leaf *unlist_noted(struct space *space,
                                       struct space_head *head,
                                       uint32_t generation, uint32_t *number)
{
	struct space_leaf *leaf;

	*number = head->noted_first[generation];
	if (*number == 0)
		return NULL;
	leaf = space_block_at(space, *number);
	head->noted_first[generation] = leaf->noted_next[generation];
	leaf->noted[generation] = 0;
	return leaf;
}

void space_generation_begin(struct space *space)
{
	struct space_head *head = space_head(space);
	uint32_t current, older, number;
	struct space_leaf *leaf;

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
		space_note_list(head, leaf, number, older);
	}
}

void space_generation_end(struct space *space)
{
	struct space_head *head = space_head(space);
	uint32_t older, number;
	struct space_leaf *leaf;

	if (!head)
		return;
	older = head->current ^ 1;
	while ((leaf = unlist_noted(space, head, older, &number))) {
		for (uint32_t word = 0; word < LEAF_WORDS; word++) {
			space_set64(&leaf->placed[older][word], 0);
			space_set64(&leaf->logged[older][word], 0);
		}
	}
	head->epoch++;
}
