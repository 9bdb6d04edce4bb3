/*
 * damage_test.c - damaged pages give errors or other answers, never a crash, a
 * read outside the page (asan) or a loop without end.
 */
#include "btree/btree_format.h"
#include "test/support/tree_bed.h"

enum { STEPS_MAX = 200000 };

static int damage_bits(struct tree_bed *bed, uint64_t r, uint32_t page_no,
                       struct err *err)
{
	uint8_t *page;
	uint32_t at;
	int rc = pager_edit(memory_pager_of(bed->memory), page_no, &page, err);

	if (rc)
		return rc;
	/* The header and the arrays behind it matter most. */
	at = (uint32_t)(r >> 8) % (r & 1 ? 32 : r & 2 ? 128
	                                             : bed->usable_size);
	switch (r >> 40 & 3) {
	case 0:
		page[at] ^= (uint8_t)(1u << (r >> 50) % 8);
		break;
	case 1:
		page[at] = (uint8_t)(r >> 50);
		break;
	case 2:
		page[at] = 0xFF;
		break;
	default:
		store_le16(page + (at & ~1u), (uint16_t)(r >> 48));
	}
	return ERR_NONE;
}

/* A page becomes another one, or two trade places: a cycle, a wrong level. */
static int damage_place(struct tree_bed *bed, uint32_t a, uint32_t b,
                        bool trade, struct err *err)
{
	struct pager *pager = memory_pager_of(bed->memory);
	uint8_t *pages[2], kept[BTREE_USABLE_SIZE_MAX];
	int rc = pager_edit(pager, a, &pages[0], err);

	if (!rc)
		rc = pager_edit(pager, b, &pages[1], err);
	if (rc)
		return rc;
	memcpy(kept, pages[0], bed->usable_size);
	memcpy(pages[0], pages[1], bed->usable_size);
	if (trade)
		memcpy(pages[1], kept, bed->usable_size);
	return ERR_NONE;
}

static int damage_state(struct tree_bed *bed, uint64_t r, struct err *err)
{
	uint8_t *state;
	int rc = pager_state_edit(memory_pager_of(bed->memory), &state, err);

	if (!rc)
		state[(r >> 8) % STATE_USED_SIZE] ^=
			(uint8_t)(1u << (r >> 20) % 8);
	return rc;
}

static int damage(struct tree_bed *bed, uint64_t r, struct err *err)
{
	uint32_t pages = memory_pager_page_count(bed->memory) - 1;
	uint32_t a = 1 + (uint32_t)(r >> 16) % pages;
	uint32_t b = 1 + (uint32_t)(r >> 36) % pages;

	switch (r % 16) {
	case 0:
		return damage_state(bed, r, err);
	case 1:
		return damage_place(bed, a, b, true, err);
	case 2:
		return damage_place(bed, a, b, false, err);
	default:
		return damage_bits(bed, r >> 4, a, err);
	}
}

static bool scan_ends(struct tree_bed *bed, bool forward)
{
	struct btree_cursor cursor;
	struct span key, value;
	bool on = false, deleted;
	uint64_t steps = 0;
	int rc;

	btree_cursor_init(&cursor, &bed->tree);
	rc = forward ? btree_cursor_first(&cursor, &on, NULL)
	             : btree_cursor_last(&cursor, &on, NULL);
	while (!rc && on && steps++ < STEPS_MAX) {
		rc = btree_cursor_read(&cursor, &key, &value, &deleted, NULL);
		if (!rc && forward)
			rc = btree_cursor_next(&cursor, &on, NULL);
		else if (!rc)
			rc = btree_cursor_previous(&cursor, &on, NULL);
	}
	btree_cursor_close(&cursor);
	return steps < STEPS_MAX;
}

static void use(struct tree_bed *bed)
{
	uint8_t bytes[BED_KEY_SIZE_MAX], value_bytes[BTREE_USABLE_SIZE_MAX];
	struct btree_scratch scratch = { .heap = &bed->heap };
	uint64_t entries;

	for (int i = 0; i < 12; i++) {
		struct span key = bed_key(bed, bytes), value;
		bool found;

		btree_get(&bed->tree, key, &scratch, &value, &found, NULL);
		btree_estimate(&bed->tree, key, span_of(NULL, 0), &entries,
		               NULL);
		if (i % 3)
			btree_put(&bed->tree, key,
			          bed_value(bed, value_bytes),
			          BTREE_PUT_REPLACE, NULL);
		else
			btree_delete(&bed->tree, key, &found, NULL);
		memory_pager_operation_end(bed->memory);
	}
	btree_scratch_free(&scratch);
}


