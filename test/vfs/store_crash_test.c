/*
 * store_crash_test.c - whatever moment a crash comes, a prefix of the commits is
 * there, whole, and holds everything that was acknowledged.
 *
 * The workload crosses checkpoints (quiet ones, and ones during which another
 * process commits), spills and PLACED commits, segment switches, files made and
 * dropped, savepoints, rollbacks, readers in another process, the death of a
 * process in the middle of a commit and of all in the middle of a checkpoint. That
 * it really does is counted. Then every bug of base/plant.h is planted, and has to
 * be found.
 */
#include "test/harness.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pager.h"
#include "base/plant.h"
#include "test/support/explore.h"
#include "test/support/store_model.h"
#include "vfs/store_private.h"

enum { COMMITS = 84 };

/* What the workload has crossed. */
enum crossing { QUIET_CHECKPOINTS, BUSY_CHECKPOINTS, STEPS, SPILLS, PLACED,
                SEGMENTS, DROPS, PUNCHES, MOVES, READERS, DEATHS, LOST_SYNCS,
                FOUND, CROSSINGS };

static const char *const crossing_names[CROSSINGS] = {
	"checkpoints", "checkpoints with commits in them",
	"steps of a checkpoint", "spilled pages",
	"PLACED commits", "log segments", "files dropped", "runs of places given back", "pages moved",
	"old snapshots read",
	"deaths of processes", "syncs that dropped pages",
	"pages that a recovery found in their places",
};

struct workload {
	uint32_t plants;
	struct sim_disk *disk;
	struct actor a, b;
	struct model model, seen;
	enum { CALM, COMMITTING, CHECKPOINTING, DYING } phase;
	bool superblock_written; /* in the checkpoint that all die in    */
	unsigned commits_left; /* to be made by a in b's checkpoint      */
	int inner;            /* how they went */
	struct err inner_err;
	uint64_t crossed[CROSSINGS];
};

/* --- what happens in the middle of calls -------------------------------------------- */

static void commit_inside(struct workload *w)
{
	if (!w->commits_left || w->inner)
		return;
	w->commits_left--;
	w->phase = CALM;
	w->inner = actor_commit(&w->a, w->disk, &w->model, &w->inner_err);
	w->crossed[BUSY_CHECKPOINTS]++;
	w->phase = CHECKPOINTING;
}

static int hook(void *context, struct os *os, enum sim_call call,
                const char *name, uint64_t index, struct err *err)
{
	struct workload *w = context;
	bool meta = strstr(name, "turdb.meta") != NULL;
	bool root = strstr(name, "/root/") != NULL;

	(void)index, (void)err;
	if (call == SIM_CALL_CREATE && strstr(name, "/wal/"))
		w->crossed[SEGMENTS]++;
	if (call == SIM_CALL_UNLINK && root)
		w->crossed[DROPS]++;
	if (call == SIM_CALL_PUNCH)
		w->crossed[PUNCHES]++;
	if (call == SIM_CALL_WRITE && w->phase == DYING && meta)
		w->superblock_written = true;
	if (call != SIM_CALL_SYNC)
		return ERR_NONE;
	if (w->phase == COMMITTING && root)
		w->crossed[PLACED]++;
	if (w->phase == CHECKPOINTING && os == w->b.os && (meta || root))
		commit_inside(w);
	if (w->phase == DYING && meta && w->superblock_written) {
		sim_process_kill(w->a.os);
		sim_process_kill(w->b.os);
	}
	return ERR_NONE;
}

/* --- steps --------------------------------------------------------------------------- */

static int commit(struct workload *w, struct actor *writer, struct err *err)
{
	int rc;

	w->phase = COMMITTING;
	rc = actor_commit(writer, w->disk, &w->model, err);
	w->phase = CALM;
	return rc;
}

