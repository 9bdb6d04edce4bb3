"""Long work inside one call of ours can be ended: the progress handler is called meanwhile, and what it or
sqlite3_interrupt() ends has changed nothing."""
import array
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()

ROWS, DIMENSIONS, LONG_KEYS = scaled(20000, 4000), 32, scaled(5000, 1000)
random.seed(5)


def vector():
    return array.array('f', [random.random() for _ in range(DIMENSIONS)]).tobytes()


def make(path='app'):
    con = connect(path, check_same_thread=False)
    con.execute('PRAGMA synchronous=OFF')
    con.execute('CREATE VIRTUAL TABLE p USING turdb(id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, s TEXT, v VECTOR(%d), '
                'INDEX p_s(s))' % DIMENSIONS)
    con.execute('CREATE VIRTUAL TABLE g USING turdb(id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, '
                'v VECTOR(%d) HNSW(m=4, ef_construction=8))' % DIMENSIONS)
    con.execute('BEGIN')
    con.executemany('INSERT INTO p VALUES(?, ?, ?, ?, ?)',
                    ((i, i % 7, i, 'q' * 2500 + str(i * 7919 % LONG_KEYS) if i < LONG_KEYS else 'a', vector()) for i in range(ROWS)))
    con.execute('INSERT INTO g SELECT id, x, y, v FROM p')
    con.execute('COMMIT')
    return con


STATEMENTS = [
    ('SELECT count(*) FROM p WHERE v MATCH ? AND k=10', 1),
    ('SELECT count(*) FROM p WHERE v MATCH ? AND x<>3 AND k=10', 1),
    ('SELECT count(*) FROM g WHERE v MATCH ? AND exact=1 AND k=10', 1),
    ('SELECT count(*) FROM g WHERE v MATCH ? AND k=10 AND y<>-1', 1),
    ('SELECT count(*) FROM g WHERE v MATCH ? AND k=10 AND y=-1', 1),
    ('SELECT count(*) FROM g WHERE v MATCH ? AND x=3', 1),
    ('SELECT count(*) FROM g WHERE v MATCH ? AND k=20000', 1),
    ("SELECT sum(length(s)) FROM (SELECT s FROM p WHERE s>'b' ORDER BY s)", 0),
    ("SELECT turdb_check()", 0), ("SELECT turdb_check('g')", 0), ('SELECT count(*) FROM turdb_problems', 0),
    ("SELECT turdb_create_index('p_y', 'p', 'y, x')", 0), ("SELECT turdb_reindex('g')", 0),
]


# sqlite3_interrupt() is seen once a 50th of a second; before, some of these ran to their end.
# (vfs/door_breath I1)
def every_long_statement_ends_soon_after_an_interrupt(scratch):
    con = make()
    before = [con.execute('SELECT count(*), sum(id), sum(x) FROM ' + table).fetchone() for table in 'pg']
    query, ended = vector(), 0
    for sql, arguments in STATEMENTS:
        started = time.monotonic()
        con.execute(sql, (query,) * arguments).fetchall()
        whole = time.monotonic() - started
        if 'create_index' in sql:
            con.execute("SELECT turdb_drop_index('p_y')").fetchall()
        if whole < 0.03:
            continue  # not long
        timer = threading.Timer(0.005, con.interrupt)
        started = time.monotonic()
        timer.start()
        try:
            con.execute(sql, (query,) * arguments).fetchall()
            timer.join()  # it was faster this time
        except sqlite3.OperationalError as error:
            took = time.monotonic() - started
            timer.join()
            expect('interrupted' in str(error), error)
            expect(took < 1 + whole / 2, '%s ended after %.0f of %.0f ms' % (sql, took * 1000, whole * 1000))
            ended += 1
    expect(ended >= (2 if ROWS >= 20000 else 0), 'only %d statements were interrupted' % ended)
    expect_equal([con.execute('SELECT count(*), sum(id), sum(x) FROM ' + table).fetchone() for table in 'pg'], before)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    connect('app').close()


def the_progress_handler_is_called_and_obeyed(scratch):
    con = make()
    query, times = vector(), []

    def handler():
        times.append(time.monotonic())
        return stop

    for sql, arguments in STATEMENTS:
        stop, times[:] = 0, [time.monotonic()]
        set_progress_handler(con, handler, 500)
        con.execute(sql, (query,) * arguments).fetchall()
        handler()
        gap = max(later - earlier for earlier, later in zip(times, times[1:]))
        whole = times[-1] - times[0]
        expect(whole < 0.3 or gap < 0.5 + whole / 3, '%s: no call for %.0f of %.0f ms' % (sql, gap * 1000, whole * 1000))
        if 'create_index' in sql:
            con.execute("SELECT turdb_drop_index('p_y')").fetchall()
        stop = 1
        if whole > 0.1:
            expect_error('interrupted', lambda: con.execute(sql, (query,) * arguments).fetchall())
        con.set_progress_handler(None, 0)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


# What long work runs now and then is a statement, and a connection with a statement cannot be closed.
def nothing_keeps_the_connection_from_closing(scratch):
    con = make()
    rows = con.execute('SELECT id FROM p WHERE v MATCH ?', (vector(),))
    rows.fetchone()
    rows.close()
    con.execute('SELECT turdb_check()').fetchall()
    con.close()
    other = connect('app')
    expect_equal(value(other, "SELECT count(*) FROM turdb_readers"), 1)  # only itself


def a_vacuum_that_waits_for_a_writer_can_be_ended(scratch):
    one, two = connect('app'), connect('app', check_same_thread=False)
    one.execute('CREATE TABLE t(a)')
    one.execute('BEGIN IMMEDIATE')
    for sql in ('SELECT turdb_vacuum()', 'SELECT turdb_checkpoint()'):
        threading.Timer(0.2, two.interrupt).start()
        started = time.monotonic()
        expect_error('interrupted', lambda: two.execute(sql).fetchall())
        expect(time.monotonic() - started < 2)
    one.execute('COMMIT')


main(globals())
