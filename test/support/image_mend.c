/*
 * image_mend.c - walks an image as a reader would and makes its checksums true.
 *
 * From below to above: pages, map pages, catalog pages, superblocks; then the log
 * from the superblock's position on, whose records carry checksums of the pages they
 * make: those are made here in memory, as a replay would. What cannot be followed
 * (a place outside the file, a depth no table has) is left as it is.
 */
#include "test/support/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "vfs/record_format.h"
#include "vfs/store_private.h"
#include "wal/wal_format.h"

enum { PAGES_MAX = 512, SEGMENTS_MAX = 16, LEAVE_EVERY = 24, KINDS_MAX = 64 };

/* A page as the records replayed so far have made it. */
struct made_page {
	uint32_t file_id, page_no;
	uint8_t *bytes;
};

struct mending {
	struct image *image;
	struct image_map *map;
	uint64_t *random;
	uint8_t *seen;         /* units of all files that were walked          */
	uint32_t seen_base[IMAGE_FILES_MAX];
	uint8_t *super;        /* the newer copy                                */
	struct made_page made[PAGES_MAX];
	uint32_t made_count;
	uint32_t page_sizes[KINDS_MAX]; /* of files with small ids              */
};

/* A file whose page table is walked. */
struct walked {
	struct image_file *file; /* NULL: not in the image */
	uint32_t index, file_id, page_size;
	bool catalog;
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Whether numbers that are compared before any checksum are put right, too: mostly,
 * so that mutations of them are seen as well. */
static bool mends(struct mending *mending)
{
	return mending->random && next_random(mending->random) % LEAVE_EVERY;
}

static void note(struct mending *mending, enum image_part part, uint32_t index,
                 uint32_t at, uint32_t size)
{
	struct image_map *map = mending->map;

	if (!map || size == 0)
		return;
	if (map->count == map->room) {
		map->room = map->room ? 2 * map->room : 256;
		map->regions = realloc(map->regions,
		                       map->room * sizeof *map->regions);
		if (!map->regions)
			abort();
	}
	map->regions[map->count++] = (struct image_region){ part, index, at,
	                                                    size };
}

void image_map_free(struct image_map *map)
{
	free(map->regions);
	*map = (struct image_map){ 0 };
}

static bool first_visit(struct mending *mending, uint32_t index, uint32_t place)
{
	uint8_t *seen = &mending->seen[mending->seen_base[index] + place];
	bool first = !*seen;

	*seen = 1;
	return first;
}

static uint32_t index_of(const struct mending *mending,
                         const struct image_file *file)
{
	return (uint32_t)(file - mending->image->files);
}

/* --- tables ------------------------------------------------------------------------ */

static void walk_catalog_page(struct mending *mending, const struct walked *own,
                              uint32_t offset);

static void walk_image(struct mending *mending, const struct walked *walked,
                       uint32_t offset, uint64_t page_no)
{
	uint8_t *page = walked->file->bytes + offset;

	if (walked->catalog) {
		if (mends(mending)) {
			store_le32(page + CATALOG_PAGE_MAGIC_AT,
			           CATALOG_PAGE_MAGIC);
			store_le32(page + CATALOG_PAGE_NO_AT,
			           (uint32_t)page_no);
		}
		walk_catalog_page(mending, walked, offset);
		return;
	}
	if (walked->file_id != STORE_SQLITE_FILE_ID && mends(mending)) {
		store_le32(page + PAGE_FILE_ID_AT, walked->file_id);
		store_le32(page + PAGE_NO_AT, (uint32_t)page_no);
	}
	note(mending, IMAGE_PAGE, walked->index, offset, walked->page_size);
}

static void walk_ref(struct mending *mending, const struct walked *walked,
                     uint8_t *at, uint32_t level, uint64_t index);

static void walk_map(struct mending *mending, const struct walked *walked,
                     uint32_t offset, uint32_t level, uint64_t index)
{
	uint8_t *map = walked->file->bytes + offset;

	note(mending, IMAGE_MAP, walked->index, offset, MAP_HEAD_SIZE);
	if (mends(mending)) {
		store_le32(map + MAP_MAGIC_AT, MAP_MAGIC);
		store_le32(map + MAP_LEVEL_AT, level);
	}
	for (uint32_t slot = 0; slot < MAP_ENTRIES; slot++) {
		uint32_t entry = MAP_HEAD_SIZE + slot * REF_SIZE;
		struct page_ref ref;

		page_ref_load(map + entry, &ref);
		if (ref.place || ref.length || ref.flags || ref.birth || slot < 2)
			note(mending, IMAGE_MAP, walked->index, offset + entry,
			     REF_SIZE);
		walk_ref(mending, walked, map + entry, level - 1,
		         index * MAP_ENTRIES + slot);
	}
}

static void walk_ref(struct mending *mending, const struct walked *walked,
                     uint8_t *at, uint32_t level, uint64_t index)
{
	uint32_t size = level ? (uint32_t)PLACE_SIZE : walked->page_size;
	uint64_t tag = level ? MAP_TAG(level, index) : index;
	struct page_ref ref;
	uint64_t offset;

	page_ref_load(at, &ref);
	offset = (uint64_t)ref.place * PLACE_SIZE;
	if (ref.length == 0 || ref.place == 0 ||
	    offset + size > walked->file->size)
		return;
	if (first_visit(mending, walked->index, ref.place)) {
		if (level)
			walk_map(mending, walked, (uint32_t)offset, level, index);
		else
			walk_image(mending, walked, (uint32_t)offset, index);
	}
	ref.checksum = page_file_checksum(walked->file_id, tag, ref.birth,
	                                  walked->file->bytes + offset, size);
	store_le64(at + REF_CHECKSUM_AT, ref.checksum);
}

static void walk_table(struct mending *mending, const struct walked *walked,
                       uint8_t *root, uint32_t depth)
{
	if (depth <= MAP_DEPTH_MAX)
		walk_ref(mending, walked, root, depth, 0);
}

/* --- the catalog and its files ------------------------------------------------------- */

static void mend_header(struct mending *mending, const struct walked *walked,
                        const uint8_t *entry)
{
	uint8_t *header = walked->file->bytes;

	if (walked->file->size < FILE_HEADER_SIZE)
		return;
	note(mending, IMAGE_HEADER, walked->index, 0, FILE_HEADER_SIZE);
	if (mends(mending)) {
		store_le64(header + FILE_MAGIC_AT, FILE_MAGIC);
		store_le32(header + FILE_VERSION_AT, FILE_VERSION);
		store_le32(header + FILE_ID_AT, walked->file_id);
		store_le32(header + FILE_PAGE_SIZE_AT, walked->page_size);
		store_le32(header + FILE_KIND_AT, entry[CATALOG_KIND_AT]);
		memcpy(header + FILE_BIRTH_AT, entry + CATALOG_BIRTH_AT, 8);
		if (mending->super)
			memcpy(header + FILE_DATABASE_AT,
			       mending->super + SUPER_DATABASE_AT, 16);
		store_le64(header + FILE_ZERO_AT, 0);
	}
	store_le64(header + FILE_CHECKSUM_AT,
	           checksum64(header, FILE_CHECKSUM_AT, FILE_MAGIC));
}

static bool walked_of_entry(struct mending *mending, const uint8_t *bytes,
                            struct walked *walked)
{
	struct catalog_entry entry;
	char name[96], path[IMAGE_PATH_SIZE];

