/*
 * replay_private.h - what the two files of a replay share: replay.c follows records,
 * replay_pages.c makes the images that they describe.
 */
#ifndef TURDB_VFS_REPLAY_PRIVATE_H
#define TURDB_VFS_REPLAY_PRIVATE_H

#include "vfs/record_format.h"
#include "vfs/store_private.h"

struct replay_page {
	uint32_t page_no;
	bool used;
	bool from_zero;          /* changes that wait build on zeros            */
	uint32_t first, last;    /* those changes, in the arena; 0 = none       */
	struct page_ref ref;     /* what the newest record says                 */
	struct page_ref written; /* the image they build on; length 0: none     */
};

/* A place that a record named, and the page that was the last to get it. */
struct replay_place {
	uint32_t place; /* 0 = no entry */
	uint32_t page_no;
};

struct replay_file {
	uint32_t file_id, units;
	bool exists, existed, entry_changed, gone;
	bool unmade, missing;      /* rehearsed: its header, its name are not there */
	struct catalog_entry entry;
	struct page_table table;
	struct page_file *file;
	uint64_t capacity;
	struct replay_page *pages; /* open addressing */
	uint32_t room, count;
	struct replay_place *places; /* open addressing; every place any record named */
	uint32_t place_count, place_room;
	struct replay_file *next;
};

struct replay {
	struct store *store;
	struct store_root base;
	bool alone, rehearsal;
	uint64_t txid;
	uint64_t records;
	struct replay_file *files;
	uint32_t file_count;
	uint8_t *image, *before; /* of one page                                 */
	uint8_t *arena;          /* changes that wait                           */
	size_t arena_size, arena_used;
};

int replay_refuse(const struct replay *replay, struct err *err,
                  const char *what, uint32_t file_id, uint32_t page_no);

/* The page as it is now; ref all zero when there is none. */
int replay_page_now(struct replay_file *file, uint32_t page_no,
                    struct page_ref *ref, struct err *err);
/* The record's version of a page that has no image of its own, or one that is in
 * its place: what waited is forgotten. */
int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err);
/* The record's version is a change: of what was there (DIFF), or of zeros. */
int replay_page_change(struct replay *replay, struct replay_file *file,
                       const struct record_item *item,
                       const struct page_ref *ref, struct err *err);
/* Rehearsed: the same without an image. */
int replay_page_rehearse(struct replay *replay, struct replay_file *file,
                         const struct record_item *item,
                         const struct page_ref *ref, struct err *err);
/* A record names a place for a page. */
int replay_place_claim(struct replay *replay, struct replay_file *file,
                       uint32_t place, uint32_t page_no, struct err *err);
bool replay_place_named(const struct replay_file *file, uint32_t place);
/* Makes and writes all images that wait. */
int replay_pages_write(struct replay *replay, struct err *err);

#endif
