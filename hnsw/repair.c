/*
 * repair.c - the neighbours of a node that went are linked to each other.
 *
 * Architecture  Per level: a plan over the neighbours (their distances to each
 *               other, who is linked already), first repairing the backbone,
 *               then filling up with diverse links.
 * Structures    The node was one end of each of its backbone links, so without
 *               it the tree falls into one part a backbone neighbour. The
 *               parts are joined by the shortest links between such neighbours
 *               that have room in the tree.
 * Performance   About degree^2 / 2 distances, all among neighbours.
 */
#include "hnsw/repair.h"

#include <string.h>

#include "hnsw/choose.h"
#include "hnsw/score.h"
#include "hnsw/sort.h"

/* --- who is orphaned --------------------------------------------------------------------- */

struct orphan {
	uint32_t node;
	uint32_t degree, backbone_degree;
	bool backbone; /* had a backbone link to the node */
	uint32_t part; /* index of an orphan in the same part of the tree */
};

/* A link that may be made between two orphans. */
struct pair {
	float distance;
	uint32_t a, b; /* indices of orphans */
};

struct repair {
	struct orphan orphans[LINKS_MAX];
	uint32_t count;
	/* In the graph's scratch. */
	float *distances; /* count * count */
	uint8_t *linked;  /* count * count */
	uint64_t *pairs;  /* a < b, in rising distance; see pair_at() */
	uint32_t pair_count;
};

/* The scratch is made once, for as many orphans as a node can leave. */
static int repair_open(struct hnsw *graph, struct repair *repair,
                       uint32_t count, struct err *err)
{
	size_t most = graph->links_max[0];
	size_t square = most * most;

	if (!graph->repair_scratch)
		graph->repair_scratch = heap_allocate(
			graph->pager->heap,
			square * (sizeof(uint64_t) / 2 + sizeof(float) + 1));
	if (!graph->repair_scratch) {
		graph_no_memory(graph, err);
		return ERR_NOMEM;
	}
	repair->count = count;
	repair->pairs = (uint64_t *)(void *)graph->repair_scratch;
	repair->distances = (float *)(void *)(repair->pairs + square / 2);
	repair->linked = (uint8_t *)(repair->distances + square);
	return ERR_NONE;
}

static uint32_t orphan_find(const struct repair *repair, uint32_t node)
{
	uint32_t i;

	for (i = 0; i < repair->count; i++) {
		if (repair->orphans[i].node == node)
			return i;
	}
	return NO_NODE;
}

/* Degrees, and who is linked to whom. */
static int orphan_read(struct hnsw *graph, uint32_t level,
                       struct repair *repair, uint32_t i, struct err *err)
{
	struct orphan *orphan = &repair->orphans[i];
	struct links links;
	uint32_t j, other;
	int rc;

	rc = links_read(graph, orphan->node, level, &links, err);
	if (rc)
		return rc;
	orphan->degree = links.count;
	orphan->backbone_degree = 0;
	for (j = 0; j < links.count; j++) {
		uint32_t link = link_at(&links, j);

		orphan->backbone_degree += (link & LINK_BACKBONE) != 0;
		other = orphan_find(repair, link & ~LINK_BACKBONE);
		if (other != NO_NODE)
			repair->linked[i * repair->count + other] = true;
	}
	return ERR_NONE;
}

static int orphans_read(struct hnsw *graph, uint32_t level,
                        struct repair *repair, struct err *err)
{
	uint32_t i;
	int rc = ERR_NONE;

	memset(repair->linked, 0, (size_t)repair->count * repair->count);
	for (i = 0; !rc && i < repair->count; i++)
		rc = orphan_read(graph, level, repair, i, err);
	return rc;
}

static int orphan_measure(struct hnsw *graph, struct repair *repair, uint32_t i,
                          struct err *err)
{
	uint32_t nodes[LINKS_MAX], j;
	int rc;

	for (j = 0; j < repair->count; j++)
		nodes[j] = repair->orphans[j].node;
	rc = score_from_node(graph, &graph->pair_query, nodes[i], err);
	if (!rc)
		rc = score_many(graph, &graph->pair_query, nodes, repair->count,
		                repair->distances + (size_t)i * repair->count,
		                err);
	return rc;
}

