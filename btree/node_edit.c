/*
 * node_edit.c - places entries in a page and takes them out again.
 *
 * A new cell goes into the gap between the arrays and the cells, or into a
 * hole. When arrays have no room left they grow by up to ROOM_STEP slots at a
 * time, so that an append moves nothing but itself; when the last bytes are
 * wanted, spare slots are given up first. Only then the page is rebuilt.
 *
 * (N1) Cells lie above `cells`, arrays below. (N2) dead = the bytes above
 * `cells` that belong to no cell.
 */
#include "btree/node_edit.h"

#include <assert.h>
#include <string.h>

enum { ROOM_STEP = 16, HOLES_TRIED_MAX = 8, PREFIX_WORTH_BITS = 40,
       PREFIX_WORTH_COUNT = 8 };

static void set16(uint8_t *page, uint32_t at, uint32_t value)
{
	store_le16(page + at, (uint16_t)value);
}

/* The first hole that is large enough; false as well when the list is odd. */
static bool hole_find(const struct node *node, uint32_t size,
                      struct node_place *place)
{
	uint32_t link = NODE_HOLE_AT, hole, hole_size;

	for (int tried = 0; tried < HOLES_TRIED_MAX; tried++) {
		hole = load_le16(node->page + link);
		if (hole < node->cells ||
		    hole + HOLE_SIZE_MIN > node->usable_size)
			return false;
		hole_size = load_le16(node->page + hole + HOLE_SIZE_AT);
		if (hole_size < HOLE_SIZE_MIN ||
		    hole + hole_size > node->usable_size)
			return false;
		if (hole_size >= size) {
			place->hole_link = link;
			place->hole = hole;
			return true;
		}
		link = hole + HOLE_NEXT_AT;
	}
	return false;
}

/* Keys that share much more than the prefix says would be searched slowly; the
 * moment the arrays must move anyway is the one to write the page anew. */