static void damaged_trees_are_survived(struct test *t, enum bed_keys keys,
                                       uint32_t usable_size)
{
	uint64_t rounds = test_scaled(2500, 250), noticed = 0;
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, keys, usable_size, false));
	bed.value_size_max = usable_size * 3;
	for (int i = 0; i < 900 && !bed_step(&bed, t); i++)
		;
	memory_pager_commit(bed.memory);
	for (uint64_t round = 0; round < rounds; round++) {
		int count = 1 + (int)(test_random(&bed.random) % 3);

		memory_pager_begin(bed.memory);
		while (count--)
			damage(&bed, test_random(&bed.random), NULL);
		memory_pager_operation_end(bed.memory);
		noticed += btree_verify(&bed.tree, NULL, NULL, NULL, NULL) != 0;
		EXPECT(t, scan_ends(&bed, true));
		EXPECT(t, scan_ends(&bed, false));
		use(&bed);
		EXPECT(t, scan_ends(&bed, true));
		btree_verify(&bed.tree, NULL, NULL, NULL, NULL);
		memory_pager_rollback(bed.memory);
	}
	EXPECT(t, noticed > rounds / 10);
	EXPECT_EQ(t, bed_check(&bed, t, true), 0);
	bed_close(&bed);
}

/* (btree/tree T1, btree/tree T2, btree/cursor C3) */
static void damaged_rowid_trees_are_survived(struct test *t)
{
	damaged_trees_are_survived(t, BED_ROWIDS, 256);
	damaged_trees_are_survived(t, BED_ROWIDS_WIDE, 1024);
}

static void damaged_trees_of_byte_keys_are_survived(struct test *t)
{
	damaged_trees_are_survived(t, BED_SHORT, 256);
	damaged_trees_are_survived(t, BED_PREFIXED, 512);
	damaged_trees_are_survived(t, BED_WILD, 512);
	damaged_trees_are_survived(t, BED_WILD, 4096);
}

/* Each number in a header is there to be checked. (btree/verify V3) */
static void the_check_notices_damage_to_structure(struct test *t)
{
	struct tree_bed bed;
	uint32_t pages, missed = 0;

	EXPECT_OK(t, bed_open(&bed, t, BED_PREFIXED, 256, false));
	for (int i = 0; i < 300; i++)
		bed_step(&bed, t);
	pages = memory_pager_page_count(bed.memory);
	for (uint32_t page_no = 1; page_no < pages; page_no++) {
		uint8_t *page = memory_pager_bytes(bed.memory, page_no);

		if (!page)
			continue;
		for (uint32_t at = 0; at < NODE_HEADER_SIZE; at++) {
			if (at == 15 || at >= 20)
				continue; /* zero, ignored by readers */
			if (at == NODE_PREFIX_SIZE_AT)
				continue; /* may give other keys in order */
			page[at] ^= 4;
			if (!btree_verify(&bed.tree, NULL, NULL, NULL,
			                  &t->err))
				missed++;
			else
				EXPECT(t, strstr(t->err.text, "memory"));
			page[at] ^= 4;
		}
	}
	EXPECT_EQ(t, missed, 0);
	EXPECT_EQ(t, bed_check(&bed, t, true), 0);
	bed_close(&bed);
}

/* The fuzzer made a leaf without entries whose cells left no room: dividing it
 * read the entry before the first. */
static void a_leaf_both_empty_and_full_is_refused(struct test *t)
{
	struct tree_bed bed;
	uint8_t *page;

	EXPECT_OK(t, bed_open(&bed, t, BED_SHORT, 256, false));
	page = memory_pager_bytes(bed.memory, 1);
	store_le16(page + NODE_CELLS_AT, NODE_HEADER_SIZE);
	EXPECT_ERR(t, btree_put(&bed.tree, span_of("a", 1), span_of("b", 1),
	                        BTREE_PUT_NEW, &t->err), ERR_CORRUPT,
	           "page 1 of memory");
	bed_close(&bed);
}

static void count_problem(void *context, const char *sentence)
{
	(void)sentence;
	++*(int *)context;
}

struct wanted {
	const char *words;
	bool found;
};

