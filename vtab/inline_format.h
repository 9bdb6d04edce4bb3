/*
 * inline_format.h - a turdb table in the shadow tables of another database.
 *
 * Table t has three: t_tbd (its rows), t_idx (its indexes), t_hnsw (its graphs), each
 *
 *   CREATE TABLE t_tbd(pgno INTEGER PRIMARY KEY, page BLOB NOT NULL)
 *
 * One row is one page: `pgno` is the number of its file times 2^32 plus its number in
 * the file, from 1. The table itself is file 0. All numbers are little-endian.
 *
 * A page is INLINE_PAGE_SIZE bytes, so that a row of the host takes pages of 4, 8 or 16
 * KB without waste:
 *
 *   OFFSET SIZE
 *   0      8     xxh3-64 of the bytes behind it, bound to table, file and page
 *   8      4     a free page: the next one, or 0; else 0
 *   12     1     its kind (enum page_kind); 13: INLINE_VERSION; 14: zero
 *   16           what trees and graphs have written
 *
 * Row 0 of t_tbd is the catalog: a header and an entry for each file. The first entry
 * is the table's; those of indexes follow in the order of the statement.
 *
 *   0      8     xxh3-64 of the header's bytes behind it
 *   8      4     INLINE_MAGIC
 *   12     4     INLINE_VERSION
 *   16     8     identity of the table: random, never changes, seeds all checksums
 *   24     8     stamp: random, another one in every transaction that has written. Who
 *                finds the same one here as before may go on using pages it has
 *   32     8     AUTOINCREMENT: the largest rowid ever given out
 *   40     4     number of entries
 *   44     4     number of indexes: entries 1 to that
 *   48     4     number of the next file
 *   52     12    zero
 *
 * An entry:
 *
 *   0      8     xxh3-64 of the entry's bytes behind it, bound to identity and number
 *   8      4     number of the file
 *   12     4     kind: 3 table, 4 index, 5 graph
 *   16     4     pages ever numbered, counting a page 0 that is not stored
 *   20     4     first free page, or 0
 *   24     4     free pages
 *   28     4     zero
 *   32     96    the file's state (base/pager.h)
 *
 * Row -1 of t_tbd holds what the rows were stored as (layout.c): 8 bytes of xxh3-64,
 * bound to the identity, then LAYOUT_VERSION and the text, as dictionary_format.h has it.
 *
 * Valid when the size is the one given and the checksum holds. A version above
 * INLINE_VERSION is refused, 0 is damage.
 */
#ifndef TURDB_VTAB_INLINE_FORMAT_H
#define TURDB_VTAB_INLINE_FORMAT_H

#define INLINE_TABLE_SUFFIX "tbd"
#define INLINE_INDEX_SUFFIX "idx"
#define INLINE_GRAPH_SUFFIX "hnsw"

enum {
	INLINE_VERSION = 1,
	INLINE_MAGIC = 0x49424454,       /* "TDBI" */

	INLINE_PAGE_SIZE = 16320,
	INLINE_PAGE_CHECKSUM_AT = 0,
	INLINE_PAGE_NEXT_AT = 8,
	INLINE_PAGE_KIND_AT = 12,
	INLINE_PAGE_VERSION_AT = 13,
	INLINE_PAGE_HEADER_SIZE = 16,
	INLINE_USABLE_SIZE = INLINE_PAGE_SIZE - INLINE_PAGE_HEADER_SIZE,

	INLINE_CATALOG_ROW = 0,
	INLINE_LAYOUT_ROW = -1,
	INLINE_FILE_SHIFT = 32,

	INLINE_CHECKSUM_SIZE = 8,
	INLINE_MAGIC_AT = 8,
	INLINE_VERSION_AT = 12,
	INLINE_IDENTITY_AT = 16,
	INLINE_STAMP_AT = 24,
	INLINE_SEQUENCE_AT = 32,
	INLINE_ENTRIES_AT = 40,
	INLINE_INDEXES_AT = 44,
	INLINE_NEXT_FILE_AT = 48,
	INLINE_HEADER_SIZE = 64,

	INLINE_ENTRY_NUMBER_AT = 8,
	INLINE_ENTRY_KIND_AT = 12,
	INLINE_ENTRY_PAGES_AT = 16,
	INLINE_ENTRY_FREE_HEAD_AT = 20,
	INLINE_ENTRY_FREE_COUNT_AT = 24,
	INLINE_ENTRY_STATE_AT = 32,
	INLINE_ENTRY_SIZE = 128,

	INLINE_ENTRIES_MAX = 4096,       /* SQLite allows fewer columns and indexes */
	INLINE_PAGES_MAX = 0x7fffffff,
};

#endif
