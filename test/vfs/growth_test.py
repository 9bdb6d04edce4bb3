"""However long somebody reads and however much is written meanwhile, a file stays within a few times its size.

Versions that no snapshot sees are reused, also those between the snapshots of readers of different ages.
"""
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) '
ROWS = 20000
UPDATES = scaled(40000, 6000)
MB = 1 << 20
KINDS = (('turdb', 'CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v INTEGER, w)'),
         ('ordinary', 'CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER, w)'))


def used(path):
    """Bytes of the data files and of turdb.meta, as du counts them."""
    names = [os.path.join(path, 'root', name) for name in os.listdir(os.path.join(path, 'root'))]
    return sum(os.stat(name).st_blocks * 512 for name in names + [os.path.join(path, 'turdb.meta')])


def begin(path):
    reader = connect(path)
    reader.execute('BEGIN')
    return reader, reader.execute('SELECT count(*), sum(v), sum(v * id) FROM t').fetchall()


def same(reader):
    con, seen = reader
    expect_equal(con.execute('SELECT count(*), sum(v), sum(v * id) FROM t').fetchall(), seen)


def build(path, create):
    con = connect(path)
    con.execute('PRAGMA synchronous=OFF')
    con.execute("SELECT turdb_config('checkpoint_mb', 4)").fetchall()
    con.execute(create)
    con.execute(NUMBERS % ROWS + 'INSERT INTO t SELECT i, 1000, hex(randomblob(50)) FROM n')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    return con


def update(con, number, pick):
    for i in range(number):
        con.execute('UPDATE t SET v=v+1 WHERE id=?', (pick.randrange(ROWS) + 1,))


def sound(con):
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def one_idle_reader_costs_its_own_versions_only(scratch):
    for kind, create in KINDS:
        con = build(kind, create)
        before = used(kind)
        reader = begin(kind)
        pick, sizes = random.Random(1), []
        for part in range(6):
            update(con, UPDATES // 6, pick)
            sizes.append(used(kind))
        same(reader)
        print('note %s: %.1f MB, then under %d updates: %s' % (
            kind, before / MB, UPDATES, ', '.join('%.1f' % (s / MB) for s in sizes)))
        # What the reader sees, the newest, the durable checkpoint and its candidate: each at most once.
        expect(sizes[-1] < 4 * before + 2 * MB, 'it grew to %d bytes' % sizes[-1])
        reader[0].execute('COMMIT')
        update(con, 100, pick)
        expect_equal(value(con, 'SELECT sum(v) FROM t'), ROWS * 1000 + UPDATES // 6 * 6 + 100)
        sound(con)


def readers_of_different_ages_cost_one_version_each(scratch):
    for kind, create in KINDS:
        con = build(kind, create)
        before = used(kind)
        pick, readers, sizes = random.Random(2), [], []
        for part in range(12):
            if len(readers) == 4:  # the oldest, the youngest or one in between leaves
                same(readers[pick.randrange(4)])
                readers.pop((0, 3, 1)[part % 3])[0].execute('COMMIT')
            readers.append(begin(kind))
            update(con, UPDATES // 24, pick)
            sizes.append(used(kind))
        for reader in readers:
            same(reader)
        print('note %s: %.1f MB, then with 4 readers: %s' % (
            kind, before / MB, ', '.join('%.1f' % (s / MB) for s in sizes)))
        expect(max(sizes) < 7 * before + 2 * MB, 'it grew to %d bytes' % max(sizes))
        for reader in readers:
            reader[0].execute('COMMIT')
        sound(con)
        con.execute('SELECT turdb_vacuum()').fetchall()
        print('note %s: %.1f MB when they have left' % (kind, used(kind) / MB))
        expect(used(kind) < 1.5 * before + MB)
        sound(con)


def a_reader_that_comes_and_goes_costs_nothing(scratch):
    con = build('app', KINDS[0][1])
    before = used('app')
    pick = random.Random(3)
    for part in range(200):
        reader = begin('app') if part % 3 == 0 else None
        update(con, UPDATES // 2000, pick)
        if reader:
            same(reader)
            reader[0].close()
    print('note %.1f MB, then %.1f' % (before / MB, used('app') / MB))
    expect(used('app') < 4 * before + 2 * MB)
    sound(con)


HEAP = """
import sqlite3
con = connect('app')
con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER, b)')
def heap(name):
    return value(con, "SELECT value FROM turdb_status WHERE name = ?", 'heap_' + name) // 1024
for sql in ("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, i, zeroblob(1000) FROM n",
            "UPDATE t SET v = v + 1 -- %d", "UPDATE t SET b = randomblob(1000) -- %d"):
    con.execute('BEGIN')
    con.execute(sql)
    con.execute('ROLLBACK' if 'random' in sql else 'COMMIT')
    print(heap('peak'), heap('used'))
print(value(con, "SELECT count(*) || ' ' || sum(v) || ' ' || sum(b != zeroblob(1000)) FROM t"), value(con, 'SELECT turdb_check()'))
"""


# (vfs/edit E3) Until it ends it remembers each page in some 300 bytes: a fiftieth of it.
def a_large_transaction_takes_heap_for_its_list_of_pages_only(scratch):
    rows = scaled(64000, 8000)
    *heaps, sums, check = python(HEAP.replace('%d', str(rows))).split('\n')[:4] + ['']
    peaks, left = zip(*(map(int, heap.split()) for heap in heaps))
    print('note %d MB inserted, changed, rewritten: heap peaks at %s KB, %s KB afterwards' % (
        rows // 1000, ', '.join(map(str, peaks)), ', '.join(map(str, left))))
    expect_equal(sums, '%d %d 0 ok' % (rows, rows * (rows + 1) // 2 + rows))
    pages = rows // 15
    expect(max(peaks) < 17 * 1024 + pages * 320 // 1024, 'it took %d KB' % max(peaks))
    expect(max(left) < 4096 + 512, 'it left %d KB behind' % max(left))  # images for the next


main(globals())
