"""turdb_create_index(), turdb_drop_index() and turdb_reindex() do to turdb tables what CREATE INDEX, DROP INDEX and REINDEX do to ordinary ones."""
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

USERS = ("CREATE VIRTUAL TABLE users USING turdb(id INTEGER PRIMARY KEY, name TEXT, -- who\n joined TEXT /* when */, "
         "age INTEGER, face VECTOR(4), INDEX by_age (age DESC), null_defaults=0)")


def users(rows=500, path='app'):
    load()
    con = connect(path)
    con.execute(USERS)
    con.execute("INSERT INTO users(name, joined, age, face) WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
                "SELECT 'n' || (i %% 77), '2020-' || i, i %% 90, CASE WHEN i %% 9 THEN '[' || i || ', 1, 2, 3]' END FROM n" % rows)
    return con


def sound(con):
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def plan(con, sql):
    return con.execute('EXPLAIN QUERY PLAN ' + sql).fetchall()[0][3]


def the_examples_of_the_manual_work(scratch):
    con = users()
    before = plan(con, "SELECT id FROM users WHERE joined = '2020-5'")
    expect_equal(value(con, "SELECT turdb_create_index('users_by_joined', 'users', 'joined DESC, name')"), 500)
    expect(plan(con, "SELECT id FROM users WHERE joined = '2020-5'") != before, 'the new index serves')
    expect_equal(con.execute("SELECT id FROM users WHERE joined = '2020-5'").fetchall(), [(5,)])
    expect_equal(value(con, "SELECT turdb_create_index('users_face', 'users', 'face', 'hnsw', 'metric=l2, m=32')"), 445)
    expect_equal(con.execute("SELECT id, distance FROM users WHERE face MATCH '[50,1,2,3]' AND k = 2 ORDER BY distance").fetchall(),
                 [(50, 0.0), (49, 1.0)])
    expect_equal(value(con, "SELECT turdb_create_index('u', 'main.users', 'joined COLLATE NOCASE', 'unique')"), 500)
    expect_error('UNIQUE constraint failed: users.joined', con.execute, "INSERT INTO users(joined) VALUES ('2020-7')",
                 kind=sqlite3.IntegrityError)
    sound(con)
    expect_equal(value(con, "SELECT turdb_reindex('users')"), 4)
    sound(con)
    faces = con.execute('SELECT id, face FROM users').fetchall()
    for name in ('users_by_joined', 'users.users_face', 'main.u', 'main.users.by_age'):
        expect_equal(value(con, 'SELECT turdb_drop_index(?)', name), 1)
        sound(con)
    expect_equal(value(con, "SELECT turdb_drop_index('u', 1)"), 0)
    expect_equal(con.execute('SELECT id, face FROM users').fetchall(), faces)
    expect_equal(value(con, "SELECT sql FROM sqlite_schema WHERE name = 'users'"), USERS.replace(', INDEX by_age (age DESC)', ''))
    con.close()
    con = connect('app')
    expect_equal(con.execute('SELECT id, face FROM users').fetchall(), faces)
    sound(con)


