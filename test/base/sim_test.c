/*
 * sim_test.c - the simulated disk keeps its promises, and only those.
 */
#include "test/harness.h"

#include <pthread.h>

#include "test/sim/sim.h"

enum { UNIT = 65536, READ_WRITE = OS_OPEN_WRITE | OS_OPEN_CREATE,
       SEEDS = 200 };

struct bench {
	struct sim_disk *disk;
	struct os *os;
	struct os_file *dir;
	struct os_file *file; /* "db/file", where a case asked for it */
};

/* A disk with a process and the durable directory "db". */
static bool bench_open(struct test *t, struct bench *b)
{
	struct sim_options options = { .seed = t->seed };
	struct os_file *root;

	b->disk = sim_disk_create(&options);
	b->os = sim_process_open(b->disk);
	if (b->os->methods->directory_make(b->os, NULL, "/db", &t->err) ||
	    b->os->methods->directory_open(b->os, "/", &root, &t->err) ||
	    b->os->methods->directory_sync(root, NULL, &t->err) ||
	    b->os->methods->directory_open(b->os, "/db", &b->dir, &t->err))
		return false;
	os_close(root);
	return true;
}

static struct os_file *bench_file(struct test *t, struct bench *b,
                                  const char *name)
{
	struct os_file *file = NULL;

	os_open(b->dir, name, READ_WRITE, 0644, &file, &t->err);
	return file;
}

static struct os_file *bench_durable_file(struct test *t, struct bench *b,
                                          const char *name)
{
	struct os_file *file = bench_file(t, b, name);

	return file && b->os->methods->directory_sync(b->dir, NULL, &t->err) ==
	       ERR_NONE ? file : NULL;
}

static bool bench_open_with_file(struct test *t, struct bench *b)
{
	if (!bench_open(t, b))
		return false;
	b->file = bench_durable_file(t, b, "file");
	return b->file != NULL;
}

#define ON_A_DISK(name)                                                       \
	TEST_WITH(name, struct bench, b, bench_open(t, b),                    \
	          sim_disk_close(b->disk))
#define ON_A_FILE(name)                                                       \
	TEST_WITH(name, struct bench, b, bench_open_with_file(t, b),          \
	          sim_disk_close(b->disk))

static int fill(struct os_file *file, uint64_t offset, char letter, size_t size,
                struct err *err)
{
	char *bytes = malloc(size);
	int rc;

	memset(bytes, letter, size);
	rc = os_write(file, offset, bytes, size, err);
	free(bytes);
	return rc;
}

/* The file's bytes after a crash; -1 when it is not there. */
static long crashed_file(struct sim_disk *disk, const char *path, char *bytes,
                         size_t size)
{
	uint64_t there;
	const char *name;

	memset(bytes, 0, size);
	for (size_t i = 0; (name = sim_file_at(disk, i, &there)) != NULL; i++) {
		if (strcmp(name, path) != 0)
			continue;
		if (there < size)
			size = (size_t)there;
		sim_file_peek(disk, path, 0, bytes, size);
		return (long)there;
	}
	return -1;
}

ON_A_FILE(what_is_synced_survives_every_crash)
{
	char bytes[8192];
	struct os_file *file = b->file;
	uint64_t length;

	EXPECT_OK(t, fill(file, 0, 'a', 6000, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	length = sim_trace_length(b->disk);
	EXPECT_OK(t, fill(file, 10000, 'b', 6000, &t->err));
	for (uint64_t n = length; n <= sim_trace_length(b->disk); n++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++)
			for (uint64_t seed = 0; seed < SEEDS; seed++) {
				struct sim_disk *after = sim_crash(
					b->disk, n, (enum sim_crash_kind)kind,
					seed, NULL);

				EXPECT(t, crashed_file(after, "db/file", bytes,
				                       6000) >= 6000);
				for (size_t i = 0; i < 6000; i++)
					EXPECT_EQ(t, bytes[i], 'a');
				sim_disk_close(after);
			}
}

struct seen {
	bool lost, kept, torn, short_size, long_size, missing;
};

static void look(struct seen *seen, const char *bytes, long size,
                 const struct sim_crash_report *report)
{
	size_t letters = 0;

	if (size < 0) {
		seen->missing = true;
		return;
	}
	for (long i = 0; i < size && i < 8192; i++)
		letters += bytes[i] == 'b';
	seen->lost |= letters == 0;
	seen->kept |= letters == 8192;
	seen->torn |= letters > 0 && letters < 8192 && size == 8192;
	seen->short_size |= size == 0;
	seen->long_size |= size == 8192;
	(void)report;
}

ON_A_FILE(what_is_not_synced_may_be_lost_kept_or_torn)
{
	struct seen seen[SIM_CRASH_KINDS] = { { 0 } };
	char bytes[8192];
	struct os_file *file = b->file;

	EXPECT_OK(t, b->os->methods->allocate(file, 0, 8192, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'b', 8192, &t->err));
	for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++)
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			struct sim_crash_report report;
			struct sim_disk *after = sim_crash(
				b->disk, sim_trace_length(b->disk),
				(enum sim_crash_kind)kind, seed, &report);
			long size = crashed_file(after, "db/file", bytes, 8192);

			look(&seen[kind], bytes, size, &report);
			EXPECT_EQ(t, report.writes_torn > 0,
			          seen[kind].torn && size == 8192 &&
			          memchr(bytes, 0, 8192) &&
			          memchr(bytes, 'b', 8192) && !report.cut);
			sim_disk_close(after);
		}
	EXPECT(t, seen[SIM_CRASH_LOST].lost && !seen[SIM_CRASH_LOST].kept &&
	          !seen[SIM_CRASH_LOST].torn);
	EXPECT(t, seen[SIM_CRASH_KEPT].kept && !seen[SIM_CRASH_KEPT].lost);
	EXPECT(t, seen[SIM_CRASH_REORDERED].kept &&
	          seen[SIM_CRASH_REORDERED].lost &&
	          !seen[SIM_CRASH_REORDERED].torn);
	EXPECT(t, seen[SIM_CRASH_TORN_512].torn);
	EXPECT(t, seen[SIM_CRASH_TORN_4096].torn);
	EXPECT(t, seen[SIM_CRASH_KILL].kept && !seen[SIM_CRASH_KILL].lost &&
	          !seen[SIM_CRASH_KILL].torn);
	EXPECT(t, seen[SIM_CRASH_KILL_CUT].torn);
}

