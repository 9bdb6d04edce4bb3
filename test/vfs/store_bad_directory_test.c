/*
 * store_bad_directory_test.c - what is not a whole database of ours is told so, in
 * a sentence, and left as it was.
 *
 * Each file of a closed database is cut, removed, replaced by that of another
 * database, of another file or of an earlier moment; files that do not belong there
 * lie beside them; paths are not what they should be; versions are newer than this
 * library. What comes back is an error that names the file, or everything; and when
 * the opening is refused not a byte of the directory has changed.
 * (bad_directory_test.py has links, pipes and permissions.)
 */
#include "test/harness.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "test/support/image.h"
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
		if (strstr(path, "turdb.shm") || strstr(path, "turdb.reserve"))
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
	if (!opened && before != after)
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

/* --- files of other moments and places ------------------------------------------------------ */

/* A database at two moments, closed both times or, the second time, killed. */
struct moments {
	struct image older, newer;
	struct model model; /* of the newer one */
};

static int grow(struct sim_disk *disk, struct model *model, uint64_t commits,
                bool dies, struct err *err)
{
	struct actor actor;
	int rc = actor_start(&actor, disk, 0, err);

	for (; !rc && commits; commits--)
		rc = actor_commit(&actor, disk, model, err);
	if (!rc && dies)
		actor_die(&actor);
	else if (!rc)
		rc = actor_end(&actor, err);
	return rc;
}

static void make_moments(struct test *t, struct moments *moments, uint64_t first,
                         uint64_t second, bool dies)
{
	struct sim_disk *disk = sim_disk_create(NULL);

	sim_trace_stop(disk);
	model_at(&moments->model, 0);
	EXPECT_OK(t, grow(disk, &moments->model, first, false, &t->err));
	image_take(&moments->older, disk);
	EXPECT_OK(t, grow(disk, &moments->model, second, dies, &t->err));
	image_take(&moments->newer, disk);
	sim_disk_close(disk);
}

static void moments_free(struct moments *moments)
{
	image_free(&moments->older);
	image_free(&moments->newer);
}

/* Everything is there, or the opening or reading is refused by a sentence about a
 * file; a refused opening has written nothing. Returns whether it was refused. */
static bool expect_whole_or_told(struct test *t, const struct moments *moments,
                                 const struct image *mixed, const char *what)
{
	struct database database = { .model = moments->model };
	struct sim_disk *disk = image_disk(mixed);
	bool opened, told;
	int rc = try(&database, disk, &opened, &t->err);

	told = rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_CANTOPEN;
	if (rc && (!told || strncmp(t->err.text, "compare", 7) == 0))
		test_fail(t, __FILE__, __LINE__, "%s: %s: %s", what,
		          err_name(rc), t->err.text);
	if (rc && !opened && !image_same(mixed, disk))
		test_fail(t, __FILE__, __LINE__, "%s: something was written: %s",
		          what, t->err.text);
	sim_disk_close(disk);
	return rc != ERR_NONE;
}

static void file_replace(struct image_file *file, const struct image_file *by)
{
	uint8_t *bytes = malloc((size_t)by->size + 1);

	if (!bytes)
		abort();
	memcpy(bytes, by->bytes, by->size);
	free(file->bytes);
	file->bytes = bytes;
	file->size = by->size;
}

static void image_copy(struct image *to, const struct image *from)
{
	*to = *from;
	for (uint32_t i = 0; i < to->count; i++) {
		to->files[i].bytes = NULL;
		file_replace(&to->files[i], &from->files[i]);
	}
}

/* One file is older than the rest: as a copy that was made while the database was
 * written, or one file brought back from a backup, leaves it. */
static void one_file_of_an_earlier_moment(struct test *t, bool dies)
{
	static const uint64_t steps[][2] = { { 6, 3 }, { 12, 14 }, { 30, 1 } };
	unsigned told = 0;

	for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
		struct moments moments;

		make_moments(t, &moments, steps[s][0], steps[s][1], dies);
		if (t->failed)
			return;
		for (uint32_t i = 0; i < moments.older.count; i++) {
			const struct image_file *file = &moments.older.files[i];
			struct image mixed;

			image_copy(&mixed, &moments.newer);
			if (image_file_find(&mixed, file->path))
				file_replace(image_file_find(&mixed, file->path),
				             file);
			told += expect_whole_or_told(t, &moments, &mixed,
			                             file->path);
			image_free(&mixed);
		}
		moments_free(&moments);
	}
	if (!t->failed)
		EXPECT(t, told >= 4); /* and the others change nothing */
}

