/*
 * put.c - an entry in, or over the one with the same key.
 *
 * Descend, plan, acquire, apply. Most puts find room in their leaf: then one
 * page and the state are edited, and only the bytes of the entry, its slot and
 * the header change.
 */
#include <assert.h>

#include "btree/overflow.h"
#include "btree/search.h"
#include "btree/split.h"

enum put_how { PUT_OVERWRITE, PUT_FIT, PUT_SPLIT };

struct put {
	struct btree *tree;
	struct tree_state state;
	struct path path;
	struct span value;
	struct value_plan value_plan;
	struct entry entry;
	struct sequence sequence;
	uint32_t old_chain;     /* first page of the old value's chain, or 0 */
	uint32_t old_cell_size;
	enum put_how how;
	struct node_fit fit;
};

static struct path_step *leaf_of(struct put *put)
{
	return &put->path.at[0];
}

/* Says what is to be written, and over what. */
static int put_describe(struct put *put, struct span key, bool found,
                        struct err *err)
{
	struct path_step *leaf = leaf_of(put);
	struct leaf_cell old;

	put->value_plan = value_plan_of(put->tree->pager->usable_size,
	                                leaf->node.rowid, (uint32_t)key.size,
	                                put->value.size);
	put->entry = entry_of_key(key, 0);
	put->entry.value_head = span_of(put->value_plan.head,
	                                put->value_plan.head_size);
	put->entry.value_body = span_of(put->value.data,
	                                put->value_plan.local_size);
	put->sequence = (struct sequence){
		.left = &leaf->node,
		.inserted = &put->entry,
		.insert_at = leaf->slot,
		.replaces = found,
	};
	put->old_chain = put->old_cell_size = 0;
	if (!found)
		return ERR_NONE;
	if (!leaf_cell_read(&leaf->node, leaf->slot, &old))
		return tree_corrupt(put->tree, leaf->page_no,
		                    "a cell leaves the page", err);
	put->old_cell_size = old.size;
	if (old.overflow)
		put->old_chain = overflow_value_page(&old);
	return ERR_NONE;
}

static int put_plan(struct put *put, struct split_plan *split, struct err *err)
{
	struct path_step *leaf = leaf_of(put);
	uint32_t size = entry_cell_size(&put->entry, leaf->node.prefix_size,
	                                true, leaf->node.rowid);

	if (put->sequence.replaces && size <= put->old_cell_size) {
		put->how = PUT_OVERWRITE;
		return ERR_NONE;
	}
	if (!node_fit_find(&put->sequence, &put->fit))
		return tree_corrupt(put->tree, leaf->page_no,
		                    "its cells leave the page", err);
	put->how = PUT_FIT;
	if (put->fit.place.how != PLACE_NONE)
		return ERR_NONE;
	put->how = PUT_SPLIT;
	return split_plan(put->tree, &put->path, &put->sequence, split, err);
}

static int put_acquire(struct put *put, const struct split_plan *split,
                       struct change *change, struct split_pages *pages,
                       uint8_t **leaf_page, struct err *err)
{
	int rc = ERR_NONE;

	if (put->old_chain)
		rc = change_dispose_chain(change, put->old_chain, err);
	if (!rc && put->value_plan.overflow) {
		rc = change_allocate_chain(change, put->value,
		                           put->value_plan.local_size, err);
		store_le32(put->value_plan.head + VALUE_OVERFLOW_PAGE_AT,
		           change->chain_first.page_no);
	}
	if (rc)
		return rc;
	if (put->how == PUT_SPLIT)
		return split_acquire(change, &put->path, split, pages, err);
	return pager_edit(put->tree->pager, leaf_of(put)->page_no, leaf_page,
	                  err);
}

static void put_apply(struct put *put, uint8_t *leaf_page)
{
	struct path_step *leaf = leaf_of(put);
	struct span key = span_of(put->entry.prefix.data,
	                          put->entry.key_size);
	struct entry entry;

	if (put->how == PUT_FIT) {
		node_fit_apply(&put->sequence, &put->fit, leaf_page);
		return;
	}
	entry = entry_of_key(key, leaf->node.prefix_size);
	entry.value_head = put->entry.value_head;
	entry.value_body = put->entry.value_body;
	leaf_overwrite(leaf_page, &leaf->node, leaf->slot, put->old_cell_size,
	               &entry);
}

/* Divides the leaf; its frame with the plan is kept off the common path. */
static __attribute__((noinline)) int put_with_plan(struct put *put,
                                                   struct err *err)
{
	struct split_plan split;
	struct split_pages pages;
	struct change change;
	uint8_t *leaf_page;
	int rc;

	rc = put_plan(put, &split, err);
	if (rc)
		return rc;
	rc = change_begin(&change, put->tree, &put->state, err);
	if (rc)
		return rc;
	rc = put_acquire(put, &split, &change, &pages, &leaf_page, err);
	if (rc) {
		change_abandon(&change);
		return rc;
	}
	if (put->how == PUT_SPLIT)
		split_apply(&change, &put->path, &put->sequence, &split,
		            &pages);
	else
		put_apply(put, leaf_page);
	change.state.entries += !put->sequence.replaces;
	change_finish(&change);
	return ERR_NONE;
}

static int put_check(struct btree *tree, struct span key, struct span value,
                     struct err *err)
{
	int rc = tree_key_check(tree, key, err);

	if (rc)
		return rc;
	if (value.size > VALUE_SIZE_MAX)
		return err_set(err, ERR_TOOBIG, "put value into tree",
		               tree->pager->name,
		               "%zu bytes, at most %d are possible",
		               value.size, VALUE_SIZE_MAX);
	return ERR_NONE;
}

int btree_put(struct btree *tree, struct span key, struct span value,
              enum btree_put mode, struct err *err)
{
	struct put put = { .tree = tree, .value = value };
	struct probe probe;
	bool found;
	int rc;

	rc = put_check(tree, key, value, err);
	if (!rc)
		rc = tree_state_read(tree, &put.state, err);
	if (rc)
		return rc;
	probe = probe_of(key);
	rc = tree_descend(tree, &put.state, &probe, &put.path, &found, err);
	if (rc)
		return rc;
	if (found && mode != BTREE_PUT_REPLACE)
		return ERR_EXISTS;
	rc = put_describe(&put, span_of(probe.key, probe.size), found, err);
	if (rc)
		return rc;
	return put_with_plan(&put, err);
}
