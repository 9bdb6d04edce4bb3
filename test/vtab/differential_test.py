"""Random statements do to a turdb table what they do to an ordinary table of stock SQLite.

Two connections run the same statements: one on a turdb directory with turdb tables, one on a stock database in memory with
the same tables. After every statement rows, types, counts, the last rowid and error sentences must agree; after every
transaction the directory must check. Seeds are fixed; TEST_SCALE grows the number of rounds. TURDB_SEED runs one seed.
"""
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

# Each schema: columns, table constraints, indexes. An index is made by CREATE INDEX on the ordinary side, by INDEX on ours.
SCHEMAS = {
    'integer key': (['id INTEGER PRIMARY KEY', 'a INTEGER', 'b TEXT', 'c REAL'], [], ['t_a (a)', 't_b (b DESC, a)']),
    'no key': (['a', 'b TEXT', 'c NUMERIC', 'd BLOB'], [], ['t_a (a)', 't_c (c DESC, b)', 't_ab (a, b DESC)']),
    'key of two': (['a TEXT', 'b INTEGER', 'c REAL'], ['PRIMARY KEY (a, b)'], ['t_c (c, a)']),
    'text key': (['a TEXT PRIMARY KEY', 'b INTEGER', 'c'], [], ['t_bc (b DESC, c ASC)']),
    'unique': (['id INTEGER PRIMARY KEY', 'a INTEGER UNIQUE', 'b TEXT', 'c'], ['UNIQUE (b, c)'], []),
    'not null': (['id INTEGER PRIMARY KEY', 'a INTEGER NOT NULL', 'b TEXT NOT NULL UNIQUE', 'c REAL'], [], ['t_ca (c, a)']),
    'collations': (['id INTEGER PRIMARY KEY', 'a TEXT COLLATE NOCASE', 'b TEXT COLLATE RTRIM', 'c TEXT'],
                   ['UNIQUE (a, b)'], ['t_c (c COLLATE NOCASE, a)', 't_b (b DESC, c)', 't_a (a COLLATE BINARY)']),
    'affinities': (['a INTEGER', 'b TEXT', 'c REAL', 'd NUMERIC', 'e BLOB', 'f'], [],
                   ['t_a (a)', 't_b (b)', 't_c (c)', 't_d (d)', 't_e (e)', 't_f (f)', 't_fb (f, b, d)']),
    'checks': (['id INTEGER PRIMARY KEY', 'a INTEGER CHECK (a < 40)', 'b TEXT', 'c'],
               ['CONSTRAINT sane CHECK (b IS NULL OR length(b) < 9)'], ['t_ac (a, c)']),
    'checks by collation and affinity': (['id INTEGER PRIMARY KEY', "a TEXT COLLATE NOCASE CHECK (a <> 'abc')", 'b TEXT CHECK (b < 7)',
                                          "c INTEGER CHECK (c < '5' OR c > 20)", "d CHECK (d <> '3')"], [], ['t_ac (a, c)']),
    'conflict clauses': (['id INTEGER PRIMARY KEY', 'a INTEGER UNIQUE ON CONFLICT REPLACE', 'b TEXT', 'c'], [], ['t_b (b)']),
    'sequence': (['id INTEGER PRIMARY KEY AUTOINCREMENT', 'a INTEGER UNIQUE', 'b TEXT'], [], ['t_b (b)']),
}

TEXTS = ['', 'a', 'A', 'b', 'B ', 'b', 'abc', 'ABC', 'abc  ', 'Abd', 'ä', '5', '5.0', ' 7', '1e1', '-3', '0', 'x%_',
         '9223372036854775807', '9223372036854775808', 'a\0b', '007', '.5', '0x10', 'zz' * 300]
NUMBERS = [0, 1, 2, 3, 5, 7, 10, -3, -1, 2.5, 5.0, -0.5, 1e1, 1e300, -1e300, 9007199254740993, 9007199254740992.0,
           9223372036854775807, -9223372036854775808, 9.3e18, 39, 40, 41]


