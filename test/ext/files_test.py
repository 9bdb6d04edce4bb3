"""Paths, owners, copies and full disks: what people do to a directory of files."""
import contextlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()

NOBODY = 65534


def last_error():
    return value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()')


def make(path, rows=100):
    con = connect(path)
    con.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, b)')
    con.execute('CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b TEXT, INDEX v_b(b))')
    con.execute('BEGIN')
    for table in 'tv':
        con.executemany('INSERT INTO %s VALUES(?, ?)' % table, [(i, 'x' * i) for i in range(rows)])
    con.execute('COMMIT')
    return con


def state(path):
    con = connect(path, '&mode=rw')
    found = [value(con, 'SELECT count(*) FROM ' + table) for table in 'tv']
    found += [value(con, 'PRAGMA integrity_check'), value(con, 'SELECT turdb_check()')]
    con.close()
    return found


def rows(*counts):
    return list(counts) + ['ok', 'ok']


def one_directory_has_many_names(scratch):
    make('app', 10).close()
    os.symlink('app', 'link')
    os.mkdir('sub')
    for number, path in enumerate(('./app', 'app/', 'app//', 'sub/../app', 'link', 'link/', scratch + '/app', '//' + scratch + '/app',
                                   'file://localhost' + scratch + '/app')):
        uri = path if path.startswith('file:') else 'file:' + path
        con = sqlite3.connect(uri + '?vfs=turdb', uri=True)
        expect_equal((path, value(con, 'SELECT count(*) FROM v')), (path, 10 + number))
        con.execute('INSERT INTO v(b) VALUES(?)', (path,))
        con.commit()
        con.close()
    one, two = connect('app'), connect('link')
    one.execute('BEGIN')
    one.execute('DELETE FROM v')
    expect_error('locked', sqlite3.connect('file:link?vfs=turdb', uri=True, timeout=0).execute, "UPDATE v SET b=''")
    one.execute('COMMIT')
    expect_equal(value(two, 'SELECT count(*) FROM v'), 0)


def names_may_be_odd(scratch):
    for quoted, plain in (('with space', 'with space'), ('with%20space2', 'with space2'), ('per%25cent', 'per%cent'), ('que%3fst', 'que?st'),
                          ('ha%23sh', 'ha#sh'), ('ünïcödé-日本', 'ünïcödé-日本'), ('a%0ab', 'a\nb'), ("quo'te\"s", "quo'te\"s"), ('n' * 255, 'n' * 255)):
        con = make(quoted, 5)
        expect(os.path.isfile(os.path.join(plain, 'turdb.meta')), plain)
        con.close()
        expect_equal(state(quoted), rows(5, 5))


def paths_that_cannot_be_opened_are_told_why(scratch):
    os.symlink('loop', 'loop')
    os.mkdir('full')
    open('full/thing', 'w').close()
    make('app', 1).close()
    for path, words in (('loop', 'too many links'), ('n' * 256, 'longer than the file system allows'), ('/'.join(['d' * 99] * 8), 'longer than'),
                        ('no/such/app', 'open directory %s/no/such: No such file' % scratch), ('full', 'a directory with other things in it'),
                        ('.', 'a directory with other things in it'), ('app/turdb.meta', 'open the directory it lies in')):
        expect_error('unable to open', connect, path)
        expect(words in last_error(), last_error())
    for options, words in (('&mode=ro', 'there is nothing of that name'), ('&mode=rw', 'there is nothing of that name'),
                           ('&nolock=1', 'nolock=1 is not offered'), ('&cache=shared', 'shared cache is not offered')):
        expect_error('unable to open', connect, 'new', options)
        expect(words in last_error(), last_error())
        expect(not os.path.exists('new'))
    expect_equal(os.listdir('full'), ['thing'])


