/*
 * store_private.h - the structs that the files of the store share.
 *
 * A store is one directory in one process. What all processes share is in
 * `shm->head` (shm_format.h). A view is one connection's; see store.h.
 */
#ifndef TURDB_VFS_STORE_PRIVATE_H
#define TURDB_VFS_STORE_PRIVATE_H

#include "base/arena.h"
#include "base/lock.h"
#include "base/plant.h"
#include "vfs/meta_format.h"
#include "vfs/page_file.h"
#include "vfs/page_table.h"
#include "vfs/shm_format.h"
#include "vfs/space.h"
#include "vfs/store.h"
#include "wal/wal.h"

enum {
	DEFAULT_CACHE_KB = 16384,
	DEFAULT_CHECKPOINT_MB = 64,
	DEFAULT_CHECKPOINT_S = 300,
	DEFAULT_SEGMENT_SIZE = 4 << 20,
	/* New or rewritten pages of a transaction beyond this are not logged. */
	STORE_PLACED_BYTES_MIN = 2 << 20,
	OPEN_WAIT_MS = 30000,     /* how long an opener waits for a recovery */
};

struct store_environment {
	struct os *os;
	struct heap *heap;
	struct lock lock;         /* LOCK_ENVIRONMENT: `first` and use counts */
	struct store *first;
	uint32_t plants;
};

/* Shared memory of one process (shm.c). */
struct shm {
	struct os *os;
	struct os_file *file;     /* NULL: private memory (immutable) */
	uint8_t *base;
	size_t reserved;
	_Atomic size_t mapped;
	struct lock *lock;        /* guards mapping more */
	struct shm_head *head;
};

/* A catalog entry in memory is its bytes: CATALOG_ENTRY_SIZE, little-endian. */
struct catalog_entry {
	uint8_t bytes[CATALOG_ENTRY_SIZE];
};

struct superblock {
	uint64_t database[2];
	uint64_t sequence, txid, lsn, created_ms;
	struct page_table catalog;
	uint64_t segment_size;
	uint64_t line; /* salt of a segment that the log must have; 0: none */
	bool clean;    /* no record follows `lsn`                           */
	bool other_damaged; /* the other copy does not hold: torn, or a bad bit */
	bool other_agrees;  /* it says the same: either may be lost            */
};

/* A checkpoint under way in this process (checkpoint.c); belongs to who holds the
 * checkpointer lock. */
struct store_checkpoint_work {
	enum { CHECKPOINT_NONE, CHECKPOINT_LOG, CHECKPOINT_FILES,
	       CHECKPOINT_SUPERBLOCK, CHECKPOINT_DROP } stage;
	uint32_t file_id;        /* the last file that was synced             */
	uint64_t durable_txid;   /* when it began                             */
	bool created;            /* a file was, since then                    */
	bool wrote;              /* a write or sync was tried, and failed     */
};

/* This process's thread for what commits need not wait for (background.c). */
struct store_background {
	struct os_thread *thread;
	_Atomic uint32_t state;
	_Atomic uint32_t orders; /* futex: a bit for each                     */
};

struct store {
	struct store_environment *environment;
	struct store *next;
	uint32_t users;
	struct store_options options;
	struct os *os;
	struct heap *heap;
	char *path;
	uint64_t device, inode;
	uint64_t database[2];
	uint64_t segment_size;
	struct os_file *dir;
	struct os_file *meta;             /* locks; superblocks          */
	struct page_file *catalog_file;   /* turdb.meta as a page file   */
	struct shm shm;
	struct lock shm_lock;             /* LOCK_MAPPING                */
	struct space space;
	struct wal *wal;
	uint32_t process;                 /* index in shm processes      */
	uint64_t owner;                   /* this process's owner word   */
	_Atomic uint64_t claims;          /* made by this process so far */
	const volatile uint8_t *canary;
	_Atomic uint32_t cache_kb, checkpoint_mb, checkpoint_s;
	_Atomic uint64_t units_dropped;   /* by commits of this process since one of
	                                     them has waited for a checkpoint  */
	uint64_t lost_after;              /* see store_lost_after()      */
	bool advised;                     /* a refusal says what to do   */
	_Atomic uint64_t recovered_found; /* pages of the log that were in their places */
	_Atomic uint64_t recovered_made;  /* ... that had to be made                    */
	struct store_checkpoint_work checkpoint;
	struct store_background background;

