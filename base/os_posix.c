/*
 * os_posix.c - the table of operating-system calls on Linux.
 *
 * Purpose       Everything the library asks of the kernel, in one file.
 * Structures    A posix_os holds what its methods need to know about the
 *               process: the heap for open files, the page size, the canary
 *               page. A posix_file is a descriptor and a name for errors.
 * Names         Opened relative to a directory's descriptor, so that the
 *               database stays itself when its directory is renamed; the last
 *               part is never followed through a symbolic link. O_NONBLOCK
 *               lets the open of a FIFO return, so that it can be refused.
 * Calls         Interrupted calls are repeated, short ones continued.
 * Locks         Open-file-description locks: POSIX locks would vanish when
 *               any descriptor of the same file closes in this process.
 * Networks      Refused are NFS, SMB/CIFS, AFS, Coda, NCP, Ceph, Lustre, GPFS,
 *               BeeGFS, PanFS, GFS2, OCFS2, OrangeFS, 9P (another machine or
 *               the host writes behind it) and the shared folders of
 *               VirtualBox and Parallels. What hides behind FUSE (sshfs,
 *               GlusterFS) shows one number for all and cannot be told.
 * Safety        (O1) Every descriptor is close-on-exec and at least 3, so that
 *               a stray write to stdout never lands in a database. (O2) Every
 *               open file is a regular file.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include "base/os.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/heap.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum {
	DESCRIPTOR_FIRST = 3,
	SPANS_AT_ONCE = 64,
	LIST_BUFFER_SIZE = 4096,
	ZEROS_SIZE = 4096,
	THREAD_STACK_SIZE = 512 << 10,
};

struct posix_os {
	struct os os;
	struct heap *heap;
	size_t page_size;
	uint8_t *canary; /* one page that a fork wipes, or NULL */
};

struct posix_file {
	struct os_file file;
	int descriptor;
};

static const uint8_t zeros[ZEROS_SIZE];

static struct posix_os *posix_of(struct os *os)
{
	return (struct posix_os *)os;
}

static int descriptor_of(const struct os_file *file)
{
	return ((const struct posix_file *)file)->descriptor;
}

/* Errors */

static int code_of(int number)
{
	switch (number) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_FULL;
	case EROFS:
	case EACCES:
	case EPERM:
		return ERR_READONLY;
	case ENOENT:
		return ERR_MISSING;
	case EEXIST:
		return ERR_EXISTS;
	case ENOMEM:
		return ERR_NOMEM;
	case EMFILE:
	case ENFILE:
	case ELOOP:
	case EISDIR:
	case ENOTDIR:
	case ENXIO:
	case ENAMETOOLONG:
		return ERR_CANTOPEN;
	default:
		return ERR_IO;
	}
}

static int fail_as(struct err *err, int code, const char *operation,
                   const char *resource, int number)
{
	char reason[128];

	switch (number) {
	case EMFILE:
		return err_set(err, code, operation, resource,
		               "this process has too many open files "
		               "(ulimit -n)");
	case ENFILE:
		return err_set(err, code, operation, resource,
		               "the machine has too many open files "
		               "(fs.file-max)");
	case ELOOP:
		return err_set(err, code, operation, resource,
		               "it is a symbolic link");
	}
	errno = number;
	snprintf(reason, sizeof reason, "%m");
	return err_set(err, code, operation, resource, "%s", reason);
}

static int fail(struct err *err, const char *operation, const char *resource)
{
	int number = errno;

	return fail_as(err, code_of(number), operation, resource, number);
}

/* Opening for reading fails for want of permission, not of writability. */
static int fail_open(struct err *err, const char *operation,
                     const char *resource, bool writing)
{
	int number = errno;
	int code = code_of(number);

	if (code == ERR_READONLY && !writing)
		code = ERR_CANTOPEN;
	return fail_as(err, code, operation, resource, number);
}

/* Descriptors and names */

static bool leaves_directory(const char *name)
{
	if (name[0] == '/')
		return true;
	for (const char *part = name; part; part = strchr(part, '/')) {
		part += *part == '/';
		if (part[0] == '.' && part[1] == '.' &&
		    (part[2] == 0 || part[2] == '/'))
			return true;
	}
	return false;
}

