/*
 * index_ddl.c - turdb_create_index(), turdb_drop_index(), turdb_reindex().
 *
 *   turdb_create_index(name, table, columns [, kind [, options]])  entries made
 *   turdb_drop_index(name [, if_exists])                           1, or 0 when there is none
 *   turdb_reindex(table)                                           indexes made anew
 *
 * Here: what was given, and which table it means. How it is done: index_job.h.
 */
#include "vtab/index_job.h"

#include <string.h>

/* --- jobs ------------------------------------------------------------------------ */

static void job_open(struct index_job *job, enum index_job_kind kind,
                     struct connection *connection)
{
	memset(job, 0, sizeof *job);
	job->kind = kind;
	job->connection = connection;
	arena_init(&job->arena, connection->heap);
}

static int job_table(struct index_job *job, const struct table *table)
{
	int rc = table_refuse_computing(table, "change indexes of table",
	                                &job->err);

	if (rc)
		return rc;
	job->schema = arena_string(&job->arena, table->schema,
	                           strlen(table->schema));
	job->name = arena_string(&job->arena, table->name, strlen(table->name));
	return job->schema && job->name ? ERR_NONE : index_job_no_memory(job);
}

static int job_find(struct index_job *job, const char *name)
{
	struct table *table;
	int rc = table_find(job->connection, name, &table, NULL, &job->err);

	return rc ? rc : job_table(job, table);
}

static void job_result(sqlite3_context *context, struct index_job *job)
{
	arena_close(&job->arena);
	if (!job->rc) {
		sqlite3_result_int64(context, (sqlite3_int64)job->result);
		return;
	}
	if (job->rc != ERR_CONSTRAINT)
		vfs_report(job->connection->environment.process, &job->err);
	vfs_result_error(context, &job->err);
	if (job->rc == ERR_CONSTRAINT)
		sqlite3_result_error_code(context, SQLITE_CONSTRAINT_UNIQUE);
}

/* --- the functions --------------------------------------------------------------- */

static const char *text_of(int argc, sqlite3_value **argv, int i)
{
	return i < argc ? (const char *)sqlite3_value_text(argv[i]) : NULL;
}

static int check_arguments(struct index_job *job)
{
	static const char *const kinds[] = { "", "tree", "unique", "hnsw" };
	bool known = !job->index_kind;

	for (unsigned i = 0; i < 4 && !known; i++)
		known = sqlite3_stricmp(job->index_kind, kinds[i]) == 0;
	if (!known)
		return err_set(&job->err, ERR_INVALID, "create index",
		               name_shorten(job->index).text,
		               "its kind is 'unique' or 'hnsw', not '%.40s'",
		               job->index_kind);
	if (job->options && *job->options &&
	    (!job->index_kind || sqlite3_stricmp(job->index_kind, "hnsw") != 0))
		return err_set(&job->err, ERR_INVALID, "create index",
		               name_shorten(job->index).text,
		               "only 'hnsw' takes options, not '%.40s'",
		               job->options);
	return ERR_NONE;
}

static void create_index(sqlite3_context *context, int argc,
                         sqlite3_value **argv)
{
	struct index_job job;
	const char *table = text_of(argc, argv, 1);

	job_open(&job, JOB_CREATE, sqlite3_user_data(context));
	job.index = text_of(argc, argv, 0);
	job.columns = text_of(argc, argv, 2);
	job.index_kind = text_of(argc, argv, 3);
	job.options = text_of(argc, argv, 4);
	if (!job.index || !*job.index || !table || !job.columns)
		job.rc = err_set(&job.err, ERR_INVALID, "create index", "",
		                 "give it as turdb_create_index(name, table, columns [, 'unique' | 'hnsw' [, options]])");
	else
		job.rc = check_arguments(&job);
	if (!job.rc)
		job.rc = job_find(&job, table);
	if (!job.rc)
		index_job_run(&job);
	job_result(context, &job);
}

