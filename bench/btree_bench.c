/*
 * btree_bench.c - trees against LMDB, nanoseconds of CPU per operation.
 *
 *   btree_bench [ROWS [ROUNDS [WORD [ENGINE]]]]
 *
 * Rows have a 40-byte value under an 8-byte rowid key or a 24-byte text key. A
 * round does one load in one transaction, one scan, one million lookups, then
 * updates and deletes every row in another, with the tree over memory pages, the same over the store, the same in LMDB
 * (WRITEMAP, no syncs). Rounds alternate; medians are printed, with the ratio to
 * LMDB. Loads count their commit. Without arguments: 1,000,000 rows, 5 rounds,
 * everything. WORD picks measures by a part of their name ("" all), ENGINE one of
 * memory, store, lmdb.
 */
#define _GNU_SOURCE
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "btree/btree.h"
#include "test/support/memory_pager.h"
#include "vfs/store.h"

enum { VALUE_SIZE = 40, ROUNDS_MAX = 15, TEXT_SIZE = 24, KEY_ROOM = 32,
       CACHE_KB = 131072 /* the load stays in memory, as in LMDB */ };

enum measure { SEQUENTIAL_LOAD, RANDOM_LOAD, SCAN, RANDOM_GET, RANDOM_UPDATE,
               RANDOM_DELETE, MEASURES };
enum engine { MEMORY, STORE, LMDB, ENGINES };

static const char *const engine_names[ENGINES] = { "memory", "store", "lmdb" };

static const char *const measure_names[MEASURES] = {
	"sequential load", "random load", "scan", "random get",
	"random update", "random delete",
};

struct bench {
	uint64_t rows, random;
	uint32_t rounds;
	const char *word;   /* measures wanted have it in their name    */
	const char *engine; /* the only one, or NULL                    */
	bool text;
	uint32_t *order; /* a permutation of the rows */
	double ns[MEASURES][ENGINES][ROUNDS_MAX];
};

static uint64_t sink;

static bool wanted(const struct bench *bench, enum measure measure)
{
	return strstr(measure_names[measure], bench->word) != NULL;
}

static void die(const char *what, int rc)
{
	fprintf(stderr, "btree_bench: %s: %d\n", what, rc);
	exit(1);
}

