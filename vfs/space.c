/*
 * space.c - which places of each page file are free.
 *
 * Purpose       Gives out places and takes them back in a few dozen nanoseconds.
 * Architecture  In shared memory, below commit, checkpoint and recovery. Knows
 *               places, never pages: who reaches what is its callers' business.
 *               What the log says about places is in space_note.c, the death of a
 *               writer in space_reset.c, what goes back to the file system in
 *               space_hole.c, and what is told to others in space_figures.c.
 * Taking        First the ring of places freed last, then the bitmaps from a cursor
 *               on, then growth. A search that found nothing is remembered until
 *               something comes back, so that a full file is not searched again.
 *               Single units come from groups of four that are broken already, if
 *               there are any; whole groups are kept for pages.
 * Safety        The bitmaps are the truth: an entry of a ring, a cursor, a vain
 *               search are hints and checked against them.
 */
#include "vfs/space_private.h"

#include <stdio.h>
#include <string.h>

enum { RING_LOOKS = 16 }; /* entries looked at before the bitmaps are faster */

/* --- bits ----------------------------------------------------------------- */

int space_refuse(struct err *err, int code, const char *operation,
                 uint32_t file_id, const char *why, uint64_t place,
                 uint32_t units)
{
	char name[32];

	snprintf(name, sizeof name, "file %u", file_id);
	return err_set(err, code, operation, name, "place %llu (%u units) %s",
	               (unsigned long long)place, units, why);
}

/* That the place is one that a page or map page of the file can have. */
static int check_place(const struct space_file *file, const char *operation,
                       uint32_t place, uint32_t units, struct err *err)
{
	if ((units != 1 && units != 4) || place % units)
		return space_refuse(err, ERR_CORRUPT, operation, file->block.file_id,
		                    "is not aligned to its size", place, units);
	if (place < file->first_place)
		return space_refuse(err, ERR_CORRUPT, operation, file->block.file_id,
		                    "lies before the first of its pages", place,
		                    units);
	if ((uint64_t)place + units > file->capacity)
		return space_refuse(err, ERR_CORRUPT, operation, file->block.file_id,
		                    "lies beyond the file's end", place, units);
	return ERR_NONE;
}

/* The first bit of each group of four whose bits are all set. */
static uint64_t whole_quads(uint64_t bits)
{
	bits &= bits >> 1;
	bits &= bits >> 2;
	return bits & QUAD_STARTS;
}

static void count_units(struct space_file *file, struct space_leaf *leaf,
                        int64_t units, int64_t quads)
{
	leaf->free_units += (uint32_t)units;
	leaf->free_quads += (uint32_t)quads;
	space_set64(&file->free_units, file->free_units + (uint64_t)units);
	space_set64(&file->free_quads, file->free_quads + (uint64_t)quads);
}

/* Sets or clears bits of one group of four in `free`, those that are not so
 * already, and counts. */
static void change_free(struct space_file *file, struct space_leaf *leaf,
                        const struct space_spot *spot, bool free)
{
	uint64_t old = leaf->free[spot->word];
	uint64_t new = free ? old | spot->mask : old & ~spot->mask;
	int64_t units = 0;

	for (uint64_t bits = old ^ new; bits; bits &= bits - 1)
		units++;
	space_set64(&leaf->free[spot->word], new);
	if (free)
		leaf->holed[spot->word / 64] &=
			~(UINT64_C(1) << spot->word % 64);
	count_units(file, leaf, free ? units : -units,
	            (int64_t)((new & spot->quad) == spot->quad) -
	            (int64_t)((old & spot->quad) == spot->quad));
}

/* Frees units [from, to) of a leaf whose units there are not free. */
static void free_range(struct space_file *file, struct space_leaf *leaf,
                       uint64_t from, uint64_t to)
{
	for (uint32_t word = 0; word < LEAF_WORDS; word++) {
		uint64_t mask = space_word_mask(word, from, to);
		uint64_t old = leaf->free[word], new = old | mask;

		if (!mask)
			continue;
		space_set64(&leaf->free[word], new);
		count_units(file, leaf, __builtin_popcountll(mask),
		            __builtin_popcountll(whole_quads(new)) -
		            __builtin_popcountll(whole_quads(old)));
	}
}

/* --- rings ---------------------------------------------------------------- */

static uint32_t *ring_entry(struct space_file *file, int shape, uint32_t from_top)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	uint32_t *entries = shape == QUAD ? file->quads : file->singles;

	return &entries[(file->rings[shape].top + max - 1 - from_top) % max];
}

static void ring_push(struct space_file *file, int shape, uint32_t place)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	struct space_ring *ring = &file->rings[shape];

	ring->top = (ring->top + 1) % max;
	*ring_entry(file, shape, 0) = place;
	if (ring->count < max)
		ring->count++;
}

