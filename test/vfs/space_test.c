/*
 * space_test.c - the allocator agrees with a plain array of units over any
 * history, whichever process uses it and wherever the last one died.
 */
#define _GNU_SOURCE
#include "test/vfs/page_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfs/space.h"

/* --- shared memory -------------------------------------------------------- */

enum { CHUNKS_MAX = 512 };

/* What processes share, in front of the chunks. */
struct shared {
	struct space_root root;
	uint32_t chunk_count; /* given out so far */
	uint32_t grow_fails_in;
};

enum { SHARED_SIZE = 65536 };

/* One process's sight of it. */
struct mapping {
	struct shared *shared;
	uint32_t dies_in; /* 0 = lives */
	jmp_buf death;
	struct space space;
};

static void *chunk_at(void *context, uint32_t chunk)
{
	struct mapping *m = context;

	if (m->dies_in && --m->dies_in == 0)
		longjmp(m->death, 1);
	if (chunk == 0 || chunk > m->shared->chunk_count)
		abort();
	return (uint8_t *)m->shared + SHARED_SIZE +
	       (size_t)(chunk - 1) * SHM_CHUNK_SIZE;
}

static int chunk_grow(void *context, uint32_t *chunk, struct err *err)
{
	struct shared *shared = ((struct mapping *)context)->shared;

	if (shared->grow_fails_in && --shared->grow_fails_in == 0)
		return err_set(err, ERR_FULL, "grow", "turdb.shm", "no space");
	if (shared->chunk_count == CHUNKS_MAX)
		abort();
	*chunk = ++shared->chunk_count;
	return ERR_NONE;
}

