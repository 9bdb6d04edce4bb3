/*
 * store_crash_test.c - whatever moment a crash comes, a prefix of the commits is
 * there, whole, and holds everything that was acknowledged.
 *
 * Commit k is a pure function of k and the state before it, so a crashed disk is
 * judged by reading k from it, computing state k again, and comparing every page.
 * The workload crosses checkpoints, spills and PLACED commits, segment switches,
 * files made and dropped, savepoints, rollbacks, and readers in another process.
 */
#include "test/harness.h"

#include "test/support/explore.h"
#include "vfs/plant.h"
#include "vfs/store.h"

enum { FILES = 3, PAGES = 24, COMMITS = 60, BYTES = 60000 };

enum { MARK_STARTED, MARK_RETURNED, MARK_DURABLE };

/* --- the model --------------------------------------------------------------------- */

struct model_file {
	uint32_t id;                /* 0 = none */
	uint32_t page_count;
	uint32_t free_list[PAGES + 2], free_count;
	uint64_t content[PAGES + 2]; /* seed of page n; 0 = not in use */
	uint64_t patch[PAGES + 2];   /* seed of a small change on top  */
};

struct model {
	uint64_t k;
	uint32_t next_id;
	struct model_file files[FILES];
	uint64_t bytes_seed, bytes_size;
};

/* One transaction drives either the model alone or the model and a view. */
struct driver {
	struct model model;
	struct store_view *view; /* or NULL */
	struct err *err;
	int rc;
	uint64_t random;
};

static void fill(uint8_t *page, uint32_t size, uint64_t seed, uint64_t patch)
{
	for (uint32_t i = 0; i + 8 <= size; i += 8)
		store_le64(page + i, (seed + i) * UINT64_C(0x9e3779b97f4a7c15));
	if (patch)
		store_le64(page + patch % (size / 8) * 8, patch);
}

static uint64_t pick(struct driver *d, uint64_t below)
{
	return test_random(&d->random) % below;
}

static uint32_t page_size_of(int file)
{
	return file == 1 ? 4096 : 16384;
}

static bool page_write(struct driver *d, struct pager *pager, uint8_t *page,
                       struct model_file *file, uint32_t page_no)
{
	fill(page, pager->usable_size, file->content[page_no],
	     file->patch[page_no]);
	d->rc = store_view_operation_end(d->view, d->err);
	return d->rc == 0;
}

static struct pager *pager_of(struct driver *d, struct model_file *file)
{
	struct pager *pager = NULL;

	if (d->view && !d->rc)
		d->rc = store_pager(d->view, file->id, &pager, d->err);
	return d->rc ? NULL : pager;
}

static void page_new(struct driver *d, struct model_file *file)
{
	struct pager *pager = pager_of(d, file);
	uint32_t expected = file->free_count
	                            ? file->free_list[file->free_count - 1]
	                            : file->page_count;
	uint32_t page_no = expected;
	uint8_t *page;

	if (expected > PAGES)
		return;
	file->content[expected] = pick(d, UINT64_MAX / 2) + 1;
	file->patch[expected] = 0;
	if (file->free_count)
		file->free_count--;
	else
		file->page_count++;
	if (!pager)
		return;
	d->rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page, d->err);
	if (d->rc)
		return;
	if (page_no != expected)
		d->rc = err_set(d->err, ERR_CORRUPT, "allocate", pager->name,
		                "got page %u, the model has %u", page_no,
		                expected);
	else
		page_write(d, pager, page, file, page_no);
}

static void page_change(struct driver *d, struct model_file *file,
                        uint32_t page_no)
{
	struct pager *pager = pager_of(d, file);
	uint8_t *page;

	if (pick(d, 3))
		file->patch[page_no] = pick(d, UINT64_MAX / 2) + 1;
	else
		file->content[page_no] = pick(d, UINT64_MAX / 2) + 1;
	if (!pager)
		return;
	d->rc = pager_edit(pager, page_no, &page, d->err);
	if (!d->rc)
		page_write(d, pager, page, file, page_no);
}

static void page_free(struct driver *d, struct model_file *file,
                      uint32_t page_no)
{
	struct pager *pager = pager_of(d, file);

	file->content[page_no] = 0;
	file->free_list[file->free_count++] = page_no;
	if (pager)
		d->rc = pager_free(pager, page_no, d->err);
}

