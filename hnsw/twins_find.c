/*
 * twins_find.c - which node, if any, a new one is a twin of.
 *
 * Scores come first, for they are at hand: nodes with the very same vector have the
 * same score, near ones about the same. Then the vectors decide: equal is the same
 * byte by byte, near is as hnsw_format.h says.
 */
#include "hnsw/twins.h"

#include <math.h>
#include <string.h>

#include "hnsw/vector.h"

enum {
	/* Nodes that one quantiser has coded score exactly as the node itself
	 * when their vectors are the same. While a graph is recoded, the nearest
	 * may be of the other. */
	EQUAL_COMPARED = 4,
	NEAR_COMPARED = 8,
};

static double square_of(const uint8_t *vector, uint32_t n)
{
	double sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		double x = (double)vector_element(HNSW_F32, vector, i);

		sum += x * x;
	}
	return sum;
}

/* In doubles and in order: the same on every CPU. */
static bool is_near(const uint8_t *head, const uint8_t *vector, uint32_t n)
{
	double bound = NEAR_FRACTION * square_of(head, n), sum = 0;
	uint32_t i;

	for (i = 0; i < n && sum <= bound; i++) {
		double apart = (double)vector_element(HNSW_F32, head, i) -
		               (double)vector_element(HNSW_F32, vector, i);

		sum += apart * apart;
	}
	return sum <= bound;
}

int twins_are_near(struct hnsw *graph, uint32_t head, const uint8_t *vector,
                   bool *near, struct err *err)
{
	const uint8_t *other;
	int rc;

	*near = false;
	if (graph->options.element != HNSW_F32)
		return ERR_NONE;
	rc = graph_vector(graph, head, graph->vector_scratch, &other, err);
	if (!rc)
		*near = is_near(other, vector, graph->options.dimensions);
	return rc;
}

/* How far the score of a near vector may be from a vector's own. */
static double near_limit(const struct hnsw *graph, const uint8_t *vector)
{
	uint32_t n = graph->options.dimensions;
	double square;

	if (graph->options.element != HNSW_F32)
		return -1;
	if (graph->state.trained)
		return 0;
	square = square_of(vector, n);
	switch (graph->options.metric) {
	case HNSW_L2:
		return 1.1 * NEAR_FRACTION * square;
	case HNSW_COSINE:
		return 1e-6;
	case HNSW_IP:
		return 2 * sqrt(NEAR_FRACTION) * square;
	case HNSW_L1:
		return 1.1 * sqrt(NEAR_FRACTION * n * square);
	case HNSW_HAMMING:
		break;
	}
	return -1;
}

static int equal_find(struct hnsw *graph, struct span vector, float own,
                      const struct candidate *candidates, size_t count,
                      uint32_t *head, struct err *err)
{
	bool recoding = graph->state.recode_cursor < graph->state.recode_limit;
	const uint8_t *other;
	size_t i;
	int rc;

	*head = NO_NODE;
	for (i = 0; i < count; i++) {
		if (candidates[i].distance != own &&
		    !(recoding && i < EQUAL_COMPARED))
			continue;
		rc = graph_vector(graph, candidates[i].node,
		                  graph->vector_scratch, &other, err);
		if (rc)
			return rc;
		if (memcmp(other, vector.data, vector.size) == 0) {
			*head = candidates[i].node;
			return ERR_NONE;
		}
	}
	return ERR_NONE;
}

static int near_find(struct hnsw *graph, struct span vector, float own,
                     const struct candidate *candidates, size_t count,
                     uint32_t *head, struct err *err)
{
	double limit = near_limit(graph, vector.data);
	size_t i;
	int rc;

	*head = NO_NODE;
	for (i = 0; i < count && i < NEAR_COMPARED; i++) {
		bool fits = false;
		uint32_t others;

		if (!(fabs((double)(candidates[i].distance - own)) <= limit))
			continue;
		rc = twins_near_count(graph, candidates[i].node, &others, err);
		if (!rc && others < NEAR_MAX)
			rc = twins_are_near(graph, candidates[i].node,
			                    vector.data, &fits, err);
		if (rc)
			return rc;
		if (fits) {
			*head = candidates[i].node;
			return ERR_NONE;
		}
	}
	return ERR_NONE;
}

int twins_find(struct hnsw *graph, struct span vector, float own,
               const struct candidate *candidates, size_t count,
               uint32_t *head, enum twins_chain *chain, struct err *err)
{
	int rc;

	*chain = TWINS_EQUAL;
	rc = equal_find(graph, vector, own, candidates, count, head, err);
	if (rc || *head != NO_NODE)
		return rc;
	*chain = TWINS_NEAR;
	return near_find(graph, vector, own, candidates, count, head, err);
}
