/*
 * graph_image.c - graphs from bytes that may be damaged.
 */
#include "test/support/graph_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "hnsw/vector.h"
#include "test/harness.h"

enum { TRIES = 6, RESULTS = 40 };

static const struct hnsw_options kinds[GRAPH_IMAGE_KINDS] = {
	{ 6, HNSW_F32, HNSW_L2, HNSW_NONE, 4, 16 },
	{ 6, HNSW_F32, HNSW_L2, HNSW_SQ8, 4, 16 },
	{ 5, HNSW_F16, HNSW_COSINE, HNSW_SQ8, 2, 8 },
	{ 300, HNSW_F32, HNSW_IP, HNSW_NONE, 3, 8 }, /* vectors cross pages */
	{ 1200, HNSW_F32, HNSW_L1, HNSW_SQ8, 2, 8 }, /* codes do too        */
	{ 19, HNSW_BIT, HNSW_HAMMING, HNSW_NONE, 8, 8 },
};

static void vector_make(const struct hnsw_options *options, uint64_t *seed,
                        uint8_t *vector)
{
	uint32_t i;

	memset(vector, 0, vector_size(options->element, options->dimensions));
	for (i = 0; i < options->dimensions; i++) {
		float value = (float)(test_random(seed) % 64) - 20;

		if (options->element == HNSW_F32)
			memcpy(vector + i * 4, &value, 4);
		else if (options->element == HNSW_F16)
			store_le16(vector + i * 2, vector_half_of_float(value));
		else if (options->element == HNSW_INT8)
			vector[i] = (uint8_t)(int8_t)value;
		else
			vector[i / 8] |= (uint8_t)((uint32_t)(value > 0)
			                           << (i % 8));
	}
}

static void image_take(struct graph_image *image, struct memory_pager *memory)
{
	uint32_t i;

	image->page_count = memory_pager_page_count(memory);
	image->size = (size_t)(image->page_count - 1) * image->page_size +
	              PAGER_STATE_SIZE;
	image->bytes = malloc(image->size);
	image->kinds = malloc(image->page_count);
	for (i = 1; i < image->page_count; i++) {
		image->kinds[i] = (uint8_t)memory_pager_page_kind(memory, i);
		memcpy(image->bytes + (size_t)(i - 1) * image->page_size,
		       memory_pager_bytes(memory, i), image->page_size);
	}
	memcpy(image->bytes + image->size - PAGER_STATE_SIZE,
	       memory_pager_state_bytes(memory), PAGER_STATE_SIZE);
}

static int fill(struct hnsw *graph, const struct hnsw_options *options,
                uint32_t nodes, struct err *err)
{
	size_t size = vector_size(options->element, options->dimensions);
	uint8_t *vector = malloc(size);
	uint64_t seed = 17;
	uint32_t i, node = 0;
	int rc = ERR_NONE;

	for (i = 0; !rc && i < nodes; i++) {
		if (i % 5 < 3) /* the others are twins, equal and near ones */
			vector_make(options, &seed, vector);
		else if (i % 5 == 4 && options->element == HNSW_F32)
			vector[0] ^= 1;
		rc = hnsw_insert(graph, i, span_of(vector, size), &node, err);
		if (!rc && i % 7 == 6)
			rc = hnsw_delete(graph, node / 2, err);
	}
	free(vector);
	return rc;
}

int graph_image_make(struct graph_image *image, unsigned kind, uint32_t nodes,
                     struct err *err)
{
	struct memory_pager *memory;
	struct hnsw *graph = NULL;
	struct heap heap;
	int rc;

	memset(image, 0, sizeof *image);
	image->options = kinds[kind];
	image->page_size = 512;
	heap_init(&heap);
	rc = memory_pager_open(&memory, &heap, image->page_size, false, err);
	if (rc)
		return rc;
	memory_pager_begin(memory);
	rc = hnsw_create(memory_pager_of(memory), &image->options, err);
	if (!rc)
		rc = hnsw_open(memory_pager_of(memory), hnsw_kernels_for(CPU_C),
		               &graph, err);
	if (!rc)
		rc = fill(graph, &image->options, nodes, err);
	if (!rc)
		image_take(image, memory);
	hnsw_close(graph);
	memory_pager_close(memory);
	return rc;
}