static int check_name(const char *operation, const char *name, struct err *err)
{
	if (leaves_directory(name))
		return err_set(err, ERR_INVALID, operation, name,
		               "the name leaves the database directory");
	return ERR_NONE;
}

/* Keeps (O1); -1 with errno on failure. */
static int open_descriptor(int at, const char *name, int flags, mode_t mode)
{
	int descriptor, higher, number;

	do
		descriptor = openat(at, name, flags | O_CLOEXEC, mode);
	while (descriptor < 0 && errno == EINTR);
	if (descriptor < 0 || descriptor >= DESCRIPTOR_FIRST)
		return descriptor;
	higher = fcntl(descriptor, F_DUPFD_CLOEXEC, DESCRIPTOR_FIRST);
	number = errno;
	close(descriptor);
	errno = number;
	return higher;
}

static void copy_name(char to[128], const char *name)
{
	size_t size = strlen(name);

	if (size < 128)
		memcpy(to, name, size + 1);
	else
		snprintf(to, 128, "...%s", name + size - 124);
}

static int make_file(struct os *os, int descriptor, const char *name,
                     struct os_file **file, struct err *err)
{
	struct posix_file *made =
		heap_allocate(posix_of(os)->heap, sizeof *made);

	if (!made)
		return err_set(err, ERR_NOMEM, "open", name, "out of memory");
	made->file.os = os;
	copy_name(made->file.name, name);
	made->descriptor = descriptor;
	*file = &made->file;
	return ERR_NONE;
}

static void posix_close(struct os_file *file)
{
	struct heap *heap = posix_of(file->os)->heap;

	close(descriptor_of(file));
	heap_free(heap, file);
}

static enum os_node_kind kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return OS_NODE_FILE;
	return S_ISDIR(mode) ? OS_NODE_DIRECTORY : OS_NODE_OTHER;
}

static void fill_identity(const struct stat *info,
                          struct os_identity *identity)
{
	*identity = (struct os_identity){
		.device = info->st_dev,
		.inode = info->st_ino,
		.size = (uint64_t)info->st_size,
		.mode = info->st_mode & 07777,
		.kind = kind_of(info->st_mode),
	};
}

/* Directories */

static int posix_directory_open(struct os *os, const char *path,
                                struct os_file **dir, struct err *err)
{
	int descriptor, rc;

	descriptor = open_descriptor(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (descriptor < 0)
		return fail_open(err, "open directory", path, false);
	rc = make_file(os, descriptor, path, dir, err);
	if (rc)
		close(descriptor);
	return rc;
}

static int posix_directory_make(struct os *os, struct os_file *dir,
                                const char *name, struct err *err)
{
	int rc = dir ? check_name("make directory", name, err) : ERR_NONE;

	(void)os;
	if (rc)
		return rc;
	if (mkdirat(dir ? descriptor_of(dir) : AT_FDCWD, name, 0777))
		return fail(err, "make directory", name);
	return ERR_NONE;
}

/* A descriptor of its own: the position of a listing lies in it. */
static int open_subdirectory(struct os_file *dir, const char *name,
                             const char *operation, int *descriptor,
                             struct err *err)
{
	int rc = name ? check_name(operation, name, err) : ERR_NONE;