def the_working_directory_may_change(scratch):
    con = make('app')
    os.mkdir('elsewhere')
    os.chdir('elsewhere')
    con.execute('CREATE VIRTUAL TABLE w USING turdb(a)')
    con.execute("ATTACH 'file:other?vfs=turdb' AS other")
    con.execute('CREATE VIRTUAL TABLE other.w USING turdb(a)')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    expect_equal(sorted(os.listdir('.')), ['other'])


def new_files_have_the_mode_of_the_database(scratch):
    old = os.umask(0o077)
    try:
        make('secret').close()
        os.umask(0o000)
        con = connect('secret')
        con.execute('CREATE VIRTUAL TABLE later USING turdb(a)')
        con.close()
        os.umask(0o022)
        make('shared').close()
    finally:
        os.umask(old)
    for top, files in (('secret', 0o600), ('shared', 0o644)):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                expect_equal((path, '%o' % stat.S_IMODE(os.stat(path).st_mode)), (path, '%o' % files))


AS_USER = '''
import os
os.setgroups([]); os.setgid(%d); os.setuid(%d)
con = connect("app")
''' % (NOBODY, NOBODY)


# A table or a log segment that root had made could not be written by the database's owner any more.
def what_root_makes_in_a_users_database_is_the_users(scratch):
    if os.geteuid() != 0:
        skip('needs root')
    os.chmod(scratch, 0o777)
    python(AS_USER + 'con.execute("CREATE TABLE t(a)"); con.close()')
    # root dies in the middle
    python('con = connect("app")\n'
           'con.execute("CREATE VIRTUAL TABLE v USING turdb(a)")\n'
           'for i in range(600): con.execute("INSERT INTO t VALUES(randomblob(3000))")\n'
           'os.remove("app/turdb.shm")\n'
           'import signal; print("x", flush=True); os.kill(os.getpid(), signal.SIGKILL)', wait=False).communicate()
    for folder, _, names in os.walk('app'):
        for name in names:
            expect_equal((name, os.stat(os.path.join(folder, name)).st_uid), (name, NOBODY))
    out = python(AS_USER + 'con.execute("INSERT INTO v VALUES(1)"); con.execute("INSERT INTO t VALUES(1)")\n'
                 'print(value(con, "SELECT turdb_check()"), value(con, "SELECT count(*) FROM v"))')
    expect_equal(out.strip(), 'ok 1')
    # What cannot be written says so.
    table = [name for name in os.listdir('app/root') if name.endswith('-v.tbd')][0]
    os.chown('app/root/' + table, 0, 0)
    out = python(AS_USER + 'print(value(con, "SELECT count(*) FROM v"))\n'
                 'try: con.execute("INSERT INTO v VALUES(2)")\n'
                 'except sqlite3.Error: print(value(con, "SELECT turdb_last_error()"))')
    expect('1\n' in out and table in out and 'its owner, its permissions or the mount' in out, out)


def a_user_reads_what_he_cannot_write(scratch):
    if os.geteuid() != 0:
        skip('needs root')
    os.chmod(scratch, 0o755)
    make('app', 7).close()
    out = python(AS_USER.replace('con = connect("app")', '') + '''
for options in ("", "&mode=ro"):
    try: connect("app", options)
    except sqlite3.Error: print(value(sqlite3.connect(":memory:"), "SELECT turdb_last_error()"))
con = connect("app", "&immutable=1")
print(value(con, "SELECT count(*) FROM v"))''')
    expect_equal(out.count('opens with immutable=1'), 2)
    expect_equal(out.split('\n')[-2], '7')


def a_closed_database_is_moved_and_copied_like_any_directory(scratch):
    make('app').close()
    os.rename('app', 'moved')
    expect_equal(state('moved'), rows(100, 100))
    shutil.copytree('moved', 'copy')
    one, two = connect('moved'), connect('copy')
    one.execute('DELETE FROM v WHERE a<50')
    two.execute("ATTACH 'file:moved?vfs=turdb' AS other")
    expect_equal(two.execute('SELECT (SELECT count(*) FROM v), (SELECT count(*) FROM other.v)').fetchone(), (100, 50))
    one.close()
    two.close()
    expect_equal([state('moved'), state('copy')], [rows(100, 50), rows(100, 100)])


