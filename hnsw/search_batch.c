/*
 * search_batch.c - results that a run found, and those that were handed out.
 */
#include "hnsw/search.h"

#include "hnsw/sort.h"

enum { INSERTION_SORT_MAX = 256 };

/* --- found ------------------------------------------------------------------------------- */

int search_batch_room(struct hnsw_search *search, size_t count,
                      struct err *err)
{
	struct search_found *larger;

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

int search_batch_push(struct hnsw_search *search, struct search_found found,
                      struct err *err)
{
	size_t count = search->batch_count;
	int rc = ERR_NONE;

	if (count == search->batch_room)
		rc = search_batch_room(search, count + count / 2 + 16, err);
	if (!rc)
		search->batch[search->batch_count++] = found;
	return rc;
}

/* The batch as a heap, its farthest on top. */
static void heap_sink(struct search_found *heap, size_t count, size_t at)
{
	struct search_found item = heap[at];
	size_t child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count &&
		    search_order(&heap[child], &heap[child + 1]) < 0)
			child++;
		if (search_order(&item, &heap[child]) >= 0)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = item;
}

static void heap_rise(struct search_found *heap, size_t at)
{
	struct search_found item = heap[at];

	while (at > 0 && search_order(&heap[(at - 1) / 2], &item) < 0) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = item;
}

void search_batch_offer(struct hnsw_search *search, struct search_found found,
                        size_t limit)
{
	if (search->batch_count < limit) {
		search->batch[search->batch_count] = found;
		heap_rise(search->batch, search->batch_count++);
	} else if (search_order(&found, &search->batch[0]) < 0) {
		search->batch[0] = found;
		heap_sink(search->batch, limit, 0);
	}
}

/* Results of a walk come nearly sorted; a heap takes the rest. */
void search_batch_sort(struct hnsw_search *search)
{
	struct search_found *batch = search->batch;
	size_t count = search->batch_count, i, j;

	if (count <= INSERTION_SORT_MAX) {
		for (i = 1; i < count; i++) {
			struct search_found found = batch[i];

			for (j = i; j > 0 && search_order(&found, &batch[j - 1]) < 0;
			     j--)
				batch[j] = batch[j - 1];
			batch[j] = found;
		}
		return;
	}
	for (i = count / 2; i > 0; i--)
		heap_sink(batch, count, i - 1);
	for (i = count - 1; i > 0; i--) {
		struct search_found farthest = batch[0];

		batch[0] = batch[i];
		batch[i] = farthest;
		heap_sink(batch, i, 0);
	}
}

/* --- handed out -------------------------------------------------------------------------- */

int search_returned_push(struct hnsw_search *search, int64_t rowid,
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
void search_returned_sort(struct hnsw_search *search)
{
	if (search->returned_sorted == search->returned_count)
		return;
	sort_u64(search->returned, search->returned_count);
	search->returned_sorted = search->returned_count;
}

/* The caller has sorted. */
bool search_was_returned(const struct hnsw_search *search, int64_t rowid)
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
