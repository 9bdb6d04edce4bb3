"""What programs do with SQLite, done with a directory: the sqlite3 shell, Python's module, Tcl, Perl, and SQL of every kind beside
turdb tables."""
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()


def open_plainly(path, **rest):
    """As programs open it: transactions by the module."""
    return sqlite3.connect('file:%s?vfs=turdb' % path, uri=True, **rest)


# What each list of statements answers at its end; an error is '!' and a part of its text.
FEATURES = [
    (['CREATE TABLE g(a, b AS (a*2) STORED, c AS (a+1))', 'INSERT INTO g(a) VALUES(3)', 'CREATE INDEX gc ON g(c)', 'SELECT * FROM g WHERE c=4'], [(3, 6, 4)]),
    (['CREATE TABLE s(a INT) STRICT', "INSERT INTO s VALUES('x')"], '!cannot store TEXT'),
    (['CREATE TABLE w(a TEXT PRIMARY KEY, b) WITHOUT ROWID', "INSERT INTO w VALUES('k', 1)",
      "INSERT INTO w VALUES('k', 2) ON CONFLICT(a) DO UPDATE SET b=excluded.b RETURNING *"], [('k', 2)]),
    (['CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b)', 'INSERT INTO v(b) VALUES(1), (2), (3)',
      'SELECT a, sum(b) OVER (ORDER BY a) FROM v'], [(1, 1), (2, 3), (3, 6)]),
    (['CREATE TABLE al(a, b)', 'ALTER TABLE al ADD COLUMN c DEFAULT 5', 'ALTER TABLE al RENAME COLUMN a TO aa', 'INSERT INTO al VALUES(1, 2, 3)',
      'ALTER TABLE al DROP COLUMN b', 'ALTER TABLE al RENAME TO al2', 'SELECT aa, c FROM al2'], [(1, 3)]),
    (['CREATE TABLE tr(a)', 'CREATE TRIGGER trg AFTER INSERT ON tr BEGIN INSERT INTO v(b) VALUES(new.a); END', 'INSERT INTO tr VALUES(7)', 'SELECT b FROM v WHERE a=4'], [(7,)]),
    (['CREATE VIEW vw AS SELECT v.b FROM v JOIN tr ON tr.a=v.b', 'CREATE TRIGGER vwt INSTEAD OF INSERT ON vw BEGIN INSERT INTO v(b) VALUES(new.b); END',
      'INSERT INTO vw VALUES(99)', 'SELECT count(*) FROM v, vw'], [(5,)]),
    (['PRAGMA foreign_keys=ON', 'CREATE TABLE p(id INTEGER PRIMARY KEY)', 'CREATE TABLE ch(pid REFERENCES p ON DELETE CASCADE)', 'INSERT INTO p VALUES(1)',
      'INSERT INTO ch VALUES(1)', 'DELETE FROM p', 'SELECT count(*) FROM ch'], [(0,)]),
    (['INSERT INTO ch VALUES(77)'], '!FOREIGN KEY'),
    (["INSERT OR REPLACE INTO v VALUES(1, 'r')", 'SELECT b FROM v WHERE a=1'], [('r',)]),
    (['UPDATE v SET b=tr.a FROM tr WHERE v.a=2', 'SELECT b FROM v WHERE a=2'], [(7,)]),
    (['WITH d AS (SELECT max(a) AS a FROM v) DELETE FROM v WHERE a IN d', 'SELECT count(*) FROM v'], [(4,)]),
    (["ATTACH 'plain.db' AS plain", 'CREATE TABLE plain.t(a)', 'INSERT INTO plain.t SELECT a FROM v', "ATTACH 'file:second?vfs=turdb' AS second",
      'CREATE VIRTUAL TABLE second.t USING turdb(a)', 'INSERT INTO second.t SELECT a FROM v', 'SELECT count(*) FROM second.t NATURAL JOIN plain.t'], [(4,)]),
    (['BEGIN', 'DELETE FROM plain.t', 'DELETE FROM second.t', 'DELETE FROM v', 'ROLLBACK',
      'SELECT (SELECT count(*) FROM plain.t), (SELECT count(*) FROM second.t), (SELECT count(*) FROM v)'], [(4, 4, 4)]),
    (['DETACH plain', 'DETACH second', 'CREATE TEMP TABLE tt AS SELECT * FROM v', 'SELECT count(*) FROM tt'], [(4,)]),
    (['VACUUM', 'REINDEX', 'ANALYZE', 'PRAGMA optimize', 'PRAGMA integrity_check'], [('ok',)]),
    (['PRAGMA user_version=7', 'PRAGMA application_id=9', 'PRAGMA user_version'], [(7,)]),
    (['CREATE INDEX i ON v(b)'], '!virtual tables may not be indexed'), (['ALTER TABLE v ADD COLUMN z'], '!virtual tables may not be altered'),
    (['CREATE TABLE IF NOT EXISTS v(x)'], []), (['CREATE VIRTUAL TABLE v USING turdb(a)'], '!already exists'),
    (['CREATE VIRTUAL TABLE q USING turdb(a, foo=1)'], "!unknown option 'foo'"), (['CREATE VIRTUAL TABLE q USING turdb'], '!at least one column'),
    (['CREATE VIRTUAL TABLE q USING turdb(a, A)'], '!duplicate column name'),
    (['CREATE VIRTUAL TABLE temp.q USING turdb(a)', 'INSERT INTO temp.q VALUES(7)', 'SELECT a FROM q', 'DROP TABLE temp.q'], []),
    (["SELECT turdb_alter('v', 'ADD COLUMN z')"], '!does not have it yet'), (["SELECT turdb_backup('x')"], '!copy the whole directory'),
    (['SELECT * FROM turdb_progress'], '!does not have it yet'), (["SELECT * FROM turdb_pages('v')"], '!does not have it yet'),
    (['PRAGMA turdb_nothing=1'], '!there is no such setting'), (['PRAGMA turdb_cache_kb=much'], '!is not a number'),
]

