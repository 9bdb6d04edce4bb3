/*
 * index_job.c - a change of a table's indexes in one transaction with its statement.
 *
 * Purpose       An index is a file of the home, an id in the table's dictionary
 *               entry and an item in the statement that sqlite_schema keeps. All
 *               three change in one transaction, and the schema cookie is raised:
 *               so every connection, this one too, reads the statement again and
 *               connects the table anew before its next use of it.
 * Architecture  The work is done inside an UPDATE of sqlite_schema, by a function
 *               that gives the new statement: there SQLite holds the write lock,
 *               and what fails with an interrupt, a full disk or no memory makes
 *               it roll the transaction back, as in its own CREATE INDEX. Every
 *               other failure goes back to a savepoint around the whole.
 * Safety        (J1) The statement, the dictionary entry and the files of a table's
 *               indexes change together, or none of them does.
 *               (J2) No statement that writes may be under way: it would go on with the
 *               table as it was and not know of the index.
 */
#include "vtab/index_job.h"

static const char job_type[] = "turdb_index_job";

const char *index_job_operation(const struct index_job *job)
{
	switch (job->kind) {
	case JOB_CREATE:
		return "create index in table";
	case JOB_DROP:
		return "drop index of table";
	case JOB_REINDEX:
		break;
	}
	return "reindex table";
}

int index_job_fail(struct index_job *job, int code, const char *why)
{
	return err_set(&job->err, code, index_job_operation(job),
	               job->name ? name_shorten(job->name).text : "", "%s",
	               why);
}

/* --- inside the UPDATE ----------------------------------------------------------- */

void index_job_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct index_job *job = sqlite3_value_pointer(argv[1], job_type);
	const char *statement = (const char *)sqlite3_value_text(argv[0]);
	const char *edited = NULL;

	(void)argc;
	if (!job || !statement) {
		sqlite3_result_error(context,
		                     "use turdb_create_index(), turdb_drop_index() or turdb_reindex()",
		                     -1);
		return;
	}
	job->rc = index_change(job, statement, &edited);
	if (!job->rc) {
		sqlite3_result_text(context, edited, -1, SQLITE_TRANSIENT);
		return;
	}
	vfs_result_error(context, &job->err);
}

/* --- around it ------------------------------------------------------------------- */

static int run_sql(struct index_job *job, const char *format)
{
	sqlite3 *db = job->connection->db;
	char *sql = sqlite3_mprintf(format, job->schema);
	int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (rc && !job->rc)
		job->rc = index_job_fail(job, err_of_sqlite(rc),
		                   why_of_sqlite(db, rc));
	return job->rc;
}

static int schema_number(struct index_job *job, const char *format, int *number)
{
	sqlite3 *db = job->connection->db;
	char *sql = sqlite3_mprintf(format, job->schema);
	sqlite3_stmt *statement = NULL;
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (!rc)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		*number = sqlite3_column_int(statement, 0);
	rc = rc == SQLITE_ROW ? ERR_NONE
	                      : index_job_fail(job, err_of_sqlite(rc),
	                                 why_of_sqlite(db, rc));
	sqlite3_finalize(statement);
	return rc;
}

static int raise_cookie(struct index_job *job)
{
	char sql[80];
	int cookie = 0;

	job->rc = schema_number(job, "PRAGMA \"%w\".schema_version", &cookie);
	if (job->rc)
		return job->rc;
	sqlite3_snprintf(sizeof sql, sql, "PRAGMA \"%%w\".schema_version = %d",
	                 cookie == INT32_MAX ? 1 : cookie + 1);
	return run_sql(job, sql);
}

static int update_statement(struct index_job *job)
{
	sqlite3 *db = job->connection->db;
	char *sql = sqlite3_mprintf(
		"UPDATE \"%w\".sqlite_schema SET sql = turdb_index_job(sql, ?1) WHERE type = 'table' AND name = ?2",
		job->schema);
	sqlite3_stmt *statement = NULL;
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (!rc) {
		sqlite3_bind_pointer(statement, 1, job, job_type, NULL);
		sqlite3_bind_text(statement, 2, job->name, -1, SQLITE_STATIC);
		rc = sqlite3_step(statement);
	}
	if (rc != SQLITE_DONE && !job->rc)
		job->rc = index_job_fail(job, err_of_sqlite(rc),
		                   why_of_sqlite(db, rc));
	else if (!job->rc && sqlite3_changes(db) != 1)
		job->rc = index_job_fail(job, ERR_CORRUPT,
		                   "sqlite_schema has not one such table");
	sqlite3_finalize(statement);
	return job->rc;
}

/* sqlite_schema may be written only with writable_schema on, and never under
 * DEFENSIVE. */
static int rewrite_schema(struct index_job *job)
{
	sqlite3 *db = job->connection->db;
	int was = 0;

	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &was);
	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
	update_statement(job);
	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, was, NULL);
	return job->rc ? job->rc : raise_cookie(job);
}

static int refuse_defensive(struct index_job *job)
{
	int defensive = 0;

	sqlite3_db_config(job->connection->db, SQLITE_DBCONFIG_DEFENSIVE, -1,
	                  &defensive);
	if (!defensive)
		return ERR_NONE;
	return index_job_fail(job, ERR_READONLY,
	                "SQLITE_DBCONFIG_DEFENSIVE is on (.dbconfig defensive in the shell), and the table's statement in sqlite_schema would have to change");
}

/* (J2) */
static int refuse_writers(struct index_job *job)
{
	sqlite3 *db = job->connection->db;

	for (sqlite3_stmt *statement = sqlite3_next_stmt(db, NULL); statement;
	     statement = sqlite3_next_stmt(db, statement))
		if (sqlite3_stmt_busy(statement) &&
		    !sqlite3_stmt_readonly(statement))
			return index_job_fail(job, ERR_LOCKED,
			                "a statement of this connection that writes is under way; call it in a SELECT of its own");
	return ERR_NONE;
}

/* (J1) */
void index_job_run(struct index_job *job)
{
	bool own = sqlite3_get_autocommit(job->connection->db);
	struct err kept;
	int rc;

	job->rc = refuse_defensive(job);
	if (!job->rc)
		job->rc = refuse_writers(job);
	if (job->rc || run_sql(job, "SAVEPOINT turdb_index_ddl"))
		return;
	if (!rewrite_schema(job) && !run_sql(job, "RELEASE turdb_index_ddl")) {
		/* This connection reads the schema anew now, not when it happens to
		 * look at the cookie. */
		run_sql(job, "SELECT 1 FROM \"%w\".sqlite_schema LIMIT 0");
		return;
	}
	/* There is none any more when SQLite has rolled the transaction back. After
	 * damage it takes nothing but a ROLLBACK. */
	rc = job->rc;
	kept = job->err;
	run_sql(job, own ? "ROLLBACK" : "ROLLBACK TO turdb_index_ddl");
	if (!own)
		run_sql(job, "RELEASE turdb_index_ddl");
	job->rc = rc;
	job->err = kept;
}
