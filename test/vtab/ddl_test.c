/*
 * ddl_test.c - what CREATE VIRTUAL TABLE ... USING turdb(...) means.
 */
#include "test/harness.h"

#include <stdarg.h>

#include "vtab/definition.h"
#include "vtab/lexer.h"

/* A definition as one line of text, so that an expectation can be read. */
struct text {
	char bytes[8192];
	size_t used;
};

static void say(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text->used += (size_t)vsnprintf(text->bytes + text->used,
	                                sizeof text->bytes - text->used,
	                                format, arguments);
	va_end(arguments);
	if (text->used >= sizeof text->bytes)
		text->used = sizeof text->bytes - 1;
}

static const char *const affinities[] = { "blob", "text", "numeric", "integer",
                                          "real" };
static const char *const collations[] = { "", " nocase", " rtrim" };
static const char *const conflicts[] = { "", " rollback", " abort", " fail",
                                         " ignore", " replace" };

static void say_column(struct text *text, const struct table_definition *table,
                       uint32_t i)
{
	const struct column_definition *column = &table->columns[i];

	say(text, "%s:%s%s", column->name, affinities[column->affinity],
	    collations[column->collation]);
	if (column->vector)
		say(text, " vector %u/%d", column->dimensions,
		    (int)column->element);
	if (table->rowid_column == (int)i)
		say(text, " rowid%s%s", table->autoincrement ? " auto" : "",
		    conflicts[table->rowid_conflict]);
	if (column->not_null)
		say(text, " notnull%s", conflicts[column->not_null_conflict]);
	if (column->default_sql)
		say(text, " default %s", column->default_sql);
	if (column->generated_sql)
		say(text, " %s %s", column->generated_virtual ? "virtual"
		                                              : "stored",
		    column->generated_sql);
	say(text, "; ");
}

static void say_index(struct text *text, const struct table_definition *table,
                      const struct index_definition *index)
{
	static const char *const origins[] = { "index", "unique", "primary",
	                                       "column" };

	say(text, "[%s %s%s%s:", index->name, origins[index->origin],
	    index->unique ? " once" : "", conflicts[index->conflict]);
	for (uint32_t i = 0; i < index->column_count; i++)
		say(text, " %s%s%s", table->columns[index->columns[i].column].name,
		    index->columns[i].descending ? " desc" : "",
		    collations[index->columns[i].collation]);
	if (index->kind == INDEX_GRAPH)
		say(text, " graph %u/%d metric %d m %u ef %u q %d",
		    index->graph.dimensions, (int)index->graph.element,
		    (int)index->graph.metric, index->graph.m,
		    index->graph.ef_construction, (int)index->graph.quantize);
	say(text, "] ");
}

static struct text describe(const struct table_definition *table)
{
	struct text text = { .used = 0 };

	for (uint32_t i = 0; i < table->column_count; i++)
		say_column(&text, table, i);
	for (uint32_t i = 0; i < table->index_count; i++)
		say_index(&text, table, &table->indexes[i]);
	for (uint32_t i = 0; i < table->check_count; i++)
		say(&text, "check %s(%s) ", table->checks[i].name
		    ? table->checks[i].name : "", table->checks[i].sql);
	say(&text, "%s%s%s", table->strict ? "strict " : "",
	    table->null_defaults ? "" : "null_defaults=0 ",
	    table->compress ? table->compress : "");
	while (text.used && text.bytes[text.used - 1] == ' ')
		text.bytes[--text.used] = 0;
	return text;
}

/* Cuts a body at its outer commas, as SQLite does before it calls a module. */
enum { ARGUMENTS_MAX = 64 };
struct body {
	char *text;
	const char *arguments[ARGUMENTS_MAX];
	uint32_t count;
};

static struct body body_cut(const char *sql)
{
	struct body body = { .text = strdup(sql), .count = 1 };
	struct lexer lexer;
	size_t depth = 0;

