/*
 * store_test.c - transactions, snapshots, savepoints and reopening, against a model.
 */
#include "test/harness.h"

#include "test/support/store_model.h"
#include "vfs/store.h"

struct fixture {
	struct os *os;
	struct heap heap;
	struct store_environment *environment;
	struct store_options options;
	char path[300];
	struct store *store;
};

static int fixture_open(struct test *t, struct fixture *f)
{
	return store_open(f->environment, f->path, &f->options, &f->store,
	                  &t->err);
}

static int fixture_start(struct test *t, struct fixture *f)
{
	char directory[256];
	int rc;

	memset(f, 0, sizeof *f);
	heap_init(&f->heap);
	test_directory(t, directory);
	snprintf(f->path, sizeof f->path, "%s/app", directory);
	rc = os_posix_open(&f->heap, &f->os, &t->err);
	if (!rc)
		rc = store_environment_open(f->os, &f->heap, &f->environment,
		                            &t->err);
	f->options = (struct store_options){ .create = true,
	                                     .log_segment_size = 262144 };
	return rc ? rc : fixture_open(t, f);
}

static void fixture_end(struct fixture *f)
{
	store_environment_close(f->environment);
	os_posix_close(f->os);
}

static void fill(uint8_t *page, uint32_t size, uint64_t seed)
{
	for (uint32_t i = 0; i + 8 <= size; i += 8) {
		uint64_t word = test_random(&seed);

		memcpy(page + i, &word, 8);
	}
}

static bool filled(const uint8_t *page, uint32_t size, uint64_t seed)
{
	for (uint32_t i = 0; i + 8 <= size; i += 8) {
		uint64_t word = test_random(&seed), have;

		memcpy(&have, page + i, 8);
		if (have != word)
			return false;
	}
	return true;
}

static void a_commit_is_there_after_reopening(struct test *t)
{
	struct fixture f;
	struct store_view *view;
	struct pager *pager;
	uint32_t file_id, page_no;
	uint8_t *page;
	const uint8_t *read;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &view, &t->err));
	EXPECT_OK(t, store_view_begin(view, &t->err));
	EXPECT_OK(t, store_view_write(view, 0, &t->err));
	EXPECT_OK(t, store_file_create(view, STORE_FILE_TABLE, "us/ers", 16384,
	                               &file_id, &t->err));
	EXPECT_OK(t, store_pager(view, file_id, &pager, &t->err));
	EXPECT_OK(t, pager_allocate(pager, PAGE_LEAF, &page_no, &page, &t->err));
	fill(page, pager->usable_size, 7);
	EXPECT_OK(t, store_view_commit(view, STORE_DURABLE_NOW, &t->err));
	EXPECT_OK(t, pager_read(pager, page_no, &read, &t->err));
	EXPECT(t, filled(read, pager->usable_size, 7));
	EXPECT_OK(t, store_check(view, 1, NULL, NULL, &t->err));
	store_view_close(view);
	EXPECT_OK(t, store_close(f.store, &t->err));

	EXPECT_OK(t, fixture_open(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &view, &t->err));
	EXPECT_OK(t, store_view_begin(view, &t->err));
	EXPECT_OK(t, store_pager(view, file_id, &pager, &t->err));
	EXPECT_STR(t, pager->name, "root/3-us_ers.tbd");
	EXPECT_OK(t, pager_read(pager, page_no, &read, &t->err));
	EXPECT(t, filled(read, pager->usable_size, 7));
	EXPECT_OK(t, store_check(view, 1, NULL, NULL, &t->err));
	store_view_close(view);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
	EXPECT_EQ(t, f.heap.used, 0);
}

