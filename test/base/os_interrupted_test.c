/*
 * os_interrupted_test.c - signals interrupt every system call, and reads and writes
 * come back with less than was asked for; nobody above notices.
 *
 * The calls of the C library that os_posix*.c make are defined here once more. Every
 * second time they are interrupted at once; otherwise they do a part of their work.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/os.h"
#include "test/support/real_store.h"
#include "vfs/store.h"

/* Switched on by the cases; one thread uses it. */
static struct {
	bool on;
	uint64_t calls, interrupted, shortened;
} weather;

static bool interrupts(void)
{
	if (!weather.on || weather.calls++ % 2)
		return false;
	weather.interrupted++;
	errno = EINTR;
	return true;
}

static size_t some_of(size_t size)
{
	if (!weather.on || size < 2)
		return size;
	weather.shortened++;
	return (size + 2) / 3;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread64(int file, void *bytes, size_t size, off64_t offset)
{
	return interrupts() ? -1 : REAL(pread64)(file, bytes, some_of(size),
	                                         offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset)
{
	return interrupts() ? -1 : REAL(pwrite64)(file, bytes, some_of(size),
	                                          offset);
}

/* The first vector, and not all of that. */
ssize_t pwritev64(int file, const struct iovec *vectors, int count,
                  off64_t offset)
{
	struct iovec one = vectors[0];

	if (interrupts())
		return -1;
	if (!weather.on)
		return REAL(pwritev64)(file, vectors, count, offset);
	one.iov_len = some_of(one.iov_len);
	return REAL(pwritev64)(file, &one, 1, offset);
}

int ftruncate64(int file, off64_t size)
{
	return interrupts() ? -1 : REAL(ftruncate64)(file, size);
}

int fallocate64(int file, int mode, off64_t offset, off64_t size)
{
	return interrupts() ? -1 : REAL(fallocate64)(file, mode, offset, size);
}

int fdatasync(int file)
{
	return interrupts() ? -1 : REAL(fdatasync)(file);
}

int fsync(int file)
{
	return interrupts() ? -1 : REAL(fsync)(file);
}

int openat64(int directory, const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return interrupts() ? -1 : REAL(openat64)(directory, path, flags, mode);
}

int fcntl64(int file, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (command == F_OFD_SETLK && interrupts())
		return -1;
	return REAL(fcntl64)(file, command, argument);
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	if (interrupts()) {
		*left = *wanted;
		return -1;
	}
	return REAL(nanosleep)(wanted, left);
}

/* --- cases --------------------------------------------------------------------------- */

static void every_call_goes_on_after_a_signal(struct test *t)
{
	static uint8_t bytes[100000], back[100000];
	struct span spans[3] = { span_of(bytes, 50000), span_of(bytes, 0),
	                         span_of(bytes + 50000, 50000) };
	struct os_file *dir, *file;
	char directory[256];
	struct heap heap;
	struct os *os;
	uint64_t size;
	bool held;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	heap_init(&heap);
	test_directory(t, directory);
	EXPECT_OK(t, os_posix_open(&heap, &os, &t->err));
	weather.on = true;
	EXPECT_OK(t, os->methods->directory_open(os, directory, &dir, &t->err));
	EXPECT_OK(t, os_open(dir, "file", OS_OPEN_WRITE | OS_OPEN_CREATE, 0600,
	                     &file, &t->err));
	EXPECT_OK(t, os_write_spans(file, 10, spans, 3, &t->err));
	EXPECT_OK(t, os_read(file, 10, back, sizeof back, &t->err));
	EXPECT(t, memcmp(bytes, back, sizeof back) == 0);
	EXPECT_OK(t, os_write(file, 5, bytes, 1000, &t->err));
	EXPECT_OK(t, os_read(file, 5, back, 1000, &t->err));
	EXPECT(t, memcmp(bytes, back, 1000) == 0);
	EXPECT_OK(t, os->methods->allocate(file, 0, 1 << 20, &t->err));
	EXPECT_OK(t, os->methods->truncate(file, 4096, &t->err));
	EXPECT_OK(t, os->methods->size(file, &size, &t->err));
	EXPECT_EQ(t, size, 4096);
	EXPECT_OK(t, os->methods->lock(file, 3, OS_LOCK_EXCLUSIVE, &held,
	                               &t->err));
	EXPECT(t, held);
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, os->methods->directory_sync(dir, NULL, &t->err));
	os->methods->sleep_us(os, 10);
	weather.on = false;
	os_close(file);
	os_close(dir);
	os_posix_close(os);
	EXPECT_EQ(t, heap.used, 0);
	EXPECT(t, weather.interrupted > 15 && weather.shortened > 10);
}

static int open_store(struct opened *o, const char *path, struct err *err)
{
	struct store_options options = { .create = true, .checkpoint_mb = 1,
	                                 .log_segment_size = 65536 };

	return real_store_open(o, path, &options, err);
}

/* Each commit fills a page with its number. */
static int commit(struct opened *o, uint32_t file_id, uint8_t number,
                  struct err *err)
{
	struct pager *pager;
	uint32_t page_no;
	uint8_t *page;
	int rc = store_view_write(o->view, 0, err);

	if (!rc)
		rc = store_pager(o->view, file_id, &pager, err);
	if (!rc)
		rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page, err);
	if (!rc) {
		memset(page, number, 10000);
		rc = page_no == number ? store_view_operation_end(o->view, err)
		   : err_set(err, ERR_CORRUPT, "allocate", "page",
		             "%u instead of %u", page_no, number);
	}
	if (!rc)
		rc = store_view_commit(o->view, number % 2
			? STORE_DURABLE_NOW : STORE_DURABLE_LATER, err);
	store_view_end(o->view);
	return rc;
}

