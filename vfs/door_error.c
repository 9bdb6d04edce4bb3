/*
 * door_error.c - failures become SQLite's result codes, sentences find a reader.
 *
 * SQLite lets a VFS return a code only. The sentence goes to sqlite3_log() and is
 * kept, one a process, for turdb_last_error().
 */
#include "vfs/door.h"

#include <string.h>

int vfs_result(int err_code)
{
	static const int results[] = {
		[ERR_NONE] = SQLITE_OK,
		[ERR_NOMEM] = SQLITE_NOMEM,
		[ERR_IO] = SQLITE_IOERR,
		[ERR_FULL] = SQLITE_FULL,
		[ERR_CORRUPT] = SQLITE_CORRUPT,
		[ERR_VERSION] = SQLITE_CANTOPEN,
		[ERR_BUSY] = SQLITE_BUSY,
		[ERR_BUSY_SNAPSHOT] = SQLITE_BUSY_SNAPSHOT,
		[ERR_LOCKED] = SQLITE_LOCKED,
		[ERR_READONLY] = SQLITE_READONLY,
		[ERR_CANTOPEN] = SQLITE_CANTOPEN,
		[ERR_MISSING] = SQLITE_ERROR,
		[ERR_EXISTS] = SQLITE_ERROR,
		[ERR_INVALID] = SQLITE_ERROR,
		[ERR_TOOBIG] = SQLITE_TOOBIG,
		[ERR_CONSTRAINT] = SQLITE_CONSTRAINT,
		[ERR_INTERRUPT] = SQLITE_INTERRUPT,
		[ERR_POISONED] = SQLITE_IOERR_FSYNC,
		[ERR_OUTCOME] = SQLITE_IOERR_FSYNC,
		[ERR_ABORT] = SQLITE_ABORT_ROLLBACK,
		[ERR_UNSUPPORTED] = SQLITE_ERROR,
	};

	if (err_code < 0 ||
	    (size_t)err_code >= sizeof results / sizeof results[0])
		return SQLITE_ERROR;
	return results[err_code];
}

/* These two have words that every program knows. */
static bool says_it_all(int result)
{
	return result == SQLITE_INTERRUPT || result == SQLITE_NOMEM;
}

void vfs_result_error(sqlite3_context *context, const struct err *err)
{
	int result = vfs_result(err->code);

	sqlite3_result_error(context, says_it_all(result) ? sqlite3_errstr(result)
	                                                  : err->text, -1);
	sqlite3_result_error_code(context, result);
}

/* A lock that was not had is everyday life, not a message for the log. */
static bool worth_logging(int err_code)
{
	return err_code != ERR_BUSY && err_code != ERR_BUSY_SNAPSHOT &&
	       err_code != ERR_CONSTRAINT;
}

int vfs_report(struct vfs_environment *environment, const struct err *err)
{
	int result = vfs_result(err->code);

	lock_take(&environment->report_lock);
	memcpy(environment->report, err->text, sizeof environment->report);
	lock_release(&environment->report_lock);
	if (worth_logging(err->code))
		sqlite3_log(result, "turdb: %s", err->text);
	return result;
}

void vfs_report_last(struct vfs_environment *environment,
                     char text[ERR_TEXT_SIZE])
{
	lock_take(&environment->report_lock);
	memcpy(text, environment->report, ERR_TEXT_SIZE);
	lock_release(&environment->report_lock);
}
