/*
 * shutdown_test.c - sqlite3_shutdown(), another allocator, sqlite3_initialize().
 *
 * SQLite forgets everything but its VFS objects there, and a program may exchange
 * the allocator before it goes on. The library stays loaded and registered: nothing
 * of its memory may have come from the allocator that went.
 */
#include "test/harness.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

/* Two allocators. Blocks say whose they are; a stranger's is not freed but counted. */
enum { HEAD_SIZE = 16 };

static struct allocator {
	uint64_t name;
	_Atomic int64_t blocks;
	_Atomic int64_t foreign;
} allocators[2] = { { .name = 0x6f6e65 }, { .name = 0x74776f } };

static void *allocate(struct allocator *own, int size)
{
	uint64_t *block = malloc((size_t)size + HEAD_SIZE);

	if (!block)
		return NULL;
	block[0] = own->name;
	block[1] = (uint64_t)size;
	atomic_fetch_add(&own->blocks, 1);
	return block + 2;
}

static bool is_own(struct allocator *own, void *bytes)
{
	uint64_t *block = (uint64_t *)bytes - 2;

	if (block[0] == own->name)
		return true;
	atomic_fetch_add(&own->foreign, 1);
	return false;
}

static void release(struct allocator *own, void *bytes)
{
	if (!bytes || !is_own(own, bytes))
		return;
	atomic_fetch_sub(&own->blocks, 1);
	free((uint64_t *)bytes - 2);
}

static int size_of(void *bytes)
{
	return bytes ? (int)((uint64_t *)bytes)[-1] : 0;
}

static void *resize(struct allocator *own, void *bytes, int size)
{
	void *larger = allocate(own, size);
	int old_size = size_of(bytes);

	if (!larger)
		return NULL;
	memcpy(larger, bytes, (size_t)(old_size < size ? old_size : size));
	release(own, bytes);
	return larger;
}

static void *allocate_0(int size) { return allocate(&allocators[0], size); }
static void *allocate_1(int size) { return allocate(&allocators[1], size); }
static void release_0(void *bytes) { release(&allocators[0], bytes); }
static void release_1(void *bytes) { release(&allocators[1], bytes); }

static void *resize_0(void *bytes, int size)
{
	return resize(&allocators[0], bytes, size);
}

static void *resize_1(void *bytes, int size)
{
	return resize(&allocators[1], bytes, size);
}

static int round_up(int size)
{
	return (size + 7) & ~7;
}

static int begin(void *unused)
{
	(void)unused;
	return SQLITE_OK;
}

static void end(void *unused)
{
	(void)unused;
}

static const sqlite3_mem_methods methods[2] = {
	{ allocate_0, release_0, resize_0, size_of, round_up, begin, end, NULL },
	{ allocate_1, release_1, resize_1, size_of, round_up, begin, end, NULL },
};

static int load(void)
{
	char path[TEST_PATH_SIZE];
	sqlite3 *db = NULL;
	int rc;

	sqlite3_open(":memory:", &db);
	sqlite3_enable_load_extension(db, 1);
	rc = sqlite3_load_extension(db, test_extension(path), NULL, NULL);
	sqlite3_close(db);
	return rc;
}

static int count_rows(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;
	int count = -1;

	sqlite3_prepare_v2(db, "SELECT count(*) FROM ordinary JOIN own USING (id)",
	                   -1, &statement, NULL);
	if (statement && sqlite3_step(statement) == SQLITE_ROW)
		count = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return count;
}

static const char *schema =
	"CREATE TABLE IF NOT EXISTS ordinary(id INTEGER PRIMARY KEY);"
	"CREATE VIRTUAL TABLE IF NOT EXISTS own USING turdb(id INTEGER PRIMARY KEY)";
static const char *row =
	"BEGIN; INSERT INTO ordinary VALUES (NULL); INSERT INTO own VALUES (NULL); COMMIT";

enum { CONNECTIONS = 70 }; /* more than the first table of names holds */

static void use_database(struct test *t, const char *uri, int rows)
{
	sqlite3 *connections[CONNECTIONS] = { 0 };
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	                  SQLITE_OPEN_URI;

	for (int i = 0; i < CONNECTIONS; i++)
		EXPECT_EQ(t, sqlite3_open_v2(uri, &connections[i], flags, NULL),
		          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_exec(connections[0], schema, 0, 0, 0), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_exec(connections[1], row, 0, 0, 0), SQLITE_OK);
	EXPECT_EQ(t, count_rows(connections[CONNECTIONS - 1]), rows);
	for (int i = 0; i < CONNECTIONS; i++)
		EXPECT_EQ(t, sqlite3_close(connections[i]), SQLITE_OK);
}

static void another_allocator_finds_nothing_of_the_one_before(struct test *t)
{
	char directory[256], uri[400];

	test_directory(t, directory);
	snprintf(uri, sizeof uri, "file:%s/app?vfs=turdb", directory);
	for (int round = 0; round < 4; round++) {
		struct allocator *own = &allocators[round % 2];

		EXPECT_EQ(t, sqlite3_config(SQLITE_CONFIG_MALLOC,
		                            &methods[round % 2]), SQLITE_OK);
		EXPECT_EQ(t, sqlite3_initialize(), SQLITE_OK);
		EXPECT_EQ(t, load(), SQLITE_OK);
		use_database(t, uri, round + 1);
		EXPECT_EQ(t, sqlite3_shutdown(), SQLITE_OK);
		EXPECT_EQ(t, own->foreign, 0);
		EXPECT_EQ(t, own->blocks, 0);
	}
}

/* Between, the VFS is there, without the functions: as after any restart. */
static void the_vfs_works_before_it_is_loaded_again(struct test *t)
{
	char directory[256], uri[400];
	sqlite3 *db = NULL;

	test_directory(t, directory);
	snprintf(uri, sizeof uri, "file:%s/app?vfs=turdb", directory);
	EXPECT_EQ(t, load(), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_shutdown(), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE |
	                             SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
	          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_exec(db, "CREATE TABLE a(b); INSERT INTO a VALUES (1)",
	                          0, 0, 0), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_close(db), SQLITE_OK);
}

static const struct test_case cases[] = {
	CASE(another_allocator_finds_nothing_of_the_one_before),
	CASE(the_vfs_works_before_it_is_loaded_again),
};
TEST_MAIN(cases)