static void file_new(struct driver *d, int i)
{
	struct model_file *file = &d->model.files[i];

	*file = (struct model_file){ .id = d->model.next_id++,
	                             .page_count = 1 };
	if (d->view && !d->rc) {
		uint32_t id;

		d->rc = store_file_create(d->view, STORE_FILE_TABLE, "crash",
		                          page_size_of(i), &id, d->err);
		if (!d->rc && id != file->id)
			d->rc = err_set(d->err, ERR_CORRUPT, "create", "file",
			                "got id %u, the model has %u", id,
			                file->id);
	}
}

static void change_some(struct driver *d, uint64_t count)
{
	while (count--) {
		struct model_file *file = &d->model.files[pick(d, FILES)];
		uint32_t page_no = (uint32_t)pick(d, PAGES) + 1;

		if (!file->id)
			continue;
		if (!file->content[page_no])
			page_new(d, file);
		else if (pick(d, 5) == 0)
			page_free(d, file, page_no);
		else
			page_change(d, file, page_no);
	}
}

static void bytes_write(struct driver *d)
{
	uint8_t bytes[BYTES];

	d->model.bytes_seed = pick(d, UINT64_MAX / 2) + 1;
	d->model.bytes_size = 8 + pick(d, BYTES / 8 - 1) * 8;
	if (!d->view || d->rc)
		return;
	fill(bytes, (uint32_t)d->model.bytes_size, d->model.bytes_seed, 0);
	store_le64(bytes, d->model.k);
	d->rc = store_sqlite_truncate(d->view, d->model.bytes_size, d->err);
	if (!d->rc)
		d->rc = store_sqlite_write(d->view, 0, bytes,
		                           (size_t)d->model.bytes_size, d->err);
}

static void savepoint_undone(struct driver *d)
{
	struct model before = d->model;
	uint64_t random;

	if (d->view && !d->rc)
		d->rc = store_view_savepoint(d->view, 0, d->err);
	change_some(d, 4);
	random = d->random;
	before.next_id = d->model.next_id;
	d->model = before;
	d->random = random;
	if (d->view && !d->rc)
		store_view_rollback_to(d->view, 0);
}

static void savepoint_kept(struct driver *d)
{
	if (d->view && !d->rc)
		d->rc = store_view_savepoint(d->view, 1, d->err);
	change_some(d, 3);
	if (d->view && !d->rc)
		store_view_release(d->view, 0);
}

/* Everything that commit k does. */
static void transaction(struct driver *d, uint64_t k)
{
	d->model.k = k;
	d->random = k * 7919;
	for (int i = 0; i < FILES; i++)
		if (!d->model.files[i].id)
			file_new(d, i);
	if (k % 9 == 4) {
		int i = (int)pick(d, FILES);

		if (d->view && !d->rc)
			d->rc = store_file_drop(d->view, d->model.files[i].id,
			                        d->err);
		d->model.files[i].id = 0;
	}
	if (k % 3)
		bytes_write(d);
	else if (d->view && !d->rc && d->model.bytes_size) {
		uint8_t number[8];

		store_le64(number, k);
		d->rc = store_sqlite_write(d->view, 0, number, 8, d->err);
	} else if (!d->model.bytes_size) {
		bytes_write(d);
	}
	change_some(d, k % 13 == 12 ? 40 : 3);
	if (k % 4 == 1)
		savepoint_undone(d);
	change_some(d, 2);
	if (k % 5 == 2)
		savepoint_kept(d);
}

static void model_start(struct model *model)
{
	memset(model, 0, sizeof *model);
	model->next_id = STORE_FIRST_FREE_FILE_ID;
}

static void model_at(struct model *model, uint64_t k)
{
	struct driver d = { .rc = 0 };

	model_start(&d.model);
	for (uint64_t i = 1; i <= k; i++)
		transaction(&d, i);
	*model = d.model;
}

/* --- comparing --------------------------------------------------------------------- */

static int compare_bytes(struct store_view *view, const struct model *model,
                         struct err *err)
{
	uint8_t wanted[BYTES], got_bytes[BYTES];
	size_t got;
	int rc = store_sqlite_read(view, 0, got_bytes, sizeof got_bytes, &got,
	                           err);

