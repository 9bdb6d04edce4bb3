"""Snapshots, writers and processes: who waits for whom, who sees what, and what survives."""
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()


def make(path='app', rows=100):
    con = connect(path)
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?) INSERT INTO t SELECT i, 0 FROM n',
                (rows,))
    return con


def error_code(call, *arguments):
    try:
        call(*arguments)
    except sqlite3.Error as error:
        return error.sqlite_errorname
    return 'SQLITE_OK'


# (vfs/door D1)
def a_reader_keeps_its_snapshot(scratch):
    writer, reader = make(), connect('app')
    reader.execute('BEGIN')
    expect_equal(value(reader, 'SELECT sum(v) FROM t'), 0)
    for i in range(5):
        writer.execute('UPDATE t SET v=v+1')
    writer.execute('DELETE FROM t WHERE id>50')
    writer.execute('VACUUM')
    value(writer, 'SELECT turdb_checkpoint()')
    expect_equal(reader.execute('SELECT count(*), sum(v) FROM t').fetchall(), [(100, 0)])
    expect_equal(value(reader, 'PRAGMA integrity_check'), 'ok')
    reader.execute('COMMIT')
    expect_equal(reader.execute('SELECT count(*), sum(v) FROM t').fetchall(), [(50, 250)])


# (rule 4)
def an_open_select_lives_through_its_connections_commits(scratch):
    con = make(rows=3000)
    seen = 0
    for row in con.execute('SELECT id, v FROM t'):
        seen += 1
        if seen % 500 == 0:
            con.execute('UPDATE t SET v=1 WHERE id<=?', (seen,))
    expect_equal(seen, 3000)
    expect_equal(value(con, 'SELECT sum(v) FROM t'), 3000)


def readers_are_not_blocked_by_a_writer_and_do_not_block(scratch):
    writer, reader = make(), connect('app', timeout=0)
    writer.execute('BEGIN EXCLUSIVE')
    writer.execute('UPDATE t SET v=1')
    expect_equal(value(reader, 'SELECT sum(v) FROM t'), 0)
    reader.execute('BEGIN')
    value(reader, 'SELECT 1 FROM t')
    writer.execute('COMMIT')
    expect_equal(value(reader, 'SELECT sum(v) FROM t'), 0)
    reader.execute('COMMIT')
    expect_equal(value(reader, 'SELECT sum(v) FROM t'), 100)


def a_second_writer_gets_busy_with_the_holders_pid(scratch):
    one, two = make(), connect('app', timeout=0)
    one.execute('BEGIN IMMEDIATE')
    expect_equal(error_code(two.execute, 'BEGIN IMMEDIATE'), 'SQLITE_BUSY')
    expect('process %d has held the lock' % os.getpid() in value(two, 'SELECT turdb_last_error()'))
    expect_equal(error_code(two.execute, 'INSERT INTO t VALUES(NULL, 1)'), 'SQLITE_BUSY')
    one.execute('ROLLBACK')
    two.execute('INSERT INTO t VALUES(NULL, 1)')


def busy_timeout_is_waited_once(scratch):
    one, two = make(), connect('app', timeout=0.6)
    one.execute('BEGIN IMMEDIATE')
    for sql in ('BEGIN IMMEDIATE', 'INSERT INTO t VALUES(NULL, 1)', 'UPDATE t SET v=2'):
        started = time.monotonic()
        expect_equal(error_code(two.execute, sql), 'SQLITE_BUSY')
        took = time.monotonic() - started
        expect(0.55 < took < 0.95, '%s gave up after %.2f s' % (sql, took))


def a_waiting_writer_goes_on_as_soon_as_it_may(scratch):
    one, two = make(), connect('app', timeout=10, check_same_thread=False)
    one.execute('BEGIN IMMEDIATE')
    done = []
    thread = threading.Thread(target=lambda: (two.execute('UPDATE t SET v=v+1'), done.append(time.monotonic())))
    thread.start()
    time.sleep(0.5)
    one.execute('UPDATE t SET v=v+10')
    one.execute('COMMIT')
    released = time.monotonic()
    thread.join()
    expect(done[0] - released < 0.09, 'it took %.0f ms' % ((done[0] - released) * 1000))
    expect_equal(value(one, 'SELECT sum(v) FROM t'), 1100)