/* Sectors are never mixed, and are torn at the size asked for. */
ON_A_FILE(tearing_keeps_sectors_whole)
{
	static const struct { enum sim_crash_kind kind; size_t size; } kinds[] = {
		{ SIM_CRASH_TORN_512, 512 }, { SIM_CRASH_TORN_4096, 4096 }
	};
	char bytes[16384];
	struct os_file *file = b->file;
	bool odd[2] = { false, false };

	EXPECT_OK(t, fill(file, 0, 'a', 16384, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'b', 16384, &t->err));
	for (size_t k = 0; k < 2; k++)
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			struct sim_disk *after = sim_crash(
				b->disk, sim_trace_length(b->disk), kinds[k].kind,
				seed, NULL);

			crashed_file(after, "db/file", bytes, 16384);
			for (size_t i = 0; i < 16384; i++)
				EXPECT_EQ(t, bytes[i],
				          bytes[i - i % kinds[k].size]);
			for (size_t i = 512; i < 16384; i += 1024)
				odd[k] |= bytes[i] != bytes[i - 512];
			sim_disk_close(after);
		}
	EXPECT(t, odd[0] && !odd[1]);
}

/* Two small appends share a sector: the disk has none, the first or both, but
 * never the second alone, for the page cache never looked like that. */
ON_A_FILE(a_sector_is_as_it_was_at_some_moment)
{
	bool seen[3] = { false, false, false };
	char bytes[512];
	struct os_file *file = b->file;

	EXPECT_OK(t, b->os->methods->allocate(file, 0, 512, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'a', 100, &t->err));
	EXPECT_OK(t, fill(file, 100, 'b', 100, &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk), SIM_CRASH_REORDERED,
			seed, NULL);

		crashed_file(after, "db/file", bytes, 512);
		EXPECT(t, bytes[150] != 'b' || bytes[50] == 'a');
		seen[(bytes[50] == 'a') + (bytes[150] == 'b')] = true;
		sim_disk_close(after);
	}
	EXPECT(t, seen[0] && seen[1] && seen[2]);
}

ON_A_DISK(a_later_write_may_overtake_an_earlier_one)
{
	char one[512], two[512];
	struct os_file *first, *second;
	unsigned overtaken = 0, reported = 0;

	first = bench_durable_file(t, b, "first");
	second = bench_durable_file(t, b, "second");
	EXPECT(t, first && second);
	EXPECT_OK(t, fill(first, 0, 'a', 512, &t->err));
	EXPECT_OK(t, fill(second, 0, 'b', 512, &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_crash_report report;
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk), SIM_CRASH_REORDERED,
			seed, &report);

		crashed_file(after, "db/first", one, 512);
		crashed_file(after, "db/second", two, 512);
		overtaken += two[0] == 'b' && one[0] != 'a';
		reported += report.reordered > 0;
		sim_disk_close(after);
	}
	EXPECT(t, overtaken > 10 && reported >= overtaken);
}

ON_A_FILE(a_size_is_durable_only_after_a_sync)
{
	struct seen seen = { 0 };
	char bytes[8192];
	struct os_file *file = b->file;
	uint64_t before;

	EXPECT_OK(t, b->os->methods->allocate(file, 0, 8192, &t->err));
	before = sim_trace_length(b->disk);
	EXPECT_OK(t, os_sync(file, &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_crash_report report;
		struct sim_disk *after = sim_crash(
			b->disk, before, SIM_CRASH_REORDERED, seed, &report);

		look(&seen, bytes, crashed_file(after, "db/file", bytes, 8192),
		     &report);
		sim_disk_close(after);
		after = sim_crash(b->disk, before + 1, SIM_CRASH_LOST, seed,
		                  NULL);
		EXPECT_EQ(t, crashed_file(after, "db/file", bytes, 8192), 8192);
		sim_disk_close(after);
	}
	EXPECT(t, seen.short_size && seen.long_size);
}

ON_A_FILE(a_shrunk_file_may_be_long_again_with_its_old_bytes)
{
	bool was_long = false, was_short = false;
	char bytes[8192];
	struct os_file *file = b->file;

	EXPECT_OK(t, fill(file, 0, 'b', 8192, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, b->os->methods->truncate(file, 100, &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk),
			seed % 2 ? SIM_CRASH_KEPT : SIM_CRASH_LOST, seed, NULL);
		long size = crashed_file(after, "db/file", bytes, 8192);

		was_short |= size == 100;
		was_long |= size == 8192 && bytes[8000] == 'b';
		EXPECT(t, size == 100 || size == 8192);
		sim_disk_close(after);
	}
	EXPECT(t, was_long && was_short);
}

/* A synced file is lost all the same when its name is not on the disk. */
ON_A_DISK(names_are_durable_only_with_their_directory)
{
	bool created[2] = { false, false }, removed[2] = { false, false };
	char bytes[8];
	struct os_file *file;

	EXPECT(t, bench_durable_file(t, b, "old") != NULL);
	file = bench_file(t, b, "new");
	EXPECT(t, file);
	EXPECT_OK(t, fill(file, 0, 'a', 8, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, b->os->methods->unlink(b->dir, "old", &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_crash_report report;
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk), SIM_CRASH_NAMES,
			seed, &report);
		long new_size = crashed_file(after, "db/new", bytes, 8);
		long old_size = crashed_file(after, "db/old", bytes, 8);

		created[new_size == 8] = true;
		removed[old_size < 0] = true;
		EXPECT(t, new_size == 8 || new_size == -1);
		EXPECT_EQ(t, report.names_undone,
		          (new_size < 0) + (old_size == 0));
		sim_disk_close(after);
	}
	EXPECT(t, created[0] && created[1] && removed[0] && removed[1]);
	EXPECT_OK(t, b->os->methods->directory_sync(b->dir, NULL, &t->err));
	for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk),
			(enum sim_crash_kind)kind, t->seed, NULL);

		EXPECT_EQ(t, crashed_file(after, "db/new", bytes, 8), 8);
		EXPECT_EQ(t, bytes[7], 'a');
		EXPECT_EQ(t, crashed_file(after, "db/old", bytes, 8), -1);
		sim_disk_close(after);
	}
}

