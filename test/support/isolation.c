/*
 * isolation.c - judging a history: first each list by itself, then all together.
 */
#include "test/support/isolation_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_SHOWN = 4, OPERATIONS_SHOWN = 12 };

const char *isolation_name(enum isolation_anomaly anomaly)
{
	static const char *const names[ISOLATION_ANOMALIES] = {
		"a value from nowhere", "a value twice", "internal",
		"G1a (aborted read)", "G1b (intermediate read)",
		"incompatible orders", "a lost append", "a torn transaction",
		"G0 (dirty write)", "G1c (circular information flow)",
		"lost update", "G-single (read skew)", "write skew (G2)", "G2",
		"out of real time",
	};

	return names[anomaly];
}

char *isolation_find(struct isolation_work *work, enum isolation_anomaly anomaly)
{
	struct isolation_report *report = work->report;
	char *finding;

	report->found[anomaly]++;
	report->total++;
	/* The first of each kind, and more where there is room. */
	if (report->finding_count == ISOLATION_FINDINGS_MAX ||
	    (report->found[anomaly] > 2))
		return NULL;
	finding = report->finding[report->finding_count++];
	isolation_say(finding, "%s: ", isolation_name(anomaly));
	return finding;
}

void isolation_say(char *finding, const char *format, ...)
{
	size_t used;
	va_list arguments;

	if (!finding)
		return;
	used = strlen(finding);
	va_start(arguments, format);
	vsnprintf(finding + used, ISOLATION_FINDING_SIZE - used, format,
	          arguments);
	va_end(arguments);
}

static void say_operation(const struct isolation_work *work, char *finding,
                          const struct history_operation *operation)
{
	uint32_t first = operation->count > VALUES_SHOWN
	               ? operation->count - VALUES_SHOWN : 0;

	if (operation->kind == HISTORY_UNDO) {
		isolation_say(finding, "undo from operation %u", operation->key);
		return;
	}
	isolation_say(finding, "%s k%u", operation->kind == HISTORY_READ ? "r"
	              : "a", operation->key);
	if (operation->kind == HISTORY_READ)
		isolation_say(finding, " %u[%s", operation->count,
		              first ? ".." : "");
	for (uint32_t i = first; i < operation->count; i++)
		isolation_say(finding, " %llu", (unsigned long long)
		              work->history->values[operation->at + i]);
	if (operation->kind == HISTORY_READ)
		isolation_say(finding, " ]");
}

void isolation_say_transaction(const struct isolation_work *work, char *finding,
                               uint32_t transaction)
{
	static const char *const outcomes[] = { "ok", "failed", "unknown" };
	const struct history_transaction *t =
		&work->history->transactions[transaction];

	if (!finding)
		return;
	isolation_say(finding, "T%u (session %u, %s):", transaction, t->session,
	              outcomes[t->outcome]);
	for (uint32_t i = 0; i < t->operation_count && i < OPERATIONS_SHOWN;
	     i++) {
		isolation_say(finding, i ? ", " : " ");
		say_operation(work, finding, &work->history->operations[
		              t->operation_first + i]);
	}
	isolation_say(finding, t->operation_count > OPERATIONS_SHOWN ? ", ...\n"
	                                                             : "\n");
}

static void *needed(uint64_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		abort();
	return memory;
}

void isolation_check(const struct history *history,
                     struct isolation_report *report)
{
	struct isolation_work work = { .history = history, .report = report };
	uint64_t room = 64;

	memset(report, 0, sizeof *report);
	report->transactions = history->transaction_count;
	while (room < history->operation_count * 2)
		room *= 2;
	work.value_mask = room - 1;
	work.values = needed(room, sizeof *work.values);
	work.keys = needed(history->key_count, sizeof *work.keys);
	work.outside = needed(history->operation_count, sizeof *work.outside);
	work.committed = needed(history->transaction_count,
	                        sizeof *work.committed);
	isolation_orders(&work);
	isolation_cycles(&work);
	free(work.values);
	free(work.keys);
	free(work.outside);
	free(work.committed);
}
