/*
 * os_test.c - every call of the real table, on a real directory.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/os.h"

enum { UNIT = 65536, READ_WRITE = OS_OPEN_WRITE | OS_OPEN_CREATE };

struct scratch {
	struct heap heap;
	struct os *os;
	struct os_file *dir;
	char path[256];
};

static bool scratch_open(struct test *t, struct scratch *s)
{
	heap_init(&s->heap);
	s->dir = NULL;
	test_directory(t, s->path);
	if (t->failed || os_posix_open(&s->heap, &s->os, &t->err))
		return false;
	return s->os->methods->directory_open(s->os, s->path, &s->dir,
	                                      &t->err) == ERR_NONE;
}

static void scratch_close(struct test *t, struct scratch *s)
{
	os_close(s->dir);
	os_posix_close(s->os);
	EXPECT_EQ(t, s->heap.used, 0);
}

static const char *scratch_path(const struct scratch *s, const char *name,
                                char path[512])
{
	snprintf(path, 512, "%s/%s", s->path, name);
	return path;
}

static void bytes_written_are_read_back(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	char bytes[16] = { 0 };
	uint64_t size;
	size_t got;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0644, &file, &t->err));
	EXPECT_OK(t, os_write(file, 5, "hello", 5, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, os_read(file, 0, bytes, 10, &t->err));
	EXPECT(t, memcmp(bytes, "\0\0\0\0\0hello", 10) == 0);
	EXPECT_OK(t, s.os->methods->size(file, &size, &t->err));
	EXPECT_EQ(t, size, 10);
	EXPECT_OK(t, os_read_some(file, 8, bytes, 10, &got, &t->err));
	EXPECT_EQ(t, got, 2);
	EXPECT_ERR(t, os_read(file, 8, bytes, 10, &t->err), ERR_CORRUPT,
	           "read file: it ends at 10, wanted 10 bytes from 8");
	os_close(file);
	scratch_close(t, &s);
}

static void two_hundred_spans_are_one_write(struct test *t)
{
	struct span spans[200];
	uint8_t bytes[200 * 3], back[200 * 3];
	struct scratch s;
	struct os_file *file;
	size_t total = 0;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0644, &file, &t->err));
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < 200; i++) {
		spans[i] = span_of(bytes + total, i % 4);
		total += i % 4;
	}
	EXPECT_OK(t, os_write_spans(file, 1000, spans, 200, &t->err));
	EXPECT_OK(t, os_read(file, 1000, back, total, &t->err));
	EXPECT(t, memcmp(bytes, back, total) == 0);
	os_close(file);
	scratch_close(t, &s);
}

static void opening_follows_its_flags(struct test *t)
{
	struct scratch s;
	struct os_file *file, *second;
	struct os_identity identity;
	mode_t mask = umask(077);

	EXPECT(t, scratch_open(t, &s));
	EXPECT_ERR(t, os_open(s.dir, "absent", OS_OPEN_WRITE, 0, &file,
	                      &t->err),
	           ERR_MISSING, "open absent: No such file");
	EXPECT_OK(t, os_open(s.dir, "new", READ_WRITE | OS_OPEN_EXCLUSIVE, 0664,
	                     &file, &t->err));
	EXPECT_ERR(t, os_open(s.dir, "new", READ_WRITE | OS_OPEN_EXCLUSIVE,
	                      0644, &second, &t->err),
	           ERR_EXISTS, "open new: File exists");
	EXPECT_OK(t, s.os->methods->identity(file, &identity, &t->err));
	EXPECT_EQ(t, identity.mode, 0600);
	EXPECT_EQ(t, identity.kind, OS_NODE_FILE);
	os_close(file);
	EXPECT_OK(t, os_open(s.dir, "exact", READ_WRITE | OS_OPEN_MODE_EXACT,
	                     0664, &file, &t->err));
	EXPECT_OK(t, s.os->methods->identity(file, &identity, &t->err));
	EXPECT_EQ(t, identity.mode, 0664);
	os_close(file);
	EXPECT_OK(t, os_open(s.dir, "new", OS_OPEN_READ, 0, &file, &t->err));
	EXPECT(t, os_write(file, 0, "x", 1, &t->err) != ERR_NONE);
	os_close(file);
	umask(mask);
	scratch_close(t, &s);
}

/* A symbolic link would let whoever may write to the directory aim us at any
 * file; a FIFO would hang the open. (base/os_posix_names O2) */