/* After a death: whether the commit under way happened. */
static int resume(struct workload *w, struct actor *survivor, struct err *err)
{
	uint64_t k = 0;
	int rc = actor_take_over(survivor, &k, err);

	if (!rc)
		rc = store_view_begin(survivor->view, err);
	if (!rc && k != w->model.k && k != w->model.k + 1)
		rc = err_set(err, ERR_CORRUPT, "go on", "app",
		             "commit %llu is there after a death, the last was %llu",
		             (unsigned long long)k,
		             (unsigned long long)w->model.k);
	if (!rc) {
		model_at(&w->model, k);
		rc = model_check(survivor->view, &w->model, err);
	}
	store_view_end(survivor->view);
	return rc;
}

/* The writer dies at a call of its commit; the other process goes on. */
static int die_committing(struct workload *w, uint64_t calls, struct err *err)
{
	struct err ignored;
	int rc;

	sim_process_kill_after(w->a.os, calls, calls % 3 == 1);
	actor_commit(&w->a, w->disk, &w->model, &ignored);
	actor_die(&w->a);
	w->crossed[DEATHS]++;
	store_view_end(w->b.view);
	rc = resume(w, &w->b, err);
	return rc ? rc : actor_start(&w->a, w->disk, w->plants, err);
}

static int give_back(struct workload *w, struct err *err)
{
	uint64_t bytes;
	uint32_t moved;
	int rc = store_release(w->a.store, &bytes, err);

	if (!rc && !store_view_writing(w->b.view))
		rc = store_vacuum(w->a.store, 12, 0, &moved, err);
	if (!rc)
		w->crossed[MOVES] += moved;
	return rc;
}

static int read_old(struct workload *w, struct err *err)
{
	if (!store_view_reading(w->b.view))
		return ERR_NONE;
	w->crossed[READERS]++;
	return model_check(w->b.view, &w->seen, err);
}

static int count_recovered(void *context, const char *name, int64_t value,
                           const char *what)
{
	struct workload *w = context;

	(void)what;
	if (strcmp(name, "recovered_found") == 0)
		w->crossed[FOUND] += (uint64_t)value;
	return 0;
}

static int start_both(struct workload *w, struct err *err)
{
	int rc = actor_start(&w->a, w->disk, w->plants, err);

	if (!rc)
		rc = store_status(w->a.store, count_recovered, w, err);
	return rc ? rc : actor_start(&w->b, w->disk, w->plants, err);
}

static int end_both(struct workload *w, struct err *err)
{
	int rc = actor_end(&w->b, err);

	return rc ? rc : actor_end(&w->a, err);
}

static int checkpoint(struct workload *w, unsigned commits, struct err *err)
{
	bool done;
	int rc;

	store_view_end(w->b.view);
	w->commits_left = commits;
	w->phase = commits ? CHECKPOINTING : CALM;
	rc = store_checkpoint(w->b.store, &done, err);
	w->phase = CALM;
	w->crossed[QUIET_CHECKPOINTS] += commits == 0 && done;
	if (!rc && w->inner) {
		rc = w->inner;
		*err = w->inner_err;
	}
	return rc;
}

/* A checkpoint in steps, and commits of the same process between them. */
static int checkpoint_in_steps(struct workload *w, bool dies, struct err *err)
{
	bool begun, over = false;
	int rc;

	store_view_end(w->b.view);
	rc = store_checkpoint_begin(w->a.store, &begun, err);
	for (int i = 0; begun && !rc && !over; i++) {
		rc = store_checkpoint_step(w->a.store, &over, err);
		if (!rc && !over)
			rc = commit(w, &w->a, err);
		w->crossed[STEPS] += !rc;
		if (!rc && dies && i == 2)
			break;
	}
	if (rc || over || !begun)
		return rc;
	actor_die(&w->a);
	w->crossed[DEATHS]++;
	rc = resume(w, &w->b, err);
	return rc ? rc : actor_start(&w->a, w->disk, w->plants, err);
}

/* All die when the superblock is written but not on disk. */
static int die_checkpointing(struct workload *w, struct err *err)
{
	struct err ignored;
	bool done;
	int rc;

	store_view_end(w->b.view);
	w->phase = DYING;
	w->superblock_written = false;
	store_checkpoint(w->b.store, &done, &ignored);
	w->phase = CALM;
	if (!sim_process_is_dead(w->a.os))
		return err_set(err, ERR_ABORT, "die", "app",
		               "the checkpoint ended before");
	actor_die(&w->b);
	actor_die(&w->a);
	w->crossed[DEATHS] += 2;
	rc = start_both(w, err);
	return rc ? rc : resume(w, &w->a, err);
}

