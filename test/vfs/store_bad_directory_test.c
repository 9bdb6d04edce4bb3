/*
 * store_bad_directory_test.c - what is not a whole database of ours is told so, in
 * a sentence, and left as it was.
 *
 * Each file of a closed database is cut, removed, or replaced by that of another
 * database; paths are not what they should be; versions are newer than this
 * library. What comes back is an error that names the file, or everything.
 */
#include "test/harness.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "test/support/store_model.h"
#include "vfs/meta_format.h"
#include "wal/wal_format.h"

enum { COMMITS = 12, FILES_MAX = 64 };

struct database {
	struct sim_disk *disk;
	struct model model;
};

static void make(struct test *t, struct database *database, uint64_t seed)
{
	struct sim_options options = { .seed = seed };
	struct actor actor;

	database->disk = sim_disk_create(&options);
	sim_trace_stop(database->disk);
	model_at(&database->model, 0);
	EXPECT_OK(t, actor_start(&actor, database->disk, 0, &t->err));
	while (database->model.k < COMMITS)
		EXPECT_OK(t, actor_commit(&actor, database->disk,
		                          &database->model, &t->err));
	EXPECT_OK(t, actor_end(&actor, &t->err));
}

static const char *path_at(const struct database *database, size_t n,
                           uint64_t *size)
{
	const char *path;
	uint64_t bytes;

	for (size_t i = 0; (path = sim_file_at(database->disk, i, &bytes)); i++) {
		if (strstr(path, "turdb.shm"))
			continue;
		if (n-- == 0) {
			*size = bytes;
			return path;
		}
	}
	return NULL;
}

/* All bytes of all files but turdb.shm. */
static uint64_t fingerprint(struct sim_disk *disk)
{
	uint64_t sum = 0, size;
	const char *path;

	for (size_t i = 0; (path = sim_file_at(disk, i, &size)); i++) {
		uint8_t *bytes;

		if (strstr(path, "turdb.shm"))
			continue;
		bytes = malloc((size_t)size + 1);
		if (!bytes)
			abort();
		if (size)
			sim_file_peek(disk, path, 0, bytes, (size_t)size);
		sum = sum * 31 + checksum64(bytes, (size_t)size, 7) +
		      strlen(path);
		free(bytes);
	}
	return sum;
}

static int read_all(const struct database *database, struct actor *actor,
                    struct err *err)
{
	uint64_t k = 0;
	int rc = store_view_begin(actor->view, err);

	if (!rc)
		rc = model_found(actor->view, &k, err);
	if (!rc && k != database->model.k)
		rc = err_set(err, ERR_ABORT, "read", "app",
		             "commit %llu is the newest", (unsigned long long)k);
	if (!rc)
		rc = model_check(actor->view, &database->model, err);
	if (!rc)
		rc = store_check(actor->view, 1, NULL, NULL, err);
	store_view_end(actor->view);
	return rc;
}

/* *opened: the damage was not met by opening. */
static int try(const struct database *database, struct sim_disk *disk,
               bool *opened, struct err *err)
{
	struct actor actor;
	struct err ignored;
	int rc = actor_start(&actor, disk, 0, err);

	*opened = rc == ERR_NONE;
	if (rc)
		return rc;
	rc = read_all(database, &actor, err);
	actor_end(&actor, &ignored);
	return rc;
}

/* --- files cut, gone, of others -------------------------------------------------------- */

struct damage {
	const char *name;
	int (*inflict)(struct os *os, struct os_file *dir, const char *file,
	               uint64_t size, struct err *err);
};

static int truncate_to(struct os_file *dir, const char *name, uint64_t size,
                       struct err *err)
{
	struct os_file *file;
	int rc = os_open(dir, name, OS_OPEN_WRITE, 0, &file, err);

	if (rc)
		return rc;
	rc = dir->os->methods->truncate(file, size, err);
	os_close(file);
	return rc;
}

static int cut_whole(struct os *os, struct os_file *dir, const char *file,
                     uint64_t size, struct err *err)
{
	(void)os, (void)size;
	return truncate_to(dir, file, 0, err);
}

static int cut_half(struct os *os, struct os_file *dir, const char *file,
                    uint64_t size, struct err *err)
{
	(void)os;
	return truncate_to(dir, file, size / 2, err);
}

static int cut_byte(struct os *os, struct os_file *dir, const char *file,
                    uint64_t size, struct err *err)
{
	(void)os;
	return truncate_to(dir, file, size - 1, err);
}

static int remove_file(struct os *os, struct os_file *dir, const char *file,
                       uint64_t size, struct err *err)
{
	(void)size;
	return os->methods->unlink(dir, file, err);
}

static const struct damage damages[] = {
	{ "cut to nothing", cut_whole },
	{ "cut in half", cut_half },
	{ "a byte short", cut_byte },
	{ "gone", remove_file },
};

