"""turdb_check() looks into trees and graphs, and finds nothing wrong after any change."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def expect_ok(db):
    expect_equal(value(db, 'SELECT turdb_check()'), 'ok')
    expect_equal(db.execute('SELECT * FROM turdb_problems').fetchall(), [])


def every_page_is_reached_once_or_free(scratch):
    load()
    db = connect('app')
    expect_ok(db)
    db.execute('CREATE VIRTUAL TABLE t USING turdb(a INTEGER PRIMARY KEY, b TEXT, INDEX i(b), v VECTOR(4) HNSW)')
    expect_ok(db)
    db.execute('BEGIN')
    for n in range(scaled(2000, 200)):
        db.execute('INSERT INTO t VALUES (?, ?, ?)', (n, 'x' * (n % 300) + str(n), '[1, %d, %d, 3]' % (n % 7, n)))
    db.execute('INSERT INTO t VALUES (9999999, ?, NULL)', ('y' * 100000,))
    expect_ok(db)
    db.execute('COMMIT')
    expect_ok(db)
    db.execute('DELETE FROM t WHERE a % 3')
    expect_ok(db)
    db.execute('BEGIN')
    db.execute('DELETE FROM t WHERE a > 100')
    expect_ok(db)
    db.execute('ROLLBACK')
    expect_ok(db)
    db.execute('DELETE FROM t')
    expect_ok(db)
    db.execute('DROP TABLE t')
    expect_ok(db)


main(globals())
