/*
 * commit_private.h - one commit being made; for commit.c, commit_files.c and commit_items.c.
 */
#ifndef TURDB_VFS_COMMIT_PRIVATE_H
#define TURDB_VFS_COMMIT_PRIVATE_H

#include "vfs/store_private.h"

struct commit {
	struct store_view *view;
	uint64_t txid;
	uint32_t items;
	bool large;             /* some files' pages are only PLACED    */
	bool placed;            /* this file's new pages are            */
	bool synced_needed;     /* a PLACED item exists                 */
	uint32_t file_id;       /* for the sink: whose places           */
	struct page_file *file;
	uint64_t units_taken, units_superseded;
	uint64_t line;          /* a vacuum: map pages go below it, if they can */
	struct space_low low;
	bool releases;          /* much of a file becomes free          */
	bool releases_now;      /* so much that it cannot wait          */
	uint64_t units_dropped; /* of files that are gone               */
};

/* commit_files.c, in this order: the view's edits into view->sorted; whether it is
 * large enough for PLACED pages; all files, their page tables and the catalog of
 * `root`, *nothing: there was nothing to write; what the record will only name is
 * brought to the disk. */
int store_commit_sort(struct store_view *view, uint32_t *count,
                      struct err *err);
int store_commit_large(struct commit *commit, uint32_t count, struct err *err);
int store_commit_files(struct commit *commit, uint32_t count,
                       struct store_root *root, bool *nothing, struct err *err);
int store_commit_sync_placed(struct commit *commit, uint32_t count,
                             struct err *err);

/* commit_items.c: gives map pages their places and keeps what a rebuild of a page
 * table supersedes. */
struct page_table_sink store_commit_sink(struct commit *commit);

/* The item of one edited page, and its image at a new place; *changed: `change` is
 * for the page table. */
int store_commit_page(struct commit *commit, struct edit *edit,
                      struct page_change *change, bool *changed,
                      struct err *err);
/* The item of a file's catalog entry; *gone: the file is dropped. */
int store_commit_entry(struct commit *commit, const struct edit *edit,
                       bool *gone, struct err *err);

/* commit_full.c: after a full disk, by the writer: gets what there is to get. */
void store_commit_make_room(struct store_view *view);
/* ERR_FULL when the reserve is short and the transaction adds pages. */
int store_commit_allowed(struct store_view *view, struct err *err);

/* Whether the page has no committed version that a difference could start from. */
bool store_commit_is_fresh(const struct edit *edit);
/* Whether more than half of the page became something else: SQLite's own free
 * pages, used again by a load, hold old bytes that have nothing to do with the
 * new ones. */
bool store_commit_is_rewritten(const uint8_t *base, const uint8_t *now,
                               uint32_t size);

#endif
