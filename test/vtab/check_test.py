"""turdb_check() finds a table and its indexes in agreement, and says so when they are not; turdb_count() counts."""
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def vector(chance):
    return struct.pack('<8f', *[chance.uniform(-1, 1) for _ in range(8)])


def filled(rows=300):
    load()
    con, chance = connect('app'), random.Random(3)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a INTEGER, b TEXT UNIQUE, v VECTOR(8) HNSW, '
                'INDEX i (a DESC, b))')
    con.execute('BEGIN')
    for i in range(rows):
        con.execute('INSERT INTO t(a, b, v) VALUES (?, ?, ?)', (i % 7, 'b%d' % i * 40 if i % 3 else None,
                                                                vector(chance) if i % 5 else None))
    con.execute('COMMIT')
    return con, chance


def a_sound_database_checks(scratch):
    con, chance = filled()
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    for level in (0, 1, 2):
        expect_equal(value(con, "SELECT turdb_check('t', %d)" % level), 'ok')
    expect_error('no such turdb table', value, con, "SELECT turdb_check('u')")
    expect_equal(value(con, "SELECT turdb_count('t')"), 300)
    expect_equal(value(con, "SELECT turdb_count('main.t')"), 300)
    expect_error('no such turdb table', value, con, "SELECT turdb_count('u')")


def vectors_and_rows_agree_after_changes_and_rollbacks(scratch):
    con, chance = filled(100)
    for step in range(scaled(150)):
        statement = chance.choice(['BEGIN', 'SAVEPOINT p', 'ROLLBACK TO p', 'RELEASE p', 'COMMIT', 'ROLLBACK'] +
                                  ['INSERT OR REPLACE INTO t(id, a, v) VALUES (?1, ?1, ?2)', 'DELETE FROM t WHERE id = ?1',
                                   'UPDATE t SET v = ?2 WHERE id = ?1', 'UPDATE t SET id = -id WHERE id = ?1',
                                   'UPDATE t SET a = a + 1 WHERE id > ?1', 'UPDATE t SET v = NULL WHERE id = ?1'] * 2)
        arguments = (chance.randint(1, 100), vector(chance)) if '?2' in statement else \
            (chance.randint(1, 100),) if '?1' in statement else ()
        try:
            con.execute(statement, arguments)
        except sqlite3.Error as error:
            expect('no such savepoint' in str(error) or 'transaction' in str(error) or 'UNIQUE' in str(error), str(error))
        expect_equal(value(con, "SELECT turdb_check('t')"), 'ok')
        expect_equal(value(con, "SELECT turdb_count('t')"), value(con, 'SELECT count(*) FROM t'))


def an_index_that_does_not_fit_its_rows_is_found(scratch):
    con, _ = filled()
    con.execute('PRAGMA writable_schema = on')
    con.execute("UPDATE sqlite_schema SET sql = replace(sql, 'INDEX i (a DESC, b)', 'INDEX i (a, b)') WHERE name = 't'")
    con.close()
    con = connect('app')
    expect('has no entry in the index' in value(con, "SELECT turdb_check('t')"), value(con, "SELECT turdb_check('t')"))
    expect('has no entry in the index' in value(con, 'SELECT turdb_check()'))
    expect_equal(value(con, "SELECT turdb_check('t', 0)"), 'ok')


def a_table_without_its_rows_is_found(scratch):
    con, _ = filled()
    con.execute('PRAGMA writable_schema = on')
    con.execute("INSERT INTO sqlite_schema VALUES ('table', 'lost', 'lost', 0, 'CREATE VIRTUAL TABLE lost USING turdb(a)')")
    con.close()
    con = connect('app')
    expect('lost' in value(con, 'SELECT turdb_check()'), value(con, 'SELECT turdb_check()'))


def a_check_can_be_interrupted(scratch):
    con, _ = filled(2000)
    set_progress_handler(con, lambda: 1, 1)
    expect_error('interrupted', con.execute, "SELECT turdb_check('t')")
    con.set_progress_handler(None, 1)
    expect_equal(value(con, "SELECT turdb_check('t')"), 'ok')


def a_search_without_a_graph_can_be_interrupted(scratch):
    load()
    con, chance = connect('app'), random.Random(4)
    con.execute('CREATE VIRTUAL TABLE p USING turdb(v VECTOR(8))')
    for _ in range(20):
        con.execute('INSERT INTO p VALUES (?)', (vector(chance),))
    sql = 'SELECT rowid FROM p WHERE v MATCH ? ORDER BY distance LIMIT 3'
    expect_equal(len(con.execute(sql, (vector(chance),)).fetchall()), 3)
    set_progress_handler(con, lambda: 1, 1)
    expect_error('interrupted', con.execute, sql, (vector(chance),))
    con.set_progress_handler(None, 1)
    expect_equal(len(con.execute(sql, (vector(chance),)).fetchall()), 3)


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
