/*
 * door_lock.c - SQLite's lock levels as moves of the store's view.
 *
 * SHARED takes a snapshot, RESERVED makes the view the writer, the rest is only
 * remembered. Readers never wait and are never waited for.
 *
 * Waiting for the writer before us. SQLite's own busy handler polls with sleeps of
 * up to 100 ms, so the door waits in the store's queue itself, as long as the busy
 * timeout allows, and afterwards calls the handler to its end without sleeping
 * (`quiet` threads), so that SQLite does not wait the same time again. Where the
 * connection has a handler of its own, or a main database that is not ours (whose
 * VFS would really sleep), SQLite's polling is left alone.
 *
 * The writer lock at SHARED. A statement that begins and writes at once pins its
 * snapshot at SHARED and asks to write at RESERVED, some hundred nanoseconds
 * later. If another writer commits in between, the snapshot is stale and SQLite
 * starts over through its sleeping handler. So, once contention was met, a busy
 * statement that is not read-only gets the writer lock already at SHARED, with a
 * short bounded wait, and moves to the newest snapshot, for nothing has been read
 * yet. That is a claim only: the write may be for another schema, and then
 * RESERVED never comes. The claim ends when the next call is anything but what
 * SQLite does on its way to RESERVED; and where no call comes at all, because all
 * that is read is in SQLite's cache, another writer takes it over after 2 ms.
 */
#include "vfs/door.h"

#include <pthread.h>
#include <string.h>

/* --- waiting ------------------------------------------------------------------- */

static _Atomic uintptr_t *quiet_begin(struct vfs_environment *environment)
{
	size_t room = sizeof environment->quiet / sizeof environment->quiet[0];

	for (size_t i = 0; i < room; i++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&environment->quiet[i], &none,
		                                   (uintptr_t)pthread_self())) {
			atomic_fetch_add(&environment->quiet_count, 1);
			return &environment->quiet[i];
		}
	}
	return NULL;
}

static void quiet_end(struct vfs_environment *environment,
                      _Atomic uintptr_t *quiet)
{
	atomic_store(quiet, 0);
	atomic_fetch_sub(&environment->quiet_count, 1);
}

/* Tells SQLite's busy handler that its time is over. */
static void exhaust_busy_handler(struct door_file *file)
{
	_Atomic uintptr_t *quiet;
	int (*handler)(void *);
	unsigned calls = 0;

	if (!file->busy_handler || !file->busy_handler[0])
		return;
	quiet = quiet_begin(file->environment);
	if (!quiet)
		return;
	handler = (int (*)(void *))file->busy_handler[0];
	while (handler(file->busy_handler[1]) && calls++ < 1000000)
		;
	quiet_end(file->environment, quiet);
}

static int report_lock(struct door_file *file, const struct err *err)
{
	if (err->code == ERR_BUSY || err->code == ERR_BUSY_SNAPSHOT)
		file->contended = DOOR_CONTENDED;
	return vfs_report(file->environment, err);
}

static int64_t ask_busy_timeout(struct door_file *file)
{
	return file->busy_timeout_ms = door_busy_timeout(file);
}

static uint64_t brief_wait_us(const struct door_file *file)
{
	return file->busy_timeout_ms > 0 && !file->main_foreign
	       ? DOOR_BRIEF_WAIT_US : 0;
}

static int become_writer(struct door_file *file)
{
	struct err err;
	int64_t timeout_ms;
	int rc = store_view_write(file->view, brief_wait_us(file), &err);

	if (!rc) {
		if (file->contended)
			file->contended--;
		return SQLITE_OK;
	}
	if (rc != ERR_BUSY)
		return report_lock(file, &err);
	timeout_ms = ask_busy_timeout(file);
	if (timeout_ms <= 0)
		return report_lock(file, &err);
	file->contended = DOOR_CONTENDED;
	rc = store_view_write(file->view, (uint64_t)timeout_ms * 1000, &err);
	if (!rc)
		return SQLITE_OK;
	if (rc == ERR_BUSY)
		exhaust_busy_handler(file);
	return report_lock(file, &err);
}

/* --- the writer lock at SHARED ---------------------------------------------------- */

/* Whether it is certain to ask for RESERVED. DDL is not: CREATE TABLE IF NOT EXISTS
 * counts as writing and may do nothing, and nobody would hear of its end. */
static bool changes_rows(sqlite3_stmt *statement)
{
	static const char *const words[] = { "insert", "update", "delete",
	                                     "replace", "with", "begin" };
	const char *sql = sqlite3_sql(statement);

	while (sql && (*sql == ' ' || (*sql >= '\t' && *sql <= '\r')))
		sql++;
	for (size_t i = 0; sql && i < sizeof words / sizeof words[0]; i++)
		if (sqlite3_strnicmp(sql, words[i], (int)strlen(words[i])) == 0)
			return true;
	return false;
}

static bool statement_writes(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;

	while ((statement = sqlite3_next_stmt(db, statement)) != NULL)
		if (sqlite3_stmt_busy(statement) &&
		    !sqlite3_stmt_readonly(statement) && changes_rows(statement))
			return true;
	return false;
}

