/*
 * table.c - a connected table: its definition, its files, its scratch memory.
 */
#include "vtab/index_build.h"

/* Hands a failure to SQLite: the sentence through zErrMsg, the code as result. */
int table_result(struct table *table, int rc, const struct err *err)
{
	if (!rc)
		return SQLITE_OK;
	sqlite3_free(table->base.zErrMsg);
	table->base.zErrMsg = sqlite3_mprintf("%s", err->text);
	if (rc != ERR_CONSTRAINT)
		vfs_report(table->connection->environment.process, err);
	return vfs_result(rc);
}

int table_explain_memory(const struct table *table, const char *operation,
                         struct err *err)
{
	return err_set(err, ERR_NOMEM, operation, name_shorten(table->name).text,
	               "no memory");
}

static int scratch_open(struct table *table, struct err *err)
{
	struct heap *heap = table->connection->heap;
	const struct table_definition *definition = &table->definition;
	uint32_t columns = definition->column_count;

	table->values = heap_zeroed(heap, (columns + 1) * sizeof(struct value));
	table->old_values = heap_zeroed(heap,
	                                (columns + 1) * sizeof(struct value));
	table->vectors = heap_zeroed(heap, (columns + 1) * sizeof(struct span));
	table->unchanged = heap_zeroed(heap, columns + 1);
	table->indexes = heap_zeroed(heap, (definition->index_count + 1) *
	                                           sizeof *table->indexes);
	table->keys = heap_zeroed(heap, (definition->index_count + 1) *
	                                        sizeof *table->keys);
	table->defaults = heap_zeroed(heap, (columns + 1) *
	                                            sizeof *table->defaults);
	table->checks = heap_zeroed(heap, (definition->check_count + 1) *
	                                          sizeof *table->checks);
	table->generated = heap_zeroed(heap, (columns + 1) *
	                                             sizeof *table->generated);
	table->scratch.heap = heap;
	arena_init(&table->row_arena, heap);
	if (!table->values || !table->old_values || !table->vectors ||
	    !table->unchanged || !table->indexes ||
	    !table->keys || !table->defaults || !table->checks ||
	    !table->generated)
		return table_no_memory(table, "open table", err);
	for (uint32_t i = 0; i < columns; i++)
		table->any_not_null |= definition->columns[i].not_null;
	key_buffer_init(&table->old_key, heap);
	for (uint32_t i = 0; i < definition->index_count; i++)
		key_buffer_init(&table->keys[i], heap);
	return ERR_NONE;
}

static int index_columns(struct table *table, struct err *err)
{
	for (uint32_t i = 0; i < table->definition.index_count; i++) {
		struct table_index *index = &table->indexes[i];

		index->definition = &table->definition.indexes[i];
		index->columns = index_key_columns(index->definition,
		                                   &table->arena);
		if (!index->columns)
			return table_no_memory(table, "open table", err);
	}
	return ERR_NONE;
}

int table_open(struct connection *connection, int argc,
               const char *const *argv, struct table **opened, struct err *err)
{
	struct heap *heap = connection->heap;
	struct table *table = heap_zeroed(heap, sizeof *table);
	int rc;

	if (!table)
		return err_set(err, ERR_NOMEM, "open table",
		               name_shorten(argv[2]).text, "no memory");
	table->connection = connection;
	table->next = connection->tables;
	connection->tables = table;
	arena_init(&table->arena, heap);
	table->schema = sqlite3_mprintf("%s", argv[1]);
	table->name = sqlite3_mprintf("%s", argv[2]);
	rc = table->schema && table->name
	             ? ERR_NONE
	             : err_set(err, ERR_NOMEM, "open table",
	                       name_shorten(argv[2]).text, "no memory");
	if (!rc)
		rc = ddl_parse(argv[2], (uint32_t)(argc - 3), argv + 3,
		               &table->arena, &table->definition, err);
	if (!rc)
		rc = scratch_open(table, err);
	if (!rc)
		rc = index_columns(table, err);
	if (!rc)
		rc = home_find(connection, argv[1], &table->home, err);
	if (rc) {
		table_close(table);
		return rc;
	}
	*opened = table;
	return ERR_NONE;
}

