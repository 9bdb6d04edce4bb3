/*
 * pure_ddl_table.c - items that name columns: table constraints and INDEX.
 */
#include "vtab/ddl.h"

#include <stdio.h>

static int find_column(struct parser *parser, const char *where,
                       const char *name, uint32_t *column_no)
{
	int found = definition_column_find(parser->table, name);

	if (found == NO_COLUMN)
		return ddl_refuse(parser, "%.80s: no column is named %.60s", where,
		              name);
	*column_no = (uint32_t)found;
	return ERR_NONE;
}

/* column [COLLATE c] [ASC|DESC] */
static int take_index_column(struct parser *parser, const char *where,
                             struct index_column *one)
{
	struct lexer *lexer = &parser->lexer;
	const struct column_definition *column;
	const char *name;
	int rc = ddl_take_name(parser, where, &name);

	if (!rc)
		rc = find_column(parser, where, name, &one->column);
	if (rc)
		return rc;
	column = &parser->table->columns[one->column];
	if (column->vector)
		return ddl_refuse(parser, "%.80s: %.60s is a VECTOR, which only an "
		              "HNSW index can hold", where, name);
	one->collation = column->collation;
	if (lexer_take_word(lexer, "COLLATE")) {
		rc = ddl_take_collation(parser, where, &one->collation);
		if (rc)
			return rc;
	}
	one->descending = lexer_take_word(lexer, "DESC");
	if (!one->descending)
		lexer_take_word(lexer, "ASC");
	return ERR_NONE;
}

/* ( column, ... ); *autoincrement (may be NULL: not allowed) when the last one
 * says so. */
static int take_index_columns(struct parser *parser, const char *where,
                              struct index_definition *index,
                              bool *autoincrement)
{
	struct lexer *lexer = &parser->lexer;
	struct index_column *array = NULL;
	uint32_t count = 0, room = 0;
	int rc;

	if (!lexer_take_mark(lexer, '('))
		return ddl_not_understood(parser, where);
	do {
		array = ddl_grow(parser->arena, array, count, &room, sizeof *array);
		if (!array)
			return ddl_out_of_memory(parser);
		array[count] = (struct index_column){ 0 };
		rc = take_index_column(parser, where, &array[count++]);
		if (rc)
			return rc;
	} while (lexer_take_mark(lexer, ','));
	if (autoincrement)
		*autoincrement = lexer_take_word(lexer, "AUTOINCREMENT");
	if (!lexer_take_mark(lexer, ')'))
		return ddl_not_understood(parser, where);
	index->columns = array;
	index->column_count = count;
	return ERR_NONE;
}

/* UNIQUE or PRIMARY KEY, behind the words. */
static int take_table_key(struct parser *parser, const char *where,
                          enum index_origin origin)
{
	struct table_definition *table = parser->table;
	bool autoincrement = false;
	struct index_definition *index;
	int rc = ddl_index_add(parser, &index);

	if (rc)
		return rc;
	index->origin = origin;
	index->unique = true;
	rc = take_index_columns(parser, where, index,
	                        origin == INDEX_OF_PRIMARY ? &autoincrement
	                                                   : NULL);
	if (!rc)
		rc = ddl_take_conflict(parser, where, &index->conflict);
	if (rc || origin != INDEX_OF_PRIMARY)
		return rc;
	rc = ddl_primary_once(parser);
	if (rc)
		return rc;
	if (index->column_count == 1 &&
	    ddl_type_is_integer(&table->columns[index->columns[0].column])) {
		table->rowid_column = (int)index->columns[0].column;
		table->rowid_conflict = index->conflict;
		table->autoincrement = autoincrement;
		table->index_count--;
	} else if (autoincrement) {
		return ddl_refuse(parser, "%.80s: AUTOINCREMENT is only allowed on "
		              "an INTEGER PRIMARY KEY", where);
	}
	return ERR_NONE;
}

/* FOREIGN KEY (columns) REFERENCES ... */
static int take_foreign_key(struct parser *parser, const char *where)
{
	struct index_definition columns;
	int rc;

	if (!lexer_take_word(&parser->lexer, "KEY"))
		return ddl_not_understood(parser, where);
	rc = take_index_columns(parser, where, &columns, NULL);
	if (rc)
		return rc;
	if (!lexer_take_word(&parser->lexer, "REFERENCES"))
		return ddl_not_understood(parser, where);
	rc = ddl_take_references(parser, where);
	if (!rc && ddl_deferrable_follows(parser))
		rc = ddl_take_deferrable(parser, where);
	return rc;
}