	memcpy(entry.bytes, bytes, CATALOG_ENTRY_SIZE);
	*walked = (struct walked){
		.file_id = load_le32(bytes + CATALOG_ID_AT),
		.page_size = load_le32(bytes + CATALOG_PAGE_SIZE_AT),
	};
	if (walked->page_size != PLACE_SIZE &&
	    walked->page_size != STORE_PAGE_SIZE)
		return false;
	store_entry_name(&entry, name);
	snprintf(path, sizeof path, "app/%s", name);
	walked->file = image_file_find(mending->image, path);
	if (!walked->file)
		return false;
	walked->index = index_of(mending, walked->file);
	return true;
}

static void walk_catalog_page(struct mending *mending, const struct walked *own,
                              uint32_t offset)
{
	note(mending, IMAGE_CATALOG, own->index, offset, CATALOG_PAGE_HEAD);
	for (uint32_t i = 0; i < CATALOG_PAGE_ENTRIES; i++) {
		uint32_t at = offset + CATALOG_PAGE_HEAD + i * CATALOG_ENTRY_SIZE;
		uint8_t *entry = own->file->bytes + at;
		struct walked walked;

		if (load_le32(entry + CATALOG_PAGE_SIZE_AT) == 0)
			continue;
		note(mending, IMAGE_CATALOG, own->index, at,
		     CATALOG_DEPTH_AT + 4);
		note(mending, IMAGE_CATALOG, own->index, at + CATALOG_STATE_AT,
		     PAGER_STATE_SIZE);
		if (load_le32(entry + CATALOG_ID_AT) == STORE_CATALOG_FILE_ID ||
		    !walked_of_entry(mending, entry, &walked))
			continue;
		mend_header(mending, &walked, entry);
		walk_table(mending, &walked, entry + CATALOG_ROOT_AT,
		           load_le32(entry + CATALOG_DEPTH_AT));
		if (walked.file_id < KINDS_MAX)
			mending->page_sizes[walked.file_id] = walked.page_size;
	}
}

static void mend_superblocks(struct mending *mending)
{
	struct image_file *meta = image_file_find(mending->image,
	                                          "app/turdb.meta");
	uint64_t newest = 0;

	if (!meta || meta->size < META_SUPERBLOCKS * PLACE_SIZE)
		return;
	for (uint32_t i = 0; i < META_SUPERBLOCKS; i++) {
		uint8_t *super = meta->bytes + i * PLACE_SIZE;
		uint64_t sequence = load_le64(super + SUPER_SEQUENCE_AT);

		note(mending, IMAGE_SUPERBLOCK, index_of(mending, meta),
		     i * PLACE_SIZE, SUPER_ZERO_AT);
		if (load_le64(super + SUPER_MAGIC_AT) == SUPER_MAGIC &&
		    (!mending->super || sequence > newest)) {
			mending->super = super;
			newest = sequence;
		}
	}
	if (mending->super) {
		struct walked catalog = {
			.file = meta, .index = index_of(mending, meta),
			.page_size = PLACE_SIZE, .catalog = true,
		};

		walk_table(mending, &catalog,
		           mending->super + SUPER_CATALOG_AT,
		           load_le32(mending->super + SUPER_DEPTH_AT));
	}
	for (uint32_t i = 0; i < META_SUPERBLOCKS; i++) {
		uint8_t *super = meta->bytes + i * PLACE_SIZE;

		if (super != mending->super && !mends(mending))
			continue; /* one copy is left torn */
		store_le64(super + SUPER_CHECKSUM_AT,
		           checksum64(super, SUPER_CHECKSUM_AT, SUPER_MAGIC));
	}
}

/* --- pages that records make ----------------------------------------------------------- */

static uint8_t *made_find(struct mending *mending, uint32_t file_id,
                          uint32_t page_no)
{
	for (uint32_t i = 0; i < mending->made_count; i++)
		if (mending->made[i].file_id == file_id &&
		    mending->made[i].page_no == page_no)
			return mending->made[i].bytes;
	return NULL;
}

static uint8_t *made_add(struct mending *mending, uint32_t file_id,
                         uint32_t page_no)
{
	struct made_page *made = &mending->made[mending->made_count];

	if (mending->made_count == PAGES_MAX)
		return NULL;
	*made = (struct made_page){ file_id, page_no,
		                    calloc(1, STORE_PAGE_SIZE) };
	if (!made->bytes)
		abort();
	mending->made_count++;
	return made->bytes;
}

/* Down a table by arithmetic, without checking. */
static const uint8_t *table_page(const struct image_file *file,
                                 const uint8_t *root, uint32_t depth,
                                 uint32_t page_size, uint32_t page_no)
{
	struct page_ref ref;
	uint64_t span = 1;

	page_ref_load(root, &ref);
	if (depth > MAP_DEPTH_MAX)
		return NULL;
	for (uint32_t i = 0; i < depth; i++)
		span *= MAP_ENTRIES;
	if (page_no >= span)
		return NULL;
	for (; depth; depth--) {
		span /= MAP_ENTRIES;
		if (ref.length == 0 || ((uint64_t)ref.place + 1) * PLACE_SIZE >
		                       file->size)
			return NULL;
		page_ref_load(file->bytes + (uint64_t)ref.place * PLACE_SIZE +
		              MAP_HEAD_SIZE +
		              page_no / span % MAP_ENTRIES * REF_SIZE, &ref);
	}
	if (ref.length == 0 ||
	    (uint64_t)ref.place * PLACE_SIZE + page_size > file->size)
		return NULL;
	return file->bytes + (uint64_t)ref.place * PLACE_SIZE;
}

static const uint8_t *base_entry(struct mending *mending, uint32_t file_id)
{
	struct image_file *meta = image_file_find(mending->image,
	                                          "app/turdb.meta");
	const uint8_t *page;

	if (!meta || !mending->super)
		return NULL;
	page = table_page(meta, mending->super + SUPER_CATALOG_AT,
	                  load_le32(mending->super + SUPER_DEPTH_AT), PLACE_SIZE,
	                  file_id / CATALOG_PAGE_ENTRIES);
	return page ? page + CATALOG_PAGE_HEAD +
	              file_id % CATALOG_PAGE_ENTRIES * CATALOG_ENTRY_SIZE
	            : NULL;
}

static const uint8_t *base_page(struct mending *mending, uint32_t file_id,
                                uint32_t page_no)
{
	const uint8_t *entry = base_entry(mending, file_id);
	struct walked walked;

	if (!entry || !walked_of_entry(mending, entry, &walked))
		return NULL;
	return table_page(walked.file, entry + CATALOG_ROOT_AT,
	                  load_le32(entry + CATALOG_DEPTH_AT),
	                  walked.page_size, page_no);
}

/* New files say their page size in the record. */
static void note_entry(struct mending *mending, const struct record_item *item)
{
	const uint8_t *base = base_entry(mending, item->file_id);
	uint8_t entry[CATALOG_ENTRY_SIZE] = { 0 }, before[CATALOG_ENTRY_SIZE];
	uint32_t page_size;

	if (base)
		memcpy(entry, base, sizeof entry);
	memcpy(before, entry, sizeof entry);
	if (item->file_id >= KINDS_MAX ||
	    store_ranges_apply(item->ranges, before, entry, CATALOG_ENTRY_LOGGED,
	                       NULL))
		return;
	page_size = load_le32(entry + CATALOG_PAGE_SIZE_AT);
	if (page_size == PLACE_SIZE || page_size == STORE_PAGE_SIZE)
		mending->page_sizes[item->file_id] = page_size;
}

/* What replay.c does with DIFF and FRESH; the checksum is set in the payload. */
static void mend_item(struct mending *mending, const struct record_item *item,
                      uint64_t txid)
{
	uint32_t page_size = item->file_id < KINDS_MAX
	                     ? mending->page_sizes[item->file_id] : 0;
	uint8_t *page = made_find(mending, item->file_id, item->page_no);
	uint8_t before[STORE_PAGE_SIZE];
	const uint8_t *base = NULL;

	if (page_size == 0)
		return;
	if (!page) {
		page = made_add(mending, item->file_id, item->page_no);
		if (item->kind == RECORD_DIFF)
			base = base_page(mending, item->file_id, item->page_no);
	}
	if (!page)
		return;
	if (base)
		memcpy(page, base, page_size);
	if (item->kind == RECORD_FRESH)
		memset(page, 0, page_size);
	memcpy(before, page, page_size);
	store_ranges_apply(item->ranges, before, page, page_size, NULL);
	/* The checksum lies right before the ranges. */
	store_le64((uint8_t *)(uintptr_t)item->ranges.data - 8,
	           page_file_checksum(item->file_id, item->page_no, txid, page,
	                              page_size));
}

static struct image_file *file_of_id(struct mending *mending, uint32_t file_id)
{
	char start[32];