static bool mapping_open(struct test *t, struct mapping *m, int fd)
{
	void *at = mmap(NULL, SHARED_SIZE + CHUNKS_MAX * SHM_CHUNK_SIZE,
	                PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	memset(m, 0, sizeof *m);
	if (at == MAP_FAILED) {
		test_fail(t, __FILE__, __LINE__, "mmap failed");
		return false;
	}
	m->shared = at;
	m->space = (struct space){ &m->shared->root,
		                   { chunk_at, chunk_grow, m } };
	return true;
}

static void mapping_close(struct mapping *m)
{
	munmap(m->shared, SHARED_SIZE + CHUNKS_MAX * SHM_CHUNK_SIZE);
}

/* --- the model ------------------------------------------------------------ */

enum { FILES = 4, UNITS_MAX = 40000 };

struct model_file {
	uint32_t file_id;
	struct page_file *file;
	bool built;
	uint64_t capacity;
	bool used[UNITS_MAX];
	/* [generation: 0 current, 1 older] */
	bool placed[2][UNITS_MAX], logged[2][UNITS_MAX];
	/* places given out: what the page tables would say */
	uint32_t places[UNITS_MAX], units[UNITS_MAX];
	uint32_t count;
};

struct world {
	struct page_fixture f;
	struct mapping maps[2];
	struct space *space; /* of the process that is at work */
	struct model_file files[FILES];
	uint64_t random;
};

static uint64_t pick(struct world *w, uint64_t below)
{
	return test_random(&w->random) % below;
}

static bool held(const struct model_file *m, uint32_t unit, enum space_use use)
{
	return m->placed[0][unit] || m->placed[1][unit] ||
	       (use == SPACE_PLACED && (m->logged[0][unit] ||
	                                m->logged[1][unit]));
}

static void build(struct test *t, struct world *w, struct model_file *m)
{
	uint64_t capacity;

	EXPECT_OK(t, page_file_capacity(m->file, &capacity, &t->err));
	EXPECT(t, capacity <= UNITS_MAX);
	EXPECT_OK(t, space_file_build(w->space, m->file_id, FILE_FIRST_PLACE,
	                              capacity, &t->err));
	for (uint32_t i = 0; i < m->count; i++) /* some twice, as tables do */
		for (uint64_t n = 1 + pick(w, 2); n; n--)
			EXPECT_OK(t, space_mark_used(w->space, m->file_id,
			                             m->places[i], m->units[i],
			                             &t->err));
	EXPECT(t, !space_file_built(w->space, m->file_id));
	space_file_built_set(w->space, m->file_id);
	EXPECT(t, space_file_built(w->space, m->file_id));
	m->built = true;
	m->capacity = capacity;
}

static bool usable(const struct model_file *m, uint32_t place, uint32_t units,
                   enum space_use use)
{
	for (uint32_t i = 0; i < units; i++)
		if (m->used[place + i] || held(m, place + i, use))
			return false;
	return true;
}

/* A group of four that is not wholly free. */
static bool is_broken(const struct model_file *m, uint32_t place)
{
	uint32_t quad = place & ~3u;

	return quad == 0 || m->used[quad] || m->used[quad + 1] ||
	       m->used[quad + 2] || m->used[quad + 3];
}

/* Groups of four wholly usable, and single units usable in broken groups: if there
 * are any the file must not grow. */
static bool some_left(const struct model_file *m, uint32_t units,
                      enum space_use use)
{
	for (uint32_t at = 4; at < m->capacity; at += 4)
		if (usable(m, at, 4, use))
			return true;
	for (uint32_t at = 1; units == 1 && at < m->capacity; at++)
		if (is_broken(m, at) && usable(m, at, 1, use))
			return true;
	return false;
}

static void taken_check(struct test *t, struct model_file *m, uint32_t place,
                        uint32_t units, enum space_use use)
{
	EXPECT(t, place >= 1 && place + units <= m->capacity);
	EXPECT_EQ(t, place % units, 0);
	for (uint32_t i = 0; i < units; i++) {
		EXPECT(t, !m->used[place + i]);
		EXPECT(t, !held(m, place + i, use));
		m->used[place + i] = true;
	}
	m->places[m->count] = place;
	m->units[m->count++] = units;
}

static void take(struct test *t, struct world *w, struct model_file *m,
                 uint32_t units, enum space_use use)
{
	bool left = pick(w, 30) == 0 && some_left(m, units, use);
	uint32_t place;
	uint64_t capacity;

	EXPECT_OK(t, space_take(w->space, m->file, units, use, &place,
	                        &t->err));
	EXPECT_OK(t, page_file_capacity(m->file, &capacity, &t->err));
	EXPECT(t, !left || capacity == m->capacity);
	m->capacity = capacity;
	EXPECT(t, capacity <= UNITS_MAX);
	taken_check(t, m, place, units, use);
}

/* The lowest place below a line, for a unit one of a broken group if there is any; none
 * only when there is none. */
static void take_below(struct test *t, struct world *w, struct model_file *m,
                       uint32_t units, enum space_use use)
{
	uint32_t line = (uint32_t)pick(w, m->capacity), place;
	struct space_low low = { .from = { 0 } };
	uint32_t at = 4, single = 1;

	while (at < line && !usable(m, at, 4, use))
		at += 4;
	while (single < line && !(is_broken(m, single) &&
	                          usable(m, single, 1, use)))
		single++;
	if (space_take_below(w->space, m->file_id, units, use, line, &low,
	                     &place)) {
		if (units == 1 && single < line)
			EXPECT_EQ(t, place, single);
		else
			EXPECT_EQ(t, place, at);
		taken_check(t, m, place, units, use);
	} else {
		EXPECT(t, at + 4 > line && (units == 4 || single >= line));
	}
}

static void give(struct test *t, struct world *w, struct model_file *m)
{
	uint32_t i, place, units;

	if (m->count == 0)
		return;
	i = (uint32_t)pick(w, m->count);
	place = m->places[i];
	units = m->units[i];
	m->count--;
	m->places[i] = m->places[m->count];
	m->units[i] = m->units[m->count];
	for (uint32_t k = 0; k < units; k++)
		m->used[place + k] = false;
	EXPECT_OK(t, space_give(w->space, m->file_id, place, units, &t->err));
	if (m->built)
		EXPECT_ERR(t, space_give(w->space, m->file_id, place, units,
		                         &t->err),
		           ERR_CORRUPT, "is free already");
}

static void note(struct test *t, struct world *w, struct model_file *m)
{
	enum space_use use = pick(w, 2) ? SPACE_LOGGED : SPACE_PLACED;
	uint32_t i;

	if (m->count == 0)
		return;
	i = m->count - 1 - (uint32_t)pick(w, m->count < 30 ? m->count : 30);
	EXPECT_OK(t, space_note(w->space, m->file_id, m->places[i],
	                        m->units[i], use, &t->err));
	for (uint32_t k = 0; k < m->units[i]; k++)
		(use == SPACE_PLACED ? m->placed : m->logged)[0]
			[m->places[i] + k] = true;
}

static void model_begin(struct world *w)
{
	for (int i = 0; i < FILES; i++)
		for (uint32_t k = 0; k < UNITS_MAX; k++) {
			struct model_file *m = &w->files[i];

			m->placed[1][k] |= m->placed[0][k];
			m->logged[1][k] |= m->logged[0][k];
			m->placed[0][k] = m->logged[0][k] = false;
		}
}

static void model_end(struct world *w)
{
	for (int i = 0; i < FILES; i++) {
		memset(w->files[i].placed[1], 0, UNITS_MAX);
		memset(w->files[i].logged[1], 0, UNITS_MAX);
	}
}

static void build_all(struct test *t, struct world *w)
{
	for (int i = 0; i < FILES && !t->failed; i++)
		if (!w->files[i].built)
			build(t, w, &w->files[i]);
}

static void reset(struct world *w, bool notes_too)
{
	space_reset(w->space, notes_too);
	for (int i = 0; i < FILES; i++) {
		w->files[i].built = false;
		if (notes_too) {
			memset(w->files[i].placed, 0, 2 * UNITS_MAX);
			memset(w->files[i].logged, 0, 2 * UNITS_MAX);
		}
	}
}

static void check_file(struct test *t, struct world *w, struct model_file *m)
{
	struct space_figures figures, wanted = { .capacity = m->capacity };

	EXPECT_EQ(t, space_file_built(w->space, m->file_id), m->built);
	for (uint32_t k = 0; k < m->capacity; k++) {
		bool free = k > 0 && !m->used[k];

		if (m->built)
			EXPECT_EQ(t, space_is_free(w->space, m->file_id, k),
			          free);
		EXPECT_EQ(t, space_is_held(w->space, m->file_id, k,
		                           SPACE_LOGGED),
		          held(m, k, SPACE_LOGGED));
		EXPECT_EQ(t, space_is_held(w->space, m->file_id, k,
		                           SPACE_PLACED),
		          held(m, k, SPACE_PLACED));
		wanted.free += free;
		wanted.held += free && held(m, k, SPACE_PLACED);
		if (!free)
			wanted.end = k + 1;
	}
	if (!m->built) {
		EXPECT_EQ(t, space_file_figures(w->space, m->file_id,
		                                &figures), ERR_MISSING);
		return;
	}
	EXPECT_OK(t, space_file_figures(w->space, m->file_id, &figures));
	EXPECT_EQ(t, figures.capacity, wanted.capacity);
	EXPECT_EQ(t, figures.free, wanted.free);
	EXPECT_EQ(t, figures.held, wanted.held);
	EXPECT_EQ(t, figures.end, wanted.end);
}

static void check(struct test *t, struct world *w)
{
	for (int i = 0; i < FILES && !t->failed; i++)
		check_file(t, w, &w->files[i]);
}

static bool world_open(struct test *t, struct world *w)
{
	static const uint32_t ids[FILES] = { 1, 2, 1000, 5000000 };
	int fd = memfd_create("shm", MFD_CLOEXEC);

	memset(w, 0, sizeof *w);
	if (ftruncate(fd, SHARED_SIZE + CHUNKS_MAX * SHM_CHUNK_SIZE) ||
	    !mapping_open(t, &w->maps[0], fd) ||
	    !mapping_open(t, &w->maps[1], fd) ||
	    !page_fixture_open(t, &w->f, 16384))
		return false;
	close(fd);
	w->space = &w->maps[0].space;
	w->random = t->seed;
	for (int i = 0; i < FILES; i++) {
		struct page_file_identity identity = w->f.identity;

		w->files[i].file_id = identity.file_id = ids[i];
		snprintf(identity.name, sizeof identity.name, "%u.tbd", ids[i]);
		if (page_file_create(w->f.dir, &w->f.heap, &identity, 0600,
		                     &w->files[i].file, &t->err)) {
			test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
			return false;
		}
	}
	return true;
}

static void world_close(struct test *t, struct world *w)
{
	for (int i = 0; i < FILES; i++)
		page_file_close(w->files[i].file);
	mapping_close(&w->maps[0]);
	mapping_close(&w->maps[1]);
	page_fixture_close(t, &w->f);
}

/* No hole is told where something lies or a record says PLACED. */
static void tell_holes(struct test *t, struct world *w,
                       const struct model_file *m)
{
	uint64_t from = pick(w, m->capacity / 64 + 1) * 64;
	struct space_holes holes =
		SPACE_HOLES(from, from + 64 * pick(w, 200));
	struct space_run run;

	while (!t->failed && space_hole_next(w->space, m->file_id, &holes, &run)) {
		EXPECT(t, run.units >= 4 && run.place >= from &&
		          run.place + run.units <= m->capacity);
		EXPECT(t, !t->failed && usable(m, run.place, 1, SPACE_LOGGED));
		for (uint32_t i = 0; i < run.units && !t->failed; i++)
			EXPECT(t, usable(m, run.place + i, 1, SPACE_LOGGED));
	}
}

/* One random thing a store does. Files come and go in size with the phase. */
static void step(struct test *t, struct world *w, uint64_t number)
{
	struct model_file *m = &w->files[pick(w, FILES)];
	uint64_t r = pick(w, 1000);
	bool growing = number / 1500 % 2 == 0 && m->capacity < 20000;

	w->space = &w->maps[pick(w, 2)].space;
	if (!m->built)
		build(t, w, m);
	if (t->failed)
		return;
	if (r < 2)
		reset(w, pick(w, 4) == 0);
	else if (r < 8) {
		space_generation_begin(w->space);
		model_begin(w);
	} else if (r < 13) {
		space_generation_end(w->space);
		model_end(w);
	} else if (r < 20)
		tell_holes(t, w, m);
	else if (r < 30)
		take_below(t, w, m, pick(w, 2) ? 4 : 1,
		           pick(w, 2) ? SPACE_LOGGED : SPACE_PLACED);
	else if (r < 300)
		note(t, w, m);
	else if (r < (growing ? 750 : 620)) {
		for (uint64_t n = pick(w, 20) ? 1 : 200; n && !t->failed; n--)
			take(t, w, m, pick(w, 2) ? 4 : 1,
			     pick(w, 4) ? SPACE_LOGGED : SPACE_PLACED);
	} else {
		for (uint64_t n = pick(w, 20) ? 1 : 200; n && !t->failed; n--)
			give(t, w, m);
	}
}

/* (vfs/release G1) */
static void any_history_agrees_with_a_plain_array(struct test *t)
{
	struct world *w = malloc(sizeof *w);
	uint64_t steps = test_scaled(20000, 2000);

	if (!world_open(t, w))
		return;
	for (uint64_t i = 0; i < steps && !t->failed; i++) {
		step(t, w, i);
		if (!t->failed && (i % 500 == 0 || i == steps - 1))
			check(t, w);
	}
	if (!t->failed)
		world_close(t, w);
	free(w);
}

/* --- death ---------------------------------------------------------------- */

/* What was to be done when the process died may be done, half done or not at all.
 * The model takes what cannot be known from the space: a note not acknowledged may
 * stand; a generation may have moved. */
static void adopt_notes(struct test *t, struct world *w, struct model_file *m,
                        bool ending)
{
	for (uint32_t k = 0; k < UNITS_MAX; k++) {
		bool placed = space_is_held(w->space, m->file_id, k,
		                            SPACE_LOGGED);
		bool any = space_is_held(w->space, m->file_id, k, SPACE_PLACED);

		if (!ending && held(m, k, SPACE_LOGGED))
			EXPECT(t, placed);
		if (!ending && held(m, k, SPACE_PLACED))
			EXPECT(t, any);
		m->placed[0][k] = m->logged[0][k] = false;
		m->placed[1][k] = placed;
		m->logged[1][k] = any && !placed;
	}
}

/* Dies at a random access to shared memory, in the middle of anything; then the
 * next writer starts over, and no note is lost. */
static void a_death_anywhere_loses_no_note(struct test *t)
{
	struct world *w = malloc(sizeof *w);

	if (!world_open(t, w))
		return;
	for (uint64_t life = test_scaled(200, 40); life && !t->failed; life--) {
		struct mapping *m = &w->maps[0];
		volatile bool ending = false;
		volatile uint64_t number = 0;

		m->dies_in = 1 + (uint32_t)pick(w, pick(w, 4) ? 300 : 6000);
		if (setjmp(m->death) == 0) {
			w->space = &m->space;
			for (;; number++) {
				struct model_file *f =
					&w->files[pick(w, FILES)];
				uint64_t r = pick(w, 100);

				ending = false;
				if (r < 3 && f->built) {
					f->built = false;
					memset(f->placed, 0, 2 * UNITS_MAX);
					memset(f->logged, 0, 2 * UNITS_MAX);
					space_file_forget(w->space,
					                  f->file_id);
				} else if (!f->built)
					build(t, w, f);
				else if (r < 50)
					take(t, w, f, r & 1 ? 4 : 1, r & 2 ?
					     SPACE_LOGGED : SPACE_PLACED);
				else if (r < 60)
					give(t, w, f);
				else if (r < 95)
					note(t, w, f);
				else if (r < 98)
					space_generation_begin(w->space);
				else if (r < 99) {
					ending = true;
					space_generation_end(w->space);
					model_end(w);
				} else
					reset(w, false);
				if (r >= 95 && r < 98)
					model_begin(w);
				if (t->failed)
					break;
			}
		}
		m->dies_in = 0;
		if (t->failed)
			break;
		w->space = &w->maps[1].space;
		/* the death may strike the one who cleans up, too */
		if (pick(w, 3) == 0) {
			w->maps[1].dies_in = 1 + (uint32_t)pick(w, 500);
			if (setjmp(w->maps[1].death) == 0)
				space_reset(w->space, false);
			w->maps[1].dies_in = 0;
		}
		reset(w, false);
		for (int i = 0; i < FILES && !t->failed; i++)
			adopt_notes(t, w, &w->files[i], ending);
		/* what was half taken or half given is decided by the tables:
		 * the model's list of places */
		for (int i = 0; i < FILES; i++) {
			struct model_file *f = &w->files[i];

			memset(f->used, 0, sizeof f->used);
			for (uint32_t k = 0; k < f->count; k++)
				memset(f->used + f->places[k], true,
				       f->units[k]);
		}
		build_all(t, w);
		if (!t->failed)
			check(t, w);
	}
	if (!t->failed)
		world_close(t, w);
	free(w);
}

enum { PROMISES_MAX = 5000 };

/* What a child process says it has done, where its death does not matter. */
struct promise {
	uint32_t file, place, units;
};

struct promises {
	_Atomic uint32_t count;
	struct promise made[PROMISES_MAX];
};

/* Takes, notes, gives back and promises until it is killed. */
static void live(struct test *t, struct world *w, struct promises *promises)
{
	for (;;) {
		uint32_t n = (uint32_t)pick(w, FILES), made = promises->count;
		struct model_file *m = &w->files[n];
		uint32_t units = pick(w, 2) ? 4 : 1, place;

		if (!m->built)
			build(t, w, m);
		if (pick(w, 200) == 0)
			space_generation_begin(w->space);
		if (t->failed ||
		    space_take(w->space, m->file, units, SPACE_PLACED, &place,
		               &t->err))
			_exit(1);
		if (made < PROMISES_MAX) {
			if (space_note(w->space, m->file_id, place, units,
			               SPACE_PLACED, &t->err))
				_exit(1);
			promises->made[made] = (struct promise){ n, place,
				                                 units };
			atomic_store(&promises->count, made + 1);
		}
		if (space_give(w->space, m->file_id, place, units, &t->err))
			_exit(1);
	}
}

/* The same with real deaths, at any instruction. */
static void a_killed_process_loses_no_note(struct test *t)
{
	struct world *w = malloc(sizeof *w);
	struct promises *promises =
		mmap(NULL, sizeof *promises, PROT_READ | PROT_WRITE,
	             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;

	if (promises == MAP_FAILED || !world_open(t, w))
		return;
	for (uint64_t life = test_scaled(60, 10); life && !t->failed; life--) {
		pid_t child = fork();

		if (child == 0)
			live(t, w, promises);
		usleep((useconds_t)pick(w, 2000));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		EXPECT(t, WIFSIGNALED(status));
		reset(w, false);
		for (uint32_t i = 0; i < promises->count; i++) {
			struct promise *p = &promises->made[i];

			EXPECT(t, space_is_held(w->space,
			                        w->files[p->file].file_id,
			                        p->place + p->units - 1,
			                        SPACE_LOGGED));
		}
		build_all(t, w);
		reset(w, life % 4 == 0);
		if (life % 4 == 0)
			promises->count = 0;
	}
	munmap(promises, sizeof *promises);
	if (!t->failed)
		world_close(t, w);
	free(w);
}

/* --- small facts ---------------------------------------------------------- */

struct small {
	struct page_fixture f;
	struct mapping map;
	struct space *space;
};

static bool small_open(struct test *t, struct small *s, uint64_t capacity)
{
	int fd = memfd_create("shm", MFD_CLOEXEC);

	memset(s, 0, sizeof *s);
	if (ftruncate(fd, SHARED_SIZE + CHUNKS_MAX * SHM_CHUNK_SIZE) ||
	    !mapping_open(t, &s->map, fd) ||
	    !page_fixture_open(t, &s->f, 16384))
		return false;
	close(fd);
	s->space = &s->map.space;
	if (page_file_reserve(s->f.file, capacity, &capacity, &t->err) ||
	    space_file_build(s->space, 7, 1, capacity, &t->err)) {
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
		return false;
	}
	space_file_built_set(s->space, 7);
	return true;
}

static void small_close(struct test *t, struct small *s)
{
	mapping_close(&s->map);
	page_fixture_close(t, &s->f);
}

static uint32_t taken(struct test *t, struct small *s, uint32_t units,
                      enum space_use use)
{
	uint32_t place = 0;

	if (space_take(s->space, s->f.file, units, use, &place, &t->err))
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
	return place;
}

static void the_place_freed_last_is_taken_first(struct test *t)
{
	struct small s;
	uint32_t a, b, c;

	if (!small_open(t, &s, 1000))
		return;
	a = taken(t, &s, 4, SPACE_LOGGED);
	b = taken(t, &s, 4, SPACE_LOGGED);
	c = taken(t, &s, 4, SPACE_LOGGED);
	EXPECT_OK(t, space_give(s.space, 7, b, 4, &t->err));
	EXPECT_OK(t, space_give(s.space, 7, a, 4, &t->err));
	EXPECT_OK(t, space_give(s.space, 7, c, 4, &t->err));
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), c);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), a);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), b);
	small_close(t, &s);
}

