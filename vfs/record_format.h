/*
 * record_format.h - what one log record says: the pages of one commit.
 *
 * Head, then items up to the end of the payload. Numbers marked v are varints
 * (7 bits a byte, low first, high bit = more).
 *
 *   head   u32 RECORD_MAGIC, u32 RECORD_VERSION, u64 txid, u32 item count, u32 zero
 *   item   u8 kind, then by kind
 *     ENTRY   v file id, ranges    differences of the catalog entry (the bytes
 *                                  CATALOG_ENTRY_LOGGED; from zero for a new file)
 *     GONE    v file id            the file was dropped
 *     DIFF    v file id, v page, v place, u64 checksum, ranges
 *                                  differences from the version before this record
 *     FRESH   as DIFF              differences from a page of zeros
 *     PLACED  v file id, v page, v place, u64 checksum
 *                                  the image is in the data file, synced
 *     FREE    v file id, v page, v next    the page is free; next in the chain
 *     REMOVE  v file id, v page            the page number is unused (truncation)
 *   ranges v count, then each: v bytes skipped since the last range's end,
 *          v length * 2 + moved, then
 *            moved 0   the bytes
 *            moved 1   v distance, zigzag (d >= 0: 2d, d < 0: -2d - 1): the bytes
 *                      that the version before has `distance` before this position
 *
 * The new version's birth is the record's txid, its length the file's page size.
 * Items are in an order that a replay can follow: a file's ENTRY before its pages.
 *
 * Valid when the magic matches, the items are as many as the
 * head says, and each is whole and of a known kind. That the bytes are those that were
 * written is vouched for by the record's frame (wal/wal_format.h). A version above
 * RECORD_VERSION is refused.
 */
#ifndef TURDB_VFS_RECORD_FORMAT_H
#define TURDB_VFS_RECORD_FORMAT_H

#include <stdint.h>

enum {
	RECORD_VERSION = 2, /* 1 had no moved ranges */
	RECORD_MAGIC_AT = 0,
	RECORD_VERSION_AT = 4,
	RECORD_TXID_AT = 8,
	RECORD_ITEMS_AT = 16,
	RECORD_ZERO_AT = 20,
	RECORD_HEAD_SIZE = 24,

	RECORD_ENTRY = 1,
	RECORD_GONE = 2,
	RECORD_DIFF = 3,
	RECORD_FRESH = 4,
	RECORD_PLACED = 5,
	RECORD_FREE = 6,
	RECORD_REMOVE = 7,
};

#define RECORD_MAGIC UINT32_C(0x43455254) /* 'TREC' */

#endif
