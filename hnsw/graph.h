/*
 * graph.h - what the files of this folder share: one open graph.
 *
 * Every public operation begins with graph_begin(), which notices when the view
 * moved or somebody else wrote, and forgets what it remembers; a write ends with
 * graph_end(), which stores the state. Between the two, pointers into pages
 * stay valid (pager.h). A failed write leaves the pages half changed: the caller
 * rolls back to its savepoint, and the next operation starts afresh.
 */
#ifndef TURDB_HNSW_GRAPH_H
#define TURDB_HNSW_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/heap.h"
#include "hnsw/hnsw.h"
#include "hnsw/hnsw_format.h"
#include "hnsw/kernels.h"
#include "hnsw/strip.h"
#include "hnsw/vector.h"

enum {
	LINKS_MAX = 256,          /* of one node on one level: 2m, m <= 128     */
	VISITED_LIST_MAX = 8192,  /* then the whole set is cleared              */
	CANDIDATES_MAX = 4096,    /* ef_construction                            */
};

#define NO_NODE UINT32_MAX

/* gcc takes a function that only prefetches for one without effect, and drops
 * the call unless it is inlined. */
#define FETCHING static inline __attribute__((always_inline))

/* The state, in memory; field by field what hnsw_format.h says. */
struct graph_state {
	uint32_t top_level;
	bool trained;
	uint32_t slot;
	uint32_t meta_page;
	uint32_t count, high_water, free_head;
	uint32_t entry; /* NO_NODE when empty */
	uint32_t upper_high_water, upper_free_head, upper_count;
	uint32_t train_at;
	uint32_t recode_cursor, recode_limit;
};

/* A node and how far it is from what is looked for. */
struct candidate {
	float distance;
	uint32_t node;
};

/* Which nodes a walk has met: a bitset, and a list to clear it by (LINKS_MAX
 * longer than it may be filled). */
struct visited {
	uint64_t *words;
	size_t word_count;
	uint32_t *list;
	size_t list_count;
};

/* The nearest `limit` nodes met so far, in order (pool.h). */
struct pool {
	uint64_t *keys;
	size_t room, limit, size, cursor;
	uint64_t *open; /* NULL when narrow; behind the keys */
	size_t open_size;
};

/* One quantiser, in memory; the arrays are borrowed or of `copy`. */
struct quantiser {
	bool loaded;
	float pair_factor;
	const float *middles, *steps, *pair_steps;
	uint8_t *copy; /* a record that crosses pages, or is not aligned */
};

/* How to compute distances to one vector (score.h). */
struct score_codes {
	const uint8_t *code;   /* L1 */
	int16_t *weights;      /* otherwise */
	float base, factor, bias_factor;
};
struct score_query {
	const uint8_t *vector; /* elements as stored */
	float inverse_norm;    /* cosine */
	struct score_codes codes[STRIP_QUANTISERS];
	uint8_t *vector_copy;  /* owned: a vector that crosses pages */
	float *floats;         /* owned: the vector as f32; cosine: normalised */
	uint8_t *code_copies;  /* owned: two codes */
	int16_t *weight_copies; /* owned: two arrays of weights */
};

struct hnsw {
	struct pager *pager;
	const struct hnsw_kernels *kernels;
	struct hnsw_options options;

	uint32_t links_max[2];  /* at level 0, above           */
	uint32_t vector_size;
	uint32_t payload_size;
	uint32_t payload_stride; /* in a page of nodes; 0 = a strip of its own */
	uint32_t block_size;
	uint32_t blocks_at, biases_at; /* in a page of nodes   */
	uint32_t payload_lines; /* cache lines worth fetching  */

	struct strip nodes, payloads, vectors, uppers, quantisers;
	struct graph_state state;
	struct quantiser quantiser[STRIP_QUANTISERS];

	bool fresh;             /* the above is what the view has */
	uint64_t view_epoch, edits;

	struct visited visited;
	struct pool pool;
	struct score_query query, pair_query;
	uint8_t *vector_scratch; /* of hnsw_vector() and distances */
	struct candidate *candidates; /* scratch of inserting */
	size_t candidate_room;
	uint8_t *repair_scratch; /* of deleting */
	struct hnsw_search *spare_search; /* the last one, to be used again */
	struct breath *breath;    /* its user's, or NULL                  */
	struct breath *searching; /* the same while a search runs         */
};

