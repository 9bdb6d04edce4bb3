/*
 * key_number.c - integers and reals in one order, exactly.
 *
 * Every finite number but zero is s * 1.m * 2^e with at most 63 bits of m, and
 * compares by sign, exponent and m. Integers and reals go through that form, so
 * 2^53 + 1 lies between the reals around it, and 1 and 1.0 have the same bytes.
 * An integer below 4 takes two bytes, one below 512 three.
 */
#include "btree/key_number.h"

#include <math.h>
#include <string.h>

/* Magnitude of a number: 1.m * 2^exponent. */
struct normal {
	int exponent;
	uint64_t mantissa; /* m, left-aligned */
};

/* How the exponents of one class lie. */
struct class {
	uint8_t type; /* of positive numbers */
	int bits, bias;
	int size;     /* bytes with exponent and the first bits of m */
};

static const struct class classes[] = {
	{ KEY_PLUS_FRACTION, KEY_FRACTION_EXPONENT_BITS,
	  KEY_FRACTION_EXPONENT_BIAS, 2 },
	{ KEY_PLUS, KEY_PLUS_EXPONENT_BITS, KEY_PLUS_EXPONENT_BIAS, 1 },
	{ KEY_PLUS_HUGE, KEY_HUGE_EXPONENT_BITS, KEY_HUGE_EXPONENT_BIAS, 2 },
};

static const struct class *class_of(int exponent)
{
	return &classes[(exponent >= 0) + (exponent >= 64)];
}

static uint8_t type_mirrored(uint8_t type)
{
	return (uint8_t)(2 * KEY_ZERO - type);
}

static struct normal normal_of(uint64_t magnitude, int exponent)
{
	int zeros = __builtin_clzll(magnitude);

	return (struct normal){ .exponent = exponent + 63 - zeros,
	                        .mantissa = magnitude << zeros << 1 };
}

static size_t normal_encode(struct normal number, bool negative,
                            uint8_t *bytes)
{
	const struct class *class = class_of(number.exponent);
	int first = 8 * class->size - 1 - class->bits;
	uint64_t m = number.mantissa << first;
	uint32_t word = (uint32_t)(number.exponent + class->bias) << first |
	                (uint32_t)(number.mantissa >> (64 - first));
	uint8_t mask = negative ? 0xFF : 0, *at = bytes;

	*at++ = negative ? type_mirrored(class->type) : class->type;
	word = word << 1 | (m != 0);
	if (class->size == 2)
		*at++ = (uint8_t)(word >> 8) ^ mask;
	*at++ = (uint8_t)word ^ mask;
	while (m) {
		uint8_t group = (uint8_t)(m >> (64 - KEY_GROUP_BITS) << 1);

		m <<= KEY_GROUP_BITS;
		*at++ = (uint8_t)(group | (m != 0)) ^ mask;
	}
	return (size_t)(at - bytes);
}

size_t key_integer_encode(int64_t integer, uint8_t *bytes)
{
	bool negative = integer < 0;
	uint64_t magnitude = negative ? 0 - (uint64_t)integer
	                              : (uint64_t)integer;

	if (!integer) {
		bytes[0] = KEY_ZERO;
		return 1;
	}
	return normal_encode(normal_of(magnitude, 0), negative, bytes);
}

size_t key_real_encode(double real, uint8_t *bytes)
{
	uint64_t bits, fraction;
	int exponent;

	memcpy(&bits, &real, sizeof bits);
	fraction = bits & ((UINT64_C(1) << 52) - 1);
	exponent = (int)(bits >> 52 & 0x7FF);
	if (exponent == 0x7FF) {
		bytes[0] = fraction ? KEY_NAN : real < 0 ? KEY_MINUS_INFINITY
		                                         : KEY_PLUS_INFINITY;
		return 1;
	}
	if (!exponent && !fraction) {
		bytes[0] = KEY_ZERO;
		return 1;
	}
	if (exponent)
		fraction |= UINT64_C(1) << 52;
	else
		exponent = 1;
	return normal_encode(normal_of(fraction, exponent - 1023 - 52),
	                     bits >> 63, bytes);
}

/* The class of a type byte, NULL when it is none of them. */
static const struct class *class_of_type(uint8_t type, bool *negative)
{
	*negative = type < KEY_ZERO;
	if (*negative)
		type = type_mirrored(type);
	if (type < KEY_PLUS_FRACTION || type > KEY_PLUS_HUGE)
		return NULL;
	return &classes[type - KEY_PLUS_FRACTION];
}