static int count_spills(void *context, const char *name, int64_t value,
                        const char *what)
{
	(void)what;
	if (strcmp(name, "spilled_pages") == 0)
		*(uint64_t *)context += (uint64_t)value;
	return 0;
}

/* The sync of a checkpoint fails, and the kernel calls the pages clean that it could not
 * write: they are seen in their places until the power goes. All close and come again. */
static int lose_sync(struct workload *w, struct err *err)
{
	struct sim_fault fault = { .call = SIM_CALL_SYNC, .path_part = "/root/",
	                           .nth = 1, .code = ERR_IO,
	                           .effect = SIM_FAULT_DROP };
	struct err ignored;
	bool done;
	int rc;

	store_view_end(w->b.view);
	sim_fault_add(w->disk, &fault);
	rc = store_checkpoint(w->b.store, &done, err);
	sim_fault_clear(w->disk);
	if (rc != ERR_IO)
		return rc;
	rc = store_status(w->a.store, count_spills, &w->crossed[SPILLS], err);
	if (rc)
		return rc;
	actor_end(&w->b, &ignored);
	actor_end(&w->a, &ignored);
	w->crossed[LOST_SYNCS]++;
	rc = start_both(w, err);
	return rc ? rc : resume(w, &w->a, err);
}

static int abandon(struct workload *w, struct actor *writer, struct err *err)
{
	int rc = actor_abandon(writer, &w->model, err);

	store_view_end(writer->view);
	return rc;
}

static int restart_both(struct workload *w, struct err *err)
{
	int rc = store_status(w->a.store, count_spills, &w->crossed[SPILLS],
	                      err);

	if (!rc)
		rc = end_both(w, err);
	return rc ? rc : start_both(w, err);
}

static int step(struct workload *w, struct err *err)
{
	uint64_t k = w->model.k + 1;
	struct actor *writer = k % 11 == 10 ? &w->b : &w->a;
	int rc = ERR_NONE;

	if (writer == &w->b || k % 7 == 0)
		store_view_end(w->b.view);
	if (!store_view_reading(w->b.view) && writer != &w->b && k % 7 == 1) {
		rc = store_view_begin(w->b.view, err);
		w->seen = w->model;
	}
	if (!rc && k % 8 == 3)
		rc = abandon(w, writer, err);
	if (!rc && k % 6 == 1)
		rc = die_committing(w, k / 6 * 2 % 23, err);
	if (!rc)
		rc = commit(w, writer, err);
	if (!rc)
		rc = read_old(w, err);
	if (!rc && k % 5 == 2)
		rc = give_back(w, err);
	if (!rc && k % 20 == 9)
		rc = checkpoint(w, 0, err);
	if (!rc && k % 20 == 16)
		rc = checkpoint(w, 4, err);
	if (!rc && k % 30 == 15)
		rc = die_checkpointing(w, err);
	if (!rc && k % 20 == 2)
		rc = checkpoint_in_steps(w, k % 40 == 2, err);
	if (!rc && k % 14 == 12)
		rc = lose_sync(w, err);
	if (!rc && k % 40 == 37) /* everybody leaves and comes again */
		rc = restart_both(w, err);
	return rc;
}

static int work(void *context, struct sim_disk *disk, struct err *err)
{
	struct workload *w = context;
	int rc;

	w->disk = disk;
	model_at(&w->model, 0);
	sim_hook_set(disk, hook, w);
	rc = start_both(w, err);
	while (!rc && w->model.k < COMMITS)
		rc = step(w, err);
	if (!rc)
		rc = store_status(w->a.store, count_spills,
		                  &w->crossed[SPILLS], err);
	if (!rc)
		rc = end_both(w, err);
	sim_hook_set(disk, NULL, NULL);
	return rc;
}

/* --- judging -------------------------------------------------------------------------- */

