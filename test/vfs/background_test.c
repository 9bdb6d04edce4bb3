/*
 * background_test.c - what commits leave to the thread of their process.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <dirent.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/sim/sim.h"
#include "vfs/store.h"

enum { BLOCK = 4000, MB = 1 << 20 };

struct bed {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
	struct pager *pager;
	uint32_t file_id;
};

static void bed_open(struct test *t, struct bed *bed, struct os *os,
                     const char *path, const struct store_options *options)
{
	uint32_t page_no;
	uint8_t *page;

	memset(bed, 0, sizeof *bed);
	heap_init(&bed->heap);
	bed->os = os;
	if (!os)
		EXPECT_OK(t, os_posix_open(&bed->heap, &bed->os, &t->err));
	EXPECT_OK(t, store_environment_open(bed->os, &bed->heap,
	                                    &bed->environment, &t->err));
	EXPECT_OK(t, store_open(bed->environment, path, options, &bed->store,
	                        &t->err));
	EXPECT_OK(t, store_view_open(bed->store, &bed->view, &t->err));
	EXPECT_OK(t, store_view_write(bed->view, 0, &t->err));
	EXPECT_OK(t, store_file_create(bed->view, STORE_FILE_TABLE, "t",
	                               STORE_PAGE_SIZE, &bed->file_id, &t->err));
	EXPECT_OK(t, store_pager(bed->view, bed->file_id, &bed->pager, &t->err));
	EXPECT_OK(t, pager_allocate(bed->pager, PAGE_LEAF, &page_no, &page,
	                            &t->err));
	EXPECT_OK(t, store_view_commit(bed->view, STORE_DURABLE_NEVER, &t->err));
	store_view_end(bed->view);
}

static void bed_close(struct test *t, struct bed *bed, bool own_os)
{
	store_view_close(bed->view);
	EXPECT_OK(t, store_close(bed->store, &t->err));
	store_environment_close(bed->environment);
	if (own_os)
		os_posix_close(bed->os);
	EXPECT_EQ(t, bed->heap.used, 0);
}

/* A commit with about BLOCK bytes of log. */
static int commit(struct bed *bed, uint64_t *seed, struct err *err)
{
	uint8_t *page;
	int rc = store_view_write(bed->view, 0, err);

	if (!rc)
		rc = store_pager(bed->view, bed->file_id, &bed->pager, err);
	if (!rc)
		rc = pager_edit(bed->pager, 1, &page, err);
	for (int i = 0; !rc && i < BLOCK; i += 8)
		store_le64(page + 64 + i, test_random(seed));
	if (!rc)
		rc = store_view_commit(bed->view, STORE_DURABLE_NEVER, err);
	store_view_end(bed->view);
	return rc;
}

struct wanted {
	const char *name;
	int64_t value;
};

static int match(void *context, const char *name, int64_t value,
                 const char *what)
{
	struct wanted *wanted = context;

	(void)what;
	if (strcmp(name, wanted->name) == 0)
		wanted->value = value;
	return 0;
}

static int64_t status(struct bed *bed, const char *name)
{
	struct wanted wanted = { .name = name, .value = -1 };
	struct err err;

	store_status(bed->store, match, &wanted, &err);
	return wanted.value;
}

static int thread_count(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int count = -2; /* . and .. */

	while (readdir(tasks))
		count++;
	closedir(tasks);
	return count;
}

static void a_thread_comes_with_the_first_checkpoint_and_goes_at_close(
	struct test *t)
{
	struct store_options options = { .create = true, .checkpoint_mb = 1 };
	uint64_t seed = t->seed;
	char directory[256], path[300];
	int before = thread_count(), meanwhile;
	struct bed bed;

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	bed_open(t, &bed, NULL, path, &options);
	EXPECT_EQ(t, thread_count(), before);
	for (int i = 0; i < 4 * MB / BLOCK; i++)
		EXPECT_OK(t, commit(&bed, &seed, &t->err));
	meanwhile = thread_count();
	EXPECT(t, meanwhile > before); /* a sanitizer may have one of its own */
	for (int i = 0; i < 500 && !status(&bed, "checkpoints"); i++)
		usleep(10000);
	EXPECT(t, status(&bed, "checkpoints") > 0);
	bed_close(t, &bed, true);
	EXPECT_EQ(t, thread_count(), meanwhile - 1);
}

