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
	uint32_t child, slot = 0;
	const struct node *node = sequence_source(sequence, index, &slot);

	if (!node) {
		*entry = *sequence->inserted;
		return true;
	}
	if (node == sequence->left || slot || !sequence->between)
		return node_entry(node, slot, entry);
	child = node_child(node, 0);
	*entry = *sequence->between;
	entry->child = child;
	return true;
}

bool sequence_cell_size(const struct sequence *sequence, uint32_t index,
                        uint32_t prefix, bool keyless, uint32_t *size,
                        uint32_t *key_size)
{
	bool leaf = node_is_leaf(sequence->left);
	const struct node *source;
	struct leaf_cell cell;
	struct entry entry;
	uint32_t slot;

	switch (sequence_cell(sequence, index, prefix, &source, &slot, &cell)) {
	case CELL_AS_IT_IS:
		*size = cell.size;
		*key_size = prefix + cell.key_size;
		return true;
	case CELL_DAMAGED:
		return false;
	case CELL_OTHER:
		break;
	}
	if (!sequence_entry(sequence, index, &entry))
		return false;
	*size = 0;
	*key_size = UINT32_MAX;
	if (keyless)
		return true;
	*key_size = entry_key_size(&entry);
	if (*key_size < prefix)
		return false;
	*size = entry_cell_size(&entry, prefix, leaf, sequence->left->rowid);
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
	uint32_t stride = node_stride_of(sequence->left);
	uint32_t sum = node_heads_at(prefix_size), least = UINT32_MAX;

	for (uint32_t i = from; i < to; i++) {
		uint32_t size, key_size;

		if (!sequence_cell_size(sequence, i, prefix_size,
		                        !leaf && i == from, &size, &key_size))
			return false;
		least = key_size < least ? key_size : least;
		sum += stride + size;
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

/* An entry whose key has to be taken apart and put together again. */
static __attribute__((noinline)) bool entry_rewrite(
	struct page_writer *writer, const struct sequence *sequence,
	uint32_t index, bool keyless)
{
	uint8_t moved[BTREE_KEY_SIZE_MAX];
	struct entry entry;

	if (!sequence_entry(sequence, index, &entry))
		return false;
	if (!keyless)
		entry = entry_rebased(&entry, writer->prefix_size, moved);
	entry_write(writer, &entry, keyless);
	return true;
}

static bool cell_write(struct page_writer *writer,
                       const struct sequence *sequence, uint32_t index,
                       bool keyless)
{
	const struct node *source;
	struct leaf_cell cell;
	uint32_t slot;

	switch (sequence_cell(sequence, index, writer->prefix_size, &source,
	                      &slot, &cell)) {
	case CELL_DAMAGED:
		return false;
	case CELL_OTHER:
		return entry_rewrite(writer, sequence, index, keyless);
	case CELL_AS_IT_IS:
		break;
	}
	writer->cells -= cell.size;
	memcpy(writer->page + writer->cells,
	       source->page + node_ref(source, slot), cell.size);
	store_le64(writer->head, node_head(source, slot));
	store_le16(writer->ref, (uint16_t)writer->cells);
	writer->head += NODE_HEAD_SIZE;
	writer->ref += NODE_REF_SIZE;
	return true;
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
	for (uint32_t i = from; i < to; i++)
		if (!cell_write(&writer, sequence, i, i == from && !writer.leaf))
			break; /* measured: cannot be */
	store_le16(page + NODE_CELLS_AT, (uint16_t)writer.cells);
}
