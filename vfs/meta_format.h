/*
 * meta_format.h - turdb.meta: superblocks, lock bytes, catalog pages.
 *
 * turdb.meta is an array of 4,096-byte units. Units 0 and 1 each hold one copy of
 * the superblock; the valid one with the higher sequence counts; a checkpoint
 * overwrites the other. Bytes from LOCK_OPEN_AT on are never read or written: they
 * are what processes lock (OFD locks). Units from META_FIRST_PLACE on hold catalog
 * pages and, when there are more than one, their map pages (page_format.h, file
 * id 0).
 *
 * A superblock is valid when magic and checksum match; a version above
 * META_VERSION is refused, a lower one read: what it lacks is zero. It names one
 * snapshot: its txid, the catalog's page table, and the position in the log from
 * which a replay goes on.
 *
 * The catalog is an array of entries, CATALOG_PAGE_ENTRIES to a page; the entry of
 * file id f is entry f % N of logical page f / N. Entry 0 is the catalog's own: its
 * page_count field holds the next file id. An entry whose kind and page size are
 * zero does not exist. Bytes 0..CATALOG_ENTRY_LOGGED are what log records carry
 * differences of; the page-table root behind them is made anew by a replay.
 */
#ifndef TURDB_VFS_META_FORMAT_H
#define TURDB_VFS_META_FORMAT_H

#include "vfs/page_format.h"

enum {
	META_VERSION = 2, /* 1 had SQLite's change counter in page 1 alone */
	META_SUPERBLOCKS = 2,
	META_FIRST_PLACE = 16, /* units 2..15: lock bytes, and room */

	SUPER_MAGIC_AT = 0,        /* u64 SUPER_MAGIC                          */
	SUPER_VERSION_AT = 8,      /* u32 META_VERSION                         */
	SUPER_PAGE_SIZE_AT = 12,   /* u32 16384                                */
	SUPER_DATABASE_AT = 16,    /* u64[2] random id of the database         */
	SUPER_SEQUENCE_AT = 32,    /* u64 grows with every superblock written;
	                              below 2^63                               */
	SUPER_TXID_AT = 40,        /* u64 of the snapshot                      */
	SUPER_LSN_AT = 48,         /* u64 a replay starts here                 */
	SUPER_CATALOG_AT = 56,     /* reference: root of the catalog's table   */
	SUPER_DEPTH_AT = 80,       /* u32 its depth                            */
	SUPER_SEGMENT_AT = 84,     /* u32 log segment size / 4096, 0 = default */
	SUPER_CREATED_AT = 88,     /* u64 ms since 1970                        */
	SUPER_LINE_AT = 96,        /* u64 salt of a log segment that must be
	                              there; 0 = none. The first writer after an
	                              opening begins a segment and names it before
	                              a record enters; the next checkpoint's
	                              position lies behind it and says as much.
	                              Libraries that do not know the field write 0 */
	SUPER_CLEAN_AT = 104,      /* u32 1: no record was appended from SUPER_LSN_AT
	                              on, so that the log need not hold that
	                              position. Written by the last process to
	                              leave and at the end of a recovery; every
	                              other superblock has 0, as those of libraries
	                              that do not know the field              */
	SUPER_ZERO_AT = 108,       /* zero up to the checksum                  */
	SUPER_CHECKSUM_AT = 504,   /* u64 xxh3-64 of bytes 0..503, seed magic  */
	SUPER_SIZE = 512,

	LOCK_OPEN_AT = 8192,       /* shared: open; exclusive: recovers, closes */
	LOCK_PROCESS_AT = 8448,    /* + index: this process lives              */

	CATALOG_ID_AT = 0,         /* u32 file id                              */
	CATALOG_KIND_AT = 4,       /* u8 enum store_file_kind                  */
	CATALOG_PAGE_SIZE_AT = 8,  /* u32                                      */
	CATALOG_PAGE_COUNT_AT = 12, /* u32 logical pages ever numbered          */
	CATALOG_FREE_HEAD_AT = 16, /* u32 first free logical page, 0 = none    */
	CATALOG_FREE_COUNT_AT = 20, /* u32                                      */
	CATALOG_BIRTH_AT = 24,     /* u64 txid that made the file              */
	CATALOG_HINT_AT = 32,      /* char[64] zero-padded                     */
	CATALOG_STATE_AT = 96,     /* PAGER_STATE_SIZE bytes of the client     */
	CATALOG_ENTRY_LOGGED = 192,
	CATALOG_ROOT_AT = 192,     /* reference: root of the file's page table */
	CATALOG_DEPTH_AT = 216,    /* u32                                      */
	CATALOG_ENTRY_SIZE = 240,
	CATALOG_HINT_SIZE = 64,

	CATALOG_PAGE_MAGIC_AT = 0, /* u32 CATALOG_PAGE_MAGIC                   */
	CATALOG_PAGE_NO_AT = 4,    /* u32 logical page number                  */
	CATALOG_PAGE_HEAD = 16,
	CATALOG_PAGE_ENTRIES = 17,

	/* In the state of file STORE_SQLITE_FILE_ID. */
	SQLITE_STATE_SIZE_AT = 0,  /* u64 length in bytes of SQLite's file, at most 2^32 - 1 pages */
	SQLITE_STATE_COUNTER_AT = 8, /* u8[4] bytes 24..27 and 92..95 of it ... */
	SQLITE_STATE_HAS_COUNTER_AT = 12, /* u32 ... while this is 1; else 0    */
};

#define SUPER_MAGIC UINT64_C(0x3152455055534454)     /* 'TDSUPER1' */
#define CATALOG_PAGE_MAGIC UINT32_C(0x54414354)      /* 'TCAT'     */

static_assert(CATALOG_PAGE_HEAD + CATALOG_PAGE_ENTRIES * CATALOG_ENTRY_SIZE <=
              PLACE_SIZE, "a catalog page is one unit");

#endif