ON_A_DISK(a_lost_directory_takes_its_files_along)
{
	char bytes[8];
	struct os_file *file;
	struct sim_disk *after;

	EXPECT_OK(t, b->os->methods->directory_make(b->os, b->dir, "wal", &t->err));
	file = bench_file(t, b, "wal/one");
	EXPECT(t, file);
	EXPECT_OK(t, fill(file, 0, 'a', 8, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, b->os->methods->directory_sync(b->dir, "wal", &t->err));
	after = sim_crash(b->disk, sim_trace_length(b->disk), SIM_CRASH_LOST, 0,
	                  NULL);
	EXPECT_EQ(t, crashed_file(after, "db/wal/one", bytes, 8), -1);
	sim_disk_close(after);
	EXPECT_OK(t, b->os->methods->directory_sync(b->dir, NULL, &t->err));
	after = sim_crash(b->disk, sim_trace_length(b->disk), SIM_CRASH_LOST, 0,
	                  NULL);
	EXPECT_EQ(t, crashed_file(after, "db/wal/one", bytes, 8), 8);
	sim_disk_close(after);
}

/* Linux marks the pages of a failed sync clean: the next sync succeeds, and
 * still they are not on the disk. */
ON_A_DISK(a_failed_sync_loses_bytes_for_good)
{
	struct sim_fault fault = { .call = SIM_CALL_SYNC, .nth = 1,
		                   .code = ERR_IO, .effect = SIM_FAULT_DROP };
	char bytes[4096];
	struct os_file *file, *other;
	struct sim_disk *after;

	file = bench_durable_file(t, b, "file");
	other = bench_file(t, b, "file");
	EXPECT(t, file && other);
	EXPECT_OK(t, fill(file, 0, 'a', 4096, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'b', 2048, &t->err));
	sim_fault_add(b->disk, &fault);
	EXPECT_ERR(t, os_sync(file, &t->err), ERR_IO, "sync file: a simulated");
	EXPECT_OK(t, os_read(file, 0, bytes, 4096, &t->err));
	EXPECT_EQ(t, bytes[0], 'b');
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_ERR(t, os_sync(other, &t->err), ERR_IO, "sync file: Input/output");
	EXPECT_OK(t, os_sync(other, &t->err));
	EXPECT_EQ(t, sim_fault_hits(b->disk), 1);
	for (unsigned kind = 0; kind < SIM_CRASH_KILL; kind++) {
		after = sim_crash(b->disk, sim_trace_length(b->disk),
		                  (enum sim_crash_kind)kind, t->seed, NULL);
		EXPECT_EQ(t, crashed_file(after, "db/file", bytes, 4096), 4096);
		EXPECT_EQ(t, bytes[0], 'a');
		sim_disk_close(after);
	}
	sim_fault_clear(b->disk);
	fault.effect = SIM_FAULT_EVICT;
	EXPECT_OK(t, fill(file, 0, 'c', 2048, &t->err));
	sim_fault_add(b->disk, &fault);
	EXPECT_ERR(t, os_sync(file, &t->err), ERR_IO, "sync file");
	EXPECT_OK(t, os_read(file, 0, bytes, 4096, &t->err));
	EXPECT_EQ(t, bytes[0], 'a');
	EXPECT_EQ(t, bytes[2048], 'a');
}

ON_A_FILE(a_killed_write_is_cut_in_its_middle)
{
	char bytes[1000];
	struct os_file *file = b->file;
	bool seen_cut = false;

	EXPECT_OK(t, fill(file, 0, 'a', 10, &t->err));
	EXPECT_OK(t, fill(file, 5, 'b', 990, &t->err));
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct sim_crash_report report;
		struct sim_disk *after = sim_crash(
			b->disk, sim_trace_length(b->disk), SIM_CRASH_KILL_CUT,
			seed, &report);
		long size = crashed_file(after, "db/file", bytes, 1000);
		long edge = 5;

		EXPECT(t, report.cut);
		EXPECT(t, size >= 10 && size < 995);
		EXPECT(t, memcmp(bytes, "aaaaa", 5) == 0);
		while (edge < size && bytes[edge] == 'b')
			edge++;
		EXPECT(t, edge > 5 && (edge == size ||
		                       (edge < 10 && bytes[edge] == 'a')));
		seen_cut |= size % 512 != 0;
		sim_disk_close(after);
	}
	EXPECT(t, seen_cut);
}

