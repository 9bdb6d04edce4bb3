/*
 * row.c - rows in and out of bytes.
 *
 * Ends instead of lengths make any column two loads away. A row of fewer than
 * 256 bytes, the usual one, spends a byte and a half on each column.
 */
#include "btree/row.h"

#include <assert.h>
#include <string.h>

#include "btree/row_format.h"

/* Where the parts of a row lie. */
struct row_frame {
	uint32_t count, width;
	size_t kinds_at, ends_at, bytes_at;
};

static struct row_frame frame_of(uint32_t count, uint32_t width)
{
	struct row_frame frame = { .count = count, .width = width };

	frame.kinds_at = ROW_HEAD_SIZE;
	if (count >= ROW_COUNT_FOLLOWS)
		frame.kinds_at += ROW_COUNT_SIZE;
	frame.ends_at = frame.kinds_at + (count + 1) / 2;
	frame.bytes_at = frame.ends_at + (size_t)count * width;
	return frame;
}

static uint32_t integer_size(int64_t integer)
{
	uint64_t folded = (uint64_t)(integer < 0 ? ~integer : integer);

	if (!integer)
		return 0;
	/* The bits of the magnitude and one for the sign. */
	return folded ? (uint32_t)(64 - __builtin_clzll(folded)) / 8 + 1 : 1;
}

static size_t column_size(const struct value *value)
{
	switch (value->type) {
	case VALUE_NULL:
		return 0;
	case VALUE_INTEGER:
		return integer_size(value->integer);
	case VALUE_REAL:
		return ROW_REAL_SIZE;
	case VALUE_TEXT:
		return value->bytes.size + 1;
	case VALUE_BLOB:
		return value->bytes.size;
	case VALUE_VECTOR:
		return ROW_VECTOR_SIZE;
	}
	return 0;
}

static uint32_t width_for(size_t bytes)
{
	return bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
}

static size_t columns_size(const struct value *values, uint32_t count)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += column_size(&values[i]);
	return bytes;
}

size_t row_size(const struct value *values, uint32_t count)
{
	size_t bytes = columns_size(values, count);

	return frame_of(count, width_for(bytes)).bytes_at + bytes;
}

static uint8_t kind_of(enum value_type type)
{
	static const uint8_t kinds[] = {
		[VALUE_NULL] = ROW_NULL, [VALUE_INTEGER] = ROW_INTEGER,
		[VALUE_REAL] = ROW_REAL, [VALUE_TEXT] = ROW_TEXT,
		[VALUE_BLOB] = ROW_BLOB, [VALUE_VECTOR] = ROW_VECTOR,
	};

	return kinds[type];
}

static size_t column_write(const struct value *value, uint8_t *at)
{
	uint8_t bytes[8];
	size_t size;

	switch (value->type) {
	case VALUE_NULL:
		return 0;
	case VALUE_INTEGER:
	case VALUE_VECTOR:
		size = column_size(value);
		store_le64(bytes, (uint64_t)value->integer);
		memcpy(at, bytes, size);
		return size;
	case VALUE_REAL:
		memcpy(at, &value->real, ROW_REAL_SIZE);
		return ROW_REAL_SIZE;
	case VALUE_TEXT:
	case VALUE_BLOB:
		size = value->bytes.size;
		if (size)
			memcpy(at, value->bytes.data, size);
		if (value->type == VALUE_BLOB)
			return size;
		at[size] = 0;
		return size + 1;
	}
	return 0;
}

static void end_write(uint8_t *at, uint32_t width, size_t end)
{
	if (width == 1)
		at[0] = (uint8_t)end;
	else if (width == 2)
		store_le16(at, (uint16_t)end);
	else
		store_le32(at, (uint32_t)end);
}

static void head_write(const struct row_frame *frame, uint8_t *bytes)
{
	uint8_t width = frame->width == 1 ? ROW_WIDTH_1
		: frame->width == 2 ? ROW_WIDTH_2 : ROW_WIDTH_4;

	if (frame->count < ROW_COUNT_FOLLOWS) {
		bytes[0] = (uint8_t)(frame->count << ROW_COUNT_SHIFT | width);
		return;
	}
	bytes[0] = (uint8_t)(ROW_COUNT_FOLLOWS << ROW_COUNT_SHIFT | width);
	store_le16(bytes + ROW_HEAD_SIZE, (uint16_t)frame->count);
}

void row_encode(const struct value *values, uint32_t count, uint8_t *bytes)
{
	struct row_frame frame =
		frame_of(count, width_for(columns_size(values, count)));
	uint8_t *kinds = bytes + frame.kinds_at, *ends = bytes + frame.ends_at;
	size_t end = 0;

	assert(count <= ROW_COLUMNS_MAX);
	head_write(&frame, bytes);
	memset(kinds, 0, frame.ends_at - frame.kinds_at);
	for (uint32_t i = 0; i < count; i++) {
		kinds[i / 2] |= (uint8_t)(kind_of(values[i].type)
		                          << (i & 1) * 4);
		end += column_write(&values[i], bytes + frame.bytes_at + end);
		end_write(ends + i * frame.width, frame.width, end);
	}
}