static void an_earlier_copy_of_one_file_is_told(struct test *t)
{
	one_file_of_an_earlier_moment(t, false);
}

static void an_earlier_copy_of_one_file_beside_a_log_is_told(struct test *t)
{
	one_file_of_an_earlier_moment(t, true);
}

/* `part` is a directory's path, or that of turdb.meta. */
static void replace_part(struct image *mixed, const struct image *by,
                         const char *part)
{
	for (uint32_t i = 0; i < mixed->count;) {
		struct image_file *file = &mixed->files[i];

		if (strncmp(file->path, part, strlen(part)) != 0) {
			i++;
			continue;
		}
		free(file->bytes);
		*file = mixed->files[--mixed->count];
	}
	for (uint32_t i = 0; i < by->count; i++)
		if (strncmp(by->files[i].path, part, strlen(part)) == 0) {
			struct image_file *file = &mixed->files[mixed->count++];

			*file = by->files[i];
			file->bytes = NULL;
			file_replace(file, &by->files[i]);
		}
}

/* The log, or root/, or turdb.meta, as a whole from another moment, either way. */
static void parts_of_two_moments_are_told(struct test *t)
{
	static const char *const parts[] = { "app/wal/", "app/root/",
	                                     "app/turdb.meta" };
	unsigned told = 0;

	for (int way = 0; way < 4; way++) {
		struct moments moments;

		make_moments(t, &moments, 9 + 5 * (uint64_t)way, 8, way & 1);
		if (t->failed)
			return;
		for (size_t p = 0; p < 3; p++) {
			struct image mixed;

			image_copy(&mixed, &moments.newer);
			replace_part(&mixed, &moments.older, parts[p]);
			told += expect_whole_or_told(t, &moments, &mixed, parts[p]);
			image_free(&mixed);
		}
		moments_free(&moments);
	}
	if (!t->failed)
		EXPECT(t, told > 5);
}

/* Each file lies where another should. */
static void files_that_changed_places_are_told(struct test *t)
{
	struct moments moments;
	unsigned told = 0, tried = 0;

	make_moments(t, &moments, 8, 9, true);
	if (t->failed)
		return;
	for (uint32_t i = 0; i < moments.newer.count; i++)
		for (uint32_t j = i + 1; j < moments.newer.count; j++) {
			struct image mixed;
			struct image_file kept;

			image_copy(&mixed, &moments.newer);
			kept = mixed.files[i];
			mixed.files[i].bytes = mixed.files[j].bytes;
			mixed.files[i].size = mixed.files[j].size;
			mixed.files[j].bytes = kept.bytes;
			mixed.files[j].size = kept.size;
			told += expect_whole_or_told(t, &moments, &mixed,
			                             mixed.files[i].path);
			tried++;
			image_free(&mixed);
		}
	moments_free(&moments);
	if (!t->failed)
		EXPECT_EQ(t, told, tried);
}

/* --- what does not belong there ------------------------------------------------------------- */

static void file_add(struct image *image, const char *path,
                     const struct image_file *like, const char *text)
{
	struct image_file *file = &image->files[image->count++];

	snprintf(file->path, sizeof file->path, "%s", path);
	file->bytes = NULL;
	if (like) {
		file_replace(file, like);
		return;
	}
	file->size = (uint32_t)strlen(text);
	file->bytes = malloc(file->size + 1);
	if (!file->bytes)
		abort();
	memcpy(file->bytes, text, file->size);
}

static bool still_there(const struct image *image, struct sim_disk *disk,
                        const char *path)
{
	struct image_file *file = image_file_find(
		(struct image *)(uintptr_t)image, path);
	uint8_t *bytes = malloc((size_t)file->size + 1);
	bool there;

	if (!bytes)
		abort();
	there = sim_file_peek(disk, path, 0, bytes, file->size) &&
	        memcmp(bytes, file->bytes, file->size) == 0;
	free(bytes);
	return there;
}

