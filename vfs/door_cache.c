/*
 * door_cache.c - whether SQLite borrows pages of us or keeps copies of its own.
 *
 * A borrowed page (xFetch) costs SQLite no memory and no copy, but it asks for the
 * page, and sets it up, each time that it touches it. A page in its own cache costs
 * a copy once, about 1.5 us, and about 25 ns less at each touch; under xFetch it
 * does not even look there. Which is better depends on how often a page is touched
 * before it goes away again, which nobody knows beforehand. So:
 *
 *   borrowing   until it has cost as much as copying the whole file would, and only
 *               a file that fits into SQLite's cache is ever copied;
 *   copying     until twice the file has been copied: its pages go away too soon,
 *               because others commit or the cache is smaller than it says. The next
 *               try then comes twice as late.
 *
 * What SQLite writes it copies anyway: that counts as many touches. SQLite changes
 * its ways by PRAGMA mmap_size only, which is run from inside xLock(SHARED), when no
 * page is in use. Who runs that PRAGMA himself has chosen for good.
 */
#include "vfs/door.h"

#include <stdlib.h>
#include <string.h>

enum {
	COPY_TOUCHES = 64,      /* a copy costs as much as so many touches save */
	COPIES_MIN = 64,        /* so many more may be made, of a small file    */
	FAILURES_MAX = 8,
	AGAIN_TOUCHES = 4096,   /* after which to look again, when it did not fit */
	CACHE_SIZE_UNKNOWN = INT32_MIN,
};

void door_cache_init(struct door_file *file)
{
	file->cache = (struct door_cache){ .size = CACHE_SIZE_UNKNOWN };
	file->mmap_limit = file->mmap_allowed ? DOOR_MMAP_SIZE : 0;
}

/* What SQLite uses when nobody says PRAGMA cache_size. */
static int64_t default_size(void)
{
	static const char name[] = "DEFAULT_CACHE_SIZE=";
	const char *option;

	for (int i = 0; (option = sqlite3_compileoption_get(i)) != NULL; i++)
		if (strncmp(option, name, sizeof name - 1) == 0)
			return strtoll(option + sizeof name - 1, NULL, 10);
	return -2000;
}

/* As SQLite counts: pages, or KB when negative. */
static uint64_t cache_bytes(struct door_cache *cache)
{
	if (cache->size == CACHE_SIZE_UNKNOWN)
		cache->size = default_size();
	return cache->size < 0 ? (uint64_t)-cache->size * 1024
	                       : (uint64_t)cache->size * cache->page_size;
}

void door_cache_size_set(struct door_file *file, const char *size)
{
	file->cache.size = strtoll(size, NULL, 10);
	file->cache.due = 0;
}

/* SQLite, or the user by a PRAGMA, says how much may be mapped; our own PRAGMA only
 * switches. Returns what is to be answered. */
int64_t door_cache_limit(struct door_file *file, int64_t limit)
{
	int64_t before = file->mmap_limit;

	/* It says the same again whenever the page size is set; a PRAGMA, which has
	 * come by as one before, means it. */
	if (limit < 0 || limit == file->cache.limit)
		return before;
	file->cache.limit = limit;
	file->cache.borrows = limit > 0;
	file->cache.count = 0;
	if (file->cache.choosing)
		return before;
	/* Before the connection is known, 0 is nobody's wish. */
	if (file->mmap_allowed && (file->db || limit > 0))
		file->mmap_limit = limit;
	file->cache.told = file->db != NULL;
	return before;
}

static bool switch_to(struct door_file *file, bool borrows)
{
	int rc;

	file->locking = true;
	rc = door_map_size_set(file, borrows);
	file->locking = false;
	return rc == SQLITE_OK && file->cache.borrows == borrows;
}

/* Called at SHARED when `count` has reached `due`. */
void door_cache_choose(struct door_file *file)
{
	struct door_cache *cache = &file->cache;
	uint64_t bytes, pages, price, copies;
	struct err err;
	bool fits;

	if (!file->schema || !door_has_busy_statement(file->db))
		return; /* SQLite may be reading the schema */
	cache->due = cache->count + AGAIN_TOUCHES;
	if (cache->told || file->mmap_limit <= 0 ||
	    store_sqlite_size(file->view, &bytes, &err))
		return;
	pages = bytes / STORE_PAGE_SIZE + 1;
	price = pages * COPY_TOUCHES << cache->failures;
	copies = pages * 2 + COPIES_MIN;
	fits = bytes + bytes / 8 <= cache_bytes(cache);
	if (cache->borrows && fits) {
		cache->due = cache->count >= price && switch_to(file, false)
		                     ? copies : price;
	} else if (!cache->borrows && fits && cache->count < copies) {
		cache->due = copies;
	} else if (!cache->borrows && switch_to(file, true)) {
		cache->failures += fits && cache->failures < FAILURES_MAX;
		cache->due = AGAIN_TOUCHES;
	}
}
