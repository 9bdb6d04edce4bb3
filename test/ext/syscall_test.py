"""System calls: beginning and ending a read makes none; shared memory is written in place by every file system."""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

READER = """
import sys; sys.path.insert(0, %r)
from sql import *
load()
con = connect('app')
statement, number = sys.argv[1], int(sys.argv[2])
for i in range(number):
    con.execute(statement, (i %% 1000 + 1,)).fetchone()
"""

SELECTS = {
    'an ordinary table': 'SELECT v FROM t WHERE id=?',
    'a turdb table': 'SELECT v FROM u WHERE id=?',
    'an index of a turdb table': 'SELECT v FROM u WHERE k=?',
    'both': 'SELECT u.v FROM t JOIN u ON u.id=t.id WHERE t.id=?',
}


def build():
    load()
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, k, v)')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, k INTEGER, v, INDEX by_k (k))')
    for name in 'tu':
        con.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) '
                    'INSERT INTO %s SELECT i, i * 7 %% 1001, hex(randomblob(200)) FROM n' % name)
    con.close()


def calls(statement, number):
    """System calls of a process that makes so many SELECTs."""
    code = READER % str(TOP / 'test/support')
    subprocess.run(['strace', '-f', '-c', '-U', 'calls,name', '-o', 'counts', sys.executable, '-c', code, statement,
                    str(number)], check=True)
    with open('counts') as file:
        rows = [line.split() for line in file]
    return {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1] != 'total'}


def need_strace():
    if not shutil.which('strace'):
        skip('there is no strace')
    if subprocess.run(['strace', '-o', '/dev/null', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('strace may not trace here')


# btrfs takes a new block each time it writes one, and on a full disk a store to the map of turdb.shm was SIGBUS.
def shared_memory_is_written_in_place(scratch):
    need_strace()
    subprocess.run(['strace', '-f', '-e', 'trace=openat,ioctl', '-o', 'calls', sys.executable, '-c',
                    READER % str(TOP / 'test/support'), '', '0'], check=True)
    lines = pathlib.Path('calls').read_text().splitlines()
    opened = next(i for i, line in enumerate(lines) if '"turdb.shm"' in line)
    after = lines[opened + 1:opened + 3]
    expect(any('SETFLAGS' in line and 'FS_NOCOW_FL' in line for line in after) or
           any('GETFLAGS' in line and '= -1' in line for line in after), lines[opened:opened + 3])


def reads_make_no_system_calls(scratch):
    need_strace()
    if SANITIZER:
        skip('a sanitizer makes calls of its own')
    build()
    few, many = 1000, scaled(100000, 10000)
    for name, statement in SELECTS.items():
        less, more = calls(statement, few), calls(statement, many)
        grown = {call: more[call] - less.get(call, 0) for call in more if more[call] - less.get(call, 0) > 5}
        print('note %s: %d calls for %d SELECTs, %d for %d' % (name, sum(less.values()), few, sum(more.values()), many))
        expect(sum(more.values()) - sum(less.values()) < 60, 'these calls grew: %r' % grown)


main(globals())