/* Removes an entry; those above it move down by one. */
static void ring_remove(struct space_file *file, int shape, uint32_t from_top)
{
	uint32_t max = shape == QUAD ? QUADS_MAX : SINGLES_MAX;
	struct space_ring *ring = &file->rings[shape];

	while (from_top-- > 0)
		*ring_entry(file, shape, from_top + 1) =
			*ring_entry(file, shape, from_top);
	ring->top = (ring->top + max - 1) % max;
	ring->count--;
}

/* The next search begins there, whatever was searched in vain before. */
static void search_from(struct space_file *file, int shape, uint32_t place)
{
	for (int use = 0; use < USES; use++)
		file->searched[use][shape] = 0;
	file->cursor[shape] = place;
}

/* A place came back: a use that had searched in vain and may have this one finds
 * it there. */
static void search_again(const struct space_head *head, struct space_file *file,
                         const struct space_leaf *leaf,
                         const struct space_spot *spot, int shape,
                         uint32_t place)
{
	for (int use = 0; use < USES; use++)
		if (file->searched[use][shape] == head->epoch &&
		    !(space_held(leaf, spot->word, (enum space_use)use) &
		      spot->mask)) {
			file->searched[use][shape] = 0;
			file->cursor[shape] = place;
		}
}

/* --- taking --------------------------------------------------------------- */

struct search {
	struct space *space;
	struct space_head *head;
	struct space_file *file;
	enum space_use use;
	struct space_leaf *leaf; /* out: the leaf of the place found */
};

/* The bits at which a place of that shape may be taken. Singles only in groups
 * that are broken. */
static uint64_t usable_bits(const struct space_leaf *leaf, uint32_t word,
                            int shape, enum space_use use)
{
	uint64_t free = leaf->free[word];

	if (!free)
		return 0;
	if (shape == SINGLE)
		free &= ~(whole_quads(free) * 15);
	free &= ~space_held(leaf, word, use);
	return shape == QUAD ? whole_quads(free) : free;
}

static bool leaf_may_have(const struct space_leaf *leaf, int shape)
{
	return shape == QUAD ? leaf->free_quads :
	                       leaf->free_units > 4 * leaf->free_quads;
}

/* Looks at the places freed last. One that was taken since, or whose group has
 * become whole, is dropped; one that is held stays for later. */
static bool look_in_ring(struct search *s, int shape, uint32_t *place)
{
	uint32_t at = 0;

	while (at < RING_LOOKS && at < s->file->rings[shape].count) {
		uint32_t candidate = *ring_entry(s->file, shape, at);
		struct space_spot spot = space_spot(candidate, 1);
		struct space_leaf *leaf = space_leaf_find(
			s->space, s->head, s->file->block.file_id,
			candidate / LEAF_UNITS);
		uint64_t free = leaf->free[spot.word];
		bool whole = (free & spot.quad) == spot.quad;

		if (usable_bits(leaf, spot.word, shape, s->use) & spot.mask) {
			ring_remove(s->file, shape, at);
			*place = candidate;
			s->leaf = leaf;
			return true;
		}
		if (!(free & spot.mask) || whole != (shape == QUAD))
			ring_remove(s->file, shape, at);
		else
			at++;
	}
	return false;
}

static bool look_in_leaf(struct search *s, uint32_t leaf_no, int shape,
                         uint32_t word, uint32_t word_end, uint32_t *place)
{
	struct space_leaf *leaf = space_leaf_find(
		s->space, s->head, s->file->block.file_id, leaf_no);

	if (!leaf || !leaf_may_have(leaf, shape))
		return false;
	for (; word < word_end; word++) {
		uint64_t bits = usable_bits(leaf, word, shape, s->use);

		if (bits) {
			*place = leaf_no * LEAF_UNITS + word * 64 +
			         (uint32_t)__builtin_ctzll(bits);
			s->leaf = leaf;
			return true;
		}
	}
	return false;
}

/* From the cursor's word to the end of the file, then from its beginning up to
 * that word. */
static bool look_everywhere(struct search *s, int shape, uint32_t *place)
{
	struct space_file *file = s->file;
	uint32_t leaf_no = file->cursor[shape] / LEAF_UNITS;
	uint32_t word = file->cursor[shape] % LEAF_UNITS / 64;

	if (file->searched[s->use][shape] == s->head->epoch)
		return false;
	if (leaf_no >= file->leaf_end)
		leaf_no = word = 0;
	for (uint32_t i = 0; i <= file->leaf_end; i++) {
		if (look_in_leaf(s, leaf_no, shape, i ? 0 : word,
		                 i < file->leaf_end ? LEAF_WORDS : word,
		                 place)) {
			file->cursor[shape] = *place;
			return true;
		}
		leaf_no = leaf_no + 1 < file->leaf_end ? leaf_no + 1 : 0;
	}
	file->searched[s->use][shape] = s->head->epoch;
	return false;
}