static float distance_of(const struct repair *repair, uint32_t a, uint32_t b)
{
	return repair->distances[(size_t)a * repair->count + b];
}

static bool are_linked(const struct repair *repair, uint32_t a, uint32_t b)
{
	return repair->linked[(size_t)a * repair->count + b];
}

static void pairs_make(struct repair *repair)
{
	uint32_t a, b;

	repair->pair_count = 0;
	for (a = 0; a < repair->count; a++) {
		for (b = a + 1; b < repair->count; b++)
			repair->pairs[repair->pair_count++] =
				(uint64_t)sort_key_of_float(
					distance_of(repair, a, b)) << 32 |
				a << 16 | b;
	}
	sort_u64(repair->pairs, repair->pair_count);
}

static struct pair pair_at(const struct repair *repair, uint32_t i)
{
	struct pair pair = { .a = repair->pairs[i] >> 16 & 0xffff,
		             .b = repair->pairs[i] & 0xffff };

	pair.distance = distance_of(repair, pair.a, pair.b);
	return pair;
}

static int repair_fill(struct hnsw *graph, uint32_t level,
                       struct repair *repair, const struct link_list *list,
                       struct err *err)
{
	uint32_t i;
	int rc;

	for (i = 0; i < repair->count; i++) {
		repair->orphans[i].node = list->links[i] & ~LINK_BACKBONE;
		repair->orphans[i].backbone = list->links[i] & LINK_BACKBONE;
		repair->orphans[i].part = i;
	}
	rc = orphans_read(graph, level, repair, err);
	for (i = 0; !rc && i < repair->count; i++)
		rc = orphan_measure(graph, repair, i, err);
	if (!rc)
		pairs_make(repair);
	return rc;
}

/* --- the backbone -------------------------------------------------------------------------- */

static uint32_t part_of(const struct repair *repair, uint32_t i)
{
	while (repair->orphans[i].part != i)
		i = repair->orphans[i].part;
	return i;
}

/* Links two nodes, or outer nodes of their parts, into the backbone. */
static int parts_link(struct hnsw *graph, uint32_t level,
                      struct repair *repair, uint32_t a, uint32_t b,
                      uint32_t a_node, uint32_t b_node, struct err *err)
{
	int rc;

	rc = choose_link(graph, level, a_node, b_node, true, err);
	if (rc)
		return rc;
	repair->orphans[part_of(repair, a)].part = part_of(repair, b);
	/* Making room may have cost orphans some links. */
	return orphans_read(graph, level, repair, err);
}

/* Joins parts by their shortest pairs that have room; *parts counts them down. */
static int parts_join(struct hnsw *graph, uint32_t level,
                      struct repair *repair, uint32_t *parts, struct err *err)
{
	uint32_t most = links_max(graph, level), i;
	int rc;

	for (i = 0; i < repair->pair_count && *parts > 1; i++) {
		struct pair pair = pair_at(repair, i);
		const struct orphan *a = &repair->orphans[pair.a];
		const struct orphan *b = &repair->orphans[pair.b];

		if (!a->backbone || !b->backbone ||
		    part_of(repair, pair.a) == part_of(repair, pair.b) ||
		    a->backbone_degree >= most || b->backbone_degree >= most)
			continue;
		rc = parts_link(graph, level, repair, pair.a, pair.b, a->node,
		                b->node, err);
		if (rc)
			return rc;
		--*parts;
	}
	return ERR_NONE;
}

/* From an orphan outwards along the backbone to a node with room in it: a tree
 * has leaves, so there is one. */
static int roomy_find(struct hnsw *graph, uint32_t level, uint32_t *node,
                      struct err *err)
{
	uint32_t most = links_max(graph, level), before = NO_NODE, steps, i;
	struct links links;
	int rc;

	for (steps = 0; steps <= graph->state.count; steps++) {
		uint32_t backbone = 0, onward = NO_NODE;

		rc = links_read(graph, *node, level, &links, err);
		if (rc)
			return rc;
		for (i = 0; i < links.count; i++) {
			uint32_t link = link_at(&links, i);

			if (!(link & LINK_BACKBONE))
				continue;
			backbone++;
			if ((link & ~LINK_BACKBONE) != before)
				onward = link & ~LINK_BACKBONE;
		}
		if (backbone < most)
			return ERR_NONE;
		before = *node;
		*node = onward;
	}
	return graph_corrupt(graph, err, "the backbone of level %u has a cycle",
	                     level);
}