static int check(struct opened *o, uint32_t file_id, uint8_t count,
                 struct err *err)
{
	struct pager *pager;
	const uint8_t *page;
	int rc = store_view_begin(o->view, err);

	if (!rc)
		rc = store_pager(o->view, file_id, &pager, err);
	for (uint8_t i = 1; !rc && i <= count; i++) {
		rc = pager_read(pager, i, &page, err);
		if (!rc && (page[0] != i || page[9999] != i))
			rc = err_set(err, ERR_CORRUPT, "read", "page",
			             "%u holds %u", i, page[0]);
	}
	if (!rc)
		rc = store_check(o->view, 1, NULL, NULL, err);
	store_view_end(o->view);
	return rc;
}

static void a_database_lives_through_a_storm_of_signals(struct test *t)
{
	char directory[256], path[300];
	struct opened o;
	uint32_t file_id;

	test_directory(t, directory);
	snprintf(path, sizeof path, "%s/app", directory);
	weather.interrupted = 0;
	weather.on = true;
	EXPECT_OK(t, open_store(&o, path, &t->err));
	EXPECT_OK(t, store_view_write(o.view, 0, &t->err));
	EXPECT_OK(t, store_file_create(o.view, STORE_FILE_TABLE, "n", 16384,
	                               &file_id, &t->err));
	EXPECT_OK(t, store_view_commit(o.view, STORE_DURABLE_NOW, &t->err));
	store_view_end(o.view);
	for (uint8_t i = 1; i <= 100; i++) {
		EXPECT_OK(t, commit(&o, file_id, i, &t->err));
		if (i % 30 == 0) {
			EXPECT_OK(t, real_store_close(&o, &t->err));
			EXPECT_OK(t, open_store(&o, path, &t->err));
		}
	}
	EXPECT_OK(t, check(&o, file_id, 100, &t->err));
	EXPECT_OK(t, real_store_close(&o, &t->err));
	weather.on = false;
	EXPECT_OK(t, open_store(&o, path, &t->err));
	EXPECT_OK(t, check(&o, file_id, 100, &t->err));
	EXPECT_OK(t, real_store_close(&o, &t->err));
	printf("note %llu calls interrupted, %llu cut short\n",
	       (unsigned long long)weather.interrupted,
	       (unsigned long long)weather.shortened);
	EXPECT(t, weather.interrupted > 300);
}

static const struct test_case cases[] = {
	CASE(every_call_goes_on_after_a_signal),
	CASE(a_database_lives_through_a_storm_of_signals),
};
TEST_MAIN(cases)
