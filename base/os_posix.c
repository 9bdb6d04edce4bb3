/*
 * os_posix.c - the table of operating-system calls on Linux.
 *
 * Purpose       What the library asks of the kernel stands in three files: names and
 *               directories (os_posix_names.c), open files (os_posix_file.c), and
 *               the process (os_posix_process.c). Here they become one table.
 * Structures    A posix_os holds what its methods need to know about the
 *               process: the heap for open files, the page size, the canary
 *               page. A posix_file is a descriptor and a name for errors.
 * Errors        The kernel's number becomes one of our codes, and a reason that
 *               says what to do where the kernel's words do not.
 */
#include "base/os_posix.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/heap.h"

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

int os_posix_fail_as(struct err *err, int code, const char *operation,
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

int os_posix_fail(struct err *err, const char *operation, const char *resource)
{
	int number = errno;

	return os_posix_fail_as(err, code_of(number), operation, resource, number);
}

/* Opening for reading fails for want of permission, not of writability. */
int os_posix_fail_open(struct err *err, const char *operation,
                       const char *resource, bool writing)
{
	int number = errno;
	int code = code_of(number);

	if (code == ERR_READONLY && !writing)
		code = ERR_CANTOPEN;
	return os_posix_fail_as(err, code, operation, resource, number);
}

static const struct os_methods methods = {
	.directory_open = os_posix_directory_open,
	.directory_make = os_posix_directory_make,
	.directory_list = os_posix_directory_list,
	.directory_sync = os_posix_directory_sync,
	.identify = os_posix_identify,
	.unlink = os_posix_unlink,
	.is_network = os_posix_is_network,
	.open = os_posix_file_open,
	.close = os_posix_file_close,
	.read = os_posix_read,
	.write = os_posix_write,
	.sync = os_posix_sync,
	.write_back = os_posix_write_back,
	.write_back_begin = os_posix_write_back_begin,
	.write_back_watch = os_posix_write_back_watch,
	.size = os_posix_size,
	.truncate = os_posix_truncate,
	.allocate = os_posix_allocate,
	.punch = os_posix_punch,
	.identity = os_posix_identity,
	.reserve = os_posix_reserve,
	.map = os_posix_map,
	.unreserve = os_posix_unreserve,
	.fault_in = os_posix_fault_in,
	.advise = os_posix_advise,
	.sparse = os_posix_sparse,
	.lock = os_posix_lock,
	.lock_probe = os_posix_lock_probe,
	.wait = os_posix_wait,
	.wake = os_posix_wake,
	.thread_start = os_posix_thread_start,
	.thread_join = os_posix_thread_join,
	.processors = os_posix_processors,
	.monotonic_us = os_posix_monotonic_us,
	.wall_ms = os_posix_wall_ms,
	.sleep_us = os_posix_sleep_us,
	.random = os_posix_random,
	.process_id = os_posix_process_id,
	.fork_canary = os_posix_fork_canary,
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
	made->canary = os_posix_canary_make(made->page_size);
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
