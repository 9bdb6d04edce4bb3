/*
 * sim_memory.c - the simulated table's maps, locks, waiting and time.
 *
 * Maps are the kernel's own, over the memory files, so shared memory is shared.
 * The file behind a writable map is remembered: when its process dies, the map
 * is laid over it once more, privately.
 */
#define _GNU_SOURCE
#include "test/sim/sim_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { IDLE_WAITS_MAX = 200000 };

/* Maps */

static void add_region(struct sim_process *process, void *at, size_t size,
                       int memory, uint64_t offset)
{
	struct sim_region *region = sim_allocate(sizeof *region);

	*region = (struct sim_region){ at, size, memory, offset,
		                   process->regions };
	process->regions = region;
}

/* Forgets maps inside [at, at+size), and reservations when told to. */
void sim_regions_drop(struct sim_process *process, const void *at,
                           size_t size, bool reservations)
{
	struct sim_region **link = &process->regions;

	while (*link) {
		struct sim_region *region = *link;
		bool inside = (uintptr_t)region->at >= (uintptr_t)at &&
			(uintptr_t)region->at < (uintptr_t)at + size;

		if (!inside || (region->memory < 0 && !reservations)) {
			link = &region->next;
			continue;
		}
		*link = region->next;
		if (region->memory >= 0)
			close(region->memory);
		free(region);
	}
}

static int map_anonymous(struct os *os, size_t size, int protection,
                         const char *operation, void **at, struct err *err)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	void *start;
	int rc = sim_enter(process, SIM_CALL_RESERVE, operation, "", "",
	                    err).code;

	if (rc)
		return sim_leave(disk, rc);
	start = mmap(NULL, size, protection,
	             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return sim_leave(disk, err_set(err, ERR_NOMEM, operation, "",
		                           "Cannot allocate memory"));
	add_region(process, start, size, -1, 0);
	*at = start;
	return sim_leave(disk, ERR_NONE);
}

int sim_reserve(struct os *os, size_t size, void **at, struct err *err)
{
	return map_anonymous(os, size, PROT_NONE, "reserve address space", at,
	                     err);
}

int sim_sparse(struct os *os, size_t size, void **at, struct err *err)
{
	return map_anonymous(os, size, PROT_READ | PROT_WRITE,
	                     "reserve a sparse table", at, err);
}

static int map_checked(struct os_file *file, uint64_t offset, size_t size,
                       void *at, bool writable, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_inode *inode = sim_inode_of(file);

	if (writable && !sim_file_of(file)->writable)
		return sim_fail_readonly(err, "map", file->name);
	if (size > inode->size || offset > inode->size - size)
		return err_set(err, ERR_CORRUPT, "map", file->name,
		               "it ends at %llu, wanted %zu bytes from %llu",
		               (unsigned long long)inode->size, size,
		               (unsigned long long)offset);
	if (mmap(at, size, PROT_READ | (writable ? PROT_WRITE : 0),
	         MAP_SHARED | MAP_FIXED, inode->memory, (off_t)offset) ==
	    MAP_FAILED)
		return err_set(err, errno == ENOMEM ? ERR_NOMEM : ERR_IO,
		               "map", file->name, "errno %d", errno);
	sim_regions_drop(sim_process_of(file->os), at, size, false);
	if (writable) {
		sim_trace_observe_first(disk, sim_file_of(file)->inode);
		add_region(sim_process_of(file->os), at, size,
		           dup(inode->memory), offset);
	}
	return ERR_NONE;
}

int sim_map(struct os_file *file, uint64_t offset, size_t size,
                   void *at, bool writable, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	int rc = sim_enter_file(file, SIM_CALL_MAP, "map", err).code;

	if (!rc)
		rc = map_checked(file, offset, size, at, writable, err);
	return sim_leave(disk, rc);
}

void sim_unreserve(struct os *os, void *at, size_t size)
{
	struct sim_process *process = sim_process_of(os);

	if (!at)
		return;
	pthread_mutex_lock(&process->disk->mutex);
	sim_trace_observe(process->disk);
	sim_regions_drop(process, at, size, true);
	munmap(at, size);
	pthread_mutex_unlock(&process->disk->mutex);
}

void sim_advise(struct os *os, const void *at, size_t size,
                       enum os_advice advice)
{
	(void)os, (void)at, (void)size, (void)advice;
}

/* Locks and waiting */

void sim_locks_drop(struct sim_disk *disk, const struct sim_file *owner)
{
	struct sim_inode *inode = &disk->inodes[owner->inode];
	size_t kept = 0;

	for (size_t i = 0; i < inode->lock_count; i++)
		if (inode->locks[i].owner != owner)
			inode->locks[kept++] = inode->locks[i];
	inode->lock_count = kept;
}

static bool lock_conflicts(const struct sim_inode *inode, uint64_t offset,
                           enum os_lock_kind kind,
                           const struct sim_file *owner)
{
	for (size_t i = 0; i < inode->lock_count; i++) {
		const struct sim_lock *lock = &inode->locks[i];

		if (lock->offset == offset && lock->owner != owner &&
		    (kind == OS_LOCK_EXCLUSIVE ||
		     lock->kind == OS_LOCK_EXCLUSIVE))
			return true;
	}
	return false;
}

static void set_lock(struct sim_inode *inode, uint64_t offset,
                     enum os_lock_kind kind, struct sim_file *owner)
{
	size_t kept = 0;