# (vtab/index_job J2)
def errors_say_what_and_why(scratch):
    con = users()
    for call, words in (("turdb_create_index('x', 'users', 'nam')", 'no column is named nam'),
                        ("turdb_create_index('x', 'nobody', 'name')", 'nobody: there is no such turdb table'),
                        ("turdb_create_index('By_Age', 'users', 'name')", 'By_Age exists already, in table users'),
                        ("turdb_create_index('x', 'users', 'age', 'unique')", 'UNIQUE constraint failed: users.age (rows'),
                        ("turdb_create_index('x', 'users', 'face')", 'only an HNSW index can hold'),
                        ("turdb_create_index('x', 'users', 'name', 'hnsw')", 'no column of type VECTOR'),
                        ("turdb_create_index('x', 'users', 'face', 'hnsw', 'metrik=l2')", "unknown HNSW option 'metrik'"),
                        ("turdb_create_index('x', 'users', 'face', 'hnsw', 'm=1')", 'm must be a number from 2 to 128'),
                        ("turdb_create_index('x', 'users', 'name', 'btree')", "not 'btree'"),
                        ("turdb_create_index('x', 'users', 'name', 'unique', 'm=3')", 'only \'hnsw\' takes options'),
                        ("turdb_create_index('x', 'users', 'name --')", "not as 'name --'"),
                        ("turdb_create_index('x', 'users', 'name), evil TEXT, INDEX y (name')", 'columns are given as'),
                        ("turdb_create_index('x', 'users', '')", "cannot understand"),
                        ("turdb_create_index(NULL, 'users', 'name')", 'give it as'),
                        ("turdb_drop_index('nix')", 'there is no such index'), ("turdb_reindex('nix')", 'no such turdb table'),
                        ("turdb_index_job('x', 'y')", 'use turdb_create_index')):
        for begin, end in ((None, None), ('BEGIN', 'COMMIT')):
            if begin:
                con.execute(begin)
                con.execute("UPDATE users SET name = 'kept' WHERE id = 3")
            expect_error(words, con.execute, 'SELECT ' + call)
            expect_equal(con.in_transaction, begin is not None)
            if end:
                con.execute(end)
            expect_equal(value(con, "SELECT sql FROM sqlite_schema WHERE name = 'users'"), USERS)
    con.execute("UPDATE users SET face = '[0,0,0,0]' WHERE id = 20")
    expect_error('row 20', con.execute, "SELECT turdb_create_index('x', 'users', 'face', 'hnsw', 'metric=cosine')")
    con.execute("SELECT turdb_create_index('x', 'users', 'face', 'hnsw')")
    expect_error('has an HNSW index already', con.execute, "SELECT turdb_create_index('y', 'users', 'face', 'hnsw')")
    con.execute('CREATE TABLE log(x)')
    expect_error('that writes is under way', con.execute, "INSERT INTO log SELECT turdb_create_index('y', 'users', 'name')")
    con.execute('CREATE VIRTUAL TABLE c USING turdb(a UNIQUE, v VECTOR(2) HNSW)')
    for name in ('autoindex 1', 'vector v'):
        expect_error('belongs to a constraint or a column', con.execute, 'SELECT turdb_drop_index(?)', (name,))
    con.execute('CREATE VIRTUAL TABLE d USING turdb(a, INDEX by_age (a))')
    expect_error('tables main.users and main.d have one', con.execute, "SELECT turdb_drop_index('by_age')")
    expect_equal(value(con, "SELECT turdb_drop_index('d.by_age')"), 1)
    sound(con)


def a_defensive_connection_is_told_which_setting(scratch):
    users().close()
    out = shell(".load %s\n.open file:app%s\n.dbconfig defensive on\nSELECT turdb_create_index('x', 'users', 'name');\n"
                "SELECT turdb_drop_index('by_age');\nSELECT turdb_check();\n" % (LIBRARY, '.db' if Home.inline() else '?vfs=turdb'), status=None)
    expect_equal(out.count('SQLITE_DBCONFIG_DEFENSIVE is on'), 2)
    expect('ok' in out, out)


INDEXES = {'i': 'a', 'j': 'b DESC, a', 'k': 'a COLLATE NOCASE, c'}


def contents(con, schema):
    names = [r[0] for r in con.execute("SELECT name FROM %s.sqlite_schema WHERE type = 'table' AND name NOT GLOB '*_*' ORDER BY 1" % schema)]
    return {n: con.execute('SELECT rowid, a, b, c FROM %s.%s ORDER BY rowid' % (schema, n)).fetchall() +
               con.execute('SELECT rowid FROM %s.%s WHERE a > 3 ORDER BY a DESC, rowid' % (schema, n)).fetchall() for n in names}


