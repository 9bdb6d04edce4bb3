/*
 * btree.h - ordered maps from keys to values over a pager.
 *
 * Keys are byte strings compared by memcmp (btree/key.h makes them from SQL
 * values); a tree of BTREE_KEYS_ROWID has keys of exactly 8 bytes (big-endian,
 * sign bit flipped: btree_rowid_key). Values are any bytes; large ones go to
 * overflow pages. Keys are at most BTREE_KEY_SIZE_MAX bytes; the key codec
 * shortens longer ones to a prefix plus hash and says so.
 *
 * One file holds one tree: its root, height and entry count are in the pager's
 * state (format: btree/btree_format.h). Sources: Bayer and Unterauer, "Prefix
 * B-Trees" (1977), for prefixes and short separators; Graefe and Larson, "B-Tree
 * Indexes and CPU Caches" (2001), for the dense array of key heads.
 *
 * All of it belongs to the view behind the pager: one thread at a time. What comes
 * from pages is checked as it is met: ERR_CORRUPT names file and page, from any
 * function here. Writes need a view that is the writer.
 */
#ifndef TURDB_BTREE_BTREE_H
#define TURDB_BTREE_BTREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breath.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/pager.h"

/* What a tree's keys are; fixed when it is made, and in its format. */
enum btree_keys { BTREE_KEYS_ROWID = 1, BTREE_KEYS_BYTES = 2 };

enum { BTREE_KEY_SIZE_MAX = 3900 }; /* bytes; in pages of 16 KB */

/* Caller's storage; borrowed pager. Holds no page between operations. */
struct btree {
	struct pager *pager;
	enum btree_keys keys;
	uint32_t prefix_usual; /* of the leaf read last: a guess for the next */
	/* Where the last put appended the greatest key, while nothing else has
	 * happened: the next one need not descend. */
	uint32_t append_page_no;
	uint64_t append_epoch, append_edits;
	uint64_t append_head; /* of that key: a rowid whole */
	/* The root as a search read it last, if it is an interior node; NULL when
	 * it is not, or something but an entry in its place has happened. */
	const uint8_t *root;
	uint64_t root_epoch, root_edits;
	uint32_t root_page_no, leaf_count; /* entries of a leaf, about */
	uint8_t height;
	struct breath *breath; /* what btree_verify() takes, or NULL */
};

/* Writes an empty tree into a fresh file. ERR_INVALID when the pages are too small or
 * too large for one. */
int btree_create(struct pager *pager, enum btree_keys keys, struct err *err);

/* Reads and checks the state. No resource to close. ERR_ABORT when no tree was made
 * in that file, ERR_VERSION when it is newer than this library. */
int btree_open(struct btree *tree, struct pager *pager, struct err *err);

/* The same of a tree that has keys of that kind: ERR_CORRUPT for another. */
int btree_open_as(struct btree *tree, struct pager *pager, enum btree_keys keys,
                  struct err *err);

/* How many entries there are, as the state has it: no page is read. */
int btree_count(struct btree *tree, uint64_t *entries, struct err *err);

enum btree_put {
	BTREE_PUT_NEW,     /* ERR_EXISTS (no sentence) when the key is there  */
	BTREE_PUT_REPLACE, /* insert or replace                               */
	BTREE_PUT_APPEND,  /* hint: the key is probably the largest; else NEW */
};

/*
 * Puts and deletes are all or nothing by themselves: one that fails leaves the
 * tree as it was and loses no page, so a caller needs no mark for a single one.
 * Key and value may not lie in pages of this tree. ERR_TOOBIG for a key beyond
 * the limit (BTREE_KEY_SIZE_MAX, less in pages under 16 KB) or a value of 2 GB.
 */
int btree_put(struct btree *tree, struct span key, struct span value,
              enum btree_put mode, struct err *err);

/* *found false and no error when the key is not there. */
int btree_delete(struct btree *tree, struct span key, bool *found,
                 struct err *err);

/*
 * Looks one key up. On a hit *value is borrowed: from the page until the view
 * ends its operation, or (overflow) from `scratch` until its next use; the
 * caller owns it, all zero at first (heap NULL: the pager's), and frees it with
 * btree_scratch_free.
 */
struct btree_scratch {
	struct heap *heap;
	uint8_t *bytes;
	size_t size;
};

int btree_get(struct btree *tree, struct span key,
              struct btree_scratch *scratch, struct span *value, bool *found,
              struct err *err);
void btree_scratch_free(struct btree_scratch *scratch);

/*
 * The same, and *hit remembers where the entry lies: who comes back to it soon
 * need not search again. A hit that anything has happened since (any change of
 * the view or the tree) is found out and costs a search, no more. All zero: none.
 */
struct btree_hit {
	uint64_t view_epoch, edits;
	uint32_t page_no, slot;
	uint32_t value_at, value_size; /* in the page; at 0: not in one piece */
};

int btree_find(struct btree *tree, struct span key,
               struct btree_scratch *scratch, struct span *value,
               struct btree_hit *hit, bool *found, struct err *err);
static inline bool btree_hit_holds(const struct btree *tree,
                                   const struct btree_hit *hit)
{
	return hit->edits == tree->pager->edits &&
	       hit->view_epoch == *tree->pager->view_epoch;
}
/* btree_put() with BTREE_PUT_REPLACE, and btree_delete(), of the key that the hit
 * was found for. */
