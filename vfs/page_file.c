/*
 * page_file.c - one data file: mapped for reading, written by pwrite.
 *
 * Purpose       Lends page images without copying, each checked once, and
 *               writes new ones behind the readers' backs.
 * Architecture  Below page tables and the store; above base/os.h. Knows what a
 *               reference must look like, not what is in a page.
 * Structures    Address space in doubling chunks, beside each a sparse table of
 *               the checksums verified: see page_file_private.h.
 * Growth        Another process may have grown the file: a place beyond what is
 *               mapped asks the system for the size, maps what is new behind
 *               what is there, and looks again. Nothing ever moves.
 * Reading       The first reading of a version touches all of it. When such
 *               readings wait for the disk, the next ones ask for the whole image
 *               at once before they touch it (93 us where faults took 180, for 16
 *               KB at random): the kernel would read 128 KB around it. A run of
 *               adjoining images and a walk over leaves want just that, and are
 *               left to the kernel: asking ahead for them, by the image or by up to
 *               2 MB, made cold scans of 200 to 500 MB 1.3 to 2 times as long.
 *               While nothing waits nothing is asked.
 * Performance   A known version costs a few loads and no call. An unknown one
 *               costs its checksum and its page faults.
 * Safety        (F1) Bytes of the map beyond `units` are never touched.
 *               (F2) `units` grows under the mapping lock only, after chunk and
 *               map are in place, with release; readers load it with acquire.
 *               (F3) A nonzero table entry means: at this place this process
 *               saw or wrote bytes of this checksum.
 */
#include "vfs/page_file.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/checksum.h"

enum {
	GRANULE = 65536 / PLACE_SIZE, /* units that a file grows by at least */
	STEP_MAX = (64 << 20) / PLACE_SIZE,
	STEP_PART = 8, /* of the file */
	PAGE_SIZE_MAX = 65536,
	SPANS_MAX = 16,
	WRITE_BACK_SIZE = 512 << 10,

	WHOLE = 1, /* answers, from HOLES on with how often they were given */
	HOLES = 2,
	HOLES_ASK_AGAIN = HOLES + 1000,

	/* Of first readings. */
	WAITED_US = 40,   /* longer than any checksum: the disk was asked   */
	COLD_CREDIT = 32, /* so many are watched after one that waited      */
	RUN_MIN = 2,
	RUN_GAP = 16,     /* units that may lie between images of a run     */
	WALK_CREDIT = 8,  /* so many belong to a walk after a hint          */
};

#define PLACES_MAX (UINT64_C(1) << 32)
#define NO_COPY "compressed images are not made by this version"

/* --- units and chunks ----------------------------------------------------- */

static uint64_t round_up(uint64_t units)
{
	return (units + GRANULE - 1) / GRANULE * GRANULE;
}

/* A tail that is no whole granule was not made by us and is not used. */
static uint64_t whole_units(uint64_t bytes)
{
	uint64_t units = bytes / PLACE_SIZE / GRANULE * GRANULE;

	return units < PLACES_MAX ? units : PLACES_MAX;
}

static uint64_t chunk_start(uint32_t chunk)
{
	return chunk ? UINT64_C(1) << (CHUNK_FIRST_BITS - 1 + chunk) : 0;
}

static uint64_t chunk_end(uint32_t chunk)
{
	return UINT64_C(1) << (CHUNK_FIRST_BITS + chunk);
}

static uint64_t chunk_units(uint32_t chunk)
{
	return chunk_end(chunk) - chunk_start(chunk);
}

/* --- mapping -------------------------------------------------------------- */

static int reserve_chunk(struct page_file *file, uint32_t chunk,
                         struct err *err)
{
	struct os *os = file->os_file->os;
	uint64_t units = chunk_units(chunk), start = chunk_start(chunk);
	void *bytes, *table;
	int rc;

	if (file->reserved[chunk])
		return ERR_NONE;
	rc = os->methods->reserve(os, units * PLACE_SIZE, &bytes, err);
	if (rc)
		return rc;
	rc = os->methods->sparse(os, units * sizeof(uint64_t), &table, err);
	if (rc) {
		os->methods->unreserve(os, bytes, units * PLACE_SIZE);
		return rc;
	}
	file->reserved[chunk] = bytes;
	file->tables[chunk] = table;
	file->chunks[chunk] = (struct page_file_chunk){
		.bytes = (uintptr_t)bytes - start * PLACE_SIZE,
		.verified = (uintptr_t)table - start * sizeof(uint64_t),
	};
	return ERR_NONE;
}

