/*
 * store_kill_test.c - processes that write and read one directory are killed at any
 * moment; what was acknowledged stays, what was half done does not show.
 *
 * Each worker owns one counter, kept on a page of each of two files; a transaction
 * adds one on both. Workers report the last value whose commit returned through
 * memory they share with the parent.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/support/real_store.h"
#include "vfs/store.h"

enum { WORKERS = 4, COUNTERS = 64, TABLES = 2 };

struct board {
	_Atomic uint64_t acknowledged[COUNTERS];
	_Atomic uint64_t commits, reads;
	_Atomic int failed;
	char why[600];
};

static int open_store(struct opened *o, const char *path, struct err *err)
{
	struct store_options options = { .create = true, .checkpoint_mb = 1,
	                                 .log_segment_size = 262144 };

	return real_store_open(o, path, &options, err);
}

static int counters_read(struct store_view *view, uint64_t out[COUNTERS],
                         struct err *err)
{
	uint64_t other[COUNTERS];
	struct pager *pager;
	const uint8_t *page;
	int rc;

	for (uint32_t table = 0; table < TABLES; table++) {
		rc = store_pager(view, 3 + table, &pager, err);
		if (!rc)
			rc = pager_read(pager, 1, &page, err);
		if (rc)
			return rc;
		memcpy(table ? other : out, page, sizeof other);
	}
	if (memcmp(out, other, sizeof other) != 0)
		return err_set(err, ERR_CORRUPT, "read", "counters",
		               "the two tables disagree at commit %llu",
		               (unsigned long long)store_view_txid(view));
	return ERR_NONE;
}

static int add_one(struct opened *o, struct board *board, int worker,
                   uint64_t *seed, struct err *err)
{
	uint64_t counters[COUNTERS];
	struct pager *pager;
	uint8_t *page;
	int rc = store_view_write(o->view, 10000000, err);

	if (!rc)
		rc = counters_read(o->view, counters, err);
	if (!rc && counters[worker] < atomic_load(&board->acknowledged[worker]))
		rc = err_set(err, ERR_CORRUPT, "read", "counters",
		             "%llu is there, %llu was acknowledged",
		             (unsigned long long)counters[worker],
		             (unsigned long long)board->acknowledged[worker]);
	/* One killed before it could say so may have come further. */
	if (!rc)
		atomic_store(&board->acknowledged[worker], counters[worker]);
	for (uint32_t table = 0; !rc && table < TABLES; table++) {
		uint32_t page_no;

		rc = store_pager(o->view, 3 + table, &pager, err);
		if (!rc)
			rc = pager_edit(pager, 1, &page, err);
		if (rc)
			break;
		store_le64(page + worker * 8, counters[worker] + 1);
		if (test_random(seed) % 4 == 0)
			rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page,
			                    err);
		if (!rc && test_random(seed) % 8 == 0) {
			rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page,
			                    err);
			if (!rc)
				rc = pager_free(pager, page_no, err);
		}
		if (!rc)
			rc = store_view_operation_end(o->view, err);
	}
	if (!rc)
		rc = store_view_commit(o->view,
		                       (enum store_durability)(test_random(seed) %
		                                               3), err);
	store_view_end(o->view);
	if (!rc) {
		atomic_store(&board->acknowledged[worker],
		             counters[worker] + 1);
		atomic_fetch_add(&board->commits, 1);
	}
	return rc;
}

static void work(struct board *board, const char *path, int worker,
                 uint64_t seed)
{
	uint64_t counters[COUNTERS];
	struct opened o;
	struct err err;
	int rc = open_store(&o, path, &err);

	while (!rc) {
		rc = add_one(&o, board, worker, &seed, &err);
		for (int i = 0; !rc && i < 3; i++) {
			rc = store_view_begin(o.view, &err);
			if (!rc)
				rc = counters_read(o.view, counters, &err);
			store_view_end(o.view);
			atomic_fetch_add(&board->reads, 1);
		}
		if (!rc && test_random(&seed) % 300 == 0) {
			rc = real_store_close(&o, &err);
			if (!rc)
				rc = open_store(&o, path, &err);
		}
	}
	if (!atomic_exchange(&board->failed, 1))
		snprintf(board->why, sizeof board->why, "%s: %s", err_name(rc),
		         err.text);
	_exit(1);
}

