/*
 * graph_rig.c - a graph and its mirror.
 */
#include "test/support/graph_rig.h"

#include "base/cpu.h"
#include "hnsw/vector.h"

static bool failed(struct graph_rig *rig, const char *what, int rc)
{
	struct test *t = rig->t;

	if (rc)
		test_fail(t, __FILE__, __LINE__, "%s: %s: %s", what,
		          err_name(rc), t->err.text);
	return rc != ERR_NONE;
}

bool graph_rig_open(struct graph_rig *rig, struct test *t,
                      const struct hnsw_options *options, uint32_t page_size,
                      bool unkind)
{
	struct pager *pager;

	memset(rig, 0, sizeof *rig);
	rig->t = t;
	rig->options = *options;
	rig->vector_size = vector_size(options->element, options->dimensions);
	heap_init(&rig->heap);
	if (failed(rig, "open pager",
	           memory_pager_open(&rig->memory, &rig->heap, page_size,
	                             unkind, &t->err)))
		return false;
	pager = memory_pager_of(rig->memory);
	memory_pager_begin(rig->memory);
	if (failed(rig, "create", hnsw_create(pager, options, &t->err)))
		return false;
	memory_pager_operation_end(rig->memory);
	return !failed(rig, "open",
	               hnsw_open(pager,
	                         hnsw_kernels_for(cpu_level_pick(NULL)),
	                         &rig->graph, &t->err));
}

void graph_rig_close(struct graph_rig *rig)
{
	size_t i;

	hnsw_close(rig->graph);
	memory_pager_close(rig->memory);
	for (i = 0; i < rig->count; i++)
		free(rig->rows[i].vector);
	free(rig->rows);
	if (!rig->t->failed && rig->heap.used != 0)
		test_fail(rig->t, __FILE__, __LINE__, "%zu bytes leaked",
		          (size_t)rig->heap.used);
}

void graph_rig_vector(const struct graph_rig *rig, uint64_t *seed,
                        int range, uint8_t *vector)
{
	uint32_t n = rig->options.dimensions, i;

	memset(vector, 0, rig->vector_size);
	for (i = 0; i < n; i++) {
		int64_t r = (int64_t)(test_random(seed) %
		                      (uint64_t)(2 * range + 1)) - range;
		float value = (float)r;

		if (i == 0 && rig->options.metric == HNSW_COSINE)
			value = (float)(range + 1);
		switch (rig->options.element) {
		case HNSW_F32:
			memcpy(vector + i * 4, &value, 4);
			break;
		case HNSW_F16:
			store_le16(vector + i * 2, vector_half_of_float(value));
			break;
		case HNSW_INT8:
			vector[i] = (uint8_t)(int8_t)value;
			break;
		case HNSW_BIT:
			vector[i / 8] |= (uint8_t)((r & 1) << (i % 8));
			break;
		}
	}
}

bool graph_rig_insert(struct graph_rig *rig, int64_t rowid,
                        const void *vector)
{
	struct graph_row *row;
	uint32_t node = 0;

	if (failed(rig, "insert",
	           hnsw_insert(rig->graph, rowid,
	                       span_of(vector, rig->vector_size), &node,
	                       &rig->t->err)))
		return false;
	memory_pager_operation_end(rig->memory);
	if (rig->count == rig->room) {
		rig->room = rig->room ? rig->room * 2 : 64;
		rig->rows = realloc(rig->rows,
		                      rig->room * sizeof *rig->rows);
	}
	row = &rig->rows[rig->count++];
	*row = (struct graph_row){ true, rowid, node,
		                   malloc(rig->vector_size) };
	memcpy(row->vector, vector, rig->vector_size);
	rig->live++;
	return true;
}

bool graph_rig_delete(struct graph_rig *rig, size_t row)
{
	if (failed(rig, "delete",
	           hnsw_delete(rig->graph, rig->rows[row].node,
	                       &rig->t->err)))
		return false;
	memory_pager_operation_end(rig->memory);
	rig->rows[row].live = false;
	rig->live--;
	return true;
}

static bool rows_match(struct graph_rig *rig)
{
	struct test *t = rig->t;
	uint64_t nodes = 0;
	size_t i;

	if (failed(rig, "count", hnsw_count(rig->graph, &nodes, &t->err)))
		return false;
	if (nodes != rig->live) {
		test_fail(t, __FILE__, __LINE__, "%llu nodes, %zu rows",
		          (unsigned long long)nodes, rig->live);
		return false;
	}
	for (i = 0; i < rig->count; i++) {
		struct graph_row *row = &rig->rows[i];
		struct span vector;
		int64_t rowid = 0;

		if (!row->live)
			continue;
		if (failed(rig, "vector",
		           hnsw_vector(rig->graph, row->node, &vector, &rowid,
		                       &t->err)))
			return false;
		if (rowid != row->rowid || vector.size != rig->vector_size ||
		    memcmp(vector.data, row->vector, vector.size) != 0) {
			test_fail(t, __FILE__, __LINE__, "node %u is not row %lld",
			          row->node, (long long)row->rowid);
			return false;
		}
	}
	return true;
}

bool graph_rig_check(struct graph_rig *rig)
{
	struct test *t = rig->t;

	memory_pager_visits_reset(rig->memory);
	if (failed(rig, "verify",
	           hnsw_verify(rig->graph, NULL, memory_pager_visit, NULL,
	                       memory_pager_of(rig->memory), &t->err)) ||
	    failed(rig, "pages",
	           memory_pager_visits_check(rig->memory, &t->err)) ||
	    !rows_match(rig))
		return false;
	memory_pager_operation_end(rig->memory);
	return true;
}

int graph_rig_search(struct graph_rig *rig,
                       const struct hnsw_query *query, int limit,
                       int64_t *rowids, double *distances)
{
	struct hnsw_search *search = NULL;
	struct test *t = rig->t;
	int count = 0;

	if (failed(rig, "search",
	           hnsw_search_begin(rig->graph, query, &search, &t->err)))
		return -1;
	while (count < limit) {
		uint32_t node;
		bool more = false;

		memory_pager_operation_end(rig->memory);
		if (failed(rig, "next",
		           hnsw_search_next(search, &rowids[count], &node,
		                            &distances[count], &more,
		                            &t->err))) {
			count = -1;
			break;
		}
		if (!more)
			break;
		count++;
	}
	hnsw_search_end(search);
	memory_pager_operation_end(rig->memory);
	return count;
}
