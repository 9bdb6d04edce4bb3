/*
 * record_ranges_test.c - what a log record says of a page is what became of it.
 */
#include <stdlib.h>

#include "test/harness.h"
#include "vfs/record_read.h"

struct bed {
	struct heap heap;
	struct store store;
	struct store_view view;
	uint8_t base[STORE_PAGE_SIZE], now[STORE_PAGE_SIZE];
	uint8_t built[STORE_PAGE_SIZE];
};

static struct bed bed;

static void bed_open(uint64_t seed)
{
	memset(&bed, 0, sizeof bed);
	heap_init(&bed.heap);
	bed.store.heap = &bed.heap;
	bed.view.store = &bed.store;
	for (size_t i = 0; i < STORE_PAGE_SIZE; i++)
		bed.base[i] = (uint8_t)test_random(&seed);
	memcpy(bed.now, bed.base, STORE_PAGE_SIZE);
}

static void bed_close(void)
{
	heap_free(&bed.heap, bed.view.record);
}

/* Encodes base -> now and builds `now` again from it; the bytes it took. */
static int there_and_back(const uint8_t *base, uint32_t size, size_t *bytes,
                          struct err *err)
{
	static uint8_t scratch[STORE_PAGE_SIZE];
	struct record_item item;
	struct span record;
	const uint8_t *end;
	int rc;

	bed.view.record_size = 0;
	rc = store_record_ranges(&bed.view, base, bed.now, size, err);
	if (rc)
		return rc;
	record = span_of(bed.view.record, bed.view.record_size);
	*bytes = record.size;
	end = record_read_ranges(record.data, record.data + record.size, &item);
	if (!end || end != record.data + record.size)
		return err_set(err, ERR_CORRUPT, "skip", "ranges",
		               "they do not end with the record");
	if (item.reach > size)
		return err_set(err, ERR_CORRUPT, "skip", "ranges",
		               "they reach %llu of %u",
		               (unsigned long long)item.reach, size);
	memcpy(bed.built, base ? base : store_zeros, size);
	rc = store_ranges_apply(item.ranges, base ? base : store_zeros,
	                        bed.built, size, err);
	if (!rc && memcmp(bed.built, bed.now, size))
		rc = err_set(err, ERR_CORRUPT, "build", "page", "it differs");
	memcpy(bed.built, base ? base : store_zeros, size);
	if (!rc)
		rc = store_ranges_apply_moving(item.ranges, bed.built, size,
		                               scratch, err);
	if (!rc && memcmp(bed.built, bed.now, size))
		rc = err_set(err, ERR_CORRUPT, "build in its place", "page",
		             "it differs");
	return rc;
}

/* `bytes` new ones at `at`; what follows them up to `end` moves. */
static void insert(uint32_t at, uint32_t bytes, uint32_t end, uint64_t *seed)
{
	memmove(bed.now + at + bytes, bed.now + at, end - at - bytes);
	for (uint32_t i = 0; i < bytes; i++)
		bed.now[at + i] = (uint8_t)test_random(seed);
}

static void an_entry_put_between_others_takes_few_bytes(struct test *t)
{
	static const uint32_t widths[] = { 2, 4, 8 };
	size_t bytes;

	for (size_t i = 0; i < 3; i++) {
		bed_open(t->seed);
		insert(1000, widths[i], 9000, &t->seed);
		EXPECT_OK(t, there_and_back(bed.base, STORE_PAGE_SIZE, &bytes,
		                            &t->err));
		EXPECT(t, bytes <= 40);
		bed_close();
	}
}

static void an_entry_taken_from_between_others_takes_few_bytes(struct test *t)
{
	static const uint32_t widths[] = { 2, 4, 8 };
	size_t bytes;

	for (size_t i = 0; i < 3; i++) {
		bed_open(t->seed);
		memmove(bed.now + 1000, bed.now + 1000 + widths[i], 8000);
		EXPECT_OK(t, there_and_back(bed.base, STORE_PAGE_SIZE, &bytes,
		                            &t->err));
		EXPECT(t, bytes <= 48);
		bed_close();
	}
}

static void a_page_without_a_past_is_built_from_zeros(struct test *t)
{
	size_t bytes;

	bed_open(t->seed);
	memset(bed.now + 500, 0, 15000);
	EXPECT_OK(t, there_and_back(NULL, STORE_PAGE_SIZE, &bytes, &t->err));
	EXPECT(t, bytes < 1500);
	bed_close();
}