	body.arguments[0] = body.text;
	lexer_open(&lexer, sql, strlen(sql));
	for (; lexer.token.kind != TOKEN_END; lexer_next(&lexer)) {
		if (token_is_mark(&lexer.token, '('))
			depth++;
		if (token_is_mark(&lexer.token, ')') && depth)
			depth--;
		if (token_is_mark(&lexer.token, ',') && !depth &&
		    body.count < ARGUMENTS_MAX) {
			size_t at = (size_t)(lexer.token.text - sql);

			body.text[at] = 0;
			body.arguments[body.count++] = body.text + at + 1;
		}
	}
	return body;
}

struct parsed {
	struct heap heap;
	struct arena arena;
	struct table_definition table;
	int rc;
};

static void parse(struct test *t, struct parsed *parsed, const char *sql)
{
	struct body body = body_cut(sql);

	heap_init(&parsed->heap);
	arena_init(&parsed->arena, &parsed->heap);
	t->err.text[0] = 0;
	parsed->rc = ddl_parse("t", body.count, body.arguments, &parsed->arena,
	                       &parsed->table, &t->err);
	free(body.text);
}

static void expect_definition(struct test *t, const char *sql,
                              const char *expected)
{
	struct parsed parsed;
	struct text text;

	parse(t, &parsed, sql);
	if (parsed.rc) {
		test_fail(t, __FILE__, __LINE__, "(%s): %s", sql, t->err.text);
	} else {
		text = describe(&parsed.table);
		if (strcmp(text.bytes, expected) != 0)
			test_fail(t, __FILE__, __LINE__,
			          "(%s)\n  is     %s\n  wanted %s", sql,
			          text.bytes, expected);
	}
	arena_close(&parsed.arena);
}

static void expect_refusal(struct test *t, const char *sql, const char *words)
{
	struct parsed parsed;

	parse(t, &parsed, sql);
	if (parsed.rc != ERR_INVALID || !strstr(t->err.text, words))
		test_fail(t, __FILE__, __LINE__,
		          "(%s)\n  gave   %s %s\n  wanted %s", sql,
		          err_name(parsed.rc), t->err.text, words);
	arena_close(&parsed.arena);
}

static void the_manual_s_example_is_understood(struct test *t)
{
	expect_definition(t,
		"id      INTEGER PRIMARY KEY AUTOINCREMENT,\n"
		"email   TEXT NOT NULL UNIQUE COLLATE NOCASE,\n"
		"name    TEXT DEFAULT 'anonymous',\n"
		"age     INTEGER CHECK (age >= 0),\n"
		"joined  TEXT DEFAULT CURRENT_TIMESTAMP,\n"
		"UNIQUE (name, joined),\n"
		"INDEX users_by_age (age DESC, name),\n"
		"face    VECTOR(128) HNSW (metric='cosine', m=16, "
		"ef_construction=200, quantize='sq8'),\n"
		"compress='zstd'   -- options last: name='value'\n",
		"id:integer rowid auto; email:text nocase notnull; "
		"name:text default 'anonymous'; age:integer; "
		"joined:text default CURRENT_TIMESTAMP; "
		"face:blob vector 128/1; "
		"[autoindex 1 unique once: email nocase] "
		"[vector face column: face graph 128/1 metric 2 m 16 ef 200 q 1] "
		"[autoindex 2 unique once: name joined] "
		"[users_by_age index: age desc name] "
		"check (age >= 0) zstd");
}

static void names_come_in_every_quoting(struct test *t)
{
	expect_definition(t, "\"a \"\" b\", [c d] text, `e``f` int, 'g' real",
	                  "a \" b:blob; c d:text; e`f:integer; g:real;");
	expect_definition(t, "\xc3\xa9t\xc3\xa9 TEXT, _x$1 BLOB",
	                  "\xc3\xa9t\xc3\xa9:text; _x$1:blob;");
	expect_definition(t, "\"INDEX\" int, \"check\", [primary]",
	                  "INDEX:integer; check:blob; primary:blob;");
}

