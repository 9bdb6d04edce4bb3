/*
 * replay_private.h - what the files of a replay share: replay.c follows records,
 * replay_pages.c remembers what becomes of pages, replay_present.c finds images that
 * are in their places, replay_build.c makes the others from what replay_bases.c has
 * verified, replay_write.c and replay_batch.c write them, replay_finish.c checks all of
 * it and makes it a snapshot, replay_part.c follows parts of the log at once.
 */
#ifndef TURDB_VFS_REPLAY_PRIVATE_H
#define TURDB_VFS_REPLAY_PRIVATE_H

#include "base/sparse_bits.h"
#include "vfs/record_read.h"

/* --- pages ---------------------------------------------------------------------------- */

/* Where in the log seven changes of a page are; 0 = none. */
struct replay_changes {
	struct replay_changes *next;
	uint64_t at[7]; /* bytes from the log's start << 16 | moves << 15 | size */
};

enum { CHANGES_A_NODE = 7, CHANGE_SIZE_MAX = 32767, CHANGE_MOVES = 32768 };

enum { CACHE_LINE = 64 };

/* A page that a record named, as records meet it: one cache line. Its newest version
 * is its base with `count` changes; they are in the list, or only counted (replay->
 * counting), until they are gathered in the list or in the image. */
struct replay_page {
	uint32_t page_no;
	uint32_t index;
	uint32_t count;
	uint8_t last_used;   /* changes in `last`; all seven when it is NULL */
	bool from_zero;      /* the base is a page of zeros    */
	bool wanted;         /* its changes are being gathered */
	uint8_t before;      /* in a part: PAGE_BEFORE_...     */
	struct page_ref ref; /* of the newest version          */
	struct replay_changes *last;
	uint8_t *image;
};
static_assert(sizeof(struct replay_page) == CACHE_LINE, "one cache line");

/* What a part presumes of a page. */
enum {
	PAGE_BEFORE_COUNTS = 1, /* its base is the version before the part */
	PAGE_BEFORE_NEEDED = 2, /* there is such a version                 */
};

/* What the page's building begins with. */
struct replay_origin {
	struct replay_changes *first;
	struct page_ref base;
};

enum { PAGES_A_BLOCK = 128 };

struct replay_page_block {
	_Alignas(CACHE_LINE) struct replay_page pages[PAGES_A_BLOCK];
	struct replay_origin origins[PAGES_A_BLOCK];
	void *memory; /* as the heap gave it */
};

struct replay_slot {
	uint32_t page_no;
	uint32_t taken; /* the page's index + 1; 0: free */
};

/* What a part, which knows nothing of the file before it, learns or takes for granted. */
struct replay_presumed {
	bool exists, made;     /* it was there before; the part makes it        */
	uint32_t place_bits;   /* of all places                                 */
	uint32_t place_max;
	uint64_t reach;        /* of all changes                                */
	struct replay_overlay *overlay; /* bytes of its catalog entry, or NULL  */
};

struct replay_file {
	uint32_t file_id, page_size, units;
	bool exists, existed, entry_changed, gone;
	bool appears;          /* the base does not have it                    */
	bool unmade, missing;  /* its header, its name are not there yet       */
	struct catalog_entry entry;
	struct page_table table;
	struct page_file *file;
	struct replay_page_block **blocks; /* in the order the pages came      */
	uint32_t count, block_room;
	struct replay_slot *slots; /* open addressing                          */
	uint32_t slot_bits;    /* 0: none yet                                  */
	uint32_t slot_shift;   /* 32 - slot_bits                               */
	struct sparse_bits named;  /* places, by any record                    */
	struct sparse_bits placed; /* by one that says PLACED                  */
	struct replay_presumed presumed; /* in a part                          */
	struct replay_file *next;
};

static inline struct replay_page *replay_page_at(const struct replay_file *file,
                                                 uint32_t i)
{
	return &file->blocks[i / PAGES_A_BLOCK]->pages[i % PAGES_A_BLOCK];
}