	snprintf(start, sizeof start, "app/root/%u-", file_id);
	for (uint32_t i = 0; i < mending->image->count; i++)
		if (strncmp(mending->image->files[i].path, start,
		            strlen(start)) == 0)
			return &mending->image->files[i];
	return file_id == STORE_SQLITE_FILE_ID
	       ? image_file_find(mending->image, "app/root/sqlite.tbd") : NULL;
}

/* The page is in its file; its checksum ends the item. */
static void mend_placed(struct mending *mending, const struct record_item *item,
                        uint8_t *item_end, uint64_t txid)
{
	uint32_t page_size = item->file_id < KINDS_MAX
	                     ? mending->page_sizes[item->file_id] : 0;
	const struct image_file *file = file_of_id(mending, item->file_id);
	uint64_t offset = (uint64_t)item->place * PLACE_SIZE;
	uint8_t *page = made_find(mending, item->file_id, item->page_no);

	if (!page_size || !file || offset + page_size > file->size)
		return;
	if (!page)
		page = made_add(mending, item->file_id, item->page_no);
	if (page)
		memcpy(page, file->bytes + offset, page_size);
	store_le64(item_end - 8,
	           page_file_checksum(item->file_id, item->page_no, txid,
	                              file->bytes + offset, page_size));
}

static void mend_payload(struct mending *mending, uint8_t *bytes, size_t size,
                         uint64_t *txid)
{
	struct span payload = span_of(bytes, size);
	struct record_item item;
	size_t at = RECORD_HEAD_SIZE;
	uint64_t found;
	uint32_t items;

	if (size < RECORD_HEAD_SIZE)
		return;
	if (mends(mending)) {
		store_le32(bytes + RECORD_MAGIC_AT, RECORD_MAGIC);
		store_le32(bytes + RECORD_VERSION_AT, RECORD_VERSION);
		store_le64(bytes + RECORD_TXID_AT, *txid + 1);
	}
	if (store_record_head(payload, &found, &items, NULL))
		return;
	*txid = found;
	for (; items && !store_record_next(payload, &at, &item, NULL); items--) {
		if (item.kind == RECORD_ENTRY)
			note_entry(mending, &item);
		if (item.kind == RECORD_DIFF || item.kind == RECORD_FRESH)
			mend_item(mending, &item, found);
		if (item.kind == RECORD_PLACED)
			mend_placed(mending, &item, bytes + at, found);
	}
}

/* --- the log ----------------------------------------------------------------------- */

struct line {
	uint64_t previous, txid, from;
	bool reached; /* the position where the replay begins */
};

static void mend_segment_header(struct mending *mending,
                                struct image_file *file, uint32_t no)
{
	uint8_t *header = file->bytes;

