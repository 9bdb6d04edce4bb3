/*
 * lock.h - the ranks of all locks, and mutexes that check them.
 *
 * Locks are taken in rising rank. Mutexes are per process and never held
 * across a sync; the words in shared memory (writer, checkpoint) are their own
 * kind, listed here so that one place shows the whole order.
 */
#ifndef TURDB_BASE_LOCK_H
#define TURDB_BASE_LOCK_H

#include <pthread.h>

enum lock_rank {
	LOCK_NONE = 0,
	LOCK_ENVIRONMENT = 10, /* the list of open stores of this process       */
	LOCK_CHECKPOINT = 20,  /* shared memory: one checkpointer; across syncs  */
	LOCK_WRITER = 30,      /* shared memory: one writer per database         */
	LOCK_FILES = 40,       /* a store's table of open page files             */
	LOCK_MAPPING = 50,     /* growth of one page file's mapping              */
	LOCK_LOG = 60,         /* a process's open log segments                  */
	LOCK_NAMES = 61,       /* the names of databases open through the door    */
	LOCK_REPORT = 62,      /* the text of the last error; nothing below it   */
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_close(struct lock *lock);
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);

/* Debug builds: the highest rank this thread holds is tracked by lock_take and
 * these two (for the words in shared memory); taking a lower or equal one
 * asserts. SQLite may begin on one thread and commit on another, so the writer
 * lock is only noted while a call of ours runs. */
void lock_note_taken(enum lock_rank rank);
void lock_note_released(enum lock_rank rank);

#endif
