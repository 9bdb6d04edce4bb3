/*
 * key.c - keys built column by column, and taken apart again.
 */
#include "btree/key.h"

#include <assert.h>
#include <string.h>

#include "btree/btree.h"
#include "btree/key_number.h"
#include "btree/key_text.h"

void key_buffer_init(struct key_buffer *key, struct heap *heap)
{
	key->heap = heap;
	key->bytes = key->inline_bytes;
	key->room = sizeof key->inline_bytes;
	key_buffer_reset(key);
}

void key_buffer_close(struct key_buffer *key)
{
	if (key->bytes != key->inline_bytes)
		heap_free(key->heap, key->bytes);
	key_buffer_init(key, key->heap);
}

void key_buffer_reset(struct key_buffer *key)
{
	key->size = 0;
	key->sure_size = 0;
	key->shortened = false;
}

/* Room for `more` bytes behind the key. */
static int reserve(struct key_buffer *key, size_t more, struct err *err)
{
	size_t room = key->room;
	uint8_t *bytes;

	if (more <= room - key->size)
		return ERR_NONE;
	while (room - key->size < more)
		room *= 2;
	bytes = heap_allocate(key->heap, room);
	if (!bytes)
		return err_set(err, ERR_NOMEM, "build key", "",
		               "no memory for %zu bytes", room);
	memcpy(bytes, key->bytes, key->size);
	if (key->bytes != key->inline_bytes)
		heap_free(key->heap, key->bytes);
	key->bytes = bytes;
	key->room = room;
	return ERR_NONE;
}

int key_buffer_set(struct key_buffer *key, struct span bytes, struct err *err)
{
	int rc;

	key_buffer_reset(key);
	rc = reserve(key, bytes.size, err);
	if (rc)
		return rc;
	if (bytes.size)
		memcpy(key->bytes, bytes.data, bytes.size);
	key->size = bytes.size;
	return ERR_NONE;
}

/* Bytes that are left for this column when a rowid still has to follow. */
static size_t room_left(const struct key_buffer *key)
{
	size_t most = BTREE_KEY_SIZE_MAX - KEY_ROWID_SIZE;

	return key->size < most ? most - key->size : 0;
}

static int too_big(const struct key_buffer *key, struct err *err)
{
	return err_set(err, ERR_TOOBIG, "build key", "",
	               "its columns need more than %d bytes, %zu are taken",
	               BTREE_KEY_SIZE_MAX, key->size);
}

/* How long text behind its type byte may be before it is cut. It depends on the
 * columns before alone, so that equal columns are cut alike. */
static bool text_size_max(const struct key_buffer *key, size_t *size_max)
{
	size_t room = room_left(key);

	if (room / KEY_SHARE_DIVISOR >= KEY_SHARE_LEAST)
		*size_max = room / KEY_SHARE_DIVISOR;
	else if (room > 1 + KEY_CUT_SIZE)
		*size_max = room - 1 - KEY_CUT_SIZE;
	else
		return false;
	return true;
}

static int text_append(struct key_buffer *key, uint8_t type,
                       const struct key_text *text, struct err *err)
{
	size_t size_max, cut_at = 0, room;
	bool cut;
	int rc;

	if (!text_size_max(key, &size_max))
		return too_big(key, err);
	/* Escapes at most double; what is longer than size_max is cut. */
	room = 2 * text->bytes.size + 2 + KEY_LENGTH_SIZE;
	if (room > size_max)
		room = size_max;
	rc = reserve(key, 1 + room + KEY_CUT_SIZE, err);
	if (rc)
		return rc;
	key->bytes[key->size++] = type;
	room = key_text_encode(text, size_max, key->bytes + key->size, &cut,
	                       &cut_at);
	if (cut && !key->shortened) {
		key->shortened = true;
		key->sure_size = key->size + cut_at;
	}
	key->size += room;
	return ERR_NONE;
}

static int ascending_append(struct key_buffer *key, const struct value *value,
                            enum collation collation, struct err *err)
{
	struct key_text text;
	int rc;

	if (value->type == VALUE_TEXT || value->type == VALUE_BLOB) {
		text = key_text_of(value->bytes, value->type == VALUE_TEXT
		                   ? collation : COLLATION_BINARY);
		return text_append(key, value->type == VALUE_TEXT ? KEY_TEXT
		                                                  : KEY_BLOB,
		                   &text, err);
	}
	if (room_left(key) < KEY_NUMBER_SIZE_MAX)
		return too_big(key, err);
	rc = reserve(key, KEY_NUMBER_SIZE_MAX, err);
	if (rc)
		return rc;
	switch (value->type) {
	case VALUE_NULL:
		key->bytes[key->size++] = KEY_NULL;
		return ERR_NONE;
	case VALUE_INTEGER:
		key->size += key_integer_encode(value->integer,
		                                key->bytes + key->size);
		return ERR_NONE;
	case VALUE_REAL:
		key->size += key_real_encode(value->real,
		                             key->bytes + key->size);
		return ERR_NONE;
	default:
		return err_set(err, ERR_INVALID, "build key", "",
		               "a value of kind %d has no place in a key",
		               (int)value->type);
	}
}