/* The trace is asked backwards, too. */
ON_A_FILE(every_prefix_is_what_it_was)
{
	char bytes[64];
	struct os_file *file = b->file;
	uint64_t start;

	start = sim_trace_length(b->disk);
	for (unsigned i = 0; i < 64; i++)
		EXPECT_OK(t, fill(file, i, 'a', 1, &t->err));
	for (unsigned step = 0; step < 128; step++) {
		unsigned n = step < 64 ? step : 127 - step;
		struct sim_disk *after = sim_crash(b->disk, start + n,
		                                   SIM_CRASH_KILL, 0, NULL);

		EXPECT_EQ(t, crashed_file(after, "db/file", bytes, 64), n);
		sim_disk_close(after);
	}
}

static uint64_t hash_disk(struct sim_disk *disk)
{
	uint64_t hash = 14695981039346656037u, size;
	const char *path;

	for (size_t i = 0; (path = sim_file_at(disk, i, &size)) != NULL; i++) {
		uint8_t *bytes = malloc(size + 1);

		sim_file_peek(disk, path, 0, bytes, size);
		for (uint64_t k = 0; k < size; k++)
			hash = (hash ^ bytes[k]) * 1099511628211u;
		hash = (hash ^ strlen(path) ^ size) * 1099511628211u;
		free(bytes);
	}
	return hash;
}

/* Random writes, syncs and cuts over a few files. */
static bool scribble(struct test *t, struct bench *b, uint64_t seed,
                     unsigned calls)
{
	uint64_t random = seed;
	struct os_file *files[3];
	const char *names[3] = { "one", "two", "three" };
	int rc = 0;

	for (size_t i = 0; i < 3; i++)
		files[i] = bench_file(t, b, names[i]);
	for (unsigned i = 0; i < calls && !rc; i++) {
		struct os_file *file = files[test_random(&random) % 3];
		uint64_t offset = test_random(&random) % 20000;

		switch (test_random(&random) % 10) {
		case 0:
			rc = os_sync(file, &t->err);
			break;
		case 1:
			rc = b->os->methods->directory_sync(b->dir, NULL,
			                                    &t->err);
			break;
		case 2:
			rc = b->os->methods->truncate(file, offset, &t->err);
			break;
		case 3:
			rc = b->os->methods->allocate(file, offset, 4096,
			                              &t->err);
			break;
		default:
			rc = fill(file, offset, (char)('a' + i % 26),
			          test_random(&random) % 9000, &t->err);
		}
	}
	for (size_t i = 0; i < 3; i++)
		os_close(files[i]);
	return rc == 0;
}

/* One of the two crashed disks is used before it is closed: the memory it
 * leaves to the next one must not shine through. */
static bool use_disk(struct test *t, struct sim_disk *disk, uint64_t seed)
{
	struct bench b = { .disk = disk, .os = sim_process_open(disk) };

	return b.os->methods->directory_open(b.os, "db", &b.dir, NULL) ||
	       scribble(t, &b, seed, 10);
}

static void a_seed_finds_its_state_again(struct test *t)
{
	struct bench one, two;

	EXPECT(t, bench_open(t, &one) && scribble(t, &one, 5, 100));
	EXPECT(t, bench_open(t, &two) && scribble(t, &two, 5, 100));
	for (uint64_t n = 3; n <= sim_trace_length(one.disk); n += 7)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			struct sim_crash_report a, b;
			struct sim_disk *left = sim_crash(
				one.disk, n, (enum sim_crash_kind)kind, n, &a);
			struct sim_disk *right = sim_crash(
				two.disk, n, (enum sim_crash_kind)kind, n, &b);

			EXPECT(t, hash_disk(left) == hash_disk(right));
			EXPECT_EQ(t, a.fingerprint, b.fingerprint);
			EXPECT(t, use_disk(t, left, n * 31 + kind));
			sim_disk_close(left);
			sim_disk_close(right);
		}
	sim_disk_close(one.disk);
	sim_disk_close(two.disk);
}

/* Killing everybody at the end leaves exactly what the processes saw; so does
 * a branch; and a crash of a branch keeps all of it. */
static void the_page_cache_survives_a_kill(struct test *t)
{
	for (uint64_t seed = 1; seed < 30; seed++) {
		struct sim_disk *killed, *branch, *lost;
		struct bench b;

		EXPECT(t, bench_open(t, &b) && scribble(t, &b, seed, 60));
		killed = sim_crash(b.disk, sim_trace_length(b.disk),
		                   SIM_CRASH_KILL, seed, NULL);
		branch = sim_disk_branch(b.disk);
		lost = sim_crash(branch, 0, SIM_CRASH_LOST, seed, NULL);
		EXPECT(t, hash_disk(killed) == hash_disk(b.disk));
		EXPECT(t, hash_disk(branch) == hash_disk(b.disk));
		EXPECT(t, hash_disk(lost) == hash_disk(b.disk));
		sim_disk_close(lost);
		sim_disk_close(branch);
		sim_disk_close(killed);
		sim_disk_close(b.disk);
	}
}

