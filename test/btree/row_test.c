/*
 * row_test.c - rows come back as they went in, and damaged ones are refused.
 */
#include "btree/row.h"
#include "btree/row_format.h"
#include "test/harness.h"

enum { COLUMNS_MAX = 200 };

static struct value random_column(uint64_t *random, uint8_t *bytes,
                                  size_t size_max)
{
	uint64_t r = test_random(random);
	struct value value = { .type = (enum value_type)(r % 6) };
	uint64_t number = test_random(random) >> (r >> 8) % 64;

	switch (value.type) {
	case VALUE_INTEGER:
		value.integer = (int64_t)(r >> 60 & 1 ? 0 - number : number);
		break;
	case VALUE_VECTOR:
		value.integer = (uint32_t)number;
		break;
	case VALUE_REAL:
		value.real = (double)number / 8;
		break;
	case VALUE_TEXT:
	case VALUE_BLOB:
		value.bytes = span_of(bytes, (r >> 20) % (size_max + 1));
		for (size_t i = 0; i < value.bytes.size; i++)
			bytes[i] = (uint8_t)test_random(random);
		break;
	default:
		break;
	}
	return value;
}

static void one_round_trip(struct test *t, uint64_t *random, uint32_t count,
                           size_t size_max)
{
	struct value values[COLUMNS_MAX] = { { .type = VALUE_NULL } }, value;
	uint8_t *texts = malloc(count * size_max + 1), *bytes;
	struct span row;
	bool present;

	for (uint32_t i = 0; i < count; i++)
		values[i] = random_column(random, texts + i * size_max,
		                          size_max);
	row.size = row_size(values, count);
	bytes = malloc(row.size);
	row_encode(values, count, bytes);
	row.data = bytes;
	for (uint32_t i = count; i-- > 0;) {
		EXPECT_OK(t, row_column(row, i, &value, &present, &t->err));
		EXPECT(t, present);
		EXPECT(t, value_same(&values[i], &value));
		if (value.type == VALUE_TEXT)
			EXPECT_EQ(t, value.bytes.data[value.bytes.size], 0);
	}
	EXPECT_OK(t, row_column(row, count, &value, &present, &t->err));
	EXPECT(t, !present);
	free(texts);
	free(bytes);
}

static void rows_come_back_as_they_went_in(struct test *t)
{
	static const size_t sizes[] = { 4, 40, 400, 70000 };
	uint64_t random = t->seed, rounds = test_scaled(4000, 400);

	for (uint64_t i = 0; i < rounds && !t->failed; i++) {
		uint64_t r = test_random(&random);
		size_t size_max = sizes[r % 64 ? (r >> 8) % 3 : 3];
		uint32_t count = (uint32_t)(r >> 32) %
		                 (r % 8 ? 12 : COLUMNS_MAX);

		one_round_trip(t, &random, size_max > 1000 ? count % 4 : count,
		               size_max);
	}
}

/* All columns at once are what they are one by one, and NULL behind the last. */
static void a_decoded_row_has_every_column(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(4000, 400);

	for (uint64_t i = 0; i < rounds && !t->failed; i++) {
		struct value values[20], back[24];
		uint8_t texts[20][400], bytes[20 * 410];
		uint32_t count = (uint32_t)(test_random(&random) % 21);
		uint32_t asked = (uint32_t)(test_random(&random) % 25);

		for (uint32_t c = 0; c < count; c++)
			values[c] = random_column(&random, texts[c], 400);
		row_encode(values, count, bytes);
		EXPECT_OK(t, row_columns(span_of(bytes, row_size(values, count)),
		                        back, asked, &t->err));
		for (uint32_t c = 0; c < asked; c++)
			EXPECT(t, c < count ? value_same(&values[c], &back[c])
			                    : back[c].type == VALUE_NULL);
	}
}

/* A row with some columns changed is, patched, what it is encoded anew; and where
 * it cannot be patched a size has changed. */
static void a_patched_row_is_the_row_encoded_anew(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(20000, 2000);
	uint64_t patched = 0, refused = 0;

	for (uint64_t i = 0; i < rounds && !t->failed; i++) {
		struct value values[8];
		uint8_t texts[16][24], old[8 * 30], wanted[8 * 30], got[8 * 30];
		uint32_t count = (uint32_t)(1 + test_random(&random) % 8);
		bool unchanged[8];
		size_t size, new_size;

		for (uint32_t c = 0; c < count; c++)
			values[c] = random_column(&random, texts[c], 24);
		size = row_size(values, count);
		row_encode(values, count, old);
		for (uint32_t c = 0; c < count; c++) {
			unchanged[c] = test_random(&random) % 4;
			if (!unchanged[c])
				values[c] = random_column(&random, texts[8 + c],
				                          24);
		}
		new_size = row_size(values, count);
		row_encode(values, count, wanted);
		if (row_fits(span_of(old, size), values, unchanged, count)) {
			patched++;
			EXPECT_EQ(t, size, new_size);
			memcpy(got, old, size);
			row_patch(span_of(old, size), values, unchanged, count,
			          got);
			EXPECT(t, memcmp(got, wanted, size) == 0);
		} else {
			refused++;
			EXPECT(t, memcmp(old, wanted, size) != 0);
		}
		EXPECT(t, !row_fits(span_of(old, size), values, unchanged,
		                    count + 1));
	}
	EXPECT(t, patched > rounds / 10);
	EXPECT(t, refused > rounds / 10);
}

