#!/usr/bin/python3
"""A tour of TurDB on Debian's own package lists.

  demo.py [--packages N] [--database demo.turdb] [--library ./turdb] [--lists FILE]

Makes the directory database anew, loads packages with two secondary indexes and a vector of each description, and
asks. Every statement is printed before its answer. Needs nothing but Python's sqlite3 module and the extension.
"""
import argparse
import array
import collections
import functools
import hashlib
import lzma
import math
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
DIMENSIONS = 256
TABLES = """
CREATE VIRTUAL TABLE package USING turdb(
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  version     TEXT,
  section     TEXT,
  size        INTEGER,
  description TEXT,
  INDEX by_section (section, size DESC),
  INDEX by_size (size),
  meaning     VECTOR(256) HNSW (metric='cosine', quantize='sq8')
);
CREATE TABLE dependency(package TEXT, needs TEXT, PRIMARY KEY (package, needs)) WITHOUT ROWID;
CREATE INDEX dependency_by_needs ON dependency(needs);
"""
INSERT = 'INSERT INTO package(name, version, section, size, description, meaning) VALUES (?, ?, ?, ?, ?, ?)'


def words(text):
    return set(re.findall(r'[a-z0-9]{3,}', text.lower()))


def rarity(texts):
    """How much each word tells: the fewer texts have it, the more."""
    counts = collections.Counter(word for text in texts for word in words(text))
    return {word: math.log(len(texts) / count) for word, count in counts.items()}


@functools.cache
def places(word):
    """Where a word goes in a vector, and with which sign: some places, so that no two words share them all."""
    codes = [zlib.crc32(b'%d %s' % (i, part.encode())) for part in {word, word[:5]} for i in range(3)]
    return [(code % DIMENSIONS, 1 if code & 0x10000 else -1) for code in codes]


def meaning(text, weights=None):
    """A vector of a text by feature hashing: each word, and the beginning of longer ones, adds to its places."""
    numbers = [0.0] * DIMENSIONS
    for word in words(text):
        weight = weights.get(word, 1.0) if weights else 1.0
        for place, sign in places(word):
            numbers[place] += sign * weight
    length = math.sqrt(sum(x * x for x in numbers))
    if not length:
        return None
    return array.array('f', [x / length for x in numbers]).tobytes()


# --- reading the package lists -------------------------------------------------------------------------------------

def lists(path):
    """The lists as text and where they came from: a file, this machine's own, or the extract beside this program."""
    if not path and shutil.which('apt-cache'):
        done = subprocess.run(['apt-cache', 'dumpavail'], capture_output=True)
        text = done.stdout.decode('utf-8', 'replace')
        if text.count('\nPackage: ') > 1000:
            return text, "this machine's package lists (apt-cache dumpavail)"
    path = path or HERE / 'data/packages.txt.xz'
    with lzma.open(path, 'rt', encoding='utf-8') as file:
        return file.read(), 'the extract of Debian 12 in %s' % os.path.relpath(path)


def packages(text):
    """(name, version, section, size in KB, description, names it depends on) of each package once."""
    seen = set()
    for stanza in text.split('\n\n'):
        fields = dict(re.findall(r'^([A-Z][\w-]*): (.*)$', stanza, re.M))
        name = fields.get('Package')
        if not name or name in seen or 'Description' not in fields:
            continue
        seen.add(name)
        needs = set(re.findall(r'(?:^|, )([a-z0-9][a-z0-9+.-]*)', fields.get('Depends', '')))
        yield (name, fields.get('Version'), fields.get('Section'), int(fields.get('Installed-Size', 0)),
               fields['Description'], needs)


