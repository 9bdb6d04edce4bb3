/*
 * search.c - heads first, and behind a head only when it is equal.
 *
 * The heads are a dense array, so a search touches few cache lines and never
 * goes through a ref; only an entry whose head equals the key's is compared
 * byte by byte. Rowids are searched from a guess: the separators around a node
 * say how far into it a key should lie if rowids are evenly spread.
 */
#include "btree/search.h"

#include <string.h>

#include "btree/heads.h"

enum { COUNTED_SIZE = 4 };

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
	low = heads_search(node, first, head);
	if (low == node->count || node_head(node, low) != head) {
		*slot = low;
		return true;
	}
	high = low + 1;
	if (high < node->count && node_head(node, high) == head)
		high = head == UINT64_MAX ? node->count
			: heads_search(node, low, head + 1);
	return rest_search(node, behind + NODE_HEAD_SIZE, size, low, high,
	                   slot, found);
}

/* How far from `low` to `high` the key lies. */
static inline float share_of(uint64_t head, uint64_t low, uint64_t high)
{
	if (head <= low || high <= low)
		return 0;
	if (head >= high)
		return 1;
	return (float)(head - low) / (float)(high - low);
}

static uint32_t rowid_search(const struct node *node, const struct probe *probe)
{
	uint32_t count = node->count, guess;
	float share = probe->share;

	if (!count)
		return 0;
	if (share < 0 && probe->head > node_head(node, count - 1))
		return count;
	if (share < 0)
		share = share_of(probe->head, node_head(node, 0),
		                 node_head(node, count - 1));
	guess = (uint32_t)(share * (float)count);
	if (guess >= count)
		guess = count - 1;
	if (node_head(node, guess) == probe->head)
		return guess;
	return heads_search_from(node, 0, guess, probe->head);
}

bool leaf_search(const struct node *node, const struct probe *probe,
                 uint32_t *slot, bool *found)
{
	if (!node->rowid)
		return bytes_search(node, probe, 0, slot, found);
	*slot = rowid_search(node, probe);
	*found = *slot < node->count && node_head(node, *slot) == probe->head;
	return true;
}

/* The child, and how far into it the key should lie: unknown in the first and
 * last one, whose outer bounds the node does not have. */
static uint32_t rowid_child(const struct node *node, struct probe *probe)
{
	uint32_t last = node->count - 1, guess, slot;
	uint64_t head = probe->head;

	probe->share = -1;
	probe->width = UINT64_MAX;
	if (!last || head >= node_head(node, last))
		return last;
	guess = 1 + (uint32_t)(share_of(head, node_head(node, 1),
	                                node_head(node, last)) *
	                       (float)(last - 1));
	slot = guess;
	if (node_head(node, guess) > head ||
	    (guess < last && node_head(node, guess + 1) <= head))
		slot = heads_search_from(node, 1, guess, head + 1) - 1;
	if (slot > 0 && slot < last) {
		uint64_t low = node_head(node, slot);
		uint64_t high = node_head(node, slot + 1);

		probe->share = share_of(head, low, high);
		probe->width = high - low;
	}
	return slot;
}

/* The number that a few characters stand for, digit by digit, in base 10 or 26
 * where the key has a digit or a letter: text that counts is evenly spread only
 * in its own base. */
static inline uint32_t counted(uint64_t head, uint64_t key, uint32_t at)
{
	uint32_t number = 0;

	for (uint32_t i = at; i < at + COUNTED_SIZE; i++) {
		uint32_t shift = 56 - 8 * i;
		int byte = (int)(head >> shift & 0xFF);
		int like = (int)(key >> shift & 0xFF), low = 0, base = 256;

		if (like >= '0' && like <= '9')
			low = '0', base = 10;
		else if (like >= 'a' && like <= 'z')
			low = 'a', base = 26;
		else if (like >= 'A' && like <= 'Z')
			low = 'A', base = 26;
		byte -= low;
		byte = byte < 0 ? 0 : byte >= base ? base - 1 : byte;
		number = number * (uint32_t)base + (uint32_t)byte;
	}
	return number;
}

static float share_counted(uint64_t head, uint64_t low, uint64_t high)
{
	uint32_t at, from, to, number;

	if (low >= high || head < low)
		return -1;
	at = (uint32_t)__builtin_clzll(low ^ high) / 8;
	if (at > 8 - COUNTED_SIZE)
		at = 8 - COUNTED_SIZE;
	from = counted(low, head, at);
	to = counted(high, head, at);
	number = counted(head, head, at);
	if (number <= from || to <= from)
		return 0;
	return (float)(number - from) / (float)(to - from);
}

/* As for rowids, from the heads of the separators around the child. Only what is
 * fetched early depends on it, so a bad guess costs little. */
static void child_guess(const struct node *node, struct probe *probe,
                        uint32_t slot)
{
	uint32_t prefix = node->prefix_size;

	probe->share = -1;
	if (slot == 0 || slot + 1 >= node->count || node->level != 1)
		return;
	probe->share = share_counted(key_head(probe->key + prefix,
	                                      probe->size - prefix),
	                             node_head(node, slot),
	                             node_head(node, slot + 1));
}

bool interior_search(const struct node *node, struct probe *probe,
                     uint32_t *slot)
{
	bool found;

	if (node->rowid) {
		*slot = rowid_child(node, probe);
		return true;
	}
	if (!bytes_search(node, probe, 1, slot, &found))
		return false;
	*slot -= !found;
	child_guess(node, probe, *slot);
	return true;
}
