/*
 * door_copy.c - where SQLite's own ways to copy a database miss turdb tables.
 *
 * VACUUM INTO and the backup API copy SQLite's own pages. The statements of turdb
 * tables lie there, what the tables hold does not.
 *
 * VACUUM INTO   The copy has the ordinary tables, and turdb tables that can only say
 *               that their rows are elsewhere. Nothing in SQLite's modules tells of
 *               it, but a VACUUM INTO opens its file before it reads: who finds that
 *               a database was opened since it last looked, looks whether such a
 *               statement runs. Its message goes to sqlite3_log() and
 *               turdb_last_error(): the copy is made.
 * Backup from   The same, and nothing can tell.
 * Backup into   Would put another schema over tables that stay: theirs would be
 *               rows without a table, or under the table of the same name in the
 *               other database. It is refused. A backup writes while no statement
 *               of the connection runs; nothing else does.
 */
#include "vfs/door.h"

#include <string.h>

static int count_table(void *context, const struct store_file_info *info)
{
	*(unsigned *)context += info->kind == STORE_FILE_TABLE;
	return 0;
}

static unsigned count_tables(struct door_file *file)
{
	unsigned count = 0;
	struct err err;

	if (store_file_each(file->view, count_table, &count, &err))
		return 0;
	return count;
}

/* The first character that is neither space nor comment. */
static const char *skip_space(const char *sql)
{
	for (;;) {
		const char *end = NULL;

		if (*sql == ' ' || (*sql >= '\t' && *sql <= '\r') || *sql == ';')
			end = sql;
		else if (strncmp(sql, "--", 2) == 0)
			end = strchr(sql, '\n');
		else if (strncmp(sql, "/*", 2) == 0 && (end = strstr(sql, "*/")))
			end++;
		if (!end)
			return sql;
		sql = end + 1;
	}
}

static bool copies_by_vacuum(sqlite3_stmt *statement)
{
	const char *sql = sqlite3_sql(statement);

	if (!sql || sqlite3_stmt_readonly(statement))
		return false;
	sql = skip_space(sql);
	return sqlite3_strnicmp(sql, "vacuum", 6) == 0 &&
	       sqlite3_strlike("%into%", sql, 0) == 0;
}

bool door_vacuum_into_runs(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;

	while ((statement = sqlite3_next_stmt(db, statement)) != NULL)
		if (sqlite3_stmt_busy(statement) && copies_by_vacuum(statement))
			return true;
	return false;
}

void door_copy_look(struct door_file *file)
{
	unsigned count;
	struct err err;

	file->opens_seen = atomic_load_explicit(
		&file->environment->open_calls, memory_order_relaxed);
	if (!file->db || !door_vacuum_into_runs(file->db))
		return;
	count = count_tables(file);
	if (!count)
		return;
	err_set(&err, ERR_UNSUPPORTED, "VACUUM INTO", store_path(file->store),
	        "what its turdb tables (%u) hold is not in SQLite's own pages and not "
	        "in the copy; copy databases with turdb_backup()", count);
	vfs_report(file->environment, &err);
}

int door_copy_refuse(struct door_file *file)
{
	unsigned count;
	struct err err;

	if (!file->db || door_has_busy_statement(file->db))
		return SQLITE_OK;
	count = count_tables(file);
	if (!count)
		return SQLITE_OK;
	err_set(&err, ERR_READONLY, "copy a database into",
	        store_path(file->store),
	        "it has turdb tables (%u), which a backup over them would leave "
	        "behind without their schema; copy into a new directory, or drop "
	        "them first", count);
	return vfs_report(file->environment, &err);
}
