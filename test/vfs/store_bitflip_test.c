/*
 * store_bitflip_test.c - a flipped bit in a closed database is found, or nothing
 * hangs on it.
 *
 * A database with files of all kinds is written and closed. One bit of one file is
 * flipped; then it is opened, read whole and checked. Either an error names the
 * file, or every page and every check is as before: the bit was in spare room, in
 * README.txt, or in the older superblock.
 */
#include "test/harness.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "test/support/explore.h"
#include "test/support/store_model.h"

enum { COMMITS = 40, FILES_MAX = 64, TRIES = 12 };

struct flips {
	struct sim_disk *disk;
	struct model model;
	const char *paths[FILES_MAX];
	uint64_t sizes[FILES_MAX];
	size_t count;
	uint64_t seed, wanted;
	_Atomic uint64_t *noticed; /* shared with the workers */
};

struct flip {
	const char *path;
	uint64_t offset;
	uint8_t mask;
};

static int write_database(struct flips *flips, struct err *err)
{
	struct actor actor;
	bool done;
	int rc = actor_start(&actor, flips->disk, 0, err);

	model_at(&flips->model, 0);
	while (!rc && flips->model.k < COMMITS) {
		rc = actor_commit(&actor, flips->disk, &flips->model, err);
		if (!rc && flips->model.k % 15 == 0)
			rc = store_checkpoint(actor.store, &done, err);
	}
	return rc ? rc : actor_end(&actor, err);
}

static void list_files(struct flips *flips)
{
	uint64_t size;
	const char *path;

	for (size_t n = 0; (path = sim_file_at(flips->disk, n, &size)); n++)
		if (!strstr(path, "turdb.shm") && size &&
		    flips->count < FILES_MAX) {
			flips->paths[flips->count] = path;
			flips->sizes[flips->count++] = size;
		}
}

