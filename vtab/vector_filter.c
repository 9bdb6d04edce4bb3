/*
 * vector_filter.c - conditions on columns that hold during a search by vector.
 *
 * Purpose       `k` nearest rows means the k nearest of those that satisfy the other
 *               conditions. So a search asks about each row it would give, and
 *               goes on until k pass; or, when an index says that few can match,
 *               all of those are measured instead (cursor_matches.c).
 * Structures    A term is an operator and its operand as key bytes, so comparing is
 *               what it is in an index: memcmp.
 * Safety        Where SQLite's comparison depends on more than the values (a number
 *               against a column without numeric affinity, texts too long for a
 *               key) a term lets rows through; SQLite tests them again.
 */
#include "vtab/vector_filter_private.h"

#include <stdio.h>
#include <stdlib.h>

/* --- reading it back ----------------------------------------------------------------- */

struct term {
	char operator;
	int column;
	enum affinity affinity;
	struct key_column order;
	bool passes, fails;      /* every row, no row                       */
	struct span operand;     /* key bytes                               */
	struct span *list;       /* of IN, sorted                           */
	size_t list_count;
};

struct vector_filter {
	struct table *table;
	struct arena arena;
	struct term terms[TERMS_MAX];
	int count;
	bool reads_row;
	struct filter_matches matches;
	char letters[TERMS_MAX + 1];
	sqlite3_value *values[TERMS_MAX];
	struct key_buffer work;
	struct btree_scratch scratch;
	int rc;
	struct err err;
};

static int no_memory(const struct vector_filter *filter, struct err *err)
{
	return err_set(err, ERR_NOMEM, "search", filter->table->name,
	               "no memory for its conditions");
}

/* The key of an operand, in the arena; *sure false when it cannot tell. */
static int operand_take(struct vector_filter *filter, const struct term *term,
                        sqlite3_value *from, struct span *operand, bool *null,
                        bool *sure, struct err *err)
{
	struct value value;
	bool loose;
	int rc;

	value_probe(from, term->affinity, &value, &loose);
	*null = value.type == VALUE_NULL;
	key_buffer_reset(&filter->work);
	rc = key_append(&filter->work, &value, &term->order, err);
	if (rc)
		return rc;
	*sure = !loose && !filter->work.shortened;
	*operand = key_bytes(&filter->work);
	return arena_keep(&filter->arena, operand) ? ERR_NONE
	                                           : no_memory(filter, err);
}

