/*
 * fixture_init.c - puts TurDB under every connection of SQLite's testfixture.
 *
 * Compiled into testfixture, whose SQLite calls sqlite_suite_init() at the end of
 * each sqlite3_initialize() (-DSQLITE_EXTRA_INIT). It loads the extension that
 * TURDB_SO names, as a user would, and makes "turdb-always" the default VFS: each
 * main database that a test opens without naming a VFS becomes a directory.
 * sqlite3_shutdown() brings SQLite's own default back, so this happens again
 * after each. Without TURDB_SO nothing happens: SQLite's own results.
 *
 * What was really used is counted (open_counts.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include <tcl.h>

#include "sqlite3.h"

#include "../support/open_counts.h"

int sqlite_suite_init(const char *unused);
int Turdbbytes_Init(Tcl_Interp *interp); /* fixture_bytes.c */

static int load(const char *library)
{
	char *message = NULL;
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL);

	if (!rc)
		rc = sqlite3_enable_load_extension(db, 1);
	if (!rc)
		rc = sqlite3_load_extension(db, library, NULL, &message);
	if (rc && !turdb_open)
		fprintf(stderr, "load %s: %s\n", library,
		        message ? message : sqlite3_errstr(rc));
	sqlite3_free(message);
	sqlite3_close(db);
	return rc;
}

int sqlite_suite_init(const char *unused)
{
	const char *library = getenv("TURDB_SO");
	static int started;
	int rc;

	(void)unused;
	if (!started++) {
		atexit(write_counts);
		Tcl_StaticPackage(NULL, "Turdbbytes", Turdbbytes_Init, NULL);
	}
	watch("unix", count_file, &host_open);
	if (!library)
		return SQLITE_OK;
	rc = load(library);
	if (rc)
		return rc == SQLITE_ERROR ? SQLITE_NOMEM : rc;
	watch("turdb", count_directory, &turdb_open);
	watch("turdb-always", count_directory, &turdb_open);
	return sqlite3_vfs_register(sqlite3_vfs_find("turdb-always"), 1);
}
