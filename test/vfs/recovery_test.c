/*
 * recovery_test.c - a recovery is the same with any number of threads.
 *
 * A child fills some five megabytes of log with all that a record can say and ends
 * without closing. Copies of what it left are recovered by one thread and by several,
 * on a real file system, also under the thread sanitizer: every byte has to agree, and
 * so has every refusal.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/pager.h"
#include "vfs/store.h"

enum {
	PAGES = 400,
	COMMITS = 4600,
	CHANGED = 1000,
	USED = 16000,
	LARGE = 300, /* pages that one commit changes: they are placed */
};

/* --- a system with as many processors as wanted ------------------------------------ */

static struct {
	uint32_t processors;
	bool no_threads, slow_clock;
	bool fail_writes; /* of threads that are not the first */
	_Atomic uint32_t started;
	pthread_t first;
	const struct os_methods *real;
	struct os_methods methods;
} machine;

static uint32_t processors(struct os *os)
{
	(void)os;
	return machine.processors;
}

static int thread_start(struct os *os, void (*run)(void *context),
                        void *context, struct os_thread **thread,
                        struct err *err)
{
	if (machine.no_threads)
		return err_set(err, ERR_NOMEM, "start a thread", "",
		               "there are enough");
	atomic_fetch_add(&machine.started, 1);
	return machine.real->thread_start(os, run, context, thread, err);
}

static int write_spans(struct os_file *file, uint64_t offset,
                       const struct span *spans, size_t count,
                       struct err *err)
{
	if (machine.fail_writes && !pthread_equal(pthread_self(), machine.first))
		return err_set(err, ERR_IO, "write to", file->name,
		               "the second processor is tired");
	return machine.real->write(file, offset, spans, count, err);
}

/* Nothing is ever late. */
static uint64_t monotonic_us(struct os *os)
{
	uint64_t now = machine.real->monotonic_us(os);

	return machine.slow_clock ? now / 100000 : now;
}

static int os_open_machine(struct heap *heap, struct os **os, struct err *err)
{
	int rc = os_posix_open(heap, os, err);

	if (rc)
		return rc;
	machine.real = (*os)->methods;
	machine.methods = *machine.real;
	machine.methods.processors = processors;
	machine.methods.thread_start = thread_start;
	machine.methods.write = write_spans;
	machine.methods.monotonic_us = monotonic_us;
	machine.first = pthread_self();
	(*os)->methods = &machine.methods;
	return ERR_NONE;
}

/* --- one process's store ------------------------------------------------------------- */

struct bed {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
};

static int bed_open(struct bed *bed, const char *path, uint64_t lose_after,
                    struct err *err)
{
	struct store_options options = { .create = true,
	                                 .checkpoint_mb = 1000000,
	                                 .checkpoint_s = 1000000,
	                                 .log_segment_size = 1 << 20,
	                                 .lose_after = lose_after };
	int rc;

	memset(bed, 0, sizeof *bed);
	heap_init(&bed->heap);
	rc = os_open_machine(&bed->heap, &bed->os, err);
	if (!rc)
		rc = store_environment_open(bed->os, &bed->heap,
		                            &bed->environment, err);
	return rc ? rc : store_open(bed->environment, path, &options,
	                            &bed->store, err);
}

static int bed_close(struct bed *bed, struct err *err)
{
	int rc = bed->store ? store_close(bed->store, err) : ERR_NONE;

	store_environment_close(bed->environment);
	os_posix_close(bed->os);
	return rc || bed->heap.used == 0
	               ? rc
	               : err_set(err, ERR_INVALID, "close", "", "%zu bytes of heap are left",
	                         (size_t)bed->heap.used);
}

/* --- the log ------------------------------------------------------------------------- */

struct writer {
	struct store_view *view;
	struct pager *pager;
	uint64_t random;
};

static void must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", err_name(rc), err->text);
	_exit(1);
}

static void begin(struct writer *writer)
{
	struct err err;

	must(store_view_begin(writer->view, &err), &err);
	must(store_view_write(writer->view, 1000000, &err), &err);
}

