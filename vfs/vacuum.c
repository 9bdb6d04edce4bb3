/*
 * vacuum.c - moves pages from the ends of files to free places before them.
 *
 * Purpose       Files whose pages lie close together: their ends become free, and
 *               the last closer cuts them; until then they are holes (release.c).
 * Architecture  One step is one ordinary transaction of bounded size: each page that
 *               moves is written to a lower place, its record carries no differences.
 *               So a crash, a reader, another writer meet nothing new.
 * Structures    A file should end where its live pages would, lying one behind the
 *               other, plus some room: the line. What lies beyond it moves below it.
 *               A map page moves when a page under it does.
 * Safety        (V1) Nothing moves to a place beyond the line, and each move uses up
 *               room below it that was counted before: a file that is changed by
 *               nobody else comes to an end.
 */
#include "vfs/store_private.h"

enum {
	ROOM_UNITS = 16, /* beyond what is live: the map pages of a step ... */
	ROOM_PART = 50,  /* ... and a part of the file */
	QUADS_EACH = 2,  /* that a page and its map pages may take */
};

struct pass {
	struct store_view *view;
	struct view_file *file;
	uint64_t live;        /* units */
	uint64_t top;         /* one past the highest live unit */
	uint64_t line;
	uint64_t quads;       /* that may still be taken below the line */
	uint32_t left, moved; /* pages */
	bool touch;           /* a map page beyond the line waits for a page */
};

static uint32_t units_at(const struct pass *pass, uint32_t level)
{
	return level ? 1 : pass->file->units;
}

static int count_ref(void *context, uint32_t level, uint64_t index,
                     const struct page_ref *ref, struct err *err)
{
	struct pass *pass = context;
	uint64_t end = (uint64_t)ref->place + units_at(pass, level);

	(void)index, (void)err;
	if (ref->flags & REF_FLAG_FREE)
		return ERR_NONE;
	pass->live += units_at(pass, level);
	if (end > pass->top)
		pass->top = end;
	return ERR_NONE;
}

static int move_page(struct pass *pass, uint32_t page_no,
                     const struct page_ref *ref, struct err *err)
{
	const bool is_free = ref->flags & REF_FLAG_FREE;
	struct edit *edit = store_edit_find(pass->view, pass->file->file_id,
	                                    page_no);
	int rc;

	if (edit) /* it loses its bytes in this step */
		return ERR_NONE;
	rc = store_edit_begin(pass->file, page_no, &edit, err);
	if (rc)
		return rc;
	store_edit_state(edit, is_free ? EDIT_FREED : EDIT_MOVED);
	if (is_free)
		edit->now.next_free = ref->place;
	else
		edit->now.line = (uint32_t)pass->line;
	pass->left--;
	pass->moved++;
	pass->quads -= QUADS_EACH;
	return ERR_NONE;
}

/* Stops the walk, by a code without a sentence, when the step is full or the room
 * below the line is used up. (V1) */
static int move_ref(void *context, uint32_t level, uint64_t index,
                    const struct page_ref *ref, struct err *err)
{
	struct pass *pass = context;
	bool beyond = !(ref->flags & REF_FLAG_FREE) &&
	              (uint64_t)ref->place + units_at(pass, level) > pass->line;

	if (level) {
		pass->touch |= beyond;
		return ERR_NONE;
	}
	if (!beyond && !pass->touch)
		return ERR_NONE;
	if (!pass->left || pass->quads < QUADS_EACH)
		return ERR_ABORT;
	pass->touch = false;
	return move_page(pass, (uint32_t)index, ref, err);
}

static int plan_file(struct pass *pass, struct err *err)
{
	struct store *store = pass->view->store;
	struct view_file *file = pass->file;
	int rc = store_space_ensure(store, file->file_id, file->file,
	                            &pass->view->root, NULL, 0, err);

	pass->live = pass->top = 0;
	pass->touch = false;
	if (!rc)
		rc = page_table_walk(file->file, &file->table, 0, count_ref,
		                     pass, err);
	if (rc)
		return rc;
	pass->line = FILE_FIRST_PLACE + pass->live + pass->live / ROOM_PART +
	             ROOM_UNITS;
	if (pass->top <= pass->line || pass->line > UINT32_MAX)
		return ERR_NONE;
	pass->quads = space_quads_below(&store->space, file->file_id,
	                                (uint32_t)pass->line);
	rc = page_table_walk(file->file, &file->table, 0, move_ref, pass, err);
	return rc == ERR_ABORT ? ERR_NONE : rc;
}

static int each_file(void *context, uint32_t file_id,
                     const struct catalog_entry *entry, struct err *err)
{
	struct pass *pass = context;
	int rc;

	(void)entry;
	if (!pass->left)
		return ERR_NONE;
	rc = store_view_file(pass->view, file_id, &pass->file, err);
	if (rc || !pass->file->committed)
		return rc;
	return plan_file(pass, err);
}

int store_vacuum(struct store *store, uint32_t pages, uint64_t timeout_us,
                 uint32_t *moved, struct err *err)
{
	struct pass pass = { .left = pages };
	uint32_t forgotten = 0;
	int rc = store_view_open(store, &pass.view, err);

	*moved = 0;
	if (rc)
		return rc;
	rc = store_view_write(pass.view, timeout_us, err);
	if (!rc)
		rc = store_sqlite_forget_free(pass.view, pages, &forgotten, err);
	pass.left -= forgotten;
	if (!rc)
		rc = store_catalog_each(store, &pass.view->root.catalog,
		                        each_file, &pass, err);
	if (!rc && forgotten + pass.moved)
		rc = store_view_commit(pass.view, STORE_DURABLE_LATER, err);
	store_view_close(pass.view);
	if (!rc)
		*moved = forgotten + pass.moved;
	return rc;
}
