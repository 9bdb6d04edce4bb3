"""Rows with the same vector, or nearly the same, are all found, however they were loaded and whatever became of others."""
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

DIMENSIONS = 24


def packed(numbers):
    return struct.pack('<%df' % DIMENSIONS, *numbers)


def meaning(text):
    """As the demo does it: words hashed to dimensions."""
    numbers = [0.0] * DIMENSIONS
    for word in text.split():
        numbers[sum(map(ord, word)) * 7919 % DIMENSIONS] += 1.0
    return packed(numbers)


def opened(quantize, metric='cosine'):
    load()
    con = connect('app')
    con.execute("CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, text TEXT, "
                "v VECTOR(%d) HNSW (metric='%s', m=8, ef_construction=60, quantize='%s'))" % (DIMENSIONS, metric, quantize))
    return con


def descriptions(count, chance):
    """Many of few: a third are 'transitional package', others come up to fifty times."""
    words = ['editor', 'library', 'game', 'daemon', 'headers', 'docs', 'fonts', 'tools', 'plugin', 'shell', 'python', 'perl']
    pool = [' '.join(chance.sample(words, chance.randint(1, 6))) for _ in range(max(count // 50, 3))]
    return ['transitional package' if chance.random() < 0.33 else chance.choice(pool) for _ in range(count)]


def everything_is_found(con, sample):
    """A search for all rows of one text finds them; the newest row is found by a search of the usual width."""
    for text in sample:
        wanted = {row[0] for row in con.execute('SELECT id FROM t WHERE text = ?', (text,))}
        got = con.execute('SELECT id, distance FROM t WHERE v MATCH ? AND k = ?', (meaning(text), len(wanted))).fetchall()
        expect_equal(len(got), len(wanted))
        expect(all(abs(row[1]) < 1e-5 for row in got), '%s: %d of %d are near' % (
            text, sum(abs(row[1]) < 1e-5 for row in got), len(wanted)))
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def loaded_in_transactions_of(rows, quantize):
    chance = random.Random(5)
    con, count = opened(quantize), scaled(3000, 300)
    texts = descriptions(count, chance)
    for begin in range(0, count, rows):
        con.execute('BEGIN')
        con.executemany('INSERT INTO t(text, v) VALUES (?, ?)', [(t, meaning(t)) for t in texts[begin:begin + rows]])
        con.execute('COMMIT')
    everything_is_found(con, sorted(set(texts)))
    # Something new beside the crowd is found at once, by the narrowest search.
    for i in range(40):
        text = 'transitional package number x%d y%d' % (i, i * i)
        con.execute('INSERT INTO t(text, v) VALUES (?, ?)', (text, meaning(text)))
        got = con.execute('SELECT text, distance FROM t WHERE v MATCH ? AND k = 1', (meaning(text),)).fetchone()
        expect(got[1] < 1e-5, '%s: nearest is %r' % (text, got))
    con.execute('DELETE FROM t WHERE id % 3 = 0')
    con.executemany('INSERT INTO t(text, v) VALUES (?, ?)', [(t, meaning(t)) for t in texts[::3]])
    everything_is_found(con, sorted(set(texts)))
    con.close()


def equal_texts_loaded_in_one_transaction_are_found(scratch):
    loaded_in_transactions_of(1 << 30, 'sq8')


def equal_texts_loaded_in_many_transactions_are_found(scratch):
    loaded_in_transactions_of(7, 'none')


def equal_vectors_follow_rollbacks(scratch):
    con = opened('sq8', 'l2')
    con.executemany('INSERT INTO t(text, v) VALUES (?, ?)', [('a', packed([1.0] * DIMENSIONS))] * 300)
    con.execute('BEGIN')
    con.execute('DELETE FROM t WHERE id <= 150')
    con.execute('SAVEPOINT p')
    con.execute('DELETE FROM t')
    con.execute('ROLLBACK TO p')
    con.executemany('INSERT INTO t(text, v) VALUES (?, ?)', [('b', packed([1.0] * DIMENSIONS))] * 10)
    count = 'SELECT count(*) FROM t WHERE v MATCH ? AND k = 1000'
    expect_equal(value(con, count, packed([1.0] * DIMENSIONS)), 160)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.execute('ROLLBACK')
    expect_equal(value(con, count, packed([1.0] * DIMENSIONS)), 300)
    con.execute('UPDATE t SET v = ? WHERE id % 2 = 0', (packed([2.0] + [1.0] * (DIMENSIONS - 1)),))
    near = 'SELECT count(*) FROM t WHERE v MATCH ? AND distance < 0.5'
    expect_equal(value(con, near, packed([1.0] * DIMENSIONS)), 150)
    con.execute('UPDATE t SET id = -id')
    expect_equal(value(con, near, packed([2.0] + [1.0] * (DIMENSIONS - 1))), 150)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()


main(globals(), BOTH_HOMES)
