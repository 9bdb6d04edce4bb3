/*
 * search.c - answering queries, nearest first, as far as they are consumed.
 *
 * A run fills a batch; when it is consumed a wider one follows, and when anything
 * has changed meanwhile one just as wide. A run that found too few, or was blind, is
 * repeated wider at once, until walking costs as much as reading everything, which
 * finds all there is.
 */
#include "hnsw/search.h"

#include "hnsw/score.h"

enum {
	WIDTH_DEFAULT = 64,
	WIDTH_MAX = 65536,
	/* A walk that would meet more than a 32nd of the nodes costs as much as
	 * reading all of them in order. */
	SCAN_FRACTION = 32,
	SCAN_WIDTH_MIN = 1024,
	SPARE_BATCH_MAX = 1024,
	WIDEN_MOST = 16,
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
	rc = search->scanning ? search_by_scan(search, err) :
	                        search_by_walk(search, err);
	if (rc)
		return rc;
	search_batch_sort(search);
	search->view_epoch = graph->view_epoch;
	search->edits = graph->edits;
	return ERR_NONE;
}

/* Twice as wide; four times when all looked the same; with a filter, as much as what
 * it let through asks for. */
static void widen(struct hnsw_search *search)
{
	uint32_t factor = search->blind ? 4 : 2;
	size_t needed = search_wanted(search) + search_wanted(search) / 2;

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
	search_returned_sort(search);
	rc = score_from_vector(graph, &graph->query, search->vector, err);
	graph->searching = graph->breath;
	while (!rc) {
		rc = run_once(search, err);
		if (search->complete ||
		    (search->batch_sure >= search_wanted(search) && !search->blind))
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
	const struct search_found *found;
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
	rc = search_returned_push(search, found->rowid, err);
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