def a_busy_handler_that_counts_is_asked_to_its_end(scratch):
    make().close()
    out = python('''
import ctypes
one, two = connect("app"), connect("app", timeout=0)
calls = []
HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
handler = HANDLER(lambda context, count: (calls.append(count), count < 5)[1])
class Connection(ctypes.Structure):
    _fields_ = [("refcount", ctypes.c_ssize_t), ("type", ctypes.c_void_p), ("db", ctypes.c_void_p)]
db = Connection.from_address(id(two)).db
ctypes.CDLL("libsqlite3.so.0").sqlite3_busy_handler(ctypes.c_void_p(db), handler, None)
one.execute("BEGIN IMMEDIATE")
for _ in range(2):
    try:
        two.execute("INSERT INTO t VALUES(NULL, 5)")
    except sqlite3.OperationalError as error:
        print(calls, error)
    calls.clear()
''')
    expect_equal(out.strip().split('\n'), ['[0, 1, 2, 3, 4, 5] database is locked'] * 2)


# A statement that writes claims the writer lock as it begins, once contention was met. This one
# writes elsewhere: the claim stayed until its transaction ended.
def who_writes_only_a_temporary_table_keeps_nobody_from_writing(scratch):
    for number, (kind, cached) in enumerate((('TABLE t', False), ('TABLE t', True), ('VIRTUAL TABLE t USING turdb', False))):
        one = connect('app%d' % number, check_same_thread=False)
        two = connect('app%d' % number, timeout=0, check_same_thread=False)
        if cached:
            one.execute('PRAGMA mmap_size=0')
        one.execute('CREATE %s(id INTEGER PRIMARY KEY, v)' % kind)
        one.execute('INSERT INTO t VALUES(1, 1)')
        one.execute('CREATE TEMP TABLE x(id, v)')
        for insert in ('INSERT INTO temp.x SELECT * FROM t', 'INSERT INTO x SELECT * FROM t WHERE id=1'):
            two.execute('BEGIN IMMEDIATE')
            threading.Timer(0.05, two.execute, args=('COMMIT',)).start()
            one.execute('INSERT INTO t VALUES(NULL, 1)')  # they meet
            value(one, 'SELECT count(*) FROM t')
            one.execute('BEGIN')
            one.execute(insert)
            two.execute('UPDATE t SET v=v+1 WHERE id=1')
            two.execute('UPDATE t SET v=v+1 WHERE id=1')
            expect_equal(error_code(one.execute, 'UPDATE t SET v=0'), 'SQLITE_BUSY_SNAPSHOT')
            one.execute('COMMIT')
            one.execute('UPDATE t SET v=v+1 WHERE id=1')
        expect_equal(value(two, 'SELECT v FROM t WHERE id=1'), 7)


# (rule 11)
def a_stale_writer_gets_busy_snapshot(scratch):
    one, two = make(), connect('app', timeout=1)
    two.execute('BEGIN')
    value(two, 'SELECT * FROM t')
    one.execute('UPDATE t SET v=5')
    started = time.monotonic()
    expect_equal(error_code(two.execute, 'UPDATE t SET v=6'), 'SQLITE_BUSY_SNAPSHOT')
    expect(time.monotonic() - started < 0.5)
    expect_equal(value(two, 'SELECT sum(v) FROM t'), 0)
    two.execute('ROLLBACK')
    two.execute('UPDATE t SET v=6')
    expect_equal(value(one, 'SELECT sum(v) FROM t'), 600)


