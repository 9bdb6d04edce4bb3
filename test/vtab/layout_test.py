"""A table whose statement was edited in sqlite_schema: what no longer fits the stored rows is an error that says both; what does
not touch them goes on.

Rows were misread without a word: with two columns exchanged each had the other's values.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
COLUMNS = ("id INTEGER PRIMARY KEY, first TEXT, last TEXT COLLATE NOCASE, age REAL CHECK (age >= 0), face VECTOR(2) HNSW (metric='l2'), "
           "UNIQUE (first, age), INDEX by_last (last DESC)")


def make():
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % COLUMNS)
    con.execute("INSERT INTO t VALUES(1, 'Ada', 'Lovelace', 36, '[1,2]'), (2, 'Alan', 'Turing', 41, '[3,4]')")
    return con


def edit(con, old, new):
    con.execute('PRAGMA writable_schema=ON')
    con.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 't'", (old, new))
    con.execute('PRAGMA writable_schema=RESET')


def rows(con):
    return con.execute('SELECT id, first, last, age, vec_to_json(face) FROM t').fetchall()


def a_statement_with_other_columns_is_refused(scratch):
    con = make()
    before = rows(con)
    for old, new, said, stored in (
            ('first TEXT, last TEXT COLLATE NOCASE', 'last TEXT COLLATE NOCASE, first TEXT', '"last" TEXT, "first" TEXT', '"first" TEXT, "last" TEXT'),
            ('last DESC)', 'last DESC), extra INT', '"extra" INTEGER', '"face" VECTOR(2, f32)'),
            ('age REAL', 'age REAL, more', '"age" REAL, "more" BLOB', '"age" REAL, "face"'),
            (', age REAL CHECK (age >= 0)', ', age REAL CHECK (age >= 0), face2 VECTOR(3)', '"face2" VECTOR(3, f32)', '"face" VECTOR(2, f32)'),
            ('age REAL', 'age TEXT', '"age" TEXT', '"age" REAL'),
            ('id INTEGER PRIMARY KEY', 'id INTEGER', '"id" INTEGER, ', '"id" INTEGER ROWID'),
            ('VECTOR(2)', 'VECTOR(3)', 'VECTOR(3, f32)', 'VECTOR(2, f32)'),
            ('VECTOR(2)', 'VECTOR(2, f16)', 'VECTOR(2, f16)', 'VECTOR(2, f32)')):
        edit(con, old, new)
        for sql in ('SELECT * FROM t', 'DELETE FROM t', "INSERT INTO t(first) VALUES('x')"):
            error = str(expect_error('open table t: its statement in sqlite_schema says ', con.execute, sql))
            expect(said in error.partition('were stored as')[0] and stored in error.partition('were stored as')[2], error)
        expect('in sqlite_schema says' in str(expect_error('', connect('app').execute, 'SELECT * FROM t')))
        edit(con, new, old)
        expect_equal(rows(con), before)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def what_does_not_touch_the_rows_may_be_edited(scratch):
    con = make()
    before = rows(con)
    for old, new in (('CHECK (age >= 0)', 'CHECK (age > 0) DEFAULT 7'), ('first TEXT', 'first  VARCHAR(20) NOT NULL'), ('by_last', 'last_down'),
                     ('id INTEGER', '[id] INTEGER')):
        edit(con, old, new)
        expect_equal(rows(con), before)
    con.execute("INSERT INTO t(first, last) VALUES('Grace', 'Hopper')")
    expect_equal(value(con, 'SELECT age FROM t WHERE id = 3'), 7)
    expect_error('NOT NULL constraint failed', con.execute, 'INSERT INTO t(last) VALUES(1)')


def layouts_follow_their_tables(scratch):
    con = make()
    con.execute("SELECT turdb_create_index('by_age', 't', 'age, last')")
    con.execute('SELECT turdb_reindex(\'t\')')
    con.execute("SELECT turdb_drop_index('by_last')")
    con.execute('ALTER TABLE t RENAME TO u')
    con.close()
    con = connect('app')
    expect_equal(con.execute('SELECT id FROM u ORDER BY age DESC').fetchall(), [(2,), (1,)])
    con.execute('BEGIN')
    con.execute('DROP TABLE u')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(other)')
    con.execute('ROLLBACK')
    expect_equal(con.execute('SELECT first FROM u ORDER BY id').fetchall(), [('Ada',), ('Alan',)])
    con.execute('DROP TABLE u')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(other)')
    expect_equal(rows_of(con), [])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def rows_of(con):
    return con.execute('SELECT * FROM t').fetchall()


main(globals(), BOTH_HOMES)
