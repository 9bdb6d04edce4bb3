/*
 * store_model.c - see store_model.h.
 *
 * One function, transaction(), drives either the model alone or the model and a
 * view: so both always do the same.
 */
#include "test/support/store_model.h"

#include "base/bytes.h"
#include "base/pager.h"
#include "test/harness.h"
#include "vfs/store_private.h"

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

	if (expected > MODEL_PAGES)
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
		struct model_file *file = &d->model.files[pick(d, MODEL_FILES)];
		uint32_t page_no = (uint32_t)pick(d, MODEL_PAGES) + 1;

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
	uint8_t bytes[MODEL_BYTES];

	d->model.bytes_seed = pick(d, UINT64_MAX / 2) + 1;
	d->model.bytes_size = 8 + pick(d, MODEL_BYTES / 8 - 1) * 8;
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
	for (int i = 0; i < MODEL_FILES; i++)
		if (!d->model.files[i].id)
			file_new(d, i);
	if (k % 9 == 4) {
		int i = (int)pick(d, MODEL_FILES);

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

static void start_empty(struct model *model)
{
	memset(model, 0, sizeof *model);
	model->next_id = STORE_FIRST_FREE_FILE_ID;
}

void model_at(struct model *model, uint64_t k)
{
	struct driver d = { .rc = 0 };

	start_empty(&d.model);
	for (uint64_t i = 1; i <= k; i++)
		transaction(&d, i);
	*model = d.model;
}

/* --- comparing --------------------------------------------------------------------- */

static int compare_bytes(struct store_view *view, const struct model *model,
                         struct err *err)
{
	uint8_t wanted[MODEL_BYTES], got_bytes[MODEL_BYTES];
	size_t got;
	int rc = store_sqlite_read(view, 0, got_bytes, sizeof got_bytes, &got,
	                           err);

	if (rc)
		return rc;
	fill(wanted, MODEL_BYTES, model->bytes_seed, 0);
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
	for (uint32_t p = 1; !rc && p <= MODEL_PAGES; p++) {
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

int model_check(struct store_view *view, const struct model *model,
                   struct err *err)
{
	int rc = model->k ? compare_bytes(view, model, err) : ERR_NONE;

	for (int i = 0; !rc && i < MODEL_FILES; i++)
		rc = compare_file(view, model, i, err);
	return rc;
}

/* The number that commit k wrote at the head of SQLite's bytes. */
int model_found(struct store_view *view, uint64_t *k, struct err *err)
{
	uint8_t number[8];
	size_t got;
	int rc = store_sqlite_read(view, 0, number, sizeof number, &got, err);

	if (!rc)
		*k = got == sizeof number ? load_le64(number) : 0;
	return rc;
}

/* --- actors ------------------------------------------------------------------------ */

/* Nothing is left behind, however the opening or closing went. */
static int close_process(struct actor *actor, int rc, struct err *err)
{
	size_t open = sim_process_open_count(actor->os);

	sim_process_close(actor->os);
	if (atomic_load(&actor->heap.used))
		return err_set(err, ERR_LEAK, "close", "app",
		               "%zu bytes of memory are still allocated",
		               atomic_load(&actor->heap.used));
	if (open)
		return err_set(err, ERR_LEAK, "close", "app",
		               "%zu files or maps are still open", open);
	return rc;
}

static int start(struct actor *actor, struct sim_disk *disk, uint32_t plants,
                 uint64_t lose_after, struct err *err)
{
	struct store_options options = { .create = true,
	                                 .cache_kb = ACTOR_CACHE_KB,
	                                 .log_segment_size =
	                                         ACTOR_SEGMENT_SIZE,
	                                 .lose_after = lose_after };
	struct err ignored;
	int rc;

	memset(actor, 0, sizeof *actor);
	heap_init(&actor->heap);
	actor->os = sim_process_open(disk);
	rc = store_environment_open(actor->os, &actor->heap,
	                            &actor->environment, err);
	if (rc)
		goto close_process;
	store_environment_plant(actor->environment, plants);
	rc = store_open(actor->environment, "/app", &options, &actor->store,
	                err);
	if (rc)
		goto close_environment;
	rc = store_view_open(actor->store, &actor->view, err);
	if (rc)
		goto close_store;
	return ERR_NONE;

close_store:
	store_close(actor->store, &ignored);
close_environment:
	store_environment_close(actor->environment);
close_process:
	return close_process(actor, rc, err);
}

int actor_start(struct actor *actor, struct sim_disk *disk, uint32_t plants,
                struct err *err)
{
	return start(actor, disk, plants, 0, err);
}

int actor_start_losing(struct actor *actor, struct sim_disk *disk,
                       uint64_t lose_after, struct err *err)
{
	return start(actor, disk, 0, lose_after, err);
}

int actor_end(struct actor *actor, struct err *err)
{
	int rc;

	store_view_close(actor->view);
	rc = store_close(actor->store, err);
	store_environment_close(actor->environment);
	return close_process(actor, rc, err);
}

void actor_die(struct actor *actor)
{
	struct err ignored;

	sim_process_kill(actor->os);
	actor_end(actor, &ignored);
}

static enum store_durability durability_of(uint64_t k)
{
	return k % 3 == 0   ? STORE_DURABLE_NOW
	       : k % 3 == 1 ? STORE_DURABLE_LATER
	                    : STORE_DURABLE_NEVER;
}

int actor_commit(struct actor *actor, struct sim_disk *disk,
                 struct model *model, struct err *err)
{
	uint64_t k = model->k + 1;
	struct driver d = { .model = *model, .view = actor->view, .err = err };

	d.rc = store_view_write(actor->view, 0, err);
	if (!d.rc) {
		transaction(&d, k);
		if (!d.rc)
			d.rc = model_check(actor->view, &d.model, err);
	}
	if (!d.rc) {
		sim_mark(disk, MARK_STARTED, k);
		d.rc = store_view_commit(actor->view, durability_of(k), err);
	}
	if (!d.rc) {
		sim_mark(disk, MARK_RETURNED, k);
		if (durability_of(k) == STORE_DURABLE_NOW)
			sim_mark(disk, MARK_DURABLE, k);
		*model = d.model;
		d.rc = model_check(actor->view, model, err);
	}
	store_view_end(actor->view);
	return d.rc;
}

int actor_abandon(struct actor *actor, const struct model *model,
                  struct err *err)
{
	struct driver d = { .model = *model, .view = actor->view, .err = err };

	d.rc = store_view_write(actor->view, 0, err);
	if (!d.rc)
		transaction(&d, model->k + 1001);
	return d.rc;
}

int actor_take_over(struct actor *actor, uint64_t *k, struct err *err)
{
	int rc = store_view_write(actor->view, 0, err);

	if (rc == ERR_BUSY_SNAPSHOT)
		rc = ERR_NONE;
	store_view_end(actor->view);
	if (!rc)
		rc = store_view_begin(actor->view, err);
	if (!rc)
		rc = model_found(actor->view, k, err);
	store_view_end(actor->view);
	return rc;
}

/* --- what is free -------------------------------------------------------------------- */

enum { FILES_MAX = 64 };

struct free_units {
	struct store *store;
	struct store_root root;
	bool anew; /* the second look */
	uint32_t count, seen;
	uint64_t free[FILES_MAX];
	bool built[FILES_MAX];
};

static int compare_free(struct free_units *units, uint32_t file_id,
                        struct page_file *file, struct err *err)
{
	struct store *store = units->store;
	struct space_figures figures = { .free = 0 };
	uint32_t i = units->seen++;
	int rc = ERR_NONE;

	if (i >= FILES_MAX)
		return ERR_NONE;
	if (units->anew && units->built[i])
		rc = store_space_ensure(store, file_id, file, &units->root,
		                        NULL, 0, err);
	if (rc || (units->anew && !units->built[i]))
		return rc;
	units->built[i] = space_file_built(&store->space, file_id) &&
	                  !space_file_figures(&store->space, file_id, &figures);
	if (units->anew && units->free[i] != figures.free)
		return err_set(err, ERR_CORRUPT, "compare what is free", "app",
		               "file %u: %llu units, of one built anew %llu",
		               file_id, (unsigned long long)units->free[i],
		               (unsigned long long)figures.free);
	units->free[i] = figures.free;
	return ERR_NONE;
}

static int compare_free_of(void *context, uint32_t file_id,
                           const struct catalog_entry *entry, struct err *err)
{
	struct free_units *units = context;
	struct page_file *file;
	int rc = store_files_get(units->store, entry, &file, err);

	return rc ? rc : compare_free(units, file_id, file, err);
}

static int compare_all_free(struct free_units *units, bool anew, struct err *err)
{
	int rc;

	units->anew = anew;
	units->seen = 0;
	rc = compare_free(units, STORE_CATALOG_FILE_ID,
	                  units->store->catalog_file, err);
	return rc ? rc : store_catalog_each(units->store, &units->root.catalog,
	                                    compare_free_of, units, err);
}

int model_check_free(struct store_view *view, struct err *err)
{
	struct free_units units = { .store = view->store };
	int rc = store_view_begin(view, err);

	if (!rc)
		rc = store_view_write(view, 0, err);
	units.root = view->root;
	if (!rc)
		rc = store_retained_update(view->store, &units.root, NULL, err);
	if (!rc)
		rc = compare_all_free(&units, false, err);
	if (!rc)
		store_retained_rebuild(view->store);
	if (!rc)
		rc = compare_all_free(&units, true, err);
	store_view_end(view);
	return rc;
}
