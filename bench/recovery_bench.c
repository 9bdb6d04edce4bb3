/*
 * recovery_bench.c - how long a recovery takes for a gigabyte of log.
 *
 *   recovery_bench [megabytes of log [directory [kind]]]
 *
 * A child fills the log with commits of one kind and is killed; what it left in the
 * page cache goes to the disk; the parent opens the directory while the page cache
 * holds everything. Then once more with the data files as they were at the checkpoint,
 * as long as they became: after a power failure that lost all that was not synced.
 * Beside both stands what no recovery could do without, taken in the same run: reading
 * the log and writing as many pages as changed, in order, with pwrite and one fdatasync.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vfs/store.h"

enum { PAGE_USED = 16368, PAGES_MAX = 1 << 22 };

enum pattern {
	SCATTERED, /* anywhere in the table                      */
	APPENDED,  /* behind the last row, in new pages          */
	REWRITTEN, /* whole pages, so many that none is logged   */
};

static const struct kind {
	const char *name;
	enum pattern pattern;
	uint32_t pages; /* of the table; 0 = as many bytes as the log */
	uint32_t bytes; /* changed at once                            */
	uint32_t each;  /* so often by a commit                       */
} kinds[] = {
	{ "60 bytes, in 3 MB", SCATTERED, 200, 60, 1 },
	{ "60 bytes, anywhere", SCATTERED, 0, 60, 1 },
	{ "400 bytes, anywhere", SCATTERED, 0, 400, 1 },
	{ "10 x 100 bytes, anywhere", SCATTERED, 0, 100, 10 },
	{ "100 bytes, appended", APPENDED, 0, 100, 1 },
	{ "2 KB, anywhere", SCATTERED, 0, 2000, 1 },
	{ "4 whole pages, anywhere", SCATTERED, 0, 16000, 4 },
	{ "300 pages placed", REWRITTEN, 0, 16000, 300 },
};

