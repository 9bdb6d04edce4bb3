/*
 * page_file_test.c - images are lent as written, and nothing else is lent.
 */
#include "test/support/stepping.h"
#include "test/vfs/page_fixture.h"

#include <pthread.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "vfs/page_file_private.h"

enum { PAGE_SIZE = 16384, UNITS = PAGE_SIZE / PLACE_SIZE };

#define ON_A_PAGE_FILE(name)                                                  \
	TEST_WITH(name, struct page_fixture, f,                               \
	          page_fixture_open(t, f, PAGE_SIZE), page_fixture_close(t, f))

/* A page whose bytes follow from a number. */
static void fill(uint8_t *page, size_t size, uint64_t number)
{
	for (size_t i = 0; i < size; i += 8)
		store_le64(page + i, test_random(&number));
}

static struct page_ref ref_to(const struct page_fixture *f, uint32_t place,
                              uint64_t tag, uint64_t birth, const void *bytes,
                              uint32_t size)
{
	return (struct page_ref){
		.place = place, .length = size, .birth = birth,
		.checksum = page_file_checksum(f->identity.file_id, tag, birth,
		                               bytes, size),
	};
}

static int put(struct test *t, struct page_fixture *f, uint32_t place,
               uint64_t tag, uint64_t birth, uint64_t number,
               struct page_ref *ref)
{
	uint32_t size = tag >> 56 ? PLACE_SIZE : f->identity.page_size;
	uint8_t page[PAGE_SIZE];
	uint64_t capacity;
	int rc;

	fill(page, size, number);
	*ref = ref_to(f, place, tag, birth, page, size);
	rc = page_file_reserve(f->file, (uint64_t)place + size / PLACE_SIZE,
	                       &capacity, &t->err);
	if (!rc)
		rc = page_file_write(f->file, ref, page, &t->err);
	return rc;
}

static bool holds(const uint8_t *bytes, uint32_t size, uint64_t number)
{
	uint8_t page[PAGE_SIZE];

	fill(page, size, number);
	return memcmp(bytes, page, size) == 0;
}

static struct page_file *second_handle(struct test *t, struct page_fixture *f,
                                       bool writable)
{
	struct page_file *file = NULL;

	if (page_file_open(f->dir, &f->heap, &f->identity, writable, &file,
	                   &t->err))
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
	return file;
}

/* Changes bytes behind the library's back. */
static int damage(struct test *t, struct page_fixture *f, uint64_t offset,
                  uint8_t flip)
{
	struct os_file *raw;
	uint8_t byte;
	int rc;

	rc = os_open(f->dir, f->identity.name, OS_OPEN_WRITE, 0, &raw, &t->err);
	if (rc)
		return rc;
	rc = os_read(raw, offset, &byte, 1, &t->err);
	byte ^= flip;
	if (!rc)
		rc = os_write(raw, offset, &byte, 1, &t->err);
	os_close(raw);
	return rc;
}

ON_A_PAGE_FILE(an_image_written_is_lent_without_copying)
{
	struct page_ref ref;
	const uint8_t *first, *again;

	EXPECT_OK(t, put(t, f, 4, 9, 6, 100, &ref));
	EXPECT_OK(t, page_file_borrow(f->file, &ref, 9, &first, &t->err));
	EXPECT(t, holds(first, PAGE_SIZE, 100));
	EXPECT_OK(t, page_file_borrow(f->file, &ref, 9, &again, &t->err));
	EXPECT(t, first == again);
	EXPECT_OK(t, page_file_verify(f->file, &ref, 9, &again, &t->err));
	EXPECT(t, first == again);
}

/* An address lent stays right over any growth, also into further chunks (the
 * file is sparse here, so this costs no disk). */
