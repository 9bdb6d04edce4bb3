/*
 * inline_table.c - one table: its shadow tables, and its entry in the dictionary's
 * place.
 *
 * A directory has one dictionary; here each table has its entry in its own row 0, so
 * that its shadow tables are all there is of it and it can be copied by itself. The
 * numbers that stand for files (file_id) are the home's own and are not stored.
 */
#include "vtab/inline.h"
#include "vtab/dictionary_format.h"

#include "base/checksum.h"

#include <stdio.h>

/* --- names ------------------------------------------------------------------------- */

static int no_memory(const char *name, struct err *err)
{
	return err_set(err, ERR_NOMEM, "open table", name_shorten(name).text,
	               "no memory");
}

static void names_free(struct inline_table *table)
{
	for (enum shadow_kind kind = 0; kind < SHADOW_KINDS; kind++)
		sqlite3_free(table->shadows[kind]);
	sqlite3_free(table->name);
}

static int names_set(struct inline_table *table, const char *name,
                     struct err *err)
{
	struct inline_table names = { .name = sqlite3_mprintf("%s", name) };
	bool all = names.name;

	for (enum shadow_kind kind = 0; kind < SHADOW_KINDS; kind++) {
		names.shadows[kind] = sqlite3_mprintf("%s_%s", name,
		                                      shadow_suffixes[kind]);
		all = all && names.shadows[kind];
	}
	if (!all) {
		names_free(&names);
		return no_memory(name, err);
	}
	names_free(table);
	table->name = names.name;
	memcpy(table->shadows, names.shadows, sizeof names.shadows);
	return ERR_NONE;
}

int inline_file_rename(struct inline_file *file, struct err *err)
{
	const struct inline_table *table = file->table;
	struct short_name shadow = name_shorten(table->shadows[shadow_of(file)]);
	char *name = file->number
	                     ? sqlite3_mprintf("%s.%s, file %u",
	                                       table->home->schema, shadow.text,
	                                       file->number)
	                     : sqlite3_mprintf("%s.%s", table->home->schema,
	                                       shadow.text);

	if (!name)
		return no_memory(table->name, err);
	sqlite3_free(file->name);
	file->name = name;
	file->pager.name = name;
	return ERR_NONE;
}

/* --- what the home knows ------------------------------------------------------------- */

int inline_table_find(struct inline_home *home, const char *name,
                      struct inline_table **found, struct err *err)
{
	struct inline_table *table = home->tables;
	int rc;

	while (table && sqlite3_stricmp(table->name, name) != 0)
		table = table->next;
	*found = table;
	if (table)
		return ERR_NONE;
	table = heap_zeroed(home->connection->heap, sizeof *table);
	if (!table)
		return no_memory(name, err);
	table->home = home;
	rc = names_set(table, name, err);
	if (rc) {
		heap_free(home->connection->heap, table);
		return rc;
	}
	table->version = home->version - 1;
	table->next = home->tables;
	home->tables = table;
	*found = table;
	return ERR_NONE;
}

struct inline_file *inline_file_find(struct inline_home *home, uint32_t file_id)
{
	for (struct inline_table *table = home->tables; table;
	     table = table->next)
		for (struct inline_file *file = table->files; file;
		     file = file->next)
			if (file->id == file_id)
				return file;
	return NULL;
}

void inline_table_free(struct inline_table *table)
{
	struct inline_home *home = table->home;
	struct inline_table **link = &home->tables;
	struct inline_file *file;

	cache_drop(home, table, NULL);
	while (*link != table)
		link = &(*link)->next;
	*link = table->next;
	shadow_statements_drop(table);
	while ((file = table->files) != NULL) {
		table->files = file->next;
		sqlite3_free(file->name);
		heap_free(home->connection->heap, file);
	}
	heap_free(home->connection->heap, table->entries);
	names_free(table);
	heap_free(home->connection->heap, table);
}

void inline_tables_sweep(struct inline_home *home)
{
	struct inline_table *table = home->tables, *next;

	for (; table; table = next) {
		next = table->next;
		if (!table->holders && !table->changed)
			inline_table_free(table);
	}
}

