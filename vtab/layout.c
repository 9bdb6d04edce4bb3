/*
 * layout.c - a table is read only as what it was stored.
 *
 * SQLite hands xConnect the statement that sqlite_schema has, and PRAGMA writable_schema
 * lets a user edit that. With columns added, gone, renamed, of another type or in
 * another order the rows would be misread without a word. So the dictionary keeps what
 * they were stored with, as a text: names, types and vectors of the columns, and which
 * of them is the rowid. What does not change how rows are read (defaults, checks,
 * collations) is not in it. Nor are indexes: turdb_reindex() makes their entries what
 * an edited statement says.
 */
#include "vtab/dictionary_format.h"
#include "vtab/table.h"

#include <string.h>

enum {
	SHOWN_BYTES = 150,  /* of a layout, in an error */
	SHOWN_BEFORE = 60,  /* of them, before the first difference */
};

static void add_column(sqlite3_str *text, const struct table_definition *table,
                       uint32_t i)
{
	static const char *const affinities[] = {
		[AFFINITY_BLOB] = "BLOB",
		[AFFINITY_TEXT] = "TEXT",
		[AFFINITY_NUMERIC] = "NUMERIC",
		[AFFINITY_INTEGER] = "INTEGER",
		[AFFINITY_REAL] = "REAL",
	};
	static const char *const elements[] = {
		[HNSW_F32] = "f32",
		[HNSW_F16] = "f16",
		[HNSW_INT8] = "int8",
		[HNSW_BIT] = "bit",
	};
	const struct column_definition *column = &table->columns[i];

	sqlite3_str_appendf(text, "%s\"%w\" ", i ? ", " : "", column->name);
	if (column->vector)
		sqlite3_str_appendf(text, "VECTOR(%u, %s)", column->dimensions,
		                    elements[column->element]);
	else
		sqlite3_str_appendall(text, affinities[column->affinity]);
	if ((int)i == table->rowid_column)
		sqlite3_str_appendall(text, " ROWID");
}

/* sqlite3_free() it. */
static int write_layout(const struct table *table, char **layout,
                        struct err *err)
{
	const struct table_definition *definition = &table->definition;
	sqlite3_str *text = sqlite3_str_new(NULL);

	sqlite3_str_appendchar(text, 1, LAYOUT_VERSION);
	for (uint32_t i = 0; i < definition->column_count; i++)
		add_column(text, definition, i);
	*layout = sqlite3_str_finish(text);
	return *layout ? ERR_NONE : table_no_memory(table, "open table", err);
}

int layout_put(const struct table *table, uint64_t table_id, struct err *err)
{
	char *layout = NULL;
	int rc = write_layout(table, &layout, err);

	if (!rc)
		rc = table->home->methods->layout_put(
			table->home, table->name, table_id,
			span_of(layout, strlen(layout)), err);
	sqlite3_free(layout);
	return rc;
}

/* --- comparing ---------------------------------------------------------------------- */

static size_t first_difference(struct span stored, struct span now)
{
	size_t i = 0;

	while (i < stored.size && i < now.size && stored.data[i] == now.data[i])
		i++;
	return i;
}

struct excerpt { char text[SHOWN_BYTES + 8]; };

/* The part around the first difference. */
static struct excerpt excerpt_of(struct span layout, size_t difference)
{
	size_t from = difference > SHOWN_BEFORE ? difference - SHOWN_BEFORE : 0;
	size_t size = layout.size - from;
	struct excerpt excerpt;

	sqlite3_snprintf(sizeof excerpt.text, excerpt.text, "%s%.*s%s",
	                 from ? "..." : "",
	                 (int)(size < SHOWN_BYTES ? size : SHOWN_BYTES),
	                 (const char *)layout.data + from,
	                 size > SHOWN_BYTES ? "..." : "");
	return excerpt;
}

static int differ(const struct table *table, struct span stored,
                  struct span now, struct err *err)
{
	size_t difference = first_difference(stored, now);

	return err_set(err, ERR_CORRUPT, "open table",
	               name_shorten(table->name).text,
	               "its statement in sqlite_schema says %s, its rows were stored as %s; set the statement right",
	               excerpt_of(now, difference).text,
	               excerpt_of(stored, difference).text);
}

static int compare(const struct table *table, struct span stored,
                   const char *layout, struct err *err)
{
	struct span now = span_of(layout + LAYOUT_TEXT_AT,
	                          strlen(layout + LAYOUT_TEXT_AT));

	if (stored.size < LAYOUT_TEXT_AT || stored.data[LAYOUT_VERSION_AT] == 0)
		return err_set(err, ERR_CORRUPT, "open table",
		               name_shorten(table->name).text,
		               "its layout in the dictionary is damaged");
	if (stored.data[LAYOUT_VERSION_AT] > LAYOUT_VERSION)
		return err_set(err, ERR_VERSION, "open table",
		               name_shorten(table->name).text,
		               "its layout has version %u, this library knows %d",
		               stored.data[LAYOUT_VERSION_AT], LAYOUT_VERSION);
	stored = span_of(stored.data + LAYOUT_TEXT_AT,
	                 stored.size - LAYOUT_TEXT_AT);
	if (stored.size == now.size &&
	    memcmp(stored.data, now.data, now.size) == 0)
		return ERR_NONE;
	return differ(table, stored, now, err);
}

int layout_check(const struct table *table, uint64_t table_id, struct err *err)
{
	struct btree_scratch scratch = { .heap = table->connection->heap };
	char *layout = NULL;
	struct span stored;
	bool found = false;
	int rc = table->home->methods->layout_find(table->home, table->name,
	                                           table_id, &scratch, &stored,
	                                           &found, err);

	if (!rc && found)
		rc = write_layout(table, &layout, err);
	if (!rc && found)
		rc = compare(table, stored, layout, err);
	sqlite3_free(layout);
	btree_scratch_free(&scratch);
	return rc;
}
