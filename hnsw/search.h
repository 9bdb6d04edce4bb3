/*
 * search.h - what the files of a search share: how far it is, and what it found.
 *
 * search.c runs it and hands results out; a run fills the batch by a walk of the
 * graph (search_walk.c) or by reading all nodes (search_scan.c).
 */
#ifndef TURDB_HNSW_SEARCH_H
#define TURDB_HNSW_SEARCH_H

#include "hnsw/graph.h"

/* A result. */
struct search_found {
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
	bool blind;              /* the last walk: search_walk.c   */
	bool (*accept)(void *context, int64_t rowid);
	void *accept_context;

	struct search_found *batch;
	size_t batch_room, batch_count, batch_next;
	size_t batch_sure; /* handed out before the next run */
	uint64_t view_epoch, edits; /* of the run that found the batch */

	uint64_t *returned; /* keys of rowids */
	size_t returned_room, returned_count;
	size_t returned_sorted;
};

/* How many results a run must find before it can stop widening. */
static inline size_t search_wanted(const struct hnsw_search *search)
{
	if (search->k)
		return search->k - search->returned_count;
	return 1;
}

/* --- search_batch.c ---------------------------------------------------------------------- */

/* Nearest first; the lower rowid of equally far ones. */
static inline int search_order(const struct search_found *a,
                               const struct search_found *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	return (a->rowid > b->rowid) - (a->rowid < b->rowid);
}

/* Room for `count` results in all; one more, and room for it. */
int search_batch_room(struct hnsw_search *search, size_t count,
                      struct err *err);
int search_batch_push(struct hnsw_search *search, struct search_found found,
                      struct err *err);
/* Adds one to the nearest `limit`, for which there is room, kept as a heap with the
 * farthest on top. */
void search_batch_offer(struct hnsw_search *search, struct search_found found,
                        size_t limit);
void search_batch_sort(struct hnsw_search *search);

/* What was handed out. Sort before asking. */
int search_returned_push(struct hnsw_search *search, int64_t rowid,
                         struct err *err);
void search_returned_sort(struct hnsw_search *search);
bool search_was_returned(const struct hnsw_search *search, int64_t rowid);

/* Whether a row can be a result. */
static inline bool search_is_wanted(const struct hnsw_search *search,
                                    int64_t rowid)
{
	return !search_was_returned(search, rowid) &&
	       (!search->accept ||
	        search->accept(search->accept_context, rowid));
}

/* --- the two ways of a run: both fill the batch, which is empty, and set batch_sure ------ */

int search_by_walk(struct hnsw_search *search, struct err *err);
int search_by_scan(struct hnsw_search *search, struct err *err);

#endif
