/*
 * spill.c - private copies leave memory before the commit.
 *
 * A spilled image lies at a place of its own that nothing published refers to: a
 * crash or rollback forgets it. Its birth is the txid the transaction will have. It
 * takes PLACED places only (rule 2), because the commit will say PLACED for it.
 * Victims are found by second chance over the edits in order of their making.
 *
 * A load goes to its places at once. Once a transaction has made new pages in memory
 * for as much as makes a commit place them instead of logging them, or half of what it
 * may keep, further ones that are written whole need not wait in memory: their bytes are
 * copied once, by the system, and a load takes heap for the list of its pages only.
 *
 * All these bytes will be synced before the commit's record, so the device begins with
 * them whenever a megabyte lies together.
 */
#include "vfs/store_private.h"

enum { START_UNITS = (1 << 20) / PLACE_SIZE };

static void start_writing(struct view_file *file, uint32_t place)
{
	struct spilled_run *run = &file->spilled;

	if (place != run->end || run->end - run->begin >= START_UNITS) {
		if (run->end - run->begin >= START_UNITS / 4)
			page_file_write_start(file->file, run->begin,
			                      run->end - run->begin);
		run->begin = place;
	}
	run->end = place + file->units;
}

/* Writes an image to a place of its own. */
static int place_image(struct edit *edit, const uint8_t *image,
                       struct page_ref *placed, struct err *err)
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
	                                  ref.birth, image, ref.length);
	rc = page_file_write(file->file, &ref, image, err);
	if (rc) {
		struct err ignored;

		space_give(&view->store->space, file->file_id, ref.place,
		           file->units, &ignored);
		return rc;
	}
	start_writing(file, ref.place);
	view->spilled = true;
	atomic_fetch_add_explicit(&view->store->shm.head->spilled_pages, 1,
	                          memory_order_relaxed);
	*placed = ref;
	return ERR_NONE;
}

static int value_spill(struct edit *edit, struct edit_value *value,
                       struct err *err)
{
	struct view_file *file = edit->file;
	int rc = place_image(edit, value->image, &value->ref, err);

	if (rc)
		return rc;
	store_image_give(file->view, value->image, file->page_size);
	value->state = EDIT_SPILLED;
	value->image = NULL;
	file->view->epoch++; /* cursors may hold the image that is gone now */
	return ERR_NONE;
}

bool store_spill_at_once(const struct edit *edit)
{
	const struct store_view *view = edit->file->view;
	size_t half_budget = (size_t)atomic_load_explicit(
		&view->store->cache_kb, memory_order_relaxed) * 512;
	size_t from = half_budget < STORE_PLACED_BYTES_MIN
	                      ? half_budget : STORE_PLACED_BYTES_MIN;

	return edit->now.state != EDIT_IMAGE && view->new_bytes >= from &&
	       (edit->base.length == 0 || (edit->base.flags & REF_FLAG_FREE));
}

int store_spill_bytes(struct edit *edit, const uint8_t *bytes, struct err *err)
{
	struct edit_value old = edit->now;
	struct page_ref ref;
	int rc = place_image(edit, bytes, &ref, err);

	if (rc)
		return rc;
	edit->now = (struct edit_value){ .state = EDIT_SPILLED,
	                                 .from_zero = true, .ref = ref };
	store_value_drop(edit, &old);
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