static bool has_shape(const struct space_file *file, int shape)
{
	return shape == QUAD ? file->free_quads :
	                       file->free_units > 4 * file->free_quads;
}

static bool look(struct search *s, int shape, uint32_t *place)
{
	if (!has_shape(s->file, shape))
		return false;
	if (s->use == SPACE_LOGGED && look_in_ring(s, shape, place))
		return true;
	return look_everywhere(s, shape, place);
}

static void mark_taken(const struct search *s, uint32_t place, uint32_t units)
{
	struct space_spot spot = space_spot(place, units);

	change_free(s->file, s->leaf, &spot, false);
	space_loose_set(s->file, s->file->loose > units ? s->file->loose - units : 0);
}

/* Breaks a group of four: its first unit is taken, the others are next. */
static void break_quad(const struct search *s, uint32_t place)
{
	for (uint32_t i = 3; i > 0; i--)
		ring_push(s->file, SINGLE, place + i);
	search_from(s->file, SINGLE, place);
}

static bool take(struct search *s, uint32_t units, uint32_t *place)
{
	if (units == 1 && look(s, SINGLE, place)) {
		mark_taken(s, *place, 1);
		return true;
	}
	if (!look(s, QUAD, place))
		return false;
	mark_taken(s, *place, units);
	if (units == 1)
		break_quad(s, *place);
	return true;
}

/* --- growing -------------------------------------------------------------- */

/* Frees [from, to) of the file, making leaves. */
static int free_units(struct space *space, struct space_head *head,
                      struct space_file *file, uint64_t from, uint64_t to,
                      struct err *err)
{
	struct space_leaf *leaf;
	int rc;

	while (from < to) {
		uint32_t leaf_no = (uint32_t)(from / LEAF_UNITS);
		uint64_t start = (uint64_t)leaf_no * LEAF_UNITS;
		uint64_t end = start + LEAF_UNITS < to ? start + LEAF_UNITS :
		                                         to;

		rc = space_leaf_make(space, head, file, leaf_no, &leaf, err);
		if (rc)
			return rc;
		free_range(file, leaf, from - start, end - start);
		space_set64(&file->capacity, end);
		from = end;
	}
	return ERR_NONE;
}

static int grow_file(struct space *space, struct space_head *head,
                     struct space_file *file, struct page_file *page_file,
                     uint32_t units, struct err *err)
{
	uint64_t old = file->capacity, capacity;
	int rc;

	rc = page_file_reserve(page_file, old + units, &capacity, err);
	if (rc)
		return rc;
	rc = free_units(space, head, file, old, capacity, err);
	if (file->capacity > old) {
		search_from(file, SINGLE, (uint32_t)old);
		search_from(file, QUAD, (uint32_t)old);
	}
	return file->capacity >= old + units ? ERR_NONE : rc;
}

int space_take(struct space *space, struct page_file *file, uint32_t units,
               enum space_use use, uint32_t *place, struct err *err)
{
	uint32_t file_id = page_file_identity_of(file)->file_id;
	struct space_head *head = space_head(space);
	struct search search = { .space = space, .head = head,
		                 .file = space_file_find(space, head, file_id),
		                 .use = use };
	int rc;

