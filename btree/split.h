/*
 * split.h - an entry into a tree whose leaf may be full. Private to btree/.
 */
#ifndef TURDB_BTREE_SPLIT_H
#define TURDB_BTREE_SPLIT_H

#include "btree/change.h"
#include "btree/node_build.h"
#include "btree/node_edit.h"

/* How an entry gets into one node. */
struct node_fit {
	struct node_place place;
	struct layout layout; /* with PLACE_REBUILD: of the page written anew */
};

/* Looks for room for sequence->inserted (whose key lies in one piece, prefix
 * and all behind each other) in sequence->left. False: the page is damaged. */
bool node_fit_find(const struct sequence *sequence, struct node_fit *fit);

/* Puts it there; `page` is the node's, now editable. */
void node_fit_apply(const struct sequence *sequence,
                    const struct node_fit *fit, uint8_t *page);

/* Writes `page` anew from entries [from, to) of a sequence that may be of that
 * very page; its `next` stays. */
void node_rewrite(const struct sequence *sequence, uint32_t from, uint32_t to,
                  const struct layout *layout, uint8_t *page);

/*
 * The plan of a split that goes up as far as it must: nodes on levels below
 * `split_count` are divided, the node above takes the last separator in, or a
 * new root does.
 */
struct split_plan {
	uint32_t split_count;
	uint32_t left_count[NODE_DEPTH_MAX]; /* entries that stay */
	struct layout left[NODE_DEPTH_MAX], right[NODE_DEPTH_MAX];
	struct node_fit fit;                 /* in the node above */
	bool new_root;
};

/* Plans for the leaf's sequence, which does not fit. Pure. ERR_CORRUPT,
 * ERR_TOOBIG (too deep). */
int split_plan(struct btree *tree, const struct path *path,
               const struct sequence *leaf, struct split_plan *plan,
               struct err *err);

/* Acquires the pages. */
struct split_pages {
	uint8_t *left[NODE_DEPTH_MAX]; /* the path's, editable */
	struct change_page right[NODE_DEPTH_MAX], root;
	uint8_t *above;
};
int split_acquire(struct change *change, const struct path *path,
                  const struct split_plan *plan, struct split_pages *pages,
                  struct err *err);

/* Carries the plan out. */
void split_apply(struct change *change, const struct path *path,
                 const struct sequence *leaf, const struct split_plan *plan,
                 const struct split_pages *pages);

/* Divides the sequence into two pages: among the places near the middle by bytes
 * the one with the shortest separator, else the most even one. False when it is
 * damaged or no such place exists. */
struct division {
	uint32_t left_count;
	struct layout left, right;
};
bool sequence_divide(const struct sequence *sequence,
                     struct division *division);

/* The shortest key that is greater than the sequence's entry `index` - 1 and
 * not greater than entry `index`; for interior nodes the key of entry `index`.
 * `key` has room for BTREE_KEY_SIZE_MAX bytes. False: damaged. */
bool sequence_separator(const struct sequence *sequence, uint32_t index,
                        uint8_t *key, uint32_t *key_size);

#endif