void graph_image_free(struct graph_image *image)
{
	free(image->bytes);
	free(image->kinds);
}

static void image_load(const struct graph_image *image,
                       struct memory_pager *memory)
{
	struct pager *pager = memory_pager_of(memory);
	uint32_t i, number;
	uint8_t *bytes;
	struct err err;

	for (i = 1; i < image->page_count; i++) {
		if (pager_allocate(pager, (enum page_kind)image->kinds[i],
		                   &number, &bytes, &err) || number != i)
			abort();
		memcpy(bytes, image->bytes + (size_t)(i - 1) * image->page_size,
		       image->page_size);
	}
	for (i = 1; i < image->page_count; i++) {
		if (image->kinds[i] == PAGE_FREE &&
		    pager_free(pager, i, &err))
			abort();
	}
	if (pager_state_edit(pager, &bytes, &err))
		abort();
	memcpy(bytes, image->bytes + image->size - PAGER_STATE_SIZE,
	       PAGER_STATE_SIZE);
}

static int search_all(struct hnsw *graph, struct span vector, uint64_t seed)
{
	struct hnsw_query query = { .vector = vector,
		                    .k = seed % 3 ? 0 : 7,
		                    .exact = seed % 5 == 0 };
	struct hnsw_search *search;
	bool more = true;
	struct err err;
	int i, rc;

	rc = hnsw_search_begin(graph, &query, &search, &err);
	if (rc)
		return 1;
	for (i = 0; !rc && more && i < RESULTS; i++) {
		double distance;
		int64_t rowid;
		uint32_t node;

		rc = hnsw_search_next(search, &rowid, &node, &distance, &more,
		                      &err);
	}
	hnsw_search_end(search);
	return rc != ERR_NONE;
}

static int change(struct memory_pager *memory, struct hnsw *graph,
                  struct span vector, uint64_t seed)
{
	struct err err;
	uint32_t node;
	int rc;

	memory_pager_savepoint(memory, 0);
	if (seed % 2)
		rc = hnsw_insert(graph, (int64_t)seed, vector, &node, &err);
	else
		rc = hnsw_delete(graph, (uint32_t)(seed >> 8) % 150, &err);
	memory_pager_operation_end(memory);
	if (!rc) {
		memory_pager_release(memory, 0);
		return 0;
	}
	memory_pager_rollback_to(memory, 0);
	memory_pager_release(memory, 0);
	return 1;
}

static int try_all(struct memory_pager *memory, struct hnsw *graph,
                   uint64_t seed)
{
	const struct hnsw_options *options = hnsw_options_of(graph);
	size_t size = vector_size(options->element, options->dimensions);
	uint8_t *vector = malloc(size);
	struct span lent;
	struct err err;
	int64_t rowid;
	int failed, i;

	failed = hnsw_verify(graph, NULL, NULL, NULL, NULL, &err) != ERR_NONE;
	for (i = 0; i < TRIES; i++) {
		vector_make(options, &seed, vector);
		failed += search_all(graph, span_of(vector, size), seed);
		failed += hnsw_vector(graph, (uint32_t)(seed % 120), &lent,
		                      &rowid, &err) != ERR_NONE;
		failed += change(memory, graph, span_of(vector, size), seed);
	}
	hnsw_verify(graph, NULL, NULL, NULL, NULL, &err);
	free(vector);
	return failed;
}

int graph_image_try(const struct graph_image *image, uint64_t seed)
{
	struct memory_pager *memory;
	struct hnsw *graph;
	struct heap heap;
	struct err err;
	int failed = 1;

	heap_init(&heap);
	heap.limit = 64 << 20;
	if (memory_pager_open(&memory, &heap, image->page_size, true, &err))
		abort();
	memory_pager_begin(memory);
	image_load(image, memory);
	if (hnsw_open(memory_pager_of(memory),
	              hnsw_kernels_for(cpu_level_pick(NULL)), &graph,
	              &err) == ERR_NONE) {
		failed = try_all(memory, graph, seed);
		hnsw_close(graph);
	}
	memory_pager_close(memory);
	if (heap.used != 0) {
		fprintf(stderr, "graph_image: %zu bytes leaked\n",
		        (size_t)heap.used);
		abort();
	}
	return failed;
}