	if (rc)
		return rc;
	*descriptor = open_descriptor(descriptor_of(dir), name ? name : ".",
	                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (*descriptor < 0)
		return fail_open(err, operation, name ? name : dir->name,
		                 false);
	return ERR_NONE;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int list_buffer(const char *buffer, long size,
                       int (*each)(void *context, const char *entry),
                       void *context)
{
	long at = 0;
	int rc = 0;

	while (at < size && !rc) {
		const struct dirent64 *entry =
			(const struct dirent64 *)(const void *)(buffer + at);

		if (!is_dot(entry->d_name))
			rc = each(context, entry->d_name);
		at += entry->d_reclen;
	}
	return rc;
}

/* Asks the kernel itself: readdir() would take its buffer from malloc. */
static int posix_directory_list(struct os_file *dir, const char *name,
                                int (*each)(void *context, const char *entry),
                                void *context, struct err *err)
{
	_Alignas(struct dirent64) char buffer[LIST_BUFFER_SIZE];
	int descriptor, rc;
	long size;

	rc = open_subdirectory(dir, name, "list directory", &descriptor, err);
	if (rc)
		return rc;
	do {
		size = syscall(SYS_getdents64, descriptor, buffer,
		               sizeof buffer);
		if (size < 0)
			rc = fail(err, "list directory",
			          name ? name : dir->name);
		else
			rc = list_buffer(buffer, size, each, context);
	} while (!rc && size > 0);
	close(descriptor);
	return rc;
}

static int repeat_sync(int (*sync)(int descriptor), int descriptor)
{
	int rc;

	do
		rc = sync(descriptor);
	while (rc && errno == EINTR);
	return rc;
}

/* A file system that cannot sync a directory says EINVAL: it keeps names in
 * its own way, and there is nothing to wait for. */
static int posix_directory_sync(struct os_file *dir, const char *name,
                                struct err *err)
{
	const char *resource = name ? name : dir->name;
	int descriptor, rc;

	rc = open_subdirectory(dir, name, "sync directory", &descriptor, err);
	if (rc)
		return rc;
	if (repeat_sync(fsync, descriptor) && errno != EINVAL)
		rc = fail_as(err, ERR_IO, "sync directory", resource, errno);
	close(descriptor);
	return rc;
}

static int posix_identify(struct os *os, struct os_file *dir, const char *path,
                          struct os_identity *identity, struct err *err)
{
	struct stat info;
	int rc = dir ? check_name("look at", path, err) : ERR_NONE;

	(void)os;
	if (rc)
		return rc;
	if (fstatat(dir ? descriptor_of(dir) : AT_FDCWD, path, &info,
	            dir ? AT_SYMLINK_NOFOLLOW : 0) == 0)
		fill_identity(&info, identity);
	else if (errno == ENOENT || errno == ENOTDIR)
		*identity = (struct os_identity){ .kind = OS_NODE_MISSING };
	else
		return fail_open(err, "look at", path, false);
	return ERR_NONE;
}

static int posix_unlink(struct os_file *dir, const char *name, struct err *err)
{
	int rc = check_name("unlink", name, err);

	if (rc)
		return rc;
	if (unlinkat(descriptor_of(dir), name, 0))
		return fail(err, "unlink", name);
	return ERR_NONE;
}

static bool posix_is_network(struct os_file *dir)
{
	struct statfs info;

	if (fstatfs(descriptor_of(dir), &info))
		return false;
	switch ((uint32_t)info.f_type) {
	case 0x00006969: /* NFS */
	case 0x0000517b: /* SMB */
	case 0xff534d42: /* CIFS */
	case 0xfe534d42: /* SMB2 */
	case 0x0000564c: /* NCP */
	case 0x73757245: /* Coda */
	case 0x5346414f: /* AFS */
	case 0x6b414653: /* kAFS */
	case 0x00c36400: /* Ceph */
	case 0x0bd00bd0: /* Lustre */
	case 0x47504653: /* GPFS */
	case 0x19830326: /* BeeGFS */
	case 0xaad7aaea: /* PanFS */
	case 0x01161970: /* GFS2 */
	case 0x7461636f: /* OCFS2 */
	case 0x20030528: /* OrangeFS */
	case 0x01021997: /* 9P */
	case 0x786f4256: /* VirtualBox shared folder */
	case 0x7c7c6673: /* Parallels shared folder */
		return true;
	default:
		return false;
	}
}

/* Files */

static int open_mode(unsigned flags)
{
	int mode = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

	mode |= flags & OS_OPEN_WRITE ? O_RDWR : O_RDONLY;
	if (flags & OS_OPEN_CREATE)
		mode |= O_CREAT;
	if (flags & OS_OPEN_EXCLUSIVE)
		mode |= O_EXCL;
	return mode;
}

/* Keeps (O2) and gives a file that is still empty its exact mode. */
static int check_opened(int descriptor, const char *name, unsigned flags,
                        uint32_t mode, struct err *err)
{
	struct stat info;

	if (fstat(descriptor, &info))
		return fail(err, "open", name);
	if (!S_ISREG(info.st_mode))
		return err_set(err, ERR_CANTOPEN, "open", name,
		               "it is not a regular file");
	if (flags & OS_OPEN_MODE_EXACT && flags & OS_OPEN_CREATE &&
	    info.st_size == 0 && (info.st_mode & 07777) != mode &&
	    fchmod(descriptor, mode))
		return fail(err, "set the mode of", name);
	return ERR_NONE;
}

static int posix_open(struct os_file *dir, const char *name, unsigned flags,
                      uint32_t mode, struct os_file **file, struct err *err)
{
	int descriptor, rc;

	assert(flags & OS_OPEN_WRITE || !(flags & OS_OPEN_CREATE));
	rc = check_name("open", name, err);
	if (rc)
		return rc;
	descriptor = open_descriptor(descriptor_of(dir), name,
	                             open_mode(flags), mode);
	if (descriptor < 0)
		return fail_open(err, "open", name, flags & OS_OPEN_WRITE);
	rc = check_opened(descriptor, name, flags, mode, err);
	if (rc)
		goto close_descriptor;
	rc = make_file(dir->os, descriptor, name, file, err);
	if (rc)
		goto close_descriptor;
	return ERR_NONE;

close_descriptor:
	close(descriptor);
	return rc;
}

static int posix_read(struct os_file *file, uint64_t offset, void *bytes,
                      size_t size, size_t *got, struct err *err)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(descriptor_of(file), (uint8_t *)bytes + done,
		                  size - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return fail(err, "read", file->name);
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
			return fail(err, "write", file->name);
		offset += (uint64_t)n;
		count = skip_written(&vectors, count, (size_t)n);
	}
	return ERR_NONE;
}

static int posix_write(struct os_file *file, uint64_t offset,
                       const struct span *spans, size_t span_count,
                       struct err *err)
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

static int posix_sync(struct os_file *file, struct err *err)
{
	if (repeat_sync(fdatasync, descriptor_of(file)))
		return fail_as(err, ERR_IO, "sync", file->name, errno);
	return ERR_NONE;
}

static void posix_write_back(struct os_file *file, uint64_t offset,
                             uint64_t size)
{
	sync_file_range(descriptor_of(file), (off64_t)offset, (off64_t)size,
	                SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

static void posix_write_back_begin(struct os_file *file, uint64_t offset,
                                   uint64_t size)
{
	sync_file_range(descriptor_of(file), (off64_t)offset, (off64_t)size,
	                SYNC_FILE_RANGE_WRITE);
}

static int posix_size(struct os_file *file, uint64_t *bytes, struct err *err)
{
	struct stat info;

	if (fstat(descriptor_of(file), &info))
		return fail(err, "read the size of", file->name);
	*bytes = (uint64_t)info.st_size;
	return ERR_NONE;
}

static int posix_identity(struct os_file *file, struct os_identity *identity,
                          struct err *err)
{
	struct stat info;

	if (fstat(descriptor_of(file), &info))
		return fail(err, "look at", file->name);
	fill_identity(&info, identity);
	return ERR_NONE;
}

static int posix_truncate(struct os_file *file, uint64_t bytes,
                          struct err *err)
{
	int rc;

	do
		rc = ftruncate(descriptor_of(file), (off_t)bytes);
	while (rc && errno == EINTR);
	return rc ? fail(err, "truncate", file->name) : ERR_NONE;
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
		rc = posix_write(file, start, spans, count, err);
	}
	return rc;
}

/* For file systems without fallocate: what lies before the end of the file
 * was written once, for our files have no holes; the rest is written now. */
static int allocate_by_writing(struct os_file *file, uint64_t offset,
                               uint64_t size, struct err *err)
{
	uint64_t end;
	int rc = posix_size(file, &end, err);

	if (rc || end >= offset + size)
		return rc;
	return write_zeros(file, end, offset + size, err);
}

static int posix_allocate(struct os_file *file, uint64_t offset, uint64_t size,
                          struct err *err)
{
	int rc;

	do
		rc = fallocate(descriptor_of(file), 0, (off_t)offset,
		               (off_t)size);
	while (rc && errno == EINTR);
	if (rc && (errno == EOPNOTSUPP || errno == ENOSYS))
		return allocate_by_writing(file, offset, size, err);
	return rc ? fail(err, "allocate space for", file->name) : ERR_NONE;
}

/* A file without holes is as good, only larger. */
static int posix_punch(struct os_file *file, uint64_t offset, uint64_t size,
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
	return rc ? fail(err, "give back space of", file->name) : ERR_NONE;
}

/* Maps */

static int map_anonymous(size_t size, int protection, const char *operation,
                         void **at, struct err *err)
{
	void *start = mmap(NULL, size, protection,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		return fail(err, operation, "");
	*at = start;
	return ERR_NONE;
}

static int posix_reserve(struct os *os, size_t size, void **at,
                         struct err *err)
{
	(void)os;
	return map_anonymous(size, PROT_NONE, "reserve address space", at, err);
}

static int posix_sparse(struct os *os, size_t size, void **at, struct err *err)
{
	(void)os;
	return map_anonymous(size, PROT_READ | PROT_WRITE,
	                     "reserve a sparse table", at, err);
}

static int posix_map(struct os_file *file, uint64_t offset, size_t size,
                     void *at, bool writable, struct err *err)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);
	uint64_t end;
	int number, rc;

	rc = posix_size(file, &end, err);
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
	return fail_as(err, code_of(number), "map", file->name, number);
}

static void posix_unreserve(struct os *os, void *at, size_t size)
{
	(void)os;
	if (at)
		munmap(at, size);
}

static void posix_advise(struct os *os, const void *at, size_t size,
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

/* Locks and waiting */

static int posix_lock(struct os_file *file, uint64_t offset,
                      enum os_lock_kind kind, bool *held, struct err *err)
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
		return fail_as(err, ERR_IO, "lock", file->name, errno);
	*held = rc == 0;
	return ERR_NONE;
}

static int posix_lock_probe(struct os_file *file, uint64_t offset, bool *held,
                            struct err *err)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		               .l_start = (off_t)offset, .l_len = 1 };

