"""Two or three connections do the same random things on stock SQLite in WAL mode and on a directory: every result code and
every value read is the same, or the difference is in the list with its reason, and is seen.

A schedule is a list of steps (connection, operation). Three databases play it side by side: an ordinary file in WAL mode, a
directory with ordinary tables, and a directory where the table u is a turdb table. Nobody waits (busy_timeout 0), so one
thread plays all. A difference ends a schedule.
"""
import pathlib
import random
import re
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()

STEPS, SCHEDULES_PER_DATABASE = 40, 50

# (weight, SQL): {t} is a table, {n} a small number. A SELECT is read to its end, but see `open`.
OPERATIONS = [
    (10, 'BEGIN'), (6, 'BEGIN IMMEDIATE'), (2, 'BEGIN EXCLUSIVE'), (12, 'COMMIT'), (5, 'ROLLBACK'),
    (14, 'SELECT id, v FROM {t} ORDER BY id'), (8, 'SELECT v FROM {t} WHERE id={n}'), (4, 'SELECT count(*), sum(u.v) FROM t JOIN u USING(id)'),
    (12, 'UPDATE {t} SET v=v+1 WHERE id={n}'), (4, 'UPDATE {t} SET v=v+{n}'), (8, 'INSERT INTO {t}(id, v) VALUES({m}, {n})'),
    (3, 'INSERT OR REPLACE INTO {t}(id, v) VALUES({n}, {m})'), (3, 'INSERT OR IGNORE INTO {t}(id, v) VALUES({n}, {m})'),
    (6, 'DELETE FROM {t} WHERE id={n}'), (4, 'INSERT INTO t(id, v) SELECT id + 10, v FROM u WHERE id={n}'),
    (4, 'SAVEPOINT s'), (3, 'ROLLBACK TO s'), (3, 'RELEASE s'),
    (2, 'CREATE TABLE IF NOT EXISTS x(a)'), (2, 'DROP TABLE IF EXISTS x'), (2, 'INSERT INTO x VALUES({n})'), (2, 'SELECT * FROM x'),
    (1, 'PRAGMA user_version={n}'), (2, 'PRAGMA user_version'), (1, 'VACUUM'), (1, 'SELECT changes()'),
    (6, 'open {t}'), (10, 'step'), (5, 'close'), (2, 'checkpoint'), (1, 'reconnect'), (2, 'data_version'),
]

# Where the directory with a turdb table may differ, and why. All must be seen.
REASONS = {
    'moved': 'what the transaction has read stands unchanged: only the turdb table differs, and it has read none, so it may go on where '
             'stock SQLite, which keeps all in one file, says SQLITE_BUSY_SNAPSHOT',
    'unchanged': 'what others committed since changed nothing (a change undone by ROLLBACK TO): to stock SQLite it is a commit',
    'reads on': 'a ROLLBACK that undoes a change of the schema ends the open reads of all b-trees of SQLite\'s; those of turdb tables go on '
                'with the rows that there are, as they do in stock SQLite after any other ROLLBACK',
}


