/*
 * codec_fuzz.c - arbitrary bytes as a key and as a row: a column or an error,
 * and what decodes exactly encodes to the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btree/btree.h"
#include "btree/key.h"
#include "btree/row.h"
#include "test/fuzz/fuzz.h"

static void broken(const char *what)
{
	fprintf(stderr, "codec_fuzz: %s\n", what);
	abort();
}

static void encode_again(struct span column_bytes,
                         const struct key_column *column,
                         const struct value *value)
{
	struct key_buffer key;
	struct heap heap;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	if (key_append(&key, value, column, NULL))
		broken("a decoded value has no key");
	if (!key.shortened && (key.size != column_bytes.size ||
	                       memcmp(key.bytes, column_bytes.data, key.size)))
		broken("a decoded value has another key");
	key_buffer_close(&key);
}

static void key_decode(const uint8_t *data, size_t size, uint8_t choice)
{
	struct key_column column = {
		.collation = (enum collation)(choice % 3),
		.descending = choice >> 7,
	};
	uint8_t *bytes = malloc(size + 1), *scratch = malloc(size + 1);
	size_t at = 0, column_size;
	struct value value;
	bool exact;

	memcpy(bytes, data, size);
	while (at < size && !key_column_decode(span_of(bytes + at, size - at),
	                                       &column, &value, scratch,
	                                       &column_size, &exact, NULL)) {
		if (column_size == 0 || column_size > size - at)
			broken("a column of impossible size");
		if (exact)
			encode_again(span_of(bytes + at, column_size), &column,
			             &value);
		at += column_size;
	}
	free(bytes);
	free(scratch);
}

static void row_decode(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	struct value value;
	uint64_t sum = 0;
	bool present = true;

	memcpy(bytes, data, size);
	for (uint32_t i = 0; present && i < 3000; i++)
		if (!row_column(span_of(bytes, size), i, &value, &present,
		                NULL) &&
		    present && (value.type == VALUE_TEXT ||
		                value.type == VALUE_BLOB))
			for (size_t j = 0; j < value.bytes.size; j++)
				sum += value.bytes.data[j];
	if (sum == UINT64_MAX)
		broken("impossible");
	free(bytes);
}

static void run(const uint8_t *data, size_t size)
{
	if (size < 1)
		return;
	key_decode(data + 1, size - 1, data[0]);
	row_decode(data + 1, size - 1);
}

static const struct value values[] = {
	{ .type = VALUE_NULL },
	{ .type = VALUE_INTEGER, .integer = -300 },
	{ .type = VALUE_INTEGER, .integer = INT64_MAX },
	{ .type = VALUE_REAL, .real = 0.1 },
	{ .type = VALUE_TEXT, .bytes = { (const uint8_t *)"Ada \0 b", 7 } },
	{ .type = VALUE_BLOB, .bytes = { (const uint8_t *)"\0\1\xff\xfe", 4 } },
};
enum { VALUES = sizeof values / sizeof values[0] };

static size_t key_seed(uint8_t choice, uint8_t *data)
{
	struct key_column column = { .collation = (enum collation)(choice % 3),
	                             .descending = choice >> 7 };
	struct key_buffer key;
	struct heap heap;
	size_t size;

	heap_init(&heap);
	key_buffer_init(&key, &heap);
	for (size_t i = 0; i < VALUES; i++)
		if (key_append(&key, &values[i], &column, NULL))
			broken("a value has no key");
	size = key.size;
	data[0] = choice;
	memcpy(data + 1, key.bytes, size);
	key_buffer_close(&key);
	return 1 + size;
}

/* Keys of each collation and direction, then a row. */
static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	static const uint8_t choices[] = { 0, 1, 2, 0x81, 0x80, 0x82 };

	if (n >= sizeof choices + 1 || size_max < 1024)
		return 0;
	if (n < sizeof choices)
		return key_seed(choices[n], data);
	data[0] = 0;
	row_encode(values, VALUES, data + 1);
	return 1 + row_size(values, VALUES);
}

const struct fuzz_target codec_fuzz = {
	.name = "codec", .run = run, .seed = seed,
};
