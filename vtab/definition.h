/*
 * definition.h - a table as its CREATE VIRTUAL TABLE statement describes it.
 *
 * Plain data in the arena that ddl_parse() was given; nothing points outside
 * it. Column numbers run from 0 in the order of the statement.
 */
#ifndef TURDB_VTAB_DEFINITION_H
#define TURDB_VTAB_DEFINITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "btree/key.h"
#include "btree/value.h"
#include "hnsw/hnsw.h"

/* SQLite's column affinities. */
enum affinity {
	AFFINITY_BLOB, /* none: values stay as they are */
	AFFINITY_TEXT,
	AFFINITY_NUMERIC,
	AFFINITY_INTEGER,
	AFFINITY_REAL,
};

/* What ON CONFLICT asks; DEFAULT where the statement does not say. */
enum conflict {
	CONFLICT_DEFAULT,
	CONFLICT_ROLLBACK,
	CONFLICT_ABORT,
	CONFLICT_FAIL,
	CONFLICT_IGNORE,
	CONFLICT_REPLACE,
};

/* What a column of a table with strict=1 is declared as. */
enum strict_type {
	STRICT_NONE,
	STRICT_ANY,
	STRICT_BLOB,
	STRICT_INT,
	STRICT_INTEGER,
	STRICT_REAL,
	STRICT_TEXT,
};

enum {
	ROWID_COLUMN = -1,      /* in place of a column number: the rowid  */
	NO_COLUMN = -2,
	COLUMNS_MAX = 32767,    /* SQLite's own largest limit              */
	INDEXES_MAX = 4096,
};

struct column_definition {
	const char *name;
	const char *type;         /* as declared; "" for none                 */
	enum affinity affinity;
	enum collation collation;
	const char *default_sql;  /* an expression, or NULL                   */
	bool not_null;
	enum conflict not_null_conflict;
	const char *generated_sql; /* GENERATED ... AS (this), or NULL        */
	bool generated_virtual;    /* stored all the same                     */
	enum strict_type strict;
	bool vector;
	uint32_t dimensions;       /* of a vector                             */
	enum hnsw_element element;
	uint32_t argument;         /* which module argument it came from      */
};

struct index_column {
	uint32_t column;
	enum collation collation;
	bool descending;
};

enum index_kind { INDEX_TREE = 1, INDEX_GRAPH = 2 };

enum index_origin {
	INDEX_OF_STATEMENT,  /* INDEX name (...): can be dropped by its name */
	INDEX_OF_UNIQUE,     /* a UNIQUE constraint                          */
	INDEX_OF_PRIMARY,    /* PRIMARY KEY that is not the rowid            */
	INDEX_OF_COLUMN,     /* HNSW in a column's definition                */
};

struct index_definition {
	const char *name;    /* made up for constraints: "autoindex 1"       */
	enum index_kind kind;
	enum index_origin origin;
	bool unique;
	enum conflict conflict;
	struct index_column *columns;
	uint32_t column_count;
	struct hnsw_options graph;  /* of INDEX_GRAPH                        */
	uint32_t argument;
};

struct check_definition {
	const char *name;    /* or NULL                                      */
	const char *sql;     /* the expression                               */
};

struct table_definition {
	const char *name;
	struct column_definition *columns;
	uint32_t column_count;
	int rowid_column;           /* INTEGER PRIMARY KEY, or NO_COLUMN     */
	enum conflict rowid_conflict;
	bool autoincrement;
	struct index_definition *indexes;
	uint32_t index_count;
	struct check_definition *checks;
	uint32_t check_count;
	bool has_vector;
	bool has_generated;
	uint32_t *generated;        /* columns, in the order of computing    */
	uint32_t generated_count;
	bool strict;                /* the next three: options               */
	bool null_defaults;         /* NULL takes a nullable column's default */
	const char *compress;       /* "zstd", or NULL                       */
};

/* Reads the module's arguments (the comma-separated parts of the statement's
 * parenthesis). ERR_INVALID quotes what was not understood. */
int ddl_parse(const char *table, uint32_t count, const char *const *arguments,
              struct arena *arena, struct table_definition *definition,
              struct err *err);

/* The same for a statement that is no CREATE: "create index in table". */
int ddl_parse_for(const char *operation, const char *table, uint32_t count,
                  const char *const *arguments, struct arena *arena,
                  struct table_definition *definition, struct err *err);

/* The module's arguments in a CREATE VIRTUAL TABLE statement as sqlite_schema has
 * it; the statement with one more, behind all that are no options; the statement
 * without one. In the arena. */
int ddl_statement_arguments(const char *statement, struct arena *arena,
                            const char ***arguments, uint32_t *count,
                            struct err *err);
int ddl_statement_add(const char *statement, const char *argument,
                      struct arena *arena, const char **edited,
                      struct err *err);
int ddl_statement_drop(const char *statement, uint32_t number,
                       struct arena *arena, const char **edited,
                       struct err *err);

/* The statement to declare to SQLite: columns, then hidden ones. The numbers
 * of the hidden columns follow those of the columns, in this order. */
enum hidden_column { HIDDEN_DISTANCE, HIDDEN_K, HIDDEN_EF, HIDDEN_EXACT,
                     HIDDEN_COUNT };
int ddl_declare(const struct table_definition *definition, struct arena *arena,
                char **statement, struct err *err);

/* Whether an expression calls that function; NULL: any but harmless ones of SQLite. */
bool expression_calls(const char *expression, const char *function);

/* SQLite's names, by enum collation. */
enum { COLLATION_COUNT = COLLATION_RTRIM + 1 };
extern const char *const collation_names[COLLATION_COUNT];

/* The affinity of a declared type, by SQLite's rules. */
enum affinity affinity_of_type(const char *type);

/* "column" by its name, or NO_COLUMN. */
int definition_column_find(const struct table_definition *definition,
                           const char *name);

/* What error sentences call a table: its name, shortened when very long. */
struct short_name { char text[72]; };
struct short_name name_shorten(const char *name);

#endif
