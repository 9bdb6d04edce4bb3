"""turdb tables in ordinary files: their pages lie in shadow tables, and what SQLite does to those happens to the tables.

Transactions, crashes, several connections and processes, copies of the file, damage. That statements mean the same as in
a directory is for the other tests of this folder, which run in both homes.
"""
import os
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

Home.now = 'inline'
BODY = 'id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER, face VECTOR(3) HNSW (m=4), INDEX by_b (b)'
FILL = """INSERT INTO t(id, a, b, face) WITH n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
          SELECT i, 'row ' || i, i %% 10, json_array(i, i %% 7, 1) FROM n"""


def plain(path='app.db', *pragmas, **rest):
    load()
    con = sqlite3.connect(path, isolation_level=None, **rest)
    for pragma in pragmas:
        con.execute('PRAGMA ' + pragma)
    return con


def filled(path='app.db', *pragmas, rows=400):
    con = plain(path, *pragmas)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % BODY)
    con.execute(FILL % (1, rows))
    return con


def look(con, table='t'):
    """What a table says by its rows, by each index and by its graph."""
    return (con.execute('SELECT id, a, b, face FROM %s ORDER BY id' % table).fetchall(),
            con.execute('SELECT id FROM %s WHERE b > 3 ORDER BY b, id' % table).fetchall(),
            con.execute("SELECT id FROM %s WHERE a = 'row 77'" % table).fetchall(),
            con.execute("SELECT id FROM %s WHERE face MATCH '[30, 2, 1]' AND k = 3" % table).fetchall())


def sound(con):
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')


# --- where it works -----------------------------------------------------------------------------------------------------

# (vtab/inline_cache C1)
def every_host_keeps_a_table(scratch):
    load()
    for number, (size, journal, encoding, vacuum) in enumerate([
            (512, 'delete', 'UTF-8', 0), (1024, 'wal', 'UTF-16le', 0), (2048, 'truncate', 'UTF-8', 1), (4096, 'persist', 'UTF-16be', 2),
            (8192, 'wal', 'UTF-8', 2), (16384, 'wal', 'UTF-8', 0), (32768, 'memory', 'UTF-16le', 1), (65536, 'delete', 'UTF-8', 0)]):
        path = 'host%d.db' % number
        con = filled(path, 'page_size = %d' % size, "encoding = '%s'" % encoding, 'auto_vacuum = %d' % vacuum,
                     'journal_mode = %s' % journal)
        con.execute("INSERT INTO t(a) VALUES ('\u00e4\U0001f600'), (x'00ff')")
        before = look(con)
        sound(con)
        con.close()
        con = plain(path)
        expect_equal(look(con), before)
        con.execute('VACUUM')
        expect_equal(look(con), before)
        con.execute('PRAGMA incremental_vacuum')
        con.execute("UPDATE t SET b = b + 1")
        sound(con)
        con.close()


def memory_and_temp_keep_tables(scratch):
    load()
    for path, schema in ((':memory:', 'main'), ('', 'main'), ('x.db', 'temp'), ('file:shared?mode=memory&cache=private', 'main')):
        con = sqlite3.connect(path, uri=True, isolation_level=None)
        con.execute('CREATE VIRTUAL TABLE %s.t USING turdb(%s)' % (schema, BODY))
        con.execute(FILL % (1, 300))
        con.execute('BEGIN')
        con.execute('DELETE FROM t WHERE id % 2')
        con.execute('SAVEPOINT p')
        con.execute('UPDATE t SET b = -b')
        con.execute('ROLLBACK TO p')
        con.execute('COMMIT')
        expect_equal(value(con, 'SELECT count(*) || sum(b > 0) FROM t'), '150120')
        sound(con)
        con.execute('DROP TABLE t')
        expect_equal(con.execute("SELECT name FROM %s.sqlite_schema WHERE name <> 'turdb_sentinel_in_temp'" % schema).fetchall(), [])
        con.close()