	struct lock files_lock;           /* LOCK_FILES */
	struct page_file **files;         /* open addressing by file id  */
	uint32_t files_room, files_count;
};

/* --- views --------------------------------------------------------------------- */

enum edit_state {
	EDIT_ABSENT,  /* only in undo records: was not edited before          */
	EDIT_IMAGE,   /* a private copy in memory                             */
	EDIT_SPILLED, /* a private version at `ref` in the data file          */
	EDIT_FREED,   /* the logical page is free; `next_free` chains         */
	EDIT_REMOVED, /* the page number is gone (truncation)                 */
	EDIT_MOVED,   /* the committed image, at a place below `line`         */
};

enum { ENTRY_PAGE = 0xffffffffu }; /* the file's catalog entry, as an edit */

/* What a page is now, inside a transaction. */
struct edit_value {
	enum edit_state state;
	bool from_zero;          /* the content does not build on the base      */
	uint8_t *image;          /* IMAGE: page_size bytes (entries: their size) */
	struct page_ref ref;     /* SPILLED */
	union {
		uint32_t next_free; /* FREED */
		uint32_t line;      /* MOVED */
	};
};

struct edit {
	uint32_t file_id, page_no;
	struct view_file *file;
	struct page_ref base;    /* the committed version; length 0 = none      */
	struct edit_value now;
	uint64_t saved_serial;   /* newest mark that has this page's pre-image  */
	bool used;               /* touched since the spiller came by           */
	struct edit *next;       /* all edits, in order of their making         */
};

struct undo {
	struct edit *edit;
	struct edit_value before;
	uint64_t before_serial;  /* edit->saved_serial before this record       */
	struct undo *next;
};

struct mark {
	uint64_t serial;
	struct undo *undo;       /* newest first */
	struct mark *below;
	int number;
};

struct taken {
	uint32_t file_id, place, units;
	uint64_t birth;
};

struct taken_list {
	struct taken *items;
	uint32_t count, room;
};

enum { LATE_MAX = 16 };

/* What a commit writes behind its record (late.c). */
struct store_late {
	bool on;
	uint32_t count, copy_count;
	struct page_file *files[LATE_MAX];
	struct page_ref refs[LATE_MAX];
	const void *bytes[LATE_MAX];
	uint8_t *copies; /* made at first need */
};

enum { BORROW_CACHE = 128 };

struct view_file {
	struct pager pager;      /* first: pager calls cast back                */
	struct store_view *view;
	uint32_t file_id;
	uint64_t loaded_txid;    /* `entry` is the committed one of this txid   */
	uint64_t loaded_epoch;
	bool exists;             /* in the view, edits included                 */
	bool committed;          /* in the snapshot                             */
	struct catalog_entry entry;   /* committed; zero when new               */
	struct edit *entry_edit;      /* or NULL                                */
	struct page_table table;      /* committed                              */
	uint32_t page_size, units;
	struct page_file *file;
	uint32_t edit_count;
	uint64_t placed_txid;         /* the commit that last placed a page in it */
	struct spilled_run {
		uint32_t begin, end; /* units not yet handed to the device      */
	} spilled;
	struct view_file *next;    /* of the view                             */
	struct view_file *chained; /* of the same chain                       */
	char name[96];
	struct {
		uint64_t txid;
		uint32_t page_no;
		const uint8_t *bytes;
	} borrowed[BORROW_CACHE];
};

enum {
	SPARE_IMAGES_MAX = 256,
	EDITS_KEPT_MAX = 512,  /* of a transaction with more nothing is kept */
};

struct store_view {
	struct store *store;
	struct shm_slot *slot;
	bool reading, writing;
	bool read_others;        /* something but sqlite.tbd was read           */
	struct store_root root;  /* the snapshot                                */
	uint64_t epoch;
	uint64_t claim;          /* of the writer lock; 0 = none                */
	struct breath *breath;   /* of a check                                  */
	uint64_t write_ticket;   /* of a wait for the writer lock that was in vain */
	uint64_t ended_txid;     /* of the last snapshot, for keeping the epoch */
	struct view_file *files;  /* all that this view has met                 */
	struct view_file *sqlite; /* shortcut, may be NULL                      */
	struct view_file **chains; /* the same, by the low bits of their ids    */
	uint32_t chain_count, file_count; /* chains: 0 or a power of two        */

