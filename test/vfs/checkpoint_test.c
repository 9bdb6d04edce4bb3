/*
 * checkpoint_test.c - what a checkpoint retains, looked at after each instruction, and
 * what two of them do to each other.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include "test/support/real_store.h"
#include "test/support/stepping.h"
#include "test/support/store_model.h"
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

static uint64_t checkpointer(const struct store *store)
{
	return atomic_load(&store->shm.head->checkpointer.owner);
}

static int run_on(struct store *store, struct err *err)
{
	bool over = false;
	int rc = ERR_NONE;

	while (!rc && !over)
		rc = store_checkpoint_step(store, &over, err);
	return rc;
}

/* Two processes. (rule 6) */
static void one_checkpoint_at_a_time(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor first, second;
	struct model model;
	bool begun, other, done;

	model_at(&model, 0);
	EXPECT_OK(t, actor_start(&first, disk, 0, &t->err));
	EXPECT_OK(t, actor_start(&second, disk, 0, &t->err));
	EXPECT_OK(t, actor_commit(&first, disk, &model, &t->err));
	EXPECT_OK(t, store_checkpoint_begin(first.store, &begun, &t->err));
	EXPECT(t, begun);
	EXPECT_OK(t, actor_commit(&second, disk, &model, &t->err));
	EXPECT_OK(t, store_checkpoint_begin(second.store, &other, &t->err));
	EXPECT(t, !other);
	EXPECT_OK(t, store_checkpoint(second.store, &done, &t->err));
	EXPECT(t, !done);
	EXPECT_EQ(t, checkpointer(first.store), first.store->owner);
	EXPECT_OK(t, run_on(first.store, &t->err));
	EXPECT_OK(t, store_checkpoint(second.store, &done, &t->err));
	EXPECT(t, done);
	EXPECT_OK(t, actor_end(&second, &t->err));
	EXPECT_OK(t, actor_end(&first, &t->err));
	sim_disk_close(disk);
}

/* The lock is a process's: who did not get it could let go of the one that another
 * thread holds. */
static void who_waits_in_vain_leaves_the_checkpoint_alone(struct test *t)
{
	struct store_options options = { .create = true };
	struct opened opened;
	char directory[256], path[300];
	bool begun, done;

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	EXPECT_OK(t, real_store_open(&opened, path, &options, &t->err));
	EXPECT_OK(t, commit(opened.view, &t->err));
	EXPECT_OK(t, store_checkpoint_begin(opened.store, &begun, &t->err));
	EXPECT(t, begun);
	EXPECT_OK(t, commit(opened.view, &t->err));
	EXPECT_OK(t, store_checkpoint_within(opened.store, 20000, &done,
	                                     &t->err));
	EXPECT(t, !done);
	EXPECT_EQ(t, checkpointer(opened.store), opened.store->owner);
	EXPECT_OK(t, run_on(opened.store, &t->err));
	EXPECT_EQ(t, checkpointer(opened.store), 0);
	EXPECT_OK(t, real_store_close(&opened, &t->err));
}

/* More than a megabyte, and less than what is placed instead of logged. */
static int write_much(struct store_view *view, struct err *err)
{
	static uint8_t bytes[STORE_PAGE_SIZE];
	uint64_t random = 1;
	int rc = ERR_NONE;

	for (uint64_t i = 0; i < 90 && !rc; i++) {
		for (size_t at = 0; at < sizeof bytes; at += 8)
			store_le64(bytes + at, test_random(&random));
		rc = store_sqlite_write(view, i * STORE_PAGE_SIZE, bytes,
		                        sizeof bytes, err);
	}
	return rc;
}

struct endings {
	const struct shm_head *head;
	unsigned looked, pending;
};

static int look_for_ending(void *context, struct os *os, enum sim_call call,
                           const char *name, uint64_t index, struct err *err)
{
	struct endings *endings = context;

	(void)os, (void)name, (void)index, (void)err;
	if (call != SIM_CALL_SYNC || !atomic_load(&endings->head->candidate_txid))
		return ERR_NONE;
	endings->looked++;
	endings->pending += atomic_load(&endings->head->generation_end_pending);
	return ERR_NONE;
}

/* A commit that begins a checkpoint may have been under way when the one before became
 * durable. What the records since then did with places is noted for the new one: to end
 * the old one's notes later would end those. (rule 2) */
static void a_checkpoint_ends_the_one_before_first(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor first, second;
	struct endings endings = { .looked = 0 };
	struct model model;
	bool begun;

	sim_trace_stop(disk);
	model_at(&model, 0);
	EXPECT_OK(t, actor_start(&first, disk, 0, &t->err));
	EXPECT_OK(t, actor_start(&second, disk, 0, &t->err));
	store_configure(first.store, 16384, 1);
	EXPECT_OK(t, actor_commit(&second, disk, &model, &t->err));
	EXPECT_OK(t, store_checkpoint_begin(second.store, &begun, &t->err));
	EXPECT(t, begun);
	EXPECT_OK(t, store_view_begin(first.view, &t->err));
	EXPECT_OK(t, store_view_write(first.view, 0, &t->err));
	EXPECT_OK(t, write_much(first.view, &t->err));
	EXPECT_OK(t, run_on(second.store, &t->err));
	endings.head = first.store->shm.head;
	EXPECT_EQ(t, endings.head->generation_end_pending, 1);
	sim_hook_set(disk, look_for_ending, &endings);
	EXPECT_OK(t, store_view_commit(first.view, STORE_DURABLE_NEVER,
	                               &t->err));
	sim_hook_set(disk, NULL, NULL);
	store_view_end(first.view);
	EXPECT(t, endings.looked > 0);
	EXPECT_EQ(t, endings.pending, 0);
	EXPECT_OK(t, actor_end(&second, &t->err));
	EXPECT_OK(t, actor_end(&first, &t->err));
	sim_disk_close(disk);
}

static const struct test_case cases[] = {
	CASE(one_checkpoint_at_a_time),
	CASE(who_waits_in_vain_leaves_the_checkpoint_alone),
	CASE(a_checkpoint_ends_the_one_before_first),
	CASE(one_of_candidate_and_durable_protects_at_every_moment),
};
TEST_MAIN(cases)