def attached_files_have_their_own(scratch):
    con = filled()
    con.execute("ATTACH 'second.db' AS two")
    con.execute('CREATE VIRTUAL TABLE two.t USING turdb(%s)' % BODY)
    con.execute('BEGIN')
    con.execute('INSERT INTO two.t SELECT * FROM main.t WHERE id > 300')
    con.execute('DELETE FROM main.t WHERE id > 300')
    con.execute('COMMIT')
    con.execute('BEGIN')
    con.execute('DELETE FROM two.t')
    con.execute('DELETE FROM main.t')
    con.execute('ROLLBACK')
    expect_equal(con.execute('SELECT (SELECT count(*) FROM main.t), (SELECT count(*) FROM two.t)').fetchall(), [(300, 100)])
    sound(con)


def another_file_under_the_same_name_is_another_table(scratch):
    for number in range(4):
        con = filled('f%d.db' % number, rows=50 + number)
        con.close()
    con = plain(':memory:')
    for number in (0, 1, 2, 3, 1, 0):
        con.execute("ATTACH 'f%d.db' AS x" % number)
        expect_equal(value(con, 'SELECT count(*) FROM x.t'), 50 + number)
        expect_equal(value(con, "SELECT turdb_count('x.t')"), 50 + number)
        con.execute('DETACH x')


def a_file_that_was_written_detaches(scratch):
    con = plain(':memory:')
    for turn in range(4):
        con.execute("ATTACH 'file.db' AS x")
        con.execute('CREATE VIRTUAL TABLE IF NOT EXISTS x.t USING turdb(a, b, INDEX i (b))')
        con.execute('INSERT INTO x.t VALUES (1, 2), (3, 4)')
        con.execute('BEGIN')
        con.execute('SAVEPOINT p')
        con.execute('DROP TABLE x.t')
        con.execute('ROLLBACK TO p')
        con.execute('COMMIT')
        con.execute("SELECT turdb_create_index('j%d', 'x.t', 'a, b')" % turn)
        expect_equal(value(con, 'SELECT count(*) FROM x.t'), 2 * turn + 2)
        sound(con)
        con.execute('DETACH x')
    for query in ('mode=ro', 'immutable=1'):
        con = sqlite3.connect('file:file.db?' + query, uri=True, isolation_level=None)
        expect_equal(value(con, 'SELECT count(*) FROM t WHERE b = 2'), 4)
        sound(con)
    expect_error('readonly', con.execute, 'INSERT INTO t VALUES (1, 2)')


def a_directory_and_a_file_change_in_one_transaction(scratch):
    filled(rows=100).close()
    con = sqlite3.connect('file:native?vfs=turdb', uri=True, isolation_level=None)
    con.execute('CREATE VIRTUAL TABLE n USING turdb(a)')
    con.execute("ATTACH 'app.db' AS x")
    for end, rows in (('ROLLBACK', (0, 100)), ('COMMIT', (100, 200))):
        con.execute('BEGIN')
        con.execute('INSERT INTO n SELECT a FROM x.t')
        con.execute("INSERT INTO x.t(a) SELECT a || '!' FROM n")
        con.execute('CREATE VIRTUAL TABLE x.u USING turdb(q)')
        con.execute('SAVEPOINT s')
        con.execute('DROP TABLE n')
        con.execute('DELETE FROM x.t')
        con.execute('ROLLBACK TO s')
        con.execute(end)
        expect_equal(con.execute('SELECT (SELECT count(*) FROM n), (SELECT count(*) FROM x.t)').fetchone(), rows)
        sound(con)


def a_host_in_exclusive_mode_is_a_host(scratch):
    con = plain('app.db', 'locking_mode = exclusive', 'journal_mode = wal')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a UNIQUE)')
    for i in range(20):
        con.execute('INSERT INTO t VALUES (?)', (i,))
        expect_equal(value(con, 'SELECT count(*) FROM t'), i + 1)
    con.execute('PRAGMA journal_mode = delete')
    con.execute('PRAGMA locking_mode = normal')
    expect_equal(value(con, 'SELECT count(*) FROM t'), 20)
    plain().execute('DELETE FROM t WHERE a < 10')
    expect_equal(value(con, 'SELECT count(*) FROM t'), 10)
    sound(con)