/* Lays out [laid, units) in address space. Keeps (F2). */
static int map_up_to(struct page_file *file, uint64_t units, struct err *err)
{
	struct os *os = file->os_file->os;
	int rc;

	while (file->laid < units) {
		uint32_t chunk = page_file_chunk_of((uint32_t)file->laid);
		uint64_t end = chunk_end(chunk);

		if (end > units)
			end = units;
		rc = reserve_chunk(file, chunk, err);
		if (rc)
			return rc;
		rc = os->methods->map(file->os_file, file->laid * PLACE_SIZE,
		                      (end - file->laid) * PLACE_SIZE,
		                      (void *)page_file_bytes(
			                      file, (uint32_t)file->laid),
		                      false, err);
		if (rc)
			return rc;
		file->laid = end;
	}
	atomic_store_explicit(&file->units, units, memory_order_release);
	return ERR_NONE;
}

/* Maps whatever the file has now. */
static int map_growth(struct page_file *file, struct err *err)
{
	uint64_t capacity;
	int rc;

	lock_take(&file->mapping);
	rc = page_file_capacity(file, &capacity, err);
	if (!rc && capacity > file->units)
		rc = map_up_to(file, capacity, err);
	lock_release(&file->mapping);
	return rc;
}

/* --- what may be wrong with a reference ----------------------------------- */

/* "read page 7 of", "read map page 3 of level 1 of" */
static const char *name_of(char name[64], const char *verb, uint64_t tag)
{
	if (tag >> 56)
		snprintf(name, 64, "%s map page %llu of level %u of", verb,
		         (unsigned long long)(tag << 8 >> 8),
		         (unsigned)(tag >> 56));
	else
		snprintf(name, 64, "%s page %llu of", verb,
		         (unsigned long long)tag);
	return name;
}

static int refuse_length(const struct page_file *file,
                         const struct page_ref *ref, uint64_t tag,
                         uint32_t wanted, struct err *err)
{
	char name[64];

	return err_set(err, ERR_CORRUPT, name_of(name, "read", tag),
	               page_file_name(file),
	               "its reference says %u bytes at place %u, wanted %u%s",
	               ref->length, ref->place, wanted,
	               ref->length && ref->length < wanted ? " (" NO_COPY ")" : "");
}

static int refuse_place(const struct page_file *file,
                        const struct page_ref *ref, uint64_t tag,
                        const char *why, struct err *err)
{
	char name[64];

	return err_set(err, ERR_CORRUPT, name_of(name, "read", tag),
	               page_file_name(file), "place %u (%u bytes) %s",
	               ref->place, ref->length, why);
}

static int refuse_beyond(struct page_file *file, const struct page_ref *ref,
                         uint64_t tag, const char *verb, struct err *err)
{
	char name[64];
	uint64_t bytes;
	int rc = file->os_file->os->methods->size(file->os_file, &bytes, err);

	if (rc)
		return rc;
	return err_set(err, ERR_CORRUPT, name_of(name, verb, tag),
	               page_file_name(file),
	               "place %u (%u bytes) lies beyond the file's end at place "
	               "%llu (%llu bytes)",
	               ref->place, ref->length,
	               (unsigned long long)whole_units(bytes),
	               (unsigned long long)bytes);
}

static bool is_mapped(struct page_file *file, const struct page_ref *ref)
{
	return (uint64_t)ref->place + ref->length / PLACE_SIZE <=
	       atomic_load_explicit(&file->units, memory_order_acquire);
}

/* Length, alignment and end; maps what has grown. Keeps (F1). */
static int check_place(struct page_file *file, const struct page_ref *ref,
                       uint64_t tag, struct err *err)
{
	uint32_t length = page_file_length(file, tag);
	int rc;

	if (ref->length != length)
		return refuse_length(file, ref, tag, length, err);
	if (ref->flags)
		return refuse_place(file, ref, tag,
		                    "has flags that an image cannot have", err);
	if (ref->place < FILE_FIRST_PLACE)
		return refuse_place(file, ref, tag,
		                    "is that of the file header", err);
	if (ref->place & (length / PLACE_SIZE - 1))
		return refuse_place(file, ref, tag,
		                    "is not aligned to its size", err);
	if (is_mapped(file, ref))
		return ERR_NONE;
	rc = map_growth(file, err);
	if (rc)
		return rc;
	if (!is_mapped(file, ref))
		return refuse_beyond(file, ref, tag, "read", err);
	return ERR_NONE;
}

