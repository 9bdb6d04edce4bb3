"""PRAGMA integrity_check and quick_check: from SQLite 3.44 on they say what is wrong with turdb tables, before they say nothing of
them; turdb_check() always does."""
import glob
import pathlib
import random
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

ASKED = sqlite3.sqlite_version_info >= (3, 44)
load()


def vector(chance):
    return struct.pack('<8f', *[chance.uniform(-1, 1) for _ in range(8)])


def filled(rows=300, schema='main', con=None, most='1000'):
    con, chance = con or connect('app'), random.Random(3)
    con.execute('CREATE VIRTUAL TABLE %s.t USING turdb(id INTEGER PRIMARY KEY, a INTEGER, b TEXT UNIQUE, v VECTOR(8) HNSW, '
                'INDEX i (a DESC, b), CHECK (a < %s))' % (schema, most))
    con.execute('CREATE VIRTUAL TABLE %s.other USING turdb(a, b TEXT)' % schema)
    con.execute('CREATE TABLE %s.plain(a UNIQUE)' % schema)
    con.execute('BEGIN')
    for i in range(rows):
        con.execute('INSERT INTO %s.t(a, b, v) VALUES (?, ?, ?)' % schema,
                    (i % 7, 'b%d' % i * 40 if i % 3 else None, vector(chance) if i % 5 else None))
        con.execute('INSERT INTO %s.plain VALUES (?)' % schema, (i,))
    con.execute('INSERT INTO %s.other SELECT a, b FROM %s.t' % (schema, schema))
    con.execute('COMMIT')
    return con


def answers(con, pragma):
    return [row[0] for row in con.execute('PRAGMA ' + pragma)]


def expect_sound(con):
    for pragma in ('integrity_check', 'quick_check', 'integrity_check(t)', 'quick_check(other)'):
        expect_equal(answers(con, pragma), ['ok'])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def expect_said(con, words, quick=True, table='t', schema='main', check=True):
    """The table's row has those words; nothing else is wrong."""
    for pragma in ('integrity_check', 'quick_check', 'integrity_check(%s)' % table):
        told = answers(con, pragma)
        if ASKED and (quick or pragma[0] == 'i'):
            expect(len(told) == 1 and told[0].startswith('*** in turdb table %s.%s ***\n' % (schema, table)) and words in told[0],
                   '%s: %r' % (pragma, told))
        else:
            expect_equal((pragma, told), (pragma, ['ok']))
    expect_equal(answers(con, 'integrity_check(plain)'), ['ok'])
    if check:
        expect(any(words in row[0] for row in con.execute('SELECT * FROM turdb_problems')),
               con.execute('SELECT * FROM turdb_problems').fetchall())


def rewritten(con, before, after):
    """The database with another statement in sqlite_schema."""
    con.execute('PRAGMA writable_schema = on')
    done = con.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 't'", (before, after))
    expect_equal(done.rowcount, 1)
    con.close()
    return connect('app')


# --- what is sound --------------------------------------------------------------------------------------------------

def sound_tables_are_ok(scratch):
    con = filled()
    expect_sound(con)
    con.execute('BEGIN')
    con.execute('UPDATE t SET a = a + 1, id = -id WHERE id > 100')
    expect_sound(con)
    con.execute('SAVEPOINT p')
    con.execute('DELETE FROM t WHERE id % 2')
    expect_sound(con)
    con.execute('ROLLBACK TO p')
    expect_sound(con)
    con.execute('DROP TABLE other')
    expect_equal(answers(con, 'integrity_check'), ['ok'])
    con.execute('ROLLBACK')
    expect_sound(con)
    con.close()
    expect_sound(connect('app'))
    expect_sound(connect('app', '&mode=ro'))


def open_reads_go_on_after_a_check(scratch):
    con = filled()
    wanted = con.execute('SELECT id, a, b FROM t ORDER BY a DESC, b').fetchall()
    rows = con.execute('SELECT id, a, b FROM t ORDER BY a DESC, b')
    found = [next(rows) for _ in range(100)]
    expect_sound(con)
    expect_equal(found + rows.fetchall(), wanted)


