/*
 * replay_order.c - a file's pages in the order of places.
 *
 * Reads and writes run forward through the file; a crew takes as many stretches of it
 * at once as are worth a thread.
 */
#include "vfs/replay_private.h"

#include <stdlib.h>

enum { STRETCH_PAGES_MIN = 64 }; /* below that a thread costs more than it brings */

static int ascending(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static uint32_t stretches_of(const struct replay *replay, size_t count)
{
	size_t least = PLANTED(replay->store->environment, PLANT_REPLAY_PARTS)
	                       ? 1 : STRETCH_PAGES_MIN;
	size_t most = count / least;

	return most >= replay->crew ? replay->crew : most ? (uint32_t)most : 1;
}

int replay_order_make(struct replay *replay, struct replay_file *file,
                      replay_place_fn *place_of, struct replay_order *order,
                      struct err *err)
{
	*order = (struct replay_order){ .file = file };
	order->keys = heap_allocate(replay->store->heap,
	                            (file->count + (size_t)1) *
	                                    sizeof *order->keys);
	if (!order->keys)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "order of %u pages",
		               file->count);
	for (uint32_t i = 0; i < file->count; i++) {
		uint32_t place = place_of(replay, file, replay_page_at(file, i));

		if (place)
			order->keys[order->count++] = (uint64_t)place << 32 | i;
	}
	qsort(order->keys, order->count, sizeof *order->keys, ascending);
	order->stretches = stretches_of(replay, order->count);
	return ERR_NONE;
}

void replay_order_free(struct replay *replay, struct replay_order *order)
{
	heap_free(replay->store->heap, order->keys);
}