def spread(found, count):
    """`count` of them, evenly over the alphabet."""
    if count >= len(found):
        return found
    return [found[i * len(found) // count] for i in range(count)]


# --- talking -------------------------------------------------------------------------------------------------------

def say(text=''):
    print(text, flush=True)


def chapter(text):
    say('\n== %s ==' % text)


def row_text(row):
    return ' | '.join('%.3f' % cell if isinstance(cell, float) else str(cell) for cell in row)


def ask(db, sql, *arguments):
    say('\n  ' + '\n  '.join(line.strip() for line in sql.strip().splitlines()))
    begin = time.perf_counter()
    rows = db.execute(sql, arguments).fetchall()
    elapsed = time.perf_counter() - begin
    for row in rows:
        say('    ' + row_text(row))
    say('    (%d row%s, %.1f ms)' % (len(rows), '' if len(rows) == 1 else 's', elapsed * 1e3))
    return rows


def value(db, sql, *arguments):
    return db.execute(sql, arguments).fetchone()[0]


def expect(condition, sentence):
    if not condition:
        sys.exit('demo: this is wrong: ' + sentence)
    say('    right: ' + sentence)


# --- the tour ------------------------------------------------------------------------------------------------------

def load_library(library):
    """Once in a process; every later connection has TurDB."""
    con = sqlite3.connect(':memory:')
    con.enable_load_extension(True)
    con.load_extension(library)
    con.close()


def connect(database):
    return sqlite3.connect('file:%s?vfs=turdb' % database, uri=True, isolation_level=None, timeout=10)


def load(db, found, weights):
    db.executescript(TABLES)
    say(TABLES.strip('\n'))
    vectors = [meaning(row[4], weights) for row in found]
    begin = time.perf_counter()
    db.execute('BEGIN')
    db.executemany(INSERT, ((*row[:5], vector) for row, vector in zip(found, vectors)))
    db.execute('COMMIT')
    elapsed = time.perf_counter() - begin
    say('\n    %d packages with 4 indexes, one of them of vectors, in %.1f s: %d rows a second, one transaction'
        % (len(found), elapsed, len(found) / elapsed))
    edges = [(row[0], need) for row in found for need in row[5]]
    begin = time.perf_counter()
    db.execute('BEGIN')
    db.executemany('INSERT INTO dependency VALUES (?, ?)', edges)
    db.execute('COMMIT')
    elapsed = time.perf_counter() - begin
    say('    %d dependencies into an ordinary table of the same database in %.1f s: %d rows a second'
        % (len(edges), elapsed, len(edges) / elapsed))


def ask_plainly(db):
    chapter('Plain SQL, on a virtual table with indexes')
    ask(db, '''SELECT section, count(*), sum(size) / 1024 AS megabytes
               FROM package GROUP BY section ORDER BY 2 DESC LIMIT 5''')
    ask(db, '''SELECT name, size FROM package WHERE size BETWEEN 100000 AND 120000
               ORDER BY size LIMIT 5''')
    ask(db, '''EXPLAIN QUERY PLAN SELECT name, size FROM package WHERE size BETWEEN 100000 AND 120000
               ORDER BY size LIMIT 5''')
    ask(db, '''SELECT p.name, count(*) AS needed_by, p.description
               FROM dependency d JOIN package p ON p.name = d.needs
               WHERE p.section = 'libs' GROUP BY p.name ORDER BY 2 DESC LIMIT 5''')


def ask_by_meaning(db, weights):
    chapter('Packages like this one, by vector')
    name = value(db, '''SELECT name FROM package WHERE description LIKE '%text editor%'
                        ORDER BY length(description), name LIMIT 1''')
    like, text = db.execute('SELECT meaning, description FROM package WHERE name = ?', (name,)).fetchone()
    say('\n    %s: %s' % (name, text))
    rows = ask(db, '''SELECT name, distance, description FROM package
                      WHERE meaning MATCH ? AND k = 6 ORDER BY distance''', like)
    expect(rows[0][1] < 0.001, 'the nearest is as near as %s itself' % name)
    ask(db, '''SELECT name, distance, description FROM package
               WHERE meaning MATCH ? AND section = 'games' ORDER BY distance LIMIT 3''',
        meaning('a strategy game with tanks', weights))
    wanted = [row[0] for row in db.execute('SELECT meaning FROM package WHERE id % 37 = 1 AND meaning IS NOT NULL '
                                           'LIMIT 500')]
    statement = 'SELECT id FROM package WHERE meaning MATCH ? AND k = 10'
    begin = time.perf_counter()
    for vector in wanted:
        db.execute(statement, (vector,)).fetchall()
    elapsed = time.perf_counter() - begin
    say('\n    %d searches for the 10 nearest: %d microseconds each' % (len(wanted), elapsed / len(wanted) * 1e6))


def roll_back(db):
    chapter('A transaction rolled back: rows, indexes, vectors and the ordinary table together')
    state = '''SELECT (SELECT count(*) FROM package), (SELECT count(*) FROM dependency),
                      (SELECT count(*) FROM package WHERE section = 'games')'''
    before = ask(db, state)
    like = meaning('a program that nobody has written yet')
    db.execute('BEGIN')
    db.execute("DELETE FROM package WHERE section = 'games'")
    db.execute('DELETE FROM dependency WHERE package < ?', ('m',))
    db.execute(INSERT, ('unwritten', '0', 'none', 0, 'a program that nobody has written yet', like))
    nearest = 'SELECT name FROM package WHERE meaning MATCH ? AND k = 1'
    say('\n  BEGIN; DELETE ...; DELETE ...; INSERT ...')
    say('    inside, the nearest to the new vector is: %s' % value(db, nearest, like))
    ask(db, state)
    db.execute('ROLLBACK')
    say('\n  ROLLBACK')
    after = ask(db, state)
    expect(before == after and value(db, nearest, like) != 'unwritten', 'everything is as it was')
    expect(value(db, 'SELECT turdb_check()') == 'ok', 'turdb_check() says ok')


# --- the accident --------------------------------------------------------------------------------------------------

BATCH = 500


def made_up(batch, number):
    """A description that no other package has."""
    digits = hashlib.md5(b'%d %d' % (batch, number)).hexdigest()
    return 'copy ' + ' '.join(digits[at:at + 6] for at in range(0, 30, 6))


def load_until_killed(database):
    """The other process: commits batches for ever, and says so after each."""
    db = connect(database)
    for batch in range(1000000):
        db.execute('BEGIN')
        for i in range(BATCH):
            text = made_up(batch, i)
            db.execute(INSERT, ('%s-%d' % (os.getpid(), batch * BATCH + i), '1', 'copies', i, text, meaning(text)))
            db.execute('INSERT INTO dependency VALUES (?, ?)', (text, 'nothing'))
            if i == BATCH // 2:
                say('in the middle of batch %d' % (batch + 1))
        db.execute('COMMIT')
        say('committed %d' % (batch + 1))


def kill_it(database, arguments):
    chapter('A process killed with SIGKILL in the middle of a load')
    child = subprocess.Popen([sys.executable, __file__, '--load-until-killed', '--database', database, '--library',
                              arguments.library], stdout=subprocess.PIPE, text=True)
    committed = 0
    for line in child.stdout:
        if line.startswith('committed'):
            committed = int(line.split()[1])
        elif committed >= 3:
            break
    os.kill(child.pid, signal.SIGKILL)
    committed += child.stdout.read().count('committed')
    child.wait()
    say('\n    process %d: %d batches of %d rows committed, killed in the middle of the next'
        % (child.pid, committed, BATCH))
    begin = time.perf_counter()
    db = connect(database)
    rows = value(db, "SELECT count(*) FROM package WHERE section = 'copies'")
    say('    opened again in %.1f ms' % ((time.perf_counter() - begin) * 1e3))
    others = value(db, "SELECT count(*) FROM dependency WHERE needs = 'nothing'")
    # It may have committed once more before the signal came and had no time to say so.
    expect(rows == others and rows in (committed * BATCH, (committed + 1) * BATCH),
           '%d rows in the turdb table and in the ordinary table: all that was committed, nothing by halves' % rows)
    text = made_up(committed - 1, 7)
    nearest = value(db, 'SELECT description FROM package WHERE meaning MATCH ? AND k = 1', meaning(text))
    expect(nearest == text, 'their vectors are there too: the nearest to one is found')
    begin = time.perf_counter()
    answer = value(db, 'SELECT turdb_check()')
    say('    turdb_check() took %.1f s' % (time.perf_counter() - begin))
    expect(answer == 'ok', 'turdb_check() says ' + answer)
    return db


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--packages', type=int, default=20000)
    parser.add_argument('--database', default='demo.turdb')
    parser.add_argument('--library', default=str(HERE.parent / 'turdb'))
    parser.add_argument('--lists', help='an xz-compressed file in the format of apt-cache dumpavail')
    parser.add_argument('--load-until-killed', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    load_library(arguments.library)
    if arguments.load_until_killed:
        load_until_killed(arguments.database)
    shutil.rmtree(arguments.database, ignore_errors=True)
    begin = time.perf_counter()
    db = connect(arguments.database)
    chapter('TurDB %s in SQLite %s: the database is the directory %s'
            % (value(db, 'SELECT turdb_version()'), sqlite3.sqlite_version, arguments.database))
    text, source = lists(arguments.lists)
    found = list(packages(text))
    say('    %d packages in %s' % (len(found), source))
    found = spread(found, arguments.packages)
    weights = rarity([row[4] for row in found])
    load(db, found, weights)
    ask_plainly(db)
    ask_by_meaning(db, weights)
    roll_back(db)
    db.close()
    db = kill_it(arguments.database, arguments)
    db.close()
    chapter('Done in %.1f s' % (time.perf_counter() - begin))
    say('    Look around:  sqlite3 -cmd ".load ./turdb" -cmd ".open file:%s?vfs=turdb"' % arguments.database)
    for path in sorted(pathlib.Path(arguments.database).rglob('*')):
        if path.is_file():
            say('    %10d  %s' % (path.stat().st_size, path))


if __name__ == '__main__':
    main()
