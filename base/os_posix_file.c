/*
 * os_posix_file.c - an open file: bytes in and out, its space, maps and locks.
 *
 * Interrupted calls are repeated, short ones continued. Locks are open-file-description
 * locks: POSIX locks would vanish when any descriptor of the same file closes in this
 * process.
 */
#include "base/os_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { SPANS_AT_ONCE = 64, ZEROS_SIZE = 4096 };

static const uint8_t zeros[ZEROS_SIZE];

/* --- reading and writing ----------------------------------------------------------- */

int os_posix_read(struct os_file *file, uint64_t offset, void *bytes,
                  size_t size, size_t *got, struct err *err)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(descriptor_of(file), (uint8_t *)bytes + done,
		                  size - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return os_posix_fail(err, "read", file->name);
		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	if (got)
		*got = done;
	else if (done < size)
		return err_set(err, ERR_CORRUPT, "read", file->name,
		               "it ends at %llu, wanted %zu bytes from %llu",
		               (unsigned long long)(offset + done), size,
		               (unsigned long long)offset);
	return ERR_NONE;
}

/* One vector goes the shorter way through the kernel: 40 ns of 900. */
static ssize_t write_some(int descriptor, const struct iovec *vectors,
                          int count, off_t offset)
{
	if (count == 1)
		return pwrite(descriptor, vectors->iov_base, vectors->iov_len,
		              offset);
	return pwritev(descriptor, vectors, count, offset);
}

/* Takes `done` bytes off the front; returns how many vectors are left. */
static int skip_written(struct iovec **vectors, int count, size_t done)
{
	while (count && done >= (*vectors)->iov_len) {
		done -= (*vectors)->iov_len;
		(*vectors)++;
		count--;
	}
	if (count) {
		(*vectors)->iov_base = (uint8_t *)(*vectors)->iov_base + done;
		(*vectors)->iov_len -= done;
	}
	return count;
}

