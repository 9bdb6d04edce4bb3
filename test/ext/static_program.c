/*
 * static_program.c - a program with TurDB linked in, as libturdb.a's users write it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turdb.h"

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message)) {
		printf("FAIL %s: %s\n", sql, message);
		exit(1);
	}
}

int main(void)
{
	char directory[] = "/tmp/turdb-static-XXXXXX", uri[256], command[256];
	sqlite3 *memory, *app;
	sqlite3_stmt *statement;
	int count;

	if (!mkdtemp(directory) || sqlite3_open(":memory:", &memory) ||
	    sqlite3_turdb_init(memory, NULL, NULL))
		return 1;
	snprintf(uri, sizeof uri, "file:%s/app?vfs=turdb", directory);
	for (int round = 1; round <= 2; round++) {
		if (sqlite3_open_v2(uri, &app, SQLITE_OPEN_READWRITE |
		                    SQLITE_OPEN_CREATE | SQLITE_OPEN_URI |
		                    SQLITE_OPEN_EXRESCODE, NULL)) {
			printf("FAIL open: %s\n", sqlite3_errmsg(app));
			return 1;
		}
		run(app, "CREATE TABLE IF NOT EXISTS t(a)");
		run(app, "INSERT INTO t VALUES(turdb_version())");
		sqlite3_prepare_v2(app, "SELECT count(*) FROM t", -1, &statement,
		                   NULL);
		sqlite3_step(statement);
		count = sqlite3_column_int(statement, 0);
		sqlite3_finalize(statement);
		if (count != round || sqlite3_close(app))
			return 1;
	}
	sqlite3_close(memory);
	snprintf(command, sizeof command, "rm -rf %s", directory);
	puts("ok a_program_links_the_static_library");
	return system(command) != 0;
}
