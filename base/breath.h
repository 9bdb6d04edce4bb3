/*
 * breath.h - how whoever started a long operation can end it.
 *
 * A loop that may run for more than some milliseconds takes a breath in every round,
 * and ends with the error that it may come back with (ERR_INTERRUPT). A breath is
 * usually an addition; what it is now and then its owner decides. NULL: nobody asks.
 */
#ifndef TURDB_BASE_BREATH_H
#define TURDB_BASE_BREATH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct breath {
	int (*take)(struct breath *breath, struct err *err);
	uint32_t calls;
};

enum { BREATH_EVERY = 64 };

/* For rounds of up to some microseconds. */
static inline int breathe(struct breath *breath, struct err *err)
{
	if (!breath || ++breath->calls % BREATH_EVERY)
		return ERR_NONE;
	return breath->take(breath, err);
}

/* For rounds that are long themselves. */
static inline int breathe_deeply(struct breath *breath, struct err *err)
{
	return breath ? breath->take(breath, err) : ERR_NONE;
}

#endif
