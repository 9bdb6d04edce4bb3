/*
 * twins.c - chains of nodes with the very same vector, or as good as the same.
 *
 * Purpose       Equal vectors are equally far from everything: a walk that has
 *               room for `ef` nodes would fill up with them and see nothing else,
 *               and their links would lead to each other or, thinned out, nowhere.
 *               So one of them stands for all in the graph, and a search hands
 *               them out together. (pgvector keeps up to ten rows in an element
 *               for the same reason.) Vectors that differ by rounding, as when an
 *               embedding is computed twice, crowd in the same way.
 * Structures    The head's last upper record holds the first of each chain; each
 *               twin knows who comes before and behind it (hnsw_format.h). Any
 *               number can be equal; of those that are only near, every distance
 *               is computed when the head is met, so they are few. Who is a twin
 *               of whom is decided in twins_find.c.
 * Performance   Joining and leaving touch three nodes. A head that goes is
 *               replaced by its first twin: a link is changed at each neighbour,
 *               none is repaired.
 * Safety        (T1) A twin's `before` is whoever names it as the next: so a walk
 *               along a chain ends, whatever the bytes say, for no node can be
 *               reached from two.
 */
#include "hnsw/twins.h"

#include <string.h>

/* --- the record of a head ------------------------------------------------------------- */

/* Where the chain of a head's upper records ends, behind those of its levels:
 * `*at` is 1 + the index of the record there, 0 when there is none. */
static int chain_end(struct hnsw *graph, uint32_t head, uint32_t *last,
                     uint32_t *at, struct err *err)
{
	const uint8_t *block, *bytes;
	uint32_t level, step;
	int rc;

	rc = graph_block(graph, head, &block, err);
	if (rc)
		return rc;
	level = block[NODE_LEVEL_AT];
	*last = NO_NODE;
	*at = load_le32(block + NODE_UPPER_AT);
	for (step = 0; step < level; step++) {
		*last = *at - 1;
		if (level > NODE_LEVEL_MAX ||
		    *last >= graph->state.upper_high_water)
			return graph_corrupt(graph, err,
			                     "node %u has no links on level %u",
			                     head, step + 1);
		rc = strip_read(&graph->uppers, *last, &bytes, err);
		if (rc)
			return rc;
		*at = load_le32(bytes + UPPER_NEXT_AT);
	}
	return ERR_NONE;
}

/* Sets what chain_end() found: in the last record, or in the block. */
static int chain_end_set(struct hnsw *graph, uint32_t head, uint32_t last,
                         uint32_t at, struct err *err)
{
	uint8_t *block, *bytes;
	int rc;

	rc = graph_block_edit(graph, head, &block, err);
	if (rc)
		return rc;
	block[NODE_FLAGS_AT] = at ? NODE_HAS_TWINS : 0;
	if (last == NO_NODE) {
		store_le32(block + NODE_UPPER_AT, at);
		return ERR_NONE;
	}
	rc = strip_edit(&graph->uppers, last, &bytes, err);
	if (!rc)
		store_le32(bytes + UPPER_NEXT_AT, at);
	return rc;
}

static int no_record(struct hnsw *graph, uint32_t head, struct err *err)
{
	return graph_corrupt(graph, err, "node %u has no record of its twins",
	                     head);
}

static uint32_t first_at(enum twins_chain chain)
{
	return UPPER_LINKS_AT + (chain == TWINS_NEAR) * LINK_SIZE;
}

/* The record itself, to be read. */
static int record_read(struct hnsw *graph, uint32_t head, uint32_t *record,
                       const uint8_t **bytes, struct err *err)
{
	uint32_t last, at;
	int rc;

	rc = chain_end(graph, head, &last, &at, err);
	if (rc)
		return rc;
	if (at == 0 || at > graph->state.upper_high_water)
		return no_record(graph, head, err);
	rc = strip_read(&graph->uppers, at - 1, bytes, err);
	if (rc)
		return rc;
	if (load_le32(*bytes + UPPER_NODE_AT) != head ||
	    (*bytes)[UPPER_LEVEL_AT] != UPPER_TWINS)
		return no_record(graph, head, err);
	*record = at - 1;
	return ERR_NONE;
}

