/*
 * planted_damage_test.c - what an index should not have, or lack, is named.
 *
 * Each case writes past the table into one of its files: the trees and graphs stay
 * sound by themselves, only they do not fit the rows any more.
 */
#include "test/harness.h"

#include "btree/btree.h"
#include "btree/key.h"
#include "btree/row.h"
#include "hnsw/hnsw.h"
#include "test/sim/sim.h"
#include "test/support/sql_rig.h"
#include "vfs/store.h"

struct rig {
	struct sim_disk *disk;
	struct sql_process process;
	struct pager *table, *by_a, *by_b, *graph;
};

struct finding {
	uint32_t ids[8], count;
};

static int find_file(void *context, const struct store_file_info *info)
{
	struct finding *finding = context;

	if (info->kind != STORE_FILE_DICTIONARY && info->kind != STORE_FILE_SQLITE &&
	    info->kind != STORE_FILE_CATALOG && finding->count < 8)
		finding->ids[finding->count++] = info->file_id;
	return 0;
}

static int rig_pagers(struct rig *rig, struct err *err)
{
	struct store_view *view = sql_rig_view(rig->process.db);
	struct pager **pagers[] = { &rig->table, &rig->by_b, &rig->graph,
		                    &rig->by_a };
	struct finding finding = { .count = 0 };
	int rc = store_file_each(view, find_file, &finding, err);

	for (uint32_t i = 0; !rc && i < 4; i++)
		rc = store_pager(view, finding.ids[i], pagers[i], err);
	return rc;
}

/* A table of 50 rows; a is id % 7, b is unique, v has a graph. The connection is left
 * in a write transaction. */
static int rig_open(struct rig *rig, struct err *err)
{
	int rc = sql_rig_start(err);

	*rig = (struct rig){ .disk = sim_disk_create(NULL) };
	if (!rc)
		rc = sql_process_start(&rig->process, rig->disk, err);
	if (!rc)
		rc = sql_open(&rig->process, "", err);
	if (!rc)
		rc = sql_run(rig->process.db,
		             "CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a INTEGER, b TEXT UNIQUE, "
		             "v VECTOR(2) HNSW, INDEX by_a (a));"
		             "INSERT INTO t(id, a, b, v) WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) "
		             "SELECT i, i % 7, 'b' || i, '[' || i || ',1]' FROM n;"
		             "BEGIN IMMEDIATE; UPDATE t SET a = a WHERE id = 1", err);
	return rc ? rc : rig_pagers(rig, err);
}

static void rig_close(struct rig *rig)
{
	sql_close(&rig->process);
	sql_process_end(&rig->process);
	sim_disk_close(rig->disk);
}

static int entry_of(struct key_buffer *key, int64_t a, int64_t rowid,
                    struct err *err)
{
	struct value value = { .type = VALUE_INTEGER, .integer = a };
	struct key_column column = { .collation = COLLATION_BINARY };
	int rc = key_append(key, &value, &column, err);

	return rc ? rc : key_append_rowid(key, rowid, err);
}

static int change_entry(struct rig *rig, int64_t a, int64_t rowid, bool add,
                        struct err *err)
{
	struct key_buffer key;
	struct btree tree;
	bool found = true;
	int rc;

	key_buffer_init(&key, sql_rig_heap());
	rc = entry_of(&key, a, rowid, err);
	if (!rc)
		rc = btree_open(&tree, rig->by_a, err);
	if (!rc && add)
		rc = btree_put(&tree, span_of(key.bytes, key.size),
		               span_of(NULL, 0), BTREE_PUT_NEW, err);
	else if (!rc)
		rc = btree_delete(&tree, span_of(key.bytes, key.size), &found,
		                  err);
	key_buffer_close(&key);
	return rc || found ? rc : err_set(err, ERR_MISSING, "plant", "", "no entry");
}

/* So has PRAGMA integrity_check where it asks virtual tables; quick_check tells the other
 * words. */
static int expect_integrity(struct rig *rig, const char *words,
                            const char *quick, struct err *err)
{
	bool asked = sqlite3_libversion_number() >= 3044000;
	char sql[600];
	int rc = ERR_NONE;

	for (int i = 0; !rc && i < 2; i++) {
		const char *pragma = i ? "quick_check" : "integrity_check";
		const char *told = !asked ? "ok" : i ? quick : words;

		snprintf(sql, sizeof sql, "SELECT CASE WHEN group_concat(%s) LIKE '%%%s%%' THEN 'yes' ELSE group_concat(%s) END FROM pragma_%s",
		         pragma, told, pragma, pragma);
		rc = sql_expect_text(rig->process.db, sql, "yes", err);
	}
	return rc;
}