	/* The write transaction. */
	struct edit **table;     /* open addressing by (file, page)             */
	uint32_t table_room, edit_count;
	struct edit *first_edit, *last_edit, *spare_edits;
	struct mark *marks;      /* newest first                                */
	uint64_t mark_serial;
	struct undo *spare_undos;
	size_t image_bytes;      /* private copies in memory, undo included     */
	struct edit *spill_hand;
	bool spilled;
	size_t new_bytes;        /* images made of nothing in this transaction  */
	uint8_t **spare_images;  /* STORE_PAGE_SIZE each                        */
	uint32_t spare_image_count;
	struct edit **sorted;    /* the edits by file and page, for the commit  */
	uint32_t sorted_room;
	struct page_change *changes; /* of one file */
	uint32_t changes_room;
	struct taken_list taken;      /* places that this commit has taken      */
	struct taken_list superseded; /* what it replaces                       */
	uint32_t next_file_id;   /* 0 = not read yet                            */
	uint32_t first_new_file_id; /* files from here on are this transaction's */
	bool drops;              /* a file was dropped                          */
	uint8_t *record;         /* the log record being built                  */
	size_t record_size, record_room;
	struct store_late late;
};

/* --- shm.c ----------------------------------------------------------------------- */

int store_shm_open(struct store *store, struct err *err);
void store_shm_close(struct store *store);
void store_shm_clear(struct store *store);
uint64_t store_shm_chunk_count(const struct store *store);

/* --- process.c: who lives --------------------------------------------------------- */

int store_process_register(struct store *store, struct err *err);
void store_process_leave(struct store *store);
bool store_process_lives(struct store *store, uint64_t owner);
bool store_process_index_lives(void *context, uint32_t index);
uint32_t store_owner_pid(const struct store *store, uint64_t owner);
int store_forked(const struct store *store, struct err *err);

/* --- lock_word.c: locks in shared memory that survive their holder -------------------- */

/* Takes a lock word. *died: the one before died holding it. Waits up to timeout_us
 * in the queue; with 0 it does not wait. ERR_BUSY names `what` and the holder.
 * `ticket` (or NULL) keeps the place in the queue from one wait that was in vain to
 * the next; 0 before the first, and after success. */
int store_lock_take(struct store *store, struct shm_lock *lock,
                    const char *what, uint64_t timeout_us, uint64_t *ticket,
                    bool *died, struct err *err);
void store_lock_release(struct store *store, struct shm_lock *lock);
/* The holder goes on holding it only as long as nobody else wants it for more than a
 * moment; returns the claim's number. Confirming makes it the holder again, or says
 * that it is not. */
uint64_t store_lock_claim(struct store *store, struct shm_lock *lock);
bool store_lock_confirm(struct store *store, struct shm_lock *lock,
                        uint64_t serial);
void store_lock_unclaim(struct store *store, struct shm_lock *lock,
                        uint64_t serial);
/* For work in the background: takes the lock for moments. Those who would not wait
 * for a writer wait for this, a second at most. */
struct lock_loan {
	uint64_t until_us, before_us;
};
bool store_lock_borrow(struct store *store, struct shm_lock *lock,
                       uint64_t timeout_us, struct lock_loan *loan, bool *died);
void store_lock_give_back(struct store *store, struct shm_lock *lock,
                          const struct lock_loan *loan);
/* The owner word of the process that holds it; 0 = none. */
uint64_t store_lock_holder(const struct shm_lock *lock);

/* --- slot.c: readers -------------------------------------------------------------- */

int store_slot_take(struct store_view *view, struct err *err);
void store_slot_release(struct store_view *view);
/* Pins the newest snapshot (rule 4). */
void store_slot_pin(struct store_view *view, struct store_root *root);
void store_slot_move(struct store_view *view, const struct store_root *root);
void store_slot_unpin(struct store_view *view);
void store_newest_root(const struct store *store, struct store_root *root);
/* Gives the slots of dead processes back; caller holds the writer lock. */
void store_slots_sweep(struct store *store);

