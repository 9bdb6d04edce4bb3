/*
 * sim_trace.c - the calls made, and what was durable after any of them.
 *
 * The shadow walks along the events: a write waits in its file's list until a
 * sync carries it into the image, a name in its own list until its directory
 * is synced. Going back means starting over, so whoever crashes a disk at many
 * lengths does it in rising order.
 */
#include "test/sim/sim_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

void sim_trace_add(struct sim_disk *disk, const struct sim_event *event)
{
	struct sim_trace *trace = &disk->trace;

	if (trace->stopped) {
		free(event->bytes);
		return;
	}
	SIM_GROW(trace->events, trace->count, trace->capacity);
	trace->events[trace->count++] = *event;
}

/* Writable maps */

static const uint8_t *seen_bytes(const struct sim_inode *inode, size_t number)
{
	static const uint8_t zeros[SIM_PAGE_SIZE];

	if (number < inode->seen.count && inode->seen.pages[number])
		return inode->seen.pages[number]->bytes;
	return zeros;
}

static void observe_page(struct sim_disk *disk, uint32_t number,
                         size_t page_number, const uint8_t *bytes)
{
	struct sim_inode *inode = &disk->inodes[number];
	struct sim_trace *trace = &disk->trace;
	struct sim_page *page;

	if (memcmp(seen_bytes(inode, page_number), bytes, SIM_PAGE_SIZE) == 0)
		return;
	page = sim_page_make(bytes);
	page->references = 2;
	sim_image_set_page(&inode->seen, page_number, page);
	SIM_GROW(trace->changes, trace->change_count, trace->change_capacity);
	trace->changes[trace->change_count++] = (struct sim_map_change){
		.at = trace->count,
		.inode = number,
		.number = page_number,
		.page = page,
	};
}

static bool window_open(struct sim_inode *inode, size_t size)
{
	void *at;

	if (size <= inode->window_size)
		return true;
	sim_window_close(inode);
	at = mmap(NULL, size, PROT_READ, MAP_SHARED, inode->memory, 0);
	if (at == MAP_FAILED)
		return false;
	inode->window = at;
	inode->window_size = size;
	return true;
}

/* Through a map of our own, which saves copying. With threads through the kernel:
 * the owner of another map may be writing to it. */
static void observe_extent(struct sim_disk *disk, uint32_t number,
                           uint64_t start, uint64_t end)
{
	struct sim_inode *inode = &disk->inodes[number];
	uint8_t bytes[16 * SIM_PAGE_SIZE];

	if (!disk->options.threads && window_open(inode, (size_t)end)) {
		for (uint64_t at = start; at < end; at += SIM_PAGE_SIZE)
			observe_page(disk, number, (size_t)(at / SIM_PAGE_SIZE),
			             inode->window + at);
		return;
	}
	for (uint64_t at = start; at < end; at += sizeof bytes) {
		sim_inode_read(&disk->inodes[number], at, bytes, sizeof bytes);
		for (size_t i = 0; i < 16; i++)
			observe_page(disk, number,
			             (size_t)(at / SIM_PAGE_SIZE) + i,
			             bytes + i * SIM_PAGE_SIZE);
	}
}

static void observe_inode(struct sim_disk *disk, uint32_t number)
{
	uint64_t start = 0, end = 0;

	while (sim_inode_extent(&disk->inodes[number], &start, &end))
		observe_extent(disk, number, start, end);
}

void sim_trace_observe(struct sim_disk *disk)
{
	if (disk->trace.stopped)
		return;
	for (uint32_t i = 1; i < disk->inode_count; i++)
		if (disk->inodes[i].mapped && disk->inodes[i].memory >= 0)
			observe_inode(disk, i);
}

void sim_trace_observe_first(struct sim_disk *disk, uint32_t inode)
{
	if (disk->inodes[inode].mapped)
		return;
	disk->inodes[inode].mapped = true;
	disk->inodes[inode].mapped_at = disk->trace.count;
	if (!disk->trace.stopped)
		observe_inode(disk, inode);
}

/* The shadow */

