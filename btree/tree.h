/*
 * tree.h - what the operations of a tree share: its state, reading a node with
 * its checks, and the path from the root to a leaf. Private to btree/.
 */
#ifndef TURDB_BTREE_TREE_H
#define TURDB_BTREE_TREE_H

#include "btree/btree.h"
#include "btree/heads.h"
#include "btree/node.h"

struct tree_state {
	uint32_t root, leaf_pages, interior_pages, garbage;
	uint64_t entries;
	uint8_t height;
};

/* A key being looked for. */
struct probe {
	const uint8_t *key;
	uint32_t size;
	uint64_t head;  /* of the whole key */
	float share;    /* how far into the node searched next the key should
	                   lie, 0 to 1; negative when unknown */
	uint64_t width; /* with share: how many rowids can lie in that node */
};

/* From leaf (0) to root (height - 1): where a key belongs. The pages are
 * borrowed until the operation ends. */
struct path {
	uint32_t height;
	struct path_step {
		uint32_t page_no;
		uint32_t slot;
		struct node node;
	} at[NODE_DEPTH_MAX];
};

/* Reads and checks the state. ERR_ABORT when no tree of this kind is there (any
 * more), ERR_VERSION, ERR_CORRUPT. */
int tree_state_read(struct btree *tree, struct tree_state *state,
                    struct err *err);
void tree_state_write(uint8_t *bytes, enum btree_keys keys,
                      const struct tree_state *state);

/* "read page 7 of root/2-users.tbd: ..." */
int tree_corrupt_explain(struct btree *tree, uint32_t page_no,
                         const char *reason, struct err *err);

static inline int tree_corrupt(struct btree *tree, uint32_t page_no,
                               const char *reason, struct err *err)
{
	return err_known(ERR_CORRUPT,
	                 tree_corrupt_explain(tree, page_no, reason, err));
}

/* The sentence for a page that node_parse() refused or whose level is wrong. */
int tree_node_explain(struct btree *tree, uint32_t page_no, const uint8_t *page,
                      uint8_t level, struct err *err);

static inline int tree_node_refuse(struct btree *tree, uint32_t page_no,
                                   const uint8_t *page, uint8_t level,
                                   struct err *err)
{
	return err_known(ERR_CORRUPT, tree_node_explain(tree, page_no, page,
	                                                level, err));
}

/* Reads a node with its checks (btree/tree T2), which is to be on that level
 * (btree/tree T1). */
static inline int tree_node_read(struct btree *tree, uint32_t page_no,
                                 uint8_t level, struct node *node,
                                 struct err *err)
{
	const uint8_t *page;
	int rc = pager_read(tree->pager, page_no, &page, err);

	if (__builtin_expect(rc, 0))
		return rc;
	if (__builtin_expect(!node_parse(node, page, tree->pager->usable_size,
	                                 tree->keys) || node->level != level, 0))
		return tree_node_refuse(tree, page_no, page, level, err);
	return ERR_NONE;
}

/* Entries of a leaf, about. */
static inline uint32_t tree_leaf_count(const struct tree_state *state)
{
	return (uint32_t)(state->entries / (state->leaf_pages | 1));
}

/* Reads a leaf for a search: while its header is on its way, so are the lines
 * that the search will want if it has about `count` entries. */
static inline int tree_leaf_read(struct btree *tree, uint32_t count,
                                 const struct probe *probe, uint32_t page_no,
                                 struct node *node, struct err *err)
{
	struct pager *pager = tree->pager;
	const uint8_t *page;
	int rc;

	rc = pager_read(pager, page_no, &page, err);
	if (__builtin_expect(rc, 0))
		return rc;
	/* Rowids without gaps: the leaf's own count, not the usual one. */
	if (probe->width <= count + count / 4)
		count = (uint32_t)probe->width;
	if (probe->share >= 0)
		leaf_fetch_slot(page, pager->usable_size, tree->prefix_usual,
		                (uint32_t)(probe->share * (float)count),
		                count);
	if (tree->keys != BTREE_KEYS_ROWID)
		leaf_fetch_samples(page, pager->usable_size,
		                   tree->prefix_usual, count);
	if (__builtin_expect(!node_parse(node, page, pager->usable_size,
	                                 tree->keys) || node->level, 0))
		return tree_node_refuse(tree, page_no, page, 0, err);
	tree->prefix_usual = node->prefix_size;
	return ERR_NONE;
}

static inline struct probe probe_of(struct span key)
{
	return (struct probe){ .key = key.data, .size = (uint32_t)key.size,
	                       .head = key_head(key.data, key.size),
	                       .share = -1, .width = UINT64_MAX };
}

/* Whether nothing has happened since a put appended the greatest key. */
static inline bool tree_append_is_likely(const struct btree *tree)
{
	return tree->append_page_no &&
	       tree->append_edits == tree->pager->edits &&
	       tree->append_epoch == *tree->pager->view_epoch;
}

/* Whether nothing has happened since a search read the root, but entries in their
 * places. */
static inline bool tree_root_is_known(const struct btree *tree)
{
	return tree->root && tree->root_edits == tree->pager->edits &&
	       tree->root_epoch == *tree->pager->view_epoch;
}

/* The edits since `before` were of entries in their places: a known root stays
 * known. */
static inline void tree_root_stays(struct btree *tree, uint64_t before)
{
	if (tree->root_edits == before)
		tree->root_edits = tree->pager->edits;
}

/* ERR_INVALID, ERR_TOOBIG for keys that the tree cannot hold. */
int tree_key_check(struct btree *tree, struct span key, struct err *err);

/* For a rowid key that has not its 8 bytes. */
static inline int tree_key_refuse(struct btree *tree, struct span key,
                                  struct err *err)
{
	return err_known(ERR_INVALID, tree_key_check(tree, key, err));
}

/* Where a descent starts: tree->height and tree->root_page_no are as the view has
 * them, and the root is in `root` if it is an interior node. */
int tree_root_read(struct btree *tree, struct node *root, struct err *err);

static inline int tree_root_enter(struct btree *tree, struct node *root,
                                  struct err *err)
{
	if (tree_root_is_known(tree) &&
	    node_parse(root, tree->root, tree->pager->usable_size, tree->keys))
		return ERR_NONE;
	return tree_root_read(tree, root, err);
}

/* Where a key belongs on every level; in the leaf at[0].slot is the first entry
 * that is not smaller, *found whether that is the key. */
int tree_descend(struct btree *tree, struct probe *probe, struct path *path,
                 bool *found, struct err *err);

/* The path to the last entry; at[0].slot is the leaf's count. */
int tree_descend_last(struct btree *tree, struct path *path, struct err *err);

#endif
