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
 * What was really used is counted, where the VFS objects are called: at its end
 * each process appends a line to the file that TURDB_SUITE_COUNTS names,
 *
 *	opens DIRECTORIES FILES
 *
 * main databases that TurDB opened as directories, and those that the VFS below it
 * opened as files.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tcl.h>

#include "sqlite3.h"

typedef int open_method(sqlite3_vfs *vfs, sqlite3_filename name,
                        sqlite3_file *file, int flags, int *flags_out);

int sqlite_suite_init(const char *unused);
int Turdbbytes_Init(Tcl_Interp *interp); /* fixture_bytes.c */

static open_method *turdb_open, *host_open;
static unsigned long directories, files;

static int count_directory(sqlite3_vfs *vfs, sqlite3_filename name,
                           sqlite3_file *file, int flags, int *flags_out)
{
	int rc = turdb_open(vfs, name, file, flags, flags_out);
	char *answer = NULL;

	if (rc || !(flags & SQLITE_OPEN_MAIN_DB) || !file->pMethods)
		return rc;
	file->pMethods->xFileControl(file, SQLITE_FCNTL_VFSNAME, &answer);
	if (answer && strcmp(answer, "turdb") == 0)
		directories++;
	sqlite3_free(answer);
	return rc;
}

static int count_file(sqlite3_vfs *vfs, sqlite3_filename name,
                      sqlite3_file *file, int flags, int *flags_out)
{
	int rc = host_open(vfs, name, file, flags, flags_out);

	if (!rc && flags & SQLITE_OPEN_MAIN_DB && name && name[0])
		files++;
	return rc;
}

/* Puts `counting` before the open of a VFS, once; the object stays for ever. */
static void watch(const char *name, open_method *counting, open_method **real)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(name);

	if (!vfs || vfs->xOpen == counting)
		return;
	*real = vfs->xOpen;
	vfs->xOpen = counting;
}

static void write_counts(void)
{
	const char *path = getenv("TURDB_SUITE_COUNTS");
	char line[80];
	int file;

	if (!path)
		return;
	file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);
	if (file < 0)
		return;
	snprintf(line, sizeof line, "opens %lu %lu\n", directories, files);
	if (write(file, line, strlen(line)) < 0)
		perror(path);
	close(file);
}

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
