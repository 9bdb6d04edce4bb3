/*
 * checksum.c - xxh3-64 through the system's libxxhash.
 */
#include "base/checksum.h"

#include <xxhash.h>

uint64_t checksum64(const void *data, size_t size, uint64_t seed)
{
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