static void commit(struct writer *writer, enum store_durability durability)
{
	struct err err;

	must(store_view_operation_end(writer->view, &err), &err);
	must(store_view_commit(writer->view, durability, &err), &err);
	store_view_end(writer->view);
}

static uint32_t make_file(struct writer *writer, uint32_t pages)
{
	uint32_t file_id, page_no;
	struct pager *pager;
	uint8_t *page;
	struct err err;

	must(store_file_create(writer->view, STORE_FILE_TABLE, "many",
	                       STORE_PAGE_SIZE, &file_id, &err), &err);
	must(store_pager(writer->view, file_id, &pager, &err), &err);
	for (uint32_t i = 0; i < pages; i++)
		must(pager_allocate(pager, PAGE_LEAF, &page_no, &page, &err),
		     &err);
	return file_id;
}

static uint8_t *edit(struct writer *writer)
{
	uint32_t page_no = 1 + (uint32_t)(test_random(&writer->random) % PAGES);
	struct err err;
	uint8_t *page;

	must(pager_edit(writer->pager, page_no, &page, &err), &err);
	return page + 16;
}

/* Some bytes anywhere, bytes that move within a page, and what the file's catalog entry
 * says, as with rows. */
static void change(struct writer *writer)
{
	uint64_t random = test_random(&writer->random);
	uint8_t *page = edit(writer), *state;
	uint32_t at = (uint32_t)(random >> 8) % (USED - CHANGED);
	struct err err;

	if (random % 16 == 0)
		memmove(page + at + 40, page + at, 600);
	for (uint32_t i = 0; i < CHANGED; i += 8)
		store_le64(page + at + i, test_random(&writer->random));
	if (random % 3)
		return;
	must(pager_state_edit(writer->pager, &state, &err), &err);
	store_le64(state, random);
}

/* New pages, and some that were. */
static void allocate_and_free(struct writer *writer)
{
	uint32_t page_no[6];
	struct err err;
	uint8_t *page;

	for (int i = 0; i < 6; i++) {
		must(pager_allocate(writer->pager, PAGE_LEAF, &page_no[i],
		                    &page, &err), &err);
		memset(page + 16, 'a' + i, 3000);
	}
	for (int i = 0; i < 3; i++)
		must(pager_free(writer->pager, page_no[i], &err), &err);
}

static void change_many(struct writer *writer)
{
	for (uint32_t i = 0; i < LARGE; i++)
		memset(edit(writer), (int)(test_random(&writer->random) & 255),
		       USED);
}

/* What is in the log beside changes of one file: files that come, change and go. */
static uint32_t change_files(struct writer *writer, int i, uint32_t other)
{
	struct pager *one = writer->pager;
	struct err err;

	switch (i % 1500) {
	case 0:
		return make_file(writer, 3);
	case 300: case 600: case 900:
		must(store_pager(writer->view, other, &writer->pager, &err),
		     &err);
		allocate_and_free(writer);
		writer->pager = one;
		return other;
	case 1400:
		must(store_file_drop(writer->view, other, &err), &err);
		return other;
	default:
		return other;
	}
}

static void fill(struct bed *bed, uint64_t seed)
{
	struct writer writer = { .random = seed };
	uint32_t file_id, other = 0;
	struct err err;
	bool done;

	must(store_view_open(bed->store, &writer.view, &err), &err);
	begin(&writer);
	file_id = make_file(&writer, PAGES);
	commit(&writer, STORE_DURABLE_NOW);
	must(store_checkpoint(bed->store, &done, &err), &err);
	for (int i = 0; i < COMMITS; i++) {
		begin(&writer);
		must(store_pager(writer.view, file_id, &writer.pager, &err),
		     &err);
		change(&writer);
		if (i % 50 == 7)
			allocate_and_free(&writer);
		if (i % 2000 == 1900)
			change_many(&writer);
		other = change_files(&writer, i, other);
		/* The last record says that what is before it was durable. */
		commit(&writer, i >= COMMITS - 2 ? STORE_DURABLE_NOW
		                                 : STORE_DURABLE_NEVER);
	}
}

