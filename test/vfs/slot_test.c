/*
 * slot_test.c - a snapshot is taken while others commit, at any instruction of it.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include "test/support/real_store.h"
#include "test/support/stepping.h"
#include "test/support/store_model.h"
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

static bool may_step(struct test *t)
{
	if (!stepping_is_possible())
		test_skip(t, "no single steps here");
	return !t->skipped;
}

static void open_fresh(struct test *t, struct opened *opened)
{
	struct store_options options = { .create = true };
	char directory[256], path[300];

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	EXPECT_OK(t, real_store_open(opened, path, &options, &t->err));
}

/* The pin is seen, or sees that it is late: with commits between any two instructions
 * of taking a snapshot, and more behind it, the snapshot stays what it is.
 * (vfs/slot S1, rule 4) */
static void commits_may_come_at_any_instruction_of_taking_a_snapshot(struct test *t)
{
	struct scene scene = { .rc = 0 };
	uint64_t steps = 1;

	if (!may_step(t))
		return;
	open_fresh(t, &scene.opened);
	if (t->failed)
		return;
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

/* --- whose a slot is ------------------------------------------------------------------ */

struct claim {
	struct opened opened;
	struct store_view view; /* no more of one than a slot */
	struct shm_slot *other;
	struct err err;
	uint64_t step, meet;
	int rc;
};

static void take_slot(void *context)
{
	struct claim *claim = context;

	claim->rc = store_slot_take(&claim->view, &claim->err);
}

/* Another process takes the first free slot. */
static void claim_another(void *context)
{
	struct claim *claim = context;
	struct shm_slot *slot = claim->opened.store->shm.head->slots;

	if (claim->step++ != claim->meet)
		return;
	while (atomic_load(&slot->owner))
		slot++;
	atomic_store(&slot->owner, UINT64_MAX);
	claim->other = slot;
}

static void two_never_get_one_slot(struct test *t)
{
	struct claim claim = { .rc = 0 };
	uint64_t steps = 1;

	if (!may_step(t))
		return;
	open_fresh(t, &claim.opened);
	if (t->failed)
		return;
	claim.view.store = claim.opened.store;
	for (claim.meet = 0; claim.meet < steps; claim.meet++) {
		claim.step = 0;
		steps = stepping_run(take_slot, claim_another, &claim);
		EXPECT_EQ(t, claim.rc, 0);
		EXPECT(t, claim.view.slot != claim.other);
		EXPECT_EQ(t, claim.view.slot->owner, claim.opened.store->owner);
		EXPECT_EQ(t, claim.other->owner, UINT64_MAX);
		atomic_store(&claim.other->owner, 0);
		store_slot_release(&claim.view);
	}
	EXPECT(t, steps > 10);
	EXPECT_OK(t, real_store_close(&claim.opened, &t->err));
}

enum { VIEWS = 9 };

static bool slots_are(struct actor *actor, struct store_view *const *views)
{
	const struct shm_head *head = actor->store->shm.head;

	for (int i = 0; i < VIEWS; i++) {
		const struct shm_slot *slot = views[i]->slot;

		if (slot->owner != actor->store->owner ||
		    slot - head->slots >= (ptrdiff_t)head->slots_used)
			return false;
		for (int other = 0; other < i; other++)
			if (views[other]->slot == slot)
				return false;
	}
	return true;
}

/* A pin beyond slots_used is looked at by nobody. (vfs/slot S1) */
static void every_slot_in_use_is_looked_at(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct store_view *views[VIEWS];
	struct actor actor;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	for (int i = 0; i < VIEWS; i++)
		EXPECT_OK(t, store_view_open(actor.store, &views[i], &t->err));
	EXPECT(t, slots_are(&actor, views));
	for (int i = 0; i < VIEWS; i++) {
		struct shm_slot *slot = views[i]->slot;

		EXPECT_OK(t, store_view_begin(views[i], &t->err));
		EXPECT_EQ(t, slot->txid, store_view_txid(views[i]));
		store_view_close(views[i]);
		EXPECT_EQ(t, slot->owner, 0);
		EXPECT_EQ(t, slot->txid, 0);
		EXPECT_OK(t, store_view_open(actor.store, &views[i], &t->err));
		EXPECT(t, slots_are(&actor, views));
	}
	for (int i = 0; i < VIEWS; i++)
		store_view_close(views[i]);
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

/* Of three processes that took slots in turn one dies, and another sweeps. (rule 8) */
static void only_the_slots_of_the_dead_are_swept(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actors[3];
	struct shm_slot *dead[2];
	struct store_view *more[3];
	uint32_t process;

	for (int i = 0; i < 3; i++) {
		EXPECT_OK(t, actor_start(&actors[i], disk, 0, &t->err));
		EXPECT_OK(t, store_view_begin(actors[i].view, &t->err));
	}
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(t, store_view_open(actors[i].store, &more[i], &t->err));
		EXPECT_OK(t, store_view_begin(more[i], &t->err));
	}
	dead[0] = actors[2].store->shm.head->slots +
	          (actors[1].view->slot - actors[1].store->shm.head->slots);
	dead[1] = actors[2].store->shm.head->slots +
	          (more[1]->slot - actors[1].store->shm.head->slots);
	store_view_close(more[1]);
	dead[1]->txid = 1;
	dead[1]->owner = dead[0]->owner;
	for (uint32_t i = 0; i < 3; i++)
		EXPECT(t, store_process_index_lives(actors[2].store,
		                                    actors[i].store->process));
	process = actors[1].store->process;
	actor_die(&actors[1]);
	EXPECT(t, !store_process_index_lives(actors[2].store, process));
	EXPECT(t, !store_process_index_lives(actors[2].store, SHM_PROCESSES));
	EXPECT(t, dead[0]->txid && dead[0]->owner);
	store_slots_sweep(actors[2].store);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(t, dead[i]->txid, 0);
		EXPECT_EQ(t, dead[i]->owner, 0);
	}
	for (int i = 0; i < 3; i += 2) {
		EXPECT_EQ(t, more[i]->slot->owner, actors[i].store->owner);
		EXPECT_EQ(t, actors[i].view->slot->owner, actors[i].store->owner);
		EXPECT_EQ(t, more[i]->slot->txid, store_view_txid(more[i]));
		EXPECT_EQ(t, actors[i].view->slot->txid,
		          store_view_txid(actors[i].view));
		store_view_close(more[i]);
		store_view_end(actors[i].view);
	}
	EXPECT_OK(t, actor_end(&actors[0], &t->err));
	EXPECT_OK(t, actor_end(&actors[2], &t->err));
	sim_disk_close(disk);
}

static const struct test_case cases[] = {
	CASE(two_never_get_one_slot),
	CASE(every_slot_in_use_is_looked_at),
	CASE(only_the_slots_of_the_dead_are_swept),
	CASE(commits_may_come_at_any_instruction_of_taking_a_snapshot),
};
TEST_MAIN(cases)
