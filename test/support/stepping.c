/*
 * stepping.c - a look at memory after every single instruction of a call.
 */
#define _GNU_SOURCE
#include "test/support/stepping.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

static struct {
	void (*look)(void *context);
	void *context;
	uint64_t count;
	volatile bool enough;
} stepping;

enum { TRAP_FLAG = 0x100 };

bool stepping_is_possible(void)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	return true;
#else
	return false;
#endif
}

static void step(int signal, siginfo_t *info, void *interrupted)
{
	(void)signal, (void)info;
	stepping.count++;
	stepping.look(stepping.context);
#if defined(__x86_64__)
	if (stepping.enough)
		((ucontext_t *)interrupted)->uc_mcontext.gregs[REG_EFL] &=
			~TRAP_FLAG;
#else
	(void)interrupted;
#endif
}

/* The red zone below the stack pointer is not ours to push into. */
static void set_trap(bool on)
{
#if defined(__x86_64__)
	uint64_t flags = on ? TRAP_FLAG : 0;

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
	struct sigaction action = { .sa_sigaction = step,
	                            .sa_flags = SA_SIGINFO }, before;

	stepping.look = look;
	stepping.context = context;
	stepping.count = 0;
	sigaction(SIGTRAP, &action, &before);
	stepping_go_on(true);
	call(context);
	stepping_go_on(false);
	sigaction(SIGTRAP, &before, NULL);
	return stepping.count;
}

void stepping_go_on(bool on)
{
	stepping.enough = !on;
	set_trap(on);
}

void stepping_enough(void)
{
	stepping.enough = true;
}