static pid_t spawn(struct board *board, const char *path, int worker,
                   uint64_t seed)
{
	pid_t pid = fork();

	if (pid == 0)
		work(board, path, worker, seed);
	return pid;
}

/* (vfs/commit C3, rule 8) */
static void killed_processes_lose_no_acknowledged_commit(struct test *t)
{
	struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
	                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = t->seed, counters[COUNTERS], rounds;
	pid_t workers[WORKERS];
	char directory[256], path[300];
	struct opened o;
	struct pager *pager;
	uint32_t file_id, page_no;
	uint8_t *page;

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	EXPECT_OK(t, open_store(&o, path, &t->err));
	EXPECT_OK(t, store_view_write(o.view, 0, &t->err));
	for (uint32_t table = 0; table < TABLES; table++) {
		EXPECT_OK(t, store_file_create(o.view, STORE_FILE_TABLE, "n",
		                               16384, &file_id, &t->err));
		EXPECT_EQ(t, file_id, 3 + table);
		EXPECT_OK(t, store_pager(o.view, file_id, &pager, &t->err));
		EXPECT_OK(t, pager_allocate(pager, PAGE_LEAF, &page_no, &page,
		                            &t->err));
	}
	EXPECT_OK(t, store_view_commit(o.view, STORE_DURABLE_NOW, &t->err));
	EXPECT_OK(t, real_store_close(&o, &t->err));

	for (int i = 0; i < WORKERS; i++)
		workers[i] = spawn(board, path, i, test_random(&seed));
	rounds = test_scaled(150, 20);
	for (uint64_t round = 0; round < rounds && !board->failed; round++) {
		int victim = (int)(test_random(&seed) % WORKERS);

		usleep((useconds_t)(test_random(&seed) % 30000));
		kill(workers[victim], SIGKILL);
		waitpid(workers[victim], NULL, 0);
		if (round % 10 == 9) /* everybody: the next one recovers */
			for (int i = 0; i < WORKERS; i++) {
				if (i == victim)
					continue;
				kill(workers[i], SIGKILL);
				waitpid(workers[i], NULL, 0);
				workers[i] = spawn(board, path, i,
				                   test_random(&seed));
			}
		workers[victim] = spawn(board, path, victim,
		                        test_random(&seed));
	}
	for (int i = 0; i < WORKERS; i++) {
		kill(workers[i], SIGKILL);
		waitpid(workers[i], NULL, 0);
	}
	if (board->failed) {
		test_fail(t, __FILE__, __LINE__, "%s", board->why);
		return;
	}
	EXPECT_OK(t, open_store(&o, path, &t->err));
	EXPECT_OK(t, store_view_begin(o.view, &t->err));
	EXPECT_OK(t, counters_read(o.view, counters, &t->err));
	for (int i = 0; i < WORKERS; i++) {
		EXPECT(t, counters[i] >= board->acknowledged[i]);
		EXPECT(t, counters[i] <= board->acknowledged[i] + 1);
	}
	EXPECT_OK(t, store_check(o.view, 1, NULL, NULL, &t->err));
	EXPECT_OK(t, real_store_close(&o, &t->err));
	printf("note %llu commits, %llu reads, %llu kills\n",
	       (unsigned long long)board->commits,
	       (unsigned long long)board->reads, (unsigned long long)rounds);
	EXPECT(t, board->commits > rounds);
	munmap(board, sizeof *board);
}

static const struct test_case cases[] = {
	CASE(killed_processes_lose_no_acknowledged_commit),
};
TEST_MAIN(cases)
