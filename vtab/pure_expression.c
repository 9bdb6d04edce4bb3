/*
 * pure_expression.c - what the expressions of a table may not have, and call.
 *
 * A CHECK, a DEFAULT and a generated column come with a database, which may be a
 * stranger's, and are computed in statements of ours. So here is refused what SQLite
 * refuses in its own tables: whatever reads other tables, and parameters; and here is
 * read off which functions they call, for row_expression.c to judge.
 */
#include "vtab/ddl.h"

#include <string.h>

/* Parts that make a subquery: SELECT, VALUES, IN with the name of a table. */
static bool is_subquery(const struct lexer *lexer)
{
	struct lexer next = *lexer;

	if (token_is_word(&lexer->token, "SELECT") ||
	    token_is_word(&lexer->token, "VALUES"))
		return true;
	lexer_next(&next);
	return token_is_word(&lexer->token, "IN") &&
	       !token_is_mark(&next.token, '(');
}

static bool is_parameter(const struct token *token)
{
	return token->kind == TOKEN_MARK && memchr("?:@$#", *token->text, 5);
}

/* NULL for an expression that computes from its row alone. */
static const char *trouble_of(const char *text)
{
	struct lexer lexer;

	lexer_open(&lexer, text, strlen(text));
	for (; lexer.token.kind != TOKEN_END; lexer_next(&lexer)) {
		if (lexer.token.kind == TOKEN_BAD)
			return "unrecognized token";
		if (is_subquery(&lexer))
			return "subqueries prohibited";
		if (is_parameter(&lexer.token))
			return "parameters prohibited";
	}
	return NULL;
}

static int check_column(struct parser *parser,
                        const struct column_definition *column)
{
	const char *trouble = NULL;

	if (column->default_sql && trouble_of(column->default_sql))
		return ddl_refuse(parser, "default value of column [%.60s] is not constant",
		                  column->name);
	if (column->generated_sql)
		trouble = trouble_of(column->generated_sql);
	return trouble ? ddl_refuse(parser, "column %.60s: %s in generated columns",
	                            column->name, trouble)
	               : ERR_NONE;
}

int ddl_expressions_settle(struct parser *parser)
{
	const struct table_definition *table = parser->table;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < table->column_count; i++)
		rc = check_column(parser, &table->columns[i]);
	for (uint32_t i = 0; !rc && i < table->check_count; i++) {
		const char *trouble = trouble_of(table->checks[i].sql);

		if (trouble)
			rc = ddl_refuse(parser, "%s in CHECK constraints '%.60s'",
			                trouble, table->checks[i].sql);
	}
	return rc;
}

/* --- calls ------------------------------------------------------------------------ */

/* A quote within a quoted name is no letter of any function's. */
static bool names(const struct token *token, const char *function)
{
	size_t size = strlen(function);
	struct token bare = *token;

	if (token->kind == TOKEN_NAME) {
		bare = (struct token){ .kind = TOKEN_WORD, .text = token->text + 1,
		                       .size = token->size - 2 };
		return bare.size == size && token_is_word(&bare, function);
	}
	return token_is_word(token, function);
}

static bool is_operator(const struct token *token)
{
	return token_is_word(token, "LIKE") || token_is_word(token, "GLOB") ||
	       token_is_word(token, "REGEXP") || token_is_word(token, "MATCH");
}

/* Before "(" and no call, or one of SQLite's own that every expression may make: a look
 * at all functions costs as much as ten inserts. */
static bool is_harmless(const struct token *token)
{
	static const char *const words[] = {
		"AND", "BETWEEN", "CAST", "ELSE", "IN", "IS", "NOT", "OR", "THEN",
		"WHEN", "LIKE", "GLOB",
		"abs", "coalesce", "date", "datetime", "hex", "ifnull", "iif",
		"instr", "json_valid", "julianday", "length", "lower", "ltrim",
		"max", "min", "nullif", "random", "randomblob", "replace", "round",
		"rtrim", "strftime", "substr", "time", "trim", "typeof",
		"unixepoch", "upper",
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (token_is_word(token, words[i]))
			return true;
	return false;
}

/* Operators call functions of their names. */
bool expression_calls(const char *expression, const char *function)
{
	struct lexer lexer;

	lexer_open(&lexer, expression, strlen(expression));
	while (lexer.token.kind != TOKEN_END) {
		struct token token = lexer.token;
		bool named = token.kind == TOKEN_WORD ||
		             token.kind == TOKEN_NAME;

		lexer_next(&lexer);
		if (!named || (!is_operator(&token) &&
		               !token_is_mark(&lexer.token, '(')))
			continue;
		if (function ? names(&token, function) : !is_harmless(&token))
			return true;
	}
	return false;
}
