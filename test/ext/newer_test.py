"""What SQLite has learnt since 3.40, asked of directories and turdb tables; each case where the SQLite at hand knows it."""
import ctypes
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

ENABLE_ATTACH_CREATE, ENABLE_ATTACH_WRITE = 1020, 1021
load()


def since(*version):
    if sqlite3.sqlite_version_info < version:
        skip('from SQLite %s on' % '.'.join(map(str, version)))


def db_config(con, option, on):
    """sqlite3_db_config(), which Python has from 3.12 on: behind the head of its object lies the sqlite3 *."""
    db = ctypes.c_void_p(ctypes.c_void_p.from_address(id(con) + object.__basicsize__).value)
    now = ctypes.c_int(-1)
    expect_equal((ctypes.CDLL('libsqlite3.so.0').sqlite3_db_config(db, option, ctypes.c_int(on), ctypes.byref(now)), now.value), (0, on))


def numbers_have_separators(scratch):
    con = connect('app')
    if sqlite3.sqlite_version_info < (3, 46):
        expect_error('unrecognized token', con.execute, 'CREATE VIRTUAL TABLE t USING turdb(a CHECK (a < 1_000))')
        return
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a CHECK (a < 1_000), b DEFAULT 2_0.2_5e0_1, c DEFAULT (0xf_f), d AS (a + 1_0))')
    con.execute('INSERT INTO t(a) VALUES (999)')
    expect_equal(con.execute('SELECT * FROM t').fetchall(), [(999, 202.5, 255, 1009)])
    expect_error('CHECK', con.execute, 'INSERT INTO t(a) VALUES (1_000)')
    for wrong in ('1__0', '1_', '0x_1', '1_e5'):
        expect_error('unrecognized token', con.execute, 'CREATE VIRTUAL TABLE u USING turdb(a CHECK (a < %s))' % wrong)
    for wrong in ('v VECTOR(1_0)', 'v VECTOR(4) HNSW(m=1_0)'):
        expect_error('1_0', con.execute, 'CREATE VIRTUAL TABLE u USING turdb(%s)' % wrong)


def a_virtual_tables_constraints_are_not_edited(scratch):
    since(3, 53)
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a, CONSTRAINT c CHECK (a > 0))')
    before = value(con, "SELECT sql FROM sqlite_schema WHERE name = 't'")
    for change in ('ALTER COLUMN a SET NOT NULL', 'ALTER COLUMN a DROP NOT NULL', 'ADD CONSTRAINT d CHECK (a < 5)', 'ADD CHECK (a < 5)',
                   'DROP CONSTRAINT c', 'RENAME COLUMN a TO b', 'DROP COLUMN a', 'ADD COLUMN b'):
        expect_error('virtual table', con.execute, 'ALTER TABLE t ' + change)
    expect_equal(value(con, "SELECT sql FROM sqlite_schema WHERE name = 't'"), before)
    con.execute('REINDEX EXPRESSIONS')


@only_native
def attach_creates_and_writes_as_the_connection_allows(scratch):
    since(3, 49)
    other = connect('there')
    other.execute('CREATE TABLE a(x)')
    other.execute('CREATE VIRTUAL TABLE b USING turdb(x)')
    con = sqlite3.connect(':memory:', isolation_level=None, uri=True)
    db_config(con, ENABLE_ATTACH_CREATE, 0)
    expect_error('unable to open', con.execute, "ATTACH 'file:new?vfs=turdb' AS new")
    expect(not os.path.exists('new'))
    con.execute("ATTACH 'file:there?vfs=turdb' AS there")
    con.execute('INSERT INTO there.a VALUES (1)')
    con.execute('INSERT INTO there.b VALUES (1)')
    con.execute('DETACH there')
    db_config(con, ENABLE_ATTACH_WRITE, 0)
    con.execute("ATTACH 'file:there?vfs=turdb' AS there")
    for table in 'ab':
        expect_error('readonly', con.execute, 'INSERT INTO there.%s VALUES (2)' % table)
        expect_equal(con.execute('SELECT * FROM there.' + table).fetchall(), [(1,)])
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')


@only_native
def a_checkpoint_may_be_asked_about_only(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.executemany('INSERT INTO t VALUES (zeroblob(?))', [(20000,)] * 20)
    checkpoints = "SELECT value FROM turdb_status WHERE name = 'checkpoints'"
    expect_equal(con.execute('PRAGMA wal_checkpoint = noop').fetchall(), [(0, -1, -1)])
    expect_equal(value(con, checkpoints), 0)
    con.execute('PRAGMA wal_checkpoint = passive').fetchall()
    expect_equal(value(con, checkpoints), 1)


# Long values are read past SQLite's cache, in parts of pages, unless the transaction has changed pages.
def long_values_are_read_as_they_are_now(scratch):
    con, other = connect('app'), connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, a)')
    for i in range(3):
        con.execute('INSERT INTO t VALUES (?, ?)', (i, bytes([i + 1]) * 300000))
    con.execute('BEGIN')
    for at in (0, 1, 2):
        con.execute('UPDATE t SET a = ? WHERE id = ?', (bytes([at + 7]) * 250001, at))
        for i in range(3):
            wanted = bytes([i + 7]) * 250001 if i <= at else bytes([i + 1]) * 300000
            expect(value(con, 'SELECT a FROM t WHERE id = ?', i) == wanted)
            expect(value(other, 'SELECT a FROM t WHERE id = ?', i) == bytes([i + 1]) * 300000)
    con.execute('ROLLBACK' if Home.inline() else 'COMMIT')
    for db in (con, other):
        expect_equal(db.execute('SELECT length(a), hex(substr(a, 200000, 2)) FROM t').fetchall(),
                     [(300000, '%02X%02X' % (i + 1, i + 1)) for i in range(3)] if Home.inline() else
                     [(250001, '%02X%02X' % (i + 7, i + 7)) for i in range(3)])


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
