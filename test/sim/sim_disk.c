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

uint64_t sim_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Inodes */

int sim_memory_make(void)
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
		.memory = kind == OS_NODE_FILE ? sim_memory_make() : -1,
		.mode = mode,
		.path = strdup(path),
	};
	return (uint32_t)disk->inode_count++;
}

void sim_inode_settle(struct sim_inode *inode)
{
	if (inode->linked || inode->opens || inode->memory < 0)
		return;
	close(inode->memory);
	inode->memory = -1;
	inode->charged = 0;
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
	static const uint8_t zeros[SIM_PAGE_SIZE];

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
	if (ftruncate(inode->memory, (off_t)size)) {
		perror("sim: ftruncate");
		abort();
	}
	inode->size = size;
}

/* Runs of pages go out in one call each. */
void sim_inode_from_image(struct sim_inode *inode,
                          const struct sim_image *image, uint64_t size)
{
	struct iovec vectors[VECTORS_AT_ONCE];
	size_t i = 0;

	while (i < image->count) {
		size_t start = i;
		int run = 0;

		for (; i < image->count && image->pages[i] &&
		       run < VECTORS_AT_ONCE; i++)
			vectors[run++] = (struct iovec){ image->pages[i]->bytes,
				                         SIM_PAGE_SIZE };
		if (run == 0)
			i++;
		else if (pwritev(inode->memory, vectors, run,
		                 (off_t)(start * SIM_PAGE_SIZE)) !=
		         (ssize_t)run * SIM_PAGE_SIZE)
			abort();
	}
	sim_inode_set_size(inode, size);
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

struct sim_disk *sim_disk_create(const struct sim_options *options)
{
	struct sim_disk *disk = sim_allocate(sizeof *disk);

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

static void free_inode(struct sim_inode *inode)
{
	if (inode->memory >= 0)
		close(inode->memory);
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
	for (size_t i = 0; i < disk->inode_count; i++)
		free_inode(&disk->inodes[i]);
	for (size_t i = 0; i < disk->link_count; i++)
		free(disk->links[i].name);
	free(disk->inodes);
	free(disk->links);
	pthread_mutex_destroy(&disk->mutex);
	free(disk);
}

struct sim_disk *sim_disk_branch(struct sim_disk *disk)
{
	struct sim_disk *copy = sim_disk_create(&disk->options);

	pthread_mutex_lock(&disk->mutex);
	copy->read_only = disk->read_only;
	copy->random_state = disk->random_state;
	copy->clock_us = disk->clock_us;
	for (size_t i = SIM_ROOT + 1; i < disk->inode_count; i++) {
		const struct sim_inode *from = &disk->inodes[i];
		struct sim_inode *to;

		sim_inode_make(copy, from->linked ? from->kind : OS_NODE_MISSING,
		               from->mode, from->path ? from->path : "");
		to = &copy->inodes[i];
		to->linked = from->linked;
		if (to->memory < 0)
			continue;
		sim_image_from_inode(&to->first, from);
		to->first_size = from->size;
		to->charged = from->charged;
		sim_inode_from_image(to, &to->first, from->size);
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

bool sim_file_peek(struct sim_disk *disk, const char *path, uint64_t offset,
                   void *bytes, size_t size)
{
	struct sim_inode *inode;
	bool there;

	pthread_mutex_lock(&disk->mutex);
	inode = file_by_path(disk, path);
	there = inode && offset <= inode->size && size <= inode->size - offset;
	if (there)
		sim_inode_read(inode, offset, bytes, size);
	pthread_mutex_unlock(&disk->mutex);
	return there;
}

bool sim_file_poke(struct sim_disk *disk, const char *path, uint64_t offset,
                   const void *bytes, size_t size)
{
	struct sim_inode *inode;
	bool there;

	pthread_mutex_lock(&disk->mutex);
	inode = file_by_path(disk, path);
	there = inode && offset <= inode->size && size <= inode->size - offset;
	if (there)
		sim_inode_write(inode, offset, bytes, size);
	pthread_mutex_unlock(&disk->mutex);
	return there;
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
