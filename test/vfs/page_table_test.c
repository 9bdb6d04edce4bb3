/*
 * page_table_test.c - a table agrees with a plain map of pages over any history,
 * and every place is free or reachable, never both.
 *
 * The history plays the rules on places of the store's design: commits supersede
 * versions, readers and checkpoints retain roots, releasing a root gives back what
 * only it could reach. Births and differences must give exactly the right frees.
 */
#include "test/vfs/page_fixture.h"

#include "base/bytes.h"
#include "vfs/page_table.h"

/* --- a world: pages, places, retained roots ------------------------------- */

enum { PAGES = 420, PLACES = 8192, RETAINED_MAX = 6 };

/* The page numbers used, rising: around every border of the depths. */
static uint32_t number_of(uint32_t i)
{
	static const struct { uint32_t count, first; } ranges[] = {
		{ 200, 0 },          { 60, 28870 },     { 40, 60000 },
		{ 40, 4912980 },     { 40, 835209980 }, { 40, 4294967256 },
	};

	for (int range = 0;; i -= ranges[range++].count)
		if (i < ranges[range].count)
			return ranges[range].first + i;
}

static uint32_t index_of(uint32_t page_no)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (number_of(i) == page_no)
			return i;
	abort();
}

struct root {
	uint64_t txid;
	struct page_table table;
	struct page_ref model[PAGES];
};

struct world {
	struct page_fixture f;
	uint64_t random;
	struct root latest;
	struct root retained[RETAINED_MAX]; /* by txid, rising */
	uint32_t retained_count;
	bool free[PLACES];
	uint32_t page_units;

	uint32_t freed_now[PLACES]; /* while a commit runs: freed after it */
	uint32_t freed_count;
	bool wrong;
};

static uint64_t pick(struct world *w, uint64_t below)
{
	return test_random(&w->random) % below;
}

static uint32_t take_place(struct world *w, uint32_t units)
{
	uint32_t start = (uint32_t)pick(w, PLACES) / units * units;

	for (uint32_t i = 0; i < PLACES; i += units) {
		uint32_t place = (start + i) % PLACES, n = 0;

		while (n < units && w->free[place + n])
			n++;
		if (n < units || place == 0)
			continue;
		while (n)
			w->free[place + --n] = false;
		return place;
	}
	abort();
}

static void give_place(struct world *w, uint32_t place, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++) {
		if (w->free[place + i])
			w->wrong = true; /* freed twice */
		w->free[place + i] = true;
	}
}

/* --- what a commit does --------------------------------------------------- */

static int sink_take(void *context, uint32_t *place, struct err *err)
{
	(void)err;
	*place = take_place(context, 1);
	return 0;
}

/* Free at once unless a retained root lies in [birth, t). */
static int sink_superseded(void *context, uint32_t place, uint32_t units,
                           uint64_t birth, struct err *err)
{
	struct world *w = context;

	(void)err;
	for (uint32_t i = 0; i < w->retained_count; i++)
		if (w->retained[i].txid >= birth)
			return 0;
	for (uint32_t i = 0; i < units; i++)
		w->freed_now[w->freed_count++] = place + i;
	return 0;
}

static int order(const void *a, const void *b)
{
	uint32_t x = ((const struct page_change *)a)->page_no;
	uint32_t y = ((const struct page_change *)b)->page_no;

	return x < y ? -1 : x > y;
}

static struct page_ref new_page(struct world *w)
{
	return (struct page_ref){
		.place = take_place(w, w->page_units),
		.length = w->f.identity.page_size,
		.birth = w->latest.txid + 1,
		.checksum = test_random(&w->random),
	};
}

static struct page_ref free_page(struct world *w)
{
	return (struct page_ref){ .place = (uint32_t)pick(w, 1000),
		                  .birth = w->latest.txid + 1,
		                  .flags = REF_FLAG_FREE };
}

/* How many changes there are to be: mostly few, sometimes all; and how often
 * they remove. */
