/*
 * table.h - one connected table, and what a connection's tables share.
 *
 * Private to vtab/. A table's rows, indexes and graphs are files of its home; what
 * is here are handles and scratch memory, no state of the transaction.
 */
#ifndef TURDB_VTAB_TABLE_H
#define TURDB_VTAB_TABLE_H

#include "vtab/sqlite.h"

#include "base/arena.h"
#include "btree/btree.h"
#include "btree/key.h"
#include "btree/row.h"
#include "hnsw/hnsw.h"
#include "vtab/definition.h"
#include "vtab/home.h"
#include "vtab/vtab.h"

enum { DDL_HOMES_MAX = 16, CURSORS_POOLED = 4 };

/* What the tables of one sqlite3 connection share; counted. */
struct connection {
	sqlite3 *db;
	struct heap *heap;
	const struct hnsw_kernels *kernels;
	struct vtab_environment environment;
	uint32_t users;
	struct inline_home *inline_homes; /* of its schemas                    */
	size_t inline_cache_bytes;        /* for pages of each                 */
	/* Homes that DDL has touched in the open transaction: the sentinel passes
	 * savepoints on to them. */
	struct home *ddl_homes[DDL_HOMES_MAX];
	uint32_t ddl_home_count;
	struct table *tables;     /* connected ones */
	struct vfs_breath breath; /* of whatever long work is under way */
};

struct table_index {
	const struct index_definition *definition;
	uint32_t file_id;
	struct pager *pager;
	struct btree tree;        /* INDEX_TREE  */
	struct hnsw *graph;       /* INDEX_GRAPH */
	struct key_column *columns;
};

struct table_cursor;

struct table {
	sqlite3_vtab base;        /* first: SQLite's calls cast back */
	struct connection *connection;
	struct table *next;       /* of the connection's */
	struct home *home;
	struct arena arena;       /* the definition */
	struct table_definition definition;
	char *schema, *name;
	uint64_t table_id;
	uint32_t file_id;
	bool held;                /* by the home, for us */
	bool lost;                /* it was connected without its files */
	bool computing;           /* an expression of one of its rows    */
	bool cache_shared;        /* by other connections, when it was  */
	struct pager *pager;      /* NULL: they are not there           */
	struct btree tree;
	struct table_index *indexes;
	double rows;              /* as last counted, for plans */

	/* Scratch of xUpdate: one row in, one row out, keys. */
	struct value *values, *old_values;
	struct span *vectors;     /* per column, as the next */
	bool *unchanged;
	bool any_not_null;        /* of the columns */
	struct key_buffer *keys, old_key;
	uint8_t *row;
	size_t row_room;
	struct btree_scratch scratch;
	struct arena row_arena;
	sqlite3_stmt **defaults;  /* per column, or NULL */
	sqlite3_stmt **checks;
	sqlite3_stmt **generated;
	/* The row looked up last: an UPDATE or DELETE by key comes back for it. */
	struct {
		int64_t rowid;
		struct span row;
		struct btree_hit hit;
	} last;
	struct table_cursor *pool[CURSORS_POOLED];
	uint32_t pooled;
};

/* layout.c: what rows were stored with, and whether the statement still says so. */
int layout_put(const struct table *table, uint64_t table_id, struct err *err);
int layout_check(const struct table *table, uint64_t table_id, struct err *err);

/* table.c */
int table_result(struct table *table, int rc, const struct err *err);
#define table_no_memory(table, operation, err)                                \
	err_known(ERR_NOMEM, table_explain_memory(table, operation, err))
int table_explain_memory(const struct table *table, const char *operation,
                         struct err *err);
int table_open(struct connection *connection, int argc,
               const char *const *argv, struct table **table, struct err *err);
void table_close(struct table *table);
/* Finds the table's files, unless it has them. */
int table_reach(struct table *table, struct err *err);
/* Whether that failed because of what is stored, or is not: a table is connected all
 * the same, so that it can be dropped and a check of everything can tell. Every use of
 * its rows gives the error. */
static inline bool table_is_damaged(int rc)
{
	return rc == ERR_MISSING || rc == ERR_CORRUPT || rc == ERR_VERSION;
}
int table_create_files(struct table *table, struct err *err);
int table_drop_files(struct table *table, struct err *err);
uint32_t table_vector_index(const struct table *table, uint32_t column);

/* A row by its rowid; lent as btree_get() lends it. */
static inline int table_row_get(struct table *table, int64_t rowid,
                                struct btree_scratch *scratch, struct span *row,
                                bool *found, struct err *err)
{
	uint8_t key[8];

	btree_rowid_key(key, rowid);
	return btree_get(&table->tree, span_of(key, 8), scratch, row, found, err);
}

/* table_find.c: an ERR_... for a result code of SQLite. */
int err_of_sqlite(int code);
/* Why a call failed with it. */
const char *why_of_sqlite(sqlite3 *db, int code);
/* A table of one schema, NULL when it is not ours; also
 * "schema.table"; connected if need be. ERR_CORRUPT when it is without its files.
 * While `keeper` (NULL: none) is not finalized it is not disconnected, whatever is rolled back meanwhile. */
int table_find_in(struct connection *connection, const char *schema,
                  const char *name, struct table **found, sqlite3_stmt **keeper,
                  struct err *err);
int table_find(struct connection *connection, const char *name,
               struct table **found, sqlite3_stmt **keeper, struct err *err);
/* Calls `each` with every turdb table of a schema, of all when NULL. It may not run
 * statements that change the schema. */
int table_each(struct connection *connection, const char *schema,
               int (*each)(struct table *table, void *context), void *context,
               struct err *err);
/* count.c */
int count_register(struct connection *connection);
/* vector_register.c */
int vector_functions_register(struct connection *connection);
/* index_ddl.c */
int index_ddl_register(struct connection *connection);

