/*
 * ext.h - what the files of ext/ share: the way from SQL to the library.
 */
#ifndef TURDB_EXT_EXT_H
#define TURDB_EXT_EXT_H

#include "vfs/vfs.h"

/* environment.c: the process's environment, made and registered at the first
 * call; later calls, and other copies of the library, find the same. */
int ext_environment_get(struct vfs_environment **environment, struct err *err);

struct connection; /* vtab/vtab.h */

/* functions.c, care.c, reports.c: what a connection gets. SQLite result codes. */
int ext_functions_register(sqlite3 *db, struct connection *connection);
int ext_care_register(sqlite3 *db, struct vfs_environment *environment);
int ext_reports_register(sqlite3 *db, struct connection *connection);

/* functions.c: an argument as text; NULL when it is NULL or not there. */
const char *ext_text_argument(int count, sqlite3_value **arguments, int i);

/* later.c: names that answer with a sentence. */
int ext_later_register(sqlite3 *db);

/* schema.c: the turdb directories of a connection. */

/* The schema that a function without a schema means: main when it is a turdb
 * directory, else the one that is. `wish` may be NULL. ERR_INVALID when there is
 * none, or `wish` is not one. The name is copied. */
enum { EXT_SCHEMA_SIZE = 256 };
int ext_schema_find(sqlite3 *db, const char *wish, char name[EXT_SCHEMA_SIZE],
                    struct store **store, struct err *err);
/* Calls `each` for every turdb directory of the connection, for `all` of its schemas;
 * stops on non-zero and returns that. */
int ext_schema_each(sqlite3 *db, bool all,
                    int (*each)(void *context, const char *schema,
                                struct err *err),
                    void *context, struct err *err);

/* Opens a read transaction on a schema as SQLite would, by a statement that stays
 * open; sqlite3_finalize() it to end. The view is NULL where there is no directory. */
int ext_read_begin(sqlite3 *db, const char *schema, sqlite3_stmt **statement,
                   struct store_view **view, struct err *err);

/* check.c: calls `problem` for each thing wrong; ERR_CORRUPT when there was one.
 * `table` NULL checks whole databases. */
int ext_check(sqlite3 *db, struct connection *connection, const char *table,
              int level,
              void (*problem)(void *context, const char *sentence),
              void *context, struct err *err);

#endif
