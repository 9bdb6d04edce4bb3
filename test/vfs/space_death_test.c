/*
 * space_death_test.c - the writer dies between any two instructions, and no note is
 * lost that it has made.
 *
 * After each instruction of what it does the shared memory is copied as it is, and the
 * next writer starts over in the copy. (space_test.c dies at accesses, over long
 * histories; here a few steps are looked at to the last store.)
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include "test/support/stepping.h"
#include "vfs/space_private.h"

enum { CHUNKS_MAX = 8, PROMISES_MAX = 64, FIRST_FILE = 3, LAST_FILE = 8 };

struct memory {
	struct space_root root;
	uint32_t chunk_count;
	_Alignas(64) uint8_t chunks[CHUNKS_MAX][SHM_CHUNK_SIZE];
};

/* What was noted and has to stand. */
struct promise {
	uint32_t file_id, place;
	enum space_use use;
};

struct scene {
	struct memory memory, seen, trial;
	struct space space, after; /* in `memory` and in `trial` */
	struct promise promises[PROMISES_MAX];
	uint32_t count, lost, half_made;
	uint64_t deaths;
	void (*step)(struct scene *scene);
};

static void *chunk_at(void *context, uint32_t chunk)
{
	struct memory *memory = context;

	if (chunk == 0 || chunk > memory->chunk_count)
		abort();
	return memory->chunks[chunk - 1];
}

static int chunk_grow(void *context, uint32_t *chunk, struct err *err)
{
	struct memory *memory = context;

	if (memory->chunk_count == CHUNKS_MAX)
		return err_set(err, ERR_FULL, "grow", "turdb.shm", "no space");
	*chunk = ++memory->chunk_count;
	return ERR_NONE;
}

static struct space space_in(struct memory *memory)
{
	return (struct space){ &memory->root, { chunk_at, chunk_grow, memory } };
}

static size_t used(const struct memory *memory)
{
	return offsetof(struct memory, chunks) +
	       memory->chunk_count * (size_t)SHM_CHUNK_SIZE;
}

/* A block that says what it is says it wholly. */
static uint32_t count_half_made(struct memory *memory)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < memory->chunk_count * CHUNK_BLOCKS; i++) {
		const struct space_block *block = (const struct space_block *)(
			const void *)(memory->chunks[0] + i * BLOCK_SIZE);
		bool is_file = block->kind == BLOCK_FILE;

		if (!is_file && block->kind != BLOCK_LEAF)
			continue;
		count += block->file_id < FIRST_FILE ||
		         block->file_id > LAST_FILE ||
		         (block->leaf_no == NO_LEAF) != is_file;
	}
	return count;
}

/* As if the writer had died here, and the next one behind its first commit. */
static void look(void *context)
{
	struct scene *scene = context;
	size_t size = used(&scene->memory);

	if (memcmp(&scene->seen, &scene->memory, size) == 0)
		return;
	memcpy(&scene->seen, &scene->memory, size);
	memcpy(&scene->trial, &scene->memory, size);
	scene->deaths++;
	scene->half_made += count_half_made(&scene->trial);
	space_reset(&scene->after, false);
	space_reset(&scene->after, false);
	for (uint32_t i = 0; i < scene->count; i++) {
		const struct promise *promise = &scene->promises[i];

		scene->lost += !space_is_held(&scene->after, promise->file_id,
		                              promise->place, promise->use);
	}
}

static void take_step(void *context)
{
	struct scene *scene = context;

	scene->step(scene);
}

static void run(struct scene *scene, void (*step)(struct scene *scene))
{
	scene->step = step;
	stepping_run(take_step, look, scene);
}

/* A note binds when it was made, not while it is. */
static void note(struct scene *scene, uint32_t file_id, uint32_t leaf,
                 enum space_use use)
{
	uint32_t place = leaf * LEAF_UNITS + 64;
	struct err err;

	if (space_note(&scene->space, file_id, place, 4, use, &err))
		abort();
	/* What is PLACED is held for logged pages too. */
	scene->promises[scene->count++] = (struct promise){
		file_id, place, use == SPACE_PLACED ? SPACE_LOGGED : SPACE_PLACED };
}

static bool scene_open(struct test *t, struct scene **opened)
{
	struct scene *scene;

	if (!stepping_is_possible()) {
		test_skip(t, "no single steps here");
		return false;
	}
	scene = calloc(1, sizeof *scene);
	scene->space = space_in(&scene->memory);
	scene->after = space_in(&scene->trial);
	*opened = scene;
	return true;
}

static void scene_close(struct test *t, struct scene *scene, uint64_t deaths_min)
{
	uint32_t lost = scene->lost, half_made = scene->half_made;
	uint64_t deaths = scene->deaths;

	free(scene);
	EXPECT_EQ(t, lost, 0);
	EXPECT_EQ(t, half_made, 0);
	EXPECT(t, deaths >= deaths_min);
}

static void note_many(struct scene *scene)
{
	for (uint32_t leaf = 0; leaf < 4; leaf++)
		for (uint32_t file_id = FIRST_FILE; file_id < 6; file_id++)
			note(scene, file_id, leaf, file_id & 1 ? SPACE_PLACED
			                                       : SPACE_LOGGED);
}

/* Chunks are added, blocks made. (vfs/space_private S1, vfs/space_private S2) */
static void a_note_outlives_every_moment_of_the_next_ones(struct test *t)
{
	struct scene *scene;

	if (!scene_open(t, &scene))
		return;
	run(scene, note_many);
	scene_close(t, scene, 150);
}

static void begin_twice(struct scene *scene)
{
	space_generation_begin(&scene->space);
	for (uint32_t file_id = FIRST_FILE; file_id < 6; file_id++)
		note(scene, file_id, 2, SPACE_PLACED);
	space_generation_begin(&scene->space);
}

/* A candidate that failed is replaced: the generations merge. (vfs/space_private S3) */
static void a_note_is_in_one_generation_or_the_other_at_every_moment(struct test *t)
{
	struct scene *scene;

	if (!scene_open(t, &scene))
		return;
	note_many(scene);
	run(scene, begin_twice);
	space_generation_end(&scene->space);
	scene_close(t, scene, 15);
}

/* Of the file itself nothing is promised any more. */
static void forget_one(struct scene *scene)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < scene->count; i++)
		if (scene->promises[i].file_id != 4)
			scene->promises[kept++] = scene->promises[i];
	scene->count = kept;
	space_file_forget(&scene->space, 4);
}

static void note_others(struct scene *scene)
{
	for (uint32_t leaf = 4; leaf < 7; leaf++)
		note(scene, LAST_FILE, leaf, SPACE_PLACED);
}

/* A death in the middle leaves leaves of a file that is going; who starts over takes
 * their blocks for others, and they are nobody's twice. (vfs/space_private S4) */
static void a_file_that_is_forgotten_half_takes_nothing_along(struct test *t)
{
	struct scene *scene;

	if (!scene_open(t, &scene))
		return;
	note_many(scene);
	run(scene, forget_one);
	run(scene, note_others);
	scene_close(t, scene, 15);
}

static const struct test_case cases[] = {
	CASE(a_note_outlives_every_moment_of_the_next_ones),
	CASE(a_note_is_in_one_generation_or_the_other_at_every_moment),
	CASE(a_file_that_is_forgotten_half_takes_nothing_along),
};
TEST_MAIN(cases)
