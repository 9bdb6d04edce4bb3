/*
 * inline_shadow.c - one row of a shadow table at a time.
 *
 * Pages are read and written through blob handles, which change nothing that a user
 * could see. Rows appear, grow and go by statements that touch a single row: one that
 * touches several opens SQLite's statement journal for what encloses it too early, and
 * a rollback then loses what was flushed meanwhile. An INSERT sets
 * last_insert_rowid(), so that is put back.
 */
#include "vtab/inline.h"

#include <string.h>

const char *const shadow_suffixes[SHADOW_KINDS] = {
	[SHADOW_TABLE] = INLINE_TABLE_SUFFIX,
	[SHADOW_INDEX] = INLINE_INDEX_SUFFIX,
	[SHADOW_GRAPH] = INLINE_GRAPH_SUFFIX,
};

struct row_name {
	char text[160];
};

static struct row_name name_row(const struct inline_table *table,
                                enum shadow_kind kind, int64_t row)
{
	struct row_name name;

	sqlite3_snprintf(sizeof name.text, name.text, "row %lld of %s.%s",
	                 (long long)row, table->home->schema,
	                 name_shorten(table->shadows[kind]).text);
	return name;
}

/* What SQLite says, as one of the two things that can be wrong with a row. */
static int fail(const struct inline_table *table, enum shadow_kind kind,
                const char *operation, int64_t row, int rc, struct err *err)
{
	sqlite3 *db = table->home->connection->db;
	const char *why = why_of_sqlite(db, rc);
	int code = err_of_sqlite(rc);

	if ((rc & 0xff) == SQLITE_ERROR)
		code = strncmp(why, "no such table", 13) == 0 ? ERR_ABORT
		                                              : ERR_CORRUPT;
	return err_set(err, code, operation, name_row(table, kind, row).text, "%s",
	               why);
}

/* --- blob handles ---------------------------------------------------------------- */

static int check_size(struct shadow *shadow, int64_t row, size_t size,
                      struct err *err)
{
	if (!size || shadow_size(shadow) == size)
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "read",
	               name_row(shadow->table, shadow->kind, row).text,
	               "it has %zu bytes, not %zu", shadow_size(shadow), size);
}

int shadow_seek(struct shadow *shadow, struct inline_table *table,
                enum shadow_kind kind, int64_t row, bool writing, size_t size,
                struct err *err)
{
	int rc;

	if (shadow->blob && shadow->table == table && shadow->kind == kind &&
	    shadow->writing == writing) {
		rc = sqlite3_blob_reopen(shadow->blob, row);
	} else {
		shadow_close(shadow);
		*shadow = (struct shadow){ .table = table, .kind = kind,
			                   .writing = writing };
		rc = sqlite3_blob_open(table->home->connection->db,
		                       table->home->schema, table->shadows[kind],
		                       "page", row, writing, &shadow->blob);
	}
	if (!rc)
		return check_size(shadow, row, size, err);
	rc = fail(table, kind, writing ? "write" : "read", row, rc, err);
	shadow_close(shadow);
	return rc;
}

size_t shadow_size(const struct shadow *shadow)
{
	return (size_t)sqlite3_blob_bytes(shadow->blob);
}

int shadow_read(struct shadow *shadow, size_t at, void *bytes, size_t size,
                struct err *err)
{
	int rc = sqlite3_blob_read(shadow->blob, bytes, (int)size, (int)at);

	return rc ? fail(shadow->table, shadow->kind, "read", -1, rc, err)
	          : ERR_NONE;
}

int shadow_write(struct shadow *shadow, size_t at, const void *bytes,
                 size_t size, struct err *err)
{
	int rc = sqlite3_blob_write(shadow->blob, bytes, (int)size, (int)at);

	return rc ? fail(shadow->table, shadow->kind, "write", -1, rc, err)
	          : ERR_NONE;
}

void shadow_close(struct shadow *shadow)
{
	if (shadow->blob)
		sqlite3_blob_close(shadow->blob);
	shadow->blob = NULL;
}

/* --- statements ------------------------------------------------------------------ */

static int prepare(struct inline_table *table, enum shadow_kind kind,
                   const char *format, sqlite3_stmt **statement)
{
	char *sql = sqlite3_mprintf(format, table->home->schema,
	                            table->shadows[kind]);
	int rc = sql ? sqlite3_prepare_v3(table->home->connection->db, sql, -1,
	                                  SQLITE_PREPARE_PERSISTENT |
	                                          SQLITE_PREPARE_NO_VTAB,
	                                  statement, NULL)
	             : SQLITE_NOMEM;

	sqlite3_free(sql);
	return rc;
}