static void a_hole_is_told_once_until_it_was_used(struct test *t)
{
	struct space_holes holes = SPACE_HOLES(0, UINT64_MAX);
	struct space_run run;
	uint32_t places[40];
	struct small s;

	if (!small_open(t, &s, 1024))
		return;
	for (int i = 0; i < 40; i++)
		places[i] = taken(t, &s, 4, SPACE_PLACED);
	EXPECT(t, space_hole_next(s.space, 7, &holes, &run));
	EXPECT_EQ(t, run.place, places[39] + 4);
	EXPECT_EQ(t, run.place + run.units, 1024);
	EXPECT(t, !space_hole_next(s.space, 7, &holes, &run));

	holes = SPACE_HOLES(0, UINT64_MAX);
	EXPECT(t, !space_hole_next(s.space, 7, &holes, &run));
	EXPECT_OK(t, space_give(s.space, 7, places[20], 4, &t->err));
	EXPECT_OK(t, space_give(s.space, 7, places[21], 4, &t->err));
	EXPECT(t, space_hole_next(s.space, 7, &holes, &run) == false);
	holes = SPACE_HOLES(0, UINT64_MAX);
	EXPECT(t, space_hole_next(s.space, 7, &holes, &run));
	EXPECT_EQ(t, run.place, places[20]);
	EXPECT_EQ(t, run.units, 8);
	small_close(t, &s);
}

