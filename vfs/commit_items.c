/*
 * commit_items.c - what a commit does with one page: a place, its image there, an item
 * in the record.
 *
 * The item carries the bytes that differ from the committed version (DIFF; FRESH when
 * there is none), or nothing more than the place (PLACED) when the commit is so large
 * that syncing the pages costs less than writing them twice.
 */
#include "vfs/commit_private.h"
#include "vfs/record_format.h"

enum {
	SAMPLE_BYTES = 64,          /* compared to tell a rewritten page, in each  */
	SAMPLE_STRIDE = 1024,       /* so many bytes                               */
	RECORD_BYTES_MAX = 8 << 20, /* no differences beyond this size of a record */
};

/* --- places ------------------------------------------------------------------------ */

static int take(struct commit *commit, uint32_t units, enum space_use use,
                uint32_t *place, struct err *err)
{
	struct store_view *view = commit->view;
	struct taken item = { .file_id = commit->file_id, .units = units };
	struct err ignored;
	int rc = ERR_NONE;

	if (!commit->line ||
	    !space_take_below(&view->store->space, commit->file_id, units, use,
	                      commit->line, &commit->low, place))
		rc = store_place_take(view, commit->file_id, commit->file,
		                      units, use, place, err);
	if (rc)
		return rc;
	commit->units_taken += units;
	item.place = *place;
	rc = store_taken_add(view, &view->taken, &item, err);
	if (rc) /* (vfs/commit C1) */
		space_give(&view->store->space, item.file_id, item.place, units,
		           &ignored);
	return rc;
}

static int sink_take(void *context, uint32_t *place, struct err *err)
{
	return take(context, 1, SPACE_LOGGED, place, err);
}

static int sink_superseded(void *context, uint32_t place, uint32_t units,
                           uint64_t birth, struct err *err)
{
	struct commit *commit = context;
	struct taken item = { .file_id = commit->file_id, .place = place,
	                      .units = units, .birth = birth };

	commit->units_superseded += units;
	return store_taken_add(commit->view, &commit->view->superseded, &item,
	                       err);
}

static int sink_write(void *context, struct page_file *file,
                      const struct page_ref *refs, const void *const *bytes,
                      size_t count, struct err *err)
{
	struct commit *commit = context;

	return store_late_pages(commit->view, file, refs, bytes, count, err);
}

struct page_table_sink store_commit_sink(struct commit *commit)
{
	return (struct page_table_sink){ .take = sink_take,
		                         .superseded = sink_superseded,
		                         .write = sink_write,
		                         .context = commit };
}

/* --- pages ------------------------------------------------------------------------- */

static int put_item(struct commit *commit, const struct record_item *item,
                    struct err *err)
{
	commit->items++;
	return store_record_item(commit->view, item, err);
}

bool store_commit_is_fresh(const struct edit *edit)
{
	return edit->now.from_zero || edit->base.length == 0 ||
	       (edit->base.flags & REF_FLAG_FREE);
}

bool store_commit_is_rewritten(const uint8_t *base, const uint8_t *now, uint32_t size)
{
	uint32_t samples = 0, kept = 0;

	for (uint32_t at = 0; at < size; at += SAMPLE_STRIDE, samples++)
		kept += memcmp(base + at, now + at, SAMPLE_BYTES) == 0;
	return kept < samples / 2;
}

static int write_image(struct commit *commit, const struct edit *edit,
                       const uint8_t *image, enum space_use use,
                       struct page_ref *ref, struct err *err)
{
	struct view_file *file = edit->file;
	int rc;

	*ref = (struct page_ref){ .length = file->page_size,
	                          .birth = commit->txid };
	rc = take(commit, file->units, use, &ref->place, err);
	if (rc)
		return rc;
	ref->checksum = page_file_checksum(file->file_id, edit->page_no,
	                                   ref->birth, image, ref->length);
	if (use == SPACE_PLACED) /* (vfs/late T1) */
		return page_file_write(file->file, ref, image, err);
	return store_late_image(commit->view, file->file, ref, image, err);
}

/* (vfs/commit C2) */
static int note(struct commit *commit, const struct edit *edit, uint32_t place,
                enum space_use use, struct err *err)
{
	if (use == SPACE_PLACED &&
	    PLANTED(commit->view->store->environment, PLANT_REUSE_PLACED))
		return ERR_NONE;
	return space_note(&commit->view->store->space, edit->file_id, place,
	                  edit->file->units, use, err);
}

static int put_placed(struct commit *commit, struct edit *edit,
                      const struct page_ref *ref, struct err *err)
{
	struct record_item item = { .kind = RECORD_PLACED,
	                            .file_id = edit->file_id,
	                            .page_no = edit->page_no,
	                            .place = ref->place,
	                            .checksum = ref->checksum };
	int rc = note(commit, edit, ref->place, SPACE_PLACED, err);

	commit->synced_needed = true;
	edit->file->placed_txid = commit->txid;
	return rc ? rc : put_item(commit, &item, err);
}

