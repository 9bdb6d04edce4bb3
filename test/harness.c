/*
 * harness.c - runs a table of cases and counts them.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <ftw.h>
#include <stdarg.h>
#include <unistd.h>

static char directories[64][256];
static size_t directory_count;

static int remove_entry(const char *path, const struct stat *info, int kind,
                        struct FTW *walk)
{
	(void)info, (void)kind, (void)walk;
	return remove(path);
}

static void remove_directories(void)
{
	while (directory_count)
		nftw(directories[--directory_count], remove_entry, 16,
		     FTW_DEPTH | FTW_PHYS);
}

void test_directory(struct test *t, char path[256])
{
	const char *root = getenv("TMPDIR");

	snprintf(path, 256, "%s/turdb-test-XXXXXX", root ? root : "/tmp");
	if (!mkdtemp(path)) {
		test_fail(t, __FILE__, __LINE__, "mkdtemp %s failed", path);
		return;
	}
	if (directory_count < 64)
		memcpy(directories[directory_count++], path, 256);
}

/* A test is build/VARIANT/test/FOLDER/NAME. */
const char *test_extension(char path[TEST_PATH_SIZE])
{
	const char *named = getenv("TURDB_SO");
	ssize_t size;

	if (named)
		return named;
	size = readlink("/proc/self/exe", path,
	                TEST_PATH_SIZE - sizeof "/turdb.so");
	path[size > 0 ? size : 0] = 0;
	for (int i = 0; i < 3 && strrchr(path, '/'); i++)
		*strrchr(path, '/') = 0;
	return strcat(path, "/turdb.so");
}

void test_fail(struct test *t, const char *file, int line, const char *format,
               ...)
{
	va_list arguments;
	int used;

	if (t->failed)
		return;
	t->failed = true;
	used = snprintf(t->why, sizeof t->why, "%s:%d: ", file, line);
	va_start(arguments, format);
	vsnprintf(t->why + used, sizeof t->why - (size_t)used, format,
	          arguments);
	va_end(arguments);
}

void test_skip(struct test *t, const char *format, ...)
{
	va_list arguments;

	t->skipped = true;
	va_start(arguments, format);
	vsnprintf(t->why, sizeof t->why, format, arguments);
	va_end(arguments);
}

uint64_t test_scaled(uint64_t count, uint64_t least)
{
	const char *text = getenv("TEST_SCALE");
	double scale = text ? atof(text) : 1.0;
	uint64_t scaled = (uint64_t)((double)count * scale);

	return scaled > least ? scaled : least;
}

uint64_t test_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool wanted(int argc, char **argv, const char *name)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return false;
}

int test_main(int argc, char **argv, const struct test_case *cases,
              size_t count)
{
	const char *seed = getenv("TEST_SEED");
	unsigned passed = 0, failed = 0, skipped = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < count; i++) {
		struct test t = { .name = cases[i].name };

		if (!wanted(argc, argv, t.name))
			continue;
		t.seed = seed ? strtoull(seed, NULL, 10) : 20261121;
		cases[i].run(&t);
		remove_directories();
		if (t.failed) {
			failed++;
			printf("FAIL %s: %s (seed %llu)\n", t.name, t.why,
			       (unsigned long long)t.seed);
		} else if (t.skipped) {
			skipped++;
			printf("skip %s: %s\n", t.name, t.why);
		} else {
			passed++;
			printf("ok %s\n", t.name);
		}
	}
	printf("total: %u passed, %u failed, %u skipped\n", passed, failed,
	       skipped);
	return failed ? 1 : 0;
}
