/*
 * key_test.c - keys order as SQLite orders, decode to what went in, and have the
 * bytes that key_format.h says.
 */
#include <math.h>
#include <sqlite3.h>

#include "btree/btree.h"
#include "btree/key.h"
#include "btree/key_format.h"
#include "test/harness.h"

static struct value integer(int64_t number)
{
	return (struct value){ .type = VALUE_INTEGER, .integer = number };
}

static struct value real(double number)
{
	return (struct value){ .type = VALUE_REAL, .real = number };
}

static struct value text(const char *bytes, size_t size)
{
	return (struct value){ .type = VALUE_TEXT,
	                       .bytes = span_of(bytes, size) };
}

static struct value blob(const void *bytes, size_t size)
{
	return (struct value){ .type = VALUE_BLOB,
	                       .bytes = span_of(bytes, size) };
}

static int compare(const struct key_buffer *a, const struct key_buffer *b)
{
	size_t size = a->size < b->size ? a->size : b->size;
	int order = memcmp(a->bytes, b->bytes, size);

	return order ? order : (a->size > b->size) - (a->size < b->size);
}

struct golden {
	struct value value;
	struct key_column column;
	const char *hex;
};

static void keys_have_the_bytes_of_their_format(struct test *t)
{
	static const struct key_column plain = { COLLATION_BINARY, false };
	static const struct key_column down = { COLLATION_BINARY, true };
	static const struct key_column nocase = { COLLATION_NOCASE, false };
	static const struct key_column rtrim = { COLLATION_RTRIM, false };
	const struct golden golden[] = {
		{ { .type = VALUE_NULL }, plain, "01" },
		{ { .type = VALUE_NULL }, down, "fe" },
		{ integer(0), plain, "14" },
		{ real(-0.0), plain, "14" },
		{ integer(1), plain, "1600" },
		{ real(1), plain, "1600" },
		{ integer(2), plain, "1604" },
		{ integer(3), plain, "1606" },
		{ integer(3), down, "e9f9" },
		{ integer(5), plain, "160980" },
		{ integer(-1), plain, "12ff" },
		{ integer(-5), plain, "12f67f" },
		{ integer(1000), plain, "1627e8" },
		{ integer(INT64_MAX), plain, "16fbfffffffffffffffff8" },
		{ integer(INT64_MIN), plain, "1203" },
		{ real(0.5), plain, "158620" },
		{ real(-0.75), plain, "1379cf" },
		{ real(5e-324), plain, "150000" },
		{ real(18446744073709551616.0), plain, "170000" },
		{ real((double)INFINITY), plain, "18" },
		{ real(-(double)INFINITY), plain, "10" },
		{ text("", 0), plain, "2000" },
		{ text("ab", 2), plain, "20616200" },
		{ text("ab", 2), down, "df9e9dff" },
		{ text("a\0b\1", 4), plain, "20610101620102" "00" },
		{ text("Ab Z", 4), nocase, "206162207a00" },
		{ text("A\0Z", 3), nocase, "2061010000000003" },
		{ text("a  ", 3), rtrim, "206100" },
		{ blob("\xff\x00", 2), plain, "21ff010100" },
	};
	struct key_buffer key;
	struct heap heap;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
		char hex[64] = "";

		key_buffer_reset(&key);
		EXPECT_OK(t, key_append(&key, &golden[i].value,
		                        &golden[i].column, &t->err));
		for (size_t j = 0; j < key.size && j < 30; j++)
			sprintf(hex + 2 * j, "%02x", key.bytes[j]);
		EXPECT_STR(t, hex, golden[i].hex);
	}
	key_buffer_close(&key);
}

/* Numbers near each other, near powers of two and the limits of both kinds. */
static struct value random_number(uint64_t *random)
{
	static const double reals[] = { 0.0, -0.0, 0.5, 1.5, 5e-324, 1e-310,
		2.2250738585072014e-308, 1e300, 9007199254740992.0,
		9007199254740994.0, 9223372036854775807.0,
		9223372036854774784.0, 18446744073709551616.0, 1e19, 4e18 };
	uint64_t r = test_random(random), bits;
	double number;

