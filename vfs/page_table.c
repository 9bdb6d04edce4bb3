/*
 * page_table.c - logical page numbers to references, a copy-on-write radix tree.
 *
 * Purpose       Finds the version of a page that a snapshot sees, and reads and
 *               checks map pages for those who rebuild tables or compare them.
 * Architecture  Above page_file.c, below views, commit, recovery and checks.
 *               page_table_change.c makes the table of the next commit,
 *               page_table_walk.c goes through whole tables.
 * Structures    A map page of level n stands for 170^n page numbers; level 0 is
 *               the page itself. A table is kept as low as its highest page
 *               allows: page 0 alone is its own root, a table without entries
 *               has none.
 * Performance   Finding costs the entry's cache line and the verified checksum's
 *               per level; all else in a map page is checked once per process
 *               and version.
 * Safety        (T1) A map page is remembered as verified only after its head and
 *               all its entries were checked, or when we wrote it: a known map
 *               page needs no checks. (T2) The level comes from the descent,
 *               never from the page, so every descent ends.
 */
#include "vfs/page_table_private.h"

#include <assert.h>
#include <stdio.h>

static_assert(MAP_ENTRIES == 170, "page_table_spans are powers of it");
static_assert(MAP_HEAD_SIZE + MAP_ENTRIES * REF_SIZE == PLACE_SIZE,
              "a map page has no tail to check");

/* --- references ----------------------------------------------------------- */

void page_ref_store(uint8_t at[REF_SIZE], const struct page_ref *ref)
{
	store_le32(at + REF_PLACE_AT, ref->place);
	store_le32(at + REF_LENGTH_AT,
	           (ref->length & 0xffffff) | (uint32_t)ref->flags << 24);
	store_le64(at + REF_BIRTH_AT, ref->birth);
	store_le64(at + REF_CHECKSUM_AT, ref->checksum);
}

/* --- map pages ------------------------------------------------------------ */

static int refuse(const struct page_file *file, uint32_t level, uint64_t index,
                  const char *what, uint64_t found, struct err *err)
{
	char operation[64];

	snprintf(operation, sizeof operation,
	         "read map page %llu of level %u of",
	         (unsigned long long)index, level);
	return err_set(err, ERR_CORRUPT, operation, page_file_name(file),
	               "%s %llu", what, (unsigned long long)found);
}

/* What an entry of this level must not be; NULL when it is all right. */
static const char *entry_fault(const struct page_file *file, uint32_t level,
                               const struct page_ref *ref, uint64_t born_max)
{
	uint32_t length = level > 1 ? (uint32_t)PLACE_SIZE : file->page_size;

	if (ref->birth > born_max)
		return "is younger than its map page: entry";
	if (level == 1 && ref->flags == REF_FLAG_FREE)
		return ref->length ? "is free and has a length: entry" : NULL;
	if (ref->flags)
		return "has flags it cannot have: entry";
	if (ref->length && ref->length < length)
		return "is shorter than its page (compressed images are not "
		       "made by this version): entry";
	if (ref->length != length)
		return "has a length that is not its page's: entry";
	if (ref->place < FILE_FIRST_PLACE)
		return "has the place of the file header: entry";
	if (ref->place & (length / PLACE_SIZE - 1))
		return "has a place that is not aligned: entry";
	return NULL;
}

static int check_entries(const struct page_file *file, uint64_t birth,
                         uint32_t level, uint64_t index, const uint8_t *map,
                         struct err *err)
{
	struct page_ref entry;
	const char *fault;

	assert(level >= 1 && level <= MAP_DEPTH_MAX);
	for (uint32_t slot = 0; slot < MAP_ENTRIES; slot++) {
		const uint8_t *at = entry_of(map, slot);

		if (entry_is_zero(at))
			continue;
		page_ref_load(at, &entry);
		fault = entry_fault(file, level, &entry, birth);
		if (fault)
			return refuse(file, level, index, fault, slot, err);
		if ((index * MAP_ENTRIES + slot) * page_table_spans[level - 1] >
		    UINT32_MAX)
			return refuse(file, level, index,
			              "stands for pages beyond 32 bits: entry",
			              slot, err);
	}
	return ERR_NONE;
}