static void only_regular_files_are_opened(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	char path[512];

	EXPECT(t, scratch_open(t, &s));
	EXPECT_EQ(t, symlink("/etc/passwd", scratch_path(&s, "link", path)), 0);
	EXPECT_EQ(t, mkfifo(scratch_path(&s, "fifo", path), 0600), 0);
	EXPECT_EQ(t, mkdir(scratch_path(&s, "directory", path), 0700), 0);
	EXPECT_ERR(t, os_open(s.dir, "link", OS_OPEN_READ, 0, &file, &t->err),
	           ERR_CANTOPEN, "open link: it is a symbolic link");
	EXPECT_ERR(t, os_open(s.dir, "link", READ_WRITE, 0, &file, &t->err),
	           ERR_CANTOPEN, "symbolic link");
	EXPECT_ERR(t, os_open(s.dir, "fifo", OS_OPEN_READ, 0, &file, &t->err),
	           ERR_CANTOPEN, "open fifo: it is not a regular file");
	EXPECT_ERR(t, os_open(s.dir, "fifo", OS_OPEN_WRITE, 0, &file, &t->err),
	           ERR_CANTOPEN, "not a regular file");
	EXPECT_ERR(t, os_open(s.dir, "directory", OS_OPEN_READ, 0, &file,
	                      &t->err),
	           ERR_CANTOPEN, "not a regular file");
	EXPECT_ERR(t, os_open(s.dir, "directory", OS_OPEN_WRITE, 0, &file,
	                      &t->err),
	           ERR_CANTOPEN, "Is a directory");
	scratch_close(t, &s);
}

static void a_name_cannot_leave_its_directory(struct test *t)
{
	static const char *const names[] = { "/etc/passwd", "../x", "a/../../x",
		                             "a/.." };
	struct os_identity identity;
	struct scratch s;
	struct os_file *file;

	EXPECT(t, scratch_open(t, &s));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		EXPECT_ERR(t, os_open(s.dir, names[i], OS_OPEN_READ, 0, &file,
		                      &t->err),
		           ERR_INVALID, "leaves the database directory");
		EXPECT_ERR(t, s.os->methods->unlink(s.dir, names[i], &t->err),
		           ERR_INVALID, "leaves");
		EXPECT_ERR(t, s.os->methods->identify(s.os, s.dir, names[i],
		                                      &identity, &t->err),
		           ERR_INVALID, "leaves");
	}
	EXPECT_OK(t, os_open(s.dir, "..x", READ_WRITE, 0600, &file, &t->err));
	os_close(file);
	scratch_close(t, &s);
}

static void a_long_name_is_cut_at_the_front_in_errors(struct test *t)
{
	char name[200];
	struct scratch s;
	struct os_file *file;

	memset(name, 'a', sizeof name);
	memcpy(name + 195, ".tbd", 5);
	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, name, READ_WRITE, 0600, &file, &t->err));
	EXPECT_EQ(t, strlen(file->name), 127);
	EXPECT(t, strncmp(file->name, "...a", 4) == 0);
	EXPECT_STR(t, file->name + 123, ".tbd");
	os_close(file);
	scratch_close(t, &s);
}

static int count_entry(void *context, const char *entry)
{
	unsigned *count = context;

	if (strncmp(entry, "entry", 5) == 0)
		++*count;
	return *count == 150 ? 77 : 0;
}

