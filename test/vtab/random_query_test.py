"""Random schemas, random statements, random queries: turdb tables answer as ordinary tables of stock SQLite do.

Where differential_test.py tries a few schemas with single-table statements, this makes everything up: two turdb tables beside
two ordinary ones with a foreign key, triggers and views; joins in every order and direction, subqueries, row values, OR and
IN of lists and queries, collations that fit and that do not, partial orders, windows, compounds; rowids compared with reals,
texts and blobs; numbers and texts at the edges. Seeds are fixed; TEST_SCALE grows their number, TURDB_SEED=n runs one,
TURDB_SEEDS=from-to a range.
"""
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402
from differential import Difference, Pair, tell  # noqa: E402

INTEGERS = ['0', '1', '2', '3', '-1', '10', '9007199254740992', '9007199254740993', '-9007199254740993', '9223372036854775807',
            '9223372036854775806', '(-9223372036854775807-1)', '-9223372036854775807', '4294967296', '2147483648', '-2147483649',
            '127', '128', '-129', '32768', '8388608', '140737488355328']
REALS = ['0.0', '-0.0', '1.0', '2.0', '1.5', '-2.5', '0.1', '1e308', '-1e308', '9e999', '-9e999', '5e-324', '-5e-324', '1e-5',
         '9007199254740992.0', '9007199254740994.0', '9223372036854775807.0', '-9223372036854775808.0', '9223372036854774784.0',
         '9223372036854777856.0', '1e19', '3.0000000000000004', '2.9999999999999996']
TEXTS = ["''", "' '", "'a'", "'A'", "'a '", "'A  '", "'ab'", "'aB'", "'abc'", "'ABC'", "'b'", "'B'", "'ä'", "'Ä'", "'1'", "'1.0'", "' 1'",
         "'1 '", "'1e0'", "'+1'", "'-0'", "'0'", "'00'", "'0x1'", "'1x'", "'1.5'", "'9223372036854775807'", "'9223372036854775808'",
         "'-9223372036854775809'", "'9007199254740993'", "'9007199254740993.0'", "'1e308'", "'1e999'", "'-inf'", "'nan'", "'.5'",
         "'5.'", "'1e'", "'_'", "'%'", "'a%b'", "'[a]'", "char(9)", "'a'||char(9)", "CAST(x'00' AS TEXT)", "CAST(x'6100' AS TEXT)",
         "CAST(x'610062' AS TEXT)", "CAST(x'ff' AS TEXT)", "CAST(x'61ff' AS TEXT)", "CAST(x'c3' AS TEXT)", "CAST(x'eda080' AS TEXT)",
         "char(0x10ffff)", "char(0xffff)", "replace(hex(zeroblob(1000)),'0','q')", "replace(hex(zeroblob(1000)),'0','q')||'x'",
         "replace(hex(zeroblob(1000)),'0','Q')||' '"]
BLOBS = ["x''", "x'00'", "x'0000'", "x'61'", "x'6100'", "x'31'", "x'312e30'", "x'ff'", "x'ffffffff'", "zeroblob(2100)"]
TYPES = ['', 'INTEGER', 'INT', 'TEXT', 'REAL', 'NUMERIC', 'BLOB', 'VARCHAR(10)', 'DOUBLE', 'ANY']
COLLATIONS = ['BINARY', 'NOCASE', 'RTRIM']
COMPARE = ['=', '=', '==', '<', '>', '<=', '>=', '<>', '!=', 'IS', 'IS NOT', 'IS DISTINCT FROM', 'IS NOT DISTINCT FROM']


class Table:
    """What is known of a table: both sides' statements, and what may be done to it without depending on a plan."""

    def __init__(self, chance, name, turdb, not_null):
        self.name, self.turdb = name, turdb
        self.columns, self.collations, self.unique, self.rules = [], {}, set(), False
        self.numeric = {'id', 'rowid', 'oid', '_rowid_'}
        body = []
        self.key = None
        if chance.random() < 0.5:
            self.key = 'id'
            self.columns.append('id')
            body.append('id INTEGER PRIMARY KEY')
        for number in range(chance.randint(1, 5)):
            column = 'abcde'[number]
            words = [column, chance.choice(TYPES)]
            if re.search('INT|REAL|DOUB|NUM|ANY', words[1]):
                self.numeric.add(column)
            if chance.random() < 0.3:
                self.collations[column] = chance.choice(COLLATIONS)
                words.append('COLLATE ' + self.collations[column])
            if not_null and chance.random() < 0.3:
                words.append('NOT NULL')
                self.rules = True
            if chance.random() < 0.1:
                words.append('UNIQUE')
                self.unique.add(column)
            self.columns.append(column)
            body.append(' '.join(words))
        plain = [c for c in self.columns if c != 'id']
        if not self.key and chance.random() < 0.25:
            key = chance.sample(plain, chance.randint(1, min(3, len(plain))))
            body.append('PRIMARY KEY (%s)' % ', '.join(key))
            if len(key) == 1:  # not another name for the rowid
                body[self.columns.index(key[0])] = body[self.columns.index(key[0])].replace('INTEGER', 'INT')
            self.unique.update(key)
        if chance.random() < 0.15:
            key = chance.sample(plain, chance.randint(1, min(2, len(plain))))
            body.append('UNIQUE (%s)' % ', '.join(
                k + chance.choice(['', '', ' COLLATE NOCASE', ' COLLATE BINARY', ' DESC']) for k in key))
            self.unique.update(key)
        self.body, self.indexes, self.made = body, [], 0
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            self.indexes.append(self.index(chance))

    def index(self, chance):
        terms = [c + chance.choice(['', '', ' COLLATE NOCASE', ' COLLATE RTRIM', ' COLLATE BINARY']) + chance.choice(['', '', ' DESC'])
                 for c in chance.sample(self.columns, chance.randint(1, min(3, len(self.columns))))]
        self.made += 1
        return '%s_%d' % (self.name, self.made), ', '.join(terms)

    def create(self):
        stock = 'CREATE TABLE %s(%s)' % (self.name, ', '.join(self.body))
        indexes = ['CREATE INDEX %s ON %s(%s)' % (i[0], self.name, i[1]) for i in self.indexes]
        if not self.turdb:
            return [(s, s) for s in [stock] + indexes]
        ours = 'CREATE VIRTUAL TABLE %s USING turdb(%s)' % (self.name, ', '.join(
            self.body + ['INDEX %s (%s)' % i for i in self.indexes]))
        return [(ours, stock)] + [('SELECT 1', i) for i in indexes]

    def free(self):
        """Columns that no UNIQUE knows."""
        return [c for c in self.columns if c not in self.unique and c != 'id']


