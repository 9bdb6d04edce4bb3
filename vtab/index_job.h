/*
 * index_job.h - one change of a table's indexes, on its way through the files that
 * make it; private to vtab/.
 *
 * index_ddl.c has the SQL functions and fills a job in; index_job.c takes it into a
 * transaction and an UPDATE of sqlite_schema; index_change.c does it there.
 */
#ifndef TURDB_VTAB_INDEX_JOB_H
#define TURDB_VTAB_INDEX_JOB_H

#include "vtab/table.h"

enum index_job_kind { JOB_CREATE, JOB_DROP, JOB_REINDEX };

struct index_job {
	enum index_job_kind kind;
	struct connection *connection;
	const char *schema, *name; /* of the table */
	struct table *table; /* found inside the transaction: it may be connected
	                        anew until then */
	const char *index;   /* its name */
	const char *columns, *index_kind, *options;
	struct arena arena;
	uint64_t result;
	int rc;
	struct err err;
};

/* "create index in table" */
const char *index_job_operation(const struct index_job *job);
/* Sets job->err; returns the code. */
int index_job_fail(struct index_job *job, int code, const char *why);
static inline int index_job_no_memory(struct index_job *job)
{
	return err_known(ERR_NOMEM, index_job_fail(job, ERR_NOMEM, "no memory"));
}

/* Does it, whole or not at all: job->rc, job->err, job->result. */
void index_job_run(struct index_job *job);

/* The SQL function in that UPDATE, turdb_index_job(statement, job). */
void index_job_step(sqlite3_context *context, int argc, sqlite3_value **argv);

/* Inside of it: files and dictionary change, *edited is what becomes of the table's
 * statement, in job->arena or the old one. A failure is for SQLite to roll back. */
int index_change(struct index_job *job, const char *statement,
                 const char **edited);

#endif
