/*
 * lock_word.c - locks in shared memory, with a queue, that survive their holder.
 *
 * Who finds the word free takes it by one compare-and-swap. Who does not, and may
 * wait, takes a ticket, enters itself in the lock's table of waiters and sleeps on
 * a futex of its own; a release wakes the waiter with the lowest ticket.
 *
 * First come, first served, without a convoy. A lock that always went to who waits
 * would stand still each time until that one has woken up: many times as long as a
 * short transaction takes. So at first a release leaves the word free, and whoever
 * comes by may take it before the waiter that was woken. But when the first in the
 * queue has waited too long, by turns of others (PATIENCE_TURNS) or by time
 * (PATIENCE_US), the word is kept for it: it holds the waiter's number instead of 0,
 * so that nobody else's compare-and-swap fits. Eight processes on two cores, commits
 * a second with synchronous=OFF, and the longest wait of one of them in a bare loop,
 * before there were naps:
 *
 *                                commits     turns of others, at most
 *   kept from the first on        18,700          8
 *   kept after 64 turns, 1 ms     45,000         84
 *   kept after 256 turns, 5 ms    56,300        550
 *   never kept                    56,700      6,400 (21,000 without a queue)
 *
 * Naps. Where turns are short, whoever is woken finds the word taken again: it only
 * costs the wake-up, once a turn. So who was woken in vain after NAP_AFTER_TURNS naps
 * instead: releases leave it alone, it looks by itself every NAP_US, for as long as
 * turns go by quickly or until the word is kept for it. Durable commits, whose
 * processes all come back at once when a sync ends, do not get that far. The same
 * through SQL, in ms the slowest but 1 in 100 and but 1 in 1,000:
 *
 *                           ordinary tables        turdb tables
 *   no naps, 256 turns      33,700  5.1  5.2       42,700  5.1  5.1
 *   naps, 256 turns         57,000  4.6  7.3       69,000  3.8  4.2
 *   naps, 128 turns         50,000  2.9  4.9       66,000  2.1  2.6
 *   naps, 64 turns          36,000  2.0  3.9       45,000  1.6  1.8
 *
 * Watching. A turn of a few microseconds is shorter than falling asleep and waking up.
 * So who finds the word taken first watches it for WATCH_US, one at a time, for two
 * would only take it from each other; and while one watches, a release wakes nobody,
 * who would come too late. Eight processes on two cores, medians of four runs that
 * took turns:
 *
 *                       durable commits, switches each     synchronous=OFF
 *   asleep at once         13,400            2.0                61,800
 *   watching 20 us         15,700            1.6                62,400
 *   watching 40 us         15,500            1.45               64,200
 *
 * Death. A holder that died is found by its waiters, who look after 20 ms without a
 * wake-up; the first to do so takes the word (process.c says who lives). A waiter
 * that died, or was stopped, costs those behind it nothing when it is found dead as
 * its turn comes, and 20 ms otherwise: a word that was kept for longer than that
 * goes to the next, and who did not answer leaves the queue. If it lives it finds
 * its bit cleared and enters again, with its old ticket.
 *
 * Claims. Who holds the lock may turn that into a claim: it means to write in a
 * moment, has changed nothing, and confirms by a compare-and-swap before it does.
 * A claim older than CLAIM_MS_MAX belongs to whoever comes by; the claimer finds out
 * when it confirms, or never.
 *
 * (L1) Only who changes the word from 0, from its own reservation or claim to its
 *      process, or from a dead process or an old claim, holds the lock.
 * (L2) No wake-up is lost: a waiter sets its bit before it looks at the word, and
 *      looks once more after it cleared it; a release changes the word before it
 *      looks at the bits. Who naps needs none: it looks again soon. Who watches takes
 *      the word, or joins the queue and looks at it once more; if it dies meanwhile,
 *      it is as if a holder had died.
 * (L3) Nothing here is trusted after a death: bits without an owner, owners without
 *      a bit and words kept for nobody only cost time.
 */
#include "vfs/store_private.h"

