/*
 * open_counts.h - what a program's databases were opened as, counted at the VFS objects.
 *
 * For test/suite/fixture_init.c and test/foreign/always.c, each of which puts TurDB under
 * a program that knows nothing of it; included behind SQLite's own header, whichever it
 * is. At its end a process appends a line to the file that TURDB_SUITE_COUNTS names,
 *
 *	opens DIRECTORIES FILES
 *
 * main databases that TurDB opened as directories, and those that the VFS below it
 * opened as files.
 */
#ifndef TURDB_TEST_OPEN_COUNTS_H
#define TURDB_TEST_OPEN_COUNTS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int open_method(sqlite3_vfs *vfs, sqlite3_filename name,
                        sqlite3_file *file, int flags, int *flags_out);

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
	file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (file < 0)
		return;
	snprintf(line, sizeof line, "opens %lu %lu\n", directories, files);
	if (write(file, line, strlen(line)) < 0)
		perror(path);
	close(file);
}

#endif