ON_A_PAGE_FILE(addresses_stay_while_the_file_grows)
{
	static const uint32_t places[] = { 4, 1000, 16380, 16384, 40000,
		                           65532, 65536, 200000 };
	enum { COUNT = sizeof places / sizeof *places };
	struct page_ref refs[COUNT];
	const uint8_t *lent[COUNT], *now;
	struct os_file *raw;

	EXPECT_OK(t, os_open(f->dir, f->identity.name, OS_OPEN_WRITE, 0, &raw,
	                     &t->err));
	for (uint32_t i = 0; i < COUNT; i++) {
		EXPECT_OK(t, f->os->methods->truncate(
			raw, ((uint64_t)places[i] / 16 + 1) * 65536, &t->err));
		EXPECT_OK(t, put(t, f, places[i], i, 6, i, &refs[i]));
		EXPECT_OK(t, page_file_borrow(f->file, &refs[i], i, &lent[i],
		                              &t->err));
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		EXPECT(t, holds(lent[i], PAGE_SIZE, i));
		EXPECT_OK(t, page_file_borrow(f->file, &refs[i], i, &now,
		                              &t->err));
		EXPECT(t, now == lent[i]);
	}
	os_close(raw);
}

ON_A_PAGE_FILE(two_handles_see_each_other_grow)
{
	struct page_file *other;
	struct page_ref ref;
	const uint8_t *bytes;
	uint64_t capacity;

	other = second_handle(t, f, true);
	for (uint32_t i = 1; i <= 300; i++) {
		struct page_file *swap = f->file;

		EXPECT_OK(t, put(t, f, i * UNITS, i, 6 + i, i, &ref));
		EXPECT_OK(t, page_file_borrow(other, &ref, i, &bytes, &t->err));
		EXPECT(t, holds(bytes, PAGE_SIZE, i));
		f->file = other;
		other = swap;
	}
	EXPECT_OK(t, page_file_capacity(other, &capacity, &t->err));
	EXPECT(t, capacity >= 301 * UNITS && capacity % 16 == 0);
	page_file_close(other);
}

ON_A_PAGE_FILE(a_place_used_again_shows_the_new_version_only)
{
	struct page_file *other;
	struct page_ref old, new;
	const uint8_t *bytes;

	other = second_handle(t, f, false);
	EXPECT_OK(t, put(t, f, 8, 1, 6, 1, &old));
	EXPECT_OK(t, page_file_borrow(other, &old, 1, &bytes, &t->err));
	EXPECT_OK(t, put(t, f, 8, 1, 7, 2, &new));
	EXPECT_OK(t, page_file_borrow(other, &new, 1, &bytes, &t->err));
	EXPECT(t, holds(bytes, PAGE_SIZE, 2));
	EXPECT_ERR(t, page_file_borrow(other, &old, 1, &bytes, &t->err),
	           ERR_CORRUPT, "checksum");
	EXPECT_ERR(t, page_file_borrow(f->file, &old, 1, &bytes, &t->err),
	           ERR_CORRUPT, "checksum");
	page_file_close(other);
}

/* Lost, stale and misdirected: the same bytes are refused under another page
 * number, birth or file id. */
ON_A_PAGE_FILE(an_image_is_bound_to_its_page_and_birth)
{
	struct page_file *other;
	struct page_ref ref, wrong;
	const uint8_t *bytes;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &ref));
	other = second_handle(t, f, false);
	EXPECT_ERR(t, page_file_borrow(other, &ref, 4, &bytes, &t->err),
	           ERR_CORRUPT, "read page 4 of 7-users.tbd: checksum is");
	wrong = ref;
	wrong.birth = 7;
	EXPECT_ERR(t, page_file_borrow(other, &wrong, 3, &bytes, &t->err),
	           ERR_CORRUPT, "born in transaction 7");
	EXPECT(t, page_file_checksum(8, 3, 6, "x", 1) !=
	          page_file_checksum(7, 3, 6, "x", 1));
	EXPECT_OK(t, page_file_borrow(other, &ref, 3, &bytes, &t->err));
	page_file_close(other);
}

