/*
 * fetch_test.c - SQLite reads pages of a directory database where they lie: by
 * xFetch, in the map, not by xRead into its own memory, unless it reads the same
 * few again and again.
 */
#include "test/harness.h"

#include <string.h>

#include "test/sim/sim.h"
#include "test/support/sql_rig.h"

/* The file's methods, with these two counted. One file in one thread. */
static struct counted {
	sqlite3_io_methods methods;
	const sqlite3_io_methods *real;
	uint64_t reads, read_bytes, fetches, lent;
} counted;

static int count_read(sqlite3_file *file, void *to, int size,
                      sqlite3_int64 offset)
{
	counted.reads++;
	counted.read_bytes += (uint64_t)size;
	return counted.real->xRead(file, to, size, offset);
}

static int count_fetch(sqlite3_file *file, sqlite3_int64 offset, int size,
                       void **bytes)
{
	int rc = counted.real->xFetch(file, offset, size, bytes);

	counted.fetches++;
	counted.lent += rc == SQLITE_OK && *bytes != NULL;
	return rc;
}

static void count_calls(struct test *t, sqlite3 *db)
{
	sqlite3_file *file = NULL;

	EXPECT_EQ(t, sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER,
	                                  &file), SQLITE_OK);
	if (t->failed)
		return;
	counted = (struct counted){ .methods = *file->pMethods,
	                            .real = file->pMethods };
	counted.methods.xRead = count_read;
	counted.methods.xFetch = count_fetch;
	file->pMethods = &counted.methods;
}

static void stop_counting(sqlite3 *db)
{
	sqlite3_file *file = NULL;

	sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	file->pMethods = counted.real;
}

static void pages_are_read_where_they_lie(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct sql_process process;
	int64_t pages = 0, sum = 0;

	sim_trace_stop(disk);
	EXPECT_OK(t, sql_rig_start(&t->err));
	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	EXPECT_OK(t, sql_open(&process, "", &t->err));
	EXPECT_OK(t, sql_run(process.db,
		"CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<4000)"
		" INSERT INTO t SELECT i, zeroblob(500) FROM n", &t->err));
	sql_close(&process);
	EXPECT_OK(t, sql_open(&process, "", &t->err));
	EXPECT_OK(t, sql_number(process.db, "PRAGMA page_count", &pages, &t->err));
	count_calls(t, process.db);
	EXPECT_OK(t, sql_number(process.db, "SELECT sum(length(v)) FROM t", &sum,
	                        &t->err));
	stop_counting(process.db);
	printf("note %lld pages: %llu fetches, %llu lent; %llu reads of %llu bytes\n",
	       (long long)pages, (unsigned long long)counted.fetches,
	       (unsigned long long)counted.lent,
	       (unsigned long long)counted.reads,
	       (unsigned long long)counted.read_bytes);
	EXPECT_EQ(t, sum, 4000 * 500);
	EXPECT(t, counted.lent >= (uint64_t)pages - 2);
	EXPECT_EQ(t, counted.lent, counted.fetches);
	EXPECT(t, counted.reads <= 3 && counted.read_bytes < 20000);
	sql_close(&process);
	sql_process_end(&process);
	sim_disk_close(disk);
}

/* A table of one-kilobyte rows in a directory of its own, and a connection. */
struct bed {
	struct sim_disk *disk;
	struct sql_process process;
	int64_t rows;
};

static void bed_open(struct test *t, struct bed *bed, int64_t rows)
{
	char sql[300];

	bed->disk = sim_disk_create(NULL);
	bed->rows = rows;
	sim_trace_stop(bed->disk);
	snprintf(sql, sizeof sql,
	         "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER, b);"
	         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
	         "WHERE i<%lld) INSERT INTO t SELECT i, i*3, zeroblob(1000) FROM n",
	         (long long)rows);
	EXPECT_OK(t, sql_rig_start(&t->err));
	EXPECT_OK(t, sql_process_start(&bed->process, bed->disk, &t->err));
	EXPECT_OK(t, sql_open(&bed->process, "", &t->err));
	EXPECT_OK(t, sql_run(bed->process.db, sql, &t->err));
	sql_close(&bed->process);
	EXPECT_OK(t, sql_open(&bed->process, "", &t->err));
}

static void bed_close(struct bed *bed)
{
	sql_close(&bed->process);
	sql_process_end(&bed->process);
	sim_disk_close(bed->disk);
}

/* Each a read transaction of its own. `added` is what the newest commit says. */
static void read_rows(struct test *t, sqlite3 *db, int64_t rows, int selects,
                      int64_t added)
{
	sqlite3_stmt *statement = NULL;

	EXPECT_EQ(t, sqlite3_prepare_v2(db, "SELECT v FROM t WHERE id=?", -1,
	                                &statement, NULL), SQLITE_OK);
	for (int i = 0; i < selects; i++) {
		int64_t id = i * 7919 % rows + 1;

		sqlite3_bind_int64(statement, 1, id);
		EXPECT_EQ(t, sqlite3_step(statement), SQLITE_ROW);
		EXPECT_EQ(t, sqlite3_column_int64(statement, 0), id * 3 + added);
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
}

static void a_few_pages_read_again_and_again_are_copied(struct test *t)
{
	struct bed bed;
	int64_t limit = 0;

	bed_open(t, &bed, 300); /* 20 pages; 64 touches each are enough */
	read_rows(t, bed.process.db, bed.rows, 5, 0);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 100, 0);
	EXPECT_EQ(t, counted.lent, 200);
	read_rows(t, bed.process.db, bed.rows, 2000, 0);
	EXPECT(t, counted.lent < 2000 && counted.read_bytes > 16 * 16384);
	stop_counting(bed.process.db);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 2000, 0);
	EXPECT_EQ(t, counted.fetches, 0);
	EXPECT(t, counted.read_bytes <= 2000 * 16); /* the change counter */
	EXPECT_OK(t, sql_number(bed.process.db, "PRAGMA mmap_size", &limit,
	                        &t->err));
	EXPECT_EQ(t, limit, 2147418112);
	stop_counting(bed.process.db);
	bed_close(&bed);
}

