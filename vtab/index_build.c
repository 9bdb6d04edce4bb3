/*
 * index_build.c - an index made from the rows that are there, and unmade.
 *
 * Purpose       turdb_create_index(), turdb_reindex() and turdb_drop_index() fill
 *               and empty indexes here.
 * Structures    Keys of a tree are gathered until they take RUN_BYTES_MAX, sorted,
 *               and put in that order: into an empty tree each goes behind the
 *               last, so its pages fill up; a later run visits each page once.
 *               Vectors move from rows into a graph, in rowid order, and back.
 * Safety        Everything happens in the caller's transaction, which is rolled
 *               back when a build fails. A breath every few rows lets an interrupt
 *               and the progress handler in.
 */
#include "vtab/index_build.h"

#include <stdlib.h>
#include <string.h>

enum {
	RUN_BYTES_MAX = 16 << 20,
	CHUNK_SIZE = 64 << 10,
	ENTRIES_OF_OPERATION = 256,
};

enum entry_kind {
	ENTRY_PLAIN,
	ENTRY_UNIQUE,      /* the rowid lies behind the key, and is the value */
	ENTRY_LONG_UNIQUE, /* the rows say whether values are equal           */
};

struct entry {
	uint64_t head;     /* the first bytes of the key: most comparisons end here */
	const uint8_t *key;
	uint32_t size;
	enum entry_kind kind;
};

struct build {
	struct table *table;
	struct table_index *index;
	struct key_buffer key;
	struct arena keys;
	struct entry *entries;
	size_t count, room, bytes, bytes_max;
	uint8_t *chunk;
	size_t chunk_left;
	bool any;                /* a run has been put */
	struct hnsw *from;       /* where vectors come from, if not from rows */
	int (*each)(struct build *build, int64_t rowid); /* see each_row()    */
	struct err *err;
};

/* --- what all builds do ------------------------------------------------------------- */

static int fail(struct build *build, int code, const char *why)
{
	char what[160];

	sqlite3_snprintf(sizeof what, what, "%s of table %s",
	                 name_shorten(build->index->definition->name).text,
	                 name_shorten(build->table->name).text);
	return err_set(build->err, code, "build index", what, "%s", why);
}

static struct breath *breath_of(const struct build *build)
{
	return &build->table->connection->breath.base;
}

static int operation_end(struct build *build)
{
	struct home *home = build->table->home;

	return home->methods->operation_end(home, build->err);
}

static int row_met(void *context, struct span key, struct span row,
                   struct err *err)
{
	struct build *build = context;
	struct table *table = build->table;
	int rc = row_columns(row, table->values, table->definition.column_count,
	                     err);

	if (!rc)
		rc = build->each(build, btree_rowid_of(key.data));
	home_relieve(table->home);
	return rc ? rc : breathe_deeply(breath_of(build), err);
}

/* Calls `each` with every row, its values in table->values, borrowed until the
 * operation ends. `each` may change the row it is given. */
static int each_row(struct build *build,
                    int (*each)(struct build *build, int64_t rowid))
{
	build->each = each;
	return btree_each(&build->table->tree, row_met, build, NULL, build->err);
}

/* --- runs of a tree ------------------------------------------------------------------- */

static uint64_t head_of(const uint8_t *key, size_t size)
{
	uint8_t bytes[8] = { 0 };

	memcpy(bytes, key, size < 8 ? size : 8);
	return load_be64(bytes);
}

static int by_key(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	uint32_t size = a->size < b->size ? a->size : b->size;
	int order;

	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	order = memcmp(a->key, b->key, size);
	return order ? order : (a->size > b->size) - (a->size < b->size);
}

static uint8_t *key_room(struct build *build, size_t size)
{
	uint8_t *room;

	if (size > build->chunk_left) {
		build->chunk = arena_allocate(&build->keys, CHUNK_SIZE);
		build->chunk_left = build->chunk ? CHUNK_SIZE : 0;
		if (!build->chunk)
			return NULL;
		build->bytes += CHUNK_SIZE;
	}
	room = build->chunk;
	build->chunk += size;
	build->chunk_left -= size;
	return room;
}

static int violated(struct build *build, int64_t rowid, int64_t other)
{
	char columns[200], why[400];

	index_columns_name(build->table, build->index->definition, columns,
	                   sizeof columns);
	sqlite3_snprintf(sizeof why, why,
	                 "UNIQUE constraint failed: %s (rows %lld and %lld have the same values)",
	                 columns, (long long)(rowid < other ? rowid : other),
	                 (long long)(rowid < other ? other : rowid));
	return fail(build, ERR_CONSTRAINT, why);
}

