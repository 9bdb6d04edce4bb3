/*
 * vector_data.h - made-up vectors that look like real embeddings.
 *
 * Clusters of power-law sizes in a space of few dimensions, bent into many by a
 * random two-layer network, plus noise. Vector i of a stream depends only on the
 * seed, the stream and i.
 */
#ifndef TURDB_TEST_VECTOR_DATA_H
#define TURDB_TEST_VECTOR_DATA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vector_data;

enum { VECTOR_DATA_BASE = 1, VECTOR_DATA_QUERIES = 2 };

struct vector_data *vector_data_open(uint32_t dimensions, uint64_t seed);
void vector_data_close(struct vector_data *data);

void vector_data_make(const struct vector_data *data, uint32_t stream,
                      uint64_t index, float *vector);

/* `count` vectors one after the other; the caller frees. */
float *vector_data_block(const struct vector_data *data, uint32_t stream,
                         size_t count);

/* The `k` nearest of the rows to each query by squared L2, nearest first:
 * `indices` and `distances` of queries * k. */
void vector_data_truth(const float *rows, size_t row_count,
                       const float *queries, size_t query_count,
                       uint32_t dimensions, uint32_t k, uint32_t *indices,
                       float *distances);

#ifdef __cplusplus
}
#endif

#endif
