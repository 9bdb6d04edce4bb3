/*
 * shape_test.c - how full pages get, how little a change touches, how well a
 * range is estimated.
 */
#include "test/support/tree_bed.h"

enum { VALUE_SIZE = 40, USABLE = 16368 };

/* The numbers below `count` in random order. */
static uint32_t *shuffled(uint32_t count, uint64_t seed)
{
	uint32_t *numbers = malloc(count * sizeof *numbers);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = (uint32_t)(test_random(&seed) % (i + 1));

		numbers[i] = numbers[at];
		numbers[at] = i;
	}
	return numbers;
}

static struct span numbered_key(const struct tree_bed *bed, uint64_t number,
                                uint8_t *key)
{
	if (bed->keys == BED_ROWIDS) {
		btree_rowid_key(key, (int64_t)number);
		return span_of(key, 8);
	}
	return span_of(key, (size_t)sprintf((char *)key, "\x20user/%016llux",
	                                    (unsigned long long)number));
}

static int put_number(struct tree_bed *bed, uint64_t number, uint8_t filling,
                      struct err *err)
{
	uint8_t key[64], value[VALUE_SIZE];

	memset(value, filling, sizeof value);
	return btree_put(&bed->tree, numbered_key(bed, number, key),
	                 span_of(value, VALUE_SIZE), BTREE_PUT_REPLACE, err);
}

static int delete_number(struct tree_bed *bed, uint64_t number, struct err *err)
{
	uint8_t key[64];
	bool found;

	return btree_delete(&bed->tree, numbered_key(bed, number, key), &found,
	                    err);
}

/* The part of all leaves' bytes that entries would fill at their best. */
static double fullness(struct tree_bed *bed, uint64_t entries)
{
	uint32_t entry = 8 + 2 + 1 + VALUE_SIZE + (bed->keys != BED_ROWIDS);
	uint32_t leaves = memory_pager_pages_of_kind(bed->memory, PAGE_LEAF);

	return (double)(entries * entry) / ((double)leaves * USABLE);
}

static void load_in_order(struct test *t, enum bed_keys keys, bool descending)
{
	uint64_t count = test_scaled(60000, 20000);
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, keys, USABLE, false));
	for (uint64_t i = 0; i < count; i++)
		EXPECT_OK(t, put_number(&bed, descending ? count - i : i, 1,
		                        &t->err));
	EXPECT(t, fullness(&bed, count) > 0.94);
	EXPECT_OK(t, btree_verify(&bed.tree, NULL, NULL, NULL, &t->err));
	bed_close(&bed);
}

static void a_load_in_key_order_fills_its_pages(struct test *t)
{
	load_in_order(t, BED_ROWIDS, false);
	load_in_order(t, BED_PREFIXED, false);
	load_in_order(t, BED_ROWIDS, true);
	load_in_order(t, BED_PREFIXED, true);
}

static void load_at_random(struct test *t, enum bed_keys keys)
{
	uint32_t count = (uint32_t)test_scaled(60000, 20000);
	uint32_t *numbers = shuffled(count, t->seed), kept = count / 20;
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, keys, USABLE, false));
	for (uint32_t i = 0; i < count; i++)
		EXPECT_OK(t, put_number(&bed, numbers[i], 1, &t->err));
	EXPECT(t, fullness(&bed, count) > 0.63);
	for (uint32_t i = kept; i < count; i++)
		EXPECT_OK(t, delete_number(&bed, numbers[i], &t->err));
	EXPECT(t, fullness(&bed, kept) > 0.35);
	EXPECT_OK(t, btree_verify(&bed.tree, NULL, NULL, NULL, &t->err));
	for (uint32_t i = 0; i < kept; i++)
		EXPECT_OK(t, delete_number(&bed, numbers[i], &t->err));
	/* The file's header page and an empty leaf. */
	EXPECT_EQ(t, memory_pager_pages_of_kind(bed.memory, PAGE_LEAF), 1);
	EXPECT_EQ(t, memory_pager_pages_of_kind(bed.memory, PAGE_INTERIOR), 0);
	EXPECT_EQ(t, bed_check(&bed, t, true), 0);
	free(numbers);
	bed_close(&bed);
}

static void pages_are_filled_and_joined_at_random(struct test *t)
{
	load_at_random(t, BED_ROWIDS);
	load_at_random(t, BED_PREFIXED);
}

