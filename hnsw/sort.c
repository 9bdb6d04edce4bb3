/*
 * sort.c - heapsort, and insertion sort where that is quicker.
 */
#include "hnsw/sort.h"

enum { SMALL = 32 };

static void insertion_sort(uint64_t *keys, size_t count)
{
	size_t i, j;

	for (i = 1; i < count; i++) {
		uint64_t key = keys[i];

		for (j = i; j > 0 && keys[j - 1] > key; j--)
			keys[j] = keys[j - 1];
		keys[j] = key;
	}
}

static void sink(uint64_t *keys, size_t count, size_t at)
{
	uint64_t key = keys[at];
	size_t child;

	while ((child = 2 * at + 1) < count) {
		child += child + 1 < count && keys[child] < keys[child + 1];
		if (keys[child] <= key)
			break;
		keys[at] = keys[child];
		at = child;
	}
	keys[at] = key;
}

void sort_u64(uint64_t *keys, size_t count)
{
	size_t i;

	if (count <= SMALL) {
		insertion_sort(keys, count);
		return;
	}
	for (i = count / 2; i > 0; i--)
		sink(keys, count, i - 1);
	for (i = count - 1; i > 0; i--) {
		uint64_t largest = keys[0];

		keys[0] = keys[i];
		keys[i] = largest;
		sink(keys, i, 0);
	}
}
