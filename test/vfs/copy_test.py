"""SQLite's own ways to copy a database, between directories and ordinary files of all page sizes: VACUUM INTO, the
backup API, serialize and deserialize. Each copies all of the ordinary tables, or is refused and has changed nothing."""
import os
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../support'))
from sql import *

SIZES = (512, 1024, 4096, 16384, 65536)


def fill(con, rows=1000):
    con.executescript('''
        BEGIN; CREATE TABLE a(id INTEGER PRIMARY KEY, v TEXT UNIQUE); CREATE TABLE big(b); CREATE VIEW w AS SELECT sum(id) FROM a;
        CREATE TRIGGER tr AFTER DELETE ON a BEGIN INSERT INTO big VALUES (old.v); END;''')
    con.executemany('INSERT INTO a VALUES (?, ?)', ((i, 'row %d ' % i * (i % 9)) for i in range(rows) if i % 9))
    con.execute('INSERT INTO big VALUES (randomblob(200000)), (zeroblob(70000))')
    con.execute('COMMIT')


def contents(con):
    expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
    return [con.execute(sql).fetchall() for sql in
            ("SELECT type, name, sql FROM sqlite_schema ORDER BY name", 'SELECT * FROM a', 'SELECT * FROM big', 'SELECT * FROM w')]


def plain(path, page_size=None, mode='delete'):
    con = sqlite3.connect('file:' + path, uri=True, isolation_level=None)
    if page_size:
        con.execute('PRAGMA page_size=%d' % page_size)
        con.execute('PRAGMA journal_mode=' + mode)
    return con


def sources():
    for mode in ('delete', 'wal'):
        for size in SIZES:
            con = plain('p%d%s.db' % (size, mode), size, mode)
            fill(con)
            yield con, size, '%d%s' % (size, mode)
    for size in SIZES:
        con = connect('d%d' % size)
        con.execute('PRAGMA page_size=%d' % size)
        fill(con)
        yield con, size, '%ddir' % size


def check_directory(path, wanted, page_size):
    con = connect(path)
    expect(os.path.isfile(path + '/turdb.meta'), path)
    expect_equal(contents(con), wanted)
    expect_equal(value(con, 'PRAGMA page_size'), page_size)
    con.execute('INSERT INTO a VALUES (NULL, 1)')  # a writer meets no leftovers of the copy
    con.execute('DELETE FROM a WHERE v=1')
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.close()
    con = connect(path)
    expect_equal(contents(con)[1], wanted[1])
    con.close()


def check_file(path, wanted, page_size):
    expect(os.path.isfile(path), path)
    expect_equal(open(path, 'rb').read(16), b'SQLite format 3\0')
    con = plain(path)
    expect_equal(contents(con), wanted)
    expect_equal(value(con, 'PRAGMA page_size'), page_size)
    con.close()


def vacuum_into_goes_from_files_to_directories_and_back(scratch):
    for con, size, name in sources():
        wanted = contents(con)
        con.execute("VACUUM INTO 'file:v%s?vfs=turdb'" % name)
        # A file's pages are not ours to keep: a new directory gets our page size. A directory's were chosen.
        new_size = size if name.endswith('dir') else 16384
        check_directory('v' + name, wanted, new_size)
        expect_error('output file already exists', con.execute, "VACUUM INTO 'file:v%s?vfs=turdb'" % name)
        con.execute("VACUUM INTO 'v%s.db'" % name)
        check_file('v%s.db' % name, wanted, size)
        back = connect('v' + name)
        wanted = contents(back)
        back.execute("VACUUM INTO 'back%s.db'" % name)
        check_file('back%s.db' % name, wanted, new_size)
        back.close()
        con.close()


def vacuum_into_a_directory_takes_the_page_size_asked_for(scratch):
    con = plain('p.db', 4096)
    fill(con, 50)
    for size in SIZES:
        if size == 4096:
            continue  # asking for what the source has is as good as not asking: 16384
        con.execute('PRAGMA page_size=%d' % size)
        con.execute("VACUUM INTO 'file:d%d?vfs=turdb'" % size)
        expect_equal(value(connect('d%d' % size), 'PRAGMA page_size'), size)


