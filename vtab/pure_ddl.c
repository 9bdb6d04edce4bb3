/*
 * pure_ddl.c - reads what stands between USING turdb( and its ) .
 *
 * Purpose       Makes a struct table_definition of the body of an ordinary
 *               CREATE TABLE, with INDEX items, VECTOR columns and options
 *               beside it (the forms are in the user manual).
 * Architecture  Pure: text in, data out; no SQLite, so that tests and fuzzers
 *               link it alone. SQLite has cut the body at its outer commas.
 * Structures    struct parser (ddl.h) holds the lexer of one argument and growing
 *               arrays in the arena. Items that name columns (constraints,
 *               INDEX) are read in a second pass, when all columns are known.
 * Safety        (D1) Every token of every argument is understood or refused
 *               with a sentence that quotes it. (D2) Column numbers in a
 *               finished definition are below column_count.
 */
#include "vtab/ddl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum item { ITEM_COLUMN, ITEM_CONSTRAINT, ITEM_INDEX, ITEM_OPTION };

static enum item item_of(const struct lexer *lexer)
{
	static const char *const words[] = { "CONSTRAINT", "PRIMARY", "CHECK",
	                                     "FOREIGN", "UNIQUE", NULL };
	struct lexer ahead = *lexer;

	lexer_next(&ahead);
	if (token_is_mark(&ahead.token, '='))
		return ITEM_OPTION;
	if (token_is_word(&lexer->token, "INDEX"))
		return ITEM_INDEX;
	if (token_is_word(&ahead.token, "INDEX") &&
	    (token_is_word(&lexer->token, "UNIQUE") ||
	     token_is_word(&lexer->token, "HNSW")))
		return ITEM_INDEX;
	for (unsigned i = 0; words[i]; i++)
		if (token_is_word(&lexer->token, words[i]))
			return ITEM_CONSTRAINT;
	return ITEM_COLUMN;
}

static bool same_columns(const struct index_definition *left,
                         const struct index_definition *right)
{
	if (left->column_count != right->column_count)
		return false;
	for (uint32_t i = 0; i < left->column_count; i++)
		if (left->columns[i].column != right->columns[i].column ||
		    left->columns[i].collation != right->columns[i].collation)
			return false;
	return true;
}

/* A UNIQUE that repeats an earlier key needs no index of its own. */
static int merge_keys(struct parser *parser)
{
	struct table_definition *table = parser->table;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->index_count; i++) {
		struct index_definition *index = &table->indexes[i];
		bool repeats = false;

		for (uint32_t j = 0; j < kept && !repeats; j++) {
			struct index_definition *earlier = &table->indexes[j];

			if (index->kind != INDEX_TREE || index->name ||
			    earlier->name || !same_columns(index, earlier))
				continue;
			if (index->conflict && earlier->conflict &&
			    index->conflict != earlier->conflict)
				return ddl_refuse(parser, "conflicting ON CONFLICT "
				              "clauses for one key");
			if (!earlier->conflict)
				earlier->conflict = index->conflict;
			if (index->origin == INDEX_OF_PRIMARY)
				earlier->origin = INDEX_OF_PRIMARY;
			repeats = true;
		}
		if (!repeats)
			table->indexes[kept++] = *index;
	}
	table->index_count = kept;
	return ERR_NONE;
}

static int name_keys(struct parser *parser)
{
	struct table_definition *table = parser->table;

	for (uint32_t i = 0; i < table->index_count; i++) {
		char *name;

		if (table->indexes[i].name)
			continue;
		name = arena_allocate(parser->arena, 24);
		if (!name)
			return ddl_out_of_memory(parser);
		snprintf(name, 24, "autoindex %u", ++parser->autoindexes);
		table->indexes[i].name = name;
	}
	return ERR_NONE;
}

/* (D2) */
static void assert_columns(const struct table_definition *table)
{
	for (uint32_t i = 0; i < table->index_count; i++)
		for (uint32_t j = 0; j < table->indexes[i].column_count; j++)
			assert(table->indexes[i].columns[j].column <
			       table->column_count);
	for (uint32_t i = 0; i < table->generated_count; i++)
		assert(table->generated[i] < table->column_count);
	assert(table->rowid_column < (int)table->column_count);
}

static int settle(struct parser *parser)
{
	struct table_definition *table = parser->table;
	bool plain = false;
	int rc;

	if (!table->column_count)
		return ddl_refuse(parser, "a table needs at least one column");
	for (uint32_t i = 0; i < table->column_count; i++)
		plain |= !table->columns[i].generated_sql;
	if (!plain)
		return ddl_refuse(parser, "must have at least one non-generated "
		              "column");
	rc = ddl_expressions_settle(parser);
	if (!rc)
		rc = ddl_strict_settle(parser);
	if (!rc)
		rc = ddl_generated_settle(parser);
	if (!rc)
		rc = merge_keys(parser);
	if (!rc)
		rc = name_keys(parser);
	if (!rc)
		assert_columns(table);
	return rc;
}

static int parse_argument(struct parser *parser, const char *text, bool columns)
{
	lexer_open(&parser->lexer, text, strlen(text));
	if (parser->lexer.token.kind == TOKEN_END)
		return columns ? ddl_refuse(parser, "an item between commas is "
		                        "empty") : ERR_NONE;
	switch (item_of(&parser->lexer)) {
	case ITEM_COLUMN:
		return columns ? ddl_parse_column(parser) : ERR_NONE;
	case ITEM_OPTION:
		return columns ? ddl_parse_option(parser) : ERR_NONE;
	case ITEM_INDEX:
		return columns ? ERR_NONE : ddl_parse_index(parser);
	case ITEM_CONSTRAINT:
		break;
	}
	return columns ? ERR_NONE : ddl_parse_constraints(parser);
}

int ddl_parse(const char *table, uint32_t count, const char *const *arguments,
              struct arena *arena, struct table_definition *definition,
              struct err *err)
{
	return ddl_parse_for("create table", table, count, arguments, arena,
	                     definition, err);
}

int ddl_parse_for(const char *operation, const char *table, uint32_t count,
                  const char *const *arguments, struct arena *arena,
                  struct table_definition *definition, struct err *err)
{
	struct table_definition parsed = {
		.name = table, .rowid_column = NO_COLUMN,
		.null_defaults = true };
	struct parser parser = { .arena = arena, .table = &parsed,
	                         .operation = operation, .err = err };
	int rc = ERR_NONE;

	for (unsigned pass = 0; pass < 2 && !rc; pass++)
		for (uint32_t i = 0; i < count && !rc; i++) {
			parser.argument = i;
			rc = parse_argument(&parser, arguments[i], pass == 0);
		}
	if (!rc)
		rc = settle(&parser);
	if (rc)
		return rc;
	parsed.name = arena_string(arena, table, strlen(table));
	if (!parsed.name)
		return ddl_out_of_memory(&parser);
	*definition = parsed;
	return ERR_NONE;
}

int definition_column_find(const struct table_definition *definition,
                           const char *name)
{
	for (uint32_t i = 0; i < definition->column_count; i++)
		if (name_equal(definition->columns[i].name, name))
			return (int)i;
	return NO_COLUMN;
}