/* What a crash cut off must not come back when the file grows again. */
static void a_disk_used_after_a_crash_is_traced_exactly(struct test *t)
{
	struct bench b;

	EXPECT(t, bench_open(t, &b) && scribble(t, &b, t->seed, 80));
	for (uint64_t n = 3; n <= sim_trace_length(b.disk); n++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			struct sim_disk *first = sim_crash(
				b.disk, n, (enum sim_crash_kind)kind, n, NULL);
			struct sim_disk *second;

			EXPECT(t, use_disk(t, first, n));
			second = sim_crash(first, sim_trace_length(first),
			                   SIM_CRASH_KILL, n, NULL);
			EXPECT(t, hash_disk(first) == hash_disk(second));
			sim_disk_close(second);
			sim_disk_close(first);
		}
	sim_disk_close(b.disk);
}

ON_A_FILE(a_crashed_disk_can_crash_again)
{
	char bytes[4];
	struct os_file *file = b->file, *dir;
	struct sim_disk *first, *second;
	struct os *os;

	EXPECT_OK(t, fill(file, 0, 'a', 4, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'b', 4, &t->err));
	first = sim_crash(b->disk, sim_trace_length(b->disk), SIM_CRASH_KEPT, 1,
	                  NULL);
	os = sim_process_open(first);
	EXPECT_EQ(t, sim_trace_length(first), 0);
	EXPECT_OK(t, os->methods->directory_open(os, "db", &dir, &t->err));
	EXPECT_OK(t, os_open(dir, "file", OS_OPEN_WRITE, 0, &file, &t->err));
	EXPECT_OK(t, fill(file, 0, 'c', 4, &t->err));
	second = sim_crash(first, 1, SIM_CRASH_LOST, 1, NULL);
	EXPECT_EQ(t, crashed_file(second, "db/file", bytes, 4), 4);
	EXPECT_EQ(t, bytes[0], 'b');
	sim_disk_close(second);
	sim_disk_close(first);
}

/* Shared memory after power loss is worthless, after a kill it is as it was. */
ON_A_DISK(a_writable_map_is_garbage_after_power_loss)
{
	bool old = false, zero = false, garbage = false, kept = false;
	uint8_t bytes[UNIT];
	struct os_file *file;
	struct sim_disk *after;
	uint64_t length;
	void *at;

	file = bench_durable_file(t, b, "shm");
	EXPECT(t, file);
	EXPECT_OK(t, fill(file, 0, 'a', UNIT, &t->err));
	EXPECT_OK(t, os_sync(file, &t->err));
	EXPECT_OK(t, b->os->methods->reserve(b->os, UNIT, &at, &t->err));
	EXPECT_OK(t, b->os->methods->map(file, 0, UNIT, at, true, &t->err));
	memset(at, 'b', UNIT);
	length = sim_trace_length(b->disk);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		after = sim_crash(b->disk, length, SIM_CRASH_KEPT, seed, NULL);
		crashed_file(after, "db/shm", (char *)bytes, UNIT);
		old |= bytes[9] == 'a';
		zero |= bytes[9] == 0;
		kept |= bytes[9] == 'b';
		garbage |= bytes[9] != 'a' && bytes[9] && bytes[9] != 'b';
		sim_disk_close(after);
	}
	EXPECT(t, old && zero && garbage && kept);
	EXPECT(t, bench_file(t, b, "next") != NULL);
	memset(at, 'c', 10);
	after = sim_crash(b->disk, length + 1, SIM_CRASH_KILL, 2, NULL);
	crashed_file(after, "db/shm", (char *)bytes, UNIT);
	EXPECT(t, (bytes[9] == 'b' || bytes[9] == 'c') && bytes[10] == 'b');
	sim_disk_close(after);
}

static bool lock_is_had(struct os_file *file, uint64_t offset,
                        enum os_lock_kind kind)
{
	bool held = false;

	return file->os->methods->lock(file, offset, kind, &held, NULL) ==
	       ERR_NONE && held;
}

static bool lock_is_seen(struct os_file *file, uint64_t offset)
{
	bool held = false;

	file->os->methods->lock_probe(file, offset, &held, NULL);
	return held;
}

ON_A_DISK(locks_conflict_between_processes_until_one_dies)
{
	struct os *other;
	struct os_file *mine, *theirs, *dir;

	mine = bench_file(t, b, "meta");
	other = sim_process_open(b->disk);
	EXPECT_OK(t, other->methods->directory_open(other, "db", &dir, &t->err));
	EXPECT_OK(t, os_open(dir, "meta", OS_OPEN_WRITE, 0, &theirs, &t->err));
	EXPECT(t, lock_is_had(theirs, 7, OS_LOCK_EXCLUSIVE));
	EXPECT(t, lock_is_had(mine, 8, OS_LOCK_EXCLUSIVE));
	EXPECT(t, !lock_is_had(mine, 7, OS_LOCK_SHARED));
	EXPECT(t, lock_is_seen(mine, 7) && !lock_is_seen(theirs, 7));
	sim_process_kill(other);
	EXPECT(t, !lock_is_seen(mine, 7));
	EXPECT(t, lock_is_had(mine, 7, OS_LOCK_EXCLUSIVE));
	EXPECT_ERR(t, os_write(theirs, 0, "x", 1, &t->err), ERR_IO,
	           "write meta: the process was killed");
	EXPECT(t, lock_is_had(mine, 7, OS_LOCK_SHARED));
	os_close(theirs);
	sim_process_close(other);
}

/* Code of the dead process may run on, for it only sees errors; what it does to
 * shared memory then must not reach the living. */
