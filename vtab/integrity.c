/*
 * integrity.c - PRAGMA integrity_check and quick_check on turdb tables.
 *
 * From SQLite 3.44 on both ask virtual tables too. What a table says becomes one row of
 * the PRAGMA's answer, in as many lines as there are things wrong; an error would end
 * the whole PRAGMA, so only what is no damage is one: an interrupt, no memory, a busy
 * database. quick_check leaves out the comparison of rows with indexes, as it does for
 * SQLite's own tables.
 *
 * (I1) In a shared cache SQLite hands over the table of whichever connection came to it
 *      last. Its statements would wait for locks that the caller holds: such a table is
 *      not looked into.
 */
#include "vtab/integrity.h"

#include "vtab/check.h"

enum { SENTENCES_MAX = 100, FLAG_QUICK = 1 };

struct findings {
	const struct table *table;
	sqlite3_str *text;
	uint64_t count;
};

static void add(void *context, const char *sentence)
{
	struct findings *findings = context;

	if (!findings->count)
		sqlite3_str_appendf(findings->text, "*** in turdb table %s.%s ***",
		                    findings->table->schema,
		                    name_shorten(findings->table->name).text);
	if (findings->count < SENTENCES_MAX)
		sqlite3_str_appendf(findings->text, "\n%s", sentence);
	findings->count++;
}

/* The text that SQLite frees; NULL for none. */
static int finish(struct findings *findings, char **text)
{
	int rc;

	if (findings->count > SENTENCES_MAX)
		sqlite3_str_appendf(findings->text, "\nand %llu more",
		                    (unsigned long long)(findings->count -
		                                         SENTENCES_MAX));
	rc = sqlite3_str_errcode(findings->text);
	*text = sqlite3_str_finish(findings->text);
	if (!rc)
		return SQLITE_OK;
	sqlite3_free(*text);
	*text = NULL;
	return rc;
}

int table_integrity(sqlite3_vtab *vtab, const char *schema, const char *name,
                    int flags, char **text)
{
	struct table *table = (struct table *)(void *)vtab;
	struct findings findings = { .table = table };
	struct err err;
	int rc;

	(void)schema, (void)name;
	if (table->cache_shared)
		return SQLITE_OK; /* (I1) */
	findings.text = sqlite3_str_new(table->connection->db);
	rc = check_connected(table,
	                     flags & FLAG_QUICK ? CHECK_ROWS : CHECK_INDEXES,
	                     add, &findings, &err);
	if (!rc)
		return finish(&findings, text);
	sqlite3_free(sqlite3_str_finish(findings.text));
	vfs_report(table->connection->environment.process, &err);
	return vfs_result(rc);
}

/* Memory of a shared cache counts for each of its connections in part. */
bool integrity_cache_shared(sqlite3 *db)
{
	int whole = 0, part = 0, high;

	if (sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED, &whole, &high, 0) ||
	    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED_SHARED, &part,
	                      &high, 0))
		return false;
	return whole != part;
}
