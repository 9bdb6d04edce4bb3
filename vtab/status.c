/*
 * status.c - what turdb_status tells of a schema that is no directory.
 *
 * Pages are those of all its tables, as the transaction sees them; what is in memory,
 * and how often it was there when it was wanted, is this connection's own.
 */
#include "vtab/inline.h"

struct figures {
	uint64_t tables, pages, free_pages;
	struct err *err;
};

static int add_file(struct figures *figures, struct table *table,
                    uint32_t file_id)
{
	struct store_file_info info;
	int rc = table->home->methods->file_info(table->home, file_id, &info,
	                                         figures->err);

	if (rc)
		return rc;
	figures->pages += info.page_count;
	figures->free_pages += info.free_pages;
	return ERR_NONE;
}

static int add_files(struct figures *figures, struct table *table)
{
	int rc = add_file(figures, table, table->file_id);

	figures->tables++;
	for (uint32_t i = 0; !rc && i < table->definition.index_count; i++)
		rc = add_file(figures, table, table->indexes[i].file_id);
	return rc;
}

static int add_table(struct table *table, void *context)
{
	struct figures *figures = context;
	bool entered;
	int rc = table->home->methods->enter(table->home, &entered,
	                                     figures->err);

	if (rc)
		return rc;
	rc = add_files(figures, table);
	table->home->methods->leave(table->home, entered);
	return rc;
}

/* NULL: none of its tables was used yet. */
static const struct inline_home *home_of(const struct connection *connection,
                                         const char *schema)
{
	const struct inline_home *home = connection->inline_homes;

	while (home && sqlite3_stricmp(home->schema, schema) != 0)
		home = home->next;
	return home;
}

int vtab_status(struct connection *connection, const char *schema,
                int (*each)(void *context, const char *name, int64_t value,
                            const char *what),
                void *context, struct err *err)
{
	static const struct frame_cache none;
	struct figures figures = { .err = err };
	const struct inline_home *home;
	const struct frame_cache *cache;
	int rc = table_each(connection, schema, add_table, &figures, err);

	if (rc)
		return rc;
	home = home_of(connection, schema);
	cache = home ? &home->cache : &none;
	each(context, "tables", (int64_t)figures.tables, "turdb tables");
	each(context, "pages", (int64_t)figures.pages,
	     "pages of their shadow tables");
	each(context, "free_pages", (int64_t)figures.free_pages,
	     "of those, pages that nothing uses");
	each(context, "cache_kb",
	     (int64_t)(connection->inline_cache_bytes / 1024),
	     "pages that this connection keeps in memory");
	each(context, "cached_pages", cache->count, "pages in memory now");
	each(context, "cached_kb", (int64_t)(cache->bytes / 1024),
	     "what they take, with what changed ones were before");
	each(context, "cache_hits", (int64_t)cache->hits,
	     "pages that were in memory when they were wanted");
	each(context, "cache_misses", (int64_t)cache->misses,
	     "pages that were read from shadow tables");
	return ERR_NONE;
}
