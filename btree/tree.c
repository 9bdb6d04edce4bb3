/*
 * tree.c - a tree's state in its file, and the way down to a leaf.
 *
 * (T1) A child's level is one less than its parent's, so a descent ends even in
 * damaged pages. (T2) Every node is checked by node_parse() when it is read.
 */
#include "btree/tree.h"

#include <stdio.h>
#include <string.h>

#include "btree/node_build.h"
#include "btree/search.h"

static int state_refuse(struct btree *tree, const char *reason, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "read state of tree",
	               tree->pager->name, "%s", reason);
}

int tree_state_read(struct btree *tree, struct tree_state *state,
                    struct err *err)
{
	const uint8_t *bytes;
	int rc = pager_state_read(tree->pager, &bytes, err);

	if (rc)
		return rc;
	if (load_le32(bytes + STATE_MAGIC_AT) != STATE_MAGIC)
		return err_set(err, ERR_ABORT, "read state of tree",
		               tree->pager->name, "there is no tree here");
	if (load_le16(bytes + STATE_VERSION_AT) > STATE_VERSION)
		return err_set(err, ERR_VERSION, "read state of tree",
		               tree->pager->name, "format %d, this library "
		               "knows up to %d",
		               load_le16(bytes + STATE_VERSION_AT),
		               STATE_VERSION);
	if (bytes[STATE_KEYS_AT] != tree->keys)
		return err_set(err, ERR_ABORT, "read state of tree",
		               tree->pager->name,
		               "it has keys of kind %d, not %d",
		               bytes[STATE_KEYS_AT], (int)tree->keys);
	*state = (struct tree_state){
		.root = load_le32(bytes + STATE_ROOT_AT),
		.leaf_pages = load_le32(bytes + STATE_LEAF_PAGES_AT),
		.interior_pages = load_le32(bytes + STATE_INTERIOR_PAGES_AT),
		.garbage = load_le32(bytes + STATE_GARBAGE_AT),
		.entries = load_le64(bytes + STATE_ENTRIES_AT),
		.height = bytes[STATE_HEIGHT_AT],
	};
	if (state->height < 1 || state->height > NODE_DEPTH_MAX)
		return state_refuse(tree, "the height is out of range", err);
	return ERR_NONE;
}

void tree_state_write(uint8_t *bytes, enum btree_keys keys,
                      const struct tree_state *state)
{
	store_le32(bytes + STATE_MAGIC_AT, STATE_MAGIC);
	store_le16(bytes + STATE_VERSION_AT, STATE_VERSION);
	bytes[STATE_KEYS_AT] = (uint8_t)keys;
	bytes[STATE_HEIGHT_AT] = state->height;
	store_le32(bytes + STATE_ROOT_AT, state->root);
	store_le32(bytes + STATE_LEAF_PAGES_AT, state->leaf_pages);
	store_le64(bytes + STATE_ENTRIES_AT, state->entries);
	store_le32(bytes + STATE_INTERIOR_PAGES_AT, state->interior_pages);
	store_le32(bytes + STATE_GARBAGE_AT, state->garbage);
}

int tree_corrupt_explain(struct btree *tree, uint32_t page_no,
                         const char *reason, struct err *err)
{
	char resource[160];

	snprintf(resource, sizeof resource, "%u of %s", page_no,
	         tree->pager->name);
	return err_set(err, ERR_CORRUPT, "read page", resource, "%s", reason);
}

int tree_node_explain(struct btree *tree, uint32_t page_no, const uint8_t *page,
                      uint8_t level, struct err *err)
{
	uint32_t usable = tree->pager->usable_size;
	char reason[160];

	if (page[NODE_LEVEL_AT] != level)
		snprintf(reason, sizeof reason, "level %d where %d belongs",
		         page[NODE_LEVEL_AT], level);
	else if (page[NODE_KIND_AT] != (level ? PAGE_INTERIOR : PAGE_LEAF) ||
	         page[NODE_KEYS_AT] != tree->keys)
		snprintf(reason, sizeof reason,
		         "kind %d with keys %d is no node of this tree",
		         page[NODE_KIND_AT], page[NODE_KEYS_AT]);
	else
		snprintf(reason, sizeof reason,
		         "%d entries in %d slots, a prefix of %d, cells at %d "
		         "do not fit %u bytes",
		         load_le16(page + NODE_COUNT_AT),
		         load_le16(page + NODE_ROOM_AT),
		         load_le16(page + NODE_PREFIX_SIZE_AT),
		         load_le16(page + NODE_CELLS_AT), usable);
	return tree_corrupt(tree, page_no, reason, err);
}

/* The longest key for pages of this size. */
static uint32_t key_size_max(uint32_t usable_size)
{
	uint32_t quarter = usable_size / 4 - 32;

	return quarter < BTREE_KEY_SIZE_MAX ? quarter : BTREE_KEY_SIZE_MAX;
}

int tree_key_check(struct btree *tree, struct span key, struct err *err)
{
	uint32_t size_max = key_size_max(tree->pager->usable_size);

	if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return err_set(err, ERR_INVALID, "use key in tree",
		               tree->pager->name,
		               "a rowid key has 8 bytes, not %zu", key.size);
	if (key.size > size_max)
		return err_set(err, ERR_TOOBIG, "use key in tree",
		               tree->pager->name,
		               "%zu bytes, at most %u are possible", key.size,
		               size_max);
	return ERR_NONE;
}

