/*
 * store_damage_test.c - what holds in every checksum and still cannot be: each is
 * told by name, before anything is written, and in no time.
 *
 * Checksums guard against accidents. These images (test/support/image.h) are what a
 * fuzzer or an attacker makes of a database: a number is changed, then all checksums
 * above it are made true.
 */
#include "test/harness.h"

#include "base/bytes.h"
#include "test/support/image.h"
#include "test/support/image_seed.h"
#include "test/support/store_model.h"
#include "vfs/meta_format.h"
#include "vfs/record_format.h"
#include "vfs/store_private.h"
#include "wal/wal_format.h"

enum { SMALL = 4 /* the file of 4 KB pages in IMAGE_SEED_LOG */,
       DEEP = 3 /* the one with two levels in IMAGE_SEED_DEEP */ };

static void image_copy(struct image *image, enum image_seed_kind kind)
{
	static uint8_t bytes[1 << 20];
	size_t size = image_store(image_seed(kind), bytes, sizeof bytes);

	if (!size || !image_load(image, bytes, size))
		abort();
}

static uint8_t *meta_of(struct image *image)
{
	return image_file_find(image, "app/turdb.meta")->bytes;
}

/* The superblock that counts. */
static uint8_t *super_of(struct image *image)
{
	uint8_t *meta = meta_of(image);
	uint8_t *second = meta + PLACE_SIZE;

	return load_le64(meta + SUPER_SEQUENCE_AT) >
	       load_le64(second + SUPER_SEQUENCE_AT) ? meta : second;
}

/* The catalog of a small database is one page. */
static uint8_t *entry_of(struct image *image, uint32_t file_id)
{
	uint8_t *super = super_of(image);
	uint8_t *meta = meta_of(image);
	uint32_t place = load_le32(super + SUPER_CATALOG_AT + REF_PLACE_AT);

	if (load_le32(super + SUPER_DEPTH_AT)) /* its root's first entry */
		place = load_le32(meta + place * PLACE_SIZE + MAP_HEAD_SIZE +
		                  REF_PLACE_AT);
	return meta + place * PLACE_SIZE + CATALOG_PAGE_HEAD +
	       file_id * CATALOG_ENTRY_SIZE;
}

static int open_and_check(struct sim_disk *disk, bool *opened, struct err *err)
{
	struct actor actor;
	struct err ignored;
	int rc = actor_start(&actor, disk, 0, err);

	*opened = rc == ERR_NONE;
	if (rc)
		return rc;
	rc = store_view_begin(actor.view, err);
	if (!rc)
		rc = store_check(actor.view, 1, NULL, NULL, err);
	store_view_end(actor.view);
	actor_end(&actor, &ignored);
	return rc;
}

/* Mends the image, opens it, and wants these words. Frees it. */
static void expect_told(struct test *t, struct image *image, const char *words)
{
	struct sim_disk *disk;
	bool opened, same;

	image_mend(image, NULL, NULL);
	disk = image_disk(image);
	EXPECT_ERR(t, open_and_check(disk, &opened, &t->err), ERR_CORRUPT, words);
	same = image_same(image, disk);
	sim_disk_close(disk);
	image_free(image);
	EXPECT(t, opened || same);
}

static void a_superblock_without_a_catalog_is_no_empty_database(struct test *t)
{
	struct image image;

	image_copy(&image, IMAGE_SEED_DEEP);
	memset(super_of(&image) + SUPER_CATALOG_AT, 0, REF_SIZE);
	expect_told(t, &image, "turdb.meta");
}