	note(mending, IMAGE_SEGMENT, index_of(mending, file), 0,
	     WAL_SEGMENT_CHECKSUM_AT);
	if (mends(mending)) {
		store_le32(header + WAL_SEGMENT_MAGIC_AT, WAL_SEGMENT_MAGIC);
		store_le32(header + WAL_SEGMENT_VERSION_AT,
		           WAL_SEGMENT_VERSION);
		store_le32(header + WAL_SEGMENT_NUMBER_AT, no);
		if (mending->super)
			memcpy(header + WAL_SEGMENT_DATABASE_AT,
			       mending->super + SUPER_DATABASE_AT, 8);
	}
	if (mends(mending))
		store_le64(header + WAL_SEGMENT_SIZE_AT, file->size);
	store_le64(header + WAL_SEGMENT_CHECKSUM_AT,
	           checksum64(header, WAL_SEGMENT_CHECKSUM_AT, 0));
	if (mends(mending))
		memcpy(header + WAL_SEGMENT_COPY_AT, header,
		       WAL_SEGMENT_HEADER_SIZE);
}

static uint64_t size_of_record(uint32_t payload)
{
	return (WAL_RECORD_HEADER_SIZE + (uint64_t)payload +
	        WAL_RECORD_ALIGNMENT - 1) / WAL_RECORD_ALIGNMENT *
	       WAL_RECORD_ALIGNMENT;
}

/* Returns the record's size, 0 where none begins. */
static uint64_t mend_record(struct mending *mending, struct image_file *file,
                            uint64_t at, uint64_t lsn, struct line *line)
{
	uint8_t *record = file->bytes + at;
	uint32_t payload, magic, index = index_of(mending, file);
	uint64_t size, salt = load_le64(file->bytes + WAL_SEGMENT_SALT_AT);

	if (at + WAL_RECORD_HEADER_SIZE > file->size)
		return 0;
	magic = load_le32(record + WAL_RECORD_MAGIC_AT);
	payload = load_le32(record + WAL_RECORD_PAYLOAD_SIZE_AT);
	size = size_of_record(payload);
	if ((magic != WAL_RECORD_MAGIC && magic != WAL_RECORD_LAST) ||
	    payload > WAL_RECORD_PAYLOAD_MAX || size > file->size - at)
		return 0;
	note(mending, IMAGE_RECORD, index, (uint32_t)at, WAL_RECORD_HEADER_SIZE);
	note(mending, IMAGE_RECORD, index,
	     (uint32_t)at + WAL_RECORD_HEADER_SIZE, payload);
	note(mending, IMAGE_RECORD, index,
	     (uint32_t)at + WAL_RECORD_HEADER_SIZE,
	     payload < 64 ? payload : 64);
	line->reached |= lsn == line->from;
	if (line->reached && magic == WAL_RECORD_MAGIC)
		mend_payload(mending, record + WAL_RECORD_HEADER_SIZE, payload,
		             &line->txid);
	if (mends(mending))
		store_le64(record + WAL_RECORD_LSN_AT, lsn);
	if (!mending->random || mends(mending))
		store_le64(record + WAL_RECORD_PREVIOUS_AT, line->previous);
	line->previous = checksum64(record + WAL_RECORD_MAGIC_AT,
	                            (size_t)size - WAL_RECORD_MAGIC_AT, salt);
	store_le64(record + WAL_RECORD_CHECKSUM_AT, line->previous);
	return size;
}

static void mend_segment(struct mending *mending, struct image_file *file,
                         struct line *line)
{
	uint64_t first = load_le64(file->bytes + WAL_SEGMENT_FIRST_AT);
	uint64_t at = WAL_SEGMENT_AREA_AT, step;