/* values.c */
int value_take(sqlite3_value *from, enum affinity affinity,
               struct value *value);
/* The value as a probe of an index column; *loose: the comparison may find that a
 * number equals texts which look like numbers. */
void value_probe(sqlite3_value *from, enum affinity affinity,
                 struct value *value, bool *loose);
/* Copies it. */
void value_result(sqlite3_context *context, const struct value *value);
/* Whether a column of a strict table takes the value; the names of what was given
 * and what is wanted. */
bool strict_admits(const struct column_definition *column,
                   const struct value *value, const char **given,
                   const char **wanted);

/* index_entry.c. The key of a row in an index; *unique: it stands for the values
 * alone, so equal keys conflict. Else the rowid follows: no index of a UNIQUE, or a
 * NULL, or values too long for a key, which long_key_find() compares. */
int index_key(const struct table_index *index, const struct value *values,
              int64_t rowid, int rowid_column, struct key_buffer *key,
              bool *unique, struct err *err);
/* Whose entry that is. */
int64_t index_rowid(struct span key, struct span value);
/* Entries of a tree, nodes of a graph. */
int index_count(struct table_index *index, uint64_t *count, struct err *err);
/* How its columns are ordered, in the arena; NULL when there is no memory. */
struct key_column *index_key_columns(const struct index_definition *definition,
                                     struct arena *arena);
/* Whether one of the index's columns is NULL in that row: then it conflicts with none. */
bool index_has_null(const struct table *table,
                    const struct index_definition *index,
                    const struct value *values);
/* "t.a, t.b", as SQLite names the columns of a UNIQUE that is violated; as much of it
 * as there is room for. */
void index_columns_name(const struct table *table,
                        const struct index_definition *index, char *text,
                        size_t size);

/* update_write.c: a row's bytes, in memory of the table's until the next one. */
int table_row_encode(struct table *table, const struct value *values,
                     struct span *row, struct err *err);

/* long_keys.c: what an index cannot tell of values too long for a key, the rows
 * tell. */
struct long_row {
	int64_t rowid;
	struct span row;          /* a copy, or size 0: looked up when needed */
};
struct long_group {
	struct table *table;
	const struct table_index *index;
	struct long_row *rows;
	size_t count, at, room;
	struct key_buffer prefix; /* what the group's keys have in common     */
	struct arena copies;
	size_t copied;            /* bytes of rows                            */
	struct btree_scratch scratch[2];
	struct key_buffer keys[2];
	bool open;
	bool last;                /* nothing follows it                       */
};
void long_group_init(struct long_group *group, struct heap *heap);
void long_group_close(struct long_group *group);
/* Empties it. `key` is that of its first entry, from whose column `column` (at
 * byte `at`) on nothing is fixed. */
int long_group_begin(struct long_group *group, struct table *table,
                     const struct table_index *index, struct span key,
                     uint32_t column, size_t at, struct err *err);
bool long_group_has(const struct long_group *group, struct span key);
int long_group_add(struct long_group *group, int64_t rowid, struct err *err);
/* Puts the rows in the order of the index's columns from `column` on. */
int long_group_sort(struct long_group *group, uint32_t column, struct err *err);
/* The row, but for `except`, whose values are those of `key`, which was shortened
 * and ends with a rowid. */
int long_key_find(struct table *table, struct table_index *index,
                  const struct value *values, int64_t rowid,
                  const struct key_buffer *key, const int64_t *except,
                  int64_t *found_rowid, bool *found, struct err *err);

/* row_expression.c: an expression over the columns of a row. Its value comes with the
 * table's affinity for `column`, its bytes in row_arena; a failure is one of
 * `operation` on the column. */
int row_expression_prepare(struct table *table, const char *expression,
                           sqlite3_stmt **statement, struct err *err);
/* The same without columns. */
int constant_expression_prepare(struct table *table, const char *expression,
                                sqlite3_stmt **statement, struct err *err);
void row_expression_bind(struct table *table, sqlite3_stmt *statement,
                         const struct value *values, int64_t rowid);
int row_expression_value(struct table *table, sqlite3_stmt *statement,
                         uint32_t column, const char *operation,
                         struct value *value, struct err *err);

/* Where a function in an expression of the table is being called. */
int table_refuse_computing(const struct table *table, const char *operation,
                           struct err *err);
/* Whether the row satisfies a CHECK. ERR_INVALID when that cannot be computed. */
int row_check(struct table *table, uint32_t number, const struct value *values,
              int64_t rowid, bool *holds, struct err *err);

/* generated.c: the values of generated columns, from the others; their bytes are
 * in row_arena. */
int generated_prepare(struct table *table, struct err *err);
int generated_compute(struct table *table, struct value *values, int64_t rowid,
                      struct err *err);

/* vector_input.c */
int vector_take(const struct column_definition *column, enum hnsw_metric metric,
                sqlite3_value *from, struct arena *arena, struct span *vector,
                struct err *err);

/* plan.c, cursor.c, update.c, schema.c, sentinel.c */
int table_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);
int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor);
int cursor_close(sqlite3_vtab_cursor *cursor);
int cursor_filter(sqlite3_vtab_cursor *cursor, int number, const char *text,
                  int argc, sqlite3_value **argv);
int cursor_next(sqlite3_vtab_cursor *cursor);
int cursor_eof(sqlite3_vtab_cursor *cursor);
int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context,
                  int column);
int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid);
void cursor_free(struct table *table, struct table_cursor *cursor);
int table_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                 sqlite3_int64 *rowid);
int sentinel_register(struct connection *connection);
int sentinel_join(struct connection *connection, struct home *home,
                  struct err *err);

#endif