size_t key_number_size(struct span key, uint8_t mask)
{
	const struct class *class;
	uint8_t type;
	bool negative;
	size_t at;

	if (!key.size)
		return 0;
	type = key.data[0] ^ mask;
	if (type < KEY_MINUS_INFINITY || type > KEY_NAN)
		return 0;
	class = class_of_type(type, &negative);
	if (!class)
		return 1;
	if (negative)
		mask ^= 0xFF;
	for (at = (size_t)class->size;
	     at < key.size && at < KEY_NUMBER_SIZE_MAX; at++)
		if (!((key.data[at] ^ mask) & 1))
			return at + 1;
	return 0;
}

/* Takes the bytes apart; `size` as key_number_size() found it. False when m has
 * more bits than a number, or zero groups at its end, or when the exponent is one
 * of another class. */
static bool normal_decode(const uint8_t *bytes, size_t size, uint8_t mask,
                          const struct class *class, struct normal *number)
{
	int first = 8 * class->size - 1 - class->bits, left = 64 - first;
	uint32_t word = bytes[1] ^ mask;
	uint64_t m;
	size_t at = 2;

	if (class->size == 2)
		word = word << 8 | (uint8_t)(bytes[at++] ^ mask);
	word >>= 1;
	number->exponent = (int)(word >> first) - class->bias;
	m = (uint64_t)word << (64 - first);
	for (; at < size; at++) {
		uint64_t group = (uint8_t)(bytes[at] ^ mask) >> 1;

		if (left >= KEY_GROUP_BITS) {
			left -= KEY_GROUP_BITS;
			m |= group << left;
		} else {
			if (left <= 0 || group << (64 - KEY_GROUP_BITS + left))
				return false;
			m |= group >> (KEY_GROUP_BITS - left);
			left = 0;
		}
		if (at + 1 == size && !group)
			return false;
	}
	number->mantissa = m;
	return class_of(number->exponent) == class;
}

/* False: no double has this value. */
static bool real_of(struct normal number, bool negative, double *real)
{
	uint64_t whole = UINT64_C(1) << 63 | number.mantissa >> 1, bits;
	int drop = 11;

	if (number.mantissa & 1 || number.exponent > 1023 ||
	    number.exponent < -1074)
		return false;
	if (number.exponent < -1022)
		drop += -1022 - number.exponent;
	if (drop < 64 ? whole << (64 - drop) != 0 : true)
		return false;
	bits = whole >> drop;
	if (number.exponent >= -1022)
		bits = (bits & ((UINT64_C(1) << 52) - 1)) |
		       (uint64_t)(number.exponent + 1023) *
		               (UINT64_C(1) << 52);
	bits |= (uint64_t)negative << 63;
	memcpy(real, &bits, sizeof bits);
	return true;
}

/* False: no int64_t has this value. */
static bool integer_of(struct normal number, bool negative, int64_t *integer)
{
	uint64_t magnitude = 1;

	if (number.exponent < 0 || number.exponent > 63 ||
	    number.mantissa << number.exponent)
		return false;
	if (number.exponent)
		magnitude = UINT64_C(1) << number.exponent |
		            number.mantissa >> (64 - number.exponent);
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*integer = (int64_t)(negative ? 0 - magnitude : magnitude);
	return true;
}

static bool special_decode(uint8_t type, struct value *value, bool *exact)
{
	*exact = true;
	value->type = VALUE_REAL;
	switch (type) {
	case KEY_ZERO:
		value->type = VALUE_INTEGER;
		value->integer = 0;
		*exact = false;
		return true;
	case KEY_MINUS_INFINITY:
		value->real = -(double)INFINITY;
		return true;
	case KEY_PLUS_INFINITY:
		value->real = (double)INFINITY;
		return true;
	case KEY_NAN:
		value->real = (double)NAN;
		return true;
	}
	return false;
}

size_t key_number_decode(struct span key, uint8_t mask, struct value *value,
                         bool *exact)
{
	size_t size = key_number_size(key, mask);
	const struct class *class;
	struct normal number;
	bool negative, is_integer, is_real;
	int64_t integer = 0;
	double real = 0;
	uint8_t type;

	if (!size)
		return 0;
	type = key.data[0] ^ mask;
	class = class_of_type(type, &negative);
	if (!class)
		return special_decode(type, value, exact) ? size : 0;
	if (!normal_decode(key.data, size, negative ? mask ^ 0xFF : mask,
	                   class, &number))
		return 0;
	is_integer = integer_of(number, negative, &integer);
	is_real = real_of(number, negative, &real);
	if (is_integer)
		*value = (struct value){ .type = VALUE_INTEGER,
		                         .integer = integer };
	else if (is_real)
		*value = (struct value){ .type = VALUE_REAL, .real = real };
	else
		return 0;
	*exact = is_integer != is_real;
	return size;
}