static uint32_t make_changes(struct world *w, struct page_change *changes)
{
	uint64_t style = pick(w, 12), most = pick(w, PAGES) + 1;
	uint32_t count = 0, wanted;

	wanted = style < 6 ? 1 + (uint32_t)pick(w, 3) :
	         style < 10 ? 1 + (uint32_t)pick(w, 30) : PAGES;
	for (uint32_t i = 0; i < PAGES && count < wanted; i++) {
		uint32_t at = wanted == PAGES ? i : (uint32_t)pick(w, most);
		bool twice = false;

		for (uint32_t k = 0; k < count; k++)
			twice |= changes[k].page_no == number_of(at);
		if (twice)
			continue;
		changes[count] = (struct page_change){ number_of(at), { 0 } };
		if (style == 11 || (style == 10 && at > most) ||
		    pick(w, 3) == 0)
			; /* removed */
		else if (pick(w, 8) == 0)
			changes[count].ref = free_page(w);
		else
			changes[count].ref = new_page(w);
		count++;
	}
	qsort(changes, count, sizeof *changes, order);
	return count;
}

static void commit(struct test *t, struct world *w)
{
	static const struct page_ref none;
	struct page_table_sink sink = { sink_take, sink_superseded, w, NULL };
	struct page_change changes[PAGES];
	uint32_t count = make_changes(w, changes);
	struct page_table before = w->latest.table;

	w->freed_count = 0;
	EXPECT_OK(t, page_table_apply(w->f.file, &before, changes, count,
	                              w->latest.txid + 1, &sink,
	                              &w->latest.table, &t->err));
	w->latest.txid++;
	for (uint32_t i = 0; i < count; i++) {
		bool absent = changes[i].ref.length == 0 &&
		              !changes[i].ref.flags;

		w->latest.model[index_of(changes[i].page_no)] =
			absent ? none : changes[i].ref;
	}
	while (w->freed_count)
		give_place(w, w->freed_now[--w->freed_count], 1);
}

/* --- roots that are retained, and released -------------------------------- */

static void retain(struct world *w)
{
	uint32_t n = w->retained_count;

	if (n == RETAINED_MAX ||
	    (n && w->retained[n - 1].txid == w->latest.txid))
		return;
	w->retained[w->retained_count++] = w->latest;
}

struct release {
	struct world *w;
	uint64_t older;
};

static int release_place(void *context, uint32_t level, uint64_t index,
                         const struct page_ref *ref, struct err *err)
{
	struct release *release = context;

	(void)level, (void)index, (void)err;
	if (ref->birth > release->older)
		give_place(release->w, ref->place, page_ref_units(ref));
	return 0;
}

/* What the next newer root does not reach and no older root can have seen. */
static void release(struct test *t, struct world *w)
{
	struct release context = { w, 0 };
	const struct root *newer = &w->latest;
	struct page_table gone;
	uint32_t i;

	if (w->retained_count == 0)
		return;
	i = (uint32_t)pick(w, w->retained_count);
	gone = w->retained[i].table;
	if (i > 0)
		context.older = w->retained[i - 1].txid;
	if (i + 1 < w->retained_count)
		newer = &w->retained[i + 1];
	if (w->retained[i].txid != w->latest.txid)
		EXPECT_OK(t, page_table_difference(
			w->f.file, &gone, &newer->table, release_place,
			&context, &t->err));
	memmove(&w->retained[i], &w->retained[i + 1],
	        (w->retained_count - i - 1) * sizeof w->retained[0]);
	w->retained_count--;
}

/* --- what must hold after every step -------------------------------------- */

struct seen {
	struct world *w;
	const struct root *root;
	uint64_t born_after;
	uint8_t used[PLACES]; /* how often this walk reached the unit */
	uint32_t pages;
	bool wrong;
};

static bool same_ref(const struct page_ref *a, const struct page_ref *b)
{
	return a->place == b->place && a->length == b->length &&
	       a->birth == b->birth && a->checksum == b->checksum &&
	       a->flags == b->flags;
}

static int see(void *context, uint32_t level, uint64_t index,
               const struct page_ref *ref, struct err *err)
{
	struct seen *seen = context;

	(void)err;
	if (level == 0) {
		uint32_t i = index_of((uint32_t)index);

		seen->pages++;
		seen->wrong |= !same_ref(ref, &seen->root->model[i]);
	}
	seen->wrong |= seen->born_after && ref->birth <= seen->born_after;
	for (uint32_t i = 0; i < ref->length / PLACE_SIZE; i++)
		seen->wrong |= seen->used[ref->place + i]++ > 0;
	return 0;
}

