/*
 * inline.h - what the files of the inline home share; private to vtab/.
 *
 * Tables whose pages are rows of shadow tables (inline_format.h) in whatever database
 * SQLite has open: a file, memory, another VFS. The host's transaction is ours: what
 * must be atomic, durable or undone lies in its rows, and what is here is a cache of
 * them.
 *
 *   inline_home.c     one schema: SQLite's transaction, what the cache may believe
 *   inline_table.c    one table: its shadow tables, its entry
 *   inline_catalog.c  row 0: entries of files, the stamp
 *   inline_pager.c    pages as trees and graphs want them
 *   inline_cache.c    page images in memory, and which of them go
 *   inline_flush.c    changed pages and catalogs into their rows
 *   inline_shadow.c   one row through a blob handle, single-row statements
 *
 * (L1) Before SQLite opens a savepoint and before it commits, every change is in the
 *      shadow tables. (L2) What a rollback undoes is not in the cache afterwards.
 * (L3) An image in the cache is used only while the table's row 0 has the stamp under
 *      which it was read; inside one read transaction that is asked once. (L4) Bytes
 *      lent under an epoch stay while the epoch does, and until the operation ends.
 * (L5) No blob handle is open when a call of SQLite's returns. (L6) A statement or
 * blob handle of ours that fails may have made SQLite roll everything back by then:
 * what was known of pages before is looked for again, and nothing is changed any more
 * until a transaction begins.
 */
#ifndef TURDB_VTAB_INLINE_H
#define TURDB_VTAB_INLINE_H

#include "vtab/inline_format.h"
#include "vtab/table.h"

enum shadow_kind { SHADOW_TABLE, SHADOW_INDEX, SHADOW_GRAPH, SHADOW_KINDS };

/* A page in memory. Dirty: `base` is what the row has, if base_good; else unknown. */
struct frame {
	struct frame *next;          /* in its bucket, or among the spare or dead */
	struct frame *newer, *older; /* in the queue                              */
	struct frame *next_dirty;
	struct inline_file *file;
	uint32_t page_no;
	uint32_t lends;              /* of this epoch, while `lent` is it         */
	uint64_t lent;
	bool visited, dirty, base_good;
	uint8_t *image, *base;
};

struct frame_cache {
	struct frame **buckets;
	uint32_t bucket_bits, count;
	uint64_t hits, misses;       /* of pages to read                         */
	struct frame *newest, *oldest, *hand;
	struct frame *dirty, *spare, *dead;
	uint8_t *spare_image;        /* one, so that an edit need not allocate    */
	size_t bytes, dirty_bytes;
	bool stale_bases;            /* bases that wait for an operation's end    */
};

struct inline_file {
	struct pager pager;          /* first: its methods cast back */
	struct inline_table *table;
	struct inline_file *next;    /* of the table, dead ones included          */
	uint32_t id;                 /* of the home                               */
	uint32_t number, page_count, free_head, free_count;
	enum store_file_kind kind;
	bool exists, changed;
	bool dead;                   /* of a table that was there before this one */
	_Alignas(16) uint8_t state[PAGER_STATE_SIZE];
	char *name;                  /* "main.users_idx, file 3"                  */
};

struct inline_table {
	struct inline_home *home;
	struct inline_table *next;
	uint32_t holders;
	char *name, *shadows[SHADOW_KINDS]; /* sqlite3_free() */
	sqlite3_stmt *births[SHADOW_KINDS];
	bool known;                  /* what follows is as in row 0, or changed   */
	bool changed;
	uint64_t version;            /* of the home's, when row 0 was asked last  */
	uint64_t stamped_in;         /* the transaction that made `stamp`         */
	uint64_t identity, stamp, sequence;
	uint32_t index_count, next_number;
	struct inline_file **entries;
	uint32_t entry_count, entry_room;
	struct inline_file *files;
};

