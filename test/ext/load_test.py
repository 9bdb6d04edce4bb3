"""Loading the extension: shells, connections, threads, renamed and second copies."""
import os
import pathlib
import shutil
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def shell_loads_and_opens_a_directory(scratch):
    out = shell("CREATE TABLE t(a); INSERT INTO t VALUES(42); SELECT a FROM t;",
                '-cmd', '.load ' + LIBRARY, '-cmd', '.open file:app?vfs=turdb')
    expect_equal(out.strip(), '42')
    expect(os.path.isdir('app') and os.path.isfile('app/turdb.meta'))


def shell_keeps_an_ordinary_file_ordinary(scratch):
    out = shell('.load %s\nSELECT turdb_version();\nCREATE TABLE t(a);\n' % LIBRARY, 'plain.db')
    expect_equal(out.strip(), '0.1.0')
    expect(open('plain.db', 'rb').read(16).startswith(b'SQLite format 3'))


def new_connections_have_the_functions(scratch):
    load()
    for path in (':memory:', 'plain.db'):
        expect_equal(value(sqlite3.connect(path), 'SELECT turdb_version()'), '0.1.0')
    expect_equal(value(connect('app'), 'SELECT turdb_version()'), '0.1.0')


def loading_again_changes_nothing(scratch):
    for _ in range(3):
        con = sqlite3.connect(':memory:')
        con.enable_load_extension(True)
        con.load_extension(LIBRARY)
        con.load_extension(LIBRARY)
        busy = con.execute('SELECT turdb_version() UNION ALL SELECT 2')
        busy.fetchone()
        con.load_extension(LIBRARY)
        expect_equal(value(con, 'SELECT turdb_version()'), '0.1.0')
        busy.close()
        con.close()


def a_renamed_file_loads(scratch):
    shutil.copy(LIBRARY, 'another-name_7.so')
    out = python('con = sqlite3.connect(":memory:"); con.enable_load_extension(True)\n'
                 'con.load_extension("./another-name_7"); print(value(con, "SELECT turdb_version()"))')
    expect_equal(out.strip(), '0.1.0')


def a_second_copy_uses_the_first_ones_stores(scratch):
    shutil.copy(LIBRARY, 'copy.so')
    out = python('con = connect("app"); con.enable_load_extension(True); con.execute("CREATE TABLE t(a)")\n'
                 'con.load_extension("./copy.so"); db = connect("app"); db.enable_load_extension(True)\n'
                 'db.load_extension("./copy.so"); db.execute("INSERT INTO t VALUES(1)")\n'
                 'print(value(con, "SELECT count(*) FROM t"), value(con, "SELECT turdb_version()"))')
    expect_equal(out.strip(), '1 0.1.0')


def threads_load_at_once(scratch):
    out = python('''
import threading
barrier, failures = threading.Barrier(8), []
def run(n):
    try:
        con = sqlite3.connect("file:app%d?mode=memory" % n, uri=True)
        con.enable_load_extension(True)
        barrier.wait()
        for _ in range(5):
            con.load_extension(LIBRARY)
        db = connect("db%d" % (n % 3))
        db.execute("CREATE TABLE IF NOT EXISTS t(a)")
        db.execute("INSERT INTO t VALUES(1)")
        db.close()
    except Exception as error:
        failures.append(str(error))
threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(failures, sum(value(connect("db%d" % n), "SELECT count(*) FROM t") for n in range(3)))
''')
    expect_equal(out.strip(), '[] 8')


def the_library_stays_after_its_first_connection_closed(scratch):
    out = python('import gc\nfor _ in range(20):\n    con = connect("app"); con.execute("SELECT 1"); con.close(); gc.collect()\n'
                 'print("fine")')
    expect_equal(out.strip(), 'fine')


def debug_names_build_kernels_and_libraries(scratch):
    load()
    text = value(sqlite3.connect(':memory:'), 'SELECT turdb_debug()')
    for word in ('turdb 0.1.0', 'simd ', 'sqlite ' + sqlite3.sqlite_version, 'zstd ', 'xxhash '):
        expect(word in text, text)
    os.environ['TURDB_SIMD'] = 'c'
    try:
        text = python('print(value(sqlite3.connect(":memory:"), "SELECT turdb_debug()"))')
    finally:
        del os.environ['TURDB_SIMD']
    expect('simd c;' in text, text)


def functions_that_touch_files_are_not_for_schemas(scratch):
    load()
    con = connect('app')
    con.execute('CREATE VIEW v AS SELECT turdb_checkpoint()')
    expect_error('unsafe use of turdb_checkpoint', con.execute, 'SELECT * FROM v')
    con.execute('CREATE VIEW w AS SELECT * FROM turdb_status')
    expect_error('unsafe use', con.execute, 'SELECT * FROM w')


# Node brings a SQLite of its own; .ci/run gets one that is new enough to have it as a module.
def newer_sqlite_loads_it(scratch):
    own = TOP / 'build/node/node_modules/.bin/node'
    node = str(own) if own.exists() else shutil.which('node')
    if not node:
        skip('no node')
    code = ('const {DatabaseSync} = require("node:sqlite");'
            'const a = new DatabaseSync(":memory:", {allowExtension: true}); a.loadExtension(process.argv[1]);'
            'const b = new DatabaseSync("file:app?vfs=turdb");'
            'b.exec("CREATE TABLE t(a); INSERT INTO t VALUES(7)");'
            'console.log(b.prepare("SELECT a, sqlite_version() v, turdb_check() c FROM t").get())')
    done = subprocess.run([node, '-e', code, LIBRARY], text=True, capture_output=True)
    if 'node:sqlite' in done.stderr or 'No such built-in' in done.stderr:
        skip('this node has no node:sqlite')
    expect('a: 7' in done.stdout and "c: 'ok'" in done.stdout, done.stdout + done.stderr)


main(globals())