static int write_vectors(struct os_file *file, uint64_t offset,
                         struct iovec *vectors, int count, struct err *err)
{
	count = skip_written(&vectors, count, 0);
	while (count) {
		ssize_t n = write_some(descriptor_of(file), vectors, count,
		                       (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return os_posix_fail(err, "write", file->name);
		offset += (uint64_t)n;
		count = skip_written(&vectors, count, (size_t)n);
	}
	return ERR_NONE;
}

int os_posix_write(struct os_file *file, uint64_t offset,
                   const struct span *spans, size_t span_count, struct err *err)
{
	struct iovec vectors[SPANS_AT_ONCE];
	int rc = ERR_NONE;

	while (span_count && !rc) {
		uint64_t start = offset;
		int count = 0;

		while (span_count && count < SPANS_AT_ONCE) {
			vectors[count].iov_base = (void *)(uintptr_t)spans->data;
			vectors[count++].iov_len = spans->size;
			offset += spans->size;
			spans++;
			span_count--;
		}
		rc = write_vectors(file, start, vectors, count, err);
	}
	return rc;
}

int os_posix_sync(struct os_file *file, struct err *err)
{
	if (os_posix_sync_repeat(fdatasync, descriptor_of(file)))
		return os_posix_fail_as(err, ERR_IO, "sync", file->name, errno);
	return ERR_NONE;
}

/* Waiting takes the descriptor's note of a failed write, as a sync would. */
int os_posix_write_back(struct os_file *file, uint64_t offset, uint64_t size,
                        struct err *err)
{
	if (sync_file_range(descriptor_of(file), (off64_t)offset, (off64_t)size,
	                    SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) &&
	    (errno == EIO || errno == ENOSPC || errno == EDQUOT))
		return os_posix_fail_as(err, ERR_IO, "sync", file->name, errno);
	return ERR_NONE;
}

void os_posix_write_back_begin(struct os_file *file, uint64_t offset,
                               uint64_t size)
{
	sync_file_range(descriptor_of(file), (off64_t)offset, (off64_t)size,
	                SYNC_FILE_RANGE_WRITE);
}

/* cachestat(2), Linux 6.5: older headers do not know it. */
bool os_posix_write_back_watch(struct os_file *file, uint64_t offset,
                               uint64_t size, uint64_t most_us)
{
	enum { CALL_NUMBER = 451, WRITEBACK = 2 };
	const uint64_t range[2] = { offset, size };
	uint64_t pages[5], end = os_posix_monotonic_us(file->os) + most_us;

	do {
		if (syscall(CALL_NUMBER, descriptor_of(file), range, pages, 0))
			return false;
		if (pages[WRITEBACK] == 0)
			return true;
	} while (os_posix_monotonic_us(file->os) < end);
	return false;
}

/* --- space ------------------------------------------------------------------------- */

int os_posix_size(struct os_file *file, uint64_t *bytes, struct err *err)
{
	struct stat info;

	if (fstat(descriptor_of(file), &info))
		return os_posix_fail(err, "read the size of", file->name);
	*bytes = (uint64_t)info.st_size;
	return ERR_NONE;
}

int os_posix_truncate(struct os_file *file, uint64_t bytes, struct err *err)
{
	int rc;

	do
		rc = ftruncate(descriptor_of(file), (off_t)bytes);
	while (rc && errno == EINTR);
	return rc ? os_posix_fail(err, "truncate", file->name) : ERR_NONE;
}

static int write_zeros(struct os_file *file, uint64_t from, uint64_t to,
                       struct err *err)
{
	int rc = ERR_NONE;

	while (from < to && !rc) {
		struct span spans[SPANS_AT_ONCE];
		uint64_t start = from;
		size_t count = 0;

		while (from < to && count < SPANS_AT_ONCE) {
			size_t size = to - from < ZEROS_SIZE ?
				(size_t)(to - from) : ZEROS_SIZE;

			spans[count++] = span_of(zeros, size);
			from += size;
		}
		rc = os_posix_write(file, start, spans, count, err);
	}
	return rc;
}

/* For file systems without fallocate: what lies before the end of the file
 * was written once, for our files have no holes; the rest is written now. */
static int allocate_by_writing(struct os_file *file, uint64_t offset,
                               uint64_t size, struct err *err)
{
	uint64_t end = 0;
	int rc = os_posix_size(file, &end, err);

	if (rc || end >= offset + size)
		return rc;
	return write_zeros(file, end, offset + size, err);
}

int os_posix_allocate(struct os_file *file, uint64_t offset, uint64_t size,
                      struct err *err)
{
	int rc;

	do
		rc = fallocate(descriptor_of(file), 0, (off_t)offset,
		               (off_t)size);
	while (rc && errno == EINTR);
	if (rc && (errno == EOPNOTSUPP || errno == ENOSYS))
		return allocate_by_writing(file, offset, size, err);
	return rc ? os_posix_fail(err, "allocate space for", file->name) : ERR_NONE;
}

/* A file without holes is as good, only larger. */
int os_posix_punch(struct os_file *file, uint64_t offset, uint64_t size,
                   struct err *err)
{
	int rc;

	do
		rc = fallocate(descriptor_of(file),
		               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		               (off_t)offset, (off_t)size);
	while (rc && errno == EINTR);
	if (rc && (errno == EOPNOTSUPP || errno == ENOSYS))
		return ERR_NONE;
	return rc ? os_posix_fail(err, "give back space of", file->name) : ERR_NONE;
}

/* --- maps -------------------------------------------------------------------------- */

static int map_anonymous(size_t size, int protection, const char *operation,
                         void **at, struct err *err)
{
	void *start = mmap(NULL, size, protection,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED) {
		char what[60];

		snprintf(what, sizeof what, "of %zu MB (ulimit -v allows?)",
		         size >> 20);
		return os_posix_fail(err, operation, what);
	}
	*at = start;
	return ERR_NONE;
}

int os_posix_reserve(struct os *os, size_t size, void **at, struct err *err)
{
	(void)os;
	return map_anonymous(size, PROT_NONE, "reserve address space", at, err);
}

int os_posix_sparse(struct os *os, size_t size, void **at, struct err *err)
{
	(void)os;
	return map_anonymous(size, PROT_READ | PROT_WRITE,
	                     "reserve a sparse table", at, err);
}

int os_posix_map(struct os_file *file, uint64_t offset, size_t size, void *at,
                 bool writable, struct err *err)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);
	uint64_t end = 0;
	int number, rc;

