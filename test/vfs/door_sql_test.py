"""Ordinary tables in a directory database do all that they do in a file."""
import ctypes
import os
import pathlib
import random
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) '


def sound(con, schema='main'):
    expect_equal(value(con, 'PRAGMA %s.integrity_check' % schema), 'ok')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def library_memory():
    library = ctypes.CDLL('libsqlite3.so.0')
    library.sqlite3_memory_used.restype = ctypes.c_int64
    return library.sqlite3_memory_used()


def a_new_database_has_large_pages(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    expect_equal(value(con, 'PRAGMA page_size'), 16384)
    expect_equal(value(con, 'PRAGMA mmap_size'), 2147418112)
    con.execute("ATTACH 'file:two?vfs=turdb' AS two")
    con.execute('CREATE TABLE two.t(a)')
    expect_equal(value(con, 'PRAGMA two.page_size'), 16384)
    expect_equal(value(con, 'PRAGMA two.mmap_size'), 2147418112)
    con = connect('begun')
    con.execute('BEGIN IMMEDIATE')
    con.execute('CREATE TABLE t(a)')
    con.execute('COMMIT')
    expect_equal(value(con, 'PRAGMA page_size'), 16384)
    sound(con)


def any_page_size_can_be_asked_for(scratch):
    for size in (512, 1024, 4096, 32768, 65536):
        con = connect('app%d' % size)
        con.execute('PRAGMA page_size=%d' % size)
        con.execute('PRAGMA cache_size=20')
        con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
        con.execute(NUMBERS % 1000 + 'INSERT INTO t SELECT i, randomblob(i) FROM n')
        expect_equal(value(con, 'PRAGMA page_size'), size)
        con.execute('BEGIN')
        con.execute('UPDATE t SET v=1')
        con.execute('ROLLBACK')
        con.execute('DELETE FROM t WHERE id%2')
        con.execute('VACUUM')
        con.close()
        con = connect('app%d' % size)
        expect_equal(con.execute('SELECT count(*), sum(length(v)) FROM t').fetchall(), [(500, 250500)])
        sound(con)


def an_ordinary_main_file_keeps_its_page_size(scratch):
    con = sqlite3.connect('plain.db', isolation_level=None, uri=True)
    con.execute('CREATE TABLE t(a)')
    con.execute("ATTACH 'file:app?vfs=turdb' AS app")
    con.execute('CREATE TABLE app.t(a)')
    con.execute('VACUUM')
    expect_equal((value(con, 'PRAGMA page_size'), value(con, 'PRAGMA app.page_size')), (4096, 16384))


def pragmas_answer_as_programs_expect(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    for mode in ('', '=wal', '=delete', '=off', '=memory'):
        expect_equal(value(con, 'PRAGMA journal_mode' + mode), 'wal')
    expect_equal(value(con, 'PRAGMA locking_mode'), 'normal')
    expect_equal(value(con, 'PRAGMA locking_mode=normal'), 'normal')
    expect_error('EXCLUSIVE is not offered', con.execute, 'PRAGMA locking_mode=EXCLUSIVE')
    for name, level in (('OFF', 0), ('NORMAL', 1), ('FULL', 2), ('EXTRA', 3), ('1', 1)):
        con.execute('PRAGMA synchronous=' + name)
        expect_equal(value(con, 'PRAGMA synchronous'), level)
        con.execute('INSERT INTO t VALUES(1)')
    expect_equal(con.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall(), [(0, -1, -1)])
    con.execute('PRAGMA query_only=1')
    expect_error('readonly', con.execute, 'INSERT INTO t VALUES(1)')
    con.execute('PRAGMA query_only=0')
    con.execute('PRAGMA busy_timeout=77')
    expect_equal(value(con, 'PRAGMA busy_timeout'), 77)


# (rule 14)
def synchronous_decides_when_a_commit_is_on_disk(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')

    def syncs(level):
        con.execute('PRAGMA synchronous=' + level)
        before = value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'")
        for i in range(10):
            con.execute('INSERT INTO t VALUES(?)', (i,))
        return value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'") - before

    expect_equal(syncs('FULL'), 10)
    expect_equal(syncs('EXTRA'), 10)
    expect_equal(syncs('NORMAL'), 0)
    expect_equal(syncs('OFF'), 0)
    con.execute('BEGIN')
    expect_error('inside a transaction', con.execute, 'PRAGMA synchronous=FULL')
    con.execute('COMMIT')
    before = value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'")
    con.execute('INSERT INTO t VALUES(1)')
    expect_equal(value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'"), before)


def a_read_can_ask_for_what_is_on_disk(scratch):
    con, reader = connect('app'), connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY)')
    con.execute('PRAGMA synchronous=OFF')

    def figure(name):
        return value(con, "SELECT value FROM turdb_status WHERE name='%s'" % name)

    expect_equal(value(reader, 'PRAGMA turdb_read'), 'visible')
    for table in ('t', 'u'):
        for mode, waits in (('visible', False), ('DURABLE', True), ('visible', False)):
            expect_equal(value(reader, 'PRAGMA turdb_read=' + mode), mode.lower())
            con.execute('INSERT INTO %s VALUES(NULL)' % table)
            expect(figure('log_durable') < figure('log_appended'))
            value(reader, 'SELECT count(*) FROM ' + table)
            expect_equal(figure('log_durable') == figure('log_appended'), waits)
    expect_error('neither visible nor durable', reader.execute, 'PRAGMA turdb_read=maybe')
    reader.execute('PRAGMA turdb_read=durable')
    value(reader, 'SELECT count(*) FROM t')
    syncs = figure('log_syncs')
    for _ in range(20):
        value(reader, 'SELECT count(*) FROM t')
    expect_equal(figure('log_syncs'), syncs)


def synchronous_counts_for_turdb_tables_too(scratch):
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY)')
    for level, syncs in (('OFF', 0), ('NORMAL', 0), ('FULL', 5), ('EXTRA', 5), ('1', 0), ('2', 5)):
        con.execute('PRAGMA synchronous=' + level)
        before = value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'")
        for _ in range(5):
            con.execute('INSERT INTO u VALUES(NULL)')
        expect_equal((level, value(con, "SELECT value FROM turdb_status WHERE name='log_syncs'") - before), (level, syncs))


def the_same_statements_give_the_same_answers(scratch):
    random.seed(20261121)
    ours, theirs = connect('app'), sqlite3.connect('plain.db', isolation_level=None)
    theirs.execute('PRAGMA journal_mode=wal')
    theirs.execute('PRAGMA synchronous=off')
    ours.execute('PRAGMA synchronous=off')
    for con in (ours, theirs):
        con.execute('PRAGMA cache_size=20')
        con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, k, v)')
        con.execute('CREATE INDEX tk ON t(k, v)')
    depth, open_transaction = 0, False
    for step in range(scaled(1500, 200)):
        choice = random.random()
        big = random.choice((10, 200, 4000, 40000))
        n, k = random.randrange(500), random.randrange(50)
        if choice < 0.30:
            sql = 'INSERT OR REPLACE INTO t VALUES(%d, %d, zeroblob(%d))' % (n, k, big)
        elif choice < 0.45:
            sql = 'UPDATE t SET k=%d, v=zeroblob(%d) WHERE id BETWEEN %d AND %d' % (k, big, n, n + 5)
        elif choice < 0.55:
            sql = 'DELETE FROM t WHERE k=%d' % k
        elif choice < 0.62:
            sql = 'INSERT INTO t SELECT NULL, k+1, v FROM t WHERE k<%d LIMIT 30' % k
        elif choice < 0.70:
            sql = 'SAVEPOINT s%d' % depth
            depth += 1
        elif choice < 0.78 and depth:
            depth -= 1
            sql = 'RELEASE s%d' % depth
        elif choice < 0.88 and depth:
            at = random.randrange(depth)
            sql = 'ROLLBACK TO s%d' % at
            depth = at + 1
        elif choice < 0.90 and depth:
            sql = random.choice(('COMMIT', 'ROLLBACK'))
            depth = 0
        elif choice < 0.92:
            sql = 'INSERT INTO t VALUES(%d, 1, 1), (%d, 2, 2)' % (1000000 + step, 1000000 + step)
        else:
            sql = 'SELECT count(*), sum(k), sum(length(v)) FROM t'
        answers = []
        for con in (ours, theirs):
            try:
                answers.append(con.execute(sql).fetchall())
            except sqlite3.Error as error:
                answers.append(str(error))
        expect(answers[0] == answers[1], '%s: %r, stock SQLite %r' % (sql, answers[0], answers[1]))
    for con in (ours, theirs):
        if con.in_transaction:
            con.execute('ROLLBACK')
    expect_equal(ours.execute('SELECT * FROM t ORDER BY id').fetchall(),
                 theirs.execute('SELECT * FROM t ORDER BY id').fetchall())
    sound(ours)


def hot_journal_make(name):
    """What stock SQLite leaves beside `name` when it dies in the middle of a transaction."""
    con = sqlite3.connect('other', isolation_level=None)
    con.execute('PRAGMA page_size=16384')
    con.execute('CREATE TABLE stray(v)')
    con.execute(NUMBERS % 2000 + 'INSERT INTO stray SELECT randomblob(500) FROM n')
    con.execute('PRAGMA cache_size=10')
    con.execute('BEGIN')
    con.execute('UPDATE stray SET v=randomblob(500)')
    shutil.copy('other-journal', name + '-journal')
    con.execute('ROLLBACK')
    con.close()
    return pathlib.Path(name + '-journal').read_bytes()


# Nothing of ours is ever beside the directory. What is there is somebody else's, and no part of the database.
# (vfs/door_journal J2)
def a_hot_journal_beside_the_directory_is_left_alone(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute(NUMBERS % 2000 + 'INSERT INTO t SELECT i, randomblob(500) FROM n')
    before = con.execute('SELECT * FROM t').fetchall()
    con.close()
    stray = hot_journal_make('app')
    con = connect('app')
    expect_equal(con.execute('SELECT * FROM t').fetchall(), before)
    con.execute('BEGIN')
    con.execute('UPDATE t SET v=1')
    con.execute('ROLLBACK')
    con.execute('UPDATE t SET v=v WHERE id=1')
    expect_equal(con.execute('SELECT * FROM t').fetchall(), before)
    sound(con)
    con.close()
    expect(pathlib.Path('app-journal').read_bytes() == stray, 'the file beside the directory has changed')
    os.remove('app-journal')


# (vfs/door_journal J2)
def a_rolled_back_transaction_leaves_nothing(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute(NUMBERS % 2000 + 'INSERT INTO t SELECT i, randomblob(500) FROM n')
    con.execute('PRAGMA cache_size=10')
    before = con.execute('SELECT * FROM t').fetchall()
    for end in ('ROLLBACK', 'ROLLBACK TO s'):
        con.execute('BEGIN')
        con.execute('SAVEPOINT s')
        con.execute('UPDATE t SET v=randomblob(600)')
        con.execute('DELETE FROM t WHERE id%3=0')
        con.execute('CREATE TABLE u AS SELECT * FROM t')
        con.execute('DROP TABLE t')
        con.execute(end)
        expect_equal(con.execute('SELECT * FROM t').fetchall(), before)
        if con.in_transaction:
            con.execute('COMMIT')
        expect_equal(con.execute('SELECT * FROM t').fetchall(), before)
    sound(con)


def a_failing_statement_undoes_itself_only(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a UNIQUE)')
    con.execute('BEGIN')
    con.execute('INSERT INTO t VALUES(1)')
    expect_error('UNIQUE constraint failed', con.execute, NUMBERS % 300 + 'INSERT INTO t SELECT 301-i FROM n')
    con.execute('INSERT INTO t VALUES(2)')
    con.execute('COMMIT')
    expect_equal(con.execute('SELECT a FROM t').fetchall(), [(1,), (2,)])


# (vfs/door D3)
def a_large_transaction_needs_little_memory(scratch):
    con = connect('app', '&cache_kb=4096')
    con.execute('PRAGMA synchronous=off')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    rows = scaled(6000, 1000)
    con.execute(NUMBERS % rows + 'INSERT INTO t SELECT i, zeroblob(16000) FROM n')
    con.execute('BEGIN')
    before = library_memory()
    con.execute('UPDATE t SET v=randomblob(16000)')
    used = library_memory() - before
    expect(used < 9 << 20, '%d KB of heap for %d MB of changed pages' % (used >> 10, rows * 16 >> 10))
    con.execute('SAVEPOINT s')
    con.execute('DELETE FROM t WHERE id % 2')
    con.execute('ROLLBACK TO s')
    expect_equal(value(con, 'SELECT count(*) FROM t'), rows)
    con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT count(*) FROM t WHERE v=zeroblob(16000)'), rows)
    sound(con)


def vacuum_gives_space_back(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute(NUMBERS % 3000 + 'INSERT INTO t SELECT i, randomblob(1000) FROM n')
    con.execute('DELETE FROM t WHERE id % 10')
    before = value(con, 'PRAGMA page_count')
    rows = con.execute('SELECT * FROM t').fetchall()
    con.execute('VACUUM')
    expect(value(con, 'PRAGMA page_count') < before / 4)
    expect_equal(con.execute('SELECT * FROM t').fetchall(), rows)
    sound(con)
    con.close()
    con = connect('app')
    expect_equal(con.execute('SELECT * FROM t').fetchall(), rows)


def auto_vacuum_works(scratch):
    con = connect('app')
    con.execute('PRAGMA auto_vacuum=incremental')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute(NUMBERS % 1000 + 'INSERT INTO t SELECT i, randomblob(2000) FROM n')
    con.execute('DELETE FROM t WHERE id>100')
    free = value(con, 'PRAGMA freelist_count')
    expect(free > 20)
    con.executescript('PRAGMA incremental_vacuum(10)')
    expect_equal(value(con, 'PRAGMA freelist_count'), free - 10)
    con.execute('PRAGMA auto_vacuum=full')
    con.execute('VACUUM')
    con.execute('DELETE FROM t WHERE id>50')
    expect_equal(value(con, 'PRAGMA freelist_count'), 0)
    expect_equal(value(con, 'SELECT count(*) FROM t'), 50)
    sound(con)


def backups_go_in_and_out(scratch):
    ours = connect('app')
    ours.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    ours.execute(NUMBERS % 2000 + 'INSERT INTO t SELECT i, randomblob(300) FROM n')
    rows = ours.execute('SELECT * FROM t').fetchall()
    out = sqlite3.connect('out.db')
    ours.backup(out)
    out.close()
    out = sqlite3.connect('out.db')
    expect_equal(out.execute('SELECT * FROM t').fetchall(), rows)
    expect_equal(value(out, 'PRAGMA integrity_check'), 'ok')
    out.execute('PRAGMA journal_mode=wal')
    out.execute('DELETE FROM t WHERE id>1000')
    out.commit()
    reader = connect('app')
    expect_equal(value(reader, 'SELECT count(*) FROM t'), 2000)
    out.backup(ours, pages=10)
    expect_equal(ours.execute('SELECT * FROM t').fetchall(), rows[:1000])
    expect_equal(reader.execute('SELECT * FROM t').fetchall(), rows[:1000])
    ours.execute("INSERT INTO t VALUES(9999, 'after')")
    sound(ours)
    ours.close()
    reader.close()
    expect_equal(value(connect('app'), 'SELECT count(*) FROM t'), 1001)


def a_backup_brings_its_page_size_to_an_empty_database_only(scratch):
    small = sqlite3.connect('small.db')
    small.execute('PRAGMA page_size=1024')
    small.execute('CREATE TABLE t(v)')
    small.execute(NUMBERS % 500 + 'INSERT INTO t SELECT randomblob(100) FROM n')
    small.commit()
    rows = small.execute('SELECT * FROM t').fetchall()
    ours = connect('app')
    ours.execute('CREATE TABLE mine(a)')
    expect_error('readonly', small.backup, ours)
    expect_equal(value(ours, 'SELECT count(*) FROM mine'), 0)
    sound(ours)
    ours = connect('empty')
    small.backup(ours)
    expect_equal(ours.execute('SELECT * FROM t').fetchall(), rows)
    expect_equal(value(ours, 'PRAGMA page_size'), 1024)
    sound(ours)


def serialize_and_dump_carry_ordinary_tables(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute("INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    copy = sqlite3.connect(':memory:')
    copy.deserialize(con.serialize())
    expect_equal(copy.execute('SELECT * FROM t').fetchall(), [(1, 'a'), (2, 'b')])
    copy = sqlite3.connect(':memory:')
    copy.executescript('\n'.join(con.iterdump()))
    expect_equal(copy.execute('SELECT * FROM t').fetchall(), [(1, 'a'), (2, 'b')])
    con.close()
    out = shell('.dump', '-cmd', '.load ' + LIBRARY, '-cmd', '.open file:app?vfs=turdb')
    expect("INSERT INTO t VALUES(2,'b');" in out, out)


def temporary_tables_and_sorts_use_ordinary_files(scratch):
    con = connect('app')
    con.execute('PRAGMA temp_store=file')
    con.execute('PRAGMA temp.cache_size=10')
    con.execute('CREATE TEMP TABLE t(v)')
    con.execute(NUMBERS % 20000 + 'INSERT INTO t SELECT hex(randomblob(100)) FROM n')
    con.execute('CREATE TABLE sorted AS SELECT v FROM t ORDER BY v')
    expect_equal(value(con, 'SELECT count(*) FROM sorted'), 20000)
    sound(con)


def blobs_open_read_write(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute('INSERT INTO t VALUES(1, zeroblob(3000000))')
    with con.blobopen('t', 'v', 1) as blob:
        blob.seek(1234567)
        blob.write(b'middle')
    expect_equal(value(con, 'SELECT substr(v, 1234568, 6) FROM t'), b'middle')
    sound(con)


# (rule 16)
def attached_directories_commit_together(scratch):
    con = connect('one')
    con.execute("ATTACH 'file:two?vfs=turdb' AS two")
    con.execute("ATTACH 'plain.db' AS plain")
    for schema in ('main', 'two', 'plain'):
        con.execute('CREATE TABLE %s.t(a)' % schema)
    for end, count in (('COMMIT', 1), ('ROLLBACK', 1), ('COMMIT', 2)):
        con.execute('BEGIN')
        for schema in ('main', 'two', 'plain'):
            con.execute('INSERT INTO %s.t VALUES(1)' % schema)
        con.execute(end)
        for schema in ('main', 'two', 'plain'):
            expect_equal(value(con, 'SELECT count(*) FROM %s.t' % schema), count)
    expect(not [f for f in os.listdir('.') if 'mj' in f or 'journal' in f], os.listdir('.'))
    expect_equal(value(connect('two'), 'SELECT count(*) FROM t'), 2)
    con.execute('DETACH two')
    con.execute('DETACH plain')
    sound(con)


# (vfs/door D4)
def a_directory_attached_to_a_file_keeps_its_journal(scratch):
    con = sqlite3.connect('plain.db', isolation_level=None, uri=True)
    con.execute("ATTACH 'file:app?vfs=turdb' AS app")
    con.execute('CREATE TABLE app.t(id INTEGER PRIMARY KEY, v)')
    con.execute('CREATE TABLE main.t(id INTEGER PRIMARY KEY, v)')
    for mode in ('off', 'memory', 'truncate', 'persist', 'wal', 'delete', 'off'):
        con.execute('PRAGMA journal_mode=' + mode)
        con.execute('BEGIN')
        con.execute(NUMBERS % 100 + 'INSERT INTO app.t SELECT NULL, randomblob(1000) FROM n')
        con.execute('SAVEPOINT s')
        count = value(con, 'SELECT count(*) FROM app.t')
        con.execute('DELETE FROM app.t')
        con.execute('ROLLBACK TO s')
        expect_equal(value(con, 'SELECT count(*) FROM app.t'), count)
        con.execute('COMMIT')
        expect_equal(value(con, 'PRAGMA app.journal_mode'), 'wal')
    expect_equal(value(con, 'SELECT count(*) FROM app.t'), 700)
    sound(con, 'app')
    con.execute('PRAGMA journal_mode=delete')
    con.execute('BEGIN')
    value(con, 'SELECT count(*) FROM app.t')
    con.execute('PRAGMA journal_mode=off')
    con.execute('UPDATE app.t SET v=1')
    expect_error('disk I/O error', con.execute, 'COMMIT')
    expect('journal_mode was changed' in value(con, 'SELECT turdb_last_error()'))
    if con.in_transaction:
        con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT count(*) FROM app.t WHERE v=1'), 0)
    con.execute('UPDATE app.t SET v=2')
    expect_equal(value(con, 'SELECT count(*) FROM app.t WHERE v=2'), 700)
    sound(con, 'app')


# (rule 16)
def locking_mode_exclusive_of_a_main_file_stops_at_ours(scratch):
    con = sqlite3.connect('plain.db', isolation_level=None, uri=True)
    con.execute("ATTACH 'file:app?vfs=turdb' AS app")
    con.execute('CREATE TABLE app.t(a)')
    con.execute('PRAGMA locking_mode=exclusive')
    expect_error('locking protocol', con.execute, 'SELECT * FROM app.t')
    expect('locking_mode=EXCLUSIVE' in value(con, 'SELECT turdb_last_error()'))
    con.execute('PRAGMA locking_mode=normal')
    expect_equal(value(con, 'SELECT count(*) FROM app.t'), 0)
    con.execute('INSERT INTO app.t VALUES(1)')


def ddl_and_schema_changes_reach_other_connections(scratch):
    one, two = connect('app'), connect('app')
    one.execute('CREATE TABLE t(a)')
    two.execute('INSERT INTO t VALUES(1)')
    one.execute('ALTER TABLE t ADD COLUMN b DEFAULT 7')
    expect_equal(two.execute('SELECT * FROM t').fetchall(), [(1, 7)])
    two.execute('CREATE INDEX ti ON t(b)')
    two.execute('ANALYZE')
    expect_equal(value(one, 'SELECT count(*) FROM t INDEXED BY ti WHERE b=7'), 1)
    version = value(one, 'PRAGMA data_version')
    two.execute('UPDATE t SET b=8')
    expect(value(one, 'PRAGMA data_version') != version)
    two.execute('DROP TABLE t')
    expect_error('no such table', one.execute, 'SELECT * FROM t')


def interrupts_and_progress_stop_statements(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(a)')
    con.execute(NUMBERS % 1000 + 'INSERT INTO t SELECT i FROM n')
    set_progress_handler(con, lambda: 1, 1000)
    expect_error('interrupted', con.execute, 'UPDATE t SET a=(SELECT count(*) FROM t x, t y WHERE x.a<y.a)')
    con.set_progress_handler(None, 0)
    expect_equal(value(con, 'SELECT sum(a) FROM t'), 500500)
    sound(con)


def everything_is_there_after_closing(scratch):
    con = connect('app')
    con.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, v)')
    con.execute(NUMBERS % 5000 + 'INSERT INTO t SELECT i, hex(randomblob(50)) FROM n')
    text_search = compiled_with(con, 'ENABLE_FTS5')
    if text_search:
        con.execute('CREATE VIRTUAL TABLE f USING fts5(v)')
        con.execute('INSERT INTO f SELECT v FROM t LIMIT 500')
    rows = con.execute('SELECT * FROM t').fetchall()
    for _ in range(3):
        con.close()
        con = connect('app')
        expect_equal(con.execute('SELECT * FROM t').fetchall(), rows)
        expect_equal(value(con, 'SELECT count(*) FROM f') if text_search else 500, 500)
        sound(con)


main(globals())
