/*
 * fuzz_main.c - libFuzzer around one target, chosen when this file is compiled.
 *
 * An empty corpus is no hindrance: too short inputs become seeds of the target.
 */
#include "test/fuzz/fuzz.h"

extern const struct fuzz_target FUZZ_TARGET;

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed);

enum { SEED_EVERY = 500, SEED_SIZE_MIN = 2 };

static unsigned seeds;

size_t fuzz_mutate_bytes(uint8_t *data, size_t size, size_t size_max,
                         uint64_t *random)
{
	(void)random;
	return LLVMFuzzerMutate(data, size, size_max);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t *data = malloc(FUZZ_INPUT_MAX);

	(void)argc, (void)argv;
	if (FUZZ_TARGET.prepare)
		FUZZ_TARGET.prepare();
	while (FUZZ_TARGET.seed(seeds, data, FUZZ_INPUT_MAX))
		seeds++;
	free(data);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FUZZ_TARGET.run(data, size);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed)
{
	uint64_t random = seed;
	size_t made;

	if (seeds && (size < SEED_SIZE_MIN || fuzz_chance(&random, SEED_EVERY))) {
		made = FUZZ_TARGET.seed((unsigned)(fuzz_random(&random) % seeds),
		                        data, size_max);
		if (made)
			return made;
	}
	return FUZZ_TARGET.mutate
	               ? FUZZ_TARGET.mutate(data, size, size_max, &random)
	               : LLVMFuzzerMutate(data, size, size_max);
}