static void single_units_share_groups_and_lie_in_a_row(struct test *t)
{
	struct small s;
	uint32_t first;

	if (!small_open(t, &s, 1000))
		return;
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_LOGGED), 1);
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_LOGGED), 2);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), 4);
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_LOGGED), 3);
	first = taken(t, &s, 1, SPACE_LOGGED);
	EXPECT_EQ(t, first % 4, 0);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED) % 4, 0);
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_LOGGED), first + 1);
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_PLACED), first + 2);
	EXPECT_EQ(t, taken(t, &s, 1, SPACE_PLACED), first + 3);
	small_close(t, &s);
}

static void a_bulk_load_gets_places_in_rising_order(struct test *t)
{
	struct small s;
	uint32_t last = 0, place;

	if (!small_open(t, &s, 16))
		return;
	for (int i = 0; i < 5000; i++) {
		place = taken(t, &s, 4, SPACE_PLACED);
		EXPECT_EQ(t, place, last + 4);
		last = place;
	}
	small_close(t, &s);
}

/* (rule 2) */
static void what_the_log_says_placed_is_taken_by_nobody(struct test *t)
{
	struct small s;
	uint32_t a, b;

	if (!small_open(t, &s, 1000))
		return;
	a = taken(t, &s, 4, SPACE_PLACED);
	b = taken(t, &s, 4, SPACE_LOGGED);
	EXPECT_OK(t, space_note(s.space, 7, a, 4, SPACE_PLACED, &t->err));
	EXPECT_OK(t, space_note(s.space, 7, b, 4, SPACE_LOGGED, &t->err));
	EXPECT_OK(t, space_give(s.space, 7, a, 4, &t->err));
	EXPECT_OK(t, space_give(s.space, 7, b, 4, &t->err));
	for (int i = 0; i < 400; i++)
		EXPECT(t, taken(t, &s, 4, SPACE_PLACED) / 8 != a / 8);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), b);
	space_generation_begin(s.space);
	EXPECT(t, taken(t, &s, 4, SPACE_LOGGED) != a);
	space_generation_end(s.space);
	EXPECT_EQ(t, taken(t, &s, 4, SPACE_LOGGED), a);
	small_close(t, &s);
}