/* column_write() with slack behind the row: numbers are stored whole, and what is
 * too much of them is written over by what follows. */
static inline size_t column_write_fast(const struct value *value, uint8_t *at)
{
	switch (value->type) {
	case VALUE_NULL:
		return 0;
	case VALUE_INTEGER:
		store_le64(at, (uint64_t)value->integer);
		return integer_size(value->integer);
	case VALUE_TEXT:
		memcpy(at, value->bytes.data, value->bytes.size);
		at[value->bytes.size] = 0;
		return value->bytes.size + 1;
	default:
		return column_write(value, at);
	}
}

void row_encode_sized(const struct value *values, uint32_t count, size_t size,
                      uint8_t *bytes)
{
	struct row_frame frame = frame_of(count, 1);
	uint8_t *kinds, *ends, *at, kind = 0;

	if (size - frame.bytes_at > UINT8_MAX) {
		row_encode(values, count, bytes);
		return;
	}
	head_write(&frame, bytes);
	kinds = bytes + frame.kinds_at;
	ends = bytes + frame.ends_at;
	at = bytes + frame.bytes_at;
	for (uint32_t i = 0; i < count; i++) {
		kind = (uint8_t)(i & 1 ? kind | kind_of(values[i].type) << 4
		                       : kind_of(values[i].type));
		kinds[i / 2] = kind;
		at += column_write_fast(&values[i], at);
		ends[i] = (uint8_t)((size_t)(at - bytes) - frame.bytes_at);
	}
	assert(at == bytes + size);
}

static int damaged(struct err *err, const char *reason)
{
	return err_set(err, ERR_CORRUPT, "read row", "", "%s", reason);
}

static inline bool frame_read(struct span row, struct row_frame *frame)
{
	static const uint8_t widths[] = {
		[ROW_WIDTH_1] = 1, [ROW_WIDTH_2] = 2, [ROW_WIDTH_4] = 4, 0,
	};
	uint32_t count, width;

	if (row.size < ROW_HEAD_SIZE)
		return false;
	count = row.data[0] >> ROW_COUNT_SHIFT;
	width = widths[row.data[0] & ROW_WIDTH_MASK];
	if (width == 1 && count != ROW_COUNT_FOLLOWS) { /* the usual row */
		frame->count = count;
		frame->width = 1;
		frame->kinds_at = ROW_HEAD_SIZE;
		frame->ends_at = ROW_HEAD_SIZE + (count + 1) / 2;
		frame->bytes_at = frame->ends_at + count;
		return frame->bytes_at <= row.size;
	}
	if (count == ROW_COUNT_FOLLOWS) {
		if (row.size < ROW_HEAD_SIZE + ROW_COUNT_SIZE)
			return false;
		count = load_le16(row.data + ROW_HEAD_SIZE);
		if (count < ROW_COUNT_FOLLOWS)
			return false;
	}
	*frame = frame_of(count, width);
	return width && frame->bytes_at <= row.size;
}

static inline size_t end_read(struct span row, const struct row_frame *frame,
                              uint32_t index)
{
	const uint8_t *at = row.data + frame->ends_at +
	                    (size_t)index * frame->width;

	if (frame->width == 1)
		return at[0];
	return frame->width == 2 ? load_le16(at) : load_le32(at);
}

/* The last `size` of the bytes before `end`, sign-extended. */
static inline int64_t integer_read(struct span row, size_t end, size_t size)
{
	uint64_t bits = 0;

	if (!size)
		return 0;
	if (end >= 8) {
		bits = load_le64(row.data + end - 8);
		return (int64_t)bits >> (64 - 8 * size);
	}
	for (size_t i = 0; i < size; i++)
		bits |= (uint64_t)row.data[end - size + i]
		        << (8 * i + 64 - 8 * size);
	return (int64_t)bits >> (64 - 8 * size);
}

static int column_read(struct span row, uint8_t kind, size_t start, size_t end,
                       struct value *value, struct err *err)
{
	const uint8_t *at = row.data + start;
	size_t size = end - start;

	switch (kind) {
	case ROW_NULL:
		if (size)
			break;
		value->type = VALUE_NULL;
		return ERR_NONE;
	case ROW_INTEGER:
		if (size > ROW_INTEGER_SIZE_MAX)
			break;
		value->type = VALUE_INTEGER;
		value->integer = integer_read(row, end, size);
		return ERR_NONE;
	case ROW_REAL:
		if (size != ROW_REAL_SIZE)
			break;
		value->type = VALUE_REAL;
		memcpy(&value->real, at, ROW_REAL_SIZE);
		return ERR_NONE;
	case ROW_TEXT:
		if (!size || at[size - 1])
			break;
		value->type = VALUE_TEXT;
		value->bytes = span_of(at, size - 1);
		return ERR_NONE;
	case ROW_BLOB:
		value->type = VALUE_BLOB;
		value->bytes = span_of(at, size);
		return ERR_NONE;
	case ROW_VECTOR:
		if (size != ROW_VECTOR_SIZE)
			break;
		value->type = VALUE_VECTOR;
		value->integer = load_le32(at);
		return ERR_NONE;
	default:
		return damaged(err, "a column is of no known kind");
	}
	return damaged(err, "a column has a size that its kind cannot have");
}

