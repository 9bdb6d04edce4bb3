"""What Python tests of SQL share: the extension loaded, scratch directories, the harness's output lines.

A test script imports this first. It runs under the variant that TURDB_BUILD names (default build/release); for sanitizer
builds it starts itself again with the sanitizer's runtime preloaded. Cases are functions whose names are sentences, run by
main() in the order of their definition; arguments pick some by name. A case fails by an exception, or skips by skip().
"""
import gc
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TURDB_BUILD', TOP / 'build/release')).resolve()
LIBRARY = str(pathlib.Path(os.environ.get('TURDB_SO', BUILD / 'turdb.so')).resolve())
os.environ.update(TURDB_BUILD=str(BUILD), TURDB_SO=LIBRARY)  # for other processes, which may be elsewhere
SANITIZER = {'asan': 'libasan.so', 'tsan': 'libtsan.so'}.get(BUILD.name)


def start_again_with_sanitizer():
    if not SANITIZER or os.environ.get('TURDB_PRELOADED'):
        return
    runtime = subprocess.check_output(['gcc', '-print-file-name=' + SANITIZER], text=True).strip()
    os.environ.update(LD_PRELOAD=runtime, TURDB_PRELOADED='1', PYTHONMALLOC='malloc',
                      ASAN_OPTIONS='detect_leaks=0:abort_on_error=1:' + os.environ.get('ASAN_OPTIONS', ''),
                      UBSAN_OPTIONS='print_stacktrace=1:' + os.environ.get('UBSAN_OPTIONS', ''),
                      TSAN_OPTIONS='exitcode=66:ignore_noninstrumented_modules=1:' + os.environ.get('TSAN_OPTIONS', ''))
    os.execv(sys.executable, [sys.executable] + sys.argv)


start_again_with_sanitizer()

import sqlite3  # noqa: E402  (after the sanitizer's runtime)

SHELL = shutil.which('sqlite3')


class Skip(Exception):
    pass


def skip(why):
    raise Skip(why)


def scaled(count, least=1):
    return max(int(count * float(os.environ.get('TEST_SCALE', '1'))), least)


def seeds(count):
    """What a random test plays: `count` seeds at the usual scale, TURDB_SEED=n alone, or TURDB_SEEDS=first-end."""
    if 'TURDB_SEED' in os.environ:
        return [int(os.environ['TURDB_SEED'])]
    if 'TURDB_SEEDS' in os.environ:
        first, end = map(int, os.environ['TURDB_SEEDS'].split('-'))
        return range(first, end)
    return range(scaled(count))


def load():
    """Loads the extension into this process; later connections have it by themselves."""
    con = sqlite3.connect(':memory:')
    con.enable_load_extension(True)
    con.load_extension(LIBRARY)
    con.close()


