/*
 * vector_filter_plan.c - which conditions beside MATCH a search takes, and whom to ask.
 *
 * In xBestIndex. Terms are taken as they come; of the indexes, and the rowid, the one
 * that promises to name the fewest rows is the source. All that is handed down as
 * text: vector_filter_private.h.
 */
#include "vtab/vector_filter_private.h"

#include <string.h>

struct offered {
	int constraint;
	char operator;
	int column;
	enum collation collation;
};

struct offer {
	const struct table *table;
	sqlite3_index_info *info;
	struct offered terms[TERMS_MAX];
	int count;
};

/* The letter of an operator, 0 when it is none that a term can have. */
static char operator_of(int op)
{
	char letter = plan_range_letter(op);

	if (!letter)
		letter = plan_equal_letter(op);
	if (letter)
		return letter;
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_NE:
		return TERM_NOT_EQUAL;
	case SQLITE_INDEX_CONSTRAINT_ISNOT:
		return TERM_IS_NOT;
	case SQLITE_INDEX_CONSTRAINT_ISNOTNULL:
		return TERM_NOT_NULL;
	default:
		return 0;
	}
}

static bool collation_of(sqlite3_index_info *info, int constraint,
                         enum collation *collation)
{
	for (int i = 0; i < COLLATION_COUNT; i++) {
		*collation = (enum collation)i;
		if (plan_collation_fits(info, constraint, *collation))
			return true;
	}
	return false;
}

static void consider_term(struct offer *offer, int i)
{
	const struct table_definition *definition = &offer->table->definition;
	const struct sqlite3_index_constraint *c =
		&offer->info->aConstraint[i];
	struct offered *term = &offer->terms[offer->count];

	if (!c->usable || offer->count == TERMS_MAX ||
	    offer->info->aConstraintUsage[i].argvIndex)
		return;
	term->constraint = i;
	term->column = c->iColumn == definition->rowid_column ? ROWID_COLUMN
	                                                      : c->iColumn;
	term->operator = operator_of(c->op);
	if (!term->operator || !filter_column_serves(definition, term->column) ||
	    !collation_of(offer->info, i, &term->collation))
		return;
	if (term->column != ROWID_COLUMN && plan_may_be_like(offer->info, i))
		term->operator = ARG_LT_BUT_BLOBS;
	if (term->operator == ARG_EQUAL && sqlite3_vtab_in(offer->info, i, -1)) {
		sqlite3_vtab_in(offer->info, i, 1);
		term->operator = TERM_IN;
	}
	offer->count++;
}

static bool is_range(char operator)
{
	return operator && strchr((char[]){ ARG_GE, ARG_GT, ARG_LE, ARG_LT,
	                                    ARG_LT_BUT_BLOBS, 0 }, operator);
}

static bool is_equality(char operator)
{
	return operator && strchr((char[]){ ARG_EQUAL, ARG_IS, ARG_NULL, 0 },
	                         operator);
}

/* The term on an index column that `serves`, or -1. */
static int term_find(const struct offer *offer,
                     const struct index_column *column,
                     bool (*serves)(char operator), int from)
{
	for (int i = from; i < offer->count; i++) {
		const struct offered *term = &offer->terms[i];

		if (term->column == (int)column->column &&
		    term->collation == column->collation &&
		    serves(term->operator))
			return i;
	}
	return -1;
}

static bool is_in(char operator)
{
	return operator == TERM_IN;
}

static uint32_t equal_run(const struct offer *offer,
                          const struct index_definition *index)
{
	uint32_t run = 0;

	while (run < index->column_count && run < TERMS_MAX &&
	       term_find(offer, &index->columns[run], is_equality, 0) >= 0)
		run++;
	return run;
}

static int range_find(const struct offer *offer,
                      const struct index_definition *index, uint32_t run,
                      int from)
{
	return run < index->column_count
	               ? term_find(offer, &index->columns[run], is_range, from)
	               : -1;
}

