/*
 * sim_process.c - who makes calls, and what meets every call at the entrance.
 */
#define _GNU_SOURCE
#include "test/sim/sim_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Death */

static void make_private(const struct sim_region *region)
{
	if (region->memory >= 0 &&
	    mmap(region->at, region->size, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_FIXED, region->memory,
	         (off_t)region->offset) == MAP_FAILED)
		abort();
}

void sim_process_die(struct sim_process *process)
{
	if (process->dead)
		return;
	process->dead = true;
	for (struct sim_file *file = process->files; file; file = file->next)
		sim_locks_drop(process->disk, file);
	for (struct sim_region *region = process->regions; region;
	     region = region->next)
		make_private(region);
}

/* The entrance of every call */

static bool fault_is_due(struct sim_fault *fault, enum sim_call call,
                         const char *path)
{
	if (fault->nth == 0 ||
	    (fault->call != SIM_CALL_ANY && fault->call != call) ||
	    (fault->path_part && !strstr(path, fault->path_part)))
		return false;
	if (fault->nth > 1) {
		fault->nth--;
		return false;
	}
	if (!fault->sticky)
		fault->nth = 0;
	return true;
}

/* All faults count the call; the first that is due answers it. */
static bool find_fault(struct sim_disk *disk, enum sim_call call,
                       const char *path, struct sim_fault *found)
{
	bool any = false;

	for (size_t i = 0; i < disk->fault_count; i++) {
		struct sim_fault *fault = &disk->faults[i];

		if (!fault_is_due(fault, call, path) || any)
			continue;
		*found = *fault;
		any = true;
	}
	disk->fault_hits += any;
	return any;
}

static bool is_traced(enum sim_call call)
{
	return call >= SIM_CALL_WRITE && call <= SIM_CALL_DIRECTORY_MAKE;
}

static bool changes_media(enum sim_call call)
{
	return is_traced(call) && call != SIM_CALL_SYNC &&
	       call != SIM_CALL_DIRECTORY_SYNC;
}

static struct sim_verdict judge(struct sim_process *process, enum sim_call call,
                            const char *operation, const char *name,
                            const char *path, struct err *err)
{
	struct sim_disk *disk = process->disk;
	struct sim_verdict verdict = { 0 };
	struct sim_fault fault = { 0 };

	disk->calls[SIM_CALL_ANY]++;
	disk->calls[call]++;
	if (!process->dead && is_traced(call) &&
	    process->calls_left != UINT64_MAX && process->calls_left-- == 0) {
		verdict.dies = true;
		verdict.partial = process->dies_in_the_middle &&
		                  call == SIM_CALL_WRITE;
		if (!verdict.partial)
			sim_process_die(process);
	}
	if (process->dead || verdict.dies) {
		verdict.code = err_set(err, ERR_IO, operation, name,
		                       "the process was killed");
	} else if (find_fault(disk, call, path, &fault)) {
		verdict.code = err_set(err, fault.code, operation, name,
		                       "a simulated fault");
		verdict.effect = fault.effect;
		verdict.partial = call == SIM_CALL_WRITE &&
		                  fault.effect == SIM_FAULT_PART_DONE;
	} else if (disk->read_only && changes_media(call)) {
		verdict.code = err_set(err, ERR_READONLY, operation, name,
		                       "Read-only file system");
	}
	if (is_traced(call) && (!verdict.code || verdict.partial))
		sim_trace_observe(disk);
	return verdict;
}

/* Locks the disk, whatever the verdict. */
struct sim_verdict sim_enter(struct sim_process *process,
                                 enum sim_call call, const char *operation,
                                 const char *name, const char *path,
                                 struct err *err)
{
	struct sim_disk *disk = process->disk;
	struct sim_verdict verdict;
	int code = 0;

	if (disk->hook)
		code = disk->hook(disk->hook_context, &process->os, call, path,
		                  sim_trace_length(disk), err);
	pthread_mutex_lock(&disk->mutex);
	if (code)
		return (struct sim_verdict){ .code = code };
	verdict = judge(process, call, operation, name, path, err);
	return verdict;
}