/* Files of somebody else's are left alone, whatever they are called. */
static void what_is_not_ours_stays(struct test *t)
{
	static const char *const paths[] = {
		"app/notes.txt", "app/root/notes.txt", "app/wal/notes.txt",
		"app/root/77-mine.tbd", "app/root/78-mine.idx",
		"app/root/79-theirs.tbd", "app/wal/wal.old", "app/wal/wal.1",
	};
	struct database theirs;
	struct moments moments;
	struct sim_disk *disk;
	struct image foreign;
	struct actor actor;

	make_moments(t, &moments, 8, 4, false);
	make(t, &theirs, 2);
	if (t->failed)
		return;
	image_take(&foreign, theirs.disk);
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		file_add(&moments.newer, paths[i], strstr(paths[i], "theirs")
		         ? image_file_find(&foreign, "app/root/sqlite.tbd") : NULL,
		         "what somebody put here");
	disk = image_disk(&moments.newer);
	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, actor_commit(&actor, disk, &moments.model, &t->err));
	EXPECT_OK(t, actor_end(&actor, &t->err));
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (!still_there(&moments.newer, disk, paths[i]))
			test_fail(t, __FILE__, __LINE__, "%s is gone", paths[i]);
	sim_disk_close(disk);
	sim_disk_close(theirs.disk);
	image_free(&foreign);
	moments_free(&moments);
}

/* A segment under another number, and one of another database, even beside the log;
 * garbage without records and an empty file are what an interrupted creation leaves. */
static void foreign_segments_are_told(struct test *t)
{
	struct database theirs;
	struct moments moments;
	struct image foreign, mixed;
	const struct image_file *segment = NULL;
	unsigned told = 0;

	make_moments(t, &moments, 8, 4, true);
	make(t, &theirs, 2);
	if (t->failed)
		return;
	image_take(&foreign, theirs.disk);
	for (uint32_t i = 0; i < foreign.count; i++)
		if (strstr(foreign.files[i].path, "/wal/"))
			segment = &foreign.files[i];
	for (int kind = 0; kind < 4; kind++) {
		const struct image_file *own = NULL;

		image_copy(&mixed, &moments.newer);
		for (uint32_t i = 0; i < mixed.count; i++)
			if (strstr(mixed.files[i].path, "/wal/"))
				own = &mixed.files[i];
		file_add(&mixed, "app/wal/wal.000099",
		         kind == 0 ? own : kind == 1 ? segment : NULL,
		         kind == 2 ? "garbage" : "");
		told += expect_whole_or_told(t, &moments, &mixed, "segment");
		image_free(&mixed);
	}
	sim_disk_close(theirs.disk);
	image_free(&foreign);
	moments_free(&moments);
	if (!t->failed)
		EXPECT_EQ(t, told, 2);
}

/* Whatever is in turdb.shm, it is worth nothing to the first one in. */
static void any_shared_memory_file_will_do(struct test *t)
{
	static const uint64_t sizes[] = { 0, 1, 4096, 65536, 300000, 1 << 20 };

	for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
		struct database database;
		struct os_file *dir, *file;
		struct sim_disk *disk;
		struct os *os;
		uint64_t random = i;
		bool opened;

		make(t, &database, 1);
		if (t->failed)
			return;
		disk = sim_disk_branch(database.disk);
		os = sim_process_open(disk);
		EXPECT_OK(t, os->methods->directory_open(os, "/app", &dir,
		                                         &t->err));
		EXPECT_OK(t, os_open(dir, "turdb.shm",
		                     OS_OPEN_WRITE | OS_OPEN_CREATE, 0644, &file,
		                     &t->err));
		EXPECT_OK(t, os->methods->truncate(file, 0, &t->err));
		for (uint64_t at = 0; at + 8 <= sizes[i / 2]; at += 8) {
			uint64_t word = i % 2 ? test_random(&random)
			                      : UINT64_MAX;

			EXPECT_OK(t, os_write(file, at, &word, 8, &t->err));
		}
		os_close(file);
		os_close(dir);
		sim_process_close(os);
		EXPECT_OK(t, try(&database, disk, &opened, &t->err));
		sim_disk_close(disk);
		sim_disk_close(database.disk);
	}
}

/* A file that may not be opened: named, and nothing written. */
static void a_file_that_cannot_be_opened_is_named(struct test *t)
{
	struct database database;
	const char *path;
	uint64_t size;

	make(t, &database, 1);
	if (t->failed)
		return;
	for (size_t n = 0; (path = path_at(&database, n, &size)); n++) {
		struct sim_disk *disk;
		struct sim_fault fault = {
			.call = SIM_CALL_OPEN, .path_part = path, .nth = 1,
			.sticky = true, .code = ERR_CANTOPEN,
		};
		uint64_t before;
		bool opened;
		int rc;

		if (strstr(path, "README"))
			continue;
		disk = sim_disk_branch(database.disk);
		before = fingerprint(disk);
		sim_fault_add(disk, &fault);
		rc = try(&database, disk, &opened, &t->err);
		if (rc != ERR_CANTOPEN ||
		    !strstr(t->err.text, strrchr(path, '/') + 1))
			test_fail(t, __FILE__, __LINE__, "%s: %s: %s", path,
			          err_name(rc), t->err.text);
		if (!opened && before != fingerprint(disk))
			test_fail(t, __FILE__, __LINE__,
			          "%s: something was written", path);
		sim_disk_close(disk);
		if (t->failed)
			break;
	}
	sim_disk_close(database.disk);
}

