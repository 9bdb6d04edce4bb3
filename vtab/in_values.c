/*
 * in_values.c - see in_values.h.
 *
 * SQLite lends arguments and list until xFilter returns; the walk goes on after it.
 */
#include "vtab/in_values.h"

static int no_memory(struct err *err)
{
	return err_set(err, ERR_NOMEM, "search", "index", "no memory for a list");
}

static int value_add(struct in_values *in, sqlite3_value *value, struct err *err)
{
	size_t room = in->room ? in->room * 2 : 16;
	sqlite3_value **larger;

	if (in->count == in->room) {
		larger = heap_resize(in->heap, in->values,
		                     room * sizeof *larger);
		if (!larger)
			return no_memory(err);
		in->values = larger;
		in->room = room;
	}
	in->values[in->count] = sqlite3_value_dup(value);
	if (!in->values[in->count])
		return no_memory(err);
	in->count++;
	return ERR_NONE;
}

static int list_take(struct in_values *in, sqlite3_value *list, struct err *err)
{
	bool numbers = false, texts = false;
	sqlite3_value *value;
	int step, rc = ERR_NONE;

	for (step = sqlite3_vtab_in_first(list, &value);
	     !rc && step == SQLITE_OK;
	     step = sqlite3_vtab_in_next(list, &value)) {
		int type = sqlite3_value_type(value);

		if (type == SQLITE_NULL)
			continue;
		numbers |= type == SQLITE_INTEGER || type == SQLITE_FLOAT;
		texts |= type == SQLITE_TEXT;
		rc = value_add(in, value, err);
	}
	in->mixed = numbers && texts;
	if (!rc && step != SQLITE_DONE)
		rc = step == SQLITE_NOMEM
		             ? no_memory(err)
		             : err_set(err, ERR_INVALID, "search", "index",
		                       "the list of IN cannot be read (%d)", step);
	return rc;
}

int in_values_take(struct in_values *in, int argc, sqlite3_value **argv, int which,
                   struct err *err)
{
	int rc = ERR_NONE;

	in->argv = heap_zeroed(in->heap, (size_t)argc * sizeof *in->argv);
	if (!in->argv)
		return no_memory(err);
	in->argc = argc;
	in->which = which;
	in->count = in->at = 0;
	for (int i = 0; !rc && i < argc; i++) {
		if (i == which)
			continue;
		in->argv[i] = sqlite3_value_dup(argv[i]);
		if (!in->argv[i])
			rc = no_memory(err);
	}
	if (!rc)
		rc = list_take(in, argv[which], err);
	if (rc)
		in_values_drop(in);
	return rc;
}

bool in_values_next(struct in_values *in)
{
	if (in->at == in->count)
		return false;
	in->argv[in->which] = in->values[in->at++];
	return true;
}

void in_values_drop(struct in_values *in)
{
	if (!in->argv)
		return;
	for (int i = 0; i < in->argc; i++)
		if (i != in->which)
			sqlite3_value_free(in->argv[i]);
	for (size_t i = 0; i < in->count; i++)
		sqlite3_value_free(in->values[i]);
	heap_free(in->heap, in->argv);
	in->argv = NULL;
	in->count = in->at = 0;
}

void in_values_close(struct in_values *in)
{
	in_values_drop(in);
	heap_free(in->heap, in->values);
	in->values = NULL;
	in->room = 0;
}