static void walk(struct test *t, struct world *w, const struct root *root,
                 uint64_t born_after, struct seen *seen)
{
	uint32_t expected = 0;

	memset(seen, 0, sizeof *seen);
	seen->w = w;
	seen->root = root;
	seen->born_after = born_after;
	EXPECT_OK(t, page_table_walk(w->f.file, &root->table, born_after, see,
	                             seen, &t->err));
	for (uint32_t i = 0; i < PAGES; i++) {
		const struct page_ref *ref = &root->model[i];

		expected += (ref->length || ref->flags) &&
		            (!born_after || ref->birth > born_after);
	}
	EXPECT(t, !seen->wrong);
	EXPECT_EQ(t, seen->pages, expected);
}

static uint32_t depth_wanted(const struct root *root)
{
	for (uint32_t i = PAGES; i-- > 0;) {
		uint64_t span = 1;
		uint32_t depth = 0;

		if (!root->model[i].length && !root->model[i].flags)
			continue;
		while (number_of(i) >= span) {
			span *= MAP_ENTRIES;
			depth++;
		}
		return depth ? depth : root->model[i].flags ? 1 : 0;
	}
	return 0;
}

static void check_root(struct test *t, struct world *w,
                       const struct root *root)
{
	struct page_ref ref;

	EXPECT_EQ(t, root->table.depth, depth_wanted(root));
	for (int i = 0; i < 20; i++) {
		uint32_t at = (uint32_t)pick(w, PAGES);

		EXPECT_OK(t, page_table_find(w->f.file, &root->table,
		                             number_of(at), &ref, &t->err));
		EXPECT(t, same_ref(&ref, &root->model[at]));
	}
	EXPECT_OK(t, page_table_find(w->f.file, &root->table,
	                             300 + (uint32_t)pick(w, 20000), &ref,
	                             &t->err));
	EXPECT(t, ref.length == 0 && ref.flags == 0);
}

/* Every place is free or reachable, never both and never neither. */
static void check_places(struct test *t, struct world *w)
{
	static struct seen seen;
	bool reached[PLACES] = { true }; /* the file header */
	uint64_t after = pick(w, w->latest.txid + 1);

	for (uint32_t i = 0; i <= w->retained_count && !t->failed; i++) {
		const struct root *root =
			i < w->retained_count ? &w->retained[i] : &w->latest;

		check_root(t, w, root);
		walk(t, w, root, after, &seen);
		walk(t, w, root, 0, &seen);
		for (uint32_t k = 0; k < PLACES; k++)
			reached[k] |= seen.used[k];
	}
	for (uint32_t k = 0; k < PLACES && !t->failed; k++)
		if (reached[k] == w->free[k])
			test_fail(t, __FILE__, __LINE__,
			          "transaction %llu: place %u is %s",
			          (unsigned long long)w->latest.txid, k,
			          w->free[k] ? "free and reachable" :
			                       "neither free nor reachable");
	EXPECT(t, !w->wrong);
}

struct difference_check {
	uint8_t told[PLACES];
	uint32_t units;
	bool wrong;
};

static int tell(void *context, uint32_t level, uint64_t index,
                const struct page_ref *ref, struct err *err)
{
	struct difference_check *check = context;

	(void)level, (void)index, (void)err;
	for (uint32_t i = 0; i < page_ref_units(ref); i++, check->units++)
		check->wrong |= check->told[ref->place + i]++ > 0;
	return 0;
}

/* Any two roots, in either order, against two walks. A place used again for a
 * younger version is told though the other root reaches it; roots that are
 * retained together never have one. */
static void check_difference(struct test *t, struct world *w,
                             const struct root *old, const struct root *newer)
{
	static struct seen old_seen, new_seen;
	struct difference_check check = { .units = 0 };

	walk(t, w, old, 0, &old_seen);
	if (t->failed)
		return;
	walk(t, w, newer, 0, &new_seen);
	if (t->failed)
		return;
	EXPECT_OK(t, page_table_difference(w->f.file, &old->table,
	                                   &newer->table, tell, &check,
	                                   &t->err));
	EXPECT(t, !check.wrong);
	for (uint32_t i = 0; i < PLACES; i++)
		EXPECT_EQ(t, check.told[i],
		          old_seen.used[i] && !new_seen.used[i]);
}

static void check_differences(struct test *t, struct world *w)
{
	const struct root empty = { 0 };
	const struct root *roots[2];

	for (int i = 0; i < 2; i++) {
		uint64_t n = pick(w, w->retained_count + 2);

		roots[i] = n < w->retained_count ? &w->retained[n] :
		           n == w->retained_count ? &w->latest : &empty;
	}
	check_difference(t, w, roots[0], roots[1]);
	check_difference(t, w, roots[1], roots[0]);
}

/* --- histories ------------------------------------------------------------ */

