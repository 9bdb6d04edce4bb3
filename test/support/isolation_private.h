/*
 * isolation_private.h - what isolation_order.c finds out and isolation_cycle.c
 * goes on from.
 */
#ifndef TURDB_TEST_SUPPORT_ISOLATION_PRIVATE_H
#define TURDB_TEST_SUPPORT_ISOLATION_PRIVATE_H

#include "test/support/isolation.h"

enum { NOBODY = UINT32_MAX };

/* A value: who appended it, and where it stands in its list. */
struct isolation_value {
	uint64_t value;
	uint32_t transaction;
	uint32_t key;
	uint32_t operation;   /* in its transaction                    */
	uint32_t place;       /* from 1; 0 = in no list that was read  */
	bool undone;
};

struct isolation_key {
	const uint64_t *order; /* the longest list read */
	uint32_t count;
	uint64_t read_last;    /* when the last read of it began */
};

struct isolation_work {
	const struct history *history;
	struct isolation_report *report;
	struct isolation_key *keys;
	struct isolation_value *values; /* a hash table */
	uint64_t value_mask;
	uint32_t *outside;  /* of each READ: how much of it is not the reader's own */
	bool *committed;    /* of each transaction */
};

/* Starts a finding; NULL when there are enough. */
char *isolation_find(struct isolation_work *work, enum isolation_anomaly anomaly);
void isolation_say(char *finding, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* "T17 (session 3, ok): r k5 [.. 7 8 9], a k5 12" */
void isolation_say_transaction(const struct isolation_work *work, char *finding,
                               uint32_t transaction);

struct isolation_value *isolation_value_find(const struct isolation_work *work,
                                             uint64_t value);

void isolation_orders(struct isolation_work *work);
void isolation_cycles(struct isolation_work *work);

#endif
