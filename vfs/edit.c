/*
 * edit.c - the private copies of a write transaction.
 *
 * An edit says what one logical page (or one catalog entry, page number
 * ENTRY_PAGE) is in the transaction; it stays in the table until the end, so a
 * page has one edit and undo records can point at it. Its value is the committed
 * version (ABSENT), an image in memory, an image spilled to a place of its own, or
 * the statement that the page is free or removed.
 *
 * (E1) A value owns its image and its spilled place; dropping it gives both back.
 * (E2) Image memory is counted in image_bytes, undo included.
 * (E3) A transaction of many pages leaves no memory for them behind: the table is
 *      cleared after every transaction, and a load's cost each later one 15 us.
 */
#include "vfs/store_private.h"

#include <assert.h>

static uint32_t hash_of(uint32_t file_id, uint32_t page_no)
{
	uint64_t h = ((uint64_t)file_id << 32 | page_no) *
	             UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 32);
}

struct edit *store_edit_find(const struct store_view *view, uint32_t file_id,
                             uint32_t page_no)
{
	uint32_t mask = view->table_room - 1, i;

	if (!view->edit_count)
		return NULL;
	for (i = hash_of(file_id, page_no) & mask; view->table[i];
	     i = (i + 1) & mask)
		if (view->table[i]->page_no == page_no &&
		    view->table[i]->file_id == file_id)
			return view->table[i];
	return NULL;
}

static void table_enter(struct store_view *view, struct edit *edit)
{
	uint32_t mask = view->table_room - 1;
	uint32_t i = hash_of(edit->file_id, edit->page_no) & mask;

	while (view->table[i])
		i = (i + 1) & mask;
	view->table[i] = edit;
}

static int table_room(struct store_view *view, struct err *err)
{
	uint32_t room = view->table_room ? view->table_room * 2 : 64;
	struct edit **larger;

	if (view->edit_count * 2 + 2 <= view->table_room)
		return ERR_NONE;
	larger = heap_zeroed(view->store->heap, room * sizeof(struct edit *));
	if (!larger)
		return err_set(err, ERR_NOMEM, "write", view->store->path,
		               "table of %u changed pages", room);
	heap_free(view->store->heap, view->table);
	view->table = larger;
	view->table_room = room;
	for (struct edit *edit = view->first_edit; edit; edit = edit->next)
		table_enter(view, edit);
	return ERR_NONE;
}

uint32_t store_edit_size(const struct edit *edit)
{
	return edit->page_no == ENTRY_PAGE ? CATALOG_ENTRY_SIZE
	                                   : edit->file->page_size;
}

/* Kept for the next transaction, so that it need not fault its pages in again: up to
 * a quarter of what the transaction may hold. */
static uint32_t spare_images_max(const struct store_view *view)
{
	uint32_t kb = atomic_load_explicit(&view->store->cache_kb,
	                                   memory_order_relaxed);
	uint32_t count = kb / 4 / (STORE_PAGE_SIZE / 1024);

	return count < SPARE_IMAGES_MAX ? count : SPARE_IMAGES_MAX;
}

uint8_t *store_image_take(struct store_view *view, uint32_t size)
{
	uint8_t *image;

	if (size == STORE_PAGE_SIZE && view->spare_image_count)
		image = view->spare_images[--view->spare_image_count];
	else
		image = heap_allocate(view->store->heap, size);
	if (image)
		view->image_bytes += size;
	return image;
}

void store_image_give(struct store_view *view, uint8_t *image, uint32_t size)
{
	if (!image)
		return;
	view->image_bytes -= size;
	if (size == STORE_PAGE_SIZE && view->spare_image_count < spare_images_max(view))
		view->spare_images[view->spare_image_count++] = image;
	else
		heap_free(view->store->heap, image);
}

int store_taken_add(struct store_view *view, struct taken_list *list,
                    const struct taken *item, struct err *err)
{
	uint32_t room = list->room ? list->room * 2 : 64;
	struct taken *larger;

	if (list->count == list->room) {
		larger = heap_resize(view->store->heap, list->items,
		                     room * sizeof *larger);
		if (!larger)
			return err_set(err, ERR_NOMEM, "write",
			               view->store->path,
			               "list of %u places", room);
		list->items = larger;
		list->room = room;
	}
	list->items[list->count++] = *item;
	return ERR_NONE;
}

int store_place_take(struct store_view *view, uint32_t file_id,
                     struct page_file *file, uint32_t units,
                     enum space_use use, uint32_t *place, struct err *err)
{
	int rc = store_space_ensure(view->store, file_id, file, &view->root,
	                            NULL, 0, err);

	if (rc)
		return rc;
	return space_take(&view->store->space, file, units, use, place, err);
}

/* (E1) */
void store_value_drop(const struct edit *edit, struct edit_value *value)
{
	struct store_view *view = edit->file->view;
	struct err err;

	if (value->state == EDIT_IMAGE)
		store_image_give(view, value->image, store_edit_size(edit));
	if (value->state == EDIT_SPILLED && !store_forked(view->store, NULL))
		space_give(&view->store->space, edit->file_id, value->ref.place,
		           edit->file->units, &err);
	*value = (struct edit_value){ .state = EDIT_ABSENT };
}