	rc = os_posix_size(file, &end, err);
	if (rc)
		return rc;
	if (size > end || offset > end - size)
		return err_set(err, ERR_CORRUPT, "map", file->name,
		               "it ends at %llu, wanted %zu bytes from %llu",
		               (unsigned long long)end, size,
		               (unsigned long long)offset);
	if (mmap(at, size, protection, MAP_SHARED | MAP_FIXED,
	         descriptor_of(file), (off_t)offset) != MAP_FAILED)
		return ERR_NONE;
	number = errno;
	/* The failed call may have torn a hole into the reservation. */
	mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
	     MAP_FIXED_NOREPLACE, -1, 0);
	errno = number;
	return os_posix_fail(err, "map", file->name);
}

void os_posix_unreserve(struct os *os, void *at, size_t size)
{
	(void)os;
	if (at)
		munmap(at, size);
}

/* Where the kernel cannot say (before Linux 5.14), and to learn why not: the bytes
 * are read. */
int os_posix_fault_in(struct os_file *file, uint64_t offset, void *at,
                      size_t size, struct err *err)
{
	uint8_t bytes[8192];
	int rc = ERR_NONE;

#ifdef MADV_POPULATE_READ
	uintptr_t start = (uintptr_t)at &
	                  ~(posix_of(file->os)->page_size - 1);

	if (madvise((void *)start, size + ((uintptr_t)at - start),
	            MADV_POPULATE_READ) == 0)
		return ERR_NONE;
#else
	(void)at;
#endif
	while (size && !rc) {
		size_t part = size < sizeof bytes ? size : sizeof bytes;

		rc = os_posix_read(file, offset, bytes, part, NULL, err);
		offset += part;
		size -= part;
	}
	return rc;
}

void os_posix_advise(struct os *os, const void *at, size_t size,
                     enum os_advice advice)
{
	static const int advices[] = {
		[OS_ADVICE_RANDOM] = MADV_RANDOM,
		[OS_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL,
		[OS_ADVICE_WILL_NEED] = MADV_WILLNEED,
	};
	uintptr_t start = (uintptr_t)at & ~(posix_of(os)->page_size - 1);

	madvise((void *)start, size + ((uintptr_t)at - start), advices[advice]);
}

/* --- locks ------------------------------------------------------------------------- */

int os_posix_lock(struct os_file *file, uint64_t offset, enum os_lock_kind kind,
                  bool *held, struct err *err)
{
	static const short types[] = {
		[OS_LOCK_NONE] = F_UNLCK,
		[OS_LOCK_SHARED] = F_RDLCK,
		[OS_LOCK_EXCLUSIVE] = F_WRLCK,
	};
	struct flock range = { .l_type = types[kind], .l_whence = SEEK_SET,
		               .l_start = (off_t)offset, .l_len = 1 };
	int rc;

	do
		rc = fcntl(descriptor_of(file), F_OFD_SETLK, &range);
	while (rc && errno == EINTR);
	if (rc && errno != EAGAIN && errno != EACCES)
		return os_posix_fail_as(err, ERR_IO, "lock", file->name, errno);
	*held = rc == 0;
	return ERR_NONE;
}

int os_posix_lock_probe(struct os_file *file, uint64_t offset, bool *held,
                        struct err *err)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		               .l_start = (off_t)offset, .l_len = 1 };

	if (fcntl(descriptor_of(file), F_OFD_GETLK, &range))
		return os_posix_fail_as(err, ERR_IO, "probe a lock of", file->name,
		                        errno);
	*held = range.l_type != F_UNLCK;
	return ERR_NONE;
}