static void a_superblock_with_impossible_numbers_does_not_count(struct test *t)
{
	static const struct {
		uint32_t at;
		bool wide;
		uint64_t value;
	} impossible[] = {
		{ SUPER_TXID_AT, true, 0 },
		{ SUPER_SEQUENCE_AT, true, UINT64_MAX },
		{ SUPER_LSN_AT, true, 3073 },
		{ SUPER_LSN_AT, true, UINT64_MAX - 7 },
		{ SUPER_SEGMENT_AT, false, 1 },
		{ SUPER_SEGMENT_AT, false, UINT32_MAX },
		{ SUPER_DEPTH_AT, false, MAP_DEPTH_MAX + 1 },
		{ SUPER_PAGE_SIZE_AT, false, 4096 },
	};

	for (size_t n = 0; n < sizeof impossible / sizeof impossible[0]; n++) {
		struct image image;

		image_copy(&image, IMAGE_SEED_DEEP);
		for (uint32_t i = 0; i < META_SUPERBLOCKS; i++) {
			uint8_t *at = meta_of(&image) + i * PLACE_SIZE +
			              impossible[n].at;

			if (impossible[n].wide)
				store_le64(at, impossible[n].value);
			else
				store_le32(at, (uint32_t)impossible[n].value);
		}
		expect_told(t, &image, "turdb.meta has no valid superblock");
	}
}

static void the_next_file_id_is_no_number_of_entries_to_read(struct test *t)
{
	struct image image;
	struct sim_disk *disk;
	bool opened;

	image_copy(&image, IMAGE_SEED_DEEP);
	store_le32(entry_of(&image, 0) + CATALOG_PAGE_COUNT_AT, UINT32_MAX);
	image_mend(&image, NULL, NULL);
	disk = image_disk(&image);
	EXPECT_OK(t, open_and_check(disk, &opened, &t->err));
	sim_disk_close(disk);
	image_free(&image);
	image_copy(&image, IMAGE_SEED_DEEP);
	store_le32(entry_of(&image, 0) + CATALOG_PAGE_COUNT_AT, 5);
	expect_told(t, &image, "there is file 5");
	image_copy(&image, IMAGE_SEED_DEEP);
	store_le32(entry_of(&image, 0) + CATALOG_PAGE_COUNT_AT, 0);
	expect_told(t, &image, "the next file would be file 0");
}

/* 4,294,967,295 links would take a minute to follow. */
static void a_count_of_free_pages_is_compared_before_it_is_believed(struct test *t)
{
	struct image image;

	image_copy(&image, IMAGE_SEED_DEEP);
	store_le32(entry_of(&image, DEEP) + CATALOG_FREE_COUNT_AT, UINT32_MAX);
	expect_told(t, &image, "counts other free pages");
}

static void pages_beyond_the_number_of_pages_are_told(struct test *t)
{
	struct image image;

	image_copy(&image, IMAGE_SEED_DEEP);
	store_le32(entry_of(&image, DEEP) + CATALOG_PAGE_COUNT_AT, 190);
	expect_told(t, &image, "beyond the number of pages");
}

/* Each level's 170 entries lead to the same map page below: 170^5 pages, and a walk
 * of years. */
static void a_page_table_that_shares_its_map_pages_is_told(struct test *t)
{
	struct image image;
	struct image_file *file;
	uint8_t *entry;
	uint32_t unit;

	image_copy(&image, IMAGE_SEED_DEEP);
	entry = entry_of(&image, DEEP);
	file = image_file_find(&image, "app/root/3-seed.tbd");
	EXPECT(t, file && load_le32(entry + CATALOG_DEPTH_AT) == 2);
	unit = file->size / PLACE_SIZE;
	for (uint32_t level = 3; level <= 4; level++) {
		uint8_t *map = file->bytes + --unit * PLACE_SIZE;

		EXPECT(t, load_le64(map) == 0);
		store_le32(map + MAP_MAGIC_AT, MAP_MAGIC);
		store_le32(map + MAP_LEVEL_AT, level);
		for (uint32_t i = 0; i < MAP_ENTRIES; i++)
			memcpy(map + MAP_HEAD_SIZE + i * REF_SIZE,
			       entry + CATALOG_ROOT_AT, REF_SIZE);
		store_le32(entry + CATALOG_ROOT_AT + REF_PLACE_AT, unit);
		store_le32(entry + CATALOG_DEPTH_AT, level);
	}
	expect_told(t, &image, "3-seed.tbd");
}

/* --- records -------------------------------------------------------------------------- */

