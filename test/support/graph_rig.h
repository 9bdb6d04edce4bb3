/*
 * graph_rig.h - a graph on a memory pager, with the rows it should hold.
 *
 * Every write ends the pager's operation, so that unkind pagers take their pages
 * back, and is mirrored in a plain array of rows; graph_rig_check() compares
 * the two and runs the verifiers of graph and pages.
 */
#ifndef TURDB_TEST_GRAPH_RIG_H
#define TURDB_TEST_GRAPH_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "hnsw/hnsw.h"
#include "test/harness.h"
#include "test/support/memory_pager.h"

struct graph_row {
	bool live;
	int64_t rowid;
	uint32_t node;
	uint8_t *vector;
};

struct graph_rig {
	struct test *t;
	struct heap heap;
	struct memory_pager *memory;
	struct hnsw *graph;
	struct hnsw_options options;
	size_t vector_size;
	struct graph_row *rows;
	size_t count, room, live;
};

/* A graph in an open transaction. `page_size` 0 = as in the store. False, and
 * the test failed, when that did not work; so all below. */
bool graph_rig_open(struct graph_rig *rig, struct test *t,
                      const struct hnsw_options *options, uint32_t page_size,
                      bool unkind);
void graph_rig_close(struct graph_rig *rig);

/* A vector of small whole numbers, whose sums are exact in any order. */
void graph_rig_vector(const struct graph_rig *rig, uint64_t *seed,
                        int range, uint8_t *vector);

bool graph_rig_insert(struct graph_rig *rig, int64_t rowid,
                        const void *vector);
bool graph_rig_delete(struct graph_rig *rig, size_t row);
bool graph_rig_check(struct graph_rig *rig);

/* The search's rowids and distances, at most `limit`; returns how many, or -1. */
int graph_rig_search(struct graph_rig *rig,
                       const struct hnsw_query *query, int limit,
                       int64_t *rowids, double *distances);

#endif
