/*
 * pure_vector_number.c - elements of vectors as numbers, and numbers as JSON text.
 */
#include "vtab/vector_number.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw/vector.h"

enum { SUBTYPE_F16 = 222, SUBTYPE_F32 = 223, SUBTYPE_BIT = 224,
       SUBTYPE_INT8 = 225 };

const char *vector_element_name(enum hnsw_element element)
{
	switch (element) {
	case HNSW_F16:
		return "float16";
	case HNSW_INT8:
		return "int8";
	case HNSW_BIT:
		return "bit";
	case HNSW_F32:
		break;
	}
	return "float32";
}

unsigned vector_subtype(enum hnsw_element element)
{
	switch (element) {
	case HNSW_F16:
		return SUBTYPE_F16;
	case HNSW_INT8:
		return SUBTYPE_INT8;
	case HNSW_BIT:
		return SUBTYPE_BIT;
	case HNSW_F32:
		break;
	}
	return SUBTYPE_F32;
}

bool vector_subtype_element(unsigned subtype, enum hnsw_element *element)
{
	switch (subtype) {
	case SUBTYPE_F32:
		*element = HNSW_F32;
		return true;
	case SUBTYPE_F16:
		*element = HNSW_F16;
		return true;
	case SUBTYPE_INT8:
		*element = HNSW_INT8;
		return true;
	case SUBTYPE_BIT:
		*element = HNSW_BIT;
		return true;
	default:
		return false;
	}
}

float vector_number(enum hnsw_element element, const uint8_t *bytes, uint32_t i)
{
	if (element == HNSW_BIT)
		return (float)(bytes[i / 8] >> i % 8 & 1);
	return vector_element(element, bytes, i);
}

bool vector_number_fits(enum hnsw_element element, float number)
{
	switch (element) {
	case HNSW_INT8:
		return number >= -128 && number <= 127 &&
		       number == floorf(number);
	case HNSW_BIT:
		return number == 0 || number == 1;
	case HNSW_F16:
		return fabsf(number) < 65520;
	case HNSW_F32:
		break;
	}
	return true;
}

void vector_number_store(enum hnsw_element element, uint8_t *bytes, uint32_t i,
                         float number)
{
	uint16_t half;

	switch (element) {
	case HNSW_F32:
		memcpy(bytes + (size_t)i * 4, &number, 4);
		break;
	case HNSW_F16:
		half = vector_half_of_float(number);
		memcpy(bytes + (size_t)i * 2, &half, 2);
		break;
	case HNSW_INT8:
		bytes[i] = (uint8_t)(int8_t)number;
		break;
	case HNSW_BIT:
		if (number != 0)
			bytes[i / 8] |= (uint8_t)(1u << i % 8);
		break;
	}
}

/* --- JSON ------------------------------------------------------------------------- */

static const char *skip_space(const char *at)
{
	while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
		at++;
	return at;
}

/* A JSON number begins with a digit or a minus; strtof takes more than that. */
static bool number_at(const char **at, float *number)
{
	const char *digit = **at == '-' ? *at + 1 : *at;
	char *stop;

	if (!isdigit((unsigned char)*digit) ||
	    (digit[0] == '0' && (digit[1] == 'x' || digit[1] == 'X')))
		return false;
	*number = strtof(*at, &stop);
	*at = stop;
	return true;
}

bool vector_json_read(const char *text, float *numbers, uint64_t room,
                      uint64_t *count)
{
	const char *at = skip_space(text);
	float number;

	*count = 0;
	if (*at != '[')
		return false;
	at = skip_space(at + 1);
	while (*at != ']') {
		if (!number_at(&at, &number))
			return false;
		if (*count < room)
			numbers[*count] = number;
		++*count;
		at = skip_space(at);
		if (*at == ',' && *(at = skip_space(at + 1)) != ']')
			continue;
		if (*at != ']' || at[-1] == ',')
			return false;
	}
	return *skip_space(at + 1) == 0;
}
