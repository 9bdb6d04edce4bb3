/*
 * check.c - checks one table, or a whole schema.
 *
 * Each tree and graph verifies itself (check_files.c), then rows are looked at by
 * themselves (check_constraints.c) and compared with indexes (check_rows.c). A check of
 * a whole schema looks into every file and finds those that belong to no table.
 */
#include "vtab/check.h"

#include <stdio.h>
#include <string.h>

/* A file of the schema, and whether a table has claimed it. */
struct listed_file {
	struct store_file_info info;
	bool claimed;
};

struct report {
	void (*problem)(void *context, const char *sentence);
	void *context;
	struct connection *connection;
	const char *schema;
	struct listed_file *files; /* of a check of the whole schema */
	size_t file_count, file_room;
	bool damaged;              /* a tree or graph is                */
	struct err *err;
	int rc;
};

static void tell(void *context, const char *sentence)
{
	struct report *report = context;

	if (!report->rc)
		report->rc = err_set(report->err, ERR_CORRUPT, "check tables of",
		                     report->schema, "%s", sentence);
	report->problem(report->context, sentence);
}

static void tell_damage(void *context, const char *sentence)
{
	struct report *report = context;

	report->damaged = true;
	tell(report, sentence);
}

/* --- files ------------------------------------------------------------------------ */

static struct store_view *view_of(const struct report *report)
{
	struct store_view *view = NULL;

	if (report->connection->environment.home_find ||
	    sqlite3_file_control(report->connection->db, report->schema,
	                         VFS_FCNTL_VIEW, &view))
		return NULL; /* tables have their files to themselves */
	return view;
}

static int check_one_file(struct report *report,
                          const struct store_file_info *info,
                          struct pager *pager, struct err *err)
{
	struct connection *connection = report->connection;
	struct check_file file = { .pager = pager, .info = info,
		                   .graph = info->kind == STORE_FILE_GRAPH,
		                   .kernels = connection->kernels,
		                   .breath = &connection->breath.base };

	return check_file(&file, connection->heap, tell_damage, report, err);
}

static int list_file(void *context, const struct store_file_info *info)
{
	struct report *report = context;
	size_t room = report->file_room ? report->file_room * 2 : 16;

	if (info->kind == STORE_FILE_CATALOG || info->kind == STORE_FILE_SQLITE)
		return ERR_NONE;
	if (report->file_count == report->file_room) {
		void *larger = heap_resize(report->connection->heap,
		                           report->files,
		                           room * sizeof *report->files);

		if (!larger)
			return err_set(report->err, ERR_NOMEM,
			               "check tables of", report->schema,
			               "no memory for the list of files");
		report->files = larger;
		report->file_room = room;
	}
	report->files[report->file_count++] = (struct listed_file){
		.info = *info,
		.claimed = info->kind == STORE_FILE_DICTIONARY };
	return ERR_NONE;
}

/* Every tree and graph of the schema. */
static int check_all_files(struct report *report, struct err *err)
{
	struct store_view *view = view_of(report);
	int rc = view ? store_file_each(view, list_file, report, err)
	              : ERR_NONE;

	for (size_t i = 0; !rc && i < report->file_count; i++) {
		const struct store_file_info *info = &report->files[i].info;
		struct pager *pager;

		rc = store_pager(view, info->file_id, &pager, err);
		if (!rc)
			rc = check_one_file(report, info, pager, err);
	}
	return rc;
}

static void claim(struct report *report, uint32_t file_id)
{
	for (size_t i = 0; i < report->file_count; i++)
		if (report->files[i].info.file_id == file_id)
			report->files[i].claimed = true;
}

static void tell_of_orphans(struct report *report)
{
	char text[ERR_TEXT_SIZE];

	for (size_t i = 0; i < report->file_count; i++) {
		if (report->files[i].claimed)
			continue;
		snprintf(text, sizeof text,
		         "check %s: the file belongs to no table",
		         report->files[i].info.name);
		tell(report, text);
	}
}

static int check_file_of(struct report *report, struct home *home,
                         uint32_t file_id, struct pager *pager, struct err *err)
{
	struct store_file_info info;
	int rc = home->methods->file_check(home, file_id, tell_damage, report,
	                                   err);

	if (!rc)
		rc = home->methods->file_info(home, file_id, &info, err);
	if (!rc)
		rc = check_one_file(report, &info, pager, err);
	home_relieve(home);
	return rc;
}