OPTIONAL = [
    ('ENABLE_FTS5', ['CREATE VIRTUAL TABLE f USING fts5(a, b)', "INSERT INTO f VALUES('hello world', 'x'), ('bye world', 'y')", "INSERT INTO f(f) VALUES('integrity-check')",
                     "SELECT count(*) FROM f JOIN v ON v.a=f.rowid WHERE f MATCH 'world'"], [(2,)]),
    ('ENABLE_RTREE', ['CREATE VIRTUAL TABLE r USING rtree(id, a, b)', 'INSERT INTO r VALUES(1, 0, 1), (2, 5, 6)', 'SELECT id FROM r WHERE a>3'], [(2,)]),
]


def sql_of_every_kind_works(scratch):
    con = connect('app')
    features = FEATURES + [(sql, wanted) for option, sql, wanted in OPTIONAL if compiled_with(con, option)]
    for statements, wanted in features:
        try:
            for sql in statements:
                found = con.execute(sql).fetchall()
        except sqlite3.Error as error:
            found = '!' + str(error)
        right = found.startswith('!') and wanted[1:] in found if isinstance(wanted, str) and isinstance(found, str) else found == wanted
        expect(right, '%s: %r, not %r' % (statements[-1], found, wanted))
    con.close()
    con = connect('app')
    expect_equal([value(con, 'PRAGMA ' + check) for check in ('integrity_check', 'quick_check')], ['ok', 'ok'])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def pythons_module_keeps_its_promises(scratch):
    con = open_plainly('app')
    con.execute('CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b)')
    con.execute('CREATE TABLE t(a)')
    for level in ('', 'DEFERRED', 'IMMEDIATE', 'EXCLUSIVE'):
        other = open_plainly('app', isolation_level=level)
        other.execute('INSERT INTO v(b) VALUES(1)')
        expect(other.in_transaction)
        other.rollback()
        other.close()
    with con:
        con.executemany('INSERT INTO v(b) VALUES(:b)', [{'b': 5}, {'b': 6}])
        con.execute('INSERT INTO t VALUES(1)')
    try:
        with con:
            con.execute('DELETE FROM v')
            raise KeyError
    except KeyError:
        pass
    con.row_factory = sqlite3.Row
    con.create_function('twice', 1, lambda x: x * 2, deterministic=True)
    con.create_collation('backwards', lambda a, b: (a < b) - (a > b))
    expect_equal([dict(row) for row in con.execute('SELECT twice(b) AS d FROM v ORDER BY a')], [{'d': 10}, {'d': 12}])
    expect_equal([row[0] for row in con.execute('SELECT CAST(b AS TEXT) FROM v ORDER BY 1 COLLATE backwards')], ['6', '5'])
    # A dump of Python's carries turdb tables with their rows.
    other = connect('loaded')
    other.executescript('\n'.join(con.iterdump()))
    expect_equal(other.execute('SELECT sum(b) FROM v').fetchone(), (11,))
    # backup() carries ordinary tables, out and in.
    memory = sqlite3.connect(':memory:')
    con.backup(memory, pages=1)
    expect_equal(memory.execute('SELECT count(*) FROM t').fetchone(), (1,))
    plain = sqlite3.connect('plain.db')
    plain.execute('CREATE TABLE z(a)')
    plain.executemany('INSERT INTO z VALUES(?)', [(i,) for i in range(3000)])
    plain.commit()
    new = connect('new')
    plain.backup(new)
    expect_equal(new.execute('SELECT count(*), turdb_check() FROM z').fetchone(), (3000, 'ok'))