static inline struct replay_origin *
replay_origin_of(const struct replay_file *file, const struct replay_page *page)
{
	return &file->blocks[page->index / PAGES_A_BLOCK]
	                ->origins[page->index % PAGES_A_BLOCK];
}

/* A change that waits until its page is in the processor's cache. */
struct replay_waiting {
	struct replay_file *file;
	uint64_t at; /* as in struct replay_changes */
	uint64_t birth, checksum;
	uint32_t page_no, place;
	bool fresh;
};

enum { WAITING_MAX = 32 };

struct replay_block; /* memory for lists of changes */

/* An item that a part leaves to be looked at when it is joined. */
struct replay_later {
	uint64_t txid;
	uint64_t checksum; /* PLACED */
	uint32_t file_id, page_no, place;
	struct span ranges; /* ENTRY; none: PLACED */
};

struct replay {
	struct store *store;
	struct store_root base;
	bool alone;
	uint32_t crew;           /* so many threads may be at work              */
	uint64_t txid;
	uint64_t records;
	struct replay_file *files; /* the one used last is the first */
	uint32_t file_count;
	bool part;                 /* not from the base on: replay_part.c       */
	uint64_t txid_before;      /* of a part                                 */
	struct replay_later *later;
	size_t later_count, later_room;
	struct wal_history *history;
	const uint8_t *log;      /* where positions in `at` count from          */
	uint8_t *scratch;        /* bytes that move within a page               */

	struct replay_waiting waiting[WAITING_MAX];
	uint32_t waiting_count;

	size_t budget, kept;     /* bytes for lists and images: at most, in use */
	size_t image_bytes;
	bool counting;           /* the lists did not fit                       */
	struct replay_block *blocks;
	struct replay_changes *bump, *bump_end, *spare;
};

int replay_refuse(const struct replay *replay, struct err *err,
                  const char *what, uint32_t file_id, uint32_t page_no);
int replay_no_room_for_places(const struct replay *replay, struct err *err);

static inline int replay_place_add(const struct replay *replay,
                                   struct sparse_bits *places, uint32_t place,
                                   bool *already, struct err *err)
{
	if (__builtin_expect(sparse_bits_add(places, place, already), 1))
		return ERR_NONE;
	return err_known(ERR_NOMEM, replay_no_room_for_places(replay, err));
}

/* --- replay_pages.c --------------------------------------------------------------------- */

/* What there is room for, when the log has so many bytes. */
void replay_budget(struct replay *replay, uint64_t log_bytes);
/* The record's version of a page that has no image of its own, or one that is in
 * its place. */
int replay_page_set(struct replay *replay, struct replay_file *file,
                    uint32_t page_no, const struct page_ref *ref,
                    struct err *err);
int replay_waiting_settle(struct replay *replay, struct err *err);

static inline uint32_t replay_first_slot(const struct replay_file *file,
                                         uint32_t page_no)
{
	return page_no * UINT32_C(2654435769) >> file->slot_shift;
}

static inline uint64_t replay_position_of(const struct replay *replay,
                                          const struct record_item *item)
{
	return (uint64_t)(item->ranges.data - replay->log) << 16 |
	       (item->moves ? CHANGE_MOVES : 0) | item->ranges.size;
}

/* The record's version is a change: of what was there (DIFF), or of zeros (FRESH).
 * It waits until it is settled with others. */
static inline int replay_page_change(struct replay *replay,
                                     struct replay_file *file,
                                     const struct record_item *item,
                                     struct err *err)
{
	struct replay_waiting *change;