/* Where a column's bytes lie; false when they leave the row. */
static inline bool column_find(struct span row, const struct row_frame *frame,
                               uint32_t index, size_t start, size_t *end)
{
	*end = end_read(row, frame, index);
	return start <= *end && *end <= row.size - frame->bytes_at;
}

static inline uint8_t kind_read(struct span row, const struct row_frame *frame,
                                uint32_t index)
{
	return row.data[frame->kinds_at + index / 2] >> (index & 1) * 4 & 15;
}

static int refuse_end(struct err *err)
{
	return damaged(err,
	               "a column ends before it starts or behind the row");
}

/* A whole number or a text of the usual row, whose ends are single bytes and whose
 * columns are few. False: look at it the long way. */
static inline bool column_read_small(struct span row, uint32_t index,
                                     struct value *value)
{
	const uint8_t *bytes = row.data;
	uint32_t count, ends_at, base, start, end;

	if (!row.size || (bytes[0] & ROW_WIDTH_MASK) != ROW_WIDTH_1)
		return false;
	count = bytes[0] >> ROW_COUNT_SHIFT;
	ends_at = ROW_HEAD_SIZE + (count + 1) / 2;
	base = ends_at + count;
	if (count == ROW_COUNT_FOLLOWS || index >= count || base > row.size)
		return false;
	start = base + (index ? bytes[ends_at + index - 1] : 0u);
	end = base + bytes[ends_at + index];
	if (start > end || end > row.size)
		return false;
	switch (bytes[ROW_HEAD_SIZE + index / 2] >> (index & 1) * 4 & 15) {
	case ROW_INTEGER:
		if (end - start > ROW_INTEGER_SIZE_MAX)
			return false;
		value->type = VALUE_INTEGER;
		value->integer = integer_read(row, end, end - start);
		return true;
	case ROW_TEXT:
		if (start == end || bytes[end - 1])
			return false;
		value->type = VALUE_TEXT;
		value->bytes = span_of(bytes + start, end - start - 1);
		return true;
	default:
		return false;
	}
}

static __attribute__((noinline)) int column_read_any(struct span row, uint32_t index,
                           struct value *value, bool *present, struct err *err)
{
	struct row_frame frame;
	size_t start, end;
	int rc;

	if (!frame_read(row, &frame))
		return damaged(err, "its head is longer than the row");
	if (index >= frame.count) {
		*present = false;
		return ERR_NONE;
	}
	start = index ? end_read(row, &frame, index - 1) : 0;
	if (!column_find(row, &frame, index, start, &end))
		return refuse_end(err);
	rc = column_read(row, kind_read(row, &frame, index),
	                 frame.bytes_at + start, frame.bytes_at + end, value,
	                 err);
	if (!rc)
		*present = true;
	return rc;
}

int row_column(struct span row, uint32_t index, struct value *value,
               bool *present, struct err *err)
{
	if (!column_read_small(row, index, value))
		return column_read_any(row, index, value, present, err);
	*present = true;
	return ERR_NONE;
}

int row_columns(struct span row, struct value *values, uint32_t count,
                struct err *err)
{
	struct row_frame frame;
	size_t start = 0, end;
	uint32_t there;
	int rc = ERR_NONE;

	if (!frame_read(row, &frame))
		return damaged(err, "its head is longer than the row");
	there = count < frame.count ? count : frame.count;
	for (uint32_t i = 0; !rc && i < there; i++, start = end) {
		if (!column_find(row, &frame, i, start, &end))
			return refuse_end(err);
		rc = column_read(row, kind_read(row, &frame, i),
		                 frame.bytes_at + start, frame.bytes_at + end,
		                 &values[i], err);
	}
	for (uint32_t i = there; i < count; i++)
		values[i].type = VALUE_NULL;
	return rc;
}

bool row_fits(struct span row, const struct value *values, const bool *unchanged,
              uint32_t count)
{
	struct row_frame frame;
	size_t start, end;

	if (!frame_read(row, &frame) || frame.count != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (unchanged[i])
			continue;
		start = i ? end_read(row, &frame, i - 1) : 0;
		if (!column_find(row, &frame, i, start, &end) ||
		    column_size(&values[i]) != end - start)
			return false;
	}
	return true;
}

void row_patch(struct span row, const struct value *values,
               const bool *unchanged, uint32_t count, uint8_t *bytes)
{
	struct row_frame frame;

	if (!frame_read(row, &frame))
		return;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *kinds = bytes + frame.kinds_at + i / 2;
		uint32_t shift = (i & 1) * 4;

		if (unchanged[i])
			continue;
		*kinds = (uint8_t)((*kinds & 0xF0 >> shift) |
		                   kind_of(values[i].type) << shift);
		column_write(&values[i],
		             bytes + frame.bytes_at +
		             (i ? end_read(row, &frame, i - 1) : 0));
	}
}
