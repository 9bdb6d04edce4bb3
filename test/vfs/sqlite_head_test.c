/*
 * sqlite_head_test.c - SQLite's change counter lies apart from page 1, and nobody can
 * tell.
 */
#include "test/harness.h"

#include "vfs/store.h"

enum { PAGE = 16384, MODEL = 3 * PAGE, COUNTER_AT = 24, VALID_FOR_AT = 92 };

struct fixture {
	struct os *os;
	struct heap heap;
	struct store_environment *environment;
	struct store_options options;
	char path[300];
	struct store *store;
	struct store_view *view;
};

/* A file in the transaction, and as it was when that began. */
struct model {
	uint8_t bytes[MODEL], committed[MODEL];
	uint64_t size, committed_size;
};

static void begin(struct test *t, struct fixture *f)
{
	EXPECT_OK(t, store_open(f->environment, f->path, &f->options, &f->store,
	                        &t->err));
	EXPECT_OK(t, store_view_open(f->store, &f->view, &t->err));
}

static void end(struct test *t, struct fixture *f)
{
	store_view_close(f->view);
	EXPECT_OK(t, store_close(f->store, &t->err));
}

static void fixture_start(struct test *t, struct fixture *f)
{
	char directory[256];

	memset(f, 0, sizeof *f);
	heap_init(&f->heap);
	test_directory(t, directory);
	snprintf(f->path, sizeof f->path, "%s/app", directory);
	EXPECT_OK(t, os_posix_open(&f->heap, &f->os, &t->err));
	EXPECT_OK(t, store_environment_open(f->os, &f->heap, &f->environment,
	                                    &t->err));
	f->options = (struct store_options){ .create = true,
	                                     .log_segment_size = 262144 };
	begin(t, f);
}

static void fixture_end(struct test *t, struct fixture *f)
{
	end(t, f);
	store_environment_close(f->environment);
	os_posix_close(f->os);
	EXPECT_EQ(t, f->heap.used, 0);
}

static void write_model(struct test *t, struct fixture *f, struct model *model,
                        uint64_t offset, size_t size)
{
	EXPECT_OK(t, store_sqlite_write(f->view, offset, model->bytes + offset,
	                                size, &t->err));
	if (offset + size > model->size)
		model->size = offset + size;
}

static void count(struct model *model)
{
	model->bytes[COUNTER_AT + 3]++;
	memcpy(model->bytes + VALID_FOR_AT, model->bytes + COUNTER_AT, 4);
}

static void expect_model(struct test *t, struct fixture *f,
                         const struct model *model, uint64_t *seed)
{
	uint64_t offset = test_random(seed) % 2 ? 0 : test_random(seed) % 120;
	uint8_t back[MODEL];
	size_t got;

	EXPECT_OK(t, store_sqlite_read(f->view, 0, back, sizeof back, &got,
	                               &t->err));
	EXPECT_EQ(t, got, model->size);
	EXPECT(t, memcmp(back, model->bytes, got) == 0);
	memset(back, 0xee, sizeof back);
	EXPECT_OK(t, store_sqlite_read(f->view, offset, back, 16, &got, &t->err));
	EXPECT(t, memcmp(back, model->bytes + offset, got) == 0);
	for (size_t i = 16; i < 16 + PAGE; i++) /* of the caller's own */
		EXPECT_EQ(t, back[i], 0xee);
	EXPECT_OK(t, store_sqlite_read_committed(f->view, 0, back, sizeof back,
	                                         &got, &t->err));
	EXPECT_EQ(t, got, model->committed_size);
	EXPECT(t, memcmp(back, model->committed, got) == 0);
}

static void expect_lent(struct test *t, struct fixture *f,
                        const struct model *model, uint64_t *seed)
{
	uint64_t offset = test_random(seed) % 200;
	const uint8_t *lent;

	EXPECT_OK(t, store_sqlite_fetch(f->view, offset, 100, &lent, &t->err));
	EXPECT(t, !lent || memcmp(lent, model->bytes + offset, 100) == 0);
}

/* Any bytes of the first page, any part of it. */
static void scribble(struct test *t, struct fixture *f, struct model *model,
                     uint64_t *seed)
{
	uint64_t offset = test_random(seed) % 3 ? test_random(seed) % 130
	                                        : test_random(seed) % (2 * PAGE);
	size_t size = test_random(seed) % 5 ? test_random(seed) % 130 + 1
	                                    : test_random(seed) % PAGE + 1;

	for (size_t i = 0; i < size; i += 1 + test_random(seed) % 50)
		model->bytes[offset + i] = (uint8_t)test_random(seed);
	write_model(t, f, model, offset, size);
}

