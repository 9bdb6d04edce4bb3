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

#include "test/support/graph_image.h"

enum { HEAD = 2, CHANGE = 5, CHANGES_MAX = 64 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct graph_image images[GRAPH_IMAGE_KINDS];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err err;
	unsigned kind;

	(void)argc;
	(void)argv;
	for (kind = 0; kind < GRAPH_IMAGE_KINDS; kind++) {
		bool codes = kind == 1 || kind == 2 || kind == 4;

		if (graph_image_make(&images[kind], kind, codes ? 310 : 60,
		                     &err)) {
			fprintf(stderr, "%s\n", err.text);
			abort();
		}
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct graph_image image;
	size_t i;

	if (size < HEAD)
		return 0;
	image = images[data[0] % GRAPH_IMAGE_KINDS];
	image.bytes = malloc(image.size);
	memcpy(image.bytes, images[data[0] % GRAPH_IMAGE_KINDS].bytes,
	       image.size);
	for (i = HEAD; i + CHANGE <= size && i < HEAD + CHANGE * CHANGES_MAX;
	     i += CHANGE)
		image.bytes[load_le32(data + i) % image.size] = data[i + 4];
	graph_image_try(&image, data[1]);
	free(image.bytes);
	return 0;
}