def backup_goes_from_any_page_size_into_a_new_directory_and_back(scratch):
    for con, size, name in sources():
        wanted = contents(con)
        for pages in (-1, 7):
            path = 'b%s%d' % (name, pages)
            copy = connect(path)
            con.backup(copy, pages=pages)
            copy.close()
            check_directory(path, wanted, size)
        copy = connect(path)
        wanted = contents(copy)
        for into_size in (None, 512, 65536):
            path = 'f%s%s.db' % (name, into_size)
            file = plain(path, into_size)
            if into_size:
                file.execute('CREATE TABLE gone(x)')
            copy.backup(file)
            file.close()
            check_file(path, wanted, size)
        copy.close()
        con.close()


def a_backup_over_pages_of_another_size_is_refused_and_changes_nothing(scratch):
    for con, size, name in sources():
        wanted = contents(con)
        for into_size in (1024, 16384):
            path = 'o%s%d' % (name, into_size)
            into = connect(path)
            into.execute('PRAGMA page_size=%d' % into_size)
            fill(into, 10)
            before = contents(into)
            if size == into_size:
                con.backup(into)
                before = wanted
            else:
                expect_error('readonly database', con.backup, into)
            into.close()
            check_directory(path, before, into_size)
        con.close()


def what_was_serialized_opens_in_memory(scratch):
    if not hasattr(sqlite3.Connection, 'serialize'):
        skip('this Python has no serialize')
    for con, size, name in sources():
        if name.endswith('wal'):
            continue  # SQLite itself cannot open the image of a database in WAL mode
        wanted = contents(con)
        memory = sqlite3.connect(':memory:', isolation_level=None)
        image = con.serialize()
        expect_equal((image[:16], len(image) % size), (b'SQLite format 3\0', 0))
        memory.deserialize(image)
        expect_equal(contents(memory), wanted)
        memory.execute('DELETE FROM a')
        # The connection leaves its directory for a database in memory; the directory stays as it was.
        if name.endswith('dir'):
            con.deserialize(memory.serialize())
            expect_equal(value(con, 'SELECT count(*) FROM a'), 0)
            con.execute('INSERT INTO a VALUES (1, 1)')
            con.close()
            check_directory(name[-3:].replace('dir', 'd') + name[:-3], wanted, size)
        con.close()


class Stop(Exception):
    pass


def stop_after(steps):
    left = [steps]

    def progress(status, remaining, total):
        left[0] -= 1
        if left[0] <= 0:
            raise Stop
    return progress


# (vfs/door_journal J1)
def a_backup_that_stops_leaves_the_connection_with_its_own_pages(scratch):
    """SQLite does not write pages that it frees. Its cache may hold what they had last, and that came into the journal of
    the backup with a checksum that the committed page did not have: playing back ended there, the pages after it stayed
    in the connection's cache as the backup had made them, and its next write put them into the database."""
    numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100) '
    file = plain('p.db', 16384)
    file.execute('CREATE TABLE other(id INTEGER PRIMARY KEY, v)')
    for i in range(60):
        file.execute(numbers + 'INSERT INTO other SELECT NULL, randomblob(300) FROM n')
    for steps in (8, 25, 60):
        con = connect('d%d' % steps)
        con.executescript('PRAGMA secure_delete=0; CREATE TABLE keep(id INTEGER PRIMARY KEY, v); CREATE TABLE gone(id INTEGER PRIMARY KEY, v)')
        for i in range(20):
            for table in ('gone', 'keep'):
                con.execute(numbers + 'INSERT INTO %s SELECT NULL, randomblob(300) FROM n' % table)
        con.execute('DELETE FROM gone WHERE id%10')  # pages change, then they are merged and freed
        expect(value(con, 'PRAGMA freelist_count') > 20)
        before = con.execute('SELECT * FROM keep').fetchall()
        try:
            file.backup(con, pages=1, progress=stop_after(steps))
        except Stop:
            pass
        expect_equal(con.execute('SELECT * FROM keep').fetchall(), before)
        con.execute('UPDATE keep SET id=id WHERE id%7=0')
        con.execute('DELETE FROM gone WHERE id%20')
        con.execute('INSERT INTO keep SELECT NULL, randomblob(300) FROM keep')
        con.close()
        con = connect('d%d' % steps)
        expect_equal(con.execute('SELECT * FROM keep LIMIT 2000').fetchall(), before)
        expect_equal(value(con, 'PRAGMA integrity_check'), 'ok')
        expect_equal(value(con, 'SELECT turdb_check()'), 'ok')


