"""Generated columns and strict=1: values, types and error sentences are those of ordinary tables."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def pair(body, strict=False):
    load()
    ours, stock = connect('app'), sqlite3.connect(':memory:', isolation_level=None)
    ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s%s)' % (body, ', strict=1' if strict else ''))
    stock.execute('CREATE TABLE t(%s)%s' % (body, ' STRICT' if strict else ''))
    return ours, stock


def attempt(con, sql, arguments=()):
    try:
        con.execute(sql, arguments)
    except sqlite3.Error as error:
        return type(error).__name__, str(error)
    return None


def both(ours, stock, sql, arguments=(), names='*'):
    results = [attempt(con, sql, arguments) for con in (ours, stock)]
    if results[0] != results[1]:
        raise AssertionError('%s %r: got %s, wanted %s' % (sql, arguments, *results))
    rows = [con.execute('SELECT * FROM t ORDER BY rowid').fetchall() for con in (ours, stock)]
    types = [[tuple(type(v) for v in row) for row in some] for some in rows]
    if rows[0] != rows[1] or types[0] != types[1]:
        raise AssertionError('%s %r: got %s, wanted %s' % (sql, arguments, *rows))
    return results[0]


def generated_columns_follow_the_others(scratch):
    ours, stock = pair("id INTEGER PRIMARY KEY, d TEXT AS (c || '-' || id), a INTEGER, b REAL NOT NULL DEFAULT 1, c TEXT GENERATED ALWAYS AS (a + b) STORED, "
                       "e INT AS (length(d)) VIRTUAL UNIQUE CHECK (e < 9), low TEXT COLLATE NOCASE AS (lower(d)) STORED NOT NULL")
    chance = random.Random(5)
    for _ in range(scaled(400)):
        number = chance.choice([None, 1, 2, 33, 2.5, -7, 'x', '8', 1e9])
        sql = chance.choice(['INSERT INTO t(a, b) VALUES (?1, ?2)', 'INSERT OR REPLACE INTO t(id, a) VALUES (?2, ?1)', 'UPDATE t SET a = ?1 WHERE id = ?2',
                             'UPDATE t SET b = ?1 WHERE id < ?2', 'DELETE FROM t WHERE e = ?2', 'UPDATE t SET id = id + 3 WHERE a = ?1 AND id <> ?2',
                             'UPDATE OR REPLACE t SET a = a + 1, b = ?1 WHERE id = ?2', 'INSERT OR IGNORE INTO t(a, b) VALUES (?1, ?2)',
                             'UPDATE t SET a = a WHERE id = ?2 AND ?1'])
        both(ours, stock, sql, (number, chance.randint(0, 12)))
        for sql in ('SELECT id FROM t WHERE e = 5', "SELECT id FROM t WHERE low > '3' ORDER BY low, id", 'SELECT max(e) FROM t'):
            expect_equal(ours.execute(sql).fetchall(), stock.execute(sql).fetchall())
    expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')
    ours.execute("SELECT turdb_create_index('by_low', 't', 'low DESC, d')")
    expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')


def generated_columns_see_the_default_that_replaced_a_null(scratch):
    """They were computed with the NULL: a NOT NULL one refused the row, others kept the NULL's value."""
    ours, stock = pair('id INTEGER PRIMARY KEY, a INTEGER, b INTEGER NOT NULL DEFAULT 7, c INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 9, '
                       's AS (a + b) UNIQUE, p AS (b * c) STORED NOT NULL, q AS (s || p) CHECK (q <> 763)')
    for i in range(1, 6):
        both(ours, stock, 'INSERT INTO t(id, a, b, c) VALUES (?, ?, 3, 4)', (i, i))
    for sql in ('UPDATE OR REPLACE t SET b = NULL WHERE id = 1', 'UPDATE t SET c = NULL WHERE id = 2', 'UPDATE t SET b = NULL WHERE id = 2',
                'UPDATE OR REPLACE t SET b = NULL, c = NULL WHERE id = 3', 'UPDATE OR REPLACE t SET b = NULL, a = 1 WHERE id = 4',
                'UPDATE OR REPLACE t SET a = 0, b = NULL, c = NULL WHERE id = 4', 'UPDATE OR REPLACE t SET a = NULL, b = NULL',
                'INSERT OR REPLACE INTO t(id, a, b, c) VALUES (2, 5, NULL, NULL)', 'UPDATE OR IGNORE t SET b = NULL',
                'UPDATE OR REPLACE t SET p = NULL, b = NULL', 'UPDATE OR REPLACE t SET b = NULL, id = id + 1 WHERE id > 2'):
        both(ours, stock, sql)
        for read in ('SELECT id FROM t WHERE s = 8', 'SELECT id FROM t ORDER BY s, id'):
            expect_equal(ours.execute(read).fetchall(), stock.execute(read).fetchall())
        expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')


