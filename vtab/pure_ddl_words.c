/*
 * pure_ddl_words.c - failing, growing, and the phrases that columns and tables
 * have in common: names, ON CONFLICT, COLLATE, REFERENCES.
 */
#include "vtab/ddl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { QUOTED_MAX = 60 };

struct short_name name_shorten(const char *name)
{
	struct short_name short_name;
	size_t size = strlen(name);

	if (size < sizeof short_name.text)
		memcpy(short_name.text, name, size + 1);
	else
		snprintf(short_name.text, sizeof short_name.text, "%.48s...",
		         name);
	return short_name;
}

int ddl_explain(struct parser *parser, const char *format, ...)
{
	char text[ERR_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return err_set(parser->err, ERR_INVALID, parser->operation,
	               name_shorten(parser->table->name).text, "%s", text);
}

int ddl_out_of_memory(struct parser *parser)
{
	return err_set(parser->err, ERR_NOMEM, parser->operation,
	               name_shorten(parser->table->name).text,
	               "no memory for its definition");
}

/* "where: cannot understand 'token'" */
int ddl_explain_token(struct parser *parser, const char *where)
{
	const struct token *token = &parser->lexer.token;
	size_t size = token->size;

	if (token->kind == TOKEN_END)
		return ddl_refuse(parser, "%.80s ends too early", where);
	if (token->kind == TOKEN_BAD)
		return ddl_refuse(parser, "%.80s: unrecognized token '%.*s'%s",
		              where,
		              (int)(size < QUOTED_MAX ? size : QUOTED_MAX),
		              token->text, size < QUOTED_MAX ? "" : "...");
	/* The rest of the argument tells more than the one token. */
	size = (size_t)(parser->lexer.end - token->text);
	return ddl_refuse(parser, "%.80s: cannot understand '%.*s'%s", where,
	              (int)(size < QUOTED_MAX ? size : QUOTED_MAX),
	              token->text, size < QUOTED_MAX ? "" : "...");
}

/* Makes room for one more element of an arena array; the old bytes stay in the
 * arena until it is reset. */
void *ddl_grow(struct arena *arena, void *array, uint32_t count,
	       uint32_t *room, size_t size)
{
	uint32_t wanted = *room ? *room * 2 : 8;
	void *bytes;

	if (count < *room)
		return array;
	bytes = arena_allocate(arena, wanted * size);
	if (!bytes)
		return NULL;
	if (count)
		memcpy(bytes, array, count * size);
	*room = wanted;
	return bytes;
}

int ddl_column_add(struct parser *parser, struct column_definition **column)
{
	struct table_definition *table = parser->table;
	void *array;

	if (table->column_count == COLUMNS_MAX)
		return ddl_refuse(parser, "more than %d columns", COLUMNS_MAX);
	array = ddl_grow(parser->arena, table->columns, table->column_count,
	             &parser->column_room, sizeof *table->columns);
	if (!array)
		return ddl_out_of_memory(parser);
	table->columns = array;
	*column = &table->columns[table->column_count++];
	**column = (struct column_definition){
		.type = "", .argument = parser->argument };
	return ERR_NONE;
}

int ddl_index_add(struct parser *parser, struct index_definition **index)
{
	struct table_definition *table = parser->table;
	void *array;

	if (table->index_count == INDEXES_MAX)
		return ddl_refuse(parser, "more than %d indexes", INDEXES_MAX);
	array = ddl_grow(parser->arena, table->indexes, table->index_count,
	             &parser->index_room, sizeof *table->indexes);
	if (!array)
		return ddl_out_of_memory(parser);
	table->indexes = array;
	*index = &table->indexes[table->index_count++];
	**index = (struct index_definition){
		.kind = INDEX_TREE, .argument = parser->argument };
	return ERR_NONE;
}

int ddl_check_add(struct parser *parser, const char *name,
		  const struct token *expression)
{
	struct table_definition *table = parser->table;
	void *array = ddl_grow(parser->arena, table->checks, table->check_count,
	                   &parser->check_room, sizeof *table->checks);
	char *sql;

	sql = array ? arena_string(parser->arena, expression->text,
	                           expression->size) : NULL;
	if (!sql)
		return ddl_out_of_memory(parser);
	table->checks = array;
	table->checks[table->check_count++] =
		(struct check_definition){ .name = name, .sql = sql };
	return ERR_NONE;
}

int ddl_take_name(struct parser *parser, const char *where,
		  const char **name)
{
	size_t size;
	char *text;

	if (!token_is_name(&parser->lexer.token))
		return ddl_not_understood(parser, where);
	text = token_dequote(&parser->lexer.token, parser->arena, &size);
	if (!text)
		return ddl_out_of_memory(parser);
	lexer_next(&parser->lexer);
	*name = text;
	return ERR_NONE;
}

int ddl_take_conflict(struct parser *parser, const char *where,
		      enum conflict *conflict)
{
	static const char *const words[] = { "ROLLBACK", "ABORT", "FAIL",
	                                     "IGNORE", "REPLACE" };

	if (!token_is_word(&parser->lexer.token, "ON"))
		return ERR_NONE;
	lexer_next(&parser->lexer);
	if (!lexer_take_word(&parser->lexer, "CONFLICT"))
		return ddl_not_understood(parser, where);
	for (unsigned i = 0; i < 5; i++) {
		if (lexer_take_word(&parser->lexer, words[i])) {
			*conflict = CONFLICT_ROLLBACK + i;
			return ERR_NONE;
		}
	}
	return ddl_not_understood(parser, where);
}

int ddl_take_collation(struct parser *parser, const char *where,
		       enum collation *collation)
{
	const char *name;
	int rc = ddl_take_name(parser, where, &name);

	if (rc)
		return rc;
	for (int i = 0; i < COLLATION_COUNT; i++) {
		if (name_equal(name, collation_names[i])) {
			*collation = (enum collation)i;
			return ERR_NONE;
		}
	}
	return ddl_refuse(parser, "%.80s: collation %.40s is not one of "
	                  "BINARY, NOCASE and RTRIM", where, name);
}

/* REFERENCES table [(columns)] and what may follow. Nothing is kept. */
int ddl_take_references(struct parser *parser, const char *where)
{
	struct lexer *lexer = &parser->lexer;
	struct token inside;
	const char *name;
	int rc = ddl_take_name(parser, where, &name);

	if (rc)
		return rc;
	if (token_is_mark(&lexer->token, '(') &&
	    !lexer_take_parenthesis(lexer, &inside))
		return ddl_not_understood(parser, where);
	for (;;) {
		if (lexer_take_word(lexer, "MATCH")) {
			rc = ddl_take_name(parser, where, &name);
			if (rc)
				return rc;
		} else if (token_is_word(&lexer->token, "ON")) {
			lexer_next(lexer);
			if (!lexer_take_word(lexer, "DELETE") &&
			    !lexer_take_word(lexer, "UPDATE"))
				return ddl_not_understood(parser, where);
			if (lexer_take_word(lexer, "SET")) {
				if (!lexer_take_word(lexer, "NULL") &&
				    !lexer_take_word(lexer, "DEFAULT"))
					return ddl_not_understood(parser, where);
			} else if (lexer_take_word(lexer, "NO")) {
				if (!lexer_take_word(lexer, "ACTION"))
					return ddl_not_understood(parser, where);
			} else if (!lexer_take_word(lexer, "CASCADE") &&
			           !lexer_take_word(lexer, "RESTRICT")) {
				return ddl_not_understood(parser, where);
			}
		} else {
			break;
		}
	}
	return ERR_NONE;
}

/* [NOT] DEFERRABLE [INITIALLY DEFERRED|IMMEDIATE], behind REFERENCES. */
int ddl_take_deferrable(struct parser *parser, const char *where)
{
	struct lexer *lexer = &parser->lexer;

	lexer_take_word(lexer, "NOT");
	if (!lexer_take_word(lexer, "DEFERRABLE"))
		return ddl_not_understood(parser, where);
	if (lexer_take_word(lexer, "INITIALLY") &&
	    !lexer_take_word(lexer, "DEFERRED") &&
	    !lexer_take_word(lexer, "IMMEDIATE"))
		return ddl_not_understood(parser, where);
	return ERR_NONE;
}

/* Whether NOT DEFERRABLE comes, rather than NOT NULL. */
bool ddl_deferrable_follows(const struct parser *parser)
{
	struct lexer ahead = parser->lexer;

	lexer_take_word(&ahead, "NOT");
	return token_is_word(&ahead.token, "DEFERRABLE");
}

bool ddl_type_is_integer(const struct column_definition *column)
{
	return name_equal(column->type, "INTEGER");
}

int ddl_primary_once(struct parser *parser)
{
	if (parser->primary_seen)
		return ddl_refuse(parser, "more than one PRIMARY KEY");
	parser->primary_seen = true;
	return ERR_NONE;
}
