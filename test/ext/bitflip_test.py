"""A flipped bit in a closed database is found and named, or every answer and every check is as before.

Ordinary tables, a turdb table with two indexes, and vectors with a graph; one bit of one file is flipped (turdb.shm, which is
worthless, apart), mostly where something is; then everything is read in every way and checked.
"""
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from sql import *  # noqa: F401,F403,E402

QUERIES = (
    'SELECT * FROM o ORDER BY id',
    'SELECT k, v FROM o WHERE k > 3 ORDER BY k, id',
    'SELECT id, a, b, hex(v) FROM own ORDER BY id',
    'SELECT a, id FROM own WHERE a >= 0 ORDER BY a, id',
    "SELECT id FROM own WHERE b > '1' ORDER BY b",
    "SELECT id, distance FROM own WHERE v MATCH '[3, 1, 4, 1, 5, 9, 2, 6]' AND k = 20 ORDER BY distance, id",
    'PRAGMA integrity_check',
    'SELECT turdb_check()',
)


def make():
    con = connect('app')
    con.execute('CREATE TABLE o(id INTEGER PRIMARY KEY, k, v TEXT)')
    con.execute('CREATE INDEX ok ON o(k)')
    con.execute('CREATE VIRTUAL TABLE own USING turdb(id INTEGER PRIMARY KEY, a INTEGER, b TEXT UNIQUE, '
                "v VECTOR(8) HNSW (metric='l2', m=8), INDEX own_a(a))")
    for part in range(6):
        con.execute('BEGIN')
        for i in range(part * 100, part * 100 + 100):
            con.execute('INSERT INTO o VALUES(?, ?, ?)', (i, i % 13, 'o' * (i % 300)))
            con.execute('INSERT INTO own VALUES(?, ?, ?, ?)',
                        (i, i % 17, '%d-%s' % (i, 'b' * (i * 7 % 500)), '[%s]' % ', '.join(str(i * j % 97) for j in range(1, 9))))
        con.execute('COMMIT')
        con.execute('DELETE FROM own WHERE id % 29 = ?', (part,))
    con.execute("INSERT INTO own(id, b) VALUES(5000, ?)", ('long' * 20000,))
    con.close()


def files():
    found = []
    for folder, _, names in os.walk('app'):
        found += [os.path.join(folder, name) for name in names if name != 'turdb.shm']
    return sorted(found)


def choose(choice, paths):
    for _ in range(12):
        path = choice.choice(paths)
        at = choice.randrange(os.path.getsize(path))
        with open(path, 'rb') as file:
            file.seek(at // 512 * 512)
            if any(file.read(512)):
                break
    return path, at, 1 << choice.randrange(8)


def flip(path, at, mask):
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)[0] ^ mask
        file.seek(at)
        file.write(bytes([byte]))


def answers(path, sentences):
    """All answers, or None and what was said about it."""
    con = None
    try:
        con = connect(path)
        return [con.execute(sql).fetchall() for sql in QUERIES]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        plain = sqlite3.connect(':memory:')
        sentences += [str(error), value(plain, 'SELECT turdb_last_error()')]
        plain.close()
        return None
    finally:
        if con:
            con.close()


def each_flipped_bit_is_named_or_harmless(scratch):
    load()
    make()
    wanted = answers('app', [])
    expect_equal(wanted[-2:], [[('ok',)], [('ok',)]])
    choice = random.Random(int(os.environ.get('TEST_SEED', '11')))
    told, paths, count = 0, files(), scaled(400, 40)
    for _ in range(count):
        path, at, mask = choose(choice, paths)
        shutil.copytree('app', 'copy', copy_function=shutil.copyfile)
        flip(os.path.join('copy', os.path.relpath(path, 'app')), at, mask)
        sentences = []
        got = answers('copy', sentences)
        shutil.rmtree('copy')
        if got == wanted:
            continue
        told += 1
        where = '%s, byte %d, bit %02x: ' % (path, at, mask)
        if got is not None:
            sentences = [row[0] for row in got[-1] if row[0] != 'ok']
            differing = [sql for sql, left, right in zip(QUERIES, got, wanted) if left != right]
            expect(sentences, where + 'nobody said anything, but other answers to %r' % differing)
        known = 'wal' if '/wal/' in path else os.path.basename(path)
        expect(any(known in s for s in sentences), where + 'it is not named: %r' % sentences)
    print('note %d of %d flips in %d files were reported' % (told, count, len(paths)))
    expect(told > count / 8)
    expect_equal(answers('app', []), wanted)


main(globals())
