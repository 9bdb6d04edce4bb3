/*
 * overflow.c - chains of pages that hold large values.
 *
 * A page of a chain carries its index, so that a chain that bites its tail is
 * noticed at once; scratch grows with what was found, never with what a damaged
 * cell promises.
 */
#include "btree/overflow.h"

#include <string.h>

enum { SCRATCH_SIZE_FIRST = 65536 };

struct value_plan overflow_plan_of(uint32_t usable_size, size_t value_size)
{
	struct value_plan plan = {
		.head = { VALUE_OVERFLOW },
		.head_size = VALUE_HEAD_SIZE_MAX,
		.overflow = true,
	};

	plan.local_size = value_local_size((uint32_t)value_size, usable_size);
	store_le32(plan.head + VALUE_OVERFLOW_SIZE_AT, (uint32_t)value_size);
	return plan;
}

int overflow_page_check(struct btree *tree, uint32_t page_no,
                        const uint8_t *page, uint32_t index, uint32_t left,
                        struct err *err)
{
	uint32_t part_max = tree->pager->usable_size - OVERFLOW_HEADER_SIZE;
	uint32_t size = left < part_max ? left : part_max;

	if (page[OVERFLOW_KIND_AT] != PAGE_OVERFLOW)
		return tree_corrupt(tree, page_no,
		                    "a large value leads to a page of another "
		                    "kind", err);
	if (load_le32(page + OVERFLOW_INDEX_AT) != index ||
	    load_le32(page + OVERFLOW_SIZE_AT) != size)
		return tree_corrupt(tree, page_no,
		                    "it is not the part of the large value "
		                    "that leads to it", err);
	if ((load_le32(page + OVERFLOW_NEXT_AT) != 0) != (left > size))
		return tree_corrupt(tree, page_no,
		                    "a large value ends too early or too late",
		                    err);
	return ERR_NONE;
}

/* Room for `size` bytes; what is there stays. */
static int scratch_grow(struct btree *tree, struct btree_scratch *scratch,
                        size_t size, size_t size_wanted, struct err *err)
{
	size_t room = scratch->size < SCRATCH_SIZE_FIRST ? SCRATCH_SIZE_FIRST
	                                                 : scratch->size;
	uint8_t *bytes;

	if (size <= scratch->size)
		return ERR_NONE;
	if (!scratch->heap)
		scratch->heap = tree->pager->heap;
	while (room < size)
		room *= 2;
	if (room > size_wanted)
		room = size_wanted;
	bytes = heap_resize(scratch->heap, scratch->bytes, room);
	if (!bytes)
		return err_set(err, ERR_NOMEM, "read value in",
		               tree->pager->name, "no memory for %zu bytes",
		               room);
	scratch->bytes = bytes;
	scratch->size = room;
	return ERR_NONE;
}

int overflow_read(struct btree *tree, const struct leaf_cell *cell,
                  struct btree_scratch *scratch, struct span *value,
                  struct err *err)
{
	uint32_t size = overflow_value_size(cell), done = cell->value_size;
	uint32_t page_no = overflow_value_page(cell);
	const uint8_t *page;
	int rc;

	rc = scratch_grow(tree, scratch, done ? done : 1, size, err);
	if (rc)
		return rc;
	memcpy(scratch->bytes, cell->value, done);
	for (uint32_t index = 0; done < size; index++) {
		uint32_t part;

		rc = pager_read(tree->pager, page_no, &page, err);
		if (!rc)
			rc = overflow_page_check(tree, page_no, page, index,
			                         size - done, err);
		if (rc)
			return rc;
		page_no = load_le32(page + OVERFLOW_NEXT_AT);
		if (page_no)
			pager_prefetch(tree->pager, page_no);
		part = load_le32(page + OVERFLOW_SIZE_AT);
		rc = scratch_grow(tree, scratch, done + part, size, err);
		if (rc)
			return rc;
		memcpy(scratch->bytes + done, page + OVERFLOW_HEADER_SIZE,
		       part);
		done += part;
	}
	*value = span_of(scratch->bytes, size);
	return ERR_NONE;
}

void btree_scratch_free(struct btree_scratch *scratch)
{
	if (scratch->bytes)
		heap_free(scratch->heap, scratch->bytes);
	scratch->bytes = NULL;
	scratch->size = 0;
}
