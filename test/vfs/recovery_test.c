/*
 * recovery_test.c - a recovery is the same with any number of threads.
 *
 * A child fills some five megabytes of log with all that a record can say and ends
 * without closing. Copies of what it left are recovered by one thread and by several,
 * on a real file system, also under the thread sanitizer: every byte has to agree, and
 * so has every refusal. The same of what a power failure may have left of the images:
 * whatever is found in its place and whatever has to be made, the database is the same.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/pager.h"
#include "vfs/page_format.h"
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
	bool fail_reads;  /* of pages                          */
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

static int read_some(struct os_file *file, uint64_t offset, void *bytes,
                     size_t size, size_t *got, struct err *err)
{
	if (machine.fail_reads && offset >= STORE_PAGE_SIZE &&
	    strstr(file->name, "root/"))
		return err_set(err, ERR_IO, "read", file->name,
		               "the disk is tired");
	return machine.real->read(file, offset, bytes, size, got, err);
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
	machine.methods.read = read_some;
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
                    size_t heap_limit, struct err *err)
{
	struct store_options options = { .create = true,
	                                 .checkpoint_mb = 1000000,
	                                 .checkpoint_s = 1000000,
	                                 .log_segment_size = 1 << 20,
	                                 .lose_after = lose_after };
	int rc;

	memset(bed, 0, sizeof *bed);
	heap_init(&bed->heap);
	atomic_store(&bed->heap.limit, heap_limit);
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

struct bench {
	char directory[256];
	char left[300];   /* what the child left                                 */
	char old[300];    /* its data files at the checkpoint,                   */
	char middle[300]; /* in the middle of the log                            */
	bool placed;      /* the log says of some pages that they are there      */
	char path[300];   /* where copies are recovered: sentences name the path */
	char before[300]; /* what one thread made of it                          */
};

/* The data files at this moment. */
static void keep(const char *path, const char *to)
{
	char command[1000];

	snprintf(command, sizeof command, "cp -r '%s/root' '%s'", path, to);
	if (system(command))
		_exit(1);
}

static void fill(struct bed *bed, const struct bench *bench, uint64_t seed)
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
	keep(bench->left, bench->old);
	for (int i = 0; i < COMMITS; i++) {
		begin(&writer);
		must(store_pager(writer.view, file_id, &writer.pager, &err),
		     &err);
		change(&writer);
		if (i % 50 == 7)
			allocate_and_free(&writer);
		if (i % 2000 == 1900 && bench->placed)
			change_many(&writer);
		if (i == COMMITS / 2)
			keep(bench->left, bench->middle);
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

static void copy(struct test *t, const char *from, const char *to)
{
	run(t, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
}

static void log_make(struct test *t, const struct bench *bench)
{
	struct bed bed;
	pid_t child;
	int status = 1;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct err err;

		machine.slow_clock = true; /* no checkpoint for dropped files */
		must(bed_open(&bed, bench->left, 0, 0, &err), &err);
		fill(&bed, bench, t->seed);
		_exit(0);
	}
	EXPECT(t, child > 0 && waitpid(child, &status, 0) == child);
	EXPECT_EQ(t, status, 0);
}

static void bench_open_as(struct test *t, struct bench *bench, bool placed)
{
	memset(&machine, 0, sizeof machine);
	machine.processors = 1;
	test_directory(t, bench->directory);
	bench->placed = placed;
	snprintf(bench->left, sizeof bench->left, "%s/left", bench->directory);
	snprintf(bench->old, sizeof bench->old, "%s/old", bench->directory);
	snprintf(bench->middle, sizeof bench->middle, "%s/middle",
	         bench->directory);
	snprintf(bench->path, sizeof bench->path, "%s/app", bench->directory);
	snprintf(bench->before, sizeof bench->before, "%s/one", bench->directory);
	log_make(t, bench);
}

static void bench_open(struct test *t, struct bench *bench)
{
	bench_open_as(t, bench, true);
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

/* What a recovery did with pages. */
struct pages {
	int64_t found, made;
};

static int note_pages(void *context, const char *name, int64_t value,
                      const char *what)
{
	struct pages *pages = context;

	(void)what;
	if (strcmp(name, "recovered_found") == 0)
		pages->found = value;
	if (strcmp(name, "recovered_made") == 0)
		pages->made = value;
	return 0;
}

/* Recovers what lies at bench->path. */
static int recover_counting(struct bench *bench, uint32_t threads,
                            uint64_t lose_after, size_t heap_limit,
                            struct pages *pages, struct err *err)
{
	struct err ignored;
	struct bed bed;
	int rc;

	machine.processors = threads;
	atomic_store(&machine.started, 0);
	rc = bed_open(&bed, bench->path, lose_after, heap_limit, err);
	if (!rc)
		rc = store_status(bed.store, note_pages, pages, err);
	if (!rc)
		rc = check_all(&bed, err);
	if (rc)
		bed_close(&bed, &ignored);
	return rc ? rc : bed_close(&bed, err);
}

static int recover(struct bench *bench, uint32_t threads, uint64_t lose_after,
                   struct err *err)
{
	struct pages ignored;

	return recover_counting(bench, threads, lose_after, 0, &ignored, err);
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
		/* for the pages of one file, and the parts of the log */
		EXPECT(t, machine.started >= 2 * (threads - 1));
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
static void damage(struct test *t, const char *directory, const char *name,
                   off_t from, off_t step)
{
	char path[700];
	uint8_t byte;
	off_t size;
	int file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
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
		damage(t, bench.left, "root/3-many.tbd",
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
		damage(t, bench.left, "wal/wal.000004", 300000, 0);
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
		damage(t, bench.left, "wal/wal.000004", 4096 + 20, 0);
	if (!t->failed)
		expect_same_loss(t, &bench);
}

/* --- images that are there, and such that are not --------------------------------------- */

enum { OLD = 1, MIDDLE = 2, LEFT = 4 };

/* What a power failure leaves: of each so many bytes those of one of these moments. */
struct remains {
	const char *name;
	unsigned moments;
	size_t unit;
	int found_min, found_max, made_min;
};

enum { FILE_MAX = 32 << 20 };

/* Missing files and what lies behind the end are zeros. */
static uint8_t *file_read(const char *directory, const char *name, size_t *size)
{
	uint8_t *bytes = calloc(1, FILE_MAX);
	char path[700];
	ssize_t got = 0;
	int file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = open(path, O_RDONLY);
	if (file >= 0)
		got = read(file, bytes, FILE_MAX);
	*size = got > 0 ? (size_t)got : 0;
	close(file);
	return bytes;
}

static void file_write(struct test *t, const char *directory, const char *name,
                       const uint8_t *bytes, size_t size)
{
	char path[700];
	int file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = open(path, O_WRONLY);
	EXPECT(t, file >= 0 && write(file, bytes, size) == (ssize_t)size);
	close(file);
}

static void mix_file(struct test *t, const struct bench *bench, const char *name,
                     const struct remains *remains)
{
	char root[320];
	size_t sizes[3];
	uint8_t *moments[3];
	uint64_t random = t->seed;

	snprintf(root, sizeof root, "%s/root", bench->left);
	moments[0] = file_read(bench->old, name, &sizes[0]);
	moments[1] = file_read(bench->middle, name, &sizes[1]);
	moments[2] = file_read(root, name, &sizes[2]);
	for (size_t at = 0; at < sizes[2]; at += remains->unit) {
		size_t left = sizes[2] - at;
		uint64_t which = test_random(&random) % 3;

		while (!(remains->moments >> which & 1))
			which = (which + 1) % 3;
		if (which != 2)
			memcpy(moments[2] + at, moments[which] + at,
			       left < remains->unit ? left : remains->unit);
	}
	snprintf(root, sizeof root, "%s/root", bench->path);
	file_write(t, root, name, moments[2], sizes[2]);
	for (int i = 0; i < 3; i++)
		free(moments[i]);
}

/* A copy of what the child left, as a power failure leaves it. */
static void mix(struct test *t, const struct bench *bench,
                const struct remains *remains)
{
	struct dirent *entry;
	char root[320];
	DIR *dir;

	copy(t, bench->left, bench->path);
	snprintf(root, sizeof root, "%s/root", bench->path);
	dir = opendir(root);
	EXPECT(t, dir != NULL);
	while (!t->failed && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			mix_file(t, bench, entry->d_name, remains);
	closedir(dir);
}

/* The superblock names the catalog by its checksum, and so each page of each file. */
static void expect_same_database(struct test *t, const struct bench *bench)
{
	run(t, "cmp '%s/turdb.meta' '%s/turdb.meta'", bench->before,
	    bench->path);
}

static void recover_remains(struct test *t, struct bench *bench,
                            const struct remains *remains, uint32_t threads,
                            size_t heap_limit)
{
	struct pages pages = { 0, 0 };

	mix(t, bench, remains);
	if (t->failed)
		return;
	EXPECT_OK(t, recover_counting(bench, threads, 0, heap_limit, &pages,
	                              &t->err));
	printf("note %s: %lld pages found, %lld made, %u threads\n", remains->name,
	       (long long)pages.found, (long long)pages.made, threads);
	EXPECT(t, pages.found >= remains->found_min &&
	          pages.found <= remains->found_max);
	EXPECT(t, pages.made >= remains->made_min);
	expect_same_database(t, bench);
}

/* (vfs/replay R1, vfs/replay_present F1, rule 3) */
static void whatever_is_left_of_images_the_database_is_the_same(struct test *t)
{
	static const struct remains all[] = {
		{ "all images", LEFT, FILE_MAX, 400, 999, 0 },
		{ "no image", OLD, FILE_MAX, 0, 0, 400 },
		{ "images of the middle", MIDDLE, FILE_MAX, 20, 300, 300 },
		{ "half of the images", OLD | LEFT, STORE_PAGE_SIZE, 200, 600, 100 },
		{ "torn images", OLD | LEFT, 512, 0, 30, 300 },
		{ "images of three moments", OLD | MIDDLE | LEFT,
		  STORE_PAGE_SIZE, 50, 600, 100 },
	};
	struct bench bench;

	bench_open_as(t, &bench, false);
	if (!t->failed)
		recover_alone(t, &bench, 0);
	for (size_t i = 0; i < sizeof all / sizeof all[0] && !t->failed; i++) {
		recover_remains(t, &bench, &all[i], 1, 0);
		if (!t->failed)
			recover_remains(t, &bench, &all[i], 4, 0);
		if (!t->failed)
			recover_remains(t, &bench, &all[i], 2, 3 << 20);
	}
}

static void images_that_cannot_be_read_are_made(struct test *t)
{
	struct pages pages = { 0, 0 };
	struct bench bench;

	bench_open(t, &bench);
	if (!t->failed)
		recover_alone(t, &bench, 0);
	copy(t, bench.left, bench.path);
	machine.fail_reads = true;
	if (!t->failed)
		EXPECT_OK(t, recover_counting(&bench, 2, 0, 0, &pages, &t->err));
	EXPECT(t, pages.found == 0 && pages.made > 100);
	expect_same_database(t, &bench);
}

/* Flips a bit of page 7 as the checkpoint has it. */
static void damage_base(struct test *t, const struct bench *bench)
{
	size_t size, at = 0;
	uint8_t *bytes = file_read(bench->old, "3-many.tbd", &size);

	while (at < size && (bytes[at + PAGE_KIND_AT] != PAGE_LEAF ||
	                     load_le32(bytes + at + PAGE_FILE_ID_AT) != 3 ||
	                     load_le32(bytes + at + PAGE_NO_AT) != 7))
		at += STORE_PAGE_SIZE;
	EXPECT(t, at < size);
	free(bytes);
	damage(t, bench->path, "root/3-many.tbd", (off_t)at + 5000, 0);
}

/* Its changes make nothing that its image does not have. But once it is needed, damage
 * to it is told, and images that were found before are what they were. (vfs/replay R3,
 * vfs/replay_present F3) */
static void of_a_page_that_is_there_the_base_may_be_damaged(struct test *t)
{
	static const struct remains older = { "images of the middle", MIDDLE,
	                                      FILE_MAX, 0, 0, 0 };
	struct pages pages = { 0, 0 };
	struct bench bench;

	bench_open_as(t, &bench, false);
	if (!t->failed)
		recover_alone(t, &bench, 0);
	copy(t, bench.left, bench.path);
	if (!t->failed)
		damage_base(t, &bench);
	if (!t->failed)
		EXPECT_OK(t, recover_counting(&bench, 2, 0, 0, &pages, &t->err));
	EXPECT(t, pages.made == 0);
	expect_same_database(t, &bench);
	mix(t, &bench, &older);
	damage_base(t, &bench);
	copy(t, bench.path, bench.before);
	EXPECT_ERR(t, recover_counting(&bench, 2, 0, 0, &pages, &t->err),
	           ERR_CORRUPT, "read page 7 of root/3-many.tbd: checksum is");
	expect_same_bytes(t, &bench);
}

static const struct test_case cases[] = {
	CASE(threads_make_the_same_bytes),
	CASE(an_error_in_a_thread_is_told_and_costs_nothing),
	CASE(of_many_damaged_pages_the_first_one_is_told),
	CASE(a_log_with_a_damaged_record_ends_in_the_same_place),
	CASE(a_log_without_a_segment_ends_in_the_same_place),
	CASE(a_part_may_have_no_record),
	CASE(whatever_is_left_of_images_the_database_is_the_same),
	CASE(images_that_cannot_be_read_are_made),
	CASE(of_a_page_that_is_there_the_base_may_be_damaged),
};

TEST_MAIN(cases)
