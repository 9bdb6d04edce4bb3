/*
 * fault_test.c - every call to the pager fails once, then for good, in the middle
 * of every kind of change: the tree is then as it was, and no page is lost.
 */
#include "test/support/tree_bed.h"

enum { VALUE_ROOM = 6000 };

struct deed {
	bool put, by_hit;
	enum btree_put mode;
	struct span key, value;
	uint8_t key_bytes[BED_KEY_SIZE_MAX], value_bytes[VALUE_ROOM];
};

static void deed_choose(struct tree_bed *bed, struct deed *deed)
{
	bool growing = bed->steps++ / 150 % 2 == 0;
	uint64_t r = test_random(&bed->random);

	deed->put = r % 8 < (growing ? 7 : 2);
	deed->mode = r >> 8 & 1 ? BTREE_PUT_REPLACE : BTREE_PUT_NEW;
	deed->by_hit = r >> 40 & 1;
	deed->key = bed_key(bed, deed->key_bytes);
	deed->value = bed_value(bed, deed->value_bytes);
	if (!deed->put && bed->model.count && r >> 9 & 3) {
		deed->key = bed->model.entries[(r >> 16) %
		                               bed->model.count].key;
		memcpy(deed->key_bytes, deed->key.data, deed->key.size);
		deed->key.data = deed->key_bytes;
	}
}

/* As an UPDATE or DELETE by key does: looked up first, changed where it lies. */
static int deed_do_by_hit(struct tree_bed *bed, const struct deed *deed,
                          struct err *err)
{
	struct btree_scratch scratch = { .heap = &bed->heap };
	struct btree_hit hit = { 0 };
	struct span value;
	bool found;
	int rc = btree_find(&bed->tree, deed->key, &scratch, &value, &hit, &found,
	                    err);

	btree_scratch_free(&scratch);
	if (rc)
		return rc;
	if (!deed->put)
		return btree_delete_hit(&bed->tree, &hit, deed->key, &found, err);
	return btree_put_hit(&bed->tree, &hit, deed->key, deed->value, err);
}

static int deed_do(struct tree_bed *bed, const struct deed *deed,
                   struct err *err)
{
	bool found;

	if (deed->by_hit && (!deed->put || deed->mode == BTREE_PUT_REPLACE))
		return deed_do_by_hit(bed, deed, err);
	if (deed->put)
		return btree_put(&bed->tree, deed->key, deed->value,
		                 deed->mode, err);
	return btree_delete(&bed->tree, deed->key, &found, err);
}

static void deed_done(struct tree_bed *bed, const struct deed *deed)
{
	if (deed->put)
		model_put(&bed->model, deed->key, deed->value);
	else
		model_delete(&bed->model, deed->key);
}

/* Tries the deed with the first call failing, then the second, and so on until
 * it comes through. */
static int deed_suffer(struct tree_bed *bed, const struct deed *deed,
                       bool sticky, uint64_t *failures, struct test *t)
{
	int rc;

	for (uint64_t n = 1;; n++) {
		memory_pager_fail(bed->memory, MEMORY_PAGER_ANY, n, sticky);
		rc = deed_do(bed, deed, &t->err);
		memory_pager_fail(bed->memory, 0, 0, false);
		memory_pager_operation_end(bed->memory);
		if (rc == ERR_NONE)
			deed_done(bed, deed);
		if (bed_check(bed, t, rc != ERR_NONE))
			return ERR_INVALID;
		if (rc == ERR_NONE || rc == ERR_EXISTS)
			return ERR_NONE;
		(*failures)++;
		if (rc != ERR_IO || n > 1000) {
			test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
			return ERR_INVALID;
		}
	}
}

static void deeds_suffer(struct test *t, enum bed_keys keys, bool sticky)
{
	uint64_t steps = test_scaled(500, 120), failures = 0;
	struct tree_bed bed;
	struct deed deed;
	int rc;

	EXPECT_OK(t, bed_open(&bed, t, keys, 512, true));
	bed.value_size_max = 2000;
	bed.variety = 200;
	rc = 0;
	for (uint64_t step = 0; !rc && step < steps; step++) {
		deed_choose(&bed, &deed);
		rc = deed_suffer(&bed, &deed, sticky, &failures, t);
	}
	EXPECT(t, rc || failures > steps * 3);
	/* What could not be freed then is freed by now, or by the next put. */
	bed_close(&bed);
}

