/*
 * btree_fuzz.c - a stream of bytes is a series of operations on a tree and its
 * model; some of them damage pages, and from then on only survival counts.
 *
 *   byte 0      kind of keys, page size, whether pages move
 *   then each   operation, two bytes that choose the key, one for the value
 */
#include "btree/btree_format.h"
#include "test/fuzz/fuzz.h"
#include "test/support/tree_bed.h"

enum { CURSORS = 2, VALUE_ROOM = 2000 };

static const uint32_t page_sizes[] = { 256, 320, 512, 1024 };

struct fuzz {
	struct tree_bed bed;
	struct btree_cursor cursors[CURSORS];
	struct test test;
	bool damaged;
};

static void broken(struct fuzz *fuzz, const char *what)
{
	fprintf(stderr, "btree_fuzz: %s: %s %s\n", what, fuzz->test.err.text,
	        fuzz->test.why);
	abort();
}

static struct span key_of(struct fuzz *fuzz, const uint8_t *input, uint8_t *key)
{
	fuzz->bed.random = load_le16(input) % 512;
	return bed_key(&fuzz->bed, key);
}

static struct span value_of(uint8_t byte, uint8_t *value)
{
	size_t size = byte < 200 ? byte % 50 : (size_t)byte * 7;

	memset(value, byte, size);
	return span_of(value, size);
}

static void put(struct fuzz *fuzz, struct span key, struct span value,
                enum btree_put mode)
{
	struct tree_bed *bed = &fuzz->bed;
	bool there;
	int rc;

	rc = btree_put(&bed->tree, key, value, mode, &fuzz->test.err);
	if (fuzz->damaged)
		return;
	model_find(&bed->model, key, &there);
	if (rc == ERR_EXISTS && there && mode != BTREE_PUT_REPLACE)
		return;
	if (rc)
		broken(fuzz, "put");
	model_put(&bed->model, key, value);
}

static void delete(struct fuzz *fuzz, struct span key)
{
	bool found;
	int rc = btree_delete(&fuzz->bed.tree, key, &found, &fuzz->test.err);

	if (fuzz->damaged)
		return;
	if (rc || found != model_delete(&fuzz->bed.model, key))
		broken(fuzz, "delete");
}

static void get(struct fuzz *fuzz, struct span key)
{
	struct btree_scratch scratch = { .heap = &fuzz->bed.heap };
	struct span value;
	bool found, there;
	size_t at = model_find(&fuzz->bed.model, key, &there);
	int rc = btree_get(&fuzz->bed.tree, key, &scratch, &value, &found,
	                   &fuzz->test.err);

	if (!fuzz->damaged &&
	    (rc || found != there ||
	     (found && model_compare(value,
	                             fuzz->bed.model.entries[at].value))))
		broken(fuzz, "get");
	btree_scratch_free(&scratch);
}

static void move(struct fuzz *fuzz, struct btree_cursor *cursor, uint8_t how,
                 struct span key)
{
	struct span at, value;
	bool on = false, deleted;
	int rc;

	if (how % 8 < 5)
		rc = btree_cursor_seek(cursor, key, (enum btree_seek)(how % 8),
		                       &on, &fuzz->test.err);
	else if (how % 8 < 7)
		rc = btree_cursor_next(cursor, &on, &fuzz->test.err);
	else
		rc = btree_cursor_previous(cursor, &on, &fuzz->test.err);
	if (!rc && on)
		rc = btree_cursor_read(cursor, &at, &value, &deleted,
		                       &fuzz->test.err);
	if (rc && !fuzz->damaged)
		broken(fuzz, "cursor");
}

static void damage(struct fuzz *fuzz, const uint8_t *input)
{
	uint32_t pages = memory_pager_page_count(fuzz->bed.memory);
	struct pager *pager = memory_pager_of(fuzz->bed.memory);
	uint8_t *page;
	int rc;

	fuzz->damaged = true;
	rc = input[0] ? pager_edit(pager, input[0] % pages, &page, NULL)
	              : pager_state_edit(pager, &page, NULL);
	if (rc)
		return;
	if (input[0])
		page[(input[1] & 0x80 ? 4u * input[1] : input[1]) %
		     fuzz->bed.usable_size] = input[2];
	else
		page[input[1] % STATE_USED_SIZE] = input[2];
}

static void operate(struct fuzz *fuzz, const uint8_t *input)
{
	uint8_t key_bytes[BED_KEY_SIZE_MAX], value[VALUE_ROOM];
	struct span key = key_of(fuzz, input + 1, key_bytes);

	switch (input[0] % 16) {
	case 0: case 1: case 2: case 3: case 4:
		put(fuzz, key, value_of(input[3], value), BTREE_PUT_NEW);
		break;
	case 5: case 6:
		put(fuzz, key, value_of(input[3], value), BTREE_PUT_REPLACE);
		break;
	case 7: case 8: case 9: case 10:
		delete(fuzz, key);
		break;
	case 11:
		get(fuzz, key);
		break;
	case 12: case 13: case 14:
		move(fuzz, &fuzz->cursors[input[0] >> 4 & 1], input[3], key);
		break;
	default:
		if (input[0] >> 4 == 15)
			damage(fuzz, input + 1);
		else if (!fuzz->damaged && bed_check(&fuzz->bed, &fuzz->test,
		                                     true))
			broken(fuzz, "check");
	}
	memory_pager_operation_end(fuzz->bed.memory);
}

static void run(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { .damaged = false };

	if (size < 1)
		return;
	if (bed_open(&fuzz.bed, &fuzz.test,
	             (enum bed_keys)(data[0] % BED_KEYS_COUNT),
	             page_sizes[data[0] >> 3 & 3], data[0] >> 5 & 1))
		broken(&fuzz, "open");
	for (int i = 0; i < CURSORS; i++)
		btree_cursor_init(&fuzz.cursors[i], &fuzz.bed.tree);
	for (size_t at = 1; at + 4 <= size; at += 4)
		operate(&fuzz, data + at);
	if (fuzz.damaged)
		btree_verify(&fuzz.bed.tree, NULL, NULL, NULL, NULL);
	else if (bed_check(&fuzz.bed, &fuzz.test, true))
		broken(&fuzz, "check at the end");
	for (int i = 0; i < CURSORS; i++)
		btree_cursor_close(&fuzz.cursors[i]);
	bed_close(&fuzz.bed);
}

/* For each kind of keys and pages a life with and without damage. */
static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	enum { OPERATIONS = 200 };
	uint64_t random = n;

	if (n >= 16 || size_max < 1 + 4 * OPERATIONS)
		return 0;
	data[0] = (uint8_t)(n * 37);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		uint8_t operation = (uint8_t)fuzz_random(&random);

		if (n % 2 == 0 && operation == 0xff)
			operation = 0;
		store_le32(data + 1 + 4 * i,
		           (uint32_t)fuzz_random(&random) << 8 | operation);
	}
	return 1 + 4 * OPERATIONS;
}

const struct fuzz_target btree_fuzz = {
	.name = "btree", .run = run, .seed = seed,
};
