/*
 * sql_rig.c - loads the library into the test program and gives it simulated
 * processes.
 *
 * The environment of a program is one; a simulated process is a table of system
 * calls and a set of open stores, put into it before the process opens something.
 * What is open already remembers its own.
 */
#include "test/support/sql_rig.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "test/sim/sim.h"
#include "vfs/store.h"

struct sqlite3_api_routines;
struct vfs_environment;

/* vfs/vfs.h would bring sqlite3ext.h, which takes SQLite's own functions away. */
struct vfs_environment *vfs_environment_find(void);
void sql_rig_environment_set(struct vfs_environment *environment, struct os *os,
                             struct store_environment *stores);
void sql_rig_environment_own(struct vfs_environment *environment);
int sql_rig_view_control(void);
void sql_rig_environment_last_error(struct vfs_environment *environment,
                                    char text[ERR_TEXT_SIZE]);
struct heap *sql_rig_environment_heap(struct vfs_environment *environment);
int sqlite3_turdb_init(sqlite3 *db, char **message,
                       const struct sqlite3_api_routines *api);

static int load(sqlite3 *db, char **message,
                const struct sqlite3_api_routines *api)
{
	sqlite3_turdb_init(db, message, api);
	return SQLITE_OK;
}

/* An auto-extension is how a program gets at the routines an extension is given. */
int sql_rig_start(struct err *err)
{
	static int started;
	sqlite3 *db = NULL;
	int rc = SQLITE_OK;

	if (started)
		return ERR_NONE;
	rc = sqlite3_auto_extension((void (*)(void))load);
	if (!rc)
		rc = sqlite3_open(":memory:", &db);
	sqlite3_close(db);
	sqlite3_cancel_auto_extension((void (*)(void))load);
	started = rc == SQLITE_OK;
	if (started)
		sql_rig_environment_own(vfs_environment_find());
	return rc ? err_set(err, ERR_IO, "load", "turdb", "SQLite says %d", rc)
	          : ERR_NONE;
}

struct heap *sql_rig_heap(void)
{
	return sql_rig_environment_heap(vfs_environment_find());
}

/* --- processes ------------------------------------------------------------------- */

int sql_process_start(struct sql_process *process, struct sim_disk *disk,
                      struct err *err)
{
	memset(process, 0, sizeof *process);
	process->os = sim_process_open(disk);
	return store_environment_open(process->os, sql_rig_heap(),
	                              &process->stores, err);
}

void sql_process_end(struct sql_process *process)
{
	sql_close(process);
	store_environment_close(process->stores);
	if (process->os)
		sim_process_close(process->os);
	memset(process, 0, sizeof *process);
}

static int failed(sqlite3 *db, const char *sql, struct err *err)
{
	static const struct {
		int result, code;
	} codes[] = {
		{ SQLITE_BUSY, ERR_BUSY }, { SQLITE_FULL, ERR_FULL },
		{ SQLITE_NOMEM, ERR_NOMEM }, { SQLITE_CORRUPT, ERR_CORRUPT },
	};
	int result = sqlite3_errcode(db) & 0xff, code = ERR_IO;
	char message[256], start[64], sentence[ERR_TEXT_SIZE];

	snprintf(message, sizeof message, "%s (%d)", sqlite3_errmsg(db),
	         sqlite3_extended_errcode(db));
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].result == result)
			code = codes[i].code;
	sql_rig_environment_last_error(vfs_environment_find(), sentence);
	snprintf(start, sizeof start, "%s", sql);
	err_set(err, code, "run", start, "%s; %s", message, sentence);
	return code;
}

int sql_open(struct sql_process *process, const char *parameters,
             struct err *err)
{
	char uri[128];
	int rc;

	snprintf(uri, sizeof uri, "file:/app?vfs=turdb%s", parameters);
	sql_rig_environment_set(vfs_environment_find(), process->os,
	                        process->stores);
	rc = sqlite3_open_v2(uri, &process->db, SQLITE_OPEN_READWRITE |
	                     SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
	if (!rc) {
		/* Who takes over from a dead writer may find its last commit. */
		sqlite3_busy_timeout(process->db, 1000);
		return ERR_NONE;
	}
	rc = failed(process->db, "open", err);
	sqlite3_close(process->db);
	process->db = NULL;
	return rc;
}

void sql_close(struct sql_process *process)
{
	sqlite3_close(process->db);
	process->db = NULL;
}

struct store_view *sql_rig_view(sqlite3 *db)
{
	struct store_view *view = NULL;