struct inline_home {
	struct home base;            /* first: its methods cast back */
	struct connection *connection;
	struct inline_home *next;    /* of the connection            */
	char *schema;                /* sqlite3_free()               */
	uint64_t epoch, version, transaction;
	uint64_t seed, stamps;       /* a random number and a count: stamps      */
	uint32_t data_version;       /* as asked last                            */
	uint32_t synced_version;     /* before the commit that is being made     */
	bool committed;              /* nothing was asked since                  */
	bool commits_uncounted;      /* SQLite does not count our own commits    */
	uint32_t next_file_id;
	bool read;
	bool writing;                /* in a transaction that was not rolled back */
	sqlite3_stmt *reading;       /* holds a read transaction     */
	struct frame_cache cache;
	struct inline_table *tables;
};

static inline struct inline_home *inline_home_of(struct home *home)
{
	return (struct inline_home *)home;
}

static inline struct inline_file *inline_file_of(struct pager *pager)
{
	return (struct inline_file *)pager;
}

static inline enum shadow_kind shadow_of(const struct inline_file *file)
{
	return file->kind == STORE_FILE_TABLE ? SHADOW_TABLE
	       : file->kind == STORE_FILE_INDEX ? SHADOW_INDEX : SHADOW_GRAPH;
}

/* --- inline_shadow.c ---------------------------------------------------------------- */

/* What the names of shadow tables end in, behind "_". */
extern const char *const shadow_suffixes[SHADOW_KINDS];

/* A blob handle that moves from row to row while it can. The caller's storage, all
 * zero at first; closed before SQLite's call returns (L5). */
struct shadow {
	struct inline_table *table;
	enum shadow_kind kind;
	int writing;
	sqlite3_blob *blob;
};

/* Goes to the page of a row. ERR_ABORT: the shadow table is gone; ERR_CORRUPT: the row
 * is, or it is no blob of `size` bytes (0: of any). */
int shadow_seek(struct shadow *shadow, struct inline_table *table,
                enum shadow_kind kind, int64_t row, bool writing, size_t size,
                struct err *err);
size_t shadow_size(const struct shadow *shadow);
int shadow_read(struct shadow *shadow, size_t at, void *bytes, size_t size,
                struct err *err);
int shadow_write(struct shadow *shadow, size_t at, const void *bytes,
                 size_t size, struct err *err);
void shadow_close(struct shadow *shadow);

/* A row of `size` zeros. */
int shadow_insert(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  size_t size, struct err *err);
int shadow_resize(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  size_t size, struct err *err);
/* How many rows have numbers from `from` to `to`. */
int shadow_count(struct inline_table *table, enum shadow_kind kind, int64_t from,
                 int64_t to, uint64_t *rows, struct err *err);
/* `count` rows from this one on, each by itself. */
int shadow_delete(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  uint32_t count, struct err *err);
/* Runs `format` with the schema and the names of a shadow table now and `to`, for each
 * kind. */
int shadow_each_kind(struct inline_table *table, const char *format,
                     const char *to, struct err *err);
void shadow_statements_drop(struct inline_table *table);

/* --- inline_cache.c ----------------------------------------------------------------- */

/* A frame in the cache for a page that is not there; its image is undefined. */
int cache_enter(struct inline_home *home, struct inline_file *file,
                uint32_t page_no, struct frame **frame, struct err *err);
/* One page's room of its own; NULL when there is no memory. */
uint8_t *cache_image_take(struct inline_home *home);
void cache_image_give(struct inline_home *home, uint8_t *image);
void cache_dirty_add(struct frame_cache *cache, struct frame *frame);
/* Forgets the page; what was lent of it stays until the operation ends. */
void cache_forget(struct inline_home *home, struct frame *frame);
/* The same for a frame that a rollback may have taken already (L6). */
void cache_forget_failed(struct inline_home *home, const struct inline_file *file,
                         uint32_t page_no);
/* Those of a table, of a file; all when both are NULL. */
void cache_drop(struct inline_home *home, const struct inline_table *table,
                const struct inline_file *file);
/* The operation is over: takes lent bytes back, and pages until there is room. */
void cache_relieve(struct inline_home *home);
void cache_close(struct inline_home *home);

