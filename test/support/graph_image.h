/*
 * graph_image.h - the pages of a graph as plain bytes, to be damaged and tried.
 */
#ifndef TURDB_TEST_GRAPH_IMAGE_H
#define TURDB_TEST_GRAPH_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "hnsw/hnsw.h"
#include "test/support/memory_pager.h"

/* Pages 1 to page_count - 1, then the state, one after the other. */
struct graph_image {
	struct hnsw_options options;
	uint32_t page_size, page_count;
	uint8_t *kinds, *bytes;
	size_t size;
};

/* A small graph with some nodes deleted, of one of GRAPH_IMAGE_KINDS kinds. */
enum { GRAPH_IMAGE_KINDS = 6 };
int graph_image_make(struct graph_image *image, unsigned kind, uint32_t nodes,
                     struct err *err);
void graph_image_free(struct graph_image *image);

/* Opens the graph of these bytes on a pager of its own, in a transaction, and
 * does all that can be done with a graph: whatever the bytes, each call either
 * works or says why not, and all calls end. Returns how many failed. */
int graph_image_try(const struct graph_image *image, uint64_t seed);

#endif
