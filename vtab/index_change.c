/*
 * index_change.c - an index is made, dropped, or made anew.
 *
 * What changes besides the index's own file: the item in the table's statement, and
 * the list of files in its dictionary entry, which is in the order of the statement.
 */
#include "vtab/index_job.h"
#include "vtab/index_build.h"

#include <string.h>

/* --- create ---------------------------------------------------------------------- */

/* [UNIQUE | HNSW] INDEX "name" (columns) [(options)] */
static int index_item(struct index_job *job, const char **item)
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
		return index_job_no_memory(job);
	*item = arena_string(&job->arena, text, strlen(text));
	sqlite3_free(text);
	return *item ? ERR_NONE : index_job_no_memory(job);
}

static int columns_refused(struct index_job *job)
{
	return err_set(&job->err, ERR_INVALID, index_job_operation(job),
	               name_shorten(job->name).text,
	               "columns are given as 'name [COLLATE c] [DESC], ...', not as '%.60s'%s%.60s",
	               job->columns, job->options ? " with options " : "",
	               job->options ? job->options : "");
}

/* The table as the edited statement has it. What a user wrote in the place of columns
 * may not have become anything else. */
static int parse_edited(struct index_job *job, const char *statement,
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
	rc = ddl_parse_for(index_job_operation(job), job->name, count, arguments,
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

/* A new file, filled. `from` as for index_fill(). */
static int make_index(struct index_job *job, const struct index_definition *definition,
                      struct hnsw *from, uint32_t *file_id, uint64_t *entries)
{
	struct table_index index = {
		.definition = definition,
		.columns = index_key_columns(definition, &job->arena) };
	int rc = index.columns ? index_create_file(job->table, definition,
	                                           file_id, &job->err)
	                       : index_job_no_memory(job);

	if (!rc)
		rc = index_attach(job->table, &index, *file_id, &job->err);
	if (!rc)
		rc = index_fill(job->table, &index, from, &job->err);
	if (!rc)
		rc = index_count(&index, entries, &job->err);
	if (index.graph)
		hnsw_close(index.graph);
	return rc;
}

static int enter_file(struct index_job *job, uint32_t file_id)
{
	struct table *table = job->table;
	struct dictionary_entry entry;
	uint32_t *files;
	int rc = table->home->methods->table_find(table->home, table->name, &job->arena, &entry,
	                         &job->err);

	if (rc)
		return rc;
	files = arena_allocate(&job->arena, 4 * (entry.index_count + 1));
	if (!files)
		return index_job_no_memory(job);
	if (entry.index_count)
		memcpy(files, entry.index_files, 4 * entry.index_count);
	files[entry.index_count++] = file_id;
	entry.index_files = files;
	return table->home->methods->table_put(table->home, table->name, &entry, &job->arena,
	                      &job->err);
}

static int refuse_taken_name(struct table *table, void *context)
{
	struct index_job *job = context;
	char why[200];

	for (uint32_t i = 0; i < table->definition.index_count; i++) {
		if (sqlite3_stricmp(table->definition.indexes[i].name,
		                    job->index) != 0)
			continue;
		sqlite3_snprintf(sizeof why, why,
		                 "index %s exists already, in table %s",
		                 name_shorten(job->index).text,
		                 name_shorten(table->name).text);
		return index_job_fail(job, ERR_EXISTS, why);
	}
	return ERR_NONE;
}

static int create(struct index_job *job, const char *statement, const char **edited)
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

/* --- drop ------------------------------------------------------------------------ */

static int leave_file(struct index_job *job, uint32_t number)
{
	struct table *table = job->table;
	struct dictionary_entry entry;
	int rc = table->home->methods->table_find(table->home, table->name, &job->arena, &entry,
	                         &job->err);

	if (rc)
		return rc;
	if (number >= entry.index_count)
		return index_job_fail(job, ERR_CORRUPT,
		                "the dictionary has fewer indexes than the statement");
	rc = table->home->methods->file_drop(
		table->home, entry.index_files[number], &job->err);
	if (rc)
		return rc;
	memmove(entry.index_files + number, entry.index_files + number + 1,
	        4 * (entry.index_count - number - 1));
	entry.index_count--;
	return table->home->methods->table_put(table->home, table->name, &entry, &job->arena,
	                      &job->err);
}

static int drop(struct index_job *job, const char *statement, const char **edited)
{
	struct table *table = job->table;
	struct table_index *index;
	uint32_t number = 0;
	int rc = ERR_NONE;

	while (number < table->definition.index_count &&
	       strcmp(table->definition.indexes[number].name, job->index) != 0)
		number++;
	if (number == table->definition.index_count)
		return index_job_fail(job, ERR_MISSING, "another connection has dropped it");
	index = &table->indexes[number];
	if (index->definition->origin != INDEX_OF_STATEMENT)
		return index_job_fail(job, ERR_INVALID,
		                "it belongs to a constraint or a column, and goes with that");
	if (index->definition->kind == INDEX_GRAPH)
		rc = index_vectors_into_rows(job->table, index, &job->err);
	if (!rc)
		rc = ddl_statement_drop(statement, index->definition->argument,
		                        &job->arena, edited, &job->err);
	job->result = 1;
	return rc ? rc : leave_file(job, number);
}

/* --- reindex --------------------------------------------------------------------- */

static int reindex(struct index_job *job, const char *statement, const char **edited)
{
	struct table *table = job->table;
	struct home *home = table->home;
	struct dictionary_entry entry;
	uint64_t entries;
	int rc = home->methods->table_find(home, table->name, &job->arena, &entry,
	                         &job->err);

	if (!rc && entry.index_count != table->definition.index_count)
		rc = index_job_fail(job, ERR_CORRUPT,
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
	return rc ? rc : home->methods->table_put(home, table->name, &entry, &job->arena,
	                                &job->err);
}

/* --- all three ------------------------------------------------------------------- */

static int change(struct index_job *job, const char *statement,
                  const char **edited)
{
	struct home *home = job->table->home;
	int rc = sentinel_join(job->connection, home, &job->err);

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

int index_change(struct index_job *job, const char *statement,
                 const char **edited)
{
	sqlite3_stmt *keeper;
	int rc = table_find_in(job->connection, job->schema, job->name,
	                       &job->table, &keeper, &job->err);

	if (!rc && !job->table)
		rc = index_job_fail(job, ERR_MISSING, "it is not a turdb table");
	if (!rc)
		rc = change(job, statement, edited);
	sqlite3_finalize(keeper);
	return rc;
}
