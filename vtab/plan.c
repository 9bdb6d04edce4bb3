/*
 * plan.c - xBestIndex: which way of walking the table serves a query.
 *
 * Candidates are the whole table, the rowid, and each index with its longest run of
 * equalities and one range behind it. The cheapest wins, the cost of sorting
 * included where its order does not serve. A MATCH leaves no choice.
 */
#include "vtab/plan.h"

#include "vtab/vector_filter.h"

#include <math.h>

enum { COLUMNS_OF_INDEX_MAX = 64, ARGS_MAX = 64 };

struct plan {
	enum plan_kind kind;
	uint32_t index;
	uint32_t equal_count;
	int args[ARGS_MAX];      /* constraint numbers, in order of argv */
	char letters[ARGS_MAX + 1];
	int arg_count;
	double rows, cost;
	bool unique, ordered, descending;
	bool has_list;           /* an IN that the cursor walks itself */
};

struct planning {
	struct table *table;
	sqlite3_index_info *info;
	struct plan best;
	bool any;
};

/* --- constraints --------------------------------------------------------------- */

char plan_range_letter(int op)
{
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_GE:
		return ARG_GE;
	case SQLITE_INDEX_CONSTRAINT_GT:
		return ARG_GT;
	case SQLITE_INDEX_CONSTRAINT_LE:
		return ARG_LE;
	case SQLITE_INDEX_CONSTRAINT_LT:
		return ARG_LT;
	default:
		return 0;
	}
}

char plan_equal_letter(int op)
{
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_EQ:
		return ARG_EQUAL;
	case SQLITE_INDEX_CONSTRAINT_IS:
		return ARG_IS;
	case SQLITE_INDEX_CONSTRAINT_ISNULL:
		return ARG_NULL;
	default:
		return 0;
	}
}

bool plan_collation_fits(sqlite3_index_info *info, int constraint,
                         enum collation collation)
{
	const char *name = sqlite3_vtab_collation(info, constraint);

	return !name || sqlite3_stricmp(name, collation_names[collation]) == 0;
}

static int column_of(const struct planning *p, int column)
{
	return column == p->table->definition.rowid_column ? ROWID_COLUMN
	                                                   : column;
}

static void arg_add(struct plan *plan, int constraint, char letter)
{
	if (plan->arg_count == ARGS_MAX)
		return;
	plan->args[plan->arg_count] = constraint;
	plan->letters[plan->arg_count++] = letter;
}

static void consider(struct planning *p, const struct plan *plan)
{
	double sort = p->info->nOrderBy && !plan->ordered
	                      ? plan->rows * (log2(plan->rows + 2) * 0.5 + 1)
	                      : 0;

	if (p->any && plan->cost + sort >= p->best.cost)
		return;
	p->best = *plan;
	p->best.cost += sort;
	p->any = true;
}

/* --- order --------------------------------------------------------------------- */

/* Whether rows in rowid order, forwards or backwards, are as asked. */
static void order_by_rowid(struct planning *p, struct plan *plan)
{
	const sqlite3_index_info *info = p->info;

	if (info->nOrderBy == 0 ||
	    column_of(p, info->aOrderBy[0].iColumn) != ROWID_COLUMN)
		return;
	plan->ordered = true; /* later terms cannot matter: rowids are unique */
	plan->descending = info->aOrderBy[0].desc;
}

/* Whether an equality leaves one value for ORDER BY. (Where a number equals several
 * texts, the cursor puts the rows in order.) */
static bool is_fixed(const struct table_definition *definition,
                     const struct index_column *column)
{
	return column->collation ==
	       definition->columns[column->column].collation;
}

