/*
 * lock_word_test.c - who waits for the writer lock gets it, in order, whoever dies.
 *
 * Processes are forked before any of them has a database open; each opens it for
 * itself. What they report lies in memory they share.
 */
#define _GNU_SOURCE
#include "test/harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/support/real_store.h"
#include "test/support/stepping.h"
#include "test/support/store_model.h"
#include "vfs/store_private.h"

enum { WRITERS = 8 };

struct board {
	_Atomic int ready, go, stop, failed;
	_Atomic uint64_t turns, order[WRITERS];
	_Atomic uint64_t commits[WRITERS];
	_Atomic uint64_t slowest_us;
	char why[600];
};

static int open_store(struct opened *o, const char *path, struct err *err)
{
	struct store_options options = { .create = true };

	return real_store_open(o, path, &options, err);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void raise_to(_Atomic uint64_t *most, uint64_t value)
{
	uint64_t before = atomic_load(most);

	while (value > before &&
	       !atomic_compare_exchange_weak(most, &before, value))
		;
}

static void give_up(struct board *board, const char *why)
{
	if (!atomic_exchange(&board->failed, 1))
		snprintf(board->why, sizeof board->why, "%s", why);
	_exit(1);
}

struct bed {
	struct board *board;
	char path[300];
	struct opened opened;
};

static void bed_open(struct test *t, struct bed *bed)
{
	char directory[256];

	memset(bed, 0, sizeof *bed);
	bed->board = mmap(NULL, sizeof *bed->board, PROT_READ | PROT_WRITE,
	                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_directory(t, directory);
	snprintf(bed->path, sizeof bed->path, "%s/app", directory);
}

/* How many wait for the writer lock, and how many turns of others the one among them
 * that has waited longest has seen go by. */
static int look_at_queue(struct store *store, uint64_t *turns)
{
	const struct shm_lock *lock = &store->shm.head->writer;
	int waiters = 0;

	*turns = 0;
	for (int i = 0; i < SHM_WAITERS; i++) {
		uint64_t since, now;

		if (!(atomic_load(&lock->queued[i / 64]) >> (i % 64) & 1))
			continue;
		since = atomic_load(&lock->waiters[i].turns);
		now = atomic_load(&lock->turns);
		/* Still the same wait? */
		if (!(atomic_load(&lock->queued[i / 64]) >> (i % 64) & 1) ||
		    atomic_load(&lock->waiters[i].turns) != since)
			continue;
		waiters++;
		if (now > since && now - since > *turns)
			*turns = now - since;
	}
	return waiters;
}

static void bed_close(struct test *t, struct bed *bed)
{
	if (bed->board->failed)
		test_fail(t, __FILE__, __LINE__, "%s", bed->board->why);
	munmap(bed->board, sizeof *bed->board);
}

/* --- hammering ------------------------------------------------------------------- */

static void hammer(struct board *board, const char *path, int number)
{
	struct opened o;
	struct err err;
	int rc = open_store(&o, path, &err);

	if (rc)
		give_up(board, err.text);
	atomic_fetch_add(&board->ready, 1);
	while (!atomic_load(&board->go))
		usleep(100);
	while (!atomic_load(&board->stop)) {
		uint64_t began = now_us();

		rc = store_view_write(o.view, 20000000, &err);
		if (rc)
			give_up(board, err.text);
		atomic_fetch_add(&board->turns, 1);
		raise_to(&board->slowest_us, now_us() - began);
		atomic_fetch_add(&board->commits[number], 1);
		for (uint64_t until = now_us() + 3; now_us() < until;)
			;
		store_view_end(o.view);
	}
	real_store_close(&o, &err);
	_exit(0);
}

/* The longest wait in the queue that was seen, in turns of others. */
static void hammer_for(struct test *t, struct bed *bed, uint64_t ms, uint64_t *longest)
{
	uint64_t turns, began;
	pid_t pids[WRITERS];

	atomic_store(&bed->board->ready, 0);
	atomic_store(&bed->board->go, 0);
	atomic_store(&bed->board->stop, 0);
	for (int i = 0; i < WRITERS; i++)
		if ((pids[i] = fork()) == 0)
			hammer(bed->board, bed->path, i);
	EXPECT_OK(t, open_store(&bed->opened, bed->path, &t->err));
	while (atomic_load(&bed->board->ready) < WRITERS && !bed->board->failed)
		usleep(1000);
	atomic_store(&bed->board->go, 1);
	*longest = 0;
	for (began = now_us(); now_us() - began < ms * 1000;) {
		usleep(50);
		look_at_queue(bed->opened.store, &turns);
		if (turns > *longest)
			*longest = turns;
	}
	atomic_store(&bed->board->stop, 1);
	for (int i = 0; i < WRITERS; i++)
		waitpid(pids[i], NULL, 0);
	EXPECT_OK(t, real_store_close(&bed->opened, &t->err));
}

/* A waiter is served after 128 turns, and those before it in the queue. A machine busy
 * with other things may leave one asleep that was called: then it gets another try.
 */
static void nobody_waits_for_more_than_a_bounded_number_of_turns(struct test *t)
{
	uint64_t longest = UINT64_MAX;
	struct bed bed;

	bed_open(t, &bed);
	EXPECT_OK(t, open_store(&bed.opened, bed.path, &t->err));
	EXPECT_OK(t, real_store_close(&bed.opened, &t->err));
	for (int i = 0; i < 5 && longest > 1000; i++) {
		hammer_for(t, &bed, test_scaled(1000, 300), &longest);
		printf("note %llu turns, the longest wait %llu of them; slowest %llu us\n",
		       (unsigned long long)bed.board->turns,
		       (unsigned long long)longest,
		       (unsigned long long)bed.board->slowest_us);
	}
	EXPECT(t, longest <= 1000);
	EXPECT(t, bed.board->turns > 100);
	bed_close(t, &bed);
}

/* --- order ----------------------------------------------------------------------- */

struct waiter {
	struct bed *bed;
	struct store_view *view;
	int number, rc;
	uint64_t timeout_us;
	struct err err;
};

static void *wait_for_turn(void *argument)
{
	struct waiter *waiter = argument;

	waiter->rc = store_view_write(waiter->view, waiter->timeout_us,
	                              &waiter->err);
	if (waiter->rc)
		return NULL;
	waiter->bed->board->order[waiter->number] =
		atomic_fetch_add(&waiter->bed->board->turns, 1) + 1;
	usleep(1000);
	store_view_end(waiter->view);
	return NULL;
}

static void wait_in_process(struct bed *bed, int number, uint64_t timeout_us)
{
	struct waiter waiter = { .bed = bed, .number = number,
	                         .timeout_us = timeout_us };
	struct opened o;
	struct err err;

	if (open_store(&o, bed->path, &err))
		give_up(bed->board, err.text);
	waiter.view = o.view;
	atomic_fetch_add(&bed->board->ready, 1);
	wait_for_turn(&waiter);
	if (waiter.rc)
		give_up(bed->board, waiter.err.text);
	real_store_close(&o, &err);
	_exit(0);
}

static void await_queued(struct bed *bed, int waiters)
{
	uint64_t turns;

	for (int i = 0; i < 100000 && !bed->board->failed &&
	                look_at_queue(bed->opened.store, &turns) < waiters; i++)
		usleep(100);
}

static pid_t start_waiting(struct bed *bed, int number, int waiting)
{
	int before = atomic_load(&bed->board->ready);
	pid_t pid = fork();

	if (pid == 0)
		wait_in_process(bed, number, 10000000);
	while (atomic_load(&bed->board->ready) == before && !bed->board->failed)
		usleep(1000);
	await_queued(bed, waiting + 1);
	return pid;
}

static void who_waits_is_served_in_order(struct test *t)
{
	struct waiter waiters[4];
	pthread_t threads[4];
	pid_t pids[4];
	struct bed bed;

	/* Processes are forked first; threads of this one come after them. */
	bed_open(t, &bed);
	EXPECT_OK(t, open_store(&bed.opened, bed.path, &t->err));
	EXPECT_OK(t, store_view_write(bed.opened.view, 0, &t->err));
	for (int i = 0; i < 4; i++)
		pids[i] = start_waiting(&bed, i, i);
	for (int i = 0; i < 4; i++) {
		waiters[i] = (struct waiter){ .bed = &bed, .number = 4 + i,
		                              .timeout_us = 10000000 };
		EXPECT_OK(t, store_view_open(bed.opened.store,
		                             &waiters[i].view, &t->err));
		pthread_create(&threads[i], NULL, wait_for_turn, &waiters[i]);
		await_queued(&bed, 5 + i);
	}
	store_view_end(bed.opened.view);
	for (int i = 0; i < 4; i++) {
		waitpid(pids[i], NULL, 0);
		pthread_join(threads[i], NULL);
		EXPECT_OK(t, waiters[i].rc);
		store_view_close(waiters[i].view);
	}
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(t, bed.board->order[i], i + 1);
	EXPECT_OK(t, real_store_close(&bed.opened, &t->err));
	bed_close(t, &bed);
}

/* --- those who go ---------------------------------------------------------------- */

/* While this process holds the lock others come to wait and are killed or stopped at
 * any moment; when it lets go, the one that is left has it at once. (vfs/lock_word
 * L3, rule 8) */
static void the_dead_and_the_stopped_hold_up_nobody(struct test *t)
{
	uint64_t rounds = test_scaled(12, 4), seed = t->seed, slowest = 0;
	struct bed bed;

	bed_open(t, &bed);
	EXPECT_OK(t, open_store(&bed.opened, bed.path, &t->err));
	for (uint64_t round = 0; round < rounds; round++) {
		pid_t pids[4];
		uint64_t began;

		EXPECT_OK(t, store_view_write(bed.opened.view, 1000000,
		                              &t->err));
		for (int i = 0; i < 3; i++)
			pids[i] = start_waiting(&bed, i, i);
		pids[3] = start_waiting(&bed, 3, 3);
		bed.board->order[3] = 0;
		for (int i = 0; i < 3; i++)
			if (test_random(&seed) % 2)
				kill(pids[i], SIGSTOP);
			else
				kill(pids[i], SIGKILL);
		usleep((useconds_t)(test_random(&seed) % 8000));
		began = now_us();
		store_view_end(bed.opened.view);
		while (!atomic_load(&bed.board->order[3]) && !bed.board->failed &&
		       now_us() - began < 5000000)
			usleep(200);
		if (now_us() - began > slowest)
			slowest = now_us() - began;
		for (int i = 0; i < 4; i++) {
			kill(pids[i], i < 3 ? SIGKILL : SIGCONT);
			waitpid(pids[i], NULL, 0);
		}
	}
	printf("note slowest %llu us\n", (unsigned long long)slowest);
	EXPECT(t, slowest < 4000000);
	EXPECT_OK(t, real_store_close(&bed.opened, &t->err));
	bed_close(t, &bed);
}

/* One that watches the word is to take it, so a release wakes nobody else. A mark that
 * its owner cannot have left, or left long ago, must not keep a release from it: the
 * one that waits would have to find the word by itself, every 20 ms. */
static void a_mark_of_a_watcher_that_is_gone_costs_no_wakeup(struct test *t)
{
	uint64_t quickest = UINT64_MAX;
	struct bed bed;

	bed_open(t, &bed);
	EXPECT_OK(t, open_store(&bed.opened, bed.path, &t->err));
	for (int round = 0; round < 16; round++) {
		struct shm_lock *lock = &bed.opened.store->shm.head->writer;
		pid_t pid;
		uint64_t began;

		EXPECT_OK(t, store_view_write(bed.opened.view, 1000000,
		                              &t->err));
		bed.board->order[0] = 0;
		pid = start_waiting(&bed, 0, 0);
		usleep(2000); /* it sleeps */
		atomic_store(&lock->watched_until_us,
		             round % 2 ? now_us() + 3600000000u : now_us());
		began = now_us();
		store_view_end(bed.opened.view);
		while (!atomic_load(&bed.board->order[0]) &&
		       !bed.board->failed && now_us() - began < 5000000)
			usleep(100);
		if (round % 2 && now_us() - began < quickest)
			quickest = now_us() - began;
		EXPECT(t, bed.board->order[0]);
		atomic_store(&lock->watched_until_us, 0);
		waitpid(pid, NULL, 0);
	}
	printf("note quickest %llu us\n", (unsigned long long)quickest);
	EXPECT(t, quickest < 10000);
	EXPECT_OK(t, real_store_close(&bed.opened, &t->err));
	bed_close(t, &bed);
}

/* Writers that hammer are killed and replaced; the others never stand still. */
static void killed_writers_and_waiters_stop_nobody(struct test *t)
{
	uint64_t rounds = test_scaled(60, 10), seed = t->seed, before;
	pid_t pids[WRITERS];
	struct bed bed;

	bed_open(t, &bed);
	EXPECT_OK(t, open_store(&bed.opened, bed.path, &t->err));
	EXPECT_OK(t, real_store_close(&bed.opened, &t->err));
	bed.board->go = 1;
	for (int i = 0; i < WRITERS; i++)
		if ((pids[i] = fork()) == 0)
			hammer(bed.board, bed.path, i);
	for (uint64_t round = 0; round < rounds && !bed.board->failed; round++) {
		usleep((useconds_t)(test_random(&seed) % 20000));
		for (int i = 0; i < 3; i++) {
			int victim = (int)(test_random(&seed) % WRITERS);

			kill(pids[victim], SIGKILL);
			waitpid(pids[victim], NULL, 0);
			if ((pids[victim] = fork()) == 0)
				hammer(bed.board, bed.path, victim);
		}
		before = bed.board->turns;
		for (int wait = 0; wait < 500 && bed.board->turns < before + 20;
		     wait++)
			usleep(10000);
		EXPECT(t, bed.board->turns >= before + 20);
	}
	bed.board->stop = 1;
	for (int i = 0; i < WRITERS; i++)
		waitpid(pids[i], NULL, 0);
	printf("note %llu turns, the slowest %llu us\n",
	       (unsigned long long)bed.board->turns,
	       (unsigned long long)bed.board->slowest_us);
	EXPECT(t, bed.board->slowest_us < 5000000);
	bed_close(t, &bed);
}

/* (vfs/lock_word L1) */
static void who_gives_up_learns_who_holds_it_and_leaves_the_queue(struct test *t)
{
	struct opened *o;
	char words[60];
	struct waiter waiter;
	pthread_t thread;
	struct bed bed;
	uint64_t began;

	bed_open(t, &bed);
	o = &bed.opened;
	EXPECT_OK(t, open_store(o, bed.path, &t->err));
	EXPECT_OK(t, store_view_write(o->view, 0, &t->err));
	waiter = (struct waiter){ .bed = &bed, .timeout_us = 30000 };
	EXPECT_OK(t, store_view_open(o->store, &waiter.view, &t->err));
	snprintf(words, sizeof words, "process %d has held the lock for ",
	         (int)getpid());
	for (int i = 0; i < 3; i++) {
		began = now_us();
		pthread_create(&thread, NULL, wait_for_turn, &waiter);
		pthread_join(thread, NULL);
		EXPECT_EQ(t, waiter.rc, ERR_BUSY);
		EXPECT(t, strstr(waiter.err.text, words));
		EXPECT(t, now_us() - began >= 30000);
	}
	store_view_end(o->view);
	/* Nothing is kept for who has gone. */
	for (int i = 0; i < 100; i++) {
		EXPECT_OK(t, store_view_write(o->view, 0, &t->err));
		store_view_end(o->view);
	}
	store_view_close(waiter.view);
	EXPECT_OK(t, real_store_close(o, &t->err));
	bed_close(t, &bed);
}

/* A claim says that a write follows at once. INSERT INTO temp.x SELECT ... FROM t looked
 * like that, and held the writer lock to the end of its transaction. */
static void a_claim_that_is_not_confirmed_is_taken_over(struct test *t)
{
	struct store_view *other, *third;
	struct opened *o;
	struct bed bed;

	bed_open(t, &bed);
	o = &bed.opened;
	EXPECT_OK(t, open_store(o, bed.path, &t->err));
	EXPECT_OK(t, store_view_open(o->store, &other, &t->err));
	EXPECT_OK(t, store_view_open(o->store, &third, &t->err));

	/* Confirmed in time it is the writer, unclaimed it is nobody's. */
	EXPECT_OK(t, store_view_claim(o->view, 0, &t->err));
	EXPECT(t, !store_view_writing(o->view));
	EXPECT_OK(t, store_view_write(o->view, 0, &t->err));
	EXPECT(t, store_view_writing(o->view));
	EXPECT_EQ(t, store_view_write(other, 0, &t->err), ERR_BUSY);
	store_view_end(other);
	store_view_end(o->view);
	EXPECT_OK(t, store_view_claim(o->view, 0, &t->err));
	store_view_unclaim(o->view);
	EXPECT(t, store_lock_holder(&o->store->shm.head->writer) == 0);
	EXPECT(t, store_view_reading(o->view));
	store_view_end(o->view);

	for (uint64_t timeout_us = 0; timeout_us <= 1000000; timeout_us += 500000) {
		/* Not confirmed, others get it, whether they wait or not; */
		EXPECT_OK(t, store_view_claim(o->view, 0, &t->err));
		EXPECT_OK(t, store_view_write(other, timeout_us, &t->err));
		/* the claimer learns it, also when the next claim is of the same process, */
		EXPECT_EQ(t, store_view_write(o->view, 0, &t->err), ERR_BUSY);
		store_view_end(other);
		EXPECT_OK(t, store_view_claim(third, 0, &t->err));
		EXPECT_OK(t, store_view_claim(o->view, 3000, &t->err));
		store_view_end(third);
		EXPECT_OK(t, store_view_write(o->view, 0, &t->err));
		/* and what it leaves it no longer has. */
		store_view_end(o->view);
		EXPECT_OK(t, store_view_claim(o->view, 0, &t->err));
		EXPECT_OK(t, store_view_write(other, 100000, &t->err));
		store_view_end(o->view);
		EXPECT(t, store_view_writing(other));
		EXPECT_EQ(t, store_view_write(third, 0, &t->err), ERR_BUSY);
		store_view_end(third);
		store_view_end(other);
	}
	store_view_close(other);
	store_view_close(third);
	EXPECT_OK(t, real_store_close(o, &t->err));
	bed_close(t, &bed);
}

/* --- between two instructions ---------------------------------------------------- */

struct race {
	struct store *store;
	struct shm_lock *lock;
	uint64_t timeout_us, at, steps;
	uint64_t steps_from_us; /* 0 = when the time is up */
	bool borrowed;
	struct lock_loan loan;
	bool given;
	struct err err;
	int rc;
};

/* Time that goes on when it is asked for, and while one sleeps. Steps begin when it is
 * up. */
static uint64_t race_us, race_end_us = UINT64_MAX;
static const struct shm_lock *race_lock;
static unsigned race_sleeps_in_vain; /* when nobody has the word */

static uint64_t race_clock(struct os *os)
{
	uint64_t now = race_us++;

	(void)os;
	if (now >= race_end_us) {
		race_end_us = UINT64_MAX;
		stepping_go_on(true);
	}
	return now;
}

static void race_wait(struct os *os, _Atomic uint32_t *word, uint32_t value,
                      uint64_t most_us)
{
	(void)os;
	if (atomic_load(&race_lock->owner) == 0 && atomic_load(word) == value)
		race_sleeps_in_vain++;
	race_us += most_us;
}

static void take_it(void *context)
{
	struct race *race = context;
	uint64_t ticket = 0;
	bool died;

	if (race->timeout_us) {
		stepping_go_on(false);
		race_end_us = race->steps_from_us ? race->steps_from_us
		                                  : race->timeout_us;
	}
	race->rc = store_lock_take(race->store, race->lock, "write",
	                           race->timeout_us, &ticket, &died, &race->err);
	race_end_us = UINT64_MAX;
}

static void race_give(struct race *race)
{
	if (race->borrowed)
		store_lock_give_back(race->store, race->lock, &race->loan);
	else
		store_lock_release(race->store, race->lock);
}

/* Gives the lock back at one instruction, counted from when the time is up. */
static void give_in_time(void *context)
{
	struct race *race = context;

	if (race->given || race->steps++ < race->at)
		return;
	race->given = true;
	race_give(race);
	stepping_enough();
}

static void race_run(struct race *race, uint64_t at)
{
	race->at = at;
	race->steps = race_us = 0;
	race->given = false;
	stepping_run(take_it, give_in_time, race);
	if (!race->given)
		race_give(race);
	if (!race->rc)
		store_lock_release(race->store, race->lock);
}

static void races(struct test *t, struct race *race, uint64_t count,
                  uint64_t stride)
{
	struct opened *o;
	struct os_methods methods;
	const struct os_methods *real;
	struct bed bed;
	bool died;

	if (!stepping_is_possible()) {
		test_skip(t, "no single steps here");
		return;
	}
	bed_open(t, &bed);
	o = &bed.opened;
	EXPECT_OK(t, open_store(o, bed.path, &t->err));
	race->store = o->store;
	race_lock = race->lock = &o->store->shm.head->writer;
	race_sleeps_in_vain = 0;
	real = o->store->os->methods;
	methods = *real;
	methods.monotonic_us = race_clock;
	methods.wait = race_wait;
	o->store->os->methods = &methods;
	for (uint64_t at = 0; at < count && !t->failed; at += stride) {
		if (race->borrowed)
			EXPECT(t, store_lock_borrow(race->store, race->lock, 0,
			                            &race->loan, &died));
		else
			EXPECT_OK(t, store_lock_take(race->store, race->lock,
			                             "write", 0, NULL, &died,
			                             &t->err));
		race_run(race, at);
		EXPECT_EQ(t, atomic_load(&race->lock->owner), 0);
		t->err = race->err;
		if (race->borrowed)
			EXPECT_OK(t, race->rc);
	}
	o->store->os->methods = real;
	EXPECT_OK(t, real_store_close(o, &t->err));
	bed_close(t, &bed);
}

/* The word was kept for one that had just looked for the last time. */
static void who_gives_up_leaves_no_turn_behind(struct test *t)
{
	struct race race = { .timeout_us = 6000 };

	races(t, &race, test_scaled(300, 300), 1);
}

/* Whenever the word comes free: who waits sees it, or is woken. It would look only after
 * 20 ms otherwise. (vfs/lock_word L2) */
static void who_goes_to_sleep_has_not_missed_the_word(struct test *t)
{
	struct race race = { .timeout_us = 100000, .steps_from_us = 21 };

	races(t, &race, test_scaled(300, 300), 1);
	EXPECT_EQ(t, race_sleeps_in_vain, 0);
}

/* A background had the lock when it was looked at, and no longer when it was asked who
 * had it: so somebody did not get a lock that nobody wanted. */
static void a_background_makes_nobody_fail_who_would_not_wait(struct test *t)
{
	struct race race = { .borrowed = true };

	races(t, &race, 4000, test_scaled(1, 1) > 1 ? 1 : 20);
}

static void *borrow(void *argument)
{
	struct race *race = argument;
	bool died;

	race->given = store_lock_borrow(race->store, race->lock, 5000000,
	                                &race->loan, &died);
	usleep(30000);
	if (race->given)
		store_lock_give_back(race->store, race->lock, &race->loan);
	return NULL;
}

/* One of two backgrounds gave up, and took the mark of the other one with it. */
static void of_two_backgrounds_neither_makes_anybody_fail(struct test *t)
{
	struct race race = { .given = false };
	struct lock_loan loan;
	pthread_t thread;
	struct opened *o;
	uint64_t turns;
	struct bed bed;
	bool died;

	bed_open(t, &bed);
	o = &bed.opened;
	EXPECT_OK(t, open_store(o, bed.path, &t->err));
	race.store = o->store;
	race.lock = &o->store->shm.head->writer;
	for (int i = 0; i < 5 && !t->failed; i++) {
		EXPECT_OK(t, store_lock_take(race.store, race.lock, "write", 0,
		                             NULL, &died, &t->err));
		pthread_create(&thread, NULL, borrow, &race);
		while (look_at_queue(race.store, &turns) == 0)
			usleep(1000);
		usleep(10000); /* until the lock is kept for who waits */
		EXPECT(t, !store_lock_borrow(race.store, race.lock, 1000, &loan,
		                             &died));
		store_lock_release(race.store, race.lock);
		EXPECT_OK(t, store_lock_take(race.store, race.lock, "write", 0,
		                             NULL, &died, &t->err));
		store_lock_release(race.store, race.lock);
		pthread_join(thread, NULL);
		EXPECT(t, race.given);
	}
	EXPECT_OK(t, real_store_close(o, &t->err));
	bed_close(t, &bed);
}

/* --- on a simulated clock ---------------------------------------------------------- */

/* Gives blocks back, begins a checkpoint, moves pages: nothing of it without the writer
 * lock, and nobody lets go of what he has not got. */
static void who_takes_care_of_files_waits_for_the_writer(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor writer, carer;
	struct model model;
	uint64_t bytes, calls;
	uint32_t moved;
	bool begun;

	sim_trace_stop(disk);
	model_at(&model, 0);
	EXPECT_OK(t, actor_start(&writer, disk, 0, &t->err));
	EXPECT_OK(t, actor_start(&carer, disk, 0, &t->err));
	for (int i = 0; i < 30; i++)
		EXPECT_OK(t, actor_commit(&writer, disk, &model, &t->err));
	EXPECT_OK(t, actor_abandon(&writer, &model, &t->err));
	calls = sim_call_count(disk, SIM_CALL_PUNCH);
	EXPECT_OK(t, store_release(carer.store, &bytes, &t->err));
	EXPECT_EQ(t, sim_call_count(disk, SIM_CALL_PUNCH), calls);
	EXPECT_OK(t, store_checkpoint_begin(carer.store, &begun, &t->err));
	EXPECT(t, !begun);
	EXPECT_EQ(t, store_vacuum(carer.store, 12, 1000, &moved, &t->err),
	          ERR_BUSY);
	EXPECT_EQ(t, writer.store->shm.head->writer.owner, writer.store->owner);
	store_view_end(writer.view);
	EXPECT_OK(t, store_release(carer.store, &bytes, &t->err));
	EXPECT(t, sim_call_count(disk, SIM_CALL_PUNCH) > calls);
	EXPECT_OK(t, actor_end(&carer, &t->err));
	EXPECT_OK(t, actor_end(&writer, &t->err));
	sim_disk_close(disk);
}

/* All places taken, of all but one by those who died waiting: who comes next finds one,
 * and the one who lives keeps his. */
static void the_places_of_dead_waiters_are_free_again(struct test *t)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct actor writer, waiter, mortal;
	struct shm_lock *lock;
	unsigned taken = 0;

	EXPECT_OK(t, actor_start(&writer, disk, 0, &t->err));
	EXPECT_OK(t, actor_start(&waiter, disk, 0, &t->err));
	EXPECT_OK(t, actor_start(&mortal, disk, 0, &t->err));
	lock = &waiter.store->shm.head->writer;
	EXPECT_OK(t, store_view_begin(writer.view, &t->err));
	EXPECT_OK(t, store_view_write(writer.view, 0, &t->err));
	for (int i = 0; i < SHM_WAITERS; i++) {
		struct shm_waiter *place = &lock->waiters[i];

		atomic_store(&place->owner, i == 7 ? writer.store->owner
		                                   : mortal.store->owner);
		atomic_store(&place->ticket, atomic_fetch_add(&lock->tickets, 1) + 1);
		atomic_fetch_or(&lock->queued[i / 64], UINT64_C(1) << i % 64);
	}
	actor_die(&mortal);
	EXPECT_OK(t, store_view_begin(waiter.view, &t->err));
	EXPECT_EQ(t, store_view_write(waiter.view, 20000, &t->err), ERR_BUSY);
	for (int i = 0; i < SHM_WAITERS; i++)
		taken += atomic_load(&lock->waiters[i].owner) != 0;
	EXPECT_EQ(t, taken, 1);
	EXPECT_EQ(t, lock->waiters[7].owner, writer.store->owner);
	lock->waiters[7].owner = 0;
	store_view_end(writer.view);
	EXPECT_OK(t, store_view_write(waiter.view, 20000, &t->err));
	store_view_end(waiter.view);
	EXPECT_OK(t, actor_end(&waiter, &t->err));
	EXPECT_OK(t, actor_end(&writer, &t->err));
	sim_disk_close(disk);
}

static const struct test_case cases[] = {
	CASE(who_takes_care_of_files_waits_for_the_writer),
	CASE(the_places_of_dead_waiters_are_free_again),
	CASE(nobody_waits_for_more_than_a_bounded_number_of_turns),
	CASE(who_waits_is_served_in_order),
	CASE(the_dead_and_the_stopped_hold_up_nobody),
	CASE(a_mark_of_a_watcher_that_is_gone_costs_no_wakeup),
	CASE(killed_writers_and_waiters_stop_nobody),
	CASE(who_gives_up_learns_who_holds_it_and_leaves_the_queue),
	CASE(a_claim_that_is_not_confirmed_is_taken_over),
	CASE(who_gives_up_leaves_no_turn_behind),
	CASE(who_goes_to_sleep_has_not_missed_the_word),
	CASE(a_background_makes_nobody_fail_who_would_not_wait),
	CASE(of_two_backgrounds_neither_makes_anybody_fail),
};
TEST_MAIN(cases)
