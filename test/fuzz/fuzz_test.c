/*
 * fuzz_test.c - no target breaks on its past crashes, its seeds, or some mutations
 * of them. Without libFuzzer, so that every variant runs it.
 *
 * Input n of a target is a file of test/fuzz/regressions/NAME or of corpus/NAME (what
 * libFuzzer found to reach more code), then a seed, then a seed mutated a few times
 * by what n says: EXPLORE_VARIANT=n plays it alone.
 */
#include "test/harness.h"

#include <dirent.h>

#include "test/fuzz/fuzz.h"
#include "test/support/explore.h"

enum { FILES_MAX = 256, MUTATIONS_MAX = 6 };

extern const struct fuzz_target btree_fuzz, codec_fuzz, hnsw_fuzz, wal_fuzz,
                                store_fuzz, map_fuzz, catalog_fuzz, log_fuzz,
                                database_fuzz, pages_fuzz, ddl_fuzz, vector_fuzz;

struct inputs {
	const struct fuzz_target *target;
	char *files[FILES_MAX];
	unsigned file_count, seed_count;
	uint64_t mutated, seed;
};

size_t fuzz_mutate_bytes(uint8_t *data, size_t size, size_t size_max,
                         uint64_t *random)
{
	size_t at;

	if (size == 0 || (size < size_max && fuzz_chance(random, 8))) {
		at = fuzz_random(random) % (size + 1);
		memmove(data + at + 1, data + at, size - at);
		data[at] = (uint8_t)fuzz_random(random);
		return size + 1;
	}
	at = fuzz_random(random) % size;
	switch (fuzz_random(random) % 4) {
	case 0:
		data[at] ^= (uint8_t)(1u << fuzz_random(random) % 8);
		break;
	case 1:
		data[at] = (uint8_t)fuzz_random(random);
		break;
	case 2:
		data[at] = fuzz_chance(random, 2) ? 0 : 0xff;
		break;
	default:
		memmove(data + at, data + at + 1, size - at - 1);
		return size - 1;
	}
	return size;
}

/* --- inputs ---------------------------------------------------------------------- */

static int by_name(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static void find_files(struct inputs *inputs, const char *folder)
{
	unsigned before = inputs->file_count;
	char path[512];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "test/fuzz/%s/%s", folder,
	         inputs->target->name);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) &&
	       inputs->file_count < FILES_MAX) {
		char whole[1024];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(whole, sizeof whole, "%s/%s", path, entry->d_name);
		inputs->files[inputs->file_count++] = strdup(whole);
	}
	if (dir)
		closedir(dir);
	qsort(inputs->files + before, inputs->file_count - before,
	      sizeof inputs->files[0], by_name);
}

static size_t read_file(const char *path, uint8_t *data)
{
	FILE *file = fopen(path, "rb");
	size_t size = file ? fread(data, 1, FUZZ_INPUT_MAX, file) : 0;

	if (file)
		fclose(file);
	return size;
}

static size_t make_input(const struct inputs *inputs, uint64_t n, uint8_t *data)
{
	const struct fuzz_target *target = inputs->target;
	uint64_t random = inputs->seed + n;
	size_t size;

	if (n < inputs->file_count)
		return read_file(inputs->files[n], data);
	n -= inputs->file_count;
	if (n < inputs->seed_count)
		return target->seed((unsigned)n, data, FUZZ_INPUT_MAX);
	size = target->seed((unsigned)(n % inputs->seed_count), data,
	                    FUZZ_INPUT_MAX);
	for (uint64_t i = fuzz_random(&random) % MUTATIONS_MAX + 1; i; i--)
		size = target->mutate
		       ? target->mutate(data, size, FUZZ_INPUT_MAX, &random)
		       : fuzz_mutate_bytes(data, size, FUZZ_INPUT_MAX, &random);
	return size;
}

static int play(void *context, uint64_t n, bool *reached, struct err *err)
{
	const struct inputs *inputs = context;
	uint8_t *data, *exact;
	size_t size;

	*reached = n < inputs->file_count + inputs->seed_count + inputs->mutated;
	if (!*reached)
		return ERR_NONE;
	data = malloc(FUZZ_INPUT_MAX);
	size = make_input(inputs, n, data);
	/* A block of its own size, so that the sanitizers see its end. */
	exact = malloc(size + !size);
	memcpy(exact, data, size);
	free(data);
	if (size == 0 && n < inputs->file_count)
		return err_set(err, ERR_MISSING, "read", inputs->files[n],
		               "it is empty or not there");
	inputs->target->run(exact, size);
	free(exact);
	return ERR_NONE;
}

static void target_survives(struct test *t, const struct fuzz_target *target,
                            uint64_t mutated)
{
	struct inputs inputs = { .target = target, .seed = t->seed,
	                         .mutated = test_scaled(mutated, 20) };
	struct explore_variants variants = {
		.name = target->name, .play = play, .context = &inputs,
		.hang_seconds = 30,
	};
	uint8_t *data = malloc(FUZZ_INPUT_MAX);

	if (target->prepare)
		target->prepare();
	while (target->seed(inputs.seed_count, data, FUZZ_INPUT_MAX))
		inputs.seed_count++;
	free(data);
	find_files(&inputs, "regressions");
	find_files(&inputs, "corpus");
	if (inputs.seed_count)
		explore_each_expect(t, &variants);
	for (unsigned i = 0; i < inputs.file_count; i++)
		free(inputs.files[i]);
	EXPECT(t, inputs.seed_count > 0);
}

/* --- targets ---------------------------------------------------------------------- */

static void trees_survive_operations_and_damage(struct test *t)
{
	target_survives(t, &btree_fuzz, 2000);
}

static void keys_and_rows_survive_any_bytes(struct test *t)
{
	target_survives(t, &codec_fuzz, 5000);
}

static void graphs_survive_damage(struct test *t)
{
	target_survives(t, &hnsw_fuzz, 300);
}

static void logs_survive_any_bytes(struct test *t)
{
	target_survives(t, &wal_fuzz, 2000);
}

static void stores_survive_damage_anywhere(struct test *t)
{
	target_survives(t, &store_fuzz, 200);
}

static void stores_survive_damaged_page_tables(struct test *t)
{
	target_survives(t, &map_fuzz, 200);
}

static void stores_survive_a_damaged_catalog(struct test *t)
{
	target_survives(t, &catalog_fuzz, 200);
}

static void stores_survive_damaged_logs(struct test *t)
{
	target_survives(t, &log_fuzz, 200);
}

static void databases_survive_damage_anywhere(struct test *t)
{
	target_survives(t, &database_fuzz, 200);
}

static void tables_survive_damaged_pages(struct test *t)
{
	target_survives(t, &pages_fuzz, 200);
}

static void definitions_survive_any_text(struct test *t)
{
	target_survives(t, &ddl_fuzz, 2000);
}

static void vectors_survive_any_bytes(struct test *t)
{
	target_survives(t, &vector_fuzz, 5000);
}

static const struct test_case cases[] = {
	CASE(trees_survive_operations_and_damage),
	CASE(keys_and_rows_survive_any_bytes),
	CASE(graphs_survive_damage),
	CASE(logs_survive_any_bytes),
	CASE(stores_survive_damage_anywhere),
	CASE(stores_survive_damaged_page_tables),
	CASE(stores_survive_a_damaged_catalog),
	CASE(stores_survive_damaged_logs),
	CASE(databases_survive_damage_anywhere),
	CASE(tables_survive_damaged_pages),
	CASE(definitions_survive_any_text),
	CASE(vectors_survive_any_bytes),
};
TEST_MAIN(cases)
