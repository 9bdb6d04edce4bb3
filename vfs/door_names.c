/*
 * door_names.c - which open database a journal's name belongs to.
 *
 * SQLite asks xAccess for "<database>-journal" and "<database>-wal" at the start
 * of every read transaction and hands xOpen the journal's name when it wants one.
 * For a directory database neither exists, and asking the disk would cost a
 * system call. So each open database enters the addresses of its two names (SQLite
 * uses the same strings every time); finding one takes no lock. A name that comes
 * with another address is looked up by its text, as long as any database is open.
 *
 * Structures   Open addressing by address. A slot's file is written before its
 *              name; a removed name leaves REMOVED, or nothing when nothing
 *              follows it. Growing publishes a table twice as large and keeps
 *              the old for readers that are in it: all old tables together are
 *              smaller than the newest.
 * Safety       (N1) Who looks for a name is the connection that has the database
 *              open, so the slot it finds cannot go away meanwhile.
 */
#include "vfs/door.h"

#include <string.h>

enum { FIRST_ROOM = 64 };

struct slot {
	const char *_Atomic name;
	struct door_file *_Atomic file;
};

struct table {
	struct table *older;
	size_t room;  /* a power of two        */
	size_t used;  /* slots that are not empty */
	struct slot slots[];
};

struct door_names {
	struct heap *heap;
	struct lock lock;
	struct table *_Atomic table;
	_Atomic size_t count;
};

static const char removed_name;
#define REMOVED (&removed_name)

static struct table *table_make(struct heap *heap, size_t room)
{
	struct table *table = heap_lasting(heap, sizeof *table +
	                                   room * sizeof(struct slot));

	if (table)
		table->room = room;
	return table;
}

static size_t place_of(const struct table *table, const char *name)
{
	uint64_t hash = (uint64_t)(uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(hash >> 32) & (table->room - 1);
}

int door_names_open(struct heap *heap, struct door_names **names,
                    struct err *err)
{
	struct door_names *made = heap_lasting(heap, sizeof *made);
	struct table *table = table_make(heap, FIRST_ROOM);

	if (!made || !table) {
		heap_free(heap, made);
		heap_free(heap, table);
		return err_set(err, ERR_NOMEM, "register the VFS", VFS_NAME,
		               "no memory for its table of names");
	}
	made->heap = heap;
	lock_init(&made->lock, LOCK_NAMES);
	atomic_store(&made->table, table);
	*names = made;
	return ERR_NONE;
}

static const char *name_in(struct table *table, size_t at)
{
	return atomic_load_explicit(&table->slots[at & (table->room - 1)].name,
	                            memory_order_acquire);
}

static void enter(struct table *table, const char *name, struct door_file *file)
{
	size_t at = place_of(table, name);
	const char *there;

	while ((there = name_in(table, at)) != NULL && there != REMOVED)
		at = (at + 1) & (table->room - 1);
	atomic_store_explicit(&table->slots[at].file, file,
	                      memory_order_relaxed);
	atomic_store_explicit(&table->slots[at].name, name,
	                      memory_order_release);
	if (!there)
		table->used++;
}

/* A table with an empty slot to spare, or NULL. Caller holds the lock. */
static struct table *with_room(struct door_names *names, struct err *err)
{
	struct table *old = atomic_load(&names->table), *table;

	if (old->used * 2 < old->room)
		return old;
	table = table_make(names->heap, old->room * 2);
	if (!table) {
		err_set(err, ERR_NOMEM, "open a database", "",
		        "no memory for the table of names");
		return NULL;
	}
	for (size_t i = 0; i < old->room; i++) {
		const char *name = name_in(old, i);

		if (name && name != REMOVED)
			enter(table, name, atomic_load(&old->slots[i].file));
	}
	table->older = old;
	atomic_store_explicit(&names->table, table, memory_order_release);
	return table;
}

int door_names_add(struct door_names *names, const char *name,
                   struct door_file *file, struct err *err)
{
	struct table *table;

	lock_take(&names->lock);
	table = with_room(names, err);
	if (table) {
		enter(table, name, file);
		atomic_fetch_add(&names->count, 1);
	}
	lock_release(&names->lock);
	return table ? ERR_NONE : ERR_NOMEM;
}

static struct slot *find_slot(struct table *table, const char *name)
{
	size_t at = place_of(table, name);
	const char *there;

	while ((there = name_in(table, at)) != NULL) {
		if (there == name)
			return &table->slots[at];
		at = (at + 1) & (table->room - 1);
	}
	return NULL;
}

/* Empties the slot, and removed ones before it, when nothing follows: whoever
 * looks for another name has found it before it would come here. */
static void empty_slot(struct table *table, size_t at)
{
	atomic_store_explicit(&table->slots[at].name, REMOVED,
	                      memory_order_release);
	if (name_in(table, at + 1))
		return;
	while (name_in(table, at) == REMOVED) {
		atomic_store_explicit(&table->slots[at].name, NULL,
		                      memory_order_release);
		table->used--;
		at = (at + table->room - 1) & (table->room - 1);
	}
}

void door_names_remove(struct door_names *names, const char *name)
{
	struct table *table;
	struct slot *slot;

	lock_take(&names->lock);
	table = atomic_load(&names->table);
	slot = find_slot(table, name);
	if (slot) {
		empty_slot(table, (size_t)(slot - table->slots));
		atomic_fetch_sub(&names->count, 1);
	}
	lock_release(&names->lock);
}

static struct door_file *find_text(struct door_names *names, const char *name)
{
	struct door_file *file = NULL;
	struct table *table;

	lock_take(&names->lock);
	table = atomic_load(&names->table);
	for (size_t i = 0; i < table->room && !file; i++) {
		const char *known = name_in(table, i);

		if (known && known != REMOVED && strcmp(known, name) == 0)
			file = atomic_load(&table->slots[i].file);
	}
	lock_release(&names->lock);
	return file;
}

/* Takes no lock. (N1) */
struct door_file *door_names_find(struct door_names *names, const char *name)
{
	struct slot *slot;

	if (atomic_load_explicit(&names->count, memory_order_relaxed) == 0)
		return NULL;
	slot = find_slot(atomic_load_explicit(&names->table,
	                                      memory_order_acquire), name);
	return slot ? atomic_load_explicit(&slot->file, memory_order_relaxed)
	            : NULL;
}

bool door_names_known(struct door_names *names, const char *name)
{
	if (door_names_find(names, name))
		return true;
	return atomic_load_explicit(&names->count, memory_order_relaxed) &&
	       find_text(names, name);
}