/* Two candidates in a row, the first of which failed: what was noted before either
 * is forgotten only when the second is durable. */
static void a_failed_candidate_forgets_nothing(struct test *t)
{
	struct small s;
	uint32_t a, b, c;

	if (!small_open(t, &s, 1000))
		return;
	a = taken(t, &s, 4, SPACE_PLACED);
	b = taken(t, &s, 4, SPACE_PLACED);
	c = taken(t, &s, 4, SPACE_PLACED);
	EXPECT_OK(t, space_note(s.space, 7, a, 4, SPACE_PLACED, &t->err));
	space_generation_begin(s.space);
	EXPECT_OK(t, space_note(s.space, 7, b, 4, SPACE_PLACED, &t->err));
	space_generation_begin(s.space);
	EXPECT_OK(t, space_note(s.space, 7, c, 4, SPACE_PLACED, &t->err));
	EXPECT(t, space_is_held(s.space, 7, a, SPACE_LOGGED));
	EXPECT(t, space_is_held(s.space, 7, b, SPACE_LOGGED));
	space_generation_end(s.space);
	EXPECT(t, !space_is_held(s.space, 7, a, SPACE_LOGGED));
	EXPECT(t, !space_is_held(s.space, 7, b, SPACE_LOGGED));
	EXPECT(t, space_is_held(s.space, 7, c, SPACE_LOGGED));
	small_close(t, &s);
}

