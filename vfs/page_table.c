/*
 * page_table.c - logical page numbers to references, a copy-on-write radix tree.
 *
 * Purpose       Finds the version of a page that a snapshot sees, makes the table
 *               of the next commit beside the old one, and tells two apart.
 * Architecture  Above page_file.c, below views, commit, recovery and checks.
 *               Places for new map pages come from the caller's sink.
 * Structures    A map page of level n stands for 170^n page numbers; level 0 is
 *               the page itself. A table is kept as low as its highest page
 *               allows: page 0 alone is its own root, a table without entries
 *               has none.
 * Rebuilding    Changes are applied from the last to the first, so that the
 *               leftmost path, which is the one that can become superfluous,
 *               is decided when all else is known. A map page is finished in a
 *               buffer of its level; buffers are written when they are needed
 *               again or at the end, so that a commit of one row, whose new map
 *               pages adjoin, needs one system call.
 * Performance   Finding costs the entry's cache line and the verified checksum's
 *               per level; all else in a map page is checked once per process
 *               and version. Rebuilding uses 20 KB of stack and no heap.
 * Safety        (T1) A map page is remembered as verified only after its head and
 *               all its entries were checked, or when we wrote it: a known map
 *               page needs no checks. (T2) The level comes from the descent,
 *               never from the page, so every descent ends.
 */
#include "vfs/page_table.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Page numbers below one map page of a level. */
static const uint64_t spans[MAP_DEPTH_MAX + 1] = {
	1, 170, 28900, 4913000, 835210000, 141985700000,
};

static_assert(MAP_ENTRIES == 170, "spans are powers of it");
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

static inline void load_ref(const uint8_t *at, struct page_ref *ref)
{
	uint32_t length = load_le32(at + REF_LENGTH_AT);

	ref->place = load_le32(at + REF_PLACE_AT);
	ref->length = length & 0xffffff;
	ref->birth = load_le64(at + REF_BIRTH_AT);
	ref->checksum = load_le64(at + REF_CHECKSUM_AT);
	ref->flags = (uint8_t)(length >> 24);
}

void page_ref_load(const uint8_t at[REF_SIZE], struct page_ref *ref)
{
	load_ref(at, ref);
}

static bool is_free(const struct page_ref *ref)
{
	return ref->flags & REF_FLAG_FREE;
}

/* Nothing below it, not even a free reference. */
static bool is_none(const struct page_ref *ref)
{
	return ref->length == 0 && !is_free(ref);
}

static bool is_same(const struct page_ref *a, const struct page_ref *b)
{
	return a->place == b->place && a->birth == b->birth &&
	       a->length == b->length;
}

static uint32_t units_of(const struct page_ref *ref)
{
	return (ref->length + PLACE_SIZE - 1) / PLACE_SIZE;
}

/* --- map pages ------------------------------------------------------------ */

static uint8_t *entry_at(uint8_t *map, uint32_t slot)
{
	return map + MAP_HEAD_SIZE + (size_t)slot * REF_SIZE;
}

static const uint8_t *entry_of(const uint8_t *map, uint32_t slot)
{
	return map + MAP_HEAD_SIZE + (size_t)slot * REF_SIZE;
}