static int base_of(struct view_file *file, uint32_t page_no,
                   struct page_ref *base, struct err *err)
{
	*base = (struct page_ref){ .length = 0 };
	if (page_no == ENTRY_PAGE || !file->committed)
		return ERR_NONE;
	return page_table_find(file->file, &file->table, page_no, base, err);
}

static int edit_make(struct view_file *file, uint32_t page_no,
                     struct edit **made, struct err *err)
{
	struct store_view *view = file->view;
	struct page_ref base;
	struct edit *edit;
	int rc = store_forked(view->store, err);

	if (!rc)
		rc = table_room(view, err);
	if (!rc)
		rc = base_of(file, page_no, &base, err);
	if (rc)
		return rc;
	edit = view->spare_edits;
	if (edit)
		view->spare_edits = edit->next;
	else
		edit = heap_allocate(view->store->heap, sizeof *edit);
	if (!edit)
		return err_set(err, ERR_NOMEM, "write", file->name,
		               "page %u", page_no);
	*edit = (struct edit){ .file_id = file->file_id, .page_no = page_no,
	                       .file = file, .base = base };
	if (view->last_edit)
		view->last_edit->next = edit;
	else
		view->first_edit = edit;
	view->last_edit = edit;
	view->edit_count++;
	file->edit_count++;
	table_enter(view, edit);
	*made = edit;
	return ERR_NONE;
}

int store_edit_begin(struct view_file *file, uint32_t page_no,
                     struct edit **edit, struct err *err)
{
	int rc;

	assert(file->view->writing);
	*edit = store_edit_find(file->view, file->file_id, page_no);
	if (!*edit) {
		rc = edit_make(file, page_no, edit, err);
		if (rc)
			return rc;
	}
	return store_edit_again(*edit, err);
}

int store_edit_again(struct edit *edit, struct err *err)
{
	edit->used = true;
	return edit->file->view->marks ? store_mark_save(edit, err) : ERR_NONE;
}

/* The bytes a new image starts from; NULL = zeros. */
static int content_of(const struct edit *edit, const uint8_t **bytes,
                      struct err *err)
{
	const struct page_ref *ref = &edit->base;

	*bytes = NULL;
	if (edit->page_no == ENTRY_PAGE) {
		*bytes = edit->file->entry.bytes;
		return ERR_NONE;
	}
	if (edit->now.state == EDIT_SPILLED)
		ref = &edit->now.ref;
	else if (edit->now.state != EDIT_ABSENT || ref->length == 0 ||
	         (ref->flags & REF_FLAG_FREE))
		return ERR_NONE;
	return page_file_borrow(edit->file->file, ref, edit->page_no, bytes,
	                        err);
}

static int image_make(struct edit *edit, bool filled, struct err *err)
{
	struct store_view *view = edit->file->view;
	uint32_t size = store_edit_size(edit);
	struct edit_value old = edit->now;
	const uint8_t *bytes;
	uint8_t *image;
	int rc;

	if (old.state == EDIT_IMAGE)
		return ERR_NONE;
	rc = content_of(edit, &bytes, err);
	if (rc)
		return rc;
	image = store_image_take(view, size);
	if (!image)
		return err_set(err, ERR_NOMEM, "write", edit->file->name,
		               "copy of page %u", edit->page_no);
	if (filled && bytes)
		memcpy(image, bytes, size);
	else if (filled)
		memset(image, 0, size);
	edit->now = (struct edit_value){
		.state = EDIT_IMAGE,
		.image = image,
		.from_zero = old.from_zero || !bytes ||
		             old.state == EDIT_FREED ||
		             old.state == EDIT_REMOVED,
	};
	if (edit->now.from_zero && edit->page_no != ENTRY_PAGE)
		view->new_bytes += size;
	store_value_drop(edit, &old);
	return ERR_NONE;
}

int store_edit_image(struct edit *edit, struct err *err)
{
	return image_make(edit, true, err);
}

int store_edit_replace(struct edit *edit, struct err *err)
{
	return image_make(edit, false, err);
}

void store_edit_state(struct edit *edit, enum edit_state state)
{
	store_value_drop(edit, &edit->now);
	edit->now.state = state;
}

/* Forgets all edits without giving places back when they were committed (the
 * caller has turned SPILLED values into ABSENT ones then). */
void store_edits_discard(struct store_view *view)
{
	struct edit *edit, *next;

	store_marks_discard(view);
	for (edit = view->first_edit; edit; edit = next) {
		next = edit->next;
		store_value_drop(edit, &edit->now);
		edit->file->edit_count = 0;
		edit->file->entry_edit = NULL;
		edit->next = view->spare_edits;
		view->spare_edits = edit;
	}
	view->first_edit = view->last_edit = view->spill_hand = NULL;
	if (view->edit_count > EDITS_KEPT_MAX)
		store_view_trim(view); /* (E3) */
	else if (view->edit_count)
		memset(view->table, 0, view->table_room * sizeof(struct edit *));
	view->edit_count = 0;
	view->new_bytes = 0;
	assert(view->image_bytes == 0); /* (E2) */
}
