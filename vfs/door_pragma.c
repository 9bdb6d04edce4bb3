/*
 * door_pragma.c - the PRAGMAs that a directory database answers or listens to.
 *
 * SQLite asks the file before it looks at a PRAGMA itself: when it prepares the
 * statement, EXPLAIN or not. SQLITE_NOTFOUND lets it go on; SQLITE_OK makes our
 * text the one row of the answer; another code is the statement's error, our text
 * its message. arguments[0] is our text, [1] the name, [2] the value or NULL.
 *
 *   journal_mode        is always "wal": the store has its own
 *   locking_mode        EXCLUSIVE is refused: snapshots need their locks
 *   synchronous         listened to, because a commit that touches only virtual
 *                       tables shows SQLite's setting in no other way
 *   page_size           listened to: 16 KB is only the default
 *   cache_size, mmap_size
 *                       listened to: see door_cache.c
 *   wal_checkpoint      runs the store's checkpoint, unless it is NOOP; SQLite answers 0|-1|-1
 *   turdb_read          visible: a read takes the newest commit; durable: and waits
 *                       until that is on disk
 *   turdb_cache_kb, turdb_checkpoint_mb, turdb_checkpoint_s
 *                       settings of the store: =N sets, the answer is the value
 */
#include "vfs/door.h"

#include <stdlib.h>
#include <string.h>

static int refuse(char **arguments, const char *sentence)
{
	arguments[0] = sqlite3_mprintf("%s", sentence);
	return SQLITE_ERROR;
}

static int answer(char **arguments, const char *text)
{
	arguments[0] = sqlite3_mprintf("%s", text);
	return arguments[0] ? SQLITE_OK : SQLITE_NOMEM;
}

static int fail(struct door_file *file, char **arguments, const struct err *err)
{
	int rc = vfs_report(file->environment, err);

	arguments[0] = sqlite3_mprintf("%s", err->text);
	return rc;
}

static int journal_mode(struct door_file *file, char **arguments)
{
	(void)file;
	return answer(arguments, "wal");
}

/* (rule 16) */
static int locking_mode(struct door_file *file, char **arguments)
{
	(void)file;
	if (arguments[2] && sqlite3_stricmp(arguments[2], "exclusive") == 0)
		return refuse(arguments,
		              "set locking_mode: EXCLUSIVE is not offered by a "
		              "TurDB directory, whose readers and writer never "
		              "block each other");
	return SQLITE_NOTFOUND;
}

/* As SQLite reads a safety level: a number, or a word; others mean NORMAL. */
static enum store_durability durability_of(const char *text)
{
	static const struct {
		const char *word;
		enum store_durability durability;
	} words[] = {
		{ "off", STORE_DURABLE_NEVER }, { "no", STORE_DURABLE_NEVER },
		{ "false", STORE_DURABLE_NEVER }, { "on", STORE_DURABLE_LATER },
		{ "yes", STORE_DURABLE_LATER }, { "true", STORE_DURABLE_LATER },
		{ "full", STORE_DURABLE_NOW }, { "extra", STORE_DURABLE_NOW },
	};
	int level;

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (sqlite3_stricmp(text, words[i].word) == 0)
			return words[i].durability;
	if (text[0] < '0' || text[0] > '9')
		return STORE_DURABLE_LATER;
	level = (int)((unsigned char)atoi(text) + 1) & 7;
	return level <= 1 ? STORE_DURABLE_NEVER
	     : level == 2 ? STORE_DURABLE_LATER : STORE_DURABLE_NOW;
}

static int synchronous(struct door_file *file, char **arguments)
{
	/* Inside a transaction SQLite refuses to change it. */
	if (arguments[2] && file->db && sqlite3_get_autocommit(file->db))
		file->durability = durability_of(arguments[2]);
	return SQLITE_NOTFOUND;
}

static int page_size(struct door_file *file, char **arguments)
{
	if (arguments[2])
		file->page_size_chosen = true;
	return SQLITE_NOTFOUND;
}

static int cache_size(struct door_file *file, char **arguments)
{
	if (arguments[2])
		door_cache_size_set(file, arguments[2]);
	return SQLITE_NOTFOUND;
}

static int mmap_size(struct door_file *file, char **arguments)
{
	if (arguments[2])
		file->cache.limit = -1;
	return SQLITE_NOTFOUND;
}

/* In a transaction SQLite's own answer is SQLITE_LOCKED. PASSIVE waits for nobody. */
static int wal_checkpoint(struct door_file *file, char **arguments)
{
	bool passive = !arguments[2] ||
	               sqlite3_stricmp(arguments[2], "passive") == 0;
	int64_t wait_ms = passive ? 0 : door_busy_timeout(file);
	struct err err;
	bool done;

	if (store_view_reading(file->view) || file->read_only ||
	    (arguments[2] && sqlite3_stricmp(arguments[2], "noop") == 0))
		return SQLITE_NOTFOUND;
	if (store_checkpoint_within(file->store, (uint64_t)wait_ms * 1000, &done,
	                            &err))
		return fail(file, arguments, &err);
	return SQLITE_NOTFOUND;
}