/* --- reading -------------------------------------------------------------- */

uint64_t page_file_checksum(uint32_t file_id, uint64_t tag, uint64_t birth,
                            const void *bytes, size_t size)
{
	return checksum64(bytes, size, checksum_seed(file_id, tag, birth));
}

static uint32_t relaxed(const _Atomic uint32_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void relax(_Atomic uint32_t *at, uint32_t value)
{
	atomic_store_explicit(at, value, memory_order_relaxed);
}

/* Asks for units [from, to) as far as they are mapped in the chunk of `from`. */
static void ask_for(struct page_file *file, uint32_t from, uint64_t to)
{
	uint64_t mapped =
		atomic_load_explicit(&file->units, memory_order_acquire);
	uint64_t end = chunk_end(page_file_chunk_of(from));
	struct os *os = file->os_file->os;

	end = end < mapped ? end : mapped;
	end = end < to ? end : to;
	if (from < end)
		os->methods->advise(os, page_file_bytes(file, from),
		                    (end - from) * PLACE_SIZE,
		                    OS_ADVICE_WILL_NEED);
}

/* What is done for an image that is about to be touched for the first time. */
static void pace_before(struct page_file *file, const struct page_ref *ref)
{
	struct page_file_pace *pace = &file->pace;
	uint32_t units = ref->length / PLACE_SIZE;
	uint32_t gap = ref->place - relaxed(&pace->end);
	uint32_t run = gap <= RUN_GAP ? relaxed(&pace->run) + 1 : 0;
	uint32_t walk = relaxed(&pace->walk);

	relax(&pace->end, ref->place + units);
	relax(&pace->run, run);
	if (relaxed(&pace->cold) == 0 || run >= RUN_MIN)
		return;
	if (walk)
		relax(&pace->walk, walk - 1);
	else
		ask_for(file, ref->place, (uint64_t)ref->place + units);
}

static void pace_after(struct page_file *file, uint64_t took_us)
{
	uint32_t cold = relaxed(&file->pace.cold);

	if (took_us >= WAITED_US)
		relax(&file->pace.cold, COLD_CREDIT);
	else if (cold)
		relax(&file->pace.cold, cold - 1);
}

static uint64_t checksum_of_image(struct page_file *file,
                                  const struct page_ref *ref, uint64_t tag)
{
	struct os *os = file->os_file->os;
	uint64_t computed, start = os->methods->monotonic_us(os);

	pace_before(file, ref);
	computed = page_file_checksum(file->identity.file_id, tag, ref->birth,
	                              page_file_bytes(file, ref->place),
	                              ref->length);
	pace_after(file, os->methods->monotonic_us(os) - start);
	return computed;
}

int page_file_verify(struct page_file *file, const struct page_ref *ref,
                     uint64_t tag, const uint8_t **bytes, struct err *err)
{
	uint64_t computed;
	char name[64];
	int rc;

	rc = check_place(file, ref, tag, err);
	if (rc)
		return rc;
	computed = checksum_of_image(file, ref, tag);
	if (computed != ref->checksum)
		return err_set(err, ERR_CORRUPT, name_of(name, "read", tag),
		               page_file_name(file),
		               "checksum is %016llx, its reference says %016llx "
		               "(place %u, %u bytes, born in transaction %llu)",
		               (unsigned long long)computed,
		               (unsigned long long)ref->checksum, ref->place,
		               ref->length, (unsigned long long)ref->birth);
	*bytes = page_file_bytes(file, ref->place);
	return ERR_NONE;
}

void page_file_remember(struct page_file *file, const struct page_ref *ref)
{
	if (atomic_load_explicit(&file->suspect, memory_order_relaxed))
		return;
	atomic_store_explicit(page_file_verified(file, ref->place),
	                      ref->checksum, memory_order_relaxed);
}

void page_file_distrust(struct page_file *file)
{
	uint64_t units = atomic_load_explicit(&file->units, memory_order_acquire);

	if (atomic_exchange(&file->suspect, true))
		return;
	/* What was never looked at has no memory yet, and gets none. */
	for (uint32_t place = FILE_FIRST_PLACE; place < units; place++)
		if (atomic_load_explicit(page_file_verified(file, place),
		                         memory_order_relaxed))
			atomic_store_explicit(page_file_verified(file, place), 0,
			                      memory_order_relaxed);
}

int page_file_borrow_first(struct page_file *file, const struct page_ref *ref,
                           uint64_t tag, const uint8_t **bytes,
                           struct err *err)
{
	int rc = page_file_verify(file, ref, tag, bytes, err);

	if (!rc)
		page_file_remember(file, ref);
	return rc;
}

void page_file_prefetch(struct page_file *file, const struct page_ref *ref)
{
	const uint8_t *known;

	if (!ref->length || ref->length > PAGE_SIZE_MAX ||
	    ref->length % PLACE_SIZE || !is_mapped(file, ref))
		return;
	known = page_file_known(file, ref, ref->length);
	if (known)
		__builtin_prefetch(known);
	else
		relax(&file->pace.walk, WALK_CREDIT);
}

/* --- writing -------------------------------------------------------------- */

int page_file_writable_check(const struct page_file *file, struct err *err)
{
	if (file->writable)
		return ERR_NONE;
	return err_set(err, ERR_READONLY, "write to", page_file_name(file),
	               "it could only be opened for reading: its owner, its permissions or the mount forbid writing");
}

int page_file_write_ready(struct page_file *file, const struct page_ref *ref,
                          struct err *err)
{
	int rc = page_file_writable_check(file, err);

	if (rc)
		return rc;
	assert(ref->length && ref->length % PLACE_SIZE == 0);
	assert(ref->place >= FILE_FIRST_PLACE);
	if (is_mapped(file, ref))
		return ERR_NONE;
	rc = map_growth(file, err);
	if (rc)
		return rc;
	if (!is_mapped(file, ref))
		return err_set(err, ERR_CORRUPT, "write to",
		               page_file_name(file),
		               "place %u (%u bytes) lies beyond its end at place "
		               "%llu", ref->place, ref->length,
		               (unsigned long long)file->units);
	return ERR_NONE;
}

int page_file_write(struct page_file *file, const struct page_ref *ref,
                    const void *bytes, struct err *err)
{
	return page_file_write_many(file, ref, &bytes, 1, err);
}

/* How many of the images, from the first on, lie one behind the other. */
static size_t count_adjoining(const struct page_ref *refs, size_t count)
{
	size_t n = 1;

	while (n < count && n < SPANS_MAX &&
	       refs[n].place == refs[n - 1].place +
	                        refs[n - 1].length / PLACE_SIZE)
		n++;
	return n;
}

static int write_run(struct page_file *file, const struct page_ref *refs,
                     const void *const *bytes, size_t count, struct err *err)
{
	struct span spans[SPANS_MAX];
	int rc;

	for (size_t i = 0; i < count; i++) {
		rc = page_file_write_ready(file, &refs[i], err);
		if (rc)
			return rc;
		spans[i] = span_of(bytes[i], refs[i].length);
	}
	rc = os_write_spans(file->os_file, (uint64_t)refs[0].place * PLACE_SIZE,
	                    spans, count, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < count; i++)
		page_file_remember(file, &refs[i]);
	return ERR_NONE;
}

int page_file_write_many(struct page_file *file, const struct page_ref *refs,
                         const void *const *bytes, size_t count,
                         struct err *err)
{
	while (count) {
		size_t n = count_adjoining(refs, count);
		int rc = write_run(file, refs, bytes, n, err);

		if (rc)
			return rc;
		refs += n;
		bytes += n;
		count -= n;
	}
	return ERR_NONE;
}

/* --- size ----------------------------------------------------------------- */

int page_file_capacity(struct page_file *file, uint64_t *capacity,
                       struct err *err)
{
	uint64_t bytes;
	int rc = file->os_file->os->methods->size(file->os_file, &bytes, err);

	if (!rc)
		*capacity = whole_units(bytes);
	return rc;
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

/* What was verified there stays in the table (F3): no reference to it is left. */
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

int page_file_sync(struct page_file *file, struct err *err)
{
	return os_sync(file->os_file, err);
}

int page_file_write_back(struct page_file *file, struct err *err)
{
	struct os_file *os_file = file->os_file;
	const struct os_methods *os = os_file->os->methods;
	uint64_t size;
	int rc = ERR_NONE;

	if (!os->write_back || os->size(os_file, &size, err))
		return ERR_NONE;
	for (uint64_t at = 0; at < size && !rc; at += WRITE_BACK_SIZE)
		rc = os->write_back(os_file, at, WRITE_BACK_SIZE, err);
	return rc;
}

void page_file_write_start(struct page_file *file, uint32_t place,
                           uint32_t units)
{
	const struct os_methods *os = file->os_file->os->methods;

	if (os->write_back_begin)
		os->write_back_begin(file->os_file,
		                     (uint64_t)place * PLACE_SIZE,
		                     (uint64_t)units * PLACE_SIZE);
}

/* --- opening -------------------------------------------------------------- */

static int open_file(struct os_file *dir, struct heap *heap,
                     const struct page_file_identity *identity, unsigned flags,
                     uint32_t mode, struct page_file **file, struct err *err)
{
	uint32_t size = identity->page_size;
	struct page_file *made;
	int rc;

	if (size < PLACE_SIZE || size > PAGE_SIZE_MAX || (size & (size - 1)))
		return err_set(err, ERR_CORRUPT, "open", identity->name,
		               "a page size of %u bytes is impossible", size);
	made = heap_zeroed(heap, sizeof *made);
	if (!made)
		return err_set(err, ERR_NOMEM, "open", identity->name,
		               "out of memory");
	rc = os_open(dir, identity->name, flags, mode, &made->os_file, err);
	if (rc) {
		heap_free(heap, made);
		return rc;
	}
	lock_init(&made->mapping, LOCK_MAPPING);
	made->heap = heap;
	made->writable = flags & OS_OPEN_WRITE;
	made->page_size = size;
	made->identity = *identity;
	*file = made;
	return ERR_NONE;
}

int page_file_open(struct os_file *dir, struct heap *heap,
                   const struct page_file_identity *identity, bool writable,
                   struct page_file **file, struct err *err)
{
	struct page_file *made;
	int rc;

	rc = open_file(dir, heap, identity,
	               writable ? OS_OPEN_WRITE : OS_OPEN_READ, 0, &made, err);
	if (rc)
		return rc;
	if (identity->header)
		rc = page_file_header_check(made, err);
	if (rc) {
		page_file_close(made);
		return rc;
	}
	*file = made;
	return ERR_NONE;
}

/* An unfinished file is not cut: in recovery it may hold pages that a record
 * says are there already. */
int page_file_create(struct os_file *dir, struct heap *heap,
                     const struct page_file_identity *identity, uint32_t mode,
                     struct page_file **file, struct err *err)
{
	struct page_file *made;
	uint64_t capacity;
	int rc;

	rc = open_file(dir, heap, identity,
	               OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_MODE_EXACT,
	               mode, &made, err);
	if (rc)
		return rc;
	rc = page_file_reserve(made, FILE_FIRST_PLACE, &capacity, err);
	if (!rc && identity->header)
		rc = page_file_header_write(made, err);
	if (rc) {
		page_file_close(made);
		return rc;
	}
	*file = made;
	return ERR_NONE;
}

void page_file_close(struct page_file *file)
{
	struct os *os;

	if (!file)
		return;
	os = file->os_file->os;
	for (uint32_t i = 0; i < CHUNKS && file->reserved[i]; i++) {
		os->methods->unreserve(os, file->reserved[i],
		                       chunk_units(i) * PLACE_SIZE);
		os->methods->unreserve(os, file->tables[i],
		                       chunk_units(i) * sizeof(uint64_t));
	}
	lock_close(&file->mapping);
	os_close(file->os_file);
	heap_free(file->heap, file);
}

const struct page_file_identity *
page_file_identity_of(const struct page_file *file)
{
	return &file->identity;
}

const char *page_file_name(const struct page_file *file)
{
	return file->identity.name;
}