struct watcher {
	struct world *w;
	_Atomic bool done;
	bool failed;
};

/* As turdb_status does, without any lock. */
static void *watch(void *context)
{
	struct watcher *watcher = context;
	struct space *space = &watcher->w->maps[1].space;
	struct space_figures figures;

	while (!atomic_load(&watcher->done))
		for (int i = 0; i < FILES; i++) {
			uint32_t id = watcher->w->files[i].file_id;

			if (space_file_figures(space, id, &figures) == 0 &&
			    figures.capacity > UNITS_MAX)
				watcher->failed = true;
			space_is_free(space, id, 100);
		}
	return NULL;
}

static void figures_may_be_read_while_a_writer_works(struct test *t)
{
	struct watcher watcher = { .w = malloc(sizeof *watcher.w) };
	struct world *w = watcher.w;
	pthread_t thread;

	if (!world_open(t, w))
		return;
	pthread_create(&thread, NULL, watch, &watcher);
	for (uint64_t i = 0; i < test_scaled(4000, 400) && !t->failed; i++) {
		struct model_file *m = &w->files[pick(w, FILES)];

		if (!m->built)
			build(t, w, m);
		else if (pick(w, 100) == 0) {
			space_file_forget(w->space, m->file_id);
			m->built = false;
			memset(m->placed, 0, 2 * UNITS_MAX);
			memset(m->logged, 0, 2 * UNITS_MAX);
		} else if (pick(w, 100) == 0)
			reset(w, true);
		else if (pick(w, 2))
			take(t, w, m, 4, SPACE_LOGGED);
		else if (pick(w, 2))
			note(t, w, m);
		else
			give(t, w, m);
	}
	atomic_store(&watcher.done, true);
	pthread_join(thread, NULL);
	EXPECT(t, !watcher.failed);
	if (!t->failed)
		world_close(t, w);
	free(w);
}

