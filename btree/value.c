/*
 * value.c - when two values are the same one.
 */
#include "btree/value.h"

#include <string.h>

bool value_same(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_NULL:
		return true;
	case VALUE_INTEGER:
	case VALUE_VECTOR:
		return a->integer == b->integer;
	case VALUE_REAL:
		return memcmp(&a->real, &b->real, sizeof a->real) == 0;
	case VALUE_TEXT:
	case VALUE_BLOB:
		break;
	}
	return a->bytes.size == b->bytes.size &&
	       (!a->bytes.size ||
	        memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0);
}