static void types_have_the_affinities_of_sqlite(struct test *t)
{
	expect_definition(t, "a INT, b VARCHAR(20), c BLOB, d DOUBLE PRECISION, "
	                  "e NUMERIC(10,2), f, g FLOATING POINT, h STRING, "
	                  "i UNSIGNED BIG INT, j NATIVE CHARACTER(70), k CLOB, "
	                  "l DATETIME, m \"odd type\", n REAL",
	                  "a:integer; b:text; c:blob; d:real; e:numeric; f:blob; "
	                  "g:integer; h:numeric; i:integer; j:text; k:text; "
	                  "l:numeric; m:numeric; n:real;");
}

static void column_constraints_are_understood(struct test *t)
{
	expect_definition(t, "a CONSTRAINT x NOT NULL ON CONFLICT REPLACE "
	                  "CONSTRAINT y UNIQUE ON CONFLICT IGNORE NULL, "
	                  "b TEXT COLLATE rtrim CHECK (b <> ')') DEFAULT -5, "
	                  "c DEFAULT (1 + (2)), d DEFAULT +5.5e3, "
	                  "e DEFAULT x'00ff', f DEFAULT word, g DEFAULT true",
	                  "a:blob notnull replace; b:text rtrim default -5; "
	                  "c:blob default 1 + (2); d:blob default +5.5e3; "
	                  "e:blob default x'00ff'; f:blob default 'word'; "
	                  "g:blob default true; "
	                  "[autoindex 1 unique once ignore: a] "
	                  "check (b <> ')')");
	expect_definition(t, "a INT REFERENCES b (c, d) ON DELETE SET NULL ON "
	                  "UPDATE NO ACTION MATCH full NOT DEFERRABLE INITIALLY "
	                  "DEFERRED NOT NULL", "a:integer notnull;");
	expect_definition(t, "a INT, b GENERATED ALWAYS AS (a * 2) STORED, "
	                  "c AS (a+1)",
	                  "a:integer; b:blob stored a * 2; c:blob virtual a+1;");
}

static void a_primary_key_is_the_rowid_or_a_unique_index(struct test *t)
{
	expect_definition(t, "id integer primary key", "id:integer rowid;");
	expect_definition(t, "id INTEGER PRIMARY KEY ASC ON CONFLICT REPLACE",
	                  "id:integer rowid replace;");
	expect_definition(t, "id INTEGER PRIMARY KEY DESC", "id:integer; "
	                  "[autoindex 1 primary once: id desc]");
	expect_definition(t, "id INT PRIMARY KEY", "id:integer; "
	                  "[autoindex 1 primary once: id]");
	expect_definition(t, "[AlbumId] INTEGER  NOT NULL, [Title] "
	                  "NVARCHAR(160)  NOT NULL, CONSTRAINT [PK_Album] "
	                  "PRIMARY KEY  ([AlbumId]), FOREIGN KEY ([Title]) "
	                  "REFERENCES [Artist] ([ArtistId]) \n\t\tON DELETE NO "
	                  "ACTION ON UPDATE NO ACTION",
	                  "AlbumId:integer rowid notnull; Title:text notnull;");
	expect_definition(t, "a INTEGER, PRIMARY KEY (a DESC AUTOINCREMENT)",
	                  "a:integer rowid auto;");
	expect_definition(t, "a, b TEXT COLLATE NOCASE, PRIMARY KEY (b, a DESC) "
	                  "ON CONFLICT FAIL",
	                  "a:blob; b:text nocase; [autoindex 1 primary once fail: "
	                  "b nocase a desc]");
}

static void table_constraints_and_indexes_are_understood(struct test *t)
{
	expect_definition(t, "a, b, UNIQUE (a) CONSTRAINT c CHECK (a > b) "
	                  "UNIQUE (b COLLATE NOCASE DESC, a)",
	                  "a:blob; b:blob; [autoindex 1 unique once: a] "
	                  "[autoindex 2 unique once: b desc nocase a] "
	                  "check c(a > b)");
	expect_definition(t, "INDEX early (b), a, b, UNIQUE INDEX late (a, b)",
	                  "a:blob; b:blob; [early index: b] "
	                  "[late index once: a b]");
	/* The second UNIQUE says nothing new. */
	expect_definition(t, "a UNIQUE PRIMARY KEY, UNIQUE (a)",
	                  "a:blob; [autoindex 1 primary once: a]");
}

