/*
 * inline_home.c - the home of tables in any database of SQLite's: its transaction, and
 * what the cache may believe.
 *
 * SQLite's pager makes the shadow tables atomic and durable, and undoes them. What is
 * left to do is to have every change in them in time (vtab/inline L1), to forget what
 * was undone (vtab/inline L2), and to notice what others have committed
 * (vtab/inline L3): at the beginning of each read the host's data version is compared,
 * 30 ns; when it has moved, each table used looks at its stamp once, which is the same
 * after commits that did not touch it.
 *
 * One home serves all tables of one schema of one connection. A schema that was
 * detached and another one attached in its place may have equal data versions; but
 * tables are connected anew then, and entering the home is reason enough to look.
 */
#include "vtab/inline.h"

/* --- what others have done --------------------------------------------------------- */

static void look_again(struct inline_home *home)
{
	home->version++;
	home->epoch++;
}

static int data_version(struct inline_home *home, uint32_t *version,
                        struct err *err)
{
	int rc = sqlite3_file_control(home->connection->db, home->schema,
	                              SQLITE_FCNTL_DATA_VERSION, version);

	return rc ? err_set(err, err_of_sqlite(rc), "read", home->schema,
	                    "its data version is not known: %s",
	                    sqlite3_errstr(rc))
	          : ERR_NONE;
}

/* SQLite counts a commit of ours once, and once more when others have committed
 * since. (A version of it that counted ours not at all would be noticed here, the first
 * time that nobody else came between.) */
static bool only_our_commit(struct inline_home *home, uint32_t version)
{
	bool committed = home->committed;

	home->committed = false;
	if (committed && version == home->synced_version)
		home->commits_uncounted = true;
	return committed && !home->commits_uncounted &&
	       version == home->synced_version + 1;
}

static int inline_refresh(struct home *base, struct err *err)
{
	struct inline_home *home = inline_home_of(base);
	uint32_t version = 0;
	int rc = data_version(home, &version, err);

	if (rc)
		return rc;
	if (!only_our_commit(home, version) && version != home->data_version)
		look_again(home);
	home->data_version = version;
	return ERR_NONE;
}

static int inline_begin(struct home *base, struct err *err)
{
	int rc = inline_refresh(base, err);

	if (!rc)
		inline_home_of(base)->writing = true;
	return rc;
}

/* Holds a read transaction by a statement that stands on its row. */
static int read_begin(struct inline_home *home, struct err *err)
{
	sqlite3 *db = home->connection->db;
	int rc = SQLITE_OK;

	if (!home->reading) {
		char *sql = sqlite3_mprintf(
			"SELECT max(rowid) FROM \"%w\".sqlite_schema",
			home->schema);

		rc = sql ? sqlite3_prepare_v3(db, sql, -1,
		                              SQLITE_PREPARE_PERSISTENT,
		                              &home->reading, NULL)
		         : SQLITE_NOMEM;
		sqlite3_free(sql);
	}
	if (!rc)
		rc = sqlite3_step(home->reading);
	if (rc == SQLITE_ROW)
		return ERR_NONE;
	sqlite3_reset(home->reading);
	return err_set(err, err_of_sqlite(rc), "read", home->schema, "%s",
	               why_of_sqlite(db, rc));
}

static int inline_enter(struct home *base, bool *entered, struct err *err)
{
	struct inline_home *home = inline_home_of(base);
	int rc = ERR_NONE;

	*entered = sqlite3_txn_state(home->connection->db, home->schema) ==
	           SQLITE_TXN_NONE;
	if (*entered)
		rc = read_begin(home, err);
	if (rc)
		return rc;
	look_again(home);
	rc = inline_refresh(base, err);
	if (rc && *entered)
		sqlite3_reset(home->reading);
	return rc;
}

static void inline_leave(struct home *base, bool entered)
{
	if (entered)
		sqlite3_reset(inline_home_of(base)->reading);
}