int shadow_insert(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  size_t size, struct err *err)
{
	sqlite3 *db = table->home->connection->db;
	sqlite3_int64 last = sqlite3_last_insert_rowid(db);
	sqlite3_stmt **statement = &table->births[kind];
	int rc = SQLITE_OK;

	if (!*statement)
		rc = prepare(table, kind, "INSERT INTO \"%w\".\"%w\"(pgno, page) VALUES (?1, ?2)",
		             statement);
	if (!rc) {
		sqlite3_bind_int64(*statement, 1, row);
		rc = sqlite3_bind_zeroblob64(*statement, 2, size);
	}
	if (!rc) {
		rc = sqlite3_step(*statement);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	if (rc) {
		int code = (rc & 0xff) == SQLITE_CONSTRAINT ? SQLITE_ERROR : rc;

		rc = fail(table, kind, "insert", row, code, err);
	}
	sqlite3_reset(*statement);
	sqlite3_set_last_insert_rowid(db, last);
	return rc;
}

/* One that is not worth keeping; its parameters are numbers. */
static int run_once(struct inline_table *table, enum shadow_kind kind,
                    const char *operation, const char *format, int64_t first,
                    int64_t second, uint64_t *answer, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	int rc = prepare(table, kind, format, &statement);

	if (!rc) {
		sqlite3_bind_int64(statement, 1, first);
		sqlite3_bind_int64(statement, 2, second);
		rc = sqlite3_step(statement);
		if (rc == SQLITE_ROW && answer)
			*answer = (uint64_t)sqlite3_column_int64(statement, 0);
		rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
	}
	if (rc)
		rc = fail(table, kind, operation, first, rc, err);
	sqlite3_finalize(statement);
	return rc;
}

int shadow_resize(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  size_t size, struct err *err)
{
	return run_once(table, kind, "resize",
	                "UPDATE \"%w\".\"%w\" SET page = zeroblob(?2) WHERE pgno = ?1",
	                row, (int64_t)size, NULL, err);
}

int shadow_count(struct inline_table *table, enum shadow_kind kind, int64_t from,
                 int64_t to, uint64_t *rows, struct err *err)
{
	return run_once(table, kind, "count",
	                "SELECT count(*) FROM \"%w\".\"%w\" WHERE pgno BETWEEN ?1 AND ?2",
	                from, to, rows, err);
}

int shadow_delete(struct inline_table *table, enum shadow_kind kind, int64_t row,
                  uint32_t count, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	int rc = prepare(table, kind, "DELETE FROM \"%w\".\"%w\" WHERE pgno = ?1",
	                 &statement);

	for (; !rc && count; count--, row++) {
		sqlite3_bind_int64(statement, 1, row);
		sqlite3_step(statement);
		rc = sqlite3_reset(statement);
		if (rc)
			break;
	}
	if (rc)
		rc = fail(table, kind, "delete", row, rc, err);
	sqlite3_finalize(statement);
	return rc;
}

int shadow_each_kind(struct inline_table *table, const char *format,
                     const char *to, struct err *err)
{
	sqlite3 *db = table->home->connection->db;
	int rc = SQLITE_OK;

	for (enum shadow_kind kind = 0; !rc && kind < SHADOW_KINDS; kind++) {
		char *target = sqlite3_mprintf("%s_%s", to, shadow_suffixes[kind]);
		char *sql = sqlite3_mprintf(format, table->home->schema,
		                            table->shadows[kind],
		                            target ? target : "");

		rc = sql && target ? sqlite3_exec(db, sql, NULL, NULL, NULL)
		                   : SQLITE_NOMEM;
		sqlite3_free(sql);
		sqlite3_free(target);
	}
	if (!rc)
		return ERR_NONE;
	return err_set(err, (rc & 0xff) == SQLITE_ERROR ? ERR_INVALID
	                                                 : err_of_sqlite(rc),
	               "change shadow tables of", name_shorten(table->name).text,
	               "%s", why_of_sqlite(db, rc));
}

void shadow_statements_drop(struct inline_table *table)
{
	for (enum shadow_kind kind = 0; kind < SHADOW_KINDS; kind++) {
		sqlite3_finalize(table->births[kind]);
		table->births[kind] = NULL;
	}
}
