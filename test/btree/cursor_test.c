/*
 * cursor_test.c - cursors that live through writes, marks, commits, rollbacks
 * and the end of their tree.
 */
#include "test/support/tree_bed.h"

enum { CURSORS = 5, MARKS_MAX = 4 };

/* What a cursor should be doing. */
struct shadow {
	struct btree_cursor cursor;
	bool stands; /* on an entry, or where one was */
	uint8_t key[BED_KEY_SIZE_MAX];
	size_t key_size;
};

struct crowd {
	struct tree_bed bed;
	struct shadow shadows[CURSORS];
	struct sorted_model marks[MARKS_MAX + 1]; /* [0]: the transaction's start */
	int mark_count;
	uint64_t strides;
};

static int differ(struct test *t, int line, const char *what)
{
	test_fail(t, __FILE__, line, "%s", what);
	return ERR_INVALID;
}

static struct span shadow_key(const struct shadow *shadow)
{
	return span_of(shadow->key, shadow->key_size);
}

/* The cursor has moved: it should stand on entry `at` of the model, or nowhere
 * when that is past either end. */
static int shadow_settle(struct crowd *crowd, struct shadow *shadow, size_t at,
                         bool on, struct test *t)
{
	const struct sorted_model *model = &crowd->bed.model;
	struct span key;
	bool deleted;
	int rc;

	if (on != (at < model->count))
		return differ(t, __LINE__, "a cursor stands, or not, "
		              "against the model");
	shadow->stands = on;
	if (!on)
		return ERR_NONE;
	shadow->key_size = model->entries[at].key.size;
	if (shadow->key_size)
		memcpy(shadow->key, model->entries[at].key.data,
		       shadow->key_size);
	rc = btree_cursor_read(&shadow->cursor, &key, NULL, &deleted, &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	if (deleted || model_compare(key, shadow_key(shadow)))
		return differ(t, __LINE__, "a cursor stands on another entry");
	return ERR_NONE;
}

static int cursor_seek(struct crowd *crowd, struct shadow *shadow, uint64_t r,
                       struct test *t)
{
	const struct sorted_model *model = &crowd->bed.model;
	enum btree_seek how = (enum btree_seek)(r % 5);
	uint8_t bytes[BED_KEY_SIZE_MAX];
	struct span key = bed_key(&crowd->bed, bytes);
	bool on, found;
	size_t at = model_find(model, key, &found);
	int rc;

	rc = btree_cursor_seek(&shadow->cursor, key, how, &on, &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	if (how == BTREE_SEEK_EQ && !found)
		at = SIZE_MAX;
	else if (how == BTREE_SEEK_GT)
		at += found;
	else if (how == BTREE_SEEK_LE)
		at = at + found - 1;
	else if (how == BTREE_SEEK_LT)
		at = at - 1;
	return shadow_settle(crowd, shadow, at, on, t);
}

/* The short way forward gives the row that the model has next, if it is open. */
static int cursor_stride(struct crowd *crowd, struct shadow *shadow, bool *done,
                         struct test *t)
{
	const struct sorted_model *model = &crowd->bed.model;
	struct span value;
	int64_t rowid;
	bool found;
	size_t at;

	*done = btree_cursor_step(&shadow->cursor, &rowid, &value);
	if (!*done)
		return ERR_NONE;
	crowd->strides++;
	at = model_find(model, shadow_key(shadow), &found) + 1;
	if (!shadow->stands || at >= model->count ||
	    rowid != btree_rowid_of(model->entries[at].key.data) ||
	    model_compare(value, model->entries[at].value))
		return differ(t, __LINE__, "a stride led to another row");
	return shadow_settle(crowd, shadow, at, true, t);
}

static int cursor_step(struct crowd *crowd, struct shadow *shadow, bool forward,
                       struct test *t)
{
	bool on, found, done = false;
	size_t at;
	int rc;

	rc = forward ? cursor_stride(crowd, shadow, &done, t) : ERR_NONE;
	if (rc || done)
		return rc;

	rc = forward ? btree_cursor_next(&shadow->cursor, &on, &t->err)
	             : btree_cursor_previous(&shadow->cursor, &on, &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	if (!shadow->stands)
		return on ? differ(t, __LINE__, "a cursor came back") : 0;
	at = model_find(&crowd->bed.model, shadow_key(shadow), &found);
	at = forward ? at + found : at - 1;
	return shadow_settle(crowd, shadow, at, on, t);
}

static int cursor_end(struct crowd *crowd, struct shadow *shadow, bool first,
                      struct test *t)
{
	bool on;
	int rc;

	rc = first ? btree_cursor_first(&shadow->cursor, &on, &t->err)
	           : btree_cursor_last(&shadow->cursor, &on, &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	return shadow_settle(crowd, shadow,
	                     first ? 0 : crowd->bed.model.count - 1, on, t);
}

static int cursor_look(struct crowd *crowd, struct shadow *shadow,
                       struct test *t)
{
	struct span key, value;
	bool deleted, found;
	size_t at;
	int rc;

	if (!shadow->stands)
		return ERR_NONE;
	rc = btree_cursor_read(&shadow->cursor, &key, &value, &deleted,
	                       &t->err);
	if (rc)
		return differ(t, __LINE__, t->err.text);
	at = model_find(&crowd->bed.model, shadow_key(shadow), &found);
	if (model_compare(key, shadow_key(shadow)))
		return differ(t, __LINE__, "a cursor forgot its key");
	if (deleted == found)
		return differ(t, __LINE__, "a cursor missed a deletion");
	if (found && model_compare(value, crowd->bed.model.entries[at].value))
		return differ(t, __LINE__, "a cursor read another value");
	return ERR_NONE;
}

static int cursor_act(struct crowd *crowd, uint64_t r, struct test *t)
{
	struct shadow *shadow = &crowd->shadows[(r >> 8) % CURSORS];

	switch ((r >> 16) % 12) {
	case 0:
		return cursor_end(crowd, shadow, r >> 40 & 1, t);
	case 1: case 2: case 3:
		return cursor_seek(crowd, shadow, r >> 32, t);
	case 4: case 5:
		return cursor_look(crowd, shadow, t);
	case 6: case 7: case 8:
		return cursor_step(crowd, shadow, false, t);
	default:
		return cursor_step(crowd, shadow, true, t);
	}
}

static void mark_act(struct crowd *crowd, uint64_t r)
{
	struct memory_pager *memory = crowd->bed.memory;
	struct sorted_model *model = &crowd->bed.model;
	int n = (int)((r >> 8) % MARKS_MAX);

	switch ((r >> 16) % 8) {
	case 0: case 1: case 2:
		memory_pager_savepoint(memory, n);
		while (crowd->mark_count <= n)
			model_copy(&crowd->marks[++crowd->mark_count], model);
		break;
	case 3:
		memory_pager_release(memory, n);
		if (crowd->mark_count > n)
			crowd->mark_count = n;
		break;
	case 4: case 5:
		if (n >= crowd->mark_count)
			break;
		memory_pager_rollback_to(memory, n);
		crowd->mark_count = n + 1;
		model_copy(model, &crowd->marks[n + 1]);
		break;
	case 6:
		memory_pager_commit(memory);
		memory_pager_begin(memory);
		crowd->mark_count = 0;
		model_copy(&crowd->marks[0], model);
		break;
	default:
		memory_pager_rollback(memory);
		memory_pager_begin(memory);
		crowd->mark_count = 0;
		model_copy(model, &crowd->marks[0]);
	}
}

static void crowd_close(struct crowd *crowd)
{
	for (int i = 0; i < CURSORS; i++)
		btree_cursor_close(&crowd->shadows[i].cursor);
	for (int i = 0; i <= MARKS_MAX; i++)
		model_free(&crowd->marks[i]);
	bed_close(&crowd->bed);
}

static int crowd_open(struct crowd *crowd, struct test *t, enum bed_keys keys,
                      uint32_t usable_size, bool unkind)
{
	int rc;

	memset(crowd, 0, sizeof *crowd);
	rc = bed_open(&crowd->bed, t, keys, usable_size, unkind);
	for (int i = 0; i < CURSORS; i++)
		btree_cursor_init(&crowd->shadows[i].cursor,
		                  &crowd->bed.tree);
	memory_pager_commit(crowd->bed.memory);
	memory_pager_begin(crowd->bed.memory);
	return rc;
}

static void cursors_follow_the_model(struct test *t, uint32_t usable_size,
                                     bool unkind, uint32_t variety)
{
	uint64_t steps = test_scaled(12000, 1500);

	for (int keys = 0; keys < BED_KEYS_COUNT && !t->failed; keys++) {
		struct crowd crowd;
		uint64_t step = 0;
		int rc = crowd_open(&crowd, t, (enum bed_keys)keys,
		                    usable_size, unkind);

		crowd.bed.variety = variety;
		crowd.bed.value_size_max = 300;
		for (; !rc && step < steps; step++) {
			uint64_t r = test_random(&crowd.bed.random);

			if (r % 32 == 0)
				mark_act(&crowd, r >> 8);
			else if (r % 32 < 10)
				rc = bed_step(&crowd.bed, t);
			else
				rc = cursor_act(&crowd, r >> 8, t);
			memory_pager_operation_end(crowd.bed.memory);
			if (!rc && step % 200 == 0)
				rc = bed_check(&crowd.bed, t, true);
		}
		if (rc)
			snprintf(t->why + strlen(t->why),
			         sizeof t->why - strlen(t->why),
			         ", step %llu, keys %d",
			         (unsigned long long)step, keys);
		crowd_close(&crowd);
		if (!t->failed && keys <= BED_ROWIDS_WIDE && !unkind)
			EXPECT(t, crowd.strides > steps / 100);
		if (!t->failed)
			EXPECT_EQ(t, crowd.bed.heap.used, 0);
	}
}

/* (btree/cursor C1, btree/cursor C2, rule 13) */
static void cursors_survive_everything_in_tiny_pages(struct test *t)
{
	cursors_follow_the_model(t, 256, false, 300);
}

static void cursors_survive_pages_that_move(struct test *t)
{
	cursors_follow_the_model(t, 256, true, 300);
}

static void cursors_survive_everything_in_large_pages(struct test *t)
{
	cursors_follow_the_model(t, 16368, true, 3000);
}

static void a_cursor_without_its_tree_is_aborted(struct test *t)
{
	struct span key, value;
	struct btree_cursor cursor;
	struct tree_bed bed;
	uint8_t rowid[8];
	bool on, deleted;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 16368, false));
	btree_rowid_key(rowid, 1);
	EXPECT_OK(t, btree_put(&bed.tree, span_of(rowid, 8), span_of("x", 1),
	                       BTREE_PUT_NEW, &t->err));
	btree_cursor_init(&cursor, &bed.tree);
	EXPECT_OK(t, btree_cursor_first(&cursor, &on, &t->err));
	EXPECT(t, on);
	/* The transaction that created the table goes. */
	memory_pager_rollback(bed.memory);
	EXPECT_ERR(t, btree_cursor_next(&cursor, &on, &t->err), ERR_ABORT,
	           "no tree here");
	EXPECT_ERR(t, btree_cursor_read(&cursor, &key, &value, &deleted,
	                                &t->err), ERR_ABORT, "no tree here");
	btree_cursor_close(&cursor);
	bed_close(&bed);
}

/* Deleting under a scan, row by row, as DELETE without a WHERE may do. */
static void a_scan_that_deletes_meets_every_entry_once(struct test *t)
{
	uint64_t rows = test_scaled(20000, 2000), met = 0;
	struct btree_cursor cursor;
	struct tree_bed bed;
	struct span key, value;
	uint8_t rowid[8];
	bool on, deleted, found;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 1024, true));
	for (uint64_t i = 0; i < rows; i++) {
		btree_rowid_key(rowid, (int64_t)(i * 7 % rows));
		EXPECT_OK(t, btree_put(&bed.tree, span_of(rowid, 8),
		                       span_of("value", 5), BTREE_PUT_NEW,
		                       &t->err));
		memory_pager_operation_end(bed.memory);
	}
	btree_cursor_init(&cursor, &bed.tree);
	EXPECT_OK(t, btree_cursor_first(&cursor, &on, &t->err));
	while (on) {
		EXPECT_OK(t, btree_cursor_read(&cursor, &key, &value, &deleted,
		                               &t->err));
		EXPECT(t, !deleted);
		EXPECT_EQ(t, btree_rowid_of(key.data), met);
		memcpy(rowid, key.data, 8);
		EXPECT_OK(t, btree_delete(&bed.tree, span_of(rowid, 8), &found,
		                          &t->err));
		EXPECT(t, found);
		memory_pager_operation_end(bed.memory);
		EXPECT_OK(t, btree_cursor_read(&cursor, &key, &value, &deleted,
		                               &t->err));
		EXPECT(t, deleted);
		EXPECT_EQ(t, btree_rowid_of(key.data), met);
		memory_pager_operation_end(bed.memory);
		EXPECT_OK(t, btree_cursor_next(&cursor, &on, &t->err));
		met++;
	}
	EXPECT_EQ(t, met, rows);
	EXPECT_EQ(t, memory_pager_pages_of_kind(bed.memory, PAGE_LEAF), 1);
	EXPECT_EQ(t, memory_pager_pages_of_kind(bed.memory, PAGE_INTERIOR), 0);
	btree_cursor_close(&cursor);
	bed_close(&bed);
}

