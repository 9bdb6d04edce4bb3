/*
 * home.h - where the files of one schema's tables live, as the module sees it.
 *
 * The module writes trees and graphs through pagers and does not care who keeps
 * them. A home hands the pagers out and follows SQLite's transaction: natively
 * it is a store's view, which SQLite's own locks and commit move, so that begin,
 * sync, commit and rollback have nothing to do.
 *
 * A home belongs to one connection and is counted: each connected table holds
 * it, and DDL holds it until its transaction ends. After DETACH or close the
 * last release may come when the storage is gone: close() touches nothing but
 * the home's own memory.
 */
#ifndef TURDB_VTAB_HOME_H
#define TURDB_VTAB_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pager.h"
#include "vfs/store.h"

struct home;
struct sqlite3;

struct home_methods {
	/* Reading outside SQLite's own read transaction (prepare, connect):
	 * enter() takes a snapshot unless one is held, and *entered tells
	 * leave() whether to drop it. */
	int (*enter)(struct home *home, bool *entered, struct err *err);
	void (*leave)(struct home *home, bool entered);
	bool (*writing)(const struct home *home);

	/* SQLite's transaction. begin() may come again within one. commit and
	 * rollback never fail and may come more than once. */
	int (*begin)(struct home *home, struct err *err);
	int (*sync)(struct home *home, struct err *err);
	void (*commit)(struct home *home);
	void (*rollback)(struct home *home);
	/* Marks, numbered as in store_view_savepoint(). */
	int (*savepoint)(struct home *home, int n, struct err *err);
	void (*release)(struct home *home, int n);
	void (*rollback_to)(struct home *home, int n);

	/* Files, as in vfs/store.h. */
	int (*file_create)(struct home *home, enum store_file_kind kind,
	                   const char *hint, uint32_t *file_id,
	                   struct err *err);
	int (*file_drop)(struct home *home, uint32_t file_id, struct err *err);
	int (*pager)(struct home *home, uint32_t file_id, struct pager **pager,
	             struct err *err);
	/* Ends an operation that wrote: borrowed pages die. */
	int (*operation_end)(struct home *home, struct err *err);
	void (*close)(struct home *home);
};

struct home {
	const struct home_methods *methods;
	const uint64_t *epoch; /* grows whenever the view moves        */
	bool *read;            /* to be set by who reads what he still has,
	                          past the pagers: he is stale when it changes */
	const char *name;      /* for sentences: "/data/app"           */
	uint32_t holders;
};

static inline struct home *home_hold(struct home *home)
{
	home->holders++;
	return home;
}

static inline void home_release(struct home *home)
{
	if (home && --home->holders == 0)
		home->methods->close(home);
}

/* The home of a schema that is a turdb directory, held once; ERR_UNSUPPORTED,
 * with a sentence that says how to open one, when it is not. */
int home_native_find(struct heap *heap, struct sqlite3 *db, const char *schema,
                     struct home **home, struct err *err);

#endif
