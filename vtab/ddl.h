/*
 * ddl.h - what the files of the parser share; private to vtab/.
 *
 * The parser is one struct and functions that consume tokens from it. A
 * function named ddl_take_* consumes what its name says; one named ddl_parse_*
 * a whole argument of the module. `where` begins the sentence of a refusal.
 */
#ifndef TURDB_VTAB_DDL_H
#define TURDB_VTAB_DDL_H

#include "vtab/definition.h"
#include "vtab/lexer.h"

struct parser {
	struct lexer lexer;             /* of the argument being read           */
	struct arena *arena;
	struct table_definition *table; /* what has been read so far            */
	const char *operation;          /* begins each sentence                 */
	struct err *err;
	uint32_t column_room, index_room, check_room;
	uint32_t argument;              /* number of the one being read         */
	uint32_t autoindexes;
	uint8_t *placed;                /* per column: its order is known       */
	uint32_t place_depth;
	bool primary_seen;
};

/* Failing: each writes the sentence and returns its code. */
#define ddl_refuse(parser, ...)                                               \
	err_known(ERR_INVALID, ddl_explain(parser, __VA_ARGS__))
int ddl_explain(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int ddl_out_of_memory(struct parser *parser);
/* "where: cannot understand 'what comes next'" (vtab/pure_ddl D1) */
#define ddl_not_understood(parser, where)                                     \
	err_known(ERR_INVALID, ddl_explain_token(parser, where))
int ddl_explain_token(struct parser *parser, const char *where);

/* Growing arrays in the arena. ddl_grow returns the array with room for one more
 * element than `count`, or NULL. */
void *ddl_grow(struct arena *arena, void *array, uint32_t count, uint32_t *room,
               size_t size);
int ddl_column_add(struct parser *parser, struct column_definition **column);
int ddl_index_add(struct parser *parser, struct index_definition **index);
int ddl_check_add(struct parser *parser, const char *name,
                  const struct token *expression);

/* Pieces that columns and tables have in common. */
int ddl_take_name(struct parser *parser, const char *where, const char **name);
int ddl_take_conflict(struct parser *parser, const char *where,
                      enum conflict *conflict);
int ddl_take_collation(struct parser *parser, const char *where,
                       enum collation *collation);
int ddl_take_references(struct parser *parser, const char *where);
int ddl_take_deferrable(struct parser *parser, const char *where);
bool ddl_deferrable_follows(const struct parser *parser);
bool ddl_type_is_integer(const struct column_definition *column);
/* Refuses a second PRIMARY KEY. */
int ddl_primary_once(struct parser *parser);

/* name = value */
struct option {
	const char *name;
	const char *value;
};
/* The value is a plain decimal number in [low, high]; one of the choices. */
int ddl_option_number(struct parser *parser, const char *where,
                      const struct option *option, uint32_t low, uint32_t high,
                      uint32_t *number);
int ddl_option_choice(struct parser *parser, const char *where,
                      const struct option *option, const char *const *choices,
                      unsigned count, unsigned *choice);
/* [( name = value, ... )] of HNSW. */
int ddl_take_graph_options(struct parser *parser, const char *where,
                           struct hnsw_options *graph);
/* Fills in what the column says and refuses what does not go together. */
int ddl_graph_settle(struct parser *parser, const char *where,
                     const struct column_definition *column,
                     struct hnsw_options *graph);

/* When all columns are known: the order of generated ones; types of strict=1. */
enum { GENERATED_DEPTH_MAX = 1000 };
int ddl_generated_settle(struct parser *parser);
int ddl_strict_settle(struct parser *parser);
/* Refuses CHECKs, DEFAULTs and generated columns that see more than their row. */
int ddl_expressions_settle(struct parser *parser);

/* Whole arguments. */
int ddl_parse_column(struct parser *parser);
int ddl_parse_constraints(struct parser *parser);
int ddl_parse_index(struct parser *parser);
int ddl_parse_option(struct parser *parser);

#endif