/* --- retained.c: which snapshots keep places (writer lock held) --------------------- */

int store_retained_update(struct store *store, const struct store_root *newest,
                          const struct store_root *previous, struct err *err);
/* How much would become free if that snapshot went away, and only it; 0 when it is
 * the newest. */
int store_retained_units(struct store *store, uint64_t txid, uint64_t *units,
                         struct err *err);
/* Whether a retained root lies in [birth, before). */
bool store_retained_between(const struct store *store, uint64_t birth,
                            uint64_t before);
/* Builds a file's part of the allocator, unless it is built, from all retained roots,
 * `base`, and `others`: places that something else needs (a replay's). */
int store_space_ensure(struct store *store, uint32_t file_id,
                       struct page_file *file, const struct store_root *base,
                       const struct taken *others, uint32_t other_count,
                       struct err *err);
/* After a writer's death or at start-up. */
void store_retained_rebuild(struct store *store);

/* --- catalog.c ---------------------------------------------------------------------- */

uint32_t store_units(uint32_t page_size);
bool store_entry_live(const struct catalog_entry *entry);
void store_entry_table(const struct catalog_entry *entry,
                       struct page_table *table);
void store_entry_table_set(struct catalog_entry *entry,
                           const struct page_table *table);
void store_entry_name(const struct catalog_entry *entry, char name[96]);
void store_entry_identity(const struct store *store,
                          const struct catalog_entry *entry,
                          struct page_file_identity *identity);
int store_entry_check(const struct catalog_entry *entry, uint32_t file_id,
                      struct err *err);
/* Reads a committed entry; all zero when there is none. */
int store_catalog_read(struct store *store, const struct page_table *catalog,
                       uint32_t file_id, struct catalog_entry *entry,
                       struct err *err);
typedef int catalog_entry_fn(void *context, uint32_t file_id,
                             const struct catalog_entry *entry,
                             struct err *err);

/* Calls `each` for every live entry. */
int store_catalog_each(struct store *store, const struct page_table *catalog,
                       catalog_entry_fn *each, void *context,
                       struct err *err);

/* Calls `each` for every live entry of `old` on pages that are not those of `newer`,
 * and before or after them `only_old` as page_table_difference() does: a page once
 * its entries were read. */
int store_catalog_difference(struct store *store, const struct page_table *old,
                             const struct page_table *newer,
                             catalog_entry_fn *each,
                             page_table_visit_fn *only_old,
                             void *context, struct err *err);

struct catalog_change {
	uint32_t file_id;
	const struct catalog_entry *entry; /* NULL = gone */
};
/* Writes new catalog pages; `changes` sorted by file id. */
int store_catalog_apply(struct store *store, const struct page_table *old,
                        const struct catalog_change *changes, size_t count,
                        uint64_t birth, const struct page_table_sink *sink,
                        struct page_table *new_table, struct err *err);

/* --- files.c: open page files ------------------------------------------------------- */

/* ERR_CORRUPT also when it is not there. */
int store_files_get(struct store *store, const struct catalog_entry *entry,
                    struct page_file **file, struct err *err);
/* Makes it (or remakes it in a replay) and enters it. */
int store_files_make(struct store *store, const struct catalog_entry *entry,
                     struct page_file **file, struct err *err);
void store_files_close(struct store *store, uint32_t file_id);
void store_files_close_all(struct store *store);
/* page_file_distrust() for all that are open. */
void store_files_distrust(struct store *store);
/* Closes it here, truncates and unlinks it by its entry's name. */
int store_files_remove(struct store *store, uint32_t file_id, const char *name,
                       struct err *err);
/* --- orphans.c ----------------------------------------------------------------------- */

/* Removes files under root/ that neither `durable` nor the newest nor a retained
 * root knows. With the writer lock held only those whose id was given out before
 * the durable snapshot (a replay would make the others again); alone, all. */
int store_files_remove_orphans(struct store *store,
                               const struct store_root *durable, bool alone,
                               struct err *err);

/* --- edit.c: private copies ----------------------------------------------------------- */

struct edit *store_edit_find(const struct store_view *view, uint32_t file_id,
                             uint32_t page_no);