static void reindex_table(sqlite3_context *context, int argc,
                          sqlite3_value **argv)
{
	struct index_job job;
	const char *table = text_of(argc, argv, 0);

	job_open(&job, JOB_REINDEX, sqlite3_user_data(context));
	job.rc = table ? job_find(&job, table)
	               : err_set(&job.err, ERR_INVALID, "reindex table", "",
	                         "no table is named");
	if (!job.rc)
		index_job_run(&job);
	job_result(context, &job);
}

/* Whether `name` means this index: index, table.index, schema.index or
 * schema.table.index. */
static bool index_is_named(const struct table *table,
                           const struct index_definition *index,
                           const char *name)
{
	char *forms[3];
	bool is = sqlite3_stricmp(index->name, name) == 0;

	forms[0] = sqlite3_mprintf("%s.%s", table->name, index->name);
	forms[1] = sqlite3_mprintf("%s.%s", table->schema, index->name);
	forms[2] = sqlite3_mprintf("%s.%s.%s", table->schema, table->name,
	                           index->name);
	for (unsigned i = 0; i < 3; i++) {
		is = is || (forms[i] && sqlite3_stricmp(forms[i], name) == 0);
		sqlite3_free(forms[i]);
	}
	return is;
}

struct index_search {
	struct index_job *job;
	const char *name;    /* as the user gave it */
	char other[200];     /* a second one of that name */
};

static int look_into(struct table *table, void *context)
{
	struct index_search *search = context;
	struct index_job *job = search->job;
	int rc = ERR_NONE;

	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		const char *name = table->definition.indexes[i].name;

		if (!index_is_named(table, &table->definition.indexes[i],
		                    search->name))
			continue;
		if (job->name) {
			sqlite3_snprintf(sizeof search->other, search->other,
			                 "%s.%s", table->schema,
			                 name_shorten(table->name).text);
			return ERR_NONE;
		}
		rc = job_table(job, table);
		job->index = arena_string(&job->arena, name, strlen(name));
		if (!rc && !job->index)
			rc = index_job_no_memory(job);
	}
	return rc;
}

static void find_index(struct index_job *job, const char *name, bool if_exists)
{
	struct index_search search = { .job = job, .name = name };

	job->rc = table_each(job->connection, NULL, look_into, &search,
	                     &job->err);
	if (job->rc)
		return;
	if (!job->name && !if_exists)
		job->rc = err_set(&job->err, ERR_MISSING, "drop index",
		                  name_shorten(name).text,
		                  "there is no such index");
	else if (search.other[0])
		job->rc = err_set(&job->err, ERR_INVALID, "drop index",
		                  name_shorten(name).text,
		                  "tables %s.%s and %s have one: name it schema.table.index",
		                  job->schema, name_shorten(job->name).text,
		                  search.other);
}

static void drop_index(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = text_of(argc, argv, 0);
	struct index_job job;

	job_open(&job, JOB_DROP, sqlite3_user_data(context));
	if (!name)
		job.rc = err_set(&job.err, ERR_INVALID, "drop index", "",
		                 "no index is named");
	else
		find_index(&job, name, argc > 1 && sqlite3_value_int(argv[1]));
	if (!job.rc && job.name)
		index_job_run(&job);
	job_result(context, &job);
}

int index_ddl_register(struct connection *connection)
{
	static const struct {
		const char *name;
		int arguments;
		void (*run)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "turdb_create_index", 3, create_index },
		{ "turdb_create_index", 4, create_index },
		{ "turdb_create_index", 5, create_index },
		{ "turdb_drop_index", 1, drop_index },
		{ "turdb_drop_index", 2, drop_index },
		{ "turdb_reindex", 1, reindex_table },
		{ "turdb_index_job", 2, index_job_step },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !rc; i++)
		rc = sqlite3_create_function_v2(
			connection->db, functions[i].name,
			functions[i].arguments, SQLITE_UTF8 | SQLITE_DIRECTONLY,
			vtab_connection_hold(connection), functions[i].run,
			NULL, NULL, vtab_connection_release);
	return rc;
}