/* (btree/hit H3) */
static void a_change_that_fails_once_leaves_the_tree_as_it_was(struct test *t)
{
	for (int keys = 0; keys < BED_KEYS_COUNT && !t->failed; keys++)
		deeds_suffer(t, (enum bed_keys)keys, false);
}

static void a_change_that_fails_for_good_leaves_the_tree_as_it_was(
	struct test *t)
{
	for (int keys = 0; keys < BED_KEYS_COUNT && !t->failed; keys++)
		deeds_suffer(t, (enum bed_keys)keys, true);
}

static void a_chain_that_could_not_be_freed_is_freed_later(struct test *t)
{
	uint8_t value[40000] = { 1 };
	struct tree_bed bed;
	bool found;

	EXPECT_OK(t, bed_open(&bed, t, BED_SHORT, 512, true));
	EXPECT_OK(t, btree_put(&bed.tree, span_of("a", 1),
	                       span_of(value, sizeof value), BTREE_PUT_NEW,
	                       &t->err));
	EXPECT(t, memory_pager_pages_of_kind(bed.memory, PAGE_OVERFLOW) > 70);
	memory_pager_fail(bed.memory, MEMORY_PAGER_FREE, 10, true);
	EXPECT_OK(t, btree_delete(&bed.tree, span_of("a", 1), &found,
	                          &t->err));
	EXPECT(t, found);
	EXPECT(t, memory_pager_pages_of_kind(bed.memory, PAGE_OVERFLOW) > 60);
	EXPECT_OK(t, btree_put(&bed.tree, span_of("b", 1), span_of(value, 3),
	                       BTREE_PUT_NEW, &t->err));
	memory_pager_operation_end(bed.memory);
	memory_pager_fail(bed.memory, 0, 0, false);
	model_put(&bed.model, span_of("b", 1), span_of(value, 3));
	EXPECT_EQ(t, bed_check(&bed, t, true), 0);
	model_put(&bed.model, span_of("c", 1), span_of(value, 3));
	EXPECT_OK(t, btree_put(&bed.tree, span_of("c", 1), span_of(value, 3),
	                       BTREE_PUT_NEW, &t->err));
	memory_pager_operation_end(bed.memory);
	EXPECT_EQ(t, memory_pager_pages_of_kind(bed.memory, PAGE_OVERFLOW), 0);
	EXPECT_EQ(t, bed_check(&bed, t, true), 0);
	bed_close(&bed);
}

static void reading_without_memory_is_an_error(struct test *t)
{
	struct btree_scratch scratch = { 0 };
	uint8_t value[40000] = { 1 }, key[120] = { 2 };
	struct btree_cursor cursor;
	struct tree_bed bed;
	struct span got;
	bool found, on;

	EXPECT_OK(t, bed_open(&bed, t, BED_SHORT, 1024, true));
	EXPECT_OK(t, btree_put(&bed.tree, span_of(key, sizeof key),
	                       span_of(value, sizeof value), BTREE_PUT_NEW,
	                       &t->err));
	scratch.heap = &bed.heap;
	bed.heap.fail_in = 1;
	EXPECT_ERR(t, btree_get(&bed.tree, span_of(key, sizeof key), &scratch,
	                        &got, &found, &t->err), ERR_NOMEM,
	           "no memory");
	EXPECT_OK(t, btree_get(&bed.tree, span_of(key, sizeof key), &scratch,
	                       &got, &found, &t->err));
	EXPECT(t, found && got.size == sizeof value &&
	          memcmp(got.data, value, sizeof value) == 0);
	btree_scratch_free(&scratch);
	btree_cursor_init(&cursor, &bed.tree);
	bed.heap.fail_in = 1;
	EXPECT_ERR(t, btree_cursor_first(&cursor, &on, &t->err), ERR_NOMEM,
	           "remember key");
	EXPECT_OK(t, btree_cursor_first(&cursor, &on, &t->err));
	EXPECT(t, on);
	btree_cursor_close(&cursor);
	bed.heap.fail_in = 1;
	EXPECT_ERR(t, btree_verify(&bed.tree, NULL, NULL, NULL, &t->err),
	           ERR_NOMEM, "check tree");
	EXPECT_EQ(t, bed.heap.used, 0);
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(a_change_that_fails_once_leaves_the_tree_as_it_was),
	CASE(a_change_that_fails_for_good_leaves_the_tree_as_it_was),
	CASE(a_chain_that_could_not_be_freed_is_freed_later),
	CASE(reading_without_memory_is_an_error),
};
TEST_MAIN(cases)
