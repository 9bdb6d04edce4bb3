"""Links, pipes, directories and forbidden files where a database's files should be: named, never waited for, never
followed, and nothing is written. (store_bad_directory_test.c has damaged, missing, foreign and older files.)"""
import os
import pathlib
import shutil
import stat
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
ROWS = 50
REFUSED = []


def make(path='app', killed=False):
    code = '''
con = connect(sys.argv[1])
con.execute('CREATE TABLE plain(a)')
con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, b UNIQUE)')
con.execute("CREATE VIRTUAL TABLE v USING turdb(f VECTOR(2) HNSW (metric='l2'))")
con.close()
con = connect(sys.argv[1])
con.execute('BEGIN')
for i in range(%d):
    con.execute('INSERT INTO plain VALUES(?)', (i,))
    con.execute('INSERT INTO t VALUES(?, ?)', (i, 'b%%d' %% i))
    con.execute('INSERT INTO v(f) VALUES(?)', ('[%%d,1]' %% i,))
con.execute('COMMIT')
if %r:
    import os
    os._exit(0)
con.close()
''' % (ROWS, killed)
    python(code, path)


def files(path='app'):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
                  if name not in ('turdb.shm', 'turdb.reserve', 'README.txt'))


def picture(path='app'):
    """What is there, without following or opening what is no ordinary file."""
    found = {}
    for folder, folders, names in os.walk(path):
        for name in names + folders:
            whole = os.path.join(folder, name)
            mode = os.lstat(whole).st_mode
            what = os.readlink(whole) if stat.S_ISLNK(mode) else None
            if stat.S_ISREG(mode):
                with open(whole, 'rb') as file:
                    what = file.read()
            if name != 'turdb.shm':
                found[whole] = (stat.S_IFMT(mode), what)
    return found


def read_all():
    """None when everything is there; else the sentence, and whether the database had opened."""
    con, opened = None, False
    try:
        con = connect('app', '&mode=rw')
        con.execute('SELECT * FROM sqlite_schema').fetchall()
        opened = True
        said = value(con, 'SELECT turdb_check()')
        expect(said != 'ok' or (value(con, 'SELECT count(*) FROM plain') == ROWS and
                                value(con, "SELECT count(*) FROM t WHERE b > ''") == ROWS and
                                value(con, 'SELECT count(*) FROM v') == ROWS), 'rows are missing, and nothing was said')
        return None if said == 'ok' else (said, opened)
    except sqlite3.Error as error:
        said = value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()')
        return '%s; %s' % (error, said), opened
    finally:
        if con:
            con.close()


def each_file_becomes(what, killed):
    make('good', killed)
    for name in files('good'):
        name = name[len('good/'):]
        shutil.rmtree('app', ignore_errors=True)
        shutil.copytree('good', 'app')
        what(os.path.join('app', name))
        before = picture()
        answer = read_all()
        expect(answer, '%s: nothing was said' % name)
        said, opened = answer
        expect(os.path.basename(name) in said, '%s: %s' % (name, said))
        after = picture()
        expect(opened or before == after, '%s: changed %s: %s' % (
            name, [k for k in set(before) | set(after) if before.get(k) != after.get(k)], said))
    expect_equal(picture('elsewhere') if os.path.exists('elsewhere') else None, REFUSED[0] if REFUSED else None)


def link_to_a_copy(path):
    os.makedirs('elsewhere', exist_ok=True)
    copy = os.path.abspath(os.path.join('elsewhere', os.path.basename(path)))
    shutil.copyfile(path, copy)
    os.unlink(path)
    os.symlink(copy, path)
    REFUSED[:] = [picture('elsewhere')]


def pipe(path):
    os.unlink(path)
    os.mkfifo(path)


def directory(path):
    os.unlink(path)
    os.mkdir(path)


def dangling_link(path):
    os.unlink(path)
    os.symlink('/nowhere/at/all', path)


def link_to_a_device(path):
    os.unlink(path)
    os.symlink('/dev/zero', path)


def symbolic_links_are_not_followed(scratch):
    each_file_becomes(link_to_a_copy, False)
    REFUSED.clear()


def symbolic_links_beside_a_log_are_not_followed(scratch):
    each_file_becomes(link_to_a_copy, True)
    REFUSED.clear()


def links_that_lead_nowhere_are_told(scratch):
    each_file_becomes(dangling_link, True)


def links_to_devices_are_not_read(scratch):
    each_file_becomes(link_to_a_device, True)


def nobody_waits_for_a_pipe(scratch):
    each_file_becomes(pipe, True)


def directories_are_no_files(scratch):
    each_file_becomes(directory, True)


