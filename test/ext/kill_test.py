"""Processes are killed all the time; no acknowledged commit is lost, no reader sees half a commit or is kept waiting.

Two writers and two readers, started separately. Each transaction of a writer moves an amount between two accounts in an
ordinary table and in a turdb table, and writes its number into both and, as a vector, into a turdb table with a graph. What
a COMMIT has acknowledged is noted in a file before the next one begins. Every 50 ms one process gets SIGKILL and a new one
takes its place; now and then all do.
"""
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from sql import *  # noqa: F401,F403,E402

ACCOUNTS, AMOUNT, WRITERS, READERS = 40, 1000, 2, 2


def has_module():
    try:
        sqlite3.connect(':memory:').execute('CREATE VIRTUAL TABLE temp.probe USING turdb(id INTEGER PRIMARY KEY)')
    except sqlite3.OperationalError as error:
        return 'no such module' not in str(error)
    return True


def make_database():
    con = connect('app')
    con.execute('BEGIN')
    con.execute('CREATE TABLE ordinary(id INTEGER PRIMARY KEY, amount)')
    con.execute('CREATE TABLE done(writer, n, PRIMARY KEY(writer, n))')
    if has_module():
        con.execute('CREATE VIRTUAL TABLE own USING turdb(id INTEGER PRIMARY KEY, amount INTEGER, INDEX by_amount(amount))')
        con.execute('CREATE VIRTUAL TABLE own_done USING turdb(id INTEGER PRIMARY KEY, writer INTEGER, n INTEGER, '
                    'UNIQUE(writer, n), v VECTOR(4) HNSW (metric=l2, m=8))')
    else:
        con.execute('CREATE TABLE own(id INTEGER PRIMARY KEY, amount)')
        con.execute('CREATE TABLE own_done(id INTEGER PRIMARY KEY, writer, n, v, UNIQUE(writer, n))')
    for table in ('ordinary', 'own'):
        for i in range(ACCOUNTS):
            con.execute('INSERT INTO %s VALUES(?, ?)' % table, (i, AMOUNT))
    con.execute('COMMIT')
    con.close()


WRITER = '''
import os, random, time
writer, told = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
con = connect('app', '&cache_kb=256&checkpoint_mb=1', timeout=30)
con.execute('PRAGMA synchronous=%s' % random.choice(['FULL', 'NORMAL', 'OFF']))
# As the writer: what the one before left whole in the log is finished by then.
while not con.in_transaction:
    try:
        con.execute('BEGIN IMMEDIATE')
    except sqlite3.OperationalError:
        pass
n = value(con, 'SELECT ifnull(max(n), 0) FROM done WHERE writer=?', writer)
con.execute('ROLLBACK')
if n:
    os.write(told, b'%d\\n' % n)  # the one before may not have come to it, and what was seen stays
while True:
    n += 1
    try:
        con.execute('BEGIN IMMEDIATE')
        for table in ('ordinary', 'own'):
            a, b, x = random.randrange(40), random.randrange(40), random.randrange(9)
            con.execute('UPDATE %s SET amount = amount - ? WHERE id = ?' % table, (x, a))
            con.execute('UPDATE %s SET amount = amount + ? WHERE id = ?' % table, (x, b))
        con.execute('SAVEPOINT s')
        con.execute('DELETE FROM own WHERE id < 20')
        con.execute('ROLLBACK TO s')
        con.execute('INSERT INTO done VALUES(?, ?)', (writer, n))
        con.execute("INSERT INTO own_done(writer, n, v) VALUES(?, ?, printf('[%d, %d, 1, 2]', ?, ?))", (writer, n, writer, n))
        con.execute('COMMIT')
    except sqlite3.OperationalError as error:
        if 'locked' not in str(error) and 'busy' not in str(error):
            raise
        if con.in_transaction:
            con.execute('ROLLBACK')
        n -= 1
        continue
    os.write(told, b'%d\\n' % n)
'''

