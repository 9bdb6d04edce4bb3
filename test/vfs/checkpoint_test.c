/*
 * checkpoint_test.c - what a checkpoint retains, looked at after each instruction.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include "test/support/real_store.h"
#include "test/support/stepping.h"
#include "vfs/store_private.h"

struct scene {
	struct opened opened;
	struct shm_head *head;
	struct err err;
	int rc;
	bool done;
	uint64_t candidate, unprotected;
};

static int commit(struct store_view *view, struct err *err)
{
	uint8_t bytes[STORE_PAGE_SIZE] = { 0 };
	int rc = store_view_begin(view, err);

	if (!rc)
		rc = store_view_write(view, 1000 * 1000, err);
	store_le64(bytes, store_view_txid(view));
	if (!rc)
		rc = store_sqlite_write(view, 0, bytes, sizeof bytes, err);
	if (!rc)
		rc = store_view_commit(view, STORE_DURABLE_NEVER, err);
	store_view_end(view);
	return rc;
}

static void checkpoint(void *context)
{
	struct scene *scene = context;

	scene->rc = store_checkpoint(scene->opened.store, &scene->done,
	                             &scene->err);
}

/* Once there was a candidate it is there, or the durable one is as new. */
static void look(void *context)
{
	struct scene *scene = context;
	uint64_t candidate = atomic_load(&scene->head->candidate_txid);

	if (candidate)
		scene->candidate = candidate;
	else if (atomic_load(&scene->head->durable_txid) < scene->candidate)
		scene->unprotected++;
}

/* A process may die between any two stores, and its memory counts: at no moment may
 * places look free that the newest superblock reaches. (vfs/checkpoint P1, vfs/checkpoint P2) */
static void one_of_candidate_and_durable_protects_at_every_moment(struct test *t)
{
	struct store_options options = { .create = true };
	struct scene scene = { .rc = 0 };
	char directory[256], path[300];

	if (!stepping_is_possible()) {
		test_skip(t, "no single steps here");
		return;
	}
	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	EXPECT_OK(t, real_store_open(&scene.opened, path, &options, &t->err));
	scene.head = scene.opened.store->shm.head;
	EXPECT_OK(t, commit(scene.opened.view, &t->err));
	EXPECT(t, stepping_run(checkpoint, look, &scene) > 1000);
	EXPECT_EQ(t, scene.rc, ERR_NONE);
	EXPECT(t, scene.done);
	EXPECT_EQ(t, scene.candidate, scene.head->durable_txid);
	EXPECT_EQ(t, scene.unprotected, 0);
	EXPECT_OK(t, real_store_close(&scene.opened, &t->err));
}

static const struct test_case cases[] = {
	CASE(one_of_candidate_and_durable_protects_at_every_moment),
};
TEST_MAIN(cases)
