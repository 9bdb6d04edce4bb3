/*
 * lock.c - mutexes that assert their rank in debug builds.
 *
 * The ranks held by a thread are one bit each in a thread-local word. That
 * word exists only in debug builds and only feeds an assert.
 */
#include "base/lock.h"

#include <assert.h>

#ifdef TURDB_DEBUG
static _Thread_local uint64_t held;
#endif

static void note_taken(enum lock_rank rank)
{
#ifdef TURDB_DEBUG
	assert(held >> rank == 0);
	held |= UINT64_C(1) << rank;
#else
	(void)rank;
#endif
}

static void note_released(enum lock_rank rank)
{
#ifdef TURDB_DEBUG
	held &= ~(UINT64_C(1) << rank);
#else
	(void)rank;
#endif
}

void lock_init(struct lock *lock, enum lock_rank rank)
{
	pthread_mutex_init(&lock->mutex, NULL);
	lock->rank = rank;
}

void lock_close(struct lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
	note_taken(lock->rank);
}

void lock_release(struct lock *lock)
{
	note_released(lock->rank);
	pthread_mutex_unlock(&lock->mutex);
}

uint64_t lock_ranks_exchange(uint64_t ranks)
{
#ifdef TURDB_DEBUG
	uint64_t before = held;

	held = ranks;
	return before;
#else
	return ranks;
#endif
}
