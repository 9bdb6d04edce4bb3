/*
 * tree_bed.c - random operations on a tree and its model, and their comparison.
 */
#include "test/support/tree_bed.h"

int bed_open(struct tree_bed *bed, struct test *t, enum bed_keys keys,
             uint32_t usable_size, bool unkind)
{
	enum btree_keys kind = keys <= BED_ROWIDS_WIDE ? BTREE_KEYS_ROWID
	                                               : BTREE_KEYS_BYTES;
	int rc;

	memset(bed, 0, sizeof *bed);
	heap_init(&bed->heap);
	bed->random = t->seed;
	bed->keys = keys;
	bed->usable_size = usable_size;
	bed->variety = 1000;
	bed->value_size_max = 40;
	rc = memory_pager_open(&bed->memory, &bed->heap, usable_size, unkind,
	                       &t->err);
	if (rc)
		return rc;
	memory_pager_begin(bed->memory);
	rc = btree_create(memory_pager_of(bed->memory), kind, &t->err);
	if (!rc)
		rc = btree_open(&bed->tree, memory_pager_of(bed->memory),
		                &t->err);
	memory_pager_operation_end(bed->memory);
	return rc;
}

void bed_close(struct tree_bed *bed)
{
	memory_pager_close(bed->memory);
	model_free(&bed->model);
}

static struct span wild_key(struct tree_bed *bed, uint8_t *key)
{
	uint32_t size_max = bed->usable_size / 4 - 32;
	uint64_t r = test_random(&bed->random);
	uint32_t size = (uint32_t)(r % 8 ? (r >> 8) % 24 : (r >> 8) % size_max);
	uint32_t same = (uint32_t)(r >> 40) % (size + 1);

	if (size_max > 3900)
		size_max = 3900;
	if (size > size_max)
		size = size_max;
	for (uint32_t i = 0; i < size; i++) {
		if (i < same)
			key[i] = 'x';
		else
			key[i] = (uint8_t)("\0\1x\xff"[test_random(
				&bed->random) % 4]);
	}
	return span_of(key, size);
}

struct span bed_key(struct tree_bed *bed, uint8_t key[BED_KEY_SIZE_MAX])
{
	uint64_t r = test_random(&bed->random);
	uint32_t number = (uint32_t)(r % bed->variety), size;

	switch (bed->keys) {
	case BED_ROWIDS:
		btree_rowid_key(key, (int64_t)number - bed->variety / 2);
		return span_of(key, 8);
	case BED_ROWIDS_WIDE:
		btree_rowid_key(key, (int64_t)(number *
			UINT64_C(0x9e3779b97f4a7c15)));
		return span_of(key, 8);
	case BED_SHORT:
		size = (uint32_t)(r >> 32) % 5;
		for (uint32_t i = 0; i < size; i++)
			key[i] = (uint8_t)(r >> (8 * i)) % 6;
		return span_of(key, size);
	case BED_PREFIXED:
		size = (uint32_t)sprintf((char *)key, "%s%06u",
		                         number % 7 ? "customer/" : "c",
		                         number * 17);
		return span_of(key, size);
	default:
		return wild_key(bed, key);
	}
}

struct span bed_value(struct tree_bed *bed, uint8_t *value)
{
	uint64_t r = test_random(&bed->random);
	size_t size = r % 4 ? (r >> 8) % 40 : (r >> 8) % bed->value_size_max;

	for (size_t i = 0; i < size; i++)
		value[i] = (uint8_t)(r >> (i % 8) * 8) ^ (uint8_t)i;
	return span_of(value, size);
}

static int differ(struct test *t, const char *what)
{
	test_fail(t, __FILE__, __LINE__, "%s", what);
	return ERR_INVALID;
}

static int one_put(struct tree_bed *bed, struct test *t, struct span key,
                   struct span value, enum btree_put mode)
{
	bool there;
	int rc;

	model_find(&bed->model, key, &there);
	rc = btree_put(&bed->tree, key, value, mode, &t->err);
	if (there && mode != BTREE_PUT_REPLACE)
		return rc == ERR_EXISTS ? ERR_NONE
			: differ(t, "an entry came in twice");
	if (rc)
		return differ(t, t->err.text);
	model_put(&bed->model, key, value);
	return ERR_NONE;
}

static int one_delete(struct tree_bed *bed, struct test *t, struct span key)
{
	bool found;
	int rc = btree_delete(&bed->tree, key, &found, &t->err);

	if (rc)
		return differ(t, t->err.text);
	if (found != model_delete(&bed->model, key))
		return differ(t, "delete found what is not there, or not");
	return ERR_NONE;
}