static void change_somehow(uint32_t size, uint64_t *seed)
{
	uint32_t at = (uint32_t)(test_random(seed) % size);
	uint32_t rest = size - at;
	uint32_t bytes = 1 + (uint32_t)(test_random(seed) % 40);

	if (bytes >= rest || rest <= 8)
		return;
	switch (test_random(seed) % 5) {
	case 0: /* an entry more */
		insert(at, 1u << test_random(seed) % 4, size, seed);
		break;
	case 1: /* an entry less */
		memmove(bed.now + at, bed.now + at + bytes, rest - bytes);
		break;
	case 2:
		memset(bed.now + at, (int)(test_random(seed) % 3), bytes);
		break;
	case 3: /* something copied from elsewhere */
		memmove(bed.now + at, bed.now + test_random(seed) % (size - bytes),
		        bytes);
		break;
	default:
		for (uint32_t i = 0; i < bytes; i++)
			bed.now[at + i] = (uint8_t)test_random(seed);
	}
}

static void any_change_comes_back(struct test *t)
{
	uint64_t rounds = test_scaled(20000, 1000);

	for (uint64_t round = 0; round < rounds; round++) {
		static const uint32_t sizes[] = { 1, 7, 40, 128, 512, 4096,
		                                  STORE_PAGE_SIZE };
		uint32_t size = sizes[test_random(&t->seed) % 7];
		uint64_t changes = test_random(&t->seed) % 12;
		size_t bytes;

		bed_open(t->seed + round);
		if (test_random(&t->seed) % 4 == 0) /* moves fit everywhere */
			for (uint32_t i = 0; i < size; i++)
				bed.base[i] = bed.now[i] = (uint8_t)(i / 64 % 3);
		while (changes--)
			change_somehow(size, &t->seed);
		EXPECT_OK(t, there_and_back(bed.base, size, &bytes, &t->err));
		bed_close();
	}
}

/* An item of bed.base -> bed.now, in bed.view.record. */
static int encode_item(uint64_t *seed, struct err *err)
{
	static const unsigned bits[] = { 1, 7, 8, 14, 21, 28, 32 };
	struct record_item item = {
		.kind = RECORD_DIFF,
		.file_id = (uint32_t)(test_random(seed) % 130),
		.page_no = (uint32_t)(test_random(seed) >>
		                      (64 - bits[test_random(seed) % 7])),
		.place = (uint32_t)(test_random(seed) >>
		                    (64 - bits[test_random(seed) % 7])),
		.checksum = test_random(seed),
	};
	int rc;

	bed.view.record_size = 0;
	rc = store_record_item(&bed.view, &item, err);
	return rc ? rc : store_record_ranges(&bed.view, bed.base, bed.now,
	                                     STORE_PAGE_SIZE, err);
}

/* What is read the short way is what the long way reads, and makes the same page. */
static void compare_ways(struct test *t, const uint8_t *bytes, size_t size,
                         uint32_t page_size)
{
	struct record_item item = { 0 }, expected = { 0 };
	const uint8_t *next = record_read_usual(bytes, bytes + size, &item);
	const char *fault;

	if (!next)
		return;
	EXPECT(t, next == record_read_item(bytes, bytes + size, &expected,
	                                   &fault));
	EXPECT(t, item.kind == expected.kind && !expected.moves && !item.moves);
	EXPECT_EQ(t, item.file_id, expected.file_id);
	EXPECT_EQ(t, item.page_no, expected.page_no);
	EXPECT_EQ(t, item.place, expected.place);
	EXPECT_EQ(t, item.checksum, expected.checksum);
	EXPECT_EQ(t, item.reach, expected.reach);
	EXPECT(t, item.ranges.data == expected.ranges.data);
	EXPECT_EQ(t, item.ranges.size, expected.ranges.size);
	memcpy(bed.built, bed.base, STORE_PAGE_SIZE);
	memcpy(bed.now, bed.base, STORE_PAGE_SIZE);
	EXPECT(t, record_ranges_put(item.ranges, bed.now, page_size) ==
	                  (item.reach <= page_size));
	if (item.reach > page_size)
		return;
	EXPECT_OK(t, store_ranges_apply(item.ranges, bed.base, bed.built,
	                                page_size, &t->err));
	EXPECT(t, memcmp(bed.now, bed.built, STORE_PAGE_SIZE) == 0);
}