static void a_directory_is_made_listed_and_synced(struct test *t)
{
	const struct os_methods *m;
	struct os_identity identity;
	struct scratch s;
	struct os_file *file;
	unsigned count = 0;
	char name[64];

	EXPECT(t, scratch_open(t, &s));
	m = s.os->methods;
	EXPECT_OK(t, m->directory_make(s.os, s.dir, "sub", &t->err));
	EXPECT_ERR(t, m->directory_make(s.os, s.dir, "sub", &t->err),
	           ERR_EXISTS, "make directory sub: File exists");
	for (int i = 0; i < 149; i++) {
		snprintf(name, sizeof name, "sub/entry-with-a-long-name-%d", i);
		EXPECT_OK(t, os_open(s.dir, name, READ_WRITE, 0600, &file,
		                     &t->err));
		os_close(file);
	}
	EXPECT_OK(t, m->directory_list(s.dir, "sub", count_entry, &count,
	                               &t->err));
	EXPECT_EQ(t, count, 149);
	count = 1;
	EXPECT_EQ(t, m->directory_list(s.dir, "sub", count_entry, &count,
	                               &t->err), 77);
	EXPECT_OK(t, m->directory_sync(s.dir, "sub", &t->err));
	EXPECT_OK(t, m->directory_sync(s.dir, NULL, &t->err));
	EXPECT_ERR(t, m->directory_sync(s.dir, "absent", &t->err), ERR_MISSING,
	           "sync directory absent");
	EXPECT_OK(t, m->unlink(s.dir, name, &t->err));
	EXPECT_ERR(t, m->unlink(s.dir, name, &t->err), ERR_MISSING, "unlink");
	EXPECT_OK(t, m->identify(s.os, s.dir, "sub", &identity, &t->err));
	EXPECT_EQ(t, identity.kind, OS_NODE_DIRECTORY);
	EXPECT_OK(t, m->identify(s.os, s.dir, name, &identity, &t->err));
	EXPECT_EQ(t, identity.kind, OS_NODE_MISSING);
	EXPECT_OK(t, m->identify(s.os, NULL, "/dev/null", &identity, &t->err));
	EXPECT_EQ(t, identity.kind, OS_NODE_OTHER);
	EXPECT(t, !m->is_network(s.dir));
	scratch_close(t, &s);
}

static void a_directory_that_is_none_is_refused(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	char path[512];

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err));
	os_close(file);
	EXPECT_ERR(t, s.os->methods->directory_open(
			   s.os, scratch_path(&s, "file", path), &file, &t->err),
	           ERR_CANTOPEN, "Not a directory");
	EXPECT_ERR(t, s.os->methods->directory_open(
			   s.os, scratch_path(&s, "none", path), &file, &t->err),
	           ERR_MISSING, "open directory");
	scratch_close(t, &s);
}

static void allocated_space_is_zero_and_keeps_old_bytes(struct test *t)
{
	const struct os_methods *m;
	struct scratch s;
	struct os_file *file;
	uint8_t bytes[8];
	struct stat info;
	char path[512];
	uint64_t size;

	EXPECT(t, scratch_open(t, &s));
	m = s.os->methods;
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err));
	EXPECT_OK(t, os_write(file, 0, "hello", 5, &t->err));
	EXPECT_OK(t, m->allocate(file, 0, UNIT, &t->err));
	EXPECT_OK(t, m->allocate(file, 0, 100, &t->err));
	EXPECT_OK(t, m->size(file, &size, &t->err));
	EXPECT_EQ(t, size, UNIT);
	EXPECT_EQ(t, stat(scratch_path(&s, "file", path), &info), 0);
	EXPECT(t, info.st_blocks * 512 >= UNIT);
	EXPECT_OK(t, os_read(file, 0, bytes, 8, &t->err));
	EXPECT(t, memcmp(bytes, "hello\0\0\0", 8) == 0);
	EXPECT_OK(t, m->truncate(file, 3, &t->err));
	EXPECT_OK(t, m->size(file, &size, &t->err));
	EXPECT_EQ(t, size, 3);
	os_close(file);
	scratch_close(t, &s);
}

