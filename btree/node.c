/*
 * node.c - reads entries out of a page, and takes their keys apart.
 */
#include "btree/node.h"

#include <string.h>

bool interior_key_read(const struct node *node, uint32_t slot,
                       uint32_t *key_size, const uint8_t **rest)
{
	const uint8_t *at, *end = node->page + node->usable_size;
	uint32_t ref;

	*rest = NULL;
	*key_size = NODE_HEAD_SIZE;
	if (node->rowid)
		return true;
	ref = node_ref(node, slot);
	if (ref <= NODE_HEAD_SIZE) {
		*key_size = ref;
		return true;
	}
	at = node->page + ref;
	if (ref < node->cells || ref >= node->usable_size ||
	    !size_read(&at, end, key_size))
		return false;
	*rest = at;
	return key_rest_size(*key_size) <= (size_t)(end - at);
}

static bool leaf_entry(const struct node *node, uint32_t slot,
                       struct entry *entry)
{
	struct leaf_cell cell;

	if (!leaf_cell_read(node, slot, &cell))
		return false;
	*entry = (struct entry){
		.prefix = node_prefix(node),
		.head = node_head(node, slot),
		.key_size = cell.key_size,
		.rest = cell.rest,
		.value_head = span_of(cell.value_head, cell.value_head_size),
		.value_body = span_of(cell.value, cell.value_size),
	};
	return entry_key_size(entry) <= BTREE_KEY_SIZE_MAX;
}

bool node_entry(const struct node *node, uint32_t slot, struct entry *entry)
{
	if (node_is_leaf(node))
		return leaf_entry(node, slot, entry);
	*entry = (struct entry){
		.prefix = span_of(node->page + NODE_HEADER_SIZE, 0),
		.child = node_child(node, slot),
	};
	if (slot == 0)
		return true;
	entry->prefix = node_prefix(node);
	entry->head = node_head(node, slot);
	return interior_key_read(node, slot, &entry->key_size, &entry->rest) &&
	       entry_key_size(entry) <= BTREE_KEY_SIZE_MAX;
}

uint32_t node_used(const struct node *node)
{
	uint32_t dead = load_le16(node->page + NODE_DEAD_AT);
	uint32_t cells = node->usable_size - node->cells;

	return node_heads_at(node->prefix_size) +
	       node->count * node_stride_of(node) +
	       (dead < cells ? cells - dead : 0);
}

void entry_key_copy(const struct entry *entry, uint8_t *key)
{
	uint8_t head[NODE_HEAD_SIZE];
	uint32_t head_size = entry->key_size < NODE_HEAD_SIZE ? entry->key_size
	                                                      : NODE_HEAD_SIZE;

	store_be64(head, entry->head);
	memcpy(key, entry->prefix.data, entry->prefix.size);
	memcpy(key + entry->prefix.size, head, head_size);
	if (entry->key_size > NODE_HEAD_SIZE)
		memcpy(key + entry->prefix.size + NODE_HEAD_SIZE, entry->rest,
		       entry->key_size - NODE_HEAD_SIZE);
}

static uint32_t common_size(const uint8_t *a, const uint8_t *b, uint32_t size)
{
	uint32_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* When both lie behind prefixes of one size that agree, the heads tell. */
static bool common_size_by_heads(const struct entry *a, const struct entry *b,
                                 uint32_t *size)
{
	uint64_t differ = a->head ^ b->head;

	if (a->prefix.data != b->prefix.data ||
	    a->prefix.size != b->prefix.size || !differ)
		return false;
	*size = (uint32_t)__builtin_clzll(differ) / 8;
	if (*size > a->key_size || *size > b->key_size)
		*size = a->key_size < b->key_size ? a->key_size : b->key_size;
	*size += (uint32_t)a->prefix.size;
	return true;
}

uint32_t entry_common_size(const struct entry *a, const struct entry *b)
{
	uint8_t key_a[BTREE_KEY_SIZE_MAX], key_b[BTREE_KEY_SIZE_MAX];
	uint32_t size_a = entry_key_size(a), size_b = entry_key_size(b), size;

	if (common_size_by_heads(a, b, &size))
		return size;
	entry_key_copy(a, key_a);
	entry_key_copy(b, key_b);
	return common_size(key_a, key_b, size_a < size_b ? size_a : size_b);
}

int entry_compare(const struct entry *a, const struct entry *b)
{
	uint8_t key_a[BTREE_KEY_SIZE_MAX], key_b[BTREE_KEY_SIZE_MAX];
	uint32_t a_size = entry_key_size(a), b_size = entry_key_size(b);
	int order;

	entry_key_copy(a, key_a);
	entry_key_copy(b, key_b);
	order = memcmp(key_a, key_b, a_size < b_size ? a_size : b_size);
	return order ? order : (a_size > b_size) - (a_size < b_size);
}

static uint8_t *append(uint8_t *at, const uint8_t *bytes, size_t size)
{
	if (size)
		memcpy(at, bytes, size);
	return at + size;
}

void entry_cell_write(const struct entry *entry, bool leaf, bool rowid,
                      uint8_t *cell)
{
	if (!rowid)
		cell += size_write(cell, entry->key_size);
	if (leaf)
		cell = append(cell, entry->value_head.data,
		              entry->value_head.size);
	if (!rowid)
		cell = append(cell, entry->rest,
		              key_rest_size(entry->key_size));
	if (leaf)
		append(cell, entry->value_body.data, entry->value_body.size);
}

struct entry entry_rebased(const struct entry *entry, uint32_t prefix_size,
                           uint8_t *room)
{
	struct entry rebased;

	if (prefix_size == entry->prefix.size)
		return *entry;
	entry_key_copy(entry, room);
	rebased = entry_of_key(span_of(room, entry_key_size(entry)),
	                       prefix_size);
	rebased.value_head = entry->value_head;
	rebased.value_body = entry->value_body;
	rebased.child = entry->child;
	return rebased;
}
