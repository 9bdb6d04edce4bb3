/*
 * overflow.h - values that do not fit a leaf: which, and reading them back.
 * Private to btree/; change.h writes the chains.
 */
#ifndef TURDB_BTREE_OVERFLOW_H
#define TURDB_BTREE_OVERFLOW_H

#include "btree/tree.h"

/* A leaf entry may take this much of a page, so that any two fit one. */
static inline uint32_t leaf_entry_size_max(uint32_t usable_size)
{
	return (usable_size - NODE_HEADER_SIZE - 8) / 2;
}

/* A value's head in its cell, and how much of the value follows there. */
struct value_plan {
	uint8_t head[VALUE_HEAD_SIZE_MAX];
	uint32_t head_size;
	uint32_t local_size;
	bool overflow;
};

/* For a value that goes to a chain; the head still lacks its page number. */
struct value_plan overflow_plan_of(uint32_t usable_size, size_t value_size);

/* Whether the value fits a leaf beside a key of this size, and its plan. */
static inline struct value_plan value_plan_of(uint32_t usable_size, bool rowid,
                                              uint32_t key_size,
                                              size_t value_size)
{
	uint32_t fixed = node_stride(true, rowid);
	uint32_t size_max = leaf_entry_size_max(usable_size);
	struct value_plan plan;

	if (!rowid)
		fixed += size_bytes(key_size) + key_rest_size(key_size);
	if (value_size >= size_max ||
	    fixed + size_bytes((uint32_t)value_size) + value_size > size_max)
		return overflow_plan_of(usable_size, value_size);
	plan.overflow = false;
	plan.local_size = (uint32_t)value_size;
	plan.head_size = size_write(plan.head, (uint32_t)value_size);
	return plan;
}

static inline uint32_t overflow_value_size(const struct leaf_cell *cell)
{
	return load_le32(cell->value_head + VALUE_OVERFLOW_SIZE_AT);
}

static inline uint32_t overflow_value_page(const struct leaf_cell *cell)
{
	return load_le32(cell->value_head + VALUE_OVERFLOW_PAGE_AT);
}

/* The whole value, assembled in `scratch`. */
int overflow_read(struct btree *tree, const struct leaf_cell *cell,
                  struct btree_scratch *scratch, struct span *value,
                  struct err *err);

/* Checks the header of a chain's page: its place and how much of the value it
 * holds when `left` bytes are still to come. */
int overflow_page_check(struct btree *tree, uint32_t page_no,
                        const uint8_t *page, uint32_t index, uint32_t left,
                        struct err *err);

#endif