static bool prefix_is_too_short(const struct node *node)
{
	uint32_t first = node_is_leaf(node) ? 0 : 1;

	if (node->rowid || node->count < PREFIX_WORTH_COUNT)
		return false;
	return (node_head(node, first) ^ node_head(node, node->count - 1)) >>
	       (64 - PREFIX_WORTH_BITS) == 0;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Where the arrays, grown by `slots_new`, still end below the cells (N1). */
static struct node_place place_find(const struct node *node,
                                    uint32_t cell_size, uint32_t slots_new,
                                    uint32_t given_back)
{
	uint32_t stride = node_stride_of(node);
	uint32_t count = node->count + slots_new;
	uint32_t base = node_heads_at(node->prefix_size);
	struct node_place place = { .how = PLACE_NONE, .room = node->room };
	uint32_t gap; /* with no slot to spare */

	if (node_used(node) + stride * slots_new + cell_size >
	    node->usable_size + given_back)
		return place;
	place.how = PLACE_REBUILD;
	if (base + count * stride > node->cells)
		return place;
	gap = node->cells - base - count * stride;
	if (count > node->room && prefix_is_too_short(node))
		return place;
	if (gap >= cell_size) {
		uint32_t spare = (gap - cell_size) / stride;

		place.how = PLACE_GAP;
		if (count > node->room)
			place.room = count + smaller(spare, ROOM_STEP - 1);
		else if (node->room - count > spare)
			place.room = count;
	} else if (hole_find(node, cell_size, &place)) {
		place.how = PLACE_HOLE;
		if (count > node->room)
			place.room = count;
	}
	return place;
}

struct node_place node_place_new(const struct node *node, uint32_t cell_size)
{
	return place_find(node, cell_size, 1, 0);
}

struct node_place node_place_larger(const struct node *node,
                                    uint32_t cell_size, uint32_t old_size)
{
	return place_find(node, cell_size, 0, old_size);
}

/* Moves the arrays behind the heads so that there is room for `room` slots. */
static void room_set(uint8_t *page, const struct node *node, uint32_t room)
{
	uint8_t *base = page + node_heads_at(node->prefix_size);
	uint8_t *behind_old = base + node->room * NODE_HEAD_SIZE;
	uint8_t *behind_new = base + room * NODE_HEAD_SIZE;
	uint32_t refs_size = node->count * NODE_REF_SIZE;
	uint32_t children_size = node->count * NODE_CHILD_SIZE;

	if (node_is_leaf(node)) {
		memmove(behind_new, behind_old, refs_size);
	} else if (node->rowid) {
		memmove(behind_new, behind_old, children_size);
	} else if (room > node->room) {
		memmove(behind_new + room * NODE_CHILD_SIZE,
		        behind_old + node->room * NODE_CHILD_SIZE, refs_size);
		memmove(behind_new, behind_old, children_size);
	} else {
		memmove(behind_new, behind_old, children_size);
		memmove(behind_new + room * NODE_CHILD_SIZE,
		        behind_old + node->room * NODE_CHILD_SIZE, refs_size);
	}
	set16(page, NODE_ROOM_AT, room);
}

static uint32_t dead_of(const uint8_t *page)
{
	return load_le16(page + NODE_DEAD_AT);
}

static uint32_t hole_take(uint8_t *page, const struct node_place *place,
                          uint32_t size)
{
	uint8_t *hole = page + place->hole;
	uint32_t left = load_le16(hole + HOLE_SIZE_AT) - size;

	set16(page, NODE_DEAD_AT, dead_of(page) - size);
	if (left >= HOLE_SIZE_MIN) {
		set16(hole, HOLE_SIZE_AT, left);
		return place->hole + left;
	}
	set16(page, place->hole_link, load_le16(hole + HOLE_NEXT_AT));
	return place->hole;
}

static uint32_t cell_take(uint8_t *page, const struct node *node,
                          const struct node_place *place, uint32_t size)
{
	if (place->how == PLACE_HOLE)
		return hole_take(page, place, size);
	assert(place->how == PLACE_GAP);
	set16(page, NODE_CELLS_AT, node->cells - size);
	return node->cells - size;
}

/* Bytes [at, at + size) of the cell area are no longer used (N2). */
static void cell_give(uint8_t *page, uint32_t at, uint32_t size)
{
	uint32_t cells = load_le16(page + NODE_CELLS_AT);

	if (!size)
		return;
	if (at == cells) {
		set16(page, NODE_CELLS_AT, cells + size);
		return;
	}
	set16(page, NODE_DEAD_AT, dead_of(page) + size);
	if (size < HOLE_SIZE_MIN)
		return;
	set16(page + at, HOLE_NEXT_AT, load_le16(page + NODE_HOLE_AT));
	set16(page + at, HOLE_SIZE_AT, size);
	set16(page, NODE_HOLE_AT, at);
}

static void slot_open(uint8_t *array, uint32_t item_size, uint32_t count,
                      uint32_t slot)
{
	memmove(array + (slot + 1) * item_size, array + slot * item_size,
	        (count - slot) * item_size);
}

static void slot_close(uint8_t *array, uint32_t item_size, uint32_t count,
                       uint32_t slot)
{
	memmove(array + slot * item_size, array + (slot + 1) * item_size,
	        (count - slot - 1) * item_size);
}

static uint8_t *editable(uint8_t *page, const struct node *node,
                         const uint8_t *at)
{
	return page + (at - node->page);
}

void node_insert(uint8_t *page, const struct node *node,
                 const struct node_place *place, uint32_t slot,
                 const struct entry *entry)
{
	bool leaf = node_is_leaf(node), rowid = node->rowid;
	uint32_t size = entry_cell_size(entry, (uint32_t)entry->prefix.size,
	                                leaf, rowid);
	uint32_t count = node->count, ref = entry->key_size;
	struct node now = *node;

	if (place->room != node->room) {
		room_set(page, node, place->room);
		node_parse(&now, page, node->usable_size,
		           rowid ? BTREE_KEYS_ROWID : BTREE_KEYS_BYTES);
	}
	if (size) {
		ref = cell_take(page, &now, place, size);
		entry_cell_write(entry, leaf, rowid, page + ref);
	}
	slot_open(editable(page, &now, now.heads), NODE_HEAD_SIZE, count, slot);
	store_le64(editable(page, &now, now.heads) + slot * NODE_HEAD_SIZE,
	           entry->head);
	if (!leaf) {
		uint8_t *children = editable(page, &now, now.children);

		slot_open(children, NODE_CHILD_SIZE, count, slot);
		store_le32(children + slot * NODE_CHILD_SIZE, entry->child);
	}
	if (now.refs) {
		uint8_t *refs = editable(page, &now, now.refs);

		slot_open(refs, NODE_REF_SIZE, count, slot);
		set16(refs, slot * NODE_REF_SIZE, ref);
	}
	set16(page, NODE_COUNT_AT, count + 1);
}

bool node_cell_size(const struct node *node, uint32_t slot, uint32_t *size)
{
	struct leaf_cell cell;
	const uint8_t *rest;
	uint32_t key_size;

	*size = 0;
	if (node_is_leaf(node)) {
		if (!leaf_cell_read(node, slot, &cell))
			return false;
		*size = cell.size;
		return true;
	}
	if (slot == 0)
		return true;
	if (!interior_key_read(node, slot, &key_size, &rest))
		return false;
	if (rest)
		*size = (uint32_t)(rest - node->page) - node_ref(node, slot) +
		        key_rest_size(key_size);
	return true;
}

void node_remove(uint8_t *page, const struct node *node, uint32_t slot,
                 uint32_t cell_size)
{
	uint32_t count = node->count;

	if (cell_size)
		cell_give(page, node_ref(node, slot), cell_size);
	slot_close(editable(page, node, node->heads), NODE_HEAD_SIZE, count,
	           slot);
	if (!node_is_leaf(node))
		slot_close(editable(page, node, node->children),
		           NODE_CHILD_SIZE, count, slot);
	if (node->refs)
		slot_close(editable(page, node, node->refs), NODE_REF_SIZE,
		           count, slot);
	set16(page, NODE_COUNT_AT, count - 1);
	if (count == 1) {
		set16(page, NODE_CELLS_AT, node->usable_size);
		set16(page, NODE_DEAD_AT, 0);
		set16(page, NODE_HOLE_AT, 0);
	}
}

void leaf_overwrite(uint8_t *page, const struct node *node, uint32_t slot,
                    uint32_t old_size, const struct entry *entry)
{
	uint32_t ref = node_ref(node, slot);
	uint32_t size = entry_cell_size(entry, (uint32_t)entry->prefix.size,
	                                true, node->rowid);

	assert(size <= old_size);
	entry_cell_write(entry, true, node->rowid, page + ref);
	cell_give(page, ref + size, old_size - size);
}

void leaf_replace(uint8_t *page, const struct node *node,
                  const struct node_place *place, uint32_t slot,
                  uint32_t old_size, const struct entry *entry)
{
	uint32_t size = entry_cell_size(entry, (uint32_t)entry->prefix.size,
	                                true, node->rowid);
	uint32_t old_ref = node_ref(node, slot), ref;
	struct node now = *node;

	if (place->room != node->room) {
		room_set(page, node, place->room);
		node_parse(&now, page, node->usable_size,
		           node->rowid ? BTREE_KEYS_ROWID : BTREE_KEYS_BYTES);
	}
	ref = cell_take(page, &now, place, size);
	entry_cell_write(entry, true, node->rowid, page + ref);
	set16(editable(page, &now, now.refs), slot * NODE_REF_SIZE, ref);
	cell_give(page, old_ref, old_size);
}