static bool world_open(struct test *t, struct world *w, uint32_t page_size)
{
	uint64_t capacity;

	memset(w, 0, sizeof *w);
	if (!page_fixture_open(t, &w->f, page_size))
		return false;
	if (page_file_reserve(w->f.file, PLACES, &capacity, &t->err)) {
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
		return false;
	}
	w->random = t->seed;
	w->latest.txid = 10;
	w->page_units = page_size / PLACE_SIZE;
	memset(w->free + 1, true, PLACES - 1);
	return true;
}

static void play(struct test *t, uint32_t page_size, uint64_t steps)
{
	struct world *w = malloc(sizeof *w);

	if (!world_open(t, w, page_size))
		return;
	for (uint64_t step = 0; step < steps && !t->failed; step++) {
		uint64_t r = pick(w, 10);

		if (r < 6)
			commit(t, w);
		else if (r < 8)
			retain(w);
		else
			release(t, w);
		if (!t->failed && (step % 8 == 0 || steps - step < 50))
			check_places(t, w);
		if (!t->failed && step % 16 == 0)
			check_differences(t, w);
	}
	if (!t->failed)
		page_fixture_close(t, &w->f);
	free(w);
}

static void every_place_is_free_or_reachable_over_any_history(struct test *t)
{
	play(t, 16384, test_scaled(4000, 400));
}

static void so_it_is_with_pages_as_small_as_map_pages(struct test *t)
{
	play(t, PLACE_SIZE, test_scaled(4000, 400));
}

/* The same with a reader in another handle, which has verified nothing and sees
 * the file grow: it finds what the writer's handle finds. */
static void another_handle_finds_the_same(struct test *t)
{
	struct world *w = malloc(sizeof *w);
	struct page_file *other;
	struct page_ref ref;

	if (!world_open(t, w, 16384))
		return;
	EXPECT_OK(t, page_file_open(w->f.dir, &w->f.heap, &w->f.identity, false,
	                            &other, &t->err));
	for (int step = 0; step < 200 && !t->failed; step++) {
		commit(t, w);
		for (uint32_t i = 0; i < PAGES; i++) {
			EXPECT_OK(t, page_table_find(other, &w->latest.table,
			                             number_of(i), &ref,
			                             &t->err));
			EXPECT(t, same_ref(&ref, &w->latest.model[i]));
		}
	}
	page_file_close(other);
	if (!t->failed)
		page_fixture_close(t, &w->f);
	free(w);
}

/* --- small facts ---------------------------------------------------------- */

struct small_sink {
	uint32_t next, taken, superseded;
	uint32_t fail_in;
};

static int small_fail(struct small_sink *small, struct err *err)
{
	if (small->fail_in && --small->fail_in == 0)
		return err_set(err, ERR_FULL, "grow", "7-users.tbd", "no");
	return 0;
}

static int small_take(void *context, uint32_t *place, struct err *err)
{
	struct small_sink *small = context;

	if (small_fail(small, err))
		return ERR_FULL;
	small->taken++;
	*place = small->next++;
	return 0;
}

static int small_superseded(void *context, uint32_t place, uint32_t units,
                            uint64_t birth, struct err *err)
{
	struct small_sink *small = context;

	(void)place, (void)units, (void)birth;
	small->superseded++;
	return small_fail(small, err);
}

static int small_write(void *context, struct page_file *file,
                       const struct page_ref *refs, const void *const *bytes,
                       size_t count, struct err *err)
{
	return small_fail(context, err)
	               ? ERR_FULL
	               : page_file_write_many(file, refs, bytes, count, err);
}

struct small {
	struct page_fixture f;
	struct small_sink counts;
	struct page_table_sink sink;
	struct page_table table;
	uint64_t txid;
};

static bool small_open(struct test *t, struct small *s)
{
	uint64_t capacity;

	memset(s, 0, sizeof *s);
	if (!page_fixture_open(t, &s->f, 16384))
		return false;
	s->counts.next = 1;
	s->sink = (struct page_table_sink){ small_take, small_superseded,
		                            &s->counts, small_write };
	s->txid = 1;
	if (page_file_reserve(s->f.file, 20000, &capacity, &t->err))
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
	return !t->failed;
}

static struct page_ref some_ref(uint32_t place, uint64_t birth)
{
	return (struct page_ref){ place, 16384, birth, 0x1234567890abcdef, 0 };
}

