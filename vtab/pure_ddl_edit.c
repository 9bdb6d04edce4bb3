/*
 * pure_ddl_edit.c - one argument more or less in a CREATE VIRTUAL TABLE statement.
 *
 * The statement is SQLite's record of the table, kept as the user wrote it: what is
 * edited is its text, between two arguments, so that comments and spelling stay.
 * Arguments are found as SQLite's grammar finds them: at commas outside of inner
 * parentheses; empty ones do not count.
 */
#include "vtab/ddl.h"

#include <string.h>

struct piece {
	const char *begin, *end;
	bool option;
};

struct pieces {
	struct piece *array;
	uint32_t count, room;
};

static int not_understood(const char *statement, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "edit statement", "",
	               "it is no CREATE VIRTUAL TABLE ... USING turdb(...): '%.60s'",
	               statement);
}

static int no_memory(struct err *err)
{
	return err_set(err, ERR_NOMEM, "edit statement", "", "no memory");
}

/* Steps over CREATE VIRTUAL TABLE [IF NOT EXISTS] name USING turdb ( */
static bool take_head(struct lexer *lexer)
{
	if (!lexer_take_word(lexer, "CREATE") ||
	    !lexer_take_word(lexer, "VIRTUAL") ||
	    !lexer_take_word(lexer, "TABLE"))
		return false;
	if (lexer_take_word(lexer, "IF") &&
	    (!lexer_take_word(lexer, "NOT") || !lexer_take_word(lexer, "EXISTS")))
		return false;
	if (!token_is_name(&lexer->token))
		return false;
	lexer_next(lexer);
	if (lexer_take_mark(lexer, '.')) {
		if (!token_is_name(&lexer->token))
			return false;
		lexer_next(lexer);
	}
	if (!lexer_take_word(lexer, "USING") || !token_is_name(&lexer->token))
		return false;
	lexer_next(lexer);
	return lexer_take_mark(lexer, '(');
}

/* One argument; the lexer ends up at its comma or parenthesis. */
static bool take_piece(struct lexer *lexer, struct piece *piece)
{
	uint32_t depth = 0, tokens = 0;

	*piece = (struct piece){ .begin = lexer->token.text };
	for (;; lexer_next(lexer)) {
		const struct token *token = &lexer->token;

		if (token->kind == TOKEN_END || token->kind == TOKEN_BAD)
			return false;
		if (depth == 0 && (token_is_mark(token, ',') ||
		                   token_is_mark(token, ')')))
			break;
		if (token_is_mark(token, '('))
			depth++;
		else if (token_is_mark(token, ')'))
			depth--;
		if (++tokens == 2 && token_is_mark(token, '='))
			piece->option = true;
		piece->end = token->text + token->size;
	}
	return true;
}

static int split(const char *statement, struct arena *arena,
                 struct pieces *pieces, struct err *err)
{
	struct lexer lexer;

	*pieces = (struct pieces){ .count = 0 };
	lexer_open(&lexer, statement, strlen(statement));
	if (!take_head(&lexer))
		return not_understood(statement, err);
	do {
		pieces->array = ddl_grow(arena, pieces->array, pieces->count,
		                         &pieces->room, sizeof *pieces->array);
		if (!pieces->array)
			return no_memory(err);
		if (!take_piece(&lexer, &pieces->array[pieces->count]))
			return not_understood(statement, err);
		if (pieces->array[pieces->count].end)
			pieces->count++;
	} while (lexer_take_mark(&lexer, ','));
	return lexer_take_mark(&lexer, ')') && lexer.token.kind == TOKEN_END &&
	                       pieces->count
	               ? ERR_NONE : not_understood(statement, err);
}

int ddl_statement_arguments(const char *statement, struct arena *arena,
                            const char ***arguments, uint32_t *count,
                            struct err *err)
{
	struct pieces pieces;
	const char **array;
	int rc = split(statement, arena, &pieces, err);

	if (rc)
		return rc;
	array = arena_allocate(arena, pieces.count * sizeof *array);
	if (!array)
		return no_memory(err);
	for (uint32_t i = 0; i < pieces.count; i++) {
		const struct piece *piece = &pieces.array[i];

		array[i] = arena_string(arena, piece->begin,
		                        (size_t)(piece->end - piece->begin));
		if (!array[i])
			return no_memory(err);
	}
	*arguments = array;
	*count = pieces.count;
	return ERR_NONE;
}

/* statement[0, keep), text, statement[from, end) */
static int splice(const char *statement, size_t keep, const char *text,
                  size_t from, struct arena *arena, const char **edited,
                  struct err *err)
{
	size_t size = strlen(text), rest = strlen(statement + from);
	char *bytes = arena_allocate(arena, keep + size + rest + 1);

	if (!bytes)
		return no_memory(err);
	memcpy(bytes, statement, keep);
	memcpy(bytes + keep, text, size);
	memcpy(bytes + keep + size, statement + from, rest + 1);
	*edited = bytes;
	return ERR_NONE;
}

int ddl_statement_add(const char *statement, const char *argument,
                      struct arena *arena, const char **edited, struct err *err)
{
	struct pieces pieces;
	const char *end = NULL;
	size_t at, size;
	char *text;
	int rc = split(statement, arena, &pieces, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < pieces.count; i++)
		if (!pieces.array[i].option)
			end = pieces.array[i].end;
	if (!end)
		return not_understood(statement, err);
	size = strlen(argument) + 1;
	text = arena_allocate(arena, size + 2);
	if (!text)
		return no_memory(err);
	memcpy(text, ", ", 2);
	memcpy(text + 2, argument, size);
	at = (size_t)(end - statement);
	return splice(statement, at, text, at, arena, edited, err);
}

int ddl_statement_drop(const char *statement, uint32_t number,
                       struct arena *arena, const char **edited, struct err *err)
{
	struct pieces pieces;
	const char *begin, *end;
	int rc = split(statement, arena, &pieces, err);

	if (rc)
		return rc;
	if (number >= pieces.count || pieces.count == 1)
		return not_understood(statement, err);
	begin = number ? pieces.array[number - 1].end : pieces.array[0].begin;
	end = number ? pieces.array[number].end : pieces.array[1].begin;
	return splice(statement, (size_t)(begin - statement), "",
	              (size_t)(end - statement), arena, edited, err);
}
