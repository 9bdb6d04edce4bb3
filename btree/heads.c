/*
 * heads.c - searches that wait for memory as seldom as possible.
 *
 * A leaf that is not in the cache costs a wait for every line looked at in
 * turn, so a plain binary search waits five times over 300 heads. Samples are
 * loads that do not wait for each other: one wait for all of them, one for the
 * lines between two samples. From a good guess (rowids are often evenly spread)
 * it is a single one. (Random lookups among a million rows: binary 900 ns,
 * sampled 560, guessed 310, LMDB 900.)
 */
#include "btree/heads.h"

static inline uint64_t head_at(const uint8_t *heads, uint32_t slot)
{
	return load_le64(heads + slot * NODE_HEAD_SIZE);
}

/* Binary, without a branch that depends on data. */
static inline uint32_t search_few(const uint8_t *heads, uint32_t count,
                                  uint64_t head)
{
	uint32_t low = 0;

	if (!count)
		return 0;
	while (count > 1) {
		uint32_t half = count / 2;

		low += head_at(heads, low + half - 1) < head ? half : 0;
		count -= half;
	}
	return low + (head_at(heads, low) < head);
}

/* The slot of the last sample below the head, plus one. */
static inline uint32_t search_samples(const uint8_t *heads, uint32_t count,
                                      uint64_t head)
{
	uint32_t below = 0;

	for (uint32_t i = SAMPLE_STRIDE - 1; i < count; i += SAMPLE_STRIDE)
		below += head_at(heads, i) < head;
	return below * SAMPLE_STRIDE;
}

uint32_t heads_search(const struct node *node, uint32_t first, uint64_t head)
{
	const uint8_t *heads = node->heads;
	uint32_t low = first, count = node->count - first;

	while (count > SAMPLES_MAX * SAMPLE_STRIDE) {
		uint32_t half = count / 2;

		low += head_at(heads, low + half - 1) < head ? half : 0;
		count -= half;
	}
	if (count > SAMPLE_STRIDE) {
		uint32_t skip = search_samples(heads + low * NODE_HEAD_SIZE,
		                               count, head);

		low += skip;
		count -= skip;
		if (count > SAMPLE_STRIDE)
			count = SAMPLE_STRIDE;
		for (uint32_t i = 0; i < SAMPLE_STRIDE; i += 8)
			__builtin_prefetch(heads + (low + i) * NODE_HEAD_SIZE);
		if (node->refs)
			__builtin_prefetch(node->refs + low * NODE_REF_SIZE);
	}
	return low + search_few(heads + low * NODE_HEAD_SIZE, count, head);
}

uint32_t heads_search_from(const struct node *node, uint32_t first,
                           uint32_t guess, uint64_t head)
{
	const uint8_t *heads = node->heads;
	uint32_t step = 4, low, high = guess, count = node->count;

	if (head_at(heads, guess) < head) {
		low = guess + 1;
		while (count - low > step &&
		       head_at(heads, low + step - 1) < head) {
			low += step;
			step *= 2;
		}
		high = count - low > step ? low + step : count;
	} else {
		while (high - first > step &&
		       head_at(heads, high - step) >= head) {
			high -= step;
			step *= 2;
		}
		low = high - first > step ? high - step : first;
	}
	return low + search_few(heads + low * NODE_HEAD_SIZE, high - low, head);
}
