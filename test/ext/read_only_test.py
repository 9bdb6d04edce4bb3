"""A directory that an ordinary user may only read: a sentence that says how to open it, and nothing changes."""
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from sql import *  # noqa: F401,F403,E402

READER = '''
import sqlite3, sys
con = sqlite3.connect(':memory:')
con.enable_load_extension(True)
con.load_extension('./turdb.so')
for uri, sql in (('app?vfs=turdb', 'SELECT a FROM t'), ('app?vfs=turdb&mode=ro', 'SELECT a FROM t'),
                 ('app?vfs=turdb&immutable=1', 'SELECT a FROM t'), ('new?vfs=turdb', 'CREATE TABLE t(a)')):
    try:
        print(sqlite3.connect('file:' + uri, uri=True).execute(sql).fetchall())
    except sqlite3.OperationalError:
        print(con.execute('SELECT turdb_last_error()').fetchone()[0])
'''


def sums():
    return {os.path.join(folder, name): hashlib.md5(open(os.path.join(folder, name), 'rb').read()).hexdigest()
            for folder, _, names in os.walk('app') for name in names}


def an_ordinary_user_is_told_how_to_read_it(scratch):
    if os.getuid() != 0 or not shutil.which('setpriv'):
        skip('it takes root and setpriv to become an ordinary user')
    load()
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute('INSERT INTO t VALUES(42)')
    con.close()
    shutil.copyfile(LIBRARY, 'turdb.so')
    os.chmod(scratch, 0o755)
    subprocess.check_call(['chmod', '-R', 'a+rX,a-w', 'app', 'turdb.so'])
    before = sums()
    said = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', sys.executable, '-c', READER],
                          text=True, capture_output=True, timeout=60)
    expect_equal(said.stderr, '')
    lines = said.stdout.splitlines()
    expect('turdb.meta cannot be written' in lines[0] and 'immutable=1' in lines[0], lines[0])
    expect('immutable=1' in lines[1], lines[1])
    expect_equal(lines[2], '[(42,)]')
    expect('new' in lines[3] and 'Permission denied' in lines[3], lines[3])
    expect_equal(sums(), before)


main(globals())
