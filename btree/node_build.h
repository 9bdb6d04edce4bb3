/*
 * node_build.h - sequences of entries, measured and written as whole pages.
 *
 * Splits, merges and rebuilds look at a sequence: the entries of one node or
 * of two neighbours, with one entry put in or over another. A sequence is first
 * measured, which checks every cell in it; a measured sequence is written
 * without any further failure. Private to btree/.
 */
#ifndef TURDB_BTREE_NODE_BUILD_H
#define TURDB_BTREE_NODE_BUILD_H

#include "btree/node.h"

struct sequence {
	const struct node *left, *right; /* `right` may be NULL              */
	/* Interior neighbours: the parent's separator between them, which
	 * becomes the key of the right node's first child. */
	const struct entry *between;
	const struct entry *inserted;    /* NULL = none                      */
	uint32_t insert_at;              /* its index in the sequence        */
	bool replaces;                   /* ... where it takes the place of
	                                    the entry that was there         */
};

uint32_t sequence_count(const struct sequence *sequence);

/* The node an entry comes from, and its slot there; NULL: it is the inserted one. */
static inline const struct node *sequence_source(const struct sequence *sequence,
                                                 uint32_t index, uint32_t *slot)
{
	if (sequence->inserted && index >= sequence->insert_at) {
		if (index == sequence->insert_at)
			return NULL;
		index -= !sequence->replaces;
	}
	if (index < sequence->left->count) {
		*slot = index;
		return sequence->left;
	}
	*slot = index - sequence->left->count;
	return sequence->right;
}

/* A leaf's cell, if the entry comes from a leaf with this prefix: then it is the
 * same, byte by byte, in a new page with that prefix, and needs not be taken apart. */
enum cell_as_it_is { CELL_DAMAGED, CELL_OTHER, CELL_AS_IT_IS };
static inline enum cell_as_it_is sequence_cell(const struct sequence *sequence,
                                               uint32_t index, uint32_t prefix,
                                               const struct node **source,
                                               uint32_t *slot,
                                               struct leaf_cell *cell)
{
	const struct node *node = sequence_source(sequence, index, slot);

	if (!node || node->level || node->prefix_size != prefix)
		return CELL_OTHER;
	*source = node;
	return leaf_cell_parse(node->page, node->cells, node->usable_size,
	                       node->rowid, node_ref(node, *slot), cell) &&
	       prefix + cell->key_size <= BTREE_KEY_SIZE_MAX
	               ? CELL_AS_IT_IS : CELL_DAMAGED;
}

/* What the entry's cell takes in a page with this prefix, and how long its key is;
 * `keyless`: as the first of an interior page. False: damaged. */
bool sequence_cell_size(const struct sequence *sequence, uint32_t index,
                        uint32_t prefix, bool keyless, uint32_t *size,
                        uint32_t *key_size);

/* False when the entry's cell leaves its page. */
bool sequence_entry(const struct sequence *sequence, uint32_t index,
                    struct entry *entry);

/* The longest prefix that the keys of a page of entries [from, to) share: 0 with
 * fewer than two keys (the first entry of an interior page has none). */
bool sequence_prefix(const struct sequence *sequence, uint32_t from,
                     uint32_t to, uint32_t *prefix_size);

/* Bytes that the page needs, and the size of its shortest key; false when an
 * entry is damaged or shorter than the prefix. */
struct measure {
	uint32_t bytes, key_size_min;
};
bool sequence_measure(const struct sequence *sequence, uint32_t from,
                      uint32_t to, uint32_t prefix_size,
                      struct measure *measure);

/* How entries [from, to) lie in a page of their own. */
struct layout {
	uint32_t prefix_size;
	uint32_t bytes; /* not fewer than the page needs */
	bool fits;
};

/* With the longest prefix; or, because a prefix in front of short keys costs
 * more than it saves, with one of `prefix_shorter` bytes or none if the page
 * cannot hold them else. False when an entry is damaged. */
bool sequence_layout(const struct sequence *sequence, uint32_t from,
                     uint32_t to, uint32_t prefix_shorter,
                     struct layout *layout);

/* Writes a page of entries [from, to) in a layout found for them. `page` is none
 * of the sequence's own. */
void sequence_write(const struct sequence *sequence, uint32_t from,
                    uint32_t to, const struct layout *layout, uint32_t next,
                    uint8_t *page);

/* An empty node. */
void node_init(uint8_t *page, uint32_t usable_size, enum btree_keys keys,
               uint8_t level);

#endif
