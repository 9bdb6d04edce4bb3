/*
 * isolation_order.c - what lists tell one by one, before any cycle is looked for.
 *
 * Own appends stand at the end of what a transaction reads; they are taken off, so
 * that what is left of each read is the work of others. The longest read of a list
 * is its order, and every other read must be a beginning of it.
 */
#include <stdlib.h>
#include <string.h>

#include "test/support/isolation_private.h"

/* --- values --------------------------------------------------------------------- */

static uint64_t hash(uint64_t value)
{
	value *= UINT64_C(0x9e3779b97f4a7c15);
	return value ^ value >> 32;
}

/* The entry of a value, or the empty one it would take. */
static struct isolation_value *seek(const struct isolation_work *work,
                                    uint64_t value)
{
	uint64_t at = hash(value) & work->value_mask;

	while (work->values[at].value && work->values[at].value != value + 1)
		at = (at + 1) & work->value_mask;
	return &work->values[at];
}

struct isolation_value *isolation_value_find(const struct isolation_work *work,
                                             uint64_t value)
{
	struct isolation_value *found = seek(work, value);

	return found->value ? found : NULL;
}

static void enter_appends(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];
	const struct history_operation *all = history->operations +
	                                      t->operation_first;

	for (uint32_t i = 0; i < t->operation_count; i++) {
		const struct history_operation *operation = &all[i];
		struct isolation_value *entry;

		if (operation->kind == HISTORY_APPEND) {
			entry = seek(work, history->values[operation->at]);
			*entry = (struct isolation_value){
				.value = history->values[operation->at] + 1,
				.transaction = transaction,
				.key = operation->key, .operation = i,
			};
		}
		if (operation->kind != HISTORY_UNDO)
			continue;
		for (uint32_t j = operation->key; j < i; j++)
			if (all[j].kind == HISTORY_APPEND)
				isolation_value_find(work, history->values[
					all[j].at])->undone = true;
	}
}

/* --- what a transaction sees of itself --------------------------------------------- */

/* Whether the append `j` had been undone before operation `i`. */
static bool is_undone_before(const struct history_operation *all, uint32_t j,
                             uint32_t i)
{
	for (uint32_t k = j + 1; k < i; k++)
		if (all[k].kind == HISTORY_UNDO && all[k].key <= j)
			return true;
	return false;
}

/* How many values at the end of read `i` are own; *whole false: some are missing. */
static uint32_t count_own(const struct history *history,
                          const struct history_operation *all, uint32_t i,
                          bool *whole)
{
	const uint64_t *list = history->values + all[i].at;
	uint32_t own = 0;

	*whole = true;
	for (uint32_t j = i; j-- > 0;) {
		if (all[j].kind != HISTORY_APPEND || all[j].key != all[i].key ||
		    is_undone_before(all, j, i))
			continue;
		if (own == all[i].count || list[all[i].count - 1 - own] !=
		                           history->values[all[j].at]) {
			*whole = false;
			return own;
		}
		own++;
	}
	return own;
}

static bool has_changed(const struct isolation_work *work,
                        const struct history_operation *all, uint64_t first,
                        uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (all[j].kind == HISTORY_READ && all[j].key == all[i].key &&
		    work->outside[first + j] != work->outside[first + i])
			return true;
	return false;
}

static void check_internal(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];
	const struct history_operation *all = history->operations +
	                                      t->operation_first;

	for (uint32_t i = 0; i < t->operation_count; i++) {
		uint32_t own;
		bool whole;

		if (all[i].kind != HISTORY_READ)
			continue;
		own = count_own(history, all, i, &whole);
		work->outside[t->operation_first + i] = all[i].count - own;
		if (!whole || has_changed(work, all, t->operation_first, i)) {
			char *finding = isolation_find(work, ISOLATION_INTERNAL);

			isolation_say(finding, whole
				? "k%u is another list at operation %u\n  "
				: "own appends to k%u are missing at operation %u\n  ",
				all[i].key, i);
			isolation_say_transaction(work, finding, transaction);
		}
	}
}

/* --- orders ----------------------------------------------------------------------------- */

/* What stands at one end of a finding about two transactions. */
static void say_two(struct isolation_work *work, char *finding,
                    uint32_t reader, uint32_t writer)
{
	isolation_say(finding, "\n  ");
	isolation_say_transaction(work, finding, reader);
	if (writer == NOBODY)
		return;
	isolation_say(finding, "  ");
	isolation_say_transaction(work, finding, writer);
}

static void learn_order(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];

	for (uint32_t i = 0; i < t->operation_count; i++) {
		uint64_t at = t->operation_first + i;
		const struct history_operation *read = &history->operations[at];
		struct isolation_key *key = &work->keys[read->key];

		if (read->kind != HISTORY_READ)
			continue;
		if (t->invoked > key->read_last)
			key->read_last = t->invoked;
		if (work->outside[at] > key->count) {
			key->order = history->values + read->at;
			key->count = work->outside[at];
		}
	}
}