ON_A_DISK(the_dead_cannot_reach_shared_memory)
{
	struct os *other;
	struct os_file *mine, *theirs, *dir;
	void *living, *dead;

	mine = bench_file(t, b, "shm");
	EXPECT_OK(t, b->os->methods->truncate(mine, UNIT, &t->err));
	other = sim_process_open(b->disk);
	EXPECT_OK(t, other->methods->directory_open(other, "db", &dir, &t->err));
	EXPECT_OK(t, os_open(dir, "shm", OS_OPEN_WRITE, 0, &theirs, &t->err));
	EXPECT_OK(t, b->os->methods->reserve(b->os, UNIT, &living, &t->err));
	EXPECT_OK(t, other->methods->reserve(other, UNIT, &dead, &t->err));
	EXPECT_OK(t, b->os->methods->map(mine, 0, UNIT, living, true, &t->err));
	EXPECT_OK(t, other->methods->map(theirs, 0, UNIT, dead, true, &t->err));
	memcpy(dead, "one", 4);
	EXPECT_STR(t, (char *)living, "one");
	sim_process_kill(other);
	memcpy(dead, "two", 4);
	EXPECT_STR(t, (char *)living, "one");
	EXPECT_STR(t, (char *)dead, "two");
}

ON_A_DISK(a_process_dies_at_the_call_it_was_told)
{
	char bytes[100];
	struct os_file *file;

	file = bench_durable_file(t, b, "file");
	sim_process_kill_after(b->os, 2, true);
	EXPECT_OK(t, fill(file, 0, 'a', 10, &t->err));
	EXPECT_OK(t, os_read(file, 0, bytes, 10, &t->err));
	EXPECT_OK(t, fill(file, 10, 'b', 10, &t->err));
	EXPECT(t, !sim_process_is_dead(b->os));
	EXPECT_ERR(t, fill(file, 20, 'c', 70, &t->err), ERR_IO, "was killed");
	EXPECT(t, sim_process_is_dead(b->os));
	EXPECT_ERR(t, os_sync(file, &t->err), ERR_IO, "sync file: the process");
	EXPECT(t, crashed_file(b->disk, "db/file", bytes, 100) < 90);
	EXPECT_EQ(t, bytes[19], 'b');
}

ON_A_DISK(faults_hit_what_they_name)
{
	struct sim_fault write = { .call = SIM_CALL_WRITE, .path_part = "wal",
		                   .nth = 2, .code = ERR_IO,
		                   .effect = SIM_FAULT_PART_DONE };
	struct sim_fault map = { .call = SIM_CALL_MAP, .nth = 1,
		                 .sticky = true, .code = ERR_NOMEM };
	char bytes[5000];
	struct os_file *file, *wal;
	void *at;

	file = bench_file(t, b, "file");
	wal = bench_file(t, b, "wal.000001");
	sim_fault_add(b->disk, &write);
	sim_fault_add(b->disk, &map);
	EXPECT_OK(t, fill(wal, 0, 'a', 5000, &t->err));
	EXPECT_OK(t, fill(file, 0, 'a', 5000, &t->err));
	EXPECT_ERR(t, fill(wal, 0, 'b', 5000, &t->err), ERR_IO,
	           "write wal.000001: a simulated fault");
	EXPECT_OK(t, os_read(wal, 0, bytes, 5000, &t->err));
	EXPECT(t, bytes[4999] == 'a');
	EXPECT_OK(t, fill(wal, 0, 'c', 5000, &t->err));
	EXPECT_OK(t, b->os->methods->reserve(b->os, UNIT, &at, &t->err));
	for (int i = 0; i < 3; i++)
		EXPECT_ERR(t, b->os->methods->map(file, 0, 4096, at, false,
		                                 &t->err),
		           ERR_NOMEM, "map file: a simulated fault");
	sim_fault_clear(b->disk);
	EXPECT_OK(t, b->os->methods->map(file, 0, 4096, at, false, &t->err));
	EXPECT_EQ(t, *(char *)at, 'a');
}

ON_A_DISK(a_full_disk_says_so_and_heals)
{
	struct os_file *file, *second;

	sim_disk_set_capacity(b->disk, 4 * UNIT);
	file = bench_file(t, b, "file");
	second = bench_file(t, b, "second");
	EXPECT_OK(t, b->os->methods->allocate(file, 0, 3 * UNIT, &t->err));
	EXPECT_ERR(t, b->os->methods->allocate(second, 0, 2 * UNIT, &t->err),
	           ERR_FULL, "allocate space for second: No space left");
	EXPECT_OK(t, fill(file, 0, 'a', 3 * UNIT, &t->err));
	EXPECT_ERR(t, fill(second, 0, 'a', 2 * UNIT, &t->err), ERR_FULL,
	           "write second: No space left");
	EXPECT_EQ(t, sim_disk_used(b->disk), 4 * UNIT);
	os_close(file);
	EXPECT_OK(t, b->os->methods->unlink(b->dir, "file", &t->err));
	EXPECT_OK(t, fill(second, 0, 'a', 2 * UNIT, &t->err));
}

ON_A_DISK(read_only_media_refuse_changes)
{
	struct os_file *file, *again;

	file = bench_file(t, b, "file");
	sim_disk_set_read_only(b->disk, true);
	EXPECT_ERR(t, fill(file, 0, 'a', 10, &t->err), ERR_READONLY,
	           "write file: Read-only file system");
	EXPECT_ERR(t, os_open(b->dir, "file", OS_OPEN_WRITE, 0, &again, &t->err),
	           ERR_READONLY, "open file: Read-only");
	EXPECT_ERR(t, os_open(b->dir, "new", READ_WRITE, 0, &again, &t->err),
	           ERR_READONLY, "open new: Read-only");
	EXPECT_ERR(t, b->os->methods->unlink(b->dir, "file", &t->err),
	           ERR_READONLY, "unlink file");
	EXPECT_OK(t, os_open(b->dir, "file", OS_OPEN_READ, 0, &again, &t->err));
	EXPECT_ERR(t, fill(again, 0, 'a', 1, &t->err), ERR_READONLY, "write");
}