static void look_for(void *context, const char *sentence)
{
	struct wanted *wanted = context;

	wanted->found |= strstr(sentence, wanted->words) != NULL;
}

/* A tree of three levels, harmed. */
static void check_says(struct test *t, void (*harm)(struct tree_bed *bed),
                       const char *words)
{
	struct wanted wanted = { .words = words };
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 256, false));
	for (int i = 0; i < 600; i++)
		bed_step(&bed, t);
	harm(&bed);
	EXPECT_EQ(t, btree_verify(&bed.tree, look_for, NULL, &wanted, &t->err),
	          ERR_CORRUPT);
	if (!wanted.found)
		test_fail(t, __FILE__, __LINE__, "nobody said: %s", words);
	bed_close(&bed);
}

static uint32_t leaf_of(struct tree_bed *bed, uint32_t nth)
{
	uint32_t page_no = 0;

	for (uint32_t i = 1; i < memory_pager_page_count(bed->memory); i++)
		if (memory_pager_page_kind(bed->memory, i) == PAGE_LEAF &&
		    !nth--)
			return i;
	return page_no;
}

static void page_waits_to_be_freed_and_is_in_use(struct tree_bed *bed)
{
	store_le32(memory_pager_state_bytes(bed->memory) + STATE_GARBAGE_AT,
	           leaf_of(bed, 1));
}

/* With their places in the chain kept. */
static void leaves_change_places(struct tree_bed *bed)
{
	uint8_t *a = memory_pager_bytes(bed->memory, leaf_of(bed, 1));
	uint8_t *b = memory_pager_bytes(bed->memory, leaf_of(bed, 2));
	uint32_t next = load_le32(a + NODE_NEXT_AT);
	uint8_t kept[256];

	memcpy(kept, a, sizeof kept);
	memcpy(a, b, sizeof kept);
	memcpy(b, kept, sizeof kept);
	store_le32(b + NODE_NEXT_AT, load_le32(a + NODE_NEXT_AT));
	store_le32(a + NODE_NEXT_AT, next);
}

static void chain_goes_on(struct tree_bed *bed)
{
	for (uint32_t i = 1; i < memory_pager_page_count(bed->memory); i++) {
		uint8_t *page = memory_pager_bytes(bed->memory, i);

		if (memory_pager_page_kind(bed->memory, i) == PAGE_LEAF &&
		    !load_le32(page + NODE_NEXT_AT))
			store_le32(page + NODE_NEXT_AT, leaf_of(bed, 1));
	}
}

static void one_entry_less_is_counted(struct tree_bed *bed)
{
	memory_pager_state_bytes(bed->memory)[STATE_ENTRIES_AT] ^= 1;
}

/* (btree/verify V1, btree/verify V2, btree/verify V3, btree/verify V4) */
static void the_check_names_what_is_wrong(struct test *t)
{
	check_says(t, page_waits_to_be_freed_and_is_in_use, "it is reached twice");
	check_says(t, leaves_change_places, "the separator that");
	check_says(t, chain_goes_on, "the last leaf leads to it");
	check_says(t, one_entry_less_is_counted, "its state says");
}

static void the_check_reports_each_problem_and_goes_on(struct test *t)
{
	struct tree_bed bed;
	uint8_t *state;
	int problems = 0;

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, 256, false));
	for (int i = 0; i < 600; i++)
		bed_step(&bed, t);
	state = memory_pager_state_bytes(bed.memory);
	state[STATE_ENTRIES_AT] ^= 1;
	for (uint32_t i = 1; i < memory_pager_page_count(bed.memory); i++)
		if (memory_pager_page_kind(bed.memory, i) == PAGE_LEAF)
			memory_pager_bytes(bed.memory, i)[NODE_DEAD_AT] ^= 1;
	EXPECT_EQ(t, btree_verify(&bed.tree, count_problem, NULL, &problems,
	                          &t->err), ERR_CORRUPT);
	EXPECT_EQ(t, problems, 1 + memory_pager_pages_of_kind(bed.memory,
	                                                      PAGE_LEAF));
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(damaged_rowid_trees_are_survived),
	CASE(damaged_trees_of_byte_keys_are_survived),
	CASE(a_leaf_both_empty_and_full_is_refused),
	CASE(the_check_notices_damage_to_structure),
	CASE(the_check_names_what_is_wrong),
	CASE(the_check_reports_each_problem_and_goes_on),
};
TEST_MAIN(cases)
