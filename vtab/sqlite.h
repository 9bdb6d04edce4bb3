/*
 * sqlite.h - SQLite's interface as the files of vtab/ see it.
 *
 * sqlite3_api, the pointer behind every call, is defined in one file of ext/, which
 * refuses an SQLite older than 3.38: every call made here is there.
 */
#ifndef TURDB_VTAB_SQLITE_H
#define TURDB_VTAB_SQLITE_H

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3

#include <stdbool.h>

#endif