def a_database_moved_while_it_is_open_goes_on(scratch):
    con = make('app')
    os.rename('app', 'moved')
    con.execute('CREATE VIRTUAL TABLE w USING turdb(a)')
    con.execute("INSERT INTO v VALUES(1000, 'x')")
    other = make('app', 10)  # another one, at the old place
    expect_equal([value(c, 'SELECT count(*) FROM v') for c in (con, other, connect('moved'))], [101, 10, 101])
    con.close()
    other.close()
    expect_equal([state('app'), state('moved')], [rows(10, 10), rows(100, 101)])


def a_removed_database_is_no_trouble_for_the_next_one(scratch):
    con = make('app')
    shutil.rmtree('app')
    expect_equal(value(con, 'SELECT count(*) FROM v'), 100)
    expect_error('', con.execute, 'CREATE VIRTUAL TABLE w USING turdb(a)')
    expect('its files were removed while it was open' in last_error(), last_error())
    expect_error('unable to open', connect, 'app', '&mode=rw')
    make('app', 10).close()
    con.execute('DELETE FROM v')
    con.close()
    expect_equal(state('app'), rows(10, 10))


# What cp makes of files that are being written is what a crash leaves, or damage that is named. Never a wrong answer.
def a_copy_of_a_live_database_is_whole_or_an_error(scratch):
    make('app', 10).close()
    child = python('con = connect("app", "&checkpoint_mb=1")\ncon.execute("PRAGMA synchronous=OFF")\nprint("go", flush=True)\n'
                   'for i in range(1000, 10**9):\n'
                   '    con.execute("BEGIN")\n'
                   '    for t in "tv": con.execute("INSERT INTO %s VALUES(?, ?)" % t, (i, "y" * (i % 3000)))\n'
                   '    for t in "tv": con.execute("DELETE FROM %s WHERE a=?" % t, (i - 300,))\n'
                   '    con.execute("COMMIT")', wait=False)
    child.stdout.readline()
    try:
        for number in range(scaled(12, 4)):
            name = 'copy%d' % number
            try:
                shutil.copytree('app', name, ignore=lambda folder, names: [n for n in names if n == 'turdb.shm'] if number % 2 else [])
            except shutil.Error:
                pass  # a log segment that was listed had gone when its turn came
            try:
                found = state(name)
                expect(found[0] == found[1], found)
                expect(all(said == 'ok' or re.search(r'\b(root|wal)/', said) for said in found[2:]), found)
            except sqlite3.DatabaseError:
                expect(name in last_error() or 'root/' in last_error() or 'wal' in last_error(), last_error())
            shutil.rmtree(name)
    finally:
        child.kill()
        child.communicate()
    found = state('app')
    expect(found[0] == found[1] and found[2:] == ['ok', 'ok'], found)


@contextlib.contextmanager
def small_disk(megabytes):
    """A disk of its own in `small`; gives a function that connects to small/app, and closes what that has opened."""
    os.mkdir('small')
    if os.geteuid() != 0 or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%dm' % megabytes, 'tmpfs', 'small'],
                                           capture_output=True).returncode:
        skip('needs mount')
    opened = []
    try:
        yield lambda: opened.append(connect('small/app')) or opened[-1]
    finally:
        for con in opened:
            con.close()
        subprocess.run(['umount', '-l', 'small'])


def make_tables(con):
    con.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, b)')
    con.execute('CREATE VIRTUAL TABLE v USING turdb(a INTEGER PRIMARY KEY, b BLOB, INDEX v_b(b))')


def fill_disk(con, refusals, most):
    """Inserts into both tables until it was refused so often; answers how many times it was not."""
    done = refused = 0
    while refused < refusals and done < most:
        try:
            con.execute('BEGIN')
            for table in 'tv':
                con.execute('INSERT INTO %s VALUES(NULL, randomblob(3000))' % table)
            con.execute('COMMIT')
            done += 1
        except sqlite3.OperationalError as error:
            expect('full' in str(error), error)
            refused += 1
            if con.in_transaction:
                con.execute('ROLLBACK')
    return done


