/*
 * fuzz.h - what a fuzz target is: something that arbitrary bytes must not break.
 *
 * A target says how to try an input, makes its own seeds, and may mutate inputs in a
 * way that gets past checksums. Two programs drive it:
 *
 *   fuzz_main.c  libFuzzer: build/fuzz/NAME_fuzz, run by `make fuzz`
 *   fuzz_test.c  `make test`: each past crash (test/fuzz/regressions/NAME), each
 *                seed, and some mutations of seeds, under every variant
 */
#ifndef TURDB_TEST_FUZZ_FUZZ_H
#define TURDB_TEST_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_MAX = 192 * 1024 };

struct fuzz_target {
	const char *name;
	/* Once, before anything else; NULL = nothing to do. */
	void (*prepare)(void);
	/* Tries an input. What must not happen ends the process. */
	void (*run)(const uint8_t *data, size_t size);
	/* Writes seed n and returns its size; 0 = there are no more. */
	size_t (*seed)(unsigned n, uint8_t *data, size_t size_max);
	/* Changes an input in place and returns its new size; NULL = as bytes. */
	size_t (*mutate)(uint8_t *data, size_t size, size_t size_max,
	                 uint64_t *random);
};

/* A mutation of plain bytes: libFuzzer's, or a simple one without it. */
size_t fuzz_mutate_bytes(uint8_t *data, size_t size, size_t size_max,
                         uint64_t *random);

static inline uint64_t fuzz_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline bool fuzz_chance(uint64_t *state, unsigned one_in)
{
	return fuzz_random(state) % one_in == 0;
}

#define FUZZ_MUST(condition)                                                  \
	do {                                                                  \
		if (!(condition)) {                                           \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,    \
			        #condition);                                  \
			abort();                                              \
		}                                                             \
	} while (0)

#endif
