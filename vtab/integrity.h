/*
 * integrity.h - what the module answers PRAGMA integrity_check; private to vtab/.
 */
#ifndef TURDB_VTAB_INTEGRITY_H
#define TURDB_VTAB_INTEGRITY_H

#include "vtab/table.h"

/* The first SQLite that calls it. One before it must not see the longer module. */
enum { SQLITE_WITH_INTEGRITY = 3044000 };

/* xIntegrity. */
int table_integrity(sqlite3_vtab *vtab, const char *schema, const char *name,
                    int flags, char **text);
/* Whether one of the connection's databases is in a cache that others share. */
bool integrity_cache_shared(sqlite3 *db);

#endif
