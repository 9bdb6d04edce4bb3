/*
 * index_ddl.c - turdb_create_index(), turdb_drop_index(), turdb_reindex().
 *
 *   turdb_create_index(name, table, columns [, kind [, options]])  entries made
 *   turdb_drop_index(name [, if_exists])                           1, or 0 when there is none
 *   turdb_reindex(table)                                           indexes made anew
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
 * Safety        No statement that writes may be under way: it would go on with the
 *               table as it was and not know of the index.
 */
#include "vtab/index_ddl.h"

#include "vtab/lexer.h"

#include <string.h>

static const char job_type[] = "turdb_index_job";

enum job_kind { JOB_CREATE, JOB_DROP, JOB_REINDEX };

struct job {
	enum job_kind kind;
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

static const char *operation_of(const struct job *job)
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

static int job_fail(struct job *job, int code, const char *why)
{
	return err_set(&job->err, code, operation_of(job),
	               job->name ? name_shorten(job->name).text : "", "%s",
	               why);
}

static int job_no_memory(struct job *job)
{
	return job_fail(job, ERR_NOMEM, "no memory");
}

/* --- create --------------------------------------------------------------------------- */

/* [UNIQUE | HNSW] INDEX "name" (columns) [(options)] */
static int index_item(struct job *job, const char **item)
{
	bool unique = job->index_kind &&
	              sqlite3_stricmp(job->index_kind, "unique") == 0;
	bool graph = job->index_kind &&
	             sqlite3_stricmp(job->index_kind, "hnsw") == 0;
	bool options = job->options && *job->options;
	char *text;

	text = sqlite3_mprintf("%sINDEX \"%w\" (%s)%s%s%s",
	                       unique ? "UNIQUE " : graph ? "HNSW " : "",
	                       job->index, job->columns, options ? " (" : "",
	                       options ? job->options : "", options ? ")" : "");
	if (!text)
		return job_no_memory(job);
	*item = arena_string(&job->arena, text, strlen(text));
	sqlite3_free(text);
	return *item ? ERR_NONE : job_no_memory(job);
}

static int columns_refused(struct job *job)
{
	return err_set(&job->err, ERR_INVALID, operation_of(job),
	               name_shorten(job->name).text,
	               "columns are given as 'name [COLLATE c] [DESC], ...', not as '%.60s'%s%.60s",
	               job->columns, job->options ? " with options " : "",
	               job->options ? job->options : "");
}

/* The table as the edited statement has it. What a user wrote in the place of columns
 * may not have become anything else. */
static int parse_edited(struct job *job, const char *statement,
                        struct table_definition *definition)
{
	const struct table_definition *old = &job->table->definition;
	const struct index_definition *made;
	const char **arguments;
	uint32_t count;
	int rc;

	if (ddl_statement_arguments(statement, &job->arena, &arguments, &count,
	                            &job->err))
		return columns_refused(job);
	rc = ddl_parse_for(operation_of(job), job->name, count, arguments,
	                   &job->arena, definition, &job->err);
	if (rc)
		return rc;
	made = &definition->indexes[definition->index_count - 1];
	if (definition->column_count != old->column_count ||
	    definition->check_count != old->check_count ||
	    definition->index_count != old->index_count + 1 ||
	    sqlite3_stricmp(made->name, job->index) != 0)
		return columns_refused(job);
	return ERR_NONE;
}

static int key_columns(struct job *job, struct table_index *index)
{
	const struct index_definition *definition = index->definition;

	index->columns = arena_allocate(&job->arena,
	                                (definition->column_count + 1) *
	                                        sizeof *index->columns);
	if (!index->columns)
		return job_no_memory(job);
	for (uint32_t i = 0; i < definition->column_count; i++)
		index->columns[i] = (struct key_column){
			.collation = definition->columns[i].collation,
			.descending = definition->columns[i].descending };
	return ERR_NONE;
}

static int count_entries(struct job *job, struct table_index *index,
                         uint64_t *count)
{
	return index->definition->kind == INDEX_TREE
	               ? btree_count(&index->tree, count, &job->err)
	               : hnsw_count(index->graph, count, &job->err);
}

/* A new file, filled. `from` as for index_fill(). */
static int make_index(struct job *job, const struct index_definition *definition,
                      struct hnsw *from, uint32_t *file_id, uint64_t *entries)
{
	struct table_index index = { .definition = definition };
	int rc = key_columns(job, &index);