static void shadow_free(struct sim_shadow *shadow)
{
	for (size_t i = 0; i < shadow->file_count; i++) {
		sim_image_free(&shadow->files[i].image);
		free(shadow->files[i].pending);
	}
	for (size_t i = 0; i < shadow->link_count; i++)
		free(shadow->links[i].pending);
	free(shadow->files);
	free(shadow->links);
	*shadow = (struct sim_shadow){ 0 };
}

/* The shadow of a longer trace may know more inodes and names. */
static void shadow_reach(struct sim_disk *disk, struct sim_shadow *shadow)
{
	if (shadow->file_count < disk->inode_count)
		shadow->files = sim_resize(
			shadow->files,
			disk->inode_count * sizeof *shadow->files);
	for (; shadow->file_count < disk->inode_count; shadow->file_count++) {
		struct sim_inode *inode = &disk->inodes[shadow->file_count];
		struct sim_shadow_file *file =
			&shadow->files[shadow->file_count];

		*file = (struct sim_shadow_file){ .size = inode->first_size };
		sim_image_copy(&file->image, &inode->first);
	}
	if (shadow->link_count < disk->link_count)
		shadow->links = sim_resize(
			shadow->links,
			disk->link_count * sizeof *shadow->links);
	for (; shadow->link_count < disk->link_count; shadow->link_count++)
		shadow->links[shadow->link_count] = (struct sim_shadow_link){
			.inode = disk->links[shadow->link_count].first
		};
}

void sim_event_apply(const struct sim_event *event, struct sim_image *image)
{
	if (event->kind == SIM_EVENT_WRITE)
		sim_image_write(image, event->sector_offset, event->bytes,
		                event->sector_bytes);
	else if (event->size_after < event->size_before)
		sim_image_cut(image, event->size_after);
}

static void settle_file(const struct sim_trace *trace,
                        struct sim_shadow_file *file, bool bytes_kept)
{
	for (size_t i = 0; i < file->pending_count; i++) {
		const struct sim_event *event =
			&trace->events[file->pending[i]];

		if (bytes_kept || event->kind == SIM_EVENT_SIZE)
			sim_event_apply(event, &file->image);
		file->size = event->size_after;
	}
	file->pending_count = 0;
}

static void settle_directory(struct sim_disk *disk, struct sim_shadow *shadow,
                             uint32_t directory)
{
	for (size_t i = 0; i < shadow->link_count; i++) {
		struct sim_shadow_link *link = &shadow->links[i];

		if (disk->links[i].directory != directory ||
		    !link->pending_count)
			continue;
		link->inode = disk->trace.events[
			link->pending[link->pending_count - 1]].target;
		link->pending_count = 0;
		shadow->durable_epoch = shadow->position + 1;
	}
}

static void shadow_step(struct sim_disk *disk, struct sim_shadow *shadow)
{
	uint32_t index = (uint32_t)shadow->position;
	const struct sim_event *event = &disk->trace.events[index];
	struct sim_shadow_file *file = &shadow->files[event->inode];
	struct sim_shadow_link *link;

	switch (event->kind) {
	case SIM_EVENT_WRITE:
	case SIM_EVENT_SIZE:
		SIM_GROW(file->pending, file->pending_count,
		         file->pending_capacity);
		file->pending[file->pending_count++] = index;
		break;
	case SIM_EVENT_SYNC:
	case SIM_EVENT_SYNC_LOST:
		if (file->pending_count)
			shadow->durable_epoch = shadow->position + 1;
		settle_file(&disk->trace, file, event->kind == SIM_EVENT_SYNC);
		break;
	case SIM_EVENT_DIRECTORY_SYNC:
		settle_directory(disk, shadow, event->inode);
		break;
	case SIM_EVENT_LINK:
		link = &shadow->links[event->link];
		SIM_GROW(link->pending, link->pending_count,
		         link->pending_capacity);
		link->pending[link->pending_count++] = index;
		break;
	}
	shadow->position++;
}