static void the_flat_bytes_behave_like_a_file(struct test *t)
{
	struct fixture f;
	struct store_view *view;
	uint8_t model[200000] = { 0 }, bytes[50000], back[200000];
	uint64_t size = 0, stored, seed = t->seed;
	size_t got;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &view, &t->err));
	for (int step = 0; step < 300; step++) {
		uint64_t offset = test_random(&seed) % 150000;
		size_t length = test_random(&seed) % sizeof bytes;

		EXPECT_OK(t, store_view_begin(view, &t->err));
		EXPECT_OK(t, store_view_write(view, 0, &t->err));
		if (step % 7 == 6) {
			EXPECT_OK(t, store_sqlite_truncate(view, offset,
			                                   &t->err));
			if (offset < size)
				memset(model + offset, 0, sizeof model - offset);
			size = offset;
		} else {
			fill(bytes, sizeof bytes, (uint64_t)step);
			if (step % 5 == 4) /* whole pages of zeros are absent */
				memset(bytes, 0, sizeof bytes);
			EXPECT_OK(t, store_sqlite_write(view, offset, bytes,
			                                length, &t->err));
			memcpy(model + offset, bytes, length);
			if (offset + length > size)
				size = offset + length;
		}
		if (step % 3)
			EXPECT_OK(t, store_view_commit(
				view, STORE_DURABLE_LATER, &t->err));
		EXPECT_OK(t, store_sqlite_size(view, &stored, &t->err));
		EXPECT_EQ(t, stored, size);
		EXPECT_OK(t, store_sqlite_read(view, 0, back, sizeof back, &got,
		                               &t->err));
		EXPECT_EQ(t, got, size);
		EXPECT(t, memcmp(back, model, (size_t)size) == 0);
		if (step % 3 == 0)
			EXPECT_OK(t, store_view_commit(
				view, STORE_DURABLE_NEVER, &t->err));
		if (step % 50 == 49)
			EXPECT_OK(t, store_check(view, 1, NULL, NULL, &t->err));
		store_view_end(view);
	}
	store_view_close(view);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
}

/* A damaged length counted pages by the billion, and cutting the file took memory for
 * each: now it takes it for those that there are. */
static void a_long_file_full_of_holes_is_cut_by_its_pages(struct test *t)
{
	const uint64_t far = UINT64_C(1) << 40;
	struct fixture f;
	struct store_view *view;
	uint8_t back[20];
	size_t got, before;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &view, &t->err));
	EXPECT_OK(t, store_view_write(view, 0, &t->err));
	EXPECT_OK(t, store_sqlite_write(view, 90, "twenty bytes in sight", 20,
	                                &t->err));
	EXPECT_OK(t, store_sqlite_write(view, far, "far", 3, &t->err));
	EXPECT_OK(t, store_view_commit(view, STORE_DURABLE_NOW, &t->err));
	store_view_end(view);
	before = atomic_load(&f.heap.used);

	EXPECT_OK(t, store_view_write(view, 0, &t->err));
	EXPECT_OK(t, store_sqlite_write(view, far / 2, "half", 4, &t->err));
	EXPECT_OK(t, store_sqlite_truncate(view, 100, &t->err));
	EXPECT(t, atomic_load(&f.heap.peak) < before + (1 << 20));
	EXPECT_OK(t, store_sqlite_write(view, far, "again", 5, &t->err));
	EXPECT_OK(t, store_view_commit(view, STORE_DURABLE_NOW, &t->err));
	EXPECT_OK(t, store_sqlite_read(view, far / 2, back, 20, &got, &t->err));
	EXPECT(t, got == 20 && memcmp(back, "\0\0\0\0", 4) == 0);
	EXPECT_OK(t, store_sqlite_read(view, far, back, 20, &got, &t->err));
	EXPECT(t, got == 5 && memcmp(back, "again", 5) == 0);
	EXPECT_OK(t, store_sqlite_read(view, 90, back, 20, &got, &t->err));
	EXPECT(t, memcmp(back, "twenty byt\0\0\0", 13) == 0);
	EXPECT_OK(t, store_check(view, 1, NULL, NULL, &t->err));
	store_view_close(view);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
}

/* --- a random history against a model ---------------------------------------------- */

enum { FILES = 4, PAGES = 40, MARKS = 6, READERS = 4 };

struct state {
	uint32_t ids[FILES];           /* 0 = no such file       */
	uint64_t pages[FILES][PAGES];  /* seed; 0 = free         */
	uint8_t used[FILES];
};