ON_A_PAGE_FILE(every_flipped_bit_is_found)
{
	struct page_file *other;
	struct page_ref ref;
	const uint8_t *bytes;
	uint64_t random = t->seed;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &ref));
	for (uint64_t i = test_scaled(300, 20); i; i--) {
		uint64_t at = 8 * PLACE_SIZE + test_random(&random) % PAGE_SIZE;
		uint8_t flip = (uint8_t)(1 << test_random(&random) % 8);

		EXPECT_OK(t, damage(t, f, at, flip));
		other = second_handle(t, f, false);
		EXPECT_ERR(t, page_file_borrow(other, &ref, 3, &bytes, &t->err),
		           ERR_CORRUPT, "7-users.tbd: checksum");
		page_file_close(other);
		EXPECT_ERR(t, page_file_verify(f->file, &ref, 3, &bytes,
		                               &t->err),
		           ERR_CORRUPT, "7-users.tbd: checksum");
		EXPECT_OK(t, damage(t, f, at, flip));
	}
	other = second_handle(t, f, false);
	EXPECT_OK(t, page_file_borrow(other, &ref, 3, &bytes, &t->err));
	page_file_close(other);
}

/* A checksum of 0 is what an unused entry of the table of verified versions
 * holds; such a version must be checked each time, never taken for verified. */
ON_A_PAGE_FILE(a_checksum_of_zero_is_not_taken_for_verified)
{
	struct page_ref ref = { .place = 8, .length = PAGE_SIZE, .birth = 6 };
	const uint8_t *bytes;
	uint64_t capacity;

	EXPECT_OK(t, page_file_reserve(f->file, 100, &capacity, &t->err));
	EXPECT_ERR(t, page_file_borrow(f->file, &ref, 3, &bytes, &t->err),
	           ERR_CORRUPT, "its reference says 0000000000000000");
	EXPECT_ERR(t, page_file_borrow(f->file, &ref, 3, &bytes, &t->err),
	           ERR_CORRUPT, "its reference says 0000000000000000");
}

/* (vfs/page_file F1) */
ON_A_PAGE_FILE(impossible_references_are_refused_in_a_sentence)
{
	struct page_ref ref, bad;
	const uint8_t *bytes;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &ref));
#define REFUSED(change, words)                                                \
	bad = ref;                                                            \
	change;                                                               \
	EXPECT_ERR(t, page_file_borrow(f->file, &bad, 3, &bytes, &t->err),     \
	           ERR_CORRUPT, words)
	REFUSED(bad.length = 9000, "compressed images are not made");
	REFUSED(bad.length = 4096, "says 4096 bytes at place 8, wanted 16384");
	REFUSED(bad.length = 32768, "says 32768 bytes");
	REFUSED(bad.length = 0, "says 0 bytes");
	REFUSED(bad.length = 0xffffff, "wanted 16384");
	REFUSED(bad.place = 0, "that of the file header");
	REFUSED(bad.place = 9, "not aligned");
	REFUSED(bad.place = 4000, "place 4000 (16384 bytes) lies beyond the "
	        "file's end at place 16 (65536 bytes)");
	REFUSED(bad.place = 0xfffffffc, "beyond the file's end");
	REFUSED(bad.flags = REF_FLAG_FREE; bad.checksum++, "flags");
#undef REFUSED
	EXPECT_ERR(t, page_file_borrow(f->file, &ref, MAP_TAG(2, 3), &bytes,
	                               &t->err),
	           ERR_CORRUPT, "read map page 3 of level 2 of 7-users.tbd");
}

/* Never a byte beyond the end, whatever the references say: a file cut by
 * someone else gives errors, not SIGBUS, in whoever opens it afterwards. */
ON_A_PAGE_FILE(random_references_never_crash)
{
	const uint8_t *bytes;
	uint64_t random = t->seed;
	uint64_t capacity;

	EXPECT_OK(t, page_file_reserve(f->file, 20000, &capacity, &t->err));
	for (uint64_t i = test_scaled(200000, 1000); i; i--) {
		uint64_t r = test_random(&random);
		struct page_ref ref = {
			.place = r & 1 ? (uint32_t)test_random(&random) :
			         (uint32_t)(capacity - 8 + r / 8 % 12),
			.length = r & 2 ? PAGE_SIZE : PLACE_SIZE,
			.birth = r, .checksum = test_random(&random),
		};
		uint64_t tag = r & 4 ? 3 : MAP_TAG(1, 3);

		if (r & 1)
			ref.place >>= r >> 32 & 31;
		EXPECT_ERR(t, page_file_borrow(f->file, &ref, tag, &bytes,
		                               &t->err),
		           ERR_CORRUPT, "7-users.tbd");
		page_file_prefetch(f->file, &ref);
	}
}

