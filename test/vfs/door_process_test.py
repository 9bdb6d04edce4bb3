"""Processes that are stopped, forked, or short of descriptors, and what the others notice of it."""
import os
import pathlib
import random
import resource
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()

# How long a process stays stopped: some seconds, a minute in make torture.
STOPPED_S = 60 if scaled(10) >= 100 else scaled(3, 1)


def make(rows=5):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, v INTEGER)')
    for table in ('t', 'u'):
        con.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?) INSERT INTO %s SELECT i, 0 FROM n' % table,
                    (rows,))
    return con


def last_error():
    return value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()')


def result(call, *arguments):
    try:
        call(*arguments)
    except sqlite3.Error as error:
        return error.sqlite_errorname
    return 'SQLITE_OK'


def start(code, *arguments):
    """A process that has run `code` and waits."""
    child = python(code + '\nprint("ready", flush=True)\nsys.stdin.readline()\n' + 'after()', *arguments, wait=False)
    expect_equal(child.stdout.readline(), 'ready\n')
    return child


def end(child):
    output = child.communicate('\n', timeout=120)[0]
    expect_equal((child.returncode, output), (0, ''))


# --- stopped ------------------------------------------------------------------------------------

def a_stopped_writer_holds_up_writers_only(scratch):
    con = make()
    child = start('''
con = connect('app')
con.execute('BEGIN IMMEDIATE')
con.execute('UPDATE t SET v=100')
con.execute('UPDATE u SET v=100')
def after():
    con.execute('COMMIT')
''')
    child.send_signal(signal.SIGSTOP)
    ends, reads = time.monotonic() + STOPPED_S, 0
    while time.monotonic() < ends or reads < 4:
        began = time.monotonic()
        expect_equal(con.execute('SELECT sum(t.v), sum(u.v) FROM t JOIN u USING(id)').fetchall(), [(0, 0)])
        other = connect('app', timeout=0.05)
        expect_equal(value(other, 'SELECT sum(v) FROM u'), 0)
        expect_equal(result(other.execute, 'UPDATE t SET v=1'), 'SQLITE_BUSY')
        expect('process %d has held the lock' % child.pid in last_error(), last_error())
        other.close()
        expect(time.monotonic() - began < 5, 'readers wait for a stopped writer')
        reads += 1
        time.sleep(0.05)
    child.send_signal(signal.SIGCONT)
    end(child)
    expect_equal(con.execute('SELECT sum(t.v), sum(u.v) FROM t JOIN u USING(id)').fetchall(), [(500, 500)])
    con.execute('UPDATE t SET v=1')


def a_stopped_reader_keeps_its_snapshot(scratch):
    con = make()
    child = start('''
con = connect('app')
con.execute('BEGIN')
before = con.execute('SELECT sum(t.v), sum(u.v) FROM t JOIN u USING(id)').fetchall()
def after():
    same = con.execute('SELECT sum(t.v), sum(u.v) FROM t JOIN u USING(id)').fetchall() == before
    sys.exit(0 if same and value(con, 'SELECT turdb_check()') == 'ok' else 'another snapshot')
''')
    child.send_signal(signal.SIGSTOP)
    ends, i = time.monotonic() + STOPPED_S, 0
    while time.monotonic() < ends:
        i += 1
        con.execute('UPDATE t SET v=v+1')
        con.execute('UPDATE u SET v=v+1')
        if i % 50 == 0:
            con.execute('VACUUM')
            expect_equal(value(con, 'SELECT turdb_checkpoint()'), 1)
            con.execute('CREATE TABLE x%d(a)' % i)
            con.execute('DROP TABLE x%d' % i)
        time.sleep(0.002)
    expect(child.pid in [row[0] for row in con.execute('SELECT pid FROM turdb_readers')])
    child.send_signal(signal.SIGCONT)
    end(child)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