def literal(chance):
    kind = chance.random()
    if kind < 0.1:
        return 'NULL'
    if kind < 0.55:
        return repr(chance.choice(NUMBERS)) if chance.random() < 0.4 else str(chance.randint(-5, 30))
    if kind < 0.92:
        text = chance.choice(TEXTS) if chance.random() < 0.6 else chance.choice('abcdefgh') * chance.randint(1, 3)
        return "'%s'" % text if '\0' not in text else "CAST(x'610062' AS TEXT)"
    return chance.choice(["x''", "x'61'", "x'00ff'", "x'35'"])


class Run:
    def __init__(self, name, seed):
        self.columns, self.constraints, indexes = SCHEMAS[name]
        self.chance = random.Random('%s %s' % (name, seed))
        self.names = [c.split()[0] for c in self.columns]
        self.indexed = [i.split()[0] for i in indexes]
        body = self.columns + self.constraints
        self.ours, self.stock = connect('app'), sqlite3.connect(':memory:', isolation_level=None)
        self.log = []
        self.unary = ''  # '+' keeps indexes out of a condition
        self.ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % ', '.join(body + ['INDEX ' + i for i in indexes]))
        self.stock.execute('CREATE TABLE t(%s)' % ', '.join(body))
        for index in indexes:
            self.stock.execute('CREATE INDEX %s ON t%s' % tuple(index.split(' ', 1)))
        for con in (self.ours, self.stock):
            con.execute('PRAGMA automatic_index = off')  # stock 3.40 forgets RTRIM in one
            con.execute('CREATE TABLE other(i INTEGER, s TEXT, r REAL, n)')
            con.execute("INSERT INTO other VALUES (1,'1',1.0,1),(5,'5',5.0,'5'),(7,' 7',7.5,x'61'),(NULL,NULL,NULL,NULL),"
                        "(-3,'abc',-0.5,'abc'),(10,'1e1',10.0,10.0),(3,'a',2.5,'a')")

    def pick(self):
        return self.chance.choice(self.names)

    def clause(self):
        """An OR clause; not OR ABORT where a constraint has its own, for SQLite does not tell a virtual table which it was."""
        clauses = [' OR REPLACE', ' OR IGNORE', ' OR FAIL'] * 2 + [' OR ROLLBACK']
        if 'AUTOINCREMENT' in self.columns[0]:
            clauses.remove(' OR FAIL')  # stock does not count the numbers of rows that a failing OR FAIL keeps
            clauses.remove(' OR FAIL')
        if 'ON CONFLICT' not in ' '.join(self.columns):
            clauses += [' OR ABORT']
        return self.chance.choice([''] * 8 + clauses)

    def condition(self, depth=0):
        chance, column = self.chance, self.unary + self.chance.choice(self.names + ['rowid'])
        kind = chance.randint(0, 13 if depth < 2 else 10)
        value = lambda: literal(chance)
        if kind <= 1:
            return '%s = %s' % (column, value())
        if kind <= 3:
            return '%s %s %s' % (column, chance.choice(['<', '>', '<=', '>=']), value())
        if kind == 4:
            return '%s BETWEEN %s AND %s' % (column, value(), value())
        if kind == 5:
            return '%s IN (%s)' % (column, ', '.join(value() for _ in range(chance.randint(1, 5))))
        if kind == 6:
            return '%s IS %s' % (column, value())
        if kind == 7:
            return '%s IS %sNULL' % (column, chance.choice(['', 'NOT ']))
        if kind == 8:
            return "%s LIKE '%s'" % (column, chance.choice(['a%', 'A%', '%b%', '5%', 'abc', 'a_c']))
        if kind == 9:
            return '%s %s %s%s' % (column, chance.choice(['=', '<', '>=', '<>']), value(),
                                   chance.choice(['', ' COLLATE NOCASE', ' COLLATE BINARY', ' COLLATE RTRIM']))
        if kind == 10:
            return '%s %s CAST(%s AS %s)' % (column, chance.choice(['=', '<', '>']), value(),
                                             chance.choice(['INTEGER', 'TEXT', 'REAL', 'BLOB', 'NUMERIC']))
        if kind == 13:
            return 'NOT (%s)' % self.condition(depth + 1)
        return '(%s %s %s)' % (self.condition(depth + 1), chance.choice(['AND', 'AND', 'OR']), self.condition(depth + 1))

    def where(self):
        return '' if self.chance.random() < 0.15 else ' WHERE ' + self.condition()

    def insert(self):
        chance = self.chance
        clause = self.clause()
        names = [n for n in self.names if chance.random() < 0.9] or self.names[:1]
        if chance.random() < 0.1:
            names = [n for n in names if n != 'id'] + ['rowid']
        if chance.random() < 0.1:
            return 'INSERT%s INTO t(%s) SELECT %s FROM t%s ORDER BY rowid LIMIT 4' % (
                clause, ', '.join(names), ', '.join(chance.choice([n, n, literal(chance)]) for n in names), self.where())
        rows = []
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            rows.append('(%s)' % ', '.join(self.rowid_value() if n in ('id', 'rowid') else literal(chance) for n in names))
        if len(rows) == 1 and names[0] == 'id' and chance.random() < 0.05:
            rows = [re.sub(r"^\(('[^']*'|[^,)]*)", chance.choice(["('x'", "('2.5'", '(2.5', "(x'31'"]), rows[0])]
        return 'INSERT%s INTO t(%s) VALUES %s' % (clause, ', '.join(names), ', '.join(rows))

    def rowid_value(self):
        chance = self.chance
        return chance.choice(['NULL', 'NULL', 'NULL'] + [str(chance.randint(-2, 60))] * 6 +
                             (["'12'", '12.0'] if chance.random() < 0.3 else []))

    def update(self):
        chance = self.chance
        clause = self.clause()
        sets = []
        for name in sorted(set(self.pick() for _ in range(chance.randint(1, 3)))):
            if name == 'id':
                sets.append(chance.choice(['id = id + 1', 'id = id + 100', 'id = -id', 'id = %d' % chance.randint(1, 60)]))
            else:
                sets.append('%s = %s' % (name, chance.choice([literal(chance), literal(chance), self.pick(), name])))
        if not sets:
            sets = ['%s = %s' % (self.names[-1], literal(chance))]
        if 'id' not in self.names and chance.random() < 0.1:
            sets.append('rowid = rowid + %d' % chance.choice([1, 1000, -7]))
        # Rows that conflict with each other are changed in the order in which a plan walks; here both walk by rowid.
        self.unary = '+'
        where, self.unary = self.where(), ''
        if 'REPLACE' in clause + ' '.join(self.columns):
            # Rows that replace rows still to be changed: for a virtual table SQLite has read all before the first change.
            where = ' WHERE rowid = (SELECT rowid FROM t%s ORDER BY rowid LIMIT 1 OFFSET %d)' % (where, chance.randint(0, 3))
        elif not clause and chance.random() < 0.5 and not re.search('UNIQUE|KEY|NULL|CHECK', ' '.join(
                self.columns[1:] + self.constraints)) and not any(s.startswith(('id', 'rowid')) for s in sets):
            where = self.where()
        return 'UPDATE%s t SET %s%s' % (clause, ', '.join(sets), where)

    def order(self):
        chance = self.chance
        if chance.random() < 0.3:
            return ''
        terms = [chance.choice(self.names + ['rowid']) for _ in range(chance.randint(1, 3))]
        return ' ORDER BY ' + ', '.join(t + chance.choice(['', '', ' DESC', ' COLLATE NOCASE', ' COLLATE BINARY DESC',
                                                           ' NULLS LAST'][:4 + (chance.random() < 0.4) * 2])
                                        for t in terms)

    def select(self):
        chance = self.chance
        kind = chance.randint(0, 9)
        typed = ', '.join('%s, typeof(%s)' % (n, n) for n in self.names)
        if kind <= 4:
            order = self.order()
            text = 'SELECT rowid, %s FROM t%s%s' % (typed, self.where(), order)
            if order and chance.random() < 0.3:
                text += ', rowid LIMIT %d OFFSET %d' % (chance.randint(0, 9), chance.choice([0, 0, 2, 5]))
            return text
        if kind == 5:
            group = self.pick()
            return 'SELECT typeof(%s), quote(%s), count(*) FROM t%s GROUP BY %s, quote(%s)%s' % (
                group, group, self.where(), group, group, chance.choice(['', ' ORDER BY %s DESC' % group]))
        if kind == 6:
            columns = sorted(set([self.pick(), self.pick()]))
            return 'SELECT DISTINCT %s FROM t%s' % (', '.join('quote(%s), typeof(%s)' % (c, c) for c in columns), self.where())
        if kind == 7:
            column = self.pick()
            return 'SELECT min(%s), max(%s), count(%s), count(*), count(DISTINCT %s) FROM t%s' % (
                column, column, column, column, self.where())
        if kind == 8:
            join = chance.choice(['JOIN', 'LEFT JOIN'])
            return 'SELECT other.rowid, t.rowid FROM other %s t ON t.%s %s other.%s%s' % (
                join, chance.choice(self.names + ['rowid']), chance.choice(['=', '=', '=', '<', '>=', 'IS']),
                chance.choice('isrn'), chance.choice(['', ' ORDER BY t.%s, t.%s DESC, t.rowid, other.rowid' %
                                                      (self.pick(), self.pick())]))
        return 'SELECT x.rowid, y.rowid FROM t x JOIN t y ON x.%s = y.%s WHERE x.%s' % (
            self.pick(), self.pick(), 'rowid < 20')

    def transaction(self):
        name = self.chance.choice('pqr')
        return self.chance.choice(['BEGIN', 'BEGIN IMMEDIATE', 'COMMIT', 'COMMIT', 'ROLLBACK', 'SAVEPOINT ' + name,
                                   'SAVEPOINT ' + name, 'RELEASE ' + name, 'ROLLBACK TO ' + name, 'ROLLBACK TO ' + name])

    def one(self):
        kind = self.chance.random()
        if kind < 0.28:
            return self.insert()
        if kind < 0.42:
            return self.update()
        if kind < 0.49:
            return 'DELETE FROM t WHERE %s' % self.condition() if self.chance.random() < 0.97 else 'DELETE FROM t'
        if kind < 0.60:
            return self.transaction()
        return self.select()

    @staticmethod
    def run(con, sql):
        try:
            rows = con.execute(sql).fetchall()
            error = None
        except (sqlite3.Error, OverflowError) as failure:
            rows, error = [], '%s: %s' % (type(failure).__name__, failure)
        total = '0' if Home.inline() else 'total_changes()'   # new pages of shadow tables count in it
        return rows, error, con.execute('SELECT changes(), %s, last_insert_rowid()' % total).fetchone(), con.in_transaction

    def step(self, sql):
        self.log.append(sql)
        got, wanted = self.run(self.ours, sql), self.run(self.stock, sql)
        if sql.startswith('SELECT') and ' ORDER BY' not in sql or sql.startswith('SELECT') and 'LIMIT' not in sql:
            if ' ORDER BY' in sql and sql.startswith('SELECT rowid'):
                self.same_order(sql, got[0], wanted[0])
            got, wanted = (sorted(got[0], key=repr),) + got[1:], (sorted(wanted[0], key=repr),) + wanted[1:]
        if got != wanted:
            self.differ('%r' % (got,), '%r' % (wanted,))

    def same_order(self, sql, got, wanted):
        """Rows that the ORDER BY leaves equal may come in any order: compare the terms' values only."""
        order = re.sub(r' LIMIT.*', '', sql[sql.index(' ORDER BY'):])[10:]
        terms = [t.split()[0] for t in order.split(', ')]
        if 'COLLATE' in order or any(t in ('a', 'b') for t in terms) and 'NOCASE' in ' '.join(self.columns):
            fold = lambda v: v.lower().rstrip() if isinstance(v, str) else v
        else:
            fold = lambda v: v
        places = [0 if t == 'rowid' else 1 + 2 * self.names.index(t) for t in terms]
        left = [tuple(fold(r[p]) for p in places) for r in got]
        right = [tuple(fold(r[p]) for p in places) for r in wanted]
        if left != right:
            self.differ('order %r' % (left,), 'order %r' % (right,))

    def differ(self, got, wanted):
        recent = '\n    '.join(self.log[-12:])
        raise AssertionError('after %d statements\n    %s\n  got    %s\n  wanted %s' % (len(self.log), recent, got, wanted))

    def compare_table(self):
        sql = 'SELECT rowid, %s FROM t ORDER BY rowid' % ', '.join('quote(%s), typeof(%s)' % (n, n) for n in self.names)
        got, wanted = self.run(self.ours, sql)[0], self.run(self.stock, sql)[0]
        if got != wanted:
            self.log.append('(whole table)')
            self.differ([r for r in got if r not in wanted], [r for r in wanted if r not in got])

    def go(self, statements):
        for number in range(statements):
            self.step(self.one())
            if self.log[-1][:6] not in ('SELECT', 'BEGIN'):
                self.compare_table()
            if number % 60 == 59 and not self.ours.in_transaction:
                for sql in (None,):
                    expect_equal(value(self.ours, 'SELECT turdb_check(%s)' % ("'t'" if sql else '')), 'ok')
        if self.ours.in_transaction:
            self.step('COMMIT')
        expect_equal(value(self.ours, "SELECT turdb_check()"), 'ok')
        self.ours.close()
        self.stock.close()