void inline_table_hold(struct home *base, uint32_t file_id, bool held)
{
	struct inline_home *home = inline_home_of(base);

	for (struct inline_table *table = home->tables; table;
	     table = table->next)
		for (struct inline_file *file = table->files; file;
		     file = file->next)
			if (file->id == file_id) {
				table->holders += held ? 1 : UINT32_MAX;
				return;
			}
}

/* --- making and unmaking ------------------------------------------------------------- */

static int catalog_first(struct inline_table *table, struct err *err)
{
	struct os *os = table->home->connection->environment.process->os;
	int rc = shadow_insert(table, SHADOW_TABLE, INLINE_CATALOG_ROW,
	                       INLINE_HEADER_SIZE, err);

	if (rc)
		return rc;
	os->methods->random(os, &table->identity, sizeof table->identity);
	table->stamp = 0;
	table->sequence = 0;
	table->index_count = table->next_number = 0;
	table->version = table->home->version;
	table->known = table->changed = true;
	return ERR_NONE;
}

int inline_table_make(struct home *base, const char *name, uint64_t *table_id,
                      struct err *err)
{
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	if (!rc)
		rc = shadow_each_kind(table,
		                      "CREATE TABLE \"%w\".\"%w\"(pgno INTEGER PRIMARY KEY, page BLOB NOT NULL)",
		                      name, err);
	if (rc)
		return rc;
	shadow_statements_drop(table);
	catalog_forget(table, true);
	*table_id = 1; /* entries and layouts lie in the table's own rows */
	return catalog_first(table, err);
}

int inline_table_rename(struct home *base, const char *from, const char *to,
                        struct arena *arena, struct err *err)
{
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), from, &table, err);

	(void)arena;
	if (!rc)
		rc = catalog_know(table, err);
	if (rc)
		return rc;
	shadow_statements_drop(table);
	rc = shadow_each_kind(table, "ALTER TABLE \"%w\".\"%w\" RENAME TO \"%w\"",
	                      to, err);
	if (!rc)
		rc = names_set(table, to, err);
	for (struct inline_file *file = table->files; !rc && file;
	     file = file->next)
		rc = inline_file_rename(file, err);
	return rc;
}

int inline_table_remove(struct home *base, const char *name,
                        const struct dictionary_entry *entry,
                        struct arena *arena, struct err *err)
{
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	(void)entry, (void)arena;
	if (rc)
		return rc;
	shadow_statements_drop(table);
	rc = shadow_each_kind(table, "DROP TABLE IF EXISTS \"%w\".\"%w\"", name,
	                      err);
	catalog_forget(table, false);
	return rc;
}

/* --- entries ----------------------------------------------------------------------- */

static int no_rows(const struct inline_table *table, struct err *err)
{
	return err_set(err, ERR_MISSING, "open table",
	               name_shorten(table->name).text,
	               "schema %s has no table %s with its rows: VACUUM INTO, backup and dump "
	               "of a turdb directory carry ordinary tables only; copy those databases with turdb_backup()",
	               table->home->schema,
	               name_shorten(table->shadows[SHADOW_TABLE]).text);
}

int inline_entry_find(struct home *base, const char *name, struct arena *arena,
                      struct dictionary_entry *entry, struct err *err)
{
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	if (!rc)
		rc = catalog_know(table, err);
	if (rc == ERR_ABORT)
		return no_rows(table, err);
	if (rc)
		return rc;
	*entry = (struct dictionary_entry){
		.table_id = 1, .sequence = table->sequence,
		.table_file = table->entries[0]->id,
		.index_count = table->index_count,
		.index_files = arena_allocate(arena,
		                              4u * table->index_count + 4) };
	if (!entry->index_files)
		return no_memory(name, err);
	for (uint32_t i = 0; i < table->index_count; i++)
		entry->index_files[i] = table->entries[1 + i]->id;
	return ERR_NONE;
}