/* More equalities are better, then a range, then a list. */
static int worth_of(const struct offer *offer,
                    const struct index_definition *index)
{
	uint32_t run;

	if (index->kind != INDEX_TREE)
		return 0;
	run = equal_run(offer, index);
	if (run || range_find(offer, index, 0, 0) >= 0)
		return 4 * (int)run +
		       2 * (range_find(offer, index, run, 0) >= 0) +
		       (index->unique ? 1 : 0) + 2;
	return term_find(offer, &index->columns[0], is_in, 0) >= 0;
}

static void describe_index(const struct offer *offer, uint32_t number,
                           sqlite3_str *text)
{
	const struct index_definition *index =
		&offer->table->definition.indexes[number];
	uint32_t run = equal_run(offer, index);
	int at = range_find(offer, index, run, 0);

	if (run == 0 && at < 0) {
		sqlite3_str_appendf(text, ";%d %u,0:%d.%c", FILTER_FROM_VALUES,
		                    number,
		                    term_find(offer, &index->columns[0], is_in, 0),
		                    ARG_EQUAL);
		return;
	}
	sqlite3_str_appendf(text, ";%d %u,%u:", FILTER_FROM_INDEX, number, run);
	for (uint32_t i = 0; i < run; i++) {
		int found = term_find(offer, &index->columns[i], is_equality, 0);

		sqlite3_str_appendf(text, "%d.%c", found,
		                    offer->terms[found].operator);
	}
	for (; at >= 0; at = range_find(offer, index, run, at + 1))
		sqlite3_str_appendf(text, "%d.%c", at, offer->terms[at].operator);
}

/* The first term that names rowids. */
static bool describe_rowid(const struct offer *offer, sqlite3_str *text)
{
	for (int i = 0; i < offer->count; i++) {
		char operator = offer->terms[i].operator;

		if (offer->terms[i].column != ROWID_COLUMN)
			continue;
		if (operator == ARG_EQUAL || operator == ARG_IS ||
		    operator == TERM_IN) {
			sqlite3_str_appendf(text, ";%d 0,0:%d.%c",
			                    FILTER_FROM_ROWIDS, i,
			                    operator == TERM_IN ? operator
			                                       : ARG_EQUAL);
			return true;
		}
	}
	return false;
}

static bool describe_range(const struct offer *offer, sqlite3_str *text)
{
	bool any = false;

	for (int i = 0; i < offer->count; i++) {
		if (offer->terms[i].column != ROWID_COLUMN ||
		    !is_range(offer->terms[i].operator))
			continue;
		if (!any)
			sqlite3_str_appendf(text, ";%d 0,0:", FILTER_FROM_RANGE);
		any = true;
		sqlite3_str_appendf(text, "%d.%c", i, offer->terms[i].operator);
	}
	return any;
}

static void describe_source(const struct offer *offer, sqlite3_str *text)
{
	const struct table_definition *definition = &offer->table->definition;
	uint32_t best = 0;
	int worth = 0;

	if (describe_rowid(offer, text))
		return;
	for (uint32_t i = 0; i < definition->index_count; i++) {
		int own = worth_of(offer, &definition->indexes[i]);

		if (own > worth) {
			worth = own;
			best = i;
		}
	}
	if (worth)
		describe_index(offer, best, text);
	else if (!describe_range(offer, text))
		sqlite3_str_appendf(text, ";%d 0,0:", FILTER_FROM_NOTHING);
}

int vector_filter_plan(const struct table *table, sqlite3_index_info *info,
                       int args, char **text)
{
	struct offer offer = { .table = table, .info = info };
	sqlite3_str *described;

	*text = NULL;
	for (int i = 0; i < info->nConstraint; i++)
		consider_term(&offer, i);
	if (!offer.count)
		return SQLITE_OK;
	described = sqlite3_str_new(NULL);
	describe_source(&offer, described);
	for (int i = 0; i < offer.count; i++) {
		const struct offered *term = &offer.terms[i];

		info->aConstraintUsage[term->constraint].argvIndex =
			args + i + 1;
		sqlite3_str_appendf(described, ";%c%d,%d", term->operator,
		                    term->column, (int)term->collation);
	}
	*text = sqlite3_str_finish(described);
	return *text ? SQLITE_OK : SQLITE_NOMEM;
}