	sqlite3_file_control(db, "main", sql_rig_view_control(), &view);
	return view;
}

/* --- statements -------------------------------------------------------------------- */

int sql_run(sqlite3 *db, const char *sql, struct err *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) ? failed(db, sql, err)
	                                               : ERR_NONE;
}

static int first_row(sqlite3 *db, const char *sql, sqlite3_stmt **statement,
                     struct err *err)
{
	int rc = sqlite3_prepare_v2(db, sql, -1, statement, NULL);

	if (!rc)
		rc = sqlite3_step(*statement);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_NONE;
	rc = failed(db, sql, err);
	sqlite3_finalize(*statement);
	return rc;
}

int sql_number(sqlite3 *db, const char *sql, int64_t *number, struct err *err)
{
	sqlite3_stmt *statement;
	int rc = first_row(db, sql, &statement, err);

	if (rc)
		return rc;
	*number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return ERR_NONE;
}

int sql_expect_text(sqlite3 *db, const char *sql, const char *expected,
                    struct err *err)
{
	sqlite3_stmt *statement;
	const char *text;
	int rc = first_row(db, sql, &statement, err);

	if (rc)
		return rc;
	text = (const char *)sqlite3_column_text(statement, 0);
	if (!text && sqlite3_errcode(db) == SQLITE_NOMEM)
		rc = failed(db, sql, err);
	else if (!text || strcmp(text, expected) != 0)
		rc = err_set(err, ERR_CORRUPT, "run", sql, "it says %s",
		             text ? text : "nothing");
	sqlite3_finalize(statement);
	return rc;
}

int sql_expect_sound(sqlite3 *db, struct err *err)
{
	int rc = sql_expect_text(db, "PRAGMA integrity_check", "ok", err);

	return rc ? rc : sql_expect_text(db, "SELECT turdb_check()", "ok", err);
}

static int digest_rows(sqlite3 *db, const char *sql, XXH3_state_t *state,
                       struct err *err)
{
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	while (!rc && sqlite3_step(statement) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(statement); i++) {
			int type = sqlite3_column_type(statement, i);
			const void *bytes = sqlite3_column_blob(statement, i);
			int size = sqlite3_column_bytes(statement, i);

			XXH3_64bits_update(state, &type, sizeof type);
			XXH3_64bits_update(state, &size, sizeof size);
			if (size && bytes)
				XXH3_64bits_update(state, bytes, (size_t)size);
		}
	if (!rc)
		rc = sqlite3_reset(statement);
	rc = rc ? failed(db, sql, err) : ERR_NONE;
	sqlite3_finalize(statement);
	return rc;
}

int sql_digest(sqlite3 *db, uint64_t *digest, struct err *err)
{
	static const char tables[] =
		"SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name";
	XXH3_state_t *state = XXH3_createState();
	sqlite3_stmt *statement = NULL;
	int rc;

	XXH3_64bits_reset(state);
	rc = digest_rows(db, tables, state, err);
	if (!rc && sqlite3_prepare_v2(db, tables, -1, &statement, NULL))
		rc = failed(db, tables, err);
	while (!rc && sqlite3_step(statement) == SQLITE_ROW) {
		char *sql = sqlite3_mprintf("SELECT rowid, * FROM \"%w\" ORDER BY rowid",
			sqlite3_column_text(statement, 0));

		rc = sql ? digest_rows(db, sql, state, err)
		         : err_set(err, ERR_NOMEM, "read", "tables", "no memory");
		sqlite3_free(sql);
	}
	/* The list of tables may have ended early. */
	if (!rc && sqlite3_reset(statement))
		rc = failed(db, tables, err);
	sqlite3_finalize(statement);
	*digest = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return rc;
}
