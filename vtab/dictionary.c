/*
 * dictionary.c - finds, enters and removes tables of a home.
 */
#include "vtab/dictionary.h"
#include "vtab/dictionary_format.h"
#include "vtab/table.h"

#include <string.h>

enum { NEXT_ID_KEY = 'N', TABLE_KEY = 'T' };

static int name_key(struct arena *arena, const char *table, struct span *key,
                    struct err *err)
{
	size_t size = strlen(table) + 1;
	uint8_t *bytes;

	/* Names longer than a key are told apart by their first bytes and a hash
	 * that the key codec appends; a name that long is refused instead. */
	if (size > BTREE_KEY_SIZE_MAX)
		return err_set(err, ERR_TOOBIG, "name table",
		               name_shorten(table).text,
		               "its name has %zu bytes, the most is %d", size - 1,
		               BTREE_KEY_SIZE_MAX - 1);
	bytes = arena_allocate(arena, size);
	if (!bytes)
		return err_set(err, ERR_NOMEM, "name table",
		               name_shorten(table).text, "no memory");
	bytes[0] = TABLE_KEY;
	for (size_t i = 1; i < size; i++) {
		char c = table[i - 1];

		bytes[i] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	*key = span_of(bytes, size);
	return ERR_NONE;
}

static int open_tree(struct home *home, struct btree *tree, struct err *err)
{
	struct pager *pager;
	int rc = home->methods->pager(home, STORE_DICTIONARY_FILE_ID, &pager,
	                              err);

	return rc ? rc : btree_open_as(tree, pager, BTREE_KEYS_BYTES, err);
}

static int decode(struct span value, struct arena *arena,
                  struct dictionary_entry *entry, const char *table,
                  struct err *err)
{
	const uint8_t *at = value.data;
	uint32_t count;

	if (value.size < DICTIONARY_INDEX_FILES_AT ||
	    at[DICTIONARY_VERSION_AT] == 0)
		goto damaged;
	if (at[DICTIONARY_VERSION_AT] > DICTIONARY_VERSION)
		return err_set(err, ERR_VERSION, "open table",
		               name_shorten(table).text,
		               "its entry has version %u, this library knows %d",
		               at[DICTIONARY_VERSION_AT], DICTIONARY_VERSION);
	count = load_le16(at + DICTIONARY_INDEXES_AT);
	if (value.size != DICTIONARY_INDEX_FILES_AT + 4u * count)
		goto damaged;
	*entry = (struct dictionary_entry){
		.table_id = load_le64(at + DICTIONARY_TABLE_ID_AT),
		.sequence = load_le64(at + DICTIONARY_SEQUENCE_AT),
		.table_file = load_le32(at + DICTIONARY_TABLE_FILE_AT),
		.index_count = count,
		.index_files = arena_allocate(arena, 4u * count + 4),
	};
	if (!entry->index_files)
		return err_set(err, ERR_NOMEM, "open table",
		               name_shorten(table).text, "no memory");
	for (uint32_t i = 0; i < count; i++)
		entry->index_files[i] =
			load_le32(at + DICTIONARY_INDEX_FILES_AT + 4u * i);
	return ERR_NONE;

damaged:
	return err_set(err, ERR_CORRUPT, "open table",
	               name_shorten(table).text,
	               "its dictionary entry of %zu bytes is damaged",
	               value.size);
}

int dictionary_find(struct home *home, const char *table, struct arena *arena,
                    struct dictionary_entry *entry, struct err *err)
{
	struct btree_scratch scratch = { .heap = arena->heap };
	struct btree tree;
	struct span key, value;
	bool found = false;
	int rc = open_tree(home, &tree, err);

	if (!rc)
		rc = name_key(arena, table, &key, err);
	if (!rc)
		rc = btree_get(&tree, key, &scratch, &value, &found, err);
	if (!rc && found)
		rc = decode(value, arena, entry, table, err);
	btree_scratch_free(&scratch);
	if (rc && rc != ERR_MISSING)
		return rc;
	if (rc == ERR_MISSING || !found)
		return err_set(err, ERR_MISSING, "open table",
		               name_shorten(table).text,
		               "%s has no rows for it: what a turdb table holds is not in SQLite's own pages; "
		               "copy databases with turdb_backup()",
		               home->name);
	return ERR_NONE;
}

static int tree_for_writing(struct home *home, struct btree *tree,
                            struct err *err)
{
	struct pager *pager;
	uint32_t file_id;
	int rc = open_tree(home, tree, err);

	if (rc != ERR_MISSING)
		return rc;
	rc = home->methods->file_create(home, STORE_FILE_DICTIONARY,
	                                "dictionary", &file_id, err);
	if (!rc)
		rc = home->methods->pager(home, file_id, &pager, err);
	if (!rc)
		rc = btree_create(pager, BTREE_KEYS_BYTES, err);
	return rc ? rc : btree_open_as(tree, pager, BTREE_KEYS_BYTES, err);
}

int dictionary_table_make(struct home *home, const char *table, uint64_t *id,
                          struct err *err)
{
	struct btree_scratch scratch = { .heap = NULL };
	static const uint8_t key_bytes[1] = { NEXT_ID_KEY };
	struct span key = span_of(key_bytes, 1), value;
	uint8_t bytes[8];
	struct btree tree;
	bool found;
	int rc = tree_for_writing(home, &tree, err);

