/*
 * isolation_worker.c - one session after another of reads and appends.
 *
 * A value is the session's number and a counter. What may fail: a writer comes too
 * late (SQLITE_BUSY_SNAPSHOT) or waits too long; then the transaction is rolled back
 * and noted as failed. Anything else ends the test, and so does a reader who is told
 * to wait.
 */
#define _GNU_SOURCE
#include "test/support/isolation_worker.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test/harness.h"

enum { VALUE_DIGITS = 10, LIST_ROOM = 4096, KINDS = 4, SESSION_SHIFT = 24 };

/* --- the database ------------------------------------------------------------------ */

static const char schema[] =
	"CREATE TABLE text_o(k INTEGER PRIMARY KEY, v TEXT);"
	"CREATE VIRTUAL TABLE text_t USING turdb(k INTEGER PRIMARY KEY, v TEXT);"
	"CREATE TABLE rows_o(id INTEGER PRIMARY KEY, k INTEGER, e INTEGER);"
	"CREATE INDEX rows_o_k ON rows_o(k);"
	"CREATE VIRTUAL TABLE rows_t USING turdb(id INTEGER PRIMARY KEY, k INTEGER, "
	"e INTEGER, INDEX rows_t_k(k));";

enum statement { READ, APPEND, INSERT, REPLACE, STATEMENTS };

static const char *const statement_texts[KINDS][STATEMENTS] = {
	{ "SELECT v FROM text_o WHERE k=?1",
	  "UPDATE text_o SET v = v || ?2 WHERE k=?1",
	  "INSERT INTO text_o VALUES(?1, ?2)",
	  "UPDATE text_o SET v = ?2 WHERE k=?1" },
	{ "SELECT v FROM text_t WHERE k=?1",
	  "UPDATE text_t SET v = v || ?2 WHERE k=?1",
	  "INSERT INTO text_t VALUES(?1, ?2)",
	  "UPDATE text_t SET v = ?2 WHERE k=?1" },
	{ "SELECT e FROM rows_o WHERE k=?1 ORDER BY id",
	  "INSERT INTO rows_o(k, e) VALUES(?1, ?2)", NULL, NULL },
	{ "SELECT e FROM rows_t WHERE k=?1 ORDER BY id",
	  "INSERT INTO rows_t(k, e) VALUES(?1, ?2)", NULL, NULL },
};

static bool is_text(uint32_t key)
{
	return key % KINDS < 2;
}

int isolation_load(struct err *err)
{
	char place[TEST_PATH_SIZE], *message = NULL;
	const char *path = test_extension(place);
	sqlite3 *db = NULL;
	int rc;

	sqlite3_open(":memory:", &db);
	sqlite3_enable_load_extension(db, 1);
	rc = sqlite3_load_extension(db, path, NULL, &message);
	sqlite3_close(db);
	if (rc)
		err_set(err, ERR_IO, "load", path, "%s",
		        message ? message : "?");
	sqlite3_free(message);
	return rc ? ERR_IO : ERR_NONE;
}

/* SQLite has few words for an opening that failed; ours are asked for. */
static void why_not(sqlite3 *db, const char *uri, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	const char *words = NULL;
	sqlite3 *other = NULL;

	if (!sqlite3_open(":memory:", &other) &&
	    !sqlite3_prepare_v2(other, "SELECT turdb_last_error()", -1,
	                        &statement, NULL) &&
	    sqlite3_step(statement) == SQLITE_ROW)
		words = (const char *)sqlite3_column_text(statement, 0);
	err_set(err, ERR_IO, "open", uri, "%s: %s", sqlite3_errmsg(db),
	        words ? words : "?");
	sqlite3_finalize(statement);
	sqlite3_close(other);
}

sqlite3 *isolation_connect(const char *directory, const char *parameters,
                           struct err *err)
{
	sqlite3 *db = NULL;
	char uri[400];

	snprintf(uri, sizeof uri, "file:%s/app?vfs=turdb%s", directory,
	         parameters);
	if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE |
	                    SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL)) {
		why_not(db, uri, err);
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, 30000);
	return db;
}

/* --- the board ---------------------------------------------------------------------- */

struct isolation_board *isolation_board_open(const char *directory)
{
	void *at = MAP_FAILED;
	char path[300];
	int descriptor;