void sim_shadow_seek(struct sim_disk *disk, uint64_t length)
{
	struct sim_shadow *shadow = &disk->trace.shadow;

	assert(!disk->trace.stopped && length <= disk->trace.count);
	if (shadow->position > length)
		shadow_free(shadow);
	shadow_reach(disk, shadow);
	while (shadow->position < length)
		shadow_step(disk, shadow);
}

/* The trace from outside */

void sim_trace_clear(struct sim_disk *disk)
{
	struct sim_trace *trace = &disk->trace;

	shadow_free(&trace->shadow);
	for (size_t i = 0; i < trace->count; i++)
		free(trace->events[i].bytes);
	for (size_t i = 0; i < trace->change_count; i++)
		sim_page_release(trace->changes[i].page);
	free(trace->events);
	free(trace->changes);
	free(trace->marks);
	*trace = (struct sim_trace){ 0 };
}

uint64_t sim_trace_length(struct sim_disk *disk)
{
	uint64_t length;

	pthread_mutex_lock(&disk->mutex);
	length = disk->trace.count;
	pthread_mutex_unlock(&disk->mutex);
	return length;
}

void sim_trace_restart(struct sim_disk *disk)
{
	pthread_mutex_lock(&disk->mutex);
	sim_trace_clear(disk);
	for (uint32_t i = 1; i < disk->inode_count; i++) {
		struct sim_inode *inode = &disk->inodes[i];

		sim_image_free(&inode->first);
		sim_image_free(&inode->seen);
		inode->mapped_at = 0;
		inode->first_size = inode->size;
		if (inode->memory < 0)
			continue;
		sim_image_from_inode(&inode->first, inode);
		if (inode->mapped)
			observe_inode(disk, i);
	}
	for (size_t i = 0; i < disk->link_count; i++)
		disk->links[i].first = disk->links[i].inode;
	pthread_mutex_unlock(&disk->mutex);
}

void sim_trace_stop(struct sim_disk *disk)
{
	pthread_mutex_lock(&disk->mutex);
	sim_trace_clear(disk);
	disk->trace.stopped = true;
	pthread_mutex_unlock(&disk->mutex);
}

void sim_mark(struct sim_disk *disk, uint32_t kind, uint64_t value)
{
	struct sim_trace *trace = &disk->trace;

	pthread_mutex_lock(&disk->mutex);
	SIM_GROW(trace->marks, trace->mark_count, trace->mark_capacity);
	trace->marks[trace->mark_count++] = (struct sim_mark){
		.at = trace->count, .kind = kind, .value = value
	};
	pthread_mutex_unlock(&disk->mutex);
}

const struct sim_mark *sim_marks(struct sim_disk *disk, size_t *count)
{
	*count = disk->trace.mark_count;
	return disk->trace.marks;
}

void sim_trace_describe(struct sim_disk *disk, uint64_t index, char *text,
                        size_t size)
{
	static const char *const names[] = {
		[SIM_CALL_WRITE] = "write",
		[SIM_CALL_TRUNCATE] = "truncate",
		[SIM_CALL_ALLOCATE] = "allocate",
		[SIM_CALL_PUNCH] = "punch",
		[SIM_CALL_SYNC] = "sync",
		[SIM_CALL_DIRECTORY_SYNC] = "sync directory",
		[SIM_CALL_CREATE] = "create",
		[SIM_CALL_UNLINK] = "unlink",
		[SIM_CALL_DIRECTORY_MAKE] = "make directory",
	};
	const struct sim_event *event;
	const char *path;

	if (index >= disk->trace.count) {
		snprintf(text, size, "%llu: not traced",
		         (unsigned long long)index);
		return;
	}
	event = &disk->trace.events[index];
	path = event->kind == SIM_EVENT_LINK ?
		disk->links[event->link].name : disk->inodes[event->inode].path;
	snprintf(text, size, "%llu %s %s: %llu bytes at %llu%s",
	         (unsigned long long)index, names[event->call], path,
	         (unsigned long long)event->size,
	         (unsigned long long)event->offset,
	         event->kind == SIM_EVENT_SYNC_LOST ? ", failed" : "");
}