static void write_early(struct door_file *file)
{
	struct err err;
	int64_t timeout_ms;
	uint64_t wait_us;
	int rc;

	if (file->read_only || !file->db || !statement_writes(file->db))
		return;
	rc = store_view_claim(file->view, brief_wait_us(file), &err);
	if (rc == ERR_BUSY) {
		timeout_ms = ask_busy_timeout(file);
		wait_us = timeout_ms > DOOR_EARLY_WAIT_US / 1000
		        ? DOOR_EARLY_WAIT_US : (uint64_t)timeout_ms * 1000;
		if (timeout_ms > 0)
			rc = store_view_claim(file->view, wait_us, &err);
	}
	file->early = rc == ERR_NONE;
}

void door_early_end(struct door_file *file)
{
	file->early = false;
	store_view_unclaim(file->view);
}

/* --- the levels ------------------------------------------------------------------- */

static int prepare_shared(struct door_file *file, struct err *err)
{
	int rc = ERR_NONE;

	file->locking = true;
	door_settle(file);
	if (file->attached && !file->prepared)
		door_pager_prepare(file);
	if (file->main_foreign)
		rc = door_modes_check(file, err);
	file->locking = false;
	return rc;
}

static void look_whether_fresh(struct door_file *file)
{
	struct err err;
	uint64_t size;

	if (store_sqlite_size(file->view, &size, &err))
		return;
	file->fresh = size == 0;
	if (!file->fresh)
		return;
	file->locking = true;
	door_page_size_choose(file);
	file->locking = false;
}

/* sqlite3_enable_shared_cache() shows only when a second connection uses the
 * file of the first. */
static int refuse_shared_cache(struct door_file *file)
{
	struct err err;

	err_set(&err, ERR_UNSUPPORTED, "read", store_path(file->store),
	        "shared cache is not offered: several connections would share one snapshot");
	vfs_report(file->environment, &err);
	return SQLITE_PROTOCOL;
}

/* PRAGMA turdb_read=durable. Who has the writer lock already does not wait: its own
 * commit will be durable after what it read. */
static int await_durable(struct door_file *file)
{
	struct err err;

	if (store_view_await_durable(file->view, &err) == ERR_NONE)
		return SQLITE_OK;
	store_view_end(file->view);
	vfs_report(file->environment, &err);
	return SQLITE_IOERR_FSYNC;
}

static int lock_shared(struct door_file *file)
{
	struct err err;
	int rc = ERR_NONE;

	if (file->db && *file->db_now != file->db)
		return refuse_shared_cache(file);
	if (!file->schema || file->attached)
		rc = prepare_shared(file, &err);
	if (rc) {
		vfs_report(file->environment, &err);
		return SQLITE_PROTOCOL;
	}
	rc = store_view_begin(file->view, &err);
	if (rc) {
		rc = vfs_report(file->environment, &err);
		return rc == SQLITE_BUSY ? SQLITE_PROTOCOL : rc;
	}
	if (file->fresh)
		look_whether_fresh(file);
	if (file->opens_seen !=
	    atomic_load_explicit(&file->environment->open_calls,
	                         memory_order_relaxed))
		door_copy_look(file);
	if (file->cache.count >= file->cache.due)
		door_cache_choose(file);
	if (file->contended)
		write_early(file);
	if (file->read_durable && !file->early)
		return await_durable(file);
	return SQLITE_OK;
}

static int lock_reserved(struct door_file *file)
{
	int rc;

	file->journal.used = false;
	file->early = false;
	rc = become_writer(file);
	if (rc)
		return rc;
	rc = door_copy_refuse(file);
	if (rc)
		store_view_rollback(file->view);
	return rc;
}

int door_lock(sqlite3_file *base, int level)
{
	struct door_file *file = door_file_of(base);
	int rc = SQLITE_OK;

	if (file->locking)
		return SQLITE_LOCKED;
	if (level <= file->level)
		return SQLITE_OK;
	if (file->level == SQLITE_LOCK_NONE) {
		rc = lock_shared(file);
		if (!rc)
			file->level = SQLITE_LOCK_SHARED;
	}
	if (!rc && level >= SQLITE_LOCK_RESERVED &&
	    file->level < SQLITE_LOCK_RESERVED)
		rc = lock_reserved(file);
	if (!rc)
		file->level = level;
	return rc;
}

/* (vfs/door D2) What RESERVED did not commit is discarded. */
int door_unlock(sqlite3_file *base, int level)
{
	struct door_file *file = door_file_of(base);

	if (file->locking || level >= file->level)
		return SQLITE_OK;
	file->early = false;
	if (level == SQLITE_LOCK_NONE)
		store_view_end(file->view);
	else if (store_view_writing(file->view))
		store_view_rollback(file->view);
	file->level = level;
	return SQLITE_OK;
}

/* Asked only to see whether a journal is hot, and there never is one. */
int door_reserved_lock_check(sqlite3_file *base, int *reserved)
{
	*reserved = door_file_of(base)->level >= SQLITE_LOCK_RESERVED;
	return SQLITE_OK;
}
