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
                      uint32_t to, uint32_t prefix_size,
                      struct measure *measure)
{
	bool leaf = node_is_leaf(sequence->left);
	bool rowid = sequence->left->rowid;
	uint32_t sum = node_heads_at(prefix_size), least = UINT32_MAX, size;
	struct entry entry;

	for (uint32_t i = from; i < to; i++) {
		sum += node_stride(leaf, rowid);
		if (!sequence_entry(sequence, i, &entry))
			return false;
		if (!leaf && i == from)
			continue;
		size = entry_key_size(&entry);
		if (size < prefix_size)
			return false;
		least = size < least ? size : least;
		sum += entry_cell_size(&entry, prefix_size, leaf, rowid);
	}
	*measure = (struct measure){ .bytes = sum, .key_size_min = least };
	return true;
}

bool sequence_layout(const struct sequence *sequence, uint32_t from,
                     uint32_t to, uint32_t prefix_shorter,
                     struct layout *layout)
{
	uint32_t tries[3] = { 0, prefix_shorter, 0 };
	struct measure measure;

	if (!sequence_prefix(sequence, from, to, &tries[0]))
		return false;
	for (int i = 0; i < 3; i++) {
		if (i && tries[i] >= tries[i - 1])
			continue;
		if (!sequence_measure(sequence, from, to, tries[i], &measure))
			return false;
		layout->prefix_size = tries[i];
		layout->bytes = measure.bytes;
		layout->fits = measure.bytes <= sequence->left->usable_size;
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

/* Where the next entry's parts go. */
struct page_writer {
	uint8_t *page, *head, *child, *ref;
	uint32_t cells, prefix_size;
	bool leaf, rowid;
};

static void entry_write(struct page_writer *writer, const struct entry *entry,
                        bool keyless)
{
	uint32_t size = keyless ? 0 : entry_cell_size(entry,
	                                              writer->prefix_size,
	                                              writer->leaf,
	                                              writer->rowid);
	uint32_t ref = keyless ? 0 : entry->key_size;

	if (size) {
		writer->cells -= size;
		ref = writer->cells;
		entry_cell_write(entry, writer->leaf, writer->rowid,
		                 writer->page + ref);
	}
	store_le64(writer->head, keyless ? 0 : entry->head);
	writer->head += NODE_HEAD_SIZE;
	if (!writer->leaf) {
		store_le32(writer->child, entry->child);
		writer->child += NODE_CHILD_SIZE;
	}
	if (writer->leaf || !writer->rowid) {
		store_le16(writer->ref, (uint16_t)ref);
		writer->ref += NODE_REF_SIZE;
	}
}

static struct page_writer writer_of(uint8_t *page, const struct node *model,
                                    uint32_t prefix_size, uint32_t room)
{
	struct page_writer writer = {
		.page = page,
		.head = page + node_heads_at(prefix_size),
		.cells = model->usable_size,
		.prefix_size = prefix_size,
		.leaf = node_is_leaf(model),
		.rowid = model->rowid,
	};

	writer.child = writer.head + room * NODE_HEAD_SIZE;
	writer.ref = writer.leaf ? writer.child
	                         : writer.child + room * NODE_CHILD_SIZE;
	return writer;
}

void sequence_write(const struct sequence *sequence, uint32_t from,
                    uint32_t to, const struct layout *layout, uint32_t next,
                    uint8_t *page)
{
	const struct node *model = sequence->left;
	uint32_t usable_size = model->usable_size, count = to - from, room;
	uint8_t moved[BTREE_KEY_SIZE_MAX];
	struct page_writer writer;

	assert(layout->fits && layout->bytes <= usable_size);
	room = room_for(count, usable_size - layout->bytes,
	                node_stride_of(model));
	node_init(page, usable_size,
	          model->rowid ? BTREE_KEYS_ROWID : BTREE_KEYS_BYTES,
	          model->level);
	prefix_write(sequence, from, layout->prefix_size, page);
	store_le16(page + NODE_COUNT_AT, (uint16_t)count);
	store_le16(page + NODE_ROOM_AT, (uint16_t)room);
	store_le32(page + NODE_NEXT_AT, next);
	writer = writer_of(page, model, layout->prefix_size, room);
	for (uint32_t i = from; i < to; i++) {
		bool keyless = i == from && !writer.leaf;
		struct entry entry;

		if (!sequence_entry(sequence, i, &entry))
			break; /* measured: cannot be */
		if (!keyless)
			entry = entry_rebased(&entry, layout->prefix_size,
			                      moved);
		entry_write(&writer, &entry, keyless);
	}
	store_le16(page + NODE_CELLS_AT, (uint16_t)writer.cells);
}