struct history {
	struct test *t;
	struct fixture f;
	uint64_t seed;
	struct state committed, now, marks[MARKS];
	int mark_count;
	struct store_view *writer, *readers[READERS];
	struct state seen[READERS];
	bool starves; /* an operation may find no memory */
	uint64_t starved;
};

static uint64_t pick(struct history *h, uint64_t below)
{
	return test_random(&h->seed) % below;
}

static void starve(struct history *h)
{
	if (h->starves && pick(h, 3) == 0)
		atomic_store(&h->f.heap.fail_in, (int64_t)pick(h, 4) + 1);
}

/* Whether what was asked for has happened; or it found no memory, and nothing has. */
static bool happened(struct history *h, int rc)
{
	atomic_store(&h->f.heap.fail_in, 0);
	if (rc == ERR_NOMEM && h->starves) {
		h->starved++;
		return false;
	}
	if (rc)
		test_fail(h->t, __FILE__, __LINE__, "%s", h->t->err.text);
	return !rc;
}

/* Page k of a file has number k + 1 in the model: pages are taken in order. */
static void compare(struct history *h, struct store_view *view,
                    const struct state *state)
{
	struct test *t = h->t;

	for (int i = 0; i < FILES; i++) {
		struct pager *pager;

		if (!state->ids[i])
			continue;
		EXPECT_OK(t, store_pager(view, state->ids[i], &pager, &t->err));
		for (int p = 0; p < PAGES; p++) {
			const uint8_t *page;

			if (!state->pages[i][p])
				continue;
			EXPECT_OK(t, pager_read(pager, (uint32_t)p + 1, &page,
			                        &t->err));
			EXPECT(t, filled(page, pager->usable_size,
			                 state->pages[i][p]));
		}
	}
}

static void change_file(struct history *h, int i)
{
	struct test *t = h->t;
	struct state *now = &h->now;
	uint32_t id;

	starve(h);
	if (!now->ids[i]) {
		if (!happened(h, store_file_create(h->writer, STORE_FILE_TABLE,
		                                   "model", i % 2 ? 4096 : 16384,
		                                   &id, &t->err)))
			return;
		now->ids[i] = id;
		memset(now->pages[i], 0, sizeof now->pages[i]);
	} else if (happened(h, store_file_drop(h->writer, now->ids[i],
	                                       &t->err))) {
		now->ids[i] = 0;
	}
}

static void change_page(struct history *h, int i)
{
	struct test *t = h->t;
	struct pager *pager;
	uint32_t page_no = (uint32_t)pick(h, PAGES) + 1;
	uint64_t seed = pick(h, UINT64_MAX) | 1;
	uint8_t *page;

	EXPECT_OK(t, store_pager(h->writer, h->now.ids[i], &pager, &t->err));
	starve(h);
	if (!h->now.pages[i][page_no - 1]) {
		if (!happened(h, pager_allocate(pager, PAGE_LEAF, &page_no,
		                                &page, &t->err)))
			return;
		if (page_no > PAGES) {
			EXPECT_OK(t, pager_free(pager, page_no, &t->err));
			return;
		}
		EXPECT_EQ(t, h->now.pages[i][page_no - 1], 0);
	} else if (pick(h, 4) == 0) {
		if (happened(h, pager_free(pager, page_no, &t->err)))
			h->now.pages[i][page_no - 1] = 0;
		return;
	} else if (!happened(h, pager_edit(pager, page_no, &page, &t->err))) {
		return;
	}
	fill(page, pager->usable_size, seed);
	h->now.pages[i][page_no - 1] = seed;
	starve(h);
	happened(h, store_view_operation_end(h->writer, &t->err));
}

static void savepoint_open(struct history *h, int n)
{
	starve(h);
	if (!happened(h, store_view_savepoint(h->writer, n, &h->t->err)))
		return;
	for (; h->mark_count <= n; h->mark_count++)
		h->marks[h->mark_count] = h->now;
}

