/*
 * commit_test.c - what is left of a commit, a transaction, or a creation that does not
 * come to its end.
 */
#include "test/harness.h"

#include "base/pager.h"
#include "test/sim/sim.h"
#include "test/support/store_model.h"
#include "vfs/store_private.h"

enum { PAGES = 12 };

static int edit(struct actor *actor, uint8_t value, struct err *err)
{
	uint8_t bytes[STORE_PAGE_SIZE];
	int rc = store_view_begin(actor->view, err);

	if (!rc)
		rc = store_view_write(actor->view, 0, err);
	for (uint64_t i = 0; i < PAGES && !rc; i++) {
		memset(bytes, (int)(value + i), sizeof bytes);
		rc = store_sqlite_write(actor->view, i * STORE_PAGE_SIZE, bytes,
		                        sizeof bytes, err);
	}
	return rc;
}

static uint64_t free_units(struct actor *actor)
{
	struct space_figures sqlite = { 0 }, catalog = { 0 };

	space_file_figures(&actor->store->space, STORE_SQLITE_FILE_ID, &sqlite);
	space_file_figures(&actor->store->space, STORE_CATALOG_FILE_ID, &catalog);
	return sqlite.free + catalog.free;
}

static bool holds(struct actor *actor, uint8_t value)
{
	uint8_t byte = 0;
	struct err err;
	size_t got;

	return !store_sqlite_read(actor->view, (PAGES - 1) * STORE_PAGE_SIZE,
	                          &byte, 1, &got, &err) &&
	       byte == (uint8_t)(value + PAGES - 1);
}

enum { MANY = 4 * ACTOR_CACHE_KB / (STORE_PAGE_SIZE / 1024) };

/* More than may stay in memory. */
static int edit_many(struct actor *actor, uint8_t value, struct err *err)
{
	uint8_t bytes[STORE_PAGE_SIZE];
	int rc = edit(actor, value, err);

	for (uint64_t i = 0; i < MANY && !rc; i++) {
		memset(bytes, (int)(value + i), sizeof bytes);
		rc = store_sqlite_write(actor->view, i * STORE_PAGE_SIZE, bytes,
		                        sizeof bytes, err);
		if (!rc)
			rc = store_view_operation_end(actor->view, err);
	}
	return rc;
}

/* A spilled page has a place of its own for as long as it is not committed, also when it
 * is written again before that. (vfs/edit E1) */
static void what_was_spilled_for_nothing_is_free_again(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint64_t free_before = 0, spilled;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, edit_many(&actor, 1, &t->err));
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
	                               &t->err));
	store_view_end(actor.view);
	for (uint8_t i = 0; i < 6; i++) {
		spilled = atomic_load(&actor.store->shm.head->spilled_pages);
		EXPECT_OK(t, edit_many(&actor, 2, &t->err));
		EXPECT_OK(t, edit_many(&actor, 3, &t->err));
		EXPECT(t, atomic_load(&actor.store->shm.head->spilled_pages) >
		                  spilled + MANY);
		store_view_rollback(actor.view);
		store_view_end(actor.view);
		EXPECT_OK(t, edit(&actor, 4, &t->err));
		store_view_rollback(actor.view);
		store_view_end(actor.view);
		if (i > 1)
			EXPECT_EQ(t, free_units(&actor), free_before);
		free_before = free_units(&actor);
	}
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

