/*
 * reserve.c - room that is kept back, so that a full disk can still be emptied.
 *
 * Purpose       Pages are written anew wherever they change, so a DELETE needs places
 *               and log before it gives any back. turdb.reserve has blocks and no
 *               content: an eighth of the data, from 1 to 4 MB. A commit that meets a
 *               full disk and makes the database no larger gives them up, and is tried
 *               again; the checkpoint that follows makes what it replaced free.
 * Structures    A file of RESERVE bytes, or of none: then it has been given up, and
 *               reserve_short in shared memory says so to every process. No file: the
 *               database is new, or its last checkpoint was made by a library that did
 *               not know it.
 * Safety        (N1) While it is short only what makes the database no larger commits,
 *               until the disk has room for it again. So rows that are added cannot use
 *               up what deleting them will need.
 *               (N2) Nothing here is promised to anybody: a failure leaves it short.
 */
#include "vfs/store_private.h"

enum {
	PART = 8, /* of the data */
	BYTES_MIN = 1 << 20,
	BYTES_MAX = 4 << 20,
};

static const char file_name[] = "turdb.reserve";

static int add_size(void *context, uint32_t file_id,
                    const struct catalog_entry *entry, struct err *err)
{
	uint64_t *bytes = context;

	(void)file_id, (void)err;
	*bytes += (uint64_t)load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT) *
	          load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT);
	return ERR_NONE;
}

static uint64_t wanted(struct store *store, const struct store_root *root)
{
	uint64_t bytes = 0;
	struct err ignored;

	store_catalog_each(store, &root->catalog, add_size, &bytes, &ignored);
	bytes = bytes / PART / PLACE_SIZE * PLACE_SIZE;
	return bytes < BYTES_MIN ? BYTES_MIN : bytes > BYTES_MAX ? BYTES_MAX
	                                                         : bytes;
}

static int open_file(struct store *store, unsigned flags, struct os_file **file)
{
	struct os_identity identity;
	struct err ignored;
	int rc = store->os->methods->identity(store->meta, &identity, &ignored);

	return rc ? rc
	          : os_open(store->dir, file_name, OS_OPEN_WRITE | flags,
	                    identity.mode, file, &ignored);
}

static void set_short(struct store *store, bool is)
{
	atomic_store(&store->shm.head->reserve_short, is);
}

/* Blocks for all of it, or for as much as it had. (N2) */
static bool fill(struct store *store, struct os_file *file, uint64_t had,
                 uint64_t bytes)
{
	struct err ignored;

	if (store->os->methods->allocate(file, 0, bytes, &ignored) == ERR_NONE)
		return true;
	store->os->methods->truncate(file, had, &ignored);
	return had != 0;
}

void store_reserve_keep(struct store *store, const struct store_root *root)
{
	uint64_t bytes = wanted(store, root), had;
	struct os_identity identity;
	struct os_file *file;
	struct err ignored;

	if (store->os->methods->identify(store->os, store->dir, file_name,
	                                 &identity, &ignored) ||
	    (identity.kind == OS_NODE_FILE && identity.size >= bytes &&
	     identity.allocated >= bytes)) {
		set_short(store, false);
		return;
	}
	if (open_file(store, OS_OPEN_CREATE | OS_OPEN_MODE_EXACT, &file))
		return;
	had = identity.kind == OS_NODE_FILE &&
	                      identity.allocated >= identity.size
	              ? identity.size : 0;
	set_short(store, !fill(store, file, had, bytes));
	os_close(file);
}

bool store_reserve_give(struct store *store)
{
	struct os_identity identity = { .size = 0 };
	struct os_file *file;
	struct err ignored;
	bool given;

	if (open_file(store, 0, &file))
		return false;
	given = !store->os->methods->identity(file, &identity, &ignored) &&
	        identity.size &&
	        !store->os->methods->truncate(file, 0, &ignored);
	os_close(file);
	set_short(store, true);
	return given;
}

void store_reserve_look(struct store *store)
{
	struct os_identity identity;
	struct err ignored;

	set_short(store, !store->os->methods->identify(store->os, store->dir,
	                                               file_name, &identity,
	                                               &ignored) &&
	                         identity.kind == OS_NODE_FILE &&
	                         identity.size == 0);
}

bool store_reserve_short(const struct store *store)
{
	return atomic_load_explicit(&store->shm.head->reserve_short,
	                            memory_order_relaxed) != 0;
}
