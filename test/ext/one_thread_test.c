/*
 * one_thread_test.c - SQLite without mutexes, as programs of one thread have it, and
 * without other parts.
 *
 * Built with SQLITE_THREADSAFE=0, as the sqlite3 program of sqlite.org is, it has no
 * mutex functions to offer, and loading the library called one. Its allocator is for
 * one thread then, too, and the library has threads of its own.
 */
#define SQLITE_CORE 1 /* SQLite by its own names, and the table of them to look into */

#include "test/harness.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sqlite3ext.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_t only_thread;
static _Atomic int64_t strangers;
static sqlite3_mem_methods usual, watched;

static void look_who_calls(void)
{
	if (!pthread_equal(pthread_self(), only_thread))
		atomic_fetch_add(&strangers, 1);
}

static void *allocate(int size)
{
	look_who_calls();
	return usual.xMalloc(size);
}

static void release(void *bytes)
{
	look_who_calls();
	usual.xFree(bytes);
}

static void *resize(void *bytes, int size)
{
	look_who_calls();
	return usual.xRealloc(bytes, size);
}

static int not_threadsafe(void)
{
	return 0;
}

static int load(sqlite3 *db, char **message, const sqlite3_api_routines *table)
{
	typedef int entry(sqlite3 *, char **, const sqlite3_api_routines *);
	char path[TEST_PATH_SIZE];
	void *handle = dlopen(test_extension(path), RTLD_NOW);
	entry *init = handle ? (entry *)dlsym(handle, "sqlite3_turdb_init") : NULL;

	return init ? init(db, message, table) & 0xff : SQLITE_ERROR;
}

/* What SQLite hands to extensions, as it is without mutexes. */
static int load_without_mutexes(sqlite3 *db, char **message,
                                const sqlite3_api_routines *table)
{
	static sqlite3_api_routines without;

	without = *table;
	without.mutex_alloc = NULL;
	without.mutex_free = NULL;
	without.mutex_enter = without.mutex_leave = NULL;
	without.mutex_try = NULL;
	without.xthreadsafe = not_threadsafe;
	return load(db, message, &without);
}

static void write_through_checkpoints(struct test *t, const char *directory)
{
	char uri[400];
	sqlite3 *db = NULL;

	snprintf(uri, sizeof uri, "file:%s/app?vfs=turdb&checkpoint_mb=1",
	         directory);
	EXPECT_EQ(t, sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE |
	                             SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
	          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_exec(db, "CREATE TABLE ordinary(v);"
	                          "CREATE VIRTUAL TABLE own USING turdb(v)", 0, 0, 0),
	          SQLITE_OK);
	for (int i = 0; i < 200; i++)
		EXPECT_EQ(t, sqlite3_exec(db, "BEGIN;"
		                          "INSERT INTO ordinary VALUES (randomblob(20000));"
		                          "INSERT INTO own VALUES (randomblob(20000)); COMMIT",
		                          0, 0, 0), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_exec(db, "SELECT turdb_checkpoint()", 0, 0, 0),
	          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_close(db), SQLITE_OK);
}

static void load_and_write(struct test *t, const char *directory)
{
	sqlite3 *db = NULL;

	EXPECT_EQ(t, sqlite3_auto_extension((void (*)(void))load_without_mutexes),
	          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_open(":memory:", &db), SQLITE_OK);
	sqlite3_cancel_auto_extension((void (*)(void))load_without_mutexes);
	EXPECT_EQ(t, sqlite3_close(db), SQLITE_OK);
	write_through_checkpoints(t, directory);
}

static int load_without_blobs(sqlite3 *db, char **message,
                              const sqlite3_api_routines *table)
{
	static sqlite3_api_routines without;

	without = *table;
	without.blob_open = NULL;
	return load(db, message, &without);
}

static void what_sqlite_was_built_without_is_named(struct test *t)
{
	sqlite3 *db = NULL;

	EXPECT_EQ(t, sqlite3_auto_extension((void (*)(void))load_without_blobs),
	          SQLITE_OK);
	EXPECT_EQ(t, sqlite3_open(":memory:", &db), SQLITE_ERROR);
	sqlite3_cancel_auto_extension((void (*)(void))load_without_blobs);
	EXPECT(t, strstr(sqlite3_errmsg(db), "SQLITE_OMIT_INCRBLOB"));
	EXPECT_EQ(t, sqlite3_close(db), SQLITE_OK);
}

/* The environment of a process is made once: this one has its own. */
static void it_loads_into_a_library_without_mutexes(struct test *t)
{
	char directory[256];
	pid_t child;
	int status;

	test_directory(t, directory);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		load_and_write(t, directory);
		_exit(t->failed);
	}
	EXPECT(t, child > 0 && waitpid(child, &status, 0) == child);
	EXPECT_EQ(t, status, 0);
}

static void threads_of_the_library_leave_its_allocator_alone(struct test *t)
{
	char path[TEST_PATH_SIZE], directory[256];
	sqlite3 *db = NULL;

	test_directory(t, directory);
	only_thread = pthread_self();
	sqlite3_shutdown();
	EXPECT_EQ(t, sqlite3_config(SQLITE_CONFIG_SINGLETHREAD), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_config(SQLITE_CONFIG_GETMALLOC, &usual), SQLITE_OK);
	watched = usual;
	watched.xMalloc = allocate;
	watched.xFree = release;
	watched.xRealloc = resize;
	EXPECT_EQ(t, sqlite3_config(SQLITE_CONFIG_MALLOC, &watched), SQLITE_OK);
	EXPECT_EQ(t, sqlite3_open(":memory:", &db), SQLITE_OK);
	sqlite3_enable_load_extension(db, 1);
	EXPECT_EQ(t, sqlite3_load_extension(db, test_extension(path), NULL, NULL),
	          SQLITE_OK);
	write_through_checkpoints(t, directory);
	EXPECT_EQ(t, sqlite3_close(db), SQLITE_OK);
	EXPECT_EQ(t, strangers, 0);
}

static const struct test_case cases[] = {
	CASE(it_loads_into_a_library_without_mutexes),
	CASE(threads_of_the_library_leave_its_allocator_alone),
	CASE(what_sqlite_was_built_without_is_named),
};
TEST_MAIN(cases)
