/*
 * checksum.c - xxh3-64 through the system's libxxhash.
 */
#include "base/checksum.h"

#include <string.h>

#include "base/checksum_private.h"

#define XXH_STATIC_LINKING_ONLY /* for the size of its state */
#include <xxhash.h>

_Static_assert(sizeof(struct checksum_stream) >= sizeof(XXH3_state_t),
               "a stream holds the library's state");

enum { AVX2_PAYS_FROM = 241 }; /* 400 bytes: 23 ns instead of 71; up to 240 it is the same */

uint64_t checksum64(const void *data, size_t size, uint64_t seed)
{
#if defined(__x86_64__)
	if (size >= AVX2_PAYS_FROM && __builtin_cpu_supports("avx2"))
		return checksum64_avx2(data, size, seed);
#endif
	return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t checksum_seed(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t h = a * UINT64_C(0x9e3779b97f4a7c15);

	h ^= b + UINT64_C(0x7f4a7c159e3779b9) + (h << 6) + (h >> 2);
	h *= UINT64_C(0xbf58476d1ce4e5b9);
	h ^= h >> 29;
	h ^= c + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	h *= UINT64_C(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

void checksum_stream_init(struct checksum_stream *stream, uint64_t seed)
{
	memset(stream, 0, sizeof *stream); /* reset looks at the old seed */
	XXH3_64bits_reset_withSeed((XXH3_state_t *)(void *)stream, seed);
}

void checksum_stream_add(struct checksum_stream *stream, const void *data,
                         size_t size)
{
	XXH3_64bits_update((XXH3_state_t *)(void *)stream, data, size);
}

uint64_t checksum_stream_end(const struct checksum_stream *stream)
{
	return XXH3_64bits_digest((const XXH3_state_t *)(const void *)stream);
}