static void step(struct test *t, struct fixture *f, struct model *model,
                 uint64_t *seed)
{
	static const size_t sizes[] = { PAGE, PAGE, PAGE, 4096, 512, 100 };
	uint64_t cut;

	switch (test_random(seed) % 10) {
	case 0:
		scribble(t, f, model, seed);
		break;
	case 1: /* the page as a whole, with other bytes */
		model->bytes[test_random(seed) % PAGE]++;
		write_model(t, f, model, 0, PAGE);
		break;
	case 2:
		if (test_random(seed) % 4)
			break;
		cut = test_random(seed) % 2 ? 0 : test_random(seed) % 200;
		EXPECT_OK(t, store_sqlite_truncate(f->view, cut, &t->err));
		if (cut < model->size)
			memset(model->bytes + cut, 0, MODEL - cut);
		model->size = cut;
		break;
	default: /* whoever changes the head counts, too */
		if (test_random(seed) % 4 == 0)
			model->bytes[test_random(seed) % 120]++;
		if (test_random(seed) % 8)
			count(model);
		write_model(t, f, model, 0, sizes[test_random(seed) % 6]);
	}
}

/* Writes that change the counter, and others, in any order and with rollbacks and
 * reopenings, against plain bytes. (vfs/sqlite_head H1, vfs/sqlite_head H2) */
static void nobody_can_tell_where_the_counter_is(struct test *t)
{
	uint64_t seed = t->seed;
	struct model model = { .size = 0 };
	struct fixture f;

	fixture_start(t, &f);
	for (int round = 0; round < 400; round++) {
		EXPECT_OK(t, store_view_begin(f.view, &t->err));
		expect_model(t, &f, &model, &seed);
		expect_lent(t, &f, &model, &seed);
		EXPECT_OK(t, store_view_write(f.view, 0, &t->err));
		for (uint64_t n = test_random(&seed) % 4; n < 4; n++) {
			step(t, &f, &model, &seed);
			expect_model(t, &f, &model, &seed);
		}
		if (test_random(&seed) % 4) {
			EXPECT_OK(t, store_view_commit(f.view,
				STORE_DURABLE_LATER, &t->err));
			memcpy(model.committed, model.bytes, MODEL);
			model.committed_size = model.size;
		} else {
			store_view_rollback(f.view);
			memcpy(model.bytes, model.committed, MODEL);
			model.size = model.committed_size;
		}
		store_view_end(f.view);
		if (round % 20 == 19) {
			end(t, &f);
			begin(t, &f);
		}
	}
	fixture_end(t, &f);
}

static int find_bytes(void *context, const char *name, int64_t value,
                      const char *what)
{
	(void)what;
	if (strcmp(name, "record_bytes") == 0)
		*(int64_t *)context = value;
	return 0;
}

/* Page 1 was written with every commit of one row. */
static void a_commit_that_only_counts_writes_no_page(struct test *t)
{
	struct model model = { .size = 0 };
	int64_t before = 0, after = 0;
	struct fixture f;

	fixture_start(t, &f);
	EXPECT_OK(t, store_view_write(f.view, 0, &t->err));
	model.bytes[0] = 'S';
	write_model(t, &f, &model, 0, PAGE);
	EXPECT_OK(t, store_view_commit(f.view, STORE_DURABLE_LATER, &t->err));
	store_view_end(f.view);
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(t, store_view_write(f.view, 0, &t->err));
		count(&model);
		write_model(t, &f, &model, 0, PAGE);
		store_status(f.store, find_bytes, &before, &t->err);
		EXPECT_OK(t, store_view_commit(f.view, STORE_DURABLE_LATER,
		                               &t->err));
		store_status(f.store, find_bytes, &after, &t->err);
		store_view_end(f.view);
		EXPECT(t, after > before && after - before < 40);
	}
	fixture_end(t, &f);
}

static const struct test_case cases[] = {
	CASE(nobody_can_tell_where_the_counter_is),
	CASE(a_commit_that_only_counts_writes_no_page),
};
TEST_MAIN(cases)
