/*
 * commit_full.c - what a commit does that meets a full disk.
 *
 * A checkpoint of the snapshot before it, while the writer lock is held: what only the
 * last checkpoint needed becomes free, and log segments before it can be used again.
 * What is free in any file goes back to the file system, so that others can have it.
 * If the commit makes the database no larger it also gets the reserve (reserve.c).
 */
#include "vfs/commit_private.h"

enum { OTHERS_WAIT_US = 1000000 };

/* The pages that a transaction adds, less those it gives up. */
static bool grows(const struct store_view *view)
{
	int64_t bytes = 0;

	if (view->drops)
		return false;
	for (const struct edit *edit = view->first_edit; edit; edit = edit->next) {
		bool before = edit->base.length &&
		              !(edit->base.flags & REF_FLAG_FREE);
		bool after = edit->now.state == EDIT_IMAGE ||
		             edit->now.state == EDIT_SPILLED ||
		             edit->now.state == EDIT_MOVED;

		if (edit->page_no == ENTRY_PAGE ||
		    edit->now.state == EDIT_ABSENT)
			continue;
		bytes += ((int64_t)after - before) *
		         (int64_t)edit->file->page_size;
	}
	return bytes > 0;
}

static void checkpoint_before(struct store_view *view)
{
	struct store *store = view->store;
	struct err ignored;
	bool entered;

	store_checkpoint_await(store, OTHERS_WAIT_US);
	store_checkpoint_enter(store, &view->root, &entered, &ignored);
	if (entered)
		store_checkpoint_run(store, &ignored);
	if (atomic_load(&store->shm.head->generation_end_pending)) {
		space_generation_end(&store->space);
		atomic_store(&store->shm.head->generation_end_pending, 0);
	}
	store_retained_update(store, &view->root, NULL, &ignored);
	store_release_held(store);
}

void store_commit_make_room(struct store_view *view)
{
	checkpoint_before(view); /* which keeps room back again, if it can */
	if (!grows(view))
		store_reserve_give(view->store);
}

/* (vfs/reserve N1) */
int store_commit_allowed(struct store_view *view, struct err *err)
{
	struct store *store = view->store;

	if (!store_reserve_short(store) || !grows(view))
		return ERR_NONE;
	store_release_held(store);
	store_reserve_keep(store, &view->root);
	if (!store_reserve_short(store))
		return ERR_NONE;
	return err_set(err, ERR_FULL, "commit", store->path,
	               "the disk is full; until there is room for turdb.reserve again only transactions that make the database no larger are accepted: "
	               "delete rows, drop tables, or make room on the disk");
}
