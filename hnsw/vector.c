/*
 * vector.c - half floats, and the check of a vector from outside.
 */
#include "hnsw/vector.h"

#include <math.h>
#include <stdbool.h>

uint16_t vector_half_of_float(float value)
{
	uint32_t bits, sign, magnitude;
	float scaled;

	memcpy(&bits, &value, sizeof bits);
	sign = bits >> 16 & 0x8000u;
	magnitude = bits & 0x7fffffffu;
	if (magnitude > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00u);
	if (magnitude >= 0x477ff000u) /* rounds to 65,536 or more */
		return (uint16_t)(sign | 0x7c00u);
	if (magnitude < 0x38800000u) { /* subnormal: let the adder round */
		memcpy(&scaled, &magnitude, sizeof scaled);
		scaled += 0.5f;
		memcpy(&magnitude, &scaled, sizeof magnitude);
		return (uint16_t)(sign | (magnitude - 0x3f000000u));
	}
	magnitude += 0xc8000fffu + (magnitude >> 13 & 1u);
	return (uint16_t)(sign | magnitude >> 13);
}

static bool is_finite_vector(enum hnsw_element element, uint32_t dimensions,
                             struct span vector, uint32_t *at)
{
	uint32_t i;

	if (element != HNSW_F32 && element != HNSW_F16)
		return true;
	for (i = 0; i < dimensions; i++) {
		if (!isfinite(vector_element(element, vector.data, i))) {
			*at = i;
			return false;
		}
	}
	return true;
}

static bool is_zero_vector(enum hnsw_element element, uint32_t dimensions,
                           struct span vector)
{
	uint32_t i;

	for (i = 0; i < dimensions; i++) {
		if (vector_element(element, vector.data, i) != 0.0f)
			return false;
	}
	return true;
}

int vector_check(const char *operation, enum hnsw_element element,
                 enum hnsw_metric metric, uint32_t dimensions,
                 struct span vector, struct err *err)
{
	size_t size = vector_size(element, dimensions);
	uint32_t at = 0;

	if (vector.size != size)
		return err_set(err, ERR_INVALID, operation, "vector",
		               "expected %u dimensions in %zu bytes, got %zu bytes",
		               dimensions, size, vector.size);
	if (!is_finite_vector(element, dimensions, vector, &at))
		return err_set(err, ERR_INVALID, operation, "vector",
		               "element %u is not a finite number", at);
	if (element == HNSW_BIT && dimensions % 8 != 0 &&
	    vector.data[size - 1] >> dimensions % 8 != 0)
		return err_set(err, ERR_INVALID, operation, "vector",
		               "expected zero bits after dimension %u",
		               dimensions);
	if (metric == HNSW_COSINE && is_zero_vector(element, dimensions, vector))
		return err_set(err, ERR_INVALID, operation, "vector",
		               "expected a direction for cosine, got all zeros");
	return ERR_NONE;
}