/* What the tree has under this key is another row's. */
static int put_refused(struct build *build, const struct entry *entry)
{
	struct span value;
	bool found;
	int rc = btree_get(&build->index->tree,
	                   span_of(entry->key, entry->size),
	                   &build->table->scratch, &value, &found, build->err);

	if (rc)
		return rc;
	if (entry->kind != ENTRY_UNIQUE || !found || value.size != 8)
		return fail(build, ERR_CORRUPT, "a row is there twice");
	return violated(build, btree_rowid_of(value.data),
	                btree_rowid_of(entry->key + entry->size));
}

static int check_long(struct build *build, const struct entry *entry)
{
	struct table *table = build->table;
	struct key_buffer key = { .bytes = (uint8_t *)(uintptr_t)entry->key,
		                  .size = entry->size };
	int64_t rowid = btree_rowid_of(entry->key + entry->size - 8), other;
	struct btree_scratch scratch = { .heap = table->connection->heap };
	struct span row;
	bool found;
	int rc = table_row_get(table, rowid, &scratch, &row, &found, build->err);

	if (!rc && !found)
		rc = fail(build, ERR_CORRUPT, "a row is no longer there");
	if (!rc)
		rc = row_columns(row, table->old_values,
		                 table->definition.column_count, build->err);
	if (!rc)
		rc = long_key_find(table, build->index, table->old_values, rowid,
		                   &key, &rowid, &other, &found, build->err);
	btree_scratch_free(&scratch);
	return rc || !found ? rc : violated(build, rowid, other);
}

static int put_entry(struct build *build, const struct entry *entry)
{
	struct span value = entry->kind == ENTRY_UNIQUE
	                            ? span_of(entry->key + entry->size, 8)
	                            : span_of(NULL, 0);
	int rc = ERR_NONE;

	if (entry->kind == ENTRY_LONG_UNIQUE)
		rc = check_long(build, entry);
	if (!rc)
		rc = btree_put(&build->index->tree,
		               span_of(entry->key, entry->size), value,
		               build->any ? BTREE_PUT_NEW : BTREE_PUT_APPEND,
		               build->err);
	return rc == ERR_EXISTS ? put_refused(build, entry) : rc;
}

static int put_run(struct build *build)
{
	int rc = ERR_NONE;

	if (build->count)
		qsort(build->entries, build->count, sizeof *build->entries,
		      by_key);
	for (size_t i = 0; !rc && i < build->count; i++) {
		rc = put_entry(build, &build->entries[i]);
		if (!rc && i % ENTRIES_OF_OPERATION == 0)
			rc = operation_end(build);
		if (!rc)
			rc = breathe(breath_of(build), build->err);
	}
	build->any = true;
	build->count = build->bytes = build->chunk_left = 0;
	arena_reset(&build->keys);
	return rc ? rc : operation_end(build);
}

static bool is_unique(const struct build *build)
{
	const struct index_definition *definition = build->index->definition;

	return definition->unique &&
	       !index_has_null(build->table, definition, build->table->values);
}

static int entry_add(struct build *build, int64_t rowid, bool unique)
{
	size_t size = build->key.size, room = build->room ? build->room * 2 : 256;
	uint8_t *bytes;

	if (build->count == build->room) {
		void *larger = heap_resize(build->table->connection->heap,
		                           build->entries,
		                           room * sizeof *build->entries);

		if (!larger)
			return fail(build, ERR_NOMEM, "no memory for its entries");
		build->entries = larger;
		build->room = room;
	}
	bytes = key_room(build, size + 8);
	if (!bytes)
		return fail(build, ERR_NOMEM, "no memory for its keys");
	memcpy(bytes, build->key.bytes, size);
	btree_rowid_key(bytes + size, rowid);
	build->bytes += sizeof *build->entries;
	build->entries[build->count++] = (struct entry){
		.head = head_of(bytes, size), .key = bytes,
		.size = (uint32_t)size,
		.kind = unique ? ENTRY_UNIQUE
		        : build->key.shortened && is_unique(build)
		                ? ENTRY_LONG_UNIQUE : ENTRY_PLAIN };
	return ERR_NONE;
}

static int take_row(struct build *build, int64_t rowid)
{
	struct table *table = build->table;
	bool unique;
	int rc;

	rc = index_key(build->index, table->values, rowid,
	               table->definition.rowid_column, &build->key, &unique,
	               build->err);
	if (!rc)
		rc = entry_add(build, rowid, unique);
	/* A run ends the operation; the row is not needed any more. */
	return rc || build->bytes < build->bytes_max ? rc : put_run(build);
}

