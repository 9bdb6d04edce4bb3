/*
 * lock.h - the ranks of all locks, and mutexes that check them.
 *
 * Mutexes are per process, taken in rising rank and never held across a sync.
 * The words in shared memory are locks of another kind (vfs/lock_word.c), which
 * nobody's rank is compared with: one connection may take them on one thread and
 * release them on another. Their place in the order is behind LOCK_ENVIRONMENT:
 * first the checkpointer's, which is held across syncs, then the writer's.
 */
#ifndef TURDB_BASE_LOCK_H
#define TURDB_BASE_LOCK_H

#include <pthread.h>
#include <stdint.h>

enum lock_rank {
	LOCK_ENVIRONMENT = 10, /* the list of open stores of this process       */
	LOCK_FILES = 40,       /* a store's table of open page files             */
	LOCK_MAPPING = 50,     /* growth of one page file's mapping              */
	LOCK_NAMES = 61,       /* the names of databases open through the door    */
	LOCK_REPORT = 62,      /* the text of the last error; nothing below it   */
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_close(struct lock *lock);

/* Debug builds assert that the thread holds none of that rank or a higher one. */
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);

/* For who plays several processes on one thread: notes these ranks as held by it
 * instead of those that it returns. Does nothing but in debug builds. */
uint64_t lock_ranks_exchange(uint64_t ranks);

#endif