static int by_bytes(const void *a, const void *b)
{
	return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static int list_take(struct vector_filter *filter, struct term *term,
                     sqlite3_value *from, struct err *err)
{
	sqlite3_value *value;
	size_t count = 0, at = 0;
	bool null, sure;
	int step, rc;

	for (step = sqlite3_vtab_in_first(from, &value); step == SQLITE_OK;
	     step = sqlite3_vtab_in_next(from, &value))
		count++;
	term->list = arena_allocate(&filter->arena,
	                            (count + 1) * sizeof *term->list);
	if (!term->list)
		return no_memory(filter, err);
	for (step = sqlite3_vtab_in_first(from, &value);
	     step == SQLITE_OK && at < count;
	     step = sqlite3_vtab_in_next(from, &value)) {
		rc = operand_take(filter, term, value, &term->list[at], &null,
		                  &sure, err);
		if (rc)
			return rc;
		at += !null;
		term->passes |= !sure && !null;
	}
	qsort(term->list, at, sizeof *term->list, by_bytes);
	term->list_count = at;
	return ERR_NONE;
}

static int term_take(struct vector_filter *filter, struct term *term,
                     sqlite3_value *from, struct err *err)
{
	bool null, sure;
	int rc;

	if (term->operator == TERM_IN)
		return list_take(filter, term, from, err);
	if (term->operator == ARG_NULL || term->operator == TERM_NOT_NULL)
		return ERR_NONE;
	rc = operand_take(filter, term, from, &term->operand, &null, &sure, err);
	if (rc)
		return rc;
	term->fails = null && term->operator != ARG_IS &&
	              term->operator != TERM_IS_NOT;
	term->passes = !sure && !null;
	return ERR_NONE;
}

static int bad_text(const struct vector_filter *filter, const char *text,
                    struct err *err)
{
	return err_set(err, ERR_INVALID, "search", filter->table->name,
	               "the plan '%.60s' is none", text);
}

/* ";SOURCE INDEX,EQUAL:" and the arguments that go with it. */
static int source_read(struct vector_filter *filter, const char **text,
                       int argc, sqlite3_value **argv, struct err *err)
{
	struct filter_matches *matches = &filter->matches;
	unsigned source, index, equal;
	int used = 0;

	if (sscanf(*text, ";%u %u,%u:%n", &source, &index, &equal, &used) != 3 ||
	    !used)
		return bad_text(filter, *text, err);
	*text += used;
	while (**text && **text != ';') {
		char *end;
		long number = strtol(*text, &end, 10);

		if (end == *text || *end != '.' || !end[1] || number < 0 ||
		    number >= argc || matches->count == TERMS_MAX)
			return bad_text(filter, *text, err);
		filter->values[matches->count] = argv[number];
		filter->letters[matches->count++] = end[1];
		*text = end + 2;
	}
	matches->source = (enum filter_source)source;
	matches->index = index;
	matches->equal_count = equal;
	matches->letters = filter->letters;
	matches->values = filter->values;
	return ERR_NONE;
}

static int terms_read(struct vector_filter *filter, const char *text, int argc,
                      sqlite3_value **argv, struct err *err)
{
	const struct table_definition *definition = &filter->table->definition;
	int rc = ERR_NONE;

	while (!rc && *text) {
		struct term *term = &filter->terms[filter->count];
		int collation, used = 0;

		if (filter->count == TERMS_MAX || filter->count == argc ||
		    sscanf(text, ";%c%d,%d%n", &term->operator, &term->column,
		           &collation, &used) != 3 ||
		    !filter_column_serves(definition, term->column) ||
		    collation < 0 || collation >= COLLATION_COUNT)
			return bad_text(filter, text, err);
		text += used;
		term->order.collation = (enum collation)collation;
		term->affinity = term->column == ROWID_COLUMN
		                         ? AFFINITY_INTEGER
		                         : definition->columns[term->column]
		                                   .affinity;
		filter->reads_row |= term->column != ROWID_COLUMN;
		rc = term_take(filter, term, argv[filter->count], err);
		filter->count++;
	}
	return rc;
}

int vector_filter_open(struct table *table, const char *text, int args,
                       int argc, sqlite3_value **argv,
                       struct vector_filter **filter, struct err *err)
{
	struct vector_filter *opened;
	int rc;

	*filter = NULL;
	if (argc <= args)
		return ERR_NONE;
	opened = heap_zeroed(table->connection->heap, sizeof *opened);
	if (!opened)
		return err_set(err, ERR_NOMEM, "search", table->name,
		               "no memory for its conditions");
	opened->table = table;
	opened->scratch.heap = table->connection->heap;
	arena_init(&opened->arena, table->connection->heap);
	key_buffer_init(&opened->work, table->connection->heap);
	text += args;
	rc = source_read(opened, &text, argc - args, argv + args, err);
	if (!rc)
		rc = terms_read(opened, text, argc - args, argv + args, err);
	if (rc) {
		vector_filter_close(opened);
		return rc;
	}
	*filter = opened;
	return ERR_NONE;
}

void vector_filter_close(struct vector_filter *filter)
{
	struct heap *heap;

	if (!filter)
		return;
	heap = filter->table->connection->heap;
	arena_close(&filter->arena);
	key_buffer_close(&filter->work);
	btree_scratch_free(&filter->scratch);
	heap_free(heap, filter);
}

const struct filter_matches *
vector_filter_matches(const struct vector_filter *filter)
{
	return &filter->matches;
}

/* --- testing ------------------------------------------------------------------------- */

static bool list_has(const struct term *term, struct span key)
{
	size_t low = 0, high = term->list_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = span_compare(term->list[middle], key);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static bool order_passes(char operator, int order)
{
	switch (operator) {
	case ARG_EQUAL:
	case ARG_IS:
		return order == 0;
	case TERM_NOT_EQUAL:
	case TERM_IS_NOT:
		return order != 0;
	case ARG_GE:
		return order >= 0;
	case ARG_GT:
		return order > 0;
	case ARG_LE:
		return order <= 0;
	case ARG_LT:
	case ARG_LT_BUT_BLOBS:
		return order < 0;
	default:
		return true;
	}
}

static int value_test(struct vector_filter *filter, const struct term *term,
                      const struct value *value, bool *passes, struct err *err)
{
	bool null = value->type == VALUE_NULL;
	struct span key;
	int rc;

	*passes = true;
	if (term->operator == ARG_NULL || term->operator == TERM_NOT_NULL) {
		*passes = null == (term->operator == ARG_NULL);
		return ERR_NONE;
	}
	if (null && term->operator != ARG_IS && term->operator != TERM_IS_NOT) {
		*passes = false;
		return ERR_NONE;
	}
	if (term->passes || (term->operator == ARG_LT_BUT_BLOBS &&
	                     value->type == VALUE_BLOB))
		return ERR_NONE;
	key_buffer_reset(&filter->work);
	rc = key_append(&filter->work, value, &term->order, err);
	if (rc || filter->work.shortened)
		return rc;
	key = span_of(filter->work.bytes, filter->work.size);
	*passes = term->operator == TERM_IN
	                  ? list_has(term, key)
	                  : order_passes(term->operator,
	                                 span_compare(key, term->operand));
	return ERR_NONE;
}

int vector_filter_test(struct vector_filter *filter, int64_t rowid,
                       struct span row, bool *passes, struct err *err)
{
	int rc = ERR_NONE;

	*passes = true;
	for (int i = 0; !rc && *passes && i < filter->count; i++) {
		const struct term *term = &filter->terms[i];
		struct value value = { .type = VALUE_INTEGER,
			               .integer = rowid };
		bool present = true;

		if (term->fails) {
			*passes = false;
			break;
		}
		if (term->column != ROWID_COLUMN) {
			rc = row_column(row, (uint32_t)term->column, &value,
			                &present, err);
			if (!rc && !present)
				value.type = VALUE_NULL;
		}
		if (!rc)
			rc = value_test(filter, term, &value, passes, err);
	}
	return rc;
}

bool vector_filter_accept(void *context, int64_t rowid)
{
	struct vector_filter *filter = context;
	struct span row = { .size = 0 };
	bool found = true, passes = false;

	if (filter->rc)
		return false;
	if (filter->reads_row)
		filter->rc = table_row_get(filter->table, rowid,
		                           &filter->scratch, &row, &found,
		                           &filter->err);
	if (!filter->rc && found)
		filter->rc = vector_filter_test(filter, rowid, row, &passes,
		                                &filter->err);
	return !filter->rc && passes;
}

int vector_filter_error(const struct vector_filter *filter, struct err *err)
{
	if (filter && filter->rc)
		*err = filter->err;
	return filter ? filter->rc : ERR_NONE;
}
