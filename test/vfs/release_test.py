"""What is dropped or deleted goes back to the file system while the database is open."""
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) '
MB = 1 << 20


def used(path, part='root'):
    """Bytes on disk, as du counts them."""
    return sum(os.stat(os.path.join(path, part, name)).st_blocks * 512 for name in os.listdir(os.path.join(path, part)))


def sound(con):
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def fill(con, table, rows, bytes_each=1000):
    con.execute(NUMBERS % rows + 'INSERT INTO %s SELECT i, randomblob(%d) FROM n' % (table, bytes_each))


def dropping_an_ordinary_table_gives_its_space_back_at_once(scratch):
    con = connect('app')
    con.execute('CREATE TABLE keep(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE TABLE gone(id INTEGER PRIMARY KEY, v)')
    rows = scaled(20000, 4000)
    fill(con, 'keep', rows // 20)
    fill(con, 'gone', rows)
    before = used('app')
    expect(before > rows * 1000)
    con.execute('DROP TABLE gone')
    after = used('app')
    print('note ordinary: %.1f MB before, %.1f MB after' % (before / MB, after / MB))
    expect(after < before / 5)
    sound(con)
    # The pages are used again.
    con.execute('CREATE TABLE again(id INTEGER PRIMARY KEY, v)')
    fill(con, 'again', rows)
    expect_equal(con.execute('SELECT count(*), sum(length(v)) FROM again').fetchall(), [(rows, rows * 1000)])
    sound(con)
    con.close()
    con = connect('app')
    expect_equal(value(con, 'SELECT count(*) FROM again'), rows)
    sound(con)


# Another connection has nothing of it in its cache. (vfs/sqlite_free F1)
def a_freelist_whose_pages_have_no_bytes_is_whole(scratch):
    con = connect('app')
    con.execute('CREATE TABLE gone(id INTEGER PRIMARY KEY, v)')
    fill(con, 'gone', 8000)
    con.execute('DROP TABLE gone')
    expect(value(con, 'PRAGMA freelist_count') > 300)
    con.close()
    con = connect('app')
    sound(con)
    con.execute('CREATE TABLE again(id INTEGER PRIMARY KEY, v)')
    fill(con, 'again', 8000)
    sound(con)


def dropping_a_turdb_table_gives_its_space_back_at_once(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE keep USING turdb(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE VIRTUAL TABLE gone USING turdb(id INTEGER PRIMARY KEY, v, INDEX by_v (v))')
    rows = scaled(10000, 3000)
    fill(con, 'keep', rows // 20)
    fill(con, 'gone', rows)
    before, files = used('app'), len(os.listdir('app/root'))
    con.execute('DROP TABLE gone')
    after = used('app')
    print('note turdb: %.1f MB before, %.1f MB after' % (before / MB, after / MB))
    expect(after < before / 5)
    expect_equal(len(os.listdir('app/root')), files - 2)
    sound(con)


def a_rolled_back_drop_keeps_everything(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, v)')
    fill(con, 't', 3000)
    fill(con, 'u', 3000)
    total = value(con, 'SELECT sum(length(v)) FROM t')
    con.execute('BEGIN')
    con.execute('DROP TABLE t')
    con.execute('DROP TABLE u')
    con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT sum(length(v)) FROM t'), total)
    expect_equal(value(con, 'SELECT sum(length(v)) FROM u'), total)
    con.execute('BEGIN')
    con.execute('SAVEPOINT s')
    con.execute('DROP TABLE t')
    con.execute('ROLLBACK TO s')
    con.execute('DELETE FROM t WHERE id>2900')
    con.execute('COMMIT')
    expect_equal(value(con, 'SELECT count(*) FROM t'), 2900)
    sound(con)


# (vfs/release G2)
def a_reader_keeps_what_it_sees_and_its_leaving_frees_it(scratch):
    for kind, make in (('ordinary', 'CREATE TABLE gone(id INTEGER PRIMARY KEY, v)'),
                       ('turdb', 'CREATE VIRTUAL TABLE gone USING turdb(id INTEGER PRIMARY KEY, v)')):
        path = 'app-' + kind
        con, reader = connect(path), connect(path)
        con.execute(make)
        rows = scaled(10000, 3000)
        fill(con, 'gone', rows)
        reader.execute('BEGIN')
        expect_equal(value(reader, 'SELECT count(*) FROM gone'), rows)
        before = used(path)
        con.execute('DROP TABLE gone')
        expect(used(path) > before * 0.9)
        expect_equal(value(reader, 'SELECT sum(length(v)) FROM gone'), rows * 1000)
        reader.execute('COMMIT')
        after = used(path)
        print('note %s: %.1f MB while read, %.1f MB when the reader has left' % (kind, before / MB, after / MB))
        expect(after < before / 5)
        sound(con)


HOLDER = """
import sys; sys.path.insert(0, %r)
from sql import *
load()
con = connect('app')
con.execute('BEGIN')
print(value(con, 'SELECT count(*) FROM gone'), flush=True)
sys.stdin.read()
"""


def turdb_readers_names_who_holds_what(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE VIRTUAL TABLE gone USING turdb(id INTEGER PRIMARY KEY, v)')
    fill(con, 't', 3000)
    fill(con, 'gone', 3000)
    con.execute('SELECT turdb_checkpoint()').fetchall()
    holder = subprocess.Popen([sys.executable, '-c', HOLDER % str(TOP / 'test/support')],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    con.execute('UPDATE t SET v=randomblob(1000)')
    con.execute('DROP TABLE gone')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    middle = connect('app')
    middle.execute('BEGIN')
    middle.execute('SELECT count(*) FROM t').fetchall()
    con.execute('UPDATE t SET v=randomblob(1000) WHERE id<1000')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    rows = con.execute('SELECT pid, held_bytes, age_ms, txid, writer FROM turdb_readers ORDER BY txid').fetchall()
    print('note', rows)
    old, new = rows[0], rows[1]
    expect_equal((old[0], new[0]), (holder.pid, os.getpid()))
    expect(old[1] > 6000 * 1000 and 900 * 1000 < new[1] < 2500 * 1000)
    expect(old[3] < new[3] and old[2] >= new[2] and old[4] == 0)
    con.execute('BEGIN IMMEDIATE')
    expect_equal(con.execute('SELECT held_bytes FROM turdb_readers WHERE pid=?', (holder.pid,)).fetchall(), [(None,)])
    con.execute('ROLLBACK')
    holder.communicate(b'')
    expect_equal(value(con, 'SELECT count(*) FROM turdb_readers WHERE pid=%d' % holder.pid), 0)


def a_killed_reader_holds_nothing(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE gone USING turdb(id INTEGER PRIMARY KEY, v)')
    fill(con, 'gone', 5000)
    holder = subprocess.Popen([sys.executable, '-c', HOLDER % str(TOP / 'test/support')],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    expect_equal(holder.stdout.readline().strip(), b'5000')
    before = used('app')
    con.execute('DROP TABLE gone')
    expect(used('app') > before * 0.9)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    con.execute('CREATE TABLE t(a)')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    expect(used('app') < before / 5)


def making_and_dropping_tables_leaks_no_descriptors(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    before = len(os.listdir('/proc/self/fd'))
    for i in range(30):
        con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, v)')
        con.execute('INSERT INTO u VALUES(1, 2)')
        con.execute('DROP TABLE u')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    expect(len(os.listdir('/proc/self/fd')) < before + 10)


def deleting_most_rows_gives_space_back_at_the_next_checkpoint(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, v)')
    rows = scaled(20000, 4000)
    fill(con, 't', rows)
    con.execute('SELECT turdb_checkpoint()').fetchall()
    before = used('app')
    con.execute('DELETE FROM t WHERE id%20')
    con.execute('SELECT turdb_checkpoint()').fetchall()
    after = used('app')
    print('note rows deleted: %.1f MB before, %.1f MB after' % (before / MB, after / MB))
    expect(after < before / 4)
    sound(con)


def small_tables_are_dropped_without_a_checkpoint_each(scratch):
    con = connect('app')
    con.execute('BEGIN')
    for i in range(300):
        con.execute('CREATE VIRTUAL TABLE t%d USING turdb(a)' % i)
    con.execute('CREATE VIRTUAL TABLE large USING turdb(a)')
    con.executemany('INSERT INTO large VALUES(zeroblob(3000))', [()] * 1000)
    con.execute('COMMIT')
    count = "SELECT value FROM turdb_status WHERE name = 'checkpoints'"
    before = value(con, count)
    for i in range(300):
        con.execute('DROP TABLE t%d' % i)
    expect(value(con, count) - before < 100, value(con, count) - before)
    expect(len(os.listdir('app/root')) < 150, len(os.listdir('app/root')))
    con.execute('DROP TABLE large')
    expect(len(os.listdir('app/root')) <= 3, os.listdir('app/root'))
    con.execute('CREATE VIRTUAL TABLE t USING turdb(a)')
    time.sleep(0.3)
    con.execute('DROP TABLE t')
    for i in range(100):
        if not [name for name in os.listdir('app/root') if name.endswith('-t.tbd')]:
            break
        time.sleep(0.05)
    else:
        raise AssertionError('a small file stayed')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


main(globals())
