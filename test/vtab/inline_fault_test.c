/*
 * inline_fault_test.c - every allocation and every call of the host's files fails, under
 * turdb tables in an ordinary database.
 *
 * The same work is done to a turdb table and to an ordinary one beside it, in the same
 * transactions. The n-th write, read or sync of the host, or the n-th allocation of the
 * library or of SQLite fails. Whatever then becomes of a statement, what became of one
 * table became of the other: they hold the same rows after each transaction, and when
 * the database has been opened again; and turdb_check() is content.
 */
#include "test/harness.h"

#include <sqlite3.h>

#include "test/support/sql_rig.h"

/* --- what fails ---------------------------------------------------------------------- */

enum source { HEAP, SQLITE_MEMORY, WRITES, FULL_DISK, READS, SYNCS, SOURCES };

static const char *const source_names[] = {
	"an allocation of the library", "an allocation of SQLite", "a write",
	"a write to a full disk", "a read", "a sync",
};

static struct {
	sqlite3_mem_methods real;
	sqlite3_vfs *host;
	enum source source;
	uint64_t calls, fail_at; /* the call that fails; 0: none */
	bool sticky, hit;
} faults;

static bool fails(enum source source)
{
	if (faults.source != source)
		return false;
	faults.calls++;
	if (!faults.fail_at || faults.calls < faults.fail_at ||
	    (faults.calls > faults.fail_at && !faults.sticky))
		return false;
	faults.hit = true;
	return true;
}

static bool was_hit(void)
{
	return faults.source == HEAP
	               ? atomic_load(&sql_rig_heap()->fail_in) <= 0 : faults.hit;
}

static void *memory_allocate(int size)
{
	return fails(SQLITE_MEMORY) ? NULL : faults.real.xMalloc(size);
}

static void *memory_resize(void *block, int size)
{
	return fails(SQLITE_MEMORY) ? NULL : faults.real.xRealloc(block, size);
}

static int memory_install(void)
{
	sqlite3_mem_methods methods;
	int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &faults.real);

	methods = faults.real;
	methods.xMalloc = memory_allocate;
	methods.xRealloc = memory_resize;
	return rc ? rc : sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* --- a VFS whose calls fail ------------------------------------------------------------ */

struct faulty_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct faulty_file *)(void *)file)->real;
}

#define PASS(file, method, ...)                                               \
	real_of(file)->pMethods->method(real_of(file), ##__VA_ARGS__)

static int file_close(sqlite3_file *file)
{
	return PASS(file, xClose);
}

static int file_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 at)
{
	return fails(READS) ? SQLITE_IOERR_READ
	                    : PASS(file, xRead, bytes, size, at);
}

