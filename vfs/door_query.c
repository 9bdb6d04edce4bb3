/*
 * door_query.c - asks and sets what only PRAGMAs reach: timeout, modes, page size.
 *
 * A VFS has no other way to learn the busy timeout or to choose the pager's
 * journal mode. So it runs small statements on the user's own connection, from
 * inside its calls; each costs about a microsecond.
 *
 * Two traps. Running a statement sets the connection's count of busy-handler calls
 * to zero, and a handler that counts would never give up: statements go through
 * sqlite3_file_control(), which saves that count. And "PRAGMA schema.journal_mode"
 * reads the schema first, when it is not loaded: see D4 in door.h; while SQLite
 * reads a schema it refuses qualified PRAGMAs, so preparing an attached database
 * succeeds at its second read transaction.
 */
#include "vfs/door.h"

#include <stdio.h>
#include <string.h>

enum { SETTLE_TRIES = 16 };

static const char busy_timeout[] = "PRAGMA busy_timeout";

static int run(sqlite3 *db, struct door_query *query)
{
	sqlite3_stmt *statement = NULL;
	const unsigned char *text;
	int rc;

	query->number = 0;
	query->text[0] = 0;
	rc = sqlite3_prepare_v2(db, query->sql, -1, &statement, NULL);
	if (!rc)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		query->number = sqlite3_column_int64(statement, 0);
		text = sqlite3_column_text(statement, 0);
		snprintf(query->text, sizeof query->text, "%s",
		         text ? (const char *)text : "");
	}
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
	sqlite3_finalize(statement);
	return rc;
}

int door_query_run(struct door_file *file, struct door_query *query)
{
	int rc;

	file->nested++;
	rc = run(file->db, query);
	file->nested--;
	return rc;
}

/* As door_query_run(), with the count of busy-handler calls kept. */
static int query_quietly(struct door_file *file, const char *schema,
                         struct door_query *query)
{
	return sqlite3_file_control(file->db, schema, DOOR_FCNTL_QUERY, query);
}

static sqlite3_file *file_of_schema(sqlite3 *db, const char *schema)
{
	sqlite3_file *found = NULL;

	sqlite3_file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &found);
	return found;
}

static char *name_of_schema(struct door_file *file)
{
	sqlite3_stmt *statement = NULL;
	char *name = NULL;

	file->nested++;
	sqlite3_prepare_v2(file->db, "PRAGMA database_list", -1, &statement,
	                   NULL);
	while (!name && statement && sqlite3_step(statement) == SQLITE_ROW) {
		const char *candidate =
			(const char *)sqlite3_column_text(statement, 1);

		if (candidate &&
		    file_of_schema(file->db, candidate) == &file->base)
			name = sqlite3_mprintf("%s", candidate);
	}
	sqlite3_finalize(statement);
	file->nested--;
	return name;
}

void door_settle(struct door_file *file)
{
	sqlite3_file *main_file;

	if (!file->db || file->schema || file->settle_tries > SETTLE_TRIES)
		return;
	file->settle_tries++;
	main_file = file_of_schema(file->db, "main");
	file->attached = main_file != &file->base;
	file->main_foreign = file->attached && main_file &&
	                     main_file->pMethods != &door_methods;
	file->schema = file->attached ? name_of_schema(file)
	                              : sqlite3_mprintf("main");
	if (file->schema)
		file->settle_tries = 0;
}

/* Runs a PRAGMA on this schema; `format` holds one %w for its name. */
static int pragma(struct door_file *file, const char *format,
                  struct door_query *query)
{
	char *sql = sqlite3_mprintf(format, file->schema);
	int rc = SQLITE_NOMEM;

	if (sql) {
		query->sql = sql;
		rc = query_quietly(file, file->schema, query);
	}
	sqlite3_free(sql);
	return rc;
}

/* SQLite starts in journal_mode MEMORY, because door_open says the file is like
 * one in memory: so no super-journal, under which it would ignore an error of the
 * commit. DELETE, set afterwards, changes only where the rollback journal goes:
 * to door_journal.c instead of the heap. */
