/*
 * pure_generated.c - in which order generated columns are computed, and strict=1.
 *
 * A generated column may use others, in whatever order they are written: which ones
 * it uses is read off its expression. A name that is a column's counts as one even
 * where SQLite would take it for a string: that can only bring a column forward.
 */
#include "vtab/ddl.h"

#include <string.h>

/* Calls `each` for every column that an expression names. */
static int each_column(struct parser *parser, uint32_t column_no,
                       int (*each)(struct parser *parser, uint32_t column_no,
                                   uint32_t used))
{
	const struct table_definition *table = parser->table;
	const char *text = table->columns[column_no].generated_sql;
	struct lexer lexer;

	lexer_open(&lexer, text, strlen(text));
	for (; lexer.token.kind != TOKEN_END; lexer_next(&lexer)) {
		char *name;
		int used, rc;

		if (lexer.token.kind != TOKEN_WORD &&
		    lexer.token.kind != TOKEN_NAME)
			continue;
		name = token_dequote(&lexer.token, parser->arena, NULL);
		if (!name)
			return ddl_out_of_memory(parser);
		used = definition_column_find(table, name);
		rc = used == NO_COLUMN ? ERR_NONE
		                       : each(parser, column_no, (uint32_t)used);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}

enum { UNSEEN, BEGUN, PLACED };

static int place(struct parser *parser, uint32_t column_no);

static int place_used(struct parser *parser, uint32_t column_no, uint32_t used)
{
	const struct column_definition *column = &parser->table->columns[used];

	if (column->vector)
		return ddl_refuse(parser, "column %.60s: a generated column cannot use "
		              "the VECTOR %.60s",
		              parser->table->columns[column_no].name,
		              column->name);
	return column->generated_sql ? place(parser, used) : ERR_NONE;
}

static int place(struct parser *parser, uint32_t column_no)
{
	struct table_definition *table = parser->table;
	int rc;

	if (parser->placed[column_no] == PLACED)
		return ERR_NONE;
	if (parser->placed[column_no] == BEGUN ||
	    ++parser->place_depth > GENERATED_DEPTH_MAX)
		return ddl_refuse(parser, "generated column loop on \"%.60s\"",
		                  table->columns[column_no].name);
	parser->placed[column_no] = BEGUN;
	rc = each_column(parser, column_no, place_used);
	parser->place_depth--;
	parser->placed[column_no] = PLACED;
	table->generated[table->generated_count++] = column_no;
	return rc;
}

int ddl_generated_settle(struct parser *parser)
{
	struct table_definition *table = parser->table;
	int rc = ERR_NONE;

	if (!table->has_generated)
		return ERR_NONE;
	table->generated = arena_allocate(parser->arena, table->column_count *
	                                  sizeof *table->generated);
	parser->placed = arena_allocate(parser->arena, table->column_count);
	if (!table->generated || !parser->placed)
		return ddl_out_of_memory(parser);
	memset(parser->placed, UNSEEN, table->column_count);
	for (uint32_t i = 0; i < table->column_count && !rc; i++)
		if (table->columns[i].generated_sql)
			rc = place(parser, i);
	return rc;
}

/* --- strict=1 --------------------------------------------------------------------- */

static int strict_column(struct parser *parser, struct column_definition *column)
{
	static const struct {
		const char *name;
		enum strict_type type;
		enum affinity affinity;
	} types[] = {
		{ "INT", STRICT_INT, AFFINITY_INTEGER },
		{ "INTEGER", STRICT_INTEGER, AFFINITY_INTEGER },
		{ "REAL", STRICT_REAL, AFFINITY_REAL },
		{ "TEXT", STRICT_TEXT, AFFINITY_TEXT },
		{ "BLOB", STRICT_BLOB, AFFINITY_BLOB },
		{ "ANY", STRICT_ANY, AFFINITY_BLOB },
	};

	if (column->vector)
		return ERR_NONE;
	for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (!name_equal(column->type, types[i].name))
			continue;
		column->strict = types[i].type;
		column->affinity = types[i].affinity;
		return ERR_NONE;
	}
	if (!*column->type)
		return ddl_refuse(parser, "missing datatype for %.60s.%.60s",
		                  name_shorten(parser->table->name).text,
		                  column->name);
	return ddl_refuse(parser, "unknown datatype for %.60s.%.60s: \"%.60s\"",
	                  name_shorten(parser->table->name).text, column->name,
	                  column->type);
}

int ddl_strict_settle(struct parser *parser)
{
	struct table_definition *table = parser->table;
	int rc = ERR_NONE;

	if (!table->strict)
		return ERR_NONE;
	for (uint32_t i = 0; i < table->column_count && !rc; i++)
		rc = strict_column(parser, &table->columns[i]);
	/* The columns of a PRIMARY KEY are NOT NULL there. */
	for (uint32_t i = 0; i < table->index_count && !rc; i++)
		for (uint32_t c = 0; table->indexes[i].origin == INDEX_OF_PRIMARY &&
		                     c < table->indexes[i].column_count; c++)
			table->columns[table->indexes[i].columns[c].column]
				.not_null = true;
	return rc;
}