# What a transaction reads may be known from the one before, page, cursor and all: nobody
# asks the store, which then took the writer for one that had read nothing.
# (rule 11)
def a_writer_is_stale_also_when_what_it_read_was_known(scratch):
    one, two = connect('app'), connect('app')
    one.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v INTEGER, INDEX t_v(v))')
    one.execute('INSERT INTO t VALUES(1, 1)')
    for sql in ('SELECT v FROM t WHERE id=1', 'SELECT v FROM t', 'SELECT id FROM t WHERE v>0',
                "SELECT turdb_count('t') FROM sqlite_schema", "SELECT turdb_count('t')"):
        for _ in range(2):
            one.execute('BEGIN')
            one.execute(sql).fetchall()
            one.execute('COMMIT')
        one.execute('BEGIN')
        one.execute(sql).fetchall()
        two.execute('UPDATE t SET v=v+1')
        expect_equal((sql, error_code(one.execute, 'UPDATE t SET v=0')), (sql, 'SQLITE_BUSY_SNAPSHOT'))
        one.execute('ROLLBACK')
    expect_equal(value(one, 'SELECT v FROM t'), 6)


def turdb_count_counts_what_its_transaction_sees(scratch):
    one, two = connect('app'), connect('app')
    one.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY)')
    one.execute("ATTACH 'file:other?vfs=turdb' AS other")
    one.execute('CREATE VIRTUAL TABLE other.t USING turdb(id INTEGER PRIMARY KEY)')
    two.execute('INSERT INTO t VALUES(1), (2)')
    one.execute('BEGIN')
    expect_equal(one.execute("SELECT turdb_count('t'), turdb_count('main.t'), turdb_count('other.t')").fetchone(), (2, 2, 0))
    two.execute('INSERT INTO t VALUES(3)')
    expect_equal(value(one, "SELECT turdb_count('t')"), 2)
    expect_equal(value(one, 'SELECT count(*) FROM t'), 2)
    one.execute('COMMIT')
    expect_equal(value(one, "SELECT turdb_count('t')"), 3)
    one.execute('BEGIN')
    one.execute('INSERT INTO t VALUES(4)')
    expect_equal(value(one, "SELECT turdb_count('t')"), 4)
    one.execute('ROLLBACK')
    two.execute('INSERT INTO t VALUES(4)')  # nothing is held
    expect_equal(value(one, "SELECT turdb_count('t')"), 4)
    expect_error('no such turdb table', one.execute, "SELECT turdb_count('nope')")
    one.execute('CREATE TABLE plain(a)')
    expect_error('plain', one.execute, "SELECT turdb_count('plain')")


def an_open_select_keeps_its_snapshot_when_others_write(scratch):
    one, two = make(rows=3000), connect('app', timeout=0)
    one.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, v INTEGER)')
    one.execute('INSERT INTO u SELECT * FROM t')
    for table in ('t', 'u'):
        rows = one.execute('SELECT v FROM %s ORDER BY id' % table)
        rows.fetchone()
        one.execute('UPDATE u SET v=1 WHERE id=1')
        two.execute('UPDATE u SET v=2')
        expect_equal((table, error_code(one.execute, 'UPDATE u SET v=3')), (table, 'SQLITE_BUSY_SNAPSHOT'))
        expect_equal(sum(row[0] == 2 for row in rows), 0)
        two.execute('UPDATE u SET v=0')


# It used to wait five seconds for the writer, whatever the busy timeout.
def a_passive_checkpoint_waits_for_nobody(scratch):
    one, two = make(), connect('app', timeout=0.4)
    one.execute('UPDATE t SET v=1')
    one.execute('BEGIN IMMEDIATE')
    for sql, least, most in (('PRAGMA wal_checkpoint', 0, 0.3), ('PRAGMA wal_checkpoint(PASSIVE)', 0, 0.3),
                             ('PRAGMA wal_checkpoint(TRUNCATE)', 0.35, 2)):
        started = time.monotonic()
        two.execute(sql).fetchall()
        took = time.monotonic() - started
        expect(least <= took < most, '%s took %.2f s' % (sql, took))
    one.execute('COMMIT')
    two.execute('PRAGMA wal_checkpoint').fetchall()


