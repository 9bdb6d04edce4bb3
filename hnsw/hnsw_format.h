/*
 * hnsw_format.h - the bytes of a vector graph: state, meta page, strips.
 *
 * A graph is one file of pages. What changes with every commit is in the
 * pager's state; what never changes is in the meta page; everything else is in
 * strips. All numbers are little-endian.
 *
 * Strip: an array of equal records, record i at a place that arithmetic gives.
 * `packed`: as many whole records to a page as fit, the rest of the page zero.
 * `flowing`: record i is bytes [i * size, (i + 1) * size) of the strip's pages
 * laid end to end, so a record may cross pages. A strip is packed unless that
 * would waste more than a STRIP_WASTE-th of each page.
 *
 * Directory: the page numbers of a strip's pages, u32 each, in a radix tree of
 * pages full of page numbers (fan-out usable_size / 4). A strip of one page has
 * that page as its root; of up to fan-out pages one directory page; and so on.
 * The number of pages follows from the number of
 * records, the depth from the number of pages; 0 stands for no page.
 *
 * Strips, and how many records they have:
 *   nodes       one block, bias and payload a node id, [0, high water)
 *   payloads    what distances are computed from, when that does not fit a page
 *               of nodes without waste; one a node id
 *   vectors     full vectors as they were given, one a node id; only when they
 *               are not the payloads already (that is, with SQ8)
 *   uppers      link lists of levels 1 and up, [0, upper high water)
 *   quantisers  2 records, once SQ8 has been trained
 *
 * Page of nodes, for k nodes: NODES_PAYLOADS_AT zero bytes, so that in a page
 * with a head of 16 bytes the payloads begin a cache line; k payloads, unless
 * they have a strip of their own, each followed by zeros up to a multiple of 4;
 * k blocks; k biases (f32). k is as many as fit. With quantize none a payload is
 * the vector itself, with SQ8 one signed byte a dimension.
 *
 *   OFFSET SIZE  node block
 *   0      8     rowid
 *   8      4     upper: 1 + index of its link list of level 1, 0 = none;
 *                in a free node 1 + the next free node's id, 0 = none
 *   12     2     degree: links in use
 *   14     1     level, or NODE_FREE, NODE_TWIN, NODE_NEAR
 *   15     1     flags: NODE_HAS_TWINS
 *   16     8m    links of level 0, 2m of them
 *
 * Twins: nodes whose full vectors are the same, byte for byte. One of them, the
 * head, is in the graph; the others hang on it in a chain and have no links, no
 * upper records and no level. In a second chain hang up to NEAR_MAX nodes whose
 * vectors are as good as the head's: f32, the sum of squared differences at most
 * NEAR_FRACTION of the head's sum of squares. (Heads may be twins of each other:
 * two equal vectors need not know of each other.) The last upper record of a head
 * with chains has level UPPER_TWINS, as degree the length of the second chain, as
 * links 1 + the first of either chain, 0 = none.
 *
 *   OFFSET SIZE  node block in a chain, as above but for
 *   8      4     zero
 *   12     2     zero
 *   16     4     before: the node before it in the chain, at its start the head
 *   20     4     after: 1 + the node behind it in the chain, 0 = none
 *
 *   OFFSET SIZE  upper record
 *   0      4     node that owns it
 *   4      4     next: 1 + index of the record one level up, 0 = none;
 *                in a free record 1 + the next free one
 *   8      2     degree
 *   10     1     level, 0 = free; UPPER_TWINS
 *   11     1     zero
 *   12     4m    links
 *
 * Link: a node id, with LINK_BACKBONE set when the link is part of its level's
 * backbone. Valid when: both ends list each other with the same flag; no end
 * twice, never itself; both ends have that level. The backbone links of a level
 * form a spanning tree of its nodes, so that every node is reachable.
 *
 * Quantiser: x is coded as c = round((x - middle) / step), within -128..127, per
 * dimension. Under cosine x is the normalised vector. Under L1 all steps are
 * equal. pair_step = step * step / pair_factor, where pair_factor makes the
 * largest of |128 * pair_step| at most 32767 (L1: zero).
 *
 *   OFFSET   SIZE  quantiser record (n dimensions)
 *   0        4     pair_factor (f32)
 *   4        12    zero
 *   16       4n    middle (f32)
 *   16+4n    4n    step (f32), above 0
 *   16+8n    4n    pair_step (f32)
 *
 * Node id i is coded by quantiser slot `state.slot`, except for ids in
 * [recode_cursor, recode_limit): those still have the other slot's codes.
 *
 * Bias. Without codes: under cosine 1 / norm of the vector, else 0. With codes:
 * L2 and cosine: sum of pair_factor * round(pair_step * c) * c; inner product:
 * sum of middle * step * c; L1: 0.
 *
 * Version 2; version 1 is the same without twins. A reader refuses a higher
 * version in state or meta page.
 */