/* What was in memory alone would be lost with it. */
static void a_page_that_cannot_be_spilled_is_an_error(struct test *t)
{
	struct sim_fault no_page = {
		.call = SIM_CALL_WRITE, .path_part = ".tbd", .code = ERR_IO,
		.effect = SIM_FAULT_PART_DONE,
	};
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint64_t free_before;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, edit_many(&actor, 1, &t->err));
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
	                               &t->err));
	store_view_end(actor.view);
	EXPECT_OK(t, edit_many(&actor, 2, &t->err));
	EXPECT_OK(t, edit_many(&actor, 3, &t->err));
	store_view_end(actor.view);
	free_before = free_units(&actor);
	for (no_page.nth = 1; no_page.nth < 30; no_page.nth += 7) {
		sim_fault_add(disk, &no_page);
		EXPECT_EQ(t, edit_many(&actor, 2, &t->err), ERR_IO);
		sim_fault_clear(disk);
		store_view_end(actor.view);
		EXPECT_EQ(t, free_units(&actor), free_before);
	}
	EXPECT_OK(t, edit_many(&actor, 3, &t->err));
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
	                               &t->err));
	EXPECT_OK(t, store_check(actor.view, 1, NULL, NULL, &t->err));
	store_view_end(actor.view);
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

enum { FREED = 6 };

/* A file some of whose pages are free. */
static int make_free_pages(struct actor *actor, uint32_t *file_id, struct err *err)
{
	uint32_t pages[2 * FREED];
	struct pager *pager;
	uint8_t *page;
	int rc = store_view_write(actor->view, 0, err);

	if (!rc)
		rc = store_file_create(actor->view, STORE_FILE_TABLE, "users",
		                       STORE_PAGE_SIZE, file_id, err);
	if (!rc)
		rc = store_pager(actor->view, *file_id, &pager, err);
	for (int i = 0; i < 2 * FREED && !rc; i++)
		rc = pager_allocate(pager, PAGE_LEAF, &pages[i], &page, err);
	for (int i = 0; i < FREED && !rc; i++)
		rc = pager_free(pager, pages[i], err);
	if (!rc)
		rc = store_view_commit(actor->view, STORE_DURABLE_NEVER, err);
	store_view_end(actor->view);
	return rc;
}

/* Without memory at the n-th allocation; then something else, and a commit. */
static int allocate_and_go_on(struct actor *actor, uint32_t file_id, int64_t n,
                              bool *failed, struct err *err)
{
	struct pager *pager;
	uint8_t *bytes;
	uint32_t page_no;
	int rc = store_view_write(actor->view, 0, err);

	if (!rc)
		rc = store_pager(actor->view, file_id, &pager, err);
	if (rc)
		return rc;
	atomic_store(&actor->heap.fail_in, n);
	rc = pager_allocate(pager, PAGE_LEAF, &page_no, &bytes, err);
	atomic_store(&actor->heap.fail_in, 0);
	*failed = rc == ERR_NOMEM;
	if (!rc || *failed)
		rc = pager_state_edit(pager, &bytes, err);
	if (rc)
		return rc;
	bytes[0]++;
	rc = store_view_commit(actor->view, STORE_DURABLE_NEVER, err);
	if (!rc)
		rc = store_check(actor->view, 1, NULL, NULL, err);
	store_view_end(actor->view);
	return rc;
}

/* A row that found no memory changes nothing; its transaction goes on. The page that it
 * would have got was one of the free pages, and the end of their chain. */
static void a_page_that_could_not_be_had_stays_in_its_chain(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint32_t file_id;
	bool failed = true;
	int64_t n;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, make_free_pages(&actor, &file_id, &t->err));
	EXPECT_OK(t, actor_end(&actor, &t->err));
	for (n = 1; failed; n++) {
		EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
		EXPECT_OK(t, allocate_and_go_on(&actor, file_id, n, &failed,
		                                &t->err));
		EXPECT_OK(t, actor_end(&actor, &t->err));
	}
	EXPECT(t, n > 3);
	sim_disk_close(disk);
}

/* Until the record is whole nothing has happened: what was taken is free again, the
 * edits stay, and the commit can be made once more. (vfs/commit C1) */
