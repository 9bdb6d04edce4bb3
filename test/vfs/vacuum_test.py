"""turdb_vacuum() makes files shorter, in steps, whoever reads or writes meanwhile."""
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) '
MB = 1 << 20
TURDB = 'CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, k INTEGER, v, INDEX by_k (k))'
ORDINARY = 'CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v)'


def sizes(path):
    """Bytes on disk, as du counts them, and lengths."""
    stats = [os.stat(os.path.join(path, 'root', name)) for name in os.listdir(os.path.join(path, 'root'))]
    return sum(s.st_blocks * 512 for s in stats), sum(s.st_size for s in stats)


def sound(con):
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def build(path, create, rows):
    con = connect(path)
    con.execute(create)
    con.execute(NUMBERS % rows + 'INSERT INTO t SELECT i, (i * 7919) % 100003, randomblob(700) FROM n')
    return con


def content(con):
    return con.execute('SELECT count(*), sum(id), sum(k), sum(length(v)), min(hex(v)), max(hex(v)) FROM t').fetchall()


def a_table_that_lost_most_rows_gets_short(scratch):
    for kind, create in (('turdb', TURDB), ('ordinary', ORDINARY)):
        rows = scaled(30000, 30000)  # a smaller table is mostly what a file has anyway
        con = build(kind, create, rows)
        before = sizes(kind)
        con.execute('DELETE FROM t WHERE id%10 <> 3')
        deleted = sizes(kind)
        rest = content(con)
        moved = value(con, 'SELECT turdb_vacuum()')
        after = sizes(kind)
        expect_equal(value(con, 'SELECT turdb_vacuum()'), 0)
        expect_equal(content(con), rest)
        sound(con)
        con.close()
        closed = sizes(kind)
        print('note %s: du %.1f MB, %.1f with 90 %% deleted, %.1f after %d pages, %.1f closed; length %.1f to %.1f MB' % (
            kind, before[0] / MB, deleted[0] / MB, after[0] / MB, moved, closed[0] / MB, before[1] / MB, closed[1] / MB))
        con = connect(kind)
        expect_equal(content(con), rest)
        sound(con)
        # An ordinary table's pages keep their rows: SQLite's own VACUUM puts those together.
        if kind == 'ordinary':
            con.execute('VACUUM')
            con.execute('SELECT turdb_vacuum()').fetchall()
            after = sizes(kind)
            expect_equal(content(con), rest)
            con.close()
            closed = sizes(kind)
            print('note VACUUM and turdb_vacuum(): du %.1f MB, length %.1f MB' % (after[0] / MB, closed[1] / MB))
        expect(after[0] < before[0] / 5)
        expect(closed[1] < before[1] / 5)


# (vfs/vacuum V1)
def steps_are_bounded_and_come_to_an_end(scratch):
    con = build('app', TURDB, scaled(20000, 5000))
    con.execute('DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 1500')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    rest, calls = content(con), []
    while True:
        done = value(con, 'SELECT turdb_vacuum(20)')
        if not done:
            break
        calls.append(done)
        expect(len(calls) < 1000)
    print('note %d calls' % len(calls))
    expect(len(calls) > 3)
    expect_equal(content(con), rest)
    sound(con)
    expect_error('number of pages', con.execute, 'SELECT turdb_vacuum(0)')
    expect_error('number of pages', con.execute, "SELECT turdb_vacuum('x')")


def readers_keep_their_versions(scratch):
    con = build('app', TURDB, scaled(10000, 5000))
    reader = connect('app')
    reader.execute('BEGIN')
    seen = content(reader)
    con.execute('DELETE FROM t WHERE id%10 <> 3')
    rest = content(con)
    con.execute('SELECT turdb_vacuum()').fetchall()
    held = sizes('app')[0]
    expect_equal(content(reader), seen)
    expect_equal(content(con), rest)
    sound(reader)
    reader.execute('COMMIT')
    con.execute('SELECT turdb_vacuum()').fetchall()
    after = sizes('app')[0]
    print('note %.1f MB while read, %.1f MB afterwards' % (held / MB, after / MB))
    expect(after < held / 3)
    expect_equal(content(con), rest)
    sound(con)


def writers_go_on_meanwhile(scratch):
    con = build('app', TURDB, scaled(10000, 5000))
    con.execute('DELETE FROM t WHERE id%10 <> 3')
    done = []

    def write():
        other = connect('app')
        for i in range(300):
            other.execute('INSERT INTO t(k, v) VALUES(?, randomblob(700))', (-i - 1,))
            done.append(i)
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        con.execute('SELECT turdb_vacuum(64)').fetchall()
    thread.join()
    expect_equal(len(done), 300)
    expect_equal(value(con, 'SELECT count(*) FROM t WHERE k<0'), 300)
    sound(con)


def an_interrupt_leaves_everything_whole(scratch):
    con = build('app', TURDB, scaled(20000, 8000))
    con.execute('DELETE FROM t WHERE id%10 <> 3')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    rest = content(con)
    set_progress_handler(con, lambda: 1, 1)
    expect_error('interrupted', con.execute, 'SELECT turdb_vacuum()')
    con.set_progress_handler(None, 0)
    expect_equal(content(con), rest)
    timer = threading.Timer(0.01, con.interrupt)
    timer.start()
    try:
        con.execute('SELECT turdb_vacuum()').fetchall()
    except sqlite3.OperationalError as error:
        expect_equal(str(error), 'interrupted')
    timer.join()
    expect_equal(content(con), rest)
    sound(con)
    con.execute('SELECT turdb_vacuum()').fetchall()
    expect_equal(content(con), rest)
    sound(con)


def inside_a_write_transaction_it_says_no(scratch):
    con = build('app', TURDB, 100)
    con.execute('BEGIN IMMEDIATE')
    expect_error('write transaction', con.execute, 'SELECT turdb_vacuum()')
    con.execute('ROLLBACK')
    con.execute('CREATE VIEW w AS SELECT turdb_vacuum()')
    expect_error('unsafe use', con.execute, 'SELECT * FROM w')


main(globals())