void table_close(struct table *table)
{
	struct heap *heap = table->connection->heap;
	struct table **link = &table->connection->tables;

	while (*link != table)
		link = &(*link)->next;
	*link = table->next;
	sqlite3_free(table->base.zErrMsg); /* SQLite does not take xDestroy's */
	while (table->pooled)
		cursor_free(table, table->pool[--table->pooled]);
	for (uint32_t i = 0; table->indexes && i < table->definition.index_count;
	     i++) {
		if (table->indexes[i].graph)
			hnsw_close(table->indexes[i].graph);
		if (table->keys)
			key_buffer_close(&table->keys[i]);
	}
	for (uint32_t i = 0; table->defaults &&
	                     i < table->definition.column_count; i++)
		sqlite3_finalize(table->defaults[i]);
	for (uint32_t i = 0; table->generated &&
	                     i < table->definition.column_count; i++)
		sqlite3_finalize(table->generated[i]);
	for (uint32_t i = 0; table->checks && i < table->definition.check_count;
	     i++)
		sqlite3_finalize(table->checks[i]);
	if (table->old_key.heap)
		key_buffer_close(&table->old_key);
	if (table->scratch.heap)
		btree_scratch_free(&table->scratch);
	if (table->row_arena.heap)
		arena_close(&table->row_arena);
	heap_free(heap, table->values);
	heap_free(heap, table->old_values);
	heap_free(heap, table->vectors);
	heap_free(heap, table->unchanged);
	heap_free(heap, table->indexes);
	heap_free(heap, table->keys);
	heap_free(heap, table->defaults);
	heap_free(heap, table->checks);
	heap_free(heap, table->generated);
	heap_free(heap, table->row);
	if (table->held)
		table->home->methods->table_hold(table->home, table->file_id,
		                                 false);
	home_release(table->home);
	sqlite3_free(table->schema);
	sqlite3_free(table->name);
	arena_close(&table->arena);
	heap_free(heap, table);
}

int index_attach(struct table *table, struct table_index *index,
                 uint32_t file_id, struct err *err)
{
	int rc = table->home->methods->pager(table->home, file_id,
	                                     &index->pager, err);

	index->file_id = file_id;
	if (rc)
		return rc;
	if (index->definition->kind == INDEX_TREE)
		return btree_open_as(&index->tree, index->pager,
		                     BTREE_KEYS_BYTES, err);
	rc = hnsw_open(index->pager, table->connection->kernels,
	               &index->graph, err);
	if (!rc)
		hnsw_breathe(index->graph, &table->connection->breath.base);
	return rc;
}

/* For plans. */
static void count_rows(struct table *table)
{
	struct err err;
	uint64_t rows;

	if (!btree_count(&table->tree, &rows, &err))
		table->rows = (double)rows;
}

/* Takes pagers and opens trees; the home is being read. */
static int table_attach(struct table *table, const struct dictionary_entry *entry,
                        struct err *err)
{
	int rc;

	rc = layout_check(table, entry->table_id, err);
	if (rc)
		return rc;
	if (entry->index_count != table->definition.index_count)
		return err_set(err, ERR_CORRUPT, "open table",
		               name_shorten(table->name).text,
		               "its statement has %u indexes, the dictionary %u",
		               table->definition.index_count,
		               entry->index_count);
	table->table_id = entry->table_id;
	table->file_id = entry->table_file;
	table->home->methods->table_hold(table->home, table->file_id, true);
	table->held = true;
	rc = table->home->methods->pager(table->home, entry->table_file,
	                                 &table->pager, err);
	if (!rc)
		rc = btree_open_as(&table->tree, table->pager,
		                   BTREE_KEYS_ROWID, err);
	for (uint32_t i = 0; !rc && i < entry->index_count; i++)
		rc = index_attach(table, &table->indexes[i],
		                  entry->index_files[i], err);
	if (!rc)
		count_rows(table);
	return rc;
}