/* --- graphs --------------------------------------------------------------------------- */

/* Writes table->values back; vectors have moved. */
static int row_put(struct build *build, int64_t rowid)
{
	struct table *table = build->table;
	struct span row;
	uint8_t key[8];
	int rc = table_row_encode(table, table->values, &row, build->err);

	if (rc)
		return rc;
	btree_rowid_key(key, rowid);
	return btree_put(&table->tree, span_of(key, 8), row, BTREE_PUT_REPLACE,
	                 build->err);
}

/* The vector of the row that is loaded, wherever it is; empty when there is none. */
static int vector_of_row(struct build *build, struct hnsw *from, int64_t rowid,
                         struct span *vector)
{
	const struct value *value =
		&build->table->values[build->index->definition->columns[0].column];
	int64_t owner;
	int rc;

	*vector = span_of(NULL, 0);
	if (value->type == VALUE_NULL)
		return ERR_NONE;
	if (value->type == VALUE_BLOB && !from) {
		*vector = value->bytes;
		return ERR_NONE;
	}
	if (value->type != VALUE_VECTOR || !from)
		return fail(build, ERR_CORRUPT, "a row has no vector where it should");
	rc = hnsw_vector(from, (uint32_t)value->integer, vector, &owner,
	                 build->err);
	if (!rc && owner != rowid)
		return fail(build, ERR_CORRUPT, "a node names another row");
	return rc;
}

static int move_vector(struct build *build, struct hnsw *from, int64_t rowid)
{
	struct value *value =
		&build->table->values[build->index->definition->columns[0].column];
	struct span vector;
	uint32_t node;
	int rc = vector_of_row(build, from, rowid, &vector);

	if (rc || !vector.size)
		return rc;
	rc = hnsw_insert(build->index->graph, rowid, vector, &node, build->err);
	if (rc == ERR_INVALID) {
		struct err why = *build->err;
		char text[ERR_TEXT_SIZE];

		sqlite3_snprintf(sizeof text, text, "row %lld: %s",
		                 (long long)rowid, why.text);
		return fail(build, ERR_INVALID, text);
	}
	if (rc)
		return rc;
	*value = (struct value){ .type = VALUE_VECTOR, .integer = node };
	rc = row_put(build, rowid);
	return rc ? rc : operation_end(build);
}

static int vector_into_graph(struct build *build, int64_t rowid)
{
	return move_vector(build, NULL, rowid);
}

static int vector_between_graphs(struct build *build, int64_t rowid)
{
	return move_vector(build, build->from, rowid);
}

static int vector_into_row(struct build *build, int64_t rowid)
{
	struct value *value =
		&build->table->values[build->index->definition->columns[0].column];
	struct span vector;
	int rc = vector_of_row(build, build->from, rowid, &vector);

	if (rc || !vector.size)
		return rc;
	*value = (struct value){ .type = VALUE_BLOB, .bytes = vector };
	rc = row_put(build, rowid);
	return rc ? rc : operation_end(build);
}

/* --- the operations ------------------------------------------------------------------- */

static void build_open(struct build *build, struct table *table,
                       struct table_index *index, struct err *err)
{
	struct heap *heap = table->connection->heap;
	size_t limit = atomic_load(&heap->limit);

	*build = (struct build){ .table = table, .index = index, .err = err,
		                 .bytes_max = RUN_BYTES_MAX };
	if (limit && limit / 8 < RUN_BYTES_MAX)
		build->bytes_max = limit / 8;
	table->connection->breath.due_us = 0; /* one at once, however short it is */
	key_buffer_init(&build->key, heap);
	arena_init(&build->keys, heap);
}

static void build_close(struct build *build)
{
	vfs_breath_end(&build->table->connection->breath);
	heap_free(build->table->connection->heap, build->entries);
	arena_close(&build->keys);
	key_buffer_close(&build->key);
}

int index_fill(struct table *table, struct table_index *index,
               struct hnsw *from, struct err *err)
{
	struct build build;
	int rc;

	build_open(&build, table, index, err);
	build.from = from;
	if (index->definition->kind == INDEX_TREE) {
		rc = each_row(&build, take_row);
		if (!rc)
			rc = put_run(&build);
	} else {
		rc = each_row(&build, from ? vector_between_graphs
		                           : vector_into_graph);
	}
	build_close(&build);
	return rc;
}

int index_vectors_into_rows(struct table *table, struct table_index *index,
                            struct err *err)
{
	struct build build;
	int rc;

	build_open(&build, table, index, err);
	build.from = index->graph;
	rc = each_row(&build, vector_into_row);
	build_close(&build);
	return rc;
}