	if (__builtin_expect(item->reach > file->page_size ||
	                     item->ranges.size > CHANGE_SIZE_MAX, 0))
		return replay_refuse(replay, err, "a range beyond its page",
		                     file->file_id, item->page_no);
	change = &replay->waiting[replay->waiting_count++];
	change->file = file;
	change->at = replay_position_of(replay, item);
	change->birth = replay->txid;
	change->checksum = item->checksum;
	change->page_no = item->page_no;
	change->place = item->place;
	change->fresh = item->kind == RECORD_FRESH;
	if (file->slots)
		__builtin_prefetch(&file->slots[replay_first_slot(
			file, item->page_no)]);
	if (replay->waiting_count < WAITING_MAX)
		return ERR_NONE;
	return replay_waiting_settle(replay, err);
}
/* Records are followed again for the lists of the pages that are wanted. */
int replay_page_gather(struct replay *replay, struct replay_file *file,
                       const struct record_item *item, struct err *err);
/* Its changes are to be gathered: in an image, if the list would be longer. */
int replay_page_want(struct replay *replay, struct replay_file *file,
                     struct replay_page *page, struct err *err);
/* What gathering a page takes. */
size_t replay_page_cost(const struct replay_file *file,
                        const struct replay_page *page);
/* Forgets all lists and images. */
void replay_changes_forget(struct replay *replay);
/* What `later`, a page of a part's file, says comes after what is known. */
int replay_page_join(struct replay *replay, struct replay_file *file,
                     const struct replay_file *later_file,
                     const struct replay_page *later, struct err *err);
/* The part's lists are the replay's, once its pages are joined. */
void replay_changes_join(struct replay *replay, struct replay *part);
void replay_pages_free(struct replay *replay, struct replay_file *file);

/* --- replay_build.c --------------------------------------------------------------------- */

/* What a page is made from. */
int replay_base_copy(struct replay_file *file, const struct replay_page *page,
                     uint8_t *image, struct err *err);
/* One change; `at` as in struct replay_changes. */
int replay_change_make(struct replay *replay, uint64_t at, uint8_t *image,
                       uint32_t size, struct err *err);

/* Builds many pages in the order of `keys`, whose low halves are their indexes. The
 * caller's storage; nothing to close. Several may be at work on other pages; each has a
 * `scratch` of its own, a page large. */
enum { CHANGES_AHEAD = 12, RING_SIZE = 16 };
struct replay_ahead {
	struct replay *replay;
	struct replay_file *file;
	uint8_t *scratch;
	const uint64_t *keys;
	size_t count;
	size_t page;                          /* whose changes come next     */
	const struct replay_changes *changes; /* of which so many were `used` */
	uint32_t used;
	uint32_t put, taken;
	uint64_t ring[RING_SIZE];
};
void replay_ahead_begin(struct replay_ahead *ahead, struct replay *replay,
                        struct replay_file *file, const uint64_t *keys,
                        size_t count, uint8_t *scratch);
/* The next one, in `image`, unless it has its own. */
int replay_ahead_build(struct replay_ahead *ahead,
                       const struct replay_page *page, uint8_t *image,
                       struct err *err);

/* --- replay_order.c --------------------------------------------------------------------- */

/* Pages of one file in the order of places, in as many stretches as threads take them. */
struct replay_order {
	struct replay_file *file;
	uint64_t *keys; /* place << 32 | index of the page */
	size_t count;
	uint32_t stretches;
};

/* Keys whose lower halves rise, in ascending order. Does without memory if it must. */
void replay_keys_sort(struct heap *heap, uint64_t *keys, size_t count);
/* Where the page comes in the order; 0: nowhere. */
typedef uint32_t replay_place_fn(const struct replay *replay,
                                 const struct replay_file *file,
                                 const struct replay_page *page);
int replay_order_make(struct replay *replay, struct replay_file *file,
                      replay_place_fn *place_of, struct replay_order *order,
                      struct err *err);
void replay_order_free(struct replay *replay, struct replay_order *order);

static inline struct replay_page *
replay_order_page(const struct replay_order *order, size_t i)
{
	return replay_page_at(order->file, (uint32_t)order->keys[i]);
}

