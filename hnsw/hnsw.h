/*
 * hnsw.h - an approximate nearest-neighbour graph in one file of pages.
 *
 * Source: Malkov and Yashunin, "Efficient and robust approximate nearest
 * neighbor search using Hierarchical Navigable Small World graphs" (2016,
 * revised 2018); where the code departs from it, hnsw.c says so. The page
 * format is in hnsw/hnsw_format.h.
 *
 * A node has an id (dense, reused after deletion), a rowid, its level-0 links
 * and quantised code together, and its full vector. Levels come from a hash of
 * the rowid. All changes go through the pager and so follow the transaction.
 * Inserting, deleting and searching leave no state outside the pages but the
 * caller's structs.
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
	uint32_t ef_construction;  /* 4..4096                                   */
};

struct hnsw_kernels; /* distance functions for one CPU level */
const struct hnsw_kernels *hnsw_kernels_for(enum cpu_level level);

/* One graph under one view; caller keeps it with its connection. */
struct hnsw;

/* Writes an empty graph into a fresh file. */
int hnsw_create(struct pager *pager, const struct hnsw_options *options,
                struct err *err);
int hnsw_open(struct pager *pager, const struct hnsw_kernels *kernels,
              struct hnsw **graph, struct err *err);
void hnsw_close(struct hnsw *graph);

const struct hnsw_options *hnsw_options_of(const struct hnsw *graph);
int hnsw_count(struct hnsw *graph, uint64_t *nodes, struct err *err);

/* A write that fails midway (pager, memory, damage) leaves pages half changed:
 * the caller rolls back to its savepoint; the struct notices and starts afresh.
 * ERR_INVALID, and a node that does not exist, are found before any change.
 *
 * `vector` holds dimensions elements, little-endian; finite numbers; under
 * cosine not all zero (ERR_INVALID otherwise). *node is stored in the row. */
int hnsw_insert(struct hnsw *graph, int64_t rowid, struct span vector,
                uint32_t *node, struct err *err);
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
 * search widens as results are consumed. `ef` 0 = default (max(k, 64)).
 * `exact`: a full scan. A search survives writes and rollbacks by the same
 * connection: it never returns a node that is gone, nor one twice.
 */
struct hnsw_search;
struct hnsw_query {
	struct span vector;
	uint32_t k, ef;
	bool exact;
	/* Optional filter on rowids, asked before a node counts as a result. */
	bool (*accept)(void *context, int64_t rowid);
	void *accept_context;
};
int hnsw_search_begin(struct hnsw *graph, const struct hnsw_query *query,
                      struct hnsw_search **search, struct err *err);
/* *more false at the end. `distance` is the metric's (SQL.md: L2 with root). */
int hnsw_search_next(struct hnsw_search *search, int64_t *rowid,
                     uint32_t *node, double *distance, bool *more,
                     struct err *err);
void hnsw_search_end(struct hnsw_search *search);

/* Exact distance between two vectors under a metric, for SQL functions and
 * columns without a graph. */
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
