/*
 * explore.h - walks through all the ways a workload can be interrupted.
 *
 * explore_crashes() plays a workload once on a simulated disk, then builds disks
 * as they could be after a crash at any of its calls, in every kind of crash
 * with ever new seeds, and lets the test judge each. Some are crashed again
 * during their recovery. Worker processes share the work; one that crashes or
 * hangs is a failure of the state it was in. A failing state is printed as
 *
 *     EXPLORE_STATE=index:kind:seed[:index:kind:seed]
 *
 * and with that in the environment explore_crashes() plays it alone, in this
 * process, with the calls before the crash printed.
 *
 * explore_variants() is the simple sister: it plays variant 0, 1, 2, ... of a
 * scenario (the n-th call fails, one of several processes dies at the n-th call,
 * the n-th allocation fails) until the scenario says that n is beyond its end.
 */
#ifndef TURDB_TEST_SUPPORT_EXPLORE_H
#define TURDB_TEST_SUPPORT_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "test/harness.h"
#include "test/sim/sim.h"

/* What the test is told about a disk it judges. */
struct explore_state {
	uint64_t index;              /* calls that had begun: all had returned, but
	                                of a cut one, the last                  */
	enum sim_crash_kind kind;
	uint64_t seed;
	const struct sim_mark *marks; /* the workload's, made before the crash */
	size_t mark_count;
	bool recrashed;              /* crashed again during recovery          */
	enum sim_crash_kind rekind;  /* that crash                             */
};

/* True when the processes died and the machine lived, every time: what was
 * written but not synced must be there. */
bool explore_is_kill(const struct explore_state *state);
/* The largest value marked with `kind` before the crash; `none` if none. */
uint64_t explore_mark_max(const struct explore_state *state, uint32_t kind,
                          uint64_t none);

struct explore_plan {
	const char *name;
	struct sim_options options;
	/* Plays on an empty disk, in any number of simulated processes, and
	 * notes with sim_mark() what it was promised. A failure ends it all. */
	int (*work)(void *context, struct sim_disk *disk, struct err *err);
	/* Opens the disk as the next process would and compares it with the
	 * marks. A code with its sentence is a finding. Runs in workers: it
	 * must leave nothing in `context`. */
	int (*check)(void *context, struct sim_disk *disk,
	             const struct explore_state *state, struct err *err);
	/* Opens and closes the disk, so that its recovery can be crashed; NULL:
	 * check() does it, and changes nothing that marks would have to tell. */
	int (*recover)(void *context, struct sim_disk *disk, struct err *err);
	void *context;
	uint64_t seed;
	uint64_t states;        /* to judge in all, recrashed ones included    */
	unsigned rounds;        /* through the trace, to spread them over; 0 = 1 */
	unsigned seconds;       /* 0 = without limit                           */
	unsigned recrash_every; /* of this many states one is recrashed, four
	                           times; 0 = never                            */
	unsigned workers;       /* 0 = 2                                       */
	unsigned hang_seconds;  /* of one state; 0 = 60                        */
	unsigned enough;        /* findings to stop at, 1 or more; 0 = 8       */
};

enum { EXPLORE_FINDING_SIZE = 1024, EXPLORE_FINDINGS_MAX = 8 };

struct explore_result {
	uint64_t trace_length;
	uint64_t states;                 /* judged; no two of a worker equal  */
	uint64_t by_kind[SIM_CRASH_KINDS]; /* states in which that happened    */
	uint64_t recrashed;
	uint64_t findings;
	char finding[EXPLORE_FINDINGS_MAX][EXPLORE_FINDING_SIZE];
	double seconds;
};

/* False when the workload itself failed, with its sentence in `err`. */
bool explore_crashes(const struct explore_plan *plan,
                     struct explore_result *result, struct err *err);
/* "note NAME: 20114 states of 812 calls in 31 s: lost 1203, ..." */
void explore_print(const struct explore_plan *plan,
                   const struct explore_result *result);
/* Prints and fails the test on any finding and on any kind never seen. */
void explore_expect(struct test *t, const struct explore_plan *plan);

struct explore_variants {
	const char *name;
	/* Plays variant `n` from the beginning. *reached false: the scenario
	 * ended before its n-th point, so there are no more. */
	int (*play)(void *context, uint64_t n, bool *reached, struct err *err);
	void *context;
	uint64_t first, step;   /* 0, 0 = all                                   */
	uint64_t limit;         /* of variants; 0 = none                        */
	unsigned workers, hang_seconds;
	unsigned enough;        /* findings to stop at; 0 = 8                   */
};

/* A number at 0 that workers share with their parent, for counting. */
_Atomic uint64_t *explore_counter(void);

/* Returns how many variants were played. EXPLORE_VARIANT=n plays one alone. */
uint64_t explore_each(const struct explore_variants *variants,
                      struct explore_result *result);
void explore_each_expect(struct test *t,
                         const struct explore_variants *variants);

#endif