	if (rc)
		return rc;
	fill(wanted, BYTES, model->bytes_seed, 0);
	store_le64(wanted, model->k);
	if (got != model->bytes_size || memcmp(wanted, got_bytes, got) != 0)
		return err_set(err, ERR_CORRUPT, "compare", "sqlite.tbd",
		               "commit %llu: other bytes than it wrote",
		               (unsigned long long)model->k);
	return ERR_NONE;
}

static int compare_file(struct store_view *view, const struct model *model,
                        int i, struct err *err)
{
	const struct model_file *file = &model->files[i];
	uint8_t wanted[16384];
	struct pager *pager;
	int rc;

	if (!file->id)
		return ERR_NONE;
	rc = store_pager(view, file->id, &pager, err);
	for (uint32_t p = 1; !rc && p <= PAGES; p++) {
		const uint8_t *page;

		if (!file->content[p])
			continue;
		rc = pager_read(pager, p, &page, err);
		if (rc)
			break;
		fill(wanted, pager->usable_size, file->content[p],
		     file->patch[p]);
		if (memcmp(page, wanted, pager->usable_size) != 0)
			rc = err_set(err, ERR_CORRUPT, "compare", pager->name,
			             "page %u is not what commit %llu left", p,
			             (unsigned long long)model->k);
	}
	return rc;
}

static int compare(struct store_view *view, const struct model *model,
                   struct err *err)
{
	int rc = model->k ? compare_bytes(view, model, err) : ERR_NONE;

	for (int i = 0; !rc && i < FILES; i++)
		rc = compare_file(view, model, i, err);
	return rc;
}

/* --- processes --------------------------------------------------------------------- */

struct process {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

struct crash_context {
	uint32_t plants;
};

static int process_start(struct process *p, struct sim_disk *disk,
                         uint32_t plants, struct err *err)
{
	struct store_options options = { .create = true, .cache_kb = 300,
	                                 .log_segment_size = 65536 };
	int rc;

	memset(p, 0, sizeof *p);
	heap_init(&p->heap);
	p->os = sim_process_open(disk);
	rc = store_environment_open(p->os, &p->heap, &p->environment, err);
	if (rc)
		return rc;
	store_environment_plant(p->environment, plants);
	rc = store_open(p->environment, "/app", &options, &p->store, err);
	return rc ? rc : store_view_open(p->store, &p->view, err);
}

static int process_end(struct process *p, struct err *err)
{
	int rc;

	store_view_close(p->view);
	rc = store_close(p->store, err);
	store_environment_close(p->environment);
	sim_process_close(p->os);
	return rc;
}

/* Dies without a word: nothing is closed, only this test's memory is let go. */
static void process_die(struct process *p)
{
	struct err err;

	sim_process_kill(p->os);
	store_view_close(p->view);
	store_close(p->store, &err);
	store_environment_close(p->environment);
	sim_process_close(p->os);
}

static int commit_one(struct process *p, struct sim_disk *disk,
                      struct model *model, uint64_t k, struct err *err)
{
	enum store_durability durability = k % 3 == 0   ? STORE_DURABLE_NOW
	                                   : k % 3 == 1 ? STORE_DURABLE_LATER
	                                                : STORE_DURABLE_NEVER;
	struct driver d = { .model = *model, .view = p->view, .err = err };

	d.rc = store_view_write(p->view, 0, err);
	if (d.rc)
		return d.rc;
	transaction(&d, k);
	if (!d.rc)
		d.rc = compare(p->view, &d.model, err);
	sim_mark(disk, MARK_STARTED, k);
	if (!d.rc)
		d.rc = store_view_commit(p->view, durability, err);
	if (d.rc)
		return d.rc;
	sim_mark(disk, MARK_RETURNED, k);
	if (durability == STORE_DURABLE_NOW)
		sim_mark(disk, MARK_DURABLE, k);
	*model = d.model;
	d.rc = compare(p->view, model, err);
	store_view_end(p->view);
	return d.rc;
}

/* A transaction that is rolled back, or whose process is killed in it. */
static int start_one(struct process *p, const struct model *model, uint64_t k,
                     struct err *err)
{
	struct driver d = { .model = *model, .view = p->view, .err = err };

