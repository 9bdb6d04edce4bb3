/*
 * always.c - puts TurDB under every connection of a program that knows nothing of it.
 *
 * An SQLite extension, loaded after turdb.so by what runs in a program before its own
 * code (sitecustomize.py, TurdbAlways.pm). It makes "turdb-always" the default VFS: a
 * main database that the program opens by a plain path becomes a directory. Where
 * turdb.so was not loaded it only counts (open_counts.h): SQLite's own results, to
 * compare with.
 */
#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1

#include "../support/open_counts.h"

int sqlite3_always_init(sqlite3 *db, char **message,
                        const sqlite3_api_routines *api);

int sqlite3_always_init(sqlite3 *db, char **message,
                        const sqlite3_api_routines *api)
{
	SQLITE_EXTENSION_INIT2(api);
	(void)db;
	(void)message;
	if (host_open)
		return SQLITE_OK_LOAD_PERMANENTLY;
	watch("unix", count_file, &host_open);
	watch("turdb", count_directory, &turdb_open);
	watch("turdb-always", count_directory, &turdb_open);
	if (turdb_open)
		sqlite3_vfs_register(sqlite3_vfs_find("turdb-always"), 1);
	atexit(write_counts);
	return SQLITE_OK_LOAD_PERMANENTLY;
}
