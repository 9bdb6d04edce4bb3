/*
 * shm.c - turdb.shm: mapped, grown by the writer, shared by all processes.
 *
 * The head comes first, then chunks of 32 KB for the allocator. Address space for
 * the whole is reserved once; each process maps more of the file when it meets a
 * chunk number beyond what it has. An immutable database has private memory here
 * instead, so that the code above does not care.
 */
#include "vfs/store_private.h"

enum {
	SHM_RESERVED = 1 << 30,
	SHM_GROWTH = 262144,
};

static int map_up_to(struct shm *shm, size_t bytes, struct err *err)
{
	size_t mapped;
	uint64_t size;
	int rc = ERR_NONE;

	if (bytes <= atomic_load_explicit(&shm->mapped, memory_order_acquire))
		return ERR_NONE;
	lock_take(shm->lock);
	mapped = atomic_load(&shm->mapped);
	if (bytes > mapped) {
		rc = shm->os->methods->size(shm->file, &size, err);
		if (!rc && (size < bytes || size > SHM_RESERVED))
			rc = err_set(err, ERR_CORRUPT, "map", shm->file->name,
			             "it has %llu bytes, %llu are in use",
			             (unsigned long long)size,
			             (unsigned long long)bytes);
		if (!rc)
			rc = shm->os->methods->map(shm->file, mapped,
			                           (size_t)size - mapped,
			                           shm->base + mapped, true,
			                           err);
		if (!rc)
			atomic_store_explicit(&shm->mapped, (size_t)size,
			                      memory_order_release);
	}
	lock_release(shm->lock);
	return rc;
}

static void *chunk_at(void *context, uint32_t chunk)
{
	struct shm *shm = context;
	size_t offset = SHM_HEAD_SIZE + (size_t)(chunk - 1) * SHM_CHUNK_SIZE;
	struct err err;

	if (chunk == 0 || offset + SHM_CHUNK_SIZE > SHM_RESERVED)
		return NULL;
	if (map_up_to(shm, offset + SHM_CHUNK_SIZE, &err))
		return NULL;
	return shm->base + offset;
}

static int chunk_grow(void *context, uint32_t *chunk, struct err *err)
{
	struct shm *shm = context;
	uint32_t count = atomic_load(&shm->head->chunks);
	size_t end = SHM_HEAD_SIZE + (size_t)(count + 1) * SHM_CHUNK_SIZE;
	size_t size = (end + SHM_GROWTH - 1) / SHM_GROWTH * SHM_GROWTH;
	int rc;

	if (end > SHM_RESERVED || !shm->file)
		return err_set(err, ERR_TOOBIG, "grow", "turdb.shm",
		               "the allocator needs more than %d bytes",
		               SHM_RESERVED);
	if (end > atomic_load(&shm->mapped)) {
		rc = shm->os->methods->allocate(shm->file, 0, size, err);
		if (rc)
			return rc;
		rc = map_up_to(shm, end, err);
		if (rc)
			return rc;
	}
	memset(shm->base + end - SHM_CHUNK_SIZE, 0, SHM_CHUNK_SIZE);
	atomic_store(&shm->head->chunks, count + 1);
	*chunk = count + 1;
	return ERR_NONE;
}

static void attach(struct store *store)
{
	struct shm *shm = &store->shm;

	shm->head = (struct shm_head *)(void *)shm->base;
	store->space.root = &shm->head->space;
	store->space.memory = (struct space_memory){
		.at = chunk_at, .grow = chunk_grow, .context = shm,
	};
}

static int open_private(struct store *store, struct err *err)
{
	void *base;
	int rc = store->os->methods->sparse(store->os, SHM_HEAD_SIZE, &base,
	                                    err);

	if (rc)
		return rc;
	store->shm.base = base;
	store->shm.reserved = SHM_HEAD_SIZE;
	store->shm.mapped = SHM_HEAD_SIZE;
	attach(store);
	return ERR_NONE;
}

int store_shm_open(struct store *store, struct err *err)
{
	struct shm *shm = &store->shm;
	struct os_identity identity;
	void *base;
	uint64_t size;
	int rc;

	*shm = (struct shm){ .os = store->os, .lock = &store->shm_lock };
	if (store->options.immutable)
		return open_private(store, err);
	rc = store->os->methods->identity(store->meta, &identity, err);
	if (rc)
		return rc;
	rc = os_open(store->dir, "turdb.shm",
	             OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_IN_PLACE,
	             identity.mode, &shm->file, err);
	if (rc)
		return rc;
	rc = store->os->methods->size(shm->file, &size, err);
	if (!rc && size < SHM_HEAD_SIZE)
		rc = store->os->methods->allocate(shm->file, 0, SHM_HEAD_SIZE,
		                                  err);
	if (rc)
		goto close_file;
	rc = store->os->methods->reserve(store->os, SHM_RESERVED, &base, err);
	if (rc)
		goto close_file;
	shm->base = base;
	shm->reserved = SHM_RESERVED;
	rc = map_up_to(shm, SHM_HEAD_SIZE, err);
	if (rc)
		goto unreserve;
	attach(store);
	return ERR_NONE;

unreserve:
	store->os->methods->unreserve(store->os, base, SHM_RESERVED);
close_file:
	os_close(shm->file);
	shm->file = NULL;
	return rc;
}

void store_shm_close(struct store *store)
{
	struct shm *shm = &store->shm;

	if (shm->base)
		store->os->methods->unreserve(store->os, shm->base,
		                              shm->reserved);
	os_close(shm->file);
	*shm = (struct shm){ .os = store->os };
}

enum { CLEAR_STEP = 4096 };

/* Nearly all of it is zero already. To look costs a read of mapped memory; a write
 * costs a fault for each page and the file system's leave: 25 us against 200. */
static void head_clear(struct shm_head *head)
{
	uint8_t *bytes = (void *)head;

	for (size_t at = 0; at < sizeof *head; at += CLEAR_STEP) {
		size_t step = sizeof *head - at;

		if (step > CLEAR_STEP)
			step = CLEAR_STEP;
		if (memcmp(bytes + at, store_zeros, step) != 0)
			memset(bytes + at, 0, step);
	}
}

/* The caller is alone. Old chunks are cleared as they are given out again; the
 * generations of processes keep growing over the life of the file, and poison is
 * for who recovers to lift. */
void store_shm_clear(struct store *store)
{
	struct shm_head *head = store->shm.head;
	uint64_t generations[SHM_PROCESSES];
	uint32_t poisoned = atomic_load(&head->poisoned);

	atomic_store(&head->built, 0);
	for (uint32_t i = 0; i < SHM_PROCESSES; i++)
		generations[i] = atomic_load(&head->processes[i].generation);
	head_clear(head);
	for (uint32_t i = 0; i < SHM_PROCESSES; i++)
		if (generations[i])
			atomic_store(&head->processes[i].generation,
			             generations[i]);
	atomic_store(&head->poisoned, poisoned);
	head->layout = SHM_LAYOUT;
	head->head_size = sizeof *head;
	head->database[0] = store->database[0];
	head->database[1] = store->database[1];
	atomic_store(&head->magic, SHM_MAGIC);
}
