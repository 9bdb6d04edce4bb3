/*
 * node_build.c - writes pages from sequences of entries.
 */
#include "btree/node_build.h"

#include <assert.h>
#include <string.h>

enum { SPARE_SLOTS = 16 };

uint32_t sequence_count(const struct sequence *sequence)
{
	return sequence->left->count +
	       (sequence->right ? sequence->right->count : 0) +
	       (sequence->inserted && !sequence->replaces);
}

bool sequence_entry(const struct sequence *sequence, uint32_t index,
                    struct entry *entry)
{
	uint32_t child;

	if (sequence->inserted && index >= sequence->insert_at) {
		if (index == sequence->insert_at) {
			*entry = *sequence->inserted;
			return true;
		}
		index -= !sequence->replaces;
	}
	if (index < sequence->left->count)
		return node_entry(sequence->left, index, entry);
	index -= sequence->left->count;
	if (index || !sequence->between)
		return node_entry(sequence->right, index, entry);
	child = node_child(sequence->right, 0);
	*entry = *sequence->between;
	entry->child = child;
	return true;
}

bool sequence_prefix(const struct sequence *sequence, uint32_t from,
                     uint32_t to, uint32_t *prefix_size)
{
	uint32_t first = from + !node_is_leaf(sequence->left);
	struct entry a, b;

	*prefix_size = 0;
	if (sequence->left->rowid || first + 1 >= to)
		return true;
	if (!sequence_entry(sequence, first, &a) ||
	    !sequence_entry(sequence, to - 1, &b))
		return false;
	*prefix_size = entry_common_size(&a, &b);
	return true;
}

bool sequence_measure(const struct sequence *sequence, uint32_t from,
                      uint32_t to, uint32_t prefix_size, uint32_t *bytes)
{
	bool leaf = node_is_leaf(sequence->left);
	bool rowid = sequence->left->rowid;
	uint32_t sum = node_heads_at(prefix_size);
	struct entry entry;

	for (uint32_t i = from; i < to; i++) {
		sum += node_stride(leaf, rowid);
		if (!sequence_entry(sequence, i, &entry))
			return false;
		if (!leaf && i == from)
			continue;
		if (entry_key_size(&entry) < prefix_size)
			return false;
		sum += entry_cell_size(&entry, prefix_size, leaf, rowid);
	}
	*bytes = sum;
	return true;
}

bool sequence_layout(const struct sequence *sequence, uint32_t from,
                     uint32_t to, uint32_t prefix_shorter,
                     struct layout *layout)
{
	uint32_t tries[3] = { 0, prefix_shorter, 0 };

	if (!sequence_prefix(sequence, from, to, &tries[0]))
		return false;
	for (int i = 0; i < 3; i++) {
		if (i && tries[i] >= tries[i - 1])
			continue;
		layout->prefix_size = tries[i];
		if (!sequence_measure(sequence, from, to, tries[i],
		                      &layout->bytes))
			return false;
		layout->fits = layout->bytes <= sequence->left->usable_size;
		if (layout->fits)
			break;
	}
	return true;
}

void node_init(uint8_t *page, uint32_t usable_size, enum btree_keys keys,
               uint8_t level)
{
	memset(page, 0, NODE_HEADER_SIZE);
	page[NODE_KIND_AT] = level ? PAGE_INTERIOR : PAGE_LEAF;
	page[NODE_LEVEL_AT] = level;
	page[NODE_KEYS_AT] = (uint8_t)keys;
	store_le16(page + NODE_CELLS_AT, (uint16_t)usable_size);
}

static void prefix_write(const struct sequence *sequence, uint32_t from,
                         uint32_t prefix_size, uint8_t *page)
{
	uint8_t key[BTREE_KEY_SIZE_MAX];
	struct entry first;

	store_le16(page + NODE_PREFIX_SIZE_AT, (uint16_t)prefix_size);
	if (!prefix_size)
		return;
	sequence_entry(sequence, from + !node_is_leaf(sequence->left), &first);
	entry_key_copy(&first, key);
	memset(page + NODE_HEADER_SIZE, 0,
	       node_heads_at(prefix_size) - NODE_HEADER_SIZE);
	memcpy(page + NODE_HEADER_SIZE, key, prefix_size);
}

/* A few free slots, so that the next insert does not move the arrays. */
static uint32_t room_for(uint32_t count, uint32_t free_bytes, uint32_t stride)
{
	uint32_t spare = free_bytes / (4 * stride);

	return count + (spare < SPARE_SLOTS ? spare : SPARE_SLOTS);
}

void sequence_write(const struct sequence *sequence, uint32_t from,
                    uint32_t to, uint32_t prefix_size, uint32_t next,
                    uint8_t *page)
{
	const struct node *model = sequence->left;
	bool leaf = node_is_leaf(model), rowid = model->rowid;
	uint32_t cells = model->usable_size, count = to - from, room, bytes = 0;
	uint32_t stride = node_stride(leaf, rowid);
	uint8_t moved[BTREE_KEY_SIZE_MAX];
	uint8_t *head, *child, *ref;

	sequence_measure(sequence, from, to, prefix_size, &bytes);
	assert(bytes && bytes <= cells);
	room = room_for(count, cells - bytes, stride);
	node_init(page, cells, rowid ? BTREE_KEYS_ROWID : BTREE_KEYS_BYTES,
	          model->level);
	prefix_write(sequence, from, prefix_size, page);
	store_le16(page + NODE_COUNT_AT, (uint16_t)count);
	store_le16(page + NODE_ROOM_AT, (uint16_t)room);
	store_le32(page + NODE_NEXT_AT, next);

	head = page + node_heads_at(prefix_size);
	child = head + room * NODE_HEAD_SIZE;
	ref = leaf ? child : child + room * NODE_CHILD_SIZE;
	for (uint32_t i = from; i < to; i++) {
		struct entry entry = { 0 };
		uint32_t size, at;

		sequence_entry(sequence, i, &entry);
		if (leaf || i > from) {
			entry = entry_rebased(&entry, prefix_size, moved);
		} else {
			entry.head = 0;
			entry.key_size = 0;
			entry.prefix.size = 0;
		}
		size = i == from && !leaf ? 0 :
			entry_cell_size(&entry, prefix_size, leaf, rowid);
		at = entry.key_size;
		if (size) {
			cells -= size;
			at = cells;
			entry_cell_write(&entry, leaf, rowid, page + at);
		}
		store_le64(head, entry.head);
		head += NODE_HEAD_SIZE;
		if (!leaf) {
			store_le32(child, entry.child);
			child += NODE_CHILD_SIZE;
		}
		if (leaf || !rowid) {
			store_le16(ref, (uint16_t)at);
			ref += NODE_REF_SIZE;
		}
	}
	store_le16(page + NODE_CELLS_AT, (uint16_t)cells);
}
