/*
 * hnsw.h - an approximate nearest-neighbour graph in one file of pages.
 *
 * Source: Malkov and Yashunin, "Efficient and robust approximate nearest
 * neighbor search using Hierarchical Navigable Small World graphs" (2016,
 * revised 2018). Where the code departs from it, choose.c, walk.c, delete.c and
 * twins.c say so. The page format is in hnsw/hnsw_format.h.
 *
 * A node has an id (dense, reused after deletion), a rowid, its level-0 links
 * and its vector or quantised code together, and with codes its full vector
 * besides. Levels come from a hash of the rowid, so that the same rows give the
 * same levels anywhere. All changes go through the pager and so follow the
 * transaction. Inserting, deleting and searching leave no state outside the
 * pages but the caller's structs.
 *
 * All of it belongs to the view behind the pager: one thread at a time. What
 * comes from pages is checked as it is met: ERR_CORRUPT names the graph and the
 * node, from any function here. Writes need a view that is the writer.
 */
#ifndef TURDB_HNSW_HNSW_H
#define TURDB_HNSW_HNSW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breath.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/pager.h"

/* All three are in the format. A distance is: of L2 the root of the sum of squared
 * gaps; of cosine 1 - cos(a, b); of the inner product 1 - a.b; of L1 the sum of gaps;
 * of Hamming, for vectors of bits and only for them, how many differ. SQ8: a byte per
 * dimension, for f32 and f16; full vectors are kept and decide what a search gives. */
enum hnsw_metric { HNSW_L2 = 1, HNSW_COSINE = 2, HNSW_IP = 3, HNSW_L1 = 4,
                   HNSW_HAMMING = 5 };
enum hnsw_element { HNSW_F32 = 1, HNSW_F16 = 2, HNSW_INT8 = 3, HNSW_BIT = 4 };
enum hnsw_quantize { HNSW_NONE = 0, HNSW_SQ8 = 1 };

struct hnsw_options {
	uint32_t dimensions;       /* 1..65536                                  */
	enum hnsw_element element; /* of the full vectors                       */
	enum hnsw_metric metric;
	enum hnsw_quantize quantize;
	uint32_t m;                /* links per node above level 0; 2m at level 0;
	                              2..128                                    */
	uint32_t ef_construction;  /* nodes an insert keeps in view; 4..4096    */
};

struct hnsw_kernels; /* distance functions for one CPU level; constant */
const struct hnsw_kernels *hnsw_kernels_for(enum cpu_level level);

/* One graph under one view; caller keeps it with its connection. */
struct hnsw;

/* Writes an empty graph into a fresh file. ERR_INVALID for options out of range,
 * that do not go together, or whose links do not fit a page. */
int hnsw_create(struct pager *pager, const struct hnsw_options *options,
                struct err *err);

/* The caller closes it; pager and kernels outlive it. ERR_VERSION when the file is
 * newer than this library. */
int hnsw_open(struct pager *pager, const struct hnsw_kernels *kernels,
              struct hnsw **graph, struct err *err);
void hnsw_close(struct hnsw *graph); /* NULL: nothing */

/* As it was made; the graph's. */
const struct hnsw_options *hnsw_options_of(const struct hnsw *graph);

/* How many vectors it has, twins included. */
int hnsw_count(struct hnsw *graph, uint64_t *nodes, struct err *err);

/* A write that fails midway (pager, memory, damage) leaves pages half changed:
 * the caller rolls back to its savepoint; the struct notices and starts afresh.
 * ERR_INVALID, and a node that does not exist, are found before any change.
 *
 * `vector` holds dimensions elements, little-endian; finite numbers; under
 * cosine not all zero (ERR_INVALID otherwise). *node is stored in the row.
 * ERR_TOOBIG when there are no more ids. */
int hnsw_insert(struct hnsw *graph, int64_t rowid, struct span vector,
                uint32_t *node, struct err *err);
/* ERR_CORRUPT when there is no such node. */
int hnsw_delete(struct hnsw *graph, uint32_t node, struct err *err);

/* Changes a node's rowid (UPDATE of the rowid) without touching links. */
int hnsw_rowid_set(struct hnsw *graph, uint32_t node, int64_t rowid,
                   struct err *err);

/* The full vector as it was given (cosine keeps the original). Borrowed from
 * the page until the view's operation ends, or from the graph's scratch until
 * the next call. ERR_CORRUPT when the node does not exist. */
int hnsw_vector(struct hnsw *graph, uint32_t node, struct span *vector,
                int64_t *rowid, struct err *err);

/* What searches and checks that may be long take breaths with, from then on; NULL:
 * they are never ended. A search so ended gave nothing and changed nothing. */
void hnsw_breathe(struct hnsw *graph, struct breath *breath);

/*
 * Search, incremental: results come nearest first (by exact distance of the
 * full vectors, within what the search reached). `k` 0 = without end: the
 * search widens as results are consumed. `ef`: how many nodes a walk keeps in
 * view, 0 = 64, and never fewer than k. Both are at most 65,536 (ERR_INVALID).
 * `exact`: a full scan. A search survives writes and rollbacks by the same
 * connection: it never returns a node that is gone, nor a rowid twice.
 */
struct hnsw_search;
struct hnsw_query {
	struct span vector; /* as for hnsw_insert(); copied */
	uint32_t k, ef;
	bool exact;
	/* Optional filter on rowids, asked before a node counts as a result. */
	bool (*accept)(void *context, int64_t rowid);
	void *accept_context;
};
/* The caller ends it, before the graph is closed. */
int hnsw_search_begin(struct hnsw *graph, const struct hnsw_query *query,
                      struct hnsw_search **search, struct err *err);
/* *more false at the end: then the other three are as they were. */
int hnsw_search_next(struct hnsw_search *search, int64_t *rowid,
                     uint32_t *node, double *distance, bool *more,
                     struct err *err);
void hnsw_search_end(struct hnsw_search *search);

/* Exact distance between two vectors of `dimensions` elements under a metric, for
 * SQL functions and columns without a graph. Vectors of bits have one distance,
 * whatever the metric. */
double hnsw_distance(const struct hnsw_kernels *kernels,
                     enum hnsw_metric metric, enum hnsw_element element,
                     uint32_t dimensions, const void *a, const void *b);

/* Reachability, degrees, no dead links, counts, free list, levels. `visit` as
 * in btree_verify; `row` (may be NULL) is called with each node and rowid, so
 * that the caller can compare with its rows. */
int hnsw_verify(struct hnsw *graph,
                void (*problem)(void *context, const char *sentence),
                void (*visit)(void *context, uint32_t page_no),
                void (*row)(void *context, uint32_t node, int64_t rowid),
                void *context, struct err *err);

#endif