/* Behind the table's entry those of its indexes, in this order. */
static int put_in_order(struct inline_table *table,
                        const struct dictionary_entry *entry, struct err *err)
{
	for (uint32_t i = 0; i < entry->index_count; i++) {
		uint32_t place = 1 + i;
		struct inline_file *file;

		while (place < table->entry_count &&
		       table->entries[place]->id != entry->index_files[i])
			place++;
		if (place >= table->entry_count)
			return err_set(err, ERR_CORRUPT, "enter table",
			               name_shorten(table->name).text,
			               "an index has no file");
		file = table->entries[place];
		if (place != 1 + i) {
			table->entries[place] = table->entries[1 + i];
			table->entries[1 + i] = file;
			table->entries[place]->changed = file->changed = true;
		}
	}
	return ERR_NONE;
}

int inline_entry_put(struct home *base, const char *name,
                     const struct dictionary_entry *entry, struct arena *arena,
                     struct err *err)
{
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	(void)arena;
	if (!rc)
		rc = catalog_know(table, err);
	if (!rc)
		rc = put_in_order(table, entry, err);
	if (rc)
		return rc;
	table->index_count = entry->index_count;
	table->sequence = entry->sequence;
	table->changed = true;
	return ERR_NONE;
}

/* --- layouts ----------------------------------------------------------------------- */

static uint64_t layout_checksum(const struct inline_table *table,
                                struct span layout)
{
	return checksum64(layout.data, layout.size,
	                  checksum_seed(table->identity, 0, 0));
}

int inline_layout_put(struct home *base, const char *name, uint64_t table_id,
                      struct span layout, struct err *err)
{
	struct shadow shadow = { .blob = NULL };
	struct inline_table *table;
	uint8_t sum[INLINE_CHECKSUM_SIZE];
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	(void)table_id;
	if (!rc)
		rc = shadow_insert(table, SHADOW_TABLE, INLINE_LAYOUT_ROW,
		                   sizeof sum + layout.size, err);
	if (!rc)
		rc = shadow_seek(&shadow, table, SHADOW_TABLE, INLINE_LAYOUT_ROW,
		                 true, sizeof sum + layout.size, err);
	if (rc)
		return rc;
	store_le64(sum, layout_checksum(table, layout));
	rc = shadow_write(&shadow, 0, sum, sizeof sum, err);
	if (!rc)
		rc = shadow_write(&shadow, sizeof sum, layout.data, layout.size,
		                  err);
	shadow_close(&shadow);
	return rc;
}

static int layout_read(struct inline_table *table, struct shadow *shadow,
                       struct btree_scratch *scratch, struct span *layout,
                       struct err *err)
{
	size_t size = shadow_size(shadow);
	uint8_t *bytes = heap_resize(scratch->heap, scratch->bytes, size + 1);
	int rc;

	if (!bytes)
		return no_memory(table->name, err);
	scratch->bytes = bytes;
	scratch->size = size + 1;
	rc = shadow_read(shadow, 0, bytes, size, err);
	if (rc)
		return rc;
	*layout = span_of(bytes + INLINE_CHECKSUM_SIZE,
	                  size < INLINE_CHECKSUM_SIZE
	                          ? 0 : size - INLINE_CHECKSUM_SIZE);
	if (size > INLINE_CHECKSUM_SIZE &&
	    load_le64(bytes) == layout_checksum(table, *layout))
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "open table",
	               name_shorten(table->name).text,
	               "row -1 of %s, its layout, is damaged",
	               name_shorten(table->shadows[SHADOW_TABLE]).text);
}

int inline_layout_find(struct home *base, const char *name, uint64_t table_id,
                       struct btree_scratch *scratch, struct span *layout,
                       bool *found, struct err *err)
{
	struct shadow shadow = { .blob = NULL };
	struct inline_table *table;
	int rc = inline_table_find(inline_home_of(base), name, &table, err);

	(void)table_id;
	if (!rc)
		rc = catalog_know(table, err);
	if (!rc)
		rc = shadow_seek(&shadow, table, SHADOW_TABLE, INLINE_LAYOUT_ROW,
		                 false, 0, err);
	if (!rc)
		rc = layout_read(table, &shadow, scratch, layout, err);
	shadow_close(&shadow);
	*found = !rc;
	return rc;
}