	snprintf(path, sizeof path, "%s/board", directory);
	descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return NULL;
	if (!ftruncate(descriptor, sizeof(struct isolation_board)))
		at = mmap(NULL, sizeof(struct isolation_board),
		          PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	close(descriptor);
	return at == MAP_FAILED ? NULL : at;
}

void isolation_board_close(struct isolation_board *board)
{
	munmap(board, sizeof *board);
}

struct isolation_board *isolation_board_make(const char *directory,
                                             struct err *err)
{
	struct isolation_board *board = isolation_board_open(directory);
	sqlite3 *db = isolation_connect(directory, "", err);

	if (!db || !board)
		return NULL;
	if (sqlite3_exec(db, schema, NULL, NULL, NULL)) {
		err_set(err, ERR_IO, "make", "tables", "%s", sqlite3_errmsg(db));
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_close(db);
	board->slots = BOARD_SLOTS;
	board->list_max = 32;
	for (uint32_t i = 0; i < BOARD_SLOTS; i++)
		board->key[i] = i;
	board->key_next = BOARD_SLOTS;
	return board;
}

/* --- a session ------------------------------------------------------------------------ */

struct session {
	struct isolation_board *board;
	const char *directory;
	struct history_log *log;
	sqlite3 *db;
	sqlite3_stmt *statements[KINDS][STATEMENTS];
	uint64_t value;      /* the last one appended             */
	uint64_t seed;
	uint32_t operations; /* of this transaction               */
	uint32_t number;
	bool writes;         /* the transaction, so it may have to wait */
	uint64_t list[LIST_ROOM];
	uint32_t count;
};

static unsigned chance(struct session *s, unsigned of)
{
	return (unsigned)(test_random(&s->seed) % of);
}

static void count(struct session *s, enum isolation_count what)
{
	atomic_fetch_add_explicit(&s->board->counts[what], 1,
	                          memory_order_relaxed);
}

static void give_up(struct session *s, const char *doing, int rc)
{
	if (!atomic_exchange(&s->board->failed, 1)) {
		sqlite3_stmt *statement = NULL;
		const char *sentence = "";
		char message[200];

		snprintf(message, sizeof message, "%s", s->db
		         ? sqlite3_errmsg(s->db) : "");
		if (s->db && !sqlite3_prepare_v2(s->db, "SELECT turdb_last_error()",
		                                 -1, &statement, NULL) &&
		    sqlite3_step(statement) == SQLITE_ROW)
			sentence = (const char *)sqlite3_column_text(statement,
			                                             0);
		snprintf(s->board->why, sizeof s->board->why,
		         "session %u, pid %d: %s: %d, %s; %s", s->number,
		         (int)getpid(), doing, rc, message,
		         sentence ? sentence : "");
		sqlite3_finalize(statement);
	}
	atomic_store(&s->board->stop, 1);
}

/* Whether a writer may meet it. */
static bool is_expected(struct session *s, int rc)
{
	if (!s->writes)
		return false;
	if (rc == SQLITE_BUSY_SNAPSHOT)
		count(s, COUNT_STALE);
	else if ((rc & 0xff) == SQLITE_BUSY)
		count(s, COUNT_BUSY);
	return (rc & 0xff) == SQLITE_BUSY;
}

static int execute(struct session *s, const char *sql)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	if (rc && !is_expected(s, rc))
		give_up(s, sql, rc);
	return rc;
}

static void disconnect(struct session *s)
{
	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < STATEMENTS; i++)
			sqlite3_finalize(s->statements[k][i]);
	memset(s->statements, 0, sizeof s->statements);
	sqlite3_close(s->db);
	s->db = NULL;
}

static bool connect(struct session *s)
{
	static const char *const synchronous[] = {
		"PRAGMA synchronous=OFF", "PRAGMA synchronous=NORMAL",
		"PRAGMA synchronous=FULL",
	};
	struct err err;
	int rc = SQLITE_OK;

	s->db = isolation_connect(s->directory, "&cache_kb=256&checkpoint_mb=1",
	                          &err);
	if (!s->db) {
		give_up(s, err.text, SQLITE_CANTOPEN);
		return false;
	}
	s->writes = false;
	for (int k = 0; !rc && k < KINDS; k++)
		for (int i = 0; !rc && i < STATEMENTS; i++)
			if (statement_texts[k][i])
				rc = sqlite3_prepare_v2(s->db,
					statement_texts[k][i], -1,
					&s->statements[k][i], NULL);
	if (rc)
		give_up(s, "prepare", rc);
	return !rc && !execute(s, synchronous[chance(s, 3)]);
}