static uint64_t mixed(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The key of a row; rows in order have keys in order. */
static struct span key_of(const struct bench *bench, uint64_t row, uint8_t *key)
{
	if (!bench->text) {
		btree_rowid_key(key, (int64_t)row);
		return span_of(key, 8);
	}
	memcpy(key, "\x20user/0000000000000000x", TEXT_SIZE);
	for (int i = 21; row; i--, row /= 10)
		key[i] = (uint8_t)('0' + row % 10);
	return span_of(key, TEXT_SIZE);
}

static void value_of(uint64_t row, uint8_t *value)
{
	for (int i = 0; i < VALUE_SIZE; i += 8)
		store_le64(value + i, row * 0x9e3779b9 + (uint64_t)i);
}

static void note(struct bench *bench, enum measure measure, enum engine engine,
                 uint32_t round, double started, uint64_t operations)
{
	bench->ns[measure][engine][round] =
		(cpu_ns() - started) / (double)operations;
}

/* Where a tree's pages live. */
struct home {
	struct pager *pager;
	struct memory_pager *memory; /* or */
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
	struct os *os;
	struct heap heap;
	char path[32];
};

static void must(int rc, const struct err *err)
{
	if (rc)
		die(err->text, rc);
}

static void home_open(struct home *home, enum engine engine)
{
	struct store_options options = { .create = true,
	                                 .cache_kb = CACHE_KB };
	uint32_t file_id;
	struct err err;

	memset(home, 0, sizeof *home);
	heap_init(&home->heap);
	if (engine == MEMORY) {
		memory_pager_open(&home->memory, &home->heap, 0, false, &err);
		memory_pager_begin(home->memory);
		home->pager = memory_pager_of(home->memory);
		return;
	}
	strcpy(home->path, "/tmp/btree-bench-XXXXXX");
	if (!mkdtemp(home->path))
		die("mkdtemp", 0);
	must(os_posix_open(&home->heap, &home->os, &err), &err);
	must(store_environment_open(home->os, &home->heap, &home->environment,
	                            &err), &err);
	must(store_open(home->environment, home->path, &options, &home->store,
	                &err), &err);
	must(store_view_open(home->store, &home->view, &err), &err);
	must(store_view_write(home->view, 0, &err), &err);
	must(store_file_create(home->view, STORE_FILE_TABLE, "bench", 16384,
	                       &file_id, &err), &err);
	must(store_pager(home->view, file_id, &home->pager, &err), &err);
}

static inline void home_operation_end(struct home *home)
{
	struct err err;

	if (home->memory)
		memory_pager_operation_end(home->memory);
	else
		must(store_view_operation_end(home->view, &err), &err);
}

static void home_commit(struct home *home)
{
	struct err err;

	if (home->memory)
		memory_pager_commit(home->memory);
	else
		must(store_view_commit(home->view, STORE_DURABLE_NEVER, &err),
		     &err);
}

static void home_write(struct home *home)
{
	struct err err;

	if (home->memory)
		memory_pager_begin(home->memory);
	else
		must(store_view_write(home->view, 0, &err), &err);
}

static void home_close(struct home *home)
{
	char command[64];
	struct err err;

	if (home->memory) {
		memory_pager_close(home->memory);
		return;
	}
	store_view_close(home->view);
	must(store_close(home->store, &err), &err);
	store_environment_close(home->environment);
	os_posix_close(home->os);
	snprintf(command, sizeof command, "rm -rf %s", home->path);
	if (system(command))
		die("rm", 0);
}

static void turdb_load(struct bench *bench, struct home *home,
                       struct btree *tree, bool random)
{
	uint8_t key[KEY_ROOM], value[VALUE_SIZE];
	struct err err;

	for (uint64_t i = 0; i < bench->rows; i++) {
		uint64_t row = random ? bench->order[i] : i;

		value_of(row, value);
		must(btree_put(tree, key_of(bench, row, key),
		               span_of(value, VALUE_SIZE),
		               random ? BTREE_PUT_NEW : BTREE_PUT_APPEND,
		               &err), &err);
		home_operation_end(home);
	}
	home_commit(home);
}

static void turdb_scan(struct bench *bench, struct btree *tree)
{
	struct btree_cursor cursor;
	struct span key, value;
	bool on, deleted;
	uint64_t rows = 0;
	struct err err;

	btree_cursor_init(&cursor, tree);
	must(btree_cursor_first(&cursor, &on, &err), &err);
	while (on) {
		must(btree_cursor_read(&cursor, &key, &value, &deleted, &err),
		     &err);
		sink += value.data[8];
		rows++;
		must(btree_cursor_next(&cursor, &on, &err), &err);
	}
	btree_cursor_close(&cursor);
	if (rows != bench->rows)
		die("scan lost rows", 0);
}

static void turdb_get(struct bench *bench, struct btree *tree, uint64_t count)
{
	struct btree_scratch scratch = { 0 };
	uint8_t key[KEY_ROOM];
	struct span value;
	struct err err;
	bool found;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t row = mixed(bench->random + i) % bench->rows;

		must(btree_get(tree, key_of(bench, row, key), &scratch, &value,
		               &found, &err), &err);
		if (!found)
			die("a row is lost", 0);
		sink += value.data[8];
	}
}

/* New values of the same size, then everything deleted, in random order. */
static void turdb_update(struct bench *bench, struct home *home,
                         struct btree *tree)
{
	uint8_t key[KEY_ROOM], value[VALUE_SIZE];
	struct err err;

	for (uint64_t i = 0; i < bench->rows; i++) {
		uint64_t row = bench->order[i];

		value_of(row + 1, value);
		must(btree_put(tree, key_of(bench, row, key),
		               span_of(value, VALUE_SIZE), BTREE_PUT_REPLACE,
		               &err), &err);
		home_operation_end(home);
	}
}

static void turdb_delete(struct bench *bench, struct home *home,
                         struct btree *tree)
{
	uint8_t key[KEY_ROOM];
	struct err err;
	bool found;

	for (uint64_t i = 0; i < bench->rows; i++) {
		must(btree_delete(tree, key_of(bench, bench->order[i], key),
		                  &found, &err), &err);
		if (!found)
			die("a row is lost", 0);
		home_operation_end(home);
	}
}

static void turdb_writes(struct bench *bench, struct home *home,
                         struct btree *tree, enum engine engine,
                         uint32_t round)
{
	double started;

	home_write(home);
	if (wanted(bench, RANDOM_UPDATE)) {
		started = cpu_ns();
		turdb_update(bench, home, tree);
		note(bench, RANDOM_UPDATE, engine, round, started, bench->rows);
	}
	if (wanted(bench, RANDOM_DELETE)) {
		started = cpu_ns();
		turdb_delete(bench, home, tree);
		note(bench, RANDOM_DELETE, engine, round, started, bench->rows);
	}
	home_commit(home);
}

static void turdb_round(struct bench *bench, uint32_t round, bool random,
                        enum engine engine)
{
	struct btree tree;
	struct home home;
	struct err err;
	double started;

