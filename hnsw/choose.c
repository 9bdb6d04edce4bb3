/*
 * choose.c - the heuristic that keeps links in different directions.
 *
 * Purpose       A link is redundant when another neighbour is at least as near
 *               to its far end as the node itself is: the walk can go that way.
 *               (The paper says nearer; at least as near also thins out equal
 *               vectors, which would otherwise link only to each other.)
 * Structures    A plan over one node's links is made first, then applied.
 *               Links are always mutual, so shedding one changes its far end
 *               too: the paper lets that end keep its half; here the graph stays
 *               undirected, so that a deletion knows who links to a node.
 * Safety        (L1) Backbone links are never shed here, but for one case: a
 *               node whose links all are backbone takes in another by handing a
 *               backbone neighbour over to it, which keeps the tree a tree.
 */
#include "hnsw/choose.h"

#include "hnsw/score.h"

/* Whether `node` is at least as near to one of `others` as `distance`. */
static int is_redundant(struct hnsw *graph, uint32_t node, float distance,
                        const uint32_t *others, uint32_t count, bool *redundant,
                        struct err *err)
{
	float scores[LINKS_MAX];
	uint32_t i;
	int rc;

	*redundant = false;
	if (count == 0)
		return ERR_NONE;
	rc = score_from_node(graph, &graph->pair_query, node, err);
	if (!rc)
		rc = score_many(graph, &graph->pair_query, others, count,
		                scores, err);
	for (i = 0; !rc && i < count && !*redundant; i++)
		*redundant = scores[i] <= distance;
	return rc;
}

int choose_diverse(struct hnsw *graph, const struct candidate *candidates,
                   size_t count, uint32_t want, struct candidate *chosen,
                   uint32_t *chosen_count, struct err *err)
{
	uint32_t nodes[LINKS_MAX], taken = 0;
	bool redundant;
	size_t i;
	int rc;

	for (i = 0; i < count && taken < want; i++) {
		rc = is_redundant(graph, candidates[i].node,
		                  candidates[i].distance, nodes, taken,
		                  &redundant, err);
		if (rc)
			return rc;
		if (redundant)
			continue;
		nodes[taken] = candidates[i].node;
		chosen[taken++] = candidates[i];
	}
	*chosen_count = taken;
	return ERR_NONE;
}

/* --- shedding ---------------------------------------------------------------------------- */

/* One node's links and one that wants to be, nearest first. */
struct offer {
	float distance;
	uint32_t node;
	bool backbone, keep;
};
struct plan {
	struct offer offers[LINKS_MAX + 1];
	uint32_t count;
	uint32_t kept;
};

static int plan_gather(struct hnsw *graph, uint32_t level, uint32_t node,
                       uint32_t other, bool backbone, struct plan *plan,
                       struct err *err)
{
	struct link_list list;
	uint32_t nodes[LINKS_MAX + 1], i;
	float scores[LINKS_MAX + 1];
	int rc;

	rc = links_copy(graph, node, level, &list, err);
	if (rc)
		return rc;
	for (i = 0; i < list.count; i++)
		nodes[i] = list.links[i] & ~LINK_BACKBONE;
	nodes[i] = other;
	rc = score_from_node(graph, &graph->pair_query, node, err);
	if (!rc)
		rc = score_many(graph, &graph->pair_query, nodes, list.count,
		                scores, err);
	if (!rc)
		rc = score_many(graph, &graph->pair_query, &other, 1,
		                &scores[list.count], err);
	if (rc)
		return rc;
	plan->count = list.count + 1;
	for (i = 0; i < plan->count; i++)
		plan->offers[i] = (struct offer){
			.distance = scores[i],
			.node = nodes[i],
			.backbone = i < list.count ?
			                    list.links[i] & LINK_BACKBONE :
			                    backbone,
		};
	return ERR_NONE;
}

static bool comes_before(const struct offer *a, const struct offer *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance;
	return a->node < b->node;
}

static void plan_sort(struct plan *plan)
{
	uint32_t i, j;

	for (i = 1; i < plan->count; i++) {
		struct offer offer = plan->offers[i];

		for (j = i; j > 0 && comes_before(&offer, &plan->offers[j - 1]);
		     j--)
			plan->offers[j] = plan->offers[j - 1];
		plan->offers[j] = offer;
	}
}

/* Keeps the backbone (L1) and what is not redundant. */
static int plan_keep_diverse(struct hnsw *graph, struct plan *plan,
                             struct err *err)
{
	uint32_t nodes[LINKS_MAX], i;
	bool redundant = false;
	int rc;

	plan->kept = 0;
	for (i = 0; i < plan->count; i++) {
		struct offer *offer = &plan->offers[i];

		if (!offer->backbone && plan->kept < LINKS_MAX) {
			rc = is_redundant(graph, offer->node, offer->distance,
			                  nodes, plan->kept, &redundant, err);
			if (rc)
				return rc;
		}
		offer->keep = offer->backbone || !redundant;
		if (offer->keep && plan->kept < LINKS_MAX)
			nodes[plan->kept] = offer->node;
		plan->kept += offer->keep;
	}
	return ERR_NONE;
}