/* A file size limit stands for a full disk: both are ERR_FULL, and only the
 * limit can be had without a disk of one's own. */
static void no_space_is_said(struct test *t)
{
	struct rlimit limit = { 2 * UNIT, RLIM_INFINITY };
	struct scratch s;
	struct os_file *file;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err));
	signal(SIGXFSZ, SIG_IGN);
	EXPECT_EQ(t, setrlimit(RLIMIT_FSIZE, &limit), 0);
	EXPECT_ERR(t, s.os->methods->allocate(file, 0, 8 * UNIT, &t->err),
	           ERR_FULL, "allocate space for file: File too large");
	EXPECT_ERR(t, os_write(file, 4 * UNIT, "x", 1, &t->err), ERR_FULL,
	           "write file: File too large");
	limit.rlim_cur = RLIM_INFINITY;
	EXPECT_EQ(t, setrlimit(RLIMIT_FSIZE, &limit), 0);
	os_close(file);
	scratch_close(t, &s);
}

/* Mounts a file system over the scratch directory in a mount namespace of the
 * child's own; false where that is not allowed. */
static bool mount_over(const struct scratch *s, const char *type,
                       const char *options)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", s->path, type, 0, options) == 0;
}

enum { CHILD_OK = 0, CHILD_NOT_ALLOWED = 77 };

/* Runs `body` in a child on a file system of this type, in s->dir. */
static void on_file_system(struct test *t, const char *type,
                           const char *options,
                           void (*body)(struct test *t, struct scratch *s))
{
	struct scratch s;
	int status;
	pid_t child;

	EXPECT(t, scratch_open(t, &s));
	fflush(NULL);
	child = fork();
	if (child == 0) {
		if (!mount_over(&s, type, options))
			_exit(CHILD_NOT_ALLOWED);
		os_close(s.dir);
		if (s.os->methods->directory_open(s.os, s.path, &s.dir,
		                                  &t->err))
			_exit(CHILD_NOT_ALLOWED);
		body(t, &s);
		if (t->failed)
			printf("note %s\n", t->why);
		fflush(NULL);
		_exit(t->failed ? 1 : CHILD_OK);
	}
	EXPECT_EQ(t, waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_NOT_ALLOWED)
		test_skip(t, "mounting %s is not allowed here", type);
	else
		EXPECT_EQ(t, status, 0);
	scratch_close(t, &s);
}

static void fill_small_disk(struct test *t, struct scratch *s)
{
	static uint8_t bytes[4 * UNIT];
	struct os_file *file;
	uint64_t size;

	EXPECT_OK(t, os_open(s->dir, "file", READ_WRITE, 0600, &file, &t->err));
	EXPECT_OK(t, s->os->methods->allocate(file, 0, 8 * UNIT, &t->err));
	EXPECT_ERR(t, s->os->methods->allocate(file, 8 * UNIT, 16 * UNIT,
	                                       &t->err),
	           ERR_FULL, "allocate space for file: No space left");
	EXPECT_OK(t, os_write(file, 0, bytes, 4 * UNIT, &t->err));
	EXPECT_OK(t, s->os->methods->size(file, &size, &t->err));
	EXPECT_EQ(t, size, 8 * UNIT);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_OK(t, os_write(file, (8 + 4 * i) * UNIT, bytes, 4 * UNIT,
		                      &t->err));
	EXPECT_ERR(t, os_write(file, 16 * UNIT, bytes, 4 * UNIT, &t->err),
	           ERR_FULL, "write file: No space left");
	os_close(file);
}

static void a_full_disk_is_err_full(struct test *t)
{
	on_file_system(t, "tmpfs", "size=1m", fill_small_disk);
}

