/*
 * full_disk_test.c - a disk without a free block can be emptied through the database.
 *
 * Pages are written anew wherever they change, so DELETE and DROP failed like any other
 * write: who had filled the disk had no way to make room on it. (files_test.py does the
 * same through SQL, on a real file system.)
 */
#include "test/harness.h"
#include "test/sim/sim.h"

#include "vfs/store.h"

enum { PAGE = 16384, DISK = 24 << 20, FULL_TRIES = 5 };

struct scene {
	struct test *t;
	struct heap heap;
	struct sim_disk *disk;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
	uint32_t pages;
};

static void scene_open(struct scene *s)
{
	struct store_options options = { .create = true };

	s->os = sim_process_open(s->disk);
	EXPECT_OK(s->t, store_environment_open(s->os, &s->heap,
	                                       &s->environment, &s->t->err));
	EXPECT_OK(s->t, store_open(s->environment, "db", &options, &s->store,
	                           &s->t->err));
	EXPECT_OK(s->t, store_view_open(s->store, &s->view, &s->t->err));
}

static void scene_close(struct scene *s)
{
	store_view_close(s->view);
	EXPECT_OK(s->t, store_close(s->store, &s->t->err));
	store_environment_close(s->environment);
	sim_process_close(s->os);
}

static int begin(struct scene *s)
{
	int rc = store_view_begin(s->view, &s->t->err);

	return rc ? rc : store_view_write(s->view, 0, &s->t->err);
}

static int end(struct scene *s, int rc)
{
	if (!rc)
		rc = store_view_commit(s->view, STORE_DURABLE_NOW, &s->t->err);
	store_view_end(s->view);
	return rc;
}

static int put(struct scene *s, uint32_t page, uint8_t value)
{
	uint8_t bytes[PAGE];
	int rc = begin(s);

	memset(bytes, value, sizeof bytes);
	bytes[0] = 1; /* a page of zeros would go, and come back as a new one */
	if (!rc)
		rc = store_sqlite_write(s->view, (uint64_t)page * PAGE, bytes,
		                        sizeof bytes, &s->t->err);
	return end(s, rc);
}

static int add(struct scene *s)
{
	int rc = put(s, s->pages, (uint8_t)s->pages);

	s->pages += !rc;
	return rc;
}

static int cut_to(struct scene *s, uint32_t pages)
{
	int rc = begin(s);

	if (!rc)
		rc = store_sqlite_truncate(s->view, (uint64_t)pages * PAGE,
		                           &s->t->err);
	s->pages = pages;
	return end(s, rc);
}

static void expect_sound(struct scene *s)
{
	uint64_t bytes = 0;

	EXPECT_OK(s->t, store_view_begin(s->view, &s->t->err));
	EXPECT_OK(s->t, store_check(s->view, 1, NULL, NULL, &s->t->err));
	EXPECT_OK(s->t, store_sqlite_size(s->view, &bytes, &s->t->err));
	EXPECT(s->t, bytes == (uint64_t)s->pages * PAGE);
	store_view_end(s->view);
}

static void fill(struct scene *s)
{
	for (uint32_t full = 0; full < FULL_TRIES && !s->t->failed;) {
		int rc = add(s);

		full += rc == ERR_FULL;
		if (rc && rc != ERR_FULL)
			EXPECT_OK(s->t, rc);
	}
}

static void scene_start(struct test *t, struct scene *s)
{
	struct sim_options options = { .seed = t->seed, .capacity = DISK };

	memset(s, 0, sizeof *s);
	s->t = t;
	heap_init(&s->heap);
	s->disk = sim_disk_create(&options);
	sim_trace_stop(s->disk);
	scene_open(s);
	for (uint32_t i = 0; i < 64 && !t->failed; i++)
		EXPECT_OK(t, add(s));
	scene_close(s); /* the first checkpoint keeps room back */
	scene_open(s);
}

static void scene_end(struct scene *s)
{
	scene_close(s);
	sim_disk_close(s->disk);
}

/* As a DELETE of some rows does, over and over: pages change, none is added.
 * (vfs/reserve N1, vfs/reserve N2) */
static void pages_change_on_a_full_disk(struct test *t)
{
	struct scene s;

	scene_start(t, &s);
	fill(&s);
	EXPECT(t, s.pages > 100);
	for (uint32_t i = 0; i < 300 && !t->failed; i++)
		EXPECT_OK(t, put(&s, i * 7 % s.pages, (uint8_t)(i + 1)));
	expect_sound(&s);
	fill(&s); /* what is left of the reserve is not for this */
	for (uint32_t i = 0; i < 50 && !t->failed; i++)
		EXPECT_OK(t, put(&s, i * 11 % s.pages, (uint8_t)(i + 3)));
	expect_sound(&s);
	scene_end(&s);
}

static void what_is_cut_off_a_full_disk_is_free(struct test *t)
{
	struct scene s;

	scene_start(t, &s);
	for (uint32_t round = 0; round < 3 && !t->failed; round++) {
		uint32_t most;

		fill(&s);
		most = s.pages;
		EXPECT_OK(t, cut_to(&s, most / 2));
		expect_sound(&s);
		for (uint32_t i = 0; i < most / 4 && !t->failed; i++)
			EXPECT_OK(t, add(&s));
	}
	expect_sound(&s);
	scene_end(&s);
}

/* A process that fills the disk and dies leaves a database that the next one opens,
 * empties and fills again. */
static void a_full_disk_outlives_its_processes(struct test *t)
{
	struct scene s;

	scene_start(t, &s);
	for (uint32_t round = 0; round < 3 && !t->failed; round++) {
		fill(&s);
		EXPECT_OK(t, put(&s, 1, (uint8_t)round));
		sim_process_kill(s.os);
		store_view_close(s.view);
		store_close(s.store, &t->err);
		store_environment_close(s.environment);
		sim_process_close(s.os);
		scene_open(&s);
		expect_sound(&s);
		EXPECT_OK(t, put(&s, 2, (uint8_t)round));
		EXPECT_OK(t, cut_to(&s, s.pages - s.pages / 4));
		expect_sound(&s);
	}
	scene_end(&s);
}

static const struct test_case cases[] = {
	CASE(pages_change_on_a_full_disk),
	CASE(what_is_cut_off_a_full_disk_is_free),
	CASE(a_full_disk_outlives_its_processes),
};
TEST_MAIN(cases)
