/*
 * pure_ddl_column.c - one column: its name, type and constraints.
 */
#include "vtab/ddl.h"

#include <stdio.h>
#include <string.h>
#include "hnsw/vector.h"

/* Words that end a type name and begin a constraint. */
static bool constraint_begins(const struct token *token)
{
	static const char *const words[] = {
		"CONSTRAINT", "NULL", "NOT", "PRIMARY", "UNIQUE", "CHECK",
		"DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS", "HNSW",
		"DEFERRABLE", "ON", NULL };

	for (unsigned i = 0; words[i]; i++)
		if (token_is_word(token, words[i]))
			return true;
	return false;
}

/* VECTOR ( n [, element] ): the lexer stands at "(". */
static int take_vector_type(struct parser *parser, const char *where,
                            struct column_definition *column)
{
	static const char *const elements[] = { "f32", "f16", "int8", "bit" };
	struct lexer *lexer = &parser->lexer;
	struct option dimensions = { .name = "the dimension of a VECTOR" };
	struct option element = { .name = "the element of a VECTOR" };
	unsigned choice = 0;
	int rc;

	if (!lexer_take_mark(lexer, '('))
		return ddl_refuse(parser, "%.80s: VECTOR needs its dimension: "
		              "VECTOR(128)", where);
	if (lexer->token.kind == TOKEN_NUMBER) {
		dimensions.value = token_dequote(&lexer->token, parser->arena,
		                                 NULL);
		if (!dimensions.value)
			return ddl_out_of_memory(parser);
		lexer_next(lexer);
	} else if (token_is_mark(&lexer->token, '-')) {
		dimensions.value = "a negative one";
		lexer_next(lexer);
	} else {
		return ddl_not_understood(parser, where);
	}
	rc = ddl_option_number(parser, where, &dimensions, 1,
	                   VECTOR_DIMENSIONS_MAX, &column->dimensions);
	if (rc)
		return rc;
	if (lexer_take_mark(lexer, ',')) {
		rc = ddl_take_name(parser, where, &element.value);
		if (!rc)
			rc = ddl_option_choice(parser, where, &element, elements,
			                   4, &choice);
		if (rc)
			return rc;
	}
	if (!lexer_take_mark(lexer, ')'))
		return ddl_not_understood(parser, where);
	column->vector = true;
	column->element = HNSW_F32 + choice;
	return ERR_NONE;
}

static int take_type(struct parser *parser, const char *where,
                     struct column_definition *column)
{
	struct lexer *lexer = &parser->lexer;
	const char *start = lexer->token.text;
	const char *end = start;
	struct token inside;
	int rc;

	if (lexer_take_word(lexer, "VECTOR")) {
		rc = take_vector_type(parser, where, column);
		if (rc)
			return rc;
		end = lexer->token.text;
		while (end > start && end[-1] != ')')
			end--;
	} else {
		while (token_is_name(&lexer->token) &&
		       !constraint_begins(&lexer->token)) {
			end = lexer->token.text + lexer->token.size;
			lexer_next(lexer);
		}
		if (end > start && token_is_mark(&lexer->token, '(')) {
			if (!lexer_take_parenthesis(lexer, &inside))
				return ddl_not_understood(parser, where);
			end = inside.text + inside.size + 1;
		}
	}
	column->type = arena_string(parser->arena, start,
	                            (size_t)(end - start));
	if (!column->type)
		return ddl_out_of_memory(parser);
	column->affinity = column->vector ? AFFINITY_BLOB
	                                  : affinity_of_type(column->type);
	return ERR_NONE;
}

