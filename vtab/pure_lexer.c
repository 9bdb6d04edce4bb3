/*
 * pure_lexer.c - the tokens of a table's definition.
 *
 * Purpose       What SQLite hands a module is text. This file cuts it as
 *               SQLite's tokenizer would, so that the same CREATE TABLE body
 *               means the same in both.
 * Architecture  Knows nothing of SQL but its tokens. No SQLite calls.
 * Structures    One token of look-ahead inside struct lexer.
 * Safety        Never reads past `end`; text may hold any bytes.
 */
#include "vtab/lexer.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_hex(char c)
{
	return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f');
}

static bool is_name_first(char c)
{
	return (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '_' ||
	       (unsigned char)c >= 0x80;
}

static bool is_name_rest(char c)
{
	return is_name_first(c) || is_digit(c) || c == '$';
}

static const char *find(const char *at, const char *end, const char *what)
{
	size_t size = strlen(what);

	for (; (size_t)(end - at) >= size; at++)
		if (memcmp(at, what, size) == 0)
			return at;
	return NULL;
}

/* Nor is U+FEFF part of a name where one may begin. */
static bool is_byte_order_mark(const struct lexer *lexer)
{
	return lexer->end - lexer->at >= 3 &&
	       memcmp(lexer->at, "\xef\xbb\xbf", 3) == 0;
}

/* Past spaces and comments; false when a comment has no end. SQLite lets a
 * comment run into the end of a statement, and so do we. */
static void skip_blank(struct lexer *lexer)
{
	for (;;) {
		const char *close;

		while (lexer->at < lexer->end && is_space(*lexer->at))
			lexer->at++;
		if (is_byte_order_mark(lexer)) {
			lexer->at += 3;
			continue;
		}
		if (lexer->end - lexer->at < 2)
			return;
		if (lexer->at[0] == '-' && lexer->at[1] == '-')
			close = find(lexer->at, lexer->end, "\n");
		else if (lexer->at[0] == '/' && lexer->at[1] == '*')
			close = find(lexer->at + 2, lexer->end, "*/");
		else
			return;
		if (!close)
			lexer->at = lexer->end;
		else
			lexer->at = close + (*close == '*' ? 2 : 1);
	}
}

/* The byte behind the quote that closes the one at `at`, or NULL. */
static const char *quoted_end(const char *at, const char *end)
{
	char close = *at == '[' ? ']' : *at;

	for (at++; at < end; at++) {
		if (*at != close)
			continue;
		if (close != ']' && at + 1 < end && at[1] == close)
			at++;
		else
			return at + 1;
	}
	return NULL;
}

/* Past digits, with one "_" between two of them where there is one: 1_000, which SQLite
 * takes from 3.46 on and, before, refuses itself. */
static const char *digits_end(const char *at, const char *end,
                              bool (*is_one)(char c))
{
	const char *from = at;

	while (at < end && (is_one(*at) ||
	                    (*at == '_' && at > from && at[-1] != '_' &&
	                     end - at > 1 && is_one(at[1]))))
		at++;
	return at;
}

static const char *number_end(const char *at, const char *end)
{
	if (end - at > 2 && at[0] == '0' && to_lower(at[1]) == 'x' &&
	    is_hex(at[2]))
		return digits_end(at + 2, end, is_hex);
	at = digits_end(at, end, is_digit);
	if (at < end && *at == '.')
		at = digits_end(at + 1, end, is_digit);
	if (at < end && to_lower(*at) == 'e') {
		const char *digits = at + 1;

		if (digits < end && (*digits == '+' || *digits == '-'))
			digits++;
		if (digits < end && is_digit(*digits))
			at = digits_end(digits, end, is_digit);
	}
	return at;
}

static bool is_blob(const struct token *token)
{
	if (token->size % 2 == 0)
		return false;
	for (size_t i = 2; i < token->size - 1; i++)
		if (!is_hex(token->text[i]))
			return false;
	return true;
}

static void set_token(struct lexer *lexer, enum token_kind kind,
                      const char *end)
{
	if (!end) {
		kind = TOKEN_BAD;
		end = lexer->end;
	}
	lexer->token = (struct token){ .kind = kind, .text = lexer->at,
	                               .size = (size_t)(end - lexer->at) };
	lexer->at = end;
}

void lexer_next(struct lexer *lexer)
{
	const char *at, *end = lexer->end;
	char c;

	skip_blank(lexer);
	at = lexer->at;
	if (at == end) {
		set_token(lexer, TOKEN_END, end);
		return;
	}
	c = *at;
	if (c == '\'') {
		set_token(lexer, TOKEN_STRING, quoted_end(at, end));
	} else if (c == '"' || c == '`' || c == '[') {
		set_token(lexer, TOKEN_NAME, quoted_end(at, end));
	} else if (to_lower(c) == 'x' && end - at > 1 && at[1] == '\'') {
		set_token(lexer, TOKEN_BLOB, quoted_end(at + 1, end));
		if (lexer->token.kind == TOKEN_BLOB && !is_blob(&lexer->token))
			lexer->token.kind = TOKEN_BAD;
	} else if (is_digit(c) ||
	           (c == '.' && end - at > 1 && is_digit(at[1]))) {
		at = number_end(at, end);
		/* 12abc is no number, as in SQLite. */
		if (at < end && is_name_rest(*at)) {
			while (at < end && is_name_rest(*at))
				at++;
			set_token(lexer, TOKEN_BAD, at);
		} else {
			set_token(lexer, TOKEN_NUMBER, at);
		}
	} else if (is_name_first(c)) {
		while (at < end && is_name_rest(*at))
			at++;
		set_token(lexer, TOKEN_WORD, at);
	} else {
		set_token(lexer, TOKEN_MARK, at + 1);
	}
}

void lexer_open(struct lexer *lexer, const char *text, size_t size)
{
	*lexer = (struct lexer){ .at = text, .end = text + size };
	lexer_next(lexer);
}

bool token_is_word(const struct token *token, const char *word)
{
	size_t i;

	if (token->kind != TOKEN_WORD)
		return false;
	for (i = 0; i < token->size && word[i]; i++)
		if (to_lower(token->text[i]) != to_lower(word[i]))
			return false;
	return i == token->size && !word[i];
}

bool token_is_mark(const struct token *token, char mark)
{
	return token->kind == TOKEN_MARK && *token->text == mark;
}

bool token_is_name(const struct token *token)
{
	return token->kind == TOKEN_WORD || token->kind == TOKEN_NAME ||
	       token->kind == TOKEN_STRING;
}

bool lexer_take_word(struct lexer *lexer, const char *word)
{
	if (!token_is_word(&lexer->token, word))
		return false;
	lexer_next(lexer);
	return true;
}

bool lexer_take_mark(struct lexer *lexer, char mark)
{
	if (!token_is_mark(&lexer->token, mark))
		return false;
	lexer_next(lexer);
	return true;
}

bool lexer_take_parenthesis(struct lexer *lexer, struct token *inside)
{
	const char *start = lexer->at;
	size_t depth = 0;

	if (!token_is_mark(&lexer->token, '('))
		return false;
	for (;;) {
		if (token_is_mark(&lexer->token, '('))
			depth++;
		else if (token_is_mark(&lexer->token, ')') && --depth == 0)
			break;
		else if (lexer->token.kind == TOKEN_END ||
		         lexer->token.kind == TOKEN_BAD)
			return false;
		lexer_next(lexer);
	}
	*inside = (struct token){ .kind = TOKEN_MARK, .text = start,
	                          .size = (size_t)(lexer->token.text - start) };
	lexer_next(lexer);
	return true;
}

char *token_dequote(const struct token *token, struct arena *arena,
                    size_t *size)
{
	char *copy = arena_string(arena, token->text, token->size);
	char close;
	size_t used = 0;

	if (!copy)
		return NULL;
	if (token->kind == TOKEN_NAME || token->kind == TOKEN_STRING) {
		close = copy[0] == '[' ? ']' : copy[0];
		for (size_t i = 1; i + 1 < token->size; i++) {
			copy[used++] = copy[i];
			if (copy[i] == close)
				i++;
		}
		copy[used] = 0;
	} else {
		used = token->size;
	}
	if (size)
		*size = used;
	return copy;
}

bool name_equal(const char *left, const char *right)
{
	while (*left && to_lower(*left) == to_lower(*right))
		left++, right++;
	return to_lower(*left) == to_lower(*right);
}

char *name_quote(char *at, const char *name)
{
	*at++ = '"';
	for (; *name; name++) {
		if (*name == '"')
			*at++ = '"';
		*at++ = *name;
	}
	*at++ = '"';
	return at;
}

size_t name_quote_size(const char *name)
{
	size_t size = 2;

	for (; *name; name++)
		size += *name == '"' ? 2 : 1;
	return size;
}
