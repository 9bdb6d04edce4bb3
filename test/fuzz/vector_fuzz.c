/*
 * vector_fuzz.c - any bytes as a vector: JSON text, text with errors in it, blobs.
 *
 * The first byte says how the rest is given: as text or blob, inserted, searched for,
 * or to the functions that take vectors. What is taken comes back with as many finite numbers as the column has; what
 * is not is refused with a sentence; and the tables stay whole.
 */
#include "test/fuzz/fuzz.h"

#include <math.h>

#include "test/sim/sim.h"
#include "test/support/sql_rig.h"

enum { DIMENSIONS = 3, CHECK_EVERY = 64, SEARCH = 1, BLOB = 2, COSINE = 4,
       FUNCTION = 8 };

/* By the first byte's upper half. */
static const char *const functions[] = {
	"SELECT vec_to_json(vec_f32(?1))", "SELECT vec_to_json(vec_int8(?1))",
	"SELECT vec_length(vec_bit(?1))", "SELECT vec_to_json(vec_f16(?1))",
	"SELECT vec_to_json(vec_add(?1, ?1))", "SELECT vec_sub(?1, '[1,2,3]')",
	"SELECT vec_to_json(vec_normalize(?1))", "SELECT vec_slice(?1, 1, 3)",
	"SELECT vec_quantize_int8(?1, 'unit'), vec_quantize_binary(?1)",
	"SELECT vec_distance_l2(?1, '[1,2,3]'), vec_distance_l1(?1, ?1)",
	"SELECT vec_distance_cosine(?1, ?1), vec_distance_ip(?1, ?1)",
	"SELECT vec_distance_hamming(vec_bit(?1), vec_bit(?1))",
	"SELECT * FROM vec_each(?1)", "SELECT vec_type(?1), vec_length(?1)",
	"SELECT vec_to_json(vec_int8(vec_to_json(?1)))",
	"SELECT vec_slice(vec_f32(?1), 0, vec_length(?1))",
};

extern const struct fuzz_target vector_fuzz;

static struct sql_process process;
static sqlite3_stmt *insert[2], *read_back[2], *search[2];
static unsigned runs;

static void must(int rc, const struct err *err)
{
	if (rc) {
		fprintf(stderr, "vector_fuzz: %s\n", err->text);
		abort();
	}
}

static sqlite3_stmt *statement(const char *sql, int table)
{
	static const char *const names[] = { "l2", "cosine" };
	sqlite3_stmt *made = NULL;
	char *whole = sqlite3_mprintf(sql, names[table]);

	FUZZ_MUST(sqlite3_prepare_v2(process.db, whole, -1, &made, NULL) ==
	          SQLITE_OK);
	sqlite3_free(whole);
	return made;
}

/* At the first input: a worker that was forked needs a disk of its own. */
static void prepare(void)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct err err;

	sim_trace_stop(disk);
	must(sql_rig_start(&err), &err);
	must(sql_process_start(&process, disk, &err), &err);
	must(sql_open(&process, "", &err), &err);
	must(sql_run(process.db,
		"CREATE VIRTUAL TABLE l2 USING turdb(v VECTOR(3) HNSW (metric='l2'));"
		"CREATE VIRTUAL TABLE cosine USING turdb(v VECTOR(3) HNSW (metric='cosine'));"
		"INSERT INTO l2(v) VALUES ('[1,2,3]');"
		"INSERT INTO cosine(v) VALUES ('[1,2,3]');", &err), &err);
	for (int i = 0; i < 2; i++) {
		insert[i] = statement("INSERT INTO %s(v) VALUES (?1)", i);
		read_back[i] = statement(
			"SELECT v FROM %s WHERE rowid = last_insert_rowid()", i);
		search[i] = statement(
			"SELECT distance FROM %s WHERE v MATCH ?1 AND k = 3", i);
	}
	must(sql_run(process.db, "BEGIN", &err), &err);
}

