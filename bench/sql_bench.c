/*
 * sql_bench.c - what SQL costs on turdb tables, against SQLite's own.
 *
 *   sql_bench [-l turdb.so] [-n rows] [-r rounds] [-s side] [-d directory] [name...]
 *
 * Purpose       One row per operation: CPU nanoseconds on stock SQLite (file, WAL,
 *               16 KB pages), on ordinary tables in a TurDB directory ("door"),
 *               on turdb tables there and in such a file ("inline"), and the
 *               ratios to stock.
 * Architecture  Every operation runs on every side once per round, in turn, in one
 *               process; a ratio is the median over rounds of that round's ratio.
 *               The first round warms up and does not count.
 * Usage         Names pick operations by a part of their name; -s runs one side
 *               only, for a profiler.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/side.h"

enum { ROUNDS_MAX = 64 };

struct bench {
	int64_t rows;
	int64_t *order;      /* 1..rows, shuffled: keys in random order    */
	int64_t *keys;       /* the same, otherwise: indexed values        */
};

/* Runs one operation and gives its CPU time; *count tells how many it was. */
typedef double run_fn(const struct bench *bench, struct bench_side *side,
                      int64_t *count);

static double cpu_ns(void)
{
	return bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Cheap, because its time counts for the sides. */
static void row_name(char name[32], int64_t id)
{
	memcpy(name, "name 00000000 of a row", 23);
	for (int at = 12; id; at--, id /= 10)
		name[at] = (char)('0' + id % 10);
}

/* --- reading ----------------------------------------------------------------- */

static double select_each(const struct bench *bench, struct bench_side *side,
                          const char *sql, bool transaction, int64_t count)
{
	sqlite3_stmt *statement = bench_prepare(side->db, sql);
	double begin;

	bench_run(statement);
	begin = cpu_ns();
	if (transaction)
		bench_exec(side->db, "BEGIN");
	for (int64_t i = 0; i < count; i++) {
		sqlite3_bind_int64(statement, 1, bench->order[i]);
		if (sqlite3_step(statement) != SQLITE_ROW) {
			fprintf(stderr, "%s: %lld not found on %s\n", sql,
			        (long long)bench->order[i],
			        bench_side_name(side->kind));
			exit(1);
		}
		sqlite3_column_int64(statement, 0);
		sqlite3_reset(statement);
	}
	if (transaction)
		bench_exec(side->db, "COMMIT");
	begin = cpu_ns() - begin;
	sqlite3_finalize(statement);
	return begin;
}

static double point_select(const struct bench *bench, struct bench_side *side,
                           int64_t *count)
{
	*count = bench->rows;
	return select_each(bench, side, "SELECT v FROM t WHERE id=?1", true, *count);
}

static double point_select_autocommit(const struct bench *bench,
                                      struct bench_side *side, int64_t *count)
{
	*count = bench->rows / 2;
	return select_each(bench, side, "SELECT v FROM t WHERE id=?1", false,
	                   *count);
}

static double secondary_select(const struct bench *bench, struct bench_side *side,
                               int64_t *count)
{
	*count = bench->rows;
	return select_each(bench, side, "SELECT v FROM i WHERE k=?1", true, *count);
}

/* Steps through a statement and fetches all its columns, as a program would. */
static int64_t fetch_all(sqlite3_stmt *statement, int columns)
{
	int64_t rows = 0;

	while (sqlite3_step(statement) == SQLITE_ROW) {
		for (int i = 0; i < columns; i++)
			if (sqlite3_column_type(statement, i) == SQLITE_TEXT)
				sqlite3_column_text(statement, i);
			else
				sqlite3_column_int64(statement, i);
		rows++;
	}
	sqlite3_reset(statement);
	return rows;
}

static double range_select(const struct bench *bench, struct bench_side *side,
                           int64_t *count)
{
	sqlite3_stmt *statement = bench_prepare(side->db,
		"SELECT * FROM t WHERE id>=?1 AND id<?1+100");
	double begin = cpu_ns();

	*count = bench->rows / 20;
	bench_exec(side->db, "BEGIN");
	for (int64_t i = 0; i < *count; i++) {
		sqlite3_bind_int64(statement, 1, bench->order[i]);
		fetch_all(statement, sqlite3_column_count(statement));
	}
	bench_exec(side->db, "COMMIT");
	begin = cpu_ns() - begin;
	sqlite3_finalize(statement);
	return begin;
}

static double ordered_limit(const struct bench *bench, struct bench_side *side,
                            const char *sql, int64_t *count)
{
	sqlite3_stmt *statement = bench_prepare(side->db, sql);
	double begin = cpu_ns();

	*count = bench->rows / 5;
	bench_exec(side->db, "BEGIN");
	for (int64_t i = 0; i < *count; i++) {
		sqlite3_bind_int64(statement, 1, bench->order[i]);
		fetch_all(statement, sqlite3_column_count(statement));
	}
	bench_exec(side->db, "COMMIT");
	begin = cpu_ns() - begin;
	sqlite3_finalize(statement);
	return begin;
}

static double ordered_by_key(const struct bench *bench, struct bench_side *side,
                             int64_t *count)
{
	return ordered_limit(bench, side, "SELECT * FROM t WHERE id<=?1 "
	                     "ORDER BY id DESC LIMIT 10", count);
}

static double ordered_by_index(const struct bench *bench, struct bench_side *side,
                               int64_t *count)
{
	return ordered_limit(bench, side, "SELECT * FROM i WHERE k>?1 "
	                     "ORDER BY k LIMIT 10", count);
}

static double scan(const struct bench *bench, struct bench_side *side,
                   const char *sql, int64_t *count)
{
	enum { TIMES = 3 };
	sqlite3_stmt *statement = bench_prepare(side->db, sql);
	double begin = cpu_ns();

	*count = bench->rows * TIMES;
	for (int i = 0; i < TIMES; i++)
		fetch_all(statement, sqlite3_column_count(statement));
	begin = cpu_ns() - begin;
	sqlite3_finalize(statement);
	return begin;
}

static double scan_sum(const struct bench *bench, struct bench_side *side,
                       int64_t *count)
{
	return scan(bench, side, "SELECT sum(v) FROM t", count);
}

static double scan_all(const struct bench *bench, struct bench_side *side,
                       int64_t *count)
{
	return scan(bench, side, "SELECT * FROM t", count);
}

static double scan_count(const struct bench *bench, struct bench_side *side,
                         int64_t *count)
{
	return scan(bench, side, "SELECT count(*) FROM t", count);
}

/* --- writing ----------------------------------------------------------------- */

/* Fills a table (id, k, v, name); keys and indexed values in the given order,
 * NULL = ascending. */
static double fill(const struct bench *bench, struct bench_side *side,
                   const char *table, const int64_t *ids, const int64_t *keys)
{
	char *sql = sqlite3_mprintf("INSERT INTO %s(id, k, v, name) "
	                            "VALUES(?1, ?2, ?3, ?4)", table);
	sqlite3_stmt *statement = bench_prepare(side->db, sql);
	double begin = cpu_ns();
	char name[32];

	bench_exec(side->db, "BEGIN");
	for (int64_t i = 0; i < bench->rows; i++) {
		int64_t id = ids ? ids[i] : i + 1;

		row_name(name, id);
		sqlite3_bind_int64(statement, 1, id);
		sqlite3_bind_int64(statement, 2, keys ? keys[i] : i + 1);
		sqlite3_bind_int64(statement, 3, id % 1000);
		sqlite3_bind_text(statement, 4, name, -1, SQLITE_STATIC);
		bench_run(statement);
	}
	sqlite3_finalize(statement);
	bench_exec(side->db, "COMMIT");
	sqlite3_free(sql);
	return cpu_ns() - begin;
}

static const char columns[] =
	"id INTEGER PRIMARY KEY, k INTEGER, v INTEGER, name TEXT";

static double insert(const struct bench *bench, struct bench_side *side,
                     const char *index, const int64_t *ids,
                     const int64_t *keys, int64_t *count)
{
	bench_side_create(side, "w", columns, index);
	*count = bench->rows;
	return fill(bench, side, "w", ids, keys);
}

static double insert_sequential(const struct bench *bench,
                                struct bench_side *side, int64_t *count)
{
	return insert(bench, side, NULL, NULL, NULL, count);
}

static double insert_random(const struct bench *bench, struct bench_side *side,
                            int64_t *count)
{
	return insert(bench, side, NULL, bench->order, NULL, count);
}

static double insert_indexed(const struct bench *bench, struct bench_side *side,
                             int64_t *count)
{
	return insert(bench, side, "k", NULL, bench->keys, count);
}

/* As programs do it that leave the key to SQLite and bind texts by their sizes;
 * `batch` rows a transaction. */
static double insert_unnumbered(const struct bench *bench,
                                struct bench_side *side, int64_t batch)
{
	sqlite3_stmt *statement = bench_prepare(
		side->db, "INSERT INTO w(k, v, name) VALUES(?1, ?2, ?3)");
	double begin = cpu_ns();
	char name[32];

	for (int64_t i = 0; i < bench->rows; i++) {
		if (i % batch == 0)
			bench_exec(side->db, i ? "COMMIT; BEGIN" : "BEGIN");
		row_name(name, i);
		sqlite3_bind_int64(statement, 1, i + 1);
		sqlite3_bind_int64(statement, 2, i % 1000);
		sqlite3_bind_text(statement, 3, name, (int)strlen(name),
		                  SQLITE_TRANSIENT);
		bench_run(statement);
	}
	sqlite3_finalize(statement);
	bench_exec(side->db, "COMMIT");
	return cpu_ns() - begin;
}

static double insert_numbered_here(const struct bench *bench,
                                   struct bench_side *side, int64_t *count)
{
	bench_side_create(side, "w", columns, NULL);
	*count = bench->rows;
	return insert_unnumbered(bench, side, bench->rows);
}

static double insert_in_batches(const struct bench *bench,
                                struct bench_side *side, int64_t *count)
{
	bench_side_create(side, "w", columns, NULL);
	*count = bench->rows;
	return insert_unnumbered(bench, side, 100);
}

/* One statement that goes over all rows of t. */
static double statement_over_t(const struct bench *bench,
                               struct bench_side *side, const char *sql,
                               int64_t *count)
{
	double begin;

	bench_side_create(side, "w", columns, NULL);
	*count = bench->rows;
	begin = cpu_ns();
	bench_exec(side->db, sql);
	return cpu_ns() - begin;
}

static double insert_select(const struct bench *bench, struct bench_side *side,
                            int64_t *count)
{
	return statement_over_t(bench, side,
	                        "INSERT INTO w(k, v, name) "
	                        "SELECT k, v, name FROM t", count);
}

static double update_all(const struct bench *bench, struct bench_side *side,
                         int64_t *count)
{
	return statement_over_t(bench, side, "UPDATE t SET v=v+1", count);
}

static double change_each(const struct bench *bench, struct bench_side *side,
                          const char *sql, int64_t count)
{
	sqlite3_stmt *statement = bench_prepare(side->db, sql);
	double begin = cpu_ns();

	bench_exec(side->db, "BEGIN");
	for (int64_t i = 0; i < count; i++) {
		sqlite3_bind_int64(statement, 1, bench->order[i]);
		bench_run(statement);
	}
	sqlite3_finalize(statement);
	bench_exec(side->db, "COMMIT");
	return cpu_ns() - begin;
}

static double update_by_key(const struct bench *bench, struct bench_side *side,
                            int64_t *count)
{
	*count = bench->rows / 2;
	return change_each(bench, side, "UPDATE t SET v=v+1 WHERE id=?1", *count);
}

static double replace_by_key(const struct bench *bench, struct bench_side *side,
                             int64_t *count)
{
	*count = bench->rows / 2;
	return change_each(bench, side,
	                   "REPLACE INTO t(id, k, v, name) "
	                   "VALUES(?1, ?1, 7, 'name 00000000 of a row')", *count);
}

static double delete_by_key(const struct bench *bench, struct bench_side *side,
                            int64_t *count)
{
	bench_side_create(side, "w", columns, NULL);
	bench_exec(side->db, "INSERT INTO w(id, k, v, name) "
	                     "SELECT id, k, v, name FROM t");
	*count = bench->rows / 2;
	return change_each(bench, side, "DELETE FROM w WHERE id=?1", *count);
}

/* A commit is not the end of writing: stock SQLite has written pages to its log and
 * copies them at the checkpoint that every 1,000 pages bring, which a median over
 * rounds may never see. These take it each time. */
static double with_checkpoint(run_fn *run, const struct bench *bench,
                              struct bench_side *side, int64_t *count)
{
	double ns, begin;

	bench_side_checkpoint(side);
	ns = run(bench, side, count);
	begin = cpu_ns();
	bench_side_checkpoint(side);
	return ns + cpu_ns() - begin;
}

static double insert_to_its_place(const struct bench *bench,
                                  struct bench_side *side, int64_t *count)
{
	return with_checkpoint(insert_sequential, bench, side, count);
}

static double update_to_its_place(const struct bench *bench,
                                  struct bench_side *side, int64_t *count)
{
	return with_checkpoint(update_by_key, bench, side, count);
}

static double delete_to_its_place(const struct bench *bench,
                                  struct bench_side *side, int64_t *count)
{
	return with_checkpoint(delete_by_key, bench, side, count);
}

/* --- the table --------------------------------------------------------------- */

static const struct operation {
	const char *name;
	run_fn *run;
	double floor, goal; /* ratios of turdb tables to stock; 0 = none set */
} operations[] = {
	{ "point select, in a transaction", point_select, 0.9, 0.60 },
	{ "point select, autocommit", point_select_autocommit, 0, 0.50 },
	{ "select by secondary key", secondary_select, 0, 0.50 },
	{ "insert sequential", insert_sequential, 1.0, 0.65 },
	{ "insert random", insert_random, 1.0, 0.55 },
	{ "insert with an index", insert_indexed, 0, 0.50 },
	{ "insert, rowid left to SQLite", insert_numbered_here, 0, 0 },
	{ "insert in batches of 100", insert_in_batches, 0, 0 },
	{ "insert from a SELECT, a row", insert_select, 0, 0 },
	{ "update by key", update_by_key, 0.8, 0.50 },
	{ "update all, a row", update_all, 0, 0 },
	{ "replace by key", replace_by_key, 0, 0 },
	{ "delete by key", delete_by_key, 0.8, 0.50 },
	{ "insert sequential + checkpoint", insert_to_its_place, 0, 0 },
	{ "update by key + checkpoint", update_to_its_place, 0, 0 },
	{ "delete by key + checkpoint", delete_to_its_place, 0, 0 },
	{ "scan sum(v), a row", scan_sum, 1.3, 1.0 },
	{ "scan *, a row", scan_all, 0, 1.40 },
	{ "scan count(*), a row", scan_count, 0, 0 },
	{ "range of 100 rows", range_select, 0, 1.25 },
	{ "order by key limit 10", ordered_by_key, 0, 0 },
	{ "order by index limit 10", ordered_by_index, 0, 0 },
};

struct result {
	double ns[SIDE_COUNT_INLINE][ROUNDS_MAX];
	double ratio[SIDE_COUNT_INLINE][ROUNDS_MAX];
};

static void print_ratio(double ratio)
{
	if (ratio > 0)
		printf(" %6.2f", ratio);
	else
		printf(" %6s", "-");
}

static void print_result(const struct operation *operation,
                         struct result *result, const bool *active, int rounds)
{
	printf("%-32s", operation->name);
	for (int kind = 0; kind < SIDE_COUNT_INLINE; kind++) {
		if (!active[kind]) {
			printf(kind ? " %9s %6s" : " %9s", "-", "-");
			continue;
		}
		printf(" %9.1f", bench_median(result->ns[kind], rounds));
		if (kind)
			print_ratio(active[SIDE_NATIVE]
			            ? bench_median(result->ratio[kind], rounds) : 0);
	}
	print_ratio(operation->floor);
	print_ratio(operation->goal);
	printf("\n");
	fflush(stdout);
}

/* Sides take turns, and turns at going first. */
static void measure(const struct bench *bench, const struct operation *operation,
                    struct bench_side *sides, const bool *active, int rounds)
{
	struct result result = { 0 };

	for (int round = -1; round < rounds; round++) {
		double ns[SIDE_COUNT_INLINE] = { 0 };

		for (int turn = 0; turn < SIDE_COUNT_INLINE; turn++) {
			int kind = (turn + round + 1) % SIDE_COUNT_INLINE;
			int64_t count = 1;

			if (!active[kind])
				continue;
			ns[kind] = operation->run(bench, &sides[kind], &count);
			ns[kind] /= (double)count;
		}
		for (int kind = 0; round >= 0 && kind < SIDE_COUNT_INLINE; kind++) {
			result.ns[kind][round] = ns[kind];
			result.ratio[kind][round] = ns[kind] / ns[SIDE_NATIVE];
		}
	}
	print_result(operation, &result, active, rounds);
}

static bool is_wanted(const char *name, char **names, int count)
{
	for (int i = 0; i < count; i++)
		if (strstr(name, names[i]))
			return true;
	return count == 0;
}

/* Fills t and i, and prints what they take. */
static void load(const struct bench *bench, struct bench_side *side,
                 const char *directory)
{
	double plain, indexed, rows = (double)bench->rows;

	bench_side_open(side, side->kind, directory, "NORMAL");
	bench_side_create(side, "t", columns, NULL);
	fill(bench, side, "t", NULL, bench->keys);
	plain = (double)bench_side_bytes(side);
	bench_side_create(side, "i", columns, "k");
	fill(bench, side, "i", NULL, bench->keys);
	indexed = (double)bench_side_bytes(side) - plain;
	printf("%-8s %6.1f bytes a row on disk, %6.1f with an index\n",
	       bench_side_name(side->kind), plain / rows, indexed / rows);
}

static void prepare(struct bench *bench)
{
	bench->order = malloc((size_t)bench->rows * sizeof *bench->order);
	bench->keys = malloc((size_t)bench->rows * sizeof *bench->keys);
	if (!bench->order || !bench->keys)
		exit(1);
	for (int64_t i = 0; i < bench->rows; i++)
		bench->order[i] = bench->keys[i] = i + 1;
	bench_shuffle(bench->order, bench->rows, 1);
	bench_shuffle(bench->keys, bench->rows, 2);
}

struct arguments {
	const char *library, *directory, *side;
	int rounds;
	char **names;
	int name_count;
};

static void read_arguments(int argc, char **argv, struct arguments *arguments,
                           struct bench *bench)
{
	int option;

	while ((option = getopt(argc, argv, "l:n:r:s:d:")) != -1)
		switch (option) {
		case 'l': arguments->library = optarg; break;
		case 'n': bench->rows = atoll(optarg); break;
		case 'r': arguments->rounds = atoi(optarg); break;
		case 's': arguments->side = optarg; break;
		case 'd': arguments->directory = optarg; break;
		default: exit(2);
		}
	if (bench->rows < 1000)
		bench->rows = 1000;
	if (arguments->rounds < 1 || arguments->rounds > ROUNDS_MAX)
		arguments->rounds = ROUNDS_MAX;
	arguments->names = argv + optind;
	arguments->name_count = argc - optind;
}

static void print_head(const struct bench *bench, int rounds)
{
	printf("SQL on %lld rows, CPU ns an operation, medians of %d rounds, "
	       "SQLite %s\n", (long long)bench->rows, rounds, sqlite3_libversion());
	printf("%-32s %9s %9s %6s %9s %6s %9s %6s %6s %6s\n", "", "native",
	       "door", "ratio", "turdb", "ratio", "inline", "ratio", "floor",
	       "goal");
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .library = "./turdb.so", .rounds = 5 };
	struct bench bench = { .rows = 100000 };
	struct bench_side sides[SIDE_COUNT_INLINE];
	bool active[SIDE_COUNT_INLINE];
	char scratch[256];

	read_arguments(argc, argv, &arguments, &bench);
	bench_library_load(arguments.library);
	prepare(&bench);
	bench_scratch_make(scratch, arguments.directory);
	for (int kind = 0; kind < SIDE_COUNT_INLINE; kind++) {
		sides[kind].kind = kind;
		active[kind] = !arguments.side ||
		               !strcmp(arguments.side, bench_side_name(kind));
		if (kind >= SIDE_TURDB && !bench_module_exists())
			active[kind] = false;
		if (active[kind])
			load(&bench, &sides[kind], scratch);
	}
	print_head(&bench, arguments.rounds);
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
		if (is_wanted(operations[i].name, arguments.names,
		              arguments.name_count))
			measure(&bench, &operations[i], sides, active,
			        arguments.rounds);
	for (int kind = 0; kind < SIDE_COUNT_INLINE; kind++)
		if (active[kind])
			bench_side_close(&sides[kind]);
	bench_scratch_remove(scratch);
	free(bench.order);
	free(bench.keys);
	return 0;
}