# A commit that wrote its pages behind its record found holes, and the disk full: neither finished nor taken
# back, and the database could not be opened again.
def a_full_disk_is_an_error_and_loses_nothing(scratch):
    with small_disk(12) as open_app:
        with open('small/ballast', 'wb') as ballast:
            ballast.write(bytes(1 << 20))
        con = open_app()
        make_tables(con)
        done = fill_disk(con, 5, 3000)
        expect(done > 50)
        for sql in ('CREATE VIRTUAL TABLE w USING turdb(a)', "SELECT turdb_create_index('i', 'v', 'a, b')", 'SELECT turdb_checkpoint()',
                    'SELECT turdb_vacuum()', 'VACUUM', 'DELETE FROM v WHERE a%3=0', 'DROP TABLE v'):
            try:
                con.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                expect('full' in str(error) or 'No space left' in str(error), '%s: %s' % (sql, error))
            expect_equal(con.execute('SELECT count(*), turdb_check() FROM t').fetchone(), (done, 'ok'))
        con.close()
        con = open_app()
        expect_equal(con.execute('SELECT count(*), turdb_check() FROM t').fetchone(), (done, 'ok'))
        os.remove('small/ballast')
        con.execute('DROP TABLE IF EXISTS v')
        con.execute('INSERT INTO t VALUES(NULL, randomblob(3000))')


# Whoever had filled the disk could not delete: that writes pages and log, too.
def a_full_disk_is_emptied_by_deleting(scratch):
    with small_disk(20) as open_app:
        con = open_app()
        make_tables(con)
        con.execute('INSERT INTO v VALUES(1, randomblob(3000))')
        con.execute('SELECT turdb_checkpoint()')
        done = fill_disk(con, 20, 4000)
        expect(done > 100)
        for i in range(20):
            con.execute('DELETE FROM t WHERE a = ?', (3 * i + 1,))
            con.execute('DELETE FROM v WHERE a BETWEEN ? AND ?', (9 * i, 9 * i + 4))
        expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
        con.execute('SELECT turdb_vacuum()')
        before = os.statvfs('small').f_bfree
        con.execute('DROP TABLE v')
        expect(os.statvfs('small').f_bfree - before > 500, 'a dropped table gave nothing back')
        for i in range(100):
            con.execute('INSERT INTO t VALUES(NULL, randomblob(3000))')
        expect_equal(con.execute("SELECT value, turdb_check() FROM turdb_status WHERE name = 'reserve_short'").fetchone(), (0, 'ok'))
        con.close()
        con = open_app()
        expect_equal(con.execute('SELECT turdb_check(), count(*) FROM t').fetchone(), ('ok', done - 20 + 100))


# With secure_delete SQLite fills what it frees with zeros. Those pages wanted places: more than a full disk had.
def an_ordinary_table_is_dropped_on_a_full_disk(scratch):
    with small_disk(32) as open_app:
        con = open_app()
        expect_equal((value(con, 'PRAGMA secure_delete=1'), value(con, 'PRAGMA turdb_cache_kb=1024')), (1, '1024'))
        con.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, b)')
        con.execute('CREATE INDEX t_b ON t(b)')
        try:
            while True:
                con.execute('INSERT INTO t(b) VALUES(randomblob(3000))')
        except sqlite3.OperationalError as error:
            expect('full' in str(error), error)
        for sql in ('DROP INDEX t_b', 'DELETE FROM t', 'VACUUM', 'INSERT INTO t(b) VALUES(1)'):
            con.execute(sql)
            expect_equal(con.execute('SELECT turdb_check(), (SELECT * FROM pragma_integrity_check)').fetchone(), ('ok', 'ok'))
        expect(os.statvfs('small').f_bfree * 4096 > 16 << 20, 'what was dropped gave nothing back')


main(globals())