static void a_row_is_the_same_whichever_way_it_is_encoded(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(8000, 800);

	for (uint64_t i = 0; i < rounds && !t->failed; i++) {
		struct value values[12];
		uint8_t texts[12][100], slow[12 * 110], fast[12 * 110];
		uint32_t count = (uint32_t)(test_random(&random) % 13);
		size_t text_size_max = i % 3 ? 20 : 100, size;

		for (uint32_t c = 0; c < count; c++)
			values[c] = random_column(&random, texts[c],
			                          text_size_max);
		size = row_size(values, count);
		row_encode(values, count, slow);
		memset(fast, 0xEE, sizeof fast);
		row_encode_sized(values, count, size, fast);
		EXPECT(t, memcmp(slow, fast, size) == 0);
		EXPECT_EQ(t, fast[size + ROW_ENCODE_SLACK], 0xEE);
	}
}

static void a_row_has_the_bytes_of_its_format(struct test *t)
{
	static const uint8_t golden[] = {
		7 << ROW_COUNT_SHIFT | ROW_WIDTH_1,
		0x10, 0x21, 0x43, 0x05, 0, 1, 3, 11, 14, 16, 20,
		0xFF, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 'h', 'i', 0,
		0xCA, 0xFE, 9, 0, 0, 0,
	};
	const struct value values[] = {
		{ .type = VALUE_NULL },
		{ .type = VALUE_INTEGER, .integer = -1 },
		{ .type = VALUE_INTEGER, .integer = 256 },
		{ .type = VALUE_REAL, .real = 1.5 },
		{ .type = VALUE_TEXT, .bytes = { (const uint8_t *)"hi", 2 } },
		{ .type = VALUE_BLOB,
		  .bytes = { (const uint8_t *)"\xCA\xFE", 2 } },
		{ .type = VALUE_VECTOR, .integer = 9 },
	};
	uint8_t bytes[sizeof golden];

	EXPECT_EQ(t, row_size(values, 7), sizeof golden);
	row_encode(values, 7, bytes);
	EXPECT(t, memcmp(bytes, golden, sizeof golden) == 0);
}

static void whole_numbers_take_few_bytes(struct test *t)
{
	static const struct { int64_t number; size_t size; } wanted[] = {
		{ 0, 0 }, { 1, 1 }, { -1, 1 }, { 127, 1 }, { -128, 1 },
		{ 128, 2 }, { -129, 2 }, { 8388607, 3 }, { 8388608, 4 },
		{ INT64_MAX, 8 }, { INT64_MIN, 8 },
	};

	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		struct value value = { .type = VALUE_INTEGER,
		                       .integer = wanted[i].number }, back;
		uint8_t bytes[16];
		size_t size = row_size(&value, 1);
		bool present;

		EXPECT_EQ(t, size, 3 + wanted[i].size);
		row_encode(&value, 1, bytes);
		EXPECT_OK(t, row_column(span_of(bytes, size), 0, &back,
		                        &present, &t->err));
		EXPECT_EQ(t, back.integer, wanted[i].number);
	}
}

/* Damage gives an error or other values, never a read outside (asan). */
static void damaged_rows_are_refused_or_harmless(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(50000, 5000);
	uint64_t refused = 0, sum = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		struct value values[10], value;
		uint8_t texts[8][32], *bytes;
		uint32_t count = (uint32_t)(test_random(&random) % 9);
		size_t size, kept;
		bool present;

		for (uint32_t c = 0; c < count; c++)
			values[c] = random_column(&random, texts[c], 32);
		size = row_size(values, count);
		bytes = malloc(size);
		row_encode(values, count, bytes);
		kept = test_random(&random) % 4 ? size
			: test_random(&random) % (size + 1);
		bytes = realloc(bytes, kept ? kept : 1);
		for (int n = 0; kept && n < 3; n++)
			bytes[test_random(&random) % kept % 20] ^=
				(uint8_t)(1u << test_random(&random) % 8);
		if (!row_columns(span_of(bytes, kept), values, 10, &t->err))
			for (uint32_t c = 0; c < 10; c++)
				sum += values[c].type == VALUE_TEXT
				               ? values[c].bytes.data[0] : 0;
		for (uint32_t c = 0; c < 10; c++) {
			if (row_column(span_of(bytes, kept), c, &value,
			               &present, &t->err)) {
				refused++;
				continue;
			}
			if (!present || (value.type != VALUE_TEXT &&
			                 value.type != VALUE_BLOB))
				continue;
			for (size_t j = 0; j < value.bytes.size; j++)
				sum += value.bytes.data[j];
		}
		free(bytes);
	}
	EXPECT(t, refused > rounds / 10);
	EXPECT(t, sum > 0);
}

static const struct test_case cases[] = {
	CASE(rows_come_back_as_they_went_in),
	CASE(a_decoded_row_has_every_column),
	CASE(a_patched_row_is_the_row_encoded_anew),
	CASE(a_row_is_the_same_whichever_way_it_is_encoded),
	CASE(a_row_has_the_bytes_of_its_format),
	CASE(whole_numbers_take_few_bytes),
	CASE(damaged_rows_are_refused_or_harmless),
};
TEST_MAIN(cases)