class Home:
    """Where turdb tables live: `connect` opens a directory, or an ordinary file with the tables in shadow tables."""
    now = os.environ.get('TURDB_HOME_NOW', 'native')   # of the process that started this one
    files = 0   # made so far: each is another kind of host

    PAGE_SIZES = (4096, 512, 16384, 1024, 65536, 8192)

    @classmethod
    def inline(cls):
        return cls.now == 'inline'

    @classmethod
    def connect(cls, path, options, timeout, **rest):
        file, kind = '%s.db' % path, cls.files
        new = not os.path.exists(file)
        query = 'mode=ro' if 'mode=ro' in options else 'mode=rwc'
        con = sqlite3.connect('file:%s?%s' % (file, query), uri=True, isolation_level=None, timeout=timeout, **rest)
        if new:
            cls.files += 1
            con.execute('PRAGMA page_size = %d' % cls.PAGE_SIZES[kind % len(cls.PAGE_SIZES)])
            con.execute('PRAGMA journal_mode = %s' % ('WAL' if kind % 3 else 'DELETE'))
            con.execute('PRAGMA auto_vacuum = %d' % (kind // 4 % 3))
        con.execute('PRAGMA synchronous = off')
        small = '&cache_kb=1' if kind % 2 else '&cache_kb=16384'   # the least there is, or enough for all
        con.execute("SELECT turdb_config('cache_kb', %d)" % int((options + small).split('cache_kb=')[1].split('&')[0])).fetchall()
        return con


def wipe(path):
    """No database of that name is left, in whatever home."""
    shutil.rmtree(path, ignore_errors=True)
    for suffix in ('', '-wal', '-shm', '-journal'):
        pathlib.Path('%s.db%s' % (path, suffix)).unlink(missing_ok=True)


def connect(path, options='', timeout=5.0, **rest):
    """A connection in autocommit mode to the database `path`, in the home that is being tested."""
    if Home.inline():
        return Home.connect(path, options, timeout, **rest)
    return sqlite3.connect('file:%s?vfs=turdb%s' % (path, options), uri=True, isolation_level=None, timeout=timeout, **rest)


def value(con, sql, *arguments):
    row = con.execute(sql, arguments).fetchone()
    return row[0] if row else None


def compiled_with(con, option):
    return value(con, 'SELECT sqlite_compileoption_used(?)', option)


def set_progress_handler(con, handler, steps):
    if compiled_with(con, 'OMIT_PROGRESS_CALLBACK'):
        skip('this SQLite has no progress handler')
    con.set_progress_handler(handler, steps)


def expect(condition, what=''):
    if not condition:
        raise AssertionError(what or 'expectation not met')


def expect_equal(left, right):
    if left != right:
        raise AssertionError('got %r, wanted %r' % (left, right))


def expect_error(words, call, *arguments, kind=Exception):
    try:
        call(*arguments)
    except kind as error:
        if words not in str(error):
            raise AssertionError('wanted an error with %r, got %r' % (words, str(error))) from error
        return error
    raise AssertionError('wanted an error with %r, got none' % words)


def shell(commands, *arguments, status=0):
    """Runs the sqlite3 shell with the extension's path in TURDB_SO; returns what it printed."""
    done = subprocess.run([SHELL] + list(arguments), input=commands, text=True, capture_output=True, timeout=120)
    if status is not None and done.returncode != status:
        raise AssertionError('sqlite3 ended with %d: %s%s' % (done.returncode, done.stdout, done.stderr))
    return done.stdout + done.stderr


def python(code, *arguments, wait=True):
    """Starts another Python process that has imported this module's names."""
    head = 'import sys; sys.path.insert(0, %r); from sql import *; load()\n' % str(TOP / 'test/support')
    child = subprocess.Popen([sys.executable, '-c', head + code] + [str(a) for a in arguments], text=True,
                             env=dict(os.environ, TURDB_HOME_NOW=Home.now),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not wait:
        return child
    output = child.communicate(timeout=120)[0]
    if child.returncode:
        raise AssertionError('the other process ended with %d: %s' % (child.returncode, output))
    return output


BOTH_HOMES = ('native', 'inline')


def only_native(case):
    """For what only directories have."""
    case.homes = ('native',)
    return case


def main(names, homes=('native',)):
    cases = [f for name, f in names.items() if hasattr(f, '__code__') and getattr(f, '__module__', '') == '__main__'
             and f.__code__.co_argcount == 1 and f.__code__.co_varnames[0] == 'scratch']
    counts = {'ok': 0, 'FAIL': 0, 'skip': 0}
    homes = [home for home in homes if os.environ.get('TURDB_HOME', home) == home]
    for home, case in [(home, case) for home in homes for case in cases if home in getattr(case, 'homes', homes)]:
        if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
            continue
        Home.now, name = home, case.__name__ + (', inline' if home == 'inline' else '')
        scratch = tempfile.mkdtemp(prefix='turdb-test-')
        before = os.getcwd()
        os.chdir(scratch)
        word, why = 'ok', ''
        try:
            case(scratch)
        except Skip as reason:
            word, why = 'skip', ': %s' % reason
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                shutil.rmtree(scratch, ignore_errors=True)
                raise
            frame = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == sys.argv[0]]
            where = 'line %d: ' % frame[-1].lineno if frame else ''
            word, why = 'FAIL', ': %s%s: %s' % (where, type(error).__name__, error)
        gc.collect()  # connections that a case left open close here, not inside the next one
        os.chdir(before)
        shutil.rmtree(scratch, ignore_errors=True)
        counts[word] += 1
        print('%s %s%s' % (word, name, why), flush=True)
    print('total: %d passed, %d failed, %d skipped' % (counts['ok'], counts['FAIL'], counts['skip']))
    sys.exit(1 if counts['FAIL'] else 0)