/* A copy of its own size, so that reading beyond the end is seen. */
static void give(sqlite3_stmt *to, uint8_t how, const uint8_t *bytes, size_t size)
{
	if (how & BLOB)
		sqlite3_bind_blob64(to, 1, bytes, size, SQLITE_TRANSIENT);
	else
		sqlite3_bind_text64(to, 1, (const char *)bytes, size,
		                    SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void judge(int rc)
{
	switch (rc) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
	case SQLITE_ERROR:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
		FUZZ_MUST(sqlite3_errmsg(process.db)[0]);
		return;
	}
	fprintf(stderr, "vector_fuzz: %s (%d)\n", sqlite3_errmsg(process.db), rc);
	abort();
}

static void check_numbers(sqlite3_stmt *row)
{
	float numbers[DIMENSIONS];

	FUZZ_MUST(sqlite3_step(row) == SQLITE_ROW);
	if (sqlite3_column_type(row, 0) != SQLITE_NULL) {
		FUZZ_MUST(sqlite3_column_bytes(row, 0) == sizeof numbers);
		memcpy(numbers, sqlite3_column_blob(row, 0), sizeof numbers);
		for (int i = 0; i < DIMENSIONS; i++)
			FUZZ_MUST(isfinite(numbers[i]));
	}
	sqlite3_reset(row);
}

static void run_function(const uint8_t *data, size_t size)
{
	sqlite3_stmt *made = NULL;
	int rc = sqlite3_prepare_v2(process.db, functions[data[0] >> 4], -1,
	                            &made, NULL);

	judge(rc);
	FUZZ_MUST(rc == SQLITE_OK);
	give(made, data[0], data + 1, size - 1);
	while ((rc = sqlite3_step(made)) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(made); i++)
			sqlite3_column_text(made, i);
	judge(rc);
	sqlite3_finalize(made);
}

static void run(const uint8_t *data, size_t size)
{
	int table;
	sqlite3_stmt *tried;
	struct err err;
	int rc;

	if (size < 1)
		return;
	if (!process.db)
		prepare();
	if (data[0] & FUNCTION) {
		run_function(data, size);
		return;
	}
	table = data[0] & COSINE ? 1 : 0;
	tried = data[0] & SEARCH ? search[table] : insert[table];
	give(tried, data[0], data + 1, size - 1);
	while ((rc = sqlite3_step(tried)) == SQLITE_ROW)
		FUZZ_MUST(!isnan(sqlite3_column_double(tried, 0)));
	judge(rc);
	sqlite3_reset(tried);
	sqlite3_clear_bindings(tried);
	if (rc == SQLITE_DONE && !(data[0] & SEARCH))
		check_numbers(read_back[table]);
	if (++runs % CHECK_EVERY)
		return;
	must(sql_expect_text(process.db, "SELECT turdb_check()", "ok", &err),
	     &err);
	must(sql_run(process.db, "ROLLBACK; BEGIN", &err), &err);
}

static const char *const seeds[] = {
	"\4[0.1, 0.2, 0.3]", "\1[1,2,3]", "\5[ -1e3 , 2.5E-7,\t3\n]", "[1,2]",
	"[1,2,3,4]", "[]", "[1,,2]", "[1,2,3", "[1,2,3]x", "[0,0,0]", "\4[0,0,0]",
	"[1e999,0,0]", "[nan,1,2]", "[0x10,1,2]", "[3.4e38,3.4e38,3.4e38]",
	"\5[1e-45,0,0]", "[+1,2,3]", "[1.,2,3]", "[01,2,3]", "\1[\"a\",2,3]",
	"[[1],2,3]", "[-,1,2]", "[1e,2,3]", "\2abcdefghijkl", "\3abcdefghijkl",
	"\2abcdefghijklm", "\6\377\377\177\177\0\0\0\0\0\0\0\0",
};

enum { SEEDS = sizeof seeds / sizeof seeds[0],
       FUNCTIONS = sizeof functions / sizeof functions[0] };

static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	size_t size;

	if (n >= SEEDS && n < SEEDS + FUNCTIONS && size_max > 16) {
		data[0] = (uint8_t)((n - SEEDS) << 4 | FUNCTION);
		memcpy(data + 1, "[1, -2.5, 3e1]", 14);
		return 15;
	}
	if (n >= SEEDS)
		return 0;
	/* A first byte of its own: text into the first table. */
	size = strlen(seeds[n]);
	if (size + 2 > size_max)
		return 0;
	if (seeds[n][0] > 8) {
		data[0] = 0;
		memcpy(data + 1, seeds[n], size);
		return size + 1;
	}
	memcpy(data, seeds[n], size);
	return size;
}

const struct fuzz_target vector_fuzz = {
	.name = "vector", .run = run, .seed = seed,
};