static void vectors_and_graphs_are_understood(struct test *t)
{
	expect_definition(t, "v VECTOR(3)", "v:blob vector 3/1;");
	expect_definition(t, "v vector ( 65536 , f16 ) hnsw",
	                  "v:blob vector 65536/2; [vector v column: v graph "
	                  "65536/2 metric 1 m 16 ef 200 q 0]");
	expect_definition(t, "v VECTOR(8, bit) HNSW(), w VECTOR(4, int8) NOT "
	                  "NULL HNSW (metric=ip)",
	                  "v:blob vector 8/4; w:blob vector 4/3 notnull; "
	                  "[vector v column: v graph 8/4 metric 5 m 16 ef 200 q "
	                  "0] [vector w column: w graph 4/3 metric 3 m 16 ef 200 "
	                  "q 0]");
	expect_definition(t, "v VECTOR(3), HNSW INDEX near (v) (m=32, "
	                  "metric='l1')",
	                  "v:blob vector 3/1; [near index: v graph 3/1 metric 4 "
	                  "m 32 ef 200 q 0]");
}

static void options_are_understood(struct test *t)
{
	expect_definition(t, "a ANY, strict=1, without_rowid='1', null_defaults = 0, "
	                  "compress = none", "a:blob; strict null_defaults=0");
	expect_refusal(t, "a, strict=1", "missing datatype for t.a");
	expect_refusal(t, "a VARCHAR(3), strict=1",
	               "unknown datatype for t.a: \"VARCHAR(3)\"");
}

/* (vtab/pure_ddl D1) */
static void what_is_not_understood_is_quoted(struct test *t)
{
	expect_refusal(t, "strict=1", "a table needs at least one column");
	expect_refusal(t, "a,,b", "item between commas is empty");
	expect_refusal(t, "a int frob = 3", "column a: cannot understand '= 3'");
	expect_refusal(t, "a int not zero",
	               "column a: cannot understand 'zero'");
	expect_refusal(t, "a, A", "duplicate column name: A");
	expect_refusal(t, "12 int", "cannot understand '12 int'");
	expect_refusal(t, "a default", "column a ends too early");
	expect_refusal(t, "a default 12abc", "unrecognized token '12abc'");
	expect_refusal(t, "a default 'open", "unrecognized token ''open'");
	expect_refusal(t, "a check (a > 1", "column a ends too early");
	expect_refusal(t, "a collate german", "collation german is not one of");
	expect_refusal(t, "a, primary key (a), primary key (a)",
	               "more than one PRIMARY KEY");
	expect_refusal(t, "a text primary key autoincrement",
	               "AUTOINCREMENT is only allowed on an INTEGER PRIMARY KEY");
	expect_refusal(t, "a, index i", "INDEX i ends too early");
	expect_refusal(t, "a, index i (b)", "INDEX i: no column is named b");
	expect_refusal(t, "a, index i (a+1)", "cannot understand '+1)'");
	expect_refusal(t, "a, index i (a), index I (a)",
	               "index I is there twice");
	expect_refusal(t, "a, index i (a) where a > 1",
	               "INDEX i: cannot understand 'where a > 1'");
	expect_refusal(t, "a, fast=1", "unknown option 'fast'");
	expect_refusal(t, "a, strict=7", "strict must be one of 0, 1");
	expect_refusal(t, "a, compress=lzma",
	               "compress must be one of none, zstd, not 'lzma'");
	expect_refusal(t, "a, constraint x unique (a) frob",
	               "table constraint: cannot understand 'frob'");
	expect_refusal(t, "a unique on conflict replace, unique (a) on conflict "
	               "ignore", "conflicting ON CONFLICT");
	expect_refusal(t, "a, b AS (c), c AS ([B] + 1)",
	               "generated column loop on \"b\"");
	expect_refusal(t, "a, b AS (a IN (SELECT 1))", "subqueries prohibited");
	expect_refusal(t, "a, b AS (a IN c)", "subqueries prohibited in generated");
	expect_refusal(t, "a CHECK (a NOT IN b)", "subqueries prohibited in CHECK");
	expect_refusal(t, "a CHECK (EXISTS (values (1)))", "subqueries prohibited");
	expect_refusal(t, "a CHECK (a > ?1)", "parameters prohibited in CHECK");
	expect_refusal(t, "a, b AS (@a)", "parameters prohibited in generated");
	expect_refusal(t, "a DEFAULT ((SELECT 1))", "default value of column [a] is not constant");
	expect_refusal(t, "a DEFAULT ($b)", "default value of column [a] is not constant");
	expect_refusal(t, "a as (1)", "at least one non-generated column");
}

