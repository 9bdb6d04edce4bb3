/*
 * put.c - an entry in, or over the one with the same key.
 *
 * Descend, plan, acquire, apply. Most puts find room in their leaf: then one
 * page and the state are edited, and only the bytes of the entry, its slot and
 * the header change.
 */
#include <string.h>

#include "btree/merge.h"
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
	uint8_t *leaf_page;     /* editable, unless it is divided            */
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
                       struct err *err)
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
	return pager_edit(put->tree->pager, leaf_of(put)->page_no,
	                  &put->leaf_page, err);
}

static void put_apply(struct put *put)
{
	struct path_step *leaf = leaf_of(put);
	struct span key = span_of(put->entry.prefix.data,
	                          put->entry.key_size);
	struct entry entry;

	if (put->how == PUT_FIT) {
		node_fit_apply(&put->sequence, &put->fit, put->leaf_page);
		return;
	}
	entry = entry_of_key(key, leaf->node.prefix_size);
	entry.value_head = put->entry.value_head;
	entry.value_body = put->entry.value_body;
	leaf_overwrite(put->leaf_page, &leaf->node, leaf->slot,
	               put->old_cell_size, &entry);
}

/* The new cell is smaller: the leaf may be nearly empty now. */
static bool put_shrinks(const struct put *put)
{
	const struct node *leaf = &put->path.at[0].node;

	return entry_cell_size(&put->entry, leaf->prefix_size, true,
	                       leaf->rowid) < put->old_cell_size;
}

/* Divides the leaf; its frame with the plan is kept off the common path. */
static __attribute__((noinline)) int put_with_plan(struct put *put,
                                                   struct err *err)
{
	struct split_plan split;
	struct split_pages pages;
	struct change change;
	int rc;

	rc = put_plan(put, &split, err);
	if (rc)
		return rc;
	rc = change_begin(&change, put->tree, &put->state, err);
	if (rc)
		return rc;
	rc = put_acquire(put, &split, &change, &pages, err);
	if (rc) {
		change_abandon(&change);
		return rc;
	}
	if (put->how == PUT_SPLIT)
		split_apply(&change, &put->path, &put->sequence, &split,
		            &pages);
	else
		put_apply(put);
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

/* The entry for this key and value in a leaf with this prefix, when the key
 * shares it and the value needs no overflow pages. */
static bool entry_simple(const struct node *node, const struct probe *probe,
                         struct span value, struct value_plan *plan,
                         struct entry *entry)
{
	if (node->prefix_size &&
	    (probe->size < node->prefix_size ||
	     memcmp(probe->key, node->page + NODE_HEADER_SIZE,
	            node->prefix_size)))
		return false;
	*plan = value_plan_of(node->usable_size, node->rowid, probe->size,
	                      value.size);
	if (plan->overflow)
		return false;
	*entry = entry_of_key(span_of(probe->key, probe->size),
	                      node->prefix_size);
	entry->value_head = span_of(plan->head, plan->head_size);
	entry->value_body = value;
	return true;
}

/* The next put may go behind this one if it was the last of all entries. */
static void append_remember(struct btree *tree, uint32_t page_no, uint64_t head)
{
	tree->append_page_no = page_no;
	tree->append_head = head;
	tree->append_epoch = *tree->pager->view_epoch;
	tree->append_edits = tree->pager->edits;
}

/* Where and how a new entry goes into a leaf that has room for it as it lies. */
struct put_simple {
	struct value_plan plan;
	struct entry entry;
	struct node_place place;
};

static bool simple_plan(const struct node *node, const struct probe *probe,
                        struct span value, struct put_simple *put)
{
	uint32_t size;

	if (!entry_simple(node, probe, value, &put->plan, &put->entry))
		return false;
	size = entry_cell_size(&put->entry, node->prefix_size, true,
	                       node->rowid);
	put->place = node_place_new(node, size);
	return put->place.how >= PLACE_GAP;
}

static void simple_apply(struct btree *tree, const struct put_simple *put,
                         const struct node *node, uint32_t slot, uint8_t *page,
                         uint32_t page_no, uint8_t *state)
{
	uint64_t entries = load_le64(state + STATE_ENTRIES_AT);

	node_insert(page, node, &put->place, slot, &put->entry);
	store_le64(state + STATE_ENTRIES_AT, entries + 1);
	if (slot == node->count && !node_next(node))
		append_remember(tree, page_no, put->entry.head);
}

/* The common case. *done false and nothing changed: it needs a plan. */
static int put_simply(struct btree *tree, const struct path_step *leaf,
                      const struct probe *probe, struct span value, bool *done,
                      struct err *err)
{
	uint64_t before = tree->pager->edits;
	uint8_t *bytes, *page;
	struct put_simple put;
	int rc;

