/*
 * door_file.c - SQLite's own pages: bytes of root/sqlite.tbd under the view.
 *
 * SQLite reads and writes any range at any time; what it writes becomes an edit of
 * the view and durable at the commit, so xSync has nothing to do. Reads without a
 * lock happen only when a connection opens (the header), under a snapshot of that
 * moment.
 *
 * WAL mode in a copied header. A backup from a WAL-mode database writes 2 to bytes
 * 18 and 19 of the header, after which SQLite would look for a WAL. They become 1,
 * and the change counters grow by one, so that the writer's own cached copy of the
 * page counts as old, too.
 */
#include "vfs/door.h"

#include <string.h>

enum {
	HEADER_SIZE = 100,
	HEADER_WRITE_FORMAT_AT = 18,
	HEADER_READ_FORMAT_AT = 19,
	HEADER_CHANGES_AT = 24,    /* big-endian u32 */
	HEADER_VALID_FOR_AT = 92,  /* big-endian u32 */
	HEADER_CHECK_SIZE = 16,    /* what xLock(SHARED) is followed by: 24..39 */
	SQLITE_PAGE_SIZE_MIN = 512,
	FORMAT_ROLLBACK = 1,
	FORMAT_WAL = 2,
};

static int report(struct door_file *file, const struct err *err)
{
	return vfs_report(file->environment, err);
}

/* --- reading ------------------------------------------------------------------- */

static int read_under_view(struct door_file *file, uint8_t *bytes, size_t size,
                           uint64_t offset)
{
	struct err err;
	size_t got;

	if (store_sqlite_read(file->view, offset, bytes, size, &got, &err))
		return report(file, &err);
	if (got == size)
		return SQLITE_OK;
	memset(bytes + got, 0, size - got);
	return SQLITE_IOERR_SHORT_READ;
}

/* Runs without SQLite's lock: a snapshot for this one call. */
static int view_borrow(struct door_file *file)
{
	struct err err;

	return store_view_begin(file->view, &err) ? report(file, &err)
	                                          : SQLITE_OK;
}

static bool on_the_way_to_reserved(int size, int64_t offset)
{
	return offset == 0 ||
	       (offset == HEADER_CHANGES_AT && size == HEADER_CHECK_SIZE);
}

/* For door_cache.c: a reader has had to copy. */
static void note_page_read(struct door_file *file, uint32_t size)
{
	file->cache.page_size = size;
	file->cache.count += !file->cache.borrows &&
	                     !store_view_writing(file->view);
}

static int file_read(sqlite3_file *base, void *bytes, int size,
                     sqlite3_int64 offset)
{
	struct door_file *file = door_file_of(base);
	int rc;

	if (file->early && !on_the_way_to_reserved(size, offset))
		door_early_end(file);
	if (size >= SQLITE_PAGE_SIZE_MIN)
		note_page_read(file, (uint32_t)size);
	if (store_view_reading(file->view))
		return read_under_view(file, bytes, (size_t)size,
		                       (uint64_t)offset);
	rc = view_borrow(file);
	if (rc)
		return rc;
	rc = read_under_view(file, bytes, (size_t)size, (uint64_t)offset);
	store_view_end(file->view);
	return rc;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size)
{
	struct door_file *file = door_file_of(base);
	bool borrowed = !store_view_reading(file->view);
	uint64_t bytes = 0;
	struct err err;
	int rc = borrowed ? view_borrow(file) : SQLITE_OK;

	if (rc)
		return rc;
	if (store_sqlite_size(file->view, &bytes, &err))
		rc = report(file, &err);
	if (borrowed)
		store_view_end(file->view);
	if (!rc)
		*size = (sqlite3_int64)bytes;
	return rc;
}

/* Lends committed pages only: an edit's bytes would go away at the commit, while
 * an open SELECT may still hold the page. */
static int file_fetch(sqlite3_file *base, sqlite3_int64 offset, int size,
                      void **bytes)
{
	struct door_file *file = door_file_of(base);
	const uint8_t *lent = NULL;
	struct err err;

	*bytes = NULL;
	if (file->early)
		door_early_end(file);
	if (file->mmap_limit <= 0 || !store_view_reading(file->view) ||
	    store_view_writing(file->view))
		return SQLITE_OK;
	if (store_sqlite_fetch(file->view, (uint64_t)offset, (size_t)size,
	                       &lent, &err))
		return report(file, &err);
	file->cache.count++;
	*bytes = (void *)(uintptr_t)lent;
	return SQLITE_OK;
}

