/*
 * page_table_private.h - map pages, as the files of the page table see them.
 */
#ifndef TURDB_VFS_PAGE_TABLE_PRIVATE_H
#define TURDB_VFS_PAGE_TABLE_PRIVATE_H

#include "vfs/page_table.h"

/* Page numbers below one map page of a level. */
static const uint64_t page_table_spans[MAP_DEPTH_MAX + 1] = {
	1, 170, 28900, 4913000, 835210000, 141985700000,
};

/* A page (level 0) or map page with what is below it; `ref` may be none. */
struct subtree {
	struct page_ref ref;
	uint32_t level;
};

static inline bool ref_is_free(const struct page_ref *ref)
{
	return ref->flags & REF_FLAG_FREE;
}

/* Nothing below it, not even a free reference. */
static inline bool ref_is_none(const struct page_ref *ref)
{
	return ref->length == 0 && !ref_is_free(ref);
}

static inline bool ref_is_same(const struct page_ref *a,
                               const struct page_ref *b)
{
	return a->place == b->place && a->birth == b->birth &&
	       a->length == b->length;
}

static inline uint8_t *entry_at(uint8_t *map, uint32_t slot)
{
	return map + MAP_HEAD_SIZE + (size_t)slot * REF_SIZE;
}

static inline const uint8_t *entry_of(const uint8_t *map, uint32_t slot)
{
	return map + MAP_HEAD_SIZE + (size_t)slot * REF_SIZE;
}

static inline bool entry_is_zero(const uint8_t *at)
{
	return (load_le64(at) | load_le64(at + 8) | load_le64(at + 16)) == 0;
}

/* Which entry of a map page of the level leads to the page. (Divisors that are known
 * at compile time need no division.) */
static inline uint32_t slot_of(uint32_t page_no, uint32_t level)
{
	switch (level) {
	case 1:
		return page_no % MAP_ENTRIES;
	case 2:
		return page_no / 170 % MAP_ENTRIES;
	case 3:
		return page_no / 28900 % MAP_ENTRIES;
	case 4:
		return page_no / 4913000 % MAP_ENTRIES;
	default:
		return page_no / 835210000 % MAP_ENTRIES;
	}
}

/* Reads and checks a map page that this process meets for the first time. */
int page_table_map_read_first(struct page_file *file,
                              const struct page_ref *ref, uint32_t level,
                              uint64_t index, const uint8_t **map,
                              struct err *err);

/* Borrows a map page; it is good as any page of the file is. */
static inline int map_read(struct page_file *file, const struct page_ref *ref,
                           uint32_t level, uint64_t index, const uint8_t **map,
                           struct err *err)
{
	*map = page_file_known(file, ref, PLACE_SIZE);
	if (__builtin_expect(*map != NULL, 1))
		return ERR_NONE;
	return page_table_map_read_first(file, ref, level, index, map, err);
}

/* ERR_CORRUPT when the table is deeper than any can be. */
int page_table_depth_check(const struct page_file *file,
                           const struct page_table *table, struct err *err);

#endif
