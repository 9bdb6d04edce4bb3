"""sqllogictest: queries with the answers that four other databases agreed on.

A sample of the corpus lies beside the project, in ../shared/data/slt_sample.tar.xz (or where SQLLOGICTEST_SAMPLE says);
without it only test/suite/logic_sample.test runs, a small file of the same format made by test/suite/logic_sample.py.
Two passes: ordinary tables in a directory database; and the same with each CREATE TABLE made a CREATE VIRTUAL TABLE
... USING turdb, indexes by turdb_create_index(). TEST_SCALE=10 and more runs every record of the sample.

A file is records between empty lines:

    statement ok|error            query TYPES [SORT [LABEL]]        skipif NAME, onlyif NAME   (before a record)
    SQL                           SQL                               hash-threshold N, halt
                                  ----
                                  one value a line, or "N values hashing to MD5"
"""
import hashlib
import os
import pathlib
import re
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

load()
OWN = TOP / 'test/suite/logic_sample.test'
SAMPLE = pathlib.Path(os.environ.get('SQLLOGICTEST_SAMPLE', TOP.parent / 'shared/data/slt_sample.tar.xz'))
RECORDS_MAX = scaled(900)
if float(os.environ.get('TEST_SCALE', '1')) >= 10:
    RECORDS_MAX = sys.maxsize

# file:line -> why the answer differs. The corpus was made with a newer SQLite.
KNOWN = {
    'evidence/slt_lang_aggfunc.test:480': 'sum() raises integer overflow, and stock 3.40 does so too',
    'evidence/slt_lang_aggfunc.test:484': 'stock 3.40 formats huge doubles the same way',
    'evidence/slt_lang_aggfunc.test:496': 'stock 3.40 formats huge doubles the same way',
}
KNOWN_TURDB = {
}

PRINTER = sqlite3.connect(':memory:')
UNPRINTABLE = {code: '@' for code in [*range(1, 32), *range(127, 256)]}
IDENTIFIER = r'(?:"[^"]+"|\[[^\]]+\]|\w+)'
CREATE_TABLE = re.compile(r'\s*CREATE\s+TABLE\s+(%s)\s*(\(.*\))\s*$' % IDENTIFIER, re.I | re.S)
CREATE_INDEX = re.compile(r'\s*CREATE\s+(UNIQUE\s+)?INDEX\s+(%s)\s+ON\s+(%s)\s*\((.*)\)\s*$' % (IDENTIFIER, IDENTIFIER), re.I | re.S)
DROP_INDEX = re.compile(r'\s*DROP\s+INDEX\s+(IF\s+EXISTS\s+)?(%s)\s*$' % IDENTIFIER, re.I)
REINDEX = re.compile(r'\s*REINDEX\s+(%s)\s*$' % IDENTIFIER, re.I)
TRIGGER = re.compile(r'\s*(CREATE|DROP)\s+(TEMP\s+)?TRIGGER\b', re.I)


# --- the format ---------------------------------------------------------------------------------------------------------

class Record:
    def __init__(self, line, head, sql, answer):
        self.line, self.head, self.sql, self.answer = line, head, sql, answer


def records(text):
    """The records that are meant for SQLite, in order."""
    for block in re.finditer(r'(?:[^\n]*\S[^\n]*\n?)+', text):
        line = text.count('\n', 0, block.start()) + 1
        lines = [part for part in block.group().split('\n') if not part.startswith('#')]
        meant = True
        while lines and lines[0].startswith(('skipif', 'onlyif')):
            kind, name = lines.pop(0).split()[:2]
            meant = meant and (name == 'sqlite') == (kind == 'onlyif')
        while lines and not lines[-1]:
            lines.pop()
        if not lines or not meant:
            continue
        head, body = lines[0].split(), lines[1:]
        answer = None
        if '----' in body:
            cut = body.index('----')
            body, answer = body[:cut], body[cut + 1:]
        yield Record(line, head, '\n'.join(body), answer)


def whole_number(value):
    """As SQLite's C interface gives any value as an integer of 32 bits."""
    if isinstance(value, (str, bytes)):
        text = value if isinstance(value, str) else value.decode('latin-1')
        digits = re.match(r'\s*[-+]?\d+', text)
        value = int(digits.group()) if digits else 0
    return (int(value) + (1 << 31)) % (1 << 32) - (1 << 31)


def real_number(value):
    if isinstance(value, str):
        digits = re.match(r'\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?', value)
        value = digits.group() if digits else 0
    value = float(value)
    # The corpus was written by SQLite's own printf(), which stops at 16 digits.
    return '%.3f' % value if abs(value) < 1e12 else PRINTER.execute("SELECT printf('%.3f', ?)", (value,)).fetchone()[0]


def printed(value, kind):
    if value is None:
        return 'NULL'
    if kind == 'I':
        return str(whole_number(value))
    if kind == 'R':
        return real_number(value)
    text = value.decode('latin-1') if isinstance(value, bytes) else str(value)
    return text.translate(UNPRINTABLE) or '(empty)'


def printed_rows(rows, kinds, order):
    table = [[printed(value, kind) for value, kind in zip(row, kinds)] for row in rows]
    if order == 'rowsort':
        table.sort()
    values = [value for row in table for value in row]
    return sorted(values) if order == 'valuesort' else values


def hashed(values):
    digest = hashlib.md5(''.join(value + '\n' for value in values).encode('latin-1', 'replace')).hexdigest()
    return '%d values hashing to %s' % (len(values), digest)


# --- running ----------------------------------------------------------------------------------------------------------------

def unquoted(name):
    return name[1:-1] if name[0] in '"[' else name


