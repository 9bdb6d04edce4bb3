/*
 * stepping.h - a look at memory after every single instruction of a call.
 *
 * A process can be killed between any two instructions, and what it shares with others
 * counts as it is. Here the processor stops behind each one (the trap flag of x86-64)
 * and the test looks, so that nothing is left to luck.
 */
#ifndef TURDB_TEST_STEPPING_H
#define TURDB_TEST_STEPPING_H

#include <stdbool.h>
#include <stdint.h>

/* Not on other processors, and not under the thread sanitizer, which puts signals off. */
bool stepping_is_possible(void);

/* Runs `call` and after each of its instructions `look`, in a signal handler: it may
 * only read memory. Not from two threads at once. Returns how many there were. */
uint64_t stepping_run(void (*call)(void *context), void (*look)(void *context),
                      void *context);

/* Within `call`, where much of it is of no interest: without steps from here on, or with
 * them again. */
void stepping_go_on(bool on);
/* The same from `look`: no steps any more. */
void stepping_enough(void);

#endif
