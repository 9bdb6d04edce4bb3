/*
 * vector_value.c - an SQL value as a vector: a blob, whose subtype says what its
 * elements are (float32 when it does not), or JSON text, which is float32.
 */
#include "vtab/vector_value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "hnsw/vector.h"

void vector_value_release(struct vector_value *vector)
{
	sqlite3_free(vector->own);
	vector->own = NULL;
}

int vector_value_refuse(struct err *err, const char *function,
                        const char *format, ...)
{
	char text[300];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return err_set(err, ERR_INVALID, function, "", "%s", text);
}

static int no_memory(const char *function, struct err *err)
{
	return err_set(err, ERR_NOMEM, function, "", "no memory");
}

static bool all_finite(const float *numbers, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (!isfinite(numbers[i]))
			return false;
	return true;
}

static int take_json(const char *function, sqlite3_value *value,
                     struct vector_value *vector, struct err *err)
{
	const char *text = (const char *)sqlite3_value_text(value);
	float *numbers = NULL;
	uint64_t count;
	bool fits;

	if (!text)
		return no_memory(function, err);
	fits = vector_json_read(text, NULL, 0, &count) &&
	       count <= VECTOR_DIMENSIONS_MAX;
	if (fits && !count)
		return vector_value_refuse(err, function,
					   "a vector has at least one element");
	if (fits) {
		numbers = sqlite3_malloc64(count * sizeof *numbers);
		if (!numbers)
			return no_memory(function, err);
		vector_json_read(text, numbers, count, &count);
	}
	if (!fits || !all_finite(numbers, count)) {
		sqlite3_free(numbers);
		return vector_value_refuse(
					   err, function,
					   "the text is not a JSON array of at most %d finite numbers: '%.40s'",
					   VECTOR_DIMENSIONS_MAX, text);
	}
	*vector = (struct vector_value){ .element = HNSW_F32,
		                         .dimensions = (uint32_t)count,
		                         .bytes = (uint8_t *)numbers,
		                         .size = count * sizeof *numbers,
		                         .own = (uint8_t *)numbers };
	return ERR_NONE;
}

int vector_value_take_blob(const char *function, sqlite3_value *value,
                           enum hnsw_element element,
                           struct vector_value *vector, struct err *err)
{
	size_t size = (size_t)sqlite3_value_bytes(value);
	size_t width = element == HNSW_F32 ? 4 : element == HNSW_F16 ? 2 : 1;
	size_t dimensions = element == HNSW_BIT ? size * 8 : size / width;

	if (!size)
		return vector_value_refuse(err, function,
					   "a vector has at least one element");
	if (size % width)
		return vector_value_refuse(
					   err, function,
					   "a %s vector is a blob of a multiple of %zu bytes, %zu are given",
					   vector_element_name(element), width, size);
	if (dimensions > VECTOR_DIMENSIONS_MAX)
		return vector_value_refuse(
					   err, function,
					   "a vector has at most %d elements, %zu are given",
					   VECTOR_DIMENSIONS_MAX, dimensions);
	*vector = (struct vector_value){ .element = element,
		                         .dimensions = (uint32_t)dimensions,
		                         .bytes = sqlite3_value_blob(value),
		                         .size = size };
	return vector->bytes ? ERR_NONE : no_memory(function, err);
}

int vector_value_take(const char *function, sqlite3_value *value,
                      struct vector_value *vector, struct err *err)
{
	enum hnsw_element element = HNSW_F32;

	*vector = (struct vector_value){ .element = HNSW_F32 };
	switch (sqlite3_value_type(value)) {
	case SQLITE_TEXT:
		return take_json(function, value, vector, err);
	case SQLITE_BLOB:
		vector_subtype_element(sqlite3_value_subtype(value), &element);
		return vector_value_take_blob(function, value, element, vector,
		                              err);
	default:
		return vector_value_refuse(
					   err, function,
					   "a vector is a blob or a JSON array of numbers");
	}
}

int vector_value_take_two(const char *function, sqlite3_value **values,
                          struct vector_value vectors[2], struct err *err)
{
	int rc = vector_value_take(function, values[0], &vectors[0], err);

	vectors[1].own = NULL;
	if (!rc)
		rc = vector_value_take(function, values[1], &vectors[1], err);
	if (!rc && vectors[0].element != vectors[1].element)
		rc = vector_value_refuse(err, function,
					 "one vector is %s, the other %s",
					 vector_element_name(vectors[0].element),
					 vector_element_name(vectors[1].element));
	if (!rc && vectors[0].dimensions != vectors[1].dimensions)
		rc = vector_value_refuse(err, function,
					 "one vector has %u elements, the other %u",
					 vectors[0].dimensions,
					 vectors[1].dimensions);
	return rc;
}