class Side:
    def __init__(self, name, connections):
        self.name, self.count = name, connections
        self.connections = [self.connect() for _ in range(connections)]
        self.observer = self.connect()
        self.cursors = [None] * connections
        self.versions = [None] * connections
        self.has_read = [False] * connections  # the table u, since its transaction began
        self.seen = [None] * connections       # what there was when it did so
        self.open_sql = [None] * connections   # what the cursor reads
        first = self.connections[0]
        if name == 'stock':
            first.execute('PRAGMA journal_mode=wal')
        kind = 'VIRTUAL TABLE u USING turdb' if name == 'turdb' else 'TABLE u'
        first.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)')
        first.execute('CREATE %s(id INTEGER PRIMARY KEY, v INTEGER)' % kind)

    def connect(self):
        if self.name == 'stock':
            return sqlite3.connect('stock.db', isolation_level=None, timeout=0, cached_statements=0)
        con = connect(self.name, timeout=0, cached_statements=0)
        con.create_function('probe', 0, int)
        return con

    def reads(self, i):
        """Whether a statement of the connection is under way: SQLite does not exchange a function then. Python's cursor ends
        with the last row, not after it."""
        try:
            self.connections[i].create_function('probe', 0, int)
        except sqlite3.OperationalError:
            return True
        return False

    def reset(self):
        for i in range(self.count):
            self.close(i)
            if self.connections[i].in_transaction:
                self.connections[i].execute('ROLLBACK')
            self.versions[i] = None
            self.has_read[i] = False
        con = self.connections[0]
        con.execute('BEGIN IMMEDIATE')
        for sql in ('DROP TABLE IF EXISTS x', 'DELETE FROM t', 'DELETE FROM u', 'PRAGMA user_version=0'):
            con.execute(sql)
        for table in ('t', 'u'):
            con.execute('INSERT INTO %s VALUES(1, 10), (2, 20), (3, 30), (4, 40)' % table)
        con.execute('COMMIT')
        for con in self.connections:
            con.execute('UPDATE t SET v=v WHERE 0')  # changes() is 0

    def close(self, i):
        if self.cursors[i]:
            self.cursors[i].close()
        self.cursors[i] = None
        if not self.connections[i].in_transaction:
            self.has_read[i] = False

    def end(self):
        for i in range(self.count):
            self.close(i)
            self.connections[i].close()
        self.observer.close()

    def special(self, i, words):
        con = self.connections[i]
        if words[0] == 'open':
            self.close(i)
            self.open_sql[i] = 'SELECT id, v FROM %s ORDER BY id' % words[1]
            self.cursors[i] = con.execute(self.open_sql[i])
            return self.cursors[i].fetchone()
        if words[0] == 'step':
            return self.cursors[i].fetchone() if self.cursors[i] else None
        if words[0] == 'close':
            return self.close(i)
        if words[0] == 'checkpoint':
            con.execute('PRAGMA wal_checkpoint').fetchall()
            return None
        if words[0] == 'reconnect':
            self.close(i)
            con.close()
            self.connections[i], self.versions[i] = self.connect(), None
            return None
        old, self.versions[i] = self.versions[i], value(con, 'PRAGMA data_version')
        return old is None or old == self.versions[i]

    def run(self, i, operation):
        answer = self.answer(i, operation)
        if self.name != 'turdb':
            return answer
        if not self.connections[i].in_transaction and not self.reads(i):
            self.has_read[i] = False
        elif answer[0] == 'SQLITE_OK' and re.search(r'\bu\b', operation):
            if not self.has_read[i]:
                self.seen[i] = self.content()
            self.has_read[i] = True
        return answer

    def content(self):
        if self.name != 'turdb':
            return None
        return [self.observer.execute(sql).fetchall() for sql in (
            'SELECT * FROM t ORDER BY id', 'SELECT * FROM u ORDER BY id', 'PRAGMA user_version', 'SELECT * FROM sqlite_schema')]

    def reads_on(self, i, row):
        """Whether the cursor, which is at `row` of u, goes on with all that follows it there."""
        if not row or ' u ' not in self.open_sql[i]:
            return False
        rest = [r for r in self.connections[i].execute(self.open_sql[i]).fetchall() if r[0] > row[0]]
        return self.cursors[i].fetchall() == rest

    def answer(self, i, operation):
        """(result, values, text): the name of the result code, the rows read, the message."""
        try:
            words = operation.split()
            if words[0].islower():
                return 'SQLITE_OK', self.special(i, words), ''
            return 'SQLITE_OK', self.connections[i].execute(operation).fetchall(), ''
        except sqlite3.Error as error:
            if words[0] in ('step', 'open'):
                self.close(i)
            return getattr(error, 'sqlite_errorname', 'SQLITE_ERROR'), None, str(error)


def why_allowed(side, i, operation, stock, ours):
    """The reason for a difference, or None."""
    if side.name != 'turdb':
        return None
    if operation == 'step' and (stock[0], ours[0]) == ('SQLITE_ABORT_ROLLBACK', 'SQLITE_OK'):
        return 'reads on' if side.reads_on(i, ours[1]) else None
    if stock[0] != 'SQLITE_BUSY_SNAPSHOT' or ours[0].startswith('SQLITE_BUSY'):
        return None
    if not side.had_read:
        return 'moved'
    return 'unchanged' if side.before == side.seen[i] else None


def make_schedule(choice, connections):
    weights = [weight for weight, _ in OPERATIONS]
    steps = []
    for _ in range(STEPS):
        operation = choice.choices(OPERATIONS, weights)[0][1]
        steps.append((choice.randrange(connections), operation.format(t=choice.choice('tu'), n=choice.randint(1, 5), m=choice.randint(1, 9))))
    return steps


def differs(stock, ours, side, operation):
    if operation == 'data_version' and side.name == 'turdb':
        return False  # it does not see commits of turdb tables alone (docs/LIMITS.md)
    return stock[:2] != ours[:2]


