/*
 * image_mutate.c - see image.h: one change to an image, where it hurts.
 */
#include "test/support/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vfs/meta_format.h"
#include "vfs/store.h"

enum { TRIES = 8, NEAR = 64 };

struct mutation {
	struct image *image;
	const struct image_map *map;
	unsigned parts;
	uint64_t *random;
};

static uint64_t pick(struct mutation *m, uint64_t below)
{
	uint64_t z = (*m->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return below ? (z ^ (z >> 31)) % below : 0;
}

/* --- places ------------------------------------------------------------------------ */

static bool inside(const struct mutation *m, const struct image_region *region)
{
	const struct image_file *file = &m->image->files[region->file];

	return region->file < m->image->count && region->at <= file->size &&
	       region->size <= file->size - region->at;
}

/* A region of one of the parts, each part as likely as any. */
static const struct image_region *choose(struct mutation *m, unsigned parts)
{
	unsigned part;

	for (int i = 0; i < 4 * TRIES; i++) {
		const struct image_region *region;

		part = 1u << pick(m, 8);
		if (!(parts & part) || m->map->count == 0)
			continue;
		for (int j = 0; j < 4 * TRIES; j++) {
			region = &m->map->regions[pick(m, m->map->count)];
			if (region->part == part && inside(m, region))
				return region;
		}
	}
	return NULL;
}

/* Where in a region: half of the time near its beginning, mostly at bytes that are
 * not zero. */
static uint32_t choose_at(struct mutation *m, const struct image_region *region)
{
	const uint8_t *bytes = m->image->files[region->file].bytes + region->at;
	uint32_t near = region->size < NEAR ? region->size : NEAR, at = 0;

	for (int i = 0; i < TRIES; i++) {
		at = (uint32_t)pick(m, pick(m, 2) ? region->size : near);
		if (bytes[at] || pick(m, 4) == 0)
			break;
	}
	return at;
}

/* --- numbers ----------------------------------------------------------------------- */

static uint64_t interesting(struct mutation *m)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 63, 64, 127, 128, 169,
		170, 171, 255, 256, 4095, 4096, 4097, 16383, 16384, 16385, 28900,
		32767, 32768, 65535, 65536, 0xffffff, 0x7fffffff, 0x80000000,
		0xfffffffe, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
		0x8000000000000000, 0xfffffffffffffff8, 0xffffffffffffffff,
	};

	return numbers[pick(m, sizeof numbers / sizeof numbers[0])];
}

static void number_set(struct mutation *m, const struct image_region *region)
{
	static const uint32_t sizes[] = { 1, 2, 2, 4, 4, 4, 8 };
	uint8_t *bytes = m->image->files[region->file].bytes + region->at;
	uint32_t size = sizes[pick(m, 7)];
	uint32_t at = choose_at(m, region) / size * size;
	uint8_t number[8];
	uint64_t value = 0;

	if (at + size > region->size)
		return;
	memcpy(number, bytes + at, size);
	memset(number + size, 0, 8 - size);
	value = load_le64(number);
	switch (pick(m, 4)) {
	case 0:
		value += pick(m, 9) - 4;
		break;
	case 1:
		value = value * 2 + pick(m, 2);
		break;
	default:
		value = interesting(m);
	}
	store_le64(number, value);
	memcpy(bytes + at, number, size);
}

static void bytes_change(struct mutation *m, const struct image_region *region)
{
	uint8_t *bytes = m->image->files[region->file].bytes + region->at;
	uint32_t at = choose_at(m, region), left = region->size - at;
	uint32_t size = (uint32_t)pick(m, left < 16 ? left : 16) + 1;

	if (size > left)
		return;
	switch (pick(m, 6)) {
	case 0:
	case 1:
		bytes[at] ^= (uint8_t)(1u << pick(m, 8));
		break;
	case 2:
		bytes[at] = (uint8_t)pick(m, 256);
		break;
	case 3:
		memset(bytes + at, pick(m, 2) ? 0xff : 0, size);
		break;
	case 4: /* something is put in */
		memmove(bytes + at + size, bytes + at, left - size);
		break;
	default: /* something is left out */
		memmove(bytes + at, bytes + at + size, left - size);
	}
}

/* Bytes of another region of the same part come here, or the two change places. */
static void bytes_borrow(struct mutation *m, const struct image_region *region)
{
	const struct image_region *other = choose(m, region->part);
	uint8_t kept[STORE_PAGE_SIZE], *to, *from;
	uint32_t size;

	if (!other)
		return;
	size = other->size < region->size ? other->size : region->size;
	if (size > sizeof kept)
		size = sizeof kept;
	if (pick(m, 3) == 0 && size > 1)
		size = (uint32_t)pick(m, size) + 1;
	to = m->image->files[region->file].bytes + region->at;
	from = m->image->files[other->file].bytes + other->at;
	memcpy(kept, to, size);
	memmove(to, from, size);
	if (pick(m, 2))
		memcpy(from, kept, size);
}

