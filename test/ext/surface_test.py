"""What a connection gets by loading the extension: names, and from where each may be called."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

DIRECTONLY, INNOCUOUS, SUBTYPE = 0x80000, 0x200000, 0x100000

# Nothing outside a database is touched or shown by these, and nothing inside it changed.
HARMLESS = {'turdb_version', 'turdb_debug'}
# These tell of more than their arguments: schemas that are not trusted cannot call them.
TELLING = {'turdb_count', 'turdb_last_error'}
DIRECT = {'turdb_check', 'turdb_checkpoint', 'turdb_config', 'turdb_create_index', 'turdb_drop_index', 'turdb_reindex', 'turdb_vacuum',
          'turdb_alter', 'turdb_analyze', 'turdb_backup', 'turdb_export', 'turdb_import', 'turdb_import_csv', 'turdb_recall',
          'turdb_restore', 'turdb_index_job'}
TABLES = {'turdb', 'turdb_sentinel', 'turdb_vec_each', 'vec_each', 'turdb_status', 'turdb_readers', 'turdb_wal', 'turdb_problems',
          'turdb_tables', 'turdb_columns', 'turdb_indexes', 'turdb_pages', 'turdb_latency', 'turdb_progress'}


def functions_are_there_with_their_flags(scratch):
    load()
    found = {name: flags for name, flags in
             sqlite3.connect(':memory:').execute('SELECT name, flags FROM pragma_function_list') if name.startswith(('turdb_', 'vec_'))}
    vectors = {name for name in found if name.startswith(('vec_', 'turdb_vec_'))}
    expect_equal(set(found) - vectors, HARMLESS | TELLING | DIRECT)
    for name, flags in found.items():
        wanted = DIRECTONLY if name in DIRECT else 0 if name in TELLING else INNOCUOUS
        expect_equal((name, flags & (DIRECTONLY | INNOCUOUS)), (name, wanted))
        expect_equal((name, bool(flags & SUBTYPE)), (name, name in vectors))


def no_other_table_is_there(scratch):
    load()
    con = sqlite3.connect(':memory:')
    expect_equal({name for name, in con.execute('SELECT name FROM pragma_module_list') if name.startswith(('turdb', 'vec_'))}, TABLES)


# A database from a stranger: what its views and triggers may call, as the connection trusts schemas or not.
def views_call_what_is_harmless_only(scratch):
    load()
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a, v VECTOR(2))')
    con.execute("INSERT INTO t VALUES (1, '[1,2]')")
    calls = {'harmless': ('turdb_version()', 'vec_length(v)'), 'telling': ("turdb_count('t')", 'turdb_last_error()'),
             'direct': ("turdb_config('cache_kb')", 'turdb_check()', "turdb_reindex('t')", 'turdb_index_job(1, 2)')}
    for kind, texts in calls.items():
        for i, text in enumerate(texts):
            con.execute('CREATE VIEW %s%d AS SELECT %s FROM t' % (kind, i, text))
    con.execute('CREATE VIEW reports AS SELECT * FROM turdb_tables')
    con.execute('CREATE VIEW elements AS SELECT e.value FROM t, vec_each(t.v) e')
    con.execute('CREATE VIEW marks AS SELECT * FROM turdb_sentinel')
    for trusted in (1, 0):
        con.execute('PRAGMA trusted_schema = %d' % trusted)
        for kind, texts in calls.items():
            for i in range(len(texts)):
                sql = 'SELECT * FROM %s%d' % (kind, i)
                if kind == 'harmless' or (kind == 'telling' and trusted):
                    expect_equal(len(con.execute(sql).fetchall()), 1)
                else:
                    expect_error('unsafe use of', con.execute, sql)
        expect_equal(con.execute('SELECT * FROM elements').fetchall(), [(1.0,), (2.0,)])
        expect_error('unsafe use of', con.execute, 'SELECT * FROM reports')
        expect_error('unsafe use of', con.execute, 'SELECT * FROM marks')


# CHECK, DEFAULT and generated columns come with a schema: for them SQLite's own rule holds (which older ones forget in a CHECK).
# (vtab/row_expression E1)
def expressions_of_tables_call_what_schemas_may(scratch):
    load()
    con = connect('app')
    con.create_function('mine', 1, lambda x: 7)
    unsafe = ["turdb_config('cache_kb')", "\"turdb_config\" ('cache_kb')", "[TURDB_Config]/* */('cache_kb')", "1+turdb_config \ufeff('cache_kb')",
              "`turdb_config`--\n('cache_kb')", 'load_extension(1)']
    shapes = ('a CHECK (%s > 0)', 'a, b DEFAULT (%s)', 'a, b AS (%s)')
    for trusted in (1, 0):
        con.execute('PRAGMA trusted_schema = %d' % trusted)
        for call in unsafe + ['mine(1)'] * (not trusted):
            for shape in shapes:
                for kind in ('TABLE t(%s)', 'VIRTUAL TABLE t USING turdb(%s)')[sqlite3.sqlite_version_info < (3, 54):]:
                    try:
                        con.execute('CREATE ' + kind % (shape % call))
                        con.execute('INSERT INTO t(a) VALUES (1)')
                    except sqlite3.Error as error:
                        expect('unsafe use of' in str(error), '%s: %s' % (kind % (shape % call), error))
                    else:
                        raise AssertionError(kind % (shape % call))
                    con.execute('DROP TABLE IF EXISTS t')
    for trusted, schema, call in ((0, 'main', "length('x' LIKE 'y')"), (1, 'main', 'mine(1)'), (0, 'temp', 'mine(1)'),
                                  (0, 'temp', "turdb_config('cache_kb')"), (0, 'main', 'turdb_vec_length(x\'00000000\')')):
        con.execute('PRAGMA trusted_schema = %d' % trusted)
        for shape in shapes:
            con.execute('CREATE VIRTUAL TABLE %s.t USING turdb(%s)' % (schema, shape % call))
            con.execute('INSERT INTO t(a) VALUES (1)')
            expect_equal(value(con, 'SELECT count(*) FROM t'), 1)
            con.execute('DROP TABLE t')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a, "turdb_config", CHECK (turdb_config > 0), CHECK (turdb_config IN (1)))')
    con.execute('INSERT INTO t VALUES (1, 1)')


# A function that became one for direct statements only is not called by a check of the database either.
def a_check_of_a_database_calls_no_unsafe_function(scratch):
    load()
    con = connect('app')
    con.create_function('turdb_reindex', 1, lambda x: 7)
    con.execute("CREATE VIRTUAL TABLE t USING turdb(a CHECK (turdb_reindex(a) > 5))")
    con.execute('INSERT INTO t VALUES (1)')
    con.close()
    con = connect('app')
    expect('unsafe use of turdb_reindex()' in value(con, 'SELECT turdb_check()'), value(con, 'SELECT turdb_check()'))
    if sqlite3.sqlite_version_info >= (3, 44):
        expect('unsafe use of turdb_reindex()' in value(con, 'PRAGMA integrity_check'))


def a_connection_may_lose_its_modules_and_still_close(scratch):
    out = python('con = connect("app"); con.execute("CREATE VIRTUAL TABLE t USING turdb(a)")\n'
                 'rows = con.execute("SELECT * FROM turdb_tables"); rows.fetchone()\n'
                 'con.create_function("turdb_config", 1, lambda x: 7); con.create_function("turdb_check", 0, lambda: 8)\n'
                 'print(value(con, "SELECT turdb_config(1)"), value(con, "SELECT turdb_check()"),\n'
                 '      value(con, "SELECT turdb_check(\'t\')"), value(con, "SELECT turdb_config(\'cache_kb\', 512)"))\n'
                 'con.close()')
    expect_equal(out.strip(), '7 8 ok 512')


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
