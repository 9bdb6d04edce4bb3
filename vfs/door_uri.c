/*
 * door_uri.c - what the URI of an opening says: file:app?vfs=turdb&cache_kb=4096.
 *
 *   cache_kb        private copies of pages before they are written out early
 *   checkpoint_mb   length of the log that starts a checkpoint
 *   heap_kb         a limit for all of this library's memory in the process
 *   turdb_lose_after
 *                   the number that a refused opening has named: go on without
 *                   the commits after it, which a damaged log no longer has
 *   mmap            0: SQLite reads copies of pages, not from maps
 *   immutable       SQLite's: nobody writes, so no locks and no shared memory
 *   cache, nolock   SQLite's: shared cache and nolock=1 are refused
 *
 * A value that is not understood refuses the opening: a limit that silently is not
 * one would be met when it is too late. Names are not ours alone: other VFSes and
 * programs put theirs into URIs, and those are ignored, as SQLite does. Only what
 * begins with "turdb_" must be known.
 */
#include "vfs/door.h"

#include <string.h>

struct number {
	const char *name, *unit;
	size_t at; /* in struct door_uri: uint32_t */
};

static const struct number numbers[] = {
	{ "cache_kb", "kilobytes", offsetof(struct door_uri, cache_kb) },
	{ "checkpoint_mb", "megabytes", offsetof(struct door_uri, checkpoint_mb) },
	{ "heap_kb", "kilobytes", offsetof(struct door_uri, heap_kb) },
};

static const char prefix[] = "turdb_";
static const char lose_after[] = "turdb_lose_after";

static int refuse_value(struct err *err, const char *name, const char *what,
                        const char *allowed)
{
	return err_set(err, ERR_CANTOPEN, "open database", name,
	               "its URI says %s=%s, but %s is %s", what,
	               sqlite3_uri_parameter(name, what), what, allowed);
}

static int read_number(const char *name, const struct number *number,
                       struct door_uri *uri, struct err *err)
{
	sqlite3_int64 value = sqlite3_uri_int64(name, number->name, -1);
	uint32_t small = (uint32_t)value;
	char allowed[80];

	if (!sqlite3_uri_parameter(name, number->name))
		return ERR_NONE;
	if (value < 1 || value > INT32_MAX) {
		sqlite3_snprintf(sizeof allowed, allowed,
		                 "a whole number of %s from 1 to %d",
		                 number->unit, INT32_MAX);
		return refuse_value(err, name, number->name, allowed);
	}
	memcpy((uint8_t *)uri + number->at, &small, sizeof small);
	return ERR_NONE;
}

/* What SQLite takes for yes or no comes back the same, whatever the default. */
static int read_boolean(const char *name, const char *what, bool *value,
                        struct err *err)
{
	bool yes = sqlite3_uri_boolean(name, what, 1) != 0;
	bool no = sqlite3_uri_boolean(name, what, 0) == 0;

	if (!sqlite3_uri_parameter(name, what))
		return ERR_NONE;
	if (yes && no)
		return refuse_value(err, name, what, "0 or 1");
	*value = yes;
	return ERR_NONE;
}

static int read_lose_after(const char *name, struct door_uri *uri,
                           struct err *err)
{
	sqlite3_int64 value = sqlite3_uri_int64(name, lose_after, -1);

	if (!sqlite3_uri_parameter(name, lose_after))
		return ERR_NONE;
	if (value < 1)
		return refuse_value(err, name, lose_after,
		                    "the number of a transaction, which a refused opening has named");
	uri->lose_after = (uint64_t)value;
	return ERR_NONE;
}

/* "cache_kb, checkpoint_mb, heap_kb and turdb_lose_after" */
static const char *list_parameters(char list[160])
{
	size_t used = 0;

	list[0] = 0;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		sqlite3_snprintf((int)(160 - used), list + used, "%s%s",
		                 i ? ", " : "", numbers[i].name);
		used = strlen(list);
	}
	sqlite3_snprintf((int)(160 - used), list + used, " and %s", lose_after);
	return list;
}

static int refuse_unknown(const char *name, struct err *err)
{
	const char *key;
	char list[160];

	for (int i = 0; (key = sqlite3_uri_key(name, i)) != NULL; i++)
		if (sqlite3_strnicmp(key, prefix, sizeof prefix - 1) == 0 &&
		    strcmp(key, lose_after) != 0)
			return err_set(err, ERR_CANTOPEN, "open database", name,
			               "its URI says %s, which is no parameter; there are %s",
			               key, list_parameters(list));
	return ERR_NONE;
}

static int refuse_unoffered(const char *name, bool nolock, bool immutable,
                            struct err *err)
{
	const char *cache = sqlite3_uri_parameter(name, "cache");

	if (cache && strcmp(cache, "shared") == 0)
		return err_set(err, ERR_CANTOPEN, "open database", name,
		               "shared cache is not offered: several connections would share one snapshot; "
		               "open it without cache=shared");
	if (nolock && !immutable)
		return err_set(err, ERR_CANTOPEN, "open database", name,
		               "nolock=1 is not offered: snapshots begin and end with SQLite's locks; "
		               "on read-only media say immutable=1");
	return ERR_NONE;
}

int door_uri_read(const char *name, struct door_uri *uri, struct err *err)
{
	struct door_uri read = { .mmap = true };
	bool nolock = false;
	int rc = refuse_unknown(name, err);

	for (size_t i = 0; !rc && i < sizeof numbers / sizeof numbers[0]; i++)
		rc = read_number(name, &numbers[i], &read, err);
	if (!rc)
		rc = read_lose_after(name, &read, err);
	if (!rc)
		rc = read_boolean(name, "immutable", &read.immutable, err);
	if (!rc)
		rc = read_boolean(name, "mmap", &read.mmap, err);
	if (!rc)
		rc = read_boolean(name, "nolock", &nolock, err);
	if (!rc)
		rc = refuse_unoffered(name, nolock, read.immutable, err);
	if (!rc)
		*uri = read;
	return rc;
}