static int stop_third_write(void *context, struct os *os, enum sim_call call,
                            const char *name, uint64_t index, struct err *err)
{
	unsigned *count = context;

	(void)os, (void)index;
	if (call != SIM_CALL_WRITE || ++*count != 3)
		return ERR_NONE;
	return err_set(err, ERR_BUSY, "hook", name, "no");
}

ON_A_DISK(a_hook_sees_every_call_and_may_answer)
{
	unsigned count = 0;
	struct os_file *file;

	file = bench_file(t, b, "file");
	sim_hook_set(b->disk, stop_third_write, &count);
	EXPECT_OK(t, fill(file, 0, 'a', 1, &t->err));
	EXPECT_OK(t, fill(file, 0, 'a', 1, &t->err));
	EXPECT_ERR(t, fill(file, 0, 'a', 1, &t->err), ERR_BUSY,
	           "hook db/file: no");
	EXPECT_EQ(t, sim_call_count(b->disk, SIM_CALL_WRITE), 2);
}

static void time_is_virtual_and_randomness_seeded(struct test *t)
{
	_Atomic uint32_t word = 1;
	uint8_t one[32], two[32];
	struct bench a, b;
	uint64_t before;

	EXPECT(t, bench_open(t, &a) && bench_open(t, &b));
	before = a.os->methods->monotonic_us(a.os);
	a.os->methods->sleep_us(a.os, 3600000000u);
	a.os->methods->wait(a.os, &word, 1, 1000);
	a.os->methods->wait(a.os, &word, 2, 1000);
	EXPECT_EQ(t, a.os->methods->monotonic_us(a.os) - before, 3600001001);
	a.os->methods->random(a.os, one, 32);
	b.os->methods->random(b.os, two, 32);
	EXPECT(t, memcmp(one, two, 32) == 0);
	a.os->methods->random(a.os, one, 32);
	EXPECT(t, memcmp(one, two, 32) != 0);
	EXPECT_EQ(t, *a.os->methods->fork_canary(a.os), 1);
	sim_disk_close(a.disk);
	sim_disk_close(b.disk);
}

static int count_name(void *context, const char *entry)
{
	char *names = context;

	strcat(names, entry);
	strcat(names, " ");
	return 0;
}

ON_A_DISK(the_tree_answers_like_a_real_one)
{
	struct os_identity identity;
	const struct os_methods *m;
	char names[100] = "", bytes[10], path[300];
	struct os_file *file;
	size_t got;

	m = b->os->methods;
	EXPECT_OK(t, m->directory_make(b->os, b->dir, "root", &t->err));
	EXPECT_ERR(t, m->directory_make(b->os, b->dir, "root", &t->err),
	           ERR_EXISTS, "make directory root: File exists");
	EXPECT_ERR(t, os_open(b->dir, "none/file", READ_WRITE, 0, &file, &t->err),
	           ERR_MISSING, "open none/file: No such file");
	EXPECT_ERR(t, os_open(b->dir, "../x", READ_WRITE, 0, &file, &t->err),
	           ERR_INVALID, "leaves");
	EXPECT_ERR(t, os_open(b->dir, "root", OS_OPEN_READ, 0, &file, &t->err),
	           ERR_CANTOPEN, "not a regular file");
	memset(path, 'x', 256);
	path[256] = 0;
	EXPECT_ERR(t, os_open(b->dir, path, READ_WRITE, 0, &file, &t->err),
	           ERR_CANTOPEN, "File name too long");
	EXPECT_OK(t, os_open(b->dir, "root/a", READ_WRITE, 0640, &file, &t->err));
	EXPECT_OK(t, fill(file, 3, 'x', 4, &t->err));
	EXPECT_OK(t, os_read_some(file, 0, bytes, 10, &got, &t->err));
	EXPECT_EQ(t, got, 7);
	EXPECT_ERR(t, os_read(file, 0, bytes, 10, &t->err), ERR_CORRUPT,
	           "read root/a: it ends at 7");
	EXPECT_ERR(t, os_open(b->dir, "root/a", READ_WRITE | OS_OPEN_EXCLUSIVE, 0,
	                      &file, &t->err), ERR_EXISTS, "File exists");
	EXPECT_OK(t, m->identity(file, &identity, &t->err));
	EXPECT(t, identity.mode == 0640 && identity.size == 7);
	EXPECT(t, bench_file(t, b, "root/b") != NULL);
	EXPECT_OK(t, m->directory_list(b->dir, "root", count_name, names,
	                               &t->err));
	EXPECT_STR(t, names, "a b ");
	EXPECT_OK(t, m->unlink(b->dir, "root/a", &t->err));
	EXPECT_ERR(t, m->unlink(b->dir, "root/a", &t->err), ERR_MISSING, "unlink");
	EXPECT_OK(t, os_read(file, 3, bytes, 4, &t->err));
	EXPECT_OK(t, m->identify(b->os, NULL, "db/root", &identity, &t->err));
	EXPECT_EQ(t, identity.kind, OS_NODE_DIRECTORY);
	EXPECT_OK(t, m->identify(b->os, b->dir, "root/a", &identity, &t->err));
	EXPECT_EQ(t, identity.kind, OS_NODE_MISSING);
	sim_trace_describe(b->disk, sim_trace_length(b->disk) - 3, path,
	                   sizeof path);
	EXPECT_STR(t, path, "4 write db/root/a: 4 bytes at 3");
}