static bool entry_is_zero(const uint8_t *at)
{
	return (load_le64(at) | load_le64(at + 8) | load_le64(at + 16)) == 0;
}

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

	for (uint32_t slot = 0; slot < MAP_ENTRIES; slot++) {
		const uint8_t *at = entry_of(map, slot);

		if (entry_is_zero(at))
			continue;
		load_ref(at, &entry);
		fault = entry_fault(file, level, &entry, birth);
		if (fault)
			return refuse(file, level, index, fault, slot, err);
		if ((index * MAP_ENTRIES + slot) * spans[level - 1] >
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
static __attribute__((noinline)) int
read_map_first(struct page_file *file, const struct page_ref *ref,
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

static inline int read_map(struct page_file *file, const struct page_ref *ref,
                           uint32_t level, uint64_t index, const uint8_t **map,
                           struct err *err)
{
	*map = page_file_known(file, ref, PLACE_SIZE);
	if (__builtin_expect(*map != NULL, 1))
		return ERR_NONE;
	return read_map_first(file, ref, level, index, map, err);
}

static int check_depth(const struct page_file *file,
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

/* Any depth, known or not. */
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

	if (level == 0 || level > MAP_DEPTH_MAX || page_no >= spans[level]) {
		*ref = level == 0 && page_no == 0 ? table->root : none;
		return check_depth(file, table, err);
	}
	for (;; level--) {
		rc = read_map(file, at, level, page_no / spans[level], &map,
		              err);
		if (rc)
			return rc;
		load_ref(entry_of(map, slot_of(page_no, level)), &below);
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

	if (table->depth - 1 > 2 || page_no >= spans[table->depth])
		goto step_by_step;
	map = page_file_known(file, &table->root, PLACE_SIZE);
	if (__builtin_expect(!map, 0))
		goto step_by_step;
	entry = descend(file, map, table->depth, page_no);
	if (__builtin_expect(!entry, 0))
		goto step_by_step;
	load_ref(entry, ref);
	return ERR_NONE;

step_by_step:
	return find_step_by_step(file, table, page_no, ref, err);
}

/* --- rebuilding ----------------------------------------------------------- */

/* A page (level 0) or map page with what is below it; `ref` may be none. */
struct subtree {
	struct page_ref ref;
	uint32_t level;
};

struct changes {
	const struct page_change *first;
	size_t count;
};

struct rebuild {
	struct page_file *file;
	uint64_t birth;
	const struct page_table_sink *sink;
	struct err *err;

	/* Finished map pages not written yet; their bytes lie in `buffers`. */
	struct page_ref waiting[MAP_DEPTH_MAX];
	const void *waiting_bytes[MAP_DEPTH_MAX];
	size_t waiting_count;
	uint32_t waiting_levels; /* a bit per level whose buffer is among them */

	uint8_t buffers[MAP_DEPTH_MAX][PLACE_SIZE]; /* see buffer_of() */
};

static uint8_t *buffer_of(struct rebuild *r, uint32_t level)
{
	return r->buffers[level - 1];
}

static int flush(struct rebuild *r)
{
	int rc = page_table_sink_write(r->sink, r->file, r->waiting,
	                               r->waiting_bytes, r->waiting_count,
	                               r->err);

	r->waiting_count = 0;
	r->waiting_levels = 0;
	return rc;
}

static int tell_superseded(struct rebuild *r, const struct page_ref *ref)
{
	if (ref->length == 0)
		return ERR_NONE;
	return r->sink->superseded(r->sink->context, ref->place, units_of(ref),
	                           ref->birth, r->err);
}

/* Splits off the changes that fall into the last slot touched. */
static struct changes take_last_slot(struct changes *changes, uint32_t level,
                                     uint32_t *slot)
{
	size_t end = changes->count, start = end - 1;

	*slot = slot_of(changes->first[start].page_no, level);
	while (start > 0 &&
	       slot_of(changes->first[start - 1].page_no, level) == *slot)
		start--;
	changes->count = start;
	return (struct changes){ changes->first + start, end - start };
}

/* The buffer of the level, holding the old map page or an empty one. */
static int open_buffer(struct rebuild *r, uint32_t level, uint64_t index,
                       const struct subtree *old, uint8_t **buffer)
{
	const uint8_t *map;
	int rc;

	if (r->waiting_levels >> level & 1) {
		rc = flush(r);
		if (rc)
			return rc;
	}
	*buffer = buffer_of(r, level);
	if (old->level == level && old->ref.length) {
		rc = read_map(r->file, &old->ref, level, index, &map, r->err);
		if (rc)
			return rc;
		memcpy(*buffer, map, PLACE_SIZE);
		return ERR_NONE;
	}
	memset(*buffer, 0, PLACE_SIZE);
	store_le32(*buffer + MAP_MAGIC_AT, MAP_MAGIC);
	store_le32(*buffer + MAP_LEVEL_AT, level);
	return ERR_NONE;
}

/* Gives the finished buffer a place and a reference. */
static int finish_buffer(struct rebuild *r, uint32_t level, uint64_t index,
                         struct subtree *made)
{
	struct page_ref ref = { .length = PLACE_SIZE, .birth = r->birth };
	int rc;

	rc = r->sink->take(r->sink->context, &ref.place, r->err);
	if (rc)
		return rc;
	ref.checksum = page_file_checksum(r->file->identity.file_id,
	                                  MAP_TAG(level, index), r->birth,
	                                  buffer_of(r, level), PLACE_SIZE);
	r->waiting[r->waiting_count] = ref;
	r->waiting_bytes[r->waiting_count++] = buffer_of(r, level);
	r->waiting_levels |= 1u << level;
	*made = (struct subtree){ .ref = ref, .level = level };
	return ERR_NONE;
}

static bool has_entry_from(const uint8_t *map, uint32_t slot)
{
	for (; slot < MAP_ENTRIES; slot++)
		if (!entry_is_zero(entry_of(map, slot)))
			return true;
	return false;
}

static int rebuild_subtree(struct rebuild *r, uint32_t level, uint64_t index,
                           const struct subtree *old, struct changes changes,
                           bool top, struct subtree *made);

static int rebuild_page(struct rebuild *r, const struct subtree *old,
                        struct changes changes, struct subtree *made)
{
	*made = *old;
	if (changes.count == 0)
		return ERR_NONE;
	made->ref = changes.first->ref;
	if (is_same(&old->ref, &made->ref))
		return ERR_NONE;
	return tell_superseded(r, &old->ref);
}

/* What stood in a slot before: an entry of the old map page, or the whole old
 * table when that is lower than this level. */
static struct subtree child_of(const uint8_t *buffer, uint32_t slot,
                               uint32_t level, const struct subtree *old)
{
	struct subtree child = { .level = level - 1 };

	if (old->level < level && slot == 0)
		return *old;
	load_ref(entry_of(buffer, slot), &child.ref);
	return child;
}

/* Rebuilds what a slot stands for and enters it. */
static int rebuild_slot(struct rebuild *r, uint32_t level, uint64_t index,
                        const struct subtree *old, uint32_t slot,
                        struct changes changes, bool *changed)
{
	uint8_t *at = entry_at(buffer_of(r, level), slot);
	struct subtree child = child_of(buffer_of(r, level), slot, level, old);
	uint8_t entry[REF_SIZE] = { 0 };
	struct subtree made;
	int rc;

	rc = rebuild_subtree(r, level - 1, index * MAP_ENTRIES + slot, &child,
	                     changes, false, &made);
	if (rc)
		return rc;
	if (!is_none(&made.ref))
		page_ref_store(entry, &made.ref);
	if (memcmp(at, entry, REF_SIZE) != 0) {
		memcpy(at, entry, REF_SIZE);
		*changed = true;
	}
	return ERR_NONE;
}

/* Whether the map page in the buffer can give way to what its slot 0 stands for.
 * A free reference can be no root. */
static bool gives_way(struct rebuild *r, uint32_t level,
                      struct changes first_slot)
{
	struct page_ref first;

	if (has_entry_from(buffer_of(r, level), 1))
		return false;
	if (level > 1)
		return true;
	load_ref(entry_of(buffer_of(r, level), 0), &first);
	if (first_slot.count)
		first = first_slot.first->ref;
	return !is_free(&first);
}

static bool is_empty(const uint8_t *map)
{
	return !has_entry_from(map, 0);
}

/* Makes of `old` what the changes ask for. `top`: nothing of the table lies
 * beside this subtree, so it may come out lower than it was, or empty. */
static int rebuild_subtree(struct rebuild *r, uint32_t level, uint64_t index,
                           const struct subtree *old, struct changes changes,
                           bool top, struct subtree *made)
{
	bool lifted = old->level < level && !is_none(&old->ref);
	bool changed = false;
	struct changes group;
	struct subtree child;
	uint8_t *buffer;
	uint32_t slot;
	int rc;

	if (level == 0)
		return rebuild_page(r, old, changes, made);
	if (changes.count == 0 && !lifted && !top) {
		*made = *old;
		return ERR_NONE;
	}
	rc = open_buffer(r, level, index, old, &buffer);
	if (rc)
		return rc;
	while (changes.count &&
	       slot_of(changes.first[changes.count - 1].page_no, level)) {
		group = take_last_slot(&changes, level, &slot);
		rc = rebuild_slot(r, level, index, old, slot, group, &changed);
		if (rc)
			return rc;
	}
	if (top && gives_way(r, level, changes)) {
		child = child_of(buffer, 0, level, old);
		if (old->level == level) {
			rc = tell_superseded(r, &old->ref);
			if (rc)
				return rc;
		}
		return rebuild_subtree(r, level - 1, 0, &child, changes, true,
		                       made);
	}
	if (changes.count || lifted) {
		rc = rebuild_slot(r, level, index, old, 0, changes, &changed);
		if (rc)
			return rc;
	}
	if (!changed) {
		*made = *old;
		return ERR_NONE;
	}
	if (old->level == level) {
		rc = tell_superseded(r, &old->ref);
		if (rc)
			return rc;
	}
	if (is_empty(buffer)) {
		*made = (struct subtree){ .level = level };
		return ERR_NONE;
	}
	return finish_buffer(r, level, index, made);
}

static uint32_t depth_for(uint32_t page_no)
{
	uint32_t depth = 0;

	while (page_no >= spans[depth])
		depth++;
	return depth;
}

/* The depth needed at first; changes that remove what lies beyond are dropped. */
static uint32_t depth_of_all(const struct page_table *old,
                             struct changes *changes)
{
	uint32_t depth = old->depth, needed;

	for (size_t i = changes->count; i-- > 0;) {
		const struct page_change *change = &changes->first[i];

		if (is_none(&change->ref))
			continue;
		needed = depth_for(change->page_no);
		if (needed == 0 && is_free(&change->ref))
			needed = 1;
		if (needed > depth)
			depth = needed;
		break;
	}
	while (changes->count &&
	       changes->first[changes->count - 1].page_no >= spans[depth])
		changes->count--;
	return depth;
}

int page_table_apply(struct page_file *file, const struct page_table *old,
                     const struct page_change *changes, size_t count,
                     uint64_t birth, const struct page_table_sink *sink,
                     struct page_table *new_table, struct err *err)
{
	struct changes all = { changes, count };
	struct subtree whole = { .ref = old->root, .level = old->depth };
	struct subtree made;
	struct rebuild r; /* 20 KB: its buffers are not cleared */
	uint32_t depth;
	int rc;

	rc = check_depth(file, old, err);
	if (rc)
		return rc;
	r.file = file;
	r.birth = birth;
	r.sink = sink;
	r.err = err;
	r.waiting_count = 0;
	r.waiting_levels = 0;
	depth = depth_of_all(old, &all);
	if (all.count == 0) {
		*new_table = *old;
		return ERR_NONE;
	}
	rc = rebuild_subtree(&r, depth, 0, &whole, all, true, &made);
	if (rc)
		return rc;
	rc = flush(&r);
	if (rc)
		return rc;
	if (is_none(&made.ref))
		made = (struct subtree){ .level = 0 };
	*new_table = (struct page_table){ .root = made.ref,
		                          .depth = made.level };
	return ERR_NONE;
}

/* --- walking -------------------------------------------------------------- */

/* Every unit is reached at most once, so what is reached ends with the file: map
 * pages that many others lead to would otherwise keep a walk busy for days. */
struct reach {
	uint64_t units; /* still to be reached */
};

static int reach_open(struct reach *reach, struct page_file *file,
                      struct err *err)
{
	return page_file_capacity(file, &reach->units, err);
}

static int reach_more(struct reach *reach, const struct page_file *file,
                      const struct page_ref *ref, struct err *err)
{
	if (reach->units < units_of(ref))
		return err_set(err, ERR_CORRUPT, "walk the page table of",
		               page_file_name(file),
		               "it reaches more places than the file has: "
		               "some of its map pages are shared");
	reach->units -= units_of(ref);
	return ERR_NONE;
}

struct walk {
	struct page_file *file;
	uint64_t born_after;
	int (*visit)(void *context, uint32_t level, uint64_t index,
	             const struct page_ref *ref, struct err *err);
	void *context;
	struct err *err;
	struct reach reach;
};

static int walk_subtree(struct walk *walk, uint32_t level, uint64_t index,
                        const struct page_ref *ref)
{
	const uint8_t *map;
	struct page_ref child;
	int rc;

	if (walk->born_after && ref->birth <= walk->born_after)
		return ERR_NONE;
	rc = reach_more(&walk->reach, walk->file, ref, walk->err);
	if (!rc)
		rc = walk->visit(walk->context, level, index, ref, walk->err);
	if (rc || level == 0)
		return rc;
	rc = read_map(walk->file, ref, level, index, &map, walk->err);
	for (uint32_t slot = 0; slot < MAP_ENTRIES && !rc; slot++) {
		if (entry_is_zero(entry_of(map, slot)))
			continue;
		load_ref(entry_of(map, slot), &child);
		rc = walk_subtree(walk, level - 1, index * MAP_ENTRIES + slot,
		                  &child);
	}
	return rc;
}

int page_table_walk(struct page_file *file, const struct page_table *table,
                    uint64_t born_after,
                    int (*visit)(void *context, uint32_t level,
                                 uint64_t index, const struct page_ref *ref,
                                 struct err *err),
                    void *context, struct err *err)
{
	struct walk walk = { .file = file, .born_after = born_after,
		             .visit = visit, .context = context, .err = err };
	int rc = check_depth(file, table, err);

	if (rc || (table->depth == 0 && is_none(&table->root)))
		return rc;
	rc = reach_open(&walk.reach, file, err);
	if (rc)
		return rc;
	return walk_subtree(&walk, table->depth, 0, &table->root);
}

/* --- differences ---------------------------------------------------------- */

struct difference {
	struct page_file *file;
	int (*only_old)(void *context, uint32_t place, uint32_t units,
	                uint64_t birth, struct err *err);
	void *context;
	struct err *err;
	struct reach reach;
};

static int differ(struct difference *d, uint32_t level, uint64_t index,
                  const struct page_ref *old, const struct subtree *newer);

/* What the newer table has where a slot of an old map page is: an entry, the
 * whole newer table when that is lower, or nothing. */
static int newer_child(struct difference *d, uint32_t level, uint64_t index,
                       const struct subtree *newer, const uint8_t **map)
{
	*map = NULL;
	if (newer->level != level || newer->ref.length == 0)
		return ERR_NONE;
	return read_map(d->file, &newer->ref, level, index, map, d->err);
}

static int differ_below(struct difference *d, uint32_t level, uint64_t index,
                        const struct page_ref *old,
                        const struct subtree *newer)
{
	const uint8_t *old_map, *newer_map;
	int rc;

	rc = read_map(d->file, old, level, index, &old_map, d->err);
	if (!rc)
		rc = newer_child(d, level, index, newer, &newer_map);
	for (uint32_t slot = 0; slot < MAP_ENTRIES && !rc; slot++) {
		const uint8_t *at = entry_of(old_map, slot);
		struct subtree other = { .level = level - 1 };
		struct page_ref child;

		if (entry_is_zero(at))
			continue;
		if (newer_map &&
		    memcmp(at, entry_of(newer_map, slot), REF_SIZE) == 0)
			continue;
		if (newer_map)
			load_ref(entry_of(newer_map, slot), &other.ref);
		else if (slot == 0 && newer->level < level)
			other = *newer;
		load_ref(at, &child);
		rc = differ(d, level - 1, index * MAP_ENTRIES + slot, &child,
		            &other);
	}
	return rc;
}

/* `newer` stands for the same page numbers as `old`, or for the first of them
 * when its level is lower. */
static int differ(struct difference *d, uint32_t level, uint64_t index,
                  const struct page_ref *old, const struct subtree *newer)
{
	int rc;

	if (old->length == 0)
		return ERR_NONE;
	if (newer->level == level && is_same(old, &newer->ref))
		return ERR_NONE;
	rc = reach_more(&d->reach, d->file, old, d->err);
	if (!rc)
		rc = d->only_old(d->context, old->place, units_of(old),
		                 old->birth, d->err);
	if (rc || level == 0)
		return rc;
	return differ_below(d, level, index, old, newer);
}

/* Goes down the newer table's first path until it is no higher than the old. */
static int lower_newer(struct difference *d, uint32_t level,
                       struct subtree *newer)
{
	const uint8_t *map;
	int rc;

	while (newer->level > level && newer->ref.length) {
		rc = read_map(d->file, &newer->ref, newer->level, 0, &map,
		              d->err);
		if (rc)
			return rc;
		load_ref(entry_of(map, 0), &newer->ref);
		newer->level--;
	}
	if (newer->ref.length == 0)
		*newer = (struct subtree){ .level = level };
	return ERR_NONE;
}

int page_table_difference(struct page_file *file,
                          const struct page_table *old,
                          const struct page_table *newer,
                          int (*only_old)(void *context, uint32_t place,
                                          uint32_t units, uint64_t birth,
                                          struct err *err),
                          void *context, struct err *err)
{
	struct difference d = { .file = file, .only_old = only_old,
		                .context = context, .err = err };
	struct subtree other = { newer->root, newer->depth };
	int rc;

	rc = check_depth(file, old, err);
	if (!rc)
		rc = check_depth(file, newer, err);
	if (!rc)
		rc = reach_open(&d.reach, file, err);
	if (!rc)
		rc = lower_newer(&d, old->depth, &other);
	if (rc)
		return rc;
	return differ(&d, old->depth, 0, &old->root, &other);
}
