"""Texts and blobs too long for an index key are ordered, compared and kept unique by what they really are: as in ordinary tables."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def texts(chance):
    """Few beginnings, many ends: at the length where keys are cut, behind it, and far behind it."""
    head = chance.choice(['x', 'X', 'y', 'ä', 'a\x01']) * chance.choice([900, 1943, 1944, 1945, 1946, 1947, 3899, 4000, 9000])
    return head + ''.join(chance.choice('abAB \x01z') for _ in range(chance.randint(0, 5))) + ' ' * chance.randint(0, 2)


def literal(chance, pool):
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.2:
        return chance.choice([1, 2.5, -3])
    if kind < 0.3:
        return chance.choice(pool).encode()
    return chance.choice(pool)


COLUMNS = ['a TEXT', 'b COLLATE NOCASE', 'c TEXT COLLATE RTRIM', 'd']
INDEXES = ['i_a (a)', 'i_b (b DESC)', 'i_ca (c, a DESC)', 'i_db (d, b)', 'i_nd (n, d DESC, a)', 'i_an (a COLLATE NOCASE, n)']


def pair(unique=''):
    load()
    ours, stock = connect('app'), sqlite3.connect(':memory:', isolation_level=None)
    body = ', '.join(['id INTEGER PRIMARY KEY'] + COLUMNS + ['n INTEGER'])
    ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % ', '.join([body] + ([unique] if unique else []) +
                                                                     ['INDEX ' + i for i in INDEXES]))
    stock.execute('CREATE TABLE t(%s)' % ', '.join([body] + ([unique] if unique else [])))
    for index in INDEXES:
        stock.execute('CREATE INDEX %s ON t%s' % tuple(index.split(' ', 1)))
    return ours, stock


def short(rows):
    return [tuple((v[:3], len(v), v[-6:]) if isinstance(v, (str, bytes)) and len(v) > 20 else v for v in row) for row in rows]


def same(ours, stock, sql, arguments=(), ordered=True):
    got, wanted = short(ours.execute(sql, arguments).fetchall()), short(stock.execute(sql, arguments).fetchall())
    if not ordered:
        got, wanted = sorted(got, key=repr), sorted(wanted, key=repr)
    if got != wanted:
        at = [i for i, (x, y) in enumerate(zip(got, wanted)) if x != y][:1]
        raise AssertionError('%s %s: differs at %s of %d and %d: %r, wanted %r' % (
            sql, short([arguments]), at, len(got), len(wanted), got[at[0]:at[0] + 2] if at else '', wanted[at[0]:at[0] + 2] if at else ''))


def filled(seed, rows=300, unique=''):
    chance = random.Random(seed)
    pool = [texts(chance) for _ in range(40)]
    ours, stock = pair(unique)
    for con in (ours, stock):
        con.execute('BEGIN')
    for _ in range(rows):
        row = [literal(chance, pool) for _ in COLUMNS] + [chance.randint(0, 3)]
        for con in (ours, stock):
            con.execute('INSERT OR IGNORE INTO t(a, b, c, d, n) VALUES (?, ?, ?, ?, ?)', row)
    for con in (ours, stock):
        con.execute('COMMIT')
    return ours, stock, chance, pool


# (vtab/long_keys K1)
def order_by_is_true(scratch):
    ours, stock, chance, pool = filled(1)
    for order in ('a', 'a DESC', 'b', 'b DESC', 'c, a DESC', 'c DESC, a', 'd, b', 'd DESC, b DESC', 'n, d DESC, a', 'n DESC, d, a DESC',
                  'a COLLATE NOCASE, n', 'a COLLATE NOCASE DESC, n DESC'):
        # The rowid makes the order whole; alone it must be the walk's own.
        same(ours, stock, 'SELECT a, b, c, d, n FROM t ORDER BY %s, id' % order)
        columns = order.replace(' DESC', '').replace(' COLLATE NOCASE', '')
        sql = 'SELECT %s FROM t ORDER BY %s' % (columns, order)
        if 'NOCASE' in order or columns[0] in 'bcd':
            sql = sql.replace('SELECT ' + columns, 'SELECT 1')
        same(ours, stock, sql)
        if 'NOCASE' not in order:  # SQLite offers a virtual table no ORDER BY with COLLATE
            expect('TEMP B-TREE' not in str(ours.execute('EXPLAIN QUERY PLAN ' + sql).fetchall()), 'the index serves ' + order)


def distances_between_neighbours_in_order_are_right(scratch):
    """Collations leave ties open, so each neighbouring pair is compared by stock SQLite itself."""
    ours, stock, chance, pool = filled(2)
    for order, compare in (('b', 'SELECT ?1 COLLATE NOCASE <= ?2'), ('c', 'SELECT ?1 COLLATE RTRIM <= ?2'),
                           ('a COLLATE NOCASE', 'SELECT ?1 COLLATE NOCASE <= ?2')):
        rows = [r[0] for r in ours.execute('SELECT %s FROM t WHERE %s IS NOT NULL ORDER BY %s' % (order[0], order[0], order))]
        for left, right in zip(rows, rows[1:]):
            expect(stock.execute(compare, (left, right)).fetchone()[0], order)


def ranges_and_lists_are_true(scratch):
    ours, stock, chance, pool = filled(3)
    for _ in range(scaled(60)):
        column = chance.choice('abcd')
        low, high = chance.choice(pool), chance.choice(pool)
        for condition in ('%s < ?', '%s <= ?', '%s > ?', '%s >= ?', '%s = ?', '%s IS ?'):
            same(ours, stock, 'SELECT id FROM t WHERE ' + condition % column, (low,), ordered=False)
        same(ours, stock, 'SELECT id FROM t WHERE %s BETWEEN ? AND ?' % column, (low, high), ordered=False)
        same(ours, stock, 'SELECT id FROM t WHERE %s IN (?, ?, 1)' % column, (low, high), ordered=False)
        same(ours, stock, 'SELECT id FROM t WHERE n = ? AND d >= ? ORDER BY d DESC, a, id', (chance.randint(0, 3), low))
        same(ours, stock, 'SELECT a FROM t WHERE a >= ? ORDER BY a LIMIT 7', (low,))
        same(ours, stock, 'SELECT a FROM t WHERE a <= ? ORDER BY a DESC LIMIT 7', (low,))
    same(ours, stock, 'SELECT min(a), max(a), min(d), max(d) FROM t')
    same(ours, stock, 'SELECT a, count(*) FROM t GROUP BY a')
    same(ours, stock, 'SELECT count(*) FROM (SELECT DISTINCT b FROM t)')
    same(ours, stock, "SELECT id FROM t WHERE d = 1 ORDER BY b, id")


# (vtab/long_keys K2)
def unique_is_about_the_values(scratch):
    for seed, unique in enumerate(['UNIQUE (a)', 'UNIQUE (c, b)', 'UNIQUE (n, d DESC)'.replace(' DESC', '')]):
        os.mkdir(str(seed))
        os.chdir(str(seed))
        ours, stock, chance, pool = filled(seed, 200, unique)
        same(ours, stock, 'SELECT id, a, b, c, d FROM t', ordered=False)
        for _ in range(scaled(200)):
            row = [literal(chance, pool) for _ in COLUMNS] + [chance.randint(0, 3), chance.randint(1, 150)]
            sql = chance.choice(['INSERT INTO t(a, b, c, d, n) VALUES (?1, ?2, ?3, ?4, ?5)', 'UPDATE t SET a = ?1, b = ?2, c = ?3 WHERE id = ?6',
                                 'INSERT OR REPLACE INTO t(a, b, c, d, n) VALUES (?1, ?2, ?3, ?4, ?5)', 'DELETE FROM t WHERE id = ?6',
                                 'UPDATE OR REPLACE t SET d = ?4, n = ?5 WHERE id = ?6', 'UPDATE OR IGNORE t SET c = ?3 WHERE id = ?6'])
            errors = []
            for con in (ours, stock):
                try:
                    con.execute(sql, row[:5] + ([row[5]] if '?6' in sql else []))
                    errors.append(None)
                except sqlite3.IntegrityError as error:
                    errors.append(str(error))
            expect_equal(errors[0], errors[1])
        same(ours, stock, 'SELECT id, a, b, c, d FROM t', ordered=False)
        same(ours, stock, 'SELECT a FROM t ORDER BY a')
        expect_equal(value(ours, "SELECT turdb_check('t')"), 'ok')
        os.chdir(scratch)


def a_walk_goes_on_when_its_rows_change(scratch):
    load()
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a TEXT, INDEX i (a))')
    for i in range(40):
        con.execute('INSERT INTO t(a) VALUES (?)', ('%d' % (i // 10) + 'x' * 3000 + '%02d' % (39 - i),))
    seen = []
    for (a,) in con.execute('SELECT a FROM t ORDER BY a'):
        seen.append(a)
        if len(seen) == 5:
            con.execute('DELETE FROM t WHERE id BETWEEN 11 AND 12')
            con.execute("INSERT INTO t(a) VALUES ('1' || ?)", ('x' * 3000 + '99',))
    expect_equal([a for a in seen if a is not None], sorted(a for a in seen if a is not None))
    expect(36 <= len([a for a in seen if a is not None]) <= 39, len(seen))


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