static int set(struct test *t, struct small *s, uint32_t page_no,
               struct page_ref ref)
{
	struct page_change change = { page_no, ref };

	s->counts.taken = s->counts.superseded = 0;
	return page_table_apply(s->f.file, &s->table, &change, 1, ++s->txid,
	                        &s->sink, &s->table, &t->err);
}

static void a_table_with_page_0_alone_has_no_map_page(struct test *t)
{
	struct small s;
	struct page_ref ref;

	if (!small_open(t, &s))
		return;
	EXPECT_OK(t, set(t, &s, 0, some_ref(4, 2)));
	EXPECT_EQ(t, s.table.depth, 0);
	EXPECT_EQ(t, s.table.root.place, 4);
	EXPECT_EQ(t, s.counts.taken, 0);
	EXPECT_OK(t, set(t, &s, 1, some_ref(8, 3)));
	EXPECT_EQ(t, s.table.depth, 1);
	EXPECT_EQ(t, s.counts.taken, 1);
	EXPECT_EQ(t, s.counts.superseded, 0);
	EXPECT_OK(t, set(t, &s, 1, (struct page_ref){ 0 }));
	EXPECT_EQ(t, s.table.depth, 0);
	EXPECT_EQ(t, s.table.root.place, 4);
	EXPECT_EQ(t, s.counts.superseded, 2);
	EXPECT_OK(t, set(t, &s, 0, (struct page_ref){ 0 }));
	EXPECT_EQ(t, s.table.root.length, 0);
	EXPECT_OK(t, page_table_find(s.f.file, &s.table, 0, &ref, &t->err));
	EXPECT_EQ(t, ref.length, 0);
	page_fixture_close(t, &s.f);
}

static void one_change_rewrites_one_map_page_a_level(struct test *t)
{
	struct small s;

	if (!small_open(t, &s))
		return;
	EXPECT_OK(t, set(t, &s, 0, some_ref(4, 2)));
	EXPECT_OK(t, set(t, &s, 5000000, some_ref(8, 3)));
	EXPECT_EQ(t, s.table.depth, 4);
	EXPECT_EQ(t, s.counts.taken, 7); /* two paths below one root */
	EXPECT_OK(t, set(t, &s, 5000000, some_ref(12, 4)));
	EXPECT_EQ(t, s.counts.taken, 4);
	EXPECT_EQ(t, s.counts.superseded, 5);
	EXPECT_OK(t, set(t, &s, 5000001, (struct page_ref){ 0 }));
	EXPECT_EQ(t, s.counts.taken, 0);
	EXPECT_OK(t, set(t, &s, 5000000, (struct page_ref){ 0 }));
	EXPECT_EQ(t, s.table.depth, 0);
	EXPECT_EQ(t, s.counts.taken, 0);
	EXPECT_EQ(t, s.counts.superseded, 8);
	page_fixture_close(t, &s.f);
}

static void expect_small(struct test *t, struct small *s, uint32_t page_no,
                         uint32_t place)
{
	struct page_ref ref;

	EXPECT_OK(t, page_table_find(s->f.file, &s->table, page_no, &ref,
	                             &t->err));
	EXPECT_EQ(t, ref.place, place);
}

/* Whichever call of the sink fails, of taking, telling and writing: that is told, and
 * leaves the old table as it was. */
static void a_failed_rebuild_leaves_the_old_table(struct test *t)
{
	struct page_change changes[3] = {
		{ 1, some_ref(16, 4) }, { 400, some_ref(20, 4) },
		{ 5000000, some_ref(24, 4) },
	};
	struct page_table before;
	uint32_t calls = 0;
	struct small s;
	int rc;

	if (!small_open(t, &s))
		return;
	EXPECT_OK(t, set(t, &s, 1, some_ref(4, 2)));
	EXPECT_OK(t, set(t, &s, 400, some_ref(8, 3)));
	EXPECT_OK(t, set(t, &s, 5000000, some_ref(12, 3)));
	before = s.table;
	do {
		s.counts.fail_in = ++calls;
		rc = page_table_apply(s.f.file, &s.table, changes, 3, ++s.txid,
		                      &s.sink, &s.table, &t->err);
		if (rc) {
			EXPECT_EQ(t, rc, ERR_FULL);
			EXPECT(t, !memcmp(&before, &s.table, sizeof before));
			expect_small(t, &s, 1, 4);
			expect_small(t, &s, 400, 8);
			expect_small(t, &s, 5000000, 12);
		}
	} while (rc && !t->failed);
	EXPECT_EQ(t, s.counts.fail_in, 1); /* none was left to fail */
	EXPECT(t, calls > 20);
	expect_small(t, &s, 1, 16);
	expect_small(t, &s, 400, 20);
	expect_small(t, &s, 5000000, 24);
	page_fixture_close(t, &s.f);
}