/* --- operations ----------------------------------------------------------------------- */

static uint32_t pick_key(struct session *s)
{
	struct isolation_board *board = s->board;
	uint32_t slot = chance(s, board->slots);

	return atomic_load(&board->key[slot]);
}

/* A list that has become long is left for a new one. */
static void note_append(struct session *s, uint32_t key)
{
	struct isolation_board *board = s->board;

	count(s, COUNT_APPENDS);
	for (uint32_t i = 0; i < board->slots; i++)
		if (board->key[i] == key &&
		    atomic_fetch_add(&board->appended[i], 1) + 1 ==
		    board->list_max) {
			atomic_store(&board->key[i],
			             atomic_fetch_add(&board->key_next, 1));
			atomic_store(&board->appended[i], 0);
		}
}

static int collect(struct session *s, sqlite3_stmt *statement, uint32_t key)
{
	int rc;

	s->count = 0;
	while (sqlite3_step(statement) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);
		size_t size = (size_t)sqlite3_column_bytes(statement, 0);

		if (!is_text(key)) {
			s->list[s->count++ % LIST_ROOM] =
				(uint64_t)sqlite3_column_int64(statement, 0);
			continue;
		}
		for (size_t i = 0; i + VALUE_DIGITS <= size; i += VALUE_DIGITS) {
			char digits[VALUE_DIGITS + 1] = "";

			memcpy(digits, text + i, VALUE_DIGITS);
			s->list[s->count++ % LIST_ROOM] =
				strtoull(digits, NULL, 16);
		}
	}
	rc = sqlite3_reset(statement);
	if (s->count > LIST_ROOM)
		abort();
	return rc;
}

static int read_list(struct session *s, uint32_t key)
{
	sqlite3_stmt *statement = s->statements[key % KINDS][READ];
	int rc;

	sqlite3_bind_int64(statement, 1, key);
	rc = collect(s, statement, key);
	if (rc) { /* nobody who reads is ever told to wait */
		give_up(s, "read", rc);
		return rc;
	}
	history_log_read(s->log, key, s->list, s->count);
	s->operations++;
	count(s, COUNT_READS);
	return SQLITE_OK;
}

static int run(struct session *s, sqlite3_stmt *statement, uint32_t key,
               uint64_t value, const char *text)
{
	int rc;

	sqlite3_bind_int64(statement, 1, key);
	if (text)
		sqlite3_bind_text(statement, 2, text, -1, SQLITE_TRANSIENT);
	else
		sqlite3_bind_int64(statement, 2, (sqlite3_int64)value);
	sqlite3_step(statement);
	rc = sqlite3_reset(statement);
	/* Two who make a list outside of transactions meet here. */
	if (rc == SQLITE_CONSTRAINT_PRIMARYKEY && sqlite3_get_autocommit(s->db))
		return rc;
	if (rc && !is_expected(s, rc))
		give_up(s, sqlite3_sql(statement), rc);
	return rc;
}

static uint64_t value_new(struct session *s, uint32_t key, char *text)
{
	uint64_t value = (uint64_t)s->number << SESSION_SHIFT | ++s->value;

	snprintf(text, VALUE_DIGITS + 1, "%010llx", (unsigned long long)value);
	history_log_append(s->log, key, value);
	s->operations++;
	return value;
}

static int append(struct session *s, uint32_t key)
{
	sqlite3_stmt **statements = s->statements[key % KINDS];
	char text[VALUE_DIGITS + 1];
	uint64_t value = value_new(s, key, text);
	int rc = run(s, statements[APPEND], key, value,
	             is_text(key) ? text : NULL);

	if (!rc && is_text(key) && !sqlite3_changes(s->db))
		rc = run(s, statements[INSERT], key, value, text);
	if (!rc)
		note_append(s, key);
	return rc;
}

