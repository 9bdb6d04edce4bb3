/*
 * btree_format.h - how a tree lies in its pages and in its file's state.
 *
 * Little-endian. Pages address `usable_size` bytes (256 to 16,384). Two kinds
 * of node share one layout; values too large for a leaf go to overflow chains.
 *
 *   node   | header | prefix | heads | children | refs | gap ... cells |
 *
 * prefix    the bytes with which all keys of the page begin; after it comes
 *           zero padding to a multiple of 8
 * heads     u64 each, ascending: the next 8 bytes of the key read as a
 *           big-endian number (a shorter key is padded with zeros). In a tree
 *           of rowid keys the head is the whole key
 * children  interior only: u32 page numbers
 * refs      u16 each: where the cell lies. An interior node of a rowid tree has
 *           none; in other interior nodes a ref of 0..8 is no place but the
 *           size of a separator that its head holds whole
 * cells     allocated from the page's end downwards, in any order
 *
 * The arrays have room for `room` slots, `count` of them in use, so that an
 * insert moves only what follows it. In an interior node entry 0 has the empty
 * key (head 0, ref 0) and leads to everything below separator 1; child i holds
 * keys >= separator i and < separator i + 1. A separator is a prefix of a key,
 * not always a key.
 *
 *   leaf cell, byte keys    | key size | value head | key rest | value |
 *   leaf cell, rowid keys   | value head | value |
 *   interior cell           | key size | key rest |
 *
 * Key size counts what follows the page's prefix; key rest is what follows the
 * head's 8 bytes. Sizes are one byte below 128, else two: 0x80 | size >> 8,
 * size & 255; SIZE_SHORT_MAX is the largest. A value head is such a size, or
 *
 *   VALUE_OVERFLOW u8, value size u32, first overflow page u32
 *
 * and then `value` is its first LOCAL bytes and the chain has the rest:
 * with C bytes to a page (usable_size - OVERFLOW_HEADER_SIZE) LOCAL is
 * size % C if that is at most usable_size / VALUE_LOCAL_DIVISOR, else 0.
 *
 * Space given back inside the cell area is dead: HOLE_SIZE_MIN bytes or more
 * form a hole on a list (next hole u16, size u16), less is just counted.
 *
 * Valid when: the header's numbers keep their ranges, arrays end before the
 * cells, refs lie in the cell area, cells and holes do not overlap and with the
 * dead bytes fill the area, keys ascend strictly, keys lie between the
 * separators around the page, every leaf's `next` is the leaf that follows it,
 * levels fall by one from the root to the leaves, counts in the state are true.
 * A leaf may be empty, an interior node has at least one child.
 *
 * Version: readers refuse a state with a greater STATE_VERSION.
 */
#ifndef TURDB_BTREE_BTREE_FORMAT_H
#define TURDB_BTREE_BTREE_FORMAT_H

#include <assert.h>

#include "base/pager.h"

/* The file's state. All zero: no tree. */
enum {
	STATE_MAGIC_AT = 0,          /* u32  STATE_MAGIC                      */
	STATE_VERSION_AT = 4,        /* u16  STATE_VERSION                    */
	STATE_KEYS_AT = 6,           /* u8   enum btree_keys                  */
	STATE_HEIGHT_AT = 7,         /* u8   1 = the root is a leaf           */
	STATE_ROOT_AT = 8,           /* u32  page                             */
	STATE_LEAF_PAGES_AT = 12,    /* u32                                   */
	STATE_ENTRIES_AT = 16,       /* u64                                   */
	STATE_INTERIOR_PAGES_AT = 24,/* u32                                   */
	STATE_GARBAGE_AT = 28,       /* u32  first of a chain of overflow pages
	                                that are still to be freed, or 0      */
	STATE_USED_SIZE = 32,        /*      the rest is zero                 */

	STATE_MAGIC = 0x52544254,    /* 'TBTR'                                */
	STATE_VERSION = 1,
};
static_assert((int)STATE_USED_SIZE <= (int)PAGER_STATE_SIZE, "state fits");

enum {
	NODE_KIND_AT = 0,        /* u8   PAGE_LEAF or PAGE_INTERIOR            */
	NODE_LEVEL_AT = 1,       /* u8   0 for a leaf                          */
	NODE_COUNT_AT = 2,       /* u16  slots in use                          */
	NODE_ROOM_AT = 4,        /* u16  slots there is room for               */
	NODE_CELLS_AT = 6,       /* u16  where the cell area begins            */
	NODE_DEAD_AT = 8,        /* u16  bytes there that no cell uses         */
	NODE_HOLE_AT = 10,       /* u16  first hole, or 0                      */
	NODE_PREFIX_SIZE_AT = 12,/* u16                                        */
	NODE_KEYS_AT = 14,       /* u8   enum btree_keys                       */
	                         /* 15 is zero                                 */
	NODE_NEXT_AT = 16,       /* u32  leaf: the next one, or 0; else 0      */
	                         /* 20..23 are zero                            */
	NODE_HEADER_SIZE = 24,

	NODE_HEAD_SIZE = 8,
	NODE_CHILD_SIZE = 4,
	NODE_REF_SIZE = 2,
	NODE_DEPTH_MAX = 12,     /* levels of a tree                           */
};
static_assert(NODE_HEADER_SIZE % 8 == 0, "heads are aligned");

enum {
	HOLE_NEXT_AT = 0,        /* u16  or 0                                  */
	HOLE_SIZE_AT = 2,        /* u16                                        */
	HOLE_SIZE_MIN = 4,
};

enum {
	SIZE_SHORT_MAX = 0x7EFF,
	VALUE_OVERFLOW = 0xFF,   /* in place of a value's size                 */
	VALUE_OVERFLOW_SIZE_AT = 1,  /* u32                                    */
	VALUE_OVERFLOW_PAGE_AT = 5,  /* u32                                    */
	VALUE_HEAD_SIZE_MAX = 9,
	VALUE_LOCAL_DIVISOR = 8,
	VALUE_SIZE_MAX = 0x7FFFFFFF,
};

/* A page of a chain. All pages but the last are full. */
enum {
	OVERFLOW_KIND_AT = 0,    /* u8   PAGE_OVERFLOW                         */
	                         /* 1..3 are zero                              */
	OVERFLOW_NEXT_AT = 4,    /* u32  or 0                                  */
	OVERFLOW_INDEX_AT = 8,   /* u32  its place in the chain, from 0        */
	OVERFLOW_SIZE_AT = 12,   /* u32  bytes of the value in this page       */
	OVERFLOW_HEADER_SIZE = 16,
};

enum {
	BTREE_USABLE_SIZE_MIN = 256,
	BTREE_USABLE_SIZE_MAX = 16384,
};

#endif
