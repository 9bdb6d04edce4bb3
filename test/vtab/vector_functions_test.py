"""vec_f32() and the others mean what they mean in sqlite-vec; each is there as turdb_vec_... too."""
import array
import math
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def f32(*numbers):
    return array.array('f', numbers).tobytes()


def opened():
    load()
    return connect('app')


def vectors_are_made(scratch):
    con = opened()
    for sql, wanted in (("vec_f32('[1, 2.5, -3e1]')", f32(1, 2.5, -30)), ("vec_f32(x'0000803f')", f32(1)), ("vec_int8('[1,-128,127]')", b'\x01\x80\x7f'),
                        ("vec_int8(x'01ff')", b'\x01\xff'), ("vec_bit(x'f0')", b'\xf0'), ("vec_bit('[1,0,0,0,0,0,0,1]')", b'\x81'),
                        ("vec_f16('[1, -2]')", b'\x00\x3c\x00\xc0'), ("vec_f32(vec_f16('[1, -2]'))", f32(1, -2)), ("vec_f32(vec_int8('[5]'))", f32(5)),
                        ("vec_int8(vec_f32('[5]'))", b'\x05'), ("vec_slice('[1,2,3,4]', 1, 3)", f32(2, 3)), ("vec_slice(vec_int8('[1,2,3,4]'), 0, 1)", b'\x01'),
                        ("vec_slice(vec_bit(x'0102'), 8, 16)", b'\x02'), ("vec_add('[1,2]', '[3,4]')", f32(4, 6)), ("vec_sub('[1,2]', '[3,4]')", f32(-2, -2)),
                        ("vec_add(vec_int8('[1,2]'), vec_int8('[3,4]'))", b'\x04\x06'), ("vec_normalize('[3,4]')", f32(.6, .8)),
                        ("vec_quantize_binary('[1,-1,0.5,0,3,-2,7,8]')", b'\xd5'), ("vec_quantize_int8('[-1,0,1]', 'unit')", b'\x80\x00\x7f'),
                        ("vec_quantize_int8('[-1,0,5]')", b'\x80\x00\x7f')):
        for prefix in ('', 'turdb_'):
            expect_equal((sql, value(con, 'SELECT ' + sql.replace('vec_', prefix + 'vec_'))), (sql, wanted))


def vectors_are_described(scratch):
    con = opened()
    for sql, wanted in (("vec_length('[1,2,3]')", 3), ("vec_length(x'00000000')", 1), ("vec_length(vec_int8(x'000102'))", 3), ("vec_length(vec_bit(x'00ff'))", 16),
                        ("vec_type('[1]')", 'float32'), ("vec_type(vec_int8('[1]'))", 'int8'), ("vec_type(vec_bit(x'00'))", 'bit'),
                        ("vec_type(vec_f16('[1]'))", 'float16'), ("vec_to_json(vec_f32('[1,2,3]'))", '[1.000000,2.000000,3.000000]'),
                        ("vec_to_json('[0.1]')", '[0.100000]'), ("vec_to_json('[1e-9]')", '[9.99999972e-10]'), ("vec_to_json(vec_int8('[1,-2]'))", '[1,-2]'),
                        ("vec_to_json(vec_bit(x'05'))", '[1,0,1,0,0,0,0,0]'), ("json_array_length(vec_to_json('[1,2]'))", 2),
                        ("vec_type(vec_slice(vec_int8('[1,2]'), 0, 1))", 'int8'), ("vec_type(vec_quantize_binary(zeroblob(32)))", 'bit')):
        expect_equal((sql, value(con, 'SELECT ' + sql)), (sql, wanted))