# A transaction of the same thread never ends meanwhile.
def a_checkpoint_waits_for_a_writer_as_long_as_busy_timeout(scratch):
    one = make()
    one.execute('UPDATE t SET v=1')
    one.execute('BEGIN IMMEDIATE')
    for timeout, most in ((0, 1), (0.5, 2)):
        two = connect('app', timeout=timeout)
        started = time.monotonic()
        expect_equal(value(two, 'SELECT turdb_checkpoint()'), 0)
        took = time.monotonic() - started
        expect(timeout <= took < most, 'timeout %g took %.2f s' % (timeout, took))
    one.execute('COMMIT')
    expect_equal(value(two, 'SELECT turdb_checkpoint()'), 1)


def begin_on_one_thread_commit_on_another(scratch):
    con = connect('app', check_same_thread=False)
    con.execute('CREATE TABLE t(a)')
    con.execute('BEGIN')
    for i in range(20):
        thread = threading.Thread(target=con.execute, args=('INSERT INTO t VALUES(%d)' % i,))
        thread.start()
        thread.join()
    thread = threading.Thread(target=con.execute, args=('COMMIT',))
    thread.start()
    thread.join()
    other = connect('app')
    expect_equal(value(other, 'SELECT count(*) FROM t'), 20)
    other.execute('INSERT INTO t VALUES(99)')


def writers_in_threads_lose_nothing(scratch):
    make(rows=8).close()
    count, failures = scaled(150, 30), []

    def work(n):
        con = connect('app', timeout=30)
        try:
            for i in range(count):
                if i % 3:
                    con.execute('UPDATE t SET v=v+1 WHERE id=?', (n + 1,))
                else:
                    con.execute('BEGIN IMMEDIATE')
                    old = value(con, 'SELECT sum(v) FROM t')
                    con.execute('UPDATE t SET v=v+1 WHERE id=?', (n + 1,))
                    expect_equal(value(con, 'SELECT sum(v) FROM t'), old + 1)
                    con.execute('COMMIT')
        except Exception as error:
            failures.append(str(error))
        con.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect_equal(failures, [])
    con = connect('app')
    expect_equal(con.execute('SELECT v FROM t').fetchall(), [(count,)] * 8)
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


WORKER = '''
con = connect("app", timeout=30)
con.execute("PRAGMA synchronous=" + sys.argv[2])
for i in range(int(sys.argv[3])):
    con.execute("UPDATE t SET v=v+1 WHERE id=?", (int(sys.argv[1]),))
    if con.execute("SELECT count(*), count(DISTINCT v >= 0) FROM t").fetchone() != (4, 1):
        raise SystemExit("torn")
'''


def writers_in_processes_lose_nothing(scratch):
    make(rows=4).close()
    count = scaled(100, 20)
    children = [python(WORKER, n + 1, ('FULL', 'NORMAL', 'OFF', 'FULL')[n], count, wait=False) for n in range(4)]
    for child in children:
        output = child.communicate(timeout=120)[0]
        expect_equal((child.returncode, output), (0, ''))
    con = connect('app')
    expect_equal(con.execute('SELECT v FROM t').fetchall(), [(count,)] * 4)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


VICTIM = '''
con = connect("app", timeout=30)
n = int(sys.argv[1])
while True:
    con.execute("BEGIN IMMEDIATE")
    i = value(con, "SELECT v FROM t WHERE id=?", n) + 1
    con.execute("UPDATE t SET v=? WHERE id=?", (i, n))
    con.execute("UPDATE u SET v=? WHERE id=?", (i, n))
    con.execute("INSERT INTO big SELECT NULL, randomblob(3000) FROM t")
    if i % 7 == 0:
        con.execute("DELETE FROM big WHERE id % 2")
    con.execute("COMMIT")
    print(i, flush=True)
'''


