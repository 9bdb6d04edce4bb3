/*
 * image.c - see image.h: storing, loading, and the way to a simulated disk.
 */
#include "test/support/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { RUN_GAP = 16, FILE_HEAD = 9, RUN_HEAD = 8 };

void image_free(struct image *image)
{
	for (uint32_t i = 0; i < image->count; i++)
		free(image->files[i].bytes);
	image->count = 0;
}

struct image_file *image_file_find(struct image *image, const char *path)
{
	for (uint32_t i = 0; i < image->count; i++)
		if (strcmp(image->files[i].path, path) == 0)
			return &image->files[i];
	return NULL;
}

/* --- loading ---------------------------------------------------------------------- */

struct input {
	const uint8_t *at;
	size_t left;
};

static const uint8_t *input_take(struct input *input, size_t size)
{
	const uint8_t *at = input->at;

	if (size > input->left)
		return NULL;
	input->at += size;
	input->left -= size;
	return at;
}

static bool path_allowed(const char *path)
{
	size_t size = strlen(path);

	if (strncmp(path, "app/", 4) != 0 || strstr(path, "..") ||
	    strstr(path, "//") || path[size - 1] == '/')
		return false;
	if (strchr(path + 4, '/') && strncmp(path, "app/root/", 9) != 0 &&
	    strncmp(path, "app/wal/", 8) != 0)
		return false;
	for (size_t i = 0; i < size; i++)
		if (path[i] < 33 || path[i] > 126)
			return false;
	return true;
}

static bool load_runs(struct image_file *file, uint32_t count,
                      struct input *input)
{
	for (; count; count--) {
		const uint8_t *head = input_take(input, RUN_HEAD), *bytes;
		uint32_t at, size;

		if (!head)
			return false;
		at = load_le32(head);
		size = load_le32(head + 4);
		bytes = input_take(input, size);
		if (!bytes || at > file->size || size > file->size - at)
			return false;
		memcpy(file->bytes + at, bytes, size);
	}
	return true;
}

static bool load_file(struct image *image, struct input *input, size_t *total)
{
	const uint8_t *size_at = input_take(input, 1), *path, *head;
	struct image_file *file = &image->files[image->count];

	if (!size_at || *size_at == 0 || *size_at >= IMAGE_PATH_SIZE ||
	    image->count == IMAGE_FILES_MAX)
		return false;
	path = input_take(input, *size_at);
	head = input_take(input, FILE_HEAD - 1);
	if (!path || !head)
		return false;
	memcpy(file->path, path, *size_at);
	file->path[*size_at] = 0;
	file->size = load_le32(head);
	*total += file->size;
	if (file->size > IMAGE_FILE_SIZE_MAX || *total > IMAGE_SIZE_MAX ||
	    !path_allowed(file->path) || image_file_find(image, file->path))
		return false;
	file->bytes = calloc(1, (size_t)file->size + 1);
	if (!file->bytes)
		abort();
	image->count++;
	return load_runs(file, load_le32(head + 4), input);
}

bool image_load(struct image *image, const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	const uint8_t *magic = input_take(&input, 4);
	size_t total = 0;

	image->count = 0;
	if (!magic || load_le32(magic) != IMAGE_MAGIC)
		return false;
	while (input.left)
		if (!load_file(image, &input, &total)) {
			image_free(image);
			return false;
		}
	return true;
}

/* --- storing ---------------------------------------------------------------------- */

struct output {
	uint8_t *at;
	size_t left;
	bool full;
};

static void output_put(struct output *output, const void *bytes, size_t size)
{
	if (size > output->left)
		output->full = true;
	if (output->full || !size)
		return;
	memcpy(output->at, bytes, size);
	output->at += size;
	output->left -= size;
}

static void output_number(struct output *output, uint32_t number)
{
	uint8_t bytes[4];

	store_le32(bytes, number);
	output_put(output, bytes, sizeof bytes);
}

/* The next bytes that are not zero, with short gaps inside. */
static bool next_run(const struct image_file *file, uint32_t *at, uint32_t *end)
{
	uint32_t i = *end, zeros = 0;

	while (i < file->size && file->bytes[i] == 0) {
		bool aligned = i % 8 == 0 && i + 8 <= file->size;

		i += aligned && load_le64(file->bytes + i) == 0 ? 8 : 1;
	}
	*at = *end = i;
	for (; i < file->size && zeros < RUN_GAP; i++) {
		zeros = file->bytes[i] ? 0 : zeros + 1;
		if (!zeros)
			*end = i + 1;
	}
	return *at < file->size;
}