# --- transactions -------------------------------------------------------------------------------------------------------

# (vtab/inline L1, vtab/inline L2, rule 15)
def whatever_is_rolled_back_is_gone(scratch):
    for kind, mode in enumerate(('wal', 'delete')):
        con = filled('app%d.db' % kind, 'journal_mode = ' + mode)
        before = look(con)
        for undo in ('ROLLBACK', 'ROLLBACK TO p'):
            con.execute('BEGIN')
            con.execute('SAVEPOINT p')
            con.execute(FILL % (1000, 1400))
            con.execute('DELETE FROM t WHERE id % 3 = 0')
            con.execute('SAVEPOINT q')
            con.execute('UPDATE t SET b = b + 100, face = NULL')
            con.execute('ROLLBACK TO q')
            expect_equal(value(con, 'SELECT count(*) FROM t WHERE b > 99'), 0)
            con.execute(undo)
            expect_equal(look(con), before)
            if con.in_transaction:
                con.execute('COMMIT')
            sound(con)
        expect_error('UNIQUE', con.execute, "INSERT INTO t(id, a) VALUES (2000, 'x'), (2001, 'row 5')")
        expect_error('UNIQUE', con.execute, "UPDATE t SET a = 'row 9' WHERE id > 8")
        expect_equal(look(con), before)
        con.execute('BEGIN')
        con.execute("INSERT INTO t(id, a) VALUES (3000, 'kept')")
        expect_error('UNIQUE', con.execute, "INSERT INTO t(id, a) VALUES (3001, 'x'), (3002, 'row 5')")
        con.execute('COMMIT')
        expect_equal(con.execute('SELECT id FROM t WHERE id > 1999').fetchall(), [(3000,)])
        sound(con)
        con.close()


# (vtab/inline L4, vtab/inline_cache C2)
def triggers_change_tables_whole_or_not_at_all(scratch):
    con = filled(rows=50)
    con.execute('CREATE TABLE log(n INTEGER PRIMARY KEY, what TEXT)')
    con.execute("""CREATE TRIGGER into_t AFTER INSERT ON log BEGIN
        INSERT INTO t(id, a, b) VALUES (new.n, new.what, 5);
        UPDATE t SET b = b + 1 WHERE id <= 10;
        INSERT INTO t(id, a) SELECT new.n + 1, new.what || '!' WHERE new.n % 2; END""")
    for begin in (False, True):
        if begin:
            con.execute('BEGIN')
        base = 5000 if begin else 1000
        con.execute("INSERT INTO log VALUES (?, 'one'||?1)", (base,))
        before = look(con)
        expect_error('UNIQUE', con.execute, "INSERT INTO log VALUES (?, 'two'||?1), (?1 + 6, 'row 3')", (base + 2,))
        expect_equal(look(con), before)
        con.execute("INSERT OR IGNORE INTO log VALUES (?, 'three'||?1), (?1 + 2, 'row 3')", (base + 21,))
        expect_error('UNIQUE', con.execute, "INSERT OR FAIL INTO log VALUES (?, 'four'||?1), (?1 + 2, 'row 3')", (base + 31,))
        if begin:
            con.execute('COMMIT')
        sound(con)


