/*
 * replay_private.h - what the files of a replay share: replay.c follows records,
 * replay_pages.c remembers what becomes of pages, replay_write.c makes and writes
 * their images, replay_places.c keeps sets of places.
 */
#ifndef TURDB_VFS_REPLAY_PRIVATE_H
#define TURDB_VFS_REPLAY_PRIVATE_H

#include "vfs/record_format.h"
#include "vfs/store_private.h"

/* --- replay_places.c: a set of places of one file ----------------------------------- */

struct replay_places {
	uint64_t **leaves; /* bitmaps; NULL where there are none */
	uint32_t room, count;
};

int replay_places_add(struct replay *replay, struct replay_places *places,
                      uint32_t place, bool *already, struct err *err);
bool replay_places_has(const struct replay_places *places, uint32_t place);
/* The first one that is >= from, or 0. */
uint32_t replay_places_next(const struct replay_places *places, uint32_t from);
void replay_places_free(struct replay *replay, struct replay_places *places);

/* --- pages ---------------------------------------------------------------------------- */

/* Where in the log seven changes of a page are; 0 = none. */
struct replay_changes {
	struct replay_changes *next;
	uint64_t at[7]; /* bytes from the log's start << 16 | moves << 15 | size */
};

enum { CHANGE_SIZE_MAX = 32767, CHANGE_MOVES = 32768 };

/* A page that a record named. Its newest version is its base with `count` changes;
 * they are in the list, or in the image already, or only counted (replay->counting). */
struct replay_page {
	uint32_t page_no;
	uint32_t count;
	struct page_ref ref; /* of the newest version          */
	struct replay_changes *last;
	uint8_t *image;
	struct replay_changes *first;
	struct page_ref base;
	bool from_zero;      /* the base is a page of zeros    */
	bool wanted;         /* its changes are being gathered */
};

enum { PAGES_A_BLOCK = 128 };

struct replay_file {
	uint32_t file_id, page_size;
	bool exists, existed, entry_changed, gone;
	bool appears;          /* the base does not have it                    */
	bool unmade, missing;  /* its header, its name are not there yet       */
	struct catalog_entry entry;
	struct page_table table;
	struct page_file *file;
	struct replay_page **blocks; /* of pages, in the order they came       */
	uint32_t count, block_room;
	uint32_t *slots;       /* open addressing: index of a page + 1         */
	uint32_t slot_bits;    /* 0: none yet                                  */
	struct replay_places named; /* by any record                           */
	struct replay_places placed; /* by one that says PLACED                */
	struct replay_file *next;
};

static inline struct replay_page *replay_page_at(const struct replay_file *file,
                                                 uint32_t i)
{
	return &file->blocks[i / PAGES_A_BLOCK][i % PAGES_A_BLOCK];
}

struct replay_block; /* memory for lists of changes */

struct replay {
	struct store *store;
	struct store_root base;
	bool alone;
	uint64_t txid;
	uint64_t records;
	struct replay_file *files; /* the one used last is the first */
	uint32_t file_count;
	struct wal_history *history;
	const uint8_t *log;      /* where positions in `at` count from          */
	uint8_t *scratch;        /* bytes that move within a page               */

	size_t budget, kept;     /* bytes for lists and images: at most, in use */
	size_t image_bytes;
	bool counting;           /* the lists did not fit                       */
	struct replay_block *blocks;
	struct replay_changes *bump, *bump_end, *spare;
};

int replay_refuse(const struct replay *replay, struct err *err,
                  const char *what, uint32_t file_id, uint32_t page_no);

/* --- replay_pages.c --------------------------------------------------------------------- */

/* What there is room for, when the log has so many bytes. */
void replay_budget(struct replay *replay, uint64_t log_bytes);
/* The record's version of a page that has no image of its own, or one that is in
 * its place. */
int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err);
/* The record's version is a change: of what was there (DIFF), or of zeros. */
int replay_page_change(struct replay *replay, struct replay_file *file,
                       const struct record_item *item,
                       const struct page_ref *ref, struct err *err);
/* Records are followed again for the lists of the pages that are wanted. */
int replay_page_gather(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err);
/* The newest version, all its changes made, in `image`. */
int replay_page_build(struct replay *replay, struct replay_file *file,
                      const struct replay_page *page, uint8_t *image,
                      struct err *err);
/* Announces what building will read. */
void replay_page_prefetch(const struct replay *replay,
                          const struct replay_file *file,
                          const struct replay_page *page);
/* Its changes are to be gathered: in an image, if the list would be longer. */
int replay_page_want(struct replay *replay, struct replay_file *file,
                     struct replay_page *page, struct err *err);
/* What gathering a page takes. */
size_t replay_page_cost(const struct replay_file *file,
                        const struct replay_page *page);
/* Forgets all lists and images. */
void replay_changes_forget(struct replay *replay);
void replay_pages_free(struct replay *replay, struct replay_file *file);

/* --- replay_write.c --------------------------------------------------------------------- */

/* Reads what changes build on. (R3) */
int replay_bases_verify(struct replay *replay, struct err *err);
/* Makes and writes the newest version of every page that has changes. */
int replay_pages_write(struct replay *replay, struct err *err);

/* --- replay.c --------------------------------------------------------------------------- */

/* Follows the log once more, for replay_page_gather(). */
int replay_gather(struct replay *replay, struct err *err);

#endif