	if (fcntl(descriptor_of(file), F_OFD_GETLK, &range))
		return fail_as(err, ERR_IO, "probe a lock of", file->name,
		               errno);
	*held = range.l_type != F_UNLCK;
	return ERR_NONE;
}

static struct timespec timespec_of_us(uint64_t us)
{
	return (struct timespec){ .tv_sec = (time_t)(us / 1000000),
		                  .tv_nsec = (long)(us % 1000000) * 1000 };
}

/* Without FUTEX_PRIVATE_FLAG: the word may lie in a file several processes
 * have mapped. */
static void posix_wait(struct os *os, _Atomic uint32_t *word,
                       uint32_t expected, uint64_t timeout_us)
{
	struct timespec timeout = timespec_of_us(timeout_us);

	(void)os;
	syscall(SYS_futex, word, FUTEX_WAIT, expected,
	        timeout_us == UINT64_MAX ? NULL : &timeout, NULL, 0);
}

static void posix_wake(struct os *os, _Atomic uint32_t *word, uint32_t count)
{
	(void)os;
	syscall(SYS_futex, word, FUTEX_WAKE,
	        count > INT_MAX ? INT_MAX : (int)count, NULL, NULL, 0);
}

/* Threads */

struct os_thread {
	pthread_t thread;
	void (*run)(void *context);
	void *context;
};

