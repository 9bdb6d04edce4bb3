/*
 * sim_disk.c - inodes, names, and their copies in the kernel's memory files.
 */
#define _GNU_SOURCE
#include "test/sim/sim_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { VECTORS_AT_ONCE = 256, PUNCH_MIN = 4 * SIM_PAGE_SIZE };

static const uint8_t zeros[SIM_PAGE_SIZE];

uint64_t sim_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Inodes */

static int make_memory(void)
{
	int memory = memfd_create("turdb-sim", MFD_CLOEXEC);

	if (memory < 0) {
		perror("sim: memfd_create");
		abort();
	}
	return memory;
}

uint32_t sim_inode_make(struct sim_disk *disk, enum os_node_kind kind,
                        uint32_t mode, const char *path)
{
	SIM_GROW(disk->inodes, disk->inode_count, disk->inode_capacity);
	disk->inodes[disk->inode_count] = (struct sim_inode){
		.kind = kind,
		.memory = kind == OS_NODE_FILE ? make_memory() : -1,
		.mode = mode,
		.path = strdup(path),
	};
	return (uint32_t)disk->inode_count++;
}

void sim_window_close(struct sim_inode *inode)
{
	if (inode->window)
		munmap((void *)(uintptr_t)inode->window, inode->window_size);
	inode->window = NULL;
	inode->window_size = 0;
}

static void forget_shown(struct sim_inode *inode)
{
	sim_image_free(&inode->shown);
	free(inode->dirty);
	inode->dirty = NULL;
	inode->dirty_count = 0;
}