def one_schema(name):
    load()
    seeds = [os.environ['TURDB_SEED']] if 'TURDB_SEED' in os.environ else range(scaled(2))
    for seed in seeds:
        try:
            Run(name, seed).go(400)
        except AssertionError as failure:
            raise AssertionError('schema %r, seed %s: %s' % (name, seed, failure)) from failure
        wipe('app')


def tables_with_an_integer_key_are_as_in_stock_sqlite(scratch):
    one_schema('integer key')


def tables_without_a_key_are_as_in_stock_sqlite(scratch):
    one_schema('no key')


def tables_with_a_key_of_two_columns_are_as_in_stock_sqlite(scratch):
    one_schema('key of two')


def tables_with_a_text_key_are_as_in_stock_sqlite(scratch):
    one_schema('text key')


def unique_columns_are_as_in_stock_sqlite(scratch):
    one_schema('unique')


def not_null_columns_are_as_in_stock_sqlite(scratch):
    one_schema('not null')


def collations_are_as_in_stock_sqlite(scratch):
    one_schema('collations')


def affinities_are_as_in_stock_sqlite(scratch):
    one_schema('affinities')


def checks_are_as_in_stock_sqlite(scratch):
    one_schema('checks')


def checks_by_collation_and_affinity_are_as_in_stock_sqlite(scratch):
    one_schema('checks by collation and affinity')


# (vtab/update U1)
def conflict_clauses_of_constraints_are_as_in_stock_sqlite(scratch):
    one_schema('conflict clauses')


def a_null_that_replaces_takes_the_default(scratch):
    load()
    ours, stock = connect('app'), sqlite3.connect(':memory:', isolation_level=None)
    body = 'a INTEGER NOT NULL DEFAULT (2 + 3), b TEXT NOT NULL'
    ours.execute('CREATE VIRTUAL TABLE t USING turdb(%s)' % body)
    stock.execute('CREATE TABLE t(%s)' % body)
    for sql in ("INSERT INTO t VALUES (1, 'x')", 'UPDATE t SET a = NULL', 'UPDATE OR REPLACE t SET a = NULL',
                'UPDATE OR REPLACE t SET b = NULL', "INSERT OR REPLACE INTO t VALUES (NULL, 'y')",
                'INSERT OR REPLACE INTO t VALUES (1, NULL)', 'UPDATE OR IGNORE t SET a = NULL', 'SELECT * FROM t'):
        expect_equal(Run.run(ours, sql), Run.run(stock, sql))


def autoincrement_is_as_in_stock_sqlite(scratch):
    one_schema('sequence')


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