def generated_columns_cannot_be_written(scratch):
    ours, stock = pair('a INTEGER, b AS (a + 1) STORED, c TEXT')
    both(ours, stock, 'INSERT INTO t(a) VALUES (1)')
    expect_equal(both(ours, stock, 'INSERT INTO t(a, b) VALUES (1, 2)')[1], 'cannot INSERT into generated column "b"')
    expect_equal(both(ours, stock, 'UPDATE t SET b = 7')[1], 'cannot UPDATE generated column "b"')
    both(ours, stock, 'UPDATE t SET b = NULL, a = 3')
    both(ours, stock, "UPDATE t SET c = s.x, a = 5 FROM (SELECT 'y' AS x) AS s")
    expect_equal(ours.execute('SELECT * FROM t').fetchall(), [(5, 6, 'y')])
    ours.execute('INSERT INTO t VALUES (2, NULL, NULL)')  # SQLite counts the column here
    expect_equal(ours.execute('SELECT a, b FROM t').fetchall(), [(5, 6), (2, 3)])


def generated_columns_that_make_no_sense_are_refused(scratch):
    load()
    con = connect('app')
    for body, words in (('a, b AS (c) STORED, c AS (b)', 'generated column loop on "'), ('a, b AS (b + 1)', 'generated column loop on "b"'),
                        ('a, b AS ((SELECT 1))', 'subqueries prohibited'), ('a, b AS (nobody + 1)', 'no such column: nobody'),
                        ('a, b AS (nofunction(a))', 'no such function: nofunction'), ('b AS (1)', 'at least one non-generated column'),
                        ('v VECTOR(2), b AS (v)', 'cannot use the VECTOR v'), ('a, b AS (a) DEFAULT 3', 'takes no DEFAULT'),
                        ('a, b AS (count(a))', 'misuse of aggregate')):
        error = attempt(con, 'CREATE VIRTUAL TABLE t USING turdb(%s)' % body)
        expect(error and words in error[1] or words.startswith('misuse') and error is None, '%s: %s' % (body, error))
        con.execute('DROP TABLE IF EXISTS t')


def strict_tables_take_what_strict_tables_take(scratch):
    ours, stock = pair("id INTEGER PRIMARY KEY, a INT, b INTEGER, c REAL, d TEXT CHECK (d <> 'bad'), e BLOB, f ANY UNIQUE, "
                       'g INT AS (a + 1) STORED, h TEXT AS (d) STORED', strict=True)
    values = [None, 1, -5, 2.0, 1.5, 9e99, 'x', '3', '5.0', '12.5', ' 7', 'bad', b'', b'x', 2 ** 53 + 1.0, '9223372036854775808']
    names = 'abcdef'
    for name in names:
        for v in values:
            for clause in ('', 'OR IGNORE ', 'OR REPLACE '):
                both(ours, stock, 'INSERT %sINTO t(%s) VALUES (?)' % (clause, name), (v,))
        for v in values:
            both(ours, stock, 'UPDATE t SET %s = ? WHERE id = 1' % name, (v,))
            both(ours, stock, 'UPDATE OR IGNORE t SET %s = ?, d = ? WHERE id IN (2, 3)' % name.replace('d', 'e'), (v, v))
    both(ours, stock, 'INSERT INTO t(id, a) VALUES (1, ?)', ('x',))
    for name in names:
        for v in values:
            sql = 'SELECT id FROM t WHERE %s = ? ORDER BY id' % name
            expect_equal(ours.execute(sql, (v,)).fetchall(), stock.execute(sql, (v,)).fetchall())
    for body in ('a VARCHAR(3)', 'a', 'a TEXT, b NUMERIC'):
        got, wanted = (attempt(con, sql % body) for con, sql in ((ours, 'CREATE VIRTUAL TABLE u USING turdb(%s, strict=1)'),
                                                                  (stock, 'CREATE TABLE u(%s) STRICT')))
        expect(wanted[1] in got[1], (got, wanted))
    error = None
    try:
        ours.execute("INSERT INTO t(a) VALUES ('x')")
    except sqlite3.IntegrityError as caught:
        error = caught
    expect_equal(getattr(error, 'sqlite_errorcode', 3091), 3091)
    expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')


def keys_of_strict_tables_are_not_null(scratch):
    ours, stock = pair('a TEXT, b INT, PRIMARY KEY (a, b)', strict=True)
    both(ours, stock, "INSERT INTO t VALUES ('x', NULL)")
    both(ours, stock, "INSERT INTO t VALUES (NULL, 1)")
    both(ours, stock, "INSERT INTO t VALUES ('x', 1)")
    ours.execute('CREATE VIRTUAL TABLE s USING turdb(v VECTOR(2) HNSW, n INT, strict=1)')
    ours.execute("INSERT INTO s VALUES ('[1,2]', 3)")
    expect_error('cannot store TEXT value in INT column s.n', ours.execute, "INSERT INTO s VALUES ('[1,2]', 'x')")


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
