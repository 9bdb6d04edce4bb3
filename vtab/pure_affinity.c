/*
 * pure_affinity.c - which affinity a declared type has.
 *
 * SQLite's rule (datatype3.html, 3.1): INT anywhere makes INTEGER; else CHAR,
 * CLOB or TEXT make TEXT; else BLOB or no type make BLOB; else REAL, FLOA or
 * DOUB make REAL; else NUMERIC.
 */
#include "vtab/definition.h"

#include <string.h>

static bool contains(const char *type, const char *word)
{
	size_t size = strlen(word);

	for (; *type; type++) {
		size_t i = 0;

		while (i < size && (type[i] == word[i] ||
		                    type[i] == word[i] - ('A' - 'a')))
			i++;
		if (i == size)
			return true;
	}
	return false;
}

enum affinity affinity_of_type(const char *type)
{
	if (contains(type, "INT"))
		return AFFINITY_INTEGER;
	if (contains(type, "CHAR") || contains(type, "CLOB") ||
	    contains(type, "TEXT"))
		return AFFINITY_TEXT;
	if (!*type || contains(type, "BLOB"))
		return AFFINITY_BLOB;
	if (contains(type, "REAL") || contains(type, "FLOA") ||
	    contains(type, "DOUB"))
		return AFFINITY_REAL;
	return AFFINITY_NUMERIC;
}