def distances_are_right(scratch):
    con, chance = opened(), random.Random(2)
    for dimensions in (1, 3, 8, 17, 128, 300):
        a, b = ([chance.uniform(-2, 2) for _ in range(dimensions)] for _ in range(2))
        a, b = list(array.array('f', a)), list(array.array('f', b))
        dot = sum(x * y for x, y in zip(a, b))
        for name, wanted in (('l2', math.dist(a, b)), ('l1', sum(abs(x - y) for x, y in zip(a, b))), ('ip', 1 - dot),
                             ('cosine', 1 - dot / math.hypot(*a) / math.hypot(*b))):
            got = value(con, 'SELECT vec_distance_%s(?, ?)' % name, f32(*a), f32(*b))
            expect(abs(got - wanted) <= 1e-4 * max(1, abs(wanted)), '%s of %d: %r, wanted %r' % (name, dimensions, got, wanted))
            text = value(con, 'SELECT vec_distance_%s(vec_to_json(?), ?)' % name, f32(*a), f32(*b))
            expect(abs(got - text) < 1e-6 * max(1, abs(got)), name)
        x, y = ([chance.randint(-128, 127) for _ in range(dimensions)] for _ in range(2))
        for name, wanted in (('l2', math.dist(x, y)), ('l1', sum(abs(i - j) for i, j in zip(x, y)))):
            got = value(con, 'SELECT vec_distance_%s(vec_int8(?), vec_int8(?))' % name, *(array.array('b', v).tobytes() for v in (x, y)))
            expect(abs(got - wanted) <= 1e-4 * max(1, wanted), '%s of %d: %r, wanted %r' % (name, dimensions, got, wanted))
    expect_equal(value(con, "SELECT vec_distance_hamming(vec_bit(x'ff00'), vec_bit(x'0f01'))"), 5.0)
    con.execute('CREATE VIRTUAL TABLE t USING turdb(v VECTOR(3) HNSW)')
    con.execute("INSERT INTO t VALUES ('[1,2,3]'), (vec_f32('[4,5,6]'))")
    expect_equal(con.execute("SELECT round(distance - vec_distance_l2(v, '[1,2,2]'), 6) FROM t WHERE v MATCH '[1,2,2]' AND k = 2").fetchall(), [(0.0,), (0.0,)])
    # Bytes that lie at an odd place in a record.
    con.execute('CREATE TABLE o(a, v)')
    con.execute("INSERT INTO o VALUES ('x', vec_f32('[1,2,3,4,5]'))")
    expect_equal(value(con, "SELECT vec_distance_l2(v, '[1,2,3,4,9]') FROM o"), 4.0)


def each_element_is_a_row(scratch):
    con = opened()
    expect_equal(con.execute("SELECT rowid, value FROM vec_each('[1,2.5]')").fetchall(), [(0, 1.0), (1, 2.5)])
    expect_equal(con.execute("SELECT value FROM turdb_vec_each(vec_int8('[3,-4]'))").fetchall(), [(3,), (-4,)])
    expect_equal(con.execute("SELECT sum(value) FROM vec_each(vec_bit(x'07'))").fetchall(), [(3,)])
    con.execute('CREATE TABLE o(v)')
    con.execute("INSERT INTO o VALUES ('[1,2]'), ('[3]')")
    expect_equal(con.execute('SELECT o.rowid, value FROM o, vec_each(o.v) ORDER BY 1, 2').fetchall(), [(1, 1.0), (1, 2.0), (2, 3.0)])
    expect_error('needs a vector', con.execute, 'SELECT * FROM vec_each')
    expect_error('not a JSON array', con.execute, "SELECT * FROM vec_each('nix')")


def what_is_no_vector_is_refused(scratch):
    con = opened()
    for sql, words in (("vec_f32('[1,')", 'not a JSON array'), ("vec_f32('[1,]')", 'not a JSON array'), ("vec_f32('[]')", 'at least one element'),
                       ("vec_f32(x'')", 'at least one element'), ("vec_f32(x'010203')", 'multiple of 4 bytes, 3 are given'), ('vec_f32(1)', 'a blob or a JSON array'),
                       ('vec_f32(NULL)', 'a blob or a JSON array'), ("vec_f32('[1e999]')", 'finite'), ("vec_f32('[nan]')", 'not a JSON array'),
                       ("vec_int8('[200]')", 'element 1, 200, is no int8'), ("vec_int8('[1.5]')", 'is no int8'), ("vec_bit('[2]')", 'is no bit'),
                       ("vec_add('[1]', '[1,2]')", 'one vector has 1 elements, the other 2'), ("vec_add('[1]', vec_int8('[1]'))", 'one vector is float32, the other int8'),
                       ("vec_add(vec_bit(x'00'), vec_bit(x'00'))", 'no sum'), ("vec_slice('[1,2]', 1, 1)", 'elements 1 to below 1 of 2'),
                       ("vec_slice('[1,2]', -1, 1)", 'elements -1'), ("vec_slice('[1,2]', 0, 3)", 'of 2'), ("vec_slice(vec_bit(x'0102'), 4, 12)", 'multiples of 8'),
                       ("vec_normalize(vec_int8('[1]'))", 'cannot be normalized'), ("vec_quantize_int8('[1]', 'tight')", "must be 'unit'"),
                       ("vec_quantize_binary('[1]')", 'multiple of 8, it is 1'), ("vec_distance_hamming('[1]', '[2]')", 'not defined for float32'),
                       ("vec_distance_l2(vec_bit(x'00'), vec_bit(x'00'))", 'not defined for bit'), ('vec_length(zeroblob(400000))', 'at most 65536 elements'),
                       ("vec_f32('[1] x')", 'not a JSON array'), ("vec_f32('[1 2]')", 'not a JSON array'), ("vec_f32('[,1]')", 'not a JSON array')):
        expect_error(words, con.execute, 'SELECT ' + sql)
        expect_error('turdb_vec_', con.execute, 'SELECT turdb_' + sql)


