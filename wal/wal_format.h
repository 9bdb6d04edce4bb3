/*
 * wal_format.h - the bytes of the log: segments and the records in them.
 *
 * All numbers are little-endian. A position (lsn) counts bytes of record area;
 * it only grows. A segment file wal/wal.000001 (more digits when it needs them)
 * is
 *
 *     0                 2048              4096                    size
 *     +-----------------+-----------------+-----------------------+
 *     | header          | header, again   | record area           |
 *     +-----------------+-----------------+-----------------------+
 *
 * and holds the positions [first, first + size - AREA_AT): position p lies at
 * file offset AREA_AT + (p - first).
 *
 * Segment header. Written when the file has its full size on disk, synced with
 * its file and directory before any record enters, never updated while a
 * position of the segment can matter. The two copies are equal; either is
 * enough, so that one flipped bit changes nothing. A copy is valid when the
 * magic matches and the checksum covers the bytes before it; this holds for all
 * versions. A valid header whose version is newer, or whose number is not the one
 * in the file's name, refuses the whole log: the copy may have taken the place of
 * a segment that holds commits.
 *
 * A segment with the flag STARTED begins a new line after a recovery (or the
 * first one): `start` is the position at which the line before it ended, and
 * the first record's `previous` is the segment's salt. Any other segment
 * continues the one that ends where it begins.
 *
 * A file without a valid header is the rest of an interrupted creation when
 * its record area is all zeros; otherwise it is damaged.
 *
 * Record. Begins 8-byte aligned, never spans segments:
 *
 *     checksum | magic | payload size | lsn | previous | durable | payload, 0s
 *
 * It holds when it fits into its segment, lsn is the position where it lies,
 * durable <= lsn, and the checksum, seeded with the segment's salt, covers
 * everything after itself up to the 8-byte boundary behind the payload. It
 * follows the record before it when `previous` is that record's checksum.
 *
 * A record with LAST_MAGIC has no payload and closes its segment: the line
 * goes on at the first position of the next one, which therefore exists. There
 * is room for it behind every other record.
 *
 * Bytes behind the last record that holds mean nothing: zeros, the rest of a
 * torn record, or what a reused file held before.
 */
#ifndef TURDB_WAL_WAL_FORMAT_H
#define TURDB_WAL_WAL_FORMAT_H

#include <stdint.h>

enum {
	WAL_SEGMENT_MAGIC = 0x4c415754, /* "TWAL" */
	WAL_SEGMENT_VERSION = 1,

	WAL_SEGMENT_MAGIC_AT = 0,      /* u32 WAL_SEGMENT_MAGIC             */
	WAL_SEGMENT_VERSION_AT = 4,    /* u32 WAL_SEGMENT_VERSION           */
	WAL_SEGMENT_FIRST_AT = 8,      /* u64 position of the record area   */
	WAL_SEGMENT_START_AT = 16,     /* u64 with STARTED: where the line
	                                      before it ended; else 0       */
	WAL_SEGMENT_SALT_AT = 24,      /* u64 random, new with each header  */
	WAL_SEGMENT_SIZE_AT = 32,      /* u64 bytes of the file             */
	WAL_SEGMENT_DATABASE_AT = 40,  /* u64 identity of the database      */
	WAL_SEGMENT_NUMBER_AT = 48,    /* u32 the number in the file's name */
	WAL_SEGMENT_FLAGS_AT = 52,     /* u32 WAL_SEGMENT_STARTED or 0      */
	WAL_SEGMENT_CHECKSUM_AT = 56,  /* u64 xxh3-64, seed 0, of what is
	                                      before it                     */
	WAL_SEGMENT_HEADER_SIZE = 64,

	WAL_SEGMENT_STARTED = 1,

	WAL_SEGMENT_COPY_AT = 2048,    /* the second header                 */
	WAL_SEGMENT_AREA_AT = 4096,    /* the record area                   */
	WAL_SEGMENT_ALIGNMENT = 4096,  /* of every file's size              */
	WAL_SEGMENT_SIZE_MIN = 8192,
};

/* Keep file offsets and sums of sizes far from overflow. */
#define WAL_SEGMENT_SIZE_MAX (UINT64_C(1) << 40)
#define WAL_LSN_MAX (UINT64_C(1) << 62)

enum {
	WAL_RECORD_MAGIC = 0x43455254, /* "TREC" */
	WAL_RECORD_LAST = 0x5453414c,  /* "LAST" */

	WAL_RECORD_CHECKSUM_AT = 0,      /* u64 xxh3-64, seed = the salt     */
	WAL_RECORD_MAGIC_AT = 8,         /* u32                              */
	WAL_RECORD_PAYLOAD_SIZE_AT = 12, /* u32 bytes                        */
	WAL_RECORD_LSN_AT = 16,          /* u64 its position                 */
	WAL_RECORD_PREVIOUS_AT = 24,     /* u64 checksum of the one before   */
	WAL_RECORD_DURABLE_AT = 32,      /* u64 everything before this was
	                                        durable at the append        */
	WAL_RECORD_HEADER_SIZE = 40,
	WAL_RECORD_ALIGNMENT = 8,
	WAL_RECORD_PAYLOAD_MAX = 1 << 30,
};

_Static_assert(WAL_SEGMENT_COPY_AT + WAL_SEGMENT_HEADER_SIZE <=
               WAL_SEGMENT_AREA_AT, "both headers lie before the record area");
_Static_assert(WAL_SEGMENT_AREA_AT % WAL_RECORD_ALIGNMENT == 0 &&
               WAL_RECORD_HEADER_SIZE % WAL_RECORD_ALIGNMENT == 0,
               "records start 8-byte aligned");

#endif