	switch (r % 8) {
	case 0:
		return integer((int64_t)(r >> 8) % 20 - 10);
	case 1:
		return real((double)((int64_t)(r >> 8) % 80 - 40) / 4);
	case 2:
		number = reals[(r >> 8) % (sizeof reals / sizeof reals[0])];
		return real(r >> 60 & 1 ? -number : number);
	case 3: /* around a power of two, as an integer */
		bits = (UINT64_C(1) << (r >> 8) % 64) + (r >> 16) % 5 - 2;
		return integer((int64_t)(r >> 60 & 1 ? 0 - bits : bits));
	case 4: /* ... as a real */
		bits = (UINT64_C(1) << (r >> 8) % 64) + (r >> 16) % 5 - 2;
		return real((r >> 60 & 1 ? -1 : 1) * (double)bits);
	case 5:
		return integer((int64_t)test_random(random));
	case 6:
		return real(r >> 60 & 1 ? (double)INFINITY
		                        : -(double)INFINITY);
	default:
		bits = test_random(random);
		memcpy(&number, &bits, sizeof number);
		return real(isnan(number) ? 3.25 : number);
	}
}

static struct span random_bytes(uint64_t *random, uint8_t *bytes, size_t most,
                                const char *alphabet, size_t alphabet_size)
{
	uint64_t r = test_random(random);
	size_t size = (size_t)(r % (most + 1));

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)alphabet[test_random(random) %
		                             alphabet_size];
	return span_of(bytes, size);
}

static struct value random_value(uint64_t *random, uint8_t *bytes)
{
	static const char alphabet[] = "aAbBzZ[@`{ \0\1\2\x7f\x80\xc3\xff";
	uint64_t r = test_random(random);
	struct span span;

	if (r % 16 == 0)
		return (struct value){ .type = VALUE_NULL };
	if (r % 4 == 1)
		return random_number(random);
	span = random_bytes(random, bytes, r % 32 == 2 ? 40 : 4, alphabet,
	                    (r >> 40) % 2 ? sizeof alphabet - 1 : 5);
	return (struct value){
		.type = r % 4 == 2 ? VALUE_BLOB : VALUE_TEXT,
		.bytes = span,
	};
}

static void bind(sqlite3_stmt *statement, int at, const struct value *value)
{
	int size = (int)value->bytes.size;

	switch (value->type) {
	case VALUE_INTEGER:
		sqlite3_bind_int64(statement, at, value->integer);
		break;
	case VALUE_REAL:
		sqlite3_bind_double(statement, at, value->real);
		break;
	case VALUE_TEXT:
		sqlite3_bind_text(statement, at,
		                  (const char *)value->bytes.data, size,
		                  SQLITE_TRANSIENT);
		break;
	case VALUE_BLOB:
		if (size)
			sqlite3_bind_blob(statement, at, value->bytes.data,
			                  size, SQLITE_TRANSIENT);
		else
			sqlite3_bind_zeroblob(statement, at, 0);
		break;
	default:
		sqlite3_bind_null(statement, at);
	}
}

/* SQLite's order of two values, NULLs first. */
static int sqlite_order(sqlite3_stmt *statement, const struct value *a,
                        const struct value *b)
{
	int order;

	if (a->type == VALUE_NULL || b->type == VALUE_NULL)
		return (a->type != VALUE_NULL) - (b->type != VALUE_NULL);
	bind(statement, 1, a);
	bind(statement, 2, b);
	sqlite3_step(statement);
	order = sqlite3_column_int(statement, 0);
	sqlite3_reset(statement);
	return order;
}