int btree_put_hit(struct btree *tree, const struct btree_hit *hit,
                  struct span key, struct span value, struct err *err);
int btree_delete_hit(struct btree *tree, const struct btree_hit *hit,
                     struct span key, bool *found, struct err *err);
/* The value's hit->value_size bytes, to be changed where they are until the
 * operation ends. NULL and no error: that way is closed, put it. */
int btree_edit_hit(struct btree *tree, const struct btree_hit *hit,
                   struct span key, uint8_t **value, struct err *err);

/*
 * A position in key order. It remembers its key and survives everything: other
 * writes, savepoints, commits and rollbacks through the same pager. When the
 * view or the tree changed under it, the next use seeks the key again; if that
 * entry is gone, the cursor stands before its successor: btree_cursor_next() then
 * goes to the successor, and reading gives *deleted = true.
 */
struct btree_cursor {
	struct btree *tree;
	uint64_t view_epoch, edits;      /* when `page` was read               */
	uint32_t page_no, slot;
	/* The page and its arrays; valid only while epoch and edits match. */
	const uint8_t *page, *heads, *refs;
	uint32_t count, cells;
	enum { CURSOR_UNSET, CURSOR_ON, CURSOR_GONE, CURSOR_END } where;
	uint8_t *key;                    /* the remembered key                 */
	uint32_t key_size, key_room;
	uint32_t prefix_size;            /* of `key`: also the page's prefix   */
	uint32_t run;                    /* leaves walked through in order     */
	uint8_t key_inline[64];          /* short keys need no allocation      */
	struct btree_scratch scratch;    /* an overflow value                  */
};

/* Which entry a seek goes to: the key's own; the first one from it on, or behind it;
 * the last one up to it, or before it. */
enum btree_seek {
	BTREE_SEEK_EQ, BTREE_SEEK_GE, BTREE_SEEK_GT, BTREE_SEEK_LE, BTREE_SEEK_LT,
};

/* On no entry. The tree must outlive the cursor; close frees a long key. */
void btree_cursor_init(struct btree_cursor *cursor, struct btree *tree);
void btree_cursor_close(struct btree_cursor *cursor);

/* All of these set `*on`: whether the cursor stands on an entry. */
int btree_cursor_seek(struct btree_cursor *cursor, struct span key,
                      enum btree_seek how, bool *on, struct err *err);
int btree_cursor_first(struct btree_cursor *cursor, bool *on, struct err *err);
int btree_cursor_last(struct btree_cursor *cursor, bool *on, struct err *err);
int btree_cursor_next(struct btree_cursor *cursor, bool *on, struct err *err);
int btree_cursor_previous(struct btree_cursor *cursor, bool *on,
                          struct err *err);

/* The next row of a tree of rowids: as btree_cursor_next() and btree_cursor_read(),
 * in one, where that is the next slot of the page in hand. False: nothing has
 * happened, go the usual way. */
bool btree_cursor_step(struct btree_cursor *cursor, int64_t *rowid,
                       struct span *value);

/* The entry under the cursor. The key is borrowed from the cursor or page until
 * its next move; the value from the page until the operation ends, or from the
 * cursor until its next move. *deleted: the entry is gone, key is the
 * remembered one, value empty. `value` may be NULL. */
int btree_cursor_read(struct btree_cursor *cursor, struct span *key,
                      struct span *value, bool *deleted, struct err *err);

/* Calls `each` with every entry in order, lent as by btree_cursor_read(); with a
 * breath behind each. Stops on non-zero and returns that. `each` may end the
 * operation, and change the entry that it is given. */
int btree_each(struct btree *tree,
               int (*each)(void *context, struct span key, struct span value,
                           struct err *err),
               void *context, struct breath *breath, struct err *err);

/* Checks the whole tree: order, bounds, depth, sibling links, counts, overflow
 * chains, every page reached once. Calls `problem` per thing wrong (may be
 * NULL); ERR_CORRUPT with the first one. `visit` (may be NULL) is called for
 * every page reached, so that callers can check for leaked pages. */
int btree_verify(struct btree *tree,
                 void (*problem)(void *context, const char *sentence),
                 void (*visit)(void *context, uint32_t page_no),
                 void *context, struct err *err);

/* About how many entries there are from `low` on and before `high` (for query plans),
 * from the separators: reads at most two paths. NULL-data spans mean unbounded. */
int btree_estimate(struct btree *tree, struct span low, struct span high,
                   uint64_t *entries, struct err *err);

/* A rowid as a key that memcmp orders, and back. */
static inline void btree_rowid_key(uint8_t key[8], int64_t rowid)
{
	store_be64(key, (uint64_t)rowid ^ (UINT64_C(1) << 63));
}

static inline int64_t btree_rowid_of(const uint8_t *key)
{
	return (int64_t)(load_be64(key) ^ (UINT64_C(1) << 63));
}

/* The greatest rowid of a tree of them; *any says whether there is one. No page is
 * read where the last put appended. */
int btree_rowid_last(struct btree *tree, int64_t *rowid, bool *any,
                     struct err *err);

#endif
