/*
 * format_test.c - the bytes of segment headers and records.
 */
#include "test/harness.h"

#include "base/checksum.h"
#include "wal/wal_private.h"

static const uint8_t golden_header[WAL_SEGMENT_HEADER_SIZE] = {
	0x54, 0x57, 0x41, 0x4c, 0x01, 0x00, 0x00, 0x00, 0x50, 0x34, 0x12, 0x00,
	0x00, 0x00, 0x00, 0x00, 0xf8, 0x33, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x00, 0x00, 0x10, 0x00,
	0x00, 0x00, 0x00, 0x00, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
	0x07, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0xeb, 0xee, 0x7a, 0x54,
	0xcf, 0x89, 0x57, 0x7a,
};

/* "turdb" at position 4096 under salt 77. */
static const uint8_t golden_record[48] = {
	0x83, 0x2e, 0xe9, 0x70, 0xa9, 0x26, 0xfa, 0xcf, 0x54, 0x52, 0x45, 0x43,
	0x05, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00, 0x08, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x74, 0x75, 0x72, 0x64, 0x62, 0x00, 0x00, 0x00,
};

enum { GOLDEN_LSN = 4096, GOLDEN_SALT = 77 };

static struct wal_segment some_segment(void)
{
	return (struct wal_segment){
		.first = 0x123450, .start = 0x1233f8,
		.salt = UINT64_C(0x8877665544332211), .size = 0x100000,
		.database = UINT64_C(0x0123456789abcdef), .no = 7,
		.flags = WAL_SEGMENT_STARTED,
	};
}

static struct wal_record some_record(void)
{
	return (struct wal_record){
		.lsn = GOLDEN_LSN, .previous = UINT64_C(0x1122334455667788),
		.durable = 2048, .size = wal_record_size(5), .payload_size = 5,
		.magic = WAL_RECORD_MAGIC,
	};
}

static void dump(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%s0x%02x,", i % 12 ? " " : "\n\t", bytes[i]);
	printf("\n");
}

static void seal(uint8_t *header)
{
	store_le64(header + WAL_SEGMENT_CHECKSUM_AT,
	           checksum64(header, WAL_SEGMENT_CHECKSUM_AT, 0));
}

static void a_segment_header_has_its_golden_bytes(struct test *t)
{
	struct wal_segment segment = some_segment(), read;
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];

	wal_segment_encode(header, &segment);
	if (memcmp(header, golden_header, sizeof header) != 0)
		dump(header, sizeof header);
	EXPECT(t, memcmp(header, golden_header, sizeof header) == 0);
	EXPECT_OK(t, wal_segment_parse(golden_header, "x", &read, &t->err));
	EXPECT(t, read.valid);
	EXPECT_EQ(t, read.first, segment.first);
	EXPECT_EQ(t, read.end, segment.first + segment.size - 4096);
	EXPECT_EQ(t, read.start, segment.start);
	EXPECT_EQ(t, read.salt, segment.salt);
	EXPECT_EQ(t, read.size, segment.size);
	EXPECT_EQ(t, read.database, segment.database);
	EXPECT_EQ(t, read.no, segment.no);
	EXPECT_EQ(t, read.flags, segment.flags);
}

static void any_flipped_bit_makes_a_segment_header_invalid(struct test *t)
{
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];
	struct wal_segment read;

	for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
		memcpy(header, golden_header, sizeof header);
		header[bit / 8] ^= (uint8_t)(1 << bit % 8);
		EXPECT_OK(t, wal_segment_parse(header, "x", &read, &t->err));
		EXPECT(t, !read.valid);
	}
}

static void a_newer_segment_version_is_refused(struct test *t)
{
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];
	struct wal_segment read;

	memcpy(header, golden_header, sizeof header);
	store_le32(header + WAL_SEGMENT_VERSION_AT, WAL_SEGMENT_VERSION + 1);
	seal(header);
	EXPECT_ERR(t, wal_segment_parse(header, "wal.000007", &read, &t->err),
	           ERR_VERSION, "wal.000007: its format is version 2");
}

static void impossible_numbers_in_a_segment_header_are_refused(struct test *t)
{
	static const struct {
		size_t at;
		uint64_t value;
		const char *words;
	} wrong[] = {
		{ WAL_SEGMENT_SIZE_AT, 4096, "the size" },
		{ WAL_SEGMENT_SIZE_AT, 0x100008, "the size" },
		{ WAL_SEGMENT_SIZE_AT, UINT64_MAX - 4095, "the size" },
		{ WAL_SEGMENT_FIRST_AT, 0x123451, "the first position" },
		{ WAL_SEGMENT_FIRST_AT, UINT64_MAX - 7, "the first position" },
		{ WAL_SEGMENT_START_AT, 0x123458, "the start" },
		{ WAL_SEGMENT_NUMBER_AT, UINT64_C(2) << 32, "the flags" },
	};
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];
	struct wal_segment read;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		memcpy(header, golden_header, sizeof header);
		store_le64(header + wrong[i].at, wrong[i].value);
		seal(header);
		EXPECT_ERR(t, wal_segment_parse(header, "x", &read, &t->err),
		           ERR_CORRUPT, wrong[i].words);
	}
}