static void pairs_agree(struct test *t, enum collation collation,
                        bool descending, bool numbers_only)
{
	static const char *const names[] = { "BINARY", "NOCASE", "RTRIM" };
	struct key_column column = { collation, descending };
	uint64_t random = t->seed + (uint64_t)collation * 2 + descending;
	uint64_t rounds = test_scaled(40000, 4000);
	struct key_buffer a, b;
	sqlite3_stmt *statement;
	struct heap heap;
	sqlite3 *db;
	char sql[160];

	heap_init(&heap);
	key_buffer_init(&a, &heap);
	key_buffer_init(&b, &heap);
	EXPECT_EQ(t, sqlite3_open(":memory:", &db), SQLITE_OK);
	snprintf(sql, sizeof sql, "SELECT (?1 > ?2 COLLATE %s) - "
	         "(?1 < ?2 COLLATE %s)", names[collation], names[collation]);
	EXPECT_EQ(t, sqlite3_prepare_v2(db, sql, -1, &statement, NULL),
	          SQLITE_OK);
	for (uint64_t i = 0; i < rounds; i++) {
		uint8_t bytes[2][64];
		struct value x = numbers_only ? random_number(&random)
			: random_value(&random, bytes[0]);
		struct value y = numbers_only ? random_number(&random)
			: random_value(&random, bytes[1]);
		int wanted = sqlite_order(statement, &x, &y), given;

		key_buffer_reset(&a);
		key_buffer_reset(&b);
		EXPECT_OK(t, key_append(&a, &x, &column, &t->err));
		EXPECT_OK(t, key_append(&b, &y, &column, &t->err));
		given = compare(&a, &b);
		if (descending)
			given = -given;
		if ((given > 0) - (given < 0) != wanted) {
			test_fail(t, __FILE__, __LINE__, "round %llu: SQLite "
			          "says %d, keys %d; %d %lld %.17g, %d %lld "
			          "%.17g", (unsigned long long)i, wanted, given,
			          (int)x.type, (long long)x.integer, x.real,
			          (int)y.type, (long long)y.integer, y.real);
			return;
		}
	}
	sqlite3_finalize(statement);
	sqlite3_close(db);
	key_buffer_close(&a);
	key_buffer_close(&b);
}

static void numbers_order_as_in_sqlite(struct test *t)
{
	pairs_agree(t, COLLATION_BINARY, false, true);
	pairs_agree(t, COLLATION_BINARY, true, true);
}

static void values_order_as_in_sqlite(struct test *t)
{
	pairs_agree(t, COLLATION_BINARY, false, false);
	pairs_agree(t, COLLATION_BINARY, true, false);
}

static void nocase_orders_as_in_sqlite(struct test *t)
{
	pairs_agree(t, COLLATION_NOCASE, false, false);
	pairs_agree(t, COLLATION_NOCASE, true, false);
}

static void rtrim_orders_as_in_sqlite(struct test *t)
{
	pairs_agree(t, COLLATION_RTRIM, false, false);
	pairs_agree(t, COLLATION_RTRIM, true, false);
}

/* No column is a prefix of another, so keys of several columns compare column
 * by column whatever the directions. */
static void several_columns_compare_one_by_one(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(60000, 5000);
	struct key_buffer parts[2], whole[2];
	struct heap heap;

	heap_init(&heap);
	for (int i = 0; i < 2; i++) {
		key_buffer_init(&parts[i], &heap);
		key_buffer_init(&whole[i], &heap);
	}
	for (uint64_t round = 0; round < rounds; round++) {
		int wanted = 0, given;

		key_buffer_reset(&whole[0]);
		key_buffer_reset(&whole[1]);
		for (int c = 0; c < 3; c++) {
			struct key_column column = {
				(enum collation)(test_random(&random) % 3),
				test_random(&random) % 2,
			};
			uint8_t bytes[64];

			for (int i = 0; i < 2; i++) {
				struct value value =
					random_value(&random, bytes);

				key_buffer_reset(&parts[i]);
				EXPECT_OK(t, key_append(&parts[i], &value,
				                        &column, &t->err));
				EXPECT_OK(t, key_append(&whole[i], &value,
				                        &column, &t->err));
			}
			if (!wanted)
				wanted = compare(&parts[0], &parts[1]);
		}
		given = compare(&whole[0], &whole[1]);
		EXPECT_EQ(t, (given > 0) - (given < 0),
		          (wanted > 0) - (wanted < 0));
	}
	for (int i = 0; i < 2; i++) {
		key_buffer_close(&parts[i]);
		key_buffer_close(&whole[i]);
	}
	EXPECT_EQ(t, heap.used, 0);
}