	if (!rc)
		rc = index_create_file(job->table, definition, file_id,
		                       &job->err);
	if (!rc)
		rc = index_attach(job->table, &index, *file_id, &job->err);
	if (!rc)
		rc = index_fill(job->table, &index, from, &job->err);
	if (!rc)
		rc = count_entries(job, &index, entries);
	if (index.graph)
		hnsw_close(index.graph);
	return rc;
}

static int enter_file(struct job *job, uint32_t file_id)
{
	struct table *table = job->table;
	struct dictionary_entry entry;
	uint32_t *files;
	int rc = dictionary_find(table->home, table->name, &job->arena, &entry,
	                         &job->err);

	if (rc)
		return rc;
	files = arena_allocate(&job->arena, 4 * (entry.index_count + 1));
	if (!files)
		return job_no_memory(job);
	if (entry.index_count)
		memcpy(files, entry.index_files, 4 * entry.index_count);
	files[entry.index_count++] = file_id;
	entry.index_files = files;
	return dictionary_put(table->home, table->name, &entry, &job->arena,
	                      &job->err);
}

static int refuse_taken_name(struct table *table, void *context)
{
	struct job *job = context;
	char why[200];

	for (uint32_t i = 0; i < table->definition.index_count; i++) {
		if (sqlite3_stricmp(table->definition.indexes[i].name,
		                    job->index) != 0)
			continue;
		sqlite3_snprintf(sizeof why, why,
		                 "index %s exists already, in table %s",
		                 name_shorten(job->index).text,
		                 name_shorten(table->name).text);
		return job_fail(job, ERR_EXISTS, why);
	}
	return ERR_NONE;
}

static int create(struct job *job, const char *statement, const char **edited)
{
	struct table_definition definition;
	const char *item;
	uint32_t file_id;
	int rc = table_each(job->connection, job->schema, refuse_taken_name,
	                    job, &job->err);

	if (!rc)
		rc = index_item(job, &item);
	if (!rc)
		rc = ddl_statement_add(statement, item, &job->arena, edited,
		                       &job->err);
	if (!rc)
		rc = parse_edited(job, *edited, &definition);
	if (!rc)
		rc = make_index(job,
		                &definition.indexes[definition.index_count - 1],
		                NULL, &file_id, &job->result);
	return rc ? rc : enter_file(job, file_id);
}

/* --- drop ----------------------------------------------------------------------------- */

static int leave_file(struct job *job, uint32_t number)
{
	struct table *table = job->table;
	struct dictionary_entry entry;
	int rc = dictionary_find(table->home, table->name, &job->arena, &entry,
	                         &job->err);

	if (rc)
		return rc;
	if (number >= entry.index_count)
		return job_fail(job, ERR_CORRUPT,
		                "the dictionary has fewer indexes than the statement");
	rc = table->home->methods->file_drop(
		table->home, entry.index_files[number], &job->err);
	if (rc)
		return rc;
	memmove(entry.index_files + number, entry.index_files + number + 1,
	        4 * (entry.index_count - number - 1));
	entry.index_count--;
	return dictionary_put(table->home, table->name, &entry, &job->arena,
	                      &job->err);
}

static int drop(struct job *job, const char *statement, const char **edited)
{
	struct table *table = job->table;
	struct table_index *index;
	uint32_t number = 0;
	int rc = ERR_NONE;

	while (number < table->definition.index_count &&
	       strcmp(table->definition.indexes[number].name, job->index) != 0)
		number++;
	if (number == table->definition.index_count)
		return job_fail(job, ERR_MISSING, "another connection has dropped it");
	index = &table->indexes[number];
	if (index->definition->origin != INDEX_OF_STATEMENT)
		return job_fail(job, ERR_INVALID,
		                "it belongs to a constraint or a column, and goes with that");
	if (index->definition->kind == INDEX_GRAPH)
		rc = index_vectors_into_rows(job->table, index, &job->err);
	if (!rc)
		rc = ddl_statement_drop(statement, index->definition->argument,
		                        &job->arena, edited, &job->err);
	job->result = 1;
	return rc ? rc : leave_file(job, number);
}

/* --- reindex -------------------------------------------------------------------------- */

static int reindex(struct job *job, const char *statement, const char **edited)
{
	struct table *table = job->table;
	struct home *home = table->home;
	struct dictionary_entry entry;
	uint64_t entries;
	int rc = dictionary_find(home, table->name, &job->arena, &entry,
	                         &job->err);

	if (!rc && entry.index_count != table->definition.index_count)
		rc = job_fail(job, ERR_CORRUPT,
		              "the dictionary has another number of indexes");
	for (uint32_t i = 0; !rc && i < entry.index_count; i++) {
		uint32_t old = entry.index_files[i];

		rc = make_index(job, table->indexes[i].definition,
		                table->indexes[i].graph, &entry.index_files[i],
		                &entries);
		if (!rc)
			rc = home->methods->file_drop(home, old, &job->err);
	}
	*edited = statement;
	job->result = entry.index_count;
	return rc ? rc : dictionary_put(home, table->name, &entry, &job->arena,
	                                &job->err);
}

/* --- inside the UPDATE ------------------------------------------------------------------ */

static int do_job(struct job *job, const char *statement, const char **edited)
{
	struct home *home;
	int rc = table_find_in(job->connection, job->schema, job->name,
	                       &job->table, &job->err);

	if (!rc && !job->table)
		rc = job_fail(job, ERR_MISSING, "it is not a turdb table");
	if (rc)
		return rc;
	home = job->table->home;
	rc = sentinel_join(job->connection, home, &job->err);
	if (rc)
		return rc;
	switch (job->kind) {
	case JOB_CREATE:
		rc = create(job, statement, edited);
		break;
	case JOB_DROP:
		rc = drop(job, statement, edited);
		break;
	case JOB_REINDEX:
		rc = reindex(job, statement, edited);
		break;
	}
	return rc ? rc : home->methods->operation_end(home, &job->err);
}

/* turdb_index_job(statement, job): does it and gives the statement as it is then. */
static void run_job(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct job *job = sqlite3_value_pointer(argv[1], job_type);
	const char *statement = (const char *)sqlite3_value_text(argv[0]);
	const char *edited = NULL;

	(void)argc;
	if (!job || !statement) {
		sqlite3_result_error(context,
		                     "use turdb_create_index(), turdb_drop_index() or turdb_reindex()",
		                     -1);
		return;
	}
	job->rc = do_job(job, statement, &edited);
	if (!job->rc) {
		sqlite3_result_text(context, edited, -1, SQLITE_TRANSIENT);
		return;
	}
	vfs_result_error(context, &job->err);
}

/* --- around it -------------------------------------------------------------------------- */

static int run_sql(struct job *job, const char *format)
{
	sqlite3 *db = job->connection->db;
	char *sql = sqlite3_mprintf(format, job->schema);
	int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

	sqlite3_free(sql);
	if (rc && !job->rc)
		job->rc = job_fail(job, err_of_sqlite(rc),
		                   why_of_sqlite(db, rc));
	return job->rc;
}

static int schema_number(struct job *job, const char *format, int *number)
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
	                      : job_fail(job, err_of_sqlite(rc),
	                                 why_of_sqlite(db, rc));
	sqlite3_finalize(statement);
	return rc;
}

