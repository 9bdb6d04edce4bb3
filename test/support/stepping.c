/*
 * stepping.c - a look at memory after every single instruction of a call.
 */
#define _GNU_SOURCE
#include "test/support/stepping.h"

#include <signal.h>
#include <string.h>

static struct {
	void (*look)(void *context);
	void *context;
	uint64_t count;
} stepping;

bool stepping_is_possible(void)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	return true;
#else
	return false;
#endif
}

static void step(int signal)
{
	(void)signal;
	stepping.count++;
	stepping.look(stepping.context);
}

/* The red zone below the stack pointer is not ours to push into. */
static void set_trap(bool on)
{
#if defined(__x86_64__)
	uint64_t flags = on ? 0x100 : 0;

	__asm__ volatile("sub $128, %%rsp\n\t"
	                 "pushfq\n\t"
	                 "andq $~0x100, (%%rsp)\n\t"
	                 "orq %0, (%%rsp)\n\t"
	                 "popfq\n\t"
	                 "add $128, %%rsp" : : "r"(flags) : "memory", "cc");
#else
	(void)on;
#endif
}

uint64_t stepping_run(void (*call)(void *context), void (*look)(void *context),
                      void *context)
{
	struct sigaction action = { .sa_handler = step }, before;

	stepping.look = look;
	stepping.context = context;
	stepping.count = 0;
	sigaction(SIGTRAP, &action, &before);
	set_trap(true);
	call(context);
	set_trap(false);
	sigaction(SIGTRAP, &before, NULL);
	return stepping.count;
}