static void table_detach(struct table *table)
{
	for (uint32_t i = 0; i < table->definition.index_count; i++) {
		if (table->indexes[i].graph)
			hnsw_close(table->indexes[i].graph);
		table->indexes[i].graph = NULL;
	}
	if (table->held)
		table->home->methods->table_hold(table->home, table->file_id,
		                                 false);
	table->held = false;
	table->pager = NULL;
}

static int find_and_attach(struct table *table, struct arena *arena,
                           struct err *err)
{
	struct home *home = table->home;
	struct dictionary_entry entry;
	bool entered;
	int rc = home->methods->enter(home, &entered, err);

	if (rc)
		return rc;
	rc = home->methods->table_find(home, table->name, arena, &entry, err);
	if (!rc)
		rc = table_attach(table, &entry, err);
	if (rc)
		table_detach(table);
	home->methods->leave(home, entered);
	return rc;
}

int table_reach(struct table *table, struct err *err)
{
	struct arena arena;
	int rc;

	if (table->pager)
		return ERR_NONE;
	arena_init(&arena, table->connection->heap);
	rc = find_and_attach(table, &arena, err);
	arena_close(&arena);
	return rc;
}

int index_create_file(struct table *table,
                      const struct index_definition *definition,
                      uint32_t *file_id, struct err *err)
{
	struct home *home = table->home;
	bool tree = definition->kind == INDEX_TREE;
	struct pager *pager;
	int rc = home->methods->file_create(home,
	                                    tree ? STORE_FILE_INDEX
	                                         : STORE_FILE_GRAPH,
	                                    table->name, file_id, err);

	if (!rc)
		rc = home->methods->pager(home, *file_id, &pager, err);
	if (rc)
		return rc;
	return tree ? btree_create(pager, BTREE_KEYS_BYTES, err)
	            : hnsw_create(pager, &definition->graph, err);
}

int table_create_files(struct table *table, struct err *err)
{
	struct home *home = table->home;
	uint32_t count = table->definition.index_count;
	struct dictionary_entry entry = { .index_count = count };
	struct pager *pager;
	int rc = home->methods->table_make(home, table->name, &entry.table_id,
	                                   err);

	entry.index_files = arena_allocate(&table->arena, 4u * count + 4);
	if (!rc && !entry.index_files)
		rc = table_no_memory(table, "create table", err);
	if (!rc)
		rc = home->methods->file_create(home, STORE_FILE_TABLE,
		                                table->name, &entry.table_file,
		                                err);
	if (!rc)
		rc = home->methods->pager(home, entry.table_file, &pager, err);
	if (!rc)
		rc = btree_create(pager, BTREE_KEYS_ROWID, err);
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = index_create_file(table, &table->definition.indexes[i],
		                       &entry.index_files[i], err);
	if (!rc)
		rc = layout_put(table, entry.table_id, err);
	if (!rc)
		rc = home->methods->table_put(home, table->name, &entry,
		                              &table->arena, err);
	return rc ? rc : table_attach(table, &entry, err);
}

int table_drop_files(struct table *table, struct err *err)
{
	uint32_t count = table->definition.index_count;
	struct dictionary_entry entry = { .table_id = table->table_id,
		                          .table_file = table->file_id,
		                          .index_count = count };

	if (!table->pager)
		return table->home->methods->table_remove(
			table->home, table->name, NULL, &table->arena, err);
	entry.index_files = arena_allocate(&table->arena, 4u * count + 4);
	if (!entry.index_files)
		return table_no_memory(table, "drop table", err);
	for (uint32_t i = 0; i < count; i++)
		entry.index_files[i] = table->indexes[i].file_id;
	return table->home->methods->table_remove(table->home, table->name,
	                                          &entry, &table->arena, err);
}

/* The graph index of a vector column, or the number of indexes. */
uint32_t table_vector_index(const struct table *table, uint32_t column)
{
	uint32_t i = 0;

	while (i < table->definition.index_count &&
	       (table->definition.indexes[i].kind != INDEX_GRAPH ||
	        table->definition.indexes[i].columns[0].column != column))
		i++;
	return i;
}