static void a_record_has_its_golden_bytes(struct test *t)
{
	struct wal_record record = some_record(), read;
	uint8_t bytes[48] = { 0 };

	wal_record_encode(bytes, &record);
	memcpy(bytes + WAL_RECORD_HEADER_SIZE, "turdb", 5);
	store_le64(bytes, checksum64(bytes + 8, sizeof bytes - 8, GOLDEN_SALT));
	if (memcmp(bytes, golden_record, sizeof bytes) != 0)
		dump(bytes, sizeof bytes);
	EXPECT(t, memcmp(bytes, golden_record, sizeof bytes) == 0);
	EXPECT(t, wal_record_parse(golden_record, GOLDEN_LSN, 48, &read));
	EXPECT(t, wal_record_holds(golden_record, &read, GOLDEN_SALT));
	EXPECT_EQ(t, read.lsn, record.lsn);
	EXPECT_EQ(t, read.previous, record.previous);
	EXPECT_EQ(t, read.durable, record.durable);
	EXPECT_EQ(t, read.size, sizeof bytes);
	EXPECT_EQ(t, read.payload_size, 5);
}

static bool is_record(const uint8_t *bytes, uint64_t lsn, uint64_t room,
                      uint64_t salt)
{
	struct wal_record read;

	return wal_record_parse(bytes, lsn, room, &read) &&
	       wal_record_holds(bytes, &read, salt);
}

static void any_flipped_bit_makes_a_record_invalid(struct test *t)
{
	uint8_t bytes[sizeof golden_record];

	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		memcpy(bytes, golden_record, sizeof bytes);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		EXPECT(t, !is_record(bytes, GOLDEN_LSN, 48, GOLDEN_SALT));
	}
}

/* (wal/record A1) */
static void a_record_is_bound_to_its_place_and_salt(struct test *t)
{
	const uint8_t *bytes = golden_record;

	EXPECT(t, is_record(bytes, GOLDEN_LSN, 48, GOLDEN_SALT));
	EXPECT(t, !is_record(bytes, GOLDEN_LSN + 8, 48, GOLDEN_SALT));
	EXPECT(t, !is_record(bytes, GOLDEN_LSN, 40, GOLDEN_SALT));
	EXPECT(t, !is_record(bytes, GOLDEN_LSN, 48, GOLDEN_SALT + 1));
}

static void a_record_that_claims_a_later_durable_position_is_none(struct test *t)
{
	uint8_t bytes[sizeof golden_record];

	memcpy(bytes, golden_record, sizeof bytes);
	store_le64(bytes + WAL_RECORD_DURABLE_AT, GOLDEN_LSN + 8);
	store_le64(bytes, checksum64(bytes + 8, sizeof bytes - 8, GOLDEN_SALT));
	EXPECT(t, !is_record(bytes, GOLDEN_LSN, 48, GOLDEN_SALT));
}

static void a_checksum_in_pieces_is_the_checksum_of_the_whole(struct test *t)
{
	uint8_t bytes[5000];
	uint64_t state = t->seed;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)test_random(&state);
	for (int round = 0; round < 200; round++) {
		size_t size = test_random(&state) % sizeof bytes, at = 0;
		uint64_t seed = test_random(&state);
		struct checksum_stream stream;

		checksum_stream_init(&stream, seed);
		while (at < size) {
			size_t step = 1 + test_random(&state) % (size - at);

			checksum_stream_add(&stream, bytes + at, step);
			at += step;
		}
		EXPECT(t, checksum_stream_end(&stream) ==
		       checksum64(bytes, size, seed));
	}
}

static const struct test_case cases[] = {
	CASE(a_segment_header_has_its_golden_bytes),
	CASE(any_flipped_bit_makes_a_segment_header_invalid),
	CASE(a_newer_segment_version_is_refused),
	CASE(impossible_numbers_in_a_segment_header_are_refused),
	CASE(a_record_has_its_golden_bytes),
	CASE(any_flipped_bit_makes_a_record_invalid),
	CASE(a_record_is_bound_to_its_place_and_salt),
	CASE(a_record_that_claims_a_later_durable_position_is_none),
	CASE(a_checksum_in_pieces_is_the_checksum_of_the_whole),
};
TEST_MAIN(cases)
