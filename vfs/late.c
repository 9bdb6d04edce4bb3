/*
 * late.c - page images that a commit writes behind its record.
 *
 * A durable commit waits for the disk twice: until the record is written, until the
 * disk's cache is flushed. Its images, which are in the record too, need no disk; so
 * a small commit appends its record first, lets the device begin with it, and copies
 * the images into the page cache meanwhile.
 *
 * (T1) Only what the record can make again is put off: images that are logged, map
 *      pages, catalog pages; never PLACED ones.
 * (T2) Nothing of it is published before it is written. Who dies in between has left
 *      a whole record: the next writer makes the images from it, as ever.
 * (T3) Everything but the system's own failure was met before the record: the
 *      places exist, the file is mapped that far and has no holes, where writing
 *      may find the disk full. (A hole filled behind the record is a commit that
 *      can neither be finished nor taken back.)
 */
#include "vfs/store_private.h"

enum { COPIES_MAX = 8 }; /* map and catalog pages, whose bytes are only borrowed */

static bool copies_ready(struct store_view *view)
{
	struct store_late *late = &view->late;

	if (!late->copies)
		late->copies = heap_allocate(view->store->heap,
		                             COPIES_MAX * PLACE_SIZE);
	return late->copies && late->copy_count < COPIES_MAX;
}

/* (T3) of holes. */
static bool is_on(struct store_view *view, struct page_file *file)
{
	const struct store_late *late = &view->late;

	return late->on && late->count < LATE_MAX &&
	       page_file_is_whole(file,
	                          atomic_load(&view->store->shm.head->punches));
}

/* (T3) of the place. */
static int put_off(struct store_view *view, struct page_file *file,
                   const struct page_ref *ref, const void *bytes,
                   struct err *err)
{
	struct store_late *late = &view->late;
	int rc = page_file_write_ready(file, ref, err);

	if (rc)
		return rc;
	late->files[late->count] = file;
	late->refs[late->count] = *ref;
	late->bytes[late->count++] = bytes;
	return ERR_NONE;
}

int store_late_image(struct store_view *view, struct page_file *file,
                     const struct page_ref *ref, const void *image,
                     struct err *err)
{
	if (!is_on(view, file))
		return page_file_write(file, ref, image, err);
	return put_off(view, file, ref, image, err);
}

int store_late_pages(struct store_view *view, struct page_file *file,
                     const struct page_ref *refs, const void *const *bytes,
                     size_t count, struct err *err)
{
	struct store_late *late = &view->late;
	int rc = ERR_NONE;

	while (!rc && count && is_on(view, file) && copies_ready(view)) {
		uint8_t *copy = late->copies + late->copy_count++ * PLACE_SIZE;

		memcpy(copy, *bytes++, PLACE_SIZE);
		rc = put_off(view, file, refs++, copy, err);
		count--;
	}
	return rc ? rc : page_file_write_many(file, refs, bytes, count, err);
}

void store_late_begin(struct store_view *view, bool on)
{
	view->late.on = on;
	view->late.count = view->late.copy_count = 0;
}

int store_late_write(struct store_view *view, struct err *err)
{
	struct store_late *late = &view->late;
	int rc = ERR_NONE;

	for (uint32_t i = 0; i < late->count && !rc; i++)
		rc = page_file_write(late->files[i], &late->refs[i],
		                     late->bytes[i], err);
	late->count = 0;
	return rc;
}