static int raise_cookie(struct job *job)
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

static int update_statement(struct job *job)
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
		job->rc = job_fail(job, err_of_sqlite(rc),
		                   why_of_sqlite(db, rc));
	else if (!job->rc && sqlite3_changes(db) != 1)
		job->rc = job_fail(job, ERR_CORRUPT,
		                   "sqlite_schema has not one such table");
	sqlite3_finalize(statement);
	return job->rc;
}

/* sqlite_schema may be written only with writable_schema on, and never under
 * DEFENSIVE. */
static int rewrite_schema(struct job *job)
{
	sqlite3 *db = job->connection->db;
	int was = 0;

	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &was);
	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
	update_statement(job);
	sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, was, NULL);
	return job->rc ? job->rc : raise_cookie(job);
}

static int refuse_defensive(struct job *job)
{
	int defensive = 0;

	sqlite3_db_config(job->connection->db, SQLITE_DBCONFIG_DEFENSIVE, -1,
	                  &defensive);
	if (!defensive)
		return ERR_NONE;
	return job_fail(job, ERR_READONLY,
	                "SQLITE_DBCONFIG_DEFENSIVE is on (.dbconfig defensive in the shell), and the table's statement in sqlite_schema would have to change");
}

static int refuse_writers(struct job *job)
{
	sqlite3 *db = job->connection->db;

	for (sqlite3_stmt *statement = sqlite3_next_stmt(db, NULL); statement;
	     statement = sqlite3_next_stmt(db, statement))
		if (sqlite3_stmt_busy(statement) &&
		    !sqlite3_stmt_readonly(statement))
			return job_fail(job, ERR_LOCKED,
			                "a statement of this connection that writes is under way; call it in a SELECT of its own");
	return ERR_NONE;
}