static int record_make(struct hnsw *graph, uint32_t head, struct err *err)
{
	uint32_t last, at, record;
	uint8_t *bytes;
	int rc;

	rc = chain_end(graph, head, &last, &at, err);
	if (!rc && at != 0)
		rc = graph_corrupt(graph, err,
		                   "node %u has more upper records than levels",
		                   head);
	if (!rc)
		rc = graph_upper_take(graph, &record, err);
	if (!rc)
		rc = strip_edit(&graph->uppers, record, &bytes, err);
	if (rc)
		return rc;
	store_le32(bytes + UPPER_NODE_AT, head);
	store_le32(bytes + UPPER_NEXT_AT, 0);
	store_le16(bytes + UPPER_DEGREE_AT, 0);
	bytes[UPPER_LEVEL_AT] = UPPER_TWINS;
	store_le32(bytes + first_at(TWINS_EQUAL), 0);
	store_le32(bytes + first_at(TWINS_NEAR), 0);
	return chain_end_set(graph, head, last, record + 1, err);
}

static int record_free(struct hnsw *graph, uint32_t head, struct err *err)
{
	uint32_t last, at;
	int rc;

	rc = chain_end(graph, head, &last, &at, err);
	if (!rc)
		rc = graph_upper_free(graph, head, UPPER_TWINS, &at, err);
	if (!rc)
		rc = chain_end_set(graph, head, last, 0, err);
	return rc;
}

static int has_record(struct hnsw *graph, uint32_t head, bool *has,
                      struct err *err)
{
	const uint8_t *block;
	int rc;

	rc = graph_block(graph, head, &block, err);
	if (!rc)
		*has = block[NODE_LEVEL_AT] <= NODE_LEVEL_MAX &&
		       block[NODE_FLAGS_AT] & NODE_HAS_TWINS;
	return rc;
}

int twins_near_count(struct hnsw *graph, uint32_t head, uint32_t *count,
                     struct err *err)
{
	const uint8_t *bytes;
	uint32_t record;
	bool has = false;
	int rc;

	*count = 0;
	rc = has_record(graph, head, &has, err);
	if (rc || !has)
		return rc;
	rc = record_read(graph, head, &record, &bytes, err);
	if (!rc)
		*count = load_le16(bytes + UPPER_DEGREE_AT);
	return rc;
}

/* Makes `first` (NO_NODE: nobody) the first of a chain, whose length changes. */
static int first_set(struct hnsw *graph, uint32_t head, enum twins_chain chain,
                     uint32_t first, int change, struct err *err)
{
	const uint8_t *bytes;
	uint32_t record;
	uint8_t *edited;
	bool has = false;
	int rc;

	rc = has_record(graph, head, &has, err);
	if (!rc && !has)
		rc = record_make(graph, head, err);
	if (!rc)
		rc = record_read(graph, head, &record, &bytes, err);
	if (!rc)
		rc = strip_edit(&graph->uppers, record, &edited, err);
	if (rc)
		return rc;
	store_le32(edited + first_at(chain), first + 1);
	if (chain == TWINS_NEAR)
		store_le16(edited + UPPER_DEGREE_AT,
		           (uint16_t)(load_le16(edited + UPPER_DEGREE_AT) +
		                      change));
	if (load_le32(edited + first_at(TWINS_EQUAL)) == 0 &&
	    load_le32(edited + first_at(TWINS_NEAR)) == 0)
		rc = record_free(graph, head, err);
	return rc;
}

/* --- chains --------------------------------------------------------------------------- */

static int bad_chain(struct hnsw *graph, uint32_t node, uint32_t before,
                     struct err *err)
{
	return graph_corrupt(graph, err, "node %u is no twin behind node %u",
	                     node, before);
}

/* What follows a node, unchecked. */
static int next_read(struct hnsw *graph, uint32_t node, enum twins_chain chain,
                     uint32_t *next, struct err *err)
{
	const uint8_t *block, *bytes;
	uint32_t record;
	int rc;

	*next = NO_NODE;
	rc = graph_block(graph, node, &block, err);
	if (rc)
		return rc;
	if (block[NODE_LEVEL_AT] == chain) {
		*next = load_le32(block + NODE_AFTER_AT) - 1;
	} else if (block[NODE_LEVEL_AT] <= NODE_LEVEL_MAX &&
	           block[NODE_FLAGS_AT] & NODE_HAS_TWINS) {
		rc = record_read(graph, node, &record, &bytes, err);
		if (!rc)
			*next = load_le32(bytes + first_at(chain)) - 1;
	}
	return rc;
}