static bool same_value(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == VALUE_REAL)
		return memcmp(&a->real, &b->real, sizeof a->real) == 0;
	if (a->type == VALUE_INTEGER)
		return a->integer == b->integer;
	return a->bytes.size == b->bytes.size &&
	       (!a->bytes.size || memcmp(a->bytes.data, b->bytes.data,
	                                 a->bytes.size) == 0);
}

static void what_decodes_exactly_is_what_went_in(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(100000, 5000);
	uint64_t exact_count = 0;
	struct key_buffer key;
	struct heap heap;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	for (uint64_t i = 0; i < rounds; i++) {
		struct key_column column = { (enum collation)(i % 3), i / 3 % 2 };
		uint8_t bytes[64], scratch[300];
		struct value in = random_value(&random, bytes), out;
		size_t size, skipped;
		bool exact;

		key_buffer_reset(&key);
		EXPECT_OK(t, key_append(&key, &in, &column, &t->err));
		EXPECT_OK(t, key_append_rowid(&key, 7, &t->err));
		EXPECT_OK(t, key_column_decode(span_of(key.bytes, key.size),
		                               &column, &out, scratch, &size,
		                               &exact, &t->err));
		EXPECT_OK(t, key_column_skip(span_of(key.bytes, key.size),
		                             column.descending, &skipped,
		                             &t->err));
		EXPECT_EQ(t, size, key.size - KEY_ROWID_SIZE);
		EXPECT_EQ(t, size, skipped);
		if (exact) {
			exact_count++;
			EXPECT(t, same_value(&in, &out));
			continue;
		}
		if (in.type == VALUE_TEXT) {
			EXPECT(t, column.collation != COLLATION_BINARY);
			continue;
		}
		/* A whole number that may be of either kind. */
		EXPECT_EQ(t, out.type, VALUE_INTEGER);
		if (in.type == VALUE_INTEGER)
			EXPECT_EQ(t, out.integer, in.integer);
		else
			EXPECT(t, (double)out.integer == in.real);
	}
	EXPECT(t, exact_count > rounds / 2);
	key_buffer_close(&key);
}

/* Text longer than its share is cut; keys then agree only up to the cut, and
 * against shorter text they still order truly. */
static void long_text_is_cut_and_says_so(struct test *t)
{
	static const struct key_column column = { COLLATION_BINARY, false };
	uint64_t random = t->seed, rounds = test_scaled(3000, 300);
	struct key_buffer a, b;
	struct heap heap;

	heap_init(&heap);
	key_buffer_init(&a, &heap);
	key_buffer_init(&b, &heap);
	for (uint64_t i = 0; i < rounds; i++) {
		uint8_t x[5000], y[5000];
		size_t x_size = 1900 + test_random(&random) % 100;
		size_t y_size = test_random(&random) % 8 ? 1900 +
			test_random(&random) % 100 : 5000;
		size_t same = 1900 + test_random(&random) % 60, least;
		struct value vx, vy;
		int wanted, given;

		memset(x, i % 3 ? 'x' : 0, sizeof x);
		memcpy(y, x, sizeof y);
		if (same < y_size)
			y[same] = (uint8_t)(test_random(&random) % 4);
		vx = text((char *)x, x_size);
		vy = text((char *)y, y_size);
		key_buffer_reset(&a);
		key_buffer_reset(&b);
		EXPECT_OK(t, key_append(&a, &vx, &column, &t->err));
		EXPECT_OK(t, key_append(&b, &vy, &column, &t->err));
		EXPECT(t, a.size <= BTREE_KEY_SIZE_MAX);
		least = x_size < y_size ? x_size : y_size;
		wanted = memcmp(x, y, least);
		if (!wanted)
			wanted = (x_size > y_size) - (x_size < y_size);
		given = compare(&a, &b);
		EXPECT_EQ(t, wanted == 0, given == 0);
		if (a.shortened && b.shortened &&
		    a.sure_size == b.sure_size &&
		    memcmp(a.bytes, b.bytes, a.sure_size) == 0)
			continue;
		EXPECT_EQ(t, (given > 0) - (given < 0),
		          (wanted > 0) - (wanted < 0));
	}
	key_buffer_close(&a);
	key_buffer_close(&b);
}