/* Gives the last record of the log these items. */
static void record_put(struct image *image, uint32_t count, const uint8_t *items,
                       size_t size)
{
	struct image_map map = { NULL, 0, 0 };
	uint8_t *last = NULL;

	image_mend(image, &map, NULL);
	for (size_t i = 0; i < map.count; i++) {
		const struct image_region *region = &map.regions[i];
		uint8_t *record = image->files[region->file].bytes + region->at;

		if (region->part == IMAGE_RECORD &&
		    region->size == WAL_RECORD_HEADER_SIZE &&
		    load_le32(record + WAL_RECORD_MAGIC_AT) == WAL_RECORD_MAGIC &&
		    (!last || load_le64(record + WAL_RECORD_LSN_AT) >
		              load_le64(last + WAL_RECORD_LSN_AT)))
			last = record;
	}
	image_map_free(&map);
	if (!last)
		abort();
	store_le32(last + WAL_RECORD_PAYLOAD_SIZE_AT,
	           (uint32_t)(RECORD_HEAD_SIZE + size));
	last += WAL_RECORD_HEADER_SIZE;
	store_le32(last + RECORD_ITEMS_AT, count);
	memset(last + RECORD_HEAD_SIZE, 0, size + 8);
	memcpy(last + RECORD_HEAD_SIZE, items, size);
}

static void expect_record_told(struct test *t, const uint8_t *item, size_t size,
                               const char *words)
{
	struct image image;

	image_copy(&image, IMAGE_SEED_LOG);
	record_put(&image, 1, item, size);
	expect_told(t, &image, words);
}

enum { FRESH_SIZE = 13, PLACED_SIZE = 12 };

/* Of one page of the small file; the checksums are made true. */
static void item_put(uint8_t *at, uint8_t kind, uint8_t page_no, uint8_t place)
{
	memset(at, 0, FRESH_SIZE);
	at[0] = kind;
	at[1] = SMALL;
	at[2] = page_no;
	at[3] = place;
}

/* Pages of 16 KB would be read where 4 KB lie. */
static void a_record_cannot_change_what_a_file_is(struct test *t)
{
	static const uint8_t larger[] = { RECORD_ENTRY, SMALL, 1,
		CATALOG_PAGE_SIZE_AT, 4 * 2, 0, 0x40, 0, 0 };
	static const uint8_t other[] = { RECORD_ENTRY, SMALL, 1,
		CATALOG_HINT_AT, 1 * 2, 'x' };

	expect_record_told(t, larger, sizeof larger, "a file becomes another");
	expect_record_told(t, other, sizeof other, "a file becomes another");
}

/* (vfs/replay R2) */
static void a_record_cannot_write_over_what_the_checkpoint_reaches(struct test *t)
{
	struct image image;
	uint8_t item[14] = { RECORD_FRESH, SMALL, 1 };

	image_copy(&image, IMAGE_SEED_LOG);
	item[3] = (uint8_t)load_le32(entry_of(&image, SMALL) + CATALOG_ROOT_AT +
	                             REF_PLACE_AT);
	image_free(&image);
	expect_record_told(t, item, 13, "where the last checkpoint has");
}

/* The place of a page that was synced before its record belongs to that page: a replay
 * of another record would write over it, or already has. (vfs/replay R4, rule 2) */
static void a_record_cannot_share_the_place_of_a_synced_page(struct test *t)
{
	for (int placed_first = 0; placed_first < 2; placed_first++) {
		uint8_t items[FRESH_SIZE + PLACED_SIZE + 1], place;
		struct image image;

		image_copy(&image, IMAGE_SEED_LOG);
		place = (uint8_t)load_le32(entry_of(&image, SMALL) +
		                           CATALOG_ROOT_AT + REF_PLACE_AT);
		if (placed_first) {
			item_put(items, RECORD_PLACED, 1, place);
			item_put(items + PLACED_SIZE, RECORD_FRESH, 1, place);
		} else {
			item_put(items, RECORD_FRESH, 1, place);
			item_put(items + FRESH_SIZE, RECORD_PLACED, 1, place);
		}
		record_put(&image, 2, items, FRESH_SIZE + PLACED_SIZE);
		expect_told(t, &image,
		            "a synced page shares its place with an older record's");
		if (t->failed)
			return;
	}
}

