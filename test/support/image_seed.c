/*
 * image_seed.c - see image_seed.h.
 */
#include "test/support/image_seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pager.h"
#include "test/support/sql_rig.h"
#include "vfs/store.h"

enum { SEGMENT_SIZE = 16384, PAGES = 200, FILES = 18 };

static struct image seeds[IMAGE_SEED_KINDS];

static void must(int rc, const struct err *err)
{
	if (rc) {
		fprintf(stderr, "image_seed: %s\n", err->text);
		abort();
	}
}

/* --- through SQL --------------------------------------------------------------------- */

static const char tables[] =
	"CREATE TABLE plain(a INTEGER PRIMARY KEY, b TEXT, c);"
	"CREATE INDEX plain_b ON plain(b);"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30)"
	" INSERT INTO plain SELECT i, 'b' || (i % 7), zeroblob(i) FROM n;"
	"CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY,"
	" name TEXT UNIQUE COLLATE NOCASE, n INTEGER, r REAL, d,"
	" INDEX t_n (n DESC, r));"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 120)"
	" INSERT INTO t SELECT i, 'name ' || i, i % 10, i / 4.0,"
	" hex(zeroblob(100)) FROM n;"
	"INSERT INTO t VALUES (1000, NULL, -1, 1e300, hex(zeroblob(12000)));"
	"DELETE FROM t WHERE id % 9 = 0;"
	"CREATE VIRTUAL TABLE v USING turdb(id INTEGER PRIMARY KEY, tag TEXT,"
	" face VECTOR(4) HNSW (metric='l2', m=4, ef_construction=16));"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)"
	" INSERT INTO v SELECT i, 'tag', '[' || i || ',' || (i * i % 17) ||"
	" ',1,' || (i * 7 % 13) || ']' FROM n;"
	"DELETE FROM v WHERE id % 8 = 0;";

static const char in_the_log[] =
	"UPDATE t SET n = n + 1 WHERE id < 20;"
	"INSERT INTO plain VALUES (100, 'in the log', 1);"
	"INSERT INTO t(id, name, n) VALUES (2000, 'in the log', 5);"
	"INSERT INTO v VALUES (500, 'in the log', '[1,2,3,4]');"
	"DELETE FROM v WHERE id = 3;"
	"CREATE VIRTUAL TABLE w USING turdb(id INTEGER PRIMARY KEY, x UNIQUE);"
	"INSERT INTO w VALUES (1, 'one'), (2, 'two');"
	"DROP TABLE plain;";

static const char codes[] =
	"CREATE VIRTUAL TABLE v USING turdb(id INTEGER PRIMARY KEY, tag TEXT,"
	" face VECTOR(3) HNSW (metric='cosine', m=3, ef_construction=8,"
	" quantize='sq8'));"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300)"
	" INSERT INTO v SELECT i, NULL, '[' || (i % 29) || ',' || (i * i % 17) ||"
	" ',' || (i * 7 % 13 + 1) || ']' FROM n;"
	"DELETE FROM v WHERE id % 10 = 0;";

static void make_by_sql(struct image *image, const char *closed,
                        const char *killed)
{
	struct store_options options = { .create = true,
	                                 .log_segment_size = SEGMENT_SIZE };
	struct sim_disk *disk = sim_disk_create(NULL);
	struct sql_process process;
	struct store *store;
	struct err err;

	sim_trace_stop(disk);
	must(sql_rig_start(&err), &err);
	must(sql_process_start(&process, disk, &err), &err);
	must(store_open(process.stores, "/app", &options, &store, &err), &err);
	must(store_close(store, &err), &err);
	must(sql_open(&process, "", &err), &err);
	must(sql_run(process.db, closed, &err), &err);
	if (killed) {
		sql_close(&process);
		must(sql_open(&process, "", &err), &err);
		must(sql_run(process.db, killed, &err), &err);
		sim_process_kill(process.os);
	}
	sql_process_end(&process);
	image_take(image, disk);
	sim_disk_close(disk);
}

/* --- through the store ----------------------------------------------------------------- */