#include <assert.h>
#include <inttypes.h>

enum {
	LOOK_EVERY_US = 20000,   /* asleep so long, one asks who lives */
	KEPT_MS_MAX = 20,
	PATIENCE_US = 5000,
	PATIENCE_TURNS = 128,
	BRIEF_LOOK_US = 5000,    /* who would not wait asks again so often      */
	BRIEF_LOOKS_MAX = 200,
	BRIEF_US_MAX = BRIEF_LOOK_US * BRIEF_LOOKS_MAX,
	CLAIM_MS_MAX = 2,
	FULL_LOOK_US = 1000,     /* how often one looks for a place in a full queue */
	NAP_US = 200,
	NAP_AFTER_TURNS = 16,    /* more than a group of waiters that take turns     */
	NAP_TURNS = 8,           /* in a nap, or it was the last                     */
	WATCH_US = 20,
	WATCH_LOOKS = 16,        /* between two looks at the clock               */
	WATCH_ROUNDS_MAX = 4096, /* should the clock stand still                 */
	NOBODY = -1,
};

/* Words to sleep on. */
enum { ASLEEP = 0, WOKEN = 1, NAPPING = 2 };

static uint64_t now_us(const struct store *store)
{
	return store->os->methods->monotonic_us(store->os);
}

/* --- the word -------------------------------------------------------------------- */

/* A claim is the owner's word with the highest bit and some of the claim's serial
 * number above the process's index. */
#define CLAIM_BIT (UINT64_C(1) << 63)
#define OWNER_MASK ((UINT64_C(1) << CLAIM_SERIAL_AT) - 1)
enum { CLAIM_SERIAL_AT = 43 };
static_assert(SHM_PROCESSES < 1 << (CLAIM_SERIAL_AT - 32),
              "an index + 1 fits below the serial number");

static bool is_kept(uint64_t word)
{
	return word && word >> 32 == 0;
}

static bool is_claimed(uint64_t word)
{
	return (word & CLAIM_BIT) != 0;
}

static uint64_t claim_word(const struct store *store, uint64_t serial)
{
	uint64_t low = serial & ((UINT64_C(1) << (63 - CLAIM_SERIAL_AT)) - 1);

	return CLAIM_BIT | low << CLAIM_SERIAL_AT | store->owner;
}

static bool is_old_claim(const struct store *store, const struct shm_lock *lock,
                         uint64_t word)
{
	return is_claimed(word) &&
	       now_us(store) / 1000 >=
		       atomic_load(&lock->since_ms) + CLAIM_MS_MAX;
}

static uint64_t kept_for(int index, uint64_t ticket)
{
	return (ticket & 0xffff) << 16 | (uint64_t)(index + 1);
}

static int kept_index(uint64_t word)
{
	int index = (int)(word & 0xffff) - 1;

	return index < SHM_WAITERS ? index : NOBODY;
}

static bool kept_too_long(struct store *store, const struct shm_lock *lock)
{
	uint64_t since = atomic_load(&lock->since_ms);

	return now_us(store) / 1000 >= since + KEPT_MS_MAX;
}

static bool take_word(struct store *store, struct shm_lock *lock, uint64_t from)
{
	return atomic_compare_exchange_strong(&lock->owner, &from, store->owner);
}

uint64_t store_lock_holder(const struct shm_lock *lock)
{
	uint64_t word = atomic_load(&lock->owner);

	return is_kept(word) ? 0 : word & OWNER_MASK;
}

/* --- the queue ------------------------------------------------------------------- */

static uint64_t bit_of(int index)
{
	return UINT64_C(1) << (index % 64);
}

static bool is_queued(const struct shm_lock *lock, int index)
{
	return (atomic_load(&lock->queued[index / 64]) & bit_of(index)) != 0;
}

static void queue_set(struct shm_lock *lock, int index)
{
	atomic_fetch_or(&lock->queued[index / 64], bit_of(index));
}

static void queue_clear(struct shm_lock *lock, int index)
{
	atomic_fetch_and(&lock->queued[index / 64], ~bit_of(index));
}