/* What a child tells: which pages it changed, how much it wrote. */
struct tale {
	uint64_t commits, log_bytes, pages;
	uint8_t changed[PAGES_MAX];
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

static uint32_t table_pages(const struct kind *kind, int64_t bytes)
{
	int64_t pages = bytes / STORE_PAGE_SIZE;

	if (kind->pages)
		return kind->pages;
	return pages < PAGES_MAX ? (uint32_t)pages : PAGES_MAX;
}

static __attribute__((format(printf, 1, 2))) void shell(const char *format, ...)
{
	char command[2000];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	if (system(command))
		exit(1);
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

struct filling {
	const struct kind *kind;
	struct bed bed;
	struct pager *pager;
	struct tale *tale;
	uint64_t state;
	uint32_t pages;
	uint32_t last, used; /* appended: the page in use, its bytes */
};

/* A page to change and where. */
static uint8_t *pick(struct filling *filling, uint32_t *page_no)
{
	const struct kind *kind = filling->kind;
	uint32_t at = 0;
	struct err err;
	uint8_t *page;

	*page_no = filling->last;
	switch (kind->pattern) {
	case SCATTERED:
		*page_no = 1 + (uint32_t)(next(&filling->state) % filling->pages);
		at = (uint32_t)(next(&filling->state) %
		                (PAGE_USED - kind->bytes + 1));
		break;
	case APPENDED:
		at = filling->used;
		filling->used += kind->bytes;
		if (filling->used <= PAGE_USED && *page_no)
			break;
		must(pager_allocate(filling->pager, 1, page_no, &page, &err),
		     &err);
		at = 0;
		filling->used = kind->bytes;
		break;
	case REWRITTEN:
		*page_no = 1 + filling->last % filling->pages;
		break;
	}
	filling->last = *page_no;
	must(pager_edit(filling->pager, *page_no, &page, &err), &err);
	return page + at;
}

static void change(struct filling *filling)
{
	uint32_t bytes = filling->kind->bytes, page_no;
	uint8_t *at = pick(filling, &page_no);
	struct err err;

	for (uint32_t b = 0; b + 4 <= bytes; b += 4) {
		uint32_t word = (uint32_t)next(&filling->state);

		memcpy(at + b, &word, sizeof word);
	}
	if (page_no < PAGES_MAX && !filling->tale->changed[page_no]) {
		filling->tale->changed[page_no] = 1;
		filling->tale->pages++;
	}
	must(store_view_operation_end(filling->bed.view, &err), &err);
}

/* Bytes that count as log: with placed pages these pages are most of it. */
static int64_t written(struct filling *filling, uint64_t commits)
{
	int64_t bytes = log_bytes(&filling->bed);

	if (filling->kind->pattern == REWRITTEN)
		bytes += (int64_t)(commits * filling->kind->each) *
		         STORE_PAGE_SIZE;
	return bytes;
}

static void fill(const struct kind *kind, const char *path, int64_t bytes,
                 struct tale *tale)
{
	struct filling filling = { .kind = kind, .tale = tale, .state = 1,
	                           .pages = table_pages(kind, bytes) };
	uint64_t commits = 0;

	bed_open(&filling.bed, path);
	filling.pager = make_file(&filling.bed,
	                          kind->pattern == APPENDED ? 1 : filling.pages);
	shell("rm -rf '%s.root' && cp -r '%s/root' '%s.root'", path, path, path);
	while (commits % 64 || written(&filling, commits) < bytes) {
		begin(&filling.bed);
		for (uint32_t i = 0; i < kind->each; i++)
			change(&filling);
		commit(&filling.bed, STORE_DURABLE_NEVER);
		commits++;
		if (kind->pattern == REWRITTEN &&
		    written(&filling, commits) >= bytes)
			break;
	}
	begin(&filling.bed);
	change(&filling);
	commit(&filling.bed, STORE_DURABLE_NOW);
	tale->commits = commits + 1;
	tale->log_bytes = (uint64_t)written(&filling, commits);
	_exit(0); /* as if killed: nothing is closed */
}

static void remove_all(const char *path)
{
	shell("rm -rf '%s' '%s.root' '%s.lost'", path, path, path);
}

/* --- what no recovery could do without ------------------------------------------- */

static uint8_t buffer[1 << 20];

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void read_log(const char *path)
{
	char name[1024];
	struct dirent *entry;
	DIR *dir;

	snprintf(name, sizeof name, "%s/wal", path);
	dir = opendir(name);
	need(dir != NULL, name);
	while ((entry = readdir(dir))) {
		int file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%.600s/wal/%s", path,
		         entry->d_name);
		file = open(name, O_RDONLY);
		need(file >= 0, name);
		while (read(file, buffer, sizeof buffer) > 0)
			continue;
		close(file);
	}
	closedir(dir);
}

static void write_pages(int file, uint64_t pages)
{
	uint64_t bytes = pages * STORE_PAGE_SIZE;

	for (uint64_t at = 0; at < bytes; at += sizeof buffer)
		need(pwrite(file, buffer, sizeof buffer, (off_t)at) ==
		             (ssize_t)sizeof buffer, "pwrite");
	need(fdatasync(file) == 0, "fdatasync");
}

/* Seconds on the clock, and of them those of the processor. */
struct cost {
	double wall, cpu;
};

static struct cost cost_now(void)
{
	return (struct cost){ .wall = now(CLOCK_MONOTONIC),
	                      .cpu = now(CLOCK_PROCESS_CPUTIME_ID) };
}

static struct cost cost_since(struct cost start)
{
	struct cost end = cost_now();

	return (struct cost){ .wall = end.wall - start.wall,
	                      .cpu = end.cpu - start.cpu };
}

static struct cost measure_bound(const char *path, uint64_t pages)
{
	char name[600];
	struct cost start;
	int file;

	snprintf(name, sizeof name, "%s/bound", path);
	file = open(name, O_RDWR | O_CREAT, 0600);
	need(file >= 0, name);
	write_pages(file, pages);
	start = cost_now();
	read_log(path);
	write_pages(file, pages);
	start = cost_since(start);
	close(file);
	unlink(name);
	return start;
}

/* --- one kind ---------------------------------------------------------------------- */

static void to_disk(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);