def statement(chance):
    table, index, mark = chance.choice('tu'), chance.choice(list(INDEXES)), chance.choice('pq')
    return chance.choice(2 * [('make', table, index), ('make', table, index), ('drop', table, index), ('unique', table, 'uu'), ('drop', table, 'uu'),
                              ('reindex', table, ''), ('DROP TABLE {s}.%s' % table,), ('create', table, ''), ('create', table, ''),
                              ('ALTER TABLE {s}.%s RENAME TO %s' % (table, chance.choice('tu')),)] + [
        ("INSERT INTO {s}.%s(a, b, c) VALUES (%d, %d, 'x'), (%d, NULL, 'Y')" % (table, chance.randint(0, 20), chance.randint(0, 9), chance.randint(0, 20)),),
        ('UPDATE {s}.%s SET a = a + 1, b = b - 1 WHERE rowid %% 3 = %d' % (table, chance.randint(0, 2)),),
        ('DELETE FROM {s}.%s WHERE a = %d' % (table, chance.randint(0, 9)),),
        ('BEGIN',), ('BEGIN IMMEDIATE',), ('COMMIT',), ('ROLLBACK',), ('SAVEPOINT ' + mark,), ('SAVEPOINT ' + mark,), ('ROLLBACK TO ' + mark,),
        ('ROLLBACK TO ' + mark,), ('RELEASE ' + mark,)])


def spoken(step, ours, schema):
    kind = step[0]
    if kind == 'create':
        body = '%s.%s%s(id INTEGER PRIMARY KEY, a INTEGER, b, c TEXT COLLATE NOCASE)'
        return ('CREATE VIRTUAL TABLE ' if ours else 'CREATE TABLE ') + body % (schema, step[1], ' USING turdb' if ours else '')
    if kind in ('make', 'unique'):
        columns = INDEXES.get(step[2], 'a, b, c')
        if ours:
            return "SELECT turdb_create_index('%s_%s', '%s.%s', '%s', '%s')" % (step[1], step[2], schema, step[1], columns,
                                                                                'unique' if kind == 'unique' else '')
        return 'CREATE %s INDEX %s.%s_%s ON %s(%s)' % (kind == 'unique' and 'UNIQUE' or '', schema, step[1], step[2], step[1], columns)
    if kind == 'drop':
        return "SELECT turdb_drop_index('%s.%s_%s')" % (schema, step[1], step[2]) if ours else 'DROP INDEX %s.%s_%s' % (schema, step[1], step[2])
    if kind == 'reindex':
        return "SELECT turdb_reindex('%s.%s')" % (schema, step[1]) if ours else 'REINDEX %s.%s' % (schema, step[1])
    return step[0].format(s=schema)


def attempt(con, sql):
    try:
        con.execute(sql).fetchall()
    except sqlite3.Error as error:
        return type(error).__name__ + ' ' + str(error)
    return None


def compare(seed, ours, stock, schema, steps):
    chance, log = random.Random(seed), []
    for _ in range(steps):
        step = statement(chance)
        results = []
        for con, where in ((ours, schema), (stock, 'main')):
            sql = spoken(step, con is ours, where)
            results.append((attempt(con, sql), con.in_transaction, contents(con, where)))
            if con is ours:
                log.append('%s -> %s' % (sql, results[0][0]))
        got, wanted = results
        if got[1:] != wanted[1:] or (got[0] is None) != (wanted[0] is None):
            raise AssertionError('seed %s: %s\n  got    %s\n  wanted %s' % (seed, '\n    '.join(log[-25:]), got, wanted))
        if chance.random() < 0.3:
            checked = value(ours, 'SELECT turdb_check()')
            expect(checked == 'ok', 'seed %s: %s\n    %s' % (seed, checked, '\n    '.join(log[-25:])))
    if ours.in_transaction:
        attempt(ours, 'ROLLBACK')
    sound(ours)


def stock_open():
    # A REINDEX that was prepared before its table was dropped does nothing and says nothing.
    return sqlite3.connect(':memory:', isolation_level=None, cached_statements=0)


# (vtab/index_job J1)
def indexes_follow_transactions_as_in_ordinary_tables(scratch):
    load()
    for seed in range(scaled(12)):
        ours, stock = connect('app%d' % seed), stock_open()
        compare(seed, ours, stock, 'main', 150)
        ours.close()