static void a_commit_that_fails_gives_its_places_back(struct test *t)
{
	static const struct sim_fault no_record = {
		.call = SIM_CALL_WRITE, .path_part = "wal.", .nth = 1,
		.code = ERR_IO, .effect = SIM_FAULT_NOTHING_DONE,
	};
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint64_t free_before;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	for (uint8_t i = 0; i < 6; i++) {
		EXPECT_OK(t, edit(&actor, i, &t->err));
		EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
		                               &t->err));
		store_view_end(actor.view);
	}
	EXPECT_OK(t, edit(&actor, 50, &t->err));
	free_before = free_units(&actor);
	for (int i = 0; i < 8; i++) {
		sim_fault_add(disk, &no_record);
		EXPECT_EQ(t, store_view_commit(actor.view, i & 1
		                               ? STORE_DURABLE_NOW
		                               : STORE_DURABLE_NEVER, &t->err),
		          ERR_IO);
		sim_fault_clear(disk);
		EXPECT_EQ(t, free_units(&actor), free_before);
		EXPECT(t, store_view_writing(actor.view) && holds(&actor, 50));
	}
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NOW, &t->err));
	EXPECT(t, holds(&actor, 50));
	store_view_end(actor.view);
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

/* Whether a page's place may be taken for that use, were it free. */
static bool is_noted(struct actor *actor, uint32_t page_no, enum space_use use)
{
	struct catalog_entry entry;
	struct page_table table;
	struct page_file *file;
	struct page_ref ref = { .length = 0 };
	struct err err;

	if (store_catalog_read(actor->store, &actor->view->root.catalog,
	                       STORE_SQLITE_FILE_ID, &entry, &err) ||
	    store_files_get(actor->store, &entry, &file, &err))
		return false;
	store_entry_table(&entry, &table);
	return !page_table_find(file, &table, page_no, &ref, &err) && ref.length &&
	       space_is_held(&actor->store->space, STORE_SQLITE_FILE_ID,
	                     ref.place, use);
}

static bool are_noted(struct actor *actor, enum space_use use)
{
	for (uint32_t page_no = 0; page_no < PAGES; page_no++)
		if (!is_noted(actor, page_no, use))
			return false;
	return true;
}

/* Until the next checkpoint a replay writes there again: over what a record only names
 * or, with what it holds itself, over a page that a later one only names.
 * (vfs/commit C2, rule 2) */
static void what_a_record_did_with_a_place_is_noted(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	bool done;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, edit(&actor, 7, &t->err));
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
	                               &t->err));
	store_view_end(actor.view);
	EXPECT_OK(t, store_checkpoint(actor.store, &done, &t->err));
	for (uint8_t placed = 0; placed < 2; placed++) {
		EXPECT_OK(t, placed ? edit_many(&actor, 9, &t->err)
		                    : edit(&actor, 8, &t->err));
		EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NOW,
		                               &t->err));
		EXPECT(t, are_noted(&actor, SPACE_PLACED));
		EXPECT(t, are_noted(&actor, SPACE_LOGGED) == placed);
		store_view_end(actor.view);
		EXPECT_OK(t, store_checkpoint(actor.store, &done, &t->err));
		EXPECT_OK(t, store_view_begin(actor.view, &t->err));
		EXPECT_OK(t, store_view_write(actor.view, 0, &t->err));
		EXPECT(t, !is_noted(&actor, 0, SPACE_PLACED));
		store_view_end(actor.view);
	}
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

enum { APART = 200 * STORE_PAGE_SIZE };

static int write_apart(struct actor *actor, uint64_t offset, uint8_t value,
                       struct err *err)
{
	uint8_t bytes[STORE_PAGE_SIZE];
	int rc = store_view_begin(actor->view, err);

	if (!rc)
		rc = store_view_write(actor->view, 0, err);
	memset(bytes, value, sizeof bytes);
	if (!rc)
		rc = store_sqlite_write(actor->view, offset, bytes, sizeof bytes,
		                        err);
	if (!rc)
		rc = store_view_commit(actor->view, STORE_DURABLE_NOW, err);
	store_view_end(actor->view);
	return rc;
}

