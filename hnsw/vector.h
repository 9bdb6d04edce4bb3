/*
 * vector.h - what the bytes of one vector are: sizes, half floats, checks.
 */
#ifndef TURDB_HNSW_VECTOR_H
#define TURDB_HNSW_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "hnsw/hnsw.h"

enum { VECTOR_DIMENSIONS_MAX = 65536 };

/* Bytes of a vector. Bits come eight to a byte, the first in the lowest; bits
 * beyond the last dimension are zero. */
static inline size_t vector_size(enum hnsw_element element, uint32_t dimensions)
{
	switch (element) {
	case HNSW_F32:
		return (size_t)dimensions * 4;
	case HNSW_F16:
		return (size_t)dimensions * 2;
	case HNSW_INT8:
		return dimensions;
	case HNSW_BIT:
		return ((size_t)dimensions + 7) / 8;
	}
	return 0;
}

static inline float vector_float_of_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
	uint32_t magnitude = half & 0x7fffu;
	uint32_t bits;
	float value;

	if (magnitude >= 0x7c00u) { /* infinity, NaN */
		bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
	} else {
		/* Shifted into place a half is 2^112 too small; the product
		 * is exact, for subnormals too. */
		bits = magnitude << 13;
		memcpy(&value, &bits, sizeof value);
		value *= 0x1p112f;
		memcpy(&bits, &value, sizeof bits);
	}
	bits |= sign;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* Rounds to nearest, ties to even; beyond the range of a half it is infinite. */
uint16_t vector_half_of_float(float value);

/* Element `i` of a vector of f32, f16 or int8. */
static inline float vector_element(enum hnsw_element element,
                                   const uint8_t *vector, size_t i)
{
	float value;

	switch (element) {
	case HNSW_F16:
		return vector_float_of_half(load_le16(vector + i * 2));
	case HNSW_INT8:
		return (float)(int8_t)vector[i];
	case HNSW_BIT:
		return (float)(vector[i / 8] >> (i % 8) & 1);
	case HNSW_F32:
		break;
	}
	memcpy(&value, vector + i * 4, sizeof value);
	return value;
}

/* ERR_INVALID with expected and given when the bytes are no vector of this
 * kind: wrong length, NaN, infinity, bits past the end; under cosine also a
 * zero vector. `operation` begins the sentence. */
int vector_check(const char *operation, enum hnsw_element element,
                 enum hnsw_metric metric, uint32_t dimensions,
                 struct span vector, struct err *err);

#endif