/* (T1) */
int twins_next(struct hnsw *graph, uint32_t node, enum twins_chain chain,
               uint32_t *next, struct err *err)
{
	const uint8_t *block;
	int rc;

	rc = next_read(graph, node, chain, next, err);
	if (rc || *next == NO_NODE)
		return rc;
	rc = graph_block(graph, *next, &block, err);
	if (!rc && (block[NODE_LEVEL_AT] != chain ||
	            load_le32(block + NODE_BEFORE_AT) != node))
		rc = bad_chain(graph, *next, node, err);
	return rc;
}

static int before_set(struct hnsw *graph, uint32_t node, uint32_t before,
                      struct err *err)
{
	uint8_t *block;
	int rc;

	rc = graph_block_edit(graph, node, &block, err);
	if (!rc)
		store_le32(block + NODE_BEFORE_AT, before);
	return rc;
}

int twins_join(struct hnsw *graph, uint32_t head, enum twins_chain chain,
               uint32_t node, struct err *err)
{
	uint32_t first;
	uint8_t *block;
	int rc;

	rc = twins_next(graph, head, chain, &first, err);
	if (!rc)
		rc = graph_block_edit(graph, node, &block, err);
	if (rc)
		return rc;
	block[NODE_LEVEL_AT] = (uint8_t)chain;
	store_le32(block + NODE_BEFORE_AT, head);
	store_le32(block + NODE_AFTER_AT, first + 1);
	if (first != NO_NODE)
		rc = before_set(graph, first, node, err);
	if (!rc)
		rc = first_set(graph, head, chain, node, 1, err);
	return rc;
}

/* An ordinary node of level 0, without links. */
static void block_reset(uint8_t *block)
{
	store_le32(block + NODE_UPPER_AT, 0);
	store_le16(block + NODE_DEGREE_AT, 0);
	block[NODE_LEVEL_AT] = 0;
	block[NODE_FLAGS_AT] = 0;
}

/* The head, from a node of its chain. */
static int head_find(struct hnsw *graph, uint32_t node, enum twins_chain chain,
                     uint32_t *head, struct err *err)
{
	const uint8_t *block;
	uint32_t steps;
	int rc;

	for (steps = 0; steps <= NEAR_MAX; steps++) {
		rc = graph_block(graph, node, &block, err);
		if (rc)
			return rc;
		if (block[NODE_LEVEL_AT] != chain) {
			*head = node;
			return ERR_NONE;
		}
		node = load_le32(block + NODE_BEFORE_AT);
	}
	return graph_corrupt(graph, err, "node %u has too many near twins",
	                     node);
}

/* Makes `after` (NO_NODE: nobody) follow `before`, where one node was between. */
static int close_gap(struct hnsw *graph, enum twins_chain chain,
                     uint32_t before, uint32_t after, struct err *err)
{
	const uint8_t *block;
	uint32_t head = before, first;
	uint8_t *edited;
	int rc;

	rc = graph_block(graph, before, &block, err);
	if (rc)
		return rc;
	if (block[NODE_LEVEL_AT] != chain)
		return first_set(graph, before, chain, after, -1, err);
	rc = graph_block_edit(graph, before, &edited, err);
	if (rc)
		return rc;
	store_le32(edited + NODE_AFTER_AT, after + 1);
	if (chain != TWINS_NEAR)
		return ERR_NONE;
	rc = head_find(graph, before, chain, &head, err);
	if (!rc)
		rc = twins_next(graph, head, chain, &first, err);
	if (!rc)
		rc = first_set(graph, head, chain, first, -1, err);
	return rc;
}

int twins_leave(struct hnsw *graph, uint32_t node, struct err *err)
{
	uint32_t before, after, named;
	enum twins_chain chain;
	uint8_t *block;
	int rc;

	rc = graph_block_edit(graph, node, &block, err);
	if (rc)
		return rc;
	chain = block[NODE_LEVEL_AT] == NODE_NEAR ? TWINS_NEAR : TWINS_EQUAL;
	before = load_le32(block + NODE_BEFORE_AT);
	rc = twins_next(graph, node, chain, &after, err);
	if (!rc)
		rc = next_read(graph, before, chain, &named, err);
	if (!rc && named != node)
		rc = bad_chain(graph, node, before, err);
	if (!rc && after != NO_NODE)
		rc = before_set(graph, after, before, err);
	if (!rc)
		rc = close_gap(graph, chain, before, after, err);
	if (!rc)
		block_reset(block);
	return rc;
}