CHURN = '''
while True:
    con = connect('app', timeout=%d)
    con.execute('UPDATE u SET v=v+1 WHERE id=1')
    value(con, 'SELECT sum(v) FROM t')
    con.close()
''' % (30 + STOPPED_S)


def expect_all_alive(children):
    expect_equal([child.communicate()[0] for child in children if child.poll() is not None], [])


# Opening takes a lock that only one may hold. Whoever is stopped inside keeps the others waiting, not failing.
def a_process_stopped_while_it_registers_does_no_harm(scratch):
    con, choice = make(), random.Random(5)
    for stays_open in (True, False):
        if not stays_open:
            con.close()
        children = [python(CHURN, wait=False) for _ in range(2)]
        time.sleep(0.5)
        for n in range(scaled(12, 3)):
            child = choice.choice(children)
            child.send_signal(signal.SIGSTOP)
            time.sleep(choice.random() / 20)
            if stays_open:
                began = time.monotonic()
                value(con, 'SELECT sum(v) FROM t')
                value(con, 'SELECT sum(v) FROM u')
                expect(time.monotonic() - began < 5, 'an open connection waits for one that is stopped')
            child.send_signal(signal.SIGCONT)
            time.sleep(choice.random() / 50)
            expect_all_alive(children)
        child = children[0]
        child.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        child.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        expect_all_alive(children)
        for child in children:
            child.kill()
            output = child.communicate()[0]
            expect_equal(output, '')
    con = connect('app', timeout=5)
    con.execute('UPDATE u SET v=0')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


# --- forked -----------------------------------------------------------------------------------------

