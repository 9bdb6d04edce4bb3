/*
 * page_file.c - one data file, mapped: its images are lent, each checked once.
 *
 * Architecture  Below page tables and the store; above base/os.h. Knows what a
 *               reference must look like, not what is in a page. Writing is in
 *               page_file_write.c, growing and shrinking in page_file_size.c.
 * Structures    Address space in doubling chunks, beside each a sparse table of
 *               the checksums verified: see page_file_private.h.
 * Growth        Another process may have grown the file: a place beyond what is
 *               mapped asks the system for the size, maps what is new behind
 *               what is there, and looks again. Nothing ever moves.
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

enum { PAGE_SIZE_MAX = 65536 };

#define NO_COPY "compressed images are not made by this version"

/* --- chunks --------------------------------------------------------------- */

static uint64_t chunk_start(uint32_t chunk)
{
	return chunk ? UINT64_C(1) << (CHUNK_FIRST_BITS - 1 + chunk) : 0;
}

static uint64_t chunk_units(uint32_t chunk)
{
	return page_file_chunk_end(chunk) - chunk_start(chunk);
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
		uint64_t end = page_file_chunk_end(chunk);

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

int page_file_reach(struct page_file *file, const struct page_ref *ref,
                    bool *within, struct err *err)
{
	int rc = ERR_NONE;

	*within = page_file_is_mapped(file, ref);
	if (!*within) {
		rc = map_growth(file, err);
		*within = page_file_is_mapped(file, ref);
	}
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
	               (unsigned long long)page_file_whole_units(bytes),
	               (unsigned long long)bytes);
}

/* Length, alignment and end; maps what has grown. Keeps (F1). */
int page_file_place_check(struct page_file *file, const struct page_ref *ref,
                          uint64_t tag, struct err *err)
{
	uint32_t length = page_file_length(file, tag);
	bool within;
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
	rc = page_file_reach(file, ref, &within, err);
	if (rc)
		return rc;
	return within ? ERR_NONE : refuse_beyond(file, ref, tag, "read", err);
}

/* --- reading -------------------------------------------------------------- */

uint64_t page_file_checksum(uint32_t file_id, uint64_t tag, uint64_t birth,
                            const void *bytes, size_t size)
{
	return checksum64(bytes, size, checksum_seed(file_id, tag, birth));
}

static uint64_t checksum_of_image(struct page_file *file,
                                  const struct page_ref *ref, uint64_t tag)
{
	struct os *os = file->os_file->os;
	uint64_t computed, start = os->methods->monotonic_us(os);

	page_file_pace_before(file, ref);
	computed = page_file_checksum(file->identity.file_id, tag, ref->birth,
	                              page_file_bytes(file, ref->place),
	                              ref->length);
	page_file_pace_after(file, os->methods->monotonic_us(os) - start);
	return computed;
}

int page_file_verify(struct page_file *file, const struct page_ref *ref,
                     uint64_t tag, const uint8_t **bytes, struct err *err)
{
	uint64_t computed;
	char name[64];
	int rc;

	rc = page_file_place_check(file, ref, tag, err);
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

bool page_file_copy(struct page_file *file, const struct page_ref *ref,
                    void *bytes)
{
	struct err ignored;
	bool within;

	return !page_file_reach(file, ref, &within, &ignored) && within &&
	       !os_read(file->os_file, (uint64_t)ref->place * PLACE_SIZE, bytes,
	                ref->length, &ignored);
}

/* (F3) */
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
	    ref->length % PLACE_SIZE || !page_file_is_mapped(file, ref))
		return;
	known = page_file_known(file, ref, ref->length);
	if (known)
		__builtin_prefetch(known);
	else
		page_file_pace_hint(file);
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