/* --- versions ----------------------------------------------------------------------------- */

static void change_version(struct sim_disk *disk, const char *path, uint64_t at,
                           size_t version_at, int by, size_t checksum_at,
                           uint64_t seed)
{
	uint8_t bytes[SUPER_SIZE];

	if (!sim_file_peek(disk, path, at, bytes, checksum_at + 8))
		abort();
	store_le32(bytes + version_at,
	           load_le32(bytes + version_at) + (uint32_t)by);
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
		change_version(disk, "app/turdb.meta", copy * PLACE_SIZE,
		               SUPER_VERSION_AT, 1, SUPER_CHECKSUM_AT,
		               SUPER_MAGIC);
		expect_version(t, &database, disk, "turdb.meta");
	}
	disk = sim_disk_branch(database.disk);
	change_version(disk, "app/root/sqlite.tbd", 0, FILE_VERSION_AT, 1,
	               FILE_CHECKSUM_AT, FILE_MAGIC);
	expect_version(t, &database, disk, "sqlite.tbd");
	for (size_t n = 0; (path = path_at(&database, n, &size)); n++) {
		if (!strstr(path, "/wal/"))
			continue;
		disk = sim_disk_branch(database.disk);
		change_version(disk, path, 0, WAL_SEGMENT_VERSION_AT, 1,
		               WAL_SEGMENT_CHECKSUM_AT, 0);
		expect_version(t, &database, disk, "wal");
	}
	sim_disk_close(database.disk);
}

