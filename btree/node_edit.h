/*
 * node_edit.h - changes one page in place: an entry in, out or over another.
 *
 * Pure, and frugal: what is not part of the change keeps its place, because the
 * store logs every byte that differs. A place is found first, on the page as it
 * is read; then the same page, now editable, takes the entry and cannot fail.
 * Private to btree/.
 */
#ifndef TURDB_BTREE_NODE_EDIT_H
#define TURDB_BTREE_NODE_EDIT_H

#include "btree/node.h"

enum node_place_how {
	PLACE_NONE,    /* the page is too full                              */
	PLACE_REBUILD, /* enough room, once the page is written anew        */
	PLACE_GAP,     /* the cell goes below the others                    */
	PLACE_HOLE,    /* the cell goes where another was                   */
};

struct node_place {
	enum node_place_how how;
	uint32_t room;      /* slots the arrays shall have room for        */
	uint32_t hole_link; /* where the ref to the hole lies              */
	uint32_t hole;
};

/* Looks for room for one more entry whose cell has `cell_size` bytes. */
struct node_place node_place_new(const struct node *node, uint32_t cell_size);

/* The same for a larger cell of an entry that is there. `old_size` is the size
 * of the cell that it leaves. */
struct node_place node_place_larger(const struct node *node,
                                    uint32_t cell_size, uint32_t old_size);

/* Puts a new entry before `slot`; its key shares the page's prefix and
 * `entry->prefix` says so. `node` views `page`, the place was found on it. */
void node_insert(uint8_t *page, const struct node *node,
                 const struct node_place *place, uint32_t slot,
                 const struct entry *entry);

/* Takes the entry at `slot` out; `cell_size` as found by reading it. */
void node_remove(uint8_t *page, const struct node *node, uint32_t slot,
                 uint32_t cell_size);

/* Writes the entry over that at `slot`, whose cell has `old_size` bytes; the new
 * cell is not larger. The key stays. */
void leaf_overwrite(uint8_t *page, const struct node *node, uint32_t slot,
                    uint32_t old_size, const struct entry *entry);

/* The same with a larger cell at the place found for it. */
void leaf_replace(uint8_t *page, const struct node *node,
                  const struct node_place *place, uint32_t slot,
                  uint32_t old_size, const struct entry *entry);

/* The size of the cell at `slot`; false when it leaves the page. */
bool node_cell_size(const struct node *node, uint32_t slot, uint32_t *size);

#endif