/* Flips a bit of the map page of sqlite.tbd that does not lead to page 0. */
static bool damage_map(struct sim_disk *disk)
{
	const char *path;
	uint64_t size;

	for (size_t n = 0; (path = sim_file_at(disk, n, &size)) != NULL; n++)
		for (uint64_t at = 0; strstr(path, "sqlite.tbd") && at < size;
		     at += PLACE_SIZE) {
			uint8_t map[MAP_HEAD_SIZE + 8];

			if (!sim_file_peek(disk, path, at, map, sizeof map) ||
			    load_le32(map + MAP_MAGIC_AT) != MAP_MAGIC ||
			    load_le32(map + MAP_LEVEL_AT) != 1 ||
			    load_le64(map + MAP_HEAD_SIZE))
				continue;
			map[MAP_HEAD_SIZE] ^= 1;
			return sim_file_poke(disk, path, at, map, sizeof map);
		}
	return false;
}

/* Whatever such a page leads to would count as free. */
static void beside_a_damaged_map_page_nothing_is_written(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, write_apart(&actor, 0, 1, &t->err));
	EXPECT_OK(t, write_apart(&actor, APART, 2, &t->err));
	EXPECT_OK(t, actor_end(&actor, &t->err));
	EXPECT(t, damage_map(disk));
	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	for (int i = 0; i < 2; i++)
		EXPECT_ERR(t, write_apart(&actor, 0, 3, &t->err), ERR_CORRUPT,
		           "read map page 1 of level 1");
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

enum { SMALL_FILES = 20 };

static int make_small_files(struct actor *actor, struct err *err)
{
	int rc = ERR_NONE;

	for (int i = 0; i < SMALL_FILES && !rc; i++) {
		uint32_t file_id, page_no;
		struct pager *pager;
		uint8_t *page;

		rc = store_file_create(actor->view, STORE_FILE_TABLE, "small",
		                       PLACE_SIZE, &file_id, err);
		if (!rc)
			rc = store_pager(actor->view, file_id, &pager, err);
		if (!rc)
			rc = pager_allocate(pager, PAGE_LEAF, &page_no, &page,
			                    err);
	}
	return rc;
}

/* The others' pages are in the record. */
static void of_a_large_commit_files_that_get_much_are_synced(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint64_t syncs, directory_syncs;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, edit(&actor, 1, &t->err));
	EXPECT_OK(t, edit_many(&actor, 1, &t->err));
	EXPECT_OK(t, make_small_files(&actor, &t->err));
	syncs = sim_call_count(disk, SIM_CALL_SYNC);
	directory_syncs = sim_call_count(disk, SIM_CALL_DIRECTORY_SYNC);
	EXPECT_OK(t, store_view_commit(actor.view, STORE_DURABLE_NEVER,
	                               &t->err));
	EXPECT_EQ(t, sim_call_count(disk, SIM_CALL_SYNC) - syncs, 1);
	EXPECT_EQ(t, sim_call_count(disk, SIM_CALL_DIRECTORY_SYNC) -
	                     directory_syncs, 1);
	store_view_end(actor.view);
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

/* More than a segment holds. */
static int edit_and_commit(struct actor *actor, uint64_t *seed, int64_t fail_in,
                           enum store_durability durability, bool *hit,
                           struct err *err)
{
	uint8_t bytes[STORE_PAGE_SIZE];
	int rc = edit(actor, 1, err);

	for (uint64_t i = 0; i < PAGES && !rc; i++) {
		for (size_t at = 0; at < sizeof bytes; at += 8)
			store_le64(bytes + at, test_random(seed));
		rc = store_sqlite_write(actor->view, i * STORE_PAGE_SIZE, bytes,
		                        sizeof bytes, err);
	}
	atomic_store(&actor->heap.fail_in, fail_in);
	if (!rc)
		rc = store_view_commit(actor->view, durability, err);
	*hit = atomic_load(&actor->heap.fail_in) < 0 ||
	       (fail_in && !atomic_load(&actor->heap.fail_in));
	atomic_store(&actor->heap.fail_in, 0);
	store_view_end(actor->view);
	return rc;
}

