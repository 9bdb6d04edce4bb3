/*
 * spill.c - private copies leave memory before the commit.
 *
 * A spilled image lies at a place of its own that nothing published refers to: a
 * crash or rollback forgets it. Its birth is the txid the transaction will have. It
 * takes PLACED places only (rule 2), because the commit will say PLACED for it.
 * Victims are found by second chance over the edits in order of their making.
 */
#include "vfs/store_private.h"

static int value_spill(struct edit *edit, struct edit_value *value,
                       struct err *err)
{
	struct view_file *file = edit->file;
	struct store_view *view = file->view;
	struct page_ref ref = { .length = file->page_size,
	                        .birth = view->root.txid + 1 };
	int rc = store_place_take(view, file->file_id, file->file, file->units,
	                          PLANTED(view->store->environment,
	                                  PLANT_PLACED_OVER_LOGGED)
	                                  ? SPACE_LOGGED : SPACE_PLACED,
	                          &ref.place, err);

	if (rc)
		return rc;
	ref.checksum = page_file_checksum(file->file_id, edit->page_no,
	                                  ref.birth, value->image, ref.length);
	rc = page_file_write(file->file, &ref, value->image, err);
	if (rc) {
		struct err ignored;

		space_give(&view->store->space, file->file_id, ref.place,
		           file->units, &ignored);
		return rc;
	}
	store_image_give(view, value->image, file->page_size);
	value->state = EDIT_SPILLED;
	value->image = NULL;
	value->ref = ref;
	view->spilled = true;
	view->epoch++; /* cursors may hold the image that is gone now */
	atomic_fetch_add_explicit(&view->store->shm.head->spilled_pages, 1,
	                          memory_order_relaxed);
	return ERR_NONE;
}

static bool can_spill(const struct edit *edit, const struct edit_value *value)
{
	return edit->page_no != ENTRY_PAGE && value->state == EDIT_IMAGE;
}

static int spill_undo(struct store_view *view, size_t keep_bytes,
                      struct err *err)
{
	for (struct mark *mark = view->marks; mark; mark = mark->below)
		for (struct undo *undo = mark->undo; undo; undo = undo->next) {
			int rc;

			if (view->image_bytes <= keep_bytes)
				return ERR_NONE;
			if (!can_spill(undo->edit, &undo->before))
				continue;
			rc = value_spill(undo->edit, &undo->before, err);
			if (rc)
				return rc;
		}
	return ERR_NONE;
}

int store_spill(struct store_view *view, size_t keep_bytes, struct err *err)
{
	uint32_t visits = view->edit_count * 2 + 1;
	int rc;

	if (!view->writing)
		return ERR_NONE;
	rc = store_forked(view->store, err);
	if (!rc)
		rc = spill_undo(view, keep_bytes, err);
	while (!rc && view->image_bytes > keep_bytes && visits--) {
		struct edit *edit = view->spill_hand ? view->spill_hand
		                                     : view->first_edit;

		if (!edit)
			break;
		view->spill_hand = edit->next;
		if (!can_spill(edit, &edit->now))
			continue;
		if (edit->used) {
			edit->used = false;
			continue;
		}
		rc = value_spill(edit, &edit->now, err);
	}
	return rc;
}