ON_A_PAGE_FILE(neighbours_are_written_together)
{
	enum { COUNT = 40 };
	static uint8_t pages[COUNT][PAGE_SIZE];
	struct page_file *other;
	struct page_ref refs[COUNT];
	const void *images[COUNT];
	const uint8_t *bytes;
	uint64_t capacity;

	EXPECT_OK(t, page_file_reserve(f->file, 1000, &capacity, &t->err));
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t place = (i < 20 ? 1 + i : i < 30 ? 101 - i : 5 * i) *
		                 UNITS;

		fill(pages[i], PAGE_SIZE, i);
		images[i] = pages[i];
		refs[i] = ref_to(f, place, i, 6, pages[i], PAGE_SIZE);
	}
	EXPECT_OK(t, page_file_write_many(f->file, refs, images, COUNT,
	                                  &t->err));
	other = second_handle(t, f, false);
	for (uint32_t i = 0; i < COUNT; i++) {
		EXPECT_OK(t, page_file_borrow(other, &refs[i], i, &bytes,
		                              &t->err));
		EXPECT(t, holds(bytes, PAGE_SIZE, i));
		EXPECT_OK(t, page_file_borrow(f->file, &refs[i], i, &bytes,
		                              &t->err));
	}
	page_file_close(other);
}

ON_A_PAGE_FILE(a_read_only_handle_reads_and_refuses_writes)
{
	struct page_file *other;
	struct page_ref ref;
	const uint8_t *bytes;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &ref));
	other = second_handle(t, f, false);
	EXPECT_OK(t, page_file_borrow(other, &ref, 3, &bytes, &t->err));
	EXPECT_ERR(t, page_file_write(other, &ref, bytes, &t->err),
	           ERR_READONLY, "write to 7-users.tbd");
	page_file_close(other);
}

ON_A_PAGE_FILE(a_file_grows_in_steps)
{
	uint64_t capacity, before;

	EXPECT_OK(t, page_file_capacity(f->file, &capacity, &t->err));
	EXPECT_EQ(t, capacity, 16);
	EXPECT_OK(t, page_file_reserve(f->file, 17, &capacity, &t->err));
	EXPECT_EQ(t, capacity, 32);
	EXPECT_OK(t, page_file_reserve(f->file, 1000, &capacity, &t->err));
	EXPECT_EQ(t, capacity, 1008);
	EXPECT_OK(t, page_file_reserve(f->file, 1009, &capacity, &t->err));
	EXPECT_EQ(t, capacity, 1136);
	before = capacity;
	EXPECT_OK(t, page_file_reserve(f->file, 10, &capacity, &t->err));
	EXPECT_EQ(t, capacity, before);
	EXPECT_ERR(t, page_file_reserve(f->file, UINT64_C(1) << 33, &capacity,
	                                &t->err),
	           ERR_FULL, "grow 7-users.tbd");
}

/* After a truncation the same places come back as zeros: what was verified there
 * before must be forgotten. (vfs/page_file F3) */
