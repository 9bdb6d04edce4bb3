/*
 * checksum.h - xxh3-64, the one checksum of every format of ours.
 *
 * Source: xxHash 0.8 (XXH3_64bits_withSeed); its output is stable since 0.8.0.
 */
#ifndef TURDB_BASE_CHECKSUM_H
#define TURDB_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* `seed` binds the bytes to where they belong, so that a right page in the
 * wrong place fails too. */
uint64_t checksum64(const void *data, size_t size, uint64_t seed);

/* Mixes three numbers into a seed: file, page and birth. */
uint64_t checksum_seed(uint64_t a, uint64_t b, uint64_t c);

/* The same checksum over bytes that do not lie together. The caller's
 * storage; nothing to close. */
struct checksum_stream {
	_Alignas(64) uint8_t state[640];
};

void checksum_stream_init(struct checksum_stream *stream, uint64_t seed);
void checksum_stream_add(struct checksum_stream *stream, const void *data,
                         size_t size);
uint64_t checksum_stream_end(const struct checksum_stream *stream);

#endif
