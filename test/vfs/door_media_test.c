/*
 * door_media_test.c - disks that are read-only or belong to a network, as SQL meets
 * them.
 */
#include "test/harness.h"

#include "test/sim/sim.h"
#include "test/support/sql_rig.h"

/* A closed database with a row in an ordinary and in a turdb table. */
static struct sim_disk *make(struct test *t, const struct sim_options *options)
{
	struct sim_disk *disk = sim_disk_create(options);
	struct sql_process process;
	int rc = sql_rig_start(&t->err);

	sim_trace_stop(disk);
	if (!rc)
		rc = sql_process_start(&process, disk, &t->err);
	if (!rc)
		rc = sql_open(&process, "", &t->err);
	if (!rc)
		rc = sql_run(process.db, "CREATE TABLE t(a); INSERT INTO t VALUES(1);"
		             "CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, "
		             "a INTEGER); INSERT INTO u VALUES(1, 1)", &t->err);
	if (rc)
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
	sql_process_end(&process);
	return disk;
}

/* Every file's bytes, to see that nothing was written. */
static uint64_t bytes_of(struct sim_disk *disk)
{
	uint64_t sum = 0, size;
	const char *path;

	for (size_t i = 0; (path = sim_file_at(disk, i, &size)); i++) {
		uint8_t *bytes = malloc(size ? size : 1);

		sum = sum * 31 + size;
		if (strstr(path, "turdb.shm") || !size ||
		    !sim_file_peek(disk, path, 0, bytes, size))
			size = 0;
		for (uint64_t b = 0; b < size; b++)
			sum = sum * 1099511628211u + bytes[b];
		free(bytes);
	}
	return sum;
}

static void a_network_file_system_is_refused_with_advice(struct test *t)
{
	struct sim_options options = { .network = true };
	struct sim_disk *disk = sim_disk_create(&options);
	struct sql_process process;
	uint64_t size;

	EXPECT_OK(t, sql_rig_start(&t->err));
	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	for (int i = 0; i < 2; i++) {
		EXPECT_ERR(t, sql_open(&process, i ? "&mode=rw" : "", &t->err),
		           ERR_IO, i ? "nothing of that name"
		                     : "network file system");
		if (!i)
			EXPECT(t, strstr(t->err.text, "copy it to a local disk") &&
			       strstr(t->err.text, "immutable=1"));
	}
	EXPECT(t, !sim_file_at(disk, 0, &size));
	sql_process_end(&process);
	sim_disk_close(disk);
}

static void read_only_media_need_immutable_and_are_read_then(struct test *t)
{
	struct sim_disk *disk = make(t, NULL);
	uint64_t before = bytes_of(disk);
	struct sql_process process;
	int64_t number = 0;

	sim_disk_set_read_only(disk, true);
	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	EXPECT_ERR(t, sql_open(&process, "", &t->err), ERR_IO, "immutable=1");
	EXPECT_ERR(t, sql_open(&process, "&mode=ro", &t->err), ERR_IO,
	           "immutable=1");
	EXPECT_OK(t, sql_open(&process, "&immutable=1", &t->err));
	EXPECT_OK(t, sql_number(process.db, "SELECT t.a + u.a FROM t, u", &number,
	                        &t->err));
	EXPECT_EQ(t, number, 2);
	EXPECT_ERR(t, sql_run(process.db, "INSERT INTO t VALUES(2)", &t->err),
	           ERR_IO, "readonly");
	EXPECT_ERR(t, sql_run(process.db, "INSERT INTO u VALUES(2, 2)", &t->err),
	           ERR_IO, "read");
	EXPECT_OK(t, sql_expect_text(process.db, "SELECT turdb_check()", "ok",
	                             &t->err));
	sql_process_end(&process);
	EXPECT(t, bytes_of(disk) == before);
	sim_disk_set_read_only(disk, false);
	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	EXPECT_OK(t, sql_open(&process, "", &t->err));
	EXPECT_OK(t, sql_run(process.db, "INSERT INTO u VALUES(2, 2)", &t->err));
	sql_process_end(&process);
	sim_disk_close(disk);
}

/* Linux remounts a file system read-only when it meets an error. */
static void media_that_become_read_only_are_read_on(struct test *t)
{
	struct sim_disk *disk = make(t, NULL);
	struct sql_process process;
	int64_t number = 0;

	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	EXPECT_OK(t, sql_open(&process, "", &t->err));
	EXPECT_OK(t, sql_run(process.db, "INSERT INTO t VALUES(2)", &t->err));
	sim_disk_set_read_only(disk, true);
	for (int i = 0; i < 2; i++) {
		EXPECT(t, sql_run(process.db, "INSERT INTO t VALUES(3)", &t->err));
		EXPECT(t, strchr(t->err.text, ':'));
		EXPECT(t, sql_run(process.db, "INSERT INTO u VALUES(3, 3)",
		                  &t->err));
		EXPECT_OK(t, sql_number(process.db,
			"SELECT (SELECT sum(a) FROM t) * 10 + (SELECT sum(a) FROM u)",
			&number, &t->err));
		EXPECT_EQ(t, number, 31);
	}
	sim_disk_set_read_only(disk, false);
	sql_process_end(&process);
	EXPECT_OK(t, sql_process_start(&process, disk, &t->err));
	EXPECT_OK(t, sql_open(&process, "", &t->err));
	EXPECT_OK(t, sql_run(process.db, "INSERT INTO u VALUES(4, 4)", &t->err));
	EXPECT_OK(t, sql_number(process.db,
		"SELECT (SELECT sum(a) FROM t) * 10 + (SELECT sum(a) FROM u)",
		&number, &t->err));
	EXPECT_EQ(t, number, 35);
	EXPECT_OK(t, sql_expect_text(process.db, "SELECT turdb_check()", "ok",
	                             &t->err));
	sql_process_end(&process);
	sim_disk_close(disk);
}

static const struct test_case cases[] = {
	CASE(a_network_file_system_is_refused_with_advice),
	CASE(read_only_media_need_immutable_and_are_read_then),
	CASE(media_that_become_read_only_are_read_on),
};
TEST_MAIN(cases)