/* --- operations --------------------------------------------------------------------- */

/* ERR_VERSION for a state that is newer than this library, ERR_CORRUPT for none. */
int graph_state_version_check(struct pager *pager, const uint8_t *bytes,
                              struct err *err);
/* Brings the struct up to the view. */
int graph_begin(struct hnsw *graph, struct err *err);
/* Gives all pages but the meta page back: a graph without nodes. */
int graph_empty(struct hnsw *graph, struct err *err);
/* Ends a write that returns `rc`; passes it on. */
int graph_end(struct hnsw *graph, int rc, struct err *err);

/* The start of a sentence about damage: "read graph NAME: ". */
#define graph_corrupt(graph, err, ...)                                        \
	err_known(ERR_CORRUPT, graph_explain(graph, err, __VA_ARGS__))
int graph_explain(const struct hnsw *graph, struct err *err, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
#define graph_no_memory(graph, err)                                           \
	err_known(ERR_NOMEM, graph_explain_memory(graph, err))
int graph_explain_memory(const struct hnsw *graph, struct err *err);

/* --- nodes --------------------------------------------------------------------------- */

void graph_bad_node(const struct hnsw *graph, uint32_t node, struct err *err);

/* The page of nodes that has a node, and which of its nodes that is. */
static inline int graph_place(struct hnsw *graph, uint32_t node,
                              const uint8_t **page, uint32_t *slot,
                              struct err *err)
{
	if (__builtin_expect(node >= graph->state.high_water, 0)) {
		graph_bad_node(graph, node, err);
		return ERR_CORRUPT;
	}
	return strip_page_read(&graph->nodes, node, page, slot, err);
}

static inline const uint8_t *graph_payload_at(const struct hnsw *graph,
                                              const uint8_t *page,
                                              uint32_t slot)
{
	return page + NODES_PAYLOADS_AT + (size_t)slot * graph->payload_stride;
}

static inline float graph_bias_at(const struct hnsw *graph, const uint8_t *page,
                                  uint32_t slot)
{
	float bias;

	memcpy(&bias, page + graph->biases_at + (size_t)slot * NODE_BIAS_SIZE,
	       sizeof bias);
	return bias;
}

/* The node's block. ERR_CORRUPT for an id that was never given out; the node
 * may be free. */
static inline int graph_block(struct hnsw *graph, uint32_t node,
                              const uint8_t **block, struct err *err)
{
	const uint8_t *page;
	uint32_t slot;
	int rc;

	rc = graph_place(graph, node, &page, &slot, err);
	if (rc)
		return rc;
	*block = page + graph->blocks_at + (size_t)slot * graph->block_size;
	return ERR_NONE;
}

/* The same of a node that must be in use; it may be a twin. */
int graph_live_block(struct hnsw *graph, uint32_t node, const uint8_t **block,
                     struct err *err);
/* The same behind graph_begin(), for operations on a node that the caller names. */
int graph_begin_at(struct hnsw *graph, uint32_t node, const uint8_t **block,
                   struct err *err);
int graph_block_edit(struct hnsw *graph, uint32_t node, uint8_t **block,
                     struct err *err);

/* A payload (NULL: none yet) and its bias. The payload read is lent by a page or
 * copied to `scratch`. */
int graph_payload_write(struct hnsw *graph, uint32_t node,
                        const uint8_t *payload, float bias, struct err *err);
int graph_payload_read(struct hnsw *graph, uint32_t node, uint8_t *scratch,
                       const uint8_t **payload, float *bias, struct err *err);

/* The node's full vector, lent by a page or copied to `scratch`. */
int graph_vector(struct hnsw *graph, uint32_t node, uint8_t *scratch,
                 const uint8_t **vector, struct err *err);

/* The level a rowid's node gets. */
uint32_t graph_level_of(const struct hnsw *graph, int64_t rowid);

/* Takes a node id, writes the block with the vector in it: level 0, no links. */
int graph_node_make(struct hnsw *graph, int64_t rowid, struct span vector,
                    uint32_t *node, struct err *err);
/* Gives a node without links an upper record for each of its levels. */
int graph_node_raise(struct hnsw *graph, uint32_t node, uint32_t level,
                     struct err *err);
/* Gives id and records back; the node has no links and no twins any more. The last
 * one takes all pages with it. */
int graph_node_free(struct hnsw *graph, uint32_t node, struct err *err);

/* An upper record of no owner yet; gives back the first of a chain, which must be
 * of this node and level, *chain becomes the rest (both 1 + index). */
int graph_upper_take(struct hnsw *graph, uint32_t *record, struct err *err);
int graph_upper_free(struct hnsw *graph, uint32_t node, uint32_t level,
                     uint32_t *chain, struct err *err);

/* --- links --------------------------------------------------------------------------- */

/* One node's links on one level, read in place. */
struct links {
	const uint8_t *at;
	uint32_t count;
};

static inline uint32_t links_max(const struct hnsw *graph, uint32_t level)
{
	return graph->links_max[level > 0];
}

static inline uint32_t link_at(const struct links *links, uint32_t i)
{
	return load_le32(links->at + (size_t)i * LINK_SIZE);
}

int links_upper_read(struct hnsw *graph, uint32_t node, uint32_t level,
                     struct links *links, struct err *err);
void links_bad_degree(const struct hnsw *graph, uint32_t node, struct err *err);

static inline int links_read(struct hnsw *graph, uint32_t node, uint32_t level,
                             struct links *links, struct err *err)
{
	const uint8_t *block;
	int rc;

	if (level > 0)
		return links_upper_read(graph, node, level, links, err);
	rc = graph_block(graph, node, &block, err);
	if (rc)
		return rc;
	links->at = block + NODE_LINKS_AT;
	links->count = load_le16(block + NODE_DEGREE_AT);
	if (__builtin_expect(links->count > graph->links_max[0], 0)) {
		links_bad_degree(graph, node, err);
		return ERR_CORRUPT;
	}
	return ERR_NONE;
}

/* The same links as an array that stays when pages are edited. */
struct link_list {
	uint32_t links[LINKS_MAX];
	uint32_t count;
};
int links_copy(struct hnsw *graph, uint32_t node, uint32_t level,
               struct link_list *list, struct err *err);

/* Where the links are, to be changed. */
struct links_edit {
	uint8_t *degree, *at;
	uint32_t count;
};
/* Those of a node, and the link to `other` among them; ERR_CORRUPT when there is
 * none. */
int links_find(struct hnsw *graph, uint32_t level, uint32_t node,
               uint32_t other, struct links_edit *edit, uint8_t **link,
               struct err *err);

/* All three change both sides. Adds a link that is not there (`flag`: 0 or
 * LINK_BACKBONE) where both ends have room; makes one part of the backbone; drops
 * one. ERR_CORRUPT when a side does not have it. */
int links_add(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
              uint32_t flag, struct err *err);
int links_promote(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
                  struct err *err);
int links_drop(struct hnsw *graph, uint32_t level, uint32_t a, uint32_t b,
               struct err *err);

/* --- searches ---------------------------------------------------------------------------- */

void search_spare_free(struct hnsw *graph);

/* --- visited nodes ----------------------------------------------------------------------- */

void visited_clear(struct visited *visited);
int visited_room_make(struct hnsw *graph, uint32_t nodes, struct err *err);

/* Lists nodes that were just marked, LINKS_MAX at most. Once the list is full the
 * set is cleared as a whole. */
static inline void visited_list(struct visited *visited, const uint32_t *nodes,
                                uint32_t count)
{
	memcpy(visited->list + visited->list_count, nodes,
	       count * sizeof *nodes);
	visited->list_count += count;
	if (visited->list_count > VISITED_LIST_MAX)
		visited->list_count = VISITED_LIST_MAX;
}

/* Marks and lists one; says whether it was new. */
static inline bool visited_add(struct visited *visited, uint32_t node)
{
	uint64_t *word = &visited->words[node >> 6];
	bool is_new = !(*word >> (node & 63) & 1);

	*word |= UINT64_C(1) << (node & 63);
	visited_list(visited, &node, is_new);
	return is_new;
}

#endif
