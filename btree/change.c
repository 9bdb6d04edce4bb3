/*
 * change.c - acquires first, then changes; what fails leaves no trace.
 */
#include "btree/change.h"

#include <assert.h>
#include <string.h>

static uint32_t garbage_of(const uint8_t *state_bytes)
{
	return load_le32(state_bytes + STATE_GARBAGE_AT);
}

static void garbage_set(uint8_t *state_bytes, uint32_t page_no)
{
	store_le32(state_bytes + STATE_GARBAGE_AT, page_no);
}

/* Frees the garbage chain as far as the pager lets us. Pages that are damaged
 * are given up: the check reports them, and nobody is kept from writing. */
static void garbage_drain(struct btree *tree, uint8_t *state_bytes)
{
	const uint8_t *page;
	uint32_t page_no, next;
	int rc;

	while ((page_no = garbage_of(state_bytes)) != 0) {
		rc = pager_read(tree->pager, page_no, &page, NULL);
		if (rc && rc != ERR_CORRUPT)
			return;
		if (rc || page[OVERFLOW_KIND_AT] != PAGE_OVERFLOW) {
			garbage_set(state_bytes, 0);
			return;
		}
		next = load_le32(page + OVERFLOW_NEXT_AT);
		if (pager_free(tree->pager, page_no, NULL))
			return;
		garbage_set(state_bytes, next);
	}
}

int change_begin(struct change *change, struct btree *tree,
                 const struct tree_state *state, struct err *err)
{
	int rc;

	change->tree = tree;
	change->state = *state;
	change->taken_count = 0;
	change->chain_first = change->chain_last = (struct change_page){ 0 };
	change->discarded = (struct change_page){ 0 };
	change->disposed = 0;
	rc = pager_state_edit(tree->pager, &change->state_bytes, err);
	if (rc || !state->garbage)
		return rc;
	garbage_drain(tree, change->state_bytes);
	change->state.garbage = garbage_of(change->state_bytes);
	return ERR_NONE;
}

int change_allocate(struct change *change, enum page_kind kind,
                    struct change_page *taken, struct err *err)
{
	int rc;

	assert(change->taken_count <= NODE_DEPTH_MAX);
	rc = pager_allocate(change->tree->pager, kind, &taken->page_no,
	                    &taken->page, err);
	if (!rc)
		change->taken[change->taken_count++] = *taken;
	return rc;
}

static void overflow_page_write(uint8_t *page, uint32_t index,
                                struct span bytes)
{
	page[OVERFLOW_KIND_AT] = PAGE_OVERFLOW;
	store_le32(page + OVERFLOW_INDEX_AT, index);
	store_le32(page + OVERFLOW_SIZE_AT, (uint32_t)bytes.size);
	memcpy(page + OVERFLOW_HEADER_SIZE, bytes.data, bytes.size);
}

int change_allocate_chain(struct change *change, struct span value,
                          uint32_t local_size, struct err *err)
{
	struct pager *pager = change->tree->pager;
	size_t part_max = pager->usable_size - OVERFLOW_HEADER_SIZE, at, part;
	struct change_page now;
	uint32_t index = 0;
	int rc;

	for (at = local_size; at < value.size; at += part, index++) {
		part = value.size - at < part_max ? value.size - at : part_max;
		rc = pager_allocate(pager, PAGE_OVERFLOW, &now.page_no,
		                    &now.page, err);
		if (rc)
			return rc;
		overflow_page_write(now.page, index,
		                    span_of(value.data + at, part));
		if (index)
			store_le32(change->chain_last.page + OVERFLOW_NEXT_AT,
			           now.page_no);
		else
			change->chain_first = now;
		change->chain_last = now;
	}
	return ERR_NONE;
}

int change_dispose_chain(struct change *change, uint32_t page_no,
                         struct err *err)
{
	assert(!change->disposed);
	if (change->state.garbage)
		return err_set(err, ERR_IO, "free pages of",
		               change->tree->pager->name,
		               "those of an earlier value cannot be freed yet");
	change->disposed = page_no;
	return ERR_NONE;
}

int change_discard(struct change *change, uint32_t page_no, struct err *err)
{
	int rc;

	assert(!change->discarded.page_no);
	rc = pager_edit(change->tree->pager, page_no, &change->discarded.page,
	                err);
	if (!rc)
		change->discarded.page_no = page_no;
	return rc;
}

/* Frees an editable page; when that fails it joins the garbage. */
static void page_give(struct change *change, struct change_page taken)
{
	if (!pager_free(change->tree->pager, taken.page_no, NULL))
		return;
	memset(taken.page, 0, OVERFLOW_HEADER_SIZE);
	overflow_page_write(taken.page, 0, span_of(taken.page, 0));
	store_le32(taken.page + OVERFLOW_NEXT_AT,
	           garbage_of(change->state_bytes));
	garbage_set(change->state_bytes, taken.page_no);
}

void change_abandon(struct change *change)
{
	while (change->taken_count)
		page_give(change, change->taken[--change->taken_count]);
	if (!change->chain_first.page_no)
		return;
	store_le32(change->chain_last.page + OVERFLOW_NEXT_AT,
	           garbage_of(change->state_bytes));
	garbage_set(change->state_bytes, change->chain_first.page_no);
	garbage_drain(change->tree, change->state_bytes);
}

void change_finish(struct change *change)
{
	if (change->disposed)
		change->state.garbage = change->disposed;
	tree_state_write(change->state_bytes, change->tree->keys,
	                 &change->state);
	if (change->disposed)
		garbage_drain(change->tree, change->state_bytes);
	if (change->discarded.page_no)
		page_give(change, change->discarded);
}