static void *thread_main(void *argument)
{
	struct os_thread *thread = argument;

	thread->run(thread->context);
	return NULL;
}

static int posix_thread_start(struct os *os, void (*run)(void *context),
                              void *context, struct os_thread **thread,
                              struct err *err)
{
	struct heap *heap = posix_of(os)->heap;
	struct os_thread *made = heap_zeroed(heap, sizeof *made);
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	if (!made)
		return err_set(err, ERR_NOMEM, "start a thread", "",
		               "out of memory");
	made->run = run;
	made->context = context;
	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&made->thread, &attributes, thread_main, made);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code) {
		heap_free(heap, made);
		return fail_as(err, ERR_NOMEM, "start a thread", "", code);
	}
	*thread = made;
	return ERR_NONE;
}

static void posix_thread_join(struct os *os, struct os_thread *thread)
{
	pthread_join(thread->thread, NULL);
	heap_free(posix_of(os)->heap, thread);
}

/* Time, randomness, the process */

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t posix_monotonic_us(struct os *os)
{
	(void)os;
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t posix_wall_ms(struct os *os)
{
	(void)os;
	return clock_us(CLOCK_REALTIME) / 1000;
}

static void posix_sleep_us(struct os *os, uint64_t us)
{
	struct timespec left = timespec_of_us(us);

	(void)os;
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Where no randomness is to be had: different bytes each time, as salts need. */
static void fill_from_clock(uint8_t *bytes, size_t size)
{
	uint64_t state = clock_us(CLOCK_REALTIME) ^
	                 clock_us(CLOCK_MONOTONIC) << 20 ^
	                 (uint64_t)getpid() << 40 ^ (uintptr_t)&state;

	for (size_t i = 0; i < size; i++) {
		state = state * UINT64_C(6364136223846793005) +
		        UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(state >> 56);
	}
}

static void posix_random(struct os *os, void *bytes, size_t size)
{
	uint8_t *at = bytes;

	(void)os;
	while (size) {
		ssize_t n = getrandom(at, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			fill_from_clock(at, size);
			return;
		}
		at += n;
		size -= (size_t)n;
	}
}

static uint32_t posix_process_id(struct os *os)
{
	(void)os;
	return (uint32_t)getpid();
}

static uint8_t *make_canary(size_t page_size)
{
	uint8_t *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, page_size, MADV_WIPEONFORK)) {
		munmap(page, page_size);
		return NULL;
	}
	*page = 1;
	return page;
}