def in_child(work):
    """What `work` returns in a forked child, as its status; 99 for an exception."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def a_forked_child_may_use_nothing_and_harms_nothing(scratch):
    con = make()
    con.execute('PRAGMA cache_size=100')
    con.execute('BEGIN IMMEDIATE')
    con.execute('UPDATE t SET v=7')
    con.execute('UPDATE u SET v=7')

    def use():
        con.execute('UPDATE t SET v=8')  # only SQLite's cache hears of it
        result(con.execute, 'UPDATE u SET v=v+8')
        con.execute('CREATE TABLE x(a)')
        con.execute('INSERT INTO x VALUES(zeroblob(30000000))')  # too much for its cache
        return 1

    def commit():
        con.execute('UPDATE t SET v=8')
        if result(con.execute, 'COMMIT') == 'SQLITE_OK' or 'before fork' not in last_error():
            return 1
        return 2 if result(con.execute, 'SELECT * FROM u') == 'SQLITE_OK' else 0

    def roll_back():
        result(con.execute, 'ROLLBACK')
        for sql in ('SELECT * FROM t', 'SELECT * FROM u', 'UPDATE t SET v=8', 'UPDATE u SET v=8', 'SELECT turdb_checkpoint()'):
            if result(con.execute, sql) == 'SQLITE_OK':
                return 1
        return 0 if 'before fork' in last_error() else 2

    expect_equal([in_child(commit), in_child(roll_back), in_child(use)], [0, 0, 99])
    expect_equal(con.execute('SELECT sum(t.v), sum(u.v) FROM t JOIN u USING(id)').fetchall(), [(35, 35)])
    other = connect('app', timeout=0)
    expect_equal(result(other.execute, 'UPDATE t SET v=1'), 'SQLITE_BUSY')
    expect_equal(value(other, 'SELECT sum(v) FROM u'), 0)
    con.execute('COMMIT')
    expect_equal(value(other, 'SELECT sum(v) FROM u'), 35)
    other.execute('UPDATE u SET v=8')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def a_forked_child_that_closes_takes_no_lock_away(scratch):
    con = make()
    con.execute('BEGIN IMMEDIATE')
    con.execute('UPDATE u SET v=7')

    def close():
        con.close()
        return 0

    expect_equal(in_child(close), 0)
    other = connect('app', timeout=0)
    expect_equal(result(other.execute, 'UPDATE t SET v=1'), 'SQLITE_BUSY')
    outside = python('con = connect("app", timeout=0.1)\ntry:\n    con.execute("UPDATE t SET v=1")\nexcept sqlite3.Error as error:\n'
                     '    print(error.sqlite_errorname, value(con, "SELECT sum(v) FROM u"))')
    expect_equal(outside, 'SQLITE_BUSY 0\n')
    con.execute('COMMIT')
    expect_equal(value(other, 'SELECT sum(v) FROM u'), 35)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def a_forked_child_opens_it_again(scratch):
    con = make()

    def again():
        own = connect('app')
        own.execute('UPDATE u SET v=3')
        return value(own, 'SELECT sum(v) FROM u')

    expect_equal(in_child(again), 15)
    expect_equal(value(con, 'SELECT sum(v) FROM u'), 15)
    con.execute('UPDATE u SET v=4')
    expect_equal(value(con, 'SELECT sum(v) FROM u'), 20)


# --- opened twice --------------------------------------------------------------------------------------

def two_opens_by_two_names_are_one_database(scratch):
    con = make()
    os.symlink('app', 'link')
    others = [connect(name, timeout=0) for name in ('./app', 'link', os.path.join(os.getcwd(), 'app'), 'app/../app/')]
    con.execute('BEGIN IMMEDIATE')
    con.execute('UPDATE u SET v=1')
    for other in others:
        expect_equal(result(other.execute, 'UPDATE t SET v=1'), 'SQLITE_BUSY')
        expect_equal(value(other, 'SELECT sum(v) FROM u'), 0)
    others[1].close()
    expect_equal(result(others[0].execute, 'UPDATE t SET v=1'), 'SQLITE_BUSY')
    con.execute('COMMIT')
    expect_equal(value(others[2], 'SELECT sum(v) FROM u'), 5)
    expect_equal(value(others[3], 'SELECT sum(v) FROM u'), 5)


# Locks of a process go when any descriptor of the file is closed, with POSIX locks; ours do not.
def closing_one_of_two_opens_leaves_the_other_its_locks(scratch):
    con, second = make(), connect('app')
    con.execute('BEGIN IMMEDIATE')
    con.execute('UPDATE u SET v=1')
    second.close()
    os.close(os.open('app/turdb.meta', os.O_RDONLY))
    for _ in range(3):
        outside = python('con = connect("app", timeout=0.1)\ntry:\n    con.execute("UPDATE t SET v=1")\nexcept sqlite3.Error as error:\n'
                         '    print(error.sqlite_errorname)')
        expect_equal(outside, 'SQLITE_BUSY\n')
    con.execute('COMMIT')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


# --- short of descriptors -------------------------------------------------------------------------------

def without_descriptors_it_says_so_and_works_again(scratch):
    if SANITIZER:
        skip('a sanitizer needs descriptors of its own')
    make().close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = sqlite3.connect(':memory:')
    memory.execute('SELECT turdb_last_error()')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir('/proc/self/fd'))) + 30, hard))
    taken, failures, opened = [], 0, 0
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for free in range(0, 14):
            con = None
            if free:
                os.close(taken.pop())
            try:
                con = connect('app')
                expect_equal(value(con, 'SELECT sum(v) FROM t'), 0)
                expect_equal(value(con, 'SELECT count(*) FROM u'), 5)
                con.execute('UPDATE t SET v=0')
                opened += 1
            except sqlite3.Error:
                text = value(memory, 'SELECT turdb_last_error()')
                expect('too many open files' in text, '%d free: %s' % (free, text))
                failures += 1
            if con:
                con.close()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    expect(failures > 2 and opened > 0, '%d failures, %d times opened' % (failures, opened))
    con = connect('app')
    con.execute('UPDATE u SET v=1')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    before = len(os.listdir('/proc/self/fd'))
    connect('app').close()
    expect_equal(len(os.listdir('/proc/self/fd')), before)


main(globals())