/* The first durable commit after many that were not lists the segments that nobody
 * synced. Without memory for that it is not known to be durable, but no sync has failed:
 * the next one makes up for it. (vfs/checkpoint P3, rule 9) */
static void who_could_not_begin_a_sync_poisons_nobody(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	uint64_t seed = t->seed;
	unsigned outcomes = 0;
	struct actor actor;
	bool hit = true;
	int rc;

	sim_trace_stop(disk);
	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	for (int64_t n = 1; hit; n++) {
		for (int i = 0; i < 4; i++)
			EXPECT_OK(t, edit_and_commit(&actor, &seed, 0,
			                             STORE_DURABLE_NEVER,
			                             &hit, &t->err));
		rc = edit_and_commit(&actor, &seed, n, STORE_DURABLE_NOW, &hit,
		                     &t->err);
		EXPECT(t, !rc || rc == ERR_NOMEM || rc == ERR_OUTCOME);
		outcomes += rc == ERR_OUTCOME;
	}
	EXPECT(t, outcomes > 0);
	EXPECT_OK(t, actor_end(&actor, &t->err));
	sim_disk_close(disk);
}

struct found {
	bool any, meta;
};

static int note_entry(void *context, const char *entry)
{
	struct found *found = context;

	found->any = true;
	found->meta |= strcmp(entry, "turdb.meta") == 0;
	return 0;
}

/* Empty, or with a turdb.meta: only then an opening makes a database of it. */
static bool is_for_a_database(struct sim_disk *disk)
{
	struct os *os = sim_process_open(disk);
	struct found found = { false, false };
	struct os_file *dir;
	struct err err;

	if (!os->methods->directory_open(os, "/app", &dir, &err)) {
		os->methods->directory_list(dir, NULL, note_entry, &found, &err);
		os_close(dir);
	}
	sim_process_close(os);
	return found.meta || !found.any;
}

/* A directory with a part of a database in it and no turdb.meta is somebody else's: a
 * creation never leaves that. (vfs/directory D1) */
static void a_creation_that_the_power_ends_can_be_made_again(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	uint64_t length;

	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	length = sim_trace_length(disk);
	actor_die(&actor);
	EXPECT(t, length > 10);
	for (uint64_t at = 0; at <= length && !t->failed; at++)
		for (uint64_t seed = 0; seed < 24 && !t->failed; seed++) {
			struct sim_disk *crashed = sim_crash(
				disk, at, SIM_CRASH_NAMES, seed + 1, NULL);

			if (!is_for_a_database(crashed) ||
			    actor_start(&actor, crashed, 0, &t->err))
				test_fail(t, __FILE__, __LINE__,
				          "call %llu, seed %llu: %s",
				          (unsigned long long)at,
				          (unsigned long long)seed, t->err.text);
			else
				actor_die(&actor);
			sim_disk_close(crashed);
		}
	sim_disk_close(disk);
}

static const struct test_case cases[] = {
	CASE(a_commit_that_fails_gives_its_places_back),
	CASE(what_a_record_did_with_a_place_is_noted),
	CASE(beside_a_damaged_map_page_nothing_is_written),
	CASE(a_page_that_cannot_be_spilled_is_an_error),
	CASE(a_page_that_could_not_be_had_stays_in_its_chain),
	CASE(of_a_large_commit_files_that_get_much_are_synced),
	CASE(who_could_not_begin_a_sync_poisons_nobody),
	CASE(what_was_spilled_for_nothing_is_free_again),
	CASE(a_creation_that_the_power_ends_can_be_made_again),
};
TEST_MAIN(cases)