static int judge(struct actor *actor, const struct explore_state *state,
                 struct model *model, struct err *err)
{
	uint64_t k, floor, ceiling;
	int rc = store_view_begin(actor->view, err);

	if (!rc)
		rc = model_found(actor->view, &k, err);
	if (rc)
		return rc;
	floor = explore_mark_max(state, explore_is_kill(state) ? MARK_RETURNED
	                                                       : MARK_DURABLE, 0);
	ceiling = explore_mark_max(state, MARK_STARTED, 0);
	if (k < floor || k > ceiling)
		return err_set(err, ERR_CORRUPT, "recover", "app",
		               "commit %llu is there; %llu was acknowledged, %llu had begun",
		               (unsigned long long)k, (unsigned long long)floor,
		               (unsigned long long)ceiling);
	model_at(model, k);
	rc = model_check(actor->view, model, err);
	return rc ? rc : store_check(actor->view, 1, NULL, NULL, err);
}

static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	const struct workload *w = context;
	struct actor actor;
	struct model model;
	int rc = actor_start(&actor, disk, w->plants, err);

	if (rc)
		return rc;
	rc = judge(&actor, state, &model, err);
	store_view_end(actor.view);
	for (int i = 0; !rc && i < 2; i++)
		rc = actor_commit(&actor, disk, &model, err);
	if (!rc)
		rc = store_view_begin(actor.view, err);
	if (!rc)
		rc = store_check(actor.view, 1, NULL, NULL, err);
	if (rc)
		return rc;
	return actor_end(&actor, err);
}

static int recover(void *context, struct sim_disk *disk, struct err *err)
{
	const struct workload *w = context;
	struct actor actor;
	int rc = actor_start(&actor, disk, w->plants, err);

	return rc ? rc : actor_end(&actor, err);
}

static void explore(struct test *t, uint32_t plants)
{
	struct workload workload = { .plants = plants };
	struct explore_plan plan = {
		.name = "store", .work = work, .check = check,
		.recover = recover, .context = &workload, .seed = t->seed,
		.states = test_scaled(2500, 400), .recrash_every = 5,
	};

	explore_expect(t, &plan);
	for (int i = 0; i < CROSSINGS; i++) {
		printf("note crossed: %llu %s\n",
		       (unsigned long long)workload.crossed[i],
		       crossing_names[i]);
		EXPECT(t, workload.crossed[i] > 0);
	}
}

/* (vfs/recovery Y2, vfs/replay_present F2, rule 2, rule 3) */
static void every_crash_leaves_a_prefix_of_the_commits(struct test *t)
{
	explore(t, PLANT_REPLAY_PARTS);
}

static void every_crash_leaves_a_prefix_with_memory_for_few_changes(struct test *t)
{
	explore(t, PLANT_REPLAY_PARTS | PLANT_REPLAY_SMALL);
}

/* --- long logs ---------------------------------------------------------------------------- */

enum { LONG_PAGES = 7 };

static int long_commit(struct actor *a, struct pager *pager, uint32_t page_no,
                       uint64_t seed, struct err *err)
{
	uint8_t *page;
	int rc = store_view_begin(a->view, err);

	if (!rc)
		rc = store_view_write(a->view, 1000, err);
	if (!rc)
		rc = pager_edit(pager, page_no, &page, err);
	if (!rc) {
		memset(page + seed % 16000, (int)(seed >> 20 & 0xff), 60);
		rc = store_view_commit(a->view, STORE_DURABLE_NOW, err);
	}
	store_view_end(a->view);
	return rc;
}

enum { LONG_FILE_MAX = 2 << 20 };

static const char *long_file(struct sim_disk *disk, uint64_t *size)
{
	const char *path;

	for (size_t i = 0; (path = sim_file_at(disk, i, size)); i++)
		if (strstr(path, "-long.tbd") && *size <= LONG_FILE_MAX)
			break;
	return path;
}

static void images_keep(struct test *t, struct sim_disk *disk, uint8_t *bytes)
{
	uint64_t size = 0;
	const char *path = long_file(disk, &size);

	memset(bytes, 0, LONG_FILE_MAX);
	EXPECT(t, path && sim_file_peek(disk, path, 0, bytes, size));
}

