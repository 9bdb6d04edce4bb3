/*
 * lock_test.c - mutexes exclude, and debug builds hold threads to the order.
 */
#include "test/harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

struct counter {
	struct lock lock;
	unsigned value;
};

static void *count_up(void *argument)
{
	struct counter *counter = argument;

	for (unsigned i = 0; i < 20000; i++) {
		lock_take(&counter->lock);
		counter->value++;
		lock_release(&counter->lock);
	}
	return NULL;
}

static void a_lock_lets_one_thread_in(struct test *t)
{
	struct counter counter = { .value = 0 };
	pthread_t threads[4];

	lock_init(&counter.lock, LOCK_MAPPING);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, count_up, &counter);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(t, counter.value, 80000);
	lock_close(&counter.lock);
}

static void rising_ranks_are_taken_and_released(struct test *t)
{
	struct lock files, names;

	lock_init(&files, LOCK_FILES);
	lock_init(&names, LOCK_NAMES);
	for (int i = 0; i < 2; i++) {
		lock_take(&files);
		lock_take(&names);
		lock_release(&files);
		lock_release(&names);
	}
	lock_close(&files);
	lock_close(&names);
	EXPECT_EQ(t, files.rank, LOCK_FILES);
}

/* Runs in a child, which is to die of an assertion. */
static void take_falling(void)
{
	struct lock files, names;

	lock_init(&files, LOCK_FILES);
	lock_init(&names, LOCK_NAMES);
	lock_take(&names);
	lock_take(&files);
}

static void take_two_of_a_rank(void)
{
	struct lock one, other;

	lock_init(&one, LOCK_MAPPING);
	lock_init(&other, LOCK_MAPPING);
	lock_take(&one);
	lock_take(&other);
}

static bool dies_of_assertion(void (*body)(void))
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		fclose(stderr);
		signal(SIGABRT, SIG_DFL);
		body();
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

static void a_falling_rank_is_caught_in_debug_builds(struct test *t)
{
#ifdef TURDB_DEBUG
	EXPECT(t, dies_of_assertion(take_falling));
	EXPECT(t, dies_of_assertion(take_two_of_a_rank));
#else
	(void)dies_of_assertion, (void)take_falling, (void)take_two_of_a_rank;
	test_skip(t, "ranks are checked in debug builds only");
#endif
}

static const struct test_case cases[] = {
	CASE(a_lock_lets_one_thread_in),
	CASE(rising_ranks_are_taken_and_released),
	CASE(a_falling_rank_is_caught_in_debug_builds),
};
TEST_MAIN(cases)