static void order_by_index(struct planning *p, struct plan *plan)
{
	const struct table_definition *definition = &p->table->definition;
	const struct index_definition *index =
		&definition->indexes[plan->index];
	uint32_t at = 0;
	int direction = -1;

	while (at < plan->equal_count &&
	       is_fixed(definition, &index->columns[at]))
		at++;

	for (int i = 0; i < p->info->nOrderBy; i++) {
		int column = p->info->aOrderBy[i].iColumn;
		bool fixed = false, wanted;

		for (uint32_t e = 0; e < plan->equal_count; e++)
			fixed |= (int)index->columns[e].column == column &&
			         is_fixed(definition, &index->columns[e]);
		if (fixed)
			continue;
		if (at == index->column_count) {
			if (column_of(p, column) != ROWID_COLUMN)
				return;
			wanted = p->info->aOrderBy[i].desc;
			if (direction >= 0 && direction != wanted)
				return;
			if (direction < 0)
				direction = wanted;
			break;
		}
		if ((int)index->columns[at].column != column ||
		    index->columns[at].collation !=
		            definition->columns[column].collation)
			return;
		wanted = index->columns[at].descending !=
		         (p->info->aOrderBy[i].desc != 0);
		if (direction >= 0 && direction != wanted)
			return;
		direction = wanted;
		at++;
	}
	plan->ordered = p->info->nOrderBy > 0;
	plan->descending = direction == 1;
}

/* --- candidates ---------------------------------------------------------------- */

static void consider_scan(struct planning *p)
{
	struct plan plan = { .kind = PLAN_SCAN, .rows = p->table->rows + 1 };

	plan.cost = plan.rows * 1.1 + 1;
	order_by_rowid(p, &plan);
	consider(p, &plan);
}

static bool is_text(sqlite3_index_info *info, int constraint)
{
	sqlite3_value *operand = NULL;

	return info->aConstraint[constraint].usable &&
	       !sqlite3_vtab_rhs_value(info, constraint, &operand) &&
	       operand && sqlite3_value_type(operand) == SQLITE_TEXT;
}

bool plan_may_be_like(sqlite3_index_info *info, int constraint)
{
	const struct sqlite3_index_constraint *all = info->aConstraint;

	if (all[constraint].op != SQLITE_INDEX_CONSTRAINT_LT ||
	    !is_text(info, constraint) ||
	    sqlite3_compileoption_used("LIKE_DOESNT_MATCH_BLOBS"))
		return false;
	for (int i = 0; i < info->nConstraint; i++)
		if (all[i].op == SQLITE_INDEX_CONSTRAINT_GE &&
		    all[i].iColumn == all[constraint].iColumn && is_text(info, i))
			return true;
	return false;
}

static void consider_rowid(struct planning *p)
{
	struct plan range = { .kind = PLAN_ROWID_RANGE,
	                      .rows = p->table->rows + 1 };

	for (int i = 0; i < p->info->nConstraint; i++) {
		const struct sqlite3_index_constraint *c =
			&p->info->aConstraint[i];

		if (!c->usable || column_of(p, c->iColumn) != ROWID_COLUMN)
			continue;
		if (c->op == SQLITE_INDEX_CONSTRAINT_EQ ||
		    c->op == SQLITE_INDEX_CONSTRAINT_IS) {
			struct plan plan = { .kind = PLAN_ROWID, .rows = 1,
			                     .cost = 1, .unique = true,
			                     .ordered = p->info->nOrderBy > 0 };

			arg_add(&plan, i, ARG_EQUAL);
			consider(p, &plan);
		} else if (plan_range_letter(c->op)) {
			arg_add(&range, i, plan_range_letter(c->op));
			range.rows /= 4;
		}
	}
	if (!range.arg_count)
		return;
	range.rows += 1;
	range.cost = range.rows * 1.1 + 2;
	order_by_rowid(p, &range);
	consider(p, &range);
}

static int find_equal(struct planning *p, const struct index_column *column)
{
	for (int i = 0; i < p->info->nConstraint; i++) {
		const struct sqlite3_index_constraint *c =
			&p->info->aConstraint[i];

		if (c->usable && c->iColumn == (int)column->column &&
		    plan_equal_letter(c->op) &&
		    plan_collation_fits(p->info, i, column->collation))
			return i;
	}
	return -1;
}

static void add_ranges(struct planning *p, struct plan *plan,
                       const struct index_column *column)
{
	for (int i = 0; i < p->info->nConstraint; i++) {
		const struct sqlite3_index_constraint *c =
			&p->info->aConstraint[i];

		if (!c->usable || c->iColumn != (int)column->column ||
		    !plan_range_letter(c->op) ||
		    !plan_collation_fits(p->info, i, column->collation))
			continue;
		arg_add(plan, i, plan_may_be_like(p->info, i)
		                       ? ARG_LT_BUT_BLOBS
		                       : plan_range_letter(c->op));
		plan->rows /= 4;
	}
}