# Rare by chance.
FIXED = [
    [(0, 'BEGIN'), (0, 'SELECT id, v FROM u ORDER BY id'), (1, 'BEGIN IMMEDIATE'), (1, 'SAVEPOINT s'), (1, 'DELETE FROM u WHERE id=2'),
     (1, 'ROLLBACK TO s'), (1, 'COMMIT'), (0, 'UPDATE t SET v=v+1 WHERE id=1')],
    [(0, 'open t'), (0, 'DROP TABLE IF EXISTS x'), (1, 'CREATE TABLE IF NOT EXISTS x(a)'), (0, 'close'), (0, 'SELECT * FROM x'),
     (0, 'open t'), (0, 'DROP TABLE IF EXISTS x'), (0, 'step')],
    [(0, 'BEGIN'), (0, 'SELECT v FROM t WHERE id=1'), (1, 'UPDATE u SET v=v+1 WHERE id=1'), (0, 'UPDATE t SET v=v+1 WHERE id=1')],
    [(0, 'BEGIN'), (0, 'SELECT v FROM u WHERE id=1'), (1, 'UPDATE u SET v=v+1 WHERE id=1'), (0, 'UPDATE t SET v=v+1 WHERE id=1')],
    [(0, 'open u'), (0, 'BEGIN IMMEDIATE'), (0, 'UPDATE u SET v=v+1'), (0, 'CREATE TABLE IF NOT EXISTS x(a)'), (0, 'ROLLBACK'), (0, 'step')],
    [(0, 'open u'), (0, 'BEGIN IMMEDIATE'), (0, 'UPDATE u SET v=v+1'), (0, 'ROLLBACK'), (0, 'step'), (0, 'step'), (0, 'step'), (0, 'step')],
    [(0, 'open u'), (0, 'step'), (0, 'step'), (0, 'step'), (0, 'BEGIN'), (0, 'SELECT v FROM t WHERE id=1'), (1, 'UPDATE u SET v=v+1 WHERE id=1'),
     (0, 'UPDATE t SET v=v+1 WHERE id=1')],
]


class Tally:
    def __init__(self):
        self.steps, self.codes, self.reasons, self.slowest = 0, {}, {}, (0, '')


def play(sides, schedule, seed, tally):
    stock, others = sides[0], list(sides[1:])
    played = []
    for i, operation in schedule:
        played.append('%d: %s' % (i, operation))
        wanted = stock.run(i, operation)
        tally.steps += 1
        tally.codes[wanted[0]] = tally.codes.get(wanted[0], 0) + 1
        for side in list(others):
            side.had_read = side.has_read[i]
            side.before = side.content() if wanted[0] == 'SQLITE_BUSY_SNAPSHOT' else None
            began = time.monotonic()
            got = side.run(i, operation)
            tally.slowest = max(tally.slowest, (time.monotonic() - began, operation))
            if not differs(wanted, got, side, operation):
                continue
            reason = why_allowed(side, i, operation, wanted, got)
            if not reason:
                raise AssertionError('schedule %s on %s, after\n    %s\n  stock SQLite says %r, the directory %r'
                                     % (seed, side.name, '\n    '.join(played), wanted, got))
            tally.reasons[reason] = tally.reasons.get(reason, 0) + 1
            others.remove(side)


# (vfs/door D2)
def the_same_schedules_give_the_same_answers(scratch):
    seed = int(os.environ.get('TEST_SEED', '1'))
    tally = Tally()
    sides = None
    for n in range(seed * 1000000, seed * 1000000 + scaled(600, 60)):
        choice = random.Random(n)
        if n % SCHEDULES_PER_DATABASE == 0:
            for side in sides or []:
                side.end()
            for name in ('ordinary', 'turdb'):
                shutil.rmtree(name, ignore_errors=True)
            for name in pathlib.Path('.').glob('stock.db*'):
                name.unlink()
            connections = 2 + n // SCHEDULES_PER_DATABASE % 2
            sides = [Side(name, connections) for name in ('stock', 'ordinary', 'turdb')]
        for side in sides:
            side.reset()
        play(sides, FIXED[n % 100] if n % 100 < len(FIXED) else make_schedule(choice, connections), n, tally)
    for side in sides[1:]:
        side.reset()
        expect_equal(value(side.connections[0], 'PRAGMA integrity_check'), 'ok')
        expect_equal(value(side.connections[0], 'SELECT turdb_check()'), 'ok')
        side.end()
    print('note %d steps: %s; differences: %s' % (tally.steps, tally.codes, tally.reasons))
    expect(tally.slowest[0] < 4, 'somebody waited: %r' % (tally.slowest,))  # a busy machine stops for a second
    for code in ('SQLITE_OK', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'SQLITE_LOCKED', 'SQLITE_ERROR'):
        expect(tally.codes.get(code), 'no schedule led to %s' % code)
    expect_equal(sorted(tally.reasons), sorted(REASONS))


main(globals())