static void what_does_not_fit_into_the_cache_is_not_copied(struct test *t)
{
	struct bed bed;

	bed_open(t, &bed, 300);
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA cache_size=-100", &t->err));
	read_rows(t, bed.process.db, bed.rows, 3000, 0);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 3000, 0);
	EXPECT_EQ(t, counted.lent, 6000);
	EXPECT(t, counted.read_bytes <= 3000 * 16);
	stop_counting(bed.process.db);
	/* A larger cache is noticed, and a smaller one again. */
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA cache_size=-2000", &t->err));
	read_rows(t, bed.process.db, bed.rows, 100, 0);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 1000, 0);
	EXPECT_EQ(t, counted.fetches, 0);
	stop_counting(bed.process.db);
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA cache_size=-100", &t->err));
	read_rows(t, bed.process.db, bed.rows, 100, 0);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 1000, 0);
	EXPECT_EQ(t, counted.lent, 2000);
	stop_counting(bed.process.db);
	bed_close(&bed);
}

/* Each commit of another connection makes SQLite throw its copies away. */
static void pages_that_others_change_are_borrowed_again(struct test *t)
{
	sqlite3 *writer, *reader;
	struct bed bed;

	bed_open(t, &bed, 300);
	reader = bed.process.db;
	EXPECT_OK(t, sql_open(&bed.process, "", &t->err));
	writer = bed.process.db;
	read_rows(t, reader, bed.rows, 3000, 0);
	count_calls(t, reader);
	read_rows(t, reader, bed.rows, 50, 0);
	EXPECT_EQ(t, counted.fetches, 0);
	for (int i = 1; i <= 40; i++) {
		EXPECT_OK(t, sql_run(writer, "UPDATE t SET v=v+1", &t->err));
		read_rows(t, reader, bed.rows, 10, i);
	}
	EXPECT(t, counted.lent > 100);
	counted.lent = counted.fetches = 0;
	read_rows(t, reader, bed.rows, 50, 40);
	EXPECT_EQ(t, counted.lent, 100);
	/* And are copied when they have stayed for a while. */
	read_rows(t, reader, bed.rows, 6000, 40);
	counted.fetches = 0;
	read_rows(t, reader, bed.rows, 50, 40);
	EXPECT_EQ(t, counted.fetches, 0);
	stop_counting(reader);
	sqlite3_close(reader);
	bed_close(&bed);
}

/* Who sets PRAGMA mmap_size has chosen, for maps or against them. */
static void who_asks_for_maps_or_none_gets_them(struct test *t)
{
	struct bed bed;
	int64_t limit = 1;

	bed_open(t, &bed, 300);
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA mmap_size=0;"
	                     "PRAGMA cache_size=-100", &t->err));
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 6000, 0);
	EXPECT_EQ(t, counted.fetches, 0);
	EXPECT_OK(t, sql_number(bed.process.db, "PRAGMA mmap_size", &limit,
	                        &t->err));
	EXPECT_EQ(t, limit, 0);
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA mmap_size=1000000", &t->err));
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA cache_size=-2000", &t->err));
	read_rows(t, bed.process.db, bed.rows, 6000, 0);
	EXPECT_EQ(t, counted.lent, 12000);
	EXPECT_OK(t, sql_number(bed.process.db, "PRAGMA mmap_size", &limit,
	                        &t->err));
	EXPECT_EQ(t, limit, 1000000);
	stop_counting(bed.process.db);
	bed_close(&bed);
	/* Also when none were asked for at that moment. */
	bed_open(t, &bed, 300);
	read_rows(t, bed.process.db, bed.rows, 3000, 0);
	EXPECT_OK(t, sql_run(bed.process.db, "PRAGMA mmap_size=0;"
	                     "PRAGMA cache_size=-100", &t->err));
	EXPECT_OK(t, sql_number(bed.process.db, "PRAGMA mmap_size", &limit,
	                        &t->err));
	EXPECT_EQ(t, limit, 0);
	count_calls(t, bed.process.db);
	read_rows(t, bed.process.db, bed.rows, 9000, 0);
	EXPECT_EQ(t, counted.fetches, 0);
	stop_counting(bed.process.db);
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(a_few_pages_read_again_and_again_are_copied),
	CASE(what_does_not_fit_into_the_cache_is_not_copied),
	CASE(pages_that_others_change_are_borrowed_again),
	CASE(who_asks_for_maps_or_none_gets_them),
	CASE(pages_are_read_where_they_lie),
};
TEST_MAIN(cases)
