/*
 * background.c - a thread of this process for what commits need not wait for.
 *
 * Checkpoints and the making of the next log segment. The thread is started when the
 * first order comes, so a process that only reads or writes little never has one; it
 * sleeps between orders, takes no signals, calls nothing of SQLite's and ends with
 * the store. Where the table of system calls has no threads (the simulated disk), or
 * none can be started, the one who orders does the work.
 *
 * After fork() the child has no such thread, and must not use the store either.
 */
#include "vfs/store_private.h"

enum state { STATE_NONE, STATE_STARTING, STATE_RUNNING, STATE_REFUSED };

enum {
	ORDER_STOP = 4,
	LATER_TRIES = 3, /* another checkpoint may be under way */
};

static void obey(struct store *store, uint32_t orders)
{
	struct err ignored;

	if (orders & ORDER_PREPARE_LOG)
		wal_prepare(store->wal, &ignored);
	if (orders & ORDER_CHECKPOINT)
		store_checkpoint_run(store, &ignored);
}

/* Microseconds until the checkpoint that was ordered for later. */
static uint64_t time_left(const struct store *store)
{
	uint64_t now = store->os->methods->monotonic_us(store->os);
	uint64_t last = atomic_load(&store->shm.head->checkpoint_ms) * 1000;
	uint64_t due = last + CHECKPOINT_LATER_MS * 1000;

	return last <= now && now < due ? due - now : 0;
}

/* How often it may still be tried. */
static int checkpoint_later(struct store *store, int tries)
{
	struct err ignored;
	bool begun;

	if (store_checkpoint_begin(store, &begun, &ignored))
		return 0;
	if (begun) {
		store_checkpoint_run(store, &ignored);
		return 0;
	}
	store->os->methods->wait(store->os, &store->background.orders, 0,
	                         CHECKPOINT_LATER_MS * 1000);
	return tries - 1;
}

static void run(void *context)
{
	struct store *store = context;
	struct store_background *background = &store->background;
	uint32_t orders = 0;
	int later = 0;

	while (!(orders & ORDER_STOP)) {
		uint64_t left = later ? time_left(store) : UINT64_MAX;

		orders = atomic_exchange(&background->orders, 0);
		if (orders & ORDER_CHECKPOINT_LATER)
			later = LATER_TRIES;
		if (orders)
			obey(store, orders);
		else if (left)
			store->os->methods->wait(store->os, &background->orders,
			                         0, left);
		else
			later = checkpoint_later(store, later);
	}
}

/* By one thread only; meanwhile the others leave their orders. */
static void start(struct store *store)
{
	struct store_background *background = &store->background;
	const struct os_methods *os = store->os->methods;
	struct err ignored;

	if (os->thread_start && os->thread_start(store->os, run, store,
	                                         &background->thread,
	                                         &ignored) == ERR_NONE)
		atomic_store(&background->state, STATE_RUNNING);
	else
		atomic_store(&background->state, STATE_REFUSED);
}

void store_background_order(struct store *store, uint32_t orders)
{
	struct store_background *background = &store->background;
	uint32_t state = STATE_NONE;

	atomic_fetch_or(&background->orders, orders);
	if (atomic_compare_exchange_strong(&background->state, &state,
	                                   STATE_STARTING))
		start(store);
	if (atomic_load(&background->state) == STATE_REFUSED)
		obey(store, atomic_exchange(&background->orders, 0));
	else
		store->os->methods->wake(store->os, &background->orders, 1);
}

void store_background_end(struct store *store)
{
	struct store_background *background = &store->background;

	if (atomic_load(&background->state) != STATE_RUNNING)
		return;
	atomic_fetch_or(&background->orders, ORDER_STOP);
	store->os->methods->wake(store->os, &background->orders, 1);
	store->os->methods->thread_join(store->os, background->thread);
	background->thread = NULL;
	atomic_store(&background->state, STATE_NONE);
}
