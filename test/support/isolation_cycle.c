/*
 * isolation_cycle.c - the graph of what depends on what, and its cycles.
 *
 * Structures    A node is a transaction or, behind those, a moment at which one
 *               returned. Moments are a chain, so that real time costs three edges
 *               a transaction and not all pairs. Edges lie sorted by where they
 *               begin.
 * Search        Strongly connected components (Tarjan, without recursion) of the
 *               whole graph first: with none of more than one node there is no
 *               anomaly, and that is the end. Otherwise once for each set of
 *               kinds, smallest first, and in each component the shortest cycle
 *               through some edge of the newest kind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/isolation_private.h"

enum edge_kind { WW, WR, RW, RT, EDGE_KINDS };

enum { TRIES_MAX = 400, COMPONENTS_MAX = 8, STEPS_SHOWN = 8 };

struct edge {
	uint32_t from, to;
	uint32_t key;
	uint8_t kind;
};

struct graph {
	struct isolation_work *work;
	struct edge *edges;
	uint64_t edge_count, edge_room;
	uint64_t *first;      /* of each node, its first edge; one more at the end */
	uint32_t nodes, transactions;
	uint32_t *component;  /* its number; NOBODY while alone       */
	uint64_t *parent;     /* in a search: the edge that came here */
	uint32_t *seen;       /* in which search                      */
	uint32_t search;
	uint32_t *queue;
};

static void *needed(uint64_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		abort();
	return memory;
}

/* --- edges ------------------------------------------------------------------------ */

static void connect(struct graph *graph, uint32_t from, uint32_t to,
                    enum edge_kind kind, uint32_t key)
{
	if (from == to)
		return;
	if (graph->edge_count == graph->edge_room) {
		graph->edge_room = graph->edge_room * 2 + 1024;
		graph->edges = realloc(graph->edges, graph->edge_room *
		                       sizeof *graph->edges);
		if (!graph->edges)
			abort();
	}
	graph->edges[graph->edge_count++] = (struct edge){
		.from = from, .to = to, .key = key, .kind = (uint8_t)kind };
	graph->work->report->edges[kind]++;
}

/* Who appended the n-th value of a list; NOBODY beyond the end or unknown. */
static uint32_t writer(const struct isolation_work *work,
                       const struct isolation_key *key, uint32_t n)
{
	const struct isolation_value *value = n < key->count
		? isolation_value_find(work, key->order[n]) : NULL;

	return value ? value->transaction : NOBODY;
}

static void connect_writers(struct graph *graph)
{
	const struct isolation_work *work = graph->work;

	for (uint32_t k = 0; k < work->history->key_count; k++)
		for (uint32_t n = 0; n + 1 < work->keys[k].count; n++) {
			uint32_t from = writer(work, &work->keys[k], n);
			uint32_t to = writer(work, &work->keys[k], n + 1);

			if (from != NOBODY && to != NOBODY)
				connect(graph, from, to, WW, k);
		}
}

static void connect_reader(struct graph *graph, uint32_t reader)
{
	const struct isolation_work *work = graph->work;
	const struct history_transaction *t =
		&work->history->transactions[reader];

	for (uint32_t i = 0; i < t->operation_count; i++) {
		uint64_t at = t->operation_first + i;
		const struct history_operation *read =
			&work->history->operations[at];
		const struct isolation_key *key = &work->keys[read->key];
		uint32_t end = work->outside[at], before, after;

		if (read->kind != HISTORY_READ)
			continue;
		before = end ? writer(work, key, end - 1) : NOBODY;
		after = writer(work, key, end);
		if (before != NOBODY)
			connect(graph, before, reader, WR, read->key);
		if (after != NOBODY)
			connect(graph, reader, after, RW, read->key);
	}
}

struct moment {
	uint64_t at;
	uint32_t transaction;
};

static int compare_moments(const void *left, const void *right)
{
	const struct moment *a = left, *b = right;

	return (a->at > b->at) - (a->at < b->at);
}