static bool is_blank(struct flips *flips, size_t file, uint64_t offset)
{
	uint64_t start = offset / 512 * 512;
	size_t size = 512;
	uint8_t bytes[512] = { 0 };

	if (flips->sizes[file] - start < size)
		size = (size_t)(flips->sizes[file] - start);
	sim_file_peek(flips->disk, flips->paths[file], start, bytes, size);
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Mostly where something is. */
static void choose(struct flips *flips, uint64_t n, struct flip *flip)
{
	uint64_t random = flips->seed + n * 1000003;

	for (int i = 0; i < TRIES; i++) {
		size_t file = (size_t)(test_random(&random) % flips->count);
		uint64_t offset = test_random(&random) % flips->sizes[file];

		*flip = (struct flip){
			.path = flips->paths[file], .offset = offset,
			.mask = (uint8_t)(1u << test_random(&random) % 8),
		};
		if (!is_blank(flips, file, offset))
			return;
	}
}

static int read_all(struct flips *flips, struct actor *actor, struct err *err)
{
	uint64_t k = 0;
	int rc = store_view_begin(actor->view, err);

	if (!rc)
		rc = model_found(actor->view, &k, err);
	if (!rc && k != flips->model.k)
		rc = err_set(err, ERR_ABORT, "read", "app",
		             "commit %" PRIu64 " is the newest, not %" PRIu64,
		             k, flips->model.k);
	if (!rc)
		rc = model_check(actor->view, &flips->model, err);
	if (!rc)
		rc = store_check(actor->view, 1, NULL, NULL, err);
	store_view_end(actor->view);
	return rc;
}

/* The sentence names the file, as people know it, and says that it is damaged. */
static int check_sentence(const struct flip *flip, int rc, struct err *err)
{
	const char *name = strrchr(flip->path, '/') + 1;
	const char *known = strstr(flip->path, "/wal/") ? "wal" : name;
	char text[ERR_TEXT_SIZE];

	if ((rc == ERR_CORRUPT || rc == ERR_VERSION) &&
	    strncmp(err->text, "compare", 7) != 0 && strstr(err->text, known))
		return ERR_NONE;
	memcpy(text, err->text, sizeof text);
	return err_set(err, ERR_ABORT, "flip", flip->path,
	               "byte %" PRIu64 " by %02x gave %s: %.300s", flip->offset,
	               flip->mask, err_name(rc), text);
}

static int play(void *context, uint64_t n, bool *reached, struct err *err)
{
	struct flips *flips = context;
	struct sim_disk *disk;
	struct actor actor;
	struct flip flip;
	uint8_t byte;
	int rc;

	*reached = n < flips->wanted;
	if (!*reached)
		return ERR_NONE;
	choose(flips, n, &flip);
	disk = sim_disk_branch(flips->disk);
	sim_trace_stop(disk);
	sim_file_peek(disk, flip.path, flip.offset, &byte, 1);
	byte ^= flip.mask;
	sim_file_poke(disk, flip.path, flip.offset, &byte, 1);
	rc = actor_start(&actor, disk, 0, err);
	if (!rc) {
		struct err ignored;

		rc = read_all(flips, &actor, err);
		actor_end(&actor, &ignored);
	}
	sim_disk_close(disk);
	if (!rc)
		return ERR_NONE;
	atomic_fetch_add(flips->noticed, 1);
	return check_sentence(&flip, rc, err);
}

static void each_flipped_bit_is_found_or_harmless(struct test *t)
{
	struct flips flips = { .seed = t->seed,
	                       .wanted = test_scaled(2000, 100) };
	struct explore_variants variants = {
		.name = "bit flips", .play = play, .context = &flips,
		.hang_seconds = 20,
	};

	flips.disk = sim_disk_create(NULL);
	sim_trace_stop(flips.disk);
	flips.noticed = explore_counter();
	EXPECT_OK(t, write_database(&flips, &t->err));
	list_files(&flips);
	explore_each_expect(t, &variants);
	printf("note bit flips: %" PRIu64 " of %" PRIu64
	       " were reported, in %zu files\n",
	       (uint64_t)atomic_load(flips.noticed), flips.wanted, flips.count);
	EXPECT(t, atomic_load(flips.noticed) > flips.wanted / 8);
	sim_disk_close(flips.disk);
}

/* --- superblocks ------------------------------------------------------------------ */

static int match_repaired(void *context, const char *name, int64_t value,
                          const char *what)
{
	(void)what;
	if (strcmp(name, "superblock_repaired") == 0)
		*(bool *)context = value == 1;
	return 0;
}

static bool was_repaired(struct actor *actor)
{
	bool repaired = false;

	store_status(actor->store, match_repaired, &repaired, NULL);
	return repaired;
}

/* A bad bit in one superblock, whichever it is: everything is there, the damage is
 * told, and gone the next time. */
static int lose_superblock(void *context, uint64_t n, bool *reached,
                           struct err *err)
{
	struct flips *flips = context;
	uint64_t random = flips->seed + n * 7919;
	uint64_t offset = n % 2 * 4096 + test_random(&random) % 512;
	struct sim_disk *disk;
	struct actor actor;
	uint8_t byte;
	int rc;

	*reached = n < flips->wanted;
	if (!*reached)
		return ERR_NONE;
	disk = sim_disk_branch(flips->disk);
	sim_trace_stop(disk);
	sim_file_peek(disk, "app/turdb.meta", offset, &byte, 1);
	byte ^= (uint8_t)(1u << test_random(&random) % 8);
	sim_file_poke(disk, "app/turdb.meta", offset, &byte, 1);
	rc = actor_start(&actor, disk, 0, err);
	if (!rc) {
		rc = read_all(flips, &actor, err);
		if (!rc && !was_repaired(&actor))
			rc = err_set(err, ERR_ABORT, "check", "app",
			             "byte %" PRIu64 ": nobody was told", offset);
		rc = actor_end(&actor, rc ? NULL : err) | rc;
	}
	if (!rc)
		rc = actor_start(&actor, disk, 0, err);
	if (!rc) {
		rc = read_all(flips, &actor, err);
		if (!rc && was_repaired(&actor))
			rc = err_set(err, ERR_ABORT, "check", "app",
			             "byte %" PRIu64 ": it stayed", offset);
		rc = actor_end(&actor, rc ? NULL : err) | rc;
	}
	sim_disk_close(disk);
	if (!rc)
		atomic_fetch_add(flips->noticed, 1);
	return rc;
}

/* (vfs/superblock B1, vfs/superblock B2) */
static void one_bad_superblock_is_survived_and_told(struct test *t)
{
	struct flips flips = { .seed = t->seed,
	                       .wanted = test_scaled(200, 20) };
	struct explore_variants variants = {
		.name = "superblocks", .play = lose_superblock,
		.context = &flips, .hang_seconds = 20,
	};

	flips.disk = sim_disk_create(NULL);
	sim_trace_stop(flips.disk);
	flips.noticed = explore_counter();
	EXPECT_OK(t, write_database(&flips, &t->err));
	explore_each_expect(t, &variants);
	EXPECT_EQ(t, atomic_load(flips.noticed), flips.wanted);
	sim_disk_close(flips.disk);
}

static const struct test_case cases[] = {
	CASE(one_bad_superblock_is_survived_and_told),
	CASE(each_flipped_bit_is_found_or_harmless),
};
TEST_MAIN(cases)