	assert(units == 1 || units == 4);
	if (!head || !search.file || !search.file->built)
		return err_set(err, ERR_INVALID, "take a place in",
		               page_file_name(file),
		               "its free places are not known yet");
	while (!take(&search, units, place)) {
		rc = grow_file(space, head, search.file, file, units, err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

/* --- low places ----------------------------------------------------------- */

static bool look_below(struct search *s, int shape, uint64_t line,
                       struct space_low *low, uint32_t *place)
{
	uint32_t leaf_no = low->from[shape] / LEAF_UNITS;
	uint32_t word = low->from[shape] % LEAF_UNITS / 64;

	while (leaf_no < s->file->leaf_end &&
	       (uint64_t)leaf_no * LEAF_UNITS < line) {
		if (look_in_leaf(s, leaf_no, shape, word, LEAF_WORDS, place)) {
			low->from[shape] = *place;
			return (uint64_t)*place + (shape == QUAD ? 4 : 1) <=
			       line;
		}
		leaf_no++;
		word = 0;
	}
	low->from[shape] = UINT32_MAX;
	return false;
}

bool space_take_below(struct space *space, uint32_t file_id, uint32_t units,
                      enum space_use use, uint64_t line, struct space_low *low,
                      uint32_t *place)
{
	struct space_head *head = space_head(space);
	struct search s = { .space = space, .head = head, .use = use,
		            .file = space_file_find(space, head, file_id) };

	if (!s.file || !s.file->built)
		return false;
	if (units == 1 && look_below(&s, SINGLE, line, low, place)) {
		mark_taken(&s, *place, 1);
		return true;
	}
	if (!look_below(&s, QUAD, line, low, place))
		return false;
	mark_taken(&s, *place, units);
	if (units == 1) {
		break_quad(&s, *place);
		low->from[SINGLE] = *place;
	}
	return true;
}

uint64_t space_quads_below(const struct space *space, uint32_t file_id,
                           uint32_t line)
{
	const struct space_head *head = space_head(space);
	const struct space_file *file = space_file_find(space, head, file_id);
	uint64_t quads = 0;

	for (uint32_t at = 0; file && at / 64 < (line + 63) / 64; at += 64) {
		const struct space_leaf *leaf = space_leaf_find(
			space, head, file_id, at / LEAF_UNITS);

		if (leaf)
			quads += (uint64_t)__builtin_popcountll(
				usable_bits(leaf, at % LEAF_UNITS / 64, QUAD,
				            SPACE_LOGGED) &
				space_word_mask(at / 64, 0, line));
	}
	return quads;
}

/* --- giving back ---------------------------------------------------------- */

int space_give(struct space *space, uint32_t file_id, uint32_t place,
               uint32_t units, struct err *err)
{
	struct space_head *head = space_head(space);
	struct space_file *file = space_file_find(space, head, file_id);
	struct space_spot spot = space_spot(place, units);
	struct space_leaf *leaf;
	int rc, shape;

	if (!file || !file->built)
		return ERR_NONE;
	rc = check_place(file, "give back a place of", place, units, err);
	if (rc)
		return rc;
	leaf = space_leaf_find(space, head, file_id, place / LEAF_UNITS);
	if (leaf->free[spot.word] & spot.mask)
		return space_refuse(err, ERR_CORRUPT, "give back a place of", file_id,
		                    "is free already: it was referred to twice",
		                    place, units);
	change_free(file, leaf, &spot, true);
	space_loose_set(file, (uint64_t)file->loose + units);
	shape = (leaf->free[spot.word] & spot.quad) == spot.quad ? QUAD :
	                                                            SINGLE;
	if (shape == QUAD) {
		place &= ~3u;
		spot = space_spot(place, 4);
	}
	ring_push(file, shape, place);
	search_again(head, file, leaf, &spot, shape, place);
	return ERR_NONE;
}

/* --- building ------------------------------------------------------------- */

void space_file_clear(const struct space *space, const struct space_head *head,
                      struct space_file *file)
{
	space_set32(&file->built, 0);
	for (uint32_t i = 0; i < file->leaf_end; i++) {
		struct space_leaf *leaf = space_leaf_find(space, head,
		                                          file->block.file_id, i);

		if (!leaf)
			continue;
		for (uint32_t word = 0; word < LEAF_WORDS; word++)
			space_set64(&leaf->free[word], 0);
		leaf->free_units = leaf->free_quads = 0;
		leaf->holed[0] = leaf->holed[1] = 0;
	}
	space_loose_set(file, 0);
	space_set64(&file->free_units, 0);
	space_set64(&file->free_quads, 0);
	space_set64(&file->capacity, 0);
	memset(file->rings, 0, sizeof file->rings);
	search_from(file, SINGLE, 0);
	search_from(file, QUAD, 0);
}

bool space_file_built(const struct space *space, uint32_t file_id)
{
	const struct space_file *file =
		space_file_find(space, space_head(space), file_id);

	return file && space_get32(&file->built);
}

int space_file_build(struct space *space, uint32_t file_id,
                     uint32_t first_place, uint64_t capacity, struct err *err)
{
	struct space_head *head;
	struct space_file *file;
	int rc;

	if (capacity > PLACES_MAX || first_place > capacity)
		return space_refuse(err, ERR_CORRUPT, "list the free places of",
		                    file_id, "is impossible as its end", capacity, 0);
	rc = space_head_make(space, &head, err);
	if (!rc)
		rc = space_file_make(space, head, file_id, &file, err);
	if (rc)
		return rc;
	space_file_clear(space, head, file);
	file->first_place = first_place;
	return free_units(space, head, file, first_place, capacity, err);
}

int space_mark_used(struct space *space, uint32_t file_id, uint32_t place,
                    uint32_t units, struct err *err)
{
	struct space_head *head = space_head(space);
	struct space_file *file = space_file_find(space, head, file_id);
	struct space_spot spot = space_spot(place, units);
	int rc;

	assert(file && !file->built);
	rc = check_place(file, "list the free places of", place, units, err);
	if (!rc)
		change_free(file, space_leaf_find(space, head, file_id,
		                                  place / LEAF_UNITS),
		            &spot, false);
	return rc;
}

void space_file_built_set(struct space *space, uint32_t file_id)
{
	space_set32(&space_file_find(space, space_head(space), file_id)->built, 1);
}
