"""Which paths the VFS takes for directory databases, what it refuses, and what it passes through."""
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()


def last_error():
    return value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()')


def cannot_open(path, options, words):
    con = None
    try:
        con = connect(path, options)
        con.execute('SELECT * FROM sqlite_schema')
    except sqlite3.Error:
        expect(words in last_error(), last_error())
        return
    raise AssertionError('%s%s opened' % (path, options))


def a_missing_path_becomes_a_directory(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute('INSERT INTO t VALUES(1)')
    expect_equal(con.execute('PRAGMA database_list').fetchall()[0][2], os.path.join(os.path.realpath(scratch), 'app'))
    con.close()
    expect(os.path.isfile('app/turdb.meta') and os.path.isfile('app/root/sqlite.tbd'))
    expect_equal(value(connect('app'), 'SELECT a FROM t'), 1)
    expect_equal(value(connect('app/'), 'SELECT a FROM t'), 1)
    os.symlink('app', 'link')
    expect_equal(value(connect('link'), 'SELECT a FROM t'), 1)


def a_missing_path_stays_missing_without_rwc(scratch):
    for mode in ('ro', 'rw'):
        cannot_open('app', '&mode=' + mode, 'there is nothing of that name')
        expect(not os.path.exists('app'))


def an_empty_directory_is_filled(scratch):
    os.mkdir('empty')
    connect('empty').execute('CREATE TABLE t(a)')
    expect(os.path.isfile('empty/turdb.meta'))


def another_directory_is_left_alone(scratch):
    os.mkdir('other')
    open('other/file', 'w').close()
    cannot_open('other', '', 'not a TurDB database')
    expect_equal(os.listdir('other'), ['file'])


def an_ordinary_file_passes_through(scratch):
    plain = sqlite3.connect('plain.db')
    plain.execute('PRAGMA journal_mode=wal')
    plain.execute('CREATE TABLE t(a)')
    plain.execute('INSERT INTO t VALUES(5)')
    plain.commit()
    con = connect('plain.db')
    expect_equal(value(con, 'SELECT a FROM t'), 5)
    expect_equal(value(con, 'PRAGMA journal_mode'), 'wal')
    con.execute('INSERT INTO t VALUES(6)')
    expect(os.path.exists('plain.db-wal') and os.path.exists('plain.db-shm'))
    expect_equal(value(plain, 'SELECT sum(a) FROM t'), 11)
    con.close()
    plain.close()
    con = connect('plain.db')
    expect_equal(value(con, 'PRAGMA journal_mode=delete'), 'delete')
    con.execute('BEGIN')
    con.execute('INSERT INTO t VALUES(7)')
    expect(os.path.exists('plain.db-journal'))
    con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT sum(a) FROM t'), 11)


def an_empty_file_passes_through(scratch):
    open('zero.db', 'w').close()
    connect('zero.db').execute('CREATE TABLE t(a)')
    expect(open('zero.db', 'rb').read(6) == b'SQLite')


def a_file_that_is_no_database_is_named_by_sqlite(scratch):
    open('text', 'w').write('this is not a database, but long enough to have a header of a hundred bytes' * 3)
    expect_error('file is not a database', lambda: connect('text').execute('SELECT * FROM sqlite_schema'))


def plain_paths_mean_ordinary_files(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute('INSERT INTO t VALUES(1)')
    con.execute("ATTACH 'plain.db' AS p")
    con.execute('CREATE TABLE p.u AS SELECT * FROM t')
    con.execute("VACUUM INTO 'out.db'")
    con.execute("ATTACH 'app' AS same")
    expect_equal(value(con, 'SELECT count(*) FROM same.t'), 1)
    con.close()
    for name in ('plain.db', 'out.db'):
        expect(open(name, 'rb').read(6) == b'SQLite')
    expect_equal(value(sqlite3.connect('out.db'), 'SELECT a FROM t'), 1)


def the_vfs_turdb_always_needs_no_uri(scratch):
    con = sqlite3.connect('file:one?vfs=turdb-always', uri=True)
    con.execute("ATTACH 'two' AS two")
    con.execute('CREATE TABLE two.t(a)')
    con.close()
    expect(os.path.isfile('one/turdb.meta') and os.path.isfile('two/turdb.meta'))


def a_directory_opens_by_a_plain_path_under_the_vfs_only(scratch):
    connect('app').execute('CREATE TABLE t(a)')
    expect_error('unable to open', lambda: sqlite3.connect('app').execute('SELECT * FROM t'))
    con = sqlite3.connect(':memory:', uri=True)
    con.execute("ATTACH 'file:app?vfs=turdb' AS app")
    expect_equal(value(con, 'SELECT count(*) FROM app.t'), 0)


def a_part_of_a_database_is_no_database(scratch):
    connect('app').execute('CREATE TABLE t(a)')
    cannot_open('app/turdb.meta', '', 'open the directory it lies in')


def shared_cache_and_nolock_are_refused(scratch):
    connect('app').execute('CREATE TABLE t(a)')
    cannot_open('app', '&nolock=1', 'nolock=1 is not offered')
    if compiled_with(connect('app'), 'OMIT_SHARED_CACHE'):
        return
    cannot_open('app', '&cache=shared', 'shared cache is not offered')
    sqlite3.enable_shared_cache(True)
    try:
        first = connect('app')
        expect_equal(value(first, 'SELECT count(*) FROM t'), 0)
        expect_error('locking protocol', lambda: connect('app').execute('SELECT * FROM t'))
        expect('shared cache is not offered' in last_error(), last_error())
        expect_equal(value(first, 'SELECT count(*) FROM t'), 0)
    finally:
        sqlite3.enable_shared_cache(False)


def read_only_does_not_write(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    ro = connect('app', '&mode=ro')
    expect_error('readonly database', ro.execute, 'INSERT INTO t VALUES(1)')
    con.execute('INSERT INTO t VALUES(2)')
    expect_equal(value(ro, 'SELECT a FROM t'), 2)
    con.close()
    ro.close()
    ro = connect('app', '&mode=ro')
    expect_equal(value(ro, 'SELECT a FROM t'), 2)
    expect_equal(value(connect('app'), 'INSERT INTO t VALUES(3) RETURNING a'), 3)


def immutable_needs_no_lock_and_no_write(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute('INSERT INTO t VALUES(1)')
    con.close()
    if os.geteuid() == 0:
        before = {p: os.stat(p).st_mtime_ns for p in pathlib.Path('app').rglob('*')}
    else:
        for p in pathlib.Path('app').rglob('*'):
            p.chmod(0o555 if p.is_dir() else 0o444)
    im = connect('app', '&immutable=1')
    expect_equal(value(im, 'SELECT a FROM t'), 1)
    expect_error('readonly', im.execute, 'INSERT INTO t VALUES(1)')
    expect_equal(value(im, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(im, 'SELECT turdb_check()'), 'ok')
    im.close()
    if os.geteuid() == 0:
        expect_equal({p: os.stat(p).st_mtime_ns for p in pathlib.Path('app').rglob('*')}, before)


def an_image_of_a_newer_or_damaged_kind_is_named(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.close()
    shutil.copytree('app', 'short')
    with open('short/turdb.meta', 'r+b') as f:
        f.truncate(100)
    try:
        connect('short').execute('SELECT * FROM t')
    except sqlite3.Error:
        expect('short' in last_error() or 'turdb.meta' in last_error() or 'wal.0' in last_error(), last_error())
    else:
        raise AssertionError('a truncated turdb.meta opened')
    shutil.copytree('app', 'hollow')
    os.remove('hollow/root/sqlite.tbd')
    try:
        connect('hollow').execute('SELECT * FROM t')
    except sqlite3.Error:
        expect('sqlite.tbd' in last_error(), last_error())
    else:
        raise AssertionError('a database without its file opened')


def heap_kb_limits_the_library(scratch):
    out = python('''
con = connect("app", "&heap_kb=1024&cache_kb=256")
con.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
con.execute("BEGIN")
con.executemany("INSERT INTO t VALUES(?, ?)", ((i, "row %d" % i) for i in range(10000)))
con.execute("COMMIT")
print(value(con, "SELECT count(*) FROM t"), value(con, "SELECT a FROM t WHERE id=77"))
con.execute("DELETE FROM t WHERE id % 2")
print(value(con, "SELECT count(*) FROM t"), value(con, "PRAGMA integrity_check"), value(con, "SELECT turdb_check()"))
print(value(con, "SELECT value <= 1048576 FROM turdb_status WHERE name='heap_peak'"), value(con, "SELECT turdb_config('heap_kb')"))
con.close()
con = connect("app")
print(value(con, "SELECT count(*) FROM t"))
''')
    expect_equal(out.split('\n')[:4], ['10000 row 77', '5000 ok ok', '1 1024', '5000'])


def a_value_that_is_not_understood_refuses_the_opening(scratch):
    for parameter in ('cache_kb', 'checkpoint_mb', 'heap_kb'):
        for wrong in ('abc', '-1', '0', '', '12abc', '1.5', '2147483648', '99999999999999999999'):
            cannot_open('app', '&%s=%s' % (parameter, wrong),
                        'its URI says %s=%s, but %s is a whole number of ' % (parameter, wrong, parameter))
            expect('from 1 to 2147483647' in last_error(), last_error())
    for parameter in ('immutable', 'nolock', 'mmap'):
        cannot_open('app', '&%s=maybe' % parameter, 'its URI says %s=maybe, but %s is 0 or 1' % (parameter, parameter))
    cannot_open('app', '&turdb_cache=5', 'its URI says turdb_cache, which is no parameter; there are cache_kb,')
    expect(not os.path.exists('app'), 'a refused opening made something')


# The sentence blamed too many links.
def a_directory_that_may_not_be_entered_is_told_so(scratch):
    if os.geteuid() != 0:
        skip('needs another user')
    os.chmod('.', 0o755)
    os.mkdir('closed', 0o700)
    said = python("""
os.setuid(65534)
try:
    connect('closed/app').execute('SELECT 1 FROM sqlite_schema')
except sqlite3.Error:
    print(value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()'))
""")
    expect('open database closed/app: the path cannot be followed' in said and 'Permission denied' in said, said)


def parameters_of_others_are_ignored(scratch):
    con = connect('app', '&cache_kb=0x1000&checkpoint_mb=2147483647&mmap=off&nolock=no&immutable=false&synchronous=maybe&cachekb=abc')
    con.execute('CREATE TABLE t(a)')
    expect_equal(value(con, 'PRAGMA turdb_cache_kb'), '4096')
    expect_equal(value(con, 'PRAGMA turdb_checkpoint_mb'), '2147483647')


def figures_and_settings_are_answered(scratch):
    con = connect('app', '&cache_kb=2048')
    con.execute('CREATE TABLE t(a)')
    status = dict(con.execute('SELECT name, value FROM turdb_status'))
    expect_equal(status['cache_kb'], 2048)
    expect_equal(value(con, "SELECT turdb_config('cache_kb', 4096)"), 4096)
    expect_equal(value(con, 'PRAGMA turdb_cache_kb'), '4096')
    expect_equal(value(con, 'PRAGMA turdb_checkpoint_mb=7'), '7')
    expect_equal(value(con, "SELECT turdb_config('checkpoint_mb')"), 7)
    expect_error('not a number', con.execute, 'PRAGMA turdb_cache_kb=many')
    expect_error('there is no such setting', con.execute, "SELECT turdb_config('speed', 9)")
    for report in ('turdb_readers', 'turdb_wal'):
        expect_error('no TurDB directory is open', sqlite3.connect(':memory:').execute, 'SELECT * FROM ' + report)
        expect_error('not a TurDB directory', con.execute, "SELECT * FROM %s('temp')" % report)
    con.execute('BEGIN')
    value(con, 'SELECT count(*) FROM t')
    expect_equal([r[0] for r in con.execute('SELECT pid FROM turdb_readers')], [os.getpid()])
    con.execute('COMMIT')
    expect(value(con, 'SELECT sum(bytes) FROM turdb_wal') > 0)
    expect_equal(value(con, 'SELECT count(*) FROM turdb_problems'), 0)


main(globals())