/* (vfs/replay R3, vfs/replay_pages W2) */
static void a_record_cannot_put_two_pages_at_one_place(struct test *t)
{
	uint8_t items[2 * FRESH_SIZE];
	struct image image;

	item_put(items, RECORD_FRESH, 1, 60);
	item_put(items + FRESH_SIZE, RECORD_FRESH, 2, 60);
	image_copy(&image, IMAGE_SEED_LOG);
	record_put(&image, 2, items, sizeof items);
	expect_told(t, &image, "two pages at one place");
}

/* Such a record is whole, and so is all that it builds on: only the page that comes of
 * it is not the one that was committed. (vfs/replay_pages W1) */
static void a_record_whose_changes_make_another_page_is_told(struct test *t)
{
	uint8_t payload[RECORD_HEAD_SIZE + FRESH_SIZE] = { 0 };
	struct span span = span_of(payload, sizeof payload);
	struct sim_disk *disk;
	struct image image;
	struct actor actor;
	bool opened;
	uint64_t end;

	image_copy(&image, IMAGE_SEED_LOG);
	disk = image_disk(&image);
	image_free(&image);
	EXPECT_OK(t, actor_start(&actor, disk, 0, &t->err));
	EXPECT_OK(t, store_view_begin(actor.view, &t->err));
	EXPECT_OK(t, store_view_write(actor.view, 0, &t->err));
	store_le32(payload + RECORD_MAGIC_AT, RECORD_MAGIC);
	store_le32(payload + RECORD_VERSION_AT, RECORD_VERSION);
	store_le64(payload + RECORD_TXID_AT, store_view_txid(actor.view) + 1);
	store_le32(payload + RECORD_ITEMS_AT, 1);
	item_put(payload + RECORD_HEAD_SIZE, RECORD_FRESH, 1, 60);
	EXPECT_OK(t, wal_append(actor.store->wal, &span, 1, &end, &t->err));
	actor_die(&actor);
	EXPECT_ERR(t, open_and_check(disk, &opened, &t->err), ERR_CORRUPT,
	           "the changed page has another checksum");
	sim_disk_close(disk);
}

/* Places of turdb.meta are its superblocks. */
static void a_record_cannot_write_pages_of_the_catalog(struct test *t)
{
	static const uint8_t item[13] = { RECORD_FRESH, 0, 0, 1 };

	expect_record_told(t, item, sizeof item, "a page of a file that is not there");
}

static void a_record_whose_items_end_early_is_told(struct test *t)
{
	static const uint8_t item[] = { RECORD_DIFF, SMALL, 1 };
	static const uint8_t unknown[] = { 99, 1 };

	expect_record_told(t, item, sizeof item, "read log record wal");
	expect_record_told(t, unknown, sizeof unknown, "an unknown item");
}

static const struct test_case cases[] = {
	CASE(a_superblock_without_a_catalog_is_no_empty_database),
	CASE(a_superblock_with_impossible_numbers_does_not_count),
	CASE(the_next_file_id_is_no_number_of_entries_to_read),
	CASE(a_count_of_free_pages_is_compared_before_it_is_believed),
	CASE(pages_beyond_the_number_of_pages_are_told),
	CASE(a_page_table_that_shares_its_map_pages_is_told),
	CASE(a_record_cannot_change_what_a_file_is),
	CASE(a_record_cannot_write_over_what_the_checkpoint_reaches),
	CASE(a_record_cannot_share_the_place_of_a_synced_page),
	CASE(a_record_cannot_put_two_pages_at_one_place),
	CASE(a_record_whose_changes_make_another_page_is_told),
	CASE(a_record_cannot_write_pages_of_the_catalog),
	CASE(a_record_whose_items_end_early_is_told),
};
TEST_MAIN(cases)
