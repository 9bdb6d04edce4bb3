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

/* A set of `count` numbers near each other or anywhere, and a map of them. */
static void fill(struct test *t, struct sparse_bits *bits, struct heap *heap,
                 bool *members, uint32_t room)
{
	bool before;

	sparse_bits_init(bits, heap);
	for (int i = 0; i < 400; i++) {
		uint32_t number = (uint32_t)(test_random(&t->seed) % room);

		EXPECT(t, sparse_bits_add(bits, number, &before));
		members[number] = true;
	}
}

static void sets_meet_join_and_are_walked(struct test *t)
{
	enum { ROOM = 200000 };
	bool *one = calloc(ROOM, 1), *other = calloc(ROOM, 1);
	struct sparse_bits a, b;
	struct heap heap;
	uint32_t count = 0, next;
	bool meet = false;

	heap_init(&heap);
	fill(t, &a, &heap, one, ROOM / 2);
	fill(t, &b, &heap, other, ROOM);
	for (uint32_t i = 0; i < ROOM; i++) {
		EXPECT_EQ(t, sparse_bits_has(&a, i), one[i]);
		meet |= one[i] && other[i];
	}
	EXPECT(t, !sparse_bits_has(&a, UINT32_MAX));
	EXPECT_EQ(t, sparse_bits_meet(&a, &b), meet);
	EXPECT(t, sparse_bits_join(&a, &b));
	next = sparse_bits_next(&a, 1);
	for (uint32_t i = 1; i < ROOM; i++) {
		if (!one[i] && !other[i])
			continue;
		EXPECT_EQ(t, next, i);
		next = sparse_bits_next(&a, i + 1);
		count++;
	}
	EXPECT_EQ(t, next, 0);
	EXPECT_EQ(t, a.count, count + (one[0] || other[0]));
	EXPECT(t, sparse_bits_meet(&a, &b));
	sparse_bits_free(&a);
	EXPECT(t, !sparse_bits_meet(&a, &b));
	sparse_bits_free(&b);
	EXPECT_EQ(t, atomic_load(&heap.used), 0);
	free(one);
	free(other);
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
	CASE(sets_meet_join_and_are_walked),
	CASE(a_large_number_costs_little),
	CASE(without_memory_nothing_is_added),
};
TEST_MAIN(cases)