static int one_get(struct tree_bed *bed, struct test *t, struct span key)
{
	struct btree_scratch scratch = { .heap = &bed->heap };
	struct span value = { 0 };
	bool found, there;
	size_t at = model_find(&bed->model, key, &there);
	int rc = btree_get(&bed->tree, key, &scratch, &value, &found, &t->err);

	if (rc)
		differ(t, t->err.text);
	else if (found != there)
		rc = differ(t, "get found what is not there, or not");
	else if (found && model_compare(value, bed->model.entries[at].value))
		rc = differ(t, "get gave another value");
	btree_scratch_free(&scratch);
	return rc;
}

static bool has_rowids(const struct tree_bed *bed)
{
	return bed->keys == BED_ROWIDS || bed->keys == BED_ROWIDS_WIDE;
}

/* The key behind the greatest, as rows without a rowid of their own get it. */
static struct span key_behind(struct tree_bed *bed, uint8_t key[8])
{
	const uint8_t *last =
		bed->model.entries[bed->model.count - 1].key.data;
	int64_t rowid = btree_rowid_of(last);

	btree_rowid_key(key, rowid < INT64_MAX ? rowid + 1 : rowid);
	return span_of(key, 8);
}

static int last_check(struct tree_bed *bed, struct test *t)
{
	const struct sorted_model *model = &bed->model;
	int64_t rowid;
	bool any;
	int rc = btree_rowid_last(&bed->tree, &rowid, &any, &t->err);

	if (rc)
		return differ(t, t->err.text);
	if (any != (model->count > 0) ||
	    (any && rowid != btree_rowid_of(
			     model->entries[model->count - 1].key.data)))
		return differ(t, "the greatest rowid is another one");
	return ERR_NONE;
}

int bed_step(struct tree_bed *bed, struct test *t)
{
	uint64_t r = test_random(&bed->random);
	/* Growth and decay alternate, so that merges happen as often. */
	bool growing = bed->steps++ / (bed->variety / 2) % 2 == 0;
	uint8_t key_bytes[BED_KEY_SIZE_MAX], *value_bytes;
	struct span key = bed_key(bed, key_bytes), value;
	int rc;

	if (has_rowids(bed) && bed->model.count && (r >> 40) % 4 == 0)
		key = key_behind(bed, key_bytes);
	value_bytes = malloc(bed->value_size_max + 40);
	value = bed_value(bed, value_bytes);
	if (r % 8 < (growing ? 5 : 1))
		rc = one_put(bed, t, key, value, BTREE_PUT_NEW);
	else if (r % 8 == 5)
		rc = one_put(bed, t, key, value, BTREE_PUT_REPLACE);
	else if (r % 8 == 6)
		rc = one_get(bed, t, key);
	else if (r % 3 && bed->model.count)
		rc = one_delete(bed, t, bed->model.entries[
			(r >> 20) % bed->model.count].key);
	else
		rc = one_delete(bed, t, key);
	free(value_bytes);
	if (!rc && has_rowids(bed))
		rc = last_check(bed, t);
	memory_pager_operation_end(bed->memory);
	return rc;
}

static int scan_check(struct tree_bed *bed, struct test *t)
{
	struct btree_cursor cursor;
	struct span key, value;
	bool on, deleted;
	size_t i = 0;
	int rc;

	btree_cursor_init(&cursor, &bed->tree);
	rc = btree_cursor_first(&cursor, &on, &t->err);
	while (!rc && on && i < bed->model.count) {
		rc = btree_cursor_read(&cursor, &key, &value, &deleted,
		                       &t->err);
		if (rc)
			break;
		if (deleted ||
		    model_compare(key, bed->model.entries[i].key) ||
		    model_compare(value, bed->model.entries[i].value)) {
			rc = differ(t, "a scan met another entry");
			break;
		}
		memory_pager_operation_end(bed->memory);
		rc = btree_cursor_next(&cursor, &on, &t->err);
		i++;
	}
	if (rc)
		differ(t, t->err.text);
	else if (on || i != bed->model.count)
		rc = differ(t, "a scan met too many or too few entries");
	btree_cursor_close(&cursor);
	return rc;
}

int bed_check(struct tree_bed *bed, struct test *t, bool scan)
{
	uint64_t entries;
	int rc;

	memory_pager_visits_reset(bed->memory);
	rc = btree_verify(&bed->tree, NULL, memory_pager_visit, bed->memory,
	                  &t->err);
	if (!rc)
		rc = memory_pager_visits_check(bed->memory, &t->err);
	if (!rc)
		rc = btree_count(&bed->tree, &entries, &t->err);
	if (rc)
		return differ(t, t->err.text);
	if (entries != bed->model.count)
		return differ(t, "the count is wrong");
	memory_pager_operation_end(bed->memory);
	return scan ? scan_check(bed, t) : ERR_NONE;
}