static void a_key_never_outgrows_its_limit(struct test *t)
{
	static const struct key_column column = { COLLATION_NOCASE, true };
	struct key_buffer key;
	char big[6000];
	struct value values[3];
	struct heap heap;
	size_t size, at = 0;
	int rc = 0, columns = 0;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	memset(big, 'Q', sizeof big);
	values[0] = text(big, sizeof big);
	values[1] = integer(INT64_MAX);
	values[2] = blob("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	while (!rc) {
		rc = key_append(&key, &values[columns % 3], &column, &t->err);
		columns += !rc;
	}
	EXPECT_EQ(t, rc, ERR_TOOBIG);
	EXPECT(t, columns > 12);
	EXPECT(t, key.shortened);
	EXPECT_OK(t, key_append_rowid(&key, -1, &t->err));
	EXPECT(t, key.size <= BTREE_KEY_SIZE_MAX);
	for (int i = 0; i < columns; i++) {
		EXPECT_OK(t, key_column_skip(span_of(key.bytes + at,
		                                     key.size - at), true,
		                             &size, &t->err));
		at += size;
	}
	EXPECT_EQ(t, at + KEY_ROWID_SIZE, key.size);
	key_buffer_close(&key);
}

static void a_prefix_end_is_above_all_its_keys(struct test *t)
{
	uint8_t bytes[] = { 0x20, 0x61, 0xFF, 0xFF };
	struct key_buffer key;
	struct heap heap;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	memcpy(key.bytes, bytes, sizeof bytes);
	key.size = sizeof bytes;
	EXPECT_OK(t, key_to_prefix_end(&key, &t->err));
	EXPECT_EQ(t, key.size, 2);
	EXPECT_EQ(t, key.bytes[1], 0x62);
	key_buffer_reset(&key);
	EXPECT_OK(t, key_to_prefix_end(&key, &t->err));
	EXPECT_EQ(t, key.size, 1);
	EXPECT_EQ(t, key.bytes[0], 0xFF);
}

/* Any bytes are either a column or an error; never read past the end (asan). */
static void bytes_that_are_no_key_are_refused(struct test *t)
{
	uint64_t random = t->seed, rounds = test_scaled(200000, 20000);
	uint64_t refused = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		size_t size = test_random(&random) % 16, column_size;
		uint8_t *bytes = malloc(size + 1), *scratch = malloc(size + 1);
		struct key_column column = { COLLATION_BINARY, i & 1 };
		struct value value;
		bool exact;

		for (size_t j = 0; j < size; j++)
			bytes[j] = (uint8_t)test_random(&random);
		if (size)
			bytes[0] = (uint8_t)(0x10 + bytes[0] % 0x13) ^
			           (i & 1 ? 0xFF : 0);
		if (key_column_decode(span_of(bytes, size), &column, &value,
		                      scratch, &column_size, &exact, &t->err))
			refused++;
		else
			EXPECT(t, column_size <= size);
		free(bytes);
		free(scratch);
	}
	EXPECT(t, refused > rounds / 10 && refused < rounds);
}

static const struct test_case cases[] = {
	CASE(keys_have_the_bytes_of_their_format),
	CASE(numbers_order_as_in_sqlite),
	CASE(values_order_as_in_sqlite),
	CASE(nocase_orders_as_in_sqlite),
	CASE(rtrim_orders_as_in_sqlite),
	CASE(several_columns_compare_one_by_one),
	CASE(what_decodes_exactly_is_what_went_in),
	CASE(long_text_is_cut_and_says_so),
	CASE(a_key_never_outgrows_its_limit),
	CASE(a_prefix_end_is_above_all_its_keys),
	CASE(bytes_that_are_no_key_are_refused),
};
TEST_MAIN(cases)
