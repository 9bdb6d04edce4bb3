/*
 * home.h - where the files of one schema's tables live, as the module sees it.
 *
 * The module writes trees and graphs through pagers and does not care who keeps
 * them. A home hands the pagers out and follows SQLite's transaction: natively
 * it is a store's view, which SQLite's own locks and commit move, so that begin,
 * sync, commit and rollback have nothing to do. Inline it is a cache of pages that lie
 * in shadow tables (inline.h).
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

#include "base/arena.h"
#include "base/err.h"
#include "base/pager.h"
#include "btree/btree.h"
#include "vfs/store.h"

struct connection;
struct home;
struct sqlite3;

/* What a home knows of a table beside its rows. */
struct dictionary_entry {
	uint64_t table_id, sequence;
	uint32_t table_file;
	uint32_t index_count;
	uint32_t *index_files;    /* in the arena */
};

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

	/* Tables, by name: making one gives it an id and comes before its first
	 * file; removing it takes its files along, of no `entry` as far as they are there.
	 * ERR_MISSING when there is none. */
	int (*table_make)(struct home *home, const char *table, uint64_t *table_id,
	                  struct err *err);
	int (*table_find)(struct home *home, const char *table,
	                  struct arena *arena, struct dictionary_entry *entry,
	                  struct err *err);
	int (*table_put)(struct home *home, const char *table,
	                 const struct dictionary_entry *entry,
	                 struct arena *arena, struct err *err);
	int (*table_rename)(struct home *home, const char *from, const char *to,
	                    struct arena *arena, struct err *err);
	int (*table_remove)(struct home *home, const char *table,
	                    const struct dictionary_entry *entry,
	                    struct arena *arena, struct err *err);
	/* The columns of a table's rows; found ones are lent as btree_get() lends. */
	int (*layout_put)(struct home *home, const char *table, uint64_t table_id,
	                  struct span layout, struct err *err);
	int (*layout_find)(struct home *home, const char *table,
	                   uint64_t table_id, struct btree_scratch *scratch,
	                   struct span *layout, bool *found, struct err *err);
	/* While it is held its pagers live. */
	void (*table_hold)(struct home *home, uint32_t table_file, bool held);

	/* Files, as in vfs/store.h; `table` is whose. */
	int (*file_create)(struct home *home, enum store_file_kind kind,
	                   const char *table, uint32_t *file_id,
	                   struct err *err);
	int (*file_drop)(struct home *home, uint32_t file_id, struct err *err);
	int (*file_info)(struct home *home, uint32_t file_id,
	                 struct store_file_info *info, struct err *err);
	/* Calls `problem` for what is wrong with the pages that nothing uses. */
	int (*file_check)(struct home *home, uint32_t file_id,
	                  void (*problem)(void *context, const char *sentence),
	                  void *context, struct err *err);
	int (*pager)(struct home *home, uint32_t file_id, struct pager **pager,
	             struct err *err);
	/* Ends an operation that wrote: borrowed pages die. */
	int (*operation_end)(struct home *home, struct err *err);
	/* The same for one that only read, where the home is `crowded`. */
	void (*relieve)(struct home *home);
	void (*close)(struct home *home);
};

struct home {
	const struct home_methods *methods;
	const uint64_t *epoch; /* grows whenever the view moves        */
	bool *read;            /* to be set by who reads what he still has,
	                          past the pagers: he is stale when it changes */
	const char *name;      /* for sentences: "/data/app"           */
	uint32_t holders;
	/* Moves to what SQLite's read transaction sees now; NULL when that goes by
	 * itself. To be called where one may have begun. */
	int (*refresh)(struct home *home, struct err *err);
	bool crowded;          /* more pages are lent than the home likes    */
	bool of_main;          /* SQLite's "main", and not a directory       */
	uint32_t depth;        /* operations that a nested statement may interrupt */
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

static inline int home_refresh(struct home *home, struct err *err)
{
	return home->refresh ? home->refresh(home, err) : ERR_NONE;
}

/* At the end of an operation that read. */
static inline void home_relieve(struct home *home)
{
	if (__builtin_expect(home->crowded, 0) && !home->depth)
		home->methods->relieve(home);
}

/* An operation that may run statements of its own in the middle: what they end is
 * theirs alone. */
static inline void home_enter_operation(struct home *home)
{
	home->depth++;
}

static inline int home_leave_operation(struct home *home, int rc, struct err *err)
{
	if (--home->depth)
		return rc;
	if (!rc)
		return home->methods->operation_end(home, err);
	home_relieve(home);
	return rc;
}

/* The home of a schema, held once: native when it is a turdb directory, else inline. */
int home_find(struct connection *connection, const char *schema,
              struct home **home, struct err *err);
/* ERR_UNSUPPORTED when the schema is none. */
int home_native_find(struct heap *heap, struct sqlite3 *db, const char *schema,
                     struct home **home, struct err *err);
int home_inline_find(struct connection *connection, const char *schema,
                     struct home **home, struct err *err);

#endif
