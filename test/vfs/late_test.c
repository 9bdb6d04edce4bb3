/*
 * late_test.c - images that a lone durable commit writes behind its record.
 */
#include "test/harness.h"
#include "test/sim/sim.h"

#include "vfs/store.h"

struct process {
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

struct scene {
	struct test *t;
	struct heap heap;
	struct sim_disk *disk;
	struct process first, second;
};

static int process_start(struct scene *s, struct process *p)
{
	struct store_options options = { .create = true };
	int rc;

	p->os = sim_process_open(s->disk);
	rc = store_environment_open(p->os, &s->heap, &p->environment,
	                            &s->t->err);
	if (!rc)
		rc = store_open(p->environment, "db", &options, &p->store,
		                &s->t->err);
	return rc ? rc : store_view_open(p->store, &p->view, &s->t->err);
}

/* Ends a process that may be dead. */
static void process_end(struct scene *s, struct process *p)
{
	if (!p->os)
		return;
	store_view_close(p->view);
	store_close(p->store, &s->t->err);
	store_environment_close(p->environment);
	sim_process_close(p->os);
	p->os = NULL;
}

/* Who takes over from a dead writer finds a newer snapshot than its own. */
static int begin(struct scene *s, struct process *p)
{
	int rc;

	do {
		store_view_end(p->view);
		rc = store_view_begin(p->view, &s->t->err);
		if (!rc)
			rc = store_view_write(p->view, 0, &s->t->err);
	} while (rc == ERR_BUSY_SNAPSHOT);
	return rc;
}

static int put(struct scene *s, struct process *p, uint8_t value)
{
	uint8_t bytes[16384];
	int rc = begin(s, p);

	memset(bytes, value, sizeof bytes);
	if (!rc)
		rc = store_sqlite_write(p->view, 0, bytes, sizeof bytes,
		                        &s->t->err);
	if (!rc)
		rc = store_view_commit(p->view, STORE_DURABLE_NOW, &s->t->err);
	store_view_end(p->view);
	return rc;
}

static int get(struct scene *s, struct process *p)
{
	uint8_t byte = 0;
	size_t got;

	if (store_view_begin(p->view, &s->t->err) ||
	    store_sqlite_read(p->view, 16383, &byte, 1, &got, &s->t->err) ||
	    store_check(p->view, 1, NULL, NULL, &s->t->err))
		return -1;
	store_view_end(p->view);
	return byte;
}

static int scene_start(struct test *t, struct scene *s)
{
	struct sim_options options = { .seed = t->seed };
	int rc;

	memset(s, 0, sizeof *s);
	s->t = t;
	heap_init(&s->heap);
	s->disk = sim_disk_create(&options);
	rc = process_start(s, &s->first);
	if (!rc)
		rc = process_start(s, &s->second);
	return rc ? rc : put(s, &s->first, 1);
}

static void scene_end(struct scene *s)
{
	process_end(s, &s->first);
	process_end(s, &s->second);
	sim_disk_close(s->disk);
}

struct order {
	uint64_t log_at, page_at;
	unsigned refused;
};

static int note_order(void *context, struct os *os, enum sim_call call,
                      const char *name, uint64_t index, struct err *err)
{
	struct order *order = context;

	(void)os, (void)err;
	if (call == SIM_CALL_WRITE && strstr(name, "wal."))
		order->log_at = index + 1;
	if (call == SIM_CALL_WRITE && strstr(name, ".tbd"))
		order->page_at = index + 1;
	return ERR_NONE;
}

static void a_lone_durable_commit_appends_first(struct test *t)
{
	struct order order = { 0 };
	struct scene s;

	EXPECT_OK(t, scene_start(t, &s));
	sim_hook_set(s.disk, note_order, &order);
	EXPECT_OK(t, put(&s, &s.first, 2));
	sim_hook_set(s.disk, NULL, NULL);
	EXPECT(t, order.log_at && order.page_at > order.log_at);
	EXPECT_EQ(t, get(&s, &s.second), 2);
	scene_end(&s);
}

enum { PAGE = 16384, MANY = 200 };

static int put_many(struct scene *s, struct process *p, uint64_t pages)
{
	static uint8_t bytes[PAGE];
	int rc = begin(s, p);

	for (uint64_t i = 0; i < pages && !rc; i++) {
		memset(bytes, (int)i + 7, sizeof bytes);
		rc = store_sqlite_write(p->view, i * PAGE, bytes, sizeof bytes,
		                        &s->t->err);
	}
	if (!rc)
		rc = store_sqlite_truncate(p->view, pages * PAGE, &s->t->err);
	if (!rc)
		rc = store_view_commit(p->view, STORE_DURABLE_NOW, &s->t->err);
	store_view_end(p->view);
	return rc;
}

/* The first image behind the record does not get there. */
static int refuse_image_behind_record(void *context, struct os *os,
                                      enum sim_call call, const char *name,
                                      uint64_t index, struct err *err)
{
	struct order *order = context;

	note_order(context, os, call, name, index, err);
	if (call != SIM_CALL_WRITE || !strstr(name, ".tbd") || !order->log_at ||
	    order->refused++)
		return ERR_NONE;
	return err_set(err, ERR_IO, "write", name, "the test says no");
}

/* A record cannot make again what it only names: of a large commit nothing but map
 * pages is put off. (vfs/late T1) */
static void pages_that_a_record_only_names_are_written_before_it(struct test *t)
{
	struct order order = { 0 };
	struct scene s;

	EXPECT_OK(t, scene_start(t, &s));
	sim_hook_set(s.disk, refuse_image_behind_record, &order);
	EXPECT_OK(t, put_many(&s, &s.first, MANY));
	sim_hook_set(s.disk, NULL, NULL);
	EXPECT(t, order.refused);
	EXPECT(t, get(&s, &s.first) >= 0);
	scene_end(&s);
}

enum { LATE_IMAGES = 16, LATE_COPIES = 8, APART = 200 * PAGE };

/* Pages so far from each other that each has a map page of its own. */
static int put_apart(struct scene *s, struct process *p, uint64_t pages,
                     uint8_t value)
{
	uint8_t bytes[PAGE];
	int rc = begin(s, p);

	memset(bytes, value, sizeof bytes);
	for (uint64_t i = 0; i < pages && !rc; i++)
		rc = store_sqlite_write(p->view, i * APART, bytes,
		                        sizeof bytes, &s->t->err);
	if (!rc)
		rc = store_view_commit(p->view, STORE_DURABLE_NOW, &s->t->err);
	store_view_end(p->view);
	return rc;
}

static bool are_apart(struct scene *s, struct process *p, uint64_t pages,
                      uint8_t value)
{
	bool same = store_view_begin(p->view, &s->t->err) == ERR_NONE;
	uint8_t byte;
	size_t got;

	for (uint64_t i = 0; i < pages && same; i++)
		same = !store_sqlite_read(p->view, i * APART + PAGE - 1, &byte,
		                          1, &got, &s->t->err) &&
		       got == 1 && byte == value;
	same = same && !store_check(p->view, 1, NULL, NULL, &s->t->err);
	store_view_end(p->view);
	return same;
}

struct behind {
	bool record;
	unsigned pages; /* written behind the record, maps and catalog too */
};

static int count_behind(void *context, struct os *os, enum sim_call call,
                        const char *name, uint64_t index, struct err *err)
{
	struct behind *behind = context;

	(void)os, (void)index, (void)err;
	if (call != SIM_CALL_WRITE)
		return ERR_NONE;
	if (strstr(name, "wal."))
		behind->record = true;
	else
		behind->pages += behind->record;
	return ERR_NONE;
}

/* Whatever there is no room for is written before the record: images, and map pages,
 * of which copies are kept. */
static void no_more_is_put_off_than_there_is_room_for(struct test *t)
{
	struct scene s;

	EXPECT_OK(t, scene_start(t, &s));
	EXPECT_OK(t, put_apart(&s, &s.first, LATE_IMAGES + 4, 0xff));
	for (unsigned pages = 1; pages <= LATE_IMAGES + 4; pages++) {
		unsigned images = pages < LATE_IMAGES ? pages : LATE_IMAGES;
		struct behind behind = { false, 0 };

		sim_hook_set(s.disk, count_behind, &behind);
		EXPECT_OK(t, put_apart(&s, &s.first, pages, (uint8_t)pages));
		sim_hook_set(s.disk, NULL, NULL);
		EXPECT(t, behind.pages >= images);
		EXPECT(t, behind.pages <= LATE_IMAGES);
		EXPECT(t, behind.pages - images <= LATE_COPIES);
		EXPECT(t, are_apart(&s, &s.second, pages, (uint8_t)pages));
	}
	scene_end(&s);
}

/* What the record's pages need is met before it, while the commit can still be taken
 * back: here addresses for a file that has grown. (vfs/late T3) */
static void a_file_that_cannot_be_mapped_fails_before_the_record(struct test *t)
{
	static const struct sim_fault no_map = {
		.call = SIM_CALL_MAP, .path_part = ".tbd", .nth = 1,
		.sticky = true, .code = ERR_NOMEM,
	};
	uint64_t pages = LATE_IMAGES;
	struct scene s;
	int rc = ERR_NONE;

	EXPECT_OK(t, scene_start(t, &s));
	EXPECT_OK(t, put_apart(&s, &s.first, pages, 1));
	sim_fault_add(s.disk, &no_map);
	while (!rc && pages < MANY)
		rc = put_apart(&s, &s.first, ++pages, 1);
	EXPECT_EQ(t, rc, ERR_NOMEM);
	sim_fault_clear(s.disk);
	EXPECT(t, are_apart(&s, &s.second, pages - 1, 1));
	EXPECT_OK(t, put_apart(&s, &s.second, pages, 2));
	EXPECT(t, are_apart(&s, &s.first, pages, 2));
	scene_end(&s);
}

static const struct os_methods *whole;

static int with_a_hole(struct os_file *file, struct os_identity *identity,
                       struct err *err)
{
	int rc = whole->identity(file, identity, err);

