/*
 * search.c - heads first, and behind a head only when it is equal.
 *
 * The heads are a dense array, so a search touches few cache lines and never
 * goes through a ref; only an entry whose head equals the key's is compared
 * byte by byte. The binary search has no branch that depends on data.
 */
#include "btree/search.h"

#include <string.h>

uint32_t heads_search(const uint8_t *heads, uint32_t count, uint64_t head)
{
	const uint8_t *base = heads;

	if (!count)
		return 0;
	while (count > 1) {
		uint32_t half = count / 2;
		uint64_t middle = load_le64(base + (half - 1) * NODE_HEAD_SIZE);

		base += middle < head ? half * NODE_HEAD_SIZE : 0;
		count -= half;
	}
	return (uint32_t)(base - heads) / NODE_HEAD_SIZE +
	       (load_le64(base) < head);
}

/* memcmp of the key with the page's prefix; 0 = it begins with it. A key that
 * ends inside the prefix is smaller. */
static int prefix_compare(const struct node *node, const struct probe *probe)
{
	uint32_t size = node->prefix_size;
	int order;

	if (probe->size < size) {
		order = memcmp(probe->key, node->page + NODE_HEADER_SIZE,
		               probe->size);
		return order ? order : -1;
	}
	return memcmp(probe->key, node->page + NODE_HEADER_SIZE, size);
}

/* Order of two keys whose heads are equal. */
static int rest_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b,
                        uint32_t b_size)
{
	uint32_t a_rest = key_rest_size(a_size), b_rest = key_rest_size(b_size);
	uint32_t rest = a_rest < b_rest ? a_rest : b_rest;
	int order = rest ? memcmp(a, b, rest) : 0;

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

static bool entry_key_behind(const struct node *node, uint32_t slot,
                             uint32_t *key_size, const uint8_t **rest)
{
	struct leaf_cell cell;

	if (!node_is_leaf(node))
		return interior_key_read(node, slot, key_size, rest);
	if (!leaf_cell_read(node, slot, &cell))
		return false;
	*key_size = cell.key_size;
	*rest = cell.rest;
	return true;
}

/* Entries [low, high) have the key's head: the first not smaller by what lies
 * behind it. */
static bool rest_search(const struct node *node, const uint8_t *rest,
                        uint32_t key_size, uint32_t low, uint32_t high,
                        uint32_t *slot, bool *found)
{
	const uint8_t *entry_rest;
	uint32_t entry_size, middle;
	int order;

	*found = false;
	while (low < high) {
		middle = low + (high - low) / 2;
		if (!entry_key_behind(node, middle, &entry_size, &entry_rest))
			return false;
		order = rest_compare(entry_rest, entry_size, rest, key_size);
		if (order < 0) {
			low = middle + 1;
			continue;
		}
		*found |= order == 0;
		high = middle;
	}
	*slot = low;
	return true;
}

/* Slots from `first` on, by keys of any bytes. */
static bool bytes_search(const struct node *node, const struct probe *probe,
                         uint32_t first, uint32_t *slot, bool *found)
{
	uint32_t low, high, size = probe->size - node->prefix_size;
	const uint8_t *behind = probe->key + node->prefix_size;
	uint64_t head = probe->head;
	int order;

	*found = false;
	if (node->prefix_size) {
		order = prefix_compare(node, probe);
		if (order) {
			*slot = order < 0 ? first : node->count;
			return true;
		}
		head = key_head(behind, size);
	}
	low = first + heads_search(node->heads + first * NODE_HEAD_SIZE,
	                           node->count - first, head);
	if (low == node->count || node_head(node, low) != head) {
		*slot = low;
		return true;
	}
	high = low + 1;
	if (high < node->count && node_head(node, high) == head)
		high = head == UINT64_MAX ? node->count
			: low + heads_search(node->heads + low * NODE_HEAD_SIZE,
			                     node->count - low, head + 1);
	return rest_search(node, behind + NODE_HEAD_SIZE, size, low, high,
	                   slot, found);
}

bool leaf_search(const struct node *node, const struct probe *probe,
                 uint32_t *slot, bool *found)
{
	if (!node->rowid)
		return bytes_search(node, probe, 0, slot, found);
	*slot = heads_search(node->heads, node->count, probe->head);
	*found = *slot < node->count && node_head(node, *slot) == probe->head;
	return true;
}

bool interior_search(const struct node *node, const struct probe *probe,
                     uint32_t *slot)
{
	bool found;

	if (node->rowid) {
		*slot = probe->head == UINT64_MAX ? node->count - 1
			: heads_search(node->heads + NODE_HEAD_SIZE,
			               node->count - 1, probe->head + 1);
		return true;
	}
	if (!bytes_search(node, probe, 1, slot, &found))
		return false;
	*slot -= !found;
	return true;
}