static bool is_constant_word(const struct token *token)
{
	static const char *const words[] = {
		"NULL", "TRUE", "FALSE", "CURRENT_TIME", "CURRENT_DATE",
		"CURRENT_TIMESTAMP",
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (token_is_word(token, words[i]))
			return true;
	return false;
}

/* What may stand behind DEFAULT without a parenthesis. */
static int take_default_literal(struct parser *parser, const char *where,
                                struct column_definition *column)
{
	struct lexer *lexer = &parser->lexer;
	struct token *token = &lexer->token;
	const char *start = token->text;
	bool is_signed = lexer_take_mark(lexer, '-') ||
	                 lexer_take_mark(lexer, '+');

	if (is_signed && token->kind != TOKEN_NUMBER)
		return ddl_not_understood(parser, where);
	if (token->kind == TOKEN_WORD && !is_constant_word(token)) {
		/* DEFAULT word means 'word'. */
		char *text = arena_allocate(parser->arena, token->size + 3);

		if (!text)
			return ddl_out_of_memory(parser);
		snprintf(text, token->size + 3, "'%.*s'", (int)token->size,
		         token->text);
		column->default_sql = text;
		lexer_next(lexer);
		return ERR_NONE;
	}
	if (token->kind != TOKEN_NUMBER && token->kind != TOKEN_STRING &&
	    token->kind != TOKEN_BLOB && token->kind != TOKEN_WORD)
		return ddl_not_understood(parser, where);
	column->default_sql = arena_string(
		parser->arena, start,
		(size_t)(token->text + token->size - start));
	lexer_next(lexer);
	return column->default_sql ? ERR_NONE : ddl_out_of_memory(parser);
}

static int take_default(struct parser *parser, const char *where,
                        struct column_definition *column)
{
	struct token inside;

	if (!token_is_mark(&parser->lexer.token, '('))
		return take_default_literal(parser, where, column);
	if (!lexer_take_parenthesis(&parser->lexer, &inside))
		return ddl_not_understood(parser, where);
	column->default_sql = arena_string(parser->arena, inside.text,
	                                   inside.size);
	return column->default_sql ? ERR_NONE : ddl_out_of_memory(parser);
}

/* Adds a unique index on one column, as UNIQUE or PRIMARY KEY asks. */
static int column_unique(struct parser *parser, uint32_t column_no,
                         enum index_origin origin, bool descending,
                         enum conflict conflict)
{
	struct index_definition *index;
	int rc = ddl_index_add(parser, &index);

	if (rc)
		return rc;
	index->origin = origin;
	index->unique = true;
	index->conflict = conflict;
	index->column_count = 1;
	index->columns = arena_allocate(parser->arena, sizeof *index->columns);
	if (!index->columns)
		return ddl_out_of_memory(parser);
	/* The collation is settled when the column is complete. */
	index->columns[0] = (struct index_column){
		.column = column_no, .descending = descending };
	return ERR_NONE;
}

static int take_column_primary(struct parser *parser, const char *where,
                               uint32_t column_no)
{
	struct lexer *lexer = &parser->lexer;
	struct table_definition *table = parser->table;
	enum conflict conflict = CONFLICT_DEFAULT;
	bool descending;
	int rc;

	if (!lexer_take_word(lexer, "KEY"))
		return ddl_not_understood(parser, where);
	rc = ddl_primary_once(parser);
	if (rc)
		return rc;
	descending = lexer_take_word(lexer, "DESC");
	if (!descending)
		lexer_take_word(lexer, "ASC");
	rc = ddl_take_conflict(parser, where, &conflict);
	if (rc)
		return rc;
	/* INTEGER PRIMARY KEY DESC is no rowid in SQLite: an old mistake that
	 * became a promise. */
	if (ddl_type_is_integer(&table->columns[column_no]) && !descending) {
		table->rowid_column = (int)column_no;
		table->rowid_conflict = conflict;
		table->autoincrement = lexer_take_word(lexer, "AUTOINCREMENT");
		return ERR_NONE;
	}
	if (token_is_word(&lexer->token, "AUTOINCREMENT"))
		return ddl_refuse(parser, "%.80s: AUTOINCREMENT is only allowed on "
		              "an INTEGER PRIMARY KEY", where);
	return column_unique(parser, column_no, INDEX_OF_PRIMARY, descending,
	                     conflict);
}

static int take_generated(struct parser *parser, const char *where,
                          struct column_definition *column)
{
	struct lexer *lexer = &parser->lexer;
	struct token inside;

	if (lexer_take_word(lexer, "GENERATED") &&
	    !lexer_take_word(lexer, "ALWAYS"))
		return ddl_not_understood(parser, where);
	if (!lexer_take_word(lexer, "AS") ||
	    !lexer_take_parenthesis(lexer, &inside))
		return ddl_not_understood(parser, where);
	column->generated_sql = arena_string(parser->arena, inside.text,
	                                     inside.size);
	if (!column->generated_sql)
		return ddl_out_of_memory(parser);
	parser->table->has_generated = true;
	if (!lexer_take_word(lexer, "STORED")) {
		lexer_take_word(lexer, "VIRTUAL");
		column->generated_virtual = true;
	}
	return ERR_NONE;
}

static int take_column_graph(struct parser *parser, const char *where,
                             uint32_t column_no)
{
	struct column_definition *column = &parser->table->columns[column_no];
	struct index_definition *index;
	char *name;
	int rc;

	if (!column->vector)
		return ddl_refuse(parser, "%.80s: HNSW needs a column of type "
		              "VECTOR(n)", where);
	rc = ddl_index_add(parser, &index);
	if (rc)
		return rc;
	rc = ddl_take_graph_options(parser, where, &index->graph);
	if (!rc)
		rc = ddl_graph_settle(parser, where, column, &index->graph);
	if (rc)
		return rc;
	index->kind = INDEX_GRAPH;
	index->origin = INDEX_OF_COLUMN;
	index->columns = arena_allocate(parser->arena, sizeof *index->columns);
	name = arena_allocate(parser->arena, strlen(column->name) + 8);
	if (!index->columns || !name)
		return ddl_out_of_memory(parser);
	sprintf(name, "vector %s", column->name);
	index->name = name;
	index->columns[0] = (struct index_column){ .column = column_no };
	index->column_count = 1;
	return ERR_NONE;
}

/* One constraint of a column. *constraint_name is the CONSTRAINT before it. */
static int take_column_constraint(struct parser *parser, const char *where,
                                  uint32_t column_no, const char **name)
{
	struct lexer *lexer = &parser->lexer;
	struct column_definition *column = &parser->table->columns[column_no];
	enum conflict conflict = CONFLICT_DEFAULT;
	struct token inside;
	int rc;

	if (lexer_take_word(lexer, "CONSTRAINT"))
		return ddl_take_name(parser, where, name);
	if (ddl_deferrable_follows(parser))
		return ddl_take_deferrable(parser, where);
	if (lexer_take_word(lexer, "NULL"))
		return ddl_take_conflict(parser, where, &conflict);
	if (lexer_take_word(lexer, "NOT")) {
		if (!lexer_take_word(lexer, "NULL"))
			return ddl_not_understood(parser, where);
		column->not_null = true;
		return ddl_take_conflict(parser, where,
		                     &column->not_null_conflict);
	}
	if (lexer_take_word(lexer, "PRIMARY"))
		return take_column_primary(parser, where, column_no);
	if (lexer_take_word(lexer, "UNIQUE")) {
		rc = ddl_take_conflict(parser, where, &conflict);
		return rc ? rc : column_unique(parser, column_no,
		                               INDEX_OF_UNIQUE, false,
		                               conflict);
	}
	if (lexer_take_word(lexer, "CHECK")) {
		if (!lexer_take_parenthesis(lexer, &inside))
			return ddl_not_understood(parser, where);
		rc = ddl_check_add(parser, *name, &inside);
		/* Parsed by SQLite's grammar and without effect there too. */
		return rc ? rc : ddl_take_conflict(parser, where, &conflict);
	}
	if (lexer_take_word(lexer, "DEFAULT"))
		return take_default(parser, where, column);
	if (lexer_take_word(lexer, "COLLATE"))
		return ddl_take_collation(parser, where, &column->collation);
	if (lexer_take_word(lexer, "REFERENCES"))
		return ddl_take_references(parser, where);
	if (token_is_word(&lexer->token, "GENERATED") ||
	    token_is_word(&lexer->token, "AS"))
		return take_generated(parser, where, column);
	if (lexer_take_word(lexer, "HNSW"))
		return take_column_graph(parser, where, column_no);
	return ddl_not_understood(parser, where);
}

static int column_settle(struct parser *parser, const char *where,
                         uint32_t column_no)
{
	struct table_definition *table = parser->table;
	const struct column_definition *column = &table->columns[column_no];

	for (uint32_t i = 0; i < column_no; i++)
		if (name_equal(table->columns[i].name, column->name))
			return ddl_refuse(parser, "duplicate column name: %.80s",
			              column->name);
	if (column->vector)
		table->has_vector = true;
	if (column->vector && (column->default_sql || column->generated_sql))
		return ddl_refuse(parser, "%.80s: a VECTOR takes neither DEFAULT "
		              "nor GENERATED", where);
	if (column->generated_sql && column->default_sql)
		return ddl_refuse(parser, "%.80s: a generated column takes no "
		              "DEFAULT", where);
	if (column->generated_sql && table->rowid_column == (int)column_no)
		return ddl_refuse(parser, "%.80s: a generated column cannot be "
		              "part of the PRIMARY KEY", where);
	for (uint32_t i = 0; i < table->index_count; i++) {
		struct index_definition *index = &table->indexes[i];

		if (index->kind != INDEX_TREE ||
		    index->columns[0].column != column_no)
			continue;
		if (column->vector)
			return ddl_refuse(parser, "%.80s: a VECTOR cannot be "
			              "UNIQUE or a PRIMARY KEY", where);
		index->columns[0].collation = column->collation;
	}
	return ERR_NONE;
}

int ddl_parse_column(struct parser *parser)
{
	struct column_definition *column = NULL;
	char where[96];
	const char *name, *constraint = NULL;
	uint32_t column_no;
	int rc;

	rc = ddl_take_name(parser, "column definition", &name);
	if (rc)
		return rc;
	snprintf(where, sizeof where, "column %s", name_shorten(name).text);
	rc = ddl_column_add(parser, &column);
	if (rc)
		return rc;
	column_no = parser->table->column_count - 1;
	column->name = name;
	rc = take_type(parser, where, column);
	while (!rc && parser->lexer.token.kind != TOKEN_END)
		rc = take_column_constraint(parser, where, column_no,
		                            &constraint);
	return rc ? rc : column_settle(parser, where, column_no);
}