#ifndef TURDB_HNSW_HNSW_FORMAT_H
#define TURDB_HNSW_HNSW_FORMAT_H

#include <assert.h>

#include "base/pager.h"

enum {
	GRAPH_VERSION = 2,

	STATE_VERSION_AT = 0,      /* u16, 0 = no graph was made here          */
	STATE_TOP_LEVEL_AT = 2,    /* u8  the entry's level                    */
	STATE_FLAGS_AT = 3,        /* u8  STATE_TRAINED, STATE_SLOT            */
	STATE_META_AT = 4,         /* u32 the meta page                        */
	STATE_COUNT_AT = 8,        /* u32 live nodes                           */
	STATE_HIGH_WATER_AT = 12,  /* u32 node ids ever used lie below         */
	STATE_FREE_AT = 16,        /* u32 1 + first free node id, 0 = none     */
	STATE_ENTRY_AT = 20,       /* u32 1 + entry node, 0 = empty            */
	STATE_UPPER_HIGH_AT = 24,  /* u32 upper records ever used lie below    */
	STATE_UPPER_FREE_AT = 28,  /* u32 1 + first free upper record          */
	STATE_UPPER_COUNT_AT = 32, /* u32 upper records in use                 */
	STATE_TRAIN_AT = 36,       /* u32 count at which to train next         */
	STATE_RECODE_CURSOR_AT = 40, /* u32 */
	STATE_RECODE_LIMIT_AT = 44,  /* u32 */
	STATE_NODES_AT = 48,       /* u32 roots of the strips, 0 = no page     */
	STATE_PAYLOADS_AT = 52,
	STATE_VECTORS_AT = 56,
	STATE_UPPERS_AT = 60,
	STATE_QUANTISERS_AT = 64,
	STATE_ZERO_AT = 68,        /* zero to the end */

	STATE_TRAINED = 1, /* payloads are codes (SQ8); else vectors are used */
	STATE_SLOT = 2,    /* the quantiser in use is record 1, not 0         */

	META_MAGIC_AT = 0,      /* u32 META_MAGIC */
	META_VERSION_AT = 4,    /* u32 GRAPH_VERSION */
	META_DIMENSIONS_AT = 8, /* u32 */
	META_ELEMENT_AT = 12,   /* u8  enum hnsw_element  */
	META_METRIC_AT = 13,    /* u8  enum hnsw_metric   */
	META_QUANTIZE_AT = 14,  /* u8  enum hnsw_quantize */
	META_M_AT = 16,         /* u32 */
	META_EF_AT = 20,        /* u32 ef_construction */
	META_SIZE = 24,         /* zero from here on */

	STRIP_WASTE = 8,
	STRIP_QUANTISERS = 2,

	NODES_PAYLOADS_AT = 48,

	NODE_ROWID_AT = 0,
	NODE_UPPER_AT = 8,
	NODE_DEGREE_AT = 12,
	NODE_LEVEL_AT = 14,
	NODE_FLAGS_AT = 15,
	NODE_LINKS_AT = 16,
	NODE_BEFORE_AT = 16,
	NODE_AFTER_AT = 20,
	NODE_HAS_TWINS = 1,
	NODE_TWIN = 254,
	NODE_NEAR = 253,
	NEAR_MAX = 32,
	NODE_BIAS_SIZE = 4,
	NODE_FREE = 255,
	NODE_LEVEL_MAX = 15,
	NODE_ID_MAX = 0x7ffffffe,

	UPPER_NODE_AT = 0,
	UPPER_NEXT_AT = 4,
	UPPER_DEGREE_AT = 8,
	UPPER_LEVEL_AT = 10,
	UPPER_LINKS_AT = 12,
	UPPER_TWINS = 255,

	LINK_SIZE = 4,

	QUANTISER_PAIR_FACTOR_AT = 0,
	QUANTISER_MIDDLES_AT = 16,
};

#define NEAR_FRACTION 1e-8
#define LINK_BACKBONE UINT32_C(0x80000000)
#define META_MAGIC UINT32_C(0x57534e48) /* 'HNSW' */

static_assert((int)STATE_ZERO_AT <= (int)PAGER_STATE_SIZE, "the state fits");

#endif