static void impossible_places_are_refused(struct test *t)
{
	struct small s;
	uint32_t place;

	if (!small_open(t, &s, 1000))
		return;
	EXPECT_ERR(t, space_give(s.space, 7, 100, 4, &t->err), ERR_CORRUPT,
	           "give back a place of file 7: place 100 (4 units) is free "
	           "already");
	EXPECT_ERR(t, space_give(s.space, 7, 1008, 4, &t->err), ERR_CORRUPT,
	           "beyond the file's end");
	EXPECT_ERR(t, space_give(s.space, 7, 0xfffffffc, 4, &t->err),
	           ERR_CORRUPT, "beyond the file's end");
	EXPECT_ERR(t, space_give(s.space, 7, 0, 1, &t->err), ERR_CORRUPT,
	           "place 0 (1 units) lies before the first of its pages");
	EXPECT_ERR(t, space_give(s.space, 7, 101, 4, &t->err), ERR_CORRUPT,
	           "not aligned");
	EXPECT_ERR(t, space_give(s.space, 7, 101, 3, &t->err), ERR_CORRUPT,
	           "not aligned");
	EXPECT_ERR(t, space_note(s.space, 7, 101, 4, SPACE_LOGGED, &t->err),
	           ERR_CORRUPT, "not aligned");
	EXPECT_ERR(t, space_file_build(s.space, 9, 5, 4, &t->err), ERR_CORRUPT,
	           "list the free places of file 9");
	EXPECT_OK(t, space_give(s.space, 8, 100, 4, &t->err)); /* not built */
	space_reset(s.space, true);
	EXPECT_ERR(t, space_take(s.space, s.f.file, 4, SPACE_LOGGED, &place,
	                         &t->err),
	           ERR_INVALID, "take a place in 7-users.tbd");
	small_close(t, &s);
}

/* Ids are never reused, so they grow for ever; what is forgotten comes back. */
static void files_come_and_go_without_end(struct test *t)
{
	struct small s;
	uint32_t chunks = 0;

	if (!small_open(t, &s, 16))
		return;
	for (uint32_t id = 100; id < 20000; id++) {
		EXPECT_OK(t, space_file_build(s.space, id * 7, 1, 13000,
		                              &t->err));
		EXPECT_OK(t, space_mark_used(s.space, id * 7, 1 + id % 12999, 1,
		                             &t->err));
		space_file_built_set(s.space, id * 7);
		EXPECT_OK(t, space_note(s.space, id * 7, id % 13000, 1,
		                        SPACE_PLACED, &t->err));
		if (id % 5 == 0)
			space_generation_begin(s.space);
		if (id % 50 == 0)
			space_generation_end(s.space);
		if (id >= 150)
			space_file_forget(s.space, (id - 50) * 7);
		if (id == 200)
			chunks = s.map.shared->chunk_count;
	}
	EXPECT_EQ(t, s.map.shared->chunk_count, chunks);
	EXPECT(t, space_file_built(s.space, 19999 * 7));
	EXPECT(t, !space_file_built(s.space, 19900 * 7));
	EXPECT(t, space_file_built(s.space, 7));
	small_close(t, &s);
}