/* Takes a waiter out that does not answer; what a dead one left is free again. */
static void queue_drop(struct store *store, struct shm_lock *lock, int index)
{
	struct shm_waiter *waiter = &lock->waiters[index];
	uint64_t owner = atomic_load(&waiter->owner);

	if (owner && store_process_lives(store, owner)) {
		queue_clear(lock, index);
		return;
	}
	queue_clear(lock, index);
	if (owner)
		atomic_compare_exchange_strong(&waiter->owner, &owner, 0);
}

static int find_place(struct store *store, struct shm_lock *lock)
{
	for (int i = 0; i < SHM_WAITERS; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&lock->waiters[i].owner,
		                                   &none, store->owner))
			return i;
	}
	return NOBODY;
}

static void sweep_dead(struct store *store, struct shm_lock *lock)
{
	for (int i = 0; i < SHM_WAITERS; i++) {
		uint64_t owner = atomic_load(&lock->waiters[i].owner);

		if (owner && !store_process_lives(store, owner))
			queue_drop(store, lock, i);
	}
}

/* Enters the queue; NOBODY when it is full. */
static int queue_enter(struct store *store, struct shm_lock *lock,
                       uint64_t *ticket, uint64_t since_us)
{
	struct shm_waiter *waiter;
	int index = find_place(store, lock);

	if (index == NOBODY) {
		sweep_dead(store, lock);
		index = find_place(store, lock);
	}
	if (index == NOBODY)
		return NOBODY;
	waiter = &lock->waiters[index];
	if (!*ticket)
		*ticket = atomic_fetch_add(&lock->tickets, 1) + 1;
	atomic_store(&waiter->ticket, *ticket);
	atomic_store(&waiter->since_us, since_us);
	atomic_store(&waiter->turns, atomic_load(&lock->turns));
	atomic_store(&waiter->wakeup, 0);
	queue_set(lock, index);
	return index;
}

static int queue_first(const struct shm_lock *lock)
{
	uint64_t lowest = UINT64_MAX;
	int first = NOBODY;

	for (int word = 0; word < SHM_WAITERS / 64; word++) {
		uint64_t bits = atomic_load(&lock->queued[word]);

		for (; bits; bits &= bits - 1) {
			int index = word * 64 + __builtin_ctzll(bits);
			uint64_t ticket =
				atomic_load(&lock->waiters[index].ticket);

			if (ticket < lowest) {
				lowest = ticket;
				first = index;
			}
		}
	}
	return first;
}

static bool is_impatient(const struct store *store, const struct shm_lock *lock,
                         int index)
{
	const struct shm_waiter *waiter = &lock->waiters[index];

	return atomic_load(&lock->turns) - atomic_load(&waiter->turns) >=
	               PATIENCE_TURNS ||
	       now_us(store) - atomic_load(&waiter->since_us) >= PATIENCE_US;
}

static void wake(struct store *store, struct shm_lock *lock, int index,
                 bool kept)
{
	struct shm_waiter *waiter = &lock->waiters[index];

	if (!kept && atomic_load(&waiter->wakeup) == NAPPING)
		return;
	if (atomic_exchange(&waiter->wakeup, WOKEN) != WOKEN)
		store->os->methods->wake(store->os, &waiter->wakeup, 1);
}

/* One that ends later than a watch can is left from before the machine's last start. */
static bool is_watch_on(uint64_t until, uint64_t now)
{
	return until > now && until - now <= WATCH_US;
}

/* Whether somebody who is awake takes the word next. */
static bool is_watched(const struct store *store, const struct shm_lock *lock)
{
	uint64_t until = atomic_load(&lock->watched_until_us);

	return until && is_watch_on(until, now_us(store));
}

/* Changes the word from `from`, which the caller may do, to what the queue asks for,
 * and wakes whose turn it is. (L2) */
