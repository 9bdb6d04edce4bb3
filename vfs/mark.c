/*
 * mark.c - savepoints: the values that edits had when a mark was opened.
 *
 * Marks are numbered 0, 1, ... without gaps, as SQLite's pager numbers savepoints.
 * When an edit changes for the first time after the newest mark, its value moves
 * into an undo record of that mark. sqlite.tbd takes no part: SQLite plays its own
 * journal back through xWrite.
 *
 * (M1) edit->saved_serial is the serial of the newest open mark that has a record
 *      for this edit, or less than every open mark's serial.
 * (M2) Restoring mark n applies the records of the newest mark first, down to n.
 */
#include "vfs/store_private.h"

static bool takes_part(const struct edit *edit)
{
	return edit->file_id != STORE_SQLITE_FILE_ID;
}

static struct undo *undo_take(struct store_view *view)
{
	struct undo *undo = view->spare_undos;

	if (undo)
		view->spare_undos = undo->next;
	else
		undo = heap_allocate(view->store->heap, sizeof *undo);
	return undo;
}

static void undo_give(struct store_view *view, struct undo *undo)
{
	undo->next = view->spare_undos;
	view->spare_undos = undo;
}

/* Leaves edit->now an equal value of its own. A spilled place goes to the record:
 * the edit is about to change and would need a new one anyway. */
static int value_copy(struct edit *edit, struct edit_value *copy,
                      struct err *err)
{
	struct store_view *view = edit->file->view;
	uint32_t size = store_edit_size(edit);
	int rc;

	*copy = edit->now;
	if (edit->now.state == EDIT_SPILLED) {
		const uint8_t *bytes;
		uint8_t *image;

		rc = page_file_borrow(edit->file->file, &edit->now.ref,
		                      edit->page_no, &bytes, err);
		if (rc)
			return rc;
		image = store_image_take(view, size);
		if (!image)
			goto no_memory;
		memcpy(image, bytes, size);
		edit->now = (struct edit_value){
			.state = EDIT_IMAGE, .image = image,
			.from_zero = copy->from_zero,
		};
		return ERR_NONE;
	}
	if (edit->now.state != EDIT_IMAGE)
		return ERR_NONE;
	copy->image = store_image_take(view, size);
	if (!copy->image)
		goto no_memory;
	memcpy(copy->image, edit->now.image, size);
	return ERR_NONE;

no_memory:
	return err_set(err, ERR_NOMEM, "write", edit->file->name,
	               "copy of page %u for a savepoint", edit->page_no);
}

/* Keeps (M1). */
int store_mark_save(struct edit *edit, struct err *err)
{
	struct store_view *view = edit->file->view;
	struct mark *top = view->marks;
	struct undo *undo;
	int rc;

	if (!top || edit->saved_serial >= top->serial || !takes_part(edit))
		return ERR_NONE;
	undo = undo_take(view);
	if (!undo)
		return err_set(err, ERR_NOMEM, "write", edit->file->name,
		               "savepoint record");
	rc = value_copy(edit, &undo->before, err);
	if (rc) {
		undo_give(view, undo);
		return rc;
	}
	undo->edit = edit;
	undo->before_serial = edit->saved_serial;
	undo->next = top->undo;
	top->undo = undo;
	edit->saved_serial = top->serial;
	return ERR_NONE;
}

int store_view_savepoint(struct store_view *view, int n, struct err *err)
{
	struct mark *opened = NULL, *last = NULL;
	int top = view->marks ? view->marks->number : -1;

	if (!view->writing)
		return ERR_NONE;
	for (int number = n; number > top; number--) {
		struct mark *mark = heap_allocate(view->store->heap,
		                                  sizeof *mark);

		if (!mark)
			goto no_memory;
		*mark = (struct mark){ .number = number };
		if (last)
			last->below = mark;
		else
			opened = mark;
		last = mark;
	}
	if (!opened)
		return ERR_NONE;
	last->below = view->marks;
	view->marks = opened;
	view->mark_serial += (uint64_t)(n - top);
	for (struct mark *mark = opened; mark->number > top; mark = mark->below) {
		mark->serial = view->mark_serial - (uint64_t)(n - mark->number);
		if (!mark->below)
			break;
	}
	return ERR_NONE;

no_memory:
	while (opened) {
		struct mark *below = opened->below;

		heap_free(view->store->heap, opened);
		opened = below;
	}
	return err_set(err, ERR_NOMEM, "open", view->store->path,
	               "savepoint %d", n);
}

/* The records of a dropped mark belong to the one below it, unless that has an
 * older one for the same edit. */
static void mark_merge_down(struct store_view *view, struct mark *mark)
{
	struct mark *below = mark->below;
	struct undo *undo, *next;

	for (undo = mark->undo; undo; undo = next) {
		next = undo->next;
		if (below && undo->before_serial < below->serial) {
			undo->edit->saved_serial = below->serial;
			undo->next = below->undo;
			below->undo = undo;
			continue;
		}
		undo->edit->saved_serial = undo->before_serial;
		store_value_drop(undo->edit, &undo->before);
		undo_give(view, undo);
	}
}

void store_view_release(struct store_view *view, int n)
{
	while (view->marks && view->marks->number >= n) {
		struct mark *mark = view->marks;

		mark_merge_down(view, mark);
		view->marks = mark->below;
		heap_free(view->store->heap, mark);
	}
}

static void mark_restore(struct store_view *view, struct mark *mark)
{
	bool kept = PLANTED(view->store->environment, PLANT_SAVEPOINT_KEPT);

	while (mark->undo) {
		struct undo *undo = mark->undo;

		mark->undo = undo->next;
		if (kept) {
			store_value_drop(undo->edit, &undo->before);
		} else {
			store_value_drop(undo->edit, &undo->edit->now);
			undo->edit->now = undo->before;
		}
		undo->edit->saved_serial = undo->before_serial;
		undo_give(view, undo);
	}
}

static void restore_start(struct store_view *view)
{
	store_marks_discard(view);
	for (struct edit *edit = view->first_edit; edit; edit = edit->next)
		if (takes_part(edit))
			store_value_drop(edit, &edit->now);
}

/* (M2) */
void store_view_rollback_to(struct store_view *view, int n)
{
	if (!view->writing)
		return;
	view->epoch++;
	if (n < 0 || !view->marks) {
		restore_start(view);
		return;
	}
	while (view->marks && view->marks->number >= n) {
		struct mark *mark = view->marks;

		mark_restore(view, mark);
		if (mark->number == n)
			return;
		view->marks = mark->below;
		heap_free(view->store->heap, mark);
	}
}

void store_marks_discard(struct store_view *view)
{
	while (view->marks) {
		struct mark *mark = view->marks;

		while (mark->undo) {
			struct undo *undo = mark->undo;

			mark->undo = undo->next;
			undo->edit->saved_serial = 0;
			store_value_drop(undo->edit, &undo->before);
			undo_give(view, undo);
		}
		view->marks = mark->below;
		heap_free(view->store->heap, mark);
	}
}