static int check_map(const struct page_file *file, uint64_t birth,
                     uint32_t level, uint64_t index, const uint8_t *map,
                     struct err *err)
{
	if (load_le32(map + MAP_MAGIC_AT) != MAP_MAGIC)
		return refuse(file, level, index, "its magic is",
		              load_le32(map + MAP_MAGIC_AT), err);
	if (load_le32(map + MAP_LEVEL_AT) != level)
		return refuse(file, level, index, "it says of itself level",
		              load_le32(map + MAP_LEVEL_AT), err);
	if (load_le64(map + MAP_ZERO_AT) != 0)
		return refuse(file, level, index, "its zero bytes hold",
		              load_le64(map + MAP_ZERO_AT), err);
	return check_entries(file, birth, level, index, map, err);
}

/* Keeps (T1). */
__attribute__((noinline)) int
page_table_map_read_first(struct page_file *file, const struct page_ref *ref,
                          uint32_t level, uint64_t index, const uint8_t **map,
                          struct err *err)
{
	int rc;

	rc = page_file_verify(file, ref, MAP_TAG(level, index), map, err);
	if (rc)
		return rc;
	rc = check_map(file, ref->birth, level, index, *map, err);
	if (rc)
		return rc;
	page_file_remember(file, ref);
	return ERR_NONE;
}

int page_table_depth_check(const struct page_file *file,
                           const struct page_table *table, struct err *err)
{
	if (table->depth > MAP_DEPTH_MAX)
		return err_set(err, ERR_CORRUPT, "read the page table of",
		               page_file_name(file),
		               "its depth is %u, at most %d is possible",
		               table->depth, MAP_DEPTH_MAX);
	return ERR_NONE;
}

/* --- finding -------------------------------------------------------------- */

/* Any depth, known or not; the level is counted down here. (T2) */
static __attribute__((noinline)) int
find_step_by_step(struct page_file *file, const struct page_table *table,
                  uint32_t page_no, struct page_ref *ref, struct err *err)
{
	static const struct page_ref none;
	const struct page_ref *at = &table->root;
	struct page_ref below;
	uint32_t level = table->depth;
	const uint8_t *map;
	int rc;

	if (level == 0 || level > MAP_DEPTH_MAX || page_no >= page_table_spans[level]) {
		*ref = level == 0 && page_no == 0 ? table->root : none;
		return page_table_depth_check(file, table, err);
	}
	for (;; level--) {
		rc = map_read(file, at, level,
		              page_no / page_table_spans[level], &map, err);
		if (rc)
			return rc;
		page_ref_load(entry_of(map, slot_of(page_no, level)), &below);
		if (level == 1 || below.length == 0)
			break;
		at = &below;
	}
	*ref = below;
	return ERR_NONE;
}

/* A known map page below an entry of level 2. */
static inline const uint8_t *known_below(const struct page_file *file,
                                         const uint8_t *entry)
{
	return page_file_known_at(file, load_le32(entry + REF_PLACE_AT),
	                          load_le32(entry + REF_LENGTH_AT),
	                          load_le64(entry + REF_CHECKSUM_AT),
	                          PLACE_SIZE);
}

/* The page's entry of level 1, if all map pages on the way are known; else, and
 * when one is not there, NULL. `map` is the root. */
static inline const uint8_t *descend(const struct page_file *file,
                                     const uint8_t *map, uint32_t depth,
                                     uint32_t page_no)
{
	if (depth == 3) {
		map = known_below(file, entry_of(map, slot_of(page_no, 3)));
		if (__builtin_expect(!map, 0))
			return NULL;
	}
	if (depth >= 2) {
		map = known_below(file, entry_of(map, slot_of(page_no, 2)));
		if (__builtin_expect(!map, 0))
			return NULL;
	}
	return entry_of(map, slot_of(page_no, 1));
}

/* Tables of 2 to 4,913,000 pages (80 GB of 16 KB) take the short way. */
int page_table_find(struct page_file *file, const struct page_table *table,
                    uint32_t page_no, struct page_ref *ref, struct err *err)
{
	const uint8_t *map, *entry;

	if (table->depth - 1 > 2 || page_no >= page_table_spans[table->depth])
		goto step_by_step;
	map = page_file_known(file, &table->root, PLACE_SIZE);
	if (__builtin_expect(!map, 0))
		goto step_by_step;
	entry = descend(file, map, table->depth, page_no);
	if (__builtin_expect(!entry, 0))
		goto step_by_step;
	page_ref_load(entry, ref);
	return ERR_NONE;

step_by_step:
	return find_step_by_step(file, table, page_no, ref, err);
}