static void pass_on(struct store *store, struct shm_lock *lock, uint64_t from)
{
	for (;;) {
		int first = queue_first(lock);
		uint64_t to = 0;

		if (first != NOBODY && is_impatient(store, lock, first)) {
			struct shm_waiter *waiter = &lock->waiters[first];

			if (!store_process_lives(store,
			                         atomic_load(&waiter->owner))) {
				queue_drop(store, lock, first);
				continue;
			}
			to = kept_for(first, atomic_load(&waiter->ticket));
			atomic_store(&lock->since_ms, now_us(store) / 1000);
		}
		if (!atomic_compare_exchange_strong(&lock->owner, &from, to))
			return;
		if (!to && is_watched(store, lock))
			return;
		if (first == NOBODY)
			first = queue_first(lock);
		if (first == NOBODY)
			return;
		wake(store, lock, first, to != 0);
		if (is_queued(lock, first))
			return;
		from = to;
	}
}

static void queue_leave(struct shm_lock *lock, int index)
{
	if (index == NOBODY)
		return;
	queue_clear(lock, index);
	atomic_store(&lock->waiters[index].owner, 0);
}

/* The word may have come free, or been kept for this waiter, since it looked. */
static void queue_give_up(struct store *store, struct shm_lock *lock, int index,
                          uint64_t ticket)
{
	uint64_t word;

	if (index == NOBODY)
		return;
	queue_leave(lock, index);
	word = atomic_load(&lock->owner);
	if (word == 0 || word == kept_for(index, ticket))
		pass_on(store, lock, word);
}

/* --- taking ---------------------------------------------------------------------- */

static int lock_is_busy(struct store *store, struct shm_lock *lock,
                        const char *what, uint64_t word, struct err *err)
{
	uint64_t since = atomic_load(&lock->since_ms);
	uint64_t now = now_us(store) / 1000;
	int index = is_kept(word) ? kept_index(word) : NOBODY;

	if (word == 0)
		return err_set(err, ERR_BUSY, what, store->path,
		               "others were faster each time");
	if (index != NOBODY)
		return err_set(err, ERR_BUSY, what, store->path,
		               "process %u has waited longer and is next",
		               store_owner_pid(store, atomic_load(
			               &lock->waiters[index].owner)));
	return err_set(err, ERR_BUSY, what, store->path,
	               "process %u has held the lock for %" PRIu64 " ms",
	               store_owner_pid(store, word & OWNER_MASK),
	               now > since ? now - since : 0);
}

/* Takes the word from a holder that died, or passes it on when whoever it is kept
 * for does not come. (L3) */
static bool take_from_the_dead(struct store *store, struct shm_lock *lock,
                               uint64_t word, bool *died)
{
	int index;

	if (word == 0)
		return take_word(store, lock, 0);
	if (!is_kept(word)) {
		if (store_process_lives(store, word & OWNER_MASK) ||
		    !take_word(store, lock, word))
			return false;
		*died = true;
		return true;
	}
	if (!kept_too_long(store, lock))
		return false;
	index = kept_index(word);
	if (index != NOBODY)
		queue_drop(store, lock, index);
	pass_on(store, lock, word);
	return take_word(store, lock, 0);
}

static uint64_t asleep_us(uint64_t word, uint64_t left_us)
{
	uint64_t most = is_claimed(word) ? CLAIM_MS_MAX * 1000 : LOOK_EVERY_US;

	return left_us < most ? left_us : most;
}

struct wait {
	int index;         /* in the table of waiters, or NOBODY           */
	uint32_t state;    /* ASLEEP or NAPPING                            */
	bool silent;       /* nobody woke it, and no turn went by          */
	uint64_t entered;  /* turns when it came                           */
	uint64_t turns;    /* when it looked last                          */
};

static void sleep_once(struct store *store, struct shm_lock *lock,
                       struct wait *wait, uint64_t most_us)
{
	const struct os_methods *os = store->os->methods;
	_Atomic uint32_t *wakeup;
	uint64_t turns;
	bool woken;