static void savepoints(struct history *h)
{
	int n = (int)pick(h, MARKS);

	switch (pick(h, 3)) {
	case 0:
		savepoint_open(h, n);
		break;
	case 1:
		store_view_release(h->writer, n);
		if (h->mark_count > n)
			h->mark_count = n;
		break;
	default:
		if (n >= h->mark_count)
			break;
		store_view_rollback_to(h->writer, n);
		h->now = h->marks[n];
		h->mark_count = n + 1;
	}
}

/* A commit that finds no memory can be made again; unless it finds none behind its
 * record, to list the segments that nobody synced: then it is there. */
static void commit(struct history *h)
{
	enum store_durability durability = (enum store_durability)pick(h, 3);
	int rc;

	starve(h);
	rc = store_view_commit(h->writer, durability, &h->t->err);
	if (h->starves && rc == ERR_OUTCOME)
		rc = ERR_NONE;
	if (!happened(h, rc) && !h->t->failed)
		happened(h, store_view_commit(h->writer, durability,
		                              &h->t->err));
	h->committed = h->now;
}

static void transaction(struct history *h)
{
	struct test *t = h->t;
	int steps = (int)pick(h, 30) + 1;

	EXPECT_OK(t, store_view_begin(h->writer, &t->err));
	EXPECT_OK(t, store_view_write(h->writer, 0, &t->err));
	h->now = h->committed;
	h->mark_count = 0;
	while (steps-- && !t->failed) {
		int i = (int)pick(h, FILES);

		if (!h->now.ids[i] || pick(h, 40) == 0)
			change_file(h, i);
		else
			change_page(h, i);
		if (pick(h, 5) == 0)
			savepoints(h);
		if (pick(h, 10) == 0)
			compare(h, h->writer, &h->now);
	}
	if (t->failed)
		return;
	if (pick(h, 5)) {
		commit(h);
	} else {
		store_view_rollback(h->writer);
	}
	compare(h, h->writer, &h->committed);
	if (pick(h, 3))
		store_view_end(h->writer);
}

static void readers(struct history *h)
{
	size_t i = pick(h, READERS);
	struct test *t = h->t;

	if (store_view_reading(h->readers[i])) {
		compare(h, h->readers[i], &h->seen[i]);
		if (pick(h, 2))
			store_view_end(h->readers[i]);
		return;
	}
	EXPECT_OK(t, store_view_begin(h->readers[i], &t->err));
	h->seen[i] = h->committed;
	compare(h, h->readers[i], &h->seen[i]);
}

static void views_open(struct history *h)
{
	struct test *t = h->t;

	EXPECT_OK(t, store_view_open(h->f.store, &h->writer, &t->err));
	for (int i = 0; i < READERS; i++)
		EXPECT_OK(t, store_view_open(h->f.store, &h->readers[i],
		                             &t->err));
}

static void reopen(struct history *h)
{
	struct test *t = h->t;

	store_view_close(h->writer);
	for (int i = 0; i < READERS; i++)
		store_view_close(h->readers[i]);
	EXPECT_OK(t, store_close(h->f.store, &t->err));
	EXPECT_OK(t, fixture_open(t, &h->f));
	views_open(h);
}

static void check(struct history *h)
{
	struct test *t = h->t;

	EXPECT_OK(t, store_view_begin(h->readers[0], &t->err));
	EXPECT_OK(t, store_check(h->readers[0], 1, NULL, NULL, &t->err));
	store_view_end(h->readers[0]);
	store_view_end(h->writer);
	EXPECT_OK(t, model_check_free(h->writer, &t->err));
}