/* The first versions' writers knew nothing of what came later, and left it zero. */
static void an_older_format_is_read_and_becomes_the_newest(struct test *t)
{
	struct database database;
	struct sim_disk *disk;
	uint8_t super[SUPER_SIZE];
	bool opened;

	make(t, &database, 1);
	if (t->failed)
		return;
	disk = sim_disk_branch(database.disk);
	for (uint64_t copy = 0; copy < META_SUPERBLOCKS; copy++)
		change_version(disk, "app/turdb.meta", copy * PLACE_SIZE,
		               SUPER_VERSION_AT, 1 - META_VERSION,
		               SUPER_CHECKSUM_AT, SUPER_MAGIC);
	EXPECT_OK(t, try(&database, disk, &opened, &t->err));
	EXPECT_OK(t, grow(disk, &database.model, 1, false, &t->err));
	EXPECT_OK(t, try(&database, disk, &opened, &t->err));
	for (uint64_t copy = 0; copy < META_SUPERBLOCKS; copy++) {
		EXPECT(t, sim_file_peek(disk, "app/turdb.meta",
		                        copy * PLACE_SIZE, super, SUPER_SIZE));
		if (load_le32(super + SUPER_VERSION_AT) == META_VERSION)
			break;
		EXPECT_EQ(t, copy, 0);
	}
	sim_disk_close(disk);
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

/* --- segments that go with their commits ----------------------------------------------- */

/* Goes on from what is there, dies, and finds everything. */
static void go_on_after_loss(struct test *t, struct sim_disk *disk,
                             struct actor *actor, uint64_t k_max)
{
	struct model model;
	uint64_t k = 0;

	EXPECT_OK(t, store_view_begin(actor->view, &t->err));
	EXPECT_OK(t, model_found(actor->view, &k, &t->err));
	EXPECT(t, k <= k_max);
	model_at(&model, k);
	EXPECT_OK(t, model_check(actor->view, &model, &t->err));
	EXPECT_OK(t, store_check(actor->view, 1, NULL, NULL, &t->err));
	store_view_end(actor->view);
	for (uint32_t life = 0; life < 3 && !t->failed; life++) {
		struct database database = { .disk = disk };

		if (life)
			EXPECT_OK(t, actor_start(actor, disk, 0, &t->err));
		database.model = model;
		EXPECT_OK(t, read_all(&database, actor, &t->err));
		for (uint32_t i = 0; i < 2 && !t->failed; i++)
			EXPECT_OK(t, actor_commit(actor, disk, &model,
			                          &t->err));
		if (life == 1)
			EXPECT_OK(t, actor_end(actor, &t->err));
		else
			actor_die(actor);
	}
}

/* A refusal names the commit that it can still give, and gives that to who says its
 * number, not to who says another. */
static void try_losing(struct test *t, const struct database *database,
                       struct sim_disk *disk, unsigned *asked)
{
	const char *number = strstr(t->err.text, "turdb_lose_after=");
	uint64_t txid = number ? strtoull(strchr(number, '=') + 1, NULL, 10) : 0;
	uint64_t before = fingerprint(disk);
	struct actor actor;

	if (!number)
		return;
	++*asked;
	EXPECT(t, txid > 0);
	EXPECT_ERR(t, actor_start_losing(&actor, disk, txid + 1, &t->err),
	           ERR_CORRUPT, "turdb_lose_after=");
	EXPECT(t, before == fingerprint(disk));
	EXPECT_OK(t, actor_start_losing(&actor, disk, txid, &t->err));
	EXPECT(t, store_lost_after(actor.store) == txid);
	if (!t->failed)
		go_on_after_loss(t, disk, &actor, database->model.k);
}

/* Opens it without its n-th segment; *more is false when there is none. */
static void try_without_segment(struct test *t, const struct database *database,
                                size_t n, bool *more, bool *opened, int *rc,
                                unsigned *asked)
{
	struct sim_disk *disk = sim_disk_branch(database->disk);
	struct os *os = sim_process_open(disk);
	struct os_file *dir = NULL;
	uint64_t size, before;
	const char *path;

	for (size_t i = 0; (path = path_at(database, i, &size)); i++)
		if (strstr(path, "/wal/") && n-- == 0)
			break;
	*more = path != NULL;
	EXPECT_OK(t, os->methods->directory_open(os, "/app", &dir, &t->err));
	if (path)
		EXPECT_OK(t, remove_file(os, dir, path + strlen("app/"), size,
		                         &t->err));
	os_close(dir);
	sim_process_close(os);
	before = fingerprint(disk);
	*rc = try(database, disk, opened, &t->err);
	if (!*opened)
		EXPECT(t, before == fingerprint(disk));
	if (*rc)
		try_losing(t, database, disk, asked);
	sim_disk_close(disk);
}

/* After a death the log holds commits that nothing else holds. With the newest
 * segment they went without a word, when the last opening had begun it: what was
 * left looked like a log that ends there. (vfs/recovery Y5) */
static void a_segment_that_is_gone_is_told(struct test *t)
{
	struct database database;
	unsigned told = 0, asked = 0;

	for (uint32_t life = 0; life < 8 && !t->failed; life++) {
		struct actor actor;
		bool opened, more = true;

		if (life % 4 == 0)
			make(t, &database, 20 + life);
		EXPECT_OK(t, actor_start(&actor, database.disk, 0, &t->err));
		for (uint32_t i = 0; i < 1 + life % 3 && !t->failed; i++)
			EXPECT_OK(t, actor_commit(&actor, database.disk,
			                          &database.model, &t->err));
		actor_die(&actor);
		for (size_t n = 0; more && !t->failed; n++) {
			int rc = ERR_NONE;

			try_without_segment(t, &database, n, &more, &opened,
			                    &rc, &asked);
			if (rc && opened)
				test_fail(t, __FILE__, __LINE__,
				          "life %u, without segment %zu: %s", life,
				          n, t->err.text);
			if (rc)
				EXPECT(t, strstr(t->err.text, "log") ||
				                  strstr(t->err.text, "wal"));
			told += rc != ERR_NONE;
		}
		if (life % 4 == 3)
			sim_disk_close(database.disk);
	}
	printf("note %u of %u refusals were overcome\n", asked, told);
	EXPECT(t, told >= 8 && asked == told);
}

/* What a process leaves that closes, or recovers, needs no log: nothing can be lost
 * with it, and nobody is asked. (vfs/recovery Y6) */
static void a_log_without_commits_is_not_missed(struct test *t)
{
	struct database database;

	for (uint32_t kind = 0; kind < 2 && !t->failed; kind++) {
		struct actor actor;
		struct os *os;
		struct os_file *dir;
		const char *path;
		uint64_t size;

		make(t, &database, 40 + kind);
		if (kind) { /* dies with commits in the log; recovered, dies again */
			EXPECT_OK(t, grow(database.disk, &database.model, 3,
			                  true, &t->err));
			EXPECT_OK(t, actor_start(&actor, database.disk, 0,
			                         &t->err));
			actor_die(&actor);
		}
		os = sim_process_open(database.disk);
		EXPECT_OK(t, os->methods->directory_open(os, "/app", &dir,
		                                         &t->err));
		for (size_t n = 0; !t->failed &&
		     (path = path_at(&database, n, &size));) {
			if (!strstr(path, "/wal/")) {
				n++;
				continue;
			}
			EXPECT_OK(t, remove_file(os, dir, path + strlen("app/"),
			                         size, &t->err));
		}
		os_close(dir);
		sim_process_close(os);
		EXPECT_OK(t, actor_start(&actor, database.disk, 0, &t->err));
		if (!t->failed)
			go_on_after_loss(t, database.disk, &actor,
			                 database.model.k);
		sim_disk_close(database.disk);
	}
}

/* Bytes in the middle of the log that are not what was written there: the commits
 * before them are given, too. */
static void a_damaged_record_costs_what_comes_after_it(struct test *t)
{
	struct database database;
	unsigned asked = 0;
	const char *path;
	uint64_t size;

	make(t, &database, 50);
	EXPECT_OK(t, grow(database.disk, &database.model, 9, true, &t->err));
	for (size_t n = 0; !t->failed && (path = path_at(&database, n, &size));
	     n++) {
		if (!strstr(path, "/wal/"))
			continue;
		for (uint64_t at = WAL_SEGMENT_AREA_AT; at < size;
		     at += size / 4) {
			struct sim_disk *disk = sim_disk_branch(database.disk);
			bool opened;
			uint8_t byte;

			sim_file_peek(disk, path, at, &byte, 1);
			byte ^= 0x40;
			sim_file_poke(disk, path, at, &byte, 1);
			if (try(&database, disk, &opened, &t->err))
				try_losing(t, &database, disk, &asked);
			sim_disk_close(disk);
		}
	}
	printf("note %u damaged logs were cut\n", asked);
	EXPECT(t, asked > 4);
	sim_disk_close(database.disk);
}

/* An opening that began a segment and left it empty stands in nobody's way: neither
 * its own end nor that of the next one, killed or not, makes the database unreadable. */
static void an_empty_segment_is_begun_again(struct test *t)
{
	struct database database;

	make(t, &database, 30);
	for (uint32_t i = 0; i < 6 && !t->failed; i++) {
		struct actor actor;

		EXPECT_OK(t, actor_start(&actor, database.disk, 0, &t->err));
		EXPECT_OK(t, store_view_begin(actor.view, &t->err));
		EXPECT_OK(t, store_view_write(actor.view, 1000, &t->err));
		store_view_end(actor.view);
		if (i % 3 == 2)
			EXPECT_OK(t, actor_end(&actor, &t->err));
		else
			actor_die(&actor);
	}
	if (!t->failed) {
		struct actor actor;

		EXPECT_OK(t, actor_start(&actor, database.disk, 0, &t->err));
		EXPECT_OK(t, read_all(&database, &actor, &t->err));
		EXPECT_OK(t, actor_end(&actor, &t->err));
	}
	sim_disk_close(database.disk);
}

static const struct test_case cases[] = {
	CASE(a_segment_that_is_gone_is_told),
	CASE(a_log_without_commits_is_not_missed),
	CASE(a_damaged_record_costs_what_comes_after_it),
	CASE(an_empty_segment_is_begun_again),
	CASE(a_file_that_was_cut_or_removed_is_named),
	CASE(a_file_of_another_database_is_refused),
	CASE(an_earlier_copy_of_one_file_is_told),
	CASE(an_earlier_copy_of_one_file_beside_a_log_is_told),
	CASE(parts_of_two_moments_are_told),
	CASE(files_that_changed_places_are_told),
	CASE(what_is_not_ours_stays),
	CASE(foreign_segments_are_told),
	CASE(any_shared_memory_file_will_do),
	CASE(a_file_that_cannot_be_opened_is_named),
	CASE(a_newer_format_is_refused_by_its_number),
	CASE(an_older_format_is_read_and_becomes_the_newest),
	CASE(a_path_that_is_no_database_is_refused),
	CASE(an_unrecovered_database_is_not_immutable),
	CASE(a_read_only_disk_says_how_to_open_it),
};
TEST_MAIN(cases)