	need(dir >= 0 && syncfs(dir) == 0, path);
	close(dir);
}

/* What a power failure leaves, at path.lost: zeros behind what was there. */
static void lose_images(const char *path)
{
	shell("cp -r '%s' '%s.lost' && cd '%s.root' && for f in *; do "
	      "head -c $(($(stat -c %%s '%s.lost/root/'\"$f\") - $(stat -c %%s \"$f\"))) "
	      "/dev/zero >> \"$f\" && cp \"$f\" '%s.lost/root/' || exit 1; done",
	      path, path, path, path, path);
}

/* *heap: the most it took. */
static struct cost recover(const char *path, double *heap)
{
	struct cost took;
	struct bed bed;
	struct err err;

	to_disk(path);
	took = cost_now();
	bed_open(&bed, path);
	took = cost_since(took);
	*heap = (double)bed.heap.peak / 1e6;
	store_view_close(bed.view);
	must(store_close(bed.store, &err), &err);
	store_environment_close(bed.environment);
	os_posix_close(bed.os);
	return took;
}

static void print_cost(struct cost cost, double gb)
{
	if (cost.wall > 0)
		printf(" %8.2f %8.2f", cost.wall / gb, cost.cpu / gb);
	else
		printf(" %8s %8s", "-", "-");
}

static void measure(const struct kind *kind, const char *path,
                    const struct tale *tale)
{
	uint64_t pages = kind->pattern == REWRITTEN ? 1 : tale->pages;
	double gb = (double)tale->log_bytes / 1e9, heap, heap_lost = 0;
	struct cost bound, found, lost = { 0, 0 };
	char path_lost[600];

	snprintf(path_lost, sizeof path_lost, "%s.lost", path);
	if (kind->pattern != REWRITTEN) /* those are synced before their record */
		lose_images(path);
	to_disk(path);
	bound = measure_bound(path, pages);
	found = recover(path, &heap);
	if (kind->pattern != REWRITTEN)
		lost = recover(path_lost, &heap_lost);
	printf("%-26s %9llu %7.1f %8.1f", kind->name,
	       (unsigned long long)tale->commits, gb * 1e3,
	       (double)tale->pages * STORE_PAGE_SIZE / 1e6);
	print_cost(found, gb);
	print_cost(lost, gb);
	print_cost(bound, gb);
	printf(" %8.1f\n", heap > heap_lost ? heap : heap_lost);
	fflush(stdout);
}

static void run(const struct kind *kind, const char *path, int64_t bytes)
{
	struct tale *tale = mmap(NULL, sizeof *tale, PROT_READ | PROT_WRITE,
	                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	need(tale != MAP_FAILED, "mmap");
	remove_all(path);
	fflush(stdout);
	child = fork();
	if (child == 0)
		fill(kind, path, bytes, tale);
	need(child > 0 && waitpid(child, NULL, 0) == child && tale->commits,
	     "child");
	measure(kind, path, tale);
	remove_all(path);
	munmap(tale, sizeof *tale);
}

int main(int argc, char **argv)
{
	int64_t bytes = (argc > 1 ? atoll(argv[1]) : 128) * 1000000;
	const char *directory = argc > 2 ? argv[2] : ".";
	char path[512];

	snprintf(path, sizeof path, "%s/recovery-bench.%d", directory,
	         (int)getpid());
	printf("%-26s %9s %7s %8s %8s %8s %8s %8s %8s %8s %8s\n"
	       "%-26s %9s %7s %8s %8s %8s %8s %8s %8s %8s %8s\n",
	       "each commit changes", "commits", "log MB", "pages MB", "wall",
	       "CPU", "lost:", "lost:", "bound:", "bound:", "heap", "", "", "",
	       "", "s/GB", "s/GB", "wall", "CPU", "wall", "CPU", "MB");
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (argc < 4 || (size_t)atoi(argv[3]) == i)
			run(&kinds[i], path, bytes);
	return 0;
}