static void use_own_journal(struct door_file *file)
{
	struct door_query query;

	if (file->read_only)
		return;
	pragma(file, "PRAGMA \"%w\".journal_mode=delete", &query);
	if (strcmp(query.text, "delete") == 0)
		file->own_journal = true;
}

int door_map_size_set(struct door_file *file, bool maps)
{
	struct door_query query;
	int rc;

	file->cache.choosing = true;
	rc = pragma(file, maps ? "PRAGMA \"%w\".mmap_size=2147418112"
	                       : "PRAGMA \"%w\".mmap_size=0", &query);
	file->cache.choosing = false;
	return rc;
}

void door_pager_prepare(struct door_file *file)
{
	int rc = SQLITE_OK;

	door_settle(file);
	if (!file->schema || file->settle_tries > SETTLE_TRIES)
		return;
	file->settle_tries++;
	if (file->mmap_limit > 0 && !file->cache.borrows)
		rc = door_map_size_set(file, true);
	use_own_journal(file);
	file->prepared = !rc && (file->own_journal || file->read_only);
}

bool door_has_busy_statement(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;

	while ((statement = sqlite3_next_stmt(db, statement)) != NULL)
		if (sqlite3_stmt_busy(statement))
			return true;
	return false;
}

/* A SQLite compiled with another default page size than its own 4096 keeps it. */
static bool page_size_compiled(void)
{
	return sqlite3_compileoption_used("DEFAULT_PAGE_SIZE") &&
	       !sqlite3_compileoption_used("DEFAULT_PAGE_SIZE=4096");
}

/* A VACUUM INTO makes this database. Its page size is that of the source, which was
 * chosen when that one is ours, or what PRAGMA page_size asked for. */
static bool vacuum_chose(struct door_file *file)
{
	struct door_query own, source = { .sql = "PRAGMA main.page_size" };
	sqlite3_file *main_file = file_of_schema(file->db, "main");

	if (!door_vacuum_into_runs(file->db))
		return false;
	if (main_file && main_file->pMethods == &door_methods)
		return true;
	return !pragma(file, "PRAGMA \"%w\".page_size", &own) &&
	       !query_quietly(file, file->schema, &source) &&
	       own.number != source.number;
}

/* Unless the user chose. A made-up header at open would do it too, but would fix
 * auto_vacuum as well. Not for a backup (no statement), which brings its own page
 * size. The second PRAGMA takes back what the first left for the next VACUUM. */
void door_page_size_choose(struct door_file *file)
{
	struct door_query query;
	int reserved = DOOR_NEW_RESERVED;

	if (file->page_size_chosen || !file->schema ||
	    !door_has_busy_statement(file->db) || page_size_compiled() ||
	    vacuum_chose(file))
		return;
	if (pragma(file, "PRAGMA \"%w\".page_size=16384", &query) ||
	    pragma(file, "PRAGMA \"%w\".page_size=0", &query))
		return;
	sqlite3_file_control(file->db, file->schema, SQLITE_FCNTL_RESERVE_BYTES,
	                     &reserved);
}

int door_modes_check(struct door_file *file, struct err *err)
{
	struct door_query query = { .sql = "PRAGMA locking_mode" };

	if (!file->schema)
		return ERR_NONE;
	query_quietly(file, file->schema, &query);
	if (strcmp(query.text, "exclusive") == 0)
		return err_set(err, ERR_UNSUPPORTED, "read",
		               store_path(file->store),
		               "PRAGMA locking_mode=EXCLUSIVE is set on this connection, "
		               "under which its snapshot would never move; "
		               "set it to NORMAL");
	if (file->own_journal)
		use_own_journal(file);
	return ERR_NONE;
}

int64_t door_busy_timeout(struct door_file *file)
{
	struct door_query query = { .sql = busy_timeout };

	if (!file->db || file->main_foreign ||
	    query_quietly(file, "main", &query))
		return 0;
	return query.number;
}

int64_t vfs_busy_timeout(sqlite3 *db)
{
	struct door_query query = { .sql = busy_timeout };

	return run(db, &query) ? 0 : query.number;
}

void vfs_connection_prepare(sqlite3 *db)
{
	sqlite3_file_control(db, "main", DOOR_FCNTL_PREPARE, NULL);
}