	home_open(&home, engine);
	must(btree_create(home.pager, bench->text ? BTREE_KEYS_BYTES
	                                          : BTREE_KEYS_ROWID, &err),
	     &err);
	must(btree_open(&tree, home.pager, &err), &err);
	started = cpu_ns();
	turdb_load(bench, &home, &tree, random);
	note(bench, random ? RANDOM_LOAD : SEQUENTIAL_LOAD, engine, round,
	     started, bench->rows);
	if (round == 0 && engine == MEMORY)
		printf("  %s: %u leaves, %u nodes, %.1f MB\n",
		       random ? "random" : "sequential",
		       memory_pager_pages_of_kind(home.memory, PAGE_LEAF),
		       memory_pager_pages_of_kind(home.memory, PAGE_INTERIOR),
		       memory_pager_page_count(home.memory) * 16384.0 / 1e6);
	if (engine == STORE)
		must(store_view_begin(home.view, &err), &err);
	if (!random && wanted(bench, SCAN)) {
		started = cpu_ns();
		turdb_scan(bench, &tree);
		note(bench, SCAN, engine, round, started, bench->rows);
	}
	if (!random && wanted(bench, RANDOM_GET)) {
		started = cpu_ns();
		turdb_get(bench, &tree, bench->rows);
		note(bench, RANDOM_GET, engine, round, started, bench->rows);
	}
	if (!random)
		turdb_writes(bench, &home, &tree, engine, round);
	home_close(&home);
}

static void lmdb_load(struct bench *bench, MDB_txn *txn, MDB_dbi dbi,
                      bool random)
{
	uint8_t key[KEY_ROOM], value[VALUE_SIZE];
	int rc;

	for (uint64_t i = 0; i < bench->rows; i++) {
		uint64_t row = random ? bench->order[i] : i;
		struct span span = key_of(bench, row, key);
		MDB_val k = { span.size, key }, v = { VALUE_SIZE, value };

		value_of(row, value);
		rc = mdb_put(txn, dbi, &k, &v, random ? MDB_NOOVERWRITE
		                                      : MDB_APPEND);
		if (rc)
			die(mdb_strerror(rc), rc);
	}
}

static void lmdb_scan(struct bench *bench, MDB_txn *txn, MDB_dbi dbi)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	uint64_t rows = 0;

	mdb_cursor_open(txn, dbi, &cursor);
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
		sink += ((uint8_t *)v.mv_data)[8];
		rows++;
	}
	mdb_cursor_close(cursor);
	if (rows != bench->rows)
		die("lmdb scan lost rows", 0);
}

static void lmdb_get(struct bench *bench, MDB_txn *txn, MDB_dbi dbi,
                     uint64_t count)
{
	uint8_t key[KEY_ROOM];

	for (uint64_t i = 0; i < count; i++) {
		uint64_t row = mixed(bench->random + i) % bench->rows;
		struct span span = key_of(bench, row, key);
		MDB_val k = { span.size, key }, v;

		if (mdb_get(txn, dbi, &k, &v))
			die("lmdb lost a row", 0);
		sink += ((uint8_t *)v.mv_data)[8];
	}
}

static void lmdb_writes(struct bench *bench, MDB_env *env, MDB_dbi dbi,
                        uint32_t round)
{
	uint8_t key[KEY_ROOM], value[VALUE_SIZE];
	MDB_val k, v = { VALUE_SIZE, value };
	double started = cpu_ns();
	MDB_txn *txn;

	mdb_txn_begin(env, NULL, 0, &txn);
	for (uint64_t i = 0; wanted(bench, RANDOM_UPDATE) && i < bench->rows;
	     i++) {
		struct span span = key_of(bench, bench->order[i], key);

		value_of(bench->order[i] + 1ull, value);
		k = (MDB_val){ span.size, key };
		if (mdb_put(txn, dbi, &k, &v, 0))
			die("lmdb update", 0);
	}
	if (wanted(bench, RANDOM_UPDATE))
		note(bench, RANDOM_UPDATE, LMDB, round, started, bench->rows);
	started = cpu_ns();
	for (uint64_t i = 0; wanted(bench, RANDOM_DELETE) && i < bench->rows;
	     i++) {
		struct span span = key_of(bench, bench->order[i], key);

		k = (MDB_val){ span.size, key };
		if (mdb_del(txn, dbi, &k, NULL))
			die("lmdb delete", 0);
	}
	if (wanted(bench, RANDOM_DELETE))
		note(bench, RANDOM_DELETE, LMDB, round, started, bench->rows);
	mdb_txn_commit(txn);
}

