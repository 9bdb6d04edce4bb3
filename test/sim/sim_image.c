/*
 * sim_image.c - contents of a file as pages that images share.
 *
 * Copying an image copies pointers; a page is copied when one of its owners
 * writes to it. That makes a crash state cheap: it shares with the trace all
 * that the crash did not touch.
 */
#include "test/sim/sim_internal.h"

#include <stdlib.h>

void *sim_allocate(size_t size)
{
	void *block = calloc(1, size ? size : 1);

	if (!block)
		abort();
	return block;
}

void *sim_resize(void *block, size_t size)
{
	block = realloc(block, size ? size : 1);
	if (!block)
		abort();
	return block;
}

bool sim_is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 ||
	       (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

struct sim_page *sim_page_make(const uint8_t *bytes)
{
	struct sim_page *page = sim_resize(NULL, sizeof *page);

	page->references = 1;
	if (bytes)
		memcpy(page->bytes, bytes, SIM_PAGE_SIZE);
	return page;
}

void sim_page_release(struct sim_page *page)
{
	if (page && --page->references == 0)
		free(page);
}

void sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
	to->count = from->count;
	to->pages = sim_resize(NULL, from->count * sizeof(struct sim_page *));
	for (size_t i = 0; i < from->count; i++) {
		to->pages[i] = from->pages[i];
		if (to->pages[i])
			to->pages[i]->references++;
	}
}

void sim_image_free(struct sim_image *image)
{
	for (size_t i = 0; i < image->count; i++)
		sim_page_release(image->pages[i]);
	free(image->pages);
	*image = (struct sim_image){ 0 };
}

static void reach(struct sim_image *image, size_t count)
{
	if (count <= image->count)
		return;
	image->pages = sim_resize(image->pages,
	                          count * sizeof(struct sim_page *));
	memset(image->pages + image->count, 0,
	       (count - image->count) * sizeof(struct sim_page *));
	image->count = count;
}

void sim_image_set_page(struct sim_image *image, size_t number,
                        struct sim_page *page)
{
	reach(image, number + 1);
	sim_page_release(image->pages[number]);
	image->pages[number] = page;
}

/* The page for writing a part of it: existing and nobody else's. */
static struct sim_page *own_page(struct sim_image *image, size_t number)
{
	struct sim_page *page = image->pages[number];

	if (!page) {
		page = sim_page_make(NULL);
		memset(page->bytes, 0, SIM_PAGE_SIZE);
	} else if (page->references > 1) {
		page->references--;
		page = sim_page_make(page->bytes);
	}
	image->pages[number] = page;
	return page;
}

static void write_in_page(struct sim_image *image, size_t number, size_t start,
                          const uint8_t *bytes, size_t size)
{
	bool whole = size == SIM_PAGE_SIZE;

	if (!bytes && (whole || !image->pages[number])) {
		if (whole)
			sim_image_set_page(image, number, NULL);
		return;
	}
	if (whole && (!image->pages[number] ||
	              image->pages[number]->references > 1))
		sim_image_set_page(image, number, sim_page_make(bytes));
	else if (bytes)
		memcpy(own_page(image, number)->bytes + start, bytes, size);
	else
		memset(own_page(image, number)->bytes + start, 0, size);
}

void sim_image_write(struct sim_image *image, uint64_t offset,
                     const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return;
	if (bytes)
		reach(image, (size_t)((offset + size - 1) / SIM_PAGE_SIZE) + 1);
	while (size) {
		size_t number = (size_t)(offset / SIM_PAGE_SIZE);
		size_t start = (size_t)(offset % SIM_PAGE_SIZE);
		size_t part = SIM_PAGE_SIZE - start;

		if (number >= image->count)
			return; /* zeros beyond the last page */
		if (part > size)
			part = size;
		write_in_page(image, number, start, bytes, part);
		offset += part;
		size -= part;
		bytes = bytes ? bytes + part : NULL;
	}
}

void sim_image_cut(struct sim_image *image, uint64_t size)
{
	uint64_t end = (uint64_t)image->count * SIM_PAGE_SIZE;

	if (size < end)
		sim_image_write(image, size, NULL, (size_t)(end - size));
}
