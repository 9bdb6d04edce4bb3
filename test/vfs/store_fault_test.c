/*
 * store_fault_test.c - every call and every allocation fails once, and for ever.
 *
 * Whatever fails: who asked gets an error or what he asked for, what was
 * acknowledged is there afterwards, nothing leaks. After a failed sync the store
 * refuses writes until everybody has closed it; then it is whole again, also when
 * the failed sync had thrown pages away (as Linux does) and the power goes next.
 */
#include "test/harness.h"

#include "test/support/explore.h"
#include "test/support/store_model.h"

enum { COMMITS = 14, TRIES = 4 };

struct kind {
	const char *name;
	struct sim_fault fault;
	bool heap;            /* not a call, but the n-th allocation */
	uint64_t least;       /* variants at the usual scale         */
};

#define CALL_KIND(text, what, why, how, forever)                              \
	{ .name = text, .least = 8,                                          \
	  .fault = { .call = SIM_CALL_##what, .code = why,                    \
	             .effect = SIM_FAULT_##how, .sticky = forever } }

static const struct kind kinds[] = {
	CALL_KIND("a write fails", WRITE, ERR_IO, NOTHING_DONE, false),
	CALL_KIND("a write stops half-way", WRITE, ERR_IO, PART_DONE, false),
	CALL_KIND("the disk is full once", WRITE, ERR_FULL, PART_DONE, false),
	CALL_KIND("the disk is full", WRITE, ERR_FULL, PART_DONE, true),
	CALL_KIND("all writes fail", WRITE, ERR_IO, NOTHING_DONE, true),
	CALL_KIND("no space once", ALLOCATE, ERR_FULL, NOTHING_DONE, false),
	CALL_KIND("no space", ALLOCATE, ERR_FULL, NOTHING_DONE, true),
	CALL_KIND("a sync fails", SYNC, ERR_IO, NOTHING_DONE, false),
	CALL_KIND("a sync drops pages", SYNC, ERR_IO, DROP, false),
	CALL_KIND("a sync drops and forgets pages", SYNC, ERR_IO, EVICT, false),
	CALL_KIND("all syncs fail", SYNC, ERR_IO, DROP, true),
	CALL_KIND("a directory sync fails", DIRECTORY_SYNC, ERR_IO,
	          NOTHING_DONE, false),
	CALL_KIND("a file cannot be made", CREATE, ERR_FULL, NOTHING_DONE, false),
	CALL_KIND("no file can be made", CREATE, ERR_FULL, NOTHING_DONE, true),
	CALL_KIND("a file cannot be opened", OPEN, ERR_IO, NOTHING_DONE, false),
	CALL_KIND("no directory can be made", DIRECTORY_MAKE, ERR_IO,
	          NOTHING_DONE, true),
	CALL_KIND("a directory cannot be opened", DIRECTORY_OPEN, ERR_IO,
	          NOTHING_DONE, false),
	CALL_KIND("a directory cannot be listed", DIRECTORY_LIST, ERR_IO,
	          NOTHING_DONE, false),
	CALL_KIND("a file cannot be looked at", IDENTIFY, ERR_IO, NOTHING_DONE,
	          false),
	CALL_KIND("a file cannot be removed", UNLINK, ERR_IO, NOTHING_DONE,
	          false),
	CALL_KIND("a file cannot be cut", TRUNCATE, ERR_IO, NOTHING_DONE, false),
	CALL_KIND("space cannot be given back", PUNCH, ERR_IO, NOTHING_DONE,
	          false),
	CALL_KIND("a read fails", READ, ERR_IO, NOTHING_DONE, false),
	CALL_KIND("all reads fail", READ, ERR_IO, NOTHING_DONE, true),
	CALL_KIND("a map fails", MAP, ERR_NOMEM, NOTHING_DONE, false),
	CALL_KIND("no map is to be had", MAP, ERR_NOMEM, NOTHING_DONE, true),
	CALL_KIND("no addresses are to be had", RESERVE, ERR_NOMEM, NOTHING_DONE,
	          true),
	CALL_KIND("a lock fails", LOCK, ERR_IO, NOTHING_DONE, false),
	{ .name = "an allocation fails", .heap = true, .least = 24 },
	{ .name = "all allocations fail", .heap = true, .least = 24,
	  .fault = { .sticky = true } },
};

struct scene {
	const struct kind *kind;
	struct sim_disk *disk;
	struct actor actor;
	struct model model;
	bool open, heap_armed;
	uint64_t n, started;
	uint64_t returned, durable; /* commits acknowledged before any trouble
	                               with syncs; acknowledged as durable  */
	uint64_t committed_at;      /* in the trace, when reopened          */
};

static bool is_sync(const struct kind *kind)
{
	return kind->fault.call == SIM_CALL_SYNC ||
	       kind->fault.call == SIM_CALL_DIRECTORY_SYNC;
}

static bool was_hit(const struct scene *scene)
{
	return sim_fault_hits(scene->disk) > 0 ||
	       (scene->kind->heap && scene->heap_armed &&
	        atomic_load(&scene->actor.heap.fail_in) <= 0);
}

/* --- living with faults -------------------------------------------------------------- */

/* A sentence is there, and only when something was made to fail. */
static int check_failure(const struct scene *scene, int rc, struct err *err)
{
	bool forgotten = scene->kind->fault.effect == SIM_FAULT_EVICT;

	if (!was_hit(scene) || rc == ERR_LEAK ||
	    (rc == ERR_CORRUPT && !forgotten))
		return rc;
	if (!strchr(err->text, ':'))
		return err_set(err, ERR_ABORT, "fail", "app",
		               "%s without a sentence: '%s'", err_name(rc),
		               err->text);
	return ERR_NONE;
}

static int open_once(struct scene *scene, struct err *err)
{
	int rc = actor_start(&scene->actor, scene->disk, 0, err);

	scene->open = rc == ERR_NONE;
	return rc ? check_failure(scene, rc, err) : ERR_NONE;
}

static void note_commit(struct scene *scene)
{
	scene->returned = scene->model.k;
	if (scene->model.k % 3 == 0)
		scene->durable = scene->model.k;
}

/* *over: no more commits are to be had. */
static int commit_once(struct scene *scene, bool *over, struct err *err)
{
	struct err problem;
	uint64_t k = scene->model.k + 1;
	int rc;

	scene->started = k;
	rc = actor_commit(&scene->actor, scene->disk, &scene->model, &problem);
	if (scene->model.k == k)
		note_commit(scene);
	if (!rc)
		return ERR_NONE;
	*over = rc == ERR_POISONED || rc == ERR_OUTCOME ||
	        scene->kind->fault.sticky || scene->model.k == k;
	rc = check_failure(scene, rc, &problem);
	if (rc)
		*err = problem;
	return rc;
}

static int checkpoint(struct scene *scene, bool *over, struct err *err)
{
	bool done;
	int rc = store_checkpoint(scene->actor.store, &done, err);

	if (!rc)
		return ERR_NONE;
	*over = true;
	return check_failure(scene, rc, err);
}

static int commits(struct scene *scene, struct err *err)
{
	unsigned tries = 0;
	bool over = false;
	int rc = ERR_NONE;

	while (!rc && !over && scene->model.k < COMMITS) {
		uint64_t before = scene->model.k;

		rc = commit_once(scene, &over, err);
		tries = scene->model.k == before ? tries + 1 : 0;
		if (tries == TRIES && !over)
			return err_set(err, ERR_ABORT, "commit", "app",
			               "one failure, and nothing works any more");
		if (!rc && !over && scene->model.k == 8 && !tries)
			rc = checkpoint(scene, &over, err);
		if (!rc && !over && scene->model.k % 2 && !tries) {
			uint64_t bytes;

			store_release(scene->actor.store, &bytes, err);
		}
		if (!rc && !over && scene->model.k == 10 && !tries) {
			struct err problem;

			if (actor_abandon(&scene->actor, &scene->model,
			                  &problem) && !was_hit(scene))
				rc = ERR_ABORT;
			store_view_end(scene->actor.view);
		}
	}
	return rc;
}

/* After a failed sync nobody writes. */
static int expect_poisoned(struct scene *scene, struct err *err)
{
	struct store_view *view = scene->actor.view;
	struct err problem;
	int rc;

	if (scene->kind->fault.call != SIM_CALL_SYNC || !was_hit(scene))
		return ERR_NONE;
	rc = store_view_begin(view, &problem);
	if (!rc)
		rc = store_view_write(view, 0, &problem);
	store_view_end(view);
	if (rc != ERR_POISONED)
		return ERR_NONE; /* it was one that nobody hangs on */
	rc = store_view_begin(view, err);
	store_view_end(view);
	return rc;
}

static int live(struct scene *scene, struct err *err)
{
	struct err problem;
	int rc = ERR_NONE;

	for (int i = 0; !rc && !scene->open && i < 2; i++)
		rc = open_once(scene, err);
	if (rc || !scene->open)
		return rc;
	if (scene->kind->heap) {
		scene->heap_armed = true;
		atomic_store(&scene->actor.heap.fail_sticky,
		             scene->kind->fault.sticky);
		atomic_store(&scene->actor.heap.fail_in,
		             (int64_t)scene->n + 1);
	}
	rc = commits(scene, err);
	if (!rc)
		rc = expect_poisoned(scene, err);
	if (rc)
		return rc;
	rc = actor_end(&scene->actor, &problem);
	if (rc)
		*err = problem;
	return rc ? check_failure(scene, rc, err) : ERR_NONE;
}

/* --- afterwards ------------------------------------------------------------------------ */

static int judge(struct scene *scene, struct sim_disk *disk, uint64_t floor,
                 bool go_on, struct err *err)
{
	struct actor actor;
	uint64_t k = 0;
	int rc = actor_start(&actor, disk, 0, err);

	if (rc)
		return rc;
	rc = store_view_begin(actor.view, err);
	if (!rc)
		rc = model_found(actor.view, &k, err);
	if (!rc && (k < floor || k > scene->started))
		rc = err_set(err, ERR_CORRUPT, "open", "app",
		             "commit %llu is there; %llu was acknowledged, %llu had begun",
		             (unsigned long long)k, (unsigned long long)floor,
		             (unsigned long long)scene->started);
	if (!rc) {
		model_at(&scene->model, k);
		rc = model_check(actor.view, &scene->model, err);
	}
	if (!rc)
		rc = store_check(actor.view, 1, NULL, NULL, err);
	store_view_end(actor.view);
	for (int i = 0; go_on && !rc && i < 4; i++) {
		scene->started = scene->model.k + 1;
		rc = actor_commit(&actor, disk, &scene->model, err);
		if (!rc)
			note_commit(scene);
	}
	scene->committed_at = sim_trace_length(disk);
	if (rc) {
		actor_die(&actor);
		return rc;
	}
	return actor_end(&actor, err);
}

static int judge_crashed(struct scene *scene, uint64_t length, struct err *err)
{
	struct sim_disk *crashed = sim_crash(scene->disk, length,
	                                     SIM_CRASH_LOST, 1, NULL);
	int rc = judge(scene, crashed, scene->durable, false, err);

	sim_disk_close(crashed);
	return rc;
}

/* Reopened; where syncs had failed again after a power loss, before and after that
 * closing. */
static int afterwards(struct scene *scene, struct err *err)
{
	uint64_t floor = is_sync(scene->kind) ? scene->durable
	                                      : scene->returned;
	uint64_t length;
	int rc;

	sim_fault_clear(scene->disk);
	scene->durable = floor < scene->durable ? floor : scene->durable;
	rc = judge(scene, scene->disk, floor, true, err);
	if (rc || !is_sync(scene->kind))
		return rc;
	length = sim_trace_length(scene->disk);
	rc = judge_crashed(scene, scene->committed_at, err);
	return rc ? rc : judge_crashed(scene, length, err);
}

static int play(void *context, uint64_t n, bool *reached, struct err *err)
{
	struct scene scene = { .kind = context, .n = n };
	struct sim_fault fault = scene.kind->fault;
	int rc;

	scene.disk = sim_disk_create(NULL);
	if (!is_sync(scene.kind))
		sim_trace_stop(scene.disk);
	fault.nth = n + 1;
	if (!scene.kind->heap)
		sim_fault_add(scene.disk, &fault);
	model_at(&scene.model, 0);
	rc = live(&scene, err);
	*reached = was_hit(&scene);
	if (!rc)
		rc = afterwards(&scene, err);
	sim_disk_close(scene.disk);
	return rc;
}

/* What a life without faults calls and allocates, for variants to be spread over. */
struct points {
	uint64_t calls[SIM_CALL_COUNT], allocations;
};

static int count_points(struct points *points, struct err *err)
{
	static const struct kind nothing_fails = { .heap = true };
	struct scene scene = { .kind = &nothing_fails, .n = INT64_MAX - 1 };
	int rc;

	scene.disk = sim_disk_create(NULL);
	sim_trace_stop(scene.disk);
	model_at(&scene.model, 0);
	rc = live(&scene, err);
	points->allocations = (uint64_t)(INT64_MAX -
		atomic_load(&scene.actor.heap.fail_in));
	for (int i = 0; i < SIM_CALL_COUNT; i++)
		points->calls[i] = sim_call_count(scene.disk, (enum sim_call)i);
	sim_disk_close(scene.disk);
	return rc;
}

/* (vfs/replay R1, rule 9, rule 3) */
static void whatever_fails_nothing_is_lost(struct test *t)
{
	uint64_t played = 0, findings = 0;
	double seconds = 0;
	const char *only = getenv("FAULT");
	struct points points;

	EXPECT_OK(t, count_points(&points, &t->err));
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		const struct kind *kind = &kinds[i];
		uint64_t there = kind->heap ? points.allocations
		                            : points.calls[kind->fault.call];
		uint64_t wanted = test_scaled(is_sync(kind) ? 40 : kind->least, 5);
		struct explore_variants variants = {
			.name = kind->name, .play = play,
			.context = (void *)(uintptr_t)kind,
			.hang_seconds = 20,
			.step = there > wanted ? there / wanted : 1,
		};
		struct explore_result result;

		if (only && !strstr(kind->name, only))
			continue;
		variants.first = t->seed % variants.step;
		played += explore_each(&variants, &result);
		findings += result.findings;
		seconds += result.seconds;
		for (uint64_t f = 0; f < result.findings && f < 3; f++)
			printf("note fault: %s\n", result.finding[f]);
		if (result.findings)
			test_fail(t, __FILE__, __LINE__, "%s",
			          result.finding[0]);
		if (!result.states)
			test_fail(t, __FILE__, __LINE__,
			          "%s: nothing was played", kind->name);
	}
	printf("note faults: %zu kinds, %llu variants in %.1f s; %llu findings\n",
	       sizeof kinds / sizeof kinds[0], (unsigned long long)played,
	       seconds, (unsigned long long)findings);
}

/* --- a superblock that is only in the page cache ------------------------------------- */

enum { COMMITS_BEFORE = 3, COMMITS_UNDECIDED = 24 };

static int commit_some(struct scene *scene, unsigned count, struct err *err)
{
	int rc = ERR_NONE;

	while (!rc && count--)
		rc = actor_commit(&scene->actor, scene->disk, &scene->model,
		                  err);
	scene->started = scene->durable = scene->model.k;
	return rc;
}

/* The second sync of turdb.meta in a checkpoint is the superblock's. */
static int fail_superblock(struct scene *scene, struct err *err)
{
	static const struct sim_fault not_on_disk = {
		.call = SIM_CALL_SYNC, .path_part = "turdb.meta", .nth = 2,
		.code = ERR_IO, .effect = SIM_FAULT_DROP,
	};
	bool done;
	int rc = store_checkpoint(scene->actor.store, &done, err);

	if (!rc)
		rc = commit_some(scene, COMMITS_UNDECIDED, err);
	if (rc)
		return rc;
	sim_fault_add(scene->disk, &not_on_disk);
	rc = store_checkpoint(scene->actor.store, &done, err);
	sim_fault_clear(scene->disk);
	return rc == ERR_IO ? actor_end(&scene->actor, err) : ERR_ABORT;
}

/* The next opening reads it, its sync has nothing to do, and the segments before it are
 * used again: unless it is on disk by then, the power takes the way back along with
 * it. (vfs/recovery Y4) */
static void a_superblock_whose_sync_failed_is_written_again(struct test *t)
{
	struct scene scene = { .disk = sim_disk_create(NULL) };
	uint64_t from, to;

	model_at(&scene.model, 0);
	EXPECT_OK(t, actor_start(&scene.actor, scene.disk, 0, &t->err));
	EXPECT_OK(t, commit_some(&scene, COMMITS_BEFORE, &t->err));
	EXPECT_OK(t, fail_superblock(&scene, &t->err));
	from = sim_trace_length(scene.disk);
	EXPECT_OK(t, actor_start(&scene.actor, scene.disk, 0, &t->err));
	scene.started++;
	EXPECT_OK(t, actor_commit(&scene.actor, scene.disk, &scene.model,
	                          &t->err));
	to = sim_trace_length(scene.disk);
	actor_die(&scene.actor);
	EXPECT(t, to > from + 8);
	for (uint64_t at = from; at <= to; at++)
		EXPECT_OK(t, judge_crashed(&scene, at, &t->err));
	sim_disk_close(scene.disk);
}

/* --- all of them ---------------------------------------------------------------------- */

enum { COMMITS_STARVED = 30 };

/* Fails each allocation of one commit once, or each call of a kind, one after the
 * other; it is made in the end. */
static int starve(struct scene *scene, uint64_t *failures, struct err *err)
{
	struct actor *actor = &scene->actor;
	uint64_t k = scene->model.k + 1;
	int rc = ERR_NONE;

	for (uint64_t n = 1; scene->model.k < k; n++) {
		struct sim_fault fault = scene->kind->fault;

		fault.nth = n;
		if (scene->kind->heap)
			atomic_store(&actor->heap.fail_in, (int64_t)n);
		else
			sim_fault_add(scene->disk, &fault);
		rc = actor_commit(actor, scene->disk, &scene->model, err);
		atomic_store(&actor->heap.fail_in, 0);
		sim_fault_clear(scene->disk);
		*failures += rc != 0;
		if (rc == ERR_OUTCOME) /* it is there */
			model_at(&scene->model, k);
		else if (rc && rc != fault.code && scene->model.k < k)
			return rc;
	}
	return ERR_NONE;
}

/* The same for moving pages, until nothing was left to fail. */
static int starve_vacuum(struct scene *scene, uint64_t *failures, struct err *err)
{
	struct actor *actor = &scene->actor;
	bool hit = true;

	for (uint64_t n = 1; hit; n++) {
		uint64_t hits = sim_fault_hits(scene->disk);
		struct sim_fault fault = scene->kind->fault;
		uint32_t moved;
		int rc;

		fault.nth = n;
		if (scene->kind->heap)
			atomic_store(&actor->heap.fail_in, (int64_t)n);
		else
			sim_fault_add(scene->disk, &fault);
		rc = store_vacuum(actor->store, 12, 0, &moved, err);
		hit = scene->kind->heap
		              ? atomic_load(&actor->heap.fail_in) <= 0
		              : sim_fault_hits(scene->disk) > hits;
		atomic_store(&actor->heap.fail_in, 0);
		sim_fault_clear(scene->disk);
		*failures += rc != 0;
		if (rc && rc != fault.code && rc != ERR_POISONED)
			return rc;
	}
	return ERR_NONE;
}

/* What failed has taken nothing along. */
static int starve_some(struct scene *scene, uint64_t *failures, struct err *err)
{
	struct store_view *view;
	int rc = actor_start(&scene->actor, scene->disk, 0, err);

	if (!rc && !scene->kind->heap) /* which begins the log: there a failure ends all */
		rc = actor_commit(&scene->actor, scene->disk, &scene->model,
		                  err);
	if (!rc)
		rc = starve(scene, failures, err);
	if (!rc)
		rc = starve_vacuum(scene, failures, err);
	if (rc)
		return rc;
	view = scene->actor.view;
	rc = model_check_free(view, err);
	if (!rc || rc == ERR_POISONED) /* who waited for a sync in vain */
		rc = store_view_begin(view, err);
	if (!rc)
		rc = model_check(view, &scene->model, err);
	if (!rc)
		rc = store_check(view, 1, NULL, NULL, err);
	store_view_end(view);
	return rc ? rc : actor_end(&scene->actor, err);
}

/* (vfs/commit C1) */
static void everything_that_a_commit_needs_fails_once(struct test *t)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct kind kind = kinds[i];
		struct scene scene = { .kind = &kind };
		uint64_t failures = 0;
		int rc = ERR_NONE;

		if (kind.fault.sticky || is_sync(&kind))
			continue;
		if (kind.heap)
			kind.fault.code = ERR_NOMEM;
		scene.disk = sim_disk_create(NULL);
		sim_trace_stop(scene.disk);
		model_at(&scene.model, 0);
		for (int n = 0; n < COMMITS_STARVED && !rc; n++)
			rc = starve_some(&scene, &failures, &t->err);
		printf("note %s: %llu times\n", kind.name,
		       (unsigned long long)failures);
		if (rc)
			test_fail(t, __FILE__, __LINE__, "%s: %s", kind.name,
			          t->err.text);
		if (rc)
			return;
		sim_disk_close(scene.disk);
	}
}

static const struct test_case cases[] = {
	CASE(everything_that_a_commit_needs_fails_once),
	CASE(a_superblock_whose_sync_failed_is_written_again),
	CASE(whatever_fails_nothing_is_lost),
};
TEST_MAIN(cases)