/* Finds or makes the edit and saves its pre-image for the top mark. */
int store_edit_begin(struct view_file *file, uint32_t page_no,
                     struct edit **edit, struct err *err);
/* The same for one that is known. */
int store_edit_again(struct edit *edit, struct err *err);
/* Makes sure that edit->now is an IMAGE with the page's present content. */
int store_edit_image(struct edit *edit, struct err *err);
/* The same for who overwrites the whole image: its bytes are left undefined. */
int store_edit_replace(struct edit *edit, struct err *err);
/* The page has no image any more. */
void store_edit_state(struct edit *edit, enum edit_state state);
void store_edits_discard(struct store_view *view);
/* Gives back what is kept from one transaction to the next, but for images. */
void store_view_trim(struct store_view *view);
uint8_t *store_image_take(struct store_view *view, uint32_t size);
void store_image_give(struct store_view *view, uint8_t *image, uint32_t size);
uint32_t store_edit_size(const struct edit *edit);
int store_place_take(struct store_view *view, uint32_t file_id,
                     struct page_file *file, uint32_t units,
                     enum space_use use, uint32_t *place, struct err *err);
int store_taken_add(struct store_view *view, struct taken_list *list,
                    const struct taken *item, struct err *err);
void store_value_drop(const struct edit *edit, struct edit_value *value);

/* --- view_file.c ------------------------------------------------------------------------ */

int store_view_file(struct store_view *view, uint32_t file_id,
                    struct view_file **file, struct err *err);
int store_view_file_load(struct view_file *file, struct err *err);
/* The committed or edited bytes of a page; NULL bytes when it does not exist. */
int store_view_file_read(struct view_file *file, uint32_t page_no,
                         const uint8_t **bytes, struct err *err);
/* Only the committed ones, whatever this transaction has edited. */
int store_view_file_read_committed(struct view_file *file, uint32_t page_no,
                                   const uint8_t **bytes, struct err *err);
/* The entry as the transaction has it; writable copy for the caller to edit. */
const struct catalog_entry *store_view_file_entry(const struct view_file *file);
int store_view_file_entry_edit(struct view_file *file,
                               struct catalog_entry **entry, struct err *err);

/* --- record.c ------------------------------------------------------------------------------ */

struct record_item {
	uint8_t kind;
	uint32_t file_id, page_no, place, next;
	uint64_t checksum;
	struct span ranges; /* undecoded */
	uint64_t reach;     /* the end of what they read and write; UINT64_MAX:
	                       they read before the page's beginning       */
	bool moves;         /* one of them says that bytes moved            */
};
int store_record_begin(struct store_view *view, uint64_t txid, struct err *err);
int store_record_item(struct store_view *view, const struct record_item *item,
                      struct err *err);
void store_record_end(struct store_view *view, uint32_t items);
int store_record_head(struct span payload, uint64_t *txid, uint32_t *items,
                      struct err *err);
/* Decodes the item at *at and moves on. Everything is checked. */
int store_record_next(struct span payload, size_t *at,
                      struct record_item *item, struct err *err);

/* The parts that items and ranges are made of. */
enum { VARINT_SIZE_MAX = 10 };
/* Room for so many more bytes behind the record's end. */
int store_record_room(struct store_view *view, size_t more, struct err *err);

/* Returns what lies behind it; there is room for VARINT_SIZE_MAX bytes. */
static inline uint8_t *store_varint_put(uint8_t *out, uint64_t value)
{
	while (value >= 0x80) {
		*out++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t)value;
	return out;
}

/* --- record_ranges.c ------------------------------------------------------------------------- */

extern const uint8_t store_zeros[STORE_PAGE_SIZE];
/* Appends ranges where `now` differs from `base` (NULL = zeros). */
int store_record_ranges(struct store_view *view, const uint8_t *base,
                        const uint8_t *now, uint32_t size, struct err *err);

/* --- record_apply.c -------------------------------------------------------------------------- */

/* Applies ranges to `bytes`, a copy of `base`; moved ones are read from `base`. May
 * be the same when none is. */
int store_ranges_apply(struct span ranges, const uint8_t *base, uint8_t *bytes,
                       uint32_t size, struct err *err);
