/*
 * store_bench.c - what a one-row commit costs below SQL.
 *
 *   store_bench [commits]     prints wall and CPU microseconds a commit for each
 *                             durability
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vfs/store.h"

enum { PAGES = 200 };

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", err_name(rc), err->text);
	exit(1);
}

static void run(struct store_view *view, struct pager *pager,
                enum store_durability durability, int commits, const char *name)
{
	struct err err;
	double wall = seconds(CLOCK_MONOTONIC);
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	for (int i = 0; i < commits; i++) {
		uint8_t *page;

		must(store_view_begin(view, &err), &err);
		must(store_view_write(view, 1000000, &err), &err);
		must(pager_edit(pager, (uint32_t)(i * 7919 % PAGES) + 1, &page,
		                &err), &err);
		memset(page + i % 16000, i + (int)durability * 50 + 1, 40);
		must(store_view_operation_end(view, &err), &err);
		must(store_view_commit(view, durability, &err), &err);
		store_view_end(view);
	}
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%-8s %8.2f us wall %8.2f us cpu a commit\n", name,
	       wall * 1e6 / commits, cpu * 1e6 / commits);
}

int main(int argc, char **argv)
{
	int commits = argc > 1 ? atoi(argv[1]) : 100000;
	char path[] = "/tmp/turdb-bench-XXXXXX";
	struct store_options options = { .create = true };
	struct store_environment *environment;
	struct store_view *view;
	struct store *store;
	struct pager *pager;
	struct heap heap;
	struct os *os;
	struct err err;
	uint32_t file_id, page_no;
	uint8_t *page;

	heap_init(&heap);
	if (!mkdtemp(path))
		return 1;
	must(os_posix_open(&heap, &os, &err), &err);
	must(store_environment_open(os, &heap, &environment, &err), &err);
	must(store_open(environment, path, &options, &store, &err), &err);
	must(store_view_open(store, &view, &err), &err);
	must(store_view_write(view, 0, &err), &err);
	must(store_file_create(view, STORE_FILE_TABLE, "bench", STORE_PAGE_SIZE,
	                       &file_id, &err), &err);
	must(store_pager(view, file_id, &pager, &err), &err);
	for (int i = 0; i < PAGES; i++)
		must(pager_allocate(pager, PAGE_LEAF, &page_no, &page, &err),
		     &err);
	must(store_view_commit(view, STORE_DURABLE_NOW, &err), &err);
	store_view_end(view);
	run(view, pager, STORE_DURABLE_NEVER, commits, "never");
	run(view, pager, STORE_DURABLE_LATER, commits, "later");
	run(view, pager, STORE_DURABLE_NOW, commits / 20, "now");
	store_view_close(view);
	must(store_close(store, &err), &err);
	store_environment_close(environment);
	os_posix_close(os);
	return 0;
}