/* Beside its next leaf a walk asks for those after it, each once, and a walk
 * within a leaf or two asks for nothing. */
static void a_long_walk_has_leaves_fetched_ahead(struct test *t)
{
	uint64_t rows = test_scaled(20000, 10000), before, asked;
	struct btree_cursor cursor;
	struct tree_bed bed;
	uint32_t leaves;
	uint8_t rowid[8];
	bool on;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 1024, false));
	for (uint64_t i = 0; i < rows; i++) {
		btree_rowid_key(rowid, (int64_t)i);
		EXPECT_OK(t, btree_put(&bed.tree, span_of(rowid, 8),
		                       span_of("value", 5), BTREE_PUT_NEW,
		                       &t->err));
	}
	leaves = memory_pager_pages_of_kind(bed.memory, PAGE_LEAF);
	btree_cursor_init(&cursor, &bed.tree);
	before = memory_pager_calls(bed.memory, MEMORY_PAGER_PREFETCH);
	EXPECT_OK(t, btree_cursor_first(&cursor, &on, &t->err));
	for (int i = 0; i < 20; i++)
		EXPECT_OK(t, btree_cursor_next(&cursor, &on, &t->err));
	asked = memory_pager_calls(bed.memory, MEMORY_PAGER_PREFETCH) - before;
	EXPECT_EQ(t, asked, 0);
	while (on)
		EXPECT_OK(t, btree_cursor_next(&cursor, &on, &t->err));
	asked = memory_pager_calls(bed.memory, MEMORY_PAGER_PREFETCH) - before;
	EXPECT(t, asked > leaves * 3 / 2 && asked < leaves * 2);
	btree_cursor_close(&cursor);
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(cursors_survive_everything_in_tiny_pages),
	CASE(cursors_survive_pages_that_move),
	CASE(cursors_survive_everything_in_large_pages),
	CASE(a_cursor_without_its_tree_is_aborted),
	CASE(a_scan_that_deletes_meets_every_entry_once),
	CASE(a_long_walk_has_leaves_fetched_ahead),
};
TEST_MAIN(cases)