/* Applies any to a page in its place; `scratch` has `size` bytes. */
int store_ranges_apply_moving(struct span ranges, uint8_t *bytes, uint32_t size,
                              uint8_t *scratch, struct err *err);

/* --- crew.c: several threads for one piece of work ------------------------------------------- */

enum { CREW_MAX = 4 };

/* One part of it, in any thread; returns an error code. */
typedef int store_crew_fn(void *context, uint32_t part, struct err *err);

/* In how many parts work is done soonest, where it can be parted: 1 to CREW_MAX. */
uint32_t store_crew_size(const struct store *store);
/* Does parts 0 to parts - 1, each to its end. The error is that of the first part that
 * has one. */
int store_crew_run(struct store *store, uint32_t parts, store_crew_fn *work,
                   void *context, struct err *err);

/* --- replay.c --------------------------------------------------------------------------------- */

struct replay;
int store_replay_open(struct store *store, const struct store_root *base,
                      bool alone, struct replay **replay, struct err *err);
/* Follows the records of a log, which stays open until the replay is closed. Writes
 * nothing. */
int store_replay_follow(struct replay *replay, struct wal_history *history,
                        uint64_t *end, struct err *err);
/* Looks at what a finish is going to read. Writes nothing. */
int store_replay_check(struct replay *replay, struct err *err);
/* Writes pages, page tables and the catalog for what was followed. *changed false
 * when no record came. */
int store_replay_finish(struct replay *replay, struct store_root *root,
                        bool *changed, struct err *err);
/* The commit of the last record that was followed, or the base's. */
uint64_t store_replay_txid(const struct replay *replay);
int store_replay_sync(struct replay *replay, struct err *err);
void store_replay_close(struct replay *replay);

/* --- reserve.c: room for a full disk --------------------------------------------------- */

/* Makes it, or makes it whole, for the data of `root`, which is retained; when the disk is too
 * full for that it is short. */
void store_reserve_keep(struct store *store, const struct store_root *root);
/* Gives its blocks up; false when there were none. */
bool store_reserve_give(struct store *store);
/* Whether an earlier process gave it up; for the first one in. */
void store_reserve_look(struct store *store);
bool store_reserve_short(const struct store *store);

/* --- sqlite_head.c: SQLite's change counter ------------------------------------------- */

/* Whether a read or write from `offset` on meets a counter that the entry has. */
bool store_sqlite_head_apart(const struct catalog_entry *entry, uint64_t offset);
/* Corrects what was read from there. */
void store_sqlite_head_read(const struct catalog_entry *entry, uint64_t offset,
                            uint8_t *to, size_t size);
/* Writes at offset 0; *counted: nothing changed but the counter, and that is done. */
int store_sqlite_head_write(struct view_file *file, const uint8_t *bytes,
                            size_t size, bool *counted, struct err *err);
/* The entry, an edit, gives its counter back to the page's image (NULL: it is about
 * to be gone, or written whole). */
void store_sqlite_head_rejoin(struct catalog_entry *entry, uint8_t *image);

/* --- sqlite_free.c: SQLite's freelist ------------------------------------------------ */

/* Pages that this transaction has put on the freelist lose their bytes; as many as
 * it can, no error. */
void store_sqlite_forget_freed(struct store_view *view);
/* Up to `pages` of all that are on it. */
int store_sqlite_forget_free(struct store_view *view, uint32_t pages,
                             uint32_t *forgotten, struct err *err);

/* --- late.c: images written behind their record ----------------------------------- */

/* Begins a commit; not `on`: everything is written at once. */
void store_late_begin(struct store_view *view, bool on);
/* An image that stays until store_late_write(). */
int store_late_image(struct store_view *view, struct page_file *file,
                     const struct page_ref *ref, const void *image,
                     struct err *err);
/* Pages of PLACE_SIZE, borrowed during the call. */
int store_late_pages(struct store_view *view, struct page_file *file,
                     const struct page_ref *refs, const void *const *bytes,
                     size_t count, struct err *err);
/* Writes what was put off. */
int store_late_write(struct store_view *view, struct err *err);

/* --- commit.c, spill.c, mark.c ------------------------------------------------------------------ */

