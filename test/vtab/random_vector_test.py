"""Random changes to rows with vectors, random searches among them: what a search finds is what comparing every row finds.

Two connections run the same statements: a turdb table with vector columns, and an ordinary table of stock SQLite that holds the
vectors as JSON texts. Rows come, change, go and come back by ROLLBACK TO; statements fail half-way. Every few steps searches are
compared with all distances, computed here: nothing that is gone or does not fit the condition, no row twice, each distance right,
as many rows as there are, nearly all of the nearest ones; and turdb_check() finds nothing. Seeds are fixed; TEST_SCALE grows their
number, TURDB_SEED=n runs one, TURDB_SEEDS=from-to a range.
"""
import array
import json
import math
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

METRICS = {'f32': ['l2', 'cosine', 'ip', 'l1'], 'f16': ['l2', 'cosine', 'ip', 'l1'], 'int8': ['l2', 'cosine', 'ip', 'l1'], 'bit': ['hamming']}
CONDITIONS = ['', '', 'n < 3', 'n = 2', 'n IN (1, 4, 9)', 'tag = \'a\'', 'tag = \'B\'', 'id > {mid}', 'id BETWEEN {low} AND {mid}', 'id IN ({low}, {mid}, 3)',
              'n IS NULL', 'n IS NOT 2', 'n <> 3', 'tag IN (\'a\', \'c\') AND n > 1', 'id = {mid}', 'n > 100', 'id < {mid} AND n < 5']
# Not handed down, so that they filter after the search: without k only.
AFTERWARDS = ['n % 2 = 0', 'tag LIKE \'a%\'', 'n = 1 OR n = 4', 'length(tag) = 1']


def distance(metric, a, b):
    if metric == 'l2':
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))
    if metric == 'l1':
        return sum(abs(x - y) for x, y in zip(a, b))
    if metric == 'hamming':
        return sum(x != y for x, y in zip(a, b))
    product = sum(x * y for x, y in zip(a, b))
    if metric == 'ip':
        return 1 - product
    return 1 - product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class Column:
    def __init__(self, chance, name):
        self.name = name
        self.element = chance.choice(['f32', 'f32', 'f32', 'f16', 'int8', 'bit'])
        self.dimensions = chance.choice([8, 16, 64] if self.element == 'bit' else [1, 2, 3, 8, 17, 40])
        self.metric = chance.choice(METRICS[self.element])
        self.graph = chance.random() < 0.85
        # Without a graph distances are l2, or hamming of bits.
        if not self.graph:
            self.metric = 'hamming' if self.element == 'bit' else 'l2'
        self.quantize = chance.choice(['none', 'sq8']) if self.element in ('f32',) else 'none'
        self.m, self.width = chance.choice([2, 4, 8, 16]), chance.choice([8, 20, 100])
        self.centres = [self.any(chance) for _ in range(chance.choice([1, 3, 10]))]

    def definition(self):
        kind = '' if self.element == 'f32' else ', ' + self.element
        graph = " HNSW (metric='%s', m=%d, ef_construction=%d, quantize='%s')" % (self.metric, self.m, max(self.width, self.m), self.quantize)
        return '%s VECTOR(%d%s)%s' % (self.name, self.dimensions, kind, graph if self.graph else '')

    def any(self, chance):
        if self.element == 'bit':
            return [chance.randint(0, 1) for _ in range(self.dimensions)]
        if self.element == 'int8':
            return [chance.randint(-128, 127) or 1 for _ in range(self.dimensions)]
        return [chance.randint(-800, 800) / 64 or 1.0 for _ in range(self.dimensions)]

    def vector(self, chance):
        """Near others, or equal to them, or anywhere: never zero throughout."""
        kind = chance.random()
        if kind < 0.3:
            return chance.choice(self.centres)
        if kind < 0.5:
            return self.any(chance)
        vector = list(chance.choice(self.centres))
        for _ in range(chance.randint(1, 3)):
            vector[chance.randrange(self.dimensions)] = self.any(chance)[0]
        return vector