/* Table constraints follow each other with or without commas. */
int ddl_parse_constraints(struct parser *parser)
{
	struct lexer *lexer = &parser->lexer;
	const char *where = "table constraint";
	const char *name = NULL;
	enum conflict conflict;
	struct token inside;
	int rc = ERR_NONE;

	while (!rc && lexer->token.kind != TOKEN_END) {
		if (lexer_take_word(lexer, "CONSTRAINT")) {
			rc = ddl_take_name(parser, where, &name);
		} else if (lexer_take_word(lexer, "PRIMARY")) {
			if (!lexer_take_word(lexer, "KEY"))
				return ddl_not_understood(parser, where);
			rc = take_table_key(parser, "PRIMARY KEY",
			                    INDEX_OF_PRIMARY);
		} else if (lexer_take_word(lexer, "UNIQUE")) {
			rc = take_table_key(parser, "UNIQUE", INDEX_OF_UNIQUE);
		} else if (lexer_take_word(lexer, "CHECK")) {
			if (!lexer_take_parenthesis(lexer, &inside))
				return ddl_not_understood(parser, where);
			rc = ddl_check_add(parser, name, &inside);
			if (!rc)
				rc = ddl_take_conflict(parser, where, &conflict);
			name = NULL;
		} else if (lexer_take_word(lexer, "FOREIGN")) {
			rc = take_foreign_key(parser, "FOREIGN KEY");
		} else {
			return ddl_not_understood(parser, where);
		}
	}
	return rc;
}

static int index_name_once(struct parser *parser, const char *name)
{
	struct table_definition *table = parser->table;

	for (uint32_t i = 0; i + 1 < table->index_count; i++)
		if (table->indexes[i].name &&
		    name_equal(table->indexes[i].name, name))
			return ddl_refuse(parser, "index %.80s is there twice",
			              name);
	return ERR_NONE;
}

/* HNSW INDEX name (column) [(options)], behind INDEX. */
static int take_graph_index(struct parser *parser, const char *where,
                            struct index_definition *index)
{
	struct lexer *lexer = &parser->lexer;
	const struct column_definition *column;
	struct index_column *one;
	const char *name;
	int rc;

	one = arena_allocate(parser->arena, sizeof *one);
	if (!one)
		return ddl_out_of_memory(parser);
	*one = (struct index_column){ 0 };
	if (!lexer_take_mark(lexer, '('))
		return ddl_not_understood(parser, where);
	rc = ddl_take_name(parser, where, &name);
	if (!rc)
		rc = find_column(parser, where, name, &one->column);
	if (rc)
		return rc;
	if (!lexer_take_mark(lexer, ')'))
		return ddl_not_understood(parser, where);
	column = &parser->table->columns[one->column];
	if (!column->vector)
		return ddl_refuse(parser, "%.80s: %.60s is no column of type "
		              "VECTOR(n)", where, name);
	for (uint32_t i = 0; i + 1 < parser->table->index_count; i++)
		if (parser->table->indexes[i].kind == INDEX_GRAPH &&
		    parser->table->indexes[i].columns[0].column == one->column)
			return ddl_refuse(parser, "%.80s: %.60s has an HNSW index "
			              "already", where, name);
	rc = ddl_take_graph_options(parser, where, &index->graph);
	if (!rc)
		rc = ddl_graph_settle(parser, where, column, &index->graph);
	index->kind = INDEX_GRAPH;
	index->columns = one;
	index->column_count = 1;
	return rc;
}

/* [UNIQUE | HNSW] INDEX name (columns) */
int ddl_parse_index(struct parser *parser)
{
	struct lexer *lexer = &parser->lexer;
	bool unique = lexer_take_word(lexer, "UNIQUE");
	bool graph = !unique && lexer_take_word(lexer, "HNSW");
	struct index_definition *index;
	char where[96];
	const char *name;
	int rc;

	lexer_next(lexer); /* INDEX */
	rc = ddl_take_name(parser, "INDEX", &name);
	if (rc)
		return rc;
	snprintf(where, sizeof where, "INDEX %s", name_shorten(name).text);
	rc = ddl_index_add(parser, &index);
	if (rc)
		return rc;
	index->name = name;
	index->origin = INDEX_OF_STATEMENT;
	index->unique = unique;
	rc = index_name_once(parser, name);
	if (rc)
		return rc;
	rc = graph ? take_graph_index(parser, where, index)
	           : take_index_columns(parser, where, index, NULL);
	if (!rc && lexer->token.kind != TOKEN_END)
		rc = ddl_not_understood(parser, where);
	return rc;
}