class Maker:
    """Makes statements up. A source in scope is (alias, columns, has a rowid)."""

    def __init__(self, chance):
        self.chance = chance
        self.pool = [self.any_literal() for _ in range(chance.choice([4, 8, 16, 40]))]
        # Stock 3.40 takes NOT NULL columns for never NULL, in the empty rows of outer joins too.
        self.inner_only = chance.random() < 0.3
        self.tables = [Table(chance, name, name[0] == 't', self.inner_only) for name in ('t0', 't1', 'o0')]
        self.views = []
        self.numeric = {}  # of each alias, the columns of numeric affinity
        self.depth = 0
        self.outer = False
        self.changing = None  # the table of an UPDATE or DELETE: stock reads what it has changed so far in its subqueries
        self.plain = not any('NOCASE' in str(t.body) or 'RTRIM' in str(t.body) for t in self.tables)

    # --- values ---------------------------------------------------------------------------

    def any_literal(self):
        kind = self.chance.random()
        if kind < 0.1:
            return 'NULL'
        return self.chance.choice(INTEGERS if kind < 0.4 else REALS if kind < 0.6 else TEXTS if kind < 0.92 else BLOBS)

    def literal(self):
        kind = self.chance.random()
        if kind < 0.6:
            return self.chance.choice(self.pool)
        if kind < 0.8:
            return str(self.chance.randint(-2, 12))
        return self.any_literal()

    def rowid_literal(self):
        return self.chance.choice(['1', '2', '3', '5', '8', '13', '20', '-1', '1.5', '2.0', '2.5', '-0.0', "'3'", "'2.5'", "'4.0'", "'x'",
                                   "''", "' 5 '", "x'33'", 'NULL', '9e999', '-9e999', '1e300', '9223372036854775807.0',
                                   '9223372036854775807', '(-9223372036854775807-1)', '-9223372036854775808.0', "'9223372036854775808'",
                                   "'1e1'", '1e1', '1e-300'])

    def known(self, alias, table, columns=None):
        """An entry of a scope for a table, or for some of its columns."""
        self.numeric[alias] = table.numeric
        return alias, columns or table.columns, columns is None

    # --- expressions -----------------------------------------------------------------------

    def column(self, scope):
        alias, columns, rowid = self.chance.choice(scope)
        if rowid and self.chance.random() < 0.15:
            return '%s.%s' % (alias, self.chance.choice(['rowid', 'rowid', 'oid', '_rowid_']))
        return '%s.%s' % (alias, self.chance.choice(columns))

    def is_numeric(self, name):
        alias, column = name.split('.')
        return column in self.numeric.get(alias, ()) or column == 'vr'

    def operand(self, scope, near='', op='='):
        return self.guarded(near, op, self.operand_any(scope, near))[1]

    def guarded(self, left, op, right):
        """A text in a numeric column makes numbers of a text column's texts when the two are put in order; of this a virtual
        table is told nothing (docs/LIMITS.md). Such a column is compared as a value without affinity."""
        if '<' not in op and '>' not in op and 'BETWEEN' not in op or op == '<>':
            return left, right
        columns = lambda side: [self.is_numeric(n) for n in re.findall(r'\b[a-z]\d?\.[a-z_]+', side)]
        if any(columns(right)) and not all(columns(left)):
            right = '+(%s)' % right
        if any(columns(left)) and not all(columns(right)):
            left = '+(%s)' % left
        return left, right

    def compare(self, left, op, right):
        left, right = self.guarded(left, op, right)
        return '%s %s %s' % (left, op, right)

    def operand_any(self, scope, near=''):
        chance, kind = self.chance, self.chance.random()
        if near.endswith(('rowid', 'oid', '_rowid_', '.id')) and kind < 0.6:
            return self.rowid_literal()
        if kind < 0.7:
            return self.literal()
        if kind < 0.85:
            return self.column(scope)
        column = self.column(scope)
        return chance.choice(['+%s' % column, '(%s COLLATE %s)' % (column, chance.choice(COLLATIONS)), 'CAST(%s AS %s)' % (
            chance.choice([column, self.literal()]), chance.choice(['INTEGER', 'TEXT', 'REAL', 'BLOB', 'NUMERIC'])),
            'coalesce(%s, %s)' % (column, self.literal()), 'ifnull(%s, %s)' % (self.literal(), column), '(%s || %s)' % (column, "''"),
            'CASE WHEN %s IS NULL THEN %s ELSE %s END' % (column, self.literal(), column), 'lower(%s)' % column, 'length(%s)' % column,
            'typeof(%s)' % column, 'nullif(%s, %s)' % (column, self.literal()), 'max(%s, %s)' % (column, self.literal()),
            '(%s * 2)' % column, 'likely(%s)' % column, '(SELECT %s)' % column, '-%s' % column])

    def pattern(self):
        return self.chance.choice(["'a%'", "'A%'", "'%b'", "'1%'", "'_b%'", "'ab'", "''", "'%'", "'ä%'", "'a\\%%'", "'9%'", "'q%'", "' %'", "NULL", '1'])

    def subselect(self, scope, columns):
        """A query of so many columns, correlated sometimes."""
        chance = self.chance
        table = chance.choice([t for t in self.tables if t is not self.changing])
        alias = 's%d' % self.depth
        inner = [self.known(alias, table)]
        self.depth += 1
        where = ''
        if chance.random() < 0.7:
            where = ' WHERE ' + self.condition(inner + (scope if chance.random() < 0.5 else []), 2)
        text = 'SELECT %s%s FROM %s %s%s' % (chance.choice(['', '', 'DISTINCT ']) if self.plain else '', ', '.join(self.column(inner) for _ in range(columns)),
                                             table.name, alias, where)
        if chance.random() < 0.1:
            text += ' UNION ALL SELECT ' + ', '.join(self.literal() for _ in range(columns))
        self.depth -= 1
        return text

    def condition(self, scope, depth=0):
        chance, column = self.chance, self.column(scope)
        kind = chance.randint(0, 27 if self.depth < 2 else 21)
        if depth < 3 and chance.random() < 0.4:
            kind = chance.choice([100, 100, 100, 101, 101, 102])
        if kind <= 4:
            return self.compare(column, chance.choice(COMPARE), self.operand_any(scope, column))
        if kind == 5:
            return self.compare(self.operand_any(scope, column), chance.choice(COMPARE), column)
        if kind == 6:
            return '%s %sBETWEEN %s AND %s' % (column, chance.choice(['', '', 'NOT ']), self.operand(scope, column, 'BETWEEN'), self.operand(scope, column, 'BETWEEN'))
        if kind <= 8:
            return '%s %sIN (%s)' % (column, chance.choice(['', '', '', 'NOT ']),
                                     ', '.join(self.operand(scope, column) if chance.random() < 0.2 else
                                               self.rowid_literal() if column.endswith('id') else self.literal()
                                               for _ in range(chance.randint(0, 6))))
        if kind == 9:
            other = self.column(scope)
            return '(%s, %s) %s (%s, %s)' % (column, other, chance.choice(['=', '<', '>=', '>', '<=', 'IS', '<>']),
                                             self.operand(scope, column, '<'), self.operand(scope, other, '<'))
        if kind == 10:
            return '%s %s%s %s' % (column, chance.choice(['', '', 'NOT ']), chance.choice(['LIKE', 'LIKE', 'GLOB']),
                                   self.pattern().replace('%', '*') if chance.random() < 0.3 else self.pattern())
        if kind == 11:
            return '%s %s' % (column, chance.choice(['IS NULL', 'IS NOT NULL', 'ISNULL', 'NOTNULL', 'IS TRUE', 'IS NOT TRUE', 'IS FALSE', 'IS NOT FALSE']))
        if kind == 12:
            return self.compare('%s COLLATE %s' % (column, chance.choice(COLLATIONS)), chance.choice(COMPARE), self.operand_any(scope, column))
        if kind == 13:
            return self.compare(column, chance.choice(COMPARE), '%s COLLATE %s' % (self.operand_any(scope, column), chance.choice(COLLATIONS)))
        if kind == 14:
            return self.compare(self.operand_any(scope), chance.choice(COMPARE), self.operand_any(scope))
        if kind == 15:
            return column
        if kind == 16:
            return ' OR '.join(self.compare(column, chance.choice(['=', '=', '=', 'IS', '<']), self.operand_any(scope, column))
                               for _ in range(chance.randint(2, 4))).join('()')
        if kind == 17:
            return '(%s)' % ' OR '.join(self.compare(c, chance.choice(['=', '=', '>', 'IS']), self.operand_any(scope, c))
                                        for c in (self.column(scope) for _ in range(chance.randint(2, 3))))
        if kind == 18:
            low, high = self.operand(scope, column, '<'), self.operand(scope, column, '<')
            return '%s %s %s AND %s %s %s' % (column, chance.choice(['>', '>=']), low, column, chance.choice(['<', '<=']), high)
        if kind == 19:
            return '%s(%s)' % (chance.choice(['likely', 'unlikely', 'NOT ']), self.condition(scope, depth + 1))
        if kind == 20:
            return '%s COLLATE %s IN (%s)' % (column, chance.choice(COLLATIONS), ', '.join(self.literal() for _ in range(3)))
        if kind == 21:
            return 'CASE WHEN %s THEN %s ELSE %s END' % (self.condition(scope, 3), self.literal(), self.literal())
        if kind <= 24:
            return '%s %sIN (%s)' % (column, chance.choice(['', '', 'NOT ']), self.subselect(scope, 1))
        if kind == 25 and self.outer:  # a bug of stock 3.40, with ordinary tables too
            return '%s IS NOT NULL' % column
        if kind == 25:
            # Each half is compared without the affinity of the other side (docs/LIMITS.md).
            left = ['+' + c if not self.is_numeric(c) else c for c in (column, self.column(scope))]
            return '(%s, %s) IN (%s)' % (left[0], left[1], self.subselect(scope, 2))
        if kind == 26:
            return '%sEXISTS (%s)' % (chance.choice(['', 'NOT ']), self.subselect(scope, 1))
        if kind == 27:
            table = chance.choice([t for t in self.tables if t is not self.changing])
            where = ''
            if chance.random() < 0.6:
                self.depth += 1
                where = ' WHERE ' + self.condition([self.known('m', table)] + scope, 2)
                self.depth -= 1
            return '%s %s (SELECT %s(m.%s) FROM %s m%s)' % (column, chance.choice(COMPARE), chance.choice(['count', 'max', 'min']) if
                                                            False else 'count', chance.choice(table.columns), table.name, where)
        if kind == 102:
            return 'NOT (%s)' % self.condition(scope, depth + 1)
        return '(%s %s %s)' % (self.condition(scope, depth + 1), 'AND' if kind == 100 else 'OR', self.condition(scope, depth + 1))

    # --- sources ----------------------------------------------------------------------------

    def source(self, number, scope):
        chance, alias = self.chance, 'x%d' % number
        kind = chance.random()
        if kind < 0.8:
            table = chance.choice(self.tables[:2] * 3 + self.tables)
            return '%s %s' % (table.name, alias), self.known(alias, table)
        if kind < 0.88 and self.views:
            name, columns, self.numeric[alias] = chance.choice(self.views)
            return '%s %s' % (name, alias), (alias, columns, False)
        table = chance.choice(self.tables)
        columns = chance.sample(table.columns, chance.randint(1, len(table.columns)))
        inner = [self.known('i', table)]
        self.depth += 1
        where = ' WHERE ' + self.condition(inner, 1) if chance.random() < 0.7 else ''
        self.depth -= 1
        tail = ' ORDER BY i.rowid LIMIT %d' % chance.randint(0, 20) if chance.random() < 0.3 else ''
        named = ', '.join('i.%s AS %s' % (c, c) for c in columns)
        return '(SELECT %s%s FROM %s i%s%s) %s' % (chance.choice(['', '', 'ALL ']), named, table.name, where, tail, alias), \
            self.known(alias, table, columns)

    def sources(self):
        """FROM with one to three sources."""
        chance = self.chance
        count = chance.choice([1, 1, 1, 2, 2, 2, 3])
        text, first = self.source(0, [])
        scope = [first]
        for number in range(1, count):
            more, now = self.source(number, scope)
            join = chance.choice([', ', ' JOIN ', ' JOIN ', ' LEFT JOIN ', ' LEFT JOIN ', ' CROSS JOIN ', ' RIGHT JOIN ', ' FULL JOIN '])
            if self.inner_only and join not in (', ', ' CROSS JOIN '):
                join = ' JOIN '
            scope.append(now)
            text += join + more
            self.outer = self.outer or join in (' RIGHT JOIN ', ' FULL JOIN ')
            if join != ', ':
                on = self.compare(self.column([now]), chance.choice(['=', '=', '=', 'IS', '<', '>=']), self.column(scope[:-1]))
                if chance.random() < 0.3:
                    on += ' AND ' + self.condition(scope, 2)
                text += ' ON ' + on
        return text, scope

    def where(self, scope):
        if self.chance.random() < 0.12:
            return ''
        extra = ''
        if len(scope) > 1 and self.chance.random() < 0.6:
            extra = self.compare(self.column(scope[:1]), self.chance.choice(['=', '=', '=', '<', 'IS', '>=']), self.column(scope[1:])) + ' AND '
        return ' WHERE ' + extra + self.condition(scope)

    # --- queries -------------------------------------------------------------------------------

    def order(self, scope, total):
        """Terms of ORDER BY; `total` ends them with all rowids."""
        chance = self.chance
        terms = [self.column(scope) if chance.random() < 0.9 else self.operand(scope) for _ in range(chance.randint(1, 3))]
        terms = [t for t in terms if not t.lstrip('-').isdigit() and not t.startswith(('(SELECT', "'"))] or [self.column(scope)]
        keys = list(terms)
        terms = [t + chance.choice(['', '', '', ' COLLATE ' + chance.choice(COLLATIONS)]) + chance.choice(['', ' ASC', ' DESC', ' DESC']) +
                 (chance.choice([' NULLS FIRST', ' NULLS LAST']) if chance.random() < 0.1 else '') for t in terms]
        if total:
            terms += ['%s.rowid%s' % (s[0], chance.choice(['', ' DESC'])) for s in scope]
        return keys, ', '.join(terms)

    def limit(self):
        chance = self.chance
        return ' LIMIT %s%s' % (chance.choice(['0', '1', '2', '5', '10', '-1', '1000', '(SELECT 3)']),
                                chance.choice(['', '', ' OFFSET %d' % chance.randint(0, 6)]))

    def plain_query(self):
        chance = self.chance
        text, scope = self.sources()
        where = self.where(scope)
        rowids = all(s[2] for s in scope)
        output = [self.column(scope) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.3:
            output = ['%s.%s' % (s[0], c) for s in scope for c in s[1]]
        if rowids and chance.random() < 0.5:
            output += ['%s.rowid' % s[0] for s in scope]
        kind = chance.random()
        if kind < 0.35:
            return 'SELECT %s FROM %s%s' % (', '.join(output), text, where), 'rows'
        if kind < 0.5 and rowids:
            _, order = self.order(scope, True)
            return 'SELECT %s FROM %s%s ORDER BY %s%s' % (', '.join(output), text, where, order, chance.choice(['', self.limit()])), 'exact'
        keys, order = self.order(scope, False)
        if kind < 0.7:
            return 'SELECT %s FROM %s%s ORDER BY %s' % (', '.join(keys + output), text, where, order), len(keys)
        if kind < 0.85:
            return 'SELECT %s FROM %s%s ORDER BY %s%s' % (', '.join(keys), text, where, order, self.limit()), 'first %d' % len(keys)
        # Of values that only some collation tells apart, DISTINCT keeps any: order by what it looks at.
        distinct = [c for c in output[:2]]
        order = ', '.join('%d%s' % (i + 1, chance.choice(['', ' DESC'])) for i in range(len(distinct)))
        tail = ' ORDER BY ' + order + chance.choice(['', self.limit()]) if chance.random() < 0.6 else ''
        return 'SELECT DISTINCT %s FROM %s%s%s' % (', '.join(distinct), text, where, tail), len(distinct) if tail else 'values'

    def aggregate(self):
        chance = self.chance
        text, scope = self.sources()
        where = self.where(scope)
        column = self.column(scope)
        functions = ['count(*)', 'count(%s)' % column, 'count(DISTINCT %s)' % column, 'min(%s)' % column, 'max(%s)' % column,
                     'sum(typeof(%s) = \'text\')' % column, 'min(length(%s))' % column, 'count(*) FILTER (WHERE %s)' % self.condition(scope, 2)]
        chosen = chance.sample(functions, chance.randint(1, 3))
        if chance.random() < 0.5:
            return 'SELECT %s FROM %s%s' % (', '.join(chosen), text, where), 'values'
        groups = [self.column(scope) for _ in range(chance.randint(1, 2))]
        having = chance.choice(['', '', ' HAVING count(*) > 1', ' HAVING min(%s) IS NOT NULL' % column])
        tail = ' ORDER BY ' + ', '.join('%d%s' % (i + 1, chance.choice(['', ' DESC'])) for i in range(len(groups))) if chance.random() < 0.5 else ''
        return 'SELECT %s FROM %s%s GROUP BY %s%s%s' % (', '.join(groups + chosen), text, where, ', '.join(groups), having, tail), \
            len(groups) if tail else 'values'

    def window(self):
        chance = self.chance
        table = chance.choice(self.tables)
        scope = [self.known('x0', table)]
        part = 'PARTITION BY %s ' % self.column(scope) if chance.random() < 0.5 else ''
        one, two = self.column(scope), self.column(scope)
        direction = chance.choice(['', ' DESC'])
        function = chance.choice(['row_number() OVER (%sORDER BY %s%s, x0.rowid)', 'rank() OVER (%sORDER BY %s%s)', 'dense_rank() OVER (%sORDER BY %s%s)',
                                  'count(*) OVER (%sORDER BY %s%s, x0.rowid ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)',
                                  'sum(x0.rowid) OVER (%sORDER BY %s%s, x0.rowid)', 'ntile(3) OVER (%sORDER BY %s%s, x0.rowid)',
                                  'lag(x0.rowid) OVER (%sORDER BY %s%s, x0.rowid)', 'count(*) OVER (%sORDER BY %s%s)'])
        return 'SELECT x0.rowid, %s, %s FROM %s x0%s' % (function % (part, one, direction), two, table.name, self.where(scope)), 'rows'

    def compound(self):
        chance = self.chance
        parts, columns = [], chance.randint(1, 2)
        for _ in range(chance.randint(2, 3)):
            text, scope = self.sources()
            # An id has no collation in stock and BINARY here, which is what the whole compound then compares by.
            outputs = [c if not c.endswith('.id') else self.literal() for c in (self.column(scope) for _ in range(columns))]
            parts.append('SELECT %s FROM %s%s' % (', '.join(outputs), text, self.where(scope)))
        text = parts[0]
        for part in parts[1:]:
            text += chance.choice([' UNION ', ' UNION ALL ', ' INTERSECT ', ' EXCEPT ']) + part
        if chance.random() < 0.4:
            return text + ' ORDER BY ' + ', '.join('%d%s' % (i + 1, chance.choice(['', ' DESC'])) for i in range(columns)), columns
        return text, 'values'

    def cte(self):
        chance = self.chance
        table, other = chance.choice(self.tables), chance.choice(self.tables)
        if chance.random() < 0.5:
            one, two = chance.choice(table.columns), chance.choice(other.columns)
            return ('WITH RECURSIVE c(n, r) AS (SELECT x0.rowid, 0 FROM %s x0 WHERE %s UNION SELECT x1.rowid, c.r + 1 FROM c JOIN %s x1'
                    ' ON x1.rowid > c.n AND x1.%s IS NOT NULL WHERE c.r < 3) SELECT n, r FROM c' % (
                        table.name, self.condition([self.known('x0', table)], 2), other.name, two)), 'rows'
        text, scope = self.sources()
        columns = [self.column(scope) for _ in range(2)]
        return 'WITH c(p, q) AS %s(SELECT %s FROM %s%s) SELECT c.p, d.q FROM c JOIN c d ON c.p = d.q WHERE %s' % (
            chance.choice(['', 'MATERIALIZED ', 'NOT MATERIALIZED ']), ', '.join(columns), text, self.where(scope),
            self.condition([('c', ['p', 'q'], False), ('d', ['p', 'q'], False)], 2)), 'values'

    def query(self):
        self.changing, self.outer = None, False
        kind = self.chance.random()
        make = (self.plain_query if kind < 0.6 else self.aggregate if kind < 0.75 else self.window if kind < 0.83 else
                self.compound if kind < 0.92 else self.cte)
        return make()

    # --- changes ---------------------------------------------------------------------------------

    def clause(self):
        return self.chance.choice([''] * 5 + [' OR REPLACE', ' OR IGNORE', ' OR FAIL', ' OR ABORT', ' OR ROLLBACK'])

    def key_value(self, alone=True):
        """Not the last rowid: after it stock takes random ones. Not what is no integer beside other rows: without OR ABORT stock
        keeps those, where a virtual table's statement changes all or nothing."""
        chance = self.chance
        odd = ['2.0', "'3'", "'4.0'", '-0.0', "'1e1'", '1e1', '-9223372036854']
        if alone:
            odd += ['1.5', "'x'", "''", "x'33'", '9e999', '1e300', "'9223372036854775808'", '-9223372036854775808.0']
        return chance.choice(['NULL', 'NULL', str(chance.randint(-2, 40)), str(chance.randint(-2, 40)), str(chance.randint(-2, 40)),
                              chance.choice(odd)])

    def insert(self, table=None):
        chance, self.changing = self.chance, None
        table = table or chance.choice(self.tables[:2] * 2 + self.tables)
        columns = [c for c in table.columns if chance.random() < 0.93] or table.columns[:1]
        if not table.key and chance.random() < 0.15:
            columns = columns + ['rowid']
        verb = chance.choice(['INSERT%s' % self.clause()] * 9 + ['REPLACE'])
        if chance.random() < 0.1:
            other = chance.choice(self.tables)
            scope = [self.known('x0', other)]
            values = [self.key_value(False) if c in ('id', 'rowid') else self.operand(scope) for c in columns]
            return '%s INTO %s(%s) SELECT %s FROM %s x0%s ORDER BY x0.rowid LIMIT %d' % (
                verb, table.name, ', '.join(columns), ', '.join(values), other.name, self.where(scope), chance.randint(1, 5)), 'exact'
        count = chance.choice([1, 1, 2, 4, 8])
        rows = ', '.join('(%s)' % ', '.join(self.key_value(count == 1) if c in ('id', 'rowid') else self.literal() for c in columns)
                         for _ in range(count))
        return '%s INTO %s(%s) VALUES %s' % (verb, table.name, ', '.join(columns), rows), 'exact'

    def update(self):
        chance = self.chance
        table = self.changing = chance.choice(self.tables[:2] * 2 + self.tables)
        scope = [self.known(table.name, table)]
        free = table.free()
        one = ' WHERE rowid = (SELECT rowid FROM %s ORDER BY rowid LIMIT 1 OFFSET %d)' % (table.name, chance.randint(0, 9))
        if chance.random() < 0.5:
            one = ' WHERE rowid = %s' % chance.randint(0, 30)
        if chance.random() < 0.5 and free:
            sets = ['%s = %s' % (c, self.operand(scope)) for c in chance.sample(free, chance.randint(1, len(free)))]
            if table.rules:
                return 'UPDATE %s SET %s%s' % (table.name, ', '.join(sets), self.where(scope)), 'error'
            if chance.random() < 0.2:
                other = chance.choice(self.tables)
                return 'UPDATE %s SET %s = x9.%s FROM (SELECT * FROM %s ORDER BY rowid LIMIT 1) x9%s' % (
                    table.name, free[0], chance.choice(other.columns), other.name, self.where(scope)), 'exact'
            return 'UPDATE %s SET %s%s' % (table.name, ', '.join(sets), self.where(scope)), 'exact'
        names = chance.sample(table.columns, chance.randint(1, len(table.columns)))
        sets = ['%s = %s' % (c, chance.choice(['id + 1', '-id', 'id', self.key_value(), str(chance.randint(0, 40))]) if c == 'id' else self.operand(scope))
                for c in names]
        if not table.key and chance.random() < 0.2:
            sets.append('rowid = %s' % chance.choice(['rowid + 100', '-rowid', self.key_value(), str(chance.randint(0, 40))]))
        return 'UPDATE%s %s SET %s%s' % (self.clause(), table.name, ', '.join(sets), one), 'exact'

    def delete(self):
        table = self.changing = self.chance.choice(self.tables)
        if self.chance.random() < 0.03:
            return 'DELETE FROM %s' % table.name, 'exact'
        return 'DELETE FROM %s%s' % (table.name, self.where([self.known(table.name, table)])), 'exact'

    def transaction(self):
        name = self.chance.choice('pq')
        return self.chance.choice(['BEGIN', 'BEGIN IMMEDIATE', 'COMMIT', 'COMMIT', 'ROLLBACK', 'SAVEPOINT ' + name, 'SAVEPOINT ' + name,
                                   'RELEASE ' + name, 'ROLLBACK TO ' + name, 'ROLLBACK TO ' + name]), 'exact'

    def index(self):
        """An index more or less, made by our function on one side and by CREATE INDEX on the other."""
        chance = self.chance
        table = chance.choice(self.tables[:2])
        if table.indexes and chance.random() < 0.4:
            name = table.indexes.pop(chance.randrange(len(table.indexes)))[0]
            return ("SELECT turdb_drop_index('%s')" % name, 'DROP INDEX ' + name), 'uncounted'
        index = table.index(chance)
        table.indexes.append(index)
        return ("SELECT turdb_create_index('%s', '%s', '%s')" % (index[0], table.name, index[1]),
                'CREATE INDEX %s ON %s(%s)' % (index[0], table.name, index[1])), 'uncounted'


    def definition(self):
        """A table renamed, dropped or made anew, kept or taken back by a savepoint."""
        chance = self.chance
        table = chance.choice(self.tables[:2])
        name, steps = table.name, [('SAVEPOINT d', 'exact')]
        if chance.random() < 0.5:
            steps += [('ALTER TABLE %s RENAME TO t9' % name, 'uncounted')]
            table.name = 't9'
            steps += [self.insert(table), ('SELECT rowid, * FROM t9', 'rows')]
            table.name = name
            back = [('ALTER TABLE t9 RENAME TO %s' % name, 'uncounted')]
        else:
            steps += [('DROP TABLE %s' % name, 'uncounted')]
            back = [(sql, 'uncounted') for sql in table.create()] + [self.insert(table)]
            if chance.random() < 0.5:
                steps, back = steps + back, []
        if not back or chance.random() < 0.5:
            back = [('ROLLBACK TO d', 'exact')]
        return steps + back + [('RELEASE d', 'exact')]


class Run:
    def __init__(self, seed):
        self.chance = chance = random.Random('query %s' % seed)
        self.maker = Maker(chance)
        self.pragmas = ['foreign_keys = on', 'recursive_triggers = %s' % chance.choice(['on', 'off'])]
        if any('RTRIM' in str(t.body) + str(t.indexes) for t in self.maker.tables) or chance.random() < 0.5:
            self.pragmas.append('automatic_index = off')  # stock 3.40 forgets RTRIM in one
        if chance.random() < 0.2:
            self.pragmas.append('case_sensitive_like = on')
        if chance.random() < 0.2:
            self.pragmas.append('reverse_unordered_selects = on')
        self.pair = Pair('app', self.pragmas)
        self.steps = []
        for table in self.maker.tables:
            for sql in table.create():
                self.step(sql, 'uncounted')
        if chance.random() < 0.6:
            self.companions()

    def companions(self):
        """Views, triggers and a foreign key beside the tables."""
        maker, chance = self.maker, self.chance
        for number in range(2):
            table = chance.choice(maker.tables[:2])
            scope = [maker.known('x', table)]
            names = ['v%s' % c for c in table.columns]
            self.step('CREATE VIEW w%d(%s, vr) AS SELECT %s, x.rowid FROM %s x%s' % (
                number, ', '.join(names), ', '.join('x.' + c for c in table.columns), table.name,
                maker.where(scope) if chance.random() < 0.5 else ''), 'exact')
            maker.views.append(('w%d' % number, names + ['vr'], {'v' + n for n in table.numeric}))
            free = table.free()
            if free and chance.random() < 0.5:
                self.step('CREATE TRIGGER w%d_u INSTEAD OF UPDATE ON w%d BEGIN UPDATE %s SET %s = new.v%s WHERE rowid = old.vr; END' % (
                    number, number, table.name, free[0], free[0]), 'exact')
                self.step('CREATE TRIGGER w%d_d INSTEAD OF DELETE ON w%d BEGIN DELETE FROM %s WHERE rowid = old.vr; END' % (
                    number, number, table.name), 'exact')
                self.views_changed = True
        other, target = maker.tables[2], chance.choice(maker.tables[:2])
        values = ', '.join('new.' + ('rowid' if c == 'id' else chance.choice(other.columns)) for c in target.columns)
        self.step('CREATE TRIGGER o0_i AFTER INSERT ON o0 BEGIN INSERT%s INTO %s(%s) VALUES (%s); END' % (
            chance.choice([' OR IGNORE', ' OR REPLACE', '']), target.name, ', '.join(target.columns), values), 'exact')
        self.step('CREATE TRIGGER o0_d BEFORE DELETE ON o0 BEGIN DELETE FROM %s WHERE rowid = old.rowid; END' % target.name, 'exact')
        self.step('CREATE TABLE child(n INTEGER PRIMARY KEY, p REFERENCES parent(k) ON DELETE %s)' % chance.choice(
            ['CASCADE', 'SET NULL', 'RESTRICT']), 'exact')
        self.step('CREATE TABLE parent(k PRIMARY KEY)', 'exact')
        self.step('CREATE TRIGGER child_d AFTER DELETE ON child BEGIN UPDATE OR IGNORE t0 SET rowid = rowid + 50 WHERE rowid = old.n; END', 'exact')
        self.step('INSERT INTO parent VALUES (1), (2), (3)', 'exact')
        self.step('INSERT INTO child VALUES (1, 1), (2, 2), (3, 1), (4, NULL)', 'exact')
        maker.views.append(('child', ['n', 'p'], {'n'}))

    def step(self, sql, how):
        self.steps.append((sql, how))
        what = self.pair.step(sql, how)
        if what:
            self.pair.close()
            tell(self.steps, what, self.pragmas)
        self.steps[-1] = (sql, how)

    def change(self):
        maker, kind = self.maker, self.chance.random()
        if kind < 0.5:
            return maker.insert()
        if kind < 0.75:
            return maker.update()
        if kind < 0.82:
            return maker.delete()
        if kind < 0.86 and not self.pair.ours.in_transaction:
            return maker.index()
        if kind < 0.9 and maker.views and maker.views[-1][0] == 'child':
            return self.chance.choice(['DELETE FROM parent WHERE k = %d' % self.chance.randint(1, 3), 'INSERT OR IGNORE INTO parent VALUES (%d)' %
                                       self.chance.randint(1, 3), 'INSERT OR REPLACE INTO child VALUES (%d, %d)' % (
                                           self.chance.randint(1, 6), self.chance.randint(1, 4)), 'UPDATE w0 SET va = 5 WHERE vr = 3',
                                       'DELETE FROM w0 WHERE vr = %d' % self.chance.randint(1, 9)]), 'exact'
        return maker.transaction()

    def redefine(self):
        for step in self.maker.definition():
            self.step(*step)

    def whole(self):
        for table in self.maker.tables:
            self.step('SELECT rowid, * FROM %s ORDER BY rowid' % table.name, 'exact')

    def go(self, rounds):
        for table in self.maker.tables:
            for _ in range(self.chance.randint(1, 8)):
                self.step(*self.maker.insert(table))
        for _ in range(rounds):
            for _ in range(self.chance.randint(0, 4)):
                self.step(*self.change())
            if not self.maker.views and self.chance.random() < 0.15:
                self.redefine()
            self.whole()
            for _ in range(8):
                self.step(*self.maker.query())
            if not self.pair.ours.in_transaction:
                self.check()
        if self.pair.ours.in_transaction:
            self.step('ROLLBACK', 'exact')
        self.check()
        self.whole()
        self.pair.close()

    def check(self):
        found = value(self.pair.ours, 'SELECT turdb_check()')
        if found != 'Tok':
            raise Difference('turdb_check: %s after\n    %s' % (found, '\n    '.join(
                str(s[0]) for s in self.steps if not str(s[0]).startswith(('SELECT', 'WITH')))))


def random_queries_are_answered_as_by_stock_sqlite(scratch):
    load()
    told = []
    for seed in seeds(12):
        try:
            Run(seed).go(12)
        except AssertionError as failure:
            told.append('seed %s: %s' % (seed, failure))
            if 'TURDB_SEEDS' not in os.environ:
                break
            print(told[-1], flush=True)
    expect(not told, '\n'.join(told[:3]))


# --- what this found, told as stories ----------------------------------------------------


def alike(*statements):
    """Runs statements, or pairs of them, on both sides."""
    load()
    pair = Pair()
    for sql in statements:
        what = pair.step(sql, 'values' if str(sql).startswith('SELECT') else 'uncounted')
        expect(not what, '%s: %s' % (sql, what))
    pair.close()


def a_list_of_values_without_the_columns_affinity_finds_each_row_once(scratch):
    """SQLite tests the rows of each value of IN against that value alone, which has lost the affinity of its column: '1.0'
    was not found among integers, and '1' was found twice among 1 and '1'."""
    alike(('CREATE VIRTUAL TABLE t USING turdb(c TEXT, d, e INTEGER, INDEX t_c (c, e), INDEX t_d (d, c))',
           'CREATE TABLE t(c TEXT, d, e INTEGER)'), ('SELECT 1', 'CREATE INDEX t_c ON t(c, e)'), 'CREATE TABLE o(a, i INTEGER, s TEXT)',
          "INSERT INTO t VALUES ('1', '1', 1), ('1.0', '1.0', 2), ('2', '2', 3), (1, 1, 4), (NULL, NULL, 5)",
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) INSERT INTO t SELECT 'x' || i, i / 2, i FROM n",
          "INSERT INTO o VALUES (1, 1, '1'), ('1', 2, '1.0'), ('1.0', 3, 'x7'), (NULL, NULL, NULL)",
          *('SELECT c, d, e FROM t WHERE ' + where for where in (
              'c IN (SELECT a FROM o)', 'c IN (SELECT i FROM o)', 'd IN (SELECT i FROM o)', 'd IN (SELECT a FROM o)', 'd IN (SELECT s FROM o)',
              "d IN (1, '1')", "c IN (1, '1', 'x9', 'x9')", "c IN ('x3', 'x4') AND e > 3", "c IN ('x3', 'x4', NULL) AND e IN (3, 9)",
              "d = 1 AND c IN (SELECT i FROM o)", 'd IN (SELECT i FROM o) AND c IN (SELECT i FROM o)', 'c IN ()', 'c IN (NULL)',
              'c IN (SELECT s FROM o) AND e IN (SELECT i FROM o)')))