	*done = false;
	if (!simple_plan(&leaf->node, probe, value, &put))
		return ERR_NONE;
	rc = pager_state_edit(tree->pager, &bytes, err);
	if (!rc)
		rc = pager_edit(tree->pager, leaf->page_no, &page, err);
	if (rc || load_le32(bytes + STATE_GARBAGE_AT))
		return rc;
	simple_apply(tree, &put, &leaf->node, leaf->slot, page, leaf->page_no,
	             bytes);
	tree_root_stays(tree, before);
	*done = true;
	return ERR_NONE;
}

/* Whether the key is greater than all in this leaf, the last one. */
static bool leaf_is_below(const struct node *node, const struct probe *probe)
{
	uint64_t head;
	uint32_t slot;
	bool found;

	if (!node->count || node_next(node))
		return false;
	if (node->rowid || !node->prefix_size)
		head = probe->head;
	else if (probe->size < node->prefix_size ||
	         memcmp(probe->key, node->page + NODE_HEADER_SIZE,
	                node->prefix_size))
		goto search;
	else
		head = key_head(probe->key + node->prefix_size,
		                probe->size - node->prefix_size);
	if (head != node_head(node, node->count - 1) || node->rowid)
		return head > node_head(node, node->count - 1);
search:
	return leaf_search(node, probe, &slot, &found) && slot == node->count;
}

/* Behind the entry that the last put appended: without a descent, and without
 * reading what that put has just written. */
static int put_append(struct btree *tree, const struct probe *probe,
                      struct span value, bool *done, struct err *err)
{
	uint32_t page_no = tree->append_page_no;
	struct put_simple put;
	uint8_t *bytes, *page;
	struct node node;
	int rc;

	*done = false;
	rc = pager_state_edit(tree->pager, &bytes, err);
	if (!rc)
		rc = pager_edit(tree->pager, page_no, &page, err);
	if (rc)
		return rc;
	if (!node_parse(&node, page, tree->pager->usable_size, tree->keys) ||
	    node.level || load_le32(bytes + STATE_GARBAGE_AT) ||
	    !leaf_is_below(&node, probe) ||
	    !simple_plan(&node, probe, value, &put))
		return ERR_NONE;
	simple_apply(tree, &put, &node, node.count, page, page_no, bytes);
	*done = true;
	return ERR_NONE;
}

/* Descends first. */
static int put_anywhere(struct btree *tree, struct probe *probe,
                        struct span value, enum btree_put mode,
                        struct err *err)
{
	struct put put;
	bool found, done;
	int rc;

	put.tree = tree;
	put.value = value;
	rc = tree_descend(tree, probe, &put.path, &found, err);
	if (rc)
		return rc;
	if (found && mode != BTREE_PUT_REPLACE)
		return ERR_EXISTS;
	if (!found) {
		rc = put_simply(tree, leaf_of(&put), probe, value, &done, err);
		if (rc || done)
			return rc;
	}
	rc = tree_state_read(tree, &put.state, err);
	if (!rc)
		rc = put_describe(&put, span_of(probe->key, probe->size), found,
		                  err);
	if (!rc)
		rc = put_with_plan(&put, err);
	if (!rc && found && put.how == PUT_OVERWRITE && put_shrinks(&put))
		tree_even_out_leaf(tree, probe, put.leaf_page);
	return rc;
}

int btree_put(struct btree *tree, struct span key, struct span value,
              enum btree_put mode, struct err *err)
{
	struct probe probe = probe_of(key);
	bool done;
	int rc;

	rc = put_check(tree, key, value, err);
	if (rc)
		return rc;
	if (tree_append_is_likely(tree)) {
		rc = put_append(tree, &probe, value, &done, err);
		if (rc || done)
			return rc;
	}
	return put_anywhere(tree, &probe, value, mode, err);
}