static __attribute__((noinline)) void soil_stack(uint8_t byte)
{
	volatile uint8_t bytes[128 * 1024];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = byte;
}

static uint32_t longest_run(struct tree_bed *bed, uint8_t byte)
{
	uint32_t pages = memory_pager_page_count(bed->memory), longest = 0;

	for (uint32_t page_no = 1; page_no < pages; page_no++) {
		const uint8_t *page = memory_pager_bytes(bed->memory, page_no);
		uint32_t run = 0;

		for (uint32_t i = 0; page && i < USABLE; i++) {
			run = page[i] == byte ? run + 1 : 0;
			longest = run > longest ? run : longest;
		}
	}
	return longest;
}

/* Two pages that share their entries anew are built beside the old ones. What was on
 * the stack there went to disk between heads and cells, kilobytes of it. */
static void no_page_has_bytes_that_nobody_wrote(struct test *t)
{
	uint32_t count = (uint32_t)test_scaled(8000, 4000);
	uint32_t *numbers = shuffled(count, t->seed);
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, BED_PREFIXED, USABLE, false));
	for (uint32_t i = 0; i < count; i++)
		EXPECT_OK(t, put_number(&bed, i, 1, &t->err));
	for (uint32_t i = 0; i < count / 20 * 19; i++) {
		soil_stack(0x5C);
		EXPECT_OK(t, delete_number(&bed, numbers[i], &t->err));
	}
	EXPECT(t, longest_run(&bed, 0x5C) < 64);
	free(numbers);
	bed_close(&bed);
}

static void pages_are_joined_when_values_shrink(struct test *t)
{
	uint32_t count = (uint32_t)test_scaled(20000, 5000), leaves;
	struct tree_bed bed;
	uint8_t key[64];

	EXPECT_OK(t, bed_open(&bed, t, BED_PREFIXED, USABLE, false));
	for (uint32_t i = 0; i < count; i++)
		EXPECT_OK(t, put_number(&bed, i, 1, &t->err));
	leaves = memory_pager_pages_of_kind(bed.memory, PAGE_LEAF);
	for (uint32_t i = 0; i < count; i++)
		EXPECT_OK(t, btree_put(&bed.tree, numbered_key(&bed, i, key),
		                       span_of(key, 0), BTREE_PUT_REPLACE,
		                       &t->err));
	EXPECT(t, memory_pager_pages_of_kind(bed.memory, PAGE_LEAF) <
	          leaves * 3 / 5);
	EXPECT_OK(t, btree_verify(&bed.tree, NULL, NULL, NULL, &t->err));
	bed_close(&bed);
}

/* A tree whose leaves have room, committed. */
static int roomy_open(struct tree_bed *bed, struct test *t, enum bed_keys keys)
{
	uint32_t *numbers = shuffled(3000, t->seed);
	int rc = bed_open(bed, t, keys, USABLE, false);

	for (uint32_t i = 0; !rc && i < 3000; i++)
		if (numbers[i] % 10)
			rc = put_number(bed, numbers[i], 1, &t->err);
	free(numbers);
	memory_pager_commit(bed->memory);
	memory_pager_begin(bed->memory);
	return rc;
}

static struct memory_pager_changes changes_end(struct tree_bed *bed)
{
	struct memory_pager_changes changes =
		memory_pager_changes(bed->memory);

	memory_pager_rollback(bed->memory);
	memory_pager_begin(bed->memory);
	return changes;
}

static void changes_touch_little(struct test *t, enum bed_keys keys)
{
	struct memory_pager_changes changes;
	struct tree_bed bed;
	uint64_t inserted = 0, rounds = 0;

	EXPECT_OK(t, roomy_open(&bed, t, keys));
	EXPECT_OK(t, put_number(&bed, 1234, 2, &t->err));
	changes = changes_end(&bed);
	EXPECT_EQ(t, changes.pages, 1);
	EXPECT_EQ(t, changes.ranges, 1);
	EXPECT_EQ(t, changes.bytes, VALUE_SIZE);

	for (uint64_t number = 10; number < 3000; number += 130) {
		EXPECT_OK(t, put_number(&bed, number, 2, &t->err));
		changes = changes_end(&bed);
		EXPECT(t, changes.pages <= 3);
		if (changes.pages > 1)
			continue; /* a split */
		inserted += changes.bytes;
		rounds++;
	}
	EXPECT(t, rounds > 15);
	/* Behind the new slot a third to half of 200 to 300 slots move. */
	EXPECT(t, inserted / rounds < 1800);

	for (inserted = rounds = 0; rounds < 64; rounds++) {
		memory_pager_commit(bed.memory);
		memory_pager_begin(bed.memory);
		EXPECT_OK(t, put_number(&bed, 5000 + rounds, 2, &t->err));
		inserted += memory_pager_changes(bed.memory).bytes;
	}
	/* Now and then the arrays get room for more slots. */
	EXPECT(t, inserted / rounds < VALUE_SIZE + 64);
	memory_pager_commit(bed.memory);
	memory_pager_begin(bed.memory);

	EXPECT_OK(t, delete_number(&bed, 5063, &t->err));
	changes = changes_end(&bed);
	EXPECT_EQ(t, changes.pages, 1);
	EXPECT(t, changes.bytes < 32);
	bed_close(&bed);
}