/* The commits of this loop are far faster than the disk. */
static void the_log_stays_bounded_when_commits_outrun_checkpoints(struct test *t)
{
	struct store_options options = { .create = true, .checkpoint_mb = 1,
	                                 .log_segment_size = 262144 };
	uint64_t commits = test_scaled(30000, 3000), seed = t->seed;
	char directory[256], path[300];
	int64_t most = 0;
	struct bed bed;

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	bed_open(t, &bed, NULL, path, &options);
	for (uint64_t i = 0; i < commits; i++) {
		int64_t bytes;

		EXPECT_OK(t, commit(&bed, &seed, &t->err));
		bytes = status(&bed, "log_bytes");
		if (bytes > most)
			most = bytes;
	}
	printf("note at most %lld KB of log for %llu KB, %lld checkpoints\n",
	       (long long)most >> 10,
	       (unsigned long long)(commits * BLOCK) >> 10,
	       (long long)status(&bed, "checkpoints"));
	EXPECT(t, most < 4 * MB);
	EXPECT(t, status(&bed, "checkpoints") > 2);
	bed_close(t, &bed, true);
}

/* It begins when a commit comes that late, not before. */
static void time_starts_a_checkpoint_too(struct test *t)
{
	struct store_options options = { .create = true, .checkpoint_s = 5 };
	struct sim_disk *disk = sim_disk_create(NULL);
	uint64_t seed = t->seed;
	struct os *os = sim_process_open(disk);
	struct bed bed;

	bed_open(t, &bed, os, "/app", &options);
	for (int i = 0; i < 4; i++) {
		sim_clock_advance(disk, 900000);
		EXPECT_OK(t, commit(&bed, &seed, &t->err));
	}
	EXPECT_EQ(t, status(&bed, "checkpoints"), 0);
	sim_clock_advance(disk, 2000000);
	EXPECT_OK(t, commit(&bed, &seed, &t->err));
	EXPECT_EQ(t, status(&bed, "checkpoints"), 1);
	sim_clock_advance(disk, 1000000);
	EXPECT_OK(t, commit(&bed, &seed, &t->err));
	EXPECT_EQ(t, status(&bed, "checkpoints"), 1);
	bed_close(t, &bed, false);
	sim_process_close(os);
	sim_disk_close(disk);
}

/* A file that cannot be read says nothing about what was written; a sync does.
 * (vfs/checkpoint P3) */
static void only_a_failed_write_or_sync_poisons(struct test *t)
{
	static const struct {
		enum sim_call call;
		const char *path_part;
		bool poisons;
	} cases[] = {
		{ SIM_CALL_READ, "turdb.meta", false },
		{ SIM_CALL_SYNC, "/root/", true },
		{ SIM_CALL_SYNC, "turdb.meta", true },
		{ SIM_CALL_WRITE, "turdb.meta", true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct store_options options = { .create = true };
		struct sim_fault fault = { .call = cases[i].call,
		                           .path_part = cases[i].path_part,
		                           .nth = 1, .code = ERR_IO };
		struct sim_disk *disk = sim_disk_create(NULL);
		struct os *os = sim_process_open(disk);
		uint64_t seed = t->seed;
		struct bed bed;
		bool done;

		bed_open(t, &bed, os, "/app", &options);
		EXPECT_OK(t, commit(&bed, &seed, &t->err));
		sim_fault_add(disk, &fault);
		EXPECT_EQ(t, store_checkpoint(bed.store, &done, &t->err), ERR_IO);
		sim_fault_clear(disk);
		EXPECT_EQ(t, status(&bed, "poisoned"), cases[i].poisons);
		if (cases[i].poisons) {
			EXPECT_ERR(t, commit(&bed, &seed, &t->err), ERR_POISONED,
			           "sync failed");
		} else {
			EXPECT_OK(t, commit(&bed, &seed, &t->err));
			EXPECT_OK(t, store_checkpoint(bed.store, &done, &t->err));
			EXPECT(t, done);
			EXPECT_OK(t, store_checkpoint(bed.store, &done, &t->err));
			EXPECT_EQ(t, status(&bed, "durable_txid"),
			          status(&bed, "txid"));
		}
		bed_close(t, &bed, false);
		sim_process_close(os);
		sim_disk_close(disk);
	}
}

static const struct test_case cases[] = {
	CASE(a_thread_comes_with_the_first_checkpoint_and_goes_at_close),
	CASE(the_log_stays_bounded_when_commits_outrun_checkpoints),
	CASE(time_starts_a_checkpoint_too),
	CASE(only_a_failed_write_or_sync_poisons),
};
TEST_MAIN(cases)
