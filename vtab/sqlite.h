/*
 * sqlite.h - SQLite's interface as the files of vtab/ see it.
 *
 * sqlite3_api, the pointer behind every call, is defined in one file of ext/.
 * Calls newer than the oldest SQLite we run on (3.24) are guarded where they
 * are made by sqlite_has().
 */
#ifndef TURDB_VTAB_SQLITE_H
#define TURDB_VTAB_SQLITE_H

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3

#include <stdbool.h>

enum {
	SQLITE_HAS_FROMBIND = 3028000,
	SQLITE_HAS_INNOCUOUS = 3031000,
	SQLITE_HAS_VTAB_IN = 3038000, /* and rhs_value and distinct */
};

static inline bool sqlite_has(int version)
{
	return sqlite3_libversion_number() >= version;
}

#endif