def infinity_equals_the_text_that_it_becomes(scratch):
    """Texts that could equal a number were looked for among those that begin with a sign, a digit, a point or a space."""
    alike(('CREATE VIRTUAL TABLE t USING turdb(a TEXT, b, n TEXT COLLATE NOCASE, INDEX t_a (a, b), INDEX t_n (n DESC))',
           'CREATE TABLE t(a TEXT, b, n TEXT COLLATE NOCASE)'),
          "INSERT INTO t VALUES (9e999, 1, 'INF'), (-9e999, 2, 'inf'), ('inf', 3, 9e999), (1e300, 4, 'z'), (5, 5, '-INF')",
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) INSERT INTO t SELECT 'x' || i, i, i FROM n",
          *('SELECT * FROM t WHERE ' + where for where in ('a = 9e999', 'a = -9e999', 'a IS 9e999 AND b > 0', 'n = 9e999', 'n = -9e999',
                                                           'a IN (9e999, 5)', 'a >= 9e999', 'n <= 9e999', 'a = 1e300')))


def a_rowid_is_changed_to_integers_only(scratch):
    """UPDATE t SET rowid = NULL, or = 'x', took the row to 0."""
    alike(('CREATE VIRTUAL TABLE t USING turdb(a)', 'CREATE TABLE t(a)'),
          ('CREATE VIRTUAL TABLE u USING turdb(id INTEGER PRIMARY KEY, a)', 'CREATE TABLE u(id INTEGER PRIMARY KEY, a)'),
          'INSERT INTO t VALUES (1), (2)', 'INSERT INTO u VALUES (1, 1), (2, 2)',
          *('UPDATE %s SET rowid = %s WHERE a = 2' % (table, new) for table in 'tu' for new in ('NULL', "'x'", '1.5', '5.0', "'6'", "x'37'")),
          "UPDATE OR IGNORE u SET id = 'x'", 'UPDATE u SET rowid = 9, id = 10 WHERE a = 2', 'UPDATE u SET id = 12, rowid = 11 WHERE a = 2',
          # SQLite 3.54 takes the smallest integer as a real, older ones do not.
          *('UPDATE u SET id = %s WHERE a = 1' % new for new in ('-9223372036854775808.0', '9223372036854775808.0')),
          'INSERT INTO t(rowid, a) VALUES (-9223372036854775808.0, 3)', 'SELECT a FROM u WHERE id = -9223372036854775808.0',
          'SELECT rowid, a FROM t', 'SELECT rowid, * FROM u')