static inline uint32_t cache_hash(const struct inline_file *file,
                                  uint32_t page_no)
{
	return (uint32_t)((page_no + ((uint64_t)file->id << 40)) *
	                  UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static inline struct frame *cache_find(const struct frame_cache *cache,
                                       const struct inline_file *file,
                                       uint32_t page_no)
{
	struct frame *frame;

	if (!cache->buckets)
		return NULL;
	frame = cache->buckets[cache_hash(file, page_no) >>
	                       (32 - cache->bucket_bits)];
	while (frame && (frame->page_no != page_no || frame->file != file))
		frame = frame->next;
	return frame;
}

/* (L4) */
static inline void frame_lend(struct frame *frame, uint64_t epoch)
{
	frame->visited = true;
	frame->lends = frame->lent == epoch ? frame->lends + 1 : 1;
	frame->lent = epoch;
}

/* --- inline_catalog.c --------------------------------------------------------------- */

/* Makes what is known of a table that of row 0, and drops its pages when another
 * transaction has written (L3). ERR_ABORT when it is not there. */
int catalog_refresh(struct inline_table *table, struct err *err);
/* A file more, behind the last entry; the row grows. */
int catalog_file_add(struct inline_table *table, enum store_file_kind kind,
                     struct inline_file **file, struct err *err);
int catalog_file_remove(struct inline_file *file, struct err *err);
/* Writes what has changed. */
int catalog_write(struct inline_table *table, struct shadow *shadow,
                  struct err *err);
/* Nothing is known of it; its pagers give ERR_ABORT until it is found again, and for
 * ever when it is `another` table of that name then. */
void catalog_forget(struct inline_table *table, bool another);

static inline int catalog_know(struct inline_table *table, struct err *err)
{
	return __builtin_expect(table->version == table->home->version, 1)
	               ? ERR_NONE : catalog_refresh(table, err);
}

/* --- inline_table.c ----------------------------------------------------------------- */

/* What the home knows of that name; made when it knows nothing. */
int inline_table_find(struct inline_home *home, const char *name,
                      struct inline_table **table, struct err *err);
struct inline_file *inline_file_find(struct inline_home *home, uint32_t file_id);
int inline_file_rename(struct inline_file *file, struct err *err);
void inline_table_free(struct inline_table *table);
/* Those that nobody holds and that have nothing to write. */
void inline_tables_sweep(struct inline_home *home);

/* The home's methods for tables. */
int inline_table_make(struct home *home, const char *name, uint64_t *table_id,
                      struct err *err);
int inline_entry_find(struct home *home, const char *name, struct arena *arena,
                      struct dictionary_entry *entry, struct err *err);
int inline_entry_put(struct home *home, const char *name,
                     const struct dictionary_entry *entry, struct arena *arena,
                     struct err *err);
int inline_table_rename(struct home *home, const char *from, const char *to,
                        struct arena *arena, struct err *err);
int inline_table_remove(struct home *home, const char *name,
                        const struct dictionary_entry *entry,
                        struct arena *arena, struct err *err);
int inline_layout_put(struct home *home, const char *name, uint64_t table_id,
                      struct span layout, struct err *err);
int inline_layout_find(struct home *home, const char *name, uint64_t table_id,
                       struct btree_scratch *scratch, struct span *layout,
                       bool *found, struct err *err);
void inline_table_hold(struct home *home, uint32_t file_id, bool held);

/* --- inline_pager.c ----------------------------------------------------------------- */

extern const struct pager_methods inline_pager_methods;

uint64_t inline_page_checksum(const struct inline_file *file, uint32_t page_no,
                              const uint8_t *image);
static inline int64_t inline_row_of(const struct inline_file *file,
                                    uint32_t page_no)
{
	return (int64_t)((uint64_t)file->number << INLINE_FILE_SHIFT | page_no);
}
/* Follows the free pages, and counts rows that are no page of a file. */
int inline_file_check(struct home *home, uint32_t file_id,
                      void (*problem)(void *context, const char *sentence),
                      void *context, struct err *err);

/* --- inline_flush.c ----------------------------------------------------------------- */

/* Every change of the home's tables goes to its row (L1). What fails stays dirty. */
int inline_flush(struct inline_home *home, struct err *err);

#endif
