/*
 * node.h - one page of a tree, seen as a header and its entries.
 *
 * Everything here is pure: bytes in, bytes out. A `struct node` is a page whose
 * header has been checked, so that its arrays can be used without further
 * care; what lies behind a ref is checked when it is read. Private to btree/.
 */
#ifndef TURDB_BTREE_NODE_H
#define TURDB_BTREE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "btree/btree.h"
#include "btree/btree_format.h"

/* Also where gcc 12 would else take a function that only prefetches for one
 * without effects, and drop its calls. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

struct node {
	const uint8_t *page;
	const uint8_t *heads;
	const uint8_t *children; /* interior only */
	const uint8_t *refs;     /* NULL in interior nodes of a rowid tree */
	uint32_t usable_size;
	uint32_t count, room, prefix_size, cells;
	uint8_t level;
	bool rowid;
};

/* An entry in parts, wherever they lie. Its key is the prefix, then the head's
 * bytes, then the rest. */
struct entry {
	struct span prefix;
	uint64_t head;
	uint32_t key_size;   /* what follows the prefix                      */
	const uint8_t *rest; /* what follows the head, if key_size is over 8 */
	struct span value_head, value_body; /* leaf     */
	uint32_t child;                     /* interior */
};

/* A leaf entry's cell, checked against the page's bounds. */
struct leaf_cell {
	const uint8_t *rest;
	const uint8_t *value_head;
	const uint8_t *value;
	uint32_t key_size;
	uint32_t value_head_size;
	uint32_t value_size;   /* bytes at `value` */
	uint32_t size;         /* of the whole cell */
	bool overflow;
};

static inline bool node_is_leaf(const struct node *node)
{
	return node->level == 0;
}

static inline uint32_t node_heads_at(uint32_t prefix_size)
{
	return (NODE_HEADER_SIZE + prefix_size + 7u) & ~7u;
}

/* Bytes of one slot in all arrays together. */
static inline uint32_t node_stride(bool leaf, bool rowid)
{
	if (leaf)
		return NODE_HEAD_SIZE + NODE_REF_SIZE;
	return NODE_HEAD_SIZE + NODE_CHILD_SIZE + (rowid ? 0 : NODE_REF_SIZE);
}

static inline uint32_t node_stride_of(const struct node *node)
{
	return node_stride(node_is_leaf(node), node->rowid);
}

static inline uint32_t node_slots_end(const struct node *node)
{
	return node_heads_at(node->prefix_size) +
	       node->room * node_stride_of(node);
}

/* False: these bytes are no node of such a tree. */
static inline bool node_parse(struct node *node, const uint8_t *page,
                              uint32_t usable_size, enum btree_keys keys)
{
	uint32_t heads_at;

	node->page = page;
	node->usable_size = usable_size;
	node->rowid = keys == BTREE_KEYS_ROWID;
	node->level = page[NODE_LEVEL_AT];
	node->count = load_le16(page + NODE_COUNT_AT);
	node->room = load_le16(page + NODE_ROOM_AT);
	node->cells = load_le16(page + NODE_CELLS_AT);
	node->prefix_size = load_le16(page + NODE_PREFIX_SIZE_AT);
	heads_at = node_heads_at(node->prefix_size);
	node->heads = page + heads_at;
	node->children = node->heads + node->room * NODE_HEAD_SIZE;
	node->refs = node->children;
	if (node->level)
		node->refs = node->rowid
			? NULL : node->children + node->room * NODE_CHILD_SIZE;
	return page[NODE_KIND_AT] == (node->level ? PAGE_INTERIOR : PAGE_LEAF) &&
	       page[NODE_KEYS_AT] == keys &&
	       node->count <= node->room &&
	       node->count >= (node->level ? 1 : 0) &&
	       node->prefix_size <= (node->rowid ? 0 : BTREE_KEY_SIZE_MAX) &&
	       node_slots_end(node) <= node->cells &&
	       node->cells <= usable_size;
}

static inline uint64_t node_head(const struct node *node, uint32_t slot)
{
	return load_le64(node->heads + slot * NODE_HEAD_SIZE);
}

static inline uint32_t node_child(const struct node *node, uint32_t slot)
{
	return load_le32(node->children + slot * NODE_CHILD_SIZE);
}

static inline uint32_t node_ref(const struct node *node, uint32_t slot)
{
	return load_le16(node->refs + slot * NODE_REF_SIZE);
}

static inline uint32_t node_next(const struct node *node)
{
	return load_le32(node->page + NODE_NEXT_AT);
}

static inline struct span node_prefix(const struct node *node)
{
	return span_of(node->page + NODE_HEADER_SIZE, node->prefix_size);
}

/* The first 8 bytes of a key as a number, padded with zeros. */
static inline uint64_t key_head(const uint8_t *key, size_t size)
{
	uint64_t head = 0;

	if (size >= 8)
		return load_be64(key);
	for (size_t i = 0; i < size; i++)
		head |= (uint64_t)key[i] << (56 - 8 * i);
	return head;
}

static inline uint32_t key_rest_size(uint32_t key_size)
{
	return key_size > NODE_HEAD_SIZE ? key_size - NODE_HEAD_SIZE : 0;
}

static inline uint32_t size_bytes(uint32_t size)
{
	return size < 0x80 ? 1 : 2;
}

static inline uint32_t size_write(uint8_t *at, uint32_t size)
{
	if (size < 0x80) {
		at[0] = (uint8_t)size;
		return 1;
	}
	at[0] = (uint8_t)(0x80 | size >> 8);
	at[1] = (uint8_t)size;
	return 2;
}