def an_ignored_row_is_not_the_reason_of_a_later_error(scratch):
    """The sentence of a row that a trigger's OR IGNORE left out was told when another error ended the statement."""
    load()
    pair = Pair()
    for sql in (('CREATE VIRTUAL TABLE t USING turdb(c UNIQUE)', 'CREATE TABLE t(c UNIQUE)'), 'INSERT INTO t VALUES (1)',
                'CREATE TABLE o(a INTEGER PRIMARY KEY)', 'CREATE TRIGGER o_i AFTER INSERT ON o BEGIN INSERT OR IGNORE INTO t VALUES (new.a); END',
                'INSERT INTO o VALUES (1), (2.5)', 'SELECT * FROM o'):
        expect_equal(pair.step(sql, 'exact'), None)
    pair.close()


def a_real_column_keeps_no_negative_zero(scratch):
    load()
    pair = Pair()
    for sql in (('CREATE VIRTUAL TABLE t USING turdb(a, b REAL, c NUMERIC, d TEXT)', 'CREATE TABLE t(a, b REAL, c NUMERIC, d TEXT)'),
                "INSERT INTO t VALUES (-0.0, -0.0, -0.0, -0.0), ('-0.0', '-0.0', '-0.0', '-0.0'), (-5e-324, -1e-400, -0.0, 0)",
                'SELECT * FROM t ORDER BY rowid', 'UPDATE t SET b = -0.0', 'SELECT *, quote(b) FROM t ORDER BY rowid'):
        expect_equal(pair.step(sql, 'exact'), None)
    pair.close()


