/*
 * hit_test.c - entries changed where they were found, however long ago that was.
 *
 * Hits are kept over writes, marks, commits, rollbacks and pages that move, and then
 * used: fresh or stale, the tree must do what its model does.
 */
#include "test/support/tree_bed.h"

enum { HITS = 6, MARKS_MAX = 3 };

struct memory {
	struct btree_hit hit;
	uint8_t key[BED_KEY_SIZE_MAX];
	size_t key_size;
};

struct hunt {
	struct tree_bed bed;
	struct memory memories[HITS];
	struct sorted_model marks[MARKS_MAX + 1]; /* [0]: the transaction's start */
	int mark_count;
	uint64_t fresh_puts, fresh_deletes, edits;
};

static int differ(struct test *t, int line, const char *what)
{
	test_fail(t, __FILE__, line, "%s", what);
	return ERR_INVALID;
}

static struct span key_of(const struct memory *memory)
{
	return span_of(memory->key, memory->key_size);
}

static int look(struct hunt *hunt, struct memory *memory, struct test *t)
{
	struct btree_scratch scratch = { .heap = &hunt->bed.heap };
	const struct sorted_model *model = &hunt->bed.model;
	uint8_t bytes[BED_KEY_SIZE_MAX];
	struct span key = bed_key(&hunt->bed, bytes), value;
	bool found, there;
	size_t at = model_find(model, key, &there);
	int rc = btree_find(&hunt->bed.tree, key, &scratch, &value,
	                    &memory->hit, &found, &t->err);

	if (rc)
		differ(t, __LINE__, t->err.text);
	else if (found != there)
		rc = differ(t, __LINE__, "found what is not there, or not");
	else if (found && model_compare(value, model->entries[at].value))
		rc = differ(t, __LINE__, "another value was found");
	memcpy(memory->key, key.data, key.size);
	memory->key_size = key.size;
	btree_scratch_free(&scratch);
	return rc;
}

static int put(struct hunt *hunt, struct memory *memory, struct test *t)
{
	struct tree_bed *bed = &hunt->bed;
	uint8_t *bytes = malloc(bed->value_size_max + 40);
	struct span value = bed_value(bed, bytes);
	int rc;

	hunt->fresh_puts += btree_hit_holds(&bed->tree, &memory->hit);
	rc = btree_put_hit(&bed->tree, &memory->hit, key_of(memory), value,
	                   &t->err);
	if (rc)
		differ(t, __LINE__, t->err.text);
	else
		model_put(&bed->model, key_of(memory), value);
	free(bytes);
	return rc;
}

/* As put(), but of bytes as many as there are, written where they are. */
static int edit(struct hunt *hunt, struct memory *memory, struct test *t)
{
	struct tree_bed *bed = &hunt->bed;
	uint8_t byte = (uint8_t)test_random(&bed->random), *bytes;
	struct span now;
	size_t at;
	bool there;

	if (btree_edit_hit(&bed->tree, &memory->hit, key_of(memory), &bytes,
	                   &t->err))
		return differ(t, __LINE__, t->err.text);
	if (!bytes)
		return ERR_NONE;
	hunt->edits++;
	at = model_find(&bed->model, key_of(memory), &there);
	if (!there ||
	    bed->model.entries[at].value.size != memory->hit.value_size)
		return differ(t, __LINE__, "what is not there can be edited");
	memset(bytes, byte, memory->hit.value_size);
	now = span_of(bytes, memory->hit.value_size);
	model_put(&bed->model, key_of(memory), now);
	return ERR_NONE;
}