static void allocate_without_fallocate(struct test *t, struct scratch *s)
{
	struct os_file *file;
	uint8_t bytes[8];
	uint64_t size;

	EXPECT_OK(t, os_open(s->dir, "file", READ_WRITE, 0600, &file, &t->err));
	EXPECT(t, fallocate(open(s->path, O_TMPFILE | O_RDWR, 0600), 0, 0, 1));
	EXPECT_OK(t, os_write(file, 0, "hello", 5, &t->err));
	EXPECT_OK(t, s->os->methods->allocate(file, 2, 9 * UNIT + 7, &t->err));
	EXPECT_OK(t, s->os->methods->size(file, &size, &t->err));
	EXPECT_EQ(t, size, 9 * UNIT + 9);
	EXPECT_OK(t, s->os->methods->allocate(file, 0, 5, &t->err));
	EXPECT_OK(t, os_read(file, 0, bytes, 8, &t->err));
	EXPECT(t, memcmp(bytes, "hello\0\0\0", 8) == 0);
	os_close(file);
}

static void allocation_needs_no_fallocate(struct test *t)
{
	on_file_system(t, "ramfs", NULL, allocate_without_fallocate);
}

static void too_many_open_files_are_said(struct test *t)
{
	struct rlimit limit, old;
	struct scratch s;
	struct os_file *file;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_EQ(t, getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = 3;
	EXPECT_EQ(t, setrlimit(RLIMIT_NOFILE, &limit), 0);
	EXPECT_ERR(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err),
	           ERR_CANTOPEN, "open file: this process has too many open");
	EXPECT_EQ(t, setrlimit(RLIMIT_NOFILE, &old), 0);
	scratch_close(t, &s);
}

/* (base/os_posix_names O1) */
static void descriptors_stay_clear_of_the_standard_ones(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	int saved, descriptor = -1;

	EXPECT(t, scratch_open(t, &s));
	saved = dup(0);
	close(0);
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err));
	descriptor = open("/dev/null", O_RDONLY);
	EXPECT_EQ(t, descriptor, 0);
	dup2(saved, 0);
	close(saved);
	os_close(file);
	scratch_close(t, &s);
}

static void a_map_grows_inside_its_reservation(struct test *t)
{
	const struct os_methods *m;
	struct scratch s;
	struct os_file *file;
	uint8_t *at;
	void *start;

	EXPECT(t, scratch_open(t, &s));
	m = s.os->methods;
	EXPECT_OK(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err));
	EXPECT_OK(t, m->reserve(s.os, 16 * UNIT, &start, &t->err));
	at = start;
	EXPECT_OK(t, m->allocate(file, 0, UNIT, &t->err));
	EXPECT_OK(t, m->map(file, 0, UNIT, at, false, &t->err));
	EXPECT_OK(t, os_write(file, 10, "first", 5, &t->err));
	EXPECT(t, memcmp(at + 10, "first", 5) == 0);
	EXPECT_ERR(t, m->map(file, UNIT, UNIT, at + UNIT, false, &t->err),
	           ERR_CORRUPT, "map file: it ends at 65536, wanted 65536");
	EXPECT_OK(t, os_write(file, UNIT + 10, "second", 6, &t->err));
	EXPECT_OK(t, m->map(file, UNIT, 16, at + UNIT, false, &t->err));
	EXPECT(t, memcmp(at + UNIT + 10, "second", 6) == 0);
	m->advise(s.os, at + 5, UNIT, OS_ADVICE_RANDOM);
	m->advise(s.os, at + 5, UNIT, OS_ADVICE_SEQUENTIAL);
	m->advise(s.os, at + 5, UNIT, OS_ADVICE_WILL_NEED);
	os_close(file);
	EXPECT(t, memcmp(at + 10, "first", 5) == 0);
	m->unreserve(s.os, start, 16 * UNIT);
	EXPECT(t, msync(start, UNIT, MS_ASYNC) != 0 && errno == ENOMEM);
	scratch_close(t, &s);
}

