/*
 * image.h - a whole database directory as one piece of bytes, to be damaged.
 *
 * An image is the files of a database, each in one block of memory. It is stored
 * without its zeros (an input of a fuzzer, a file of a past crash), laid on a
 * simulated disk to be opened, and mutated there where something is:
 *
 *   image_mend()    walks everything that the superblock reaches, and the log after
 *                   it, and makes every checksum true; tells where what lies
 *   image_mutate()  changes something at such a place
 *
 * so that what was changed is looked at and not only refused by its checksum.
 *
 * Stored: IMAGE_MAGIC, then each file: u8 size of its path, the path, u32 size,
 * u32 count of runs, and each run: u32 offset, u32 size, its bytes.
 */
#ifndef TURDB_TEST_SUPPORT_IMAGE_H
#define TURDB_TEST_SUPPORT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "test/sim/sim.h"

enum { IMAGE_FILES_MAX = 48, IMAGE_FILE_SIZE_MAX = 4 << 20,
       IMAGE_SIZE_MAX = 12 << 20, IMAGE_PATH_SIZE = 128 };

#define IMAGE_MAGIC UINT32_C(0x31474d49) /* 'IMG1' */

struct image_file {
	char path[IMAGE_PATH_SIZE]; /* "app/turdb.meta" */
	uint8_t *bytes;
	uint32_t size;
};

struct image {
	struct image_file files[IMAGE_FILES_MAX];
	uint32_t count;
};

/* False when the bytes are no image (too large, paths outside app/). */
bool image_load(struct image *image, const uint8_t *data, size_t size);
/* Returns the size, 0 when there is not that much room. */
size_t image_store(const struct image *image, uint8_t *data, size_t size_max);
void image_free(struct image *image);
struct image_file *image_file_find(struct image *image, const char *path);

/* All files of the disk but turdb.shm and README.txt. */
void image_take(struct image *image, struct sim_disk *disk);
/* The files in a directory /app of a disk without a trace. */
struct sim_disk *image_disk(const struct image *image);
/* Whether the disk's files, turdb.shm aside, are those of the image. */
bool image_same(const struct image *image, struct sim_disk *disk);

/* --- where what lies ------------------------------------------------------------- */

enum image_part {
	IMAGE_SUPERBLOCK = 1,
	IMAGE_MAP = 2,      /* heads and entries of map pages         */
	IMAGE_CATALOG = 4,  /* heads and entries of catalog pages     */
	IMAGE_HEADER = 8,   /* of page files                          */
	IMAGE_PAGE = 16,    /* pages of trees, graphs and SQLite      */
	IMAGE_SEGMENT = 32, /* headers of log segments                */
	IMAGE_RECORD = 64,  /* headers and payloads of log records    */
	IMAGE_FILES = 128,  /* whole files: cut, gone, mixed up       */
	IMAGE_ALL = 255,
};

struct image_region {
	enum image_part part;
	uint32_t file; /* index in the image */
	uint32_t at, size;
};

struct image_map {
	struct image_region *regions;
	size_t count, room;
};

void image_map_free(struct image_map *map);

/* Makes checksums true from below to above, and most of the time the numbers that
 * a reader compares before them (magics, levels, positions, chains), by `random`;
 * random NULL: only checksums. `map` (or NULL) is told what was met. */
void image_mend(struct image *image, struct image_map *map, uint64_t *random);

/* Changes something in one of `parts`; mends nothing. */
void image_mutate(struct image *image, const struct image_map *map,
                  unsigned parts, uint64_t *random);

#endif