	(void)table;
	if (rc)
		return rc;
	scratch.heap = tree.pager->heap;
	rc = btree_get(&tree, key, &scratch, &value, &found, err);
	if (!rc && found && value.size != 8)
		rc = err_set(err, ERR_CORRUPT, "create table", home->name,
		             "the next table id is damaged");
	if (rc)
		return rc;
	*id = found ? load_le64(value.data) : 1;
	store_le64(bytes, *id + 1);
	return btree_put(&tree, key, span_of(bytes, 8), BTREE_PUT_REPLACE, err);
}

int dictionary_put(struct home *home, const char *table,
                   const struct dictionary_entry *entry, struct arena *arena,
                   struct err *err)
{
	size_t size = DICTIONARY_INDEX_FILES_AT + 4u * entry->index_count;
	uint8_t *bytes = arena_allocate(arena, size);
	struct btree tree;
	struct span key;
	int rc = tree_for_writing(home, &tree, err);

	if (!rc && !bytes)
		rc = err_set(err, ERR_NOMEM, "enter table",
		             name_shorten(table).text, "no memory");
	if (!rc)
		rc = name_key(arena, table, &key, err);
	if (rc)
		return rc;
	memset(bytes, 0, size);
	bytes[DICTIONARY_VERSION_AT] = DICTIONARY_VERSION;
	store_le16(bytes + DICTIONARY_INDEXES_AT, (uint16_t)entry->index_count);
	store_le32(bytes + DICTIONARY_TABLE_FILE_AT, entry->table_file);
	store_le64(bytes + DICTIONARY_TABLE_ID_AT, entry->table_id);
	store_le64(bytes + DICTIONARY_SEQUENCE_AT, entry->sequence);
	for (uint32_t i = 0; i < entry->index_count; i++)
		store_le32(bytes + DICTIONARY_INDEX_FILES_AT + 4u * i,
		           entry->index_files[i]);
	return btree_put(&tree, key, span_of(bytes, size), BTREE_PUT_REPLACE,
	                 err);
}

/* --- layouts ----------------------------------------------------------------------- */

enum { LAYOUT_KEY = 'C', LAYOUT_KEY_SIZE = 9 };

static struct span layout_key(uint8_t bytes[LAYOUT_KEY_SIZE], uint64_t table_id)
{
	bytes[0] = LAYOUT_KEY;
	for (int i = 0; i < 8; i++)
		bytes[1 + i] = (uint8_t)(table_id >> (56 - 8 * i));
	return span_of(bytes, LAYOUT_KEY_SIZE);
}

int dictionary_layout_put(struct home *home, const char *table,
                          uint64_t table_id, struct span layout,
                          struct err *err)
{
	uint8_t key[LAYOUT_KEY_SIZE];
	struct btree tree;
	int rc = tree_for_writing(home, &tree, err);

	(void)table;
	return rc ? rc : btree_put(&tree, layout_key(key, table_id), layout,
	                           BTREE_PUT_REPLACE, err);
}

int dictionary_layout_find(struct home *home, const char *table,
                           uint64_t table_id, struct btree_scratch *scratch,
                           struct span *layout, bool *found, struct err *err)
{
	uint8_t key[LAYOUT_KEY_SIZE];
	struct btree tree;
	int rc = open_tree(home, &tree, err);

	(void)table;
	return rc ? rc : btree_get(&tree, layout_key(key, table_id), scratch,
	                           layout, found, err);
}

static int layout_remove(struct home *home, uint64_t table_id, struct err *err)
{
	uint8_t key[LAYOUT_KEY_SIZE];
	struct btree tree;
	bool found;
	int rc = open_tree(home, &tree, err);

	return rc ? rc : btree_delete(&tree, layout_key(key, table_id), &found,
	                              err);
}

static int entry_remove(struct home *home, const char *table,
                        struct arena *arena, struct err *err)
{
	struct btree tree;
	struct span key;
	bool found;
	int rc = open_tree(home, &tree, err);

	if (!rc)
		rc = name_key(arena, table, &key, err);
	return rc ? rc : btree_delete(&tree, key, &found, err);
}

/* --- renaming and removing ----------------------------------------------------------- */

int dictionary_rename(struct home *home, const char *from, const char *to,
                      struct arena *arena, struct err *err)
{
	struct dictionary_entry entry;
	int rc = dictionary_find(home, from, arena, &entry, err);

	if (!rc)
		rc = entry_remove(home, from, arena, err);
	return rc ? rc : dictionary_put(home, to, &entry, arena, err);
}

static int file_drop_if_there(struct home *home, uint32_t file_id,
                              struct err *err)
{
	int rc = home->methods->file_drop(home, file_id, err);

	return rc == ERR_MISSING ? ERR_NONE : rc;
}

/* What is left of a table that is damaged. */
static int remains_remove(struct home *home, const char *table,
                          struct arena *arena, struct err *err)
{
	struct dictionary_entry entry;
	int rc = dictionary_find(home, table, arena, &entry, err);

	if (rc)
		return rc == ERR_MISSING ? ERR_NONE : rc;
	rc = file_drop_if_there(home, entry.table_file, err);
	for (uint32_t i = 0; !rc && i < entry.index_count; i++)
		rc = file_drop_if_there(home, entry.index_files[i], err);
	if (!rc)
		rc = layout_remove(home, entry.table_id, err);
	return rc ? rc : entry_remove(home, table, arena, err);
}

int dictionary_table_remove(struct home *home, const char *table,
                            const struct dictionary_entry *entry,
                            struct arena *arena, struct err *err)
{
	int rc;

	if (!entry)
		return remains_remove(home, table, arena, err);
	rc = home->methods->file_drop(home, entry->table_file, err);
	for (uint32_t i = 0; !rc && i < entry->index_count; i++)
		rc = home->methods->file_drop(home, entry->index_files[i], err);
	if (!rc)
		rc = layout_remove(home, entry->table_id, err);
	return rc ? rc : entry_remove(home, table, arena, err);
}
