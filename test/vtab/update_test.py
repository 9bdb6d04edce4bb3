"""UPDATE and DELETE find a row again by where it lay, copy columns that do not change, and change bytes in place: whatever
happens between the search and the change, tables hold what those of stock SQLite hold.

Statements that go by a row's key run on a turdb table and on an ordinary one of stock SQLite: with values that keep, lose and
change their sizes, savepoints and rollbacks in between, pages that leave memory early, functions that change the row which
the statement around them is about to change. After every step the two tables must agree.
"""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

COLUMNS = ['id INTEGER PRIMARY KEY', 'k INTEGER', 'v INTEGER', 'name TEXT', 'c']


def both(options='', columns=COLUMNS, indexes=()):
    load()
    ours, stock = connect('app', options), sqlite3.connect(':memory:', isolation_level=None)
    ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % ', '.join(columns + ['INDEX %s (%s)' % i for i in indexes]))
    stock.execute('CREATE TABLE t(%s)' % ', '.join(columns))
    for index in indexes:
        stock.execute('CREATE INDEX %s ON t(%s)' % index)
    for con in (ours, stock):
        con.execute('DELETE FROM t')   # changes() is 0 again: inline, CREATE VIRTUAL TABLE has made a row
    return ours, stock


def run(con, sql, *arguments):
    try:
        return con.execute(sql, arguments).fetchall(), None, value(con, 'SELECT changes()')
    except sqlite3.Error as error:
        return None, str(error), None


def same(pair, log, sql, *arguments):
    log.append((sql, [a if not isinstance(a, (str, bytes)) or len(a) < 20 else '%r...%d' % (a[:4], len(a)) for a in arguments]))
    got, wanted = run(pair[0], sql, *arguments), run(pair[1], sql, *arguments)
    if got != wanted:
        raise AssertionError('after\n    %s\n  got    %s\n  wanted %s' % (
            '\n    '.join(map(str, log[-8:])), str(got)[:300], str(wanted)[:300]))


def any_value(chance):
    return chance.choice([None, 0, 1, -1, 127, 128, -129, 70000, 2 ** 40, 2 ** 63 - 1, 1.5, -0.0, 3.0, '', 'x', 'name 00000001',
                          'name 00000002', b'', b'12345678', 'y' * chance.randint(0, 300), b'z' * chance.choice([3, 5000, 20000])])


def one_step(chance, rows, depth):
    """A statement with its arguments; ids are few, so that a row is met again soon."""
    key = chance.randint(1, rows)
    kind = chance.random()
    column = chance.choice(['k', 'v', 'name', 'c'])
    if kind < 0.30:
        return 'UPDATE t SET %s = ?2 WHERE id = ?1' % column, key, any_value(chance)
    if kind < 0.40:
        return 'UPDATE t SET v = v + 1 WHERE id = ?1', key
    if kind < 0.44:
        return 'UPDATE t SET v = ?2, name = ?3, c = c WHERE id = ?1', key, any_value(chance), any_value(chance)
    if kind < 0.48:
        return 'UPDATE t SET v = id, c = ?2 WHERE id IN (?1, ?1 + 1, ?1 + 7)', key, any_value(chance)
    if kind < 0.51:
        return 'UPDATE t SET k = k + 1, c = v WHERE id BETWEEN ?1 AND ?1 + 20', key
    if kind < 0.54:
        return 'UPDATE OR IGNORE t SET id = ?2 WHERE id = ?1', key, chance.randint(1, rows)
    if kind < 0.56:
        return 'UPDATE OR REPLACE t SET id = ?2, name = ?3 WHERE id = ?1', key, chance.randint(1, rows), any_value(chance)
    if kind < 0.62:
        return 'DELETE FROM t WHERE id = ?1', key
    if kind < 0.63:
        return 'DELETE FROM t WHERE id BETWEEN ?1 AND ?1 + 30', key
    if kind < 0.80:
        return 'INSERT OR IGNORE INTO t VALUES (?1, ?2, ?3, ?4, ?5)', key, key % 50, key % 1000, 'name %08d' % key, any_value(chance)
    if kind < 0.90:
        return 'SELECT * FROM t WHERE id = ?1', key
    name = 'mark%d' % chance.randint(0, 2)
    if depth:
        return chance.choice(['SAVEPOINT ' + name, 'ROLLBACK TO ' + name, 'RELEASE ' + name, 'COMMIT', 'ROLLBACK']),
    return chance.choice(['BEGIN', 'SAVEPOINT ' + name]),


