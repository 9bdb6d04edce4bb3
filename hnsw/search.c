/*
 * search.c - answering queries, nearest first, as far as they are consumed.
 */
#include <math.h>
#include <string.h>

#include "hnsw/pool.h"
#include "hnsw/score.h"
#include "hnsw/sort.h"
#include "hnsw/twins.h"
#include "hnsw/walk.h"

enum {
	WIDTH_DEFAULT = 64,
	WIDTH_MAX = 65536,
	/* A walk that would meet more than a 32nd of the nodes costs as much as
	 * reading all of them in order. */
	SCAN_FRACTION = 32,
	SCAN_WIDTH_MIN = 1024,
	INSERTION_SORT_MAX = 256,
	RESCORE_SLACK = 8,
	RESCORE_AHEAD = 3,
	SPARE_BATCH_MAX = 1024,
	WIDEN_MOST = 16,
};

struct found {
	double distance;
	int64_t rowid;
	uint32_t node;
};

/*
 * A batch of results is found by one run and handed out in order. The next run
 * is wider; it, and a run after a change, leaves out what was returned.
 *
 * A walk knows the near half of what it found better than the far half: without
 * k only the near half is handed out, so that a wider run seldom finds something
 * nearer than what was returned before.
 */
struct hnsw_search {
	struct hnsw *graph;
	uint8_t *vector;
	uint32_t k;
	uint32_t width;
	bool scanning, complete; /* complete: no run can find more */
	bool blind;              /* the last walk: see struct tie  */
	bool (*accept)(void *context, int64_t rowid);
	void *accept_context;

	struct found *batch;
	size_t batch_room, batch_count, batch_next;
	size_t batch_sure; /* handed out before the next run */
	uint64_t view_epoch, edits; /* of the run that found the batch */

	uint64_t *returned; /* keys of rowids */
	size_t returned_room, returned_count;
	size_t returned_sorted;
};

/* --- one search after the other uses the same memory ------------------------------------ */

static void search_free(struct hnsw_search *search)
{
	struct heap *heap = search->graph->pager->heap;

	heap_free(heap, search->vector);
	heap_free(heap, search->batch);
	heap_free(heap, search->returned);
	heap_free(heap, search);
}

void search_spare_free(struct hnsw *graph)
{
	if (graph->spare_search)
		search_free(graph->spare_search);
}

static struct hnsw_search *search_make(struct hnsw *graph)
{
	struct heap *heap = graph->pager->heap;
	struct hnsw_search *search = heap_zeroed(heap, sizeof *search);

	if (!search)
		return NULL;
	search->graph = graph;
	search->vector = heap_allocate(heap, graph->vector_size);
	if (search->vector)
		return search;
	heap_free(heap, search);
	return NULL;
}

static struct hnsw_search *search_take(struct hnsw *graph)
{
	struct hnsw_search *spare = graph->spare_search;

	if (!spare)
		return search_make(graph);
	graph->spare_search = NULL;
	*spare = (struct hnsw_search){
		.graph = graph,
		.vector = spare->vector,
		.batch = spare->batch,
		.batch_room = spare->batch_room,
		.returned = spare->returned,
		.returned_room = spare->returned_room,
	};
	return spare;
}

/* --- arrays ---------------------------------------------------------------------------- */

static int batch_room(struct hnsw_search *search, size_t count, struct err *err)
{
	struct found *larger;

	if (count <= search->batch_room)
		return ERR_NONE;
	larger = heap_resize(search->graph->pager->heap, search->batch,
	                     count * sizeof *larger);
	if (!larger)
		return graph_no_memory(search->graph, err);
	search->batch = larger;
	search->batch_room = count;
	return ERR_NONE;
}

static int returned_push(struct hnsw_search *search, int64_t rowid,
                         struct err *err)
{
	size_t room = search->returned_room ? search->returned_room * 2 : 64;
	uint64_t *larger;

	if (search->returned_count == search->returned_room) {
		larger = heap_resize(search->graph->pager->heap,
		                     search->returned, room * sizeof *larger);
		if (!larger)
			return graph_no_memory(search->graph, err);
		search->returned = larger;
		search->returned_room = room;
	}
	search->returned[search->returned_count++] = sort_key_of_int64(rowid);
	return ERR_NONE;
}