	if (load_le32(file->bytes + WAL_SEGMENT_FLAGS_AT) &
	    WAL_SEGMENT_STARTED) {
		line->previous = load_le64(file->bytes + WAL_SEGMENT_SALT_AT);
		line->reached |= load_le64(file->bytes + WAL_SEGMENT_START_AT) ==
		                 line->from;
	}
	while ((step = mend_record(mending, file, at,
	                           first + (at - WAL_SEGMENT_AREA_AT), line)))
		at += step;
}

static int by_first(const void *left, const void *right)
{
	const struct image_file *a = *(struct image_file *const *)left;
	const struct image_file *b = *(struct image_file *const *)right;
	uint64_t x = load_le64(a->bytes + WAL_SEGMENT_FIRST_AT);
	uint64_t y = load_le64(b->bytes + WAL_SEGMENT_FIRST_AT);

	return x < y ? -1 : x > y;
}

static void mend_log(struct mending *mending)
{
	struct image_file *segments[SEGMENTS_MAX];
	struct line line = { 0 };
	size_t count = 0;

	for (uint32_t i = 0; i < mending->image->count; i++) {
		struct image_file *file = &mending->image->files[i];
		unsigned no;

		if (count == SEGMENTS_MAX ||
		    sscanf(file->path, "app/wal/wal.%u", &no) != 1 ||
		    file->size < WAL_SEGMENT_SIZE_MIN)
			continue;
		mend_segment_header(mending, file, no);
		segments[count++] = file;
	}
	qsort(segments, count, sizeof segments[0], by_first);
	if (mending->super) {
		line.from = load_le64(mending->super + SUPER_LSN_AT);
		line.txid = load_le64(mending->super + SUPER_TXID_AT);
	}
	for (size_t i = 0; i < count; i++)
		mend_segment(mending, segments[i], &line);
	for (uint32_t i = 0; i < mending->made_count; i++)
		free(mending->made[i].bytes);
}

void image_mend(struct image *image, struct image_map *map, uint64_t *random)
{
	struct mending *mending = calloc(1, sizeof *mending);
	uint32_t units = 0;

	if (!mending)
		abort();
	mending->image = image;
	mending->map = map;
	mending->random = random;
	for (uint32_t i = 0; i < image->count; i++) {
		mending->seen_base[i] = units;
		units += image->files[i].size / PLACE_SIZE + 1;
	}
	mending->seen = calloc(1, units + 1);
	if (!mending->seen)
		abort();
	if (map)
		map->count = 0;
	mend_superblocks(mending);
	mend_log(mending);
	free(mending->seen);
	free(mending);
}