static void a_writable_map_is_the_file(struct test *t)
{
	const struct os_methods *m;
	struct scratch s;
	struct os_file *file;
	void *one, *two;
	char bytes[6];

	EXPECT(t, scratch_open(t, &s));
	m = s.os->methods;
	EXPECT_OK(t, os_open(s.dir, "shm", READ_WRITE, 0600, &file, &t->err));
	EXPECT_OK(t, m->truncate(file, UNIT, &t->err));
	EXPECT_OK(t, m->reserve(s.os, UNIT, &one, &t->err));
	EXPECT_OK(t, m->reserve(s.os, UNIT, &two, &t->err));
	EXPECT_OK(t, m->map(file, 0, UNIT, one, true, &t->err));
	EXPECT_OK(t, m->map(file, 0, UNIT, two, true, &t->err));
	memcpy(one, "shared", 6);
	EXPECT(t, memcmp(two, "shared", 6) == 0);
	EXPECT_OK(t, os_read(file, 0, bytes, 6, &t->err));
	EXPECT(t, memcmp(bytes, "shared", 6) == 0);
	m->unreserve(s.os, one, UNIT);
	m->unreserve(s.os, two, UNIT);
	os_close(file);
	scratch_close(t, &s);
}

static void a_sparse_table_costs_what_is_touched(struct test *t)
{
	size_t size = (size_t)1 << 36;
	struct scratch s;
	uint8_t *at;
	void *start;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, s.os->methods->sparse(s.os, size, &start, &t->err));
	at = start;
	at[size - 1] = 7;
	EXPECT(t, at[0] == 0 && at[size / 2] == 0 && at[size - 1] == 7);
	s.os->methods->unreserve(s.os, start, size);
	EXPECT_ERR(t, s.os->methods->reserve(s.os, SIZE_MAX / 2, &start,
	                                     &t->err),
	           ERR_NOMEM, "reserve address space");
	scratch_close(t, &s);
}

static bool lock_is_had(struct os_file *file, uint64_t offset,
                        enum os_lock_kind kind, struct err *err)
{
	bool held = false;

	return file->os->methods->lock(file, offset, kind, &held, err) ==
	       ERR_NONE && held;
}

static bool lock_is_seen(struct os_file *file, uint64_t offset)
{
	bool held = false;

	file->os->methods->lock_probe(file, offset, &held, NULL);
	return held;
}

/* Ordinary POSIX locks would not conflict within one process, and would all be
 * gone after the first close. */
static void locks_belong_to_the_open_file(struct test *t)
{
	struct scratch s;
	struct os_file *one, *two, *three;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "meta", READ_WRITE, 0600, &one, &t->err));
	EXPECT_OK(t, os_open(s.dir, "meta", READ_WRITE, 0600, &two, &t->err));
	EXPECT_OK(t, os_open(s.dir, "meta", READ_WRITE, 0600, &three, &t->err));
	EXPECT(t, lock_is_had(one, 100, OS_LOCK_EXCLUSIVE, &t->err));
	EXPECT(t, !lock_is_had(two, 100, OS_LOCK_SHARED, &t->err));
	EXPECT(t, lock_is_had(two, 101, OS_LOCK_EXCLUSIVE, &t->err));
	EXPECT(t, lock_is_seen(two, 100) && !lock_is_seen(one, 100));
	os_close(three);
	EXPECT(t, !lock_is_had(two, 100, OS_LOCK_SHARED, &t->err));
	EXPECT(t, lock_is_had(one, 100, OS_LOCK_SHARED, &t->err));
	EXPECT(t, lock_is_had(two, 100, OS_LOCK_SHARED, &t->err));
	EXPECT(t, !lock_is_had(one, 100, OS_LOCK_EXCLUSIVE, &t->err));
	EXPECT(t, lock_is_had(one, 100, OS_LOCK_NONE, &t->err));
	EXPECT(t, lock_is_had(two, 100, OS_LOCK_EXCLUSIVE, &t->err));
	os_close(two);
	EXPECT(t, !lock_is_seen(one, 100) && !lock_is_seen(one, 101));
	os_close(one);
	scratch_close(t, &s);
}