static void run_history(struct test *t, uint32_t cache_kb, bool starves,
                        uint64_t steps)
{
	struct history *h = calloc(1, sizeof *h);
	bool done;

	h->t = t;
	h->seed = t->seed + cache_kb + starves;
	h->starves = starves;
	EXPECT_OK(t, fixture_start(t, &h->f));
	store_configure(h->f.store, cache_kb, 1);
	views_open(h);
	for (uint64_t step = 0; step < steps && !t->failed; step++) {
		transaction(h);
		for (int i = 0; i < 3 && !t->failed; i++)
			readers(h);
		if (!t->failed && pick(h, 20) == 0)
			EXPECT_OK(t, store_checkpoint(h->f.store, &done,
			                              &t->err));
		if (!t->failed && pick(h, 25) == 0)
			check(h);
		if (!t->failed && pick(h, 60) == 0) {
			reopen(h);
			store_configure(h->f.store, cache_kb, 1);
		}
	}
	if (t->failed)
		return;
	check(h);
	reopen(h);
	EXPECT_OK(t, store_view_begin(h->writer, &t->err));
	compare(h, h->writer, &h->committed);
	store_view_close(h->writer);
	for (int i = 0; i < READERS; i++)
		store_view_close(h->readers[i]);
	EXPECT_OK(t, store_close(h->f.store, &t->err));
	fixture_end(&h->f);
	EXPECT_EQ(t, h->f.heap.used, 0);
	EXPECT(t, !starves || h->starved > steps / 10);
	free(h);
}

/* (vfs/retained K1, vfs/retained K2, vfs/mark M1, vfs/mark M2, vfs/edit E2) */
static void a_random_history_agrees_with_its_model(struct test *t)
{
	run_history(t, 16384, false, test_scaled(600, 100));
}

/* (vfs/mark M1) */
static void a_random_history_that_spills_agrees_with_its_model(struct test *t)
{
	run_history(t, 64, false, test_scaled(600, 100));
}

/* What found no memory did nothing, and what comes after it is none the worse. */
static void a_random_history_without_memory_agrees_with_its_model(struct test *t)
{
	run_history(t, 16384, true, test_scaled(300, 50));
	if (!t->failed)
		run_history(t, 64, true, test_scaled(300, 50));
}

/* (vfs/view V2, rule 11) */
static void a_stale_writer_is_told(struct test *t)
{
	struct fixture f;
	struct store_view *a, *b;
	struct store_file_info info;
	uint32_t file_id;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &a, &t->err));
	EXPECT_OK(t, store_view_open(f.store, &b, &t->err));
	EXPECT_OK(t, store_view_begin(b, &t->err));
	EXPECT_EQ(t, store_file_info(b, 3, &info, &t->err), ERR_MISSING);
	EXPECT_OK(t, store_view_write(a, 0, &t->err));
	EXPECT_ERR(t, store_view_write(b, 1000, &t->err), ERR_BUSY,
	           "has held the lock");
	EXPECT_OK(t, store_file_create(a, STORE_FILE_TABLE, "x", 16384,
	                               &file_id, &t->err));
	EXPECT_OK(t, store_view_commit(a, STORE_DURABLE_LATER, &t->err));
	EXPECT_ERR(t, store_view_write(b, 0, &t->err), ERR_BUSY_SNAPSHOT,
	           "began at commit 1");
	store_view_end(b);
	EXPECT_OK(t, store_view_write(b, 0, &t->err));
	store_view_close(a);
	store_view_close(b);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
}

/* (vfs/view V1) */
static void a_view_that_has_read_nothing_moves_to_the_newest_commit(
	struct test *t)
{
	static const uint8_t bytes[4096] = { 1 };
	struct fixture f;
	struct store_view *a, *b;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &a, &t->err));
	EXPECT_OK(t, store_view_open(f.store, &b, &t->err));
	for (int unread = 0; unread < 2; unread++) {
		EXPECT_OK(t, store_view_begin(b, &t->err));
		EXPECT_OK(t, store_view_write(a, 0, &t->err));
		EXPECT_OK(t, store_sqlite_write(a, (uint64_t)unread * 4096, bytes,
		                                sizeof bytes, &t->err));
		EXPECT_OK(t, store_view_commit(a, STORE_DURABLE_LATER, &t->err));
		if (unread) {
			EXPECT_OK(t, store_view_write_unread(b, 0, &t->err));
			EXPECT_EQ(t, store_view_txid(b), store_view_txid(a));
		} else {
			EXPECT_ERR(t, store_view_write(b, 0, &t->err),
			           ERR_BUSY_SNAPSHOT, "the newest is");
		}
		store_view_end(a);
		store_view_end(b);
	}
	store_view_close(a);
	store_view_close(b);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
}

