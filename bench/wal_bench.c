/*
 * wal_bench.c - what an append costs, and what a group of committers gets.
 *
 *   wal_bench append [RECORD_BYTES] [COUNT]      ns an append, without syncs
 *   wal_bench raw [SECONDS]                      pwrite + fdatasync, the floor
 *   wal_bench threads|processes WRITERS [SECONDS]   durable commits a second
 *   wal_bench replay [MEGABYTES]                 reading back
 *
 * The writer lock is a futex word, as in the store: taken, the record appended,
 * released, the log awaited. Works in $TMPDIR or /tmp: choose a real disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wal/wal.h"

enum { WRITERS_MAX = 64, RECORD_BYTES = 300 };

struct common {
	struct wal_shared shared;
	_Atomic uint32_t writer; /* 0 free, 1 held, 2 held and awaited */
	_Atomic uint32_t go;
	_Atomic uint64_t commits[WRITERS_MAX];
	_Atomic uint64_t latency_us_max[WRITERS_MAX];
};

struct process {
	struct heap heap;
	struct os *os;
	struct os_file *dir;
	struct wal *wal;
	struct common *common;
	char path[64];
};

static void check(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "wal_bench: %s\n", err->text);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_process(struct process *p, uint32_t index)
{
	struct wal_options options = { .process = index, .mode = 0600 };
	struct err err;

	heap_init(&p->heap);
	check(os_posix_open(&p->heap, &p->os, &err), &err);
	check(p->os->methods->directory_open(p->os, p->path, &p->dir, &err),
	      &err);
	check(wal_open(p->dir, &p->heap, &p->common->shared, &options, &p->wal,
	               &err), &err);
}

