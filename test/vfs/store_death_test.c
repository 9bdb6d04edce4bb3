/*
 * store_death_test.c - one of two processes dies at its n-th call, for every n; the
 * other notices nothing but that.
 *
 * The dead one's commit happened or did not; nothing else is open. The survivor
 * takes the writer lock over, commits, checkpoints, and keeps an old snapshot all
 * the while.
 */
#include "test/harness.h"

#include "test/support/explore.h"
#include "test/support/store_model.h"

enum { COMMITS_BEFORE = 3, COMMITS_UNTIL_DEATH = 26, COMMITS_AFTER = 6 };

struct scene {
	struct sim_disk *disk;
	struct actor mortal, survivor;
	struct model model, seen;
};

static int check_old_snapshot(struct scene *scene, struct store_view *old,
                              struct err *err)
{
	return store_view_reading(old) ? model_check(old, &scene->seen, err)
	                               : ERR_NONE;
}

/* What the mortal was committing is there or not. */
static int settle(struct scene *scene, bool died, struct err *err)
{
	struct store_view *view = scene->survivor.view;
	uint64_t k = 0;
	int rc = actor_take_over(&scene->survivor, &k, err);

	if (!rc)
		rc = store_view_begin(view, err);
	if (!rc && k != scene->model.k && !(died && k == scene->model.k + 1))
		rc = err_set(err, ERR_CORRUPT, "go on", "app",
		             "commit %llu is there, the last was %llu",
		             (unsigned long long)k,
		             (unsigned long long)scene->model.k);
	if (!rc) {
		model_at(&scene->model, k);
		rc = model_check(view, &scene->model, err);
	}
	store_view_end(view);
	return rc;
}

static int live_on(struct scene *scene, struct store_view *old, struct err *err)
{
	bool done;
	int rc = settle(scene, true, err);

	for (int i = 0; !rc && i < COMMITS_AFTER; i++) {
		rc = actor_commit(&scene->survivor, scene->disk, &scene->model,
		                  err);
		if (!rc)
			rc = check_old_snapshot(scene, old, err);
		if (!rc && i == 3)
			rc = store_checkpoint(scene->survivor.store, &done, err);
		if (!rc && i == 4)
			store_view_end(old);
	}
	if (!rc)
		rc = store_view_begin(scene->survivor.view, err);
	if (!rc)
		rc = store_check(scene->survivor.view, 1, NULL, NULL, err);
	store_view_end(scene->survivor.view);
	return rc;
}

/* The mortal commits until it dies. */
static int until_death(struct scene *scene, struct store_view *old,
                       struct err *err)
{
	struct err ignored;
	bool done;
	int rc = ERR_NONE;

	for (int i = 0; !rc && i < COMMITS_UNTIL_DEATH; i++) {
		rc = actor_commit(&scene->mortal, scene->disk, &scene->model,
		                  &ignored);
		if (!rc && i % 8 == 5)
			rc = store_checkpoint(scene->mortal.store, &done,
			                      &ignored);
		if (!rc && i == 3)
			store_view_end(old);
		if (!rc && i == 11) {
			rc = store_view_begin(old, &ignored);
			scene->seen = scene->model;
		}
	}
	if (rc && sim_process_is_dead(scene->mortal.os))
		return ERR_NONE;
	if (rc)
		*err = ignored;
	return rc;
}

static int come_again(struct scene *scene, struct err *err)
{
	struct actor *actor = &scene->survivor;
	int rc = actor_start(actor, scene->disk, 0, err);

	if (rc)
		return rc;
	rc = settle(scene, false, err);
	if (!rc)
		rc = store_view_begin(actor->view, err);
	if (!rc)
		rc = store_check(actor->view, 1, NULL, NULL, err);
	if (rc)
		return rc;
	return actor_end(actor, err);
}

static int play_scene(struct scene *scene, uint64_t n, bool *reached,
                      struct err *err)
{
	struct store_view *old;
	int rc = actor_start(&scene->survivor, scene->disk, 0, err);

	model_at(&scene->model, 0);
	for (int i = 0; !rc && i < COMMITS_BEFORE; i++)
		rc = actor_commit(&scene->survivor, scene->disk, &scene->model,
		                  err);
	if (!rc)
		rc = store_view_open(scene->survivor.store, &old, err);
	if (!rc)
		rc = store_view_begin(old, err);
	scene->seen = scene->model;
	if (!rc)
		rc = actor_start(&scene->mortal, scene->disk, 0, err);
	if (rc)
		return rc;
	sim_process_kill_after(scene->mortal.os, n / 2, n % 2);
	rc = until_death(scene, old, err);
	*reached = sim_process_is_dead(scene->mortal.os);
	if (rc)
		return rc;
	actor_die(&scene->mortal);
	rc = live_on(scene, old, err);
	store_view_close(old);
	if (!rc)
		rc = actor_end(&scene->survivor, err);
	return rc ? rc : come_again(scene, err);
}

static int play(void *context, uint64_t n, bool *reached, struct err *err)
{
	struct sim_options options = { .seed = n };
	struct scene scene = { .disk = sim_disk_create(&options) };
	int rc;

	(void)context;
	sim_trace_stop(scene.disk);
	rc = play_scene(&scene, n, reached, err);
	if (!rc)
		sim_disk_close(scene.disk);
	return rc;
}

static void a_death_at_any_call_is_survived(struct test *t)
{
	uint64_t wanted = test_scaled(300, 40);
	struct explore_variants variants = {
		.name = "death", .play = play, .hang_seconds = 20,
		/* some 1600 variants in all */
		.step = wanted >= 1600 ? 1 : 1600 / wanted,
	};

	variants.first = t->seed % variants.step;
	explore_each_expect(t, &variants);
}

static const struct test_case cases[] = {
	CASE(a_death_at_any_call_is_survived),
};
TEST_MAIN(cases)
