/*
 * checksum_private.h - the faster twin of checksum64(), private to base/.
 */
#ifndef TURDB_BASE_CHECKSUM_PRIVATE_H
#define TURDB_BASE_CHECKSUM_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

/* Defined on x86-64 only; the CPU must have AVX2. */
uint64_t checksum64_avx2(const void *data, size_t size, uint64_t seed);

#endif