/* Reads a size at *at, moves on; false when it passes `end` or is none. */
static inline bool size_read(const uint8_t **at, const uint8_t *end,
                             uint32_t *size)
{
	const uint8_t *p = *at;

	if (p >= end)
		return false;
	if (p[0] < 0x80) {
		*size = p[0];
		*at = p + 1;
		return true;
	}
	if (p[0] == VALUE_OVERFLOW || end - p < 2)
		return false;
	*size = (p[0] & 0x7Fu) << 8 | p[1];
	*at = p + 2;
	return true;
}

/* How much of a large value stays in the leaf. */
static inline uint32_t value_local_size(uint32_t value_size,
                                        uint32_t usable_size)
{
	uint32_t rest = value_size % (usable_size - OVERFLOW_HEADER_SIZE);

	return rest <= usable_size / VALUE_LOCAL_DIVISOR ? rest : 0;
}

/* The cell of a leaf at `ref`; false when it leaves the cell area, which begins
 * at `cells`. */
static ALWAYS_INLINE bool leaf_cell_parse(const uint8_t *page, uint32_t cells,
                                          uint32_t usable_size, bool rowid,
                                          uint32_t ref, struct leaf_cell *cell)
{
	const uint8_t *start = page + ref, *at = start;
	const uint8_t *end = page + usable_size;
	uint32_t value_size;

	if (ref < cells || ref >= usable_size)
		return false;
	cell->key_size = NODE_HEAD_SIZE;
	if (!rowid && !size_read(&at, end, &cell->key_size))
		return false;
	cell->value_head = at;
	cell->overflow = at < end && *at == VALUE_OVERFLOW;
	if (__builtin_expect(cell->overflow, 0)) {
		if (end - at < VALUE_HEAD_SIZE_MAX)
			return false;
		value_size = load_le32(at + VALUE_OVERFLOW_SIZE_AT);
		if (value_size > VALUE_SIZE_MAX)
			return false;
		cell->value_size = value_local_size(value_size, usable_size);
		at += VALUE_HEAD_SIZE_MAX;
	} else if (!size_read(&at, end, &cell->value_size)) {
		return false;
	}
	cell->value_head_size = (uint32_t)(at - cell->value_head);
	cell->rest = at;
	cell->value = at + key_rest_size(cell->key_size);
	cell->size = (uint32_t)(at - start) + key_rest_size(cell->key_size) +
	             cell->value_size;
	return cell->size <= usable_size - ref;
}

/* The cell of a leaf's slot; false when it leaves the page. */
static inline bool leaf_cell_read(const struct node *node, uint32_t slot,
                                  struct leaf_cell *cell)
{
	return leaf_cell_parse(node->page, node->cells, node->usable_size,
	                       node->rowid, node_ref(node, slot), cell);
}

/* The separator of an interior node's slot: its size behind the prefix, and
 * where its rest lies. False when it leaves the page. */
bool interior_key_read(const struct node *node, uint32_t slot,
                       uint32_t *key_size, const uint8_t **rest);

/* Any node's entry; false when its cell leaves the page. Entry 0 of an interior
 * node has an empty key and no prefix. */
bool node_entry(const struct node *node, uint32_t slot, struct entry *entry);

/* Bytes of the page that are in use by header, arrays and live cells. */
uint32_t node_used(const struct node *node);

/* An entry for `key`, of which `prefix_size` bytes are the page's prefix. */
static inline struct entry entry_of_key(struct span key, uint32_t prefix_size)
{
	const uint8_t *behind = key.data + prefix_size;
	uint32_t size = (uint32_t)key.size - prefix_size;
	struct entry entry;

	entry.prefix = span_of(key.data, prefix_size);
	entry.head = key_head(behind, size);
	entry.key_size = size;
	entry.rest = size > NODE_HEAD_SIZE ? behind + NODE_HEAD_SIZE : NULL;
	entry.value_head = entry.value_body = span_of(NULL, 0);
	entry.child = 0;
	return entry;
}

static inline uint32_t entry_key_size(const struct entry *entry)
{
	return (uint32_t)entry->prefix.size + entry->key_size;
}

/* Writes the whole key, entry_key_size() bytes; at most BTREE_KEY_SIZE_MAX of
 * them are written. */
void entry_key_copy(const struct entry *entry, uint8_t *key);

/* How many bytes two keys have in common at their start. */
uint32_t entry_common_size(const struct entry *a, const struct entry *b);

/* Order of two entries' keys; negative when a is smaller. */
int entry_compare(const struct entry *a, const struct entry *b);

/* The entry's cell in a page whose prefix has `prefix_size` bytes. */
static inline uint32_t entry_cell_size(const struct entry *entry,
                                       uint32_t prefix_size, bool leaf,
                                       bool rowid)
{
	uint32_t key_size = entry_key_size(entry) - prefix_size;
	uint32_t rest = key_rest_size(key_size), value;

	if (!leaf)
		return rowid || !rest ? 0 : size_bytes(key_size) + rest;
	value = (uint32_t)(entry->value_head.size + entry->value_body.size);
	return rowid ? value : size_bytes(key_size) + rest + value;
}

/* Writes that cell. */
void entry_cell_write(const struct entry *entry, bool leaf, bool rowid,
                      uint8_t *cell);

/* The same key in a page with another prefix size (at most the key's size);
 * `room` holds the moved parts, BTREE_KEY_SIZE_MAX bytes. */
struct entry entry_rebased(const struct entry *entry, uint32_t prefix_size,
                           uint8_t *room);

#endif
