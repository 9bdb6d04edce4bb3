/*
 * memory_pager_test.c - the pager that tests trust is itself tested.
 */
#include "test/harness.h"
#include "test/support/memory_pager.h"

enum { PAGE_COUNT_MAX = 24, MARK_COUNT_MAX = 6, SMALL_PAGE = 64 };

/* What the pager should hold: every page's first byte and kind. */
struct model {
	uint8_t byte[PAGE_COUNT_MAX + 2];
	bool taken[PAGE_COUNT_MAX + 2];
	uint8_t state;
};

static bool model_agrees(struct memory_pager *memory, const struct model *model)
{
	for (uint32_t i = 1; i <= PAGE_COUNT_MAX; i++) {
		uint8_t *bytes = memory_pager_bytes(memory, i);

		if (model->taken[i] != (bytes != NULL))
			return false;
		if (bytes && bytes[0] != model->byte[i])
			return false;
	}
	return memory_pager_state_bytes(memory)[0] == model->state;
}

static int change_one(struct memory_pager *memory, struct model *model,
                      uint64_t random, struct err *err)
{
	struct pager *pager = memory_pager_of(memory);
	uint32_t page_no = 1 + (uint32_t)(random >> 8) % PAGE_COUNT_MAX;
	uint8_t value = (uint8_t)(random >> 16), *page;
	int rc;

	if (random % 5 == 0) {
		rc = pager_state_edit(pager, &page, err);
		if (!rc)
			page[0] = model->state = value;
	} else if (!model->taken[page_no]) {
		rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page, err);
		if (!rc) {
			page[0] = model->byte[page_no] = value;
			model->taken[page_no] = true;
		}
	} else if (random % 5 == 1) {
		rc = pager_free(pager, page_no, err);
		model->taken[page_no] = false;
	} else {
		rc = pager_edit(pager, page_no, &page, err);
		if (!rc)
			page[0] = model->byte[page_no] = value;
	}
	return rc;
}

static void marks_restore(struct test *t, bool unkind)
{
	uint64_t random = t->seed, steps = test_scaled(20000, 2000);
	struct model model = { 0 }, marks[MARK_COUNT_MAX + 1];
	struct memory_pager *memory;
	struct heap heap;
	int open = 0;

	heap_init(&heap);
	EXPECT_OK(t, memory_pager_open(&memory, &heap, SMALL_PAGE, unkind,
	                               &t->err));
	memory_pager_begin(memory);
	marks[0] = model;
	for (uint64_t step = 0; step < steps; step++) {
		uint64_t r = test_random(&random);
		int n = (int)(r >> 40) % MARK_COUNT_MAX;

		switch (r % 16) {
		case 0:
			memory_pager_savepoint(memory, n);
			while (open < n + 1)
				marks[++open] = model;
			break;
		case 1:
			memory_pager_release(memory, n);
			open = open < n ? open : n;
			break;
		case 2:
			memory_pager_rollback_to(memory, n);
			if (n < open) {
				open = n + 1;
				model = marks[open];
			} else {
				model = marks[0];
				for (int i = 1; i <= open; i++)
					marks[i] = model;
			}
			break;
		case 3:
			if ((r >> 20) % 8)
				break;
			if ((r >> 30) % 2) {
				memory_pager_commit(memory);
			} else {
				memory_pager_rollback(memory);
				model = marks[0];
			}
			memory_pager_begin(memory);
			marks[0] = model;
			open = 0;
			break;
		default:
			EXPECT_OK(t, change_one(memory, &model, r >> 4,
			                        &t->err));
			if (r >> 60 == 0)
				memory_pager_operation_end(memory);
		}
		EXPECT(t, model_agrees(memory, &model));
	}
	memory_pager_close(memory);
}

static void marks_restore_what_they_saw(struct test *t)
{
	marks_restore(t, false);
}

static void marks_restore_what_they_saw_when_pages_move(struct test *t)
{
	marks_restore(t, true);
}