# A column of numbers may hold texts that are none; what a table took, it may have.
def what_a_table_took_it_may_have(scratch):
    con = connect('app')
    chance = random.Random(5)
    for number, options in enumerate(('', ', strict=1')):
        con.execute('CREATE VIRTUAL TABLE w%d USING turdb(i INTEGER, x %s, r REAL, s TEXT NOT NULL, b BLOB, '
                    'g INTEGER AS (i + 1), n INTEGER PRIMARY KEY, CHECK (s <> ?1 OR 1)%s)'.replace('?1', "''")
                    % (number, 'ANY' if options else 'NUMERIC', options))
        for _ in range(scaled(300, 200)):
            given = [chance.choice([1, -7, 2.5, 3.0, 1e300, '12', '1e3', ' 5 ', '5x', '', 'abc', b'', b'12', None, '0x10', 2**62,
                                    '9223372036854775808', float('inf'), '\u0661', '1\x00']) for _ in range(5)]
            try:
                con.execute('INSERT INTO w%d(i, x, r, s, b) VALUES (?, ?, ?, ?, ?)' % number, given)
            except sqlite3.Error as error:
                expect('constraint' in str(error) or 'cannot store' in str(error), error)
        expect(value(con, 'SELECT count(*) FROM w%d' % number) > 0)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    expect_equal(answers(con, 'integrity_check'), ['ok'])


def each_schema_is_asked(scratch):
    con = filled()
    con.execute("ATTACH 'file.db' AS beside")
    con.execute("ATTACH 'file:dir?vfs=turdb' AS \"a dir\"")
    con.create_function('most', 0, lambda: 1000)
    for schema in ('beside', '"a dir"', 'temp'):
        filled(20, schema, con, '1000' if 'dir' in schema else 'most()')
    expect_equal(answers(con, 'integrity_check'), ['ok'])
    con.create_function('most', 0, lambda: 5)
    told = answers(con, 'integrity_check')
    if not ASKED:
        expect_equal(told, ['ok'])
        return
    expect_equal(sorted(row.split('\n')[0] for row in told), ['*** in turdb table beside.t ***', '*** in turdb table temp.t ***'])
    expect_equal(answers(con, 'main.integrity_check'), ['ok'])
    expect_equal(answers(con, '"a dir".quick_check'), ['ok'])
    expect_equal([row.count('\n') for row in answers(con, 'temp.quick_check')], [5])


# --- what is wrong --------------------------------------------------------------------------------------------------

def an_index_that_does_not_fit_its_rows_is_told(scratch):
    con = rewritten(filled(), 'INDEX i (a DESC, b)', 'INDEX i (a, b)')
    expect_said(con, 'index i: row 1 has no entry in the index', quick=False)
    if ASKED:   # 300 rows, and as many entries; three of four lines are left out
        expect_equal(answers(con, 'integrity_check')[0].count('\n'), 101)
        expect(answers(con, 'integrity_check')[0].endswith('more'), answers(con, 'integrity_check'))


def a_check_that_does_not_hold_is_told(scratch):
    con = rewritten(filled(), 'CHECK (a < 1000)', 'CHECK (a <> 3), CHECK (id < 0 OR a < 6)')
    expect_said(con, 'row 4 does not satisfy CHECK a <> 3')
    expect_said(con, 'row 7 does not satisfy CHECK id < 0 OR a < 6')


def a_check_that_cannot_be_computed_is_told_once(scratch):
    con = rewritten(filled(), 'CHECK (a < 1000)', 'CHECK (a < f(b))')
    expect_said(con, 'no such function: f')
    if ASKED:
        expect_equal(answers(con, 'integrity_check')[0].count('\n'), 1)
    con.create_function('f', 1, lambda b: 7)
    expect_sound(con)


def a_null_where_none_may_be_is_told(scratch):
    con = rewritten(filled(), 'b TEXT UNIQUE', 'b TEXT NOT NULL UNIQUE')
    expect_said(con, 'row 1 has NULL in column b, which is NOT NULL')


def equal_long_values_in_a_unique_index_are_told(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a TEXT, INDEX i (a))')
    con.execute('CREATE TABLE plain(a)')
    con.executemany('INSERT INTO t(a) VALUES (?)', [('x' * 5000,), ('y' * 5000,), ('x' * 5000,), ('x' * 4999 + 'z',)])
    con.execute('PRAGMA writable_schema = on')
    con = rewritten(con, 'INDEX i (a)', 'UNIQUE (a)')
    expect_said(con, 'rows 1 and 3 have the same values', quick=False)


# What a page restored from an old copy would do: each is sound, but of another time.
def rows_of_another_time_are_told(scratch):
    con = filled()
    if Home.inline():
        con.execute('CREATE TABLE old AS SELECT * FROM t_tbd')
        con.execute('UPDATE t SET id = 1000 WHERE id = 2')
        con.execute('UPDATE t_tbd SET page = (SELECT page FROM old WHERE old.pgno = t_tbd.pgno) '
                    'WHERE pgno > 0 AND pgno IN (SELECT pgno FROM old)')
        con.close()
        con = connect('app')
        expect_said(con, 'index i: row 2 has no entry in the index', quick=False)
        expect_said(con, 'index vector v: row 2 has a node that names row 1000', quick=False)
        expect_said(con, 'index autoindex 1: row 2 has an entry that names row 1000', quick=False)