/* Whether a page that is written whole goes to its place at once, and that. */
bool store_spill_at_once(const struct edit *edit);
int store_spill_bytes(struct edit *edit, const uint8_t *bytes, struct err *err);
int store_spill(struct store_view *view, size_t keep_bytes, struct err *err);
void store_marks_discard(struct store_view *view);
int store_mark_save(struct edit *edit, struct err *err);
void store_publish(struct store *store, const struct store_root *root);

/* --- release.c: space goes back to the file system -------------------------------- */

/* Commit `txid` let go of something (RELEASE_ bits); writer lock held. */
void store_release_note(struct store *store, uint64_t txid, uint32_t what);
/* After a checkpoint, without the writer lock: does what can be done. */
void store_release_checkpointed(struct store *store,
                                const struct store_root *durable);
/* With the writer lock, whoever waits: gives back all that is free in all files. */
void store_release_held(struct store *store);
/* A reader of an older snapshot has left while something was pending. */
void store_release_after_reader(struct store *store);

/* --- directory.c -------------------------------------------------------------------- */

/* Opens the directory that the database's directory lies in. */
int store_parent_open(const struct store *store, struct os_file **parent,
                      struct err *err);
/* store->dir, made when it is missing and may be. */
int store_directory_open(struct store *store, struct err *err);
/* Something is missing: `rc` comes back, or an error that says so when all is. */
int store_missing(struct store *store, int rc, struct err *err);
/* store->meta, empty when it was made now. */
int store_meta_open(struct store *store, struct err *err);

/* --- checkpoint.c, superblock.c, recovery.c ----------------------------------------------------- */

int store_superblock_read(struct store *store, struct superblock *super,
                          bool *fresh, struct err *err);
/* Whether root/ and wal/, if they are there, hold nothing. */
int store_directories_empty(struct store *store, bool *nothing,
                            struct err *err);
int store_superblock_write(struct store *store, const struct superblock *super,
                           struct err *err);
/* At a clean end: makes both copies say the same. */
int store_superblock_settle(struct store *store, struct err *err);
/* `suspect`: a sync failed since the superblock was written (vfs/recovery Y4). */
int store_recover(struct store *store, bool suspect, struct err *err);
int store_create_files(struct store *store, struct err *err);
/* What a new writer does first when shared memory says so. */
int store_writer_entered(struct store *store, bool died, struct err *err);
/* For a writer whose record is whole and whose pages could not be written: makes
 * them from the record, publishes; *root is that snapshot. When that fails too, the
 * next writer does it. */
int store_writer_redo(struct store *store, struct store_root *root,
                      struct err *err);
int store_log_start(struct store *store, struct err *err);
void store_poison(struct store *store);
int store_poisoned(const struct store *store, struct err *err);
/* Waits for the log. One that nobody could try to sync, for want of memory or
 * descriptors, is lost to nobody: only a sync that failed poisons. */
int store_log_sync(struct store *store, uint64_t lsn, struct err *err);
bool store_checkpoint_due(const struct store *store);
/* Takes the checkpointer lock, if it is free, and enters the candidate. The caller
 * holds the writer lock. What follows needs it no more. */
int store_checkpoint_enter(struct store *store, const struct store_root *root,
                           bool *entered, struct err *err);
/* From there to the end. */
int store_checkpoint_run(struct store *store, struct err *err);
/* For a commit that has let go of all locks: waits while the log is far too long. */
void store_checkpoint_help(struct store *store);
/* Waits for the end of one that is under way. */
void store_checkpoint_await(struct store *store, uint64_t timeout_us);

/* --- background.c ----------------------------------------------------------------- */

/* ORDER_CHECKPOINT: the one entered. ORDER_CHECKPOINT_LATER: one of its own, some time
 * after the last; forgotten where there is no thread. */
enum {
	ORDER_PREPARE_LOG = 1,
	ORDER_CHECKPOINT = 2,
	ORDER_CHECKPOINT_LATER = 8,
	CHECKPOINT_LATER_MS = 200, /* after the last one */
};
/* Has it done by this process's thread, or does it, where there is none. */
void store_background_order(struct store *store, uint32_t orders);
/* Waits for what was ordered; the thread is gone. */
void store_background_end(struct store *store);

#endif
