/*
 * turdb.h - TurDB linked into a program (libturdb.a, made by `make static`).
 *
 * Call sqlite3_turdb_init() once on any connection, or hand it to
 * sqlite3_auto_extension() before the first one; every later connection then has
 * the VFS, the modules and the functions:
 *
 *	sqlite3_open(":memory:", &db);
 *	sqlite3_turdb_init(db, NULL, NULL);
 *	sqlite3_open_v2("file:app?vfs=turdb", &app,
 *	                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
 *	                NULL);
 *
 * Link with -lsqlite3 -lzstd -lxxhash -lm -pthread.
 */
#ifndef TURDB_H
#define TURDB_H

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3_api_routines;

/* SQLITE_OK, or an error whose sentence is in *message (sqlite3_free() it). `api`
 * is not used in a program. */
int sqlite3_turdb_init(sqlite3 *db, char **message,
                       const struct sqlite3_api_routines *api);

#ifdef __cplusplus
}
#endif

#endif