static void calls_are_read_off_expressions(struct test *t)
{
	static const char *const calling[] = {
		"f(1)", "a + F (1)", "\"f\"(1)", "[F](1)", "`f` ()", "g(h(f(1)))",
		"f/* ( */--\n(1)", "f \xef\xbb\xbf(1)", "a LIKE 'b' AND f(2)",
	};
	static const char *const others[] = {
		"f", "f + (1)", "ff(1)", "'f(1)'", "\"f(1)\"", "f'(1)'", "x'f0' (1)",
		"f.a(1)", "\"f\xef\xbb\xbf\"(1)", "-- f(1)", "",
	};

	for (size_t i = 0; i < sizeof calling / sizeof *calling; i++)
		EXPECT(t, expression_calls(calling[i], "f"));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		EXPECT(t, !expression_calls(others[i], "f"));
	EXPECT(t, expression_calls("a glob b", "GLOB"));
	EXPECT(t, expression_calls("a NOT regexp b", "regexp"));
	EXPECT(t, expression_calls("a * f(1)", NULL));
	EXPECT(t, !expression_calls("a * (1) IS NOT NULL", NULL));
	EXPECT(t, !expression_calls("a LIKE 'b%' AND (Length(a) IN (1, 2))", NULL));
	EXPECT(t, expression_calls("a LIKE 'b%' AND (length(a) IN (1, g()))", NULL));
}

static void vectors_are_refused_with_the_number_given(struct test *t)
{
	expect_refusal(t, "v VECTOR", "VECTOR needs its dimension");
	expect_refusal(t, "v VECTOR(0)", "from 1 to 65536, not '0'");
	expect_refusal(t, "v VECTOR(65537)", "from 1 to 65536, not '65537'");
	expect_refusal(t, "v VECTOR(-3)", "not 'a negative one'");
	expect_refusal(t, "v VECTOR(99999999999999999999)", "not '99999999");
	expect_refusal(t, "v VECTOR(3.5)", "not '3.5'");
	expect_refusal(t, "v VECTOR(3, f8)",
	               "must be one of f32, f16, int8, bit, not 'f8'");
	expect_refusal(t, "v VECTOR(3) HNSW (metric=l3)",
	               "metric must be one of l2, cosine, ip, l1, hamming, not "
	               "'l3'");
	expect_refusal(t, "v VECTOR(3) HNSW (m=1)", "from 2 to 128, not '1'");
	expect_refusal(t, "v VECTOR(3) HNSW (m='-1')", "not '-1'");
	expect_refusal(t, "v VECTOR(3) HNSW (ef_construction=5000)",
	               "from 4 to 4096, not '5000'");
	expect_refusal(t, "v VECTOR(3) HNSW (speed=9)",
	               "unknown HNSW option 'speed'");
	expect_refusal(t, "v VECTOR(3) HNSW (metric=hamming)", "hamming is for");
	expect_refusal(t, "v VECTOR(8, int8) HNSW (quantize=sq8)",
	               "quantize sq8 needs");
	expect_refusal(t, "v BLOB HNSW", "HNSW needs a column of type VECTOR");
	expect_refusal(t, "v VECTOR(3) UNIQUE", "cannot be UNIQUE");
	expect_refusal(t, "v VECTOR(3), INDEX i (v)", "v is a VECTOR");
	expect_refusal(t, "v BLOB, HNSW INDEX i (v)", "no column of type VECTOR");
}

