"""Conditions beside MATCH hold during the search: k counts rows that satisfy them, at any selectivity, with an index or not,
whether those rows lie near the query or far from it."""
import array
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

DIMENSIONS, CLUSTERS = 16, 40


def packed(numbers):
    return array.array('f', numbers).tobytes()


class Data:
    """Clusters of points, their labels ordered by distance from the first cluster."""

    def __init__(self, count, quantize='sq8', graph=True):
        load()
        self.chance = random.Random(11)
        self.count = count
        centres = [[self.chance.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(CLUSTERS)]
        self.centres = sorted(centres, key=lambda c: sum((a - b) ** 2 for a, b in zip(c, centres[0])))
        self.con = connect('app')
        self.con.execute("CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, label INTEGER, part INTEGER, name TEXT "
                         "COLLATE NOCASE, plain_label INTEGER, plain_part INTEGER, plain_name TEXT, INDEX by_label (label), "
                         "INDEX by_part (part, label), INDEX by_name (name), v VECTOR(%d)%s)"
                         % (DIMENSIONS, " HNSW (metric='l2', m=12, ef_construction=80, quantize='%s')" % quantize if graph else ''))
        self.con.execute('BEGIN')
        for i in range(1, count + 1):
            label, part = self.chance.randrange(CLUSTERS), self.chance.randrange(1000)
            name = self.chance.choice(['Ada', 'alan', 'grace', None])
            self.con.execute('INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)', (
                i, label, part, name, label, part, name, self.near(label)))
        self.con.execute('COMMIT')

    def near(self, label):
        return packed([x + self.chance.gauss(0, 0.25) for x in self.centres[label]])

    def ask(self, condition, vector, *arguments, k=10, exact=False):
        return self.con.execute('SELECT id, distance FROM t WHERE v MATCH ? AND k = ? AND exact = ? AND (%s) ORDER BY distance'
                                % condition, (vector, k, int(exact)) + arguments).fetchall()

    def truth(self, condition, vector, *arguments, k=10):
        """Without a filter in the search: every row by distance, then SQLite's own WHERE."""
        return self.con.execute('SELECT id, d FROM (SELECT id, distance AS d, label, part, name, plain_label, plain_part, '
                                'plain_name FROM t WHERE v MATCH ? AND k = 65536 AND exact = 1) WHERE (%s) ORDER BY d LIMIT %d'
                                % (condition, k), (vector,) + arguments).fetchall()

    def recall(self, condition, queries, *arguments, k=10):
        hits = total = 0
        for vector in queries:
            right = self.truth(condition, vector, *arguments, k=k)
            got = self.ask(condition, vector, *arguments, k=k)
            expect_equal(len(got), len(right))
            limit = right[-1][1] * 1.000001 if right else 0
            hits += sum(row[1] <= limit for row in got)
            total += len(right)
        return hits / max(total, 1)


def filtered_recall_holds_at_every_selectivity(scratch):
    data = Data(scaled(8000, 2000))
    queries = [data.near(label) for label in range(0, CLUSTERS, 3)]
    for column in ('part', 'plain_part'):
        for share in (500, 100, 10, 1):
            found = data.recall('%s < %d' % (column, share), queries)
            expect(found >= 0.95, '%s at %.1f %%: %.3f' % (column, share / 10, found))
    for column in ('label', 'plain_label'):
        first = [data.near(0) for _ in range(8)]
        for condition in ('{0} = 0', '{0} < 4', '{0} >= 36', '{0} = 39', '{0} BETWEEN 20 AND 39', '{0} IN (0, 39, 7)'):
            found = data.recall(condition.format(column), first)
            expect(found >= 0.95, '%s: %.3f' % (condition.format(column), found))
    for condition in ('id < 50', 'id > 1000 AND id <= 1800', 'id IN (5, 77, 1999, 123456)', 'id = 17', 'id % 7 = 3 OR id < 9',
                      'id IN (SELECT id FROM t WHERE part < 20)'):
        if '%' not in condition:
            found = data.recall(condition, queries[:4])
            expect(found >= 0.95, '%s: %.3f' % (condition, found))
    data.con.close()


def conditions_mean_what_they_mean_to_sqlite(scratch):
    for graph in (True, False):
        data = Data(scaled(1500, 600), 'none', graph)
        vector = data.near(3)
        for column in ('', 'plain_'):
            for condition, arguments in (
                    ('{0}name = ?', ('ADA',)), ('{0}name = ?', ('ada',)), ('{0}name IS NULL', ()), ('{0}name IS NOT NULL', ()),
                    ('{0}name <> ?', ('ada',)), ('{0}name IS NOT ?', ('grace',)), ('{0}name IS ?', (None,)),
                    ('{0}name > ?', ('b',)), ("{0}name IN ('ALAN', 'grace', NULL)", ()), ('{0}name = ?', (None,)),
                    ('{0}name NOT IN (?)', ('ada',)), ('{0}label = ?', ('7',)), ('{0}label = ?', (7.0,)), ('{0}label > ?', ('x',)),
                    ('{0}label < ?', ('x',)), ('{0}label >= 7.5', ()), ('{0}part = 5 AND {0}label < 20', ()),
                    ("{0}name = 'Ada' COLLATE BINARY", ()), ('{0}name > 5', ()), ('{0}name < 5', ()), ('{0}label IN (1, 2.0, 3)', ()),
                    ('{0}part > 100 AND {0}part < 300 AND {0}label <> 3', ()), ('{0}label = {0}part', ()),
                    ('{0}label IN (SELECT label FROM t WHERE id < 3)', ()), ("{0}name LIKE 'a%'", ())):
                text = condition.format(column)
                right = [row[1] for row in data.truth(text, vector, *arguments)]
                got = [row[1] for row in data.ask(text, vector, *arguments)]
                if 'LIKE' in text or 'NOT IN' in text or '= plain_part' in text or 'label = part' in text:
                    got = [row[0] for row in data.con.execute(
                        'SELECT distance FROM t WHERE v MATCH ? AND %s ORDER BY distance LIMIT 10' % text, (vector,) + arguments)]
                if ('<> ?' in text or 'IS NOT ?' in text) and 'plain' not in text:
                    right = right[:len(got)]  # SQLite does not tell the collation of these
                    expect(len(got) >= 5)
                expect([round(d, 5) for d in got] == [round(d, 5) for d in right], '%s %r: %d of %d' % (text, arguments, len(got), len(right)))
        data.con.close()
        wipe('app')


def a_filtered_search_goes_on_while_rows_change(scratch):
    data = Data(scaled(2000, 1000))
    vector, seen = data.near(0), []
    search = data.con.execute('SELECT id, part FROM t WHERE v MATCH ? AND plain_part < 500 ORDER BY distance', (vector,))
    for row in search:
        seen.append(row[0])
        expect(row[1] < 500)
        if len(seen) % 10 == 0:
            data.con.execute('DELETE FROM t WHERE id = ?', (row[0],))
            data.con.execute('UPDATE t SET plain_part = 900 WHERE part BETWEEN 100 AND 120 AND id % 3 = 0')
        if len(seen) == 300:
            break
    search.close()
    expect_equal(len(set(seen)), 300)
    expect_equal(value(data.con, 'SELECT turdb_check()'), 'ok')
    data.con.close()


def a_join_asks_for_each_outer_row(scratch):
    data = Data(scaled(1500, 600))
    data.con.execute('CREATE TABLE wanted(label INTEGER PRIMARY KEY)')
    data.con.execute('INSERT INTO wanted VALUES (3), (5)')
    vector = data.near(4)
    rows = data.con.execute('SELECT t.label FROM t JOIN wanted ON wanted.label = t.plain_label WHERE v MATCH ? '
                            'ORDER BY distance LIMIT 20', (vector,)).fetchall()
    expect_equal(len(rows), 20)
    expect({row[0] for row in rows} <= {3, 5})
    rows = data.con.execute('SELECT t.id FROM t WHERE v MATCH ? AND k = 10 AND label = (SELECT max(label) FROM wanted)',
                            (vector,)).fetchall()
    expect_equal(len(rows), 10)
    data.con.close()


main(globals(), BOTH_HOMES)