def indexes_of_an_attached_database_too(scratch):
    load()
    for seed in range(scaled(5)):
        ours, stock = sqlite3.connect('file:plain%d.db' % seed, uri=True, isolation_level=None), stock_open()
        ours.execute("ATTACH 'file:beside%d%s' AS x" % (seed, '.db' if Home.inline() else '?vfs=turdb'))
        compare(seed + 100, ours, stock, 'x', 120)
        ours.close()


def an_interrupt_leaves_nothing_half_done(scratch):
    con = users(6000)
    con.execute("SELECT turdb_create_index('face', 'users', 'face', 'hnsw', 'm=4, ef_construction=20')")
    sql = value(con, "SELECT sql FROM sqlite_schema WHERE name = 'users'")
    for call in ("turdb_create_index('x', 'users', 'joined, name')", "turdb_create_index('x', 'users', 'joined', 'unique')",
                 "turdb_drop_index('face')", "turdb_reindex('users')"):
        for inside in (False, True):
            for calls in (1, 3, 9):
                left = [calls]

                def handler():
                    left[0] -= 1
                    return left[0] <= 0
                if inside:
                    con.execute('BEGIN')
                    con.execute("INSERT INTO users(name) VALUES ('gone')")
                set_progress_handler(con, handler, 100)
                expect_error('interrupted', con.execute, 'SELECT ' + call)
                con.set_progress_handler(None, 0)
                expect(left[0] <= 0)
                if con.in_transaction:
                    con.execute('ROLLBACK')
                expect_equal(value(con, "SELECT sql FROM sqlite_schema WHERE name = 'users'"), sql)
                expect_equal(value(con, 'SELECT count(*) FROM users'), 6000)
                sound(con)


def other_connections_notice(scratch):
    con = users(100)
    other = connect('app')
    insert, look = "INSERT INTO users(name, joined) VALUES ('new', ?)", "SELECT count(*) FROM users WHERE joined > '2020-5'"
    other.execute(insert, ('2021',))
    before = value(other, look)
    other.execute('BEGIN')
    expect_equal(value(other, look), before)
    con.execute("SELECT turdb_create_index('x', 'users', 'joined')")
    expect_equal(value(other, look), before)  # the old snapshot has the old statement
    sound(other)
    other.execute('COMMIT')
    other.execute(insert, ('2022',))
    expect_equal(value(other, look), before + 1)
    sound(con)
    con.execute("SELECT turdb_drop_index('x')")
    other.execute(insert, ('2023',))
    expect_equal(value(other, look), before + 2)
    con.execute("SELECT turdb_create_index('x', 'users', 'joined', 'unique')")
    expect_error('UNIQUE constraint failed', other.execute, insert, ('2023',))
    sound(con)


def other_processes_notice(scratch):
    con = users(100)
    child = python("""
con = connect('app')
print(value(con, "SELECT count(*) FROM users WHERE joined > '2020-5'"), flush=True)
for line in sys.stdin:
    con.execute("INSERT INTO users(name, joined) VALUES ('child', ?)", (line.strip(),))
    print(value(con, "SELECT count(*) FROM users WHERE joined = ?", line.strip()), flush=True)
""", wait=False)
    child.stdout.readline()

    def say(text):
        child.stdin.write(text + '\n')
        child.stdin.flush()
        return child.stdout.readline().strip()
    for call in ("turdb_create_index('x', 'users', 'joined')", "turdb_reindex('users')", "turdb_drop_index('x')",
                 "turdb_create_index('x', 'users', 'joined, name')"):
        expect_equal(say(call[:20]), '1' if call.startswith('turdb_r') or call.startswith('turdb_d') or 'name' not in call else '2')
        con.execute('SELECT ' + call)
        sound(con)
    expect_equal(say('last'), '1')
    child.stdin.close()
    child.wait()
    sound(con)


