"""CREATE, DROP and ALTER RENAME of turdb tables follow transactions and savepoints as those of ordinary tables do.

The same random statements run on turdb tables and on ordinary ones of stock SQLite; the tables there are, and their rows,
must agree after every statement. Once as main, once attached beside an ordinary main.
"""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def contents(con, schema):
    names = [r[0] for r in con.execute("SELECT name FROM %s.sqlite_schema WHERE type = 'table' AND name NOT GLOB '*_*' ORDER BY 1" % schema)]
    return {n: con.execute('SELECT rowid, a, b FROM %s.%s ORDER BY rowid' % (schema, n)).fetchall() +
               con.execute('SELECT b FROM %s.%s WHERE a > 3 ORDER BY a DESC, b' % (schema, n)).fetchall() for n in names}


def statement(chance):
    table, other, mark = chance.choice('tuv'), chance.choice('tuvw'), chance.choice('pqr')
    return chance.choice([
        'CREATE %s' % table, 'CREATE %s' % table, 'DROP TABLE {s}.%s' % table, 'ALTER TABLE {s}.%s RENAME TO %s' % (table, other),
        'INSERT INTO {s}.%s(a, b) VALUES (%d, %d), (%d, 0)' % (table, chance.randint(0, 9), chance.randint(0, 9), chance.randint(0, 9)),
        'INSERT INTO {s}.%s(a, b) VALUES (%d, %d)' % (table, chance.randint(0, 9), chance.randint(0, 9)),
        'UPDATE {s}.%s SET a = a + 1 WHERE b < 5' % table, 'DELETE FROM {s}.%s WHERE a = %d' % (table, chance.randint(0, 9)),
        'INSERT INTO {s}.%s(a, b) SELECT a, b FROM {s}.%s' % (table, other),
        'BEGIN', 'BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK', 'SAVEPOINT ' + mark, 'SAVEPOINT ' + mark, 'ROLLBACK TO ' + mark,
        'ROLLBACK TO ' + mark, 'RELEASE ' + mark])


def attempt(con, sql):
    try:
        con.execute(sql)
    except sqlite3.Error as error:
        return str(error).replace('x.', '')
    return None


def compare(seed, ours, stock, schema, statements):
    chance, log = random.Random(seed), []
    for _ in range(statements):
        sql = statement(chance)
        log.append(sql)
        results = []
        for con, create in ((ours, 'CREATE VIRTUAL TABLE {s}.%s USING turdb(a INTEGER, b, INDEX i (a DESC, b))'),
                            (stock, 'CREATE TABLE {s}.%s(a INTEGER, b)')):
            text = create % sql[7:] if sql.startswith('CREATE') else sql
            where = schema if con is ours else 'main'
            results.append((attempt(con, text.format(s=where)), con.in_transaction, contents(con, where)))
        (got, wanted) = results
        if got[1:] != wanted[1:] or (got[0] is None) != (wanted[0] is None):
            raise AssertionError('seed %s: %s\n  got    %s\n  wanted %s' % (seed, '\n    '.join(log[-14:]), got, wanted))
    if ours.in_transaction:
        attempt(ours, 'ROLLBACK')
    expect_equal(value(ours, 'SELECT turdb_check()'), 'ok')


# (rule 12)
def tables_of_main_follow_transactions(scratch):
    load()
    for seed in range(scaled(20)):
        ours = connect('app%d' % seed)
        compare(seed, ours, sqlite3.connect(':memory:', isolation_level=None), 'main', 150)
        before = contents(ours, 'main')
        ours.close()
        ours = connect('app%d' % seed)
        expect_equal(contents(ours, 'main'), before)
        ours.close()


def tables_of_an_attached_database_follow_transactions(scratch):
    load()
    for seed in range(scaled(20)):
        ours = sqlite3.connect('file::memory:', uri=True, isolation_level=None)
        ours.execute("ATTACH 'file:app%d%s' AS x" % (seed, '.db' if Home.inline() else '?vfs=turdb'))
        compare(1000 + seed, ours, sqlite3.connect(':memory:', isolation_level=None), 'x', 150)
        ours.close()


def an_open_cursor_survives_what_its_connection_does(scratch):
    load()
    for plan in ('', ' ORDER BY a', ' ORDER BY a DESC', ' WHERE rowid > 0', ' ORDER BY rowid DESC'):
        for what in ('DELETE FROM t', 'UPDATE t SET a = a + 1000', 'UPDATE t SET rowid = rowid + 1000 WHERE rowid > 100',
                     'INSERT INTO t(a) SELECT a FROM t', 'DELETE FROM t WHERE rowid % 2'):
            con = connect('app')
            con.execute('DROP TABLE IF EXISTS t')
            con.execute('CREATE VIRTUAL TABLE t USING turdb(a INTEGER, INDEX i (a))')
            con.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) '
                        'INSERT INTO t(a) SELECT i FROM n')
            for end in ('COMMIT', 'ROLLBACK', 'ROLLBACK TO p'):
                con.execute('BEGIN')
                con.execute('SAVEPOINT p')
                rows = con.execute('SELECT rowid, a FROM t' + plan)
                first = [rows.fetchone() for _ in range(10)]
                con.execute(what)
                rest = [rows.fetchone() for _ in range(10)]
                attempt(con, end)
                try:
                    rest += rows.fetchall()
                except sqlite3.OperationalError as error:
                    expect('abort' in str(error), str(error))
                expect(len(first) == 10)
                if con.in_transaction:
                    con.execute('ROLLBACK')
            expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
            con.close()


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