/* A simulated process with a store of small segments and a small budget. */
struct maker {
	struct sim_disk *disk;
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

static void maker_open(struct maker *maker)
{
	struct store_options options = { .create = true, .cache_kb = 256,
	                                 .log_segment_size = SEGMENT_SIZE };
	struct err err;

	maker->disk = sim_disk_create(NULL);
	sim_trace_stop(maker->disk);
	heap_init(&maker->heap);
	maker->os = sim_process_open(maker->disk);
	must(store_environment_open(maker->os, &maker->heap,
	                            &maker->environment, &err), &err);
	must(store_open(maker->environment, "/app", &options, &maker->store,
	                &err), &err);
	must(store_view_open(maker->store, &maker->view, &err), &err);
}

/* `dies`: what is only in the log stays there. */
static void maker_end(struct maker *maker, bool dies, struct image *image)
{
	struct err err;

	if (dies)
		sim_process_kill(maker->os);
	store_view_close(maker->view);
	store_close(maker->store, &err);
	store_environment_close(maker->environment);
	sim_process_close(maker->os);
	image_take(image, maker->disk);
	sim_disk_close(maker->disk);
}

static void begin(struct maker *maker)
{
	struct err err;

	must(store_view_write(maker->view, 0, &err), &err);
}

static void commit(struct maker *maker)
{
	struct err err;

	must(store_view_commit(maker->view, STORE_DURABLE_NOW, &err), &err);
	store_view_end(maker->view);
}

static uint32_t file_make(struct maker *maker, uint32_t page_size,
                          uint32_t pages)
{
	struct pager *pager;
	uint8_t *page;
	uint32_t id, page_no;
	struct err err;

	must(store_file_create(maker->view, STORE_FILE_TABLE, "seed", page_size,
	                       &id, &err), &err);
	must(store_pager(maker->view, id, &pager, &err), &err);
	for (uint32_t i = 0; i < pages; i++) {
		must(pager_allocate(pager, PAGE_LEAF, &page_no, &page, &err),
		     &err);
		store_le32(page, i + 1);
		must(store_view_operation_end(maker->view, &err), &err);
	}
	return id;
}

static void page_edit(struct maker *maker, uint32_t id, uint32_t page_no,
                      uint32_t size)
{
	struct pager *pager;
	uint8_t *page;
	struct err err;

	must(store_pager(maker->view, id, &pager, &err), &err);
	must(pager_edit(pager, page_no, &page, &err), &err);
	memset(page + 50, (int)size, size);
}

static void page_drop(struct maker *maker, uint32_t id, uint32_t page_no)
{
	struct pager *pager;
	struct err err;

	must(store_pager(maker->view, id, &pager, &err), &err);
	must(pager_free(pager, page_no, &err), &err);
}

static void sqlite_write(struct maker *maker, uint64_t at)
{
	struct err err;

	must(store_sqlite_write(maker->view, at, "sqlite", 6, &err), &err);
}

/* A base, then records of every kind over several segments, then death. */
static void make_log(struct image *image)
{
	struct maker maker = { .disk = NULL };
	uint32_t large, small, placed;
	struct err err;
	bool done;

	maker_open(&maker);
	begin(&maker);
	large = file_make(&maker, 16384, 6);
	small = file_make(&maker, 4096, 8);
	sqlite_write(&maker, 50000);
	commit(&maker);
	must(store_checkpoint(maker.store, &done, &err), &err);
	for (uint32_t i = 1; i < 6; i++) {
		begin(&maker);
		page_edit(&maker, large, i, 1500);
		page_edit(&maker, small, i % 2 + 1, 10 * i);
		page_drop(&maker, small, i + 2);
		sqlite_write(&maker, i * 10000);
		commit(&maker);
	}
	begin(&maker);
	placed = file_make(&maker, 16384, 40); /* more than the budget */
	commit(&maker);
	begin(&maker);
	page_edit(&maker, placed, 3, 100);
	must(store_sqlite_truncate(maker.view, 20000, &err), &err);
	commit(&maker);
	begin(&maker);
	page_drop(&maker, placed, 7);
	file_make(&maker, 4096, 3);
	commit(&maker);
	maker_end(&maker, true, image);
}

static void make_deep(struct image *image)
{
	struct maker maker = { .disk = NULL };

	maker_open(&maker);
	begin(&maker);
	for (uint32_t i = 0; i < FILES; i++) {
		uint32_t id = file_make(&maker, 4096, i ? 1 : PAGES);

		for (uint32_t n = 2; i == 0 && n < PAGES; n += 5)
			page_drop(&maker, id, n);
	}
	commit(&maker);
	maker_end(&maker, false, image);
}

const struct image *image_seed(enum image_seed_kind kind)
{
	struct image *image = &seeds[kind];

	if (image->count)
		return image;
	switch (kind) {
	case IMAGE_SEED_TABLES:
		make_by_sql(image, tables, NULL);
		break;
	case IMAGE_SEED_KILLED:
		make_by_sql(image, tables, in_the_log);
		break;
	case IMAGE_SEED_CODES:
		make_by_sql(image, codes, NULL);
		break;
	case IMAGE_SEED_LOG:
		make_log(image);
		break;
	default:
		make_deep(image);
	}
	return image;
}