def like_finds_blobs_where_stock_sqlite_does(scratch):
    """LIKE and GLOB came to an index as a range of texts, which blobs are not in. Debian's SQLite does not match them; by default it does."""
    load()
    for index in ('b', 'b DESC', 'b COLLATE NOCASE', 'a, b', 'a, b DESC', 'a, b COLLATE NOCASE DESC, id'):
        pair = Pair()
        for sql in (('CREATE VIRTUAL TABLE t USING turdb(id INTEGER PRIMARY KEY, a, b TEXT, INDEX t_b (%s))' % index,
                     'CREATE TABLE t(id INTEGER PRIMARY KEY, a, b TEXT)'),
                    "INSERT INTO t(a, b) VALUES (1, 'a'), (2, 'ab'), (1, 'b'), (2, NULL), (1, 7), (2, x'61'), (1, x'6162'), (1, x''), (2, x'62'), "
                    "(1, 'A'), (2, x'ff'), (1, 'a' || hex(zeroblob(2000))), (1, CAST('a' || hex(zeroblob(2000)) AS BLOB)), (2, '')"):
            expect_equal(pair.step(sql, 'exact'), None)
        for where in ("b LIKE 'a%'", "b GLOB 'a*'", "b LIKE 'ab%' ESCAPE '!'", "b LIKE 'B%'", "b LIKE 'a%' AND b < x'6162'", "b >= 'a' AND b < 'b'",
                      "b LIKE 'a%' AND b LIKE 'ab%'", "b >= 'a' AND b < 'ab' AND b < 'b'"):
            for more in ('', ' AND a = 1', ' AND a IN (1, 2)'):
                for order in ('id', 'b, id', 'b DESC, id', 'a, b, id', 'a DESC, b DESC, id'):
                    expect_equal(pair.step('SELECT id, b FROM t WHERE %s%s ORDER BY %s' % (where, more, order), 'exact'), None)
        pair.close()


main(globals(), BOTH_HOMES)