ON_A_PAGE_FILE(a_truncated_end_is_forgotten)
{
	struct page_ref kept, cut;
	const uint8_t *bytes;
	uint64_t capacity;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &kept));
	EXPECT_OK(t, put(t, f, 800, 4, 6, 2, &cut));
	EXPECT_OK(t, page_file_truncate(f->file, 12, &t->err));
	EXPECT_OK(t, page_file_capacity(f->file, &capacity, &t->err));
	EXPECT_EQ(t, capacity, 16);
	EXPECT_OK(t, page_file_borrow(f->file, &kept, 3, &bytes, &t->err));
	EXPECT_ERR(t, page_file_borrow(f->file, &cut, 4, &bytes, &t->err),
	           ERR_CORRUPT, "beyond the file's end");
	EXPECT_OK(t, page_file_reserve(f->file, 900, &capacity, &t->err));
	for (int i = 0; i < 2; i++) /* unmapped at first, then mapped */
		EXPECT_ERR(t, page_file_borrow(f->file, &cut, 4, &bytes,
		                               &t->err),
		           ERR_CORRUPT, "checksum");
	EXPECT_OK(t, put(t, f, 800, 4, 7, 3, &cut));
	EXPECT_OK(t, page_file_borrow(f->file, &cut, 4, &bytes, &t->err));
	EXPECT(t, holds(bytes, PAGE_SIZE, 3));
}

/* --- slow disks ----------------------------------------------------------- */

/* An operating system whose clock makes every first reading look as long as told,
 * and which writes down what is asked for. */
struct slow {
	struct os_methods methods;
	uint64_t clock, step;
	size_t asked, calls;
	const uint8_t *end;
};

static struct slow slow;

static uint64_t slow_clock(struct os *os)
{
	(void)os;
	return slow.clock += slow.step;
}

static void slow_advise(struct os *os, const void *at, size_t size,
                        enum os_advice advice)
{
	(void)os, (void)advice;
	slow.calls++;
	slow.asked += size;
	slow.end = (const uint8_t *)at + size;
}

static void slow_start(struct page_fixture *f)
{
	slow = (struct slow){ .methods = *f->os->methods };
	slow.methods.monotonic_us = slow_clock;
	slow.methods.advise = slow_advise;
	f->os->methods = &slow.methods;
}

ON_A_PAGE_FILE(nothing_is_asked_for_while_the_disk_is_fast)
{
	struct page_file *other;
	struct page_ref refs[100];
	const uint8_t *bytes;

	slow_start(f);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, put(t, f, 4 + 4 * i, i, 6, i, &refs[i]));
	other = second_handle(t, f, false);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, page_file_borrow(other, &refs[i], i, &bytes,
		                              &t->err));
	EXPECT_EQ(t, slow.calls, 0);
	page_file_close(other);
}

ON_A_PAGE_FILE(a_slow_disk_is_asked_for_whole_images)
{
	struct page_file *other;
	struct page_ref refs[100];
	const uint8_t *bytes;

	slow_start(f);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, put(t, f, 400 + 4 * (i * 37 % 100) * 2, i, 6, i,
		                 &refs[i]));
	other = second_handle(t, f, false);
	slow.step = 1000;
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, page_file_borrow(other, &refs[i], i, &bytes,
		                              &t->err));
	EXPECT_EQ(t, slow.calls, 99);
	EXPECT_EQ(t, slow.asked, 99 * PAGE_SIZE);
	page_file_close(other);
}

/* The kernel reads ahead by itself, and better. */
ON_A_PAGE_FILE(runs_and_walks_are_left_to_the_kernel)
{
	struct page_file *other;
	struct page_ref refs[100], next;
	const uint8_t *bytes;

	slow_start(f);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, put(t, f, 4 + 4 * i, i, 6, i, &refs[i]));
	other = second_handle(t, f, false);
	slow.step = 1000;
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_OK(t, page_file_borrow(other, &refs[i], i, &bytes,
		                              &t->err));
	EXPECT(t, slow.calls <= 2);
	page_file_close(other);

	other = second_handle(t, f, false);
	slow.calls = 0;
	for (uint32_t i = 0; i < 100; i++) {
		next = refs[(i + 1) * 37 % 100];
		EXPECT_OK(t, page_file_borrow(other, &refs[i * 37 % 100],
		                              i * 37 % 100, &bytes, &t->err));
		page_file_prefetch(other, &next);
	}
	EXPECT(t, slow.calls <= 1);
	page_file_close(other);
}

/* --- the header ----------------------------------------------------------- */

