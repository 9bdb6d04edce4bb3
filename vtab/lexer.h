/*
 * lexer.h - the tokens of the SQL that follows USING turdb( .
 *
 * Splits text the way SQLite's own tokenizer does as far as a table's
 * definition needs it: names bare or quoted in three ways, strings, blobs,
 * numbers, comments; everything else is one character. Borrows the text.
 */
#ifndef TURDB_VTAB_LEXER_H
#define TURDB_VTAB_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

enum token_kind {
	TOKEN_END,    /* nothing is left                                      */
	TOKEN_WORD,   /* a bare name or keyword                               */
	TOKEN_NAME,   /* "name", `name` or [name]                             */
	TOKEN_STRING, /* 'text'                                               */
	TOKEN_NUMBER, /* digits, a fraction, an exponent; 0x12; no sign       */
	TOKEN_BLOB,   /* x'00ff'                                              */
	TOKEN_MARK,   /* one character                                        */
	TOKEN_BAD,    /* a quote or comment without its end, a malformed blob */
};

struct token {
	enum token_kind kind;
	const char *text; /* as it stands in the source, quotes and all */
	size_t size;
};

/* `token` is the one not yet consumed. */
struct lexer {
	const char *at, *end;
	struct token token;
};

void lexer_open(struct lexer *lexer, const char *text, size_t size);

/* Steps to the next token. */
void lexer_next(struct lexer *lexer);

/* Whether the token is this keyword, whatever its case; this one character. */
bool token_is_word(const struct token *token, const char *word);
bool token_is_mark(const struct token *token, char mark);

/* Whether it may name something: bare or quoted, a string too. */
bool token_is_name(const struct token *token);

/* Consumes the token if it is that keyword or that character. */
bool lexer_take_word(struct lexer *lexer, const char *word);
bool lexer_take_mark(struct lexer *lexer, char mark);

/* From "(" to behind its ")": *inside is what stands between. False, with the
 * lexer at the trouble, when the token is no "(" or its end is missing. */
bool lexer_take_parenthesis(struct lexer *lexer, struct token *inside);

/* The token without its quotes, NUL-terminated, in the arena; NULL without
 * memory. *size (may be NULL) excludes the NUL. */
char *token_dequote(const struct token *token, struct arena *arena,
                    size_t *size);

/* Compares as SQLite compares names: ASCII letters without case. */
bool name_equal(const char *left, const char *right);

/* Appends `name` to an identifier context: "na""me". Needs room for
 * 2 * strlen + 2 bytes; returns the byte behind. No NUL is written. */
char *name_quote(char *at, const char *name);
size_t name_quote_size(const char *name);

#endif