def open_cursors_go_on(scratch):
    con = users(300)
    cursor = con.execute('SELECT id FROM users ORDER BY age DESC, id')
    seen = [cursor.fetchone()[0] for _ in range(10)]
    con.execute("SELECT turdb_create_index('face', 'users', 'face', 'hnsw')")
    con.execute("SELECT turdb_create_index('x', 'users', 'name')")
    seen += [r[0] for r in cursor]
    expect_equal(seen, [r[0] for r in con.execute('SELECT id FROM users ORDER BY age DESC, id')])
    con.execute('BEGIN')
    con.execute("INSERT INTO users(name) VALUES ('same transaction')")
    con.execute("SELECT turdb_create_index('y', 'users', 'name DESC, id')")
    con.execute("INSERT INTO users(name) VALUES ('same transaction')")
    con.execute("SELECT turdb_drop_index('x')")
    con.execute("DELETE FROM users WHERE name = 'n3'")
    sound(con)
    con.execute('COMMIT')
    sound(con)


def odd_names_and_spellings_work(scratch):
    load()
    con = connect('app')
    table, index = 'we"ird (x), y', "o'dd \"name\" (1"
    con.execute('CREATE VIRTUAL TABLE IF NOT EXISTS "we""ird (x), y" USING  turdb ( "a b" TEXT DEFAULT (\'),\'||1) , [c,d] , CHECK ( "a b" <> \'INDEX\' ) ,\n'
                'strict = 0 , -- the end)\n null_defaults = 1 )')
    con.execute('INSERT INTO "we""ird (x), y" VALUES (\'x\', 1), (\'y\', 2)')
    expect_equal(value(con, 'SELECT turdb_create_index(?, ?, ?)', index, table, '"a b" DESC, [c,d]'), 2)
    expect_equal(value(con, 'SELECT turdb_create_index(?, ?, ?)', index + 'u', table, '"c,d"'), 2)
    sound(con)
    con.execute('ALTER TABLE "we""ird (x), y" RENAME TO z')
    sound(con)
    expect_equal(value(con, 'SELECT turdb_drop_index(?)', index), 1)
    expect_equal(value(con, 'SELECT turdb_drop_index(?)', 'z.' + index + 'u'), 1)
    con.execute('INSERT INTO z VALUES (NULL, 3)')
    expect_equal(con.execute('SELECT * FROM z').fetchall(), [('x', 1), ('y', 2), ('),1', 3)])
    con.execute('CREATE VIRTUAL TABLE first USING turdb(INDEX i (a), a)')
    con.execute("SELECT turdb_drop_index('i')")
    sound(con)


def a_build_in_many_runs_is_the_same(scratch):
    con = users(20000)
    con.execute("UPDATE users SET name = name || CASE WHEN id % 50 = 0 THEN printf('%.*c', 2500, 'x') || id ELSE '' END")
    con.execute("SELECT turdb_create_index('whole', 'users', 'name, joined', 'unique')")
    con.execute('CREATE VIRTUAL TABLE dup USING turdb(id INTEGER PRIMARY KEY, a TEXT)')
    con.execute("INSERT INTO dup WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
                "SELECT i, printf('%.*c', 3000, 'y') || CASE WHEN i IN (50, 100) THEN 'same' ELSE i END FROM n")
    con.execute("SELECT turdb_config('cache_kb', 256)")
    # Runs are an eighth of the limit.
    used = 2 << 20 if Home.inline() else value(con, "SELECT value FROM turdb_status WHERE name = 'heap_used'")
    con.execute("SELECT turdb_config('heap_kb', ?)", (used // 1024 + 4096,))
    try:
        expect_equal(value(con, "SELECT turdb_create_index('runs', 'users', 'name, joined', 'unique')"), 20000)
        expect_error('rows 50 and 100 have the same', con.execute, "SELECT turdb_create_index('bad', 'dup', 'a', 'unique')")
    finally:
        con.execute("SELECT turdb_config('heap_kb', 0)")
    sound(con)


def reindex_mends_an_index_that_lost_its_collation(scratch):
    con = users(200)
    con.execute('PRAGMA writable_schema = on')
    con.execute("UPDATE sqlite_schema SET sql = replace(sql, 'by_age (age DESC)', 'by_age (age)') WHERE name = 'users'")
    con.close()
    con = connect('app')
    expect(value(con, "SELECT turdb_check('users')") != 'ok')
    con.execute("SELECT turdb_reindex('users')")
    sound(con)
    expect_equal(value(con, 'SELECT max(age) FROM users'), 89)


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