static int file_write(sqlite3_file *file, const void *bytes, int size,
                      sqlite3_int64 at)
{
	if (fails(WRITES))
		return SQLITE_IOERR_WRITE;
	return fails(FULL_DISK) ? SQLITE_FULL
	                        : PASS(file, xWrite, bytes, size, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return PASS(file, xTruncate, size);
}

static int file_sync(sqlite3_file *file, int flags)
{
	return fails(SYNCS) ? SQLITE_IOERR_FSYNC : PASS(file, xSync, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return PASS(file, xFileSize, size);
}

static int file_lock(sqlite3_file *file, int level)
{
	return PASS(file, xLock, level);
}

static int file_unlock(sqlite3_file *file, int level)
{
	return PASS(file, xUnlock, level);
}

static int file_reserved(sqlite3_file *file, int *is)
{
	return PASS(file, xCheckReservedLock, is);
}

static int file_control(sqlite3_file *file, int what, void *argument)
{
	return PASS(file, xFileControl, what, argument);
}

static int file_sector(sqlite3_file *file)
{
	return PASS(file, xSectorSize);
}

static int file_character(sqlite3_file *file)
{
	return PASS(file, xDeviceCharacteristics);
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend,
                        void volatile **map)
{
	return PASS(file, xShmMap, page, size, extend, map);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	return PASS(file, xShmLock, offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
	PASS(file, xShmBarrier);
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
	return PASS(file, xShmUnmap, remove);
}

static const sqlite3_io_methods file_methods = {
	.iVersion = 2, .xClose = file_close, .xRead = file_read,
	.xWrite = file_write, .xTruncate = file_truncate, .xSync = file_sync,
	.xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,
	.xCheckReservedLock = file_reserved, .xFileControl = file_control,
	.xSectorSize = file_sector, .xDeviceCharacteristics = file_character,
	.xShmMap = file_shm_map, .xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier, .xShmUnmap = file_shm_unmap,
};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *opened,
                       int flags, int *out)
{
	struct faulty_file *file = (struct faulty_file *)(void *)opened;
	int rc;

	(void)vfs;
	file->real = (sqlite3_file *)(void *)(file + 1);
	rc = faults.host->xOpen(faults.host, name, file->real, flags, out);
	file->base.pMethods = file->real->pMethods ? &file_methods : NULL;
	return rc;
}

static void vfs_install(void)
{
	static sqlite3_vfs faulty;

	faults.host = sqlite3_vfs_find(NULL);
	faulty = *faults.host;
	faulty.zName = "faulty";
	faulty.szOsFile += (int)sizeof(struct faulty_file);
	faulty.xOpen = faulty_open;
	faulty.pNext = NULL;
	sqlite3_vfs_register(&faulty, 0);
}

/* --- the work ---------------------------------------------------------------------- */

#define BODY "id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER"
#define ROWS(first, last)                                                     \
	"(id, a, b) WITH n(i) AS (SELECT " #first " UNION ALL SELECT i + 1 FROM n WHERE i < " #last ") " \
	"SELECT i, 'a text of row number ' || i, i % 10 FROM n"
#define BOTH(before, after) before " t" after "; " before " m" after "; "

static const char *const prepared =
	"CREATE TABLE m(" BODY "); "
	"CREATE VIRTUAL TABLE t USING turdb(" BODY ", INDEX by_b (b), v VECTOR(3) HNSW (m=4)); "
	BOTH("INSERT INTO", ROWS(1, 300))
	"UPDATE t SET v = json_array(id, id % 7, 1)";

/* Each is a transaction; what fails is rolled back, if SQLite has not done so. */
static const char *const steps[] = {
	BOTH("INSERT INTO", ROWS(301, 420)),
	BOTH("UPDATE", " SET b = b + 1, a = a || '!' WHERE id % 3 = 0"),
	"UPDATE t SET v = json_array(1, id, 2) WHERE id < 40; ",
	"SAVEPOINT p; " BOTH("DELETE FROM", " WHERE id > 50") "ROLLBACK TO p; "
	BOTH("DELETE FROM", " WHERE id BETWEEN 100 AND 200"),
	"CREATE VIRTUAL TABLE u USING turdb(x UNIQUE); INSERT INTO u SELECT a FROM t; DROP TABLE u; ",
	BOTH("INSERT INTO", "(a, b) VALUES ('one', 1), ('two', zeroblob(30000))"),
	"ALTER TABLE t RENAME TO z; ALTER TABLE z RENAME TO t; ",
	BOTH("DELETE FROM", " WHERE b > 7"),
	"SELECT count(*) FROM t WHERE b = 3; SELECT id FROM t WHERE v MATCH '[1,2,3]' AND k = 3; ",
	"SELECT turdb_create_index('more', 't', 'b, a'); ",
	"SELECT turdb_reindex('t'); SELECT turdb_drop_index('more'); ",
	BOTH("UPDATE OR REPLACE", " SET a = 'same' WHERE id % 5 = 0"),
};

static int open_host(const char *path, bool small, sqlite3 **db)
{
	int rc = sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE |
	                         SQLITE_OPEN_CREATE, "faulty");

	if (!rc)
		rc = sqlite3_exec(*db, small ? "PRAGMA cache_size = 5; SELECT turdb_config('cache_kb', 1)"
		                             : "SELECT 1", NULL, NULL, NULL);
	return rc;
}

static bool acceptable(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_NOMEM:
	case SQLITE_IOERR:
	case SQLITE_FULL:
	case SQLITE_ABORT:     /* what was rolled back under it         */
	case SQLITE_CANTOPEN:
	case SQLITE_BUSY:      /* a hot journal that could not be played */
		return true;
	default:
		return false;
	}
}