/* Writes back the list that was just read, longer by one value. */
static int append_to_what_was_read(struct session *s, uint32_t key)
{
	static const char format[] = "%010llx";
	char text[VALUE_DIGITS + 1], *whole;
	uint64_t value = value_new(s, key, text);
	size_t used = 0, room = (s->count + 1) * VALUE_DIGITS + 1;
	int rc;

	whole = malloc(room);
	for (uint32_t i = 0; i < s->count; i++)
		used += (size_t)snprintf(whole + used, room - used, format,
		                         (unsigned long long)s->list[i]);
	snprintf(whole + used, room - used, "%s", text);
	rc = run(s, s->statements[key % KINDS][s->count ? REPLACE : INSERT],
	         key, value, whole);
	free(whole);
	if (!rc)
		note_append(s, key);
	return rc;
}

static void linger(struct session *s)
{
	unsigned dice = chance(s, 100);

	if (dice < 15)
		sched_yield();
	else if (dice < 17)
		usleep(chance(s, 300));
}

static int one_operation(struct session *s, bool reading)
{
	uint32_t key = pick_key(s);
	int rc;

	linger(s);
	if (reading || chance(s, 2))
		return read_list(s, key);
	if (chance(s, 4) || !is_text(key))
		return append(s, key);
	rc = read_list(s, key);
	return rc ? rc : append_to_what_was_read(s, key);
}

static int some_operations(struct session *s, unsigned most, bool reading)
{
	unsigned wanted = 1 + chance(s, most);
	int rc = SQLITE_OK;

	for (unsigned i = 0; !rc && i < wanted; i++)
		rc = one_operation(s, reading);
	return rc;
}

static int savepoint(struct session *s)
{
	uint32_t first = s->operations;
	int rc = execute(s, "SAVEPOINT s");

	if (!rc)
		rc = some_operations(s, 3, false);
	if (!rc && chance(s, 3)) {
		rc = execute(s, "ROLLBACK TO s");
		if (!rc)
			history_log_undo(s->log, first);
		s->operations += !rc;
		count(s, COUNT_UNDONE);
		if (!rc && chance(s, 2))
			rc = some_operations(s, 2, false);
	}
	return rc ? rc : execute(s, "RELEASE s");
}

/* --- transactions ------------------------------------------------------------------------ */

static void begin(struct session *s, bool writes)
{
	s->operations = 0;
	s->writes = writes;
	history_log_begin(s->log, history_now());
}

static void end(struct session *s, int rc)
{
	if (!sqlite3_get_autocommit(s->db)) {
		s->writes = false;
		execute(s, "ROLLBACK");
	}
	history_log_end(s->log, rc ? HISTORY_FAILED : HISTORY_OK,
	                history_now());
	if (!rc)
		count(s, COUNT_COMMITS);
}

static int commit(struct session *s)
{
	history_log_commit(s->log);
	return execute(s, "COMMIT");
}

static void alone(struct session *s, bool reading)
{
	uint32_t key = pick_key(s);

	begin(s, !reading);
	if (reading) {
		end(s, read_list(s, key));
		return;
	}
	history_log_commit(s->log);
	end(s, append(s, key));
}

static void reader(struct session *s)
{
	int rc;

	s->writes = false;
	rc = execute(s, "BEGIN");
	begin(s, false); /* its snapshot is taken by the first read */
	if (!rc)
		rc = some_operations(s, 5, true);
	if (!rc)
		rc = execute(s, "COMMIT");
	end(s, rc);
}

static void writer(struct session *s)
{
	bool early = chance(s, 2);
	int rc;

	begin(s, true);
	rc = execute(s, early ? "BEGIN IMMEDIATE" : "BEGIN");
	if (!rc)
		rc = some_operations(s, 4, false);
	if (!rc && chance(s, 6) == 0)
		rc = savepoint(s);
	if (!rc && chance(s, 8) == 0)
		rc = some_operations(s, 2, false);
	if (!rc && chance(s, 16) == 0) {
		count(s, COUNT_ROLLBACKS);
		end(s, SQLITE_ABORT);
		return;
	}
	if (!rc)
		rc = commit(s);
	end(s, rc);
}