struct waiter {
	struct os *os;
	_Atomic uint32_t *word;
};

static void *wait_for_word(void *argument)
{
	struct waiter *waiter = argument;

	while (atomic_load(waiter->word) == 0)
		waiter->os->methods->wait(waiter->os, waiter->word, 0,
		                          UINT64_MAX);
	return NULL;
}

/* With `threads`, waiting is real and shared memory wakes across processes. */
static void threads_really_wait(struct test *t)
{
	struct sim_options options = { .threads = true };
	struct sim_disk *disk = sim_disk_create(&options);
	struct os *os[2];
	struct os_file *dir, *file;
	void *at[2];
	struct waiter waiter;
	pthread_t thread;

	for (int i = 0; i < 2; i++) {
		os[i] = sim_process_open(disk);
		EXPECT_OK(t, os[i]->methods->directory_open(os[i], "/", &dir,
		                                            &t->err));
		EXPECT_OK(t, os_open(dir, "shm", READ_WRITE, 0600, &file,
		                     &t->err));
		EXPECT_OK(t, os[i]->methods->truncate(file, UNIT, &t->err));
		EXPECT_OK(t, os[i]->methods->reserve(os[i], UNIT, &at[i],
		                                     &t->err));
		EXPECT_OK(t, os[i]->methods->map(file, 0, UNIT, at[i], true,
		                                 &t->err));
	}
	waiter = (struct waiter){ os[0], at[0] };
	pthread_create(&thread, NULL, wait_for_word, &waiter);
	os[1]->methods->sleep_us(os[1], 20000);
	atomic_store((_Atomic uint32_t *)at[1], 1);
	os[1]->methods->wake(os[1], at[1], UINT32_MAX);
	pthread_join(thread, NULL);
	sim_disk_close(disk);
}

struct busy {
	struct os_file *dir;
	unsigned number;
	int rc;
};

static void *keep_busy(void *argument)
{
	struct busy *busy = argument;
	struct os_file *file;
	char name[32], bytes[3000] = { 0 };

	for (unsigned i = 0; i < 60 && !busy->rc; i++) {
		snprintf(name, sizeof name, "f%u-%u", busy->number, i % 7);
		busy->rc = os_open(busy->dir, name, READ_WRITE, 0600, &file,
		                   NULL);
		if (busy->rc)
			break;
		busy->rc = os_write(file, i * 100, bytes, sizeof bytes, NULL);
		if (!busy->rc)
			busy->rc = os_sync(file, NULL);
		os_close(file);
		if (!busy->rc && i % 7 == 6)
			busy->rc = busy->dir->os->methods->unlink(busy->dir,
			                                          name, NULL);
	}
	return NULL;
}

ON_A_DISK(threads_share_a_disk)
{
	struct busy busy[4];
	pthread_t threads[4];
	struct sim_disk *after;

	for (unsigned i = 0; i < 4; i++) {
		busy[i] = (struct busy){ .dir = b->dir, .number = i };
		pthread_create(&threads[i], NULL, keep_busy, &busy[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(t, busy[i].rc, 0);
	after = sim_crash(b->disk, sim_trace_length(b->disk), SIM_CRASH_KILL, 0,
	                  NULL);
	EXPECT(t, hash_disk(after) == hash_disk(b->disk));
	sim_disk_close(after);
}

ON_A_DISK(a_closed_process_leaves_nothing_open)
{
	void *at;

	EXPECT(t, bench_file(t, b, "one") != NULL);
	EXPECT_OK(t, b->os->methods->reserve(b->os, UNIT, &at, &t->err));
	EXPECT_EQ(t, sim_process_open_count(b->os), 3);
	b->os->methods->unreserve(b->os, at, UNIT);
	EXPECT_EQ(t, sim_process_open_count(b->os), 2);
	sim_process_close(b->os);
}

static const struct test_case cases[] = {
	CASE(what_is_synced_survives_every_crash),
	CASE(what_is_not_synced_may_be_lost_kept_or_torn),
	CASE(tearing_keeps_sectors_whole),
	CASE(a_sector_is_as_it_was_at_some_moment),
	CASE(a_later_write_may_overtake_an_earlier_one),
	CASE(a_size_is_durable_only_after_a_sync),
	CASE(a_shrunk_file_may_be_long_again_with_its_old_bytes),
	CASE(names_are_durable_only_with_their_directory),
	CASE(a_lost_directory_takes_its_files_along),
	CASE(a_failed_sync_loses_bytes_for_good),
	CASE(a_killed_write_is_cut_in_its_middle),
	CASE(every_prefix_is_what_it_was),
	CASE(a_seed_finds_its_state_again),
	CASE(the_page_cache_survives_a_kill),
	CASE(a_disk_used_after_a_crash_is_traced_exactly),
	CASE(a_crashed_disk_can_crash_again),
	CASE(a_writable_map_is_garbage_after_power_loss),
	CASE(locks_conflict_between_processes_until_one_dies),
	CASE(the_dead_cannot_reach_shared_memory),
	CASE(a_process_dies_at_the_call_it_was_told),
	CASE(faults_hit_what_they_name),
	CASE(a_full_disk_says_so_and_heals),
	CASE(read_only_media_refuse_changes),
	CASE(a_hook_sees_every_call_and_may_answer),
	CASE(time_is_virtual_and_randomness_seeded),
	CASE(the_tree_answers_like_a_real_one),
	CASE(threads_really_wait),
	CASE(threads_share_a_disk),
	CASE(a_closed_process_leaves_nothing_open),
};
TEST_MAIN(cases)
