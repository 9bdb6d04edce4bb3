/*
 * change.h - one change of a tree, all or nothing. Private to btree/.
 *
 * A change first acquires everything it needs (the state, pages to edit, new
 * pages), any of which may fail, and only then touches bytes. When acquiring
 * fails, change_abandon() gives the new pages back and the tree is as it was.
 *
 * Pages that cannot be freed at once (the pager failed, or there are thousands
 * in a chain) hang on the state's garbage chain and are freed by this or later
 * changes; so no failure loses a page.
 */
#ifndef TURDB_BTREE_CHANGE_H
#define TURDB_BTREE_CHANGE_H

#include "btree/tree.h"

struct change {
	struct btree *tree;
	struct tree_state state; /* as it shall be afterwards             */
	uint8_t *state_bytes;    /* editable                              */
	struct change_page {
		uint32_t page_no;
		uint8_t *page;
	} taken[NODE_DEPTH_MAX + 1];
	uint32_t taken_count;
	struct change_page chain_first, chain_last; /* overflow pages taken */
	struct change_page discarded; /* a node that the tree no longer has   */
	uint32_t disposed;       /* first page of a chain to be freed     */
};

/* Acquires the state. On failure there is nothing to abandon. */
int change_begin(struct change *change, struct btree *tree,
                 const struct tree_state *state, struct err *err);

/* A new page, remembered until the change ends. */
int change_allocate(struct change *change, enum page_kind kind,
                    struct change_page *taken, struct err *err);

/* Takes overflow pages for all of `value` but its first `local_size` bytes and
 * fills them. The chain begins at change->chain_first. */
int change_allocate_chain(struct change *change, struct span value,
                          uint32_t local_size, struct err *err);

/* The chain that begins at `page_no` is to be freed when the change is done. */
int change_dispose_chain(struct change *change, uint32_t page_no,
                         struct err *err);

/* The node at `page_no` is to be freed when the change is done; `page` becomes
 * its editable bytes, so that this cannot fail then. */
int change_discard(struct change *change, uint32_t page_no, struct err *err);

/* Frees what this change took; its state is forgotten. */
void change_abandon(struct change *change);

/* Writes the state, then frees what was disposed of. Cannot fail. */
void change_finish(struct change *change);

#endif
