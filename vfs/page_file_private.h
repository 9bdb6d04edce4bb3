/*
 * page_file_private.h - how an open page file lies in memory.
 *
 * For page_file*.c, page_table*.c and the inline fast path; nobody else looks
 * inside. Address space comes in chunks that double, so that a file grows
 * without moving: chunk 0 holds the first 64 MB, chunk k > 0 the units
 * [2^(13+k), 2^(14+k)). No image crosses a chunk, for images are aligned to
 * their own size. Both addresses of a chunk are those that unit 0 would have,
 * so an image's address is one multiply-add.
 *
 * Beside the bytes lies one u64 per unit: the checksum of the version that this
 * process has verified (or written) at that place, 0 = none. It is read and
 * written relaxed: whoever misses a store verifies once more. A version whose
 * checksum is 0 is verified every time.
 */
#ifndef TURDB_VFS_PAGE_FILE_PRIVATE_H
#define TURDB_VFS_PAGE_FILE_PRIVATE_H

#include <stdatomic.h>

#include "base/lock.h"
#include "vfs/page_file.h"

enum {
	CHUNK_FIRST_BITS = 14, /* units of chunk 0: 2^14 = 64 MB */
	CHUNKS = 32 - CHUNK_FIRST_BITS + 1,
};

#define PLACES_MAX (UINT64_C(1) << 32)

struct page_file_chunk {
	uintptr_t bytes;    /* where unit 0 would be         */
	uintptr_t verified; /* where unit 0's entry would be */
};

/* What the last first readings were like; relaxed, for a wrong guess costs only
 * time. */
struct page_file_pace {
	_Atomic uint32_t cold; /* so many more are expected to wait for the disk */
	_Atomic uint32_t end;  /* where the last image ended                     */
	_Atomic uint32_t run;  /* how many images in a row adjoined              */
	_Atomic uint32_t walk; /* so many are expected to belong to a walk       */
};

struct page_file {
	_Atomic uint64_t units; /* mapped, and inside the file when mapped */
	uint32_t page_size;
	struct page_file_chunk chunks[CHUNKS];

	struct page_file_pace pace;
	struct lock mapping; /* guards growth of `units` and `chunks` */
	uint64_t laid;       /* units laid out in address space, >= units */
	void *reserved[CHUNKS];
	void *tables[CHUNKS];
	struct os_file *os_file;
	struct heap *heap;
	bool writable;
	_Atomic bool suspect; /* page_file_distrust(): nothing is known for good */
	_Atomic uint32_t wholeness; /* 0 = not asked; WHOLE; HOLES and counting */
	_Atomic uint64_t whole_at;  /* the punches there were then              */
	struct page_file_identity identity;
};

static inline uint32_t page_file_chunk_of(uint32_t place)
{
	return 31u - (uint32_t)__builtin_clz(
		place >> (CHUNK_FIRST_BITS - 1) | 1u);
}

/* One past the last unit of a chunk. */
static inline uint64_t page_file_chunk_end(uint32_t chunk)
{
	return UINT64_C(1) << (CHUNK_FIRST_BITS + chunk);
}

static inline _Atomic uint64_t *page_file_verified(
	const struct page_file *file, uint32_t place)
{
	uintptr_t base = file->chunks[page_file_chunk_of(place)].verified;

	return (_Atomic uint64_t *)(base + place * sizeof(uint64_t));
}

static inline const uint8_t *page_file_bytes(const struct page_file *file,
                                             uint32_t place)
{
	uintptr_t base = file->chunks[page_file_chunk_of(place)].bytes;

	return (const uint8_t *)(base + (uintptr_t)place * PLACE_SIZE);
}

/* The image, if this process has verified that version; else NULL. `length` is
 * what the reference says (flags and all), `wanted` what an image of this kind
 * must have. */
static inline const uint8_t *page_file_known_at(const struct page_file *file,
                                                uint32_t place,
                                                uint32_t length,
                                                uint64_t checksum,
                                                uint32_t wanted)
{
	uint64_t mapped =
		atomic_load_explicit(&file->units, memory_order_acquire);
	uint32_t units = wanted / PLACE_SIZE;
	uint64_t seen;

	if (__builtin_expect(length != wanted || (place & (units - 1)) ||
	                     (uint64_t)place + units > mapped, 0))
		return NULL;
	seen = atomic_load_explicit(page_file_verified(file, place),
	                            memory_order_relaxed);
	if (__builtin_expect(seen != checksum || seen == 0, 0))
		return NULL;
	return page_file_bytes(file, place);
}

static inline const uint8_t *page_file_known(const struct page_file *file,
                                             const struct page_ref *ref,
                                             uint32_t wanted)
{
	return page_file_known_at(file, ref->place, ref->length, ref->checksum,
	                          wanted);
}

/* What borrow does when the version is not known yet. */
int page_file_borrow_first(struct page_file *file, const struct page_ref *ref,
                           uint64_t tag, const uint8_t **bytes,
                           struct err *err);

/* Maps what the file has grown by, where the image needs that; *within says whether
 * the image lies in the file at all. */
int page_file_reach(struct page_file *file, const struct page_ref *ref,
                    bool *within, struct err *err);

/* Whether the image lies in what is mapped. */
static inline bool page_file_is_mapped(const struct page_file *file,
                                       const struct page_ref *ref)
{
	return (uint64_t)ref->place + ref->length / PLACE_SIZE <=
	       atomic_load_explicit(&file->units, memory_order_acquire);
}

/* The units of a file of that size. A tail that is no whole granule was not made
 * by us and is not used. */
uint64_t page_file_whole_units(uint64_t bytes);

/* page_file_pace.c: around the first touch of an image, and `took_us` how long that
 * was; and when the images to come belong to a walk. */
void page_file_pace_before(struct page_file *file, const struct page_ref *ref);
void page_file_pace_after(struct page_file *file, uint64_t took_us);
void page_file_pace_hint(struct page_file *file);

/* ERR_READONLY when the file was opened for reading alone. */
int page_file_writable_check(const struct page_file *file, struct err *err);

/* page_file_header.c: that the file begins with the header of the file which the
 * catalog means. */
int page_file_header_check(struct page_file *file, struct err *err);

/* Marks a version as verified that page_file_verify() lent. */
void page_file_remember(struct page_file *file, const struct page_ref *ref);

static inline uint32_t page_file_length(const struct page_file *file,
                                        uint64_t tag)
{
	return tag >> 56 ? (uint32_t)PLACE_SIZE : file->page_size;
}

static inline int page_file_borrow(struct page_file *file,
                                   const struct page_ref *ref, uint64_t tag,
                                   const uint8_t **bytes, struct err *err)
{
	const uint8_t *known =
		page_file_known(file, ref, page_file_length(file, tag));

	if (__builtin_expect(known == NULL, 0))
		return page_file_borrow_first(file, ref, tag, bytes, err);
	*bytes = known;
	return ERR_NONE;
}

#endif