struct setting {
	const char *name;
	int64_t value;
};

static int match_setting(void *context, const char *name, int64_t value,
                         const char *what)
{
	struct setting *wanted = context;

	(void)what;
	if (strcmp(name, wanted->name) != 0)
		return 0;
	wanted->value = value;
	return 1;
}

/* Answers with what store_status() says now. */
static int answer_setting(struct door_file *file, const char *name,
                          char **arguments)
{
	struct setting setting = { .name = name };
	struct err err;

	store_status(file->store, match_setting, &setting, &err);
	arguments[0] = sqlite3_mprintf("%lld", (long long)setting.value);
	return arguments[0] ? SQLITE_OK : SQLITE_NOMEM;
}

/* Without a value *value is 0, which changes nothing. */
static int parse_setting(char **arguments, const char *what, uint32_t *value)
{
	char *end;
	long long number;

	*value = 0;
	if (!arguments[2])
		return SQLITE_OK;
	number = strtoll(arguments[2], &end, 10);
	if (*end || end == arguments[2] || number < 1 || number > INT32_MAX) {
		arguments[0] = sqlite3_mprintf("set %s: \"%s\" is not a number from "
		                               "1 to 2147483647", what, arguments[2]);
		return SQLITE_ERROR;
	}
	*value = (uint32_t)number;
	return SQLITE_OK;
}

static int cache_kb(struct door_file *file, char **arguments)
{
	uint32_t value;
	int rc = parse_setting(arguments, "turdb_cache_kb", &value);

	if (rc)
		return rc;
	store_configure(file->store, value, 0);
	return answer_setting(file, "cache_kb", arguments);
}

static int checkpoint_mb(struct door_file *file, char **arguments)
{
	uint32_t value;
	int rc = parse_setting(arguments, "turdb_checkpoint_mb", &value);

	if (rc)
		return rc;
	store_configure(file->store, 0, value);
	return answer_setting(file, "checkpoint_mb", arguments);
}

static int checkpoint_s(struct door_file *file, char **arguments)
{
	uint32_t value;
	int rc = parse_setting(arguments, "turdb_checkpoint_s", &value);

	if (rc)
		return rc;
	store_configure_checkpoint_s(file->store, value);
	return answer_setting(file, "checkpoint_s", arguments);
}

static int turdb_read(struct door_file *file, char **arguments)
{
	if (arguments[2] && sqlite3_stricmp(arguments[2], "durable") != 0 &&
	    sqlite3_stricmp(arguments[2], "visible") != 0) {
		arguments[0] = sqlite3_mprintf("set turdb_read: \"%s\" is neither "
		                               "visible nor durable",
		                               arguments[2]);
		return SQLITE_ERROR;
	}
	if (arguments[2])
		file->read_durable = sqlite3_stricmp(arguments[2],
		                                     "durable") == 0;
	return answer(arguments, file->read_durable ? "durable" : "visible");
}

/* SQLite says nothing of a PRAGMA that nobody knows. */
static int unknown(char **arguments)
{
	arguments[0] = sqlite3_mprintf(
		"set %s: there is no such setting; there are turdb_read, "
		"turdb_cache_kb, turdb_checkpoint_mb and turdb_checkpoint_s",
		arguments[1]);
	return SQLITE_ERROR;
}

int door_pragma(struct door_file *file, char **arguments)
{
	static const struct {
		const char *name;
		int (*run)(struct door_file *file, char **arguments);
	} pragmas[] = {
		{ "cache_size", cache_size },
		{ "journal_mode", journal_mode },
		{ "locking_mode", locking_mode },
		{ "mmap_size", mmap_size },
		{ "page_size", page_size },
		{ "synchronous", synchronous },
		{ "wal_checkpoint", wal_checkpoint },
		{ "turdb_read", turdb_read },
		{ "turdb_cache_kb", cache_kb },
		{ "turdb_checkpoint_mb", checkpoint_mb },
		{ "turdb_checkpoint_s", checkpoint_s },
	};

	if (file->nested) /* (vfs/door D3) */
		return SQLITE_NOTFOUND;
	for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++)
		if (sqlite3_stricmp(arguments[1], pragmas[i].name) == 0)
			return pragmas[i].run(file, arguments);
	return sqlite3_strnicmp(arguments[1], "turdb_", 6) == 0
	               ? unknown(arguments) : SQLITE_NOTFOUND;
}
