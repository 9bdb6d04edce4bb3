/*
 * btree_test.c - trees against a sorted array, one random step at a time.
 */
#include "test/support/tree_bed.h"

static const char *const keys_names[] = { "rowids", "wide rowids", "short",
                                          "prefixed", "wild" };

static void random_steps(struct test *t, uint32_t usable_size, bool unkind,
                         uint32_t value_size_max, uint64_t steps,
                         uint64_t check_every)
{
	for (int keys = 0; keys < BED_KEYS_COUNT && !t->failed; keys++) {
		struct tree_bed bed;

		EXPECT_OK(t, bed_open(&bed, t, (enum bed_keys)keys,
		                      usable_size, unkind));
		bed.value_size_max = value_size_max;
		for (uint64_t step = 0; step < steps; step++) {
			if (bed_step(&bed, t) ||
			    (step % check_every == 0 &&
			     bed_check(&bed, t, step % (check_every * 16) == 0))) {
				test_fail(t, __FILE__, __LINE__, " ");
				snprintf(t->why + strlen(t->why),
				         sizeof t->why - strlen(t->why),
				         ", step %llu with %s keys",
				         (unsigned long long)step,
				         keys_names[keys]);
				break;
			}
		}
		bed_close(&bed);
	}
}

/* (btree/node_edit N1, btree/node_edit N2) */
static void tiny_pages_follow_the_model(struct test *t)
{
	random_steps(t, 256, false, 60, test_scaled(4000, 400), 1);
}

static void tiny_pages_that_move_follow_the_model(struct test *t)
{
	random_steps(t, 256, true, 60, test_scaled(3000, 300), 1);
}

static void small_pages_with_overflow_follow_the_model(struct test *t)
{
	random_steps(t, 512, true, 3000, test_scaled(3000, 300), 1);
}

static void middle_pages_follow_the_model(struct test *t)
{
	random_steps(t, 1024, false, 500, test_scaled(6000, 600), 3);
}

static void full_size_pages_follow_the_model(struct test *t)
{
	random_steps(t, 16368, false, 9000, test_scaled(5000, 500), 25);
}

static const struct test_case cases[] = {
	CASE(tiny_pages_follow_the_model),
	CASE(tiny_pages_that_move_follow_the_model),
	CASE(small_pages_with_overflow_follow_the_model),
	CASE(middle_pages_follow_the_model),
	CASE(full_size_pages_follow_the_model),
};
TEST_MAIN(cases)