static __attribute__((format(printf, 2, 3))) void
run(struct test *t, const char *format, ...)
{
	char command[1000];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	if (system(command))
		test_fail(t, __FILE__, __LINE__, "failed: %s", command);
}

/* --- recoveries ---------------------------------------------------------------------- */

struct bench {
	char directory[256];
	char left[300];   /* what the child left                                 */
	char path[300];   /* where copies are recovered: sentences name the path */
	char before[300]; /* what one thread made of it                          */
};

static void copy(struct test *t, const char *from, const char *to)
{
	run(t, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
}

static void log_make(struct test *t, const char *path)
{
	struct bed bed;
	pid_t child;
	int status = 1;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct err err;

		machine.slow_clock = true; /* no checkpoint for dropped files */
		must(bed_open(&bed, path, 0, &err), &err);
		fill(&bed, t->seed);
		_exit(0);
	}
	EXPECT(t, child > 0 && waitpid(child, &status, 0) == child);
	EXPECT_EQ(t, status, 0);
}

static void bench_open(struct test *t, struct bench *bench)
{
	memset(&machine, 0, sizeof machine);
	machine.processors = 1;
	test_directory(t, bench->directory);
	snprintf(bench->left, sizeof bench->left, "%s/left", bench->directory);
	snprintf(bench->path, sizeof bench->path, "%s/app", bench->directory);
	snprintf(bench->before, sizeof bench->before, "%s/one", bench->directory);
	log_make(t, bench->left);
}

static int check_all(struct bed *bed, struct err *err)
{
	struct store_view *view;
	int rc = store_view_open(bed->store, &view, err);

	if (rc)
		return rc;
	rc = store_view_begin(view, err);
	if (!rc)
		rc = store_check(view, 1, NULL, NULL, err);
	store_view_close(view);
	return rc;
}

/* Recovers what lies at bench->path. */
static int recover(struct bench *bench, uint32_t threads, uint64_t lose_after,
                   struct err *err)
{
	struct err ignored;
	struct bed bed;
	int rc;

	machine.processors = threads;
	atomic_store(&machine.started, 0);
	rc = bed_open(&bed, bench->path, lose_after, err);
	if (!rc)
		rc = check_all(&bed, err);
	if (rc)
		bed_close(&bed, &ignored);
	return rc ? rc : bed_close(&bed, err);
}

/* All but the shared memory. */
static void expect_same_bytes(struct test *t, const struct bench *bench)
{
	run(t, "diff -rq -x turdb.shm '%s' '%s'", bench->before, bench->path);
}

/* With one thread, which is what the others are compared with. */
static void recover_alone(struct test *t, struct bench *bench, uint64_t lose_after)
{
	copy(t, bench->left, bench->path);
	EXPECT_OK(t, recover(bench, 1, lose_after, &t->err));
	EXPECT_EQ(t, machine.started, 0);
	copy(t, bench->path, bench->before);
}

/* (vfs/replay_part P1) */
static void threads_make_the_same_bytes(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		recover_alone(t, &bench, 0);
	for (uint32_t threads = 2; threads <= 4 && !t->failed; threads++) {
		copy(t, bench.left, bench.path);
		EXPECT_OK(t, recover(&bench, threads, 0, &t->err));
		/* for bases and pages of one file, and the parts of the log */
		EXPECT(t, machine.started > 2 * (threads - 1));
		expect_same_bytes(t, &bench);
	}
	machine.no_threads = true;
	copy(t, bench.left, bench.path);
	if (!t->failed)
		EXPECT_OK(t, recover(&bench, 4, 0, &t->err));
	expect_same_bytes(t, &bench);
}