static void store_file(const struct image_file *file, struct output *output)
{
	uint8_t path_size = (uint8_t)strlen(file->path);
	uint32_t at, end = 0, runs = 0;

	output_put(output, &path_size, 1);
	output_put(output, file->path, path_size);
	output_number(output, file->size);
	while (next_run(file, &at, &end))
		runs++;
	output_number(output, runs);
	end = 0;
	while (next_run(file, &at, &end)) {
		output_number(output, at);
		output_number(output, end - at);
		output_put(output, file->bytes + at, end - at);
	}
}

size_t image_store(const struct image *image, uint8_t *data, size_t size_max)
{
	struct output output = { data, size_max, false };

	output_number(&output, IMAGE_MAGIC);
	for (uint32_t i = 0; i < image->count; i++)
		store_file(&image->files[i], &output);
	return output.full ? 0 : size_max - output.left;
}

/* --- disks ------------------------------------------------------------------------- */

void image_take(struct image *image, struct sim_disk *disk)
{
	const char *path;
	uint64_t size;

	image->count = 0;
	for (size_t n = 0; (path = sim_file_at(disk, n, &size)); n++) {
		struct image_file *file = &image->files[image->count];

		if (strstr(path, "turdb.shm") || strstr(path, "README") ||
		    strstr(path, "turdb.reserve") ||
		    size > IMAGE_FILE_SIZE_MAX ||
		    image->count == IMAGE_FILES_MAX)
			continue;
		strncpy(file->path, path, IMAGE_PATH_SIZE - 1);
		file->size = (uint32_t)size;
		file->bytes = calloc(1, (size_t)size + 1);
		if (!file->bytes)
			abort();
		if (size)
			sim_file_peek(disk, path, 0, file->bytes, (size_t)size);
		image->count++;
	}
}

static void must(int rc, const struct err *err)
{
	if (rc) {
		fprintf(stderr, "image: %s\n", err->text);
		abort();
	}
}

static void lay_file(struct os_file *dir, const struct image_file *from)
{
	struct os_file *file;
	struct err err;
	uint32_t at, end = 0;

	must(os_open(dir, from->path + strlen("app/"),
	             OS_OPEN_WRITE | OS_OPEN_CREATE, 0644, &file, &err), &err);
	must(dir->os->methods->truncate(file, from->size, &err), &err);
	while (next_run(from, &at, &end))
		must(os_write(file, at, from->bytes + at, end - at, &err),
		     &err);
	os_close(file);
}

struct sim_disk *image_disk(const struct image *image)
{
	static const char *const directories[] = { "/app", "/app/root",
	                                           "/app/wal" };
	struct sim_options options = { .capacity = 4 * IMAGE_SIZE_MAX };
	struct sim_disk *disk = sim_disk_create(&options);
	struct os *os = sim_process_open(disk);
	struct os_file *dir;
	struct err err;

	sim_trace_stop(disk);
	for (size_t i = 0; i < 3; i++)
		must(os->methods->directory_make(os, NULL, directories[i],
		                                 &err), &err);
	must(os->methods->directory_open(os, "/app", &dir, &err), &err);
	for (uint32_t i = 0; i < image->count; i++)
		lay_file(dir, &image->files[i]);
	os_close(dir);
	sim_process_close(os);
	return disk;
}

static bool same_bytes(struct sim_disk *disk, const char *path, uint64_t size,
                       const struct image_file *file)
{
	uint8_t *bytes;
	bool same;

	if (!file || file->size != size)
		return false;
	bytes = malloc((size_t)size + 1);
	if (!bytes)
		abort();
	same = size == 0 || (sim_file_peek(disk, path, 0, bytes, (size_t)size) &&
	                     memcmp(bytes, file->bytes, (size_t)size) == 0);
	free(bytes);
	return same;
}

bool image_same(const struct image *image, struct sim_disk *disk)
{
	uint32_t found = 0;
	const char *path;
	uint64_t size;

	for (size_t n = 0; (path = sim_file_at(disk, n, &size)); n++) {
		if (strstr(path, "turdb.shm"))
			continue;
		if (!same_bytes(disk, path, size,
		                image_file_find((struct image *)(uintptr_t)image,
		                                path)))
			return false;
		found++;
	}
	return found == image->count;
}