/* Each value of an order: by whom, and only once. `reader` had read it. */
static void check_values(struct isolation_work *work, uint32_t key_no,
                         const uint64_t *list, uint32_t count, bool is_order,
                         uint32_t reader)
{
	for (uint32_t i = 0; i < count; i++) {
		struct isolation_value *value = isolation_value_find(work,
		                                                     list[i]);
		char *finding;

		if (!value || value->key != key_no) {
			finding = isolation_find(work, ISOLATION_GARBAGE);
			isolation_say(finding, "%llu in k%u",
			              (unsigned long long)list[i], key_no);
			say_two(work, finding, reader, NOBODY);
			continue;
		}
		if (is_order && value->place) {
			finding = isolation_find(work, ISOLATION_DUPLICATE);
			isolation_say(finding, "%llu in k%u",
			              (unsigned long long)list[i], key_no);
			say_two(work, finding, reader, value->transaction);
		} else if (is_order) {
			value->place = i + 1;
		}
		if (value->undone || work->history->transactions[
		    value->transaction].outcome == HISTORY_FAILED) {
			finding = isolation_find(work, value->transaction == reader
				? ISOLATION_INTERNAL : ISOLATION_ABORTED);
			isolation_say(finding, "%llu in k%u",
			              (unsigned long long)list[i], key_no);
			say_two(work, finding, reader, value->transaction);
		}
	}
}

static bool is_beginning(const struct isolation_key *key, const uint64_t *list,
                         uint32_t count)
{
	return count == 0 ||
	       memcmp(list, key->order, count * sizeof *list) == 0;
}

static void check_reads(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];

	for (uint32_t i = 0; i < t->operation_count; i++) {
		uint64_t at = t->operation_first + i;
		const struct history_operation *read = &history->operations[at];
		const uint64_t *list = history->values + read->at;
		const struct isolation_key *key = &work->keys[read->key];
		char *finding;

		if (read->kind != HISTORY_READ)
			continue;
		if (list == key->order && work->outside[at] &&
		    work->outside[at] == key->count)
			check_values(work, read->key, list, key->count, true,
			             transaction);
		if (is_beginning(key, list, work->outside[at]))
			continue;
		check_values(work, read->key, list, work->outside[at], false,
		             transaction);
		finding = isolation_find(work, ISOLATION_ORDER);
		isolation_say(finding, "a read of k%u is no beginning of the longest [",
		              read->key);
		for (uint32_t j = key->count > 6 ? key->count - 6 : 0;
		     j < key->count; j++)
			isolation_say(finding, " %llu",
			              (unsigned long long)key->order[j]);
		isolation_say(finding, " ]");
		say_two(work, finding, transaction, NOBODY);
	}
}

/* --- what became of appends -------------------------------------------------------------- */

/* Which transactions happened, and whether each did whole. */
static void judge_appends(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];
	const struct isolation_value *lost = NULL;
	uint32_t there = 0;
	char *finding;

	for (uint32_t i = 0; i < t->operation_count; i++) {
		const struct history_operation *operation =
			&history->operations[t->operation_first + i];
		const struct isolation_value *value;

		if (operation->kind != HISTORY_APPEND)
			continue;
		value = isolation_value_find(work, history->values[operation->at]);
		there += value->place != 0;
		/* A read that began after it returned must have it. */
		if (!value->place && !value->undone &&
		    (t->outcome == HISTORY_UNKNOWN ||
		     work->keys[value->key].read_last > t->completed))
			lost = value;
	}
	work->committed[transaction] = t->outcome == HISTORY_OK ||
		(t->outcome == HISTORY_UNKNOWN && there > 0);
	work->report->committed += work->committed[transaction];
	if (!lost || !work->committed[transaction])
		return;
	finding = isolation_find(work, there ? ISOLATION_TORN : ISOLATION_LOST);
	isolation_say(finding, "%llu is not in k%u\n  ",
	              (unsigned long long)lost->value - 1, lost->key);
	isolation_say_transaction(work, finding, transaction);
}

/* A read that ends between two appends of one other transaction. */
static void check_intermediate(struct isolation_work *work, uint32_t transaction)
{
	const struct history *history = work->history;
	const struct history_transaction *t = &history->transactions[transaction];

	for (uint32_t i = 0; i < t->operation_count; i++) {
		uint64_t at = t->operation_first + i;
		const struct history_operation *read = &history->operations[at];
		const struct isolation_key *key = &work->keys[read->key];
		const struct isolation_value *before, *after;
		uint32_t end = work->outside[at];
		char *finding;

		if (read->kind != HISTORY_READ || !end || end >= key->count)
			continue;
		before = isolation_value_find(work, key->order[end - 1]);
		after = isolation_value_find(work, key->order[end]);
		if (!before || !after ||
		    before->transaction != after->transaction ||
		    before->transaction == transaction)
			continue;
		finding = isolation_find(work, ISOLATION_INTERMEDIATE);
		isolation_say(finding, "k%u", read->key);
		say_two(work, finding, transaction, before->transaction);
	}
}

void isolation_orders(struct isolation_work *work)
{
	static void (*const steps[])(struct isolation_work *work,
	                             uint32_t transaction) = {
		enter_appends, check_internal, learn_order, check_reads,
		judge_appends, check_intermediate,
	};

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		for (uint32_t t = 0; t < work->history->transaction_count; t++)
			steps[i](work, t);
}