/* An image with its difference from `base` in the record. */
static int put_logged(struct commit *commit, const struct edit *edit,
                      uint8_t kind, const uint8_t *base,
                      const uint8_t *image, struct page_ref *ref,
                      struct err *err)
{
	struct record_item item = { .kind = kind,
	                            .file_id = edit->file_id,
	                            .page_no = edit->page_no };
	int rc = write_image(commit, edit, image, SPACE_LOGGED, ref, err);

	if (rc)
		return rc;
	item.place = ref->place;
	item.checksum = ref->checksum;
	rc = note(commit, edit, item.place, SPACE_LOGGED, err);
	if (!rc)
		rc = put_item(commit, &item, err);
	if (!rc)
		rc = store_record_ranges(commit->view, base, image,
		                         edit->file->page_size, err);
	return rc;
}

static int put_image(struct commit *commit, struct edit *edit,
                     struct page_change *change, bool *changed,
                     struct err *err)
{
	struct view_file *file = edit->file;
	struct store_view *view = commit->view;
	const uint8_t *base = NULL, *image = edit->now.image;
	bool planted = PLANTED(view->store->environment,
	                       PLANT_PLACED_OVER_LOGGED);
	int rc;

	*changed = true;
	if (!store_commit_is_fresh(edit)) {
		rc = page_file_borrow(file->file, &edit->base, edit->page_no,
		                      &base, err);
		if (rc)
			return rc;
		*changed = memcmp(base, image, file->page_size) != 0;
		if (!*changed)
			return ERR_NONE;
	}
	if (view->record_size <= RECORD_BYTES_MAX &&
	    (!commit->placed ||
	     (base &&
	      !store_commit_is_rewritten(base, image, file->page_size))))
		return put_logged(commit, edit,
		                  base ? RECORD_DIFF : RECORD_FRESH, base,
		                  image, &change->ref, err);
	rc = write_image(commit, edit, image,
	                 planted ? SPACE_LOGGED : SPACE_PLACED, &change->ref,
	                 err);
	return rc ? rc : put_placed(commit, edit, &change->ref, err);
}

/* A difference of nothing, at another place. */
static int put_moved(struct commit *commit, struct edit *edit,
                     struct page_change *change, struct err *err)
{
	const uint8_t *base;
	int rc = page_file_borrow(edit->file->file, &edit->base, edit->page_no,
	                          &base, err);

	if (rc)
		return rc;
	if (commit->line != edit->now.line)
		commit->low = (struct space_low){ .from = { 0 } };
	commit->line = edit->now.line;
	return put_logged(commit, edit, RECORD_DIFF, base, base, &change->ref,
	                  err);
}

int store_commit_page(struct commit *commit, struct edit *edit,
                    struct page_change *change, bool *changed,
                    struct err *err)
{
	struct record_item item = { .file_id = edit->file_id,
	                            .page_no = edit->page_no };

	*change = (struct page_change){ .page_no = edit->page_no };
	*changed = true;
	switch (edit->now.state) {
	case EDIT_IMAGE:
		return put_image(commit, edit, change, changed, err);
	case EDIT_SPILLED:
		change->ref = edit->now.ref;
		commit->units_taken += edit->file->units;
		return put_placed(commit, edit, &change->ref, err);
	case EDIT_FREED:
		change->ref.flags = REF_FLAG_FREE;
		change->ref.place = edit->now.next_free;
		change->ref.birth = commit->txid;
		item.kind = RECORD_FREE;
		item.next = edit->now.next_free;
		return put_item(commit, &item, err);
	case EDIT_REMOVED:
		*changed = edit->base.length != 0 || edit->base.flags;
		if (!*changed)
			return ERR_NONE;
		item.kind = RECORD_REMOVE;
		return put_item(commit, &item, err);
	case EDIT_MOVED:
		return put_moved(commit, edit, change, err);
	case EDIT_ABSENT:
		break;
	}
	*changed = false;
	return ERR_NONE;
}

int store_commit_entry(struct commit *commit, const struct edit *edit, bool *gone,
                     struct err *err)
{
	struct record_item item = { .kind = RECORD_ENTRY,
	                            .file_id = edit->file_id };
	const struct view_file *file = edit->file;
	int rc;

	*gone = edit->now.state == EDIT_REMOVED;
	if (*gone) {
		if (!file->committed)
			return ERR_NONE;
		item.kind = RECORD_GONE;
		return put_item(commit, &item, err);
	}
	rc = put_item(commit, &item, err);
	if (!rc)
		rc = store_record_ranges(commit->view,
		                         file->committed ? file->entry.bytes
		                                         : NULL,
		                         edit->now.image, CATALOG_ENTRY_LOGGED,
		                         err);
	return rc;
}