/* --- whole files ------------------------------------------------------------------- */

static void file_resize(struct image_file *file, uint64_t size)
{
	uint8_t *bytes;

	if (size > IMAGE_FILE_SIZE_MAX)
		return;
	bytes = calloc(1, (size_t)size + 1);
	if (!bytes)
		abort();
	memcpy(bytes, file->bytes, size < file->size ? (size_t)size
	                                             : file->size);
	free(file->bytes);
	file->bytes = bytes;
	file->size = (uint32_t)size;
}

static void files_change(struct mutation *m)
{
	struct image *image = m->image;
	struct image_file *file, *other, kept;

	if (image->count == 0)
		return;
	file = &image->files[pick(m, image->count)];
	other = &image->files[pick(m, image->count)];
	switch (pick(m, 5)) {
	case 0:
		file_resize(file, pick(m, file->size + 1));
		break;
	case 1:
		file_resize(file, pick(m, file->size / 4096 + 1) * 4096);
		break;
	case 2:
		file_resize(file, (uint64_t)file->size + pick(m, 3) * 65536);
		break;
	case 3:
		kept = *file;
		file->bytes = other->bytes;
		file->size = other->size;
		other->bytes = kept.bytes;
		other->size = kept.size;
		break;
	default:
		free(file->bytes);
		*file = image->files[--image->count];
	}
}

/* --- tables ------------------------------------------------------------------------- */

/* A table one level higher, all of whose entries lead to the old root. */
static void table_raise(struct mutation *m)
{
	const struct image_region *region = choose(m, IMAGE_CATALOG);
	uint32_t slots = (uint32_t)pick(m, MAP_ENTRIES) + 1, depth, unit;
	struct image_file *file;
	uint8_t *entry, *map;
	uint64_t birth;

	if (!region || region->size < CATALOG_DEPTH_AT + 4)
		return;
	entry = m->image->files[region->file].bytes + region->at;
	depth = load_le32(entry + CATALOG_DEPTH_AT);
	file = &m->image->files[pick(m, m->image->count)];
	for (uint32_t i = 0; i < m->image->count && pick(m, 8); i++) {
		char part[32];

		/* Mostly the file that the entry is about. */
		snprintf(part, sizeof part, "root/%u-",
		         load_le32(entry + CATALOG_ID_AT));
		if (strstr(m->image->files[i].path, part))
			file = &m->image->files[i];
	}
	for (unit = file->size / PLACE_SIZE; unit > 1; unit--) {
		map = file->bytes + (unit - 1) * PLACE_SIZE;
		if (load_le64(map) == 0 &&
		    memcmp(map, map + 8, PLACE_SIZE - 8) == 0)
			break;
	}
	if (unit <= 1 || depth >= MAP_DEPTH_MAX)
		return;
	map = file->bytes + (unit - 1) * PLACE_SIZE;
	birth = load_le64(entry + CATALOG_ROOT_AT + REF_BIRTH_AT);
	store_le32(map + MAP_MAGIC_AT, MAP_MAGIC);
	store_le32(map + MAP_LEVEL_AT, depth + 1);
	for (uint32_t i = 0; i < slots; i++)
		memcpy(map + MAP_HEAD_SIZE + i * REF_SIZE,
		       entry + CATALOG_ROOT_AT, REF_SIZE);
	store_le32(entry + CATALOG_ROOT_AT + REF_PLACE_AT, unit - 1);
	store_le32(entry + CATALOG_ROOT_AT + REF_LENGTH_AT, PLACE_SIZE);
	store_le64(entry + CATALOG_ROOT_AT + REF_BIRTH_AT, birth);
	store_le32(entry + CATALOG_DEPTH_AT, depth + 1);
}

void image_mutate(struct image *image, const struct image_map *map,
                  unsigned parts, uint64_t *random)
{
	struct mutation m = { image, map, parts, random };
	const struct image_region *region;

	if (parts & IMAGE_FILES && pick(&m, 16) == 0) {
		files_change(&m);
		return;
	}
	if (parts & IMAGE_MAP && pick(&m, 24) == 0) {
		table_raise(&m);
		return;
	}
	region = choose(&m, parts);
	if (!region)
		return;
	switch (pick(&m, 5)) {
	case 0:
	case 1:
		number_set(&m, region);
		break;
	case 2:
		bytes_borrow(&m, region);
		break;
	default:
		bytes_change(&m, region);
	}
}
