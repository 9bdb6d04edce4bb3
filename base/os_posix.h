/*
 * os_posix.h - what the files of the real operating system share; private to base/.
 *
 * The calls are those of `struct os_methods` (base/os.h), which says what they do.
 */
#ifndef TURDB_BASE_OS_POSIX_H
#define TURDB_BASE_OS_POSIX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64

#include "base/os.h"

#include <errno.h>

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

static inline struct posix_os *posix_of(struct os *os)
{
	return (struct posix_os *)os;
}

static inline int descriptor_of(const struct os_file *file)
{
	return ((const struct posix_file *)file)->descriptor;
}

static inline int os_posix_sync_repeat(int (*sync)(int descriptor),
                                       int descriptor)
{
	int rc;

	do
		rc = sync(descriptor);
	while (rc && errno == EINTR);
	return rc;
}

/* The sentence for `errno`, or for an error number and with a code of its own. */
int os_posix_fail(struct err *err, const char *operation, const char *resource);
int os_posix_fail_as(struct err *err, int code, const char *operation,
                     const char *resource, int number);
int os_posix_fail_open(struct err *err, const char *operation,
                       const char *resource, bool writing);

/* os_posix_names.c */
int os_posix_directory_open(struct os *os, const char *path,
                            struct os_file **dir, struct err *err);
int os_posix_directory_make(struct os *os, struct os_file *dir,
                            const char *name, struct err *err);
int os_posix_directory_list(struct os_file *dir, const char *name,
                            int (*each)(void *context, const char *entry),
                            void *context, struct err *err);
int os_posix_directory_sync(struct os_file *dir, const char *name,
                            struct err *err);
int os_posix_identify(struct os *os, struct os_file *dir, const char *path,
                      struct os_identity *identity, struct err *err);
int os_posix_identity(struct os_file *file, struct os_identity *identity,
                      struct err *err);
int os_posix_unlink(struct os_file *dir, const char *name, struct err *err);
bool os_posix_is_network(struct os_file *dir);
int os_posix_file_open(struct os_file *dir, const char *name, unsigned flags,
                       uint32_t mode, struct os_file **file, struct err *err);
void os_posix_file_close(struct os_file *file);

/* os_posix_file.c */
int os_posix_read(struct os_file *file, uint64_t offset, void *bytes,
                  size_t size, size_t *got, struct err *err);
int os_posix_write(struct os_file *file, uint64_t offset,
                   const struct span *spans, size_t span_count,
                   struct err *err);
int os_posix_sync(struct os_file *file, struct err *err);
int os_posix_write_back(struct os_file *file, uint64_t offset, uint64_t size,
                        struct err *err);
void os_posix_write_back_begin(struct os_file *file, uint64_t offset,
                               uint64_t size);
bool os_posix_write_back_watch(struct os_file *file, uint64_t offset,
                               uint64_t size, uint64_t most_us);
int os_posix_size(struct os_file *file, uint64_t *bytes, struct err *err);
int os_posix_truncate(struct os_file *file, uint64_t bytes, struct err *err);
int os_posix_allocate(struct os_file *file, uint64_t offset, uint64_t size,
                      struct err *err);
int os_posix_punch(struct os_file *file, uint64_t offset, uint64_t size,
                   struct err *err);
int os_posix_reserve(struct os *os, size_t size, void **at, struct err *err);
int os_posix_sparse(struct os *os, size_t size, void **at, struct err *err);
int os_posix_map(struct os_file *file, uint64_t offset, size_t size, void *at,
                 bool writable, struct err *err);
void os_posix_unreserve(struct os *os, void *at, size_t size);
int os_posix_fault_in(struct os_file *file, uint64_t offset, void *at,
                      size_t size, struct err *err);
void os_posix_advise(struct os *os, const void *at, size_t size,
                     enum os_advice advice);
int os_posix_lock(struct os_file *file, uint64_t offset, enum os_lock_kind kind,
                  bool *held, struct err *err);
int os_posix_lock_probe(struct os_file *file, uint64_t offset, bool *held,
                        struct err *err);

/* os_posix_process.c */
void os_posix_wait(struct os *os, _Atomic uint32_t *word, uint32_t expected,
                   uint64_t timeout_us);
void os_posix_wake(struct os *os, _Atomic uint32_t *word, uint32_t count);
int os_posix_thread_start(struct os *os, void (*run)(void *context),
                          void *context, struct os_thread **thread,
                          struct err *err);
void os_posix_thread_join(struct os *os, struct os_thread *thread);
uint32_t os_posix_processors(struct os *os);
uint64_t os_posix_monotonic_us(struct os *os);
uint64_t os_posix_wall_ms(struct os *os);
void os_posix_sleep_us(struct os *os, uint64_t us);
void os_posix_random(struct os *os, void *bytes, size_t size);
uint32_t os_posix_process_id(struct os *os);
const volatile uint8_t *os_posix_fork_canary(struct os *os);
/* A page that holds 1 here and 0 in a forked child; NULL where there is none. */
uint8_t *os_posix_canary_make(size_t page_size);

#endif