static int find_figure(void *context, const char *name, int64_t value,
                       const char *what)
{
	int64_t *figures = context;

	(void)what;
	if (strcmp(name, "log_durable") == 0)
		figures[0] = value;
	if (strcmp(name, "log_appended") == 0)
		figures[1] = value;
	if (strcmp(name, "log_syncs") == 0)
		figures[2] = value;
	return 0;
}

/* A commit that leaves SQLite's pages alone. */
static int count_commit(struct store_view *view, uint32_t file_id, struct err *err)
{
	struct pager *pager;
	uint8_t *state;
	int rc = store_view_write(view, 0, err);

	if (!rc)
		rc = store_pager(view, file_id, &pager, err);
	if (!rc)
		rc = pager_state_edit(pager, &state, err);
	if (rc)
		return rc;
	state[0]++;
	rc = store_view_commit(view, STORE_DURABLE_LATER, err);
	store_view_end(view);
	return rc;
}

struct two_views {
	struct fixture f;
	struct store_view *a, *b;
	uint32_t file_id;
};

static void two_views_open(struct test *t, struct two_views *v)
{
	EXPECT_OK(t, fixture_start(t, &v->f));
	EXPECT_OK(t, store_view_open(v->f.store, &v->a, &t->err));
	EXPECT_OK(t, store_view_open(v->f.store, &v->b, &t->err));
	EXPECT_OK(t, store_view_write(v->a, 0, &t->err));
	EXPECT_OK(t, store_file_create(v->a, STORE_FILE_TABLE, "users", 16384,
	                               &v->file_id, &t->err));
	EXPECT_OK(t, store_view_commit(v->a, STORE_DURABLE_LATER, &t->err));
	store_view_end(v->a);
}

static void two_views_close(struct test *t, struct two_views *v)
{
	store_view_close(v->a);
	store_view_close(v->b);
	EXPECT_OK(t, store_close(v->f.store, &t->err));
	fixture_end(&v->f);
}

static int write_as(struct store_view *view, bool unread, uint64_t timeout_us,
                    struct err *err)
{
	return unread ? store_view_write_unread(view, timeout_us, err)
	              : store_view_write(view, timeout_us, err);
}

/* Who reads changes nothing. */
static void who_is_not_the_writer_gets_no_page_to_change(struct test *t)
{
	struct two_views v;
	struct pager *pager;
	uint8_t *page;
	uint32_t page_no;

	two_views_open(t, &v);
	EXPECT_OK(t, store_view_begin(v.b, &t->err));
	EXPECT_OK(t, store_pager(v.b, v.file_id, &pager, &t->err));
	EXPECT_ERR(t, pager_allocate(pager, PAGE_LEAF, &page_no, &page, &t->err),
	           ERR_READONLY, "write");
	EXPECT_ERR(t, pager_edit(pager, 1, &page, &t->err), ERR_READONLY, "write");
	EXPECT_ERR(t, pager_free(pager, 1, &t->err), ERR_READONLY, "write");
	EXPECT_ERR(t, pager_state_edit(pager, &page, &t->err), ERR_READONLY,
	           "write");
	EXPECT_ERR(t, store_file_create(v.b, STORE_FILE_TABLE, "x", 16384,
	                                &page_no, &t->err), ERR_READONLY, "write");
	EXPECT_ERR(t, store_file_drop(v.b, v.file_id, &t->err), ERR_READONLY,
	           "write");
	EXPECT_ERR(t, store_sqlite_write(v.b, 0, "x", 1, &t->err), ERR_READONLY,
	           "write");
	EXPECT_ERR(t, store_sqlite_truncate(v.b, 0, &t->err), ERR_READONLY,
	           "write");
	store_view_end(v.b);
	two_views_close(t, &v);
}

/* Whether it waits or not: who moves is told by its epoch, who has read is stale, and
 * the lock is one's own. (vfs/view V2, rule 11, rule 13) */
