/*
 * vector_input.c - a vector as users write it: a blob of little-endian float32, or
 * JSON text. What cannot be a vector of the column is refused with the number
 * expected and the number given.
 */
#include "vtab/table.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const struct column_definition *column, struct err *err,
                  const char *what, uint64_t given)
{
	return err_set(err, ERR_INVALID, "take vector for column", column->name,
	               "%s (%u dimensions expected, %llu given)", what,
	               column->dimensions, (unsigned long long)given);
}

static int check_numbers(const struct column_definition *column,
                         enum hnsw_metric metric, const float *numbers,
                         struct err *err)
{
	bool zero = true;

	for (uint32_t i = 0; i < column->dimensions; i++) {
		if (!isfinite(numbers[i]))
			return err_set(err, ERR_INVALID,
			               "take vector for column", column->name,
			               "element %u of %u is not a finite number",
			               i + 1, column->dimensions);
		zero &= numbers[i] == 0;
	}
	if (zero && metric == HNSW_COSINE)
		return err_set(err, ERR_INVALID, "take vector for column",
		               column->name,
		               "all %u elements are zero, which has no direction for cosine",
		               column->dimensions);
	return ERR_NONE;
}

static const char *skip_space(const char *at)
{
	while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
		at++;
	return at;
}

/* A JSON number begins with a digit or a minus; strtof takes more than that. */
static bool number_at(const char *at, float *number, const char **end)
{
	const char *digit = *at == '-' ? at + 1 : at;
	char *stop;

	if (!isdigit((unsigned char)*digit) ||
	    (digit[0] == '0' && (digit[1] == 'x' || digit[1] == 'X')))
		return false;
	*number = strtof(at, &stop);
	*end = stop;
	return stop != at;
}

static int parse_text(const struct column_definition *column, const char *text,
                      float *numbers, struct err *err)
{
	const char *at = skip_space(text);
	uint64_t count = 0;
	float number;

	if (*at != '[')
		goto bad;
	at = skip_space(at + 1);
	while (*at != ']') {
		if (!number_at(at, &number, &at))
			goto bad;
		if (count < column->dimensions)
			numbers[count] = number;
		count++;
		at = skip_space(at);
		if (*at == ',') {
			at = skip_space(at + 1);
			if (*at == ']')
				goto bad;
		} else if (*at != ']') {
			goto bad;
		}
	}
	if (*skip_space(at + 1))
		goto bad;
	if (count != column->dimensions)
		return refuse(column, err, "the wrong number of elements", count);
	return ERR_NONE;

bad:
	return err_set(err, ERR_INVALID, "take vector for column", column->name,
	               "the text is not a JSON array of numbers: '%.40s'", text);
}

int vector_take(const struct column_definition *column, enum hnsw_metric metric,
                sqlite3_value *from, struct arena *arena, struct span *vector,
                struct err *err)
{
	size_t size = column->dimensions * sizeof(float);
	float *numbers;
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
	numbers = arena_allocate(arena, size);
	if (!numbers)
		return err_set(err, ERR_NOMEM, "take vector for column",
		               column->name, "no memory");
	if (sqlite3_value_type(from) == SQLITE_TEXT) {
		rc = parse_text(column, (const char *)sqlite3_value_text(from),
		                numbers, err);
	} else {
		const void *bytes = sqlite3_value_blob(from);
		size_t given = (size_t)sqlite3_value_bytes(from);

		if (given != size)
			return err_set(err, ERR_INVALID,
			               "take vector for column", column->name,
			               "a blob of %zu bytes expected (%u dimensions), %zu bytes given",
			               size, column->dimensions, given);
		memcpy(numbers, bytes, size);
	}
	if (!rc)
		rc = check_numbers(column, metric, numbers, err);
	*vector = span_of(numbers, size);
	return rc;
}