/* Whether equality with this operand means the index's own: a number may equal
 * several texts, and of a parameter or another table's column nothing is known. */
static bool is_exact(const struct planning *p, int constraint)
{
	int column = p->info->aConstraint[constraint].iColumn;
	sqlite3_value *operand = NULL;

	if (p->table->definition.columns[column].affinity >= AFFINITY_NUMERIC)
		return true;
	if (sqlite3_vtab_rhs_value(p->info, constraint, &operand) || !operand)
		return false;
	return sqlite3_value_type(operand) == SQLITE_TEXT ||
	       sqlite3_value_type(operand) == SQLITE_BLOB;
}

/* See in_values.h. */
static bool is_list(const struct planning *p, int constraint)
{
	int column = p->info->aConstraint[constraint].iColumn;

	return p->table->definition.columns[column].affinity < AFFINITY_NUMERIC &&
	       sqlite3_vtab_in(p->info, constraint, -1);
}

static void consider_index(struct planning *p, uint32_t number)
{
	const struct index_definition *index =
		&p->table->definition.indexes[number];
	struct plan plan = { .kind = PLAN_INDEX, .index = number,
	                     .rows = p->table->rows + 1 };
	bool any_null = false, exact = true;

	while (plan.equal_count < index->column_count &&
	       plan.equal_count < COLUMNS_OF_INDEX_MAX - 8) {
		int found = find_equal(p, &index->columns[plan.equal_count]);
		bool list = found >= 0 && is_list(p, found);

		if (found < 0 || (list && plan.has_list))
			break;
		plan.has_list |= list;
		any_null |= p->info->aConstraint[found].op !=
		            SQLITE_INDEX_CONSTRAINT_EQ;
		exact = exact && is_exact(p, found);
		arg_add(&plan, found,
		        list ? ARG_IN
		             : plan_equal_letter(p->info->aConstraint[found].op));
		plan.equal_count++;
		plan.rows /= plan.equal_count == 1 ? 20 : 5;
	}
	plan.unique = index->unique && !any_null &&
	              plan.equal_count == index->column_count;
	if (plan.unique)
		plan.rows = 1;
	else if (plan.equal_count < index->column_count)
		add_ranges(p, &plan, &index->columns[plan.equal_count]);
	if (!plan.unique && plan.equal_count && plan.rows < 2)
		plan.rows = 2;
	if (!plan.has_list)
		order_by_index(p, &plan);
	if (!plan.arg_count && !plan.ordered)
		return;
	plan.cost = plan.rows * 2.5 + 3;
	plan.unique = plan.unique && exact && !plan.has_list;
	consider(p, &plan);
}

/* --- vectors ------------------------------------------------------------------- */

static int hidden_of(const struct planning *p, int column)
{
	int first = (int)p->table->definition.column_count;

	return p->table->definition.has_vector && column >= first
	               ? column - first : -1;
}

static char vector_letter(const struct planning *p,
                          const struct sqlite3_index_constraint *c)
{
	switch (hidden_of(p, c->iColumn)) {
	case HIDDEN_K:
		return c->op == SQLITE_INDEX_CONSTRAINT_EQ ? ARG_K : 0;
	case HIDDEN_EF:
		return c->op == SQLITE_INDEX_CONSTRAINT_EQ ? ARG_EF : 0;
	case HIDDEN_EXACT:
		return c->op == SQLITE_INDEX_CONSTRAINT_EQ ? ARG_EXACT : 0;
	case HIDDEN_DISTANCE:
		if (c->op == SQLITE_INDEX_CONSTRAINT_LE)
			return ARG_DISTANCE_LE;
		return c->op == SQLITE_INDEX_CONSTRAINT_LT ? ARG_DISTANCE_LT
		                                           : 0;
	default:
		return 0;
	}
}

static int plan_vector(struct planning *p, int match)
{
	sqlite3_index_info *info = p->info;
	struct plan *plan = &p->best;
	bool has_k = false;

	*plan = (struct plan){ .kind = PLAN_VECTOR, .rows = 100, .cost = 10 };
	plan->index = (uint32_t)info->aConstraint[match].iColumn;
	arg_add(plan, match, ARG_MATCH);
	for (int i = 0; i < info->nConstraint; i++) {
		char letter = vector_letter(p, &info->aConstraint[i]);

		if (!letter)
			continue;
		if (!info->aConstraint[i].usable)
			return SQLITE_CONSTRAINT;
		has_k |= letter == ARG_K;
		arg_add(plan, i, letter);
	}
	if (has_k)
		plan->rows = 10;
	plan->ordered = info->nOrderBy == 1 && !info->aOrderBy[0].desc &&
	                hidden_of(p, info->aOrderBy[0].iColumn) ==
	                        HIDDEN_DISTANCE;
	p->any = true;
	return SQLITE_OK;
}