static void run(struct job *job)
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

static void job_open(struct job *job, enum job_kind kind,
                     struct connection *connection)
{
	memset(job, 0, sizeof *job);
	job->kind = kind;
	job->connection = connection;
	arena_init(&job->arena, connection->heap);
}

static int job_table(struct job *job, const struct table *table)
{
	job->schema = arena_string(&job->arena, table->schema,
	                           strlen(table->schema));
	job->name = arena_string(&job->arena, table->name, strlen(table->name));
	return job->schema && job->name ? ERR_NONE : job_no_memory(job);
}

static int job_find(struct job *job, const char *name)
{
	struct table *table;
	int rc = table_find(job->connection, name, &table, &job->err);

	return rc ? rc : job_table(job, table);
}

static void job_result(sqlite3_context *context, struct job *job)
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

/* --- the functions ---------------------------------------------------------------------- */

static const char *text_of(int argc, sqlite3_value **argv, int i)
{
	return i < argc ? (const char *)sqlite3_value_text(argv[i]) : NULL;
}

static int check_arguments(struct job *job)
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
	struct job job;
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
		run(&job);
	job_result(context, &job);
}

static void reindex_table(sqlite3_context *context, int argc,
                          sqlite3_value **argv)
{
	struct job job;
	const char *table = text_of(argc, argv, 0);

	job_open(&job, JOB_REINDEX, sqlite3_user_data(context));
	job.rc = table ? job_find(&job, table)
	               : err_set(&job.err, ERR_INVALID, "reindex table", "",
	                         "no table is named");
	if (!job.rc)
		run(&job);
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
	struct job *job;
	const char *name;    /* as the user gave it */
	char other[200];     /* a second one of that name */
};

static int look_into(struct table *table, void *context)
{
	struct index_search *search = context;
	struct job *job = search->job;
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
			rc = job_no_memory(job);
	}
	return rc;
}

static void find_index(struct job *job, const char *name, bool if_exists)
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
	struct job job;

	job_open(&job, JOB_DROP, sqlite3_user_data(context));
	if (!name)
		job.rc = err_set(&job.err, ERR_INVALID, "drop index", "",
		                 "no index is named");
	else
		find_index(&job, name, argc > 1 && sqlite3_value_int(argv[1]));
	if (!job.rc && job.name)
		run(&job);
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
		{ "turdb_index_job", 2, run_job },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !rc; i++)
		rc = sqlite3_create_function_v2(
			connection->db, functions[i].name,
			functions[i].arguments, SQLITE_UTF8 | SQLITE_DIRECTONLY,
			connection, functions[i].run, NULL, NULL, NULL);
	return rc;
}
