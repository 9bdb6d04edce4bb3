/*
 * image_fuzz.h - what the targets that take whole databases have in common.
 *
 * An input is a stored image (test/support/image.h). A mutation changes a few places
 * of some parts of it and mends the checksums.
 */
#ifndef TURDB_TEST_FUZZ_IMAGE_FUZZ_H
#define TURDB_TEST_FUZZ_IMAGE_FUZZ_H

#include "test/fuzz/fuzz.h"
#include "test/support/image.h"
#include "test/support/image_seed.h"
#include "test/support/image_try.h"

static inline void image_fuzz_prepare(void)
{
	for (int kind = 0; kind < IMAGE_SEED_KINDS; kind++)
		image_seed((enum image_seed_kind)kind);
}

static inline size_t image_fuzz_mutate(uint8_t *data, size_t size,
                                       size_t size_max, unsigned parts,
                                       uint64_t *random)
{
	struct image_map map = { NULL, 0, 0 };
	struct image image;
	size_t stored;

	if (!image_load(&image, data, size))
		return image_store(image_seed((enum image_seed_kind)(
			fuzz_random(random) % IMAGE_SEED_KINDS)), data, size_max);
	image_mend(&image, &map, NULL);
	do
		image_mutate(&image, &map, parts, random);
	while (fuzz_chance(random, 2));
	if (!fuzz_chance(random, 16))
		image_mend(&image, NULL, random);
	stored = image_store(&image, data, size_max);
	image_map_free(&map);
	image_free(&image);
	return stored ? stored : size;
}

/* A target NAME_fuzz that tries images by `attempt`; its seeds are the kinds given. */
#define IMAGE_FUZZ(NAME, PARTS, ATTEMPT, ...)                                 \
	static void run(const uint8_t *data, size_t size)                     \
	{                                                                     \
		struct image image;                                           \
		if (!image_load(&image, data, size))                          \
			return;                                               \
		ATTEMPT(&image);                                              \
		image_free(&image);                                           \
	}                                                                     \
	static size_t seed(unsigned n, uint8_t *data, size_t size_max)        \
	{                                                                     \
		static const enum image_seed_kind kinds[] = { __VA_ARGS__ };  \
		return n < sizeof kinds / sizeof kinds[0]                     \
		       ? image_store(image_seed(kinds[n]), data, size_max)    \
		       : 0;                                                   \
	}                                                                     \
	static size_t mutate(uint8_t *data, size_t size, size_t size_max,     \
	                     uint64_t *random)                                \
	{                                                                     \
		return image_fuzz_mutate(data, size, size_max, PARTS,         \
		                         random);                             \
	}                                                                     \
	const struct fuzz_target NAME##_fuzz = {                              \
		.name = #NAME, .prepare = image_fuzz_prepare, .run = run,     \
		.seed = seed, .mutate = mutate,                               \
	}

#endif
