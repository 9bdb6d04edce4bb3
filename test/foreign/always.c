/*
 * always.c - puts TurDB under every connection of a program that knows nothing of it.
 *
 * An SQLite extension, loaded after turdb.so by what runs in a program before its own
 * code (sitecustomize.py, TurdbAlways.pm). It makes "turdb-always" the default VFS: a
 * main database that the program opens by a plain path becomes a directory. Where
 * turdb.so was not loaded it only counts: SQLite's own results, to compare with.
 *
 * At its end each process appends a line to the file that TURDB_SUITE_COUNTS names,
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

#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1

typedef int open_method(sqlite3_vfs *vfs, sqlite3_filename name,
                        sqlite3_file *file, int flags, int *flags_out);

int sqlite3_always_init(sqlite3 *db, char **message,
                        const sqlite3_api_routines *api);

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

static void watch(const char *name, open_method *counting, open_method **real)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(name);

	if (!vfs)
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
	file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (file < 0)
		return;
	snprintf(line, sizeof line, "opens %lu %lu\n", directories, files);
	if (write(file, line, strlen(line)) < 0)
		perror(path);
	close(file);
}

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
