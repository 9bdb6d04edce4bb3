/*
 * store_death_test.c - one of two processes dies at its n-th call, for every n; the
 * other notices nothing but that.
 *
 * The dead one's commit happened or did not; nothing else is open. The survivor
 * takes the writer lock over, commits, checkpoints, and keeps an old snapshot all
 * the while. Who dies alone with the database, while it opens or closes it, leaves it
 * to one who looked at the lock a moment too early.
 */
#include "base/lock.h"
#include "test/harness.h"

#include "test/support/explore.h"
#include "test/support/store_model.h"
#include "vfs/store_private.h"

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
		rc = model_check_free(scene->survivor.view, err);
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

/* (vfs/late T2, rule 1, rule 10) */
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

/* --- the moment between two looks at a lock ------------------------------------------- */

enum alone { OPENING_AFTER_DEATHS, OPENING_AFTER_POWER_LOSS, CLOSING };

/* At the n-th call of who is alone the other one comes, finds the lock taken, and
 * then free: the holder has died in between. */
struct encounter {
	struct scene scene;
	enum alone doing;
	uint64_t calls_left;
	unsigned locks;      /* calls of the other one */
	bool watching, met;
	/* What is left of the dead one's call must let go of nothing that is another's
	 * by now, so it is told what a forked child is. */
	uint8_t alive;
	int rc;
	struct err *err;
};

static int meet(void *context, struct os *os, enum sim_call call,
                const char *name, uint64_t index, struct err *err)
{
	struct encounter *e = context;
	uint64_t ranks;

	(void)name, (void)index, (void)err;
	if (e->met && call == SIM_CALL_LOCK && os != e->scene.mortal.os &&
	    ++e->locks == 2) {
		sim_process_kill(e->scene.mortal.os);
		e->alive = 0;
	}
	if (!e->watching || e->met || e->calls_left--)
		return ERR_NONE;
	e->met = true;
	ranks = lock_ranks_exchange(0);
	e->rc = actor_start(&e->scene.survivor, e->scene.disk, 0, e->err);
	lock_ranks_exchange(ranks);
	return ERR_NONE;
}

/* Three commits, the last of them durable; then nobody has the database open. */
static int prepare_alone(struct encounter *e, struct err *err)
{
	struct scene *scene = &e->scene;
	struct sim_disk *before = scene->disk;
	int rc = actor_start(&scene->mortal, before, 0, err);

	model_at(&scene->model, 0);
	for (int i = 0; !rc && i < COMMITS_BEFORE; i++)
		rc = actor_commit(&scene->mortal, before, &scene->model, err);
	if (rc || e->doing == CLOSING)
		return rc;
	if (e->doing == OPENING_AFTER_POWER_LOSS)
		scene->disk = sim_crash(before, sim_trace_length(before),
		                        SIM_CRASH_REORDERED, e->calls_left,
		                        NULL);
	actor_die(&scene->mortal);
	if (scene->disk != before)
		sim_disk_close(before);
	return ERR_NONE;
}

static int play_encounter(struct encounter *e, struct err *err)
{
	struct scene *scene = &e->scene;
	struct err ignored;
	int rc = prepare_alone(e, err);

	if (rc)
		return rc;
	sim_hook_set(scene->disk, meet, e);
	e->watching = true;
	if (e->doing == CLOSING) {
		scene->mortal.store->canary = &e->alive;
		actor_end(&scene->mortal, &ignored);
	} else if (!actor_start(&scene->mortal, scene->disk, 0, &ignored))
		actor_die(&scene->mortal);
	e->watching = false;
	sim_hook_set(scene->disk, NULL, NULL);
	if (!e->met || e->rc)
		return e->rc;
	rc = settle(scene, false, err);
	for (int i = 0; !rc && i < COMMITS_AFTER; i++)
		rc = actor_commit(&scene->survivor, scene->disk, &scene->model,
		                  err);
	if (!rc)
		rc = actor_end(&scene->survivor, err);
	return rc ? rc : come_again(scene, err);
}

static int encounter(void *context, uint64_t n, bool *reached, struct err *err)
{
	struct sim_options options = { .seed = n };
	struct encounter e = { .doing = *(enum alone *)context,
	                       .calls_left = n, .alive = 1, .err = err };
	int rc;

	e.scene.disk = sim_disk_create(&options);
	rc = play_encounter(&e, err);
	*reached = e.met;
	if (!rc)
		sim_disk_close(e.scene.disk);
	return rc;
}

/* Shared memory that the last death left marked as built was taken for that of the
 * living: poisoned for ever by the one who had begun to recover, or, after a power
 * loss, not even of this database's last state. (vfs/store O1, vfs/store O2) */
static void a_death_alone_leaves_no_one_with_old_memory(struct test *t)
{
	static const char *const names[] = {
		"opening after deaths", "opening after power loss", "closing",
	};
	enum alone doing;
	struct explore_variants variants = {
		.play = encounter, .context = &doing, .hang_seconds = 20,
	};

	for (doing = OPENING_AFTER_DEATHS; !t->failed && doing <= CLOSING;
	     doing++) {
		variants.name = names[doing];
		explore_each_expect(t, &variants);
	}
}

/* --- snapshots older than the ring ---------------------------------------------------- */

enum { COMMITS_BEYOND = SHM_RING + 10 };

/* Who takes over knows of them from the list of what is retained alone. (rule 10) */
static void an_old_snapshot_outlives_the_death_of_a_writer(struct test *t)
{
	struct scene scene = { .disk = sim_disk_create(NULL) };
	struct store_view *old;
	struct err ignored;

	sim_trace_stop(scene.disk);
	model_at(&scene.model, 0);
	EXPECT_OK(t, actor_start(&scene.survivor, scene.disk, 0, &t->err));
	for (int i = 0; i < COMMITS_BEFORE; i++)
		EXPECT_OK(t, actor_commit(&scene.survivor, scene.disk,
		                          &scene.model, &t->err));
	EXPECT_OK(t, store_view_open(scene.survivor.store, &old, &t->err));
	EXPECT_OK(t, store_view_begin(old, &t->err));
	scene.seen = scene.model;
	EXPECT_OK(t, actor_start(&scene.mortal, scene.disk, 0, &t->err));
	for (int i = 0; i < COMMITS_BEYOND; i++)
		EXPECT_OK(t, actor_commit(&scene.mortal, scene.disk,
		                          &scene.model, &t->err));
	sim_process_kill_after(scene.mortal.os, 1, false);
	actor_commit(&scene.mortal, scene.disk, &scene.model, &ignored);
	actor_die(&scene.mortal);
	EXPECT_OK(t, settle(&scene, true, &t->err));
	for (int i = 0; i < 3 * COMMITS_AFTER; i++) {
		EXPECT_OK(t, actor_commit(&scene.survivor, scene.disk,
		                          &scene.model, &t->err));
		EXPECT_OK(t, check_old_snapshot(&scene, old, &t->err));
	}
	store_view_close(old);
	EXPECT_OK(t, actor_end(&scene.survivor, &t->err));
	sim_disk_close(scene.disk);
}

static const struct test_case cases[] = {
	CASE(an_old_snapshot_outlives_the_death_of_a_writer),
	CASE(a_death_at_any_call_is_survived),
	CASE(a_death_alone_leaves_no_one_with_old_memory),
};
TEST_MAIN(cases)
