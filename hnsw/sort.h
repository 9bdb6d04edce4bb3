/*
 * sort.h - sorting in place without memory of its own (the C library's qsort
 * may allocate).
 */
#ifndef TURDB_HNSW_SORT_H
#define TURDB_HNSW_SORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

void sort_u64(uint64_t *keys, size_t count);

/* A float's place in the order of all floats, as an unsigned number. */
static inline uint32_t sort_key_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static inline float sort_float_of_key(uint32_t key)
{
	uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
	float value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

static inline uint64_t sort_key_of_int64(int64_t value)
{
	return (uint64_t)value ^ UINT64_C(1) << 63;
}

#endif
