"""Columns of float16, int8 and bit vectors: taken from blobs, JSON text and typed values, searched with and without a graph."""
import array
import math
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def opened(element, dimensions, graph='HNSW'):
    load()
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v VECTOR(%d, %s) %s)' % (dimensions, element, graph))
    return con


def text(numbers):
    return '[%s]' % ', '.join(str(n) for n in numbers)


def searches_find_the_nearest(scratch):
    chance = random.Random(7)
    makers = {'f16': lambda: [chance.randint(-40, 40) / 8 for _ in range(24)], 'int8': lambda: [chance.randint(-128, 127) for _ in range(24)],
              'bit': lambda: [chance.randint(0, 1) for _ in range(24)]}
    for element, make in makers.items():
        for graph in ('HNSW', ''):
            os.mkdir(element + graph)
            os.chdir(element + graph)
            con = opened(element, 24, graph)
            rows = {i: make() for i in range(1, 201)}
            con.execute('BEGIN')
            for i, row in rows.items():
                con.execute('INSERT INTO t VALUES (?, ?)', (i, text(row)))
            con.execute('COMMIT')
            for _ in range(10):
                query = make()
                measure = (lambda a, b: sum(x != y for x, y in zip(a, b))) if element == 'bit' else math.dist
                wanted = sorted(measure(row, query) for row in rows.values())[:5]
                got = con.execute('SELECT id, distance FROM t WHERE v MATCH ? AND k = 5 AND exact = 1 ORDER BY distance', (text(query),)).fetchall()
                for (i, distance), best in zip(got, wanted):
                    expect(abs(distance - best) < 1e-3 * max(1, best) and abs(measure(rows[i], query) - distance) < 1e-3 * max(1, best), (element, got, wanted))
                near = con.execute('SELECT id FROM t WHERE v MATCH ? AND k = 5 AND ef = 200', (text(query),)).fetchall()
                expect(len(set(near) & {(i,) for i, _ in got}) >= 3, (element, graph, near, got))
            con.execute('UPDATE t SET v = ? WHERE id = 3', (text(rows[4]),))
            con.execute('DELETE FROM t WHERE id = 5')
            expect_equal(value(con, 'SELECT count(*) FROM t WHERE v = (SELECT v FROM t WHERE id = 4)') >= 2, True)
            if not graph:
                con.execute("SELECT turdb_create_index('g', 't', 'v', 'hnsw')")
            con.execute("SELECT turdb_reindex('t')")
            expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
            con.close()
            os.chdir(scratch)


def a_vector_may_be_given_in_many_ways(scratch):
    for element, numbers, raw in (('int8', [1, -2, 127], b'\x01\xfe\x7f'), ('f16', [1, -2, 0.5], b'\x00\x3c\x00\xc0\x00\x38'), ('bit', [1, 0, 1], b'\x05')):
        os.mkdir(element)
        os.chdir(element)
        con = opened(element, 3)
        floats = array.array('f', numbers).tobytes()
        function = 'vec_' + element
        forms = [('?', text(numbers)), ('?', raw), ('?', floats), ('vec_f32(?)', floats), (function + '(?)', raw)]
        if element == 'bit':
            forms = forms[:3] + forms[3:4]  # vec_bit() has eight bits to a byte
        for form, given in forms:
            con.execute('INSERT INTO t(v) VALUES (%s)' % form, (given,))
        expect_equal(set(con.execute('SELECT v FROM t').fetchall()), {(raw,)})
        con.execute('INSERT INTO t(v) SELECT v FROM t')
        expect_equal(con.execute('SELECT count(*) FROM t WHERE v MATCH ? AND distance <= 0', (raw,)).fetchone()[0], 2 * len(forms))
        if element != 'bit':
            expect_equal(value(con, 'SELECT vec_type(v) FROM t'), {'int8': 'int8', 'f16': 'float16'}[element])
            expect_equal(value(con, 'SELECT vec_distance_l2(v, %s(?)) FROM t' % function, raw), 0.0)
        con.close()
        os.chdir(scratch)


def what_does_not_fit_is_refused(scratch):
    for element, cases in (('int8', (('[1, 2, 200]', 'element 3 of 3, 200, is no int8'), ('[1, 2, 1.5]', 'is no int8'), ('[1, 2]', '2 given'), (b'1234', '3 bytes expected'),
                                     (array.array('f', [1, 2, 1e9]).tobytes(), 'is no int8'))),
                           ('f16', (('[1, 2, 1e6]', 'is no float16'), (b'\x00\x3c\x00\x7c\x00\x38', 'element 2 of 3 is not a finite number'), (b'12345', '6 bytes expected'))),
                           ('bit', (('[1, 2, 0]', 'is no bit'), (b'12', '1 bytes expected')))):
        os.mkdir(element)
        os.chdir(element)
        con = opened(element, 3)
        for given, words in cases:
            expect_error(words, con.execute, 'INSERT INTO t(v) VALUES (?)', (given,))
        if element == 'bit':
            con.execute('INSERT INTO t(v) VALUES (?)', (b'\xff',))  # bits beyond the third do not count
            expect_equal(value(con, 'SELECT v FROM t'), b'\x07')
        con.close()
        os.chdir(scratch)
    con = opened('int8', 2, "HNSW (metric='cosine')")
    expect_error('no direction for cosine', con.execute, "INSERT INTO t(v) VALUES ('[0, 0]')")


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