static int delete(struct hunt *hunt, struct memory *memory, struct test *t)
{
	struct tree_bed *bed = &hunt->bed;
	bool found;
	int rc;

	hunt->fresh_deletes += btree_hit_holds(&bed->tree, &memory->hit);
	rc = btree_delete_hit(&bed->tree, &memory->hit, key_of(memory), &found,
	                      &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	if (found != model_delete(&bed->model, key_of(memory)))
		return differ(t, __LINE__, "deleted what is not there, or not");
	return ERR_NONE;
}

static void mark(struct hunt *hunt, uint64_t r)
{
	struct memory_pager *memory = hunt->bed.memory;
	struct sorted_model *model = &hunt->bed.model;
	int n = (int)((r >> 8) % MARKS_MAX);

	switch ((r >> 16) % 6) {
	case 0: case 1:
		memory_pager_savepoint(memory, n);
		while (hunt->mark_count <= n)
			model_copy(&hunt->marks[++hunt->mark_count], model);
		break;
	case 2: case 3:
		if (n >= hunt->mark_count)
			break;
		memory_pager_rollback_to(memory, n);
		hunt->mark_count = n + 1;
		model_copy(model, &hunt->marks[n + 1]);
		break;
	case 4:
		memory_pager_commit(memory);
		memory_pager_begin(memory);
		hunt->mark_count = 0;
		model_copy(&hunt->marks[0], model);
		break;
	default:
		memory_pager_rollback(memory);
		memory_pager_begin(memory);
		hunt->mark_count = 0;
		model_copy(model, &hunt->marks[0]);
	}
}

/* A row is often looked at and changed at once, as UPDATE and DELETE do. */
static int step(struct hunt *hunt, struct test *t)
{
	uint64_t r = test_random(&hunt->bed.random);
	struct memory *memory = &hunt->memories[(r >> 8) % HITS];
	int rc = ERR_NONE;

	switch (r % 16) {
	case 0:
		mark(hunt, r >> 16);
		break;
	case 1: case 2: case 3:
		rc = bed_step(&hunt->bed, t);
		break;
	case 4: case 5:
		rc = look(hunt, memory, t);
		break;
	case 6:
		rc = put(hunt, memory, t);
		break;
	case 7:
		rc = delete(hunt, memory, t);
		break;
	case 8: case 9:
		rc = look(hunt, memory, t);
		if (!rc)
			rc = delete(hunt, memory, t);
		break;
	case 10:
		rc = edit(hunt, memory, t);
		break;
	case 11: case 12:
		rc = look(hunt, memory, t);
		if (!rc)
			rc = edit(hunt, memory, t);
		break;
	default:
		rc = look(hunt, memory, t);
		if (!rc)
			rc = put(hunt, memory, t);
	}
	memory_pager_operation_end(hunt->bed.memory);
	return rc;
}

static void hits_follow_the_model(struct test *t, uint32_t usable_size,
                                  bool unkind, uint32_t variety)
{
	uint64_t steps = test_scaled(12000, 1500);

	for (int keys = 0; keys < BED_KEYS_COUNT && !t->failed; keys++) {
		struct hunt *hunt = calloc(1, sizeof *hunt);
		uint64_t at = 0;
		int rc = bed_open(&hunt->bed, t, (enum bed_keys)keys,
		                  usable_size, unkind);

		memory_pager_commit(hunt->bed.memory);
		memory_pager_begin(hunt->bed.memory);
		hunt->bed.variety = variety;
		hunt->bed.value_size_max = 300;
		for (int i = 0; !rc && i < HITS; i++)
			rc = look(hunt, &hunt->memories[i], t);
		for (; !rc && at < steps; at++) {
			rc = step(hunt, t);
			if (!rc && at % 100 == 0)
				rc = bed_check(&hunt->bed, t, true);
		}
		if (rc)
			snprintf(t->why + strlen(t->why),
			         sizeof t->why - strlen(t->why),
			         ", step %llu, keys %d",
			         (unsigned long long)at, keys);
		for (int i = 0; i <= MARKS_MAX; i++)
			model_free(&hunt->marks[i]);
		bed_close(&hunt->bed);
		if (!rc) {
			EXPECT_EQ(t, hunt->bed.heap.used, 0);
			EXPECT(t, hunt->fresh_puts > steps / 100);
			EXPECT(t, hunt->fresh_deletes > steps / 100);
			EXPECT(t, (hunt->edits > steps / 100) ==
			          (keys <= BED_ROWIDS_WIDE));
		}
		free(hunt);
	}
}

/* (btree/hit H1) */
static void hits_are_kept_or_found_out_in_tiny_pages(struct test *t)
{
	hits_follow_the_model(t, 256, false, 300);
}

static void hits_are_kept_or_found_out_in_pages_that_move(struct test *t)
{
	hits_follow_the_model(t, 512, true, 300);
}

static void hits_are_kept_or_found_out_in_large_pages(struct test *t)
{
	hits_follow_the_model(t, 16368, false, 600);
}

/* What a hit is for: the second access reads and searches nothing. */
static void a_fresh_hit_needs_no_search(struct test *t)
{
	struct btree_scratch scratch = { 0 };
	struct btree_hit hit;
	struct tree_bed bed;
	struct span value;
	uint64_t reads;
	uint8_t key[8];
	bool found;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 1024, false));
	scratch.heap = &bed.heap;
	for (int64_t i = 0; i < 500; i++) {
		btree_rowid_key(key, i);
		EXPECT_OK(t, btree_put(&bed.tree, span_of(key, 8),
		                       span_of("old value", 9), BTREE_PUT_NEW,
		                       &t->err));
	}
	btree_rowid_key(key, 250);
	EXPECT_OK(t, btree_find(&bed.tree, span_of(key, 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, found);
	reads = memory_pager_calls(bed.memory, MEMORY_PAGER_READ);
	EXPECT_OK(t, btree_put_hit(&bed.tree, &hit, span_of(key, 8),
	                           span_of("new value", 9), &t->err));
	EXPECT_EQ(t, memory_pager_calls(bed.memory, MEMORY_PAGER_READ), reads);
	/* The root is known still: only the leaf is read. */
	EXPECT_OK(t, btree_find(&bed.tree, span_of(key, 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, found && value.size == 9 && !memcmp(value.data, "new", 3));
	EXPECT_EQ(t, memory_pager_calls(bed.memory, MEMORY_PAGER_READ),
	          reads + 1);
	EXPECT_OK(t, btree_delete_hit(&bed.tree, &hit, span_of(key, 8), &found,
	                              &t->err));
	EXPECT(t, found);
	EXPECT_EQ(t, memory_pager_calls(bed.memory, MEMORY_PAGER_READ),
	          reads + 1);
	btree_scratch_free(&scratch);
	bed_close(&bed);
}

/* Nothing but the caller's word binds a hit to its key. (btree/hit H2) */
static void a_hit_of_another_key_changes_nothing_of_it(struct test *t)
{
	struct tree_bed bed;
	struct btree_scratch scratch = { .heap = &bed.heap };
	struct span value;
	struct btree_hit hit;
	uint8_t keys[2][8], *bytes;
	bool found;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 512, false));
	for (int i = 0; i < 2; i++) {
		btree_rowid_key(keys[i], 5 + i);
		EXPECT_OK(t, btree_put(&bed.tree, span_of(keys[i], 8),
		                       span_of(i ? "six" : "one", 3),
		                       BTREE_PUT_NEW, &t->err));
	}
	EXPECT_OK(t, btree_find(&bed.tree, span_of(keys[0], 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, btree_hit_holds(&bed.tree, &hit));
	EXPECT_OK(t, btree_edit_hit(&bed.tree, &hit, span_of(keys[1], 8), &bytes,
	                            &t->err));
	EXPECT(t, !bytes);
	EXPECT_OK(t, btree_find(&bed.tree, span_of(keys[0], 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT_OK(t, btree_put_hit(&bed.tree, &hit, span_of(keys[1], 8),
	                           span_of("two", 3), &t->err));
	EXPECT_OK(t, btree_find(&bed.tree, span_of(keys[0], 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, found && memcmp(value.data, "one", 3) == 0);
	EXPECT_OK(t, btree_delete_hit(&bed.tree, &hit, span_of(keys[1], 8),
	                              &found, &t->err));
	EXPECT(t, found);
	EXPECT_OK(t, btree_find(&bed.tree, span_of(keys[0], 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, found && memcmp(value.data, "one", 3) == 0);
	EXPECT_OK(t, btree_find(&bed.tree, span_of(keys[1], 8), &scratch, &value,
	                        &hit, &found, &t->err));
	EXPECT(t, !found);
	btree_scratch_free(&scratch);
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(hits_are_kept_or_found_out_in_tiny_pages),
	CASE(hits_are_kept_or_found_out_in_pages_that_move),
	CASE(hits_are_kept_or_found_out_in_large_pages),
	CASE(a_fresh_hit_needs_no_search),
	CASE(a_hit_of_another_key_changes_nothing_of_it),
};
TEST_MAIN(cases)