static void a_change_touches_few_bytes(struct test *t)
{
	changes_touch_little(t, BED_ROWIDS);
	changes_touch_little(t, BED_PREFIXED);
}

/* An entry that leaves and comes back in a full page takes its old place:
 * the page is not written anew each time. */
static void a_full_page_takes_its_entries_back(struct test *t)
{
	struct memory_pager_changes changes;
	struct tree_bed bed;
	uint64_t random = t->seed;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, USABLE, false));
	for (uint64_t i = 0; i < 3000; i++)
		EXPECT_OK(t, put_number(&bed, i, 1, &t->err));
	for (int i = 0; i < 50; i++) {
		uint64_t number = test_random(&random) % 3000;

		EXPECT_OK(t, delete_number(&bed, number, &t->err));
		memory_pager_commit(bed.memory);
		memory_pager_begin(bed.memory);
		EXPECT_OK(t, put_number(&bed, number, 1, &t->err));
		changes = memory_pager_changes(bed.memory);
		EXPECT_EQ(t, changes.pages, 1);
		EXPECT(t, changes.bytes < 320 * 10 + 64);
	}
	bed_close(&bed);
}

static void estimate_near(struct test *t, struct tree_bed *bed, uint64_t low,
                          uint64_t high)
{
	uint8_t low_key[64], high_key[64];
	uint64_t entries, wanted = high - low;

	EXPECT_OK(t, btree_estimate(&bed->tree,
	                            numbered_key(bed, low, low_key),
	                            numbered_key(bed, high, high_key), &entries,
	                            &t->err));
	/* A leaf in between may hold few entries or many. */
	if (entries > wanted * 3 / 2 + 300 || entries + 300 < wanted * 2 / 3)
		test_fail(t, __FILE__, __LINE__, "%llu to %llu: %llu",
		          (unsigned long long)low, (unsigned long long)high,
		          (unsigned long long)entries);
}

static void estimates_are_near(struct test *t, enum bed_keys keys)
{
	uint32_t count = (uint32_t)test_scaled(60000, 20000);
	uint32_t *numbers = shuffled(count, t->seed);
	struct span everything = span_of(NULL, 0);
	uint64_t random = t->seed, entries;
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, keys, USABLE, false));
	for (uint32_t i = 0; i < count; i++)
		EXPECT_OK(t, put_number(&bed, numbers[i], 1, &t->err));
	for (int i = 0; i < 300 && !t->failed; i++) {
		uint64_t low = test_random(&random) % count;
		uint64_t wide = (count - low) >> test_random(&random) % 12;

		estimate_near(t, &bed, low, low + wide);
	}
	EXPECT_OK(t, btree_estimate(&bed.tree, everything, everything, &entries,
	                            &t->err));
	EXPECT(t, entries > count / 100 * 95 && entries <= count);
	free(numbers);
	bed_close(&bed);
}

static void a_range_is_estimated_well(struct test *t)
{
	estimates_are_near(t, BED_ROWIDS);
	estimates_are_near(t, BED_PREFIXED);
}

static const struct test_case cases[] = {
	CASE(a_load_in_key_order_fills_its_pages),
	CASE(pages_are_filled_and_joined_at_random),
	CASE(no_page_has_bytes_that_nobody_wrote),
	CASE(pages_are_joined_when_values_shrink),
	CASE(a_change_touches_few_bytes),
	CASE(a_full_page_takes_its_entries_back),
	CASE(a_range_is_estimated_well),
};
TEST_MAIN(cases)