/* turdb_check() and turdb_problems have a sentence with these words. */
static int expect_said(struct rig *rig, const char *words, const char *quick,
                       struct err *err)
{
	static const char *const questions[] = {
		"SELECT CASE WHEN turdb_check('t') LIKE '%%%s%%' THEN 'yes' ELSE turdb_check('t') END",
		"SELECT CASE WHEN turdb_check() <> 'ok' THEN 'yes' END",
		("SELECT CASE WHEN EXISTS (SELECT 1 FROM turdb_problems WHERE problem LIKE '%%%s%%') THEN 'yes' ELSE "
		 "(SELECT group_concat(problem, '; ') FROM turdb_problems) END"),
	};
	int rc = sql_run(rig->process.db, "COMMIT", err);

	for (int i = 0; !rc && i < 3; i++) {
		char sql[600];

		snprintf(sql, sizeof sql, questions[i], words, words);
		rc = sql_expect_text(rig->process.db, sql, "yes", err);
	}
	return rc ? rc : expect_integrity(rig, words, quick, err);
}

static int expect_problem(struct rig *rig, const char *words, struct err *err)
{
	char sql[400];

	snprintf(sql, sizeof sql, "SELECT CASE WHEN EXISTS (SELECT 1 FROM turdb_problems WHERE problem LIKE '%%%s%%') "
	         "THEN 'yes' ELSE (SELECT group_concat(problem, '; ') FROM turdb_problems) END", words);
	return sql_expect_text(rig->process.db, sql, "yes", err);
}

static void a_missing_entry_is_named(struct test *t)
{
	struct rig rig;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, change_entry(&rig, 3, 10, false, &t->err));
	EXPECT_OK(t, expect_said(&rig, "table t, index by_a: row 10 has no entry",
	                         "49 entries for 50 rows", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "49 entries for 50 rows", &t->err));
	rig_close(&rig);
}

static void an_entry_without_a_row_is_named(struct test *t)
{
	struct rig rig;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, change_entry(&rig, 3, 777, true, &t->err));
	EXPECT_OK(t, expect_said(&rig, "table t, index by_a: 51 entries for 50 rows",
	                         "51 entries for 50 rows", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index by_a: an entry names row 777, which is not there",
	                            &t->err));
	rig_close(&rig);
}

static void a_second_entry_of_a_row_is_named(struct test *t)
{
	struct rig rig;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, change_entry(&rig, 4, 10, true, &t->err));
	EXPECT_OK(t, expect_said(&rig, "index by_a: 51 entries for 50 rows",
	                         "51 entries for 50 rows", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index by_a: an entry of row 10 has other values than the row",
	                            &t->err));
	rig_close(&rig);
}

static void a_wrong_value_is_named(struct test *t)
{
	struct rig rig;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, change_entry(&rig, 3, 10, false, &t->err));
	EXPECT_OK(t, change_entry(&rig, 4, 10, true, &t->err));
	EXPECT_OK(t, expect_said(&rig, "index by_a: row 10 has no entry", "ok", &t->err));
	rig_close(&rig);
}

static void a_unique_entry_that_names_another_row_is_named(struct test *t)
{
	struct value value = { .type = VALUE_TEXT,
		               .bytes = span_of((const uint8_t *)"b10", 3) };
	struct key_column column = { .collation = COLLATION_BINARY };
	struct key_buffer key;
	struct btree tree;
	struct rig rig;
	uint8_t rowid[8];

	EXPECT_OK(t, rig_open(&rig, &t->err));
	key_buffer_init(&key, sql_rig_heap());
	EXPECT_OK(t, key_append(&key, &value, &column, &t->err));
	EXPECT_OK(t, btree_open(&tree, rig.by_b, &t->err));
	btree_rowid_key(rowid, 11);
	EXPECT_OK(t, btree_put(&tree, span_of(key.bytes, key.size),
	                       span_of(rowid, 8), BTREE_PUT_REPLACE, &t->err));
	key_buffer_close(&key);
	EXPECT_OK(t, expect_said(&rig, "row 10 has an entry that names row 11", "ok", &t->err));
	rig_close(&rig);
}