READER = '''
import os, time
note = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
con = connect('app', timeout=0)
while True:
    began = time.monotonic()
    con.execute('BEGIN')
    sums = [value(con, 'SELECT sum(amount) FROM %s' % table) for table in ('ordinary', 'own')]
    if sums != [40000, 40000]:
        sys.exit('a torn read: the sums are %r' % sums)
    both = [con.execute('SELECT writer, max(n), count(*) FROM %s GROUP BY writer ORDER BY writer' % table).fetchall()
            for table in ('done', 'own_done')]
    if both[0] != both[1]:
        sys.exit('a torn read: %r in one table, %r in the other' % tuple(both))
    for writer, newest, count in both[0]:
        if newest != count:
            sys.exit('writer %d: the newest is %d, there are %d' % (writer, newest, count))
    con.execute('COMMIT')
    os.write(note, b'%d\\n' % int((time.monotonic() - began) * 1e6))
'''


class Process:
    def __init__(self, kind, number):
        self.kind, self.number = kind, number
        self.start()

    def start(self):
        code, name = (WRITER, 'told') if self.kind == 'writer' else (READER, 'read')
        self.child = python(code, self.number, '%s-%d' % (name, self.number), wait=False)

    def kill(self):
        self.child.kill()
        output = self.child.communicate()[0]
        expect_equal((self.kind, self.child.returncode, output), (self.kind, -signal.SIGKILL, ''))


def numbers(path):
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        return [int(line) for line in lines if line.endswith('\n')]


def has_written():
    """Whether both a writer and a reader have come to something yet."""
    notes = [['%s-%d' % (name, i) for i in range(count)] for name, count in (('told', WRITERS), ('read', READERS))]
    return all(any(os.path.exists(note) and os.path.getsize(note) for note in kind) for kind in notes)


def check_commits():
    con = connect('app')
    commits = 0
    for writer in range(WRITERS):
        told = max(numbers('told-%d' % writer) or [0])
        for table in ('done', 'own_done'):
            count, newest = con.execute('SELECT count(*), ifnull(max(n), 0) FROM %s WHERE writer=?' % table, (writer,)).fetchone()
            expect_equal(count, newest)
            expect(told <= newest <= told + 1, 'writer %d: %d acknowledged, %d found in %s' % (writer, told, newest, table))
        commits += newest
        if newest and has_module():
            near = con.execute("SELECT n FROM own_done WHERE v MATCH printf('[%d, %d, 1, 2]', ?, ?) AND k = 1", (writer, newest))
            expect_equal(near.fetchall(), [(newest,)])
    for table in ('ordinary', 'own'):
        expect_equal(value(con, 'SELECT sum(amount) FROM ' + table), ACCOUNTS * AMOUNT)
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    return commits


# (rule 4)
def killed_processes_lose_nothing_and_hinder_nobody(scratch):
    load()
    make_database()
    seconds, kills = 20 * float(os.environ.get('TEST_SCALE', '1')), 0
    seconds = max(seconds if seconds < 20 else 20, 2)
    processes = [Process('writer', i) for i in range(WRITERS)] + [Process('reader', i) for i in range(READERS)]
    choice = random.Random(7)
    began, all_at, checks, pause = time.monotonic(), time.monotonic() + 2, 0, 0.05
    while time.monotonic() < began + seconds or (not has_written() and time.monotonic() < began + 120):
        time.sleep(pause)
        # A slow machine needs longer than that to start a process at all.
        pause = 0.05 if has_written() else min(pause * 1.1, 5)
        if time.monotonic() > all_at:
            for process in processes:
                process.child.kill()
            for process in processes:
                process.kill()
            kills += len(processes)
            checks += 1
            check_commits()
            for process in processes:
                process.start()
            all_at = time.monotonic() + max(2.5, 5 * pause)
            continue
        process = choice.choice(processes)
        process.kill()
        process.start()
        kills += 1
    for process in processes:
        process.kill()
    commits = check_commits()
    reads = [us for i in range(READERS) for us in numbers('read-%d' % i)]
    expect(commits > 0 and len(reads) > 0, '%d commits, %d reads' % (commits, len(reads)))
    reads.sort()
    print('note %d kills, %d commits, %d reads of which 99 %% took less than %d us; all died together %d times'
          % (kills, commits, len(reads), reads[len(reads) * 99 // 100], checks))


main(globals())
