/*
 * page_file.h - one data file: mapped for reading, written by pwrite.
 *
 * Private to vfs/. Shared by all threads of the process. Bytes lent by
 * page_file_borrow() stay mapped, at the same address, until the file is closed;
 * whether they stay unchanged is a matter of snapshots. File sizes are multiples
 * of 64 KB; the file grows by page_file_reserve() only.
 */
#ifndef TURDB_VFS_PAGE_FILE_H
#define TURDB_VFS_PAGE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/os.h"
#include "vfs/page_format.h"

struct page_file;

struct page_file_identity {
	uint32_t file_id;
	uint32_t kind;        /* enum store_file_kind                     */
	uint32_t page_size;   /* of its logical pages                     */
	uint64_t birth;       /* txid that made it                        */
	uint64_t database[2];
	char hint[64];        /* zero-padded                              */
	char name[96];        /* relative to the directory                */
	bool header;          /* false for turdb.meta: unit 0 is not ours */
};

/* Opens and, when the identity has a header, checks it. ERR_MISSING,
 * ERR_CORRUPT, ERR_VERSION. */
int page_file_open(struct os_file *dir, struct heap *heap,
                   const struct page_file_identity *identity, bool writable,
                   struct page_file **file, struct err *err);

/* Makes (or, in recovery, remakes over an unfinished one) the file with its
 * header; nothing is synced. */
int page_file_create(struct os_file *dir, struct heap *heap,
                     const struct page_file_identity *identity, uint32_t mode,
                     struct page_file **file, struct err *err);
/* Writes the header again, as it was made. */
int page_file_header_write(struct page_file *file, struct err *err);
void page_file_close(struct page_file *file);

const struct page_file_identity *
page_file_identity_of(const struct page_file *file);
const char *page_file_name(const struct page_file *file);

/* Lends the image that `ref` names, verified when this process first touches that
 * version at that place. `length` of ref must be the page size (or PLACE_SIZE for
 * a map page). ERR_CORRUPT names file, page and what was wrong. The fast path
 * (verified, mapped) is a few loads, inline in page_file_private.h. */
static inline int page_file_borrow(struct page_file *file,
                                   const struct page_ref *ref, uint64_t tag,
                                   const uint8_t **bytes, struct err *err);

/* What borrow asks of a reference before it reads: ERR_CORRUPT when the length is not
 * the file's, or the place is not one of its own. */
int page_file_place_check(struct page_file *file, const struct page_ref *ref,
                          uint64_t tag, struct err *err);

/* As borrow, without trusting or updating the memory of what was verified: for
 * checks. Reads through the map. */
int page_file_verify(struct page_file *file, const struct page_ref *ref,
                     uint64_t tag, const uint8_t **bytes, struct err *err);

/* Copies what lies at the place of `ref`, whatever it is, by a read of its own. False:
 * the file does not reach so far, or cannot be read there. */
bool page_file_copy(struct page_file *file, const struct page_ref *ref,
                    void *bytes);

/* From now on each borrow verifies: a sync has failed, and pages that were good may
 * be read again from a disk that does not have them. */
void page_file_distrust(struct page_file *file);

/* A hint, never an error: the image will be borrowed soon. */
void page_file_prefetch(struct page_file *file, const struct page_ref *ref);

/* The checksum a reference to these bytes must carry. */
uint64_t page_file_checksum(uint32_t file_id, uint64_t tag, uint64_t birth,
                            const void *bytes, size_t size);

/* Writes an image at its place and remembers it as verified. The place must lie
 * within what page_file_reserve() made sure of. */
int page_file_write(struct page_file *file, const struct page_ref *ref,
                    const void *bytes, struct err *err);

/* Whether page_file_write() of that reference has all it needs from us, so that
 * only the system can make it fail. */
int page_file_write_ready(struct page_file *file, const struct page_ref *ref,
                          struct err *err);

/* Writes `count` images in the order given; neighbours whose places adjoin go to
 * the system in one call. After an error any of them may be written. */
int page_file_write_many(struct page_file *file, const struct page_ref *refs,
                         const void *const *bytes, size_t count,
                         struct err *err);

/* Makes sure that units [0, places) exist on disk (fallocate, growing in steps:
 * at least 64 KB, up to 1/8 of the file, at most 64 MB); *capacity is how many
 * there are now. ERR_FULL. */
int page_file_reserve(struct page_file *file, uint64_t places,
                      uint64_t *capacity, struct err *err);
/* Units that the file has, asked of the system; not for every commit, see
 * page_file_is_whole(). */
int page_file_capacity(struct page_file *file, uint64_t *capacity,
                       struct err *err);
/* Units that are known to be there without asking. */
uint64_t page_file_mapped(const struct page_file *file);

/* Only the last closer may: nobody else has it mapped. */
int page_file_truncate(struct page_file *file, uint64_t places,
                       struct err *err);
/* Whether all of it has its blocks on the disk, as far as the file system counts: no
 * write can find that full. Asks the system when `punches`, which grows before anybody
 * makes holes, is not what it was, and now and then while there are some. By the owner
 * of the writer lock. */
bool page_file_is_whole(struct page_file *file, uint64_t punches);
/* Gives the blocks of free places back to the file system. */
int page_file_punch(struct page_file *file, uint32_t place, uint32_t units,
                    struct err *err);
int page_file_sync(struct page_file *file, struct err *err);
/* Makes the sync that follows shorter, writing 512 KB at a time, so that other
 * syncs of the same disk find their turn in between. */
int page_file_write_back(struct page_file *file, struct err *err);
/* As much, for places about to be synced, without waiting. */
void page_file_write_start(struct page_file *file, uint32_t place,
                           uint32_t units);

#include "vfs/page_file_private.h"

#endif