static void expect_told(struct test *t, const char *path, const char *what,
                        bool opened, int rc, uint64_t before, uint64_t after)
{
	const char *name = strrchr(path, '/') + 1;

	if (strstr(path, "/wal/"))
		name = "wal";
	if (rc == ERR_NONE)
		return; /* everything was there */
	if ((!strstr(t->err.text, name) &&
	     !strstr(t->err.text, "belongs to another database")) ||
	    strncmp(t->err.text, "compare", 7) == 0)
		test_fail(t, __FILE__, __LINE__, "%s %s: %s: %s", path, what,
		          err_name(rc), t->err.text);
	/* Without turdb.meta it is just a directory; see store_path_kind(). */
	if (!opened && before != after && strcmp(name, "turdb.meta") != 0)
		test_fail(t, __FILE__, __LINE__,
		          "%s %s: something was written", path, what);
}

static void a_file_that_was_cut_or_removed_is_named(struct test *t)
{
	struct database database;
	unsigned told = 0, whole = 0;
	const char *path;
	uint64_t size;

	make(t, &database, 1);
	if (t->failed)
		return;
	for (size_t n = 0; (path = path_at(&database, n, &size)); n++)
		for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
			struct sim_disk *disk = sim_disk_branch(database.disk);
			struct os *os = sim_process_open(disk);
			struct os_file *dir;
			uint64_t before;
			bool opened;
			int rc;

			EXPECT_OK(t, os->methods->directory_open(os, "/app",
			                                         &dir, &t->err));
			EXPECT_OK(t, damages[d].inflict(os, dir,
			                                path + strlen("app/"),
			                                size, &t->err));
			os_close(dir);
			sim_process_close(os);
			before = fingerprint(disk);
			rc = try(&database, disk, &opened, &t->err);
			expect_told(t, path, damages[d].name, opened, rc,
			            before, fingerprint(disk));
			told += rc != ERR_NONE;
			whole += rc == ERR_NONE;
			sim_disk_close(disk);
			if (t->failed)
				return;
		}
	printf("note %u of %u damaged databases were refused\n", told,
	       told + whole);
	EXPECT(t, told > 20);
	sim_disk_close(database.disk);
}

static void copy_over(const struct database *from, struct sim_disk *to,
                      const char *path, uint64_t size)
{
	uint8_t *bytes = malloc((size_t)size);

	if (!bytes)
		abort();
	sim_file_peek(from->disk, path, 0, bytes, (size_t)size);
	sim_file_poke(to, path, 0, bytes, (size_t)size);
	free(bytes);
}

static void a_file_of_another_database_is_refused(struct test *t)
{
	struct database ours, theirs;
	unsigned told = 0;
	const char *path;
	uint64_t size;

	make(t, &ours, 1);
	make(t, &theirs, 2);
	if (t->failed)
		return;
	for (size_t n = 0; (path = path_at(&ours, n, &size)); n++) {
		struct sim_disk *disk;
		uint64_t before;
		bool opened;
		int rc;

		if (strstr(path, "README"))
			continue;
		disk = sim_disk_branch(ours.disk);
		copy_over(&theirs, disk, path, size);
		before = fingerprint(disk);
		rc = try(&ours, disk, &opened, &t->err);
		expect_told(t, path, "of another database", opened, rc, before,
		            fingerprint(disk));
		told += rc != ERR_NONE;
		if (!t->failed && rc == ERR_NONE)
			test_fail(t, __FILE__, __LINE__,
			          "%s of another database was taken", path);
		sim_disk_close(disk);
		if (t->failed)
			return;
	}
	EXPECT(t, told > 3);
	sim_disk_close(ours.disk);
	sim_disk_close(theirs.disk);
}

/* --- versions ----------------------------------------------------------------------------- */

static void raise_version(struct sim_disk *disk, const char *path, uint64_t at,
                          size_t version_at, size_t checksum_at, uint64_t seed)
{
	uint8_t bytes[SUPER_SIZE];

	if (!sim_file_peek(disk, path, at, bytes, checksum_at + 8))
		abort();
	store_le32(bytes + version_at, load_le32(bytes + version_at) + 1);
	store_le64(bytes + checksum_at, checksum64(bytes, checksum_at, seed));
	sim_file_poke(disk, path, at, bytes, checksum_at + 8);
}

static void expect_version(struct test *t, const struct database *database,
                           struct sim_disk *disk, const char *name)
{
	uint64_t before = fingerprint(disk);
	bool opened;

	EXPECT_ERR(t, try(database, disk, &opened, &t->err), ERR_VERSION, name);
	EXPECT(t, opened || before == fingerprint(disk));
	sim_disk_close(disk);
}

