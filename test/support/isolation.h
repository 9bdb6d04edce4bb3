/*
 * isolation.h - whether a history could have come from transactions that ran one
 * after the other, in an order that real time allows.
 *
 * The method is Elle's (Kingsbury and Alvaro, 2020). Lists tell the order in which
 * values were appended to them, and so how transactions depend on each other:
 *
 *   ww   b appended next after a
 *   wr   b read a list that a's value ends
 *   rw   a read a list without b's value, the next in it
 *   rt   a had returned before b was begun
 *
 * A cycle of these is an anomaly, named by what it is made of. TurDB promises that
 * there is none: writers come one at a time, each on the newest snapshot, and what
 * only reads sees one snapshot, also when it is rolled back or killed in the end;
 * a snapshot begun after a commit returned has it.
 */
#ifndef TURDB_TEST_SUPPORT_ISOLATION_H
#define TURDB_TEST_SUPPORT_ISOLATION_H

#include "test/support/history.h"

enum isolation_anomaly {
	/* Seen without any cycle: */
	ISOLATION_GARBAGE,      /* a value that nobody appended               */
	ISOLATION_DUPLICATE,    /* a value twice in one list                  */
	ISOLATION_INTERNAL,     /* own appends missed, or a list that changed
	                           within a transaction                       */
	ISOLATION_ABORTED,      /* G1a: a value of what was rolled back       */
	ISOLATION_INTERMEDIATE, /* G1b: half of what one transaction appended */
	ISOLATION_ORDER,        /* two reads, neither the other's beginning   */
	ISOLATION_LOST,         /* acknowledged, and gone later               */
	ISOLATION_TORN,         /* some appends of a transaction, not others  */
	/* Cycles: */
	ISOLATION_G0,           /* ww only                                    */
	ISOLATION_G1C,          /* ww and wr                                  */
	ISOLATION_LOST_UPDATE,  /* one rw, by who appended to that list too   */
	ISOLATION_G_SINGLE,     /* one rw                                     */
	ISOLATION_WRITE_SKEW,   /* G2 of two rw and nothing else              */
	ISOLATION_G2,           /* several rw                                 */
	ISOLATION_REALTIME,     /* any, with the help of rt                   */
	ISOLATION_ANOMALIES
};

enum { ISOLATION_FINDINGS_MAX = 6, ISOLATION_FINDING_SIZE = 3000 };

struct isolation_report {
	uint64_t found[ISOLATION_ANOMALIES]; /* cycles are not counted to the end */
	uint64_t total;
	uint64_t transactions, committed, edges[4];
	unsigned finding_count;
	char finding[ISOLATION_FINDINGS_MAX][ISOLATION_FINDING_SIZE];
};

const char *isolation_name(enum isolation_anomaly anomaly);

/* Judges it; a finding is a counterexample in several lines. */
void isolation_check(const struct history *history,
                     struct isolation_report *report);

#endif