def damaged_pages_are_told(scratch):
    for suffix in ('tbd', 'idx', 'hnsw'):
        wipe('app')
        con = filled(2000)
        if Home.inline():
            con.execute("UPDATE t_%s SET page = CAST(substr(page, 1, 900) || x'77' || substr(page, 902) AS BLOB) "
                        "WHERE pgno = (SELECT max(pgno) FROM t_%s)" % (suffix, suffix))
            con.close()
        else:
            con.close()
            name = sorted(glob.glob('app/root/*-t.' + suffix))[0]
            with open(name, 'r+b') as file:
                file.seek(0, 2)
                for at in range(4096 + 900, file.tell(), 4096):
                    file.seek(at)
                    was = file.read(1)
                    file.seek(at)
                    file.write(bytes([was[0] ^ 0x55]))
        con = connect('app')
        told = answers(con, 'integrity_check')
        problems = [row[0] for row in con.execute('SELECT * FROM turdb_problems')]
        expect(problems)
        if ASKED:
            expect(len(told) == 1 and told[0].startswith('*** in turdb table main.t ***\n'), told)
            expect('checksum' in told[0] or 'damaged' in told[0] or 'differ' in told[0], told)
            expect_equal(answers(con, 'quick_check(t)')[0].split('\n')[0], told[0].split('\n')[0])
        else:
            expect_equal(told, ['ok'])
        expect_equal(value(con, 'SELECT count(*) FROM plain'), 2000)
        con.close()