/* What a power failure leaves that loses all images since. */
static void images_lose(struct test *t, struct sim_disk *disk,
                        const uint8_t *bytes)
{
	uint64_t size = 0;
	const char *path = long_file(disk, &size);

	EXPECT(t, path && sim_file_poke(disk, path, 0, bytes, size));
}

static void long_log(struct test *t, uint32_t plants, uint32_t pages,
                     int commits)
{
	static uint8_t shadow[LONG_PAGES + 1][16384], before[LONG_FILE_MAX];
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor a;
	struct pager *pager;
	uint32_t file_id, page_no;
	uint64_t random = t->seed;
	const uint8_t *seen;
	uint8_t *page;
	bool done;

	sim_trace_stop(disk);
	memset(shadow, 0, sizeof shadow);
	EXPECT_OK(t, actor_start(&a, disk, plants, &t->err));
	EXPECT_OK(t, store_view_begin(a.view, &t->err));
	EXPECT_OK(t, store_view_write(a.view, 1000, &t->err));
	EXPECT_OK(t, store_file_create(a.view, STORE_FILE_TABLE, "long", 16384,
	                               &file_id, &t->err));
	EXPECT_OK(t, store_pager(a.view, file_id, &pager, &t->err));
	for (int i = 0; i < LONG_PAGES; i++)
		EXPECT_OK(t, pager_allocate(pager, 1, &page_no, &page, &t->err));
	EXPECT_OK(t, store_view_commit(a.view, STORE_DURABLE_NOW, &t->err));
	store_view_end(a.view);
	EXPECT_OK(t, store_checkpoint(a.store, &done, &t->err));
	images_keep(t, disk, before);
	for (int i = 0; i < commits && !t->failed; i++) {
		uint64_t seed = test_random(&random);

		page_no = 1 + (uint32_t)(seed >> 40) % pages;
		memset(shadow[page_no] + seed % 16000,
		       (int)(seed >> 20 & 0xff), 60);
		EXPECT_OK(t, long_commit(&a, pager, page_no, seed, &t->err));
	}
	actor_die(&a);
	images_lose(t, disk, before);
	EXPECT_OK(t, actor_start(&a, disk, plants, &t->err));
	EXPECT_EQ(t, atomic_load(&a.store->recovered_made), pages);
	EXPECT_OK(t, store_view_begin(a.view, &t->err));
	EXPECT_OK(t, store_pager(a.view, file_id, &pager, &t->err));
	for (page_no = 1; page_no <= LONG_PAGES && !t->failed; page_no++) {
		EXPECT_OK(t, pager_read(pager, page_no, &seen, &t->err));
		EXPECT(t, !t->failed && memcmp(seen, shadow[page_no], 16100) == 0);
	}
	EXPECT_OK(t, store_check(a.view, 1, NULL, NULL, &t->err));
	store_view_end(a.view);
	EXPECT_OK(t, actor_end(&a, &t->err));
	sim_disk_close(disk);
}

/* Changes of a page are found again when all records were followed: in lists, in
 * several rounds where these did not fit, in images where a page changes all the
 * time. */
static void a_long_log_gives_every_page_its_last_version(struct test *t)
{
	long_log(t, PLANT_REPLAY_SMALL, LONG_PAGES, 600);
	if (!t->failed)
		long_log(t, PLANT_REPLAY_PARTS, LONG_PAGES, 600);
}

static void a_page_that_changes_all_the_time_gets_its_last_version(struct test *t)
{
	long_log(t, 0, 3, 1200);
	if (!t->failed)
		long_log(t, PLANT_REPLAY_SMALL | PLANT_REPLAY_PARTS, 1, 2000);
}

/* --- planted bugs --------------------------------------------------------------------- */

