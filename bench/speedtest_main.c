/*
 * speedtest_main.c - SQLite's speedtest1, on its own VFS or on TurDB's.
 *
 *   speedtest_main EXTENSION|- [speedtest1's options] FILE
 *
 * Purpose       speedtest1.c, unchanged, is compiled with its main() renamed; this
 *               main() loads the extension first, so that --vfs can name its VFS.
 * Usage         By bench/speedtest_bench.py, which gets the source.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

int speedtest1_main(int argc, char **argv);

/* The extension stays loaded when its first connection closes. */
static int load(const char *path)
{
	char *error = NULL;
	sqlite3 *db;
	int rc;

	if (sqlite3_open(":memory:", &db))
		return 1;
	sqlite3_enable_load_extension(db, 1);
	rc = sqlite3_load_extension(db, path, NULL, &error);
	if (rc)
		fprintf(stderr, "%s: %s\n", path, error ? error : "not loaded");
	sqlite3_free(error);
	sqlite3_close(db);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: %s EXTENSION|- [option...] FILE\n",
		        argv[0]);
		return 1;
	}
	if (strcmp(argv[1], "-") && load(argv[1]))
		return 1;
	argv[1] = argv[0];
	return speedtest1_main(argc - 1, argv + 1);
}