/* Takes back the nearest redundant ones up to `fill`, drops the farthest others
 * beyond `most`. */
static void plan_trim(struct plan *plan, uint32_t fill, uint32_t most)
{
	uint32_t i;

	for (i = 0; i < plan->count && plan->kept < fill; i++) {
		plan->kept += !plan->offers[i].keep;
		plan->offers[i].keep = true;
	}
	for (i = plan->count; i > 0 && plan->kept > most; i--) {
		struct offer *offer = &plan->offers[i - 1];

		if (!offer->keep || offer->backbone)
			continue;
		offer->keep = false;
		plan->kept--;
	}
}

/* Of a node's backbone neighbours the one that a way over `other`, `apart` from
 * the node, suits best: where the longest step of the way is least beyond the
 * direct one. (The nearest to `other` would be a node that lies close to this one,
 * and behind a far newcomer nobody finds it.) */
static int suited_find(struct hnsw *graph, const struct plan *plan,
                       uint32_t other, uint32_t *suited, struct err *err)
{
	uint32_t nodes[LINKS_MAX], count = 0, i;
	float scores[LINKS_MAX], direct[LINKS_MAX], apart = 0, best = 0;
	int rc;

	for (i = 0; i < plan->count; i++) {
		if (plan->offers[i].node == other) {
			apart = plan->offers[i].distance;
		} else if (count < LINKS_MAX) {
			direct[count] = plan->offers[i].distance;
			nodes[count++] = plan->offers[i].node;
		}
	}
	*suited = NO_NODE;
	rc = score_from_node(graph, &graph->pair_query, other, err);
	if (!rc)
		rc = score_many(graph, &graph->pair_query, nodes, count, scores,
		                err);
	for (i = 0; !rc && i < count; i++) {
		float step = scores[i] > apart ? scores[i] : apart;

		if (*suited == NO_NODE || step - direct[i] < best) {
			*suited = nodes[i];
			best = step - direct[i];
		}
	}
	return rc;
}

/* All links are backbone, and so must be `other`, who has room: a neighbour goes
 * to it. */
static int hand_over(struct hnsw *graph, uint32_t level, uint32_t node,
                     uint32_t other, const struct plan *plan,
                     struct err *err)
{
	uint32_t suited;
	int rc;

	rc = suited_find(graph, plan, other, &suited, err);
	if (rc || suited == NO_NODE)
		return rc;
	rc = links_drop(graph, level, node, suited, err);
	if (!rc)
		rc = links_add(graph, level, other, suited, LINK_BACKBONE, err);
	return rc;
}

/* Links a full node keeps when it sheds: fewer would lose recall, more would
 * have it shed again soon. */
static uint32_t fill_of(uint32_t most)
{
	return most - most / 4;
}

/* Makes room at `node` for a link to `other`; *taken says whether it did. */
static int room_make(struct hnsw *graph, uint32_t level, uint32_t node,
                     uint32_t other, bool backbone, bool *taken,
                     struct err *err)
{
	uint32_t most = links_max(graph, level), i;
	struct links links;
	struct plan plan;
	int rc;

	*taken = true;
	rc = links_read(graph, node, level, &links, err);
	if (rc || links.count < most)
		return rc;
	rc = plan_gather(graph, level, node, other, backbone, &plan, err);
	if (rc)
		return rc;
	plan_sort(&plan);
	rc = plan_keep_diverse(graph, &plan, err);
	if (rc)
		return rc;
	plan_trim(&plan, fill_of(most), most);
	if (plan.kept > most)
		return hand_over(graph, level, node, other, &plan, err);
	for (i = 0; i < plan.count; i++) {
		if (plan.offers[i].keep)
			continue;
		if (plan.offers[i].node == other)
			*taken = false;
		else
			rc = links_drop(graph, level, node, plan.offers[i].node,
			                err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* Whether the nodes are linked already, and how. */
static int link_find(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
                     bool *linked, bool *backbone, struct err *err)
{
	struct links links;
	uint32_t i;
	int rc;

	*linked = *backbone = false;
	rc = links_read(graph, a, level, &links, err);
	for (i = 0; !rc && i < links.count; i++) {
		uint32_t link = link_at(&links, i);

		if ((link & ~LINK_BACKBONE) == b) {
			*linked = true;
			*backbone = link & LINK_BACKBONE;
		}
	}
	return rc;
}

int choose_link(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
                bool backbone, struct err *err)
{
	bool linked, has_backbone, taken;
	int rc;

	rc = link_find(graph, level, a, b, &linked, &has_backbone, err);
	if (rc)
		return rc;
	if (linked)
		return backbone && !has_backbone ?
		               links_promote(graph, level, a, b, err) :
		               ERR_NONE;
	rc = room_make(graph, level, a, b, backbone, &taken, err);
	if (!rc && taken)
		rc = room_make(graph, level, b, a, backbone, &taken, err);
	if (rc || !taken)
		return rc;
	return links_add(graph, level, a, b, backbone ? LINK_BACKBONE : 0, err);
}