static void a_name_of_100000_characters_is_a_name(struct test *t)
{
	enum { SIZE = 100000 };
	char *sql = malloc(SIZE + 100);
	struct parsed parsed;

	memset(sql, 'n', SIZE);
	strcpy(sql + SIZE, " INTEGER NOT NULL");
	parse(t, &parsed, sql);
	EXPECT_OK(t, parsed.rc);
	EXPECT_EQ(t, strlen(parsed.table.columns[0].name), SIZE);
	EXPECT(t, parsed.table.columns[0].not_null);
	arena_close(&parsed.arena);

	strcpy(sql + SIZE, " INTEGER frob=1");
	parse(t, &parsed, sql);
	EXPECT_EQ(t, parsed.rc, ERR_INVALID);
	EXPECT(t, strstr(t->err.text, "cannot understand '=1'") != NULL);
	arena_close(&parsed.arena);
	free(sql);
}

/* Whatever bytes come, the parser ends with a definition or a sentence.
 * (vtab/pure_ddl D2) */
static void random_text_is_refused_or_understood(struct test *t)
{
	static const char *const words[] = {
		"a", "b", "\"q q\"", "INTEGER", "TEXT", "PRIMARY", "KEY", "(",
		")", ",", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE",
		"NOCASE", "REFERENCES", "ON", "CONFLICT", "REPLACE", "INDEX",
		"HNSW", "VECTOR", "(3)", "=", "1", "'s'", "x'00'", "--", "/*",
		"CONSTRAINT", "AUTOINCREMENT", "GENERATED", "AS", "'", "[", "0x",
		"1e", "metric", "DESC", "FOREIGN", "\xff", "\n" };
	enum { WORDS = sizeof words / sizeof words[0] };
	uint64_t state = t->seed, rounds = test_scaled(20000, 1000);
	unsigned understood = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		char sql[512] = "a";
		struct parsed parsed;
		uint64_t count = test_random(&state) % 12;

		for (uint64_t j = 0; j < count; j++) {
			strcat(sql, test_random(&state) % 8 ? " " : "");
			strcat(sql, words[test_random(&state) % WORDS]);
		}
		parse(t, &parsed, sql);
		if (parsed.rc && !t->err.text[0])
			test_fail(t, __FILE__, __LINE__, "no sentence: %s", sql);
		understood += parsed.rc == ERR_NONE;
		arena_close(&parsed.arena);
		EXPECT_EQ(t, parsed.heap.used, 0);
	}
	EXPECT(t, understood > rounds / 100);
}

static void no_memory_is_an_error_and_nothing_else(struct test *t)
{
	struct body body = body_cut("id INTEGER PRIMARY KEY, a TEXT DEFAULT 'x' "
	                            "CHECK (a > 'b'), UNIQUE (a), INDEX i (a), "
	                            "v VECTOR(3) HNSW (m=4)");
	struct table_definition table;
	struct arena arena;
	struct heap heap;
	char *statement;
	int rc = ERR_NOMEM;

	for (int64_t in = 1; rc; in++) {
		heap_init(&heap);
		heap.fail_in = in;
		arena_init(&arena, &heap);
		rc = ddl_parse("t", body.count, body.arguments, &arena, &table,
		               &t->err);
		if (!rc)
			rc = ddl_declare(&table, &arena, &statement, &t->err);
		EXPECT(t, rc == ERR_NONE || rc == ERR_NOMEM);
		arena_close(&arena);
		EXPECT_EQ(t, heap.used, 0);
	}
	free(body.text);
}

static void expect_declaration(struct test *t, const char *sql,
                               const char *expected)
{
	struct parsed parsed;
	char *statement;

	parse(t, &parsed, sql);
	EXPECT_OK(t, parsed.rc);
	EXPECT_OK(t, ddl_declare(&parsed.table, &parsed.arena, &statement,
	                         &t->err));
	EXPECT_STR(t, statement, expected);
	arena_close(&parsed.arena);
}

