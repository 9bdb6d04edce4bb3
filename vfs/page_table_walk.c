/*
 * page_table_walk.c - everything a table reaches, and what one has that a newer one
 * has not.
 *
 * Both go down the tree and leave out subtrees that cannot concern the caller: those
 * too old, those that both tables share. A difference compares references only, so
 * it costs what has changed.
 */
#include "vfs/page_table_private.h"

#include <string.h>

/* Every unit is reached at most once, so what is reached ends with the file: map
 * pages that many others lead to would otherwise keep a walk busy for days. What is
 * mapped is known to be there; the file's size is asked for only beyond that, for
 * asking is not free (page_file_is_whole()). */
struct reach {
	uint64_t units; /* reached so far          */
	uint64_t most;  /* units known to be there */
};

static int reach_more(struct reach *reach, struct page_file *file,
                      const struct page_ref *ref, struct err *err)
{
	int rc;

	reach->units += page_ref_units(ref);
	if (reach->units <= reach->most)
		return ERR_NONE;
	reach->most = page_file_mapped(file);
	if (reach->units <= reach->most)
		return ERR_NONE;
	rc = page_file_capacity(file, &reach->most, err);
	if (rc)
		return rc;
	if (reach->units > reach->most)
		return err_set(err, ERR_CORRUPT, "walk the page table of",
		               page_file_name(file),
		               "it reaches more places than the file has: "
		               "some of its map pages are shared");
	return ERR_NONE;
}

/* --- walking -------------------------------------------------------------- */

struct walk {
	struct page_file *file;
	uint64_t born_after;
	page_table_visit_fn *visit;
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
	rc = map_read(walk->file, ref, level, index, &map, walk->err);
	for (uint32_t slot = 0; slot < MAP_ENTRIES && !rc; slot++) {
		if (entry_is_zero(entry_of(map, slot)))
			continue;
		page_ref_load(entry_of(map, slot), &child);
		rc = walk_subtree(walk, level - 1, index * MAP_ENTRIES + slot,
		                  &child);
	}
	return rc;
}

int page_table_walk(struct page_file *file, const struct page_table *table,
                    uint64_t born_after, page_table_visit_fn *visit,
                    void *context, struct err *err)
{
	struct walk walk = { .file = file, .born_after = born_after,
		             .visit = visit, .context = context, .err = err };
	int rc = page_table_depth_check(file, table, err);

	if (rc || (table->depth == 0 && ref_is_none(&table->root)))
		return rc;
	return walk_subtree(&walk, table->depth, 0, &table->root);
}

/* --- differences ---------------------------------------------------------- */

struct difference {
	struct page_file *file;
	page_table_visit_fn *only_old;
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
	return map_read(d->file, &newer->ref, level, index, map, d->err);
}

static int differ_below(struct difference *d, uint32_t level, uint64_t index,
                        const struct page_ref *old,
                        const struct subtree *newer)
{
	const uint8_t *old_map, *newer_map;
	int rc;

	rc = map_read(d->file, old, level, index, &old_map, d->err);
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
			page_ref_load(entry_of(newer_map, slot), &other.ref);
		else if (slot == 0 && newer->level < level)
			other = *newer;
		page_ref_load(at, &child);
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
	if (newer->level == level && ref_is_same(old, &newer->ref))
		return ERR_NONE;
	rc = reach_more(&d->reach, d->file, old, d->err);
	if (!rc)
		rc = d->only_old(d->context, level, index, old, d->err);
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
		rc = map_read(d->file, &newer->ref, newer->level, 0, &map,
		              d->err);
		if (rc)
			return rc;
		page_ref_load(entry_of(map, 0), &newer->ref);
		newer->level--;
	}
	if (newer->ref.length == 0)
		*newer = (struct subtree){ .level = level };
	return ERR_NONE;
}

int page_table_difference(struct page_file *file,
                          const struct page_table *old,
                          const struct page_table *newer,
                          page_table_visit_fn *only_old, void *context,
                          struct err *err)
{
	struct difference d = { .file = file, .only_old = only_old,
		                .context = context, .err = err };
	struct subtree other = { newer->root, newer->depth };
	int rc;

	rc = page_table_depth_check(file, old, err);
	if (!rc)
		rc = page_table_depth_check(file, newer, err);
	if (!rc)
		rc = lower_newer(&d, old->depth, &other);
	if (rc)
		return rc;
	return differ(&d, old->depth, 0, &old->root, &other);
}