class Run:
    def __init__(self, seed):
        load()
        wipe('app')
        self.chance = chance = random.Random('vector %s' % seed)
        self.columns = [Column(chance, name) for name in ['v', 'w'][:chance.choice([1, 1, 2])]]
        self.stock = sqlite3.connect(':memory:', isolation_level=None)
        self.options = chance.choice(['', '', '&cache_kb=256'])
        self.open()
        body = ['id INTEGER PRIMARY KEY', 'n INTEGER', 'tag TEXT COLLATE NOCASE', 'u UNIQUE']
        indexes = chance.sample(['INDEX i_n (n)', 'INDEX i_tag (tag, n)', 'INDEX i_nt (n DESC, tag)'], chance.randint(0, 2))
        self.ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % ', '.join(body + [c.definition() for c in self.columns] + indexes))
        self.stock.execute('CREATE TABLE t(%s)' % ', '.join(body + [c.name + ' TEXT' for c in self.columns]))
        self.log, self.hits, self.wanted = ['-- %s %s' % (self.columns[0].definition(), indexes)], 0, 0
        self.misplaced = 0

    def open(self):
        self.ours = connect('app', self.options)
        self.ours.execute('PRAGMA synchronous = off')

    def both(self, sql, *arguments):
        self.log.append(sql if not arguments else '%s  -- %.60r' % (sql, arguments))
        results = []
        for con in (self.ours, self.stock):
            try:
                con.execute(sql, arguments)
                results.append((None, con.in_transaction))
            except sqlite3.Error as error:
                results.append((str(error), con.in_transaction))
        self.expect(results[0] == results[1], 'ours %r, stock %r' % tuple(results))

    def expect(self, condition, what):
        expect(condition, condition or '%s\n    after\n    %s' % (what, '\n    '.join(self.log[-25:])))

    def values(self, fixed_id=None):
        chance = self.chance
        row = [fixed_id if fixed_id is not None else chance.choice([None, None, chance.randint(1, 400)]),
               chance.choice([None, 0, 1, 2, 3, 4, 5, 9]), chance.choice([None, 'a', 'A', 'b', 'c', 'abc']),
               chance.choice([None, None, None, None, chance.randint(1, 60)])]
        return row + [None if chance.random() < 0.08 else json.dumps(c.vector(chance)) for c in self.columns]

    def insert(self, clause='', rows=1):
        rows = [self.values() for _ in range(rows)]
        self.both('INSERT%s INTO t VALUES %s' % (clause, ', '.join('(%s)' % ', '.join('?' * len(r)) for r in rows)), *sum(rows, []))

    def change(self):
        chance, kind = self.chance, self.chance.random()
        clause = chance.choice(['', '', '', ' OR REPLACE', ' OR IGNORE', ' OR FAIL'])
        column = chance.choice(self.columns)
        id_ = chance.randint(1, 400)
        if kind < 0.3:
            self.insert(clause, chance.choice([1, 1, 1, 3, 30]))
        elif kind < 0.45:
            self.both('UPDATE t SET %s = ? WHERE id %s ?' % (column.name, chance.choice(['=', '=', '=', '<'])),
                      None if chance.random() < 0.1 else json.dumps(column.vector(chance)), chance.randint(1, 60))
        elif kind < 0.52:
            self.both('UPDATE%s t SET id = id %s WHERE id = ?' % (clause, chance.choice(['+ 1', '+ 500', '- 3'])), id_)
        elif kind < 0.6:
            self.both('UPDATE%s t SET n = ?, u = ? WHERE id = ?' % clause, chance.randint(0, 9), chance.randint(1, 60), id_)
        elif kind < 0.64:
            self.both('UPDATE t SET n = n + 1 WHERE id > ?', id_)
        elif kind < 0.76:
            self.both('DELETE FROM t WHERE ' + chance.choice(['id = %d' % id_, 'id BETWEEN %d AND %d' % (id_, id_ + 12), 'n = 3', 'id % 7 = 1']))
        elif kind < 0.78:
            self.both('DELETE FROM t' + chance.choice(['', ' WHERE id > 5', ' WHERE %s IS NOT NULL' % column.name]))
        elif kind < 0.8 and not self.ours.in_transaction:
            self.log.append('-- closed and opened')
            self.ours.close()
            self.open()
        else:
            name = chance.choice('pq')
            self.both(chance.choice(['BEGIN', 'COMMIT', 'COMMIT', 'ROLLBACK', 'SAVEPOINT ' + name, 'SAVEPOINT ' + name, 'RELEASE ' + name,
                                     'ROLLBACK TO ' + name, 'ROLLBACK TO ' + name]))

    def rows(self, column, condition=''):
        """(id, vector) of stock's rows that satisfy a condition."""
        found = self.stock.execute('SELECT id, %s FROM t WHERE %s IS NOT NULL%s' % (column.name, column.name, ' AND (%s)' % condition if condition else ''))
        return {id_: json.loads(text) for id_, text in found}

    def judge(self, got, right, column, query, what, late=False):
        """Rows that fit, each once, with their distances, in their order; `late`: a few may be met late (docs/LIMITS.md)."""
        ids = [row[0] for row in got]
        self.expect(len(set(ids)) == len(ids), '%s: a row twice: %r' % (what, ids))
        self.expect(not set(ids) - set(right), '%s: rows that do not fit or are not there: %r' % (what, set(ids) - set(right)))
        for id_, far in got:
            true = distance(column.metric, query, right[id_])
            self.expect(abs(true - far) <= 1e-5 * max(1, abs(true), math.sqrt(sum(x * x for x in query) * sum(x * x for x in right[id_]))
                                                      if column.metric == 'ip' else abs(true)),
                        '%s: row %d is %.9g away, not %.9g' % (what, id_, true, far))
        slack = 1e-5 * max([1] + [abs(row[1]) for row in got])
        misplaced = sum(a[1] > b[1] + slack for a, b in zip(got, got[1:]))
        self.expect(misplaced <= (2 + len(got) // 10 if late else 0), '%s: out of order: %r' % (what, got))
        self.misplaced += misplaced

    def search(self):
        chance = self.chance
        column = chance.choice(self.columns)
        query = column.vector(chance)
        some = sorted(self.rows(column)) or [1]
        condition = chance.choice(CONDITIONS).format(low=chance.choice(some), mid=chance.choice(some))
        kind, k = chance.random(), chance.choice([1, 3, 10, 50, 1000])
        tail, limit = ' AND k = %d' % k, k
        if kind < 0.2:
            tail += ' AND exact = 1'
        elif kind < 0.3:
            tail += ' AND ef = %d' % chance.choice([1, 10, 500])
        elif kind < 0.5:
            tail, limit = ' ORDER BY distance LIMIT %d' % k, k
            condition = chance.choice([condition, chance.choice(AFTERWARDS)])
        elif kind < 0.6:
            tail, limit = '', 10 ** 9
        right = self.rows(column, condition)
        where = '%s MATCH ?%s%s' % (column.name, ' AND (%s)' % condition if condition else '', tail)
        if 'ORDER' not in where:
            where += ' ORDER BY distance'
        what = 'SELECT id, distance FROM t WHERE ' + where
        got = self.ours.execute(what, (json.dumps(query),)).fetchall()
        what += ' of %s' % json.dumps(query)
        self.judge(got, right, column, query, what, column.graph and ' k = ' not in tail)
        self.expect(len(got) == min(limit, len(right)), '%s: %d rows of %d' % (what, len(got), min(limit, len(right))))
        true = sorted(distance(column.metric, query, v) for v in right.values())[:len(got)]
        hits = sum(row[1] <= true[-1] + 1e-5 * max(1, abs(true[-1])) for row in got)
        if 'exact' in tail or not column.graph:
            self.expect(hits == len(got), '%s: exact, but %d of %d' % (what, hits, len(got)))
        elif 'ef = 1' not in tail:
            self.hits, self.wanted = self.hits + hits, self.wanted + len(got)

    def range_and_join(self):
        column, chance = self.chance.choice(self.columns), self.chance
        query = column.vector(chance)
        right = self.rows(column)
        if right:
            bound = distance(column.metric, query, chance.choice(list(right.values())))
            near = {i: v for i, v in right.items() if distance(column.metric, query, v) < bound + 1e-4}
            sql = 'SELECT id, distance FROM t WHERE %s MATCH ? AND distance < ? ORDER BY distance' % column.name
            got = self.ours.execute(sql, (json.dumps(query), bound)).fetchall()
            self.judge(got, near, column, query, sql, column.graph)
            sql = 'SELECT b.id, b.distance FROM t a, t b WHERE a.id = ? AND b.%s MATCH a.%s AND b.k = 5' % (column.name, column.name)
            if column.element in ('f32',):
                from_id = chance.choice(list(right))
                got = self.ours.execute(sql + ' ORDER BY b.distance', (from_id,)).fetchall()
                self.judge(got, right, column, right[from_id], sql)
                self.expect(len(got) == min(5, len(right)), '%s: %d of %d rows' % (sql, len(got), len(right)))

    def compare(self):
        reads = ', '.join('iif({0} IS NULL, NULL, vec_to_json({0}))'.format(c.name) for c in self.columns)
        got = self.ours.execute('SELECT id, n, tag, u, %s FROM t ORDER BY id' % reads).fetchall()
        wanted = self.stock.execute('SELECT * FROM t ORDER BY id').fetchall()
        plain = lambda rows: [row[:4] + tuple(t and json.loads(t) for t in row[4:]) for row in rows]
        got, wanted = plain(got), plain(wanted)
        self.expect(got == wanted, 'got %.300r, wanted %.300r' % ([r for r in got if r not in wanted], [r for r in wanted if r not in got]))

    def go(self, rounds):
        for _ in range(3):
            self.insert('', self.chance.choice([1, 20, 100]))
        for number in range(rounds):
            for _ in range(self.chance.randint(1, 6)):
                self.change()
            self.compare()
            for _ in range(3):
                self.search()
            self.range_and_join()
            self.expect(value(self.ours, 'SELECT turdb_check()') == 'ok', 'check: %s' % value(self.ours, 'SELECT turdb_check()'))
        self.ours.close()
        self.stock.close()
        return self.hits, self.wanted


def random_searches_find_what_comparing_every_row_finds(scratch):
    hits = wanted = 0
    told = []
    for seed in seeds(8):
        try:
            run = Run(seed)
            found, there = run.go(25)
            hits, wanted = hits + found, wanted + there
            expect(found >= 0.9 * there, 'recall %.3f: %s' % (found / max(there, 1), run.log[0]))
        except (AssertionError, sqlite3.Error) as failure:
            told.append('seed %s: %s: %s' % (seed, type(failure).__name__, failure))
            if 'TURDB_SEEDS' not in os.environ:
                break
            print(told[-1], flush=True)
    expect(not told, '\n'.join(told[:3]))
    print('note recall %.4f of %d' % (hits / max(wanted, 1), wanted), flush=True)
    expect(hits >= 0.98 * wanted, 'recall %.4f' % (hits / max(wanted, 1)))


main(globals(), BOTH_HOMES)