int key_append(struct key_buffer *key, const struct value *value,
               const struct key_column *column, struct err *err)
{
	size_t start = key->size;
	int rc = ascending_append(key, value, column->collation, err);

	if (rc || !column->descending)
		return rc;
	for (size_t i = start; i < key->size; i++)
		key->bytes[i] ^= 0xFF;
	return ERR_NONE;
}

int key_append_rowid(struct key_buffer *key, int64_t rowid, struct err *err)
{
	int rc;

	if (BTREE_KEY_SIZE_MAX - key->size < KEY_ROWID_SIZE)
		return too_big(key, err);
	rc = reserve(key, KEY_ROWID_SIZE, err);
	if (rc)
		return rc;
	btree_rowid_key(key->bytes + key->size, rowid);
	key->size += KEY_ROWID_SIZE;
	return ERR_NONE;
}

int key_to_prefix_end(struct key_buffer *key, struct err *err)
{
	int rc = reserve(key, 1, err);

	if (rc)
		return rc;
	while (key->size && key->bytes[key->size - 1] == 0xFF)
		key->size--;
	if (key->size)
		key->bytes[key->size - 1]++;
	else
		key->bytes[key->size++] = KEY_ABOVE_ALL;
	return ERR_NONE;
}

static int not_a_key(struct err *err)
{
	return err_set(err, ERR_CORRUPT, "read key", "",
	               "its bytes are those of no column");
}

int key_column_skip(struct span key, bool descending, size_t *column_size,
                    struct err *err)
{
	uint8_t mask = descending ? 0xFF : 0, type;
	size_t size;

	if (!key.size)
		return not_a_key(err);
	type = key.data[0] ^ mask;
	if (type == KEY_NULL) {
		*column_size = 1;
		return ERR_NONE;
	}
	if (type == KEY_TEXT || type == KEY_BLOB) {
		size = key_text_size(span_of(key.data + 1, key.size - 1), mask);
		*column_size = 1 + size;
	} else {
		size = key_number_size(key, mask);
		*column_size = size;
	}
	return size ? ERR_NONE : not_a_key(err);
}

static_assert((int)KEY_CUT_KEY_SIZE_LEAST <=
              (BTREE_KEY_SIZE_MAX - KEY_ROWID_SIZE) / KEY_SHARE_DIVISOR,
              "a cut column takes its share of the key");

int key_column_cut(struct span key, bool descending, size_t *cut_at,
                   size_t *column_size, struct err *err)
{
	uint8_t mask = descending ? 0xFF : 0, type;
	size_t size;
	int rc;

	*cut_at = 0;
	type = key.size ? key.data[0] ^ mask : 0;
	if (type != KEY_TEXT && type != KEY_BLOB)
		return key_column_skip(key, descending, column_size, err);
	size = key_text_cut(span_of(key.data + 1, key.size - 1), mask, cut_at);
	rc = size ? ERR_NONE : not_a_key(err);
	*column_size = 1 + size;
	if (*cut_at)
		*cut_at += 1;
	return rc;
}

int key_column_decode(struct span key, const struct key_column *column,
                      struct value *value, uint8_t *scratch,
                      size_t *column_size, bool *exact, struct err *err)
{
	uint8_t mask = column->descending ? 0xFF : 0, type;
	bool whole;
	size_t size;
	int rc;

	rc = key_column_skip(key, column->descending, &size, err);
	if (rc)
		return rc;
	type = key.data[0] ^ mask;
	if (type == KEY_NULL) {
		*value = (struct value){ .type = VALUE_NULL };
		*exact = true;
	} else if (type == KEY_TEXT || type == KEY_BLOB) {
		*value = (struct value){
			.type = type == KEY_TEXT ? VALUE_TEXT : VALUE_BLOB,
			.bytes = key_text_decode(key.data + 1, size - 1, mask,
			                         scratch, &whole),
		};
		*exact = whole && (type == KEY_BLOB ||
		                   column->collation == COLLATION_BINARY);
	} else if (!key_number_decode(key, mask, value, exact)) {
		return not_a_key(err);
	}
	*column_size = size;
	return ERR_NONE;
}