ON_A_PAGE_FILE(the_file_header_has_golden_bytes)
{
	static const uint8_t golden[FILE_HEADER_SIZE] = {
		'T', 'R', 'D', 'B', 'F', 'I', 'L', 'E', 1, 0, 0, 0, 7, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,
		0, 0x40, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
		'u', 's', 'e', 'r', 's',
		[120] = 0xc1, 0xc2, 0x6b, 0x4c, 0x1f, 0xbb, 0xe3, 0x2f,
	};
	uint8_t header[FILE_HEADER_SIZE];
	struct os_file *raw;

	EXPECT_OK(t, os_open(f->dir, f->identity.name, OS_OPEN_READ, 0, &raw,
	                     &t->err));
	EXPECT_OK(t, os_read(raw, 0, header, sizeof header, &t->err));
	for (int i = 0; i < FILE_HEADER_SIZE; i++)
		if (header[i] != golden[i]) {
			test_fail(t, __FILE__, __LINE__,
			          "byte %d is %02x, golden %02x", i, header[i],
			          golden[i]);
			return;
		}
	os_close(raw);
}

ON_A_PAGE_FILE(every_flipped_bit_of_the_header_is_found)
{
	struct page_file *other;

	for (uint32_t bit = 0; bit < 8 * FILE_HEADER_SIZE; bit++) {
		EXPECT_OK(t, damage(t, f, bit / 8, (uint8_t)(1 << bit % 8)));
		EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &f->identity, false,
		                             &other, &t->err),
		           ERR_CORRUPT, "open 7-users.tbd: ");
		EXPECT_OK(t, damage(t, f, bit / 8, (uint8_t)(1 << bit % 8)));
	}
	EXPECT_OK(t, page_file_open(f->dir, &f->heap, &f->identity, false, &other,
	                            &t->err));
	page_file_close(other);
}

ON_A_PAGE_FILE(another_file_in_its_place_is_refused)
{
	struct page_file *other;
	struct page_file_identity want;

#define REFUSED(change, words)                                                \
	want = f->identity;                                                    \
	change;                                                               \
	EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &want, true, &other,     \
	                             &t->err), ERR_CORRUPT, words)
	REFUSED(want.file_id = 8, "its header says file id 7, the catalog says 8");
	REFUSED(want.kind = 4, "kind 3");
	REFUSED(want.page_size = 4096, "page size 16384");
	REFUSED(want.page_size = 5000, "page size of 5000 bytes is impossible");
	REFUSED(want.page_size = 0, "page size of 0 bytes is impossible");
	REFUSED(want.birth = 6, "birth 5");
	REFUSED(want.database[1]++, "another database");
#undef REFUSED
	want = f->identity;
	memcpy(want.hint, "people", 7);
	EXPECT_OK(t, page_file_open(f->dir, &f->heap, &want, true, &other,
	                            &t->err));
	page_file_close(other);
	memcpy(want.name, "8-none.tbd", 11);
	EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &want, true, &other,
	                             &t->err), ERR_MISSING, "8-none.tbd");
}

static int change_version(struct page_fixture *f, uint32_t version,
                          struct err *err)
{
	uint8_t header[FILE_HEADER_SIZE];
	struct os_file *raw;
	int rc = os_open(f->dir, f->identity.name, OS_OPEN_WRITE, 0, &raw, err);

	if (rc)
		return rc;
	rc = os_read(raw, 0, header, sizeof header, err);
	store_le32(header + FILE_VERSION_AT, version);
	store_le64(header + FILE_CHECKSUM_AT,
	           checksum64(header, FILE_CHECKSUM_AT, FILE_MAGIC));
	if (!rc)
		rc = os_write(raw, 0, header, sizeof header, err);
	os_close(raw);
	return rc;
}

ON_A_PAGE_FILE(a_version_that_cannot_be_is_refused)
{
	struct page_file *other;

	EXPECT_OK(t, change_version(f, 0, &t->err));
	EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &f->identity, false, &other,
	                             &t->err),
	           ERR_CORRUPT, "impossible values (version 0)");
}