static int file_unfetch(sqlite3_file *base, sqlite3_int64 offset, void *bytes)
{
	(void)base, (void)offset, (void)bytes;
	return SQLITE_OK;
}

/* --- writing ------------------------------------------------------------------- */

static void grow_be32(uint8_t *at)
{
	store_be32(at, load_be32(at) + 1);
}

static bool is_wal_header(const uint8_t *bytes, int size, int64_t offset)
{
	return offset == 0 && size >= HEADER_SIZE &&
	       (bytes[HEADER_WRITE_FORMAT_AT] == FORMAT_WAL ||
	        bytes[HEADER_READ_FORMAT_AT] == FORMAT_WAL);
}

static int write_rollback_header(struct door_file *file, const uint8_t *bytes,
                                 struct err *err)
{
	uint8_t header[HEADER_SIZE];

	memcpy(header, bytes, sizeof header);
	header[HEADER_WRITE_FORMAT_AT] = FORMAT_ROLLBACK;
	header[HEADER_READ_FORMAT_AT] = FORMAT_ROLLBACK;
	grow_be32(header + HEADER_CHANGES_AT);
	grow_be32(header + HEADER_VALID_FOR_AT);
	return store_sqlite_write(file->view, 0, header, sizeof header, err);
}

static int journal_missing(struct door_file *file)
{
	struct err err;

	err_set(&err, ERR_UNSUPPORTED, "write", store_path(file->store),
	        "its journal_mode was changed by a PRAGMA without a schema name "
	        "inside the transaction; the transaction is rolled back");
	report(file, &err);
	return SQLITE_IOERR_WRITE;
}

static int file_write(sqlite3_file *base, const void *data, int size,
                      sqlite3_int64 offset)
{
	struct door_file *file = door_file_of(base);
	const uint8_t *bytes = data;
	size_t done = 0;
	struct err err;
	int rc = ERR_NONE;

	if (file->own_journal && !file->journal.used)
		return journal_missing(file);
	if (file->cache.borrows)
		file->cache.count += DOOR_WRITE_TOUCHES;
	if (is_wal_header(bytes, size, offset)) {
		rc = write_rollback_header(file, bytes, &err);
		done = HEADER_SIZE;
	}
	if (!rc && done < (size_t)size)
		rc = store_sqlite_write(file->view, (uint64_t)offset + done,
		                        bytes + done, (size_t)size - done, &err);
	if (!rc)
		rc = store_view_operation_end(file->view, &err);
	return rc ? report(file, &err) : SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct door_file *file = door_file_of(base);
	struct err err;

	if (store_sqlite_truncate(file->view, (uint64_t)size, &err))
		return report(file, &err);
	return SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags)
{
	(void)base, (void)flags;
	return SQLITE_OK;
}

/* --- what the file is like -------------------------------------------------------- */

static int sector_size(sqlite3_file *base)
{
	(void)base;
	return 512;
}

/* Appending and ordering are safe because nothing is visible before the commit:
 * the journal needs no second header and no syncs. */
static int device_characteristics(sqlite3_file *base)
{
	(void)base;
	return SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
	       SQLITE_IOCAP_POWERSAFE_OVERWRITE
#ifdef SQLITE_IOCAP_SUBPAGE_READ
	       | SQLITE_IOCAP_SUBPAGE_READ
#else
	       | 0x00008000
#endif
		;
}

/* Without xShmMap SQLite keeps no WAL of its own. Programs that believe the answer
 * "wal" to PRAGMA journal_mode may still call the others. */
static int no_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
	(void)base, (void)offset, (void)count, (void)flags;
	return SQLITE_IOERR_SHMLOCK;
}

static void no_shm_barrier(sqlite3_file *base)
{
	(void)base;
}

static int no_shm_unmap(sqlite3_file *base, int delete)
{
	(void)base, (void)delete;
	return SQLITE_OK;
}

const sqlite3_io_methods door_methods = {
	.iVersion = 3,
	.xClose = door_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = door_lock,
	.xUnlock = door_unlock,
	.xCheckReservedLock = door_reserved_lock_check,
	.xFileControl = door_control,
	.xSectorSize = sector_size,
	.xDeviceCharacteristics = device_characteristics,
	.xShmLock = no_shm_lock,
	.xShmBarrier = no_shm_barrier,
	.xShmUnmap = no_shm_unmap,
	.xFetch = file_fetch,
	.xUnfetch = file_unfetch,
};
