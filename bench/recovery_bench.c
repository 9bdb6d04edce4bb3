/*
 * recovery_bench.c - how long a recovery takes for a gigabyte of log.
 *
 *   recovery_bench [megabytes of log [directory [kind]]]
 *
 * A child fills the log with commits of one kind and is killed; the parent opens the
 * directory, once while the page cache holds everything.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vfs/store.h"

static const struct kind {
	const char *name;
	uint32_t pages, bytes;   /* that a commit picks from, that it changes */
	uint32_t each;           /* pages changed by a commit                 */
} kinds[] = {
	{ "one row, 3 MB touched", 200, 60, 1 },
	{ "one row, 330 MB touched", 20000, 60, 1 },
	{ "ten rows, 330 MB touched", 20000, 100, 10 },
	{ "2 KB, 80 MB touched", 5000, 2000, 1 },
	{ "whole pages, 330 MB touched", 20000, 16000, 4 },
};

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", err_name(rc), err->text);
	exit(1);
}

struct bed {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

static void bed_open(struct bed *bed, const char *path)
{
	struct store_options options = { .create = true,
	                                 .checkpoint_mb = 1000000 };
	struct err err;

	heap_init(&bed->heap);
	must(os_posix_open(&bed->heap, &bed->os, &err), &err);
	must(store_environment_open(bed->os, &bed->heap, &bed->environment,
	                            &err), &err);
	must(store_open(bed->environment, path, &options, &bed->store, &err),
	     &err);
	must(store_view_open(bed->store, &bed->view, &err), &err);
}

static int match_log(void *context, const char *name, int64_t value,
                     const char *what)
{
	(void)what;
	if (strcmp(name, "log_bytes") == 0)
		*(int64_t *)context = value;
	return 0;
}

static int64_t log_bytes(struct bed *bed)
{
	int64_t bytes = 0;
	struct err err;

	must(store_status(bed->store, match_log, &bytes, &err), &err);
	return bytes;
}

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *state >> 33;
}

static void begin(struct bed *bed)
{
	struct err err;

	must(store_view_begin(bed->view, &err), &err);
	must(store_view_write(bed->view, 1000000, &err), &err);
}

static void commit(struct bed *bed, enum store_durability durability)
{
	struct err err;

	must(store_view_operation_end(bed->view, &err), &err);
	must(store_view_commit(bed->view, durability, &err), &err);
	store_view_end(bed->view);
}

static struct pager *make_file(struct bed *bed, uint32_t pages)
{
	struct pager *pager;
	uint32_t file_id, page_no;
	uint8_t *page;
	struct err err;
	bool done;

	begin(bed);
	must(store_file_create(bed->view, STORE_FILE_TABLE, "bench",
	                       STORE_PAGE_SIZE, &file_id, &err), &err);
	must(store_pager(bed->view, file_id, &pager, &err), &err);
	for (uint32_t i = 0; i < pages; i++)
		must(pager_allocate(pager, 1, &page_no, &page, &err), &err);
	commit(bed, STORE_DURABLE_NOW);
	must(store_checkpoint(bed->store, &done, &err), &err);
	return pager;
}

static void fill(const struct kind *kind, const char *path, int64_t bytes)
{
	struct bed bed;
	uint64_t state = 1;
	uint64_t commits = 0;
	struct pager *pager;

	bed_open(&bed, path);
	pager = make_file(&bed, kind->pages);
	while (log_bytes(&bed) < bytes || commits % 64) {
		begin(&bed);
		for (uint32_t i = 0; i < kind->each; i++) {
			uint32_t at = 16 + (uint32_t)next(&state) %
			              (16384 - 16 - kind->bytes + 1);
			struct err err;
			uint8_t *page;

			must(pager_edit(pager, 1 + (uint32_t)(next(&state) %
			                kind->pages), &page, &err), &err);
			for (uint32_t b = 0; b < kind->bytes; b++)
				page[at - 16 + b] = (uint8_t)next(&state);
			must(store_view_operation_end(bed.view, &err), &err);
		}
		commit(&bed, ++commits % 64 ? STORE_DURABLE_NEVER
		                            : STORE_DURABLE_LATER);
	}
	begin(&bed);
	{
		struct err err;
		uint8_t *page;

		must(pager_edit(pager, 1, &page, &err), &err);
		page[0]++;
	}
	commit(&bed, STORE_DURABLE_NOW);
	printf("%-28s %9llu commits, ", kind->name, (unsigned long long)commits);
	printf("%6.1f MB of log, ", (double)log_bytes(&bed) / 1e6);
	fflush(stdout);
	_exit(0); /* as if killed: nothing is closed */
}

static void remove_all(const char *path)
{
	char command[600];

	snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command))
		exit(1);
}

static void run(const struct kind *kind, const char *path, int64_t bytes)
{
	struct bed bed;
	double start, took, cpu;
	struct err err;
	pid_t child;

	remove_all(path);
	fflush(stdout);
	child = fork();
	if (child == 0)
		fill(kind, path, bytes);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		exit(1);
	start = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	bed_open(&bed, path);
	took = now(CLOCK_MONOTONIC) - start;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%6.2f s, %.2f s of it CPU: %6.2f s a GB; heap at most %.1f MB\n",
	       took, cpu, took * 1e9 / (double)bytes,
	       (double)bed.heap.peak / 1e6);
	store_view_close(bed.view);
	must(store_close(bed.store, &err), &err);
	store_environment_close(bed.environment);
	os_posix_close(bed.os);
	remove_all(path);
}

int main(int argc, char **argv)
{
	int64_t bytes = (argc > 1 ? atoll(argv[1]) : 64) * 1000000;
	const char *directory = argc > 2 ? argv[2] : ".";
	char path[512];

	snprintf(path, sizeof path, "%s/recovery-bench.%d", directory,
	         (int)getpid());
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (argc < 4 || (size_t)atoi(argv[3]) == i)
			run(&kinds[i], path, bytes);
	return 0;
}