	if (wait->index == NOBODY) {
		os->sleep_us(store->os, FULL_LOOK_US);
		wait->silent = true;
		return;
	}
	wakeup = &lock->waiters[wait->index].wakeup;
	if (wait->state == NAPPING && most_us > NAP_US)
		most_us = NAP_US;
	os->wait(store->os, wakeup, wait->state, most_us);
	woken = atomic_load(wakeup) == WOKEN;
	turns = atomic_load(&lock->turns);
	wait->silent = wait->state == ASLEEP && !woken && turns == wait->turns;
	if (wait->state == ASLEEP && woken &&
	    turns - wait->entered >= NAP_AFTER_TURNS)
		wait->state = NAPPING;
	else if (turns - wait->turns < NAP_TURNS)
		wait->state = ASLEEP;
	wait->turns = turns;
}

static int wait_in_queue(struct store *store, struct shm_lock *lock,
                         const char *what, uint64_t timeout_us,
                         uint64_t *ticket, bool *died, struct err *err)
{
	uint64_t started = now_us(store), waited = 0, word;
	uint64_t turns = atomic_load(&lock->turns);
	struct wait wait = { .index = NOBODY, .entered = turns, .turns = turns };

	for (;;) {
		if (wait.index == NOBODY)
			wait.index = queue_enter(store, lock, ticket, started);
		if (wait.index != NOBODY)
			atomic_store(&lock->waiters[wait.index].wakeup,
			             wait.state);
		if (wait.index != NOBODY && !is_queued(lock, wait.index))
			queue_set(lock, wait.index);
		word = atomic_load(&lock->owner);
		if ((word == 0 || is_old_claim(store, lock, word) ||
		     (wait.index != NOBODY &&
		      word == kept_for(wait.index, *ticket))) &&
		    take_word(store, lock, word))
			break;
		if ((wait.silent || waited >= timeout_us) &&
		    take_from_the_dead(store, lock, word, died))
			break;
		if (waited >= timeout_us) {
			queue_give_up(store, lock, wait.index, *ticket);
			return lock_is_busy(store, lock, what, word, err);
		}
		sleep_once(store, lock, &wait,
		           asleep_us(word, timeout_us - waited));
		waited = now_us(store) - started;
	}
	queue_leave(lock, wait.index);
	return ERR_NONE;
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool take_when_free(struct store *store, struct shm_lock *lock)
{
	for (int i = 0; i < WATCH_LOOKS; i++) {
		if (atomic_load_explicit(&lock->owner,
		                         memory_order_relaxed) == 0 &&
		    take_word(store, lock, 0))
			return true;
		relax();
	}
	return false;
}

/* Whether that brought the word. */
static bool watch(struct store *store, struct shm_lock *lock)
{
	uint64_t now = now_us(store), end = now + WATCH_US;
	uint64_t until = atomic_load(&lock->watched_until_us);
	bool taken = false;

	if (is_watch_on(until, now) ||
	    !atomic_compare_exchange_strong(&lock->watched_until_us, &until,
	                                    end))
		return false;
	for (int i = 0; i < WATCH_ROUNDS_MAX && !taken && now < end; i++) {
		taken = take_when_free(store, lock);
		if (is_kept(atomic_load(&lock->owner)))
			break;
		now = now_us(store);
	}
	atomic_store(&lock->watched_until_us, 0);
	return taken;
}

static int take(struct store *store, struct shm_lock *lock, const char *what,
                uint64_t timeout_us, uint64_t *ticket, bool *died,
                struct err *err)
{
	uint64_t word, unkept = 0;
	int rc;

	*died = false;
	rc = store_forked(store, err);
	if (rc)
		return rc;
	if (!take_word(store, lock, 0)) {
		word = atomic_load(&lock->owner);
		if (is_old_claim(store, lock, word) &&
		    take_word(store, lock, word)) {
			; /* it is ours */
		} else if (timeout_us && watch(store, lock)) {
			; /* so it is */
		} else if (timeout_us) {
			rc = wait_in_queue(store, lock, what, timeout_us,
			                   ticket ? ticket : &unkept, died,
			                   err);
			if (rc)
				return rc;
		} else if (!take_from_the_dead(store, lock, word, died)) {
			return lock_is_busy(store, lock, what, word, err);
		}
	}
	if (ticket)
		*ticket = 0;
	atomic_fetch_add_explicit(&lock->turns, 1, memory_order_relaxed);
	atomic_store(&lock->since_ms, now_us(store) / 1000);
	return ERR_NONE;
}

static void brief_end(struct shm_lock *lock, const struct lock_loan *loan)
{
	uint64_t until = loan->until_us;

	atomic_compare_exchange_strong(&lock->brief_until_us, &until,
	                               loan->before_us);
}

static bool is_held_briefly(const struct store *store,
                            const struct shm_lock *lock)
{
	uint64_t until = atomic_load(&lock->brief_until_us);

	return (until && now_us(store) < until) ||
	       is_claimed(atomic_load(&lock->owner));
}

/* Who would not wait does so while a background has the lock or is about to, and
 * while it is only claimed. When it is not, that may have ended since the lock was
 * looked at: once more. */
int store_lock_take(struct store *store, struct shm_lock *lock,
                    const char *what, uint64_t timeout_us, uint64_t *ticket,
                    bool *died, struct err *err)
{
	int rc = take(store, lock, what, timeout_us, ticket, died, err);
	bool brief = true;

	for (int i = 0; rc == ERR_BUSY && !timeout_us && brief &&
	                i < BRIEF_LOOKS_MAX; i++) {
		brief = is_held_briefly(store, lock);
		rc = take(store, lock, what, brief ? BRIEF_LOOK_US : 0, ticket,
		          died, err);
	}
	return rc;
}

void store_lock_release(struct store *store, struct shm_lock *lock)
{
	if (store_forked(store, NULL))
		return; /* it is the parent's */
	assert(atomic_load(&lock->owner) == store->owner); /* (L1) */
	pass_on(store, lock, store->owner);
}

/* --- claims ---------------------------------------------------------------------- */

uint64_t store_lock_claim(struct store *store, struct shm_lock *lock)
{
	uint64_t serial = atomic_fetch_add(&store->claims, 1) + 1;
	uint64_t from = store->owner;

	atomic_compare_exchange_strong(&lock->owner, &from,
	                               claim_word(store, serial));
	return serial;
}

/* A later claim of this process means that this one is gone: there is one at a time.
 * So the bits of the serial number that do not fit the word cannot deceive. */
bool store_lock_confirm(struct store *store, struct shm_lock *lock,
                        uint64_t serial)
{
	uint64_t from = claim_word(store, serial);

	return atomic_load(&store->claims) == serial &&
	       !store_forked(store, NULL) &&
	       atomic_compare_exchange_strong(&lock->owner, &from,
	                                      store->owner);
}

void store_lock_unclaim(struct store *store, struct shm_lock *lock,
                        uint64_t serial)
{
	if (store_lock_confirm(store, lock, serial))
		store_lock_release(store, lock);
}

/* The mark is set before and taken back behind: who finds the word taken sees it. One
 * background may wait while another one leaves, so each puts back what it found; what
 * the dead leave, or two that overlap, ends by itself. */
bool store_lock_borrow(struct store *store, struct shm_lock *lock,
                       uint64_t timeout_us, struct lock_loan *loan, bool *died)
{
	struct err ignored;

	*died = false;
	if (!timeout_us && atomic_load(&lock->owner))
		return false;
	loan->before_us = atomic_load(&lock->brief_until_us);
	loan->until_us = now_us(store) + timeout_us + BRIEF_US_MAX;
	atomic_store(&lock->brief_until_us, loan->until_us);
	if (!take(store, lock, "borrow", timeout_us, NULL, died, &ignored))
		return true;
	brief_end(lock, loan);
	return false;
}

void store_lock_give_back(struct store *store, struct shm_lock *lock,
                          const struct lock_loan *loan)
{
	store_lock_release(store, lock);
	brief_end(lock, loan);
}