/* The parts that are left have no two roomy orphans: joins them where they have
 * room. */
static int parts_join_outside(struct hnsw *graph, uint32_t level,
                              struct repair *repair, struct err *err)
{
	uint32_t first = NO_NODE, i, a, b;
	int rc;

	for (i = 0; i < repair->count; i++) {
		if (!repair->orphans[i].backbone)
			continue;
		if (first == NO_NODE)
			first = i;
		if (part_of(repair, i) == part_of(repair, first))
			continue;
		a = repair->orphans[first].node;
		b = repair->orphans[i].node;
		rc = roomy_find(graph, level, &a, err);
		if (!rc)
			rc = roomy_find(graph, level, &b, err);
		if (!rc)
			rc = parts_link(graph, level, repair, i, first, a, b,
			                err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

static int backbone_repair(struct hnsw *graph, uint32_t level,
                           struct repair *repair, struct err *err)
{
	uint32_t parts = 0, i;
	int rc;

	for (i = 0; i < repair->count; i++)
		parts += repair->orphans[i].backbone;
	rc = parts_join(graph, level, repair, &parts, err);
	if (!rc && parts > 1)
		rc = parts_join_outside(graph, level, repair, err);
	return rc;
}

/* --- the other links ------------------------------------------------------------------------ */

/* Whether an orphan linked to either end makes the pair redundant for it. */
static bool is_covered(const struct repair *repair, struct pair pair,
                       uint32_t end, uint32_t other)
{
	uint32_t i;

	for (i = 0; i < repair->count; i++) {
		if (i != end && i != other && are_linked(repair, end, i) &&
		    distance_of(repair, end, i) <= pair.distance &&
		    distance_of(repair, i, other) <= pair.distance)
			return true;
	}
	return false;
}

static int pair_link(struct hnsw *graph, uint32_t level, struct repair *repair,
                     struct pair pair, struct err *err)
{
	struct orphan *a = &repair->orphans[pair.a];
	struct orphan *b = &repair->orphans[pair.b];
	int rc;

	rc = links_add(graph, level, a->node, b->node, 0, err);
	if (rc)
		return rc;
	a->degree++;
	b->degree++;
	repair->linked[(size_t)pair.a * repair->count + pair.b] = true;
	repair->linked[(size_t)pair.b * repair->count + pair.a] = true;
	return ERR_NONE;
}

/* The shortest links first; `all`: redundant ones too, between ends that have
 * fewer than `fill`. */
static int pairs_link(struct hnsw *graph, uint32_t level,
                      struct repair *repair, uint32_t fill, bool all,
                      struct err *err)
{
	uint32_t most = links_max(graph, level), i;
	int rc;

	for (i = 0; i < repair->pair_count; i++) {
		struct pair pair = pair_at(repair, i);
		const struct orphan *a = &repair->orphans[pair.a];
		const struct orphan *b = &repair->orphans[pair.b];

		if (a->degree >= most || b->degree >= most ||
		    (a->degree >= fill && b->degree >= fill) ||
		    are_linked(repair, pair.a, pair.b))
			continue;
		if (!all && is_covered(repair, pair, pair.a, pair.b) &&
		    is_covered(repair, pair, pair.b, pair.a))
			continue;
		rc = pair_link(graph, level, repair, pair, err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* --- all of it ----------------------------------------------------------------------------- */

int repair_links(struct hnsw *graph, uint32_t level,
		 const struct link_list *list, struct err *err)
{
	uint32_t most = links_max(graph, level);
	struct repair repair;
	int rc;

	rc = repair_open(graph, &repair, list->count, err);
	if (rc)
		return rc;
	rc = repair_fill(graph, level, &repair, list, err);
	if (!rc)
		rc = backbone_repair(graph, level, &repair, err);
	if (!rc && list->count > 1)
		rc = pairs_link(graph, level, &repair, most, false, err);
	if (!rc && list->count > 1)
		rc = pairs_link(graph, level, &repair, most / 4, true, err);
	return rc;
}
