/*
 * vtab.h - the module "turdb" and the functions that belong to its tables.
 */
#ifndef TURDB_VTAB_VTAB_H
#define TURDB_VTAB_VTAB_H

#include "vfs/vfs.h"

struct connection; /* what vtab/ has for one sqlite3; counted */
struct home;

struct vtab_environment {
	struct vfs_environment *process; /* heap, os, cpu, reports, tables */
	bool opening; /* the connection is just being opened */
	/* Finds the home of a schema; NULL: only turdb directories have one.
	 * Tests bring homes in memory. */
	int (*home_find)(void *context, sqlite3 *db, const char *schema,
	                 struct home **home, struct err *err);
	void *home_context;
};

/* Makes and frees environment->tables, what vtab/ shares among the connections of
 * the process; before the first vtab_register(). */
int vtab_process_open(struct vfs_environment *environment, struct err *err);
void vtab_process_close(struct vfs_environment *environment);

/* Gives a connection the module turdb, its sentinel, and turdb_create_index,
 * turdb_drop_index, turdb_reindex, turdb_count. Copies `environment`; what it points to
 * outlives the connection. SQLite's code. *made is held for the caller, who makes it the
 * user data of functions and modules of his own. */
int vtab_register(sqlite3 *db, const struct vtab_environment *environment,
                  struct connection **made);
struct connection *vtab_connection_hold(struct connection *connection);
void vtab_connection_release(void *connection);
struct vfs_environment *vtab_process_of(const struct connection *connection);

/* Checks the trees and graphs of a schema or of the table named, with their pages,
 * and from level 1 every row against its indexes. Calls `problem` for each thing wrong;
 * ERR_CORRUPT when there was one, ERR_MISSING when there is no such table. The
 * schema is being read. */
int vtab_check(struct connection *connection, const char *schema, const char *table,
               int level,
               void (*problem)(void *context, const char *sentence),
               void *context, struct err *err);

/* Sets what a connection may keep of pages of shadow tables, in each schema, and
 * answers what it is; 0 only asks. */
int64_t vtab_cache_configure(struct connection *connection, uint32_t cache_kb);

/* Figures of a schema that is no directory, as store_status() has those of one. */
int vtab_status(struct connection *connection, const char *schema,
                int (*each)(void *context, const char *name, int64_t value,
                            const char *what),
                void *context, struct err *err);

/* One row for each table of a schema, or each column or index of a table (`name`;
 * NULL for all there are). Cells, borrowed for the call:
 *   tables   schema, name, rows, columns, indexes, pages, bytes, index_bytes, file
 *   columns  schema, tbl_name, cid, name, type, notnull, dflt_value, pk, collation,
 *            generated
 *   indexes  schema, tbl_name, name, kind, unique, origin, columns, options, entries,
 *            pages, bytes, file */
enum vtab_report { VTAB_TABLES, VTAB_COLUMNS, VTAB_INDEXES };
struct vtab_cell {
	const char *text;  /* NULL: a number */
	int64_t number;
	bool null;
};
int vtab_describe(struct connection *connection, enum vtab_report report,
                  const char *name,
                  void (*row)(void *context, const struct vtab_cell *cells),
                  void *context, struct err *err);

#endif