static void lmdb_round(struct bench *bench, uint32_t round, bool random)
{
	char path[] = "/tmp/btree-bench-XXXXXX", file[64];
	MDB_txn *txn;
	MDB_env *env;
	MDB_dbi dbi;
	double started;
	int rc;

	if (!mkdtemp(path))
		die("mkdtemp", 0);
	mdb_env_create(&env);
	mdb_env_set_mapsize(env, (size_t)4 << 30);
	rc = mdb_env_open(env, path, MDB_WRITEMAP | MDB_NOSYNC, 0600);
	if (rc)
		die(mdb_strerror(rc), rc);
	mdb_txn_begin(env, NULL, 0, &txn);
	mdb_dbi_open(txn, NULL, 0, &dbi);
	started = cpu_ns();
	lmdb_load(bench, txn, dbi, random);
	mdb_txn_commit(txn);
	note(bench, random ? RANDOM_LOAD : SEQUENTIAL_LOAD, LMDB, round,
	     started, bench->rows);
	mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (!random && wanted(bench, SCAN)) {
		started = cpu_ns();
		lmdb_scan(bench, txn, dbi);
		note(bench, SCAN, LMDB, round, started, bench->rows);
	}
	if (!random && wanted(bench, RANDOM_GET)) {
		started = cpu_ns();
		lmdb_get(bench, txn, dbi, bench->rows);
		note(bench, RANDOM_GET, LMDB, round, started, bench->rows);
	}
	mdb_txn_abort(txn);
	if (!random)
		lmdb_writes(bench, env, dbi, round);
	mdb_env_close(env);
	snprintf(file, sizeof file, "%s/data.mdb", path);
	unlink(file);
	snprintf(file, sizeof file, "%s/lock.mdb", path);
	unlink(file);
	rmdir(path);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *ns, uint32_t count)
{
	qsort(ns, count, sizeof *ns, by_size);
	return ns[count / 2];
}

static void shuffle(struct bench *bench)
{
	for (uint64_t i = 0; i < bench->rows; i++)
		bench->order[i] = (uint32_t)i;
	for (uint64_t i = bench->rows - 1; i > 0; i--) {
		uint64_t j = mixed(i) % (i + 1);
		uint32_t row = bench->order[i];

		bench->order[i] = bench->order[j];
		bench->order[j] = row;
	}
}

static void measure_print(struct bench *bench, enum measure measure)
{
	double ns[ENGINES], sum = 0;

	for (int e = 0; e < ENGINES; e++)
		sum += ns[e] = median(bench->ns[measure][e], bench->rounds);
	if (sum == 0)
		return;
	printf("  %-16s", measure_names[measure]);
	for (int e = 0; e < ENGINES; e++) {
		if (ns[e] == 0)
			continue;
		printf("   %s %7.1f ns", engine_names[e], ns[e]);
		if (e != LMDB && ns[LMDB] > 0)
			printf(" (%.2f)", ns[e] / ns[LMDB]);
	}
	printf("\n");
}

static void keys_bench(struct bench *bench, const char *name)
{
	printf("%s, 40-byte values, %llu rows\n", name,
	       (unsigned long long)bench->rows);
	for (uint32_t round = 0; round < bench->rounds; round++) {
		bench->random = mixed(round);
		for (int random = 0; random < 2; random++) {
			if (random ? !wanted(bench, RANDOM_LOAD)
			           : !wanted(bench, SEQUENTIAL_LOAD) &&
			             !wanted(bench, SCAN) &&
			             !wanted(bench, RANDOM_GET) &&
			             !wanted(bench, RANDOM_UPDATE) &&
			             !wanted(bench, RANDOM_DELETE))
				continue;
			for (int e = 0; e < ENGINES; e++) {
				if (bench->engine &&
				    strcmp(bench->engine, engine_names[e]))
					continue;
				if (e == LMDB)
					lmdb_round(bench, round, random);
				else
					turdb_round(bench, round, random,
					            (enum engine)e);
			}
		}
	}
	for (int m = 0; m < MEASURES; m++)
		measure_print(bench, (enum measure)m);
}

int main(int argc, char **argv)
{
	struct bench bench = { .rows = 1000000, .rounds = 5,
	                       .word = "" };

	if (argc > 1)
		bench.rows = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		bench.rounds = (uint32_t)strtoul(argv[2], NULL, 10);
	if (argc > 3)
		bench.word = argv[3];
	if (argc > 4)
		bench.engine = argv[4];
	if (!bench.rows || !bench.rounds || bench.rounds > ROUNDS_MAX)
		die("rows or rounds out of range", 0);
	bench.order = malloc(bench.rows * sizeof *bench.order);
	if (!bench.order)
		die("no memory", 0);
	shuffle(&bench);
	keys_bench(&bench, "rowid keys");
	memset(bench.ns, 0, sizeof bench.ns);
	bench.text = true;
	keys_bench(&bench, "24-byte text keys");
	free(bench.order);
	return sink == 42;
}