/* The number of moments before `at`. */
static uint32_t moments_before(const struct moment *moments, uint32_t count,
                               uint64_t at)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (moments[middle].at < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void connect_moments(struct graph *graph)
{
	const struct history *history = graph->work->history;
	struct moment *moments = needed(graph->transactions, sizeof *moments);
	uint32_t count = 0;

	for (uint32_t t = 0; t < graph->transactions; t++)
		if (history->transactions[t].completed != UINT64_MAX)
			moments[count++] = (struct moment){
				history->transactions[t].completed, t };
	qsort(moments, count, sizeof *moments, compare_moments);
	graph->nodes = graph->transactions + count;
	for (uint32_t i = 0; i < count; i++) {
		connect(graph, moments[i].transaction, graph->transactions + i,
		        RT, 0);
		if (i + 1 < count)
			connect(graph, graph->transactions + i,
			        graph->transactions + i + 1, RT, 0);
	}
	for (uint32_t t = 0; t < graph->transactions; t++) {
		uint32_t before = moments_before(moments, count,
			history->transactions[t].invoked);

		if (before)
			connect(graph, graph->transactions + before - 1, t, RT,
			        0);
	}
	free(moments);
}

static void sort_edges(struct graph *graph)
{
	struct edge *sorted = needed(graph->edge_count, sizeof *sorted);
	uint64_t *next;

	graph->first = needed((uint64_t)graph->nodes + 2, sizeof *graph->first);
	next = graph->first + 1;
	for (uint64_t i = 0; i < graph->edge_count; i++)
		next[graph->edges[i].from + 1]++;
	for (uint32_t n = 0; n < graph->nodes; n++)
		next[n + 1] += next[n];
	for (uint64_t i = 0; i < graph->edge_count; i++)
		sorted[next[graph->edges[i].from]++] = graph->edges[i];
	free(graph->edges);
	graph->edges = sorted;
}

/* --- components --------------------------------------------------------------------- */

struct tarjan {
	uint32_t *index, *low, *stack, *path;
	uint64_t *next; /* the edge each node on the path goes on with */
	uint32_t stack_count, path_count, indexed, components;
	bool *on_stack;
};

static void enter(struct graph *graph, struct tarjan *tarjan, uint32_t node)
{
	tarjan->index[node] = tarjan->low[node] = ++tarjan->indexed;
	tarjan->next[node] = graph->first[node];
	tarjan->stack[tarjan->stack_count++] = node;
	tarjan->on_stack[node] = true;
	tarjan->path[tarjan->path_count++] = node;
}

static void leave(struct graph *graph, struct tarjan *tarjan, uint32_t node)
{
	uint32_t member, parent;
	bool alone;

	tarjan->path_count--;
	if (tarjan->path_count) {
		parent = tarjan->path[tarjan->path_count - 1];
		if (tarjan->low[node] < tarjan->low[parent])
			tarjan->low[parent] = tarjan->low[node];
	}
	if (tarjan->low[node] != tarjan->index[node])
		return;
	alone = tarjan->stack[tarjan->stack_count - 1] == node;
	do {
		member = tarjan->stack[--tarjan->stack_count];
		tarjan->on_stack[member] = false;
		graph->component[member] = alone ? NOBODY : tarjan->components;
	} while (member != node);
	tarjan->components += !alone;
}

/* Returns how many components have more than one node. */
static uint32_t find_components(struct graph *graph, unsigned kinds)
{
	uint64_t n = graph->nodes;
	struct tarjan tarjan = {
		.index = needed(n, 4), .low = needed(n, 4),
		.stack = needed(n, 4), .path = needed(n, 4),
		.next = needed(n, 8), .on_stack = needed(n, 1),
	};

	for (uint32_t root = 0; root < graph->nodes; root++) {
		if (!tarjan.index[root])
			enter(graph, &tarjan, root);
		while (tarjan.path_count) {
			uint32_t node = tarjan.path[tarjan.path_count - 1];
			const struct edge *edge;

			if (tarjan.next[node] == graph->first[node + 1]) {
				leave(graph, &tarjan, node);
				continue;
			}
			edge = &graph->edges[tarjan.next[node]++];
			if (!(kinds & 1u << edge->kind))
				continue;
			if (!tarjan.index[edge->to])
				enter(graph, &tarjan, edge->to);
			else if (tarjan.on_stack[edge->to] &&
			         tarjan.index[edge->to] < tarjan.low[node])
				tarjan.low[node] = tarjan.index[edge->to];
		}
	}
	free(tarjan.index);
	free(tarjan.low);
	free(tarjan.stack);
	free(tarjan.path);
	free(tarjan.next);
	free(tarjan.on_stack);
	return tarjan.components;
}

/* --- cycles ---------------------------------------------------------------------------- */

/* The shortest way inside one component, left in `parent`. */
static bool find_way(struct graph *graph, uint32_t from, uint32_t to,
                     unsigned kinds)
{
	uint32_t head = 0, tail = 0;

	graph->search++;
	graph->queue[tail++] = from;
	graph->seen[from] = graph->search;
	while (head < tail) {
		uint32_t node = graph->queue[head++];

		if (node == to)
			return true;
		for (uint64_t i = graph->first[node]; i < graph->first[node + 1];
		     i++) {
			const struct edge *edge = &graph->edges[i];

			if (!(kinds & 1u << edge->kind) ||
			    graph->seen[edge->to] == graph->search ||
			    graph->component[edge->to] !=
			    graph->component[node])
				continue;
			graph->seen[edge->to] = graph->search;
			graph->parent[edge->to] = i;
			graph->queue[tail++] = edge->to;
		}
	}
	return false;
}

struct cycle {
	const struct edge *edges[64]; /* the closing one first */
	unsigned count, kinds[EDGE_KINDS];
};

/* False when it is longer than anybody would read. */
static bool take_cycle(const struct graph *graph, const struct edge *closing,
                       struct cycle *cycle)
{
	const struct edge *way[64];
	unsigned count = 0;

	memset(cycle, 0, sizeof *cycle);
	for (uint32_t node = closing->from; node != closing->to;) {
		const struct edge *edge = &graph->edges[graph->parent[node]];

		if (count == 63)
			return false;
		way[count++] = edge;
		node = edge->from;
	}
	cycle->edges[cycle->count++] = closing;
	while (count)
		cycle->edges[cycle->count++] = way[--count];
	for (unsigned i = 0; i < cycle->count; i++)
		cycle->kinds[cycle->edges[i]->kind]++;
	return true;
}

static bool appends_to(const struct history *history, uint32_t transaction,
                       uint32_t key)
{
	const struct history_transaction *t = &history->transactions[transaction];

	for (uint32_t i = 0; i < t->operation_count; i++) {
		const struct history_operation *operation =
			&history->operations[t->operation_first + i];

		if (operation->kind == HISTORY_APPEND && operation->key == key)
			return true;
	}
	return false;
}

static enum isolation_anomaly classify(const struct graph *graph,
                                       const struct cycle *cycle)
{
	const struct edge *closing = cycle->edges[0];

	if (cycle->kinds[RT])
		return ISOLATION_REALTIME;
	if (cycle->kinds[RW] > 1)
		return cycle->kinds[RW] == 2 && cycle->count == 2
		     ? ISOLATION_WRITE_SKEW : ISOLATION_G2;
	if (cycle->kinds[RW])
		return appends_to(graph->work->history, closing->from,
		                  closing->key)
		     ? ISOLATION_LOST_UPDATE : ISOLATION_G_SINGLE;
	return cycle->kinds[WR] ? ISOLATION_G1C : ISOLATION_G0;
}

static void say_step(const struct graph *graph, char *finding,
                     const struct edge *edge)
{
	static const char *const why[EDGE_KINDS] = {
		"appended the value before that of", "appended what was read by",
		"had not read what was appended by", "had returned before",
	};

	if (edge->kind == RT && edge->to >= graph->transactions) {
		if (edge->from < graph->transactions)
			isolation_say(finding, "  T%u %s ", edge->from, why[RT]);
		return;
	}
	if (edge->kind == RT)
		isolation_say(finding, "T%u was begun\n", edge->to);
	else
		isolation_say(finding, "  T%u %s T%u (k%u)\n", edge->from,
		              why[edge->kind], edge->to, edge->key);
}

static void report_cycle(struct graph *graph, const struct cycle *cycle)
{
	char *finding = isolation_find(graph->work, classify(graph, cycle));
	/* One that closes at a moment is told from the next transaction on. */
	unsigned start = cycle->edges[0]->from >= graph->transactions;
	unsigned shown = 0;

	isolation_say(finding, "a cycle\n");
	for (unsigned i = 0; i < cycle->count; i++)
		say_step(graph, finding,
		         cycle->edges[(start + i) % cycle->count]);
	for (unsigned i = 0; i < cycle->count && shown < STEPS_SHOWN; i++)
		if (cycle->edges[i]->from < graph->transactions) {
			isolation_say(finding, "  ");
			isolation_say_transaction(graph->work, finding,
			                          cycle->edges[i]->from);
			shown++;
		}
}

struct level {
	enum edge_kind closing;
	unsigned way;   /* kinds the rest of the cycle may be of         */
	unsigned kinds; /* whose components hold such cycles             */
	unsigned least; /* edges of the closing kind                     */
};

/* The shortest cycle in component `n`; only so many edges are tried. */
static void search_component(struct graph *graph, const struct level *level,
                             uint32_t n)
{
	struct cycle best = { .count = 0 }, cycle;
	unsigned tries = 0;

	for (uint64_t i = 0; i < graph->edge_count && tries < TRIES_MAX; i++) {
		const struct edge *edge = &graph->edges[i];

		if (edge->kind != level->closing ||
		    graph->component[edge->from] != n ||
		    graph->component[edge->to] != n)
			continue;
		/* Time passes in one direction: start where it was asked for. */
		if (edge->kind == RT && edge->to >= graph->transactions)
			continue;
		tries++;
		if (!find_way(graph, edge->to, edge->from, level->way) ||
		    !take_cycle(graph, edge, &cycle) ||
		    cycle.kinds[level->closing] < level->least)
			continue;
		if (!best.count || cycle.count < best.count)
			best = cycle;
	}
	if (best.count)
		report_cycle(graph, &best);
}

static void search(struct graph *graph)
{
	enum { W = 1u << WW, D = W | 1u << WR, A = D | 1u << RW, T = A | 1u << RT };
	static const struct level levels[] = {
		{ WW, W, W, 1 }, { WR, D, D, 1 }, { RW, D, A, 1 },
		{ RW, A, A, 2 }, { RT, T, T, 1 },
	};
	uint64_t before = graph->work->report->total;

	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		uint32_t count;

		/* One that needs real time is news only where there is none
		 * without. */
		if (levels[i].closing == RT &&
		    graph->work->report->total > before)
			break;
		count = find_components(graph, levels[i].kinds);
		for (uint32_t n = 0; n < count && n < COMPONENTS_MAX; n++)
			search_component(graph, &levels[i], n);
	}
	if (graph->work->report->total == before)
		isolation_say(isolation_find(graph->work, ISOLATION_G2),
		              "cycles too long to show");
}

void isolation_cycles(struct isolation_work *work)
{
	struct graph graph = {
		.work = work,
		.transactions = (uint32_t)work->history->transaction_count,
	};

	connect_writers(&graph);
	for (uint32_t t = 0; t < graph.transactions; t++)
		connect_reader(&graph, t);
	connect_moments(&graph);
	sort_edges(&graph);
	graph.component = needed(graph.nodes, sizeof *graph.component);
	graph.parent = needed(graph.nodes, sizeof *graph.parent);
	graph.seen = needed(graph.nodes, sizeof *graph.seen);
	graph.queue = needed(graph.nodes, sizeof *graph.queue);
	if (find_components(&graph, ~0u))
		search(&graph);
	free(graph.edges);
	free(graph.first);
	free(graph.component);
	free(graph.parent);
	free(graph.seen);
	free(graph.queue);
}