	d.rc = store_view_write(p->view, 0, err);
	if (!d.rc)
		transaction(&d, k + 1000);
	return d.rc;
}

/* Two processes; the second reads old snapshots, and writes when it is its turn or
 * when the first one died. */
static int work(void *context, struct sim_disk *disk, struct err *err)
{
	const struct crash_context *plan = context;
	struct process a, b;
	struct model model, seen;
	bool done;
	int rc = process_start(&a, disk, plan->plants, err);

	model_start(&model);
	if (!rc)
		rc = process_start(&b, disk, plan->plants, err);
	for (uint64_t k = 1; !rc && k <= COMMITS; k++) {
		struct process *writer = k % 11 == 10 ? &b : &a;

		if (writer == &b || k % 7 == 0)
			store_view_end(b.view);
		if (!store_view_reading(b.view) && writer != &b && k % 7 == 1) {
			rc = store_view_begin(b.view, err);
			seen = model;
		}
		if (!rc && k % 8 == 3) {
			rc = start_one(writer, &model, k, err);
			store_view_end(writer->view);
		}
		if (!rc && k == 33) {
			rc = start_one(&a, &model, k, err);
			process_die(&a);
			if (!rc)
				rc = process_start(&a, disk, plan->plants, err);
		}
		if (!rc)
			rc = commit_one(writer, disk, &model, k, err);
		if (!rc && store_view_reading(b.view))
			rc = compare(b.view, &seen, err);
		if (!rc && k % 10 == 9)
			rc = store_checkpoint(a.store, &done, err);
		if (!rc && k == 45) { /* everybody leaves and comes again */
			rc = process_end(&a, err);
			if (!rc)
				rc = process_end(&b, err);
			if (!rc)
				rc = process_start(&a, disk, plan->plants, err);
			if (!rc)
				rc = process_start(&b, disk, plan->plants, err);
		}
	}
	if (rc)
		return rc;
	rc = process_end(&b, err);
	return rc ? rc : process_end(&a, err);
}

/* The number that commit k wrote at the head of SQLite's bytes. */
static int found_commit(struct store_view *view, uint64_t *k, struct err *err)
{
	uint8_t number[8];
	size_t got;
	int rc = store_sqlite_read(view, 0, number, sizeof number, &got, err);

	*k = got == sizeof number ? load_le64(number) : 0;
	return rc;
}

static int judge(struct process *p, const struct explore_state *state,
                 struct model *model, struct err *err)
{
	uint64_t k, floor, ceiling;
	int rc = store_view_begin(p->view, err);

	if (!rc)
		rc = found_commit(p->view, &k, err);
	if (rc)
		return rc;
	floor = explore_mark_max(state, explore_is_kill(state) ? MARK_RETURNED
	                                                       : MARK_DURABLE, 0);
	ceiling = explore_mark_max(state, MARK_STARTED, 0);
	if (k < floor || k > ceiling)
		return err_set(err, ERR_CORRUPT, "recover", "app",
		               "commit %llu is there; %llu was acknowledged, %llu had begun",
		               (unsigned long long)k, (unsigned long long)floor,
		               (unsigned long long)ceiling);
	model_at(model, k);
	rc = compare(p->view, model, err);
	return rc ? rc : store_check(p->view, 1, NULL, NULL, err);
}

static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	const struct crash_context *plan = context;
	struct process p;
	struct model model;
	uint64_t k;
	int rc = process_start(&p, disk, plan->plants, err);

	if (rc)
		return rc;
	rc = judge(&p, state, &model, err);
	store_view_end(p.view);
	k = model.k;
	for (int i = 0; !rc && i < 2; i++)
		rc = commit_one(&p, disk, &model, ++k, err);
	if (!rc)
		rc = store_view_begin(p.view, err);
	if (!rc)
		rc = store_check(p.view, 1, NULL, NULL, err);
	if (rc)
		return rc;
	return process_end(&p, err);
}

static int recover(void *context, struct sim_disk *disk, struct err *err)
{
	const struct crash_context *plan = context;
	struct process p;
	int rc = process_start(&p, disk, plan->plants, err);

	return rc ? rc : process_end(&p, err);
}

static void every_crash_leaves_a_prefix_of_the_commits(struct test *t)
{
	struct crash_context context = { .plants = 0 };
	struct explore_plan plan = {
		.name = "store", .work = work, .check = check,
		.recover = recover, .context = &context, .seed = t->seed,
		.states = test_scaled(4000, 400), .recrash_every = 5,
	};

	explore_expect(t, &plan);
}

static const struct test_case cases[] = {
	CASE(every_crash_leaves_a_prefix_of_the_commits),
};
TEST_MAIN(cases)