static void a_lock_ends_with_its_process(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	int ready[2], status;
	char byte;
	pid_t child;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "meta", READ_WRITE, 0600, &file, &t->err));
	EXPECT_EQ(t, pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct os *os;
		struct os_file *dir, *own;

		if (os_posix_open(&s.heap, &os, NULL) ||
		    os->methods->directory_open(os, s.path, &dir, NULL) ||
		    os_open(dir, "meta", READ_WRITE, 0600, &own, NULL) ||
		    !lock_is_had(own, 0, OS_LOCK_EXCLUSIVE, NULL))
			_exit(1);
		(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	EXPECT_EQ(t, read(ready[0], &byte, 1), 1);
	EXPECT(t, lock_is_seen(file, 0));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	EXPECT(t, WIFSIGNALED(status));
	EXPECT(t, !lock_is_seen(file, 0));
	EXPECT(t, lock_is_had(file, 0, OS_LOCK_EXCLUSIVE, &t->err));
	close(ready[0]);
	close(ready[1]);
	os_close(file);
	scratch_close(t, &s);
}

/* The word is mapped twice, so that only a wait on the file's page itself, not
 * on an address, can be woken. */
static void a_wake_reaches_another_process(struct test *t)
{
	_Atomic uint32_t *word, *other;
	struct scratch s;
	struct os_file *file;
	void *one, *two;
	int status;
	pid_t child;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_OK(t, os_open(s.dir, "shm", READ_WRITE, 0600, &file, &t->err));
	EXPECT_OK(t, s.os->methods->truncate(file, UNIT, &t->err));
	EXPECT_OK(t, s.os->methods->reserve(s.os, UNIT, &one, &t->err));
	EXPECT_OK(t, s.os->methods->reserve(s.os, UNIT, &two, &t->err));
	EXPECT_OK(t, s.os->methods->map(file, 0, UNIT, one, true, &t->err));
	EXPECT_OK(t, s.os->methods->map(file, 0, UNIT, two, true, &t->err));
	word = one;
	other = two;
	child = fork();
	if (child == 0) {
		atomic_store(other + 1, 1);
		while (atomic_load(other) == 0)
			s.os->methods->wait(s.os, other, 0, 20000000);
		_exit(7);
	}
	while (atomic_load(word + 1) == 0)
		s.os->methods->sleep_us(s.os, 100);
	s.os->methods->sleep_us(s.os, 20000);
	EXPECT_EQ(t, waitpid(child, &status, WNOHANG), 0);
	atomic_store(word, 1);
	s.os->methods->wake(s.os, word, UINT32_MAX);
	EXPECT_EQ(t, waitpid(child, &status, 0), child);
	EXPECT_EQ(t, WEXITSTATUS(status), 7);
	s.os->methods->unreserve(s.os, one, UNIT);
	s.os->methods->unreserve(s.os, two, UNIT);
	os_close(file);
	scratch_close(t, &s);
}

static void a_wait_ends_by_change_or_timeout(struct test *t)
{
	_Atomic uint32_t word = 5;
	struct scratch s;
	uint64_t before;

	EXPECT(t, scratch_open(t, &s));
	s.os->methods->wait(s.os, &word, 4, UINT64_MAX);
	before = s.os->methods->monotonic_us(s.os);
	s.os->methods->wait(s.os, &word, 5, 20000);
	EXPECT(t, s.os->methods->monotonic_us(s.os) - before >= 19000);
	scratch_close(t, &s);
}

static void time_and_randomness_are_there(struct test *t)
{
	uint8_t one[300], two[300];
	struct scratch s;
	uint64_t before;

	EXPECT(t, scratch_open(t, &s));
	before = s.os->methods->monotonic_us(s.os);
	s.os->methods->sleep_us(s.os, 2000);
	EXPECT(t, s.os->methods->monotonic_us(s.os) - before >= 2000);
	EXPECT(t, s.os->methods->wall_ms(s.os) > UINT64_C(1700000000000));
	s.os->methods->random(s.os, one, sizeof one);
	s.os->methods->random(s.os, two, sizeof two);
	EXPECT(t, memcmp(one, two, sizeof one) != 0);
	EXPECT_EQ(t, s.os->methods->process_id(s.os), getpid());
	scratch_close(t, &s);
}

static void a_forked_child_sees_the_canary_gone(struct test *t)
{
	const volatile uint8_t *canary;
	struct scratch s;
	int status;
	pid_t child;

	EXPECT(t, scratch_open(t, &s));
	canary = s.os->methods->fork_canary(s.os);
	if (!canary) {
		test_skip(t, "this kernel has no MADV_WIPEONFORK");
		return;
	}
	EXPECT_EQ(t, *canary, 1);
	child = fork();
	if (child == 0)
		_exit(*canary);
	EXPECT_EQ(t, waitpid(child, &status, 0), child);
	EXPECT_EQ(t, WEXITSTATUS(status), 0);
	EXPECT_EQ(t, *canary, 1);
	scratch_close(t, &s);
}

static void a_read_only_directory_says_so(struct test *t)
{
	struct scratch s;
	struct os_file *file;
	bool was_root = geteuid() == 0;

	EXPECT(t, scratch_open(t, &s));
	EXPECT_EQ(t, chmod(s.path, 0555), 0);
	if (was_root)
		EXPECT_EQ(t, seteuid(65534), 0);
	EXPECT_ERR(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err),
	           ERR_READONLY, "open file: Permission denied");
	EXPECT_ERR(t, s.os->methods->directory_make(s.os, s.dir, "sub",
	                                            &t->err),
	           ERR_READONLY, "make directory sub: Permission denied");
	if (was_root)
		EXPECT_EQ(t, seteuid(0), 0);
	EXPECT_EQ(t, chmod(s.path, 0755), 0);
	scratch_close(t, &s);
}

