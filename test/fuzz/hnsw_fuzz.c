/*
 * hnsw_fuzz.c - operations on graphs with damaged pages.
 *
 * An input chooses one of a few small graphs (first byte), a seed for what is
 * done with it (second byte), and then changes in it: five bytes each, four for
 * the place, one for the new value. Whatever they are, every operation works or
 * fails with a sentence, and ends; the sanitizers watch the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/fuzz/fuzz.h"
#include "test/support/graph_image.h"

enum { HEAD = 2, CHANGE = 5, CHANGES_MAX = 64 };

static struct graph_image images[GRAPH_IMAGE_KINDS];

static void prepare(void)
{
	struct err err;
	unsigned kind;

	for (kind = 0; kind < GRAPH_IMAGE_KINDS; kind++) {
		bool codes = kind == 1 || kind == 2 || kind == 4;

		if (graph_image_make(&images[kind], kind, codes ? 310 : 60,
		                     &err)) {
			fprintf(stderr, "%s\n", err.text);
			abort();
		}
	}
}

static void run(const uint8_t *data, size_t size)
{
	struct graph_image image;
	size_t i;

	if (size < HEAD)
		return;
	image = images[data[0] % GRAPH_IMAGE_KINDS];
	image.bytes = malloc(image.size);
	memcpy(image.bytes, images[data[0] % GRAPH_IMAGE_KINDS].bytes,
	       image.size);
	for (i = HEAD; i + CHANGE <= size && i < HEAD + CHANGE * CHANGES_MAX;
	     i += CHANGE)
		image.bytes[load_le32(data + i) % image.size] = data[i + 4];
	graph_image_try(&image, data[1]);
	free(image.bytes);
}

static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	if (n >= GRAPH_IMAGE_KINDS || size_max < HEAD + 2 * CHANGE)
		return 0;
	data[0] = (uint8_t)n;
	data[1] = (uint8_t)(n * 7 + 1);
	memset(data + HEAD, 0, 2 * CHANGE);
	return HEAD + 2 * CHANGE;
}

/* A change somewhere in the graph, which is mostly its state and first pages. */
static size_t mutate(uint8_t *data, size_t size, size_t size_max,
                     uint64_t *random)
{
	const struct graph_image *image = &images[data[0] % GRAPH_IMAGE_KINDS];
	uint32_t at;

	if (fuzz_chance(random, 3) || size < HEAD || size + CHANGE > size_max ||
	    size >= HEAD + CHANGE * CHANGES_MAX)
		return fuzz_mutate_bytes(data, size, size_max, random);
	at = (uint32_t)(fuzz_random(random) % image->size);
	if (fuzz_chance(random, 3))
		at = (uint32_t)(image->size - 1 - fuzz_random(random) % 96);
	store_le32(data + size, at);
	data[size + 4] = fuzz_chance(random, 2)
	                 ? (uint8_t)fuzz_random(random)
	                 : image->bytes[at] ^
	                   (uint8_t)(1u << fuzz_random(random) % 8);
	return size + CHANGE;
}

const struct fuzz_target hnsw_fuzz = {
	.name = "hnsw", .prepare = prepare, .run = run, .seed = seed,
	.mutate = mutate,
};