/* Pages of [from, to) no longer hold what `shown` says. */
static void mark_dirty(struct sim_inode *inode, uint64_t from, uint64_t to)
{
	size_t first = (size_t)(from / SIM_PAGE_SIZE);
	size_t end = (size_t)((to + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE);

	if (from >= to)
		return;
	if (end > inode->dirty_count) {
		size_t count = end + end / 2;

		inode->dirty = sim_resize(inode->dirty, count);
		memset(inode->dirty + inode->dirty_count, 0,
		       count - inode->dirty_count);
		inode->dirty_count = count;
	}
	memset(inode->dirty + first, 1, end - first);
}

void sim_inode_settle(struct sim_inode *inode)
{
	if (inode->linked || inode->opens || inode->memory < 0)
		return;
	sim_window_close(inode);
	close(inode->memory);
	inode->memory = -1;
	inode->charged = 0;
	forget_shown(inode);
}


void sim_inode_charge(struct sim_inode *inode, uint64_t end)
{
	uint64_t rounded = (end + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE *
	                   SIM_PAGE_SIZE;

	if (rounded > inode->charged)
		inode->charged = rounded;
}

uint64_t sim_used(const struct sim_disk *disk)
{
	uint64_t used = 0;

	for (size_t i = 1; i < disk->inode_count; i++)
		used += disk->inodes[i].charged;
	return used;
}

static void write_all(int memory, const uint8_t *bytes, size_t size,
                      uint64_t offset)
{
	while (size) {
		ssize_t n = pwrite(memory, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			perror("sim: pwrite");
			abort();
		}
		bytes += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
}

static void write_zeros(struct sim_inode *inode, uint64_t offset, size_t size)
{
	if (offset + size > inode->size)
		sim_inode_set_size(inode, offset + size);
	if (size >= PUNCH_MIN &&
	    fallocate(inode->memory,
	              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	              (off_t)offset, (off_t)size) == 0)
		return;
	while (size) {
		size_t part = size < sizeof zeros ? size : sizeof zeros;

		write_all(inode->memory, zeros, part, offset);
		offset += part;
		size -= part;
	}
}

void sim_inode_write(struct sim_inode *inode, uint64_t offset,
                     const uint8_t *bytes, size_t size)
{
	mark_dirty(inode, offset, offset + size);
	if (!bytes) {
		write_zeros(inode, offset, size);
		return;
	}
	write_all(inode->memory, bytes, size, offset);
	if (offset + size > inode->size)
		inode->size = offset + size;
}

void sim_inode_read(const struct sim_inode *inode, uint64_t offset,
                    uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t n = pread(inode->memory, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			memset(bytes, 0, size);
			return;
		}
		bytes += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
}

void sim_inode_set_size(struct sim_inode *inode, uint64_t size)
{
	mark_dirty(inode, size, inode->size);
	if (ftruncate(inode->memory, (off_t)size)) {
		perror("sim: ftruncate");
		abort();
	}
	inode->size = size;
}

static bool take_spare(struct sim_pool *pool, uint32_t number,
                       struct sim_inode *inode)
{
	for (size_t i = pool->count; i-- > 0;) {
		const struct sim_spare *spare = &pool->spares[i];

		if (spare->inode != number)
			continue;
		inode->memory = spare->memory;
		inode->size = spare->size;
		inode->shown = spare->shown;
		inode->dirty = spare->dirty;
		inode->dirty_count = spare->dirty_count;
		pool->spares[i] = pool->spares[--pool->count];
		return true;
	}
	return false;
}

/* A file that was mapped writable may hold anything: it is not kept. */
static void keep_spare(struct sim_pool *pool, uint32_t number,
                       struct sim_inode *inode)
{
	if (inode->memory < 0 || inode->mapped ||
	    pool->count == SIM_SPARES_MAX)
		return;
	pool->spares[pool->count++] = (struct sim_spare){
		.inode = number,
		.memory = inode->memory,
		.size = inode->size,
		.shown = inode->shown,
		.dirty = inode->dirty,
		.dirty_count = inode->dirty_count,
	};
	inode->memory = -1;
	inode->shown = (struct sim_image){ 0 };
	inode->dirty = NULL;
}

static void empty_pool(struct sim_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++) {
		close(pool->spares[i].memory);
		sim_image_free(&pool->spares[i].shown);
		free(pool->spares[i].dirty);
	}
	pool->count = 0;
}

static void release_pool(struct sim_pool *pool)
{
	if (--pool->references)
		return;
	empty_pool(pool);
	free(pool);
}

static const struct sim_page *page_of(const struct sim_image *image, size_t i)
{
	return i < image->count ? image->pages[i] : NULL;
}

static bool shows(const struct sim_inode *inode, const struct sim_image *image,
                  size_t i)
{
	return page_of(&inode->shown, i) == page_of(image, i) &&
	       (i >= inode->dirty_count || !inode->dirty[i]);
}

/* Writes the pages that differ, runs of them in one call each. */
static void write_differences(struct sim_inode *inode,
                              const struct sim_image *image, size_t count)
{
	struct iovec vectors[VECTORS_AT_ONCE];
	size_t i = 0;

	while (i < count) {
		size_t start = i;
		int run = 0;

		for (; i < count && run < VECTORS_AT_ONCE &&
		       !shows(inode, image, i); i++) {
			const struct sim_page *page = page_of(image, i);

			vectors[run++] = (struct iovec){
				(void *)(uintptr_t)(page ? page->bytes : zeros),
				SIM_PAGE_SIZE
			};
		}
		if (run == 0)
			i++;
		else if (pwritev(inode->memory, vectors, run,
		                 (off_t)(start * SIM_PAGE_SIZE)) !=
		         (ssize_t)run * SIM_PAGE_SIZE)
			abort();
	}
}

void sim_inode_fill(struct sim_disk *disk, uint32_t number,
                    const struct sim_image *image, uint64_t size)
{
	struct sim_inode *inode = &disk->inodes[number];

	if (!take_spare(disk->pool, number, inode))
		inode->memory = make_memory();
	if (inode->size > size)
		sim_inode_set_size(inode, size);
	write_differences(inode, image, (size_t)((size + SIM_PAGE_SIZE - 1) /
	                                         SIM_PAGE_SIZE));
	forget_shown(inode);
	sim_inode_set_size(inode, size);
	forget_shown(inode);
	sim_image_copy(&inode->shown, image);
}

bool sim_inode_extent(const struct sim_inode *inode, uint64_t *start,
                      uint64_t *end)
{
	off_t from = lseek(inode->memory, (off_t)*end, SEEK_DATA);
	off_t to;

	if (from < 0)
		return false;
	to = lseek(inode->memory, from, SEEK_HOLE);
	*start = (uint64_t)from / SIM_PAGE_SIZE * SIM_PAGE_SIZE;
	*end = ((uint64_t)to + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE *
	       SIM_PAGE_SIZE;
	return true;
}

void sim_image_from_inode(struct sim_image *image,
                          const struct sim_inode *inode)
{
	uint64_t start = 0, end = 0;
	uint8_t bytes[SIM_PAGE_SIZE];

	*image = (struct sim_image){ 0 };
	while (sim_inode_extent(inode, &start, &end))
		for (; start < end; start += SIM_PAGE_SIZE) {
			sim_inode_read(inode, start, bytes, sizeof bytes);
			if (!sim_is_zero(bytes, sizeof bytes))
				sim_image_set_page(
					image, (size_t)(start / SIM_PAGE_SIZE),
					sim_page_make(bytes));
		}
}

/* Names */

long sim_link_find(const struct sim_disk *disk, uint32_t directory,
                   const char *name, size_t name_size)
{
	for (size_t i = disk->link_count; i-- > 0;) {
		const struct sim_link *link = &disk->links[i];

		if (link->directory == directory &&
		    strncmp(link->name, name, name_size) == 0 &&
		    link->name[name_size] == 0)
			return (long)i;
	}
	return -1;
}

uint32_t sim_link_make(struct sim_disk *disk, uint32_t directory,
                       const char *name, size_t name_size)
{
	long found = sim_link_find(disk, directory, name, name_size);

	if (found >= 0)
		return (uint32_t)found;
	SIM_GROW(disk->links, disk->link_count, disk->link_capacity);
	disk->links[disk->link_count] = (struct sim_link){
		.directory = directory,
		.name = strndup(name, name_size),
	};
	return (uint32_t)disk->link_count++;
}

/* Disks */

static struct sim_disk *make_disk(const struct sim_options *options,
                                  struct sim_pool *pool)
{
	struct sim_disk *disk = sim_allocate(sizeof *disk);

	disk->pool = pool;
	pool->references++;
	pthread_mutex_init(&disk->mutex, NULL);
	if (options)
		disk->options = *options;
	if (!disk->options.clock_step_us)
		disk->options.clock_step_us = 1;
	disk->random_state = disk->options.seed;
	disk->clock_us = 1000000;
	sim_inode_make(disk, OS_NODE_MISSING, 0, "");
	sim_inode_make(disk, OS_NODE_DIRECTORY, 0755, "");
	disk->inodes[SIM_ROOT].linked = true;
	return disk;
}

struct sim_disk *sim_disk_create(const struct sim_options *options)
{
	return make_disk(options, sim_allocate(sizeof(struct sim_pool)));
}

struct sim_disk *sim_disk_relative(const struct sim_disk *parent)
{
	return make_disk(&parent->options, parent->pool);
}

static void free_inode(struct sim_inode *inode)
{
	sim_window_close(inode);
	if (inode->memory >= 0)
		close(inode->memory);
	forget_shown(inode);
	sim_image_free(&inode->first);
	sim_image_free(&inode->seen);
	free(inode->locks);
	free(inode->path);
}

void sim_disk_close(struct sim_disk *disk)
{
	if (!disk)
		return;
	while (disk->processes)
		sim_process_close((struct os *)disk->processes);
	sim_trace_clear(disk);
	for (size_t i = 0; i < disk->inode_count; i++) {
		keep_spare(disk->pool, (uint32_t)i, &disk->inodes[i]);
		free_inode(&disk->inodes[i]);
	}
	release_pool(disk->pool);
	for (size_t i = 0; i < disk->link_count; i++)
		free(disk->links[i].name);
	free(disk->inodes);
	free(disk->links);
	pthread_mutex_destroy(&disk->mutex);
	free(disk);
}

struct sim_disk *sim_disk_branch(struct sim_disk *disk)
{
	struct sim_disk *copy = sim_disk_relative(disk);

	pthread_mutex_lock(&disk->mutex);
	copy->read_only = disk->read_only;
	copy->random_state = disk->random_state;
	copy->clock_us = disk->clock_us;
	for (size_t i = SIM_ROOT + 1; i < disk->inode_count; i++) {
		const struct sim_inode *from = &disk->inodes[i];
		bool has_bytes = from->linked && from->memory >= 0;
		struct sim_inode *to;

		sim_inode_make(copy, OS_NODE_MISSING, from->mode,
		               from->path ? from->path : "");
		to = &copy->inodes[i];
		to->linked = from->linked;
		if (to->linked)
			to->kind = from->kind;
		if (!has_bytes)
			continue;
		sim_image_from_inode(&to->first, from);
		to->first_size = from->size;
		to->charged = from->charged;
		sim_inode_fill(copy, (uint32_t)i, &to->first, from->size);
	}
	for (size_t i = 0; i < disk->link_count; i++) {
		const struct sim_link *from = &disk->links[i];
		uint32_t link;

		if (!from->inode)
			continue;
		link = sim_link_make(copy, from->directory, from->name,
		                     strlen(from->name));
		copy->links[link].inode = copy->links[link].first = from->inode;
	}
	pthread_mutex_unlock(&disk->mutex);
	return copy;
}

void sim_disk_forked(struct sim_disk *disk)
{
	empty_pool(disk->pool);
}

void sim_disk_set_read_only(struct sim_disk *disk, bool read_only)
{
	disk->read_only = read_only;
}

void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes)
{
	disk->options.capacity = bytes;
}

uint64_t sim_disk_used(struct sim_disk *disk)
{
	uint64_t used;

	pthread_mutex_lock(&disk->mutex);
	used = sim_used(disk);
	pthread_mutex_unlock(&disk->mutex);
	return used;
}

/* Past the trace */

static struct sim_inode *file_by_path(struct sim_disk *disk, const char *path)
{
	path += path[0] == '/';
	for (size_t i = 1; i < disk->inode_count; i++)
		if (disk->inodes[i].linked && disk->inodes[i].memory >= 0 &&
		    strcmp(disk->inodes[i].path, path) == 0)
			return &disk->inodes[i];
	return NULL;
}

/* Locks the disk; the file, when it has these bytes. */
static struct sim_inode *enter_file(struct sim_disk *disk, const char *path,
                                    uint64_t offset, size_t size)
{
	struct sim_inode *inode;

	pthread_mutex_lock(&disk->mutex);
	inode = file_by_path(disk, path);
	return inode && offset <= inode->size && size <= inode->size - offset ?
		inode : NULL;
}

bool sim_file_peek(struct sim_disk *disk, const char *path, uint64_t offset,
                   void *bytes, size_t size)
{
	struct sim_inode *inode = enter_file(disk, path, offset, size);

	if (inode)
		sim_inode_read(inode, offset, bytes, size);
	pthread_mutex_unlock(&disk->mutex);
	return inode != NULL;
}

bool sim_file_poke(struct sim_disk *disk, const char *path, uint64_t offset,
                   const void *bytes, size_t size)
{
	struct sim_inode *inode = enter_file(disk, path, offset, size);

	if (inode)
		sim_inode_write(inode, offset, bytes, size);
	pthread_mutex_unlock(&disk->mutex);
	return inode != NULL;
}

const char *sim_file_at(struct sim_disk *disk, size_t n, uint64_t *size)
{
	const char *path = NULL;

	pthread_mutex_lock(&disk->mutex);
	for (size_t i = 1; i < disk->inode_count && !path; i++) {
		const struct sim_inode *inode = &disk->inodes[i];

		if (!inode->linked || inode->memory < 0 || n-- > 0)
			continue;
		path = inode->path;
		if (size)
			*size = inode->size;
	}
	pthread_mutex_unlock(&disk->mutex);
	return path;
}
