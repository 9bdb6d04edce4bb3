/*
 * process.c - who lives.
 *
 * Each process holds an OFD lock on its own byte of turdb.meta as long as it has
 * the database open: the kernel drops it with the process, whatever way that dies.
 * A word (slot or lock) names its owner as (index + 1, generation); it may be taken
 * from that owner only when the owner's byte is free or the generation has moved
 * on, and only by compare-and-swap.
 */
#include "vfs/store_private.h"

static uint64_t owner_word(uint32_t index, uint64_t generation)
{
	return (uint64_t)(index + 1) << 32 | (generation & 0xffffffffu);
}

int store_process_register(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	bool held;
	int rc;

	for (uint32_t i = 0; i < SHM_PROCESSES; i++) {
		struct shm_process *process = &head->processes[i];
		uint64_t generation;

		rc = store->os->methods->lock(store->meta, LOCK_PROCESS_AT + i,
		                              OS_LOCK_EXCLUSIVE, &held, err);
		if (rc)
			return rc;
		if (!held)
			continue;
		generation = atomic_fetch_add(&process->generation, 1) + 1;
		atomic_store(&process->pid,
		             store->os->methods->process_id(store->os));
		atomic_store(&process->since_ms,
		             store->os->methods->monotonic_us(store->os) / 1000);
		atomic_store(&process->in_use, 1);
		store->process = i;
		store->owner = owner_word(i, generation);
		return ERR_NONE;
	}
	return err_set(err, ERR_BUSY, "open", store->path,
	               "%d processes have it open, which is the most there can be",
	               SHM_PROCESSES);
}

void store_process_leave(struct store *store)
{
	struct err err;
	bool held;

	if (!store->owner || store_forked(store, NULL))
		return;
	atomic_store(&store->shm.head->processes[store->process].in_use, 0);
	store->os->methods->lock(store->meta, LOCK_PROCESS_AT + store->process,
	                         OS_LOCK_NONE, &held, &err);
	store->owner = 0;
}

/* (rule 8) */
bool store_process_lives(struct store *store, uint64_t owner)
{
	uint32_t index = (uint32_t)(owner >> 32) - 1;
	struct shm_process *process;
	struct err err;
	bool held = true;

	if (owner == store->owner)
		return true;
	if (index >= SHM_PROCESSES)
		return false;
	process = &store->shm.head->processes[index];
	if (owner_word(index, atomic_load(&process->generation)) != owner)
		return false;
	if (store->os->methods->lock_probe(store->meta, LOCK_PROCESS_AT + index,
	                                   &held, &err))
		return true;
	return held;
}

bool store_process_index_lives(void *context, uint32_t index)
{
	struct store *store = context;

	if (index >= SHM_PROCESSES)
		return false;
	return store_process_lives(store, owner_word(index,
		atomic_load(&store->shm.head->processes[index].generation)));
}

uint32_t store_owner_pid(const struct store *store, uint64_t owner)
{
	uint32_t index = (uint32_t)(owner >> 32) - 1;

	if (index >= SHM_PROCESSES)
		return 0;
	return atomic_load(&store->shm.head->processes[index].pid);
}

int store_forked(const struct store *store, struct err *err)
{
	if (!store->canary || *store->canary)
		return ERR_NONE;
	return err_set(err, ERR_INVALID, "use", store->path,
	               "the connection was opened before fork(): open it again in the child");
}