/* Where a stretch begins; where the one before it ends. */
static inline size_t replay_order_start(const struct replay_order *order,
                                        uint32_t stretch)
{
	return order->count * stretch / order->stretches;
}

/* --- replay_batch.c --------------------------------------------------------------------- */

enum { BATCH_PAGES = 16 };

/* Images of one file on their way out, by one of the crew. */
struct replay_batch {
	struct replay *replay;
	struct replay_file *file;
	uint8_t *images;      /* room for so many */
	size_t room, used;
	uint8_t *scratch;     /* a page, for bytes that move */
	struct page_ref refs[BATCH_PAGES];
	const void *bytes[BATCH_PAGES];
	size_t count;
	uint32_t started; /* the disk was told of what lies before this place */
};

/* One for each of the crew. */
struct replay_batches {
	struct replay_batch each[CREW_MAX];
	uint8_t *images; /* of all of them */
};

int replay_batches_open(struct replay *replay, struct replay_batches *batches,
                        struct err *err);
void replay_batches_close(struct replay *replay, struct replay_batches *batches);
/* A stretch of pages begins, the first of them at `place`. */
void replay_batch_begin(struct replay_batch *batch, struct replay_file *file,
                        uint32_t place);
/* Room for the next image. */
uint8_t *replay_batch_image(const struct replay_batch *batch);
/* It goes out with others; `image` is replay_batch_image()'s or stays until the batch
 * is flushed. Places rise. */
int replay_batch_put(struct replay_batch *batch, const struct page_ref *ref,
                     const uint8_t *image, struct err *err);
int replay_batch_flush(struct replay_batch *batch, struct err *err);

/* --- replay_bases.c, replay_present.c, replay_write.c -------------------------------------- */

/* That no two pages want one place, as far as the log alone can tell. */
int replay_places_check(struct replay *replay, struct err *err);
/* Writes pages again whose newest version is in its place: they are done. */
int replay_present_write(struct replay *replay, struct err *err);
/* Reads what changes build on. (vfs/replay R3) */
int replay_bases_verify(struct replay *replay, struct err *err);
/* Makes and writes the newest version of every other page that has changes. */
int replay_pages_write(struct replay *replay, struct err *err);

/* --- replay.c --------------------------------------------------------------------------- */

/* Follows the log once more, for replay_page_gather(). */
int replay_gather(struct replay *replay, struct err *err);
/* Applies a record; a wal_record_fn. */
int replay_record(void *replay, uint64_t lsn, struct span payload,
                  struct err *err);
int replay_file_find(struct replay *replay, uint32_t file_id,
                     struct replay_file **found, struct err *err);
/* The file can have pages. */
bool replay_file_usable(const struct replay_file *file);
/* Its catalog entry has these bytes from now on. */
int replay_entry_set(struct replay *replay, struct replay_file *file,
                     const struct catalog_entry *entry, struct err *err);
int replay_entry_apply(struct replay *replay, struct replay_file *file,
                       struct span ranges, struct err *err);
int replay_placed_verify(struct replay *replay, struct replay_file *file,
                         uint32_t page_no, const struct page_ref *ref,
                         struct err *err);
/* As it was when it was opened. */
void replay_forget(struct replay *replay);

/* --- replay_part.c ----------------------------------------------------------------------- */

/* Follows the log in parts, several at once, if it can be: *whole. False: nothing was
 * done, and it has to be followed in one. */
int replay_parts_follow(struct replay *replay, bool *whole, uint64_t *end,
                        struct err *err);
/* Of a part, for replay.c: what the file must have been, and what waits. */
void replay_part_note(struct replay_file *file, const struct record_item *item);
int replay_part_entry(struct replay *part, struct replay_file *file,
                      const struct record_item *item, struct err *err);
int replay_part_placed(struct replay *part, const struct record_item *item,
                       struct err *err);

#endif
