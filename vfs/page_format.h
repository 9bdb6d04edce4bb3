/*
 * page_format.h - references to pages, map pages, and what opens a page file.
 *
 * A page file is an array of 4,096-byte units. A place is a unit's number. Unit
 * 0 holds the file header; it is written when the file is made and never again.
 * A page image begins at a unit; map pages are one unit, table pages
 * page_size / 4096 of them, aligned to their own size.
 *
 * A reference (24 bytes) says where a version of a page lies and what it must
 * be. Its checksum is xxh3-64 of the stored bytes, seeded with (file id, tag,
 * birth); the tag is the page number, or for a map page MAP_TAG(level, index):
 * a lost, stale or misdirected write fails as surely as a flipped bit.
 *
 *   OFFSET SIZE  reference
 *   0      4     place; in a free reference the next free page's number, 0 = none
 *   4      4     low 24 bits: stored length (0 = no page; less than the page size
 *                = a zstd image, not made by this version); high 8: flags
 *   8      8     birth: the txid that made this version
 *   16     8     checksum
 *
 * A map page is MAP_ENTRIES references behind a 16-byte head (u32 magic, u32
 * level, u64 zero). The table's root is a reference kept elsewhere (catalog
 * entry, superblock) beside its depth: depth 0 = the root is page 0 itself or,
 * with length 0, the table is empty; depth d = the root is a map page of level d;
 * level 1 refers to pages, level n to map pages of level n - 1. An entry whose
 * 24 bytes are zero stands for nothing below it. A free reference (flag FREE)
 * has length 0 and stands only at level 1.
 *
 * The file header is valid when the magic and the checksum match. A newer
 * version of it keeps magic, version and checksum where they are.
 */
#ifndef TURDB_VFS_PAGE_FORMAT_H
#define TURDB_VFS_PAGE_FORMAT_H

#include <assert.h>
#include <stdint.h>

enum {
	PLACE_SIZE = 4096, /* bytes of a unit                                     */

	REF_PLACE_AT = 0,
	REF_LENGTH_AT = 4,
	REF_BIRTH_AT = 8,
	REF_CHECKSUM_AT = 16,
	REF_SIZE = 24,
	REF_FLAG_FREE = 1, /* a numbered page that is free; `place` chains it     */

	MAP_MAGIC_AT = 0,   /* u32 MAP_MAGIC           */
	MAP_LEVEL_AT = 4,   /* u32 1..MAP_DEPTH_MAX    */
	MAP_ZERO_AT = 8,    /* u64 zero                */
	MAP_HEAD_SIZE = 16,
	MAP_ENTRIES = 170,
	MAP_DEPTH_MAX = 5,  /* 170^5 pages: beyond u32 page numbers */

	FILE_MAGIC_AT = 0,       /* u64 FILE_MAGIC                             */
	FILE_VERSION_AT = 8,     /* u32 FILE_VERSION                           */
	FILE_ID_AT = 12,         /* u32                                        */
	FILE_DATABASE_AT = 16,   /* u64[2] the database's random id            */
	FILE_PAGE_SIZE_AT = 32,  /* u32                                        */
	FILE_KIND_AT = 36,       /* u32 enum store_file_kind                   */
	FILE_BIRTH_AT = 40,      /* u64 txid of the transaction that made it   */
	FILE_HINT_AT = 48,       /* char[64] name hint, zero-padded            */
	FILE_ZERO_AT = 112,      /* u64 zero                                   */
	FILE_CHECKSUM_AT = 120,  /* u64 xxh3-64 of bytes 0..119, seed FILE_MAGIC */
	FILE_HEADER_SIZE = 128,
	FILE_VERSION = 1,
	FILE_FIRST_PLACE = 1,    /* the first unit that pages may use          */

	/* The head of every page of tables, indexes and graphs (not of SQLite's
	 * own pages and not of map pages). */
	PAGE_KIND_AT = 0,     /* u8  enum page_kind */
	PAGE_FILE_ID_AT = 4,  /* u32                */
	PAGE_NO_AT = 8,       /* u32                */
	PAGE_HEAD_SIZE = 16,
};

#define MAP_MAGIC UINT32_C(0x50414d54)             /* 'TMAP'     */
#define FILE_MAGIC UINT64_C(0x454c494642445254)    /* 'TRDBFILE' */
#define MAP_TAG(level, index) ((level) * (UINT64_C(1) << 56) | (uint64_t)(index))

static_assert(MAP_HEAD_SIZE + MAP_ENTRIES * REF_SIZE <= PLACE_SIZE,
              "a map page is one unit");

/* A reference in memory. */
struct page_ref {
	uint32_t place;
	uint32_t length; /* stored bytes; 0 = none         */
	uint64_t birth;
	uint64_t checksum;
	uint8_t flags;
};

/* A table's root in memory. */
struct page_table {
	struct page_ref root;
	uint32_t depth;
};

#endif