def random_walk(seed, rows, steps, options='', **rest):
    chance = random.Random(seed)
    pair, log = both(options, **rest), []
    for sql in ['BEGIN'] + ["INSERT INTO t VALUES (%d, %d, %d, 'name %08d', NULL)" % (i, i % 50, i % 1000, i)
                            for i in range(1, rows, 2)] + ['COMMIT']:
        same(pair, log, sql)
    for number in range(steps):
        same(pair, log, *one_step(chance, rows, pair[0].in_transaction))
        if number % 20 == 0:
            same(pair, log, 'SELECT * FROM t WHERE id BETWEEN ?1 AND ?1 + 40', chance.randint(1, rows))
        if number % 400 == 399:
            same(pair, log, 'SELECT * FROM t ORDER BY id')
            if not pair[0].in_transaction:
                expect_equal(value(pair[0], 'SELECT turdb_check()'), 'ok')
    if pair[0].in_transaction:
        same(pair, log, 'COMMIT')
    same(pair, log, 'SELECT *, typeof(c), typeof(v) FROM t ORDER BY id')
    expect_equal(value(pair[0], 'SELECT turdb_check()'), 'ok')
    pair[0].close()
    wipe('app')


def changes_by_key_are_as_in_stock_sqlite(scratch):
    for seed in range(scaled(2)):
        random_walk(seed, 3000, 4000)


def changes_by_key_in_a_small_table_are_as_in_stock_sqlite(scratch):
    for seed in range(scaled(3)):
        random_walk(seed, 60, 2500)


def changes_by_key_are_right_when_pages_leave_memory_early(scratch):
    for seed in range(scaled(2)):
        random_walk(seed, 4000, 3000, '&cache_kb=64')


def changes_of_columns_without_an_index_leave_the_indexes_right(scratch):
    for seed in range(scaled(2)):
        random_walk(seed, 1000, 3000, indexes=[('t_k', 'k'), ('t_kn', 'name, k')])


def not_null_is_looked_at_where_a_column_changes(scratch):
    for seed in range(scaled(2)):
        random_walk(seed, 300, 2500, columns=COLUMNS[:2] + ['v INTEGER NOT NULL',
                                                            'name TEXT NOT NULL', 'c CHECK (c IS NULL OR k < 40)'])


def filled(rows, options='', filler=''):
    load()
    con = connect('app', options)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v INTEGER, name TEXT)')
    con.execute('BEGIN')
    con.executemany('INSERT INTO t VALUES (?, ?, ?)', ((i, i, 'name %d%s' % (i, filler)) for i in range(1, rows + 1)))
    con.execute('COMMIT')
    return con


# What a function does to row 500 while UPDATE or DELETE is about to change it, and what then is its name.
MEDDLING = [
    ("UPDATE t SET name = 'other name' WHERE id = 500", 'other name'),
    ("UPDATE t SET name = 'name 501' WHERE id = 500", 'name 501'),  # as long as the old one: changed in its place
    ("UPDATE t SET name = '%s' WHERE id = 500" % ('long ' * 2000), 'long ' * 2000),
    ("UPDATE t SET v = 1 WHERE id = 500", 'name 500'),
    ("UPDATE t SET name = name || '!' WHERE id <> 500", 'name 500'),
    ("UPDATE t SET name = '%s' WHERE id BETWEEN 400 AND 600 AND id <> 500" % ('wide ' * 100), 'name 500'),
    ("DELETE FROM t WHERE id <> 500", 'name 500'),
    ("DELETE FROM t WHERE id < 500", 'name 500'),
    ("DELETE FROM t WHERE id = 500", None),
    ("DELETE FROM t", None),
    ("INSERT INTO t SELECT id + 100000, v, name FROM t", 'name 500'),
    ("UPDATE t SET id = 499000 WHERE id = 500", None),
]


def meddled(con, sql, meddling):
    """Runs a statement in whose middle another one runs, once."""
    todo = [meddling]

    def meddle(number):
        if todo:
            con.execute(todo.pop())
        return number
    con.create_function('meddle', 1, meddle)
    con.execute(sql)
    expect(not todo, 'the function was not called')


def a_statement_meets_what_a_function_has_done_to_its_row(scratch):
    for meddling, name in MEDDLING:
        for options in ('', '&cache_kb=64'):
            con = filled(1000, options)
            con.execute('BEGIN')
            con.execute('UPDATE t SET v = v + 1 WHERE id % 7 = 0')  # some pages are private copies already
            meddled(con, 'UPDATE t SET v = meddle(77) WHERE id = 500', meddling)
            expect_equal(con.execute('SELECT v, name FROM t WHERE id = 500').fetchall(), [(77, name)] if name else [])
            con.execute("INSERT OR IGNORE INTO t VALUES (895, 1, 'near'), (900, 1, 'this')")
            meddled(con, 'DELETE FROM t WHERE id = 900 AND meddle(1)', 'UPDATE t SET name = name || 1 WHERE id > 800')
            expect_equal(con.execute('SELECT count(*) FROM t WHERE id = 900').fetchall(), [(0,)])
            con.execute('COMMIT')
            expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
            con.close()
            wipe('app')


