/*
 * map.c - segment files side by side in address space, for reading.
 *
 * One reservation holds them all, so that a position in the log is an offset from
 * one address for as long as the map is open, whatever becomes of the files.
 */
#include "wal/wal_private.h"

enum { MAP_ALIGNMENT = 65536 }; /* struct os_methods, map() */

/* A header may say any size; a file that is shorter is refused before it is read. */
static uint64_t slot_size(const struct wal_segment *segment)
{
	uint64_t size = segment->size < segment->file_size ? segment->size
	                                                   : segment->file_size;

	return (size + MAP_ALIGNMENT - 1) / MAP_ALIGNMENT * MAP_ALIGNMENT;
}

int wal_map_open(struct wal *wal, const struct wal_list *list,
                 struct wal_map *map, size_t *at, struct err *err)
{
	struct wal_map opened = { .os = wal->dir->os };
	void *bytes;
	int rc;

	for (size_t i = 0; i < list->valid_count; i++) {
		at[i] = opened.size;
		opened.size += (size_t)slot_size(&list->items[i]);
	}
	if (opened.size) {
		rc = opened.os->methods->reserve(opened.os, opened.size, &bytes,
		                                 err);
		if (rc)
			return rc;
		opened.bytes = bytes;
	}
	*map = opened;
	return ERR_NONE;
}

void wal_map_close(struct wal_map *map)
{
	if (map->bytes)
		map->os->methods->unreserve(map->os, map->bytes, map->size);
	*map = (struct wal_map){ 0 };
}

int wal_map_segment(struct wal_map *map, size_t at, struct os_file *file,
                    const struct wal_segment *segment, struct err *err)
{
	uint64_t size = slot_size(segment);

	if (size > segment->file_size)
		size = segment->file_size;
	return map->os->methods->map(file, 0, (size_t)size, map->bytes + at,
	                             false, err);
}
