/*
 * node_verify.c - looks at every byte of a page for the checker.
 */
#include "btree/node_verify.h"

#include "btree/node_edit.h"

/* One bit per byte of the page: taken by a cell or a hole. */
struct byte_map {
	uint8_t bits[BTREE_USABLE_SIZE_MAX / 8];
	uint32_t count;
};

static bool map_take(struct byte_map *map, uint32_t at, uint32_t size)
{
	for (uint32_t i = at; i < at + size; i++) {
		if (map->bits[i / 8] >> (i % 8) & 1)
			return false;
		map->bits[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	map->count += size;
	return true;
}

static const char *cells_verify(const struct node *node, struct byte_map *map)
{
	uint32_t size, ref;

	for (uint32_t i = 0; i < node->count; i++) {
		if (!node_cell_size(node, i, &size))
			return "a cell leaves the page";
		if (!size)
			continue;
		ref = node_ref(node, i);
		if (!map_take(map, ref, size))
			return "two cells overlap";
	}
	if (node->usable_size - node->cells - map->count !=
	    load_le16(node->page + NODE_DEAD_AT))
		return "the count of dead bytes is wrong";
	return NULL;
}

static const char *holes_verify(const struct node *node, struct byte_map *map)
{
	uint32_t hole = load_le16(node->page + NODE_HOLE_AT), size;

	for (; hole; hole = load_le16(node->page + hole + HOLE_NEXT_AT)) {
		if (hole < node->cells ||
		    hole + HOLE_SIZE_MIN > node->usable_size)
			return "a hole lies outside the cells";
		size = load_le16(node->page + hole + HOLE_SIZE_AT);
		if (size < HOLE_SIZE_MIN || hole + size > node->usable_size)
			return "a hole leaves the page";
		if (!map_take(map, hole, size))
			return "a hole overlaps something";
	}
	return NULL;
}

static const char *keys_verify(const struct node *node)
{
	struct entry entries[2];
	uint32_t first = node_is_leaf(node) ? 0 : 1;

	for (uint32_t i = first; i < node->count; i++) {
		struct entry *now = &entries[i & 1];

		if (!node_entry(node, i, now))
			return "a cell leaves the page or its key is too long";
		if (now->key_size < NODE_HEAD_SIZE &&
		    now->head << (8 * now->key_size) &&
		    now->key_size > 0)
			return "a short key's head is not padded with zeros";
		if (i > first && entry_compare(&entries[(i & 1) ^ 1], now) >= 0)
			return "keys are out of order";
	}
	return NULL;
}

static const char *frame_verify(const struct node *node)
{
	uint32_t end = node_heads_at(node->prefix_size);

	for (uint32_t i = NODE_HEADER_SIZE + node->prefix_size; i < end; i++)
		if (node->page[i])
			return "the bytes behind the prefix are not zero";
	if (node_is_leaf(node))
		return NULL;
	if (node_next(node))
		return "an interior node has a next one";
	if (node_head(node, 0) || (node->refs && node_ref(node, 0)))
		return "its first child has a separator";
	return NULL;
}

const char *node_verify(const struct node *node)
{
	struct byte_map map = { .count = 0 };
	const char *problem = frame_verify(node);

	if (!problem)
		problem = cells_verify(node, &map);
	if (!problem)
		problem = holes_verify(node, &map);
	if (!problem)
		problem = keys_verify(node);
	return problem;
}
