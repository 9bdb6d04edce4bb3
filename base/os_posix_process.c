/*
 * os_posix_process.c - waiting, threads, time, randomness, and whether this process
 * is a fork of the one that began.
 */
#include "base/os_posix.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/heap.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum { THREAD_STACK_SIZE = 512 << 10 };

/* --- waiting ----------------------------------------------------------------------- */

static struct timespec timespec_of_us(uint64_t us)
{
	return (struct timespec){ .tv_sec = (time_t)(us / 1000000),
		                  .tv_nsec = (long)(us % 1000000) * 1000 };
}

/* Without FUTEX_PRIVATE_FLAG: the word may lie in a file several processes
 * have mapped. */
void os_posix_wait(struct os *os, _Atomic uint32_t *word, uint32_t expected,
                   uint64_t timeout_us)
{
	struct timespec timeout = timespec_of_us(timeout_us);

	(void)os;
	syscall(SYS_futex, word, FUTEX_WAIT, expected,
	        timeout_us == UINT64_MAX ? NULL : &timeout, NULL, 0);
}

void os_posix_wake(struct os *os, _Atomic uint32_t *word, uint32_t count)
{
	(void)os;
	syscall(SYS_futex, word, FUTEX_WAKE,
	        count > INT_MAX ? INT_MAX : (int)count, NULL, NULL, 0);
}

/* --- threads ----------------------------------------------------------------------- */

struct os_thread {
	pthread_t thread;
	void (*run)(void *context);
	void *context;
};

static void *thread_main(void *argument)
{
	struct os_thread *thread = argument;

	thread->run(thread->context);
	return NULL;
}

int os_posix_thread_start(struct os *os, void (*run)(void *context),
                          void *context, struct os_thread **thread,
                          struct err *err)
{
	struct heap *heap = posix_of(os)->heap;
	struct os_thread *made = heap_zeroed(heap, sizeof *made);
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	if (!made)
		return err_set(err, ERR_NOMEM, "start a thread", "",
		               "out of memory");
	made->run = run;
	made->context = context;
	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&made->thread, &attributes, thread_main, made);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code) {
		heap_free(heap, made);
		return os_posix_fail_as(err, ERR_NOMEM, "start a thread", "", code);
	}
	*thread = made;
	return ERR_NONE;
}

void os_posix_thread_join(struct os *os, struct os_thread *thread)
{
	pthread_join(thread->thread, NULL);
	heap_free(posix_of(os)->heap, thread);
}

/* Those that this process was allowed; a set too small for the machine's says nothing. */
uint32_t os_posix_processors(struct os *os)
{
	cpu_set_t allowed;

	(void)os;
	if (sched_getaffinity(0, sizeof allowed, &allowed))
		return 1;
	return (uint32_t)CPU_COUNT(&allowed);
}

/* --- time and randomness ----------------------------------------------------------- */

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t os_posix_monotonic_us(struct os *os)
{
	(void)os;
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t os_posix_wall_ms(struct os *os)
{
	(void)os;
	return clock_us(CLOCK_REALTIME) / 1000;
}

void os_posix_sleep_us(struct os *os, uint64_t us)
{
	struct timespec left = timespec_of_us(us);

	(void)os;
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Where no randomness is to be had: different bytes each time, as salts need. */
static void fill_from_clock(uint8_t *bytes, size_t size)
{
	uint64_t state = clock_us(CLOCK_REALTIME) ^
	                 clock_us(CLOCK_MONOTONIC) << 20 ^
	                 (uint64_t)getpid() << 40 ^ (uintptr_t)&state;

	for (size_t i = 0; i < size; i++) {
		state = state * UINT64_C(6364136223846793005) +
		        UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(state >> 56);
	}
}

void os_posix_random(struct os *os, void *bytes, size_t size)
{
	uint8_t *at = bytes;

	(void)os;
	while (size) {
		ssize_t n = getrandom(at, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			fill_from_clock(at, size);
			return;
		}
		at += n;
		size -= (size_t)n;
	}
}

/* --- the process ------------------------------------------------------------------- */

uint32_t os_posix_process_id(struct os *os)
{
	(void)os;
	return (uint32_t)getpid();
}

uint8_t *os_posix_canary_make(size_t page_size)
{
	uint8_t *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, page_size, MADV_WIPEONFORK)) {
		munmap(page, page_size);
		return NULL;
	}
	*page = 1;
	return page;
}

/* In a child, what the parent had open goes on looking at the wiped page. */
const volatile uint8_t *os_posix_fork_canary(struct os *os)
{
	struct posix_os *posix = posix_of(os);

	if (posix->canary && !*posix->canary)
		posix->canary = os_posix_canary_make(posix->page_size);
	return posix->canary;
}