/* So many that the hash grows; all are found, and again after starting over. */
static void many_files_are_all_found(struct test *t)
{
	enum { COUNT = 1900 };
	struct small s;
	uint32_t chunks = 0;

	if (!small_open(t, &s, 16))
		return;
	for (int round = 0; round < 3; round++) {
		for (uint32_t id = 10; id < 10 + COUNT; id++) {
			EXPECT_OK(t, space_file_build(s.space, id, 1, 2000,
			                              &t->err));
			EXPECT_OK(t, space_mark_used(s.space, id, id % 2000, 1,
			                             &t->err));
			space_file_built_set(s.space, id);
			if (id % 2)
				EXPECT_OK(t, space_note(s.space, id, id % 2000,
				                        1, SPACE_LOGGED,
				                        &t->err));
		}
		for (uint32_t id = 10; id < 10 + COUNT; id++) {
			EXPECT(t, !space_is_free(s.space, id, id % 2000));
			EXPECT(t, space_is_free(s.space, id,
			                        (id % 2000) ^ 1) || id % 2000 < 2);
		}
		if (round == 0)
			chunks = s.map.shared->chunk_count;
		EXPECT_EQ(t, s.map.shared->chunk_count, chunks);
		space_reset(s.space, round == 2);
		for (uint32_t id = 10; id < 10 + COUNT; id++) {
			EXPECT(t, !space_file_built(s.space, id));
			EXPECT_EQ(t, space_is_held(s.space, id, id % 2000,
			                           SPACE_PLACED),
			          round < 2 && id % 2);
		}
	}
	small_close(t, &s);
}

static void notes_may_come_before_a_file_is_built(struct test *t)
{
	struct small s;

	if (!small_open(t, &s, 1000))
		return;
	EXPECT_OK(t, space_note(s.space, 99, 4000000000, 4, SPACE_PLACED,
	                        &t->err));
	EXPECT_OK(t, space_note(s.space, 99, 16, 4, SPACE_PLACED, &t->err));
	EXPECT(t, !space_file_built(s.space, 99));
	EXPECT_OK(t, space_file_build(s.space, 99, 1, 1000, &t->err));
	EXPECT(t, space_is_held(s.space, 99, 17, SPACE_LOGGED));
	EXPECT(t, space_is_held(s.space, 99, 4000000003, SPACE_LOGGED));
	EXPECT(t, !space_is_free(s.space, 99, 4000000003));
	space_file_forget(s.space, 99);
	EXPECT(t, !space_is_held(s.space, 99, 17, SPACE_LOGGED));
	small_close(t, &s);
}

/* No chunk to be had: an error, nothing half done, and later it works. */
static void shared_memory_that_is_full_is_an_error(struct test *t)
{
	struct small s;
	uint32_t place, full = 0;

	if (!small_open(t, &s, 16))
		return;
	for (uint32_t i = 1; i < 40; i++) {
		s.map.shared->grow_fails_in = 1;
		if (space_file_build(s.space, 100 + i, 1, 7000 * i, &t->err)) {
			full++;
			EXPECT(t, strstr(t->err.text, "turdb.shm"));
			s.map.shared->grow_fails_in = 0;
			EXPECT_OK(t, space_file_build(s.space, 100 + i, 1,
			                              7000 * i, &t->err));
		}
		space_file_forget(s.space, 100 + i);
	}
	EXPECT(t, full >= 5);
	s.map.shared->grow_fails_in = 0;
	for (int i = 0; i < 20000; i++)
		EXPECT_OK(t, space_take(s.space, s.f.file, 4, SPACE_LOGGED,
		                        &place, &t->err));
	small_close(t, &s);
}

static const struct test_case cases[] = {
	CASE(any_history_agrees_with_a_plain_array),
	CASE(a_death_anywhere_loses_no_note),
	CASE(a_killed_process_loses_no_note),
	CASE(figures_may_be_read_while_a_writer_works),
	CASE(the_place_freed_last_is_taken_first),
	CASE(a_hole_is_told_once_until_it_was_used),
	CASE(single_units_share_groups_and_lie_in_a_row),
	CASE(a_bulk_load_gets_places_in_rising_order),
	CASE(what_the_log_says_placed_is_taken_by_nobody),
	CASE(a_failed_candidate_forgets_nothing),
	CASE(impossible_places_are_refused),
	CASE(files_come_and_go_without_end),
	CASE(many_files_are_all_found),
	CASE(notes_may_come_before_a_file_is_built),
	CASE(shared_memory_that_is_full_is_an_error),
};

TEST_MAIN(cases)