/* --- bytes ---------------------------------------------------------------- */

static void a_reference_has_golden_bytes(struct test *t)
{
	static const uint8_t golden[REF_SIZE] = {
		0x04, 0x03, 0x02, 0x01, 0x00, 0x40, 0x00, 0x01,
		0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
		0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
	};
	struct page_ref ref = { 0x01020304, 16384, 0x1112131415161718,
		                0x2122232425262728, REF_FLAG_FREE };
	struct page_ref back;
	uint8_t bytes[REF_SIZE];

	page_ref_store(bytes, &ref);
	EXPECT(t, memcmp(bytes, golden, REF_SIZE) == 0);
	page_ref_load(bytes, &back);
	EXPECT(t, same_ref(&ref, &back));
}

static void a_map_page_has_golden_bytes(struct test *t)
{
	static const uint8_t head[MAP_HEAD_SIZE] = { 'T', 'M', 'A', 'P', 1 };
	static const uint8_t entry[REF_SIZE] = {
		8, 0, 0, 0, 0, 0x40, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
		0xef, 0xcd, 0xab, 0x90, 0x78, 0x56, 0x34, 0x12,
	};
	uint8_t page[PLACE_SIZE], wanted[PLACE_SIZE] = { 0 };
	struct small s;
	const uint8_t *bytes;

	memcpy(wanted, head, MAP_HEAD_SIZE);
	memcpy(wanted + 16 + 169 * 24, entry, REF_SIZE);
	if (!small_open(t, &s))
		return;
	EXPECT_OK(t, set(t, &s, 169, some_ref(8, 2)));
	EXPECT_EQ(t, s.table.depth, 1);
	EXPECT_EQ(t, s.table.root.place, 1);
	EXPECT_EQ(t, s.table.root.length, PLACE_SIZE);
	EXPECT_EQ(t, s.table.root.checksum, UINT64_C(0x17cb88c3b2d80af5));
	EXPECT_OK(t, page_file_verify(s.f.file, &s.table.root, MAP_TAG(1, 0),
	                              &bytes, &t->err));
	memcpy(page, bytes, PLACE_SIZE);
	EXPECT(t, memcmp(page, wanted, PLACE_SIZE) == 0);
	page_fixture_close(t, &s.f);
}

static void raw_write(struct test *t, struct small *s, uint32_t place,
                      const uint8_t *bytes)
{
	struct os_file *raw;

	EXPECT_OK(t, os_open(s->f.dir, s->f.identity.name, OS_OPEN_WRITE, 0,
	                     &raw, &t->err));
	EXPECT_OK(t, os_write(raw, (uint64_t)place * PLACE_SIZE, bytes,
	                      PLACE_SIZE, &t->err));
	os_close(raw);
}

/* Finds, twice, through a fresh handle that trusts nothing. */
static int use_table(struct test *t, struct small *s,
                     const struct page_table *table, uint32_t page_no)
{
	struct page_file *other;
	struct page_ref ref;
	struct err err;
	int rc, again;

	rc = page_file_open(s->f.dir, &s->f.heap, &s->f.identity, false, &other,
	                    &t->err);
	if (rc)
		return rc;
	rc = page_table_find(other, table, page_no, &ref, &t->err);
	again = page_table_find(other, table, page_no, &ref, &err);
	if (again != rc)
		test_fail(t, __FILE__, __LINE__,
		          "%s, and the second time %s", err_name(rc),
		          err_name(again));
	page_file_close(other);
	return rc;
}