# (vtab/inline L5)
def what_sqlite_tells_of_a_statement_stays_true(scratch):
    con = plain('app.db', 'journal_mode = wal')
    con.execute('CREATE TABLE o(i INTEGER PRIMARY KEY)')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v BLOB)')
    for big in range(1, 60):   # many of these make pages
        con.execute('INSERT INTO t VALUES (?, zeroblob(9000))', (big * 7,))
        expect_equal(con.execute('SELECT last_insert_rowid(), changes()').fetchall(), [(big * 7, 1)])
    con.execute('INSERT INTO o VALUES (12345)')
    con.execute('BEGIN')
    con.execute('UPDATE t SET v = zeroblob(20000)')
    expect_equal(con.execute('SELECT last_insert_rowid(), changes()').fetchall(), [(12345, 59)])
    con.execute('SAVEPOINT p')
    con.execute('COMMIT')
    expect_equal(con.execute('SELECT last_insert_rowid(), changes()').fetchall(), [(12345, 59)])
    sound(con)


def functions_may_use_tables_in_the_middle_of_a_change(scratch):
    con, chance = plain(':memory:'), random.Random(4)
    con.execute("SELECT turdb_config('cache_kb', 1)").fetchall()
    told = set()

    def meanwhile(x):
        what = chance.choice(['SELECT count(*), sum(b) FROM t', 'INSERT INTO u(x) VALUES (zeroblob(9000))',
                              'UPDATE u SET x = zeroblob(20000) WHERE rowid % 3 = 0', 'INSERT INTO u(x) VALUES (5), (6)',
                              'INSERT INTO u(x, y) SELECT 1, n FROM (SELECT 100 n UNION ALL SELECT 1)', 'SELECT 1', 'SELECT 1'])
        try:
            con.execute(what).fetchall()
        except sqlite3.Error as error:
            told.add(str(error))
        return x
    con.create_function('meanwhile', 1, meanwhile)
    con.execute('CREATE VIRTUAL TABLE u USING turdb(x, y UNIQUE)')
    con.execute('INSERT INTO u(y) VALUES (1)')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER CHECK (meanwhile(b) IS NOT 77), '
                'c DEFAULT (meanwhile(3)), INDEX by_b (b))')
    for i in range(scaled(300)):
        try:
            if i % 50 == 10:
                con.execute('BEGIN')
            con.execute('INSERT INTO t(id, a, b) VALUES (?, ?, ?)', (i, 'row %d' % (i // 2 * 2 if i % 9 == 0 else i), i % 100))
            con.execute("UPDATE OR REPLACE t SET b = b + 1, a = a || 'x' WHERE id = ?", (chance.randint(0, i),))
            con.execute('UPDATE t SET b = b + 1 WHERE id > ?', (i - 5,))
            if i % 50 == 40:
                con.execute(chance.choice(['COMMIT', 'ROLLBACK']))
        except sqlite3.Error as error:
            told.add(str(error))
    if con.in_transaction:
        con.execute('COMMIT')
    expect_equal(told, {'UNIQUE constraint failed: t.a', 'UNIQUE constraint failed: u.y', 'CHECK constraint failed: meanwhile(b) IS NOT 77',
                        'cannot start a transaction within a transaction'} & told | {'UNIQUE constraint failed: u.y'})
    sound(con)


def texts_of_utf_16_hosts_are_as_in_ordinary_tables(scratch):
    for encoding in ('UTF-16le', 'UTF-16be'):
        con = plain('%s.db' % encoding, "encoding = '%s'" % encoding)
        con.execute('CREATE VIRTUAL TABLE t USING turdb(a TEXT, b, INDEX i (a), INDEX j (b))')
        con.execute('CREATE TABLE m(a TEXT, b)')
        for table in 'tm':
            for text in ('', 'a', '\u00e4', '\U0001f600', 'a\0b', '12', '1.5', ' 7', 'zz' * 3000):
                con.execute('INSERT INTO %s VALUES (?, ?)' % table, (text, text))
                con.execute('INSERT INTO %s VALUES (?, CAST(? AS BLOB))' % table, (text, text))
            con.execute('UPDATE %s SET b = b + 1 WHERE a < ?' % table, ('2',))
        for query in ('SELECT * FROM %s ORDER BY a, b', "SELECT * FROM %s WHERE a > 'a' ORDER BY a, rowid", 'SELECT * FROM %s WHERE b = 13',
                      'SELECT hex(a), typeof(b), hex(b) FROM %s ORDER BY rowid'):
            expect_equal(con.execute(query % 't').fetchall(), con.execute(query % 'm').fetchall())
        sound(con)


# --- several connections and processes ----------------------------------------------------------------------------------

# (vtab/inline L3)
def other_connections_see_what_was_committed_and_nothing_else(scratch):
    for kind, mode in enumerate(('wal', 'delete')):
        path = 'app%d.db' % kind
        con = filled(path, 'journal_mode = ' + mode)
        other = plain(path)
        before = look(other)
        con.execute('BEGIN')
        con.execute('UPDATE t SET b = 9, face = NULL WHERE id < 200')
        if mode == 'wal':
            expect_equal(look(other), before)
            other.execute('BEGIN')
            expect_equal(look(other), before)
        con.execute('COMMIT')
        if mode == 'wal':
            expect_equal(look(other), before)   # its snapshot
            expect_error('locked', other.execute, 'DELETE FROM t WHERE id = 1')
            other.execute('COMMIT')
        expect_equal(look(other), look(con))
        con.execute('DELETE FROM t WHERE id > 100')
        other.execute("INSERT INTO t(id, a) VALUES (900, 'theirs')")
        expect_equal(value(con, 'SELECT count(*) FROM t'), 101)
        expect_equal(look(other), look(con))
        con.execute('DROP TABLE t')
        expect_error('no such table', other.execute, 'SELECT * FROM t')
        con.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % BODY)
        con.execute(FILL % (1, 90))
        expect_equal(look(other), look(con))
        sound(other)
        con.close()
        other.close()


def a_transaction_that_touches_others_leaves_a_cache_good(scratch):
    con = filled('app.db', 'journal_mode = wal')
    con.execute('CREATE TABLE o(x)')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(x)')
    other = plain()
    for i in range(20):
        other.execute('INSERT INTO o VALUES (1)')
        other.execute('INSERT INTO u VALUES (1)')
        if i % 5 == 0:
            other.execute('UPDATE t SET b = ? WHERE id = 7', (i,))
        expect_equal(con.execute('SELECT b, (SELECT count(*) FROM u) FROM t WHERE id = 7').fetchall(), [(i - i % 5, i + 1)])


WORKER = """
import random
mode, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
con, chance = sqlite3.connect('app.db', isolation_level=None, timeout=60), random.Random(seed)
con.execute("SELECT turdb_config('cache_kb', ?)", (chance.choice([1, 300, 16384]),)).fetchall()
for i in range(rounds):
    con.execute('BEGIN IMMEDIATE')
    n = value(con, 'SELECT b FROM t WHERE id = 1')
    total = value(con, 'SELECT sum(b) FROM t')
    assert total == 0, total
    con.execute('UPDATE t SET b = b + 1 WHERE id = 1')
    con.execute('UPDATE t SET b = b - 1 WHERE id = ?', (chance.randint(2, 90),))
    con.execute("INSERT INTO t(a, b, face) VALUES (?, 0, json_array(?, 1, 2))", ('%d %d' % (seed, i), i))
    if chance.random() < 0.3:
        con.execute('ROLLBACK')
    else:
        con.execute('COMMIT')
        print('done', flush=True)
    # Any moment shows sums that agree.
    assert value(con, 'SELECT sum(b) FROM t') == 0
"""


def processes_agree(scratch):
    for mode in ('wal', 'delete'):
        wipe('app')
        con = filled('app.db', 'journal_mode = ' + mode, rows=100)
        con.execute('UPDATE t SET b = 0')
        rounds = scaled(25)
        workers = [python(WORKER, mode, seed, rounds, wait=False) for seed in range(2)]
        done = 0
        for worker in workers:
            output = worker.communicate(timeout=120)[0]
            expect_equal(worker.returncode, 0) if not output.count('Error') else expect(False, output)
            done += output.count('done')
        expect_equal(con.execute('SELECT b, (SELECT sum(b) FROM t), (SELECT count(*) FROM t) FROM t WHERE id = 1').fetchall(), [(done, 0, 100 + done)])
        sound(con)
        con.close()


KILLED = """
import random
con, chance = sqlite3.connect('app.db', isolation_level=None, timeout=60), random.Random(int(sys.argv[1]))
con.execute('PRAGMA synchronous = off')
con.execute("SELECT turdb_config('cache_kb', 1)").fetchall()
while True:
    con.execute('BEGIN IMMEDIATE')
    n = value(con, 'SELECT coalesce(max(id), 0) FROM t') + 1
    for i in range(n, n + 40):
        con.execute("INSERT INTO t(id, a, b, face) VALUES (?1, 'row ' || ?1, 1, json_array(?1, 0, 1))", (i,))
    if chance.random() < 0.3:
        con.execute('SAVEPOINT p')
        con.execute('UPDATE t SET b = 2')
        con.execute('ROLLBACK TO p')
    con.execute('COMMIT')
    print(n + 39, flush=True)
"""


def a_killed_process_leaves_whole_transactions(scratch):
    for mode in ('wal', 'delete', 'truncate'):
        wipe('app')
        filled('app.db', 'journal_mode = ' + mode, rows=1).close()
        for turn in range(scaled(4)):
            child = python(KILLED, turn, wait=False)
            said = 0
            for _ in range(random.Random(turn).randint(1, 6)):
                said = int(child.stdout.readline())
            time_to_kill(child, turn)
            rest = child.communicate()[0].split()
            said = int(rest[-1]) if rest and rest[-1].isdigit() else said
            con = plain()
            rows, last = con.execute('SELECT count(*), max(id) FROM t').fetchone()
            expect(rows == last and last >= said and last % 40 == 1 % 40, (rows, last, said))
            expect_equal(value(con, 'SELECT count(*) FROM t WHERE b = 2'), 0)
            sound(con)
            con.close()


def time_to_kill(child, turn):
    import time
    time.sleep(random.Random(turn * 7).random() * 0.02)
    child.send_signal(signal.SIGKILL)


# --- copies -------------------------------------------------------------------------------------------------------------

def copies_carry_the_rows(scratch):
    con = filled('app.db', 'journal_mode = wal')
    con.execute("UPDATE t SET a = 'long ' || hex(zeroblob(9000)) WHERE id = 5")
    wanted = look(con)
    con.execute("VACUUM INTO 'into.db'")
    target = sqlite3.connect('backup.db')
    con.backup(target)
    target.close()
    pathlib.Path('dump.sql').write_text(shell('.load %s\n.open app.db\n.dump\n' % LIBRARY))
    shell('.open dumped.db\n.read dump.sql\n')
    for copy in ('into.db', 'backup.db', 'dumped.db'):
        other = plain(copy)
        expect_equal(look(other), wanted)
        other.execute("INSERT INTO t(id, a) VALUES (9999, 'new')")
        sound(other)
        other.close()
    expect_equal(look(con), wanted)


def a_restored_backup_is_noticed(scratch):
    con = filled('app.db', 'journal_mode = delete')
    copy = sqlite3.connect('copy.db')
    con.backup(copy)
    wanted = look(con)
    # As many commits as the copy will have, so that counters agree.
    other = plain()
    con.execute('DELETE FROM t WHERE id > 10')
    expect_equal(value(con, 'SELECT count(*) FROM t'), 10)
    copy.backup(other)
    expect_equal(look(con), wanted)
    expect_equal(look(other), wanted)
    sound(con)


def a_defensive_connection_keeps_its_shadow_tables(scratch):
    out = shell(""".load %s
.open app.db
.dbconfig defensive on
CREATE VIRTUAL TABLE t USING turdb(a, b, INDEX i (b));
INSERT INTO t VALUES (1, 2), (3, 4);
BEGIN; SAVEPOINT p; UPDATE t SET b = 9; ROLLBACK TO p; UPDATE t SET a = a + 1; COMMIT;
DELETE FROM t_tbd;
UPDATE t_idx SET page = 'x';
DROP TABLE t_hnsw;
CREATE TABLE t_other(x);
ALTER TABLE t RENAME TO u;
SELECT * FROM u;
SELECT turdb_check();
DROP TABLE u;
SELECT count(*) FROM sqlite_schema;
""" % LIBRARY, status=None)
    expect_equal(out.count('may not be modified') + out.count('may not be dropped'), 3)
    for line in ('2|2', '4|4', 'ok', '1'):
        expect(line in out.splitlines(), out)


def names_that_are_taken_are_told(scratch):
    con = plain()
    con.execute('CREATE TABLE t_idx(x)')
    expect_error('"t_idx" already exists', con.execute, 'CREATE VIRTUAL TABLE t USING turdb(a)')
    expect_equal(con.execute('SELECT name FROM sqlite_schema').fetchall(), [('t_idx',)])
    con.execute('DROP TABLE t_idx')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a)')
    con.execute('INSERT INTO t VALUES (1)')
    con.execute('CREATE TABLE u_idx(x)')
    expect_error('u_idx', con.execute, 'ALTER TABLE t RENAME TO u')
    expect_equal(con.execute('SELECT * FROM t').fetchall(), [(1,)])
    con.execute("INSERT INTO t VALUES (2)")
    sound(con)


# --- damage -------------------------------------------------------------------------------------------------------------

def damaged_rows_are_errors_that_name_them(scratch):
    filled().close()
    whole = pathlib.Path('app.db').read_bytes()
    chance = random.Random(3)
    for what, words in (
            ("DELETE FROM t_tbd WHERE pgno = 1", 't_tbd'), ("DELETE FROM t_tbd WHERE pgno = 0", 't_tbd'), ("DELETE FROM t_tbd WHERE pgno = -1", 't_tbd'),
            ("DELETE FROM t_idx", 't_idx'), ("UPDATE t_tbd SET page = x'00' WHERE pgno = 1", 'bytes'), ("UPDATE t_tbd SET page = x'' WHERE pgno = 0", ''),
            ("UPDATE t_tbd SET page = zeroblob(16320) WHERE pgno = 1", 'checksum'), ("UPDATE t_tbd SET page = 5 WHERE pgno = 1", 't_tbd'),
            ("UPDATE t_tbd SET page = zeroblob(length(page)) WHERE pgno = 0", 't_tbd'), ("UPDATE t_tbd SET page = zeroblob(64) WHERE pgno = 0", 't_tbd'),
            ("UPDATE t_hnsw SET page = zeroblob(16320)", 'checksum'), ("DROP TABLE t_hnsw", 't_hnsw'), ("DROP TABLE t_tbd", 't_tbd'),
            ("UPDATE t_tbd SET page = (SELECT page FROM t_idx LIMIT 1) WHERE pgno = 1", 'checksum'),
            ("INSERT INTO t_tbd VALUES (777, zeroblob(16320))", 'rows'), ("INSERT INTO t_idx VALUES (-5, zeroblob(3))", 'rows')):
        pathlib.Path('app.db').write_bytes(whole)
        con = plain()
        con.execute(what)
        con.close()
        con = plain()
        told = attempt_all(con)
        expect(words in told, (what, told))
        con.close()


def attempt_all(con):
    told = []
    for sql in ("SELECT count(*), sum(length(a)) FROM t", "SELECT id FROM t WHERE b = 3", "SELECT id FROM t WHERE face MATCH '[1,2,3]' AND k = 2",
                "INSERT INTO t(a, b) VALUES ('another', 4)", "DELETE FROM t WHERE id < 50", "UPDATE t SET b = b + 1", "SELECT turdb_check()"):
        try:
            told += [str(r) for r in con.execute(sql).fetchall()]
        except sqlite3.Error as error:
            told.append(str(error))
            if con.in_transaction:
                con.execute('ROLLBACK')
    return '\n'.join(told)


def flipped_bits_never_pass(scratch):
    con = filled('app.db', rows=300)
    wanted = look(con)
    con.close()
    chance = random.Random(9)
    for turn in range(scaled(60)):
        con = plain()
        kind = ('tbd', 'idx', 'hnsw')[turn % 3]
        number = chance.choice(con.execute('SELECT pgno FROM t_%s' % kind).fetchall())[0]
        page = bytearray(value(con, 'SELECT page FROM t_%s WHERE pgno = ?' % kind, number))
        old = bytes(page)
        page[chance.randrange(len(page))] ^= 1 << chance.randrange(8)
        con.execute('UPDATE t_%s SET page = ? WHERE pgno = ?' % kind, (bytes(page), number))
        con.close()
        con = plain()
        try:
            expect_equal(look(con), wanted)   # a page that nothing of this needs
        except sqlite3.Error as error:
            expect(any(word in str(error) for word in ('checksum', 'damaged', 'layout', 'begin as', 'make no sense', 'version', 'corrupt')), error)
        try:
            expect(value(con, 'SELECT turdb_check()') != 'ok')
        except sqlite3.Error:
            pass
        con.close()
        con = plain(':memory:')
        con.execute("ATTACH 'app.db' AS x")
        con.execute('UPDATE x.t_%s SET page = ? WHERE pgno = ?' % kind, (old, number))
        con.close()



def figures_are_told(scratch):
    load()
    con = sqlite3.connect('app.db', isolation_level=None)
    con.execute("ATTACH 'beside.db' AS beside")

    def figures(schema=''):
        return {name: value for name, value, _ in con.execute("SELECT * FROM turdb_status" + schema)}
    expect_equal([figures()[name] for name in ('tables', 'pages', 'free_pages', 'cached_pages', 'cache_hits')], [0] * 5)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a INTEGER PRIMARY KEY, b, INDEX i (b))')
    con.execute('CREATE VIRTUAL TABLE beside.u USING turdb(a)')
    con.execute('BEGIN')
    con.executemany('INSERT INTO t VALUES (?, ?)', ((i, 'x' * 1000) for i in range(scaled(1000, 200))))
    con.execute('COMMIT')
    now = figures()
    rows = value(con, 'SELECT (SELECT count(*) FROM t_tbd WHERE pgno > 0) + (SELECT count(*) FROM t_idx WHERE pgno > 0)')
    expect_equal((now['tables'], now['free_pages'], now['cache_misses']), (1, 0, 0))
    expect(rows <= now['pages'] <= rows + 2, (rows, now))
    expect(0 < now['cached_pages'] <= now['pages'] and now['cached_kb'] * 1024 > 16320 * now['cached_pages'] - 1024, now)
    expect_equal((figures("('beside')")['tables'], figures("('main')")['pages'], figures("('temp')")['tables']), (1, now['pages'], 0))
    expect_error('there is none of that name', con.execute, "SELECT * FROM turdb_status('nobody')")
    con.execute('DELETE FROM t WHERE a > 20')
    expect(figures()['free_pages'] > now['pages'] // 2, figures())
    con.execute('BEGIN')
    hits = figures()['cache_hits']
    for _ in range(50):
        con.execute('SELECT * FROM t WHERE a = 5').fetchall()
    later = figures()
    expect(later['cache_hits'] >= hits + 50 and later['cache_misses'] == 0, later)
    con.execute('COMMIT')
    con.execute("SELECT turdb_config('cache_kb', 77)").fetchall()
    expect_equal(figures()['cache_kb'], 77)
    con.close()
    con = sqlite3.connect('app.db', isolation_level=None)
    con.execute('SELECT sum(a) FROM t').fetchall()
    expect(figures()['cache_misses'] > 0, figures())


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, ('inline',))
