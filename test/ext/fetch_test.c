/*
 * fetch_test.c - SQLite reads pages of a directory database where they lie: by
 * xFetch, in the map, not by xRead into its own memory.
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

static const struct test_case cases[] = {
	CASE(pages_are_read_where_they_lie),
};
TEST_MAIN(cases)