ON_A_PAGE_FILE(a_newer_version_is_refused_as_newer)
{
	struct page_file *other;

	EXPECT_OK(t, change_version(f, FILE_VERSION + 1, &t->err));
	EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &f->identity, false, &other,
	                             &t->err),
	           ERR_VERSION, "its format version is 2, this library knows 1");
}

ON_A_PAGE_FILE(a_file_cut_short_is_refused)
{
	struct page_file *other;
	struct os_file *raw;
	struct page_ref ref;
	const uint8_t *bytes;

	EXPECT_OK(t, put(t, f, 100, 3, 6, 1, &ref));
	EXPECT_OK(t, os_open(f->dir, f->identity.name, OS_OPEN_WRITE, 0, &raw,
	                     &t->err));
	EXPECT_OK(t, f->os->methods->truncate(raw, 101 * PLACE_SIZE, &t->err));
	other = second_handle(t, f, true);
	EXPECT_ERR(t, page_file_borrow(other, &ref, 3, &bytes, &t->err),
	           ERR_CORRUPT, "(413696 bytes)");
	page_file_close(other);
	EXPECT_OK(t, f->os->methods->truncate(raw, 100, &t->err));
	EXPECT_ERR(t, page_file_open(f->dir, &f->heap, &f->identity, false, &other,
	                             &t->err), ERR_CORRUPT, "it ends at 100");
	os_close(raw);
}

/* Recovery makes a file again whose creation may be half done; pages that a
 * record vouches for may be in it already. */
ON_A_PAGE_FILE(making_an_unfinished_file_again_keeps_its_pages)
{
	struct page_file *again;
	struct page_ref ref;
	const uint8_t *bytes;

	EXPECT_OK(t, put(t, f, 8, 3, 6, 1, &ref));
	EXPECT_OK(t, damage(t, f, FILE_MAGIC_AT, 0xff));
	EXPECT_OK(t, page_file_create(f->dir, &f->heap, &f->identity, 0600, &again,
	                              &t->err));
	EXPECT_OK(t, page_file_borrow(again, &ref, 3, &bytes, &t->err));
	page_file_close(again);
	again = second_handle(t, f, false);
	page_file_close(again);
}

ON_A_PAGE_FILE(running_out_of_memory_leaves_nothing_open)
{
	struct page_file *other;

	for (int64_t i = 1; i <= 2; i++) {
		f->heap.fail_in = i;
		EXPECT_EQ(t, page_file_open(f->dir, &f->heap, &f->identity, false,
		                            &other, &t->err), ERR_NOMEM);
		f->heap.fail_in = 0;
	}
}

/* --- threads -------------------------------------------------------------- */

struct reader {
	struct page_file *file;
	const struct page_ref *refs;
	_Atomic uint32_t *published;
	uint32_t last;
	bool failed;
};

static void *read_published(void *argument)
{
	struct reader *reader = argument;
	struct err err;
	const uint8_t *bytes;
	uint32_t seen = 0;

	while (seen < reader->last && !reader->failed) {
		seen = atomic_load_explicit(reader->published,
		                            memory_order_acquire);
		for (uint32_t i = 0; i < seen; i += 1 + i / 8)
			if (page_file_borrow(reader->file, &reader->refs[i], i,
			                     &bytes, &err) ||
			    load_le64(bytes) != i)
				reader->failed = true;
	}
	return NULL;
}

struct growth {
	struct page_file *file;
	struct page_ref ref;
	uint64_t seen, looks;
	struct err err;
	int rc;
};

static void meet_growth(void *context)
{
	struct growth *growth = context;
	const uint8_t *bytes;

	growth->rc = page_file_borrow(growth->file, &growth->ref, 9, &bytes,
	                              &growth->err);
}

/* As a reader in another thread does, which takes no lock: whatever `units` says is
 * there can be touched. */
