/*
 * image_try_store.c - see image_try.h: the store alone.
 */
#include "test/support/image_try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/pager.h"
#include "vfs/store.h"

enum { HEAP_MAX = 48 << 20, PAGES_READ = 400, FILES_KNOWN = 32,
       CACHE_KB = 256, PAGES_MANY = 30, VACUUM_STEPS = 4 };

struct trying {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
	uint32_t files[FILES_KNOWN];
	uint32_t pages[FILES_KNOWN];
	uint32_t count;
	bool good; /* the check found nothing */
	volatile uint64_t sum; /* so that reading is not optimised away */
};

static void wrong(const char *what, int rc, const struct err *err)
{
	fprintf(stderr, "image_try_store: %s: %s: %s\n", what, err_name(rc),
	        rc ? err->text : "");
	abort();
}

/* What damage may be answered with. */
static bool told(const char *what, int rc, const struct err *err)
{
	if (!rc)
		return false;
	switch (rc) {
	case ERR_CORRUPT:
	case ERR_VERSION:
	case ERR_CANTOPEN:
	case ERR_FULL:
	case ERR_TOOBIG: /* damage can leave the last file id behind */
	case ERR_ABORT:
	case ERR_POISONED:
		break;
	default:
		wrong(what, rc, err);
	}
	if (err->code != rc || !strchr(err->text, ':') || !err->text[0])
		wrong(what, rc, err);
	return true;
}

/* --- reading ------------------------------------------------------------------------- */

static int note_file(void *context, const struct store_file_info *info)
{
	struct trying *trying = context;

	if (trying->count < FILES_KNOWN) {
		trying->files[trying->count] = info->file_id;
		trying->pages[trying->count++] = info->page_count;
	}
	return 0;
}

static void read_pages(struct trying *trying, uint32_t id, uint32_t pages)
{
	struct pager *pager;
	const uint8_t *page;
	struct err err;
	uint64_t sum = 0;

	if (told("pager", store_pager(trying->view, id, &pager, &err), &err))
		return;
	for (uint32_t n = 0; n < pages && n < PAGES_READ; n++)
		if (!told("read", pager_read(pager, n, &page, &err), &err))
			for (uint32_t i = 0; i < pager->usable_size; i += 64)
				sum += page[i];
	told("read", pager_read(pager, UINT32_MAX, &page, &err), &err);
	if (!told("state", pager_state_read(pager, &page, &err), &err))
		for (uint32_t i = 0; i < PAGER_STATE_SIZE; i++)
			sum += page[i];
	trying->sum += sum;
}

static void read_sqlite(struct trying *trying)
{
	uint64_t size = 0;
	uint8_t bytes[8192];
	const uint8_t *lent;
	struct err err;
	size_t got;

	if (told("size", store_sqlite_size(trying->view, &size, &err), &err))
		return;
	for (uint64_t at = 0; at < size && at < 64 * sizeof bytes;
	     at += sizeof bytes - 100) {
		told("read", store_sqlite_read(trying->view, at, bytes,
		                               sizeof bytes, &got, &err), &err);
		told("fetch", store_sqlite_fetch(trying->view, at / 4096 * 4096,
		                                 4096, &lent, &err), &err);
	}
	if (size)
		told("read", store_sqlite_read(trying->view, size - 1, bytes,
		                               sizeof bytes, &got, &err), &err);
}

static void read_all(struct trying *trying)
{
	struct err err;

	trying->count = 0;
	if (told("begin", store_view_begin(trying->view, &err), &err))
		return;
	if (!told("files", store_file_each(trying->view, note_file, trying,
	                                   &err), &err))
		for (uint32_t i = 0; i < trying->count; i++)
			if (trying->files[i] != STORE_SQLITE_FILE_ID)
				read_pages(trying, trying->files[i],
				           trying->pages[i]);
	read_sqlite(trying);
	trying->good = !told("check", store_check(trying->view, 1, NULL, NULL,
	                                          &err), &err);
	store_view_end(trying->view);
}

/* --- writing ------------------------------------------------------------------------- */

static bool failed(struct trying *trying, const char *what, int rc,
                   const struct err *err)
{
	if (!told(what, rc, err))
		return false;
	if (trying->good && rc != ERR_FULL && rc != ERR_TOOBIG)
		wrong("after a clean check", rc, err);
	return true;
}

static void write_file(struct trying *trying, uint32_t id, uint32_t pages)
{
	struct store_view *view = trying->view;
	uint32_t page_no = 0, in_use = 0;
	const uint8_t *shown;
	struct pager *pager;
	uint8_t *page;
	struct err err;

	if (failed(trying, "pager", store_pager(view, id, &pager, &err), &err))
		return;
	for (uint32_t n = 1; n < pages && n < PAGES_READ && !in_use; n++)
		if (pager_read(pager, n, &shown, &err) == ERR_NONE)
			in_use = n;
	if (in_use &&
	    !failed(trying, "edit", pager_edit(pager, in_use, &page, &err), &err))
		page[100] ^= 1;
	for (int i = 0; i < 3; i++)
		if (!failed(trying, "allocate",
		            pager_allocate(pager, PAGE_LEAF, &page_no, &page,
		                           &err), &err))
			page[8] = 1;
	if (in_use)
		failed(trying, "free", pager_free(pager, in_use, &err), &err);
	failed(trying, "end", store_view_operation_end(view, &err), &err);
}

/* More than the cache holds: pages are spilled, the record says PLACED. */
static void write_much(struct trying *trying, uint32_t id)
{
	struct store_view *view = trying->view;
	struct pager *pager;
	uint32_t page_no;
	uint8_t *page;
	struct err err;

	if (failed(trying, "pager", store_pager(view, id, &pager, &err), &err))
		return;
	for (int i = 0; i < PAGES_MANY; i++) {
		if (!failed(trying, "allocate",
		            pager_allocate(pager, PAGE_LEAF, &page_no, &page,
		                           &err), &err))
			memset(page + 8, i + 1, pager->usable_size - 8);
		failed(trying, "end", store_view_operation_end(view, &err),
		       &err);
	}
}