static bool inline_writing(const struct home *base)
{
	const struct inline_home *home = (const struct inline_home *)base;

	return sqlite3_txn_state(home->connection->db, home->schema) ==
	       SQLITE_TXN_WRITE;
}

/* --- SQLite's transaction ---------------------------------------------------------- */

static int inline_sync(struct home *base, struct err *err)
{
	struct inline_home *home = inline_home_of(base);
	int rc = inline_flush(home, err);

	return rc ? rc : data_version(home, &home->synced_version, err);
}

/* Nothing is being made meanwhile, which a rollback can interrupt. */
static void inline_commit(struct home *base)
{
	struct inline_home *home = inline_home_of(base);

	home->transaction++;
	home->writing = false;
	home->committed = true;
	inline_tables_sweep(home);
}

/* (vtab/inline L2) */
static void forget_all(struct inline_home *home)
{
	for (struct inline_table *table = home->tables; table;
	     table = table->next)
		catalog_forget(table, false);
	home->transaction++; /* a stamp that was undone is not used again */
	look_again(home);
}

static void inline_rollback(struct home *base)
{
	struct inline_home *home = inline_home_of(base);

	forget_all(home);
	home->writing = home->committed = false;
}

/* (vtab/inline L1) */
static int inline_savepoint(struct home *base, int n, struct err *err)
{
	(void)n;
	return inline_flush(inline_home_of(base), err);
}

static void inline_release(struct home *base, int n)
{
	(void)base, (void)n;
}

static void inline_rollback_to(struct home *base, int n)
{
	(void)n;
	forget_all(inline_home_of(base));
}

/* --- files ------------------------------------------------------------------------- */

static int inline_file_create(struct home *base, enum store_file_kind kind,
                              const char *name, uint32_t *file_id,
                              struct err *err)
{
	struct inline_table *table;
	struct inline_file *file;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	if (!rc)
		rc = catalog_know(table, err);
	if (!rc)
		rc = catalog_file_add(table, kind, &file, err);
	if (!rc)
		*file_id = file->id;
	return rc;
}

static int file_find(struct home *base, uint32_t file_id,
                     struct inline_file **file, struct err *err)
{
	*file = inline_file_find(inline_home_of(base), file_id);
	return *file ? catalog_know((*file)->table, err)
	             : err_set(err, ERR_MISSING, "read tables of", base->name,
	                       "there is no file %u", file_id);
}

static int inline_file_drop(struct home *base, uint32_t file_id,
                            struct err *err)
{
	struct inline_file *file;
	int rc = file_find(base, file_id, &file, err);

	return rc ? rc : catalog_file_remove(file, err);
}

static int inline_pager(struct home *base, uint32_t file_id,
                        struct pager **pager, struct err *err)
{
	struct inline_file *file;
	int rc = file_find(base, file_id, &file, err);

	if (!rc)
		*pager = &file->pager;
	return rc;
}

static int inline_file_info(struct home *base, uint32_t file_id,
                            struct store_file_info *info, struct err *err)
{
	struct inline_file *file;
	int rc = file_find(base, file_id, &file, err);

	if (rc)
		return rc;
	*info = (struct store_file_info){ .file_id = file_id,
		                          .kind = file->kind,
		                          .page_size = INLINE_PAGE_SIZE,
		                          .page_count = file->page_count,
		                          .free_pages = file->free_count };
	sqlite3_snprintf(sizeof info->name, info->name, "%s", file->name);
	return ERR_NONE;
}

/* --- operations -------------------------------------------------------------------- */

static void inline_relieve(struct home *base)
{
	cache_relieve(inline_home_of(base));
}

/* Changed pages go to their rows when they take half of the room. */
static int inline_operation_end(struct home *base, struct err *err)
{
	struct inline_home *home = inline_home_of(base);
	int rc = ERR_NONE;

	if (!base->crowded || base->depth)
		return ERR_NONE;
	if (home->cache.dirty_bytes >
	    home->connection->inline_cache_bytes / 2)
		rc = inline_flush(home, err);
	cache_relieve(home);
	return rc;
}