struct sim_verdict sim_enter_file(struct os_file *file, enum sim_call call,
                                 const char *operation, struct err *err)
{
	return sim_enter(sim_process_of(file->os), call, operation, file->name,
	                 sim_file_of(file)->path, err);
}

int sim_leave(struct sim_disk *disk, int code)
{
	pthread_mutex_unlock(&disk->mutex);
	return code;
}

int sim_fail_readonly(struct err *err, const char *operation,
                         const char *name)
{
	return err_set(err, ERR_READONLY, operation, name,
	               "it is open for reading only");
}

void sim_file_remove(struct sim_process *process, struct sim_file *file)
{
	struct sim_inode *inode = &process->disk->inodes[file->inode];

	sim_locks_drop(process->disk, file);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	inode->opens--;
	sim_inode_settle(inode);
	free(file);
}

/* Processes */

struct os *sim_process_open(struct sim_disk *disk)
{
	struct sim_process *process = sim_allocate(sizeof *process);

	process->os.methods = &sim_methods;
	process->disk = disk;
	process->calls_left = UINT64_MAX;
	process->canary = 1;
	pthread_mutex_lock(&disk->mutex);
	process->id = 1000 + ++disk->process_last;
	process->next = disk->processes;
	disk->processes = process;
	pthread_mutex_unlock(&disk->mutex);
	return &process->os;
}

void sim_process_close(struct os *os)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	struct sim_process **link = &disk->processes;

	pthread_mutex_lock(&disk->mutex);
	sim_trace_observe(disk);
	while (process->files)
		sim_file_remove(process, process->files);
	while (process->regions) {
		struct sim_region *region = process->regions;

		munmap(region->at, region->size);
		sim_regions_drop(process, region->at, region->size, true);
	}
	while (*link != process)
		link = &(*link)->next;
	*link = process->next;
	pthread_mutex_unlock(&disk->mutex);
	free(process);
}

void sim_process_kill(struct os *os)
{
	struct sim_process *process = sim_process_of(os);

	pthread_mutex_lock(&process->disk->mutex);
	sim_process_die(process);
	pthread_mutex_unlock(&process->disk->mutex);
}

void sim_process_kill_after(struct os *os, uint64_t calls, bool in_the_middle)
{
	struct sim_process *process = sim_process_of(os);

	process->calls_left = calls;
	process->dies_in_the_middle = in_the_middle;
}

bool sim_process_is_dead(const struct os *os)
{
	return sim_process_of(os)->dead;
}

size_t sim_process_open_count(const struct os *os)
{
	const struct sim_process *process = sim_process_of(os);
	size_t count = 0;

	for (struct sim_file *file = process->files; file; file = file->next)
		count++;
	for (struct sim_region *region = process->regions; region;
	     region = region->next)
		count++;
	return count;
}

/* Hooks, faults, counters, the clock */

void sim_hook_set(struct sim_disk *disk, sim_hook *hook, void *context)
{
	disk->hook = hook;
	disk->hook_context = context;
}

void sim_fault_add(struct sim_disk *disk, const struct sim_fault *fault)
{
	assert(disk->fault_count < SIM_FAULTS_MAX && fault->nth > 0 &&
	       fault->code != ERR_NONE);
	disk->faults[disk->fault_count++] = *fault;
}

void sim_fault_clear(struct sim_disk *disk)
{
	disk->fault_count = 0;
}

uint64_t sim_fault_hits(struct sim_disk *disk)
{
	return disk->fault_hits;
}

uint64_t sim_call_count(struct sim_disk *disk, enum sim_call call)
{
	return disk->calls[call];
}

uint64_t sim_clock_us(struct sim_disk *disk)
{
	return disk->clock_us;
}

void sim_clock_advance(struct sim_disk *disk, uint64_t us)
{
	pthread_mutex_lock(&disk->mutex);
	disk->clock_us += us;
	pthread_mutex_unlock(&disk->mutex);
}