static int note_figure(void *context, const char *name, int64_t value,
                       const char *what)
{
	struct trying *trying = context;

	(void)name, (void)what;
	trying->sum += (uint64_t)value;
	return 0;
}

static int note_reader(void *context, uint32_t pid, uint64_t age_ms,
                       uint64_t txid, bool writer, int64_t held)
{
	struct trying *trying = context;

	trying->sum += pid + age_ms + txid + writer + (uint64_t)held;
	return 0;
}

/* What a user asks for by hand. */
static void maintain(struct trying *trying)
{
	uint32_t moved = 1;
	uint64_t bytes;
	struct err err;
	bool done;

	failed(trying, "status", store_status(trying->store, note_figure, trying,
	                                      &err), &err);
	failed(trying, "readers", store_readers(trying->store, note_reader,
	                                        trying, &err), &err);
	for (int i = 0; i < VACUUM_STEPS && moved; i++) {
		moved = 0;
		failed(trying, "vacuum", store_vacuum(trying->store, 8, 0,
		                                      &moved, &err), &err);
		failed(trying, "checkpoint",
		       store_checkpoint(trying->store, &done, &err), &err);
	}
	failed(trying, "release", store_release(trying->store, &bytes, &err),
	       &err);
}

static void write_some(struct trying *trying)
{
	struct store_view *view = trying->view;
	struct err err;
	uint32_t id;
	bool done;

	if (failed(trying, "write", store_view_write(view, 0, &err), &err))
		return;
	failed(trying, "savepoint", store_view_savepoint(view, 0, &err), &err);
	for (uint32_t i = 0; i < trying->count; i++)
		if (trying->files[i] != STORE_SQLITE_FILE_ID)
			write_file(trying, trying->files[i], trying->pages[i]);
	store_view_rollback_to(view, 0);
	for (uint32_t i = 0; i < trying->count && i < 6; i++)
		if (trying->files[i] != STORE_SQLITE_FILE_ID)
			write_file(trying, trying->files[i], trying->pages[i]);
	failed(trying, "write", store_sqlite_write(view, 5000, "abc", 3, &err),
	       &err);
	failed(trying, "truncate", store_sqlite_truncate(view, 21000, &err),
	       &err);
	if (trying->count > 2)
		failed(trying, "drop",
		       store_file_drop(view, trying->files[trying->count - 1],
		                       &err), &err);
	if (!failed(trying, "create", store_file_create(view, STORE_FILE_TABLE,
	                                                "new", 16384, &id, &err),
	            &err))
		write_much(trying, id);
	failed(trying, "commit", store_view_commit(view, STORE_DURABLE_NOW,
	                                           &err), &err);
	store_view_end(view);
	failed(trying, "checkpoint", store_checkpoint(trying->store, &done, &err),
	       &err);
	maintain(trying);
}

/* --- once ------------------------------------------------------------------------------ */

static int start(struct trying *trying, struct sim_disk *disk, bool immutable,
                 struct err *err)
{
	struct store_options options = { .immutable = immutable,
	                                 .cache_kb = CACHE_KB };
	int rc;

	heap_init(&trying->heap);
	atomic_store(&trying->heap.limit, HEAP_MAX);
	trying->os = sim_process_open(disk);
	rc = store_environment_open(trying->os, &trying->heap,
	                            &trying->environment, err);
	if (rc)
		wrong("environment", rc, err);
	rc = store_open(trying->environment, "/app", &options, &trying->store,
	                err);
	if (!rc && store_view_open(trying->store, &trying->view, err))
		wrong("view", rc, err);
	return rc;
}

static void end(struct trying *trying)
{
	struct err err;

	if (trying->store) {
		store_view_close(trying->view);
		failed(trying, "close", store_close(trying->store, &err), &err);
	}
	store_environment_close(trying->environment);
	if (atomic_load(&trying->heap.used))
		wrong("memory is still allocated", 0, &err);
	if (sim_process_open_count(trying->os))
		wrong("something is still open", 0, &err);
	sim_process_close(trying->os);
}

static bool try(struct sim_disk *disk, bool immutable, bool write, bool *good,
                struct err *why)
{
	struct trying trying = { .good = false };
	struct err err = { 0 };
	int rc = start(&trying, disk, immutable, &err);
	bool refused = immutable && rc == ERR_READONLY;

	refused |= !refused && told("open", rc, &err);
	if (!refused)
		read_all(&trying);
	if (!refused && *good && !trying.good)
		wrong("it was good before it was closed", err.code, &err);
	*good = trying.good;
	if (!refused && write)
		write_some(&trying);
	end(&trying);
	*why = err;
	return !refused;
}

/* Records that hold and still make no sense: a rehearsal sees their pages, not what
 * becomes of the bytes. No accident leaves such a log. */
static bool replay_broke(const struct err *err)
{
	return strstr(err->text, "has another checksum") ||
	       strstr(err->text, "born in transaction");
}

void image_try_store(const struct image *image)
{
	struct sim_disk *disk = image_disk(image);
	struct err err = { 0 };
	bool good = false;

	try(disk, true, false, &good, &err);
	if (!image_same(image, disk))
		wrong("an immutable database has changed", err.code, &err);
	good = false;
	if (try(disk, false, true, &good, &err))
		try(disk, false, false, &good, &err);
	else if (!replay_broke(&err) && !image_same(image, disk))
		wrong("a refused opening wrote something", err.code, &err);
	sim_disk_close(disk);
}