	if (!rc && strstr(file->name, ".tbd"))
		identity->allocated -= PAGE;
	return rc;
}

/* There writing may find the disk full, when the record cannot be taken back any more.
 * (vfs/late T3) */
static void a_file_with_holes_is_written_before_the_record(struct test *t)
{
	struct order order = { 0 };
	struct os_methods methods;
	struct scene s;
	bool done;

	EXPECT_OK(t, scene_start(t, &s));
	whole = s.first.os->methods;
	methods = *whole;
	methods.identity = with_a_hole;
	s.first.os->methods = &methods;
	EXPECT_OK(t, put_many(&s, &s.first, MANY));
	EXPECT_OK(t, put_many(&s, &s.first, 1));
	EXPECT_OK(t, store_checkpoint(s.first.store, &done, &t->err));
	sim_hook_set(s.disk, note_order, &order);
	EXPECT_OK(t, put(&s, &s.first, 2));
	sim_hook_set(s.disk, NULL, NULL);
	EXPECT(t, order.page_at && order.log_at > order.page_at);
	s.first.os->methods = whole;
	scene_end(&s);
}

static const struct sim_fault no_page = {
	.call = SIM_CALL_WRITE, .path_part = ".tbd", .nth = 1, .code = ERR_IO,
	.effect = SIM_FAULT_PART_DONE,
};

/* The record says all that the page does: nobody need know. (vfs/commit C4) */
static void a_page_that_cannot_be_written_is_made_from_the_record(struct test *t)
{
	struct scene s;

	EXPECT_OK(t, scene_start(t, &s));
	sim_fault_add(s.disk, &no_page);
	EXPECT_OK(t, put(&s, &s.first, 2));
	EXPECT_EQ(t, sim_fault_hits(s.disk), 1);
	EXPECT_EQ(t, get(&s, &s.first), 2);
	EXPECT_EQ(t, get(&s, &s.second), 2);
	EXPECT_OK(t, put(&s, &s.second, 3));
	EXPECT_EQ(t, get(&s, &s.first), 3);
	process_end(&s, &s.first);
	process_end(&s, &s.second);
	EXPECT_OK(t, process_start(&s, &s.first));
	EXPECT_EQ(t, get(&s, &s.first), 3);
	scene_end(&s);
}

/* (vfs/commit C4) */
static void when_nothing_can_be_written_the_next_writer_finishes(struct test *t)
{
	struct sim_fault never = no_page;
	struct scene s;

	never.sticky = true;
	EXPECT_OK(t, scene_start(t, &s));
	sim_fault_add(s.disk, &never);
	EXPECT_EQ(t, put(&s, &s.first, 2), ERR_OUTCOME);
	EXPECT_EQ(t, get(&s, &s.first), 1);
	EXPECT(t, put(&s, &s.second, 3) != ERR_NONE);
	sim_fault_clear(s.disk);
	EXPECT_OK(t, begin(&s, &s.second));
	store_view_rollback(s.second.view);
	store_view_end(s.second.view);
	EXPECT_EQ(t, get(&s, &s.first), 2);
	EXPECT_OK(t, put(&s, &s.first, 4));
	EXPECT_EQ(t, get(&s, &s.second), 4);
	scene_end(&s);
}

/* Each call of a commit is the last one once. (vfs/late T2, rule 1) */
static void a_writer_may_die_between_record_and_page(struct test *t)
{
	uint64_t calls = 0;
	bool died = true;

	for (; died && !t->failed; calls++) {
		struct scene s;
		int found;

		EXPECT_OK(t, scene_start(t, &s));
		sim_process_kill_after(s.first.os, calls / 2, calls % 2);
		put(&s, &s.first, 2);
		died = sim_process_is_dead(s.first.os);
		EXPECT_OK(t, put(&s, &s.second, 3));
		found = get(&s, &s.second);
		EXPECT_EQ(t, found, 3);
		scene_end(&s);
	}
	EXPECT(t, calls > 8);
}

static const struct test_case cases[] = {
	CASE(a_lone_durable_commit_appends_first),
	CASE(pages_that_a_record_only_names_are_written_before_it),
	CASE(no_more_is_put_off_than_there_is_room_for),
	CASE(a_file_that_cannot_be_mapped_fails_before_the_record),
	CASE(a_file_with_holes_is_written_before_the_record),
	CASE(a_page_that_cannot_be_written_is_made_from_the_record),
	CASE(when_nothing_can_be_written_the_next_writer_finishes),
	CASE(a_writer_may_die_between_record_and_page),
};
TEST_MAIN(cases)