def a_row_that_was_looked_at_before_a_rollback_is_looked_up_again(scratch):
    con = filled(1000)
    con.execute('BEGIN')
    con.execute('UPDATE t SET name = ? WHERE id BETWEEN 400 AND 600', ('longer ' * 30,))
    con.execute('SAVEPOINT one')
    con.execute('DELETE FROM t WHERE id BETWEEN 450 AND 499')
    expect_equal(value(con, 'SELECT v FROM t WHERE id = 500'), 500)
    con.execute('ROLLBACK TO one')
    con.execute('UPDATE t SET v = -v WHERE id IN (500, 501)')
    expect_equal(con.execute('SELECT count(*), sum(v < 0), min(name) FROM t').fetchall(), [(1000, 2, 'longer ' * 30)])
    expect_equal(value(con, 'SELECT v FROM t WHERE id = 500'), -500)
    con.execute('ROLLBACK')
    con.execute('DELETE FROM t WHERE id IN (500, 501)')
    expect_equal(con.execute('SELECT count(*), sum(v) FROM t').fetchall(), [(998, 500500 - 1001)])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def another_connections_commit_is_seen_by_the_next_change(scratch):
    con = filled(1000)
    other = connect('app')
    for round in range(30):
        expect_equal(value(con, 'SELECT v FROM t WHERE id = 500'), 500 + round * 2)
        other.execute("UPDATE t SET v = v + 1, name = name || 'x' WHERE id > 400")
        con.execute('UPDATE t SET v = v + 1 WHERE id = 500')
    expect_equal(con.execute('SELECT v, name FROM t WHERE id = 500').fetchall(), [(560, 'name 500' + 'x' * 30)])
    expect_equal(value(other, 'SELECT sum(v) FROM t'), 500500 + 30 * 600 + 30)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def insert_step(chance, depth):
    kind = chance.random()
    if kind < 0.55:
        return 'INSERT INTO t(v, name) VALUES (?1, ?2)', chance.randint(0, 99), 'x' * chance.choice([3, 10, 300])
    if kind < 0.60:
        return 'INSERT INTO t(v) SELECT v FROM t ORDER BY id DESC LIMIT ?1', chance.randint(1, 40)
    if kind < 0.65:
        return 'INSERT OR IGNORE INTO t(id, v) SELECT max(id) + ?1, 1 FROM t', chance.choice([-1, 0, 1, 2, 50])
    if kind < 0.78:
        return 'DELETE FROM t WHERE id > (SELECT max(id) FROM t) - ?1', chance.choice([1, 1, 2, 60, 1000])
    if kind < 0.82:
        return 'UPDATE t SET id = id + ?1 WHERE id = (SELECT max(id) FROM t)', chance.randint(1, 5)
    if kind < 0.86:
        return 'UPDATE t SET v = v + 1 WHERE id = (SELECT max(id) FROM t)',
    if depth:
        return chance.choice(['SAVEPOINT s', 'ROLLBACK TO s', 'RELEASE s', 'COMMIT', 'ROLLBACK']),
    return chance.choice(['BEGIN', 'SAVEPOINT s']),