static void every_flipped_bit_of_a_map_page_is_found(struct test *t)
{
	struct small s;
	uint8_t page[PLACE_SIZE];
	const uint8_t *bytes;
	uint64_t random = t->seed;

	if (!small_open(t, &s))
		return;
	EXPECT_OK(t, set(t, &s, 3, some_ref(8, 2)));
	EXPECT_OK(t, page_file_verify(s.f.file, &s.table.root, MAP_TAG(1, 0),
	                              &bytes, &t->err));
	memcpy(page, bytes, PLACE_SIZE);
	for (uint64_t i = test_scaled(1000, 100); i; i--) {
		uint64_t bit = test_random(&random) % (8 * PLACE_SIZE);

		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
		raw_write(t, &s, s.table.root.place, page);
		EXPECT_ERR(t, use_table(t, &s, &s.table, 3), ERR_CORRUPT,
		           "read map page 0 of level 1 of 7-users.tbd: checksum");
		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	raw_write(t, &s, s.table.root.place, page);
	EXPECT_OK(t, use_table(t, &s, &s.table, 3));
	page_fixture_close(t, &s.f);
}

static void start_map(uint8_t *page, uint32_t level)
{
	memset(page, 0, PLACE_SIZE);
	store_le32(page + MAP_MAGIC_AT, MAP_MAGIC);
	store_le32(page + MAP_LEVEL_AT, level);
}

/* A root map page of whatever bytes, its checksum right. */
static struct page_table forged(struct test *t, struct small *s, uint32_t level,
                                const uint8_t *page)
{
	struct page_table table = { .depth = level };

	table.root = (struct page_ref){ 100, PLACE_SIZE, 50, 0, 0 };
	table.root.checksum = page_file_checksum(7, MAP_TAG(level, 0), 50, page,
	                                         PLACE_SIZE);
	raw_write(t, s, 100, page);
	return table;
}

/* (vfs/page_table T1, vfs/page_table T2) */
static void a_map_page_that_makes_no_sense_is_refused(struct test *t)
{
	struct small s;
	struct page_table table;
	struct page_ref ref;
	uint8_t page[PLACE_SIZE];

	if (!small_open(t, &s))
		return;
#define REFUSED(level, change, words)                                         \
	start_map(page, level);                                               \
	ref = some_ref(8, 50);                                                \
	if ((level) > 1)                                                      \
		ref.length = PLACE_SIZE;                                      \
	change;                                                               \
	page_ref_store(page + MAP_HEAD_SIZE + 3 * REF_SIZE, &ref);            \
	table = forged(t, &s, level, page);                                   \
	EXPECT_ERR(t, use_table(t, &s, &table, 4), ERR_CORRUPT, words)

	REFUSED(1, page[0] ^= 1, "read map page 0 of level 1 of 7-users.tbd: "
	                         "its magic is");
	REFUSED(1, page[4] = 2, "it says of itself level 2");
	REFUSED(1, page[15] = 1, "its zero bytes hold");
	REFUSED(1, ref.birth = 51, "is younger than its map page: entry 3");
	REFUSED(1, ref.length = 0, "has a length that is not its page's");
	REFUSED(1, ref.length = 5000, "compressed images are not made");
	REFUSED(1, ref.length = 20000, "has a length that is not its page's");
	REFUSED(1, ref.flags = REF_FLAG_FREE, "is free and has a length");
	REFUSED(1, ref.flags = 2, "has flags it cannot have: entry 3");
	REFUSED(1, ref.place = 0, "has the place of the file header");
	REFUSED(1, ref.place = 10, "has a place that is not aligned");
	REFUSED(2, ref.length = 16384, "of level 2 of 7-users.tbd: has a length");
	REFUSED(2, ref.flags = REF_FLAG_FREE, "has flags it cannot have");
	REFUSED(5, page_ref_store(page + MAP_HEAD_SIZE + 9 * REF_SIZE, &ref),
	        "stands for pages beyond 32 bits: entry 9");
#undef REFUSED
	start_map(page, 1);
	table = forged(t, &s, 1, page);
	EXPECT_OK(t, use_table(t, &s, &table, 4));
	table.depth = 6;
	EXPECT_ERR(t, use_table(t, &s, &table, 4), ERR_CORRUPT,
	           "its depth is 6");
	table.depth = 1;
	table.root.length = 0;
	EXPECT_ERR(t, use_table(t, &s, &table, 4), ERR_CORRUPT,
	           "its reference says 0 bytes");
	page_fixture_close(t, &s.f);
}

static int count_visit(void *context, uint32_t level, uint64_t index,
                       const struct page_ref *ref, struct err *err)
{
	(void)level, (void)index, (void)ref;
	if (++*(uint32_t *)context > 100000)
		return err_set(err, ERR_TOOBIG, "walk", "", "too much");
	return 0;
}

/* Map pages of random bytes with right checksums: any answer is fine, no crash
 * and no endless descent is. */
static int visit_any(void *context, uint32_t level, uint64_t index,
                     const struct page_ref *ref, struct err *err)
{
	(void)context, (void)level, (void)index, (void)ref, (void)err;
	return ERR_NONE;
}

/* All entries of the root lead to one map page, which counts as verified after the
 * first: with a few levels more a walk would take years. */
static void a_table_that_shares_its_map_pages_is_not_walked_on(struct test *t)
{
	struct page_table table, none = { .depth = 0 };
	struct page_ref ref = some_ref(200, 50);
	uint8_t page[PLACE_SIZE];
	struct small s;

	if (!small_open(t, &s))
		return;
	start_map(page, 1);
	for (uint32_t i = 0; i < MAP_ENTRIES; i++, ref.place += 4)
		page_ref_store(page + MAP_HEAD_SIZE + i * REF_SIZE,
		               &ref);
	ref = forged(t, &s, 1, page).root;
	raw_write(t, &s, ref.place = 104, page);
	start_map(page, 2);
	for (uint32_t i = 0; i < MAP_ENTRIES; i++)
		page_ref_store(page + MAP_HEAD_SIZE + i * REF_SIZE,
		               &ref);
	table = forged(t, &s, 2, page);
	EXPECT_ERR(t, page_table_walk(s.f.file, &table, 0, visit_any, NULL,
	                              &t->err), ERR_CORRUPT,
	           "it reaches more places than the file has");
	EXPECT_ERR(t, page_table_difference(s.f.file, &table, &none, visit_any,
	                                    NULL, &t->err), ERR_CORRUPT,
	           "it reaches more places than the file has");
	page_fixture_close(t, &s.f);
}

static void fuzzed_map_pages_never_crash(struct test *t)
{
	struct small s;
	uint8_t page[PLACE_SIZE];
	struct page_change change = { 77, { 8, 16384, 60, 1, 0 } };
	uint64_t random = t->seed;

	if (!small_open(t, &s))
		return;
	s.counts.next = 200;
	for (uint64_t i = test_scaled(4000, 500); i; i--) {
		uint32_t level = 1 + (uint32_t)(test_random(&random) % 5);
		struct page_table table, other = { .depth = 0 }, made;
		uint32_t entries = (uint32_t)(test_random(&random) % 5);
		uint32_t visits = 0;

		start_map(page, level);
		while (entries--) {
			uint64_t r = test_random(&random);
			struct page_ref ref = {
				(uint32_t)(r & 63) * 4 + (r >> 6 & 31 ? 0 : 1),
				level > 1 ? PLACE_SIZE : 16384,
				r >> 11 & 63, test_random(&random), 0,
			};

			if ((r >> 20 & 15) == 0)
				ref.flags = (uint8_t)(r >> 24);
			if ((r >> 32 & 15) == 0)
				ref.length = (uint32_t)(r >> 36 & 0xffffff);
			if ((r >> 44 & 3) == 0) /* itself */
				ref.place = 100;
			page_ref_store(page + MAP_HEAD_SIZE + (r >> 50) % 170 *
			               REF_SIZE, &ref);
		}
		if (test_random(&random) % 4 == 0)
			page[test_random(&random) % PLACE_SIZE] ^= 1;
		table = forged(t, &s, level, page);
		use_table(t, &s, &table, (uint32_t)test_random(&random));
		page_table_walk(s.f.file, &table, 0, count_visit, &visits,
		                &t->err);
		page_table_difference(s.f.file, &table, &other, count_visit,
		                      &visits, &t->err);
		page_table_difference(s.f.file, &other, &table, count_visit,
		                      &visits, &t->err);
		s.counts.next = 200;
		page_table_apply(s.f.file, &table, &change, 1, 60, &s.sink,
		                 &made, &t->err);
	}
	page_fixture_close(t, &s.f);
}

static const struct test_case cases[] = {
	CASE(every_place_is_free_or_reachable_over_any_history),
	CASE(so_it_is_with_pages_as_small_as_map_pages),
	CASE(another_handle_finds_the_same),
	CASE(a_table_with_page_0_alone_has_no_map_page),
	CASE(one_change_rewrites_one_map_page_a_level),
	CASE(a_failed_rebuild_leaves_the_old_table),
	CASE(a_reference_has_golden_bytes),
	CASE(a_map_page_has_golden_bytes),
	CASE(every_flipped_bit_of_a_map_page_is_found),
	CASE(a_map_page_that_makes_no_sense_is_refused),
	CASE(a_table_that_shares_its_map_pages_is_not_walked_on),
	CASE(fuzzed_map_pages_never_crash),
};

TEST_MAIN(cases)