	for (size_t i = 0; i < inode->lock_count; i++)
		if (inode->locks[i].owner != owner ||
		    inode->locks[i].offset != offset)
			inode->locks[kept++] = inode->locks[i];
	inode->lock_count = kept;
	if (kind == OS_LOCK_NONE)
		return;
	SIM_GROW(inode->locks, inode->lock_count, inode->lock_capacity);
	inode->locks[inode->lock_count++] =
		(struct sim_lock){ offset, kind, owner };
}

int sim_lock_byte(struct os_file *file, uint64_t offset,
                         enum os_lock_kind kind, bool *held, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_inode *inode;
	int rc = sim_enter_file(file, SIM_CALL_LOCK, "lock", err).code;

	if (!rc && kind == OS_LOCK_EXCLUSIVE && !sim_file_of(file)->writable)
		rc = err_set(err, ERR_IO, "lock", file->name,
		             "Bad file descriptor");
	if (rc)
		return sim_leave(disk, rc);
	inode = sim_inode_of(file);
	*held = kind == OS_LOCK_NONE ||
		!lock_conflicts(inode, offset, kind, sim_file_of(file));
	if (*held)
		set_lock(inode, offset, kind, sim_file_of(file));
	return sim_leave(disk, ERR_NONE);
}

int sim_lock_probe(struct os_file *file, uint64_t offset, bool *held,
                          struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	int rc = sim_enter_file(file, SIM_CALL_LOCK, "probe a lock of", err).code;

	if (!rc)
		*held = lock_conflicts(sim_inode_of(file), offset,
		                       OS_LOCK_EXCLUSIVE, sim_file_of(file));
	return sim_leave(disk, rc);
}

static uint64_t real_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* One thread plays everybody: nobody can wake it, so time passes and it looks
 * again. Waiting for ever means a deadlock, which must not look like work. */
static void idle(struct sim_disk *disk, uint64_t us)
{
	disk->clock_us += us == UINT64_MAX ? 1000000 : us;
	if (us == UINT64_MAX && ++disk->idle_waits > IDLE_WAITS_MAX) {
		fprintf(stderr, "sim: a wait without end that no other thread "
		        "can finish\n");
		abort();
	}
}

static void wait_really(_Atomic uint32_t *word, uint32_t expected,
                        uint64_t timeout_us)
{
	struct timespec timeout = { (time_t)(timeout_us / 1000000),
		                    (long)(timeout_us % 1000000) * 1000 };

	syscall(SYS_futex, word, FUTEX_WAIT, expected,
	        timeout_us == UINT64_MAX ? NULL : &timeout, NULL, 0);
}

void sim_wait(struct os *os, _Atomic uint32_t *word, uint32_t expected,
                     uint64_t timeout_us)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	int rc = sim_enter(process, SIM_CALL_WAIT, "wait", "", "", NULL).code;

	if (atomic_load(word) != expected) {
		disk->idle_waits = 0;
		sim_leave(disk, rc);
		return;
	}
	if (rc || !disk->options.threads) {
		idle(disk, timeout_us);
		sim_leave(disk, rc);
		return;
	}
	sim_leave(disk, rc);
	wait_really(word, expected, timeout_us);
}

void sim_wake(struct os *os, _Atomic uint32_t *word, uint32_t count)
{
	struct sim_process *process = sim_process_of(os);
	int rc = sim_enter(process, SIM_CALL_WAKE, "wake", "", "", NULL).code;

	sim_leave(process->disk, rc);
	if (!rc)
		syscall(SYS_futex, word, FUTEX_WAKE,
		        count > INT_MAX ? INT_MAX : (int)count, NULL, NULL, 0);
}

/* Time, randomness, the process */

uint64_t sim_monotonic_us(struct os *os)
{
	struct sim_disk *disk = sim_process_of(os)->disk;
	uint64_t now;

	if (disk->options.threads)
		return real_us(CLOCK_MONOTONIC);
	pthread_mutex_lock(&disk->mutex);
	now = disk->clock_us += disk->options.clock_step_us;
	pthread_mutex_unlock(&disk->mutex);
	return now;
}

uint64_t sim_wall_ms(struct os *os)
{
	struct sim_disk *disk = sim_process_of(os)->disk;

	if (disk->options.threads)
		return real_us(CLOCK_REALTIME) / 1000;
	return UINT64_C(1790000000000) + sim_monotonic_us(os) / 1000;
}

void sim_sleep_us(struct os *os, uint64_t us)
{
	struct sim_process *process = sim_process_of(os);
	struct timespec left = { (time_t)(us / 1000000),
		                 (long)(us % 1000000) * 1000 };

	sim_enter(process, SIM_CALL_WAIT, "sleep", "", "", NULL);
	if (!process->disk->options.threads)
		idle(process->disk, us);
	sim_leave(process->disk, ERR_NONE);
	if (process->disk->options.threads)
		nanosleep(&left, NULL);
}

void sim_random_bytes(struct os *os, void *bytes, size_t size)
{
	struct sim_disk *disk = sim_process_of(os)->disk;
	uint8_t *at = bytes;

	pthread_mutex_lock(&disk->mutex);
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(sim_random(&disk->random_state) >> 56);
	pthread_mutex_unlock(&disk->mutex);
}

uint32_t sim_process_id(struct os *os)
{
	return sim_process_of(os)->id;
}

const volatile uint8_t *sim_fork_canary(struct os *os)
{
	return &sim_process_of(os)->canary;
}