static void the_short_way_of_reading_agrees_with_the_long_one(struct test *t)
{
	uint64_t rounds = test_scaled(20000, 1000);

	for (uint64_t round = 0; round < rounds && !t->failed; round++) {
		uint64_t changes = 1 + test_random(&t->seed) % 4;
		uint8_t *bytes; /* exactly as many as there are */
		size_t size;

		bed_open(t->seed + round);
		while (changes--)
			change_somehow(STORE_PAGE_SIZE, &t->seed);
		EXPECT_OK(t, encode_item(&t->seed, &t->err));
		size = bed.view.record_size;
		if (test_random(&t->seed) % 4 == 0)
			size = test_random(&t->seed) % size;
		bytes = malloc(size + 1);
		memcpy(bytes, bed.view.record, size);
		for (uint64_t n = test_random(&t->seed) % 3; n && size; n--)
			bytes[test_random(&t->seed) % (size < 40 ? size : 40)] ^=
				(uint8_t)(1 << test_random(&t->seed) % 8);
		compare_ways(t, bytes, size, 4096u << test_random(&t->seed) % 3);
		free(bytes);
		bed_close();
	}
}

/* Before a byte of them is saved, which may lie outside of the page. */
static bool moving_is_refused(const uint8_t *ranges, size_t ranges_size,
                              struct err *err)
{
	uint8_t bytes[512], scratch[512];
	int rc;

	memset(bytes, 0xaa, sizeof bytes);
	memset(scratch, 0xee, sizeof scratch);
	rc = store_ranges_apply_moving(span_of(ranges, ranges_size), bytes + 200,
	                               100, scratch, err);
	for (size_t i = 0; i < sizeof scratch; i++)
		if (scratch[i] != 0xee)
			return false;
	return rc == ERR_CORRUPT;
}

static void ranges_that_leave_their_page_are_refused(struct test *t)
{
	static const struct {
		const char *what;
		uint8_t bytes[12];
		size_t size;
	} bad[] = {
		{ "bytes beyond the end", { 1, 98, 3 * 2, 1, 2, 3 }, 6 },
		{ "fewer bytes than stated", { 1, 0, 9 * 2, 1, 2, 3 }, 6 },
		{ "moved from before the beginning", { 1, 4, 8 * 2 + 1, 8 * 2 }, 4 },
		{ "moved from behind the end", { 1, 80, 8 * 2 + 1, 16 * 2 - 1 }, 4 },
		{ "moved to behind the end", { 1, 96, 8 * 2 + 1, 8 * 2 }, 4 },
		{ "more moved than there is", { 1, 0, 0x91, 3, 0 }, 5 },
		{ "a distance of 2^63", { 1, 0, 1 * 2 + 1, 0xff, 0xff, 0xff, 0xff,
		                          0xff, 0xff, 0xff, 0xff }, 12 },
		{ "one range fewer than stated", { 2, 0, 1 * 2, 7 }, 4 },
		{ "nothing", { 0 }, 0 },
	};

	bed_open(t->seed);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int rc = store_ranges_apply(span_of(bad[i].bytes, bad[i].size),
		                            bed.base, bed.built, 100, &t->err);

		if (rc != ERR_CORRUPT) {
			test_fail(t, __FILE__, __LINE__, "%s: %s", bad[i].what,
			          rc ? err_name(rc) : "accepted");
			return;
		}
		if (!moving_is_refused(bad[i].bytes, bad[i].size, &t->err)) {
			test_fail(t, __FILE__, __LINE__, "%s: it is moved",
			          bad[i].what);
			return;
		}
	}
	bed_close();
}

static const struct test_case cases[] = {
	CASE(an_entry_put_between_others_takes_few_bytes),
	CASE(an_entry_taken_from_between_others_takes_few_bytes),
	CASE(a_page_without_a_past_is_built_from_zeros),
	CASE(any_change_comes_back),
	CASE(the_short_way_of_reading_agrees_with_the_long_one),
	CASE(ranges_that_leave_their_page_are_refused),
};

TEST_MAIN(cases)
