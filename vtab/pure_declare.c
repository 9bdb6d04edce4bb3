/*
 * pure_declare.c - a definition as SQLite wants to hear it.
 *
 * SQLite learns the names, types and collations of the columns and nothing that
 * it would enforce or index by itself: NOT NULL and INTEGER PRIMARY KEY are
 * passed on for PRAGMA table_info, DEFAULT has no effect there. A column of
 * vectors brings the hidden columns that questions about it use.
 */
#include <stdio.h>
#include <string.h>

#include "vtab/definition.h"
#include "vtab/lexer.h"

static const char *const hidden_names[HIDDEN_COUNT] = {
	"distance", "k", "ef", "exact" };
static const char *const hidden_types[HIDDEN_COUNT] = {
	"REAL", "INTEGER", "INTEGER", "INTEGER" };
const char *const collation_names[COLLATION_COUNT] = { "BINARY", "NOCASE",
                                                       "RTRIM" };

/* distance, or _distance (with as many _ as it takes) beside a column of the
 * user's that has the name. */
static void hidden_name(const struct table_definition *definition,
                        enum hidden_column hidden, char name[32])
{
	size_t lead = 0;

	do {
		memset(name, '_', lead);
		snprintf(name + lead, 32 - lead, "%s", hidden_names[hidden]);
	} while (definition_column_find(definition, name) != NO_COLUMN &&
	         ++lead < 16);
}

static size_t statement_size(const struct table_definition *definition)
{
	size_t size = 64 + HIDDEN_COUNT * 64;

	for (uint32_t i = 0; i < definition->column_count; i++)
		size += name_quote_size(definition->columns[i].name) +
		        strlen(definition->columns[i].type) + 64;
	return size;
}

/* A type as it was written, unless SQLite would read something into it: its
 * word HIDDEN hides a column. */
static const char *declared_type(const struct column_definition *column)
{
	struct lexer lexer;

	if (column->strict == STRICT_ANY)
		return ""; /* else SQLite would take it for NUMERIC */
	if (column->vector && column->element != HNSW_F32)
		return "VECTOR"; /* no words in parentheses there */
	lexer_open(&lexer, column->type, strlen(column->type));
	for (; lexer.token.kind != TOKEN_END; lexer_next(&lexer))
		if (token_is_word(&lexer.token, "HIDDEN"))
			return "";
	return column->type;
}

int ddl_declare(const struct table_definition *definition, struct arena *arena,
                char **statement, struct err *err)
{
	size_t size = statement_size(definition);
	char *text = arena_allocate(arena, size), *at = text;
	char name[32];

	if (!text)
		return err_set(err, ERR_NOMEM, "declare table",
		               name_shorten(definition->name).text,
		               "no memory for %zu bytes", size);
	at += sprintf(at, "CREATE TABLE x(");
	for (uint32_t i = 0; i < definition->column_count; i++) {
		const struct column_definition *column =
			&definition->columns[i];

		at += sprintf(at, "%s", i ? "," : "");
		at = name_quote(at, column->name);
		at += sprintf(at, " %s%s%s", declared_type(column),
		              (int)i == definition->rowid_column
		              ? " PRIMARY KEY" : "",
		              column->not_null ? " NOT NULL" : "");
		if (column->collation != COLLATION_BINARY)
			at += sprintf(at, " COLLATE %s",
			              collation_names[column->collation]);
	}
	for (unsigned i = 0; definition->has_vector && i < HIDDEN_COUNT; i++) {
		hidden_name(definition, (enum hidden_column)i, name);
		at += sprintf(at, ",\"%s\" %s HIDDEN", name, hidden_types[i]);
	}
	sprintf(at, ")");
	*statement = text;
	return ERR_NONE;
}
