/*
 * slot_test.c - a snapshot is taken while others commit, at any instruction of it.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include "test/support/real_store.h"
#include "test/support/stepping.h"
#include "vfs/store_private.h"

enum { PAGE = STORE_PAGE_SIZE };

struct scene {
	struct opened opened;
	struct store_view *reader;
	struct err err;
	uint64_t number;       /* of the newest commit                */
	uint64_t step, meet;   /* now; when the writers come          */
	int rc;
};

/* Commit n is a page full of n. */
static int commit(struct scene *scene)
{
	struct store_view *view = scene->opened.view;
	uint8_t bytes[PAGE];
	int rc = store_view_write(view, 0, &scene->err);

	memset(bytes, (int)(scene->number + 1) & 0xff, sizeof bytes);
	if (!rc)
		rc = store_sqlite_write(view, 0, bytes, sizeof bytes, &scene->err);
	if (!rc)
		rc = store_view_commit(view, STORE_DURABLE_NEVER, &scene->err);
	store_view_end(view);
	scene->number += rc == 0;
	return rc;
}

/* What was newest a moment ago is given back and used again. */
static int commit_some(struct scene *scene)
{
	int rc = 0;

	for (int i = 0; i < 3 && !rc; i++)
		rc = commit(scene);
	return rc;
}

static void take_snapshot(void *context)
{
	struct scene *scene = context;

	scene->rc = store_view_begin(scene->reader, &scene->err);
}

static void come_by(void *context)
{
	struct scene *scene = context;

	if (scene->step++ == scene->meet && commit_some(scene))
		abort();
}

static bool reads(struct scene *scene, uint64_t *number)
{
	uint8_t bytes[PAGE];
	size_t got;

	if (store_sqlite_read(scene->reader, 0, bytes, sizeof bytes, &got,
	                      &scene->err))
		return false;
	*number = bytes[0];
	return got == PAGE && memcmp(bytes, bytes + 1, PAGE - 1) == 0;
}

/* The pin is seen, or sees that it is late: with commits between any two instructions
 * of taking a snapshot, and more behind it, the snapshot stays what it is.
 * (vfs/slot S1, rule 4) */
static void commits_may_come_at_any_instruction_of_taking_a_snapshot(struct test *t)
{
	struct store_options options = { .create = true };
	struct scene scene = { .rc = 0 };
	char directory[256], path[300];
	uint64_t steps = 1;

	if (!stepping_is_possible()) {
		test_skip(t, "no single steps here");
		return;
	}
	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	EXPECT_OK(t, real_store_open(&scene.opened, path, &options, &t->err));
	EXPECT_OK(t, store_view_open(scene.opened.store, &scene.reader, &t->err));
	EXPECT_EQ(t, commit_some(&scene), 0);
	for (scene.meet = 0; scene.meet < steps; scene.meet++) {
		uint64_t first, again;

		scene.step = 0;
		steps = stepping_run(take_snapshot, come_by, &scene);
		EXPECT_EQ(t, scene.rc, 0);
		EXPECT(t, reads(&scene, &first));
		EXPECT_EQ(t, commit_some(&scene), 0);
		EXPECT(t, reads(&scene, &again));
		EXPECT_EQ(t, first, again);
		store_view_end(scene.reader);
	}
	EXPECT(t, steps > 50);
	store_view_close(scene.reader);
	EXPECT_OK(t, real_store_close(&scene.opened, &t->err));
}

static const struct test_case cases[] = {
	CASE(commits_may_come_at_any_instruction_of_taking_a_snapshot),
};
TEST_MAIN(cases)