static void running_out_of_memory_leaves_nothing_open(struct test *t)
{
	struct scratch s;
	struct os_file *file;

	EXPECT(t, scratch_open(t, &s));
	s.heap.fail_in = 1;
	EXPECT_ERR(t, os_open(s.dir, "file", READ_WRITE, 0600, &file, &t->err),
	           ERR_NOMEM, "open file: out of memory");
	scratch_close(t, &s);
}

static const struct test_case cases[] = {
	CASE(bytes_written_are_read_back),
	CASE(two_hundred_spans_are_one_write),
	CASE(opening_follows_its_flags),
	CASE(only_regular_files_are_opened),
	CASE(a_name_cannot_leave_its_directory),
	CASE(a_long_name_is_cut_at_the_front_in_errors),
	CASE(a_directory_is_made_listed_and_synced),
	CASE(a_directory_that_is_none_is_refused),
	CASE(allocated_space_is_zero_and_keeps_old_bytes),
	CASE(no_space_is_said),
	CASE(a_full_disk_is_err_full),
	CASE(allocation_needs_no_fallocate),
	CASE(too_many_open_files_are_said),
	CASE(descriptors_stay_clear_of_the_standard_ones),
	CASE(a_map_grows_inside_its_reservation),
	CASE(a_writable_map_is_the_file),
	CASE(a_sparse_table_costs_what_is_touched),
	CASE(locks_belong_to_the_open_file),
	CASE(a_lock_ends_with_its_process),
	CASE(a_wake_reaches_another_process),
	CASE(a_wait_ends_by_change_or_timeout),
	CASE(time_and_randomness_are_there),
	CASE(a_forked_child_sees_the_canary_gone),
	CASE(a_read_only_directory_says_so),
	CASE(running_out_of_memory_leaves_nothing_open),
};
TEST_MAIN(cases)
