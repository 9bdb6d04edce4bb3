/*
 * page_table.h - logical page numbers to references, a copy-on-write radix tree.
 *
 * Private to vfs/; format in page_format.h. A table is a value (root reference
 * and depth). Old tables stay readable while a snapshot retains them.
 */
#ifndef TURDB_VFS_PAGE_TABLE_H
#define TURDB_VFS_PAGE_TABLE_H

#include "vfs/page_file.h"

void page_ref_store(uint8_t at[REF_SIZE], const struct page_ref *ref);
/* Reads the bytes only; whether place and length make sense for the file is
 * checked by whoever borrows. */
static inline void page_ref_load(const uint8_t at[REF_SIZE],
                                 struct page_ref *ref)
{
	uint32_t length = load_le32(at + REF_LENGTH_AT);

	ref->place = load_le32(at + REF_PLACE_AT);
	ref->length = length & 0xffffff;
	ref->birth = load_le64(at + REF_BIRTH_AT);
	ref->checksum = load_le64(at + REF_CHECKSUM_AT);
	ref->flags = (uint8_t)(length >> 24);
}

/* ref->length 0 when the page is absent. Every number read is checked. */
int page_table_find(struct page_file *file, const struct page_table *table,
                    uint32_t page_no, struct page_ref *ref, struct err *err);

struct page_change {
	uint32_t page_no;
	struct page_ref ref; /* all zero: the entry is removed */
};

/* What a rebuild needs from its caller. */
struct page_table_sink {
	/* A place of one unit for a new map page. */
	int (*take)(void *context, uint32_t *place, struct err *err);
	/* An entry or map page of the old table that the new one no longer has:
	 * its place and units, for deciding when it is free. Not called for free
	 * references (REF_FLAG_FREE). Told in the middle of the work: a place
	 * that `take` gives must not be one of these. */
	int (*superseded)(void *context, uint32_t place, uint32_t units,
	                  uint64_t birth, struct err *err);
	void *context;
	/* Writes new map pages, as page_file_write_many() does; that itself when
	 * NULL. `bytes` are borrowed during the call. */
	int (*write)(void *context, struct page_file *file,
	             const struct page_ref *refs, const void *const *bytes,
	             size_t count, struct err *err);
};

/* Through `write`, or at once. */
static inline int page_table_sink_write(const struct page_table_sink *sink,
                                        struct page_file *file,
                                        const struct page_ref *refs,
                                        const void *const *bytes, size_t count,
                                        struct err *err)
{
	return sink->write
	               ? sink->write(sink->context, file, refs, bytes, count, err)
	               : page_file_write_many(file, refs, bytes, count, err);
}

/* Makes the table that differs from `old` by `changes` (sorted by page_no, each
 * once), writing new map pages with birth `birth`. Grows the depth as needed and
 * drops map pages that became empty: a table is always as low as its highest page
 * allows. Only touched paths are rewritten; needs 20 KB of stack and no heap. After
 * an error the places taken so far are the caller's to give back. `new_table` may
 * be `old`. */
int page_table_apply(struct page_file *file, const struct page_table *old,
                     const struct page_change *changes, size_t count,
                     uint64_t birth, const struct page_table_sink *sink,
                     struct page_table *new_table, struct err *err);

/* One reference of a table: a page (level 0) or a map page. An error of the
 * visitor ends the walk. */
typedef int page_table_visit_fn(void *context, uint32_t level, uint64_t index,
                                const struct page_ref *ref, struct err *err);

/* Calls `visit` for every page (level 0) and map page (level >= 1) that the table
 * reaches, each map page before what is below it; stops on an error of visit. A
 * free reference is visited too (flags FREE). Subtrees whose root was born at or
 * before `born_after` are skipped (0: none). */
int page_table_walk(struct page_file *file, const struct page_table *table,
                    uint64_t born_after, page_table_visit_fn *visit,
                    void *context, struct err *err);

/* Units that an image takes. */
static inline uint32_t page_ref_units(const struct page_ref *ref)
{
	return (ref->length + PLACE_SIZE - 1) / PLACE_SIZE;
}

/* Calls `only_old` for every page and map page that `old` reaches and `newer` does
 * not, as page_table_walk() calls `visit`, skipping shared subtrees. A page or map page is the same when place and birth
 * are. Used to give places back when the snapshot `old` goes away: those born
 * after the next older retained snapshot are free. */
int page_table_difference(struct page_file *file,
                          const struct page_table *old,
                          const struct page_table *newer,
                          page_table_visit_fn *only_old, void *context,
                          struct err *err);

#endif
