/*
 * slot.c - reader slots: how a snapshot is pinned without a system call.
 *
 * (S1) A reader copies the newest ring entry, stores its txid in its slot, fences
 * and loads the published txid again; when that has changed it starts over. A
 * reclaimer publishes first, fences, then reads the slots. So either the reclaimer
 * sees the pin, or the reader sees that it came too late. The fences are those of
 * sequentially consistent stores and loads.
 */
#include "vfs/store_private.h"

/* The thread sanitizer does not know fences; it sees the ring's entries as what
 * they are, 64 commits apart. */
static inline void loads_before_loads(void)
{
#if !defined(__SANITIZE_THREAD__)
	atomic_thread_fence(memory_order_acquire);
#endif
}

static int claim(struct store *store, struct shm_slot *slot)
{
	uint64_t nobody = 0;

	return atomic_compare_exchange_strong(&slot->owner, &nobody,
	                                      store->owner);
}

int store_slot_take(struct store_view *view, struct err *err)
{
	struct store *store = view->store;
	struct shm_head *head = store->shm.head;

	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < SHM_SLOTS; i++) {
			uint32_t used = atomic_load(&head->slots_used);

			if (atomic_load(&head->slots[i].owner) ||
			    !claim(store, &head->slots[i]))
				continue;
			atomic_store(&head->slots[i].txid, 0);
			while (used < i + 1 &&
			       !atomic_compare_exchange_weak(&head->slots_used,
			                                     &used, i + 1))
				;
			view->slot = &head->slots[i];
			return ERR_NONE;
		}
		store_slots_sweep(store);
	}
	return err_set(err, ERR_BUSY, "open", store->path,
	               "all %d connection slots are in use", SHM_SLOTS);
}

void store_slot_release(struct store_view *view)
{
	if (!view->slot || store_forked(view->store, NULL))
		return;
	atomic_store(&view->slot->txid, 0);
	atomic_store(&view->slot->owner, 0);
	view->slot = NULL;
}

void store_newest_root(const struct store *store, struct store_root *root)
{
	const struct shm_head *head = store->shm.head;
	uint64_t txid = atomic_load_explicit(&head->published,
	                                     memory_order_acquire);

	for (;;) {
		uint64_t again;

		*root = head->ring[txid % SHM_RING];
		loads_before_loads();
		again = atomic_load_explicit(&head->published,
		                             memory_order_acquire);
		if (again == txid)
			return;
		txid = again;
	}
}

/* (S1), (rule 4) */
void store_slot_pin(struct store_view *view, struct store_root *root)
{
	struct shm_head *head = view->store->shm.head;

	for (;;) {
		store_newest_root(view->store, root);
		atomic_store(&view->slot->txid, root->txid);
		if (atomic_load(&head->published) == root->txid)
			return;
	}
}

/* Only to a snapshot that cannot go away meanwhile: the newest, by the writer. */
void store_slot_move(struct store_view *view, const struct store_root *root)
{
	atomic_store(&view->slot->txid, root->txid);
}

void store_slot_unpin(struct store_view *view)
{
	atomic_store_explicit(&view->slot->txid, 0, memory_order_release);
}

void store_slots_sweep(struct store *store)
{
	struct shm_head *head = store->shm.head;
	uint32_t used = atomic_load(&head->slots_used);
	uint64_t last_dead = 0, last_alive = store->owner;

	for (uint32_t i = 0; i < used; i++) {
		struct shm_slot *slot = &head->slots[i];
		uint64_t owner = atomic_load(&slot->owner);

		if (owner == 0 || owner == last_alive)
			continue;
		if (owner != last_dead && store_process_lives(store, owner)) {
			last_alive = owner;
			continue;
		}
		last_dead = owner;
		/* Ours first: two sweepers must not both clear a slot that a
		 * third has claimed in between. */
		if (!atomic_compare_exchange_strong(&slot->owner, &owner,
		                                    store->owner))
			continue;
		atomic_store(&slot->txid, 0);
		atomic_store(&slot->owner, 0);
	}
}