static void a_newer_format_is_refused_by_its_number(struct test *t)
{
	struct database database;
	struct sim_disk *disk;
	const char *path;
	uint64_t size;

	make(t, &database, 1);
	if (t->failed)
		return;
	for (uint64_t copy = 0; copy < META_SUPERBLOCKS; copy++) {
		disk = sim_disk_branch(database.disk);
		raise_version(disk, "app/turdb.meta", copy * PLACE_SIZE,
		              SUPER_VERSION_AT, SUPER_CHECKSUM_AT, SUPER_MAGIC);
		expect_version(t, &database, disk, "turdb.meta");
	}
	disk = sim_disk_branch(database.disk);
	raise_version(disk, "app/root/sqlite.tbd", 0, FILE_VERSION_AT,
	              FILE_CHECKSUM_AT, FILE_MAGIC);
	expect_version(t, &database, disk, "sqlite.tbd");
	for (size_t n = 0; (path = path_at(&database, n, &size)); n++) {
		if (!strstr(path, "/wal/"))
			continue;
		disk = sim_disk_branch(database.disk);
		raise_version(disk, path, 0, WAL_SEGMENT_VERSION_AT,
		              WAL_SEGMENT_CHECKSUM_AT, 0);
		expect_version(t, &database, disk, "wal");
	}
	sim_disk_close(database.disk);
}

/* --- paths -------------------------------------------------------------------------------- */

struct opening {
	struct sim_disk *disk;
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
};

static int open_at(struct sim_disk *disk, const char *path, bool create,
                   bool immutable, struct err *err)
{
	struct store_options options = { .create = create,
	                                 .immutable = immutable };
	struct opening o = { .disk = disk };
	struct store *store;
	struct err ignored;
	int rc;

	heap_init(&o.heap);
	o.os = sim_process_open(disk);
	rc = store_environment_open(o.os, &o.heap, &o.environment, err);
	if (!rc)
		rc = store_open(o.environment, path, &options, &store, err);
	if (!rc)
		store_close(store, &ignored);
	store_environment_close(o.environment);
	if (sim_process_open_count(o.os) || atomic_load(&o.heap.used))
		rc = err_set(err, ERR_LEAK, "open", path, "something leaked");
	sim_process_close(o.os);
	return rc;
}

static void a_path_that_is_no_database_is_refused(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct os *os = sim_process_open(disk);
	struct os_file *dir, *file;
	uint64_t before;

	EXPECT_OK(t, os->methods->directory_make(os, NULL, "/other", &t->err));
	EXPECT_OK(t, os->methods->directory_open(os, "/other", &dir, &t->err));
	EXPECT_OK(t, os_open(dir, "plain", OS_OPEN_WRITE | OS_OPEN_CREATE, 0644,
	                     &file, &t->err));
	EXPECT_OK(t, os_write(file, 0, "text", 4, &t->err));
	before = fingerprint(disk);
	EXPECT_ERR(t, open_at(disk, "/nowhere", false, false, &t->err),
	           ERR_MISSING, "nowhere");
	EXPECT_ERR(t, open_at(disk, "/nowhere/app", true, false, &t->err),
	           ERR_MISSING, "nowhere");
	EXPECT_ERR(t, open_at(disk, "/other", false, false, &t->err),
	           ERR_CANTOPEN, "turdb.meta");
	EXPECT(t, open_at(disk, "/other/plain", true, false, &t->err) !=
	          ERR_NONE);
	EXPECT(t, strstr(t->err.text, "plain"));
	EXPECT(t, before == fingerprint(disk));
	os_close(file);
	os_close(dir);
	sim_process_close(os);
	sim_disk_close(disk);
}

/* A database whose processes were killed has commits in its log only. */
static void an_unrecovered_database_is_not_immutable(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor actor;
	struct model model;
	uint64_t before;

	model_at(&model, 0);
	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	for (int i = 0; i < 3; i++)
		EXPECT_OK(t, actor_commit(&actor, disk, &model, &t->err));
	actor_die(&actor);
	before = fingerprint(disk);
	EXPECT_ERR(t, open_at(disk, "/app", false, true, &t->err), ERR_READONLY,
	           "open it for writing once");
	EXPECT(t, before == fingerprint(disk));
	sim_disk_close(disk);
}

static void a_read_only_disk_says_how_to_open_it(struct test *t)
{
	struct database database;
	uint64_t before;

	make(t, &database, 1);
	if (t->failed)
		return;
	sim_disk_set_read_only(database.disk, true);
	before = fingerprint(database.disk);
	EXPECT_ERR(t, open_at(database.disk, "/app", true, false, &t->err),
	           ERR_CANTOPEN, "immutable=1");
	EXPECT_OK(t, open_at(database.disk, "/app", false, true, &t->err));
	EXPECT(t, before == fingerprint(database.disk));
	sim_disk_close(database.disk);
}

static const struct test_case cases[] = {
	CASE(a_file_that_was_cut_or_removed_is_named),
	CASE(a_file_of_another_database_is_refused),
	CASE(a_newer_format_is_refused_by_its_number),
	CASE(a_path_that_is_no_database_is_refused),
	CASE(an_unrecovered_database_is_not_immutable),
	CASE(a_read_only_disk_says_how_to_open_it),
};
TEST_MAIN(cases)