def threads_share_a_connection_or_have_their_own(scratch):
    con = connect('app', timeout=30, check_same_thread=False)
    con.execute('CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b)')
    count, lock, errors = scaled(60, 10), threading.Lock(), []

    def work(own):
        try:
            mine = connect('app', timeout=30) if own else con
            for _ in range(count):
                with threading.Lock() if own else lock:
                    mine.execute('INSERT INTO v(b) VALUES(1)')
        except sqlite3.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n % 2,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect_equal((errors, value(con, 'SELECT count(*) FROM v'), value(con, 'SELECT turdb_check()')), ([], 6 * count, 'ok'))


def processes_are_spawned_with_it(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    with open('worker.py', 'w') as out:
        out.write('import multiprocessing, sqlite3\n'
                  'def work(n):\n'
                  '    m = sqlite3.connect(":memory:"); m.enable_load_extension(True); m.load_extension(%r)\n'
                  '    with sqlite3.connect("file:app?vfs=turdb", uri=True, timeout=30) as con: con.execute("INSERT INTO t VALUES(?)", (n,))\n'
                  '    con.close()\n'
                  'if __name__ == "__main__":\n'
                  '    with multiprocessing.get_context("spawn").Pool(2) as pool: pool.map(work, range(6))\n' % LIBRARY)
    subprocess.run([sys.executable, 'worker.py'], check=True, timeout=120)
    expect_equal(con.execute('SELECT count(*), sum(a) FROM t').fetchone(), (6, 15))


def blobs_are_opened_in_ordinary_tables(scratch):
    con = connect('app')
    if not hasattr(con, 'blobopen'):
        skip('this Python has no blobopen')
    con.execute('CREATE TABLE b(x)')
    con.execute('INSERT INTO b VALUES(zeroblob(200000))')
    with con.blobopen('b', 'x', 1) as blob:
        blob.write(b'hello')
        blob.seek(150000)
        blob.write(b'there')
    expect_equal(con.execute('SELECT substr(x, 1, 5), substr(x, 150001, 5) FROM b').fetchone(), (b'hello', b'there'))
    con.execute('CREATE VIRTUAL TABLE v USING turdb(x)')
    expect_error('cannot open virtual table', con.blobopen, 'v', 'x', 1)


def shell_over(path, *commands, status=0):
    if not SHELL:
        skip('needs the sqlite3 shell')
    return shell('.load %s\n.open %s\n' % (LIBRARY.removesuffix('.so'), path) + '\n'.join(commands) + '\n', status=status)


def the_shell_imports_lists_dumps_and_copies(scratch):
    with open('data.csv', 'w') as out:
        out.writelines('%d,x%d,%g\n' % (i, i, i / 2) for i in range(1, 31))
    out = shell_over('file:app?vfs=turdb', 'CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);',
                     'CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b TEXT, c REAL, INDEX v_b(b));',
                     '.import --csv data.csv t', '.import --csv data.csv v', 'SELECT count(*), sum(c) FROM t;', 'SELECT count(*), sum(c) FROM v;',
                     '.tables', '.schema v', '.databases', '.eqp on', "SELECT a FROM v WHERE b='x5';", '.eqp off', '.vfsname',
                     '.backup out1.db', '.save out2.db', "VACUUM INTO 'out3.db';", '.clone out4.db')
    for words in ('30|232.5\n30|232.5', 't  v', 'USING turdb(a INTEGER PRIMARY KEY', scratch + '/app r/w', 'VIRTUAL TABLE INDEX', '\n5\n', 'turdb\n'):
        expect(words in out, '%r is not in %r' % (words, out))
    for name in ('out1.db', 'out2.db', 'out3.db', 'out4.db'):
        con = sqlite3.connect(name)
        expect_equal((name, value(con, 'SELECT sum(c) FROM t'), value(con, 'PRAGMA integrity_check(t)')), (name, 232.5, 'ok'))
    dump = shell_over('file:app?vfs=turdb', '.dump')
    with open('dump.sql', 'w') as out:
        out.write(dump)
    again = shell_over('file:again?vfs=turdb', '.read dump.sql', 'SELECT sum(c) FROM t;')
    expect('232.5' in again, again)
    # The dump names the turdb table, whose rows it cannot have: an error, never an empty table, and there is a way out.
    again = shell_over('file:again?vfs=turdb', 'SELECT * FROM v;', status=None)
    expect('has no rows for it' in again, again)
    again = shell_over('file:again?vfs=turdb', 'PRAGMA writable_schema=ON;', "DELETE FROM sqlite_schema WHERE name='v';", 'PRAGMA writable_schema=RESET;',
                       'CREATE VIRTUAL TABLE v USING turdb(a);', 'SELECT count(*), turdb_check() FROM v;')
    expect('0|ok' in again, again)


def the_shells_sessions_record_changes(scratch):
    if not compiled_with(sqlite3.connect(':memory:'), 'ENABLE_SESSION'):
        skip('this SQLite has no sessions')
    out = shell_over('file:app?vfs=turdb', 'CREATE TABLE t(a INTEGER PRIMARY KEY, b);', '.session open main s', '.session s attach t', "INSERT INTO t VALUES(1, 'x');",
                     '.session s changeset changes', '.session s close', status=None)
    if 'unknown command' in out:
        skip('this shell has no sessions')
    expect(os.path.getsize('changes') > 5, out)


TCL = r'''
load %s Sqlite3
sqlite3 m :memory:; m enable_load_extension 1; m eval {select load_extension('%s')}
sqlite3 db file:app?vfs=turdb -uri 1
db eval {create virtual table v using turdb(a integer primary key, b text)}
db transaction { for {set i 0} {$i<100} {incr i} { db eval {insert into v(b) values($i)} } }
db transaction { db eval {select a from v where a<10} { db eval {delete from v where a=$a} } }
catch {db transaction {db eval {delete from v}; error boo}} e
puts "$e [db eval {select count(*), turdb_check() from v}]"
sqlite3 other always -vfs turdb-always; other eval {create table t(a)}; puts [file isdirectory always]
db close; other close; m close
'''


def tcl_opens_it(scratch):
    libraries = list(pathlib.Path('/usr/lib').glob('tcltk*/*/libtclsqlite3.so')) + list(pathlib.Path('/usr/lib').glob('*/tcltk*/*/libtclsqlite3*.so'))
    tclsh = shutil.which('tclsh')
    if not libraries or not tclsh:
        skip('needs tclsh and its sqlite3 package')
    out = subprocess.run([tclsh], input=TCL % (libraries[0], LIBRARY), text=True, capture_output=True, timeout=60)
    expect_equal((out.stdout, out.stderr), ('boo 91 ok\n1\n', ''))


PERL = r'''
use DBI; use strict;
my $m = DBI->connect("dbi:SQLite:dbname=:memory:", "", "", {RaiseError => 1}); $m->sqlite_enable_load_extension(1);
$m->do("select load_extension('%s')");
my $d = DBI->connect("dbi:SQLite:uri=file:app?vfs=turdb", "", "", {RaiseError => 1, PrintError => 0});
$d->do("create virtual table v using turdb(a integer primary key, b text, index i(b))");
$d->begin_work; my $s = $d->prepare("insert into v(b) values(?)"); $s->execute("x$_") for 1..100; $d->commit;
eval { $d->do("insert into v values(1, 'again')") }; print $@ =~ /UNIQUE constraint failed: v.a/ ? "unique " : $@;
print join(" ", $d->selectrow_array("select count(*), turdb_check() from v where b>''")), "\n"; $d->disconnect;
'''


def perl_opens_it(scratch):
    perl = shutil.which('perl')
    if not perl or subprocess.run([perl, '-MDBD::SQLite', '-e', '1'], capture_output=True).returncode:
        skip("needs perl's DBD::SQLite")
    out = subprocess.run([perl, '-e', PERL % LIBRARY], text=True, capture_output=True, timeout=60)
    expect_equal((out.stdout, out.stderr), ('unique 100 ok\n', ''))


# turdb_vacuum() moved pages for a connection that may only read.
def who_may_only_read_takes_no_care(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE v USING turdb(a)')
    con.execute('INSERT INTO v VALUES(1)')
    reader = connect('app', '&mode=ro')
    for sql in ('SELECT turdb_vacuum()', 'SELECT turdb_checkpoint()'):
        expect_error('it was opened read-only', reader.execute, sql)
    for sql in ("SELECT turdb_create_index('i', 'v', 'a')", 'DROP TABLE v', 'INSERT INTO v VALUES(2)', 'VACUUM'):
        expect_error('readonly', reader.execute, sql)
    expect_equal(reader.execute('SELECT count(*), turdb_check() FROM v').fetchone(), (1, 'ok'))


# A process may open few files.
def a_low_limit_of_open_files_is_an_error_that_says_so(scratch):
    out = python('import resource\n'
                 'resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n'
                 'con = connect("app")\n'
                 'con.execute("CREATE TABLE t(a)")\n'
                 'try:\n'
                 '    for i in range(60): con.execute("CREATE VIRTUAL TABLE v%d USING turdb(a)" % i)\n'
                 'except sqlite3.Error as error: print(error)\n'
                 'con.execute("INSERT INTO t VALUES(1)")\n'
                 'print(value(con, "SELECT turdb_check()"))')
    expect('too many open files (ulimit -n)' in out and out.endswith('ok\n'), out)
    con = connect('app')
    expect(value(con, 'SELECT count(*) FROM turdb_tables') > 10)
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


# Of more than 64 files only the first that were met were ever looked at, and dropped ones stayed for good.
def a_schema_of_many_tables_works(scratch):
    con, count = connect('app'), scaled(100, 20)
    con.execute('PRAGMA synchronous=OFF')
    con.execute('BEGIN')
    for i in range(count):
        con.execute('CREATE VIRTUAL TABLE v%d USING turdb(a INTEGER PRIMARY KEY, b, INDEX i(b))' % i)
        con.execute('CREATE TABLE t%d(a)' % i)
        con.execute('INSERT INTO v%d(b) VALUES(?)' % i, (i,))
    con.execute('COMMIT')
    con.close()
    con = connect('app')
    expect_equal(sum(value(con, 'SELECT b FROM v%d' % i) for i in range(count)), count * (count - 1) // 2)
    expect_equal((value(con, 'SELECT count(*) FROM turdb_tables'), value(con, 'SELECT turdb_check()')), (count, 'ok'))
    files = lambda pattern: sorted(name for name in os.listdir('app/root') if re.search(pattern, name))

    def expect_gone(pattern):  # small files go by the checkpoint thread
        for _ in range(500):
            if not files(pattern):
                return
            time.sleep(0.02)
        expect_equal(files(pattern), [])

    for i in range(0, count, 9):
        con.execute('DROP TABLE v%d' % i)
        expect_gone(r'-v%d\.' % i)
    con.execute('BEGIN')
    for i in range(count):
        con.execute('DROP TABLE IF EXISTS v%d' % i)
    con.execute('COMMIT')
    expect_gone(r'-v\d+\.')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


main(globals())
