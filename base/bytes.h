/*
 * bytes.h - borrowed byte ranges, and numbers in and out of them.
 *
 * Every format of ours is little-endian and loaded through these helpers,
 * never by a cast. Keys alone are big-endian, so that memcmp orders them.
 */
#ifndef TURDB_BASE_BYTES_H
#define TURDB_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that somebody else owns; the declaration that hands one out says who
 * and for how long. */
struct span {
	const uint8_t *data;
	size_t size;
};

static inline struct span span_of(const void *data, size_t size)
{
	return (struct span){ .data = (const uint8_t *)data, .size = size };
}

/* The order of memcmp; of two that agree as far as one goes the shorter is first. */
static inline int span_compare(struct span a, struct span b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = size ? memcmp(a.data, b.data, size) : 0;

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big-endian machines need byte swaps in bytes.h"
#endif

static inline uint16_t load_le16(const uint8_t *at)
{
	uint16_t v;
	memcpy(&v, at, sizeof v);
	return v;
}

static inline uint32_t load_le32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, sizeof v);
	return v;
}

static inline uint64_t load_le64(const uint8_t *at)
{
	uint64_t v;
	memcpy(&v, at, sizeof v);
	return v;
}

static inline void store_le16(uint8_t *at, uint16_t v)
{
	memcpy(at, &v, sizeof v);
}

static inline void store_le32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, sizeof v);
}

static inline void store_le64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof v);
}

static inline uint64_t load_be64(const uint8_t *at)
{
	uint64_t v;
	memcpy(&v, at, sizeof v);
	return __builtin_bswap64(v);
}

static inline void store_be64(uint8_t *at, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(at, &v, sizeof v);
}

static inline uint32_t load_be32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, sizeof v);
	return __builtin_bswap32(v);
}

static inline void store_be32(uint8_t *at, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(at, &v, sizeof v);
}

#endif
