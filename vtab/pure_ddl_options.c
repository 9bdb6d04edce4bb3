/*
 * pure_ddl_options.c - name=value: those of HNSW (...) and those of the table.
 */
#include "vtab/ddl.h"

#include <stdio.h>

static int take_option(struct parser *parser, const char *where,
                       struct option *option)
{
	struct lexer *lexer = &parser->lexer;
	struct token *token = &lexer->token;
	int rc = ddl_take_name(parser, where, &option->name);

	if (rc)
		return rc;
	if (!lexer_take_mark(lexer, '='))
		return ddl_not_understood(parser, where);
	if (!token_is_name(token) && token->kind != TOKEN_NUMBER)
		return ddl_not_understood(parser, where);
	option->value = token_dequote(token, parser->arena, NULL);
	if (!option->value)
		return ddl_out_of_memory(parser);
	lexer_next(lexer);
	return ERR_NONE;
}

int ddl_option_number(struct parser *parser, const char *where,
		      const struct option *option, uint32_t low,
		      uint32_t high, uint32_t *number)
{
	uint64_t value = 0;
	const char *at = option->value;

	for (; *at >= '0' && *at <= '9' && value <= high; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	if (*at || at == option->value || value < low || value > high)
		return ddl_refuse(parser, "%.80s: %s must be a number from %u to "
		              "%u, not '%.40s'", where, option->name, low,
		              high, option->value);
	*number = (uint32_t)value;
	return ERR_NONE;
}

int ddl_option_choice(struct parser *parser, const char *where,
		      const struct option *option,
		      const char *const *choices, unsigned count,
		      unsigned *choice)
{
	char list[120];
	size_t used = 0;

	for (unsigned i = 0; i < count; i++) {
		if (name_equal(option->value, choices[i])) {
			*choice = i;
			return ERR_NONE;
		}
	}
	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(list + used, sizeof list - used,
		                         "%s%s", i ? ", " : "", choices[i]);
	return ddl_refuse(parser, "%.80s: %s must be one of %s, not '%.40s'", where,
	              option->name, list, option->value);
}

static int graph_option(struct parser *parser, const char *where,
                        const struct option *option,
                        struct hnsw_options *graph)
{
	static const char *const metrics[] = { "l2", "cosine", "ip", "l1",
	                                       "hamming" };
	static const char *const quantizers[] = { "none", "sq8" };
	unsigned choice;
	int rc;

	if (name_equal(option->name, "metric")) {
		rc = ddl_option_choice(parser, where, option, metrics, 5, &choice);
		if (!rc)
			graph->metric = HNSW_L2 + choice;
	} else if (name_equal(option->name, "quantize")) {
		rc = ddl_option_choice(parser, where, option, quantizers, 2,
		                   &choice);
		if (!rc)
			graph->quantize = HNSW_NONE + choice;
	} else if (name_equal(option->name, "m")) {
		rc = ddl_option_number(parser, where, option, 2, 128, &graph->m);
	} else if (name_equal(option->name, "ef_construction")) {
		rc = ddl_option_number(parser, where, option, 4, 4096,
		                   &graph->ef_construction);
	} else {
		rc = ddl_refuse(parser, "%.80s: unknown HNSW option '%.40s'; known "
		            "are metric, m, ef_construction and quantize",
		            where, option->name);
	}
	return rc;
}

/* [( name = value, ... )] */
int ddl_take_graph_options(struct parser *parser, const char *where,
			   struct hnsw_options *graph)
{
	struct lexer *lexer = &parser->lexer;
	struct option option;
	int rc;

	*graph = (struct hnsw_options){ .m = 16, .ef_construction = 200,
	                                .quantize = HNSW_NONE };
	if (!lexer_take_mark(lexer, '('))
		return ERR_NONE;
	if (lexer_take_mark(lexer, ')'))
		return ERR_NONE;
	do {
		rc = take_option(parser, where, &option);
		if (!rc)
			rc = graph_option(parser, where, &option, graph);
		if (rc)
			return rc;
	} while (lexer_take_mark(lexer, ','));
	if (!lexer_take_mark(lexer, ')'))
		return ddl_not_understood(parser, where);
	return ERR_NONE;
}

int ddl_graph_settle(struct parser *parser, const char *where,
		     const struct column_definition *column,
		     struct hnsw_options *graph)
{
	bool bits = column->element == HNSW_BIT;

	graph->dimensions = column->dimensions;
	graph->element = column->element;
	if (!graph->metric)
		graph->metric = bits ? HNSW_HAMMING : HNSW_L2;
	if (bits != (graph->metric == HNSW_HAMMING))
		return ddl_refuse(parser, "%.80s: metric hamming is for VECTOR(n, "
		              "bit) and VECTOR(n, bit) is for it", where);
	if (graph->quantize == HNSW_SQ8 && column->element != HNSW_F32 &&
	    column->element != HNSW_F16)
		return ddl_refuse(parser, "%.80s: quantize sq8 needs elements of "
		              "f32 or f16", where);
	return ERR_NONE;
}

static int option_flag(struct parser *parser, const struct option *option,
                       bool *flag)
{
	static const char *const words[] = { "0", "1", "off", "on", "false",
	                                     "true", "no", "yes" };
	unsigned choice;
	int rc = ddl_option_choice(parser, "option", option, words, 8, &choice);

	if (!rc)
		*flag = choice & 1;
	return rc;
}

int ddl_parse_option(struct parser *parser)
{
	static const char *const compressors[] = { "none", "zstd" };
	struct table_definition *table = parser->table;
	struct option option;
	unsigned choice;
	bool ignored;
	int rc = take_option(parser, "option", &option);

	if (rc)
		return rc;
	if (name_equal(option.name, "strict")) {
		rc = option_flag(parser, &option, &table->strict);
	} else if (name_equal(option.name, "without_rowid")) {
		rc = option_flag(parser, &option, &ignored);
	} else if (name_equal(option.name, "null_defaults")) {
		rc = option_flag(parser, &option, &table->null_defaults);
	} else if (name_equal(option.name, "compress")) {
		rc = ddl_option_choice(parser, "option", &option, compressors, 2,
		                   &choice);
		if (!rc)
			table->compress = choice ? "zstd" : NULL;
	} else {
		rc = ddl_refuse(parser, "unknown option '%.60s'; known are strict, "
		            "without_rowid, null_defaults and compress",
		            option.name);
	}
	if (!rc && parser->lexer.token.kind != TOKEN_END)
		rc = ddl_not_understood(parser, "option");
	return rc;
}
