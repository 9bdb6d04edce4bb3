/*
 * sparse_bits_test.c - a set of numbers, against a sorted list of them.
 */
#include <stdlib.h>

#include "base/sparse_bits.h"
#include "test/harness.h"

enum { NUMBERS = 4000 };

static bool was_there(const uint32_t *numbers, size_t count, uint32_t number)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static void a_number_is_there_once_it_was_added(struct test *t)
{
	static const uint32_t ends[] = { 0, UINT32_MAX, 1, UINT32_MAX - 1,
		                         32767, 32768, 1u << 31 };
	uint32_t *numbers = malloc(NUMBERS * sizeof *numbers);
	struct sparse_bits bits;
	struct heap heap;
	bool before;

	heap_init(&heap);
	sparse_bits_init(&bits, &heap);
	for (size_t i = 0; i < NUMBERS && !t->failed; i++) {
		uint64_t r = test_random(&t->seed);

		numbers[i] = i < sizeof ends / sizeof ends[0] ? ends[i]
		             : r % 3 == 0 ? (uint32_t)(r >> 32) % 70000
		             : r % 3 == 1 ? (uint32_t)(r >> 32)
		                          : numbers[(r >> 32) % i];
		EXPECT(t, sparse_bits_add(&bits, numbers[i], &before));
		EXPECT_EQ(t, before, was_there(numbers, i, numbers[i]));
	}
	sparse_bits_free(&bits);
	EXPECT_EQ(t, atomic_load(&heap.used), 0);
	free(numbers);
}

static void a_large_number_costs_little(struct test *t)
{
	struct sparse_bits bits;
	struct heap heap;
	bool before;

	heap_init(&heap);
	sparse_bits_init(&bits, &heap);
	EXPECT(t, sparse_bits_add(&bits, UINT32_MAX, &before));
	EXPECT(t, atomic_load(&heap.used) < 1200000);
	sparse_bits_free(&bits);
	EXPECT(t, sparse_bits_add(&bits, 5, &before));
	EXPECT(t, !before);
	EXPECT(t, atomic_load(&heap.used) < 8000);
	sparse_bits_free(&bits);
	EXPECT_EQ(t, atomic_load(&heap.used), 0);
}

static void without_memory_nothing_is_added(struct test *t)
{
	struct sparse_bits bits;
	struct heap heap;
	bool before;

	for (int fail = 1; fail <= 2; fail++) {
		heap_init(&heap);
		sparse_bits_init(&bits, &heap);
		atomic_store(&heap.fail_in, fail);
		EXPECT(t, !sparse_bits_add(&bits, 70000, &before));
		EXPECT(t, sparse_bits_add(&bits, 70000, &before));
		EXPECT(t, !before);
		sparse_bits_free(&bits);
		EXPECT_EQ(t, atomic_load(&heap.used), 0);
	}
}

static const struct test_case cases[] = {
	CASE(a_number_is_there_once_it_was_added),
	CASE(a_large_number_costs_little),
	CASE(without_memory_nothing_is_added),
};
TEST_MAIN(cases)