/* Says it is one transaction, and is two. */
static void cheat(struct session *s)
{
	uint32_t key = pick_key(s);
	enum isolation_broken how = s->board->broken;
	int rc;

	if (how == BROKEN_OVERWRITE && !is_text(key))
		key--, key -= key % KINDS >= 2;
	begin(s, true);
	rc = execute(s, "BEGIN");
	if (!rc)
		rc = read_list(s, key);
	if (!rc)
		rc = execute(s, "COMMIT");
	usleep(chance(s, 200));
	if (how == BROKEN_SKEW)
		key = pick_key(s);
	history_log_commit(s->log);
	if (!rc)
		rc = how == BROKEN_OVERWRITE ? append_to_what_was_read(s, key)
		                             : append(s, key);
	end(s, rc);
}

/* What else happens to a database in use. */
static void other_work(struct session *s)
{
	unsigned dice = chance(s, 4000);

	s->writes = true;
	if (dice < 8) {
		execute(s, "SELECT turdb_checkpoint()");
		count(s, COUNT_CHECKPOINTS);
	} else if (dice < 12) {
		disconnect(s);
		connect(s);
		count(s, COUNT_REOPENS);
	} else if (dice < 16) {
		execute(s, "BEGIN IMMEDIATE; CREATE TABLE other(a);"
		           "INSERT INTO other VALUES(1); DROP TABLE other; COMMIT");
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		count(s, COUNT_DDL);
	} else if (dice < 17) {
		execute(s, "VACUUM");
		count(s, COUNT_VACUUMS);
	}
}

static void step(struct session *s)
{
	unsigned dice = chance(s, 100);

	if (s->board->broken && dice < 50)
		cheat(s);
	else if (dice < 25)
		reader(s);
	else if (dice < 35)
		alone(s, true);
	else if (dice < 50)
		alone(s, false);
	else
		writer(s);
	other_work(s);
	atomic_fetch_add(&s->board->ended, 1);
}

void isolation_session(struct isolation_board *board, const char *directory,
                       uint64_t seed)
{
	struct session *s = calloc(1, sizeof *s);
	char path[300];

	s->board = board;
	s->directory = directory;
	s->number = atomic_fetch_add(&board->session_next, 1);
	s->seed = seed + s->number;
	snprintf(path, sizeof path, "%s/session-%u", directory, s->number);
	s->log = history_log_open(path, s->number);
	if (!s->log)
		give_up(s, path, SQLITE_CANTOPEN);
	if (s->log && connect(s))
		while (!atomic_load(&board->stop) &&
		       atomic_load(&board->ended) < board->goal &&
		       history_log_has_room(s->log))
			step(s);
	if (s->db)
		disconnect(s);
	if (s->log)
		history_log_close(s->log);
	free(s);
}

struct thread {
	struct isolation_board *board;
	const char *directory;
	uint64_t seed;
};

static void *thread_run(void *argument)
{
	struct thread *thread = argument;

	isolation_session(thread->board, thread->directory, thread->seed);
	return NULL;
}

void isolation_sessions(struct isolation_board *board, const char *directory,
                        unsigned threads, uint64_t seed)
{
	struct thread thread = { board, directory, seed };
	pthread_t ids[16];

	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, thread_run, &thread))
			abort();
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

/* --- afterwards ---------------------------------------------------------------------------- */

static int read_key(struct session *s, struct history *history, uint32_t key)
{
	sqlite3_stmt *statement = s->statements[key % KINDS][READ];
	int rc;

	sqlite3_bind_int64(statement, 1, key);
	rc = collect(s, statement, key);
	history_read(history, key, s->list, s->count);
	return rc;
}

int isolation_read_all(struct history *history, sqlite3 *db, uint32_t session,
                       uint32_t keys, struct err *err)
{
	struct session *s = calloc(1, sizeof *s);
	int rc = SQLITE_OK;

	for (int k = 0; !rc && k < KINDS; k++)
		rc = sqlite3_prepare_v2(db, statement_texts[k][READ], -1,
		                        &s->statements[k][READ], NULL);
	if (!rc)
		rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	history_begin(history, session, history_now());
	for (uint32_t key = 0; !rc && key < keys; key++)
		rc = read_key(s, history, key);
	if (!rc)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	history_end(history, HISTORY_OK, history_now());
	for (int k = 0; k < KINDS; k++)
		sqlite3_finalize(s->statements[k][READ]);
	free(s);
	return rc ? err_set(err, ERR_IO, "read", "lists", "%s",
	                    sqlite3_errmsg(db)) : ERR_NONE;
}