static void run_step(struct test *t, sqlite3 *db, size_t i)
{
	int rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);

	if (!rc)
		rc = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
	/* The function of an index change answers with the library's sentence. */
	if (!acceptable(rc) && !(rc == SQLITE_ERROR && was_hit()))
		test_fail(t, __FILE__, __LINE__, "step %zu: %d %s", i, rc,
		          sqlite3_errmsg(db));
	if (!rc)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t result = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		result = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return result;
}

static void expect_agreement(struct test *t, sqlite3 *db, const char *when)
{
	if (t->failed)
		return;
	if (number(db, "SELECT (SELECT count(*) FROM (SELECT id, a, b FROM t EXCEPT SELECT id, a, b FROM m))"
	               " + (SELECT count(*) FROM (SELECT id, a, b FROM m EXCEPT SELECT id, a, b FROM t))") != 0)
		test_fail(t, __FILE__, __LINE__, "%s the tables differ: %s",
		          when, sqlite3_errmsg(db));
	else if (number(db, "SELECT turdb_check() = 'ok'") != 1)
		test_fail(t, __FILE__, __LINE__, "%s the check is not content: %s",
		          when, sqlite3_errmsg(db));
}

static void faults_set(enum source source, uint64_t fail_at, bool sticky)
{
	faults.source = source;
	faults.calls = 0;
	faults.fail_at = fail_at;
	faults.sticky = sticky;
	faults.hit = false;
	if (source != HEAP)
		return;
	atomic_store(&sql_rig_heap()->fail_sticky, sticky);
	atomic_store(&sql_rig_heap()->fail_in,
	             fail_at ? (int64_t)fail_at : INT64_MAX);
}

static void faults_end(void)
{
	if (faults.source == HEAP) {
		int64_t left = atomic_load(&sql_rig_heap()->fail_in);

		faults.calls = (uint64_t)INT64_MAX - (uint64_t)left;
		atomic_store(&sql_rig_heap()->fail_in, 0);
		atomic_store(&sql_rig_heap()->fail_sticky, 0);
	}
	faults.source = SOURCES;
	faults.fail_at = 0;
}

struct place {
	char directory[256], whole[300], path[300];
};

static void copy_host(const struct place *place)
{
	char command[1200];

	snprintf(command, sizeof command, "rm -f '%s'*; cp '%s' '%s'",
	         place->path, place->whole, place->path);
	if (system(command))
		abort();
}

/* One fault while everything is done; afterwards all agrees, here and anew. */
static void play(struct test *t, const struct place *place, enum source source,
                 uint64_t fail_at, bool sticky, bool wal)
{
	sqlite3 *db = NULL;

	copy_host(place);
	if (open_host(place->path, fail_at % 2, &db) ||
	    sqlite3_exec(db, wal ? "PRAGMA journal_mode = wal"
	                         : "PRAGMA journal_mode = delete", NULL, NULL,
	                 NULL)) {
		test_fail(t, __FILE__, __LINE__, "open: %s", sqlite3_errmsg(db));
		sqlite3_close(db);
		return;
	}
	faults_set(source, fail_at, sticky);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !t->failed; i++)
		run_step(t, db, i);
	faults_end();
	if (!sqlite3_get_autocommit(db)) /* there was no memory for that either */
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	expect_agreement(t, db, "at the end");
	if (sqlite3_close(db) != SQLITE_OK && !t->failed)
		test_fail(t, __FILE__, __LINE__, "the connection does not close");
	if (!open_host(place->path, false, &db))
		expect_agreement(t, db, "opened again");
	sqlite3_close(db);
}

