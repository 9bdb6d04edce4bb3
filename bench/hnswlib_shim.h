/*
 * hnswlib_shim.h - hnswlib behind three C functions.
 */
#ifndef TURDB_BENCH_HNSWLIB_SHIM_H
#define TURDB_BENCH_HNSWLIB_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hnswlib_index;

struct hnswlib_index *hnswlib_open(uint32_t dimensions, size_t rows, uint32_t m,
                                   uint32_t ef_construction);
void hnswlib_close(struct hnswlib_index *index);
void hnswlib_insert(struct hnswlib_index *index, const float *vector,
                    size_t label);
void hnswlib_search(struct hnswlib_index *index, const float *vector,
                    uint32_t k, uint32_t ef, uint32_t *labels);
double hnswlib_distances_per_search(struct hnswlib_index *index);

#ifdef __cplusplus
}
#endif

#endif