def a_directory_that_is_a_link_or_a_file_is_told(scratch):
    make('good', True)
    for name in ('root', 'wal'):
        for what in ('link', 'file', 'missing', 'pipe'):
            shutil.rmtree('app', ignore_errors=True)
            shutil.rmtree('moved', ignore_errors=True)
            shutil.copytree('good', 'app')
            os.rename('app/' + name, 'moved')
            if what == 'link':
                os.symlink(os.path.abspath('moved'), 'app/' + name)
            elif what == 'file':
                open('app/' + name, 'w').close()
            elif what == 'pipe':
                os.mkfifo('app/' + name)
            before, moved = picture(), picture('moved')
            answer = read_all()
            expect(answer, '%s as %s: nothing was said' % (name, what))
            expect(name in answer[0], '%s as %s: %s' % (name, what, answer[0]))
            expect(before == picture() and moved == picture('moved'), '%s as %s: something was written' % (name, what))


def a_shared_memory_file_that_is_none_is_told(scratch):
    make('good', True)
    for what in (pipe, directory, dangling_link, link_to_a_device):
        shutil.rmtree('app', ignore_errors=True)
        shutil.copytree('good', 'app')
        what('app/turdb.shm')
        before = picture()
        answer = read_all()
        expect(answer and 'turdb.shm' in answer[0], answer)
        expect_equal(picture(), before)


READER = '''
import os, sqlite3, sys
con = sqlite3.connect(':memory:')
con.enable_load_extension(True)
con.load_extension('./turdb.so')
try:
    db = sqlite3.connect('file:app?vfs=turdb&mode=rw', uri=True)
    print(db.execute('SELECT turdb_check()').fetchone()[0])
except sqlite3.Error:
    print(con.execute('SELECT turdb_last_error()').fetchone()[0])
'''


def files_that_may_not_be_opened_are_named(scratch):
    if os.getuid() != 0 or not shutil.which('setpriv'):
        skip('it takes root and setpriv to become an ordinary user')
    make('good', True)
    shutil.copyfile(LIBRARY, 'turdb.so')
    os.chmod(scratch, 0o755)
    for name in files('good'):
        for mode in (0o000, 0o444):
            name = name[len('good/'):] if name.startswith('good/') else name
            shutil.rmtree('app', ignore_errors=True)
            shutil.copytree('good', 'app')
            subprocess.check_call(['chown', '-R', '65534:65534', 'app'])
            os.chmod(os.path.join('app', name), mode)
            before = picture()
            done = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', sys.executable, '-c',
                                   READER], text=True, capture_output=True, timeout=60)
            said = done.stdout.strip()
            expect_equal(done.stderr, '')
            if mode == 0o444 and said == 'ok':
                continue  # it was not to be written
            expect('wal' in said if name.startswith('wal/') else os.path.basename(name) in said, (name, oct(mode), said))
            expect(before == picture() or 'wal' not in name, '%s %o: something was written: %s' % (name, mode, said))


def commits_of_a_lost_segment_are_given_up_by_their_number(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a TEXT UNIQUE)')
    con.execute("INSERT INTO t VALUES(1, 'kept')")
    con.close()
    python("""
con = connect('app')
con.execute("INSERT INTO t VALUES(2, 'lost')")
con.execute('CREATE VIRTUAL TABLE u USING turdb(a)')
os.kill(os.getpid(), 9)
""", wait=False).wait()
    segment = max(pathlib.Path('app/wal').iterdir(), key=lambda p: p.stat().st_mtime_ns)
    segment.rename('segment')
    expect_error('', lambda: connect('app').execute('SELECT * FROM t'))
    told = value(sqlite3.connect(':memory:'), 'SELECT turdb_last_error()')
    number = int(told.rpartition('turdb_lose_after=')[2].split()[0])
    expect('open %s/app: commits after transaction %d cannot be read' % (os.path.realpath(scratch), number) in told, told)
    expect_error('', lambda: connect('app', '&turdb_lose_after=%d' % (number - 1)).execute('SELECT * FROM t'))
    expect_error('', lambda: connect('app', '&turdb_lose_after=%d&immutable=1' % number).execute('SELECT * FROM t'))
    shutil.copytree('app', 'copy')
    segment.write_bytes(open('segment', 'rb').read())
    con = connect('app', '&turdb_lose_after=%d' % number)
    expect_equal([r[0] for r in con.execute('SELECT a FROM t')], ['kept', 'lost'])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con = connect('copy', '&turdb_lose_after=%d' % number)
    expect_equal([r[0] for r in con.execute('SELECT a FROM t')], ['kept'])
    expect_error('no such table', con.execute, 'SELECT * FROM u')
    con.execute("INSERT INTO t VALUES(3, 'new')")
    con.execute('CREATE VIRTUAL TABLE u USING turdb(a)')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    con = connect('copy')
    expect_equal([r[0] for r in con.execute('SELECT a FROM t')], ['kept', 'new'])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


main(globals())