static void sqlite_hears_columns_and_hidden_columns(struct test *t)
{
	expect_declaration(t, "id INTEGER PRIMARY KEY, \"a \"\"b\" TEXT NOT NULL "
	                   "UNIQUE COLLATE NOCASE DEFAULT 'x', c HIDDEN int",
	                   "CREATE TABLE x(\"id\" INTEGER PRIMARY KEY,"
	                   "\"a \"\"b\" TEXT NOT NULL COLLATE NOCASE,\"c\" )");
	expect_declaration(t, "v VECTOR(3), K INT, _k INT",
	                   "CREATE TABLE x(\"v\" VECTOR(3),\"K\" INT,\"_k\" INT,"
	                   "\"distance\" REAL HIDDEN,\"__k\" INTEGER HIDDEN,"
	                   "\"ef\" INTEGER HIDDEN,\"exact\" INTEGER HIDDEN)");
}

static void expect_edit(struct test *t, const char *sql, const char *added,
                        const char *dropped)
{
	struct heap heap;
	struct arena arena;
	const char *edited;

	heap_init(&heap);
	arena_init(&arena, &heap);
	EXPECT_OK(t, ddl_statement_add(sql, "INDEX i (a)", &arena, &edited,
	                               &t->err));
	EXPECT_STR(t, edited, added);
	if (dropped) {
		EXPECT_OK(t, ddl_statement_drop(sql, 1, &arena, &edited, &t->err));
		EXPECT_STR(t, edited, dropped);
	}
	arena_close(&arena);
}

/* The text of a statement stays as it was written, but for the one argument. */
static void statements_are_edited_between_arguments(struct test *t)
{
	struct heap heap;
	struct arena arena;
	const char *edited;

	expect_edit(t, "CREATE VIRTUAL TABLE t USING turdb(a)",
	            "CREATE VIRTUAL TABLE t USING turdb(a, INDEX i (a))", NULL);
	expect_edit(t, "CREATE VIRTUAL TABLE \"t (x)\" USING turdb(a /* , */ INT, -- )\n b AS (max(1, 2)) , strict = 1)",
	            "CREATE VIRTUAL TABLE \"t (x)\" USING turdb(a /* , */ INT, -- )\n b AS (max(1, 2)), INDEX i (a) , strict = 1)",
	            "CREATE VIRTUAL TABLE \"t (x)\" USING turdb(a /* , */ INT , strict = 1)");
	expect_edit(t, "create virtual table if not exists s.t using [turdb] ( , a, 'b' ) ",
	            "create virtual table if not exists s.t using [turdb] ( , a, 'b', INDEX i (a) ) ",
	            "create virtual table if not exists s.t using [turdb] ( , a ) ");
	heap_init(&heap);
	arena_init(&arena, &heap);
	EXPECT_ERR(t, ddl_statement_add("CREATE TABLE t(a)", "b", &arena, &edited, &t->err),
	           ERR_CORRUPT, "it is no CREATE VIRTUAL TABLE");
	EXPECT_ERR(t, ddl_statement_add("CREATE VIRTUAL TABLE t USING turdb(a", "b", &arena, &edited, &t->err),
	           ERR_CORRUPT, "it is no CREATE VIRTUAL TABLE");
	EXPECT_ERR(t, ddl_statement_drop("CREATE VIRTUAL TABLE t USING turdb(a)", 0, &arena, &edited, &t->err),
	           ERR_CORRUPT, "it is no CREATE VIRTUAL TABLE");
	arena_close(&arena);
}

static const struct test_case cases[] = {
	CASE(the_manual_s_example_is_understood),
	CASE(names_come_in_every_quoting),
	CASE(types_have_the_affinities_of_sqlite),
	CASE(column_constraints_are_understood),
	CASE(a_primary_key_is_the_rowid_or_a_unique_index),
	CASE(table_constraints_and_indexes_are_understood),
	CASE(vectors_and_graphs_are_understood),
	CASE(options_are_understood),
	CASE(what_is_not_understood_is_quoted),
	CASE(calls_are_read_off_expressions),
	CASE(vectors_are_refused_with_the_number_given),
	CASE(a_name_of_100000_characters_is_a_name),
	CASE(random_text_is_refused_or_understood),
	CASE(no_memory_is_an_error_and_nothing_else),
	CASE(sqlite_hears_columns_and_hidden_columns),
	CASE(statements_are_edited_between_arguments),
};

TEST_MAIN(cases)