static void inline_close(struct home *base)
{
	struct inline_home *home = inline_home_of(base);
	struct connection *connection = home->connection;
	struct inline_home **link = &connection->inline_homes;

	while (*link != home)
		link = &(*link)->next;
	*link = home->next;
	while (home->tables)
		inline_table_free(home->tables);
	cache_close(home);
	sqlite3_finalize(home->reading);
	sqlite3_free(home->schema);
	heap_free(connection->heap, home);
}

static const struct home_methods inline_methods = {
	.enter = inline_enter,
	.leave = inline_leave,
	.writing = inline_writing,
	.begin = inline_begin,
	.sync = inline_sync,
	.commit = inline_commit,
	.rollback = inline_rollback,
	.savepoint = inline_savepoint,
	.release = inline_release,
	.rollback_to = inline_rollback_to,
	.table_make = inline_table_make,
	.table_find = inline_entry_find,
	.table_put = inline_entry_put,
	.table_rename = inline_table_rename,
	.table_remove = inline_table_remove,
	.layout_put = inline_layout_put,
	.layout_find = inline_layout_find,
	.table_hold = inline_table_hold,
	.file_create = inline_file_create,
	.file_drop = inline_file_drop,
	.file_info = inline_file_info,
	.file_check = inline_file_check,
	.pager = inline_pager,
	.operation_end = inline_operation_end,
	.relieve = inline_relieve,
	.close = inline_close,
};

/* --- finding one ------------------------------------------------------------------- */

static int make(struct connection *connection, const char *schema,
                struct inline_home **made, struct err *err)
{
	struct os *os = connection->environment.process->os;
	struct inline_home *home = heap_zeroed(connection->heap, sizeof *home);
	char *name = sqlite3_mprintf("%s", schema);

	if (!home || !name) {
		heap_free(connection->heap, home);
		sqlite3_free(name);
		return err_set(err, ERR_NOMEM, "find tables in schema", schema,
		               "no memory");
	}
	home->base = (struct home){
		.methods = &inline_methods, .epoch = &home->epoch,
		.read = &home->read, .name = name,
		.refresh = inline_refresh,
		.of_main = sqlite3_stricmp(schema, "main") == 0 };
	home->connection = connection;
	home->schema = name;
	home->epoch = home->version = home->transaction = 1;
	os->methods->random(os, &home->seed, sizeof home->seed);
	home->next = connection->inline_homes;
	connection->inline_homes = home;
	*made = home;
	return ERR_NONE;
}

int home_inline_find(struct connection *connection, const char *schema,
                     struct home **found, struct err *err)
{
	struct inline_home *home = connection->inline_homes;
	int rc = ERR_NONE;

	while (home && sqlite3_stricmp(home->schema, schema) != 0)
		home = home->next;
	if (!home)
		rc = make(connection, schema, &home, err);
	if (!rc)
		*found = home_hold(&home->base);
	return rc;
}

int home_find(struct connection *connection, const char *schema,
              struct home **home, struct err *err)
{
	const struct vtab_environment *environment = &connection->environment;
	int rc;

	if (environment->home_find)
		return environment->home_find(environment->home_context,
		                              connection->db, schema, home, err);
	rc = home_native_find(connection->heap, connection->db, schema, home,
	                      err);
	return rc == ERR_UNSUPPORTED
	               ? home_inline_find(connection, schema, home, err) : rc;
}

/* --- the budget -------------------------------------------------------------------- */

int64_t vtab_cache_configure(struct connection *connection, uint32_t kb)
{
	if (kb)
		connection->inline_cache_bytes = (size_t)kb * 1024;
	for (struct inline_home *home = connection->inline_homes; kb && home;
	     home = home->next)
		home->base.crowded = true;
	return (int64_t)(connection->inline_cache_bytes / 1024);
}