static void a_row_gone_behind_its_indexes_is_named(struct test *t)
{
	struct btree tree;
	struct rig rig;
	uint8_t rowid[8];
	bool found;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	btree_rowid_key(rowid, 12);
	EXPECT_OK(t, btree_open(&tree, rig.table, &t->err));
	EXPECT_OK(t, btree_delete(&tree, span_of(rowid, 8), &found, &t->err));
	EXPECT(t, found);
	EXPECT_OK(t, expect_said(&rig, "50 entries for 49 rows",
	                         "50 entries for 49 rows", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index by_a: an entry names row 12", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index autoindex 1: an entry names row 12", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index vector v: a node names row 12", &t->err));
	rig_close(&rig);
}

static void a_node_without_a_row_is_named(struct test *t)
{
	static const float numbers[2] = { 3, 4 };
	struct hnsw *graph;
	struct rig rig;
	uint32_t node;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, hnsw_open(rig.graph, hnsw_kernels_for(CPU_C), &graph,
	                       &t->err));
	EXPECT_OK(t, hnsw_insert(graph, 10, span_of(numbers, 8), &node,
	                         &t->err));
	hnsw_close(graph);
	EXPECT_OK(t, expect_said(&rig, "index vector v: 51 entries for 50 rows",
	                         "51 entries for 50 rows", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "names row 10, which has another vector",
	                            &t->err));
	rig_close(&rig);
}

/* The row's bytes are a row's, only not of this table. */
static int plant_row(struct rig *rig, int64_t rowid, const struct value *values,
                     struct err *err)
{
	uint8_t key[8], row[200];
	struct btree tree;
	int rc = btree_open(&tree, rig->table, err);

	btree_rowid_key(key, rowid);
	row_encode(values, 4, row);
	return rc ? rc : btree_put(&tree, span_of(key, 8),
	                           span_of(row, row_size(values, 4)),
	                           BTREE_PUT_REPLACE, err);
}

static void values_of_other_types_are_named(struct test *t)
{
	struct value text = { .type = VALUE_TEXT,
		              .bytes = span_of((const uint8_t *)"12", 2) };
	struct value values[4] = { { .type = VALUE_NULL }, text,
		                   { .type = VALUE_INTEGER, .integer = 5 },
		                   { .type = VALUE_NULL } };
	struct rig rig;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, plant_row(&rig, 20, values, &t->err));
	EXPECT_OK(t, sql_run(rig.process.db, "COMMIT", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "row 20 has a number as text in column a, which is INTEGER",
	                            &t->err));
	EXPECT_OK(t, expect_integrity(&rig, "row 20 has a number as text in column a",
	                              "row 20 has a number in column b", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "row 20 has a number in column b, which is TEXT",
	                            &t->err));
	EXPECT_OK(t, expect_problem(&rig, "index vector v: node % names row 20, which has another vector",
	                            &t->err));
	rig_close(&rig);
}

static void a_damaged_row_is_named(struct test *t)
{
	struct btree tree;
	struct rig rig;
	uint8_t key[8];

	EXPECT_OK(t, rig_open(&rig, &t->err));
	btree_rowid_key(key, 20);
	EXPECT_OK(t, btree_open(&tree, rig.table, &t->err));
	EXPECT_OK(t, btree_put(&tree, span_of(key, 8),
	                       span_of((const uint8_t *)"\377\377\377", 3),
	                       BTREE_PUT_REPLACE, &t->err));
	EXPECT_OK(t, expect_said(&rig, "row", "row", &t->err));
	rig_close(&rig);
}

static void a_file_of_no_table_is_named(struct test *t)
{
	struct pager *pager;
	struct rig rig;
	uint32_t file_id;

	EXPECT_OK(t, rig_open(&rig, &t->err));
	EXPECT_OK(t, store_file_create(sql_rig_view(rig.process.db),
	                               STORE_FILE_INDEX, "stray",
	                               STORE_PAGE_SIZE, &file_id, &t->err));
	EXPECT_OK(t, store_pager(sql_rig_view(rig.process.db), file_id, &pager,
	                         &t->err));
	EXPECT_OK(t, btree_create(pager, BTREE_KEYS_BYTES, &t->err));
	EXPECT_OK(t, sql_run(rig.process.db, "COMMIT", &t->err));
	EXPECT_OK(t, sql_expect_text(rig.process.db, "SELECT turdb_check('t')",
	                             "ok", &t->err));
	EXPECT_OK(t, expect_problem(&rig, "stray%belongs to no table", &t->err));
	rig_close(&rig);
}

static const struct test_case cases[] = {
	CASE(a_missing_entry_is_named),
	CASE(an_entry_without_a_row_is_named),
	CASE(a_second_entry_of_a_row_is_named),
	CASE(a_wrong_value_is_named),
	CASE(a_unique_entry_that_names_another_row_is_named),
	CASE(a_row_gone_behind_its_indexes_is_named),
	CASE(a_node_without_a_row_is_named),
	CASE(values_of_other_types_are_named),
	CASE(a_damaged_row_is_named),
	CASE(a_file_of_no_table_is_named),
};

TEST_MAIN(cases)