static void prepare(struct test *t, struct place *place)
{
	sqlite3 *db = NULL;
	int rc;

	test_directory(t, place->directory);
	snprintf(place->whole, sizeof place->whole, "%s/whole.db",
	         place->directory);
	snprintf(place->path, sizeof place->path, "%s/host.db", place->directory);
	rc = open_host(place->whole, false, &db);
	if (!rc)
		rc = sqlite3_exec(db, prepared, NULL, NULL, NULL);
	if (rc)
		test_fail(t, __FILE__, __LINE__, "prepare: %s",
		          sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* INLINE_FAULT=number[:wal] plays one fault alone. */
static bool play_one(struct test *t, struct place *place, enum source source,
                     bool sticky)
{
	const char *only = getenv("INLINE_FAULT");

	if (!only)
		return false;
	play(t, place, source, strtoull(only, NULL, 10), sticky,
	     strchr(only, ':') != NULL);
	return true;
}

static void play_source(struct test *t, enum source source, bool sticky)
{
	uint64_t seed = t->seed + source, wanted = test_scaled(16, 4), calls;
	struct place place;

	prepare(t, &place);
	if (t->failed || play_one(t, &place, source, sticky))
		return;
	play(t, &place, source, 0, false, true); /* counts */
	calls = faults.calls;
	for (uint64_t i = 0; i < wanted && !t->failed; i++) {
		uint64_t at = 1 + test_random(&seed) % calls;

		play(t, &place, source, at, sticky, i % 2);
		if (t->failed)
			fprintf(stderr, "%s, number %llu of %llu%s%s\n",
			        source_names[source], (unsigned long long)at,
			        (unsigned long long)calls,
			        sticky ? ", and all later ones" : "",
			        i % 2 ? ", WAL" : "");
	}
}

#define FAULT_CASE(name, source, sticky)                                      \
	static void name(struct test *t)                                      \
	{                                                                     \
		play_source(t, source, sticky);                               \
	}

FAULT_CASE(an_allocation_of_the_library_fails, HEAP, false)
FAULT_CASE(all_allocations_of_the_library_fail, HEAP, true)
FAULT_CASE(an_allocation_of_sqlite_fails, SQLITE_MEMORY, false)
FAULT_CASE(all_allocations_of_sqlite_fail, SQLITE_MEMORY, true)
FAULT_CASE(a_write_of_the_host_fails, WRITES, false)
FAULT_CASE(the_disk_is_full_once, FULL_DISK, false)

/* (vtab/inline L6) */
static void the_disk_is_full(struct test *t)
{
	play_source(t, FULL_DISK, true);
}

FAULT_CASE(a_read_of_the_host_fails, READS, false)
FAULT_CASE(a_sync_of_the_host_fails, SYNCS, false)

static const struct test_case cases[] = {
	CASE(an_allocation_of_the_library_fails),
	CASE(all_allocations_of_the_library_fail),
	CASE(an_allocation_of_sqlite_fails),
	CASE(all_allocations_of_sqlite_fail),
	CASE(a_write_of_the_host_fails),
	CASE(the_disk_is_full_once),
	CASE(the_disk_is_full),
	CASE(a_read_of_the_host_fails),
	CASE(a_sync_of_the_host_fails),
};

int sqlite3_turdb_init(sqlite3 *db, char **message,
                       const sqlite3_api_routines *api);

/* The library as SQLite loads it, with the system's own calls. */
static int library_load(void)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_auto_extension((void (*)(void))sqlite3_turdb_init);

	if (!rc)
		rc = sqlite3_open(":memory:", &db);
	sqlite3_close(db);
	sqlite3_cancel_auto_extension((void (*)(void))sqlite3_turdb_init);
	return rc;
}

int main(int argc, char **argv)
{
	faults.source = SOURCES;
	if (memory_install() || library_load()) {
		printf("FAIL start: the library does not load\n");
		return 1;
	}
	vfs_install();
	return test_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