static const struct planted {
	uint32_t bug;
	const char *name;
} bugs[] = {
	{ PLANT_ACK_WITHOUT_SYNC, "a durable commit does not wait for its sync" },
	{ PLANT_CHECKSUM_UNCHECKED, "the checksum of a log record is not checked" },
	{ PLANT_LOG_DROPPED_EARLY, "the log is dropped before data files are synced" },
	{ PLANT_REUSE_UNDER_READER, "a place that a reader needs is reused" },
	{ PLANT_REUSE_UNDER_CANDIDATE, "a place that the candidate needs is reused" },
	{ PLANT_REUSE_PLACED, "a place that a PLACED record names is reused" },
	{ PLANT_PLACED_OVER_LOGGED, "PLACED is put where an older record wrote" },
	{ PLANT_SAVEPOINT_KEPT, "ROLLBACK TO restores nothing" },
	{ PLANT_PUBLISH_BEFORE_RECORD, "a commit is visible before its record" },
	{ PLANT_SEGMENT_DIR_UNSYNCED, "a segment is used before its name is on disk" },
	{ PLANT_SALT_REPEATED, "an old segment's bytes chain on" },
	{ PLANT_SUPERBLOCK_UNSYNCED, "a superblock is believed that is not on disk" },
	{ PLANT_PLACED_UNSYNCED, "a PLACED page is not on disk before its record" },
	{ PLANT_FOUND_UNCHECKED, "a replay takes whatever lies in a page's place" },
	{ PLANT_FOUND_UNWRITTEN, "a replay leaves an image that is there as it is" },
};

struct hunt {
	const struct planted *planted;
	uint64_t seed;
	bool found;
	uint64_t states;
	char finding[EXPLORE_FINDING_SIZE];
};

/* Up to the first finding; the workload's own failure is one. */
static void search(struct hunt *hunt)
{
	struct workload workload = { .plants = hunt->planted->bug |
	                                       PLANT_REPLAY_SMALL |
	                                       PLANT_REPLAY_PARTS };
	struct explore_plan plan = {
		.name = "planted", .work = work, .check = check,
		.recover = recover, .context = &workload, .seed = hunt->seed,
		.states = 6000, .rounds = 10, .recrash_every = 5,
		.enough = 1,
	};
	struct explore_result result;
	struct err err;

	if (!explore_crashes(&plan, &result, &err)) {
		hunt->found = true;
		snprintf(hunt->finding, sizeof hunt->finding,
		         "in the workload: %s", err.text);
		return;
	}
	hunt->states = result.states;
	hunt->found = result.findings > 0;
	memcpy(hunt->finding, result.finding[0], sizeof hunt->finding);
}

/* In a process of its own, which the bug may bring down. */
static void search_apart(struct hunt *hunt)
{
	struct hunt *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
	                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t child;

	if (shared == MAP_FAILED)
		abort();
	*shared = *hunt;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		search(shared);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		abort();
	*hunt = *shared;
	if (status && !hunt->found) {
		hunt->found = true;
		snprintf(hunt->finding, sizeof hunt->finding,
		         "the workload ended with status %d", status);
	}
	munmap(shared, sizeof *shared);
}

/* (vfs/recovery Y1, vfs/recovery Y3, vfs/commit C2, rule 6) */
static void each_planted_bug_is_found(struct test *t)
{
	const char *only = getenv("PLANT");

	for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
		struct hunt hunt = { .planted = &bugs[i], .seed = t->seed };

		if (only && atoi(only) != (int)i)
			continue;
		search_apart(&hunt);
		if (!hunt.found)
			test_fail(t, __FILE__, __LINE__,
			          "%s: %llu states, and nobody noticed",
			          bugs[i].name, (unsigned long long)hunt.states);
		else
			printf("note planted: %s: found after %llu states: %s\n",
			       bugs[i].name, (unsigned long long)hunt.states,
			       hunt.finding);
	}
}

static const struct test_case cases[] = {
	CASE(a_long_log_gives_every_page_its_last_version),
	CASE(a_page_that_changes_all_the_time_gets_its_last_version),
	CASE(every_crash_leaves_a_prefix_of_the_commits),
	CASE(every_crash_leaves_a_prefix_with_memory_for_few_changes),
	CASE(each_planted_bug_is_found),
};
TEST_MAIN(cases)