static int find_match(struct planning *p, int *match)
{
	const sqlite3_index_info *info = p->info;
	int matches = 0;

	*match = -1;
	for (int i = 0; i < info->nConstraint; i++) {
		int column = info->aConstraint[i].iColumn;

		if (info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_MATCH)
			continue;
		if (column < 0 ||
		    column >= (int)p->table->definition.column_count ||
		    !p->table->definition.columns[column].vector) {
			sqlite3_free(p->table->base.zErrMsg);
			p->table->base.zErrMsg = sqlite3_mprintf(
				"match in table %s: only a VECTOR column can be matched",
				name_shorten(p->table->name).text);
			return SQLITE_ERROR;
		}
		if (!info->aConstraint[i].usable)
			return SQLITE_CONSTRAINT;
		*match = i;
		matches++;
	}
	if (matches <= 1)
		return SQLITE_OK;
	sqlite3_free(p->table->base.zErrMsg);
	p->table->base.zErrMsg = sqlite3_mprintf(
		"match in table %s: two MATCH conditions on one table; join the table with itself instead",
		name_shorten(p->table->name).text);
	return SQLITE_ERROR;
}

/* --- the choice ---------------------------------------------------------------- */

/* Whether the query wants anything but the rowid. */
static bool reads_rows(const struct planning *p)
{
	int column = p->table->definition.rowid_column;
	sqlite3_uint64 used = p->info->colUsed;

	if (column >= 0 && column < 63)
		used &= ~((sqlite3_uint64)1 << column);
	return used != 0;
}

static int hand_over(struct planning *p)
{
	sqlite3_index_info *info = p->info;
	const struct plan *plan = &p->best;
	char *filter = NULL;

	for (int i = 0; i < plan->arg_count; i++) {
		info->aConstraintUsage[plan->args[i]].argvIndex = i + 1;
		info->aConstraintUsage[plan->args[i]].omit =
			plan->kind == PLAN_VECTOR || plan->kind == PLAN_ROWID ||
			plan->kind == PLAN_ROWID_RANGE;
		if (plan->letters[i] == ARG_IN)
			sqlite3_vtab_in(info, plan->args[i], 1);
	}
	info->idxNum = (int)(plan->kind |
	                     (plan->descending ? PLAN_DESCENDING : 0) |
	                     (plan->ordered ? PLAN_ORDERED : 0) |
	                     (reads_rows(p) ? PLAN_ROWS_READ : 0) |
	                     plan->equal_count << PLAN_EQUAL_SHIFT |
	                     plan->index << PLAN_INDEX_SHIFT);
	if (plan->kind == PLAN_VECTOR &&
	    vector_filter_plan(p->table, info, plan->arg_count, &filter))
		return SQLITE_NOMEM;
	info->idxStr = sqlite3_mprintf("%s%s", plan->letters,
	                               filter ? filter : "");
	sqlite3_free(filter);
	info->needToFreeIdxStr = 1;
	info->orderByConsumed = plan->ordered;
	info->estimatedCost = plan->cost;
	info->estimatedRows = (sqlite3_int64)plan->rows;
	info->idxFlags = plan->unique ? SQLITE_INDEX_SCAN_UNIQUE : 0;
	return info->idxStr ? SQLITE_OK : SQLITE_NOMEM;
}

int table_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	struct planning p = { .table = (struct table *)(void *)vtab,
	                      .info = info };
	int match, rc = find_match(&p, &match);

	if (rc)
		return rc;
	if (match >= 0) {
		rc = plan_vector(&p, match);
		return rc ? rc : hand_over(&p);
	}
	consider_scan(&p);
	consider_rowid(&p);
	for (uint32_t i = 0; i < p.table->definition.index_count; i++)
		if (p.table->definition.indexes[i].kind == INDEX_TREE)
			consider_index(&p, i);
	return hand_over(&p);
}