/* The trees and graphs of one table. */
static int check_files_of(struct report *report, struct table *table,
                          struct err *err)
{
	int rc = check_file_of(report, table->home, table->file_id, table->pager,
	                       err);

	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];

		rc = check_file_of(report, table->home, index->file_id,
		                   index->pager, err);
	}
	return rc;
}

/* --- which tables ----------------------------------------------------------------- */

static int check_table(struct report *report, struct table *table,
                       enum check_depth depth, struct err *err)
{
	int rc = home_refresh(table->home, err);

	if (!rc && report->files) {
		claim(report, table->file_id);
		for (uint32_t i = 0; i < table->definition.index_count; i++)
			claim(report, table->indexes[i].file_id);
	} else if (!rc) {
		rc = check_files_of(report, table, err);
	}
	/* What is no tree is not walked. */
	if (!rc && depth > CHECK_FILES && !report->damaged)
		rc = check_agreement(table, depth, tell, report, err);
	if (rc != ERR_CORRUPT)
		return rc;
	tell(report, err->text);
	return ERR_NONE;
}

static int check_named(struct report *report, const char *name, bool must,
                       enum check_depth depth)
{
	struct table *table = NULL;
	sqlite3_stmt *keeper;
	struct err err;
	int rc = table_find_in(report->connection, report->schema, name, &table,
	                       &keeper, &err);

	if (!rc && table) {
		rc = check_table(report, table, depth, &err);
	} else if (!rc && must) {
		rc = err_set(&err, ERR_MISSING, "check table",
		             name_shorten(name).text, "it is not a turdb table");
	} else if (rc == ERR_CORRUPT || rc == ERR_VERSION ||
	           (rc == ERR_MISSING && !must)) {
		if (!strstr(err.text, "no such module"))
			tell(report, err.text);
		rc = ERR_NONE;
	}
	sqlite3_finalize(keeper);
	if (rc)
		*report->err = err;
	return rc;
}

static int check_schema(struct report *report, enum check_depth depth)
{
	char *sql = sqlite3_mprintf(
		"SELECT name FROM \"%w\".sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%%'",
		report->schema);
	sqlite3_stmt *names = NULL;
	int rc = check_all_files(report, report->err);

	if (rc) {
		sqlite3_free(sql);
		return rc;
	}
	if (!sql || sqlite3_prepare_v2(report->connection->db, sql, -1, &names,
	                               NULL))
		rc = err_set(report->err, ERR_IO, "check tables of",
		             report->schema, "%s",
		             sqlite3_errmsg(report->connection->db));
	sqlite3_free(sql);
	while (!rc && sqlite3_step(names) == SQLITE_ROW)
		rc = check_named(report,
		                 (const char *)sqlite3_column_text(names, 0),
		                 false, depth);
	sqlite3_finalize(names);
	if (!rc && !report->rc)
		tell_of_orphans(report);
	return rc;
}

int vtab_check(struct connection *connection, const char *schema,
               const char *table, int level,
               void (*problem)(void *context, const char *sentence),
               void *context, struct err *err)
{
	struct report report = { .problem = problem, .context = context,
		                 .connection = connection, .schema = schema,
		                 .err = err };
	enum check_depth depth = level > 0 ? CHECK_INDEXES : CHECK_FILES;
	int rc = table ? check_named(&report, table, true, depth)
	               : check_schema(&report, depth);

	vfs_breath_end(&connection->breath);
	heap_free(connection->heap, report.files);
	return rc ? rc : report.rc;
}

static int check_reached(struct report *report, struct table *table,
                         enum check_depth depth, struct err *err)
{
	bool entered;
	int rc = table->home->methods->enter(table->home, &entered, err);

	if (rc)
		return rc;
	rc = check_table(report, table, depth, err);
	table->home->methods->leave(table->home, entered);
	return rc;
}

int check_connected(struct table *table, enum check_depth depth,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err)
{
	struct err first;
	struct report report = { .problem = problem, .context = context,
		                 .connection = table->connection,
		                 .schema = table->schema, .err = &first };
	int rc = table_reach(table, err);

	if (table_is_damaged(rc)) {
		problem(context, err->text);
		return ERR_NONE;
	}
	if (!rc)
		rc = check_reached(&report, table, depth, err);
	vfs_breath_end(&table->connection->breath);
	return rc;
}
