/*
 * embed.c - a program with TurDB inside.
 *
 *   make static
 *   cc -I. examples/embed.c libturdb.a -lsqlite3 -lzstd -lxxhash -lm -pthread -o embed
 *   ./embed app
 */
#include <stdio.h>

#include "turdb.h"

static int print_row(void *context, int count, char **values, char **names)
{
	(void)context, (void)names;
	for (int i = 0; i < count; i++)
		printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	sqlite3 *first = NULL, *db = NULL;
	char uri[512];

	snprintf(uri, sizeof uri, "file:%s?vfs=turdb", argc > 1 ? argv[1] : "app");
	/* Any connection will do; later ones have TurDB from the start. */
	if (sqlite3_open(":memory:", &first) ||
	    sqlite3_turdb_init(first, NULL, NULL)) {
		fprintf(stderr, "%s\n", sqlite3_errmsg(first));
		return 1;
	}
	if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	                    SQLITE_OPEN_URI, NULL) ||
	    sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS visit(at TEXT);"
	                     "INSERT INTO visit VALUES (datetime());"
	                     "SELECT turdb_version(), count(*), turdb_check() "
	                     "FROM visit", print_row, NULL, NULL)) {
		fprintf(stderr, "%s: %s\n", uri, sqlite3_errmsg(db));
		return 1;
	}
	return sqlite3_close(db) || sqlite3_close(first);
}