static void touch_the_end(void *context)
{
	struct growth *growth = context;
	uint64_t units = atomic_load_explicit(&growth->file->units,
	                                      memory_order_acquire);

	if (units == growth->seen)
		return;
	growth->seen = units;
	growth->looks += *(const volatile uint8_t *)page_file_bytes(
		                 growth->file, (uint32_t)units - 1) == 0;
	growth->looks += atomic_load(page_file_verified(
		                 growth->file, (uint32_t)units - 1)) == 0;
}

/* Another process has grown the file, over the end of a chunk; looked at after each
 * instruction of noticing it. (vfs/page_file F2) */
ON_A_PAGE_FILE(a_file_that_has_grown_can_be_read_at_every_moment)
{
	struct growth growth = { .rc = 0 };
	uint8_t page[PAGE_SIZE] = { 0 };
	uint64_t capacity;

	if (!stepping_is_possible()) {
		test_skip(t, "no single steps here");
		return;
	}
	growth.file = second_handle(t, f, false);
	growth.seen = growth.file->units;
	growth.ref = ref_to(f, 40000, 9, 6, page, PAGE_SIZE);
	EXPECT_OK(t, page_file_reserve(f->file, 40100, &capacity, &t->err));
	EXPECT_OK(t, page_file_write(f->file, &growth.ref, page, &t->err));
	stepping_run(meet_growth, touch_the_end, &growth);
	EXPECT_EQ(t, growth.rc, ERR_NONE);
	EXPECT(t, growth.looks >= 2);
	page_file_close(growth.file);
}

ON_A_PAGE_FILE(readers_follow_a_growing_file)
{
	enum { PAGES = 400, READERS = 3 };
	static struct page_ref refs[PAGES];
	_Atomic uint32_t published = 0;
	struct reader readers[READERS];
	pthread_t threads[READERS];
	struct page_file *other;
	uint8_t page[PAGE_SIZE] = { 0 };
	uint64_t capacity;

	other = second_handle(t, f, false);
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ i ? other : f->file, refs,
			                      &published, PAGES, false };
		pthread_create(&threads[i], NULL, read_published, &readers[i]);
	}
	for (uint32_t i = 0; i < PAGES; i++) {
		store_le64(page, i);
		refs[i] = ref_to(f, 4 + 4 * i, i, 6, page, PAGE_SIZE);
		if (page_file_reserve(f->file, 8 + 4 * i, &capacity, &t->err) ||
		    page_file_write(f->file, &refs[i], page, &t->err))
			test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
		atomic_store_explicit(&published, i + 1, memory_order_release);
	}
	for (int i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT(t, !readers[i].failed);
	}
	page_file_close(other);
}

static const struct test_case cases[] = {
	CASE(an_image_written_is_lent_without_copying),
	CASE(addresses_stay_while_the_file_grows),
	CASE(two_handles_see_each_other_grow),
	CASE(a_place_used_again_shows_the_new_version_only),
	CASE(an_image_is_bound_to_its_page_and_birth),
	CASE(every_flipped_bit_is_found),
	CASE(a_checksum_of_zero_is_not_taken_for_verified),
	CASE(impossible_references_are_refused_in_a_sentence),
	CASE(random_references_never_crash),
	CASE(neighbours_are_written_together),
	CASE(a_read_only_handle_reads_and_refuses_writes),
	CASE(a_file_grows_in_steps),
	CASE(a_truncated_end_is_forgotten),
	CASE(nothing_is_asked_for_while_the_disk_is_fast),
	CASE(a_slow_disk_is_asked_for_whole_images),
	CASE(runs_and_walks_are_left_to_the_kernel),
	CASE(the_file_header_has_golden_bytes),
	CASE(every_flipped_bit_of_the_header_is_found),
	CASE(another_file_in_its_place_is_refused),
	CASE(a_version_that_cannot_be_is_refused),
	CASE(a_newer_version_is_refused_as_newer),
	CASE(a_file_cut_short_is_refused),
	CASE(making_an_unfinished_file_again_keeps_its_pages),
	CASE(running_out_of_memory_leaves_nothing_open),
	CASE(a_file_that_has_grown_can_be_read_at_every_moment),
	CASE(readers_follow_a_growing_file),
};

TEST_MAIN(cases)
