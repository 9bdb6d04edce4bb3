/*
 * verify.c - says everything that is wrong with a graph.
 *
 *   (V1) Every block is live or free; as many are live as the state says. (A
 *        live one is in the graph or a twin.)
 *   (V2) The free lists hold exactly the free nodes and the free upper records.
 *   (V3) Degrees fit; links lead to other live nodes of that level, no two to
 *        the same, and are mutual with the same flag.
 *   (V4) Backbone links of a level form one tree over all its nodes.
 *        And so: every live node is reached from the entry by the links of level
 *        0, or hangs on one that is.
 *   (V5) The entry is a node of the top level, and no node is higher.
 *   (V6) Payload and bias are those of the full vector.
 *   (V7) Every twin is in one chain, of a node in the graph with the same vector
 *        or one that is near enough.
 *   (V8) No page belongs to two strips (the caller's `visit` sees to that).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hnsw/quantise.h"
#include "hnsw/twins.h"

struct check {
	struct hnsw *graph;
	void (*problem)(void *context, const char *sentence);
	void *context;
	bool failed;
	char first[256];
	uint8_t *levels;  /* by node, as in the block */
	uint32_t *parents; /* by node: union-find over the backbone */
	uint64_t *seen;   /* bits, for lists */
};

static void complain(struct check *check, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void complain(struct check *check, const char *format, ...)
{
	char sentence[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	if (!check->failed)
		memcpy(check->first, sentence, sizeof sentence);
	check->failed = true;
	if (check->problem)
		check->problem(check->context, sentence);
}

/* A sentence that another function wrote about damage becomes a problem; any
 * other failure ends the check. */
static int absorb(struct check *check, int rc, const struct err *err)
{
	if (rc != ERR_CORRUPT)
		return rc;
	complain(check, "%s", err->text);
	return ERR_NONE;
}

/* --- nodes ------------------------------------------------------------------------------- */

static bool is_on_level(const struct check *check, uint32_t node, uint32_t level)
{
	return check->levels[node] <= NODE_LEVEL_MAX &&
	       check->levels[node] >= level;
}

/* (V1), (V5). */
static int levels_read(struct check *check,
                       void (*row)(void *context, uint32_t node, int64_t rowid),
                       struct err *err)
{
	struct hnsw *graph = check->graph;
	uint32_t live = 0, node;
	int rc;

	for (node = 0; node < graph->state.high_water; node++) {
		const uint8_t *block;
		uint8_t level;

		check->levels[node] = NODE_FREE;
		rc = breathe(graph->breath, err);
		if (!rc)
			rc = graph_block(graph, node, &block, err);
		if (rc)
			return rc;
		level = block[NODE_LEVEL_AT];
		if (level == NODE_FREE)
			continue;
		if (level > NODE_LEVEL_MAX && !twins_is_level(level)) {
			complain(check, "node %u has level %u", node, level);
			continue;
		}
		check->levels[node] = level;
		live++;
		if (!twins_is_level(level) && level > graph->state.top_level)
			complain(check, "node %u is on level %u, top is %u",
			         node, level, graph->state.top_level);
		if (row)
			row(check->context, node,
			    (int64_t)load_le64(block + NODE_ROWID_AT));
	}
	if (live != graph->state.count)
		complain(check, "%u nodes are live, the state says %u", live,
		         graph->state.count);
	if (graph->state.entry != NO_NODE &&
	    check->levels[graph->state.entry] != graph->state.top_level)
		complain(check, "entry node %u is not on the top level, %u",
		         graph->state.entry, graph->state.top_level);
	return ERR_NONE;
}

static bool seen_before(struct check *check, uint32_t index)
{
	uint64_t bit = UINT64_C(1) << (index & 63);
	bool before = check->seen[index >> 6] & bit;

	check->seen[index >> 6] |= bit;
	return before;
}

/* (V2) of nodes. */
static int free_nodes_check(struct check *check, struct err *err)
{
	struct hnsw *graph = check->graph;
	const struct graph_state *state = &graph->state;
	uint32_t next = state->free_head, count = 0;
	const uint8_t *block;
	int rc;

	memset(check->seen, 0, (state->high_water / 64 + 1) * sizeof(uint64_t));
	while (next != 0) {
		uint32_t node = next - 1;

		if (node >= state->high_water || seen_before(check, node) ||
		    check->levels[node] != NODE_FREE) {
			complain(check,
			         "free list goes wrong at node %u after %u",
			         node, count);
			return ERR_NONE;
		}
		rc = graph_block(graph, node, &block, err);
		if (rc)
			return rc;
		next = load_le32(block + NODE_UPPER_AT);
		count++;
	}
	if (count != state->high_water - state->count)
		complain(check, "%u nodes are on the free list, %u are free",
		         count, state->high_water - state->count);
	return ERR_NONE;
}

/* (V2) of upper records. */
static int free_uppers_check(struct check *check, struct err *err)
{
	struct hnsw *graph = check->graph;
	const struct graph_state *state = &graph->state;
	uint32_t next = state->upper_free_head, count = 0;
	const uint8_t *bytes;
	int rc;

	while (next != 0) {
		if (next > state->upper_high_water ||
		    count >= state->upper_high_water) {
			complain(check, "free list of upper records goes wrong");
			return ERR_NONE;
		}
		rc = strip_read(&graph->uppers, next - 1, &bytes, err);
		if (rc)
			return rc;
		if (bytes[UPPER_LEVEL_AT] != 0)
			complain(check, "upper record %u is free and in use",
			         next - 1);
		next = load_le32(bytes + UPPER_NEXT_AT);
		count++;
	}
	if (count != state->upper_high_water - state->upper_count)
		complain(check,
		         "%u upper records are on the free list, %u are free",
		         count, state->upper_high_water - state->upper_count);
	return ERR_NONE;
}

/* --- links ------------------------------------------------------------------------------- */

static uint32_t root_of(struct check *check, uint32_t node)
{
	while (check->parents[node] != node) {
		check->parents[node] = check->parents[check->parents[node]];
		node = check->parents[node];
	}
	return node;
}

/* Backbone links are counted at their smaller end. */
static void backbone_note(struct check *check, uint32_t level, uint32_t node,
                          uint32_t other)
{
	uint32_t a = root_of(check, node), b = root_of(check, other);

	if (a == b)
		complain(check,
		         "backbone of level %u has a cycle through nodes %u and %u",
		         level, node, other);
	check->parents[a] = b;
}

static bool links_back(struct check *check, uint32_t level, uint32_t node,
                       uint32_t link, int *rc, struct err *err)
{
	uint32_t want = node | (link & LINK_BACKBONE), i;
	struct links links;

	*rc = links_read(check->graph, link & ~LINK_BACKBONE, level, &links,
	                 err);
	for (i = 0; !*rc && i < links.count; i++) {
		if (link_at(&links, i) == want)
			return true;
	}
	return false;
}

static int link_check(struct check *check, uint32_t level, uint32_t node,
                      uint32_t link, struct err *err)
{
	uint32_t other = link & ~LINK_BACKBONE;
	int rc;

	if (other >= check->graph->state.high_water ||
	    !is_on_level(check, other, level) || other == node) {
		complain(check, "node %u links to %u on level %u, which is not there",
		         node, other, level);
		return ERR_NONE;
	}
	if (!links_back(check, level, node, link, &rc, err)) {
		if (rc)
			return rc;
		complain(check,
		         "node %u links to %u on level %u, but not the other way",
		         node, other, level);
	}
	if (link & LINK_BACKBONE && node < other)
		backbone_note(check, level, node, other);
	return rc;
}

/* (V3) */
static int links_check(struct check *check, uint32_t level, uint32_t node,
                       struct err *err)
{
	struct link_list list;
	uint32_t i, j;
	int rc;

	rc = links_copy(check->graph, node, level, &list, err);
	for (i = 0; !rc && i < list.count; i++) {
		for (j = 0; j < i; j++) {
			if (((list.links[i] ^ list.links[j]) &
			     ~LINK_BACKBONE) == 0)
				complain(check,
				         "node %u links twice to %u on level %u",
				         node, list.links[i] & ~LINK_BACKBONE,
				         level);
		}
		rc = link_check(check, level, node, list.links[i], err);
	}
	return rc;
}

/* (V4): its links, then that the backbone has joined all nodes. */
static int level_check(struct check *check, uint32_t level, struct err *err)
{
	const struct graph_state *state = &check->graph->state;
	uint32_t node, parts = 0;
	int rc;

	for (node = 0; node < state->high_water; node++)
		check->parents[node] = node;
	for (node = 0; node < state->high_water; node++) {
		if (!is_on_level(check, node, level))
			continue;
		rc = absorb(check, links_check(check, level, node, err), err);
		if (!rc)
			rc = breathe(check->graph->breath, err);
		if (rc)
			return rc;
	}
	for (node = 0; node < state->high_water; node++)
		parts += is_on_level(check, node, level) &&
		         check->parents[node] == node;
	if (parts > 1)
		complain(check, "level %u is in %u parts that do not reach each other",
		         level, parts);
	return ERR_NONE;
}

/* --- reaching ------------------------------------------------------------------------------ */

/* Puts the nodes that one links to, and were not met yet, behind the others. */
static int reach_from(struct check *check, uint32_t node, uint32_t *queue,
                      uint32_t *count, struct err *err)
{
	struct links links;
	uint32_t i;
	int rc;

	rc = links_read(check->graph, node, 0, &links, err);
	for (i = 0; !rc && i < links.count; i++) {
		uint32_t other = link_at(&links, i) & ~LINK_BACKBONE;

		if (other < check->graph->state.high_water &&
		    is_on_level(check, other, 0) && !seen_before(check, other))
			queue[(*count)++] = other;
	}
	return rc;
}

/* (V4) From the entry by links of level 0, as a walk goes. */
static int reach_check(struct check *check, struct err *err)
{
	const struct graph_state *state = &check->graph->state;
	uint32_t *queue = check->parents, live = 0, count = 0, at, node;
	int rc;

	memset(check->seen, 0, (state->high_water / 64 + 1) * sizeof(uint64_t));
	if (state->entry != NO_NODE && is_on_level(check, state->entry, 0)) {
		seen_before(check, state->entry);
		queue[count++] = state->entry;
	}
	for (at = 0; at < count; at++) {
		rc = absorb(check, reach_from(check, queue[at], queue, &count,
		                              err), err);
		if (!rc)
			rc = breathe(check->graph->breath, err);
		if (rc)
			return rc;
	}
	for (node = 0; node < state->high_water; node++)
		live += is_on_level(check, node, 0);
	if (count != live)
		complain(check,
		         "%u of %u nodes are not reached from the entry, node %u",
		         live - count, live, state->entry);
	return ERR_NONE;
}

/* --- twins ----------------------------------------------------------------------------------- */

static int twin_compare(struct check *check, uint32_t head, uint32_t twin,
                        enum twins_chain chain, struct err *err)
{
	struct hnsw *graph = check->graph;
	const uint8_t *a, *b;
	bool fits = false;
	int rc;

	rc = graph_vector(graph, twin, graph->query.vector_copy, &b, err);
	if (!rc && chain == TWINS_NEAR) {
		rc = twins_are_near(graph, head, b, &fits, err);
	} else if (!rc) {
		rc = graph_vector(graph, head, graph->vector_scratch, &a, err);
		fits = !rc && memcmp(a, b, graph->vector_size) == 0;
	}
	if (!rc && !fits)
		complain(check, "node %u is a twin of node %u with another vector",
		         twin, head);
	return rc;
}

/* (V7) A chain cannot come back to a node of its own: see twins.c. */
static int chain_check(struct check *check, uint32_t head,
                       enum twins_chain chain, uint32_t *count,
                       struct err *err)
{
	uint32_t node = head;
	int rc;

	for (*count = 0;; ++*count) {
		rc = twins_next(check->graph, node, chain, &node, err);
		if (rc || node == NO_NODE)
			return rc;
		rc = twin_compare(check, head, node, chain, err);
		if (rc)
			return rc;
	}
}

static int chains_check(struct check *check, uint32_t head, uint32_t *chained,
                        struct err *err)
{
	uint32_t equal, near = 0, stored;
	int rc;

	rc = chain_check(check, head, TWINS_EQUAL, &equal, err);
	*chained += equal;
	if (!rc)
		rc = chain_check(check, head, TWINS_NEAR, &near, err);
	*chained += near;
	if (!rc)
		rc = twins_near_count(check->graph, head, &stored, err);
	if (!rc && near != stored)
		complain(check, "node %u has %u near twins, its record says %u",
		         head, near, stored);
	return rc;
}

static int twins_check(struct check *check, struct err *err)
{
	const struct graph_state *state = &check->graph->state;
	uint32_t twins = 0, chained = 0, node;
	int rc;

	for (node = 0; node < state->high_water; node++) {
		twins += twins_is_level(check->levels[node]);
		if (!is_on_level(check, node, 0))
			continue;
		rc = absorb(check, chains_check(check, node, &chained, err),
		            err);
		if (!rc)
			rc = breathe(check->graph->breath, err);
		if (rc)
			return rc;
	}
	if (twins != chained)
		complain(check, "%u nodes are twins, %u are in chains", twins,
		         chained);
	return ERR_NONE;
}

/* --- payloads ----------------------------------------------------------------------------- */

/* (V6) */
static int payload_check(struct check *check, uint32_t node, struct err *err)
{
	struct hnsw *graph = check->graph;
	uint8_t *code = graph->query.code_copies;
	const uint8_t *vector, *payload;
	float bias, wanted;
	int rc;

	rc = graph_vector(graph, node, graph->vector_scratch, &vector, err);
	if (rc)
		return rc;
	rc = vector_check("verify", graph->options.element,
	                  graph->options.metric, graph->options.dimensions,
	                  span_of(vector, graph->vector_size), err);
	if (rc) {
		complain(check, "node %u: %s", node, err->text);
		return ERR_NONE;
	}
	if (!graph->state.trained)
		return ERR_NONE;
	rc = quantise_code(graph, node, vector, code, &wanted, err);
	if (!rc)
		rc = graph_payload_read(graph, node, graph->vector_scratch,
		                        &payload, &bias, err);
	if (!rc && (memcmp(code, payload, graph->payload_size) != 0 ||
	            memcmp(&bias, &wanted, sizeof bias) != 0))
		complain(check, "the code of node %u is not that of its vector",
		         node);
	return rc;
}

static int payloads_check(struct check *check, struct err *err)
{
	uint32_t node;
	int rc;

	for (node = 0; node < check->graph->state.high_water; node++) {
		if (check->levels[node] == NODE_FREE)
			continue;
		rc = absorb(check, payload_check(check, node, err), err);
		if (!rc)
			rc = breathe(check->graph->breath, err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* --- all ------------------------------------------------------------------------------------ */

/* (V8) */
static int pages_visit(struct hnsw *graph,
                       void (*visit)(void *context, uint32_t page_no),
                       void *context, struct err *err)
{
	int rc;

	visit(context, graph->state.meta_page);
	rc = strip_visit(&graph->nodes, visit, context, err);
	if (!rc)
		rc = strip_visit(&graph->payloads, visit, context, err);
	if (!rc)
		rc = strip_visit(&graph->vectors, visit, context, err);
	if (!rc)
		rc = strip_visit(&graph->uppers, visit, context, err);
	if (!rc)
		rc = strip_visit(&graph->quantisers, visit, context, err);
	return rc;
}

static int check_all(struct check *check,
                     void (*visit)(void *context, uint32_t page_no),
                     void (*row)(void *context, uint32_t node, int64_t rowid),
                     struct err *err)
{
	uint32_t level;
	int rc = ERR_NONE;

	if (visit)
		rc = absorb(check, pages_visit(check->graph, visit,
		                               check->context, err), err);
	if (!rc)
		rc = absorb(check, levels_read(check, row, err), err);
	if (!rc)
		rc = absorb(check, free_nodes_check(check, err), err);
	if (!rc)
		rc = absorb(check, free_uppers_check(check, err), err);
	for (level = 0; !rc && level <= check->graph->state.top_level; level++)
		rc = level_check(check, level, err);
	if (!rc)
		rc = reach_check(check, err);
	if (!rc)
		rc = twins_check(check, err);
	if (!rc)
		rc = payloads_check(check, err);
	if (!rc && check->failed)
		rc = err_set(err, ERR_CORRUPT, "verify graph",
		             check->graph->pager->name, "%s", check->first);
	return rc;
}

int hnsw_verify(struct hnsw *graph,
                void (*problem)(void *context, const char *sentence),
                void (*visit)(void *context, uint32_t page_no),
                void (*row)(void *context, uint32_t node, int64_t rowid),
                void *context, struct err *err)
{
	struct heap *heap = graph->pager->heap;
	struct check check = { .graph = graph, .problem = problem,
		               .context = context };
	struct err own;
	size_t nodes;
	int rc;

	if (!err)
		err = &own;
	rc = graph_begin(graph, err);
	if (rc)
		return rc;
	nodes = graph->state.high_water;
	check.levels = heap_zeroed(heap, nodes + 1);
	check.parents = heap_zeroed(heap, (nodes + 1) * sizeof(uint32_t));
	check.seen = heap_zeroed(heap, (nodes / 64 + 1) * sizeof(uint64_t));
	if (check.levels && check.parents && check.seen)
		rc = check_all(&check, visit, row, err);
	else
		rc = graph_no_memory(graph, err);
	heap_free(heap, check.levels);
	heap_free(heap, check.parents);
	heap_free(heap, check.seen);
	return rc;
}