/* Sorted as keys, so that membership is a binary search. */
static void returned_sort(struct hnsw_search *search)
{
	if (search->returned_sorted == search->returned_count)
		return;
	sort_u64(search->returned, search->returned_count);
	search->returned_sorted = search->returned_count;
}

/* The caller has sorted. */
static bool was_returned(const struct hnsw_search *search, int64_t rowid)
{
	uint64_t key = sort_key_of_int64(rowid);
	size_t low = 0, high = search->returned_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (search->returned[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < search->returned_count && search->returned[low] == key;
}

static int found_order(const struct found *a, const struct found *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	return (a->rowid > b->rowid) - (a->rowid < b->rowid);
}

/* How many results a run must find before it can stop widening. */
static size_t wanted(const struct hnsw_search *search)
{
	if (search->k)
		return search->k - search->returned_count;
	return 1;
}

/* --- by the graph ------------------------------------------------------------------------ */

/* The full vector of a result some places ahead, towards the cache. */
FETCHING void ahead_prefetch(const struct hnsw *graph, size_t at)
{
	const struct strip *strip = &graph->vectors;
	uint32_t node, index, i;
	const uint8_t *vector;

	at += RESCORE_AHEAD;
	if (at >= graph->pool.size || !strip->per_page)
		return;
	node = pool_node(graph->pool.keys[at]);
	index = strip_page_of(strip, node);
	if (index >= strip->page_count || !strip->pages[index])
		return;
	vector = strip->pages[index] + (size_t)(node - index * strip->per_page) *
	                                       strip->record_size;
	for (i = 0; i < strip->record_size && i < 1024; i += 64)
		__builtin_prefetch(vector + i);
}

static int batch_push(struct hnsw_search *search, struct found found,
                      struct err *err)
{
	size_t count = search->batch_count;
	int rc = ERR_NONE;

	if (count == search->batch_room)
		rc = batch_room(search, count + count / 2 + 16, err);
	if (!rc)
		search->batch[search->batch_count++] = found;
	return rc;
}

static int rowid_read(struct hnsw *graph, uint32_t node, int64_t *rowid,
                      struct err *err)
{
	const uint8_t *block;
	int rc;

	rc = graph_live_block(graph, node, &block, err);
	if (!rc)
		*rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	return rc;
}

static bool is_wanted(const struct hnsw_search *search, int64_t rowid)
{
	return !was_returned(search, rowid) &&
	       (!search->accept ||
	        search->accept(search->accept_context, rowid));
}

/* A node of the graph and its twins, which are all equally far: no more of them
 * than `most`; *cut when there are. */
static int equal_results(struct hnsw_search *search, uint32_t node, size_t most,
                         bool *cut, struct err *err)
{
	struct hnsw *graph = search->graph;
	size_t limit = search->batch_count + most;
	struct found found = { .distance = NAN };
	int rc;

	*cut = false;
	do {
		found.node = node;
		rc = rowid_read(graph, node, &found.rowid, err);
		if (!rc && is_wanted(search, found.rowid)) {
			*cut = search->batch_count == limit;
			if (*cut)
				return ERR_NONE;
			if (isnan(found.distance))
				rc = score_exact(graph, &graph->query, node,
				                 &found.distance, err);
			if (!rc)
				rc = batch_push(search, found, err);
		}
		if (!rc)
			rc = breathe(graph->searching, err);
		if (!rc)
			rc = twins_next(graph, node, TWINS_EQUAL, &node, err);
	} while (!rc && node != NO_NODE);
	return rc;
}

/* What hangs on a node and is nearly the same. */
static int near_results(struct hnsw_search *search, uint32_t node,
                        struct err *err)
{
	struct hnsw *graph = search->graph;
	struct found found = { 0 };
	int rc;

	for (;;) {
		rc = twins_next(graph, node, TWINS_NEAR, &node, err);
		if (rc || node == NO_NODE)
			return rc;
		found.node = node;
		rc = rowid_read(graph, node, &found.rowid, err);
		if (!rc && is_wanted(search, found.rowid)) {
			rc = score_exact(graph, &graph->query, node,
			                 &found.distance, err);
			if (!rc)
				rc = batch_push(search, found, err);
		}
		if (rc)
			return rc;
	}
}

/* Nodes of a walk that are worth reading full vectors of: codes put the nearest
 * nearly first, so when the first `enough` have what is wanted, not many more; but
 * all that look the same. */
static size_t rescored_limit(size_t enough)
{
	return enough + enough / 2 + RESCORE_SLACK;
}

/* Many nodes may have one code, and a walk has no room for more of them: then it
 * cannot tell its results from what it left out. */
struct tie {
	float score;      /* of the farthest that the walk had room for */
	double distance;  /* of a node with that score, NAN = none yet  */
	bool differs;     /* another such node has another distance     */
};

static struct tie tie_begin(const struct hnsw_search *search)
{
	const struct pool *pool = &search->graph->pool;
	struct tie tie = { .score = NAN, .distance = NAN };

	if (search->graph->state.trained && pool->size == pool->limit)
		tie.score = pool_distance(pool->keys[pool->size - 1]);
	return tie;
}

static void tie_add(struct tie *tie, float score, double distance)
{
	if (score != tie->score)
		return;
	tie->differs |= !isnan(tie->distance) && distance != tie->distance;
	tie->distance = distance;
}

/* Whether the last of the results is one of those, and not just as far as all. */
static bool tie_blinds(const struct hnsw_search *search, const struct tie *tie)
{
	const struct pool *pool = &search->graph->pool;
	size_t wanted_count = search->k ? wanted(search) : (pool->size + 1) / 2;

	return tie->differs && wanted_count <= pool->size &&
	       pool_distance(pool->keys[wanted_count - 1]) == tie->score;
}

/* How many of a walk's nodes count: of the far ones it misses some. */
static size_t sure_part(const struct hnsw_search *search)
{
	size_t size = search->graph->pool.size;

	if (!search->k)
		return (size + 1) / 2;
	return search->accept ? size - size / 4 : size;
}

static int pool_results(struct hnsw_search *search, struct err *err)
{
	const struct pool *pool = &search->graph->pool;
	size_t left = wanted(search), limit = pool->size, used = 0, i;
	size_t equal, equals = 0; /* results but for the near ones */
	size_t sure = sure_part(search);
	size_t most = search->k ? left : search->width;
	struct tie tie = tie_begin(search);
	bool cut;
	int rc;

	for (i = 0; i < pool->size; i++) {
		size_t before = search->batch_count;

		if (used >= limit && pool_distance(pool->keys[i]) !=
		                             pool_distance(pool->keys[i - 1]))
			break;

		ahead_prefetch(search->graph, i);
		rc = breathe(search->graph->searching, err);
		if (!rc)
			rc = equal_results(search, pool_node(pool->keys[i]),
			                   most, &cut, err);
		equal = search->batch_count - before;
		if (!rc && (search->k || !cut))
			rc = near_results(search, pool_node(pool->keys[i]), err);
		if (rc)
			return rc;
		if (search->batch_count > before) {
			used++;
			tie_add(&tie, pool_distance(pool->keys[i]),
			        search->batch[before].distance);
		}
		if (search->k && equals < left && equals + equal >= left)
			limit = rescored_limit(used);
		equals += equal;
		if (i < sure)
			search->batch_sure = search->batch_count;
		if (cut && !search->k)
			break;
	}
	search->blind = tie_blinds(search, &tie);
	return ERR_NONE;
}

static int run_walk(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	struct candidate nearest;
	int rc;

	rc = walk_descend(graph, &graph->query, 0, &nearest, err);
	if (!rc)
		rc = walk_level(graph, &graph->query, 0, nearest, search->width,
		                err);
	if (!rc)
		rc = pool_results(search, err);
	return rc;
}

/* --- by reading all ------------------------------------------------------------------------ */

/* The batch as a heap, its farthest on top. */
static void heap_sink(struct found *heap, size_t count, size_t at)
{
	struct found item = heap[at];
	size_t child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count &&
		    found_order(&heap[child], &heap[child + 1]) < 0)
			child++;
		if (found_order(&item, &heap[child]) >= 0)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = item;
}

static void heap_rise(struct found *heap, size_t at)
{
	struct found item = heap[at];

	while (at > 0 && found_order(&heap[(at - 1) / 2], &item) < 0) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = item;
}

static void batch_offer(struct hnsw_search *search, struct found found,
                        size_t limit)
{
	if (search->batch_count < limit) {
		search->batch[search->batch_count] = found;
		heap_rise(search->batch, search->batch_count++);
	} else if (found_order(&found, &search->batch[0]) < 0) {
		search->batch[0] = found;
		heap_sink(search->batch, limit, 0);
	}
}

static int scan_one(struct hnsw_search *search, uint32_t node, size_t limit,
                    struct err *err)
{
	struct hnsw *graph = search->graph;
	struct found found = { .node = node };
	const uint8_t *block;
	int rc;

	rc = graph_block(graph, node, &block, err);
	if (rc || block[NODE_LEVEL_AT] == NODE_FREE)
		return rc;
	found.rowid = (int64_t)load_le64(block + NODE_ROWID_AT);
	rc = score_exact(graph, &graph->query, node, &found.distance, err);
	if (rc)
		return rc;
	if (search->batch_count == limit &&
	    found_order(&found, &search->batch[0]) >= 0)
		return ERR_NONE;
	if (was_returned(search, found.rowid) ||
	    (search->accept &&
	     !search->accept(search->accept_context, found.rowid)))
		return ERR_NONE;
	batch_offer(search, found, limit);
	return ERR_NONE;
}

static int run_scan(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	size_t limit = search->width;
	uint32_t node;
	int rc;

	if (limit > graph->state.count)
		limit = graph->state.count;
	rc = batch_room(search, limit, err);
	for (node = 0; !rc && node < graph->state.high_water; node++) {
		rc = scan_one(search, node, limit, err);
		if (!rc)
			rc = breathe(graph->searching, err);
	}
	if (!rc && search->batch_count < search->width)
		search->complete = true;
	search->batch_sure = search->batch_count;
	return rc;
}

/* Results of a walk come nearly sorted; a heap takes the rest. */
static void batch_sort(struct hnsw_search *search)
{
	struct found *batch = search->batch;
	size_t count = search->batch_count, i, j;

	if (count <= INSERTION_SORT_MAX) {
		for (i = 1; i < count; i++) {
			struct found found = batch[i];

			for (j = i; j > 0 && found_order(&found, &batch[j - 1]) < 0;
			     j--)
				batch[j] = batch[j - 1];
			batch[j] = found;
		}
		return;
	}
	for (i = count / 2; i > 0; i--)
		heap_sink(batch, count, i - 1);
	for (i = count - 1; i > 0; i--) {
		struct found farthest = batch[0];

		batch[0] = batch[i];
		batch[i] = farthest;
		heap_sink(batch, i, 0);
	}
}

/* --- running ----------------------------------------------------------------------------- */

static bool scan_is_better(const struct hnsw_search *search)
{
	uint32_t count = search->graph->state.count;

	return search->scanning || search->width >= count ||
	       (search->width > SCAN_WIDTH_MIN &&
	        search->width > count / SCAN_FRACTION);
}

static int run_once(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	int rc;

	search->blind = false;
	search->batch_count = search->batch_sure = search->batch_next = 0;
	search->scanning = scan_is_better(search);
	rc = search->scanning ? run_scan(search, err) : run_walk(search, err);
	if (rc)
		return rc;
	batch_sort(search);
	search->view_epoch = graph->view_epoch;
	search->edits = graph->edits;
	return ERR_NONE;
}

/* Twice as wide; four times when all looked the same; with a filter, as much as what
 * it let through asks for. */
static void widen(struct hnsw_search *search)
{
	uint32_t factor = search->blind ? 4 : 2;
	size_t needed = wanted(search) + wanted(search) / 2;

	if (search->accept && search->k)
		while (factor < WIDEN_MOST &&
		       search->batch_sure * factor < needed)
			factor *= 2;

	if (search->width >= WIDTH_MAX)
		search->scanning = true;
	else
		search->width *= factor;
}

/* Runs, wider each time, until the batch has what is wanted or nothing more can
 * be found. */
static int run(struct hnsw_search *search, struct err *err)
{
	struct hnsw *graph = search->graph;
	int rc;

	rc = graph_begin(graph, err);
	if (rc)
		return rc;
	search->complete = graph->state.count == 0;
	search->batch_count = search->batch_sure = search->batch_next = 0;
	if (search->complete)
		return ERR_NONE;
	returned_sort(search);
	rc = score_from_vector(graph, &graph->query, search->vector, err);
	graph->searching = graph->breath;
	while (!rc) {
		rc = run_once(search, err);
		if (search->complete ||
		    (search->batch_sure >= wanted(search) && !search->blind))
			break;
		widen(search);
	}
	graph->searching = NULL;
	return rc;
}

static bool has_changed(const struct hnsw_search *search)
{
	const struct pager *pager = search->graph->pager;

	return search->view_epoch != *pager->view_epoch ||
	       search->edits != pager->edits;
}

/* --- the public calls ---------------------------------------------------------------------- */

static uint32_t first_width(const struct hnsw_query *query)
{
	uint32_t width = query->ef;

	if (width == 0)
		width = WIDTH_DEFAULT;
	if (width < query->k)
		width = query->k;
	return width > WIDTH_MAX ? WIDTH_MAX : width;
}

static int query_check(const struct hnsw *graph, const struct hnsw_query *query,
                       struct err *err)
{
	if (query->k > WIDTH_MAX)
		return err_set(err, ERR_INVALID, "search", graph->pager->name,
		               "k is %u, expected at most %d", query->k,
		               WIDTH_MAX);
	if (query->ef > WIDTH_MAX)
		return err_set(err, ERR_INVALID, "search", graph->pager->name,
		               "ef is %u, expected at most %d", query->ef,
		               WIDTH_MAX);
	return vector_check("search", graph->options.element,
	                    graph->options.metric, graph->options.dimensions,
	                    query->vector, err);
}

int hnsw_search_begin(struct hnsw *graph, const struct hnsw_query *query,
                      struct hnsw_search **search, struct err *err)
{
	struct hnsw_search *begun;
	int rc;

	rc = query_check(graph, query, err);
	if (rc)
		return rc;
	begun = search_take(graph);
	if (!begun)
		return graph_no_memory(graph, err);
	memcpy(begun->vector, query->vector.data, graph->vector_size);
	begun->k = query->k;
	begun->width = first_width(query);
	begun->scanning = query->exact;
	begun->accept = query->accept;
	begun->accept_context = query->accept_context;
	rc = run(begun, err);
	if (rc)
		goto end_search;
	*search = begun;
	return ERR_NONE;

end_search:
	hnsw_search_end(begun);
	return rc;
}

int hnsw_search_next(struct hnsw_search *search, int64_t *rowid, uint32_t *node,
                     double *distance, bool *more, struct err *err)
{
	const struct found *found;
	int rc;

	if (search->k && search->returned_count >= search->k) {
		*more = false;
		return ERR_NONE;
	}
	if (has_changed(search)) {
		rc = run(search, err);
		if (rc)
			return rc;
	}
	if (search->batch_next == search->batch_sure && !search->complete) {
		if (search->width < WIDTH_MAX)
			search->width *= 2;
		rc = run(search, err);
		if (rc)
			return rc;
	}
	if (search->batch_next == search->batch_sure) {
		*more = false;
		return ERR_NONE;
	}
	found = &search->batch[search->batch_next];
	rc = returned_push(search, found->rowid, err);
	if (rc)
		return rc;
	search->batch_next++;
	*rowid = found->rowid;
	*node = found->node;
	*distance = found->distance;
	*more = true;
	return ERR_NONE;
}

void hnsw_search_end(struct hnsw_search *search)
{
	struct hnsw *graph;

	if (!search)
		return;
	graph = search->graph;
	if (graph->spare_search || search->batch_room > SPARE_BATCH_MAX ||
	    search->returned_room > SPARE_BATCH_MAX)
		search_free(search);
	else
		graph->spare_search = search;
}
