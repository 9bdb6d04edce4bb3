/*
 * page_file_size.c - how much of the disk a page file has: growth, cuts and holes.
 *
 * Sizes are whole granules of 64 KB. Blocks are taken before they are used, so that
 * a full disk is an error here and never at a write; where a file has holes, that
 * does not hold, and page_file_is_whole() says so.
 */
#include "vfs/page_file.h"

enum {
	GRANULE = 65536 / PLACE_SIZE, /* units that a file grows by at least */
	STEP_MAX = (64 << 20) / PLACE_SIZE,
	STEP_PART = 8, /* of the file */

	WHOLE = 1, /* answers, from HOLES on with how often they were given */
	HOLES = 2,
	HOLES_ASK_AGAIN = HOLES + 1000,
};

static uint64_t round_up(uint64_t units)
{
	return (units + GRANULE - 1) / GRANULE * GRANULE;
}

uint64_t page_file_whole_units(uint64_t bytes)
{
	uint64_t units = bytes / PLACE_SIZE / GRANULE * GRANULE;

	return units < PLACES_MAX ? units : PLACES_MAX;
}

/* --- growing and cutting ---------------------------------------------------- */

int page_file_capacity(struct page_file *file, uint64_t *capacity,
                       struct err *err)
{
	uint64_t bytes;
	int rc = file->os_file->os->methods->size(file->os_file, &bytes, err);

	if (!rc)
		*capacity = page_file_whole_units(bytes);
	return rc;
}

uint64_t page_file_mapped(const struct page_file *file)
{
	return atomic_load_explicit(&file->units, memory_order_acquire);
}

static int allocate(struct page_file *file, uint64_t from, uint64_t to,
                    struct err *err)
{
	return file->os_file->os->methods->allocate(
		file->os_file, from * PLACE_SIZE, (to - from) * PLACE_SIZE, err);
}

static uint64_t grown(uint64_t capacity)
{
	uint64_t step = capacity / STEP_PART;

	return round_up(capacity + (step < STEP_MAX ? step : STEP_MAX));
}

/* A disk too full for the whole step may still have what is needed now. */
int page_file_reserve(struct page_file *file, uint64_t places,
                      uint64_t *capacity, struct err *err)
{
	uint64_t now, least = round_up(places), most;
	int rc;

	if (least > PLACES_MAX)
		return err_set(err, ERR_FULL, "grow", page_file_name(file),
		               "it would have %llu places of %d bytes, more "
		               "than %llu", (unsigned long long)least,
		               PLACE_SIZE, (unsigned long long)PLACES_MAX);
	rc = page_file_writable_check(file, err);
	if (!rc)
		rc = page_file_capacity(file, &now, err);
	if (rc)
		return rc;
	if (now >= least) {
		*capacity = now;
		return ERR_NONE;
	}
	most = grown(now) > least ? grown(now) : least;
	if (most > PLACES_MAX)
		most = least;
	rc = allocate(file, now, most, err);
	if (rc == ERR_FULL && most > least) {
		most = least;
		rc = allocate(file, now, most, err);
	}
	if (!rc)
		*capacity = most;
	return rc;
}

/* What lies behind the new end will be zero when the file grows again, so it is
 * forgotten. The address space stays. */
int page_file_truncate(struct page_file *file, uint64_t places,
                       struct err *err)
{
	uint64_t end = round_up(places > FILE_FIRST_PLACE ? places :
	                                                    FILE_FIRST_PLACE);
	uint64_t capacity;
	int rc;

	rc = page_file_capacity(file, &capacity, err);
	if (rc || end >= capacity)
		return rc;
	lock_take(&file->mapping);
	for (uint64_t unit = end; unit < file->units; unit++)
		atomic_store_explicit(page_file_verified(file, (uint32_t)unit),
		                      0, memory_order_relaxed);
	if (file->units > end)
		atomic_store_explicit(&file->units, end, memory_order_release);
	lock_release(&file->mapping);
	return file->os_file->os->methods->truncate(file->os_file,
	                                            end * PLACE_SIZE, err);
}

/* --- holes ---------------------------------------------------------------- */

/* What was verified there stays in the table (vfs/page_file F3): no reference to it is left. */
int page_file_punch(struct page_file *file, uint32_t place, uint32_t units,
                    struct err *err)
{
	return file->os_file->os->methods->punch(
		file->os_file, (uint64_t)place * PLACE_SIZE,
		(uint64_t)units * PLACE_SIZE, err);
}

/* Holes: what the file system was given back, or what a copy left out. */
static bool has_no_holes(const struct page_file *file)
{
	struct os_identity identity;
	struct err err;

	return !file->os_file->os->methods->identity(file->os_file, &identity,
	                                             &err) &&
	       identity.allocated >= identity.size;
}

/* To ask at each commit costs more than its time: since Linux 6.13 a file that was
 * asked for its times gets finer ones with the next write, and all files written from
 * then on get newer ones, the log's segment among them; each of its syncs then writes
 * its inode, too (a third of a durable commit). */
bool page_file_is_whole(struct page_file *file, uint64_t punches)
{
	uint32_t answer = atomic_load_explicit(&file->wholeness,
	                                       memory_order_relaxed);

	if (answer == 0 || answer == HOLES_ASK_AGAIN ||
	    atomic_load_explicit(&file->whole_at, memory_order_relaxed) !=
		    punches)
		answer = has_no_holes(file) ? WHOLE : HOLES;
	else if (answer != WHOLE)
		answer++;
	atomic_store_explicit(&file->whole_at, punches, memory_order_relaxed);
	atomic_store_explicit(&file->wholeness, answer, memory_order_relaxed);
	return answer == WHOLE;
}