/* --- a head that goes ------------------------------------------------------------------- */

static int link_redirect(struct hnsw *graph, uint32_t level, uint32_t node,
                         uint32_t from, uint32_t to, struct err *err)
{
	struct links_edit edit;
	uint8_t *link;
	int rc;

	rc = links_find(graph, level, node, from, &edit, &link, err);
	if (!rc)
		store_le32(link, to | (load_le32(link) & LINK_BACKBONE));
	return rc;
}

static int neighbours_redirect(struct hnsw *graph, uint32_t level,
                               uint32_t from, uint32_t to, struct err *err)
{
	struct link_list list;
	uint32_t i;
	int rc;

	rc = links_copy(graph, from, level, &list, err);
	for (i = 0; !rc && i < list.count; i++)
		rc = link_redirect(graph, level, list.links[i] & ~LINK_BACKBONE,
		                   from, to, err);
	return rc;
}

static int uppers_give(struct hnsw *graph, uint32_t chain, uint32_t from,
                       uint32_t to, struct err *err)
{
	uint32_t steps;
	uint8_t *bytes;
	int rc;

	for (steps = 0; chain != 0; steps++) {
		if (chain > graph->state.upper_high_water ||
		    steps > NODE_LEVEL_MAX)
			return graph_corrupt(graph, err,
			                     "the upper records of node %u do not end",
			                     from);
		rc = strip_edit(&graph->uppers, chain - 1, &bytes, err);
		if (rc)
			return rc;
		store_le32(bytes + UPPER_NODE_AT, to);
		chain = load_le32(bytes + UPPER_NEXT_AT);
	}
	return ERR_NONE;
}

/* The block but for its rowid. */
static int block_give(struct hnsw *graph, uint32_t from, uint32_t to,
                      struct err *err)
{
	uint8_t *old, *new;
	int rc;

	rc = graph_block_edit(graph, from, &old, err);
	if (!rc)
		rc = graph_block_edit(graph, to, &new, err);
	if (rc)
		return rc;
	memcpy(new + NODE_UPPER_AT, old + NODE_UPPER_AT,
	       graph->block_size - NODE_UPPER_AT);
	block_reset(old);
	return uppers_give(graph, load_le32(new + NODE_UPPER_AT), from, to, err);
}

/* The first of a chain now follows another head. */
static int chain_give(struct hnsw *graph, uint32_t from, uint32_t to,
                      enum twins_chain chain, struct err *err)
{
	uint32_t first;
	int rc;

	rc = twins_next(graph, from, chain, &first, err);
	if (!rc && first != NO_NODE)
		rc = before_set(graph, first, to, err);
	return rc;
}

static int links_give(struct hnsw *graph, uint32_t from, uint32_t to,
                      struct err *err)
{
	const uint8_t *block;
	uint32_t level;
	int rc;

	rc = graph_block(graph, from, &block, err);
	if (rc)
		return rc;
	for (level = block[NODE_LEVEL_AT] + 1u; !rc && level > 0; level--)
		rc = neighbours_redirect(graph, level - 1, from, to, err);
	return rc;
}

int twins_promote(struct hnsw *graph, uint32_t head, uint32_t *heir,
                  struct err *err)
{
	uint32_t first;
	int rc;

	rc = twins_next(graph, head, TWINS_EQUAL, &first, err);
	if (!rc && first == NO_NODE)
		rc = twins_next(graph, head, TWINS_NEAR, &first, err);
	if (!rc && first == NO_NODE)
		rc = no_record(graph, head, err);
	if (!rc)
		rc = twins_leave(graph, first, err);
	if (!rc)
		rc = chain_give(graph, head, first, TWINS_EQUAL, err);
	if (!rc)
		rc = chain_give(graph, head, first, TWINS_NEAR, err);
	if (!rc)
		rc = links_give(graph, head, first, err);
	if (!rc)
		rc = block_give(graph, head, first, err);
	if (!rc && graph->state.entry == head)
		graph->state.entry = first;
	*heir = first;
	return rc;
}