/* In a child, what the parent had open goes on looking at the wiped page. */
static const volatile uint8_t *posix_fork_canary(struct os *os)
{
	struct posix_os *posix = posix_of(os);

	if (posix->canary && !*posix->canary)
		posix->canary = make_canary(posix->page_size);
	return posix->canary;
}

/* The table itself */

static const struct os_methods methods = {
	.directory_open = posix_directory_open,
	.directory_make = posix_directory_make,
	.directory_list = posix_directory_list,
	.directory_sync = posix_directory_sync,
	.identify = posix_identify,
	.unlink = posix_unlink,
	.is_network = posix_is_network,
	.open = posix_open,
	.close = posix_close,
	.read = posix_read,
	.write = posix_write,
	.sync = posix_sync,
	.write_back = posix_write_back,
	.write_back_begin = posix_write_back_begin,
	.size = posix_size,
	.truncate = posix_truncate,
	.allocate = posix_allocate,
	.punch = posix_punch,
	.identity = posix_identity,
	.reserve = posix_reserve,
	.map = posix_map,
	.unreserve = posix_unreserve,
	.advise = posix_advise,
	.sparse = posix_sparse,
	.lock = posix_lock,
	.lock_probe = posix_lock_probe,
	.wait = posix_wait,
	.wake = posix_wake,
	.thread_start = posix_thread_start,
	.thread_join = posix_thread_join,
	.monotonic_us = posix_monotonic_us,
	.wall_ms = posix_wall_ms,
	.sleep_us = posix_sleep_us,
	.random = posix_random,
	.process_id = posix_process_id,
	.fork_canary = posix_fork_canary,
};

int os_posix_open(struct heap *heap, struct os **os, struct err *err)
{
	struct posix_os *made = heap_lasting(heap, sizeof *made);

	if (!made)
		return err_set(err, ERR_NOMEM, "open the operating system", "",
		               "out of memory");
	made->os.methods = &methods;
	made->heap = heap;
	made->page_size = (size_t)sysconf(_SC_PAGESIZE);
	made->canary = make_canary(made->page_size);
	*os = &made->os;
	return ERR_NONE;
}

void os_posix_close(struct os *os)
{
	struct posix_os *posix = posix_of(os);

	if (!os)
		return;
	if (posix->canary)
		munmap(posix->canary, posix->page_size);
	heap_free(posix->heap, posix);
}
