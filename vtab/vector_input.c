/*
 * vector_input.c - a vector as users write it: a blob of little-endian float32, JSON
 * text, a typed value of vec_int8() and its like, or the bytes that the column itself
 * gives. Elements are made those of the column where their numbers allow it; what
 * cannot be a vector of the column is refused with the number expected and given.
 */
#include "vtab/table.h"
#include "vtab/vector_number.h"

#include <math.h>
#include <string.h>

#include "hnsw/vector.h"

static int check_finite(const struct column_definition *column,
                        const float *numbers, struct err *err)
{
	for (uint32_t i = 0; i < column->dimensions; i++) {
		if (!isfinite(numbers[i]))
			return err_set(err, ERR_INVALID,
			               "take vector for column", column->name,
			               "element %u of %u is not a finite number",
			               i + 1, column->dimensions);
		if (!vector_number_fits(column->element, numbers[i]))
			return err_set(err, ERR_INVALID,
			               "take vector for column", column->name,
			               "element %u of %u, %g, is no %s", i + 1,
			               column->dimensions, (double)numbers[i],
			               vector_element_name(column->element));
	}
	return ERR_NONE;
}

static int check_direction(const struct column_definition *column,
                           enum hnsw_metric metric, const uint8_t *bytes,
                           struct err *err)
{
	if (metric != HNSW_COSINE)
		return ERR_NONE;
	for (uint32_t i = 0; i < column->dimensions; i++)
		if (vector_number(column->element, bytes, i) != 0)
			return ERR_NONE;
	return err_set(err, ERR_INVALID, "take vector for column", column->name,
	               "all %u elements are zero, which has no direction for cosine",
	               column->dimensions);
}

static int take_text(const struct column_definition *column, const char *text,
                     float *numbers, struct err *err)
{
	uint64_t count;

	if (!text)
		return err_set(err, ERR_NOMEM, "take vector for column",
		               column->name, "no memory");
	if (!vector_json_read(text, numbers, column->dimensions, &count))
		return err_set(err, ERR_INVALID, "take vector for column",
		               column->name,
		               "the text is not a JSON array of numbers: '%.40s'",
		               text);
	if (count != column->dimensions)
		return err_set(err, ERR_INVALID, "take vector for column",
		               column->name,
		               "the wrong number of elements (%u dimensions expected, %llu given)",
		               column->dimensions, (unsigned long long)count);
	return ERR_NONE;
}

/* Numbers become elements of the column. */
static int take_numbers(const struct column_definition *column,
                        const float *numbers, uint8_t *bytes, struct err *err)
{
	int rc = check_finite(column, numbers, err);

	memset(bytes, 0, vector_size(column->element, column->dimensions));
	for (uint32_t i = 0; i < column->dimensions && !rc; i++)
		vector_number_store(column->element, bytes, i, numbers[i]);
	return rc;
}

/* The bytes are elements of the column already. */
static int take_elements(const struct column_definition *column,
                         const uint8_t *given, uint8_t *bytes, struct err *err)
{
	uint32_t rest = column->dimensions % 8;

	memcpy(bytes, given, vector_size(column->element, column->dimensions));
	if (column->element == HNSW_BIT && rest) /* those beyond are zero */
		bytes[column->dimensions / 8] &= (uint8_t)((1u << rest) - 1);
	if (column->element != HNSW_F32 && column->element != HNSW_F16)
		return ERR_NONE;
	for (uint32_t i = 0; i < column->dimensions; i++)
		if (!isfinite(vector_number(column->element, bytes, i)))
			return err_set(err, ERR_INVALID,
			               "take vector for column", column->name,
			               "element %u of %u is not a finite number",
			               i + 1, column->dimensions);
	return ERR_NONE;
}

static int take_blob(const struct column_definition *column,
                     sqlite3_value *from, float *numbers, uint8_t *bytes,
                     struct err *err)
{
	uint32_t dimensions = column->dimensions;
	size_t given = (size_t)sqlite3_value_bytes(from);
	size_t own = vector_size(column->element, dimensions);
	const uint8_t *blob = sqlite3_value_blob(from);
	enum hnsw_element element = HNSW_F32;
	bool typed = vector_subtype_element(sqlite3_value_subtype(from),
	                                    &element);

	if (given && !blob)
		return err_set(err, ERR_NOMEM, "take vector for column",
		               column->name, "no memory");
	if (given == own && (!typed || element == column->element))
		return take_elements(column, blob, bytes, err);
	if (given != vector_size(element, dimensions))
		return err_set(err, ERR_INVALID, "take vector for column",
		               column->name,
		               "a blob of %zu bytes expected (%u dimensions), %zu bytes given",
		               own, dimensions, given);
	for (uint32_t i = 0; i < dimensions; i++)
		numbers[i] = vector_number(element, blob, i);
	return take_numbers(column, numbers, bytes, err);
}

int vector_take(const struct column_definition *column, enum hnsw_metric metric,
                sqlite3_value *from, struct arena *arena, struct span *vector,
                struct err *err)
{
	size_t size = vector_size(column->element, column->dimensions);
	float *numbers;
	uint8_t *bytes;
	int rc = ERR_NONE;

	switch (sqlite3_value_type(from)) {
	case SQLITE_BLOB:
	case SQLITE_TEXT:
		break;
	default:
		return err_set(err, ERR_INVALID, "take vector for column",
		               column->name,
		               "a number is no vector: a blob of %zu bytes or a JSON array of %u numbers is",
		               size, column->dimensions);
	}
	bytes = arena_allocate(arena, size);
	numbers = arena_allocate(arena, column->dimensions * sizeof *numbers);
	if (!numbers || !bytes)
		return err_set(err, ERR_NOMEM, "take vector for column",
		               column->name, "no memory");
	if (sqlite3_value_type(from) == SQLITE_TEXT) {
		rc = take_text(column, (const char *)sqlite3_value_text(from),
		               numbers, err);
		if (!rc)
			rc = take_numbers(column, numbers, bytes, err);
	} else {
		rc = take_blob(column, from, numbers, bytes, err);
	}
	if (!rc)
		rc = check_direction(column, metric, bytes, err);
	*vector = span_of(bytes, size);
	return rc;
}