static void prepare(struct process *p)
{
	const char *root = getenv("TMPDIR");
	struct err err;

	memset(p, 0, sizeof *p);
	snprintf(p->path, sizeof p->path, "%.30s/turdb-bench-XXXXXX",
	         root ? root : "/tmp");
	if (!mkdtemp(p->path)) {
		perror(p->path);
		exit(1);
	}
	p->common = mmap(NULL, sizeof *p->common, PROT_READ | PROT_WRITE,
	                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	open_process(p, 0);
	check(wal_start(p->wal, 0, &err), &err);
}

static void clean_up(struct process *p)
{
	char command[128];

	wal_close(p->wal);
	snprintf(command, sizeof command, "rm -r %s", p->path);
	if (system(command))
		exit(1);
}

static void lock_writer(struct process *p)
{
	_Atomic uint32_t *word = &p->common->writer;
	uint32_t held = 0;

	if (atomic_compare_exchange_strong(word, &held, 1))
		return;
	while (atomic_exchange(word, 2) != 0)
		p->os->methods->wait(p->os, word, 2, UINT64_MAX);
}

static void unlock_writer(struct process *p)
{
	if (atomic_exchange(&p->common->writer, 0) == 2)
		p->os->methods->wake(p->os, &p->common->writer, 1);
}

static void commit(struct process *p, const struct span *payload)
{
	struct err err;
	uint64_t end;

	lock_writer(p);
	check(wal_append(p->wal, payload, 1, &end, &err), &err);
	unlock_writer(p);
	check(wal_sync(p->wal, end, &err), &err);
	check(wal_prepare(p->wal, &err), &err);
}

struct job {
	struct process *process;
	uint32_t index;
	double seconds;
};

static void run_job(const struct job *job)
{
	uint8_t bytes[RECORD_BYTES];
	struct span payload = span_of(bytes, sizeof bytes);
	struct common *common = job->process->common;
	double end, start;

	memset(bytes, (int)job->index, sizeof bytes);
	while (!atomic_load(&common->go))
		usleep(100);
	start = now();
	end = start + job->seconds;
	while (start < end) {
		double done;
		uint64_t us;

		commit(job->process, &payload);
		atomic_fetch_add(&common->commits[job->index], 1);
		done = now();
		us = (uint64_t)((done - start) * 1e6);
		if (us > common->latency_us_max[job->index])
			common->latency_us_max[job->index] = us;
		start = done;
	}
}

static void *run_thread(void *context)
{
	run_job(context);
	return NULL;
}

static void run_child(const struct job *job)
{
	struct process p = { .common = job->process->common };
	struct job mine = *job;

	memcpy(p.path, job->process->path, sizeof p.path);
	open_process(&p, job->index + 1);
	mine.process = &p;
	run_job(&mine);
	_exit(0);
}

static void report(const struct process *p, uint32_t writers, double seconds,
                   const char *kind)
{
	uint64_t commits = 0, worst = 0;
	uint64_t syncs = p->common->shared.sync_count;

	for (uint32_t i = 0; i < writers; i++) {
		commits += p->common->commits[i];
		if (p->common->latency_us_max[i] > worst)
			worst = p->common->latency_us_max[i];
	}
	printf("%-9s %2u  %8.0f commits/s  %7.0f syncs/s  %5.2f a sync  "
	       "slowest %6.1f ms\n", kind, writers, (double)commits / seconds,
	       (double)syncs / seconds, (double)commits / (double)syncs,
	       (double)worst / 1000);
}

static void run_group(bool forked, uint32_t writers, double seconds)
{
	struct process p;
	struct job jobs[WRITERS_MAX];
	pthread_t threads[WRITERS_MAX];

	prepare(&p);
	for (uint32_t i = 0; i < writers; i++) {
		jobs[i] = (struct job){ &p, i, seconds };
		if (!forked)
			pthread_create(&threads[i], NULL, run_thread, &jobs[i]);
		else if (fork() == 0)
			run_child(&jobs[i]);
	}
	usleep(20000);
	atomic_store(&p.common->go, 1);
	for (uint32_t i = 0; i < writers; i++) {
		if (forked)
			wait(NULL);
		else
			pthread_join(threads[i], NULL);
	}
	report(&p, writers, seconds, forked ? "processes" : "threads");
	clean_up(&p);
}

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

/* The median of 9 rounds; segments are made and dropped in between as in use. */
static void run_append(size_t size, uint64_t count)
{
	uint8_t *bytes = calloc(1, size + 1);
	struct span payload = span_of(bytes, size);
	double rounds[9];
	struct process p;
	struct err err;
	uint64_t end;

	prepare(&p);
	for (size_t round = 0; round < 9; round++) {
		double start = now();

		for (uint64_t i = 0; i < count; i++)
			check(wal_append(p.wal, &payload, 1, &end, &err), &err);
		rounds[round] = (now() - start) / (double)count * 1e9;
		check(wal_prepare(p.wal, &err), &err);
		check(wal_drop_before(p.wal, end, &err), &err);
	}
	qsort(rounds, 9, sizeof rounds[0], compare_doubles);
	printf("append %7zu bytes  %8.0f ns (best %.0f)\n", size, rounds[4],
	       rounds[0]);
	clean_up(&p);
	free(bytes);
}

static void run_raw(double seconds)
{
	static uint8_t zeros[1 << 20];
	char path[] = "/tmp/turdb-raw-XXXXXX";
	uint64_t count = 0, at = 4096;
	double end;
	int file = mkstemp(path);

	for (int i = 0; i < 16; i++)
		if (pwrite(file, zeros, sizeof zeros, i << 20) < 0)
			exit(1);
	fsync(file);
	end = now() + seconds;
	while (now() < end) {
		if (pwrite(file, zeros, 344, (off_t)at) != 344 ||
		    fdatasync(file))
			exit(1);
		at = (at + 344) % (15 << 20);
		count++;
	}
	printf("raw pwrite + fdatasync  %8.0f a second\n",
	       (double)count / seconds);
	close(file);
	unlink(path);
}

static int count_bytes(void *context, uint64_t lsn, struct span payload,
                       struct err *err)
{
	(void)lsn, (void)err;
	*(uint64_t *)context += payload.size;
	return ERR_NONE;
}

static void run_replay(uint64_t megabytes)
{
	uint8_t bytes[RECORD_BYTES];
	struct span payload = span_of(bytes, sizeof bytes);
	uint64_t end = 0, read = 0;
	struct process p;
	struct err err;
	double start;

	memset(bytes, 7, sizeof bytes);
	prepare(&p);
	while (end < megabytes << 20) {
		check(wal_append(p.wal, &payload, 1, &end, &err), &err);
		check(wal_prepare(p.wal, &err), &err);
	}
	start = now();
	check(wal_replay(p.wal, 0, count_bytes, &read, &end, &err), &err);
	printf("replay %llu MB  %.1f ms, %.2f GB/s\n",
	       (unsigned long long)megabytes, (now() - start) * 1e3,
	       (double)end / (now() - start) / 1e9);
	start = now();
	check(wal_replay(p.wal, end, count_bytes, &read, &end, &err), &err);
	printf("replay nothing, search the rest  %.2f ms\n",
	       (now() - start) * 1e3);
	clean_up(&p);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long number = argc > 2 ? atol(argv[2]) : 0;
	double third = argc > 3 ? atof(argv[3]) : 0;

	if (strcmp(what, "append") == 0)
		run_append(number ? (size_t)number : RECORD_BYTES,
		           third > 0 ? (uint64_t)third : 20000);
	else if (strcmp(what, "raw") == 0)
		run_raw(number ? (double)number : 2);
	else if (strcmp(what, "threads") == 0 && number <= WRITERS_MAX)
		run_group(false, (uint32_t)number, third > 0 ? third : 2);
	else if (strcmp(what, "processes") == 0 && number <= WRITERS_MAX)
		run_group(true, (uint32_t)number, third > 0 ? third : 2);
	else if (strcmp(what, "replay") == 0)
		run_replay(number ? (uint64_t)number : 64);
	else
		fprintf(stderr, "wal_bench append|raw|threads|processes|replay "
		        "[NUMBER] [SECONDS or COUNT]\n");
	return 0;
}