def names_of_sqlite_vec_are_left_alone(scratch):
    load()
    con = sqlite3.connect(':memory:')
    expect_equal(value(con, "SELECT count(*) FROM pragma_function_list WHERE name = 'vec_version'"), 0)
    expect_equal(value(con, "SELECT typeof(vec_f32('[1]'))"), 'blob')
    con.create_function('vec_f32', 1, lambda x: 'theirs')  # loaded later, it takes its names
    expect_equal(value(con, "SELECT vec_f32('[1]')"), 'theirs')
    expect_equal(value(con, "SELECT typeof(turdb_vec_f32('[1]'))"), 'blob')


# A stand-in for sqlite-vec where it matters: vec_version() and a vec_f32() of its own.
THEIRS = (
    "def theirs(con):\n"
    "    con.create_function('vec_version', 0, lambda: 'v0')\n"
    "    con.create_function('vec_f32', 1, lambda x: 'theirs')\n"
    "def load_here(con):\n"
    "    con.enable_load_extension(True)\n"
    "    con.load_extension(LIBRARY)\n"
    "def whose(con):\n"
    "    return value(con, \"SELECT vec_f32('[1]')\") if value(con, \"SELECT typeof(vec_f32('[1]'))\") == 'text' else 'ours'\n")


def sqlite_vec_loaded_before_keeps_its_names(scratch):
    out = python(THEIRS + "a = sqlite3.connect(':memory:'); theirs(a); load_here(a); b = sqlite3.connect(':memory:')\n"
                 "c = sqlite3.connect(':memory:'); theirs(c); print(whose(a), whose(b), whose(c))")
    expect_equal(out.strip(), 'theirs ours theirs')


def an_automatic_sqlite_vec_keeps_its_names(scratch):
    automatic = (
        "import ctypes\n"
        "lib = ctypes.CDLL('libsqlite3.so.0')\n"
        "FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)\n"
        "result = lib.sqlite3_result_text; result.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)\n"
        "run = FUNCTION(lambda context, n, values: result(context, b'theirs', -1, None))\n"
        "def begin(db, message, api):\n"
        "    for name, n in ((b'vec_version', 0), (b'vec_f32', 1)):\n"
        "        lib.sqlite3_create_function(ctypes.c_void_p(db), name, n, 1, None, run, None, None)\n"
        "    return 0\n"
        "hook = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(begin)\n")
    opened = "print(*[whose(sqlite3.connect(':memory:')) for i in range(3)])\n"
    load = "load_here(sqlite3.connect(':memory:'))\n"
    hook = "lib.sqlite3_auto_extension(hook)\n"
    expect_equal(python(THEIRS + automatic + hook + load + opened).strip(), 'theirs theirs theirs')
    expect_equal(python(THEIRS + automatic + load + opened + hook + opened).split(), ['ours'] * 3 + ['theirs'] * 3)
    # A connection older than the automatic extension says nothing about later ones.
    expect_equal(python(THEIRS + automatic + "old = sqlite3.connect(':memory:')\n" + hook + "load_here(old)\n" + opened).strip(),
                 'theirs theirs theirs')


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