def with_turdb_tables(path):
    con = connect(path)
    fill(con, 20)
    con.executescript('''
        CREATE VIRTUAL TABLE users USING turdb(id INTEGER PRIMARY KEY, name TEXT UNIQUE, face VECTOR(2) HNSW);
        INSERT INTO users VALUES (1, 'ada', '[1,2]'), (2, 'bob', '[3,4]');''')
    return con


def turdb_tables_stay_behind_and_the_copy_says_so(scratch):
    con = with_turdb_tables('app')
    con.execute("/* nightly */ vacuum\nmain into 'plain.db'")
    expect('VACUUM INTO' in value(con, 'SELECT turdb_last_error()') and 'its turdb tables (1)' in
           value(con, 'SELECT turdb_last_error()'), value(con, 'SELECT turdb_last_error()'))
    con.execute("VACUUM INTO 'file:dir?vfs=turdb'")
    con.backup(plain('backup.db'))
    con.backup(connect('backup'))
    for name in ('plain.db', 'backup.db', 'dir?vfs=turdb', 'backup?vfs=turdb'):
        copy = sqlite3.connect('file:' + name, uri=True, isolation_level=None)
        expect_equal(copy.execute('SELECT * FROM a').fetchall(), con.execute('SELECT * FROM a').fetchall())
        expect_equal(value(copy, 'PRAGMA integrity_check(a)'), 'ok')
        for sql in ('SELECT * FROM users', "INSERT INTO users(name) VALUES ('x')", 'UPDATE users SET name = 1', 'DELETE FROM users',
                    'ALTER TABLE users RENAME TO people', "SELECT turdb_count('users')", "SELECT turdb_create_index('i', 'users', 'name')"):
            expect_error('turdb_backup()', lambda: copy.execute(sql).fetchall())
        expect('turdb_backup()' in value(copy, 'SELECT turdb_check()'))
        expect('turdb_backup()' in value(copy, "SELECT turdb_check('users')"))
        if sqlite3.sqlite_version_info >= (3, 44):  # it asks virtual tables as well
            rows = copy.execute('PRAGMA integrity_check').fetchall()
            expect(len(rows) == 1 and 'turdb_backup()' in rows[0][0], rows)
            expect_equal(copy.execute('PRAGMA quick_check').fetchall(), rows)
        expect_equal(len(copy.execute('PRAGMA table_info(users)').fetchall()), 3)
        for end in ('ROLLBACK', 'COMMIT'):   # As LIMITS.md says:
            copy.execute('BEGIN')
            copy.execute('DROP TABLE users')
            copy.execute(end)
            expect_error('turdb_backup()' if end == 'ROLLBACK' else 'no such table', copy.execute, 'SELECT * FROM users')
        expect_equal(value(copy, 'PRAGMA integrity_check'), 'ok')
        expect_equal(value(copy, 'SELECT turdb_check()'), 'ok')
        copy.execute('CREATE VIRTUAL TABLE users USING turdb(id INTEGER PRIMARY KEY, name)')
        copy.execute("INSERT INTO users(name) VALUES ('eve')")
        expect_equal(copy.execute('SELECT * FROM users').fetchall(), [(1, 'eve')])
        expect_equal(value(copy, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(con, "SELECT count(*) FROM users WHERE face MATCH '[1,2]'"), 2)


def only_a_vacuum_into_of_that_database_is_warned_of(scratch):
    con = with_turdb_tables('app')
    con.execute("VACUUM")
    con.execute("ATTACH 'other.db' AS other")
    con.execute("CREATE TABLE other.x(y)")
    con.execute("VACUUM other INTO 'copy.db'")
    con.execute("SELECT 'vacuum into'").fetchall()
    expect('VACUUM' not in (value(con, 'SELECT turdb_last_error()') or ''))


def a_backup_over_turdb_tables_is_refused_and_changes_nothing(scratch):
    con = with_turdb_tables('app')
    other = connect('other')
    fill(other)
    before = contents(con)
    expect_error('readonly database', other.backup, con)
    expect('it has turdb tables (1)' in value(con, 'SELECT turdb_last_error()'))
    expect_equal(contents(con), before)
    expect_equal(con.execute('SELECT id, name FROM users').fetchall(), [(1, 'ada'), (2, 'bob')])
    expect_equal(value(con, 'SELECT turdb_check()'), 'ok')
    con.execute('DROP TABLE users')
    other.backup(con)
    expect_equal(contents(con), contents(other))


load()
main(globals())
