// hnswlib_shim.cpp - the peer of hnsw_bench: Debian's libhnswlib-dev, compiled
// for this very CPU.
#include "bench/hnswlib_shim.h"

#include <hnswlib/hnswlib.h>

struct hnswlib_index {
	hnswlib::L2Space space;
	hnswlib::HierarchicalNSW<float> graph;
	size_t searches = 0;

	hnswlib_index(uint32_t dimensions, size_t rows, uint32_t m,
	              uint32_t ef_construction)
	    : space(dimensions), graph(&space, rows, m, ef_construction)
	{
	}
};

struct hnswlib_index *hnswlib_open(uint32_t dimensions, size_t rows, uint32_t m,
                                   uint32_t ef_construction)
{
	return new hnswlib_index(dimensions, rows, m, ef_construction);
}

void hnswlib_close(struct hnswlib_index *index)
{
	delete index;
}

void hnswlib_insert(struct hnswlib_index *index, const float *vector,
                    size_t label)
{
	index->graph.addPoint(vector, label);
}

void hnswlib_search(struct hnswlib_index *index, const float *vector,
                    uint32_t k, uint32_t ef, uint32_t *labels)
{
	index->graph.setEf(ef);
	index->searches++;
	auto found = index->graph.searchKnn(vector, k);
	while (!found.empty()) {
		labels[found.size() - 1] = (uint32_t)found.top().second;
		found.pop();
	}
}

double hnswlib_distances_per_search(struct hnswlib_index *index)
{
	double per_search = (double)index->graph.metric_distance_computations /
	                    (double)(index->searches ? index->searches : 1);

	index->graph.metric_distance_computations = 0;
	index->searches = 0;
	return per_search;
}