static void an_older_read_shows_the_old_bytes(struct test *t)
{
	struct memory_pager *memory;
	const uint8_t *read;
	uint8_t *page;
	uint32_t page_no;
	struct heap heap;

	heap_init(&heap);
	EXPECT_OK(t, memory_pager_open(&memory, &heap, 0, true, &t->err));
	memory_pager_begin(memory);
	EXPECT_OK(t, pager_allocate(memory_pager_of(memory), PAGE_LEAF,
	                            &page_no, &page, &t->err));
	page[7] = 1;
	memory_pager_commit(memory);
	memory_pager_begin(memory);
	EXPECT_OK(t, pager_read(memory_pager_of(memory), page_no, &read,
	                        &t->err));
	EXPECT_OK(t, pager_edit(memory_pager_of(memory), page_no, &page,
	                        &t->err));
	page[7] = 2;
	EXPECT_EQ(t, read[7], 1);
	EXPECT_OK(t, pager_read(memory_pager_of(memory), page_no, &read,
	                        &t->err));
	EXPECT_EQ(t, read[7], 2);
	EXPECT(t, read == page);
	memory_pager_operation_end(memory);
	EXPECT_OK(t, pager_read(memory_pager_of(memory), page_no, &read,
	                        &t->err));
	EXPECT(t, read != page);
	EXPECT_EQ(t, read[7], 2);
	EXPECT_EQ(t, memory_pager_changes(memory).bytes, 1);
	memory_pager_close(memory);
}

static void the_nth_call_fails_on_demand(struct test *t)
{
	struct memory_pager *memory;
	const uint8_t *read;
	uint8_t *page;
	uint32_t page_no;
	struct heap heap;

	heap_init(&heap);
	EXPECT_OK(t, memory_pager_open(&memory, &heap, 0, false, &t->err));
	EXPECT_ERR(t, pager_allocate(memory_pager_of(memory), PAGE_LEAF,
	                             &page_no, &page, &t->err),
	           ERR_READONLY, "no transaction");
	memory_pager_begin(memory);
	EXPECT_OK(t, pager_allocate(memory_pager_of(memory), PAGE_LEAF,
	                            &page_no, &page, &t->err));
	memory_pager_fail(memory, MEMORY_PAGER_READ | MEMORY_PAGER_EDIT, 2,
	                  false);
	EXPECT_OK(t, pager_read(memory_pager_of(memory), page_no, &read,
	                        &t->err));
	EXPECT_ERR(t, pager_edit(memory_pager_of(memory), page_no, &page,
	                         &t->err), ERR_IO, "asked for");
	EXPECT_OK(t, pager_edit(memory_pager_of(memory), page_no, &page,
	                        &t->err));
	EXPECT_EQ(t, memory_pager_calls(memory, MEMORY_PAGER_EDIT), 2);
	EXPECT_ERR(t, pager_read(memory_pager_of(memory), 0, &read, &t->err),
	           ERR_CORRUPT, "page 0");
	memory_pager_close(memory);
}

static void a_page_nobody_visits_is_a_leak(struct test *t)
{
	struct memory_pager *memory;
	uint8_t *page;
	uint32_t page_no;
	struct heap heap;

	heap_init(&heap);
	EXPECT_OK(t, memory_pager_open(&memory, &heap, 0, false, &t->err));
	memory_pager_begin(memory);
	EXPECT_OK(t, pager_allocate(memory_pager_of(memory), PAGE_LEAF,
	                            &page_no, &page, &t->err));
	memory_pager_visits_reset(memory);
	EXPECT_ERR(t, memory_pager_visits_check(memory, &t->err), ERR_CORRUPT,
	           "page 1 of kind 2 is reached 0 times");
	memory_pager_visit(memory, page_no);
	EXPECT_OK(t, memory_pager_visits_check(memory, &t->err));
	memory_pager_close(memory);
}

static const struct test_case cases[] = {
	CASE(marks_restore_what_they_saw),
	CASE(marks_restore_what_they_saw_when_pages_move),
	CASE(an_older_read_shows_the_old_bytes),
	CASE(the_nth_call_fails_on_demand),
	CASE(a_page_nobody_visits_is_a_leak),
};
TEST_MAIN(cases)