static void an_error_in_a_thread_is_told_and_costs_nothing(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		recover_alone(t, &bench, 0);
	if (t->failed)
		return;
	copy(t, bench.left, bench.path);
	machine.fail_writes = true;
	EXPECT_ERR(t, recover(&bench, 2, 0, &t->err), ERR_IO,
	           "the second processor is tired");
	machine.fail_writes = false;
	EXPECT_OK(t, recover(&bench, 2, 0, &t->err));
	expect_same_bytes(t, &bench);
}

/* Flips a bit of every page from the middle of a file on; or of one byte. */
static void damage(struct test *t, const struct bench *bench, const char *name,
                   off_t from, off_t step)
{
	char path[700];
	uint8_t byte;
	off_t size;
	int file;

	snprintf(path, sizeof path, "%s/%s", bench->left, name);
	file = open(path, O_RDWR);
	EXPECT(t, file >= 0);
	size = lseek(file, 0, SEEK_END);
	for (off_t at = from; at < size; at += step ? step : size) {
		EXPECT(t, pread(file, &byte, 1, at) == 1);
		byte ^= 4;
		EXPECT(t, pwrite(file, &byte, 1, at) == 1);
	}
	close(file);
}

static void expect_same_refusal(struct test *t, struct bench *bench,
                                const char *words)
{
	char text[sizeof t->err.text];

	copy(t, bench->left, bench->path);
	EXPECT_ERR(t, recover(bench, 1, 0, &t->err), ERR_CORRUPT, words);
	memcpy(text, t->err.text, sizeof text);
	for (uint32_t threads = 2; threads <= 4; threads += 2) {
		EXPECT_ERR(t, recover(bench, threads, 0, &t->err), ERR_CORRUPT,
		           words);
		EXPECT_STR(t, t->err.text, text);
	}
	run(t, "diff -rq -x turdb.shm '%s' '%s'", bench->left, bench->path);
}

static void of_many_damaged_pages_the_first_one_is_told(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		damage(t, &bench, "root/3-many.tbd",
		       (off_t)PAGES / 3 * STORE_PAGE_SIZE + 5000, STORE_PAGE_SIZE);
	if (!t->failed)
		expect_same_refusal(t, &bench, "checksum is");
}

/* The same words, and the same bytes when the rest is given up. */
static void expect_same_loss(struct test *t, struct bench *bench)
{
	uint64_t txid;
	const char *at;

	expect_same_refusal(t, bench, "turdb_lose_after=");
	if (t->failed)
		return;
	at = strstr(t->err.text, "turdb_lose_after=");
	txid = strtoull(at + strlen("turdb_lose_after="), NULL, 10);
	EXPECT(t, txid > 100);
	recover_alone(t, bench, txid);
	for (uint32_t threads = 2; threads <= 4 && !t->failed; threads += 2) {
		copy(t, bench->left, bench->path);
		EXPECT_OK(t, recover(bench, threads, txid, &t->err));
		expect_same_bytes(t, bench);
	}
}

/* (vfs/replay_part P1, vfs/replay_part P2) */
static void a_log_with_a_damaged_record_ends_in_the_same_place(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		damage(t, &bench, "wal/wal.000004", 300000, 0);
	if (!t->failed)
		expect_same_loss(t, &bench);
}

static void a_log_without_a_segment_ends_in_the_same_place(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		run(t, "rm '%s/wal/%s'", bench.left, "wal.000004");
	if (!t->failed)
		expect_same_loss(t, &bench);
}

/* Its first record is damaged: the part that begins with it says nothing. */
static void a_part_may_have_no_record(struct test *t)
{
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		damage(t, &bench, "wal/wal.000004", 4096 + 20, 0);
	if (!t->failed)
		expect_same_loss(t, &bench);
}

static const struct test_case cases[] = {
	CASE(threads_make_the_same_bytes),
	CASE(an_error_in_a_thread_is_told_and_costs_nothing),
	CASE(of_many_damaged_pages_the_first_one_is_told),
	CASE(a_log_with_a_damaged_record_ends_in_the_same_place),
	CASE(a_log_without_a_segment_ends_in_the_same_place),
	CASE(a_part_may_have_no_record),
};

TEST_MAIN(cases)