static void a_writer_moves_only_where_nobody_can_tell(struct test *t)
{
	struct two_views v;

	two_views_open(t, &v);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t timeout_us = i & 1 ? 2000 : 0, epoch;
		bool unread = i & 2;

		EXPECT_OK(t, store_view_begin(v.b, &t->err));
		epoch = *store_view_epoch(v.b);
		EXPECT_OK(t, count_commit(v.a, v.file_id, &t->err));
		EXPECT_OK(t, write_as(v.b, unread, timeout_us, &t->err));
		EXPECT(t, *store_view_epoch(v.b) != epoch);
		store_view_end(v.b);

		EXPECT_OK(t, store_view_begin(v.b, &t->err));
		*store_view_read_mark(v.b) = true;
		EXPECT_OK(t, count_commit(v.a, v.file_id, &t->err));
		EXPECT_ERR(t, store_view_write(v.b, timeout_us, &t->err),
		           ERR_BUSY_SNAPSHOT, "the newest is");
		EXPECT(t, !store_view_writing(v.b));
		store_view_end(v.b);

		EXPECT_OK(t, store_view_write(v.a, 0, &t->err));
		EXPECT_ERR(t, write_as(v.b, unread, timeout_us, &t->err),
		           ERR_BUSY, "has held the lock");
		EXPECT(t, !store_view_writing(v.b));
		store_view_end(v.b);
		store_view_end(v.a);
	}
	two_views_close(t, &v);
}

static void a_view_can_wait_for_its_snapshot_to_be_durable(struct test *t)
{
	static const uint8_t bytes[4096] = { 1 };
	int64_t before[3], after[3];
	struct fixture f;
	struct store_view *a, *b;

	EXPECT_OK(t, fixture_start(t, &f));
	EXPECT_OK(t, store_view_open(f.store, &a, &t->err));
	EXPECT_OK(t, store_view_open(f.store, &b, &t->err));
	EXPECT_OK(t, store_view_begin(b, &t->err)); /* nothing was logged yet */
	EXPECT_OK(t, store_view_await_durable(b, &t->err));
	store_view_end(b);
	EXPECT_OK(t, store_view_write(a, 0, &t->err));
	EXPECT_OK(t, store_sqlite_write(a, 0, bytes, sizeof bytes, &t->err));
	EXPECT_OK(t, store_view_commit(a, STORE_DURABLE_NEVER, &t->err));
	EXPECT_OK(t, store_view_begin(b, &t->err));
	store_status(f.store, find_figure, before, &t->err);
	EXPECT(t, before[0] < before[1]);
	EXPECT_OK(t, store_view_await_durable(b, &t->err));
	store_status(f.store, find_figure, after, &t->err);
	EXPECT_EQ(t, after[0], after[1]);
	EXPECT_EQ(t, after[2], before[2] + 1);
	EXPECT_OK(t, store_view_await_durable(b, &t->err)); /* it is */
	store_status(f.store, find_figure, before, &t->err);
	EXPECT_EQ(t, before[2], after[2]);
	store_view_close(a);
	store_view_close(b);
	EXPECT_OK(t, store_close(f.store, &t->err));
	fixture_end(&f);
}

static const struct test_case cases[] = {
	CASE(a_commit_is_there_after_reopening),
	CASE(the_flat_bytes_behave_like_a_file),
	CASE(a_long_file_full_of_holes_is_cut_by_its_pages),
	CASE(a_random_history_agrees_with_its_model),
	CASE(a_random_history_that_spills_agrees_with_its_model),
	CASE(a_random_history_without_memory_agrees_with_its_model),
	CASE(a_stale_writer_is_told),
	CASE(a_view_that_has_read_nothing_moves_to_the_newest_commit),
	CASE(who_is_not_the_writer_gets_no_page_to_change),
	CASE(a_writer_moves_only_where_nobody_can_tell),
	CASE(a_view_can_wait_for_its_snapshot_to_be_durable),
};
TEST_MAIN(cases)