int tree_root_read(struct btree *tree, struct node *root, struct err *err)
{
	struct tree_state state;
	int rc = tree_state_read(tree, &state, err);

	tree->root = NULL;
	if (rc)
		return rc;
	tree->root_page_no = state.root;
	tree->height = state.height;
	tree->leaf_count = tree_leaf_count(&state);
	if (state.height == 1)
		return ERR_NONE;
	rc = tree_node_read(tree, state.root, (uint8_t)(state.height - 1), root,
	                    err);
	if (rc)
		return rc;
	tree->root = root->page;
	tree->root_epoch = *tree->pager->view_epoch;
	tree->root_edits = tree->pager->edits;
	return ERR_NONE;
}

int tree_descend(struct btree *tree, struct probe *probe, struct path *path,
                 bool *found, struct err *err)
{
	struct path_step *step;
	struct node root;
	uint32_t page_no;
	int rc = tree_root_enter(tree, &root, err);

	if (rc)
		return rc;
	page_no = tree->root_page_no;
	path->height = tree->height;
	probe->share = -1;
	for (uint32_t level = path->height - 1u; level > 0; level--) {
		step = &path->at[level];
		step->page_no = page_no;
		if (level == path->height - 1u)
			step->node = root;
		else
			rc = tree_node_read(tree, page_no, (uint8_t)level,
			                    &step->node, err);
		if (rc)
			return rc;
		if (!interior_search(&step->node, probe, &step->slot))
			return tree_corrupt(tree, page_no,
			                    "a separator leaves the page", err);
		page_no = node_child(&step->node, step->slot);
	}
	step = &path->at[0];
	step->page_no = page_no;
	rc = tree_leaf_read(tree, tree->leaf_count, probe, page_no, &step->node,
	                    err);
	if (rc)
		return rc;
	if (!leaf_search(&step->node, probe, &step->slot, found))
		return tree_corrupt(tree, page_no, "a cell leaves the page",
		                    err);
	return ERR_NONE;
}

int tree_descend_last(struct btree *tree, struct path *path, struct err *err)
{
	struct node root;
	uint32_t page_no;
	int rc = tree_root_enter(tree, &root, err);

	if (rc)
		return rc;
	page_no = tree->root_page_no;
	path->height = tree->height;
	for (uint32_t level = path->height; level-- > 0;) {
		struct path_step *step = &path->at[level];

		step->page_no = page_no;
		if (level && level == path->height - 1u)
			step->node = root;
		else
			rc = tree_node_read(tree, page_no, (uint8_t)level,
			                    &step->node, err);
		if (rc)
			return rc;
		step->slot = step->node.count - (level ? 1 : 0);
		if (level)
			page_no = node_child(&step->node, step->slot);
	}
	return ERR_NONE;
}

static int usable_size_check(struct pager *pager, struct err *err)
{
	if (pager->usable_size >= BTREE_USABLE_SIZE_MIN &&
	    pager->usable_size <= BTREE_USABLE_SIZE_MAX)
		return ERR_NONE;
	return err_set(err, ERR_INVALID, "open tree", pager->name,
	               "pages of %u bytes, possible are %d to %d",
	               pager->usable_size, BTREE_USABLE_SIZE_MIN,
	               BTREE_USABLE_SIZE_MAX);
}

int btree_create(struct pager *pager, enum btree_keys keys, struct err *err)
{
	struct tree_state state = { .height = 1, .leaf_pages = 1 };
	uint8_t *bytes, *page;
	int rc;

	rc = usable_size_check(pager, err);
	if (rc)
		return rc;
	rc = pager_state_edit(pager, &bytes, err);
	if (rc)
		return rc;
	rc = pager_allocate(pager, PAGE_LEAF, &state.root, &page, err);
	if (rc)
		return rc;
	node_init(page, pager->usable_size, keys, 0);
	memset(bytes, 0, PAGER_STATE_SIZE);
	tree_state_write(bytes, keys, &state);
	return ERR_NONE;
}

int btree_open(struct btree *tree, struct pager *pager, struct err *err)
{
	struct tree_state state;
	const uint8_t *bytes;
	int rc;

	rc = usable_size_check(pager, err);
	if (rc)
		return rc;
	rc = pager_state_read(pager, &bytes, err);
	if (rc)
		return rc;
	*tree = (struct btree){ .pager = pager,
	                        .keys = BTREE_KEYS_ROWID };
	if (load_le32(bytes + STATE_MAGIC_AT) != STATE_MAGIC)
		return state_refuse(tree, "there is no tree here", err);
	if (bytes[STATE_KEYS_AT] != BTREE_KEYS_ROWID &&
	    bytes[STATE_KEYS_AT] != BTREE_KEYS_BYTES)
		return state_refuse(tree, "the kind of keys is unknown", err);
	tree->keys = (enum btree_keys)bytes[STATE_KEYS_AT];
	return tree_state_read(tree, &state, err);
}

int btree_open_as(struct btree *tree, struct pager *pager, enum btree_keys keys,
                  struct err *err)
{
	int rc = btree_open(tree, pager, err);

	if (rc || tree->keys == keys)
		return rc;
	return err_set(err, ERR_CORRUPT, "open tree", pager->name,
	               "it has keys of kind %d, where those of kind %d belong",
	               (int)tree->keys, (int)keys);
}

int btree_count(struct btree *tree, uint64_t *entries, struct err *err)
{
	struct tree_state state;
	int rc = tree_state_read(tree, &state, err);

	if (!rc)
		*entries = state.entries;
	return rc;
}
