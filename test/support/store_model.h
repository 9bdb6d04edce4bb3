/*
 * store_model.h - transactions on a store whose every outcome is known.
 *
 * Commit k is a pure function of k and the state before it: files made and dropped,
 * pages made, changed and freed, SQLite's bytes rewritten, savepoints kept and
 * undone. A store is judged by reading k from it, computing state k again, and
 * comparing every page. Tests of crashes, faults and deaths share it.
 *
 * An actor is one simulated process that has the store open.
 */
#ifndef TURDB_TEST_SUPPORT_STORE_MODEL_H
#define TURDB_TEST_SUPPORT_STORE_MODEL_H

#include "base/heap.h"
#include "test/sim/sim.h"
#include "vfs/store.h"

enum { MODEL_FILES = 3, MODEL_PAGES = 24, MODEL_BYTES = 60000 };

struct model_file {
	uint32_t id;                 /* 0 = none */
	uint32_t page_count;
	uint32_t free_list[MODEL_PAGES + 2], free_count;
	uint64_t content[MODEL_PAGES + 2]; /* seed of page n; 0 = not in use */
	uint64_t patch[MODEL_PAGES + 2];   /* seed of a small change on top  */
};

struct model {
	uint64_t k;                  /* the commit it is the state after */
	uint32_t next_id;
	struct model_file files[MODEL_FILES];
	uint64_t bytes_seed, bytes_size;
};

/* State k from nothing. */
void model_at(struct model *model, uint64_t k);
/* ERR_CORRUPT when the view shows anything but the model's state. */
int model_check(struct store_view *view, const struct model *model,
                  struct err *err);
/* The number that the newest commit in the view wrote; 0 = none. */
int model_found(struct store_view *view, uint64_t *k, struct err *err);

/* Whether the allocator has free what one that is built anew from the retained roots
 * has free; then it is that one. The view is idle, and nobody else writes. */
int model_check_free(struct store_view *view, struct err *err);

struct actor {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

/* What sim_mark() notes about commits. */
enum { MARK_STARTED, MARK_RETURNED, MARK_DURABLE };

/* What actor_start() and actor_end() say when something was not let go of. */
enum { ERR_LEAK = 1000 };

enum { ACTOR_SEGMENT_SIZE = 65536, ACTOR_CACHE_KB = 300 };

int actor_start(struct actor *actor, struct sim_disk *disk, uint32_t plants,
                struct err *err);
/* The same with store_options.lose_after. */
int actor_start_losing(struct actor *actor, struct sim_disk *disk,
                       uint64_t lose_after, struct err *err);
/* Closes everything. Memory is let go of in any case. */
int actor_end(struct actor *actor, struct err *err);
/* Dies without a word: nothing is closed, only the test's memory is let go of. */
void actor_die(struct actor *actor);

/* Begins, does what commit model->k + 1 does, commits, ends, and moves the model.
 * Durable, later or never by k. On failure the view has ended and the model is
 * what it was. */
int actor_commit(struct actor *actor, struct sim_disk *disk,
                 struct model *model, struct err *err);
/* Takes the writer lock from a dead process, which finishes its whole records,
 * and ends the view; *k is the newest commit then. */
int actor_take_over(struct actor *actor, uint64_t *k, struct err *err);
/* Begins a transaction that is never committed; the caller ends the view. */
int actor_abandon(struct actor *actor, const struct model *model,
                  struct err *err);

#endif