def a_table_without_its_rows_does_not_end_the_check(scratch):
    con = filled()
    if Home.inline():
        con.execute('DROP TABLE t_tbd')
    else:
        con.execute('PRAGMA writable_schema = on')
        con.execute("INSERT INTO sqlite_schema VALUES ('table', 'lost', 'lost', 0, 'CREATE VIRTUAL TABLE lost USING turdb(a)')")
    con.execute('PRAGMA writable_schema = on')
    con.execute("UPDATE sqlite_schema SET sql = replace(sql, 'b TEXT', 'b TEXT NOT NULL') WHERE name = 'other'")
    con.close()
    con, lost = connect('app'), 't' if Home.inline() else 'lost'
    told = answers(con, 'integrity_check')
    if ASKED:
        expect_equal(sorted(row.split('\n')[0] for row in told),
                     sorted('*** in turdb table main.%s ***' % name for name in (lost, 'other')))
        expect(any('rows' in row and 'turdb_backup()' in row for row in told), told)
    else:
        expect_equal(told, ['ok'])
    problems = [row[0] for row in con.execute('SELECT * FROM turdb_problems')]
    expect(any('turdb_backup()' in row for row in problems) and any('NOT NULL' in row for row in problems), problems)
    for sql in ('SELECT * FROM %s', 'INSERT INTO %s DEFAULT VALUES', 'DELETE FROM %s', 'ALTER TABLE %s RENAME TO renamed'):
        expect_error('turdb_backup()', con.execute, sql % lost)
    con.execute('DROP TABLE ' + lost)
    expect_error('no such table', con.execute, 'SELECT * FROM ' + lost)
    expect_equal(value(con, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%s%%'" % lost), 0)
    con.execute('CREATE VIRTUAL TABLE %s USING turdb(a)' % lost)
    con.execute('INSERT INTO %s VALUES (1)' % lost)
    expect_equal(con.execute('SELECT * FROM ' + lost).fetchall(), [(1,)])


# What makes a table unusable may be undone: it is looked for again.
def a_table_that_comes_back_is_found(scratch):
    if not Home.inline():
        return
    filled().close()
    con = connect('app')
    con.execute('BEGIN')
    con.execute('DROP TABLE t_tbd')
    expect_error('turdb_backup()', con.execute, 'SELECT * FROM t')
    expect(not ASKED or 'turdb_backup()' in answers(con, 'integrity_check(t)')[0])
    con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT count(*) FROM t'), 300)
    con.execute("UPDATE t SET a = 5 WHERE id = 1")
    expect_sound(con)


def a_damaged_table_can_be_dropped(scratch):
    con = filled()
    if not Home.inline():
        return
    con.execute("UPDATE t_tbd SET page = x'00' WHERE pgno = 0")
    con.close()
    con = connect('app')
    expect_error('t_tbd', con.execute, 'SELECT * FROM t')
    if ASKED:
        expect('t_tbd' in answers(con, 'integrity_check')[0], answers(con, 'integrity_check'))
    con.execute('DROP TABLE t')
    expect_equal(value(con, "SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE 't%'"), None)
    expect_equal(answers(con, 'integrity_check'), ['ok'])


# What a function in a CHECK does to the table meanwhile may fail or be missed, and harms nobody.
# (vtab/row_expression E2)
def functions_in_checks_may_do_as_they_like(scratch):
    con = connect('app')
    con.create_function('most', 0, lambda: 1000)
    filled(con=con, most='most()')
    for sql in ('DROP TABLE t', 'DELETE FROM t WHERE id > 10', 'UPDATE t SET id = -id', "UPDATE t SET a = 1, b = 'x' || id", 'ROLLBACK',
                "INSERT INTO t(a) SELECT a FROM t", 'ALTER TABLE t RENAME TO renamed', "SELECT turdb_drop_index('i')"):
        for pragma in ('integrity_check(t)', 'quick_check', 'SELECT turdb_check()'):
            con.execute('BEGIN')
            con.execute('UPDATE t SET a = a + 1 WHERE id = 7')
            calls = []

            def most():
                calls.append(1)
                if len(calls) == 20:
                    try:
                        con.execute(sql).fetchall()
                    except sqlite3.Error:
                        pass
                return 1000
            con.create_function('most', 0, most)
            try:
                con.execute(pragma if 'SELECT' in pragma else 'PRAGMA ' + pragma).fetchall()
            except sqlite3.Error:
                pass
            con.create_function('most', 0, lambda: 1000)
            if con.in_transaction:
                con.execute('ROLLBACK')
            expect_equal((sql, value(con, 'SELECT count(*) FROM t')), (sql, 300))
    expect_sound(con)


# --- meanwhile ------------------------------------------------------------------------------------------------------

def a_check_can_be_interrupted(scratch):
    con = connect('app', check_same_thread=False)
    filled(scaled(6000, 1500), con=con)
    if not ASKED:
        return
    for table in ('t', 'other'):
        con.execute('PRAGMA integrity_check(%s)' % table).fetchall()
        started = time.monotonic()
        con.execute('PRAGMA integrity_check(%s)' % table).fetchall()
        whole = time.monotonic() - started
        if whole > 0.05:
            timer = threading.Timer(0.01, con.interrupt)
            started = time.monotonic()
            timer.start()
            try:
                con.execute('PRAGMA integrity_check(%s)' % table).fetchall()
            except sqlite3.OperationalError as error:
                expect('interrupted' in str(error), error)
                expect(time.monotonic() - started < 0.5 + whole / 2, 'it took %.3f of %.3f s' % (time.monotonic() - started, whole))
            timer.join()
    set_progress_handler(con, lambda: 1, 1)
    expect_error('interrupted', lambda: con.execute('PRAGMA integrity_check(t)').fetchall())
    con.set_progress_handler(None, 1)
    expect_sound(con)


WRITER = r'''
import random, time
con, ends, chance = connect('app', timeout=20.0), time.monotonic() + float(sys.argv[1]), random.Random(9)
while time.monotonic() < ends:
    con.execute('BEGIN IMMEDIATE')
    for _ in range(5):
        i = chance.randrange(1, 400)
        con.execute('INSERT OR REPLACE INTO t(id, a, b) VALUES (?, ?, ?)', (i, i % 9, 'c%d' % i))
        con.execute('DELETE FROM t WHERE id = ?', (chance.randrange(1, 400),))
        con.execute('INSERT OR REPLACE INTO plain VALUES (?)', (i,))
        con.execute('DELETE FROM plain WHERE a = ?', (chance.randrange(1, 400),))
    con.execute('COMMIT')
'''


# Each check is of one moment, whoever writes.
def checks_beside_writers_find_nothing(scratch):
    con = filled()
    if Home.inline():
        con.execute('PRAGMA journal_mode = wal')
    seconds = scaled(2, 1)
    writers = [python(WRITER, seconds, wait=False) for _ in range(2)]
    ends, checks = time.monotonic() + seconds, 0
    while time.monotonic() < ends or checks < 3:
        expect_equal(answers(con, 'integrity_check'), ['ok'])
        checks += 1
    for writer in writers:
        output = writer.communicate(timeout=60)[0]
        expect_equal((writer.returncode, output), (0, ''))
    expect_sound(con)


# There SQLite hands over the table of any connection: asking it for statements would wait for ever. (vtab/integrity I1)
def a_shared_cache_is_left_out(scratch):
    if not Home.inline():
        return
    filled().close()
    out = python(r'''
one, two = (sqlite3.connect('file:app.db?cache=shared', uri=True, isolation_level=None) for _ in range(2))
for con in (one, two):
    con.execute('SELECT * FROM t WHERE id = 1').fetchall()
for con in (one, two):
    print(con.execute('PRAGMA integrity_check').fetchall(), con.execute('SELECT turdb_check()').fetchall())
''')
    expect_equal(out.split('\n')[:2], ["[('ok',)] [('ok',)]"] * 2)


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