def killed_writers_lose_no_acknowledged_commit(scratch):
    con = make(rows=3)
    con.execute('CREATE TABLE u AS SELECT * FROM t')
    con.execute('CREATE TABLE big(id INTEGER PRIMARY KEY, b)')
    random.seed(7)
    told = {1: 0, 2: 0, 3: 0}
    kill, pause, ends = 0, 0.5, time.monotonic() + 120
    while kill < scaled(9, 3) or (sum(told.values()) <= 10 and time.monotonic() < ends):
        kill += 1
        children = {n: python(VICTIM, n, wait=False) for n in told}
        time.sleep(pause + random.random() / 2)
        for n, child in children.items():
            child.send_signal(signal.SIGKILL)
        for n, child in children.items():
            lines = [line for line in child.communicate()[0].split('\n')[:-1]]
            expect(all(line.isdigit() for line in lines), lines[-3:])
            told[n] = max([told[n]] + [int(line) for line in lines])
        con.execute('BEGIN IMMEDIATE')  # as a writer: what a dead one left whole in the log is finished by then
        rows = dict(con.execute('SELECT id, v FROM t'))
        expect_equal(rows, dict(con.execute('SELECT id, v FROM u')))
        con.execute('ROLLBACK')
        for n in told:
            expect(told[n] <= rows[n] <= told[n] + 1, 'kill %d: %r told, %r found' % (kill, told, rows))
            told[n] = rows[n]
        if not any(told.values()):
            pause *= 2  # a busy machine needs longer to start a process at all
        expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
        expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    expect(sum(told.values()) > 10, told)


def a_killed_process_leaves_a_whole_database(scratch):
    make(rows=3).close()
    child = python('con = connect("app")\ncon.execute("BEGIN")\ncon.execute("UPDATE t SET v=99")\nprint("ready", flush=True)\n'
                   'sys.stdin.read()', wait=False)
    expect_equal(child.stdout.readline(), 'ready\n')
    child.kill()
    child.communicate()
    con = connect('app', timeout=2)
    con.execute('UPDATE t SET v=v+1')
    expect_equal(value(con, 'SELECT sum(v) FROM t'), 3)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def a_stopped_process_holds_up_nobody_but_writers(scratch):
    con = make(rows=3)
    child = python('con = connect("app")\ncon.execute("BEGIN")\nvalue(con, "SELECT * FROM t")\nprint("ready", flush=True)\n'
                   'sys.stdin.read()', wait=False)
    expect_equal(child.stdout.readline(), 'ready\n')
    child.send_signal(signal.SIGSTOP)
    for _ in range(20):
        con.execute('UPDATE t SET v=v+1')
    expect_equal(value(con, 'SELECT sum(v) FROM t'), 60)
    expect_equal(value(con, 'SELECT turdb_checkpoint()'), 1)
    expect(child.pid in [row[0] for row in con.execute('SELECT pid FROM turdb_readers')])
    child.send_signal(signal.SIGCONT)
    child.communicate()


# (rule 8)
def a_forked_child_is_told_so(scratch):
    con = make(rows=1)
    child = os.fork()
    if child == 0:
        try:
            con.execute('SELECT * FROM t').fetchall()
        except sqlite3.Error:
            os._exit(0 if 'before fork' in value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()') else 2)
        os._exit(1)
    expect_equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
    con.execute('UPDATE t SET v=1')


def begin_and_end_of_a_read_make_no_system_call(scratch):
    make().close()
    if not os.path.exists('/usr/bin/strace') or SANITIZER:
        skip('no strace, or a sanitizer build')
    code = ('con = connect("app"); con.execute("SELECT v FROM t WHERE id=1").fetchall()\n'
            'for i in range(int(sys.argv[1])): con.execute("SELECT v FROM t WHERE id=5").fetchall()\n')
    counts = []
    for selects in (1, 5001):
        subprocess.run(['/usr/bin/strace', '-f', '-qq', '-o', 'trace', sys.executable, '-c',
                        'import sys; sys.path.insert(0, %r); from sql import *; load()\n' % str(TOP / 'test/support') + code,
                        str(selects)], check=True)
        lines = [line for line in open('trace') if not any(w in line for w in (' brk(', ' munmap(', ' mmap(', ' mremap('))]
        counts.append(len(lines))
    expect(counts[1] - counts[0] < 50, '%d more system calls for 5,000 SELECTs' % (counts[1] - counts[0]))


main(globals())