def a_row_without_a_rowid_gets_the_one_behind_the_last(scratch):
    for seed in range(scaled(2)):
        chance = random.Random(seed)
        pair, log = both(options=['', '&cache_kb=64'][seed % 2]), []
        other = connect('app')
        for number in range(3000):
            same(pair, log, *insert_step(chance, pair[0].in_transaction))
            expect_equal(*(value(con, 'SELECT last_insert_rowid()') for con in pair))
            if number % 20 == 0 and not pair[0].in_transaction:
                for con in other, pair[1]:
                    con.execute(*[('INSERT INTO t(v) VALUES (5)',), ('DELETE FROM t WHERE id = (SELECT max(id) FROM t)',)][number // 20 % 2])
                pair[0].execute('INSERT INTO t(v) VALUES (7)')
                pair[1].execute('INSERT INTO t(v) VALUES (7)')
        if pair[0].in_transaction:
            same(pair, log, 'COMMIT')
        same(pair, log, 'SELECT * FROM t ORDER BY id')
        expect_equal(value(pair[0], 'SELECT turdb_check()'), 'ok')
        pair[0].close()
        other.close()
        wipe('app')


def texts_with_no_nul_behind_them_are_stored_whole(scratch):
    """Bound ones, results of functions and texts of UTF-16 databases; with a NUL within, with nothing within."""
    texts = ['', 'a', 'ab\0c', '\0', 'é€𝄞', 'x' * 5000, '12', '1.50', ' 7 ']
    for encoding in 'UTF-8', 'UTF-16le', 'UTF-16be':
        load()
        ours, stock = connect('app'), sqlite3.connect(':memory:', isolation_level=None)
        for con, create in ((ours, 'VIRTUAL TABLE t USING turdb'), (stock, 'TABLE t')):
            con.execute("PRAGMA encoding = '%s'" % encoding)
            con.execute('CREATE %s(a TEXT, b BLOB, c NUMERIC, d, e REAL, UNIQUE (a, d))' % create)
            con.create_function('same', 1, lambda text: text)
            for text in texts + [12, 1.5, -0.0, b'', b'ab', None]:
                con.execute('INSERT OR REPLACE INTO t VALUES (?1, ?1, ?1, 1, ?1)', (text,))
                con.execute('INSERT OR REPLACE INTO t SELECT same(?1), same(?1), same(?1), 2, same(?1)', (text,))
                con.execute("INSERT OR REPLACE INTO t SELECT hex(?1), substr(?1, 1, 1), replace(?1, 'a', 'bb'), 3, upper(?1)", (text,))
            con.execute("UPDATE t SET b = a || '', c = substr(a, 1, 2) WHERE d = 2")
        rows = [con.execute('SELECT a, typeof(a), b, typeof(b), c, typeof(c), d, e, typeof(e) FROM t ORDER BY rowid').fetchall()
                for con in (ours, stock)]
        expect_equal(*rows)
        for text in texts:
            expect_equal(*(con.execute('SELECT rowid FROM t WHERE a = ?1 AND d = 2 OR b = same(?1)', (text,)).fetchall()
                           for con in (ours, stock)))
        expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')
        ours.close()
        wipe('app')


def a_row_keeps_its_texts_while_others_make_way_for_it(scratch):
    """UPDATE OR REPLACE removed the rows in the way first, and where that joined two pages in place, it then read the texts
    of the row it was about to write from bytes that had moved."""
    pair = both(columns=['id INTEGER PRIMARY KEY', 'u INTEGER UNIQUE', 'name TEXT', 'note TEXT'])
    log = []
    for sql in ['BEGIN'] + ["INSERT INTO t VALUES (%d, %d, '%s', 'note %d')" % (i, i, chr(97 + i % 26) * 300, i)
                            for i in range(1, 401)]:
        same(pair, log, sql)
    order = list(range(1, 401))
    random.Random(1).shuffle(order)
    for victim in order:
        same(pair, log, 'UPDATE OR REPLACE t SET u = ?2 WHERE id = (SELECT id FROM t WHERE id >= ?1 AND u <> ?2 LIMIT 1)',
             victim, victim)
        same(pair, log, 'SELECT * FROM t WHERE u = ?1', victim)
    same(pair, log, 'COMMIT')
    same(pair, log, 'SELECT * FROM t')
    expect_equal(value(pair[0], 'SELECT turdb_check()'), 'ok')


# The statements that compute CHECKs, defaults and generated columns are the table's: their functions used them again, or freed them.
# (vtab/row_expression E2)
def functions_in_expressions_do_not_change_their_table(scratch):
    load()
    con = connect('app')
    con.create_function('f', 1, lambda a: a, deterministic=True)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a, b DEFAULT (f(5)), c AS (f(a)), CHECK (f(a) < 100))')
    con.execute('CREATE TABLE log(a)')
    for sql in ('DROP TABLE t', 'INSERT INTO t(a) VALUES (7)', 'UPDATE t SET a = 8', 'DELETE FROM t', 'ALTER TABLE t RENAME TO u', 'ROLLBACK',
                'SELECT turdb_check()', "SELECT turdb_create_index('i', 't', 'a')", 'INSERT INTO log VALUES (1)', 'SELECT count(*) FROM t'):
        calls, errors = [], []

        def f(a):
            calls.append(a)
            if len(calls) <= 3:
                try:
                    con.execute(sql).fetchall()
                except sqlite3.Error as error:
                    errors.append(str(error))
            return a
        con.create_function('f', 1, f, deterministic=True)
        con.execute('BEGIN')
        try:
            con.execute('INSERT INTO t(a) VALUES (1), (2)')
        except sqlite3.Error as error:
            errors.append(str(error))
        con.create_function('f', 1, lambda a: a, deterministic=True)
        if con.in_transaction:
            con.execute('COMMIT')
        expect(calls)
        if sql[:3] in ('DRO', 'INS', 'UPD', 'DEL', 'ALT') and 'log' not in sql:
            expect(any('a function in one of its expressions' in error or 'locked' in error for error in errors), (sql, errors))
        expect_equal((sql, value(con, 'SELECT count(*) FROM t WHERE a NOT IN (1, 2)')), (sql, 0))
        expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    expect_equal(value(con, 'SELECT count(*) FROM log'), 3)


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