def statements(sql):
    """The statements of one record."""
    parts, part = [], ''
    for piece in re.split('(;)', sql):
        part += piece
        if piece == ';' and sqlite3.complete_statement(part):
            parts, part = parts + [part], ''
    return parts + [part] if part.strip() else parts


def with_turdb_tables(sql, indexed):
    """The statement as it is said with turdb tables, and its arguments; None when SQLite has no such thing for them.
    `indexed` remembers the tables of indexes."""
    sql = sql.strip().rstrip(';')
    table, index = CREATE_TABLE.match(sql), CREATE_INDEX.match(sql)
    dropped, rebuilt = DROP_INDEX.match(sql), REINDEX.match(sql)
    if TRIGGER.match(sql):
        return None, ()
    if table:
        return 'CREATE VIRTUAL TABLE %s USING turdb%s' % table.groups(), ()
    if index:
        unique, name, of, columns = index.groups()
        indexed[unquoted(name)] = unquoted(of)
        if unique:
            return "SELECT turdb_create_index(?, ?, ?, 'unique')", (unquoted(name), unquoted(of), columns)
        return 'SELECT turdb_create_index(?, ?, ?)', (unquoted(name), unquoted(of), columns)
    if dropped:
        return 'SELECT turdb_drop_index(?, ?)', (unquoted(dropped.group(2)), 1 if dropped.group(1) else 0)
    if rebuilt:
        name = unquoted(rebuilt.group(1))
        return 'SELECT turdb_reindex(?)', (indexed.get(name, name),)
    return sql, ()


class File:
    """One file of records, run on a database of its own."""

    def __init__(self, name, text, turdb):
        self.name, self.text, self.turdb = name, text, turdb
        self.known = dict(KNOWN, **(KNOWN_TURDB if turdb else {}))
        self.labels, self.wrong, self.seen, self.indexed = {}, [], set(), {}
        self.queries = self.left_out = 0

    def fail(self, record, why):
        place = '%s:%d' % (self.name, record.line)
        if place in self.known:
            self.seen.add(place)
        else:
            self.wrong.append('%s %s: %s' % (place, why, ' '.join(record.sql.split())[:200]))

    def execute(self, con, sql):
        rows = None
        for part in statements(sql) if ';' in sql else [sql]:
            arguments = ()
            if self.turdb:
                part, arguments = with_turdb_tables(part, self.indexed)
            if part is None:
                self.left_out += 1
            else:
                rows = con.execute(part, arguments).fetchall()
        return rows

    def statement(self, con, record):
        try:
            if self.execute(con, record.sql) is not None and record.head[1] == 'error':
                self.fail(record, 'succeeds')
        except sqlite3.Error as error:
            if record.head[1] == 'ok':
                self.fail(record, 'fails (%s)' % error)

    def query(self, con, record):
        self.queries += 1
        kinds, order = record.head[1], (record.head + ['nosort'])[2]
        try:
            values = printed_rows(self.execute(con, record.sql), kinds, order)
        except sqlite3.Error as error:
            return self.fail(record, 'fails (%s)' % error)
        if len(record.head) > 3 and self.labels.setdefault(record.head[3], hashed(values)) != hashed(values):
            return self.fail(record, 'answers otherwise than the query of the same label')
        wanted = record.answer or []
        if wanted != values and wanted != [hashed(values)]:
            self.fail(record, 'answers %r, not %r' % ((values if len(values) < 9 else hashed(values)), wanted[:8]))

    def run(self, con):
        done = 0
        for record in records(self.text):
            if record.head[0] == 'halt' or done == RECORDS_MAX:
                break
            if record.head[0] in ('statement', 'query'):
                getattr(self, record.head[0])(con, record)
                done += 1


def run_files(files, turdb):
    queries = left_out = 0
    wrong = []
    for number, (name, text) in enumerate(files):
        con = connect('db%d' % number)
        con.execute('PRAGMA synchronous=OFF')
        file = File(name, text, turdb)
        file.run(con)
        if value(con, 'SELECT turdb_check()') != 'ok' or value(con, 'PRAGMA integrity_check') != 'ok':
            wrong.append('%s leaves an unsound database' % name)
        con.close()
        if RECORDS_MAX == sys.maxsize:
            wrong += ['%s is listed and does not differ' % place for place in file.known
                      if place.startswith(name + ':') and place not in file.seen]
        wrong += file.wrong
        queries, left_out = queries + file.queries, left_out + file.left_out
    print('note %d queries in %d files%s' % (queries, len(files), ', %d records left out' % left_out if left_out else ''))
    expect(not wrong, '%d differences, the first: %s' % (len(wrong), ' | '.join(wrong[:5])))


def own_files():
    return [(OWN.name, OWN.read_text())]


def sample_files():
    if not SAMPLE.exists():
        skip('the corpus is not beside the project (../shared/data/slt_sample.tar.xz)')
    with tarfile.open(SAMPLE) as archive:
        return sorted((member.name.split('/', 1)[1], archive.extractfile(member).read().decode('latin-1').replace('\r\n', '\n'))
                      for member in archive if member.isfile() and member.name.endswith('.test'))


def the_own_sample_answers_alike_with_ordinary_tables(scratch):
    run_files(own_files(), False)


def the_own_sample_answers_alike_with_turdb_tables(scratch):
    run_files(own_files(), True)


def the_corpus_answers_alike_with_ordinary_tables(scratch):
    run_files(sample_files(), False)


def the_corpus_answers_alike_with_turdb_tables(scratch):
    run_files(sample_files(), True)


main(globals())
